//! What is listed: segments and parts.

use std::sync::Arc;
use std::time::Duration;

use super::WindowConfig;
use crate::playlist::segment::{render_date, render_part, render_segment};
use crate::time::UnixTime;

/// A segment to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Relative to the playlist; [`WindowConfig::segment_uri`].
    pub uri: String,
    /// `EXTINF`.
    pub duration: Duration,
    /// `EXT-X-PROGRAM-DATE-TIME` of its first frame.
    pub date: UnixTime,
    /// Its size; 0 where unknown.
    pub bytes: u64,
    /// `EXT-X-GAP`: it is not there and will not be.
    pub gap: bool,
}

/// A part to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartInfo {
    /// Relative to the playlist; [`WindowConfig::part_uri`].
    pub uri: String,
    /// `DURATION`.
    pub duration: Duration,
    /// Of its first frame; that of a segment's first part is printed while the segment is open.
    pub date: UnixTime,
    /// `INDEPENDENT=YES`.
    pub independent: bool,
}

/// A segment as it is listed. All of it is frozen: "the Server MUST NOT change the Media Playlist file" but by
/// appending, removing from the head and ending (RFC 8216bis 6.2.1). So its lines are rendered once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSegment {
    /// Its media sequence number.
    pub msn: u64,
    /// Relative to the playlist.
    pub uri: String,
    /// `EXTINF`.
    pub duration: Duration,
    /// Of its first frame.
    pub date: UnixTime,
    /// Its size; 0 where unknown.
    pub bytes: u64,
    /// It is not there and will not be.
    pub gap: bool,
    /// An `EXT-X-DISCONTINUITY` is before it.
    pub discontinuity: bool,
    /// The `EXT-X-MAP` it needs.
    pub init: Option<Arc<str>>,
    /// How many parts it had; 0 where they were withheld or are not known.
    pub part_count: u32,
    /// Its parts, until they need not be there any longer.
    pub parts: Vec<Arc<PartInfo>>,
    pub(crate) new_init: bool,
    /// `EXT-X-PROGRAM-DATE-TIME`.
    pub(crate) date_line: String,
    /// `EXT-X-PART` lines.
    pub(crate) part_lines: String,
    /// `EXT-X-GAP`, `EXTINF` and URI.
    pub(crate) lines: String,
}

/// The tags that apply to a segment.
pub(super) struct Scope {
    pub(super) discontinuity: bool,
    pub(super) init: Option<Arc<str>>,
    /// The init is said before this segment.
    pub(super) new_init: bool,
}

impl ListedSegment {
    pub(super) fn new(
        msn: u64,
        info: SegmentInfo,
        scope: Scope,
        parts: Vec<Arc<PartInfo>>,
        config: &WindowConfig,
    ) -> Self {
        let mut part_lines = String::new();
        if let Some(target) = config.part_target {
            for part in &parts {
                render_part(&mut part_lines, part, target);
            }
        }
        let mut lines = String::new();
        render_segment(&mut lines, &info, config.target_duration);
        let mut date_line = String::new();
        render_date(&mut date_line, info.date);
        Self {
            msn,
            uri: info.uri,
            duration: info.duration,
            date: info.date,
            bytes: info.bytes,
            gap: info.gap,
            discontinuity: scope.discontinuity,
            init: scope.init,
            part_count: u32::try_from(parts.len()).unwrap_or(u32::MAX),
            parts,
            new_init: scope.new_init,
            date_line,
            part_lines,
            lines,
        }
    }

    /// Forgets the parts; their URIs.
    pub(super) fn retire_parts(&mut self) -> impl Iterator<Item = String> {
        self.part_lines = String::new();
        std::mem::take(&mut self.parts).into_iter().map(|part| part.uri.clone())
    }
}
