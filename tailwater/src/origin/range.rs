//! `Range: bytes=…` of RFC 9110 section 14, one range at a time.

use std::ops::Range;

/// What a `Range` header asks of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeRequest {
    /// All of it: there is no header, or one that need not be followed (other units, several ranges, malformed).
    Whole,
    /// From here, and up to this byte (inclusive) if one is named.
    From(u64, Option<u64>),
    /// This many bytes at the end.
    Last(u64),
}

impl RangeRequest {
    /// Reads the header's value.
    pub fn parse(value: Option<&str>) -> Self {
        value.and_then(parse).unwrap_or(Self::Whole)
    }

    /// The bytes meant, of an object of `size`. `Some(None)` is the whole; `None` is 416.
    pub fn resolve(self, size: u64) -> Option<Option<Range<u64>>> {
        match self {
            Self::Whole => Some(None),
            Self::From(first, last) => {
                let end = last.map_or(size, |last| last.saturating_add(1).min(size));
                (first < end).then_some(Some(first..end))
            }
            Self::Last(count) => (count > 0 && size > 0).then(|| Some(size.saturating_sub(count)..size)),
        }
    }
}

fn parse(value: &str) -> Option<RangeRequest> {
    let (unit, ranges) = value.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || ranges.contains(',') {
        return None;
    }
    let (first, last) = ranges.trim().split_once('-')?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    match (first.trim(), last.trim()) {
        ("", last) => number(last).map(RangeRequest::Last),
        (first, "") => number(first).map(|first| RangeRequest::From(first, None)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(RangeRequest::From(first, Some(last)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_to_the_object() {
        for (header, expected) in [
            ("bytes=0-", Some(Some(0..10))),
            ("bytes=2-4", Some(Some(2..5))),
            ("bytes=9-99", Some(Some(9..10))),
            ("bytes=-3", Some(Some(7..10))),
            ("bytes=-30", Some(Some(0..10))),
            ("Bytes = 2-4", Some(Some(2..5))),
            ("bytes=10-", None),
            ("bytes=-0", None),
            ("bytes=99999999999999999999-", None),
        ] {
            assert_eq!(RangeRequest::parse(Some(header)).resolve(10), expected, "{header}");
        }
    }

    #[test]
    fn what_is_not_one_range_of_bytes_means_the_whole() {
        for header in
            ["", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=4-2", "bytes=0-1,3-4", "lines=1-2", "bytes=+1-2"]
        {
            assert_eq!(RangeRequest::parse(Some(header)), RangeRequest::Whole, "{header}");
        }
        assert_eq!(RangeRequest::parse(None).resolve(0), Some(None));
    }
}
