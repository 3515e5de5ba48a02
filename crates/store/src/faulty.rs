//! A store that fails on purpose, for tests.

use std::fmt;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::error::{At, Operation};
use crate::{Capabilities, Error, Key, MediaStore, Object, Payload, PutOptions};

/// What goes wrong.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    /// Every operation is refused at once.
    pub down: bool,
    /// Every operation takes this much longer.
    pub delay: Duration,
    /// Share of operations that fail, 0 to 1.
    pub fail_rate: f64,
    /// Share of operations that are throttled, 0 to 1.
    pub throttle_rate: f64,
}

/// Passes operations on to a real store, except for those that are to fail. The same seed fails the same operations.
pub struct Faulty<S> {
    store: S,
    replaces: bool,
    state: Mutex<State>,
}

struct State {
    faults: Faults,
    random: fastrand::Rng,
    attempts: u64,
    now: usize,
    most: usize,
}

impl<S: MediaStore> Faulty<S> {
    /// Wraps `store`.
    pub fn new(store: S, seed: u64, faults: Faults) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        let replaces = store.capabilities().replaces;
        Self { store, replaces, state: Mutex::new(State { faults, random, attempts: 0, now: 0, most: 0 }) }
    }

    /// As a store that cannot look and write in one step.
    #[must_use]
    pub fn unable_to_replace(self) -> Self {
        Self { replaces: false, ..self }
    }

    fn state<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on these faults.
    pub fn set(&self, faults: Faults) {
        self.state(|state| state.faults = faults);
    }

    /// Operations so far, failed ones included.
    pub fn attempts(&self) -> u64 {
        self.state(|state| state.attempts)
    }

    /// Most operations that were under way together.
    pub fn most_at_once(&self) -> usize {
        self.state(|state| state.most)
    }

    /// The store behind, which does not fail.
    pub fn inner(&self) -> &S {
        &self.store
    }

    /// Everything is gone, as after a restart without a disk.
    ///
    /// # Errors
    /// Those of `list` and `delete` of the store behind.
    pub async fn wipe(&self) -> Result<(), Error> {
        for key in self.store.list("").await? {
            self.store.delete(&key).await?;
        }
        Ok(())
    }

    async fn run<T>(&self, at: At, operation: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let (faults, fail, throttle) = self.state(|state| {
            state.attempts += 1;
            state.now += 1;
            state.most = state.most.max(state.now);
            (state.faults.clone(), state.random.f64(), state.random.f64())
        });
        let _leaving = Leaving(self);
        if !faults.delay.is_zero() {
            tokio::time::sleep(faults.delay).await;
        }
        if faults.down {
            return Err(Error::Unavailable { at, detail: "it is down on purpose".into() });
        }
        if throttle < faults.throttle_rate {
            return Err(Error::Throttled { at, detail: "it throttles on purpose".into(), retry_after: None });
        }
        if fail < faults.fail_rate {
            return Err(Error::Backend { at, detail: "it fails on purpose".into() });
        }
        operation.await
    }
}

struct Leaving<'a, S: MediaStore>(&'a Faulty<S>);

impl<S: MediaStore> Drop for Leaving<'_, S> {
    fn drop(&mut self) {
        self.0.state(|state| state.now -= 1);
    }
}

#[async_trait]
impl<S: MediaStore> MediaStore for Faulty<S> {
    async fn put(&self, key: &Key, payload: Payload, options: &PutOptions) -> Result<(), Error> {
        let at = At::key(self, Operation::Put, key);
        if options.replace && !self.replaces {
            return Err(Error::Unsupported { at });
        }
        self.run(at, self.store.put(key, payload, options)).await
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Object, Error> {
        self.run(At::key(self, Operation::Get, key), self.store.get(key, range)).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.run(At::key(self, Operation::Delete, key), self.store.delete(key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, Error> {
        self.run(At::store(self, Operation::List), self.store.list(prefix)).await
    }

    async fn health(&self) -> Result<(), Error> {
        self.run(At::store(self, Operation::Health), self.store.health()).await
    }

    async fn flush(&self) {
        self.store.flush().await;
    }

    /// It plays the part of a remote store: not local.
    fn capabilities(&self) -> Capabilities {
        Capabilities { local: false, replaces: self.replaces, ..self.store.capabilities() }
    }
}

impl<S: MediaStore> fmt::Display for Faulty<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faulty {}", self.store)
    }
}

impl<S: MediaStore> fmt::Debug for Faulty<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty").field("store", &self.store).finish_non_exhaustive()
    }
}
