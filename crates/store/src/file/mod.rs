//! `file:PATH`, the embedded store: plain files that a user can see, copy and delete.
//!
//! ```text
//! <data>/<stream>/<rendition>/<stream>_<rendition>_segment000.ts
//! <data>/<stream>/<stream>_playlist.m3u8
//! ```
//!
//! A file's **modification time is its expiry**. That is one date in the inode, set before the rename that makes the
//! object visible: it can never be out of step with the object, costs no second file, survives `kill -9`, `cp -a` and
//! `rsync -t`, and `ls -l` shows it. (A side file can be torn or lost; extended attributes are dropped by most copies
//! and missing on some file systems; the access time is rewritten by readers.) When the object was stored is the
//! file's birth time.
//!
//! Expiry, age and size of all objects are also held in memory (a [`crate::index`]), read from the files once at start.

mod disk;
mod errors;
mod layout;

use std::fmt;
use std::fs::{File, TryLockError};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::error::{At, Operation};
use crate::index::{Entry, FillAlarm, Index, OVERHEAD, cost};
use crate::memory::{JANITOR_PERIOD, warn_nearly_full};
use crate::{Capabilities, Error, Key, MediaStore, Object, Payload, PutOptions, StoreUrl};

/// Default bound of the folder, in bytes: two hours of the default ladder.
pub const FILE_MAX_BYTES: u64 = 10 << 30;
/// Default bound of what is also held in memory, in bytes: 50 s of the default ladder.
pub const FILE_HOT_BYTES: u64 = 64 << 20;

/// File operations at a time. A disk gains nothing from more, and each needs a thread and an open file.
const CONCURRENT_FILES: usize = 32;
/// Locks that keep writers and removers of one key apart; keys share them by hash.
const STRIPES: usize = 64;
/// How long a predecessor in the same folder may take to die.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
const LOCK_FILE: &str = ".lock";

/// Where and how much.
#[derive(Debug, Clone)]
pub struct FileConfig {
    /// The data folder; made if it is not there.
    pub root: PathBuf,
    /// Bound of all objects, in bytes.
    pub max_bytes: u64,
    /// Bound of what is held in memory as well, in bytes.
    pub hot_bytes: u64,
    /// The clock that expiry goes by.
    pub clock: Clock,
}

impl FileConfig {
    /// The defaults, in folder `root`.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), max_bytes: FILE_MAX_BYTES, hot_bytes: FILE_HOT_BYTES, clock: Clock::system() }
    }
}

/// The embedded store. Cloning shares it.
#[derive(Clone)]
pub struct Files {
    inner: Arc<Inner>,
}

struct Inner {
    config: FileConfig,
    /// Held while the store lives: two processes must not tidy one folder.
    _lock: File,
    state: Mutex<State>,
    stripes: Vec<Mutex<()>>,
    /// Objects by key, with the generation that they are of.
    hot: Cache<Key, (u64, Payload)>,
    counter: AtomicU64,
    files: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    index: Index<()>,
    /// Bytes of puts on their way, counted against the bound before they are written.
    coming: u64,
    alarm: FillAlarm,
}

impl Files {
    /// Opens the folder, takes up what is in it and starts the janitor.
    ///
    /// # Errors
    /// [`Error::Auth`] if the folder cannot be written, [`Error::Full`], [`Error::Unavailable`] if another process has
    /// it, [`Error::Backend`] for what else the file system says.
    pub async fn open(config: FileConfig) -> Result<Self, Error> {
        let at = At::store(&Named(&config.root), Operation::Open);
        let opened = tokio::task::spawn_blocking(move || Inner::open(config)).await;
        let inner = match opened {
            Ok(Ok(inner)) => Arc::new(inner),
            Ok(Err(error)) => return Err(errors::io(at, &error)),
            Err(_) => return Err(errors::interrupted(at)),
        };
        tokio::spawn(janitor(Arc::downgrade(&inner)));
        let (objects, bytes) = inner.read_state(|state| (state.index.len(), state.index.bytes()));
        tracing::info!(folder = %inner.config.root.display(), objects, bytes, "embedded store opened");
        Ok(Self { inner })
    }

    /// `file:PATH?max=10GiB&hot=64MiB`.
    pub(crate) async fn open_url(url: &StoreUrl) -> Result<Self, Error> {
        url.allow_query(&["max", "hot"])?;
        let mut config = FileConfig::new(url.location());
        config.max_bytes = url.bytes("max")?.unwrap_or(config.max_bytes);
        config.hot_bytes = url.bytes("hot")?.unwrap_or(config.hot_bytes);
        Self::open(config).await
    }

