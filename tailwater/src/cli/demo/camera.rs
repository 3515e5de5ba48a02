//! A synthetic camera: a moving picture with a running clock, and a tone, published by RTMP in real time.

use std::path::Path;
use std::str::FromStr;

use crate::transcode::{Descriptors, Running, SpawnError, Transcoder};

/// A picture's size in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    width: u32,
    height: u32,
}

impl Default for Size {
    /// 1080p where the whole ladder fits beside the camera itself.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        if cores >= 6 { Self { width: 1920, height: 1080 } } else { Self { width: 1280, height: 720 } }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text
            .split_once('x')
            .and_then(|(width, height)| Some(Self { width: width.parse().ok()?, height: height.parse().ok()? }));
        let fits = |size: &Self| (64..=7680).contains(&size.width) && (64..=4320).contains(&size.height);
        parsed.filter(fits).ok_or_else(|| format!("{text} is no picture size: write it like 1280x720"))
    }
}

/// Publishes to `url` until what it returns is dropped.
pub(super) fn start(ffmpeg: &Path, size: Size, url: &str) -> Result<Running, SpawnError> {
    let picture = format!("testsrc2=size={}x{}:rate=30", size.width, size.height);
    let arguments = [
        "-hide_banner",
        "-nostdin",
        "-nostats",
        "-loglevel",
        "level+error",
        "-progress",
        "pipe:3",
        "-re",
        "-f",
        "lavfi",
        "-i",
        &picture,
        "-re",
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=440:sample_rate=48000",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-tune",
        "zerolatency",
        "-pix_fmt",
        "yuv420p",
        "-b:v",
        "6M",
        "-maxrate",
        "6M",
        "-bufsize",
        "6M",
        "-g",
        "60",
        "-c:a",
        "aac",
        "-b:a",
        "128k",
        "-f",
        "flv",
        url,
    ];
    let descriptors = Descriptors { first_output: 3, progress: 3 };
    Transcoder::spawn_arguments(ffmpeg, arguments.map(Into::into).to_vec(), descriptors, Vec::new())
}
