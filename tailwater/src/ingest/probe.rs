//! What a source is, from its first tags: enough to plan a ladder, as early as it can honestly be said.

use std::time::Duration;

use rtmp::flv::{
    AacConfig, AudioCodec as FlvAudio, AudioHeader, FlvTag, MetaData, Mp3Frame, PacketKind, TagKind,
    VideoCodec as FlvVideo, VideoConfig, VideoHeader,
};

use crate::ladder::source::{AudioCodec, AudioSource, SourceInfo, VideoCodec, VideoSource};

/// Media to look at before a frame rate is believed, in milliseconds.
const ENOUGH: i64 = 300;
/// The same when parameter sets and metadata agree with what was seen.
const ENOUGH_AGREED: i64 = 120;
/// Frames to look at beyond which there is nothing to learn.
const MAX_FRAMES: usize = 600;
/// The same where key frames are to be seen: what is looked at for longest, at 120 frames a second.
const MAX_FRAMES_OF_KEYFRAMES: usize = 1500;
/// A source that sends nothing more while its key frames are awaited is judged after this.
const PATIENCE: Duration = Duration::from_secs(2);
/// Sound that comes for so long while the picture is only announced comes alone. Encoders may send it seconds early.
const FIRST_PICTURE: Duration = Duration::from_secs(8);
/// The rates that encoders have.
const RATES: [f64; 18] = [
    5.0,
    10.0,
    12.0,
    12.5,
    15.0,
    20.0,
    24_000.0 / 1001.0,
    24.0,
    25.0,
    30_000.0 / 1001.0,
    30.0,
    48.0,
    50.0,
    60_000.0 / 1001.0,
    60.0,
    100.0,
    120_000.0 / 1001.0,
    120.0,
];

/// Watches the first tags of a source.
///
/// Push every tag, then ask [`poll`](Self::poll), which answers once; ask it too when nothing comes, so that the timeout can pass.
/// A source without video and audio by the timeout is told as such: both tracks `None`.
#[derive(Debug)]
pub struct Probe {
    timeout: Duration,
    keyframes: Option<Keyframes>,
    begun: Option<Duration>,
    metadata: Option<MetaData>,
    video: Option<VideoSeen>,
    audio: Option<AudioSource>,
    /// Audio came, and is not of the kind that needs a header, or its header came too.
    audio_tags: u32,
    /// When the first sound came that can be heard.
    first_sound: Option<Duration>,
    done: bool,
}

/// How long key frames are looked at, in media time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keyframes {
    /// At least so long, and until there were two.
    pub least: Duration,
    /// No longer, even without a second one.
    pub most: Duration,
}

#[derive(Debug)]
struct VideoSeen {
    codec: FlvVideo,
    most_frames: usize,
    config: Option<VideoConfig>,
    /// Presentation times in milliseconds, as sent, unwrapped.
    shown: Vec<i64>,
    decoded: Vec<i64>,
    keyframes: Vec<i64>,
    bytes: u64,
    /// The composition time of the first frame.
    delay: Option<i32>,
    b_frames: bool,
    open_keyframes: bool,
}

