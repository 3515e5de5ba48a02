//! HTTP/1.1 as far as [`direct`](super::direct) speaks it: heads of requests in, heads of responses out. Pure.

use std::time::SystemTime;

use axum::http::{HeaderName, HeaderValue, Method, Request, Uri, header, response};

/// A head longer than this is for hyper to refuse.
pub(super) const HEAD_BYTES: usize = 8 << 10;
pub(super) const MAX_HEADERS: usize = 64;
/// With which HTTP/2 begins. Half of it is a request's head to look at, and none of ours.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the bytes that have come so far are.
#[derive(Debug)]
pub(super) enum Head {
    /// Not all of a head.
    Partial,
    /// A request for what the origin serves.
    Ours(Box<Asked>),
    /// Anything else, also what is no HTTP at all.
    Other,
}

/// A request without a body.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: Request<()>,
    /// Bytes of its head.
    pub(super) length: usize,
    /// "Connection: close".
    pub(super) close: bool,
}

/// Reads a head. Ours is a GET or HEAD of a path under `/live/`, in HTTP/1.1, with no body and no wish to be upgraded.
pub(super) fn parse(bytes: &[u8]) -> Head {
    let mut space = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut space);
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES => return Head::Partial,
        Err(_) if bytes.len() < HTTP2_PREFACE.len() && HTTP2_PREFACE.starts_with(bytes) => return Head::Partial,
        Ok(_) | Err(_) => return Head::Other,
    };
    match ours(&parsed, length) {
        Some(asked) => Head::Ours(Box::new(asked)),
        None => Head::Other,
    }
}

fn ours(parsed: &httparse::Request<'_, '_>, length: usize) -> Option<Asked> {
    let method = match parsed.method? {
        "GET" => Method::GET,
        "HEAD" => Method::HEAD,
        _ => return None,
    };
    let path = parsed.path.filter(|path| path.starts_with("/live/"))?;
    if parsed.version != Some(1) {
        return None;
    }
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = Uri::try_from(path).ok()?;
    let mut close = false;
    for field in &*parsed.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        match name {
            header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::UPGRADE | header::EXPECT => return None,
            header::CONNECTION => close |= lists(field.value, b"close"),
            _ => {
                request.headers_mut().append(name, HeaderValue::from_bytes(field.value).ok()?);
            }
        }
    }
    Some(Asked { request, length, close })
}

fn lists(value: &[u8], wanted: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|token| token.trim_ascii().eq_ignore_ascii_case(wanted))
}

/// The head of a response. `length`: of its body, where its headers do not say it; `close`: no other follows.
pub(super) fn head(parts: &response::Parts, length: Option<u64>, close: bool, now: SystemTime) -> Vec<u8> {
    let mut out = Vec::with_capacity(768);
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(parts.status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(parts.status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in &parts.headers {
        field(&mut out, name.as_str(), value.as_bytes());
    }
    if let Some(length) = length.filter(|_| !parts.headers.contains_key(header::CONTENT_LENGTH)) {
        field(&mut out, "content-length", length.to_string().as_bytes());
    }
    if close {
        field(&mut out, "connection", b"close");
    }
    field(&mut out, "date", httpdate::fmt_http_date(now).as_bytes());
    out.extend_from_slice(b"\r\n");
    out
}

fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    for piece in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Response;

    use super::*;

    fn ours(head: &str) -> Option<Asked> {
        match parse(head.as_bytes()) {
            Head::Ours(asked) => {
                assert_eq!(asked.length, head.len());
                Some(*asked)
            }
            Head::Other => None,
            Head::Partial => panic!("{head} is whole"),
        }
    }

    #[test]
    fn a_get_under_live_is_ours_with_its_query_and_headers() {
        let asked = ours("GET /live/a/b.m3u8?_HLS_msn=1 HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n").unwrap();
        assert_eq!(asked.request.uri().query(), Some("_HLS_msn=1"));
        assert_eq!(asked.request.headers()["accept-encoding"], "gzip");
        assert!(!asked.close);
        assert!(ours("HEAD /live/a/b.ts HTTP/1.1\r\nConnection: keep-alive, Close\r\n\r\n").unwrap().close);
    }

    #[test]
    fn what_is_not_plainly_ours_is_hypers() {
        for head in [
            "GET /watch/a HTTP/1.1\r\n\r\n",
            "GET http://h/live/a/b HTTP/1.1\r\n\r\n",
            "POST /live/a/b HTTP/1.1\r\nContent-Length: 1\r\n\r\n",
            "GET /live/a/b HTTP/1.0\r\n\r\n",
            "GET /live/a/b HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
            "GET /live/a/b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET /live/a/b HTTP/1.1\r\nUpgrade: h2c\r\n\r\n",
            "GET /live/a/b HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
            "GET /live/a/b HTTP/1.1\r\nHost : x\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "\u{16}\u{3}\u{1}",
        ] {
            assert!(ours(head).is_none(), "{head:?}");
        }
        let long = format!("GET /live/{} HTTP/1.1\r\n", "a".repeat(HEAD_BYTES));
        assert!(matches!(parse(long.as_bytes()), Head::Other));
        let many = format!("GET /live/a/b HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(MAX_HEADERS + 1));
        assert!(matches!(parse(many.as_bytes()), Head::Other));
    }

    #[test]
    fn half_a_head_is_waited_for() {
        for half in ["", "GET /li", "GET /live/a/b HTTP/1.1\r\nHost: x\r\n", "PRI * HTTP/2.0\r\n\r\nSM"] {
            assert!(matches!(parse(half.as_bytes()), Head::Partial), "{half:?}");
        }
    }

    #[test]
    fn a_response_says_how_long_it_is_and_whether_more_may_follow() {
        let response = Response::builder().status(404).header("etag", "\"a\"").body(()).unwrap();
        let (parts, ()) = response.into_parts();
        let text = |length, close| String::from_utf8(head(&parts, length, close, SystemTime::UNIX_EPOCH)).unwrap();
        let date = "date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n";
        assert_eq!(
            text(Some(7), false),
            format!("HTTP/1.1 404 Not Found\r\netag: \"a\"\r\ncontent-length: 7\r\n{date}")
        );
        assert_eq!(text(None, true), format!("HTTP/1.1 404 Not Found\r\netag: \"a\"\r\nconnection: close\r\n{date}"));
    }
}
