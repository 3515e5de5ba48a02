//! How much this machine takes, and what is done when it is too much.
//!
//! [`cost`] predicts what a plan takes, [`calibrate`](mod@calibrate) how much slower or faster this machine is than the one the costs were
//! measured on, [`presets`] chooses presets by both. [`watch`] sees a livestream fall behind and decides when it
//! sheds and climbs back, [`admission`] whether a new one fits; [`capacity`] is what the livestreams of one machine share.

pub mod admission;
pub mod calibrate;
pub mod capacity;
pub mod cost;
pub mod presets;
pub mod watch;

pub use admission::Admission;
pub use capacity::{Capacity, LoadSettings, Place};
pub use watch::{Sample, Times, Watch, Wish};
