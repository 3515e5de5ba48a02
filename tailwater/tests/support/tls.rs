//! TLS before a plain TCP server: what makes `rtmps://` of an RTMP server that knows none.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// Ends with the test that made it.
pub struct Terminator {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Terminator {
    /// Takes TLS on a port of its own, for `localhost`, and hands on to `port`.
    pub async fn before(port: u16) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("protocol versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a configuration");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let own = listener.local_addr().expect("an address").port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(hand_on(acceptor.clone(), socket, port, Arc::clone(&count)));
            }
        });
        Self { port: own, connections }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Handshakes that succeeded.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn hand_on(acceptor: TlsAcceptor, socket: TcpStream, port: u16, count: Arc<AtomicUsize>) {
    let Ok(mut outside) = acceptor.accept(socket).await else { return };
    count.fetch_add(1, Ordering::Relaxed);
    let Ok(mut inside) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
}