impl Probe {
    /// A probe that decides after `timeout` (of arrival, from the first tag on) with what it has.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            keyframes: None,
            begun: None,
            metadata: None,
            video: None,
            audio: None,
            audio_tags: 0,
            first_sound: None,
            done: false,
        }
    }

    /// It also says how far key frames are apart, and takes its time for it.
    #[must_use]
    pub fn with_keyframes(self, keyframes: Keyframes) -> Self {
        Self { keyframes: Some(keyframes), ..self }
    }

    /// When it decides at the latest, from the first tag on. None: not before something comes.
    #[must_use]
    pub fn patience(&self) -> Option<Duration> {
        match self.keyframes {
            _ if self.is_only_announced() => self.first_sound.map(|sound| sound + FIRST_PICTURE),
            Some(keyframes) if self.awaits_keyframes(Duration::ZERO) => Some(keyframes.most + PATIENCE),
            _ => Some(self.timeout),
        }
    }

    /// Takes a tag that arrived at `arrival`.
    pub fn push(&mut self, tag: &FlvTag, arrival: Duration) {
        self.begun.get_or_insert(arrival);
        if tag.body.is_empty() {
            return;
        }
        match tag.kind {
            TagKind::Script => {
                if let Some(metadata) = MetaData::parse(&tag.body) {
                    self.metadata = Some(metadata);
                }
            }
            TagKind::Video => self.push_video(tag),
            TagKind::Audio => self.push_audio(tag, arrival),
        }
    }

    /// What the source is, once that can be said at `now` (the clock of the arrivals). Answers once.
    pub fn poll(&mut self, now: Duration) -> Option<SourceInfo> {
        let begun = self.begun?;
        let waited = now.saturating_sub(begun);
        let awaits = self.awaits_keyframes(waited) || self.awaits_picture(now);
        if self.done || !(self.is_certain() || (waited >= self.timeout && !awaits)) {
            return None;
        }
        self.done = true;
        let video = self.video.as_ref().filter(|_| !self.is_only_announced());
        Some(SourceInfo { video: video.and_then(|video| self.describe(video)), audio: self.audio.clone() })
    }

    fn push_video(&mut self, tag: &FlvTag) {
        let Some(header) = VideoHeader::parse(&tag.body) else { return };
        if header.packet == PacketKind::Other {
            return;
        }
        let most_frames = if self.keyframes.is_some() { MAX_FRAMES_OF_KEYFRAMES } else { MAX_FRAMES };
        let video = self.video.get_or_insert_with(|| VideoSeen::new(header.codec, most_frames));
        if video.codec != header.codec {
            *video = VideoSeen::new(header.codec, most_frames);
        }
        match header.packet {
            PacketKind::SequenceHeader => {
                // Broken ones leave the size to the metadata, and the judgement to FFmpeg.
                if let Ok(config) = VideoConfig::parse(&header, &tag.body) {
                    video.config = Some(config);
                }
            }
            PacketKind::Frames => video.frame(&header, tag),
            _ => {}
        }
    }

    fn push_audio(&mut self, tag: &FlvTag, arrival: Duration) {
        let Some(header) = AudioHeader::parse(&tag.body) else { return };
        let payload = tag.body.get(header.payload..).unwrap_or_default();
        self.audio_tags += 1;
        if header.packet == PacketKind::Frames {
            self.first_sound.get_or_insert(arrival);
        }
        let track = |codec, sample_rate, channels| Some(AudioSource { codec, sample_rate, channels });
        match (header.codec, header.packet) {
            (FlvAudio::Aac, PacketKind::SequenceHeader) => {
                if let Ok(config) = AacConfig::parse(payload) {
                    // A program config element that lists no channel: as good as stereo until FFmpeg says otherwise.
                    let channels = if config.channels == 0 { 2 } else { config.channels };
                    self.audio = track(AudioCodec::Aac, config.output_rate, channels);
                }
            }
            (FlvAudio::Mp3, PacketKind::Frames) => {
                let frame = Mp3Frame::parse(payload);
                let rate = frame.map_or(header.sample_rate, |frame| frame.sample_rate);
                self.audio = track(AudioCodec::Mp3, rate, frame.map_or(header.channels, |frame| frame.channels));
            }
            (FlvAudio::Opus, PacketKind::SequenceHeader | PacketKind::Frames) => {
                // OpusHead has the channels at byte 9.
                let channels = match (header.packet, payload.get(..8), payload.get(9)) {
                    (PacketKind::SequenceHeader, Some(b"OpusHead"), Some(count)) => u32::from(*count),
                    _ => self.audio.as_ref().map_or(2, |audio| audio.channels),
                };
                self.audio = track(AudioCodec::Opus, 48_000, channels.max(1));
            }
            (FlvAudio::Aac, _) | (_, PacketKind::Other | PacketKind::EndOfSequence) => {}
            (codec, _) => {
                self.audio = track(AudioCodec::Other(codec.to_string()), header.sample_rate, header.channels);
            }
        }
    }

    /// Whether waiting longer would tell nothing more.
    fn is_certain(&self) -> bool {
        let video_done = self.video.as_ref().is_some_and(|video| self.is_video_certain(video));
        let no_video = self.video.is_none() && self.metadata.as_ref().is_some_and(|data| data.has_video == Some(false));
        // Metadata that says there is no audio is believed: a track that comes after all is told by the timeline.
        let no_audio = self.audio_tags == 0 && self.metadata.as_ref().is_some_and(|data| data.has_audio == Some(false));
        let audio_done = self.audio.is_some() || no_audio;
        (video_done && audio_done) || (no_video && self.audio.is_some())
    }

    fn is_video_certain(&self, video: &VideoSeen) -> bool {
        if video.size(self.metadata.as_ref()).is_none() {
            return false;
        }
        let seen = video.span();
        if self.keyframes.is_some_and(|keyframes| !video.has_keyframes(keyframes)) {
            return false;
        }
        let agreed = self.announced(video).is_some_and(|rate| video.agrees(rate));
        seen >= ENOUGH || video.shown.len() >= video.most_frames || (agreed && seen >= ENOUGH_AGREED)
    }

    /// Whether key frames are worth waiting for beyond the timeout.
    fn awaits_keyframes(&self, waited: Duration) -> bool {
        match (self.keyframes, &self.video) {
            (Some(keyframes), Some(video)) => !video.has_keyframes(keyframes) && waited < keyframes.most + PATIENCE,
            _ => false,
        }
    }

    /// The picture's configuration came, and no picture.
    fn is_only_announced(&self) -> bool {
        self.video.as_ref().is_some_and(|video| video.decoded.is_empty())
    }

    /// Whether a picture that is announced may still come.
    fn awaits_picture(&self, now: Duration) -> bool {
        let alone = self.first_sound.is_some_and(|sound| now.saturating_sub(sound) >= FIRST_PICTURE);
        self.is_only_announced() && !alone
    }

    /// The rate that SPS and metadata announce, the SPS first.
    fn announced(&self, video: &VideoSeen) -> Option<f64> {
        let parameter_sets = video.config.as_ref().and_then(|config| config.frame_rate);
        let metadata = self.metadata.as_ref().and_then(|data| data.frame_rate);
        [parameter_sets, metadata]
            .into_iter()
            .flatten()
            .map(snap)
            .find(|rate| video.agrees(*rate))
            .or(metadata.map(snap))
    }

    fn describe(&self, video: &VideoSeen) -> Option<VideoSource> {
        let (width, height) = video.size(self.metadata.as_ref())?;
        let announced = self.announced(video);
        let (frame_rate, constant_rate) = match (announced, video.measured()) {
            // What is announced and seen is exact; milliseconds alone cannot tell 29.97 from 30 in so short a time.
            (Some(rate), Some(_)) if video.agrees(rate) => (Some(rate), true),
            (_, Some((rate, constant))) => (Some(rate), constant),
            (announced, None) => (announced, false),
        };
        let announced_bitrate =
            self.metadata.as_ref().and_then(|data| data.video_data_rate).map(|rate| (rate * 1000.0) as u64);
        Some(VideoSource {
            codec: match video.codec {
                FlvVideo::Avc => VideoCodec::H264,
                FlvVideo::Hevc => VideoCodec::Hevc,
                FlvVideo::Av1 => VideoCodec::Av1,
                other => VideoCodec::Other(other.to_string()),
            },
            width,
            height,
            frame_rate,
            constant_rate,
            interlaced: video.config.as_ref().is_some_and(|config| config.interlaced),
            keyframe_interval: video.keyframe_interval(),
            bitrate: announced_bitrate.max(video.bitrate()),
            codec_string: video.config.as_ref().map(|config| config.codec_string.clone()),
            b_frames: video.b_frames,
            open_keyframes: video.open_keyframes,
        })
    }
}

