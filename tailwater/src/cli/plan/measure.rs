//! Cores by a short encode: the plan's own FFmpeg command over a synthetic camera, as fast as it goes.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
    task::JoinSet,
    time::timeout,
};

use crate::{
    ladder::plan::{Plan, PlannedVideo},
    transcode::{Transcoder, capabilities::Capabilities},
};

/// Media encoded: long enough for rate control to settle, short enough to wait for.
const MEDIA_SECONDS: u32 = 6;
/// A machine that takes longer is told that it is too slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// Cores that a livestream of this plan takes, as an upper bound: the machine is taken to be busy all the while.
///
/// # Errors
/// A sentence why it could not be measured.
pub async fn cores(machine: &Capabilities, plan: &Plan, frame_rate: f64) -> Result<f64, String> {
    let size = plan.renditions.iter().filter_map(|rendition| rendition.video.as_ref()).map(size).max();
    let (width, height) = size.unwrap_or((640, 360));
    let camera = camera(&machine.path, width, height, frame_rate).await?;
    let took = timeout(PATIENCE, transcode(&machine.path, plan, camera))
        .await
        .map_err(|_| format!("{MEDIA_SECONDS} seconds of media took more than a minute: this machine is too slow"))??;
    Ok(took.as_secs_f64() / f64::from(MEDIA_SECONDS) * machine.cores as f64)
}

fn size(video: &PlannedVideo) -> (u32, u32) {
    (video.width, video.height)
}

/// A moving picture with noise, and a tone, as an encoder would send them: FLV.
async fn camera(ffmpeg: &Path, width: u32, height: u32, frame_rate: f64) -> Result<Vec<u8>, String> {
    let picture = format!("testsrc2=size={width}x{height}:rate={frame_rate},noise=alls=8:allf=t");
    let mut command = Command::new(ffmpeg);
    command.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-f", "lavfi", "-i", &picture]);
    command.args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", &MEDIA_SECONDS.to_string()]);
    command.args(["-c:v", "libx264", "-preset", "ultrafast", "-g", "30", "-b:v", "8M", "-pix_fmt", "yuv420p"]);
    command.args(["-c:a", "aac", "-f", "flv", "pipe:1"]);
    command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output())
        .await
        .map_err(|_| "the test picture took more than a minute: this machine is too slow".to_owned())?
        .map_err(|error| format!("FFmpeg cannot be run: {error}"))?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(format!("FFmpeg made no test picture: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

async fn transcode(ffmpeg: &Path, plan: &Plan, camera: Vec<u8>) -> Result<Duration, String> {
    let began = Instant::now();
    let mut running = Transcoder::spawn(ffmpeg, plan).map_err(|error| error.to_string())?;
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
    match exit.clean {
        true => Ok(began.elapsed()),
        false => Err(format!("FFmpeg failed: {}", exit.last_lines.join("; "))),
    }
}
