//! What the origin needs of a running livestream.

use std::{fmt, sync::Arc, time::Duration};

use hls::window::Snapshot;
use store::Payload;
use tokio::sync::{Semaphore, watch};

use super::render::Renders;

/// The livestreams that run in this process.
pub trait LiveSource: fmt::Debug + Send + Sync + 'static {
    /// The livestream of that name while its media is in memory: from the request that made it until some time after
    /// its end.
    fn livestream(&self, name: &str) -> Option<Arc<dyn LiveView>>;
}

/// A livestream as its viewers see it. Nothing here waits.
pub trait LiveView: Send + Sync {
    /// The multivariant playlists, once they can be told.
    fn multivariants(&self) -> watch::Receiver<Option<Multivariants>>;
    /// A rendition's playlist and its changes. What a snapshot lists is in [`LiveView::object`] before it is shown.
    fn rendition(&self, name: &str) -> Option<watch::Receiver<Snapshot>>;
    /// All renditions and where each has got.
    fn snapshots(&self) -> Vec<(String, Snapshot)>;
    /// An init, segment or part that is in memory. Its bytes are shared.
    fn object(&self, key: &str) -> Option<Payload>;
    /// How long its objects are kept.
    fn ttl(&self) -> Duration;
    /// Whether no more media will come.
    fn is_over(&self) -> bool;
    /// The origin's own place in this livestream: it lives and dies with it.
    fn desk(&self) -> &Desk;
}

/// The two multivariant playlists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multivariants {
    /// For every player there is.
    pub plain: String,
    /// The same renditions, their low-latency playlists; none when low latency is off.
    pub low_latency: Option<String>,
}

/// What the origin keeps of a livestream: its playlists as rendered last, and how many requests wait for it.
#[derive(Debug)]
pub struct Desk {
    pub(super) renders: Renders,
    pub(super) waiters: Arc<Semaphore>,
}

impl Desk {
    /// A desk at which `max_waiters` requests may wait.
    pub fn new(max_waiters: usize) -> Self {
        Self { renders: Renders::default(), waiters: Arc::new(Semaphore::new(max_waiters.min(Semaphore::MAX_PERMITS))) }
    }

    /// How many more requests may wait.
    pub fn free_places(&self) -> usize {
        self.waiters.available_permits()
    }
}
