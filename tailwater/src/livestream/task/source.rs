//! The source's side of a livestream: there, lost, judged.

use std::time::{Duration, Instant};

use super::problem;
use super::supervise::Active;
use super::{BACKLOG_BYTES, Task};
use crate::ingest::backlog::Backlog;
use crate::ingest::probe::{Keyframes, Probe};
use crate::ingest::source::{Side, SourceEnd, SourceEvent, StampedTag, TagRole};
use crate::livestream::feed::FeedEvent;
use crate::livestream::types::{LivestreamState, Problem};
use crate::transcode::Input;

/// A source is judged by what came by then: a track that was promised and is not there is done without.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);

/// A source that is being judged.
pub(super) struct Probing {
    pub(super) probe: Probe,
    pub(super) tags: Vec<StampedTag>,
    /// Arrival of the first tag: zero on the probe's clock.
    pub(super) since: Instant,
}

impl Probing {
    /// Key frames are waited for where they must be known.
    pub(super) fn new(keyframes: Option<Keyframes>) -> Self {
        let mut probe = Probe::new(PROBE_PATIENCE);
        if let Some(keyframes) = keyframes {
            probe = probe.with_keyframes(keyframes);
        }
        Self { probe, tags: Vec::new(), since: Instant::now() }
    }

    pub(super) fn push(&mut self, tag: StampedTag) {
        if self.tags.is_empty() {
            self.since = tag.arrival;
        }
        self.probe.push(&tag.tag, tag.arrival.saturating_duration_since(self.since));
        self.tags.push(tag);
    }

    /// When the probe may decide whatever came; not before anything did.
    pub(super) fn decides_at(&self) -> Option<Instant> {
        let patience = self.probe.patience().filter(|_| !self.tags.is_empty())?;
        Some(self.since + patience + Duration::from_millis(1))
    }
}

impl Task {
    pub(super) fn handle_source(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Connected => self.attach(Vec::new()),
            SourceEvent::Switched(side) => self.handle_switch(side),
            SourceEvent::Tag(tag) => self.handle_tag(tag),
            SourceEvent::Dropped(count) => {
                metrics::counter!("tailwater_source_tags_dropped_total").increment(count);
                tracing::warn!(stream = %self.request.name, count, "fell behind the source: tags were dropped up to a keyframe");
            }
            SourceEvent::Ended(end) => self.handle_source_end(end),
        }
    }

    /// The source is there, and has sent `tags` so far.
    pub(super) fn attach(&mut self, tags: Vec<StampedTag>) {
        self.source_present = true;
        self.deadline = None;
        self.backlog = Backlog::new(BACKLOG_BYTES);
        tags.iter().for_each(|tag| self.backlog.push(tag));
        self.copying.source_came();
        // A session that is still draining is followed by the next when it is over.
        if self.machine.is_none() {
            self.begin_supervision();
        } else if self.plays_slate {
            self.leave_slate();
        }
        self.shared.update(|status| status.source.connected = true);
    }

    /// What follows is another source's: its own session, after a discontinuity.
    fn handle_switch(&mut self, side: Side) {
        metrics::counter!("tailwater_source_switches_total").increment(1);
        match side {
            Side::Main => tracing::info!(stream = %self.request.name, "the main source is used again"),
            Side::Backup => tracing::warn!(stream = %self.request.name, "the main source is lost: the backup is used"),
        }
        self.leave_source();
        self.copying.source_changed();
        self.shared.update_quietly(|status| status.source.active = Some(side));
        self.attach(Vec::new());
    }

    /// No more of the source that FFmpeg runs for.
    fn leave_source(&mut self) {
        self.probing = None;
        if self.plays_slate {
            // It goes on until another source has media.
        } else if self.active.is_some() {
            self.tell_machine(Instant::now(), Input::SourceGone);
        } else {
            // Nothing was started yet, or a pause before the next attempt is under way: nothing has to be drained.
            self.machine = None;
        }
    }

    fn handle_tag(&mut self, tag: StampedTag) {
        self.backlog.push(&tag);
        if let Some(probing) = &mut self.probing {
            probing.push(tag);
            self.try_start();
            return;
        }
        if tag.role == TagRole::Keyframe {
            // Before FFmpeg gets it: the next run begins with it.
            self.change_level(tag.arrival, true);
        }
        if self.active.as_ref().is_none_or(|active| active.closing) {
            return;
        }
        if self.active.as_ref().is_some_and(|active| active.feed.is_none()) {
            return self.leave_slate();
        }
        let (arrival, timestamp) = (tag.arrival, tag.tag.timestamp);
        if self.turns_to_copying(&tag) {
            return self.tell_machine(arrival, Input::Stop);
        }
        let Some(Active { session, feed: Some(feed), .. }) = &mut self.active else { return };
        let outcome = feed.push(tag, session);
        self.tell_machine(arrival, Input::InputFlowing);
        match outcome {
            FeedEvent::Fed => {}
            FeedEvent::Dropped => metrics::counter!("tailwater_feed_tags_dropped_total").increment(1),
            FeedEvent::Late(late) => self.give_up_copying(late, timestamp, arrival),
            FeedEvent::Changed(what) => {
                tracing::info!(stream = %self.request.name, what, "the source changed: going on with a discontinuity");
                self.tell_machine(arrival, Input::Stop);
            }
        }
    }

    fn handle_source_end(&mut self, end: SourceEnd) {
        let now = Instant::now();
        // What a pull finds when it tries again says nothing of how the source left.
        if std::mem::replace(&mut self.source_present, false) {
            self.ended_in_order = end == SourceEnd::Clean;
        }
        self.leave_source();
        let patience = match &end {
            SourceEnd::Clean => self.environment.end_grace,
            SourceEnd::Lost(_) => self.environment.reconnect_window,
            SourceEnd::Unreachable(_) if self.has_been_live => self.environment.reconnect_window,
            SourceEnd::Unreachable(_) => Duration::ZERO,
        };
        // A pull that cannot reconnect does not extend the window its first loss opened.
        self.deadline = Some(self.deadline.unwrap_or(now + patience).min(now + patience));
        if let SourceEnd::Lost(why) | SourceEnd::Unreachable(why) = &end {
            tracing::warn!(stream = %self.request.name, why, "the source is lost");
        }
        let interrupted = self.has_been_live;
        let problem = problem::interruption(&end).filter(|_| interrupted);
        self.shared.update(|status| {
            status.source.connected = false;
            if interrupted {
                status.state = LivestreamState::Interrupted;
                status.error = problem;
            }
        });
        self.last_end = Some(end);
        self.begin_slate();
    }

    /// Something came, but no media: the source may still be starting.
    pub(super) fn wait_for_media(&mut self) {
        self.probing = Some(Probing::new(self.copying.awaited_keyframes()));
        if self.deadline.is_none() && !self.has_been_live {
            self.deadline = Some(Instant::now() + self.environment.source_timeout);
        }
    }

    /// The deadline for the source has passed. After a broadcast that is an end in order.
    pub(super) fn waited_too_long(&self) -> Option<Problem> {
        (!self.has_been_live).then(|| problem::never_began(self.last_end.as_ref(), self.source_present))
    }
}
