//! A publisher made of bytes: what no encoder will send on demand.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::LONG;
pub use super::bytes::*;

/// A connection that speaks RTMP by hand.
pub struct Peer {
    pub stream: TcpStream,
}

impl Peer {
    pub async fn connect(server: &rtmp::Server) -> Self {
        let stream = TcpStream::connect(server.local_addr()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// Connected, hands shaken.
    pub async fn shaken(server: &rtmp::Server) -> Self {
        let mut peer = Self::connect(server).await;
        let mut hello = vec![0; 1 + 1536];
        hello[0] = 3;
        peer.send(&hello).await;
        let mut reply = vec![0; 1 + 1536 + 1536];
        timeout(LONG, peer.stream.read_exact(&mut reply)).await.unwrap().unwrap();
        peer.send(&reply[1..1537]).await;
        peer
    }

    /// Up to `publish`, which is sent and not yet answered.
    pub async fn publishing(server: &rtmp::Server, app: &str, key: &str) -> Self {
        let mut peer = Self::shaken(server).await;
        peer.send(&connect(app)).await;
        peer.send(&command(0, "createStream", 2.0, &[NULL])).await;
        peer.send(&publish(key)).await;
        peer
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Everything it is sent until it is closed.
    pub async fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A reset is an end too.
        let _ = timeout(LONG, self.stream.read_to_end(&mut bytes)).await.expect("the connection stays open");
        bytes
    }
}
