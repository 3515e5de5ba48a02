//! One run of FFmpeg for a livestream: FLV goes in, slices come out as events.
//!
//! A reader a pipe does nothing but read, cut and hand over: a pipe left unread stalls all of FFmpeg.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hls::slice::{CmafSlicer, KeyRate, SliceConfig, SliceError, SliceEvent, Slicer, TsSlicer};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ladder::{Format, Plan, PlannedVideo, VideoAction};
use crate::transcode::{Exit, Handle, Progress, Running};

/// What a read from a pipe can bring at most.
const READ: usize = 256 << 10;
/// Tags that may wait for FFmpeg to read them, beside those a session begins with: about five seconds.
const FEED: usize = 512;
/// Events that may wait for the livestream's task.
const EVENTS: usize = 256;
/// A segment longer than its share at this many times the ladder's highest rate is a runaway.
const MAX_SEGMENT_BYTES: usize = 64 << 20;
/// FFmpeg has closed its pipes: its exit status follows at once, unless it hangs.
const EXIT_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// What a session has to say.
#[derive(Debug)]
pub(super) enum SessionEvent {
    /// A rendition's slicer: all that one read from its pipe completed.
    Slices(Arc<str>, Vec<SliceEvent>),
    /// FFmpeg's report.
    Progress(Progress),
    /// A rendition's output makes no sense; the session is being killed.
    Broken(Arc<str>, SliceError),
    /// Everything has been delivered and FFmpeg is gone. The last event.
    Over(Exit),
}

/// The livestream's hold on a session. Dropping it kills FFmpeg.
#[derive(Debug)]
pub(super) struct Session {
    feed: Option<mpsc::Sender<Bytes>>,
    abandoned: CancellationToken,
    events: mpsc::Receiver<SessionEvent>,
    handle: Arc<Handle>,
    backlog: VecDeque<SessionEvent>,
}

impl Session {
    /// Feeds and reads a running FFmpeg, which gets `first` tags at once.
    pub(super) fn start(running: Running, plan: &Plan, first: usize) -> Self {
        let Running { stdin, outputs, progress, handle } = running;
        let (feed, feed_end) = mpsc::channel(FEED + first);
        let (events_end, events) = mpsc::channel(EVENTS);
        let handle = Arc::new(handle);
        let (exit_end, exit) = watch::channel(None);
        let abandoned = CancellationToken::new();
        tokio::spawn(write_feed(stdin, feed_end, abandoned.clone()));
        tokio::spawn(forward_progress(progress, events_end.clone()));
        let mut readers = JoinSet::new();
        for (name, pipe) in outputs {
            let slicer = slicer(plan, &name);
            readers.spawn(read(name.into(), pipe, slicer, events_end.clone(), exit.clone(), Arc::clone(&handle)));
        }
        tokio::spawn(watch_over(Arc::clone(&handle), readers, exit_end, events_end));
        Self { feed: Some(feed), abandoned, events, handle, backlog: VecDeque::new() }
    }

    /// Hands FLV bytes to FFmpeg. False when it is too far behind to take them.
    pub(super) fn feed(&self, bytes: Bytes) -> bool {
        // After `close` there is nobody to feed, which is not FFmpeg's fault.
        self.feed.as_ref().is_none_or(|feed| !matches!(feed.try_send(bytes), Err(mpsc::error::TrySendError::Full(_))))
    }

    /// No more input: FFmpeg delivers what it still has and exits.
    pub(super) fn close(&mut self) {
        self.feed = None;
    }

    /// No more input, and what FFmpeg has not taken yet is dropped: it is late already.
    pub(super) fn abandon(&mut self) {
        self.abandoned.cancel();
        self.close();
    }

    /// Asks FFmpeg to end (SIGTERM).
    pub(super) fn terminate(&self) {
        self.handle.terminate();
    }

    /// Ends FFmpeg (SIGKILL).
    pub(super) fn kill(&self) {
        self.handle.kill();
    }

    /// The next event; none after `Over`. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<SessionEvent> {
        match self.backlog.pop_front() {
            Some(event) => Some(event),
            None => self.events.recv().await,
        }
    }
}

