//! A real server, real encoders, plain HTTP: what the end-to-end tests have in common.
// Each test binary uses some of it, and none exports it.
#![allow(dead_code, unused_imports, unreachable_pub, missing_docs, clippy::unwrap_used)]

pub mod browser;
#[path = "../../../crates/rtmp/tests/support/bytes.rs"]
pub mod bytes;
pub mod camera;
pub mod decoded;
pub mod film;
pub mod judge;
pub mod nginx;
pub mod playlist;
pub mod server;
pub mod tls;

pub use camera::Camera;
pub use film::{Film, Recipe};
pub use playlist::{Media, Multivariant};
pub use server::Server;

use std::process::Command;
use std::time::{Duration, Instant};

/// Waits until `check` gives something, looking often; for what is told by no event.
pub async fn eventually<T>(what: &str, limit: Duration, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Runs a program to its end: its stdout and its stderr, which must be empty of complaints when it succeeds.
pub fn run(program: &str, arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(program).args(arguments).output().expect("the program is installed");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

/// One line an entry of what ffprobe says of `input`.
pub fn ffprobe(input: &str, entries: &str) -> Vec<String> {
    let arguments = ["-v", "error", "-show_entries", entries, "-of", "csv=p=0", input];
    let (ok, stdout, stderr) = run("ffprobe", &arguments);
    assert!(ok && stderr.is_empty(), "ffprobe {input}: {stderr}");
    stdout.lines().map(|line| line.trim_end_matches(',').to_owned()).filter(|line| !line.is_empty()).collect()
}

/// Decodes all of `input` and fails on any complaint.
pub fn decodes(input: &str) {
    let (ok, _, stderr) = run("ffmpeg", &["-v", "error", "-xerror", "-i", input, "-f", "null", "-"]);
    assert!(ok && stderr.is_empty(), "ffmpeg cannot decode {input}: {stderr}");
}
