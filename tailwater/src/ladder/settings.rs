//! How a rung is encoded: which encoder, its preset and tuning, its rate control. Measured in `docs/ENCODING.md`.

use std::time::Duration;

use super::plan::PlanError;
use super::rate::Rational;
use super::rung::{AUTO_PRESET, EncoderChoice, LadderConfig, Rung};
use super::source::VideoCodec;
use crate::transcode::capabilities::{Capabilities, Hardware};

/// An encoder of FFmpeg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Encoder {
    /// libx264.
    X264,
    /// libx265.
    X265,
    /// libsvtav1.
    SvtAv1,
    /// libaom-av1: where SVT is missing.
    Aom,
    /// A hardware H.264 encoder.
    Hardware(Hardware),
}

impl Encoder {
    /// FFmpeg's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::X264 => "libx264",
            Self::X265 => "libx265",
            Self::SvtAv1 => "libsvtav1",
            Self::Aom => "libaom-av1",
            Self::Hardware(hardware) => hardware.encoder(),
        }
    }

    /// The encoder for a rung on this machine. Key frames lie on frames of `key_rate`, or, where it is `None`, wherever
    /// the source has them.
    ///
    /// # Errors
    /// [`PlanError::NoEncoder`] and [`PlanError::HardwareMissing`]: nothing is replaced silently.
    pub fn choose(
        rung: &Rung,
        key_rate: Option<Rational>,
        config: &LadderConfig,
        caps: &Capabilities,
    ) -> Result<Self, PlanError> {
        let missing = |wanted| PlanError::NoEncoder { rung: rung.name.clone(), codec: rung.codec.clone(), wanted };
        let first = |choices: &[Self]| choices.iter().copied().find(|encoder| caps.has_encoder(encoder.name()));
        match rung.codec {
            VideoCodec::H264 => Self::choose_h264(config, caps)?.ok_or_else(|| missing("libx264")),
            VideoCodec::Hevc => first(&[Self::X265]).ok_or_else(|| missing("libx265")),
            // FFmpeg 5.1 does not hand forced key frames on to SVT: it serves where they are evenly spaced.
            VideoCodec::Av1 if key_rate.is_some_and(|rate| frames_a_segment(rate, config.segment).is_some()) => {
                first(&[Self::SvtAv1, Self::Aom]).ok_or_else(|| missing("libsvtav1 or libaom-av1"))
            }
            VideoCodec::Av1 => first(&[Self::Aom]).ok_or_else(|| missing("libaom-av1, at this frame rate")),
            VideoCodec::Other(_) => Err(missing("none")),
        }
    }

    fn choose_h264(config: &LadderConfig, caps: &Capabilities) -> Result<Option<Self>, PlanError> {
        let x264 = || caps.has_encoder("libx264").then_some(Self::X264);
        let named = |hardware: Hardware| match caps.hardware.contains(&hardware) {
            true => Ok(Some(Self::Hardware(hardware))),
            false => Err(PlanError::HardwareMissing { choice: hardware.choice() }),
        };
        match config.encoder {
            EncoderChoice::X264 => Ok(x264()),
            EncoderChoice::Auto => Ok(caps.hardware.first().copied().map(Self::Hardware).or_else(x264)),
            EncoderChoice::Nvenc => named(Hardware::Nvenc),
            EncoderChoice::Qsv => named(Hardware::Qsv),
            EncoderChoice::Vaapi => named(Hardware::Vaapi),
            EncoderChoice::Videotoolbox => named(Hardware::Videotoolbox),
        }
    }
}

/// Frames in a segment, where that is a whole number.
pub(crate) fn frames_a_segment(rate: Rational, segment: Duration) -> Option<u64> {
    let (frames, whole) = (segment.as_nanos() * u128::from(rate.num), 1_000_000_000 * u128::from(rate.den));
    (frames % whole == 0).then(|| u64::try_from(frames / whole).ok()).flatten().filter(|frames| *frames > 0)
}

