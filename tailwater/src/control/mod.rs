//! The HTTP API over the registry of livestreams.

pub mod source_url;
