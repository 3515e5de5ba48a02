//! One track: from the encoder's 32 bits to the session's milliseconds.

use std::time::Duration;

use rtmp::flv::TagKind;

use super::milliseconds;

/// A step beyond this may be a jump; within it never is. Milliseconds.
const STEP: i64 = 500;
/// Tags in a row that would go back before the track is moved: a few are disorder, more are a new base.
const MAX_BEHIND: u32 = 5;
/// The same in time, for audio that comes back behind the silence that replaced it: a late burst catches up sooner.
const MAX_BEHIND_FILLED: i64 = 2_000;
/// How far off the other track's correction may be to be taken over, in milliseconds.
const FIT: i64 = 1_000;
/// Where encoders wrap that do not use all 32 bits: no extended timestamp; FLV's signed time.
const WRAPS: [i64; 2] = [1 << 24, 1 << 31];
/// The largest composition time that is believed, either way, in milliseconds.
const MAX_COMPOSITION: i32 = 5_000;
/// The largest reordering delay that is made up for, in milliseconds.
const MAX_REORDER: i64 = 1_000;

/// Where a tag goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    /// At this time. `jumped` says how far off it was when the track was moved for it.
    At { time: i64, jumped: Option<i64> },
    /// Nowhere: silence is there already.
    Behind { time: i64 },
    /// Nowhere: before the start.
    Before,
}

#[derive(Debug)]
pub(super) struct Track {
    kind: TagKind,
    started: bool,
    /// As sent, the last one.
    sent: u32,
    /// The same without wraps.
    unwrapped: i64,
    /// What is added to it.
    offset: i64,
    /// The last time before ordering.
    placed: i64,
    /// The last time given out; -1 before the first.
    last: i64,
    arrival: Duration,
    /// The usual distance of two tags.
    interval: i64,
    behind: u32,
    behind_since: Option<Duration>,
    /// A tag of it was placed: its usual lag is known.
    heard: bool,
    /// How much later decoding must be called earlier, so that no frame is shown before it is decoded.
    reorder: i64,
}

impl Track {
    pub(super) fn new(kind: TagKind) -> Self {
        Self {
            kind,
            started: false,
            sent: 0,
            unwrapped: 0,
            offset: 0,
            placed: -1,
            last: -1,
            arrival: Duration::ZERO,
            interval: if kind == TagKind::Video { 40 } else { 23 },
            behind: 0,
            behind_since: None,
            heard: false,
            reorder: 0,
        }
    }

    pub(super) fn is_started(&self) -> bool {
        self.started
    }

    pub(super) fn is_heard(&self) -> bool {
        self.heard
    }

    pub(super) fn last(&self) -> i64 {
        self.last
    }

    /// Something was given out at this time.
    pub(super) fn advance(&mut self, time: i64) {
        self.last = self.last.max(time);
        self.placed = self.placed.max(time);
    }

    pub(super) fn start(&mut self, arrival: Duration, unwrapped: i64, sent: u32, offset: i64) {
        self.started = true;
        self.sent = sent;
        self.unwrapped = unwrapped;
        self.offset = offset;
        self.arrival = arrival;
    }

    /// Starts on the base of the other track, or, where the two are further apart than `max_skew`, where the other is by now.
    pub(super) fn start_beside(&mut self, other: &Track, arrival: Duration, sent: u32, max_skew: i64) {
        let unwrapped = other.unwrapped + i64::from(sent.wrapping_sub(other.sent) as i32);
        let expected = other.expected(arrival);
        let skew = unwrapped + other.offset - expected;
        let offset = if skew.abs() <= max_skew { other.offset } else { expected - unwrapped };
        self.start(arrival, unwrapped, sent, offset);
    }

    /// Where this track is by the clock.
    fn expected(&self, arrival: Duration) -> i64 {
        self.placed.max(0) + milliseconds(arrival.saturating_sub(self.arrival))
    }

