//! The origin behind its HTTP server, over real sockets: what viewers in plain HTTP/1.1 get past hyper, and thousands of
//! them waiting for the same part.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, routing::get};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::stage::{Remote, Show, origin_of};
use crate::http::{Listener, routes::Site};

const LOW: &str = "/live/cam/cam_720p_low-latency.m3u8";
/// The part that comes next in [`serve`].
const NEXT: &str = "_HLS_msn=2&_HLS_part=2";
/// As many as wait for one part.
const CROWD: usize = 2_000;
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Served {
    show: Arc<Show>,
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// A livestream with segments 0 and 1 and two parts of segment 2, at which `waiters` may wait, and a page of another kind.
async fn serve(waiters: usize) -> Served {
    let show = Show::new(&["720p"], true, waiters);
    show.tell();
    show.parts(12);
    let origin = origin_of(Some(Arc::clone(&show)), Remote::new(), waiters);
    let router = Router::new().route("/page", get(|| async { "page" })).merge(origin.clone().routes());
    let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), "http").await.unwrap();
    let (address, stop) = (listener.address(), CancellationToken::new());
    let site = Site { router, origin: Some(origin) };
    let task = tokio::spawn(listener.serve(site, None, Arc::new(Semaphore::new(2 * CROWD)), stop.clone()));
    Served { show, address, stop, task }
}

impl Served {
    async fn ask(&self, requests: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(requests.as_bytes()).await.unwrap();
        stream
    }

    /// Until so many places are free.
    async fn places(&self, free: usize) {
        let reached = async {
            while self.show.desk_places() != free {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{} free", self.show.desk_places()));
    }
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// One answer: its head and its body.
async fn answer(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    (head, body)
}

#[tokio::test]
async fn two_thousand_parked_reloads_get_the_same_bytes_when_the_part_comes() {
    crate::cli::open_files::raise(2 * CROWD);
    let served = serve(CROWD).await;
    let path = request(&format!("{LOW}?{NEXT}"));
    let mut waiting = Vec::new();
    for _ in 0..CROWD {
        waiting.push(served.ask(&path).await);
    }
    served.places(0).await;

    let mut one_too_many = served.ask(&path).await;
    let (head, _) = answer(&mut one_too_many).await;
    assert!(head.starts_with("HTTP/1.1 503") && head.contains("retry-after: 1"), "{head}");

    waiting.truncate(CROWD - 100);
    served.places(100).await;
    for _ in 0..100 {
        waiting.push(served.ask(&path).await);
    }
    served.places(0).await;

    served.show.part();
    let (_, first) = answer(&mut waiting[0]).await;
    assert!(String::from_utf8_lossy(&first).contains("cam_720p_segment002.part2.ts\""));
    for stream in &mut waiting[1..] {
        let (head, body) = answer(stream).await;
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("cache-control: public, max-age=6\r\n"), "{head}");
        assert!(body == first, "the same bytes for all");
    }
    served.places(CROWD).await;
}

#[tokio::test]
async fn a_connection_goes_on_after_each_answer_and_what_comes_early_is_answered_in_order() {
    let served = serve(10).await;
    let both = request("/live/cam/cam_720p_segment001.ts") + &request("/live/cam/nothing");
    let mut stream = served.ask(&both).await;
    let (head, body) = answer(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("content-type: video/mp2t\r\n"), "{head}");
    assert!(head.contains("\r\ndate: ") && body.starts_with(b"cam_720p_segment001.ts"), "{head}");
    let (head, body) = answer(&mut stream).await;
    assert!(
        head.starts_with("HTTP/1.1 404 Not Found\r\n") && body.ends_with(b"\"error\":\"there is nothing here\"}"),
        "{head}"
    );
    stream.write_all(b"HEAD /live/cam/cam_720p_segment001.ts HTTP/1.1\r\n\r\n").await.unwrap();
    stream.write_all(request(&format!("{LOW}?{NEXT}")).as_bytes()).await.unwrap();
    let mut head = vec![0; 4096];
    let count = stream.read(&mut head).await.unwrap();
    let head = String::from_utf8_lossy(&head[..count]).into_owned();
    assert!(head.contains("content-length: 100\r\n") && head.ends_with("\r\n\r\n"), "no body: {head}");
    served.places(9).await;
    // The next request while one is parked.
    stream.write_all(request(&format!("{LOW}?_HLS_msn=0")).as_bytes()).await.unwrap();
    served.show.part();
    for _ in 0..2 {
        let (head, body) = answer(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 200") && body.starts_with(b"#EXTM3U"), "{head}");
    }
}

#[tokio::test]
async fn what_is_not_for_the_origin_is_answered_on_the_same_connection_and_so_is_what_follows() {
    let served = serve(10).await;
    let mut stream = served.ask(&request("/live/cam/playlist.m3u8")).await;
    assert!(answer(&mut stream).await.0.starts_with("HTTP/1.1 200"));
    for (path, expected) in [("/page", "HTTP/1.1 200"), ("/nowhere", "HTTP/1.1 404"), (LOW, "HTTP/1.1 200")] {
        stream.write_all(request(path).as_bytes()).await.unwrap();
        let (head, _) = answer(&mut stream).await;
        assert!(head.starts_with(expected), "{path}: {head}");
    }
    let post = "POST /live/cam/playlist.m3u8 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab";
    let mut stream = served.ask(post).await;
    assert!(answer(&mut stream).await.0.starts_with("HTTP/1.1 405"));
    let mut stream = served.ask("nonsense\r\n\r\n").await;
    let mut refused = String::new();
    stream.read_to_string(&mut refused).await.unwrap();
    assert!(refused.starts_with("HTTP/1.1 400"), "{refused}");
}

#[tokio::test]
async fn a_client_that_wants_no_more_is_let_go_after_its_answer() {
    let served = serve(10).await;
    let mut stream = served.ask(&format!("GET {LOW} HTTP/1.1\r\nConnection: close\r\n\r\n")).await;
    let mut all = String::new();
    stream.read_to_string(&mut all).await.unwrap();
    assert!(all.contains("\r\nconnection: close\r\n") && all.contains("#EXTM3U"), "{all}");
}

#[tokio::test]
async fn a_server_that_stops_closes_idle_connections_and_answers_who_waits() {
    let served = serve(10).await;
    let mut idle = served.ask(&request("/live/cam/playlist.m3u8")).await;
    answer(&mut idle).await;
    let mut parked = served.ask(&request(&format!("{LOW}?{NEXT}"))).await;
    served.places(9).await;
    served.stop.cancel();
    assert_eq!(idle.read(&mut [0; 16]).await.unwrap(), 0);
    served.show.part();
    let (head, body) = answer(&mut parked).await;
    assert!(head.contains("connection: close") && body.starts_with(b"#EXTM3U"), "{head}");
    served.task.await.unwrap();
    assert!(TcpStream::connect(served.address).await.is_err());
}
