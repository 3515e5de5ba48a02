//! What goes wrong on demand.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The faults in force. They act on gRPC, and on the HTTP API too while `http` is set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Faults {
    /// Out of reach: gRPC connections are cut and new ones closed at once; the HTTP API answers 503.
    pub down: bool,
    /// Every request waits this long before it is looked at, in milliseconds.
    pub delay_ms: u64,
    /// The share of requests that fail (gRPC `UNAVAILABLE`, HTTP 500), 0 to 1.
    pub fail_rate: f64,
    /// The share of requests that are throttled (gRPC `RESOURCE_EXHAUSTED`, HTTP 429), 0 to 1.
    pub throttle_rate: f64,
    /// Whether the HTTP API fails too.
    pub http: bool,
}

/// The body of `POST /faults`: absent fields keep their value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultsUpdate {
    /// See [`Faults::down`].
    pub down: Option<bool>,
    /// See [`Faults::delay_ms`].
    pub delay_ms: Option<u64>,
    /// See [`Faults::fail_rate`].
    pub fail_rate: Option<f64>,
    /// See [`Faults::throttle_rate`].
    pub throttle_rate: Option<f64>,
    /// See [`Faults::http`].
    pub http: Option<bool>,
    /// Forget every item now; the caches themselves stay.
    #[serde(default)]
    pub wipe: bool,
}

impl FaultsUpdate {
    /// What is wrong with it: a rate that is no share.
    pub(crate) fn objection(&self) -> Option<String> {
        [("failRate", self.fail_rate), ("throttleRate", self.throttle_rate)].into_iter().find_map(|(name, rate)| {
            let rate = rate?;
            (!(0.0..=1.0).contains(&rate)).then(|| format!("{name} is {rate}: it must lie between 0 and 1"))
        })
    }
}

/// What one request meets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fate {
    Pass,
    Fail,
    Throttle,
}

impl Faults {
    pub(crate) fn update(&mut self, update: &FaultsUpdate) {
        self.down = update.down.unwrap_or(self.down);
        self.delay_ms = update.delay_ms.unwrap_or(self.delay_ms);
        self.fail_rate = update.fail_rate.unwrap_or(self.fail_rate);
        self.throttle_rate = update.throttle_rate.unwrap_or(self.throttle_rate);
        self.http = update.http.unwrap_or(self.http);
    }

    pub(crate) fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms)
    }

    /// `dice` in [0, 1): throttling is looked at first, as a rate limiter stands before the service.
    pub(crate) fn fate(&self, dice: f64) -> Fate {
        if dice < self.throttle_rate {
            Fate::Throttle
        } else if dice < self.throttle_rate + self.fail_rate {
            Fate::Fail
        } else {
            Fate::Pass
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_fields_keep_their_value() {
        let mut faults = Faults { delay_ms: 900, http: true, ..Faults::default() };
        let update: FaultsUpdate = serde_json::from_str(r#"{"failRate": 0.2, "http": false}"#).unwrap();
        faults.update(&update);
        assert_eq!(faults, Faults { delay_ms: 900, fail_rate: 0.2, ..Faults::default() });
    }

    #[test]
    fn a_rate_beyond_one_and_an_unknown_field_are_refused() {
        assert!(FaultsUpdate { fail_rate: Some(1.5), ..FaultsUpdate::default() }.objection().is_some());
        assert!(serde_json::from_str::<FaultsUpdate>(r#"{"delay": 900}"#).is_err());
    }

    #[test]
    fn the_two_rates_share_the_dice_without_overlap() {
        let faults = Faults { throttle_rate: 0.25, fail_rate: 0.5, ..Faults::default() };
        let fates = [0.0, 0.24, 0.25, 0.74, 0.75, 0.99].map(|dice| faults.fate(dice));
        use Fate::{Fail, Pass, Throttle};
        assert_eq!(fates, [Throttle, Throttle, Fail, Fail, Pass, Pass]);
    }
}
