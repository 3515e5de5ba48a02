//! How soon a segment is stored and listed in each store, and what that costs this process. `bench/stores` runs it.
//!
//! The publisher that `tailwater serve` runs, before a store opened as it opens it, gets the tutorial's three rungs as
//! whole segments, ten times as fast as a camera. Put to listed is from handing over a segment to the store's answer for
//! the playlist that lists it, from when on every reader sees it. CPU is user and system time of this process; stores
//! are processes of their own. Allocated is what this process allocated for each byte it stored: a buffer of the size
//! of the object counts one, and is a copy of it; one that is used again for the next counts nothing.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

#[path = "../../crates/store/tests/support/mod.rs"]
mod redis_servers;
#[path = "../../crates/store/tests/support/s3.rs"]
mod s3;

use std::alloc::System;
use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use hls::time::UnixTime;
use hls::window::{SegmentInfo, Window, WindowConfig};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use store::{Capabilities, Error, Key, MediaStore, Object, OpenOptions, Payload, PutOptions, StoreUrl};
use tailwater::publish::sequence::{Mark, Record};
use tailwater::publish::{Command as Publish, Handle, Publisher, PublisherConfig, SegmentCommand};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The tutorial's rungs, as bytes of a second with 128 kbit/s of sound.
const RUNGS: [(&str, usize); 3] = [("1080p", 641_000), ("720p", 391_000), ("480p", 203_500)];
const INTERVAL: Duration = Duration::from_millis(100);
/// Not measured: connections are made, files and buffers come to their size.
const WARM_UP: u64 = 20;

#[tokio::main]
async fn main() {
    let mut seconds = 20;
    if let Some(argument) = std::env::args().nth(1) {
        if argument == "--serve-s3" {
            return serve_s3().await;
        }
        match argument.parse() {
            Ok(number) => seconds = number,
            Err(_) => return println!("bench/stores [SECONDS of each store, default 20]"),
        }
    }
    let rounds = seconds * 10;
    let megabytes = RUNGS.iter().map(|(_, bytes)| *bytes).sum::<usize>() as f64 / 1e6 * 10.0;
    println!(
        "three rungs, a segment of each every 100 ms: {megabytes:.1} MB/s, {rounds} segments a rung; one core = 100 %"
    );
    println!("store                 put to listed: p50      p99   CPU for 1 MB/s   allocated a byte");

    let folder = tempfile::tempdir().unwrap();
    measure("file", &format!("file:{}", folder.path().display()), &[], rounds).await;
    measure("memory", "memory:", &[], rounds).await;
    let redis = redis_servers::RedisServer::start(&[]).await;
    measure("redis", &redis.url(), &[], rounds).await;
    drop(redis);
    let cluster = redis_servers::cluster().await;
    measure("redis cluster", &format!("redis-cluster://127.0.0.1:{}", cluster[0].port), &[], rounds).await;
    drop(cluster);
    let momento = Momento::start();
    measure("momento (fake)", "momento:livestreams", &momento.environment, rounds).await;
    let objects = format!("momento-objectstore:livestreams?endpoint=http://{}", momento.http);
    measure("object store (fake)", &objects, &momento.environment, rounds).await;
    drop(momento);
    let s3 = Helper::start(Command::new(std::env::current_exe().unwrap()).arg("--serve-s3"));
    measure("s3 (s3s-fs)", s3.lines[0].trim(), &[], rounds).await;
}

async fn serve_s3() {
    let server = s3::S3Server::start().await;
    println!("{}", server.url("bucket/live", "camera:hunter2"));
    std::future::pending::<()>().await;
}

/// A server in a process of its own that prints some lines when it is ready.
struct Helper {
    child: Child,
    lines: Vec<String>,
}

impl Helper {
    fn start(command: &mut Command) -> Self {
        Self::with_lines(command, 1)
    }

