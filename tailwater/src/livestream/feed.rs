//! From stamped tags to the FLV that FFmpeg reads: the timeline repaired, and where each moment of it came from.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use hls::time::MediaTime;
use rtmp::flv::{AudioCodec, AudioHeader, FlvTag, FlvWriter, PacketKind, TagKind, VideoHeader};

use super::keyframes::{KeyframeWatch, TooLate};
use super::session::Session;
use crate::ingest::source::{StampedTag, TagRole};
use crate::ingest::timeline::{Event, Planned, Timeline};
use crate::ladder::SourceInfo;

/// Arrivals kept to date segments by: an encoder that lags more has other troubles.
const ARRIVALS: usize = 2048;

/// What became of a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FeedEvent {
    /// FFmpeg gets it, or it carried nothing.
    Fed,
    /// FFmpeg is too far behind.
    Dropped,
    /// The source is not what the session was planned for any more.
    Changed(&'static str),
    /// The source is copied, and with this picture a segment would become too long. FFmpeg did not get it.
    Late(TooLate),
}

/// The input of one session.
#[derive(Debug)]
pub(super) struct Feed {
    timeline: Timeline,
    writer: FlvWriter,
    /// What FFmpeg reads before anything else, if there must be something.
    opening: Option<FlvTag>,
    /// Arrival of the first tag of a session is time zero for the timeline's clock.
    zero: Option<Instant>,
    /// Milliseconds of the newest picture, or sound where there is no picture.
    media: i64,
    /// Likewise, of the newest keyframe.
    keyframe: Option<i64>,
    arrivals: VecDeque<(i64, SystemTime)>,
    /// Tags were dropped: nothing goes on before the next keyframe.
    dropping: bool,
    has_video: bool,
    /// Where the source is copied.
    keyframes: Option<KeyframeWatch>,
    /// Media before this is not put out. Milliseconds.
    skip: i64,
}

impl Feed {
    /// For a session of that source which begins with these tags.
    pub(super) fn new(info: &SourceInfo, tags: &[StampedTag]) -> Self {
        let (has_audio, has_video) = (info.audio.is_some(), info.video.is_some());
        Self {
            timeline: Timeline::new(Planned::from(info)),
            writer: FlvWriter::new(has_audio, has_video),
            opening: opening(tags).filter(|_| has_audio),
            zero: None,
            media: 0,
            keyframe: None,
            arrivals: VecDeque::new(),
            dropping: false,
            has_video,
            keyframes: None,
            skip: 0,
        }
    }

    /// Key frames have to come in time: the source is copied.
    pub(super) fn watch(&mut self, keyframes: KeyframeWatch) {
        self.keyframes = Some(keyframes);
    }

    /// FFmpeg puts out nothing before this.
    pub(super) fn skip(&mut self, skip: Duration) {
        self.skip = i64::try_from(skip.as_millis()).unwrap_or(0);
    }

    /// Repairs a tag and hands it to FFmpeg.
    pub(super) fn push(&mut self, tag: StampedTag, session: &Session) -> FeedEvent {
        if self.dropping && self.has_video {
            match tag.role {
                TagRole::Keyframe => self.dropping = false,
                TagRole::Picture | TagRole::Sound => return FeedEvent::Dropped,
                TagRole::Metadata | TagRole::VideoHeader | TagRole::AudioHeader => {}
            }
        }
        if let Some(opening) = self.opening.take() {
            session.feed(self.writer.write(&opening));
        }
        let zero = *self.zero.get_or_insert(tag.arrival);
        let since = tag.arrival.saturating_duration_since(zero);
        let is_keyframe = tag.role == TagRole::Keyframe;
        let repaired = self.timeline.handle(since, tag.tag);
        for fixed in &repaired {
            if let Err(late) = self.admit(fixed) {
                return FeedEvent::Late(late);
            }
            let written = self.write(fixed, tag.wall, session);
            if is_keyframe && fixed.kind == TagKind::Video {
                self.keyframe = Some(self.media);
            }
            if !written {
                self.dropping = true;
                return FeedEvent::Dropped;
            }
        }
        self.take_events()
    }

    fn admit(&mut self, tag: &FlvTag) -> Result<(), TooLate> {
        let Some(keyframes) = self.keyframes.as_mut().filter(|_| tag.kind == TagKind::Video) else { return Ok(()) };
        let header = VideoHeader::parse(&tag.body).filter(|header| header.packet == PacketKind::Frames);
        let Some(header) = header else { return Ok(()) };
        let decoded = unwrapped(self.media, tag.timestamp);
        keyframes.admit(decoded + i64::from(header.composition_time), header.keyframe)
    }

    fn take_events(&mut self) -> FeedEvent {
        let mut outcome = FeedEvent::Fed;
        while let Some(event) = self.timeline.poll_event() {
            match event {
                Event::ConfigurationChanged(_) => outcome = FeedEvent::Changed("its configuration changed"),
                Event::TrackStarted(_) => outcome = FeedEvent::Changed("a track started"),
                Event::Jumped { track, by } => {
                    metrics::counter!("tailwater_timeline_jumps_total").increment(1);
                    tracing::warn!(?track, milliseconds = by, "the source's timestamps jumped: repaired");
                }
                Event::AudioStopped => tracing::warn!("the source's audio stopped: silence takes its place"),
                Event::AudioResumed => tracing::info!("the source's audio is there again"),
            }
        }
        outcome
    }

