//! The task of one livestream: it owns its state, others hold handles.
//!
//! ```text
//!            media            planned            source lost
//! waiting ──────────▶ probing ───────▶ running ──────────────▶ waiting (interrupted, until a deadline)
//!    │ deadline          ▲               │ FFmpeg died, configuration changed
//!    ▼                   └───────────────┘ (after a pause)
//!  over
//! ```
//!
//! Nothing here waits for a store or a viewer.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use hls::time::UnixTime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::feed::{Feed, FeedEvent};
use super::packager::{Output, Packager, PackagerConfig, SessionRendition};
use super::session::{Session, SessionEvent};
use super::shared::{Environment, Shared};
use super::types::{CreateRequest, LivestreamState, Problem};
use crate::ingest::Source;
use crate::ingest::backlog::Backlog;
use crate::ingest::probe::Probe;
use crate::ingest::source::{SourceEnd, SourceEvent, StampedTag};
use crate::ladder::{self, Plan, PlanError, SourceInfo};
use crate::publish::{self, Command, Publisher, PublisherConfig, sequence};
use crate::transcode::{Exit, Progress, Transcoder};

/// The source's last GOP is kept up to this many bytes, so that FFmpeg can be started again at once.
const BACKLOG_BYTES: usize = 8 << 20;
/// A source is judged by what came by then: a track that was promised and is not there is done without.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);
/// A local store has a segment long before that; a slow one is not waited for.
const STORE_FIRST_PATIENCE: Duration = Duration::from_millis(100);
/// FFmpeg may take this long to deliver what it has once its input is closed.
const DRAIN_PATIENCE: Duration = Duration::from_millis(1500);
/// The last segment and ENDLIST are in the store by then, if the store is well.
const LAST_WORDS: Duration = Duration::from_millis(1500);
/// Pause before FFmpeg is started again; doubled each time it dies within `HEALTHY`.
const RESTART_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_RESTART_PAUSE: Duration = Duration::from_secs(10);
/// A session that held so long was a good one.
const HEALTHY: Duration = Duration::from_secs(20);
/// FFmpeg that died so often without giving anything will not do better the next time.
const HOPELESS: u32 = 3;
/// FFmpeg takes input and gives nothing for so long: it hangs.
const STALL: Duration = Duration::from_secs(6);
/// The same before its first output.
const START_PATIENCE: Duration = Duration::from_secs(15);

/// Where the numbers of a broadcast begin, when this process knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// The next media sequence number.
    pub msn: u64,
    /// The next discontinuity sequence number.
    pub dsn: u64,
}

/// See the module.
pub(super) struct Task {
    request: CreateRequest,
    shared: Arc<Shared>,
    environment: Arc<Environment>,
    source: Source,
    end: CancellationToken,
    packager: Packager,
    publisher: publish::Handle,
    publishing: JoinHandle<()>,
    stored: mpsc::UnboundedReceiver<String>,
    mark: Option<sequence::Mark>,
    backlog: Backlog,
    source_present: bool,
    /// When waiting ends, and whether the end would be in order.
    deadline: Option<Instant>,
    last_end: Option<SourceEnd>,
    probing: Option<Probing>,
    active: Option<Active>,
    restart_at: Option<Instant>,
    restarts: u32,
    store_first_at: Option<Instant>,
    has_been_live: bool,
}

struct Probing {
    probe: Probe,
    tags: Vec<StampedTag>,
    /// Arrival of the first tag, or now: zero on the probe's clock.
    since: Instant,
}

impl Probing {
    fn new() -> Self {
        Self { probe: Probe::new(PROBE_PATIENCE), tags: Vec::new(), since: Instant::now() }
    }

    fn push(&mut self, tag: StampedTag) {
        if self.tags.is_empty() {
            self.since = tag.arrival;
        }
        self.probe.push(&tag.tag, tag.arrival.saturating_duration_since(self.since));
        self.tags.push(tag);
    }

    /// When the probe decides whatever came; not before anything did.
    fn decides_at(&self) -> Option<Instant> {
        (!self.tags.is_empty()).then(|| self.since + PROBE_PATIENCE + Duration::from_millis(1))
    }
}

