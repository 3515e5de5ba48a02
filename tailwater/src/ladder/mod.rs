//! From the probed source and the configured rungs to a plan: a pure function.
//!
//! [`source`] is what the probe found, [`rung`] what the user asked for, [`plan`](mod@plan) what comes of both on a machine:
//! sizes, [`rate`]s, encoder [`settings`], bandwidth `bounds`, whether the source is copied (`passthrough`); [`shed`](mod@shed) what
//! is left out of it on a machine that does not keep up, [`slate`] the plan for a picture in the source's place. None of it touches
//! FFmpeg.

pub(crate) mod bounds;
mod passthrough;
pub mod plan;
pub mod rate;
pub mod rung;
pub mod settings;
pub mod shed;
pub mod slate;
pub mod source;

pub use plan::{ORIGIN, Plan, PlanError, PlannedAudio, PlannedRendition, PlannedVideo, VideoAction, plan};
pub use rate::{Rational, part_frames, part_rule_holds};
pub use rung::{EncoderChoice, Format, LadderConfig, Passthrough, Rung, RungError, default_rungs, validate_rungs};
pub use settings::{EncodeSettings, Encoder};
pub use shed::{Step, shed, steps};
pub use slate::slate_plan;
pub use source::{AudioCodec, AudioSource, SourceInfo, VideoCodec, VideoSource};
