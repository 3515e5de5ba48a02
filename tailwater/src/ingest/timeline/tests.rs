//! One test a row of what encoders do to their timelines.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::Bytes;
use rtmp::flv::{FlvTag, TagKind, VideoHeader};

use super::{Event, Planned, Timeline};

const BOTH: Planned = Planned { video: true, audio: true };
const VIDEO: Planned = Planned { video: true, audio: false };
const AUDIO: Planned = Planned { video: false, audio: true };

/// AAC-LC, 48 kHz, stereo: a frame is 21.33 ms.
const AAC: &[u8] = &[0xaf, 0, 0x11, 0x90];
const AVC: &[u8] = &[0x17, 0, 0, 0, 0, 1, 2, 3];

fn ms(time: i64) -> Duration {
    Duration::from_millis(time as u64)
}

fn tag(kind: TagKind, time: i64, body: &[u8]) -> FlvTag {
    FlvTag { kind, timestamp: time as u32, body: Bytes::copy_from_slice(body) }
}

fn frame(time: i64, composition: i32, key: bool) -> FlvTag {
    let mut body = vec![if key { 0x17 } else { 0x27 }, 1];
    body.extend(&composition.to_be_bytes()[1..]);
    body.push(0x65);
    tag(TagKind::Video, time, &body)
}

fn sound(time: i64) -> FlvTag {
    tag(TagKind::Audio, time, &[0xaf, 1, 0x99])
}

/// A source at 25 frames and 46.875 audio frames a second, seen through a timeline. Time is counted in real milliseconds since its
/// start; what the encoder stamps on it is up to the test.
struct Bench {
    timeline: Timeline,
    now: i64,
    next_audio: i64,
    out: Vec<FlvTag>,
    events: Vec<Event>,
    /// Encoder's stamp of a real time, each track.
    stamp_video: Box<dyn Fn(i64) -> i64>,
    stamp_audio: Box<dyn Fn(i64) -> i64>,
    video: bool,
    audio: bool,
    /// How much later than captured audio arrives.
    audio_delay: i64,
}

impl Bench {
    fn new(planned: Planned) -> Self {
        let mut bench = Self {
            timeline: Timeline::new(planned),
            now: 0,
            next_audio: 0,
            out: Vec::new(),
            events: Vec::new(),
            stamp_video: Box::new(|time| time),
            stamp_audio: Box::new(|time| time),
            video: planned.video,
            audio: planned.audio,
            audio_delay: 0,
        };
        bench.push(tag(TagKind::Video, 0, AVC));
        bench.push(tag(TagKind::Audio, 0, AAC));
        bench
    }

    fn stamped(mut self, stamp: impl Fn(i64) -> i64 + Clone + 'static) -> Self {
        self.stamp_video = Box::new(stamp.clone());
        self.stamp_audio = Box::new(stamp);
        self
    }

    fn push(&mut self, tag: FlvTag) {
        self.out.extend(self.timeline.handle(ms(1000 + self.now), tag));
        while let Some(event) = self.timeline.poll_event() {
            self.events.push(event);
        }
    }

    /// Real time goes on by so much.
    fn run(&mut self, milliseconds: i64) -> &mut Self {
        let until = self.now + milliseconds;
        while self.now < until {
            if self.now % 40 == 0 && self.video {
                let stamp = (self.stamp_video)(self.now);
                self.push(frame(stamp, 0, self.now % 1000 == 0));
            }
            while self.next_audio * 1024 / 48 + self.audio_delay <= self.now {
                if self.audio {
                    let stamp = (self.stamp_audio)(self.next_audio * 1024 / 48);
                    self.push(sound(stamp));
                }
                self.next_audio += 1;
            }
            self.now += 1;
        }
        self
    }

    fn times(&self, kind: TagKind) -> Vec<i64> {
        let mut last = 0i64;
        let media = self.out.iter().filter(|tag| tag.kind == kind && tag.body[1] == 1);
        media
            .map(|tag| {
                last += i64::from(tag.timestamp.wrapping_sub(last as u32) as i32);
                last
            })
            .collect()
    }

