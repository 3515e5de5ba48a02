//! Faults of a store while a stream runs, in virtual time: what its readers see, and what is there afterwards.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hls::time::UnixTime;
use hls::window::{SegmentInfo, Window, WindowConfig};
use store::{Faults, Faulty, Key, MediaStore, Memory, Payload};
use tailwater::publish::sequence::{Mark, Record};
use tailwater::publish::{Command, Handle, Publisher, PublisherConfig, SegmentCommand};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const SECOND: Duration = Duration::from_secs(1);
const RENDITIONS: [&str; 3] = ["1080p", "720p", "480p"];
/// What the live window holds, in segments.
const LIVE: usize = 60;
const SEGMENT_BYTES: usize = 2_000;

type Live = Arc<Mutex<VecDeque<(String, Payload)>>>;

/// A camera, a publisher, a store that fails when told to, and a reader of that store that watches all the while.
struct Bench {
    store: Arc<Faulty<Memory>>,
    handle: Handle,
    publisher: JoinHandle<()>,
    reader: JoinHandle<()>,
    live: Live,
    msn: u64,
    most_waiting: usize,
}

impl Bench {
    async fn start(faults: Faults) -> Self {
        Self::before(Faulty::new(Memory::new(1 << 30), 11, faults)).await
    }

    async fn before(store: Faulty<Memory>) -> Self {
        let store = Arc::new(store);
        let live: Live = Arc::default();
        let held = Arc::clone(&live);
        let find = move |key: &str| {
            held.lock().unwrap().iter().find(|(name, _)| name == key).map(|(_, payload)| payload.clone())
        };
        let config = PublisherConfig {
            slug: "s".to_owned(),
            ttl: Duration::from_secs(3600),
            segment: SECOND,
            spool: None,
            memory: 1 << 20,
        };
        let (publisher, handle) = Publisher::new(store.clone(), config, Arc::new(find), None);
        let publisher = tokio::spawn(publisher.run(CancellationToken::new()));
        for name in RENDITIONS {
            let config = WindowConfig { uri_prefix: format!("s_{name}"), ..WindowConfig::default() };
            let window = Box::new(Window::new(config.clone(), 0, 0));
            handle.send(Command::Rendition { name: name.to_owned(), config, window }).await;
        }
        let master: String = RENDITIONS
            .iter()
            .map(|name| format!("#EXT-X-STREAM-INF:BANDWIDTH=1000000\ns_{name}_playlist.m3u8\n"))
            .collect();
        handle.send(Command::Multivariant(format!("#EXTM3U\n{master}"))).await;
        handle.send(Command::Sequence(Record { mark: Mark::ahead(None, 0, 0), renditions: Vec::new() })).await;
        let reader = tokio::spawn(watch(store.clone()));
        Self { store, handle, publisher, reader, live, msn: 0, most_waiting: 0 }
    }

    /// Films for so many seconds.
    async fn film(&mut self, seconds: u64) {
        self.film_in(seconds, SEGMENT_BYTES).await;
    }

    /// With segments of so many bytes.
    async fn film_in(&mut self, seconds: u64, bytes: usize) {
        for _ in 0..seconds {
            for rendition in RENDITIONS {
                self.segment(rendition, bytes).await;
            }
            self.msn += 1;
            tokio::time::sleep(SECOND).await;
            self.most_waiting = self.most_waiting.max(self.handle.status().waiting);
            assert!(!self.reader.is_finished(), "the reader met what it must not");
        }
    }

    async fn segment(&self, rendition: &str, bytes: usize) {
        let uri = format!("s_{rendition}_segment{:03}.ts", self.msn);
        let payload = Payload::from(vec![self.msn as u8; bytes]);
        {
            let mut live = self.live.lock().unwrap();
            live.push_back((uri.clone(), payload.clone()));
            while live.len() > LIVE * RENDITIONS.len() {
                live.pop_front();
            }
        }
        let info = SegmentInfo {
            uri,
            duration: SECOND,
            date: UnixTime(1_700_000_000_000_000_000 + self.msn as i64 * 1_000_000_000),
            bytes: bytes as u64,
            gap: false,
        };
        let command = SegmentCommand {
            rendition: rendition.to_owned(),
            msn: self.msn,
            discontinuity_sequence: 0,
            discontinuity: false,
            init: None,
            info,
            payload: Some(payload),
        };
        self.handle.send(Command::Segment(Box::new(command))).await;
    }

