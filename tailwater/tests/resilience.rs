//! What plays while the source is lost (a backup, a slate), and what goes on after the server itself was restarted.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};
use support::camera::Picture;
use support::nginx::Nginx;
use support::server::{is_alive, small_ladder};
use support::{Camera, Media, Server, eventually, ffprobe, run};

const RENDITIONS: [&str; 2] = ["180p", "90p"];

async fn media(server: &Server, rendition: &str) -> Media {
    Media::parse(&server.text(&format!("/live/s/s_{rendition}_playlist.m3u8")).await)
}

/// Waits until segments follow so many discontinuities in all renditions. Their playlists: the same discontinuities at the
/// same numbers, and numbers from 0 without a hole.
async fn after(server: &Server, discontinuities: usize, segments: usize) -> Vec<Media> {
    let mut playlists = Vec::new();
    for rendition in RENDITIONS {
        let playlist = eventually("segments after a discontinuity", Duration::from_secs(30), async || {
            let playlist = media(server, rendition).await;
            let newest = playlist.parsed.segments.iter().rev().take_while(|segment| !segment.discontinuity).count();
            (playlist.discontinuities() == discontinuities && newest >= segments).then_some(playlist)
        })
        .await;
        assert!(!playlist.parsed.end_list, "{}", playlist.text);
        assert_eq!(
            numbers(&playlist),
            (0..playlist.parsed.segments.len() as u64).collect::<Vec<_>>(),
            "{}",
            playlist.text
        );
        playlists.push(playlist);
    }
    let places = |playlist: &Media| {
        let segments = playlist.parsed.segments.iter().enumerate();
        segments.filter(|(_, segment)| segment.discontinuity).map(|(index, _)| index).collect::<Vec<_>>()
    };
    assert_eq!(places(&playlists[0]), places(&playlists[1]), "the same numbers in all renditions");
    playlists
}

/// The media sequence numbers in the URIs.
fn numbers(playlist: &Media) -> Vec<u64> {
    let number = |uri: &&str| uri.rsplit_once("_segment").and_then(|(_, rest)| rest.split('.').next()?.parse().ok());
    playlist.uris().iter().map(|uri| number(uri).expect("a number")).collect()
}

async fn uses(server: &Server, side: &str) -> Value {
    eventually(side, Duration::from_secs(30), async || {
        let status = server.status("s").await;
        (status["source"]["active"] == side && status["state"] == "live").then_some(status)
    })
    .await
}

#[tokio::test]
async fn a_backup_takes_over_and_main_is_used_again_once_it_holds() {
    let server = Server::start(&[]);
    let wide = Picture { size: "426x240", ..Picture::default() };
    let _backup = Camera::show(&server.publish_url("backup"), &wide);
    let main = Camera::publish(&server.publish_url("main"));
    server.create("s", "main", json!({"backupUrl": server.publish_url("backup")})).await;
    let status = uses(&server, "main").await;
    assert_eq!(status["source"]["video"]["width"], 320, "{status}");
    after(&server, 0, 2).await;

    drop(main);
    uses(&server, "backup").await;
    after(&server, 1, 1).await;
    let status = server.status("s").await;
    assert_eq!((&status["source"]["video"]["width"], &status["error"]), (&json!(426), &Value::Null), "{status}");

    let _main = Camera::publish(&server.publish_url("main"));
    uses(&server, "main").await;
    after(&server, 2, 1).await;
    assert_eq!(server.status("s").await["source"]["video"]["width"], 320);
    // Nobody ever had to wait for a source.
    assert!(!server.log().iter().any(|line| line.contains("the source is lost")), "{:#?}", server.log());
}

#[tokio::test]
async fn a_backup_by_url_is_pulled_when_nothing_comes_from_main() {
    let nginx = Nginx::start();
    let _camera = Camera::publish(&nginx.url("b"));
    let server = Server::with_config("source_timeout = \"2s\"", &[]);
    server.create("s", "main", json!({"backupUrl": nginx.url("b")})).await;
    assert!(server.children().is_empty(), "it is not pulled before it is needed");
    let status = uses(&server, "backup").await;
    assert!(!status.to_string().contains("/live/b"), "its key is shown: {status}");
    after(&server, 0, 1).await;
}

