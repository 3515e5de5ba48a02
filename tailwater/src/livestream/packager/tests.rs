//! The packager's rules, on made-up slices.

use super::*;
use hls::media::{AudioTrack, VideoTrack};

fn config(low_latency: bool, store_first: bool) -> PackagerConfig {
    let window =
        WindowConfig { part_target: low_latency.then_some(Duration::from_millis(500)), ..WindowConfig::default() };
    PackagerConfig { slug: "show".into(), window, low_latency, store_first }
}

fn packager(low_latency: bool) -> Packager {
    Packager::new(config(low_latency, false), Start::default())
}

fn rungs(names: &[&str]) -> Vec<SessionRendition> {
    let rate = |name: &str| name.trim_end_matches('p').parse::<u64>().unwrap_or(100) * 5_000;
    names
        .iter()
        .map(|name| SessionRendition {
            name: (*name).into(),
            codec: (*name != AUDIO).then_some(VideoCodec::H264),
            bandwidth: rate(name) * 2,
            average_bandwidth: rate(name),
        })
        .collect()
}

fn tracks() -> SliceEvent {
    SliceEvent::Tracks(Tracks {
        video: Some(VideoTrack { codec: "avc1.64001f".into(), width: 1280, height: 720, frame_rate: Some(30.0) }),
        audio: Some(AudioTrack { codec: "mp4a.40.2".into(), sample_rate: 48_000, channels: 2 }),
    })
}

fn second(index: u64) -> MediaTime {
    MediaTime(i64::try_from(index).unwrap() * 1_000_000_000)
}

fn part(segment: u64, index: u32) -> SliceEvent {
    let start = MediaTime(second(segment).0 + i64::from(index) * 500_000_000);
    let chunks = vec![Bytes::from_static(b"half")];
    SliceEvent::Part(Part {
        segment,
        index,
        start,
        duration: Duration::from_millis(500),
        independent: index == 0,
        chunks,
    })
}

fn segment(index: u64) -> SliceEvent {
    let chunks = vec![Bytes::from_static(b"half"), Bytes::from_static(b"half")];
    let duration = Duration::from_secs(1);
    SliceEvent::Segment(Segment { index, start: second(index), duration, independent: true, chunks, bytes: 8 })
}

/// Segments `range` of a session in every rung.
fn deliver(packager: &mut Packager, names: &[&str], range: std::ops::Range<u64>) {
    for index in range {
        for name in names {
            packager.handle_slices(name, vec![part(index, 0), part(index, 1), segment(index)]);
        }
    }
}

fn session(packager: &mut Packager, names: &[&str], range: std::ops::Range<u64>) {
    packager.begin_session(&rungs(names), UnixTime(1_000_000_000_000));
    names.iter().for_each(|name| packager.handle_slices(name, vec![tracks()]));
    deliver(packager, names, range);
}

/// The newest playlist of a rendition.
fn playlist(outputs: &[Output], rendition: &str) -> String {
    let newest = outputs.iter().rev().find_map(|output| match output {
        Output::Show(name, snapshot) if name == rendition => Some(snapshot.render_plain()),
        _ => None,
    });
    newest.expect("it was shown")
}

fn outputs(packager: &mut Packager) -> Vec<Output> {
    std::iter::from_fn(|| packager.poll_output()).collect()
}

fn uris(playlist: &str) -> Vec<&str> {
    playlist.lines().filter(|line| !line.starts_with('#')).collect()
}

#[test]
fn a_rendition_is_shown_before_the_multivariant_playlist_names_it() {
    let mut packager = packager(true);
    packager.begin_session(&rungs(&["a", "b"]), UnixTime(0));
    packager.handle_slices("a", vec![tracks()]);
    packager.handle_slices("b", vec![tracks()]);
    let outputs = outputs(&mut packager);
    let named = outputs.iter().position(|output| matches!(output, Output::Multivariants(_))).unwrap();
    for rung in ["a", "b"] {
        let shown = outputs.iter().position(|output| matches!(output, Output::Show(name, _) if name == rung)).unwrap();
        assert!(shown < named);
    }
}

