//! The header of a video tag, old (codec id) and enhanced (FourCC).

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use super::PacketKind;

/// A video codec as FLV names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// H.264: codec id 7 or FourCC `avc1`.
    Avc,
    /// H.265: FourCC `hvc1`, or codec id 12 as some encoders had it before the standard.
    Hevc,
    /// AV1: FourCC `av01`, or codec id 13 likewise.
    Av1,
    /// VP9: FourCC `vp09`.
    Vp9,
    /// VP8: FourCC `vp08`.
    Vp8,
    /// A codec id of the FLV of 2010 that nothing live uses any more: 2 H.263, 3 Screen, 4 and 5 VP6, 6 Screen 2.
    Legacy(u8),
    /// A FourCC unknown here.
    Other([u8; 4]),
}

impl VideoCodec {
    fn from_id(id: u8) -> Self {
        match id {
            7 => VideoCodec::Avc,
            12 => VideoCodec::Hevc,
            13 => VideoCodec::Av1,
            id => VideoCodec::Legacy(id),
        }
    }

    fn from_fourcc(fourcc: [u8; 4]) -> Self {
        match &fourcc {
            b"avc1" => VideoCodec::Avc,
            b"hvc1" => VideoCodec::Hevc,
            b"av01" => VideoCodec::Av1,
            b"vp09" => VideoCodec::Vp9,
            b"vp08" => VideoCodec::Vp8,
            _ => VideoCodec::Other(fourcc),
        }
    }

    /// Whether coded frames carry a composition time in a header without FourCC, or in `CodedFrames` with one.
    fn has_composition_time(self) -> bool {
        matches!(self, VideoCodec::Avc | VideoCodec::Hevc)
    }
}

impl fmt::Display for VideoCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VideoCodec::Avc => f.write_str("H.264"),
            VideoCodec::Hevc => f.write_str("HEVC"),
            VideoCodec::Av1 => f.write_str("AV1"),
            VideoCodec::Vp9 => f.write_str("VP9"),
            VideoCodec::Vp8 => f.write_str("VP8"),
            VideoCodec::Legacy(2) => f.write_str("Sorenson H.263"),
            VideoCodec::Legacy(3 | 6) => f.write_str("Screen Video"),
            VideoCodec::Legacy(4 | 5) => f.write_str("VP6"),
            VideoCodec::Legacy(id) => write!(f, "FLV video codec {id}"),
            VideoCodec::Other(fourcc) => write!(f, "FourCC {}", fourcc.escape_ascii()),
        }
    }
}

/// What the header of a video tag says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoHeader {
    /// The codec.
    pub codec: VideoCodec,
    /// Whether the tag says it is a keyframe. Sequence headers say so too.
    pub keyframe: bool,
    /// What the body holds.
    pub packet: PacketKind,
    /// Presentation less decoding time in milliseconds; negative in broken streams only. 0 where the header has none.
    pub composition_time: i32,
    /// Where in the tag's body the payload begins.
    pub payload: usize,
    /// Whether the header names the codec by FourCC (Enhanced RTMP).
    pub enhanced: bool,
    composition_at: Option<usize>,
}

