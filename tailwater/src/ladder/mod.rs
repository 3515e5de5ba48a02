//! From the probed source and the configured rungs to a plan: a pure function.
//!
//! [`source`] is what the probe found, [`rung`] what the user asked for. Neither touches FFmpeg.

pub mod rung;
pub mod source;

pub use rung::{EncoderChoice, Format, LadderConfig, Passthrough, Rung, RungError, default_rungs, validate_rungs};
pub use source::{AudioCodec, AudioSource, SourceInfo, VideoCodec, VideoSource};
