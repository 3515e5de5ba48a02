//! What a media playlist lists, and what a blocking reload waits for.
//!
//! A [`Window`] is owned by whoever publishes; a [`Snapshot`] of it is what readers get: immutable, cheap to clone,
//! and what is rendered. One window is one rendition's media playlist, in both its forms: the plain one and the
//! low-latency one name the same segments by the same numbers.

mod config;
mod entry;
mod restore;
mod snapshot;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

pub use self::config::WindowConfig;
use self::entry::Scope;
pub use self::entry::{ListedSegment, PartInfo, SegmentInfo};
pub use self::restore::RestoreError;
pub(crate) use self::snapshot::State;
pub use self::snapshot::{RenditionReport, Snapshot};

/// Target durations that stay listed whatever the configured window: "the duration of the Media Playlist after
/// removal MUST NOT be less than three times the Target Duration" (RFC 8216bis 6.2.2).
const LEAST_TARGET_DURATIONS: u32 = 3;

/// Parts "SHOULD be available for at least three target durations" after their tags left the playlist, which they do
/// three target durations from its end (RFC 8216bis 4.4.4.9, 6.2.2): so far from the end they are forgotten.
const PARTS_KEPT_TARGET_DURATIONS: u32 = 6;

/// Segments this many times shorter than the target duration are too many to list for the whole window: then the
/// list is cut by their number, so that hostile durations cannot grow it without bound.
const SHORT_SEGMENTS: u64 = 16;

/// Retired parts that are remembered for [`Window::drain_retired_parts`].
const MOST_RETIRED: usize = 4096;

/// The live media playlist of one rendition.
///
/// ```text
///  push_part* ─▶ push_segment ─▶ push_part* ─▶ push_segment … end
///       discontinuity, set_init: between segments, before what they apply to
/// ```
#[derive(Debug, Clone)]
pub struct Window {
    config: Arc<WindowConfig>,
    segments: Arc<VecDeque<Arc<ListedSegment>>>,
    listed: Duration,
    next_msn: u64,
    discontinuity_sequence: u64,
    parts: Vec<Arc<PartInfo>>,
    init: Option<Arc<str>>,
    discontinuity: bool,
    ended: bool,
    evicted: Vec<String>,
    retired: Vec<String>,
}

impl Window {
    /// An empty playlist whose first segment will be `first_msn`, after `first_dsn` discontinuities.
    #[must_use]
    pub fn new(config: WindowConfig, first_msn: u64, first_dsn: u64) -> Self {
        Self {
            config: Arc::new(config),
            segments: Arc::default(),
            listed: Duration::ZERO,
            next_msn: first_msn,
            discontinuity_sequence: first_dsn,
            parts: Vec::new(),
            init: None,
            discontinuity: false,
            ended: false,
            evicted: Vec::new(),
            retired: Vec::new(),
        }
    }

    /// The playlist goes on from our own plain playlist, as stored before a restart. Sizes of its segments are not
    /// known (0), parts are gone. Whether it had ended is told by [`was_ended`](Self::was_ended); then it stays as it
    /// is, and a new broadcast is a new window that begins at its [`next_msn`](Self::next_msn). A configured target
    /// duration of 0 takes the stored one.
    ///
    /// # Errors
    /// Text that is no playlist of ours, or one with another target duration: that never changes in a playlist.
    pub fn restore(config: WindowConfig, playlist: &str) -> Result<Self, RestoreError> {
        restore::restore(config, playlist)
    }

    /// Whether [`end`](Self::end) was called, or the restored playlist had `EXT-X-ENDLIST`.
    #[must_use]
    pub fn was_ended(&self) -> bool {
        self.ended
    }

    /// What comes next follows an `EXT-X-DISCONTINUITY`. Calls before anything comes are one. Parts of a segment
    /// that was not closed are dropped: close it first.
    pub fn discontinuity(&mut self) {
        self.parts.clear();
        self.discontinuity = true;
    }

    /// The `EXT-X-MAP` of what comes next.
    pub fn set_init(&mut self, uri: &str) {
        self.init = Some(Arc::from(uri));
    }

    /// What comes next is named by another prefix: a rendition that was shed goes on with another's media.
    pub fn set_uri_prefix(&mut self, prefix: &str) {
        if self.config.uri_prefix != prefix {
            Arc::make_mut(&mut self.config).uri_prefix = prefix.to_owned();
        }
    }

    /// A part of the open segment, whose media sequence number is [`next_msn`](Self::next_msn). Ignored after
    /// [`end`](Self::end).
    pub fn push_part(&mut self, part: PartInfo) {
        if !self.ended {
            self.parts.push(Arc::new(part));
        }
    }

