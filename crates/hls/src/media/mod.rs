//! What the encoded bits say of themselves: codec strings (RFC 6381), picture sizes, rates.

pub(crate) mod aac;
mod bits;
pub(crate) mod h264;
pub(crate) mod hevc;

/// The tracks of one rendition.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tracks {
    /// Its video, if it has any.
    pub video: Option<VideoTrack>,
    /// Its audio, if it has any.
    pub audio: Option<AudioTrack>,
}

/// An encoded video track.
#[derive(Debug, Clone, PartialEq)]
pub struct VideoTrack {
    /// For CODECS: `avc1.640028`, `hvc1.…`, `av01.…`.
    pub codec: String,
    /// Pixels as displayed: cropping done.
    pub width: u32,
    /// Pixels as displayed: cropping done.
    pub height: u32,
    /// Frames a second, where the stream says.
    pub frame_rate: Option<f64>,
}

/// An encoded audio track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioTrack {
    /// For CODECS: `mp4a.40.2`.
    pub codec: String,
    /// Samples a second.
    pub sample_rate: u32,
    /// Channels; 0 where the stream leaves it to its payload.
    pub channels: u32,
}
