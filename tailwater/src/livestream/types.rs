//! What the API and the registry of livestreams say to each other.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use serde::{Serialize, Serializer};
use tokio::sync::broadcast;
use utoipa::ToSchema;

use super::name::StreamName;
use crate::{
    config::Secret,
    control::source_url::SourceUrl,
    ingest::source::Side,
    ladder::{Format, LadderConfig},
};

/// A livestream that somebody wants, checked as far as that goes without the network.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateRequest {
    /// What keys and URLs begin with.
    pub name: StreamName,
    /// The name as the user wrote it.
    pub title: String,
    /// Where the media comes from.
    pub source: SourceRequest,
    /// Where it comes from while `source` is lost.
    pub backup: Option<SourceRequest>,
    /// The ladder and what goes with it.
    pub ladder: LadderConfig,
    /// How much of the past a playlist lists.
    pub window: Duration,
    /// How long the store keeps an object.
    pub ttl: Duration,
    /// Start although this machine would be over its capacity.
    pub force: bool,
}

/// Where the media of a livestream comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceRequest {
    /// Pulled from elsewhere by FFmpeg.
    Pull(SourceUrl),
    /// Published to our own RTMP server at the application and key of this URL, before or after the request.
    Own(SourceUrl),
    /// Published to our own RTMP server with a key that the registry makes up.
    Push,
}

impl SourceRequest {
    /// Whether both are the same stream, however they are written.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Own(one), Self::Own(other)) => (one.app(), one.key()) == (other.app(), other.key()),
            (Self::Pull(one), Self::Pull(other)) => {
                let stream =
                    |url: &SourceUrl| (url.host().clone(), url.port(), url.app().to_owned(), url.key().to_owned());
                stream(one) == stream(other)
            }
            (one, other) => one == other,
        }
    }
}

/// What the registry answers to a request it accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The livestream.
    pub name: StreamName,
    /// The key to publish with, for [`SourceRequest::Push`]. The same when the request is repeated.
    pub stream_key: Option<Secret>,
    /// The request was a repetition: nothing was started.
    pub existing: bool,
}

/// Why the registry accepts no livestream.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// A different livestream of that name is live.
    #[error("{name} is live with another source or other settings: end it first, or choose another name")]
    Conflict {
        /// The name.
        name: StreamName,
    },
    /// As many livestreams as the configuration allows are live.
    #[error("{limit} livestreams are live, which is all this server may run: end one, or raise limits.max_livestreams")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// FFmpeg is missing or cannot do what was asked for.
    #[error("{message}")]
    Ffmpeg {
        /// What is missing and what to do.
        message: String,
    },
    /// Running livestreams shed load already.
    #[error("this machine cannot keep up with the livestreams it runs: end one, or send \"force\": true")]
    OverCapacity,
    /// The RTMP server, which the source needs, is off.
    #[error("the RTMP server is off (--rtmp none): give an rtmpUrl to pull from")]
    RtmpOff,
    /// The server is about to stop.
    #[error("the server is shutting down")]
    ShuttingDown,
}

/// Why a livestream cannot be ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndError {
    /// There is none of that name.
    #[error("there is no livestream {name}")]
    NotFound {
        /// The name.
        name: StreamName,
    },
}

/// How far a livestream is. It is live while `starting`, `live` or `interrupted`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LivestreamState {
    /// Waiting for the source, or for its first segment.
    Starting,
    /// Segments are coming.
    Live,
    /// The source is lost, or FFmpeg is being restarted; the playlists stay.
    Interrupted,
    /// Over, in order.
    Ended,
    /// Over, with an error.
    Failed,
}

impl LivestreamState {
    /// Whether a request for the same name is a repetition or a conflict, rather than a new broadcast.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Starting | Self::Live | Self::Interrupted)
    }

    /// As in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Live => "live",
            Self::Interrupted => "interrupted",
            Self::Ended => "ended",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for LivestreamState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A livestream as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// What keys and URLs begin with.
    #[schema(value_type = String)]
    pub name: StreamName,
    /// The key of the multivariant playlist.
    pub stream: String,
    /// The name as the user wrote it.
    pub title: String,
    /// How far it is.
    pub state: LivestreamState,
    /// Where the media comes from, and what it is once that is known.
    pub source: SourceStatus,
    /// What is made of it. Empty until the source is known.
    pub renditions: Vec<RenditionStatus>,
    /// How each store is doing, the primary one first.
    pub store: Vec<StoreStatus>,
    /// Why it failed, was interrupted, or does less than was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
    /// The container of segments.
    pub format: Format,
    /// Whether there is a low-latency playlist.
    pub low_latency: bool,
    /// How much of the past a playlist lists, as a duration string.
    #[serde(serialize_with = "duration")]
    #[schema(value_type = String)]
    pub window: Duration,
    /// How long the store keeps an object, as a duration string.
    #[serde(serialize_with = "duration")]
    #[schema(value_type = String)]
    pub ttl: Duration,
    /// When it was asked for.
    #[serde(serialize_with = "date")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: SystemTime,
    /// When its first segment was there.
    #[serde(serialize_with = "maybe_date", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<SystemTime>,
    /// When it ended or failed.
    #[serde(serialize_with = "maybe_date", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<SystemTime>,
    /// Encoding speed against real time, where FFmpeg says it: below 1 it falls behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speed: Option<f64>,
    /// How it keeps up, and what it does without. None until the source is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadStatus>,
    /// Discontinuities so far.
    pub discontinuities: u64,
}

