//! What the video sequence header says of the picture.

use h264_reader::avcc::AvcDecoderConfigurationRecord;
use h264_reader::nal::sps::{FrameMbsFlags, SeqParameterSet};
use h264_reader::rbsp::BitReader as RbspReader;

use super::bits::BitReader;
use super::sps_hevc;
use super::{VideoCodec, VideoHeader};

/// The largest side of a picture that is believed: twice 8K.
const MAX_SIDE: u32 = 16_384;

/// A video configuration that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VideoConfigError {
    /// The tag is no sequence header of a codec whose configuration is read here.
    #[error("no video configuration of {codec} is read")]
    Codec {
        /// The codec.
        codec: VideoCodec,
    },
    /// The configuration is broken.
    #[error("broken {codec} configuration: {reason}")]
    Broken {
        /// The codec.
        codec: VideoCodec,
        /// What is wrong with it.
        reason: String,
    },
}

/// What a video sequence header says.
#[derive(Debug, Clone, PartialEq)]
pub struct VideoConfig {
    /// The codec.
    pub codec: VideoCodec,
    /// Picture width in pixels, after cropping.
    pub width: u32,
    /// Picture height in pixels, after cropping.
    pub height: u32,
    /// Frames a second by the timing information, where there is some. A hint: many encoders leave a default in it.
    pub frame_rate: Option<f64>,
    /// Whether the timing information promises a constant rate.
    pub fixed_frame_rate: bool,
    /// Whether pictures may be fields (H.264 without `frame_mbs_only_flag`; HEVC and AV1 that say so).
    pub interlaced: bool,
    /// The codec string of RFC 6381, e.g. `avc1.64002A`.
    pub codec_string: String,
    /// The profile number of the codec.
    pub profile: u8,
    /// The level number of the codec.
    pub level: u8,
}

impl VideoConfig {
    /// Reads the body of a video tag whose header says [`SequenceHeader`](super::PacketKind::SequenceHeader).
    ///
    /// # Errors
    /// [`VideoConfigError::Codec`] for codecs other than H.264, HEVC and AV1; [`VideoConfigError::Broken`].
    pub fn parse(header: &VideoHeader, body: &[u8]) -> Result<Self, VideoConfigError> {
        let record = body.get(header.payload..).unwrap_or_default();
        let config = match header.codec {
            VideoCodec::Avc => avc(record),
            VideoCodec::Hevc => sps_hevc::parse(record).ok_or_else(|| "no readable SPS".to_owned()),
            VideoCodec::Av1 => av1(record).ok_or_else(|| "no readable sequence header".to_owned()),
            codec => return Err(VideoConfigError::Codec { codec }),
        };
        let broken = |reason| VideoConfigError::Broken { codec: header.codec, reason };
        let config = config.map_err(broken)?;
        if !(1..=MAX_SIDE).contains(&config.width) || !(1..=MAX_SIDE).contains(&config.height) {
            return Err(broken(format!("a picture of {}x{}", config.width, config.height)));
        }
        Ok(config)
    }
}

/// AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3.1).
fn avc(record: &[u8]) -> Result<VideoConfig, String> {
    let record = AvcDecoderConfigurationRecord::try_from(record).map_err(|error| format!("{error:?}"))?;
    let nal = record
        .sequence_parameter_sets()
        .next()
        .ok_or_else(|| "no SPS".to_owned())?
        .map_err(|error| format!("{error:?}"))?;
    let rbsp = h264_reader::rbsp::decode_nal(nal).map_err(|error| error.to_string())?;
    let sps = SeqParameterSet::from_bits(RbspReader::new(&rbsp[..])).map_err(|error| format!("{error:?}"))?;
    let (width, height) = sps.pixel_dimensions().map_err(|error| format!("{error:?}"))?;
    let timing = sps.vui_parameters.as_ref().and_then(|vui| vui.timing_info.as_ref());
    let frame_rate = timing
        .filter(|timing| timing.num_units_in_tick > 0 && timing.time_scale > 0)
        .map(|timing| f64::from(timing.time_scale) / (2.0 * f64::from(timing.num_units_in_tick)))
        .filter(|rate| (0.5..=1000.0).contains(rate));
    let profile = sps.profile_idc.into();
    Ok(VideoConfig {
        codec: VideoCodec::Avc,
        width,
        height,
        frame_rate,
        fixed_frame_rate: timing.is_some_and(|timing| timing.fixed_frame_rate_flag),
        interlaced: !matches!(sps.frame_mbs_flags, FrameMbsFlags::Frames),
        codec_string: format!("avc1.{:02X}{:02X}{:02X}", profile, u8::from(sps.constraint_flags), sps.level_idc),
        profile,
        level: sps.level_idc,
    })
}

/// AV1CodecConfigurationRecord ("AV1 in ISOBMFF", 2.3) and the sequence header OBU in it.
fn av1(record: &[u8]) -> Option<VideoConfig> {
    let mut obus = record.get(4..)?;
    while let Some(first) = obus.first() {
        let kind = first >> 3 & 0x0f;
        let mut at = if first & 0x04 != 0 { 2 } else { 1 };
        let mut size = obus.len().checked_sub(at)?;
        if first & 0x02 != 0 {
            size = 0;
            for shift in 0..4 {
                let byte = *obus.get(at)?;
                at += 1;
                size |= usize::from(byte & 0x7f) << (7 * shift);
                if byte & 0x80 == 0 {
                    break;
                }
            }
        }
        let body = obus.get(at..at + size)?;
        if kind == 1 {
            return av1_sequence(&mut BitReader::new(body));
        }
        obus = &obus[at + size..];
    }
    None
}

