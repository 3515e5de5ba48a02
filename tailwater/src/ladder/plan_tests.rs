//! What becomes of which source.

use std::time::Duration;

use rstest::rstest;

use super::*;
use crate::ladder::rung::{EncoderChoice, Passthrough, default_rungs};
use crate::transcode::capabilities::{Hardware, Version};

fn h264(width: u32, height: u32, rate: f64) -> SourceInfo {
    SourceInfo { video: Some(VideoSource::h264(width, height, rate)), audio: Some(AudioSource::aac()) }
}

fn config() -> LadderConfig {
    LadderConfig::default()
}

fn planned(source: &SourceInfo, config: &LadderConfig) -> Plan {
    plan(source, config, &Capabilities::typical(2)).unwrap()
}

/// `1080p 1920x1080@30 6/part peak/average` and so on, a line a rendition.
fn table(plan: &Plan) -> String {
    let mut text = String::new();
    for rendition in &plan.renditions {
        let picture = rendition.video.as_ref().map_or("sound".to_owned(), |video| {
            let how = if video.action == VideoAction::Copy { " copied" } else { "" };
            format!("{}x{}@{}{how}", video.width, video.height, video.frame_rate)
        });
        let parts = rendition.part_frames.map_or("no parts".to_owned(), |frames| format!("{frames} a part"));
        let sound = if rendition.audio { "+audio" } else { "" };
        let (peak, average) = (rendition.bandwidth_bound / 1000, rendition.average_bound / 1000);
        text += &format!("{} {picture}{sound}, {parts}, {peak}/{average} kbit/s\n", rendition.name);
    }
    for note in &plan.notes {
        text += &format!("note: {note}\n");
    }
    text
}

#[test]
fn a_1080p_source_gets_the_whole_ladder() {
    insta::assert_snapshot!(table(&planned(&h264(1920, 1080, 30.0), &config())));
}

#[test]
fn standard_latency_has_no_parts_and_room_for_the_lookahead() {
    let config = LadderConfig { low_latency: false, ..config() };
    insta::assert_snapshot!(table(&planned(&h264(1920, 1080, 30.0), &config)));
}

#[test]
fn cmaf_has_an_audio_rendition() {
    let config = LadderConfig { format: Format::Cmaf, ..config() };
    insta::assert_snapshot!(table(&planned(&h264(1920, 1080, 30.0), &config)));
}

#[test]
fn a_720p_source_gets_720p_and_480p() {
    insta::assert_snapshot!(table(&planned(&h264(1280, 720, 60.0), &config())));
}

#[test]
fn a_source_smaller_than_every_rung_gets_itself() {
    insta::assert_snapshot!(table(&planned(&h264(426, 240, 30.0), &config())));
}

#[test]
fn a_portrait_source_is_measured_by_its_short_side() {
    insta::assert_snapshot!(table(&planned(&h264(1080, 1920, 30.0), &config())));
}

#[rstest]
#[case::four_to_three(1440, 1080, &[(1440, 1080), (960, 720), (640, 480)])]
#[case::film(1920, 800, &[(1920, 800), (1728, 720), (1152, 480)])]
#[case::almost_1080(1920, 1072, &[(1920, 1072), (1290, 720), (860, 480)])]
#[case::odd(1919, 1079, &[(1918, 1078), (1280, 720), (854, 480)])]
#[case::ultra_hd(3840, 2160, &[(1920, 1080), (1280, 720), (854, 480)])]
#[case::square(1080, 1080, &[(1080, 1080), (720, 720), (480, 480)])]
#[case::portrait_phone(720, 1280, &[(720, 1280), (480, 854)])]
#[case::tiny(160, 90, &[(160, 90)])]
fn sizes_keep_the_aspect_are_even_and_never_larger_than_the_source(
    #[case] width: u32,
    #[case] height: u32,
    #[case] expected: &[(u32, u32)],
) {
    let plan = planned(&h264(width, height, 30.0), &config());
    let sizes: Vec<_> = plan
        .renditions
        .iter()
        .filter_map(|rendition| rendition.video.as_ref())
        .map(|video| (video.width, video.height))
        .collect();
    assert_eq!(sizes, expected);
    for (rung_width, rung_height) in sizes {
        assert!(rung_width % 2 == 0 && rung_height % 2 == 0 && rung_width <= width && rung_height <= height);
    }
}

