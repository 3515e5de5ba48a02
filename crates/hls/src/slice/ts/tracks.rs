//! What the elementary streams say: parameter sets, ADTS headers, and how long a frame lasts.

use std::time::Duration;

use super::TIMESCALE;
use super::psi::{Codec, Program};
use crate::media::aac::{Adts, AdtsWalker, FRAME_SAMPLES, HEADER};
use crate::media::{AudioTrack, Tracks, VideoTrack, h264, hevc};

/// Parameter sets are at the start of a keyframe. What is further in is not looked for.
const MAX_HEAD: usize = 4096;

/// Looks into the streams as far as the playlist needs.
#[derive(Debug)]
pub(super) struct Inspector {
    /// As configured.
    known_frame: Option<Duration>,
    /// As the parameter sets say, or else the distance of two frames.
    frame: Option<Duration>,
    /// The first bytes of a keyframe, until its parameter set was seen.
    head: Option<Vec<u8>>,
    sps: Vec<u8>,
    video: Option<VideoTrack>,
    audio: Option<AudioTrack>,
    /// Of the open audio PES.
    walker: AdtsWalker,
    /// The first bytes of an audio PES beside video.
    beside: Vec<u8>,
    changed: bool,
}

impl Inspector {
    pub(super) fn new(known_frame: Option<Duration>) -> Self {
        Self {
            known_frame: known_frame.filter(|frame| !frame.is_zero()),
            frame: None,
            head: None,
            sps: Vec::new(),
            video: None,
            audio: None,
            walker: AdtsWalker::default(),
            beside: Vec::new(),
            changed: true,
        }
    }

    pub(super) fn begin(&mut self, key: bool) {
        self.head = key.then(Vec::new);
        self.walker = AdtsWalker::default();
    }

    /// More of a video PES. Its end is not to be seen in it: false.
    pub(super) fn video(&mut self, program: &Program, data: &[u8]) -> bool {
        if let Some(head) = &mut self.head {
            let room = MAX_HEAD.saturating_sub(head.len()).min(data.len());
            head.extend_from_slice(&data[..room]);
            let full = head.len() >= MAX_HEAD;
            self.look_for_sps(program, full);
        }
        false
    }

    fn look_for_sps(&mut self, program: &Program, whole: bool) {
        let Some(head) = self.head.take() else { return };
        let codec = program.video.map_or(Codec::Other, |stream| stream.codec);
        let found = match codec {
            Codec::H264 => h264::find_sps(&head, whole),
            Codec::Hevc => hevc::find_sps(&head, whole),
            Codec::Adts | Codec::Other => None,
        };
        match found {
            Some(sps) if sps == self.sps => {}
            Some(sps) => {
                self.sps = sps.to_vec();
                self.video = if codec == Codec::Hevc { hevc::describe(sps) } else { h264::describe(sps) };
                let rate = self.video.as_ref().and_then(|video| video.frame_rate);
                self.frame = rate.map(|rate| Duration::from_secs_f64(1.0 / rate)).or(self.frame);
                self.changed = true;
            }
            None if whole => {}
            None => self.head = Some(head),
        }
    }

    /// More of an audio PES.
    pub(super) fn audio(&mut self, program: &Program, start: bool, data: &[u8]) {
        if program.audio.is_none_or(|stream| stream.codec != Codec::Adts) {
            return;
        }
        if program.video.is_none() {
            self.walker.feed(data);
            self.heard(self.walker.first());
            return;
        }
        if start {
            self.beside.clear();
        }
        if self.beside.len() < HEADER && (start || !self.beside.is_empty()) {
            let room = (HEADER - self.beside.len()).min(data.len());
            self.beside.extend_from_slice(&data[..room]);
            self.heard(Adts::parse(&self.beside));
        }
    }

    fn heard(&mut self, adts: Option<Adts>) {
        let Some(adts) = adts else { return };
        if self.audio.as_ref().is_none_or(|audio| !adts.is(audio)) {
            self.audio = Some(adts.track());
            self.changed = true;
        }
    }

    /// The distance of two frames in decoding order, in ticks: their duration, where nothing else tells.
    pub(super) fn distance(&mut self, ticks: i64) {
        if self.frame.is_none() && (1..=i64::from(TIMESCALE)).contains(&ticks) {
            self.frame = Some(Duration::from_nanos(ticks.unsigned_abs() * 1_000_000_000 / u64::from(TIMESCALE)));
        }
    }

    /// Whether the duration of a frame is known before the next one comes.
    pub(super) fn frame_known(&self, video: bool) -> bool {
        !video || self.known_frame.or(self.frame).is_some() || self.head.is_some()
    }

    /// The unit has ended: the whole frames in it, and how long they last.
    pub(super) fn end(&mut self, program: &Program) -> (u32, Duration) {
        self.look_for_sps(program, true);
        if program.video.is_some() {
            return (1, self.known_frame.or(self.frame).unwrap_or_default());
        }
        let rate = u64::from(self.walker.first().map_or(0, |adts| adts.sample_rate)).max(1);
        let frames = self.walker.frames();
        let samples = u64::from(frames) * u64::from(FRAME_SAMPLES);
        (frames, Duration::from_nanos(samples * 1_000_000_000 / rate))
    }

    /// The tracks, if they are news and either complete or `all` that will be known.
    pub(super) fn news(&mut self, program: &Program, all: bool) -> Option<Tracks> {
        if !self.changed {
            return None;
        }
        let video = program.video.is_none_or(|s| !s.codec.is_described() || self.video.is_some());
        let audio = program.audio.is_none_or(|s| !s.codec.is_described() || self.audio.is_some());
        let any = program.video.is_some() || program.audio.is_some();
        if !any || !(all || (video && audio)) {
            return None;
        }
        self.changed = !(video && audio);
        Some(Tracks { video: self.video.clone(), audio: self.audio.clone() })
    }
}
