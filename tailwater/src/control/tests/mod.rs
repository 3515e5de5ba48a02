//! The API's rules, each by name, over a registry in memory.

mod api;
mod registry;