#[test]
fn a_given_width_bounds_the_long_side() {
    let rungs = vec![Rung { width: Some(1280), ..Rung::new("a", 720, 3_000_000) }];
    let config = LadderConfig { rungs, ..config() };
    let video = |width, height| planned(&h264(width, height, 30.0), &config).renditions[0].video.clone().unwrap();
    let size = |video: PlannedVideo| (video.width, video.height);
    assert_eq!(size(video(2560, 1080)), (1280, 540));
    assert_eq!(size(video(1080, 2560)), (540, 1280));
    assert_eq!(size(video(1440, 1080)), (960, 720));
}

#[test]
fn a_small_source_takes_its_name_from_its_height_and_fewer_bits() {
    let plan = planned(&h264(426, 240, 30.0), &config());
    let rendition = &plan.renditions[0];
    assert_eq!(rendition.name, "240p");
    let VideoAction::Encode(settings) = &rendition.video.as_ref().unwrap().action else { panic!("encoded") };
    assert_eq!(settings.bitrate, 530_000);
    let one_rung = LadderConfig { rungs: vec![Rung::new("4k", 2160, 14_000_000)], ..config() };
    assert_eq!(planned(&h264(1280, 720, 30.0), &one_rung).renditions[0].name, "720p");
}

#[rstest]
#[case(60.0, 30.0, "30")]
#[case(50.0, 30.0, "25")]
#[case(59.94, 30.0, "30000/1001")]
#[case(30.0, 30.0, "30")]
#[case(29.97, 30.0, "30000/1001")]
#[case(120.0, 60.0, "60")]
#[case(120.0, 30.0, "30")]
fn a_frame_rate_cap_halves(#[case] source: f64, #[case] cap: f64, #[case] expected: &str) {
    let mut config = config();
    config.rungs[2].max_frame_rate = Some(cap);
    let plan = planned(&h264(1920, 1080, source), &config);
    let rates: Vec<String> =
        plan.renditions.iter().map(|rendition| rendition.video.as_ref().unwrap().frame_rate.to_string()).collect();
    assert_eq!(rates[2], expected);
    assert_eq!(rates[0], Rational::snap(source).unwrap().to_string());
    assert_eq!(plan.key_rate.unwrap().to_string(), expected, "key frames lie where every rung has a frame");
}

#[rstest]
#[case(Some(12.0), true)]
#[case(Some(7.0), true)]
#[case(Some(17.5), true)]
#[case(Some(47.3), true)]
#[case(None, true)]
#[case(Some(29.97), true)]
#[case(Some(12.0), false)]
fn in_low_latency_every_rate_fills_parts(#[case] rate: Option<f64>, #[case] low_latency: bool) {
    let mut source = h264(1280, 720, 30.0);
    source.video.as_mut().unwrap().frame_rate = rate;
    let config = LadderConfig { low_latency, ..config() };
    let plan = planned(&source, &config);
    let chosen = plan.frame_rate.unwrap();
    if low_latency {
        assert!(part_rule_holds(config.part_target, chosen), "{chosen}");
        let frames = plan.renditions[0].part_frames.unwrap();
        assert!(Duration::from_secs_f64(f64::from(frames) / chosen.as_f64()) <= config.part_target);
    } else {
        assert_eq!(chosen.to_string(), "12");
        assert_eq!(plan.renditions[0].part_frames, None);
    }
}

#[test]
fn audio_only_is_one_rendition_named_audio() {
    for format in [Format::Ts, Format::Cmaf] {
        let source = SourceInfo { video: None, audio: Some(AudioSource::aac()) };
        let plan = planned(&source, &LadderConfig { format, ..config() });
        assert_eq!(plan.renditions.len(), 1);
        let rendition = &plan.renditions[0];
        assert_eq!((rendition.name.as_str(), rendition.audio, rendition.part_frames), ("audio", true, Some(10)));
        assert_eq!(plan.frame_rate, None);
    }
}

