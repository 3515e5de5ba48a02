//! Where the numbers of a broadcast begin, so that none ever goes back and no key ever gets other bytes.
//!
//! A store that is this process's own (embedded) says exactly what was used: numbers go on without a hole. A remote one
//! may have missed the last words of a process that died, so a mark ahead of use is kept in `<stream>_sequence`, and the
//! next broadcast starts there. The record also names the renditions: players do not read the multivariant playlist again,
//! and ask the next process for the one that they were on.

use std::time::Duration;

use futures_util::future::join_all;
use hls::window::{Window, WindowConfig};
use serde::{Deserialize, Serialize};
use store::{At, Error, ErrorKind, Key, MediaStore, Operation, Payload, PutOptions};

use crate::ladder::VideoCodec;

/// Numbers reserved ahead: about seventeen minutes of one-second segments, so that the record is seldom written.
const RESERVE: u64 = 1000;
/// Discontinuities reserved ahead.
const RESERVE_DISCONTINUITIES: u64 = 100;
/// A remote record that has not arrived by then is done without.
const PATIENCE: Duration = Duration::from_secs(1);

/// Numbers that nobody has used yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// The first media sequence number that is free for certain.
    pub media_sequence: u64,
    /// The first discontinuity sequence number that is free for certain.
    pub discontinuity_sequence: u64,
}

impl Mark {
    /// The mark to record when these numbers come next, given the one recorded: far enough ahead that it holds for a
    /// while. Changes only when less than half of the reserve is left.
    pub fn ahead(recorded: Option<Self>, next_msn: u64, next_dsn: u64) -> Self {
        let enough = |mark: &Self| {
            mark.media_sequence >= next_msn + RESERVE / 2
                && mark.discontinuity_sequence >= next_dsn + RESERVE_DISCONTINUITIES / 2
        };
        recorded.filter(enough).unwrap_or(Self {
            media_sequence: next_msn + RESERVE,
            discontinuity_sequence: next_dsn + RESERVE_DISCONTINUITIES,
        })
    }
}

/// A rendition that players of the broadcast may be on, whether it is encoded at the moment or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownRendition {
    /// Its name.
    pub name: String,
    /// BANDWIDTH that was advertised for it, bit/s.
    pub bandwidth: u64,
    /// AVERAGE-BANDWIDTH that was advertised for it, bit/s.
    pub average_bandwidth: u64,
    /// The codec of its pictures, if it has any.
    #[serde(default)]
    pub codec: Option<VideoCodec>,
}

/// What `<stream>_sequence` holds, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The numbers.
    #[serde(flatten)]
    pub mark: Mark,
    /// The renditions of the latest broadcast. Whether it has ended is told by their playlists.
    #[serde(default)]
    pub renditions: Vec<KnownRendition>,
}

/// Where a broadcast begins.
#[derive(Debug, Default)]
pub struct Start {
    /// The first media sequence number.
    pub next_msn: u64,
    /// The discontinuity sequence number of the first segment.
    pub next_dsn: u64,
    /// The playlists to go on with, by rendition: those of a broadcast that was cut short. Empty ones where its last words
    /// are not known.
    pub windows: Vec<(String, Window)>,
    /// What was advertised for them, as far as it is known.
    pub known: Vec<KnownRendition>,
    /// The multivariant playlist over `windows`.
    pub multivariant: Option<String>,
    /// Parts of the first segment may have been seen by players before, with other bytes under their names.
    pub withhold_parts: bool,
}

/// The rules of a rendition's playlist, by its name.
pub type ConfigOf<'a> = dyn Fn(&str) -> WindowConfig + Send + Sync + 'a;

/// Finds where the next broadcast of `slug` begins. `unix_seconds` is the current time, for the case that nothing can be
/// read and the stream may have existed.
pub async fn start(store: &dyn MediaStore, slug: &str, config: &ConfigOf<'_>, unix_seconds: u64) -> Start {
    let found = tokio::time::timeout(PATIENCE, find(store, slug, config)).await;
    match found {
        Ok(Ok(start)) => start,
        Ok(Err(error)) => {
            tracing::warn!(stream = slug, %error, "the numbers in use could not be read: starting at the clock's");
            Start { next_msn: unix_seconds, next_dsn: unix_seconds, ..Start::default() }
        }
        Err(_) => {
            tracing::warn!(stream = slug, store = %store, "the store did not say within a second which numbers are in use: starting at the clock's");
            Start { next_msn: unix_seconds, next_dsn: unix_seconds, ..Start::default() }
        }
    }
}

async fn find(store: &dyn MediaStore, slug: &str, config: &ConfigOf<'_>) -> Result<Start, Error> {
    let record = read(store, slug).await?;
    if store.capabilities().local
        && let Some(start) = find_exactly(store, slug, config).await?
    {
        return Ok(Start { known: record.map(|record| record.renditions).unwrap_or_default(), ..start });
    }
    let Some(Record { mark, renditions }) = record else { return Ok(Start::default()) };
    let start = Start { next_msn: mark.media_sequence, next_dsn: mark.discontinuity_sequence, ..Start::default() };
    if store.capabilities().local {
        return Ok(start);
    }
    let windows = join_all(renditions.iter().map(|known| open_window(store, slug, &known.name, config, mark))).await;
    Ok(Start { windows: windows.into_iter().flatten().collect(), known: renditions, ..start })
}

