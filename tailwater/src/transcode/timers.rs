//! The supervisor's deadlines, in one table.

use std::time::Instant;

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    /// FFmpeg has input and has written nothing yet.
    Startup,
    /// Input flows and nothing comes out any more.
    Stall,
    /// The next attempt.
    Backoff,
    /// It has run long enough for earlier failures to be forgotten.
    Healthy,
    /// It was told to finish (end of input) and has not.
    Grace,
    /// It was asked to terminate and has not.
    Kill,
}

impl Timer {
    const ALL: [Self; 6] = [Self::Startup, Self::Stall, Self::Backoff, Self::Healthy, Self::Grace, Self::Kill];
}

/// Which deadlines are set.
#[derive(Debug, Clone, Default)]
pub(super) struct Timers([Option<Instant>; Timer::ALL.len()]);

impl Timers {
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        self.0[timer as usize] = Some(at);
    }

    pub(super) fn clear(&mut self, timer: Timer) {
        self.0[timer as usize] = None;
    }

    pub(super) fn clear_all(&mut self) {
        self.0 = Default::default();
    }

    pub(super) fn is_set(&self, timer: Timer) -> bool {
        self.0[timer as usize].is_some()
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
    }

    /// Takes one deadline that has passed.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Timer> {
        let timer = Timer::ALL.into_iter().find(|timer| self.0[*timer as usize].is_some_and(|at| at <= now))?;
        self.clear(timer);
        Some(timer)
    }
}
