//! Hostile and random bytes cost one connection and nothing else. Byte level, one test a rule; every test ends by publishing
//! properly on the same server.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rtmp::{EndReason, Limits, Message, Server};
use support::peer::{
    self, NULL, Peer, basic, chunks, command, connect, control, message, number, object, publish, string,
};
use support::{LONG, drain, server};
use tokio::io::AsyncReadExt;
use tokio::time::{sleep, timeout};

/// Deadlines short enough for a test that waits for them.
fn hasty() -> Limits {
    Limits {
        handshake: Duration::from_millis(300),
        publish: Duration::from_millis(300),
        idle: Duration::from_millis(300),
        ..Limits::default()
    }
}

/// A good publisher still gets through, media and all.
async fn is_unharmed(server: &Server) {
    let mut peer = Peer::publishing(server, "live", "good").await;
    let request = loop {
        let request = timeout(LONG, server.accept()).await.unwrap();
        if request.key().expose() == "good" {
            break request;
        }
    };
    let mut publisher = request.accept().await.unwrap();
    peer.send(&message(4, 9, 1, 7, &[0x17, 1, 0, 0, 0, 9])).await;
    match timeout(LONG, publisher.recv()).await.unwrap().unwrap() {
        Message::Tag(tag) => assert_eq!((tag.timestamp, tag.body.len()), (7, 6)),
        end => panic!("{end:?}"),
    }
}

/// What these bytes after a handshake come to: the connection is closed.
async fn closes_after_handshake(bytes: &[u8]) {
    let server = server(Limits::default()).await;
    let mut peer = Peer::shaken(&server).await;
    peer.send(bytes).await;
    peer.read_to_end().await;
    is_unharmed(&server).await;
}

/// What these bytes end an accepted publisher with.
async fn ends_publisher(bytes: &[u8], limits: Limits) -> EndReason {
    let server = server(limits).await;
    let mut peer = Peer::publishing(&server, "live", "key").await;
    let mut publisher = server.accept().await.accept().await.unwrap();
    peer.send(bytes).await;
    let (_, end) = drain(&mut publisher).await;
    is_unharmed(&server).await;
    end
}

#[tokio::test]
async fn one_byte_then_silence_is_closed_when_the_handshake_is_due() {
    let server = server(hasty()).await;
    let mut peer = Peer::connect(&server).await;
    peer.send(&[3]).await;
    assert_eq!(peer.read_to_end().await, b"");
    is_unharmed(&server).await;
}

