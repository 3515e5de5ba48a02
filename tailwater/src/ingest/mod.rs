//! Sources: pushed or pulled, probed, their timeline repaired, handed on as FLV.
//!
//! - [`front_door`]: publishers in from the RTMP server; [`hub`]: publishers and livestreams meet; [`backlog`]: the last
//!   GOP for those who come later.
//! - [`pull`]: a source by URL, copied to FLV by FFmpeg.
//! - [`failover`]: which of a main source and its backup is used, pure; [`pair`]: the two of them as one source.
//! - [`source`]: what all of them hand on. [`probe`]: what it is; [`timeline`]: its timestamps repaired.

pub mod backlog;
pub mod failover;
pub mod front_door;
pub mod hub;
pub mod pair;
pub mod probe;
pub mod pull;
pub mod source;
pub mod timeline;

use source::{SourceEvent, StampedTag};

/// One source.
#[derive(Debug)]
pub enum Single {
    /// An encoder publishes to us.
    Pushed(hub::Subscription),
    /// We pull it.
    Pulled(pull::Pull),
}

impl Single {
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

/// Where a livestream's media comes from.
#[derive(Debug)]
pub enum Source {
    /// One source.
    One(Single),
    /// A main source and its backup.
    Two(Box<pair::Pair>),
}

impl Source {
    /// What came before the livestream attached, unless it comes as events.
    pub fn take_backlog(&mut self) -> Option<Vec<StampedTag>> {
        match self {
            Self::One(single) => single.take_backlog(),
            Self::Two(_) => None,
        }
    }

    /// The next event. Cancel-safe.
    pub async fn recv(&mut self) -> Option<SourceEvent> {
        match self {
            Self::One(single) => single.recv().await,
            Self::Two(pair) => pair.recv().await,
        }
    }
}
