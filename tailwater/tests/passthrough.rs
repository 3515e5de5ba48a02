//! The source as the top rung: copied when it is fit, encoded again when a key frame comes too late.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::camera::Picture;
use support::{Camera, Media, Server, decodes, eventually};

/// The top rung may take the source's bit rate.
fn ladder() -> Value {
    json!([
        {"name": "180p", "height": 180, "videoBitrate": 1_500_000, "preset": "ultrafast"},
        {"name": "90p", "height": 90, "videoBitrate": 150_000, "preset": "ultrafast"},
    ])
}

async fn media(server: &Server, rendition: &str) -> Media {
    Media::parse(&server.text(&format!("/live/s/s_{rendition}_playlist.m3u8")).await)
}

/// What becomes of the top rung.
async fn top_rung_is(server: &Server, action: &str) -> Value {
    eventually(action, Duration::from_secs(30), async || {
        let status = server.status("s").await;
        (status["renditions"][0]["action"] == action).then_some(status)
    })
    .await
}

async fn grows_by(server: &Server, segments: u64) {
    let goal = media(server, "90p").await.last_msn() + segments;
    eventually("segments", Duration::from_secs(30), async || {
        (media(server, "180p").await.last_msn() >= goal && media(server, "90p").await.last_msn() >= goal).then_some(())
    })
    .await;
}

/// Media time against the dates: nothing is missing and nothing comes twice. Seconds.
fn drift(playlist: &Media) -> f64 {
    let dates: Vec<_> = playlist.parsed.segments.iter().map(|segment| segment.program_date_time.unwrap()).collect();
    let shown: f64 = playlist.durations().iter().rev().skip(1).sum();
    let (first, last) = (dates.first().unwrap(), dates.last().unwrap());
    (*last - *first).num_milliseconds() as f64 / 1000.0 - shown
}

/// A key frame each second for nine seconds, then one each four.
#[tokio::test]
async fn a_fit_source_is_copied_until_a_key_frame_comes_too_late() {
    let server = Server::start(&[]);
    let more = vec!["-force_key_frames", "expr:if(lt(t,8.9),gte(t,n_forced),gte(t,8+(n_forced-8)*4))"];
    let _camera = Camera::show(&server.publish_url("k"), &Picture { gop: 1000, more, ..Picture::default() });
    server.create("s", "k", json!({"passthrough": "auto", "ladder": ladder()})).await;
    let status = server.reaches("s", "live").await;
    assert_eq!(status["renditions"][0]["action"], "encode", "nobody waits for the judgement");

    let status = top_rung_is(&server, "copy").await;
    assert_eq!((&status["renditions"][1]["action"], &status["error"]), (&json!("encode"), &Value::Null));
    grows_by(&server, 2).await;

    let status = top_rung_is(&server, "encode").await;
    assert_eq!((&status["state"], &status["error"]["code"]), (&json!("live"), &json!("keyframe-late")), "{status}");
    grows_by(&server, 3).await;
    let mut discontinuities = Vec::new();
    for rendition in ["180p", "90p"] {
        let playlist = media(&server, rendition).await;
        assert_eq!(playlist.parsed.target_duration, 1);
        assert!(playlist.durations().into_iter().all(|duration| duration < 1.5), "{}", playlist.text);
        assert_eq!((playlist.discontinuities(), playlist.parsed.media_sequence), (2, 0), "{}", playlist.text);
        assert!(drift(&playlist).abs() < 0.25, "{} s: {}", drift(&playlist), playlist.text);
        let places = playlist.parsed.segments.iter().map(|segment| segment.discontinuity).collect::<Vec<_>>();
        discontinuities.push(places[..10].to_vec());
    }
    assert_eq!(discontinuities[0], discontinuities[1], "at the same numbers");
    assert_eq!(server.status("s").await["renditions"][0]["action"], "encode", "for the rest of the broadcast");
}

/// Two seconds from key frame to key frame, in CMAF with parts.
#[tokio::test]
async fn always_copies_and_promises_segments_as_long_as_the_spacing() {
    let server = Server::start(&[]);
    let _camera = Camera::show(&server.publish_url("k"), &Picture { gop: 60, ..Picture::default() });
    server.create("s", "k", json!({"passthrough": "always", "format": "cmaf", "ladder": ladder()})).await;
    let status = server.reaches("s", "live").await;
    assert_eq!(status["renditions"][0]["action"], "copy", "{status}");
    grows_by(&server, 2).await;
    let low_latency = server.text("/live/s/s_180p_low-latency.m3u8").await;
    assert!((200..300).contains(&server.delete("s").await));
    for rendition in ["180p", "90p", "audio"] {
        let playlist = media(&server, rendition).await;
        assert_eq!((playlist.parsed.target_duration, playlist.discontinuities()), (2, 0), "{}", playlist.text);
        let durations = playlist.durations();
        let whole = &durations[..durations.len() - 1];
        // Two frames of sound more or less where it begins before the pictures.
        assert!(whole.iter().all(|duration| (duration - 2.0).abs() < 0.045), "{rendition}: {durations:?}");
        decodes(&server.url(&format!("/live/s/s_{rendition}_playlist.m3u8")));
    }
    let attribute = |line: &str, name: &str| -> f64 {
        let value = line.split(name).nth(1).unwrap().split(',').next().unwrap();
        value.parse().unwrap()
    };
    let parts: Vec<f64> = low_latency
        .lines()
        .filter(|line| line.starts_with("#EXT-X-PART:"))
        .map(|line| attribute(line, "DURATION="))
        .collect();
    let target = low_latency.lines().find(|line| line.starts_with("#EXT-X-PART-INF:")).unwrap();
    let target = attribute(target, "PART-TARGET=");
    assert!(parts.len() > 10 && parts.iter().all(|part| *part <= target), "{low_latency}");
}
