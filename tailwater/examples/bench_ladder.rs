//! CPU and SSIM of tailwater's ladder beside the tutorial's, on the same clip, in one run. `bench/ladder` runs it; with
//! `--sizing` it measures how many streams a core does, by ladder and preset.
//!
//! The peer is the tutorial's ladder as intended: three rungs, x264's preset medium, `-g 48`, three separate encodes,
//! three AAC encodes, one FFmpeg. Ours is what `tailwater serve` runs, through the same code. CPU is user and system
//! time of FFmpeg; SSIM is of every decoded rung against the clip scaled to its size (bicubic), luma and chroma. Where the
//! clip is copied as the top rung (`passthrough`), that rung is the clip itself.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tailwater::ladder::{AudioSource, LadderConfig, Passthrough, SourceInfo, VideoSource, plan};
use tailwater::transcode::{Running, Transcoder, capabilities};
use tokio::io::AsyncWriteExt;

const RUNGS: [(&str, u32, u32, u32); 3] =
    [("1080p", 1920, 1080, 5000), ("720p", 1280, 720, 3000), ("480p", 854, 480, 1500)];
/// What is measured beside the tutorial's.
const OURS: [(&str, bool, Passthrough); 4] = [
    ("standard latency", false, Passthrough::Never),
    ("low latency", true, Passthrough::Never),
    ("standard, source copied", false, Passthrough::Always),
    ("low latency, copied", true, Passthrough::Always),
];
const TUTORIAL: &str = "tutorial as intended";

struct Result {
    label: &'static str,
    cpu: f64,
    ssim: Vec<f64>,
    kbits: Vec<f64>,
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let (mut seconds, mut repeat, mut clip, mut preset, mut sizing) = (10u32, 1u32, None, None, false);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| panic!("{argument} needs a value"));
        match argument.as_str() {
            "--seconds" => seconds = value().parse().unwrap(),
            "--repeat" => repeat = value().parse().unwrap(),
            "--clip" => clip = Some(PathBuf::from(value())),
            "--preset" => preset = Some(value()),
            "--sizing" => sizing = true,
            _ => {
                println!("bench/ladder [--seconds N] [--repeat N] [--clip FILE.flv] [--preset X264PRESET] [--sizing]");
                println!("  FILE.flv: 1080p30, a key frame each second; --sizing: streams a core instead");
                return;
            }
        }
    }
    let ffmpeg = PathBuf::from(std::env::var_os("FFMPEG_PATH").unwrap_or_else(|| "ffmpeg".into()));
    let caps = capabilities::probe(&ffmpeg).await.unwrap();
    println!("FFmpeg {}, {} cores", caps.version, caps.cores);
    let directory = tempfile::tempdir().unwrap();
    let clip = match clip {
        Some(clip) => {
            println!("clip: {}", clip.display());
            clip
        }
        None => make_clip(&ffmpeg, directory.path(), seconds),
    };
    if sizing {
        return print_sizing(&ffmpeg, &clip, directory.path(), seconds, &caps).await;
    }
    let mut results = Vec::new();
    for round in 1..=repeat {
        println!("round {round} of {repeat} ...");
        results.push(tutorial(&ffmpeg, &clip, directory.path()));
        for (label, low_latency, passthrough) in OURS {
            let config = LadderConfig { low_latency, passthrough, preset: preset.clone(), ..LadderConfig::default() };
            let cpu = tailwater(&ffmpeg, &clip, directory.path(), (1920, 1080), &config, &caps).await;
            results.push(judge(label, cpu, &ffmpeg, &clip, directory.path()));
        }
    }
    print_table(&results);
}

