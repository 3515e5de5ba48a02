//! FFmpeg: its command line, its supervisor, its pipes.
//!
//! [`capabilities`] is what the FFmpeg at hand can do, [`command`](mod@command) turns a plan into its arguments, [`process`] is the
//! only file that touches processes, [`progress`] reads what FFmpeg reports. [`machine`] decides when FFmpeg is started,
//! ended and started again; [`fate`] reads its last words. [`copy`] is FFmpeg as the reader of a source by URL,
//! [`slate`] what it reads while there is none.

pub mod capabilities;
pub mod command;
pub mod copy;
pub mod fate;
pub mod machine;
pub mod process;
pub mod progress;
pub mod slate;
pub mod timers;

pub use capabilities::{Capabilities, Hardware, ProbeError, Version};
pub use command::{Descriptors, command};
pub use copy::{Copier, CopyExit};
pub use fate::{Fate, classify};
pub use machine::{Action, Event, Input, Machine, Signal, State, Times};
pub use process::{Exit, Handle, Running, SpawnError, Transcoder};
pub use progress::Progress;
pub use slate::{Slate, SlateError};
