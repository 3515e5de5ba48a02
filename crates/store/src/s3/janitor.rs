//! Removes what has expired, since S3 does not.

use std::sync::{PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::{Inner, LOOKUPS};

/// How often the prefix is listed: ten times in a TTL, so that at most a tenth more than needed is kept (and paid).
fn period(ttl: Duration) -> Duration {
    (ttl / 10).clamp(Duration::from_secs(1), Duration::from_secs(600))
}

/// Objects removed in one pass; the rest waits for the next, so that a huge leftover neither fills the memory nor
/// takes the requests of the broadcast.
const MAX_A_PASS: usize = 5_000;

/// Ends when the store is dropped.
pub(super) async fn run(store: Weak<Inner>, ttl: Duration) {
    loop {
        tokio::time::sleep(period(ttl)).await;
        let Some(store) = store.upgrade() else { return };
        let removed = sweep(&store).await;
        if removed > 0 {
            metrics::counter!("tailwater_store_expired_total", "store" => store.name.clone()).increment(removed);
            tracing::debug!(store = %store.name, removed, "expired objects removed");
        }
    }
}

/// One pass. What fails is tried in the next.
async fn sweep(store: &Inner) -> u64 {
    let mut expired = Vec::new();
    let judged = store.judge("", |object| {
        if object.expired {
            expired.push(object.location);
        }
        expired.len() < MAX_A_PASS
    });
    if let Err(error) = judged.await {
        tracing::debug!(store = %store.name, %error, "looking for expired objects failed");
    }
    let mut removed = 0;
    let mut deletes = futures_util::stream::iter(expired.into_iter().map(|location| delete(store, location)))
        .buffer_unordered(LOOKUPS);
    while let Some(deleted) = deletes.next().await {
        removed += u64::from(deleted);
    }
    let now = store.clock.now();
    store.short_lived.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, expires| *expires > now);
    removed
}

async fn delete(store: &Inner, location: Path) -> bool {
    store.client.delete(&location).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::super::S3;
    use super::*;
    use crate::clock::Clock;
    use crate::{Error, Key, MediaStore, PutOptions};
    use object_store::memory::InMemory;
    use object_store::{ObjectStore, PutPayload};
    use std::sync::Arc;

    const TTL: Duration = Duration::from_secs(60);

    fn bench() -> (Arc<InMemory>, S3) {
        let memory = Arc::new(InMemory::new());
        let prefix = Path::from("live/one");
        let store = S3::new(memory.clone(), prefix, TTL, Duration::from_secs(5), "s3://test".into(), Clock::system());
        (memory, store)
    }

    async fn put(store: &S3, name: &str, ttl: Duration) {
        let key = Key::parse(name).unwrap();
        store.put(&key, "x".into(), &PutOptions::new(&key, ttl)).await.unwrap();
    }

    async fn objects(memory: &InMemory) -> Vec<String> {
        let mut all: Vec<_> = memory.list(None).map(|meta| meta.unwrap().location.to_string()).collect().await;
        all.sort();
        all
    }

    #[test]
    fn the_prefix_is_listed_ten_times_in_a_ttl_within_reason() {
        assert_eq!(period(Duration::from_secs(3600)), Duration::from_secs(360));
        assert_eq!(period(Duration::from_secs(5)), Duration::from_secs(1));
        assert_eq!(period(Duration::from_secs(7 * 86_400)), Duration::from_secs(600));
    }

    #[tokio::test(start_paused = true)]
    async fn expired_objects_are_removed_within_a_tenth_of_the_ttl_and_others_are_left_alone() {
        let (memory, store) = bench();
        memory.put(&Path::from("live/one/somebody_elses.txt"), PutPayload::from_static(b"x")).await.unwrap();
        memory.put(&Path::from("other/s_a_segment000.ts"), PutPayload::from_static(b"x")).await.unwrap();
        put(&store, "s_a_segment000.ts", TTL).await;
        put(&store, "s_sequence", TTL * 3).await;
        put(&store, "s_short", TTL / 4).await;
        tokio::time::sleep(TTL / 4 + TTL / 10 + Duration::from_secs(1)).await;
        assert!(!objects(&memory).await.contains(&"live/one/s_short".to_owned()));
        tokio::time::sleep(TTL).await;
        let left = ["live/one/s_sequence", "live/one/somebody_elses.txt", "other/s_a_segment000.ts"];
        assert_eq!(objects(&memory).await, left);
        tokio::time::sleep(TTL * 2).await;
        assert_eq!(objects(&memory).await, left[1..]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_expired_object_is_neither_found_nor_listed_before_the_janitor_came() {
        let (memory, store) = bench();
        put(&store, "s_short", Duration::from_secs(2)).await;
        put(&store, "s_a_segment000.ts", TTL).await;
        put(&store, "s_sequence", TTL * 3).await;
        tokio::time::sleep(Duration::from_millis(2_001)).await;
        let short = Key::parse("s_short").unwrap();
        assert!(matches!(store.get(&short, None).await, Err(Error::NotFound { .. })));
        assert_eq!(store.list("s_").await.unwrap().len(), 2);
        assert_eq!(objects(&memory).await.len(), 3);
        tokio::time::sleep(TTL - Duration::from_millis(1_900)).await;
        assert_eq!(store.list("s_").await.unwrap(), [Key::parse("s_sequence").unwrap()]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_restarted_store_removes_what_its_predecessor_put() {
        let (memory, store) = bench();
        put(&store, "s_a_segment000.ts", TTL).await;
        let clock = store.inner.clock;
        drop(store);
        tokio::time::sleep(TTL * 2).await;
        let prefix = Path::from("live/one");
        let _next = S3::new(memory.clone(), prefix, TTL, Duration::from_secs(5), "s3://test".into(), clock);
        tokio::time::sleep(TTL / 10 + Duration::from_secs(1)).await;
        assert!(objects(&memory).await.is_empty());
    }
}
