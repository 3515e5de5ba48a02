//! What the server is started with.

use std::{net::SocketAddr, time::Duration};

/// How to start a [`Fake`](crate::Fake).
#[derive(Debug, Clone)]
pub struct Options {
    /// Address of the gRPC server; port 0 picks a free one.
    pub grpc: SocketAddr,
    /// Address of the HTTP server; port 0 picks a free one.
    pub http: SocketAddr,
    /// Caches that exist from the start.
    pub caches: Vec<String>,
    /// Object stores that exist from the start.
    pub stores: Vec<String>,
    /// What is refused for its size.
    pub limits: Limits,
    /// Seed of the dice that `failRate` and `throttleRate` are thrown with: equal seeds, equal faults.
    pub seed: u64,
}

impl Default for Options {
    /// Free ports on loopback; cache and store `livestreams`.
    fn default() -> Self {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            grpc: loopback,
            http: loopback,
            caches: vec!["livestreams".into()],
            stores: vec!["livestreams".into()],
            limits: Limits::default(),
            seed: 0x5eed,
        }
    }
}

/// The documented limits of an on-demand cache, and one of our own.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest item, key included, in bytes: "5 MB".
    pub item_bytes: usize,
    /// Longest time to live: "24 hours".
    pub ttl: Duration,
    /// Longest time to live of an ephemeral object in an object store: 600 seconds, also its default.
    pub ephemeral_ttl: Duration,
    /// What a cache or store may hold in bytes before the item that would expire first is evicted. Ours, so that a
    /// fake left running does not eat the machine; the service's hot storage is 100 MB by default.
    pub memory_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            item_bytes: 5_000_000,
            ttl: Duration::from_secs(24 * 60 * 60),
            ephemeral_ttl: Duration::from_secs(600),
            memory_bytes: 2 << 30,
        }
    }
}
