//! From the probed source and the configured rungs to a plan: a pure function.
