//! Where segments start, and how many frames make a part.

use std::time::Duration;

use super::KeyRate;
use crate::time::MediaTime;

/// A container clock rounds: FLV to whole milliseconds, MPEG-TS to 1/90000 s. A keyframe this much before a
/// boundary is the boundary's.
const ROUNDING: Duration = Duration::from_millis(1);

/// The share of the part target that each part but a segment's last must reach (RFC 8216bis 4.4.4.9).
const PART_RULE: f64 = 0.85;

/// The next segment boundary, on the grid of whole segment durations since session zero.
#[derive(Debug, Clone)]
pub(super) struct Grid {
    step: i64,
    next: i64,
    keys: Option<KeyRate>,
}

impl Grid {
    pub(super) fn new(segment: Duration, keys: Option<KeyRate>) -> Self {
        let step = i64::try_from(segment.as_nanos()).unwrap_or(i64::MAX).max(1);
        Self { step, next: step, keys: keys.filter(|keys| keys.num > 0 && keys.den > 0) }
    }

    /// Whether keyframes are promised where they are due.
    pub(super) fn promises_keys(&self) -> bool {
        self.keys.is_some()
    }

    /// Whether a frame at `time` is the keyframe that the encoder promised for the next boundary.
    pub(super) fn promised(&self, time: MediaTime) -> bool {
        let Some(KeyRate { num, den }) = self.keys else { return false };
        let (num, den_nanos) = (i128::from(num), i128::from(den) * 1_000_000_000);
        // The first frame of that rate at or after the boundary.
        let frame = (i128::from(self.next) * num + den_nanos - 1).div_euclid(den_nanos);
        i128::from(time.0) + i128::from(rounding()) >= frame * den_nanos / num
    }

    /// A segment started at `time`: the next boundary is the first one after it. Time before session zero (audio
    /// priming) belongs to the first segment.
    pub(super) fn started(&mut self, time: MediaTime) {
        let passed = time.0.saturating_add(rounding()).div_euclid(self.step).max(0);
        self.next = passed.saturating_add(1).saturating_mul(self.step);
    }

    /// Whether a random-access point at `time` starts a segment.
    pub(super) fn due(&self, time: MediaTime) -> bool {
        time.0.saturating_add(rounding()) >= self.next
    }
}

fn rounding() -> i64 {
    i64::try_from(ROUNDING.as_nanos()).unwrap_or(0)
}

/// The most whole frames that fit in the part target; at least one.
#[must_use]
pub fn part_frames(target: Duration, frame_rate: f64) -> u32 {
    // A hair more than the product, because 0.2 s at 30 frames a second is 5.999... frames in binary.
    let frames = (target.as_secs_f64() * frame_rate + 1e-6).floor();
    if frames >= 1.0 && frames <= f64::from(u32::MAX) { frames as u32 } else { 1 }
}

/// Whether those frames last at least 85 % of the part target, as each part but a segment's last must, and do not
/// exceed it.
#[must_use]
pub fn part_rule_holds(target: Duration, frame_rate: f64) -> bool {
    if !frame_rate.is_finite() || frame_rate <= 0.0 {
        return false;
    }
    let lasts = f64::from(part_frames(target, frame_rate)) / frame_rate;
    let target = target.as_secs_f64();
    lasts >= PART_RULE * target && lasts <= target + 1e-6
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT_TARGET: Duration = Duration::from_micros(213_400);

    #[test]
    fn a_part_is_the_most_whole_frames_that_fit() {
        let rates = [(24.0, 5), (25.0, 5), (30.0, 6), (50.0, 10), (60.0, 12), (23.976, 5), (29.97, 6), (59.94, 12)];
        for (rate, frames) in rates {
            assert_eq!(part_frames(DEFAULT_TARGET, rate), frames, "{rate}");
            assert!(part_rule_holds(DEFAULT_TARGET, rate), "{rate}");
        }
        assert_eq!(part_frames(DEFAULT_TARGET, 48_000.0 / 1024.0), 10);
        assert_eq!(part_frames(Duration::from_millis(200), 30.0), 6);
    }

    #[test]
    fn rates_that_break_the_85_percent_rule_are_told() {
        for rate in [0.0, f64::NAN, 1.0, 4.0, 8.0, 13.0] {
            assert!(!part_rule_holds(DEFAULT_TARGET, rate), "{rate}");
        }
        assert_eq!(part_frames(DEFAULT_TARGET, 1.0), 1);
    }

    #[test]
    fn a_keyframe_a_rounding_before_the_boundary_is_the_boundarys() {
        let mut grid = Grid::new(Duration::from_secs(1), None);
        grid.started(MediaTime(-21_333_333));
        assert!(!grid.due(MediaTime(0)));
        assert!(!grid.due(MediaTime(998_000_000)));
        assert!(grid.due(MediaTime(999_000_000)));
        grid.started(MediaTime(999_000_000));
        assert!(!grid.due(MediaTime(1_500_000_000)));
        assert!(grid.due(MediaTime(2_000_000_000)));
    }

    #[test]
    fn a_boundary_without_a_keyframe_makes_one_longer_segment() {
        let mut grid = Grid::new(Duration::from_secs(1), None);
        grid.started(MediaTime(0));
        grid.started(MediaTime(2_300_000_000));
        assert!(!grid.due(MediaTime(2_900_000_000)));
        assert!(grid.due(MediaTime(3_000_000_000)));
    }

    #[test]
    fn a_promised_keyframe_is_the_first_of_the_key_rates_frames_at_or_after_the_boundary() {
        let at = |rate: (u32, u32), boundary: i64, time: i64| {
            let mut grid = Grid::new(Duration::from_secs(1), Some(KeyRate { num: rate.0, den: rate.1 }));
            grid.started(MediaTime((boundary - 1) * 1_000_000_000));
            grid.promised(MediaTime(time))
        };
        assert!(at((30, 1), 1, 1_000_000_000) && !at((30, 1), 1, 966_666_667));
        assert!(at((30_000, 1001), 1, 1_001_000_000) && !at((30_000, 1001), 1, 967_633_333));
        // 29.97 frames a second have none between 99.9999 s and 100.0332 s; 59.94 would have one in the middle.
        assert!(!at((30_000, 1001), 100, 100_016_500_000) && at((30_000, 1001), 100, 100_033_267_000));
        assert!(!Grid::new(Duration::from_secs(1), None).promised(MediaTime(5_000_000_000)));
    }
}
