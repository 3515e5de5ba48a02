//! BANDWIDTH and AVERAGE-BANDWIDTH of a rendition that is being made.

use std::collections::VecDeque;
use std::time::Duration;

/// An average of less than this says nothing of the long run.
const AVERAGE_FROM: Duration = Duration::from_secs(60);
/// The long run: Apple judges the average of an hour (authoring 1.28). Older media count half, quarter, ...
const AVERAGE_OVER: Duration = Duration::from_secs(3600);
/// Measured figures are rounded up to this many bit/s, so that a creeping peak does not change the multivariant
/// playlist with each segment.
const STEP: u64 = 10_000;
/// Segments without duration never end a run: so many are enough.
const MOST_IN_A_RUN: usize = 256;

/// The honest bit rates of a rendition: upper bounds from the encoder's settings at first, corrected upwards only,
/// where measurement proves them too low.
#[derive(Debug, Clone)]
pub struct Meter {
    /// Runs of segments lasting from 0.5 to 1.5 target durations count for the peak (RFC 8216bis 4.1).
    shortest: Duration,
    longest: Duration,
    recent: VecDeque<(u64, Duration)>,
    bytes: u64,
    duration: Duration,
    peak: u64,
    average: u64,
}

impl Meter {
    /// Begins with bounds in bit/s, container overhead included; `target_duration` in seconds.
    #[must_use]
    pub fn new(target_duration: u32, peak_bound: u64, average_bound: u64) -> Self {
        let target = Duration::from_secs(u64::from(target_duration.max(1)));
        Self {
            shortest: target / 2,
            longest: target * 3 / 2,
            recent: VecDeque::new(),
            bytes: 0,
            duration: Duration::ZERO,
            peak: peak_bound,
            average: average_bound,
        }
    }

    /// A segment was made. True: a figure rose.
    pub fn observe(&mut self, bytes: u64, duration: Duration) -> bool {
        let before = (self.peak, self.average);
        self.observe_peak(bytes, duration);
        self.observe_average(bytes, duration);
        before != (self.peak, self.average)
    }

    /// `BANDWIDTH`, bit/s.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.peak.max(self.average)
    }

    /// `AVERAGE-BANDWIDTH`, bit/s.
    #[must_use]
    pub fn average(&self) -> u64 {
        self.average
    }

    fn observe_peak(&mut self, bytes: u64, duration: Duration) {
        self.recent.push_back((bytes, duration));
        let mut run_bytes = 0_u64;
        let mut run = Duration::ZERO;
        let mut used = 0;
        // All runs that end with this segment; one that alone is too long is still a run.
        for &(bytes, duration) in self.recent.iter().rev() {
            if used > 0 && run + duration > self.longest {
                break;
            }
            run_bytes = run_bytes.saturating_add(bytes);
            run += duration;
            used += 1;
            if run >= self.shortest {
                self.peak = self.peak.max(rate(run_bytes, run));
            }
        }
        let surplus = self.recent.len() - used.min(MOST_IN_A_RUN);
        self.recent.drain(..surplus);
    }

    fn observe_average(&mut self, bytes: u64, duration: Duration) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.duration += duration;
        if self.duration >= AVERAGE_FROM {
            self.average = self.average.max(rate(self.bytes, self.duration));
        }
        if self.duration >= AVERAGE_OVER {
            self.bytes /= 2;
            self.duration /= 2;
        }
    }
}

/// Bit/s, rounded up to a step.
fn rate(bytes: u64, duration: Duration) -> u64 {
    let nanos = duration.as_nanos().max(1);
    let exact = (u128::from(bytes) * 8 * 1_000_000_000).div_ceil(nanos);
    u64::try_from(exact).unwrap_or(u64::MAX).div_ceil(STEP).saturating_mul(STEP)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_bound_stands_until_measurement_exceeds_it() {
        let mut meter = Meter::new(1, 1_000_000, 800_000);
        assert!(!meter.observe(100_000, SECOND));
        assert_eq!((meter.peak(), meter.average()), (1_000_000, 800_000));
        assert!(meter.observe(150_000, SECOND));
        assert_eq!(meter.peak(), 1_200_000);
        assert!(!meter.observe(10, SECOND), "a low rate never lowers it");
        assert_eq!(meter.peak(), 1_200_000);
    }

    #[test]
    fn the_peak_is_over_runs_of_half_to_one_and_a_half_target_durations() {
        let mut meter = Meter::new(2, 0, 0);
        // 0.5 s: too short alone, but 3 of them are a run.
        meter.observe(1_000_000, Duration::from_millis(500));
        assert_eq!(meter.peak(), 0);
        meter.observe(0, Duration::from_millis(500));
        assert_eq!(meter.peak(), 8_000_000);
        // Longer than any run: it counts alone.
        meter.observe(5_000_000, Duration::from_secs(4));
        assert_eq!(meter.peak(), 10_000_000);
    }

    #[test]
    fn the_average_counts_from_a_minute_on() {
        let mut meter = Meter::new(1, 0, 0);
        for second in 1..=120 {
            meter.observe(125_000, SECOND);
            assert_eq!(meter.average(), if second < 60 { 0 } else { 1_000_000 }, "{second}");
        }
    }

    #[test]
    fn segments_without_duration_do_not_grow_the_meter() {
        let mut meter = Meter::new(1, 0, 0);
        for _ in 0..10_000 {
            meter.observe(1, Duration::ZERO);
        }
        assert!(meter.recent.len() <= MOST_IN_A_RUN);
    }
}
