//! The rules of multivariant playlists.
#![allow(clippy::unwrap_used)]

mod judge;

use hls::multivariant::{AudioRendition, Multivariant, Variant};
use judge::{judge, values};

fn variant(height: u32, average: u64) -> Variant {
    Variant {
        uri: format!("show_{height}p_playlist.m3u8"),
        bandwidth: average * 6 / 5,
        average_bandwidth: average,
        codecs: vec!["avc1.640028".into(), "mp4a.40.2".into()],
        resolution: Some((height * 16 / 9 / 2 * 2, height)),
        frame_rate: Some(30_000.0 / 1001.0),
        audio_group: None,
    }
}

fn ladder() -> Multivariant {
    let variants = vec![variant(1080, 5_200_000), variant(720, 3_200_000), variant(480, 1_700_000)];
    Multivariant { variants, independent_segments: true, ..Multivariant::default() }
}

#[test]
fn golden_muxed_ladder() {
    let text = ladder().render();
    judge(&text);
    insta::assert_snapshot!(text);
}

#[test]
fn golden_separate_audio() {
    let mut playlist = ladder();
    playlist.version_map = true;
    playlist.audio = Some(AudioRendition {
        group: "audio".into(),
        name: "Main \"mix\"".into(),
        language: Some("und".into()),
        channels: 2,
        uri: "show_audio_playlist.m3u8".into(),
    });
    for variant in &mut playlist.variants {
        variant.audio_group = Some("audio".into());
    }
    let text = playlist.render();
    judge(&text);
    insta::assert_snapshot!(text);
}

#[test]
fn no_line_is_indented() {
    assert!(ladder().render().lines().all(|line| line.starts_with(['#', 's'])));
}

#[test]
fn each_variant_has_what_apple_requires() {
    let text = ladder().render();
    for name in ["BANDWIDTH", "AVERAGE-BANDWIDTH", "CODECS", "RESOLUTION", "FRAME-RATE"] {
        let name = format!("{}{name}", if name == "BANDWIDTH" { ":" } else { "," });
        assert_eq!(values(&text, &name).len(), 3, "{name} in {text}");
    }
    assert_eq!(values(&text, "FRAME-RATE"), ["29.970"; 3]);
}

#[test]
fn the_first_variant_is_the_best_that_starts_quickly() {
    let first = |limit| {
        let mut playlist = ladder();
        playlist.start_with(limit);
        assert_eq!(playlist.variants.len(), 3);
        playlist.variants[0].average_bandwidth
    };
    assert_eq!(first(2_000_000), 1_700_000);
    assert_eq!(first(4_000_000), 3_200_000);
    assert_eq!(first(100), 1_700_000);
    assert_eq!(first(u64::MAX), 5_200_000);
}

#[test]
fn what_a_user_named_cannot_break_out_of_its_quotes() {
    let mut playlist = ladder();
    playlist.variants[0].uri = "a\"b\n#EXT-X-ENDLIST".into();
    let text = playlist.render();
    judge(&text);
    assert!(!text.contains("\n#EXT-X-ENDLIST"));
}
