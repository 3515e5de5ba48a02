//! The one checked value that flags, environment and file become. Nothing binds before it exists.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use super::{
    ByteSize, ConfigError, Env, File, Flags, HumanDuration, Secret, check, env,
    file::{OneOrMany, StoreEntry},
    flags::RtmpAddr,
};
use crate::{
    control::source_url::AllowedSource,
    ladder::{LadderConfig, rung},
    load::{LoadSettings, Times},
    transcode::Slate,
};

/// How long an AAC frame lasts, in nanoseconds: 1024 samples at 48 kHz.
const AAC_FRAME_NANOS: u128 = 1024 * 1_000_000_000 / 48_000;

/// The configuration as the server uses it.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Listener for viewers, and for operators when [`Api::listener`] is none.
    pub http: SocketAddr,
    /// RTMP listener.
    pub rtmp: Option<SocketAddr>,
    /// Who may use the API and where.
    pub api: Api,
    /// HTTPS instead of plain HTTP, on both HTTP listeners.
    pub tls: Option<TlsFiles>,
    /// A publish makes a livestream named by its key.
    pub auto_start: bool,
    /// How logs are written.
    pub log_format: LogFormat,
    /// What is logged, in the syntax of `RUST_LOG`.
    pub log_filter: String,
    /// The stores, the primary one first. Never empty.
    pub stores: Vec<StoreSetting>,
    /// How long a store keeps an object, unless the livestream says otherwise.
    pub ttl: Duration,
    /// How much of the past a playlist lists, unless the livestream says otherwise.
    pub window: Duration,
    /// What the origin keeps in memory of each livestream.
    pub live_window: LiveWindowSettings,
    /// The FFmpeg to run.
    pub ffmpeg: PathBuf,
    /// The ladder of livestreams that bring none.
    pub ladder: LadderConfig,
    /// How long a livestream waits for its source in state `starting`.
    pub source_timeout: Duration,
    /// How long after a clean end of the source the livestream ends.
    pub end_grace: Duration,
    /// How long a lost source may take to come back.
    pub reconnect_window: Duration,
    /// What viewers get while the source is lost.
    pub on_loss: OnLoss,
    /// What a slate shows.
    pub slate: Slate,
    /// Take livestreams up again after a restart.
    pub resume: bool,
    /// Where they are written down.
    pub state_file: PathBuf,
    /// The name encoders and viewers know this server by.
    pub public_host: Option<String>,
    /// Private hosts and networks that sources may be pulled from.
    pub allow_source: Vec<AllowedSource>,
    /// What is bounded.
    pub limits: Limits,
    /// What is done when the machine does not keep up, or would not.
    pub load: LoadSettings,
    /// What is allowed but should be known: logged once at start.
    pub warnings: Vec<String>,
}

/// Who may use the API and where.
#[derive(Clone, Debug, Default)]
pub struct Api {
    /// A listener apart from viewers'.
    pub listener: Option<SocketAddr>,
    /// What `Authorization: Bearer` must carry.
    pub token: Option<Secret>,
    /// Serve it off loopback without a token.
    pub insecure: bool,
}

/// The PEM files of HTTPS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

/// One store.
#[derive(Clone, Debug)]
pub struct StoreSetting {
    /// Where it is and how it is bounded; credentials in it are not printed.
    pub url: store::StoreUrl,
    /// Its own time to live, if it differs. Only further stores have one.
    pub ttl: Option<Duration>,
}

/// What the origin keeps in memory of each livestream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveWindowSettings {
    /// Of media.
    pub duration: Duration,
    /// Of all its renditions together.
    pub max_bytes: u64,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line an event, for people.
    #[default]
    Text,
    /// A JSON object an event, for machines.
    Json,
}

/// What viewers get while the source is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLoss {
    /// Nothing new: the playlists stay as they are.
    #[default]
    Wait,
    /// A still picture and silence.
    Slate,
}