/// Where the media comes from, and what it is once that is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// `pull`, `push` or `own`.
    pub kind: String,
    /// The URL without its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The URL of the backup without its key, where there is a backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_url: Option<String>,
    /// Which of the two is used, where there is a backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<Side>,
    /// Whether media is arriving.
    pub connected: bool,
    /// The video track.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video: Option<VideoStatus>,
    /// The audio track.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<AudioStatus>,
}

/// A source's video track.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VideoStatus {
    /// `h264`, `hevc`, `av1`, ...
    pub codec: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame_rate: Option<f64>,
}

/// A source's audio track.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AudioStatus {
    /// `aac`, `mp3`, ...
    pub codec: String,
    /// Hertz.
    pub sample_rate: u32,
    /// How many.
    pub channels: u32,
}

/// What is made of the source.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RenditionStatus {
    /// As in keys and URIs.
    pub name: String,
    /// Pixels; none in an audio rendition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Pixels; none in an audio rendition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Frames a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame_rate: Option<f64>,
    /// `encode` or `copy`.
    pub action: String,
    /// Peak bit rate, bit/s.
    pub bandwidth: u64,
    /// The next media sequence number.
    pub next_msn: u64,
}

/// How a livestream keeps up, and what it does without.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoadStatus {
    /// Steps that are shed; 0: everything is made that was asked for.
    pub level: usize,
    /// Steps that can be shed.
    pub levels: usize,
    /// Rungs that are left out. Their playlists go on with the media of the next rung below.
    pub dropped: Vec<String>,
    /// The preset of the highest rung that is encoded; `tuned` for the default settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// Cores it takes, by prediction, once the speed of this machine is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<f64>,
    /// Seconds of media that went in and have not come out yet.
    pub lag: f64,
}

/// How a store is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoreStatus {
    /// The store, without its credentials.
    pub url: String,
    /// `idle`, `ok`, `throttled` or `failing`.
    pub state: String,
    /// Objects waiting to be stored.
    pub waiting: usize,
    /// Segments that were never stored: gaps in the store's playlists.
    pub gaps: u64,
    /// The last failure, while there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Kebab-case, for programs.
    pub code: String,
    /// A sentence, for people.
    pub message: String,
}

/// A publisher that no livestream wants yet.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaitingPublisher {
    /// Its RTMP application.
    pub app: String,
    /// What a POST gives as `rtmpUrl` to take it. Has the stream key in it: for those who may use the API.
    pub rtmp_url: String,
    /// Its address.
    pub peer: String,
    /// Since when.
    #[serde(serialize_with = "date")]
    #[schema(value_type = String, format = DateTime)]
    pub since: SystemTime,
}

/// Something changed.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum Event {
    /// A livestream was asked for, or its state, error or renditions changed.
    Livestream(Box<Status>),
    /// A publisher waits for a livestream.
    Waiting(WaitingPublisher),
    /// A publisher waits no longer: it is gone, or a livestream took it.
    WaitingOver(WaitingPublisher),
}

impl Event {
    /// The name of the server-sent event.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Livestream(_) => "livestream",
            Self::Waiting(_) => "waiting",
            Self::WaitingOver(_) => "waiting-over",
        }
    }
}

/// The livestreams of this server, as the API sees them.
#[async_trait]
pub trait Livestreams: fmt::Debug + Send + Sync + 'static {
    /// Starts a livestream, or tells that the same one is live. Does not wait for the network.
    async fn create(&self, request: CreateRequest) -> Result<Created, CreateError>;
    /// One livestream, live or lately over.
    fn get(&self, name: &StreamName) -> Option<Status>;
    /// All of them, in the order of their names.
    fn list(&self) -> Vec<Status>;
    /// Ends a livestream and waits until its ENDLIST is served and FFmpeg is gone. One that is over already is `Ok`.
    async fn end(&self, name: &StreamName) -> Result<(), EndError>;
    /// What changes from now on. Who lags too far behind reads the list again.
    fn events(&self) -> broadcast::Receiver<Event>;
    /// Publishers that no livestream wants yet.
    fn waiting(&self) -> Vec<WaitingPublisher>;
    /// Why this server cannot do its work now (no FFmpeg, a primary store that is down, shutting down); empty when
    /// it can.
    async fn unready(&self) -> Vec<Problem>;
}

fn duration<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*duration))
}

fn date<S: Serializer>(date: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_millis(*date))
}

fn maybe_date<S: Serializer>(date: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    match date {
        Some(date) => self::date(date, serializer),
        None => serializer.serialize_none(),
    }
}
