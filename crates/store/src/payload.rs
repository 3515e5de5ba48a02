//! The bytes of an object: a rope of shared slices, so that what came from a pipe reaches the socket uncopied.

use std::fmt;
use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

/// Immutable bytes in one or more pieces. Cloning copies no bytes.
#[derive(Clone, Default)]
pub struct Payload {
    chunks: Arc<[Bytes]>,
    len: usize,
}

impl Payload {
    /// Length of all chunks together, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is not a single byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces, in order.
    #[must_use]
    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    /// All bytes in one piece. Copies only if there is more than one chunk.
    #[must_use]
    pub fn contiguous(&self) -> Bytes {
        match &*self.chunks {
            [] => Bytes::new(),
            [one] => one.clone(),
            many => {
                let mut whole = BytesMut::with_capacity(self.len);
                many.iter().for_each(|chunk| whole.extend_from_slice(chunk));
                whole.freeze()
            }
        }
    }

    /// The bytes of `range`, sharing the memory of this payload. The end is clamped to the length.
    #[must_use]
    pub fn slice(&self, range: Range<u64>) -> Self {
        let wanted = to_usize(range.start)..to_usize(range.end).min(self.len);
        let mut chunks = Vec::new();
        let mut at = 0;
        for chunk in &*self.chunks {
            let (start, end) = (wanted.start.max(at), wanted.end.min(at + chunk.len()));
            if start < end {
                chunks.push(chunk.slice(start - at..end - at));
            }
            at += chunk.len();
        }
        chunks.into()
    }

    /// The pieces as the operating system's vectored write wants them.
    #[must_use]
    pub fn io_slices(&self) -> Vec<IoSlice<'_>> {
        self.chunks.iter().map(|chunk| IoSlice::new(chunk)).collect()
    }
}

fn to_usize(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

impl From<Vec<Bytes>> for Payload {
    fn from(chunks: Vec<Bytes>) -> Self {
        let len = chunks.iter().map(Bytes::len).sum();
        Self { chunks: chunks.into(), len }
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        let len = bytes.len();
        Self { chunks: Arc::new([bytes]), len }
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Payload {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl PartialEq for Payload {
    /// Equal bytes, however they are cut.
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len
            && self.chunks.iter().flat_map(|chunk| chunk.iter()).eq(other.chunks.iter().flat_map(|chunk| chunk.iter()))
    }
}

impl Eq for Payload {}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes in {} chunks)", self.len, self.chunks.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_chunk_is_contiguous_without_a_copy() {
        let bytes = Bytes::from(vec![1, 2, 3]);
        let payload = Payload::from(bytes.clone());
        assert_eq!(payload.contiguous().as_ptr(), bytes.as_ptr());
    }

    #[test]
    fn equality_ignores_how_the_bytes_are_cut() {
        let whole = Payload::from("abcdef");
        let cut = Payload::from(vec![Bytes::from("ab"), Bytes::new(), Bytes::from("cdef")]);
        assert_eq!(whole, cut);
        assert_ne!(whole, Payload::from("abcdeg"));
    }

    proptest! {
        #[test]
        fn a_slice_is_the_slice_of_the_whole(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 0..6),
            start in 0u64..40, length in 0u64..40,
        ) {
            let payload: Payload = chunks.iter().cloned().map(Bytes::from).collect::<Vec<_>>().into();
            let whole = payload.contiguous();
            let end = (start + length).min(whole.len() as u64);
            let expected = if start < end { whole.slice(start as usize..end as usize) } else { Bytes::new() };
            prop_assert_eq!(payload.slice(start..start + length).contiguous(), expected);
        }
    }
}
