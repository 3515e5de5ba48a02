//! Logs and metrics: set up once, by whoever runs the process.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::LogFormat;

/// How often histograms let go of what was rendered, so that they are bounded when nobody asks for metrics.
const UPKEEP: Duration = Duration::from_secs(5);
/// Seconds, from a part on loopback to a store at the end of its patience.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Why there are no logs or metrics.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The filter is not one.
    #[error("log_filter {filter:?} cannot be used: {reason}; write it like info or tailwater=debug,store=info")]
    Filter {
        /// As configured.
        filter: String,
        /// What is wrong.
        reason: String,
    },
    /// They are set up already.
    #[error("telemetry is set up already: {0}")]
    Twice(String),
}

/// Logs go to stderr, so that stdout is free for what commands print.
///
/// # Errors
/// [`TelemetryError`].
pub fn logs(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| TelemetryError::Filter { filter: filter.to_owned(), reason: error.to_string() })?;
    let registry = tracing_subscriber::registry().with(filter);
    let result = match format {
        LogFormat::Text => {
            registry.with(fmt::layer().with_ansi(io::stderr().is_terminal()).with_writer(io::stderr)).try_init()
        }
        LogFormat::Json => registry.with(fmt::layer().json().flatten_event(true).with_writer(io::stderr)).try_init(),
    };
    result.map_err(|error| TelemetryError::Twice(error.to_string()))
}

/// Records metrics from now on; the handle renders them.
///
/// # Errors
/// [`TelemetryError::Twice`].
pub fn metrics() -> Result<PrometheusHandle, TelemetryError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|error| TelemetryError::Twice(error.to_string()))?;
    describe();
    Ok(handle)
}

/// Keeps recorded histograms small until `stop`.
pub async fn upkeep(handle: PrometheusHandle, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(UPKEEP) => handle.run_upkeep(),
        }
    }
}

fn describe() {
    metrics::describe_counter!("tailwater_http_responses_total", "Answers, by class of status");
    metrics::describe_counter!("tailwater_http_connections_refused_total", "Connections over the limit");
    metrics::describe_counter!("tailwater_http_stalled_clients_total", "Clients that stopped reading");
    metrics::describe_counter!("tailwater_playlist_renders_total", "Media playlists rendered: once a change and form");
    metrics::describe_gauge!("tailwater_load_level", "Steps of load that a livestream sheds; 0: nothing");
    metrics::describe_gauge!("tailwater_load_lag_seconds", "Media that went into FFmpeg and has not come out");
    metrics::describe_counter!("tailwater_load_sheds_total", "Times that a livestream fell behind and shed a step");
    metrics::describe_counter!("tailwater_load_climbs_total", "Times that a livestream took a step back");
    metrics::describe_counter!("tailwater_load_refusals_total", "Livestreams that were too much for this machine");
    metrics::describe_counter!("tailwater_origin_store_errors_total", "Reads of the origin that the store failed");
    metrics::describe_counter!("tailwater_origin_crowded_total", "Requests refused because too many wait");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_filter_is_told() {
        let error = logs(LogFormat::Text, "tailwater=loud").unwrap_err().to_string();
        assert!(error.contains("log_filter") && error.contains("tailwater=loud"), "{error}");
    }
}
