//! The HTTP API over the registry of livestreams.
