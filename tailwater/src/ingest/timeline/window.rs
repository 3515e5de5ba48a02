//! The highest value of late.

use std::time::Duration;

/// The highest value seen in the last one to two spans. Two numbers of memory.
#[derive(Debug)]
pub(super) struct Highest {
    span: Duration,
    begun: Option<Duration>,
    current: i64,
    previous: i64,
}

impl Highest {
    pub(super) fn new(span: Duration) -> Self {
        Self { span, begun: None, current: i64::MIN / 4, previous: i64::MIN / 4 }
    }

    pub(super) fn observe(&mut self, now: Duration, value: i64) {
        match self.begun {
            Some(begun) if now.saturating_sub(begun) < self.span => self.current = self.current.max(value),
            Some(_) => {
                self.previous = self.current;
                self.current = value;
                self.begun = Some(now);
            }
            None => {
                self.current = value;
                self.begun = Some(now);
            }
        }
    }

    /// A very low number when nothing was seen.
    pub(super) fn highest(&self) -> i64 {
        self.current.max(self.previous)
    }
}
