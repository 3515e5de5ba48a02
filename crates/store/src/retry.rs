//! The one place where store operations are tried again.

use std::fmt;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::error::{At, Operation};
use crate::incident::Incident;
use crate::{Capabilities, Error, ErrorKind, Key, MediaStore, Object, Payload, PutOptions};

/// How patient to be.
#[derive(Debug, Clone)]
pub struct RetryConfig {
    /// Total time of all attempts of one operation, pauses included, where the operation brings none of its own.
    pub budget: Duration,
    /// Pause after the first failure; it doubles, with jitter.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
    /// Shortest pause after the store asked to slow down; for all operations, not only the one that was refused.
    pub throttle_pause: Duration,
}

impl Default for RetryConfig {
    /// Two seconds: what a viewer waits for a segment before the player gives up on it. Pauses so short that six
    /// attempts fit into 0.9 s: a store that fails one time in five then loses one object in fifteen thousand.
    /// Throttles pause for longer than faults: rate limits are counted by the second.
    fn default() -> Self {
        Self {
            budget: Duration::from_secs(2),
            first_pause: Duration::from_millis(20),
            longest_pause: Duration::from_millis(120),
            throttle_pause: Duration::from_millis(200),
        }
    }
}

/// Tries transient failures and throttles again until the budget is spent. All operations of [`MediaStore`] are
/// idempotent, so trying again is safe even where the first attempt may have succeeded.
///
/// A throttle slows down everything that goes through here. `health` is passed on untouched: it asks how the store
/// is now. The log is told when trouble begins and when it is over; [`crate::Metered`] counts every attempt.
pub struct Retry<S> {
    store: S,
    config: RetryConfig,
    trouble: Mutex<Trouble>,
}

#[derive(Default)]
struct Trouble {
    slow_until: Option<Instant>,
    faults: Incident,
    throttles: Incident,
}

impl<S: MediaStore> Retry<S> {
    /// Wraps `store`.
    pub fn new(store: S, config: RetryConfig) -> Self {
        Self { store, config, trouble: Mutex::default() }
    }

    fn trouble<T>(&self, with: impl FnOnce(&mut Trouble) -> T) -> T {
        with(&mut self.trouble.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn pauses(&self) -> impl Iterator<Item = Duration> {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(self.config.first_pause)
            .with_max_delay(self.config.longest_pause)
            .with_jitter()
            .without_max_times();
        pauses.build()
    }

    async fn run<'a, T>(
        &self,
        operation: Operation,
        budget: Duration,
        attempt: impl Fn() -> BoxFuture<'a, Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + budget;
        let mut failure = None;
        for pause in self.pauses() {
            if let Some(until) = self.trouble(|trouble| trouble.slow_until).filter(|until| *until < deadline) {
                sleep_until(until).await;
            }
            let Ok(result) = timeout_at(deadline, attempt()).await else { break };
            let error = match result {
                Ok(value) => {
                    self.succeeded();
                    return Ok(value);
                }
                Err(error) => error,
            };
            let pause = match error.kind() {
                ErrorKind::Transient => self.faulted(&error, pause),
                ErrorKind::Throttle => self.throttled(&error, pause),
                ErrorKind::NotFound | ErrorKind::Permanent => return Err(error),
            };
            let again = Instant::now() + pause;
            if again >= deadline {
                return Err(error);
            }
            failure = Some(error);
            sleep_until(again).await;
        }
        let spent = || Error::Timeout { at: At::store(&self.store, operation), after: budget };
        Err(failure.unwrap_or_else(|| {
            let error = spent();
            self.faulted(&error, Duration::ZERO);
            error
        }))
    }

    fn succeeded(&self) {
        let now = Instant::now();
        let (faults, throttles) =
            self.trouble(|trouble| (trouble.faults.succeeded(now), trouble.throttles.succeeded(now)));
        if let Some(over) = faults {
            tracing::info!(store = %self.store, failures = over.failures, lasted = ?over.lasted, "the store works again");
        }
        if let Some(over) = throttles {
            tracing::info!(store = %self.store, throttles = over.failures, lasted = ?over.lasted, "the store has stopped throttling");
        }
    }

    fn faulted(&self, error: &Error, pause: Duration) -> Duration {
        if self.trouble(|trouble| trouble.faults.failed(Instant::now())) {
            tracing::warn!(%error, "the store is failing; what fails is tried again, and this is said once");
        }
        pause
    }

    fn throttled(&self, error: &Error, pause: Duration) -> Duration {
        let asked = match error {
            Error::Throttled { retry_after: Some(asked), .. } => *asked,
            _ => Duration::ZERO,
        };
        let pause = pause.max(self.config.throttle_pause).max(asked);
        let until = Instant::now() + pause;
        let first = self.trouble(|trouble| {
            trouble.slow_until = trouble.slow_until.max(Some(until));
            trouble.throttles.failed(Instant::now())
        });
        if first {
            tracing::warn!(%error, "the store is throttling; everything slows down, and this is said once");
        }
        pause
    }
}

#[async_trait]
impl<S: MediaStore> MediaStore for Retry<S> {
    async fn put(&self, key: &Key, payload: Payload, options: &PutOptions) -> Result<(), Error> {
        let budget = options.budget.unwrap_or(self.config.budget);
        if budget.is_zero() {
            return self.store.put(key, payload, options).await;
        }
        self.run(Operation::Put, budget, || self.store.put(key, payload.clone(), options)).await
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Object, Error> {
        self.run(Operation::Get, self.config.budget, || self.store.get(key, range.clone())).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.run(Operation::Delete, self.config.budget, || self.store.delete(key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, Error> {
        self.run(Operation::List, self.config.budget, || self.store.list(prefix)).await
    }

    async fn health(&self) -> Result<(), Error> {
        self.store.health().await
    }

    async fn flush(&self) {
        self.store.flush().await;
    }

    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }
}

impl<S: MediaStore> fmt::Display for Retry<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.store, f)
    }
}

impl<S: MediaStore> fmt::Debug for Retry<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry").field("store", &self.store).field("config", &self.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Faults, Faulty, Memory};

