//! nginx plays the CDN, with the configuration of `docs/cdn`: a stream that lies in Momento (momento-fake, written
//! through the SDK) plays from the tutorial's URL, with no tailwater in the path.

#![allow(clippy::unwrap_used)]

mod nginx;
mod scripts;
mod stream;

use std::time::Duration;

use momento_fake::{Fake, FaultsUpdate, Options};
use reqwest::{Client, Method, Response};
use store::{Key, MediaStore, OpenOptions, PutOptions, StoreUrl, open_backend};

use nginx::Nginx;

const PLAYLIST: &str = "/show/playlist.m3u8";
const SEGMENT: &str = "/show/show_180p_segment001.ts";

/// A store with a stream in it, and the CDN before it.
struct Cdn {
    fake: Fake,
    store: std::sync::Arc<dyn MediaStore>,
    nginx: Nginx,
    reader: String,
    client: Client,
}

impl Cdn {
    async fn start() -> Self {
        let fake = Fake::start(Options::default()).await.unwrap();
        let variable = |name: &str| match name {
            "MOMENTO_API_KEY" => Some(fake.api_key()),
            "MOMENTO_ENDPOINT" => Some(fake.endpoint()),
            _ => None,
        };
        let url = StoreUrl::parse("momento:livestreams").unwrap();
        let store = open_backend(&url, &variable, &OpenOptions::default()).await.unwrap();
        // As documented: the CDN's key may only read. As long as a real one.
        let reader = fake.other_api_key(&"reader".repeat(60));
        fake.restrict_to_reading(&reader);
        let nginx = Nginx::start(fake.http_addr(), &reader).await;
        Self { fake, store, nginx, reader, client: Client::new() }
    }

    async fn with_stream() -> Self {
        let cdn = Self::start().await;
        for (name, bytes) in stream::make().await {
            cdn.put(&name, bytes).await;
        }
        cdn
    }

    async fn put(&self, name: &str, bytes: impl Into<bytes::Bytes>) {
        let key = Key::parse(name).unwrap();
        let options = PutOptions::new(&key, Duration::from_secs(600));
        self.store.put(&key, bytes.into().into(), &options).await.unwrap();
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.nginx.address)
    }

    async fn request(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
        let request = headers
            .iter()
            .fold(self.client.request(method, self.url(path)), |request, (name, value)| request.header(*name, *value));
        request.send().await.unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path, &[]).await
    }
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn the_tutorials_url_plays_whole() {
    let cdn = Cdn::with_stream().await;
    let url = cdn.url(PLAYLIST);
    assert_eq!(stream::decoded_frames(&url).await, stream::FRAMES);
    let probed = stream::probe(&url).await;
    assert!(probed.contains("h264") && probed.contains("aac") && probed.contains("320"), "{probed}");
}

#[tokio::test]
async fn every_form_of_url_reaches_its_object_with_the_right_type() {
    let cdn = Cdn::with_stream().await;
    for (path, content_type, caching) in [
        (PLAYLIST, "application/vnd.apple.mpegurl", "public, max-age=0, s-maxage=1"),
        ("/show_playlist.m3u8", "application/vnd.apple.mpegurl", "public, max-age=0, s-maxage=1"),
        ("/show/show_180p_playlist.m3u8", "application/vnd.apple.mpegurl", "public, max-age=0, s-maxage=1"),
        (SEGMENT, "video/mp2t", "public, max-age=3600, immutable"),
        ("/show_180p_segment001.ts?anything=else", "video/mp2t", "public, max-age=3600, immutable"),
    ] {
        let response = cdn.get(path).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(header(&response, "content-type"), content_type, "{path}");
        assert_eq!(response.headers().get_all("content-type").iter().count(), 1, "{path}");
        assert_eq!(header(&response, "cache-control"), caching, "{path}");
        assert_eq!(header(&response, "access-control-allow-origin"), "*", "{path}");
        assert_eq!(response.headers().get("authorization"), None);
    }
    let (master, same) = (cdn.get(PLAYLIST).await, cdn.get("/show_playlist.m3u8").await);
    assert_eq!(master.text().await.unwrap(), same.text().await.unwrap());
}

#[tokio::test]
async fn a_second_fetch_of_a_segment_costs_the_store_nothing() {
    let cdn = Cdn::with_stream().await;
    let first = cdn.get(SEGMENT).await;
    assert_eq!(header(&first, "x-cache"), "MISS");
    let first = first.bytes().await.unwrap();
    let calls = cdn.fake.calls("http_get");
    for path in [SEGMENT, "/show_180p_segment001.ts", "/show/show_180p_segment001.ts?a=b"] {
        let again = cdn.get(path).await;
        assert_eq!(header(&again, "x-cache"), "HIT", "{path}");
        assert_eq!(again.bytes().await.unwrap(), first);
    }
    assert_eq!(cdn.fake.calls("http_get"), calls);
}

