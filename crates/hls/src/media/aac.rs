//! ADTS, the framing of AAC in MPEG-TS (ISO/IEC 13818-7, 6.2).

use super::AudioTrack;

/// Length of the part of an ADTS header that is always there.
pub(crate) const HEADER: usize = 7;
/// Samples an AAC frame.
pub(crate) const FRAME_SAMPLES: u32 = 1024;

const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// One ADTS header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Adts {
    object_type: u8,
    pub(crate) sample_rate: u32,
    channels: u32,
    /// Bytes of the frame, header included.
    pub(crate) length: usize,
    /// AAC frames in it.
    pub(crate) frames: u32,
}

impl Adts {
    /// `None`: these bytes are no ADTS header.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let h: &[u8; HEADER] = bytes.first_chunk()?;
        let sync = h[0] == 0xff && h[1] & 0xf6 == 0xf0;
        let sample_rate = *RATES.get(usize::from(h[2] >> 2 & 0x0f))?;
        let length = usize::from(h[3] & 0x03) << 11 | usize::from(h[4]) << 3 | usize::from(h[5] >> 5);
        let channels = match (h[2] & 1) << 2 | h[3] >> 6 {
            7 => 8,
            n => u32::from(n),
        };
        (sync && length >= HEADER).then_some(Self {
            object_type: (h[2] >> 6) + 1,
            sample_rate,
            channels,
            length,
            frames: u32::from(h[6] & 0x03) + 1,
        })
    }

    /// Whether this is a header of that track.
    pub(crate) fn is(&self, track: &AudioTrack) -> bool {
        let object_type = track.codec.strip_prefix("mp4a.40.").and_then(|kind| kind.parse().ok());
        (Some(self.object_type), self.sample_rate, self.channels) == (object_type, track.sample_rate, track.channels)
    }

    pub(crate) fn track(&self) -> AudioTrack {
        AudioTrack {
            codec: format!("mp4a.40.{}", self.object_type),
            sample_rate: self.sample_rate,
            channels: self.channels,
        }
    }
}

/// Counts the AAC frames of a PES payload that arrives in pieces.
#[derive(Debug, Default)]
pub(crate) struct AdtsWalker {
    /// Bytes of the current frame still to come.
    skip: usize,
    header: [u8; HEADER],
    have: usize,
    lost: bool,
    frames: u32,
    first: Option<Adts>,
}

impl AdtsWalker {
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.lost {
            if self.skip > 0 {
                let n = self.skip.min(bytes.len());
                self.skip -= n;
                bytes = &bytes[n..];
                continue;
            }
            let n = (HEADER - self.have).min(bytes.len());
            self.header[self.have..self.have + n].copy_from_slice(&bytes[..n]);
            self.have += n;
            bytes = &bytes[n..];
            if self.have == HEADER {
                self.have = 0;
                match Adts::parse(&self.header) {
                    Some(adts) => self.count(adts),
                    None => self.lost = true,
                }
            }
        }
    }

    fn count(&mut self, adts: Adts) {
        self.skip = adts.length - HEADER;
        self.frames = self.frames.saturating_add(adts.frames);
        self.first.get_or_insert(adts);
    }

    /// AAC frames that began so far.
    pub(crate) fn frames(&self) -> u32 {
        self.frames
    }

    /// The first header seen.
    pub(crate) fn first(&self) -> Option<Adts> {
        self.first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LC_48K_STEREO: [u8; 8] = [0xff, 0xf1, 0x4c, 0x80, 0x01, 0x1f, 0xfc, 0xaa];

    #[test]
    fn an_adts_header_gives_the_codec_string_rate_and_channels() {
        let adts = Adts::parse(&LC_48K_STEREO).unwrap();
        assert_eq!((adts.length, adts.frames), (8, 1));
        let track = AudioTrack { codec: "mp4a.40.2".into(), sample_rate: 48_000, channels: 2 };
        assert_eq!(adts.track(), track);
    }

    #[test]
    fn frames_are_counted_however_the_payload_is_torn() {
        let payload = LC_48K_STEREO.repeat(5);
        for size in 1..payload.len() {
            let mut walker = AdtsWalker::default();
            payload.chunks(size).for_each(|piece| walker.feed(piece));
            assert_eq!(walker.frames(), 5, "pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_adts_is_not_counted() {
        let mut walker = AdtsWalker::default();
        walker.feed(&[0x55; 64]);
        assert_eq!((walker.frames(), walker.first()), (0, None));
    }
}