fn slicer(plan: &Plan, rendition: &str) -> Box<dyn Slicer> {
    let planned = plan.renditions.iter().find(|planned| planned.name == rendition);
    let config = SliceConfig {
        segment: plan.segment,
        part_frames: planned.and_then(|planned| planned.part_frames),
        origin: plan.origin,
        max_segment_bytes: MAX_SEGMENT_BYTES,
        frame_duration: planned.map(|planned| planned.frame_duration),
        keys: promised_keys(plan),
    };
    match plan.format {
        Format::Ts => Box::new(TsSlicer::new(config)),
        Format::Cmaf => Box::new(CmafSlicer::new(config)),
    }
}

/// Where keyframes are told to be, if it is FFmpeg that makes them: those of a source come as they please.
fn promised_keys(plan: &Plan) -> Option<KeyRate> {
    let copied = |video: &PlannedVideo| matches!(video.action, VideoAction::Copy);
    let any_copied = plan.renditions.iter().filter_map(|planned| planned.video.as_ref()).any(copied);
    plan.key_rate.filter(|_| !any_copied).map(|rate| KeyRate { num: rate.num, den: rate.den })
}

async fn write_feed(mut stdin: impl AsyncWrite + Unpin, mut feed: mpsc::Receiver<Bytes>, abandoned: CancellationToken) {
    while let Some(bytes) = abandoned.run_until_cancelled(feed.recv()).await.flatten() {
        // FFmpeg is gone: its exit says why.
        if stdin.write_all(&bytes).await.is_err() {
            break;
        }
    }
    feed.close();
    let dropped = std::iter::from_fn(|| feed.try_recv().ok()).count();
    if abandoned.is_cancelled() {
        metrics::counter!("tailwater_feed_tags_dropped_total").increment(dropped as u64);
    }
}

async fn forward_progress(mut progress: mpsc::Receiver<Progress>, events: mpsc::Sender<SessionEvent>) {
    while let Some(report) = progress.recv().await {
        if events.send(SessionEvent::Progress(report)).await.is_err() {
            return;
        }
    }
}

async fn read(
    name: Arc<str>,
    mut pipe: pipe::Receiver,
    mut slicer: Box<dyn Slicer>,
    events: mpsc::Sender<SessionEvent>,
    mut exit: watch::Receiver<Option<Exit>>,
    handle: Arc<Handle>,
) {
    let mut buffer = BytesMut::with_capacity(READ);
    let mut result = Ok(());
    while result.is_ok() {
        buffer.reserve(READ / 4);
        match pipe.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(_) => result = slicer.push(buffer.split().freeze()),
        }
        if !forward(&name, &mut *slicer, &events).await {
            return;
        }
    }
    if result.is_ok() {
        let clean = {
            let exited = tokio::time::timeout(EXIT_PATIENCE, exit.wait_for(Option::is_some)).await;
            matches!(exited, Ok(Ok(exit)) if exit.as_ref().is_some_and(|exit| exit.clean))
        };
        result = slicer.finish(clean);
        forward(&name, &mut *slicer, &events).await;
    }
    if let Err(error) = result {
        handle.kill();
        let _ = events.send(SessionEvent::Broken(name, error)).await;
    }
}

/// False when the livestream is gone.
async fn forward(name: &Arc<str>, slicer: &mut dyn Slicer, events: &mpsc::Sender<SessionEvent>) -> bool {
    let slices: Vec<SliceEvent> = std::iter::from_fn(|| slicer.poll()).collect();
    slices.is_empty() || events.send(SessionEvent::Slices(Arc::clone(name), slices)).await.is_ok()
}

async fn watch_over(
    handle: Arc<Handle>,
    mut readers: JoinSet<()>,
    exit_end: watch::Sender<Option<Exit>>,
    events: mpsc::Sender<SessionEvent>,
) {
    let exit = handle.wait().await;
    exit_end.send_replace(Some(exit.clone()));
    while readers.join_next().await.is_some() {}
    let _ = events.send(SessionEvent::Over(exit)).await;
}