#[test]
fn video_only_has_no_audio_anywhere() {
    for format in [Format::Ts, Format::Cmaf] {
        let source = SourceInfo { audio: None, ..h264(1280, 720, 30.0) };
        let plan = planned(&source, &LadderConfig { format, ..config() });
        assert_eq!(plan.renditions.len(), 2);
        assert!(plan.audio.is_none() && plan.renditions.iter().all(|rendition| !rendition.audio));
    }
}

#[test]
fn audio_is_mono_or_stereo_at_a_rate_players_take() {
    let audio = |sample_rate, channels| {
        let audio = Some(AudioSource { sample_rate, channels, ..AudioSource::aac() });
        planned(&SourceInfo { video: None, audio }, &config()).audio.unwrap()
    };
    assert_eq!((audio(44_100, 2).sample_rate, audio(22_050, 2).sample_rate), (44_100, 48_000));
    assert_eq!((audio(48_000, 1).channels, audio(48_000, 6).channels, audio(48_000, 0).channels), (1, 2, 1));
}

#[test]
fn nothing_can_be_made_of_nothing() {
    let error = plan(&SourceInfo::default(), &config(), &Capabilities::typical(2)).unwrap_err();
    assert_eq!(error, PlanError::NoTracks);
    let error = plan(&h264(0, 720, 30.0), &config(), &Capabilities::typical(2)).unwrap_err();
    assert_eq!(error, PlanError::NoPicture { width: 0, height: 720 });
}

#[test]
fn sound_that_ffmpeg_cannot_read_is_named_and_all_other_is_made_aac() {
    let judged = |codec: AudioCodec, version: Version| {
        let sound = AudioSource { codec, sample_rate: 8000, channels: 1 };
        let source = SourceInfo { audio: Some(sound), ..h264(1280, 720, 30.0) };
        plan(&source, &config(), &Capabilities { version, ..Capabilities::typical(2) })
    };
    let old = || Version { text: "5.1.9".into(), number: Some((5, 1)) };
    let new = || Version { text: "8.0".into(), number: Some((8, 0)) };
    for name in ["G.711", "Speex", "PCM", "ADPCM", "Nellymoser"] {
        let audio = judged(AudioCodec::Other(name.into()), old()).unwrap().audio.unwrap();
        assert_eq!((audio.sample_rate, audio.channels), (48_000, 1), "{name}");
    }
    let error = judged(AudioCodec::Opus, old()).unwrap_err().to_string();
    assert!(["Opus", "8.0", "5.1.9", "AAC"].iter().all(|word| error.contains(word)), "{error}");
    assert!(judged(AudioCodec::Opus, new()).is_ok() && judged(AudioCodec::Other("AC-3".into()), new()).is_ok());
    let error = judged(AudioCodec::Other("FourCC zzzz".into()), new()).unwrap_err().to_string();
    assert!(error.contains("zzzz") && error.contains("AAC"), "{error}");
}

#[test]
fn an_hevc_source_needs_ffmpeg_6_1() {
    let mut source = h264(1920, 1080, 30.0);
    source.video.as_mut().unwrap().codec = VideoCodec::Hevc;
    let error = plan(&source, &config(), &Capabilities::typical(2)).unwrap_err();
    assert!(error.to_string().contains("HEVC") && error.to_string().contains("6.1"), "{error}");
    let version = Version::parse("ffmpeg version 6.1.2").unwrap();
    let newer = Capabilities { flv_fourcc: version.at_least(6, 1), version, ..Capabilities::typical(2) };
    assert!(plan(&source, &config(), &newer).is_ok());
}

