//! `/healthz`: the process answers. `/readyz`: it can do its work.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;

use super::Control;
use crate::livestream::types::Livestreams;

/// Both, for anyone.
pub(super) fn routes() -> Router<Control> {
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz))
}

async fn healthz() -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(json!({ "status": "ok" }))).into_response()
}

async fn readyz(State(livestreams): State<Arc<dyn Livestreams>>) -> Response {
    let problems = livestreams.unready().await;
    let no_store = [(header::CACHE_CONTROL, "no-store")];
    match problems.first() {
        None => (no_store, Json(json!({ "status": "ready" }))).into_response(),
        Some(first) => {
            let body = json!({ "error": first.message, "code": first.code, "problems": problems });
            (StatusCode::SERVICE_UNAVAILABLE, no_store, Json(body)).into_response()
        }
    }
}
