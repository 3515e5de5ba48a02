//! The header of an audio tag, old (sound format) and enhanced (FourCC).

use std::fmt;

use super::PacketKind;

/// An audio codec as FLV names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AudioCodec {
    /// AAC: sound format 10 or FourCC `mp4a`.
    Aac,
    /// MP3: sound format 2 and 14, or FourCC `.mp3`.
    Mp3,
    /// Opus: FourCC `Opus`.
    Opus,
    /// FLAC: FourCC `fLaC`.
    Flac,
    /// AC-3: FourCC `ac-3`.
    Ac3,
    /// E-AC-3: FourCC `ec-3`.
    Eac3,
    /// Another sound format of the FLV of 2010: 0, 1, 3 PCM, 4 to 6 Nellymoser, 7 and 8 G.711, 11 Speex.
    Legacy(u8),
    /// A FourCC unknown here.
    Other([u8; 4]),
}

impl AudioCodec {
    fn from_id(id: u8) -> Self {
        match id {
            10 => AudioCodec::Aac,
            2 | 14 => AudioCodec::Mp3,
            id => AudioCodec::Legacy(id),
        }
    }

    fn from_fourcc(fourcc: [u8; 4]) -> Self {
        match &fourcc {
            b"mp4a" => AudioCodec::Aac,
            b".mp3" => AudioCodec::Mp3,
            b"Opus" => AudioCodec::Opus,
            b"fLaC" => AudioCodec::Flac,
            b"ac-3" => AudioCodec::Ac3,
            b"ec-3" => AudioCodec::Eac3,
            _ => AudioCodec::Other(fourcc),
        }
    }
}

impl fmt::Display for AudioCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AudioCodec::Aac => f.write_str("AAC"),
            AudioCodec::Mp3 => f.write_str("MP3"),
            AudioCodec::Opus => f.write_str("Opus"),
            AudioCodec::Flac => f.write_str("FLAC"),
            AudioCodec::Ac3 => f.write_str("AC-3"),
            AudioCodec::Eac3 => f.write_str("E-AC-3"),
            AudioCodec::Legacy(0 | 3) => f.write_str("PCM"),
            AudioCodec::Legacy(1) => f.write_str("ADPCM"),
            AudioCodec::Legacy(4..=6) => f.write_str("Nellymoser"),
            AudioCodec::Legacy(7 | 8) => f.write_str("G.711"),
            AudioCodec::Legacy(11) => f.write_str("Speex"),
            AudioCodec::Legacy(id) => write!(f, "FLV sound format {id}"),
            AudioCodec::Other(fourcc) => write!(f, "FourCC {}", fourcc.escape_ascii()),
        }
    }
}

/// What the header of an audio tag says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioHeader {
    /// The codec.
    pub codec: AudioCodec,
    /// What the body holds.
    pub packet: PacketKind,
    /// Samples a second as the header says; always 44100 for AAC, whose truth is in its configuration.
    pub sample_rate: u32,
    /// Channels as the header says; always 2 for AAC, likewise.
    pub channels: u32,
    /// Where in the tag's body the payload begins.
    pub payload: usize,
    /// Whether the header names the codec by FourCC (Enhanced RTMP).
    pub enhanced: bool,
}

