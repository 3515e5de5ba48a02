//! `/objectstore` and `/objectstore/<store>`: which stores there are.

use std::{collections::btree_map::Entry, sync::Arc};

use axum::{
    Json,
    body::Body,
    extract::{Path, Request, State as Shared},
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{Answer, admit, bad_request, meet, method_not_allowed, text};
use crate::{
    shelf::Shelf,
    state::{Access, State},
};

const CONFIGURATION_BYTES: usize = 64 << 10;

pub(super) async fn all(Shared(state): Shared<Arc<State>>, request: Request<Body>) -> Response {
    list(&state, request).await.into_response()
}

async fn list(state: &State, request: Request<Body>) -> Answer {
    if *request.method() != Method::GET {
        return Err(method_not_allowed());
    }
    meet(state, "store_list").await?;
    admit(state, request.headers(), None, Access::Read)?;
    let names: Vec<Value> = state.lock().stores.keys().map(|name| json!({"name": name})).collect();
    Ok(Json(json!({"object_stores": names})).into_response())
}

pub(super) async fn one(
    Shared(state): Shared<Arc<State>>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Response {
    answer(&state, name, request).await.into_response()
}

async fn answer(state: &State, name: String, request: Request<Body>) -> Answer {
    let (operation, access) = match *request.method() {
        Method::GET => ("store_describe", Access::Read),
        Method::PUT => ("store_put", Access::Write),
        Method::DELETE => ("store_delete", Access::Write),
        _ => return Err(method_not_allowed()),
    };
    meet(state, operation).await?;
    admit(state, request.headers(), None, access)?;
    match operation {
        "store_describe" if state.lock().stores.contains_key(&name) => Ok(Json(json!({"name": name})).into_response()),
        "store_delete" if state.lock().stores.remove(&name).is_some() => Ok(StatusCode::NO_CONTENT.into_response()),
        "store_put" => create(state, name, request).await,
        _ => Err(text(StatusCode::NOT_FOUND, "Store Not Found")),
    }
}

/// A bucket with a role, and a cluster, are what a store is made of; here they are only asked for.
async fn create(state: &State, name: String, request: Request<Body>) -> Answer {
    let body = axum::body::to_bytes(request.into_body(), CONFIGURATION_BYTES).await;
    let body = body.map_err(|_| text(StatusCode::PAYLOAD_TOO_LARGE, "Payload Too Large"))?;
    let configuration: Value =
        serde_json::from_slice(&body).map_err(|_| bad_request("the configuration is not JSON"))?;
    for field in [
        "/storage_config/s3/bucket_name",
        "/storage_config/s3/iam_role_arn",
        "/cache_config/valkey_cluster/cluster_name",
    ] {
        if configuration.pointer(field).and_then(Value::as_str).is_none() {
            return Err(bad_request("bucket_name, iam_role_arn and cluster_name are required"));
        }
    }
    match state.lock().stores.entry(name) {
        Entry::Occupied(_) => Ok(StatusCode::OK.into_response()),
        Entry::Vacant(entry) => {
            entry.insert(Shelf::new(state.limits.memory_bytes));
            Ok(StatusCode::CREATED.into_response())
        }
    }
}
