//! What the probe says of sources, and when.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::Bytes;
use rtmp::flv::{FlvTag, TagKind};

use super::{Keyframes, Probe};
use crate::ladder::source::{AudioCodec, SourceInfo, VideoCodec};

/// x264, 1920x1080, 30 frames a second in its SPS.
const AVC_30: &str = "17000000000142c028ffe100196742c028da01e0089f970110000003001000000303c0f1832a01000468ce0fc8";
/// x264, 1920x1080 interlaced, 25 frames a second.
const AVC_25I: &str = "17000000000 14d4028ffe10019674d4028f403c0227ef011000003000100000300321f162ea001000468de0fc8";
const AAC_48: &str = "af001190";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn tag(kind: TagKind, time: u32, body: Vec<u8>) -> FlvTag {
    FlvTag { kind, timestamp: time, body: Bytes::from(body) }
}

fn frame(time: u32, key: bool, composition: u8) -> FlvTag {
    tag(TagKind::Video, time, vec![if key { 0x17 } else { 0x27 }, 1, 0, 0, composition, 0])
}

/// `onMetaData` of numbers.
fn metadata(numbers: &[(&str, f64)]) -> FlvTag {
    let mut body = b"\x02\0\x0aonMetaData\x08\0\0\0\0".to_vec();
    for (name, value) in numbers {
        body.extend((name.len() as u16).to_be_bytes());
        body.extend(name.as_bytes());
        body.push(0);
        body.extend(value.to_be_bytes());
    }
    body.extend([0, 0, 9]);
    tag(TagKind::Script, 0, body)
}

const OBS: &[(&str, f64)] =
    &[("width", 1920.0), ("height", 1080.0), ("framerate", 60.0), ("videocodecid", 7.0), ("audiocodecid", 10.0)];

/// A probe and the clock of a source that arrives in real time.
struct Bench {
    probe: Probe,
}

impl Bench {
    fn new() -> Self {
        Self { probe: Probe::new(Duration::from_secs(3)) }
    }

    fn push(&mut self, tag: &FlvTag) {
        self.push_at(tag, Duration::from_millis(u64::from(tag.timestamp)));
    }

    fn push_at(&mut self, tag: &FlvTag, arrival: Duration) {
        self.probe.push(tag, arrival);
    }

    /// Frames at a rate until it decides, and how many it took.
    fn frames(&mut self, rate: f64, limit: u32) -> Option<(SourceInfo, u32)> {
        for index in 0..limit {
            let time = (f64::from(index) * 1000.0 / rate).round() as u32;
            self.push(&frame(time, index % 60 == 0, 0));
            if let Some(info) = self.probe.poll(Duration::from_millis(u64::from(time))) {
                return Some((info, index + 1));
            }
        }
        None
    }
}

#[test]
fn a_source_whose_headers_agree_with_its_frames_is_known_after_an_eighth_of_a_second() {
    let mut bench = Bench::new();
    bench.push(&tag(TagKind::Video, 0, hex(AVC_30)));
    bench.push(&tag(TagKind::Audio, 0, hex(AAC_48)));
    let (info, frames) = bench.frames(30.0, 100).unwrap();
    assert!(frames <= 5, "{frames} frames");
    let video = info.video.unwrap();
    assert_eq!((video.codec, video.width, video.height), (VideoCodec::H264, 1920, 1080));
    assert_eq!((video.frame_rate, video.constant_rate, video.interlaced), (Some(30.0), true, false));
    assert_eq!(video.codec_string.as_deref(), Some("avc1.42C028"));
    assert!(!video.b_frames);
    let audio = info.audio.unwrap();
    assert_eq!((audio.codec, audio.sample_rate, audio.channels), (AudioCodec::Aac, 48_000, 2));
}

#[test]
fn the_rate_is_what_is_seen_when_the_sps_lies() {
    // The SPS says 30.
    for rate in [24.0, 25.0, 50.0, 60.0, 15.0, 20.0] {
        let mut bench = Bench::new();
        bench.push(&tag(TagKind::Video, 0, hex(AVC_30)));
        bench.push(&tag(TagKind::Audio, 0, hex(AAC_48)));
        let (info, _) = bench.frames(rate, 100).unwrap();
        let video = info.video.unwrap();
        assert_eq!((video.frame_rate, video.constant_rate), (Some(rate), true));
    }
}

