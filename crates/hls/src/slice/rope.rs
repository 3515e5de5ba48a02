//! Bytes that have come and not gone yet, addressed by their offset in the stream.

use std::collections::VecDeque;

use bytes::Bytes;

/// Chunks of a stream in order. Nothing is copied: what is taken are slices of what was pushed.
#[derive(Debug, Default)]
pub(super) struct Rope {
    chunks: VecDeque<Bytes>,
    start: u64,
    end: u64,
}

impl Rope {
    /// Offset of the first byte.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        self.end += bytes.len() as u64;
        if !bytes.is_empty() {
            self.chunks.push_back(bytes);
        }
    }

    /// Takes everything before `offset`.
    pub(super) fn take_to(&mut self, offset: u64) -> Vec<Bytes> {
        let mut taken = Vec::new();
        while self.start < offset {
            let Some(mut chunk) = self.chunks.pop_front() else { break };
            let wanted = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
            if wanted < chunk.len() {
                let head = chunk.split_to(wanted);
                self.chunks.push_front(chunk);
                chunk = head;
            }
            self.start += chunk.len() as u64;
            taken.push(chunk);
        }
        taken
    }

    /// Drops everything before `offset`.
    pub(super) fn discard_to(&mut self, offset: u64) {
        drop(self.take_to(offset));
    }

    /// Drops everything from `offset` on; what comes next has that offset.
    pub(super) fn truncate(&mut self, offset: u64) {
        while self.end > offset.max(self.start) {
            let Some(mut chunk) = self.chunks.pop_back() else { break };
            let surplus = usize::try_from(self.end - offset.max(self.start)).unwrap_or(usize::MAX);
            self.end -= chunk.len() as u64;
            if surplus < chunk.len() {
                chunk.truncate(chunk.len() - surplus);
                self.push(chunk);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_taken_and_dropped_by_stream_offset() {
        let mut rope = Rope::default();
        rope.push(Bytes::from_static(b"abc"));
        rope.push(Bytes::new());
        rope.push(Bytes::from_static(b"defgh"));
        rope.discard_to(1);
        assert_eq!(rope.take_to(5).concat(), b"bcde");
        rope.truncate(7);
        assert_eq!((rope.start(), rope.end), (5, 7));
        rope.push(Bytes::from_static(b"H"));
        rope.truncate(2);
        assert_eq!((rope.start(), rope.end), (5, 5));
        assert!(rope.take_to(99).is_empty());
    }
}
