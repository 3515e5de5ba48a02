//! Frames in, parts and segments out: what both containers have in common.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::grid::Grid;
use super::rope::Rope;
use super::{Part, Segment, SliceConfig, SliceError, SliceEvent};
use crate::media::Tracks;
use crate::time::MediaTime;

/// The start of an access unit, or of a fragment of several.
#[derive(Debug, Clone, Copy)]
pub(super) struct UnitStart {
    /// Stream offset of a cut before it: its tables or its first box.
    pub(super) at: u64,
    /// Of its first frame.
    pub(super) pts: MediaTime,
    /// A random-access point.
    pub(super) key: bool,
    /// A segment may begin at `at`.
    pub(super) cut: bool,
}

/// The end of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct UnitEnd {
    /// Stream offset behind it.
    pub(super) at: u64,
    /// Whole frames in it.
    pub(super) frames: u32,
    /// How long they last; zero where nothing tells.
    pub(super) duration: Duration,
    /// What is known of the next unit.
    pub(super) next: Next,
}

/// What comes after a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Only its bytes will tell.
    Unknown,
    /// A unit that begins where this one ends: a random-access point where the encoder promised one.
    Unit,
    /// A random-access point that begins where this one ends.
    Key,
}

#[derive(Debug)]
struct OpenPart {
    start: MediaTime,
    frames: u32,
    duration: Duration,
    independent: bool,
    /// One more unit like the last would not fit.
    full: bool,
}

impl OpenPart {
    fn new(start: MediaTime) -> Self {
        Self { start, frames: 0, duration: Duration::ZERO, independent: false, full: false }
    }
}

#[derive(Debug)]
struct OpenSegment {
    start: MediaTime,
    /// It begins with a random-access point.
    key: bool,
    /// Of its frames.
    duration: Duration,
    /// Latest presentation time at which one of its frames ends.
    latest: MediaTime,
    /// Of its closed parts.
    in_parts: Duration,
    chunks: Vec<Bytes>,
    bytes: u64,
    parts: u32,
    part: OpenPart,
}

/// Cuts a stream of units. Bytes are pushed as they come; units refer to them by stream offset.
#[derive(Debug)]
pub(super) struct Assembler {
    part_frames: Option<u32>,
    max_bytes: usize,
    grid: Grid,
    pub(super) rope: Rope,
    events: VecDeque<SliceEvent>,
    open: Option<OpenSegment>,
    next_index: u64,
    /// Where the first segment may begin, if what is before its first frame is worth keeping.
    keep_from: Option<u64>,
    /// The open unit's presentation time.
    unit: Option<MediaTime>,
    tracks: Option<Tracks>,
}

impl Assembler {
    pub(super) fn new(config: &SliceConfig) -> Self {
        Self {
            part_frames: config.part_frames.map(|frames| frames.max(1)),
            max_bytes: config.max_segment_bytes,
            grid: Grid::new(config.segment, config.keys),
            rope: Rope::default(),
            events: VecDeque::new(),
            open: None,
            next_index: 0,
            keep_from: None,
            unit: None,
            tracks: None,
        }
    }

    /// The next event; none before the tracks are known.
    pub(super) fn poll(&mut self) -> Option<SliceEvent> {
        self.tracks.as_ref()?;
        self.events.pop_front()
    }

    /// Says what the tracks are, if that is news. The first time it comes before all that was cut already.
    pub(super) fn set_tracks(&mut self, tracks: Tracks, init: Option<Bytes>) {
        if self.tracks.as_ref() == Some(&tracks) {
            return;
        }
        let news = [Some(SliceEvent::Tracks(tracks.clone())), init.map(SliceEvent::Init)];
        let news = news.into_iter().flatten();
        if self.tracks.is_none() {
            news.rev().for_each(|event| self.events.push_front(event));
        } else {
            self.events.extend(news);
        }
        self.tracks = Some(tracks);
    }

    /// A segment was closed, or one is open.
    pub(super) fn started(&self) -> bool {
        self.open.is_some() || self.next_index > 0
    }

    pub(super) fn segments_closed(&self) -> u64 {
        self.next_index
    }

    /// Bytes from `at` on belong to the first segment, although its first frame comes later.
    pub(super) fn keep_from(&mut self, at: u64) {
        if !self.started() {
            self.keep_from.get_or_insert(at);
        }
    }

    /// No segment begins before `at`.
    pub(super) fn forget_before(&mut self, at: u64) {
        if !self.started() {
            self.keep_from = None;
            self.rope.discard_to(at);
        }
    }

    /// Whether bytes are kept for the first segment.
    pub(super) fn keeps(&self) -> bool {
        self.started() || self.keep_from.is_some()
    }

    /// Whether the segment may go on up to `at`: one without end is an error, not a memory leak.
    pub(super) fn check_size(&self, at: u64) -> Result<(), SliceError> {
        let open = self.open.as_ref().map_or(0, |open| open.bytes);
        if open.saturating_add(at.saturating_sub(self.rope.start())) > self.max_bytes as u64 {
            return Err(SliceError::SegmentTooLarge { limit: self.max_bytes, offset: at });
        }
        Ok(())
    }

