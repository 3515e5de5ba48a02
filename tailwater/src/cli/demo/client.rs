//! The demo as a user of the API and a viewer: plain HTTP, and FFmpeg to decode what came.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::cli::serve::Server;
use crate::config::Resolved;
use crate::transcode::{Descriptors, Transcoder};

/// A machine that has not shown the first picture by then is not going to.
const PATIENCE: Duration = Duration::from_secs(45);

/// What played.
pub(super) struct Playing {
    /// From the POST to the first segment decoded.
    pub(super) took: Duration,
    /// The renditions in the multivariant playlist.
    pub(super) renditions: Vec<String>,
    /// Frames of the first segment.
    pub(super) frames: u64,
}

/// A client of a server of our own.
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    api: String,
    token: Option<String>,
}

impl Client {
    pub(super) fn new(config: &Resolved, server: &Server, pem: Option<&str>) -> anyhow::Result<Self> {
        let mut builder = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10));
        if let Some(pem) = pem {
            builder = builder.add_root_certificate(reqwest::Certificate::from_pem(pem.as_bytes())?);
        }
        let url = |address: SocketAddr| {
            let scheme = if config.tls.is_some() { "https" } else { "http" };
            let host = if address.ip().is_unspecified() { "localhost".to_owned() } else { host(address) };
            format!("{scheme}://{host}:{}", address.port())
        };
        Ok(Self {
            http: builder.build()?,
            base: url(server.http()),
            api: url(server.api()),
            token: config.api.token.as_ref().map(|token| token.expose().to_owned()),
        })
    }

    /// Where viewers go.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// The tutorial's POST. The livestream's name.
    pub(super) async fn create(&self, body: &Value) -> anyhow::Result<String> {
        let request = self.http.post(format!("{}/livestreams", self.api)).json(body);
        let response = self.with_token(request).send().await.context("the API does not answer")?;
        let status = response.status();
        let answer: Value = response.json().await.context("the API's answer is no JSON")?;
        if status != 202 {
            bail!("the API refused: {}", answer["error"].as_str().unwrap_or("no reason given"));
        }
        let stream = answer["stream"].as_str().context("the API's answer names no stream")?;
        Ok(stream.trim_end_matches("_playlist.m3u8").to_owned())
    }

    pub(super) async fn status(&self, name: &str) -> anyhow::Result<Value> {
        let request = self.http.get(format!("{}/livestreams/{name}", self.api));
        Ok(self.with_token(request).send().await?.json().await?)
    }

    /// Does what a player does until a segment has been decoded.
    pub(super) async fn until_it_plays(&self, name: &str, ffmpeg: &Path) -> anyhow::Result<Playing> {
        let start = Instant::now();
        loop {
            let status = self.status(name).await?;
            if status["state"] == "failed" {
                let message = status["error"]["message"].as_str().unwrap_or("no reason given");
                bail!("the livestream failed: {message}");
            }
            if let Some((renditions, segment)) = self.first_segment(name).await? {
                let frames = decode(ffmpeg, segment).await?;
                return Ok(Playing { took: start.elapsed(), renditions, frames });
            }
            if start.elapsed() > PATIENCE {
                bail!("nothing to play after {} s; it stands at {status}", PATIENCE.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The renditions and the first rendition's media initialization and first segment, once they are there.
    async fn first_segment(&self, name: &str) -> anyhow::Result<Option<(Vec<String>, Vec<u8>)>> {
        let Some(multivariant) = self.text(name, "playlist.m3u8").await? else { return Ok(None) };
        let playlists: Vec<&str> = uris(&multivariant).collect();
        let Some(first) = playlists.first() else { return Ok(None) };
        let Some(media) = self.text(name, first).await? else { return Ok(None) };
        let map = media.lines().find_map(|line| line.strip_prefix("#EXT-X-MAP:URI=\"")?.strip_suffix('"'));
        let Some(segment) = uris(&media).next() else { return Ok(None) };
        let mut bytes = Vec::new();
        for key in map.into_iter().chain([segment]) {
            let response = self.http.get(format!("{}/live/{name}/{key}", self.base)).send().await?;
            bytes.extend_from_slice(&response.error_for_status()?.bytes().await?);
        }
        let rendition = |uri: &&str| uri.split('_').nth(1).unwrap_or(uri).to_owned();
        Ok(Some((playlists.iter().map(rendition).collect(), bytes)))
    }

    async fn text(&self, name: &str, key: &str) -> anyhow::Result<Option<String>> {
        let response = self.http.get(format!("{}/live/{name}/{key}", self.base)).send().await?;
        if !response.status().is_success() {
            return Ok(None);
        }
        Ok(Some(response.text().await?))
    }

    fn with_token(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}

fn host(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}

fn uris(playlist: &str) -> impl Iterator<Item = &str> {
    playlist.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Frames in a segment, decoded by FFmpeg.
async fn decode(ffmpeg: &Path, segment: Vec<u8>) -> anyhow::Result<u64> {
    let arguments = ["-hide_banner", "-nostats", "-loglevel", "level+error", "-progress", "pipe:3", "-i", "pipe:0"];
    let arguments = arguments.into_iter().chain(["-map", "0:v?", "-map", "0:a?", "-f", "null", "-"]);
    let descriptors = Descriptors { first_output: 3, progress: 3 };
    let mut running =
        Transcoder::spawn_arguments(ffmpeg, arguments.map(Into::into).collect(), descriptors, Vec::new())?;
    running.stdin.write_all(&segment).await.context("FFmpeg does not read the segment")?;
    drop(running.stdin);
    let mut frames = 0;
    while let Some(report) = running.progress.recv().await {
        frames = frames.max(report.frames);
    }
    let exit = running.handle.wait().await;
    if !exit.clean {
        bail!("the first segment does not decode: {}", exit.last_lines.join("; "));
    }
    Ok(frames)
}

/// One line about a livestream.
pub(super) fn line(status: &Value) -> String {
    let renditions = status["renditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let names: Vec<&str> = renditions.iter().filter_map(|rendition| rendition["name"].as_str()).collect();
    let next = renditions.iter().filter_map(|rendition| rendition["nextMsn"].as_u64()).max().unwrap_or(0);
    let speed = status["speed"].as_f64().map_or_else(|| "-".to_owned(), |speed| format!("{speed:.2}x"));
    let state = status["state"].as_str().unwrap_or("unknown");
    let error = status["error"]["message"].as_str().map(|error| format!("  {error}")).unwrap_or_default();
    let last = next.checked_sub(1).map_or_else(|| "none".to_owned(), |last| last.to_string());
    format!("{state}  {}  speed {speed}  last segment {last}{error}", names.join(" "))
}
