//! What FFmpeg makes of a run of segments: when each picture is shown and how bright it is, and when it sounds.

use std::path::Path;
use std::process::{Command, Stdio};

use super::ffprobe;

/// Brighter is a flash (mean luma, of 16 to 235), louder is a tone (peak, dB).
const BRIGHT: f64 = 180.0;
const LOUD: f64 = -15.0;

/// The decoded segments between two discontinuities.
#[derive(Default)]
pub struct Decoded {
    /// Presentation time and brightness of each picture, in order.
    pictures: Vec<(f64, f64)>,
    /// Time and level of the sound, every 5 ms.
    sound: Vec<(f64, f64)>,
    /// Of the track that segments are cut by: the segment, presentation time and duration of each packet.
    packets: Vec<(usize, f64, f64)>,
    /// What FFmpeg did not like.
    pub complaints: Vec<String>,
}

impl Decoded {
    /// Decodes segments that follow each other without a discontinuity.
    pub fn from(segments: &[&[u8]]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("run");
        std::fs::write(&file, segments.concat()).expect("a file");
        let mut decoded = Self::default();
        let packets = ffprobe(&file.display().to_string(), "packet=codec_type,pts_time,duration_time,pos");
        let of = |kind: &str| -> Vec<(f64, f64, u64)> {
            let fields = packets.iter().map(|line| line.split(',').collect::<Vec<_>>());
            let wanted = fields.filter(|fields| fields.first() == Some(&kind) && fields.len() >= 4);
            wanted.filter_map(|f| Some((f[1].parse().ok()?, f[2].parse().ok()?, f[3].parse().ok()?))).collect()
        };
        let (video, audio) = (of("video"), of("audio"));
        let ends: Vec<u64> = segments
            .iter()
            .scan(0, |end, segment| {
                *end += segment.len() as u64;
                Some(*end)
            })
            .collect();
        let cutting = if video.is_empty() { &audio } else { &video };
        let segment_of = |place: u64| ends.iter().filter(|end| **end <= place).count();
        decoded.packets =
            cutting.iter().map(|(time, duration, place)| (segment_of(*place), *time, *duration)).collect();
        decoded.decode(&file, folder.path(), !video.is_empty(), !audio.is_empty());
        decoded
    }

    fn decode(&mut self, file: &Path, folder: &Path, video: bool, audio: bool) {
        let (pictures, sound) = (folder.join("pictures"), folder.join("sound"));
        let mut command = Command::new("ffmpeg");
        command.args(["-hide_banner", "-v", "error", "-nostdin", "-copyts", "-i"]).arg(file).stdin(Stdio::null());
        if video {
            let print = format!("signalstats,metadata=print:key=lavfi.signalstats.YAVG:file={}", pictures.display());
            command.args(["-map", "0:v", "-fps_mode", "passthrough", "-vf", &print, "-f", "null", "-"]);
        }
        if audio {
            let print = format!(
                "aformat=channel_layouts=mono,asetnsamples=n=240,astats=metadata=1:reset=1,\
                 ametadata=print:key=lavfi.astats.Overall.Peak_level:file={}",
                sound.display()
            );
            command.args(["-map", "0:a", "-af", &print, "-f", "null", "-"]);
        }
        let output = command.output().expect("ffmpeg is installed");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() || !said.is_empty() {
            self.complaints.push(format!("FFmpeg: {}", said.lines().take(5).collect::<Vec<_>>().join(" / ")));
        }
        self.pictures = read(&pictures);
        self.sound = read(&sound);
    }

    pub fn has_pictures(&self) -> bool {
        !self.pictures.is_empty()
    }

    pub fn has_sound(&self) -> bool {
        !self.sound.is_empty()
    }

    /// When the picture turns white.
    pub fn flashes(&self) -> Vec<f64> {
        onsets(&self.pictures, BRIGHT)
    }

    /// When the tone begins.
    pub fn tones(&self) -> Vec<f64> {
        onsets(&self.sound, LOUD)
    }

    /// EXTINF against what was decoded: how long the segment's frames are shown, and how many there are.
    pub fn compare(&self, durations: &[f64]) -> Vec<String> {
        let mut complaints = Vec::new();
        let frame = self.frame();
        for (index, duration) in durations.iter().enumerate() {
            let times: Vec<f64> =
                self.packets.iter().filter(|packet| packet.0 == index).map(|packet| packet.1).collect();
            let shown: Vec<f64> = match self.has_pictures() {
                true => times.into_iter().filter(|time| self.is_decoded(*time)).collect(),
                false => times,
            };
            let (first, last) = shown.iter().fold((f64::MAX, f64::MIN), |(a, b), time| (a.min(*time), b.max(*time)));
            let spans = last - first + frame;
            let counted = shown.len() as f64 * frame;
            // Milliseconds of rounding beside the frame.
            if (spans - duration).abs() > frame + 0.002 || (counted - duration).abs() > frame + 0.002 {
                let count = shown.len();
                complaints
                    .push(format!("its segment {index} has EXTINF {duration:.3}, {count} frames over {spans:.3} s"));
            }
        }
        complaints
    }

    fn is_decoded(&self, time: f64) -> bool {
        let at = self.pictures.partition_point(|picture| picture.0 < time - 0.001);
        self.pictures.get(at).is_some_and(|picture| picture.0 < time + 0.001)
    }

    /// How long one frame lasts: the middle one of all distances.
    fn frame(&self) -> f64 {
        let mut times: Vec<f64> = self.packets.iter().map(|packet| packet.1).collect();
        times.sort_by(f64::total_cmp);
        let mut steps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        steps.sort_by(f64::total_cmp);
        steps.get(steps.len() / 2).copied().unwrap_or_default()
    }
}

/// `frame:0 pts:0 pts_time:10.02`, and on the next line `key=value`.
fn read(file: &Path) -> Vec<(f64, f64)> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let pairs = lines.chunks_exact(2).filter_map(|pair| {
        let time = pair[0].rsplit_once("pts_time:")?.1.parse().ok()?;
        let value = pair[1].rsplit_once('=')?.1;
        // Silence is "-inf", which is a number too.
        Some((time, value.parse().ok()?))
    });
    pairs.collect()
}

/// The times at which a value begins to exceed a bound; not the first, which may have begun before.
fn onsets(values: &[(f64, f64)], bound: f64) -> Vec<f64> {
    values.windows(2).filter(|pair| pair[0].1 <= bound && pair[1].1 > bound).map(|pair| pair[1].0).collect()
}
