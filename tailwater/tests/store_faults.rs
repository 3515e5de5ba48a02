//! Faults of a real store while real streams run: what viewers of the origin see, what readers of the store see, and
//! what is there afterwards. All faults of a kind of store at the same time, a server, a camera and a store each.

#[path = "support/backends.rs"]
mod backends;
mod support;
#[path = "support/watchers.rs"]
mod watchers;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use backends::proxy::{Mode, Proxy};
use backends::redis_servers::{RedisServer, free_port};
use backends::{borrowed, momento};
use momento_fake::{Fake, FaultsUpdate};
use serde_json::{Value, json};
use support::camera::Picture;
use support::{Camera, Server, eventually};
use tokio::sync::RwLock;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use watchers::{Contents, PLAYLIST, StoreReader, assert_holds_all, watch_origin};

const SECOND: Duration = Duration::from_secs(1);
/// All is well for so long before a fault, so that there is something to lose.
const BEFORE: Duration = Duration::from_secs(5);
/// All is well for so long afterwards: new gaps would show.
const AFTERWARDS: Duration = Duration::from_secs(6);
/// An outage.
const OUTAGE: Duration = Duration::from_secs(30);
/// A shorter one, and how long other faults last.
const SHORT_OUTAGE: Duration = Duration::from_secs(12);
/// What the log says when a store begins to fail.
const TROUBLE: &str = "the store does not take what it is given";

/// One stream before a store of its own, and those who watch it.
struct Stage {
    name: &'static str,
    server: Server,
    _camera: Camera,
    viewer: JoinHandle<()>,
    reader: JoinHandle<()>,
    contents: Contents,
}

/// What a stage is set with, beside its store.
#[derive(Default)]
struct Setting<'a> {
    config: &'a str,
    env: Vec<(&'a str, &'a str)>,
    /// As many bytes a second as a stream of full size has.
    heavy: bool,
}

impl Stage {
    async fn set(name: &'static str, store: &str, setting: Setting<'_>, contents: Contents) -> Self {
        let server = Server::with_config_and_env(setting.config, &["--store", store], &setting.env);
        let small = Picture { size: "160x90", rate: "15", gop: 15, ..Picture::default() };
        let noise = vec!["-vf", "noise=alls=100:allf=t", "-b:v", "6M"];
        let (picture, height, bit_rate) = match setting.heavy {
            true => (Picture { size: "320x180", more: noise, ..small }, 180, 5_000_000),
            false => (small, 90, 100_000),
        };
        let camera = Camera::show(&server.publish_url("k"), &picture);
        let ladder = json!([{"name": "low", "height": height, "videoBitrate": bit_rate, "preset": "ultrafast"}]);
        server.create("Show", "k", json!({"ladder": ladder})).await;
        server.reaches("show", "live").await;
        let viewer = tokio::spawn(watch_origin(server.url("/live/show/")));
        let reader = tokio::spawn(StoreReader::default().watch(Arc::clone(&contents)));
        Self { name, server, _camera: camera, viewer, reader, contents }
    }

