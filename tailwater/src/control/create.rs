//! From the body of `POST /livestreams` to a livestream that somebody wants, judged as far as that goes without the
//! network: a function of the body and the defaults.

use std::net::{IpAddr, UdpSocket};

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    ApiError, Defaults,
    source_url::{Own, SourceUrl},
};
use crate::{
    config::{HumanDuration, check::window_and_ttl},
    ladder::{
        EncoderChoice, Format, LadderConfig, Passthrough, Rung, VideoCodec, rung::validate_preset, validate_rungs,
    },
    livestream::{
        name::StreamName,
        types::{CreateRequest, SourceRequest},
    },
};

/// The tutorial's words.
const REQUIRED: &str = "RTMP url and stream name are required";

/// The body of `POST /livestreams`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateBody {
    /// Where the media comes from: `rtmp://` or `rtmps://`. This server's own RTMP address attaches to its publisher.
    #[schema(example = "rtmp://localhost/live/teststream")]
    rtmp_url: Option<String>,
    /// A name for people; keys and URLs are made of its letters and digits.
    #[schema(example = "My Momento Stream")]
    stream_name: String,
    /// `push` instead of an `rtmpUrl`: the answer says where to publish.
    ingest: Option<Ingest>,
    /// Where the media comes from while `rtmpUrl`, or the publisher, is lost: judged like `rtmpUrl`, and another stream.
    #[schema(example = "rtmp://localhost/live/backup")]
    backup_url: Option<String>,
    /// Highest first.
    ladder: Option<Vec<Rung>>,
    /// Bit rate of the one audio track, bit/s.
    audio_bitrate: Option<u64>,
    /// The container of segments.
    format: Option<Format>,
    /// Parts and blocking reload.
    low_latency: Option<bool>,
    /// How much of the past a playlist lists.
    #[schema(value_type = Option<String>, example = "5m")]
    window: Option<HumanDuration>,
    /// How long the store keeps an object.
    #[schema(value_type = Option<String>, example = "1h")]
    ttl: Option<HumanDuration>,
    /// Whether the source may be the top rung as it is.
    passthrough: Option<Passthrough>,
    /// Who encodes H.264.
    encoder: Option<EncoderChoice>,
    /// The preset of rungs that name none, or `auto` for the slowest that this machine holds.
    preset: Option<String>,
    /// Start although this machine would be over its capacity.
    #[serde(default)]
    force: bool,
}

/// How media gets here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ingest {
    /// From `rtmpUrl`.
    Pull,
    /// The encoder publishes to us, with a key that the answer gives.
    Push,
}

impl CreateBody {
    /// Reads a body whose JSON was read before.
    ///
    /// # Errors
    /// The tutorial's sentence when URL or name are missing, empty or null; what is wrong otherwise.
    pub fn parse(bytes: &[u8], object: &Map<String, Value>) -> Result<Self, ApiError> {
        let missing = |field: &str| match object.get(field) {
            None | Some(Value::Null) => true,
            Some(Value::String(text)) => text.is_empty(),
            Some(_) => false,
        };
        let push = object.get("ingest").is_some_and(|ingest| ingest == "push");
        if missing("streamName") || (missing("rtmpUrl") && !push) {
            let sentence = if push { "stream name is required" } else { REQUIRED };
            return Err(ApiError::bad_request("missing-fields", sentence));
        }
        serde_json::from_slice(bytes).map_err(|error| ApiError::bad_request("invalid-request", explain(&error)))
    }

    /// Judges it.
    ///
    /// # Errors
    /// The first thing that cannot be.
    pub fn check(self, defaults: &Defaults) -> Result<CreateRequest, ApiError> {
        let name = StreamName::from_title(&self.stream_name)?;
        let source = self.source(defaults)?;
        let backup = self.backup(&source, defaults)?;
        let window = self.window.map_or(defaults.window, |window| window.0);
        let ttl = self.ttl.map_or(defaults.ttl, |ttl| ttl.0);
        let ladder = self.ladder(&defaults.ladder)?;
        for ttl in std::iter::once(&ttl).chain(&defaults.store_ttls) {
            window_and_ttl(window, *ttl, ladder.longest_target()).map_err(|(setting, sentence)| {
                ApiError::bad_request(if setting == "ttl" { "invalid-ttl" } else { "invalid-window" }, sentence)
            })?;
        }
        Ok(CreateRequest { name, title: self.stream_name, source, backup, ladder, window, ttl, force: self.force })
    }

