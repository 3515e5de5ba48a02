//! Bounds what is under way to a store.

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use crate::{Capabilities, Error, Key, MediaStore, Object, Payload, PutOptions};

/// Bytes a permit stands for: semaphores count to four thousand million, payloads further.
const UNIT: u64 = 1024;

/// How much may be under way.
#[derive(Debug, Clone)]
pub struct LimitConfig {
    /// Puts and deletes at a time.
    pub writes: usize,
    /// Bytes of puts at a time.
    pub bytes: u64,
    /// Gets and lists at a time, counted apart so that viewers cannot hold up the broadcast.
    pub reads: usize,
}

impl Default for LimitConfig {
    /// A ladder of three rungs has six puts a second; 32 at a time and 32 MiB let ten such streams catch up after a
    /// pause of a second without filling the memory or the network of a small machine.
    fn default() -> Self {
        Self { writes: 32, bytes: 32 << 20, reads: 64 }
    }
}

/// Lets operations wait their turn, first come, first served, so that at most the configured number and bytes are
/// under way. An object larger than the bound in bytes goes alone.
pub struct Limit<S> {
    store: S,
    config: LimitConfig,
    writes: Semaphore,
    bytes: Semaphore,
    reads: Semaphore,
}

impl<S: MediaStore> Limit<S> {
    /// Wraps `store`.
    pub fn new(store: S, config: LimitConfig) -> Self {
        Self {
            store,
            writes: Semaphore::new(config.writes.max(1)),
            bytes: Semaphore::new(units(config.bytes).max(1) as usize),
            reads: Semaphore::new(config.reads.max(1)),
            config,
        }
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX >> 3).min(u32::MAX >> 3)
}

#[async_trait]
impl<S: MediaStore> MediaStore for Limit<S> {
    async fn put(&self, key: &Key, payload: Payload, options: &PutOptions) -> Result<(), Error> {
        let weight = units(payload.len() as u64).min(units(self.config.bytes).max(1));
        // Neither semaphore is ever closed.
        let _bytes = self.bytes.acquire_many(weight).await;
        let _turn = self.writes.acquire().await;
        self.store.put(key, payload, options).await
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Object, Error> {
        let _turn = self.reads.acquire().await;
        self.store.get(key, range).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        let _turn = self.writes.acquire().await;
        self.store.delete(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, Error> {
        let _turn = self.reads.acquire().await;
        self.store.list(prefix).await
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

impl<S: MediaStore> fmt::Display for Limit<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.store, f)
    }
}

impl<S: MediaStore> fmt::Debug for Limit<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limit").field("store", &self.store).field("config", &self.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Faults, Faulty, Memory};
    use std::time::Duration;

    fn slow() -> Faulty<Memory> {
        Faulty::new(Memory::new(1 << 30), 1, Faults { delay: Duration::from_secs(1), ..Faults::default() })
    }

    async fn put(store: &impl MediaStore, n: usize, bytes: usize) {
        let key = Key::parse(format!("s_a_segment{n:03}.ts")).unwrap();
        let options = PutOptions::new(&key, Duration::from_secs(600));
        store.put(&key, vec![0; bytes].into(), &options).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn at_most_the_configured_number_is_under_way() {
        let store = Limit::new(slow(), LimitConfig { writes: 4, ..LimitConfig::default() });
        let began = tokio::time::Instant::now();
        futures_util::future::join_all((0..12).map(|n| put(&store, n, 10))).await;
        assert_eq!(began.elapsed().as_secs(), 3);
        assert_eq!(store.store.most_at_once(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn at_most_the_configured_bytes_are_under_way_and_a_larger_object_goes_alone() {
        let store = Limit::new(slow(), LimitConfig { bytes: 10 << 10, ..LimitConfig::default() });
        futures_util::future::join_all((0..9).map(|n| put(&store, n, 3 << 10))).await;
        assert_eq!(store.store.most_at_once(), 3);
        put(&store, 10, 100 << 10).await;
    }

    #[tokio::test(start_paused = true)]
    async fn readers_do_not_wait_for_writers() {
        let store = Limit::new(slow(), LimitConfig { writes: 1, ..LimitConfig::default() });
        let began = tokio::time::Instant::now();
        let reads = async {
            let _ = store.get(&Key::parse("s_none").unwrap(), None).await;
            began.elapsed().as_secs()
        };
        let (_, read) = tokio::join!(futures_util::future::join_all((0..5).map(|n| put(&store, n, 10))), reads);
        assert_eq!(read, 1);
    }
}
