//! `tailwater plan`: what a ladder costs, before it runs.

pub mod cost;
pub mod limits;

use std::{io::Write, process::ExitCode, str::FromStr};

use clap::Args;
use store::{Capabilities, OpenOptions};

use crate::{
    config::{ByteSize, Flags, HumanDuration, Resolved, StoreSetting, resolved::process_env},
    ladder::{
        AudioSource, LadderConfig, Passthrough, SourceInfo, VideoAction, VideoSource, plan::Plan, plan::plan, shed,
        steps,
    },
    load::{Admission, admission, calibrate, cost as load_cost, presets},
    transcode::capabilities,
};

use cost::Cost;

/// What `tailwater plan` is told.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The source to plan for, as WIDTHxHEIGHT@FRAMERATE
    #[arg(long, value_name = "SOURCE", default_value = "1920x1080@30")]
    pub source: Source,
    /// Livestreams at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub streams: u32,
    /// Leave out the short encode by which cores are predicted
    #[arg(long)]
    pub no_encode: bool,
    /// As for `serve`.
    #[command(flatten)]
    pub flags: Flags,
}

/// A source that a person describes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Source {
    width: u32,
    height: u32,
    frame_rate: f64,
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a source: write it like 1920x1080@30");
        let (size, rate) = text.split_once('@').unwrap_or((text, "30"));
        let (width, height) = size.split_once('x').ok_or_else(wrong)?;
        let side = |text: &str| text.parse().ok().filter(|side| (16..=8192).contains(side)).ok_or_else(wrong);
        let frame_rate = rate.parse().ok().filter(|rate| (1.0..=240.0).contains(rate)).ok_or_else(wrong)?;
        Ok(Self { width: side(width)?, height: side(height)?, frame_rate })
    }
}

impl Source {
    /// With a key frame each second and the bit rate of the rung it reaches, so that it is copied where that is asked for.
    fn info(self, ladder: &LadderConfig) -> SourceInfo {
        let mut video = VideoSource::h264(self.width, self.height, self.frame_rate);
        let reached = ladder.rungs.iter().find(|rung| rung.height <= video.short_side()).or(ladder.rungs.last());
        video.bitrate = reached.map(|rung| rung.video_bitrate);
        video.keyframe_interval = Some(ladder.segment);
        SourceInfo { video: Some(video), audio: Some(AudioSource::aac()) }
    }
}

/// Prints what the configured ladder costs.
///
/// # Errors
/// When the configuration or the ladder cannot be.
pub async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let config = Resolved::load(&options.flags, &process_env)?;
    let probed = capabilities::probe(&config.ffmpeg).await;
    let machine = match &probed {
        Ok(machine) => machine.clone(),
        Err(_) => capabilities::Capabilities::typical(cores()),
    };
    let source = options.source.info(&config.ladder);
    let mut plan = plan(&source, &config.ladder, &machine)?;
    let slowness = match (&probed, options.no_encode) {
        (_, true) => Err(None),
        (Err(error), false) => Err(Some(error.to_string())),
        (Ok(machine), false) => calibrate::slowness(&machine.path, false).await.map_err(Some),
    };
    let room = machine.cores as f64 * config.load.max_load / f64::from(options.streams);
    presets::settle(&mut plan, &source, slowness.as_ref().ok().copied(), room, machine.cores);
    let cost = Cost::of(&plan, &config, options.streams);
    let out = &mut std::io::stdout().lock();
    report(out, &plan, &cost)?;
    let broken = stores(out, &cost, &config).await?;
    match slowness {
        Ok(slowness) => {
            let levels = levels(&plan, &source, slowness);
            cores_lines(out, &levels, options.streams, machine.cores, room, plan.copies())?;
            if let Some(encoded) = encoded_first(&plan, &source, &config.ladder, &machine, slowness, room) {
                encoded_line(out, encoded, room)?;
            }
        }
        Err(Some(error)) => writeln!(out, "\nCores: not known. {error}")?,
        Err(None) => {}
    }
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Which limits of which store one livestream of this configuration would break, from a full HD source. `primary` is
/// what the first store can take; further ones are judged by what is documented.
pub fn foreseen(config: &Resolved, primary: &Capabilities) -> Vec<(String, limits::Broken)> {
    let source = Source { width: 1920, height: 1080, frame_rate: 30.0 };
    let machine = capabilities::Capabilities::typical(cores());
    let Ok(plan) = plan(&source.info(&config.ladder), &config.ladder, &machine) else { return Vec::new() };
    let cost = Cost::of(&plan, config, 1);
    let judge = |(index, store): (usize, &StoreSetting)| {
        let documented = limits::documented(store.url.scheme());
        let cost = cost.at_ttl(store.ttl.unwrap_or(config.ttl));
        let broken = limits::broken(&cost, if index == 0 { primary } else { &documented });
        broken.into_iter().map(|broken| (store.url.to_string(), broken)).collect::<Vec<_>>()
    };
    config.stores.iter().enumerate().flat_map(judge).collect()
}

/// Cores this process may use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What one livestream takes at each level of shedding, in cores of this machine, and what is given up there.
fn levels(plan: &Plan, source: &SourceInfo, slowness: f64) -> Vec<(f64, String)> {
    let steps = steps(plan);
    let level = |level: usize| {
        let given_up: Vec<String> = steps[..level].iter().map(ToString::to_string).collect();
        (load_cost::cores(&shed(plan, &steps[..level]), source) * slowness, given_up.join(", "))
    };
    (0..=steps.len()).map(level).collect()
}