    /// Each track starts near 0 and rises strictly, without a step above `step`, and both end within `skew` of the real time.
    fn is_continuous(&self, step: i64, skew: i64) {
        for (kind, there) in [(TagKind::Video, self.video), (TagKind::Audio, self.audio)] {
            let times = self.times(kind);
            if !there {
                continue;
            }
            assert!(times[0].abs() <= 100, "{kind:?} starts at {}", times[0]);
            for pair in times.windows(2) {
                assert!((1..=step).contains(&(pair[1] - pair[0])), "{kind:?} goes from {} to {}", pair[0], pair[1]);
            }
            let end = times.last().unwrap();
            assert!((end - self.now).abs() <= skew + 50, "{kind:?} ends at {end}, real time is {}", self.now);
        }
    }

    /// Audio and video of the same moment have the same time, to `within`.
    fn is_in_step(&self, within: i64) {
        let video = *self.times(TagKind::Video).last().unwrap();
        let audio = *self.times(TagKind::Audio).last().unwrap();
        let (captured_video, captured_audio) = ((self.now - 1) / 40 * 40, (self.next_audio - 1) * 1024 / 48);
        let skew = (video - captured_video) - (audio - captured_audio);
        assert!(skew.abs() <= within, "audio and video are {skew} ms out of step");
    }

    fn jumps(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::Jumped { .. })).count()
    }
}

#[test]
fn starts_at_0_whatever_the_encoder_starts_at() {
    for start in [0, 1234, 20_000_000, 0xff_ff00, 0x7fff_ff00, 0xffff_ff00] {
        let mut bench = Bench::new(BOTH).stamped(move |time| time + start);
        bench.run(3000).is_continuous(40, 0);
        bench.is_in_step(1);
        assert_eq!((bench.times(TagKind::Video)[0], bench.jumps()), (0, 0), "{start}");
    }
}

#[test]
fn sequence_headers_come_first_at_0() {
    let mut bench = Bench::new(BOTH).stamped(|time| time + 5000);
    bench.run(100);
    assert_eq!((bench.out[0].kind, &bench.out[0].body[..], bench.out[0].timestamp), (TagKind::Video, AVC, 0));
    assert_eq!((bench.out[1].kind, &bench.out[1].body[..], bench.out[1].timestamp), (TagKind::Audio, AAC, 0));
}

#[test]
fn wrap_at_24_bits_of_an_encoder_without_extended_timestamps() {
    let mut bench = Bench::new(BOTH).stamped(|time| (time + 0xff_f000) & 0xff_ffff);
    bench.run(10_000).is_continuous(40, 0);
    bench.is_in_step(1);
    assert_eq!(bench.jumps(), 0);
}

#[test]
fn wrap_at_31_bits_of_signed_flv_time() {
    let mut bench = Bench::new(BOTH).stamped(|time| (time + 0x7fff_f000) & 0x7fff_ffff);
    bench.run(10_000).is_continuous(40, 0);
    bench.is_in_step(1);
    assert_eq!(bench.jumps(), 0);
}

#[test]
fn wrap_at_32_bits() {
    let mut bench = Bench::new(BOTH).stamped(|time| time + 0xffff_f000);
    bench.run(10_000).is_continuous(40, 0);
    bench.is_in_step(1);
    assert_eq!(bench.jumps(), 0);
}

#[test]
fn a_session_of_sixty_days_wraps_on_output_too() {
    let mut bench = Bench::new(VIDEO);
    bench.push(frame(0, 0, true));
    // One frame a day would be a pause of the encoder: time passes as much.
    for hour in 1..60 * 24 {
        bench.now = hour * 3_600_000;
        bench.push(frame(bench.now, 0, true));
    }
    let last = bench.times(TagKind::Video).last().copied().unwrap();
    assert_eq!((last, bench.jumps()), (bench.now, 0));
    assert!(last > i64::from(u32::MAX));
}

