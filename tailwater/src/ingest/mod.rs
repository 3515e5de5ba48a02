//! Sources: pushed or pulled, probed, their timeline repaired, handed on as FLV.
//!
//! - [`front_door`]: publishers in from the RTMP server; [`hub`]: publishers and livestreams meet; [`backlog`]: the last
//!   GOP for those who come later.
//! - [`pull`]: a source by URL, copied to FLV by FFmpeg.
//! - [`failover`]: which of a main source and its backup is used, pure; [`pair`]: the two of them as one source.
//! - [`source`]: what all of them hand on; [`pictures`]: one whose picture stops is lost. [`probe`]: what it is; [`timeline`]: its
//!   timestamps repaired.

pub mod backlog;
pub mod failover;
pub mod front_door;
pub mod hub;
pub mod pair;
pub mod pictures;
pub mod probe;
pub mod pull;
pub mod source;
pub mod timeline;

use pictures::Pictures;
use source::{SourceEvent, StampedTag};

/// One source.
#[derive(Debug)]
pub struct Single {
    sender: Sender,
    pictures: Box<Pictures>,
}

#[derive(Debug)]
enum Sender {
    Pushed(hub::Subscription),
    Pulled(pull::Pull),
}

impl Single {
    /// An encoder publishes to us.
    pub fn pushed(subscription: hub::Subscription) -> Self {
        Self { sender: Sender::Pushed(subscription), pictures: Box::default() }
    }

    /// We pull it.
    pub fn pulled(pull: pull::Pull) -> Self {
        Self { sender: Sender::Pulled(pull), pictures: Box::default() }
    }

    /// What came before the livestream attached; see [`hub::Subscription::take_backlog`]. None as well where the picture had stopped
    /// by then, which is told by [`recv`](Self::recv).
    pub fn take_backlog(&mut self) -> Option<Vec<StampedTag>> {
        match &mut self.sender {
            Sender::Pushed(subscription) => self.pictures.begin(subscription.take_backlog()?),
            Sender::Pulled(_) => None,
        }
    }

    /// The next event. Cancel-safe.
    pub async fn recv(&mut self) -> Option<SourceEvent> {
        loop {
            if let Some(event) = self.pictures.poll() {
                return Some(event);
            }
            let event = match &mut self.sender {
                Sender::Pushed(subscription) => subscription.recv().await,
                Sender::Pulled(pull) => pull.recv().await,
            };
            self.pictures.handle(event?);
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
