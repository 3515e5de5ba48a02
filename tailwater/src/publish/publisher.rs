//! The task that writes one livestream to the store.
//!
//! It never waits for the store itself: puts run beside it, bounded in number and bytes, and their results come back as
//! events. So its inbox is always emptied, and the livestream that fills it never waits either.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hls::window::{SegmentInfo, Window, WindowConfig};
use store::{At, Error, ErrorKind, Incident, Key, MediaStore, Operation, Payload, PutOptions};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::schedule::ONE_ATTEMPT;
use super::sequence::{self, Record, invalid};
use super::spool::Spool;
use super::status::{StoreState, StoreStatus};
use super::track::{Entry, Track};
use super::uploads::{Held, Outcome, SpoolFile, Uploads};

/// What the livestream may be ahead of the publisher's loop.
const INBOX: usize = 1024;
/// Media is put at most this often at once: enough to hide 900 ms a put behind six puts a second.
const PUTS: usize = 16;
/// Bytes of media under way at once.
const PUT_BYTES: usize = 48 << 20;
/// A put that has not answered by then is counted as failed.
const PUT_TIMEOUT: Duration = Duration::from_secs(10);
/// A playlist is worth less: the next one comes within a second.
const PLAYLIST_TIMEOUT: Duration = Duration::from_secs(4);
/// Media that alone keeps failing for so many segment durations becomes a gap.
const PATIENCE_SEGMENTS: u32 = 5;

/// What a publisher needs to know for its whole life.
#[derive(Debug, Clone)]
pub struct PublisherConfig {
    /// The livestream's name in keys.
    pub slug: String,
    /// Time to live of every object.
    pub ttl: Duration,
    /// Nominal segment duration.
    pub segment: Duration,
    /// Where media waits once it left the live window.
    pub spool: Option<Spool>,
    /// Bytes of waiting media that may be held in memory beside the live window's.
    pub memory: usize,
}

/// A segment on its way.
#[derive(Debug, Clone)]
pub struct SegmentCommand {
    /// The rendition that lists it.
    pub rendition: String,
    /// Its media sequence number.
    pub msn: u64,
    /// Discontinuities up to and including it.
    pub discontinuity_sequence: u64,
    /// It follows a discontinuity.
    pub discontinuity: bool,
    /// The media initialization section it needs.
    pub init: Option<String>,
    /// Its line in the playlist; the URI is its key.
    pub info: SegmentInfo,
    /// Its bytes; none for a gap, or when another rendition's media is named.
    pub payload: Option<Payload>,
}

/// What the livestream tells its publisher.
#[derive(Debug)]
pub enum Command {
    /// A rendition begins, or goes on where a restored window left off.
    Rendition {
        /// Its name.
        name: String,
        /// Its playlist's rules.
        config: WindowConfig,
        /// Its playlist so far.
        window: Box<Window>,
    },
    /// A media initialization section.
    Init(String, Payload),
    /// A segment.
    Segment(Box<SegmentCommand>),
    /// The multivariant playlist, in full. Renditions come before it.
    Multivariant(String),
    /// The numbers and renditions in use, for those who come after a crash.
    Sequence(Record),
    /// No more segments: ENDLIST.
    End,
    /// No more segments from this process: the playlists stay open for the next.
    Leave,
}

/// The livestream's end of the line.
#[derive(Debug, Clone)]
pub struct Handle {
    inbox: mpsc::Sender<Command>,
    status: watch::Receiver<StoreStatus>,
}

impl Handle {
    /// Hands a command over. The publisher's loop takes it at once, whatever the store does.
    pub async fn send(&self, command: Command) {
        // A closed inbox means the publisher was cancelled: the livestream is being torn down.
        let _ = self.inbox.send(command).await;
    }

    /// How the store does.
    pub fn status(&self) -> StoreStatus {
        self.status.borrow().clone()
    }

    /// Changes of how the store does.
    pub fn watch(&self) -> watch::Receiver<StoreStatus> {
        self.status.clone()
    }
}

/// Finds what the live window still holds, by key.
pub type FindLive = Arc<dyn Fn(&str) -> Option<Payload> + Send + Sync>;

// What is stored is reported here, in the order it happens.
type StoredSender = mpsc::UnboundedSender<String>;

