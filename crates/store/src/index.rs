//! What a local store holds, by key, by age and by expiry. Pure: no clock, no files.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::SystemTime;

use crate::Key;

/// Memory that one object costs beside its bytes, so that a flood of empty objects is bounded as well.
pub(crate) const OVERHEAD: u64 = 256;

/// One object.
#[derive(Debug, Clone)]
pub(crate) struct Entry<V> {
    /// Length of the object, in bytes.
    pub(crate) size: u64,
    /// When it stops being readable.
    pub(crate) expires: SystemTime,
    /// When it was stored, if known.
    pub(crate) stored: Option<SystemTime>,
    /// Rises with every insertion: two entries of one key differ in it.
    pub(crate) generation: u64,
    /// What else the store keeps.
    pub(crate) value: V,
}

/// Position in the order of eviction: media segments go before everything else, then the oldest first. Playlists and
/// init sections are small, and without them the segments that remain could not be played.
type Turn = (bool, u64);

#[derive(Debug)]
pub(crate) struct Index<V> {
    entries: BTreeMap<Key, Entry<V>>,
    turns: BTreeMap<Turn, Key>,
    expiries: BTreeSet<(SystemTime, Turn)>,
    bytes: u64,
    generation: u64,
}

impl<V> Default for Index<V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), turns: BTreeMap::new(), expiries: BTreeSet::new(), bytes: 0, generation: 0 }
    }
}

/// What an object of `size` bytes counts for.
pub(crate) fn cost(size: u64) -> u64 {
    size.saturating_add(OVERHEAD)
}

fn is_segment(key: &Key) -> bool {
    key.as_str().rsplit('_').next().is_some_and(|field| field.starts_with("segment"))
}

impl<V> Index<V> {
    /// Adds or replaces; the newest in age. Gives its generation.
    pub(crate) fn insert(
        &mut self,
        key: Key,
        size: u64,
        expires: SystemTime,
        stored: Option<SystemTime>,
        value: V,
    ) -> u64 {
        self.remove(&key);
        self.generation += 1;
        let generation = self.generation;
        let turn = (!is_segment(&key), generation);
        self.bytes += cost(size);
        self.turns.insert(turn, key.clone());
        self.expiries.insert((expires, turn));
        self.entries.insert(key, Entry { size, expires, stored, generation, value });
        generation
    }

    /// The object, unless it has expired by `now`.
    pub(crate) fn get(&self, key: &Key, now: SystemTime) -> Option<&Entry<V>> {
        self.entries.get(key).filter(|entry| entry.expires > now)
    }

    pub(crate) fn contains(&self, key: &Key) -> bool {
        self.entries.contains_key(key)
    }

    pub(crate) fn remove(&mut self, key: &Key) -> Option<Entry<V>> {
        let entry = self.entries.remove(key)?;
        let turn = (!is_segment(key), entry.generation);
        self.turns.remove(&turn);
        self.expiries.remove(&(entry.expires, turn));
        self.bytes -= cost(entry.size);
        Some(entry)
    }

    /// Removes the object only if it is still that one.
    pub(crate) fn remove_generation(&mut self, key: &Key, generation: u64) -> Option<Entry<V>> {
        if self.entries.get(key)?.generation != generation {
            return None;
        }
        self.remove(key)
    }

    /// Removes one object that has expired by `now`.
    pub(crate) fn pop_expired(&mut self, now: SystemTime) -> Option<(Key, Entry<V>)> {
        let (expires, turn) = *self.expiries.first()?;
        if expires > now {
            return None;
        }
        let key = self.turns.get(&turn)?.clone();
        let entry = self.remove(&key)?;
        Some((key, entry))
    }

    /// Removes the object whose turn it is.
    pub(crate) fn pop_oldest(&mut self) -> Option<(Key, Entry<V>)> {
        let (_, key) = self.turns.first_key_value()?;
        let key = key.clone();
        let entry = self.remove(&key)?;
        Some((key, entry))
    }

