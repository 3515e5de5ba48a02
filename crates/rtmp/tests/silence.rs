//! FFmpeg decodes our AAC silence, in every channel layout, without a complaint.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::process::{Command, Stdio};

use rtmp::flv::{AacConfig, AudioHeader, FlvTag, FlvWriter, SilentAac, TagKind};

/// AudioSpecificConfig of AAC-LC at 48 kHz.
fn configuration(channels: u8) -> [u8; 2] {
    [0x11, 0x80 | channels << 3]
}

fn flv(configuration: &[u8], frames: u32) -> Vec<u8> {
    let config = AacConfig::parse(configuration).unwrap();
    let header = [&[0xaf, 0], configuration].concat();
    let silence = SilentAac::new(&config, &AudioHeader::parse(&header).unwrap()).unwrap();
    let mut writer = FlvWriter::new(true, false);
    let mut out = writer.write(&FlvTag { kind: TagKind::Audio, timestamp: 0, body: header.into() }).to_vec();
    for index in 0..frames {
        let timestamp = index * 1000 * config.frame_samples / config.sample_rate;
        out.extend(writer.write(&FlvTag { kind: TagKind::Audio, timestamp, body: silence.body() }));
    }
    out
}

/// What FFmpeg says, and the 16-bit samples it decodes.
fn decode(flv: &[u8]) -> (String, Vec<u8>) {
    let mut child = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "warning", "-f", "flv", "-i", "pipe:0", "-f", "s16le", "pipe:1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A tenth of a pipe's buffer: it does not block.
    child.stdin.take().unwrap().write_all(flv).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    (String::from_utf8_lossy(&output.stderr).into_owned(), output.stdout)
}

#[test]
fn every_channel_layout_decodes_to_zeros() {
    for channels in 1..=7u8 {
        let (said, samples) = decode(&flv(&configuration(channels), 50));
        let count = if channels == 7 { 8 } else { usize::from(channels) };
        assert_eq!(said, "", "{channels}");
        assert_eq!(samples.len(), 50 * 1024 * 2 * count, "{channels}");
        assert!(samples.iter().all(|byte| *byte == 0), "{channels}");
    }
}

#[test]
fn he_aac_decodes_to_zeros_at_twice_the_rate() {
    // Explicit signalling: 24 kHz core, 48 kHz out, stereo.
    let (_, samples) = decode(&flv(&[0x2b, 0x11, 0x88, 0x00], 50));
    assert_eq!(samples.len(), 50 * 2048 * 2 * 2);
    assert!(samples.iter().all(|byte| *byte == 0));
}
