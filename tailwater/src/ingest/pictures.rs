//! A source whose picture stops while its sound goes on is lost until a picture comes that a decoder can start with.
//!
//! FFmpeg puts out nothing of sound whose picture it waits for, and players that began with a picture stop without one: there is
//! nothing that could be shown. Told as an end and a connection, it is what every other loss is to a backup, a slate and the
//! reconnect window. A source that never had a picture is left alone.
//!
//! Pure: time is the arrival of the tags.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtmp::flv::{PacketKind, VideoHeader};

use super::source::{SourceEnd, SourceEvent, StampedTag, TagRole};

/// Sound comes for so long without a picture: the source is lost. As long as [`failover`](super::failover) takes for silence:
/// encoders on a slow network leave pictures out for a second or two, and a camera may send one a second.
const PATIENCE: Duration = Duration::from_secs(3);
/// Sound waits for its picture after this, so that little of it is left over where the picture stopped.
const AHEAD: Duration = Duration::from_millis(100);
/// Where sound pauses for so long too, it is not the picture that stopped.
const PAUSE: Duration = Duration::from_secs(1);
/// Bytes of sound that may wait: three seconds of anything that is sent.
const MAX_HELD: usize = 1 << 20;

/// Watches one source. Push every event of it into [`handle`](Self::handle), then take what it is to others from
/// [`poll`](Self::poll).
#[derive(Debug, Default)]
pub struct Pictures {
    state: State,
    headers: Headers,
    events: VecDeque<SourceEvent>,
}

#[derive(Debug, Default)]
enum State {
    /// There was no picture that a decoder can start with.
    #[default]
    Unseen,
    /// Pictures come.
    Seen { quiet: Option<Quiet> },
    /// They stopped.
    Lost,
}

/// Sound since the newest picture.
#[derive(Debug)]
struct Quiet {
    since: Instant,
    newest: Instant,
    held: Vec<StampedTag>,
    bytes: usize,
}

/// The newest of each: an encoder sends them once.
#[derive(Debug, Default)]
struct Headers {
    metadata: Option<StampedTag>,
    video: Option<StampedTag>,
    audio: Option<StampedTag>,
}

impl Pictures {
    /// What the source has to say next.
    pub fn handle(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Tag(tag) => self.handle_tag(tag),
            SourceEvent::Connected | SourceEvent::Switched(_) | SourceEvent::Ended(_) => {
                self.release();
                (self.state, self.headers) = (State::Unseen, Headers::default());
                self.events.push_back(event);
            }
            SourceEvent::Dropped(_) => self.events.push_back(event),
        }
    }

    /// What that is to others.
    pub fn poll(&mut self) -> Option<SourceEvent> {
        self.events.pop_front()
    }

    /// What the source sent before anybody listened. None when its pictures stopped meanwhile, which is then the next to be told.
    pub fn begin(&mut self, tags: Vec<StampedTag>) -> Option<Vec<StampedTag>> {
        tags.into_iter().for_each(|tag| self.handle_tag(tag));
        let mut sent = Vec::new();
        for event in std::mem::take(&mut self.events) {
            match event {
                SourceEvent::Tag(tag) => sent.push(tag),
                other => self.events.push_back(other),
            }
        }
        (!matches!(self.state, State::Lost)).then_some(sent)
    }

    fn handle_tag(&mut self, tag: StampedTag) {
        self.headers.note(&tag);
        let is_entry = tag.role == TagRole::Keyframe;
        match &mut self.state {
            State::Lost if is_entry => self.come_back(tag),
            State::Lost => {}
            State::Unseen => {
                if is_entry {
                    self.state = State::Seen { quiet: None };
                }
                self.events.push_back(SourceEvent::Tag(tag));
            }
            State::Seen { .. } if is_picture(&tag) => {
                self.release();
                self.events.push_back(SourceEvent::Tag(tag));
            }
            State::Seen { quiet: None } if tag.role != TagRole::Sound => self.events.push_back(SourceEvent::Tag(tag)),
            State::Seen { quiet } => {
                let quiet = quiet.get_or_insert_with(|| Quiet::from(tag.arrival));
                match quiet.take(tag) {
                    Taken::Fine(tag) => self.events.push_back(SourceEvent::Tag(tag)),
                    Taken::Held => {}
                    Taken::TooMuch => self.lose(),
                }
            }
        }
    }

    fn lose(&mut self) {
        self.state = State::Lost;
        let why = format!("its picture stopped {} s ago, and its sound goes on", PATIENCE.as_secs());
        self.events.push_back(SourceEvent::Ended(SourceEnd::Lost(why)));
    }

    /// As if it had just connected, with a picture to start with.
    fn come_back(&mut self, key: StampedTag) {
        self.state = State::Seen { quiet: None };
        self.events.push_back(SourceEvent::Connected);
        // Of now: who judges the source counts from the first tag's arrival.
        let (arrival, wall) = (key.arrival, key.wall);
        let headers = self.headers.all().map(|header| StampedTag { arrival, wall, ..header.clone() });
        self.events.extend(headers.chain([key]).map(SourceEvent::Tag));
    }

    /// The sound that waited has its picture, or the source ends.
    fn release(&mut self) {
        if let State::Seen { quiet } = &mut self.state
            && let Some(quiet) = quiet.take()
        {
            self.events.extend(quiet.held.into_iter().map(SourceEvent::Tag));
        }
    }
}

enum Taken {
    Fine(StampedTag),
    Held,
    TooMuch,
}

impl Quiet {
    fn from(since: Instant) -> Self {
        Self { since, newest: since, held: Vec::new(), bytes: 0 }
    }

    fn take(&mut self, tag: StampedTag) -> Taken {
        if tag.arrival.saturating_duration_since(self.newest) > PAUSE {
            self.since = tag.arrival;
        }
        self.newest = tag.arrival;
        let quiet = tag.arrival.saturating_duration_since(self.since);
        if quiet < AHEAD && self.held.is_empty() {
            return Taken::Fine(tag);
        }
        self.bytes += tag.tag.body.len();
        self.held.push(tag);
        if quiet >= PATIENCE || self.bytes > MAX_HELD { Taken::TooMuch } else { Taken::Held }
    }
}

impl Headers {
    fn note(&mut self, tag: &StampedTag) {
        let header = match tag.role {
            TagRole::Metadata => &mut self.metadata,
            TagRole::VideoHeader => &mut self.video,
            TagRole::AudioHeader => &mut self.audio,
            TagRole::Keyframe | TagRole::Picture | TagRole::Sound => return,
        };
        *header = Some(tag.clone());
    }

    fn all(&self) -> impl Iterator<Item = &StampedTag> {
        [&self.metadata, &self.video, &self.audio].into_iter().flatten()
    }
}

/// Not the end of a sequence, nor a marker that has no picture in it.
fn is_picture(tag: &StampedTag) -> bool {
    let is_frame = || VideoHeader::parse(&tag.tag.body).is_some_and(|header| header.packet == PacketKind::Frames);
    tag.role == TagRole::Keyframe || (tag.role == TagRole::Picture && is_frame())
}

#[cfg(test)]
#[path = "pictures_tests.rs"]
mod tests;
