//! HTTP listeners: HTTP/1.1 and h2c, or HTTPS with HTTP/2; bounded, and taken down in order.
//!
//! [`routes`] is which paths are behind which listener, [`connection`] what bounds a client, [`tls`] the certificate.

pub mod connection;
pub mod routes;
pub mod tls;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::connect_info::IntoMakeServiceWithConnectInfo};
use axum_server::{Handle, Server, accept::Accept, tls_rustls::RustlsAcceptor};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use connection::Bounded;
use tls::Tls;

/// A client that does not send a request, or the next one, within this is let go. Players come back every second.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// The smallest buffer hyper takes. Ten thousand parked players have one each; heads longer than this are 431.
const BUFFER_BYTES: usize = 8 << 10;
const MAX_HEADERS: usize = 64;
/// Streams of one HTTP/2 connection: a player has two to four. A client that reads none pins what it asked for.
const MAX_STREAMS: u32 = 32;
const HTTP2_BUFFER_BYTES: usize = 64 << 10;
const HTTP2_PING: Duration = Duration::from_secs(20);
/// What clients are still owed when the server stops is given this long.
const GRACE: Duration = Duration::from_secs(2);

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

    /// Serves `router` until `stop`, then what clients are still owed, for two seconds at most. `connections` bounds all
    /// listeners together.
    ///
    /// # Errors
    /// When the system takes the port away.
    pub async fn serve(
        self,
        router: Router,
        tls: Option<Tls>,
        connections: Arc<Semaphore>,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let handle = Handle::<SocketAddr>::new();
        let ending = tokio::spawn({
            let handle = handle.clone();
            async move {
                stop.cancelled().await;
                handle.graceful_shutdown(Some(GRACE));
            }
        });
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let server = tuned(Server::<SocketAddr>::from_listener(self.tcp)).handle(handle);
        let bounded = Bounded::new(connections);
        let result = match tls {
            None => run(server.acceptor(bounded), service).await,
            Some(tls) => {
                let acceptor = RustlsAcceptor::new(tls.config()).acceptor(bounded);
                run(server.acceptor(acceptor), service).await
            }
        };
        ending.abort();
        result
    }
}

fn tuned(mut server: Server<SocketAddr>) -> Server<SocketAddr> {
    let builder = server.http_builder();
    builder.http1().header_read_timeout(HEADER_TIMEOUT).max_buf_size(BUFFER_BYTES).max_headers(MAX_HEADERS);
    builder
        .http2()
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(BUFFER_BYTES as u32)
        .max_send_buf_size(HTTP2_BUFFER_BYTES)
        .keep_alive_interval(HTTP2_PING)
        .keep_alive_timeout(HTTP2_PING);
    server.first_request_timeout(HEADER_TIMEOUT)
}

type MakeService = IntoMakeServiceWithConnectInfo<Router, SocketAddr>;
type Connection = axum::middleware::AddExtension<Router, axum::extract::ConnectInfo<SocketAddr>>;

async fn run<A>(server: Server<SocketAddr, A>, service: MakeService) -> io::Result<()>
where
    A: Accept<tokio::net::TcpStream, Connection> + Clone + Send + Sync + 'static,
    A::Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send,
    A::Service: axum_server::service::SendService<axum::http::Request<hyper::body::Incoming>> + Send,
    A::Future: Send,
{
    server.serve(service).await
}

#[cfg(test)]
mod tests;
