//! MPEG-TS as FFmpeg writes it, cut between packets.
//!
//! A segment begins at the PAT that precedes a keyframe's PES; FFmpeg puts one there unasked. A part ends with the
//! last packet of its last frame, which FFmpeg fills up with stuffing: audio that trails it is the next part's. With
//! `-mpegts_flags +pat_pmt_at_frames` each frame, and so each part, has PAT and PMT before it. A stream without
//! video is cut at audio PES packets that follow a PAT: `-pes_payload_size 0 -pat_period 0.02` puts one before each
//! frame.

mod packet;
mod psi;
mod sync;
mod tracks;

use bytes::Bytes;

use self::packet::{LENGTH, Packet, PesStart, unwrap};
use self::psi::{PAT_PID, Program};
use self::sync::{Found, Framing};
use self::tracks::Inspector;
use super::assemble::{Assembler, Next, UnitEnd, UnitStart};
use super::{SliceConfig, SliceError, SliceEvent, Slicer};
use crate::time::MediaTime;

const TIMESCALE: u32 = 90_000;

/// Cuts an MPEG-TS stream. See the [module](super) for the contract.
#[derive(Debug)]
pub struct TsSlicer {
    assembler: Assembler,
    framing: Framing,
    /// Offset of the next packet in the assembler's rope.
    at: u64,
    pmt_pid: Option<u16>,
    program: Program,
    /// Offset of a PAT that no media packet followed yet.
    mark: Option<u64>,
    /// The PES of the stream that is cut at has begun, at this offset (its tables included), and not ended.
    unit: Option<u64>,
    /// The same of an audio PES beside video.
    beside: Option<u64>,
    /// Bytes of the open audio PES still to come.
    audio_left: Option<usize>,
    origin: i64,
    /// The last decoding time, in ticks.
    reference: i64,
    inspector: Inspector,
    failed: Option<SliceError>,
}

impl TsSlicer {
    /// A slicer at the start of a stream.
    #[must_use]
    pub fn new(config: SliceConfig) -> Self {
        let ticks = config.origin.as_nanos() * u128::from(TIMESCALE) / 1_000_000_000;
        Self {
            assembler: Assembler::new(&config),
            framing: Framing::new(),
            at: 0,
            pmt_pid: None,
            program: Program::default(),
            mark: None,
            unit: None,
            beside: None,
            audio_left: None,
            origin: i64::try_from(config.origin.as_nanos()).unwrap_or(i64::MAX),
            reference: i64::try_from(ticks).unwrap_or(i64::MAX),
            inspector: Inspector::new(config.frame_duration),
            failed: None,
        }
    }

    fn consume(&mut self, bytes: Bytes) -> Result<(), SliceError> {
        // While packets are in step all bytes go to the rope at once, and what is no packet is taken back.
        if !self.framing.is_lost() {
            self.assembler.rope.push(bytes.clone());
        }
        let mut framing = std::mem::replace(&mut self.framing, Framing::new());
        let done = self.packets(&mut framing, &bytes);
        self.framing = framing;
        done
    }

    fn packets(&mut self, framing: &mut Framing, bytes: &Bytes) -> Result<(), SliceError> {
        let mut from = 0;
        loop {
            match framing.next(&bytes[from..]) {
                Found::Packet { bytes: packet, used } => {
                    self.packet(packet)?;
                    from += used;
                }
                Found::Again { bytes: packet, used } => {
                    self.assembler.rope.push(Bytes::copy_from_slice(&packet));
                    self.packet(&packet)?;
                    from += used;
                    self.assembler.rope.push(bytes.slice(from..));
                }
                Found::Lost(index) => {
                    self.assembler.rope.truncate(self.at);
                    from += index;
                }
                Found::Nothing => return Ok(()),
            }
        }
    }

    fn packet(&mut self, bytes: &[u8; LENGTH]) -> Result<(), SliceError> {
        let at = self.at;
        self.at += LENGTH as u64;
        let packet = Packet::parse(bytes);
        if packet.pid == PAT_PID {
            if packet.unit_start {
                self.pmt_pid = psi::parse_pat(packet.payload).or(self.pmt_pid);
                self.mark = Some(at);
                self.assembler.keep_from(at);
            }
        } else if Some(packet.pid) == self.pmt_pid {
            if let Some(program) = psi::parse_pmt(packet.payload).filter(|_| packet.unit_start) {
                self.program = program;
            }
        } else if self.program.carries(packet.pid) && !packet.payload.is_empty() {
            self.media(&packet, at);
        }
        if !self.assembler.keeps() {
            self.assembler.forget_before(self.at);
        }
        self.assembler.check_size(self.at)
    }

