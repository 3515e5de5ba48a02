//! What every answer carries: RFC 9110, and the delivery profile of RFC 8216bis B.1.

use std::{io::Read, sync::Arc};

use axum::{Router, body::Body, http::Request};

use super::stage::{Remote, Show, get, get_with, media, origin, send};

const SEGMENT: &str = "/live/cam/cam_720p_segment001.ts";
const PLAYLIST: &str = "/live/cam/cam_720p_playlist.m3u8";

fn running() -> Router {
    let show = Show::new(&["720p"], true, 10);
    show.tell();
    show.parts(15);
    origin(Some(Arc::clone(&show)), Remote::new())
}

#[tokio::test]
async fn each_kind_has_its_content_type_and_its_cache_header() {
    let router = running();
    for (path, content_type, cache) in [
        ("/live/cam/playlist.m3u8", "application/vnd.apple.mpegurl", "public, max-age=0, s-maxage=1"),
        (PLAYLIST, "application/vnd.apple.mpegurl", "public, max-age=0, s-maxage=1"),
        (SEGMENT, "video/mp2t", "public, max-age=3600, immutable"),
        ("/live/cam/cam_720p_segment002.part0.ts", "video/mp2t", "public, max-age=6"),
    ] {
        let answer = get(&router, path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), content_type, "{path}");
        assert_eq!(answer.header("cache-control"), cache, "{path}");
        assert_eq!(answer.header("content-length"), answer.body.len().to_string(), "{path}");
    }
}

#[tokio::test]
async fn every_answer_may_be_read_by_pages_of_any_origin() {
    let router = running();
    for path in [PLAYLIST, SEGMENT, "/live/cam/nothing", "/live/other/playlist.m3u8", "/live/"] {
        let answer = get(&router, path).await;
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{path}");
        assert!(answer.header("access-control-expose-headers").contains("date"), "{path}");
    }
    let preflight = Request::options(SEGMENT).header("origin", "https://example.com").body(Body::empty()).unwrap();
    let answer = send(&router, preflight).await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (204, "*"));
    assert!(answer.header("access-control-allow-methods").contains("GET"));
}

#[tokio::test]
async fn playlists_are_compressed_for_those_who_take_it_and_media_never() {
    let router = running();
    let plain = get(&router, PLAYLIST).await;
    assert_eq!((plain.header("vary"), plain.header("content-encoding")), ("accept-encoding", ""));
    for accept in ["gzip", "br;q=1.0, gzip;q=0.5", "*"] {
        let answer = get_with(&router, PLAYLIST, &[("accept-encoding", accept)]).await;
        assert_eq!(answer.header("content-encoding"), "gzip", "{accept}");
        let mut text = String::new();
        flate2::read::GzDecoder::new(&answer.body[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, plain.text());
        assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    }
    for accept in ["gzip;q=0", "br", "identity"] {
        assert_eq!(get_with(&router, PLAYLIST, &[("accept-encoding", accept)]).await.header("content-encoding"), "");
    }
    let segment = get_with(&router, SEGMENT, &[("accept-encoding", "gzip")]).await;
    assert_eq!((segment.header("content-encoding"), segment.body.len()), ("", 100));
}

#[tokio::test]
async fn what_did_not_change_is_304() {
    let router = running();
    for path in [PLAYLIST, SEGMENT] {
        let etag = get(&router, path).await.header("etag").to_owned();
        assert!(!etag.is_empty());
        for tag in [etag.as_str(), "*", &format!("\"other\", {etag}")] {
            let answer = get_with(&router, path, &[("if-none-match", tag)]).await;
            assert_eq!((answer.status.as_u16(), answer.body.len()), (304, 0), "{path} {tag}");
            assert_eq!(answer.header("etag"), etag);
        }
        assert_eq!(get_with(&router, path, &[("if-none-match", "\"other\"")]).await.status, 200);
    }
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let router = running();
    for path in [PLAYLIST, SEGMENT, "/live/cam/nothing.ts"] {
        let got = get(&router, path).await;
        let head = send(&router, Request::head(path).body(Body::empty()).unwrap()).await;
        assert_eq!(head.status, got.status);
        if got.status == 200 {
            assert!(head.body.is_empty());
            assert_eq!(head.header("content-length"), got.body.len().to_string());
        }
        for name in ["etag", "content-type", "cache-control"] {
            assert_eq!(head.header(name), got.header(name), "{path} {name}");
        }
    }
}

#[tokio::test]
async fn a_range_is_206_and_one_beyond_the_end_416() {
    let router = running();
    let whole = media("cam_720p_segment001.ts").contiguous();
    for (range, bytes, content_range) in [
        ("bytes=0-9", 0..10, "bytes 0-9/100"),
        ("bytes=90-", 90..100, "bytes 90-99/100"),
        ("bytes=-50", 50..100, "bytes 50-99/100"),
    ] {
        let answer = get_with(&router, SEGMENT, &[("range", range)]).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-range")), (206, content_range));
        assert_eq!(answer.body, whole.slice(bytes));
    }
    let beyond = get_with(&router, SEGMENT, &[("range", "bytes=100-")]).await;
    assert_eq!((beyond.status.as_u16(), beyond.header("content-range")), (416, "bytes */100"));
    for ignored in ["bytes=0-1,5-6", "lines=1-2", "bytes=x"] {
        assert_eq!(get_with(&router, SEGMENT, &[("range", ignored)]).await.status, 200, "{ignored}");
    }
    let etag = get(&router, SEGMENT).await.header("etag").to_owned();
    let same = get_with(&router, SEGMENT, &[("range", "bytes=0-9"), ("if-range", &etag)]).await;
    let other = get_with(&router, SEGMENT, &[("range", "bytes=0-9"), ("if-range", "\"other\"")]).await;
    assert_eq!((same.status.as_u16(), other.status.as_u16()), (206, 200));
}

#[tokio::test]
async fn nothing_is_a_404_that_no_cache_keeps() {
    let router = running();
    for path in
        ["/live/cam/cam_720p_segment999.ts", "/live/cam/%2e%2e/x", "/live/cam/cam_sequence", "/live/x", "/live/a/b/c/d"]
    {
        let answer = get(&router, path).await;
        assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (404, "no-store"), "{path}");
        assert!(answer.text().contains("\"code\":\"not-found\""), "{path}");
    }
}

#[tokio::test]
async fn other_methods_are_405() {
    let router = running();
    let answer = send(&router, Request::post(SEGMENT).body(Body::empty()).unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "GET, HEAD, OPTIONS"));
}
