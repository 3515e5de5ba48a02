//! The tutorial, to the letter of its interface, against a real server with a real encoder; and what its own code does
//! wrongly, each row of it.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::camera::Picture;
use support::{Camera, Media, Multivariant, Server, decodes, eventually, ffprobe, run};

const NAME: &str = "mymomentostream";

async fn playing(picture: &Picture, more: Value) -> (Server, Camera) {
    let server = Server::start(&[]);
    let camera = Camera::show(&server.publish_url("teststream"), picture);
    server.create("My Momento Stream", "teststream", more).await;
    server.reaches(NAME, "live").await;
    (server, camera)
}

async fn media(server: &Server, rendition: &str) -> Media {
    Media::parse(&server.text(&format!("/live/{NAME}/{NAME}_{rendition}_playlist.m3u8")).await)
}

/// Waits until a rendition lists at least so many segments.
async fn listed(server: &Server, rendition: &str, segments: usize) -> Media {
    eventually("segments", Duration::from_secs(30), async || {
        let playlist = media(server, rendition).await;
        (playlist.parsed.segments.len() >= segments).then_some(playlist)
    })
    .await
}

#[tokio::test]
async fn the_tutorials_curl_line_word_for_word() {
    // The tutorial's addresses are the defaults; a machine where they are taken has something else to test first.
    let server = Server::start(&["--http", "127.0.0.1:3000", "--rtmp", "127.0.0.1:1935"]);
    let _camera = Camera::publish("rtmp://localhost/live/teststream");
    let (ok, stdout, _) = run(
        "curl",
        &[
            "-s",
            "-w",
            " %{http_code}",
            "-X",
            "POST",
            "http://localhost:3000/livestreams",
            "-H",
            "Content-Type: application/json",
            "-d",
            r#"{"rtmpUrl": "rtmp://localhost/live/teststream", "streamName": "My Momento Stream"}"#,
        ],
    );
    assert!(ok);
    let (body, status) = stdout.rsplit_once(' ').expect("a status");
    let answer: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!((status, answer["stream"].as_str()), ("202", Some("mymomentostream_playlist.m3u8")));
    server.reaches(NAME, "live").await;
    let master = Multivariant::parse(&server.text("/live/mymomentostream/playlist.m3u8").await);
    // The camera's picture is smaller than every rung of the default ladder: it gets itself.
    assert_eq!(master.uris(), ["mymomentostream_180p_playlist.m3u8"]);
}

#[tokio::test]
async fn a_missing_field_is_the_tutorials_400() {
    let server = Server::start(&[]);
    for body in [json!({}), json!({"rtmpUrl": "rtmp://localhost/live/x"}), json!({"streamName": "x"})] {
        let (status, answer) = server.post(&body).await;
        assert_eq!((status, answer["error"].as_str()), (400, Some("RTMP url and stream name are required")));
    }
}

