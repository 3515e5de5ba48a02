//! CMAF: fragmented MP4 of one track, `ftyp moov (moof mdat)*`, cut between fragments.
//!
//! FFmpeg's `frag_every_frame` makes each frame a fragment of its own, the finest grain for parts; fragments of
//! several frames work as well. What is before a `moof` (`styp`, `prft`, `emsg`, `sidx`) belongs to its fragment;
//! the index that a muxer appends at the end (`mfra`) belongs to none.

mod boxes;
mod fragment;
mod init;

use std::time::Duration;

use bytes::Bytes;

use self::boxes::{BoxReader, Found, Header};
use self::fragment::Fragment;
use self::init::Init;
use super::assemble::{Assembler, Next, UnitEnd, UnitStart};
use super::{SliceConfig, SliceError, SliceEvent, Slicer};
use crate::time::MediaTime;

/// Milliseconds of a source's clock: frames may last this much more or less than their share.
const JITTER: Duration = Duration::from_millis(2);

/// Cuts a CMAF stream of one track. See the [module](super) for the contract.
#[derive(Debug)]
pub struct CmafSlicer {
    assembler: Assembler,
    boxes: BoxReader,
    init: Option<Init>,
    init_bytes: Bytes,
    /// A `moof` whose `mdat` has not come yet.
    fragment: Option<Fragment>,
    /// Stream offset behind the last whole fragment.
    whole: u64,
    /// An index came: nothing follows.
    over: bool,
    origin: i64,
    frame_duration: Option<Duration>,
    failed: Option<SliceError>,
}

impl CmafSlicer {
    /// A slicer at the start of a stream.
    #[must_use]
    pub fn new(config: SliceConfig) -> Self {
        Self {
            assembler: Assembler::new(&config),
            boxes: BoxReader::new(config.max_segment_bytes),
            init: None,
            init_bytes: Bytes::new(),
            fragment: None,
            whole: 0,
            over: false,
            origin: i64::try_from(config.origin.as_nanos()).unwrap_or(i64::MAX),
            frame_duration: config.frame_duration,
            failed: None,
        }
    }

    fn consume(&mut self, bytes: Bytes) -> Result<(), SliceError> {
        let mut rest = &bytes[..];
        self.assembler.rope.push(bytes.clone());
        while !self.over {
            match self.boxes.next(&mut rest)? {
                Some(Found::Begins(header)) => self.begin_box(header)?,
                Some(Found::Ends(header, body)) => self.end_box(header, body.as_deref())?,
                None => return Ok(()),
            }
        }
        self.assembler.rope.truncate(self.whole);
        Ok(())
    }

    fn begin_box(&mut self, header: Header) -> Result<(), SliceError> {
        let malformed = |what| Err(SliceError::Malformed { what, offset: header.at });
        match &header.kind {
            b"moov" if self.init.is_some() => return malformed("a second moov box"),
            b"moof" if self.init.is_none() => return malformed("a moof box before the moov box"),
            b"moof" if self.fragment.is_some() => return malformed("a moof box whose mdat box is missing"),
            b"mdat" if self.fragment.is_none() => return malformed("an mdat box without a moof box"),
            b"mfra" => self.over = true,
            kind if header.at == 0 && kind != b"ftyp" => return malformed("no ftyp box at the start"),
            _ => {}
        }
        self.assembler.check_size(header.at.saturating_add(header.size))
    }

    fn end_box(&mut self, header: Header, body: Option<&[u8]>) -> Result<(), SliceError> {
        let malformed = |what| SliceError::Malformed { what, offset: header.at };
        let end = header.at + header.size;
        match (&header.kind, body, &self.init) {
            (b"moov", Some(body), _) => {
                self.init = Some(Init::parse(body).map_err(malformed)?);
                self.init_bytes = Bytes::from(self.assembler.rope.take_to(end).concat());
                self.whole = end;
            }
            (b"moof", Some(body), Some(init)) => {
                let empty = Fragment { pts: 0, duration: 0, sample_duration: 0, samples: 0, sync: false };
                self.fragment = Some(Fragment::parse(body, init).map_err(malformed)?.unwrap_or(empty));
            }
            (b"mdat", ..) => self.end_fragment(end),
            _ => {}
        }
        Ok(())
    }

    fn end_fragment(&mut self, end: u64) {
        let (Some(fragment), Some(init)) = (self.fragment.take(), &self.init) else { return };
        let at = std::mem::replace(&mut self.whole, end);
        // A fragment of no samples of ours stays with what it follows.
        if fragment.samples == 0 {
            return;
        }
        let pts = MediaTime::from_ticks(fragment.pts, init.timescale).0.saturating_sub(self.origin);
        let ticks = i64::try_from(fragment.duration).unwrap_or(i64::MAX);
        let over = MediaTime::from_ticks(fragment.pts.saturating_add(ticks), init.timescale);
        // The difference of two rounded times, so that rounding does not add up.
        let duration = over.saturating_since(MediaTime::from_ticks(fragment.pts, init.timescale));
        self.announce(&fragment);
        let video = self.init.as_ref().is_some_and(|init| init.video);
        let duration = self.promised(fragment.samples, duration);
        self.assembler.begin_unit(UnitStart { at, pts: MediaTime(pts), key: fragment.sync, cut: true });
        let next = if video { Next::Unit } else { Next::Key };
        self.assembler.end_unit(UnitEnd { at: end, frames: fragment.samples, duration, next });
        if !self.assembler.started() {
            self.assembler.forget_before(end);
        }
    }

    /// What so many frames are taken to last for the parts' durations. Where the source leaves frames out, the one before
    /// the hole fills it; where a rung of half the rate keeps a keyframe between two of its frames, the one before it is
    /// cut short. A part with either would break what PART-TARGET promises.
    fn promised(&self, samples: u32, lasts: Duration) -> Duration {
        let Some(frame) = self.frame_duration else { return lasts };
        let nominal = frame.saturating_mul(samples);
        lasts.clamp(nominal.saturating_sub(JITTER), nominal.saturating_add(JITTER))
    }

    /// The tracks, with the frame rate from the first fragment where the parameter sets do not say it.
    fn announce(&mut self, fragment: &Fragment) {
        let Some(init) = &mut self.init else { return };
        if let Some(video) = init.tracks.video.as_mut().filter(|video| video.frame_rate.is_none())
            && init.video
            && fragment.sample_duration > 0
        {
            video.frame_rate = Some(f64::from(init.timescale) / fragment.sample_duration as f64);
        }
        let bytes = std::mem::take(&mut self.init_bytes);
        if !bytes.is_empty() {
            self.assembler.set_tracks(init.tracks.clone(), Some(bytes));
        }
    }
}

impl Slicer for CmafSlicer {
    fn push(&mut self, bytes: Bytes) -> Result<(), SliceError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.over {
            return Ok(());
        }
        self.consume(bytes).inspect_err(|error| self.failed = Some(error.clone()))
    }

    fn poll(&mut self) -> Option<SliceEvent> {
        self.assembler.poll()
    }

    /// Fragments are whole or not there: `clean` makes no difference.
    fn finish(&mut self, _clean: bool) -> Result<(), SliceError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.assembler.rope.truncate(self.whole);
        self.assembler.finish(self.whole);
        Ok(())
    }
}
