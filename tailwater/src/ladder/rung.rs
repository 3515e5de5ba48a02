//! What the user asked for: the rungs of a ladder and the settings they share, checked before anything starts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::source::VideoCodec;

/// Bit rate of the one audio track, bit/s, when nothing else is said.
pub const DEFAULT_AUDIO_BITRATE: u64 = 128_000;
/// Part target duration of every media playlist: ten AAC frames at 48 kHz last 213.33 ms.
pub const DEFAULT_PART_TARGET: Duration = Duration::from_micros(213_400);
/// A preset of this name is chosen by what the machine holds.
pub const AUTO_PRESET: &str = "auto";
/// Segments start at each multiple of this, in media time.
pub const DEFAULT_SEGMENT: Duration = Duration::from_secs(1);
/// Key frames of a source further apart than this make no segments: it is encoded, whatever was asked for.
pub const LONGEST_COPIED_SEGMENT: Duration = Duration::from_secs(10);

/// More rungs than this are a mistake, not a ladder.
const MAX_RUNGS: usize = 8;
/// Shortest side an H.264 encoder and every player take.
const MIN_SIDE: u32 = 64;
/// 8K: the largest picture of H.264 level 6.2.
const MAX_SIDE: u32 = 8192;
const VIDEO_BITRATE: std::ops::RangeInclusive<u64> = 50_000..=100_000_000;
/// What FFmpeg's AAC encoder makes use of in stereo.
const AUDIO_BITRATE: std::ops::RangeInclusive<u64> = 16_000..=512_000;

/// One step of the ladder: what to make of the source, if the source is large enough for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rung {
    /// The rendition's name in keys and URIs: `[a-z0-9]{1,16}`, not `audio`.
    pub name: String,
    /// The picture's short side in pixels: its height, or the width of a portrait picture.
    pub height: u32,
    /// The long side may not exceed this many pixels. Without it the source's aspect decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Average video bit rate, bit/s.
    #[serde(alias = "video_bitrate")]
    pub video_bitrate: u64,
    /// Frames a second at most; a faster source is halved (60 to 30, 50 to 25) until it fits.
    #[serde(default, alias = "max_frame_rate", skip_serializing_if = "Option::is_none")]
    pub max_frame_rate: Option<f64>,
    /// `h264`, or in CMAF `hevc` or `av1`.
    #[serde(default)]
    pub codec: VideoCodec,
    /// The encoder's preset (`veryfast`, `fast`, ...; a number for `av1`), or `auto` for the slowest that this machine
    /// holds (H.264). Without it the tuned settings of `docs/ENCODING.md`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
}

impl Rung {
    /// A rung of that name, height and video bit rate (bit/s), everything else by default.
    pub fn new(name: &str, height: u32, video_bitrate: u64) -> Self {
        Self {
            name: name.to_owned(),
            height,
            width: None,
            video_bitrate,
            max_frame_rate: None,
            codec: VideoCodec::H264,
            preset: None,
        }
    }
}

/// 1080p, 720p and 480p at 5, 3 and 1.5 Mbit/s.
pub fn default_rungs() -> Vec<Rung> {
    vec![Rung::new("1080p", 1080, 5_000_000), Rung::new("720p", 720, 3_000_000), Rung::new("480p", 480, 1_500_000)]
}

/// The container of segments and parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// MPEG-TS, audio and video muxed.
    #[default]
    Ts,
    /// CMAF: fragmented MP4, audio in a rendition of its own.
    Cmaf,
}

/// Which encoder makes the H.264 rungs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EncoderChoice {
    /// The first hardware encoder that passed a real test encode; x264 where there is none.
    #[default]
    Auto,
    /// libx264, on the CPU.
    X264,
    /// NVIDIA.
    Nvenc,
    /// Intel Quick Sync.
    Qsv,
    /// VA-API (Linux: Intel, AMD).
    Vaapi,
    /// VideoToolbox (macOS).
    Videotoolbox,
}

/// Whether the source itself is the top rung, copied instead of encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Passthrough {
    /// When its codec, size, constant rate, bit rate and key frames (one a second, for five seconds) allow it. It
    /// begins encoded, so that nobody waits for the judgement.
    Auto,
    /// Never: every rung is encoded.
    #[default]
    Never,
    /// Whatever its size, bit rate and B-frames, with key frames up to ten seconds apart; the target duration then
    /// follows them, and a livestream begins with its second key frame.
    Always,
}