#[test]
fn forward_jump_of_hours() {
    let mut bench = Bench::new(BOTH).stamped(|time| if time < 5000 { time } else { time + 3 * 3_600_000 });
    bench.run(10_000).is_continuous(90, 0);
    bench.is_in_step(30);
    assert_eq!(bench.jumps(), 2);
}

#[test]
fn forward_jump_of_three_seconds() {
    let mut bench = Bench::new(BOTH).stamped(|time| if time < 5000 { time } else { time + 3000 });
    bench.run(10_000).is_continuous(90, 0);
    bench.is_in_step(30);
}

#[test]
fn backward_jump_of_hours() {
    let mut bench = Bench::new(BOTH).stamped(|time| if time < 5000 { time + 40_000_000 } else { time });
    bench.run(10_000).is_continuous(90, 0);
    bench.is_in_step(30);
    assert_eq!(bench.jumps(), 2);
}

#[test]
fn the_encoder_restarts_its_clock_at_0() {
    let mut bench = Bench::new(BOTH).stamped(|time| if time < 5000 { time + 700 } else { time - 5000 });
    bench.run(10_000).is_continuous(90, 0);
    bench.is_in_step(30);
}

#[test]
fn a_small_step_back_that_stays() {
    let mut bench = Bench::new(BOTH).stamped(|time| if time < 5000 { time } else { time - 300 });
    bench.run(10_000).is_continuous(200, 350);
    bench.is_in_step(350);
}

#[test]
fn one_tag_with_a_wild_time_changes_nothing_after_it() {
    for wild in [0, 90_000_000] {
        let mut bench = Bench::new(BOTH);
        bench.stamp_video = Box::new(move |time| if time == 5000 { wild } else { time });
        bench.run(10_000).is_continuous(90, 0);
        bench.is_in_step(1);
    }
}

#[test]
fn equal_decoding_times_become_rising_ones() {
    let mut bench = Bench::new(BOTH);
    bench.stamp_video = Box::new(|time| time / 80 * 80);
    bench.run(5000).is_continuous(80, 40);
    assert_eq!(bench.jumps(), 0);
}

#[test]
fn decreasing_decoding_times_become_rising_ones() {
    let mut bench = Bench::new(BOTH);
    // Two frames swapped, again and again.
    bench.stamp_video = Box::new(|time| {
        if time % 200 == 120 {
            time + 40
        } else if time % 200 == 160 {
            time - 40
        } else {
            time
        }
    });
    bench.run(5000).is_continuous(81, 40);
    assert_eq!(bench.jumps(), 0);
}

#[test]
fn rounding_below_a_millisecond_is_left_alone() {
    let mut bench = Bench::new(BOTH);
    bench.stamp_video = Box::new(|time| time + i64::from(time % 120 == 0));
    bench.run(5000).is_continuous(41, 1);
    assert_eq!(bench.jumps(), 0);
}

#[test]
fn decoding_after_presentation_keeps_the_presentation() {
    let mut bench = Bench::new(VIDEO);
    // Presentation order of I B B P, decoding times stamped as if nothing were reordered.
    let compositions = [0, 80, -40, -40];
    for index in 0..100i64 {
        bench.now = index * 40;
        bench.push(frame(bench.now, compositions[index as usize % 4], index == 0));
    }
    let mut last = -1;
    for (index, tag) in bench.out.iter().filter(|tag| tag.body[1] == 1).enumerate() {
        let header = VideoHeader::parse(&tag.body).unwrap();
        let decoded = i64::from(tag.timestamp);
        assert!(decoded > last && header.composition_time >= 0);
        last = decoded;
        if index > 8 {
            let shown = index as i64 * 40 + i64::from(compositions[index % 4]);
            assert_eq!(decoded + i64::from(header.composition_time), shown, "frame {index}");
        }
    }
}

