//! What every source, pushed or pulled, hands to a livestream.

use std::fmt;
use std::time::{Instant, SystemTime};

use rtmp::flv::{AudioHeader, FlvTag, PacketKind, TagKind, VideoHeader};
use serde::Serialize;
use utoipa::ToSchema;

/// What a tag is to those who must start, drop or keep tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagRole {
    /// onMetaData and the like.
    Metadata,
    /// The decoder configuration of the video.
    VideoHeader,
    /// A picture that a decoder can start with.
    Keyframe,
    /// Any other picture.
    Picture,
    /// The decoder configuration of the audio.
    AudioHeader,
    /// Sound.
    Sound,
}

/// An FLV tag with the moment it reached us.
#[derive(Debug, Clone)]
pub struct StampedTag {
    /// The tag, its timestamp as the encoder sent it.
    pub tag: FlvTag,
    /// What it is.
    pub role: TagRole,
    /// Arrival on the monotonic clock.
    pub arrival: Instant,
    /// Arrival on the wall clock: what EXT-X-PROGRAM-DATE-TIME is anchored to.
    pub wall: SystemTime,
}

impl StampedTag {
    /// Stamps a tag with its arrival.
    pub fn new(tag: FlvTag, arrival: Instant, wall: SystemTime) -> Self {
        Self { role: role(&tag), tag, arrival, wall }
    }
}

fn role(tag: &FlvTag) -> TagRole {
    match tag.kind {
        TagKind::Script => TagRole::Metadata,
        TagKind::Video => match VideoHeader::parse(&tag.body) {
            Some(header) if header.packet == PacketKind::SequenceHeader => TagRole::VideoHeader,
            Some(header) if header.keyframe && header.packet == PacketKind::Frames => TagRole::Keyframe,
            _ => TagRole::Picture,
        },
        TagKind::Audio => match AudioHeader::parse(&tag.body) {
            Some(header) if header.packet == PacketKind::SequenceHeader => TagRole::AudioHeader,
            _ => TagRole::Sound,
        },
    }
}

/// Why a source stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceEnd {
    /// The encoder said goodbye (FCUnpublish, deleteStream), or the pulled stream reached its end.
    Clean,
    /// The connection broke off; the text says how.
    Lost(String),
    /// A pull could not connect, or was refused; the text is for the user.
    Unreachable(String),
}

/// Which of a livestream's two sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The one that is used whenever it is there.
    Main,
    /// The one that steps in.
    Backup,
}

impl Side {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Main => Self::Backup,
            Self::Backup => Self::Main,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Main => "main",
            Self::Backup => "backup",
        })
    }
}

/// One thing a source has to say.
#[derive(Debug, Clone)]
pub enum SourceEvent {
    /// A publisher connected, or a pull began to deliver. Tags follow, beginning with its sequence headers.
    Connected,
    /// Of a main source and its backup: an end and a `Connected` at once, because what follows is the other one's.
    Switched(Side),
    /// The next tag.
    Tag(StampedTag),
    /// The livestream was too slow: this many tags were dropped, up to the keyframe that follows.
    Dropped(u64),
    /// No more tags until the next `Connected`.
    Ended(SourceEnd),
}

/// Where a publisher publishes: application and stream key. The key is a secret and is never shown whole.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SourcePath {
    app: String,
    key: String,
}

impl SourcePath {
    /// The application (`live`) and the stream key, as published.
    pub fn new(app: impl Into<String>, key: impl Into<String>) -> Self {
        Self { app: app.into(), key: key.into() }
    }

    /// The application, with the instance if there is one.
    pub fn app(&self) -> &str {
        &self.app
    }

    /// The stream key: a secret.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Enough of the key to recognise it by: its first three characters.
    pub fn masked_key(&self) -> String {
        self.key.chars().take(3).chain(['…']).collect()
    }
}

impl fmt::Debug for SourcePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.app, self.masked_key())
    }
}

impl fmt::Display for SourcePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