/// sequence_header_obu (AV1 bitstream specification, 5.5.1), as far as the picture's size.
fn av1_sequence(reader: &mut BitReader<'_>) -> Option<VideoConfig> {
    let profile = reader.bits(3)? as u8;
    reader.skip(1)?;
    let mut level = 0;
    let mut tier = 0;
    let mut frame_rate = None;
    let mut fixed = false;
    if reader.bit()? {
        level = reader.bits(5)? as u8;
    } else {
        let mut decoder_model = None;
        if reader.bit()? {
            let units = reader.bits(32)?;
            let scale = reader.bits(32)?;
            fixed = reader.bit()?;
            let ticks = if fixed { reader.unsigned_golomb()?.checked_add(1)? } else { 1 };
            if fixed && units > 0 && scale > 0 {
                frame_rate = Some(f64::from(scale) / (f64::from(units) * f64::from(ticks)));
            }
            if reader.bit()? {
                decoder_model = Some(reader.bits(5)? + 1);
                reader.skip(32 + 5 + 5)?;
            }
        }
        let display_delay = reader.bit()?;
        for point in 0..=reader.bits(5)? {
            reader.skip(12)?;
            let point_level = reader.bits(5)? as u8;
            let point_tier = if point_level > 7 { reader.bits(1)? as u8 } else { 0 };
            if point == 0 {
                (level, tier) = (point_level, point_tier);
            }
            if let Some(size) = decoder_model
                && reader.bit()?
            {
                reader.skip(2 * size as usize + 1)?;
            }
            if display_delay && reader.bit()? {
                reader.skip(4)?;
            }
        }
    }
    let width_bits = reader.bits(4)? + 1;
    let height_bits = reader.bits(4)? + 1;
    let width = reader.bits(width_bits)? + 1;
    let height = reader.bits(height_bits)? + 1;
    Some(VideoConfig {
        codec: VideoCodec::Av1,
        width,
        height,
        frame_rate: frame_rate.filter(|rate| (0.5..=1000.0).contains(rate)),
        fixed_frame_rate: fixed,
        interlaced: false,
        codec_string: format!("av01.{profile}.{level:02}{}.08", if tier == 1 { 'H' } else { 'M' }),
        profile,
        level,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(body: &[u8]) -> Result<VideoConfig, VideoConfigError> {
        VideoConfig::parse(&VideoHeader::parse(body).unwrap(), body)
    }

    #[test]
    fn a_1080p_sps_is_cropped_from_1088_lines() {
        let config = parse(&hex(
            "17 00 000000 0142c028ffe10019 6742c028da01e0089f970110000003001000000303c0f1832a 01000468ce0fc8",
        ))
        .unwrap();
        assert_eq!((config.width, config.height), (1920, 1080));
        assert_eq!(config.frame_rate, Some(30.0));
        assert_eq!(config.codec_string, "avc1.42C028");
        assert!(!config.interlaced);
    }

    #[test]
    fn an_interlaced_sps_says_so() {
        let config = parse(&hex(
            "17 00 000000 014d4028ffe10019 674d4028f403c0227ef011000003000100000300321f162ea0 01000468de0fc8",
        ))
        .unwrap();
        assert_eq!((config.width, config.height, config.frame_rate), (1920, 1080, Some(25.0)));
        assert!(config.interlaced);
    }

    #[test]
    fn an_hevc_sps_gives_its_size_after_cropping() {
        let config = parse(&hex("90 68766331 0101600000009000000000005df000fcfdf8f800000f02
             2000010018 40010c01ffff01600000030090000003000003005d959409
             210001002b 42010101600000030090000003000003005da00280802e1f11965654a4c2f0168080000003008000000f04"))
        .unwrap();
        assert_eq!((config.width, config.height), (1280, 722));
        assert_eq!(config.codec_string, "hvc1.1.6.L93.90");
    }

    #[test]
    fn an_av1_record_gives_its_size() {
        let config = parse(&hex("90 61763031 81050c000a0b0000002d4cffb3c02f8004")).unwrap();
        assert_eq!((config.width, config.height), (1280, 720));
        assert_eq!(config.codec_string, "av01.0.05M.08");
    }

    #[test]
    fn a_broken_record_is_an_error() {
        assert!(matches!(parse(&[0x17, 0, 0, 0, 0, 1, 0x64]), Err(VideoConfigError::Broken { .. })));
        assert!(matches!(parse(b"\x90vp09\0\0"), Err(VideoConfigError::Codec { .. })));
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    proptest! {
        #[test]
        fn random_records_never_panic(kind in 0usize..4, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let head: &[u8] = [&b"\x17\0\0\0\0\x01\x64\0\x28\xff\xe1\0\x40\x67"[..], b"\x90hvc1", b"\x90av01\x81\0\0\0", b"\x17\0\0\0\0"][kind];
            let body = [head, &bytes].concat();
            if let Some(header) = VideoHeader::parse(&body) {
                let _ = VideoConfig::parse(&header, &body);
            }
        }
    }
}
