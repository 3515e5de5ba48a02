//! The pages: player and dashboard, embedded in the binary.
