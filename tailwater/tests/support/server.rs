//! `tailwater serve` as a child, on free ports, with a folder of its own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::eventually;

/// Rungs small enough that several encode at once on a small machine.
pub fn small_ladder() -> Value {
    json!([
        {"name": "180p", "height": 180, "videoBitrate": 400_000, "preset": "ultrafast"},
        {"name": "90p", "height": 90, "videoBitrate": 150_000, "preset": "ultrafast"},
    ])
}

/// A running server. Dropping it kills it, and FFmpeg must notice.
pub struct Server {
    child: Child,
    /// Base URL of `/live`, `/watch` and the API.
    pub http: String,
    /// `127.0.0.1:port` of the RTMP server.
    pub rtmp: String,
    /// Where its embedded store is.
    pub data: PathBuf,
    client: reqwest::Client,
    log: Arc<Mutex<Vec<String>>>,
    _folder: Option<Arc<tempfile::TempDir>>,
}

impl Server {
    /// With the embedded store in a folder of its own.
    pub fn start(arguments: &[&str]) -> Self {
        Self::with_config("", arguments)
    }

    /// With a configuration file, the embedded store, and further flags.
    pub fn with_config(config: &str, arguments: &[&str]) -> Self {
        Self::with_config_and_env(config, arguments, &[])
    }

    /// With variables in its environment; `arguments` name the store.
    pub fn with_env(arguments: &[&str], env: &[(&str, &str)]) -> Self {
        Self::with_config_and_env("", arguments, env)
    }

    /// With all of it.
    pub fn with_config_and_env(config: &str, arguments: &[&str], env: &[(&str, &str)]) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let mut server = Self::in_folder(folder.path(), config, arguments, env);
        server._folder = Some(folder);
        server
    }

    /// In a folder that outlives it, for restarts.
    pub fn in_folder(folder: &Path, config: &str, arguments: &[&str], env: &[(&str, &str)]) -> Self {
        let data = folder.join("data");
        let file = folder.join("tailwater.toml");
        // The speed of the machine is measured by a test of its own, not beside each.
        let measured = if config.contains("[load]") { "" } else { "\n[load]\nslowness = 1.0\n" };
        std::fs::write(&file, format!("{config}{measured}")).expect("a configuration file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tailwater"));
        command.args(["serve", "--log-format", "json", "--config"]).arg(&file);
        if !arguments.contains(&"--http") {
            command.args(["--http", "127.0.0.1:0"]);
        }
        if !arguments.contains(&"--rtmp") {
            command.args(["--rtmp", "127.0.0.1:0"]);
        }
        if !arguments.contains(&"--store") {
            command.arg("--store").arg(format!("file:{}", data.display()));
        }
        command.args(arguments).envs(env.iter().copied()).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("tailwater starts");
        let mut lines = BufReader::new(child.stderr.take().expect("its stderr")).lines();
        let log = Arc::new(Mutex::new(Vec::new()));
        let serving = loop {
            let Some(Ok(line)) = lines.next() else { panic!("tailwater ended: {:#?}", log.lock().expect("log")) };
            let value: Value = serde_json::from_str(&line).unwrap_or(Value::Null);
            log.lock().expect("log").push(line);
            if value["message"] == "serving" {
                break value;
            }
        };
        let sink = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                sink.lock().expect("log").push(line);
            }
        });
        let text = |name: &str| serving[name].as_str().expect("an address").to_owned();
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().expect("a client");
        Self { child, http: format!("http://{}", text("http")), rtmp: text("rtmp"), data, client, log, _folder: None }
    }

    /// What it has logged so far, a JSON line an entry.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("log").clone()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where to publish `key`.
    pub fn publish_url(&self, key: &str) -> String {
        format!("rtmp://{}/live/{key}", self.rtmp)
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.http)
    }

    pub async fn get(&self, path: &str) -> reqwest::Response {
        self.client.get(self.url(path)).send().await.expect("an answer")
    }

    /// The body of a GET that must be 200.
    pub async fn text(&self, path: &str) -> String {
        let response = self.get(path).await;
        assert_eq!(response.status(), 200, "{path}");
        response.text().await.expect("a body")
    }

    pub async fn post(&self, body: &Value) -> (u16, Value) {
        let response = self.client.post(self.url("/livestreams")).json(body).send().await.expect("an answer");
        (response.status().as_u16(), response.json().await.unwrap_or(Value::Null))
    }

    /// Asks for a livestream of what is published to `key`, with the small ladder unless `more` says otherwise.
    pub async fn create(&self, name: &str, key: &str, more: Value) -> Value {
        let mut body = json!({"rtmpUrl": self.publish_url(key), "streamName": name, "ladder": small_ladder()});
        for (field, value) in more.as_object().cloned().unwrap_or_default() {
            body[field] = value;
        }
        let (status, answer) = self.post(&body).await;
        assert_eq!(status, 202, "{answer}");
        answer
    }

    pub async fn delete(&self, name: &str) -> u16 {
        let path = self.url(&format!("/livestreams/{name}"));
        self.client.delete(path).send().await.expect("an answer").status().as_u16()
    }

    pub async fn status(&self, name: &str) -> Value {
        self.get(&format!("/livestreams/{name}")).await.json().await.unwrap_or(Value::Null)
    }

    /// Waits until the livestream is in `state`.
    pub async fn reaches(&self, name: &str, state: &str) -> Value {
        self.reaches_within(name, state, Duration::from_secs(30)).await
    }

    pub async fn reaches_within(&self, name: &str, state: &str, limit: Duration) -> Value {
        let mut last = Value::Null;
        let what = format!("{name} {state}");
        let found = eventually(&what, limit, async || {
            last = self.status(name).await;
            let dead = last["state"] == "failed" && state != "failed";
            assert!(!dead, "{name} failed: {last:#} {:#?}", self.log());
            (last["state"] == state).then(|| last.clone())
        });
        found.await
    }

    /// Sends a signal.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.pid().to_string()]).status().expect("kill");
        assert!(status.success());
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.child.wait().expect("its end")
    }

    /// SIGTERM, and its end.
    pub fn stop(mut self) {
        self.signal("-TERM");
        assert!(self.wait().success());
    }

    /// Processes below it: FFmpeg.
    pub fn children(&self) -> Vec<u32> {
        let output = Command::new("pgrep").args(["-P", &self.pid().to_string()]).output().expect("pgrep");
        String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| line.parse().ok()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a process is there and not a zombie.
pub fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z')))
}
