//! Numbers what FFmpeg's renditions deliver and keeps their playlists. Pure: events in, outputs out, no clock.
//!
//! A session is one run of FFmpeg. Its renditions are cut alike, so segment `i` of a session has the media sequence
//! number `base + i` in every playlist. A playlist lives as long as the livestream: a rendition that a session does not
//! encode goes on under its own name and numbers, naming the media of the next rung below in the same codec, because
//! players do not read the multivariant playlist again.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use hls::bandwidth::Meter;
use hls::date::ProgramClock;
use hls::media::Tracks;
use hls::slice::{Part, Segment, SliceEvent};
use hls::time::{MediaTime, UnixTime};
use hls::window::{PartInfo, SegmentInfo, Snapshot, Window, WindowConfig};
use store::Payload;

use super::multivariants;
use crate::ladder::VideoCodec;
use crate::origin::Multivariants;
use crate::publish::sequence::{KnownRendition, Start};
use crate::publish::{Command, SegmentCommand};

/// What does not change in a livestream's life.
#[derive(Debug, Clone)]
pub struct PackagerConfig {
    /// The livestream's name in keys.
    pub slug: String,
    /// The playlists' rules: the same for every rendition but for the prefix of their URIs.
    pub window: WindowConfig,
    /// Parts are made and listed.
    pub low_latency: bool,
    /// A segment is listed only once the store has it, or a little later: what an embedded store does not have after a
    /// crash was then never shown.
    pub store_first: bool,
}

/// A rendition as a session will deliver it.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionRendition {
    /// Its name.
    pub name: String,
    /// The codec of its pictures; `None` where it carries only audio, beside video renditions.
    pub codec: Option<VideoCodec>,
    /// Upper bound of its peak segment bit rate, bit/s.
    pub bandwidth: u64,
    /// Upper bound of its average bit rate, bit/s.
    pub average_bandwidth: u64,
}

/// What follows from an event, to be done in this order.
#[derive(Debug)]
pub enum Output {
    /// Keep a media initialization section.
    Init(String, Payload),
    /// Keep a part.
    Part(String, Payload, UnixTime),
    /// Keep a segment.
    Segment(String, Payload, UnixTime),
    /// Show a rendition's playlist.
    Show(String, Snapshot),
    /// Show the multivariant playlists.
    Multivariants(Multivariants),
    /// Tell the publisher.
    Publish(Command),
}

impl PackagerConfig {
    /// The rules of one rendition's playlist.
    pub fn window_of(&self, rendition: &str) -> WindowConfig {
        WindowConfig { uri_prefix: format!("{}_{rendition}", self.slug), ..self.window.clone() }
    }
}

/// One rendition for the livestream's life.
#[derive(Debug)]
pub(super) struct Rendition {
    pub(super) name: String,
    pub(super) audio_only: bool,
    /// Of its pictures, as far as it is known.
    codec: Option<VideoCodec>,
    /// The session encodes it; otherwise it names another's media, or nothing.
    pub(super) encoded: bool,
    pub(super) tracks: Option<Tracks>,
    pub(super) meter: Meter,
    window: Window,
    init: Option<String>,
    inits: u64,
    /// Whose media it names in this session.
    source: Option<String>,
    /// The parts of the open segment, each in one piece.
    parts: Vec<Bytes>,
    /// Waits for the store, see `store_first`.
    closing: Option<SegmentInfo>,
    /// Its playlist is not shown as it is.
    changed: bool,
}

#[derive(Debug)]
struct Session {
    base: u64,
    started: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Packager {
    config: PackagerConfig,
    renditions: Vec<Rendition>,
    session: Option<Session>,
    clock: Option<ProgramClock>,
    /// The next number, when no window says more.
    next_msn: u64,
    discontinuities: u64,
    /// Something was listed before: what comes next follows a discontinuity.
    has_history: bool,
    /// The first segment's parts are not shown: players may know its part names with other bytes.
    withhold: Option<u64>,
    multivariants: Option<Multivariants>,
    outputs: VecDeque<Output>,
}

impl Packager {
    /// A packager that begins where an earlier process left off.
    pub fn new(config: PackagerConfig, start: Start) -> Self {
        let mut packager = Self {
            config,
            renditions: Vec::new(),
            session: None,
            clock: None,
            next_msn: start.next_msn,
            discontinuities: start.next_dsn,
            has_history: false,
            withhold: start.withhold_parts.then_some(start.next_msn),
            multivariants: None,
            outputs: VecDeque::new(),
        };
        for (name, window) in start.windows {
            let audio_only = name == AUDIO;
            let known = start.known.iter().find(|known| known.name == name);
            packager.add_rendition(name, audio_only, window);
            if let (Some(known), Some(added)) = (known, packager.renditions.last_mut()) {
                added.raise_bounds(packager.config.window.target_duration, known.bandwidth, known.average_bandwidth);
                added.codec.clone_from(&known.codec);
            }
        }
        packager.has_history = packager.renditions.iter().any(Rendition::has_segments);
        packager.fill(start.next_msn);
        // Players that kept asking over a restart find what they knew; what is empty is still in the store as it was.
        for rendition in &mut packager.renditions {
            rendition.changed = rendition.has_segments();
        }
        packager.show_changes();
        if let Some(multivariant) = start.multivariant {
            packager.restore_multivariant(multivariant);
        }
        packager
    }

