//! The last GOP of a publisher, for livestreams that attach after it began.

use std::collections::VecDeque;

use super::source::{StampedTag, TagRole};

/// What one publisher may keep for those who attach later: its headers and the tags since its last keyframe.
///
/// Bounded in bytes: a GOP that outgrows the bound is forgotten, and who attaches then starts at the next keyframe.
#[derive(Debug)]
pub struct Backlog {
    limit: usize,
    metadata: Option<StampedTag>,
    video_header: Option<StampedTag>,
    audio_header: Option<StampedTag>,
    tags: VecDeque<StampedTag>,
    bytes: usize,
}

impl Backlog {
    /// A backlog of at most `limit` bytes of tag bodies.
    pub fn new(limit: usize) -> Self {
        Self { limit, metadata: None, video_header: None, audio_header: None, tags: VecDeque::new(), bytes: 0 }
    }

    /// Takes note of the publisher's next tag.
    pub fn push(&mut self, tag: &StampedTag) {
        match tag.role {
            TagRole::Metadata => self.metadata = Some(tag.clone()),
            // What came before another configuration cannot be decoded with it.
            TagRole::VideoHeader => {
                if is_other(self.video_header.as_ref(), tag) {
                    self.clear();
                }
                self.video_header = Some(tag.clone());
            }
            TagRole::AudioHeader => {
                if is_other(self.audio_header.as_ref(), tag) {
                    self.tags.retain(|kept| kept.role != TagRole::Sound);
                    self.bytes = self.tags.iter().map(|kept| kept.tag.body.len()).sum();
                }
                self.audio_header = Some(tag.clone());
            }
            TagRole::Keyframe => {
                self.clear();
                self.keep(tag);
            }
            // Audio alone has no keyframes to start at: a second of it is enough.
            TagRole::Sound if self.video_header.is_none() => {
                self.keep(tag);
                while self.tags.len() > AUDIO_ONLY_TAGS {
                    self.forget_first();
                }
            }
            TagRole::Picture | TagRole::Sound if !self.tags.is_empty() => self.keep(tag),
            TagRole::Picture | TagRole::Sound => {}
        }
    }

    /// The headers, then the tags since the last keyframe, in the order they came.
    pub fn replay(&self) -> Vec<StampedTag> {
        let headers = [&self.metadata, &self.video_header, &self.audio_header];
        headers.into_iter().flatten().chain(&self.tags).cloned().collect()
    }

    /// Whether the publisher has announced no video so far: then a decoder can start with any sound.
    pub fn is_sound_alone(&self) -> bool {
        self.video_header.is_none()
    }

    /// Whether a decoder can start with what is kept.
    pub fn has_media(&self) -> bool {
        !self.tags.is_empty()
    }

    fn keep(&mut self, tag: &StampedTag) {
        self.bytes += tag.tag.body.len();
        self.tags.push_back(tag.clone());
        if self.bytes > self.limit {
            self.clear();
        }
    }

    fn forget_first(&mut self) {
        if let Some(tag) = self.tags.pop_front() {
            self.bytes -= tag.tag.body.len();
        }
    }

    fn clear(&mut self) {
        self.tags.clear();
        self.bytes = 0;
    }
}

fn is_other(before: Option<&StampedTag>, now: &StampedTag) -> bool {
    before.is_none_or(|before| before.tag.body != now.tag.body)
}

/// About a second of AAC at 48 kHz.
const AUDIO_ONLY_TAGS: usize = 48;

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime};

    use rtmp::flv::{FlvTag, TagKind};

    use super::*;

    const AVC: &[u8] = &[0x17, 0, 0, 0, 0, 1];
    const AAC: &[u8] = &[0xaf, 0, 0x11, 0x90];
    const KEYFRAME: &[u8] = &[0x17, 1, 0, 0, 0, 7];
    const PICTURE: &[u8] = &[0x27, 1, 0, 0, 0, 7];
    const SOUND: &[u8] = &[0xaf, 1, 7];

    /// What is replayed after these.
    fn replayed(bodies: &[&'static [u8]]) -> Vec<Vec<u8>> {
        let mut backlog = Backlog::new(1000);
        for body in bodies {
            let kind = if body[0] >> 4 == 10 { TagKind::Audio } else { TagKind::Video };
            let tag = FlvTag { kind, timestamp: 0, body: (*body).into() };
            backlog.push(&StampedTag::new(tag, Instant::now(), SystemTime::now()));
        }
        backlog.replay().into_iter().map(|tag| tag.tag.body.to_vec()).collect()
    }

    #[test]
    fn it_holds_the_headers_and_what_came_since_the_last_keyframe() {
        let tags = [AVC, AAC, KEYFRAME, SOUND, PICTURE, KEYFRAME, PICTURE, SOUND];
        assert_eq!(replayed(&tags), [AVC, AAC, KEYFRAME, PICTURE, SOUND]);
    }

    #[test]
    fn a_repeated_configuration_changes_nothing() {
        let tags = [AVC, AAC, KEYFRAME, SOUND, AVC, AAC, PICTURE];
        assert_eq!(replayed(&tags), [AVC, AAC, KEYFRAME, SOUND, PICTURE]);
    }

    #[test]
    fn nothing_is_replayed_under_a_configuration_it_does_not_belong_to() {
        const MONO: &[u8] = &[0xaf, 0, 0x12, 0x08];
        const WIDER: &[u8] = &[0x17, 0, 0, 0, 0, 2];
        let tags = [AVC, AAC, KEYFRAME, SOUND, PICTURE, MONO, SOUND];
        assert_eq!(replayed(&tags), [AVC, MONO, KEYFRAME, PICTURE, SOUND]);
        let tags = [AVC, AAC, KEYFRAME, SOUND, PICTURE, WIDER, SOUND];
        assert_eq!(replayed(&tags), [WIDER, AAC]);
    }
}
