//! Headless Chromium as a viewer.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Plays `url` for so many seconds; the harness fails on a fatal error, no start, or a stall. What it saw.
pub fn plays(player: &str, url: &str, seconds: u32) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new("node")
        .arg(root.join("tests/browser/play.mjs"))
        .args(["--player", player, "--url", url, "--seconds", &seconds.to_string(), "--json"])
        .output()
        .expect("node is installed");
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{player} {url}: {report} {complaints}");
    let report: Value = serde_json::from_str(&report).expect("a report");
    let (played, seconds) = (report["advancedSeconds"].as_f64().unwrap_or(0.0), f64::from(seconds));
    assert!(played > seconds * 0.93 - 0.5, "{report}");
    let frames = report["framesDecoded"].as_u64().unwrap_or(0);
    assert!(frames as f64 > seconds * 26.0, "{report}");
    assert_eq!(report["stalls"]["count"], 0, "{report}");
    report
}
