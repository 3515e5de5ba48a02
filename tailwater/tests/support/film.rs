//! What an encoder sends, tag by tag: made by FFmpeg once, stamped, cut and put out of order as a test says, and sent as real
//! RTMP at the pace of the pictures.
//!
//! Once a second the picture flashes and a tone sounds, so that a judge can tell whether both are still in step.

use std::process::{Command, Stdio};
use std::time::Duration;

use rtmp::flv::{FlvReader, FlvTag, PacketKind, TagKind, VideoHeader};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::bytes;

/// How a film is made.
#[derive(Clone, Copy)]
pub struct Recipe {
    pub size: &'static str,
    pub rate: &'static str,
    pub seconds: f64,
    /// FFmpeg's options of the video; none without it.
    pub video: Option<&'static str>,
    /// FFmpeg's options of the audio; none without it.
    pub audio: Option<&'static str>,
}

impl Default for Recipe {
    /// Small and cheap: a keyframe a second, no B-frames, stereo at 48 kHz.
    fn default() -> Self {
        Self {
            size: "160x90",
            rate: "25",
            seconds: 6.0,
            video: Some("-preset ultrafast -g 25 -sc_threshold 0"),
            audio: Some("-c:a aac -ac 2 -ar 48000"),
        }
    }
}

/// A tag, and when it is sent.
#[derive(Clone)]
pub struct Shot {
    /// Milliseconds after the first.
    pub at: i64,
    pub tag: FlvTag,
}

impl Shot {
    pub fn is_video(&self) -> bool {
        self.tag.kind == TagKind::Video
    }

    pub fn is_audio(&self) -> bool {
        self.tag.kind == TagKind::Audio
    }

    /// Whether it is a decoder configuration: AVC's or AAC's packet type 0.
    pub fn is_header(&self) -> bool {
        match self.tag.kind {
            TagKind::Video => self.tag.body.get(1) == Some(&0),
            TagKind::Audio => self.tag.body.first().is_some_and(|first| first >> 4 == 10) && self.tag.body[1] == 0,
            TagKind::Script => false,
        }
    }

    pub fn is_keyframe(&self) -> bool {
        self.is_video() && !self.is_header() && self.tag.body[0] >> 4 == 1
    }
}

/// How messages are chunked.
#[derive(Clone, Copy)]
pub struct Wire {
    /// Type 3 chunks repeat the extended timestamp.
    pub repeat_extended: bool,
    /// Times are sent as differences to the message before, also negative ones.
    pub deltas: bool,
}

/// Everything one publisher sends.
#[derive(Clone)]
pub struct Film {
    pub shots: Vec<Shot>,
    pub wire: Wire,
}

impl Film {
    /// Has FFmpeg make it.
    pub fn made(recipe: &Recipe) -> Self {
        let Recipe { size, rate, seconds, .. } = recipe;
        // Flash and tone begin with the picture at 0.52 s of each second, which every usual frame rate comes close to.
        let flash = "drawbox=t=fill:color=white:enable='lt(mod(t+0.481,1),0.12)'";
        let mut arguments: Vec<String> =
            "-hide_banner -loglevel error -nostdin".split(' ').map(str::to_owned).collect();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(|word| (*word).to_owned()));
        if recipe.video.is_some() {
            add(&["-f", "lavfi", "-i", &format!("testsrc2=s={size}:r={rate},{flash}")]);
        }
        if recipe.audio.is_some() {
            add(&["-f", "lavfi", "-i", "aevalsrc='0.5*sin(2*PI*1000*t)*lt(mod(t+0.48,1),0.12)':s=48000"]);
        }
        if let Some(options) = recipe.video {
            add(&["-c:v", "libx264", "-pix_fmt", "yuv420p", "-b:v", "200k"]);
            add(&options.split_whitespace().collect::<Vec<_>>());
        }
        if let Some(options) = recipe.audio {
            add(&options.split_whitespace().collect::<Vec<_>>());
        }
        add(&["-t", &seconds.to_string(), "-f", "flv", "-flvflags", "no_duration_filesize", "pipe:1"]);
        let output =
            Command::new("ffmpeg").args(&arguments).stdin(Stdio::null()).output().expect("ffmpeg is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut reader = FlvReader::new();
        reader.push(&output.stdout);
        let tags = std::iter::from_fn(|| reader.poll().expect("FLV"));
        let shots = tags.map(|tag| Shot { at: i64::from(tag.timestamp), tag }).collect();
        Self { shots, wire: Wire { repeat_extended: true, deltas: false } }
    }

    /// With other timestamps; when the tags are sent stays.
    pub fn stamped(mut self, stamp: impl Fn(&Shot) -> i64) -> Self {
        for shot in &mut self.shots {
            shot.tag.timestamp = stamp(shot) as u32;
        }
        self
    }

    /// Some tags are sent later, or, with a negative number of milliseconds, earlier; their timestamps stay.
    pub fn delayed(mut self, delay: impl Fn(&Shot) -> i64) -> Self {
        for shot in &mut self.shots {
            shot.at += delay(shot);
        }
        self.in_order()
    }

    /// Without the tags that `keep` does not want.
    pub fn only(mut self, keep: impl Fn(&Shot) -> bool) -> Self {
        self.shots.retain(|shot| keep(shot));
        self
    }

