//! The plan: what to encode, what to copy, what to leave out. A pure function of source, configuration and machine.

use std::time::Duration;

use super::bounds::{AudioRate, VideoRate, bounds};
use super::passthrough::{Judgement, Terms, judge};
use super::rate::{Rational, nearest_filling_rate, part_frames, part_rule_holds};
use super::rung::{Format, LadderConfig, Rung, RungError, validate_rungs};
use super::settings::{EncodeSettings, Encoder, encode_settings};
use super::source::{AudioCodec, AudioSource, SourceInfo, VideoCodec, VideoSource};
use crate::transcode::capabilities::Capabilities;

/// Container time of session zero (FFmpeg's `-output_ts_offset`). Not 0, so that what an encoder puts before zero (AAC
/// priming) keeps its place instead of shifting everything else.
pub const ORIGIN: Duration = Duration::from_secs(10);

/// What FFmpeg is to do with one source.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The container.
    pub format: Format,
    /// Neither lookahead nor B-frames; parts.
    pub low_latency: bool,
    /// In the order of FFmpeg's pipes: video highest first, then CMAF's `audio`.
    pub renditions: Vec<PlannedRendition>,
    /// The one audio track, encoded once.
    pub audio: Option<PlannedAudio>,
    /// Of the fastest rung.
    pub frame_rate: Option<Rational>,
    /// The slowest rung's rate: key frames lie on its frames, so that every rung has a frame there.
    pub key_rate: Option<Rational>,
    /// A segment starts at the first key frame at or after each multiple of this.
    pub segment: Duration,
    /// EXT-X-TARGETDURATION that the segments need, seconds: more than the segment only where the source is copied.
    pub target_duration: u32,
    /// Media before this is decoded and not put out: an earlier session has it.
    pub skip: Duration,
    /// Container time of session zero.
    pub origin: Duration,
    /// Fields are made frames before anything else.
    pub deinterlace: bool,
    /// The source must be put on an even frame grid.
    pub decoder_threads: u32,
    /// What was left out or changed, each a sentence for the user.
    pub notes: Vec<String>,
}

impl Plan {
    /// The source's own bits are the top rung: then all key frames are the source's.
    pub fn copies(&self) -> bool {
        let copied = |rendition: &PlannedRendition| {
            rendition.video.as_ref().is_some_and(|video| video.action == VideoAction::Copy)
        };
        self.renditions.iter().any(copied)
    }
}

/// One rendition: one pipe, one media playlist.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedRendition {
    /// The rung's name, or `audio`.
    pub name: String,
    /// Its pictures; `None` in an audio rendition.
    pub video: Option<PlannedVideo>,
    /// The audio track is muxed in (always in MPEG-TS when there is audio; in CMAF only in `audio`).
    pub audio: bool,
    /// Whole frames in a part: video frames, or AAC frames in an audio rendition. `None`: no parts.
    pub part_frames: Option<u32>,
    /// Duration of one such frame.
    pub frame_duration: Duration,
    /// BANDWIDTH of this rendition alone, bit/s, container in: an upper bound.
    pub bandwidth_bound: u64,
    /// AVERAGE-BANDWIDTH likewise.
    pub average_bound: u64,
}

/// The pictures of a rendition.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedVideo {
    /// Pixels, even.
    pub width: u32,
    /// Pixels, even.
    pub height: u32,
    /// Exact and constant, unless copied.
    pub frame_rate: Rational,
    /// Only each `rate_divisor`th frame of [`Plan::frame_rate`] is used.
    pub rate_divisor: u32,
    /// How it is made.
    pub action: VideoAction,
}

impl PlannedVideo {
    /// What its pictures are in. Only H.264 is ever copied.
    pub fn codec(&self) -> VideoCodec {
        match &self.action {
            VideoAction::Encode(settings) => match settings.encoder {
                Encoder::X264 | Encoder::Hardware(_) => VideoCodec::H264,
                Encoder::X265 => VideoCodec::Hevc,
                Encoder::SvtAv1 | Encoder::Aom => VideoCodec::Av1,
            },
            VideoAction::Copy => VideoCodec::H264,
        }
    }
}

/// How the pictures of a rendition are made.
#[derive(Debug, Clone, PartialEq)]
pub enum VideoAction {
    /// By an encoder.
    Encode(EncodeSettings),
    /// The source's own bits.
    Copy,
}

