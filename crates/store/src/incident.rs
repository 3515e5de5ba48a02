//! Tells of an outage once when it begins and once when it is over, not with every request in between.

use std::time::Duration;

use tokio::time::Instant;

/// Without a failure for this long, an outage is over. Longer than the pauses between the failures of a store that
/// fails only now and then.
const QUIET: Duration = Duration::from_secs(10);

/// The failures of one store, of one kind: says which of them is worth a line in the log.
#[derive(Debug, Default)]
pub struct Incident {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    began: Instant,
    last: Instant,
    failures: u64,
}

/// What an outage was, when it is over.
#[derive(Debug, PartialEq, Eq)]
pub struct Over {
    /// From its first to its last failure.
    pub lasted: Duration,
    /// Failed attempts in it.
    pub failures: u64,
}

impl Incident {
    /// A failure. True if it begins an outage.
    pub fn failed(&mut self, now: Instant) -> bool {
        match &mut self.open {
            Some(open) => {
                open.last = now;
                open.failures += 1;
                false
            }
            None => {
                self.open = Some(Open { began: now, last: now, failures: 1 });
                true
            }
        }
    }

    /// A success. Some if it shows that an outage is over.
    pub fn succeeded(&mut self, now: Instant) -> Option<Over> {
        let open = self.open.take_if(|open| now.duration_since(open.last) >= QUIET)?;
        Some(Over { lasted: open.last.duration_since(open.began), failures: open.failures })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_at_its_beginning_and_at_its_end() {
        let zero = Instant::now();
        let at = |seconds| zero + Duration::from_secs(seconds);
        let mut incident = Incident::default();
        assert_eq!(incident.succeeded(at(0)), None);
        assert!(incident.failed(at(1)));
        for second in 2..=30 {
            assert!(!incident.failed(at(second)));
            assert_eq!(incident.succeeded(at(second)), None);
        }
        assert_eq!(incident.succeeded(at(39)), None);
        assert_eq!(incident.succeeded(at(40)), Some(Over { lasted: Duration::from_secs(29), failures: 30 }));
        assert_eq!(incident.succeeded(at(60)), None);
        assert!(incident.failed(at(61)));
    }
}
