//! `/livestreams`: make, show, list, end.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{ApiError, Defaults, body, create::CreateBody, error::ErrorBody};
use crate::livestream::{
    name::StreamName,
    types::{Created, EndError, Livestreams, Status, WaitingPublisher},
};

/// The RTMP application that encoders publish keys of ours to.
const PUSH_APP: &str = "live";

/// The answer to a request that was accepted: only what never changes.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// The key of the multivariant playlist in the store.
    #[schema(example = "mymomentostream_playlist.m3u8")]
    stream: String,
    /// What keys and URLs begin with.
    #[schema(example = "mymomentostream")]
    name: String,
    /// Where any player plays it.
    playlist: String,
    /// Where players that know low-latency HLS play it, unless it is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    low_latency_playlist: Option<String>,
    /// The player page.
    watch: String,
    /// How it goes.
    status: String,
    /// Where to publish, with `ingest: "push"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    publish_url: Option<String>,
    /// The key to publish with, with `ingest: "push"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_key: Option<String>,
}

/// All livestreams, and the publishers that no livestream wants yet.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Listing {
    livestreams: Vec<Status>,
    waiting: Vec<WaitingPublisher>,
}

/// Start a livestream, in the background.
///
/// While a livestream is `starting`, `live` or `interrupted`, the same request again is accepted and starts nothing.
#[utoipa::path(post, path = "/livestreams", tag = "livestreams", request_body = CreateBody, responses(
    (status = 202, description = "Started, or live already", body = Accepted),
    (status = 400, description = "Something is missing or cannot be", body = ErrorBody),
    (status = 409, description = "The name is taken by a different livestream", body = ErrorBody),
    (status = 413, description = "The body is too large", body = ErrorBody),
    (status = 415, description = "The body is not sent as JSON", body = ErrorBody),
    (status = 503, description = "FFmpeg is missing, or this machine is full", body = ErrorBody),
))]
pub async fn create(
    State(livestreams): State<Arc<dyn Livestreams>>,
    State(defaults): State<Arc<Defaults>>,
    request: Request,
) -> Result<(StatusCode, Json<Accepted>), ApiError> {
    let host = host(request.headers());
    let (bytes, object) = body::object(request).await?;
    let request = CreateBody::parse(&bytes, &object)?.check(&defaults)?;
    let low_latency = request.ladder.low_latency;
    let created = livestreams.create(request).await?;
    Ok((StatusCode::ACCEPTED, Json(accepted(created, low_latency, &defaults, host))))
}

/// All livestreams, live or lately over, and the publishers that no livestream wants yet.
#[utoipa::path(get, path = "/livestreams", tag = "livestreams", responses((status = 200, body = Listing)))]
pub async fn list(State(livestreams): State<Arc<dyn Livestreams>>) -> Json<Listing> {
    Json(Listing { livestreams: livestreams.list(), waiting: livestreams.waiting() })
}

/// How a livestream goes.
#[utoipa::path(get, path = "/livestreams/{name}", tag = "livestreams", params(("name" = String, Path)), responses(
    (status = 200, body = Status),
    (status = 404, description = "There is no livestream of that name", body = ErrorBody),
))]
pub async fn show(
    State(livestreams): State<Arc<dyn Livestreams>>,
    Path(name): Path<String>,
) -> Result<Json<Status>, ApiError> {
    let status = StreamName::parse(&name).and_then(|name| livestreams.get(&name));
    status.map(Json).ok_or_else(|| no_such(&name))
}

/// End a livestream: its last segment is written, its playlists say that it is over, FFmpeg is gone.
#[utoipa::path(delete, path = "/livestreams/{name}", tag = "livestreams", params(("name" = String, Path)), responses(
    (status = 200, description = "It is over", body = Status),
    (status = 404, description = "There is no livestream of that name", body = ErrorBody),
))]
pub async fn end(
    State(livestreams): State<Arc<dyn Livestreams>>,
    Path(name): Path<String>,
) -> Result<Json<Status>, ApiError> {
    let Some(parsed) = StreamName::parse(&name) else { return Err(no_such(&name)) };
    livestreams.end(&parsed).await?;
    livestreams.get(&parsed).map(Json).ok_or_else(|| EndError::NotFound { name: parsed }.into())
}

fn no_such(name: &str) -> ApiError {
    let shown: String = name.chars().take(64).collect();
    ApiError::new(StatusCode::NOT_FOUND, "no-such-livestream", format!("there is no livestream {shown}"))
}

fn accepted(created: Created, low_latency: bool, defaults: &Defaults, host: Option<String>) -> Accepted {
    let name = created.name;
    let stream_key = created.stream_key.map(|key| key.expose().to_owned());
    Accepted {
        stream: crate::origin::path::multivariant_key(&name),
        playlist: format!("/live/{name}/playlist.m3u8"),
        low_latency_playlist: low_latency.then(|| format!("/live/{name}/low-latency.m3u8")),
        watch: format!("/watch/{name}"),
        status: format!("/livestreams/{name}"),
        publish_url: stream_key.is_some().then(|| publish_url(defaults, host)).flatten(),
        stream_key,
        name: name.to_string(),
    }
}

/// Where an encoder reaches our RTMP server: by the name it is known by, its address, or the name this request came to.
fn publish_url(defaults: &Defaults, host: Option<String>) -> Option<String> {
    let rtmp = defaults.rtmp?;
    let address = (!rtmp.ip().is_unspecified()).then(|| match rtmp.ip() {
        std::net::IpAddr::V4(address) => address.to_string(),
        std::net::IpAddr::V6(address) => format!("[{address}]"),
    });
    let host = defaults.public_host.clone().or(address).or(host).unwrap_or_else(|| "localhost".to_owned());
    Some(format!("rtmp://{host}:{}/{PUSH_APP}", rtmp.port()))
}

/// The host of the `Host` header, without its port.
fn host(headers: &HeaderMap) -> Option<String> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let parsed = url::Url::parse(&format!("http://{host}/")).ok()?;
    parsed.host_str().map(str::to_owned)
}
