//! Wall-clock instants that advance with the runtime's clock.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// No TTL is longer than this: a century, so that adding it to any date stays within what file systems can note.
const LONGEST_TTL: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The wall clock as it was once, plus the time that passed since by the runtime's monotonic clock.
///
/// Expiry dates must survive a restart, so they are wall-clock dates; while the process runs, a step of the system's
/// clock must neither drop a live window nor keep it for ever. In tests it follows tokio's paused time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    wall: SystemTime,
    since: Instant,
}

impl Clock {
    /// Reads the system's clock, this once.
    #[must_use]
    pub fn system() -> Self {
        Self { wall: SystemTime::now(), since: Instant::now() }
    }

    /// The present.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.wall + self.since.elapsed()
    }

    /// When something stored now expires.
    #[must_use]
    pub(crate) fn expiry(&self, ttl: Duration) -> SystemTime {
        self.now() + ttl.min(LONGEST_TTL)
    }
}
