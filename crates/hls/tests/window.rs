//! The rules of media playlists, one test each.
#![allow(clippy::unwrap_used)]

mod judge;

use std::time::Duration;

use hls::time::UnixTime;
use hls::window::{PartInfo, RenditionReport, RestoreError, SegmentInfo, Window, WindowConfig};
use judge::{judge, value, values};

const NOON: UnixTime = UnixTime(1_795_435_200_000_000_000);
const FRAMES_6: Duration = Duration::from_nanos(200_200_000);
const SECOND: Duration = Duration::from_secs(1);

fn config(window: u64) -> WindowConfig {
    WindowConfig {
        window: Duration::from_secs(window),
        part_target: Some(Duration::from_micros(213_400)),
        uri_prefix: "show_720p".into(),
        ..WindowConfig::default()
    }
}

fn cmaf(window: u64) -> WindowConfig {
    WindowConfig { version_map: true, extension: "m4s".into(), ..config(window) }
}

/// A window with the means to fill it.
struct Bench {
    window: Window,
    config: WindowConfig,
    date: UnixTime,
}

impl Bench {
    fn new(config: WindowConfig) -> Self {
        Self { window: Window::new(config.clone(), 0, 0), config, date: NOON }
    }

    fn part(&mut self, index: u32) {
        let date = self.date.saturating_add(FRAMES_6 * index);
        let uri = self.config.part_uri(self.window.next_msn(), index);
        self.window.push_part(PartInfo { uri, duration: FRAMES_6, date, independent: index == 0 });
    }

    fn close(&mut self, duration: Duration, gap: bool) {
        let uri = self.config.segment_uri(self.window.next_msn());
        self.window.push_segment(SegmentInfo { uri, duration, date: self.date, bytes: 1000, gap });
        self.date = self.date.saturating_add(duration);
    }

    fn segment(&mut self) {
        (0..5).for_each(|index| self.part(index));
        self.close(FRAMES_6 * 5, false);
    }

    fn segments(mut self, count: u32) -> Self {
        (0..count).for_each(|_| self.segment());
        self
    }

    fn plain(&self) -> String {
        let text = self.window.snapshot().render_plain();
        judge(&text);
        text
    }

    fn low_latency(&self, skip: bool) -> String {
        let report = RenditionReport { uri: "show_480p_playlist.m3u8".into(), last_msn: 7, last_part: Some(2) };
        let text = self.window.snapshot().render_low_latency(&[report], skip);
        judge(&text);
        text
    }
}

#[test]
fn golden_plain_mpeg_ts() {
    let mut bench = Bench::new(config(4)).segments(2);
    bench.close(SECOND, true);
    bench.window.discontinuity();
    bench.segment();
    insta::assert_snapshot!(bench.plain());
}

#[test]
fn golden_plain_cmaf_ended() {
    let mut bench = Bench::new(cmaf(60));
    bench.window.set_init("show_720p_init0.mp4");
    let mut bench = bench.segments(2);
    bench.window.discontinuity();
    bench.window.set_init("show_720p_init1.mp4");
    bench.segment();
    bench.window.end();
    insta::assert_snapshot!(bench.plain());
}

#[test]
fn golden_low_latency_mpeg_ts() {
    let mut bench = Bench::new(config(60)).segments(4);
    bench.part(0);
    bench.part(1);
    insta::assert_snapshot!(bench.low_latency(false));
}

#[test]
fn golden_low_latency_cmaf_after_a_discontinuity() {
    let mut bench = Bench::new(cmaf(60));
    bench.window.set_init("show_720p_init0.mp4");
    let mut bench = bench.segments(1);
    bench.window.discontinuity();
    bench.window.set_init("show_720p_init1.mp4");
    bench.part(0);
    insta::assert_snapshot!(bench.low_latency(false));
}

#[test]
fn golden_low_latency_delta() {
    insta::assert_snapshot!(Bench::new(config(60)).segments(20).low_latency(true));
}

#[test]
fn the_plain_playlist_has_no_low_latency_tag() {
    let mut bench = Bench::new(config(60)).segments(3);
    bench.part(0);
    let text = bench.plain();
    for tag in ["PART", "SERVER-CONTROL", "PRELOAD-HINT", "RENDITION-REPORT", "SKIP", "CAN-"] {
        assert!(!text.contains(tag), "{tag} in {text}");
    }
}