    /// With other bodies.
    pub fn rewritten(mut self, rewrite: impl Fn(&Shot) -> Option<Vec<u8>>) -> Self {
        for shot in &mut self.shots {
            if let Some(body) = rewrite(shot) {
                shot.tag.body = body.into();
            }
        }
        self
    }

    /// Decoding time moved by so many milliseconds; pictures are shown when they were.
    pub fn decoded_later(mut self, by: i32) -> Self {
        for shot in &mut self.shots {
            let Some(header) = VideoHeader::parse(&shot.tag.body).filter(|_| shot.is_video()) else { continue };
            if header.packet == PacketKind::Frames {
                shot.tag.timestamp = shot.tag.timestamp.wrapping_add_signed(by);
                shot.tag.body = header.with_composition_time(&shot.tag.body, header.composition_time - by);
            }
        }
        self
    }

    /// The decoder configurations are sent again every so many milliseconds.
    pub fn repeating_headers(mut self, every: i64) -> Self {
        let headers: Vec<Shot> = self.shots.iter().filter(|shot| shot.is_header()).cloned().collect();
        for at in (every..self.end()).step_by(every as usize) {
            self.shots.extend(headers.iter().cloned().map(|mut header| {
                (header.at, header.tag.timestamp) = (at, at as u32);
                header
            }));
        }
        self.in_order()
    }

    /// Followed by another film in the same connection, its times counted on.
    pub fn then(mut self, next: Self) -> Self {
        let end = self.end();
        self.shots.extend(next.shots.into_iter().map(|mut shot| {
            shot.at += end;
            shot.tag.timestamp = shot.tag.timestamp.wrapping_add(end as u32);
            shot
        }));
        self
    }

    /// Sent with these headers.
    pub fn on(mut self, wire: Wire) -> Self {
        self.wire = wire;
        self
    }

    /// When the last tag has been shown, in milliseconds: one picture after it.
    fn end(&self) -> i64 {
        self.shots.iter().map(|shot| shot.at).max().unwrap_or(0) + 20
    }

    fn in_order(mut self) -> Self {
        self.shots.sort_by_key(|shot| shot.at);
        let first = self.shots.first().map_or(0, |shot| shot.at);
        self.shots.iter_mut().for_each(|shot| shot.at -= first);
        self
    }

    /// Publishes it to `key` at the RTMP server at `address`, and says goodbye. An error says when the server closed before that.
    pub async fn publish(&self, address: &str, key: &str) -> Result<(), String> {
        let stream = TcpStream::connect(address).await.expect("an RTMP server");
        stream.set_nodelay(true).expect("a socket");
        let (mut reader, mut writer) = stream.into_split();
        let mut hello = vec![0; 1 + 1536];
        hello[0] = 3;
        writer.write_all(&hello).await.expect("a connection");
        let mut reply = vec![0; 1 + 1536 + 1536];
        reader.read_exact(&mut reply).await.expect("a handshake");
        let begin = [
            reply[1..1537].to_vec(),
            bytes::connect("live"),
            bytes::command(0, "createStream", 2.0, &[bytes::NULL]),
            bytes::publish(key),
        ];
        writer.write_all(&begin.concat()).await.expect("a connection");
        // What the server says is read, so that it never waits, and not looked at: only its end is of interest.
        let closed = tokio::spawn(async move { tokio::io::copy(&mut reader, &mut tokio::io::sink()).await });
        let start = Instant::now();
        let mut wire = Encoded::new(self.wire);
        for shot in &self.shots {
            tokio::time::sleep_until(start + Duration::from_millis(shot.at.max(0) as u64)).await;
            let sent = writer.write_all(&wire.message(&shot.tag)).await;
            if sent.is_err() || closed.is_finished() {
                return Err(format!("the server closed the connection at {} ms", shot.at));
            }
        }
        let bye = bytes::command(1, "deleteStream", 9.0, &[bytes::NULL, &bytes::number(1.0)]);
        writer.write_all(&bye).await.map_err(|error| error.to_string())?;
        let _ = tokio::time::timeout(Duration::from_secs(5), closed).await;
        Ok(())
    }
}

/// Tags as messages.
struct Encoded {
    wire: Wire,
    /// The time of the last message of each kind.
    last: [Option<u32>; 3],
}

impl Encoded {
    fn new(wire: Wire) -> Self {
        Self { wire, last: [None; 3] }
    }

    fn message(&mut self, tag: &FlvTag) -> Vec<u8> {
        let (index, id) = match tag.kind {
            TagKind::Audio => (0, 4),
            TagKind::Video => (1, 6),
            TagKind::Script => (2, 5),
        };
        let repeat = self.wire.repeat_extended;
        let last = self.last[index].replace(tag.timestamp).filter(|_| self.wire.deltas);
        match last {
            Some(last) => {
                let delta = tag.timestamp.wrapping_sub(last);
                bytes::delta_chunks(id, tag.kind.id(), delta, &tag.body, 128, repeat)
            }
            None => bytes::chunks(id, tag.kind.id(), 1, tag.timestamp, &tag.body, 128, repeat),
        }
    }
}
