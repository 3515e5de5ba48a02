//! The front door of players, CDNs and plain HTTP clients; and of whoever wants things to go wrong.

mod cache;
mod faults;
mod objects;
mod stores;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use bytes::Bytes;
use serde::Deserialize;

use crate::{
    faults::{Fate, Faults},
    state::{Access, Denial, State},
};

pub(crate) fn router(state: &Arc<State>) -> Router {
    Router::new()
        .route("/cache/{cache}", any(cache::by_query))
        .route("/cache/{cache}/{*key}", any(cache::by_path))
        .route("/objectstore", any(stores::all))
        .route("/objectstore/{store}", any(stores::one))
        .route("/objectstore/{store}/{*key}", any(objects::object))
        .route("/faults", post(faults::set))
        .route("/healthz", get(async || "ok\n"))
        .fallback(async || text(StatusCode::NOT_FOUND, "Not Found"))
        .with_state(Arc::clone(state))
}

/// The query strings of the documented requests; others are carried along by encoders and mean nothing here.
#[derive(Debug, Default, Deserialize)]
struct Query {
    key: Option<String>,
    key_base64: Option<String>,
    ttl_seconds: Option<String>,
    token: Option<String>,
}

type Answer = Result<Response, Refusal>;

/// An answer that ends a request early.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    content_type: &'static str,
    body: &'static str,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, [(header::CONTENT_TYPE, self.content_type)], self.body).into_response()
    }
}

/// What every request goes through: counted, delayed, throttled or failed.
async fn meet(state: &State, operation: &'static str) -> Result<(), Refusal> {
    let faults = *state.faults.borrow();
    let faults = if faults.http { faults } else { Faults::default() };
    let fate = state.meet(operation, faults).await;
    if faults.down {
        return Err(text(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"));
    }
    match fate {
        Fate::Pass => Ok(()),
        // The body the object store documents; the cache API documents none.
        Fate::Throttle => Err(Refusal {
            status: StatusCode::TOO_MANY_REQUESTS,
            content_type: "application/json",
            body: r#"{"message":"Request rate exceeded."}"#,
        }),
        Fate::Fail => Err(text(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")),
    }
}

/// The key is sent bare in `Authorization` or as `?token=`; both at once are refused.
fn admit(state: &State, headers: &HeaderMap, token: Option<&str>, access: Access) -> Result<(), Refusal> {
    let header = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
    if header.is_some() && token.is_some() {
        return Err(text(StatusCode::BAD_REQUEST, "Authorization header and token parameter are both present"));
    }
    state.admit(header.or(token), access).map_err(|denial| match denial {
        Denial::Unauthenticated => text(StatusCode::UNAUTHORIZED, "Invalid or missing API key"),
        Denial::Forbidden => text(StatusCode::FORBIDDEN, "This API key may not write"),
    })
}

/// `ttl_seconds`, at most `longest`.
fn ttl(value: &str, longest: Duration) -> Result<Duration, Refusal> {
    match value.parse().map(Duration::from_secs) {
        Ok(ttl) if !ttl.is_zero() && ttl <= longest => Ok(ttl),
        _ => Err(bad_request("ttl_seconds is out of range")),
    }
}

async fn body_up_to(limit: usize, request: Request<Body>) -> Result<Bytes, Refusal> {
    let body = axum::body::to_bytes(request.into_body(), limit).await;
    // Momento's limits are answered with 429, the size of an item among them.
    body.map_err(|_| text(StatusCode::TOO_MANY_REQUESTS, "Item size limit exceeded"))
}

fn octets(value: Bytes) -> Response {
    let octet_stream = HeaderValue::from_static("application/octet-stream");
    ([(header::CONTENT_TYPE, octet_stream)], value).into_response()
}

fn bad_request(why: &'static str) -> Refusal {
    text(StatusCode::BAD_REQUEST, why)
}

fn text(status: StatusCode, body: &'static str) -> Refusal {
    Refusal { status, content_type: "text/plain; charset=utf-8", body }
}

/// What is not documented (HEAD among it) is not answered.
fn method_not_allowed() -> Refusal {
    text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
}
