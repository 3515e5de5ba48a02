//! From store URLs to one store.

use std::sync::Arc;
use std::time::Duration;

use crate::url::Scheme;
use crate::{Error, Files, MediaStore, Memory, StoreUrl};

/// Where backends look up credentials. A function, so that nothing reads the process environment by itself.
pub type Env<'a> = &'a (dyn Fn(&str) -> Option<String> + Send + Sync);

/// What the backends need to know beforehand.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// TTL of what will be put, for warnings and the pace of the janitors.
    pub ttl: Duration,
    /// Longest that one attempt of one operation may take.
    pub attempt_timeout: Duration,
}

impl Default for OpenOptions {
    /// The tutorial's TTL of an hour. Five seconds an attempt: a 5 MB segment from outside the store's region takes
    /// longer than the 1.1 s of the tightest client defaults, and the publisher's own budget is below it anyway.
    fn default() -> Self {
        Self { ttl: Duration::from_secs(3_600), attempt_timeout: Duration::from_secs(5) }
    }
}

/// Opens one backend, without wrappers.
///
/// # Errors
/// What the URL, the credentials or the store say.
pub async fn open_backend(url: &StoreUrl, env: Env<'_>, options: &OpenOptions) -> Result<Arc<dyn MediaStore>, Error> {
    match url.scheme() {
        Scheme::Memory => Ok(Arc::new(Memory::open(url)?)),
        Scheme::File => Ok(Arc::new(Files::open_url(url).await?)),
        #[cfg(feature = "momento")]
        Scheme::Momento => crate::momento::cache::open(url, env, options).await,
        #[cfg(feature = "objectstore")]
        Scheme::MomentoObjectStore => crate::momento::objectstore::open(url, env, options).await,
        #[allow(unreachable_patterns)]
        scheme => {
            let _ = (env, options);
            Err(url.invalid(format!("this build has no support for {} stores", scheme.prefix())))
        }
    }
}
