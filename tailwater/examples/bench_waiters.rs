//! Viewers parked at the real HTTP server and origin, all waiting for the same part. `bench/waiters` runs it, on one core;
//! the viewers are a process of their own on the next core.
//!
//! Memory is what the server's process has resident, and apart from that what the kernel keeps for all sockets, ours and
//! theirs. An answer's time runs from the moment in which the part is shown to the one in which its viewer has read all.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hls::time::UnixTime;
use hls::window::{PartInfo, SegmentInfo, Snapshot, Window, WindowConfig};
use store::{Memory, Payload};
use tailwater::http::{Listener, routes::Site};
use tailwater::origin::{Desk, LiveSource, LiveView, Multivariants, Origin, OriginSettings};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

const PLAYLIST: &str = "/live/cam/cam_720p_low-latency.m3u8";
const PART: Duration = Duration::from_millis(200);
/// Segments listed: five minutes, as by default.
const LISTED: usize = 300;
const ROUNDS: usize = 10;
/// Of the clock in /proc, a second.
const TICKS: f64 = 100.0;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match &arguments[..] {
        [mode, address, count] if mode == "viewers" => {
            runtime.block_on(viewers(address.parse().unwrap(), count.parse().unwrap()));
        }
        [count] => runtime.block_on(serve(count.parse().unwrap())),
        _ => println!("bench/waiters [VIEWERS]"),
    }
}

async fn serve(count: usize) {
    if let Some(sentence) = tailwater::cli::open_files::raise(count) {
        println!("{sentence}");
    }
    let show = Arc::new(Show::new(count));
    let settings = OriginSettings { ttl: Duration::from_secs(600), max_waiters: count };
    let origin = Origin::new(Arc::new(Source(Arc::clone(&show))), Arc::new(Memory::new(1 << 20)), settings);
    let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), "http").await.unwrap();
    let address = listener.address();
    let site = Site { router: origin.clone().routes(), origin: Some(origin) };
    tokio::spawn(listener.serve(site, None, Arc::new(Semaphore::new(count + 10)), CancellationToken::new()));
    let (resident_before, kernel_before) = (resident(), kernel());

    let mut command = tokio::process::Command::new("taskset");
    command.args(["-c", "1"]).arg(std::env::current_exe().unwrap()).args(["viewers", &address.to_string()]);
    command.arg(count.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut requests = child.stdin.take().unwrap();
    let mut reports = BufReader::new(child.stdout.take().unwrap()).lines();

    let mut latest = Vec::new();
    let mut spent = [0, 0];
    for round in 0..ROUNDS {
        let (msn, part) = show.next();
        requests
            .write_all(format!("{PLAYLIST}?_HLS_msn={msn}&_HLS_part={part}&_HLS_skip=YES\n").as_bytes())
            .await
            .unwrap();
        while show.desk.free_places() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if round == 0 {
            let per = |bytes: u64| bytes as f64 / count as f64 / 1024.0;
            println!("{count} viewers parked on one core");
            println!("memory of one     {:.1} KiB in the server", per(resident() - resident_before));
            println!(
                "                  {:.1} KiB in the kernel, for both ends",
                per(kernel().saturating_sub(kernel_before))
            );
        }
        let (shown, used) = (now(), cpu());
        show.part();
        let report = reports.next_line().await.unwrap().unwrap();
        let ticks = cpu();
        spent = [spent[0] + ticks[0] - used[0], spent[1] + ticks[1] - used[1]];
        let after: Vec<f64> = report.split(' ').map(|at| (at.parse::<u64>().unwrap() - shown) as f64 / 1e6).collect();
        let [first, half, most, last] = after[..] else { panic!("{report}") };
        println!(
            "answers of round {:2} first {first:.1} ms, p50 {half:.1} ms, p99 {most:.1} ms, last {last:.1} ms",
            round + 1
        );
        latest.push(last);
    }
    latest.sort_by(f64::total_cmp);
    let answers = (count * ROUNDS) as f64;
    let micros = |ticks: u64| ticks as f64 * 1e6 / TICKS / answers;
    println!("an answer takes   {:.1} us of the server, {:.1} us of the kernel", micros(spent[0]), micros(spent[1]));
    println!("last answer       {:.1} ms after the part, middle of {ROUNDS} rounds", latest[ROUNDS / 2]);
    println!(
        "resident at last  {:.1} KiB a viewer, each of them answered {ROUNDS} times",
        (resident() - resident_before) as f64 / count as f64 / 1024.0
    );
}

