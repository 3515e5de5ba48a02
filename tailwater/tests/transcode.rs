//! The planned command lines against the real FFmpeg: what comes out of the pipes, judged by ffprobe.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rstest::rstest;
use tailwater::ladder::{AudioSource, Format, LadderConfig, Plan, Rung, SourceInfo, VideoSource, plan};
use tailwater::transcode::{Capabilities, Exit, Running, Transcoder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A camera's FLV: a moving picture of that size and rate and a tone.
fn camera(size: &str, rate: &str, seconds: f64, tracks: &[&str]) -> Vec<u8> {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-loglevel", "error", "-nostdin"]);
    if tracks.contains(&"video") {
        command.args(["-f", "lavfi", "-i", &format!("testsrc2=s={size}:r={rate}")]);
    }
    if tracks.contains(&"audio") {
        command.args(["-f", "lavfi", "-i", "sine=f=440:r=48000"]);
    }
    command.args(["-t", &seconds.to_string(), "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]);
    command.args(["-g", "1000", "-b:v", "500k", "-c:a", "aac", "-ac", "2", "-f", "flv", "-flvflags"]);
    let output = command.args(["no_duration_filesize", "pipe:1"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn source(width: u32, height: u32, rate: f64) -> SourceInfo {
    SourceInfo { video: Some(VideoSource::h264(width, height, rate)), audio: Some(AudioSource::aac()) }
}

/// Two small rungs, fast.
fn config(format: Format, low_latency: bool) -> LadderConfig {
    let rungs = vec![Rung::new("180p", 180, 300_000), Rung::new("90p", 90, 100_000)];
    LadderConfig { rungs, format, low_latency, preset: Some("ultrafast".into()), ..LadderConfig::default() }
}

fn planned(source: &SourceInfo, config: &LadderConfig) -> Plan {
    plan(source, config, &Capabilities::typical(2)).unwrap()
}

/// Feeds the whole of `flv` and gives what every pipe held, and the end.
async fn transcode(plan: &Plan, flv: Vec<u8>) -> (BTreeMap<String, Vec<u8>>, Exit) {
    let Running { mut stdin, outputs, progress, handle } = Transcoder::spawn(Path::new("ffmpeg"), plan).unwrap();
    drop(progress);
    let feeder = tokio::spawn(async move {
        let _ = stdin.write_all(&flv).await;
    });
    let mut readers = tokio::task::JoinSet::new();
    for (name, mut pipe) in outputs {
        readers.spawn(async move {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).await.unwrap();
            (name, bytes)
        });
    }
    let renditions = readers.join_all().await.into_iter().collect();
    feeder.await.unwrap();
    let exit = handle.wait().await;
    (renditions, exit)
}

/// ffprobe's packets of one track: (pts, dts, key frame).
fn packets(directory: &Path, name: &str, bytes: &[u8], track: &str) -> Vec<(f64, f64, bool)> {
    let file = directory.join(name);
    std::fs::write(&file, bytes).unwrap();
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", track, "-show_entries", "packet=pts_time,dts_time,flags"])
        .args(["-of", "csv=p=0"])
        .arg(&file)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split(',');
            let pts = fields.next()?.parse().ok()?;
            let dts = fields.next()?.parse().unwrap_or(pts);
            Some((pts, dts, fields.next()?.starts_with('K')))
        })
        .collect()
}

/// All eight rates of the main job: a key frame at the first frame at or after each second, nowhere else, alike in all
/// renditions, the first at exactly 10 s.
#[rstest]
#[case("24000/1001", 23.976)]
#[case("24", 24.0)]
#[case("25", 25.0)]
#[case("30000/1001", 29.97)]
#[case("30", 30.0)]
#[case("50", 50.0)]
#[case("60000/1001", 59.94)]
#[case("60", 60.0)]
#[tokio::test]
async fn key_frames_are_the_first_frames_at_or_after_each_second(
    #[case] rate: &str,
    #[case] announced: f64,
    #[values(Format::Ts, Format::Cmaf)] format: Format,
    #[values(true, false)] low_latency: bool,
) {
    let plan = planned(&source(320, 180, announced), &config(format, low_latency));
    let (renditions, exit) = transcode(&plan, camera("320x180", rate, 4.3, &["video", "audio"])).await;
    assert!(exit.clean, "{exit:?}");
    let directory = tempfile::tempdir().unwrap();
    let exact = plan.frame_rate.unwrap().as_f64();
    let expected: Vec<f64> = (0..=4).map(|second| 10.0 + (f64::from(second) * exact - 1e-9).ceil() / exact).collect();
    for name in ["180p", "90p"] {
        let packets = packets(directory.path(), name, &renditions[name], "v");
        let keys: Vec<f64> = packets.iter().filter(|packet| packet.2).map(|packet| packet.0).collect();
        assert_eq!(keys.len(), expected.len(), "{name}: {keys:?}");
        for (key, expected) in keys.iter().zip(&expected) {
            assert!((key - expected).abs() < 0.001, "{name}: {keys:?} against {expected:?}");
        }
        let frames = (4.3 * exact).round() as usize;
        assert!(packets.len().abs_diff(frames) <= 1, "{name}: {} frames for {frames}", packets.len());
        assert_eq!(packets[0].0, 10.0, "{name} starts at session zero");
    }
}

#[rstest]
#[tokio::test]
async fn the_pipes_hold_what_was_planned_and_ffmpeg_ends_cleanly(#[values(Format::Ts, Format::Cmaf)] format: Format) {
    let plan = planned(&source(320, 180, 30.0), &config(format, true));
    let (renditions, exit) = tokio::time::timeout(
        Duration::from_secs(20),
        transcode(&plan, camera("320x180", "30", 2.0, &["video", "audio"])),
    )
    .await
    .unwrap();
    assert!(exit.clean, "{exit:?}");
    assert_eq!(renditions.len(), plan.renditions.len());
    let directory = tempfile::tempdir().unwrap();
    for rendition in &plan.renditions {
        let bytes = &renditions[&rendition.name];
        assert_eq!(packets(directory.path(), &rendition.name, bytes, "v").is_empty(), rendition.video.is_none());
        assert_eq!(packets(directory.path(), &rendition.name, bytes, "a").is_empty(), !rendition.audio);
    }
}
