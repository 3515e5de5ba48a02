//! How fast this machine is: a short real encode against what the figures of [`cost`] predict for it.
//!
//! CPU time is measured, not time on the clock: what else the machine does at the moment hardly matters.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, setpriority_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::cost;
use crate::ladder::{AudioSource, EncoderChoice, LadderConfig, Plan, Rung, SourceInfo, VideoAction, VideoSource, plan};
use crate::transcode::{Capabilities, Descriptors, Transcoder, command};

/// The picture that is encoded: two sizes, because the settings differ by size. With its making about two seconds of
/// one core on the machine of the figures.
const WIDTH: u32 = 1280;
const HEIGHT: u32 = 720;
const RATE: f64 = 30.0;
/// Media encoded: enough for FFmpeg's start to matter little.
const MEDIA_SECONDS: u32 = 2;
/// CPU seconds FFmpeg takes to start, on the machine of the figures.
const START: f64 = 0.08;
/// A machine that takes longer is told that it is too slow.
const PATIENCE: Duration = Duration::from_secs(60);
/// Behind everything else that wants the processor.
const LAST: i32 = 19;

/// How many times slower this machine is than the one the costs were measured on. `politely`: after everything else.
///
/// # Errors
/// A sentence why it could not be measured.
pub async fn slowness(ffmpeg: &Path, politely: bool) -> Result<f64, String> {
    let (plan, source) = sample()?;
    let camera = timed(camera(ffmpeg, politely)).await?;
    let seconds = timed(transcode(ffmpeg, &plan, camera, politely)).await?;
    Ok(seconds / (START + cost::cores(&plan, &source) * f64::from(MEDIA_SECONDS)))
}

async fn timed<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let slow = || Err("two seconds of 720p took more than a minute: this machine is too slow".to_owned());
    timeout(PATIENCE, work).await.unwrap_or_else(|_| slow())
}

/// What is encoded: tuned settings, one large picture and one small.
fn sample() -> Result<(Plan, SourceInfo), String> {
    let source = SourceInfo { video: Some(VideoSource::h264(WIDTH, HEIGHT, RATE)), audio: Some(AudioSource::aac()) };
    let rungs = vec![Rung::new("large", HEIGHT, 3_000_000), Rung::new("small", HEIGHT / 2, 800_000)];
    let config = LadderConfig { rungs, encoder: EncoderChoice::X264, ..LadderConfig::default() };
    let mut plan = plan(&source, &config, &Capabilities::typical(1)).map_err(|error| error.to_string())?;
    for video in plan.renditions.iter_mut().filter_map(|rendition| rendition.video.as_mut()) {
        if let VideoAction::Encode(settings) = &mut video.action {
            // x264 prints statistics at its end, after FFmpeg's own, of which only the last lines are kept.
            settings.tuning.push(("log", "1".to_owned()));
        }
    }
    Ok((plan, source))
}

/// A moving picture with noise, and a tone, as an encoder would send them: FLV.
async fn camera(ffmpeg: &Path, politely: bool) -> Result<Vec<u8>, String> {
    let picture = format!("testsrc2=size={WIDTH}x{HEIGHT}:rate={RATE},noise=alls=8:allf=t");
    let mut command = Command::new(ffmpeg);
    command.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-f", "lavfi", "-i", &picture]);
    command.args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", &MEDIA_SECONDS.to_string()]);
    command.args(["-c:v", "libx264", "-preset", "ultrafast", "-g", "30", "-b:v", "8M", "-pix_fmt", "yuv420p"]);
    command.args(["-c:a", "aac", "-f", "flv", "pipe:1"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().map_err(|error| format!("FFmpeg cannot be run: {error}"))?;
    if let Some(id) = child.id().filter(|_| politely) {
        give_way(i32::try_from(id).unwrap_or(0));
    }
    let output = child.wait_with_output().await.map_err(|error| format!("FFmpeg cannot be run: {error}"))?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(format!("FFmpeg made no test picture: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// CPU seconds that FFmpeg takes for that plan.
async fn transcode(ffmpeg: &Path, plan: &Plan, camera: Vec<u8>, politely: bool) -> Result<f64, String> {
    let descriptors = Descriptors::of(plan);
    let mut arguments = command(plan, descriptors);
    arguments.splice(0..0, ["-benchmark".into()]);
    for argument in &mut arguments {
        if argument == "level+warning" {
            *argument = "level+info".into();
        }
    }
    let names = plan.renditions.iter().map(|rendition| rendition.name.clone()).collect();
    let mut running =
        Transcoder::spawn_arguments(ffmpeg, arguments, descriptors, names).map_err(|error| error.to_string())?;
    if politely {
        give_way(running.handle.id());
    }
    let mut tasks = JoinSet::new();
    let mut stdin = running.stdin;
    tasks.spawn(async move {
        // FFmpeg that gives up says why when it exits.
        let _ = stdin.write_all(&camera).await;
    });
    for (_, mut output) in running.outputs {
        tasks.spawn(async move {
            let mut buffer = vec![0; 64 << 10];
            while output.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
        });
    }
    tasks.spawn(async move { while running.progress.recv().await.is_some() {} });
    let exit = running.handle.wait().await;
    tasks.shutdown().await;
    let seconds = exit.last_lines.iter().rev().find_map(|line| cpu_seconds(line));
    match seconds.filter(|_| exit.clean) {
        Some(seconds) => Ok(seconds),
        None => Err(format!("FFmpeg did not say what it took: {}", exit.last_lines.join("; "))),
    }
}

/// `[info] bench: utime=1.206s stime=0.036s rtime=0.714s`.
fn cpu_seconds(line: &str) -> Option<f64> {
    let (_, fields) = line.split_once("bench: ")?;
    let field = |name: &str| {
        let value = fields.split_whitespace().find_map(|field| field.strip_prefix(name))?;
        value.strip_prefix('=')?.trim_end_matches('s').parse::<f64>().ok()
    };
    Some(field("utime")? + field("stime")?)
}

/// Not allowed or gone already, it is as important as others for a moment.
fn give_way(process: i32) {
    if let Some(process) = Pid::from_raw(process) {
        let _ = setpriority_process(Some(process), LAST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_machine_is_measured_by_a_real_encode() {
        let slowness = slowness(Path::new("ffmpeg"), false).await.unwrap();
        assert!((0.02..50.0).contains(&slowness), "{slowness}");
    }

    #[tokio::test]
    async fn what_is_not_ffmpeg_is_told() {
        let error = slowness(Path::new("true"), true).await.unwrap_err();
        assert!(error.contains("FFmpeg"), "{error}");
        assert!(slowness(Path::new("/nonexistent/ffmpeg"), true).await.unwrap_err().contains("cannot be run"));
    }

    #[test]
    fn ffmpegs_own_account_is_read() {
        let seconds = cpu_seconds("[info] bench: utime=1.206s stime=0.036s rtime=0.714s").unwrap();
        assert!((seconds - 1.242).abs() < 1e-9);
        assert_eq!(cpu_seconds("[info] bench: maxrss=81772kB"), None);
    }
}
