//! When a failed put is tried again. The one place of retries on the way to the store.

use std::time::Duration;

use store::{Error, ErrorKind};

/// The budget of a put: the store's own layer of retries passes it on once, since it is tried again here.
pub(super) const ONE_ATTEMPT: Duration = Duration::ZERO;
/// First pause after a fault.
const FIRST: Duration = Duration::from_millis(50);
/// Longest pause between two tries: a store that is back is noticed within this.
const LONGEST: Duration = Duration::from_secs(1);
/// Longest pause after a throttle, which asks for fewer puts, not for the same puts later.
const LONGEST_THROTTLE: Duration = Duration::from_secs(2);

/// The pause before try number `failures + 1`, doubled each time and jittered by half.
///
/// `random` is uniform in 0..1.
pub(super) fn pause(kind: ErrorKind, failures: u32, random: f64) -> Duration {
    let (first, longest) = match kind {
        ErrorKind::Throttle => (FIRST * 4, LONGEST_THROTTLE),
        _ => (FIRST, LONGEST),
    };
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(longest);
    doubled.mul_f64(0.5 + random / 2.0)
}

/// Whether the failure lies in the object itself, so that another try can never do better. A wrong key or a missing
/// cache can be put right while the broadcast goes on.
pub(super) fn is_final(error: &Error) -> bool {
    matches!(error, Error::TooLarge { .. } | Error::Invalid { .. } | Error::Unsupported { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second() {
        let pauses: Vec<_> = (1..8).map(|n| pause(ErrorKind::Transient, n, 1.0).as_millis()).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1000, 1000]);
    }

    #[test]
    fn jitter_takes_off_up_to_half() {
        assert_eq!(pause(ErrorKind::Transient, 1, 0.0), FIRST / 2);
        assert_eq!(pause(ErrorKind::Transient, u32::MAX, 1.0), LONGEST);
    }

    #[test]
    fn a_throttle_waits_longer_than_a_fault() {
        assert!(pause(ErrorKind::Throttle, 3, 0.0) > pause(ErrorKind::Transient, 3, 1.0));
    }
}
