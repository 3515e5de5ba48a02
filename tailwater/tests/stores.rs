//! A small livestream on every store there is: published by RTMP, read back from the store by a plain HTTP client where
//! there is one and else from a second tailwater, judged by ffprobe and played in Chromium.

#![allow(clippy::unwrap_used)]

#[path = "support/backends.rs"]
mod backends;
mod support;

use std::time::Duration;

use backends::cdn::Nginx;
use backends::redis_servers::{self, RedisServer};
use backends::s3::S3Server;
use backends::{borrowed, momento};
use serde_json::json;
use support::browser::plays;
use support::{Camera, Media, Server, eventually, ffprobe, run};

/// What is watched of each, in seconds of playing.
const WATCHED: u32 = 4;
const SOON: Duration = Duration::from_secs(20);

/// A server with a livestream named `show`, and its camera.
struct Show {
    server: Server,
    camera: Camera,
}

impl Show {
    async fn on(arguments: &[&str], env: &[(&str, &str)]) -> Self {
        let server = Server::with_env(arguments, env);
        let camera = Camera::publish(&server.publish_url("k"));
        server.create("Show", "k", json!({})).await;
        server.reaches("show", "live").await;
        Self { server, camera }
    }

    async fn on_store(url: &str) -> Self {
        Self::on(&["--store", url], &[]).await
    }
}

/// Reads playlists and segments as a player's HTTP client would.
struct Reader {
    /// All that comes before a key.
    base: String,
    /// What the store wants to see.
    authorization: Option<String>,
    client: reqwest::Client,
}

