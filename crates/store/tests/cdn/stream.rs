//! A small stream as tailwater names it, and other people's players to judge it.

use std::process::Stdio;

use tokio::process::Command;

/// Four seconds at 25 frames a second.
pub(crate) const FRAMES: u64 = 100;

/// File names (which are keys) and their bytes: segments, a media playlist, the master. All URIs are relative.
pub(crate) async fn make() -> Vec<(String, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new("ffmpeg")
        .current_dir(folder.path())
        .args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=4"])
        .args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=4"])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "25", "-sc_threshold", "0"])
        .args(["-c:a", "aac", "-f", "hls", "-hls_time", "1", "-hls_list_size", "0"])
        .args(["-hls_segment_filename", "show_180p_segment%03d.ts"])
        .args(["-master_pl_name", "show_playlist.m3u8", "show_180p_playlist.m3u8"])
        .stdin(Stdio::null())
        .status()
        .await
        .expect("ffmpeg is installed");
    assert!(made.success());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        files.push((entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()));
    }
    assert!(files.len() >= 6, "{:?}", files.iter().map(|(name, _)| name).collect::<Vec<_>>());
    files
}

/// How many video frames FFmpeg decodes from `url`; any error is fatal.
pub(crate) async fn decoded_frames(url: &str) -> u64 {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-select_streams", "v", "-show_entries", "stream=nb_read_frames"])
        .args(["-of", "csv=p=0", url])
        .output()
        .await
        .expect("ffprobe is installed");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{complaints}");
    let counted = String::from_utf8_lossy(&output.stdout);
    counted.lines().next().unwrap().trim_end_matches(',').parse().unwrap()
}

/// What ffprobe finds in it.
pub(crate) async fn probe(url: &str) -> String {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "stream=codec_name,width,height", "-of", "csv=p=0", url])
        .output()
        .await
        .expect("ffprobe is installed");
    String::from_utf8(output.stdout).unwrap()
}
