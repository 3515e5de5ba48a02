//! The planned command lines against the real FFmpeg: what comes out of the pipes, judged by ffprobe.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use hls::slice::{CmafSlicer, Part, Segment, SliceConfig, SliceEvent, Slicer, TsSlicer};
use rstest::rstest;
use tailwater::ladder::{
    AudioSource, Format, LadderConfig, Passthrough, Plan, PlannedRendition, Rung, SourceInfo, VideoCodec, VideoSource,
    part_rule_holds, plan,
};
use tailwater::transcode::{Capabilities, Exit, Running, Transcoder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A camera's FLV: a moving picture of that size and rate and a tone.
fn camera(size: &str, rate: &str, seconds: f64, tracks: &[&str]) -> Vec<u8> {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-loglevel", "error", "-nostdin"]);
    if tracks.contains(&"video") {
        command.args(["-f", "lavfi", "-i", &format!("testsrc2=s={size}:r={rate}")]);
    }
    if tracks.contains(&"audio") {
        command.args(["-f", "lavfi", "-i", "sine=f=440:r=48000"]);
    }
    command.args(["-t", &seconds.to_string(), "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]);
    command.args(["-g", "1000", "-b:v", "500k", "-c:a", "aac", "-ac", "2", "-f", "flv", "-flvflags"]);
    let output = command.args(["no_duration_filesize", "pipe:1"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn source(width: u32, height: u32, rate: f64) -> SourceInfo {
    SourceInfo { video: Some(VideoSource::h264(width, height, rate)), audio: Some(AudioSource::aac()) }
}

/// Two small rungs, fast.
fn config(format: Format, low_latency: bool) -> LadderConfig {
    let rungs = vec![Rung::new("180p", 180, 300_000), Rung::new("90p", 90, 100_000)];
    LadderConfig { rungs, format, low_latency, preset: Some("ultrafast".into()), ..LadderConfig::default() }
}

fn planned(source: &SourceInfo, config: &LadderConfig) -> Plan {
    plan(source, config, &Capabilities::typical(2)).unwrap()
}

/// Feeds the whole of `flv` and gives what every pipe held, and the end.
async fn transcode(plan: &Plan, flv: Vec<u8>) -> (BTreeMap<String, Vec<u8>>, Exit) {
    let Running { mut stdin, outputs, progress, handle } = Transcoder::spawn(Path::new("ffmpeg"), plan).unwrap();
    drop(progress);
    let feeder = tokio::spawn(async move {
        let _ = stdin.write_all(&flv).await;
    });
    let mut readers = tokio::task::JoinSet::new();
    for (name, mut pipe) in outputs {
        readers.spawn(async move {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).await.unwrap();
            (name, bytes)
        });
    }
    let renditions = readers.join_all().await.into_iter().collect();
    feeder.await.unwrap();
    let exit = handle.wait().await;
    (renditions, exit)
}

/// ffprobe's packets of one track: (pts, dts, key frame).
fn packets(directory: &Path, name: &str, bytes: &[u8], track: &str) -> Vec<(f64, f64, bool)> {
    let file = directory.join(name);
    std::fs::write(&file, bytes).unwrap();
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", track, "-show_entries", "packet=pts_time,dts_time,flags"])
        .args(["-of", "csv=p=0"])
        .arg(&file)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split(',');
            let pts = fields.next()?.parse().ok()?;
            let dts = fields.next()?.parse().unwrap_or(pts);
            Some((pts, dts, fields.next()?.starts_with('K')))
        })
        .collect()
}

/// All eight rates of the main job: a key frame at the first frame at or after each second, nowhere else, alike in all
/// renditions, the first at exactly 10 s.
#[rstest]
#[case("24000/1001", 23.976)]
#[case("24", 24.0)]
#[case("25", 25.0)]
#[case("30000/1001", 29.97)]
#[case("30", 30.0)]
#[case("50", 50.0)]
#[case("60000/1001", 59.94)]
#[case("60", 60.0)]
#[tokio::test]
async fn key_frames_are_the_first_frames_at_or_after_each_second(
    #[case] rate: &str,
    #[case] announced: f64,
    #[values(Format::Ts, Format::Cmaf)] format: Format,
    #[values(true, false)] low_latency: bool,
) {
    let plan = planned(&source(320, 180, announced), &config(format, low_latency));
    let (renditions, exit) = transcode(&plan, camera("320x180", rate, 4.3, &["video", "audio"])).await;
    assert!(exit.clean, "{exit:?}");
    let directory = tempfile::tempdir().unwrap();
    let exact = plan.frame_rate.unwrap().as_f64();
    let expected: Vec<f64> = (0..=4).map(|second| 10.0 + (f64::from(second) * exact - 1e-9).ceil() / exact).collect();
    for name in ["180p", "90p"] {
        let packets = packets(directory.path(), name, &renditions[name], "v");
        let keys: Vec<f64> = packets.iter().filter(|packet| packet.2).map(|packet| packet.0).collect();
        assert_eq!(keys.len(), expected.len(), "{name}: {keys:?}");
        for (key, expected) in keys.iter().zip(&expected) {
            assert!((key - expected).abs() < 0.001, "{name}: {keys:?} against {expected:?}");
        }
        let frames = (4.3 * exact).round() as usize;
        assert!(packets.len().abs_diff(frames) <= 1, "{name}: {} frames for {frames}", packets.len());
        assert_eq!(packets[0].0, 10.0, "{name} starts at session zero");
    }
}

#[rstest]
#[tokio::test]
async fn the_pipes_hold_what_was_planned_and_ffmpeg_ends_cleanly(#[values(Format::Ts, Format::Cmaf)] format: Format) {
    let plan = planned(&source(320, 180, 30.0), &config(format, true));
    let (renditions, exit) = tokio::time::timeout(
        Duration::from_secs(20),
        transcode(&plan, camera("320x180", "30", 2.0, &["video", "audio"])),
    )
    .await
    .unwrap();
    assert!(exit.clean, "{exit:?}");
    assert_eq!(renditions.len(), plan.renditions.len());
    let directory = tempfile::tempdir().unwrap();
    for rendition in &plan.renditions {
        let bytes = &renditions[&rendition.name];
        assert_eq!(packets(directory.path(), &rendition.name, bytes, "v").is_empty(), rendition.video.is_none());
        assert_eq!(packets(directory.path(), &rendition.name, bytes, "a").is_empty(), !rendition.audio);
    }
}

/// The tuned settings have B-frames in standard latency: what is shown first is still shown at session zero.
#[tokio::test]
async fn b_frames_do_not_shift_the_picture() {
    let tuned = LadderConfig { preset: None, ..config(Format::Ts, false) };
    let plan = planned(&source(320, 180, 29.97), &tuned);
    let (renditions, exit) = transcode(&plan, camera("320x180", "30000/1001", 3.3, &["video", "audio"])).await;
    assert!(exit.clean, "{exit:?}");
    let directory = tempfile::tempdir().unwrap();
    for name in ["180p", "90p"] {
        let packets = packets(directory.path(), name, &renditions[name], "v");
        assert!(packets.iter().any(|packet| packet.0 - packet.1 > 0.03), "{name} has B-frames");
        let keys: Vec<f64> = packets.iter().filter(|packet| packet.2).map(|packet| packet.0).collect();
        let expected = [10.0, 11.001, 12.002, 13.003];
        assert!(keys.iter().zip(expected).all(|(key, expected)| (key - expected).abs() < 0.0005), "{keys:?}");
    }
}

/// First decoding time and composition offset of an MP4's first sample, in seconds, read from `tfdt` and `trun`.
/// ffprobe would shift them: its demuxer adds the largest negative offset to all.
fn first_sample(bytes: &[u8]) -> (f64, f64) {
    let find = |name: &[u8]| bytes.windows(4).position(|window| window == name).unwrap() + 4;
    let number = |at: usize| f64::from(i32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()));
    let timescale = number(find(b"mdhd") + 12);
    let decoding = number(find(b"tfdt") + 8);
    let trun = find(b"trun");
    let flags = u32::from_be_bytes(bytes[trun..trun + 4].try_into().unwrap()) & 0x00ff_ffff;
    let skipped = [1, 4, 0x100, 0x200, 0x400].iter().filter(|flag| flags & **flag != 0).count();
    let offset = if flags & 0x800 == 0 { 0.0 } else { number(trun + 8 + 4 * skipped) };
    (decoding / timescale, offset / timescale)
}

#[tokio::test]
async fn in_cmaf_b_frames_have_negative_offsets_and_no_edit_list() {
    let tuned = LadderConfig { preset: None, ..config(Format::Cmaf, false) };
    let plan = planned(&source(320, 180, 30.0), &tuned);
    let (renditions, exit) = transcode(&plan, camera("320x180", "30", 2.0, &["video", "audio"])).await;
    assert!(exit.clean, "{exit:?}");
    for (name, bytes) in &renditions {
        assert!(!bytes.windows(4).any(|window| window == b"elst"), "{name}");
        let (decoding, offset) = first_sample(bytes);
        let first = if name == "audio" { 10.0 - 1024.0 / 48_000.0 } else { 10.0 };
        assert!((decoding + offset - first).abs() < 0.001, "{name}: {decoding} + {offset}");
    }
}

/// HEVC and AV1 rungs where FFmpeg has the encoders: sample entries that players take, key frames at each second.
#[rstest]
#[case("libx265", VideoCodec::Hevc, "hvc1", "30", 30.0, true)]
#[case("libx265", VideoCodec::Hevc, "hvc1", "30000/1001", 29.97, false)]
#[case("libsvtav1", VideoCodec::Av1, "av01", "30", 30.0, true)]
#[case("libsvtav1", VideoCodec::Av1, "av01", "30", 30.0, false)]
#[case("libaom-av1", VideoCodec::Av1, "av01", "30000/1001", 29.97, true)]
#[tokio::test]
async fn other_codecs_keep_the_same_key_frames(
    #[case] encoder: &str,
    #[case] codec: VideoCodec,
    #[case] entry: &str,
    #[case] rate: &str,
    #[case] announced: f64,
    #[case] low_latency: bool,
) {
    let caps = tailwater::transcode::capabilities::probe(Path::new("ffmpeg")).await.unwrap();
    if !caps.has_encoder(encoder) {
        eprintln!("this FFmpeg has no {encoder}");
        return;
    }
    let rungs = vec![Rung::new("180p", 180, 300_000), Rung { codec, ..Rung::new("90p", 90, 100_000) }];
    let config = LadderConfig { rungs, ..config(Format::Cmaf, low_latency) };
    let plan = plan(&source(320, 180, announced), &config, &caps).unwrap();
    let (renditions, exit) = transcode(&plan, camera("320x180", rate, 3.3, &["video", "audio"])).await;
    assert!(exit.clean, "{exit:?}");
    let directory = tempfile::tempdir().unwrap();
    let keys = |name: &str| -> Vec<f64> {
        let packets = packets(directory.path(), name, &renditions[name], "v");
        // Relative to the first, for ffprobe's shift of B-frames.
        packets.iter().filter(|packet| packet.2).map(|packet| packet.0 - packets[0].0).collect()
    };
    let (reference, other) = (keys("180p"), keys("90p"));
    assert_eq!(reference.len(), 4, "{reference:?}");
    assert_eq!(other.len(), 4, "{other:?}");
    assert!(reference.iter().zip(&other).all(|(a, b)| (a - b).abs() < 0.001), "{reference:?} {other:?}");
    assert!(renditions["90p"].windows(4).any(|window| window == entry.as_bytes()));
    let (decoding, offset) = first_sample(&renditions["90p"]);
    assert!((decoding + offset - 10.0).abs() < 0.001, "{decoding} + {offset}");
}

/// Mean SSIM of a rendition's first ten pictures against the source's, frame by frame in order.
fn ssim_of_the_start(directory: &Path, source: &[u8], rendition: &[u8]) -> f64 {
    let (of, with) = (directory.join("rendition"), directory.join("source.flv"));
    std::fs::write(&of, rendition).unwrap();
    std::fs::write(&with, source).unwrap();
    let graph = "[0:v]setpts=N/30/TB,trim=end_frame=10[a];[1:v]setpts=N/30/TB,trim=end_frame=10[b];[a][b]ssim";
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostdin", "-i"]).arg(of).arg("-i").arg(with);
    let printed = command.args(["-lavfi", graph, "-f", "null", "-"]).output().unwrap().stderr;
    let printed = String::from_utf8_lossy(&printed).into_owned();
    let value = printed.rsplit_once("All:").unwrap_or_else(|| panic!("{printed}")).1;
    value.split_whitespace().next().unwrap().parse().unwrap()
}

/// The first key frame is not lost to probing, and no picture is shifted by one.
#[rstest]
#[tokio::test]
async fn the_first_pictures_are_the_sources(
    #[values(Format::Ts, Format::Cmaf)] format: Format,
    #[values(true, false)] low_latency: bool,
) {
    let plan = planned(&source(320, 180, 30.0), &config(format, low_latency));
    let camera = camera("320x180", "30", 1.5, &["video"]);
    let plan = Plan { audio: None, renditions: without_audio(&plan), ..plan };
    let (renditions, exit) = transcode(&plan, camera.clone()).await;
    assert!(exit.clean, "{exit:?}");
    let directory = tempfile::tempdir().unwrap();
    let ssim = ssim_of_the_start(directory.path(), &camera, &renditions["180p"]);
    assert!(ssim > 0.9, "{ssim}");
}

fn without_audio(plan: &Plan) -> Vec<tailwater::ladder::PlannedRendition> {
    let video = plan.renditions.iter().filter(|rendition| rendition.video.is_some());
    video.map(|rendition| tailwater::ladder::PlannedRendition { audio: false, ..rendition.clone() }).collect()
}

/// Bytes of the AAC frames, each as ffprobe hashes it, in order.
fn audio_hashes(directory: &Path, name: &str, bytes: &[u8]) -> Vec<String> {
    let file = directory.join(name);
    std::fs::write(&file, bytes).unwrap();
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-i"]).arg(file).args(["-map", "0:a", "-c", "copy"]);
    let output = command.args(["-f", "framehash", "-hash", "md5", "-"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit(',').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn audio_is_the_same_bits_in_every_ts_rendition() {
    let plan = planned(&source(320, 180, 30.0), &config(Format::Ts, true));
    let (renditions, _) = transcode(&plan, camera("320x180", "30", 2.0, &["video", "audio"])).await;
    let directory = tempfile::tempdir().unwrap();
    let [high, low] = ["180p", "90p"].map(|name| audio_hashes(directory.path(), name, &renditions[name]));
    assert!(high.len() > 90, "{}", high.len());
    assert_eq!(high, low);
}

/// A flash and a beep at one instant of the source are at one instant of every rendition. The encoder's own audio
/// starts 1024 samples early, so that the first packet lies at 10 s less 21.3 ms.
#[rstest]
#[tokio::test]
async fn audio_and_video_keep_step(
    #[values(Format::Ts, Format::Cmaf)] format: Format,
    #[values(true, false)] low_latency: bool,
) {
    let plan = planned(&source(320, 180, 30.0), &config(format, low_latency));
    let (renditions, _) = transcode(&plan, camera("320x180", "30", 2.0, &["video", "audio"])).await;
    let directory = tempfile::tempdir().unwrap();
    let audio_of = if format == Format::Ts { "90p" } else { "audio" };
    let video = packets(directory.path(), "90p", &renditions["90p"], "v");
    let audio = packets(directory.path(), "audio", &renditions[audio_of], "a");
    assert_eq!(video[0].0, 10.0);
    let priming = 1024.0 / 48_000.0;
    assert!((audio[0].0 - (10.0 - priming)).abs() < 0.001, "{}", audio[0].0);
    // Nothing drifts: the hundredth packet lies where a hundred frames of audio end.
    assert!((audio[90].0 - (10.0 - priming + 90.0 * priming)).abs() < 0.001, "{}", audio[90].0);
}

#[rstest]
#[case::portrait(180, 320, "180x320", &[(180, 320), (90, 160)])]
#[case::four_to_three(320, 240, "320x240", &[(240, 180), (120, 90)])]
#[case::odd(321, 181, "322x182", &[(320, 180), (160, 90)])]
#[tokio::test]
async fn pictures_have_the_planned_size(
    #[case] width: u32,
    #[case] height: u32,
    #[case] size: &str,
    #[case] expected: &[(u32, u32)],
) {
    let plan = planned(&source(width, height, 30.0), &config(Format::Ts, true));
    let (renditions, _) = transcode(&plan, camera(size, "30", 1.0, &["video", "audio"])).await;
    let directory = tempfile::tempdir().unwrap();
    for (rendition, expected) in plan.renditions.iter().zip(expected) {
        let file = directory.path().join(&rendition.name);
        std::fs::write(&file, &renditions[&rendition.name]).unwrap();
        let mut command = Command::new("ffprobe");
        command.args(["-v", "error", "-select_streams", "v", "-of", "csv=p=0", "-show_entries"]);
        let output = command.arg("stream=width,height,pix_fmt,sample_aspect_ratio").arg(file).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with(&format!("{},{},1:1,yuv420p", expected.0, expected.1)), "{text}");
    }
}

#[rstest]
#[tokio::test]
async fn a_source_of_one_track_makes_what_there_is(
    #[values(Format::Ts, Format::Cmaf)] format: Format,
    #[values("audio", "video")] track: &str,
) {
    let mut source = source(320, 180, 30.0);
    match track {
        "audio" => source.video = None,
        _ => source.audio = None,
    }
    let plan = planned(&source, &config(format, true));
    let (renditions, exit) = transcode(&plan, camera("320x180", "30", 1.5, &[track])).await;
    assert!(exit.clean, "{exit:?}");
    let directory = tempfile::tempdir().unwrap();
    for (name, bytes) in &renditions {
        let of = |kind: &str| packets(directory.path(), name, bytes, kind).len();
        let (video, audio) = (of("v"), of("a"));
        assert!(
            if track == "audio" { video == 0 && audio > 60 } else { audio == 0 && video >= 44 },
            "{name}: {video}, {audio}"
        );
    }
}

/// Video must not wait for sound that does not come: all of it is out while the input is still open.
#[tokio::test]
async fn missing_audio_does_not_hold_video() {
    let plan = planned(&source(320, 180, 30.0), &config(Format::Ts, true));
    let silent = camera("320x180", "30", 2.0, &["video"]);
    let mut with_audio = camera("320x180", "30", 0.2, &["video", "audio"]);
    // The header and configurations of a camera with a microphone, then two seconds without a sound.
    let heard = with_audio.len();
    with_audio.truncate(heard);
    let Running { mut stdin, mut outputs, progress, handle } = Transcoder::spawn(Path::new("ffmpeg"), &plan).unwrap();
    drop(progress);
    stdin.write_all(&with_audio).await.unwrap();
    stdin.write_all(&shifted(&silent[13..], 200)).await.unwrap();
    let (_, mut pipe) = outputs.swap_remove(0);
    let others = tokio::spawn(async move {
        for (_, mut pipe) in outputs {
            tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await.unwrap();
        }
    });
    let mut bytes = Vec::new();
    let directory = tempfile::tempdir().unwrap();
    let wait = async {
        loop {
            pipe.read_buf(&mut bytes).await.unwrap();
            // The last frames are behind the filter and the next picture.
            if bytes.len() > 60_000 && packets(directory.path(), "v", &bytes, "v").len() >= 55 {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("video is held back");
    drop(stdin);
    drop(pipe);
    others.await.unwrap();
    handle.wait().await;
}

/// The tags with their timestamps moved, sequence headers and metadata left out of a running FLV's way.
fn shifted(mut tags: &[u8], by: u32) -> Vec<u8> {
    let mut moved = Vec::new();
    while tags.len() >= 11 {
        let size = u32::from_be_bytes([0, tags[1], tags[2], tags[3]]) as usize + 15;
        let (tag, rest) = tags.split_at(size);
        let time = u32::from_be_bytes([tag[7], tag[4], tag[5], tag[6]]) + by;
        let mut tag = tag.to_vec();
        let bytes = time.to_be_bytes();
        (tag[7], tag[4], tag[5], tag[6]) = (bytes[0], bytes[1], bytes[2], bytes[3]);
        moved.extend(tag);
        tags = rest;
    }
    moved
}

/// A camera whose key frames come at those seconds and nowhere else, as the feed would hand it on: its pictures begin at
/// zero.
fn camera_with_keys(rate: &str, keys: &str, b_frames: u32) -> Vec<u8> {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-loglevel", "error", "-nostdin"]);
    command.args(["-f", "lavfi", "-i", &format!("testsrc2=s=320x180:r={rate}")]);
    command.args(["-itsoffset", "0.0213334", "-f", "lavfi", "-i", "sine=f=440:r=48000", "-t", "4.4"]);
    command.args(["-c:v", "libx264", "-preset", "superfast", "-pix_fmt", "yuv420p", "-bf", &b_frames.to_string()]);
    command.args(["-g", "1000", "-force_key_frames", keys, "-b:v", "500k", "-c:a", "aac", "-ac", "2", "-f", "flv"]);
    let output = command.args(["-flvflags", "no_duration_filesize", "pipe:1"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The source as the top rung, one rung at its rate, one at half of it where the source is fast.
fn planned_copy(rate: f64, format: Format, low_latency: bool) -> Plan {
    let mut source = source(320, 180, rate);
    let video = source.video.as_mut().unwrap();
    (video.keyframe_interval, video.bitrate) = (Some(Duration::from_secs(1)), Some(500_000));
    let capped = Rung { max_frame_rate: Some(30.0), ..Rung::new("72p", 72, 80_000) };
    let rungs = vec![Rung::new("180p", 180, 500_000), Rung::new("90p", 90, 100_000), capped];
    let passthrough = Passthrough::Always;
    let plan = planned(&source, &LadderConfig { rungs, passthrough, ..config(format, low_latency) });
    assert!(plan.copies(), "{:?}", plan.notes);
    plan
}

/// What the server's own slicers make of a pipe.
fn sliced(plan: &Plan, rendition: &PlannedRendition, bytes: &[u8]) -> (Bytes, Vec<Segment>, Vec<Part>) {
    let config = SliceConfig {
        segment: plan.segment,
        part_frames: rendition.part_frames,
        origin: plan.origin,
        frame_duration: Some(rendition.frame_duration),
        ..SliceConfig::default()
    };
    let mut slicer: Box<dyn Slicer> = match plan.format {
        Format::Ts => Box::new(TsSlicer::new(config)),
        Format::Cmaf => Box::new(CmafSlicer::new(config)),
    };
    slicer.push(Bytes::copy_from_slice(bytes)).unwrap();
    slicer.finish(true).unwrap();
    let (mut init, mut segments, mut parts) = (Bytes::new(), Vec::new(), Vec::new());
    while let Some(event) = slicer.poll() {
        match event {
            SliceEvent::Init(bytes) => init = bytes,
            SliceEvent::Segment(segment) => segments.push(segment),
            SliceEvent::Part(part) => parts.push(part),
            SliceEvent::Tracks(_) => {}
        }
    }
    (init, segments, parts)
}

/// Decodes a segment with nothing before it but its init, without a complaint; the pictures in it.
fn decoded_alone(directory: &Path, init: &Bytes, segment: &Segment) -> usize {
    let file = directory.join("segment");
    std::fs::write(
        &file,
        [init.clone()].iter().chain(&segment.chunks).fold(Vec::new(), |mut all, chunk| {
            all.extend_from_slice(chunk);
            all
        }),
    )
    .unwrap();
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-xerror", "-i"]).arg(file);
    let output = command.args(["-map", "0:v", "-f", "framecrc", "-"]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().filter(|line| !line.starts_with('#')).count()
}

/// Copied and encoded rungs are cut at the same key frames of the source, wherever these are: also where one comes within a
/// segment, or where a rung of half the rate would have left it out.
#[rstest]
#[case("25", 25.0, "0,1,1.52,2,3,4", 0)]
#[case("30", 30.0, "0,1,1.5,2,3,4", 0)]
#[case("50", 50.0, "0,1,1.5,2,3,4", 0)]
#[case("60", 60.0, "0,1,1.517,2.017,3,4", 0)]
#[case("30000/1001", 29.97, "0,1.001,2.002,3.003,4.004", 0)]
#[case::b_frames("30", 30.0, "0,1,1.5,2,3,4", 2)]
#[tokio::test]
async fn copied_and_encoded_rungs_are_cut_at_the_sources_key_frames(
    #[case] rate: &str,
    #[case] announced: f64,
    #[case] keys: &str,
    #[case] b_frames: u32,
    #[values(Format::Ts, Format::Cmaf)] format: Format,
    #[values(true, false)] low_latency: bool,
) {
    if format == Format::Cmaf && rate.contains('/') {
        return;
    }
    let plan = planned_copy(announced, format, low_latency);
    let (renditions, exit) = transcode(&plan, camera_with_keys(rate, keys, b_frames)).await;
    assert!(exit.clean, "{exit:?}");
    let directory = tempfile::tempdir().unwrap();
    let starts: Vec<f64> =
        keys.split(',').map(|key| key.parse().unwrap()).filter(|key: &f64| key % 1.0 < 0.1).collect();
    for rendition in plan.renditions.iter().filter(|rendition| rendition.video.is_some()) {
        let name = &rendition.name;
        let (init, segments, parts) = sliced(&plan, rendition, &renditions[name]);
        let found: Vec<f64> = segments.iter().map(|segment| segment.start.0 as f64 / 1e9).collect();
        assert_eq!(found.len(), starts.len(), "{name}: {found:?}");
        // To the millisecond of FLV: not merely to the nearest frame.
        let alike = |(a, b): (&f64, &f64)| (a - b).abs() < 0.0011;
        assert!(found.iter().zip(&starts).all(alike), "{name}: {found:?} for {starts:?}");
        for (segment, next) in segments.iter().zip(&segments[1..]) {
            assert_eq!(segment.start.saturating_add(segment.duration), next.start, "{name}: {}", segment.index);
        }
        let frames = decoded_alone(directory.path(), &init, &segments[2]);
        let expected = segments[2].duration.as_secs_f64() * rendition.video.as_ref().unwrap().frame_rate.as_f64();
        assert!((frames as f64 - expected).abs() <= 1.0, "{name}: {frames} pictures for {expected}");
        parts_keep_the_rules(&plan, rendition, &segments, &parts);
    }
}

/// RFC 8216bis 4.4.4.9: none longer than PART-TARGET, none but a segment's last shorter than 85 % of it.
fn parts_keep_the_rules(plan: &Plan, rendition: &PlannedRendition, segments: &[Segment], parts: &[Part]) {
    if !plan.low_latency {
        return assert!(parts.is_empty());
    }
    let target = LadderConfig::default().part_target;
    assert!(part_rule_holds(target, rendition.video.as_ref().unwrap().frame_rate));
    for (part, next) in parts.iter().zip(&parts[1..]) {
        let told = format!("{}: {}.{} lasts {:?}", rendition.name, part.segment, part.index, part.duration);
        assert!(part.duration <= target, "{told}");
        assert!(next.segment != part.segment || part.duration >= target.mul_f64(0.85), "{told}");
    }
    for segment in &segments[..segments.len() - 1] {
        let sum: Duration = parts.iter().filter(|part| part.segment == segment.index).map(|part| part.duration).sum();
        let frame = rendition.frame_duration;
        assert!(sum + frame >= segment.duration && sum <= segment.duration + frame, "{}: {sum:?}", rendition.name);
    }
}

/// The source's own bits come out: each packet, in order, as it went in.
#[rstest]
#[tokio::test]
async fn a_copied_rung_is_the_sources_own_pictures(#[values(Format::Ts, Format::Cmaf)] format: Format) {
    let plan = planned_copy(30.0, format, true);
    let camera = camera_with_keys("30", "0,1,2,3,4", 0);
    let (renditions, exit) = transcode(&plan, camera.clone()).await;
    assert!(exit.clean, "{exit:?}");
    let directory = tempfile::tempdir().unwrap();
    let pictures = |name: &str, bytes: &[u8]| {
        let file = directory.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-nostdin", "-i"]).arg(file).args(["-map", "0:v", "-f", "framehash", "-"]);
        let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let hashes = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit(',').next());
        hashes.map(str::to_owned).collect::<Vec<_>>()
    };
    let (source, copied) = (pictures("source.flv", &camera), pictures("copied", &renditions["180p"]));
    assert_eq!(source.len(), 132);
    assert_eq!(source, copied);
}

/// A session that goes on where another one stopped puts out nothing twice: pictures and sound begin at its zero.
#[rstest]
#[tokio::test]
async fn what_an_earlier_session_put_out_is_not_put_out_again(#[values(Format::Ts, Format::Cmaf)] format: Format) {
    let plan = Plan { skip: Duration::from_millis(1467), ..planned(&source(320, 180, 30.0), &config(format, true)) };
    let (renditions, exit) = transcode(&plan, camera_with_keys("30", "0,1,2,3,4", 0)).await;
    assert!(exit.clean, "{exit:?}");
    let directory = tempfile::tempdir().unwrap();
    let audio_of = if format == Format::Ts { "90p" } else { "audio" };
    let video = packets(directory.path(), "90p", &renditions["90p"], "v");
    let audio = packets(directory.path(), "audio", &renditions[audio_of], "a");
    assert_eq!((video[0].0, video.len()), (10.0, 132 - 44));
    let priming = 1024.0 / 48_000.0;
    assert!((audio[0].0 - (10.0 - priming)).abs() < 0.001, "{}", audio[0].0);
    let end = |packets: &[(f64, f64, bool)]| packets.last().unwrap().0;
    assert!((end(&video) - end(&audio)).abs() < 0.06, "{} {}", end(&video), end(&audio));
}

/// The state letter of a process, or `None` when it is gone; a zombie is `Z`.
fn process_state(id: i32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().next().map(str::to_owned)
}

async fn gone(id: i32) {
    let wait = async {
        while process_state(id).is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), wait).await.unwrap_or_else(|_| panic!("{:?}", process_state(id)));
}

#[tokio::test]
async fn a_dropped_handle_leaves_no_process_and_no_zombie() {
    let plan = planned(&source(320, 180, 30.0), &config(Format::Ts, true));
    let running = Transcoder::spawn(Path::new("ffmpeg"), &plan).unwrap();
    let id = running.handle.id();
    assert!(process_state(id).is_some());
    drop(running);
    gone(id).await;
}

#[tokio::test]
async fn a_killed_ffmpeg_is_reported_with_its_signal_and_is_gone() {
    let plan = planned(&source(320, 180, 30.0), &config(Format::Cmaf, true));
    let running = Transcoder::spawn(Path::new("ffmpeg"), &plan).unwrap();
    let id = running.handle.id();
    running.handle.kill();
    let exit = running.handle.wait().await;
    assert_eq!((exit.signal, exit.clean), (Some(9), false));
    gone(id).await;
    assert_eq!(running.handle.wait().await, exit, "may be asked again");
}

/// What a server killed with SIGKILL leaves behind: the input ends, the readers are gone, nobody signals.
#[tokio::test]
async fn without_its_server_ffmpeg_ends_by_itself() {
    let plan = planned(&source(320, 180, 30.0), &config(Format::Ts, true));
    let Running { mut stdin, outputs, progress, handle } = Transcoder::spawn(Path::new("ffmpeg"), &plan).unwrap();
    stdin.write_all(&camera("320x180", "30", 1.0, &["video", "audio"])).await.unwrap();
    drop((stdin, outputs, progress));
    let exit = tokio::time::timeout(Duration::from_secs(5), handle.wait()).await.expect("FFmpeg lives on");
    assert_eq!(exit.signal, None, "{exit:?}");
}

#[tokio::test]
async fn ffmpegs_last_words_are_kept_and_bounded() {
    let plan = planned(&source(320, 180, 30.0), &config(Format::Ts, true));
    let (_, exit) = transcode(&plan, vec![b'x'; 100_000]).await;
    assert!(!exit.clean);
    assert!(!exit.last_lines.is_empty() && exit.last_lines.len() <= 20, "{exit:?}");
    assert!(exit.last_lines.iter().all(|line| line.len() <= 500));
}

#[tokio::test]
async fn an_ffmpeg_that_is_not_there_is_a_sentence() {
    let plan = planned(&source(320, 180, 30.0), &config(Format::Ts, true));
    let error = Transcoder::spawn(Path::new("/nowhere/ffmpeg"), &plan).unwrap_err();
    assert!(error.to_string().starts_with("FFmpeg was not found (/nowhere/ffmpeg)"), "{error}");
    let error = tailwater::transcode::capabilities::probe(Path::new("/nowhere/ffmpeg")).await.unwrap_err();
    assert!(error.to_string().contains("FFMPEG_PATH"), "{error}");
}

#[tokio::test]
async fn the_ffmpeg_at_hand_is_probed_and_reported() {
    let probed = tailwater::transcode::capabilities::probe(Path::new("ffmpeg")).await;
    let checks = tailwater::transcode::capabilities::report(&probed);
    let caps = probed.unwrap();
    assert!(caps.has_encoder("libx264") && caps.has_encoder("aac") && !caps.has_encoder("="));
    assert!(caps.filters.contains("scale"));
    assert!(checks.len() >= 5, "{checks:?}");
    assert_eq!(caps.flv_fourcc, caps.version.at_least(6, 1));
}

#[tokio::test]
async fn what_is_not_ffmpeg_is_told_apart() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let script = |name: &str, text: &str, mode: u32| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let cases = [
        (script("plain", "#!/bin/sh\n", 0o644), "cannot be run"),
        (script("other", "#!/bin/sh\necho hello\n", 0o755), "does not answer like FFmpeg (hello)"),
        (script("old", "#!/bin/sh\necho ffmpeg version 4.4.2 Copyright\n", 0o755), "5.1 or newer is needed"),
        (script("bare", "#!/bin/sh\necho ffmpeg version 7.1 Copyright\n", 0o755), "was built without libx264"),
    ];
    for (path, words) in cases {
        let error = tailwater::transcode::capabilities::probe(&path).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}