/// The task's state.
pub struct Publisher {
    config: PublisherConfig,
    store: Arc<dyn MediaStore>,
    live: FindLive,
    inbox: mpsc::Receiver<Command>,
    status: watch::Sender<StoreStatus>,
    stored: Option<StoredSender>,
    tracks: Vec<Track>,
    uploads: Uploads,
    jobs: JoinSet<Done>,
    spilling: bool,
    round: bool,
    round_failures: u32,
    round_at: Instant,
    multivariant: Option<String>,
    multivariant_dirty: bool,
    multivariant_stored: bool,
    record: Option<Record>,
    record_dirty: bool,
    /// The record has been written, so its absence means the store was emptied.
    recorded: bool,
    refresh_at: Instant,
    ending: bool,
    trouble: Incident,
    losses: Incident,
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("slug", &self.config.slug).field("store", &self.store).finish_non_exhaustive()
    }
}

enum Done {
    Media { id: u64, key: String, result: Result<(), Error> },
    Spilled { id: u64, file: SpoolFile, result: std::io::Result<()> },
    Round(Round),
}

/// One round of playlists: the record looked at, then everything that changed.
struct Round {
    wiped: bool,
    tracks: Vec<(String, u64)>,
    multivariant: bool,
    record: Option<Record>,
    error: Option<Error>,
}

impl Publisher {
    /// A publisher and the handle to it; `run` does the work. `live` finds what the live window still holds.
    pub fn new(
        store: Arc<dyn MediaStore>,
        config: PublisherConfig,
        live: FindLive,
        stored: Option<StoredSender>,
    ) -> (Self, Handle) {
        let (sender, inbox) = mpsc::channel(INBOX);
        let (status, watch) = watch::channel(StoreStatus { url: store.to_string(), ..StoreStatus::default() });
        let now = now();
        let refresh_at = now + config.ttl / 4;
        let publisher = Self {
            config,
            store,
            live,
            inbox,
            status,
            stored,
            tracks: Vec::new(),
            uploads: Uploads::default(),
            jobs: JoinSet::new(),
            spilling: false,
            round: false,
            round_failures: 0,
            round_at: now,
            multivariant: None,
            multivariant_dirty: false,
            multivariant_stored: false,
            record: None,
            record_dirty: false,
            recorded: false,
            refresh_at,
            ending: false,
            trouble: Incident::default(),
            losses: Incident::default(),
        };
        (publisher, Handle { inbox: sender, status: watch })
    }

