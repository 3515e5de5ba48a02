//! The configuration file: TOML, every setting, each optional. Unknown keys are errors that name the nearest known one.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{ByteSize, Colour, ConfigError, HumanDuration, LogFormat, OnLoss, Secret, flags::RtmpAddr};
use crate::ladder::{EncoderChoice, Format, Passthrough, Rung};

/// What the file says. Sizes are `"128 MiB"`, durations `"90s"`, bit rates bit/s.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Listener for viewers, and for operators unless `api` is set.
    pub http: Option<SocketAddr>,
    /// RTMP listener, or `"none"`.
    pub rtmp: Option<RtmpAddr>,
    /// Listener for operators.
    pub api: Option<SocketAddr>,
    /// Bearer token of the API.
    pub api_token: Option<Secret>,
    /// Serve the API off loopback without a token.
    pub insecure: Option<bool>,
    /// A publish makes a livestream named by its key.
    pub auto_start: Option<bool>,
    /// PEM certificate chain.
    pub tls_cert: Option<PathBuf>,
    /// PEM private key.
    pub tls_key: Option<PathBuf>,
    /// `text` or `json`.
    pub log_format: Option<LogFormat>,
    /// What is logged, in the syntax of `RUST_LOG`.
    pub log_filter: Option<String>,

    /// A store URL, a list of them, or `[[store]]` tables with a `url` and what differs for that store.
    pub store: Option<OneOrMany>,
    /// Bytes the embedded store holds at most.
    pub store_max_bytes: Option<ByteSize>,
    /// How long the store keeps an object.
    pub ttl: Option<HumanDuration>,
    /// How much of the past a playlist lists.
    pub window: Option<HumanDuration>,
    /// What the origin keeps in memory.
    pub live_window: Option<LiveWindowTable>,

    /// The FFmpeg to run.
    pub ffmpeg: Option<PathBuf>,
    /// The rungs, highest first.
    pub ladder: Option<Vec<Rung>>,
    /// Bit rate of the one audio track, bit/s.
    pub audio_bitrate: Option<u64>,
    /// `ts` or `cmaf`.
    pub format: Option<Format>,
    /// Parts, blocking reload, and encoding without delay.
    pub low_latency: Option<bool>,
    /// About how long a part is.
    pub part: Option<HumanDuration>,
    /// How long a segment is. One second is the only value there is.
    pub segment: Option<HumanDuration>,
    /// Who encodes H.264.
    pub encoder: Option<EncoderChoice>,
    /// Whether the source may be the top rung as it is.
    pub passthrough: Option<Passthrough>,
    /// The preset of rungs that name none.
    pub preset: Option<String>,

    /// How long a livestream waits for its source.
    pub source_timeout: Option<HumanDuration>,
    /// How long after a clean end of the source the livestream ends.
    pub end_grace: Option<HumanDuration>,
    /// How long a lost source may take to come back.
    pub reconnect_window: Option<HumanDuration>,
    /// What viewers get while the source is lost.
    pub on_loss: Option<OnLoss>,
    /// The picture of `on_loss = "slate"`.
    pub slate: Option<PathBuf>,
    /// What the picture leaves free, or all of it.
    pub slate_color: Option<Colour>,
    /// Take livestreams up again after a restart.
    pub resume: Option<bool>,
    /// Where they are written down.
    pub state_file: Option<PathBuf>,
    /// The name encoders and viewers know this server by.
    pub public_host: Option<String>,
    /// Hosts and networks (CIDR) sources may be pulled from although they are private.
    pub allow_source: Option<Vec<String>>,

    /// What is bounded.
    pub limits: Option<LimitsTable>,
    /// What is done when the machine does not keep up, or would not.
    pub load: Option<LoadTable>,
}

/// `store = "url"`, `store = ["url", …]` or `[[store]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "a store URL, a list of them, or [[store]] tables with `url`, `ttl` and `max_bytes`")]
pub enum OneOrMany {
    /// One URL.
    One(String),
    /// Several.
    Many(Vec<StoreEntry>),
}

/// One of several stores.
#[derive(Clone, Deserialize)]
#[serde(untagged, expecting = "a store URL, or a table with `url`, `ttl` and `max_bytes`")]
pub enum StoreEntry {
    /// Only a URL.
    Url(String),
    /// A URL and what differs for this store.
    Table(StoreTable),
}

impl std::fmt::Debug for StoreEntry {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("StoreEntry(***)")
    }
}

/// A store and what differs for it.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreTable {
    /// The store's URL.
    pub url: String,
    /// Its own time to live.
    pub ttl: Option<HumanDuration>,
    /// Bytes it holds at most (embedded stores).
    pub max_bytes: Option<ByteSize>,
}

