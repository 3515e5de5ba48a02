//! Publishers and the livestreams that want them, brought together by application and stream key.
//!
//! One publisher a path, any number of livestreams. A publisher nobody wants yet waits here with its last GOP.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::backlog::Backlog;
use super::source::{SourceEnd, SourceEvent, SourcePath, StampedTag, TagRole};

/// The last GOP of a publisher is kept up to this many bytes.
const BACKLOG_BYTES: usize = 8 << 20;
/// Publishers that may wait for a livestream.
const MAX_WAITING: usize = 16;
/// Tags a livestream may lag behind its publisher: about ten seconds of video and audio.
const FEED_TAGS: usize = 1024;
/// Places in the feed that tags leave free, so that a `Connected` or an `Ended` is never lost.
const RESERVED: usize = 16;

/// Why a publisher is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// Somebody publishes there already.
    #[error("Stream key is already being published to: stop the other encoder first")]
    Busy,
    /// Sixteen publishers wait for a livestream already.
    #[error(
        "No livestream wants this stream key, and {MAX_WAITING} publishers are waiting already: POST /livestreams first"
    )]
    TooManyWaiting,
}

/// A publisher that no livestream is attached to.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// Where it publishes.
    pub path: SourcePath,
    /// Its address.
    pub peer: SocketAddr,
    /// Since when.
    pub since: SystemTime,
}

/// The meeting place. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Hub {
    slots: Arc<Mutex<HashMap<SourcePath, Slot>>>,
}

#[derive(Debug, Default)]
struct Slot {
    publisher: Option<Publisher>,
    subscribers: Vec<Subscriber>,
    next_subscriber: u64,
}

#[derive(Debug)]
struct Publisher {
    peer: SocketAddr,
    since: SystemTime,
    backlog: Backlog,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Subscriber {
    id: u64,
    events: mpsc::Sender<SourceEvent>,
    /// Tags lost since the feed was full; while it is not zero, only a keyframe goes through.
    dropped: u64,
}

impl Hub {
    /// A meeting place with nobody in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes `path` for a publisher. `Claim::tag` hands its tags on; dropping the claim frees the path.
    pub fn claim(&self, path: SourcePath, peer: SocketAddr) -> Result<Claim, ClaimError> {
        let mut slots = self.lock();
        let waiting = slots.values().filter(|slot| slot.is_waiting()).count();
        let slot = slots.entry(path.clone()).or_default();
        if slot.publisher.is_some() {
            return Err(ClaimError::Busy);
        }
        if slot.subscribers.is_empty() && waiting >= MAX_WAITING {
            slots.remove(&path);
            return Err(ClaimError::TooManyWaiting);
        }
        let stop = CancellationToken::new();
        slot.publisher = Some(Publisher {
            peer,
            since: SystemTime::now(),
            backlog: Backlog::new(BACKLOG_BYTES),
            stop: stop.clone(),
        });
        slot.send_all(&SourceEvent::Connected);
        drop(slots);
        Ok(Claim { hub: self.clone(), path, stop, ended: false })
    }

    /// Attaches a livestream to `path`, before or after somebody publishes there.
    pub fn subscribe(&self, path: SourcePath) -> Subscription {
        let (events, feed) = mpsc::channel(FEED_TAGS);
        let mut slots = self.lock();
        let slot = slots.entry(path.clone()).or_default();
        let id = slot.next_subscriber;
        slot.next_subscriber += 1;
        let backlog = slot.publisher.as_ref().map(|publisher| publisher.backlog.replay());
        slot.subscribers.push(Subscriber { id, events, dropped: 0 });
        drop(slots);
        Subscription { hub: self.clone(), path, id, backlog, feed }
    }

    /// Whether a livestream is attached to `path`.
    pub fn is_wanted(&self, path: &SourcePath) -> bool {
        self.lock().get(path).is_some_and(|slot| !slot.subscribers.is_empty())
    }

