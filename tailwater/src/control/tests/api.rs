//! Requests as clients send them.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Request, Response, header},
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::registry::{InMemory, status};
use crate::{
    control::{Access, Control, Defaults, source_url::SourceRules},
    ladder::{Format, LadderConfig, Rung},
    livestream::types::{CreateError, Event, LivestreamState, Problem, SourceRequest},
};

struct Server {
    registry: Arc<InMemory>,
    router: Router,
    stopping: CancellationToken,
}

fn server_with(access: Access) -> Server {
    let registry = Arc::new(InMemory::default());
    let defaults = Defaults {
        ladder: LadderConfig::default(),
        window: Duration::from_secs(300),
        ttl: Duration::from_secs(3600),
        store_ttls: Vec::new(),
        rules: SourceRules { allow: Vec::new(), allow_loopback: true },
        public_host: None,
        rtmp: Some("127.0.0.1:1935".parse().unwrap()),
    };
    let stopping = CancellationToken::new();
    let control = Control::new(registry.clone(), defaults, None, stopping.clone());
    let router = control.operator_routes(access).merge(control.health_routes());
    Server { registry, router, stopping }
}

fn server() -> Server {
    server_with(Access::Loopback { public_host: None })
}

impl Server {
    async fn raw(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn send(&self, request: Request<Body>) -> (u16, Value) {
        let response = self.raw(request).await;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn post(&self, body: impl Into<Body>) -> (u16, Value) {
        let request = Request::post("/livestreams").header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(body.into()).unwrap()).await
    }

    async fn post_json(&self, body: Value) -> (u16, Value) {
        self.post(body.to_string()).await
    }
}

fn tutorial() -> Value {
    json!({ "rtmpUrl": "rtmp://localhost/live/teststream", "streamName": "My Momento Stream" })
}

#[tokio::test]
async fn the_tutorials_request_is_accepted_with_the_tutorials_answer() {
    let server = server();
    let (status, body) = server.post_json(tutorial()).await;
    assert_eq!(status, 202);
    assert_eq!(body["stream"], "mymomentostream_playlist.m3u8");
    assert_eq!(body["name"], "mymomentostream");
    let request = server.registry.request("mymomentostream");
    assert!(matches!(request.source, SourceRequest::Own(_)));
    assert_eq!(request.ladder, LadderConfig::default());
}

#[tokio::test]
async fn a_missing_url_or_name_is_400_in_the_tutorials_words() {
    let server = server();
    for body in [
        json!({}),
        json!({ "rtmpUrl": "rtmp://localhost/live/x" }),
        json!({ "streamName": "x" }),
        json!({ "rtmpUrl": "", "streamName": "x" }),
        json!({ "rtmpUrl": "rtmp://localhost/live/x", "streamName": null }),
        json!({ "rtmpUrl": 0, "streamName": "" }),
    ] {
        let (status, answer) = server.post_json(body.clone()).await;
        assert_eq!(status, 400, "{body}");
        assert_eq!(answer, json!({ "error": "RTMP url and stream name are required", "code": "missing-fields" }));
    }
}

#[tokio::test]
async fn bad_bodies_get_a_sentence_and_a_code() {
    let server = server();
    let long = json!({ "rtmpUrl": "rtmp://localhost/live/x", "streamName": "a".repeat(1000) });
    for (body, status, code) in [
        ("{".to_owned(), 400, "invalid-json"),
        ("[]".to_owned(), 400, "invalid-json"),
        ("\"x\"".to_owned(), 400, "invalid-json"),
        (String::new(), 400, "invalid-json"),
        ("\u{0}".to_owned(), 400, "invalid-json"),
        (json!({ "rtmpUrl": 5, "streamName": "x" }).to_string(), 400, "invalid-request"),
        (json!({ "rtmpUrl": "rtmp://localhost/live/x", "streamName": ["x"] }).to_string(), 400, "invalid-request"),
        (long.to_string(), 400, "invalid-stream-name"),
        (json!({ "rtmpUrl": "rtmp://localhost/live/x", "streamName": "!!" }).to_string(), 400, "invalid-stream-name"),
        (json!({ "streamName": "a".repeat(1 << 20) }).to_string(), 413, "body-too-large"),
    ] {
        let shown: String = body.chars().take(80).collect();
        let (got, answer) = server.post(body).await;
        assert_eq!((got, answer["code"].as_str()), (status, Some(code)), "{shown}");
        assert!(answer["error"].as_str().unwrap().len() > 10, "{answer}");
    }
}

#[tokio::test]
async fn a_misspelt_field_is_refused_with_the_nearest_one() {
    let server = server();
    let mut body = tutorial();
    body["lowLatancy"] = json!(false);
    let (status, answer) = server.post_json(body).await;
    assert_eq!(status, 400);
    assert_eq!(answer["error"], "there is no field \"lowLatancy\"; did you mean \"lowLatency\"?");
}

#[tokio::test]
async fn a_body_that_is_not_said_to_be_json_is_415() {
    let server = server();
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonish"] {
        let request = Request::post("/livestreams").header(header::CONTENT_TYPE, content_type);
        let (status, answer) = server.send(request.body(tutorial().to_string().into()).unwrap()).await;
        assert_eq!((status, answer["code"].as_str()), (415, Some("not-json")), "{content_type}");
    }
    let request = Request::post("/livestreams").header(header::CONTENT_TYPE, "Application/JSON; charset=utf-8");
    assert_eq!(server.send(request.body(tutorial().to_string().into()).unwrap()).await.0, 202);
}

