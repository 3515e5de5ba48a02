//! Two publishers at a hub as one source, in virtual time.

use std::net::SocketAddr;
use std::time::SystemTime;

use bytes::Bytes;
use rtmp::flv::{FlvTag, TagKind};

use super::*;
use crate::ingest::hub::{Claim, Hub};
use crate::ingest::source::{SourceEnd, SourcePath};

const FIRST: Duration = Duration::from_secs(60);

fn path(key: &str) -> SourcePath {
    SourcePath::new("live", key)
}

fn publish(hub: &Hub, key: &str) -> Claim {
    hub.claim(path(key), SocketAddr::from(([127, 0, 0, 1], 9))).unwrap()
}

fn tag(kind: TagKind, body: &'static [u8]) -> StampedTag {
    let tag = FlvTag { kind, timestamp: 0, body: Bytes::from_static(body) };
    StampedTag::new(tag, now(), SystemTime::UNIX_EPOCH)
}

/// Sequence header, key frame, one more picture; `mark` tells whose.
fn gop(claim: &Claim, mark: &'static [[u8; 6]; 3]) {
    mark.iter().for_each(|body| claim.tag(tag(TagKind::Video, body)));
}

const MAIN: [[u8; 6]; 3] = [[0x17, 0, 0, 0, 0, b'm'], [0x17, 1, 0, 0, 0, b'm'], [0x27, 1, 0, 0, 0, b'm']];
const BACKUP: [[u8; 6]; 3] = [[0x17, 0, 0, 0, 0, b'b'], [0x17, 1, 0, 0, 0, b'b'], [0x27, 1, 0, 0, 0, b'b']];

fn pair(hub: &Hub) -> Pair {
    let main = Single::pushed(hub.subscribe(path("main")));
    Pair::new(main, BackupSource::Attached(Single::pushed(hub.subscribe(path("backup")))), FIRST)
}

/// An event as a word: `header-m` is main's sequence header.
fn word(event: &SourceEvent) -> String {
    match event {
        SourceEvent::Connected => "connected".into(),
        SourceEvent::Switched(side) => format!("to {side}"),
        SourceEvent::Dropped(_) => "dropped".into(),
        SourceEvent::Ended(_) => "ended".into(),
        SourceEvent::Tag(tag) => {
            let role = match tag.role {
                TagRole::VideoHeader => "header",
                TagRole::Keyframe => "key",
                TagRole::Sound => "sound",
                _ => "picture",
            };
            format!("{role}-{}", char::from(tag.tag.body[5]))
        }
    }
}

/// What comes without time passing.
async fn come(pair: &mut Pair) -> Vec<String> {
    let mut words = Vec::new();
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(1), pair.recv()).await {
        words.push(word(&event));
    }
    words
}

/// Main plays, and the backup publishes beside it.
async fn both_publish(hub: &Hub) -> (Pair, Claim, Claim) {
    let mut pair = pair(hub);
    let (main, backup) = (publish(hub, "main"), publish(hub, "backup"));
    gop(&main, &MAIN);
    gop(&backup, &BACKUP);
    come(&mut pair).await;
    (pair, main, backup)
}

#[tokio::test(start_paused = true)]
async fn a_source_that_was_there_before_the_livestream_begins_with_its_last_gop() {
    let hub = Hub::new();
    let claim = publish(&hub, "main");
    gop(&claim, &MAIN);
    assert_eq!(come(&mut pair(&hub)).await, ["connected", "header-m", "key-m", "picture-m"]);
}

#[tokio::test(start_paused = true)]
async fn the_change_to_backup_and_back_begins_with_headers_and_a_key_frame() {
    let hub = Hub::new();
    let mut pair = pair(&hub);
    let (main, backup) = (publish(&hub, "main"), publish(&hub, "backup"));
    gop(&backup, &BACKUP);
    gop(&main, &MAIN);
    assert_eq!(come(&mut pair).await, ["connected", "header-m", "key-m", "picture-m"]);

    main.end(SourceEnd::Lost("cable".into()));
    assert_eq!(come(&mut pair).await, ["to backup", "header-b", "key-b", "picture-b"]);

    let main = publish(&hub, "main");
    gop(&main, &MAIN);
    for _ in 0..6 {
        tokio::time::advance(Duration::from_secs(1)).await;
        main.tag(tag(TagKind::Video, &MAIN[2]));
        backup.tag(tag(TagKind::Video, &BACKUP[2]));
        assert_eq!(come(&mut pair).await, ["picture-b"]);
    }
    main.tag(tag(TagKind::Video, &MAIN[1]));
    assert_eq!(come(&mut pair).await, ["to main", "header-m", "key-m"]);
}

