//! Real encoders publish.

#![allow(clippy::unwrap_used)]

mod support;

use rtmp::flv::{AudioHeader, FlvTag, PacketKind, TagKind, VideoConfig, VideoHeader};
use rtmp::{EndReason, Limits, Message, Reason};
use support::{LONG, count, drain, has, server, spawn};
use tokio::time::timeout;

const PICTURE: &str = "-f lavfi -i testsrc2=s=320x180:r=25";
const TONE: &str = "-f lavfi -i sine=r=48000";
const CODE: &str = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 25 -c:a aac -ac 2";

fn frames(tags: &[FlvTag]) -> usize {
    tags.iter().filter(|tag| is_frame(tag)).count()
}

fn is_frame(tag: &FlvTag) -> bool {
    tag.kind == TagKind::Video
        && VideoHeader::parse(&tag.body).is_some_and(|header| header.packet == PacketKind::Frames)
}

fn ffmpeg(rest: &str) -> String {
    format!("ffmpeg -hide_banner -nostdin -loglevel error {PICTURE} {TONE} -t 2 {CODE} {rest}")
}

#[tokio::test]
async fn ffmpeg_publishes_and_ends_cleanly() {
    let server = server(Limits::default()).await;
    let mut child = spawn(&ffmpeg("-f flv URL"), &server, "live/teststream?token=t");
    let request = timeout(LONG, server.accept()).await.unwrap();
    assert_eq!((request.app(), request.instance(), request.query()), ("live", "", "token=t"));
    assert_eq!(request.key().expose(), "teststream");
    let mut publisher = request.accept().await.unwrap();
    let (tags, end) = drain(&mut publisher).await;
    assert_eq!(end, EndReason::Clean);
    assert!(publisher.recv().await.is_none());
    assert!(child.wait().await.unwrap().success());

    // 50 frames and a sequence header; 48000 * 2 / 1024 AAC frames, a header, priming.
    let video: Vec<_> = tags.iter().filter(|tag| tag.kind == TagKind::Video).collect();
    assert_eq!(frames(&tags), 50);
    let header = VideoHeader::parse(&video[0].body).unwrap();
    assert_eq!(header.packet, PacketKind::SequenceHeader);
    let config = VideoConfig::parse(&header, &video[0].body).unwrap();
    assert_eq!((config.width, config.height, config.frame_rate), (320, 180, Some(25.0)));
    assert!((90..=98).contains(&count(&tags, TagKind::Audio)), "{}", count(&tags, TagKind::Audio));
    let metadata = tags.iter().find(|tag| tag.kind == TagKind::Script).unwrap();
    assert_eq!(rtmp::flv::MetaData::parse(&metadata.body).unwrap().width, Some(320.0));
    let audio = tags.iter().find(|tag| tag.kind == TagKind::Audio).unwrap();
    assert_eq!(AudioHeader::parse(&audio.body).unwrap().packet, PacketKind::SequenceHeader);
}

#[tokio::test]
async fn ffmpeg_publishes_under_app_instance_key() {
    let server = server(Limits::default()).await;
    let _child = spawn(&ffmpeg("-f flv URL"), &server, "live/inst/key");
    let request = timeout(LONG, server.accept()).await.unwrap();
    assert_eq!((request.app(), request.instance(), request.key().expose()), ("live", "inst", "key"));
}

#[tokio::test]
async fn ffmpeg_prints_the_reason_of_a_refusal() {
    let server = server(Limits::default()).await;
    let child = spawn(&ffmpeg("-f flv URL"), &server, "live/wrong");
    let request = timeout(LONG, server.accept()).await.unwrap();
    request.reject(Reason::new("no livestream wants this stream key")).await;
    let output = timeout(LONG, child.wait_with_output()).await.unwrap().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no livestream wants this stream key"), "{said}");
}

#[tokio::test]
async fn ffmpeg_hears_nothing_before_the_decision() {
    let server = server(Limits::default()).await;
    let mut child = spawn(&ffmpeg("-f flv URL"), &server, "live/key");
    let request = timeout(LONG, server.accept()).await.unwrap();
    // It waits for its answer and neither goes on nor gives up.
    assert!(timeout(std::time::Duration::from_millis(300), child.wait()).await.is_err());
    let mut publisher = request.accept().await.unwrap();
    assert_eq!(drain(&mut publisher).await.1, EndReason::Clean);
}

