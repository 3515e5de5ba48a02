//! Everything to several stores: the first is the one that counts.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::{Capabilities, Error, Key, MediaStore, Object, Payload, PutOptions};

/// Bytes that may wait for one secondary: three seconds of ten ladders. What comes when it is full is dropped.
const QUEUE_BYTES: u32 = 64 << 20;
/// Objects that may wait for one secondary.
const QUEUE_LENGTH: usize = 1024;
/// Objects under way to one secondary at a time.
const CONCURRENT: usize = 16;
/// Total time for one object to a secondary: nobody waits for it, so it may take longer than a segment lasts.
const BUDGET: Duration = Duration::from_secs(20);

/// A store that gets a copy of everything.
#[derive(Debug)]
pub struct Secondary {
    /// The store.
    pub store: Arc<dyn MediaStore>,
    /// Its own TTL; `None` for that of each put. With a TTL of its own it is an archive, and deletes are not passed on.
    pub ttl: Option<Duration>,
}

/// Reads, lists and answers from the primary. The secondaries get every put through a bounded queue each, in order
/// (a playlist goes after the media that was put before it): they never slow the primary down, and what one of them
/// loses is lost there only, and counted (`tailwater_store_tee_lost_total`).
pub struct Tee {
    primary: Arc<dyn MediaStore>,
    queues: Vec<Queue>,
}

struct Queue {
    name: String,
    archive: bool,
    jobs: mpsc::Sender<Job>,
    bytes: Arc<Semaphore>,
}

enum Job {
    Put {
        key: Key,
        payload: Payload,
        options: PutOptions,
        _room: OwnedSemaphorePermit,
    },
    Delete(Key),
    /// Answered when all earlier jobs are done.
    Flush(oneshot::Sender<()>),
}

impl Tee {
    /// # Panics
    /// Outside a tokio runtime, which the queues need.
    #[must_use]
    pub fn new(primary: Arc<dyn MediaStore>, secondaries: Vec<Secondary>) -> Self {
        Self { primary, queues: secondaries.into_iter().map(Queue::new).collect() }
    }
}

impl Queue {
    fn new(secondary: Secondary) -> Self {
        let (jobs, receiver) = mpsc::channel(QUEUE_LENGTH);
        let queue = Self {
            name: secondary.store.to_string(),
            archive: secondary.ttl.is_some(),
            jobs,
            bytes: Arc::new(Semaphore::new(QUEUE_BYTES as usize)),
        };
        tokio::spawn(Worker { secondary, jobs: receiver }.run());
        queue
    }

    fn put(&self, key: &Key, payload: &Payload, options: &PutOptions) {
        let weight = u32::try_from(payload.len()).unwrap_or(u32::MAX).min(QUEUE_BYTES);
        let Ok(room) = self.bytes.clone().try_acquire_many_owned(weight) else { return self.dropped() };
        // What the primary has says nothing about what this one has.
        let (key, payload, options) = (key.clone(), payload.clone(), options.clone().replace(false));
        self.enqueue(Job::Put { key, payload, options, _room: room });
    }

    fn enqueue(&self, job: Job) {
        if self.jobs.try_send(job).is_err() {
            self.dropped();
        }
    }

    fn dropped(&self) {
        lost(&self.name, "queue-full");
    }
}

fn lost(store: &str, reason: &'static str) {
    metrics::counter!("tailwater_store_tee_lost_total", "store" => store.to_owned(), "reason" => reason).increment(1);
}

struct Worker {
    secondary: Secondary,
    jobs: mpsc::Receiver<Job>,
}

impl Worker {
    /// Media goes side by side. A playlist waits for all that was put to its stream before it, and what comes after a
    /// playlist of a stream waits for it, so that a reader of the secondary meets the order of the primary.
    async fn run(mut self) {
        let mut waiting: VecDeque<Job> = VecDeque::new();
        let mut under_way = FuturesUnordered::new();
        let mut streams: Vec<Key> = Vec::new();
        let mut open = true;
        while open || !waiting.is_empty() || !under_way.is_empty() {
            while under_way.len() < CONCURRENT && waiting.front().is_some_and(|job| may_start(job, &streams)) {
                let Some(job) = waiting.pop_front() else { break };
                if let Job::Flush(done) = job {
                    let _ = done.send(());
                    continue;
                }
                streams.extend(job.key().cloned());
                under_way.push(self.secondary.carry_out(job));
            }
            tokio::select! {
                Some(key) = under_way.next(), if !under_way.is_empty() => {
                    if let Some(at) = streams.iter().position(|other| *other == key) {
                        streams.swap_remove(at);
                    }
                }
                job = self.jobs.recv(), if open && waiting.is_empty() => match job {
                    Some(job) => waiting.push_back(job),
                    None => open = false,
                },
            }
        }
    }
}

