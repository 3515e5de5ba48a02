//! A picture or a colour, and silence, as FFmpeg's own input: what viewers get while the source is lost.
//!
//! Everything behind the input is as for a source, so that renditions, sizes and tracks stay what they were. FFmpeg paces
//! itself and ends, everything flushed, when it reads [`QUIT`] on its standard input.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::config::Colour;
use crate::ladder::Plan;

/// The key that ends FFmpeg in order.
pub const QUIT: &[u8] = b"q";
/// A picture that takes longer to decode is none.
const DECODE: Duration = Duration::from_secs(20);

/// What is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slate {
    /// Shown whole, in the middle.
    pub picture: Option<PathBuf>,
    /// What the picture leaves free, or all of it.
    pub colour: Colour,
}

/// Why a picture cannot be shown.
#[derive(Debug, thiserror::Error)]
#[error("`slate` names {path}, which FFmpeg cannot decode ({why}): give it a picture, for example a PNG or a JPEG", path = path.display())]
pub struct SlateError {
    path: PathBuf,
    why: String,
}

impl Slate {
    /// Has FFmpeg decode the picture. Without FFmpeg there is no answer, and none is needed before there is one.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn check(&self, ffmpeg: &Path) -> Result<(), SlateError> {
        let Some(picture) = &self.picture else { return Ok(()) };
        let mut command = Command::new(ffmpeg);
        command.args(["-hide_banner", "-nostdin", "-loglevel", "error", "-f", "lavfi", "-i"]);
        command.arg(format!("movie=filename={}", escaped(picture)));
        command.args(["-frames:v", "1", "-f", "null", "-"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        let error = |why: String| SlateError { path: picture.clone(), why };
        match tokio::time::timeout(DECODE, command.output()).await {
            Ok(Ok(output)) if output.status.success() => Ok(()),
            Ok(Ok(output)) => {
                let said = String::from_utf8_lossy(&output.stderr);
                Err(error(said.lines().next().unwrap_or("it does not say why").trim().to_owned()))
            }
            Ok(Err(_)) => Ok(()),
            Err(_) => Err(error(format!("it took longer than {} s", DECODE.as_secs()))),
        }
    }

    /// The filter graph that makes the input of a plan, with the tracks a source for that plan has.
    pub(super) fn graph(&self, plan: &Plan) -> String {
        let largest = plan.renditions.iter().filter_map(|rendition| rendition.video.as_ref()).next();
        let video = largest.zip(plan.frame_rate).map(|(video, rate)| {
            let (width, height, colour) = (video.width, video.height, self.colour);
            match &self.picture {
                None => format!("color=c={colour}:s={width}x{height}:r={rate}"),
                // Scaled once and repeated; a still picture has no rate of its own.
                Some(picture) => format!(
                    "movie=filename={},scale={width}:{height}:force_original_aspect_ratio=decrease,\
                     pad={width}:{height}:-1:-1:color={colour},setsar=1,format=yuv420p,\
                     loop=loop=-1:size=1:start=0,settb={}/{},setpts=N",
                    escaped(picture),
                    rate.den,
                    rate.num
                ),
            }
        });
        let audio = plan.audio.map(|audio| {
            let layout = if audio.channels == 1 { "mono" } else { "stereo" };
            format!("anullsrc=r={}:cl={layout}", audio.sample_rate)
        });
        let tracks = [video, audio].into_iter().flatten().enumerate();
        tracks.map(|(index, track)| format!("{track}[out{index}]")).collect::<Vec<_>>().join(";")
    }
}

/// A path as an option's value in a filter graph: escaped for the option, then for the graph.
fn escaped(path: &Path) -> String {
    let escape = |text: &str, special: &str| {
        text.chars().flat_map(|c| special.contains(c).then_some('\\').into_iter().chain([c])).collect::<String>()
    };
    escape(&escape(&path.to_string_lossy(), "\\':"), "\\'[],;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::{AudioSource, LadderConfig, SourceInfo, VideoSource, plan};
    use crate::transcode::Capabilities;

    fn graph(picture: Option<&str>, source: &SourceInfo) -> String {
        let plan = plan(source, &LadderConfig::default(), &Capabilities::typical(2)).unwrap();
        Slate { picture: picture.map(PathBuf::from), colour: Colour::default() }.graph(&plan)
    }

    fn source(rate: f64) -> SourceInfo {
        SourceInfo { video: Some(VideoSource::h264(1280, 720, rate)), audio: Some(AudioSource::aac()) }
    }

    #[test]
    fn the_input_has_the_tracks_size_and_rate_of_the_plan() {
        let colour = "color=c=0x101418:s=1280x720:r=30[out0];anullsrc=r=48000:cl=stereo[out1]";
        assert_eq!(graph(None, &source(30.0)), colour);
        let silent = SourceInfo { audio: None, ..source(25.0) };
        assert_eq!(graph(None, &silent), "color=c=0x101418:s=1280x720:r=25[out0]");
        let mono = AudioSource { channels: 1, sample_rate: 44_100, ..AudioSource::aac() };
        let sound = SourceInfo { video: None, audio: Some(mono) };
        assert_eq!(graph(Some("a.png"), &sound), "anullsrc=r=44100:cl=mono[out0]");
    }

    #[tokio::test]
    async fn any_name_of_a_picture_will_do_and_what_is_no_picture_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it's a, \\pic:[1];.png");
        let made = std::process::Command::new("ffmpeg")
            .args([
                "-loglevel",
                "error",
                "-f",
                "lavfi",
                "-i",
                "color=s=64x64",
                "-frames:v",
                "1",
                "-update",
                "1",
                "-f",
                "image2",
            ])
            .arg(folder.path().join("made.png"))
            .status();
        assert!(made.unwrap().success());
        std::fs::rename(folder.path().join("made.png"), &path).unwrap();
        let slate = |path: &Path| Slate { picture: Some(path.to_owned()), colour: Colour::default() };
        slate(&path).check(Path::new("ffmpeg")).await.unwrap();
        let text = folder.path().join("text.png");
        std::fs::write(&text, "no picture").unwrap();
        let error = slate(&text).check(Path::new("ffmpeg")).await.unwrap_err().to_string();
        assert!(error.contains("text.png") && error.contains("cannot decode"), "{error}");
    }
}
