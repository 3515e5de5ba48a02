//! A media playlist at one moment: what is rendered, and what a request is judged against.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::{ListedSegment, PartInfo, WindowConfig};
use crate::playlist::media;

/// "Last Media Sequence Number ... plus two" (RFC 8216bis 6.2.5.2).
const MSN_AHEAD: u64 = 2;
/// The Advance Part Limit is "three divided by the Part Target Duration if the Part Target Duration is less than
/// one second, or three otherwise".
const SECONDS_AHEAD: f64 = 3.0;

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: Arc<WindowConfig>,
    pub(crate) segments: Arc<VecDeque<Arc<ListedSegment>>>,
    pub(crate) listed: Duration,
    pub(crate) next_msn: u64,
    pub(crate) discontinuity_sequence: u64,
    /// Of the open segment.
    pub(crate) parts: Vec<Arc<PartInfo>>,
    /// Before the open segment's parts: what differs from the segment before them.
    pub(crate) new_init: Option<Arc<str>>,
    pub(crate) discontinuity: bool,
    pub(crate) ended: bool,
}

/// A media playlist at one moment. Cheap to clone, immutable.
#[derive(Debug, Clone)]
pub struct Snapshot(Arc<State>);

/// Where another rendition of the same presentation is: an `EXT-X-RENDITION-REPORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenditionReport {
    /// Of its media playlist, relative to the playlist that carries the report.
    pub uri: String,
    /// Its last media sequence number, see [`Snapshot::last`].
    pub last_msn: u64,
    /// Its last part in that segment.
    pub last_part: Option<u32>,
}

impl Snapshot {
    pub(super) fn new(state: State) -> Self {
        Self(Arc::new(state))
    }

    /// Whether both are the very same moment of the same window: what was rendered of one serves for the other.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What comes next: the media sequence number and part index that are not there yet.
    #[must_use]
    pub fn next(&self) -> (u64, u32) {
        (self.0.next_msn, self.open_parts())
    }

    /// Whether a playlist request for `_HLS_msn` and `_HLS_part` can be answered now (RFC 8216bis 6.2.5.2). Without
    /// a part: a whole segment `msn` or later is listed. With one: that part or anything later. After the end:
    /// always, because "the Server MUST ignore" the directives then.
    #[must_use]
    pub fn has(&self, msn: u64, part: Option<u32>) -> bool {
        let State { next_msn, ended, .. } = *self.0;
        if ended {
            return true;
        }
        let Some(part) = part else { return msn < next_msn };
        if msn == next_msn {
            return part < self.open_parts();
        }
        if msn > next_msn {
            return false;
        }
        // "If the Client requests a Part Index greater than that of the final Partial Segment of the Parent
        // Segment, the Server MUST treat the request as one for Part Index 0 of the following Parent Segment."
        // A segment whose parts were withheld has no final one: the whole segment answers for all of them.
        let count = self.segment(msn).map_or(0, |segment| segment.part_count);
        let beyond = count > 0 && part >= count;
        !beyond || msn + 1 < next_msn || self.open_parts() > 0
    }

    /// Whether a request is so far ahead that it is answered 400 at once (RFC 8216bis 6.2.5.2).
    #[must_use]
    pub fn too_far(&self, msn: u64, part: Option<u32>) -> bool {
        let State { next_msn, ended, .. } = *self.0;
        if ended || msn < next_msn {
            return false;
        }
        // The last listed number is one below the next.
        if msn > next_msn.saturating_add(MSN_AHEAD - 1) {
            return true;
        }
        let listed = if msn == next_msn { self.open_parts() } else { 0 };
        part.is_some_and(|part| part >= listed.saturating_add(self.advance_part_limit()))
    }

    fn advance_part_limit(&self) -> u32 {
        let target = self.0.config.part_target.map_or(1.0, |target| target.as_secs_f64());
        if target > 0.0 && target < 1.0 { (SECONDS_AHEAD / target).ceil() as u32 } else { SECONDS_AHEAD as u32 }
    }

    /// Whether `EXT-X-ENDLIST` is there.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.0.ended
    }

    /// `EXT-X-TARGETDURATION`, seconds.
    #[must_use]
    pub fn target_duration(&self) -> u32 {
        self.0.config.target_duration
    }

    /// `PART-TARGET`.
    #[must_use]
    pub fn part_target(&self) -> Option<Duration> {
        self.0.config.part_target
    }

    /// `LAST-MSN` and `LAST-PART` for a rendition report: of the open segment when it has parts, otherwise of the
    /// last whole one. `None` while nothing is listed.
    #[must_use]
    pub fn last(&self) -> Option<(u64, Option<u32>)> {
        if let Some(last) = self.open_parts().checked_sub(1) {
            return Some((self.0.next_msn, Some(last)));
        }
        let last = self.0.segments.back()?;
        Some((last.msn, last.part_count.checked_sub(1)))
    }

    /// `EXT-X-MEDIA-SEQUENCE`.
    #[must_use]
    pub fn first_msn(&self) -> u64 {
        self.0.segments.front().map_or(self.0.next_msn, |first| first.msn)
    }

    /// `EXT-X-DISCONTINUITY-SEQUENCE`.
    #[must_use]
    pub fn discontinuity_sequence(&self) -> u64 {
        self.0.discontinuity_sequence
    }

    /// The listed segments' durations together.
    #[must_use]
    pub fn window_duration(&self) -> Duration {
        self.0.listed
    }

    /// The listed segments, oldest first.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &ListedSegment> + ExactSizeIterator {
        self.0.segments.iter().map(AsRef::as_ref)
    }

    /// The listed segment of that number.
    #[must_use]
    pub fn segment(&self, msn: u64) -> Option<&ListedSegment> {
        let index = msn.checked_sub(self.first_msn())?;
        self.0.segments.get(usize::try_from(index).ok()?).map(AsRef::as_ref)
    }

    /// The open segment's parts so far.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = &PartInfo> {
        self.0.parts.iter().map(AsRef::as_ref)
    }

    /// The URI of what comes next, which `EXT-X-PRELOAD-HINT` names.
    #[must_use]
    pub fn next_part_uri(&self) -> String {
        let (msn, part) = self.next();
        self.0.config.part_uri(msn, part)
    }

    /// The plain media playlist: no low-latency tag in it.
    #[must_use]
    pub fn render_plain(&self) -> String {
        media::render_plain(&self.0)
    }

    /// The low-latency media playlist; with `skip`, a delta update if there is anything to skip. The reports are
    /// those of every other rendition, "each" of them (RFC 8216bis B.1).
    #[must_use]
    pub fn render_low_latency(&self, reports: &[RenditionReport], skip: bool) -> String {
        media::render_low_latency(&self.0, reports, skip)
    }

    fn open_parts(&self) -> u32 {
        u32::try_from(self.0.parts.len()).unwrap_or(u32::MAX)
    }
}
