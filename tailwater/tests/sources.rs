//! Sources of every kind, against a real server with real encoders.

mod support;

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};
use support::camera::Picture;
use support::film::{Film, Recipe};
use support::{Camera, Media, Multivariant, Server, eventually};

async fn live(picture: &Picture, more: Value) -> (Server, Camera) {
    let server = Server::start(&[]);
    let camera = Camera::show(&server.publish_url("k"), picture);
    server.create("s", "k", more).await;
    server.reaches("s", "live").await;
    (server, camera)
}

async fn listed(server: &Server, rendition: &str, segments: usize) -> Media {
    let path = format!("/live/s/s_{rendition}_playlist.m3u8");
    eventually("segments", Duration::from_secs(30), async || {
        let playlist = Media::parse(&server.text(&path).await);
        (playlist.parsed.segments.len() >= segments).then_some(playlist)
    })
    .await
}

async fn master(server: &Server) -> Multivariant {
    Multivariant::parse(&server.text("/live/s/playlist.m3u8").await)
}

#[rstest]
#[case("24000/1001")]
#[case("24")]
#[case("25")]
#[case("30000/1001")]
#[case("30")]
#[case("50")]
#[case("60000/1001")]
#[case("60")]
#[tokio::test]
async fn segments_last_a_second_to_within_a_frame_at_every_frame_rate(#[case] rate: &'static str) {
    let (server, _camera) = live(&Picture { rate, gop: 100, ..Picture::default() }, json!({})).await;
    let playlist = listed(&server, "180p", 5).await;
    let frames = |rate: &str| match rate.split_once('/') {
        Some((num, den)) => num.parse::<f64>().unwrap() / den.parse::<f64>().unwrap(),
        None => rate.parse().unwrap(),
    };
    let frame = 1.0 / frames(rate);
    let mut end = 0.0;
    for (index, duration) in playlist.durations().into_iter().enumerate() {
        assert!((duration - 1.0).abs() <= frame + 0.001, "segment {index}: {duration}");
        end += duration;
        // The first frame at or after each second: never early, never a whole frame late.
        let late = end - (index + 1) as f64;
        assert!((-0.002..frame).contains(&late), "boundary {index} is {late} s late");
    }
    let advertised = master(&server).await.parsed.variants[0].frame_rate.expect("FRAME-RATE");
    assert!((advertised - frames(rate)).abs() < 0.01, "{advertised}");
}

#[tokio::test]
async fn a_variable_frame_rate_is_made_even() {
    // Two of three pictures in every other second are left out.
    let select = "select='not(mod(floor(t),2))+not(mod(n,3))'";
    let more = vec!["-vf", select, "-fps_mode", "vfr"];
    let (server, _camera) = live(&Picture { more, ..Picture::default() }, json!({})).await;
    let playlist = listed(&server, "180p", 5).await;
    for duration in playlist.durations() {
        assert!((duration - 1.0).abs() < 0.05, "{:?}", playlist.durations());
    }
}

#[rstest]
#[case::portrait("180x320", 90, (90, 160))]
#[case::four_by_three("320x240", 90, (120, 90))]
#[tokio::test]
async fn the_aspect_is_kept_and_portrait_goes_by_its_short_side(
    #[case] size: &'static str,
    #[case] height: u32,
    #[case] expected: (u64, u64),
) {
    let rungs = json!([{"name": "low", "height": height, "videoBitrate": 200_000, "preset": "ultrafast"}]);
    let (server, _camera) = live(&Picture { size, ..Picture::default() }, json!({"ladder": rungs})).await;
    let resolution = master(&server).await.parsed.variants[0].resolution.expect("RESOLUTION");
    assert_eq!((resolution.width, resolution.height), expected);
}

#[tokio::test]
async fn a_720p_source_gets_720p_and_480p_of_the_default_ladder() {
    let server = Server::start(&[]);
    let _camera = Camera::show(&server.publish_url("k"), &Picture { size: "1280x720", ..Picture::default() });
    let body = json!({"rtmpUrl": server.publish_url("k"), "streamName": "s"});
    assert_eq!(server.post(&body).await.0, 202);
    server.reaches("s", "live").await;
    assert_eq!(master(&server).await.uris(), ["s_720p_playlist.m3u8", "s_480p_playlist.m3u8"]);
}

#[tokio::test]
async fn a_source_smaller_than_every_rung_gets_itself() {
    let rungs = json!([{"name": "720p", "height": 720, "videoBitrate": 3_000_000}]);
    let (server, _camera) = live(&Picture { size: "426x240", ..Picture::default() }, json!({"ladder": rungs})).await;
    let master = master(&server).await;
    assert_eq!(master.uris(), ["s_240p_playlist.m3u8"]);
    assert!(master.parsed.variants[0].bandwidth < 3_000_000);
}

#[tokio::test]
async fn a_source_without_video_plays() {
    let (server, _camera) = live(&Picture { video: false, ..Picture::default() }, json!({})).await;
    let variant = master(&server).await.parsed.variants.remove(0);
    assert_eq!((variant.uri.as_str(), variant.codecs.as_deref()), ("s_audio_playlist.m3u8", Some("mp4a.40.2")));
    for duration in listed(&server, "audio", 3).await.durations() {
        assert!((duration - 1.0).abs() < 0.06, "{duration}");
    }
}

