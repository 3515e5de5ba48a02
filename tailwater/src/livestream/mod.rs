//! One task a livestream: sessions, numbers, the live window, the registry.

pub mod name;
pub mod types;

pub use name::StreamName;