struct Active {
    session: Session,
    feed: Feed,
    started: Instant,
    last_output: Option<Instant>,
    /// Its input is closed: until when it may deliver, and what comes after it.
    closing: Option<(Instant, After)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    /// Start again with the source as it is now.
    Restart,
    /// Wait for the source.
    Wait,
}

enum Wake {
    Source(Option<SourceEvent>),
    Session(Option<SessionEvent>),
    Stored(Option<String>),
    Timer,
    End,
}

impl Task {
    /// Prepares a livestream; `run` does the work.
    pub(super) async fn new(
        request: CreateRequest,
        shared: Arc<Shared>,
        environment: Arc<Environment>,
        source: Source,
        end: CancellationToken,
        publishing: CancellationToken,
        numbers: Option<Numbers>,
    ) -> Self {
        let config = packager_config(&request, environment.store.capabilities().local);
        let start = match numbers {
            Some(Numbers { msn, dsn }) => sequence::Start { next_msn: msn, next_dsn: dsn, ..Default::default() },
            None => {
                let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
                sequence::start(
                    &*environment.store,
                    request.name.as_str(),
                    &|rendition: &str| config.window_of(rendition),
                    unix,
                )
                .await
            }
        };
        let publisher_config = PublisherConfig {
            slug: request.name.as_str().to_owned(),
            ttl: request.ttl,
            segment: request.ladder.segment,
            spool: environment.spool.clone(),
            memory: environment.live_window.bytes,
        };
        let (stored_end, stored) = mpsc::unbounded_channel();
        let live = Arc::clone(&shared);
        let (publisher, handle) = Publisher::new(
            Arc::clone(&environment.store),
            publisher_config,
            Arc::new(move |key: &str| live.live().object(key)),
            Some(stored_end),
        );
        let publishing = environment.publishers.spawn(publisher.run(publishing));
        let packager = Packager::new(config, start.next_msn, start.next_dsn, start.windows, start.withhold_parts);
        let deadline = Some(Instant::now() + environment.source_timeout);
        Self {
            request,
            shared,
            environment,
            source,
            end,
            packager,
            publisher: handle,
            publishing,
            stored,
            mark: None,
            backlog: Backlog::new(BACKLOG_BYTES),
            source_present: false,
            deadline,
            last_end: None,
            probing: None,
            active: None,
            restart_at: None,
            restarts: 0,
            store_first_at: None,
            has_been_live: false,
        }
    }

    /// Runs the livestream to its end. The numbers the next broadcast of the name goes on with.
    pub(super) async fn run(mut self) -> Numbers {
        self.flush().await;
        if let Some(tags) = self.source.take_backlog() {
            self.attach(tags);
        }
        let problem = loop {
            self.flush().await;
            match self.next_wake().await {
                Wake::Source(Some(event)) => self.handle_source(event),
                Wake::Source(None) => break None,
                Wake::Session(Some(event)) => {
                    if let Some(problem) = self.handle_session(event) {
                        break Some(problem);
                    }
                }
                Wake::Session(None) => self.active = None,
                Wake::Stored(Some(key)) => self.packager.handle_stored(&key),
                Wake::Stored(None) | Wake::Timer => {}
                Wake::End => break None,
            }
            if let Some(over) = self.handle_timers() {
                break over;
            }
        };
        self.finish(problem).await
    }

    async fn next_wake(&mut self) -> Wake {
        let timer = self.next_timer();
        let session = async {
            match &mut self.active {
                Some(active) => active.session.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = session => Wake::Session(event),
            event = self.source.recv() => Wake::Source(event),
            key = self.stored.recv() => Wake::Stored(key),
            () = tokio::time::sleep_until(timer.into()) => Wake::Timer,
            () = self.end.cancelled() => Wake::End,
        }
    }

    fn next_timer(&self) -> Instant {
        let probing = self.probing.as_ref().and_then(Probing::decides_at);
        let closing = self.active.as_ref().and_then(|active| active.closing.map(|(until, _)| until));
        let stall = self.active.as_ref().map(Active::stalls_at);
        let timers = [self.deadline, probing, closing, stall, self.restart_at, self.store_first_at];
        // Something to wake for even when nothing is due: far enough away not to matter.
        timers.into_iter().flatten().min().unwrap_or_else(|| Instant::now() + Duration::from_secs(3600))
    }

    // ---- the source ----

    fn handle_source(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Connected => self.attach(Vec::new()),
            SourceEvent::Tag(tag) => self.handle_tag(tag),
            SourceEvent::Dropped(count) => {
                metrics::counter!("tailwater_source_tags_dropped_total").increment(count);
                tracing::warn!(stream = %self.request.name, count, "fell behind the source: tags were dropped up to a keyframe");
            }
            SourceEvent::Ended(end) => self.handle_source_end(end),
        }
    }