/// Everything a plan depends on besides the source and the machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LadderConfig {
    /// Highest first; see [`validate_rungs`].
    pub rungs: Vec<Rung>,
    /// Bit rate of the one audio track, bit/s.
    pub audio_bitrate: u64,
    /// The container.
    pub format: Format,
    /// Encode without lookahead and B-frames, in a constant frame rate whose frames fill parts.
    pub low_latency: bool,
    /// The part target duration of every media playlist.
    pub part_target: Duration,
    /// The segment duration: key frames are forced at its multiples.
    pub segment: Duration,
    /// Which encoder makes the H.264 rungs.
    pub encoder: EncoderChoice,
    /// Whether the source may be copied as the top rung.
    pub passthrough: Passthrough,
    /// x264 preset of all rungs that name none themselves, or `auto`; `None` is the tuned setting.
    pub preset: Option<String>,
}

impl LadderConfig {
    /// The longest that a segment's target duration may become.
    pub fn longest_target(&self) -> Duration {
        match self.passthrough {
            Passthrough::Always => LONGEST_COPIED_SEGMENT.max(self.segment),
            Passthrough::Auto | Passthrough::Never => self.segment,
        }
    }
}

impl Default for LadderConfig {
    fn default() -> Self {
        Self {
            rungs: default_rungs(),
            audio_bitrate: DEFAULT_AUDIO_BITRATE,
            format: Format::Ts,
            low_latency: true,
            part_target: DEFAULT_PART_TARGET,
            segment: DEFAULT_SEGMENT,
            encoder: EncoderChoice::Auto,
            passthrough: Passthrough::Never,
            preset: None,
        }
    }
}

/// Why a ladder cannot be accepted; each is a sentence for the user.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RungError {
    /// No rung at all.
    #[error("the ladder is empty: give at least one rung, or leave it out for 1080p, 720p and 480p")]
    Empty,
    /// More than a ladder can use.
    #[error("the ladder has {count} rungs: {MAX_RUNGS} at most")]
    TooMany {
        /// Rungs given.
        count: usize,
    },
    /// Not usable in keys and URIs.
    #[error("rung name {name:?} is not allowed: use 1 to 16 of the characters a-z and 0-9")]
    Name {
        /// The name as given.
        name: String,
    },
    /// `audio` is the audio rendition.
    #[error("rung name \"audio\" is taken by the audio rendition: choose another")]
    ReservedName,
    /// Two rungs of one name.
    #[error("two rungs are named {name:?}: names must differ")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// Not a picture.
    #[error("rung {name:?}: {what} {value} is not possible: {MIN_SIDE} to {MAX_SIDE} pixels")]
    Size {
        /// The rung.
        name: String,
        /// `height` or `width`.
        what: &'static str,
        /// As given.
        value: u32,
    },
    /// The long side is the shorter one.
    #[error("rung {name:?}: width {width} is less than height {height}: height is the short side, width the long one")]
    WidthBelowHeight {
        /// The rung.
        name: String,
        /// As given.
        width: u32,
        /// As given.
        height: u32,
    },
    /// Not a bit rate anyone means.
    #[error("rung {name:?}: videoBitrate {value} is not possible: 50000 to 100000000 bit/s")]
    VideoBitrate {
        /// The rung.
        name: String,
        /// As given, bit/s.
        value: u64,
    },
    /// Not an AAC bit rate.
    #[error("audioBitrate {value} is not possible: 16000 to 512000 bit/s")]
    AudioBitrate {
        /// As given, bit/s.
        value: u64,
    },
    /// Not a frame rate.
    #[error("rung {name:?}: maxFrameRate {value} is not possible: 1 to 240")]
    FrameRate {
        /// The rung.
        name: String,
        /// As given, frames a second.
        value: f64,
    },
    /// Lower rung before a higher one.
    #[error("rung {name:?} is larger than {before:?} before it: list the highest first")]
    Order {
        /// The rung out of place.
        name: String,
        /// The one before it.
        before: String,
    },
    /// HEVC and AV1 have no place in our MPEG-TS: players take them in fragmented MP4 only.
    #[error("rung {name:?}: {codec} needs format \"cmaf\": players take it in fragmented MP4 only")]
    CodecNeedsCmaf {
        /// The rung.
        name: String,
        /// The codec asked for.
        codec: VideoCodec,
    },
    /// No such preset.
    #[error("rung {name:?}: preset {preset:?} is not known: {known}")]
    Preset {
        /// The rung.
        name: String,
        /// As given.
        preset: String,
        /// What would do.
        known: &'static str,
    },
}