    /// Bytes held at present, with a little for each object beside its bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.inner.read_state(|state| state.index.bytes())
    }

    /// Runs `work` on a thread for blocking work, a bounded number at a time.
    async fn blocking<T: Send + 'static>(
        &self,
        at: impl Fn() -> At,
        work: impl FnOnce(&Inner) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = self.inner.files.clone().acquire_owned().await;
        let inner = self.inner.clone();
        // The permit goes with the work, which goes on when the caller stops waiting.
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&inner)
        });
        match done.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(errors::io(at(), &error)),
            Err(_) => Err(errors::interrupted(at())),
        }
    }
}

impl Inner {
    fn open(config: FileConfig) -> io::Result<Self> {
        std::fs::create_dir_all(&config.root)?;
        let lock = lock(&config.root)?;
        let counter = AtomicU64::new(0);
        disk::probe(&config.root, counter.fetch_add(1, Ordering::Relaxed))?;
        let mut state = State::default();
        for object in disk::scan(&config.root, config.clock.now())? {
            state.index.insert(object.key, object.size, object.expires, object.stored, ());
        }
        let hot = Cache::builder()
            .max_capacity(config.hot_bytes)
            .weigher(|_: &Key, (_, payload): &(u64, Payload)| {
                u32::try_from(cost(payload.len() as u64)).unwrap_or(u32::MAX)
            })
            // The default policy refuses new entries in favour of popular old ones, which is wrong at a live edge.
            .eviction_policy(EvictionPolicy::lru())
            .build();
        let inner = Self {
            config,
            _lock: lock,
            state: Mutex::new(state),
            stripes: std::iter::repeat_with(Mutex::default).take(STRIPES).collect(),
            hot,
            counter,
            files: Arc::new(Semaphore::new(CONCURRENT_FILES)),
        };
        inner.make_room(0);
        Ok(inner)
    }

