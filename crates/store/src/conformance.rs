//! One suite for every store: each function proves one rule of [`MediaStore`]'s contract on a real backend.
//!
//! A failed rule is a panic, as in any test. `stream` keeps suites apart that share a store.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::{Error, ErrorKind, Key, MediaStore, Object, Payload, PutOptions};

/// Long enough for every rule but expiry.
const TTL: Duration = Duration::from_secs(60);

/// The whole suite.
pub async fn all(store: &dyn MediaStore, stream: &str) {
    is_healthy(store).await;
    gives_back_the_bytes_the_type_and_the_size(store, stream).await;
    takes_ropes_and_empty_objects(store, stream).await;
    overwrites_with_longer_and_with_shorter(store, stream).await;
    says_not_found_for_an_unknown_key(store, stream).await;
    deletes_idempotently(store, stream).await;
    replaces_only_what_is_there_or_says_that_it_cannot(store, stream).await;
    reads_ranges(store, stream).await;
    takes_a_large_object(store, stream).await;
    lists_by_prefix_or_says_that_it_cannot(store, stream).await;
    takes_many_objects_at_once(store, stream).await;
    never_shows_a_torn_object(store, stream).await;
    expires_objects(store, stream).await;
    renews_the_ttl_when_equal_bytes_are_put_again(store, stream).await;
}

fn key(stream: &str, rest: &str) -> Key {
    Key::parse(format!("{stream}_{rest}")).expect("a suite's key is valid")
}

async fn put(store: &dyn MediaStore, key: &Key, payload: impl Into<Payload>, ttl: Duration) {
    let put = store.put(key, payload.into(), &PutOptions::new(key, ttl)).await;
    put.unwrap_or_else(|error| panic!("{error}"));
}

async fn get(store: &dyn MediaStore, key: &Key) -> Object {
    store.get(key, None).await.unwrap_or_else(|error| panic!("{error}"))
}

fn is_not_found(result: &Result<Object, Error>) -> bool {
    matches!(result, Err(error) if error.kind() == ErrorKind::NotFound)
}

