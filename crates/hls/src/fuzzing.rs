//! What the fuzz targets run: hostile bytes in, and what must hold of whatever comes out.
//!
//! Not part of the interface. Each function is the body of the fuzz target of its name, and is run by the tests over
//! the committed corpus and over random bytes.

use std::time::Duration;

use bytes::Bytes;

use crate::slice::{CmafSlicer, KeyRate, SliceConfig, SliceEvent, Slicer, TsSlicer};
use crate::time::{MediaTime, UnixTime};
use crate::window::{PartInfo, SegmentInfo, Snapshot, Window, WindowConfig};

/// Small enough to be reached by a fuzzer.
const MAX_SEGMENT: usize = 16 << 10;

/// More operations find nothing new, only later.
const MAX_OPERATIONS: usize = 1000;

/// The MPEG-TS slicer: three bytes of settings, then the stream.
pub fn slice_ts(data: &[u8]) {
    slice(data, |config| Box::new(TsSlicer::new(config)));
}

/// The CMAF slicer: three bytes of settings, then the stream.
pub fn slice_cmaf(data: &[u8]) {
    slice(data, |config| Box::new(CmafSlicer::new(config)));
}

fn slice(data: &[u8], slicer: impl Fn(SliceConfig) -> Box<dyn Slicer>) {
    let [frames, piece, flags, stream @ ..] = data else { return };
    let config = SliceConfig {
        segment: Duration::from_millis(if flags & 1 == 0 { 1000 } else { 200 }),
        part_frames: (*frames > 0).then_some(u32::from(*frames)),
        origin: Duration::from_secs(u64::from(flags >> 4)),
        max_segment_bytes: MAX_SEGMENT,
        frame_duration: (flags & 2 != 0).then_some(Duration::from_millis(40)),
        keys: (flags & 8 != 0).then_some(KeyRate { num: 30, den: 1 }),
    };
    let clean = flags & 4 == 0;
    let stream = Bytes::copy_from_slice(stream);
    let whole = run(&mut *slicer(config.clone()), &stream, stream.len().max(1), clean);
    let torn = run(&mut *slicer(config), &stream, usize::from(*piece) + 1, clean);
    assert!(whole == torn, "events depend on the chunking");
    check(&whole, stream.len());
}

/// Chunks joined, so that they can be compared.
fn run(slicer: &mut dyn Slicer, stream: &Bytes, piece: usize, clean: bool) -> Vec<SliceEvent> {
    let mut events = Vec::new();
    let mut failed = None;
    for at in (0..stream.len()).step_by(piece) {
        let bytes = stream.slice(at..(at + piece).min(stream.len()));
        let result = slicer.push(bytes);
        assert!(failed.is_none() || failed == result.clone().err(), "an error was forgotten");
        failed = result.err().or(failed);
        events.extend(std::iter::from_fn(|| slicer.poll()));
    }
    let result = slicer.finish(clean);
    assert!(failed.is_none() || failed == result.err(), "an error was forgotten");
    events.extend(std::iter::from_fn(|| slicer.poll()));
    for event in &mut events {
        match event {
            SliceEvent::Part(part) => part.chunks = vec![part.chunks.concat().into()],
            SliceEvent::Segment(segment) => segment.chunks = vec![segment.chunks.concat().into()],
            SliceEvent::Tracks(_) | SliceEvent::Init(_) => {}
        }
    }
    events
}

fn check(events: &[SliceEvent], length: usize) {
    let (mut parts, mut next_part, mut next_segment, mut total) = (Vec::new(), 0, 0, 0);
    let mut start: Option<MediaTime> = None;
    for (index, event) in events.iter().enumerate() {
        assert!(index > 0 || matches!(event, SliceEvent::Tracks(_)), "media before the tracks");
        match event {
            SliceEvent::Part(part) => {
                assert_eq!((part.segment, part.index), (next_segment, next_part));
                next_part += 1;
                start.get_or_insert(part.start);
                parts.extend(part.chunks.concat());
            }
            SliceEvent::Segment(segment) => {
                let bytes = segment.chunks.concat();
                assert_eq!((segment.index, segment.bytes), (next_segment, bytes.len() as u64));
                assert!(!bytes.is_empty() && bytes.len() <= MAX_SEGMENT);
                assert!(next_part == 0 || (parts == bytes && start == Some(segment.start)), "parts are not it");
                (next_part, start) = (0, None);
                parts.clear();
                next_segment += 1;
                total += bytes.len();
            }
            SliceEvent::Tracks(_) | SliceEvent::Init(_) => {}
        }
    }
    assert!(total <= length, "more out than in");
}