/// What is bounded, so that no client decides how much of the machine is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Livestreams that are live at a time.
    pub max_livestreams: usize,
    /// HTTP connections at a time, over all listeners.
    pub max_connections: usize,
    /// RTMP connections at a time.
    pub max_rtmp_connections: usize,
    /// Requests of one livestream that wait for media.
    pub max_waiters_per_livestream: usize,
    /// Requests that wait for media.
    pub max_waiters: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_livestreams: 64,
            // Ten thousand parked players on one node is the budget; twice that leaves room for their other requests.
            max_connections: 20_000,
            max_rtmp_connections: 256,
            max_waiters_per_livestream: 12_000,
            max_waiters: 16_000,
        }
    }
}

impl Resolved {
    /// Puts the layers together, reads the files they name, and checks all of it.
    ///
    /// # Errors
    /// The first thing found that cannot be used, as a sentence that says what to write instead.
    pub fn load(flags: &Flags, env: Env<'_>) -> Result<Self, ConfigError> {
        let said = env::read(env)?;
        let file = match flags.config.as_ref().or(said.config.as_ref()) {
            Some(path) => File::read(path)?,
            None => File::default(),
        };
        let resolved = Self::merge(flags, &said, &file)?;
        check::files(&resolved)?;
        Ok(resolved)
    }

    /// Puts the layers together and checks what can be checked without reading anything.
    ///
    /// # Errors
    /// As [`Resolved::load`].
    pub fn merge(flags: &Flags, env: &Flags, file: &File) -> Result<Self, ConfigError> {
        macro_rules! first {
            ($field:ident) => {
                flags.$field.clone().or_else(|| env.$field.clone()).or_else(|| file.$field.clone())
            };
        }
        let live_window = file.live_window.clone().unwrap_or_default();
        let mut resolved = Self {
            http: first!(http).unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 3000))),
            rtmp: match first!(rtmp) {
                Some(RtmpAddr::None) => None,
                Some(RtmpAddr::At(address)) => Some(address),
                None => Some(SocketAddr::from(([127, 0, 0, 1], 1935))),
            },
            api: Api { listener: first!(api), token: first!(api_token), insecure: first!(insecure).unwrap_or(false) },
            tls: tls(first!(tls_cert), first!(tls_key))?,
            auto_start: first!(auto_start).unwrap_or(false),
            log_format: first!(log_format).unwrap_or_default(),
            log_filter: file.log_filter.clone().unwrap_or_else(|| "info".to_owned()),
            stores: stores(flags, env, file)?,
            ttl: duration(first!(ttl), Duration::from_secs(3600)),
            window: duration(file.window, Duration::from_secs(300)),
            live_window: LiveWindowSettings {
                duration: duration(live_window.duration, Duration::from_secs(60)),
                max_bytes: live_window.max_bytes.map_or(128 << 20, |size| size.0),
            },
            ffmpeg: first!(ffmpeg).unwrap_or_else(|| PathBuf::from("ffmpeg")),
            ladder: ladder(file)?,
            source_timeout: duration(file.source_timeout, Duration::from_secs(60)),
            end_grace: duration(file.end_grace, Duration::from_secs(5)),
            reconnect_window: duration(file.reconnect_window, Duration::from_secs(60)),
            on_loss: on_loss(file)?,
            slate: Slate { picture: file.slate.clone(), colour: file.slate_color.unwrap_or_default() },
            resume: file.resume.unwrap_or(false),
            state_file: file.state_file.clone().unwrap_or_default(),
            public_host: file.public_host.clone(),
            allow_source: allowed(file)?,
            limits: limits(file),
            load: load(file),
            warnings: Vec::new(),
        };
        if file.state_file.is_none() {
            resolved.state_file = default_state_file(&resolved);
        } else if !resolved.resume {
            let message = "it has no effect without resume = true: add that, or leave it out".to_owned();
            return Err(ConfigError::Invalid { setting: "state_file", message });
        }
        check::values(&resolved)?;
        resolved.warnings = check::warnings(&resolved);
        Ok(resolved)
    }

    /// Where the API listens.
    pub fn api_address(&self) -> SocketAddr {
        self.api.listener.unwrap_or(self.http)
    }

    /// All store URLs, the primary one first.
    pub fn store_urls(&self) -> Vec<store::StoreUrl> {
        self.stores.iter().map(|store| store.url.clone()).collect()
    }

    /// What viewers get while the source is lost, if not nothing.
    pub fn shown_on_loss(&self) -> Option<Slate> {
        (self.on_loss == OnLoss::Slate).then(|| self.slate.clone())
    }

    /// The store that the origin falls back to.
    pub fn primary_store(&self) -> &StoreSetting {
        // `merge` refuses an empty list.
        &self.stores[0]
    }
}

