//! Commands: those of the peer read, ours written.

use rtmp_runtime::RtmpError;
use rtmp_runtime::amf0::{Amf0Value, Command};
use rtmp_runtime::chunk::{ChunkWriter, Message};
use rtmp_runtime::message::{LimitType, ProtocolControl, UserControl, msg_type};

use crate::amf::{Reader, Value};
use crate::error::ProtocolError;

/// Chunk stream of our command replies: 3, as everybody has it.
const COMMAND_CHUNK_STREAM: u32 = 3;
/// Chunk size of what we send. Our longest message is the answer to `connect`.
const OUT_CHUNK_SIZE: u32 = 4096;
/// After how many bytes we acknowledge, and want to be acknowledged. What FMS, nginx and SRS say.
pub(crate) const WINDOW: u32 = 2_500_000;
/// Arguments of a command that are read; the rest is of no use to anyone.
const MAX_ARGUMENTS: usize = 4;
/// FourCCs offered to a peer that speaks Enhanced RTMP.
const FOURCCS: [&str; 6] = ["avc1", "hvc1", "av01", "vp09", "mp4a", "Opus"];

/// A command of the peer.
#[derive(Debug)]
pub(crate) struct Invoke {
    pub(crate) name: String,
    pub(crate) transaction: f64,
    /// Without the command object.
    arguments: Vec<Value>,
    object: Value,
}

impl Invoke {
    /// Reads a command. Arguments that cannot be read are left out: many commands need none.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ProtocolError> {
        let mut reader = Reader::new(body);
        let Value::String(name) = reader.value()? else { return Err(ProtocolError::CommandName) };
        let transaction = match reader.value() {
            Ok(Value::Number(number)) => number,
            _ => 0.0,
        };
        let object = reader.value().unwrap_or(Value::Null);
        let arguments = (0..MAX_ARGUMENTS).map_while(|_| reader.value().ok()).collect();
        Ok(Self { name, transaction, arguments, object })
    }

    /// A text property of the command object.
    pub(crate) fn property(&self, name: &str) -> Option<&str> {
        self.object.property(name).and_then(Value::text)
    }

    /// Whether the command object has a property.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.object.property(name).is_some()
    }

    /// A text argument after the command object.
    pub(crate) fn text(&self, index: usize) -> Option<&str> {
        self.arguments.get(index).and_then(Value::text)
    }
}

/// Writes replies as chunks.
#[derive(Debug)]
pub(crate) struct Replies {
    writer: ChunkWriter,
    out: Vec<u8>,
}

impl Replies {
    pub(crate) fn new() -> Self {
        Self { writer: ChunkWriter::new(), out: Vec::new() }
    }

    /// Everything written since the last call.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn message(&mut self, message: &Message) -> Result<(), ProtocolError> {
        let bytes = self.writer.write(message).map_err(reply_error)?;
        self.out.extend_from_slice(&bytes);
        Ok(())
    }

    fn command(
        &mut self,
        stream: u32,
        name: &str,
        transaction: f64,
        arguments: Vec<Amf0Value>,
    ) -> Result<(), ProtocolError> {
        let command = Command { name: name.to_owned(), transaction_id: transaction, arguments };
        let payload = command.to_body().map_err(reply_error)?;
        self.message(&Message {
            chunk_stream_id: COMMAND_CHUNK_STREAM,
            timestamp: 0,
            message_type_id: msg_type::COMMAND_AMF0,
            message_stream_id: stream,
            payload,
        })
    }

    pub(crate) fn acknowledgement(&mut self, sequence: u32) -> Result<(), ProtocolError> {
        self.message(&ProtocolControl::Acknowledgement(sequence).to_message())
    }

    pub(crate) fn ping_response(&mut self, timestamp: u32) -> Result<(), ProtocolError> {
        self.message(&UserControl::PingResponse(timestamp).to_message())
    }

    /// The answer to `connect`: window, bandwidth, chunk size, `_result`.
    pub(crate) fn connected(
        &mut self,
        transaction: f64,
        enhanced: bool,
        object_encoding: f64,
    ) -> Result<(), ProtocolError> {
        self.message(&ProtocolControl::WindowAckSize(WINDOW).to_message())?;
        let bandwidth = ProtocolControl::SetPeerBandwidth { ack_window_size: WINDOW, limit_type: LimitType::Dynamic };
        self.message(&bandwidth.to_message())?;
        self.message(&ProtocolControl::SetChunkSize(OUT_CHUNK_SIZE).to_message())?;
        self.writer.set_chunk_size(OUT_CHUNK_SIZE);
        let properties = object(vec![("fmsVer", text("FMS/3,0,1,123")), ("capabilities", Amf0Value::Number(31.0))]);
        let mut information = vec![
            ("level", text("status")),
            ("code", text("NetConnection.Connect.Success")),
            ("description", text("Connection succeeded.")),
            ("objectEncoding", Amf0Value::Number(object_encoding)),
        ];
        if enhanced {
            information.push(("fourCcList", Amf0Value::StrictArray(FOURCCS.iter().map(|name| text(name)).collect())));
        }
        self.command(0, "_result", transaction, vec![properties, object(information)])
    }

    /// `_result` without content, for `releaseStream`, `FCPublish`, `_checkbw`.
    pub(crate) fn done(&mut self, transaction: f64) -> Result<(), ProtocolError> {
        self.command(0, "_result", transaction, vec![Amf0Value::Null, Amf0Value::Undefined])
    }

    /// The answer to `createStream`.
    pub(crate) fn stream_created(&mut self, transaction: f64, stream: u32) -> Result<(), ProtocolError> {
        self.command(0, "_result", transaction, vec![Amf0Value::Null, Amf0Value::Number(f64::from(stream))])
    }

    /// Stream Begin, before the status that accepts.
    pub(crate) fn stream_begin(&mut self, stream: u32) -> Result<(), ProtocolError> {
        self.message(&UserControl::StreamBegin(stream).to_message())
    }

    /// `onStatus`. FFmpeg prints the description of an error, OBS shows a text for the code.
    pub(crate) fn status(
        &mut self,
        stream: u32,
        level: &str,
        code: &str,
        description: &str,
    ) -> Result<(), ProtocolError> {
        let information =
            object(vec![("level", text(level)), ("code", text(code)), ("description", text(description))]);
        self.command(stream, "onStatus", 0.0, vec![Amf0Value::Null, information])
    }
}

fn text(text: &str) -> Amf0Value {
    Amf0Value::String(text.to_owned())
}

fn object(properties: Vec<(&str, Amf0Value)>) -> Amf0Value {
    Amf0Value::Object(properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn reply_error(error: RtmpError) -> ProtocolError {
    ProtocolError::Reply(error.to_string())
}
