//! Random faults on three small livestreams while viewers watch, on their origin and on their store. `bench/torture` runs it.
//!
//! Prints each fault and how long it took until all streams went on, then what it cost: seconds lost, the longest wait for a
//! segment, and what was left behind in processes, open files and memory. Ends with 1 when a rule was broken.
// None of it is exported.
#![allow(clippy::print_stdout, clippy::print_stderr, unreachable_pub, missing_docs)]

mod leaks;
mod media;
mod stage;
mod viewer;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fastrand::Rng;
use leaks::Holdings;
use momento_fake::{Fake, FaultsUpdate, Options};
use stage::{Encoder, Server};
use tokio::task::JoinHandle;
use viewer::{Ledger, Place, Viewer};

/// Name, container and latency of each livestream.
const STREAMS: [(&str, &str, bool); 3] = [("one", "ts", true), ("two", "cmaf", true), ("three", "ts", false)];
/// A stream goes on when its newest segment is younger.
const FRESH: Duration = Duration::from_millis(2500);
/// By then everything must go on after the last fault is over.
const PATIENCE: Duration = Duration::from_secs(45);
/// A viewer of the origin may wait this long for a segment while only the store is ill.
const UNNOTICED: f64 = 4.0;
/// Growth of a server's memory, in MiB, once its windows are full.
const MAX_GROWTH: f64 = 48.0;
/// Windows are full and everything that is allocated once is by then.
const SETTLED: Duration = Duration::from_secs(75);
/// Files open after everything was ended, beyond those at the start: connections to the store.
const MAX_FILES: usize = 16;

