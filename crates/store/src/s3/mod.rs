//! `s3://bucket/prefix`: S3 and what speaks its protocol.
//!
//! An object is at `<prefix>/<key>` with its content type and cache control, and with its expiry (milliseconds since
//! the Unix epoch) in the user metadata `x-amz-meta-tailwater-expires`. S3 itself forgets nothing by the second: here
//! an expired object is not found any more, and a janitor removes it. A lifecycle rule of the bucket may do that as
//! well, a day later.

mod config;
mod errors;
mod janitor;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Attribute, Attributes, GetOptions, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload};

use self::config::Config;
use self::errors::store_error;
use crate::clock::Clock;
use crate::error::{At, Operation};
use crate::key::is_key_byte;
use crate::open::{Env, OpenOptions};
use crate::{Capabilities, Error, Key, MediaStore, Object, Payload, PutOptions, StoreUrl};

/// Largest object of a single put, by S3's documentation.
const MAX_OBJECT: u64 = 5 << 30;
const EXPIRES: Attribute = Attribute::Metadata(Cow::Borrowed("tailwater-expires"));
/// Metadata requests at a time, when the expiry of listed objects has to be looked up.
const LOOKUPS: usize = 16;
/// Objects with a shorter TTL than the store's that are remembered; there are hardly any.
const MAX_SHORT_LIVED: usize = 10_000;

/// An S3 bucket, or a part of one.
pub(crate) struct S3 {
    inner: Arc<Inner>,
}

struct Inner {
    client: Arc<dyn ObjectStore>,
    prefix: Path,
    /// What expires earlier than this is remembered below; what is younger than this need not be asked for its expiry.
    ttl: Duration,
    timeout: Duration,
    clock: Clock,
    name: String,
    short_lived: Mutex<BTreeMap<Key, SystemTime>>,
}

/// Opens the bucket and writes and removes an object in it.
pub(crate) async fn open(url: &StoreUrl, env: Env<'_>, options: &OpenOptions) -> Result<Arc<dyn MediaStore>, Error> {
    let Config { client, prefix, ttl, timeout, name } = Config::new(url, env, options)?;
    let store = S3::new(Arc::new(client), prefix, ttl, timeout, name, Clock::system());
    match store.probe(Operation::Open).await {
        Ok(()) => {}
        // Down is not wrong: it may come back, and the broadcast does not wait for it.
        Err(error @ (Error::Unavailable { .. } | Error::Timeout { .. })) => {
            tracing::warn!(%error, "the store cannot be reached yet; it is used as soon as it can");
        }
        Err(error) => return Err(error),
    }
    Ok(Arc::new(store))
}

impl S3 {
    fn new(
        client: Arc<dyn ObjectStore>,
        prefix: Path,
        ttl: Duration,
        timeout: Duration,
        name: String,
        clock: Clock,
    ) -> Self {
        let inner = Arc::new(Inner { client, prefix, ttl, timeout, clock, name, short_lived: Mutex::default() });
        tokio::spawn(janitor::run(Arc::downgrade(&inner), ttl));
        Self { inner }
    }

    /// Under a name that no key has, so that no list shows it.
    async fn probe(&self, operation: Operation) -> Result<(), Error> {
        let inner = &*self.inner;
        let at = || At::store(self, operation);
        let path = inner.prefix.clone().join(".tailwater-probe");
        let write = async {
            inner.client.put(&path, PutPayload::from_static(b"probe")).await?;
            inner.client.delete(&path).await
        };
        inner.within(at, write).await
    }
}

impl Inner {
    fn path(&self, key: &Key) -> Path {
        self.prefix.clone().join(key.as_str())
    }

    /// The key of a listed object, unless it is somebody else's or lies deeper.
    fn key_of(&self, location: &Path) -> Option<Key> {
        let mut parts = location.prefix_match(&self.prefix)?;
        let (key, deeper) = (parts.next()?, parts.next());
        deeper.is_none().then(|| Key::parse(key.as_ref()).ok())?
    }

    async fn within<T>(
        &self,
        at: impl Fn() -> At,
        exchange: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(result) => result.map_err(|error| store_error(at(), &error, self.timeout)),
            Err(_) => Err(Error::Timeout { at: at(), after: self.timeout }),
        }
    }

    /// Remembers what lives shorter than the store's TTL tells a janitor and a list to look for.
    fn remember(&self, key: &Key, ttl: Duration, expires: SystemTime) {
        let mut short_lived = self.short_lived.lock().unwrap_or_else(PoisonError::into_inner);
        short_lived.remove(key);
        if ttl < self.ttl && short_lived.len() < MAX_SHORT_LIVED {
            short_lived.insert(key.clone(), expires);
        }
    }

    fn short_lived_expiry(&self, key: &Key) -> Option<SystemTime> {
        self.short_lived.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    /// Whether an object as listed has expired, if that needs no request: only what is older than the store's TTL
    /// and was not put from here with a shorter one needs one.
    fn known_to_have_expired(&self, key: &Key, meta: &ObjectMeta) -> Option<bool> {
        let now = self.clock.now();
        if let Some(expires) = self.short_lived_expiry(key) {
            return Some(expires <= now);
        }
        (SystemTime::from(meta.last_modified) + self.ttl > now).then_some(false)
    }

    /// Asks for an object's own mark. Without one it is not ours to judge.
    async fn look_up(&self, key: Key, location: Path) -> object_store::Result<Judged> {
        let head = GetOptions { head: true, ..GetOptions::default() };
        let expired = match self.client.get_opts(&location, head).await {
            Ok(result) => expiry(&result).is_some_and(|expires| expires <= self.clock.now()),
            Err(object_store::Error::NotFound { .. }) => false,
            Err(error) => return Err(error),
        };
        Ok(Judged { key, location, expired })
    }

    /// Our objects whose keys begin with `prefix`, each judged, until `keep` says that it is enough. Memory is bounded by what is
    /// kept of them.
    async fn judge(&self, prefix: &str, mut keep: impl FnMut(Judged) -> bool + Send) -> object_store::Result<()> {
        let mut listed = self.client.list(self.folder());
        let mut lookups = FuturesUnordered::new();
        while let Some(meta) = listed.next().await {
            let meta = meta?;
            let Some(key) = self.key_of(&meta.location).filter(|key| key.as_str().starts_with(prefix)) else {
                continue;
            };
            let go_on = match self.known_to_have_expired(&key, &meta) {
                Some(expired) => keep(Judged { key, location: meta.location, expired }),
                None => {
                    lookups.push(self.look_up(key, meta.location));
                    lookups.len() < LOOKUPS || lookups.try_next().await?.is_none_or(&mut keep)
                }
            };
            if !go_on {
                return Ok(());
            }
        }
        while let Some(judged) = lookups.try_next().await? {
            keep(judged);
        }
        Ok(())
    }

    fn folder(&self) -> Option<&Path> {
        (!self.prefix.as_ref().is_empty()).then_some(&self.prefix)
    }
}

