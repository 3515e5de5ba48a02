//! The box structure of a stream: where boxes begin and end, in whatever pieces they come.

use super::super::SliceError;

/// Tables (`moov`, `moof` and what is beside them) are small; a larger one is none.
pub(super) const MAX_TABLE: u64 = 1 << 20;

const SHORT_HEADER: usize = 8;
const LONG_HEADER: usize = 16;

/// A four-character code.
pub(super) type Kind = [u8; 4];

/// A box header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// Of the whole box.
    pub(super) size: u64,
    /// Where the box begins in the stream.
    pub(super) at: u64,
}

#[derive(Debug)]
enum State {
    Header {
        bytes: [u8; LONG_HEADER],
        have: usize,
    },
    /// Within a box; its bytes are collected if they are to be read.
    Body {
        header: Header,
        left: u64,
        bytes: Option<Vec<u8>>,
    },
}

/// Follows the boxes of a stream.
#[derive(Debug)]
pub(super) struct BoxReader {
    state: State,
    /// Stream offset of the next byte.
    at: u64,
    max_mdat: u64,
}

/// What was found.
#[derive(Debug)]
pub(super) enum Found {
    Begins(Header),
    /// The whole box's bytes are given if it is a `moov` or `moof`.
    Ends(Header, Option<Vec<u8>>),
}

impl BoxReader {
    pub(super) fn new(max_mdat: usize) -> Self {
        Self { state: header(), at: 0, max_mdat: max_mdat as u64 }
    }

    /// Takes from the front of `bytes` up to the next begin or end of a box; `None` when they are used up.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Found>, SliceError> {
        match &mut self.state {
            State::Header { bytes: buffer, have } => {
                while !bytes.is_empty() {
                    let wanted = if *have >= SHORT_HEADER { LONG_HEADER } else { SHORT_HEADER };
                    let taken = (wanted - *have).min(bytes.len());
                    buffer[*have..*have + taken].copy_from_slice(&bytes[..taken]);
                    *have += taken;
                    self.at += taken as u64;
                    *bytes = &bytes[taken..];
                    let long = buffer[..4] == [0, 0, 0, 1];
                    if *have == wanted && (wanted == LONG_HEADER || !long) {
                        let head = buffer[..*have].to_vec();
                        return self.begin(&head).map(Some);
                    }
                }
                Ok(None)
            }
            State::Body { header: found, left, bytes: body } => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                if let Some(body) = body {
                    body.extend_from_slice(&bytes[..taken]);
                }
                *left -= taken as u64;
                self.at += taken as u64;
                *bytes = &bytes[taken..];
                if *left > 0 {
                    return Ok(None);
                }
                let ends = Found::Ends(*found, body.take());
                self.state = header();
                Ok(Some(ends))
            }
        }
    }

    fn begin(&mut self, head: &[u8]) -> Result<Found, SliceError> {
        let at = self.at - head.len() as u64;
        let malformed = |what| SliceError::Malformed { what, offset: at };
        let (size, rest) = head.split_first_chunk().ok_or(malformed("a torn box header"))?;
        let (kind, rest) = rest.split_first_chunk::<4>().ok_or(malformed("a torn box header"))?;
        let size = rest.first_chunk().map_or(u64::from(u32::from_be_bytes(*size)), |size| u64::from_be_bytes(*size));
        if !kind.iter().all(|byte| (0x20..0x7f).contains(byte)) {
            return Err(malformed("a box without a name"));
        }
        // Size 0, "to the end of the file", has no place in a stream that goes on.
        let left = size.checked_sub(head.len() as u64).ok_or(malformed("a box smaller than its header"))?;
        let limit = if kind == b"mdat" { self.max_mdat } else { MAX_TABLE };
        if size > limit {
            let kind = String::from_utf8_lossy(kind).into_owned();
            return Err(SliceError::BoxTooLarge { kind, size, limit, offset: at });
        }
        let header = Header { kind: *kind, size, at };
        let bytes = matches!(kind, b"moov" | b"moof").then(|| head.to_vec());
        self.state = State::Body { header, left, bytes };
        Ok(Found::Begins(header))
    }
}

fn header() -> State {
    State::Header { bytes: [0; LONG_HEADER], have: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(stream: &[u8], piece: usize) -> Result<Vec<(Kind, u64, u64)>, SliceError> {
        let mut reader = BoxReader::new(1 << 30);
        let mut boxes = Vec::new();
        for mut bytes in stream.chunks(piece) {
            while let Some(found) = reader.next(&mut bytes)? {
                if let Found::Ends(header, body) = found {
                    assert_eq!(body.map(|b| b.len() as u64), (&header.kind == b"moof").then_some(header.size));
                    boxes.push((header.kind, header.at, header.size));
                }
            }
        }
        Ok(boxes)
    }

    #[test]
    fn boxes_are_found_however_the_stream_is_torn() {
        let mut stream = b"\0\0\0\x08free\0\0\0\x0cmoof1234".to_vec();
        stream.extend(b"\0\0\0\x01mdat\0\0\0\0\0\0\0\x13abc\0\0\0\x08styp");
        let expected = vec![(*b"free", 0, 8), (*b"moof", 8, 12), (*b"mdat", 20, 19), (*b"styp", 39, 8)];
        for piece in 1..=stream.len() {
            assert_eq!(walk(&stream, piece).unwrap(), expected, "{piece}");
        }
    }

    #[test]
    fn impossible_boxes_are_refused() {
        for (stream, what) in [
            (&b"\0\0\0\x07free"[..], "smaller"),
            (b"\0\0\0\0mdat", "smaller"),
            (b"\0\0\0\x08\x01\x02\x03\x04", "name"),
            (b"\x7f\0\0\0free", "more than"),
            (b"\0\0\0\x01mdat\xff\xff\xff\xff\xff\xff\xff\xff", "more than"),
        ] {
            let error = walk(stream, 3).unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
        }
    }
}