#[test]
fn segment_i_of_a_session_has_the_same_number_in_every_rendition() {
    let mut packager = packager(true);
    session(&mut packager, &["720p", "480p"], 0..3);
    let outputs = outputs(&mut packager);
    for rendition in ["720p", "480p"] {
        let playlist = playlist(&outputs, rendition);
        let expected: Vec<_> = (0..3).map(|msn| format!("show_{rendition}_segment{msn:03}.ts")).collect();
        assert_eq!(uris(&playlist), expected);
    }
}

#[test]
fn a_new_session_goes_on_after_one_discontinuity_at_the_same_number_everywhere() {
    let mut packager = packager(true);
    session(&mut packager, &["720p", "480p"], 0..3);
    packager.end_session();
    session(&mut packager, &["720p", "480p"], 0..2);
    let outputs = outputs(&mut packager);
    for rendition in ["720p", "480p"] {
        let playlist = playlist(&outputs, rendition);
        let (before, after) = playlist.split_once("#EXT-X-DISCONTINUITY\n").expect("a discontinuity");
        assert!(before.contains("segment002") && after.contains("segment003") && !after.contains("DISCONTINUITY\n"));
    }
    assert_eq!(packager.discontinuities(), 1);
}

#[test]
fn a_session_without_media_leaves_no_discontinuity() {
    let mut packager = packager(true);
    session(&mut packager, &["720p"], 0..2);
    for _ in 0..3 {
        packager.end_session();
        packager.begin_session(&rungs(&["720p"]), UnixTime(0));
    }
    packager.end_session();
    session(&mut packager, &["720p"], 0..1);
    assert_eq!(packager.discontinuities(), 1);
    let playlist = playlist(&outputs(&mut packager), "720p");
    assert_eq!(playlist.matches("#EXT-X-DISCONTINUITY\n").count(), 1);
}

#[test]
fn a_rendition_that_got_less_far_goes_on_after_a_gap_of_the_same_length() {
    let mut packager = packager(true);
    session(&mut packager, &["720p", "480p"], 0..2);
    deliver(&mut packager, &["720p"], 2..3);
    packager.end_session();
    let playlist = playlist(&outputs(&mut packager), "480p");
    assert!(playlist.contains("#EXT-X-GAP"), "{playlist}");
    assert_eq!(uris(&playlist).len(), 3);
    assert_eq!(packager.next_number(), 3);
}

#[test]
fn a_rung_that_is_not_encoded_any_more_names_the_media_of_the_next_below() {
    let mut packager = packager(true);
    session(&mut packager, &["1080p", "720p", "480p"], 0..1);
    packager.end_session();
    outputs(&mut packager);
    session(&mut packager, &["720p", "480p"], 0..1);
    let outputs = outputs(&mut packager);
    let shed = playlist(&outputs, "1080p");
    assert_eq!(uris(&shed), ["show_1080p_segment000.ts", "show_720p_segment001.ts"]);
    assert!(shed.contains("#EXT-X-DISCONTINUITY\n"));
    let newest = outputs.iter().rev().find_map(|output| match output {
        Output::Multivariants(playlists) => Some(playlists.plain.clone()),
        _ => None,
    });
    assert!(!newest.expect("a new one").contains("1080p"), "new multivariant playlists leave it out");
}

/// In CMAF: HEVC from 1440p on and 360p, H.264 between them.
fn in_two_codecs(names: &[&str]) -> Vec<SessionRendition> {
    let hevc = ["2160p", "1440p", "360p"];
    let codec = |name: &str| if hevc.contains(&name) { VideoCodec::Hevc } else { VideoCodec::H264 };
    rungs(names).into_iter().map(|rung| SessionRendition { codec: Some(codec(&rung.name)), ..rung }).collect()
}