#[test]
fn ntsc_rates_are_taken_from_the_metadata() {
    for (announced, exact) in [
        (29.97, 30_000.0 / 1001.0),
        (59.94, 60_000.0 / 1001.0),
        (23.976, 24_000.0 / 1001.0),
        (29.97002997, 30_000.0 / 1001.0),
    ] {
        let mut bench = Bench::new();
        bench.push(&metadata(&[("framerate", announced), ("videocodecid", 7.0), ("audiocodecid", 10.0)]));
        bench.push(&tag(TagKind::Video, 0, hex(AVC_25I)));
        bench.push(&tag(TagKind::Audio, 0, hex(AAC_48)));
        let (info, _) = bench.frames(exact, 100).unwrap();
        assert_eq!(info.video.unwrap().frame_rate, Some(exact));
    }
}

#[test]
fn a_rate_that_varies_is_not_constant() {
    let mut bench = Bench::new();
    bench.push(&tag(TagKind::Video, 0, hex(AVC_30)));
    bench.push(&tag(TagKind::Audio, 0, hex(AAC_48)));
    for time in [0, 33, 100, 133, 200, 300, 333, 366] {
        bench.push(&frame(time, time == 0, 0));
    }
    let video = bench.probe.poll(Duration::from_millis(366)).unwrap().video.unwrap();
    assert!(!video.constant_rate);
    assert!((15.0..25.0).contains(&video.frame_rate.unwrap()));
}

#[test]
fn b_frames_are_seen_and_do_not_spoil_the_rate() {
    let mut bench = Bench::new();
    bench.push(&tag(TagKind::Video, 0, hex(AVC_25I)));
    bench.push(&tag(TagKind::Audio, 0, hex(AAC_48)));
    for index in 0..12u32 {
        bench.push(&frame(index * 40, index == 0, [80, 160, 80, 0, 40][index as usize % 4]));
    }
    let video = bench.probe.poll(Duration::from_millis(480)).unwrap().video.unwrap();
    assert!(video.b_frames && video.interlaced);
    assert_eq!(video.frame_rate, Some(25.0));
}

#[test]
fn the_keyframe_interval_of_a_buffered_gop() {
    let mut bench = Bench::new();
    bench.push(&tag(TagKind::Video, 0, hex(AVC_25I)));
    bench.push(&tag(TagKind::Audio, 0, hex(AAC_48)));
    for index in 0..101u32 {
        bench.push_at(&frame(index * 40, index % 50 == 0, 0), Duration::ZERO);
    }
    // All of it is there at once: it decides at once.
    let video = bench.probe.poll(Duration::ZERO).unwrap().video.unwrap();
    assert_eq!(video.keyframe_interval, Some(Duration::from_secs(2)));
    assert!(video.bitrate.is_some());
    assert_eq!(bench.probe.poll(Duration::from_secs(9)), None);
}

#[test]
fn audio_that_is_promised_and_never_comes_does_not_block_beyond_the_timeout() {
    let mut bench = Bench::new();
    bench.push(&metadata(OBS));
    bench.push(&tag(TagKind::Video, 0, hex(AVC_30)));
    let (info, _) = bench.frames(30.0, 1000).unwrap();
    assert_eq!(info.audio, None);
    assert!(info.video.is_some());
}

#[test]
fn a_picture_of_which_only_the_configuration_comes_is_waited_for_and_not_for_ever() {
    let sound = |time| tag(TagKind::Audio, time, vec![0xaf, 1, 7]);
    let announced = || {
        let mut bench = Bench::new();
        bench.push(&tag(TagKind::Video, 0, hex(AVC_30)));
        bench.push(&tag(TagKind::Audio, 0, hex(AAC_48)));
        assert_eq!((bench.probe.patience(), bench.probe.poll(Duration::from_secs(60))), (None, None), "nothing comes");
        bench.push(&sound(1000));
        assert_eq!(bench.probe.patience(), Some(Duration::from_secs(9)));
        assert_eq!(bench.probe.poll(Duration::from_millis(8999)), None, "sound may be early");
        bench
    };
    let alone = announced().probe.poll(Duration::from_secs(9)).unwrap();
    assert!(alone.video.is_none() && alone.audio.is_some());
    let mut bench = announced();
    bench.push(&frame(6000, true, 0));
    assert!(bench.probe.poll(Duration::from_millis(6000)).unwrap().video.is_some());
}