#[test]
fn a_first_picture_that_is_shown_before_it_is_decoded_is_shown_at_0_with_its_sound() {
    let mut bench = Bench::new(BOTH);
    for index in 0..50i64 {
        bench.now = index * 40;
        bench.push(frame(bench.now + 200, -120, index == 0));
        bench.push(sound(bench.now + 80));
    }
    let shown =
        |tag: &&FlvTag| i64::from(tag.timestamp) + i64::from(VideoHeader::parse(&tag.body).unwrap().composition_time);
    let pictures: Vec<i64> =
        bench.out.iter().filter(|tag| tag.kind == TagKind::Video && tag.body[1] == 1).map(|tag| shown(&tag)).collect();
    assert_eq!(pictures, (0..50).map(|index| index * 40).collect::<Vec<_>>());
    assert_eq!(bench.times(TagKind::Audio)[..3], [0, 40, 80]);
}

#[test]
fn absurd_composition_times_are_not_believed() {
    let mut bench = Bench::new(VIDEO);
    bench.push(frame(0, 8_000_000, true));
    assert_eq!(VideoHeader::parse(&bench.out[1].body).unwrap().composition_time, 0);
}

#[test]
fn audio_and_video_on_different_bases_are_aligned_by_arrival() {
    for base in [1_700_000_000i64, -1_700_000_000, 60_000] {
        let mut bench = Bench::new(BOTH);
        bench.stamp_audio = Box::new(move |time| time + base);
        bench.run(5000).is_continuous(90, 0);
        bench.is_in_step(40);
    }
}

#[test]
fn audio_that_arrives_late_keeps_its_times() {
    let mut bench = Bench::new(BOTH);
    bench.audio_delay = 5000;
    bench.run(20_000);
    // There was silence before its lag was known; after that it is where it was captured.
    let audio = *bench.times(TagKind::Audio).last().unwrap();
    assert!((audio - (bench.now - 5000)).abs() < 60, "{audio}");
    let times = bench.times(TagKind::Audio);
    assert!(times.windows(2).all(|pair| pair[1] > pair[0]));
}

#[test]
fn audio_that_arrives_early_keeps_its_times() {
    let mut bench = Bench::new(BOTH);
    bench.audio_delay = -800;
    bench.run(10_000);
    bench.is_in_step(1);
    assert_eq!(bench.jumps(), 0);
}

#[test]
fn audio_that_stops_is_silence_and_comes_back() {
    let mut bench = Bench::new(BOTH);
    bench.run(3000);
    bench.audio = false;
    bench.run(5000);
    bench.audio = true;
    bench.run(3000);
    bench.is_continuous(500, 0);
    bench.is_in_step(1);
    let times = bench.times(TagKind::Audio);
    // While it is away the silence follows the video.
    assert!(times.iter().filter(|time| (3400..7800).contains(*time)).count() > 200);
    assert_eq!(bench.events, [Event::AudioStopped, Event::AudioResumed]);
}

#[test]
fn audio_that_comes_back_counting_from_where_it_stopped() {
    let mut bench = Bench::new(BOTH);
    bench.run(3000);
    bench.audio = false;
    bench.run(5000);
    bench.audio = true;
    bench.stamp_audio = Box::new(|time| time - 5000);
    bench.run(8000);
    bench.is_continuous(500, 200);
    bench.is_in_step(100);
}

#[test]
fn silence_has_the_times_of_the_audio_frames_and_does_not_drift() {
    let mut bench = Bench::new(BOTH);
    bench.run(1000);
    bench.audio = false;
    bench.run(600_000);
    let times = bench.times(TagKind::Audio);
    let (first, last) = (times[60], times.last().unwrap());
    let frames = times.len() as i64 - 61;
    assert!((last - first - frames * 1024 / 48).abs() <= 1);
    assert!(bench.now - last < 700);
}

#[test]
fn audio_in_bursts_is_not_taken_for_stopped_once_known() {
    let mut bench = Bench::new(BOTH);
    let mut pending = Vec::new();
    for now in 0..20_000i64 {
        bench.now = now;
        if now % 40 == 0 {
            bench.push(frame(now, 0, now == 0));
        }
        if now % 64 == 0 {
            pending.extend([now, now + 21, now + 42]);
        }
        if now % 800 == 799 {
            for time in pending.drain(..) {
                bench.push(sound(time));
            }
        }
    }
    let stops = bench.events.iter().filter(|event| **event == Event::AudioStopped).count();
    assert!(stops <= 1, "{:?}", bench.events);
}

