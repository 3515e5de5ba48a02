//! What a ladder leaves out on a machine that does not keep up: a pure function of plan and level.
//!
//! Level 0 is the plan. Each level takes one thing more away, in this order:
//!
//! 1. encoders whose preset is slower than the tuned settings get the tuned settings;
//! 2. every encoder gets its fastest preset: the picture gets coarser, and nobody's playlist changes;
//! 3. rungs are left out, one by one, the one of least value first, until one is left.
//!
//! The value of a rung is what its viewers lose when they get the next rung below: the ratio of the two bit rates. Of rungs
//! that are worth the same the larger picture goes, because it frees more. The lowest rung has nothing below it: without
//! it slow lines stall. It stays to the last, or next to the last where the source itself is the top rung: a copy
//! costs nothing, and goes on when nothing can be encoded any more.

use std::fmt;

use super::plan::{Plan, PlannedVideo, VideoAction};
use super::rung::preset_rank;
use super::settings::{EncodeSettings, Encoder, default_preset, x264_tuning};

/// The preset that the tuned settings of x264 are based on.
const TUNED_BASE: &str = "superfast";
/// SVT-AV1's presets go further, but nothing there is still worth its bits.
const FASTEST_SVT: &str = "12";

/// One thing that is done without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Slow presets become the tuned settings.
    TunedPresets,
    /// All presets become the fastest.
    FastestPresets,
    /// A rung is left out.
    Without(String),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TunedPresets => f.write_str("faster presets"),
            Self::FastestPresets => f.write_str("the fastest presets"),
            Self::Without(rung) => write!(f, "without {rung}"),
        }
    }
}

/// All that a plan can do without, in the order in which it is.
pub fn steps(plan: &Plan) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut left = plan.clone();
    for presets in [Step::TunedPresets, Step::FastestPresets] {
        let faster = shed(&left, std::slice::from_ref(&presets));
        if faster != left {
            steps.push(presets);
            left = faster;
        }
    }
    while let Some(rung) = least_value(&left) {
        steps.push(Step::Without(rung));
        left = shed(&left, &steps[steps.len() - 1..]);
    }
    steps
}

/// The plan without what `steps` name.
pub fn shed(plan: &Plan, steps: &[Step]) -> Plan {
    let mut plan = plan.clone();
    for step in steps {
        match step {
            Step::TunedPresets => each_encoder(&mut plan, tuned),
            Step::FastestPresets => each_encoder(&mut plan, fastest),
            Step::Without(rung) => plan.renditions.retain(|rendition| rendition.name != *rung),
        }
    }
    plan
}

fn each_encoder(plan: &mut Plan, change: fn(&mut EncodeSettings, (u32, u32), bool)) {
    let low_latency = plan.low_latency;
    for video in plan.renditions.iter_mut().filter_map(|rendition| rendition.video.as_mut()) {
        let size = (video.width, video.height);
        if let VideoAction::Encode(settings) = &mut video.action {
            change(settings, size, low_latency);
        }
    }
}

fn tuned(settings: &mut EncodeSettings, size: (u32, u32), low_latency: bool) {
    let slower = preset_rank(&settings.preset) > preset_rank(TUNED_BASE);
    if settings.encoder == Encoder::X264 && slower {
        settings.preset = TUNED_BASE.to_owned();
        settings.tuning = x264_tuning(size, low_latency);
    } else if settings.encoder == Encoder::X265 && slower {
        settings.preset = default_preset(Encoder::X265, low_latency).to_owned();
    }
}

fn fastest(settings: &mut EncodeSettings, _: (u32, u32), _: bool) {
    match settings.encoder {
        Encoder::X264 | Encoder::X265 => {
            settings.preset = "ultrafast".to_owned();
            settings.tuning.clear();
        }
        Encoder::SvtAv1 => {
            let faster = settings.preset.parse::<u32>().is_ok_and(|preset| preset < 12);
            if faster {
                settings.preset = FASTEST_SVT.to_owned();
            }
        }
        // libaom has nothing faster, and hardware is not what the CPU lacks.
        Encoder::Aom | Encoder::Hardware(_) => {}
    }
}

