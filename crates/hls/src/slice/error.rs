//! Why slicing ends.

/// A stream that cannot be cut any further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SliceError {
    /// No random-access point came in time.
    #[error(
        "the open segment passed {limit} bytes at byte {offset} of the stream without a keyframe to cut at: \
         shorten the encoder's keyframe interval or raise the limit"
    )]
    SegmentTooLarge {
        /// [`SliceConfig::max_segment_bytes`](super::SliceConfig::max_segment_bytes).
        limit: usize,
        /// Where in the stream.
        offset: u64,
    },
    /// A box whose size cannot be right.
    #[error("a {kind} box of {size} bytes at byte {offset} of the stream: more than the {limit} bytes allowed")]
    BoxTooLarge {
        /// Its four-character code.
        kind: String,
        /// Its size with header, as written.
        size: u64,
        /// The largest taken.
        limit: u64,
        /// Where in the stream.
        offset: u64,
    },
    /// Bytes that are no fragmented MP4.
    #[error("not a CMAF stream at byte {offset}: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
        /// Where in the stream.
        offset: u64,
    },
}
