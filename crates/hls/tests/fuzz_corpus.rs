//! The fuzz targets' bodies over their committed corpus, and over random bytes.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

use std::path::Path;

use hls::fuzzing;
use proptest::prelude::*;

/// Runs a target over its corpus; there must be one.
fn corpus(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let data = std::fs::read(&path).unwrap();
        assert!(data.len() < 20_000, "{} is too large for the repository", path.display());
        run(&data);
        // Torn and damaged forms of it, too.
        run(&data[..data.len() / 2]);
        let damaged: Vec<u8> = data.iter().enumerate().map(|(i, b)| if i % 997 == 500 { !b } else { *b }).collect();
        run(&damaged);
        count += 1;
    }
    assert!(count > 0, "no corpus in {}", folder.display());
}

#[test]
fn ts_corpus() {
    corpus("slice_ts", fuzzing::slice_ts);
}

#[test]
fn cmaf_corpus() {
    corpus("slice_cmaf", fuzzing::slice_cmaf);
}

#[test]
fn window_corpus() {
    corpus("window", fuzzing::window);
}

#[test]
fn restore_corpus() {
    corpus("restore", fuzzing::restore);
}

proptest! {
    #[test]
    fn random_bytes_harm_no_slicer(data in prop::collection::vec(any::<u8>(), 0..4000)) {
        fuzzing::slice_ts(&data);
        fuzzing::slice_cmaf(&data);
    }

    #[test]
    fn random_packets_harm_no_slicer(
        packets in prop::collection::vec((0_u16..5, any::<[u8; 12]>(), any::<u8>()), 1..60),
    ) {
        let mut data = vec![3, 100, 0];
        for (pid, head, fill) in packets {
            let pid = if pid < 3 { 0x100 + pid } else { (pid - 3) * 0x1000 };
            let mut packet = [fill; 188];
            packet[..4].copy_from_slice(&[0x47, (pid >> 8) as u8 | head[0] & 0x40, pid as u8, head[1]]);
            packet[4..16].copy_from_slice(&head);
            data.extend(packet);
        }
        fuzzing::slice_ts(&data);
    }

    #[test]
    fn random_operations_break_no_rule_of_the_window(data in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzzing::window(&data);
    }

    #[test]
    fn random_lines_are_restored_or_refused(
        lines in prop::collection::vec(
            prop_oneof![
                Just("#EXTINF:1.00100,"), Just("a_segment000.ts"), Just("#EXT-X-DISCONTINUITY"), Just("#EXT-X-GAP"),
                Just("#EXT-X-PROGRAM-DATE-TIME:2026-11-23T12:00:00.000Z"), Just("#EXT-X-MAP:URI=\"i.mp4\""),
                Just("#EXT-X-MEDIA-SEQUENCE:4"), Just("#EXT-X-DISCONTINUITY-SEQUENCE:18446744073709551615"),
                Just("#EXT-X-ENDLIST"), Just("#EXTINF:999999999.999999999,"), Just("#EXT-X-TARGETDURATION:1"),
            ],
            0..60,
        ),
    ) {
        let head = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:1\n";
        fuzzing::restore(format!("{head}{}\n", lines.join("\n")).as_bytes());
    }
}