    fn with_lines(command: &mut Command, lines: usize) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the helper starts");
        let output = BufReader::new(child.stdout.take().unwrap());
        let lines = output.lines().take(lines).map(Result::unwrap).collect();
        Self { child, lines }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Momento {
    environment: Vec<(String, String)>,
    http: String,
    _helper: Helper,
}

impl Momento {
    /// The binary that `bench/stores` built.
    fn start() -> Self {
        let binary = std::env::var("MOMENTO_FAKE").expect("MOMENTO_FAKE is the path of momento-fake");
        let http = format!("127.0.0.1:{}", redis_servers::free_port());
        let helper = Helper::with_lines(Command::new(binary).args(["--grpc", "127.0.0.1:0", "--http", &http]), 2);
        let pair =
            |line: &String| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap();
        Self { environment: helper.lines.iter().map(pair).collect(), http, _helper: helper }
    }
}

/// A store that notes when a segment was listed.
struct Watched {
    store: Arc<dyn MediaStore>,
    /// By playlist: the number after the last that it lists, and when it was there.
    listed: Mutex<Vec<(String, u64, Instant)>>,
}

#[async_trait]
impl MediaStore for Watched {
    async fn put(&self, key: &Key, payload: Payload, options: &PutOptions) -> Result<(), Error> {
        let next = next_number(key, &payload);
        self.store.put(key, payload, options).await?;
        if let Some((rendition, next)) = next {
            self.listed.lock().unwrap().push((rendition, next, Instant::now()));
        }
        Ok(())
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Object, Error> {
        self.store.get(key, range).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.store.delete(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, Error> {
        self.store.list(prefix).await
    }

    async fn health(&self) -> Result<(), Error> {
        self.store.health().await
    }

    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watched({})", self.store)
    }
}

/// Of a media playlist: its rendition, and the number after the last segment.
fn next_number(key: &Key, payload: &Payload) -> Option<(String, u64)> {
    let rendition = key.rendition().filter(|_| key.as_str().ends_with("_playlist.m3u8"))?;
    let text = payload.contiguous();
    let last = str::from_utf8(&text).ok()?.trim_end().rsplit('\n').next()?;
    let number = last.rsplit_once("_segment")?.1.split('.').next()?;
    Some((rendition.to_owned(), number.parse::<u64>().ok()? + 1))
}

async fn measure(label: &str, url: &str, environment: &[(String, String)], rounds: u64) {
    let variable = |name: &str| environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let store = store::open(&[StoreUrl::parse(url).unwrap()], &variable, &OpenOptions::default()).await.unwrap();
    let watched = Arc::new(Watched { store, listed: Mutex::default() });
    let config = PublisherConfig {
        slug: "bench".to_owned(),
        ttl: Duration::from_secs(3600),
        segment: Duration::from_secs(1),
        spool: None,
        memory: 128 << 20,
    };
    let (publisher, handle) = Publisher::new(Arc::clone(&watched) as _, config, Arc::new(|_: &str| None), None);
    let publisher = tokio::spawn(publisher.run(CancellationToken::new()));
    begin(&handle).await;

    let mut handed = HashMap::new();
    let mut ticks = tokio::time::interval(INTERVAL);
    let media = RUNGS.map(|(_, bytes)| Bytes::from(vec![0x47; bytes]));
    let mut measured = None;
    for msn in 0..WARM_UP + rounds {
        ticks.tick().await;
        if msn == WARM_UP {
            watched.listed.lock().unwrap().clear();
            measured = Some((cpu_seconds(), Region::new(ALLOCATOR)));
        }
        for ((rendition, _), bytes) in RUNGS.iter().zip(&media) {
            handed.insert(((*rendition).to_owned(), msn), Instant::now());
            handle.send(Publish::Segment(Box::new(segment(rendition, msn, bytes.clone())))).await;
        }
    }
    ticks.tick().await;
    let (cpu_before, region) = measured.unwrap();
    let (cpu, allocated) = (cpu_seconds() - cpu_before, region.change().bytes_allocated);
    handle.send(Publish::End).await;
    tokio::time::timeout(Duration::from_secs(30), publisher).await.expect("the publisher ends").unwrap();

    let listed = std::mem::take(&mut *watched.listed.lock().unwrap());
    let mut lags = lags(&handed, &listed, WARM_UP);
    lags.sort_unstable();
    assert_eq!(lags.len() as u64, rounds * RUNGS.len() as u64, "{label}: every segment was listed");
    let at = |share: f64| lags[((lags.len() as f64 * share).ceil() as usize).saturating_sub(1)].as_secs_f64() * 1e3;
    let bytes = RUNGS.iter().map(|(_, bytes)| *bytes).sum::<usize>() as f64 * rounds as f64;
    println!(
        "{label:<22} {:>15.1} ms {:>6.1} ms {:>14.2} % {:>18.2}",
        at(0.5),
        at(0.99),
        cpu / (bytes / 1e6) * 100.0,
        allocated as f64 / bytes
    );
}

async fn begin(handle: &Handle) {
    for (name, _) in RUNGS {
        let config = WindowConfig { uri_prefix: format!("bench_{name}"), ..WindowConfig::default() };
        let window = Box::new(Window::new(config.clone(), 0, 0));
        handle.send(Publish::Rendition { name: name.to_owned(), config, window }).await;
    }
    let variants = RUNGS.map(|(name, _)| format!("#EXT-X-STREAM-INF:BANDWIDTH=1000000\nbench_{name}_playlist.m3u8\n"));
    handle.send(Publish::Multivariant(format!("#EXTM3U\n{}", variants.concat()))).await;
    handle.send(Publish::Sequence(Record { mark: Mark::ahead(None, 0, 0), renditions: Vec::new() })).await;
}

fn segment(rendition: &str, msn: u64, bytes: Bytes) -> SegmentCommand {
    let info = SegmentInfo {
        uri: format!("bench_{rendition}_segment{msn:03}.ts"),
        duration: Duration::from_secs(1),
        date: UnixTime(1_700_000_000_000_000_000 + msn as i64 * 1_000_000_000),
        bytes: bytes.len() as u64,
        gap: false,
    };
    SegmentCommand {
        rendition: rendition.to_owned(),
        msn,
        discontinuity_sequence: 0,
        discontinuity: false,
        init: None,
        info,
        payload: Some(bytes.into()),
    }
}

/// From handing over to the first playlist that lists it, for all from `first` on.
fn lags(handed: &HashMap<(String, u64), Instant>, listed: &[(String, u64, Instant)], first: u64) -> Vec<Duration> {
    let lag = |((rendition, msn), since): (&(String, u64), &Instant)| {
        let at = listed.iter().find(|(of, next, _)| of == rendition && next > msn)?.2;
        Some(at.saturating_duration_since(*since))
    };
    handed.iter().filter(|((_, msn), _)| *msn >= first).filter_map(lag).collect()
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    // USER_HZ is 100 on every Linux that there is.
    ticks / 100.0
}
