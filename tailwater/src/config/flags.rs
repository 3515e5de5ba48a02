//! What the command line says. Nothing here has a default: what was not said is `None`, and the next layer speaks.

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use clap::{Args, ValueEnum};
use serde::Deserialize;

use super::{HumanDuration, LogFormat, Secret};

/// The flags that every command that starts or judges a server takes.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Settings")]
pub struct Flags {
    /// Configuration file (TOML). It can hold every setting, also those without a flag.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where viewers, and operators unless --api is given, reach the server. [default: 127.0.0.1:3000]
    #[arg(long, value_name = "ADDR")]
    pub http: Option<SocketAddr>,
    /// Where encoders publish by RTMP; `none` turns the RTMP server off. [default: 127.0.0.1:1935]
    #[arg(long, value_name = "ADDR")]
    pub rtmp: Option<RtmpAddr>,
    /// Where segments and playlists go: file:PATH, memory:, momento:CACHE, momento-objectstore:STORE, redis://…,
    /// rediss://…, redis-cluster://host,host…, s3://bucket/prefix. Given again: the first is what the origin falls
    /// back to, the others get a copy of everything. [default: file:tailwater-data]
    #[arg(long, value_name = "URL")]
    pub store: Vec<String>,
    /// How long the store keeps an object. [default: 1h]
    #[arg(long, value_name = "DUR")]
    pub ttl: Option<HumanDuration>,
    /// How logs are written. [default: text]
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
    /// A listener of its own for operators: then --http serves viewers only (/live, /watch, health).
    #[arg(long, value_name = "ADDR")]
    pub api: Option<SocketAddr>,
    /// What operators send as `Authorization: Bearer`. Without it the API is served on loopback only.
    #[arg(long, value_name = "TOKEN", hide_env_values = true)]
    pub api_token: Option<Secret>,
    /// Serve the API without a token to whoever reaches it.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = clap::builder::BoolishValueParser::new())]
    pub insecure: Option<bool>,
    /// A publish whose key no livestream waits for makes a livestream of that name.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = clap::builder::BoolishValueParser::new())]
    pub auto_start: Option<bool>,
    /// Certificate chain (PEM): HTTPS with HTTP/2 instead of plain HTTP. Read again when the file changes.
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Private key (PEM) of --tls-cert.
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// The FFmpeg to run. [default: ffmpeg on the PATH]
    #[arg(long, value_name = "FILE")]
    pub ffmpeg: Option<PathBuf>,
}

/// The address of the RTMP server, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum RtmpAddr {
    /// The RTMP server is off: sources are pulled only.
    None,
    /// Listen here.
    At(SocketAddr),
}

impl FromStr for RtmpAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            _ => text
                .parse()
                .map(Self::At)
                .map_err(|_| format!("`{text}` is neither an address such as 127.0.0.1:1935 nor `none`")),
        }
    }
}

impl TryFrom<String> for RtmpAddr {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl ValueEnum for LogFormat {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Text, Self::Json]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(match self {
            Self::Text => clap::builder::PossibleValue::new("text").help("a line an event, for people"),
            Self::Json => clap::builder::PossibleValue::new("json").help("a JSON object an event, for machines"),
        })
    }
}