/// Whose media each rung names in a session of `left`, after one of all.
fn named(packager: &mut Packager, all: &[&'static str], left: &[&str]) -> Vec<String> {
    packager.begin_session(&in_two_codecs(left), UnixTime(0));
    for name in left {
        packager.handle_slices(name, vec![SliceEvent::Init(Bytes::from_static(b"init")), segment(0)]);
    }
    packager.end_session();
    let outputs = outputs(packager);
    let newest = |rung: &&'static str| {
        let playlist = playlist(&outputs, rung);
        let media = uris(&playlist).pop().unwrap().split('_').nth(1).unwrap().to_owned();
        let (_, map) = playlist.rsplit_once("#EXT-X-MAP:URI=\"show_").expect("an initialization section");
        assert!(map.starts_with(&format!("{media}_init")), "its own: {playlist}");
        media
    };
    all.iter().map(newest).collect()
}

#[test]
fn a_rung_that_is_not_encoded_any_more_keeps_to_its_codec_while_there_is_a_rung_in_it() {
    let all = ["2160p", "1440p", "720p", "480p", "360p"];
    let mut config = config(false, false);
    (config.window.version_map, config.window.extension) = (true, "m4s".into());
    let mut packager = Packager::new(config, Start::default());
    assert_eq!(named(&mut packager, &all, &all), all);
    let of = |packager: &mut Packager, left: &[&str]| named(packager, &all, left);
    assert_eq!(of(&mut packager, &["720p", "480p", "360p"]), ["360p", "360p", "720p", "480p", "360p"], "below");
    assert_eq!(of(&mut packager, &["1440p", "480p"]), ["1440p", "1440p", "480p", "480p", "1440p"], "or above");
    assert_eq!(of(&mut packager, &["720p", "480p"]), ["720p", "720p", "720p", "480p", "480p"], "none is left in it");
}

/// What a remote store knows of a broadcast whose process died: numbers to go on with, and what players may be on.
fn cut_short(names: &[&str]) -> Start {
    let window = |name: &&str| ((*name).to_owned(), Window::new(config(true, false).window_of(name), 1000, 100));
    let known = |rung: SessionRendition| KnownRendition {
        name: rung.name,
        bandwidth: rung.bandwidth,
        average_bandwidth: rung.average_bandwidth,
        codec: rung.codec,
    };
    Start {
        next_msn: 1000,
        next_dsn: 100,
        windows: names.iter().map(window).collect(),
        known: rungs(names).into_iter().map(known).collect(),
        ..Start::default()
    }
}

#[test]
fn after_a_crash_a_rung_that_only_players_know_names_the_media_of_the_next_below() {
    let mut packager = Packager::new(config(true, false), cut_short(&["1080p", "720p", "480p", "360p"]));
    assert!(
        !outputs(&mut packager).iter().any(|output| matches!(output, Output::Show(..))),
        "the store still has more"
    );
    session(&mut packager, &["480p", "360p"], 0..2);
    let all = outputs(&mut packager);
    for (rung, media) in [("1080p", "480p"), ("720p", "480p"), ("480p", "480p"), ("360p", "360p")] {
        let playlist = playlist(&all, rung);
        assert_eq!(uris(&playlist)[0], format!("show_{media}_segment1000.ts"), "{playlist}");
        assert!(playlist.contains("#EXT-X-DISCONTINUITY-SEQUENCE:100\n"), "{playlist}");
    }
    let known: Vec<String> = packager.known().into_iter().map(|known| known.name).collect();
    assert_eq!(known, ["1080p", "720p", "480p", "360p"], "the next process is told of all of them");
}

#[test]
fn after_a_crash_it_keeps_to_its_codec_too() {
    let mut start = cut_short(&["1440p", "720p", "360p"]);
    for (known, rung) in start.known.iter_mut().zip(in_two_codecs(&["1440p", "720p", "360p"])) {
        known.codec = rung.codec;
    }
    let mut packager = Packager::new(config(false, false), start);
    packager.begin_session(&in_two_codecs(&["720p", "360p"]), UnixTime(0));
    deliver(&mut packager, &["720p", "360p"], 0..1);
    assert_eq!(uris(&playlist(&outputs(&mut packager), "1440p")), ["show_360p_segment1000.ts"]);
}

