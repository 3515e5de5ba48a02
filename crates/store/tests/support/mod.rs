//! Real Redis servers for the tests.

#![allow(clippy::unwrap_used, dead_code)]

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use store::{MediaStore, OpenOptions, StoreUrl};

/// A `redis-server` of our own, killed when dropped.
pub(crate) struct RedisServer {
    child: Child,
    pub(crate) port: u16,
    folder: tempfile::TempDir,
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

impl RedisServer {
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        Self::start_on(free_port(), arguments).await
    }

    pub(crate) async fn start_on(port: u16, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port.to_string(), "--dir"])
            .arg(folder.path())
            .args(arguments)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let server = Self { child, port, folder };
        let began = Instant::now();
        while tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(10), "redis-server did not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A plain connection beside the store's.
    pub(crate) async fn connection(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        let _ = &self.folder;
    }
}

/// Three masters that share the slots.
pub(crate) async fn cluster() -> Vec<RedisServer> {
    let mut servers = Vec::new();
    let mut buses = Vec::new();
    for _ in 0..3 {
        let bus = free_port();
        let arguments = ["--cluster-enabled", "yes", "--cluster-port", &bus.to_string()];
        servers.push(RedisServer::start(&arguments).await);
        buses.push(bus);
    }
    for (n, server) in servers.iter().enumerate() {
        let mut connection = server.connection().await;
        let (first, last) = [(0, 5460), (5461, 10922), (10923, 16383)][n];
        let () = redis::cmd("CLUSTER")
            .arg(&["ADDSLOTSRANGE"])
            .arg(first)
            .arg(last)
            .query_async(&mut connection)
            .await
            .unwrap();
        for (peer, bus) in servers.iter().zip(&buses) {
            let mut meet = redis::cmd("CLUSTER");
            meet.arg("MEET").arg("127.0.0.1").arg(peer.port).arg(*bus);
            let () = meet.query_async(&mut connection).await.unwrap();
        }
    }
    for server in &servers {
        let mut connection = server.connection().await;
        let began = Instant::now();
        loop {
            let info: String = redis::cmd("CLUSTER").arg("INFO").query_async(&mut connection).await.unwrap();
            if info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3") {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "the cluster did not form: {info}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    servers
}

/// The bare backend of a URL, with credentials from nowhere else.
pub(crate) async fn open(url: &str) -> Arc<dyn MediaStore> {
    let options = OpenOptions { attempt_timeout: Duration::from_secs(2), ..OpenOptions::default() };
    store::open_backend(&StoreUrl::parse(url).unwrap(), &|_| None, &options).await.unwrap()
}