    /// Works until the end is written, the livestream is gone, or `cancel` says that it must stop here.
    pub async fn run(mut self, cancel: CancellationToken) {
        loop {
            self.advance();
            if self.is_finished() {
                return;
            }
            let wake = tokio::time::Instant::from_std(self.next_wake());
            tokio::select! {
                command = self.inbox.recv(), if !self.ending => match command {
                    Some(command) => self.handle_command(command),
                    None => self.handle_command(Command::End),
                },
                Some(done) = self.jobs.join_next() => match done {
                    Ok(done) => self.handle_done(done),
                    Err(error) => tracing::error!(%error, "a put ended abnormally"),
                },
                () = tokio::time::sleep_until(wake) => {}
                () = cancel.cancelled() => return,
            }
        }
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Rendition { name, config, window } => {
                if !self.tracks.iter().any(|track| track.name == name) {
                    self.tracks.push(Track::new(name, config, *window));
                }
            }
            Command::Init(key, payload) => self.uploads.push(key, payload, now()),
            Command::Segment(segment) => self.handle_segment(*segment),
            Command::Multivariant(text) => {
                self.multivariant_dirty |= self.multivariant.as_deref() != Some(&text);
                self.multivariant = Some(text);
            }
            Command::Sequence(record) => {
                self.record_dirty |= self.record.as_ref() != Some(&record);
                self.record = Some(record);
            }
            Command::End => {
                self.ending = true;
                self.tracks.iter_mut().for_each(Track::end);
            }
            Command::Leave => self.ending = true,
        }
    }

    fn handle_segment(&mut self, segment: SegmentCommand) {
        let Some(track) = self.tracks.iter_mut().find(|track| track.name == segment.rendition) else { return };
        let uri = segment.info.uri.clone();
        track.push(Entry {
            msn: segment.msn,
            discontinuity_sequence: segment.discontinuity_sequence,
            discontinuity: segment.discontinuity,
            init: segment.init,
            info: segment.info,
            since: now(),
        });
        if let Some(payload) = segment.payload {
            self.uploads.push(uri, payload, now());
        }
    }

    fn handle_done(&mut self, done: Done) {
        match done {
            Done::Media { id, key, result: Ok(()) } => {
                if let Some((lag, file)) = self.uploads.stored(id, now()) {
                    metrics::histogram!("tailwater_store_lag_seconds").record(lag.as_secs_f64());
                    self.release(file);
                    if let Some(stored) = &self.stored {
                        let _ = stored.send(key);
                    }
                }
                self.recovered();
            }
            Done::Media { id, key, result: Err(error) } => {
                if super::schedule::is_final(&error) {
                    self.tell_loss(&key, &error);
                    let file = self.uploads.lose(id);
                    self.release(file);
                } else {
                    self.uploads.failed(id, error.kind(), now(), fastrand::f64());
                }
                self.failing(&error);
            }
            Done::Spilled { id, file, result } => {
                self.spilling = false;
                match result {
                    Ok(()) => self.uploads.spooled(id, file.path),
                    Err(error) => {
                        self.tell_loss(&file.path.display(), &error);
                        self.release(Some(file));
                        self.uploads.lose(id);
                    }
                }
            }
            Done::Round(round) => self.handle_round(round),
        }
    }

    fn handle_round(&mut self, round: Round) {
        self.round = false;
        if round.wiped {
            self.start_over();
            return;
        }
        for (name, version) in &round.tracks {
            if let Some(track) = self.tracks.iter_mut().find(|track| track.name == *name) {
                for since in track.published(*version) {
                    let lag = now().saturating_duration_since(since);
                    metrics::histogram!("tailwater_store_listed_seconds").record(lag.as_secs_f64());
                }
            }
        }
        if round.multivariant {
            (self.multivariant_dirty, self.multivariant_stored) = (false, true);
        }
        if let Some(record) = round.record {
            self.recorded = true;
            self.record_dirty = self.record != Some(record);
        }
        match round.error {
            Some(error) => {
                self.round_failures += 1;
                self.round_at = now() + super::schedule::pause(error.kind(), self.round_failures, fastrand::f64());
                self.failing(&error);
            }
            None => {
                self.round_failures = 0;
                self.recovered();
            }
        }
    }

    /// The store answers, and has nothing: it was restarted empty. What the live window still holds is written again.
    fn start_over(&mut self) {
        tracing::warn!(store = %self.store, stream = self.config.slug, "the store lost everything: writing again what is still in memory");
        metrics::counter!("tailwater_store_wipes_total").increment(1);
        self.recorded = false;
        self.record_dirty = true;
        (self.multivariant_dirty, self.multivariant_stored) = (self.multivariant.is_some(), false);
        let live = Arc::clone(&self.live);
        self.tracks.iter_mut().for_each(|track| track.forget(|key| live(key).is_some()));
        // What waits is put anyway. What was put, listed or not, is gone; what was lost before stays so.
        let mut waiting = self.uploads.doubt();
        for key in self.tracks.iter().flat_map(Track::needs) {
            if self.uploads.outcome(key) == Some(Outcome::Lost) || !waiting.insert(key.to_owned()) {
                continue;
            }
            match live(key) {
                Some(payload) => self.uploads.push(key.to_owned(), payload, now()),
                None => self.uploads.note(key, Outcome::Lost),
            }
        }
    }

    /// Everything that can be started now.
    fn advance(&mut self) {
        let now = now();
        if now >= self.refresh_at {
            self.refresh_at = now + self.config.ttl / 4;
            self.tracks.iter_mut().for_each(Track::refresh);
            self.multivariant_dirty = self.multivariant.is_some();
            self.record_dirty = self.record.is_some();
        }
        for file in self.uploads.give_up(now, self.config.segment * PATIENCE_SEGMENTS) {
            self.release(Some(file));
        }
        for track in &mut self.tracks {
            track.settle(&self.uploads);
        }
        let tracks = &self.tracks;
        self.uploads.forget_outcomes(|key| tracks.iter().any(|track| track.wants(key)) || key.contains("_init"));
        while let Some(put) = self.uploads.start(now, PUTS, PUT_BYTES) {
            self.start_put(put.id, put.key, put.held);
        }
        self.spill();
        self.start_round(now);
        self.report();
    }

    fn start_put(&mut self, id: u64, key: String, held: Held) {
        let store = Arc::clone(&self.store);
        let ttl = self.config.ttl;
        self.jobs.spawn(async move {
            let result = put_media(&*store, &key, held, ttl).await;
            Done::Media { id, key, result }
        });
    }

    /// What has left the live window and the store does not take goes to disk, one object at a time.
    fn spill(&mut self) {
        if self.spilling || self.uploads.memory_bytes() <= self.config.memory {
            return;
        }
        let Some((id, key, payload)) = self.uploads.spill(|key| (self.live)(key).is_some()) else { return };
        let bytes = payload.len();
        let Some((spool, path)) =
            self.config.spool.clone().and_then(|spool| spool.reserve(bytes).map(|path| (spool, path)))
        else {
            self.tell_loss(&key, &"neither memory nor the spool has room for it");
            self.uploads.lose(id);
            return;
        };
        self.spilling = true;
        self.jobs.spawn(async move {
            let result = spool.write(&path, &payload).await;
            Done::Spilled { id, file: SpoolFile { path, bytes }, result }
        });
    }

    fn release(&self, file: Option<SpoolFile>) {
        if let (Some(file), Some(spool)) = (file, &self.config.spool) {
            spool.release(file.path, file.bytes);
        }
    }

    /// Puts every playlist that changed, unless a round is under way: the next one takes the newest.
    fn start_round(&mut self, now: Instant) {
        if self.round || now < self.round_at {
            return;
        }
        let capabilities = self.store.capabilities();
        let playlists: Vec<PlaylistPut> = self
            .tracks
            .iter()
            .filter_map(|track| {
                let (version, text) = track.unpublished()?;
                let replace = track.is_listed() && capabilities.replaces;
                Some(PlaylistPut { rendition: track.name.clone(), version, text, replace })
            })
            .collect();
        let multivariant = self.multivariant.clone().filter(|_| self.multivariant_is_due());
        let multivariant = multivariant.map(|text| (text, self.multivariant_stored && capabilities.replaces));
        let shows_a_wipe = !playlists.is_empty() && playlists.iter().all(|put| put.replace);
        let record = self.record.clone().filter(|_| self.record_dirty);
        if playlists.is_empty() && multivariant.is_none() && record.is_none() {
            return;
        }
        self.round = true;
        let job = RoundJob {
            store: Arc::clone(&self.store),
            slug: self.config.slug.clone(),
            ttl: self.config.ttl,
            check: self.recorded && !capabilities.local && !shows_a_wipe,
            playlists,
            multivariant,
            record,
        };
        self.jobs.spawn(async move { Done::Round(job.run().await) });
    }

    /// It is news, and the playlists it names are there.
    fn multivariant_is_due(&self) -> bool {
        let Some(text) = self.multivariant.as_ref().filter(|_| self.multivariant_dirty) else { return false };
        let names = |track: &&Track| text.contains(&format!("{}_{}_playlist.m3u8", self.config.slug, track.name));
        let mut named = self.tracks.iter().filter(names).peekable();
        named.peek().is_some() && named.all(Track::is_listed)
    }

    fn next_wake(&self) -> Instant {
        let mut wake = self.refresh_at;
        if let Some(retry) = self.uploads.next_retry() {
            wake = wake.min(retry.max(now() + Duration::from_millis(1)));
        }
        if !self.round && self.round_at > now() {
            wake = wake.min(self.round_at);
        }
        wake
    }

    fn is_finished(&self) -> bool {
        self.ending
            && !self.round
            && self.uploads.is_empty()
            && self.tracks.iter().all(Track::is_settled)
            && !self.multivariant_is_due()
            && !self.record_dirty
    }

    /// The first of several losses is worth a line; each is counted as a gap.
    fn tell_loss(&mut self, what: &dyn fmt::Display, reason: &dyn fmt::Display) {
        if self.losses.failed(tokio::time::Instant::now()) {
            tracing::error!(store = %self.store, stream = self.config.slug, object = %what, %reason, "this will never be in the store: a gap for its readers; others like it are counted, and this is said once");
        }
    }

    fn failing(&mut self, error: &Error) {
        if self.trouble.failed(tokio::time::Instant::now()) {
            tracing::warn!(store = %self.store, stream = self.config.slug, %error, "the store does not take what it is given: keeping it until it does, and this is said once");
        }
        let throttled = error.kind() == ErrorKind::Throttle;
        let state = if throttled { StoreState::Throttled } else { StoreState::Failing };
        self.status.send_if_modified(|status| {
            let text = error.to_string();
            let is_news = status.state != state || status.error.as_deref() != Some(&text);
            (status.state, status.error) = (state, Some(text));
            is_news
        });
    }

    fn recovered(&mut self) {
        if self.uploads.next_failure().is_some() || self.round_failures > 0 {
            return;
        }
        let now = tokio::time::Instant::now();
        self.losses.succeeded(now);
        if let Some(over) = self.trouble.succeeded(now) {
            tracing::info!(store = %self.store, stream = self.config.slug, failures = over.failures, lasted = ?over.lasted, "the store takes everything again");
        }
        self.status.send_if_modified(|status| {
            let is_news = status.state != StoreState::Ok;
            (status.state, status.error) = (StoreState::Ok, None);
            is_news
        });
    }

    fn report(&self) {
        let waiting = self.uploads.len();
        let gaps: u64 = self.tracks.iter().map(Track::gaps).sum();
        metrics::gauge!("tailwater_store_waiting_objects", "stream" => self.config.slug.clone()).set(waiting as f64);
        self.status.send_if_modified(|status| {
            if gaps > status.gaps {
                metrics::counter!("tailwater_store_gaps_total").increment(gaps - status.gaps);
            }
            let is_news = status.waiting != waiting || status.gaps != gaps;
            (status.waiting, status.gaps) = (waiting, gaps);
            is_news
        });
    }
}

