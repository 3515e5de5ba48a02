//! Connections that can be cut: an outage closes them, and a restart takes the same port again.

use std::{io, net::SocketAddr, sync::Arc};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
    task::{JoinHandle, JoinSet},
};
use tracing::debug;

/// Enough for a few whole segments to be under way on one connection: the default window of 64 KiB costs a round
/// trip every 64 KiB.
const WINDOW: u32 = 8 << 20;

/// A server that is running.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    /// Binds `address` and serves `router` there. While `down` is true, connections are cut and new ones closed.
    pub(crate) async fn start(address: SocketAddr, router: Router, down: watch::Receiver<bool>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(accept(listener, router, down, stopped));
        Ok(Self { address, stop, task })
    }

    /// Closes the port and every connection; what was being answered is not.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        // The task ends by itself; it is aborted only when the runtime is shutting down, and then all is gone anyway.
        let _ = self.task.await;
    }
}

async fn accept(
    listener: TcpListener,
    router: Router,
    mut down: watch::Receiver<bool>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http2().initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW * 2);
    let builder = Arc::new(builder);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            changed = down.changed() => {
                if changed.is_err() {
                    break;
                }
                if *down.borrow_and_update() {
                    connections.shutdown().await;
                }
            }
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if !*down.borrow() => {
                    connections.spawn(serve(stream, router.clone(), Arc::clone(&builder)));
                }
                Ok((_closed, _)) => {}
                // Out of files: give the others a chance to end.
                Err(error) => {
                    debug!(%error, "a connection could not be accepted");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            },
        }
    }
    connections.shutdown().await;
}

async fn serve(stream: TcpStream, router: Router, builder: Arc<Builder<TokioExecutor>>) {
    // Small answers must not wait for the acknowledgement of the ones before.
    let _ = stream.set_nodelay(true);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await {
        debug!(%error, "a connection ended early");
    }
}
