//! Tags out of bytes and bytes out of tags.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{FlvTag, TagKind};

/// Size of an FLV file header, and of a tag header.
const FILE_HEADER: usize = 9;
const TAG_HEADER: usize = 11;
const PREVIOUS_TAG_SIZE: usize = 4;

/// The largest body [`FlvReader`] takes: FLV's 24-bit size allows 16 MiB, no live frame comes near half of it.
pub const MAX_TAG_BODY: usize = 8 * 1024 * 1024;

/// Bytes that are no FLV, or more of it than is reasonable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlvError {
    /// The first bytes are no FLV file header.
    #[error("not FLV: the stream starts with {found:02x?} instead of \"FLV\" version 1")]
    Signature {
        /// The bytes found.
        found: [u8; 4],
    },
    /// The header says the first tag is further away than any writer puts it.
    #[error("FLV header of {size} bytes")]
    HeaderSize {
        /// The declared `DataOffset`.
        size: u32,
    },
    /// A tag type that FLV does not know: the reader has lost its place.
    #[error("FLV tag of unknown type {id} at byte {position}")]
    TagType {
        /// The type found.
        id: u8,
        /// Where in the stream, in bytes.
        position: u64,
    },
    /// A tag larger than [`MAX_TAG_BODY`].
    #[error("FLV tag of {size} bytes at byte {position}: more than {MAX_TAG_BODY}")]
    TagSize {
        /// The declared size of the body.
        size: usize,
        /// Where in the stream, in bytes.
        position: u64,
    },
}

/// Cuts an FLV byte stream into tags. Holds at most one unfinished tag.
///
/// ```
/// use rtmp::flv::{FlvReader, FlvTag, FlvWriter, TagKind};
/// let tag = FlvTag { kind: TagKind::Script, timestamp: 7, body: bytes::Bytes::from_static(b"abc") };
/// let mut reader = FlvReader::new();
/// reader.push(&FlvWriter::new(true, true).write(&tag));
/// assert_eq!(reader.poll(), Ok(Some(tag)));
/// assert_eq!(reader.poll(), Ok(None));
/// ```
#[derive(Debug, Default)]
pub struct FlvReader {
    buffer: BytesMut,
    position: u64,
    in_tags: bool,
}

impl FlvReader {
    /// A reader at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes as they came. Call [`poll`](Self::poll) until it gives `None` before pushing more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole tag, or `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`FlvError`] when the bytes are no FLV. The reader has then lost its place and must be dropped.
    pub fn poll(&mut self) -> Result<Option<FlvTag>, FlvError> {
        if !self.in_tags && !self.read_file_header()? {
            return Ok(None);
        }
        if self.buffer.len() < TAG_HEADER {
            return Ok(None);
        }
        let header = &self.buffer[..TAG_HEADER];
        // The upper bits of the type byte are flags (filter, reserved).
        let id = header[0] & 0x1f;
        let Some(kind) = TagKind::from_id(id) else {
            return Err(FlvError::TagType { id, position: self.position });
        };
        let size = u24(&header[1..4]) as usize;
        if size > MAX_TAG_BODY {
            return Err(FlvError::TagSize { size, position: self.position });
        }
        let timestamp = u24(&header[4..7]) | u32::from(header[7]) << 24;
        let whole = TAG_HEADER + size + PREVIOUS_TAG_SIZE;
        if self.buffer.len() < whole {
            self.buffer.reserve(whole - self.buffer.len());
            return Ok(None);
        }
        let mut tag = self.buffer.split_to(whole);
        self.position += whole as u64;
        tag.advance(TAG_HEADER);
        tag.truncate(size);
        Ok(Some(FlvTag { kind, timestamp, body: tag.freeze() }))
    }

    fn read_file_header(&mut self) -> Result<bool, FlvError> {
        if self.buffer.len() < FILE_HEADER + PREVIOUS_TAG_SIZE {
            return Ok(false);
        }
        if &self.buffer[..4] != b"FLV\x01" {
            let found = [self.buffer[0], self.buffer[1], self.buffer[2], self.buffer[3]];
            return Err(FlvError::Signature { found });
        }
        let size = u32::from_be_bytes([self.buffer[5], self.buffer[6], self.buffer[7], self.buffer[8]]);
        if size as usize != FILE_HEADER {
            return Err(FlvError::HeaderSize { size });
        }
        self.buffer.advance(FILE_HEADER + PREVIOUS_TAG_SIZE);
        self.position += (FILE_HEADER + PREVIOUS_TAG_SIZE) as u64;
        self.in_tags = true;
        Ok(true)
    }
}