/// The one audio track of a livestream, AAC-LC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedAudio {
    /// bit/s.
    pub bitrate: u64,
    /// Samples a second.
    pub sample_rate: u32,
    /// 1 or 2.
    pub channels: u32,
}

/// Why there is no plan; each is a sentence for the user.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Neither audio nor video.
    #[error("the source has neither audio nor video: check what the encoder sends")]
    NoTracks,
    /// The ladder itself is wrong.
    #[error(transparent)]
    Rungs(#[from] RungError),
    /// Metadata that cannot be.
    #[error("the source says its picture is {width}x{height}: nothing can be made of that")]
    NoPicture {
        /// As probed.
        width: u32,
        /// As probed.
        height: u32,
    },
    /// Enhanced RTMP, old FFmpeg.
    #[error(
        "the source is {codec}, which FFmpeg reads from RTMP since version 6.1, and this is {version}: \
             install a newer FFmpeg (FFMPEG_PATH), or send H.264"
    )]
    SourceNeedsNewerFfmpeg {
        /// The source's codec.
        codec: VideoCodec,
        /// The FFmpeg there is.
        version: String,
    },
    /// A codec that FLV can name and FFmpeg does not take from it.
    #[error(
        "the source is {codec}, which no FFmpeg reads from RTMP: \
             send H.264, or to FFmpeg 6.1 and newer HEVC, AV1 or VP9"
    )]
    SourceUnreadable {
        /// The source's codec.
        codec: VideoCodec,
    },
    /// Sound in a codec of Enhanced RTMP, old FFmpeg.
    #[error(
        "the source's sound is {codec}, which FFmpeg reads from RTMP since version 8.0, and this is {version}: \
             install a newer FFmpeg (FFMPEG_PATH), or send AAC"
    )]
    SoundNeedsNewerFfmpeg {
        /// The source's codec.
        codec: AudioCodec,
        /// The FFmpeg there is.
        version: String,
    },
    /// Sound in a codec that FLV can name and FFmpeg does not take from it.
    #[error("the source's sound is {codec}, which no FFmpeg reads from RTMP: send AAC")]
    SoundUnreadable {
        /// The source's codec.
        codec: AudioCodec,
    },
    /// The rung's codec has no encoder here.
    #[error(
        "rung {rung:?} needs {codec}, and this FFmpeg has no encoder for it ({wanted}): \
             install one that has, or choose another codec"
    )]
    NoEncoder {
        /// The rung.
        rung: String,
        /// The codec asked for.
        codec: VideoCodec,
        /// Encoders that would do.
        wanted: &'static str,
    },
    /// A named hardware encoder does not work here.
    #[error(
        "encoder \"{choice}\" was asked for, and a test encode with it failed on this machine: \
             run `tailwater doctor` for the reason, or use \"auto\""
    )]
    HardwareMissing {
        /// As configured.
        choice: &'static str,
    },
}

/// Plans the ladder for that source.
///
/// # Errors
/// A sentence why nothing can be made of source and configuration on this machine.
pub fn plan(source: &SourceInfo, config: &LadderConfig, caps: &Capabilities) -> Result<Plan, PlanError> {
    validate_rungs(&config.rungs, config.audio_bitrate, config.format)?;
    let audio = source.audio.as_ref().map(|audio| plan_audio(audio, config, caps)).transpose()?;
    let mut plan = Plan {
        format: config.format,
        low_latency: config.low_latency,
        renditions: Vec::new(),
        audio,
        frame_rate: None,
        key_rate: None,
        segment: config.segment,
        target_duration: u32::try_from(config.segment.as_secs()).unwrap_or(1).max(1),
        skip: Duration::ZERO,
        origin: ORIGIN,
        deinterlace: source.video.as_ref().is_some_and(|video| video.interlaced),
        decoder_threads: decoder_threads(source, config, caps),
        notes: Vec::new(),
    };
    if let Some(video) = &source.video {
        plan_video(&mut plan, video, config, caps)?;
    }
    match (&source.video, audio) {
        (None, None) => return Err(PlanError::NoTracks),
        (Some(_), Some(_)) if config.format == Format::Ts => {}
        (_, Some(audio)) => plan.renditions.push(audio_rendition(audio, config)),
        (Some(_), None) => {}
    }
    Ok(plan)
}

