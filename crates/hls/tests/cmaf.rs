//! The CMAF slicer on what FFmpeg really writes.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use common::*;
use hls::media::{AudioTrack, Tracks, VideoTrack};
use hls::slice::{CmafSlicer, KeyRate, SliceConfig, SliceError, SliceEvent, Slicer, part_frames};
use proptest::prelude::*;

const TARGET: Duration = Duration::from_micros(213_400);
const THIRTY: Rate = Rate(30, 1);

static VIDEO: LazyLock<Bytes> = LazyLock::new(|| video(THIRTY, 3, true));

fn video(rate: Rate, seconds: u32, zero_latency: bool) -> Bytes {
    ffmpeg(&format!("{} {} {CMAF}", video_source(rate, seconds), x264(zero_latency)))
}

fn audio(seconds: u32) -> Bytes {
    ffmpeg(&format!("{} {AAC} {CMAF}", audio_source(seconds)))
}

fn cut(stream: &Bytes, part_frames: Option<u32>, piece: usize) -> Vec<SliceEvent> {
    slice(&mut CmafSlicer::new(config(part_frames)), stream, piece)
}

fn init(events: &[SliceEvent]) -> Bytes {
    let [SliceEvent::Tracks(_), SliceEvent::Init(init), ..] = events else { panic!("{:?}", events.first()) };
    init.clone()
}

fn check_rate(rate: Rate, zero_latency: bool) {
    let stream = video(rate, 4, zero_latency);
    let events = cut(&stream, Some(part_frames(TARGET, rate.hertz())), 4096);
    let segments = segments(&events);
    assert_eq!(segments.len(), 4, "{rate:?}");
    let mut joined = init(&events).to_vec();
    for (index, segment) in segments.iter().enumerate() {
        let late = segment.start.0 - index as i64 * 1_000_000_000;
        assert!((-1_000_000..rate.frame().as_nanos() as i64).contains(&late), "{rate:?}: {late}");
        let off = segment.duration.abs_diff(Duration::from_secs(1));
        assert!(off <= rate.frame() + Duration::from_micros(50), "{rate:?}: {:?}", segment.duration);
        joined.extend(segment.chunks.concat());
    }
    assert_eq!(joined, stream);
    check_parts(&events, TARGET);
    // A promise of keyframes changes when a segment is out, and nothing in it.
    let promised = slice(&mut CmafSlicer::new(promise(rate, part_frames(TARGET, rate.hertz()))), &stream, 4096);
    assert_eq!(flat(promised), flat(events), "{rate:?}");
}

fn promise(rate: Rate, part_frames: u32) -> SliceConfig {
    SliceConfig { keys: Some(KeyRate { num: rate.0, den: rate.1 }), ..config(Some(part_frames)) }
}

/// How many bytes of the stream had come when each segment was out.
fn closed_at(config: SliceConfig, stream: &Bytes) -> Vec<usize> {
    let mut slicer = CmafSlicer::new(config);
    let (mut pushed, mut closed) = (0, Vec::new());
    for piece in stream.chunks(16) {
        slicer.push(Bytes::copy_from_slice(piece)).unwrap();
        pushed += piece.len();
        let events: Vec<SliceEvent> = std::iter::from_fn(|| slicer.poll()).collect();
        closed.extend(segments(&events).iter().map(|_| pushed));
    }
    closed
}

#[test]
fn where_keyframes_are_promised_a_segment_is_out_with_its_last_fragment() {
    let grouped = CMAF.replace("+frag_every_frame", "+frag_keyframe -frag_duration 183333");
    let stream = ffmpeg(&format!("{} {} {grouped}", video_source(THIRTY, 3), x264(true)));
    let events = cut(&stream, Some(6), 65_536);
    let mut end = init(&events).len();
    let ends = segments(&events).into_iter().map(|segment| {
        end += segment.bytes as usize;
        end
    });
    let (promised, unknown) = (closed_at(promise(THIRTY, 6), &stream), closed_at(config(Some(6)), &stream));
    assert_eq!((promised.len(), unknown.len()), (3, 2), "the last one needs no end of the stream either");
    for (at, end) in promised.iter().zip(ends) {
        assert!((end..end + 16).contains(at), "out at {at}, whole at {end}");
    }
    assert!(unknown[0] > promised[0] + 1000, "only the next fragment proves that it is over");
}

