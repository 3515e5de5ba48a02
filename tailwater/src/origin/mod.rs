//! Serves the live window and the store to players.