/// The rung to be left out next; none when that would leave none.
fn least_value(plan: &Plan) -> Option<String> {
    let rungs: Vec<(&str, &PlannedVideo)> = plan
        .renditions
        .iter()
        .filter_map(|rendition| Some((rendition.name.as_str(), rendition.video.as_ref()?)))
        .collect();
    if rungs.len() < 2 {
        return None;
    }
    // A copied rung has no bit rate of its own here, and is the highest: never the one below.
    let bitrate = |video: &PlannedVideo| match &video.action {
        VideoAction::Encode(settings) => Some(settings.bitrate as f64),
        VideoAction::Copy => None,
    };
    let worth = |pair: &[(&str, &PlannedVideo)]| Some(bitrate(pair[0].1)? / bitrate(pair[1].1)?);
    let least = rungs
        .windows(2)
        .filter_map(|pair| Some((pair[0].0, worth(pair)?)))
        // Of equals the first, which is the larger.
        .min_by(|(_, a), (_, b)| a.total_cmp(b))
        .map(|(name, _)| name);
    let lowest = rungs.last().filter(|(_, video)| bitrate(video).is_some()).map(|(name, _)| *name);
    least.or(lowest).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::{Format, LadderConfig, Rung, SourceInfo, VideoCodec, VideoSource, plan};
    use crate::transcode::Capabilities;

    fn planned(source: &SourceInfo, config: &LadderConfig) -> Plan {
        plan(source, config, &Capabilities::typical(4)).unwrap()
    }

    fn full_hd() -> SourceInfo {
        SourceInfo { video: Some(VideoSource::h264(1920, 1080, 30.0)), audio: None }
    }

    /// A line a level: what is given up there, and what is left.
    fn levels(plan: &Plan) -> String {
        let steps = steps(plan);
        let mut text = String::new();
        for level in 0..=steps.len() {
            let left = shed(plan, &steps[..level]);
            let how = level.checked_sub(1).map_or("all of it".to_owned(), |last| steps[last].to_string());
            let rungs: Vec<String> = left
                .renditions
                .iter()
                .map(|rendition| {
                    let how = match rendition.video.as_ref().map(|video| &video.action) {
                        Some(VideoAction::Encode(settings)) if settings.tuning.is_empty() => settings.preset.clone(),
                        Some(VideoAction::Encode(settings)) => format!("{}+", settings.preset),
                        Some(VideoAction::Copy) => "copied".to_owned(),
                        None => "sound".to_owned(),
                    };
                    format!("{} {how}", rendition.name)
                })
                .collect();
            text += &format!("{level} {how}: {}\n", rungs.join(", "));
        }
        text
    }

    #[test]
    fn the_default_ladder() {
        insta::assert_snapshot!(levels(&planned(&full_hd(), &LadderConfig::default())), @r"
        0 all of it: 1080p superfast+, 720p superfast+, 480p superfast+
        1 the fastest presets: 1080p ultrafast, 720p ultrafast, 480p ultrafast
        2 without 1080p: 720p ultrafast, 480p ultrafast
        3 without 720p: 480p ultrafast
        ");
    }

    #[test]
    fn the_rung_whose_viewers_lose_least_goes_first_and_the_lowest_stays() {
        let rungs = [
            ("a", 1080, 6_000_000),
            ("b", 1080, 4_500_000),
            ("c", 720, 3_000_000),
            ("d", 480, 1_000_000),
            ("e", 240, 400_000),
        ];
        let rungs = rungs.map(|(name, height, bitrate)| Rung {
            preset: Some("ultrafast".into()),
            ..Rung::new(name, height, bitrate)
        });
        let config = LadderConfig { rungs: rungs.to_vec(), ..LadderConfig::default() };
        let order: Vec<String> = steps(&planned(&full_hd(), &config)).iter().map(ToString::to_string).collect();
        assert_eq!(order, ["without a", "without b", "without d", "without c"]);
    }

    #[test]
    fn slow_presets_come_down_in_two_steps() {
        let config = LadderConfig { preset: Some("medium".into()), low_latency: false, ..LadderConfig::default() };
        insta::assert_snapshot!(levels(&planned(&full_hd(), &config)), @r"
        0 all of it: 1080p medium, 720p medium, 480p medium
        1 faster presets: 1080p superfast+, 720p superfast+, 480p superfast+
        2 the fastest presets: 1080p ultrafast, 720p ultrafast, 480p ultrafast
        3 without 1080p: 720p ultrafast, 480p ultrafast
        4 without 720p: 480p ultrafast
        ");
    }

    #[test]
    fn other_codecs_have_their_own_fastest_and_sound_stays() {
        let rungs = vec![
            Rung { codec: VideoCodec::Hevc, preset: Some("fast".into()), ..Rung::new("a", 1080, 3_000_000) },
            Rung { codec: VideoCodec::Av1, ..Rung::new("b", 720, 1_500_000) },
            Rung::new("c", 480, 1_000_000),
        ];
        let config = LadderConfig { rungs, format: Format::Cmaf, ..LadderConfig::default() };
        let source = SourceInfo { audio: Some(crate::ladder::AudioSource::aac()), ..full_hd() };
        insta::assert_snapshot!(levels(&planned(&source, &config)), @r"
        0 all of it: a fast, b 10, c superfast+, audio sound
        1 faster presets: a ultrafast, b 10, c superfast+, audio sound
        2 the fastest presets: a ultrafast, b 12, c ultrafast, audio sound
        3 without b: a ultrafast, c ultrafast, audio sound
        4 without a: c ultrafast, audio sound
        ");
    }

    #[test]
    fn a_copied_top_rung_is_what_is_left_when_nothing_can_be_encoded() {
        let mut plan = planned(&full_hd(), &LadderConfig::default());
        plan.renditions[0].video.as_mut().unwrap().action = VideoAction::Copy;
        insta::assert_snapshot!(levels(&plan), @r"
        0 all of it: 1080p copied, 720p superfast+, 480p superfast+
        1 the fastest presets: 1080p copied, 720p ultrafast, 480p ultrafast
        2 without 720p: 1080p copied, 480p ultrafast
        3 without 480p: 1080p copied
        ");
    }

    #[test]
    fn one_rung_that_is_fast_already_and_sound_alone_have_nothing_to_give() {
        let rungs = vec![Rung { preset: Some("ultrafast".into()), ..Rung::new("a", 480, 1_000_000) }];
        assert_eq!(steps(&planned(&full_hd(), &LadderConfig { rungs, ..LadderConfig::default() })), []);
        let radio = SourceInfo { video: None, audio: Some(crate::ladder::AudioSource::aac()) };
        assert_eq!(steps(&planned(&radio, &LadderConfig::default())), []);
    }
}
