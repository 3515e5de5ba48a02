//! A machine that does not keep up: what is shed, what viewers see of it, how it comes back, and what is not let in.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use support::camera::Picture;
use support::{Camera, Media, Multivariant, Server, eventually};

const RENDITIONS: [&str; 2] = ["180p", "90p"];

/// A program that stands in for FFmpeg and runs the real one.
fn wrapper(folder: &Path, script: &str) -> String {
    let path = folder.join("ffmpeg");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a script");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
    path.to_str().expect("a path").to_owned()
}

/// While the file is there, FFmpeg reads at half of real time, unless it encodes one picture with the fastest preset.
fn throttled(folder: &Path) -> (PathBuf, String) {
    let slow = folder.join("slow");
    let script = format!(
        "case \"$*\" in\n *-i\\ pipe:0*superfast*|*-i\\ pipe:0*\\[v1\\]*)\n  [ -e '{}' ] && exec ffmpeg -readrate 0.5 \"$@\" ;;\nesac\n\
         exec ffmpeg \"$@\"",
        slow.display()
    );
    (slow, wrapper(folder, &script))
}

/// The tuned settings, which can be shed.
fn ladder() -> Value {
    json!([
        {"name": "180p", "height": 180, "videoBitrate": 400_000},
        {"name": "90p", "height": 90, "videoBitrate": 150_000},
    ])
}

async fn media(server: &Server, rendition: &str) -> Media {
    Media::parse(&server.text(&format!("/live/s/s_{rendition}_playlist.m3u8")).await)
}

async fn variants(server: &Server) -> Vec<String> {
    Multivariant::parse(&server.text("/live/s/playlist.m3u8").await).uris()
}

/// Waits until the livestream is live at that level; the largest lag seen on the way, in seconds.
async fn reaches_level(server: &Server, level: u64) -> (Value, f64) {
    let mut lag = 0.0_f64;
    let what = format!("level {level}");
    // A machine that others keep busy climbs late.
    let status = eventually(&what, Duration::from_secs(60), async || {
        let status = server.status("s").await;
        lag = lag.max(status["load"]["lag"].as_f64().unwrap_or(0.0));
        (status["load"]["level"] == level && status["state"] == "live").then_some(status)
    })
    .await;
    (status, lag)
}

#[tokio::test]
async fn a_machine_that_falls_behind_sheds_step_by_step_and_climbs_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (slow, ffmpeg) = throttled(folder.path());
    std::fs::write(&slow, "").expect("a file");
    let config =
        "[load]\nslowness = 0.1\nbehind = \"1s\"\nahead = \"1s\"\npatience = \"1s\"\npause = \"3s\"\nhealthy = \"5s\"";
    let server = Server::in_folder(folder.path(), config, &[], &[("FFMPEG_PATH", &ffmpeg)]);
    let _camera = Camera::publish(&server.publish_url("k"));
    server.create("s", "k", json!({"ladder": ladder()})).await;

    let (status, mut lag) = reaches_level(&server, 1).await;
    assert_eq!(status["load"]["preset"], "ultrafast", "{status}");
    assert_eq!((&status["error"]["code"], &status["load"]["dropped"]), (&json!("shedding"), &json!([])), "{status}");
    assert!(status["error"]["message"].as_str().is_some_and(|text| text.contains("s behind the source")), "{status}");
    assert_eq!(variants(&server).await.len(), 2);

    let (status, later) = reaches_level(&server, 2).await;
    lag = lag.max(later);
    assert_eq!((&status["load"]["dropped"], &status["load"]["levels"]), (&json!(["180p"]), &json!(2)), "{status}");
    assert_eq!(status["renditions"].as_array().map(Vec::len), Some(1), "{status}");
    let only_one = eventually("a master without the dropped rung", Duration::from_secs(5), async || {
        let variants = variants(&server).await;
        (variants.len() == 1).then_some(variants)
    });
    assert_eq!(only_one.await, ["s_90p_playlist.m3u8"]);
    let another = json!({"rtmpUrl": server.publish_url("other"), "streamName": "other"});
    let (code, answer) = server.post(&another).await;
    assert_eq!((code, &answer["code"]), (503, &json!("over-capacity")), "{answer}");

    std::fs::remove_file(&slow).expect("the file");
    let (_, later) = reaches_level(&server, 1).await;
    lag = lag.max(later);
    let (status, later) = reaches_level(&server, 0).await;
    lag = lag.max(later);
    assert_eq!((&status["load"]["preset"], &status["error"]), (&json!("tuned"), &Value::Null), "{status}");
    // At half of real time, what FFmpeg had not taken alone would have been ten seconds late by now.
    assert!(lag < 8.0, "{lag}");
    let done = eventually("media of the whole ladder", Duration::from_secs(10), async || {
        let playlist = media(&server, "180p").await;
        (playlist.discontinuities() == 4).then_some(playlist)
    });
    done.await;
    assert_eq!(variants(&server).await.len(), 2);
    every_change_is_one_discontinuity_everywhere(&server).await;
    let metrics = server.text("/metrics").await;
    for line in ["tailwater_load_sheds_total 2", "tailwater_load_climbs_total 2"] {
        assert!(metrics.contains(line), "{line}");
    }
    let log = server.log();
    let told = |what: &str| log.iter().filter(|line| line.contains(what)).count();
    assert_eq!((told("shedding load"), told("making more")), (2, 2), "{log:#?}");
}

