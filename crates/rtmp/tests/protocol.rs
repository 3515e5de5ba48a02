//! What RTMP allows and encoders do, byte by byte.

#![allow(clippy::unwrap_used)]

mod support;

use rtmp::flv::{FlvTag, TagKind};
use rtmp::{EndReason, Limits, Publisher, Reason};
use support::peer::{
    NULL, Peer, basic, chunks, command, command_body, connect, control, delta, key, message, number, publish, string,
};
use support::{drain, server};

/// Publishes these bytes, then ends cleanly. Gives the tags.
async fn tags_of(bytes: &[u8]) -> Vec<FlvTag> {
    let (tags, end) = tags_and_end(bytes).await;
    assert_eq!(end, EndReason::Clean);
    tags
}

async fn tags_and_end(bytes: &[u8]) -> (Vec<FlvTag>, EndReason) {
    let (mut peer, mut publisher) = accepted().await;
    let mut bytes = bytes.to_vec();
    bytes.extend(command(1, "deleteStream", 9.0, &[NULL, &number(1.0)]));
    let (_, result) = tokio::join!(peer.send(&bytes), drain(&mut publisher));
    result
}

async fn accepted() -> (Peer, Publisher) {
    let server = server(Limits::default()).await;
    let peer = Peer::publishing(&server, "live", "key").await;
    let publisher = server.accept().await.accept().await.unwrap();
    (peer, publisher)
}

