//! What the tests share: a server on a free port, encoders as child processes, a publisher made of bytes.
#![allow(clippy::unwrap_used, dead_code, missing_docs, unreachable_pub)]

use std::process::Stdio;
use std::time::Duration;

use rtmp::flv::{FlvTag, TagKind};
use rtmp::{EndReason, Limits, Message, Publisher, Server};
use tokio::process::{Child, Command};
use tokio::time::timeout;

pub mod bytes;
pub mod peer;

/// Longer than anything here takes: a test that gets here hangs.
pub const LONG: Duration = Duration::from_secs(30);

pub async fn server(limits: Limits) -> Server {
    Server::bind("127.0.0.1:0".parse().unwrap(), limits).await.unwrap()
}

/// A command line of words, `URL` replaced by the server's.
pub fn spawn(line: &str, server: &Server, path: &str) -> Child {
    let url = format!("rtmp://{}/{path}", server.local_addr());
    let mut words = line.split_whitespace().map(|word| word.replace("URL", &url));
    Command::new(words.next().unwrap())
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Everything a publisher sends, to its end.
pub async fn drain(publisher: &mut Publisher) -> (Vec<FlvTag>, EndReason) {
    let mut tags = Vec::new();
    loop {
        match timeout(LONG, publisher.recv()).await.expect("the publisher hangs").expect("no end") {
            Message::Tag(tag) => tags.push(tag),
            Message::End(reason) => return (tags, reason),
        }
    }
}

pub fn count(tags: &[FlvTag], kind: TagKind) -> usize {
    tags.iter().filter(|tag| tag.kind == kind).count()
}

/// Whether the program is on this machine. GStreamer's absence is no failure of ours.
pub fn has(program: &str, argument: &str) -> bool {
    std::process::Command::new(program)
        .arg(argument)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