    /// The source is there, and has sent `tags` so far.
    fn attach(&mut self, tags: Vec<StampedTag>) {
        self.source_present = true;
        self.deadline = None;
        self.backlog = Backlog::new(BACKLOG_BYTES);
        tags.iter().for_each(|tag| self.backlog.push(tag));
        if self.active.is_none() {
            self.begin_probing();
        }
        self.shared.update(|status| status.source.connected = true);
    }

    fn handle_tag(&mut self, tag: StampedTag) {
        self.backlog.push(&tag);
        if let Some(probing) = &mut self.probing {
            probing.push(tag);
            self.try_start();
            return;
        }
        let Some(active) = &mut self.active else { return };
        if active.closing.is_some() {
            return;
        }
        match active.feed.push(tag, &active.session) {
            FeedEvent::Fed => {}
            FeedEvent::Dropped => metrics::counter!("tailwater_feed_tags_dropped_total").increment(1),
            FeedEvent::Changed(what) => {
                tracing::info!(stream = %self.request.name, what, "the source changed: going on with a discontinuity");
                active.close(After::Restart);
            }
        }
    }

    fn handle_source_end(&mut self, end: SourceEnd) {
        let now = Instant::now();
        self.source_present = false;
        self.probing = None;
        self.restart_at = None;
        if let Some(active) = &mut self.active {
            active.close(After::Wait);
        }
        let patience = match &end {
            SourceEnd::Clean => self.environment.end_grace,
            SourceEnd::Lost(_) => self.environment.reconnect_window,
            SourceEnd::Unreachable(_) if self.has_been_live => self.environment.reconnect_window,
            SourceEnd::Unreachable(_) => Duration::ZERO,
        };
        // A pull that cannot reconnect does not extend the window its first loss opened.
        self.deadline = Some(self.deadline.unwrap_or(now + patience).min(now + patience));
        if let SourceEnd::Lost(why) | SourceEnd::Unreachable(why) = &end {
            tracing::warn!(stream = %self.request.name, why, "the source is lost");
        }
        let problem = self.has_been_live.then(|| interruption(&end)).flatten();
        let interrupted = self.has_been_live;
        self.shared.update(|status| {
            status.source.connected = false;
            if interrupted {
                status.state = LivestreamState::Interrupted;
                status.error = problem;
            }
        });
        self.last_end = Some(end);
    }

    // ---- sessions ----

    fn begin_probing(&mut self) {
        let mut probing = Probing::new();
        self.backlog.replay().into_iter().for_each(|tag| probing.push(tag));
        self.probing = Some(probing);
        self.restart_at = None;
        self.try_start();
    }

    fn try_start(&mut self) {
        let Some(probing) = &mut self.probing else { return };
        let Some(info) = probing.probe.poll(probing.since.elapsed()) else { return };
        let Some(probing) = self.probing.take() else { return };
        if info.video.is_none() && info.audio.is_none() {
            return self.wait_for_media();
        }
        if let Err(problem) = self.start_session(&info, probing.tags) {
            tracing::error!(stream = %self.request.name, code = problem.code, error = problem.message, "cannot transcode");
            self.shared.fail(problem);
            self.end.cancel();
        }
    }

    fn start_session(&mut self, info: &SourceInfo, tags: Vec<StampedTag>) -> Result<(), Problem> {
        // The registry has asked before it accepted the request.
        let Some(capabilities) = self.environment.capabilities.get() else {
            return Err(Problem { code: "ffmpeg-unusable".to_owned(), message: "FFmpeg is not usable".to_owned() });
        };
        let plan = ladder::plan(info, &self.request.ladder, capabilities).map_err(|error| plan_problem(&error))?;
        let running = Transcoder::spawn(&self.environment.ffmpeg, &plan)
            .map_err(|error| Problem { code: "ffmpeg-failed".to_owned(), message: error.to_string() })?;
        let mut feed = Feed::new(info);
        let session = Session::start(running, &plan);
        let mut changed = false;
        for tag in tags {
            changed |= matches!(feed.push(tag, &session), FeedEvent::Changed(_));
        }
        let anchor = feed.anchor().unwrap_or_else(SystemTime::now);
        self.packager.begin_session(&session_renditions(&plan), unix_time(anchor));
        self.shared.show_source(info, &plan);
        tracing::info!(stream = %self.request.name, source = ?info, renditions = plan.renditions.len(), "transcoding");
        let mut active = Active { session, feed, started: Instant::now(), last_output: None, closing: None };
        if changed {
            active.close(After::Restart);
        }
        self.active = Some(active);
        Ok(())
    }