impl AudioHeader {
    /// Reads the header of an audio tag's body. `None` when it is too short to have one.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let first = *body.first()?;
        if first >> 4 == 9 {
            return Self::parse_enhanced(first, body);
        }
        let mut header = AudioHeader {
            codec: AudioCodec::from_id(first >> 4),
            packet: PacketKind::Frames,
            sample_rate: [5512, 11025, 22050, 44100][usize::from(first >> 2 & 3)],
            channels: u32::from(first & 1) + 1,
            payload: 1,
            enhanced: false,
        };
        match first >> 4 {
            10 => {
                header.packet = if *body.get(1)? == 0 { PacketKind::SequenceHeader } else { PacketKind::Frames };
                header.payload = 2;
            }
            // The format says it, whatever the flags do.
            4 | 11 => (header.sample_rate, header.channels) = (16_000, 1),
            5 => (header.sample_rate, header.channels) = (8000, 1),
            7 | 8 | 14 => header.sample_rate = 8000,
            _ => {}
        }
        Some(header)
    }

    fn parse_enhanced(first: u8, body: &[u8]) -> Option<Self> {
        let mut packet_type = first & 0x0f;
        let mut at = 1;
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
        let multitrack = packet_type == 5;
        if multitrack {
            at += 1;
        }
        let codec = AudioCodec::from_fourcc(body.get(at..at + 4)?.try_into().ok()?);
        Some(AudioHeader {
            codec,
            packet: match packet_type {
                0 => PacketKind::SequenceHeader,
                1 => PacketKind::Frames,
                2 => PacketKind::EndOfSequence,
                _ => PacketKind::Other,
            },
            sample_rate: if codec == AudioCodec::Opus { 48_000 } else { 44_100 },
            channels: 2,
            payload: at + 4,
            enhanced: true,
        })
    }
}

/// The header of an MPEG-1 or MPEG-2 layer III frame: what an MP3 track really is, whatever its FLV header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mp3Frame {
    /// Samples a second.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u32,
    /// Samples of one frame, for each channel.
    pub samples: u32,
}

impl Mp3Frame {
    /// Reads the four bytes of a frame header. `None` when they are none.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let header: [u8; 4] = payload.get(..4)?.try_into().ok()?;
        if header[0] != 0xff || header[1] & 0xe0 != 0xe0 || header[1] >> 1 & 3 != 1 {
            return None;
        }
        let base = *[44_100, 48_000, 32_000].get(usize::from(header[2] >> 2 & 3))?;
        let (divisor, samples) = match header[1] >> 3 & 3 {
            3 => (1, 1152),
            2 => (2, 576),
            0 => (4, 576),
            _ => return None,
        };
        let channels = if header[3] >> 6 == 3 { 1 } else { 2 };
        Some(Mp3Frame { sample_rate: base / divisor, channels, samples })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aac_sequence_header_and_frame() {
        assert_eq!(AudioHeader::parse(&[0xaf, 0, 0x11, 0x90]).unwrap().packet, PacketKind::SequenceHeader);
        let header = AudioHeader::parse(&[0xaf, 1, 0x21]).unwrap();
        assert_eq!((header.codec, header.packet, header.payload), (AudioCodec::Aac, PacketKind::Frames, 2));
    }

    #[test]
    fn mp3_and_its_true_rate() {
        let header = AudioHeader::parse(&[0x2f, 0xff, 0xfb, 0x94, 0x00]).unwrap();
        assert_eq!((header.codec, header.sample_rate, header.channels), (AudioCodec::Mp3, 44_100, 2));
        let frame = Mp3Frame::parse(&[0xff, 0xfb, 0x94, 0xc0]).unwrap();
        assert_eq!(frame, Mp3Frame { sample_rate: 48_000, channels: 1, samples: 1152 });
    }

    #[test]
    fn formats_of_one_rate_have_it_whatever_the_flags_say() {
        // As FFmpeg writes them: G.711 A-law and mu-law, Speex, Nellymoser at 16 and 8 kHz, and at any.
        let rates =
            [0x72, 0x82, 0xb6, 0x42, 0x52, 0x6e].map(|first| AudioHeader::parse(&[first, 0]).unwrap().sample_rate);
        assert_eq!(rates, [8000, 8000, 16_000, 16_000, 8000, 44_100]);
    }

    #[test]
    fn enhanced_opus() {
        let header = AudioHeader::parse(b"\x91Opusxyz").unwrap();
        assert_eq!((header.codec, header.packet, header.payload), (AudioCodec::Opus, PacketKind::Frames, 5));
        assert_eq!(header.sample_rate, 48_000);
    }

    #[test]
    fn short_bodies_have_no_header() {
        for body in [&b""[..], &[0xaf], b"\x91Opu", &[0x97]] {
            assert_eq!(AudioHeader::parse(body), None, "{body:02x?}");
        }
    }
}