fn plan_audio(source: &AudioSource, config: &LadderConfig, caps: &Capabilities) -> Result<PlannedAudio, PlanError> {
    audible(&source.codec, caps)?;
    Ok(PlannedAudio {
        bitrate: config.audio_bitrate,
        // A resampler costs a frame of delay: only rates that players may not take are changed.
        sample_rate: if source.sample_rate == 44_100 { 44_100 } else { 48_000 },
        channels: source.channels.clamp(1, 2),
    })
}

fn audio_rendition(audio: PlannedAudio, config: &LadderConfig) -> PlannedRendition {
    let rate = Rational::new(audio.sample_rate, 1024);
    let wire = AudioRate { bitrate: audio.bitrate, sample_rate: audio.sample_rate };
    let (bandwidth_bound, average_bound) = bounds(config.format, config.segment, None, Some(wire));
    PlannedRendition {
        name: "audio".to_owned(),
        video: None,
        audio: true,
        part_frames: config.low_latency.then(|| part_frames(config.part_target, rate)),
        frame_duration: rate.frame_duration(),
        bandwidth_bound,
        average_bound,
    }
}

fn plan_video(
    plan: &mut Plan,
    video: &VideoSource,
    config: &LadderConfig,
    caps: &Capabilities,
) -> Result<(), PlanError> {
    if video.width < 2 || video.height < 2 {
        return Err(PlanError::NoPicture { width: video.width, height: video.height });
    }
    readable(&video.codec, caps)?;
    let source_rate = source_rate(plan, video, config);
    let rungs = fitting_rungs(plan, video, config);
    let copy_top = plan_copy(plan, video, &rungs, source_rate, config, caps);
    let divisors: Vec<u32> = rungs.iter().map(|rung| rate_divisor(rung, source_rate, config)).collect();
    // Nothing is decoded faster than the fastest rung needs it.
    let slowest = divisors.iter().copied().fold(1, lcm);
    plan.frame_rate = Some(source_rate);
    let key_rate = source_rate.divided(slowest);
    plan.key_rate = Some(key_rate);
    for (index, (rung, divisor)) in rungs.iter().zip(divisors).enumerate() {
        let frame_rate = source_rate.divided(divisor);
        let (size, rates, action) = if index == 0 && copy_top {
            ((video.width, video.height), copied_rates(video, rung), VideoAction::Copy)
        } else {
            let size = scaled(video, rung);
            let encoder = Encoder::choose(rung, (!copy_top).then_some(key_rate), config, caps)?;
            let settings = encode_settings(rung, encoder, size, frame_rate, config, caps);
            let rates = Rates { bitrate: settings.bitrate, maxrate: settings.maxrate, bufsize: settings.bufsize };
            (size, rates, VideoAction::Encode(settings))
        };
        let picture = PlannedVideo { width: size.0, height: size.1, frame_rate, rate_divisor: divisor, action };
        plan.renditions.push(video_rendition(plan, rung, picture, rates, copy_top, config));
    }
    Ok(())
}

/// What bounds the bit rate of a rendition's pictures: bit/s, bit/s, bits.
struct Rates {
    bitrate: u64,
    maxrate: u64,
    bufsize: u64,
}

/// The source's average over a few seconds says little of its peaks: half as much again is what segments of a second
/// reach where the rate control is not constant. What exceeds that is measured, and BANDWIDTH follows.
fn copied_rates(video: &VideoSource, rung: &Rung) -> Rates {
    let bitrate = video.bitrate.unwrap_or(rung.video_bitrate);
    Rates { bitrate: bitrate * 11 / 10, maxrate: bitrate * 3 / 2, bufsize: 0 }
}

