//! `tailwater serve`: everything put together, and taken down in order.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    app::App,
    cli::{open_files, plan},
    config::{Resolved, resolved::process_env},
    control::{Access, Control, Defaults},
    http::{Listener, routes::sites, tls::Tls},
    livestream::types::Livestreams,
    origin::{Origin, OriginSettings},
    shutdown, telemetry,
};

/// Players ask once a second: after the end of its livestreams the server answers for a little longer, so that they
/// see it.
const FAREWELL: Duration = Duration::from_millis(1_200);

/// Runs the server until a signal.
///
/// # Errors
/// A sentence about what cannot be bound, opened or read.
pub async fn run(config: Resolved) -> anyhow::Result<()> {
    telemetry::logs(config.log_format, &config.log_filter)?;
    let metrics = telemetry::metrics()?;
    let stop = shutdown::on_signals()?;
    Server::start(&config, Some(metrics), stop).await?.finished().await;
    Ok(())
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    http: SocketAddr,
    api: SocketAddr,
    rtmp: Option<SocketAddr>,
    tasks: JoinSet<()>,
}

impl Server {
    /// Binds everything, opens the stores, and serves until `stop`.
    ///
    /// # Errors
    /// A sentence about what cannot be bound, opened or read.
    pub async fn start(
        config: &Resolved,
        metrics: Option<PrometheusHandle>,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let few_files = open_files::raise(config.limits.max_connections);
        config.warnings.iter().chain(&few_files).for_each(|warning| tracing::warn!("{warning}"));
        let tls = match &config.tls {
            Some(files) => Some(Tls::load(files).await?),
            None => None,
        };
        let viewers = Listener::bind(config.http, "http").await?;
        let operators = match config.api.listener {
            Some(address) => Some(Listener::bind(address, "api").await?),
            None => None,
        };
        let mut app = App::load(config, &process_env).await?;
        let http = viewers.address();
        let api = operators.as_ref().map_or(http, Listener::address);
        let rtmp = app.rtmp_address();
        let mut tasks = JoinSet::new();
        let over = CancellationToken::new();
        if let Some(metrics) = metrics.clone() {
            tasks.spawn(telemetry::upkeep(metrics, over.clone()));
        }
        if let Some(tls) = tls.clone() {
            tasks.spawn(tls.follow(over.clone()));
        }
        for (store, limit) in plan::foreseen(config, &app.store().capabilities()) {
            tracing::warn!(store, "one livestream of this configuration breaks a limit of the store: {limit}");
        }
        app.resume().await;
        let (origin, control) = assemble(config, &app, metrics, stop.clone());
        let sites = sites(origin, &control, Access::new(config), operators.is_some());
        let places = Arc::new(Semaphore::new(config.limits.max_connections.min(Semaphore::MAX_PERMITS)));
        let mut listen = |listener: Listener, site| {
            tasks.spawn(listener.serve(site, tls.clone(), Arc::clone(&places), over.clone()));
        };
        listen(viewers, sites.viewers);
        if let (Some(listener), Some(site)) = (operators, sites.operators) {
            listen(listener, site);
        }
        tasks.spawn(run_app(app, stop, over));
        let store = config.primary_store().url.to_string();
        let rtmp_shown = rtmp.map_or_else(|| "none".to_owned(), |address| address.to_string());
        tracing::info!(%http, %api, rtmp = rtmp_shown, store, "serving");
        Ok(Self { http, api, rtmp, tasks })
    }

    /// Where viewers are served.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where the API is.
    pub fn api(&self) -> SocketAddr {
        self.api
    }

    /// Where encoders publish.
    pub fn rtmp(&self) -> Option<SocketAddr> {
        self.rtmp
    }

    /// Waits until everything has ended.
    pub async fn finished(mut self) {
        while self.tasks.join_next().await.is_some() {}
        tracing::info!("ended");
    }
}

fn assemble(
    config: &Resolved,
    app: &App,
    metrics: Option<PrometheusHandle>,
    stop: CancellationToken,
) -> (Origin, Control) {
    let registry = Arc::new(app.registry().clone());
    let settings = OriginSettings { ttl: config.ttl, max_waiters: config.limits.max_waiters };
    let origin = Origin::new(Arc::clone(&registry) as _, Arc::clone(app.store()), settings);
    let control = Control::new(registry, Defaults::new(config, app.rtmp_address()), metrics, stop);
    (origin, control)
}

/// Publishers and livestreams until `stop`; then their end, a farewell to their viewers, and `over`.
async fn run_app(app: App, stop: CancellationToken, over: CancellationToken) {
    let _over = over.drop_guard();
    app.warm_up().await;
    let registry = app.registry().clone();
    let was_live = {
        let stop = stop.clone();
        let registry = registry.clone();
        async move {
            stop.cancelled().await;
            // A livestream that goes on after a restart has no end to be seen.
            !registry.outlives() && registry.list().iter().any(|status| status.state.is_live())
        }
    };
    let ((), was_live) = tokio::join!(app.run(stop), was_live);
    if was_live {
        tokio::time::sleep(FAREWELL).await;
    }
}