    pub(super) fn begin_unit(&mut self, unit: UnitStart) {
        self.unit = Some(unit.pts);
        if self.open.is_none() {
            // The segment before was closed on a promise: where that was broken, no picture is lost for it.
            let follows = self.next_index > 0 && self.grid.promises_keys();
            if !unit.cut || !(unit.key || follows) {
                return;
            }
            let first = self.keep_from.take().unwrap_or(unit.at).min(unit.at);
            self.rope.discard_to(first);
            self.open_segment(unit.pts, unit.key);
        } else if unit.key && unit.cut && self.grid.due(unit.pts) {
            self.close_segment(unit.at, unit.pts);
            self.open_segment(unit.pts, true);
        }
        let parts = self.part_frames.is_some();
        let Some(open) = &self.open else { return };
        // A keyframe within a segment begins no part: the one before it would be too short, which only a segment's last
        // may be (RFC 8216bis 4.4.4.9).
        if parts && open.part.frames > 0 && open.part.full {
            self.close_part(unit.at, None);
        }
        if let Some(open) = &mut self.open {
            open.part.independent |= unit.key && open.part.frames == 0;
        }
    }

    pub(super) fn end_unit(&mut self, unit: UnitEnd) {
        let (Some(pts), Some(open)) = (self.unit.take(), &mut self.open) else { return };
        open.duration = open.duration.saturating_add(unit.duration);
        open.latest = open.latest.max(pts.saturating_add(unit.duration));
        open.part.frames = open.part.frames.saturating_add(unit.frames);
        open.part.duration = open.part.duration.saturating_add(unit.duration);
        let next = open.start.saturating_add(open.duration);
        let due = self.grid.due(next);
        if let Some(limit) = self.part_frames {
            open.part.full = open.part.frames.saturating_add(unit.frames) > limit;
        }
        let key_follows = match unit.next {
            Next::Unknown => false,
            Next::Unit => self.grid.promised(next),
            Next::Key => due,
        };
        if key_follows {
            self.close_segment(unit.at, next);
        } else if open.part.full && !due {
            // When the next frame is expected to begin a segment, this part is the segment's last: what may trail
            // (audio, tables) belongs to it, and only that frame shows that the segment is over.
            self.close_part(unit.at, None);
        }
    }

    /// The stream ended at `at`.
    pub(super) fn finish(&mut self, at: u64) {
        let Some(open) = &self.open else { return };
        let end = open.latest;
        self.close_segment(at, end);
    }

    fn open_segment(&mut self, start: MediaTime, key: bool) {
        self.grid.started(start);
        self.open = Some(OpenSegment {
            start,
            key,
            duration: Duration::ZERO,
            latest: start,
            in_parts: Duration::ZERO,
            chunks: Vec::new(),
            bytes: 0,
            parts: 0,
            part: OpenPart::new(start),
        });
    }

    fn close_segment(&mut self, at: u64, end: MediaTime) {
        let Some(open) = &self.open else { return };
        // Time that stands still or goes back says nothing: then the frames do.
        let duration = match end.saturating_since(open.start) {
            Duration::ZERO => open.duration,
            duration => duration,
        };
        self.close_part(at, Some(duration));
        // Nothing is left of a segment whose only frame was torn.
        let Some(open) = self.open.take().filter(|open| open.bytes > 0) else { return };
        let index = self.next_index;
        self.next_index += 1;
        self.events.push_back(SliceEvent::Segment(Segment {
            index,
            start: open.start,
            duration,
            independent: open.key,
            chunks: open.chunks,
            bytes: open.bytes,
        }));
    }

    /// Everything up to `at` is the open part. `last` is the segment's duration when the segment ends there.
    fn close_part(&mut self, at: u64, last: Option<Duration>) {
        let Some(open) = &mut self.open else { return };
        let chunks = self.rope.take_to(at);
        let bytes: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        open.bytes = open.bytes.saturating_add(bytes);
        let part = std::mem::replace(&mut open.part, OpenPart::new(open.start));
        if let Some(limit) = self.part_frames.filter(|_| bytes > 0) {
            let duration = match last {
                Some(segment) => last_duration(&part, segment.saturating_sub(open.in_parts), open.duration, limit),
                None => part.duration,
            };
            open.in_parts = open.in_parts.saturating_add(duration);
            open.part.start = part.start.saturating_add(duration);
            self.events.push_back(SliceEvent::Part(Part {
                segment: self.next_index,
                index: open.parts,
                start: part.start,
                duration,
                independent: part.independent,
                chunks: chunks.clone(),
            }));
            open.parts += 1;
        }
        open.chunks.extend(chunks);
    }
}

/// The last part makes the parts' sum the segment's duration, unless frames are missing: a part claims no more than
/// its own frames last, or, when it has none (audio trailed a part that turned out to be the last), than a full part.
fn last_duration(part: &OpenPart, left: Duration, segment: Duration, limit: u32) -> Duration {
    if part.frames == 0 {
        return left.min(segment);
    }
    let frame = part.duration / part.frames;
    let most = (part.duration + frame / 2).min(frame.saturating_mul(limit.max(part.frames)));
    if left + frame / 2 < part.duration { part.duration } else { left.min(most) }
}
