//! `momento-objectstore:STORE`: Momento's Object Store (a bucket with a cache before it) over its HTTP API.
//!
//! Content type and cache control travel as `mo-meta-*` and come back as the headers they are, so that a CDN or a
//! player can read straight from it. No ranges, listing or largest object are documented: ranges are cut here, and
//! listing is not supported.
//!
//! Copies of an object's bytes in this process: one on a put if it is in several chunks, one on a get.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};

use super::{Access, check_resolves, install_crypto_provider, judge_first_round_trip};
use crate::error::{At, Operation};
use crate::open::{Env, OpenOptions};
use crate::{Capabilities, Error, Key, MediaStore, Object, Payload, PutOptions, StoreUrl};

/// The default limits of an object store; they are raised in its `object_store_limits`.
const OPERATIONS_PER_SECOND: u64 = 100;
const BYTES_PER_SECOND: u64 = 1_048_576;
/// What is read of a refusal: enough for the service's sentence.
const EXPLANATION_BYTES: usize = 500;
/// What `health` writes.
const PROBE: &str = "tailwater-health";
const PROBE_TTL: Duration = Duration::from_secs(60);

/// A Momento object store.
struct ObjectStore {
    client: Client,
    /// `<endpoint>/objectstore/<store>`.
    base: String,
    store: String,
    deadline: Duration,
}

/// Opens `momento-objectstore:STORE[?endpoint=URL]`. The endpoint of the HTTP API is `https://api.cache.<host>` for a
/// `MOMENTO_ENDPOINT` (or a key) that names a host, and `MOMENTO_ENDPOINT` itself when it begins with `http://`;
/// `?endpoint=` goes before both: momento-fake listens elsewhere for HTTP than for gRPC.
///
/// # Errors
/// A missing or bad key, a missing store, an endpoint that is none: one sentence each. A service that is only out of
/// reach is a warning.
pub(crate) async fn open(url: &StoreUrl, env: Env<'_>, options: &OpenOptions) -> Result<Arc<dyn MediaStore>, Error> {
    url.allow_query(&["endpoint"])?;
    let access = Access::from_env(url, env)?;
    let endpoint = url.query("endpoint").map_or_else(|| access.endpoint.http_api(), str::to_owned);
    let endpoint = url::Url::parse(&endpoint).map_err(|error| {
        url.invalid(format!("the endpoint {endpoint} is no URL such as https://api.cache.<host>: {error}"))
    })?;
    let name = url.location().trim_matches('/').to_owned();
    let store = ObjectStore {
        client: client(url, &access, options.attempt_timeout)?,
        base: format!("{}/objectstore/{name}", endpoint.as_str().trim_end_matches('/')),
        store: name,
        deadline: options.attempt_timeout,
    };
    if let Some(url::Host::Domain(host)) = endpoint.host() {
        check_resolves(url, &access, host, options.attempt_timeout).await?;
    }
    judge_first_round_trip(url, store.prepare().await)?;
    Ok(Arc::new(store))
}

impl ObjectStore {
    /// The first round trips. A key that may only read will do for a server that only serves.
    async fn prepare(&self) -> Result<(), Error> {
        let at = At::store(self, Operation::Open);
        match self.send(at, self.request(Method::GET, PROBE)).await {
            Ok(_) | Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        if let Err(error @ Error::Auth { .. }) = self.health().await {
            tracing::warn!(store = %self, %error, "this API key can read but not write: streams cannot be stored here");
        }
        Ok(())
    }

    /// Keys are safe in a path as they are.
    fn request(&self, method: Method, key: &str) -> RequestBuilder {
        self.client.request(method, format!("{}/{key}", self.base))
    }

    fn write(&self, key: &str, body: bytes::Bytes, ttl: Duration) -> RequestBuilder {
        // Whole seconds: rounded up, so that nothing ends before its time.
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        self.request(Method::PUT, key)
            .query(&[("ttl_seconds", seconds.max(1))])
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(body)
    }

    async fn send(&self, at: At, request: RequestBuilder) -> Result<Response, Error> {
        let response = request.send().await.map_err(|error| self.translate(at.clone(), &error))?;
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(at, response).await) }
    }

    fn translate(&self, at: At, error: &reqwest::Error) -> Error {
        if error.is_timeout() {
            return Error::Timeout { at, after: self.deadline };
        }
        Error::Unavailable { at, detail: innermost(error) }
    }

    async fn refusal(&self, at: At, response: Response) -> Error {
        let (status, retry_after) = (response.status(), retry_after(response.headers()));
        let said = explanation(response).await;
        match status {
            StatusCode::NOT_FOUND if said.to_ascii_lowercase().contains("store not found") => Error::NoSuchStore {
                at,
                detail: format!(
                    "there is no object store `{}` at {}: create it in the Momento console or by PUT \
                     /objectstore/{0}; if it exists, it is in another region: set MOMENTO_ENDPOINT to that one",
                    self.store, self.base
                ),
            },
            StatusCode::NOT_FOUND => Error::NotFound { at },
            StatusCode::UNAUTHORIZED => Error::Auth {
                at,
                detail: format!(
                    "Momento does not know this API key ({said}): check that MOMENTO_API_KEY is whole, neither \
                     expired nor revoked, and meant for this region"
                ),
            },
            StatusCode::FORBIDDEN => Error::Auth {
                at,
                detail: format!("the role of MOMENTO_API_KEY lacks the right to do this in `{}`: {said}", self.store),
            },
            StatusCode::TOO_MANY_REQUESTS => Error::Throttled { at, detail: said, retry_after },
            StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => {
                Error::Unavailable { at, detail: format!("{status}: {said}") }
            }
            status if status.is_server_error() => Error::Unavailable { at, detail: format!("{status}: {said}") },
            _ => Error::Invalid { at, detail: format!("{status}: {said}") },
        }
    }
}