/// An object as listed.
struct Judged {
    key: Key,
    location: Path,
    expired: bool,
}

fn expiry(result: &GetResult) -> Option<SystemTime> {
    let milliseconds = result.attributes.get(&EXPIRES)?.parse().ok()?;
    Some(UNIX_EPOCH + Duration::from_millis(milliseconds))
}

fn attributes(options: &PutOptions, expires: SystemTime) -> Attributes {
    let milliseconds = expires.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let mut attributes = Attributes::new();
    attributes.insert(Attribute::ContentType, options.content_type.into());
    attributes.insert(EXPIRES, milliseconds.to_string().into());
    if let Some(value) = &options.cache_control {
        attributes.insert(Attribute::CacheControl, value.clone().into());
    }
    attributes
}

#[async_trait]
impl MediaStore for S3 {
    async fn put(&self, key: &Key, payload: Payload, options: &PutOptions) -> Result<(), Error> {
        let (inner, at) = (&*self.inner, || At::key(self, Operation::Put, key));
        if options.replace {
            return Err(Error::Unsupported { at: at() });
        }
        let size = payload.len() as u64;
        if size > MAX_OBJECT {
            return Err(Error::TooLarge { at: at(), size, limit: MAX_OBJECT });
        }
        let expires = inner.clock.expiry(options.ttl);
        inner.remember(key, options.ttl, expires);
        let path = inner.path(key);
        let rope: PutPayload = payload.chunks().iter().filter(|chunk| !chunk.is_empty()).cloned().collect();
        let put = inner.client.put_opts(&path, rope, attributes(options, expires).into());
        inner.within(at, put).await.map(|_| ())
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Object, Error> {
        let (inner, at) = (&*self.inner, || At::key(self, Operation::Get, key));
        let path = inner.path(key);
        let head = || GetOptions { head: true, ..GetOptions::default() };
        // The range is checked first: servers answer one beyond the end with an error that says nothing.
        let range = match range {
            Some(range) => {
                let size = inner.within(at, inner.client.get_opts(&path, head())).await?.meta.size;
                Some(crate::clamp(self, key, range, size)?)
            }
            None => None,
        };
        let read = async {
            let options = GetOptions { range: range.map(Into::into), ..GetOptions::default() };
            let result = inner.client.get_opts(&path, options).await?;
            let (meta, expires) = (result.meta.clone(), expiry(&result));
            let content_type = result.attributes.get(&Attribute::ContentType).map(|value| value.to_string());
            Ok((meta, expires, content_type, result.bytes().await?))
        };
        let (meta, expires, content_type, bytes) = inner.within(at, read).await?;
        let now = inner.clock.now();
        if expires.is_some_and(|expires| expires <= now) {
            return Err(Error::NotFound { at: at() });
        }
        Ok(Object {
            payload: bytes.into(),
            content_type: content_type.map_or_else(|| key.content_type().into(), Cow::Owned),
            size: meta.size,
            ttl_left: expires.and_then(|expires| expires.duration_since(now).ok()),
            stored_at: Some(meta.last_modified.into()),
        })
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        let (inner, at) = (&*self.inner, || At::key(self, Operation::Delete, key));
        let path = inner.path(key);
        let delete = async {
            match inner.client.delete(&path).await {
                Err(object_store::Error::NotFound { .. }) => Ok(()),
                deleted => deleted,
            }
        };
        inner.within(at, delete).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, Error> {
        if !prefix.bytes().all(is_key_byte) {
            return Ok(Vec::new());
        }
        let at = || At { object: Some(prefix.into()), ..At::store(self, Operation::List) };
        let mut keys = Vec::new();
        let judge = self.inner.judge(prefix, |object| {
            if !object.expired {
                keys.push(object.key);
            }
            true
        });
        self.inner.within(at, judge).await?;
        Ok(keys)
    }

    async fn health(&self) -> Result<(), Error> {
        self.probe(Operation::Health).await
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { max_object: Some(MAX_OBJECT), lists: true, ..Capabilities::default() }
    }
}

impl fmt::Display for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.name)
    }
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3").field("name", &self.inner.name).finish_non_exhaustive()
    }
}