#[test]
fn a_broken_promise_of_keyframes_costs_no_picture() {
    let sparse = x264(true).replace("n_forced*1", "n_forced*2");
    let stream = ffmpeg(&format!("{} {sparse} {CMAF}", video_source(THIRTY, 4)));
    let events = slice(&mut CmafSlicer::new(promise(THIRTY, 6)), &stream, 4096);
    let found = segments(&events);
    assert_eq!(found.iter().map(|segment| segment.independent).collect::<Vec<_>>(), [true, false, true, false]);
    let joined: Vec<u8> = found.iter().flat_map(|segment| segment.chunks.concat()).collect();
    assert_eq!([&init(&events)[..], &joined].concat(), stream);
}

#[test]
fn segments_are_one_second_within_a_frame_at_each_frame_rate() {
    RATES.into_iter().for_each(|rate| check_rate(rate, true));
}

#[test]
fn segments_are_one_second_within_a_frame_with_b_frames_too() {
    RATES.into_iter().for_each(|rate| check_rate(rate, false));
}

#[test]
fn a_minute_of_audio_is_cut_at_the_first_frame_of_each_second() {
    let stream = audio(60);
    let events = cut(&stream, Some(10), 65_536);
    let tracks =
        Tracks { video: None, audio: Some(AudioTrack { codec: "mp4a.40.2".into(), sample_rate: 48_000, channels: 2 }) };
    assert_eq!(events[0], SliceEvent::Tracks(tracks));
    let segments = segments(&events);
    assert!((60..=61).contains(&segments.len()), "{}", segments.len());
    // The encoder's priming lies before session zero, and in the first segment.
    assert_eq!(segments[0].start.0, -21_333_333);
    for (index, segment) in segments.iter().enumerate().skip(1) {
        let late = segment.start.0 - index as i64 * 1_000_000_000;
        assert!((-1_000_000..21_333_334).contains(&late), "{index}: {late}");
    }
    for pair in segments.windows(2) {
        let gap = pair[1].start.0 - pair[0].start.0 - pair[0].duration.as_nanos() as i64;
        assert!(gap.abs() <= 1000, "{gap}");
    }
    check_parts(&events, TARGET);
}

#[test]
fn an_audio_segment_is_out_with_its_last_frame() {
    let stream = audio(3);
    let mut slicer = CmafSlicer::new(config(Some(10)));
    let mut pushed = 0;
    let mut closed = Vec::new();
    for piece in stream.chunks(16) {
        slicer.push(Bytes::copy_from_slice(piece)).unwrap();
        pushed += piece.len();
        closed.extend(
            segments(&std::iter::from_fn(|| slicer.poll()).collect::<Vec<_>>()).into_iter().map(|s| (pushed, s)),
        );
    }
    assert!(closed.len() >= 2);
    let mut end = init(&cut(&stream, None, 65_536)).len();
    for (pushed, segment) in closed {
        end += segment.bytes as usize;
        assert!(pushed < end + 16, "{pushed} {end}");
    }
}

#[test]
fn each_segment_decodes_with_its_init() {
    for zero_latency in [true, false] {
        let events = cut(&video(THIRTY, 3, zero_latency), None, 65_536);
        for segment in segments(&events) {
            let bytes = [&init(&events)[..], &segment.chunks.concat()].concat();
            assert_eq!(decode(&bytes), (String::new(), 30), "segment {}", segment.index);
        }
    }
}

#[test]
fn tracks_are_read_from_the_init() {
    let events = cut(&VIDEO, None, 1000);
    let SliceEvent::Tracks(Tracks { video: Some(video), audio: None }) = &events[0] else { panic!("{:?}", events[0]) };
    assert!(video.codec.starts_with("avc1.42c0"), "{}", video.codec);
    assert_eq!((video.width, video.height, video.frame_rate), (320, 180, Some(30.0)));
    assert_eq!(&init(&events)[4..8], b"ftyp");
}

#[test]
fn av1_gives_its_codec_string_and_the_rate_of_its_samples() {
    let encoder = "-c:v libaom-av1 -cpu-used 8 -usage realtime -lag-in-frames 0 -g 25 -pix_fmt yuv420p";
    let stream = ffmpeg(&format!("{} {encoder} {CMAF}", video_source(Rate(25, 1), 2)));
    let events = cut(&stream, None, 65_536);
    let expected = VideoTrack { codec: "av01.0.00M.08".into(), width: 320, height: 180, frame_rate: Some(25.0) };
    assert_eq!(events[0], SliceEvent::Tracks(Tracks { video: Some(expected), audio: None }));
    assert_eq!(segments(&events).len(), 2);
}

