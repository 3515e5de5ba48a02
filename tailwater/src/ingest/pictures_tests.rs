//! What is told of a source whose picture stops, in virtual time.

use std::time::SystemTime;

use bytes::Bytes;
use rtmp::flv::{FlvTag, TagKind};

use super::*;

const AVC: &[u8] = &[0x17, 0, 0, 0, 0, 1];
const AAC: &[u8] = &[0xaf, 0, 0x11, 0x90];
const KEYFRAME: &[u8] = &[0x17, 1, 0, 0, 0, 7];
const PICTURE: &[u8] = &[0x27, 1, 0, 0, 0, 7];
const END_OF_SEQUENCE: &[u8] = &[0x17, 2, 0, 0, 0];
const SOUND: &[u8] = &[0xaf, 1, 7];

/// A source that sends sound every 20 ms, and a clock that a test turns.
struct Bench {
    pictures: Pictures,
    start: Instant,
    /// Milliseconds.
    now: u64,
    /// Since the last look: sound that was handed on.
    sounds: usize,
}

impl Bench {
    /// A source that has sent its headers.
    fn new() -> Self {
        let mut bench = Self { pictures: Pictures::default(), start: Instant::now(), now: 0, sounds: 0 };
        bench.pictures.handle(SourceEvent::Connected);
        bench.push(AVC);
        bench.push(AAC);
        assert_eq!(bench.told(), ["connected", "video header at 0", "audio header at 0"]);
        bench
    }

    /// One that has shown a picture.
    fn seen() -> Self {
        let mut bench = Self::new();
        bench.push(KEYFRAME);
        assert_eq!(bench.told(), ["key at 0"]);
        bench
    }

    fn push(&mut self, body: &'static [u8]) {
        let kind = if body[0] >> 4 == 10 { TagKind::Audio } else { TagKind::Video };
        let tag = FlvTag { kind, timestamp: self.now as u32, body: Bytes::from_static(body) };
        let arrival = self.start + Duration::from_millis(self.now);
        self.pictures.handle(SourceEvent::Tag(StampedTag::new(tag, arrival, SystemTime::UNIX_EPOCH)));
    }

    /// Sound alone for so many milliseconds.
    fn sound(&mut self, milliseconds: u64) -> Vec<String> {
        for _ in 0..milliseconds / 20 {
            self.now += 20;
            self.push(SOUND);
        }
        self.told()
    }

    /// All but sound, which is counted.
    fn told(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(event) = self.pictures.poll() {
            told.push(match event {
                SourceEvent::Connected => "connected".to_owned(),
                SourceEvent::Ended(end) => format!("{end:?}"),
                SourceEvent::Tag(tag) => {
                    let role = match tag.role {
                        TagRole::Sound => {
                            self.sounds += 1;
                            continue;
                        }
                        TagRole::VideoHeader => "video header",
                        TagRole::AudioHeader => "audio header",
                        TagRole::Keyframe => "key",
                        TagRole::Picture | TagRole::Metadata => "picture",
                    };
                    format!("{role} at {}", tag.arrival.duration_since(self.start).as_millis())
                }
                SourceEvent::Switched(_) | SourceEvent::Dropped(_) => unreachable!("nothing of that kind came"),
            });
        }
        told
    }

    fn sounds(&mut self) -> usize {
        std::mem::take(&mut self.sounds)
    }
}

const LOST: &str = r#"Lost("its picture stopped 3 s ago, and its sound goes on")"#;

#[test]
fn sound_that_goes_on_for_three_seconds_without_a_picture_is_a_lost_source() {
    let mut bench = Bench::seen();
    assert!(bench.sound(3000).is_empty());
    assert_eq!(bench.sounds(), 5, "a little of it, and not what no picture belongs to");
    assert_eq!(bench.sound(20), [LOST]);
    assert!(bench.sound(60_000).is_empty(), "once");
    assert_eq!(bench.sounds(), 0);
}

