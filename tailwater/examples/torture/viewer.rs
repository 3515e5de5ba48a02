//! A viewer of one livestream over plain HTTP: polls every playlist, fetches every new segment, and knows the rules.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use m3u8_rs::MediaPlaylist;

use super::media;

const POLL: Duration = Duration::from_millis(400);

/// What viewers tell.
#[derive(Default)]
pub struct Ledger {
    /// Rules that were broken, a sentence each.
    pub broken: Vec<String>,
    /// When the newest segment of all renditions was there.
    pub newest: Option<Instant>,
    pub segments: u64,
    pub gaps: u64,
    pub discontinuities: u64,
    /// Seconds of the camera's time that no segment holds.
    pub lost: f64,
    /// The longest wait for a new segment, in seconds; in all, and since a round of faults began.
    pub longest: f64,
    pub longest_of_round: f64,
}

/// Where a viewer looks.
#[derive(Clone)]
pub struct Place {
    /// What keys are appended to.
    pub base: String,
    /// The key of the multivariant playlist there.
    pub master: String,
    /// Sent with each request.
    pub authorization: Option<String>,
    /// For sentences.
    pub name: String,
    /// Whether what is listed is always there: an origin that restarts is not.
    pub always_there: bool,
}

/// What is known of one rendition.
#[derive(Default)]
struct Rendition {
    first: u64,
    next: u64,
    target_duration: Option<u64>,
    listed: BTreeMap<u64, Listed>,
    timescales: HashMap<String, u32>,
    /// Number, end on the session's clock, and discontinuities of the last segment fetched.
    last: Option<(u64, f64, u64)>,
    /// The camera's time at the end of the last segment listed, in seconds.
    filmed_to: Option<f64>,
    arrived: Option<Instant>,
}

#[derive(Clone, Debug, PartialEq)]
struct Listed {
    uri: String,
    duration: f64,
    discontinuities: u64,
    is_gap: bool,
}

/// See the module.
pub struct Viewer {
    place: Place,
    client: reqwest::Client,
    ledger: Arc<Mutex<Ledger>>,
    renditions: BTreeMap<String, Rendition>,
    /// Discontinuities before each number, whichever rendition said so first.
    agreed: BTreeMap<u64, u64>,
    hashes: HashMap<String, u64>,
}

impl Viewer {
    pub fn new(place: Place, ledger: Arc<Mutex<Ledger>>) -> Self {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build();
        Self {
            place,
            client: client.unwrap_or_default(),
            ledger,
            renditions: BTreeMap::new(),
            agreed: BTreeMap::new(),
            hashes: HashMap::new(),
        }
    }

    /// Watches for ever.
    pub async fn run(mut self) {
        loop {
            self.look().await;
            tokio::time::sleep(POLL).await;
        }
    }

    fn broken(&self, sentence: String) {
        let sentence = format!("{}: {sentence}", self.place.name);
        eprintln!("BROKEN {sentence}");
        self.tell(|ledger| ledger.broken.push(sentence));
    }