/// Bytes that differ at every offset and from seed to seed.
fn pattern(length: usize, seed: u8) -> Bytes {
    let mut state = u32::from(seed).wrapping_mul(0x9E37_79B9) | 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// `health` is a real round trip, and the store is there.
pub async fn is_healthy(store: &dyn MediaStore) {
    store.health().await.unwrap_or_else(|error| panic!("{error}"));
}

/// What was put is what is got, at once.
pub async fn gives_back_the_bytes_the_type_and_the_size(store: &dyn MediaStore, stream: &str) {
    for (name, content_type) in
        [("playlist.m3u8", "application/vnd.apple.mpegurl"), ("720p_segment000.ts", "video/mp2t")]
    {
        let key = key(stream, name);
        let bytes = pattern(1000, 1);
        put(store, &key, bytes.clone(), TTL).await;
        let object = get(store, &key).await;
        assert_eq!(object.payload.contiguous(), bytes, "{key}");
        assert_eq!(object.content_type, content_type);
        assert_eq!(object.size, 1000);
        if let Some(left) = object.ttl_left {
            assert!(left <= TTL && left > TTL - Duration::from_secs(30), "{left:?} left of {TTL:?}");
        }
    }
}

/// How a payload is cut does not matter.
pub async fn takes_ropes_and_empty_objects(store: &dyn MediaStore, stream: &str) {
    let whole = pattern(100_000, 2);
    let mut chunks: Vec<_> = (0..100).map(|n| whole.slice(n * 1000..(n + 1) * 1000)).collect();
    chunks.insert(0, Bytes::new());
    chunks.push(Bytes::new());
    let rope = key(stream, "rope.ts");
    put(store, &rope, chunks, TTL).await;
    assert_eq!(get(store, &rope).await.payload.contiguous(), whole);

    let empty = key(stream, "empty.ts");
    put(store, &empty, Bytes::new(), TTL).await;
    let object = get(store, &empty).await;
    assert_eq!((object.size, object.payload.len()), (0, 0));
}

/// Nothing of the old object is left.
pub async fn overwrites_with_longer_and_with_shorter(store: &dyn MediaStore, stream: &str) {
    let key = key(stream, "720p_playlist.m3u8");
    for (length, seed) in [(500, 3), (5_000, 4), (50, 5)] {
        put(store, &key, pattern(length, seed), TTL).await;
        assert_eq!(get(store, &key).await.payload.contiguous(), pattern(length, seed));
    }
}

/// Not found is its own kind of error, with and without a range.
pub async fn says_not_found_for_an_unknown_key(store: &dyn MediaStore, stream: &str) {
    let key = key(stream, "never_stored.ts");
    assert!(is_not_found(&store.get(&key, None).await));
    assert!(is_not_found(&store.get(&key, Some(0..10)).await));
}

/// A put that is to replace an object writes nothing where there is none.
pub async fn replaces_only_what_is_there_or_says_that_it_cannot(store: &dyn MediaStore, stream: &str) {
    let key = key(stream, "replaced_playlist.m3u8");
    let replace =
        async |text: &'static str| store.put(&key, text.into(), &PutOptions::new(&key, TTL).replace(true)).await;
    let absent = replace("never").await;
    if !store.capabilities().replaces {
        assert!(matches!(absent, Err(Error::Unsupported { .. })), "{absent:?}");
        return;
    }
    assert!(matches!(absent, Err(Error::NotFound { .. })), "{absent:?}");
    assert!(is_not_found(&store.get(&key, None).await));
    put(store, &key, "old", TTL).await;
    replace("new").await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(get(store, &key).await.payload, "new".into());
    store.delete(&key).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(matches!(replace("late").await, Err(Error::NotFound { .. })));
    assert!(is_not_found(&store.get(&key, None).await));
}

/// Deleting is `Ok` whether or not there was something, and what is deleted is not found.
pub async fn deletes_idempotently(store: &dyn MediaStore, stream: &str) {
    let key = key(stream, "deleted.ts");
    put(store, &key, "x", TTL).await;
    for _ in 0..2 {
        store.delete(&key).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(is_not_found(&store.get(&key, None).await));
    }
}

/// First, middle, last bytes; an end beyond the object is clamped, a beginning beyond it is an error.
pub async fn reads_ranges(store: &dyn MediaStore, stream: &str) {
    let key = key(stream, "720p_segment001.ts");
    let bytes = pattern(10_000, 6);
    put(store, &key, bytes.clone(), TTL).await;
    for (range, expected) in [
        (0..1, 0..1),
        (0..10_000, 0..10_000),
        (100..200, 100..200),
        (9_999..10_000, 9_999..10_000),
        (9_000..99_999, 9_000..10_000),
        (5..u64::MAX, 5..10_000),
    ] {
        let object = store.get(&key, Some(range.clone())).await.unwrap_or_else(|error| panic!("{range:?}: {error}"));
        assert_eq!(object.payload.contiguous(), bytes.slice(expected), "{range:?}");
        assert_eq!(object.size, 10_000, "{range:?}");
    }
    let beyond = store.get(&key, Some(10_000..10_001)).await;
    assert!(matches!(beyond, Err(Error::Range { size: 10_000, .. })), "{beyond:?}");
}

/// Five million bytes, or the store's own limit; one byte more than that limit is refused by name.
pub async fn takes_a_large_object(store: &dyn MediaStore, stream: &str) {
    let key = key(stream, "1080p_segment000.ts");
    let limit = store.capabilities().max_object.and_then(|limit| usize::try_from(limit).ok());
    let size = limit.map_or(5_000_000, |limit| limit.min(5_000_000));
    let bytes = pattern(size, 7);
    put(store, &key, bytes.clone(), TTL).await;
    assert_eq!(get(store, &key).await.payload.contiguous(), bytes);
    if let Some(limit) = limit.filter(|limit| *limit < 16 << 20) {
        let refused = store.put(&key, pattern(limit + 1, 8).into(), &PutOptions::new(&key, TTL)).await;
        assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
        assert_eq!(get(store, &key).await.payload.contiguous(), bytes, "the refused put changed the object");
    }
}

/// Every key with the prefix once, and none without it.
pub async fn lists_by_prefix_or_says_that_it_cannot(store: &dyn MediaStore, stream: &str) {
    let listed = ["list-a_segment000.ts", "list-a_segment001.ts", "list-a_playlist.m3u8"];
    for name in listed.iter().chain(&["list-b_segment000.ts"]) {
        put(store, &key(stream, name), "x", TTL).await;
    }
    let prefix = format!("{stream}_list-a_");
    if !store.capabilities().lists {
        assert!(matches!(store.list(&prefix).await, Err(Error::Unsupported { .. })));
        return;
    }
    let mut found = store.list(&prefix).await.unwrap_or_else(|error| panic!("{error}"));
    found.sort();
    let mut expected = listed.map(|name| key(stream, name));
    expected.sort();
    assert_eq!(found, expected);
    store.delete(&expected[0]).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(store.list(&prefix).await.unwrap_or_else(|error| panic!("{error}")).len(), 2);
    let nothing = store.list(&format!("{stream}_list-c")).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(nothing.is_empty());
}

/// Puts of many keys do not disturb each other.
pub async fn takes_many_objects_at_once(store: &dyn MediaStore, stream: &str) {
    let keys: Vec<_> = (0..60u8).map(|n| (key(stream, &format!("many_segment{n:03}.ts")), n)).collect();
    let puts = keys.iter().map(|(key, n)| put(store, key, pattern(20_000, *n), TTL));
    futures_util::future::join_all(puts).await;
    let gets = keys.iter().map(|(key, n)| async move {
        assert_eq!(get(store, key).await.payload.contiguous(), pattern(20_000, *n), "{key}");
    });
    futures_util::future::join_all(gets).await;
}

/// While a writer replaces an object again and again, four readers see one whole version or another.
pub async fn never_shows_a_torn_object(store: &dyn MediaStore, stream: &str) {
    const VERSIONS: u8 = 40;
    let key = key(stream, "torn_playlist.m3u8");
    let length = |version: u8| 100_000 + usize::from(version) * 997;
    let version = |v: u8| {
        let mut bytes = vec![v; length(v)];
        bytes[0] = v;
        Bytes::from(bytes)
    };
    put(store, &key, version(0), TTL).await;
    let (done, finished) = tokio::sync::watch::channel(false);
    let write = async {
        for v in 1..=VERSIONS {
            put(store, &key, version(v), TTL).await;
            assert_eq!(get(store, &key).await.payload.contiguous()[0], v, "a store must read its own write");
        }
        done.send_replace(true);
    };
    let read = || async {
        let mut reads = 0;
        while !*finished.borrow() || reads == 0 {
            let bytes = get(store, &key).await.payload.contiguous();
            let v = bytes[0];
            assert_eq!(bytes.len(), length(v), "torn at version {v}");
            assert!(bytes.iter().all(|b| *b == v), "mixed versions at {v}");
            reads += 1;
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(write, read(), read(), read(), read());
}

/// Not found any more once the TTL is over, not before, and not listed either.
pub async fn expires_objects(store: &dyn MediaStore, stream: &str) {
    let ttl = Duration::from_secs(2);
    let key = key(stream, "expiring_segment000.ts");
    let before = Instant::now();
    put(store, &key, "x", ttl).await;
    if before.elapsed() < ttl / 2 {
        get(store, &key).await;
    }
    until("expired", ttl + Duration::from_secs(3), || async { is_not_found(&store.get(&key, None).await) }).await;
    assert!(before.elapsed() > ttl - Duration::from_millis(100), "expired after {:?}", before.elapsed());
    if store.capabilities().lists {
        let listed = store.list(key.as_str()).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(listed.is_empty(), "an expired object is listed");
    }
}

/// A second put of the same bytes starts the TTL anew.
pub async fn renews_the_ttl_when_equal_bytes_are_put_again(store: &dyn MediaStore, stream: &str) {
    let key = key(stream, "renewed_playlist.m3u8");
    put(store, &key, "x", Duration::from_secs(2)).await;
    put(store, &key, "x", TTL).await;
    tokio::time::sleep(Duration::from_millis(3_100)).await;
    get(store, &key).await;
}

async fn until<F: Future<Output = bool>>(what: &str, deadline: Duration, condition: impl Fn() -> F) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < deadline, "not {what} after {deadline:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
