//! The delivery directives of a playlist request: RFC 8216bis 6.2.5.

/// `_HLS_msn`, `_HLS_part` and `_HLS_skip`, as far as they were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// Wait for this segment or part, or anything later.
    pub wait_for: Option<WaitFor>,
    /// A delta update is wanted.
    pub skip: bool,
}

/// What a blocking playlist reload waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitFor {
    /// The media sequence number.
    pub msn: u64,
    /// The part of it; without one the whole segment.
    pub part: Option<u32>,
}

/// Why directives cannot be followed: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DirectiveError {
    /// "A Client MUST NOT use `_HLS_part` without `_HLS_msn`": answered 400.
    #[error("_HLS_part needs _HLS_msn beside it")]
    PartWithoutMsn,
    /// Not a decimal integer.
    #[error("{directive} must be a decimal integer")]
    NotANumber {
        /// Which directive.
        directive: &'static str,
    },
}

impl Directives {
    /// Reads a query. Unknown parameters, `_HLS_` ones too, are ignored.
    ///
    /// # Errors
    /// When a number is none, or a part has no segment.
    pub fn parse(query: Option<&str>) -> Result<Self, DirectiveError> {
        let (mut msn, mut part, mut skip) = (None, None, false);
        for (name, value) in query.unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        {
            match name {
                "_HLS_msn" => msn = Some(number("_HLS_msn", value)?),
                "_HLS_part" => part = Some(number("_HLS_part", value)?),
                // There are no date ranges to leave out, so that v2 is answered as YES.
                "_HLS_skip" => skip = matches!(value, "YES" | "v2"),
                _ => {}
            }
        }
        let wait_for = match (msn, part) {
            (None, None) => None,
            (None, Some(_)) => return Err(DirectiveError::PartWithoutMsn),
            // A part that no 32 bits hold is further ahead than any limit.
            (Some(msn), part) => Some(WaitFor { msn, part: part.map(|part| u32::try_from(part).unwrap_or(u32::MAX)) }),
        };
        Ok(Self { wait_for, skip })
    }
}

fn number(directive: &'static str, value: &str) -> Result<u64, DirectiveError> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    // Too large to hold is too far ahead, not malformed.
    if digits { Ok(value.parse().unwrap_or(u64::MAX)) } else { Err(DirectiveError::NotANumber { directive }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_read_in_any_order_and_others_ignored() {
        let all = Directives::parse(Some("_HLS_skip=YES&a=b&_HLS_part=2&_HLS_msn=7&_HLS_push=1&flag")).unwrap();
        assert_eq!(all, Directives { wait_for: Some(WaitFor { msn: 7, part: Some(2) }), skip: true });
        assert_eq!(Directives::parse(None), Ok(Directives::default()));
        assert_eq!(Directives::parse(Some("")), Ok(Directives::default()));
        assert!(Directives::parse(Some("_HLS_skip=v2")).unwrap().skip);
        assert!(!Directives::parse(Some("_HLS_skip=maybe")).unwrap().skip);
    }

    #[test]
    fn a_part_without_a_segment_is_an_error_and_so_is_what_is_no_number() {
        assert_eq!(Directives::parse(Some("_HLS_part=0")), Err(DirectiveError::PartWithoutMsn));
        for value in ["", "-1", "1.5", "x", "+1"] {
            let query = format!("_HLS_msn={value}");
            assert!(matches!(Directives::parse(Some(&query)), Err(DirectiveError::NotANumber { .. })), "{query}");
        }
    }

    #[test]
    fn numbers_without_end_are_far_ahead_rather_than_malformed() {
        let far = Directives::parse(Some("_HLS_msn=99999999999999999999999&_HLS_part=99999999999")).unwrap();
        assert_eq!(far.wait_for, Some(WaitFor { msn: u64::MAX, part: Some(u32::MAX) }));
    }
}
