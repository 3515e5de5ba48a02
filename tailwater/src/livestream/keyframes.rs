//! Whether the key frames of a source that is copied come in time: they are where all renditions are cut.
//!
//! The same rule as the slicers' (`hls::slice`), applied to pictures before FFmpeg gets them, so that no segment becomes
//! longer than was promised: what would make one too long is not fed.

use std::time::Duration;

use crate::ladder::{Format, Plan, Rational};

/// A segment rounds to its target duration up to half a second more (RFC 8216bis 4.4.3.1). Milliseconds.
const HALF: i64 = 500;
/// As the slicers have it: a key frame this much before a boundary is the boundary's. Milliseconds.
const ROUNDING: i64 = 1;
/// How late a key frame may be, besides a frame, where sound is cut by the clock. Milliseconds.
const LATE: i64 = 5;

/// Watches the pictures of one session, in milliseconds of its own time.
#[derive(Debug)]
pub(super) struct KeyframeWatch {
    segment: i64,
    frame: i64,
    /// A segment must stay below this.
    limit: i64,
    /// How late after a boundary a segment may start.
    late: i64,
    /// When the first picture is shown: zero for FFmpeg.
    zero: Option<i64>,
    /// Start of the open segment.
    open: i64,
    boundary: i64,
}

/// A picture that cannot be had: the open segment would become too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLate {
    /// Since the last key frame that a segment began with.
    pub(super) after: Duration,
}

impl KeyframeWatch {
    /// For a plan that copies, in playlists of that target duration (seconds).
    pub(super) fn new(plan: &Plan, target_duration: u32) -> Self {
        let frame = plan.frame_rate.map_or(Duration::ZERO, Rational::frame_duration);
        let frame = i64::try_from(frame.as_millis()).unwrap_or(0) + 1;
        let apart = plan.format == Format::Cmaf && plan.audio.is_some();
        Self {
            segment: i64::try_from(plan.segment.as_millis()).unwrap_or(i64::MAX).max(1),
            frame,
            limit: i64::from(target_duration) * 1000 + HALF,
            late: if apart { frame + LATE } else { i64::MAX / 2 },
            zero: None,
            open: 0,
            boundary: 0,
        }
    }

    /// Whether a picture that is shown then may go to FFmpeg.
    pub(super) fn admit(&mut self, shown: i64, key: bool) -> Result<(), TooLate> {
        let shown = shown - *self.zero.get_or_insert(shown);
        let begins = key && shown + ROUNDING >= self.boundary;
        // A segment ends where the next begins, or with its last picture.
        let end = if begins { shown } else { shown + self.frame };
        if end - self.open >= self.limit || shown - self.boundary > self.late {
            let after = u64::try_from(shown - self.open).unwrap_or(0);
            return Err(TooLate { after: Duration::from_millis(after) });
        }
        if begins {
            self.open = shown;
            self.boundary = ((shown + ROUNDING).div_euclid(self.segment) + 1) * self.segment;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(target: i64, segment: i64, late: i64) -> KeyframeWatch {
        let limit = target * 1000 + HALF;
        KeyframeWatch { segment, frame: 34, limit, late, zero: None, open: 0, boundary: 0 }
    }

    /// Thirty pictures a second with key frames at these times; the time of the first that is too late, and all starts of
    /// segments.
    fn walk(mut watch: KeyframeWatch, keys: &[i64], until: i64) -> (Option<i64>, Vec<i64>) {
        let mut starts = Vec::new();
        for time in (0..).map(|index| index * 100 / 3).take_while(|time| *time < until) {
            let key = keys.iter().any(|key| (key - time).abs() <= 16);
            // Two frames of composition time, as with B-frames.
            if watch.admit(time + 67, key).is_err() {
                return (Some(time), starts);
            }
            if starts.last() != Some(&watch.open) {
                starts.push(watch.open);
            }
        }
        (None, starts)
    }

    const ANY: i64 = i64::MAX / 2;

    #[test]
    fn a_key_frame_each_second_is_in_time() {
        let keys: Vec<i64> = (0..60).map(|second| second * 1000).collect();
        let (late, starts) = walk(watch(1, 1000, 39), &keys, 60_000);
        assert_eq!((late, starts), (None, keys));
    }

    #[test]
    fn segments_begin_at_the_first_key_frame_at_or_after_each_second() {
        let keys = [0, 700, 1400, 2100, 2800, 3500];
        assert_eq!(walk(watch(1, 1000, ANY), &keys, 4000), (None, vec![0, 1400, 2100, 3500]));
    }

    #[test]
    fn a_segment_that_would_round_above_the_target_duration_is_not_fed() {
        // 44 frames are 1.467 s, and one more would be 1.5.
        assert_eq!(walk(watch(1, 1000, ANY), &[0], 4000).0, Some(1466));
        assert_eq!(walk(watch(2, 1000, ANY), &[0, 2000], 9000).0, Some(2000 + 2466));
        // A hole is not filled by the key frame behind it.
        let mut watch = watch(1, 1000, ANY);
        assert_eq!(watch.admit(0, true), Ok(()));
        assert_eq!(watch.admit(1500, true), Err(TooLate { after: Duration::from_millis(1500) }));
    }

    #[test]
    fn where_sound_is_cut_by_the_clock_key_frames_keep_to_it() {
        assert_eq!(walk(watch(1, 1000, 39), &[0, 500, 1000, 1500, 2000], 2100).0, None);
        assert_eq!(walk(watch(1, 1000, 39), &[0, 1100], 2100).0, Some(1066));
        assert_eq!(walk(watch(2, 2000, 39), &[0, 2000, 4000], 5900), (None, vec![0, 2000, 4000]));
    }
}