impl VideoSeen {
    fn new(codec: FlvVideo, most_frames: usize) -> Self {
        Self {
            codec,
            most_frames,
            config: None,
            shown: Vec::new(),
            decoded: Vec::new(),
            keyframes: Vec::new(),
            bytes: 0,
            delay: None,
            b_frames: false,
            open_keyframes: false,
        }
    }

    fn frame(&mut self, header: &VideoHeader, tag: &FlvTag) {
        if self.decoded.len() >= self.most_frames {
            return;
        }
        let decoded = match self.decoded.last() {
            Some(last) => last + i64::from(tag.timestamp.wrapping_sub(*last as u32) as i32),
            None => i64::from(tag.timestamp),
        };
        // A jump says nothing of the rate: begin again.
        if self.decoded.last().is_some_and(|last| (decoded - last).abs() > 5_000) {
            (self.decoded, self.shown, self.keyframes) = (Vec::new(), Vec::new(), Vec::new());
            self.bytes = 0;
        }
        // A constant composition time is a delay of the encoder, not reordering.
        let delay = *self.delay.get_or_insert(header.composition_time);
        self.b_frames |= (header.composition_time - delay).abs() > 1;
        self.decoded.push(decoded);
        self.shown.push(decoded + i64::from(header.composition_time));
        if header.keyframe {
            self.keyframes.push(decoded);
            let payload = tag.body.get(header.payload..).unwrap_or_default();
            self.open_keyframes |= self.codec == FlvVideo::Avc && !has_idr_slice(payload);
        }
        self.bytes += tag.body.len() as u64;
    }

