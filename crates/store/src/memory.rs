//! `memory:`, the embedded store without a disk: bounded, gone with the process.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use crate::clock::Clock;
use crate::error::{At, Operation};
use crate::index::{FillAlarm, Index, cost};
use crate::{Capabilities, Error, Key, MediaStore, Object, Payload, PutOptions, StoreUrl};

/// Default bound, in bytes: a quarter of an hour of the default ladder.
pub const MEMORY_MAX_BYTES: u64 = 1 << 30;

/// How often expired objects are dropped. They stop being found exactly at their expiry; this only frees memory.
pub(crate) const JANITOR_PERIOD: Duration = Duration::from_secs(1);

/// The memory store. Cloning shares it.
#[derive(Clone)]
pub struct Memory {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Clock,
    max_bytes: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    index: Index<Payload>,
    alarm: FillAlarm,
}

impl Memory {
    /// A store of at most `max_bytes`, counting a little for each object beside its bytes.
    ///
    /// # Panics
    /// Outside a tokio runtime, which its janitor needs.
    #[must_use]
    pub fn new(max_bytes: u64) -> Self {
        let inner = Arc::new(Inner { clock: Clock::system(), max_bytes, state: Mutex::default() });
        tokio::spawn(janitor(Arc::downgrade(&inner)));
        Self { inner }
    }

    /// `memory:?max=1GiB`.
    pub(crate) fn open(url: &StoreUrl) -> Result<Self, Error> {
        url.allow_query(&["max"])?;
        Ok(Self::new(url.bytes("max")?.unwrap_or(MEMORY_MAX_BYTES)))
    }

    /// Bytes held at present, expired ones included until the janitor has passed.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.inner.lock().index.bytes()
    }
}

impl Inner {
    /// A panic while the lock was held would have been in the standard collections; what they hold is still whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sweep(&self) {
        let now = self.clock.now();
        let mut dropped = Vec::new();
        let mut state = self.lock();
        while let Some(entry) = state.index.pop_expired(now) {
            dropped.push(entry);
        }
        drop(state);
    }

    /// False if it was to replace an object and there is none.
    fn insert(&self, key: &Key, payload: Payload, expires: SystemTime, replace: bool) -> bool {
        let size = payload.len() as u64;
        let now = self.clock.now();
        let mut evicted = Vec::new();
        let mut state = self.lock();
        if replace && state.index.get(key, now).is_none() {
            return false;
        }
        state.index.remove(key);
        while state.index.bytes() + cost(size) > self.max_bytes {
            let Some(entry) = state.index.pop_expired(now).or_else(|| state.index.pop_oldest()) else { break };
            evicted.push(entry);
        }
        state.index.insert(key.clone(), size, expires, Some(now), payload);
        let bytes = state.index.bytes();
        let alarm = state.alarm.observe(bytes, self.max_bytes);
        drop(state);
        if alarm {
            warn_nearly_full("memory:", bytes, self.max_bytes);
        }
        true
    }
}

/// Says that the oldest objects will be lost before their TTL.
pub(crate) fn warn_nearly_full(store: &str, bytes: u64, max: u64) {
    metrics::counter!("tailwater_store_nearly_full_total", "store" => store.to_owned()).increment(1);
    tracing::warn!(
        store,
        bytes,
        max,
        "the store is 90 % full: when it is full, the oldest segments go before their time; shorten the TTL or raise \
         the bound (?max= in the store URL)"
    );
}

async fn janitor(store: Weak<Inner>) {
    let mut ticks = tokio::time::interval(JANITOR_PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(store) = store.upgrade() else { return };
        store.sweep();
    }
}

#[async_trait]
impl MediaStore for Memory {
    async fn put(&self, key: &Key, payload: Payload, options: &PutOptions) -> Result<(), Error> {
        let (size, limit) = (payload.len() as u64, self.inner.max_bytes.saturating_sub(cost(0)));
        if size > limit {
            return Err(Error::TooLarge { at: At::key(self, Operation::Put, key), size, limit });
        }
        let expires = self.inner.clock.expiry(options.ttl);
        match self.inner.insert(key, payload, expires, options.replace) {
            true => Ok(()),
            false => Err(Error::NotFound { at: At::key(self, Operation::Put, key) }),
        }
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Object, Error> {
        let now = self.inner.clock.now();
        let entry = self.inner.lock().index.get(key, now).cloned();
        let entry = entry.ok_or_else(|| Error::NotFound { at: At::key(self, Operation::Get, key) })?;
        let object = Object {
            ttl_left: entry.expires.duration_since(now).ok(),
            stored_at: entry.stored,
            ..Object::whole(key, entry.value)
        };
        object.cut(self, key, range)
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        let removed = self.inner.lock().index.remove(key);
        drop(removed);
        Ok(())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, Error> {
        Ok(self.inner.lock().index.list(prefix, self.inner.clock.now()))
    }

    async fn health(&self) -> Result<(), Error> {
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            max_object: Some(self.inner.max_bytes.saturating_sub(cost(0))),
            memory: Some(self.inner.max_bytes),
            local: true,
            lists: true,
            replaces: true,
            ..Capabilities::default()
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory:")
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("max_bytes", &self.inner.max_bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::parse(text).unwrap()
    }

    async fn put(store: &Memory, name: &str, bytes: usize, ttl: u64) {
        let key = key(name);
        let options = PutOptions::new(&key, Duration::from_secs(ttl));
        store.put(&key, vec![0; bytes].into(), &options).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_is_gone_exactly_at_its_ttl_and_its_memory_soon_after() {
        let store = Memory::new(1 << 20);
        put(&store, "s_a_segment000.ts", 1000, 60).await;
        tokio::time::sleep(Duration::from_millis(59_999)).await;
        assert!(store.get(&key("s_a_segment000.ts"), None).await.is_ok());
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(matches!(store.get(&key("s_a_segment000.ts"), None).await, Err(Error::NotFound { .. })));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(store.bytes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn it_never_holds_more_than_its_bound_and_drops_the_oldest_segments() {
        let max = 10 * cost(1000);
        let store = Memory::new(max);
        put(&store, "s_playlist.m3u8", 100, 60).await;
        for n in 0..30 {
            put(&store, &format!("s_a_segment{n:03}.ts"), 1000, 60).await;
            assert!(store.bytes() <= max);
        }
        let held = store.list("s_a_").await.unwrap();
        assert_eq!(held.first().unwrap().as_str(), "s_a_segment021.ts");
        assert_eq!(held.last().unwrap().as_str(), "s_a_segment029.ts");
        assert!(store.get(&key("s_playlist.m3u8"), None).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_above_the_bound_is_refused_and_nothing_is_evicted_for_it() {
        let store = Memory::new(2000);
        put(&store, "s_a", 100, 60).await;
        let big = key("s_b");
        let refused = store.put(&big, vec![0; 3000].into(), &PutOptions::new(&big, Duration::from_secs(1))).await;
        assert!(matches!(refused, Err(Error::TooLarge { size: 3000, .. })));
        assert!(store.get(&key("s_a"), None).await.is_ok());
    }
}