#[test]
fn metadata_without_audio_is_believed_at_once() {
    let mut bench = Bench::new();
    bench.push(&metadata(&[("width", 1920.0), ("framerate", 30.0), ("videocodecid", 7.0)]));
    bench.push(&tag(TagKind::Video, 0, hex(AVC_30)));
    let (info, frames) = bench.frames(30.0, 100).unwrap();
    assert_eq!(info.audio, None);
    assert!(frames < 10);
}

#[test]
fn audio_alone_is_known_with_its_header_when_the_metadata_says_so() {
    let mut bench = Bench::new();
    bench.push(&metadata(&[("audiocodecid", 10.0)]));
    bench.push(&tag(TagKind::Audio, 0, hex("af001210")));
    let info = bench.probe.poll(Duration::ZERO).unwrap();
    assert_eq!((info.video, info.audio.unwrap().sample_rate), (None, 44_100));
}

#[test]
fn he_aac_is_known_by_its_output_rate_and_mp3_by_its_frames() {
    let mut bench = Bench::new();
    bench.push(&metadata(&[("audiocodecid", 10.0)]));
    bench.push(&tag(TagKind::Audio, 0, hex("af00131056e598")));
    assert_eq!(bench.probe.poll(Duration::ZERO).unwrap().audio.unwrap().sample_rate, 48_000);
    let mut bench = Bench::new();
    bench.push(&metadata(&[("audiocodecid", 2.0)]));
    bench.push(&tag(TagKind::Audio, 0, hex("2ffffb94c0")));
    let audio = bench.probe.poll(Duration::ZERO).unwrap().audio.unwrap();
    assert_eq!((audio.codec, audio.sample_rate, audio.channels), (AudioCodec::Mp3, 48_000, 1));
}

#[test]
fn sound_without_a_sequence_header_is_known_by_the_header_of_its_tags() {
    let known = |tags: &str| {
        let mut bench = Bench::new();
        bench.push(&metadata(&[("audiocodecid", 7.0)]));
        bench.push(&tag(TagKind::Audio, 0, hex(tags)));
        let audio = bench.probe.poll(Duration::ZERO).unwrap().audio.unwrap();
        (audio.codec.to_string(), audio.sample_rate, audio.channels)
    };
    assert_eq!(known("72d5"), ("G.711".into(), 8000, 1));
    assert_eq!(known("b630"), ("Speex".into(), 16_000, 1));
    assert_eq!(known("6e2c"), ("Nellymoser".into(), 44_100, 1));
    assert_eq!(known("3f0000"), ("PCM".into(), 44_100, 2));
}

#[test]
fn a_codec_nobody_decodes_is_named() {
    let mut bench = Bench::new();
    bench.push(&metadata(&[("width", 320.0), ("height", 240.0), ("videocodecid", 4.0)]));
    for index in 0..20 {
        bench.push(&tag(TagKind::Video, index * 40, vec![0x14, 0, 0]));
    }
    let video = bench.probe.poll(Duration::from_millis(760)).unwrap().video.unwrap();
    assert_eq!((video.codec, video.width), (VideoCodec::Other("VP6".into()), 320));
}

#[test]
fn nothing_at_all_is_told_after_the_timeout_and_never_before_a_tag() {
    let mut bench = Bench::new();
    assert_eq!(bench.probe.poll(Duration::from_secs(100)), None);
    bench.push(&metadata(OBS));
    assert_eq!(bench.probe.poll(Duration::from_secs(1)), None);
    assert_eq!(bench.probe.poll(Duration::from_secs(3)), Some(SourceInfo { video: None, audio: None }));
}