#[tokio::test]
async fn sources_inside_the_network_and_other_schemes_are_refused() {
    let server = server();
    for (url, code) in [
        ("file:///etc/passwd", "unsupported-scheme"),
        ("concat:a|b", "unsupported-scheme"),
        ("http://169.254.169.254/latest", "unsupported-scheme"),
        ("rtmp://169.254.169.254/live/x", "source-not-allowed"),
        ("rtmp://10.0.0.1/live/x", "source-not-allowed"),
        ("not a url", "invalid-rtmp-url"),
    ] {
        let (status, answer) = server.post_json(json!({ "rtmpUrl": url, "streamName": "x" })).await;
        assert_eq!((status, answer["code"].as_str()), (400, Some(code)), "{url}");
    }
    let nginx = json!({ "rtmpUrl": "rtmp://localhost:1936/live/x", "streamName": "nginx" });
    assert_eq!(server.post_json(nginx).await.0, 202);
    assert!(matches!(server.registry.request("nginx").source, SourceRequest::Pull(_)));
}

#[tokio::test]
async fn a_backup_is_judged_like_the_main_source_and_is_another_stream() {
    let server = server();
    for (url, code) in [
        ("file:///etc/passwd", "unsupported-scheme"),
        ("rtmp://10.0.0.1/live/x", "source-not-allowed"),
        ("rtmp://localhost", "invalid-rtmp-url"),
        ("rtmp://127.0.0.1:1935/live/teststream", "invalid-backup-url"),
    ] {
        let mut body = tutorial();
        body["backupUrl"] = json!(url);
        let (status, answer) = server.post_json(body).await;
        assert_eq!((status, answer["code"].as_str()), (400, Some(code)), "{url}");
        assert!(answer["error"].as_str().unwrap().starts_with("backupUrl"), "{answer}");
    }
    let mut body = tutorial();
    body["backupUrl"] = json!("rtmp://localhost/live/second");
    assert_eq!(server.post_json(body).await.0, 202);
    assert!(matches!(server.registry.request("mymomentostream").backup, Some(SourceRequest::Own(_))));
    let push = json!({ "streamName": "p", "ingest": "push", "backupUrl": "rtmps://example.org/live/x" });
    assert_eq!(server.post_json(push).await.0, 202);
    assert!(matches!(server.registry.request("p").backup, Some(SourceRequest::Pull(_))));
}

#[tokio::test]
async fn a_request_says_its_ladder_and_the_rest_is_by_default() {
    let server = server();
    let mut body = tutorial();
    body["ladder"] = json!([{ "name": "720p", "height": 720, "videoBitrate": 3_000_000, "maxFrameRate": 30 }]);
    body["format"] = json!("cmaf");
    body["lowLatency"] = json!(false);
    body["window"] = json!("20s");
    body["ttl"] = json!("2m");
    body["audioBitrate"] = json!(96_000);
    let (status, answer) = server.post_json(body).await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!(answer.get("lowLatencyPlaylist"), None);
    let request = server.registry.request("mymomentostream");
    let rung = Rung { max_frame_rate: Some(30.0), ..Rung::new("720p", 720, 3_000_000) };
    assert_eq!(request.ladder.rungs, [rung]);
    assert_eq!((request.ladder.format, request.ladder.low_latency), (Format::Cmaf, false));
    assert_eq!((request.window, request.ttl), (Duration::from_secs(20), Duration::from_secs(120)));
    assert_eq!(request.ladder.part_target, LadderConfig::default().part_target);
}

