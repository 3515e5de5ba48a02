//! The protocol of one connection, without I/O: bytes in, [`Event`]s and reply bytes out.
//!
//! ```text
//!              C0 C1 C2            connect             publish             accept
//! Handshake ─────────────▶ Open ─────────────▶ Open ─────────────▶ Asking ────────▶ Publishing
//!                                                                    │ reject          │ FCUnpublish, deleteStream,
//!                                                                    ▼                 ▼ closeStream
//!                                                                  Ended ◀──────────── Ended
//! ```

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use rtmp_runtime::handshake::Handshake;
use rtmp_runtime::message::msg_type;

use crate::Limits;
use crate::address::PublishName;
use crate::chunk::{ChunkReader, RtmpMessage};
use crate::command::{Invoke, Replies, WINDOW};
use crate::error::ProtocolError;
use crate::flv::{FlvTag, TagKind};

/// The message stream id given to everyone: one stream a connection.
const STREAM: u32 = 1;
/// Messages of types that do not exist, before any media, after which a publisher is told that it sends no FLV.
/// (`ffmpeg -f mpegts rtmp://…` makes messages of whatever the TS bytes say.)
const MAX_STRANGE: u32 = 8;
/// `@setDataFrame` as an AMF0 string: what a publisher puts before the script tag's real content.
const SET_DATA_FRAME: &[u8] = b"\x02\x00\x0d@setDataFrame";

/// What a session has to tell.
#[derive(Debug)]
pub(crate) enum Event {
    /// The peer wants to publish. Nothing more is read until [`Session::accept`] or [`Session::reject`].
    Publish(PublishName),
    /// A tag, as sent.
    Tag(FlvTag),
    /// The peer said that it is done.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Handshake,
    Open,
    Asking { stream: u32 },
    Publishing { stream: u32 },
    Ended,
}

/// Drive it so: put bytes into the input, call [`poll`](Self::poll) until it gives `None`, write what
/// [`take_output`](Self::take_output) gives, read more.
#[derive(Debug)]
pub(crate) struct Session {
    state: State,
    handshake: Handshake,
    /// C0 and C1 were read.
    greeted: bool,
    chunks: ChunkReader,
    replies: Replies,
    app: Option<String>,
    /// Tags of an aggregate message, in order.
    tags: VecDeque<FlvTag>,
    received: u64,
    acknowledged: u64,
    window: u32,
    strange: u32,
    has_media: bool,
    max_command: usize,
    max_before_publish: usize,
}