impl Reader {
    fn of(base: impl Into<String>) -> Self {
        Self { base: base.into(), authorization: None, client: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    async fn get(&self, key: &str) -> reqwest::Response {
        let request = self.client.get(format!("{}{key}", self.base));
        let request = self.authorization.iter().fold(request, |request, key| request.header("authorization", key));
        request.send().await.unwrap()
    }

    async fn playlist(&self) -> Option<Media> {
        let answer = self.get("show_180p_playlist.m3u8").await;
        if answer.status() != 200 {
            return None;
        }
        Some(Media::parse(&answer.text().await.unwrap()))
    }

    /// Waits until enough is listed for a player to begin, and reads all of it.
    async fn reads_whole_segments(&self) {
        let listed = eventually("four segments are listed", SOON, async || {
            self.playlist().await.filter(|playlist| playlist.uris().len() >= 4)
        });
        let listed = listed.await;
        for uri in listed.uris() {
            let answer = self.get(uri).await;
            assert_eq!(answer.status(), 200, "{uri}");
            let bytes = answer.bytes().await.unwrap();
            assert!(bytes.len() > 188 && bytes.len() % 188 == 0 && bytes[0] == 0x47, "{uri}: {} bytes", bytes.len());
        }
    }

    /// ffprobe, by HTTP, from the multivariant playlist.
    fn is_probed(&self, multivariant: &str) {
        let url = format!("{}{multivariant}", self.base);
        let headers = self.authorization.as_ref().map(|key| format!("Authorization: {key}\r\n"));
        let mut arguments = vec!["-v", "error", "-show_entries", "stream=codec_name,height", "-of", "csv=p=0"];
        arguments.extend(headers.iter().flat_map(|headers| ["-headers", headers.as_str()]));
        arguments.push(&url);
        let (ok, streams, complaints) = run("ffprobe", &arguments);
        assert!(ok && complaints.is_empty(), "{url}: {complaints}");
        for expected in ["h264,180", "h264,90", "aac"] {
            assert!(streams.contains(expected), "{url}: {streams}");
        }
    }
}

/// A second server with the same store, on which nothing runs.
async fn second(arguments: &[&str], env: &[(&str, &str)]) -> Server {
    let second = Server::with_env(arguments, env);
    let streams: serde_json::Value = second.get("/livestreams").await.json().await.unwrap();
    assert_eq!(streams["livestreams"].as_array().map(Vec::len), Some(0), "{streams}");
    second
}

/// What viewers of a server see that does not run the stream itself.
async fn serves_what_it_does_not_run(second: &Server) {
    let reader = Reader::of(second.url("/live/show/"));
    reader.reads_whole_segments().await;
    reader.is_probed("playlist.m3u8");
    let playlist = second.get("/live/show/playlist.m3u8").await;
    assert_eq!(playlist.headers()["content-type"], "application/vnd.apple.mpegurl");
    assert!(playlist.headers()["cache-control"].to_str().unwrap().contains("max-age=0"), "{playlist:?}");
    let segment = reader.playlist().await.unwrap().uris().last().unwrap().to_string();
    let segment = reader.get(&segment).await;
    assert_eq!(segment.headers()["content-type"], "video/mp2t");
    assert!(segment.headers()["cache-control"].to_str().unwrap().contains("immutable"), "{segment:?}");
    assert_eq!(second.get("/live/other/playlist.m3u8").await.status(), 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_whole_and_a_further_store_gets_everything() {
    let redis = RedisServer::start(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let (file, further) = (format!("file:{}", folder.path().display()), redis.url());
    let show = Show::on(&["--store", &file, "--store", &further], &[]).await;
    let origin = Reader::of(show.server.url("/live/show/"));
    origin.reads_whole_segments().await;
    plays("hls", &show.server.url("/live/show/playlist.m3u8"), WATCHED);
    for uri in origin.playlist().await.unwrap().uris() {
        let served = origin.get(uri).await.bytes().await.unwrap();
        assert_eq!(std::fs::read(folder.path().join("show/180p").join(uri)).unwrap(), served, "{uri}");
    }
    let stored = folder.path().join("show/180p/show_180p_playlist.m3u8");
    let streams = ffprobe(stored.to_str().unwrap(), "stream=codec_name,height");
    assert!(streams.iter().any(|stream| stream.starts_with("h264,180")), "a folder plays as well: {streams:?}");
    serves_what_it_does_not_run(&second(&["--store", &further], &[]).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_served_by_the_process_that_has_it() {
    let show = Show::on_store("memory:").await;
    let origin = Reader::of(show.server.url("/live/show/"));
    origin.reads_whole_segments().await;
    origin.is_probed("playlist.m3u8");
    plays("hls", &show.server.url("/live/show/playlist.m3u8"), WATCHED);
}

/// The tutorial's way: Momento, and a CDN before it. And what no CDN needs: tailwater.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn momento_plays_by_the_tutorials_url_through_nginx_also_when_tailwater_is_gone() {
    let (fake, environment) = momento().await;
    let environment = borrowed(&environment);
    let Show { server, camera } = Show::on(&["--store", "momento:livestreams"], &environment).await;
    let mut store = Reader::of(format!("{}/cache/livestreams/", fake.http_endpoint()));
    store.authorization = Some(fake.api_key());
    store.reads_whole_segments().await;
    store.is_probed("show_playlist.m3u8");

    let key = fake.other_api_key("reader");
    fake.restrict_to_reading(&key);
    let cdn = Nginx::start(fake.http_addr(), &key).await;
    let tutorials = format!("http://{}/show/playlist.m3u8", cdn.address);
    plays("hls", &tutorials, WATCHED);
    serves_what_it_does_not_run(&second(&["--store", "momento:livestreams"], &environment).await).await;

    camera.stop();
    server.stop();
    let through_cdn = Reader::of(format!("http://{}/show/", cdn.address));
    let ended = eventually("the end is at the edge", SOON, async || {
        through_cdn.playlist().await.filter(|playlist| playlist.parsed.end_list)
    });
    assert!(ended.await.uris().len() > WATCHED as usize);
    through_cdn.is_probed("playlist.m3u8");
    plays("hls", &tutorials, WATCHED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_store_keeps_types_and_caching_and_plays_through_nginx() {
    let (fake, environment) = momento().await;
    let store = format!("momento-objectstore:livestreams?endpoint={}", fake.http_endpoint());
    let _show = Show::on(&["--store", &store], &borrowed(&environment)).await;
    let mut reader = Reader::of(format!("{}/objectstore/livestreams/", fake.http_endpoint()));
    reader.authorization = Some(fake.api_key());
    reader.reads_whole_segments().await;
    reader.is_probed("show_playlist.m3u8");
    let playlist = reader.get("show_180p_playlist.m3u8").await;
    assert_eq!(playlist.headers()["content-type"], "application/vnd.apple.mpegurl");
    assert_eq!(playlist.headers()["cache-control"], "public, max-age=1");
    let segment = reader.playlist().await.unwrap().uris()[0].to_string();
    let segment = reader.get(&segment).await;
    assert_eq!(segment.headers()["content-type"], "video/mp2t");
    assert_eq!(segment.headers()["cache-control"], "public, max-age=3600, immutable");
    let cdn = Nginx::before_an_object_store(fake.http_addr(), &fake.api_key()).await;
    plays("hls", &format!("http://{}/show/playlist.m3u8", cdn.address), WATCHED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_plays_through_a_second_tailwater() {
    let redis = RedisServer::start(&[]).await;
    let _show = Show::on_store(&redis.url()).await;
    let second = second(&["--store", &redis.url()], &[]).await;
    serves_what_it_does_not_run(&second).await;
    plays("hls", &second.url("/live/show/playlist.m3u8"), WATCHED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_cluster_plays_through_a_second_tailwater_from_one_slot() {
    let cluster = redis_servers::cluster().await;
    let at = |n: usize| format!("redis-cluster://127.0.0.1:{}", cluster[n].port);
    let _show = Show::on_store(&at(0)).await;
    let second = second(&["--store", &at(1)], &[]).await;
    serves_what_it_does_not_run(&second).await;
    plays("hls", &second.url("/live/show/playlist.m3u8"), WATCHED);
    let mut holding = 0;
    for server in &cluster {
        let keys: Vec<String> =
            redis::cmd("KEYS").arg("{show}:*").query_async(&mut server.connection().await).await.unwrap();
        holding += usize::from(!keys.is_empty());
    }
    assert_eq!(holding, 1, "all keys of a stream are on one master");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_plays_straight_from_the_bucket() {
    let s3 = S3Server::start().await;
    let _show = Show::on_store(&s3.url("bucket/live", "camera:hunter2")).await;
    let bucket = Reader::of(s3.object("bucket/live/"));
    bucket.reads_whole_segments().await;
    bucket.is_probed("show_playlist.m3u8");
    let playlist = bucket.get("show_180p_playlist.m3u8").await;
    assert_eq!(playlist.headers()["content-type"], "application/vnd.apple.mpegurl");
    assert_eq!(playlist.headers()["cache-control"], "public, max-age=1");
    plays("hls", &s3.object("bucket/live/show_playlist.m3u8"), WATCHED);
}