#[tokio::test]
async fn names_keep_digits_and_other_scripts_and_never_become_empty() {
    let server = Server::start(&[]);
    let name = async |title: &str| {
        let (status, answer) = server.post(&json!({"rtmpUrl": server.publish_url("k"), "streamName": title})).await;
        (status, answer["stream"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(name("Stream 1").await, (202, "stream1_playlist.m3u8".into()));
    assert_eq!(name("Stream 2").await, (202, "stream2_playlist.m3u8".into()));
    let (status, japanese) = name("配信テスト").await;
    assert!(status == 202 && japanese.len() > "_playlist.m3u8".len(), "{japanese}");
    assert_eq!(name("!!!").await.0, 400);
}

#[tokio::test]
async fn keys_uris_and_files_have_the_tutorials_names_and_agree() {
    let (server, _camera) = playing(&Picture::default(), json!({})).await;
    let playlist = listed(&server, "180p", 3).await;
    assert_eq!(playlist.uris()[..2], [format!("{NAME}_180p_segment000.ts"), format!("{NAME}_180p_segment001.ts")]);
    for uri in playlist.uris() {
        let response = server.get(&format!("/live/{NAME}/{uri}")).await;
        assert_eq!(
            (response.status().as_u16(), response.headers()["content-type"].to_str().ok()),
            (200, Some("video/mp2t"))
        );
        let served = response.bytes().await.expect("a body");
        let file = server.data.join(NAME).join("180p").join(uri);
        let stored = eventually("the file", Duration::from_secs(5), async || std::fs::read(&file).ok()).await;
        assert_eq!(served, stored, "{uri}: the folder of the rendition holds what is served");
    }
    assert!(server.data.join(NAME).join(format!("{NAME}_playlist.m3u8")).exists());
}

#[tokio::test]
async fn each_rendition_is_what_it_says_and_every_parser_takes_the_playlists() {
    let (server, _camera) = playing(&Picture { size: "640x360", ..Picture::default() }, json!({})).await;
    let text = server.text(&format!("/live/{NAME}/playlist.m3u8")).await;
    assert!(text.lines().all(|line| line == line.trim()), "no line is indented");
    let master = Multivariant::parse(&text);
    for variant in &master.parsed.variants {
        let resolution = variant.resolution.expect("RESOLUTION");
        let url = server.url(&format!("/live/{NAME}/{}", variant.uri));
        let decoded = ffprobe(&url, "stream=width,height");
        assert!(decoded.contains(&format!("{},{}", resolution.width, resolution.height)), "{decoded:?}");
        let codecs = variant.codecs.as_deref().expect("CODECS");
        assert!(codecs.starts_with("avc1.") && codecs.ends_with("mp4a.40.2"), "{codecs}");
        assert_eq!(variant.frame_rate, Some(30.0));
        assert!(variant.average_bandwidth.is_some_and(|average| average <= variant.bandwidth));
    }
    assert_eq!(master.uris(), [format!("{NAME}_180p_playlist.m3u8"), format!("{NAME}_90p_playlist.m3u8")]);
    assert!(!ffprobe(&server.url(&format!("/live/{NAME}/playlist.m3u8")), "stream=codec_name").is_empty());
}

#[tokio::test]
async fn bandwidth_is_honest_from_the_first_multivariant_playlist_on() {
    let (server, _camera) = playing(&Picture { size: "640x360", ..Picture::default() }, json!({})).await;
    let first = Multivariant::parse(&server.text(&format!("/live/{NAME}/playlist.m3u8")).await);
    let playlist = listed(&server, "180p", 8).await;
    let variant = first.parsed.variants.iter().find(|variant| variant.uri.contains("180p")).expect("180p");
    for (uri, duration) in playlist.uris().iter().zip(playlist.durations()) {
        let bytes = server.get(&format!("/live/{NAME}/{uri}")).await.bytes().await.expect("a body").len();
        let rate = bytes as f64 * 8.0 / duration;
        assert!(rate <= variant.bandwidth as f64, "{uri}: {rate} bit/s, advertised {}", variant.bandwidth);
    }
}

#[tokio::test]
async fn boundaries_and_numbers_are_the_same_in_all_renditions_and_each_segment_decodes_alone() {
    let (server, _camera) = playing(&Picture::default(), json!({})).await;
    let high = listed(&server, "180p", 5).await;
    let low = listed(&server, "90p", 5).await;
    let folder = tempfile::tempdir().expect("a folder");
    for index in 0..5 {
        let (a, b) = (&high.parsed.segments[index], &low.parsed.segments[index]);
        assert_eq!((a.duration, a.program_date_time), (b.duration, b.program_date_time), "segment {index}");
        let mut firsts = Vec::new();
        for uri in [&a.uri, &b.uri] {
            let path = folder.path().join(uri);
            let bytes = server.get(&format!("/live/{NAME}/{uri}")).await.bytes().await.expect("a body");
            std::fs::write(&path, bytes).expect("a file");
            let path = path.to_str().expect("a path");
            decodes(path);
            let arguments =
                ["-v", "error", "-select_streams", "v:0", "-show_entries", "frame=pts", "-of", "csv=p=0", path];
            let (_, frames, _) = run("ffprobe", &arguments);
            let pts: Vec<i64> = frames.lines().filter_map(|line| line.trim_end_matches(',').parse().ok()).collect();
            assert_eq!(pts.len(), 30, "{uri}");
            firsts.push(pts[0]);
        }
        assert_eq!(firsts[0], firsts[1], "segment {index} begins with the same picture");
    }
}

#[tokio::test]
async fn audio_is_encoded_once_and_is_the_same_in_all_renditions() {
    let (server, _camera) = playing(&Picture::default(), json!({})).await;
    listed(&server, "90p", 2).await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut hashes = Vec::new();
    for rendition in ["180p", "90p"] {
        let uri = format!("{NAME}_{rendition}_segment001.ts");
        let path = folder.path().join(&uri);
        let bytes = server.get(&format!("/live/{NAME}/{uri}")).await.bytes().await.expect("a body");
        std::fs::write(&path, bytes).expect("a file");
        let path = path.to_str().expect("a path");
        let (ok, hash, _) = run("ffmpeg", &["-v", "error", "-i", path, "-map", "0:a", "-c", "copy", "-f", "md5", "-"]);
        assert!(ok);
        hashes.push(hash);
    }
    assert_eq!(hashes[0], hashes[1]);
}

#[tokio::test]
async fn a_second_post_is_a_repetition_and_a_different_one_a_conflict() {
    let (server, _camera) = playing(&Picture::default(), json!({})).await;
    let children = server.children();
    let first = server.create("My Momento Stream", "teststream", json!({})).await;
    assert_eq!(first["stream"], format!("{NAME}_playlist.m3u8"));
    assert_eq!(server.children(), children, "no second FFmpeg");
    let other = json!({"rtmpUrl": server.publish_url("other"), "streamName": "My Momento Stream"});
    let (status, answer) = server.post(&other).await;
    assert_eq!(status, 409, "{answer}");
    assert!(answer["code"].is_string() && answer["error"].is_string());
}

#[tokio::test]
async fn ending_writes_the_last_segment_and_endlist_within_two_seconds_and_leaves_no_ffmpeg() {
    let (server, _camera) = playing(&Picture::default(), json!({})).await;
    listed(&server, "180p", 3).await;
    let children = server.children();
    assert!(!children.is_empty());
    let begun = std::time::Instant::now();
    assert!((200..300).contains(&server.delete(NAME).await));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let playlist = media(&server, "180p").await;
    assert!(playlist.parsed.end_list);
    let stored =
        std::fs::read_to_string(server.data.join(NAME).join("180p").join(format!("{NAME}_180p_playlist.m3u8")));
    assert_eq!(stored.expect("stored"), playlist.text, "the store has the same last playlist");
    assert!(children.into_iter().all(|child| !support::server::is_alive(child)));
    assert_eq!(server.status(NAME).await["state"], "ended");
}

#[tokio::test]
async fn a_new_broadcast_of_the_name_has_higher_numbers_and_lists_none_of_the_ended_one() {
    let (server, _camera) = playing(&Picture::default(), json!({})).await;
    listed(&server, "180p", 3).await;
    server.delete(NAME).await;
    let last = media(&server, "180p").await.last_msn();
    server.create("My Momento Stream", "teststream", json!({})).await;
    server.reaches(NAME, "live").await;
    let playlist = media(&server, "180p").await;
    assert!(playlist.parsed.media_sequence > last, "{} after {last}", playlist.parsed.media_sequence);
    assert!(!playlist.parsed.end_list);
}

#[tokio::test]
async fn no_ffmpeg_outlives_a_killed_server_and_the_stream_goes_on_after_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::in_folder(folder.path(), "", &[], &[]);
    let camera = Camera::publish(&server.publish_url("teststream"));
    server.create("My Momento Stream", "teststream", json!({})).await;
    server.reaches(NAME, "live").await;
    listed(&server, "180p", 3).await;
    let children = server.children();
    drop(server); // kill -9
    eventually("FFmpeg's end", Duration::from_secs(3), async || {
        children.iter().all(|child| !support::server::is_alive(*child)).then_some(())
    })
    .await;
    drop(camera);
    let before = std::fs::read_to_string(folder.path().join(format!("data/{NAME}/180p/{NAME}_180p_playlist.m3u8")));
    let before = Media::parse(&before.expect("the stored playlist"));

    let server = Server::in_folder(folder.path(), "", &[], &[]);
    // What was stored is served before anything is published.
    let served = media(&server, "180p").await;
    assert_eq!(served.last_msn(), before.last_msn());
    assert_eq!(server.get(&format!("/live/{NAME}/{}", served.uris()[0])).await.status(), 200);
    let _camera = Camera::publish(&server.publish_url("teststream"));
    server.create("My Momento Stream", "teststream", json!({})).await;
    server.reaches(NAME, "live").await;
    let after = eventually("a new segment", Duration::from_secs(10), async || {
        let after = media(&server, "180p").await;
        (after.last_msn() > before.last_msn() + 1).then_some(after)
    })
    .await;
    assert_eq!(after.parsed.media_sequence, 0, "the old ones are still listed");
    assert_eq!(after.discontinuities(), 1, "both sides of one discontinuity");
    let numbers: Vec<String> = (0..=after.last_msn()).map(|msn| format!("{NAME}_180p_segment{msn:03}.ts")).collect();
    assert_eq!(after.uris(), numbers, "numbers go on without a hole");
}

#[tokio::test]
async fn sources_that_are_files_other_schemes_or_private_hosts_are_refused() {
    let server = Server::start(&[]);
    for url in [
        "file:///etc/passwd",
        "concat:a|b",
        "http://169.254.169.254/latest/meta-data",
        "rtmp://169.254.169.254/live/x",
        "rtmp://10.0.0.1/live/x",
        "not a url",
    ] {
        let (status, answer) = server.post(&json!({"rtmpUrl": url, "streamName": "x"})).await;
        assert_eq!(status, 400, "{url}: {answer}");
        assert!(answer["error"].is_string() && answer["code"].is_string(), "{answer}");
    }
}

#[tokio::test]
async fn program_date_time_is_the_arrival_of_the_first_frame_and_advances_by_media_time() {
    let before = std::time::SystemTime::now();
    let (server, _camera) = playing(&Picture::default(), json!({})).await;
    let playlist = listed(&server, "180p", 5).await;
    let dates: Vec<_> =
        playlist.parsed.segments.iter().map(|segment| segment.program_date_time.expect("a date")).collect();
    let first = std::time::SystemTime::from(dates[0]);
    let since = first.duration_since(before).expect("not before the camera began");
    assert!(since < Duration::from_secs(10), "{since:?}");
    for (pair, duration) in dates.windows(2).zip(playlist.durations()) {
        let step = (pair[1] - pair[0]).num_milliseconds() as f64 / 1000.0;
        assert!((step - duration).abs() <= 0.0021, "{step} after {duration}");
    }
}

#[tokio::test]
async fn http_answers_as_players_and_caches_need() {
    let (server, _camera) = playing(&Picture::default(), json!({})).await;
    let playlist = listed(&server, "180p", 3).await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let segment = server.url(&format!("/live/{NAME}/{}", playlist.uris()[1]));
    let head = client.head(&segment).send().await.expect("an answer");
    assert!(head.headers()["cache-control"].to_str().expect("text").contains("immutable"));
    assert_eq!(head.headers()["access-control-allow-origin"], "*");
    let etag = head.headers()["etag"].clone();
    let same = client.get(&segment).header("if-none-match", etag).send().await.expect("an answer");
    assert_eq!(same.status(), 304);
    let part = client.get(&segment).header("range", "bytes=0-187").send().await.expect("an answer");
    assert_eq!((part.status().as_u16(), part.bytes().await.expect("a body").len()), (206, 188));
    let url = server.url(&format!("/live/{NAME}/{NAME}_180p_playlist.m3u8"));
    let zipped = client.get(&url).header("accept-encoding", "gzip").send().await.expect("an answer");
    assert_eq!(zipped.headers()["content-encoding"], "gzip");
    assert_eq!(zipped.headers()["content-type"], "application/vnd.apple.mpegurl");
    let missing = server.get(&format!("/live/{NAME}/{NAME}_180p_segment999999.ts")).await;
    assert_eq!(missing.status(), 404);
    assert_eq!(missing.headers()["cache-control"], "no-store");
    assert_eq!(missing.headers()["access-control-allow-origin"], "*");
    assert!(server.text(&format!("/watch/{NAME}")).await.contains("<html"));
    assert!(server.text("/").await.contains("<html"));
}