#[tokio::test]
async fn a_killed_ffmpeg_is_lost_not_clean() {
    let server = server(Limits::default()).await;
    let line = format!("ffmpeg -hide_banner -nostdin -loglevel error -re {PICTURE} {TONE} {CODE} -f flv URL");
    let mut child = spawn(&line, &server, "live/key");
    let mut publisher = timeout(LONG, server.accept()).await.unwrap().accept().await.unwrap();
    for _ in 0..20 {
        assert!(matches!(timeout(LONG, publisher.recv()).await.unwrap(), Some(Message::Tag(_))));
    }
    child.kill().await.unwrap();
    assert!(matches!(drain(&mut publisher).await.1, EndReason::Lost(_)));
}

#[tokio::test]
async fn dropping_the_publisher_closes_its_connection() {
    let server = server(Limits::default()).await;
    let line = format!("ffmpeg -hide_banner -nostdin -loglevel error -re {PICTURE} {TONE} {CODE} -f flv URL");
    let mut child = spawn(&line, &server, "live/key");
    let mut publisher = timeout(LONG, server.accept()).await.unwrap().accept().await.unwrap();
    assert!(publisher.recv().await.is_some());
    drop(publisher);
    assert!(!timeout(LONG, child.wait()).await.unwrap().unwrap().success());
}

#[tokio::test]
async fn timestamps_beyond_24_bits_come_through_from_ffmpeg() {
    let server = server(Limits::default()).await;
    // 16 777.215 s is where 24 bits of milliseconds end: 0.2 s after the start. Large frames: many type 3 chunks.
    let line = ffmpeg("-qp 5 -bsf:v setts=ts=TS+16777000 -bsf:a setts=ts=TS+16777000 -f flv URL");
    let _child = spawn(&line, &server, "live/key");
    let mut publisher = timeout(LONG, server.accept()).await.unwrap().accept().await.unwrap();
    let (tags, end) = drain(&mut publisher).await;
    assert_eq!(end, EndReason::Clean);
    let times: Vec<u32> = tags.iter().filter(|tag| is_frame(tag)).map(|tag| tag.timestamp).collect();
    assert_eq!(times.len(), 50);
    assert!(times.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == 40), "{times:?}");
    assert!(times[0] < 0xff_ffff && *times.last().unwrap() > 0xff_ffff, "{times:?}");
}

#[tokio::test]
async fn mpegts_pushed_to_rtmp_is_no_media_and_harms_nobody() {
    let server = server(Limits::default()).await;
    let _child = spawn(&ffmpeg("-f mpegts URL"), &server, "live/key");
    let mut publisher = timeout(LONG, server.accept()).await.unwrap().accept().await.unwrap();
    // FFmpeg makes messages of what the TS bytes would say if they were FLV.
    let (tags, end) = drain(&mut publisher).await;
    assert_eq!(tags.len(), 0);
    assert!(matches!(end, EndReason::Clean | EndReason::Protocol(_)), "{end:?}");
}

#[tokio::test]
async fn gstreamer_publishes_with_both_its_sinks() {
    for sink in ["rtmp2sink", "rtmpsink"] {
        if !has("gst-inspect-1.0", sink) {
            continue;
        }
        let server = server(Limits::default()).await;
        let line = format!(
            "gst-launch-1.0 -q -e videotestsrc num-buffers=50 ! video/x-raw,width=320,height=180,framerate=25/1 ! x264enc \
             speed-preset=ultrafast key-int-max=25 ! flvmux name=mux streamable=true ! {sink} location=URL audiotestsrc \
             num-buffers=90 ! audioconvert ! avenc_aac ! mux."
        );
        let child = spawn(&line, &server, "live/inst/key");
        let request = timeout(LONG, server.accept()).await.unwrap();
        assert_eq!((request.app(), request.instance(), request.key().expose()), ("live", "inst", "key"), "{sink}");
        let mut publisher = request.accept().await.unwrap();
        let (tags, end) = drain(&mut publisher).await;
        assert_eq!(frames(&tags), 50, "{sink}");
        assert!(count(&tags, TagKind::Audio) > 40, "{sink}");
        assert_eq!(end, EndReason::Clean, "{sink}");
        let output = timeout(LONG, child.wait_with_output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{sink}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
