//! The media on its way to the store: what is waiting, what is under way, what is tried again when. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use store::{ErrorKind, Payload};

use super::schedule;

/// Where the bytes of an upload are.
#[derive(Debug, Clone)]
pub(super) enum Held {
    /// In memory: shared with the live window while that has them.
    Memory(Payload),
    /// On their way to, or in, the spool.
    Spooled(PathBuf),
}

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Readable in the store.
    Stored,
    /// Never will be: a gap.
    Lost,
}

/// How much longer an object is waited for that was only throttled.
const THROTTLED: u32 = 6;

#[derive(Debug)]
struct Upload {
    key: String,
    held: Held,
    bytes: usize,
    /// When it was handed over: for the lag that is reported.
    since: Instant,
    in_flight: bool,
    /// Begun before the store lost everything: its answer says nothing.
    doubted: bool,
    failures: u32,
    retry_at: Instant,
    first_failure: Option<Instant>,
    /// It was refused for another reason than too many puts.
    faulty: bool,
}

/// Oldest first, each once, each until it is stored or lost.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    waiting: BTreeMap<u64, Upload>,
    next_id: u64,
    outcomes: HashMap<String, Outcome>,
    in_flight: usize,
    in_flight_bytes: usize,
    memory_bytes: usize,
    /// The first and the last success of the present time in which the store takes things.
    working: Option<(Instant, Instant)>,
    /// Failures since the last success, and when the next probe of a store that takes nothing is due.
    streak: u32,
    probe_at: Option<Instant>,
    patience: Duration,
}

/// After so many failures in a row the store is taken to be down: one object at a time asks whether it is back, instead
/// of hundreds that ask each second. One put in five failing does not get there in days.
const DOWN: u32 = 8;
/// Least time between two successes past which the store is taken to have been away, and patience starts anew.
const LULL: Duration = Duration::from_millis(2500);

/// A file in the spool that is not needed any more.
#[derive(Debug)]
pub(super) struct SpoolFile {
    pub(super) path: PathBuf,
    pub(super) bytes: usize,
}

/// The next put to start.
#[derive(Debug)]
pub(super) struct Put {
    pub(super) id: u64,
    pub(super) key: String,
    pub(super) held: Held,
}

impl Uploads {
    pub(super) fn push(&mut self, key: String, payload: Payload, now: Instant) {
        let bytes = payload.len();
        self.memory_bytes += bytes;
        self.outcomes.remove(&key);
        let upload = Upload {
            key,
            held: Held::Memory(payload),
            bytes,
            since: now,
            in_flight: false,
            doubted: false,
            failures: 0,
            retry_at: now,
            first_failure: None,
            faulty: false,
        };
        self.waiting.insert(self.next_id, upload);
        self.next_id += 1;
    }

    /// Notes an object that is not ours to upload any more.
    pub(super) fn note(&mut self, key: &str, outcome: Outcome) {
        self.outcomes.insert(key.to_owned(), outcome);
    }

    /// Successes further apart than this are those of two different times: long segments come seldom.
    fn lull(&self) -> Duration {
        LULL.max(self.patience / 2)
    }

    pub(super) fn outcome(&self, key: &str) -> Option<Outcome> {
        self.outcomes.get(key).copied()
    }

    /// Forgets the outcomes nobody will ask for.
    pub(super) fn forget_outcomes(&mut self, wanted: impl Fn(&str) -> bool) {
        self.outcomes.retain(|key, _| wanted(key));
    }

    /// The oldest that may be tried now, if `most` puts of `most_bytes` altogether are not under way already.
    pub(super) fn start(&mut self, now: Instant, most: usize, most_bytes: usize) -> Option<Put> {
        if self.in_flight >= most || (self.in_flight > 0 && self.in_flight_bytes >= most_bytes) {
            return None;
        }
        let mut idle = self.waiting.iter_mut().filter(|(_, upload)| !upload.in_flight);
        let (id, upload) = if self.streak >= DOWN {
            if self.in_flight > 0 || self.probe_at.is_some_and(|at| now < at) {
                return None;
            }
            // Not always the same one: the fault may be its own.
            idle.min_by_key(|(_, upload)| upload.retry_at)?
        } else {
            idle.find(|(_, upload)| upload.retry_at <= now)?
        };
        upload.in_flight = true;
        self.in_flight += 1;
        self.in_flight_bytes += upload.bytes;
        Some(Put { id: *id, key: upload.key.clone(), held: upload.held.clone() })
    }