/// The same numbers in both playlists, without a hole; while the rung was dropped its playlist names the next one's media.
async fn every_change_is_one_discontinuity_everywhere(server: &Server) {
    let mut places = Vec::new();
    for rendition in RENDITIONS {
        let playlist = media(server, rendition).await;
        assert_eq!(playlist.parsed.media_sequence, 0);
        let segments = &playlist.parsed.segments;
        let marked = (0..segments.len()).filter(|place| segments[*place].discontinuity);
        let marked: Vec<usize> = marked.take(4).collect();
        for (place, uri) in playlist.uris().iter().enumerate() {
            let dropped = rendition == "180p" && (marked[1]..marked[2]).contains(&place);
            let named = if dropped { "90p" } else { rendition };
            assert_eq!(*uri, format!("s_{named}_segment{place:03}.ts"), "{}", playlist.text);
        }
        places.push(marked);
    }
    assert_eq!(places[0], places[1], "the same numbers in all renditions");
}

fn machine(room: f64, slowness: f64) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("[load]\nslowness = {slowness:?}\nmax_load = {:?}", room / cores as f64)
}

#[tokio::test]
async fn what_does_not_fit_whole_is_started_with_less_and_the_next_one_is_refused_unless_forced() {
    let server = Server::with_config(&machine(0.8, 20.0), &[]);
    let (_one, _two) = (Camera::publish(&server.publish_url("k")), Camera::publish(&server.publish_url("l")));
    server.create("s", "k", json!({"ladder": ladder()})).await;
    let status = server.reaches("s", "live").await;
    assert_eq!((&status["load"]["level"], &status["load"]["preset"]), (&json!(1), &json!("ultrafast")), "{status}");
    assert_eq!(status["error"]["code"], "shedding", "{status}");
    assert!(status["error"]["message"].as_str().is_some_and(|text| text.contains("would take 1.")), "{status}");

    let mut second = json!({"rtmpUrl": server.publish_url("l"), "streamName": "t", "ladder": ladder()});
    let (code, answer) = server.post(&second).await;
    assert_eq!((code, &answer["code"]), (503, &json!("over-capacity")), "{answer}");
    second["force"] = json!(true);
    assert_eq!(server.post(&second).await.0, 202);
    let status = server.reaches("t", "live").await;
    assert_eq!((&status["load"]["level"], &status["error"]), (&json!(0), &Value::Null), "whole: {status}");
}