/// One rung's encoder and all it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodeSettings {
    /// Which encoder.
    pub encoder: Encoder,
    /// The preset is this machine's to choose: the tuned settings, until it is known what the machine holds.
    pub auto: bool,
    /// The encoder's own preset.
    pub preset: String,
    /// `key=value` pairs for `-x264-params` and its like, without key frames.
    pub tuning: Vec<(&'static str, String)>,
    /// Average, bit/s.
    pub bitrate: u64,
    /// Peak, bit/s.
    pub maxrate: u64,
    /// Buffer of the rate control, bits.
    pub bufsize: u64,
    /// Encoder threads.
    pub threads: u32,
}

/// The settings of a rung of that size and rate.
pub(crate) fn encode_settings(
    rung: &Rung,
    encoder: Encoder,
    size: (u32, u32),
    rate: Rational,
    config: &LadderConfig,
    caps: &Capabilities,
) -> EncodeSettings {
    let asked = rung.preset.clone().or_else(|| config.preset.clone().filter(|_| rung.codec == VideoCodec::H264));
    let auto = asked.as_deref() == Some(AUTO_PRESET);
    let preset = asked.filter(|_| !auto);
    let tuned = preset.is_none();
    let bitrate = rung.video_bitrate;
    // Low latency: no lookahead plans the buffer, so that a tight peak costs little; standard: room for what it plans.
    let (maxrate, bufsize) = match config.low_latency {
        true => (bitrate, bitrate * 6 / 10),
        false => (bitrate * 11 / 10, bitrate),
    };
    EncodeSettings {
        encoder,
        auto,
        preset: preset.unwrap_or_else(|| default_preset(encoder, config.low_latency).to_owned()),
        tuning: match encoder {
            Encoder::X264 if tuned => x264_tuning(size, config.low_latency),
            _ => Vec::new(),
        },
        bitrate,
        maxrate,
        bufsize,
        threads: threads(size, rate, config.low_latency, caps.cores),
    }
}

pub(super) fn default_preset(encoder: Encoder, low_latency: bool) -> &'static str {
    match (encoder, low_latency) {
        (Encoder::X264, _) => "superfast",
        (Encoder::X265, true) => "ultrafast",
        (Encoder::X265, false) => "superfast",
        (Encoder::SvtAv1, _) => "10",
        (Encoder::Aom, _) => "8",
        (Encoder::Hardware(hardware), _) => hardware.preset(),
    }
}

/// Between `superfast` and `veryfast`: what of the latter pays, by the size of the picture. Large pictures hold most of
/// the work and gain little from finer searches; small ones are cheap and gain most. `docs/ENCODING.md` has the figures.
pub(super) fn x264_tuning((width, height): (u32, u32), low_latency: bool) -> Vec<(&'static str, String)> {
    let pixels = width * height;
    let search: &[(&str, &str)] = match (pixels, low_latency) {
        (0..=600_000, _) => &[("subme", "3"), ("me", "hex"), ("ref", "2")],
        (_, true) => &[("subme", "2")],
        (600_001..=1_400_000, false) => &[("subme", "1")],
        (_, false) => &[("subme", "2"), ("ref", "2")],
    };
    let lookahead = if pixels <= 600_000 { "15" } else { "10" };
    // Always two B-frames: to decide how many costs more than it gains, and pays for the quantizer's search.
    let planning = [("mbtree", "1"), ("rc-lookahead", lookahead), ("bframes", "2"), ("b-adapt", "0"), ("trellis", "1")];
    let planning = if low_latency { &[][..] } else { &planning };
    search.iter().chain(planning).map(|(key, value)| (*key, (*value).to_owned())).collect()
}

/// Encoder threads of one rung. In low latency they are slices, which cost bits: as few as keep up.
fn threads((width, height): (u32, u32), rate: Rational, low_latency: bool, cores: usize) -> u32 {
    let cores = u32::try_from(cores).unwrap_or(1).max(1);
    let pixels_a_second = f64::from(width) * f64::from(height) * rate.as_f64();
    // One thread at these settings does some 60 million pixels a second; half of that leaves room.
    let needed = (pixels_a_second / 30e6).ceil() as u32;
    match low_latency {
        true => needed.clamp(1, cores.min(8)),
        false => (cores + 1).min(needed + 1).clamp(1, 12),
    }
}