    /// EXT-X-TARGETDURATION, seconds.
    pub fn target_duration(&self) -> u32 {
        self.config.window.target_duration
    }

    /// What a session's segments need of it. It never changes once there is a playlist: false when it is too short then.
    pub fn settle_target_duration(&mut self, seconds: u32) -> bool {
        if self.renditions.is_empty() {
            self.config.window.target_duration = seconds;
        }
        seconds <= self.config.window.target_duration
    }

    /// A session begins: these renditions, their time zero at `anchor` on the wall clock.
    pub fn begin_session(&mut self, renditions: &[SessionRendition], anchor: UnixTime) {
        let base = self.next_number();
        self.clock = Some(ProgramClock::anchor(MediaTime(0), anchor));
        for planned in renditions {
            if !self.renditions.iter().any(|known| known.name == planned.name) {
                let config = self.config.window_of(&planned.name);
                // The discontinuity that this session begins with counts, once it has media.
                let before = self.discontinuities + u64::from(self.has_history);
                let window = Window::new(config, base, before);
                self.add_rendition(planned.name.clone(), planned.codec.is_none(), window);
            }
        }
        for known in &mut self.renditions {
            let planned = renditions.iter().position(|planned| planned.name == known.name);
            known.changed |= !known.has_segments();
            known.encoded = planned.is_some();
            known.tracks = None;
            if let Some(planned) = planned.map(|index| &renditions[index]) {
                known.raise_bounds(self.config.window.target_duration, planned.bandwidth, planned.average_bandwidth);
                known.audio_only = planned.codec.is_none();
                known.codec.clone_from(&planned.codec);
            }
            known.source = match planned {
                Some(_) => Some(known.name.clone()),
                None => substitute(known, renditions),
            };
            if let Some(source) = &known.source {
                known.window.set_uri_prefix(&self.config.window_of(source).uri_prefix);
            }
        }
        self.session = Some(Session { base, started: false });
        // A player that read the multivariant playlist asks for these before they have media: it is held, not sent away.
        self.show_changes();
    }

    /// What a slicer of the session has to say, all that came at once. A segment's last part and its end are shown
    /// together: between the two, the preload hint would promise a part that never comes.
    pub fn handle_slices(&mut self, rung: &str, events: Vec<SliceEvent>) {
        events.into_iter().for_each(|event| self.handle_slice(rung, event));
        self.show_changes();
    }

    fn handle_slice(&mut self, rung: &str, event: SliceEvent) {
        match event {
            SliceEvent::Tracks(tracks) => {
                if let Some(rendition) = self.rendition_mut(rung) {
                    rendition.tracks = Some(tracks);
                }
                self.update_multivariants();
            }
            SliceEvent::Init(bytes) => self.handle_init(rung, bytes),
            SliceEvent::Part(part) => self.handle_part(rung, part),
            SliceEvent::Segment(segment) => self.handle_segment(rung, segment),
        }
    }

    /// The store has the object named `key`.
    pub fn handle_stored(&mut self, key: &str) {
        let stored = |rendition: &Rendition| rendition.closing.as_ref().is_some_and(|info| info.uri == key);
        for index in 0..self.renditions.len() {
            if stored(&self.renditions[index]) {
                self.close(index);
            }
        }
        self.show_changes();
    }

    /// The store took too long: what waits for it is listed now.
    pub fn handle_store_timeout(&mut self) {
        (0..self.renditions.len()).for_each(|index| self.close(index));
        self.show_changes();
    }

    /// Whether something waits to be listed until the store has it.
    pub fn waits_for_store(&self) -> bool {
        self.renditions.iter().any(|rendition| rendition.closing.is_some())
    }

