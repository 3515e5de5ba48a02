//! `momento:CACHE`: a Momento cache through the official SDK.
//!
//! What the SDK leaves to its user is done here or above: it never retries (the `Retry` wrapper does), names a
//! timeout "cancelled" (see `errors`), has deadlines of 1.1 s by default and none at all while it connects or on its
//! control plane (both are bounded here).
//!
//! Copies of an object's bytes in this process: two on a put (chunks into the one `Vec` the SDK takes, and that into
//! the message), two on a get (the frames into a buffer, and that into a `Vec`, which becomes the payload as it is).

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use momento::cache::{Configuration, GetResponse, SetIfPresentRequest, SetIfPresentResponse, SetRequest};
use momento::config::grpc_configuration::GrpcConfiguration;
use momento::config::transport_strategy::TransportStrategy;
use momento::{CacheClient, CredentialProvider, MomentoResult};

use super::access::{Access, Endpoint, Generation};
use super::errors::{Context, translate};
use super::{check_resolves, install_crypto_provider, judge_first_round_trip};
use crate::error::{At, Operation};
use crate::open::{Env, OpenOptions};
use crate::{Capabilities, Error, Key, MAX_KEY_BYTES, MediaStore, Object, Payload, PutOptions, StoreUrl};

/// The cache of the tutorial.
const DEFAULT_CACHE: &str = "livestreams";
/// "5 MB including the key": what remains for the longest of keys. (Other pages of the documentation say 1 MB and
/// 10 MB: `?max_object=` for those who know better.)
const MAX_OBJECT: u64 = 5_000_000 - MAX_KEY_BYTES as u64;
/// The SDK's cap of a message is 10,486,000 bytes; the rest is the key and the framing.
const MESSAGE_CAP: u64 = 10_486_000 - 2 * MAX_KEY_BYTES as u64;
/// "24 hours" for an on-demand cache; unlimited where hot storage is provisioned (`?max_ttl=`).
const MAX_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// Six uploads of a megabyte and more run at a time with the default ladder: on one connection the small playlist
/// would queue behind them.
const CONNECTIONS: usize = 4;
/// The default limits of an account, per region: requests a second, bytes of hot storage.
const OPERATIONS_PER_SECOND: u64 = 100;
const HOT_STORAGE: u64 = 100_000_000;
/// What `health` writes.
const PROBE: &str = "tailwater-health";
const PROBE_TTL: Duration = Duration::from_secs(60);

/// A Momento cache.
struct MomentoCache {
    client: CacheClient,
    cache: String,
    endpoint: String,
    deadline: Duration,
    max_object: u64,
    max_ttl: Duration,
}

/// Opens `momento:CACHE[?create=true&connections=N&max_object=SIZE&max_ttl=DUR]`.
///
/// # Errors
/// A missing or bad key, a missing cache, an endpoint that is none: one sentence each. A service that is only out of
/// reach is a warning.
pub(crate) async fn open(url: &StoreUrl, env: Env<'_>, options: &OpenOptions) -> Result<Arc<dyn MediaStore>, Error> {
    url.allow_query(&["create", "connections", "max_object", "max_ttl"])?;
    let (create, connections) = (url.flag("create")?, connections(url)?);
    let access = Access::from_env(url, env)?;
    let store = MomentoCache {
        client: client(url, &access, options.attempt_timeout, connections)?,
        cache: cache_name(url),
        endpoint: access.endpoint.to_string(),
        deadline: options.attempt_timeout,
        max_object: max_object(url)?,
        max_ttl: url.duration("max_ttl")?.unwrap_or(MAX_TTL),
    };
    if let Endpoint::Host(host) = &access.endpoint {
        check_resolves(url, &access, &format!("cache.{host}"), options.attempt_timeout).await?;
    }
    if options.ttl > store.max_ttl {
        tracing::warn!(
            store = %store, ttl = ?options.ttl, longest = ?store.max_ttl,
            "this TTL is longer than the cache takes: objects get the longest there is; set a shorter ttl, or max_ttl \
             in the store URL where hot storage is provisioned"
        );
    }
    judge_first_round_trip(url, store.prepare(create).await)?;
    Ok(Arc::new(store))
}

impl MomentoCache {
    /// The first round trips. A key that may only read will do for a server that only serves.
    async fn prepare(&self, create: bool) -> Result<(), Error> {
        if create {
            let at = At::store(self, Operation::Open);
            self.call(at, None, self.client.create_cache(&self.cache)).await?;
        }
        self.call(At::store(self, Operation::Open), None, self.client.get(&self.cache, PROBE)).await?;
        if let Err(error @ Error::Auth { .. }) = self.health().await {
            tracing::warn!(store = %self, %error, "this API key can read but not write: streams cannot be stored here");
        }
        Ok(())
    }

    /// Every call ends by the deadline: the SDK's own does not count the time to connect, nor the control plane.
    async fn call<T>(
        &self,
        at: At,
        size: Option<u64>,
        work: impl Future<Output = MomentoResult<T>>,
    ) -> Result<T, Error> {
        let began = Instant::now();
        let Ok(result) = tokio::time::timeout(self.deadline, work).await else {
            return Err(Error::Timeout { at, after: self.deadline });
        };
        result.map_err(|error| {
            let context = Context {
                at,
                cache: &self.cache,
                endpoint: &self.endpoint,
                deadline: self.deadline,
                took: began.elapsed(),
                size: size.map(|size| (size, self.max_object)),
            };
            translate(&error, context)
        })
    }
}