    fn bench(faults: Faults) -> Retry<Faulty<Memory>> {
        Retry::new(Faulty::new(Memory::new(1 << 20), 7, faults), RetryConfig::default())
    }

    async fn put(store: &impl MediaStore, budget: Duration) -> Result<(), Error> {
        let key = Key::parse("s_a_segment000.ts").unwrap();
        store.put(&key, "x".into(), &PutOptions::new(&key, Duration::from_secs(60)).budget(budget)).await
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_shorter_than_the_budget_is_not_noticed() {
        let store = bench(Faults { down: true, ..Faults::default() });
        let faulty = &store.store;
        let back = async {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            faulty.set(Faults::default());
        };
        let (put, ()) = tokio::join!(put(&store, Duration::from_secs(4)), back);
        put.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_bounds_all_attempts_together() {
        for faults in [
            Faults { down: true, ..Faults::default() },
            Faults { delay: Duration::from_secs(60), ..Faults::default() },
            Faults { throttle_rate: 1.0, ..Faults::default() },
        ] {
            let store = bench(faults);
            let began = Instant::now();
            let error = put(&store, Duration::from_millis(800)).await.unwrap_err();
            assert!(began.elapsed() <= Duration::from_millis(801), "{:?}: {error}", began.elapsed());
            assert!(matches!(error.kind(), ErrorKind::Transient | ErrorKind::Throttle));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_help_is_not_tried_again() {
        let store = bench(Faults::default());
        let big = Key::parse("s_big").unwrap();
        let began = Instant::now();
        let refused = store.put(&big, vec![0; 2 << 20].into(), &PutOptions::new(&big, Duration::from_secs(1))).await;
        assert!(matches!(refused, Err(Error::TooLarge { .. })));
        assert!(matches!(store.get(&Key::parse("s_none").unwrap(), None).await, Err(Error::NotFound { .. })));
        assert_eq!((began.elapsed(), store.store.attempts()), (Duration::ZERO, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn who_tries_again_itself_gets_one_attempt_for_a_budget_of_zero() {
        let store = bench(Faults { down: true, ..Faults::default() });
        put(&store, Duration::ZERO).await.unwrap_err();
        assert_eq!(store.store.attempts(), 1);
        store.store.set(Faults { delay: Duration::from_secs(1), ..Faults::default() });
        put(&store, Duration::ZERO).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn one_in_five_failing_is_put_right_within_a_segment() {
        let store = bench(Faults { fail_rate: 0.2, ..Faults::default() });
        for _ in 0..500 {
            put(&store, Duration::from_millis(900)).await.unwrap();
        }
        assert!(store.store.attempts() > 550);
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttle_slows_everything_down() {
        let store = bench(Faults { throttle_rate: 1.0, ..Faults::default() });
        let _ = put(&store, Duration::from_millis(250)).await;
        store.store.set(Faults::default());
        let paused = store.trouble(|trouble| trouble.slow_until).unwrap() - Instant::now();
        let began = Instant::now();
        put(&store, Duration::from_secs(5)).await.unwrap();
        assert_eq!(began.elapsed().as_millis(), paused.as_millis());
        assert!(paused >= Duration::from_millis(100), "{paused:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_stay_below_twice_the_longest() {
        let store = bench(Faults::default());
        let pauses: Vec<_> = store.pauses().take(40).collect();
        assert!(pauses[0] >= Duration::from_millis(20) && pauses[0] < Duration::from_millis(41), "{:?}", pauses[0]);
        assert!(pauses.iter().all(|pause| *pause <= Duration::from_millis(240)));
        assert!(pauses[39] >= Duration::from_millis(120));
    }
}