/// A zoom into the Mandelbrot set with film grain, and a moving test card over it: detail, noise, flat areas, edges.
fn make_clip(ffmpeg: &Path, directory: &Path, seconds: u32) -> PathBuf {
    println!(
        "clip: {seconds} s of 1080p30, mandelbrot with temporal noise, testsrc2 moving over it; H.264 12 Mbit/s, AAC"
    );
    let clip = directory.join("clip.flv");
    let graph = "[0]format=yuv420p,noise=alls=6:allf=t:all_seed=1[m];[1]format=yuv420p,scale=960:540[t];\
                 [m][t]overlay=x='480+400*sin(t)':y='270+200*cos(t*1.3)'[v]";
    let mut command = quiet(ffmpeg);
    command.args(["-f", "lavfi", "-i", "mandelbrot=s=1920x1080:r=30:end_pts=1200:maxiter=400:end_scale=0.003"]);
    command.args(["-f", "lavfi", "-i", "testsrc2=s=1920x1080:r=30"]);
    // The encoder's priming would shift the picture away from zero.
    command.args(["-itsoffset", "0.0213334", "-f", "lavfi", "-i", "sine=f=440:r=48000"]);
    command.args(["-filter_complex", graph, "-map", "[v]", "-map", "2:a", "-t", &seconds.to_string()]);
    command.args(["-c:v", "libx264", "-preset", "veryfast", "-b:v", "12M", "-maxrate", "14M", "-bufsize", "14M"]);
    command.args(["-g", "30", "-sc_threshold", "0", "-bf", "0", "-c:a", "aac", "-ac", "2", "-b:a", "160k"]).arg(&clip);
    assert!(command.status().unwrap().success(), "the clip could not be made");
    clip
}

fn quiet(ffmpeg: &Path) -> Command {
    let mut command = Command::new(ffmpeg);
    command.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"]).stdin(Stdio::null());
    command
}

fn tutorial(ffmpeg: &Path, clip: &Path, directory: &Path) -> Result {
    let before = children_cpu();
    let mut command = quiet(ffmpeg);
    command.arg("-i").arg(clip);
    for (name, width, height, kbits) in RUNGS {
        command.args(["-map", "0:v", "-map", "0:a", "-s", &format!("{width}x{height}"), "-c:v", "libx264"]);
        command.args(["-preset", "medium", "-g", "48", "-sc_threshold", "0", "-b:v", &format!("{kbits}k")]);
        command.args(["-c:a", "aac", "-b:a", "128k", "-f", "mpegts"]).arg(output(directory, name));
    }
    assert!(command.status().unwrap().success());
    let cpu = children_cpu() - before;
    judge(TUTORIAL, cpu, ffmpeg, clip, directory)
}

async fn tailwater(
    ffmpeg: &Path,
    clip: &Path,
    directory: &Path,
    (width, height): (u32, u32),
    config: &LadderConfig,
    caps: &capabilities::Capabilities,
) -> f64 {
    let mut video = VideoSource::h264(width, height, 30.0);
    (video.keyframe_interval, video.bitrate) = (Some(Duration::from_secs(1)), Some(12_000_000));
    let plan = plan(&SourceInfo { video: Some(video), audio: Some(AudioSource::aac()) }, config, caps).unwrap();
    assert_eq!(plan.copies(), config.passthrough == Passthrough::Always, "{:?}", plan.notes);
    let before = children_cpu();
    let Running { mut stdin, outputs, progress, handle } = Transcoder::spawn(ffmpeg, &plan).unwrap();
    drop(progress);
    let flv = tokio::fs::read(clip).await.unwrap();
    let feeder = tokio::spawn(async move { stdin.write_all(&flv).await });
    let mut writers = tokio::task::JoinSet::new();
    for (name, mut pipe) in outputs {
        let mut file = tokio::fs::File::create(output(directory, &name)).await.unwrap();
        writers.spawn(async move { tokio::io::copy(&mut pipe, &mut file).await.unwrap() });
    }
    writers.join_all().await;
    let _ = feeder.await;
    let exit = handle.wait().await;
    assert!(exit.clean, "{exit:?}");
    children_cpu() - before
}

fn output(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.ts"))
}

fn judge(label: &'static str, cpu: f64, ffmpeg: &Path, clip: &Path, directory: &Path) -> Result {
    let mut result = Result { label, cpu, ssim: Vec::new(), kbits: Vec::new() };
    for (name, width, height, _) in RUNGS {
        let file = output(directory, name);
        result.ssim.push(ssim(ffmpeg, &file, clip, width, height));
        result.kbits.push(kbits(&file));
    }
    result
}

/// Frame by frame in order, whatever their timestamps.
fn ssim(ffmpeg: &Path, file: &Path, clip: &Path, width: u32, height: u32) -> f64 {
    // On one clock: in FLV's milliseconds a third of the frames would be compared with the one before.
    let counted = "settb=1/30,setpts=N";
    let graph = format!("[1:v]{counted},scale={width}:{height}:flags=bicubic[r];[0:v]{counted}[d];[d][r]ssim");
    let mut command = Command::new(ffmpeg);
    command.args(["-hide_banner", "-nostdin", "-i"]).arg(file).arg("-i").arg(clip);
    let printed = command.args(["-lavfi", &graph, "-f", "null", "-"]).output().unwrap().stderr;
    let printed = String::from_utf8_lossy(&printed).into_owned();
    let value = printed.rsplit_once("All:").unwrap().1;
    value.split_whitespace().next().unwrap().parse().unwrap()
}