/// What all of it takes encoded, where `auto` copies the source once its key frames are known.
fn encoded_first(
    plan: &Plan,
    source: &SourceInfo,
    ladder: &LadderConfig,
    machine: &capabilities::Capabilities,
    slowness: f64,
    room: f64,
) -> Option<f64> {
    if !plan.copies() || ladder.passthrough != Passthrough::Auto {
        return None;
    }
    let never = LadderConfig { passthrough: Passthrough::Never, ..ladder.clone() };
    let mut encoded = self::plan(source, &never, machine).ok()?;
    presets::settle(&mut encoded, source, Some(slowness), room, machine.cores);
    Some(load_cost::cores(&encoded, source) * slowness)
}

fn encoded_line(out: &mut impl Write, encoded: f64, room: f64) -> std::io::Result<()> {
    if encoded <= room {
        return writeln!(
            out,
            "  All of it is encoded until its key frames have been seen for five seconds: {encoded:.1} cores."
        );
    }
    writeln!(
        out,
        "  All of it encoded would take {encoded:.1} cores: the server looks at its key frames for five seconds before it starts."
    )
}

fn cores_lines(
    out: &mut impl Write,
    levels: &[(f64, String)],
    streams: u32,
    cores: usize,
    room: f64,
    copied: bool,
) -> std::io::Result<()> {
    let figures: Vec<f64> = levels.iter().map(|(cores, _)| *cores).collect();
    let (used, all) = (figures[0], figures[0] * f64::from(streams));
    writeln!(out, "\nCores, by a short encode on this machine: {used:.1} a livestream, {all:.1} of {cores} in all")?;
    match admission::judge(&figures, 0.0, room) {
        Admission::At { level: 0 } => return Ok(()),
        Admission::At { level } => {
            let (cores, given_up) = &levels[level];
            writeln!(
                out,
                "  Too much for real time with room to spare. The server starts it with {given_up}: {cores:.1} cores."
            )?;
        }
        Admission::Refused(_) => writeln!(out, "  Too much for real time: the server refuses it.")?,
    }
    if copied {
        return writeln!(out, "  Leave out a rung, or cap its frame rate with max_frame_rate = 30.");
    }
    writeln!(out, "  Leave out the top rung, cap its frame rate with max_frame_rate = 30, or let it be copied with")?;
    writeln!(out, "  passthrough = \"auto\".")
}

fn report(out: &mut impl Write, plan: &Plan, cost: &Cost) -> std::io::Result<()> {
    writeln!(out, "Rendition     picture      average       peak  (bit/s)")?;
    for rendition in &plan.renditions {
        let picture = rendition.video.as_ref().map_or_else(
            || "audio".to_owned(),
            |video| format!("{}x{}@{}", video.width, video.height, video.frame_rate),
        );
        let (average, peak) = (rendition.average_bound, rendition.bandwidth_bound);
        let copied = rendition.video.as_ref().is_some_and(|video| video.action == VideoAction::Copy);
        let copied = if copied { "  copied" } else { "" };
        writeln!(out, "{:<12} {picture:>13} {average:>10} {peak:>10}{copied}", rendition.name)?;
    }
    plan.notes.iter().try_for_each(|note| writeln!(out, "  {note}"))?;
    let rate = |bytes: f64| format!("{:.2} MB/s", bytes / 1e6);
    writeln!(
        out,
        "\nFor {} at a TTL of {} and a window of {}:",
        count(cost.streams),
        human(cost.ttl),
        human(cost.window)
    )?;
    writeln!(out, "  store writes         {:.1} a second, {}", cost.puts_per_second, rate(cost.bytes_per_second))?;
    writeln!(out, "  memory at the TTL    {}", size(cost.bytes_at_ttl))?;
    writeln!(out, "  largest object       {}", size(cost.largest_object))?;
    writeln!(out, "  bandwidth a viewer   {:.2} Mbit/s at most", cost.top_bandwidth as f64 / 1e6)?;
    writeln!(out, "  live window          {} of this server's memory", size(cost.live_window))?;
    Ok(())
}

async fn stores(out: &mut impl Write, cost: &Cost, config: &Resolved) -> std::io::Result<bool> {
    let mut any = false;
    for store in &config.stores {
        let cost = cost.at_ttl(store.ttl.unwrap_or(config.ttl));
        let options = OpenOptions { ttl: cost.ttl, ..OpenOptions::default() };
        let opened = store::open_backend(&store.url, &process_env, &options).await;
        let (capabilities, unknown) = match opened {
            Ok(opened) => (opened.capabilities(), None),
            Err(error) => (limits::documented(store.url.scheme()), Some(error)),
        };
        writeln!(out, "\nStore {}:", store.url)?;
        if store.ttl.is_some() {
            writeln!(out, "  memory at its TTL    {} after {}", size(cost.bytes_at_ttl), human(cost.ttl))?;
        }
        if let Some(error) = unknown {
            writeln!(out, "  not reached ({error}); judged by what is documented")?;
        }
        any |= judged(out, &cost, &capabilities)?;
    }
    Ok(any)
}

fn judged(out: &mut impl Write, cost: &Cost, capabilities: &Capabilities) -> std::io::Result<bool> {
    let broken = limits::broken(cost, capabilities);
    if broken.is_empty() {
        writeln!(out, "  all of it fits into the limits that are known")?;
    }
    for one in &broken {
        writeln!(out, "  BREAKS {one}")?;
    }
    Ok(!broken.is_empty())
}

fn count(streams: u32) -> String {
    if streams == 1 { "one livestream".to_owned() } else { format!("{streams} livestreams") }
}

fn human(duration: std::time::Duration) -> HumanDuration {
    HumanDuration(duration)
}

/// Three digits are what a plan is worth.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        1_000_000_000.. => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// What a person reads of a limit in bytes.
fn limit(bytes: u64) -> String {
    if bytes.is_multiple_of(1 << 10) { ByteSize(bytes).to_string() } else { size(bytes) }
}

#[cfg(test)]
mod tests;