    fn media(&mut self, packet: &Packet<'_>, at: u64) {
        let mark = self.mark.take();
        let start = PesStart::parse(packet.payload).filter(|_| packet.unit_start);
        let video = self.program.is_video(packet.pid);
        if video || (self.program.video.is_none() && self.program.is_audio(packet.pid)) {
            if let Some(pes) = &start {
                self.begin_unit(pes, packet.random_access || !video, mark, at);
            }
            let data = start.map_or(packet.payload, |pes| pes.data);
            let whole = if video { self.inspector.video(&self.program, data) } else { self.audio(start, data) };
            if self.unit.is_some() && (whole || packet.stuffed) && self.inspector.frame_known(video) {
                self.end_unit(self.at);
            }
        } else if self.program.is_audio(packet.pid) {
            if start.is_some() {
                self.beside = Some(mark.unwrap_or(at));
            }
            let data = start.map_or(packet.payload, |pes| pes.data);
            if self.audio(start, data) || packet.stuffed {
                self.beside = None;
            }
        }
        self.announce(false);
    }

    /// Looks into audio data; true when its PES has ended.
    fn audio(&mut self, start: Option<PesStart<'_>>, data: &[u8]) -> bool {
        if let Some(pes) = start {
            self.audio_left = pes.size;
        }
        self.inspector.audio(&self.program, start.is_some(), data);
        let left = self.audio_left.map(|left| left.saturating_sub(data.len()));
        self.audio_left = left;
        left == Some(0)
    }

    fn begin_unit(&mut self, pes: &PesStart<'_>, key: bool, mark: Option<u64>, at: u64) {
        let cut = mark.unwrap_or(at);
        let dts = unwrap(pes.dts, self.reference);
        let pts = unwrap(pes.pts, dts);
        if self.unit.is_some() {
            self.inspector.distance(dts.saturating_sub(self.reference));
            self.end_unit(cut);
        }
        self.reference = dts;
        let decodable = key && mark.is_some();
        if !self.assembler.started() && !decodable {
            // Nothing can be decoded before the first keyframe, nor without tables.
            self.assembler.forget_before(self.at);
            return;
        }
        let pts = MediaTime(MediaTime::from_ticks(pts, TIMESCALE).0.saturating_sub(self.origin));
        self.unit = Some(cut);
        self.inspector.begin(key);
        self.assembler.begin_unit(UnitStart { at: cut, pts, key, cut: mark.is_some() });
    }

    fn end_unit(&mut self, at: u64) {
        self.unit = None;
        let (frames, duration) = self.inspector.end(&self.program);
        self.announce(false);
        self.assembler.end_unit(UnitEnd { at, frames, duration, next: Next::Unknown });
    }

    /// Tells the tracks, when all are known, or when the first segment is over without them.
    fn announce(&mut self, last: bool) {
        let all = last || self.assembler.segments_closed() > 0;
        if let Some(tracks) = self.inspector.news(&self.program, all) {
            self.assembler.set_tracks(tracks, None);
        }
    }

    fn end(&mut self, clean: bool) {
        let mut end = self.at;
        if !clean {
            let torn = self.unit.into_iter().chain(self.beside).min();
            end = torn.unwrap_or(end);
            if self.unit.is_some_and(|unit| unit >= end) {
                self.unit = None;
            }
        }
        self.assembler.rope.truncate(end);
        if self.unit.is_some() {
            self.end_unit(end);
        }
        self.announce(true);
        self.assembler.finish(end);
    }
}

impl Slicer for TsSlicer {
    fn push(&mut self, bytes: Bytes) -> Result<(), SliceError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.consume(bytes).inspect_err(|error| self.failed = Some(error.clone()))
    }

    fn poll(&mut self) -> Option<SliceEvent> {
        self.assembler.poll()
    }

    fn finish(&mut self, clean: bool) -> Result<(), SliceError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.end(clean);
        Ok(())
    }
}