    fn handle_session(&mut self, event: SessionEvent) -> Option<Problem> {
        match event {
            SessionEvent::Slice(rendition, event) => {
                if let Some(active) = &mut self.active {
                    active.last_output = Some(Instant::now());
                    if let hls::slice::SliceEvent::Segment(segment) = &event {
                        let end = segment.start.saturating_add(segment.duration);
                        if let Some(wall) = active.feed.arrival_of(end) {
                            self.packager.observe(segment.index, end, unix_time(wall));
                        }
                    }
                }
                self.packager.handle_slice(&rendition, event);
            }
            SessionEvent::Progress(progress) => self.handle_progress(&progress),
            SessionEvent::Broken(rendition, error) => {
                tracing::error!(stream = %self.request.name, %rendition, %error, "FFmpeg's output makes no sense: starting it again");
            }
            SessionEvent::Over(exit) => return self.handle_over(&exit),
        }
        None
    }

    fn handle_progress(&mut self, progress: &Progress) {
        let speed = progress.speed;
        self.shared.update_quietly(|status| status.speed = speed);
    }

    fn handle_over(&mut self, exit: &Exit) -> Option<Problem> {
        self.packager.end_session();
        let active = self.active.take()?;
        let after = active.closing.map(|(_, after)| after);
        match after {
            Some(After::Wait) if !self.source_present => None,
            Some(_) => {
                self.begin_probing();
                None
            }
            None => self.handle_crash(exit, active.started.elapsed(), active.last_output.is_some()),
        }
    }

    /// FFmpeg ended by itself while the source went on.
    fn handle_crash(&mut self, exit: &Exit, lived: Duration, had_output: bool) -> Option<Problem> {
        let problem = Problem { code: "ffmpeg-died".to_owned(), message: exit_message(exit) };
        tracing::error!(stream = %self.request.name, error = problem.message, "FFmpeg died");
        metrics::counter!("tailwater_ffmpeg_deaths_total").increment(1);
        if !had_output && self.restarts >= HOPELESS {
            return Some(problem);
        }
        self.restarts = if lived > HEALTHY { 0 } else { self.restarts + 1 };
        let pause = RESTART_PAUSE.saturating_mul(1 << self.restarts.min(8)).min(LONGEST_RESTART_PAUSE);
        let jitter = 0.75 + fastrand::f64() / 2.0;
        self.restart_at = Some(Instant::now() + pause.mul_f64(jitter));
        let interrupted = self.has_been_live;
        self.shared.update(|status| {
            status.error = Some(problem);
            if interrupted {
                status.state = LivestreamState::Interrupted;
            }
        });
        None
    }

    // ---- timers ----

    /// `Some` when the livestream is over: with what problem, if any.
    fn handle_timers(&mut self) -> Option<Option<Problem>> {
        let now = Instant::now();
        if self.store_first_at.is_some_and(|at| now >= at) {
            self.store_first_at = None;
            self.packager.handle_store_timeout();
        }
        self.try_start();
        if self.restart_at.is_some_and(|at| now >= at) {
            self.restart_at = None;
            if self.source_present && self.active.is_none() {
                self.begin_probing();
            }
        }
        if let Some(active) = &self.active {
            let overdue = active.closing.is_some_and(|(until, _)| now >= until);
            if overdue || now >= active.stalls_at() {
                if !overdue {
                    tracing::error!(stream = %self.request.name, "FFmpeg takes input and gives nothing: killing it");
                }
                active.session.kill();
            }
            return None;
        }
        if self.deadline.is_some_and(|at| now >= at) {
            return Some(self.waited_too_long());
        }
        None
    }