    fn size(&self, metadata: Option<&MetaData>) -> Option<(u32, u32)> {
        if let Some(config) = &self.config {
            return Some((config.width, config.height));
        }
        // H.264, HEVC and AV1 say it themselves, in a header that is still to come; others never.
        if matches!(self.codec, FlvVideo::Avc | FlvVideo::Hevc | FlvVideo::Av1) && self.decoded.is_empty() {
            return None;
        }
        let side = |side: Option<f64>| side.filter(|side| (1.0..=16_384.0).contains(side)).map(|side| side as u32);
        match metadata {
            Some(data) => side(data.width).zip(side(data.height)),
            None => None,
        }
    }

    /// Whether enough was seen of its key frames, or all that will be waited for.
    fn has_keyframes(&self, wanted: Keyframes) -> bool {
        let reached = |time: Duration| i64::try_from(time.as_millis()).is_ok_and(|time| self.span() >= time);
        let seen = self.keyframes.len() >= 2 && reached(wanted.least);
        seen || reached(wanted.most) || self.decoded.len() >= self.most_frames
    }

    /// Milliseconds of media seen.
    fn span(&self) -> i64 {
        match (self.decoded.first(), self.decoded.last()) {
            (Some(first), Some(last)) => last - first,
            _ => 0,
        }
    }

    /// Presentation times in order, the last few left out while frames before them may still come.
    fn in_order(&self) -> Vec<i64> {
        let mut shown = self.shown.clone();
        shown.sort_unstable();
        if self.b_frames {
            shown.truncate(shown.len().saturating_sub(4).max(2));
        }
        shown
    }

    /// Whether every frame is where this rate would have it, to within the rounding of milliseconds.
    fn agrees(&self, rate: f64) -> bool {
        let shown = self.in_order();
        let Some(first) = shown.first() else { return false };
        shown.len() >= 3
            && shown.iter().enumerate().all(|(index, time)| {
                let ideal = index as f64 * 1000.0 / rate;
                ((time - first) as f64 - ideal).abs() <= 1.6
            })
    }

    /// The rate as seen, and whether it is constant.
    fn measured(&self) -> Option<(f64, bool)> {
        let shown = self.in_order();
        let (first, last) = (shown.first()?, shown.last()?);
        if shown.len() < 3 || last <= first {
            return None;
        }
        let rate = (shown.len() - 1) as f64 * 1000.0 / (last - first) as f64;
        // Of the rates that fit every frame, the one closest to what was seen; whole numbers first, for being likelier.
        let fitting = RATES.iter().copied().filter(|rate| self.agrees(*rate));
        let best = fitting.min_by(|a, b| score(*a, rate).total_cmp(&score(*b, rate)));
        match best {
            Some(rate) => Some((rate, true)),
            None => Some((rate, self.agrees(rate))),
        }
    }

    fn keyframe_interval(&self) -> Option<Duration> {
        let longest = self.keyframes.windows(2).map(|pair| pair[1] - pair[0]).max()?;
        u64::try_from(longest).ok().filter(|longest| *longest > 0).map(Duration::from_millis)
    }

    /// Bits a second as seen. `None` before half a second: a keyframe alone says too much.
    fn bitrate(&self) -> Option<u64> {
        let span = u64::try_from(self.span()).ok().filter(|span| *span >= 500)?;
        Some(self.bytes * 8 * 1000 / span)
    }
}

/// Whether an access unit, as FLV has it (lengths of four bytes before NAL units), has a slice of an IDR picture.
fn has_idr_slice(mut unit: &[u8]) -> bool {
    while let Some((length, rest)) = unit.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        // nal_unit_type, ITU-T H.264, 7.4.1: 5 is a slice of an IDR picture, 1 one of another.
        match rest.first().map(|header| header & 0x1f) {
            Some(5) => return true,
            Some(1) | None => return false,
            Some(_) => unit = rest.get(length..).unwrap_or_default(),
        }
    }
    false
}

/// How unlikely a rate is, given what was seen: its distance, and a little more for the rates of NTSC, which a third of a second
/// cannot tell from the whole numbers beside them.
fn score(rate: f64, seen: f64) -> f64 {
    (rate - seen).abs() / seen + if rate.fract() == 0.0 { 0.0 } else { 0.002 }
}

/// The exact rate that an announced number means: 29.97 is 30000/1001. Others stay what they are.
fn snap(rate: f64) -> f64 {
    RATES.iter().copied().find(|exact| (exact - rate).abs() < 0.006).unwrap_or(rate)
}

#[cfg(test)]
mod tests;
