//! The RTMP front door: OBS, FFmpeg, GStreamer and the like publish; the caller accepts or rejects each, then reads FLV tags.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use rtmp::{Limits, Message, Reason, Server};
//! let server = Server::bind("127.0.0.1:1935".parse()?, Limits::default()).await?;
//! loop {
//!     let request = server.accept().await;
//!     if request.app() != "live" {
//!         request.reject(Reason::new("there is no such app")).await;
//!         continue;
//!     }
//!     let mut publisher = request.accept().await?;
//!     tokio::spawn(async move {
//!         while let Some(message) = publisher.recv().await {
//!             match message {
//!                 Message::Tag(tag) => drop(tag),
//!                 Message::End(reason) => println!("{reason}"),
//!             }
//!         }
//!     });
//! }
//! # }
//! ```
//!
//! # The map
//! - [`Server`] listens and drives each connection up to its `publish` command; [`Request`] is that command, undecided;
//!   [`Publisher`] is an accepted one. [`Limits`] bounds them all.
//! - `session` is the protocol without I/O: bytes in, events and reply bytes out; `chunk` puts messages together; `amf`
//!   reads AMF0; `command` writes our replies; `address` takes app, instance, stream key and query apart.
//! - [`flv`] reads and writes what the messages carry.
//!
//! # What is ours and what is the protocol crate's
//! Handshake, chunk writer, control messages and AMF0 writer are those of `rtmp-runtime`. Its `ServerSession` is not used: it
//! accepts a `publish` before its caller has seen it, cannot refuse with a reason, takes an extended timestamp on type-3
//! chunks for granted (some encoders omit it), fixes the bounds on sizes, and knows no `closeStream`, ping or `_checkbw`.
//!
//! # What a hostile peer can do
//! Cost one connection of [`Limits::max_connections`], for as long as the deadlines allow, at most
//! [`Limits::max_buffered`] bytes of memory that it really sent, and the CPU to read what it sends.

mod address;
mod amf;
mod chunk;
mod command;
mod connection;
mod error;
pub mod flv;
#[doc(hidden)]
pub mod fuzzing;
mod limits;
mod publisher;
mod server;
mod session;

pub use address::{PublishName, StreamKey};
pub use error::{AcceptError, BindError};
pub use limits::Limits;
pub use publisher::{EndReason, Message, Publisher};
pub use server::{Reason, Request, Server};
