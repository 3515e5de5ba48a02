//! Honest BANDWIDTH and AVERAGE-BANDWIDTH before a byte is encoded: upper bounds from the rate control, the audio and
//! the container. Measurement may correct them upwards later, never downwards.
//!
//! RFC 8216bis 4.4.6.2: BANDWIDTH "represents the peak segment bit rate of the Variant Stream". A segment of `d`
//! seconds holds at most `maxrate * d + bufsize` bits, or the encoder would have broken its buffer model.

use std::time::Duration;

use super::rate::Rational;
use super::rung::Format;

/// Bytes of one TS packet, of its header, and of a PES header with PTS and DTS and the adaptation field of a PCR.
const TS_PACKET: f64 = 188.0;
const TS_PAYLOAD: f64 = 184.0;
const PES_HEADER: f64 = 19.0 + 8.0;
/// Access unit delimiter, and an ADTS header.
const DELIMITER: f64 = 6.0;
const ADTS_HEADER: f64 = 7.0;
/// SDT, PAT and PMT as FFmpeg repeats them by itself, in packets a second.
const TABLES_A_SECOND: f64 = 2.0 + 2.0 * 10.0;
/// `moof` and `mdat` headers of a fragment, and the `trun` entry of a sample.
const FRAGMENT: f64 = 116.0 + 8.0;
const SAMPLE: f64 = 16.0;
/// x264 may miss its model by this much when a picture cannot be coded any smaller; FFmpeg's AAC is not CBR.
const SLACK: f64 = 1.02;
const AUDIO_PEAK: f64 = 1.35;

/// The stream of coded pictures whose bandwidth is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VideoRate {
    /// Average, bit/s.
    pub(crate) bitrate: u64,
    /// Peak, bit/s.
    pub(crate) maxrate: u64,
    /// Buffer, bits.
    pub(crate) bufsize: u64,
    pub(crate) frame_rate: Rational,
    /// Frames in an MP4 fragment.
    pub(crate) fragment_frames: u32,
    /// PAT and PMT before every frame.
    pub(crate) tables_at_frames: bool,
}

/// The stream of AAC frames whose bandwidth is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AudioRate {
    pub(crate) bitrate: u64,
    pub(crate) sample_rate: u32,
}

/// Peak and average of one rendition, bit/s, the container in.
pub(crate) fn bounds(
    format: Format,
    segment: Duration,
    video: Option<VideoRate>,
    audio: Option<AudioRate>,
) -> (u64, u64) {
    let (mut peak, mut average) = (0.0, 0.0);
    if let Some(video) = video {
        let burst = video.bufsize as f64 / segment.as_secs_f64();
        peak += video_on_the_wire(format, video, video.maxrate as f64 + burst) * SLACK;
        average += video_on_the_wire(format, video, video.bitrate as f64) * SLACK;
    }
    if let Some(audio) = audio {
        peak += audio_on_the_wire(format, audio, audio.bitrate as f64 * AUDIO_PEAK);
        average += audio_on_the_wire(format, audio, audio.bitrate as f64 * 1.05);
    }
    if format == Format::Ts {
        peak += TABLES_A_SECOND * TS_PACKET * 8.0;
        average += TABLES_A_SECOND * TS_PACKET * 8.0;
    }
    (round_up(peak), round_up(average))
}

fn video_on_the_wire(format: Format, video: VideoRate, bits: f64) -> f64 {
    let rate = video.frame_rate.as_f64();
    match format {
        Format::Ts => {
            // Half a packet of stuffing ends every frame, on average; a whole one at worst.
            let tables = if video.tables_at_frames { 2.0 * TS_PACKET } else { 0.0 };
            let payload = bits / 8.0 + rate * (PES_HEADER + DELIMITER);
            (payload * TS_PACKET / TS_PAYLOAD + rate * (TS_PACKET + tables)) * 8.0
        }
        Format::Cmaf => bits + rate * (SAMPLE + FRAGMENT / f64::from(video.fragment_frames.max(1))) * 8.0,
    }
}

fn audio_on_the_wire(format: Format, audio: AudioRate, bits: f64) -> f64 {
    let rate = f64::from(audio.sample_rate) / 1024.0;
    match format {
        Format::Ts => {
            let payload = bits / 8.0 + rate * (PES_HEADER + ADTS_HEADER);
            (payload * TS_PACKET / TS_PAYLOAD + rate * TS_PACKET) * 8.0
        }
        Format::Cmaf => bits + rate * (SAMPLE + FRAGMENT) * 8.0,
    }
}

/// To the next full kilobit: a bound with six false digits reads like a measurement.
fn round_up(bits: f64) -> u64 {
    (bits / 1000.0).ceil() as u64 * 1000
}
