//! The MPEG-TS slicer on what FFmpeg really writes.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use common::*;
use hls::media::{AudioTrack, Tracks};
use hls::slice::{SliceConfig, SliceError, SliceEvent, Slicer, TsSlicer, part_frames};
use proptest::prelude::*;

const TARGET: Duration = Duration::from_micros(213_400);
const THIRTY: Rate = Rate(30, 1);

/// Three seconds at 30 frames a second, without B-frames.
static CAPTURE: LazyLock<Bytes> = LazyLock::new(|| ts_capture(THIRTY, 3, true));

fn leading_sdt(stream: &[u8]) -> usize {
    stream.chunks(188).take_while(|packet| packet[1] & 0x1f != 0 || packet[2] != 0).count() * 188
}

fn cut(stream: &Bytes, part_frames: Option<u32>, piece: usize) -> Vec<SliceEvent> {
    slice(&mut TsSlicer::new(config(part_frames)), stream, piece)
}

fn joined(events: &[SliceEvent]) -> Vec<u8> {
    segments(events).iter().flat_map(|segment| segment.chunks.concat()).collect()
}

fn pid(packet: &[u8]) -> u16 {
    u16::from(packet[1] & 0x1f) << 8 | u16::from(packet[2])
}

fn check_rate(rate: Rate, zero_latency: bool) {
    let stream = ts_capture(rate, 4, zero_latency);
    let events = cut(&stream, Some(part_frames(TARGET, rate.hertz())), 4096);
    let segments = segments(&events);
    assert_eq!(segments.len(), 4);
    for (index, segment) in segments.iter().enumerate() {
        let late = segment.start.0 - index as i64 * 1_000_000_000;
        assert!((-1_000_000..rate.frame().as_nanos() as i64).contains(&late), "{late}");
        let off = segment.duration.abs_diff(Duration::from_secs(1));
        assert!(off <= rate.frame() + Duration::from_micros(50), "{:?}", segment.duration);
    }
    assert_eq!(joined(&events), &stream[leading_sdt(&stream)..]);
    check_parts(&events, TARGET);
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
fn a_minute_of_segments_does_not_drift_from_the_grid() {
    for rate in [Rate(24000, 1001), Rate(30000, 1001), Rate(60000, 1001)] {
        let events = cut(&ts_capture(rate, 60, true), None, 65_536);
        let segments = segments(&events);
        // 60 s of input are a frame more or less than 60 s of output.
        assert!((60..=61).contains(&segments.len()), "{rate:?}: {}", segments.len());
        for (index, segment) in segments.iter().enumerate() {
            let late = segment.start.0 - index as i64 * 1_000_000_000;
            assert!((-1_000_000..rate.frame().as_nanos() as i64).contains(&late), "{rate:?} {index}: {late}");
        }
        for pair in segments.windows(2) {
            assert_eq!(pair[1].start.saturating_since(pair[0].start), pair[0].duration);
        }
    }
}

#[test]
fn each_segment_decodes_alone() {
    for zero_latency in [true, false] {
        let events = cut(&ts_capture(THIRTY, 3, zero_latency), None, 65_536);
        for segment in segments(&events) {
            let (complaints, frames) = decode(&segment.chunks.concat());
            assert_eq!((complaints.as_str(), frames), ("", 30), "segment {}", segment.index);
        }
    }
}

#[test]
fn each_segment_begins_with_pat_pmt_and_a_random_access_point() {
    let events = cut(&CAPTURE, Some(6), 65_536);
    for segment in segments(&events).iter().skip(1) {
        let bytes = segment.chunks.concat();
        let packets: Vec<&[u8]> = bytes.chunks(188).take(3).collect();
        assert_eq!((pid(packets[0]), pid(packets[1]), pid(packets[2])), (0, 0x1000, 0x100));
        assert!(packets[2][3] & 0x20 != 0 && packets[2][5] & 0x40 != 0, "no random access indicator");
    }
}

#[test]
fn each_part_has_pat_and_pmt_before_its_first_frame() {
    let events = cut(&CAPTURE, Some(6), 65_536);
    for part in parts(&events) {
        let bytes = part.chunks.concat();
        let pids: Vec<u16> = bytes.chunks(188).map(pid).collect();
        let video = pids.iter().position(|&pid| pid == 0x100).unwrap();
        assert_eq!(pids[video - 2..video], [0, 0x1000], "part {}.{}", part.segment, part.index);
    }
}

#[test]
fn a_part_is_out_as_soon_as_its_last_frame_is_whole_and_the_last_with_the_segment() {
    let mut slicer = TsSlicer::new(config(Some(6)));
    let mut ends = Vec::new();
    for (index, packet) in CAPTURE.chunks(188).enumerate() {
        slicer.push(Bytes::copy_from_slice(packet)).unwrap();
        while let Some(event) = slicer.poll() {
            ends.push((index, event));
        }
    }
    let mut last_frame = 0;
    let mut seen = 0;
    for (index, packet) in CAPTURE.chunks(188).enumerate() {
        for (_, event) in ends.iter().filter(|(end, _)| *end == index) {
            if let SliceEvent::Part(part) = event {
                // Nothing was waited for: the packet that completed the frame gave the part out.
                assert!(part.index == 4 || pid(packet) == 0x100, "part {}.{}", part.segment, part.index);
                assert!(part.index == 4 || index - last_frame < 100);
                last_frame = index;
                seen += 1;
            }
        }
    }
    assert!(seen >= 12);
    for pair in ends.windows(2) {
        if let (_, SliceEvent::Segment(segment)) = &pair[1] {
            let (at, SliceEvent::Part(part)) = &pair[0] else { panic!("a segment without a last part") };
            assert_eq!((*at, part.segment), (pair[1].0, segment.index));
        }
    }
}

#[test]
fn nothing_is_copied() {
    let range = CAPTURE.as_ptr_range();
    for segment in segments(&cut(&CAPTURE, Some(6), 10_000)) {
        for chunk in segment.chunks {
            assert!(range.contains(&chunk.as_ptr()), "a copy of {} bytes", chunk.len());
        }
    }
}

#[test]
fn tracks_come_first_and_once_and_are_read_from_the_bits() {
    let events = cut(&CAPTURE, Some(6), 65_536);
    let SliceEvent::Tracks(tracks) = &events[0] else { panic!("{:?}", events[0]) };
    let video = tracks.video.as_ref().unwrap();
    assert!(video.codec.starts_with("avc1.42c0"), "{}", video.codec);
    assert_eq!((video.width, video.height, video.frame_rate), (320, 180, Some(30.0)));
    let audio = AudioTrack { codec: "mp4a.40.2".into(), sample_rate: 48_000, channels: 2 };
    assert_eq!(tracks.audio, Some(audio));
    assert_eq!(events.iter().filter(|event| matches!(event, SliceEvent::Tracks(_))).count(), 1);
}

#[test]
fn the_frame_rate_is_exact_where_it_is_a_fraction() {
    let events = cut(&ts_capture(Rate(60000, 1001), 1, true), None, 65_536);
    let SliceEvent::Tracks(Tracks { video: Some(video), .. }) = &events[0] else { panic!("{:?}", events[0]) };
    assert!((video.frame_rate.unwrap() - 59.94006).abs() < 1e-4);
}

#[test]
fn video_without_audio_is_cut_alike() {
    let stream = ffmpeg(&format!("{} {} {TS}", video_source(THIRTY, 3), x264(true)));
    let events = cut(&stream, Some(6), 65_536);
    let SliceEvent::Tracks(tracks) = &events[0] else { panic!("{:?}", events[0]) };
    assert!(tracks.video.is_some() && tracks.audio.is_none());
    let starts: Vec<i64> = segments(&events).iter().map(|segment| segment.start.0).collect();
    assert_eq!(starts, [0, 1_000_000_000, 2_000_000_000]);
    check_parts(&events, TARGET);
}

#[test]
fn audio_without_video_is_cut_at_the_first_frame_of_each_second() {
    let each_frame = "-pes_payload_size 0 -pat_period 0.02";
    let stream = ffmpeg(&format!("{} {AAC} {each_frame} {TS}", audio_source(10)));
    let events = cut(&stream, Some(10), 4096);
    let SliceEvent::Tracks(tracks) = &events[0] else { panic!("{:?}", events[0]) };
    assert!(tracks.video.is_none() && tracks.audio.is_some());
    let segments = segments(&events);
    let frame = 21_333_334;
    for (index, segment) in segments.iter().enumerate().skip(1) {
        let late = segment.start.0 - index as i64 * 1_000_000_000;
        assert!((-1_000_000..frame).contains(&late), "{index}: {late}");
        assert_eq!(segment.chunks.concat()[1..3], [0x40, 0], "a PAT");
    }
    assert!((10..=11).contains(&segments.len()), "{}", segments.len());
    assert_eq!(joined(&events), &stream[leading_sdt(&stream)..]);
    check_parts(&events, TARGET);
}

#[test]
fn the_33_bit_clock_wraps_without_a_seam() {
    // The clock wraps 3.7 s after session zero.
    let wrapping = TS.replace("-output_ts_offset 10", "-output_ts_offset 95440");
    let stream = ffmpeg(&format!("{} {} {wrapping}", video_source(THIRTY, 6), x264(false)));
    let config = SliceConfig { origin: Duration::from_secs(95_440), ..config(Some(6)) };
    let events = slice(&mut TsSlicer::new(config), &stream, 65_536);
    let starts: Vec<i64> = segments(&events).iter().map(|segment| segment.start.0 / 1_000_000_000).collect();
    assert_eq!(starts, [0, 1, 2, 3, 4, 5]);
    check_parts(&events, TARGET);
}

#[test]
fn a_boundary_without_a_keyframe_makes_one_longer_segment() {
    let rare = x264(true).replace("n_forced*1", "n_forced*1.5");
    let stream = ffmpeg(&format!("{} {rare} {TS}", video_source(THIRTY, 6)));
    let events = cut(&stream, Some(6), 65_536);
    let starts: Vec<i64> = segments(&events).iter().map(|segment| segment.start.0 / 1_000_000).collect();
    assert_eq!(starts, [0, 1500, 3000, 4500]);
    check_parts(&events, TARGET);
}

#[test]
fn keyframes_within_a_segment_begin_parts() {
    let often = x264(true).replace("n_forced*1", "n_forced*0.4-0.001");
    let stream = ffmpeg(&format!("{} {often} {TS}", video_source(THIRTY, 2)));
    let events = cut(&stream, Some(6), 65_536);
    let independent: Vec<bool> = parts(&events).iter().map(|part| part.independent).collect();
    // Keyframes at 0, 0.4, 0.8, 1.2 (its segment starts there: there is none at 1.0), 1.6.
    assert_eq!(independent, [true, false, true, false, true, false, true, false, true, false]);
    assert_eq!(segments(&events).len(), 2);
}

#[test]
fn variable_frame_rate_keeps_segments_exact_and_parts_within_their_frames() {
    // Each seventh frame is missing: parts claim no more than their frames last.
    let source = format!("{} -vf select='mod(n\\,7)' -vsync vfr", video_source(THIRTY, 4));
    let stream = ffmpeg(&format!("{source} {} {TS}", x264(true)));
    let config = SliceConfig { frame_duration: Some(THIRTY.frame()), ..config(Some(6)) };
    let events = slice(&mut TsSlicer::new(config), &stream, 65_536);
    for pair in segments(&events).windows(2) {
        assert_eq!(pair[1].start.saturating_since(pair[0].start), pair[0].duration);
    }
    for segment in segments(&events) {
        let parts: Vec<_> = parts(&events).into_iter().filter(|part| part.segment == segment.index).collect();
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.chunks.concat()).collect();
        assert_eq!(bytes, segment.chunks.concat());
        assert!(parts.iter().all(|part| part.duration <= TARGET), "{parts:?}");
    }
}