    fn source(&self, defaults: &Defaults) -> Result<SourceRequest, ApiError> {
        match (self.ingest, self.rtmp_url.as_deref().filter(|url| !url.is_empty())) {
            (Some(Ingest::Push), None) => Ok(SourceRequest::Push),
            (Some(Ingest::Push), Some(_)) => Err(ApiError::bad_request(
                "invalid-request",
                "give either an rtmpUrl to pull from, or \"ingest\": \"push\" to publish to this server",
            )),
            (_, Some(url)) => pulled(url, defaults),
            (_, None) => Err(ApiError::bad_request("missing-fields", REQUIRED)),
        }
    }

    fn backup(&self, main: &SourceRequest, defaults: &Defaults) -> Result<Option<SourceRequest>, ApiError> {
        let Some(url) = self.backup_url.as_deref().filter(|url| !url.is_empty()) else { return Ok(None) };
        let backup = pulled(url, defaults).map_err(|error| error.about("backupUrl"))?;
        if backup.is_same(main) {
            let sentence = "backupUrl is the stream of rtmpUrl: a backup comes from elsewhere, or under another key";
            return Err(ApiError::bad_request("invalid-backup-url", sentence));
        }
        Ok(Some(backup))
    }

    fn ladder(&self, default: &LadderConfig) -> Result<LadderConfig, ApiError> {
        let ladder = LadderConfig {
            rungs: self.ladder.clone().unwrap_or_else(|| default.rungs.clone()),
            audio_bitrate: self.audio_bitrate.unwrap_or(default.audio_bitrate),
            format: self.format.unwrap_or(default.format),
            low_latency: self.low_latency.unwrap_or(default.low_latency),
            encoder: self.encoder.unwrap_or(default.encoder),
            passthrough: self.passthrough.unwrap_or(default.passthrough),
            preset: self.preset.clone().or_else(|| default.preset.clone()),
            ..default.clone()
        };
        validate_rungs(&ladder.rungs, ladder.audio_bitrate, ladder.format)
            .map_err(|error| ApiError::bad_request("invalid-ladder", error.to_string()))?;
        if let Some(preset) = &ladder.preset {
            validate_preset(preset, &VideoCodec::H264).map_err(|known| {
                ApiError::bad_request("invalid-ladder", format!("preset {preset:?} is not known: {known}"))
            })?;
        }
        Ok(ladder)
    }
}

fn pulled(url: &str, defaults: &Defaults) -> Result<SourceRequest, ApiError> {
    let refuse = |error: super::source_url::SourceUrlError| ApiError::bad_request(error.code(), error.to_string());
    let url = SourceUrl::parse(url).map_err(refuse)?;
    let own = Own {
        is_local: &is_local,
        public_host: defaults.public_host.as_deref(),
        rtmp_port: defaults.rtmp.map(|address| address.port()),
    };
    if url.is_own(&own) {
        return Ok(SourceRequest::Own(url));
    }
    url.check(&defaults.rules).map_err(refuse)?;
    Ok(SourceRequest::Pull(url))
}

/// An address that this machine can bind is one of its own.
fn is_local(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// serde's message, with the nearest field where one is unknown.
fn explain(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let Some(rest) = message.strip_prefix("unknown field ") else { return message };
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let unknown = quoted.next().unwrap_or_default();
    let nearest = quoted
        .map(|known| (strsim::damerau_levenshtein(unknown, known), known))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, known)| *distance <= 2.max(known.len() / 3));
    let shown: String = unknown.chars().take(40).collect();
    match nearest {
        Some((_, known)) => format!("there is no field \"{shown}\"; did you mean \"{known}\"?"),
        None => format!("there is no field \"{shown}\""),
    }
}
