//! What a movie fragment says.

use mp4_atom::{Decode, Moof, Traf};

use super::init::Init;

/// `sample_is_non_sync_sample` (ISO/IEC 14496-12, 8.8.3.1).
const NON_SYNC: u32 = 0x0001_0000;
/// More samples than any fragment of ours has: a second of audio is fifty.
const MAX_SAMPLES: usize = 1 << 16;

/// The samples of one fragment, in ticks of the track's timescale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fragment {
    /// Presentation time of its first sample.
    pub(super) pts: i64,
    /// Of all samples together.
    pub(super) duration: u64,
    /// Of the first.
    pub(super) sample_duration: u64,
    pub(super) samples: u32,
    /// Its first sample is a sync sample.
    pub(super) sync: bool,
}

impl Fragment {
    /// Reads a whole `moof` box. `None`: it has no samples of the track.
    pub(super) fn parse(moof: &[u8], init: &Init) -> Result<Option<Self>, &'static str> {
        let moof = Moof::decode(&mut &moof[..]).map_err(|_| "a moof box that cannot be read")?;
        let track = moof.traf.iter().find(|traf| traf.tfhd.track_id == init.track_id);
        track.map(|traf| Self::of_track(traf, init)).transpose().map(|fragment| fragment.filter(|f| f.samples > 0))
    }

    fn of_track(traf: &Traf, init: &Init) -> Result<Self, &'static str> {
        let decode_time = traf.tfdt.as_ref().ok_or("a traf box without tfdt")?.base_media_decode_time;
        let decode_time = i64::try_from(decode_time).map_err(|_| "a decode time beyond 63 bits")?;
        let default_duration = traf.tfhd.default_sample_duration.unwrap_or(init.defaults.default_sample_duration);
        let default_flags = traf.tfhd.default_sample_flags.unwrap_or(init.defaults.default_sample_flags);
        let count: usize = traf.trun.iter().map(|trun| trun.samples.len()).fold(0, usize::saturating_add);
        if count > MAX_SAMPLES {
            return Err("a fragment of more samples than a segment can have");
        }
        let mut samples = traf.trun.iter().flat_map(|trun| trun.samples.iter());
        let mut fragment = Self { pts: decode_time, duration: 0, sample_duration: 0, samples: 0, sync: false };
        let Some(first) = samples.next() else { return Ok(fragment) };
        fragment.pts = decode_time.saturating_add(first.cts.unwrap_or(0));
        fragment.sync = first.flags.unwrap_or(default_flags) & NON_SYNC == 0;
        fragment.sample_duration = u64::from(first.duration.unwrap_or(default_duration));
        let rest = samples.map(|sample| u64::from(sample.duration.unwrap_or(default_duration)));
        fragment.duration = fragment.sample_duration + rest.sum::<u64>();
        fragment.samples = u32::try_from(count).unwrap_or(u32::MAX);
        Ok(fragment)
    }
}
