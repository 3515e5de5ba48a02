//! A frame of AAC silence in the configuration of the track it fills.

use bytes::{BufMut, Bytes, BytesMut};

use super::bits::BitWriter;
use super::{AacConfig, AudioHeader};

/// Syntactic elements of a raw data block (ISO/IEC 14496-3, table 4.85).
const SINGLE_CHANNEL: u32 = 0;
const CHANNEL_PAIR: u32 = 1;
const LOW_FREQUENCY: u32 = 3;
const END: u32 = 7;

/// Silence for an AAC track: one tag body, to be repeated every [`frame_samples`](AacConfig::frame_samples) of its rate.
///
/// Every spectral band is absent (`max_sfb` 0), so that a frame is a handful of bytes and decodes to zeros. For HE-AAC the
/// core alone is written: a decoder makes silence of it too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilentAac {
    body: Bytes,
}

impl SilentAac {
    /// Silence for a track of this configuration. `None` where the core is not AAC-LC (or Main) in a channel layout of
    /// one to six or eight channels.
    ///
    /// `like` is the header of a tag of that track, so that the silence is framed as the track is (old or FourCC).
    #[must_use]
    pub fn new(config: &AacConfig, like: &AudioHeader) -> Option<Self> {
        if !matches!(config.object_type, 1 | 2) {
            return None;
        }
        let frame = raw_data_block(config.channel_configuration)?;
        let mut body = BytesMut::with_capacity(frame.len() + 5);
        if like.enhanced {
            // SoundFormat 9 (ExHeader), packet type CodedFrames.
            body.put_slice(b"\x91mp4a");
        } else {
            // AAC, "44 kHz", 16 bit, "stereo", raw: what every encoder writes, whatever the configuration says.
            body.put_slice(&[0xaf, 1]);
        }
        body.put_slice(&frame);
        Some(Self { body: body.freeze() })
    }

    /// The body of an audio tag.
    #[must_use]
    pub fn body(&self) -> Bytes {
        self.body.clone()
    }
}

/// The elements of a channel configuration in the order of table 1.19.
fn raw_data_block(channel_configuration: u8) -> Option<Bytes> {
    let elements: &[u32] = match channel_configuration {
        1 => &[SINGLE_CHANNEL],
        2 => &[CHANNEL_PAIR],
        3 => &[SINGLE_CHANNEL, CHANNEL_PAIR],
        4 => &[SINGLE_CHANNEL, CHANNEL_PAIR, SINGLE_CHANNEL],
        5 => &[SINGLE_CHANNEL, CHANNEL_PAIR, CHANNEL_PAIR],
        6 => &[SINGLE_CHANNEL, CHANNEL_PAIR, CHANNEL_PAIR, LOW_FREQUENCY],
        7 => &[SINGLE_CHANNEL, CHANNEL_PAIR, CHANNEL_PAIR, CHANNEL_PAIR, LOW_FREQUENCY],
        _ => return None,
    };
    let mut writer = BitWriter::default();
    let mut tags = [0u32; 4];
    for element in elements {
        writer.put(*element, 3);
        writer.put(tags[*element as usize], 4);
        tags[*element as usize] += 1;
        if *element == CHANNEL_PAIR {
            // common_window, then one ics_info for both, ms_mask_present 0.
            writer.put(1, 1);
            ics_info(&mut writer);
            writer.put(0, 2);
            channel_stream(&mut writer, false);
            channel_stream(&mut writer, false);
        } else {
            channel_stream(&mut writer, true);
        }
    }
    writer.put(END, 3);
    Some(writer.finish())
}

/// ics_info: reserved bit, window_sequence ONLY_LONG, window_shape sine, max_sfb 0, no prediction.
fn ics_info(writer: &mut BitWriter) {
    writer.put(0, 1 + 2 + 1 + 6 + 1);
}

/// individual_channel_stream with nothing in it: global_gain, (ics_info), then no sections, pulses, TNS or gain control.
fn channel_stream(writer: &mut BitWriter, with_ics_info: bool) {
    writer.put(0, 8);
    if with_ics_info {
        ics_info(writer);
    }
    writer.put(0, 3);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stereo_frame_is_six_bytes_and_ends_with_the_end_element() {
        let config = AacConfig::parse(&[0x11, 0x90]).unwrap();
        let like = AudioHeader::parse(&[0xaf, 1, 0]).unwrap();
        let body = SilentAac::new(&config, &like).unwrap().body();
        assert_eq!(&body[..2], &[0xaf, 1]);
        // CPE 001, tag 0000, common_window 1, ics_info 11 zeros, ms_mask 00, two streams of 11 zeros, END 111.
        assert_eq!(&body[2..], &[0b0010_0001, 0, 0, 0, 0, 0b0001_1100][..]);
    }

    #[test]
    fn object_types_that_are_not_plain_aac_have_none() {
        let config = AacConfig { object_type: 23, ..AacConfig::parse(&[0x11, 0x90]).unwrap() };
        let like = AudioHeader::parse(&[0xaf, 1, 0]).unwrap();
        assert_eq!(SilentAac::new(&config, &like), None);
    }
}
