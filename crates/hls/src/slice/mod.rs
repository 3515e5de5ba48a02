//! Cutting an encoder's output into segments and parts.
//!
//! One slicer reads one pipe. Bytes go in by [`Slicer::push`], events come out of [`Slicer::poll`] until it says
//! `None`, and [`Slicer::finish`] gives what is left. However the bytes are chunked, the events are the same.
//!
//! A segment begins at the first random-access point at or after each multiple of [`SliceConfig::segment`] since
//! session zero. So all renditions of a session cut at the same moments as long as their keyframes are alike, and
//! rounding never adds up: at 23.976 frames a second some segments have 23 frames, most have 24.

mod assemble;
mod cmaf;
mod error;
mod grid;
mod rope;
mod ts;

use std::time::Duration;

use bytes::Bytes;

pub use self::cmaf::CmafSlicer;
pub use self::error::SliceError;
pub use self::grid::{part_frames, part_rule_holds};
pub use self::ts::TsSlicer;
use crate::media::Tracks;
use crate::time::MediaTime;

/// How to cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceConfig {
    /// The grid of segment starts, since session zero. One second unless configured.
    pub segment: Duration,
    /// Whole frames a part: video frames, or audio frames in a rendition without video. `None`: no parts.
    pub part_frames: Option<u32>,
    /// Container time of session zero: FFmpeg's `-output_ts_offset`. Audio priming lies before it.
    pub origin: Duration,
    /// A segment larger than this ends the slicing with [`SliceError::SegmentTooLarge`].
    pub max_segment_bytes: usize,
    /// The frame duration, where the rate is known and constant. Otherwise what the parameter sets say, or else the
    /// distance of the first two frames.
    pub frame_duration: Option<Duration>,
    /// The encoder was told to begin each segment with a keyframe, and does: the first at or after the boundary of the
    /// frames that come at this rate from session zero on. Then a segment in CMAF is out with its last fragment instead
    /// of with the next one. `None`: keyframes come as they please.
    pub keys: Option<KeyRate>,
}

/// Frames a second, exactly: `num/den`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRate {
    /// Frames in `den` seconds.
    pub num: u32,
    /// Seconds.
    pub den: u32,
}

impl Default for SliceConfig {
    /// Segments of one second, no parts, origin zero, 64 MiB: half a gigabit a second.
    fn default() -> Self {
        Self {
            segment: Duration::from_secs(1),
            part_frames: None,
            origin: Duration::ZERO,
            max_segment_bytes: 64 << 20,
            frame_duration: None,
            keys: None,
        }
    }
}

/// A cutter of one pipe's bytes.
///
/// After an error a slicer stays failed: each later call gives the same error, and nothing more comes out than what
/// was cut before it.
pub trait Slicer: Send {
    /// Bytes as they came from the pipe, in any chunking. Slices of `bytes` end up in the parts: nothing is copied.
    ///
    /// # Errors
    /// A segment that outgrows its limit, or (CMAF) boxes that are none. MPEG-TS recovers from lost sync.
    fn push(&mut self, bytes: Bytes) -> Result<(), SliceError>;

    /// The next event, until `None`.
    fn poll(&mut self) -> Option<SliceEvent>;

    /// The pipe ended. `clean` says that the encoder flushed and exited with success; otherwise an access unit that
    /// may be torn is dropped. The last part and segment follow from [`poll`](Self::poll).
    ///
    /// # Errors
    /// As for [`push`](Self::push).
    fn finish(&mut self, clean: bool) -> Result<(), SliceError>;
}

/// What a slicer found. `Tracks`, and for CMAF then `Init`, come before the first part or segment, and again only
/// when they changed.
#[derive(Debug, Clone, PartialEq)]
pub enum SliceEvent {
    /// What the encoded bits say of themselves.
    Tracks(Tracks),
    /// The media initialization section: `ftyp` and `moov`, as they came.
    Init(Bytes),
    /// A part of the open segment.
    Part(Part),
    /// A whole segment; its parts came before.
    Segment(Segment),
}

/// A partial segment: whole frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Index of the segment it belongs to, counted from 0 in the session.
    pub segment: u64,
    /// Index in the segment, from 0.
    pub index: u32,
    /// Where it begins.
    pub start: MediaTime,
    /// How long its frames last.
    pub duration: Duration,
    /// Begins with a random-access point.
    pub independent: bool,
    /// Its bytes.
    pub chunks: Vec<Bytes>,
}

/// A media segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Counted from 0 in the session, without holes.
    pub index: u64,
    /// Presentation time of its first frame.
    pub start: MediaTime,
    /// Of the video in it (RFC 8216bis 3), or of the audio where there is none.
    pub duration: Duration,
    /// Begins with a random-access point: so unless the encoder broke the promise of [`SliceConfig::keys`].
    pub independent: bool,
    /// The concatenation of its parts: the same bytes.
    pub chunks: Vec<Bytes>,
    /// Length of `chunks` together.
    pub bytes: u64,
}
