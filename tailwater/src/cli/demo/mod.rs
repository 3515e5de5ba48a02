//! `tailwater demo`: the server, a synthetic camera that publishes to it by RTMP, the tutorial's POST, and the URLs once
//! the result really plays.

mod camera;
mod certificate;
mod client;

use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use super::serve::Server;
use crate::config::{Flags, Resolved, resolved::process_env};
use crate::{shutdown, telemetry};
use client::Client;

/// The tutorial's stream key and name.
const KEY: &str = "teststream";
const TITLE: &str = "My Momento Stream";

/// What the demo takes beside the settings of `serve`.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    #[command(flatten)]
    flags: Flags,
    /// Serve HTTPS with HTTP/2 and a self-signed certificate made for this run
    #[arg(long, conflicts_with_all = ["tls_cert", "tls_key"])]
    tls: bool,
    /// The camera's picture, WxH at 30 frames a second. [default: 1920x1080 from six cores, 1280x720 below]
    #[arg(long, value_name = "WxH")]
    camera: Option<camera::Size>,
    /// Stop after so long instead of at Ctrl-C, for example 30s
    #[arg(long, value_name = "DUR")]
    r#for: Option<crate::config::HumanDuration>,
}

/// Runs the demo until Ctrl-C.
///
/// # Errors
/// A sentence about what does not work, and what to do.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let mut config = Resolved::load(&options.flags, &process_env)?;
    // One line tells what goes on; what goes wrong is told beside it.
    telemetry::logs(config.log_format, "warn")?;
    let metrics = telemetry::metrics()?;
    let stop = shutdown::on_signals()?;
    let certificate = options.tls.then(certificate::Certificate::new).transpose()?;
    config.tls = certificate.as_ref().map(certificate::Certificate::files).or(config.tls);
    let server = Server::start(&config, Some(metrics), stop.clone()).await?;
    let client = Client::new(&config, &server, certificate.as_ref().map(certificate::Certificate::pem))?;
    let result = tokio::select! {
        result = show(options, &config, &server, &client, &stop) => result,
        () = stop.cancelled() => Ok(()),
    };
    stop.cancel();
    say("ending the livestream ...");
    server.finished().await;
    result
}

async fn show(
    options: &Options,
    config: &Resolved,
    server: &Server,
    client: &Client,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let rtmp = server.rtmp().context("the demo's camera needs the RTMP server: leave out --rtmp none")?;
    let publish = format!("rtmp://{rtmp}/live/{KEY}");
    say(&format!("a camera publishes to {publish}"));
    let _camera = camera::start(&config.ffmpeg, options.camera.unwrap_or_default(), &publish)?;
    let body = serde_json::json!({"rtmpUrl": publish, "streamName": TITLE});
    say(&format!("POST {}/livestreams {body}", client.base()));
    let name = client.create(&body).await?;
    let playing = client.until_it_plays(&name, &config.ffmpeg).await?;
    print_urls(client.base(), &name, &playing);
    let limit = options.r#for.map_or(Duration::MAX, |limit| limit.0);
    tokio::select! {
        () = tell(client, &name) => {}
        () = tokio::time::sleep(limit) => {}
        () = stop.cancelled() => {}
    }
    Ok(())
}

fn print_urls(base: &str, name: &str, playing: &client::Playing) {
    let client::Playing { took, renditions, frames } = playing;
    let (seconds, renditions) = (took.as_secs_f64(), renditions.join(", "));
    say(&format!(
        "it plays, {seconds:.1} s after the POST: {renditions}; {frames} frames of the first segment decoded"
    ));
    say("");
    say(&format!("  player         {base}/watch/{name}"));
    say(&format!("  HLS            {base}/live/{name}/playlist.m3u8      (VLC, ffplay, Video.js, any player)"));
    say(&format!("  low latency    {base}/live/{name}/low-latency.m3u8"));
    say(&format!("  dashboard      {base}/"));
    say(&format!("  API            {base}/docs"));
    say("");
    say("Ctrl-C ends it.");
}

/// A line that lives: state, rungs, speed, last segment.
async fn tell(client: &Client, name: &str) {
    let terminal = std::io::stdout().is_terminal();
    let mut last = String::new();
    loop {
        let line = match client.status(name).await {
            Ok(status) => client::line(&status),
            Err(error) => format!("no answer: {error}"),
        };
        if terminal {
            print(&format!("\r\x1b[K{line}"));
        } else if line != last {
            say(&line);
        }
        last = line;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn say(line: &str) {
    print(&format!("{line}\n"));
}

fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    // Nobody is left to tell when stdout is gone.
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