/// The empty playlist with which a rendition goes on at the mark, when the stored one is there and has not ended.
async fn open_window(
    store: &dyn MediaStore,
    slug: &str,
    rendition: &str,
    config: &ConfigOf<'_>,
    mark: Mark,
) -> Option<(String, Window)> {
    let key = format!("{slug}_{rendition}_playlist.m3u8");
    let stored = match tokio::time::timeout(PATIENCE / 2, read_text(store, &key)).await {
        Ok(Ok(text)) => Window::restore(config(rendition), &text?).map_err(|error| error.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the store did not answer in time".to_owned()),
    };
    match stored {
        Ok(stored) if stored.was_ended() => None,
        Ok(stored) => {
            // EXT-X-TARGETDURATION stays what players were told.
            let config = WindowConfig { target_duration: stored.snapshot().target_duration(), ..config(rendition) };
            let window = Window::new(config, mark.media_sequence, mark.discontinuity_sequence);
            Some((rendition.to_owned(), window))
        }
        Err(reason) => {
            tracing::warn!(key, reason, "a stored playlist cannot be gone on with");
            None
        }
    }
}

/// From the playlists and the segments themselves, when the store has them.
async fn find_exactly(store: &dyn MediaStore, slug: &str, config: &ConfigOf<'_>) -> Result<Option<Start>, Error> {
    let keys = store.list(&format!("{slug}_")).await?;
    let mut windows = Vec::new();
    for key in &keys {
        let Some(rendition) = playlist_of(key) else { continue };
        let Some(text) = read_text(store, key.as_str()).await? else { continue };
        match Window::restore(config(rendition), &text) {
            Ok(window) => windows.push((rendition.to_owned(), window)),
            Err(error) => tracing::warn!(%key, %error, "a stored playlist cannot be gone on with"),
        }
    }
    if windows.is_empty() {
        return Ok(None);
    }
    // A segment can be stored, and seen, before the playlist that lists it is.
    let stored = keys.iter().filter_map(segment_number).max().map_or(0, |msn| msn + 1);
    let listed = windows.iter().map(|(_, window)| window.next_msn()).max().unwrap_or(0);
    let next_dsn = windows.iter().map(|(_, window)| window.total_discontinuities()).max().unwrap_or(0);
    if windows.iter().any(|(_, window)| window.was_ended()) {
        // A new presentation: higher numbers, none of the ended one listed.
        return Ok(Some(Start { next_msn: stored.max(listed), next_dsn: next_dsn + 1, ..Start::default() }));
    }
    let multivariant = read_text(store, &format!("{slug}_playlist.m3u8")).await?;
    let next_msn = stored.max(listed);
    Ok(Some(Start { next_msn, next_dsn, windows, multivariant, withhold_parts: true, ..Start::default() }))
}

/// A playlist, if it is there.
async fn read_text(store: &dyn MediaStore, key: &str) -> Result<Option<String>, Error> {
    let key = Key::parse(key).map_err(|error| invalid(store, error.to_string()))?;
    match store.get(&key, None).await {
        Ok(object) => Ok(Some(String::from_utf8_lossy(&object.payload.contiguous()).into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn playlist_of(key: &Key) -> Option<&str> {
    key.rendition().filter(|_| key.as_str().ends_with("_playlist.m3u8"))
}

fn segment_number(key: &Key) -> Option<u64> {
    let (_, rest) = key.as_str().rsplit_once("_segment")?;
    rest.split('.').next()?.parse().ok()
}

fn key(store: &dyn MediaStore, slug: &str) -> Result<Key, Error> {
    Key::parse(format!("{slug}_sequence")).map_err(|error| invalid(store, error.to_string()))
}

async fn read(store: &dyn MediaStore, slug: &str) -> Result<Option<Record>, Error> {
    match store.get(&key(store, slug)?, None).await {
        Ok(object) => serde_json::from_slice(&object.payload.contiguous())
            .map(Some)
            .map_err(|error| invalid(store, format!("its record {slug}_sequence is not ours: {error}"))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the record is still there. A store that has lost it has lost everything.
pub(super) async fn is_there(store: &dyn MediaStore, slug: &str) -> Result<bool, Error> {
    read(store, slug).await.map(|record| record.is_some())
}

/// Writes the record. It outlives every object it speaks of: twice their time to live and an hour.
pub(super) async fn write(store: &dyn MediaStore, slug: &str, record: &Record, ttl: Duration) -> Result<(), Error> {
    let key = key(store, slug)?;
    let text = serde_json::to_string(record).unwrap_or_default();
    let options = PutOptions::new(&key, ttl * 2 + Duration::from_secs(3600)).budget(super::schedule::ONE_ATTEMPT);
    store.put(&key, Payload::from(text), &options).await
}

/// What we asked of the store, or what it holds, makes no sense.
pub(super) fn invalid(store: &dyn MediaStore, detail: String) -> Error {
    Error::Invalid { at: At::store(store, Operation::Get), detail }
}

#[cfg(test)]
mod tests;