    /// The sum over all labels.
    async fn metric(&self, name: &str) -> f64 {
        let text = self.server.text("/metrics").await;
        let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        text.lines().filter(of_name).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    fn told(&self, words: &str) -> usize {
        self.server.log().iter().filter(|line| line.contains(words)).count()
    }

    /// Waits, for as long as the watchers see nothing that they must not.
    async fn goes_on(&mut self, time: Duration) {
        let name = self.name;
        tokio::select! {
            () = sleep(time) => {}
            seen = &mut self.viewer => panic!("{name}: the origin's viewer: {seen:?}"),
            seen = &mut self.reader => panic!("{name}: the store's reader: {seen:?}"),
        }
    }

    /// The outage has been noticed, counted and told once, and what was made since waits.
    async fn is_behind(&self, outage: Duration) {
        let waiting = self.metric("tailwater_store_waiting_objects").await;
        assert!(waiting >= outage.as_secs_f64() - 4.0, "{}: {waiting} wait", self.name);
        assert!(self.metric("tailwater_store_faults_total").await > 0.0, "{}", self.name);
        assert_eq!(self.told(TROUBLE), 1, "{}", self.name);
    }

    /// That the store lost everything was noticed, once; and it has everything again.
    async fn is_filled_again(&self) {
        eventually("the loss is noticed", 10 * SECOND, async || {
            (self.metric("tailwater_store_wipes_total").await == 1.0).then_some(())
        })
        .await;
        assert_eq!(self.told("the store lost everything"), 1, "{}", self.name);
        self.catches_up().await;
    }

    /// Everything that was waiting has been stored.
    async fn catches_up(&self) {
        eventually("the store has caught up", 20 * SECOND, async || {
            (self.metric("tailwater_store_waiting_objects").await < 2.0).then_some(())
        })
        .await;
    }

    /// The end of the stream, and what is left of it: everything.
    async fn ends(mut self) {
        let name = self.name;
        self.goes_on(AFTERWARDS).await;
        assert_eq!(self.metric("tailwater_store_gaps_total").await, 0.0, "{name}");
        assert!((200..300).contains(&self.server.delete("show").await), "{name}");
        self.server.reaches("show", "ended").await;
        let playlist = self.server.text(&format!("/live/show/{PLAYLIST}")).await;
        let at_the_end = eventually("ENDLIST is in the store", 15 * SECOND, async || {
            let holding = (self.contents)().await?;
            holding.get(PLAYLIST)?.as_ref()?.contains("#EXT-X-ENDLIST").then_some(holding)
        });
        assert_holds_all(name, &playlist, &at_the_end.await);
        let mut told = HashMap::<String, usize>::new();
        for line in self.server.log() {
            let line: Value = serde_json::from_str(&line).unwrap_or_default();
            *told.entry(line["message"].to_string()).or_default() += usize::from(line["level"] != "INFO");
        }
        assert!(told.values().all(|times| *times <= 1), "{name}: said more than once: {told:#?}");
        self.viewer.abort();
        self.reader.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_of_momento_reaches_a_viewer_or_leaves_a_dead_link() {
    let slow = FaultsUpdate { delay_ms: Some(900), ..FaultsUpdate::default() };
    let failing = FaultsUpdate { fail_rate: Some(0.2), ..FaultsUpdate::default() };
    let throttling = FaultsUpdate { throttle_rate: Some(0.3), ..FaultsUpdate::default() };
    tokio::join!(
        momento_down_at_start(),
        momento_down_for_a_while(),
        momento_with("Momento slow by 900 ms", slow, None),
        momento_with("Momento failing one in five", failing, Some("tailwater_store_faults_total")),
        momento_with("Momento throttling", throttling, Some("tailwater_store_throttles_total")),
        momento_emptied(),
    );
}

/// Held for writing while the service is not there.
type SharedFake = Arc<RwLock<Fake>>;

fn down() -> FaultsUpdate {
    FaultsUpdate { down: Some(true), ..FaultsUpdate::default() }
}

async fn on_momento(name: &'static str, faults: FaultsUpdate) -> (SharedFake, Stage) {
    let (fake, environment) = momento().await;
    fake.set_faults(&faults);
    let fake: SharedFake = Arc::new(RwLock::new(fake));
    let seen = Arc::clone(&fake);
    let contents: Contents = Arc::new(move || {
        let fake = Arc::clone(&seen);
        Box::pin(async move {
            let contents = fake.try_read().ok()?.contents("livestreams");
            let text =
                |key: &str, value: &[u8]| key.ends_with(".m3u8").then(|| String::from_utf8_lossy(value).into_owned());
            Some(contents.into_iter().map(|(key, value)| (key.clone(), text(&key, &value))).collect())
        })
    });
    let setting = Setting { env: borrowed(&environment), ..Setting::default() };
    let stage = Stage::set(name, "momento:livestreams", setting, contents).await;
    (fake, stage)
}

async fn momento_down_at_start() {
    let (fake, mut stage) = on_momento("Momento down at start", down()).await;
    stage.goes_on(BEFORE).await;
    assert_eq!(fake.read().await.items("livestreams"), 0);
    assert_eq!(stage.told(TROUBLE), 1);
    fake.read().await.heal();
    stage.catches_up().await;
    stage.ends().await;
}

async fn momento_down_for_a_while() {
    let (fake, mut stage) = on_momento("Momento down for a while", FaultsUpdate::default()).await;
    stage.goes_on(BEFORE).await;
    fake.read().await.set_faults(&down());
    stage.goes_on(SHORT_OUTAGE).await;
    stage.is_behind(SHORT_OUTAGE).await;
    fake.read().await.heal();
    stage.catches_up().await;
    stage.ends().await;
}

/// A fault that is there all the time, and the one metric that counts it.
async fn momento_with(name: &'static str, faults: FaultsUpdate, counted: Option<&str>) {
    let (_fake, mut stage) = on_momento(name, faults).await;
    stage.goes_on(SHORT_OUTAGE).await;
    for metric in ["tailwater_store_faults_total", "tailwater_store_throttles_total"] {
        assert_eq!(stage.metric(metric).await > 0.0, counted == Some(metric), "{name}: {metric}");
    }
    assert_eq!(stage.told(TROUBLE), usize::from(counted.is_some()), "{name}");
    stage.catches_up().await;
    stage.ends().await;
}

async fn momento_emptied() {
    let (fake, mut stage) = on_momento("Momento killed and restarted empty", FaultsUpdate::default()).await;
    stage.goes_on(BEFORE).await;
    let mut gone = fake.write().await;
    gone.stop().await;
    gone.wipe();
    stage.goes_on(2 * SECOND).await;
    gone.restart().await.expect("momento-fake starts again");
    drop(gone);
    stage.is_filled_again().await;
    stage.ends().await;
}

/// Redis does not throttle: a server that is full refuses for a while instead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_of_redis_reaches_a_viewer_or_leaves_a_dead_link() {
    tokio::join!(
        redis_down_at_start(),
        redis_down_for_thirty_seconds_under_a_heavy_stream(),
        redis_slow(),
        redis_failing_one_in_five(),
        redis_emptied(),
    );
}

/// All that there is of the stream, at one moment: a script is run whole.
const LOOK: &str = "local found = {}
    for _, name in ipairs(redis.call('KEYS', '{show}:*')) do
        table.insert(found, string.sub(name, 8))
        table.insert(found, string.find(name, '%.m3u8$') and redis.call('GET', name) or '')
    end
    return found";

fn contents_of(port: u16) -> Contents {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).expect("an address");
    Arc::new(move || {
        let client = client.clone();
        Box::pin(async move {
            let mut connection = client.get_multiplexed_async_connection().await.ok()?;
            let look = redis::cmd("EVAL_RO").arg(LOOK).arg(0).query_async::<Vec<String>>(&mut connection).await;
            let text = |key: &str, value: &str| key.ends_with(".m3u8").then(|| value.to_owned());
            Some(look.ok()?.chunks(2).map(|pair| (pair[0].clone(), text(&pair[0], &pair[1]))).collect())
        })
    })
}

/// Before the server at `port`, by way of `through`.
async fn on_redis(name: &'static str, port: u16, through: u16, setting: Setting<'_>) -> Stage {
    Stage::set(name, &format!("redis://127.0.0.1:{through}"), setting, contents_of(port)).await
}

async fn redis_down_at_start() {
    let port = free_port();
    let mut stage = on_redis("Redis down at start", port, port, Setting::default()).await;
    stage.goes_on(BEFORE).await;
    assert_eq!(stage.told(TROUBLE), 1);
    let _server = RedisServer::start_on(port, &[]).await;
    stage.catches_up().await;
    stage.ends().await;
}

/// What memory may not hold goes to the spool, and comes back.
async fn redis_down_for_thirty_seconds_under_a_heavy_stream() {
    let server = RedisServer::start(&[]).await;
    let proxy = Proxy::before(server.port).await;
    let folder = tempfile::tempdir().expect("a folder");
    let env = vec![("TMPDIR", folder.path().to_str().expect("text"))];
    let config = "live_window = { duration = \"10s\", max_bytes = \"8 MiB\" }";
    let setting = Setting { config, env, heavy: true };
    let mut stage = on_redis("Redis down for 30 s", server.port, proxy.address.port(), setting).await;
    stage.goes_on(BEFORE).await;
    proxy.set(Mode { down: true, ..Mode::default() });
    stage.goes_on(OUTAGE).await;
    stage.is_behind(OUTAGE).await;
    let spool = folder.path().join(format!("tailwater-spool-{}", stage.server.pid()));
    let spooled = || std::fs::read_dir(&spool).expect("a spool").count();
    assert!(spooled() > 3, "{} segments in the spool", spooled());
    proxy.set(Mode::default());
    stage.catches_up().await;
    eventually("the spool is empty", 5 * SECOND, async || (spooled() == 0).then_some(())).await;
    stage.ends().await;
}

async fn redis_slow() {
    let server = RedisServer::start(&[]).await;
    let proxy = Proxy::before(server.port).await;
    proxy.set(Mode { delay: Duration::from_millis(900), ..Mode::default() });
    let mut stage = on_redis("Redis slow by 900 ms", server.port, proxy.address.port(), Setting::default()).await;
    stage.goes_on(SHORT_OUTAGE).await;
    assert_eq!(stage.told(TROUBLE), 0);
    stage.catches_up().await;
    stage.ends().await;
}

/// A server that is full for a fifth of the time refuses a fifth of what is put.
async fn redis_failing_one_in_five() {
    let server = RedisServer::start(&["--maxmemory-policy", "noeviction"]).await;
    let mut admin = server.connection().await;
    let full_at_times = tokio::spawn(async move {
        for (bytes, milliseconds) in [("1", 60), ("0", 240)].into_iter().cycle() {
            let mut set = redis::cmd("CONFIG");
            set.arg("SET").arg("maxmemory").arg(bytes);
            set.query_async::<()>(&mut admin).await.expect("Redis answers");
            sleep(Duration::from_millis(milliseconds)).await;
        }
    });
    let mut stage = on_redis("Redis failing one in five", server.port, server.port, Setting::default()).await;
    stage.goes_on(2 * SHORT_OUTAGE).await;
    assert!(stage.metric("tailwater_store_faults_total").await > 0.0);
    assert_eq!(stage.told(TROUBLE), 1);
    stage.catches_up().await;
    stage.ends().await;
    assert!(!full_at_times.is_finished());
    full_at_times.abort();
}

async fn redis_emptied() {
    let mut server = RedisServer::start(&[]).await;
    let mut stage = on_redis("Redis killed and restarted empty", server.port, server.port, Setting::default()).await;
    stage.goes_on(BEFORE).await;
    server.kill();
    stage.goes_on(2 * SECOND).await;
    let _again = RedisServer::start_on(server.port, &[]).await;
    stage.is_filled_again().await;
    stage.ends().await;
}
