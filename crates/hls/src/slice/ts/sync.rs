//! Finding packets in a byte stream, in whatever pieces it comes.

use super::packet::{LENGTH, SYNC};

/// Where packets begin.
#[derive(Debug)]
pub(super) enum Framing {
    /// At the next byte, or `have` bytes ago: those are in `torn`.
    Synced { torn: Box<[u8; LENGTH]>, have: usize },
    /// Unknown. The bytes since a sync byte that may begin a packet; it does if the byte after 188 is one too.
    Lost { candidate: Vec<u8> },
}

/// What the next bytes are.
pub(super) enum Found<'a> {
    /// A packet; it ends after that many of the bytes.
    Packet { bytes: &'a [u8; LENGTH], used: usize },
    /// A packet found again after lost sync; it ends before the byte at `used`, and is not in one piece.
    Again { bytes: [u8; LENGTH], used: usize },
    /// The byte at that index should begin a packet and does not.
    Lost(usize),
    /// More bytes are needed.
    Nothing,
}

impl Framing {
    pub(super) fn new() -> Self {
        Self::Synced { torn: Box::new([0; LENGTH]), have: 0 }
    }

    /// Bytes of a packet that has not ended.
    pub(super) fn torn(&self) -> usize {
        match self {
            Self::Synced { have, .. } => *have,
            Self::Lost { .. } => 0,
        }
    }

    pub(super) fn is_lost(&self) -> bool {
        matches!(self, Self::Lost { .. })
    }

    /// Looks at what has come since the last call. After `Lost` the caller calls again with the bytes from there.
    pub(super) fn next<'a>(&'a mut self, bytes: &'a [u8]) -> Found<'a> {
        if self.is_lost() { self.search(bytes) } else { self.continue_with(bytes) }
    }

    fn continue_with<'a>(&'a mut self, bytes: &'a [u8]) -> Found<'a> {
        let Some(&first) = bytes.first() else { return Found::Nothing };
        if self.torn() == 0 && first != SYNC {
            *self = Self::Lost { candidate: Vec::new() };
            return Found::Lost(0);
        }
        let Self::Synced { torn, have } = self else { return Found::Nothing };
        if let (0, Some(bytes)) = (*have, bytes.first_chunk()) {
            return Found::Packet { bytes, used: LENGTH };
        }
        let used = (LENGTH - *have).min(bytes.len());
        torn[*have..*have + used].copy_from_slice(&bytes[..used]);
        *have += used;
        if *have < LENGTH {
            return Found::Nothing;
        }
        *have = 0;
        Found::Packet { bytes: torn, used }
    }

    fn search(&mut self, bytes: &[u8]) -> Found<'static> {
        let Self::Lost { candidate } = self else { return Found::Nothing };
        for (index, &byte) in bytes.iter().enumerate() {
            if candidate.is_empty() && byte != SYNC {
                continue;
            }
            if let (SYNC, Some(packet)) = (byte, candidate.first_chunk::<LENGTH>()) {
                let bytes = *packet;
                *self = Self::new();
                return Found::Again { bytes, used: index };
            }
            candidate.push(byte);
            if candidate.len() > LENGTH {
                let next = candidate.iter().skip(1).position(|&b| b == SYNC);
                candidate.drain(..next.map_or(candidate.len(), |next| next + 1));
            }
        }
        Found::Nothing
    }
}