fn video_rendition(
    plan: &Plan,
    rung: &Rung,
    picture: PlannedVideo,
    rates: Rates,
    copies: bool,
    config: &LadderConfig,
) -> PlannedRendition {
    let frame_rate = picture.frame_rate;
    let muxed = plan.audio.filter(|_| config.format == Format::Ts);
    let parts = config.low_latency.then(|| part_frames(config.part_target, frame_rate));
    let video = VideoRate {
        bitrate: rates.bitrate,
        maxrate: rates.maxrate,
        bufsize: rates.bufsize,
        frame_rate,
        fragment_frames: parts.filter(|_| !copies).unwrap_or(1),
        tables_at_frames: config.low_latency,
    };
    let audio = muxed.map(|audio| AudioRate { bitrate: audio.bitrate, sample_rate: audio.sample_rate });
    let (bandwidth_bound, average_bound) = bounds(config.format, config.segment, Some(video), audio);
    PlannedRendition {
        name: rung.name.clone(),
        video: Some(picture),
        audio: muxed.is_some(),
        part_frames: parts,
        frame_duration: frame_rate.frame_duration(),
        bandwidth_bound,
        average_bound,
    }
}

/// Codecs of the FLV of 2010 that FFmpeg reads beside H.264, by the names the probe gives them.
const OLD_CODECS: [&str; 3] = ["Sorenson H.263", "Screen Video", "VP6"];

/// Whether FFmpeg reads the source's pictures.
fn readable(codec: &VideoCodec, caps: &Capabilities) -> Result<(), PlanError> {
    match codec {
        VideoCodec::H264 => Ok(()),
        VideoCodec::Other(name) if OLD_CODECS.contains(&name.as_str()) => Ok(()),
        VideoCodec::Other(name) if name != "VP9" => Err(PlanError::SourceUnreadable { codec: codec.clone() }),
        _ if caps.flv_fourcc => Ok(()),
        _ => Err(PlanError::SourceNeedsNewerFfmpeg { codec: codec.clone(), version: caps.version.to_string() }),
    }
}

/// Sounds of the FLV of 2010 that FFmpeg decodes beside AAC and MP3, and those of Enhanced RTMP, by the names the probe gives them.
const OLD_SOUNDS: [&str; 5] = ["PCM", "ADPCM", "Nellymoser", "G.711", "Speex"];
const ENHANCED_SOUNDS: [&str; 3] = ["FLAC", "AC-3", "E-AC-3"];

/// Whether FFmpeg reads the source's sound.
fn audible(codec: &AudioCodec, caps: &Capabilities) -> Result<(), PlanError> {
    match codec {
        AudioCodec::Aac | AudioCodec::Mp3 => Ok(()),
        AudioCodec::Other(name) if OLD_SOUNDS.contains(&name.as_str()) => Ok(()),
        AudioCodec::Other(name) if !ENHANCED_SOUNDS.contains(&name.as_str()) => {
            Err(PlanError::SoundUnreadable { codec: codec.clone() })
        }
        _ if caps.version.at_least(8, 0) => Ok(()),
        _ => Err(PlanError::SoundNeedsNewerFfmpeg { codec: codec.clone(), version: caps.version.to_string() }),
    }
}

/// The constant rate everything starts from.
fn source_rate(plan: &mut Plan, video: &VideoSource, config: &LadderConfig) -> Rational {
    let probed = video.frame_rate.and_then(Rational::snap).unwrap_or(Rational::new(30, 1));
    // Interlaced sources come at one frame for two fields, or are announced by fields: above 30 they are the latter.
    let probed = if video.interlaced && probed.as_f64() > 31.0 { probed.divided(2) } else { probed };
    // What nobody announced may be anything: on an even grid of a rate that every player and every part likes.
    let rate = if config.low_latency { nearest_filling_rate(config.part_target, probed) } else { probed };
    if rate != probed {
        plan.notes.push(format!(
            "the source's {:.2} frames a second do not fill parts of {:.4} s: encoded at {rate}",
            probed.as_f64(),
            config.part_target.as_secs_f64()
        ));
    }
    rate
}

/// The rungs the source is large enough for, or the source itself when it is smaller than all of them.
fn fitting_rungs(plan: &mut Plan, video: &VideoSource, config: &LadderConfig) -> Vec<Rung> {
    let side = video.short_side();
    let (fitting, too_large): (Vec<Rung>, Vec<Rung>) =
        config.rungs.iter().cloned().partition(|rung| reaches(video, rung.height));
    for rung in &too_large {
        plan.notes.push(format!("{} left out: the source is {}x{}", rung.name, video.width, video.height));
    }
    if !fitting.is_empty() {
        return fitting;
    }
    let lowest = &too_large[too_large.len() - 1];
    let name = format!("{side}p");
    vec![Rung { name, height: side, width: None, video_bitrate: small_bitrate(video, lowest), ..lowest.clone() }]
}