fn kbits(file: &Path) -> f64 {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-select_streams", "v", "-show_entries", "packet=size", "-of", "csv=p=0"]).arg(file);
    let printed = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let sizes: Vec<f64> = printed.lines().filter_map(|line| line.trim_end_matches(',').parse().ok()).collect();
    sizes.iter().sum::<f64>() * 8.0 / (sizes.len() as f64 / 30.0) / 1000.0
}

/// CPU seconds, user and system, of all children that have ended.
fn children_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // Fields 16 and 17 of proc(5), in ticks of 1/100 s.
    (fields[13].parse::<f64>().unwrap() + fields[14].parse::<f64>().unwrap()) / 100.0
}

fn print_table(results: &[Result]) {
    println!("\n{:24} {:>8} {:>6}  SSIM and kbit/s of each rung, SSIM against the tutorial's", "", "CPU s", "ratio");
    let best = |label: &str| {
        results.iter().filter(|result| result.label == label).min_by(|a, b| a.cpu.total_cmp(&b.cpu)).unwrap()
    };
    let peer = best(TUTORIAL);
    for label in std::iter::once(TUTORIAL).chain(OURS.map(|(label, ..)| label)) {
        let result = best(label);
        print!("{label:24} {:8.2} {:6.2} ", result.cpu, result.cpu / peer.cpu);
        for (index, (name, ..)) in RUNGS.iter().enumerate() {
            let gap = result.ssim[index] - peer.ssim[index];
            print!(" {name} {:.4} {gap:+.4} {:4.0}", result.ssim[index], result.kbits[index]);
        }
        println!();
    }
    println!("(of several rounds the one with the least CPU: what disturbs only adds)");
}

/// How many streams one core does: seconds of media by CPU seconds, of the default ladder's rungs that a source of that
/// size gets.
async fn print_sizing(ffmpeg: &Path, clip: &Path, directory: &Path, seconds: u32, caps: &capabilities::Capabilities) {
    let columns: [(&str, bool, Option<&str>); 5] = [
        ("low latency", true, None),
        ("ultrafast", true, Some("ultrafast")),
        ("veryfast", true, Some("veryfast")),
        ("faster", true, Some("faster")),
        ("standard", false, None),
    ];
    print!("\n{:30}", "streams a core");
    columns.iter().for_each(|(name, ..)| print!(" {name:>12}"));
    println!("   (presets in low latency)");
    for (name, width, height, _) in RUNGS {
        let source = scaled_clip(ffmpeg, clip, directory, width, height);
        for passthrough in [Passthrough::Never, Passthrough::Always] {
            let copied = if passthrough == Passthrough::Always { ", copied" } else { "" };
            print!("{:30}", format!("{name}30 and below{copied}"));
            for (_, low_latency, preset) in columns {
                let preset = preset.map(str::to_owned);
                let config = LadderConfig { low_latency, passthrough, preset, ..LadderConfig::default() };
                let cpu = tailwater(ffmpeg, &source, directory, (width, height), &config, caps).await;
                print!(" {:12.2}", f64::from(seconds) / cpu);
                let _ = std::io::stdout().flush();
            }
            println!();
        }
    }
}

/// The clip in another size, as an encoder would send it.
fn scaled_clip(ffmpeg: &Path, clip: &Path, directory: &Path, width: u32, height: u32) -> PathBuf {
    let scaled = directory.join(format!("{height}.flv"));
    let mut command = quiet(ffmpeg);
    command.arg("-i").arg(clip).args(["-vf", &format!("scale={width}:{height}"), "-c:a", "copy", "-c:v", "libx264"]);
    let bitrate = format!("{}k", 12_000 * height / 1080);
    command.args(["-preset", "veryfast", "-b:v", &bitrate, "-g", "30", "-sc_threshold", "0", "-bf", "0"]).arg(&scaled);
    assert!(command.status().unwrap().success(), "the clip could not be scaled");
    scaled
}