/// A segment with what a decoder needs, as a file.
async fn fetched(server: &Server, folder: &Path, playlist: &Media, index: usize) -> String {
    let segment = &playlist.parsed.segments[index];
    let init = playlist.parsed.segments[..=index].iter().rev().find_map(|segment| segment.map.clone());
    let mut bytes = Vec::new();
    for uri in init.map(|map| map.uri).iter().chain([&segment.uri]) {
        let response = server.get(&format!("/live/s/{uri}")).await;
        assert_eq!(response.status(), 200, "{uri}");
        bytes.extend_from_slice(&response.bytes().await.expect("a body"));
    }
    let path = folder.join(segment.uri.replace("m4s", "mp4"));
    std::fs::write(&path, bytes).expect("a file");
    path.display().to_string()
}

/// The average colour, and the loudest sample, dB.
fn looks_and_sounds(video: &str, audio: &str) -> ([u8; 3], f64) {
    let out = format!("{video}.rgb");
    let pixel =
        ["-v", "error", "-y", "-i", video, "-frames:v", "1", "-vf", "scale=1:1:flags=area", "-pix_fmt", "rgb24"];
    let (ok, _, stderr) = run("ffmpeg", &[&pixel[..], &["-f", "rawvideo", &out]].concat());
    assert!(ok, "{stderr}");
    let colour = std::fs::read(&out).expect("a file").try_into().expect("one pixel");
    let (ok, _, stderr) =
        run("ffmpeg", &["-hide_banner", "-i", audio, "-vn", "-af", "volumedetect", "-f", "null", "-"]);
    assert!(ok, "{stderr}");
    let loudest = stderr.split("max_volume: ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    (colour, loudest.expect("a volume"))
}

#[rstest]
#[case::ts_in_low_latency(json!({}))]
#[case::cmaf(json!({"format": "cmaf"}))]
#[case::a_copied_top_rung_and_standard_latency(json!({"passthrough": "always", "lowLatency": false}))]
#[tokio::test]
async fn a_slate_plays_under_the_same_renditions_until_the_source_is_back(#[case] more: Value) {
    let folder = tempfile::tempdir().unwrap();
    let config = "on_loss = \"slate\"\nslate_color = \"#c03020\"";
    let server = Server::in_folder(folder.path(), config, &[], &[]);
    let camera = Camera::publish(&server.publish_url("k"));
    server.create("s", "k", more.clone()).await;
    server.reaches("s", "live").await;
    after(&server, 0, 2).await;

    drop(camera);
    let playlists = after(&server, 1, 2).await;
    let status = server.status("s").await;
    assert_eq!(
        (&status["state"], &status["error"]["code"]),
        (&json!("interrupted"), &json!("source-lost")),
        "{status}"
    );
    let slate = playlists[0].parsed.segments.iter().rposition(|segment| segment.discontinuity).unwrap();
    for (playlist, size) in playlists.iter().zip(["320,180", "160,90"]) {
        let video = fetched(&server, folder.path(), playlist, slate).await;
        assert_eq!(ffprobe(&video, "stream=width,height")[0], size);
        let audio = match more["format"] == "cmaf" {
            true => fetched(&server, folder.path(), &media(&server, "audio").await, slate).await,
            false => video.clone(),
        };
        let (colour, loudest) = looks_and_sounds(&video, &audio);
        let near = colour.iter().zip([0xc0_u8, 0x30, 0x20]).all(|(is, wanted)| is.abs_diff(wanted) < 12);
        assert!(near && loudest < -80.0, "{colour:?}, {loudest} dB");
    }

    let camera = Camera::publish(&server.publish_url("k"));
    let status = server.reaches("s", "live").await;
    assert_eq!(status["error"], Value::Null);
    after(&server, 2, 1).await;

    // A slate's FFmpeg makes its own input, and still does not outlive the server.
    drop(camera);
    after(&server, 3, 1).await;
    let children = server.children();
    assert_eq!(children.len(), 1);
    server.signal("-KILL");
    eventually("its end", Duration::from_secs(5), async || (!is_alive(children[0])).then_some(())).await;
}

#[tokio::test]
async fn a_slate_of_a_picture_ends_with_the_reconnect_window() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("be right back.png").display().to_string();
    let blue = ["-v", "error", "-f", "lavfi", "-i", "color=c=blue:s=64x64", "-frames:v", "1", &picture];
    assert!(run("ffmpeg", &blue).0);
    let config = format!("on_loss = \"slate\"\nreconnect_window = \"3s\"\nslate = '{picture}'");
    let server = Server::in_folder(folder.path(), &config, &[], &[]);
    let picture = Picture { audio: false, ..Picture::default() };
    let camera = Camera::show(&server.publish_url("k"), &picture);
    server.create("s", "k", json!({})).await;
    server.reaches("s", "live").await;
    drop(camera);
    server.reaches("s", "ended").await;
    let playlist = media(&server, "180p").await;
    assert!(playlist.parsed.end_list && playlist.discontinuities() == 1, "{}", playlist.text);
    assert!(server.children().is_empty());
    let slate = playlist.parsed.segments.iter().rposition(|segment| segment.discontinuity).unwrap();
    let video = fetched(&server, folder.path(), &playlist, slate).await;
    let kinds = ffprobe(&video, "stream=codec_type");
    assert!(kinds.iter().all(|kind| kind == "video"), "a source without sound has a slate without sound: {kinds:?}");
    let middle =
        ["-v", "error", "-i", &video, "-frames:v", "1", "-vf", "crop=2:2", "-pix_fmt", "rgb24", "-f", "rawvideo"];
    let out = format!("{video}.rgb");
    assert!(run("ffmpeg", &[&middle[..], &[&out]].concat()).0);
    let pixel = std::fs::read(&out).unwrap();
    assert!(pixel[2] > 200 && pixel[0] < 60, "{pixel:?}");
}