    /// Ends the stream, waits for the publisher, and gives the playlists at the end.
    async fn end(self) -> Vec<Playlist> {
        self.handle.send(Command::End).await;
        tokio::time::timeout(Duration::from_secs(120), self.publisher).await.expect("the publisher ends").unwrap();
        assert!(!self.reader.is_finished(), "the reader met what it must not");
        self.reader.abort();
        let mut playlists = Vec::new();
        for rendition in RENDITIONS {
            let playlist = Playlist::read(&self.store, rendition).await.expect("a playlist is there");
            assert!(playlist.ended, "{rendition} has no ENDLIST");
            playlists.push(playlist);
        }
        playlists
    }
}

/// A playlist as an independent parser reads it.
struct Playlist {
    first: u64,
    uris: Vec<String>,
    gaps: BTreeSet<u64>,
    ended: bool,
}

impl Playlist {
    async fn read(store: &Faulty<Memory>, rendition: &str) -> Option<Self> {
        let key = Key::parse(format!("s_{rendition}_playlist.m3u8")).unwrap();
        let text = store.inner().get(&key, None).await.ok()?.payload.contiguous();
        let parsed = m3u8_rs::parse_media_playlist_res(&text).expect("the playlist parses");
        let first = parsed.media_sequence;
        let is_gap = |segment: &m3u8_rs::MediaSegment| segment.unknown_tags.iter().any(|tag| tag.tag == "X-GAP");
        let gaps = (first..).zip(&parsed.segments).filter(|(_, segment)| is_gap(segment)).map(|(msn, _)| msn).collect();
        let uris = parsed.segments.iter().map(|segment| segment.uri.clone()).collect();
        Some(Self { first, uris, gaps, ended: parsed.end_list })
    }

    fn next(&self) -> u64 {
        self.first + self.uris.len() as u64
    }
}

/// Ten times a second: no playlist names what is not there, no number goes back, a listed segment stays as it is.
async fn watch(store: Arc<Faulty<Memory>>) {
    watch_every(SECOND / 10, store).await;
}

async fn watch_every(pause: Duration, store: Arc<Faulty<Memory>>) {
    let mut seen: HashMap<&str, (u64, u64)> = HashMap::new();
    let mut known: HashMap<(&str, u64), (String, bool)> = HashMap::new();
    loop {
        tokio::time::sleep(pause).await;
        for rendition in RENDITIONS {
            let Some(playlist) = Playlist::read(&store, rendition).await else { continue };
            for (msn, uri) in (playlist.first..).zip(&playlist.uris) {
                let gap = playlist.gaps.contains(&msn);
                assert_eq!(*uri, format!("s_{rendition}_segment{msn:03}.ts"), "number and name go together");
                let there = store.inner().get(&Key::parse(uri).unwrap(), None).await.is_ok();
                assert!(gap || there, "{uri} is listed and not there");
                let before = known.entry((rendition, msn)).or_insert_with(|| (uri.clone(), gap));
                assert_eq!(*before, (uri.clone(), gap), "a listed segment is frozen");
            }
            let (first, next) = seen.entry(rendition).or_default();
            assert!(playlist.first >= *first && playlist.next() >= *next, "numbers went back in {rendition}");
            (*first, *next) = (playlist.first, playlist.next());
        }
        let master = store.inner().get(&Key::parse("s_playlist.m3u8").unwrap(), None).await;
        for rendition in RENDITIONS.iter().filter(|_| master.is_ok()) {
            assert!(Playlist::read(&store, rendition).await.is_some(), "the multivariant names a missing playlist");
        }
    }
}