#[tokio::test]
async fn many_viewers_of_a_new_segment_cost_the_store_one_request() {
    let cdn = Cdn::with_stream().await;
    let delayed = FaultsUpdate { delay_ms: Some(200), http: Some(true), ..FaultsUpdate::default() };
    cdn.fake.set_faults(&delayed);
    let calls = cdn.fake.calls("http_get");
    let viewers = (0..50).map(|_| tokio::spawn(cdn.client.get(cdn.url(SEGMENT)).send())).collect::<Vec<_>>();
    for viewer in viewers {
        assert_eq!(viewer.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(cdn.fake.calls("http_get"), calls + 1);
}

#[tokio::test]
async fn a_playlist_is_fetched_anew_after_a_second() {
    let cdn = Cdn::with_stream().await;
    assert_eq!(cdn.get(PLAYLIST).await.status(), 200);
    let newer = "#EXTM3U\n# newer\n";
    cdn.put("show_playlist.m3u8", newer).await;
    let changed = async {
        while cdn.get(PLAYLIST).await.text().await.unwrap() != newer {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), changed).await.unwrap();
}

#[tokio::test]
async fn a_missing_object_is_not_remembered_as_missing() {
    let cdn = Cdn::start().await;
    let path = "/show/show_180p_segment009.ts";
    let missing = cdn.get(path).await;
    assert_eq!(missing.status(), 404);
    assert_eq!(header(&missing, "cache-control"), "no-store");
    assert_eq!(header(&missing, "access-control-allow-origin"), "*");
    cdn.put("show_180p_segment009.ts", "media").await;
    let there = cdn.get(path).await;
    assert_eq!((there.status().as_u16(), there.text().await.unwrap()), (200, "media".into()));
}

#[tokio::test]
async fn only_media_is_reachable_and_only_for_reading() {
    let cdn = Cdn::with_stream().await;
    cdn.put("show_sequence", "42").await;
    for path in ["/show_sequence", "/show/show_sequence", "/", "/show/", "/a/b/show_playlist.m3u8", "/show/..%2fx.ts"] {
        assert_eq!(cdn.get(path).await.status(), 404, "{path}");
    }
    let put = cdn.request(Method::PUT, SEGMENT, &[]).await;
    assert_eq!(put.status(), 405);
    let preflight = cdn.request(Method::OPTIONS, SEGMENT, &[("origin", "http://player.example")]).await;
    assert_eq!(preflight.status(), 204);
    assert_eq!(header(&preflight, "access-control-allow-headers"), "Range");
}

#[tokio::test]
async fn heads_ranges_and_compression_are_the_edges_work() {
    let cdn = Cdn::with_stream().await;
    let head = cdn.request(Method::HEAD, SEGMENT, &[]).await;
    assert_eq!((head.status().as_u16(), header(&head, "content-type")), (200, "video/mp2t"));

    let range = cdn.request(Method::GET, SEGMENT, &[("range", "bytes=188-375")]).await;
    assert_eq!((range.status().as_u16(), header(&range, "content-length")), (206, "188"));
    assert_eq!(range.bytes().await.unwrap()[0], 0x47);

    let accepts = [("accept-encoding", "gzip")];
    let playlist = cdn.request(Method::GET, "/show/show_180p_playlist.m3u8", &accepts).await;
    assert_eq!((header(&playlist, "content-encoding"), header(&playlist, "vary")), ("gzip", "Accept-Encoding"));
    let segment = cdn.request(Method::GET, SEGMENT, &accepts).await;
    assert_eq!(header(&segment, "content-encoding"), "");
}

#[tokio::test]
async fn a_viewers_credentials_never_reach_the_store() {
    let cdn = Cdn::with_stream().await;
    // Were it handed on, the store would refuse both keys at once, or this one.
    let path = format!("{SEGMENT}?token=mine");
    let response = cdn.request(Method::GET, &path, &[("authorization", "mine"), ("cookie", "a=b")]).await;
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn a_store_in_trouble_is_503_and_a_refused_key_502() {
    let cdn = Cdn::with_stream().await;
    for faults in [
        FaultsUpdate { down: Some(true), ..FaultsUpdate::default() },
        FaultsUpdate { throttle_rate: Some(1.0), ..FaultsUpdate::default() },
        FaultsUpdate { fail_rate: Some(1.0), ..FaultsUpdate::default() },
    ] {
        cdn.fake.heal();
        cdn.fake.set_faults(&FaultsUpdate { http: Some(true), ..faults });
        let response = cdn.get(SEGMENT).await;
        assert_eq!(response.status(), 503, "{faults:?}");
        assert_eq!((header(&response, "retry-after"), header(&response, "cache-control")), ("1", "no-store"));
        assert_eq!(header(&response, "access-control-allow-origin"), "*");
    }
    cdn.fake.heal();
    cdn.fake.refuse_key(&cdn.reader);
    assert_eq!(cdn.get(SEGMENT).await.status(), 502);
}
