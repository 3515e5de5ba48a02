//! AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1): what an AAC track is.

use super::bits::BitReader;

const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// Object types that carry a GASpecificConfig.
const GENERAL_AUDIO: [u8; 12] = [1, 2, 3, 4, 6, 7, 17, 19, 20, 21, 22, 23];

/// An AudioSpecificConfig that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AacError {
    /// It ends in the middle.
    #[error("AAC configuration of {size} bytes ends in the middle")]
    Short {
        /// Its size in bytes.
        size: usize,
    },
    /// A sampling frequency index that is reserved, or a rate no decoder takes.
    #[error("AAC configuration with sampling frequency index {index} and rate {rate}")]
    Rate {
        /// The index, 15 for an explicit rate.
        index: u32,
        /// The explicit rate in Hz, else 0.
        rate: u32,
    },
    /// A channel configuration that is reserved.
    #[error("AAC configuration with channel configuration {0}")]
    Channels(u32),
}

/// An AAC configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AacConfig {
    /// The object type of the core: 2 is AAC-LC. (RFC 6381's last number is [`signalled_object_type`](Self::signalled_object_type).)
    pub object_type: u8,
    /// Samples a second of the core, in Hz: what the frames' durations are counted in.
    pub sample_rate: u32,
    /// Samples a second that come out of the decoder: twice the core's with spectral band replication (HE-AAC).
    pub output_rate: u32,
    /// Channels that come out of the decoder: two with parametric stereo, where the core has one.
    pub channels: u32,
    /// The channel configuration of the core; 0 when a program config element lists the channels.
    pub channel_configuration: u8,
    /// Samples of one frame of the core: 1024, or 960.
    pub frame_samples: u32,
    /// HE-AAC said in the configuration, by object type 5 or 29 or by the backward compatible extension.
    pub spectral_band_replication: bool,
    /// HE-AAC v2, likewise.
    pub parametric_stereo: bool,
}

impl AacConfig {
    /// Reads an AudioSpecificConfig.
    ///
    /// # Errors
    /// [`AacError`]; such a track cannot be decoded by anyone.
    pub fn parse(bytes: &[u8]) -> Result<Self, AacError> {
        let mut reader = BitReader::new(bytes);
        Self::read(&mut reader).ok_or(AacError::Short { size: bytes.len() })?
    }

    /// The object type to write in a codec string (`mp4a.40.N`): 5 and 29 for HE-AAC and its second version.
    #[must_use]
    pub fn signalled_object_type(&self) -> u8 {
        match (self.parametric_stereo, self.spectral_band_replication) {
            (true, _) => 29,
            (false, true) => 5,
            (false, false) => self.object_type,
        }
    }

    fn read(reader: &mut BitReader<'_>) -> Option<Result<Self, AacError>> {
        let mut object_type = read_object_type(reader)?;
        let sample_rate = match read_rate(reader)? {
            Ok(rate) => rate,
            Err(error) => return Some(Err(error)),
        };
        let channel_configuration = reader.bits(4)?;
        let mut config = AacConfig {
            object_type,
            sample_rate,
            output_rate: sample_rate,
            channels: 0,
            channel_configuration: channel_configuration as u8,
            frame_samples: 1024,
            spectral_band_replication: false,
            parametric_stereo: false,
        };
        if object_type == 5 || object_type == 29 {
            config.spectral_band_replication = true;
            config.parametric_stereo = object_type == 29;
            config.output_rate = match read_rate(reader)? {
                Ok(rate) => rate,
                Err(error) => return Some(Err(error)),
            };
            object_type = read_object_type(reader)?;
            config.object_type = object_type;
        }
        config.channels = match channel_configuration {
            0 => 0,
            count @ 1..=6 => count,
            7 | 12 | 14 => 8,
            11 => 7,
            other => return Some(Err(AacError::Channels(other))),
        };
        if GENERAL_AUDIO.contains(&object_type) {
            read_general(reader, &mut config)?;
        }
        if !config.spectral_band_replication {
            read_extension(reader, &mut config);
        }
        if config.parametric_stereo {
            config.channels = 2;
        }
        Some(Ok(config))
    }
}

fn read_object_type(reader: &mut BitReader<'_>) -> Option<u8> {
    let object_type = reader.bits(5)?;
    if object_type == 31 { Some(reader.bits(6)? as u8 + 32) } else { Some(object_type as u8) }
}