#[test]
fn both_forms_name_the_same_segments_by_the_same_numbers() {
    let bench = Bench::new(config(10)).segments(30);
    let (plain, low) = (bench.plain(), bench.low_latency(false));
    let lines = |text: &str| -> Vec<String> {
        let kept = |line: &&str| !line.starts_with('#') || line.starts_with("#EXTINF") || line.contains("SEQUENCE");
        text.lines().filter(kept).map(str::to_owned).collect()
    };
    assert_eq!(lines(&plain), lines(&low));
}

#[test]
fn segment_numbers_have_at_least_three_digits() {
    let config = config(60);
    assert_eq!(config.segment_uri(7), "show_720p_segment007.ts");
    assert_eq!(config.segment_uri(12_345), "show_720p_segment12345.ts");
    assert_eq!(config.part_uri(7, 3), "show_720p_segment007.part3.ts");
}

#[test]
fn the_part_target_is_printed_as_configured_and_the_hold_back_is_at_least_three_of_it() {
    let text = Bench::new(config(60)).segments(1).low_latency(false);
    assert_eq!(value(&text, "PART-TARGET"), "0.2134");
    let hold_back: f64 = value(&text, "PART-HOLD-BACK").parse().unwrap();
    assert!((3.0 * 0.2134..0.65).contains(&hold_back));
    assert_eq!(value(&text, ",HOLD-BACK"), "3.0");
    assert_eq!(value(&text, "CAN-SKIP-UNTIL"), "6.0");
    assert_eq!(value(&text, "CAN-BLOCK-RELOAD"), "YES");
    let tenth = WindowConfig { part_target: Some(Duration::from_millis(100)), ..config(60) };
    assert_eq!(value(&Bench::new(tenth).low_latency(false), "PART-TARGET"), "0.1");
}

#[test]
fn durations_have_five_decimals_and_are_never_rounded_above_the_target() {
    let mut bench = Bench::new(config(60));
    // Ten AAC frames: 0.2133333...
    let parts = [213_333_333, 213_399_999, 213_400_001, 230_000_000];
    for (index, nanos) in parts.into_iter().enumerate() {
        let duration = Duration::from_nanos(nanos);
        bench.window.push_part(PartInfo { uri: format!("{index}"), duration, date: NOON, independent: true });
    }
    assert_eq!(values(&bench.low_latency(false), "DURATION"), ["0.21333", "0.21340", "0.21340", "0.21340"]);
    bench.close(Duration::from_nanos(1_499_999_999), false);
    bench.close(Duration::from_nanos(1_001_000_000), false);
    let text = bench.plain();
    assert!(text.contains("#EXTINF:1.49999,\n") && text.contains("#EXTINF:1.00100,\n"), "{text}");
}

#[test]
fn parts_are_listed_within_three_target_durations_of_the_end_only() {
    let mut bench = Bench::new(config(60)).segments(10);
    let listed = |bench: &Bench| {
        let text = bench.low_latency(false);
        let first = text.lines().find(|line| line.starts_with("#EXT-X-PART:")).unwrap().to_owned();
        value(&first, "URI").to_owned()
    };
    // 1.001 s each: two are within 3 s.
    assert_eq!(listed(&bench), "show_720p_segment008.part0.ts");
    (0..4).for_each(|index| bench.part(index));
    assert_eq!(listed(&bench), "show_720p_segment008.part0.ts");
    bench.part(4);
    assert_eq!(listed(&bench), "show_720p_segment009.part0.ts");
}

#[test]
fn the_hint_is_always_the_uri_of_the_next_part_and_part_0_after_a_segment() {
    let mut bench = Bench::new(config(60));
    for msn in 0..3 {
        for part in 0..5 {
            let text = bench.low_latency(false);
            let uri = bench.config.part_uri(msn, part);
            assert!(text.contains(&format!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{uri}\"\n")), "{text}");
            assert_eq!(bench.window.snapshot().next(), (msn, part));
            assert_eq!(bench.window.snapshot().next_part_uri(), uri);
            bench.part(part);
        }
        bench.close(FRAMES_6 * 5, false);
    }
}