impl Job {
    fn key(&self) -> Option<&Key> {
        match self {
            Self::Put { key, .. } | Self::Delete(key) => Some(key),
            Self::Flush(_) => None,
        }
    }
}

/// Anything but a playlist, deletes included, may overtake its like but no playlist, nor be overtaken by one.
fn may_start(job: &Job, under_way: &[Key]) -> bool {
    let is_playlist = |key: &Key| key.extension() == Some("m3u8");
    match job.key() {
        None => under_way.is_empty(),
        Some(key) if is_playlist(key) => under_way.iter().all(|other| other.stream() != key.stream()),
        Some(key) => {
            under_way.iter().all(|other| other != key && (other.stream() != key.stream() || !is_playlist(other)))
        }
    }
}

impl Secondary {
    async fn carry_out(&self, job: Job) -> Key {
        let (key, result) = match job {
            Job::Put { key, payload, mut options, _room } => {
                options.ttl = self.ttl.unwrap_or(options.ttl);
                options.budget = Some(BUDGET);
                let result = self.store.put(&key, payload, &options).await;
                (key, result)
            }
            Job::Delete(key) => {
                let result = self.store.delete(&key).await;
                (key, result)
            }
            Job::Flush(_) => unreachable!("a flush is answered where jobs are started"),
        };
        if let Err(error) = result {
            // Retry has told of the outage; each object is worth a line only to those who look for it.
            tracing::debug!(%error, "a secondary store lost an object");
            lost(&self.store.to_string(), error.code());
        }
        key
    }
}

#[async_trait]
impl MediaStore for Tee {
    async fn put(&self, key: &Key, payload: Payload, options: &PutOptions) -> Result<(), Error> {
        let to_others = |payload| self.queues.iter().for_each(|queue| queue.put(key, payload, options));
        if !options.replace {
            to_others(&payload);
            return self.primary.put(key, payload, options).await;
        }
        // What there was nothing to replace for is not meant for the others either; a primary that is down is no reason.
        let result = self.primary.put(key, payload.clone(), options).await;
        if !matches!(result, Err(Error::NotFound { .. })) {
            to_others(&payload);
        }
        result
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Object, Error> {
        self.primary.get(key, range).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        let followers = self.queues.iter().filter(|queue| !queue.archive);
        followers.for_each(|queue| queue.enqueue(Job::Delete(key.clone())));
        self.primary.delete(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, Error> {
        self.primary.list(prefix).await
    }

    async fn health(&self) -> Result<(), Error> {
        self.primary.health().await
    }

    async fn flush(&self) {
        let flushes = self.queues.iter().map(|queue| async {
            let (done, flushed) = oneshot::channel();
            if queue.jobs.send(Job::Flush(done)).await.is_ok() {
                let _ = flushed.await;
            }
        });
        futures_util::future::join_all(flushes).await;
        self.primary.flush().await;
    }

    fn capabilities(&self) -> Capabilities {
        self.primary.capabilities()
    }
}

impl fmt::Display for Tee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.primary, f)?;
        self.queues.iter().try_for_each(|queue| write!(f, " and {}", queue.name))
    }
}

