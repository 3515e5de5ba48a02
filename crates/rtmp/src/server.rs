//! The listener, and a publisher that waits for the decision.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use crate::address::PublishName;
use crate::connection::{Connection, ConnectionError};
use crate::error::ProtocolError;
use crate::publisher::Publisher;
use crate::session::Event;
use crate::{AcceptError, BindError, Limits, StreamKey};

/// Pause after the kernel could not give a connection (out of file descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a publisher is refused: the sentence it is told, which FFmpeg prints and OBS logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    description: String,
}

impl Reason {
    /// A reason. Say what to do, and nothing secret.
    pub fn new(description: impl Into<String>) -> Self {
        Self { description: description.into() }
    }

    pub(crate) fn description(&self) -> &str {
        &self.description
    }
}

/// The RTMP listener. Connections are driven in the background up to their `publish` command; those that are no RTMP, too slow or
/// too many are dealt with there. Dropping it stops listening and drops what has not come to [`accept`](Self::accept) yet;
/// accepted publishers live on.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    requests: Mutex<mpsc::Receiver<Request>>,
    task: AbortHandle,
}

impl Server {
    /// Listens on an address; port 0 takes a free one.
    ///
    /// # Errors
    /// [`BindError`] when the address is taken, is not of this machine, or needs a permission.
    pub async fn bind(address: SocketAddr, limits: Limits) -> Result<Self, BindError> {
        let bind_error = |source| BindError { address, source };
        let listener = TcpListener::bind(address).await.map_err(bind_error)?;
        let local = listener.local_addr().map_err(bind_error)?;
        let (sender, receiver) = mpsc::channel(limits.max_waiting.max(1));
        let task = tokio::spawn(listen(listener, Arc::new(limits), sender)).abort_handle();
        Ok(Self { address: local, requests: Mutex::new(receiver), task })
    }

    /// The address it listens on, with the real port.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The next peer that wants to publish. It has been told nothing yet. Cancel-safe.
    pub async fn accept(&self) -> Request {
        let request = self.requests.lock().await.recv().await;
        match request {
            Some(request) => request,
            // The listening task ends with the server or the runtime only.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(listener: TcpListener, limits: Arc<Limits>, requests: mpsc::Sender<Request>) {
    let places = Arc::new(Semaphore::new(limits.max_connections));
    let mut connections = JoinSet::new();
    let mut failing = false;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    failing = false;
                    // The permit lives as long as the connection: in the task, the request, the publisher.
                    match Arc::clone(&places).try_acquire_owned() {
                        Ok(place) => {
                            let connection = Connection::new(stream, peer, Arc::clone(&limits), place);
                            connections.spawn(open(connection, requests.clone()));
                        }
                        Err(_) => refuse(stream, peer, limits.max_connections),
                    }
                }
                Err(error) if is_of_the_peer(&error) => {}
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "no RTMP connection can be accepted at the moment");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

fn refuse(stream: TcpStream, peer: SocketAddr, limit: usize) {
    drop(stream);
    tracing::warn!(%peer, limit, "RTMP connection refused: there are as many as allowed");
}

/// Errors of `accept` that are about the connection that just came, not about listening.
fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// Drives a connection to its `publish` command and hands it on.
async fn open(mut connection: Connection, requests: mpsc::Sender<Request>) {
    let peer = connection.peer;
    let limits = Arc::clone(&connection.limits);
    let shaken = timeout(limits.handshake, async {
        loop {
            if let Some(event) = connection.poll()? {
                return Ok(Some(event));
            }
            if connection.session.is_open() {
                return Ok(None);
            }
            connection.read_more().await?;
        }
    })
    .await;
    let event = match shaken {
        Ok(Ok(Some(event))) => Ok(event),
        Ok(Ok(None)) => match timeout(limits.publish, publish_event(&mut connection)).await {
            Ok(result) => result,
            Err(_) => return tracing::debug!(%peer, "RTMP connection closed: it did not publish in time"),
        },
        Ok(Err(error)) => Err(error),
        Err(_) => return tracing::debug!(%peer, "RTMP connection closed: the handshake took too long"),
    };
    match event {
        Ok(Event::Publish(name)) => {
            // An error means that the server was dropped.
            let _ = requests.send(Request { connection, name }).await;
        }
        // The session has told it why.
        Ok(Event::End | Event::Tag(_)) => connection.close_gently(),
        Err(ConnectionError::Protocol(error)) => {
            tracing::debug!(%peer, %error, "RTMP connection closed");
            if error == ProtocolError::Play {
                connection.close_gently();
            }
        }
        Err(error) => tracing::debug!(%peer, %error, "RTMP connection gone before it published"),
    }
}

async fn publish_event(connection: &mut Connection) -> Result<Event, ConnectionError> {
    loop {
        if let Some(event) = connection.poll()? {
            return Ok(event);
        }
        connection.read_more().await?;
    }
}

/// A peer that wants to publish and waits to hear whether it may. Dropping it closes the connection without a word.
#[derive(Debug)]
pub struct Request {
    connection: Connection,
    name: PublishName,
}

impl Request {
    /// The app: the first part of the URL's path.
    #[must_use]
    pub fn app(&self) -> &str {
        &self.name.app
    }

    /// The instance: what is between app and key; mostly empty.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.name.instance
    }

    /// The stream key, without the query. Secret.
    #[must_use]
    pub fn key(&self) -> &StreamKey {
        &self.name.key
    }

    /// The query that hung on the key (or the app), without its question mark. May hold secrets.
    #[must_use]
    pub fn query(&self) -> &str {
        &self.name.query
    }

    /// Where it comes from.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.connection.peer
    }

    /// Lets it publish.
    ///
    /// # Errors
    /// [`AcceptError::Gone`] when it has left meanwhile.
    pub async fn accept(mut self) -> Result<Publisher, AcceptError> {
        let peer = self.connection.peer;
        let gone = |source| AcceptError::Gone { peer, source };
        self.connection.session.accept().map_err(|error| gone(io::Error::other(error)))?;
        self.connection.flush().await.map_err(gone)?;
        Ok(Publisher::new(self.connection, self.name))
    }

    /// Refuses it with `NetStream.Publish.BadName` and the reason.
    pub async fn reject(mut self, reason: Reason) {
        // A reply that cannot be written is as good as one not read.
        let _ = self.connection.session.reject("NetStream.Publish.BadName", &reason.description);
        let _ = self.connection.flush().await;
        self.connection.close_gently();
    }
}
