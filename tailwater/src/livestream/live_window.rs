//! The newest segments and parts of one livestream in memory: what its viewers are served first.

use std::collections::{HashMap, VecDeque};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use hls::time::UnixTime;
use hls::window::Snapshot;
use store::Payload;
use tokio::sync::watch;

use crate::origin::Multivariants;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveWindowLimits {
    /// Media kept, counted back from the newest.
    pub span: Duration,
    /// Bytes kept, whatever their span.
    pub bytes: usize,
}

impl Default for LiveWindowLimits {
    fn default() -> Self {
        Self { span: Duration::from_secs(60), bytes: 128 << 20 }
    }
}

/// Shared by the livestream's task, which writes, and the origin, which reads. No lock is held across an await.
#[derive(Debug)]
pub struct LiveWindow {
    limits: LiveWindowLimits,
    state: RwLock<State>,
    multivariants: watch::Sender<Option<Multivariants>>,
}

#[derive(Debug, Default)]
struct State {
    objects: HashMap<String, Payload>,
    segments: VecDeque<Kept>,
    parts: VecDeque<Kept>,
    bytes: usize,
    renditions: Vec<(String, watch::Sender<Snapshot>)>,
}

#[derive(Debug)]
struct Kept {
    key: String,
    bytes: usize,
    date: UnixTime,
}

/// Parts are asked for only near the live edge: "for at least three Target Durations" after they left the playlist
/// (8216bis 6.2.2), which is three more behind the edge.
const PARTS_SPAN: Duration = Duration::from_secs(15);

impl LiveWindow {
    /// An empty window.
    pub fn new(limits: LiveWindowLimits) -> Self {
        Self { limits, state: RwLock::default(), multivariants: watch::Sender::new(None) }
    }

    /// The object named `key`, if it is still here. Cheap: its bytes are shared.
    pub fn object(&self, key: &str) -> Option<Payload> {
        self.read().objects.get(key).cloned()
    }

    /// The multivariant playlists, once every rendition has shown what it is.
    pub fn multivariants(&self) -> watch::Receiver<Option<Multivariants>> {
        self.multivariants.subscribe()
    }

    /// The playlist of a rendition and its changes.
    pub fn rendition(&self, name: &str) -> Option<watch::Receiver<Snapshot>> {
        let state = self.read();
        state.renditions.iter().find(|(known, _)| known == name).map(|(_, sender)| sender.subscribe())
    }

    /// The names of all renditions, and where each has got.
    pub fn snapshots(&self) -> Vec<(String, Snapshot)> {
        self.read().renditions.iter().map(|(name, sender)| (name.clone(), sender.borrow().clone())).collect()
    }

    /// Bytes of media held.
    pub fn bytes(&self) -> usize {
        self.read().bytes
    }

    /// Keeps a media initialization section for the livestream's life: what is listed may need it until the end.
    pub(super) fn insert_init(&self, key: String, payload: Payload) {
        self.write().objects.insert(key, payload);
    }

    /// Keeps a part for as long as a player may ask for it. Its bytes are its segment's, and counted there.
    pub(super) fn insert_part(&self, key: String, payload: Payload, date: UnixTime) {
        let mut state = self.write();
        state.objects.insert(key.clone(), payload);
        state.parts.push_back(Kept { key, bytes: 0, date });
        let state = &mut *state;
        while state.parts.front().is_some_and(|part| older(part.date, date, PARTS_SPAN)) {
            if let Some(part) = state.parts.pop_front() {
                state.objects.remove(&part.key);
            }
        }
    }

    /// Keeps a segment, and lets go of what is beyond the limits.
    pub(super) fn insert_segment(&self, key: String, payload: Payload, date: UnixTime) {
        let mut state = self.write();
        let bytes = payload.len();
        state.bytes += bytes;
        state.objects.insert(key.clone(), payload);
        state.segments.push_back(Kept { key, bytes, date });
        let (limits, state) = (self.limits, &mut *state);
        while state.segments.len() > 1
            && state
                .segments
                .front()
                .is_some_and(|segment| state.bytes > limits.bytes || older(segment.date, date, limits.span))
        {
            if let Some(segment) = state.segments.pop_front() {
                state.bytes -= segment.bytes;
                state.objects.remove(&segment.key);
            }
        }
    }

    /// Shows a rendition's new playlist and wakes those who wait for it.
    pub(super) fn show(&self, name: &str, snapshot: Snapshot) {
        let state = self.read();
        if let Some((_, sender)) = state.renditions.iter().find(|(known, _)| known == name) {
            sender.send_replace(snapshot);
            return;
        }
        drop(state);
        self.write().renditions.push((name.to_owned(), watch::Sender::new(snapshot)));
    }

    /// Shows the multivariant playlists.
    pub(super) fn show_multivariants(&self, playlists: Multivariants) {
        self.multivariants.send_replace(Some(playlists));
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn older(date: UnixTime, newest: UnixTime, span: Duration) -> bool {
    let span = i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
    newest.0.saturating_sub(date.0) > span
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> UnixTime {
        UnixTime(seconds * 1_000_000_000)
    }

    fn media(bytes: usize) -> Payload {
        Payload::from(bytes::Bytes::from(vec![0; bytes]))
    }

    #[test]
    fn what_is_older_than_the_span_leaves() {
        let window = LiveWindow::new(LiveWindowLimits { span: Duration::from_secs(2), bytes: 1000 });
        for second in 0..5 {
            window.insert_segment(format!("s{second}"), media(10), at(second));
        }
        assert!(window.object("s1").is_none());
        assert!(window.object("s2").is_some() && window.object("s4").is_some());
        assert_eq!(window.bytes(), 30);
    }

    #[test]
    fn bytes_are_bounded_whatever_the_span_and_the_newest_always_stays() {
        let window = LiveWindow::new(LiveWindowLimits { span: Duration::from_secs(60), bytes: 25 });
        for second in 0..3 {
            window.insert_segment(format!("s{second}"), media(10), at(second));
        }
        assert!(window.object("s0").is_none() && window.object("s1").is_some());
        window.insert_segment("large".into(), media(100), at(3));
        assert!(window.object("large").is_some() && window.object("s2").is_none());
    }

    #[test]
    fn parts_stay_for_the_time_a_player_may_ask_for_them() {
        let window = LiveWindow::new(LiveWindowLimits::default());
        window.insert_part("p0".into(), media(1), at(0));
        window.insert_part("p1".into(), media(1), at(14));
        assert!(window.object("p0").is_some());
        window.insert_part("p2".into(), media(1), at(16));
        assert!(window.object("p0").is_none() && window.object("p1").is_some());
    }
}
