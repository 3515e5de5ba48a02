//! What a plan takes, in cores: a model of the work FFmpeg does, in figures that were measured.
//!
//! The figures are CPU time a pixel on one machine (`docs/ENCODING.md` says which, and how); another is so many times slower or faster,
//! which [`calibrate`](super::calibrate) finds out. They are for a picture with movement and noise: quieter ones take less.

use crate::ladder::rung::{PRESETS, preset_rank};
use crate::ladder::{EncodeSettings, Encoder, Plan, PlannedVideo, SourceInfo, VideoAction};

/// Nanoseconds of one core for each pixel that is decoded.
const DECODE: f64 = 1.3;
/// For each pixel that is scaled from.
const SCALE: f64 = 1.1;
/// For each pixel that goes through the frame grid and the pixel format on its way.
const PASS: f64 = 0.3;
/// For each pixel that is deinterlaced.
const DEINTERLACE: f64 = 4.0;
/// Pictures of more pixels have tuned settings of their own.
const SMALL: u32 = 600_000;
/// Cores that one AAC encoder takes.
const AUDIO: f64 = 0.02;

/// Nanoseconds of one core for each pixel that x264 encodes.
struct X264 {
    /// In low latency: large and small pictures.
    low_latency: [f64; 2],
    standard: [f64; 2],
}

const TUNED: X264 = X264 { low_latency: [7.2, 12.5], standard: [12.0, 20.0] };
/// In the order of [`PRESETS`].
const BY_PRESET: [X264; PRESETS.len()] = [
    X264 { low_latency: [3.5, 3.5], standard: [5.5, 6.0] },
    X264 { low_latency: [6.8, 8.3], standard: [9.5, 8.5] },
    X264 { low_latency: [12.8, 15.8], standard: [13.5, 15.5] },
    X264 { low_latency: [20.7, 23.9], standard: [22.7, 28.0] },
    X264 { low_latency: [27.6, 32.9], standard: [31.5, 32.0] },
    X264 { low_latency: [33.1, 41.8], standard: [36.8, 38.0] },
    X264 { low_latency: [53.0, 66.8], standard: [77.0, 79.2] },
    X264 { low_latency: [67.0, 84.7], standard: [124.0, 128.5] },
    X264 { low_latency: [127.0, 160.3], standard: [205.0, 212.0] },
];
/// x265, ultrafast: low latency, standard. Its other presets are taken to be as far apart as those of x264.
const X265_ULTRAFAST: [f64; 2] = [33.4, 39.7];
/// SVT-AV1 at preset 10; a preset takes 1.6 times what the next one does.
const SVT_10: [f64; 2] = [52.0, 76.5];
const SVT_STEP: f64 = 1.6;
const AOM: f64 = 46.7;
/// What the CPU does for an encoder in hardware: hand the picture over.
const HARDWARE: f64 = 0.5;

/// Cores that a plan takes on the machine of the figures.
pub fn cores(plan: &Plan, source: &SourceInfo) -> f64 {
    pictures(plan, source) + plan.audio.map_or(0.0, |_| AUDIO)
}

/// Cores that encoding one rung takes there, decoding and scaling apart.
pub fn encoding(video: &PlannedVideo, settings: &EncodeSettings, low_latency: bool) -> f64 {
    pixels_a_second(video) * nanoseconds_a_pixel(video, settings, low_latency) / 1e9
}

fn pictures(plan: &Plan, source: &SourceInfo) -> f64 {
    let rate = plan.frame_rate.map_or(0.0, |rate| rate.as_f64());
    let size = source.video.as_ref().map_or((0, 0), |video| (video.width, video.height));
    let decoded = f64::from(size.0) * f64::from(size.1) * rate;
    let mut above = (size, decoded);
    let (mut work, mut any) = (0.0, false);
    for video in plan.renditions.iter().filter_map(|rendition| rendition.video.as_ref()) {
        let VideoAction::Encode(settings) = &video.action else { continue };
        let size = (video.width, video.height);
        // Each rung is made of the one above it.
        work += above.1 * if size == above.0 { 0.0 } else { SCALE } / 1e9;
        work += encoding(video, settings, plan.low_latency);
        above = (size, pixels_a_second(video));
        any = true;
    }
    if any {
        work += decoded * (DECODE + PASS + if plan.deinterlace { DEINTERLACE } else { 0.0 }) / 1e9;
    }
    work
}