fn times(tags: &[FlvTag]) -> Vec<u32> {
    tags.iter().map(|tag| tag.timestamp).collect()
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn extended_timestamps_repeated_on_type_3_chunks() {
    let body: Vec<u8> = (0..1000).map(|byte| byte as u8).collect();
    for time in [0xff_ffff, 0x0100_0000, 0x1234_5678, u32::MAX] {
        let tags = tags_of(&chunks(4, 9, 1, time, &body, 128, true)).await;
        assert_eq!((tags[0].timestamp, &tags[0].body[..]), (time, &body[..]));
    }
}

#[tokio::test]
async fn extended_timestamps_omitted_on_type_3_chunks() {
    let body: Vec<u8> = (0..1000).map(|byte| byte as u8).collect();
    for time in [0xff_ffff, 0x0100_0000, 0x1234_5678, u32::MAX] {
        let tags = tags_of(&chunks(4, 9, 1, time, &body, 128, false)).await;
        assert_eq!((tags[0].timestamp, &tags[0].body[..]), (time, &body[..]));
    }
}

#[tokio::test]
async fn an_omitted_extended_timestamp_on_a_last_chunk_of_two_bytes() {
    let tags = tags_of(&chunks(4, 9, 1, 0x0100_0000, &[7; 130], 128, false)).await;
    assert_eq!(tags[0].body.len(), 130);
}

#[tokio::test]
async fn deltas_carry_the_time_past_24_and_32_bits() {
    let mut bytes = message(4, 9, 1, 0xff_fff0, &[1]);
    bytes.extend(delta(4, 9, 40, &[2]));
    bytes.extend(message(4, 9, 1, 0xffff_fff0, &[3]));
    bytes.extend(delta(4, 9, 40, &[4]));
    assert_eq!(times(&tags_of(&bytes).await), [0xff_fff0, 0x0100_0018, 0xffff_fff0, 0x18]);
}

#[tokio::test]
async fn a_negative_delta_in_32_bits_goes_back() {
    let mut bytes = message(4, 9, 1, 1000, &[1]);
    bytes.extend(delta(4, 9, (-40i32) as u32, &[2]));
    assert_eq!(times(&tags_of(&bytes).await), [1000, 960]);
}

#[tokio::test]
async fn type_2_and_type_3_headers_repeat_what_they_leave_out() {
    let mut bytes = message(4, 9, 1, 1000, &[1, 1]);
    bytes.extend(delta(4, 9, 40, &[2, 2]));
    bytes.extend(basic(3, 4));
    bytes.extend([3, 3]);
    bytes.extend(basic(2, 4));
    bytes.extend([0, 0, 20, 4, 4]);
    bytes.extend(basic(3, 4));
    bytes.extend([5, 5]);
    let tags = tags_of(&bytes).await;
    assert_eq!(times(&tags), [1000, 1040, 1080, 1100, 1120]);
    assert_eq!(&tags[4].body[..], [5, 5]);
}

#[tokio::test]
async fn chunk_streams_interleave() {
    let video = chunks(6, 9, 1, 10, &[6; 300], 128, false);
    let audio = chunks(4, 8, 1, 11, &[4; 200], 128, false);
    let mut bytes = video[..12 + 128].to_vec();
    bytes.extend(&audio[..12 + 128]);
    bytes.extend(&video[140..140 + 129]);
    bytes.extend(&audio[140..]);
    bytes.extend(&video[269..]);
    let tags = tags_of(&bytes).await;
    assert_eq!((tags[0].kind, &tags[0].body[..]), (TagKind::Audio, &[4; 200][..]));
    assert_eq!((tags[1].kind, &tags[1].body[..]), (TagKind::Video, &[6; 300][..]));
}

#[tokio::test]
async fn chunk_stream_ids_above_64_in_two_and_three_byte_forms() {
    for id in [63, 64, 319, 320, 65_599] {
        let tags = tags_of(&chunks(id, 9, 1, 5, &[9; 400], 128, false)).await;
        assert_eq!((tags.len(), tags[0].body.len()), (1, 400), "{id}");
    }
}

#[tokio::test]
async fn every_chunk_size_from_1_to_65536_and_some_beyond() {
    let body: Vec<u8> = (0..70_000).map(|byte| byte as u8).collect();
    for size in [1, 2, 127, 4096, 60_000, 65_536, 1_000_000] {
        let mut bytes = control(1, size as u32);
        bytes.extend(chunks(4, 9, 1, 5, &body, size, false));
        let mut end = command_body("deleteStream", 9.0, &[NULL]);
        end = chunks(3, 20, 1, 0, &end, size, false);
        let (mut peer, mut publisher) = accepted().await;
        bytes.extend(end);
        let (_, (tags, end)) = tokio::join!(peer.send(&bytes), drain(&mut publisher));
        assert_eq!(end, EndReason::Clean, "{size}");
        assert_eq!(&tags[0].body[..], &body[..], "{size}");
    }
}

#[tokio::test]
async fn a_message_of_more_than_one_mebibyte() {
    let body: Vec<u8> = (0..3_000_000u32).map(|byte| (byte % 251) as u8).collect();
    let tags = tags_of(&message(4, 9, 1, 5, &body)).await;
    assert_eq!(&tags[0].body[..], &body[..]);
}

#[tokio::test]
async fn an_aborted_message_is_forgotten() {
    let mut bytes = chunks(4, 9, 1, 5, &[1; 300], 128, false)[..12 + 128].to_vec();
    bytes.extend(control(2, 4));
    bytes.extend(message(4, 9, 1, 6, &[2; 10]));
    let tags = tags_of(&bytes).await;
    assert_eq!((tags.len(), tags[0].timestamp, tags[0].body.len()), (1, 6, 10));
}

#[tokio::test]
async fn zero_length_tags_come_through_as_such() {
    let mut bytes = message(4, 9, 1, 5, &[]);
    bytes.extend(message(5, 8, 1, 6, &[]));
    bytes.extend(message(4, 9, 1, 7, &[1]));
    let tags = tags_of(&bytes).await;
    assert_eq!(times(&tags), [5, 6, 7]);
    assert_eq!(tags[0].body.len(), 0);
}

#[tokio::test]
async fn a_ping_is_answered_and_acknowledgements_are_sent() {
    let (mut peer, mut publisher) = accepted().await;
    let mut bytes = control(5, 20_000);
    bytes.extend(message(2, 4, 0, 0, &[0, 6, 1, 2, 3, 4]));
    bytes.extend(message(4, 9, 1, 5, &[0; 50_000]));
    bytes.extend(command(1, "deleteStream", 9.0, &[NULL]));
    let (_, (tags, _)) = tokio::join!(peer.send(&bytes), drain(&mut publisher));
    assert_eq!(tags.len(), 1);
    let said = peer.read_to_end().await;
    assert!(said.windows(6).any(|window| window == [0, 7, 1, 2, 3, 4]), "no pong");
    // Type 0, chunk stream 2, four bytes, message type 3.
    assert!(said.windows(7).any(|window| window[0] == 2 && window[1..] == [0, 0, 0, 0, 0, 4]), "no acknowledgement");
}

#[tokio::test]
async fn amf3_connect_and_publish() {
    let server = server(Limits::default()).await;
    let mut peer = Peer::shaken(&server).await;
    let amf3 = |body: &[u8], stream| message(3, 17, stream, 0, &[&[0], body].concat());
    let mut object = vec![3];
    object.extend(key("app"));
    object.extend(string("live"));
    object.extend(key("objectEncoding"));
    object.extend(number(3.0));
    object.extend([0, 0, 9]);
    peer.send(&amf3(&command_body("connect", 1.0, &[&object]), 0)).await;
    peer.send(&amf3(&command_body("publish", 2.0, &[NULL, &string("key")]), 1)).await;
    let request = server.accept().await;
    assert_eq!((request.app(), request.key().expose()), ("live", "key"));
}

#[tokio::test]
async fn release_stream_fc_publish_and_check_bandwidth_in_any_order() {
    let extras = ["releaseStream", "FCPublish", "_checkbw", "getStreamLength", "FCPublish"];
    for first in 0..extras.len() {
        let server = server(Limits::default()).await;
        let mut peer = Peer::shaken(&server).await;
        peer.send(&connect("live")).await;
        for index in 0..extras.len() {
            let name = extras[(first + index) % extras.len()];
            peer.send(&command(0, name, 5.0, &[NULL, &string("key")])).await;
            if index == first {
                peer.send(&command(0, "createStream", 4.0, &[NULL])).await;
            }
        }
        peer.send(&publish("key")).await;
        assert_eq!(server.accept().await.key().expose(), "key");
    }
}

#[tokio::test]
async fn every_way_to_end_is_clean_and_a_closed_connection_is_lost() {
    for name in ["FCUnpublish", "deleteStream", "closeStream"] {
        let (mut peer, mut publisher) = accepted().await;
        peer.send(&command(1, name, 6.0, &[NULL, &string("key")])).await;
        assert_eq!(drain(&mut publisher).await.1, EndReason::Clean, "{name}");
    }
    let (peer, mut publisher) = accepted().await;
    drop(peer);
    assert!(matches!(drain(&mut publisher).await.1, EndReason::Lost(_)));
}

#[tokio::test]
async fn an_aggregate_message_is_its_tags() {
    let mut body = Vec::new();
    for (kind, time, data) in [(8u8, 100u32, [1u8, 1]), (9, 120, [2, 2])] {
        body.push(kind);
        body.extend([0, 0, 2]);
        body.extend(&time.to_be_bytes()[1..]);
        body.extend([0, 0, 0, 0]);
        body.extend(data);
        body.extend(13u32.to_be_bytes());
    }
    let tags = tags_of(&message(4, 22, 1, 5000, &body)).await;
    assert_eq!(times(&tags), [5000, 5020]);
    assert_eq!((tags[0].kind, tags[1].kind), (TagKind::Audio, TagKind::Video));
}

#[tokio::test]
async fn set_data_frame_is_taken_off_the_metadata() {
    let body = [string("@setDataFrame"), string("onMetaData"), vec![8, 0, 0, 0, 0, 0, 0, 9]].concat();
    let tags = tags_of(&message(4, 18, 1, 0, &body)).await;
    assert!(tags[0].body.starts_with(&string("onMetaData")));
    assert!(rtmp::flv::MetaData::parse(&tags[0].body).is_some());
}

#[tokio::test]
async fn media_before_publish_is_not_media() {
    let server = server(Limits::default()).await;
    let mut peer = Peer::shaken(&server).await;
    peer.send(&connect("live")).await;
    peer.send(&message(4, 9, 1, 1, &[1])).await;
    peer.send(&publish("key")).await;
    let mut publisher = server.accept().await.accept().await.unwrap();
    peer.send(&message(4, 9, 1, 2, &[2])).await;
    peer.send(&command(1, "closeStream", 9.0, &[NULL])).await;
    assert_eq!(times(&drain(&mut publisher).await.0), [2]);
}

#[tokio::test]
async fn nothing_is_said_before_the_decision_and_a_refusal_has_its_reason() {
    let server = server(Limits::default()).await;
    let mut peer = Peer::publishing(&server, "live", "hunter2").await;
    let request = server.accept().await;
    assert!(!format!("{request:?}").contains("hunter2"));
    request.reject(Reason::new("somebody publishes under this key already")).await;
    let said = peer.read_to_end().await;
    assert!(contains(&said, "NetConnection.Connect.Success"));
    assert!(!contains(&said, "NetStream.Publish.Start"));
    assert!(contains(&said, "NetStream.Publish.BadName"));
    assert!(contains(&said, "somebody publishes under this key already"));
}

#[tokio::test]
async fn closing_from_our_side_says_why() {
    let (mut peer, publisher) = accepted().await;
    publisher.close(Reason::new("the livestream was ended")).await;
    assert!(contains(&peer.read_to_end().await, "the livestream was ended"));
}

#[tokio::test]
async fn cancelling_recv_loses_nothing() {
    let (mut peer, mut publisher) = accepted().await;
    let mut times = Vec::new();
    let mut bytes = Vec::new();
    for index in 0..200 {
        bytes.extend(message(4, 9, 1, index, &[index as u8; 700]));
    }
    let send = tokio::spawn(async move {
        for piece in bytes.chunks(333) {
            peer.send(piece).await;
            tokio::task::yield_now().await;
        }
        peer
    });
    while times.len() < 200 {
        tokio::select! {
            biased;
            message = publisher.recv() => match message {
                Some(rtmp::Message::Tag(tag)) => times.push(tag.timestamp),
                other => panic!("{other:?}"),
            },
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!(times, (0..200).collect::<Vec<_>>());
    drop(send.await);
}
