//! Which of a store's limits a plan breaks, and what to set instead.

use std::{fmt, time::Duration};

use store::{Capabilities, Scheme};

use super::{cost::Cost, human, limit, size};
use crate::config::check::shortest_ttl;

/// A limit that would be broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which one, against what.
    pub what: String,
    /// What to set instead.
    pub instead: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.what, self.instead)
    }
}

/// What a service documents, for those that cannot be asked without an account: Momento's defaults for on-demand
/// caches (5 MB an item, 100 operations a second, 100 MB of hot storage, 24 hours) and its object store.
pub fn documented(scheme: Scheme) -> Capabilities {
    let mut known = Capabilities::default();
    match scheme {
        Scheme::Momento => {
            known.max_object = Some(5_000_000);
            known.max_ttl = Some(Duration::from_secs(24 * 3600));
            known.operations_per_second = Some(100);
            known.memory = Some(100_000_000);
        }
        Scheme::MomentoObjectStore => {
            known.operations_per_second = Some(100);
            known.bytes_per_second = Some(1 << 20);
        }
        _ => {}
    }
    known
}

/// All limits that would be broken.
pub fn broken(cost: &Cost, store: &Capabilities) -> Vec<Broken> {
    [operations(cost, store), bandwidth(cost, store), memory(cost, store), object(cost, store), ttl(cost, store)]
        .into_iter()
        .flatten()
        .collect()
}

fn operations(cost: &Cost, store: &Capabilities) -> Option<Broken> {
    let most = store.operations_per_second? as f64;
    let needed = cost.puts_per_second;
    (needed > most).then(|| {
        let each = needed / f64::from(cost.streams);
        let fit = (most / each) as u64;
        Broken {
            what: format!("operations: {needed:.0} writes a second against {most:.0}"),
            instead: match fit {
                0 => "have the limit raised, or list fewer rungs".to_owned(),
                fit => format!("have the limit raised, or run {fit} at a time"),
            },
        }
    })
}

fn bandwidth(cost: &Cost, store: &Capabilities) -> Option<Broken> {
    let most = store.bytes_per_second? as f64;
    let needed = cost.bytes_per_second;
    (needed > most).then(|| Broken {
        what: format!("bandwidth: {:.2} MB/s written against {:.2} MB/s", needed / 1e6, most / 1e6),
        instead: format!(
            "have the limit raised, or lower the ladder's bit rates to {:.0} % of what they are",
            most / needed * 100.0
        ),
    })
}

fn memory(cost: &Cost, store: &Capabilities) -> Option<Broken> {
    let most = store.memory?;
    (cost.bytes_at_ttl > most).then(|| {
        let fitting = Duration::from_secs((most as f64 / cost.kept_per_second) as u64);
        let instead = if fitting >= shortest_ttl(cost.window, Duration::from_secs_f64(cost.segment)) {
            format!("set ttl = \"{}\", or have the limit raised", human(fitting))
        } else {
            shorter_window(cost, fitting)
        };
        Broken { what: format!("memory: {} at the TTL against {}", size(cost.bytes_at_ttl), limit(most)), instead }
    })
}

/// The TTL that fits is too short for the window: both, if anything.
fn shorter_window(cost: &Cost, fitting: Duration) -> String {
    let slack = shortest_ttl(Duration::ZERO, Duration::from_secs_f64(cost.segment));
    match fitting.checked_sub(slack).filter(|window| *window >= crate::config::check::SHORTEST_WINDOW) {
        Some(window) => {
            format!("set ttl = \"{}\" and window = \"{}\", or have the limit raised", human(fitting), human(window))
        }
        None => "no TTL is short enough: have the limit raised, or lower the ladder's bit rates".to_owned(),
    }
}

fn object(cost: &Cost, store: &Capabilities) -> Option<Broken> {
    let most = store.max_object?;
    (cost.largest_object > most).then(|| Broken {
        what: format!("largest object: {} against {}", size(cost.largest_object), limit(most)),
        instead: if cost.playlist > most {
            "shorten the window: the playlist is too long".to_owned()
        } else {
            let fits = most as f64 * 8.0 / (cost.segment * 1.5) / 1e6;
            format!("keep every rung's peak below {fits:.0} Mbit/s")
        },
    })
}

fn ttl(cost: &Cost, store: &Capabilities) -> Option<Broken> {
    let most = store.max_ttl?;
    (cost.ttl > most).then(|| Broken {
        what: format!("TTL: {} against {}", human(cost.ttl), human(most)),
        instead: format!("set ttl = \"{}\" or less", human(most)),
    })
}