    /// The publishers no livestream is attached to, the first come first.
    pub fn waiting(&self) -> Vec<Waiting> {
        let slots = self.lock();
        let mut waiting: Vec<Waiting> = slots
            .iter()
            .filter(|(_, slot)| slot.subscribers.is_empty())
            .filter_map(|(path, slot)| {
                let publisher = slot.publisher.as_ref()?;
                Some(Waiting { path: path.clone(), peer: publisher.peer, since: publisher.since })
            })
            .collect();
        drop(slots);
        waiting.sort_by_key(|publisher| publisher.since);
        waiting
    }

    /// Ends the publisher at `path`, if there is one: its connection is closed.
    pub fn disconnect(&self, path: &SourcePath) {
        if let Some(publisher) = self.lock().get(path).and_then(|slot| slot.publisher.as_ref()) {
            publisher.stop.cancel();
        }
    }

    // A poisoned lock means a panic between two plain assignments: the map is still whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<SourcePath, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_slot(&self, path: &SourcePath, change: impl FnOnce(&mut Slot)) {
        if let Entry::Occupied(mut entry) = self.lock().entry(path.clone()) {
            change(entry.get_mut());
            if entry.get().publisher.is_none() && entry.get().subscribers.is_empty() {
                entry.remove();
            }
        }
    }
}

impl Slot {
    fn is_waiting(&self) -> bool {
        self.publisher.is_some() && self.subscribers.is_empty()
    }

    fn send_all(&mut self, event: &SourceEvent) {
        self.subscribers.retain_mut(|subscriber| subscriber.send(event));
    }
}

impl Subscriber {
    /// False when the livestream is gone.
    fn send(&mut self, event: &SourceEvent) -> bool {
        if let SourceEvent::Tag(tag) = event {
            let full = self.events.capacity() <= RESERVED;
            if full || (self.dropped > 0 && tag.role != TagRole::Keyframe) {
                self.dropped += 1;
                return !self.events.is_closed();
            }
        }
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 && self.events.try_send(SourceEvent::Dropped(dropped)).is_err() {
            return !self.events.is_closed();
        }
        self.events.try_send(event.clone()).is_ok() || !self.events.is_closed()
    }
}

/// A publisher's hold on its path.
#[derive(Debug)]
pub struct Claim {
    hub: Hub,
    path: SourcePath,
    stop: CancellationToken,
    ended: bool,
}

impl Claim {
    /// Hands a tag on to whoever is attached.
    pub fn tag(&self, tag: StampedTag) {
        self.hub.with_slot(&self.path, |slot| {
            if let Some(publisher) = slot.publisher.as_mut() {
                publisher.backlog.push(&tag);
            }
            slot.send_all(&SourceEvent::Tag(tag));
        });
    }

    /// Resolves when the publisher is to be sent away.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// The publisher is gone, and why.
    pub fn end(mut self, end: SourceEnd) {
        self.release(end);
    }

    fn release(&mut self, end: SourceEnd) {
        if !std::mem::replace(&mut self.ended, true) {
            self.hub.with_slot(&self.path, |slot| {
                slot.publisher = None;
                slot.send_all(&SourceEvent::Ended(end));
            });
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.release(SourceEnd::Lost("the connection was dropped".into()));
    }
}

/// A livestream's hold on a path.
#[derive(Debug)]
pub struct Subscription {
    hub: Hub,
    path: SourcePath,
    id: u64,
    backlog: Option<Vec<StampedTag>>,
    feed: mpsc::Receiver<SourceEvent>,
}

impl Subscription {
    /// What the publisher had sent since its last keyframe when the livestream attached: once, and only if somebody was
    /// publishing then. It comes before everything in the feed.
    pub fn take_backlog(&mut self) -> Option<Vec<StampedTag>> {
        self.backlog.take()
    }

    /// The next event. Never ends while the subscription lives. Cancel-safe.
    pub async fn recv(&mut self) -> Option<SourceEvent> {
        self.feed.recv().await
    }

    /// Where it is attached.
    pub fn path(&self) -> &SourcePath {
        &self.path
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let id = self.id;
        self.hub.with_slot(&self.path, |slot| slot.subscribers.retain(|subscriber| subscriber.id != id));
    }
}
