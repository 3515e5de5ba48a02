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
//! While the source is lost, a slate may run in its place (`slate`). `source` is the left half, `supervise` the right half,
//! whose decisions are those of [`transcode::machine`](crate::transcode::machine); `load` sheds what the machine cannot do;
//! `copying` decides when the source is the top rung; `output` does what the packager asks for. Nothing here waits for a
//! store or a viewer.

mod copying;
mod load;
mod output;
mod problem;
mod slate;
mod source;
mod supervise;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::packager::{Packager, PackagerConfig};
use super::session::SessionEvent;
use super::shared::{Environment, Shared};
use super::types::{CreateRequest, LivestreamState, Problem};
use crate::ingest::Source;
use crate::ingest::backlog::Backlog;
use crate::ingest::source::{SourceEnd, SourceEvent};
use crate::ladder::{self, Plan};
use crate::publish::{self, Publisher, PublisherConfig, sequence};
use crate::transcode::Machine;
use copying::Copying;
use load::Load;
use source::Probing;
use supervise::Active;

/// The source's last GOP is kept up to this many bytes, so that FFmpeg can be started again at once.
const BACKLOG_BYTES: usize = 8 << 20;
/// FFmpeg may take this long to deliver what it has when the livestream is ended.
const DRAIN_PATIENCE: Duration = Duration::from_millis(1200);
/// The last segment and ENDLIST are in the store by then, if the store is well.
const LAST_WORDS: Duration = Duration::from_millis(600);

/// Where the numbers of a broadcast begin, when this process knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// The next media sequence number.
    pub msn: u64,
    /// The next discontinuity sequence number.
    pub dsn: u64,
}

/// How a livestream begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beginning {
    /// Its numbers, when this process knows them.
    pub(super) numbers: Option<Numbers>,
    /// An earlier process had it.
    pub(super) resumed: bool,
}

/// What stops a livestream and its publisher.
#[derive(Debug, Clone)]
pub(super) struct Stops {
    /// Its owner ends it.
    pub(super) end: CancellationToken,
    /// The next process goes on with it: it stops without an end.
    pub(super) suspend: CancellationToken,
    /// Its publisher stops, whatever it still has.
    pub(super) publishing: CancellationToken,
}

