//! Sources: pushed or pulled, probed, their timeline repaired, handed on as FLV.

pub mod timeline;

pub use timeline::{Planned, Timeline};
