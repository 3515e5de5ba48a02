//! `preset = "auto"`: the slowest preset that this machine holds.

use crate::ladder::rung::PRESETS;
use crate::ladder::{Encoder, Plan, SourceInfo, VideoAction};

use super::cost;

/// Of the room there is, this much is planned with: the picture may be harder than the one the costs were measured with.
const SHARE: f64 = 0.7;
/// Presets that may take the place of the tuned settings, which lie between them and `superfast`.
const FASTEST: usize = 2;

/// In low latency threads are slices, which cost bits: no more than this.
const MOST_SLICES: usize = 8;

/// Gives the rungs that leave their preset to the machine the slowest one with which the plan takes no more than `room` of its
/// `cores` and each rung no more than it can have threads; the tuned settings stay where none does. `slowness` is this machine's,
/// none while it is not known.
pub fn settle(plan: &mut Plan, source: &SourceInfo, slowness: Option<f64>, room: f64, cores: usize) {
    if !autos(plan) {
        return;
    }
    let Some(slowness) = slowness else {
        plan.notes.push("preset auto: the tuned settings, until it is known what this machine holds".to_owned());
        return;
    };
    let chosen = PRESETS[FASTEST..].iter().rev().find_map(|preset| {
        let candidate = with_preset(plan, preset, slowness, cores)?;
        let holds = slowness * cost::cores(&candidate, source) <= room * SHARE;
        holds.then_some((*preset, candidate))
    });
    let note = match chosen {
        Some((preset, candidate)) => {
            *plan = candidate;
            format!("preset auto: {preset} is the slowest this machine holds")
        }
        None => "preset auto: the tuned settings are the slowest this machine holds".to_owned(),
    };
    plan.notes.push(note);
}

fn autos(plan: &Plan) -> bool {
    plan.renditions.iter().filter_map(|rendition| rendition.video.as_ref()).any(|video| {
        matches!(&video.action, VideoAction::Encode(settings) if settings.auto && settings.encoder == Encoder::X264)
    })
}

/// None where a rung's threads cannot do it in real time: it falls behind, whatever the other cores do.
fn with_preset(plan: &Plan, preset: &str, slowness: f64, cores: usize) -> Option<Plan> {
    let mut plan = plan.clone();
    let low_latency = plan.low_latency;
    let most = if low_latency { cores.min(MOST_SLICES) } else { cores };
    for video in plan.renditions.iter_mut().filter_map(|rendition| rendition.video.as_mut()) {
        let VideoAction::Encode(settings) = &video.action else { continue };
        if !settings.auto || settings.encoder != Encoder::X264 {
            continue;
        }
        let mut settings = settings.clone();
        settings.preset = preset.to_owned();
        settings.tuning.clear();
        let threads = (slowness * cost::encoding(video, &settings, low_latency) / SHARE).ceil() as usize;
        if threads > most {
            return None;
        }
        settings.threads = settings.threads.max(u32::try_from(threads).unwrap_or(u32::MAX));
        video.action = VideoAction::Encode(settings);
    }
    Some(plan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::{EncoderChoice, LadderConfig, Rung, VideoSource, plan, steps};
    use crate::transcode::{Capabilities, Hardware};

    fn source() -> SourceInfo {
        SourceInfo { video: Some(VideoSource::h264(1920, 1080, 30.0)), audio: None }
    }

    fn config() -> LadderConfig {
        LadderConfig { preset: Some("auto".into()), ..LadderConfig::default() }
    }

    fn settled(config: &LadderConfig, cores: usize, slowness: Option<f64>) -> Plan {
        let mut plan = plan(&source(), config, &Capabilities::typical(cores)).unwrap();
        settle(&mut plan, &source(), slowness, cores as f64, cores);
        plan
    }

    fn presets(plan: &Plan) -> Vec<String> {
        let actions =
            plan.renditions.iter().filter_map(|rendition| rendition.video.as_ref()).map(|video| &video.action);
        actions
            .map(|action| match action {
                VideoAction::Encode(settings) if settings.tuning.is_empty() => settings.preset.clone(),
                VideoAction::Encode(_) => "tuned".to_owned(),
                VideoAction::Copy => "copy".to_owned(),
            })
            .collect()
    }

    #[test]
    fn the_more_cores_there_are_the_slower_the_preset() {
        let preset = |cores, slowness| presets(&settled(&config(), cores, Some(slowness)))[0].clone();
        assert_eq!([preset(1, 1.0), preset(2, 1.0)], ["tuned", "tuned"]);
        assert_eq!([preset(3, 1.0), preset(8, 1.0), preset(64, 1.0)], ["veryfast", "medium", "slower"]);
        assert_eq!(preset(8, 4.0), "tuned", "a slower machine");
    }

    #[test]
    fn only_rungs_that_leave_it_to_the_machine_change() {
        let named = Rung { preset: Some("faster".into()), ..Rung::new("b", 720, 3_000_000) };
        let auto = Rung { preset: Some("auto".into()), ..Rung::new("c", 480, 1_500_000) };
        let rungs = vec![Rung::new("a", 1080, 5_000_000), named, auto];
        let plan = settled(&LadderConfig { rungs, ..LadderConfig::default() }, 16, Some(1.0));
        let presets = presets(&plan);
        assert_eq!(&presets[..2], ["tuned", "faster"]);
        assert_ne!(presets[2], "tuned");
    }

    #[test]
    fn until_the_machine_is_known_the_tuned_settings_serve_and_that_is_told() {
        let plan = settled(&config(), 64, None);
        assert_eq!(presets(&plan), ["tuned", "tuned", "tuned"]);
        assert!(plan.notes[0].contains("until it is known"), "{:?}", plan.notes);
    }

    #[test]
    fn what_was_chosen_is_the_first_to_be_shed() {
        let plan = settled(&config(), 16, Some(1.0));
        assert_eq!(steps(&plan)[0].to_string(), "faster presets");
    }

    #[test]
    fn hardware_has_presets_of_its_own() {
        let caps = Capabilities { hardware: vec![Hardware::Nvenc], ..Capabilities::typical(16) };
        let config = LadderConfig { encoder: EncoderChoice::Nvenc, ..config() };
        let mut plan = plan(&source(), &config, &caps).unwrap();
        let before = plan.clone();
        settle(&mut plan, &source(), Some(1.0), 16.0, 16);
        assert_eq!(plan, before);
    }
}
