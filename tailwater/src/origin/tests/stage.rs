//! A livestream made by hand, and an origin before it.

use std::{
    collections::HashMap,
    fmt,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use bytes::Bytes;
use hls::{
    time::UnixTime,
    window::{PartInfo, SegmentInfo, Snapshot, Window, WindowConfig},
};
use http_body_util::BodyExt;
use store::{Capabilities, Error, Key, MediaStore, Memory, Object, Payload, PutOptions};
use tokio::sync::watch;
use tower::ServiceExt;

use crate::origin::{Desk, LiveSource, LiveView, Multivariants, Origin, OriginSettings};

pub(super) const PART: Duration = Duration::from_millis(200);

/// A livestream `cam` of the renditions given, five parts a segment.
#[derive(Debug)]
pub(super) struct Show {
    objects: Mutex<HashMap<String, Payload>>,
    windows: Mutex<Vec<(String, Window, watch::Sender<Snapshot>)>>,
    multivariants: watch::Sender<Option<Multivariants>>,
    over: AtomicBool,
    desk: Desk,
}

impl Show {
    pub(super) fn new(renditions: &[&str], low_latency: bool, max_waiters: usize) -> Arc<Self> {
        let windows = renditions
            .iter()
            .map(|name| {
                let config = WindowConfig {
                    uri_prefix: format!("cam_{name}"),
                    part_target: low_latency.then_some(Duration::from_micros(213_400)),
                    ..WindowConfig::default()
                };
                let window = Window::new(config, 0, 0);
                let sender = watch::Sender::new(window.snapshot());
                ((*name).to_owned(), window, sender)
            })
            .collect();
        Arc::new(Self {
            objects: Mutex::default(),
            windows: Mutex::new(windows),
            multivariants: watch::Sender::new(None),
            over: AtomicBool::new(false),
            desk: Desk::new(max_waiters),
        })
    }

    /// A part of `720p` and of every other rendition; the fifth ends the segment.
    pub(super) fn part(&self) {
        let mut windows = self.windows.lock().unwrap();
        for (name, window, sender) in windows.iter_mut() {
            let (msn, part) = window.snapshot().next();
            let uri = format!("cam_{name}_segment{msn:03}.part{part}.ts");
            self.objects.lock().unwrap().insert(uri.clone(), media(&uri));
            let date = UnixTime(0);
            window.push_part(PartInfo { uri, duration: PART, date, independent: part == 0 });
            if part == 4 {
                close(window, name, &self.objects);
            }
            sender.send_replace(window.snapshot());
        }
    }

    pub(super) fn parts(&self, count: usize) {
        (0..count).for_each(|_| self.part());
    }

    /// Ends the segment before its fifth part.
    pub(super) fn cut_short(&self) {
        for (name, window, sender) in self.windows.lock().unwrap().iter_mut() {
            close(window, name, &self.objects);
            sender.send_replace(window.snapshot());
        }
    }

    pub(super) fn end(&self) {
        for (_, window, sender) in self.windows.lock().unwrap().iter_mut() {
            window.end();
            sender.send_replace(window.snapshot());
        }
        self.over.store(true, Ordering::Relaxed);
    }

    pub(super) fn tell(&self) {
        let plain = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\ncam_720p_playlist.m3u8\n".to_owned();
        let low_latency = Some(plain.replace("playlist", "low-latency"));
        self.multivariants.send_replace(Some(Multivariants { plain, low_latency }));
    }

    /// How many more may wait.
    pub(super) fn desk_places(&self) -> usize {
        self.desk.free_places()
    }

    pub(super) fn forget(&self, key: &str) {
        self.objects.lock().unwrap().remove(key);
    }
}

fn close(window: &mut Window, name: &str, objects: &Mutex<HashMap<String, Payload>>) {
    let uri = format!("cam_{name}_segment{:03}.ts", window.next_msn());
    objects.lock().unwrap().insert(uri.clone(), media(&uri));
    let (duration, date) = (Duration::from_secs(1), UnixTime(0));
    window.push_segment(SegmentInfo { uri, duration, date, bytes: 100, gap: false });
}

/// A hundred bytes in two chunks that begin with their key.
pub(super) fn media(key: &str) -> Payload {
    let mut bytes = key.as_bytes().to_vec();
    bytes.resize(100, b'.');
    let bytes = Bytes::from(bytes);
    Payload::from(vec![bytes.slice(..40), bytes.slice(40..)])
}

impl LiveView for Show {
    fn multivariants(&self) -> watch::Receiver<Option<Multivariants>> {
        self.multivariants.subscribe()
    }

    fn rendition(&self, name: &str) -> Option<watch::Receiver<Snapshot>> {
        let windows = self.windows.lock().unwrap();
        windows.iter().find(|(known, ..)| known == name).map(|(.., sender)| sender.subscribe())
    }

    fn snapshots(&self) -> Vec<(String, Snapshot)> {
        self.windows.lock().unwrap().iter().map(|(name, _, sender)| (name.clone(), sender.borrow().clone())).collect()
    }

    fn object(&self, key: &str) -> Option<Payload> {
        self.objects.lock().unwrap().get(key).cloned()
    }

    fn ttl(&self) -> Duration {
        Duration::from_secs(3600)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn desk(&self) -> &Desk {
        &self.desk
    }
}

/// Knows `cam`, if there is one.
#[derive(Debug)]
struct Source(Option<Arc<Show>>);

impl LiveSource for Source {
    fn livestream(&self, name: &str) -> Option<Arc<dyn LiveView>> {
        self.0.clone().filter(|_| name == "cam").map(|show| show as Arc<dyn LiveView>)
    }
}

/// A store that looks remote, counts its reads, takes its time over them and can be down.
#[derive(Clone)]
pub(super) struct Remote {
    pub(super) inner: Memory,
    pub(super) reads: Arc<AtomicUsize>,
    pub(super) down: Arc<AtomicBool>,
    pub(super) local: bool,
}

impl Remote {
    pub(super) fn new() -> Self {
        Self { inner: Memory::new(1 << 20), reads: Arc::default(), down: Arc::default(), local: false }
    }

    pub(super) fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }

    pub(super) async fn holds(&self, key: &str, payload: impl Into<Payload>) {
        let key = Key::parse(key).unwrap();
        self.inner.put(&key, payload.into(), &PutOptions::new(&key, Duration::from_secs(600))).await.unwrap();
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Remote")
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("remote:")
    }
}

#[async_trait]
impl MediaStore for Remote {
    async fn put(&self, key: &Key, payload: Payload, options: &PutOptions) -> Result<(), Error> {
        self.inner.put(key, payload, options).await
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Object, Error> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
        if self.down.load(Ordering::Relaxed) {
            let at = store::At::key(self, store::Operation::Get, key);
            return Err(Error::Timeout { at, after: Duration::from_secs(1) });
        }
        self.inner.get(key, range).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.inner.delete(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, Error> {
        self.inner.list(prefix).await
    }

    async fn health(&self) -> Result<(), Error> {
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.inner.capabilities();
        capabilities.local = self.local;
        capabilities
    }
}

/// The routes of an origin of `show` and `store`.
pub(super) fn origin(show: Option<Arc<Show>>, store: Remote) -> Router {
    origin_of(show, store, 100).routes()
}

/// An origin of `show` and `store` at which so many may wait.
pub(super) fn origin_of(show: Option<Arc<Show>>, store: Remote, max_waiters: usize) -> Origin {
    let settings = OriginSettings { ttl: Duration::from_secs(600), max_waiters };
    Origin::new(Arc::new(Source(show)), Arc::new(store), settings)
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

pub(super) async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: parts.status, headers: parts.headers, body }
}

pub(super) async fn get(router: &Router, path: &str) -> Answer {
    send(router, Request::get(path).body(Body::empty()).unwrap()).await
}

pub(super) async fn get_with(router: &Router, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = headers.iter().fold(Request::get(path), |request, (name, value)| request.header(*name, *value));
    send(router, request.body(Body::empty()).unwrap()).await
}
