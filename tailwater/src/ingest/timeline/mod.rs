//! The timeline of a source, repaired before FFmpeg sees it: whatever the encoder stamps, what leaves starts at 0, rises
//! strictly in each track, keeps audio and video in step, and never ends the broadcast.
//!
//! Encoders jump forth and back, wrap at 24, 31 and 32 bits, repeat and reverse decoding times, put audio and video on
//! different bases, let audio stop. FFmpeg gives up on some of it and makes hours of still picture of the rest.
//!
//! # How a jump is told from a pause
//! A live source cannot send what has not happened yet. How far media time runs ahead of arrival time is therefore bounded by
//! what it was lately; a tag that leaps beyond it has jumped, and is moved to where the track should be by now. One that leaps
//! within it (the encoder dropped frames, the network stalled) is right. Back is always a jump.
//!
//! The track that jumps second takes over the first one's correction when that fits, so that both stay in step to the
//! millisecond.

mod sequence;
mod silence;
mod track;
mod window;

#[cfg(test)]
mod ffmpeg_tests;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use rtmp::flv::{AudioHeader, FlvTag, PacketKind, TagKind, VideoHeader};

use crate::ladder::source::SourceInfo;

use sequence::{Change, Sequence};
use silence::Filler;
use track::{Placed, Track};
use window::Highest;

/// Audio and video stamped further apart than this have different bases: no encoder is this much out of step with itself, and
/// players hold less.
const MAX_SKEW: i64 = 10_000;
/// Audio that came before the first keyframe and may belong after it: two to five seconds.
const MAX_HELD: usize = 256;
/// How far ahead of arrival a source may be is remembered for this long, twice at most.
const AHEAD_WINDOW: Duration = Duration::from_secs(30);

/// The tracks that the session was planned with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// Time starts at the first video keyframe.
    pub video: bool,
    /// Gaps of the audio are filled with silence.
    pub audio: bool,
}

impl From<&SourceInfo> for Planned {
    fn from(source: &SourceInfo) -> Self {
        Self { video: source.video.is_some(), audio: source.audio.is_some() }
    }
}

/// What the owner of the session should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A track sends another configuration than before: codec, size, rate, channels. The timeline gives nothing out any more;
    /// make a new session, and feed its timeline with [`Timeline::headers`] first.
    ConfigurationChanged(TagKind),
    /// A track came that was not planned. The timeline goes on without it; make a new session to have it.
    TrackStarted(TagKind),
    /// A track jumped by so many milliseconds against what was to be expected, and was moved back.
    Jumped {
        /// Which track.
        track: TagKind,
        /// Milliseconds; negative when time went back.
        by: i64,
    },
    /// Audio stopped while video goes on: silence takes its place.
    AudioStopped,
    /// Audio is there again.
    AudioResumed,
}

/// Repairs the timeline of one session. Pure: [`handle`](Self::handle) is told when a tag arrived.
///
/// Feed every tag of the source in order; write what comes back; ask [`poll_event`](Self::poll_event) after each.
#[derive(Debug)]
pub struct Timeline {
    planned: Planned,
    video: Track,
    audio: Track,
    sequence: Sequence,
    filler: Filler,
    /// Milliseconds by which media time was ahead of arrival time lately.
    ahead: Highest,
    /// Audio before the first keyframe.
    held: VecDeque<(Duration, FlvTag)>,
    started: bool,
    over: bool,
    events: VecDeque<Event>,
}

impl Timeline {
    /// The timeline of a session with these tracks.
    #[must_use]
    pub fn new(planned: Planned) -> Self {
        Self {
            planned,
            video: Track::new(TagKind::Video),
            audio: Track::new(TagKind::Audio),
            sequence: Sequence::default(),
            filler: Filler::default(),
            ahead: Highest::new(AHEAD_WINDOW),
            held: VecDeque::new(),
            started: false,
            over: false,
            events: VecDeque::new(),
        }
    }

