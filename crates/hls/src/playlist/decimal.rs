//! Decimal floating-point numbers in playlists: exact, from integers.

use std::fmt::{self, Write};
use std::time::Duration;

/// 10 microseconds: the last of the five decimals printed.
const UNIT: u128 = 10_000;
const UNITS_A_SECOND: u128 = 100_000;

fn write_units(out: &mut String, units: u128) {
    // Writing to a String cannot fail.
    let _: fmt::Result = write!(out, "{}.{:05}", units / UNITS_A_SECOND, units % UNITS_A_SECOND);
}

/// Five decimals, to the nearest, but never more than `most`: "the EXTINF duration of each Media Segment, when
/// rounded to the nearest integer, MUST be less than or equal to the Target Duration" and a part's "MUST be less
/// than or equal to the Part Target Duration". AVPlayer refuses the whole asset over a part that exceeds it.
pub(crate) fn write_at_most(out: &mut String, duration: Duration, most: u128) {
    let units = (duration.as_nanos() + UNIT / 2) / UNIT;
    write_units(out, units.min(most));
}

/// The largest printable duration of a segment of that target duration: just below the half second that rounds up.
pub(crate) fn most_of_target(target_duration: u32) -> u128 {
    u128::from(target_duration) * UNITS_A_SECOND + UNITS_A_SECOND / 2 - 1
}

/// The part target in printed units: rounded up, because it is an upper bound.
pub(crate) fn part_target_units(target: Duration) -> u128 {
    target.as_nanos().div_ceil(UNIT)
}

/// As few decimals as say it, but one: `0.2134`, `0.1`, `3.0`. Rounded up.
pub(crate) fn write_short(out: &mut String, duration: Duration) {
    write_units(out, part_target_units(duration));
    let decimals = out.bytes().rev().take_while(|&b| b == b'0').count().min(4);
    out.truncate(out.len() - decimals);
}
