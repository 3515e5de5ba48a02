//! The SDK's errors in our terms.
//!
//! Three of them do not mean what they say: a client-side deadline arrives as "cancelled by the server" (tonic maps
//! its expired timeout to `Cancelled`), a message over the client's own cap as an exceeded limit of the account, and a
//! connection that broke as an internal error with an address for support.

use std::error::Error as _;
use std::time::Duration;

use momento::{MomentoError, MomentoErrorCode as Code};

use crate::Error;
use crate::error::At;

/// What an error is told with.
pub(super) struct Context<'a> {
    pub(super) at: At,
    pub(super) cache: &'a str,
    pub(super) endpoint: &'a str,
    /// The deadline of the call.
    pub(super) deadline: Duration,
    /// How long the call took.
    pub(super) took: Duration,
    /// Size of the object that was put, in bytes, and what this store takes.
    pub(super) size: Option<(u64, u64)>,
}

pub(super) fn translate(error: &MomentoError, context: Context<'_>) -> Error {
    let Context { at, cache, endpoint, deadline, took, size } = context;
    match error.error_code {
        Code::CacheNotFoundError | Code::StoreNotFoundError => Error::NoSuchStore {
            at,
            detail: format!(
                "there is no cache `{cache}` at {endpoint}: create it in the Momento console, or with ?create=true in \
                 the store URL; if it exists, it is in another region: set MOMENTO_ENDPOINT to that one"
            ),
        },
        Code::AuthenticationError => Error::Auth {
            at,
            detail: format!(
                "Momento does not know this API key at {endpoint}: check that MOMENTO_API_KEY is whole, neither \
                 expired nor revoked, and meant for this region"
            ),
        },
        Code::PermissionError => Error::Auth {
            at,
            detail: format!("the role of MOMENTO_API_KEY lacks the right to do this in cache `{cache}`"),
        },
        Code::LimitExceededError | Code::ClientResourceExhausted => match size {
            Some((size, limit)) if is_about_size(error) => {
                Error::TooLarge { at, size, limit: limit.min(size.saturating_sub(1)) }
            }
            _ => Error::Throttled { at, detail: error.message.clone(), retry_after: None },
        },
        Code::TimeoutError => Error::Timeout { at, after: deadline },
        // Ours if it took as long as the deadline is; else the connection went away under the call.
        Code::CancelledError if took + SLACK >= deadline => Error::Timeout { at, after: deadline },
        Code::CancelledError | Code::ServerUnavailable | Code::InternalServerError | Code::UnknownError => {
            Error::Unavailable { at, detail: cause(error) }
        }
        Code::InvalidArgumentError | Code::BadRequestError | Code::TypeError => {
            Error::Invalid { at, detail: cause(error) }
        }
        _ => Error::Backend { at, detail: cause(error) },
    }
}

/// How early a deadline may fire: timers have a millisecond's grain, and the time to send is not in it.
const SLACK: Duration = Duration::from_millis(50);

/// "Item size", "Request size", "Message size": told apart from rates by their text, as the cause in the trailer is
/// not public in another form.
fn is_about_size(error: &MomentoError) -> bool {
    error.message.contains("size limit")
}

/// The innermost text that says something: the SDK's own message is the same for all of a kind.
fn cause(error: &MomentoError) -> String {
    let mut texts = vec![];
    let mut source = error.source();
    while let Some(error) = source {
        texts.push(error.to_string());
        source = error.source();
    }
    if let Some(details) = error.details().filter(|details| !details.message.is_empty()) {
        texts.push(details.message);
    }
    texts.pop().unwrap_or_else(|| error.message.clone())
}