fn read_rate(reader: &mut BitReader<'_>) -> Option<Result<u32, AacError>> {
    let index = reader.bits(4)?;
    let (rate, known) = if index == 15 {
        let rate = reader.bits(24)?;
        (rate, (4_000..=192_000).contains(&rate))
    } else {
        match RATES.get(index as usize) {
            Some(rate) => (*rate, true),
            None => (0, false),
        }
    };
    Some(if known { Ok(rate) } else { Err(AacError::Rate { index, rate }) })
}

/// GASpecificConfig (4.4.1).
fn read_general(reader: &mut BitReader<'_>, config: &mut AacConfig) -> Option<()> {
    if reader.bit()? {
        config.frame_samples = 960;
    }
    if reader.bit()? {
        reader.skip(14)?;
    }
    let extension = reader.bit()?;
    if config.channel_configuration == 0 {
        config.channels = read_program_config(reader)?;
    }
    if extension {
        if config.object_type == 22 {
            reader.skip(16)?;
        }
        if matches!(config.object_type, 17 | 19 | 20 | 23) {
            reader.skip(3)?;
        }
        reader.skip(1)?;
    }
    Some(())
}

/// program_config_element (4.4.1.1): the number of its channels.
fn read_program_config(reader: &mut BitReader<'_>) -> Option<u32> {
    reader.skip(4 + 2 + 4)?;
    let front = reader.bits(4)?;
    let side = reader.bits(4)?;
    let back = reader.bits(4)?;
    let lfe = reader.bits(2)?;
    let data = reader.bits(3)?;
    let coupling = reader.bits(4)?;
    for size in [4, 4, 3] {
        if reader.bit()? {
            reader.skip(size)?;
        }
    }
    let mut channels = lfe;
    for _ in 0..front + side + back {
        channels += 1 + u32::from(reader.bit()?);
        reader.skip(4)?;
    }
    reader.skip((lfe * 4 + data * 4 + coupling * 5) as usize)?;
    reader.align();
    let comment = reader.bits(8)? as usize;
    reader.skip(comment * 8)?;
    Some(channels)
}

/// The backward compatible signalling of HE-AAC: a sync word after everything an older decoder reads.
fn read_extension(reader: &mut BitReader<'_>, config: &mut AacConfig) -> Option<()> {
    if reader.left() < 16 || reader.bits(11)? != 0x2b7 || read_object_type(reader)? != 5 || !reader.bit()? {
        return None;
    }
    let rate = read_rate(reader)?.ok()?;
    config.spectral_band_replication = true;
    config.output_rate = rate;
    if reader.left() >= 12 && reader.bits(11)? == 0x548 {
        config.parametric_stereo = reader.bit()?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aac_lc_stereo_at_48_and_44_1_khz() {
        let config = AacConfig::parse(&[0x11, 0x90]).unwrap();
        assert_eq!((config.object_type, config.sample_rate, config.channels), (2, 48_000, 2));
        assert_eq!(config.signalled_object_type(), 2);
        let config = AacConfig::parse(&[0x12, 0x08]).unwrap();
        assert_eq!((config.sample_rate, config.channels, config.frame_samples), (44_100, 1, 1024));
    }

    #[test]
    fn he_aac_is_read_in_both_signallings() {
        // Backward compatible: LC at 24 kHz, then the sync word, SBR at 48 kHz.
        let config = AacConfig::parse(&[0x13, 0x10, 0x56, 0xe5, 0x98]).unwrap();
        assert!(config.spectral_band_replication && !config.parametric_stereo);
        assert_eq!((config.sample_rate, config.output_rate), (24_000, 48_000));
        // Explicit: object type 5 at 22.05 kHz, 44.1 kHz out, core LC.
        let config = AacConfig::parse(&[0x2b, 0x92, 0x08, 0x00]).unwrap();
        assert_eq!((config.object_type, config.signalled_object_type()), (2, 5));
        assert_eq!((config.sample_rate, config.output_rate, config.channels), (22_050, 44_100, 2));
    }

    #[test]
    fn five_point_one() {
        let config = AacConfig::parse(&[0x11, 0xb0]).unwrap();
        assert_eq!((config.channel_configuration, config.channels), (6, 6));
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        assert_eq!(AacConfig::parse(&[]), Err(AacError::Short { size: 0 }));
        assert_eq!(AacConfig::parse(&[0x16, 0xff, 0xff]), Err(AacError::Rate { index: 13, rate: 0 }));
        assert_eq!(AacConfig::parse(&[0x11, 0xd0]), Err(AacError::Channels(10)));
    }
}