    /// The media at `media`, the end of segment `index` of the session, reached us at `wall`: dates are slewed towards
    /// the wall clock.
    pub fn observe(&mut self, index: u64, media: MediaTime, wall: UnixTime) {
        if let Some(clock) = &mut self.clock {
            clock.observe(index, media, wall);
        }
    }

    /// The session is over. A rendition that got less far than another goes on after gaps.
    pub fn end_session(&mut self) {
        self.handle_store_timeout();
        if let Some(session) = self.session.take() {
            self.has_history |= session.started;
            self.renditions.iter_mut().for_each(|rendition| rendition.parts.clear());
            self.fill(self.next_number());
        }
        self.show_changes();
    }

    /// The broadcast is over: ENDLIST.
    pub fn end(&mut self) {
        self.end_session();
        for index in 0..self.renditions.len() {
            self.renditions[index].window.end();
            self.show(index);
        }
        self.show_changes();
        self.publish(Command::End);
    }

    /// The broadcast goes on in another process: what is listed stays open.
    pub fn leave(&mut self) {
        self.end_session();
        self.publish(Command::Leave);
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The number the next segment of any rendition may have, at least.
    pub fn next_number(&self) -> u64 {
        let windows = self
            .renditions
            .iter()
            .map(|rendition| rendition.window.next_msn() + u64::from(rendition.closing.is_some()));
        windows.max().unwrap_or(0).max(self.next_msn)
    }

    /// Discontinuities so far.
    pub fn discontinuities(&self) -> u64 {
        self.discontinuities
    }

    /// Whether every rendition of the session has a segment to show.
    pub fn is_playable(&self) -> bool {
        let Some(base) = self.session.as_ref().map(|session| session.base) else { return false };
        self.multivariants.is_some()
            && self
                .renditions
                .iter()
                .filter(|rendition| rendition.encoded)
                .all(|rendition| rendition.window.next_msn() > base)
    }

    /// Whether a session has begun.
    pub fn has_session(&self) -> bool {
        self.session.is_some()
    }

    /// The renditions so far, for those who come after a crash.
    pub fn known(&self) -> Vec<KnownRendition> {
        let known = |rendition: &Rendition| KnownRendition {
            name: rendition.name.clone(),
            bandwidth: rendition.meter.peak(),
            average_bandwidth: rendition.meter.average(),
            codec: rendition.codec.clone(),
        };
        self.renditions.iter().map(known).collect()
    }

    /// A rendition's next media sequence number and its advertised peak bit rate.
    pub fn progress(&self, name: &str) -> Option<(u64, u64)> {
        let rendition = self.renditions.iter().find(|rendition| rendition.name == name)?;
        Some((rendition.window.next_msn(), rendition.meter.peak()))
    }

    /// The multivariant playlist that an earlier process left, until this one has its own.
    fn restore_multivariant(&mut self, plain: String) {
        let low_latency = self.config.low_latency.then(|| plain.replace("_playlist.m3u8", "_low-latency.m3u8"));
        self.outputs.push_back(Output::Multivariants(Multivariants { plain, low_latency }));
    }

    fn add_rendition(&mut self, name: String, audio_only: bool, window: Window) {
        self.publish(Command::Rendition {
            name: name.clone(),
            config: self.config.window_of(&name),
            window: Box::new(window.clone()),
        });
        self.renditions.push(Rendition {
            name,
            audio_only,
            codec: None,
            encoded: false,
            tracks: None,
            meter: Meter::new(self.config.window.target_duration, 0, 0),
            window,
            init: None,
            inits: 0,
            source: None,
            parts: Vec::new(),
            closing: None,
            changed: true,
        });
    }

    fn handle_init(&mut self, rung: &str, bytes: Bytes) {
        let slug = self.config.slug.clone();
        let base = self.session.as_ref().map_or(0, |session| session.base);
        let Some(rendition) = self.rendition_mut(rung) else { return };
        // Named after the first segment it serves, so that no restart gives the name to other bytes.
        let key = format!("{slug}_{rung}_init{}.mp4", base + rendition.inits);
        rendition.inits += 1;
        rendition.init = Some(key.clone());
        let payload = Payload::from(bytes);
        self.outputs.push_back(Output::Init(key.clone(), payload.clone()));
        self.publish(Command::Init(key, payload));
    }

    fn handle_part(&mut self, rung: &str, part: Part) {
        let Some(msn) = self.number(part.segment) else { return };
        self.start();
        if self.withhold.is_some_and(|withheld| msn <= withheld) || !self.config.low_latency {
            return;
        }
        let date = self.date(part.segment, part.start);
        let uri = self.config.window_of(rung).part_uri(msn, part.index);
        let bytes = in_one_piece(part.chunks);
        if let Some(rendition) = self.rendition_mut(rung) {
            rendition.parts.push(bytes.clone());
        }
        self.outputs.push_back(Output::Part(uri.clone(), Payload::from(bytes), date));
        for index in self.listing(rung) {
            self.close(index);
            self.follow(index, rung);
            let info = PartInfo { uri: uri.clone(), duration: part.duration, date, independent: part.independent };
            self.renditions[index].window.push_part(info);
            self.show(index);
        }
    }

    fn handle_segment(&mut self, rung: &str, segment: Segment) {
        let Some(msn) = self.number(segment.index) else { return };
        self.start();
        let date = self.date(segment.index, segment.start);
        let uri = self.config.window_of(rung).segment_uri(msn);
        let parts = self.rendition_mut(rung).map(|rendition| std::mem::take(&mut rendition.parts)).unwrap_or_default();
        let whole = parts.iter().map(|part| part.len() as u64).sum::<u64>() == segment.bytes;
        let payload = if whole { Payload::from(parts) } else { Payload::from(in_one_piece(segment.chunks)) };
        self.outputs.push_back(Output::Segment(uri.clone(), payload.clone(), date));
        let raised =
            self.rendition_mut(rung).is_some_and(|rendition| rendition.meter.observe(segment.bytes, segment.duration));
        let info = SegmentInfo { uri, duration: segment.duration, date, bytes: segment.bytes, gap: false };
        let mut payload = Some(payload);
        for index in self.listing(rung) {
            self.close(index);
            self.follow(index, rung);
            self.publish_segment(index, msn, &info, payload.take());
            self.renditions[index].closing = Some(info.clone());
            if !self.config.store_first {
                self.close(index);
            }
        }
        if raised {
            self.update_multivariants();
        }
    }

    /// Lists the segment that was waiting for the store.
    fn close(&mut self, index: usize) {
        if let Some(info) = self.renditions[index].closing.take() {
            self.renditions[index].window.push_segment(info);
            self.renditions[index].window.drain_evicted();
            self.show(index);
        }
    }

    /// The first media of a session that is not the first: a discontinuity, in all renditions at the same number.
    fn start(&mut self) {
        let Some(session) = self.session.as_mut() else { return };
        if std::mem::replace(&mut session.started, true) || !self.has_history {
            return;
        }
        let base = session.base;
        self.discontinuities += 1;
        for rendition in &mut self.renditions {
            if rendition.window.next_msn() == base && rendition.window.first_msn() < base {
                rendition.window.discontinuity();
            }
        }
    }

    /// A rendition that names another's media needs its media initialization section too.
    fn follow(&mut self, index: usize, rung: &str) {
        let init = self.renditions.iter().find(|rendition| rendition.name == rung).and_then(|found| found.init.clone());
        if let Some(init) = init {
            self.renditions[index].window.set_init(&init);
        }
    }

    fn publish_segment(&mut self, index: usize, msn: u64, info: &SegmentInfo, payload: Option<Payload>) {
        let rendition = &self.renditions[index];
        let source = rendition.source.clone();
        let init = self
            .renditions
            .iter()
            .find(|other| Some(&other.name) == source.as_ref())
            .and_then(|other| other.init.clone());
        let first_of_session = self.session.as_ref().is_some_and(|session| session.base == msn);
        let command = SegmentCommand {
            rendition: rendition.name.clone(),
            msn,
            discontinuity_sequence: self.discontinuities,
            discontinuity: first_of_session && self.has_history && rendition.window.first_msn() < msn,
            init,
            info: info.clone(),
            payload,
        };
        self.publish(Command::Segment(Box::new(command)));
    }

    /// Brings every window to `next` with gaps: other renditions have media there.
    fn fill(&mut self, next: u64) {
        for index in 0..self.renditions.len() {
            while self.renditions[index].window.next_msn() < next {
                let msn = self.renditions[index].window.next_msn();
                let like = self.like(msn);
                let uri = self.config.window_of(&self.renditions[index].name).segment_uri(msn);
                let info = SegmentInfo { uri, gap: true, bytes: 0, ..like };
                self.publish_segment(index, msn, &info, None);
                self.renditions[index].window.push_segment(info);
                self.show(index);
            }
        }
    }

    /// Duration and date of segment `msn` in a rendition that has it.
    fn like(&self, msn: u64) -> SegmentInfo {
        let listed = self.renditions.iter().find_map(|rendition| {
            let snapshot = rendition.window.snapshot();
            snapshot.segment(msn).map(|segment| (segment.duration, segment.date))
        });
        let newest = || self.renditions.iter().filter_map(|rendition| end_date(&rendition.window)).max();
        let (duration, date) = listed.unwrap_or_else(|| (self.nominal(), newest().unwrap_or(UnixTime(0))));
        SegmentInfo { uri: String::new(), duration, date, bytes: 0, gap: true }
    }

    fn nominal(&self) -> Duration {
        Duration::from_secs(u64::from(self.config.window.target_duration))
    }

    fn date(&mut self, index: u64, media: MediaTime) -> UnixTime {
        self.clock.as_mut().map_or(UnixTime(0), |clock| clock.date(index, media))
    }

    fn listing(&self, rung: &str) -> Vec<usize> {
        let lists = |rendition: &Rendition| rendition.source.as_deref() == Some(rung);
        (0..self.renditions.len()).filter(|index| lists(&self.renditions[*index])).collect()
    }

    fn number(&self, index: u64) -> Option<u64> {
        self.session.as_ref().map(|session| session.base + index)
    }

    fn rendition_mut(&mut self, name: &str) -> Option<&mut Rendition> {
        self.renditions.iter_mut().find(|rendition| rendition.name == name)
    }

    fn show(&mut self, index: usize) {
        self.renditions[index].changed = true;
    }

    /// Shows what changed, but for renditions whose segment still waits for the store.
    fn show_changes(&mut self) {
        for rendition in &mut self.renditions {
            if rendition.closing.is_none() && std::mem::take(&mut rendition.changed) {
                self.outputs.push_back(Output::Show(rendition.name.clone(), rendition.window.snapshot()));
            }
        }
    }

    fn update_multivariants(&mut self) {
        let Some(playlists) = multivariants::render(&self.config, &self.renditions) else { return };
        if self.multivariants.as_ref() != Some(&playlists) {
            self.multivariants = Some(playlists.clone());
            self.publish(Command::Multivariant(playlists.plain.clone()));
            self.outputs.push_back(Output::Multivariants(playlists));
        }
    }

    fn publish(&mut self, command: Command) {
        self.outputs.push_back(Output::Publish(command));
    }
}

impl Rendition {
    fn has_segments(&self) -> bool {
        self.window.first_msn() < self.window.next_msn()
    }