/// The part target duration that holds `nominal`: whole AAC frames at 48 kHz, rounded up to 0.1 ms, because an
/// audio part that is longer than PART-TARGET makes AVPlayer refuse the whole asset. 200 ms give 213.4 ms.
pub fn part_target(nominal: Duration) -> Duration {
    let frames = nominal.as_nanos().div_ceil(AAC_FRAME_NANOS + 1).max(1);
    let nanos = (frames * 1024 * 1_000_000_000).div_ceil(48_000).div_ceil(100_000) * 100_000;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

fn duration(said: Option<HumanDuration>, default: Duration) -> Duration {
    said.map_or(default, |said| said.0)
}

fn tls(cert: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<TlsFiles>, ConfigError> {
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert, key })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(ConfigError::Invalid {
            setting: "tls_key",
            message: "--tls-cert is given without --tls-key: give both, or neither for plain HTTP".into(),
        }),
        (None, Some(_)) => Err(ConfigError::Invalid {
            setting: "tls_cert",
            message: "--tls-key is given without --tls-cert: give both, or neither for plain HTTP".into(),
        }),
    }
}

fn stores(flags: &Flags, env: &Flags, file: &File) -> Result<Vec<StoreSetting>, ConfigError> {
    let plain = |urls: &[String]| urls.iter().cloned().map(StoreEntry::Url).collect::<Vec<_>>();
    let entries = match (&flags.store[..], &env.store[..], &file.store) {
        ([], [], None) => plain(&["file:tailwater-data".to_owned()]),
        ([], [], Some(OneOrMany::One(url))) => plain(std::slice::from_ref(url)),
        ([], [], Some(OneOrMany::Many(entries))) => entries.clone(),
        ([], urls, _) | (urls, _, _) => plain(urls),
    };
    if entries.is_empty() {
        return Err(ConfigError::Invalid {
            setting: "store",
            message: "the list is empty: name at least one store, for example \"file:tailwater-data\"".into(),
        });
    }
    let settings =
        entries.into_iter().map(|entry| store(entry, file.store_max_bytes)).collect::<Result<Vec<_>, _>>()?;
    if settings.first().is_some_and(|first| first.ttl.is_some()) {
        return Err(ConfigError::Invalid {
            setting: "store",
            message: "the first store has the TTL of `ttl`; only further ones have their own".into(),
        });
    }
    Ok(settings)
}

/// A store URL says all there is about a store, so what the file says beside it becomes part of it.
fn store(entry: StoreEntry, max_bytes: Option<ByteSize>) -> Result<StoreSetting, ConfigError> {
    let invalid = |error: store::Error| ConfigError::Invalid { setting: "store", message: error.to_string() };
    let (mut text, own_ttl, own_max) = match entry {
        StoreEntry::Url(url) => (url, None, None),
        StoreEntry::Table(table) => (table.url, table.ttl, table.max_bytes),
    };
    let url = store::StoreUrl::parse(&text).map_err(invalid)?;
    let bounded = matches!(url.scheme(), store::Scheme::File | store::Scheme::Memory) && url.query("max").is_none();
    let max = own_max.or(max_bytes.filter(|_| bounded)).map(|max| ("max", max.0.to_string()));
    let ttl = own_ttl.map(|ttl| ("ttl", ttl.0.as_millis().to_string() + "ms"));
    for (name, value) in max.into_iter().chain(ttl) {
        let separator = if text.contains('?') { '&' } else { '?' };
        text = format!("{text}{separator}{name}={value}");
    }
    let url = store::StoreUrl::parse(&text).map_err(invalid)?;
    let ttl = url.ttl().map_err(invalid)?;
    Ok(StoreSetting { url, ttl })
}