    fn tell(&self, change: impl FnOnce(&mut Ledger)) {
        change(&mut self.ledger.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The body, when the answer is 200.
    async fn get(&self, key: &str) -> Result<Vec<u8>, String> {
        let mut request = self.client.get(format!("{}{key}", self.place.base));
        if let Some(authorization) = &self.place.authorization {
            request = request.header("Authorization", authorization);
        }
        let response = request.send().await.map_err(|error| format!("no answer: {error}"))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| format!("broke off: {error}"))?;
        if status == 200 { Ok(body.to_vec()) } else { Err(status.to_string()) }
    }

    async fn look(&mut self) {
        if self.renditions.is_empty() {
            // Nothing is asked of a stream that has not begun.
            let Ok(body) = self.get(&self.place.master).await else { return };
            let Ok(master) = m3u8_rs::parse_master_playlist_res(&body) else {
                return self.broken("the multivariant playlist is none".to_owned());
            };
            let audio = master.alternatives.iter().filter_map(|media| media.uri.clone());
            let uris = master.variants.iter().map(|variant| variant.uri.clone()).chain(audio);
            self.renditions = uris.map(|uri| (uri, Rendition::default())).collect();
        }
        for uri in self.renditions.keys().cloned().collect::<Vec<_>>() {
            let Ok(body) = self.get(&uri).await else { continue };
            match m3u8_rs::parse_media_playlist_res(&body) {
                Ok(playlist) => self.handle_playlist(&uri, &playlist).await,
                Err(_) => self.broken(format!("{uri} is no media playlist")),
            }
        }
        let newest = self.renditions.values().map(|rendition| rendition.arrived).min().flatten();
        self.tell(|ledger| ledger.newest = newest);
    }

    async fn handle_playlist(&mut self, uri: &str, playlist: &MediaPlaylist) {
        let Some(mut rendition) = self.renditions.remove(uri) else { return };
        let (first, next) = (playlist.media_sequence, playlist.media_sequence + playlist.segments.len() as u64);
        if first < rendition.first || next < rendition.next {
            self.broken(format!(
                "{uri}: numbers went back from {}..{} to {first}..{next}",
                rendition.first, rendition.next
            ));
        }
        if playlist.end_list {
            self.broken(format!("{uri}: ENDLIST, and nobody ended it"));
        }
        (rendition.first, rendition.next) = (first, next);
        let target = *rendition.target_duration.get_or_insert(playlist.target_duration);
        if target != playlist.target_duration {
            self.broken(format!("{uri}: TARGETDURATION was {target} and is {}", playlist.target_duration));
        }
        let is_first = self.renditions.keys().all(|other| uri < other.as_str());
        let mut init = None;
        let mut discontinuities = playlist.discontinuity_sequence;
        for (msn, segment) in (first..).zip(&playlist.segments) {
            discontinuities += u64::from(segment.discontinuity);
            init = segment.map.as_ref().map(|map| map.uri.clone()).or(init);
            let listed = Listed {
                uri: segment.uri.clone(),
                duration: f64::from(segment.duration),
                discontinuities,
                is_gap: segment.unknown_tags.iter().any(|tag| tag.tag == "X-GAP"),
            };
            let date = segment.program_date_time.map(|date| date.timestamp_millis() as f64 / 1000.0);
            if let Some(before) = rendition.listed.get(&msn) {
                if *before != listed {
                    self.broken(format!("{uri}: segment {msn} was {before:?} and is {listed:?}"));
                }
                continue;
            }
            if listed.duration.round() > target as f64 {
                self.broken(format!("{uri}: segment {msn} lasts {} s, TARGETDURATION is {target}", listed.duration));
            }
            let agreed = *self.agreed.entry(msn).or_insert(discontinuities);
            if agreed != discontinuities {
                self.broken(format!(
                    "{uri}: segment {msn} is after {discontinuities} discontinuities, elsewhere after {agreed}"
                ));
            }
            if is_first {
                self.count(&mut rendition, &listed, date);
            }
            if !listed.is_gap {
                self.fetch(uri, &mut rendition, msn, &listed, init.as_deref()).await;
            }
            rendition.listed.insert(msn, listed);
            rendition.arrived = Some(Instant::now());
        }
        self.look_again(&rendition).await;
        self.agreed = self.agreed.split_off(&first.saturating_sub(100));
        rendition.listed = rendition.listed.split_off(&first);
        self.renditions.insert(uri.to_owned(), rendition);
    }

    /// Statistics of the first rendition stand for all.
    fn count(&self, rendition: &mut Rendition, listed: &Listed, date: Option<f64>) {
        let waited = rendition.arrived.map_or(0.0, |at| at.elapsed().as_secs_f64());
        let begin = date.or(rendition.filmed_to);
        // A gap holds nothing either. Dates are trimmed by milliseconds all the time: that loses nothing.
        let hole = begin.zip(rendition.filmed_to).map_or(0.0, |(begin, end)| begin - end).max(0.0);
        let lost = if hole > 0.1 { hole } else { 0.0 } + if listed.is_gap { listed.duration } else { 0.0 };
        rendition.filmed_to = begin.map(|begin| begin + listed.duration);
        self.tell(|ledger| {
            ledger.segments += 1;
            ledger.gaps += u64::from(listed.is_gap);
            ledger.discontinuities = ledger.discontinuities.max(listed.discontinuities);
            ledger.lost += lost;
            ledger.longest = ledger.longest.max(waited);
            ledger.longest_of_round = ledger.longest_of_round.max(waited);
        });
    }

    async fn fetch(&mut self, uri: &str, rendition: &mut Rendition, msn: u64, listed: &Listed, init: Option<&str>) {
        let Some(body) = self.media(&listed.uri).await else { return };
        let start = match init {
            None => media::ts(&body),
            Some(init) => match self.timescale(rendition, init).await {
                Some(timescale) => media::cmaf(&body, timescale),
                None => return,
            },
        };
        let start = match start {
            Ok(start) => start,
            Err(what) => return self.broken(format!("{}: {what}", listed.uri)),
        };
        if let Some((last, end, discontinuities)) = rendition.last
            && last + 1 == msn
            && discontinuities == listed.discontinuities
            // A frame at 20 frames a second: no stream here is slower.
            && (start - end).abs() > 0.051
        {
            self.broken(format!("{uri}: segment {msn} begins at {start:.3}, the one before ended at {end:.3}"));
        }
        rendition.last = Some((msn, start + listed.duration, listed.discontinuities));
    }

    /// A segment or initialization section that is listed: it must be there, and be what it was.
    async fn media(&mut self, key: &str) -> Option<Vec<u8>> {
        match self.get(key).await {
            Ok(body) => {
                let mut hasher = DefaultHasher::new();
                body.hash(&mut hasher);
                let hash = hasher.finish();
                if *self.hashes.entry(key.to_owned()).or_insert(hash) != hash {
                    self.broken(format!("{key} has other bytes than before"));
                }
                Some(body)
            }
            Err(what) => {
                if self.place.always_there || !what.starts_with("no answer") && !what.starts_with("broke off") {
                    self.broken(format!("{key} is listed and not there: {what}"));
                }
                None
            }
        }
    }

    async fn timescale(&mut self, rendition: &mut Rendition, init: &str) -> Option<u32> {
        if let Some(known) = rendition.timescales.get(init) {
            return Some(*known);
        }
        let body = self.media(init).await?;
        let Some(timescale) = media::timescale(&body) else {
            self.broken(format!("{init} is no initialization section"));
            return None;
        };
        rendition.timescales.insert(init.to_owned(), timescale);
        Some(timescale)
    }

    /// Now and then an older segment once more: what is listed stays readable and stays the same.
    async fn look_again(&mut self, rendition: &Rendition) {
        if fastrand::u8(..10) > 0 {
            return;
        }
        let whole: Vec<&Listed> = rendition.listed.values().filter(|listed| !listed.is_gap).collect();
        // Not the oldest: it may leave while it is asked for.
        let Some(older) = fastrand::choice(whole.iter().skip(3)) else { return };
        self.media(&older.uri).await;
    }
}
