//! The two clocks: the media's own, and the calendar.

use std::fmt;
use std::time::Duration;

const NANOS: i64 = 1_000_000_000;

/// Nanoseconds on a session's media timeline.
///
/// Zero is the container time [`SliceConfig::origin`](crate::slice::SliceConfig::origin); what an encoder puts before
/// it (the priming of an AAC encoder) is negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MediaTime(pub i64);

impl MediaTime {
    /// The start of a session.
    pub const ZERO: Self = Self(0);

    /// From a tick count of a container clock with `timescale` ticks a second, to the nearest nanosecond.
    pub(crate) fn from_ticks(ticks: i64, timescale: u32) -> Self {
        let scale = i128::from(timescale.max(1));
        let nanos = (i128::from(ticks) * i128::from(NANOS) + scale / 2).div_euclid(scale);
        Self(i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX }))
    }

    /// This moment, `duration` later.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        let gap = i128::from(self.0) - i128::from(earlier.0);
        Duration::from_nanos(u64::try_from(gap).unwrap_or(0))
    }
}

/// Nanoseconds since the Unix epoch. Its `Display` is what `EXT-X-PROGRAM-DATE-TIME` wants: RFC 3339 with
/// milliseconds, in UTC (RFC 8216bis 4.4.4.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixTime(pub i64);

impl UnixTime {
    /// This moment, `duration` later.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// Reads what `Display` writes: `YYYY-MM-DDThh:mm:ss[.fraction]Z`. Other zones and other forms are `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('Z')?;
        let (date, clock) = text.split_once('T')?;
        let mut date = date.split('-');
        let (year, month, day) = (date.next()?, date.next()?, date.next()?);
        let mut clock = clock.split(':');
        let (hour, minute, second) = (clock.next()?, clock.next()?, clock.next()?);
        if date.next().is_some() || clock.next().is_some() {
            return None;
        }
        let (second, fraction) = second.split_once('.').unwrap_or((second, "0"));
        let (year, month, day) = (digits(year, 4)?, digits(month, 2)?, digits(day, 2)?);
        let (hour, minute, second) = (digits(hour, 2)?, digits(minute, 2)?, digits(second, 2)?);
        let valid = (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60
            && !fraction.is_empty()
            && fraction.len() <= 9;
        if !valid {
            return None;
        }
        let scale = 10_i64.checked_pow(9 - u32::try_from(fraction.len()).ok()?)?;
        let fraction = digits(fraction, fraction.len())? * scale;
        let days = days_from_civil(year, month, day);
        let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
        Some(Self(seconds.checked_mul(NANOS)?.checked_add(fraction)?))
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.div_euclid(1_000_000);
        let (seconds, millis) = (millis.div_euclid(1000), millis.rem_euclid(1000));
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar. Years are counted from March, so that the
/// leap day is a year's last; 400 years are one era of 146,097 days.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_date_time_is_rfc_3339_with_milliseconds_in_utc() {
        assert_eq!(UnixTime(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(UnixTime(951_782_400_123_999_999).to_string(), "2000-02-29T00:00:00.123Z");
        assert_eq!(UnixTime(1_795_478_399_999_000_000).to_string(), "2026-11-23T23:59:59.999Z");
        assert_eq!(UnixTime(-1).to_string(), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn parse_reads_what_display_writes_and_nothing_else() {
        for millis in (-4_000_000_000_000_i64..8_000_000_000_000).step_by(86_399_993_000) {
            let time = UnixTime(millis * 1_000_000);
            assert_eq!(UnixTime::parse(&time.to_string()), Some(time));
        }
        for bad in ["", "Z", "2026-11-23", "2026-13-01T00:00:00Z", "2026-11-23T24:00:00Z", "2026-11-23T00:00:00+01:00"]
        {
            assert_eq!(UnixTime::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn ticks_become_the_nearest_nanosecond() {
        assert_eq!(MediaTime::from_ticks(1, 90_000), MediaTime(11_111));
        assert_eq!(MediaTime::from_ticks(-1, 90_000), MediaTime(-11_111));
        assert_eq!(MediaTime::from_ticks(90_000 * 3600, 90_000), MediaTime(3600 * NANOS));
        assert_eq!(MediaTime::from_ticks(i64::MAX, 1), MediaTime(i64::MAX));
    }
}