#[async_trait]
impl MediaStore for ObjectStore {
    async fn put(&self, key: &Key, payload: Payload, options: &PutOptions) -> Result<(), Error> {
        let at = At::key(self, Operation::Put, key);
        if options.replace {
            return Err(Error::Unsupported { at });
        }
        let mut request = self
            .write(key.as_str(), payload.contiguous(), options.ttl)
            .header("mo-meta-content-type", options.content_type);
        if let Some(cache_control) = &options.cache_control {
            request = request.header("mo-meta-cache-control", cache_control);
        }
        self.send(at, request).await.map(drop)
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Object, Error> {
        let at = At::key(self, Operation::Get, key);
        let response = self.send(at.clone(), self.request(Method::GET, key.as_str())).await?;
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(String::from);
        let bytes = response.bytes().await.map_err(|error| self.translate(at, &error))?;
        let mut object = Object::whole(key, bytes.into());
        if let Some(content_type) = content_type {
            object.content_type = content_type.into();
        }
        object.cut(self, key, range)
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        let at = At::key(self, Operation::Delete, key);
        match self.send(at, self.request(Method::DELETE, key.as_str())).await {
            Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn list(&self, _prefix: &str) -> Result<Vec<Key>, Error> {
        Err(Error::Unsupported { at: At::store(self, Operation::List) })
    }

    async fn health(&self) -> Result<(), Error> {
        let at = At::store(self, Operation::Health);
        self.send(at, self.write(PROBE, bytes::Bytes::from_static(b"ok"), PROBE_TTL)).await.map(drop)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            max_object: None,
            max_ttl: None,
            operations_per_second: Some(OPERATIONS_PER_SECOND),
            bytes_per_second: Some(BYTES_PER_SECOND),
            memory: None,
            local: false,
            lists: false,
            replaces: false,
        }
    }
}

impl fmt::Display for ObjectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "momento-objectstore:{}", self.store)
    }
}

impl fmt::Debug for ObjectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectStore({})", self.base)
    }
}

fn client(url: &StoreUrl, access: &Access, deadline: Duration) -> Result<Client, Error> {
    install_crypto_provider();
    let mut key = HeaderValue::from_str(&access.key)
        .map_err(|_| url.invalid("MOMENTO_API_KEY holds characters that cannot be sent".into()))?;
    key.set_sensitive(true);
    let headers = HeaderMap::from_iter([(AUTHORIZATION, key)]);
    let client = Client::builder().default_headers(headers).timeout(deadline).connect_timeout(deadline);
    // A redirect would carry the key elsewhere.
    let client = client.redirect(reqwest::redirect::Policy::none()).build();
    client.map_err(|error| url.invalid(format!("cannot make an HTTP client: {error}")))
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

/// The service's sentence: plain text, or `{"message": …}`.
async fn explanation(mut response: Response) -> String {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > EXPLANATION_BYTES {
            body.truncate(EXPLANATION_BYTES);
            break;
        }
    }
    let message = serde_json::from_slice::<serde_json::Value>(&body)
        .ok()
        .and_then(|json| json.get("message").and_then(serde_json::Value::as_str).map(String::from));
    message.unwrap_or_else(|| String::from_utf8_lossy(&body).trim().to_owned())
}

/// reqwest's own text repeats the URL; the innermost says what happened.
fn innermost(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