#[test]
fn hevc_gives_its_codec_string() {
    let encoder = "-c:v libx265 -preset ultrafast -tune zerolatency -x265-params log-level=none:keyint=25 \
                   -pix_fmt yuv420p -tag:v hvc1";
    let stream = ffmpeg(&format!("{} {encoder} {CMAF}", video_source(Rate(25, 1), 2)));
    let events = cut(&stream, Some(5), 65_536);
    let SliceEvent::Tracks(Tracks { video: Some(video), .. }) = &events[0] else { panic!("{:?}", events[0]) };
    assert!(video.codec.starts_with("hvc1.1.6.L60"), "{}", video.codec);
    assert_eq!((video.width, video.height, video.frame_rate), (320, 180, Some(25.0)));
    check_parts(&events, TARGET);
}

#[test]
fn fragments_of_several_frames_are_cut_at_their_bounds() {
    let grouped = CMAF.replace("+frag_every_frame", "+frag_keyframe -frag_duration 200000");
    let stream = ffmpeg(&format!("{} {} {grouped}", video_source(THIRTY, 3), x264(true)));
    let events = cut(&stream, Some(6), 65_536);
    assert_eq!(segments(&events).len(), 3);
    check_parts(&events, TARGET);
}

#[test]
fn a_trailing_index_is_dropped() {
    let indexed = CMAF.replace("+skip_trailer", "");
    let stream = ffmpeg(&format!("{} {} {indexed}", video_source(THIRTY, 2), x264(true)));
    let mfra = stream.windows(4).rposition(|bytes| bytes == b"mfra").unwrap() - 4;
    let events = cut(&stream, None, 1000);
    let bytes: u64 = segments(&events).iter().map(|segment| segment.bytes).sum();
    assert_eq!(bytes as usize + init(&events).len(), mfra);
}

#[test]
fn a_torn_fragment_is_dropped() {
    let stream = VIDEO.slice(..VIDEO.len() - 10);
    for clean in [true, false] {
        let mut slicer = CmafSlicer::new(config(None));
        slicer.push(stream.clone()).unwrap();
        slicer.finish(clean).unwrap();
        let events: Vec<SliceEvent> = std::iter::from_fn(|| slicer.poll()).collect();
        let last = segments(&events).pop().unwrap();
        let bytes = [&init(&events)[..], &last.chunks.concat()].concat();
        assert_eq!(decode(&bytes), (String::new(), 29));
    }
}

#[test]
fn what_is_no_cmaf_is_a_typed_error() {
    let push = |bytes: &[u8]| CmafSlicer::new(config(None)).push(Bytes::copy_from_slice(bytes)).unwrap_err();
    assert!(matches!(push(b"\0\0\0\x10moof\0\0\0\x08mfhd"), SliceError::Malformed { offset: 0, .. }));
    assert!(matches!(push(b"\0\0\0\x08ftyp\0\0\0\x08mdat"), SliceError::Malformed { offset: 8, .. }));
    assert!(matches!(push(b"\0\0\0\x08ftyp\0\0\0\x08moov"), SliceError::Malformed { offset: 8, .. }));
    assert!(matches!(push(b"\0\0\0\x08ftyp\x10\0\0\0moov"), SliceError::BoxTooLarge { offset: 8, .. }));
    assert!(matches!(push(b"#EXTM3U\n#EXT-X-VERSION:3\n"), SliceError::Malformed { .. }));
}

#[test]
fn a_segment_without_end_is_an_error() {
    let config = SliceConfig { max_segment_bytes: 10_000, ..config(None) };
    let error = CmafSlicer::new(config).push(VIDEO.clone()).unwrap_err();
    assert!(matches!(error, SliceError::SegmentTooLarge { limit: 10_000, .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn events_do_not_depend_on_how_the_bytes_are_chunked(piece in 1_usize..5000) {
        let whole = cut(&VIDEO, Some(6), VIDEO.len());
        let pieces = cut(&VIDEO, Some(6), piece);
        prop_assert!(flat(whole) == flat(pieces));
    }
}