/// A sequence of operations on a window, two bytes each.
pub fn window(data: &[u8]) {
    let config = config(Duration::from_secs(8));
    let mut window = Window::new(config.clone(), 0, 0);
    let mut before = window.snapshot();
    let mut date = UnixTime(0);
    for op in data.chunks_exact(2).take(MAX_OPERATIONS) {
        let duration = Duration::from_millis(u64::from(op[1]) * 6);
        let msn = window.next_msn();
        match op[0] % 16 {
            0 => window.discontinuity(),
            1 => window.set_init(&format!("init{}.mp4", op[1])),
            2 => window.end(),
            3 => window.set_uri_prefix(if op[1] % 2 == 0 { "a" } else { "b" }),
            4..=9 => {
                let index = before.next().1;
                let uri = config.part_uri(msn, index);
                let date = date.saturating_add(duration * index);
                window.push_part(PartInfo { uri, duration: duration / 5, date, independent: index == 0 });
            }
            _ => {
                let gap = op[0] % 16 == 15;
                window.push_segment(SegmentInfo { uri: config.segment_uri(msn), duration, date, bytes: 1, gap });
                date = date.saturating_add(duration);
            }
        }
        let after = window.snapshot();
        check_step(&before, &after, op[0] % 16 == 0);
        let (evicted, retired) = (window.drain_evicted(), window.drain_retired_parts());
        let text = after.render_low_latency(&[], false);
        assert!(evicted.iter().chain(&retired).all(|uri| !text.contains(&format!("{uri}\n"))));
        before = after;
    }
    check_restored(&config, &before.render_plain());
}

/// What may change from one moment of a playlist to the next.
fn check_step(before: &Snapshot, after: &Snapshot, restarted: bool) {
    assert!(after.first_msn() >= before.first_msn() && after.next().0 >= before.next().0);
    assert!(after.discontinuity_sequence() >= before.discontinuity_sequence());
    assert!(!before.ended() || before.render_plain() == after.render_plain());
    let least = Duration::from_secs(u64::from(after.target_duration()) * 3);
    let removed = after.first_msn() > before.first_msn();
    assert!(!removed || after.window_duration() >= least || after.segments().len() > 100);
    for msn in before.next().0.saturating_sub(3)..before.next().0 + 3 {
        for part in [None, Some(0), Some(1), Some(7)] {
            assert!(restarted || after.has(msn, part) || !before.has(msn, part), "{msn} {part:?} was there");
            assert!(!(after.has(msn, part) && after.too_far(msn, part)));
        }
    }
    for text in [after.render_plain(), after.render_low_latency(&[], false), after.render_low_latency(&[], true)] {
        assert!(text.starts_with("#EXTM3U\n") && text.contains("#EXT-X-ENDLIST\n") == after.ended());
        assert!(!(after.ended() && text.contains("PRELOAD-HINT")));
    }
}

/// Restoring whatever text there is.
pub fn restore(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // As long a window as there can be: nothing leaves it.
    let config = config(Duration::from_secs(u64::MAX / 1000));
    if let Ok(window) = Window::restore(config.clone(), &text) {
        check_restored(&config, &window.snapshot().render_plain());
    }
}

/// A playlist of ours is restored to itself.
fn check_restored(config: &WindowConfig, text: &str) {
    let window = Window::restore(config.clone(), text);
    let again = window.map(|window| window.snapshot().render_plain());
    assert_eq!(again.as_deref(), Ok(text));
}

fn config(window: Duration) -> WindowConfig {
    let part_target = Some(Duration::from_micros(213_400));
    WindowConfig { window, part_target, uri_prefix: "a".into(), ..WindowConfig::default() }
}