#[test]
fn a_jump_in_the_first_frames_begins_the_measurement_again() {
    let mut bench = Bench::new();
    bench.push(&tag(TagKind::Video, 0, hex(AVC_30)));
    bench.push(&tag(TagKind::Audio, 0, hex(AAC_48)));
    bench.push_at(&frame(0, true, 0), Duration::ZERO);
    for index in 0..20u32 {
        bench.push_at(&frame(1_000_000_000 + index * 20, index == 0, 0), Duration::ZERO);
    }
    assert_eq!(bench.probe.poll(Duration::ZERO).unwrap().video.unwrap().frame_rate, Some(50.0));
}

/// A frame with one NAL unit of that type.
fn picture(time: u32, key: bool, kind: u8) -> FlvTag {
    let mut body = vec![if key { 0x17 } else { 0x27 }, 1, 0, 0, 0];
    // An access unit delimiter before it, as many encoders send.
    body.extend([0, 0, 0, 2, 9, 0xf0, 0, 0, 0, 3, 0x60 | kind, 1, 2]);
    tag(TagKind::Video, time, body)
}

/// Thirty frames a second with key frames at these frames; what a patient probe says and when, in milliseconds.
fn keyframes(keyframes: Keyframes, keys: &[u32], kind: u8) -> Option<(SourceInfo, u32)> {
    let mut probe = Probe::new(Duration::from_secs(1)).with_keyframes(keyframes);
    probe.push(&tag(TagKind::Video, 0, hex(AVC_30)), Duration::ZERO);
    probe.push(&tag(TagKind::Audio, 0, hex(AAC_48)), Duration::ZERO);
    (0..500).find_map(|index| {
        let time = index * 100 / 3;
        let key = keys.contains(&index);
        probe.push(&picture(time, key, if key { kind } else { 1 }), Duration::from_millis(u64::from(time)));
        probe.poll(Duration::from_millis(u64::from(time))).map(|info| (info, time))
    })
}

#[test]
fn key_frames_are_looked_at_for_as_long_as_asked() {
    let wanted = Keyframes { least: Duration::from_secs(5), most: Duration::from_secs(10) };
    let (info, at) = keyframes(wanted, &[0, 30, 75, 90, 120, 150, 180], 5).unwrap();
    let video = info.video.unwrap();
    assert_eq!((at, video.keyframe_interval), (5000, Some(Duration::from_millis(1500))));
    assert!(video.constant_rate && !video.open_keyframes && video.bitrate.is_some());
}

#[test]
fn two_key_frames_are_awaited_beyond_the_usual_patience_and_not_for_ever() {
    let wanted = Keyframes { least: Duration::ZERO, most: Duration::from_millis(10_100) };
    let (info, at) = keyframes(wanted, &[0, 120], 5).unwrap();
    assert_eq!((at, info.video.unwrap().keyframe_interval), (4000, Some(Duration::from_secs(4))));
    let (info, at) = keyframes(wanted, &[0], 5).unwrap();
    assert_eq!((at, info.video.unwrap().keyframe_interval), (10_100, None));
    // The source falls silent: it is judged a while later.
    let mut probe = Probe::new(Duration::from_secs(1)).with_keyframes(wanted);
    assert_eq!(probe.patience(), Some(Duration::from_secs(1)));
    probe.push(&tag(TagKind::Video, 0, hex(AVC_30)), Duration::ZERO);
    probe.push(&picture(0, true, 5), Duration::ZERO);
    assert_eq!(probe.poll(Duration::from_secs(12)), None);
    assert_eq!(probe.patience(), Some(Duration::from_millis(12_100)));
    assert!(probe.poll(Duration::from_millis(12_100)).is_some());
}

#[test]
fn a_key_frame_that_is_no_idr_picture_is_told() {
    let wanted = Keyframes { least: Duration::ZERO, most: Duration::from_secs(2) };
    assert!(keyframes(wanted, &[0, 30], 1).unwrap().0.video.unwrap().open_keyframes);
    assert!(!keyframes(wanted, &[0, 30], 5).unwrap().0.video.unwrap().open_keyframes);
}
