//! Flags, environment and file, resolved to one checked value before anything binds.