struct RoundJob {
    store: Arc<dyn MediaStore>,
    slug: String,
    ttl: Duration,
    /// Look for the record first: nothing that is put would show that the store lost everything.
    check: bool,
    playlists: Vec<PlaylistPut>,
    /// The text, and whether it replaces one.
    multivariant: Option<(String, bool)>,
    record: Option<Record>,
}

struct PlaylistPut {
    rendition: String,
    version: u64,
    text: String,
    /// One is in the store: its absence means that nothing is there any more.
    replace: bool,
}

impl RoundJob {
    async fn run(self) -> Round {
        let mut round = Round { wiped: false, tracks: Vec::new(), multivariant: false, record: None, error: None };
        if self.check {
            match within(&*self.store, &self.slug, sequence::is_there(&*self.store, &self.slug)).await {
                Ok(true) => {}
                Ok(false) => return Round { wiped: true, ..round },
                Err(error) => return Round { error: Some(error), ..round },
            }
        }
        if let Some(record) = self.record {
            match within(&*self.store, &self.slug, sequence::write(&*self.store, &self.slug, &record, self.ttl)).await {
                Ok(()) => round.record = Some(record),
                Err(error) => round.error = Some(error),
            }
        }
        let puts = self.playlists.into_iter().map(|PlaylistPut { rendition, version, text, replace }| {
            let key = format!("{}_{rendition}_playlist.m3u8", self.slug);
            let store = &*self.store;
            async move { (rendition, version, put_text(store, &key, text, self.ttl, replace).await) }
        });
        for (name, version, result) in futures_util::future::join_all(puts).await {
            match result {
                Ok(()) => round.tracks.push((name, version)),
                Err(Error::NotFound { .. }) => round.wiped = true,
                Err(error) => round.error = Some(error),
            }
        }
        // The multivariant playlist comes last: it lists playlists that are there.
        if let (Some((text, replace)), None, false) = (self.multivariant, &round.error, round.wiped) {
            let key = format!("{}_playlist.m3u8", self.slug);
            match put_text(&*self.store, &key, text, self.ttl, replace).await {
                Ok(()) => round.multivariant = true,
                Err(Error::NotFound { .. }) => round.wiped = true,
                Err(error) => round.error = Some(error),
            }
        }
        round
    }
}

