//! Everything the two front doors share.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::{sync::watch, time::Instant};

use crate::{
    faults::{Fate, Faults, FaultsUpdate},
    keys,
    options::{Limits, Options},
    shelf::Shelf,
};

/// Shared by all connections.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) limits: Limits,
    pub(crate) faults: watch::Sender<Faults>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) caches: BTreeMap<String, Shelf>,
    pub(crate) stores: BTreeMap<String, Shelf>,
    pub(crate) calls: BTreeMap<&'static str, u64>,
    refused: HashSet<String>,
    read_only: HashSet<String>,
    dice: fastrand::Rng,
}

/// What a request wants to do, as far as a key's rights go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// Why a key does not get in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Denial {
    /// No key, not a key, or a refused one.
    Unauthenticated,
    /// A read-only key asks to write.
    Forbidden,
}

impl State {
    pub(crate) fn new(options: &Options) -> Self {
        let shelf = |name: &String| (name.clone(), Shelf::new(options.limits.memory_bytes));
        Self {
            limits: options.limits.clone(),
            faults: watch::Sender::new(Faults::default()),
            inner: Mutex::new(Inner {
                caches: options.caches.iter().map(shelf).collect(),
                stores: options.stores.iter().map(shelf).collect(),
                calls: BTreeMap::new(),
                refused: HashSet::new(),
                read_only: HashSet::new(),
                dice: fastrand::Rng::with_seed(options.seed),
            }),
        }
    }

    /// Never held across an await. A panic elsewhere leaves whole items behind, so that poison says nothing.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_faults(&self, update: &FaultsUpdate) -> Faults {
        self.faults.send_modify(|faults| faults.update(update));
        if update.wipe {
            self.lock().wipe();
        }
        *self.faults.borrow()
    }

    /// Counts the call, waits the delay, throws the dice.
    pub(crate) async fn meet(&self, operation: &'static str, faults: Faults) -> Fate {
        *self.lock().calls.entry(operation).or_default() += 1;
        if faults.delay_ms > 0 {
            tokio::time::sleep(faults.delay()).await;
        }
        let dice = self.lock().dice.f64();
        faults.fate(dice)
    }

    pub(crate) fn admit(&self, key: Option<&str>, access: Access) -> Result<(), Denial> {
        let key = key.filter(|key| keys::well_formed(key)).ok_or(Denial::Unauthenticated)?;
        let (key, inner) = (keys::as_sent(key), self.lock());
        if inner.refused.contains(&key) {
            return Err(Denial::Unauthenticated);
        }
        if access == Access::Write && inner.read_only.contains(&key) {
            return Err(Denial::Forbidden);
        }
        Ok(())
    }

    pub(crate) fn refuse_key(&self, key: &str) {
        self.lock().refused.insert(keys::as_sent(key));
    }

    pub(crate) fn read_only_key(&self, key: &str) {
        self.lock().read_only.insert(keys::as_sent(key));
    }
}

impl Inner {
    pub(crate) fn wipe(&mut self) {
        self.caches.values_mut().chain(self.stores.values_mut()).for_each(Shelf::clear);
    }

    pub(crate) fn items(&mut self, cache: &str) -> usize {
        self.caches.get_mut(cache).map_or(0, |shelf| shelf.len(Instant::now()))
    }

    pub(crate) fn contents(&mut self, cache: &str) -> BTreeMap<String, Bytes> {
        let Some(shelf) = self.caches.get_mut(cache) else { return BTreeMap::new() };
        let text = |(key, value): (&[u8], &Bytes)| Some((str::from_utf8(key).ok()?.to_owned(), value.clone()));
        shelf.iter(Instant::now()).filter_map(text).collect()
    }
}