/// `[live_window]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiveWindowTable {
    /// Seconds of media.
    pub duration: Option<HumanDuration>,
    /// Bytes a livestream.
    pub max_bytes: Option<ByteSize>,
}

/// `[limits]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsTable {
    /// Livestreams at a time.
    pub max_livestreams: Option<usize>,
    /// HTTP connections at a time.
    pub max_connections: Option<usize>,
    /// RTMP connections at a time.
    pub max_rtmp_connections: Option<usize>,
    /// Requests of one livestream that wait for media.
    pub max_waiters_per_livestream: Option<usize>,
    /// Requests that wait for media.
    pub max_waiters: Option<usize>,
}

/// `[load]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadTable {
    /// Judge whether a livestream fits before it is started.
    pub admission: Option<bool>,
    /// Do with less while the machine does not keep up.
    pub shed: Option<bool>,
    /// Share of the machine's cores that livestreams may be predicted to take.
    pub max_load: Option<f64>,
    /// How many times slower this machine is than the one of the figures, instead of measuring it.
    pub slowness: Option<f64>,
    /// More lag than this is falling behind.
    pub behind: Option<HumanDuration>,
    /// Less lag than this is keeping up with ease.
    pub ahead: Option<HumanDuration>,
    /// Behind for this long is too much.
    pub patience: Option<HumanDuration>,
    /// Between two changes.
    pub pause: Option<HumanDuration>,
    /// At ease for this long is reason to climb back.
    pub healthy: Option<HumanDuration>,
}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, is not TOML, has a key that means nothing or a value of the wrong type.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    /// Reads text; `path` is for messages only.
    ///
    /// # Errors
    /// As [`File::read`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| explain(path, text, &error))
    }
}

fn explain(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.get(..start).map_or(1, |before| before.matches('\n').count() + 1);
    let path = path.to_owned();
    match unknown_field(error.message()) {
        Some((key, nearest)) => ConfigError::UnknownKey { path, line, key, nearest },
        None => ConfigError::Syntax { path, line, message: error.message().to_owned() },
    }
}

/// Takes serde's "unknown field `x`, expected one of `a`, `b`" apart: the key, and the known one nearest to it.
fn unknown_field(message: &str) -> Option<(String, Option<String>)> {
    let mut quoted = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let key = quoted.next()?.to_owned();
    let nearest = quoted
        .map(|known| (strsim::damerau_levenshtein(&key, known), known))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, known)| *distance <= 2.max(known.len() / 3))
        .map(|(_, known)| known.to_owned());
    Some((key, nearest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<File, String> {
        File::parse(Path::new("t.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_nearest_known_one() {
        let error = parse("ttl = \"1h\"\n\nwindwo = \"5m\"\n").unwrap_err();
        assert_eq!(error, "t.toml, line 3: there is no setting `windwo`; did you mean `window`?");
        let error = parse("[live_window]\nmax_byte = 3\n").unwrap_err();
        assert_eq!(error, "t.toml, line 2: there is no setting `max_byte`; did you mean `max_bytes`?");
        let error = parse("[[ladder]]\nname = \"a\"\nheight = 1\nvideo_bitrat = 1\n").unwrap_err();
        assert!(error.contains("line 4") && error.contains("did you mean"), "{error}");
        let error = parse("qqqqqqqqqq = 1\n").unwrap_err();
        assert_eq!(error, "t.toml, line 1: there is no setting `qqqqqqqqqq`");
    }

    #[test]
    fn a_wrong_type_is_refused_with_its_line() {
        let error = parse("insecure = \"maybe\"\n").unwrap_err();
        assert!(error.starts_with("t.toml, line 1: ") && error.contains("bool"), "{error}");
        let error = parse("\nttl = \"soon\"\n").unwrap_err();
        assert!(error.starts_with("t.toml, line 2: ") && error.contains("write it like"), "{error}");
        let error = parse("ttl = [\n").unwrap_err();
        assert!(error.starts_with("t.toml, line"), "{error}");
    }

    #[test]
    fn stores_are_one_or_several_each_with_its_own_ttl() {
        assert!(matches!(parse("store = \"memory:\"").unwrap().store, Some(OneOrMany::One(_))));
        let text = "store = [\"memory:\", { url = \"file:x\", ttl = \"24h\" }]";
        let Some(OneOrMany::Many(stores)) = parse(text).unwrap().store else { panic!("a list") };
        assert!(matches!(&stores[1], StoreEntry::Table(table) if table.ttl.is_some()));
    }
}
