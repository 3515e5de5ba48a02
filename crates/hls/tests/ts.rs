//! The MPEG-TS slicer on what FFmpeg really writes.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::*;
use hls::slice::{TsSlicer, part_frames};

const TARGET: Duration = Duration::from_micros(213_400);

fn leading_sdt(stream: &[u8]) -> usize {
    stream.chunks(188).take_while(|packet| packet[1] & 0x1f != 0 || packet[2] != 0).count() * 188
}

#[test]
fn segments_are_one_second_within_a_frame_at_each_frame_rate() {
    for rate in RATES {
        for zero_latency in [true, false] {
            let stream = ts_capture(rate, 4, zero_latency);
            let frames = part_frames(TARGET, rate.hertz());
            let events = slice(&mut TsSlicer::new(config(Some(frames))), &stream, 4096);
            let segments = segments(&events);
            let label = format!("{rate:?}, B-frames {}", !zero_latency);
            assert_eq!(segments.len(), 4, "{label}");
            for (index, segment) in segments.iter().enumerate() {
                let ideal = index as i64 * 1_000_000_000;
                let late = segment.start.0 - ideal;
                assert!((-1_000_000..rate.frame().as_nanos() as i64).contains(&late), "{label}: {late}");
                let off = segment.duration.abs_diff(Duration::from_secs(1));
                assert!(off <= rate.frame() + Duration::from_micros(50), "{label}: {:?}", segment.duration);
            }
            let cut: Vec<u8> = segments.iter().flat_map(|s| s.chunks.concat()).collect();
            assert_eq!(cut, &stream[leading_sdt(&stream)..], "{label}");
            check_parts(&events, TARGET);
        }
    }
}