#[tokio::test(start_paused = true)]
async fn a_main_whose_picture_stops_is_lost_and_back_when_pictures_have_come_for_a_while() {
    const SOUND: [u8; 6] = [0xaf, 1, 0, 0, 0, b'm'];
    let hub = Hub::new();
    let (mut pair, main, backup) = both_publish(&hub).await;
    let mut told = Vec::new();
    for _ in 0..32 {
        tokio::time::advance(Duration::from_millis(100)).await;
        main.tag(tag(TagKind::Audio, &SOUND));
        backup.tag(tag(TagKind::Video, &BACKUP[2]));
        told.extend(come(&mut pair).await.into_iter().filter(|word| word != "sound-m"));
    }
    let pictures = told.iter().skip(3).all(|word| word == "picture-b");
    assert!(told.starts_with(&["to backup", "header-b", "key-b"].map(String::from)) && pictures, "{told:?}");

    for second in 0..6 {
        main.tag(tag(TagKind::Video, &MAIN[if second == 0 { 1 } else { 2 }]));
        backup.tag(tag(TagKind::Video, &BACKUP[2]));
        assert_eq!(come(&mut pair).await, ["picture-b"]);
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    main.tag(tag(TagKind::Video, &MAIN[1]));
    assert_eq!(come(&mut pair).await, ["to main", "header-m", "key-m"]);
}

#[tokio::test(start_paused = true)]
async fn both_gone_is_one_end_and_the_same_one_back_is_a_connection() {
    let hub = Hub::new();
    let mut pair = pair(&hub);
    let main = publish(&hub, "main");
    gop(&main, &MAIN);
    come(&mut pair).await;
    drop(main);
    assert_eq!(come(&mut pair).await, ["ended"]);
    let main = publish(&hub, "main");
    gop(&main, &MAIN);
    assert_eq!(come(&mut pair).await, ["connected", "header-m", "key-m", "picture-m"]);
}

#[tokio::test(start_paused = true)]
async fn what_main_sent_while_nobody_listened_is_no_silence() {
    let hub = Hub::new();
    let (mut pair, main, backup) = both_publish(&hub).await;
    tokio::time::advance(Duration::from_secs(10)).await;
    backup.tag(tag(TagKind::Video, &BACKUP[2]));
    main.tag(tag(TagKind::Video, &MAIN[2]));
    assert_eq!(come(&mut pair).await, ["picture-m"]);
}

#[tokio::test(start_paused = true)]
async fn a_backup_on_demand_is_begun_when_main_is_lost_and_dropped_when_it_is_back() {
    let hub = Hub::new();
    let attach = hub.clone();
    let begin = move || Single::pushed(attach.subscribe(path("backup")));
    let main = Single::pushed(hub.subscribe(path("main")));
    let mut pair = Pair::new(main, BackupSource::OnDemand(Box::new(begin)), FIRST);
    let (main, backup) = (publish(&hub, "main"), publish(&hub, "backup"));
    gop(&main, &MAIN);
    come(&mut pair).await;
    assert!(!hub.is_wanted(&path("backup")));

    drop(main);
    assert_eq!(come(&mut pair).await, ["ended"]);
    assert!(hub.is_wanted(&path("backup")));
    gop(&backup, &BACKUP);
    assert_eq!(come(&mut pair).await, ["to backup", "header-b", "key-b", "picture-b"]);

    let main = publish(&hub, "main");
    gop(&main, &MAIN);
    assert!(come(&mut pair).await.is_empty(), "it has not held yet");
    drop(backup);
    assert_eq!(come(&mut pair).await, ["to main", "header-m", "key-m", "picture-m"]);
    assert!(!hub.is_wanted(&path("backup")));
}
