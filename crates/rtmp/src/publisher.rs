//! An accepted publisher.

use std::fmt;
use std::net::SocketAddr;

use tokio::time::{Instant, timeout_at};

use crate::StreamKey;
use crate::address::PublishName;
use crate::connection::{Connection, ConnectionError};
use crate::flv::FlvTag;
use crate::server::Reason;
use crate::session::Event;

/// What a publisher sends.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// A tag, its timestamp as sent.
    Tag(FlvTag),
    /// The end; always the last message.
    End(EndReason),
}

/// How it ended. `Display` is a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndReason {
    /// The encoder said so: FCUnpublish, deleteStream or closeStream.
    Clean,
    /// The connection ended or broke without a word.
    Lost(String),
    /// Nothing came for [`Limits::idle`](crate::Limits::idle).
    Idle,
    /// It sent what is not allowed.
    Protocol(String),
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EndReason::Clean => f.write_str("the encoder stopped publishing"),
            EndReason::Lost(reason) => write!(f, "the encoder's connection was lost: {reason}"),
            EndReason::Idle => f.write_str("the encoder sent no media for too long"),
            EndReason::Protocol(reason) => write!(f, "the encoder broke the protocol: {reason}"),
        }
    }
}

/// An accepted publisher. Dropping it closes the connection.
#[derive(Debug)]
pub struct Publisher {
    /// `None` after the end.
    connection: Option<Connection>,
    name: PublishName,
    peer: SocketAddr,
    deadline: Instant,
    /// Read since the last message.
    unanswered: usize,
}

impl Publisher {
    pub(crate) fn new(connection: Connection, name: PublishName) -> Self {
        let peer = connection.peer;
        let deadline = Instant::now() + connection.limits.idle;
        Self { connection: Some(connection), name, peer, deadline, unanswered: 0 }
    }

    /// The app: the first part of the URL's path.
    #[must_use]
    pub fn app(&self) -> &str {
        &self.name.app
    }

    /// The stream key. Secret.
    #[must_use]
    pub fn key(&self) -> &StreamKey {
        &self.name.key
    }

    /// Where it comes from.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The next message; `None` after the end. Cancel-safe: a message is either given or still to come.
    ///
    /// While nobody calls it nothing is read, and the encoder's own buffer fills: it is the encoder that is slowed down.
    pub async fn recv(&mut self) -> Option<Message> {
        let connection = self.connection.as_mut()?;
        let idle = connection.limits.idle;
        let enough = connection.limits.max_buffered;
        let reason = loop {
            match connection.poll() {
                Ok(Some(Event::Tag(tag))) => {
                    self.deadline = Instant::now() + idle;
                    self.unanswered = 0;
                    return Some(Message::Tag(tag));
                }
                Ok(Some(Event::End)) => break EndReason::Clean,
                Ok(Some(Event::Publish(_)) | None) => {}
                Err(error) => break error.into(),
            }
            match timeout_at(self.deadline, connection.read_more()).await {
                Ok(Ok(read)) => self.unanswered += read,
                Ok(Err(error)) => break error.into(),
                Err(_) => break EndReason::Idle,
            }
            // Bytes that are always there and never are a message (pings, say) do not keep a publisher alive.
            if self.unanswered > enough && Instant::now() > self.deadline {
                break EndReason::Idle;
            }
        };
        if let Some(connection) = self.connection.take()
            && reason == EndReason::Clean
        {
            connection.close_gently();
        }
        Some(Message::End(reason))
    }

    /// Ends it from our side, telling the encoder why.
    pub async fn close(mut self, reason: Reason) {
        if let Some(mut connection) = self.connection.take() {
            let _ = connection.session.reject("NetStream.Publish.Failed", reason.description());
            connection.close_gently();
        }
    }
}

impl From<ConnectionError> for EndReason {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::Protocol(error) => EndReason::Protocol(error.to_string()),
            ConnectionError::Unread => EndReason::Protocol(error.to_string()),
            ConnectionError::Closed => EndReason::Lost("closed without a word".to_owned()),
            ConnectionError::Io(error) => EndReason::Lost(error.to_string()),
        }
    }
}
