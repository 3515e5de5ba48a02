//! The HTTP API as documented, by a plain client.

#![allow(clippy::unwrap_used)]

use momento_fake::{Fake, FaultsUpdate, Options};
use reqwest::{Client, Method, Response, StatusCode, header};

struct Http {
    fake: Fake,
    client: Client,
    key: String,
}

impl Http {
    async fn start() -> Self {
        // Two providers of cryptography are in the dependency graph: one has to be named.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let fake = Fake::start(Options::default()).await.unwrap();
        let key = fake.api_key();
        Self { fake, client: Client::new(), key }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.fake.http_endpoint()))
    }

    async fn send(&self, method: Method, path: &str, body: &'static [u8]) -> Response {
        self.request(method, path).header("authorization", &self.key).body(body).send().await.unwrap()
    }
}

async fn told(response: Response) -> (u16, String) {
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn the_three_operations_of_a_cache() {
    let http = Http::start().await;
    let put = http.send(Method::PUT, "/cache/livestreams?key=s%2Fa%20b.ts&ttl_seconds=60", b"bytes").await;
    assert_eq!(told(put).await, (204, String::new()));

    let get = http.send(Method::GET, "/cache/livestreams?key=s%2Fa%20b.ts", b"").await;
    assert_eq!(get.status(), StatusCode::OK);
    assert_eq!(get.headers()[header::CONTENT_TYPE], "application/octet-stream");
    assert_eq!(get.headers()[header::CONTENT_LENGTH], "5");
    assert!(!get.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
    assert_eq!(get.text().await.unwrap(), "bytes");
    // base64url of "s/a b.ts", and the form of players' URLs.
    assert_eq!(told(http.send(Method::GET, "/cache/livestreams?key_base64=cy9hIGIudHM=", b"").await).await.0, 200);
    assert_eq!(told(http.send(Method::GET, "/cache/livestreams/s/a%20b.ts", b"").await).await.0, 200);

    assert_eq!(told(http.send(Method::DELETE, "/cache/livestreams?key=s%2Fa%20b.ts", b"").await).await.0, 204);
    let gone = http.send(Method::GET, "/cache/livestreams?key=s%2Fa%20b.ts", b"").await;
    assert_eq!(told(gone).await, (404, "Key Not Found".into()));
    let elsewhere = http.send(Method::GET, "/cache/none?key=a", b"").await;
    assert_eq!(told(elsewhere).await, (404, "Cache Not Found".into()));
}

#[tokio::test]
async fn a_put_needs_a_time_to_live_and_a_request_a_key() {
    let http = Http::start().await;
    for path in [
        "/cache/livestreams?key=a",
        "/cache/livestreams?key=a&ttl_seconds=soon",
        "/cache/livestreams?key=a&ttl_seconds=0",
        "/cache/livestreams?key=a&ttl_seconds=86401",
        "/cache/livestreams?ttl_seconds=60",
        "/cache/livestreams?key=&ttl_seconds=60",
    ] {
        assert_eq!(http.send(Method::PUT, path, b"x").await.status(), StatusCode::BAD_REQUEST, "{path}");
    }
    assert_eq!(http.send(Method::HEAD, "/cache/livestreams?key=a", b"").await.status(), 405);
}

#[tokio::test]
async fn the_key_comes_bare_in_the_header_or_as_a_token_and_not_both() {
    let http = Http::start().await;
    let (reader, refused) = (http.fake.other_api_key("reader"), http.fake.other_api_key("refused"));
    http.fake.restrict_to_reading(&reader);
    http.fake.refuse_key(&refused);
    let status = async |method: Method, token: Option<&str>, header: Option<&str>| {
        let token = token.map(|token| format!("&token={token}")).unwrap_or_default();
        let mut request = http.request(method, &format!("/cache/livestreams?key=a&ttl_seconds=9{token}"));
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        request.send().await.unwrap().status().as_u16()
    };
    let v1 = http.fake.v1_api_key();
    assert_eq!(status(Method::PUT, None, Some(&http.key)).await, 204);
    assert_eq!(status(Method::GET, Some(&http.key), None).await, 200);
    assert_eq!(status(Method::GET, None, Some(&v1)).await, 200);
    assert_eq!(status(Method::GET, Some(&http.key), Some(&http.key)).await, 400);
    assert_eq!(status(Method::GET, None, None).await, 401);
    assert_eq!(status(Method::GET, None, Some(&format!("Bearer {}", http.key))).await, 401);
    assert_eq!(status(Method::GET, Some(&refused), None).await, 401);
    assert_eq!(status(Method::GET, Some(&reader), None).await, 200);
    assert_eq!(status(Method::PUT, Some(&reader), None).await, 403);
}

#[tokio::test]
async fn an_object_keeps_its_headers_and_answers_any_origin() {
    let http = Http::start().await;
    let put = http
        .request(Method::PUT, "/objectstore/livestreams/show/a.m3u8?ttl_seconds=60")
        .header("authorization", &http.key)
        .header("mo-meta-content-type", "application/vnd.apple.mpegurl")
        .header("mo-meta-cache-control", "max-age=1")
        .header("mo-meta-set-cookie", "no=thanks")
        .body("#EXTM3U\n");
    assert_eq!(put.send().await.unwrap().status(), StatusCode::NO_CONTENT);

    let get = http.send(Method::GET, "/objectstore/livestreams/show/a.m3u8", b"").await;
    assert_eq!(get.headers()["content-type"], "application/vnd.apple.mpegurl");
    assert_eq!(get.headers()["cache-control"], "max-age=1");
    assert_eq!(get.headers()["access-control-allow-origin"], "*");
    assert_eq!(get.headers()["mo-request-id"].len(), 36);
    assert!(!get.headers().contains_key("set-cookie"));
    assert_eq!(get.text().await.unwrap(), "#EXTM3U\n");

    let missing = http.send(Method::GET, "/objectstore/livestreams/none", b"").await;
    assert_eq!(missing.headers()["access-control-allow-origin"], "*");
    assert_eq!(told(missing).await, (404, "Object not found.".into()));
    assert_eq!(told(http.send(Method::GET, "/objectstore/none/a", b"").await).await, (404, "Store Not Found".into()));
    assert_eq!(http.send(Method::OPTIONS, "/objectstore/livestreams/a", b"").await.status(), 204);
    for _ in 0..2 {
        assert_eq!(http.send(Method::DELETE, "/objectstore/livestreams/show/a.m3u8", b"").await.status(), 204);
    }
}

#[tokio::test]
async fn an_ephemeral_object_lives_ten_minutes_at_most() {
    let http = Http::start().await;
    let status = async |ttl: u32| {
        let put = http.request(Method::PUT, &format!("/objectstore/livestreams/a?ttl_seconds={ttl}"));
        let put = put.header("authorization", &http.key).header("mo-persistence", "ephemeral");
        put.send().await.unwrap().status().as_u16()
    };
    assert_eq!((status(600).await, status(601).await), (204, 400));
}

#[tokio::test]
async fn object_stores_are_made_and_listed() {
    let http = Http::start().await;
    let configuration: &[u8] = br#"{"storage_config": {"s3": {"bucket_name": "b", "iam_role_arn": "r"}},
        "cache_config": {"valkey_cluster": {"cluster_name": "c"}}}"#;
    assert_eq!(http.send(Method::PUT, "/objectstore/archive", b"{}").await.status(), 400);
    assert_eq!(http.send(Method::PUT, "/objectstore/archive", configuration).await.status(), 201);
    assert_eq!(http.send(Method::PUT, "/objectstore/archive", configuration).await.status(), 200);
    let all = told(http.send(Method::GET, "/objectstore", b"").await).await.1;
    assert_eq!(all, r#"{"object_stores":[{"name":"archive"},{"name":"livestreams"}]}"#);
    assert_eq!(http.send(Method::DELETE, "/objectstore/archive", b"").await.status(), 204);
    assert_eq!(http.send(Method::GET, "/objectstore/archive", b"").await.status(), 404);
}

#[tokio::test]
async fn faults_reach_the_http_api_only_when_told_to() {
    let http = Http::start().await;
    let get = async || told(http.send(Method::GET, "/cache/livestreams?key=a", b"").await).await;
    let faults = async |body: &'static [u8]| told(http.send(Method::POST, "/faults", body).await).await;

    let answer = faults(br#"{"down": true, "throttleRate": 1}"#).await;
    assert_eq!(answer, (200, r#"{"down":true,"delayMs":0,"failRate":0.0,"throttleRate":1.0,"http":false}"#.into()));
    assert_eq!(get().await.0, 404);
    faults(br#"{"http": true}"#).await;
    assert_eq!(get().await.0, 503);
    faults(br#"{"down": false}"#).await;
    assert_eq!(get().await, (429, r#"{"message":"Request rate exceeded."}"#.into()));
    faults(br#"{"throttleRate": 0, "failRate": 1}"#).await;
    assert_eq!(get().await.0, 500);
    assert_eq!(faults(br#"{"failRate": 2}"#).await.0, 400);
    assert_eq!(faults(br#"{"slow": 2}"#).await.0, 400);
}

#[tokio::test]
async fn a_wipe_takes_the_items_and_leaves_the_caches() {
    let http = Http::start().await;
    http.send(Method::PUT, "/cache/livestreams?key=a&ttl_seconds=60", b"x").await;
    http.fake.set_faults(&FaultsUpdate { wipe: true, ..FaultsUpdate::default() });
    let get = told(http.send(Method::GET, "/cache/livestreams?key=a", b"").await).await;
    assert_eq!(get, (404, "Key Not Found".into()));
}