/// Asks for what a line of stdin says on every connection; when all have their answers, tells when the first, the half,
/// 99 % and the last had theirs.
async fn viewers(address: SocketAddr, count: usize) {
    tailwater::cli::open_files::raise(count);
    let (done, mut answered) = mpsc::channel(count);
    let (ask, asked) = watch::channel(Arc::<str>::from(""));
    for _ in 0..count {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::spawn(viewer(stream, asked.clone(), done.clone()));
    }
    drop(asked);
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(path)) = lines.next_line().await {
        ask.send_replace(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: en\r\nOrigin: http://localhost\r\nConnection: keep-alive\r\n\r\n").into());
        let mut times = Vec::with_capacity(count);
        while times.len() < count {
            times.push(answered.recv().await.unwrap());
        }
        times.sort_unstable();
        println!("{} {} {} {}", times[0], times[count / 2], times[count * 99 / 100], times[count - 1]);
    }
}

async fn viewer(mut stream: TcpStream, mut asked: watch::Receiver<Arc<str>>, done: mpsc::Sender<u64>) {
    let mut answer = Vec::new();
    while asked.changed().await.is_ok() {
        let request = Arc::clone(&asked.borrow_and_update());
        stream.write_all(request.as_bytes()).await.unwrap();
        answer.clear();
        while !whole(&answer) {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "the server closed a connection");
        }
        let at = now();
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&answer));
        done.send(at).await.unwrap();
    }
}

fn whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let text = std::str::from_utf8(&answer[..head]).unwrap();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    answer.len() == head + 4 + length.parse::<usize>().unwrap()
}

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

/// Bytes this process has in memory.
fn resident() -> u64 {
    kib("/proc/self/status", "VmRSS:") * 1024
}

/// Bytes the kernel has in its caches: sockets are most of what changes there.
fn kernel() -> u64 {
    kib("/proc/meminfo", "Slab:") * 1024
}

/// Ticks of the clock this process has had: in itself, in the kernel.
fn cpu() -> [u64; 2] {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    [fields[11].parse().unwrap(), fields[12].parse().unwrap()]
}

fn kib(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A livestream made by hand: five minutes of segments of five parts each.
#[derive(Debug)]
struct Show {
    window: Mutex<Window>,
    shown: watch::Sender<Snapshot>,
    multivariants: watch::Sender<Option<Multivariants>>,
    desk: Desk,
}

impl Show {
    fn new(waiters: usize) -> Self {
        let part_target = Some(Duration::from_micros(213_400));
        let config = WindowConfig { uri_prefix: "cam_720p".into(), part_target, ..WindowConfig::default() };
        let window = Window::new(config, 0, 0);
        let shown = watch::Sender::new(window.snapshot());
        let show = Self {
            window: Mutex::new(window),
            shown,
            multivariants: watch::Sender::new(None),
            desk: Desk::new(waiters),
        };
        (0..LISTED * 5).for_each(|_| show.part());
        show
    }

    fn next(&self) -> (u64, u32) {
        self.shown.borrow().next()
    }

    fn part(&self) {
        let mut window = self.window.lock().unwrap();
        let (msn, part) = window.snapshot().next();
        let date = UnixTime(1_700_000_000_000_000_000 + i64::try_from(msn).unwrap() * 1_000_000_000);
        let uri = format!("cam_720p_segment{msn:03}.part{part}.ts");
        window.push_part(PartInfo { uri, duration: PART, date, independent: part == 0 });
        if part == 4 {
            let uri = format!("cam_720p_segment{msn:03}.ts");
            window.push_segment(SegmentInfo { uri, duration: PART * 5, date, bytes: 100, gap: false });
        }
        let snapshot = window.snapshot();
        self.shown.send_replace(snapshot);
    }
}

impl LiveView for Show {
    fn multivariants(&self) -> watch::Receiver<Option<Multivariants>> {
        self.multivariants.subscribe()
    }

    fn rendition(&self, name: &str) -> Option<watch::Receiver<Snapshot>> {
        (name == "720p").then(|| self.shown.subscribe())
    }

    fn snapshots(&self) -> Vec<(String, Snapshot)> {
        vec![("720p".to_owned(), self.shown.borrow().clone())]
    }

    fn object(&self, _: &str) -> Option<Payload> {
        None
    }

    fn ttl(&self) -> Duration {
        Duration::from_secs(3600)
    }

    fn is_over(&self) -> bool {
        false
    }

    fn desk(&self) -> &Desk {
        &self.desk
    }
}

/// Knows `cam`.
#[derive(Debug)]
struct Source(Arc<Show>);

impl LiveSource for Source {
    fn livestream(&self, name: &str) -> Option<Arc<dyn LiveView>> {
        (name == "cam").then(|| Arc::clone(&self.0) as Arc<dyn LiveView>)
    }
}
