//! The constants of a media playlist.

use std::time::Duration;

/// What never changes in a media playlist, but for the prefix of a rendition that goes on with another's media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowConfig {
    /// `EXT-X-TARGETDURATION`, seconds. No segment's duration may round to more.
    pub target_duration: u32,
    /// How much stays listed: at most this, but never less than three target durations.
    pub window: Duration,
    /// `PART-TARGET`; `None`: the low-latency form has no parts.
    pub part_target: Option<Duration>,
    /// The segments are fragmented MP4 (`EXT-X-MAP` asks for version 6).
    pub version_map: bool,
    /// What the URIs of segments and parts begin with: `<stream>_<rendition>`.
    pub uri_prefix: String,
    /// Their extension: `ts` or `m4s`.
    pub extension: String,
}

impl Default for WindowConfig {
    /// One second segments in MPEG-TS, five minutes, no parts.
    fn default() -> Self {
        Self {
            target_duration: 1,
            window: Duration::from_secs(300),
            part_target: None,
            version_map: false,
            uri_prefix: String::from("stream"),
            extension: String::from("ts"),
        }
    }
}

impl WindowConfig {
    /// The key and URI of a segment: `<stream>_<rendition>_segment<NNN>.<ext>`, at least three digits.
    #[must_use]
    pub fn segment_uri(&self, msn: u64) -> String {
        format!("{}_segment{msn:03}.{}", self.uri_prefix, self.extension)
    }

    /// The key and URI of a part: `<stream>_<rendition>_segment<NNN>.part<K>.<ext>`.
    #[must_use]
    pub fn part_uri(&self, msn: u64, part: u32) -> String {
        format!("{}_segment{msn:03}.part{part}.{}", self.uri_prefix, self.extension)
    }
}