#[test]
fn a_rung_that_comes_later_begins_at_the_number_of_the_others() {
    let mut packager = packager(true);
    session(&mut packager, &["480p"], 0..2);
    packager.end_session();
    session(&mut packager, &["720p", "480p"], 0..1);
    let playlist = playlist(&outputs(&mut packager), "720p");
    assert_eq!(uris(&playlist), ["show_720p_segment002.ts"]);
    assert!(playlist.contains("#EXT-X-DISCONTINUITY-SEQUENCE:1"), "{playlist}");
}

#[test]
fn the_last_part_of_a_segment_is_never_shown_without_its_end() {
    let mut packager = packager(true);
    session(&mut packager, &["720p"], 0..3);
    for output in outputs(&mut packager) {
        if let Output::Show(_, snapshot) = output {
            let text = snapshot.render_low_latency(&[], false);
            assert!(!text.contains("part2"), "a third part is promised that never comes: {text}");
        }
    }
}

#[test]
fn with_an_embedded_store_a_segment_is_listed_once_it_is_stored() {
    let mut packager = Packager::new(config(true, true), Start::default());
    session(&mut packager, &["720p"], 0..1);
    assert!(packager.waits_for_store());
    let lists = |output: &Output| matches!(output, Output::Show(_, shown) if shown.segments().len() > 0);
    assert!(!outputs(&mut packager).iter().any(lists));
    packager.handle_stored("show_720p_segment000.ts");
    assert_eq!(uris(&playlist(&outputs(&mut packager), "720p")), ["show_720p_segment000.ts"]);
    deliver(&mut packager, &["720p"], 1..2);
    packager.handle_store_timeout();
    assert_eq!(uris(&playlist(&outputs(&mut packager), "720p")).len(), 2, "a slow store is not waited for");
}

#[test]
fn parts_are_withheld_in_the_first_segment_when_their_names_may_be_known_with_other_bytes() {
    let mut packager =
        Packager::new(config(true, false), Start { next_msn: 7, withhold_parts: true, ..Start::default() });
    session(&mut packager, &["720p"], 0..2);
    let parts: Vec<String> = outputs(&mut packager)
        .into_iter()
        .filter_map(|output| match output {
            Output::Part(key, ..) => Some(key),
            _ => None,
        })
        .collect();
    assert_eq!(parts, ["show_720p_segment008.part0.ts", "show_720p_segment008.part1.ts"]);
}

#[test]
fn without_low_latency_there_are_no_parts_and_no_low_latency_playlist() {
    let mut packager = packager(false);
    session(&mut packager, &["720p"], 0..1);
    for output in outputs(&mut packager) {
        match output {
            Output::Part(..) => panic!("a part"),
            Output::Multivariants(playlists) => assert_eq!(playlists.low_latency, None),
            _ => {}
        }
    }
}

#[test]
fn everything_reaches_the_publisher_in_order_and_the_end_last() {
    let mut packager = packager(true);
    session(&mut packager, &["720p"], 0..2);
    packager.end();
    let commands: Vec<String> = outputs(&mut packager)
        .into_iter()
        .filter_map(|output| match output {
            Output::Publish(Command::Rendition { name, .. }) => Some(name),
            Output::Publish(Command::Segment(segment)) => Some(segment.info.uri),
            Output::Publish(Command::Multivariant(_)) => Some("multivariant".into()),
            Output::Publish(Command::End) => Some("end".into()),
            _ => None,
        })
        .collect();
    let expected = ["720p", "multivariant", "show_720p_segment000.ts", "show_720p_segment001.ts", "end"];
    assert_eq!(commands, expected);
}

#[test]
fn the_target_duration_is_settled_before_the_first_playlist_and_stays() {
    let mut packager = packager(false);
    assert!(packager.settle_target_duration(3));
    packager.begin_session(&rungs(&["720p"]), UnixTime(0));
    assert!(packager.settle_target_duration(2) && !packager.settle_target_duration(4));
    assert_eq!(packager.target_duration(), 3);
}