#[tokio::test]
async fn ladders_windows_and_ttls_that_cannot_be_are_refused() {
    let server = server();
    for (field, value, code) in [
        ("ladder", json!([]), "invalid-ladder"),
        ("ladder", json!([{ "name": "A", "height": 720, "videoBitrate": 1_000_000 }]), "invalid-ladder"),
        (
            "ladder",
            json!([{ "name": "a", "height": 720, "videoBitrate": 1_000_000, "codec": "hevc" }]),
            "invalid-ladder",
        ),
        ("ladder", json!([{ "name": "a", "height": "720", "videoBitrate": 1_000_000 }]), "invalid-request"),
        ("audioBitrate", json!(1), "invalid-ladder"),
        ("format", json!("dash"), "invalid-request"),
        ("window", json!("2s"), "invalid-window"),
        ("window", json!(20), "invalid-request"),
        ("ttl", json!("5m"), "invalid-ttl"),
        ("ttl", json!("soon"), "invalid-request"),
    ] {
        let mut body = tutorial();
        body[field] = value.clone();
        let (status, answer) = server.post_json(body).await;
        assert_eq!((status, answer["code"].as_str()), (400, Some(code)), "{field}: {value}");
    }
}

#[tokio::test]
async fn the_same_request_again_is_202_with_the_same_body_and_another_409() {
    let server = server();
    let first = server.post_json(tutorial()).await;
    assert_eq!(server.post_json(tutorial()).await, first);
    let mut other = tutorial();
    other["rtmpUrl"] = json!("rtmp://localhost/live/another");
    let (status, answer) = server.post_json(other.clone()).await;
    assert_eq!((status, answer["code"].as_str()), (409, Some("name-taken")));
    let request = Request::delete("/livestreams/mymomentostream").body(Body::empty()).unwrap();
    let (status, ended) = server.send(request).await;
    assert_eq!((status, ended["state"].as_str()), (200, Some("ended")));
    assert_eq!(server.post_json(other).await.0, 202);
}

#[tokio::test]
async fn a_push_livestream_says_where_to_publish_and_the_same_again() {
    let server = server();
    let body = json!({ "streamName": "Cam 1", "ingest": "push" });
    let first = server.post_json(body.clone()).await;
    assert_eq!(first.0, 202);
    assert_eq!(first.1["publishUrl"], "rtmp://127.0.0.1:1935/live");
    assert_eq!(first.1["streamKey"], "made-up-key");
    assert_eq!(server.post_json(body).await, first);
    let both = json!({ "streamName": "Cam 1", "ingest": "push", "rtmpUrl": "rtmp://localhost/live/x" });
    assert_eq!(server.post_json(both).await.0, 400);
    assert_eq!(server.post_json(json!({ "ingest": "push" })).await.0, 400);
    assert_eq!(server.post_json(json!({ "ingest": "fax", "streamName": "x", "rtmpUrl": "rtmp://h/a/b" })).await.0, 400);
}

#[tokio::test]
async fn what_the_registry_refuses_has_its_status_and_code() {
    let server = server();
    for (error, status, code) in [
        (CreateError::Ffmpeg { message: "there is no FFmpeg at /x: install it".into() }, 503, "ffmpeg-unavailable"),
        (CreateError::TooMany { limit: 3 }, 503, "too-many-livestreams"),
        (CreateError::OverCapacity, 503, "over-capacity"),
        (CreateError::RtmpOff, 400, "rtmp-off"),
        (CreateError::ShuttingDown, 503, "shutting-down"),
    ] {
        *server.registry.refuse.lock().unwrap() = Some(error.clone());
        let (got, answer) = server.post_json(tutorial()).await;
        assert_eq!((got, answer["code"].as_str()), (status, Some(code)));
        assert_eq!(answer["error"], error.to_string());
    }
}