#[tokio::test]
async fn a_source_without_audio_plays_and_promises_none() {
    let (server, _camera) = live(&Picture { audio: false, ..Picture::default() }, json!({})).await;
    let codecs = master(&server).await.parsed.variants[0].codecs.clone().expect("CODECS");
    assert!(codecs.starts_with("avc1.") && !codecs.contains("mp4a"), "{codecs}");
    let url = server.url("/live/s/s_180p_playlist.m3u8");
    assert_eq!(support::ffprobe(&url, "stream=codec_type").iter().filter(|kind| *kind == "audio").count(), 0);
}

#[tokio::test]
async fn a_post_before_the_encoder_connects_waits_for_it() {
    let server = Server::start(&[]);
    server.create("s", "k", json!({})).await;
    assert_eq!(server.status("s").await["state"], "starting");
    let _camera = Camera::publish(&server.publish_url("k"));
    server.reaches("s", "live").await;
}

#[tokio::test]
async fn a_source_that_never_comes_fails_with_a_code() {
    let server = Server::with_config("source_timeout = \"1s\"", &[]);
    server.create("s", "k", json!({})).await;
    let status = server.reaches("s", "failed").await;
    assert_eq!(status["error"]["code"], "source-timeout", "{status}");
}

#[tokio::test]
async fn an_unreachable_source_fails_with_a_plain_sentence() {
    let server = Server::start(&[]);
    let (status, _) = server.post(&json!({"rtmpUrl": "rtmp://127.0.0.1:9/live/x", "streamName": "s"})).await;
    assert_eq!(status, 202);
    let status = server.reaches("s", "failed").await;
    assert_eq!(status["error"]["code"], "source-unreachable", "{status}");
    let message = status["error"]["message"].as_str().expect("a message");
    assert!(message.contains("127.0.0.1") && !message.contains("/x"), "{message}");
}

#[tokio::test]
async fn a_livestream_is_pulled_from_an_nginx_with_the_rtmp_module_as_in_the_tutorial() {
    let server = Server::start(&[]);
    let nginx = support::nginx::Nginx::start();
    let _camera = Camera::publish(&nginx.url("teststream"));
    let body =
        json!({"rtmpUrl": nginx.url("teststream"), "streamName": "s", "ladder": support::server::small_ladder()});
    assert_eq!(server.post(&body).await.0, 202);
    server.reaches("s", "live").await;
    assert_eq!(master(&server).await.uris().len(), 2);
}

#[tokio::test]
async fn a_livestream_is_pulled_over_tls() {
    let server = Server::start(&[]);
    let nginx = support::nginx::Nginx::start();
    let _camera = Camera::publish(&nginx.url("secretkey"));
    let tls = support::tls::Terminator::before(nginx.port()).await;
    let url = format!("rtmps://localhost:{}/live/secretkey", tls.port());
    let body = json!({"rtmpUrl": url, "streamName": "s", "ladder": support::server::small_ladder()});
    assert_eq!(server.post(&body).await.0, 202);
    let status = server.reaches("s", "live").await;
    assert_eq!(master(&server).await.uris().len(), 2);
    assert!(tls.connections() > 0, "it came over TLS");
    let shown = format!("{status} {:#?}", server.log());
    assert!(!shown.contains("secretkey"), "the stream key is shown: {shown}");
}

/// A short film whose pictures say, as Enhanced RTMP does, that they are in another codec.
fn in_codec(four_cc: &[u8; 4]) -> Film {
    Film::made(&Recipe { seconds: 3.0, ..Recipe::default() }).rewritten(|shot| {
        let body = &shot.tag.body;
        shot.is_video().then(|| {
            let packet = if shot.is_header() { 0 } else { 1 };
            let head = [&[0x80 | (body[0] & 0x70) | packet][..], four_cc].concat();
            // Where AVC has its packet type and composition time, the codec's own data begins.
            [&head[..], if packet == 0 { &body[5..] } else { &body[2..] }].concat()
        })
    })
}

/// FFmpeg does since version 6.1; Debian 12 has 5.1.
fn reads_enhanced_rtmp() -> bool {
    let (_, answer, _) = support::run("ffmpeg", &["-version"]);
    let mut numbers = answer.split(|letter: char| !letter.is_ascii_digit()).filter_map(|number| number.parse().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(1))
}

#[rstest]
#[case::hevc(b"hvc1", "HEVC")]
#[case::unheard_of(b"zzzz", "zzzz")]
#[tokio::test]
async fn a_codec_that_ffmpeg_cannot_read_is_named_with_what_would_do(#[case] four_cc: &[u8; 4], #[case] name: &str) {
    if name == "HEVC" && reads_enhanced_rtmp() {
        return;
    }
    let server = Server::start(&[]);
    server.create("s", "k", json!({})).await;
    // The server may send it away once that is clear.
    let _ = in_codec(four_cc).publish(&server.rtmp, "k").await;
    let status = server.reaches("s", "failed").await;
    assert_eq!(status["error"]["code"], "codec-unsupported", "{status}");
    let message = status["error"]["message"].as_str().expect("a message");
    assert!(message.contains(name) && message.contains("FFmpeg") && message.contains("H.264"), "{message}");
}

