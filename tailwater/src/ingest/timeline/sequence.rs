//! What the tracks are: their sequence headers, and whether they change.

use rtmp::flv::{AudioCodec, AudioHeader, FlvTag, Mp3Frame, TagKind, VideoCodec, VideoHeader};

/// What a sequence header is to the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    First,
    Same,
    Changed,
}

#[derive(Debug, Default)]
pub(super) struct Sequence {
    video: Option<FlvTag>,
    audio: Option<FlvTag>,
    video_codec: Option<VideoCodec>,
    audio_codec: Option<AudioCodec>,
    mp3: Option<Mp3Frame>,
    /// Rate and channels of a codec that says them nowhere but in the header of its tags.
    flags: Option<(u32, u32)>,
    announced_video: bool,
    announced_audio: bool,
}

impl Sequence {
    pub(super) fn headers(&self) -> Vec<FlvTag> {
        self.video.iter().chain(&self.audio).cloned().collect()
    }

    pub(super) fn video_header(&mut self, header: &VideoHeader, tag: &FlvTag) -> Change {
        let change = compare(self.video.as_ref(), tag);
        // A track that had no header before and frames of another codec has changed too.
        let change = if self.video_codec_changed(header) { Change::Changed } else { change };
        self.video = Some(tag.clone());
        change
    }

    pub(super) fn audio_header(&mut self, header: &AudioHeader, tag: &FlvTag) -> Change {
        let change = compare(self.audio.as_ref(), tag);
        let changed = self.audio_codec.is_some_and(|codec| codec != header.codec);
        self.audio_codec = Some(header.codec);
        self.audio = Some(tag.clone());
        if changed { Change::Changed } else { change }
    }

    /// Whether the codec is another than before. Remembers it.
    pub(super) fn video_codec_changed(&mut self, header: &VideoHeader) -> bool {
        self.video_codec.replace(header.codec).is_some_and(|codec| codec != header.codec)
    }

    /// Whether codec, or the rate of one that has no sequence header, are others than before. Remembers them.
    pub(super) fn audio_codec_changed(&mut self, header: &AudioHeader, body: &[u8]) -> bool {
        let mut changed = self.audio_codec.replace(header.codec).is_some_and(|codec| codec != header.codec);
        if header.codec == AudioCodec::Mp3
            && let Some(frame) = Mp3Frame::parse(body.get(header.payload..).unwrap_or_default())
        {
            changed |= self.mp3.replace(frame).is_some_and(|before| before.sample_rate != frame.sample_rate);
        }
        if let AudioCodec::Legacy(_) = header.codec {
            let flags = (header.sample_rate, header.channels);
            changed |= self.flags.replace(flags).is_some_and(|before| before != flags);
        }
        if changed && header.codec != AudioCodec::Aac {
            // The old header is that of another codec.
            self.audio = None;
        }
        changed
    }

    /// Whether an unplanned track is told of for the first time.
    pub(super) fn announce(&mut self, kind: TagKind) -> bool {
        let announced = if kind == TagKind::Video { &mut self.announced_video } else { &mut self.announced_audio };
        !std::mem::replace(announced, true)
    }
}

fn compare(before: Option<&FlvTag>, now: &FlvTag) -> Change {
    match before {
        None => Change::First,
        Some(before) if before.body == now.body => Change::Same,
        Some(_) => Change::Changed,
    }
}
