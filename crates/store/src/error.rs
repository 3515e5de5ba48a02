//! What can go wrong in a store, in the terms of whoever has to decide what to do next.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::Key;

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Opening the store.
    Open,
    /// Writing one object.
    Put,
    /// Reading one object.
    Get,
    /// Removing one object.
    Delete,
    /// Listing keys by prefix.
    List,
    /// The round trip of a health check.
    Health,
}

impl Operation {
    /// Lower-case name, as in metric labels.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Put => "put",
            Self::Get => "get",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Health => "health",
        }
    }
}

/// Which store, which operation, which object. Never holds credentials: `store` is the store's own `Display`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    /// The store, as it displays itself.
    pub store: Arc<str>,
    /// What was being done.
    pub operation: Operation,
    /// The object or prefix, where there is one.
    pub object: Option<Arc<str>>,
}

impl At {
    /// Context of an operation on `store` as a whole.
    #[must_use]
    pub fn store(store: &(impl fmt::Display + ?Sized), operation: Operation) -> Self {
        Self { store: store.to_string().into(), operation, object: None }
    }

    /// Context of an operation on one object.
    #[must_use]
    pub fn key(store: &(impl fmt::Display + ?Sized), operation: Operation, key: &Key) -> Self {
        Self { store: store.to_string().into(), operation, object: Some(key.as_str().into()) }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.object {
            Some(object) => write!(f, "{}: {} of {object}", self.store, self.operation.name()),
            None => write!(f, "{}: {}", self.store, self.operation.name()),
        }
    }
}

/// What a caller does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such object (or it has expired).
    NotFound,
    /// Trying the same again cannot help.
    Permanent,
    /// The store asks for fewer or smaller requests: slow down, and do not count it as a fault.
    Throttle,
    /// Trying again may help.
    Transient,
}

impl ErrorKind {
    /// Lower-case name, as in metric labels.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::Permanent => "permanent",
            Self::Throttle => "throttle",
            Self::Transient => "transient",
        }
    }
}

/// An operation on a store failed. Display is one sentence for a user, free of credentials.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such object, or it has expired.
    #[error("{at}: there is no such object")]
    NotFound {
        /// Where.
        at: At,
    },
    /// The object is larger than the store takes. Refused before the network.
    #[error(
        "{at}: {size} bytes are more than the {limit} that this store takes in one object; lower the bit rate or \
         the segment duration, or choose another store"
    )]
    TooLarge {
        /// Where.
        at: At,
        /// Size of the object, in bytes.
        size: u64,
        /// The store's limit, in bytes.
        limit: u64,
    },
    /// The range begins at or after the end of the object.
    #[error("{at}: the range begins at or after the object's end at {size} bytes")]
    Range {
        /// Where.
        at: At,
        /// Size of the object, in bytes.
        size: u64,
    },
    /// The store's rate limit was hit.
    #[error("{at}: the store asks to slow down: {detail}")]
    Throttled {
        /// Where.
        at: At,
        /// What the store said.
        detail: String,
        /// How long the store asks to wait, if it says.
        retry_after: Option<Duration>,
    },
    /// The store cannot be reached, or says that it cannot serve now.
    #[error("{at}: the store cannot be reached: {detail}")]
    Unavailable {
        /// Where.
        at: At,
        /// What the connection or the store said.
        detail: String,
    },
    /// No answer in time. Whether the operation took place is unknown.
    #[error("{at}: no answer within {after:?}")]
    Timeout {
        /// Where.
        at: At,
        /// How long it was waited.
        after: Duration,
    },
    /// The store does not accept the credentials, or they lack the right.
    #[error("{at}: access was refused: {detail}")]
    Auth {
        /// Where.
        at: At,
        /// What the store said, and which variable to check.
        detail: String,
    },
    /// The cache, bucket, database or folder does not exist.
    #[error("{at}: {detail}")]
    NoSuchStore {
        /// Where.
        at: At,
        /// What is missing and how to make it.
        detail: String,
    },
    /// There is no room: disk full, memory limit, too many open files.
    #[error("{at}: there is no room: {detail}")]
    Full {
        /// Where.
        at: At,
        /// What is full, and what to change.
        detail: String,
    },
    /// The store cannot do this at all.
    #[error("{at}: this store cannot do that")]
    Unsupported {
        /// Where.
        at: At,
    },
    /// The request or the configuration makes no sense to this store.
    #[error("{at}: {detail}")]
    Invalid {
        /// Where.
        at: At,
        /// What is wrong and what would be right.
        detail: String,
    },
    /// The store answered with something else.
    #[error("{at}: {detail}")]
    Backend {
        /// Where.
        at: At,
        /// What it was.
        detail: String,
    },
}

impl Error {
    /// What to do about it. A full store is transient: what expires makes room.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Throttled { .. } => ErrorKind::Throttle,
            Self::Unavailable { .. } | Self::Timeout { .. } | Self::Full { .. } | Self::Backend { .. } => {
                ErrorKind::Transient
            }
            Self::TooLarge { .. }
            | Self::Range { .. }
            | Self::Auth { .. }
            | Self::NoSuchStore { .. }
            | Self::Unsupported { .. }
            | Self::Invalid { .. } => ErrorKind::Permanent,
        }
    }

    /// Kebab-case name of the variant, as in metric labels and the API's error codes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not-found",
            Self::TooLarge { .. } => "too-large",
            Self::Range { .. } => "range",
            Self::Throttled { .. } => "throttled",
            Self::Unavailable { .. } => "unavailable",
            Self::Timeout { .. } => "timeout",
            Self::Auth { .. } => "auth",
            Self::NoSuchStore { .. } => "no-such-store",
            Self::Full { .. } => "full",
            Self::Unsupported { .. } => "unsupported",
            Self::Invalid { .. } => "invalid",
            Self::Backend { .. } => "backend",
        }
    }
}
