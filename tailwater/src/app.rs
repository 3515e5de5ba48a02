//! Puts the parts together from the resolved configuration, and takes them down again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use store::{Env, MediaStore, OpenOptions};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Resolved, resolved};
use crate::control::source_url::{SourceRules, SourceUrl};
use crate::http::ListenError;
use crate::ingest::front_door::{self, Unwanted};
use crate::ingest::hub::Hub;
use crate::ingest::source::SourcePath;
use crate::ladder::EncoderChoice;
use crate::livestream::types::{CreateRequest, SourceRequest};
use crate::livestream::{Environment, LiveWindowLimits, Registry, Saved, StateFile, StateFileError, StreamName};
use crate::load::Capacity;
use crate::publish::Spool;
use crate::transcode::SlateError;

/// Bytes of media that may wait on disk for stores that are out of reach, over all livestreams.
const SPOOL_BYTES: u64 = 2 << 30;
/// The first livestream is often asked for as soon as the server answers.
const CALIBRATION_DELAY: Duration = Duration::from_secs(2);
/// What publishers still have to write when the server stops is given this long.
const PUBLISH_GRACE: Duration = Duration::from_secs(2);

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// The RTMP port.
    #[error(transparent)]
    Rtmp(#[from] ListenError),
    /// A store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Where livestreams are written down.
    #[error(transparent)]
    StateFile(#[from] StateFileError),
    /// The picture for lost sources.
    #[error(transparent)]
    Slate(#[from] SlateError),
}

/// Everything but HTTP.
#[derive(Debug)]
pub struct App {
    registry: Registry,
    environment: Arc<Environment>,
    rtmp: Option<rtmp::Server>,
    auto_start: Option<Box<Resolved>>,
    /// What an earlier process left.
    saved: Vec<Saved>,
    /// The configuration prefers hardware encoders without asking for one.
    hardware_first: bool,
}

impl App {
    /// Opens the stores and binds the RTMP port.
    ///
    /// # Errors
    /// A sentence about what cannot be opened or bound.
    pub async fn load(config: &Resolved, env: Env<'_>) -> Result<Self, AppError> {
        if let Some(slate) = config.shown_on_loss() {
            slate.check(&config.ffmpeg).await?;
        }
        let (state_file, saved) = match config.resume {
            true => StateFile::open(&config.state_file).map(|(file, saved)| (Some(file), saved))?,
            false => (None, Vec::new()),
        };
        let store = open_stores(config, env).await?;
        let limits = rtmp::Limits { max_connections: config.limits.max_rtmp_connections, ..rtmp::Limits::default() };
        let rtmp = match config.rtmp {
            Some(address) => {
                let refused = |error: rtmp::BindError| ListenError::new(address, "rtmp", error.source);
                Some(rtmp::Server::bind(address, limits).await.map_err(refused)?)
            }
            None => None,
        };
        let spool = (!store.capabilities().local).then(|| Spool::new(spool_folder(), SPOOL_BYTES));
        let environment = Arc::new(Environment {
            store,
            hub: Hub::new(),
            ffmpeg: config.ffmpeg.clone(),
            capacity: Capacity::new(config.load.clone(), cores()),
            capabilities: OnceCell::new(),
            source_rules: source_rules(config),
            live_window: LiveWindowLimits {
                span: config.live_window.duration,
                bytes: usize::try_from(config.live_window.max_bytes).unwrap_or(usize::MAX),
            },
            max_waiters: config.limits.max_waiters_per_livestream,
            spool,
            source_timeout: config.source_timeout,
            end_grace: config.end_grace,
            reconnect_window: config.reconnect_window,
            slate: config.shown_on_loss(),
            publishers: TaskTracker::new(),
            shutdown: CancellationToken::new(),
        });
        let most = config.limits.max_livestreams;
        let registry = Registry::new(Arc::clone(&environment), most, rtmp.is_some(), state_file);
        let auto_start = config.auto_start.then(|| Box::new(config.clone()));
        let hardware_first = config.ladder.encoder == EncoderChoice::Auto;
        Ok(Self { registry, environment, rtmp, auto_start, saved, hardware_first })
    }

    /// The livestreams.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The store, or the first of several.
    pub fn store(&self) -> &Arc<dyn MediaStore> {
        &self.environment.store
    }

    /// Where encoders publish, if they can.
    pub fn rtmp_address(&self) -> Option<std::net::SocketAddr> {
        self.rtmp.as_ref().map(rtmp::Server::local_addr)
    }

    /// Takes up the livestreams of an earlier process: before viewers are answered, so that none is told they are gone.
    pub async fn resume(&mut self) {
        let saved = std::mem::take(&mut self.saved);
        if !saved.is_empty() {
            self.registry.resume(saved).await;
        }
    }

    /// Asks FFmpeg what it can do now rather than at the first request.
    pub async fn warm_up(&self) {
        match self.environment.capabilities().await {
            Err(error) => tracing::error!(%error, "no livestream can be started"),
            Ok(capabilities) if self.hardware_first && capabilities.hardware.is_empty() => {
                let failures: Vec<String> = capabilities
                    .hardware_failures
                    .iter()
                    .map(|(hardware, reason)| format!("{}: {reason}", hardware.choice()))
                    .collect();
                if !failures.is_empty() {
                    let failures = failures.join("; ");
                    tracing::warn!(failures, "no hardware encoder passed its test: x264 encodes instead");
                }
            }
            Ok(_) => {}
        }
    }

    /// Serves publishers until `shutdown`; then ends or suspends every livestream, in order: sources, livestreams, last
    /// playlists.
    pub async fn run(self, shutdown: CancellationToken) {
        let unwanted = unwanted(self.auto_start, &self.registry);
        let hub = self.environment.hub.clone();
        let close = CancellationToken::new();
        let door = self.rtmp.map(|server| tokio::spawn(front_door::serve(server, hub, unwanted, close.clone())));
        let (environment, stop) = (Arc::clone(&self.environment), shutdown.clone());
        tokio::spawn(async move { stop.run_until_cancelled(calibrate(&environment)).await });
        shutdown.cancelled().await;
        // Publishers are sent away only when livestreams know that this is not their publisher's doing.
        self.registry.begin_shut_down();
        close.cancel();
        self.registry.shut_down().await;
        if let Some(door) = door {
            let _ = door.await;
        }
        self.environment.publishers.close();
        if tokio::time::timeout(PUBLISH_GRACE, self.environment.publishers.wait()).await.is_err() {
            tracing::warn!(store = %self.environment.store, "the store is out of reach: what was not stored is lost");
        }
        if tokio::time::timeout(PUBLISH_GRACE, self.environment.store.flush()).await.is_err() {
            tracing::warn!(store = %self.environment.store, "a further store is out of reach: it misses the end");
        }
        self.environment.shutdown.cancel();
    }
}

/// Finds out how fast the machine is, once whoever has waited for this server has been served.
async fn calibrate(environment: &Environment) {
    tokio::time::sleep(CALIBRATION_DELAY).await;
    if environment.capabilities().await.is_ok() {
        environment.capacity.calibrate(&environment.ffmpeg).await;
    }
}

/// Cores this process may use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

async fn open_stores(config: &Resolved, env: Env<'_>) -> Result<Arc<dyn MediaStore>, store::Error> {
    let options = OpenOptions { ttl: config.ttl, ..OpenOptions::default() };
    store::open(&config.store_urls(), env, &options).await
}

fn source_rules(config: &Resolved) -> SourceRules {
    SourceRules { allow: config.allow_source.clone(), allow_loopback: config.api_address().ip().is_loopback() }
}

/// What happens to a publisher without a livestream: it waits, or with `--auto-start` gets one named by its key.
fn unwanted(auto_start: Option<Box<Resolved>>, registry: &Registry) -> Unwanted {
    let Some(config) = auto_start else { return Arc::new(|_: &SourcePath| Ok(())) };
    let registry = registry.clone();
    Arc::new(move |path: &SourcePath| {
        let name = StreamName::from_title(path.key()).map_err(|error| error.to_string())?;
        let request = CreateRequest {
            name,
            title: path.key().to_owned(),
            source: SourceRequest::Own(own_url(path)?),
            backup: None,
            ladder: config.ladder.clone(),
            window: config.window,
            ttl: config.ttl,
            force: false,
        };
        let registry = registry.clone();
        // The publisher waits in the hub until the livestream is there.
        tokio::spawn(async move {
            use crate::livestream::types::Livestreams as _;
            if let Err(error) = registry.create(request).await {
                tracing::error!(%error, "a publisher came and no livestream could be started for it");
            }
        });
        Ok(())
    })
}

fn own_url(path: &SourcePath) -> Result<SourceUrl, String> {
    let text = format!("rtmp://localhost/{}/{}", path.app(), path.key());
    SourceUrl::parse(&text).map_err(|error| error.to_string())
}

fn spool_folder() -> PathBuf {
    std::env::temp_dir().join(format!("tailwater-spool-{}", std::process::id()))
}

/// The folder of the embedded store, if there is one.
pub fn data_folder(config: &Resolved) -> Option<&std::path::Path> {
    resolved::data_folder(config)
}