/// Checks what can be judged of a ladder without source and machine.
///
/// # Errors
/// The first fault found, in the order of the rungs.
pub fn validate_rungs(rungs: &[Rung], audio_bitrate: u64, format: Format) -> Result<(), RungError> {
    if rungs.is_empty() {
        return Err(RungError::Empty);
    }
    if rungs.len() > MAX_RUNGS {
        return Err(RungError::TooMany { count: rungs.len() });
    }
    if !AUDIO_BITRATE.contains(&audio_bitrate) {
        return Err(RungError::AudioBitrate { value: audio_bitrate });
    }
    for (index, rung) in rungs.iter().enumerate() {
        validate_name(rung, &rungs[..index])?;
        validate_numbers(rung)?;
        validate_codec(rung, format)?;
        if let Some(before) = index.checked_sub(1).map(|index| &rungs[index])
            && (rung.height, rung.video_bitrate) > (before.height, before.video_bitrate)
        {
            return Err(RungError::Order { name: rung.name.clone(), before: before.name.clone() });
        }
    }
    Ok(())
}

fn validate_name(rung: &Rung, before: &[Rung]) -> Result<(), RungError> {
    let name = rung.name.clone();
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if name.is_empty() || name.len() > 16 || !name.bytes().all(allowed) {
        return Err(RungError::Name { name });
    }
    if name == "audio" {
        return Err(RungError::ReservedName);
    }
    if before.iter().any(|other| other.name == name) {
        return Err(RungError::DuplicateName { name });
    }
    Ok(())
}

fn validate_numbers(rung: &Rung) -> Result<(), RungError> {
    let name = || rung.name.clone();
    let side = MIN_SIDE..=MAX_SIDE;
    if !side.contains(&rung.height) {
        return Err(RungError::Size { name: name(), what: "height", value: rung.height });
    }
    if let Some(width) = rung.width {
        if !side.contains(&width) {
            return Err(RungError::Size { name: name(), what: "width", value: width });
        }
        if width < rung.height {
            return Err(RungError::WidthBelowHeight { name: name(), width, height: rung.height });
        }
    }
    if !VIDEO_BITRATE.contains(&rung.video_bitrate) {
        return Err(RungError::VideoBitrate { name: name(), value: rung.video_bitrate });
    }
    // NaN is in no range.
    if let Some(value) = rung.max_frame_rate
        && !(1.0..=240.0).contains(&value)
    {
        return Err(RungError::FrameRate { name: name(), value });
    }
    Ok(())
}

fn validate_codec(rung: &Rung, format: Format) -> Result<(), RungError> {
    if rung.codec != VideoCodec::H264 && format == Format::Ts {
        return Err(RungError::CodecNeedsCmaf { name: rung.name.clone(), codec: rung.codec.clone() });
    }
    match &rung.preset {
        Some(preset) => validate_preset(preset, &rung.codec).map_err(|known| RungError::Preset {
            name: rung.name.clone(),
            preset: preset.clone(),
            known,
        }),
        None => Ok(()),
    }
}

/// Whether the codec's encoder knows the preset; if not, what it knows.
///
/// # Errors
/// The presets that would do, as text for the user.
pub fn validate_preset(preset: &str, codec: &VideoCodec) -> Result<(), &'static str> {
    let is_one = preset_rank(preset).is_some();
    let (known, ok) = match codec {
        VideoCodec::Av1 => {
            ("a number from 4 to 13", preset.parse::<u8>().is_ok_and(|number| (4..=13).contains(&number)))
        }
        VideoCodec::H264 => (
            "ultrafast, superfast, veryfast, faster, fast, medium, slow, slower, veryslow or auto",
            is_one || preset == AUTO_PRESET,
        ),
        _ => ("ultrafast, superfast, veryfast, faster, fast, medium, slow, slower or veryslow", is_one),
    };
    if ok { Ok(()) } else { Err(known) }
}

/// The presets of x264 and x265, fastest first.
pub const PRESETS: [&str; 9] =
    ["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"];