fn pixels_a_second(video: &PlannedVideo) -> f64 {
    f64::from(video.width) * f64::from(video.height) * video.frame_rate.as_f64()
}

fn nanoseconds_a_pixel(video: &PlannedVideo, settings: &EncodeSettings, low_latency: bool) -> f64 {
    let latency = usize::from(!low_latency);
    let x264 = |row: &X264| {
        let row = if low_latency { row.low_latency } else { row.standard };
        row[usize::from(video.width * video.height <= SMALL)]
    };
    let named = || preset_rank(&settings.preset).map_or(&TUNED, |rank| &BY_PRESET[rank]);
    match settings.encoder {
        Encoder::X264 if !settings.tuning.is_empty() => x264(&TUNED),
        Encoder::X264 => x264(named()),
        Encoder::X265 => X265_ULTRAFAST[latency] * x264(named()) / x264(&BY_PRESET[0]),
        Encoder::SvtAv1 => {
            let preset = settings.preset.parse().unwrap_or(10);
            SVT_10[latency] * SVT_STEP.powi(10 - preset)
        }
        Encoder::Aom => AOM,
        Encoder::Hardware(_) => HARDWARE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::{AudioSource, LadderConfig, VideoSource, plan, shed, steps};
    use crate::transcode::Capabilities;

    fn full_hd() -> SourceInfo {
        SourceInfo { video: Some(VideoSource::h264(1920, 1080, 30.0)), audio: Some(AudioSource::aac()) }
    }

    fn planned(config: &LadderConfig) -> Plan {
        plan(&full_hd(), config, &Capabilities::typical(4)).unwrap()
    }

    #[test]
    fn each_level_of_shedding_takes_less() {
        for preset in [None, Some("veryslow".to_owned())] {
            let plan = planned(&LadderConfig { preset, ..LadderConfig::default() });
            let steps = steps(&plan);
            let costs: Vec<f64> =
                (0..=steps.len()).map(|level| cores(&shed(&plan, &steps[..level]), &full_hd())).collect();
            assert!(costs.windows(2).all(|pair| pair[1] < pair[0] * 0.9), "{costs:?}");
        }
    }

    #[test]
    fn slower_presets_standard_latency_and_higher_rates_take_more() {
        let of = |config: LadderConfig| cores(&planned(&config), &full_hd());
        let presets: Vec<f64> = PRESETS
            .iter()
            .map(|preset| of(LadderConfig { preset: Some((*preset).to_owned()), ..LadderConfig::default() }))
            .collect();
        assert!(presets.is_sorted(), "{presets:?}");
        let tuned = of(LadderConfig::default());
        assert!(presets[1] < tuned && tuned < presets[2], "between superfast and veryfast: {tuned}, {presets:?}");
        assert!(of(LadderConfig { low_latency: false, ..LadderConfig::default() }) > tuned);
        let fast = SourceInfo { video: Some(VideoSource::h264(1920, 1080, 60.0)), audio: None };
        let plan = plan(&fast, &LadderConfig::default(), &Capabilities::typical(4)).unwrap();
        assert!(cores(&plan, &fast) > tuned * 1.8);
    }

    #[test]
    fn a_copied_rung_and_sound_are_nearly_free() {
        let mut plan = planned(&LadderConfig::default());
        plan.renditions.truncate(1);
        plan.renditions[0].video.as_mut().unwrap().action = VideoAction::Copy;
        assert!(cores(&plan, &full_hd()) < 0.05);
    }
}
