//! Momento: `momento:CACHE` through the official SDK, `momento-objectstore:STORE` over HTTP.
//!
//! | file | what |
//! |---|---|
//! | `access` | `MOMENTO_API_KEY` of both generations, `MOMENTO_ENDPOINT`, and what to say when they do not fit |
//! | `cache` | the store on a cache, through the SDK |
//! | `errors` | the SDK's errors in our terms |
//! | `objectstore` | the store on an object store, over its HTTP API |

mod access;
#[cfg(feature = "momento")]
pub(crate) mod cache;
#[cfg(feature = "momento")]
mod errors;
#[cfg(feature = "objectstore")]
pub(crate) mod objectstore;

pub(crate) use access::Access;

use std::time::Duration;

use crate::error::{At, Operation};
use crate::{Error, StoreUrl};

/// The dependency graph turns on both of rustls' providers (ring through tonic and reqwest, aws-lc-rs through the
/// SDK's other transport), and rustls panics where it has to choose. So the process says once which: ring. A provider
/// that is there already stays.
pub(crate) fn install_crypto_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// What opening a store does about the outcome of its first round trip: what can never work ends it with its one
/// sentence; a store that is only out of reach may come back, and the stream must not wait for it.
fn judge_first_round_trip(url: &StoreUrl, outcome: Result<(), Error>) -> Result<(), Error> {
    match outcome {
        Err(error) if error.kind() == crate::ErrorKind::Permanent => Err(error),
        Err(error) => {
            tracing::warn!(store = %url, %error, "the store does not answer yet; going on without it");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// A name that resolves to nothing is a wrong endpoint or a machine without a network; neither gets better by itself.
async fn check_resolves(url: &StoreUrl, access: &Access, host: &str, within: Duration) -> Result<(), Error> {
    let lookup = async { tokio::net::lookup_host((host, 443)).await.is_ok_and(|mut found| found.next().is_some()) };
    match tokio::time::timeout(within, lookup).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::Invalid {
            at: At::store(url, Operation::Open),
            detail: format!(
                "the host {host} is unknown: check that MOMENTO_ENDPOINT is the region's endpoint as the Momento \
                 console shows it (it is {}), and that this machine can resolve names",
                access.endpoint
            ),
        }),
        // A slow resolver is a slow store.
        Err(_) => Ok(()),
    }
}
