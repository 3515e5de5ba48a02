//! The parts that are tormented: a server, a store, three encoders. All are children of this process or live in it.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use momento_fake::Fake;
use serde_json::{Value, json};
use tokio::sync::Notify;

/// What encoders show: sizes and frame rates to change between.
const PICTURES: [(&str, u32); 4] = [("320x180", 30), ("256x144", 25), ("240x180", 30), ("180x320", 24)];

/// `tailwater serve`, on the same ports across restarts.
pub struct Server {
    binary: PathBuf,
    folder: tempfile::TempDir,
    key: String,
    endpoint: String,
    pub http: String,
    pub rtmp: String,
    child: Option<Child>,
    client: reqwest::Client,
}

impl Server {
    pub fn new(binary: PathBuf, fake: &Fake) -> std::io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = "reconnect_window = \"60s\"\nresume = true\nwindow = \"60s\"\n";
        std::fs::write(folder.path().join("tailwater.toml"), config)?;
        let [http, rtmp] = free_ports()?.map(|port| format!("127.0.0.1:{port}"));
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build();
        let client = client.unwrap_or_default();
        Ok(Self { binary, folder, key: fake.api_key(), endpoint: fake.endpoint(), http, rtmp, child: None, client })
    }

    /// Starts it and waits until it serves.
    pub fn start(&mut self) -> Result<(), String> {
        let log =
            std::fs::File::options().create(true).append(true).open(self.log()).map_err(|error| error.to_string())?;
        let mut command = Command::new(&self.binary);
        command.args(["serve", "--http", &self.http, "--rtmp", &self.rtmp, "--store", "momento:livestreams"]);
        command.arg("--config").arg(self.folder.path().join("tailwater.toml"));
        command.current_dir(self.folder.path());
        command.env("MOMENTO_API_KEY", &self.key).env("MOMENTO_ENDPOINT", &self.endpoint);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        self.child = Some(child.map_err(|error| format!("{}: {error}", self.binary.display()))?);
        let begun = Instant::now();
        while std::net::TcpStream::connect(&self.http).is_err() {
            if begun.elapsed() > Duration::from_secs(20) {
                return Err("the server does not listen within 20 s".to_owned());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Whether it ended although nobody asked it to.
    pub fn has_died(&mut self) -> Option<String> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        Some(status.to_string())
    }

    /// SIGTERM, or SIGKILL, and its end. False when it takes more than ten seconds.
    pub fn stop(&mut self, signal: &str) -> bool {
        let Some(mut child) = self.child.take() else { return true };
        send(signal, child.id());
        let begun = Instant::now();
        while child.try_wait().is_ok_and(|status| status.is_none()) {
            if begun.elapsed() > Duration::from_secs(10) {
                let _ = child.kill();
                let _ = child.wait();
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The last lines it logged.
    pub fn last_words(&self, count: usize) -> Vec<String> {
        let Ok(file) = std::fs::File::open(self.log()) else { return Vec::new() };
        let lines: Vec<String> = BufReader::new(file).lines().map_while(Result::ok).collect();
        lines.iter().skip(lines.len().saturating_sub(count)).cloned().collect()
    }

    /// Asks for a livestream.
    pub async fn post(&self, name: &str, format: &str, low_latency: bool) -> Result<(), String> {
        let ladder = json!([
            {"name": "180p", "height": 180, "videoBitrate": 300_000, "preset": "ultrafast"},
            {"name": "90p", "height": 90, "videoBitrate": 100_000, "preset": "ultrafast"},
        ]);
        let body = json!({"rtmpUrl": self.publish_url(name), "streamName": name, "ladder": ladder, "format": format, "lowLatency": low_latency});
        let response = self.client.post(format!("http://{}/livestreams", self.http)).json(&body).send().await;
        let response = response.map_err(|error| error.to_string())?;
        if response.status() == 202 {
            Ok(())
        } else {
            Err(format!("{name}: {}", response.text().await.unwrap_or_default()))
        }
    }

    pub async fn delete(&self, name: &str) {
        let _ = self.client.delete(format!("http://{}/livestreams/{name}", self.http)).send().await;
    }

    /// The state of a livestream, `none` when there is no such thing.
    pub async fn state(&self, name: &str) -> String {
        let Ok(response) = self.client.get(format!("http://{}/livestreams/{name}", self.http)).send().await else {
            return "none".to_owned();
        };
        let status: Value = response.json().await.unwrap_or_default();
        status["state"].as_str().unwrap_or("none").to_owned()
    }

    pub fn publish_url(&self, name: &str) -> String {
        format!("rtmp://{}/live/{name}", self.rtmp)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop("-KILL");
    }
}

/// An encoder that connects again whenever it was cut off, as OBS does.
pub struct Encoder {
    shared: Arc<Orders>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Orders {
    picture: AtomicUsize,
    away: AtomicBool,
    changed: Notify,
}

impl Encoder {
    pub fn start(url: String, picture: usize) -> Self {
        let shared = Arc::new(Orders { picture: picture.into(), ..Orders::default() });
        let task = tokio::spawn(encode(url, Arc::clone(&shared)));
        Self { shared, task }
    }

    /// Its connection is gone, without a goodbye.
    pub fn drop_out(&self) {
        self.shared.away.store(true, Ordering::SeqCst);
        self.shared.changed.notify_one();
    }

    pub fn come_back(&self) {
        self.shared.away.store(false, Ordering::SeqCst);
        self.shared.changed.notify_one();
    }

    /// Begins again at once with another size and frame rate.
    pub fn change_size(&self) {
        let next = (self.shared.picture.load(Ordering::SeqCst) + 1) % PICTURES.len();
        self.shared.picture.store(next, Ordering::SeqCst);
        self.shared.changed.notify_one();
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn encode(url: String, orders: Arc<Orders>) {
    loop {
        if orders.away.load(Ordering::SeqCst) {
            orders.changed.notified().await;
            continue;
        }
        let (size, rate) = PICTURES[orders.picture.load(Ordering::SeqCst)];
        let mut command = tokio::process::Command::new("ffmpeg");
        let line = format!(
            "-hide_banner -loglevel quiet -nostdin -re -f lavfi -i testsrc2=s={size}:r={rate} -re -f lavfi -i sine=440:r=48000 \
             -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g {rate} -b:v 300k -c:a aac -f flv {url}"
        );
        command.args(line.split_whitespace()).stdin(Stdio::null()).kill_on_drop(true);
        let Ok(mut child) = command.spawn() else { return };
        tokio::select! {
            _ = child.wait() => tokio::time::sleep(Duration::from_millis(500)).await,
            () = orders.changed.notified() => {
                let _ = child.kill().await;
            }
        }
    }
}

/// Sends a signal by `kill`.
pub fn send(signal: &str, pid: u32) {
    let _ = Command::new("kill").args([signal, &pid.to_string()]).status();
}

fn free_ports() -> std::io::Result<[u16; 2]> {
    let (one, other) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    Ok([one.local_addr()?.port(), other.local_addr()?.port()])
}

/// The server's binary beside this example's.
pub fn binary() -> Result<PathBuf, String> {
    let here = std::env::current_exe().map_err(|error| error.to_string())?;
    let binary = here.parent().and_then(Path::parent).map(|folder| folder.join("tailwater"));
    binary.filter(|path| path.exists()).ok_or_else(|| "build tailwater first: bench/torture does".to_owned())
}