impl Session {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            state: State::Handshake,
            handshake: Handshake::new(),
            greeted: false,
            chunks: ChunkReader::new(limits),
            replies: Replies::new(),
            app: None,
            tags: VecDeque::new(),
            received: 0,
            acknowledged: 0,
            window: WINDOW,
            strange: 0,
            has_media: false,
            max_command: limits.max_command,
            max_before_publish: limits.max_before_publish,
        }
    }

    /// Whether the handshake is over.
    pub(crate) fn is_open(&self) -> bool {
        self.state != State::Handshake
    }

    /// Bytes to write to the peer.
    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        self.replies.take()
    }

    /// The next event in the input, or `None` when it is used up. An error ends the connection.
    pub(crate) fn poll(&mut self, input: &mut BytesMut) -> Result<Option<Event>, ProtocolError> {
        if self.state == State::Handshake && !self.shake_hands(input)? {
            return Ok(None);
        }
        loop {
            if let Some(tag) = self.tags.pop_front() {
                return Ok(Some(Event::Tag(tag)));
            }
            if matches!(self.state, State::Asking { .. } | State::Ended) {
                return Ok(None);
            }
            let before = input.len();
            let message = self.chunks.next_message(input)?;
            self.received += (before - input.len()) as u64;
            if self.state == State::Open && self.received > self.max_before_publish as u64 {
                return Err(ProtocolError::BeforePublish { limit: self.max_before_publish });
            }
            self.acknowledge()?;
            let Some(message) = message else { return Ok(None) };
            if let Some(event) = self.handle_message(message)? {
                return Ok(Some(event));
            }
        }
    }

    /// Tells the peer that it may publish.
    pub(crate) fn accept(&mut self) -> Result<(), ProtocolError> {
        if let State::Asking { stream } = self.state {
            self.replies.stream_begin(stream)?;
            self.replies.status(stream, "status", "NetStream.Publish.Start", "Publishing.")?;
            self.state = State::Publishing { stream };
        }
        Ok(())
    }

    /// Tells the peer that it may not, and why.
    pub(crate) fn reject(&mut self, code: &str, description: &str) -> Result<(), ProtocolError> {
        if let State::Asking { stream } | State::Publishing { stream } = self.state {
            self.replies.status(stream, "error", code, description)?;
            self.state = State::Ended;
        }
        Ok(())
    }

    fn shake_hands(&mut self, input: &mut BytesMut) -> Result<bool, ProtocolError> {
        match input.first() {
            // Told from the first byte: TLS (0x16), HTTP ("G", "P"), RTMPE (6), random.
            Some(&version) if version != 3 && !self.greeted => return Err(ProtocolError::Version(version)),
            _ => {}
        }
        // Errors of the handshake: too short, or the version, which is checked above.
        while let Ok((reply, consumed, done)) = self.handshake.read(input) {
            input.advance(consumed);
            self.replies.raw(&reply);
            self.greeted = true;
            if done {
                self.state = State::Open;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn acknowledge(&mut self) -> Result<(), ProtocolError> {
        if self.received - self.acknowledged >= u64::from(self.window) {
            self.acknowledged = self.received;
            // 5.4.3 has 32 bits and says nothing of what comes after; everybody wraps.
            self.replies.acknowledgement(self.received as u32)?;
        }
        Ok(())
    }

    fn handle_message(&mut self, message: RtmpMessage) -> Result<Option<Event>, ProtocolError> {
        match message.kind {
            msg_type::SET_CHUNK_SIZE => self.chunks.set_chunk_size(number(&message)?)?,
            msg_type::ABORT => self.chunks.abort(number(&message)?),
            msg_type::ACKNOWLEDGEMENT | msg_type::SET_PEER_BANDWIDTH => {}
            msg_type::WINDOW_ACK_SIZE => {
                // 0 would be an acknowledgement for every byte; so would 1.
                self.window = number(&message)?.clamp(16 * 1024, 64 * 1024 * 1024);
            }
            msg_type::USER_CONTROL => self.handle_user_control(&message.body)?,
            msg_type::COMMAND_AMF0 => return self.handle_command(&message, &message.body),
            // An AMF3 command is one byte of format, then AMF0.
            msg_type::COMMAND_AMF3 => return self.handle_command(&message, message.body.get(1..).unwrap_or_default()),
            msg_type::AUDIO => return Ok(self.media(TagKind::Audio, message.timestamp, message.body)),
            msg_type::VIDEO => return Ok(self.media(TagKind::Video, message.timestamp, message.body)),
            msg_type::DATA_AMF0 => return Ok(self.data(message.timestamp, message.body)),
            msg_type::DATA_AMF3 if message.body.first() == Some(&0) => {
                return Ok(self.data(message.timestamp, message.body.slice(1..)));
            }
            msg_type::AGGREGATE => self.handle_aggregate(&message)?,
            // AMF3 data and shared objects are legal and of no use.
            msg_type::DATA_AMF3 | 16 | 19 => {}
            _ => {
                self.strange += 1;
                if self.strange > MAX_STRANGE && !self.has_media {
                    return Err(ProtocolError::NotFlv);
                }
            }
        }
        Ok(None)
    }

    fn handle_user_control(&mut self, body: &[u8]) -> Result<(), ProtocolError> {
        // Ping Request (6): the answer is its timestamp. All other events say nothing to a server.
        match body {
            [0, 6, a, b, c, d, ..] => self.replies.ping_response(u32::from_be_bytes([*a, *b, *c, *d])),
            _ => Ok(()),
        }
    }

    fn handle_command(&mut self, message: &RtmpMessage, body: &[u8]) -> Result<Option<Event>, ProtocolError> {
        if body.len() > self.max_command {
            return Err(ProtocolError::CommandSize { size: body.len(), limit: self.max_command });
        }
        let command = Invoke::parse(body)?;
        match command.name.as_str() {
            "connect" => {
                self.app = Some(command.property("app").unwrap_or_default().to_owned());
                let enhanced = command.has("fourCcList") || command.has("videoFourCcInfoMap");
                self.replies.connected(command.transaction, enhanced, 0.0)?;
            }
            "createStream" => self.replies.stream_created(command.transaction, STREAM)?,
            // In any order, as often as they like.
            "releaseStream" | "FCPublish" | "_checkbw" => self.replies.done(command.transaction)?,
            "publish" => return self.handle_publish(&command, message.stream),
            "play" | "play2" => {
                let code = "NetStream.Play.StreamNotFound";
                self.replies.status(message.stream, "error", code, "This port is for publishing; play by HLS.")?;
                self.state = State::Ended;
                return Err(ProtocolError::Play);
            }
            "FCUnpublish" | "deleteStream" | "closeStream" => {
                if let State::Publishing { stream } = self.state {
                    self.replies.status(stream, "status", "NetStream.Unpublish.Success", "Unpublished.")?;
                    self.state = State::Ended;
                    return Ok(Some(Event::End));
                }
            }
            _ => {}
        }
        Ok(None)
    }

    fn handle_publish(&mut self, command: &Invoke, stream: u32) -> Result<Option<Event>, ProtocolError> {
        let Some(app) = &self.app else { return Err(ProtocolError::NotConnected("publish")) };
        if self.state != State::Open {
            self.replies.status(stream, "error", "NetStream.Publish.BadName", "One stream a connection.")?;
            return Ok(None);
        }
        self.state = State::Asking { stream };
        match PublishName::parse(app, command.text(0).unwrap_or_default()) {
            Ok(name) => Ok(Some(Event::Publish(name))),
            Err(reason) => {
                self.reject("NetStream.Publish.BadName", reason)?;
                Ok(Some(Event::End))
            }
        }
    }

    fn media(&mut self, kind: TagKind, timestamp: u32, body: Bytes) -> Option<Event> {
        if !matches!(self.state, State::Publishing { .. }) {
            return None;
        }
        self.has_media |= !body.is_empty();
        Some(Event::Tag(FlvTag { kind, timestamp, body }))
    }

    fn data(&mut self, timestamp: u32, mut body: Bytes) -> Option<Event> {
        if body.starts_with(SET_DATA_FRAME) {
            body.advance(SET_DATA_FRAME.len());
        }
        matches!(self.state, State::Publishing { .. }).then_some(Event::Tag(FlvTag {
            kind: TagKind::Script,
            timestamp,
            body,
        }))
    }

    /// Aggregate Message (7.1.6): FLV tags with their trailing sizes. "The timestamp of the first sub-message SHOULD be the same as
    /// the timestamp of the aggregate message"; where it is not, all move by the difference.
    fn handle_aggregate(&mut self, message: &RtmpMessage) -> Result<(), ProtocolError> {
        let mut body = message.body.clone();
        let mut first = None;
        while !body.is_empty() {
            if body.len() < 11 {
                return Err(ProtocolError::Aggregate);
            }
            let kind = body.get_u8();
            let size = body.get_uint(3) as usize;
            let low = body.get_uint(3) as u32;
            let timestamp = low | u32::from(body.get_u8()) << 24;
            body.advance(3);
            // Some senders leave the last trailing size out.
            if body.len() < size {
                return Err(ProtocolError::Aggregate);
            }
            let data = body.split_to(size);
            body.advance(body.len().min(4));
            let offset = message.timestamp.wrapping_sub(*first.get_or_insert(timestamp));
            let timestamp = timestamp.wrapping_add(offset);
            let event = match TagKind::from_id(kind) {
                Some(TagKind::Script) => self.data(timestamp, data),
                Some(kind) => self.media(kind, timestamp, data),
                None => None,
            };
            if let Some(Event::Tag(tag)) = event {
                self.tags.push_back(tag);
            }
        }
        Ok(())
    }
}

/// The 32-bit number that most control messages are.
fn number(message: &RtmpMessage) -> Result<u32, ProtocolError> {
    match message.body.first_chunk::<4>() {
        Some(bytes) => Ok(u32::from_be_bytes(*bytes)),
        None => Err(ProtocolError::Control { kind: message.kind, size: message.body.len() }),
    }
}
