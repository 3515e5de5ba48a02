//! Serves the live window and the store to players.
//!
//! A request's way: [`path`] says what is asked for, [`directives`] how; [`live`] is what a running livestream
//! shows, [`render`] its playlists as text, once a change for everybody; [`blocking`] waits for what is not there
//! yet; [`fallback`] reads the store where the live window ends or the livestream is not ours; [`response`] owns the
//! headers; [`routes`] puts them together.

pub mod blocking;
pub mod directives;
pub mod fallback;
pub mod live;
pub mod path;
pub mod range;
pub mod render;
pub mod response;
pub mod routes;

pub use live::{Desk, LiveSource, LiveView, Multivariants};
pub use routes::{Origin, OriginSettings};

#[cfg(test)]
mod tests;
