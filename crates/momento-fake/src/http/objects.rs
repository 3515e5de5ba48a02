//! `/objectstore/<store>/<key>`: objects with headers of their own.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Path, Query as Params, Request, State as Shared},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use tokio::time::Instant;

use super::{Answer, Query, Refusal, admit, bad_request, meet, method_not_allowed, octets, text, ttl};
use crate::state::{Access, State};

/// No largest object is documented; this one is ours.
const OBJECT_BYTES: usize = 64 << 20;
/// Headers that `mo-meta-` does not set, by name or by the beginning of the name.
const BLOCKED: [&str; 22] = [
    "connection",
    "keep-alive",
    "proxy-",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "cookie",
    "set-cookie",
    "authorization",
    "www-authenticate",
    "content-security-policy",
    "strict-transport-security",
    "access-control-",
    "host",
    "forwarded",
    "x-forwarded-",
    "mo-request-id",
    "origin",
    "via",
    "date",
];

pub(super) async fn object(
    Shared(state): Shared<Arc<State>>,
    Path((store, key)): Path<(String, String)>,
    Params(query): Params<Query>,
    request: Request<Body>,
) -> Response {
    if *request.method() == Method::OPTIONS {
        return with_cors(StatusCode::NO_CONTENT.into_response());
    }
    let mut response = answer(&state, &store, key, &query, request).await.into_response();
    response.headers_mut().insert("mo-request-id", request_id());
    with_cors(response)
}

async fn answer(state: &State, store: &str, key: String, query: &Query, request: Request<Body>) -> Answer {
    let (operation, access) = match *request.method() {
        Method::GET => ("object_get", Access::Read),
        Method::PUT => ("object_put", Access::Write),
        Method::DELETE => ("object_delete", Access::Write),
        _ => return Err(method_not_allowed()),
    };
    meet(state, operation).await?;
    // No `?token=` is documented here.
    admit(state, request.headers(), None, access)?;
    if operation == "object_put" {
        return put(state, store, key, query, request).await;
    }
    let mut inner = state.lock();
    let shelf = inner.stores.get_mut(store).ok_or_else(store_not_found)?;
    let now = Instant::now();
    if operation == "object_delete" {
        shelf.remove(key.as_bytes(), now);
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let item = shelf.get(key.as_bytes(), now).ok_or_else(|| text(StatusCode::NOT_FOUND, "Object not found."))?;
    let mut response = octets(item.value.clone());
    for (name, value) in &item.headers {
        response.headers_mut().insert(name, value.clone());
    }
    Ok(response)
}

async fn put(state: &State, store: &str, key: String, query: &Query, request: Request<Body>) -> Answer {
    let ttl = lifetime(state, query, request.headers())?;
    check_tags(request.headers())?;
    let headers = meta(request.headers());
    let body = axum::body::to_bytes(request.into_body(), OBJECT_BYTES).await;
    let value = body.map_err(|_| text(StatusCode::PAYLOAD_TOO_LARGE, "Payload Too Large"))?;
    let mut inner = state.lock();
    let shelf = inner.stores.get_mut(store).ok_or_else(store_not_found)?;
    shelf.put(key.into_bytes(), value, headers, ttl, Instant::now());
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Durable objects live for ever unless told; ephemeral ones ten minutes, which is also the most.
fn lifetime(state: &State, query: &Query, headers: &HeaderMap) -> Result<Option<Duration>, Refusal> {
    let asked = query.ttl_seconds.as_deref();
    match headers.get("mo-persistence").map(HeaderValue::as_bytes) {
        None | Some(b"durable") => asked.map(|asked| ttl(asked, Duration::MAX)).transpose(),
        Some(b"ephemeral") => {
            let most = state.limits.ephemeral_ttl;
            asked.map_or(Ok(Some(most)), |asked| ttl(asked, most).map(Some))
        }
        Some(_) => Err(bad_request("mo-persistence is neither durable nor ephemeral")),
    }
}

/// `mo-meta-<header>` comes back as `<header>`.
fn meta(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let named = headers.iter().filter_map(|(name, value)| Some((name.as_str().strip_prefix("mo-meta-")?, value)));
    let allowed = named.filter(|(name, _)| !blocked(name));
    allowed.filter_map(|(name, value)| Some((name.parse().ok()?, value.clone()))).collect()
}

fn blocked(name: &str) -> bool {
    BLOCKED.iter().any(|entry| if entry.ends_with('-') { name.starts_with(entry) } else { name == *entry })
}

/// Tags go to the bucket: ten of them, keys of 1 to 128 and values of up to 256 characters of a small set.
fn check_tags(headers: &HeaderMap) -> Result<(), Refusal> {
    let tags = headers.iter().filter_map(|(name, value)| Some((name.as_str().strip_prefix("mo-tag-")?, value)));
    let fits = |text: &str| text.chars().all(|c| c.is_alphanumeric() || " _.:/=+-@".contains(c));
    let mut count = 0;
    for (key, value) in tags {
        count += 1;
        let value = value.to_str().map_err(|_| bad_request("a tag is not text"))?;
        let sized = (1..=128).contains(&key.len()) && value.len() <= 256;
        if count > 10 || !sized || key.starts_with("aws:") || !fits(key) || !fits(value) {
            return Err(bad_request("a tag breaks the rules of S3"));
        }
    }
    Ok(())
}

/// A UUID of version 7: milliseconds since the epoch, then chance.
fn request_id() -> HeaderValue {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let (ms, random) = (since.as_millis() & 0xffff_ffff_ffff, fastrand::u128(..));
    let id = ms << 80 | 0x7 << 76 | (random >> 64 & 0xfff) << 64 | 0b10 << 62 | (random & 0x3fff_ffff_ffff_ffff);
    let hex = format!("{id:032x}");
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    HeaderValue::from_str(&parts.join("-")).unwrap_or(HeaderValue::from_static(""))
}

/// On every answer, errors too.
fn with_cors(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET,PUT,DELETE,OPTIONS,HEAD"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "*"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "*"),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn store_not_found() -> Refusal {
    text(StatusCode::NOT_FOUND, "Store Not Found")
}