/// A preset's place in [`PRESETS`].
pub fn preset_rank(preset: &str) -> Option<usize> {
    PRESETS.iter().position(|known| *known == preset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rungs: &[Rung]) -> Result<(), RungError> {
        validate_rungs(rungs, DEFAULT_AUDIO_BITRATE, Format::Ts)
    }

    #[test]
    fn the_default_ladder_is_valid() {
        assert_eq!(check(&default_rungs()), Ok(()));
    }

    #[test]
    fn names_are_short_lower_case_unique_and_not_audio() {
        for name in ["", "1080P", "a-b", "a_b", "seventeen12345678", "é"] {
            assert_eq!(check(&[Rung::new(name, 480, 1_000_000)]), Err(RungError::Name { name: name.into() }));
        }
        assert_eq!(check(&[Rung::new("audio", 480, 1_000_000)]), Err(RungError::ReservedName));
        let twice = [Rung::new("a", 720, 2_000_000), Rung::new("a", 480, 1_000_000)];
        assert_eq!(check(&twice), Err(RungError::DuplicateName { name: "a".into() }));
    }

    #[test]
    fn the_highest_rung_comes_first_and_equal_heights_fall_in_bit_rate() {
        let rising = [Rung::new("a", 480, 1_000_000), Rung::new("b", 720, 2_000_000)];
        assert_eq!(check(&rising), Err(RungError::Order { name: "b".into(), before: "a".into() }));
        let falling = [Rung::new("a", 720, 2_000_000), Rung::new("b", 720, 1_000_000)];
        assert_eq!(check(&falling), Ok(()));
    }

    #[test]
    fn numbers_nobody_means_are_refused() {
        assert!(matches!(check(&[Rung::new("a", 0, 1_000_000)]), Err(RungError::Size { what: "height", .. })));
        assert!(matches!(check(&[Rung::new("a", 480, 5_000)]), Err(RungError::VideoBitrate { .. })));
        let with = |change: fn(&mut Rung)| {
            let mut rung = Rung::new("a", 480, 1_000_000);
            change(&mut rung);
            check(&[rung])
        };
        assert!(matches!(with(|rung| rung.width = Some(100_000)), Err(RungError::Size { what: "width", .. })));
        assert!(matches!(with(|rung| rung.width = Some(270)), Err(RungError::WidthBelowHeight { .. })));
        assert!(matches!(with(|rung| rung.max_frame_rate = Some(f64::NAN)), Err(RungError::FrameRate { .. })));
        assert!(matches!(with(|rung| rung.preset = Some("placebo".into())), Err(RungError::Preset { .. })));
        assert!(matches!(validate_rungs(&default_rungs(), 1, Format::Ts), Err(RungError::AudioBitrate { value: 1 })));
        assert_eq!(check(&[]), Err(RungError::Empty));
        assert_eq!(check(&vec![Rung::new("a", 480, 1_000_000); 9]), Err(RungError::TooMany { count: 9 }));
    }

    #[test]
    fn hevc_and_av1_need_cmaf() {
        let rung = Rung { codec: VideoCodec::Hevc, ..Rung::new("a", 480, 1_000_000) };
        let error = check(std::slice::from_ref(&rung)).unwrap_err();
        assert_eq!(error.to_string(), "rung \"a\": HEVC needs format \"cmaf\": players take it in fragmented MP4 only");
        assert_eq!(validate_rungs(&[rung], DEFAULT_AUDIO_BITRATE, Format::Cmaf), Ok(()));
    }

    #[test]
    fn json_is_camel_case_and_toml_snake_case_and_unknown_fields_are_errors() {
        let json = r#"{"name": "720p", "height": 720, "videoBitrate": 3000000, "maxFrameRate": 30, "codec": "h264"}"#;
        let rung = Rung { max_frame_rate: Some(30.0), ..Rung::new("720p", 720, 3_000_000) };
        assert_eq!(serde_json::from_str::<Rung>(json).unwrap(), rung);
        let text = "name = \"720p\"\nheight = 720\nvideo_bitrate = 3000000\nmax_frame_rate = 30.0\n";
        assert_eq!(toml::from_str::<Rung>(text).unwrap(), rung);
        assert!(serde_json::from_str::<Rung>(r#"{"name": "a", "height": 1, "videoBitrate": 1, "fps": 3}"#).is_err());
        assert!(
            serde_json::from_str::<Rung>(r#"{"name": "a", "height": 1, "videoBitrate": 1, "codec": "vp6"}"#).is_err()
        );
    }
}
