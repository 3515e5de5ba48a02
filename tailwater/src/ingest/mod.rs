//! Sources: pushed or pulled, probed, their timeline repaired, handed on as FLV.
//!
//! - [`front_door`]: publishers in from the RTMP server; [`hub`]: publishers and livestreams meet; [`backlog`]: the last
//!   GOP for those who come later.
//! - [`pull`]: a source by URL, copied to FLV by FFmpeg.
//! - [`source`]: what all of them hand on. [`probe`]: what it is; [`timeline`]: its timestamps repaired.

pub mod backlog;
pub mod front_door;
pub mod hub;
pub mod probe;
pub mod pull;
pub mod source;
pub mod timeline;

use source::{SourceEvent, StampedTag};

/// Where a livestream's media comes from.
#[derive(Debug)]
pub enum Source {
    /// An encoder publishes to us.
    Pushed(hub::Subscription),
    /// We pull it.
    Pulled(pull::Pull),
}

impl Source {
    /// What came before the livestream attached; see [`hub::Subscription::take_backlog`].
    pub fn take_backlog(&mut self) -> Option<Vec<StampedTag>> {
        match self {
            Self::Pushed(subscription) => subscription.take_backlog(),
            Self::Pulled(_) => None,
        }
    }

    /// The next event. Cancel-safe.
    pub async fn recv(&mut self) -> Option<SourceEvent> {
        match self {
            Self::Pushed(subscription) => subscription.recv().await,
            Self::Pulled(pull) => pull.recv().await,
        }
    }
}