    /// Takes a tag that arrived at `arrival` (on any clock that does not step; for a tag from a buffer, when it was received) and
    /// gives what is to be written now, in order. Timestamps are milliseconds since the first keyframe (or the first audio, where
    /// no video is planned), modulo 2^32, which is how FFmpeg's demuxer unwraps them.
    pub fn handle(&mut self, arrival: Duration, tag: FlvTag) -> Vec<FlvTag> {
        let mut out = Vec::new();
        if !self.over && !tag.body.is_empty() {
            match tag.kind {
                TagKind::Video => self.handle_video(arrival, tag, &mut out),
                TagKind::Audio => self.handle_audio(arrival, tag, &mut out),
                // Nothing in a script is needed, and a promise of a track in one makes FFmpeg wait for it.
                TagKind::Script => {}
            }
        }
        out
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The newest sequence headers, for the timeline of the next session.
    #[must_use]
    pub fn headers(&self) -> Vec<FlvTag> {
        self.sequence.headers()
    }

    /// Milliseconds of media since the start, of the track that is further.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.video.last().max(self.audio.last()).max(0)
    }

    fn handle_video(&mut self, arrival: Duration, tag: FlvTag, out: &mut Vec<FlvTag>) {
        let Some(header) = VideoHeader::parse(&tag.body) else { return };
        match header.packet {
            PacketKind::Frames => {}
            PacketKind::SequenceHeader => {
                let change = self.sequence.video_header(&header, &tag);
                return self.handle_header(change, tag, out);
            }
            // The end of a sequence would end FFmpeg's decoder; the rest says nothing.
            PacketKind::EndOfSequence | PacketKind::Other => return,
        }
        if !self.planned.video {
            return self.unplanned(TagKind::Video);
        }
        if self.sequence.video_codec_changed(&header) {
            return self.change(TagKind::Video);
        }
        if !self.started {
            if !header.keyframe {
                return;
            }
            self.start(arrival, tag.timestamp, track::believed(header.composition_time).min(0), out);
        }
        let Some(time) = self.place(TagKind::Video, arrival, tag.timestamp) else { return };
        self.fill(time, out);
        let (decode, composition) = self.video.order(time, header.composition_time);
        let body = if composition == header.composition_time {
            tag.body
        } else {
            header.with_composition_time(&tag.body, composition)
        };
        out.push(stamped(TagKind::Video, decode, body));
        for (arrival, tag) in std::mem::take(&mut self.held) {
            self.handle_audio(arrival, tag, out);
        }
    }

    fn handle_audio(&mut self, arrival: Duration, tag: FlvTag, out: &mut Vec<FlvTag>) {
        let Some(header) = AudioHeader::parse(&tag.body) else { return };
        match header.packet {
            PacketKind::Frames => {}
            PacketKind::SequenceHeader => {
                let change = self.sequence.audio_header(&header, &tag);
                self.filler.set_configuration(&header, &tag.body);
                return self.handle_header(change, tag, out);
            }
            PacketKind::EndOfSequence | PacketKind::Other => return,
        }
        if !self.planned.audio {
            return self.unplanned(TagKind::Audio);
        }
        if self.sequence.audio_codec_changed(&header, &tag.body) {
            return self.change(TagKind::Audio);
        }
        if !self.started {
            if self.planned.video {
                if self.held.len() == MAX_HELD {
                    self.held.pop_front();
                }
                self.held.push_back((arrival, tag));
                return;
            }
            self.start(arrival, tag.timestamp, 0, out);
        }
        let Some(time) = self.place(TagKind::Audio, arrival, tag.timestamp) else { return };
        if self.filler.resume() {
            self.events.push_back(Event::AudioResumed);
        }
        if self.planned.video {
            self.filler.observe(arrival, self.video.last() - time);
        }
        self.audio.advance(time);
        out.push(stamped(TagKind::Audio, time, tag.body));
    }

