//! The chunk stream (RTMP 1.0, 5.3): messages out of interleaved chunks.

use bytes::{Buf, Bytes, BytesMut};

use crate::Limits;
use crate::error::ProtocolError;

/// Chunk size until the peer sets another (5.4.1).
const DEFAULT_CHUNK_SIZE: u32 = 128;
/// The 24-bit value that says: 32 bits follow (5.3.1.3).
const EXTENDED: u32 = 0xff_ffff;
/// What a message's buffer starts with; it grows with what really comes.
const FIRST_CAPACITY: usize = 16 * 1024;

/// One whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RtmpMessage {
    pub(crate) kind: u8,
    /// Milliseconds, absolute, wrapping at 32 bits.
    pub(crate) timestamp: u32,
    pub(crate) stream: u32,
    pub(crate) body: Bytes,
}

/// What a chunk stream remembers for the headers that leave things out.
#[derive(Debug, Default)]
struct ChunkStream {
    id: u32,
    timestamp: u32,
    delta: u32,
    length: usize,
    kind: u8,
    stream: u32,
    /// The extended timestamp field of the last type 0, 1 or 2 header, when it had one.
    extended: Option<u32>,
    unfinished: Option<BytesMut>,
}

/// Puts messages together. Input is consumed as it comes, payload included: a chunk is never waited for as a whole.
#[derive(Debug)]
pub(crate) struct ChunkReader {
    chunk_size: u32,
    streams: Vec<ChunkStream>,
    /// The chunk being read: which of `streams`, and how much of its payload is still to come.
    current: Option<(usize, usize)>,
    /// Bytes held in unfinished messages.
    buffered: usize,
    max_message: usize,
    max_buffered: usize,
    max_chunk_size: u32,
    max_streams: usize,
}

/// A basic and message header, read but not yet acted upon.
struct Header {
    fmt: u8,
    index: Option<usize>,
    id: u32,
    size: usize,
    field: u32,
    length: usize,
    kind: u8,
    stream: u32,
    extended: Option<u32>,
}

