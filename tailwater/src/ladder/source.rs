//! What the probe found in the source: enough to plan a ladder, nothing of how it was found.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The tracks of a source. At least one is there, or there is nothing to plan.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceInfo {
    /// The video track, if the source has one.
    pub video: Option<VideoSource>,
    /// The audio track, if the source has one.
    pub audio: Option<AudioSource>,
}

/// The video track of a source.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VideoSource {
    /// Which codec the track is in.
    pub codec: VideoCodec,
    /// Width as displayed (after cropping), in pixels.
    pub width: u32,
    /// Height as displayed (after cropping), in pixels.
    pub height: u32,
    /// Nominal frames a second, as metadata, parameter sets or measurement tell. `None`: nobody knows.
    pub frame_rate: Option<f64>,
    /// The frames were evenly spaced for as long as the probe looked.
    pub constant_rate: bool,
    /// Fields, not frames: must be deinterlaced.
    pub interlaced: bool,
    /// Longest distance between two key frames that was seen. `None`: fewer than two were seen.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_seconds")]
    pub keyframe_interval: Option<Duration>,
    /// Bits a second, measured or announced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bitrate: Option<u64>,
    /// RFC 6381 codec string of the track, for example `avc1.640028`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codec_string: Option<String>,
    /// The source has B-frames (its composition times differ from its decoding times).
    pub b_frames: bool,
    /// A key frame was seen that is no IDR picture: what follows it may need pictures from before it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub open_keyframes: bool,
}

impl VideoSource {
    /// A constant-rate, progressive H.264 track of that size: what a test or a default needs.
    pub fn h264(width: u32, height: u32, frame_rate: f64) -> Self {
        Self {
            codec: VideoCodec::H264,
            width,
            height,
            frame_rate: Some(frame_rate),
            constant_rate: true,
            interlaced: false,
            keyframe_interval: None,
            bitrate: None,
            codec_string: Some("avc1.640028".to_owned()),
            b_frames: false,
            open_keyframes: false,
        }
    }

    /// The shorter side in pixels: what a rung's `height` is measured against, so that a portrait picture keeps its
    /// detail.
    pub fn short_side(&self) -> u32 {
        self.width.min(self.height)
    }
}

/// The audio track of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AudioSource {
    /// Which codec the track is in.
    pub codec: AudioCodec,
    /// Samples a second.
    pub sample_rate: u32,
    /// Number of channels.
    pub channels: u32,
}

impl AudioSource {
    /// Stereo AAC at 48 kHz: what OBS sends.
    pub fn aac() -> Self {
        Self { codec: AudioCodec::Aac, sample_rate: 48_000, channels: 2 }
    }
}

/// A video codec, of a source or of a rung. A rung is never [`VideoCodec::Other`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum VideoCodec {
    /// H.264 (AVC).
    #[default]
    H264,
    /// H.265 (HEVC); by enhanced RTMP, out in CMAF only.
    Hevc,
    /// AV1; by enhanced RTMP, out in CMAF only.
    Av1,
    /// Anything else a source may be in, by its name (`VP6`, `Sorenson H.263`, a FourCC).
    #[serde(skip_deserializing, untagged)]
    #[schema(ignore)]
    Other(String),
}

impl fmt::Display for VideoCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::H264 => "H.264",
            Self::Hevc => "HEVC",
            Self::Av1 => "AV1",
            Self::Other(name) => name,
        })
    }
}

/// An audio codec of a source. What leaves is always AAC-LC.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AudioCodec {
    /// AAC of any profile.
    #[default]
    Aac,
    /// MPEG-1/2 layer III.
    Mp3,
    /// Opus, by enhanced RTMP.
    Opus,
    /// Anything else, by its name.
    #[serde(untagged)]
    Other(String),
}

impl fmt::Display for AudioCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aac => "AAC",
            Self::Mp3 => "MP3",
            Self::Opus => "Opus",
            Self::Other(name) => name,
        })
    }
}

fn as_seconds<S: serde::Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    value.map(|duration| duration.as_secs_f64()).serialize(serializer)
}
