//! What a broadcast finds of the one before, in a store that is not this process's own.

use store::{Faults, Faulty, Memory};

use super::*;

const NOW: u64 = 1_800_000_000;
const MARK: Mark = Mark { media_sequence: 1000, discontinuity_sequence: 100 };

fn rules(rendition: &str) -> WindowConfig {
    WindowConfig { uri_prefix: format!("show_{rendition}"), ..WindowConfig::default() }
}

fn known(name: &str) -> KnownRendition {
    KnownRendition {
        name: name.to_owned(),
        bandwidth: 2_000_000,
        average_bandwidth: 1_000_000,
        codec: Some(VideoCodec::H264),
    }
}

/// A remote store with a record of these renditions.
async fn store(renditions: &[&str]) -> Faulty<Memory> {
    let store = Faulty::new(Memory::new(1 << 20), 1, Faults::default());
    let record = Record { mark: MARK, renditions: renditions.iter().map(|name| known(name)).collect() };
    write(&store, "show", &record, Duration::from_secs(60)).await.unwrap();
    store
}

async fn put_playlist(store: &Faulty<Memory>, rendition: &str, text: &str) {
    let key = Key::parse(format!("show_{rendition}_playlist.m3u8")).unwrap();
    let options = PutOptions::new(&key, Duration::from_secs(60));
    store.put(&key, Payload::from(text.to_owned()), &options).await.unwrap();
}

fn playlist(rendition: &str, tail: &str) -> String {
    format!(
        "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-INDEPENDENT-SEGMENTS\n\
         #EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00.000Z\n#EXTINF:1.00000,\nshow_{rendition}_segment007.ts\n{tail}"
    )
}

#[tokio::test]
async fn renditions_that_players_may_be_on_go_on_at_the_mark_with_what_was_advertised() {
    let store = store(&["720p", "480p"]).await;
    put_playlist(&store, "720p", &playlist("720p", "")).await;
    put_playlist(&store, "480p", &playlist("480p", "")).await;
    let start = start(&store, "show", &rules, NOW).await;
    assert_eq!((start.next_msn, start.next_dsn), (1000, 100));
    let found: Vec<_> = start.windows.iter().map(|(name, window)| (name.as_str(), window.next_msn())).collect();
    assert_eq!(found, [("720p", 1000), ("480p", 1000)]);
    assert!(start.windows.iter().all(|(_, window)| window.first_msn() == 1000), "nothing of before is listed");
    assert_eq!(start.known, [known("720p"), known("480p")]);
}

#[tokio::test]
async fn what_ended_and_what_expired_does_not_go_on() {
    let store = store(&["720p", "480p"]).await;
    put_playlist(&store, "720p", &playlist("720p", "#EXT-X-ENDLIST\n")).await;
    let start = start(&store, "show", &rules, NOW).await;
    assert_eq!(start.next_msn, 1000);
    assert!(start.windows.is_empty(), "{:?}", start.windows);
}

#[tokio::test]
async fn the_target_duration_that_players_were_told_stays_where_none_is_configured() {
    let store = store(&["720p"]).await;
    put_playlist(&store, "720p", &playlist("720p", "").replace("TARGETDURATION:1", "TARGETDURATION:4")).await;
    let rules = |rendition: &str| WindowConfig { target_duration: 0, ..rules(rendition) };
    let start = start(&store, "show", &rules, NOW).await;
    assert_eq!(start.windows[0].1.snapshot().target_duration(), 4);
}

#[tokio::test]
async fn a_record_without_renditions_is_read_for_its_numbers() {
    let store = Faulty::new(Memory::new(1 << 20), 1, Faults::default());
    let key = Key::parse("show_sequence").unwrap();
    let options = PutOptions::new(&key, Duration::from_secs(60));
    let text = "{\"mediaSequence\":1000,\"discontinuitySequence\":100}".to_owned();
    store.put(&key, Payload::from(text), &options).await.unwrap();
    let start = start(&store, "show", &rules, NOW).await;
    assert_eq!((start.next_msn, start.next_dsn, start.windows.len()), (1000, 100, 0));
}
