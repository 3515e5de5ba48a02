//! FLV: what an RTMP publisher's audio, video and data messages are, and what FFmpeg reads and writes on a pipe.
//!
//! - [`FlvTag`] is one tag; [`FlvReader`] cuts tags out of bytes, [`FlvWriter`] makes bytes of tags.
//! - [`VideoHeader`] and [`AudioHeader`] say what a tag carries, in the FLV of 2010 (Annex E of "Adobe Flash Video File
//!   Format Specification 10.1") and in Enhanced RTMP with its FourCC.
//! - [`VideoConfig`], [`AacConfig`], [`MetaData`] read the sequence headers and `onMetaData`.
//! - [`SilentAac`] makes a frame of silence for an AAC track that stopped.

mod aac;
mod audio;
mod bits;
mod io;
mod metadata;
mod silence;
mod sps;
mod sps_hevc;
mod video;

pub use aac::{AacConfig, AacError};
pub use audio::{AudioCodec, AudioHeader, Mp3Frame};
pub use io::{FlvError, FlvReader, FlvWriter, MAX_TAG_BODY, write_header, write_tag};
pub use metadata::MetaData;
pub use silence::SilentAac;
pub use sps::{VideoConfig, VideoConfigError};
pub use video::{VideoCodec, VideoHeader};

use bytes::Bytes;

/// What a tag is, by FLV tag type (8, 9, 18), which are the RTMP message types too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TagKind {
    /// Audio data (8).
    Audio,
    /// Video data (9).
    Video,
    /// Script data (18): `onMetaData` and the like, in AMF0.
    Script,
}

impl TagKind {
    /// The tag type on the wire.
    #[must_use]
    pub fn id(self) -> u8 {
        match self {
            TagKind::Audio => 8,
            TagKind::Video => 9,
            TagKind::Script => 18,
        }
    }

    /// The kind of a tag type on the wire, if it is one that carries media or data.
    #[must_use]
    pub fn from_id(id: u8) -> Option<Self> {
        match id {
            8 => Some(TagKind::Audio),
            9 => Some(TagKind::Video),
            18 => Some(TagKind::Script),
            _ => None,
        }
    }
}

/// One FLV tag: an audio, video or script message and the time it was stamped with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlvTag {
    /// What it carries.
    pub kind: TagKind,
    /// Milliseconds, as sent: 32 bits that wrap after 49.7 days. For video it is the decoding time.
    pub timestamp: u32,
    /// The tag's body, from its audio or video header on.
    pub body: Bytes,
}

/// What the body of an audio or video tag holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PacketKind {
    /// The decoder configuration (AVCDecoderConfigurationRecord, AudioSpecificConfig and so on).
    SequenceHeader,
    /// Coded media.
    Frames,
    /// The end of a sequence.
    EndOfSequence,
    /// Anything else: metadata, commands, multitrack containers. FFmpeg skips what it does not know.
    Other,
}
