//! A TCP proxy that is slow or gone when a test says so.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// What it does to connections.
#[derive(Clone, Copy, Default, PartialEq)]
pub struct Mode {
    /// Cuts them, and refuses new ones.
    pub down: bool,
    /// How much later the server gets what the client sends.
    pub delay: Duration,
}

/// It ends when it is dropped, and its connections with it.
pub struct Proxy {
    pub address: SocketAddr,
    mode: watch::Sender<Mode>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Before whatever listens, or will, on a port of this machine.
    pub async fn before(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (mode, watching) = watch::channel(Mode::default());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !watching.borrow().down {
                    tokio::spawn(connection(client, port, watching.clone()));
                }
            }
        });
        Self { address, mode, task }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connection(client: TcpStream, port: u16, mut mode: watch::Receiver<Mode>) {
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
    for side in [&client, &server] {
        side.set_nodelay(true).expect("a socket");
    }
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (sender, mut waiting) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let watching = mode.clone();
    let read = async {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            let due = Instant::now() + watching.borrow().delay;
            let _ = sender.send((due, buffer[..length].to_vec()));
        }
    };
    let write = async {
        while let Some((due, bytes)) = waiting.recv().await {
            tokio::time::sleep_until(due).await;
            if to_server.write_all(&bytes).await.is_err() {
                break;
            }
        }
    };
    let back = async {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
    };
    tokio::select! {
        () = read => {}
        () = write => {}
        () = back => {}
        _ = mode.wait_for(|mode| mode.down) => {}
    }
}