#[test]
fn a_source_that_no_ffmpeg_reads_is_refused_by_name_and_old_ones_are_tried() {
    let mut source = h264(1920, 1080, 30.0);
    let mut planned = |name: &str| {
        source.video.as_mut().unwrap().codec = VideoCodec::Other(name.into());
        plan(&source, &config(), &Capabilities::typical(2)).map_err(|error| error.to_string())
    };
    let error = planned("FourCC zzzz").unwrap_err();
    assert!(error.contains("FourCC zzzz") && error.contains("send H.264"), "{error}");
    assert!(planned("VP9").unwrap_err().contains("6.1"));
    assert!(planned("Sorenson H.263").is_ok());
}

#[test]
fn encoders_are_taken_when_there_and_missed_by_name() {
    let mut config = config();
    let caps = Capabilities::typical(2);
    config.encoder = EncoderChoice::Nvenc;
    let error = plan(&h264(1280, 720, 30.0), &config, &caps).unwrap_err();
    assert_eq!(error, PlanError::HardwareMissing { choice: "nvenc" });
    let with = Capabilities { hardware: vec![Hardware::Nvenc], ..caps.clone() };
    assert!(plan(&h264(1280, 720, 30.0), &config, &with).is_ok());
    config.encoder = EncoderChoice::Auto;
    config.format = Format::Cmaf;
    config.rungs = vec![Rung { codec: VideoCodec::Av1, ..Rung::new("av1", 480, 1_000_000) }];
    let encoder = |caps: &Capabilities| match &plan(&h264(1280, 720, 30.0), &config, caps)?.renditions[0].video {
        Some(PlannedVideo { action: VideoAction::Encode(settings), .. }) => Ok(settings.encoder),
        other => panic!("{other:?}"),
    };
    assert_eq!(encoder(&caps), Ok(Encoder::SvtAv1));
    let without = |names: &[&str]| {
        let mut caps = caps.clone();
        caps.encoders.retain(|name| !names.contains(&name.as_str()));
        caps
    };
    assert_eq!(encoder(&without(&["libsvtav1"])), Ok(Encoder::Aom));
    // Frames that no whole number of fills a second need forced key frames, which SVT does not get.
    let ntsc = plan(&h264(1280, 720, 29.97), &config, &without(&["libaom-av1"])).unwrap_err();
    assert!(ntsc.to_string().contains("libaom-av1, at this frame rate"), "{ntsc}");
    let error = encoder(&without(&["libsvtav1", "libaom-av1"])).unwrap_err();
    assert!(matches!(error, PlanError::NoEncoder { .. }), "{error}");
}

/// A source that `auto` copies.
fn fit(width: u32, height: u32, rate: f64) -> SourceInfo {
    let mut source = h264(width, height, rate);
    let video = source.video.as_mut().unwrap();
    video.keyframe_interval = Some(Duration::from_secs(1));
    video.bitrate = Some(6_000_000);
    source
}

fn asked(passthrough: Passthrough) -> LadderConfig {
    LadderConfig { passthrough, ..config() }
}

/// The plan of a source that is fit but for this, and what it says of it.
fn changed(config: &LadderConfig, change: impl FnOnce(&mut VideoSource)) -> (Plan, String) {
    let mut source = fit(1920, 1080, 30.0);
    change(source.video.as_mut().unwrap());
    let plan = planned(&source, config);
    let notes = plan.notes.join("; ");
    (plan, notes)
}

#[test]
fn a_fit_source_is_the_top_rung() {
    insta::assert_snapshot!(table(&planned(&fit(1920, 1080, 60.0), &asked(Passthrough::Auto))));
    assert!(!planned(&fit(1920, 1080, 60.0), &asked(Passthrough::Never)).copies());
}

type Change = fn(&mut VideoSource);

