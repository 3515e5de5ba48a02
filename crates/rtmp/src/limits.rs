//! What one connection, and all of them, may take.

use std::time::Duration;

/// The bounds of the front door. Every default says why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// From TCP connection to the end of the handshake. 5 s: three round trips of a bad mobile network.
    pub handshake: Duration,
    /// From the end of the handshake to the `publish` command. 10 s: encoders need five round trips.
    pub publish: Duration,
    /// Without any audio, video or data message, after which a publisher is gone. 10 s: longer than any encoder's hiccup,
    /// short enough that the next try of the same encoder finds its key free.
    pub idle: Duration,
    /// Connections at once, of any state; more are closed as they come. 256.
    pub max_connections: usize,
    /// Bytes of one message. 8 MiB: an intra-only 4K frame has three.
    pub max_message: usize,
    /// Bytes of unfinished messages of one connection, over all its chunk streams. 16 MiB.
    pub max_buffered: usize,
    /// The largest chunk size a peer may set. Chunks are never buffered, so its only use is to catch nonsense: nothing is
    /// gained beyond 65 536, and some encoders set more. 8 MiB: no message is longer.
    pub max_chunk_size: u32,
    /// Chunk streams of one connection. 64: encoders use four to eight.
    pub max_chunk_streams: usize,
    /// Bytes of one command message. 64 KiB: `connect` with long tokens has two.
    pub max_command: usize,
    /// Bytes of chunk stream before `publish`. 128 KiB: a whole command exchange has three.
    pub max_before_publish: usize,
    /// Publishers waiting for [`Server::accept`](crate::Server::accept). 32.
    pub max_waiting: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            publish: Duration::from_secs(10),
            idle: Duration::from_secs(10),
            max_connections: 256,
            max_message: 8 * 1024 * 1024,
            max_buffered: 16 * 1024 * 1024,
            max_chunk_size: 8 * 1024 * 1024,
            max_chunk_streams: 64,
            max_command: 64 * 1024,
            max_before_publish: 128 * 1024,
            max_waiting: 32,
        }
    }
}
