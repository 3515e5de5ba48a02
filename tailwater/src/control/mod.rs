//! The HTTP API over the registry of livestreams.
//!
//! [`livestreams`] makes, shows and ends them, [`create`] judges what a request asks for, [`source_url`] where it may
//! pull from, [`events`] tells what changes, [`health`] and [`metrics`](mod@metrics) how the server does. [`auth`]
//! stands before all that operators have, [`error`] is how anything is refused, [`docs`] describes it.

pub mod auth;
pub mod body;
pub mod create;
pub mod docs;
pub mod error;
pub mod events;
pub mod health;
pub mod livestreams;
pub mod metrics;
pub mod source_url;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::FromRef, middleware};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;

pub use auth::Access;
pub use error::ApiError;

use crate::{config::Resolved, control::source_url::SourceRules, ladder::LadderConfig, livestream::types::Livestreams};

/// What a request leaves out, and what judges the rest.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// The ladder and what goes with it.
    pub ladder: LadderConfig,
    /// How much of the past a playlist lists.
    pub window: Duration,
    /// How long the store keeps an object.
    pub ttl: Duration,
    /// The stores' own, where they have one: they bound the window too.
    pub store_ttls: Vec<Duration>,
    /// Where sources may be pulled from.
    pub rules: SourceRules,
    /// The name encoders know this server by.
    pub public_host: Option<String>,
    /// Where the RTMP server is bound, if it is on.
    pub rtmp: Option<SocketAddr>,
}

impl Defaults {
    /// From the configuration and the address that the RTMP server got.
    pub fn new(resolved: &Resolved, rtmp: Option<SocketAddr>) -> Self {
        Self {
            ladder: resolved.ladder.clone(),
            window: resolved.window,
            ttl: resolved.ttl,
            store_ttls: resolved.stores.iter().filter_map(|store| store.ttl).collect(),
            rules: SourceRules {
                allow: resolved.allow_source.clone(),
                allow_loopback: resolved.api_address().ip().is_loopback(),
            },
            public_host: resolved.public_host.clone(),
            rtmp,
        }
    }
}

/// The API's state. Clones share it.
#[derive(Clone, Debug)]
pub struct Control {
    livestreams: Arc<dyn Livestreams>,
    defaults: Arc<Defaults>,
    metrics: Option<PrometheusHandle>,
    stopping: CancellationToken,
}

impl Control {
    /// An API over `livestreams`. Once `stopping` is cancelled, streams of events end.
    pub fn new(
        livestreams: Arc<dyn Livestreams>,
        defaults: Defaults,
        metrics: Option<PrometheusHandle>,
        stopping: CancellationToken,
    ) -> Self {
        Self { livestreams, defaults: Arc::new(defaults), metrics, stopping }
    }

    /// What operators have, behind `access`: the API, the dashboard, the documents.
    pub fn operator_routes(&self, access: Access) -> Router {
        let (api, document) = docs::api().split_for_parts();
        let pages: Router<Self> = crate::web::operator_routes();
        api.merge(pages)
            .with_state(self.clone())
            .merge(docs::pages(document))
            .layer(middleware::from_fn_with_state(Arc::new(access), auth::require))
    }

    /// What anyone may ask: `/healthz` and `/readyz`.
    pub fn health_routes(&self) -> Router {
        health::routes().with_state(self.clone())
    }
}

impl FromRef<Control> for Arc<dyn Livestreams> {
    fn from_ref(control: &Control) -> Self {
        Arc::clone(&control.livestreams)
    }
}

impl FromRef<Control> for Arc<Defaults> {
    fn from_ref(control: &Control) -> Self {
        Arc::clone(&control.defaults)
    }
}

#[cfg(test)]
mod tests;