impl fmt::Debug for Tee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tee({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, Faults, Faulty, Memory};
    use tokio::time::Instant;

    const TTL: Duration = Duration::from_secs(60);

    fn key(text: &str) -> Key {
        Key::parse(text).unwrap()
    }

    struct Bench {
        tee: Tee,
        primary: Memory,
        second: Arc<Faulty<Memory>>,
    }

    fn bench(faults: Faults, ttl: Option<Duration>) -> Bench {
        let primary = Memory::new(1 << 30);
        let second = Arc::new(Faulty::new(Memory::new(1 << 30), 3, faults));
        let tee = Tee::new(Arc::new(primary.clone()), vec![Secondary { store: second.clone(), ttl }]);
        Bench { tee, primary, second }
    }

    async fn put(store: &dyn MediaStore, name: &str, payload: impl Into<Payload>) {
        let key = key(name);
        store.put(&key, payload.into(), &PutOptions::new(&key, TTL)).await.unwrap();
    }

    async fn has(store: &dyn MediaStore, name: &str) -> bool {
        store.get(&key(name), None).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_tee_conforms_and_its_secondary_gets_everything() {
        let bench = bench(Faults::default(), None);
        crate::conformance::all(&bench.tee, "suite").await;
        bench.tee.flush().await;
        let mut first = bench.primary.list("").await.unwrap();
        let mut second = bench.second.list("").await.unwrap();
        first.sort();
        second.sort();
        assert_eq!(first, second);
        assert!(!first.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_or_hanging_secondary_never_slows_the_primary_and_costs_bounded_memory() {
        for faults in [
            Faults { down: true, ..Faults::default() },
            Faults { delay: Duration::from_secs(3600), ..Faults::default() },
        ] {
            let bench = bench(faults, None);
            let began = Instant::now();
            for n in 0..3000 {
                put(&bench.tee, &format!("s_a_segment{n:04}.ts"), vec![0; 100_000]).await;
                tokio::task::yield_now().await;
            }
            assert_eq!(began.elapsed(), Duration::ZERO);
            assert!(has(&bench.primary, "s_a_segment2999.ts").await);
            let waiting = QUEUE_BYTES as usize - bench.tee.queues[0].bytes.available_permits();
            assert!(waiting <= QUEUE_BYTES as usize);
            assert!(bench.second.inner().list("").await.unwrap().is_empty());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_secondary_has_its_own_ttl_and_then_keeps_what_is_deleted() {
        let bench = bench(Faults::default(), Some(TTL * 10));
        put(&bench.tee, "s_a_segment000.ts", "x").await;
        bench.tee.delete(&key("s_a_segment000.ts")).await.unwrap();
        bench.tee.flush().await;
        assert!(!has(&bench.primary, "s_a_segment000.ts").await);
        tokio::time::sleep(TTL * 9).await;
        assert!(has(&*bench.second, "s_a_segment000.ts").await);
        tokio::time::sleep(TTL).await;
        assert!(!has(&*bench.second, "s_a_segment000.ts").await);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_ttl_of_its_own_deletes_follow() {
        let bench = bench(Faults::default(), None);
        put(&bench.tee, "s_a_segment000.ts", "x").await;
        bench.tee.delete(&key("s_a_segment000.ts")).await.unwrap();
        bench.tee.flush().await;
        assert!(!has(&*bench.second, "s_a_segment000.ts").await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_playlist_reaches_the_secondary_after_its_media_and_before_the_next() {
        let bench = bench(Faults { delay: Duration::from_secs(1), ..Faults::default() }, None);
        for n in 0..5 {
            for rung in ["a", "b", "c"] {
                put(&bench.tee, &format!("s_{rung}_segment{n:03}.ts"), "x").await;
            }
            put(&bench.tee, "s_a_playlist.m3u8", format!("s_a_segment{n:03}.ts")).await;
        }
        let began = Instant::now();
        let flushed = bench.tee.flush();
        tokio::pin!(flushed);
        loop {
            tokio::select! {
                () = &mut flushed => break,
                () = tokio::time::sleep(Duration::from_millis(100)) => {
                    match bench.second.inner().get(&key("s_a_playlist.m3u8"), None).await {
                        Ok(playlist) => {
                            let named = String::from_utf8(playlist.payload.contiguous().to_vec()).unwrap();
                            assert!(has(bench.second.inner(), &named).await, "{named} is listed and not there");
                        }
                        Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
                    }
                }
            }
        }
        assert_eq!(began.elapsed().as_secs(), 10, "media side by side, playlists between");
    }

    #[tokio::test(start_paused = true)]
    async fn the_primary_decides_the_answer() {
        let primary = Arc::new(Faulty::new(Memory::new(1 << 20), 1, Faults { down: true, ..Faults::default() }));
        let second = Arc::new(Memory::new(1 << 20));
        let tee = Tee::new(primary, vec![Secondary { store: second.clone(), ttl: None }]);
        let key = key("s_a_segment000.ts");
        assert!(tee.put(&key, "x".into(), &PutOptions::new(&key, TTL)).await.is_err());
        tee.flush().await;
        assert!(has(&*second, "s_a_segment000.ts").await);
        assert!(tee.get(&key, None).await.is_err() && tee.health().await.is_err());
    }
}
