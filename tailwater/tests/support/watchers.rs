//! Those who watch while a store fails: viewers of the origin, and readers of the store.
#![allow(unreachable_pub, missing_docs, clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use m3u8_rs::MediaPlaylist;

/// What a store holds at one moment: all keys, and the text of those that are playlists. Nothing while it does not
/// answer.
pub type Holding = BTreeMap<String, Option<String>>;

/// Looks into a store, beside the way that fails.
pub type Contents = Arc<dyn Fn() -> BoxFuture<'static, Option<Holding>> + Send + Sync>;

/// The one media playlist there is.
pub const PLAYLIST: &str = "show_low_playlist.m3u8";

/// Polls the plain playlist and takes each new segment, as a player does. It never meets an error, a gap or a hole.
pub async fn watch_origin(base: String) {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap();
    let get = async |key: &str| {
        let answer = client.get(format!("{base}{key}")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{key}");
        answer.bytes().await.unwrap()
    };
    let mut next = None;
    loop {
        get("playlist.m3u8").await;
        let playlist = parse(&get(PLAYLIST).await);
        for (msn, uri, gap) in listed(&playlist) {
            if next.is_some_and(|next| msn < next) {
                continue;
            }
            assert!(next.is_none_or(|next| msn == next), "{msn} follows {next:?}");
            assert!(!gap, "{msn} is a gap");
            assert!(get(&uri).await.len() > 188, "{uri}");
            next = Some(msn + 1);
        }
        let end = playlist.media_sequence + playlist.segments.len() as u64;
        assert!(next.is_none_or(|next| end >= next), "the playlist ends at {end}, and went to {next:?}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Looks at a store again and again. No playlist names what is not there, no number goes back, and what was listed
/// stays as it was.
#[derive(Default)]
pub struct StoreReader {
    known: HashMap<u64, (String, bool)>,
    end: u64,
}

impl StoreReader {
    pub async fn watch(mut self, contents: Contents) {
        loop {
            if let Some(holding) = contents().await {
                self.look(&holding);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn look(&mut self, holding: &Holding) {
        let multivariant = holding.get("show_playlist.m3u8");
        assert!(multivariant.is_none() || holding.contains_key(PLAYLIST), "the multivariant names what is not there");
        let Some(Some(text)) = holding.get(PLAYLIST) else { return };
        let playlist = parse(text.as_bytes());
        for (msn, uri, gap) in listed(&playlist) {
            assert!(gap || holding.contains_key(&uri), "{uri} is listed and not there");
            let entry = (uri, gap);
            let before = self.known.entry(msn).or_insert_with(|| entry.clone());
            assert_eq!(*before, entry, "what was listed stays as it was");
        }
        let end = playlist.media_sequence + playlist.segments.len() as u64;
        assert!(end >= self.end, "the playlist ends at {end}, and went to {}", self.end);
        self.end = end;
    }
}

/// The playlist in the store lists what the origin's lists, without a hole or a gap, and all of it is there.
pub fn assert_holds_all(name: &str, origin: &str, holding: &Holding) {
    let text = holding.get(PLAYLIST).and_then(Option::as_ref).expect("a playlist");
    let (origin, stored) = (listed(&parse(origin.as_bytes())), listed(&parse(text.as_bytes())));
    assert_eq!(stored, origin, "{name}");
    assert!(stored.iter().all(|(_, uri, gap)| !gap && holding.contains_key(uri)), "{name}: {text}");
}

fn parse(text: &[u8]) -> MediaPlaylist {
    m3u8_rs::parse_media_playlist_res(text).expect("a media playlist")
}

/// Number, URI, and whether it is a gap.
fn listed(playlist: &MediaPlaylist) -> Vec<(u64, String, bool)> {
    let is_gap = |segment: &m3u8_rs::MediaSegment| segment.unknown_tags.iter().any(|tag| tag.tag == "X-GAP");
    let numbered = (playlist.media_sequence..).zip(&playlist.segments);
    numbered.map(|(msn, segment)| (msn, segment.uri.clone(), is_gap(segment))).collect()
}
