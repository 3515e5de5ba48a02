//! A source by URL: FFmpeg copies it to FLV, so that push and pull are one path from there on.
//!
//! Retried with growing pauses for as long as the livestream listens: it, not the pull, decides when to give up.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use rtmp::flv::FlvReader;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use super::source::{SourceEnd, SourceEvent, StampedTag};
use crate::control::source_url::{SourceRules, SourceUrl};
use crate::transcode::{Copier, CopyExit};

/// Tags that may wait for the livestream: about ten seconds.
const FEED: usize = 1024;
/// The name must be resolved by then.
const RESOLVE: Duration = Duration::from_secs(5);
/// A source that sends nothing for so long is lost.
const SILENCE: Duration = Duration::from_secs(10);
/// Pauses between tries.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Tries before a source that never answered is reported as unreachable.
const FIRST_TRIES: u32 = 3;

/// A pull under way. Dropping it ends FFmpeg.
#[derive(Debug)]
pub struct Pull {
    events: mpsc::Receiver<SourceEvent>,
}

impl Pull {
    /// The next event. Cancel-safe.
    pub async fn recv(&mut self) -> Option<SourceEvent> {
        self.events.recv().await
    }
}

/// Begins to pull `url`, whose host must pass `rules` whatever its name resolves to.
pub fn start(url: SourceUrl, ffmpeg: PathBuf, rules: SourceRules) -> Pull {
    let (sender, events) = mpsc::channel(FEED);
    tokio::spawn(run(url, ffmpeg, rules, sender));
    Pull { events }
}

async fn run(url: SourceUrl, ffmpeg: PathBuf, rules: SourceRules, events: mpsc::Sender<SourceEvent>) {
    let mut failures = 0_u32;
    let mut ever = false;
    loop {
        let end = match resolve(&url, &rules).await {
            Ok(address) => copy(&url, address, &ffmpeg, &events).await,
            Err(why) => Attempt::Refused(why),
        };
        let told = match end {
            Attempt::Gone => return,
            Attempt::Delivered(end) => {
                (failures, ever) = (0, true);
                Some(end)
            }
            Attempt::Refused(why) => {
                failures += 1;
                // A source that is just being started is given a few tries before anybody is told.
                (ever || failures >= FIRST_TRIES).then_some(SourceEnd::Unreachable(why))
            }
        };
        if let Some(end) = told
            && events.send(SourceEvent::Ended(end)).await.is_err()
        {
            return;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << failures.min(8)).min(LONGEST_PAUSE);
        tokio::select! {
            () = tokio::time::sleep(pause.mul_f64(0.75 + fastrand::f64() / 2.0)) => {}
            () = events.closed() => return,
        }
    }
}

enum Attempt {
    /// Media came, and stopped coming.
    Delivered(SourceEnd),
    /// No media came, and why.
    Refused(String),
    /// The livestream is gone.
    Gone,
}

/// The first address of the host. All of them must be allowed: FFmpeg is given the address that was checked, so that a
/// name cannot resolve to something else the next time.
async fn resolve(url: &SourceUrl, rules: &SourceRules) -> Result<IpAddr, String> {
    let host = url.host().to_string();
    let name = host.trim_matches(['[', ']']).to_owned();
    let found = tokio::time::timeout(RESOLVE, tokio::net::lookup_host((name.as_str(), url.port()))).await;
    let addresses: Vec<SocketAddr> = match found {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => return Err(format!("the host {host} cannot be found: {error}")),
        Err(_) => return Err(format!("the host {host} cannot be found: the name server does not answer")),
    };
    for address in &addresses {
        rules
            .check_address(Some(&name), address.ip())
            .map_err(|why| format!("the host {host} is not allowed as a source: {why}"))?;
    }
    // IPv4 first: an RTMP server on `localhost` seldom listens on ::1.
    let first = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    first.map(SocketAddr::ip).ok_or_else(|| format!("the host {host} has no address"))
}

async fn copy(
    url: &SourceUrl,
    address: IpAddr,
    ffmpeg: &std::path::Path,
    events: &mpsc::Sender<SourceEvent>,
) -> Attempt {
    let mut copier = match Copier::spawn(ffmpeg, url, address) {
        Ok(copier) => copier,
        Err(error) => return Attempt::Refused(error.to_string()),
    };
    let mut reader = FlvReader::new();
    let mut buffer = vec![0_u8; 64 << 10];
    let mut connected = false;
    let end = loop {
        let read = tokio::select! {
            read = tokio::time::timeout(SILENCE, copier.output.read(&mut buffer)) => read,
            () = events.closed() => return Attempt::Gone,
        };
        let count = match read {
            Ok(Ok(count)) if count > 0 => count,
            Ok(_) => break copier.wait().await,
            Err(_) => break CopyExit::lost("nothing came for ten seconds"),
        };
        reader.push(&buffer[..count]);
        loop {
            let tag = match reader.poll() {
                Ok(Some(tag)) => tag,
                Ok(None) => break,
                Err(error) => return Attempt::Delivered(SourceEnd::Lost(error.to_string())),
            };
            if !std::mem::replace(&mut connected, true) && events.send(SourceEvent::Connected).await.is_err() {
                return Attempt::Gone;
            }
            let tag = StampedTag::new(tag, Instant::now(), SystemTime::now());
            // A slow livestream holds the pull back, and through it the source: nothing has to be dropped.
            if events.send(SourceEvent::Tag(tag)).await.is_err() {
                return Attempt::Gone;
            }
        }
    };
    match (connected, end.clean) {
        (true, true) => Attempt::Delivered(SourceEnd::Clean),
        (true, false) => Attempt::Delivered(SourceEnd::Lost(end.message)),
        (false, true) => Attempt::Refused(format!("{url} has no audio or video")),
        (false, false) => Attempt::Refused(format!("{url} cannot be read: {}", end.message)),
    }
}