#[test]
fn a_changed_init_is_hinted_before_its_first_part() {
    let mut bench = Bench::new(cmaf(60));
    bench.window.set_init("a.mp4");
    bench.segment();
    assert!(!bench.low_latency(false).contains("TYPE=MAP"));
    bench.window.discontinuity();
    bench.window.set_init("b.mp4");
    assert!(bench.low_latency(false).contains("#EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"b.mp4\"\n"));
    bench.part(0);
    let text = bench.low_latency(false);
    assert!(!text.contains("TYPE=MAP"));
    assert!(text.contains("#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"b.mp4\"\n#EXT-X-PROGRAM-DATE-TIME:"), "{text}");
}

#[test]
fn each_discontinuity_says_its_map_even_if_it_is_the_same() {
    let mut bench = Bench::new(cmaf(60));
    bench.window.set_init("a.mp4");
    bench.segment();
    bench.window.discontinuity();
    bench.segment();
    assert_eq!(bench.plain().matches("#EXT-X-MAP:URI=\"a.mp4\"").count(), 2);
}

#[test]
fn the_first_listed_segment_says_its_map_when_the_one_before_it_has_left() {
    let mut bench = Bench::new(cmaf(5));
    bench.window.set_init("a.mp4");
    let bench = bench.segments(20);
    let text = bench.plain();
    assert!(text.find("#EXT-X-MAP").unwrap() < text.find("#EXTINF").unwrap());
    assert_eq!(text.matches("#EXT-X-MAP").count(), 1);
}

#[test]
fn nothing_of_a_low_latency_playlist_hints_after_the_end() {
    let mut bench = Bench::new(config(60)).segments(3);
    bench.part(0);
    bench.window.end();
    let text = bench.low_latency(false);
    assert!(!text.contains("PRELOAD-HINT") && text.ends_with("#EXT-X-ENDLIST\n"), "{text}");
}

#[test]
fn nothing_changes_after_the_end() {
    let mut bench = Bench::new(config(60)).segments(3);
    bench.window.end();
    let text = bench.plain();
    bench.segment();
    bench.part(0);
    assert_eq!(bench.plain(), text);
    assert!(bench.window.was_ended());
}

#[test]
fn a_delta_update_skips_what_is_further_than_the_skip_boundary_from_the_end() {
    let bench = Bench::new(config(60)).segments(20);
    let text = bench.low_latency(true);
    // Six segments of 1.001 s reach back more than 6 s.
    assert_eq!(value(&text, "SKIPPED-SEGMENTS"), "14");
    assert_eq!(value(&text, "MEDIA-SEQUENCE:"), "0");
    assert_eq!(text.matches("#EXTINF").count(), 6);
    assert!(text.contains("#EXT-X-VERSION:9\n"));
    assert!(text.find("#EXT-X-SKIP").unwrap() < text.find("#EXTINF").unwrap());
}

#[test]
fn a_playlist_with_nothing_to_skip_is_whole() {
    let bench = Bench::new(config(60)).segments(6);
    assert_eq!(bench.low_latency(true), bench.low_latency(false));
}

#[test]
fn each_rendition_report_is_there() {
    let bench = Bench::new(config(60)).segments(1);
    let text = bench.low_latency(false);
    let report = "#EXT-X-RENDITION-REPORT:URI=\"show_480p_playlist.m3u8\",LAST-MSN=7,LAST-PART=2\n";
    assert!(text.contains(report), "{text}");
}

#[test]
fn last_is_the_open_segment_when_it_has_parts() {
    let mut bench = Bench::new(config(60));
    assert_eq!(bench.window.snapshot().last(), None);
    bench.segment();
    assert_eq!(bench.window.snapshot().last(), Some((0, Some(4))));
    bench.part(0);
    assert_eq!(bench.window.snapshot().last(), Some((1, Some(0))));
    bench.close(FRAMES_6, false);
    bench.close(SECOND, true);
    assert_eq!(bench.window.snapshot().last(), Some((2, None)));
}

