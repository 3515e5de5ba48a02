//! `GET /metrics`, in Prometheus' text format.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{ApiError, Control};

/// Counters, gauges and histograms in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "server", responses(
    (status = 200, body = String, content_type = "text/plain"),
))]
pub async fn metrics(State(control): State<Control>) -> Response {
    match &control.metrics {
        Some(handle) => {
            let headers = [
                (header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"),
                (header::CACHE_CONTROL, "no-store"),
            ];
            (headers, handle.render()).into_response()
        }
        None => ApiError::new(StatusCode::NOT_FOUND, "no-metrics", "metrics are not recorded").into_response(),
    }
}