/// A rung the source nearly reaches (a 1072-line picture, 1920x800 film) is the source at its own size rather than one
/// rung down.
fn reaches(video: &VideoSource, height: u32) -> bool {
    let long_side = video.width.max(video.height);
    video.short_side() * 10 >= height * 9 || (long_side * 9 >= height * 16 && video.short_side() * 10 >= height * 7)
}

/// Bits do not fall as fast as pixels: the power of 0.75 is what published ladders follow.
fn small_bitrate(video: &VideoSource, lowest: &Rung) -> u64 {
    let pixels = f64::from(video.width) * f64::from(video.height);
    let rung_pixels = f64::from(lowest.height) * f64::from(lowest.height) * 16.0 / 9.0;
    let bitrate = lowest.video_bitrate as f64 * (pixels / rung_pixels).powf(0.75);
    let rounded = (bitrate / 10_000.0).round() as u64 * 10_000;
    rounded.clamp(100_000.min(lowest.video_bitrate), lowest.video_bitrate)
}

/// The size of a rung: the source's aspect, its short side the rung's height, its long side at most the rung's width,
/// never larger than the source, even.
fn scaled(video: &VideoSource, rung: &Rung) -> (u32, u32) {
    let (short, long) = (f64::from(video.short_side()), f64::from(video.width.max(video.height)));
    let mut scale = (f64::from(rung.height) / short).min(1.0);
    if let Some(width) = rung.width {
        scale = scale.min(f64::from(width) / long);
    }
    let even = |side: u32| (((f64::from(side) * scale) / 2.0).round() as u32 * 2).clamp(2, (side & !1).max(2));
    (even(video.width), even(video.height))
}

/// By how much the rung's cap divides the source's rate; 29.97 is within a cap of 29.97 or 30.
fn rate_divisor(rung: &Rung, rate: Rational, config: &LadderConfig) -> u32 {
    let Some(cap) = rung.max_frame_rate else { return 1 };
    let within = |divisor: &u32| rate.as_f64() / f64::from(*divisor) <= cap * 1.001;
    let Some(smallest) = (1..=240).find(within) else { return 1 };
    if !config.low_latency {
        return smallest;
    }
    // The next slower rate that fills parts, where there is one that still moves.
    (smallest..=smallest + 3)
        .find(|divisor| part_rule_holds(config.part_target, rate.divided(*divisor)))
        .filter(|divisor| rate.as_f64() / f64::from(*divisor) >= 10.0)
        .unwrap_or(smallest)
}

fn lcm(a: u32, b: u32) -> u32 {
    let divisor = super::rate::gcd(u64::from(a), u64::from(b));
    a / u32::try_from(divisor).unwrap_or(1) * b
}

/// Whether the source's own bits are the top rung; then its key frames say how long segments are.
fn plan_copy(
    plan: &mut Plan,
    video: &VideoSource,
    rungs: &[Rung],
    rate: Rational,
    config: &LadderConfig,
    caps: &Capabilities,
) -> bool {
    match judge(video, Terms { rungs, rate, audio: plan.audio.is_some(), config, caps }) {
        Judgement::Copied { segment, target } => {
            (plan.segment, plan.target_duration) = (segment, target);
            true
        }
        Judgement::Encoded => false,
        Judgement::Refused(why) => {
            plan.notes.push(format!("the source is not copied: {why}"));
            false
        }
    }
}

/// Frame threads in the decoder delay every picture by one frame each: none in low latency, where a picture that one
/// core decodes in time is the rule, unless it is larger than that.
fn decoder_threads(source: &SourceInfo, config: &LadderConfig, caps: &Capabilities) -> u32 {
    let Some(video) = &source.video else { return 1 };
    let pixels_a_second =
        u64::from(video.width) * u64::from(video.height) * video.frame_rate.unwrap_or(30.0).clamp(1.0, 120.0) as u64;
    let one_core = 1920 * 1088 * 61;
    let cores = u32::try_from(caps.cores).unwrap_or(1);
    match (config.low_latency, pixels_a_second <= one_core) {
        (true, true) => 1,
        (true, false) => cores.clamp(1, 3),
        (false, _) => cores.clamp(1, 4),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