/// On a machine that holds the ladder copied and not encoded: how a livestream of such a source with `passthrough = "auto"` is once
/// it is live.
async fn let_in_with_keyframes_each(pictures: u32) -> (Server, Camera, Value) {
    let server = Server::with_config(&machine(0.8, 20.0), &[]);
    let camera = Camera::show(&server.publish_url("k"), &Picture { gop: pictures, ..Picture::default() });
    // The top rung may take the source's bit rate.
    let mut ladder = ladder();
    ladder[0]["videoBitrate"] = json!(1_500_000);
    server.create("s", "k", json!({"passthrough": "auto", "ladder": ladder})).await;
    let status = server.reaches("s", "live").await;
    (server, camera, status)
}

#[tokio::test]
async fn a_source_that_is_copied_is_let_in_by_what_copying_takes_and_one_that_is_not_by_encoding() {
    let (fit, unfit) = tokio::join!(let_in_with_keyframes_each(30), let_in_with_keyframes_each(60));
    let (server, _camera, status) = fit;
    assert_eq!((&status["load"]["level"], &status["error"]), (&json!(0), &Value::Null), "{status}");
    let action = |rung: usize| &status["renditions"][rung]["action"];
    assert_eq!((action(0), action(1)), (&json!("copy"), &json!("encode")), "from its first segment: {status}");
    assert_eq!(media(&server, "180p").await.discontinuities(), 0);

    let (_server, _camera, status) = unfit;
    assert_eq!((&status["load"]["level"], &status["error"]["code"]), (&json!(1), &json!("shedding")), "{status}");
    assert_eq!(status["renditions"][0]["action"], "encode", "{status}");
}

#[tokio::test]
async fn what_cannot_be_held_at_all_fails_with_the_figures_unless_forced() {
    let server = Server::with_config(&machine(0.8, 500.0), &[]);
    let _camera = Camera::publish(&server.publish_url("k"));
    server.create("s", "k", json!({"ladder": ladder()})).await;
    let status = server.reaches("s", "failed").await;
    assert_eq!(status["error"]["code"], "over-capacity", "{status}");
    let message = status["error"]["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("cores") && message.contains("0.8 of") && message.contains("\"force\": true"),
        "{message}"
    );
    server.create("s", "k", json!({"ladder": ladder(), "force": true})).await;
    server.reaches("s", "live").await;
}

/// A server whose FFmpeg lists a hardware encoder, with what its test encode and its use come to; what was logged about it once a
/// livestream was live all the same.
async fn with_hardware(test: &str, real: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let listed = "ffmpeg \"$@\" | sed '/^ .*h264_/d'; echo ' V....D h264_nvenc           NVIDIA'; exit 0";
    let script = format!(
        "case \"$*\" in\n *pipe:0*h264_nvenc*) {real} ;;\n *h264_nvenc*) {test} ;;\n *-encoders*) {listed} ;;\nesac\n\
         exec ffmpeg \"$@\""
    );
    let ffmpeg = wrapper(folder.path(), &script);
    let server = Server::in_folder(folder.path(), "", &[], &[("FFMPEG_PATH", &ffmpeg)]);
    let _camera = Camera::publish(&server.publish_url("k"));
    server.create("s", "k", json!({})).await;
    server.reaches("s", "live").await;
    server.log().into_iter().filter(|line| line.contains("x264 encodes instead") && line.contains("WARN")).collect()
}

#[tokio::test]
async fn a_hardware_encoder_that_fails_its_test_is_told_and_x264_encodes() {
    let warned = with_hardware("echo 'Cannot load libcuda.so.1' >&2; exit 1", "exit 1").await;
    assert!(warned.len() == 1 && warned[0].contains("nvenc: Cannot load libcuda.so.1"), "{warned:#?}");
}

#[tokio::test]
async fn a_hardware_encoder_that_fails_only_in_use_is_told_and_x264_encodes() {
    let warned = with_hardware("exit 0", "echo '[error] no free session' >&2; exit 1").await;
    assert!(warned.len() == 1 && warned[0].contains("no free session"), "{warned:#?}");
}
