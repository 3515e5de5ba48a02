//! Entry points of the fuzz targets; their corpus runs in a normal test through them. Not a public interface.

use bytes::BytesMut;

use crate::Limits;
use crate::flv::{AacConfig, AudioHeader, FlvReader, MetaData, TagKind, VideoConfig, VideoHeader};
use crate::session::{Event, Session};

/// Bytes after a good handshake, cut as the first byte says, through a session that accepts.
pub fn session(data: &[u8]) {
    let Some((cut, rest)) = data.split_first() else { return };
    let limits = Limits::default();
    let mut session = Session::new(&limits);
    let mut hello = BytesMut::zeroed(1 + 1536 + 1536);
    hello[0] = 3;
    assert!(matches!(session.poll(&mut hello), Ok(None)), "a good handshake");
    let mut input = BytesMut::new();
    for piece in rest.chunks(usize::from(*cut) * 16 + 1) {
        input.extend_from_slice(piece);
        loop {
            match session.poll(&mut input) {
                Ok(Some(Event::Publish(_))) => {
                    if session.accept().is_err() {
                        return;
                    }
                }
                Ok(Some(Event::Tag(tag))) => headers(tag.kind, &tag.body),
                Ok(Some(Event::End)) | Err(_) => return,
                Ok(None) => break,
            }
        }
        session.take_output();
    }
}

/// Bytes as an FLV file, every tag's headers read.
pub fn flv(data: &[u8]) {
    let mut reader = FlvReader::new();
    reader.push(data);
    while let Ok(Some(tag)) = reader.poll() {
        headers(tag.kind, &tag.body);
    }
}

fn headers(kind: TagKind, body: &[u8]) {
    match kind {
        TagKind::Video => {
            if let Some(header) = VideoHeader::parse(body) {
                let _ = VideoConfig::parse(&header, body);
            }
        }
        TagKind::Audio => {
            if let Some(header) = AudioHeader::parse(body) {
                let _ = AacConfig::parse(body.get(header.payload..).unwrap_or_default());
            }
        }
        TagKind::Script => drop(MetaData::parse(body)),
    }
}
