//! H.264 sequence parameter sets, as found in an Annex B byte stream or an `avcC` box.

use h264_reader::nal::sps::SeqParameterSet;
use h264_reader::rbsp::{BitReader, ByteReader};

use super::VideoTrack;

const SPS: u8 = 7;

/// The first sequence parameter set (with its NAL header) in an Annex B byte stream, or `None`. `whole` says that
/// the bytes are all there is: then it may end without a following start code.
pub(crate) fn find_sps(annex_b: &[u8], whole: bool) -> Option<&[u8]> {
    find_nal(annex_b, whole, |header| header & 0x1f == SPS)
}

/// The first NAL unit whose first byte is `wanted`.
pub(super) fn find_nal(annex_b: &[u8], whole: bool, wanted: impl Fn(u8) -> bool) -> Option<&[u8]> {
    let mut rest = annex_b;
    while let Some(at) = start_code(rest) {
        let nal = &rest[at + 3..];
        let end = start_code(nal);
        if nal.first().is_some_and(|&header| wanted(header)) {
            let end = end.or(whole.then_some(nal.len()))?;
            let trimmed = nal[..end].iter().rposition(|&b| b != 0)?;
            return Some(&nal[..=trimmed]);
        }
        rest = &nal[end?..];
    }
    None
}

fn start_code(bytes: &[u8]) -> Option<usize> {
    bytes.windows(3).position(|w| w == [0, 0, 1])
}

/// What a sequence parameter set says. The codec string is `avc1.` with the profile, constraint and level bytes.
pub(crate) fn describe(sps: &[u8]) -> Option<VideoTrack> {
    let [_, profile, constraints, level, ..] = *sps else { return None };
    let bits = BitReader::new(ByteReader::skipping_h264_header(sps));
    let parsed = SeqParameterSet::from_bits(bits).ok()?;
    let (width, height) = parsed.pixel_dimensions().ok()?;
    let frame_rate = parsed.fps().filter(|rate| rate.is_finite() && *rate > 0.0 && *rate <= 1000.0);
    Some(VideoTrack { codec: format!("avc1.{profile:02x}{constraints:02x}{level:02x}"), width, height, frame_rate })
}

#[cfg(test)]
mod tests {
    use super::*;

    // x264, 320x180 (cropped from 320x192), baseline 1.2, 30 frames a second.
    const SPS_320X180: [u8; 24] = [
        0x67, 0x42, 0xc0, 0x0c, 0xd9, 0x01, 0x41, 0x9f, 0x9e, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03,
        0x03, 0xc0, 0xf1, 0x42, 0x99, 0x20,
    ];

    #[test]
    fn the_codec_string_is_the_three_bytes_after_the_header() {
        let track = describe(&SPS_320X180);
        assert_eq!(track.as_ref().map(|t| t.codec.as_str()), Some("avc1.42c00c"));
    }

    #[test]
    fn an_sps_is_found_between_start_codes_and_not_before_its_end_is_known() {
        let mut stream = vec![0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1];
        stream.extend(SPS_320X180);
        assert_eq!(find_sps(&stream, false), None);
        assert_eq!(find_sps(&stream, true), Some(&SPS_320X180[..]));
        stream.extend([0, 0, 0, 1, 0x68]);
        assert_eq!(find_sps(&stream, false), Some(&SPS_320X180[..]));
        assert_eq!(find_sps(&[0, 0, 1], true), None);
    }

    #[test]
    fn hostile_parameter_sets_are_none() {
        for len in 0..SPS_320X180.len() - 2 {
            let _ = describe(&SPS_320X180[..len]);
        }
        assert_eq!(describe(&[0x67, 0xff, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
