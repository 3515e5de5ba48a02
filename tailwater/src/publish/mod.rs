//! Publishes to the store in the one right order: media before the playlist that lists it, never an older playlist over
//! a newer one, the multivariant playlist last and again before it expires.
//!
//! - [`Publisher`]: the task of one livestream; its [`Handle`] takes what the livestream made.
//! - `track`: the order within one rendition: what is stored, what is waiting, what became a gap. Pure.
//! - `schedule`: when what failed is tried again. Pure.
//! - `spool`: where media waits on disk once it has left the live window and the store is still out of reach.
//! - [`sequence`]: the record of numbers that outlives the process.

mod publisher;
mod schedule;
pub mod sequence;
mod spool;
mod status;
mod track;
mod uploads;

pub use publisher::{Command, FindLive, Handle, Publisher, PublisherConfig, SegmentCommand};
pub use spool::Spool;
pub use status::{StoreState, StoreStatus};