#[test]
fn garbage_before_and_within_the_stream_costs_no_more_than_what_it_hit() {
    let third = CAPTURE.len() / 188 / 3 * 188;
    let mut bytes = vec![0x47; 1000];
    bytes.extend(&CAPTURE[..third]);
    bytes.extend([0x12; 777]);
    bytes.extend(&CAPTURE[third..]);
    let events = cut(&Bytes::from(bytes), None, 65_536);
    let starts: Vec<i64> = segments(&events).iter().map(|segment| segment.start.0).collect();
    assert_eq!(starts, [0, 1_000_000_000, 2_000_000_000]);
}

#[test]
fn what_cannot_be_decoded_before_the_first_keyframe_is_dropped() {
    // From within the first second on: its rest has no keyframe.
    let stream = CAPTURE.slice(CAPTURE.len() / 188 / 6 * 188..);
    let events = cut(&stream, Some(6), 65_536);
    let first = &segments(&events)[0];
    assert_eq!((first.index, first.start.0), (0, 1_000_000_000));
    assert_eq!(decode(&first.chunks.concat()), (String::new(), 30));
}

#[test]
fn a_torn_end_is_dropped_after_a_crash() {
    // Within the last frame, before the packet that ends it.
    let last = CAPTURE.chunks(188).rposition(|packet| pid(packet) == 0x100 && packet[1] & 0x40 != 0).unwrap();
    let stream = CAPTURE.slice(..(last + 1) * 188 + 50);
    let mut slicer = TsSlicer::new(config(Some(6)));
    slicer.push(stream).unwrap();
    slicer.finish(false).unwrap();
    let events: Vec<SliceEvent> = std::iter::from_fn(|| slicer.poll()).collect();
    let segment = segments(&events).pop().unwrap();
    assert_eq!(decode(&segment.chunks.concat()), (String::new(), 29));
    assert_eq!(segment.duration, THIRTY.frame() * 29 + Duration::from_nanos(9));
    check_parts(&events, TARGET);
}

