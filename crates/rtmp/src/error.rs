//! Errors of the front door.

use std::io;
use std::net::SocketAddr;

use crate::amf::AmfError;

/// The listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for RTMP on {address}: {source}")]
pub struct BindError {
    /// The address asked for.
    pub address: SocketAddr,
    /// Why not: in use, no such address, no permission.
    #[source]
    pub source: io::Error,
}

/// A publisher that was to be accepted is gone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// It closed the connection, or the network did.
    #[error("the publisher at {peer} is gone: {source}")]
    Gone {
        /// Its address.
        peer: SocketAddr,
        /// What the socket said.
        #[source]
        source: io::Error,
    },
}

/// What a peer did that RTMP, or [`Limits`](crate::Limits), does not allow. Costs it the connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProtocolError {
    #[error("not RTMP: the first byte is {0:#04x}, not 3")]
    Version(u8),
    #[error("a type {fmt} chunk on chunk stream {stream}, which has had no header yet")]
    NoHeader { fmt: u8, stream: u32 },
    #[error("a new message on chunk stream {stream} inside an unfinished one")]
    Interrupted { stream: u32 },
    #[error("a message of {size} bytes: more than {limit}")]
    MessageSize { size: usize, limit: usize },
    #[error("unfinished messages of more than {limit} bytes")]
    Buffered { limit: usize },
    #[error("more than {limit} chunk streams")]
    ChunkStreams { limit: usize },
    #[error("a chunk size of {size}: not in 1..={limit}")]
    ChunkSize { size: u32, limit: u32 },
    #[error("a control message of type {kind} with {size} bytes")]
    Control { kind: u8, size: usize },
    #[error("a command of {size} bytes: more than {limit}")]
    CommandSize { size: usize, limit: usize },
    #[error("a command that is none: {0}")]
    Command(#[from] AmfError),
    #[error("a command that is none: no name")]
    CommandName,
    #[error("`{0}` before `connect`")]
    NotConnected(&'static str),
    #[error("more than {limit} bytes before `publish`")]
    BeforePublish { limit: usize },
    #[error("an aggregate message that does not add up")]
    Aggregate,
    #[error("what it sends is not FLV: publish with `-f flv` (or your encoder's RTMP output)")]
    NotFlv,
    #[error("it asked to play; this port is for publishing")]
    Play,
    #[error("a reply could not be written: {0}")]
    Reply(String),
}
