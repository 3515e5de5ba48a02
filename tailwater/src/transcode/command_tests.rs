//! The command lines, word for word, and the arithmetic of their key frames.

use rstest::rstest;

use super::*;
use crate::ladder::{AudioSource, LadderConfig, Passthrough, Rung, SourceInfo, VideoCodec, VideoSource, plan};
use crate::transcode::Capabilities;

fn source(rate: f64) -> SourceInfo {
    SourceInfo { video: Some(VideoSource::h264(1920, 1080, rate)), audio: Some(AudioSource::aac()) }
}

/// An option and its values a line.
fn text(source: &SourceInfo, config: &LadderConfig) -> String {
    let plan = plan(source, config, &Capabilities::typical(2)).unwrap();
    let arguments = command(&plan, Descriptors::of(&plan));
    let mut text = String::new();
    for argument in arguments {
        let argument = argument.into_string().unwrap();
        if argument.starts_with('-') && !text.is_empty() {
            text.push('\n');
        } else if !text.is_empty() {
            text.push(' ');
        }
        text += &argument;
    }
    text
}

#[test]
fn ts_in_low_latency() {
    insta::assert_snapshot!(text(&source(30.0), &LadderConfig::default()));
}

#[test]
fn ts_in_standard_latency() {
    let config = LadderConfig { low_latency: false, ..LadderConfig::default() };
    insta::assert_snapshot!(text(&source(29.97), &config));
}

#[test]
fn cmaf_in_low_latency() {
    let config = LadderConfig { format: Format::Cmaf, ..LadderConfig::default() };
    insta::assert_snapshot!(text(&source(25.0), &config));
}

#[test]
fn cmaf_with_an_hevc_and_an_av1_rung() {
    let rungs = vec![
        Rung { codec: VideoCodec::Hevc, ..Rung::new("hevc", 1080, 3_000_000) },
        Rung { codec: VideoCodec::Av1, ..Rung::new("av1", 720, 1_500_000) },
    ];
    let config = LadderConfig { rungs, format: Format::Cmaf, ..LadderConfig::default() };
    insta::assert_snapshot!(text(&source(30.0), &config));
}

#[test]
fn a_capped_rung_and_an_interlaced_source() {
    let mut config = LadderConfig::default();
    config.rungs[2].max_frame_rate = Some(30.0);
    let mut interlaced = source(59.94);
    interlaced.video.as_mut().unwrap().interlaced = true;
    let progressive = source(59.94);
    insta::assert_snapshot!("capped", text(&progressive, &config));
    insta::assert_snapshot!("interlaced", text(&interlaced, &config));
}

#[test]
fn audio_only() {
    let source = SourceInfo { video: None, audio: Some(AudioSource::aac()) };
    insta::assert_snapshot!(text(&source, &LadderConfig::default()));
}

fn fit(rate: f64) -> SourceInfo {
    let mut source = source(rate);
    let video = source.video.as_mut().unwrap();
    (video.keyframe_interval, video.bitrate) = (Some(Duration::from_secs(1)), Some(6_000_000));
    source
}

#[test]
fn a_copied_top_rung() {
    let config = LadderConfig { passthrough: Passthrough::Auto, low_latency: false, ..LadderConfig::default() };
    insta::assert_snapshot!(text(&fit(29.97), &config));
}

#[test]
fn a_copied_top_rung_in_cmaf_over_a_capped_one() {
    let mut config = LadderConfig { passthrough: Passthrough::Auto, format: Format::Cmaf, ..LadderConfig::default() };
    config.rungs[2].max_frame_rate = Some(30.0);
    insta::assert_snapshot!(text(&fit(60.0), &config));
}

#[test]
fn what_an_earlier_session_put_out_is_left_out() {
    let whole = plan(&source(30.0), &LadderConfig::default(), &Capabilities::typical(2)).unwrap();
    let rest = Plan { skip: Duration::from_millis(1467), ..whole.clone() };
    let difference: Vec<String> = command(&rest, Descriptors::of(&rest))
        .into_iter()
        .zip(command(&whole, Descriptors::of(&whole)))
        .filter(|(rest, whole)| rest != whole)
        .map(|(rest, _)| rest.into_string().unwrap())
        .collect();
    assert_eq!(difference.len(), 2, "{difference:?}");
    assert!(difference[0].starts_with("[0:v:0]trim=start=1.450333,setpts=PTS-1.467000/TB,fps=30"), "{difference:?}");
    assert_eq!(difference[1], "atrim=start=1.467000,asetpts=PTS-1.467000/TB,aresample=async=1:first_pts=0");
}

/// The expression as FFmpeg evaluates it (doubles), against exact arithmetic, over ten hours of each rate: the first
/// frame at or after each second is forced and no other.
#[rstest]
#[case(24_000, 1001)]
#[case(24, 1)]
#[case(25, 1)]
#[case(30_000, 1001)]
#[case(30, 1)]
#[case(50, 1)]
#[case(60_000, 1001)]
#[case(60, 1)]
fn no_key_frame_slips_in_ten_hours(#[case] num: u32, #[case] den: u32, #[values(1, 2)] step: u64) {
    let rate = Rational::new(num, den);
    let mut plan = plan(&source(rate.as_f64()), &LadderConfig::default(), &Capabilities::typical(2)).unwrap();
    assert_eq!(plan.frame_rate, Some(rate));
    plan.key_rate = Some(rate.divided(step as u32));
    let expression = key_frames(&plan, plan.renditions[0].video.as_ref().unwrap());
    let (frames, boundaries) = (u64::from(rate.den), u64::from(rate.num));
    let product = |name: &str, factor: u64| if factor == 1 { name.to_owned() } else { format!("{name}*{factor}") };
    let grid = if step == 1 { String::new() } else { format!("not(mod(n,{step}))*") };
    assert_eq!(expression, format!("expr:{grid}gte({},{})", product("n", frames), product("n_forced", boundaries)));

    let mut forced = 0u64;
    for frame in 0..(36_000 * u64::from(rate.num) / u64::from(rate.den)) {
        let fires = frame % step == 0 && (frame as f64) * (frames as f64) >= (forced as f64) * (boundaries as f64);
        // The first frame of the coarser grid at or after `forced` seconds.
        let exact = (forced * boundaries).div_ceil(frames).next_multiple_of(step);
        assert_eq!(fires, frame == exact, "frame {frame}, boundary {forced}");
        forced += u64::from(fires);
    }
    assert!(forced >= 35_999, "{forced}");
}