fn ladder(file: &File) -> Result<LadderConfig, ConfigError> {
    let default = LadderConfig::default();
    let segment = duration(file.segment, rung::DEFAULT_SEGMENT);
    if segment != rung::DEFAULT_SEGMENT {
        return Err(ConfigError::Invalid {
            setting: "segment",
            message: format!("{} is not possible: segments last 1s; leave it out", HumanDuration(segment)),
        });
    }
    let part = duration(file.part, Duration::from_millis(200));
    if !(Duration::from_millis(50)..=Duration::from_millis(500)).contains(&part) {
        return Err(ConfigError::Invalid {
            setting: "part",
            message: format!("{} is not possible: a part lasts 50ms to 500ms", HumanDuration(part)),
        });
    }
    Ok(LadderConfig {
        rungs: file.ladder.clone().unwrap_or(default.rungs),
        audio_bitrate: file.audio_bitrate.unwrap_or(default.audio_bitrate),
        format: file.format.unwrap_or(default.format),
        low_latency: file.low_latency.unwrap_or(default.low_latency),
        part_target: part_target(part),
        segment,
        encoder: file.encoder.unwrap_or(default.encoder),
        passthrough: file.passthrough.unwrap_or(default.passthrough),
        preset: file.preset.clone().or(default.preset),
    })
}

fn on_loss(file: &File) -> Result<OnLoss, ConfigError> {
    let on_loss = file.on_loss.unwrap_or_default();
    let said = file.slate.as_ref().map(|_| "slate").or(file.slate_color.map(|_| "slate_color"));
    match said {
        Some(setting) if on_loss != OnLoss::Slate => {
            let message = "it has no effect without on_loss = \"slate\": add that, or leave it out";
            Err(ConfigError::Invalid { setting, message: message.into() })
        }
        _ => Ok(on_loss),
    }
}

fn allowed(file: &File) -> Result<Vec<AllowedSource>, ConfigError> {
    let written = file.allow_source.as_deref().unwrap_or_default();
    written
        .iter()
        .map(|text| text.parse().map_err(|message| ConfigError::Invalid { setting: "allow_source", message }))
        .collect()
}

fn limits(file: &File) -> Limits {
    let default = Limits::default();
    let table = file.limits.clone().unwrap_or_default();
    Limits {
        max_livestreams: table.max_livestreams.unwrap_or(default.max_livestreams),
        max_connections: table.max_connections.unwrap_or(default.max_connections),
        max_rtmp_connections: table.max_rtmp_connections.unwrap_or(default.max_rtmp_connections),
        max_waiters_per_livestream: table.max_waiters_per_livestream.unwrap_or(default.max_waiters_per_livestream),
        max_waiters: table.max_waiters.unwrap_or(default.max_waiters),
    }
}

fn load(file: &File) -> LoadSettings {
    let default = LoadSettings::default();
    let table = file.load.clone().unwrap_or_default();
    LoadSettings {
        admission: table.admission.unwrap_or(default.admission),
        shed: table.shed.unwrap_or(default.shed),
        max_load: table.max_load.unwrap_or(default.max_load),
        slowness: table.slowness,
        times: Times {
            behind: duration(table.behind, default.times.behind),
            ahead: duration(table.ahead, default.times.ahead),
            patience: duration(table.patience, default.times.patience),
            pause: duration(table.pause, default.times.pause),
            healthy: duration(table.healthy, default.times.healthy),
            healthy_max: default.times.healthy_max,
        },
    }
}

/// The value of the process's environment, for [`Resolved::load`].
pub fn process_env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Beside the embedded store's folder, else in the working directory.
fn default_state_file(resolved: &Resolved) -> PathBuf {
    let beside = data_folder(resolved).and_then(|folder| {
        let name = folder.file_name()?.to_str()?;
        Some(folder.with_file_name(format!("{name}-state.json")))
    });
    beside.unwrap_or_else(|| PathBuf::from("tailwater-state.json"))
}

/// Where the embedded store keeps its files, if there is one: what survives a restart may lie beside it.
pub fn data_folder(resolved: &Resolved) -> Option<&Path> {
    resolved
        .stores
        .iter()
        .map(|store| &store.url)
        .find(|url| url.scheme() == store::Scheme::File)
        .map(|url| Path::new(url.location()))
}
