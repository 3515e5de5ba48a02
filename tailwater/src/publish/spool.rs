//! Media that left memory before the store would take it: files in a bounded folder, gone with the process.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use store::Payload;

/// The folder, shared by all livestreams. Dropping the last clone removes it.
#[derive(Debug, Clone)]
pub struct Spool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    limit: u64,
    used: AtomicU64,
    next: AtomicU64,
}

impl Spool {
    /// A spool of at most `limit` bytes in `dir`, which is made when first needed and emptied now: what an earlier
    /// process left there belongs to no livestream of this one.
    pub fn new(dir: PathBuf, limit: u64) -> Self {
        if let Err(error) = std::fs::remove_dir_all(&dir)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(dir = %dir.display(), %error, "could not empty the spool");
        }
        Self { inner: Arc::new(Inner { dir, limit, used: AtomicU64::new(0), next: AtomicU64::new(0) }) }
    }

    /// Takes room for `bytes`; none when the spool is full.
    pub(super) fn reserve(&self, bytes: usize) -> Option<PathBuf> {
        let bytes = bytes as u64;
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.inner.limit);
        self.inner.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        let number = self.inner.next.fetch_add(1, Ordering::Relaxed);
        Some(self.inner.dir.join(format!("{number}.media")))
    }

    pub(super) async fn write(&self, path: &PathBuf, payload: &Payload) -> io::Result<()> {
        tokio::fs::create_dir_all(&self.inner.dir).await?;
        tokio::fs::write(path, payload.contiguous()).await
    }

    pub(super) async fn read(path: &PathBuf) -> io::Result<Payload> {
        Ok(Payload::from(bytes::Bytes::from(tokio::fs::read(path).await?)))
    }

    /// Gives the room of `bytes` back, and removes the file if it was written.
    pub(super) fn release(&self, path: PathBuf, bytes: usize) {
        self.inner.used.fetch_sub(bytes as u64, Ordering::Relaxed);
        tokio::spawn(async move {
            let _ = tokio::fs::remove_file(path).await;
        });
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