/// See the module.
pub(super) struct Task {
    request: CreateRequest,
    shared: Arc<Shared>,
    environment: Arc<Environment>,
    source: Source,
    stops: Stops,
    packager: Packager,
    publisher: publish::Handle,
    publishing: JoinHandle<()>,
    stored: mpsc::UnboundedReceiver<String>,
    record: Option<sequence::Record>,
    backlog: Backlog,
    source_present: bool,
    /// When waiting for the source ends.
    deadline: Option<Instant>,
    last_end: Option<SourceEnd>,
    /// The source was there, and said goodbye.
    ended_in_order: bool,
    probing: Option<Probing>,
    /// Decides when FFmpeg is started and ended while there is a source.
    machine: Option<Machine>,
    active: Option<Active>,
    copying: Copying,
    /// What was made of the source last: what a slate goes on with.
    lost_plan: Option<Plan>,
    /// The supervisor's FFmpeg is a slate's.
    plays_slate: bool,
    /// The slate can never be shown.
    slate_broken: bool,
    /// What it does with less than was asked for, and when.
    load: Load,
    /// A hardware encoder that had passed its test did not work for this livestream.
    without_hardware: bool,
    store_first_at: Option<Instant>,
    has_been_live: bool,
    /// It can never work: what the loop ends with.
    failure: Option<Problem>,
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
        stops: Stops,
        beginning: Beginning,
    ) -> Self {
        let local = environment.store.capabilities().local;
        let mut config = packager_config(&request, local);
        let copying = Copying::new(request.ladder.passthrough);
        let start = match beginning.numbers {
            Some(Numbers { msn, dsn }) => sequence::Start { next_msn: msn, next_dsn: dsn, ..Default::default() },
            None => {
                let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
                let rules = |rendition: &str| restored_window(&config, &request.ladder, rendition);
                sequence::start(&*environment.store, request.name.as_str(), &rules, unix).await
            }
        };
        let (stored_end, stored) = mpsc::unbounded_channel();
        let live = Arc::clone(&shared);
        let (publisher, handle) = Publisher::new(
            Arc::clone(&environment.store),
            publisher_config(&request, &environment),
            Arc::new(move |key: &str| live.live().object(key)),
            Some(stored_end),
        );
        let publishing = environment.publishers.spawn(publisher.run(stops.publishing.clone()));
        // Players know it already: what is waited for is the source's return, not its first coming.
        let goes_on = beginning.resumed && (!start.windows.is_empty() || (!local && start.next_msn > 0));
        if let Some((_, window)) = start.windows.first() {
            config.window.target_duration = window.snapshot().target_duration();
        }
        let packager = Packager::new(config, start);
        // A backup is given as long as the main source.
        let sources = 1 + u32::from(request.backup.is_some());
        let mut patience = environment.source_timeout * sources;
        if goes_on {
            patience = patience.max(environment.reconnect_window);
            shared.update(|status| {
                status.state = LivestreamState::Interrupted;
                status.error = Some(problem::restarted());
            });
        }
        let load = Load::new(&environment.capacity, &request.ladder);
        Self {
            request,
            shared,
            environment,
            source,
            stops,
            packager,
            publisher: handle,
            publishing,
            stored,
            record: None,
            backlog: Backlog::new(BACKLOG_BYTES),
            source_present: false,
            deadline: Some(Instant::now() + patience),
            last_end: None,
            ended_in_order: false,
            probing: None,
            machine: None,
            active: None,
            copying,
            lost_plan: None,
            plays_slate: false,
            slate_broken: false,
            load,
            without_hardware: false,
            store_first_at: None,
            has_been_live: goes_on,
            failure: None,
        }
    }

    /// Runs the livestream to its end. The numbers the next broadcast of the name goes on with.
    pub(super) async fn run(mut self) -> Numbers {
        if let Some(tags) = self.source.take_backlog() {
            self.attach(tags);
        }
        loop {
            self.flush().await;
            match self.next_wake().await {
                Wake::Source(Some(event)) => self.handle_source(event),
                Wake::Session(Some(event)) => self.handle_session(event),
                Wake::Session(None) => self.active = None,
                Wake::Stored(Some(key)) => self.packager.handle_stored(&key),
                Wake::Stored(None) | Wake::Timer => {}
                Wake::End | Wake::Source(None) => break,
            }
            if self.handle_timers() || self.failure.is_some() {
                break;
            }
        }
        self.finish().await
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
            () = self.stops.end.cancelled() => Wake::End,
            () = self.stops.suspend.cancelled() => Wake::End,
        }
    }

    fn next_timer(&self) -> Instant {
        let timers = [
            // What FFmpeg still delivers is waited for.
            self.deadline.filter(|_| self.active.is_none()),
            self.plays_slate.then(|| Instant::now() + slate::TICK),
            self.probing.as_ref().and_then(Probing::decides_at),
            self.machine.as_ref().and_then(Machine::next_timeout),
            self.store_first_at,
        ];
        // Something to wake for even when nothing is due: far enough away not to matter.
        timers.into_iter().flatten().min().unwrap_or_else(|| Instant::now() + Duration::from_secs(3600))
    }

    /// Whether the livestream is over.
    fn handle_timers(&mut self) -> bool {
        let now = Instant::now();
        if self.store_first_at.is_some_and(|at| now >= at) {
            self.store_first_at = None;
            self.packager.handle_store_timeout();
        }
        self.try_start();
        if let Some(machine) = &mut self.machine {
            machine.handle_timeout(now);
            self.supervise();
        }
        self.tick_slate(now);
        self.watch_load(now);
        // What FFmpeg still delivers is waited for.
        let over = self.active.is_none() && self.deadline.is_some_and(|at| now >= at);
        if over {
            self.failure = self.waited_too_long();
        }
        over
    }

    async fn finish(mut self) -> Numbers {
        if let Some(active) = &mut self.active {
            active.close();
        }
        let until = tokio::time::Instant::now() + DRAIN_PATIENCE;
        while let Some(active) = &mut self.active {
            match tokio::time::timeout_at(until, active.session.next()).await {
                Ok(Some(SessionEvent::Slices(rendition, events))) => {
                    self.packager.handle_slices(&rendition, events);
                    self.flush().await;
                }
                Ok(Some(SessionEvent::Progress(_) | SessionEvent::Broken(..))) => {}
                // Dropping the session kills what is left of it.
                Ok(Some(SessionEvent::Over(_)) | None) | Err(_) => self.active = None,
            }
        }
        let suspended = self.is_suspended();
        if suspended {
            self.leave().await;
        } else {
            self.packager.end();
        }
        self.flush().await;
        // A store that is out of reach is tried further, but not waited for.
        let _ = tokio::time::timeout(LAST_WORDS, &mut self.publishing).await;
        if suspended {
            tracing::info!(stream = %self.request.name, "suspended: it goes on after the restart");
        } else {
            self.say_goodbye();
        }
        Numbers { msn: self.packager.next_number(), dsn: self.packager.discontinuities() + 1 }
    }

    /// Whatever else happened: from the first word of a restart on only its owner ends it.
    fn is_suspended(&self) -> bool {
        self.stops.suspend.is_cancelled() && !self.stops.end.is_cancelled() && self.failure.is_none()
    }

    /// The numbers are certain now: the next process goes on without a hole, whatever the store.
    async fn leave(&mut self) {
        self.packager.leave();
        if let Some(record) = &mut self.record {
            let (next, discontinuities) = (self.packager.next_number(), self.packager.discontinuities());
            record.mark = sequence::Mark { media_sequence: next, discontinuity_sequence: discontinuities + 1 };
            self.publisher.send(publish::Command::Sequence(record.clone())).await;
        }
    }

    fn say_goodbye(&mut self) {
        let name = &self.request.name;
        for gauge in ["tailwater_load_level", "tailwater_load_lag_seconds"] {
            metrics::gauge!(gauge, "stream" => name.to_string()).set(0.0);
        }
        match &self.failure {
            Some(problem) => tracing::error!(stream = %name, code = problem.code, error = problem.message, "failed"),
            None => tracing::info!(stream = %name, "ended: everything is transcoded, ENDLIST is written"),
        }
        let failure = self.failure.take();
        let (packager, store) = (&self.packager, self.publisher.status());
        self.shared.update(|status| {
            output::bring_up_to_date(status, packager, &store);
            status.state = if failure.is_some() { LivestreamState::Failed } else { LivestreamState::Ended };
            status.source.connected = false;
            status.ended_at = Some(SystemTime::now());
            status.speed = None;
            status.error = failure;
        });
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

fn publisher_config(request: &CreateRequest, environment: &Environment) -> PublisherConfig {
    PublisherConfig {
        slug: request.name.as_str().to_owned(),
        ttl: request.ttl,
        segment: request.ladder.segment,
        spool: environment.spool.clone(),
        memory: environment.live_window.bytes,
    }
}

/// Seconds that no segment rounds to more than; for `passthrough = "always"` until the first session says more.
fn target_duration(ladder: &ladder::LadderConfig) -> u32 {
    u32::try_from(ladder.segment.as_secs()).unwrap_or(1).max(1)
}

/// The rules of a playlist that an earlier process left. Where the source's key frames gave the target duration, it is
/// known from there only.
fn restored_window(
    config: &PackagerConfig,
    ladder: &ladder::LadderConfig,
    rendition: &str,
) -> hls::window::WindowConfig {
    let mut window = config.window_of(rendition);
    if ladder.passthrough == ladder::Passthrough::Always {
        window.target_duration = 0;
    }
    window
}
