//! HEVC sequence parameter sets (ITU-T H.265, 7.3.2.2) and the codec string made of their first bytes.

use super::VideoTrack;
use super::bits::Bits;

const SPS: u8 = 33;

/// The first sequence parameter set (with its NAL header) in an Annex B byte stream; see [`super::h264::find_sps`].
pub(crate) fn find_sps(annex_b: &[u8], whole: bool) -> Option<&[u8]> {
    super::h264::find_nal(annex_b, whole, |header| header >> 1 & 0x3f == SPS)
}

/// The general part of profile, tier and level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProfileTierLevel {
    pub(crate) profile_space: u8,
    pub(crate) tier: bool,
    pub(crate) profile: u8,
    pub(crate) compatibility: u32,
    pub(crate) constraints: [u8; 6],
    pub(crate) level: u8,
}

impl ProfileTierLevel {
    /// RFC 6381 as ISO/IEC 14496-15, annex E.3, has it: `hvc1.1.6.L93.90`.
    pub(crate) fn codec(&self, sample_entry: &str) -> String {
        let space = ["", "A", "B", "C"][usize::from(self.profile_space & 3)];
        let tier = if self.tier { 'H' } else { 'L' };
        let flags = self.compatibility.reverse_bits();
        let mut codec = format!("{sample_entry}.{space}{}.{flags:x}.{tier}{}", self.profile, self.level);
        let used = self.constraints.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
        for byte in &self.constraints[..used] {
            codec.push_str(&format!(".{byte:x}"));
        }
        codec
    }
}

/// What a sequence parameter set says. HLS wants `hvc1`, also where a transport stream carries the sets in band.
pub(crate) fn describe(sps: &[u8]) -> Option<VideoTrack> {
    let mut bits = Bits::new(sps);
    bits.skip(16 + 4);
    let sub_layers = bits.read(3)?;
    bits.skip(1);
    let general = profile_tier_level(&mut bits, sub_layers)?;
    bits.ue()?;
    let chroma = bits.ue()?;
    if chroma == 3 {
        bits.skip(1);
    }
    let (width, height) = (bits.ue()?, bits.ue()?);
    let mut crop = [0; 4];
    if bits.read(1)? == 1 {
        for side in &mut crop {
            *side = bits.ue()?;
        }
    }
    // Cropping is counted in chroma samples.
    let (unit_x, unit_y) = (if matches!(chroma, 1 | 2) { 2 } else { 1 }, if chroma == 1 { 2 } else { 1 });
    let cropped = |size: u32, unit: u32, a: u32, b: u32| size.checked_sub(a.checked_add(b)?.checked_mul(unit)?);
    let width = cropped(width, unit_x, crop[0], crop[1])?;
    let height = cropped(height, unit_y, crop[2], crop[3])?;
    let plausible = (1..=16_384).contains(&width) && (1..=16_384).contains(&height);
    plausible.then(|| VideoTrack { codec: general.codec("hvc1"), width, height, frame_rate: None })
}

fn profile_tier_level(bits: &mut Bits, sub_layers: u32) -> Option<ProfileTierLevel> {
    let profile_space = bits.read(2)? as u8;
    let tier = bits.read(1)? == 1;
    let profile = bits.read(5)? as u8;
    let compatibility = bits.read(32)?;
    let mut constraints = [0; 6];
    for byte in &mut constraints {
        *byte = bits.read(8)? as u8;
    }
    let level = bits.read(8)? as u8;
    let mut present = Vec::new();
    for _ in 0..sub_layers {
        present.push((bits.read(1)?, bits.read(1)?));
    }
    if sub_layers > 0 {
        bits.skip(2 * (8 - sub_layers as usize));
    }
    for (profile, level) in present {
        bits.skip(88 * profile as usize + 8 * level as usize);
    }
    Some(ProfileTierLevel { profile_space, tier, profile, compatibility, constraints, level })
}

#[cfg(test)]
mod tests {
    use super::*;

    // x265, 1280x720, main, level 3.1.
    const SPS_720P: [u8; 43] = [
        0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x5d,
        0xa0, 0x02, 0x80, 0x80, 0x2d, 0x16, 0x59, 0x59, 0xa4, 0x93, 0x2b, 0xc0, 0x5a, 0x70, 0x80, 0x00, 0x01, 0xf4,
        0x80, 0x00, 0x3a, 0x98, 0x04, 0x00, 0x00,
    ];

    #[test]
    fn the_codec_string_says_profile_compatibility_tier_level_and_constraints() {
        let track = describe(&SPS_720P).unwrap();
        assert_eq!((track.codec.as_str(), track.width, track.height), ("hvc1.1.6.L93.90", 1280, 720));
    }

    #[test]
    fn torn_parameter_sets_are_none() {
        for length in 0..24 {
            assert_eq!(describe(&SPS_720P[..length]), None, "{length}");
        }
    }
}
