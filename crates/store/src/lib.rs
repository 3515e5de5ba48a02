//! `MediaStore`: whole objects with a time to live, and the backends that keep them.
//!
//! - [`MediaStore`] is the contract; [`Key`], [`Payload`], [`PutOptions`], [`Object`] and [`Error`] are its words.
//! - [`open()`] turns [`StoreUrl`]s into one store: a backend ([`Files`], [`Memory`], Redis, S3, Momento) inside
//!   [`Metered`], [`Limit`] and [`Retry`], and a [`Tee`] where there are several.

mod clock;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod error;
#[cfg(any(test, feature = "testing"))]
mod faulty;
mod file;
mod incident;
mod index;
mod key;
mod limit;
mod media_store;
mod memory;
mod metered;
#[cfg(any(feature = "momento", feature = "objectstore"))]
mod momento;
mod open;
mod payload;
#[cfg(feature = "redis")]
mod redis;
mod retry;
#[cfg(feature = "s3")]
mod s3;
mod tee;
mod url;

pub use clock::Clock;
pub use error::{At, Error, ErrorKind, Operation};
#[cfg(any(test, feature = "testing"))]
pub use faulty::{Faults, Faulty};
pub use file::{FILE_HOT_BYTES, FILE_MAX_BYTES, FileConfig, Files};
pub use incident::{Incident, Over};
pub use key::{Key, KeyError, MAX_KEY_BYTES};
pub use limit::{Limit, LimitConfig};
pub use media_store::{Capabilities, MediaStore, Object, PutOptions, clamp};
pub use memory::{MEMORY_MAX_BYTES, Memory};
pub use metered::Metered;
pub use open::{Env, OpenOptions, open, open_backend};
pub use payload::Payload;
pub use retry::{Retry, RetryConfig};
pub use tee::{Secondary, Tee};
pub use url::{Scheme, StoreUrl};
