//! FFmpeg takes what leaves the timeline without a complaint, whatever was done to the source.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use rtmp::flv::{FlvReader, FlvTag, FlvWriter, TagKind};

use super::{Planned, Timeline};

const SECONDS: usize = 6;
const RATE: usize = 25;

/// Six seconds of picture and tone, with B-frames.
fn source() -> Vec<FlvTag> {
    let line = format!(
        "-hide_banner -loglevel error -nostdin -f lavfi -i testsrc2=s=320x180:r={RATE} -f lavfi -i sine=r=44100 \
         -t {SECONDS} -c:v libx264 -preset veryfast -bf 2 -g {RATE} -pix_fmt yuv420p -c:a aac -ac 2 -f flv pipe:1"
    );
    let output = Command::new("ffmpeg").args(line.split_whitespace()).output().unwrap();
    assert!(output.status.success());
    let mut reader = FlvReader::new();
    reader.push(&output.stdout);
    std::iter::from_fn(|| reader.poll().unwrap()).collect()
}

/// What FFmpeg says of these tags while it decodes them, and the seconds that its last video and audio frames end at.
fn decode(tags: &[FlvTag]) -> (String, f64, f64) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.nut");
    let mut child = Command::new("ffmpeg")
        .args("-hide_banner -loglevel warning -f flv -i pipe:0 -map 0:v -map 0:a -c:v rawvideo -s 16x16".split(' '))
        .args("-fps_mode cfr -r 25 -c:a pcm_s16le -f nut".split(' '))
        .arg(&file)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut writer = FlvWriter::new(true, true);
    let bytes: Vec<u8> = tags.iter().flat_map(|tag| writer.write(tag)).collect();
    let mut stdin = child.stdin.take().unwrap();
    let feed = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    feed.join().unwrap().unwrap();
    let end = |track: &str| {
        let output = Command::new("ffprobe")
            .args(["-v", "error", "-select_streams", track, "-show_entries", "packet=pts_time", "-of", "csv=p=0"])
            .arg(&file)
            .output()
            .unwrap();
        let times = String::from_utf8(output.stdout).unwrap();
        times.lines().filter_map(|line| line.trim_end_matches(',').parse::<f64>().ok()).fold(0.0, f64::max)
    };
    (String::from_utf8_lossy(&output.stderr).into_owned(), end("v"), end("a"))
}

/// The source, each tag's stamp changed or the tag dropped, through a timeline and FFmpeg: no complaint, whole, in step.
fn survives(change: impl Fn(&FlvTag) -> Option<u32>) {
    let mut timeline = Timeline::new(Planned { video: true, audio: true });
    let mut out = Vec::new();
    for mut tag in source() {
        let arrival = Duration::from_millis(u64::from(tag.timestamp));
        if let Some(timestamp) = change(&tag) {
            tag.timestamp = timestamp;
            out.extend(timeline.handle(arrival, tag));
        }
    }
    let (said, video, audio) = decode(&out);
    assert_eq!(said, "");
    assert!((video - SECONDS as f64).abs() < 0.2, "video ends at {video}");
    assert!((audio - SECONDS as f64).abs() < 0.2, "audio ends at {audio}");
}

#[test]
fn an_untouched_source() {
    survives(|tag| Some(tag.timestamp));
}

#[test]
fn a_jump_of_three_hours() {
    survives(|tag| Some(if tag.timestamp < 2500 { tag.timestamp } else { tag.timestamp + 10_800_000 }));
}

#[test]
fn a_jump_back_to_0() {
    survives(|tag| Some(if tag.timestamp < 2500 { tag.timestamp + 500_000 } else { tag.timestamp - 2500 }));
}

#[test]
fn a_wrap_at_32_bits() {
    survives(|tag| Some(tag.timestamp.wrapping_sub(3000)));
}

#[test]
fn audio_on_another_base() {
    survives(|tag| Some(if tag.kind == TagKind::Audio { tag.timestamp + 1_000_000_000 } else { tag.timestamp }));
}

#[test]
fn audio_that_is_away_for_two_seconds() {
    survives(|tag| (tag.kind == TagKind::Video || !(2000..4000).contains(&tag.timestamp)).then_some(tag.timestamp));
}

#[test]
fn every_other_decoding_time_repeated() {
    survives(|tag| Some(if tag.kind == TagKind::Video { tag.timestamp / 80 * 80 } else { tag.timestamp }));
}