#[tokio::test]
async fn livestreams_are_shown_one_by_one_and_all_together() {
    let server = server();
    server.post_json(tutorial()).await;
    let (status, shown) = server.get("/livestreams/mymomentostream").await;
    assert_eq!(status, 200);
    for (field, value) in [
        ("state", "starting"),
        ("title", "My Momento Stream"),
        ("window", "5m"),
        ("createdAt", "1970-01-01T00:00:01.500Z"),
    ] {
        assert_eq!(shown[field], value, "{shown}");
    }
    let (_, all) = server.get("/livestreams").await;
    assert_eq!(all["livestreams"][0], shown);
    assert_eq!(all["waiting"], json!([]));
    for path in ["/livestreams/nobody", "/livestreams/My%20Stream", "/livestreams/%00"] {
        let (status, answer) = server.get(path).await;
        assert_eq!((status, answer["code"].as_str()), (404, Some("no-such-livestream")), "{path}");
    }
    let gone = Request::delete("/livestreams/nobody").body(Body::empty()).unwrap();
    assert_eq!(server.send(gone).await.0, 404);
}

#[tokio::test]
async fn with_a_token_operators_need_it_and_probes_do_not() {
    let server = server_with(Access::Token("correct-horse".parse().unwrap()));
    for path in ["/livestreams", "/events", "/metrics", "/docs/", "/openapi.json"] {
        let response = server.raw(Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), 401, "{path}");
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
        let with = Request::get(path).header(header::AUTHORIZATION, "Bearer correct-horse");
        let response = server.raw(with.body(Body::empty()).unwrap()).await;
        assert_ne!(response.status(), 401, "{path}");
    }
    let dashboard = server.raw(Request::get("/").body(Body::empty()).unwrap()).await;
    assert_eq!(dashboard.status(), 401);
    assert!(dashboard.headers()[header::CONTENT_TYPE].to_str().unwrap().starts_with("text/html"));
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.get(path).await.0, 200, "{path}");
    }
}

#[tokio::test]
async fn readiness_tells_what_is_wrong() {
    let server = server();
    assert_eq!(server.get("/readyz").await, (200, json!({ "status": "ready" })));
    let problem = Problem { code: "store-down".into(), message: "the store does not answer".into() };
    server.registry.problems.lock().unwrap().push(problem);
    let (status, answer) = server.get("/readyz").await;
    assert_eq!((status, answer["code"].as_str()), (503, Some("store-down")));
    assert_eq!(server.get("/healthz").await.0, 200);
}

#[tokio::test]
async fn events_are_sent_as_they_happen_and_end_with_the_server() {
    let server = server();
    server.post_json(tutorial()).await;
    let response = server.raw(Request::get("/events").body(Body::empty()).unwrap()).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let request = server.registry.request("mymomentostream");
    let live = Event::Livestream(Box::new(status(&request, LivestreamState::Live)));
    server.registry.events.send(live).unwrap();
    let mut body = response.into_body();
    let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
    let text = String::from_utf8(frame.to_vec()).unwrap();
    let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    assert!(text.contains("event: livestream\n"), "{text}");
    let data: Value = serde_json::from_str(data).unwrap();
    assert_eq!((data["type"].as_str(), data["state"].as_str()), (Some("livestream"), Some("live")));
    server.stopping.cancel();
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn the_description_names_every_route_and_its_page_loads_nothing_from_elsewhere() {
    let server = server();
    let (status, document) = server.get("/openapi.json").await;
    assert_eq!(status, 200);
    for (path, methods) in
        [("/livestreams", &["get", "post"][..]), ("/livestreams/{name}", &["get", "delete"]), ("/events", &["get"])]
    {
        for method in methods {
            assert!(document["paths"][path][method].is_object(), "{method} {path}");
        }
    }
    let fields = &document["components"]["schemas"]["CreateBody"]["properties"];
    assert!(fields["rtmpUrl"].is_object() && fields["ladder"].is_object(), "{fields}");
    assert!(fields["backupUrl"].is_object(), "{fields}");
    let source = &document["components"]["schemas"]["SourceStatus"]["properties"];
    assert!(source["backupUrl"].is_object() && source["active"].is_object(), "{source}");
    let page = server.raw(Request::get("/docs/").body(Body::empty()).unwrap()).await;
    let html = page.into_body().collect().await.unwrap().to_bytes();
    let html = String::from_utf8(html.to_vec()).unwrap();
    assert!(html.contains("swagger-ui") && !html.contains("https://"), "{html}");
}
