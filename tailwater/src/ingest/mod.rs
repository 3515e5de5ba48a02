//! Sources: pushed or pulled, probed, their timeline repaired, handed on as FLV.

pub mod probe;
pub mod timeline;

pub use probe::Probe;
pub use timeline::{Planned, Timeline};
