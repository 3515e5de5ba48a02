//! The few answers the origin gives. They own the headers: content types, caching, CORS.

use std::{
    collections::VecDeque,
    convert::Infallible,
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderValue, Method, Response, StatusCode,
        header::{self, HeaderName},
    },
};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use store::Payload;

use super::render::Rendered;

/// The media type of playlists: RFC 8216bis section 4.
pub const PLAYLIST_TYPE: &str = "application/vnd.apple.mpegurl";
/// "Blocking playlist ... six Target Durations", parts too (RFC 8216bis B.1).
const BLOCKING_TARGET_DURATIONS: u64 = 6;
/// How long a browser may go on without asking again whether it may ask.
const PREFLIGHT_SECONDS: HeaderValue = HeaderValue::from_static("86400");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// How long an answer may be kept by caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// A playlist as it is now: half a target duration (seconds). Whole seconds are all a header can say, so a browser asks
    /// again each time, and a shared cache spares us the crowd.
    Playlist {
        /// Seconds.
        target_duration: u32,
    },
    /// A playlist or part that a request waited for, or could have: its URL says which, and it stays true.
    Blocking {
        /// Seconds.
        target_duration: u32,
    },
    /// A segment or init: no key ever gets other bytes.
    Immutable {
        /// As long as the store keeps it.
        ttl: Duration,
    },
}

impl Caching {
    fn header(self) -> String {
        match self {
            Self::Playlist { target_duration } => {
                let half = u64::from(target_duration) / 2;
                format!("public, max-age={half}, s-maxage={}", half.max(1))
            }
            Self::Blocking { target_duration } => {
                format!("public, max-age={}", BLOCKING_TARGET_DURATIONS * u64::from(target_duration.max(1)))
            }
            Self::Immutable { ttl } => format!("public, max-age={}, immutable", ttl.as_secs()),
        }
    }
}

/// What of a request decides about its answer's form.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// `HEAD`: the headers only.
    pub head: bool,
    /// gzip is welcome.
    pub gzip: bool,
    /// `If-None-Match`.
    pub if_none_match: Option<String>,
    /// `Range`.
    pub range: Option<String>,
    /// `If-Range`.
    pub if_range: Option<String>,
}

impl Asked {
    /// Reads method and headers.
    pub fn new(method: &Method, headers: &HeaderMap) -> Self {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self {
            head: method == Method::HEAD,
            gzip: accepts_gzip(headers),
            if_none_match: text(header::IF_NONE_MATCH),
            range: text(header::RANGE),
            if_range: text(header::IF_RANGE),
        }
    }

    /// RFC 9110 13.1.2: weak comparison.
    fn has(&self, etag: &str) -> bool {
        let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        self.if_none_match
            .as_deref()
            .is_some_and(|tags| tags.trim() == "*" || tags.split(',').any(|tag| opaque(tag) == opaque(etag)))
    }

    /// The range to follow, if `If-Range` does not forbid it: RFC 9110 13.1.5, strong comparison.
    pub fn range(&self, etag: &str) -> Option<&str> {
        let fresh = self.if_range.as_deref().is_none_or(|tag| tag.trim() == etag && !etag.starts_with("W/"));
        self.range.as_deref().filter(|_| fresh)
    }
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip") || name == "*");
            let refused = parts.any(|part| {
                part.strip_prefix("q=").and_then(|weight| weight.trim().parse::<f32>().ok()).is_some_and(|q| q <= 0.0)
            });
            named && !refused
        })
    })
}

/// A playlist.
pub fn playlist(asked: &Asked, rendered: &Rendered, caching: Caching) -> Response<Body> {
    let mut response = answer(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    insert(headers, header::CACHE_CONTROL, &caching.header());
    insert(headers, header::ETAG, rendered.etag());
    if asked.has(rendered.etag()) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PLAYLIST_TYPE));
    let bytes = if asked.gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        rendered.gzip()
    } else {
        rendered.text()
    };
    body(response, asked, bytes.into())
}