    /// Places a tag. `limit` is the furthest that a live source can be at this arrival; `filled` says that silence took this
    /// track's place meanwhile.
    pub(super) fn place(&mut self, other: &Track, arrival: Duration, sent: u32, limit: i64, filled: bool) -> Placed {
        let step = unwrap(i64::from(sent.wrapping_sub(self.sent) as i32));
        let waited = milliseconds(arrival.saturating_sub(self.arrival));
        self.sent = sent;
        self.unwrapped += step;
        let time = self.unwrapped + self.offset;
        let leapt = step > STEP.max(4 * self.interval) && time > limit + STEP;
        let jumped = if step < -STEP || leapt {
            // Where it would be had it not jumped. After silence that is where the other track is.
            let expected =
                if filled { other.expected(arrival) } else { self.placed.max(0) + waited.max(self.interval) };
            Some(self.move_to(expected, other))
        } else {
            if (1..=STEP).contains(&step) {
                self.interval = (self.interval * 7 + step) / 8;
            }
            None
        };
        self.settle(other, arrival, filled, jumped)
    }

    /// Makes the newest tag's time `expected`, or what the other track's correction makes of it when that is close. Gives how far
    /// off it was.
    fn move_to(&mut self, expected: i64, other: &Track) -> i64 {
        let by = self.unwrapped + self.offset - expected;
        let beside = self.unwrapped + other.offset;
        let fits = other.started && other.offset != self.offset && (beside - expected).abs() <= FIT;
        self.offset = if fits { other.offset } else { expected - self.unwrapped };
        by
    }

    /// The time of the newest tag, strictly after the last one.
    fn settle(&mut self, other: &Track, arrival: Duration, filled: bool, mut jumped: Option<i64>) -> Placed {
        let mut time = self.unwrapped + self.offset;
        self.arrival = arrival;
        // What comes before the start belongs to nothing.
        if time < 0 && self.last < 0 {
            return Placed::Before;
        }
        if time > self.placed {
            (self.behind, self.behind_since) = (0, None);
        } else if filled {
            // A track that was late from its beginning is right, and reaches the end of the silence in time.
            let since = *self.behind_since.get_or_insert(arrival);
            if !self.heard || milliseconds(arrival.saturating_sub(since)) < MAX_BEHIND_FILLED {
                return Placed::Behind { time };
            }
            // It went on counting where it stopped.
            jumped = Some(self.move_to(other.expected(arrival).max(self.placed + 1), other));
            time = (self.unwrapped + self.offset).max(self.placed + 1);
            (self.behind, self.behind_since) = (0, None);
        } else {
            self.behind += 1;
            if self.behind > MAX_BEHIND {
                jumped = Some(self.move_to(self.placed + self.interval, other));
                self.behind = 0;
            }
            time = (self.unwrapped + self.offset).max(self.placed + 1);
        }
        self.placed = time;
        self.heard = true;
        Placed::At { time, jumped }
    }

    /// The decoding time and composition time of a frame placed at `time`, so that decoding times rise and no frame is shown before
    /// it is decoded.
    ///
    /// Where an encoder's composition times are negative, its decoding times are late by as much: they are taken back by the most that
    /// was seen, and the time of showing stays what it was.
    pub(super) fn order(&mut self, time: i64, composition: i32) -> (i64, i32) {
        debug_assert_eq!(self.kind, TagKind::Video);
        let composition = believed(composition);
        let shown = time + i64::from(composition);
        self.reorder = self.reorder.max(i64::from(-composition)).min(MAX_REORDER);
        let decode = (time - self.reorder).max(self.last + 1);
        self.last = decode;
        (decode, i32::try_from((shown - decode).max(0)).unwrap_or(0))
    }
}

/// A composition time, 0 in place of nonsense.
pub(super) fn believed(composition: i32) -> i32 {
    if composition.abs() > MAX_COMPOSITION { 0 } else { composition }
}

/// A step back that is a wrap of fewer than 32 bits is a step forth.
fn unwrap(step: i64) -> i64 {
    for wrap in WRAPS {
        if (-STEP..=5 * STEP).contains(&(step + wrap)) {
            return step + wrap;
        }
    }
    step
}