/// No hole in the numbers, no gap, everything up to the last segment.
fn assert_complete(playlists: &[Playlist], last: u64) {
    for playlist in playlists {
        assert_eq!(playlist.next(), last);
        assert!(playlist.gaps.is_empty(), "gaps at {:?}", playlist.gaps);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_down_at_start_gets_everything_late() {
    let mut bench = Bench::start(Faults { down: true, ..Faults::default() }).await;
    bench.film(20).await;
    assert!(bench.store.inner().list("").await.unwrap().is_empty());
    bench.store.set(Faults::default());
    bench.film(10).await;
    assert!(bench.handle.status().waiting <= RENDITIONS.len(), "it has caught up");
    assert_complete(&bench.end().await, 30);
}

#[tokio::test(start_paused = true)]
async fn thirty_seconds_down_leave_no_gap_and_no_hole() {
    let mut bench = Bench::start(Faults::default()).await;
    bench.film(10).await;
    bench.store.set(Faults { down: true, ..Faults::default() });
    bench.film(30).await;
    bench.store.set(Faults::default());
    bench.film(20).await;
    assert!(bench.handle.status().waiting <= RENDITIONS.len(), "it has caught up");
    assert_complete(&bench.end().await, 60);
}

#[tokio::test(start_paused = true)]
async fn every_put_slow_by_900_ms_keeps_up() {
    let mut bench = Bench::start(Faults { delay: Duration::from_millis(900), ..Faults::default() }).await;
    bench.film(60).await;
    let newest = Playlist::read(&bench.store, "720p").await.unwrap().next();
    assert!(newest >= 54, "the store's playlist is at {newest} of 60");
    assert!(bench.most_waiting <= 12, "{} were waiting", bench.most_waiting);
    assert_complete(&bench.end().await, 60);
}

#[tokio::test(start_paused = true)]
async fn one_in_five_failing_loses_nothing() {
    let mut bench = Bench::start(Faults { fail_rate: 0.2, ..Faults::default() }).await;
    bench.film(120).await;
    assert_complete(&bench.end().await, 120);
}

#[tokio::test(start_paused = true)]
async fn a_throttling_store_is_slowed_down_for_and_loses_nothing() {
    let mut bench = Bench::start(Faults { throttle_rate: 0.3, ..Faults::default() }).await;
    bench.film(60).await;
    bench.store.set(Faults::default());
    bench.film(10).await;
    let puts_a_second = bench.store.attempts() / 70;
    assert!(puts_a_second < 20, "{puts_a_second} operations a second at a store that asks for fewer");
    assert_complete(&bench.end().await, 70);
}

#[tokio::test(start_paused = true)]
async fn a_store_killed_and_restarted_empty_is_filled_again_from_the_live_window() {
    filled_again(Faulty::new(Memory::new(1 << 30), 11, Faults::default())).await;
}

#[tokio::test(start_paused = true)]
async fn so_is_one_that_cannot_look_and_write_in_one_step() {
    filled_again(Faulty::new(Memory::new(1 << 30), 11, Faults::default()).unable_to_replace()).await;
}

async fn filled_again(store: Faulty<Memory>) {
    let mut bench = Bench::before(store).await;
    bench.film(90).await;
    bench.store.set(Faults { down: true, ..Faults::default() });
    bench.film(5).await;
    bench.store.wipe().await.unwrap();
    bench.store.set(Faults::default());
    bench.film(10).await;
    let playlists = bench.end().await;
    assert_complete(&playlists, 105);
    for playlist in playlists {
        assert!(playlist.uris.len() >= LIVE - 10, "only {} segments again", playlist.uris.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_emptied_at_any_moment_has_no_playlist_that_names_what_is_gone() {
    for twentieth in 0..20 {
        // Slow enough that a round of playlists takes a good part of the second.
        let mut bench = Bench::start(Faults { delay: SECOND / 10, ..Faults::default() }).await;
        bench.film(10).await;
        let closely = tokio::spawn(watch_every(SECOND / 100, bench.store.clone()));
        let store = bench.store.clone();
        let wipe = async {
            tokio::time::sleep(SECOND * twentieth / 20).await;
            store.wipe().await.unwrap();
        };
        tokio::join!(bench.film(4), wipe);
        assert!(!closely.is_finished(), "emptied {twentieth}/20 s into a second");
        closely.abort();
        bench.film(2).await;
        assert_complete(&bench.end().await, 16);
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_longer_than_the_memory_is_bounded_and_afterwards_no_new_gap_appears() {
    let mut bench = Bench::start(Faults::default()).await;
    bench.film(10).await;
    bench.store.set(Faults { down: true, ..Faults::default() });
    bench.film(600).await;
    let bytes = bench.most_waiting * SEGMENT_BYTES;
    let bound = (1 << 20) + LIVE * RENDITIONS.len() * SEGMENT_BYTES + 64 * SEGMENT_BYTES;
    assert!(bytes <= bound, "{bytes} bytes waited, {bound} is the bound");
    bench.store.set(Faults::default());
    bench.film(20).await;
    let gaps = bench.handle.status().gaps;
    bench.film(60).await;
    assert_eq!(bench.handle.status().gaps, gaps, "a new gap appeared");
    for playlist in bench.end().await {
        assert_eq!(playlist.next(), 690);
        assert!(playlist.gaps.iter().all(|msn| (10..=610).contains(msn)), "gaps at {:?}", playlist.gaps);
    }
}

#[tokio::test(start_paused = true)]
async fn a_segment_over_the_stores_limit_is_a_gap_and_nothing_else_is() {
    let mut bench = Bench::before(Faulty::new(Memory::new(200_000), 11, Faults::default())).await;
    bench.film(5).await;
    bench.film_in(1, 200_001).await;
    bench.film(5).await;
    for playlist in bench.end().await {
        assert_eq!(playlist.next(), 11);
        assert_eq!(playlist.gaps, BTreeSet::from([5]));
    }
}
