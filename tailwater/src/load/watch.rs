//! Watches one livestream keep up with its source, or not: a pure state machine. The clock comes in as values.
//!
//! ```text
//!                lag over `behind`                  for `patience`, not catching up
//!  KEEPING UP ────────────────────────▶ BEHIND ───────────────────────────────────▶ wish to shed
//!    │    ▲                               │ ▲ │
//!    │    └──────── lag under `behind` ───┘ └─┘ catching up: patience begins anew
//!    │
//!    └── lag under `ahead` for long enough, room on the machine ──▶ wish to climb
//!
//!  any ── handle_change, handle_session (FFmpeg is started anew) ──▶ KEEPING UP
//! ```
//!
//! A wish is repeated with each sample until [`Watch::handle_change`] tells that it was followed, or until it has no more
//! reason. None comes within `pause` of a change. A climb that has to be taken back doubles the time that the next one
//! waits; one that holds forgets it.

use std::time::{Duration, Instant};

/// How long things take, and how much lag is too much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times {
    /// More lag than this is falling behind.
    pub behind: Duration,
    /// Less lag than this is keeping up with ease.
    pub ahead: Duration,
    /// Behind for this long, without catching up, is too much to wait for.
    pub patience: Duration,
    /// Between two changes.
    pub pause: Duration,
    /// At ease for this long is reason to climb.
    pub healthy: Duration,
    /// The longest that failed climbs make the next one wait.
    pub healthy_max: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            behind: Duration::from_secs(2),
            ahead: Duration::from_millis(750),
            patience: Duration::from_secs(3),
            pause: Duration::from_secs(60),
            healthy: Duration::from_secs(120),
            healthy_max: Duration::from_secs(32 * 60),
        }
    }
}

/// How a livestream is doing at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Media time that went in and has not come out, beyond what the encoders hold by design.
    pub lag: Duration,
    /// Media time that has come out of this run of FFmpeg.
    pub out: Duration,
    /// The machine has room for one level less.
    pub room: bool,
}

/// What should be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Go one level up: do with less.
    Shed,
    /// Go one level down: do more again.
    Climb,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    KeepingUp {
        /// At ease since then.
        at_ease: Option<Instant>,
    },
    Behind {
        since: Instant,
        /// As it was then.
        sample: Sample,
        /// Patience was in vain.
        stuck: bool,
    },
}

/// See the module.
#[derive(Debug)]
pub struct Watch {
    times: Times,
    state: State,
    level: usize,
    /// The level with nothing left to shed.
    most: usize,
    changed: Option<Instant>,
    /// When the last climb was made, while it may still turn out to have been too much.
    climbed: Option<Instant>,
    /// How long being at ease takes before the next climb.
    healthy: Duration,
}

impl Watch {
    /// A livestream at level 0 with nothing to shed.
    pub fn new(times: Times) -> Self {
        let healthy = times.healthy;
        let state = State::KeepingUp { at_ease: None };
        Self { times, state, level: 0, most: 0, changed: None, climbed: None, healthy }
    }

    /// FFmpeg is started, at this level of so many.
    pub fn handle_session(&mut self, level: usize, most: usize) {
        (self.level, self.most) = (level, most);
        self.state = State::KeepingUp { at_ease: None };
    }

    /// The level was changed, because it was wished for or for another reason.
    pub fn handle_change(&mut self, now: Instant, level: usize) {
        if level > self.level {
            let in_vain = self.climbed.take().is_some_and(|at| now.duration_since(at) < self.healthy);
            self.healthy = match in_vain {
                true => (self.healthy * 2).min(self.times.healthy_max),
                false => self.times.healthy,
            };
        } else if level < self.level {
            self.climbed = Some(now);
        }
        self.changed = Some(now);
        self.level = level;
        self.state = State::KeepingUp { at_ease: None };
    }

    /// A sample; what follows from it.
    pub fn handle_sample(&mut self, now: Instant, sample: Sample) -> Option<Wish> {
        self.state = match self.state {
            _ if sample.lag <= self.times.behind => State::KeepingUp { at_ease: self.at_ease(now, sample) },
            State::KeepingUp { .. } => State::Behind { since: now, sample, stuck: false },
            State::Behind { since, sample: before, stuck } => self.still_behind(now, sample, since, before, stuck),
        };
        if self.changed.is_some_and(|at| now.duration_since(at) < self.times.pause) {
            return None;
        }
        match self.state {
            State::Behind { stuck: true, .. } if self.level < self.most => Some(Wish::Shed),
            State::KeepingUp { at_ease: Some(since) }
                if self.level > 0 && sample.room && now.duration_since(since) >= self.healthy =>
            {
                Some(Wish::Climb)
            }
            _ => None,
        }
    }

    /// Behind with nothing left to shed.
    pub fn is_overloaded(&self) -> bool {
        self.level == self.most && matches!(self.state, State::Behind { stuck: true, .. })
    }

    /// The level it is at.
    pub fn level(&self) -> usize {
        self.level
    }

    fn at_ease(&self, now: Instant, sample: Sample) -> Option<Instant> {
        let since = match self.state {
            State::KeepingUp { at_ease } => at_ease,
            State::Behind { .. } => None,
        };
        (sample.lag <= self.times.ahead).then(|| since.unwrap_or(now))
    }

    fn still_behind(&self, now: Instant, sample: Sample, since: Instant, before: Sample, stuck: bool) -> State {
        let waited = now.duration_since(since);
        if waited < self.times.patience {
            return State::Behind { since, sample: before, stuck };
        }
        // A burst (the last GOP at the start, a source that caught up) is worked off; a source faster than real time is
        // no fault of the machine.
        let shrunk = before.lag.saturating_sub(sample.lag) * 10 >= waited;
        let faster = sample.out.saturating_sub(before.out) * 10 >= waited * 11;
        let stuck = !(shrunk || faster);
        State::Behind { since: now, sample, stuck }
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
