//! The SPS of an HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, 8.3.3.1; ITU-T H.265, 7.3.2.2).

use super::bits::BitReader;
use super::{VideoCodec, VideoConfig};

const SPS: u8 = 33;

pub(super) fn parse(record: &[u8]) -> Option<VideoConfig> {
    let tier_and_profile = *record.get(1)?;
    let level = *record.get(12)?;
    let nal = find_sps(record)?;
    let rbsp = h264_reader::rbsp::decode_nal(nal).ok()?;
    // `decode_nal` drops one byte of header; HEVC has two.
    let mut reader = BitReader::new(rbsp.get(1..)?);
    let (width, height, interlaced) = read_sps(&mut reader)?;
    Some(VideoConfig {
        codec: VideoCodec::Hevc,
        width,
        height,
        frame_rate: None,
        fixed_frame_rate: false,
        interlaced,
        codec_string: codec_string(record)?,
        profile: tier_and_profile & 0x1f,
        level,
    })
}

fn find_sps(record: &[u8]) -> Option<&[u8]> {
    let arrays = *record.get(22)?;
    let mut at = 23;
    for _ in 0..arrays {
        let kind = record.get(at)? & 0x3f;
        let count = u16::from_be_bytes([*record.get(at + 1)?, *record.get(at + 2)?]);
        at += 3;
        for _ in 0..count {
            let size = usize::from(u16::from_be_bytes([*record.get(at)?, *record.get(at + 1)?]));
            let nal = record.get(at + 2..at + 2 + size)?;
            if kind == SPS {
                return Some(nal);
            }
            at += 2 + size;
        }
    }
    None
}

/// RFC 6381 as ISO/IEC 14496-15 annex E.3 has it for HEVC.
fn codec_string(record: &[u8]) -> Option<String> {
    let first = *record.get(1)?;
    let space = ["", "A", "B", "C"][usize::from(first >> 6)];
    let tier = if first & 0x20 != 0 { 'H' } else { 'L' };
    let compatibility = u32::from_be_bytes(record.get(2..6)?.try_into().ok()?).reverse_bits();
    let mut text = format!("hvc1.{space}{}.{compatibility:X}.{tier}{}", first & 0x1f, record.get(12)?);
    let constraints = record.get(6..12)?;
    let used = constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    for byte in &constraints[..used] {
        text.push_str(&format!(".{byte:X}"));
    }
    Some(text)
}

/// Width, height, and whether the general profile says that the source is interlaced only.
fn read_sps(reader: &mut BitReader<'_>) -> Option<(u32, u32, bool)> {
    reader.skip(4)?;
    let sub_layers = reader.bits(3)?;
    reader.skip(1)?;
    let interlaced = read_profile_tier_level(reader, sub_layers)?;
    reader.unsigned_golomb()?;
    let chroma = reader.unsigned_golomb()?;
    if chroma == 3 {
        reader.skip(1)?;
    }
    let width = reader.unsigned_golomb()?;
    let height = reader.unsigned_golomb()?;
    let (mut crop_width, mut crop_height) = (0u32, 0u32);
    if reader.bit()? {
        let (unit_x, unit_y) = match chroma {
            1 => (2, 2),
            2 => (2, 1),
            _ => (1, 1),
        };
        let left = reader.unsigned_golomb()?;
        let right = reader.unsigned_golomb()?;
        let top = reader.unsigned_golomb()?;
        let bottom = reader.unsigned_golomb()?;
        crop_width = left.checked_add(right)?.checked_mul(unit_x)?;
        crop_height = top.checked_add(bottom)?.checked_mul(unit_y)?;
    }
    Some((width.checked_sub(crop_width)?, height.checked_sub(crop_height)?, interlaced))
}

fn read_profile_tier_level(reader: &mut BitReader<'_>, sub_layers: u32) -> Option<bool> {
    reader.skip(8 + 32)?;
    let progressive = reader.bit()?;
    let interlaced = reader.bit()?;
    reader.skip(46 + 8)?;
    if sub_layers > 0 {
        let mut present = Vec::with_capacity(8);
        for index in 0..8 {
            let flags = (reader.bit()?, reader.bit()?);
            if index < sub_layers {
                present.push(flags);
            }
        }
        for (profile, level) in present {
            reader.skip(if profile { 88 } else { 0 } + if level { 8 } else { 0 })?;
        }
    }
    Some(interlaced && !progressive)
}