    /// Something came, but no media: the source may still be starting.
    fn wait_for_media(&mut self) {
        self.probing = Some(Probing::new());
        if self.deadline.is_none() && !self.has_been_live {
            self.deadline = Some(Instant::now() + self.environment.source_timeout);
        }
    }

    fn waited_too_long(&self) -> Option<Problem> {
        if self.has_been_live {
            return None;
        }
        let (code, message) = match &self.last_end {
            Some(SourceEnd::Unreachable(why)) => ("source-unreachable", why.clone()),
            Some(SourceEnd::Lost(why)) => {
                ("source-lost", format!("the source was lost before its first segment: {why}"))
            }
            Some(SourceEnd::Clean) => ("source-ended", "the source ended before its first segment".to_owned()),
            None => (
                "source-timeout",
                "nobody published to this stream key in time: start the encoder, then POST again".to_owned(),
            ),
        };
        Some(Problem { code: code.to_owned(), message })
    }

    // ---- output ----

    /// Does what the packager asks for.
    async fn flush(&mut self) {
        while let Some(output) = self.packager.poll_output() {
            match output {
                Output::Init(key, payload) => self.shared.live().insert_init(key, payload),
                Output::Part(key, payload, date) => self.shared.live().insert_part(key, payload, date),
                Output::Segment(key, payload, date) => {
                    metrics::counter!("tailwater_segments_total").increment(1);
                    metrics::counter!("tailwater_media_bytes_total").increment(payload.len() as u64);
                    self.shared.live().insert_segment(key, payload, date);
                }
                Output::Show(name, snapshot) => self.shared.live().show(&name, snapshot),
                Output::Multivariants(playlists) => self.shared.live().show_multivariants(playlists),
                Output::Publish(command) => self.publisher.send(command).await,
            }
        }
        let now = Instant::now();
        match (self.packager.waits_for_store(), self.store_first_at) {
            (true, None) => self.store_first_at = Some(now + STORE_FIRST_PATIENCE),
            (false, Some(_)) => self.store_first_at = None,
            _ => {}
        }
        let mark = sequence::Mark::ahead(self.mark, self.packager.next_number(), self.packager.discontinuities());
        if self.mark != Some(mark) && self.packager.has_session() {
            self.mark = Some(mark);
            self.publisher.send(Command::Sequence(mark)).await;
        }
        self.tell();
    }

    /// Brings the status up to date.
    fn tell(&mut self) {
        let is_live =
            self.active.as_ref().is_some_and(|active| active.last_output.is_some() && active.closing.is_none())
                && self.packager.is_playable();
        if is_live && self.shared.state() != LivestreamState::Live {
            if !self.has_been_live {
                tracing::info!(stream = %self.request.name, url = format!("/live/{}/playlist.m3u8", self.request.name), "live");
            }
            self.has_been_live = true;
            self.deadline = None;
            self.shared.update(|status| {
                status.state = LivestreamState::Live;
                status.started_at.get_or_insert_with(SystemTime::now);
                status.error = None;
            });
        }
        let (packager, store) = (&self.packager, self.publisher.status());
        self.shared.update_quietly(|status| {
            for rendition in &mut status.renditions {
                if let Some((next_msn, bandwidth)) = packager.progress(&rendition.name) {
                    (rendition.next_msn, rendition.bandwidth) = (next_msn, bandwidth);
                }
            }
            status.discontinuities = packager.discontinuities();
            status.store = vec![super::shared::store_status(&store)];
        });
    }

    // ---- the end ----

    async fn finish(mut self, problem: Option<Problem>) -> Numbers {
        if let Some(active) = &mut self.active {
            active.close(After::Wait);
        }
        let until = tokio::time::Instant::now() + DRAIN_PATIENCE;
        while let Some(active) = &mut self.active {
            match tokio::time::timeout_at(until, active.session.next()).await {
                Ok(Some(SessionEvent::Over(_)) | None) => self.active = None,
                Ok(Some(SessionEvent::Slice(rendition, event))) => {
                    self.packager.handle_slice(&rendition, event);
                    self.flush().await;
                }
                Ok(Some(_)) => {}
                Err(_) => {
                    active.session.kill();
                    self.active = None;
                }
            }
        }
        self.packager.end();
        self.flush().await;
        // A store that is out of reach is tried further, but not waited for.
        let _ = tokio::time::timeout(LAST_WORDS, &mut self.publishing).await;
        let failed = problem.is_some() || self.shared.state() == LivestreamState::Failed;
        let name = &self.request.name;
        match &problem {
            Some(problem) => tracing::error!(stream = %name, code = problem.code, error = problem.message, "failed"),
            None if !failed => tracing::info!(stream = %name, "ended: everything is transcoded, ENDLIST is written"),
            None => {}
        }
        self.shared.update(|status| {
            status.state = if failed { LivestreamState::Failed } else { LivestreamState::Ended };
            status.source.connected = false;
            status.ended_at = Some(SystemTime::now());
            status.speed = None;
            status.error = problem.or(status.error.take()).filter(|_| failed);
        });
        Numbers { msn: self.packager.next_number(), dsn: self.packager.discontinuities() + 1 }
    }
}

