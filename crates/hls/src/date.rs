//! PROGRAM-DATE-TIME: from the media's clock to the calendar.

use std::collections::VecDeque;

use crate::time::{MediaTime, UnixTime};

/// The most that the dates give way to the wall clock in one segment.
const SLEW: i64 = 1_000_000;
/// Less than this is jitter of arrival, not drift of a clock.
const TOLERANCE: i64 = 20_000_000;
/// Arrivals that a judgement of drift is averaged over.
const SMOOTHING: i64 = 16;
/// Segments after which it is known how late they arrive when all is well: an encoder starts with what waited for it, and
/// its first segments are later than all that follow.
const SETTLING: u32 = 16;
/// Segments whose decision is remembered: renditions are never further apart.
const REMEMBERED: usize = 64;

/// Dates of one session's media, for all its renditions alike.
///
/// Anchored once, to the arrival of the session's first frame; from there on dates advance by media time. When the
/// wall clock and the media clock drift apart, each segment gives way by at most a millisecond: "the Server MAY
/// adjust for drift" only by sub-second steps (RFC 8216bis 6.2.1). The decision is kept by segment index, and once
/// a rendition has asked for the date of a segment it is fixed for that segment and all before it.
#[derive(Debug, Clone)]
pub struct ProgramClock {
    /// (first segment index, wall minus media time) in order; never empty.
    offsets: VecDeque<(u64, i64)>,
    /// The highest index a date was asked of.
    asked: Option<u64>,
    /// The highest index observed.
    observed: Option<u64>,
    /// The least that the end of one of the first segments was late; drift is measured against that.
    lateness: i64,
    /// How many went into it.
    settled: u32,
    drift: i64,
}

impl ProgramClock {
    /// The frame at `media` arrived at `wall`. A new session is a new clock: dates jump at its discontinuity only.
    #[must_use]
    pub fn anchor(media: MediaTime, wall: UnixTime) -> Self {
        let offset = wall.0.saturating_sub(media.0);
        Self {
            offsets: VecDeque::from([(0, offset)]),
            asked: None,
            observed: None,
            lateness: i64::MAX,
            settled: 0,
            drift: 0,
        }
    }

    /// The date of `media` in segment `index` of the session.
    pub fn date(&mut self, index: u64, media: MediaTime) -> UnixTime {
        self.asked = self.asked.max(Some(index));
        UnixTime(self.offset(index).saturating_add(media.0))
    }

    /// Segment `index`, which ends at `media`, was complete at `wall`. Of several renditions the first to say so
    /// counts.
    pub fn observe(&mut self, index: u64, media: MediaTime, wall: UnixTime) {
        if self.observed.is_some_and(|last| index <= last) {
            return;
        }
        self.observed = Some(index);
        let late = wall.0.saturating_sub(self.offset(index).saturating_add(media.0));
        if self.settled < SETTLING {
            self.settled += 1;
            self.lateness = self.lateness.min(late);
            return;
        }
        let drift = late.saturating_sub(self.lateness);
        self.drift += drift.saturating_sub(self.drift) / SMOOTHING;
        if self.drift.abs() < TOLERANCE {
            return;
        }
        let step = self.drift.clamp(-SLEW, SLEW);
        let from = self.asked.map_or(0, |asked| asked.saturating_add(1)).max(index.saturating_add(1));
        let last = self.offsets.back().map_or(0, |&(_, offset)| offset);
        self.offsets.push_back((from, last.saturating_add(step)));
        if self.offsets.len() > REMEMBERED {
            self.offsets.pop_front();
        }
    }

    fn offset(&self, index: u64) -> i64 {
        let decided = self.offsets.iter().rev().find(|(from, _)| *from <= index);
        decided.or(self.offsets.front()).map_or(0, |&(_, offset)| offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;
    const NOON: i64 = 1_795_435_200 * SECOND;

    fn second(index: u64) -> MediaTime {
        MediaTime(index as i64 * SECOND)
    }

    #[test]
    fn dates_advance_by_media_time_from_the_anchor() {
        let mut clock = ProgramClock::anchor(MediaTime(0), UnixTime(NOON));
        for index in 0..1000 {
            assert_eq!(clock.date(index, second(index)), UnixTime(NOON + second(index).0));
            let jitter = if index % 2 == 0 { 15_000_000 } else { -15_000_000 };
            clock.observe(index, second(index + 1), UnixTime(NOON + second(index + 1).0 + jitter + 300_000_000));
        }
    }

    #[test]
    fn a_slow_start_is_no_drift() {
        let mut clock = ProgramClock::anchor(MediaTime(0), UnixTime(NOON));
        for index in 0..1000 {
            assert_eq!(clock.date(index, second(index)), UnixTime(NOON + second(index).0));
            let late = 60_000_000 + 100_000_000 * (4 - index as i64).max(0);
            clock.observe(index, second(index + 1), UnixTime(NOON + second(index + 1).0 + late));
        }
    }

    #[test]
    fn drift_is_slewed_by_at_most_a_millisecond_a_segment() {
        let mut clock = ProgramClock::anchor(MediaTime(0), UnixTime(NOON));
        let mut last = clock.date(0, second(0));
        // The camera's clock is 100 ppm slow: in 2000 s the wall is 200 ms ahead of the media.
        let wall = |index: u64| UnixTime(NOON + second(index).0 + index as i64 * 100_000);
        for index in 0..2000 {
            clock.observe(index, second(index + 1), wall(index + 1));
            let date = clock.date(index + 1, second(index + 1));
            let step = date.0 - last.0 - SECOND;
            assert!((0..=SLEW).contains(&step), "{step}");
            last = date;
        }
        assert!((last.0 - wall(2000).0).abs() < 30_000_000);
    }

    #[test]
    fn all_renditions_get_the_same_dates_in_whatever_order_they_come() {
        let mut clock = ProgramClock::anchor(MediaTime(0), UnixTime(NOON));
        let mut given: Vec<UnixTime> = Vec::new();
        for index in 0..500_u64 {
            given.push(clock.date(index, second(index)));
            // The second rendition is up to two segments behind.
            for behind in index.saturating_sub(2)..=index {
                assert_eq!(clock.date(behind, second(behind)), given[behind as usize]);
                let late = UnixTime(NOON + second(index + 1).0 + 500_000_000 * i64::from(index > 10));
                clock.observe(behind, second(behind + 1), late);
            }
        }
        assert!(given[499].0 > NOON + second(499).0);
    }
}