#[test]
fn a_segment_without_end_is_an_error_and_stays_one() {
    let config = SliceConfig { max_segment_bytes: 10_000, ..config(None) };
    let mut slicer = TsSlicer::new(config);
    let error = slicer.push(CAPTURE.clone()).unwrap_err();
    assert!(matches!(error, SliceError::SegmentTooLarge { limit: 10_000, .. }), "{error}");
    assert_eq!(slicer.push(Bytes::new()), Err(error.clone()));
    assert_eq!(slicer.finish(true), Err(error));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn events_do_not_depend_on_how_the_bytes_are_chunked(
        pieces in prop::collection::vec(1_usize..3000, 1..40),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut stream = CAPTURE[..CAPTURE.len() / 2].to_vec();
        for (index, byte) in damage {
            let index = index.index(stream.len());
            stream[index] = byte;
        }
        let stream = Bytes::from(stream);
        let whole = flat(cut(&stream, Some(6), stream.len()));
        let mut slicer = TsSlicer::new(config(Some(6)));
        let mut events = Vec::new();
        let mut rest = stream.clone();
        for size in pieces.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            slicer.push(rest.split_to((*size).min(rest.len()))).unwrap();
            events.extend(std::iter::from_fn(|| slicer.poll()));
        }
        slicer.finish(true).unwrap();
        events.extend(std::iter::from_fn(|| slicer.poll()));
        prop_assert!(flat(events) == whole);
    }
}