async fn put_media(store: &dyn MediaStore, key: &str, held: Held, ttl: Duration) -> Result<(), Error> {
    let key = parse(store, key)?;
    let payload = match held {
        Held::Memory(payload) => payload,
        Held::Spooled(path) => match Spool::read(&path).await {
            Ok(payload) => payload,
            Err(error) => return Err(invalid(store, format!("its file in the spool cannot be read: {error}"))),
        },
    };
    let options = PutOptions::new(&key, ttl)
        .cache_control(format!("public, max-age={}, immutable", ttl.as_secs()))
        .budget(ONE_ATTEMPT);
    bounded(store, &key, PUT_TIMEOUT, store.put(&key, payload, &options)).await
}

async fn put_text(store: &dyn MediaStore, key: &str, text: String, ttl: Duration, replace: bool) -> Result<(), Error> {
    let key = parse(store, key)?;
    // Half a segment, the shortest that is not zero.
    let options = PutOptions::new(&key, ttl).cache_control("public, max-age=1").budget(ONE_ATTEMPT).replace(replace);
    bounded(store, &key, PLAYLIST_TIMEOUT, store.put(&key, Payload::from(text), &options)).await
}

/// The record is read and written within the time of a playlist: a store that hangs must not stop the rounds.
async fn within<T>(
    store: &dyn MediaStore,
    slug: &str,
    exchange: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let key = parse(store, &format!("{slug}_sequence"))?;
    bounded(store, &key, PLAYLIST_TIMEOUT, exchange).await
}

async fn bounded<T>(
    store: &dyn MediaStore,
    key: &Key,
    limit: Duration,
    put: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(limit, put)
        .await
        .unwrap_or_else(|_| Err(Error::Timeout { at: At::key(store, Operation::Put, key), after: limit }))
}

fn parse(store: &dyn MediaStore, key: &str) -> Result<Key, Error> {
    Key::parse(key).map_err(|error| invalid(store, error.to_string()))
}

/// The clock of the runtime, so that tests can turn it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