#[test]
fn the_window_is_at_most_as_long_as_configured() {
    let mut bench = Bench::new(config(10));
    for _ in 0..50 {
        bench.segment();
        assert!(bench.window.snapshot().window_duration() <= Duration::from_secs(10));
    }
    assert_eq!(bench.window.snapshot().segments().len(), 9);
}

#[test]
fn the_window_is_never_below_three_target_durations_after_a_removal() {
    let mut bench = Bench::new(config(0));
    for seconds in [1.0, 0.3, 1.4, 0.7, 1.0, 0.02, 1.2, 0.9, 1.0, 1.0] {
        let before = bench.window.first_msn();
        bench.close(Duration::from_secs_f64(seconds), false);
        let removed = bench.window.first_msn() > before;
        assert!(!removed || bench.window.snapshot().window_duration() >= Duration::from_secs(3));
    }
    assert!(bench.window.first_msn() > 0);
}

#[test]
fn segments_without_duration_cannot_fill_the_memory() {
    let mut bench = Bench::new(config(10));
    (0..10_000).for_each(|_| bench.close(Duration::ZERO, false));
    assert!(bench.window.snapshot().segments().len() < 200);
}

#[test]
fn numbers_rise_by_one_a_removed_segment_and_removed_ones_are_told_in_order() {
    let mut bench = Bench::new(config(5));
    let mut evicted = Vec::new();
    for _ in 0..20 {
        let before = bench.window.first_msn();
        bench.segment();
        let now = bench.window.drain_evicted();
        assert_eq!(bench.window.first_msn() - before, now.len() as u64);
        evicted.extend(now);
    }
    let expected: Vec<String> = (0..evicted.len() as u64).map(|msn| bench.config.segment_uri(msn)).collect();
    assert!(evicted.len() > 10);
    assert_eq!(evicted, expected);
}

#[test]
fn the_discontinuity_sequence_is_always_there_and_rises_when_the_tags_segment_leaves() {
    let mut bench = Bench::new(config(5)).segments(1);
    assert!(bench.plain().contains("#EXT-X-DISCONTINUITY-SEQUENCE:0\n"));
    bench.window.discontinuity();
    bench.window.discontinuity();
    bench.segment();
    assert_eq!(bench.window.total_discontinuities(), 1);
    while bench.window.first_msn() <= 1 {
        assert!(bench.plain().contains("#EXT-X-DISCONTINUITY-SEQUENCE:0\n"));
        assert!(bench.plain().contains("#EXT-X-DISCONTINUITY\n"));
        bench.segment();
    }
    assert_eq!(bench.window.discontinuity_sequence(), 1);
    assert!(bench.plain().contains("#EXT-X-DISCONTINUITY-SEQUENCE:1\n"));
    assert!(!bench.plain().contains("#EXT-X-DISCONTINUITY\n"));
    assert_eq!(bench.window.total_discontinuities(), 1);
}

#[test]
fn what_is_listed_is_frozen() {
    let mut bench = Bench::new(cmaf(30));
    bench.window.set_init("a.mp4");
    let mut seen = std::collections::HashMap::new();
    for round in 0..60 {
        if round % 7 == 3 {
            bench.window.discontinuity();
            bench.window.set_init(&format!("{round}.mp4"));
        }
        bench.segment();
        let text = bench.plain();
        let body: Vec<&str> = text.lines().skip(5).collect();
        for entry in body.split_inclusive(|line| !line.starts_with('#')).skip(1) {
            let uri = entry.last().unwrap().to_string();
            let before = seen.entry(uri).or_insert_with(|| entry.join("\n"));
            assert_eq!(*before, entry.join("\n"));
        }
    }
}

#[test]
fn a_gap_is_told_in_both_forms_and_answers_like_any_segment() {
    let mut bench = Bench::new(config(60)).segments(2);
    bench.close(SECOND, true);
    for text in [bench.plain(), bench.low_latency(false)] {
        assert!(text.contains("#EXT-X-GAP\n#EXTINF:1.00000,\nshow_720p_segment002.ts\n"), "{text}");
    }
    assert!(bench.window.snapshot().has(2, Some(0)) && bench.window.snapshot().has(2, Some(9)));
}