impl Active {
    fn close(&mut self, after: After) {
        self.session.close();
        self.closing.get_or_insert((Instant::now() + DRAIN_PATIENCE, after)).1 = after;
    }

    /// When FFmpeg counts as hung: it is being fed, and nothing comes.
    fn stalls_at(&self) -> Instant {
        match (self.last_output, self.feed.last_fed()) {
            (None, _) => self.started + START_PATIENCE,
            (Some(output), Some(fed)) if fed > output => output + STALL,
            // Nothing was fed since: that it is silent is no wonder.
            _ => Instant::now() + STALL,
        }
    }
}

fn packager_config(request: &CreateRequest, local: bool) -> PackagerConfig {
    let ladder = &request.ladder;
    let cmaf = ladder.format == ladder::Format::Cmaf;
    PackagerConfig {
        slug: request.name.as_str().to_owned(),
        window: hls::window::WindowConfig {
            target_duration: target_duration(ladder),
            window: request.window,
            part_target: ladder.low_latency.then_some(ladder.part_target),
            version_map: cmaf,
            uri_prefix: request.name.as_str().to_owned(),
            extension: if cmaf { "m4s" } else { "ts" }.to_owned(),
        },
        low_latency: ladder.low_latency,
        store_first: local,
    }
}

/// Seconds that no segment rounds to more than. A copied rung is cut at the source's own keyframes, which may be up to a
/// second after each boundary.
fn target_duration(ladder: &ladder::LadderConfig) -> u32 {
    let nominal = u32::try_from(ladder.segment.as_secs()).unwrap_or(1).max(1);
    if ladder.passthrough == ladder::Passthrough::Never { nominal } else { nominal * 2 }
}

fn session_renditions(plan: &Plan) -> Vec<SessionRendition> {
    plan.renditions
        .iter()
        .map(|planned| SessionRendition {
            name: planned.name.clone(),
            audio_only: planned.video.is_none(),
            bandwidth: planned.bandwidth_bound,
            average_bandwidth: planned.average_bound,
        })
        .collect()
}

fn plan_problem(error: &PlanError) -> Problem {
    let code = match error {
        PlanError::NoTracks => "no-media",
        PlanError::NoPicture { .. } => "no-picture",
        PlanError::SourceNeedsNewerFfmpeg { .. } => "codec-unsupported",
        PlanError::NoEncoder { .. } | PlanError::HardwareMissing { .. } => "no-encoder",
        _ => "bad-ladder",
    };
    Problem { code: code.to_owned(), message: error.to_string() }
}

fn exit_message(exit: &Exit) -> String {
    let how = match (exit.code, exit.signal) {
        (_, Some(signal)) => format!("was killed by signal {signal}"),
        (Some(code), None) => format!("ended with exit code {code}"),
        (None, None) => "ended".to_owned(),
    };
    let said = exit.last_lines.join("; ");
    if said.is_empty() { format!("FFmpeg {how} and said nothing") } else { format!("FFmpeg {how}: {said}") }
}

fn interruption(end: &SourceEnd) -> Option<Problem> {
    let (code, message) = match end {
        SourceEnd::Clean => return None,
        SourceEnd::Lost(why) => ("source-lost", format!("the source is lost ({why}): waiting for it to come back")),
        SourceEnd::Unreachable(why) => ("source-unreachable", format!("{why}: trying again")),
    };
    Some(Problem { code: code.to_owned(), message })
}

fn unix_time(time: SystemTime) -> UnixTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixTime(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
