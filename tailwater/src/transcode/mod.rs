//! FFmpeg: its command line, its supervisor, its pipes.
//!
//! [`capabilities`] is what the FFmpeg at hand can do, [`command`] turns a plan into its arguments, [`process`] is the
//! only file that touches processes, [`progress`] reads what FFmpeg reports.

pub mod capabilities;
pub mod command;
pub mod process;
pub mod progress;

pub use capabilities::{Capabilities, Hardware, ProbeError, Version};
pub use command::{Descriptors, command};
pub use process::{Exit, Handle, Running, SpawnError, Transcoder};
pub use progress::Progress;
