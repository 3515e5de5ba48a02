//! HTTP listeners: HTTP/1.1 and h2c, or HTTPS with HTTP/2; bounded, and taken down in order.
//!
//! [`routes`] is which paths are behind which listener, `direct` the short way to `/live/`, [`connection`] what bounds
//! a client, [`tls`] the certificate.

pub mod connection;
mod direct;
mod prefixed;
pub mod routes;
pub mod tls;
mod wire;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{ServiceExt, service_fn};

use connection::Guarded;
use prefixed::Prefixed;
use routes::Site;
use tls::Tls;
use wire::{HEAD_BYTES, MAX_HEADERS};

/// A client that does not send a request, or the next one, within this is let go. Players come back every second.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// The same for the greetings of TLS.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams of one HTTP/2 connection: a player has two to four. A client that reads none pins what it asked for.
const MAX_STREAMS: u32 = 32;
const HTTP2_BUFFER_BYTES: usize = 64 << 10;
const HTTP2_PING: Duration = Duration::from_secs(20);
/// What clients are still owed when the server stops is given this long.
const GRACE: Duration = Duration::from_secs(2);
/// No connection can be taken now (the system has no more descriptors): tried again after this.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a listener is not there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Somebody else listens there.
    #[error("{address} is taken by another program: stop it, or choose another address with --{flag}")]
    Taken {
        /// The address.
        address: SocketAddr,
        /// The flag that sets it.
        flag: &'static str,
    },
    /// The system refuses.
    #[error("cannot listen on {address}: {source}; choose another address with --{flag}")]
    Refused {
        /// The address.
        address: SocketAddr,
        /// The flag that sets it.
        flag: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl ListenError {
    /// What the system said about listening on `address`, which `--flag` set.
    pub fn new(address: SocketAddr, flag: &'static str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::Taken { address, flag },
            _ => Self::Refused { address, flag, source },
        }
    }
}

/// A port that is ours, not served yet.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Takes `address`, which `--flag` set.
    ///
    /// # Errors
    /// [`ListenError`].
    pub async fn bind(address: SocketAddr, flag: &'static str) -> Result<Self, ListenError> {
        let refused = |source| ListenError::new(address, flag, source);
        let tcp = TcpListener::bind(address).await.map_err(refused)?;
        let address = tcp.local_addr().map_err(refused)?;
        Ok(Self { tcp, address })
    }

    /// Where it is, also when port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `site` until `stop`, then what clients are still owed, for two seconds at most. `connections` bounds all
    /// listeners together.
    pub async fn serve(self, site: Site, tls: Option<Tls>, connections: Arc<Semaphore>, stop: CancellationToken) {
        let server =
            Arc::new(Server { site, tls, builder: builder(), stop: stop.clone(), over: CancellationToken::new() });
        let tasks = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.tcp.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be taken");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&connections).try_acquire_owned() else {
                metrics::counter!("tailwater_http_connections_refused_total").increment(1);
                continue;
            };
            // A part is sent in one go; waiting for more would cost 40 ms.
            if stream.set_nodelay(true).is_ok() {
                tasks.spawn(Arc::clone(&server).connection(Guarded::new(stream, Some(place)), peer));
            }
        }
        // Those who come now are refused rather than left waiting.
        drop(self.tcp);
        tasks.close();
        if timeout(GRACE, tasks.wait()).await.is_err() {
            server.over.cancel();
            tasks.wait().await;
        }
    }
}

/// What the connections of a listener share.
#[derive(Debug)]
struct Server {
    site: Site,
    tls: Option<Tls>,
    builder: Builder<TokioExecutor>,
    stop: CancellationToken,
    /// Nothing more is sent, whatever is owed.
    over: CancellationToken,
}

impl Server {
    async fn connection(self: Arc<Self>, stream: Guarded<TcpStream>, peer: SocketAddr) {
        let serving = async {
            match &self.tls {
                None => self.speak(stream, peer).await,
                // Boxed, as is hyper below: the many who are parked in plain HTTP/1.1 do not carry what these need.
                Some(tls) => {
                    let greeted = timeout(HANDSHAKE_TIMEOUT, Box::pin(tls.acceptor().accept(stream)));
                    if let Ok(Ok(stream)) = Box::pin(greeted).await {
                        Box::pin(self.speak(stream, peer)).await;
                    }
                }
            }
        };
        tokio::select! {
            biased;
            () = self.over.cancelled() => {}
            () = serving => {}
        }
    }

    async fn speak<T>(&self, mut io: T, peer: SocketAddr)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let left = direct::serve(&mut io, self.site.origin.as_ref(), HEADER_TIMEOUT, &self.stop).await;
        if let Some(read) = left {
            Box::pin(self.hyper(Prefixed::new(read, io), peer)).await;
        }
    }

    async fn hyper<T>(&self, io: Prefixed<T>, peer: SocketAddr)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let router = self.site.router.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            router.clone().oneshot(request)
        });
        let connection = self.builder.serve_connection(TokioIo::new(io), TowerToHyperService::new(service));
        tokio::pin!(connection);
        // A connection that breaks off is its client's affair.
        tokio::select! {
            _ = connection.as_mut() => return,
            () = self.stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .max_headers(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(HEAD_BYTES as u32)
        .max_send_buf_size(HTTP2_BUFFER_BYTES)
        .keep_alive_interval(HTTP2_PING)
        .keep_alive_timeout(HTTP2_PING);
    builder
}

#[cfg(test)]
mod tests;