#[derive(Clone, Copy, Debug)]
enum Fault {
    KillFfmpeg,
    StopFfmpeg,
    DropSource(usize, u64),
    ChangeSize(usize),
    StallStore(Stall, u64),
    RestartServer(&'static str),
}

#[derive(Clone, Copy, Debug)]
enum Stall {
    Down,
    Slow,
    Failing,
    Throttling,
}

impl Fault {
    fn any(rng: &mut Rng) -> Self {
        let stream = rng.usize(..STREAMS.len());
        match rng.u8(..16) {
            0..4 => Self::KillFfmpeg,
            4..7 => Self::StopFfmpeg,
            7..10 => Self::DropSource(stream, rng.u64(1..8)),
            10..12 => Self::ChangeSize(stream),
            12..14 => {
                let stalls = [Stall::Down, Stall::Slow, Stall::Failing, Stall::Throttling];
                Self::StallStore(stalls[rng.usize(..4)], rng.u64(3..15))
            }
            14 => Self::RestartServer("-TERM"),
            _ => Self::RestartServer("-KILL"),
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::KillFfmpeg => "FFmpeg killed",
            Self::StopFfmpeg => "FFmpeg stopped",
            Self::DropSource(..) => "source dropped",
            Self::ChangeSize(..) => "size changed",
            Self::StallStore(..) => "store stalled",
            Self::RestartServer("-TERM") => "server restarted",
            Self::RestartServer(_) => "server killed",
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (mut minutes, mut seed) = (1.0, fastrand::u64(..1_000_000));
    while let Some(argument) = arguments.next() {
        let value = arguments.next().unwrap_or_default();
        match (argument.as_str(), value.parse::<f64>()) {
            ("--minutes", Ok(value)) => minutes = value,
            ("--seed", Ok(value)) => seed = value as u64,
            _ => {
                println!(
                    "bench/torture [--debug] [--minutes N] [--seed N]   (N minutes of faults, 1 if nothing is said)"
                );
                return ExitCode::from(2);
            }
        }
    }
    println!("{minutes} minutes of faults on {} livestreams, seed {seed}", STREAMS.len());
    match torture(Duration::from_secs_f64(minutes * 60.0), seed).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

struct Torture {
    server: Server,
    fake: Fake,
    encoders: Vec<Encoder>,
    /// Of each stream: as seen at the origin, and at the store.
    ledgers: Vec<[Arc<Mutex<Ledger>>; 2]>,
    viewers: Vec<JoinHandle<()>>,
    rng: Rng,
    began: Instant,
    server_began: Instant,
    /// Every FFmpeg of any server so far.
    children: BTreeSet<u32>,
    /// What the server held when its windows were full, and later; of its longest life.
    held: Option<(Holdings, Holdings, Duration)>,
    settled: Option<Holdings>,
    counts: BTreeMap<&'static str, u32>,
    recovered: u32,
    slowest: (f64, &'static str),
    broken: Vec<String>,
}

/// Whether no rule was broken. An error says why it could not be done.
async fn torture(duration: Duration, seed: u64) -> Result<bool, String> {
    let fake = Fake::start(Options { seed, ..Options::default() }).await.map_err(|error| error.to_string())?;
    let mut server = Server::new(stage::binary()?, &fake).map_err(|error| error.to_string())?;
    server.start()?;
    let idle = Holdings::of(server.pid()).unwrap_or_default();
    let mut torture = Torture {
        server,
        fake,
        encoders: Vec::new(),
        ledgers: STREAMS.iter().map(|_| Default::default()).collect(),
        viewers: Vec::new(),
        rng: Rng::with_seed(seed),
        began: Instant::now(),
        server_began: Instant::now(),
        children: BTreeSet::new(),
        held: None,
        settled: None,
        counts: BTreeMap::new(),
        recovered: 0,
        slowest: (0.0, ""),
        broken: Vec::new(),
    };
    torture.set_up().await?;
    while torture.began.elapsed() < duration {
        torture.round().await;
    }
    torture.tear_down(idle).await;
    Ok(torture.report())
}

impl Torture {
    async fn set_up(&mut self) -> Result<(), String> {
        for (index, (name, format, low_latency)) in STREAMS.into_iter().enumerate() {
            self.server.post(name, format, low_latency).await?;
            self.encoders.push(Encoder::start(self.server.publish_url(name), index));
            let origin = Place {
                base: format!("http://{}/live/{name}/", self.server.http),
                master: "playlist.m3u8".to_owned(),
                authorization: None,
                name: format!("{name} at the origin"),
                always_there: false,
            };
            let store = Place {
                base: format!("{}/cache/livestreams/", self.fake.http_endpoint()),
                master: format!("{name}_playlist.m3u8"),
                authorization: Some(self.fake.api_key()),
                name: format!("{name} at the store"),
                always_there: true,
            };
            for (place, ledger) in [origin, store].into_iter().zip(&self.ledgers[index]) {
                self.viewers.push(tokio::spawn(Viewer::new(place, Arc::clone(ledger)).run()));
            }
        }
        if self.settles(Duration::from_secs(30)).await {
            Ok(())
        } else {
            Err(self.stuck("the streams do not begin").await)
        }
    }

    /// One fault or two, and the way back.
    async fn round(&mut self) {
        tokio::time::sleep(Duration::from_secs_f64(2.0 + 4.0 * self.rng.f64())).await;
        let mut faults = vec![Fault::any(&mut self.rng)];
        if self.rng.u8(..5) == 0 {
            faults.push(Fault::any(&mut self.rng));
        }
        let at = self.began.elapsed().as_secs_f64();
        println!("{at:7.1} s  {}", faults.iter().map(|fault| format!("{fault:?}")).collect::<Vec<_>>().join(" and "));
        self.ledgers.iter().for_each(|[origin, _]| lock(origin).longest_of_round = 0.0);
        let begun = Instant::now();
        for fault in &faults {
            *self.counts.entry(fault.kind()).or_default() += 1;
            self.inflict(*fault).await;
        }
        for fault in &faults {
            self.heal(*fault, begun).await;
        }
        // A stopped or killed FFmpeg shows only after what it had given out has been seen.
        tokio::time::sleep_until((begun + Duration::from_secs(4)).into()).await;
        if self.settles(PATIENCE).await {
            let took = begun.elapsed().as_secs_f64();
            println!("           all go on after {took:.1} s, the longest wait was {:.1} s", self.longest_of_round());
            self.recovered += faults.len() as u32;
            if took > self.slowest.0 {
                self.slowest = (took, faults[0].kind());
            }
        } else {
            let sentence = self.stuck("does not go on").await;
            self.broken.push(sentence);
        }
        if faults.iter().all(|fault| matches!(fault, Fault::StallStore(..))) {
            let longest = self.longest_of_round();
            if longest > UNNOTICED {
                self.broken.push(format!("the store's trouble made viewers of the origin wait for {longest:.1} s"));
            }
        }
        self.check_processes().await;
    }

    async fn inflict(&mut self, fault: Fault) {
        match fault {
            Fault::KillFfmpeg | Fault::StopFfmpeg => {
                let children: Vec<u32> = leaks::children(self.server.pid()).into_iter().collect();
                if let Some(child) = self.rng.choice(children) {
                    stage::send(if matches!(fault, Fault::KillFfmpeg) { "-KILL" } else { "-STOP" }, child);
                }
            }
            Fault::DropSource(stream, _) => self.encoders[stream].drop_out(),
            Fault::ChangeSize(stream) => self.encoders[stream].change_size(),
            Fault::StallStore(stall, _) => {
                let none = FaultsUpdate::default();
                self.fake.set_faults(&match stall {
                    Stall::Down => FaultsUpdate { down: Some(true), ..none },
                    Stall::Slow => FaultsUpdate { delay_ms: Some(1500), ..none },
                    Stall::Failing => FaultsUpdate { fail_rate: Some(0.5), ..none },
                    Stall::Throttling => FaultsUpdate { throttle_rate: Some(0.5), ..none },
                });
            }
            Fault::RestartServer(signal) => self.restart(signal),
        }
    }

    fn restart(&mut self, signal: &str) {
        self.children.extend(leaks::children(self.server.pid()));
        self.keep_holdings();
        if !self.server.stop(signal) {
            self.broken.push("the server did not end within 10 s of SIGTERM".to_owned());
        }
        self.server_began = Instant::now();
        self.settled = None;
        if let Err(error) = self.server.start() {
            self.broken.push(error);
        }
    }

    async fn heal(&mut self, fault: Fault, begun: Instant) {
        let until = |seconds: u64| tokio::time::sleep_until((begun + Duration::from_secs(seconds)).into());
        match fault {
            Fault::DropSource(stream, seconds) => {
                until(seconds).await;
                self.encoders[stream].come_back();
            }
            Fault::StallStore(_, seconds) => {
                until(seconds).await;
                self.fake.heal();
            }
            _ => {}
        }
    }

    /// Whether all streams deliver by then.
    async fn settles(&mut self, patience: Duration) -> bool {
        let begun = Instant::now();
        loop {
            let fresh = |ledger: &Mutex<Ledger>| lock(ledger).newest.is_some_and(|newest| newest.elapsed() < FRESH);
            if self.ledgers.iter().all(|[origin, _]| fresh(origin)) {
                return true;
            }
            if let Some(status) = self.server.has_died() {
                self.broken.push(format!("the server ended: {status}"));
                return false;
            }
            if begun.elapsed() > patience {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Of the viewers at the origin, in seconds.
    fn longest_of_round(&self) -> f64 {
        self.ledgers.iter().map(|[origin, _]| lock(origin).longest_of_round).fold(0.0, f64::max)
    }

    async fn stuck(&self, what: &str) -> String {
        let mut states = Vec::new();
        for (name, ..) in STREAMS {
            states.push(format!("{name} is {}", self.server.state(name).await));
        }
        format!("{what}: {}; the server's last words:\n{}", states.join(", "), self.server.last_words(30).join("\n"))
    }

    /// One FFmpeg a stream, none left over, no zombie; an old one may still be ending.
    async fn check_processes(&mut self) {
        let mut held = Holdings::default();
        for _ in 0..50 {
            held = Holdings::of(self.server.pid()).unwrap_or_default();
            self.children.extend(leaks::children(self.server.pid()));
            if held.children == STREAMS.len() && held.zombies == 0 {
                if self.server_began.elapsed() > SETTLED {
                    self.settled.get_or_insert(held);
                }
                return self.keep_holdings();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.broken.push(format!(
            "{} children, {} zombies for {} livestreams",
            held.children,
            held.zombies,
            STREAMS.len()
        ));
    }

    fn keep_holdings(&mut self) {
        let (Some(first), Some(now)) = (self.settled, Holdings::of(self.server.pid())) else { return };
        let life = self.server_began.elapsed();
        if self.held.is_none_or(|(.., longest)| life >= longest) {
            self.held = Some((first, now, life));
        }
    }

    /// Ends everything in order, and looks what is left.
    async fn tear_down(&mut self, idle: Holdings) {
        self.keep_holdings();
        self.viewers.drain(..).for_each(|viewer| viewer.abort());
        for (name, ..) in STREAMS {
            self.server.delete(name).await;
        }
        self.encoders.clear();
        let begun = Instant::now();
        let mut left = Holdings::default();
        while begun.elapsed() < Duration::from_secs(10) {
            left = Holdings::of(self.server.pid()).unwrap_or_default();
            if left.children == 0 && left.files <= idle.files + MAX_FILES {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        println!(
            "\nleft behind    {} processes, {} open files ({} before the first stream)",
            left.children, left.files, idle.files
        );
        if left.children > 0 || left.files > idle.files + MAX_FILES {
            self.broken.push("processes or open files were left behind".to_owned());
        }
        if !self.server.stop("-TERM") {
            self.broken.push("the server did not end within 10 s of SIGTERM".to_owned());
        }
        let alive: Vec<_> = self.children.iter().filter(|child| leaks::is_alive(**child)).collect();
        if !alive.is_empty() {
            self.broken.push(format!("FFmpeg outlived its server: {alive:?}"));
        }
    }

    fn report(&mut self) -> bool {
        let total: u32 = self.counts.values().sum();
        let kinds: Vec<String> = self.counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        println!("faults         {total}: {}", kinds.join(", "));
        println!(
            "recoveries     {} of {total}, the slowest after {:.1} s ({})",
            self.recovered, self.slowest.0, self.slowest.1
        );
        for ((name, ..), [origin, store]) in STREAMS.iter().zip(&self.ledgers) {
            let (origin, store) = (lock(origin), lock(store));
            println!(
                "{name:<14} {} segments, {} discontinuities, {:.1} s lost, longest wait {:.1} s; at the store {} segments, {} gaps",
                origin.segments, origin.discontinuities, origin.lost, origin.longest, store.segments, store.gaps
            );
            self.broken.extend(origin.broken.iter().chain(&store.broken).cloned());
        }
        match self.held {
            Some((first, last, life)) => {
                println!(
                    "memory         {:.1} -> {:.1} MiB, {} -> {} open files, over {:.0} s (the longest life of a server)",
                    first.memory,
                    last.memory,
                    first.files,
                    last.files,
                    life.as_secs_f64()
                );
                if last.memory - first.memory > MAX_GROWTH {
                    self.broken.push(format!("memory grew by more than {MAX_GROWTH} MiB"));
                }
            }
            None => println!("memory         no server lived longer than {} s", SETTLED.as_secs()),
        }
        match self.broken.is_empty() {
            true => println!("broken rules   none"),
            false => println!("broken rules   {}\n  {}", self.broken.len(), self.broken.join("\n  ")),
        }
        self.broken.is_empty()
    }
}

fn lock(ledger: &Mutex<Ledger>) -> std::sync::MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}