    fn write(&mut self, tag: &FlvTag, wall: SystemTime, session: &Session) -> bool {
        if tag.kind == TagKind::Video || !self.has_video {
            self.media = unwrapped(self.media, tag.timestamp);
            self.arrivals.push_back((self.media * 1_000_000, wall));
            if self.arrivals.len() > ARRIVALS {
                self.arrivals.pop_front();
            }
        }
        session.feed(self.writer.write(tag))
    }

    /// The newest media of the session, on the clock of what is put out.
    pub(super) fn fed(&self) -> MediaTime {
        MediaTime((self.media - self.skip) * 1_000_000)
    }

    /// The newest keyframe of the session.
    pub(super) fn newest_keyframe(&self) -> Option<MediaTime> {
        self.keyframe.map(|media| MediaTime((media - self.skip) * 1_000_000))
    }

    /// When the first media that the session puts out reached us, or would have, had the encoder not held its first frames back:
    /// encoders start with a burst, and the frame that is least late tells best when time zero was.
    pub(super) fn anchor(&self) -> Option<SystemTime> {
        let zero = |(media, wall): &(i64, SystemTime)| wall.checked_sub(Duration::from_nanos((*media).max(0) as u64));
        let skipped = Duration::from_millis(self.skip.unsigned_abs());
        self.arrivals.iter().filter_map(zero).min().map(|zero| zero + skipped)
    }

    /// When the media at `time` reached us.
    pub(super) fn arrival_of(&mut self, time: MediaTime) -> Option<SystemTime> {
        // A frame of tolerance: the container's clock and FLV's milliseconds round differently.
        let from = time.0 + self.skip * 1_000_000 - Duration::from_millis(2).as_nanos() as i64;
        while self.arrivals.front().is_some_and(|(media, _)| *media < from) && self.arrivals.len() > 1 {
            self.arrivals.pop_front();
        }
        self.arrivals.front().filter(|(media, _)| *media >= from).map(|(_, wall)| *wall)
    }
}

/// FLV's clock wraps after 49.7 days; a session may last longer.
fn unwrapped(last: i64, timestamp: u32) -> i64 {
    last + i64::from(timestamp.wrapping_sub(last as u32) as i32)
}

/// FFmpeg looks no further for tracks than the first keyframe. Sound that has no sequence header to be known by (MP3, G.711, Speex)
/// is shown to it in time by a tag of nearly nothing: what its decoder skips, or one sample of silence.
fn opening(tags: &[StampedTag]) -> Option<FlvTag> {
    if tags.iter().any(|tag| tag.role == TagRole::AudioHeader) {
        return None;
    }
    let first = &tags.iter().find(|tag| tag.role == TagRole::Sound && !tag.tag.body.is_empty())?.tag.body;
    let header = AudioHeader::parse(first)?;
    let silence: &[u8] = match (header.codec, first[0] & 2) {
        (AudioCodec::Legacy(7), _) => &[0xd5],
        (AudioCodec::Legacy(8), _) => &[0xff],
        (AudioCodec::Legacy(0 | 3), 0) => &[0x80; 2][..header.channels as usize],
        (AudioCodec::Legacy(0 | 3), _) => &[0; 4][..2 * header.channels as usize],
        _ => &[0],
    };
    let body = [&first[..header.payload], silence].concat();
    Some(FlvTag { kind: TagKind::Audio, timestamp: 0, body: body.into() })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const AAC: &[u8] = &[0xaf, 0, 0x11, 0x90];

    fn opened(bodies: &[&'static [u8]]) -> Option<Vec<u8>> {
        let stamp = |body: &&'static [u8]| {
            let tag = FlvTag { kind: TagKind::Audio, timestamp: 40, body: Bytes::from_static(body) };
            StampedTag::new(tag, Instant::now(), SystemTime::UNIX_EPOCH)
        };
        opening(&bodies.iter().map(stamp).collect::<Vec<_>>()).map(|tag| tag.body.to_vec())
    }

    #[test]
    fn sound_without_a_sequence_header_is_announced_by_a_tag_of_nearly_nothing() {
        assert_eq!(opened(&[]), None);
        assert_eq!(opened(&[AAC, &[0xaf, 1, 7]]), None, "its header does that");
        // MP3; G.711 A-law and mu-law; PCM of 8 bits, and of 16 in stereo; Speex; AC-3 by FourCC.
        assert_eq!(opened(&[&[0x2e, 0xff, 0xfb, 0x50, 0xc4]]), Some(vec![0x2e, 0]));
        assert_eq!(opened(&[&[], &[0x72, 1, 2]]), Some(vec![0x72, 0xd5]));
        assert_eq!(opened(&[&[0x82, 1, 2]]), Some(vec![0x82, 0xff]));
        assert_eq!(opened(&[&[0x08, 1, 2]]), Some(vec![0x08, 0x80]));
        assert_eq!(opened(&[&[0x3f, 1, 2, 3, 4]]), Some(vec![0x3f, 0, 0, 0, 0]));
        assert_eq!(opened(&[&[0xb6, 1, 2]]), Some(vec![0xb6, 0]));
        assert_eq!(opened(&[b"\x91ac-3xyz"]), Some(b"\x91ac-3\0".to_vec()));
    }
}
