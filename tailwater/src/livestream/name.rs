//! The name of a livestream: what its keys and URLs begin with.

use std::fmt;

use serde::Serialize;

/// Longest name, in bytes. With rendition, number and extension behind it, it still is a file name everywhere.
pub const MAX_NAME_BYTES: usize = 128;

/// `[a-z0-9]{1,128}`: no underscore, so that a key's first field is the name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct StreamName(String);

/// Why a title gives no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// No letter and no digit in it.
    #[error("the stream name has no letter and no digit that could be in a URL: use some")]
    Empty,
    /// Longer than [`MAX_NAME_BYTES`].
    #[error("the stream name is too long: {MAX_NAME_BYTES} letters and digits at most")]
    TooLong,
}

impl StreamName {
    /// Makes a name of what a person wrote: `My Momento Stream` becomes `mymomentostream`, other scripts are
    /// transliterated, everything but letters and digits is left out.
    ///
    /// # Errors
    /// When nothing is left, or too much.
    pub fn from_title(title: &str) -> Result<Self, NameError> {
        // A character becomes a dozen at most; what is longer than this cannot be short afterwards by design.
        if title.len() > 64 * MAX_NAME_BYTES {
            return Err(NameError::TooLong);
        }
        let name: String = deunicode::deunicode_with_tofu(title, "")
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect();
        match name.len() {
            0 => Err(NameError::Empty),
            1..=MAX_NAME_BYTES => Ok(Self(name)),
            _ => Err(NameError::TooLong),
        }
    }

    /// Takes a name as it stands in a URL: nothing is made of it, it is one or it is not.
    pub fn parse(name: &str) -> Option<Self> {
        let fits = (1..=MAX_NAME_BYTES).contains(&name.len());
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        (fits && name.bytes().all(allowed)).then(|| Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_letters_and_digits_of_any_script() {
        for (title, name) in [
            ("My Momento Stream", "mymomentostream"),
            ("Stream 1", "stream1"),
            ("Stream 2", "stream2"),
            ("../../etc/passwd", "etcpasswd"),
            ("日本語", "ribenyu"),
            ("Прямой эфир", "priamoiefir"),
            ("Übertragung", "ubertragung"),
        ] {
            assert_eq!(StreamName::from_title(title).unwrap().as_str(), name, "{title}");
        }
    }

    #[test]
    fn a_title_without_letters_or_with_a_megabyte_of_them_is_refused() {
        for title in ["", " ", "!!!", "___"] {
            assert_eq!(StreamName::from_title(title), Err(NameError::Empty), "{title:?}");
        }
        for length in [129, 1 << 20] {
            assert_eq!(StreamName::from_title(&"a".repeat(length)), Err(NameError::TooLong));
        }
        assert!(StreamName::from_title(&"a".repeat(128)).is_ok());
    }

    #[test]
    fn a_name_in_a_url_is_taken_as_it_is_or_not_at_all() {
        assert!(StreamName::parse("stream1").is_some());
        for name in ["", "Stream", "a_b", "a.b", "..", "é", "a/b", "a\0"] {
            assert_eq!(StreamName::parse(name), None, "{name:?}");
        }
    }
}