#[test]
fn audio_that_starts_later_is_told_once() {
    let mut bench = Bench::new(VIDEO);
    bench.audio = false;
    bench.next_audio = 0;
    bench.run(10_000);
    assert_eq!(bench.events, []);
    bench.audio = true;
    bench.run(1000);
    assert_eq!(bench.events, [Event::TrackStarted(TagKind::Audio)]);
    assert!(bench.out.iter().all(|tag| tag.kind == TagKind::Video));
    // The next session has all it needs.
    assert_eq!(bench.timeline.headers().len(), 2);
}

#[test]
fn audio_promised_that_never_comes_is_silence_where_its_configuration_is_known() {
    let mut bench = Bench::new(BOTH);
    bench.audio = false;
    bench.run(5000);
    let times = bench.times(TagKind::Audio);
    assert!(times[0] == 0 && *times.last().unwrap() > 4700);
}

#[test]
fn frames_before_the_first_keyframe_are_dropped_and_their_audio() {
    let mut bench = Bench::new(BOTH);
    for now in (0..4000).step_by(40) {
        bench.now = now;
        bench.push(sound(now + 7));
        bench.push(frame(now, 0, now == 2000));
    }
    assert_eq!(bench.times(TagKind::Video)[..2], [0, 40]);
    assert_eq!(bench.times(TagKind::Audio)[..2], [7, 47]);
}

#[test]
fn audio_alone_starts_at_its_first_frame() {
    let mut bench = Bench::new(AUDIO).stamped(|time| time + 777_777);
    bench.run(5000).is_continuous(23, 0);
    assert_eq!(bench.times(TagKind::Audio)[0], 0);
}

#[test]
fn video_alone() {
    let mut bench = Bench::new(VIDEO).stamped(|time| time + 777_777);
    bench.run(5000).is_continuous(40, 0);
}

#[test]
fn a_repeated_configuration_is_dropped_silently() {
    let mut bench = Bench::new(BOTH);
    bench.run(1000);
    let before = bench.out.len();
    bench.push(tag(TagKind::Video, 1000, AVC));
    bench.push(tag(TagKind::Audio, 1000, AAC));
    assert_eq!((bench.out.len(), bench.events.len()), (before, 0));
}

#[test]
fn a_changed_configuration_ends_the_session_and_is_the_next_ones() {
    for (kind, body) in [(TagKind::Video, &[0x17, 0, 0, 0, 0, 9][..]), (TagKind::Audio, &[0xaf, 0, 0x12, 0x10])] {
        let mut bench = Bench::new(BOTH);
        bench.run(1000);
        let before = bench.out.len();
        bench.push(tag(kind, 1000, body));
        bench.run(1000);
        assert_eq!(bench.events, [Event::ConfigurationChanged(kind)]);
        assert_eq!(bench.out.len(), before);
        assert!(bench.timeline.headers().iter().any(|tag| tag.body == body));
    }
}

#[test]
fn another_codec_without_a_header_is_a_changed_configuration() {
    let mut bench = Bench::new(BOTH);
    bench.run(1000);
    bench.push(tag(TagKind::Audio, 1000, &[0x2f, 0xff, 0xfb, 0x94, 0]));
    assert_eq!(bench.events, [Event::ConfigurationChanged(TagKind::Audio)]);
}

#[test]
fn another_rate_of_a_codec_that_says_it_in_its_tags_alone_is_a_changed_configuration() {
    // Nellymoser at 11 kHz, then at 22.
    let mut timeline = Timeline::new(AUDIO);
    for (time, first) in [(0, 0x66), (23, 0x66), (46, 0x6a)] {
        timeline.handle(ms(time), tag(TagKind::Audio, time, &[first, 1, 2]));
    }
    assert_eq!(timeline.poll_event(), Some(Event::ConfigurationChanged(TagKind::Audio)));
}

