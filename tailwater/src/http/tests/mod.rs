//! Listeners with real sockets on loopback.

use std::{sync::Arc, time::Duration};

use axum::{Router, routing::get};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, Semaphore},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::TlsFiles;

struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn start(router: Router, tls: Option<Tls>, places: usize) -> Running {
    let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), "http").await.unwrap();
    let (address, stop) = (listener.address(), CancellationToken::new());
    let site = Site { router, origin: None };
    let task = tokio::spawn(listener.serve(site, tls, Arc::new(Semaphore::new(places)), stop.clone()));
    Running { address, stop, task }
}

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

fn certificate(folder: &std::path::Path, name: &str) -> TlsFiles {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let files = TlsFiles { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
    std::fs::write(&files.cert, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    files
}

/// A client that trusts what the file says.
fn client(files: &TlsFiles, address: SocketAddr) -> reqwest::Client {
    let pem = std::fs::read(&files.cert).unwrap();
    reqwest::Client::builder()
        .add_root_certificate(reqwest::Certificate::from_pem(&pem).unwrap())
        .resolve("tailwater.test", address)
        .resolve("renewed.test", address)
        .pool_max_idle_per_host(0)
        .build()
        .unwrap()
}

#[tokio::test]
async fn plain_http_speaks_1_1_with_keep_alive_and_http_2_with_prior_knowledge() {
    let server = start(hello(), None, 10).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for _ in 0..2 {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut answer = [0; 512];
        let count = stream.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..count]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
    }
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let answer = client.get(format!("http://{}/", server.address)).send().await.unwrap();
    assert_eq!(answer.version(), axum::http::Version::HTTP_2);
}

#[tokio::test]
async fn https_speaks_http_2_and_takes_a_renewed_certificate_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let files = certificate(folder.path(), "tailwater.test");
    let tls = Tls::load(&files).await.unwrap();
    let server = start(hello(), Some(tls.clone()), 10).await;
    let port = server.address.port();
    let before = client(&files, server.address);
    let answer = before.get(format!("https://tailwater.test:{port}/")).send().await.unwrap();
    assert_eq!(answer.version(), axum::http::Version::HTTP_2);
    std::fs::write(&files.key, "half of a renewal").unwrap();
    assert!(tls.reload().await.is_err());
    assert!(before.get(format!("https://tailwater.test:{port}/")).send().await.is_ok(), "the one before stays");
    certificate(folder.path(), "renewed.test");
    tls.reload().await.unwrap();
    let after = client(&files, server.address);
    assert!(after.get(format!("https://renewed.test:{port}/")).send().await.is_ok());
    assert!(before.get(format!("https://tailwater.test:{port}/")).send().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_certificate_whose_files_change_is_read_again_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let files = certificate(folder.path(), "tailwater.test");
    let tls = Tls::load(&files).await.unwrap();
    let in_use = || Arc::clone(tls.acceptor().config());
    let (before, stop) = (in_use(), CancellationToken::new());
    let following = tokio::spawn(tls.clone().follow(stop.clone()));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(Arc::ptr_eq(&before, &in_use()), "nothing changed");
    let later = std::time::SystemTime::now() + Duration::from_secs(10);
    std::fs::write(&files.cert, "half of a renewal").unwrap();
    std::fs::File::options().append(true).open(&files.cert).unwrap().set_modified(later).unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(Arc::ptr_eq(&before, &in_use()), "what cannot be used is left");
    certificate(folder.path(), "renewed.test");
    let changed = async {
        while Arc::ptr_eq(&before, &in_use()) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), changed).await.expect("the renewed one is in use");
    stop.cancel();
    following.await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_told_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let files = certificate(folder.path(), "tailwater.test");
    std::fs::write(&files.cert, "nothing").unwrap();
    let error = Tls::load(&files).await.unwrap_err().to_string();
    assert!(error.contains("cert.pem"), "{error}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_so() {
    let server = start(hello(), None, 10).await;
    let error = Listener::bind(server.address, "http").await.unwrap_err().to_string();
    assert!(
        error.contains("taken") && error.contains("--http") && error.contains(&server.address.to_string()),
        "{error}"
    );
}

#[tokio::test]
async fn connections_are_bounded_and_a_closed_one_frees_its_place() {
    let server = start(hello(), None, 1).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert!(first.read(&mut [0; 512]).await.unwrap() > 0);
    let mut second = TcpStream::connect(server.address).await.unwrap();
    let closed = second.read(&mut [0; 16]).await;
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    drop(first);
    let url = format!("http://{}/", server.address);
    let served = async {
        while reqwest::get(&url).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), served).await.expect("the place is free again");
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let server = start(hello(), None, 10).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(64 << 10));
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
}

#[tokio::test]
async fn a_request_under_way_is_answered_before_the_server_stops() {
    let (came, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let router = Router::new().route(
        "/",
        get({
            let (came, go) = (Arc::clone(&came), Arc::clone(&go));
            || async move {
                came.notify_one();
                go.notified().await;
                "done"
            }
        }),
    );
    let server = start(router, None, 10).await;
    let url = format!("http://{}/", server.address);
    let answer = tokio::spawn(async move { reqwest::get(url).await.unwrap().text().await.unwrap() });
    came.notified().await;
    server.stop.cancel();
    go.notify_one();
    assert_eq!(answer.await.unwrap(), "done");
    server.task.await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}
