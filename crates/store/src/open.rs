//! From store URLs to one store.

use std::sync::Arc;
use std::time::Duration;

use crate::url::Scheme;
use crate::{
    Error, Files, Limit, LimitConfig, MediaStore, Memory, Metered, Retry, RetryConfig, Secondary, StoreUrl, Tee,
};

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
        #[cfg(feature = "redis")]
        Scheme::Redis | Scheme::RedisTls | Scheme::RedisCluster | Scheme::RedisClusterTls => {
            crate::redis::open(url, env, options)
        }
        #[cfg(feature = "s3")]
        Scheme::S3 => crate::s3::open(url, env, options).await,
        #[allow(unreachable_patterns)]
        scheme => {
            let _ = (env, options);
            Err(url.invalid(format!("this build has no support for {} stores", scheme.prefix())))
        }
    }
}

/// Opens all `urls` as one store: the first is the primary, the others get everything as well ([`Tee`]). Each is
/// bounded, measured and tried again ([`Retry`] around [`Limit`] around [`Metered`]).
///
/// # Errors
/// No URL at all; what the URLs, the credentials or the stores say.
pub async fn open(urls: &[StoreUrl], env: Env<'_>, options: &OpenOptions) -> Result<Arc<dyn MediaStore>, Error> {
    let Some((first, others)) = urls.split_first() else {
        let at = crate::At::store("store", crate::Operation::Open);
        return Err(Error::Invalid { at, detail: "no store is given; file:tailwater-data needs nothing".into() });
    };
    if first.ttl()?.is_some() {
        return Err(first.invalid("the first store has the TTL of --ttl; only further ones have their own".into()));
    }
    let primary = wrapped(first, env, options).await?;
    if others.is_empty() {
        return Ok(primary);
    }
    let mut secondaries = Vec::new();
    for url in others {
        let ttl = url.ttl()?;
        let options = OpenOptions { ttl: ttl.unwrap_or(options.ttl), ..options.clone() };
        secondaries.push(Secondary { store: wrapped(url, env, &options).await?, ttl });
    }
    Ok(Arc::new(Tee::new(primary, secondaries)))
}

async fn wrapped(url: &StoreUrl, env: Env<'_>, options: &OpenOptions) -> Result<Arc<dyn MediaStore>, Error> {
    let backend = open_backend(url, env, options).await?;
    let limited = Limit::new(Metered::new(backend), LimitConfig::default());
    Ok(Arc::new(Retry::new(limited, RetryConfig::default())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Key, PutOptions};

    async fn open_all(urls: &[&str]) -> Result<Arc<dyn MediaStore>, Error> {
        let urls: Vec<_> = urls.iter().map(|url| StoreUrl::parse(url).unwrap()).collect();
        open(&urls, &|_| None, &OpenOptions::default()).await
    }

    #[tokio::test(start_paused = true)]
    async fn two_stores_are_a_tee_and_the_second_has_its_own_ttl() {
        let folder = tempfile::tempdir().unwrap();
        let second = format!("file:{}?ttl=7d", folder.path().display());
        let store = open_all(&["memory:", &second]).await.unwrap();
        let key = Key::parse("s_playlist.m3u8").unwrap();
        store.put(&key, "x".into(), &PutOptions::new(&key, Duration::from_secs(1))).await.unwrap();
        store.flush().await;
        let file = std::fs::metadata(folder.path().join("s/s_playlist.m3u8")).unwrap();
        let left = file.modified().unwrap().duration_since(std::time::SystemTime::now()).unwrap();
        assert!(left > Duration::from_secs(6 * 86_400), "{left:?}");
        assert!(store.to_string().starts_with("memory: and file:"), "{store}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_makes_no_sense_is_refused() {
        for urls in [&[][..], &["memory:?ttl=1h"], &["memory:?hot=1"], &["memory:", "memory:?ttl=0s"]] {
            let refused = open_all(urls).await;
            assert!(matches!(refused, Err(Error::Invalid { .. })), "{urls:?}: {refused:?}");
        }
    }
}
