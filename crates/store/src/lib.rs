//! `MediaStore`: whole objects with a time to live, and the backends that keep them.
//!
//! - [`MediaStore`] is the contract; [`Key`], [`Payload`], [`PutOptions`], [`Object`] and [`Error`] are its words.
//! - [`open`](open::open_backend) turns a [`StoreUrl`] into a store.

mod clock;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod error;
mod file;
mod index;
mod key;
mod media_store;
mod memory;
#[cfg(any(feature = "momento", feature = "objectstore"))]
mod momento;
mod open;
mod payload;
mod url;

pub use clock::Clock;
pub use error::{At, Error, ErrorKind, Operation};
pub use file::{FILE_HOT_BYTES, FILE_MAX_BYTES, FileConfig, Files};
pub use key::{Key, KeyError, MAX_KEY_BYTES};
pub use media_store::{Capabilities, MediaStore, Object, PutOptions, clamp};
pub use memory::{MEMORY_MAX_BYTES, Memory};
pub use open::{Env, OpenOptions, open_backend};
pub use payload::Payload;
pub use url::{Scheme, StoreUrl};