#[async_trait]
impl MediaStore for MomentoCache {
    async fn put(&self, key: &Key, payload: Payload, options: &PutOptions) -> Result<(), Error> {
        let at = At::key(self, Operation::Put, key);
        let size = payload.len() as u64;
        if size > self.max_object {
            return Err(Error::TooLarge { at, size, limit: self.max_object });
        }
        let (bytes, ttl) = (collect(&payload), options.ttl.min(self.max_ttl));
        if !options.replace {
            let request = SetRequest::new(&self.cache, key.as_str(), bytes).ttl(ttl);
            return self.call(at, Some(size), self.client.send_request(request)).await.map(drop);
        }
        let request = SetIfPresentRequest::new(&self.cache, key.as_str(), bytes).ttl(ttl);
        match self.call(at.clone(), Some(size), self.client.send_request(request)).await? {
            SetIfPresentResponse::Stored => Ok(()),
            SetIfPresentResponse::NotStored => Err(Error::NotFound { at }),
        }
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Object, Error> {
        let at = At::key(self, Operation::Get, key);
        match self.call(at.clone(), None, self.client.get(&self.cache, key.as_str())).await? {
            GetResponse::Hit { value } => Object::whole(key, Vec::<u8>::from(value).into()).cut(self, key, range),
            GetResponse::Miss => Err(Error::NotFound { at }),
        }
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        let at = At::key(self, Operation::Delete, key);
        self.call(at, None, self.client.delete(&self.cache, key.as_str())).await.map(drop)
    }

    async fn list(&self, _prefix: &str) -> Result<Vec<Key>, Error> {
        Err(Error::Unsupported { at: At::store(self, Operation::List) })
    }

    async fn health(&self) -> Result<(), Error> {
        let request = SetRequest::new(&self.cache, PROBE, "ok").ttl(PROBE_TTL);
        self.call(At::store(self, Operation::Health), None, self.client.send_request(request)).await.map(drop)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            max_object: Some(self.max_object),
            max_ttl: Some(self.max_ttl),
            operations_per_second: Some(OPERATIONS_PER_SECOND),
            bytes_per_second: None,
            memory: Some(HOT_STORAGE),
            local: false,
            lists: false,
            replaces: true,
        }
    }
}

impl fmt::Display for MomentoCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "momento:{}", self.cache)
    }
}

impl fmt::Debug for MomentoCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MomentoCache({} at {})", self.cache, self.endpoint)
    }
}

/// The one `Vec` that the SDK takes.
fn collect(payload: &Payload) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len());
    payload.chunks().iter().for_each(|chunk| bytes.extend_from_slice(chunk));
    bytes
}

fn cache_name(url: &StoreUrl) -> String {
    let name = url.location().trim_matches('/');
    if name.is_empty() { DEFAULT_CACHE.to_owned() } else { name.to_owned() }
}

fn connections(url: &StoreUrl) -> Result<usize, Error> {
    match url.query("connections").map(str::parse) {
        None => Ok(CONNECTIONS),
        // The SDK panics beyond 200.
        Some(Ok(count @ 1..=200)) => Ok(count),
        Some(_) => Err(url.invalid("connections is a number from 1 to 200".into())),
    }
}

fn max_object(url: &StoreUrl) -> Result<u64, Error> {
    match url.bytes("max_object")? {
        None => Ok(MAX_OBJECT),
        Some(size) if (1..=MESSAGE_CAP).contains(&size) => Ok(size),
        Some(_) => {
            Err(url.invalid(format!("max_object is at most {MESSAGE_CAP} bytes: the SDK sends no more at once")))
        }
    }
}

fn client(url: &StoreUrl, access: &Access, deadline: Duration, connections: usize) -> Result<CacheClient, Error> {
    install_crypto_provider();
    let grpc = GrpcConfiguration::builder()
        .deadline(deadline)
        .keep_alive_while_idle(true)
        .keep_alive_interval(Duration::from_secs(5))
        // The SDK's own second is too short for a ping that waits behind a segment on a slow uplink.
        .keep_alive_timeout(deadline);
    let built = credentials(access).and_then(|credentials| {
        CacheClient::builder()
            .default_ttl(PROBE_TTL)
            .configuration(
                Configuration::builder().transport_strategy(TransportStrategy::builder().grpc_configuration(grpc)),
            )
            .credential_provider(credentials)
            .with_num_connections(connections)
            .build()
    });
    // Its errors hold no key; a bad endpoint shows here.
    built.map_err(|error| url.invalid(format!("MOMENTO_ENDPOINT {} cannot be used: {error}", access.endpoint)))
}

fn credentials(access: &Access) -> MomentoResult<CredentialProvider> {
    let host = match &access.endpoint {
        Endpoint::Host(host) => host.as_str(),
        // Replaced below, but the constructor wants one.
        Endpoint::Plain(_) => "localhost",
    };
    let credentials = match access.generation {
        Generation::Second => CredentialProvider::from_api_key_v2(&access.key, host)?,
        Generation::First => CredentialProvider::from_disposable_token(first_generation(&access.key, host))?,
    };
    Ok(match &access.endpoint {
        Endpoint::Host(_) => credentials,
        Endpoint::Plain(url) => credentials.insecure_endpoint_override(url),
    })
}

/// Keys of the first generation enter the SDK in the form of disposable tokens, which is the same: the constructor
/// for keys is deprecated. Made anew, so that an endpoint of the environment goes before the key's own.
fn first_generation(api_key: &str, endpoint: &str) -> String {
    use base64::Engine as _;
    let json = serde_json::json!({"endpoint": endpoint, "api_key": api_key});
    base64::engine::general_purpose::URL_SAFE.encode(json.to_string())
}
