//! Other people's players on a real stream, half a minute each: frames advance and nothing stalls.

mod support;

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

fn plays(player: &str, url: &str) -> Value {
    support::browser::plays(player, url, SECONDS)
}

#[tokio::test]
async fn chromium_plays_the_plain_playlist_with_hls_js_and_with_video_js() {
    let (server, _camera) = broadcast("ts").await;
    plays("hls", &server.url("/live/show/playlist.m3u8"));
    plays("videojs", &server.url("/live/show/playlist.m3u8"));
}

#[tokio::test]
async fn chromium_plays_low_latency_in_mpeg_ts_with_hls_js_and_on_the_player_page() {
    let (server, _camera) = broadcast("ts").await;
    plays("hls", &server.url("/live/show/low-latency.m3u8"));
    let report = plays("page", &server.url("/watch/show"));
    assert_eq!(report["page"]["mode"], "low-latency", "{report}");
}

#[tokio::test]
async fn chromium_plays_low_latency_in_cmaf_with_shaka() {
    let (server, _camera) = broadcast("cmaf").await;
    plays("shaka", &server.url("/live/show/low-latency.m3u8"));
}

#[tokio::test]
async fn vlc_plays_the_plain_playlist() {
    let (server, _camera) = broadcast("ts").await;
    let url = server.url("/live/show/playlist.m3u8");
    let play = ["cvlc", "-vv", "--vout=dummy", "--aout=dummy", "--run-time=15", "--play-and-exit", &url];
    // VLC refuses to run as root.
    let is_root = run("id", &["-u"]).1.trim() == "0";
    let (ok, _, log) = match is_root {
        true => run("runuser", &[&["-u", "nobody", "--"], &play[..]].concat()),
        false => run(play[0], &play[1..]),
    };
    assert!(ok, "{log}");
    assert!(log.contains("Received first picture"), "{log}");
    assert!(!log.contains("could not open") && !log.contains("Failed to create demuxer"), "{log}");
}
