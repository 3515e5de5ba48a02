//! `/cache/<cache>?key=<key>`, and the form with the key in the path that players' URLs have.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, Query as Params, Request, State as Shared},
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose};
use tokio::time::Instant;

use super::{Answer, Query, Refusal, admit, bad_request, body_up_to, meet, method_not_allowed, octets, text, ttl};
use crate::state::{Access, State};

pub(super) async fn by_query(
    Shared(state): Shared<Arc<State>>,
    Path(cache): Path<String>,
    Params(query): Params<Query>,
    request: Request<Body>,
) -> Response {
    let key = match (&query.key, &query.key_base64) {
        (Some(key), None) => Some(key.clone().into_bytes()),
        (None, Some(key)) => base64_key(key),
        _ => None,
    };
    let Some(key) = key.filter(|key| !key.is_empty()) else {
        return bad_request("either key or key_base64 is required").into_response();
    };
    answer(&state, &cache, key, &query, request).await.into_response()
}

pub(super) async fn by_path(
    Shared(state): Shared<Arc<State>>,
    Path((cache, key)): Path<(String, String)>,
    Params(query): Params<Query>,
    request: Request<Body>,
) -> Response {
    answer(&state, &cache, key.into_bytes(), &query, request).await.into_response()
}

/// base64url, padded or not.
fn base64_key(key: &str) -> Option<Vec<u8>> {
    general_purpose::URL_SAFE_NO_PAD.decode(key.trim_end_matches('=')).ok()
}

async fn answer(state: &State, cache: &str, key: Vec<u8>, query: &Query, request: Request<Body>) -> Answer {
    let (operation, access) = match *request.method() {
        Method::GET => ("http_get", Access::Read),
        Method::PUT => ("http_put", Access::Write),
        Method::DELETE => ("http_delete", Access::Write),
        _ => return Err(method_not_allowed()),
    };
    meet(state, operation).await?;
    admit(state, request.headers(), query.token.as_deref(), access)?;
    match access {
        Access::Read => get(state, cache, &key),
        Access::Write if *request.method() == Method::DELETE => delete(state, cache, &key),
        Access::Write => put(state, cache, key, query, request).await,
    }
}

fn get(state: &State, cache: &str, key: &[u8]) -> Answer {
    let mut inner = state.lock();
    let shelf = inner.caches.get_mut(cache).ok_or_else(cache_not_found)?;
    match shelf.get(key, Instant::now()) {
        Some(item) => Ok(octets(item.value.clone())),
        None => Err(text(StatusCode::NOT_FOUND, "Key Not Found")),
    }
}

async fn put(state: &State, cache: &str, key: Vec<u8>, query: &Query, request: Request<Body>) -> Answer {
    let ttl_seconds = query.ttl_seconds.as_deref().ok_or_else(|| bad_request("ttl_seconds is required"))?;
    let ttl = ttl(ttl_seconds, state.limits.ttl)?;
    let value = body_up_to(state.limits.item_bytes.saturating_sub(key.len()), request).await?;
    let mut inner = state.lock();
    let shelf = inner.caches.get_mut(cache).ok_or_else(cache_not_found)?;
    shelf.put(key, value, Vec::new(), Some(ttl), Instant::now());
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn delete(state: &State, cache: &str, key: &[u8]) -> Answer {
    let mut inner = state.lock();
    let shelf = inner.caches.get_mut(cache).ok_or_else(cache_not_found)?;
    shelf.remove(key, Instant::now());
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn cache_not_found() -> Refusal {
    text(StatusCode::NOT_FOUND, "Cache Not Found")
}