    /// The store lost everything. What was put before that and is still to be listed is asked for by key again, unless
    /// it waits here: those keys.
    pub(super) fn doubt(&mut self) -> HashSet<String> {
        for upload in self.waiting.values_mut() {
            upload.doubted = upload.in_flight;
        }
        self.waiting.values().map(|upload| upload.key.clone()).collect()
    }

    /// The put is done; the time since it was handed over, and the spool file it may leave behind. Nothing if it has
    /// to be done again.
    pub(super) fn stored(&mut self, id: u64, now: Instant) -> Option<(Duration, Option<SpoolFile>)> {
        (self.streak, self.probe_at) = (0, None);
        let since = self.working.filter(|(_, last)| now.saturating_duration_since(*last) <= self.lull());
        self.working = Some((since.map_or(now, |(first, _)| first), now));
        if let Some(upload) = self.waiting.get_mut(&id)
            && upload.doubted
        {
            (upload.doubted, upload.in_flight, upload.retry_at) = (false, false, now);
            self.in_flight -= 1;
            self.in_flight_bytes -= upload.bytes;
            return None;
        }
        let upload = self.take(id)?;
        self.outcomes.insert(upload.key.clone(), Outcome::Stored);
        Some((now.saturating_duration_since(upload.since), upload.spool_file()))
    }

    /// The put failed, and is tried again after a pause.
    pub(super) fn failed(&mut self, id: u64, kind: ErrorKind, now: Instant, random: f64) {
        if let Some(upload) = self.waiting.get_mut(&id) {
            self.in_flight -= 1;
            self.in_flight_bytes -= upload.bytes;
            (upload.doubted, upload.in_flight) = (false, false);
            upload.failures += 1;
            upload.first_failure.get_or_insert(now);
            upload.faulty |= kind != ErrorKind::Throttle;
            upload.retry_at = now + schedule::pause(kind, upload.failures, random);
            self.streak += 1;
            if self.streak >= DOWN {
                self.probe_at = Some(now + schedule::pause(kind, self.streak - DOWN + 1, random));
            }
        }
    }

    /// Gives up what has been failing for longer than `patience` while the store took other things: its readers wait for
    /// it. While the store takes nothing at all they see no playlist either, and it may still be written late: the time
    /// of an outage does not count.
    pub(super) fn give_up(&mut self, now: Instant, patience: Duration) -> Vec<SpoolFile> {
        self.patience = patience;
        let Some((working_since, last)) = self.working else { return Vec::new() };
        if now.saturating_duration_since(last) >= patience / 2 {
            return Vec::new();
        }
        let hopeless: Vec<u64> = self
            .waiting
            .iter()
            .filter(|(_, upload)| {
                // A throttle is not a fault: it asks for patience.
                let patience = if upload.faulty { patience } else { patience * THROTTLED };
                let alone_since = upload.first_failure.map(|first| first.max(working_since));
                alone_since.is_some_and(|since| now.saturating_duration_since(since) > patience)
                    && !upload.in_flight
                    && upload.failures > 2
            })
            .map(|(id, _)| *id)
            .collect();
        hopeless.into_iter().filter_map(|id| self.lose(id)).collect()
    }

    /// Makes an object a gap. The spool file it may leave behind.
    pub(super) fn lose(&mut self, id: u64) -> Option<SpoolFile> {
        let upload = self.take(id)?;
        self.outcomes.insert(upload.key.clone(), Outcome::Lost);
        upload.spool_file()
    }

    /// The oldest in memory that is not under way and that `cached` does not hold: it goes to the spool.
    pub(super) fn spill(&mut self, cached: impl Fn(&str) -> bool) -> Option<(u64, String, Payload)> {
        self.waiting.iter().find_map(|(id, upload)| match &upload.held {
            Held::Memory(payload) if !upload.in_flight && !cached(&upload.key) => {
                Some((*id, upload.key.clone(), payload.clone()))
            }
            _ => None,
        })
    }

