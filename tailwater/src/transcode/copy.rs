//! FFmpeg as a reader of a source by URL: copied to FLV, nothing decoded.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::Path;

use tokio::net::unix::pipe;

use super::command::Descriptors;
use super::process::{Exit, Handle, SpawnError, Transcoder};
use crate::control::source_url::SourceUrl;

/// A copy under way; dropping it ends FFmpeg.
#[derive(Debug)]
pub struct Copier {
    /// FLV comes out here.
    pub output: pipe::Receiver,
    handle: Handle,
    secret: String,
}

/// How a copy ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyExit {
    /// The source ended in order.
    pub clean: bool,
    /// What FFmpeg said last, without the stream key.
    pub message: String,
}

impl CopyExit {
    /// It did not end by itself.
    pub fn lost(why: &str) -> Self {
        Self { clean: false, message: why.to_owned() }
    }
}

impl Copier {
    /// Starts to copy `url`, whose host was resolved to `address`.
    ///
    /// # Errors
    /// [`SpawnError`] when there is no FFmpeg or the system has no more pipes or processes.
    pub fn spawn(ffmpeg: &Path, url: &SourceUrl, address: IpAddr) -> Result<Self, SpawnError> {
        let descriptors = Descriptors { first_output: 3, progress: 4 };
        let names = vec!["flv".to_owned()];
        let mut running = Transcoder::spawn_arguments(ffmpeg, arguments(url, address), descriptors, names)?;
        let (_, output) = running.outputs.remove(0);
        Ok(Self { output, handle: running.handle, secret: url.key().to_owned() })
    }

    /// Waits for FFmpeg's end.
    pub async fn wait(&self) -> CopyExit {
        let Exit { clean, last_lines, .. } = self.handle.wait().await;
        let message = last_lines.join("; ");
        let message = if self.secret.is_empty() { message } else { message.replace(&self.secret, "***") };
        CopyExit { clean, message: if message.is_empty() { "it said nothing".to_owned() } else { message } }
    }
}

fn arguments(url: &SourceUrl, address: IpAddr) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = Vec::new();
    let mut add = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));
    add(&["-hide_banner", "-nostats", "-loglevel", "level+error", "-progress", "pipe:4", "-stats_period", "10"]);
    // Nothing but RTMP and what carries it, whatever the other end answers.
    add(&["-protocol_whitelist", "rtmp,rtmps,tcp,tls,crypto", "-rw_timeout", "10000000"]);
    add(&["-probesize", "500k", "-analyzeduration", "1000000", "-rtmp_live", "live"]);
    // Neither track waits ten seconds for the other: one that stopped is to be noticed.
    let apart = ["-max_interleave_delta", "500000"];
    let (input, tc_url) = addressed(url, address);
    if let Some(tc_url) = tc_url {
        add(&["-rtmp_tcurl", &tc_url]);
    }
    add(&["-i", &input, "-map", "0:v:0?", "-map", "0:a:0?", "-c", "copy"]);
    add(&apart);
    add(&["-copyts", "-f", "flv", "-flvflags", "no_duration_filesize", "-flush_packets", "1", "pipe:3"]);
    arguments
}

/// The URL with the address in the place of the name, and the name where the server expects it. TLS checks the name, so
/// `rtmps` keeps it.
fn addressed(url: &SourceUrl, address: IpAddr) -> (String, Option<String>) {
    let text = url.expose();
    let host = url.host().to_string();
    if text.starts_with("rtmps:") || !text.contains(&host) {
        return (text.to_owned(), None);
    }
    let literal = match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let tc_url = format!("rtmp://{host}:{}/{}", url.port(), url.app());
    (text.replacen(&host, &literal, 1), Some(tc_url))
}
