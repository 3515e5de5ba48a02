//! A broadcast ends when its owner ends it: sources that are lost and come back, FFmpeg that dies or hangs, and the ends
//! that are meant.

mod support;

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use support::camera::Picture;
use support::film::{Film, Recipe};
use support::nginx::Nginx;
use support::{Camera, Media, Server, eventually};

const RENDITIONS: [&str; 2] = ["180p", "90p"];

async fn media(server: &Server, rendition: &str) -> Media {
    Media::parse(&server.text(&format!("/live/s/s_{rendition}_playlist.m3u8")).await)
}

async fn listed(server: &Server, segments: usize) {
    eventually("segments", Duration::from_secs(30), async || {
        (media(server, "180p").await.parsed.segments.len() >= segments).then_some(())
    })
    .await;
}

async fn live(config: &str) -> (Server, Camera) {
    let server = Server::with_config(config, &[]);
    let camera = Camera::publish(&server.publish_url("k"));
    server.create("s", "k", json!({})).await;
    server.reaches("s", "live").await;
    listed(&server, 2).await;
    (server, camera)
}

/// After an interruption: one discontinuity, at the same number in all renditions, and numbers without a hole.
async fn went_on_with_one_discontinuity(server: &Server) {
    let count = media(server, "180p").await.parsed.segments.len();
    listed(server, count + 2).await;
    let mut places = Vec::new();
    for rendition in RENDITIONS {
        let playlist = media(server, rendition).await;
        assert!(!playlist.parsed.end_list);
        assert_eq!((playlist.parsed.media_sequence, playlist.discontinuities()), (0, 1), "{}", playlist.text);
        places.push(playlist.parsed.segments.iter().position(|segment| segment.discontinuity));
    }
    assert_eq!(places[0], places[1], "the same number in all renditions");
}

async fn comes_back_as(picture: Picture) {
    let (server, camera) = live("").await;
    drop(camera);
    let status = server.reaches("s", "interrupted").await;
    assert_eq!(status["error"]["code"], "source-lost", "{status}");
    assert!(!media(&server, "180p").await.parsed.end_list);
    let _camera = Camera::show(&server.publish_url("k"), &picture);
    let status = server.reaches("s", "live").await;
    assert_eq!(status["error"], Value::Null);
    went_on_with_one_discontinuity(&server).await;
}

#[tokio::test]
async fn an_encoder_that_is_killed_and_comes_back_goes_on_with_the_same_livestream() {
    comes_back_as(Picture::default()).await;
}

#[tokio::test]
async fn an_encoder_may_come_back_with_another_size_and_frame_rate() {
    comes_back_as(Picture { size: "640x480", rate: "25", ..Picture::default() }).await;
}

#[tokio::test]
async fn an_encoder_may_come_back_without_sound() {
    comes_back_as(Picture { audio: false, ..Picture::default() }).await;
}

#[tokio::test]
async fn a_pulled_source_whose_picture_stops_is_lost_although_its_sound_goes_on() {
    let nginx = Nginx::start();
    let server = Server::start(&[]);
    server.create("s", "k", json!({"rtmpUrl": nginx.url("k")})).await;
    let film = Film::made(&Recipe { seconds: 9.0, ..Recipe::default() });
    let blind = film.only(|shot| !shot.is_video() || shot.at < 3400);
    let address = format!("127.0.0.1:{}", nginx.port());
    tokio::select! {
        published = blind.publish(&address, "k") => panic!("it was not noticed: {published:?}"),
        status = server.reaches("s", "interrupted") => {
            assert_eq!(status["error"]["code"], "source-lost", "{status}");
            assert!(status["error"]["message"].as_str().is_some_and(|why| why.contains("picture")), "{status}");
        }
    }
}

#[tokio::test]
async fn a_source_that_stays_away_ends_the_livestream_after_the_reconnect_window() {
    let (server, camera) = live("reconnect_window = \"1s\"").await;
    drop(camera);
    server.reaches("s", "ended").await;
    for rendition in RENDITIONS {
        assert!(media(&server, rendition).await.parsed.end_list);
    }
}

#[tokio::test]
async fn a_clean_end_ends_the_livestream_after_the_grace() {
    let (server, camera) = live("end_grace = \"0s\"").await;
    camera.stop();
    server.reaches("s", "ended").await;
    assert!(media(&server, "180p").await.parsed.end_list);
}

#[tokio::test]
async fn ffmpeg_that_is_killed_is_started_again_and_its_end_is_told() {
    let (server, _camera) = live("").await;
    let child = server.children()[0];
    assert!(Command::new("kill").args(["-9", &child.to_string()]).status().unwrap().success());
    eventually("another FFmpeg", Duration::from_secs(10), async || {
        server.children().iter().any(|other| *other != child).then_some(())
    })
    .await;
    server.reaches("s", "live").await;
    went_on_with_one_discontinuity(&server).await;
    assert!(server.log().iter().any(|line| line.contains("killed by signal 9")), "{:#?}", server.log());
}

#[tokio::test]
async fn ffmpeg_that_hangs_is_killed_and_started_again() {
    let (server, _camera) = live("").await;
    let child = server.children()[0];
    assert!(Command::new("kill").args(["-STOP", &child.to_string()]).status().unwrap().success());
    eventually("its end", Duration::from_secs(20), async || (!support::server::is_alive(child)).then_some(())).await;
    server.reaches("s", "live").await;
    went_on_with_one_discontinuity(&server).await;
}

#[tokio::test]
async fn sigterm_ends_livestreams_in_order_and_leaves_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::in_folder(folder.path(), "", &[], &[]);
    let _camera = Camera::publish(&server.publish_url("k"));
    server.create("s", "k", json!({})).await;
    server.reaches("s", "live").await;
    listed(&server, 2).await;
    let children = server.children();
    server.signal("-TERM");
    assert!(server.wait().success());
    assert!(children.into_iter().all(|child| !support::server::is_alive(child)));
    for rendition in RENDITIONS {
        let path = folder.path().join(format!("data/s/{rendition}/s_{rendition}_playlist.m3u8"));
        assert!(Media::parse(&std::fs::read_to_string(path).unwrap()).parsed.end_list);
    }
}

#[tokio::test]
async fn two_livestreams_of_one_source_do_not_harm_each_other() {
    let (server, _camera) = live("").await;
    server.create("t", "k", json!({})).await;
    server.reaches("t", "live").await;
    assert!((200..300).contains(&server.delete("t").await));
    let before = media(&server, "180p").await.last_msn();
    eventually("it goes on", Duration::from_secs(10), async || {
        (media(&server, "180p").await.last_msn() > before + 1).then_some(())
    })
    .await;
    assert_eq!(media(&server, "180p").await.discontinuities(), 0);
}