    /// Keys that begin with `prefix` and have not expired by `now`, in order.
    pub(crate) fn list(&self, prefix: &str, now: SystemTime) -> Vec<Key> {
        self.entries
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.as_str().starts_with(prefix))
            .filter(|(_, entry)| entry.expires > now)
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// Everything held, with what it costs beside its bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// Tells once that a bounded store is nearly full, and again only after it has been emptier in between.
#[derive(Debug, Default)]
pub(crate) struct FillAlarm {
    raised: bool,
}

impl FillAlarm {
    /// True when `bytes` passes 90 % of `max` for the first time since it was below 80 %.
    pub(crate) fn observe(&mut self, bytes: u64, max: u64) -> bool {
        if bytes >= max / 10 * 9 {
            !std::mem::replace(&mut self.raised, true)
        } else {
            self.raised &= bytes >= max / 10 * 8;
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn key(text: &str) -> Key {
        Key::parse(text).unwrap()
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_oldest_segment_goes_first_and_playlists_last() {
        let mut index = Index::default();
        for name in ["s_720p_init0.mp4", "s_720p_segment000.m4s", "s_720p_segment001.m4s", "s_playlist.m3u8"] {
            index.insert(key(name), 1, at(9), None, ());
        }
        let order: Vec<_> = std::iter::from_fn(|| index.pop_oldest()).map(|(key, _)| key.to_string()).collect();
        assert_eq!(order, ["s_720p_segment000.m4s", "s_720p_segment001.m4s", "s_720p_init0.mp4", "s_playlist.m3u8"]);
        assert_eq!(index.bytes(), 0);
    }

    #[test]
    fn expiry_is_exact_and_earliest_first() {
        let mut index = Index::default();
        index.insert(key("b"), 1, at(20), None, ());
        index.insert(key("a"), 1, at(10), None, ());
        assert!(index.get(&key("a"), at(9)).is_some());
        assert!(index.get(&key("a"), at(10)).is_none());
        assert!(index.pop_expired(at(9)).is_none());
        assert_eq!(index.pop_expired(at(10)).unwrap().0, key("a"));
        assert!(index.pop_expired(at(10)).is_none());
    }

    #[test]
    fn renewing_an_object_moves_its_expiry_and_its_turn() {
        let mut index = Index::default();
        index.insert(key("a"), 1, at(10), None, 1);
        index.insert(key("b"), 1, at(10), None, 2);
        index.insert(key("a"), 5, at(30), None, 3);
        assert_eq!(index.pop_expired(at(20)).unwrap().0, key("b"));
        assert!(index.pop_expired(at(20)).is_none());
        assert_eq!(index.bytes(), cost(5));
        assert_eq!(index.get(&key("a"), at(20)).unwrap().value, 3);
    }

    #[test]
    fn the_alarm_rings_once_until_the_store_was_emptier() {
        let mut alarm = FillAlarm::default();
        let rings: Vec<_> = [50, 90, 95, 85, 91, 79, 92].map(|bytes| alarm.observe(bytes, 100)).to_vec();
        assert_eq!(rings, [false, true, false, false, false, false, true]);
    }

    proptest! {
        #[test]
        fn bytes_are_the_sum_of_what_is_held(
            steps in proptest::collection::vec((0u8..3, 0u8..6, 0u64..100, 0u64..50), 0..80),
        ) {
            let mut index = Index::default();
            let mut model = BTreeMap::new();
            for (step, name, size, time) in steps {
                let name = key(&format!("s_{name}"));
                match step {
                    0 => { index.insert(name.clone(), size, at(time), None, ()); model.insert(name, (size, time)); }
                    1 => { prop_assert_eq!(index.remove(&name).is_some(), model.remove(&name).is_some()); }
                    _ => {
                        while index.pop_expired(at(time)).is_some() {}
                        model.retain(|_, (_, expires)| *expires > time);
                    }
                }
                prop_assert_eq!(index.len(), model.len());
                prop_assert_eq!(index.bytes(), model.values().map(|(size, _)| cost(*size)).sum::<u64>());
                prop_assert_eq!(index.list("s_", at(0)).len(), model.values().filter(|(_, e)| *e > 0).count());
            }
        }
    }
}
