//! Writes to the store in the one right order.