#[test]
fn it_comes_back_with_its_headers_at_a_key_frame_as_if_it_had_just_connected() {
    let mut bench = Bench::seen();
    bench.sound(5000);
    bench.push(PICTURE);
    assert!(bench.told().is_empty(), "no decoder can start with it");
    bench.push(KEYFRAME);
    let headers = ["connected", "video header at 5000", "audio header at 5000", "key at 5000"];
    assert_eq!(bench.told(), headers);
    bench.sounds();
    bench.sound(100);
    assert_eq!(bench.sounds(), 5);
    // And it may stop again.
    assert_eq!(bench.sound(3000), [LOST]);
}

#[test]
fn a_camera_of_one_picture_a_second_loses_no_sound() {
    let mut bench = Bench::seen();
    for _ in 0..20 {
        assert!(bench.sound(1000).is_empty());
        bench.push(PICTURE);
        assert_eq!(bench.told(), [format!("picture at {}", bench.now)]);
        assert_eq!(bench.sounds(), 50, "all of it, before the picture");
    }
}

#[test]
fn a_source_that_never_had_a_picture_is_left_alone() {
    // It only announced one.
    let mut bench = Bench::new();
    assert!(bench.sound(60_000).is_empty());
    bench.push(PICTURE);
    bench.told();
    assert!(bench.sound(60_000).is_empty(), "no decoder could start with it");
    assert_eq!(bench.sounds(), 6000);
}

#[test]
fn a_pause_of_everything_is_not_the_pictures() {
    let mut bench = Bench::seen();
    bench.sound(1000);
    bench.now += 8000;
    // What waited in the network comes at once, sound first.
    bench.push(SOUND);
    bench.push(PICTURE);
    assert_eq!(bench.told(), ["picture at 9000"]);
    assert_eq!(bench.sounds(), 51);
}

#[test]
fn the_end_of_a_sequence_is_no_picture() {
    let mut bench = Bench::seen();
    bench.sound(2000);
    bench.push(END_OF_SEQUENCE);
    assert_eq!(bench.sound(1020), [LOST]);
}

#[test]
fn sound_that_waits_is_bounded() {
    static LOUD: [u8; 100_000] = [0xaf; 100_000];
    let mut bench = Bench::seen();
    bench.sound(400);
    for _ in 0..10 {
        bench.push(&LOUD);
    }
    assert!(bench.told().is_empty());
    bench.push(&LOUD);
    assert_eq!(bench.told(), [LOST]);
}

#[test]
fn a_publisher_whose_picture_had_stopped_before_anybody_listened_is_lost_from_the_start() {
    let sent = |bodies: &[(&'static [u8], u64)]| {
        let mut bench = Bench { pictures: Pictures::default(), start: Instant::now(), now: 0, sounds: 0 };
        let stamp = |(body, at): &(&'static [u8], u64)| {
            let kind = if body[0] >> 4 == 10 { TagKind::Audio } else { TagKind::Video };
            let tag = FlvTag { kind, timestamp: 0, body: Bytes::from_static(body) };
            StampedTag::new(tag, bench.start + Duration::from_millis(*at), SystemTime::UNIX_EPOCH)
        };
        let count = bench.pictures.begin(bodies.iter().map(stamp).collect()).map(|tags| tags.len());
        (count, bench.told())
    };
    let begun = [(AVC, 0), (AAC, 0), (KEYFRAME, 0), (SOUND, 10), (SOUND, 900)];
    assert_eq!(sent(&begun), (Some(4), vec![]), "the last sound waits");
    let stopped = [&begun[..], &[(SOUND, 1800), (SOUND, 2700), (SOUND, 3600)]].concat();
    assert_eq!(sent(&stopped), (None, vec![LOST.to_owned()]));
}

#[test]
fn an_end_is_told_with_the_sound_before_it_and_a_new_connection_begins_anew() {
    let mut bench = Bench::seen();
    bench.sound(1000);
    bench.pictures.handle(SourceEvent::Ended(SourceEnd::Clean));
    assert_eq!(bench.told(), ["Clean"]);
    assert_eq!(bench.sounds(), 50);
    bench.pictures.handle(SourceEvent::Connected);
    bench.push(AAC);
    bench.told();
    assert!(bench.sound(60_000).is_empty(), "it has no picture now");
    assert_eq!(bench.sounds(), 3000);
}