    fn read_state<T>(&self, read: impl FnOnce(&mut State) -> T) -> T {
        // A panic while the lock was held would have been in the standard collections; what they hold is still whole.
        read(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn stripe(&self, key: &Key) -> MutexGuard<'_, ()> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        #[allow(clippy::cast_possible_truncation)]
        let stripe = &self.stripes[hash as usize % STRIPES];
        stripe.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, key: &Key) -> io::Result<PathBuf> {
        layout::path(&self.config.root, key).ok_or_else(|| io::ErrorKind::InvalidFilename.into())
    }

    fn put(&self, key: &Key, payload: Payload, ttl: Duration) -> io::Result<()> {
        let path = self.path(key)?;
        let expires = self.config.clock.expiry(ttl);
        let size = payload.len() as u64;
        self.make_room(cost(size));
        let written = disk::write(&path, self.counter.fetch_add(1, Ordering::Relaxed), &payload, expires)
            .and_then(|temporary| self.publish(key, payload, &temporary, &path, expires));
        let (bytes, alarm) = self.read_state(|state| {
            state.coming -= cost(size);
            let bytes = state.index.bytes();
            (bytes, state.alarm.observe(bytes, self.config.max_bytes))
        });
        if alarm {
            warn_nearly_full(&Named(&self.config.root).to_string(), bytes, self.config.max_bytes);
        }
        written
    }

    /// The rename is the moment at which readers see the object.
    fn publish(
        &self,
        key: &Key,
        payload: Payload,
        temporary: &Path,
        path: &Path,
        expires: SystemTime,
    ) -> io::Result<()> {
        let _alone = self.stripe(key);
        if let Err(error) = std::fs::rename(temporary, path) {
            let _ = std::fs::remove_file(temporary);
            return Err(error);
        }
        let (size, now) = (payload.len() as u64, self.config.clock.now());
        let generation = self.read_state(|state| state.index.insert(key.clone(), size, expires, Some(now), ()));
        self.hot.insert(key.clone(), (generation, payload));
        Ok(())
    }

    /// Announces `coming` bytes and evicts until they fit. What is evicted is no longer found from that moment on.
    fn make_room(&self, coming: u64) {
        let now = self.config.clock.now();
        let mut evicted = Vec::new();
        self.read_state(|state| {
            state.coming += coming;
            while state.index.bytes() + state.coming > self.config.max_bytes {
                match state.index.pop_expired(now).or_else(|| state.index.pop_oldest()) {
                    Some((key, _)) => evicted.push(key),
                    None => break,
                }
            }
        });
        self.remove_files(&evicted);
    }

    /// Removes the files of keys that are no longer in the index, unless they have been put again meanwhile.
    fn remove_files(&self, keys: &[Key]) {
        for key in keys {
            let _alone = self.stripe(key);
            if self.read_state(|state| state.index.contains(key)) {
                continue;
            }
            self.hot.invalidate(key);
            let removed = self.path(key).and_then(|path| disk::remove(&self.config.root, &path));
            if let Err(error) = removed {
                tracing::warn!(%key, %error, "an expired object could not be removed; it is tried again at the next start");
            }
        }
    }

    fn delete(&self, key: &Key) -> io::Result<()> {
        let Some(path) = layout::path(&self.config.root, key) else { return Ok(()) };
        let _alone = self.stripe(key);
        self.read_state(|state| state.index.remove(key));
        self.hot.invalidate(key);
        disk::remove(&self.config.root, &path)
    }

    fn sweep(&self) {
        let now = self.config.clock.now();
        let mut expired = Vec::new();
        let (objects, bytes) = self.read_state(|state| {
            while let Some((key, _)) = state.index.pop_expired(now) {
                expired.push(key);
            }
            (state.index.len(), state.index.bytes())
        });
        #[allow(clippy::cast_precision_loss)]
        {
            metrics::gauge!("tailwater_store_held_bytes").set(bytes as f64);
            metrics::gauge!("tailwater_store_held_objects").set(objects as f64);
        }
        self.remove_files(&expired);
    }

    /// Reads from disk what the index promised. `None`: somebody removed the file.
    fn read(&self, key: &Key, range: Option<Range<u64>>, generation: u64) -> io::Result<Option<disk::Reading>> {
        let whole = range.is_none();
        match disk::read(&self.path(key)?, range) {
            Ok(reading) => {
                if whole {
                    self.hot.insert(key.clone(), (generation, reading.bytes.clone().into()));
                }
                Ok(Some(reading))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let _alone = self.stripe(key);
                self.read_state(|state| state.index.remove_generation(key, generation));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

fn lock(root: &Path) -> io::Result<File> {
    let file = File::create(root.join(LOCK_FILE))?;
    let began = std::time::Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if began.elapsed() > LOCK_PATIENCE => {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

async fn janitor(store: Weak<Inner>) {
    let mut ticks = tokio::time::interval(JANITOR_PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(store) = store.upgrade() else { return };
        if tokio::task::spawn_blocking(move || store.sweep()).await.is_err() {
            return;
        }
    }
}

#[async_trait]
impl MediaStore for Files {
    async fn put(&self, key: &Key, payload: Payload, options: &PutOptions) -> Result<(), Error> {
        let (size, limit) = (payload.len() as u64, self.inner.config.max_bytes.saturating_sub(OVERHEAD));
        if size > limit {
            return Err(Error::TooLarge { at: At::key(self, Operation::Put, key), size, limit });
        }
        if options.replace {
            return Err(Error::Unsupported { at: At::key(self, Operation::Put, key) });
        }
        let (owned, ttl) = (key.clone(), options.ttl);
        self.blocking(|| At::key(self, Operation::Put, key), move |inner| inner.put(&owned, payload, ttl)).await
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Object, Error> {
        let now = self.inner.config.clock.now();
        let at = || At::key(self, Operation::Get, key);
        let entry = self.inner.read_state(|state| state.index.get(key, now).cloned());
        let Entry { generation, expires, stored, .. } = entry.ok_or_else(|| Error::NotFound { at: at() })?;
        let describe = |object| Object { ttl_left: expires.duration_since(now).ok(), stored_at: stored, ..object };
        if let Some((_, payload)) = self.inner.hot.get(key).filter(|(of, _)| *of == generation) {
            return describe(Object::whole(key, payload)).cut(self, key, range);
        }
        let (owned, wanted) = (key.clone(), range.clone());
        let reading = self.blocking(at, move |inner| inner.read(&owned, wanted, generation)).await?;
        let disk::Reading { bytes, size } = reading.ok_or_else(|| Error::NotFound { at: at() })?;
        if let Some(range) = range {
            crate::clamp(self, key, range, size)?;
        }
        Ok(Object { size, ..describe(Object::whole(key, bytes.into())) })
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        let owned = key.clone();
        self.blocking(|| At::key(self, Operation::Delete, key), move |inner| inner.delete(&owned)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, Error> {
        let now = self.inner.config.clock.now();
        Ok(self.inner.read_state(|state| state.index.list(prefix, now)))
    }

    async fn health(&self) -> Result<(), Error> {
        let probe = |inner: &Inner| disk::probe(&inner.config.root, inner.counter.fetch_add(1, Ordering::Relaxed));
        self.blocking(|| At::store(self, Operation::Health), probe).await
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            max_object: Some(self.inner.config.max_bytes.saturating_sub(OVERHEAD)),
            memory: Some(self.inner.config.max_bytes),
            local: true,
            lists: true,
            ..Capabilities::default()
        }
    }
}

/// The store's name before it exists.
struct Named<'a>(&'a Path);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file:{}", self.0.display())
    }
}

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Named(&self.inner.config.root).fmt(f)
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