impl ChunkReader {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            chunk_size: DEFAULT_CHUNK_SIZE,
            streams: Vec::new(),
            current: None,
            buffered: 0,
            max_message: limits.max_message,
            max_buffered: limits.max_buffered,
            max_chunk_size: limits.max_chunk_size,
            max_streams: limits.max_chunk_streams,
        }
    }

    /// Set Chunk Size (5.4.1): holds for the very next chunk.
    pub(crate) fn set_chunk_size(&mut self, size: u32) -> Result<(), ProtocolError> {
        if !(1..=self.max_chunk_size).contains(&size) {
            return Err(ProtocolError::ChunkSize { size, limit: self.max_chunk_size });
        }
        self.chunk_size = size;
        Ok(())
    }

    /// Abort Message (5.4.2): the unfinished message of that chunk stream is dropped.
    pub(crate) fn abort(&mut self, id: u32) {
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == id)
            && let Some(unfinished) = stream.unfinished.take()
        {
            self.buffered -= unfinished.len();
        }
    }

    /// The next whole message, or `None` when the input is used up.
    pub(crate) fn next_message(&mut self, input: &mut BytesMut) -> Result<Option<RtmpMessage>, ProtocolError> {
        loop {
            if self.current.is_none() {
                let Some(header) = self.read_header(input)? else { return Ok(None) };
                let size = header.size;
                let index = self.apply(header)?;
                input.advance(size);
                let stream = &self.streams[index];
                let held = stream.unfinished.as_ref().map_or(0, BytesMut::len);
                self.current = Some((index, (stream.length - held).min(self.chunk_size as usize)));
            }
            let Some((index, left)) = self.current else { return Ok(None) };
            let take = left.min(input.len());
            if take < left && take == 0 {
                return Ok(None);
            }
            self.buffered += take;
            if self.buffered > self.max_buffered {
                return Err(ProtocolError::Buffered { limit: self.max_buffered });
            }
            let stream = &mut self.streams[index];
            let message = stream.unfinished.get_or_insert_default();
            if message.capacity() == 0 {
                message.reserve(stream.length.min(FIRST_CAPACITY.max(take)));
            }
            message.extend_from_slice(&input[..take]);
            input.advance(take);
            self.current = (take < left).then_some((index, left - take));
            if message.len() == stream.length {
                self.buffered -= stream.length;
                let body = stream.unfinished.take().unwrap_or_default().freeze();
                return Ok(Some(RtmpMessage {
                    kind: stream.kind,
                    timestamp: stream.timestamp,
                    stream: stream.stream,
                    body,
                }));
            }
        }
    }

    /// Reads the headers at the front of the input, without consuming them. `None` when there is not all of them yet.
    fn read_header(&self, input: &[u8]) -> Result<Option<Header>, ProtocolError> {
        let Some(&first) = input.first() else { return Ok(None) };
        let fmt = first >> 6;
        let (id, mut size) = match (first & 0x3f, input) {
            (0, [_, low, ..]) => (u32::from(*low) + 64, 2),
            (1, [_, low, high, ..]) => (u32::from(*low) + 256 * u32::from(*high) + 64, 3),
            (0 | 1, _) => return Ok(None),
            (id, _) => (u32::from(id), 1),
        };
        let index = self.streams.iter().position(|stream| stream.id == id);
        if index.is_none() {
            // librtmp and others open a chunk stream with a type 1 header: only the message stream id is missing.
            if fmt > 1 {
                return Err(ProtocolError::NoHeader { fmt, stream: id });
            }
            if self.streams.len() >= self.max_streams {
                return Err(ProtocolError::ChunkStreams { limit: self.max_streams });
            }
        }
        let known = index.map(|index| &self.streams[index]);
        let fields = [11, 7, 3, 0][usize::from(fmt)];
        let Some(bytes) = input.get(size..size + fields) else { return Ok(None) };
        size += fields;
        let mut header = Header {
            fmt,
            index,
            id,
            size,
            field: 0,
            length: known.map_or(0, |stream| stream.length),
            kind: known.map_or(0, |stream| stream.kind),
            stream: known.map_or(0, |stream| stream.stream),
            extended: None,
        };
        if fmt < 2 {
            header.length = (u24(&bytes[3..]) as usize).min(EXTENDED as usize);
            header.kind = bytes[6];
        }
        if fmt == 0 {
            header.stream = u32::from_le_bytes([bytes[7], bytes[8], bytes[9], bytes[10]]);
        }
        if header.length > self.max_message {
            return Err(ProtocolError::MessageSize { size: header.length, limit: self.max_message });
        }
        let following = &input[size..];
        if fmt < 3 {
            header.field = u24(bytes);
            if header.field == EXTENDED {
                let Some(bytes) = following.first_chunk::<4>() else { return Ok(None) };
                header.field = u32::from_be_bytes(*bytes);
                header.extended = Some(header.field);
                header.size += 4;
            }
        } else if let Some(stream) = known
            && let Some(extended) = stream.extended
        {
            header.extended = Some(extended);
            match repeats_timestamp(following, extended, stream.timestamp) {
                Some(true) => header.size += 4,
                Some(false) => {}
                None => return Ok(None),
            }
        }
        Ok(Some(header))
    }

    /// Makes what a header says the state of its chunk stream.
    fn apply(&mut self, header: Header) -> Result<usize, ProtocolError> {
        let index = match header.index {
            Some(index) => index,
            None => {
                self.streams.push(ChunkStream { id: header.id, ..ChunkStream::default() });
                self.streams.len() - 1
            }
        };
        let stream = &mut self.streams[index];
        if stream.unfinished.is_some() {
            match header.fmt {
                3 => return Ok(index),
                // A full header starts anew: the peer gave the old message up.
                0 => self.buffered -= stream.unfinished.take().map_or(0, |unfinished| unfinished.len()),
                _ => return Err(ProtocolError::Interrupted { stream: header.id }),
            }
        }
        match header.fmt {
            0 => {
                stream.timestamp = header.field;
                // 5.3.1.2.4: "If a Type 3 chunk follows a Type 0 chunk, then the timestamp delta for this Type 3 chunk is the
                // same as the timestamp of the Type 0 chunk." FFmpeg counts on it.
                stream.delta = header.field;
            }
            1 | 2 => {
                // A negative delta comes as a 32-bit number that wraps. (In 24 bits it cannot be told from a leap of four hours,
                // which is how FFmpeg starts a stream at such a time.)
                stream.delta = header.field;
                stream.timestamp = stream.timestamp.wrapping_add(stream.delta);
            }
            _ => stream.timestamp = stream.timestamp.wrapping_add(stream.delta),
        }
        stream.length = header.length;
        stream.kind = header.kind;
        stream.stream = header.stream;
        stream.extended = header.extended;
        Ok(index)
    }
}

/// Whether a type 3 chunk repeats the extended timestamp, as 5.3.1.3 wants it. Some encoders leave it out, so it is taken for one
/// only where the four bytes are the header's value, or the message's time, which others repeat instead. `None`: not yet known.
fn repeats_timestamp(following: &[u8], extended: u32, timestamp: u32) -> Option<bool> {
    let have = following.len().min(4);
    let matches = |value: u32| value.to_be_bytes()[..have] == following[..have];
    match (matches(extended) || matches(timestamp), have) {
        (false, _) => Some(false),
        (true, 4) => Some(true),
        (true, _) => None,
    }
}

fn u24(bytes: &[u8]) -> u32 {
    u32::from(bytes[0]) << 16 | u32::from(bytes[1]) << 8 | u32::from(bytes[2])
}