/// A client that asks for the playlists all the time: each it gets is whole, open, and never goes back.
struct Watcher {
    stop: Arc<AtomicBool>,
    watching: tokio::task::JoinHandle<usize>,
}

impl Watcher {
    fn of(http: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let http = http.to_owned();
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().expect("a client");
        let watching = tokio::spawn(async move {
            let (mut asked, mut newest) = (0, [0; 2]);
            while !stopped.load(Ordering::Relaxed) {
                for (rendition, newest) in RENDITIONS.iter().zip(&mut newest) {
                    let url = format!("{http}/live/s/s_{rendition}_playlist.m3u8");
                    // While the server is away nobody answers; while it is there it answers with a playlist.
                    let Ok(response) = client.get(url).send().await else { continue };
                    assert_eq!(response.status(), 200);
                    let Ok(text) = response.text().await else { continue };
                    let playlist = Media::parse(&text);
                    assert!(!playlist.parsed.end_list && playlist.last_msn() >= *newest, "{text}");
                    (*newest, asked) = (playlist.last_msn(), asked + 1);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            asked
        });
        Self { stop, watching }
    }

    async fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        assert!(self.watching.await.expect("every playlist was whole") > 0);
    }
}

fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

#[rstest]
#[case::pushed_and_asked_to_end("push", "-TERM")]
#[case::pushed_and_killed("push", "-KILL")]
#[case::pulled_and_asked_to_end("pull", "-TERM")]
#[case::pulled_and_killed("pull", "-KILL")]
#[tokio::test]
async fn a_livestream_goes_on_after_the_server_was_restarted(#[case] kind: &str, #[case] signal: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (http, rtmp) = (free_address(), free_address());
    let start = || Server::in_folder(folder.path(), "resume = true", &["--http", &http, "--rtmp", &rtmp], &[]);
    let mut server = start();
    let nginx = (kind == "pull").then(Nginx::start);
    let mut body = json!({"streamName": "s", "ladder": small_ladder(), "window": "2m", "ttl": "10m"});
    match &nginx {
        Some(nginx) => body["rtmpUrl"] = json!(nginx.url("k")),
        None => body["ingest"] = json!("push"),
    }
    let (status, first) = server.post(&body).await;
    assert_eq!(status, 202, "{first}");
    let publish_to = match &nginx {
        Some(nginx) => nginx.url("k"),
        None => server.publish_url(first["streamKey"].as_str().unwrap()),
    };
    let camera = Camera::publish(&publish_to);
    let created = server.reaches("s", "live").await["createdAt"].clone();
    after(&server, 0, 2).await;
    let state = folder.path().join("data-state.json");
    assert_eq!(std::fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o600);

    let watcher = Watcher::of(&server.http);
    server.signal(signal);
    server.wait();
    for rendition in RENDITIONS {
        let path = folder.path().join(format!("data/s/{rendition}/s_{rendition}_playlist.m3u8"));
        assert!(!Media::parse(&std::fs::read_to_string(path).unwrap()).parsed.end_list);
    }
    let server = start();
    assert_eq!(server.status("s").await["createdAt"], created);
    if nginx.is_none() {
        let status = server.reaches("s", "interrupted").await;
        assert_eq!(status["error"]["code"], "server-restarted", "{status}");
    }
    // An encoder connects again by itself; one that is pulled has not noticed.
    let _camera = if nginx.is_some() { camera } else { Camera::publish(&publish_to) };
    server.reaches("s", "live").await;
    after(&server, 1, 2).await;
    watcher.finish().await;

    assert_eq!(server.post(&body).await, (202, first), "the same request, the same answer, the same key");
    assert_eq!(server.delete("s").await, 200);
    assert!(!std::fs::read_to_string(&state).unwrap().contains("\"s\""), "it is not taken up again");
}

#[tokio::test]
async fn a_livestream_whose_source_stays_away_after_a_restart_ends_and_a_damaged_state_file_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let config = "resume = true\nsource_timeout = \"2s\"\nreconnect_window = \"2s\"";
    let server = Server::in_folder(folder.path(), config, &[], &[]);
    let camera = Camera::publish(&server.publish_url("k"));
    server.create("s", "k", json!({})).await;
    server.reaches("s", "live").await;
    server.stop();
    drop(camera);
    let server = Server::in_folder(folder.path(), config, &[], &[]);
    server.reaches("s", "ended").await;
    assert!(media(&server, "180p").await.parsed.end_list);
    server.stop();
    let state = folder.path().join("data-state.json");
    assert!(!std::fs::read_to_string(&state).unwrap().contains("\"s\""));