/// Two fields of a moving picture a frame: what a decoder shows is combed.
const INTERLACED: [&str; 8] =
    ["-vf", "interlace=scan=tff:lowpass=off", "-flags", "+ildct+ilme", "-x264-params", "tff=1", "-top", "1"];

#[tokio::test]
async fn an_interlaced_source_is_deinterlaced() {
    let picture = Picture { rate: "50", gop: 25, more: INTERLACED.to_vec(), ..Picture::default() };
    let (server, _camera) = live(&picture, json!({})).await;
    let playlist = listed(&server, "180p", 2).await;
    let url = server.url(&format!("/live/s/{}", playlist.uris()[1]));
    let streams = support::ffprobe(&url, "stream=codec_type,field_order");
    assert!(streams.iter().all(|stream| stream == "audio" || stream == "video,progressive"), "{streams:?}");
    let (_, _, found) = support::run("ffmpeg", &["-i", &url, "-vf", "idet", "-an", "-f", "null", "-"]);
    let frames = found.lines().rfind(|line| line.contains("Multi frame detection")).expect("idet's count");
    let count = |kind: &str| -> u32 {
        let (_, rest) = frames.split_once(kind).expect("a kind of frame");
        rest.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
    };
    // All 25 are found interlaced where nothing was done, and a few of this picture's where it was.
    assert!(count("TFF:") + count("BFF:") <= 5 && count("Progressive:") >= 20, "{frames}");
}

#[tokio::test]
async fn a_second_publisher_of_a_key_is_refused_with_a_reason() {
    let (server, _camera) = live(&Picture::default(), json!({})).await;
    let (ok, complaints) = Camera::publish_for(&server.publish_url("k"), &Picture::default(), 5).finish();
    assert!(!ok && complaints.contains("already being published"), "{complaints}");
    assert_eq!(server.status("s").await["state"], "live");
}

#[tokio::test]
async fn a_publisher_nobody_wants_yet_waits_and_is_taken_by_a_post() {
    let server = Server::start(&[]);
    let _camera = Camera::publish(&server.publish_url("k"));
    let waiting = async || {
        let list: Value = server.get("/livestreams").await.json().await.ok()?;
        list["waiting"].as_array().filter(|waiting| !waiting.is_empty()).cloned()
    };
    eventually("a waiting publisher", Duration::from_secs(10), waiting).await;
    server.create("s", "k", json!({})).await;
    server.reaches("s", "live").await;
    assert!(waiting().await.is_none());
}

#[tokio::test]
async fn with_auto_start_a_publish_makes_a_livestream_named_by_its_key() {
    let server =
        Server::with_config("[[ladder]]\nname = \"90p\"\nheight = 90\nvideo_bitrate = 150000\n", &["--auto-start"]);
    let _camera = Camera::publish(&server.publish_url("Camera7"));
    eventually("the livestream", Duration::from_secs(10), async || {
        (server.get("/livestreams/camera7").await.status() == 200).then_some(())
    })
    .await;
    server.reaches("camera7", "live").await;
}

#[tokio::test]
async fn a_key_of_our_own_making_can_be_published_to() {
    let server = Server::start(&[]);
    let body = json!({"streamName": "s", "ingest": "push", "ladder": support::server::small_ladder()});
    let (status, answer) = server.post(&body).await;
    assert_eq!(status, 202, "{answer}");
    let key = answer["streamKey"].as_str().expect("a key");
    assert!(key.len() >= 32);
    let publish = answer["publishUrl"].as_str().expect("a URL");
    assert!(publish.starts_with("rtmp://"), "{publish}");
    let _camera = Camera::publish(&server.publish_url(key));
    server.reaches("s", "live").await;
}

#[tokio::test]
async fn bad_input_gets_a_clear_error_and_loses_nothing() {
    let (server, _camera) = live(&Picture::default(), json!({})).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = server.url("/livestreams");
    let long = json!({"rtmpUrl": "rtmp://localhost/live/x", "streamName": "x".repeat(1 << 20)}).to_string();
    for body in [
        "{",
        "[]",
        r#"{"rtmpUrl": 7, "streamName": "x"}"#,
        r#"{"rtmpUrl": "rtmp://localhost/live/x", "streamName": []}"#,
        &long,
    ] {
        let request = client.post(&url).header("content-type", "application/json").body(body.to_owned());
        let response = request.send().await.unwrap();
        assert!(response.status().is_client_error(), "{}", &body[..body.len().min(60)]);
        let answer: Value = response.json().await.expect("a JSON error");
        assert!(answer["error"].is_string() && answer["code"].is_string(), "{answer}");
    }
    assert_eq!(server.status("s").await["state"], "live");
}
