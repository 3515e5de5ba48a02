//! Reads the store: for what the live window has let go, and for livestreams that run elsewhere.
//!
//! Equal reads at the same time are one read. What a remote store said is kept for a moment, also that it has nothing, so
//! that a crowd at a playlist, or a player that polls a name nobody has, costs the store a read or two a second and
//! this process a bounded amount of memory.

use std::{
    fmt,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use moka::{Expiry, future::Cache, policy::EvictionPolicy};
use store::{Error, ErrorKind, Key, MediaStore, Object};

/// Bytes of remote objects kept.
const CACHE_BYTES: u64 = 64 << 20;
/// A playlist changes once a segment: half of one is what a player does not notice.
const PLAYLIST_LIFE: Duration = Duration::from_millis(500);
/// Nobody's segments change, but they need room.
const MEDIA_LIFE: Duration = Duration::from_secs(10);
/// A player that asks for what is not there asks again in a second.
const NOTHING_LIFE: Duration = Duration::from_secs(1);
/// What an entry costs beside its bytes.
const ENTRY_BYTES: usize = 512;

/// The store behind the live windows.
pub struct Fallback {
    store: Arc<dyn MediaStore>,
    local: bool,
    cache: Cache<Key, Found>,
}

#[derive(Clone)]
enum Found {
    Object(Arc<Object>),
    Nothing,
}

/// Why the store gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It has no such object.
    NotFound,
    /// The range begins beyond the object of this size.
    Range {
        /// Bytes of the object.
        size: u64,
    },
    /// It cannot be read now.
    Unavailable,
}

impl Fallback {
    /// Reads from `store`.
    pub fn new(store: Arc<dyn MediaStore>) -> Self {
        let local = store.capabilities().local;
        let cache = Cache::builder()
            .max_capacity(CACHE_BYTES)
            // The default policy would refuse the newest segment in favour of older, more popular ones.
            .eviction_policy(EvictionPolicy::lru())
            .weigher(|key: &Key, found: &Found| {
                let bytes = match found {
                    Found::Object(object) => object.payload.len(),
                    Found::Nothing => 0,
                };
                u32::try_from(bytes + key.as_str().len() + ENTRY_BYTES).unwrap_or(u32::MAX)
            })
            .expire_after(Life)
            .build();
        Self { store, local, cache }
    }

    /// An object, or some bytes of it.
    ///
    /// # Errors
    /// [`Missing`].
    pub async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Object, Missing> {
        if self.local {
            return self.store.get(key, range).await.map_err(|error| missing(&error));
        }
        let read = async {
            match self.store.get(key, None).await {
                Ok(object) => Ok(Found::Object(Arc::new(object))),
                Err(error) => match missing(&error) {
                    Missing::NotFound => Ok(Found::Nothing),
                    other => Err(other),
                },
            }
        };
        match self.cache.try_get_with_by_ref(key, read).await {
            Ok(Found::Object(object)) => {
                let object = Object::clone(&object);
                object.cut(&*self.store, key, range).map_err(|error| missing(&error))
            }
            Ok(Found::Nothing) => Err(Missing::NotFound),
            Err(missing) => Err(*missing),
        }
    }
}

impl fmt::Debug for Fallback {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Fallback").field("store", &self.store.to_string()).finish_non_exhaustive()
    }
}

fn missing(error: &Error) -> Missing {
    match (error, error.kind()) {
        (Error::Range { size, .. }, _) => Missing::Range { size: *size },
        (_, ErrorKind::NotFound) => Missing::NotFound,
        _ => {
            metrics::counter!("tailwater_origin_store_errors_total").increment(1);
            tracing::debug!(%error, "the origin cannot read the store");
            Missing::Unavailable
        }
    }
}

struct Life;

impl Expiry<Key, Found> for Life {
    fn expire_after_create(&self, key: &Key, found: &Found, _: Instant) -> Option<Duration> {
        Some(match found {
            Found::Nothing => NOTHING_LIFE,
            Found::Object(_) if key.extension() == Some("m3u8") => PLAYLIST_LIFE,
            Found::Object(object) => object.ttl_left.map_or(MEDIA_LIFE, |left| left.min(MEDIA_LIFE)),
        })
    }
}