impl VideoHeader {
    /// Reads the header of a video tag's body. `None` when it is too short to have one.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let first = *body.first()?;
        if first & 0x80 != 0 { Self::parse_enhanced(first, body) } else { Self::parse_legacy(first, body) }
    }

    fn parse_legacy(first: u8, body: &[u8]) -> Option<Self> {
        let codec = VideoCodec::from_id(first & 0x0f);
        let frame_type = first >> 4;
        let mut header = VideoHeader {
            codec,
            keyframe: frame_type == 1 || frame_type == 4,
            packet: PacketKind::Frames,
            composition_time: 0,
            payload: 1,
            enhanced: false,
            composition_at: None,
        };
        if frame_type == 5 {
            // "Video info/command frame": one byte, a seek marker of RTMP servers.
            header.packet = PacketKind::Other;
            return Some(header);
        }
        if !matches!(codec, VideoCodec::Avc | VideoCodec::Hevc | VideoCodec::Av1) {
            return Some(header);
        }
        header.payload = 5;
        header.packet = match *body.get(1)? {
            0 => PacketKind::SequenceHeader,
            1 => PacketKind::Frames,
            2 => PacketKind::EndOfSequence,
            _ => PacketKind::Other,
        };
        let composition = body.get(2..5);
        if header.packet == PacketKind::Frames {
            header.composition_time = i24(composition?);
            header.composition_at = Some(2);
        }
        // librtmp ends a sequence with two bytes only.
        header.payload = header.payload.min(body.len());
        Some(header)
    }

    fn parse_enhanced(first: u8, body: &[u8]) -> Option<Self> {
        let frame_type = first >> 4 & 0x07;
        let mut packet_type = first & 0x0f;
        let mut at = 1;
        // ModEx: data for the next header (nanosecond offsets), in front of the real packet type.
        while packet_type == 7 {
            let mut size = usize::from(*body.get(at)?) + 1;
            at += 1;
            if size == 256 {
                size = usize::from(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?])) + 1;
                at += 2;
            }
            at += size;
            packet_type = *body.get(at)? & 0x0f;
            at += 1;
        }
        let mut header = VideoHeader {
            codec: VideoCodec::Other([0; 4]),
            keyframe: frame_type == 1 || frame_type == 4,
            packet: PacketKind::Other,
            composition_time: 0,
            payload: at,
            enhanced: true,
            composition_at: None,
        };
        if packet_type != 4 && frame_type == 5 {
            return Some(header);
        }
        let multitrack = packet_type == 6;
        if multitrack {
            at += 1;
        }
        header.codec = VideoCodec::from_fourcc(body.get(at..at + 4)?.try_into().ok()?);
        header.payload = at + 4;
        if multitrack {
            return Some(header);
        }
        header.packet = match packet_type {
            0 => PacketKind::SequenceHeader,
            1 | 3 => PacketKind::Frames,
            2 => PacketKind::EndOfSequence,
            _ => PacketKind::Other,
        };
        if packet_type == 1 && header.codec.has_composition_time() {
            header.composition_time = i24(body.get(at + 4..at + 7)?);
            header.composition_at = Some(at + 4);
            header.payload = at + 7;
        }
        Some(header)
    }

    /// The body with another composition time. Unchanged when its header has no place for one.
    #[must_use]
    pub fn with_composition_time(&self, body: &Bytes, milliseconds: i32) -> Bytes {
        let Some(at) = self.composition_at else { return body.clone() };
        let mut out = BytesMut::with_capacity(body.len());
        out.put_slice(&body[..at]);
        out.put_int(i64::from(milliseconds.clamp(-0x80_0000, 0x7f_ffff)), 3);
        out.put_slice(&body[at + 3..]);
        out.freeze()
    }
}

fn i24(bytes: &[u8]) -> i32 {
    i32::from_be_bytes([bytes[0], bytes[1], bytes[2], 0]) >> 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn avc_keyframe_with_negative_composition_time() {
        let header = VideoHeader::parse(&[0x17, 1, 0xff, 0xff, 0xd8, 0]).unwrap();
        assert_eq!(header.codec, VideoCodec::Avc);
        assert!(header.keyframe);
        assert_eq!(header.packet, PacketKind::Frames);
        assert_eq!(header.composition_time, -40);
        assert_eq!(header.payload, 5);
    }

    #[test]
    fn enhanced_hevc_has_a_composition_time_in_coded_frames_only() {
        let header = VideoHeader::parse(b"\x91hvc1\x00\x00\x21data").unwrap();
        assert_eq!((header.codec, header.composition_time, header.payload), (VideoCodec::Hevc, 33, 8));
        let header = VideoHeader::parse(b"\xa3hvc1data").unwrap();
        assert_eq!((header.keyframe, header.composition_time, header.payload), (false, 0, 5));
        let header = VideoHeader::parse(b"\x91av01data").unwrap();
        assert_eq!((header.codec, header.payload), (VideoCodec::Av1, 5));
        assert_eq!(VideoHeader::parse(b"\x90av01").unwrap().packet, PacketKind::SequenceHeader);
    }

    #[test]
    fn modex_is_skipped_to_the_real_packet() {
        let header = VideoHeader::parse(b"\x97\x02abc\x01hvc1\0\0\x05x").unwrap();
        assert_eq!((header.codec, header.packet), (VideoCodec::Hevc, PacketKind::Frames));
        assert_eq!(header.composition_time, 5);
    }

    #[test]
    fn composition_time_can_be_replaced() {
        let body = Bytes::from_static(&[0x27, 1, 0xff, 0xff, 0xd8, 9]);
        let header = VideoHeader::parse(&body).unwrap();
        assert_eq!(&header.with_composition_time(&body, 80)[..], &[0x27, 1, 0, 0, 80, 9]);
    }

    #[test]
    fn short_bodies_have_no_header() {
        for body in [&b""[..], &[0x17], &[0x17, 1, 0], &[0x91, b'h'], &[0x97], &[0x97, 255]] {
            assert_eq!(VideoHeader::parse(body), None, "{body:02x?}");
        }
    }
}