/// A whole segment, part or init, or some bytes of it.
pub struct Media<'a> {
    /// The bytes to send: those of `range`, if there is one.
    pub payload: Payload,
    /// Which bytes of how many, if not all.
    pub range: Option<(Range<u64>, u64)>,
    /// `Content-Type`.
    pub content_type: &'a str,
    /// `ETag`, strong, where the whole object is known.
    pub etag: Option<&'a str>,
    /// How long it may be kept.
    pub caching: Caching,
}

/// A segment, part or init.
pub fn media(asked: &Asked, media: Media<'_>) -> Response<Body> {
    let mut response = answer(StatusCode::OK);
    let headers = response.headers_mut();
    insert(headers, header::CACHE_CONTROL, &media.caching.header());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(etag) = media.etag {
        insert(headers, header::ETAG, etag);
    }
    if media.etag.is_some_and(|etag| asked.has(etag)) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    insert(headers, header::CONTENT_TYPE, media.content_type);
    if let Some((range, size)) = &media.range {
        let last = range.end.saturating_sub(1);
        insert(headers, header::CONTENT_RANGE, &format!("bytes {}-{last}/{size}", range.start));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    body(response, asked, media.payload)
}

/// 404. Never kept: what is not there yet may be there in a moment.
pub fn not_found() -> Response<Body> {
    error(StatusCode::NOT_FOUND, "not-found", "there is nothing here")
}

/// 404 for what is expected soon.
pub fn not_yet() -> Response<Body> {
    retry_later(error(StatusCode::NOT_FOUND, "not-yet", "this livestream has no media yet: try again"))
}

/// 400.
pub fn bad_request(code: &str, sentence: &str) -> Response<Body> {
    error(StatusCode::BAD_REQUEST, code, sentence)
}

/// 503: what was waited for did not come, too many wait, or the store cannot be read.
pub fn unavailable(code: &str, sentence: &str) -> Response<Body> {
    retry_later(error(StatusCode::SERVICE_UNAVAILABLE, code, sentence))
}

/// 416 for an object of `size` bytes.
pub fn range_not_satisfiable(size: u64) -> Response<Body> {
    let mut response =
        error(StatusCode::RANGE_NOT_SATISFIABLE, "range-not-satisfiable", "the range begins beyond the object's end");
    insert(response.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{size}"));
    response
}

/// 405.
pub fn method_not_allowed() -> Response<Body> {
    let mut response =
        error(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "only GET, HEAD and OPTIONS work here");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    response
}

/// The answer to a browser that asks whether it may ask.
pub fn preflight() -> Response<Body> {
    let mut response = answer(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS);
    headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    response
}

/// An empty answer that pages of any origin may read: every player in a browser needs it, on errors too.
fn answer(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("age, content-length, content-range, date, etag, retry-after"),
    );
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("cross-origin"));
    headers.insert(HeaderName::from_static("timing-allow-origin"), HeaderValue::from_static("*"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn error(status: StatusCode, code: &str, sentence: &str) -> Response<Body> {
    let mut response = answer(status);
    response.headers_mut().insert(header::CACHE_CONTROL, NO_STORE);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *response.body_mut() = serde_json::json!({ "error": sentence, "code": code }).to_string().into();
    response
}

fn retry_later(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn body(mut response: Response<Body>, asked: &Asked, payload: Payload) -> Response<Body> {
    response.headers_mut().insert(header::CONTENT_LENGTH, payload.len().into());
    if !asked.head {
        *response.body_mut() = match payload.chunks() {
            [single] => Body::from(single.clone()),
            chunks => Body::new(Rope { left: payload.len() as u64, chunks: chunks.iter().cloned().collect() }),
        };
    }
    response
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // Everything that gets here is made of ASCII by us.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// A payload in the pieces it came in from the encoder: none is copied before the socket.
struct Rope {
    chunks: VecDeque<Bytes>,
    left: u64,
}

impl hyper::body::Body for Rope {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.chunks.pop_front().map(|chunk| {
            self.left -= chunk.len() as u64;
            Ok(Frame::data(chunk))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
