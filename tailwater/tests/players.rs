//! Other people's players on a real stream, half a minute each: frames advance and nothing stalls.

mod support;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use support::camera::Picture;
use support::{Camera, Server, run};

const SECONDS: u32 = 30;

/// A livestream of two rungs in `format`, live.
async fn broadcast(format: &str) -> (Server, Camera) {
    let server = Server::start(&[]);
    let camera = Camera::show(&server.publish_url("k"), &Picture { size: "640x360", ..Picture::default() });
    server.create("Show", "k", json!({"format": format})).await;
    server.reaches("show", "live").await;
    (server, camera)
}

/// Plays in headless Chromium; the harness fails on a fatal error, no start, or a stall.
fn plays(player: &str, url: &str) -> Value {
    let report = support::browser::plays(player, url, SECONDS);
    assert!(report["advancedSeconds"].as_f64().is_some_and(|seconds| seconds > 28.0), "{report}");
    assert!(report["framesDecoded"].as_u64().is_some_and(|frames| frames > 800), "{report}");
    report
}

/// VLC plays for as long, and shows what it plays.
fn vlc_plays(url: &str) {
    let shown = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(shown.path(), Permissions::from_mode(0o777)).expect("open to all");
    let run_time = format!("--run-time={SECONDS}");
    // What it logs of pictures depends on when they come: one of thirty that it shows is kept instead.
    let keep = ["--video-filter=scene", "--scene-ratio=30", "--scene-format=png"];
    let path = format!("--scene-path={}", shown.path().display());
    let play = ["cvlc", "-vv", "--vout=dummy", "--aout=dummy", "--avcodec-hw=none", &run_time, "--play-and-exit"];
    let play = [&play[..], &keep, &[&path, url]].concat();
    // VLC refuses to run as root.
    let is_root = run("id", &["-u"]).1.trim() == "0";
    let (ok, _, log) = match is_root {
        true => run("runuser", &[&["-u", "nobody", "--"], &play[..]].concat()),
        false => run(play[0], &play[1..]),
    };
    assert!(ok && log.contains("end of playlist, exiting"), "{log}");
    let pictures = std::fs::read_dir(shown.path()).expect("its pictures").count();
    assert!(pictures >= 5, "{pictures} pictures of {SECONDS} s: {log}");
    for complaint in ["could not open", "Failed to create demuxer"] {
        assert!(!log.contains(complaint), "{complaint}: {log}");
    }
}

/// ffprobe reads as much, as it comes.
fn ffprobe_reads(url: &str) {
    let interval = format!("%+{SECONDS}");
    let wanted = ["-select_streams", "v:0", "-show_entries", "packet=pts_time", "-of", "csv=p=0"];
    let (ok, packets, complaints) =
        run("ffprobe", &[&["-v", "error", "-read_intervals", &interval], &wanted[..], &[url]].concat());
    assert!(ok && complaints.is_empty(), "{complaints}");
    let times: Vec<f64> = packets.lines().filter_map(|line| line.trim_end_matches(',').parse().ok()).collect();
    assert!(times.len() > 800, "{} pictures", times.len());
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] < 0.05), "a hole in {times:?}");
}

#[tokio::test]
async fn hls_js_video_js_vlc_and_ffprobe_play_the_plain_playlist() {
    let (server, _camera) = broadcast("ts").await;
    let url = server.url("/live/show/playlist.m3u8");
    // One browser at a time, and beside it what costs little.
    std::thread::scope(|scope| {
        scope.spawn(|| ffprobe_reads(&url));
        plays("hls", &url);
    });
    std::thread::scope(|scope| {
        scope.spawn(|| vlc_plays(&url));
        plays("videojs", &url);
    });
}

#[tokio::test]
async fn chromium_plays_low_latency_in_mpeg_ts_with_hls_js_and_on_the_player_page() {
    let (server, _camera) = broadcast("ts").await;
    plays("hls", &server.url("/live/show/low-latency.m3u8"));
    let report = plays("page", &server.url("/watch/show"));
    assert_eq!(report["page"]["mode"], "low-latency", "{report}");
}

#[tokio::test]
async fn chromium_plays_low_latency_in_cmaf_with_hls_js_and_with_shaka() {
    let (server, _camera) = broadcast("cmaf").await;
    plays("hls", &server.url("/live/show/low-latency.m3u8"));
    plays("shaka", &server.url("/live/show/low-latency.m3u8"));
}
