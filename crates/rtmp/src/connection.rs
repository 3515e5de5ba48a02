//! One TCP connection and the session on it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};

use crate::Limits;
use crate::error::ProtocolError;
use crate::session::{Event, Session};

/// Read at once at most. Also what one connection's input may hold: it is used up before more is read.
const READ: usize = 64 * 1024;
/// Replies a peer may leave unread beyond what the kernel holds for it.
const MAX_OUTPUT: usize = 64 * 1024;
/// How long the last reply may take to leave, and the peer to read it and close.
const LINGER: Duration = Duration::from_secs(2);

/// A connection with its session. Dropping it closes the socket and frees its place.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    pub(crate) session: Session,
    input: BytesMut,
    output: BytesMut,
    pub(crate) peer: SocketAddr,
    pub(crate) limits: Arc<Limits>,
    _place: OwnedSemaphorePermit,
}

/// Why a connection is of no use any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    #[error("{0}")]
    Protocol(#[from] ProtocolError),
    #[error("the connection was closed")]
    Closed,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it does not read what it is sent")]
    Unread,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, peer: SocketAddr, limits: Arc<Limits>, place: OwnedSemaphorePermit) -> Self {
        // Replies are small and waited for. A socket that refuses the option still works.
        let _ = stream.set_nodelay(true);
        let session = Session::new(&limits);
        let (input, output) = (BytesMut::new(), BytesMut::new());
        Self { stream, session, input, output, peer, limits, _place: place }
    }

    /// What the session finds in the bytes that are there.
    pub(crate) fn poll(&mut self) -> Result<Option<Event>, ConnectionError> {
        let event = self.session.poll(&mut self.input);
        let output = self.session.take_output();
        self.output.extend_from_slice(&output);
        if self.output.len() > MAX_OUTPUT {
            return Err(ConnectionError::Unread);
        }
        Ok(event?)
    }

    /// Waits for bytes, writing what is to be written meanwhile. Gives their number. Cancelling it loses nothing.
    ///
    /// A publisher that never reads its acknowledgements does not block its own media.
    pub(crate) async fn read_more(&mut self) -> Result<usize, ConnectionError> {
        loop {
            let interest =
                if self.output.is_empty() { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE };
            let ready = self.stream.ready(interest).await?;
            if ready.is_writable() && !self.output.is_empty() {
                match self.stream.try_write(&self.output) {
                    Ok(written) => self.output.advance(written),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    // What was sent before a reset is still to be read.
                    Err(_) => self.output.clear(),
                }
            }
            if ready.is_readable() || ready.is_read_closed() {
                self.input.reserve(READ);
                match self.stream.try_read_buf(&mut self.input) {
                    Ok(0) => return Err(ConnectionError::Closed),
                    Ok(read) => return Ok(read),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }

    /// Writes everything that is to be written.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        let output = self.session.take_output();
        self.output.extend_from_slice(&output);
        let write = async {
            while !self.output.is_empty() {
                self.stream.write_buf(&mut self.output).await?;
            }
            Ok(())
        };
        timeout(LINGER, write).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Writes the last words, then reads on in the background until the peer closes or two seconds are over. A socket closed
    /// with unread input is reset, and the peer would lose what it was told; and GStreamer's rtmp2sink, which says FCUnpublish
    /// and then deleteStream, calls it an error when our side closes first.
    pub(crate) fn close_gently(mut self) {
        tokio::spawn(async move {
            if self.flush().await.is_err() {
                return;
            }
            let until = Instant::now() + LINGER;
            let _ = tokio::time::timeout_at(until, async {
                while let Ok(read) = self.stream.read_buf(&mut self.input).await
                    && read > 0
                {
                    self.input.clear();
                }
            })
            .await;
        });
    }
}