#[test]
fn a_segment_whose_parts_were_withheld_renders_and_answers() {
    let mut bench = Bench::new(config(60)).segments(2);
    bench.close(SECOND, false);
    let text = bench.low_latency(false);
    assert!(!text.contains("segment002.part"));
    assert!(text.contains("TYPE=PART,URI=\"show_720p_segment003.part0.ts\""));
    let snapshot = bench.window.snapshot();
    assert!(snapshot.has(2, Some(0)) && snapshot.has(2, None) && !snapshot.has(3, Some(0)));
}

#[test]
fn a_request_without_a_part_waits_for_the_whole_segment() {
    let mut bench = Bench::new(config(60)).segments(2);
    bench.part(0);
    let snapshot = bench.window.snapshot();
    assert!(snapshot.has(0, None) && snapshot.has(1, None) && !snapshot.has(2, None));
}

#[test]
fn a_request_for_a_part_waits_for_it_or_anything_later() {
    let mut bench = Bench::new(config(60)).segments(2);
    bench.part(0);
    bench.part(1);
    let snapshot = bench.window.snapshot();
    assert!(snapshot.has(2, Some(0)) && snapshot.has(2, Some(1)));
    assert!(!snapshot.has(2, Some(2)) && !snapshot.has(3, Some(0)));
    bench.close(FRAMES_6 * 2, false);
    assert!(bench.window.snapshot().has(2, Some(1)));
}

#[test]
fn a_part_beyond_the_final_one_is_part_0_of_the_next_segment() {
    let mut bench = Bench::new(config(60)).segments(2);
    assert!(bench.window.snapshot().has(1, Some(4)));
    assert!(!bench.window.snapshot().has(1, Some(5)), "that is 2.0");
    assert!(bench.window.snapshot().has(0, Some(5)), "that is 1.0");
    bench.part(0);
    assert!(bench.window.snapshot().has(1, Some(5)));
    bench.close(FRAMES_6, false);
    assert!(bench.window.snapshot().has(1, Some(5)));
}

#[test]
fn what_is_long_gone_is_answered_at_once() {
    let bench = Bench::new(config(5)).segments(30);
    let snapshot = bench.window.snapshot();
    assert!(snapshot.has(3, None) && snapshot.has(3, Some(7)));
}

#[test]
fn after_the_end_everything_is_answered_at_once() {
    let mut bench = Bench::new(config(60)).segments(2);
    bench.window.end();
    let snapshot = bench.window.snapshot();
    assert!(snapshot.ended() && snapshot.has(99, Some(99)) && snapshot.has(99, None));
    assert!(!snapshot.too_far(99, Some(99)));
}

#[test]
fn more_than_two_segments_ahead_of_the_last_is_too_far() {
    let bench = Bench::new(config(60)).segments(5);
    let snapshot = bench.window.snapshot();
    assert!(!snapshot.too_far(4, None) && !snapshot.too_far(5, None) && !snapshot.too_far(6, None));
    assert!(snapshot.too_far(7, None) && snapshot.too_far(u64::MAX, Some(0)));
}

#[test]
fn more_parts_ahead_than_the_advance_part_limit_is_too_far() {
    let mut bench = Bench::new(config(60)).segments(5);
    bench.part(0);
    let snapshot = bench.window.snapshot();
    // Three seconds of parts of 0.2134 s are 15 (14.06 rounded up), after part 0.
    assert!(!snapshot.too_far(5, Some(15)) && snapshot.too_far(5, Some(16)));
    assert!(!snapshot.too_far(6, Some(0)) && snapshot.too_far(6, Some(16)));
    assert!(!snapshot.too_far(2, Some(1000)), "the past is never too far");
}

#[test]
fn parts_are_retired_three_target_durations_after_their_tags_have_gone() {
    let mut bench = Bench::new(config(60));
    for _ in 0..20 {
        bench.segment();
        let listed = bench.low_latency(false);
        for uri in bench.window.drain_retired_parts() {
            assert!(!listed.contains(&uri));
            let msn: u64 = uri[17..20].parse().unwrap();
            assert!(bench.window.next_msn() - msn > 6, "{uri} at {}", bench.window.next_msn());
        }
    }
    assert_eq!(bench.window.snapshot().segment(3).unwrap().parts.len(), 0);
    assert_eq!(bench.window.snapshot().segment(3).unwrap().part_count, 5);
    assert!(bench.window.snapshot().has(3, Some(4)));
}