    /// A sequence header: the first is handed on, a repeated one dropped, another one ends the session.
    fn handle_header(&mut self, change: Change, tag: FlvTag, out: &mut Vec<FlvTag>) {
        let planned = match tag.kind {
            TagKind::Video => self.planned.video,
            _ => self.planned.audio,
        };
        match change {
            Change::Same => {}
            Change::Changed if planned => self.change(tag.kind),
            Change::First if planned && self.started => {
                let time = match tag.kind {
                    TagKind::Video => self.video.last(),
                    _ => self.audio.last(),
                };
                out.push(stamped(tag.kind, time.max(0), tag.body));
            }
            Change::First | Change::Changed => {}
        }
    }

    /// Time zero is the first tag, or when its picture is shown where that is before it is decoded: a picture that would be shown
    /// before zero would have to be shown later than its sound.
    fn start(&mut self, arrival: Duration, timestamp: u32, shown: i32, out: &mut Vec<FlvTag>) {
        self.started = true;
        let first = if self.planned.video { &mut self.video } else { &mut self.audio };
        first.start(arrival, i64::from(timestamp), timestamp, -i64::from(timestamp) - i64::from(shown));
        self.ahead.observe(arrival, -milliseconds(arrival));
        for header in self.sequence.headers() {
            let planned = if header.kind == TagKind::Video { self.planned.video } else { self.planned.audio };
            if planned {
                out.push(stamped(header.kind, 0, header.body));
            }
        }
    }

    /// Where a tag belongs on the session's timeline, in milliseconds. `None`: nowhere any more.
    fn place(&mut self, kind: TagKind, arrival: Duration, timestamp: u32) -> Option<i64> {
        let (track, other) = match kind {
            TagKind::Video => (&mut self.video, &self.audio),
            _ => (&mut self.audio, &self.video),
        };
        if !track.is_started() {
            track.start_beside(other, arrival, timestamp, MAX_SKEW);
        }
        let limit = self.ahead.highest() + milliseconds(arrival);
        let filled = kind == TagKind::Audio && self.filler.is_filling();
        let (time, jumped) = match track.place(other, arrival, timestamp, limit, filled) {
            Placed::At { time, jumped } => (time, jumped),
            Placed::Behind { time } => {
                let late_from_its_start = !track.is_heard();
                self.filler.observe_behind(arrival, self.video.last() - time, late_from_its_start);
                return None;
            }
            Placed::Before => return None,
        };
        if let Some(by) = jumped {
            if kind == TagKind::Audio {
                self.filler.forget_lag();
            }
            self.events.push_back(Event::Jumped { track: kind, by });
        }
        self.ahead.observe(arrival, time - milliseconds(arrival));
        Some(time)
    }

    /// Silence up to where the audio should be when the video is at `time`.
    fn fill(&mut self, time: i64, out: &mut Vec<FlvTag>) {
        if !self.planned.audio {
            return;
        }
        let was_filling = self.filler.is_filling();
        for (at, body) in self.filler.fill(self.audio.last(), time) {
            self.audio.advance(at);
            out.push(stamped(TagKind::Audio, at, body));
        }
        if !was_filling && self.filler.is_filling() {
            self.events.push_back(Event::AudioStopped);
        }
    }

    fn unplanned(&mut self, kind: TagKind) {
        if self.sequence.announce(kind) {
            self.events.push_back(Event::TrackStarted(kind));
        }
    }

    fn change(&mut self, kind: TagKind) {
        self.over = true;
        self.held.clear();
        self.events.push_back(Event::ConfigurationChanged(kind));
    }
}

/// FLV has 32 bits for the time; a session may last longer than their 49.7 days.
fn stamped(kind: TagKind, time: i64, body: bytes::Bytes) -> FlvTag {
    FlvTag { kind, timestamp: time as u32, body }
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 4)
}
