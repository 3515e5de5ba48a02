//! A Momento-compatible server: for tests, and for trying things out without an account.
//!
//! It speaks the gRPC protocol of the official SDKs (the published definitions in `momento-protos`) and the HTTP API
//! beside it, keeps everything in memory, and fails on demand.
//!
//! ```no_run
//! # async fn example() -> Result<(), momento_fake::StartError> {
//! use momento_fake::{Fake, FaultsUpdate, Options};
//! let fake = Fake::start(Options::default()).await?;
//! // MOMENTO_API_KEY = fake.api_key(), MOMENTO_ENDPOINT = fake.endpoint()
//! fake.set_faults(&FaultsUpdate { delay_ms: Some(900), ..FaultsUpdate::default() });
//! # Ok(()) }
//! ```
//!
//! | file | what |
//! |---|---|
//! | `fake` | [`Fake`]: start, faults, counters, stop and restart on the same port |
//! | `options` | [`Options`], [`Limits`]: what it is started with |
//! | `faults` | [`Faults`]: down, slow, failing, throttled |
//! | `keys` | which API keys look like keys, and keys that do |
//! | `shelf` | the items of one cache or store: time to live, bounded memory |
//! | `state` | everything the two front doors share |
//! | `listener` | connections that can be cut |
//! | `grpc` | the front door of the SDKs |
//! | `http` | the front door of players, CDNs and `POST /faults` |
//!
//! It proves compatibility with the published protocol and the documented HTTP API, not with what the service does
//! beyond them. What is not documented is not here: no ranges, no HEAD, no listing of keys.

mod fake;
mod faults;
mod grpc;
mod http;
mod keys;
mod listener;
mod options;
mod shelf;
mod state;

pub use fake::{Fake, StartError};
pub use faults::{Faults, FaultsUpdate};
pub use options::{Limits, Options};
