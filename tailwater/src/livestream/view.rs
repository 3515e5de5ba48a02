//! A livestream as the origin sees it.

use std::sync::Arc;
use std::time::Duration;

use hls::window::Snapshot;
use store::Payload;
use tokio::sync::watch;

use super::name::StreamName;
use super::registry::Registry;
use super::shared::Shared;
use crate::origin::live::{Desk, LiveSource, LiveView, Multivariants};

impl LiveSource for Registry {
    fn livestream(&self, name: &str) -> Option<Arc<dyn LiveView>> {
        let shared = self.shared(&StreamName::parse(name)?)?;
        Some(shared)
    }
}

impl LiveView for Shared {
    fn multivariants(&self) -> watch::Receiver<Option<Multivariants>> {
        self.live().multivariants()
    }

    fn rendition(&self, name: &str) -> Option<watch::Receiver<Snapshot>> {
        self.live().rendition(name)
    }

    fn snapshots(&self) -> Vec<(String, Snapshot)> {
        self.live().snapshots()
    }

    fn object(&self, key: &str) -> Option<Payload> {
        self.live().object(key)
    }

    fn ttl(&self) -> Duration {
        self.status().ttl
    }

    fn is_over(&self) -> bool {
        !self.state().is_live()
    }

    fn desk(&self) -> &Desk {
        self.own_desk()
    }
}