#[test]
fn what_auto_does_not_copy_is_said() {
    let cases: [(Change, &str); 12] = [
        (|video| video.codec = VideoCodec::Other("VP6".into()), "it is VP6"),
        (|video| video.codec_string = Some("avc1.6E0028".into()), "8 bits"),
        (|video| video.interlaced = true, "interlaced"),
        (|video| video.open_keyframes = true, "no IDR"),
        (|video| video.keyframe_interval = Some(Duration::from_secs(2)), "2.00 s apart: one a second"),
        (|video| video.keyframe_interval = Some(Duration::from_millis(900)), "segments of up to 1.80 s"),
        (|video| video.constant_rate = false, "frame rate is not constant"),
        (|video| video.b_frames = true, "B-frames"),
        (|video| video.bitrate = Some(20_000_000), "20000 kbit/s"),
        (|video| video.bitrate = None, "bit rate is not known"),
        (|video| (video.width, video.height) = (3840, 2160), "larger than rung 1080p"),
        (|video| video.frame_rate = Some(12.0), "does not fill the parts"),
    ];
    for (change, words) in cases {
        let (plan, notes) = changed(&asked(Passthrough::Auto), change);
        assert!(!plan.copies(), "{words}");
        assert!(notes.contains("the source is not copied: ") && notes.contains(words), "{notes}");
        assert_eq!((plan.segment, plan.target_duration), (Duration::from_secs(1), 1));
    }
}

#[test]
fn auto_says_nothing_before_it_has_seen_key_frames() {
    let (plan, notes) = changed(&asked(Passthrough::Auto), |video| video.keyframe_interval = None);
    assert_eq!((plan.copies(), notes.as_str()), (false, ""));
}

#[rstest]
#[case(30.0, 1000)]
#[case(29.97, 1001)]
#[case(60.0, 500)]
#[case(25.0, 400)]
#[case(50.0, 600)]
fn auto_copies_key_frames_whose_segments_round_to_a_second(#[case] rate: f64, #[case] millis: u64) {
    let (plan, notes) = changed(&asked(Passthrough::Auto), |video| {
        (video.frame_rate, video.keyframe_interval) = (Some(rate), Some(Duration::from_millis(millis)));
    });
    assert!(plan.copies(), "{notes}");
    assert_eq!(plan.target_duration, 1);
}

#[test]
fn always_copies_more_and_its_target_duration_is_the_spacing_rounded_up() {
    let always = asked(Passthrough::Always);
    for (millis, target) in [(1000, 1), (1900, 2), (2000, 2), (2002, 2), (4800, 5), (10_000, 10)] {
        let (plan, notes) = changed(&always, |video| {
            video.keyframe_interval = Some(Duration::from_millis(millis));
            (video.width, video.height, video.bitrate, video.b_frames) = (2560, 1440, Some(20_000_000), true);
        });
        assert!(plan.copies(), "{notes}");
        assert_eq!((plan.target_duration, plan.segment), (target, Duration::from_secs(1)), "{millis}");
    }
    for (interval, words) in
        [(Some(Duration::from_secs(11)), "10 s at most"), (None, "no second key frame within 10 s")]
    {
        let (plan, notes) = changed(&always, |video| video.keyframe_interval = interval);
        assert!(!plan.copies() && notes.contains(words), "{notes}");
        assert_eq!(plan.target_duration, 1);
    }
    let (plan, notes) = changed(&always, |video| video.constant_rate = false);
    assert!(!plan.copies() && notes.contains("parts of low latency"), "{notes}");
    let (plan, _) = changed(&LadderConfig { low_latency: false, ..always }, |video| video.constant_rate = false);
    assert!(plan.copies());
}

/// Sound is cut by the clock there, and numbers have to mean the same time in all playlists.
#[test]
fn in_cmaf_the_key_frames_of_a_copied_source_lie_on_whole_seconds() {
    let cmaf = LadderConfig { format: Format::Cmaf, ..asked(Passthrough::Always) };
    let segment = |rate: f64, millis: u64, audio: bool| {
        let mut source = fit(1920, 1080, rate);
        source.video.as_mut().unwrap().keyframe_interval = Some(Duration::from_millis(millis));
        source.audio = source.audio.filter(|_| audio);
        let plan = planned(&source, &cmaf);
        plan.copies().then_some((plan.segment, plan.target_duration))
    };
    let seconds = Duration::from_secs;
    assert_eq!(segment(30.0, 500, true), Some((seconds(1), 1)));
    assert_eq!(segment(30.0, 2000, true), Some((seconds(2), 2)));
    assert_eq!((segment(29.97, 1001, true), segment(30.0, 1500, true)), (None, None));
    assert_eq!(segment(29.97, 2002, false), Some((seconds(1), 2)));
}

