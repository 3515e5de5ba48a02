//! `POST /faults`: what goes wrong from now on.

use std::sync::Arc;

use axum::{
    Json,
    extract::State as Shared,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use tracing::info;

use crate::{faults::FaultsUpdate, state::State};

/// Any content type will do: `curl -d` sends a form's. Answers the faults in force.
pub(super) async fn set(Shared(state): Shared<Arc<State>>, body: Bytes) -> Response {
    let refused = |why: String| (StatusCode::BAD_REQUEST, Json(serde_json::json!({"error": why}))).into_response();
    let update: FaultsUpdate = match serde_json::from_slice(&body) {
        Ok(update) => update,
        Err(error) => return refused(error.to_string()),
    };
    if let Some(objection) = update.objection() {
        return refused(objection);
    }
    let faults = state.set_faults(&update);
    info!(?faults, wiped = update.wipe, "faults set");
    Json(faults).into_response()
}