    /// Closes the open segment, or adds a whole or a gap one; what leaves at the head is then in
    /// [`drain_evicted`](Self::drain_evicted). Ignored after [`end`](Self::end).
    pub fn push_segment(&mut self, segment: SegmentInfo) {
        if self.ended {
            return;
        }
        let parts = std::mem::take(&mut self.parts);
        let scope = Scope {
            new_init: self.needs_map(),
            discontinuity: std::mem::take(&mut self.discontinuity),
            init: self.init.clone(),
        };
        let entry = ListedSegment::new(self.next_msn, segment, scope, parts, &self.config);
        self.listed += entry.duration;
        Arc::make_mut(&mut self.segments).push_back(Arc::new(entry));
        self.next_msn = self.next_msn.saturating_add(1);
        self.retire_parts();
        self.evict();
    }

    /// Whether what comes next has an `EXT-X-MAP` before it: another than what it follows, or any that follows a
    /// discontinuity.
    fn needs_map(&self) -> bool {
        let before = self.segments.back().and_then(|last| last.init.as_ref());
        self.init.is_some() && (self.discontinuity || self.init.as_ref() != before)
    }

    /// `EXT-X-ENDLIST`, after which nothing changes. Parts of a segment that was not closed are dropped.
    pub fn end(&mut self) {
        self.parts.clear();
        self.ended = true;
    }

    /// The media sequence number of the open segment.
    #[must_use]
    pub fn next_msn(&self) -> u64 {
        self.next_msn
    }

    /// `EXT-X-MEDIA-SEQUENCE`.
    #[must_use]
    pub fn first_msn(&self) -> u64 {
        self.segments.front().map_or(self.next_msn, |first| first.msn)
    }

    /// `EXT-X-DISCONTINUITY-SEQUENCE`: the discontinuities that have left the playlist.
    #[must_use]
    pub fn discontinuity_sequence(&self) -> u64 {
        self.discontinuity_sequence
    }

    /// The discontinuities there ever were, with the listed ones and one that is about to come.
    #[must_use]
    pub fn total_discontinuities(&self) -> u64 {
        let listed = self.segments.iter().filter(|s| s.discontinuity).count() as u64;
        self.discontinuity_sequence.saturating_add(listed + u64::from(self.discontinuity))
    }

    /// URIs of the segments that left the playlist since the last call, oldest first, gaps included.
    pub fn drain_evicted(&mut self) -> Vec<String> {
        std::mem::take(&mut self.evicted)
    }

    /// URIs of the parts that need not be there any longer, since the last call.
    pub fn drain_retired_parts(&mut self) -> Vec<String> {
        std::mem::take(&mut self.retired)
    }

    /// The playlist as it is now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(snapshot::State {
            config: Arc::clone(&self.config),
            segments: Arc::clone(&self.segments),
            listed: self.listed,
            next_msn: self.next_msn,
            discontinuity_sequence: self.discontinuity_sequence,
            parts: self.parts.clone(),
            new_init: self.init.clone().filter(|_| self.needs_map()),
            discontinuity: self.discontinuity,
            ended: self.ended,
        })
    }

    /// Forgets the parts of segments far from the end. Their number stays, because requests refer to it.
    fn retire_parts(&mut self) {
        let limit = Duration::from_secs(u64::from(self.config.target_duration)) * PARTS_KEPT_TARGET_DURATIONS;
        let mut distance = Duration::ZERO;
        for segment in Arc::make_mut(&mut self.segments).iter_mut().rev() {
            if distance > limit {
                if segment.parts.is_empty() && segment.part_lines.is_empty() {
                    break;
                }
                let segment = Arc::make_mut(segment);
                self.retired.extend(segment.retire_parts());
            }
            distance += segment.duration;
        }
        // Nobody may ask for them: then only the newest are kept.
        let surplus = self.retired.len().saturating_sub(MOST_RETIRED);
        self.retired.drain(..surplus);
    }

    /// Removes segments "in the order that they appear in the Playlist" (RFC 8216bis 6.2.2) while the playlist is
    /// longer than the window.
    fn evict(&mut self) {
        let target = u64::from(self.config.target_duration.max(1));
        let least = Duration::from_secs(target * u64::from(LEAST_TARGET_DURATIONS));
        let window = self.config.window.max(least);
        let most = (window.as_secs() / target + 1).saturating_mul(SHORT_SEGMENTS);
        while let Some(head) = self.segments.front() {
            let remaining = self.listed.saturating_sub(head.duration);
            let too_long = self.listed > window && remaining >= least;
            if !too_long && self.segments.len() as u64 <= most {
                break;
            }
            self.listed = remaining;
            // "If the Server removes an EXT-X-DISCONTINUITY tag ... it MUST increment the value of the
            // EXT-X-DISCONTINUITY-SEQUENCE tag by 1" (RFC 8216bis 6.2.2).
            self.discontinuity_sequence = self.discontinuity_sequence.saturating_add(u64::from(head.discontinuity));
            self.evicted.push(head.uri.clone());
            self.retired.extend(head.parts.iter().map(|part| part.uri.clone()));
            Arc::make_mut(&mut self.segments).pop_front();
        }
        // Nobody may ask for them: then only the newest are kept.
        let surplus = self.evicted.len().saturating_sub(usize::try_from(most).unwrap_or(usize::MAX));
        self.evicted.drain(..surplus);
    }
}
