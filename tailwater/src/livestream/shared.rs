//! What a livestream's task shares with the API and the origin, and what all livestreams share.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use store::MediaStore;
use tokio::sync::{OnceCell, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::live_window::{LiveWindow, LiveWindowLimits};
use super::types::{
    AudioStatus, CreateRequest, Event, LivestreamState, RenditionStatus, SourceRequest, SourceStatus, Status,
    StoreStatus, VideoStatus,
};
use crate::control::source_url::SourceRules;
use crate::ingest::hub::Hub;
use crate::ingest::source::Side;
use crate::ladder::{Plan, SourceInfo, VideoAction};
use crate::load::Capacity;
use crate::origin::Desk;
use crate::publish::{self, Spool, StoreState};
use crate::transcode::{Capabilities, ProbeError, Slate, capabilities};

/// What every livestream of this process works with.
#[derive(Debug)]
pub struct Environment {
    /// Where media goes.
    pub store: Arc<dyn MediaStore>,
    /// Where publishers are met.
    pub hub: Hub,
    /// FFmpeg, found or configured.
    pub ffmpeg: PathBuf,
    /// What the machine takes, and what runs on it.
    pub capacity: Arc<Capacity>,
    /// What it can do, once it was found to do enough.
    pub capabilities: OnceCell<Capabilities>,
    /// Which hosts may be pulled from.
    pub source_rules: SourceRules,
    /// How much of a livestream is kept in memory.
    pub live_window: LiveWindowLimits,
    /// Requests that may wait for one livestream's next part at a time.
    pub max_waiters: usize,
    /// Where media waits for a store that is out of reach.
    pub spool: Option<Spool>,
    /// How long a livestream waits for its source to begin.
    pub source_timeout: Duration,
    /// How long after a clean end the source may still come back.
    pub end_grace: Duration,
    /// How long after a loss it may.
    pub reconnect_window: Duration,
    /// What viewers get meanwhile.
    pub slate: Option<Slate>,
    /// Publishers at work: the last playlists are written by them after the livestreams are over.
    pub publishers: TaskTracker,
    /// Stops the publishers, whatever they still have.
    pub shutdown: CancellationToken,
}

impl Environment {
    /// What FFmpeg can do. Asked again each time until it can do what is needed: it may be installed meanwhile.
    pub async fn capabilities(&self) -> Result<&Capabilities, ProbeError> {
        self.capabilities.get_or_try_init(|| capabilities::probe(&self.ffmpeg)).await
    }
}

/// One livestream, as others see it.
#[derive(Debug)]
pub struct Shared {
    status: Mutex<Status>,
    live: LiveWindow,
    desk: Desk,
    events: broadcast::Sender<Event>,
}

impl Shared {
    /// A livestream that was just asked for.
    pub(super) fn new(request: &CreateRequest, environment: &Environment, events: broadcast::Sender<Event>) -> Self {
        let shared = Self {
            status: Mutex::new(initial_status(request)),
            live: LiveWindow::new(environment.live_window),
            desk: Desk::new(environment.max_waiters),
            events,
        };
        shared.update(|_| {});
        shared
    }

    /// Its newest media and playlists.
    pub fn live(&self) -> &LiveWindow {
        &self.live
    }

    /// The origin's place in it.
    pub(super) fn own_desk(&self) -> &Desk {
        &self.desk
    }

    /// How it is doing.
    pub fn status(&self) -> Status {
        self.lock().clone()
    }

    /// Its state.
    pub fn state(&self) -> LivestreamState {
        self.lock().state
    }

    /// Changes the status and tells everybody.
    pub(super) fn update(&self, change: impl FnOnce(&mut Status)) {
        let status = {
            let mut status = self.lock();
            change(&mut status);
            status.clone()
        };
        // Nobody may be listening.
        let _ = self.events.send(Event::Livestream(Box::new(status)));
    }

    /// Changes figures that are too many to tell of; the next one who asks sees them.
    pub(super) fn update_quietly(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.lock());
    }

    /// The source is known, and what becomes of it.
    pub(super) fn show_source(&self, info: &SourceInfo, plan: &Plan) {
        self.update(|status| {
            status.source.video = info.video.as_ref().map(|video| VideoStatus {
                codec: video.codec.to_string(),
                width: video.width,
                height: video.height,
                frame_rate: video.frame_rate,
            });
            status.source.audio = info.audio.as_ref().map(|audio| AudioStatus {
                codec: audio.codec.to_string(),
                sample_rate: audio.sample_rate,
                channels: audio.channels,
            });
            status.renditions = plan.renditions.iter().map(rendition_status).collect();
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn initial_status(request: &CreateRequest) -> Status {
    let (kind, url) = match &request.source {
        SourceRequest::Pull(url) => ("pull", Some(url.to_string())),
        SourceRequest::Own(url) => ("own", Some(url.to_string())),
        SourceRequest::Push => ("push", None),
    };
    let backup_url = request.backup.as_ref().map(|backup| match backup {
        SourceRequest::Pull(url) | SourceRequest::Own(url) => url.to_string(),
        SourceRequest::Push => "push".to_owned(),
    });
    let active = backup_url.is_some().then_some(Side::Main);
    Status {
        name: request.name.clone(),
        stream: format!("{}_playlist.m3u8", request.name),
        title: request.title.clone(),
        state: LivestreamState::Starting,
        source: SourceStatus { kind: kind.to_owned(), url, backup_url, active, ..SourceStatus::default() },
        renditions: Vec::new(),
        store: Vec::new(),
        error: None,
        format: request.ladder.format,
        low_latency: request.ladder.low_latency,
        window: request.window,
        ttl: request.ttl,
        created_at: SystemTime::now(),
        started_at: None,
        ended_at: None,
        speed: None,
        load: None,
        discontinuities: 0,
    }
}

fn rendition_status(planned: &crate::ladder::PlannedRendition) -> RenditionStatus {
    let video = planned.video.as_ref();
    RenditionStatus {
        name: planned.name.clone(),
        width: video.map(|video| video.width),
        height: video.map(|video| video.height),
        frame_rate: video.map(|video| video.frame_rate.as_f64()),
        action: if video.is_some_and(|video| video.action == VideoAction::Copy) { "copy" } else { "encode" }.to_owned(),
        bandwidth: planned.bandwidth_bound,
        next_msn: 0,
    }
}

pub(super) fn store_status(status: &publish::StoreStatus) -> StoreStatus {
    StoreStatus {
        url: status.url.clone(),
        state: match status.state {
            StoreState::Idle => "idle",
            StoreState::Ok => "ok",
            StoreState::Throttled => "throttled",
            StoreState::Failing => "failing",
        }
        .to_owned(),
        waiting: status.waiting,
        gaps: status.gaps,
        error: status.error.clone(),
    }
}