#[tokio::test]
async fn a_byte_at_a_time_does_not_prolong_the_handshake() {
    let server = server(hasty()).await;
    let mut peer = Peer::connect(&server).await;
    let (mut reader, mut writer) = peer.stream.split();
    let trickle = async {
        loop {
            if tokio::io::AsyncWriteExt::write_all(&mut writer, &[3]).await.is_err() {
                std::future::pending::<()>().await;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let mut sink = Vec::new();
    tokio::select! {
        _ = reader.read_to_end(&mut sink) => {}
        () = trickle => {}
        () = sleep(Duration::from_secs(5)) => panic!("still open"),
    }
    is_unharmed(&server).await;
}

#[tokio::test]
async fn a_version_that_is_not_3_is_closed_at_once_and_told_nothing() {
    for first in [0xff, 6, 0x16, b'G'] {
        let server = server(Limits::default()).await;
        let mut peer = Peer::connect(&server).await;
        peer.send(&[first; 400]).await;
        assert_eq!(timeout(Duration::from_secs(3), peer.read_to_end()).await.unwrap(), b"");
        is_unharmed(&server).await;
    }
}

#[tokio::test]
async fn who_does_not_publish_in_time_is_closed() {
    let server = server(hasty()).await;
    let mut peer = Peer::shaken(&server).await;
    peer.send(&connect("live")).await;
    peer.read_to_end().await;
    is_unharmed(&server).await;
}

#[tokio::test]
async fn bytes_before_publish_are_bounded() {
    let mut bytes = connect("live");
    for _ in 0..2000 {
        bytes.extend(message(4, 9, 0, 0, &[0; 100]));
    }
    closes_after_handshake(&bytes).await;
}

#[tokio::test]
async fn chunk_size_0_is_refused() {
    closes_after_handshake(&control(1, 0)).await;
}

#[tokio::test]
async fn chunk_size_of_2_gib_is_refused() {
    closes_after_handshake(&control(1, 0x7fff_ffff)).await;
    closes_after_handshake(&control(1, 0xffff_ffff)).await;
}

#[tokio::test]
async fn messages_of_declared_16_mib_are_refused_unallocated() {
    let mut bytes = Vec::new();
    for id in 3..60 {
        bytes.extend(basic(0, id));
        bytes.extend([0, 0, 0, 0xff, 0xff, 0xff, 9, 1, 0, 0, 0]);
        bytes.extend([0; 128]);
    }
    closes_after_handshake(&bytes).await;
}

#[tokio::test]
async fn unfinished_messages_are_bounded_together() {
    let limits = Limits { max_buffered: 300_000, ..Limits::default() };
    let mut bytes = control(1, 60_000);
    for id in 3..20 {
        bytes.extend(&chunks(id, 9, 1, 0, &[0; 100_000], 60_000, false)[..60_000]);
        // The type 0 header's first chunk alone: 60 000 of 100 000 bytes.
        bytes.extend([0; 12]);
    }
    assert!(matches!(ends_publisher(&bytes, limits).await, EndReason::Protocol(_)));
}

#[tokio::test]
async fn chunk_streams_are_bounded() {
    let mut bytes = Vec::new();
    for id in 2..80 {
        bytes.extend(message(id, 9, 1, 0, &[0]));
    }
    assert!(matches!(ends_publisher(&bytes, Limits::default()).await, EndReason::Protocol(_)));
}

#[tokio::test]
async fn random_amf_in_a_command_is_refused() {
    closes_after_handshake(&message(3, 20, 0, 0, &[0x7f; 60])).await;
    closes_after_handshake(&message(3, 20, 0, 0, &[])).await;
}

#[tokio::test]
async fn amf_nested_a_thousand_deep_costs_nothing() {
    let mut body = string("connect");
    body.extend(number(1.0));
    for _ in 0..1000 {
        body.extend([3, 0, 1, b'a']);
    }
    let server = server(Limits::default()).await;
    let mut peer = Peer::shaken(&server).await;
    peer.send(&message(3, 20, 0, 0, &body)).await;
    is_unharmed(&server).await;
}

#[tokio::test]
async fn a_command_larger_than_allowed_is_refused() {
    let limits = Limits { max_command: 1000, ..Limits::default() };
    let end = ends_publisher(&message(3, 20, 0, 0, &[2; 2000]), limits).await;
    assert!(matches!(end, EndReason::Protocol(_)));
}

#[tokio::test]
async fn a_type_3_chunk_without_a_header_before_it_is_refused() {
    closes_after_handshake(&[0xc5, 1, 2, 3]).await;
    closes_after_handshake(&[0x85, 1, 2, 3, 4]).await;
}

#[tokio::test]
async fn a_length_that_shrinks_inside_a_message_is_refused() {
    let mut bytes = chunks(4, 9, 1, 0, &[0; 300], 128, false)[..12 + 128].to_vec();
    bytes.extend(peer::delta(4, 9, 0, &[0; 10]));
    assert!(matches!(ends_publisher(&bytes, Limits::default()).await, EndReason::Protocol(_)));
}

#[tokio::test]
async fn control_messages_that_are_too_short_are_refused() {
    for kind in [1, 2, 5] {
        closes_after_handshake(&message(2, kind, 0, 0, &[0, 0])).await;
    }
}

#[tokio::test]
async fn a_window_of_0_is_survived() {
    let server = server(Limits::default()).await;
    let mut peer = Peer::publishing(&server, "live", "key").await;
    let mut publisher = server.accept().await.accept().await.unwrap();
    peer.send(&control(5, 0)).await;
    peer.send(&message(4, 8, 1, 5, &[0xaf, 1, 0])).await;
    assert!(matches!(timeout(LONG, publisher.recv()).await.unwrap(), Some(Message::Tag(_))));
}

#[tokio::test]
async fn publish_before_connect_is_refused() {
    closes_after_handshake(&publish("key")).await;
}

#[tokio::test]
async fn who_wants_to_play_is_told_that_this_is_no_player_port() {
    let server = server(Limits::default()).await;
    let mut peer = Peer::shaken(&server).await;
    peer.send(&connect("live")).await;
    peer.send(&command(1, "play", 4.0, &[NULL, &string("key")])).await;
    let said = peer.read_to_end().await;
    assert!(said.windows(28).any(|window| window == b"NetStream.Play.StreamNotFoun"), "{said:02x?}");
    is_unharmed(&server).await;
}

#[tokio::test]
async fn publishing_no_key_is_told_so() {
    let server = server(Limits::default()).await;
    let mut peer = Peer::publishing(&server, "live", "").await;
    let said = peer.read_to_end().await;
    assert!(said.windows(25).any(|window| window == b"NetStream.Publish.BadName"[..].as_ref()));
    is_unharmed(&server).await;
}

#[tokio::test]
async fn a_silent_publisher_is_idle() {
    assert_eq!(ends_publisher(&[], hasty()).await, EndReason::Idle);
}

#[tokio::test]
async fn pings_do_not_keep_a_silent_publisher() {
    let server = server(hasty()).await;
    let mut peer = Peer::publishing(&server, "live", "key").await;
    let mut publisher = server.accept().await.accept().await.unwrap();
    let pings = async {
        loop {
            let ping = message(2, 4, 0, 0, &[0, 6, 0, 0, 0, 1]);
            if tokio::io::AsyncWriteExt::write_all(&mut peer.stream, &ping).await.is_err() {
                std::future::pending::<()>().await;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        (_, end) = drain(&mut publisher) => assert_eq!(end, EndReason::Idle),
        () = pings => {}
    }
    is_unharmed(&server).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_places_come_free() {
    let server = server(Limits { max_connections: 4, ..Limits::default() }).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(Peer::shaken(&server).await);
    }
    let mut refused = Peer::connect(&server).await;
    assert_eq!(refused.read_to_end().await, b"");
    held.clear();
    // The places are free as soon as the server has seen them close.
    loop {
        let mut peer = Peer::connect(&server).await;
        let mut hello = vec![3];
        hello.resize(1537, 0);
        peer.send(&hello).await;
        if peer.stream.read_u8().await.is_ok_and(|version| version == 3) {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn what_is_no_flv_is_told_so() {
    let mut bytes = Vec::new();
    for kind in 40..60 {
        bytes.extend(message(4, kind, 1, 0, &[0x47; 100]));
    }
    match ends_publisher(&bytes, Limits::default()).await {
        EndReason::Protocol(reason) => assert!(reason.contains("-f flv"), "{reason}"),
        end => panic!("{end:?}"),
    }
}

#[tokio::test]
async fn one_byte_chunks_of_a_large_message_take_linear_time() {
    let server = server(Limits::default()).await;
    let mut peer = Peer::publishing(&server, "live", "key").await;
    let mut publisher = server.accept().await.accept().await.unwrap();
    let mut bytes = control(1, 1);
    bytes.extend(chunks(4, 9, 1, 0, &vec![7; 2_000_000], 1, false));
    let (_, tag) = tokio::join!(peer.send(&bytes), timeout(LONG, publisher.recv()));
    match tag.unwrap() {
        Some(Message::Tag(tag)) => assert_eq!(tag.body.len(), 2_000_000),
        other => panic!("{other:?}"),
    }
}

#[test]
fn random_bytes_cost_one_connection() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let server = runtime.block_on(server(hasty()));
    let mut runner = TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
    let strategy = (prop::collection::vec(any::<u8>(), 1..4000), 0..4u8);
    runner
        .run(&strategy, |(bytes, stage)| {
            runtime.block_on(async {
                let mut peer = match stage {
                    0 => Peer::connect(&server).await,
                    1 | 2 => Peer::shaken(&server).await,
                    _ => Peer::publishing(&server, "live", "key").await,
                };
                // The server may close in the middle of it.
                let _ = tokio::io::AsyncWriteExt::write_all(&mut peer.stream, &bytes).await;
                if stage == 3 {
                    let request = timeout(LONG, server.accept()).await.unwrap();
                    if let Ok(mut publisher) = request.accept().await {
                        drop(peer);
                        drain(&mut publisher).await;
                    }
                } else {
                    peer.read_to_end().await;
                }
            });
            Ok(())
        })
        .unwrap();
    runtime.block_on(is_unharmed(&server));
}

#[tokio::test]
async fn an_object_where_connect_has_no_app_is_tolerated() {
    let server = server(Limits::default()).await;
    let mut peer = Peer::shaken(&server).await;
    peer.send(&command(0, "connect", 1.0, &[&object(&[("tcUrl", string("rtmp://host/"))])])).await;
    peer.send(&publish("key")).await;
    let request = timeout(LONG, server.accept()).await.unwrap();
    assert_eq!((request.app(), request.key().expose()), ("", "key"));
}