/// Writes tags as an FLV byte stream, the file header before the first.
#[derive(Debug)]
pub struct FlvWriter {
    header: Option<(bool, bool)>,
}

impl FlvWriter {
    /// A writer whose header announces `has_audio` and `has_video`.
    ///
    /// FFmpeg's demuxer makes a stream for each announced track at once, so do not announce what will not come.
    #[must_use]
    pub fn new(has_audio: bool, has_video: bool) -> Self {
        Self { header: Some((has_audio, has_video)) }
    }

    /// The bytes of a tag, after those of the file header the first time.
    pub fn write(&mut self, tag: &FlvTag) -> Bytes {
        let mut out = BytesMut::with_capacity(FILE_HEADER + PREVIOUS_TAG_SIZE + TAG_HEADER + tag.body.len() + 4);
        if let Some((has_audio, has_video)) = self.header.take() {
            write_header(&mut out, has_audio, has_video);
        }
        write_tag(&mut out, tag);
        out.freeze()
    }
}

/// Appends the FLV file header and the first `PreviousTagSize`.
pub fn write_header(out: &mut BytesMut, has_audio: bool, has_video: bool) {
    out.put_slice(b"FLV\x01");
    out.put_u8(u8::from(has_audio) << 2 | u8::from(has_video));
    out.put_u32(FILE_HEADER as u32);
    out.put_u32(0);
}

/// Appends one tag and its `PreviousTagSize`. A body beyond FLV's 24-bit size (16 MiB) is cut.
pub fn write_tag(out: &mut BytesMut, tag: &FlvTag) {
    let size = tag.body.len().min(0xff_ffff);
    out.reserve(TAG_HEADER + size + PREVIOUS_TAG_SIZE);
    out.put_u8(tag.kind.id());
    out.put_uint(size as u64, 3);
    out.put_uint(u64::from(tag.timestamp & 0xff_ffff), 3);
    out.put_u8((tag.timestamp >> 24) as u8);
    out.put_uint(0, 3);
    out.put_slice(&tag.body[..size]);
    out.put_u32((TAG_HEADER + size) as u32);
}

fn u24(bytes: &[u8]) -> u32 {
    u32::from(bytes[0]) << 16 | u32::from(bytes[1]) << 8 | u32::from(bytes[2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tag(kind: TagKind, timestamp: u32, body: Vec<u8>) -> FlvTag {
        FlvTag { kind, timestamp, body: body.into() }
    }

    #[test]
    fn extended_timestamps_survive_the_round_trip() {
        for timestamp in [0, 0xff_ffff, 0x0100_0000, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
            let tag = tag(TagKind::Video, timestamp, vec![1, 2, 3]);
            let mut reader = FlvReader::new();
            reader.push(&FlvWriter::new(false, true).write(&tag));
            assert_eq!(reader.poll(), Ok(Some(tag)));
        }
    }

    #[test]
    fn an_oversized_tag_is_an_error_before_its_bytes_come() {
        let mut reader = FlvReader::new();
        let mut bytes = BytesMut::new();
        write_header(&mut bytes, true, true);
        bytes.put_slice(&[9, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0]);
        reader.push(&bytes);
        assert_eq!(reader.poll(), Err(FlvError::TagSize { size: 0xff_ffff, position: 13 }));
    }

    #[test]
    fn what_is_not_flv_is_named() {
        let mut reader = FlvReader::new();
        reader.push(&[0x47; 188]);
        assert_eq!(reader.poll(), Err(FlvError::Signature { found: [0x47; 4] }));
    }

    proptest! {
        #[test]
        fn tags_come_out_alike_however_the_bytes_are_cut(
            tags in prop::collection::vec((0usize..3, any::<u32>(), prop::collection::vec(any::<u8>(), 0..300)), 1..8),
            cut in 1usize..64,
        ) {
            let tags: Vec<_> = tags
                .into_iter()
                .map(|(kind, time, body)| tag([TagKind::Audio, TagKind::Video, TagKind::Script][kind], time, body))
                .collect();
            let mut writer = FlvWriter::new(true, true);
            let bytes: Vec<u8> = tags.iter().flat_map(|tag| writer.write(tag)).collect();
            let mut reader = FlvReader::new();
            let mut read = Vec::new();
            for piece in bytes.chunks(cut) {
                reader.push(piece);
                while let Some(tag) = reader.poll().unwrap() {
                    read.push(tag);
                }
            }
            prop_assert_eq!(read, tags);
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut reader = FlvReader::new();
            reader.push(b"FLV\x01\x05\0\0\0\x09\0\0\0\0");
            reader.push(&bytes);
            while let Ok(Some(_)) = reader.poll() {}
        }
    }
}