#[test]
fn a_shed_rendition_goes_on_with_anothers_media() {
    let mut bench = Bench::new(config(60)).segments(1);
    bench.window.discontinuity();
    bench.window.set_uri_prefix("show_480p");
    assert!(bench.low_latency(false).contains("URI=\"show_480p_segment001.part0.ts\""));
}

#[test]
fn a_snapshot_does_not_change_with_its_window() {
    let mut bench = Bench::new(config(5)).segments(6);
    let before = bench.window.snapshot();
    let (plain, low) = (before.render_plain(), before.render_low_latency(&[], false));
    let bench = bench_segments(&mut bench, 20);
    assert_ne!(bench.plain(), plain);
    assert_eq!((before.render_plain(), before.render_low_latency(&[], false)), (plain, low));
}

fn bench_segments(bench: &mut Bench, count: u32) -> &Bench {
    (0..count).for_each(|_| bench.segment());
    bench
}

#[test]
fn a_playlist_is_restored_as_it_was_and_goes_on() {
    let mut bench = Bench::new(cmaf(20));
    bench.window.set_init("show_720p_init0.mp4");
    for round in 0..40 {
        if round == 30 {
            bench.window.discontinuity();
            bench.window.set_init("show_720p_init1.mp4");
        }
        if round == 35 {
            bench.close(SECOND, true);
        }
        bench.segment();
    }
    let text = bench.plain();
    let restored = Window::restore(cmaf(20), &text).unwrap();
    assert_eq!(restored.snapshot().render_plain(), text);
    assert_eq!(restored.next_msn(), bench.window.next_msn());
    assert_eq!(restored.total_discontinuities(), bench.window.total_discontinuities());
    assert!(!restored.was_ended());

    bench.window = restored;
    bench.window.discontinuity();
    bench.window.set_init("show_720p_init2.mp4");
    bench.segment();
    let text = bench.plain();
    assert!(text.contains("#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"show_720p_init2.mp4\""), "{text}");
}

#[test]
fn the_end_of_a_restored_playlist_is_told() {
    let mut bench = Bench::new(config(20)).segments(3);
    bench.window.end();
    assert!(Window::restore(config(20), &bench.plain()).unwrap().was_ended());
}

#[test]
fn a_playlist_with_another_target_duration_is_not_gone_on_with() {
    let text = Bench::new(config(20)).segments(3).plain();
    let other = WindowConfig { target_duration: 2, ..config(20) };
    let error = Window::restore(other, &text).unwrap_err();
    assert_eq!(error, RestoreError::TargetDuration { stored: 1, configured: 2 });
    let as_stored = Window::restore(WindowConfig { target_duration: 0, ..config(20) }, &text).unwrap();
    assert_eq!(as_stored.snapshot().target_duration(), 1);
}

#[test]
fn what_is_no_playlist_of_ours_is_a_typed_error() {
    let text = Bench::new(config(20)).segments(1).plain();
    let broken = [
        (String::new(), 1),
        ("\u{feff}#EXTM3U\n".into(), 1),
        (text.replace("EXTINF:1.00100", "EXTINF:one"), 7),
        (text.replace("EXTINF:1.00100", "EXTINF:-1"), 7),
        (text.replace("2026-11-23", "yesterday"), 6),
        (text.replace("show_720p", "show 720p"), 8),
        (text.replace("MEDIA-SEQUENCE:0", "MEDIA-SEQUENCE:18446744073709551615"), 8),
        (format!("{text}#EXT-X-ENDLIST\n{text}"), 10),
    ];
    for (text, at) in broken {
        let error = Window::restore(config(20), &text).unwrap_err();
        assert!(matches!(error, RestoreError::Line { line, .. } if line == at), "{at}: {error} in {text}");
    }
    let missing = Window::restore(config(20), "#EXTM3U\n").unwrap_err();
    assert_eq!(missing, RestoreError::Missing { tag: "EXT-X-TARGETDURATION" });
}
