//! The items of one cache or one object store, with their time to live.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use axum::http::{HeaderName, HeaderValue};
use bytes::Bytes;
use tokio::time::Instant;

/// "For ever", to a process.
const DURABLE: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// One stored value.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) value: Bytes,
    pub(crate) expires: Instant,
    /// Headers to answer with; object stores only.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// Tells apart the writes of one key in `by_expiry`.
    number: u64,
}

/// Items by key. Expired ones are never seen; every call drops those whose time has come.
#[derive(Debug)]
pub(crate) struct Shelf {
    items: HashMap<Vec<u8>, Item>,
    by_expiry: BTreeMap<(Instant, u64), Vec<u8>>,
    bytes: usize,
    capacity: usize,
    writes: u64,
}

impl Shelf {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { items: HashMap::new(), by_expiry: BTreeMap::new(), bytes: 0, capacity, writes: 0 }
    }

    pub(crate) fn get(&mut self, key: &[u8], now: Instant) -> Option<&Item> {
        self.expire(now);
        self.items.get(key)
    }

    /// `ttl` of `None` is for ever. What would expire first makes room.
    pub(crate) fn put(
        &mut self,
        key: Vec<u8>,
        value: Bytes,
        headers: Vec<(HeaderName, HeaderValue)>,
        ttl: Option<Duration>,
        now: Instant,
    ) {
        self.expire(now);
        self.remove(&key, now);
        self.writes += 1;
        let expires = now + ttl.unwrap_or(DURABLE).min(DURABLE);
        self.bytes += key.len() + value.len();
        self.by_expiry.insert((expires, self.writes), key.clone());
        self.items.insert(key, Item { value, expires, headers, number: self.writes });
        while self.bytes > self.capacity && self.items.len() > 1 {
            self.drop_first();
        }
    }

    /// Whether it was there.
    pub(crate) fn remove(&mut self, key: &[u8], now: Instant) -> bool {
        self.expire(now);
        let Some(item) = self.items.remove(key) else { return false };
        self.by_expiry.remove(&(item.expires, item.number));
        self.bytes -= key.len() + item.value.len();
        true
    }

    /// Sets a new end for an item that is there.
    pub(crate) fn set_ttl(&mut self, key: &[u8], ttl: Duration, now: Instant) {
        if let Some(Item { value, headers, .. }) = self.get(key, now).cloned() {
            self.put(key.to_vec(), value, headers, Some(ttl), now);
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self { writes: self.writes, ..Self::new(self.capacity) };
    }

    pub(crate) fn len(&mut self, now: Instant) -> usize {
        self.expire(now);
        self.items.len()
    }

    pub(crate) fn iter(&mut self, now: Instant) -> impl Iterator<Item = (&[u8], &Bytes)> {
        self.expire(now);
        self.items.iter().map(|(key, item)| (key.as_slice(), &item.value))
    }

    fn expire(&mut self, now: Instant) {
        while self.by_expiry.first_key_value().is_some_and(|((expires, _), _)| *expires <= now) {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        let Some((_, key)) = self.by_expiry.pop_first() else { return };
        if let Some(item) = self.items.remove(&key) {
            self.bytes -= key.len() + item.value.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn put(shelf: &mut Shelf, key: &str, size: usize, ttl: u32, now: Instant) {
        shelf.put(key.into(), vec![0; size].into(), Vec::new(), Some(SECOND * ttl), now);
    }

    #[test]
    fn an_item_is_gone_at_its_time_and_not_before() {
        let (mut shelf, now) = (Shelf::new(1000), Instant::now());
        put(&mut shelf, "a", 10, 2, now);
        assert!(shelf.get(b"a", now + SECOND).is_some());
        assert!(shelf.get(b"a", now + SECOND * 2).is_none());
    }

    #[test]
    fn an_overwrite_takes_the_new_time_to_live() {
        let (mut shelf, now) = (Shelf::new(1000), Instant::now());
        put(&mut shelf, "a", 10, 2, now);
        put(&mut shelf, "a", 20, 10, now + SECOND);
        let item = shelf.get(b"a", now + SECOND * 5).unwrap();
        assert_eq!(item.value.len(), 20);
        assert_eq!(shelf.bytes, 21);
    }

    #[test]
    fn what_expires_first_makes_room() {
        let (mut shelf, now) = (Shelf::new(100), Instant::now());
        put(&mut shelf, "long", 40, 100, now);
        put(&mut shelf, "short", 40, 10, now);
        put(&mut shelf, "new", 40, 50, now);
        assert!(shelf.get(b"short", now).is_none());
        assert!(shelf.get(b"long", now).is_some() && shelf.get(b"new", now).is_some());
    }

    #[test]
    fn nothing_leaks_in_the_index() {
        let (mut shelf, now) = (Shelf::new(1000), Instant::now());
        for round in 0..50 {
            put(&mut shelf, "a", 10, 5, now + SECOND * round);
            shelf.set_ttl(b"a", SECOND * 9, now + SECOND * round);
        }
        assert_eq!((shelf.by_expiry.len(), shelf.bytes), (1, 11));
        assert!(shelf.remove(b"a", now + SECOND * 50));
        assert_eq!((shelf.by_expiry.len(), shelf.bytes), (0, 0));
    }
}
