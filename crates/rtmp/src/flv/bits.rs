//! Bits, most significant first, as AAC and the parameter sets have them.

use bytes::{Bytes, BytesMut};

/// Reads bits. Past the end every read is `None`.
#[derive(Debug, Clone)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub(super) fn left(&self) -> usize {
        self.bytes.len() * 8 - self.position
    }

    pub(super) fn bit(&mut self) -> Option<bool> {
        let byte = *self.bytes.get(self.position / 8)?;
        let bit = byte >> (7 - self.position % 8) & 1;
        self.position += 1;
        Some(bit == 1)
    }

    /// Up to 32 bits.
    pub(super) fn bits(&mut self, count: u32) -> Option<u32> {
        let mut value = 0u32;
        for _ in 0..count {
            value = value << 1 | u32::from(self.bit()?);
        }
        Some(value)
    }

    pub(super) fn skip(&mut self, count: usize) -> Option<()> {
        if count > self.left() {
            return None;
        }
        self.position += count;
        Some(())
    }

    pub(super) fn align(&mut self) {
        self.position = (self.position.div_ceil(8) * 8).min(self.bytes.len() * 8);
    }

    /// An unsigned Exp-Golomb code, `ue(v)`.
    pub(super) fn unsigned_golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some(((1u32 << zeros) - 1) + self.bits(zeros)?)
    }
}

/// Writes bits.
#[derive(Debug, Default)]
pub(super) struct BitWriter {
    bytes: BytesMut,
    free: u32,
}

impl BitWriter {
    pub(super) fn put(&mut self, value: u32, count: u32) {
        for index in (0..count).rev() {
            if self.free == 0 {
                self.bytes.extend_from_slice(&[0]);
                self.free = 8;
            }
            self.free -= 1;
            let bit = (value >> index & 1) as u8;
            if let Some(last) = self.bytes.last_mut() {
                *last |= bit << self.free;
            }
        }
    }

    pub(super) fn finish(self) -> Bytes {
        self.bytes.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = BitWriter::default();
        writer.put(0b101, 3);
        writer.put(0x1ff, 9);
        writer.put(7, 4);
        let bytes = writer.finish();
        let mut reader = BitReader::new(&bytes);
        assert_eq!(reader.bits(3), Some(0b101));
        assert_eq!(reader.bits(9), Some(0x1ff));
        assert_eq!(reader.bits(4), Some(7));
        assert_eq!(reader.bit(), None);
    }

    #[test]
    fn exp_golomb_codes() {
        // 1, 010, 011, 00100 are 0, 1, 2, 3.
        let mut reader = BitReader::new(&[0b1010_0110, 0b0100_0000]);
        assert_eq!([(); 4].map(|()| reader.unsigned_golomb()), [Some(0), Some(1), Some(2), Some(3)]);
        assert_eq!(BitReader::new(&[0; 8]).unsigned_golomb(), None);
    }
}
