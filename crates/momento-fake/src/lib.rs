//! momento-fake
