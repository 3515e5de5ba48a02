//! The contract every backend keeps, and the values it speaks in.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use crate::error::{At, Operation};
use crate::{Error, Key, Payload};

/// Whole objects with a time to live.
///
/// # Contract
/// - **Atomic.** A `put` either makes the whole payload visible or nothing of it. No reader ever sees a part of an
///   object, or a mixture of an old and a new one; a read that began before an overwrite gives one of the two, whole.
/// - **Read your own write.** Once `put` has returned `Ok`, every `get` through the same store gives those bytes (or
///   newer ones) until the TTL is over. After an `Err` either the old or the new object may be there.
/// - **Idempotent.** Putting equal bytes again is harmless and renews the TTL; deleting what is not there is `Ok`.
///   This is what makes retries safe.
/// - **Expiry.** An object is not found once its TTL is over, to within a second, also by `list`. A store may lose
///   it earlier only by its documented bounds (bytes, memory), the oldest first.
/// - **Replacing.** A put that is to [`replace`](PutOptions::replace) an object looks for it and writes in one step:
///   where there is none, nothing is written. So a store that has lost everything is noticed before anything refers to
///   what it had.
/// - **Concurrent puts of one key** end with one of the payloads, whole. Callers that care which, keep their order.
/// - **`list`** gives the keys that begin with the prefix, each once, in no promised order; keys put or deleted while
///   it runs may or may not be among them. Stores that cannot list say [`Error::Unsupported`].
/// - **Metadata.** The content type follows from the key's extension where the store keeps none.
/// - **Cancellation.** Dropping the future of a `put` leaves the old or the new object, never a torn one.
///
/// `Display` names the store for logs and errors and never shows credentials.
#[async_trait]
pub trait MediaStore: Send + Sync + fmt::Debug + fmt::Display {
    /// Writes one object, replacing an older one of that key.
    ///
    /// # Errors
    /// [`Error::NotFound`] only where there is nothing to [`replace`](PutOptions::replace); [`Error::TooLarge`] before
    /// anything is sent; what the store says.
    async fn put(&self, key: &Key, payload: Payload, options: &PutOptions) -> Result<(), Error>;

    /// Reads an object, or the bytes of `range` (its end is clamped to the size).
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Range`] if the range begins at or after the end; what the store says.
    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Object, Error>;

    /// Removes an object. `Ok` if there was none.
    ///
    /// # Errors
    /// What the store says.
    async fn delete(&self, key: &Key) -> Result<(), Error>;

    /// The keys that begin with `prefix`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] by stores that cannot list; what the store says.
    async fn list(&self, prefix: &str) -> Result<Vec<Key>, Error>;

    /// A real round trip to the store.
    ///
    /// # Errors
    /// What a `put` would say now.
    async fn health(&self) -> Result<(), Error>;

    /// Waits until everything that was accepted has reached (or been lost by) every store behind this one. Only a
    /// [`crate::Tee`] has anything to wait for.
    async fn flush(&self) {}

    /// What the store can take, as far as it is known beforehand.
    fn capabilities(&self) -> Capabilities;
}

/// How an object is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutOptions {
    /// How long it can be read, from the moment it is stored.
    pub ttl: Duration,
    /// Media type, for stores that keep one.
    pub content_type: &'static str,
    /// `Cache-Control`, for stores that keep one.
    pub cache_control: Option<String>,
    /// Total time that all attempts together may take; `None` lets [`crate::Retry`] use its own. Zero is one attempt,
    /// for a caller that tries again itself.
    pub budget: Option<Duration>,
    /// Only over an object of this key that is there. [`Error::Unsupported`] by stores that are not able to, see
    /// [`Capabilities::replaces`].
    pub replace: bool,
}

impl PutOptions {
    /// Options with the content type of `key`, no cache control and the default budget.
    #[must_use]
    pub fn new(key: &Key, ttl: Duration) -> Self {
        Self { ttl, content_type: key.content_type(), cache_control: None, budget: None, replace: false }
    }

    /// With a `Cache-Control`.
    #[must_use]
    pub fn cache_control(mut self, value: impl Into<String>) -> Self {
        self.cache_control = Some(value.into());
        self
    }

    /// Whether it is only to replace an object that is there.
    #[must_use]
    pub fn replace(mut self, replace: bool) -> Self {
        self.replace = replace;
        self
    }

    /// With a total time for all attempts.
    #[must_use]
    pub fn budget(mut self, total: Duration) -> Self {
        self.budget = Some(total);
        self
    }
}

/// What `get` gives.
#[derive(Debug, Clone)]
pub struct Object {
    /// The bytes of the object, or of the range asked for.
    pub payload: Payload,
    /// Media type.
    pub content_type: Cow<'static, str>,
    /// Size of the whole object, in bytes, also when a range was asked for.
    pub size: u64,
    /// How long it can still be read, if the store says.
    pub ttl_left: Option<Duration>,
    /// When it was stored, if the store says.
    pub stored_at: Option<SystemTime>,
}

impl Object {
    /// A whole object with the content type of its key and nothing else known.
    #[must_use]
    pub fn whole(key: &Key, payload: Payload) -> Self {
        let size = payload.len() as u64;
        Self { payload, content_type: key.content_type().into(), size, ttl_left: None, stored_at: None }
    }

    /// Cuts a whole object down to `range`, for stores that can only read whole objects.
    ///
    /// # Errors
    /// [`Error::Range`].
    pub fn cut(
        mut self,
        store: &(impl fmt::Display + ?Sized),
        key: &Key,
        range: Option<Range<u64>>,
    ) -> Result<Self, Error> {
        if let Some(range) = range {
            let range = clamp(store, key, range, self.size)?;
            self.payload = self.payload.slice(range);
        }
        Ok(self)
    }
}

/// `range` with its end clamped to `size`.
///
/// # Errors
/// [`Error::Range`] if it begins at or after the end, or is empty.
pub fn clamp(
    store: &(impl fmt::Display + ?Sized),
    key: &Key,
    range: Range<u64>,
    size: u64,
) -> Result<Range<u64>, Error> {
    let clamped = range.start..range.end.min(size);
    if clamped.is_empty() {
        return Err(Error::Range { at: At::key(store, Operation::Get, key), size });
    }
    Ok(clamped)
}

/// What a store can take, as far as it is documented or configured; `None` is "no limit known".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Largest object, in bytes.
    pub max_object: Option<u64>,
    /// Longest TTL.
    pub max_ttl: Option<Duration>,
    /// Operations a second.
    pub operations_per_second: Option<u64>,
    /// Bytes a second, written.
    pub bytes_per_second: Option<u64>,
    /// Bytes kept at a time.
    pub memory: Option<u64>,
    /// The store is in this process or on its disk: cheap to ask, gone with the machine.
    pub local: bool,
    /// `list` works.
    pub lists: bool,
    /// [`PutOptions::replace`] works.
    pub replaces: bool,
}

#[async_trait]
impl<S: MediaStore + ?Sized> MediaStore for std::sync::Arc<S> {
    async fn put(&self, key: &Key, payload: Payload, options: &PutOptions) -> Result<(), Error> {
        (**self).put(key, payload, options).await
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Object, Error> {
        (**self).get(key, range).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        (**self).delete(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, Error> {
        (**self).list(prefix).await
    }

    async fn health(&self) -> Result<(), Error> {
        (**self).health().await
    }

    async fn flush(&self) {
        (**self).flush().await;
    }

    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }
}