#[test]
fn a_rung_that_cannot_follow_or_is_capped_keeps_the_source_from_being_copied() {
    let mut source = fit(1920, 1080, 60.0);
    let mut capped = asked(Passthrough::Always);
    capped.rungs[0].max_frame_rate = Some(30.0);
    let plan = planned(&source, &capped);
    assert!(!plan.copies() && plan.notes[0].contains("capped at 30"), "{:?}", plan.notes);
    source.video.as_mut().unwrap().frame_rate = Some(30.0);
    assert!(planned(&source, &capped).copies());

    let mut with_av1 = LadderConfig { format: Format::Cmaf, ..asked(Passthrough::Always) };
    with_av1.rungs[2].codec = VideoCodec::Av1;
    let encoder = |plan: &Plan| match &plan.renditions[2].video.as_ref().unwrap().action {
        VideoAction::Encode(settings) => settings.encoder,
        VideoAction::Copy => panic!("not the top rung"),
    };
    let plan = planned(&source, &with_av1);
    assert_eq!((plan.copies(), encoder(&plan)), (true, Encoder::Aom), "SVT does not get the source's key frames");
    let mut caps = Capabilities::typical(2);
    caps.encoders.retain(|name| name != "libaom-av1");
    let plan = super::plan(&source, &with_av1, &caps).unwrap();
    assert_eq!((plan.copies(), encoder(&plan)), (false, Encoder::SvtAv1));
    assert!(plan.notes[0].contains("libaom-av1"), "{:?}", plan.notes);
}

#[rstest]
#[case(60.0, "30")]
#[case(50.0, "25")]
#[case(59.94, "30000/1001")]
fn a_frame_rate_cap_halves_beside_a_copied_rung_too(#[case] source: f64, #[case] expected: &str) {
    let mut config = asked(Passthrough::Auto);
    config.rungs[1].max_frame_rate = Some(30.0);
    let plan = planned(&fit(1920, 1080, source), &config);
    let rates: Vec<String> =
        plan.renditions.iter().map(|rendition| rendition.video.as_ref().unwrap().frame_rate.to_string()).collect();
    let full = Rational::snap(source).unwrap().to_string();
    assert!(plan.copies());
    assert_eq!(rates, [full.as_str(), expected, full.as_str()]);
}

#[test]
fn the_bandwidth_of_a_copied_rung_comes_from_the_source() {
    for format in [Format::Ts, Format::Cmaf] {
        let config = LadderConfig { format, ..asked(Passthrough::Auto) };
        for bitrate in [1_000_000, 7_000_000] {
            let mut source = fit(1920, 1080, 30.0);
            source.video.as_mut().unwrap().bitrate = Some(bitrate);
            let top = &planned(&source, &config).renditions[0];
            assert!((bitrate * 11 / 10..bitrate * 2).contains(&top.average_bound), "{top:?}");
            assert!((bitrate * 3 / 2..bitrate * 5 / 2).contains(&top.bandwidth_bound), "{top:?}");
        }
    }
}

#[test]
fn bounds_lie_above_the_targets_and_below_twice_them() {
    for format in [Format::Ts, Format::Cmaf] {
        for low_latency in [true, false] {
            let config = LadderConfig { format, low_latency, ..config() };
            let plan = planned(&h264(1920, 1080, 60.0), &config);
            for (rendition, rung) in plan.renditions.iter().zip(default_rungs()) {
                assert!(rendition.average_bound > rung.video_bitrate, "{rendition:?}");
                assert!(rendition.bandwidth_bound > rendition.average_bound, "{rendition:?}");
                assert!(rendition.bandwidth_bound < 3 * rung.video_bitrate, "{rendition:?}");
            }
        }
    }
}
