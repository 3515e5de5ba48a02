//! The plan of a lost session with every rung encoded: for a picture that takes the source's place.

use std::time::Duration;

use super::plan::{Plan, PlanError, VideoAction};
use super::rung::LadderConfig;
use super::settings::{Encoder, encode_settings};
use crate::transcode::capabilities::Capabilities;

/// What FFmpeg is to do with a slate after a session of `lost`: the same renditions, rates and sizes. A rung that was
/// copied is encoded as `config` has it.
///
/// # Errors
/// When there is no encoder for a rung that was copied.
pub fn slate_plan(lost: &Plan, config: &LadderConfig, caps: &Capabilities) -> Result<Plan, PlanError> {
    let mut plan = lost.clone();
    plan.deinterlace = false;
    plan.decoder_threads = 1;
    plan.skip = Duration::ZERO;
    plan.notes.clear();
    let key_rate = plan.key_rate;
    for rendition in &mut plan.renditions {
        let Some(video) = rendition.video.as_mut().filter(|video| video.action == VideoAction::Copy) else { continue };
        // A source below every rung is a rung of its own, made like the lowest.
        let named = config.rungs.iter().find(|rung| rung.name == rendition.name);
        let Some(rung) = named.or(config.rungs.last()) else { continue };
        let encoder = Encoder::choose(rung, key_rate.or(Some(video.frame_rate)), config, caps)?;
        let size = (video.width, video.height);
        video.action = VideoAction::Encode(encode_settings(rung, encoder, size, video.frame_rate, config, caps));
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::{AudioSource, Passthrough, SourceInfo, VideoSource, plan};

    #[test]
    fn a_copied_rung_is_encoded_at_its_own_size_and_the_others_stay_as_they_are() {
        let caps = Capabilities::typical(2);
        let config = LadderConfig { passthrough: Passthrough::Always, ..LadderConfig::default() };
        // Larger than the rung it is copied as.
        let video = VideoSource { keyframe_interval: Some(config.segment), ..VideoSource::h264(2560, 1440, 30.0) };
        let source = SourceInfo { video: Some(video), audio: Some(AudioSource::aac()) };
        let lost = plan(&source, &config, &caps).unwrap();
        let slate = slate_plan(&lost, &config, &caps).unwrap();
        assert_eq!(lost.renditions[0].video.as_ref().unwrap().action, VideoAction::Copy);
        assert_eq!(slate.renditions[1..], lost.renditions[1..]);
        let top = slate.renditions[0].video.as_ref().unwrap();
        assert_eq!((top.width, top.height), (2560, 1440));
        let VideoAction::Encode(settings) = &top.action else { panic!("it is copied: {top:?}") };
        assert_eq!(settings.bitrate, config.rungs[0].video_bitrate);
        assert_eq!((&slate.audio, slate.frame_rate), (&lost.audio, lost.frame_rate));
    }
}