    /// The bytes are in the spool now.
    pub(super) fn spooled(&mut self, id: u64, path: PathBuf) {
        if let Some(upload) = self.waiting.get_mut(&id)
            && matches!(upload.held, Held::Memory(_))
        {
            upload.held = Held::Spooled(path);
            self.memory_bytes -= upload.bytes;
        }
    }

    /// When the next failed put may be tried again.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        if self.streak >= DOWN {
            return self.probe_at.filter(|_| self.in_flight == 0 && !self.waiting.is_empty());
        }
        self.waiting.values().filter(|upload| !upload.in_flight).map(|upload| upload.retry_at).min()
    }

    /// Something that has failed and is still waiting.
    pub(super) fn next_failure(&self) -> Option<Instant> {
        self.waiting.values().filter_map(|upload| upload.first_failure).min()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    fn take(&mut self, id: u64) -> Option<Upload> {
        let upload = self.waiting.remove(&id)?;
        if upload.in_flight {
            self.in_flight -= 1;
            self.in_flight_bytes -= upload.bytes;
        }
        if matches!(upload.held, Held::Memory(_)) {
            self.memory_bytes -= upload.bytes;
        }
        Some(upload)
    }
}

impl Upload {
    fn spool_file(self) -> Option<SpoolFile> {
        match self.held {
            Held::Spooled(path) => Some(SpoolFile { path, bytes: self.bytes }),
            Held::Memory(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn payload() -> Payload {
        Payload::from(bytes::Bytes::from_static(b"segment"))
    }

    fn with(keys: &[&str], now: Instant) -> Uploads {
        let mut uploads = Uploads::default();
        for key in keys {
            uploads.push((*key).to_owned(), payload(), now);
        }
        uploads
    }

    #[test]
    fn the_oldest_goes_first_and_no_more_than_allowed_at_once() {
        let now = Instant::now();
        let mut uploads = with(&["a", "b", "c"], now);
        let first = uploads.start(now, 2, MIB).expect("a");
        let second = uploads.start(now, 2, MIB).expect("b");
        assert_eq!([first.key.as_str(), second.key.as_str()], ["a", "b"]);
        assert!(uploads.start(now, 2, MIB).is_none());
        uploads.stored(first.id, now);
        assert_eq!(uploads.start(now, 2, MIB).expect("c").key, "c");
    }

    #[test]
    fn bytes_under_way_are_bounded_but_one_object_always_goes() {
        let now = Instant::now();
        let mut uploads = with(&["a", "b"], now);
        assert!(uploads.start(now, 8, 1).is_some());
        assert!(uploads.start(now, 8, 1).is_none());
    }

    #[test]
    fn a_failed_put_is_tried_again_after_its_pause_before_younger_ones() {
        let now = Instant::now();
        let mut uploads = with(&["a"], now);
        let put = uploads.start(now, 1, MIB).expect("a");
        uploads.failed(put.id, ErrorKind::Transient, now, 1.0);
        assert!(uploads.start(now, 1, MIB).is_none(), "it waits");
        let later = uploads.next_retry().expect("a time");
        uploads.push("b".to_owned(), payload(), now);
        assert_eq!(uploads.start(later, 1, MIB).expect("again").key, "a");
    }

    #[test]
    fn what_is_lost_is_not_tried_again() {
        let now = Instant::now();
        let mut uploads = with(&["a"], now);
        let put = uploads.start(now, 1, MIB).expect("a");
        uploads.lose(put.id);
        assert_eq!(uploads.outcome("a"), Some(Outcome::Lost));
        assert!(uploads.is_empty() && uploads.start(now, 1, MIB).is_none());
    }

    fn fail(uploads: &mut Uploads, times: u32, mut now: Instant) -> Instant {
        for _ in 0..times {
            let put = uploads.start(now, 8, MIB).expect("a try");
            uploads.failed(put.id, ErrorKind::Transient, now, 1.0);
            now = uploads.next_retry().expect("a time");
        }
        now
    }

    #[test]
    fn nothing_is_given_up_while_the_store_takes_nothing() {
        let mut uploads = with(&["a"], Instant::now());
        let now = fail(&mut uploads, 60, Instant::now());
        uploads.give_up(now, Duration::from_secs(5));
        assert_eq!(uploads.outcome("a"), None);
    }

    /// A new object each second, which is stored; `a` fails whenever it is tried.
    fn a_fails_others_succeed(uploads: &mut Uploads, seconds: u32, start: Instant) -> Instant {
        for n in 0..seconds {
            let now = start + Duration::from_secs(n.into());
            uploads.push(format!("b{n}"), payload(), now);
            while let Some(put) = uploads.start(now, 8, MIB) {
                match put.key.as_str() {
                    "a" => uploads.failed(put.id, ErrorKind::Transient, now, 1.0),
                    _ => drop(uploads.stored(put.id, now)),
                }
            }
            uploads.give_up(now, Duration::from_secs(5));
        }
        start + Duration::from_secs(seconds.into())
    }

    #[test]
    fn what_alone_keeps_failing_becomes_a_gap() {
        let start = Instant::now();
        let mut uploads = with(&["a"], start);
        a_fails_others_succeed(&mut uploads, 5, start);
        assert_eq!(uploads.outcome("a"), None);
        a_fails_others_succeed(&mut uploads, 4, start + Duration::from_secs(5));
        assert_eq!(uploads.outcome("a"), Some(Outcome::Lost));
    }

    #[test]
    fn the_time_of_an_outage_is_not_held_against_what_waited_through_it() {
        let start = Instant::now();
        let mut uploads = with(&["a"], start);
        let now = fail(&mut uploads, 60, start);
        let back = a_fails_others_succeed(&mut uploads, 4, now);
        assert_eq!(uploads.outcome("a"), None);
        a_fails_others_succeed(&mut uploads, 4, back);
        assert_eq!(uploads.outcome("a"), Some(Outcome::Lost));
    }

    #[test]
    fn a_store_that_takes_nothing_is_asked_once_a_second_and_not_about_the_same_object_only() {
        let start = Instant::now();
        let keys: Vec<String> = (0..200).map(|n| format!("k{n}")).collect();
        let mut uploads = with(&keys.iter().map(String::as_str).collect::<Vec<_>>(), start);
        let (mut now, mut tries, mut asked) = (start, 0, std::collections::HashSet::new());
        while now < start + Duration::from_secs(100) {
            while let Some(put) = uploads.start(now, 16, MIB) {
                tries += 1;
                asked.insert(put.key);
                uploads.failed(put.id, ErrorKind::Transient, now, 1.0);
            }
            now = uploads.next_retry().expect("a time");
        }
        assert!(tries < 120, "{tries} tries in 100 s");
        assert!(asked.len() > 90, "only {} objects were asked about", asked.len());
    }

    #[test]
    fn a_put_that_began_before_the_store_lost_everything_is_done_again() {
        let now = Instant::now();
        let mut uploads = with(&["a", "b"], now);
        let put = uploads.start(now, 1, MIB).expect("a");
        assert_eq!(uploads.doubt(), HashSet::from(["a".to_owned(), "b".to_owned()]));
        assert!(uploads.stored(put.id, now).is_none());
        assert_eq!(uploads.outcome("a"), None);
        let again = uploads.start(now, 1, MIB).expect("a once more");
        assert_eq!(again.key, "a");
        assert!(uploads.stored(again.id, now).is_some());
        assert_eq!(uploads.outcome("a"), Some(Outcome::Stored));
    }

    #[test]
    fn only_what_the_live_window_let_go_is_spilled() {
        let now = Instant::now();
        let mut uploads = with(&["a", "b"], now);
        for _ in 0..2 {
            let put = uploads.start(now, 8, MIB).expect("a try");
            uploads.failed(put.id, ErrorKind::Transient, now, 1.0);
        }
        assert!(uploads.spill(|_| true).is_none());
        let (id, key, _) = uploads.spill(|key| key != "b").expect("b");
        assert_eq!(key, "b");
        let before = uploads.memory_bytes();
        uploads.spooled(id, PathBuf::from("b"));
        assert!(uploads.memory_bytes() < before);
    }
}
