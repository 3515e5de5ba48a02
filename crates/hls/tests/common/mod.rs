//! Real encoder output, made by FFmpeg when a test asks for it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use hls::slice::{Part, Segment, SliceConfig, SliceEvent, Slicer};

/// A frame rate as FFmpeg takes it, and its frame duration.
#[derive(Debug, Clone, Copy)]
pub struct Rate(pub u32, pub u32);

pub const RATES: [Rate; 8] = [
    Rate(24000, 1001),
    Rate(24, 1),
    Rate(25, 1),
    Rate(30000, 1001),
    Rate(30, 1),
    Rate(50, 1),
    Rate(60000, 1001),
    Rate(60, 1),
];

impl Rate {
    pub fn hertz(self) -> f64 {
        f64::from(self.0) / f64::from(self.1)
    }

    pub fn frame(self) -> Duration {
        Duration::from_nanos(u64::from(self.1) * 1_000_000_000 / u64::from(self.0))
    }
}

/// Runs FFmpeg; what it wrote to its standard output.
pub fn ffmpeg(arguments: &str) -> Bytes {
    let output = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-nostdin"])
        .args(arguments.split_whitespace())
        .output()
        .expect("these tests need ffmpeg on the PATH");
    assert!(output.status.success(), "ffmpeg {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    Bytes::from(output.stdout)
}

pub fn video_source(rate: Rate, seconds: u32) -> String {
    format!("-f lavfi -i testsrc2=size=320x180:rate={}/{}:duration={seconds}", rate.0, rate.1)
}

pub fn audio_source(seconds: u32) -> String {
    format!("-f lavfi -i sine=frequency=440:sample_rate=48000:duration={seconds}")
}

/// `zerolatency` has no B-frames; without it there are three.
pub fn x264(zero_latency: bool) -> String {
    let tune = if zero_latency { "-tune zerolatency" } else { "-bf 3 -b_strategy 0" };
    format!(
        "-c:v libx264 -preset ultrafast {tune} -pix_fmt yuv420p -b:v 300k -maxrate 300k -bufsize 300k \
         -force_key_frames expr:gte(t,n_forced*1) -x264-params keyint=600:scenecut=0"
    )
}

pub const AAC: &str = "-c:a aac -b:a 64k -ar 48000 -ac 2";
pub const TS: &str =
    "-output_ts_offset 10 -muxdelay 0 -muxpreload 0 -flush_packets 1 -mpegts_flags +pat_pmt_at_frames -f mpegts pipe:1";
pub const CMAF: &str = "-output_ts_offset 10 -f mp4 \
     -movflags +cmaf+delay_moov+skip_trailer+frag_discont+frag_every_frame -flush_packets 1 pipe:1";

pub fn ts_capture(rate: Rate, seconds: u32, zero_latency: bool) -> Bytes {
    let (video, audio) = (video_source(rate, seconds), audio_source(seconds));
    ffmpeg(&format!("{video} {audio} {} {AAC} {TS}", x264(zero_latency)))
}

/// Feeds bytes to a command's standard input; its standard output and error together.
pub fn pipe(program: &str, arguments: &str, input: &[u8]) -> String {
    let mut child = Command::new(program)
        .args(arguments.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("these tests need ffmpeg and ffprobe on the PATH");
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// What FFmpeg complains of when it decodes these bytes alone, and how many frames of video it shows.
pub fn decode(bytes: &[u8]) -> (String, usize) {
    let complaints = pipe("ffmpeg", "-v error -i pipe:0 -f null -", bytes);
    let frames = pipe(
        "ffprobe",
        "-v quiet -count_frames -select_streams v:0 -show_entries stream=nb_read_frames -of csv=p=0 -i pipe:0",
        bytes,
    );
    let first = frames.split(|c: char| !c.is_ascii_digit()).find(|s| !s.is_empty());
    (complaints, first.and_then(|count| count.parse().ok()).unwrap_or(0))
}

/// Everything a slicer says of a stream, pushed in pieces of that size.
pub fn slice(slicer: &mut dyn Slicer, stream: &Bytes, piece: usize) -> Vec<SliceEvent> {
    let mut events = Vec::new();
    let mut rest = stream.clone();
    while !rest.is_empty() {
        let bytes = rest.split_to(piece.min(rest.len()));
        slicer.push(bytes).unwrap();
        events.extend(std::iter::from_fn(|| slicer.poll()));
    }
    slicer.finish(true).unwrap();
    events.extend(std::iter::from_fn(|| slicer.poll()));
    events
}

pub fn segments(events: &[SliceEvent]) -> Vec<Segment> {
    let segment = |event: &SliceEvent| if let SliceEvent::Segment(s) = event { Some(s.clone()) } else { None };
    events.iter().filter_map(segment).collect()
}

pub fn parts(events: &[SliceEvent]) -> Vec<Part> {
    let part = |event: &SliceEvent| if let SliceEvent::Part(p) = event { Some(p.clone()) } else { None };
    events.iter().filter_map(part).collect()
}

/// Chunks joined, so that what was chunked differently can be compared.
pub fn flat(events: Vec<SliceEvent>) -> Vec<SliceEvent> {
    let join = |chunks: &mut Vec<Bytes>| *chunks = vec![chunks.concat().into()];
    let mut events = events;
    for event in &mut events {
        match event {
            SliceEvent::Part(part) => join(&mut part.chunks),
            SliceEvent::Segment(segment) => join(&mut segment.chunks),
            SliceEvent::Tracks(_) | SliceEvent::Init(_) => {}
        }
    }
    events
}

pub fn config(part_frames: Option<u32>) -> SliceConfig {
    SliceConfig { part_frames, origin: Duration::from_secs(10), ..SliceConfig::default() }
}

/// A segment's parts are it, byte for byte and moment for moment; and the last parts only are short.
pub fn check_parts(events: &[SliceEvent], target: Duration) {
    for segment in segments(events) {
        let parts: Vec<Part> = parts(events).into_iter().filter(|part| part.segment == segment.index).collect();
        let bytes = parts.iter().flat_map(|part| &part.chunks).flatten().copied().collect::<Vec<u8>>();
        assert_eq!(bytes, segment.chunks.concat(), "parts of segment {}", segment.index);
        let mut start = segment.start;
        for (index, part) in parts.iter().enumerate() {
            assert_eq!(part.index as usize, index);
            assert_eq!(part.independent, index == 0 || part_is_audio(events));
            assert_eq!(part.start, start);
            assert!(part.duration <= target, "{part:?}");
            if index + 1 < parts.len() {
                assert!(
                    part.duration >= target.mul_f64(0.85),
                    "segment {} part {index}: {:?}",
                    segment.index,
                    part.duration
                );
            }
            start = hls::time::MediaTime(start.0 + part.duration.as_nanos() as i64);
        }
        let sum: Duration = parts.iter().map(|part| part.duration).sum();
        assert!(sum.abs_diff(segment.duration) < Duration::from_micros(30), "{sum:?} {:?}", segment.duration);
    }
}

fn part_is_audio(events: &[SliceEvent]) -> bool {
    events.iter().any(|event| matches!(event, SliceEvent::Tracks(tracks) if tracks.video.is_none()))
}
