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
            TagRole::VideoHeader => self.video_header = Some(tag.clone()),
            TagRole::AudioHeader => self.audio_header = Some(tag.clone()),
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

/// About a second of AAC at 48 kHz.
const AUDIO_ONLY_TAGS: usize = 48;
