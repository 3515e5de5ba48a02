//! Exact frame rates, and which of them fill parts.

use std::fmt;
use std::time::Duration;

/// An exact number of frames a second, `num/den` in lowest terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rational {
    /// Frames in `den` seconds.
    pub num: u32,
    /// Seconds.
    pub den: u32,
}

/// The rates cameras, films and screens run at; a measured rate this close (0.02 %, a twentieth of what lies between
/// 30 and 30000/1001... but FLV metadata often says 23.98 or 29.97) is taken to be one of them.
const STANDARD: [Rational; 16] = [
    Rational::new(10, 1),
    Rational::new(12, 1),
    Rational::new(12_500, 1000),
    Rational::new(15_000, 1001),
    Rational::new(15, 1),
    Rational::new(20, 1),
    Rational::new(24_000, 1001),
    Rational::new(24, 1),
    Rational::new(25, 1),
    Rational::new(30_000, 1001),
    Rational::new(30, 1),
    Rational::new(48, 1),
    Rational::new(50, 1),
    Rational::new(60_000, 1001),
    Rational::new(60, 1),
    Rational::new(120, 1),
];

impl Rational {
    /// `num/den` in lowest terms; `den` must not be 0.
    pub const fn new(num: u32, den: u32) -> Self {
        let divisor = gcd(num as u64, den as u64) as u32;
        Self { num: num / divisor, den: den / divisor }
    }

    /// The exact rate behind a measured or announced one: a standard rate within 0.03 %, else the nearest thousandth.
    /// `None` when it is no frame rate at all (not finite, below 0.5 or above 300).
    pub fn snap(rate: f64) -> Option<Self> {
        if !rate.is_finite() || !(0.5..=300.0).contains(&rate) {
            return None;
        }
        let near = |standard: &&Rational| (rate - standard.as_f64()).abs() <= 3e-4 * standard.as_f64();
        let distance = |standard: &&Rational| (rate - standard.as_f64()).abs();
        if let Some(standard) = STANDARD.iter().filter(near).min_by(|a, b| distance(a).total_cmp(&distance(b))) {
            return Some(*standard);
        }
        Some(Self::new((rate * 1000.0).round() as u32, 1000))
    }

    /// As a float, frames a second.
    pub fn as_f64(self) -> f64 {
        f64::from(self.num) / f64::from(self.den)
    }

    /// This rate divided by a whole number.
    pub const fn divided(self, divisor: u32) -> Self {
        Self::new(self.num, self.den * divisor)
    }

    /// How long a frame lasts, rounded to the nanosecond.
    pub fn frame_duration(self) -> Duration {
        Duration::from_nanos((1_000_000_000 * u64::from(self.den) + u64::from(self.num) / 2) / u64::from(self.num))
    }
}

impl fmt::Display for Rational {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.den {
            1 => write!(f, "{}", self.num),
            _ => write!(f, "{}/{}", self.num, self.den),
        }
    }
}

pub(crate) const fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The most whole frames that fit in the part target; at least one.
pub fn part_frames(target: Duration, rate: Rational) -> u32 {
    // In whole nanoseconds, so that exactly fitting frames (10 of 1024/48000 s in 213.4 ms) are not lost to rounding.
    let frames = target.as_nanos() * u128::from(rate.num) / (1_000_000_000 * u128::from(rate.den));
    u32::try_from(frames).unwrap_or(u32::MAX).max(1)
}

/// Whether a part of [`part_frames`] whole frames obeys RFC 8216bis 4.4.4.9: "The duration of a Partial Segment MUST be
/// less than or equal to the Part Target Duration ... at least 85% of the Part Target Duration".
pub fn part_rule_holds(target: Duration, rate: Rational) -> bool {
    let part = f64::from(part_frames(target, rate)) / rate.as_f64();
    let target = target.as_secs_f64();
    part <= target + 1e-9 && part >= 0.85 * target
}

/// The nearest rate whose frames fill parts: the rate itself, else the nearest standard one that does, preferring the
/// slower of two as near. Where no standard rate fits (a tiny part target), the rate itself.
pub fn nearest_filling_rate(target: Duration, rate: Rational) -> Rational {
    if part_rule_holds(target, rate) {
        return rate;
    }
    let distance = |other: &Rational| (other.as_f64() / rate.as_f64()).ln().abs();
    STANDARD
        .into_iter()
        .filter(|standard| part_rule_holds(target, *standard))
        .min_by(|a, b| distance(a).total_cmp(&distance(b)))
        .unwrap_or(rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::rung::DEFAULT_PART_TARGET;

    #[test]
    fn measured_rates_snap_to_exact_ones() {
        for (measured, exact) in [
            (23.976, "24000/1001"),
            (23.98, "24000/1001"),
            (23.976_023_976, "24000/1001"),
            (24.0, "24"),
            (25.000_1, "25"),
            (29.97, "30000/1001"),
            (29.970_03, "30000/1001"),
            (30.0, "30"),
            (30.001, "30"),
            (50.0, "50"),
            (59.94, "60000/1001"),
            (60.0, "60"),
            (17.5, "35/2"),
        ] {
            assert_eq!(Rational::snap(measured).unwrap().to_string(), exact, "{measured}");
        }
        for nonsense in [0.0, -1.0, f64::NAN, f64::INFINITY, 1000.0] {
            assert_eq!(Rational::snap(nonsense), None);
        }
    }

    #[test]
    fn a_part_is_the_most_whole_frames_that_fit() {
        let frames = |num, den| part_frames(DEFAULT_PART_TARGET, Rational::new(num, den));
        assert_eq!([frames(24, 1), frames(25, 1), frames(30, 1), frames(50, 1), frames(60, 1)], [5, 5, 6, 10, 12]);
        assert_eq!([frames(24_000, 1001), frames(30_000, 1001), frames(60_000, 1001)], [5, 6, 12]);
        assert_eq!(frames(48_000, 1024), 10);
        assert_eq!(frames(1, 1), 1);
    }

    #[test]
    fn every_usual_rate_keeps_the_85_percent_rule_and_others_go_to_the_nearest_that_does() {
        for standard in [24_000, 24_024, 25_025, 30_000, 30_030, 50_050, 60_000, 60_060] {
            let rate = Rational::new(standard, 1001);
            assert!(part_rule_holds(DEFAULT_PART_TARGET, rate), "{rate}");
            assert_eq!(nearest_filling_rate(DEFAULT_PART_TARGET, rate), rate);
        }
        // 12 frames a second: two are 0.167 s, 78 % of the target.
        assert!(!part_rule_holds(DEFAULT_PART_TARGET, Rational::new(12, 1)));
        for slow in 1..=12 {
            let rate = nearest_filling_rate(DEFAULT_PART_TARGET, Rational::new(slow, 1));
            assert!(part_rule_holds(DEFAULT_PART_TARGET, rate), "{slow}: {rate}");
        }
    }
}
