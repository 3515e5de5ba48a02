//! The handle of a running server.

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use tokio::sync::watch;

use crate::{
    faults::{Faults, FaultsUpdate},
    grpc, http, keys,
    listener::Running,
    options::Options,
    shelf::Shelf,
    state::State,
};

/// A running server. It ends when this is dropped.
#[derive(Debug)]
pub struct Fake {
    state: Arc<State>,
    /// `None` while stopped.
    grpc: Option<Running>,
    http: Option<Running>,
    grpc_addr: SocketAddr,
    http_addr: SocketAddr,
    /// What the HTTP listener watches, always false: `POST /faults` has to get through, and an outage of the HTTP API
    /// is a 503.
    http_down: watch::Sender<bool>,
}

/// A server that did not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for {side}: {source}")]
pub struct StartError {
    /// Which of the two servers: `gRPC` or `HTTP`.
    pub side: &'static str,
    /// The address it should listen on.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl Fake {
    /// Binds both addresses and serves.
    ///
    /// # Errors
    /// When an address cannot be bound.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let state = Arc::new(State::new(&options));
        let mut fake = Self {
            state,
            grpc: None,
            http: None,
            grpc_addr: options.grpc,
            http_addr: options.http,
            http_down: watch::Sender::new(false),
        };
        fake.listen().await?;
        Ok(fake)
    }

    async fn listen(&mut self) -> Result<(), StartError> {
        let down = self.watch_down();
        let grpc = Running::start(self.grpc_addr, grpc::router(&self.state), down)
            .await
            .map_err(|source| StartError { side: "gRPC", address: self.grpc_addr, source })?;
        let http = Running::start(self.http_addr, http::router(&self.state), self.http_down.subscribe())
            .await
            .map_err(|source| StartError { side: "HTTP", address: self.http_addr, source })?;
        (self.grpc_addr, self.http_addr) = (grpc.address, http.address);
        (self.grpc, self.http) = (Some(grpc), Some(http));
        Ok(())
    }

    /// `down` alone, out of the faults, for the listener.
    fn watch_down(&self) -> watch::Receiver<bool> {
        let mut faults = self.state.faults.subscribe();
        let (sender, receiver) = watch::channel(faults.borrow().down);
        tokio::spawn(async move {
            loop {
                let now = faults.borrow_and_update().down;
                sender.send_if_modified(|down| std::mem::replace(down, now) != now);
                tokio::select! {
                    changed = faults.changed() => if changed.is_err() { break },
                    () = sender.closed() => break,
                }
            }
        });
        receiver
    }

    /// Both servers are gone, with their connections; what is stored stays.
    pub async fn stop(&mut self) {
        for running in [self.grpc.take(), self.http.take()].into_iter().flatten() {
            running.stop().await;
        }
    }

    /// Serves again on the ports it had. Items are still there: [`Fake::wipe`] first for a server that lost them.
    ///
    /// # Errors
    /// When another process took a port meanwhile.
    pub async fn restart(&mut self) -> Result<(), StartError> {
        self.stop().await;
        self.listen().await
    }

    /// Where the gRPC server listens.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc_addr
    }

    /// Where the HTTP server listens.
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// The value of `MOMENTO_ENDPOINT`: the gRPC server's URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", reachable(self.grpc_addr))
    }

    /// The HTTP API's base URL.
    pub fn http_endpoint(&self) -> String {
        format!("http://{}", reachable(self.http_addr))
    }

    /// The value of `MOMENTO_API_KEY`: a key of the second generation.
    pub fn api_key(&self) -> String {
        keys::v2("momento-fake")
    }

    /// A key of the first generation, which names its endpoint; `momento.invalid` can never be reached, so that a
    /// client that does not honour an override is found out.
    pub fn v1_api_key(&self) -> String {
        keys::v1("momento-fake", "momento.invalid")
    }

    /// Another well-formed key, to be refused or restricted.
    pub fn other_api_key(&self, id: &str) -> String {
        keys::v2(id)
    }

    /// From now on this key is not known (gRPC `UNAUTHENTICATED`, HTTP 401).
    pub fn refuse_key(&self, key: &str) {
        self.state.refuse_key(key);
    }

    /// From now on this key may not write (gRPC `PERMISSION_DENIED`, HTTP 403).
    pub fn restrict_to_reading(&self, key: &str) {
        self.state.read_only_key(key);
    }

    /// Changes the faults in force and returns them all. An outage or its end has taken effect when a client next
    /// connects or sends; it is not awaited here.
    pub fn set_faults(&self, update: &FaultsUpdate) -> Faults {
        self.state.set_faults(update)
    }

    /// No fault any more.
    pub fn heal(&self) {
        self.state.faults.send_replace(Faults::default());
    }

    /// Forgets every item; the caches stay.
    pub fn wipe(&self) {
        self.state.lock().wipe();
    }

    /// How often an operation was called, failed calls included: the name of the RPC in snake case (`set`, `get`,
    /// `item_get_ttl`), or `http_get`, `http_put`, `http_delete`, `object_get`, `object_put`, `object_delete`.
    pub fn calls(&self, operation: &str) -> u64 {
        self.state.lock().calls.get(operation).copied().unwrap_or_default()
    }

    /// How many items a cache holds now.
    pub fn items(&self, cache: &str) -> usize {
        self.state.lock().items(cache)
    }

    /// What a cache holds, all of it at one moment. Keys that are no text are left out.
    pub fn contents(&self, cache: &str) -> BTreeMap<String, Bytes> {
        self.state.lock().contents(cache)
    }

    /// Makes a cache; nothing happens when it is there.
    pub fn create_cache(&self, name: &str) {
        let shelf = Shelf::new(self.state.limits.memory_bytes);
        self.state.lock().caches.entry(name.to_owned()).or_insert(shelf);
    }

    /// Removes a cache with its items.
    pub fn delete_cache(&self, name: &str) {
        self.state.lock().caches.remove(name);
    }
}

/// An address a client can connect to: "any address" is reached by loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    address
}
