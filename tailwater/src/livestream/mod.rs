//! One task a livestream: sessions, numbers, the live window, the registry.
//!
//! - [`Registry`]: the livestreams of this process; [`types`]: what it and the API say to each other; [`StateFile`]: what
//!   is taken up again after a restart.
//! - `task`: the life of one livestream. `session`: one run of FFmpeg for it; `feed`: what FFmpeg is given, with
//!   `keyframes` watched where the source is copied.
//! - [`packager`]: numbers and playlists, pure; `multivariants`: the multivariant playlists.
//! - [`LiveWindow`]: the newest media in memory; `view`: how the origin sees it.

mod feed;
mod keyframes;
mod live_window;
mod multivariants;
pub mod name;
pub mod packager;
mod registry;
mod session;
mod shared;
mod state_file;
mod task;
pub mod types;
mod view;

pub use live_window::{LiveWindow, LiveWindowLimits};
pub use name::StreamName;
pub use registry::{Registry, waiting_publisher};
pub use shared::{Environment, Shared};
pub use state_file::{Saved, StateFile, StateFileError};
pub use task::Numbers;