    std::fs::write(&state, "{\"version\": 99}").unwrap();
    let server = Server::in_folder(folder.path(), config, &[], &[]);
    assert!(server.log().iter().any(|line| line.contains("is of version 99") && line.contains(".kept-")));
    assert_eq!(server.get("/livestreams/s").await.status(), 404);
}

/// A remote store that outlives the servers before it, and the state they resume from.
struct Remote {
    folder: tempfile::TempDir,
    momento: momento_fake::Fake,
}

impl Remote {
    async fn new() -> Self {
        let momento = momento_fake::Fake::start(momento_fake::Options::default()).await.expect("momento-fake starts");
        Self { folder: tempfile::tempdir().expect("a folder"), momento }
    }

    fn start(&self) -> Server {
        let (key, endpoint) = (self.momento.api_key(), self.momento.endpoint());
        let environment = [("MOMENTO_API_KEY", key.as_str()), ("MOMENTO_ENDPOINT", endpoint.as_str())];
        // Without an embedded store the file would be in the working directory.
        let config = format!("resume = true\nstate_file = '{}'", self.folder.path().join("state.json").display());
        Server::in_folder(self.folder.path(), &config, &["--store", "momento:livestreams"], &environment)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_remote_store_numbers_go_on_where_they_were_when_the_server_was_asked_to_end() {
    let remote = Remote::new().await;
    let server = remote.start();
    let camera = Camera::publish(&server.publish_url("k"));
    server.create("s", "k", json!({})).await;
    server.reaches("s", "live").await;
    after(&server, 0, 2).await;
    let before = media(&server, "180p").await.last_msn();
    server.stop();
    drop(camera);
    let server = remote.start();
    let _camera = Camera::publish(&server.publish_url("k"));
    server.reaches("s", "live").await;
    let playlist = media(&server, "180p").await;
    // What FFmpeg still had when it was asked to end is a segment or two.
    let first = playlist.parsed.media_sequence;
    assert!((before + 1..before + 4).contains(&first), "{before}, then {}", playlist.text);
    assert_eq!(playlist.parsed.discontinuity_sequence, 1, "{}", playlist.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_remote_store_a_player_on_a_rung_that_is_left_out_plays_on_after_a_crash() {
    let remote = Remote::new().await;
    let mut server = remote.start();
    let camera = Camera::publish(&server.publish_url("k"));
    server.create("s", "k", json!({})).await;
    server.reaches("s", "live").await;
    after(&server, 0, 1).await;
    drop(camera);
    let smaller = Picture { size: "160x90", ..Picture::default() };
    let camera = Camera::show(&server.publish_url("k"), &smaller);
    after(&server, 1, 1).await;
    let before = media(&server, "180p").await;
    assert!(before.uris().last().unwrap().contains("s_90p_segment"), "it names the next rung below: {}", before.text);
    server.signal("-KILL");
    server.wait();
    drop(camera);

    let server = remote.start();
    let _camera = Camera::show(&server.publish_url("k"), &smaller);
    server.reaches("s", "live").await;
    let origin = media(&server, "180p").await;
    assert!(origin.last_msn() > before.last_msn(), "{}", origin.text);
    assert!(origin.uris().iter().all(|uri| uri.contains("s_90p_segment")), "{}", origin.text);
    let stored = eventually("it goes on in the store too", Duration::from_secs(10), async || {
        let contents = remote.momento.contents("livestreams");
        let playlist = Media::parse(std::str::from_utf8(contents.get("s_180p_playlist.m3u8")?).ok()?);
        (playlist.last_msn() > before.last_msn()).then_some(playlist)
    });
    let stored = stored.await;
    assert_eq!(stored.parsed.media_sequence, origin.parsed.media_sequence, "{}", stored.text);
}