#[test]
fn zero_length_tags_scripts_and_markers_are_dropped() {
    let mut bench = Bench::new(BOTH);
    bench.run(1000);
    let before = bench.out.len();
    for body in [&[][..], &[0x17], &[0x57, 0], &[0x17, 2, 0, 0, 0]] {
        bench.push(tag(TagKind::Video, 1000, body));
    }
    bench.push(tag(TagKind::Audio, 1000, &[]));
    bench.push(tag(TagKind::Script, 1000, b"\x02\0\x0aonMetaData"));
    assert_eq!((bench.out.len(), bench.events.len()), (before, 0));
}

#[test]
fn frames_dropped_by_a_stalled_encoder_stay_a_gap() {
    let mut bench = Bench::new(BOTH);
    bench.run(5000);
    // The network stalls for four seconds; OBS drops the video of three of them, sends all audio, and catches up at once.
    for time in (5000..9000).step_by(21) {
        bench.now = 9000;
        bench.push(sound(time));
    }
    for time in (8000..9000).step_by(40) {
        bench.push(frame(time, 0, false));
    }
    (bench.now, bench.next_audio) = (9000, 9000 * 48 / 1024 + 1);
    bench.run(2000);
    bench.is_in_step(1);
    assert_eq!(bench.jumps(), 0);
}

#[test]
fn keyframes_ten_seconds_apart_and_two_frames_a_second_are_no_jumps() {
    let mut bench = Bench::new(VIDEO);
    for index in 0..100 {
        bench.now = index * 2000;
        bench.push(frame(bench.now, 0, index % 5 == 0));
    }
    assert_eq!(bench.jumps(), 0);
    assert_eq!(*bench.times(TagKind::Video).last().unwrap(), bench.now);
}

#[test]
fn a_source_faster_than_real_time_is_left_alone() {
    let mut bench = Bench::new(BOTH);
    for time in (0..60_000).step_by(40) {
        bench.push(frame(time, 0, time == 0));
        bench.push(sound(time));
        bench.push(sound(time + 20));
    }
    assert_eq!(bench.jumps(), 0);
    assert_eq!(*bench.times(TagKind::Video).last().unwrap(), 59_960);
}

#[test]
fn drift_over_hours_of_59_94_frames_and_44_1_khz() {
    let mut bench = Bench::new(BOTH);
    // The encoder's clock is 1000 millionths slower than ours: ten hours' worth of drift in two.
    let arrival = |time: i64| time + time / 1000;
    let (mut video, mut audio) = (0i64, 0i64);
    while video * 1001 / 60 < 2 * 3_600_000 {
        let (shown, heard) = (video * 1001 / 60, audio * 1024 * 10 / 441);
        if shown <= heard {
            bench.now = arrival(shown);
            bench.push(frame(shown, 0, video % 60 == 0));
            video += 1;
        } else {
            bench.now = arrival(heard);
            bench.push(sound(heard));
            audio += 1;
        }
    }
    assert_eq!(bench.events, []);
    assert_eq!(*bench.times(TagKind::Video).last().unwrap(), (video - 1) * 1001 / 60);
    assert_eq!(*bench.times(TagKind::Audio).last().unwrap(), (audio - 1) * 1024 * 10 / 441);
}

proptest::proptest! {
    #[test]
    fn whatever_is_stamped_each_track_rises(
        stamps in proptest::collection::vec((0u8..4, proptest::num::u32::ANY, 0u16..200, -3000i32..3000), 1..300),
    ) {
        let mut bench = Bench::new(BOTH);
        let mut time = 0u32;
        for (kind, stamp, pause, composition) in stamps {
            bench.now += i64::from(pause);
            // Mostly a little further, sometimes anywhere.
            time = if stamp % 5 == 0 { stamp } else { time.wrapping_add(stamp % 100) };
            bench.push(if kind == 0 { sound(i64::from(time)) } else { frame(i64::from(time), composition, kind == 1) });
        }
        for kind in [TagKind::Audio, TagKind::Video] {
            let times = bench.times(kind);
            proptest::prop_assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
            // Nothing but the time that passed, and the frames' own, is in the output.
            proptest::prop_assert!(times.last().is_none_or(|last| *last < bench.now + 60_000));
        }
    }
}