    /// Never lower: what was advertised stays true.
    fn raise_bounds(&mut self, target_duration: u32, bandwidth: u64, average_bandwidth: u64) {
        let (peak, average) = (self.meter.peak(), self.meter.average());
        if bandwidth > peak || average_bandwidth > average {
            self.meter = Meter::new(target_duration, peak.max(bandwidth), average.max(average_bandwidth));
        }
    }
}

/// The one copy on the way from the pipe to the socket. FFmpeg writes frame by frame; a socket wants more at a time, and
/// the buffers that were read into are free again.
fn in_one_piece(chunks: Vec<Bytes>) -> Bytes {
    Payload::from(chunks).contiguous()
}

fn end_date(window: &Window) -> Option<UnixTime> {
    let snapshot = window.snapshot();
    snapshot.segments().next_back().map(|segment| segment.date.saturating_add(segment.duration))
}

/// The name of the audio rendition beside video ones, and of the only one of a source without video.
pub const AUDIO: &str = "audio";

/// Whose media a rendition names when the session does not encode it: the next rung below, else the lowest there is. A rung in the
/// same codec is preferred, because many players keep to the decoder that they began a playlist with; where there is none, another
/// codec follows with the discontinuity, and in CMAF with its own initialization section.
fn substitute(rendition: &Rendition, renditions: &[SessionRendition]) -> Option<String> {
    let candidates = renditions.iter().filter(|planned| planned.codec.is_none() == rendition.audio_only);
    let same: Vec<_> = candidates.clone().filter(|planned| planned.codec == rendition.codec).collect();
    let candidates = if same.is_empty() { candidates.collect() } else { same };
    let below = candidates.iter().filter(|planned| planned.average_bandwidth < rendition.meter.average());
    let lowest = || candidates.iter().min_by_key(|planned| planned.average_bandwidth);
    below.max_by_key(|planned| planned.average_bandwidth).or_else(lowest).map(|planned| planned.name.clone())
}

#[cfg(test)]
mod tests;
