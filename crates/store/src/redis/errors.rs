//! What Redis says, in the words of a store.

use std::time::Duration;

use ::redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::Error;
use crate::error::At;

pub(super) fn store_error(at: At, error: &RedisError, timeout: Duration) -> Error {
    if error.is_timeout() {
        return Error::Timeout { at, after: timeout };
    }
    let detail = error.to_string();
    match error.code() {
        Some("OOM") => {
            let detail = "Redis has reached its maxmemory; raise it, shorten the TTL, or set an eviction policy".into();
            return Error::Full { at, detail };
        }
        Some("NOAUTH" | "WRONGPASS" | "NOPERM") => {
            let detail =
                format!("{detail}; check the user and password in the URL, or REDIS_USERNAME and REDIS_PASSWORD");
            return Error::Auth { at, detail };
        }
        // MISCONF: the server cannot save to its disk and refuses writes until it can.
        Some(
            "LOADING" | "CLUSTERDOWN" | "MASTERDOWN" | "TRYAGAIN" | "READONLY" | "BUSY" | "MISCONF" | "NOREPLICAS",
        ) => {
            return Error::Unavailable { at, detail };
        }
        _ => {}
    }
    match error.kind() {
        ErrorKind::AuthenticationFailed => Error::Auth {
            at,
            detail: format!("{detail}; check the user and password in the URL, or REDIS_USERNAME and REDIS_PASSWORD"),
        },
        ErrorKind::Io | ErrorKind::ClusterConnectionNotFound => Error::Unavailable { at, detail },
        ErrorKind::InvalidClientConfig => Error::Invalid { at, detail },
        ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask) => {
            let detail = format!("{detail}; this server belongs to a cluster: write redis-cluster://");
            Error::Invalid { at, detail }
        }
        _ => Error::Backend { at, detail },
    }
}

/// Whether the connection is of no use any more. After a timeout too: a peer that vanished without a word leaves a
/// connection on which everything would time out for many minutes.
pub(super) fn is_lost(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_timeout()
        || error.is_unrecoverable_error()
        || matches!(error.kind(), ErrorKind::ClusterConnectionNotFound)
}
