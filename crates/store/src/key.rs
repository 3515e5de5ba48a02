//! Object names, checked once, so that no backend ever has to.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest key accepted, in bytes. File systems end at 255 bytes a path component, which the embedded store checks
/// for itself; 512 leaves room for remote stores and still bounds what a request path can make us carry.
pub const MAX_KEY_BYTES: usize = 512;

/// The name of one object: `<stream>_<what>` or `<stream>_<rendition>_<what>`.
///
/// Only `A-Z a-z 0-9 . _ -`, no leading dot, 1 to 512 bytes: a key is therefore a safe file name, a safe URL path
/// segment and a safe Redis or S3 key, and path traversal cannot be written down.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

/// Why a text is not a [`Key`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is empty.
    #[error("an object key cannot be empty")]
    Empty,
    /// The text is longer than [`MAX_KEY_BYTES`].
    #[error("an object key has at most {MAX_KEY_BYTES} bytes, this one has {bytes}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The text begins with a dot: hidden files and `..` are never objects.
    #[error("an object key cannot begin with a dot")]
    LeadingDot,
    /// A character that keys do not have.
    #[error("an object key has only letters, digits, dots, underscores and hyphens; byte {at} is something else")]
    Character {
        /// Byte offset of the character.
        at: usize,
    },
}

impl Key {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`KeyError`] says which rule it breaks.
    pub fn parse(text: impl AsRef<str>) -> Result<Self, KeyError> {
        let text = text.as_ref();
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        if text.len() > MAX_KEY_BYTES {
            return Err(KeyError::TooLong { bytes: text.len() });
        }
        if text.starts_with('.') {
            return Err(KeyError::LeadingDot);
        }
        if let Some(at) = text.bytes().position(|b| !is_key_byte(b)) {
            return Err(KeyError::Character { at });
        }
        Ok(Self(text.into()))
    }

    /// The whole key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The livestream: the text before the first underscore (the whole key if there is none).
    #[must_use]
    pub fn stream(&self) -> &str {
        self.0.split_once('_').map_or(&*self.0, |(stream, _)| stream)
    }

    /// The rendition: the second of at least three fields, `None` in two-field keys such as `<stream>_playlist.m3u8`.
    #[must_use]
    pub fn rendition(&self) -> Option<&str> {
        let mut fields = self.0.splitn(3, '_');
        let (_, second, third) = (fields.next()?, fields.next()?, fields.next()?);
        (!second.is_empty() && !third.is_empty()).then_some(second)
    }

    /// The text after the last dot.
    #[must_use]
    pub fn extension(&self) -> Option<&str> {
        self.0.rsplit_once('.').map(|(_, extension)| extension).filter(|extension| !extension.is_empty())
    }

    /// The media type that follows from the extension (RFC 8216 section 4 and RFC 8216bis section 3.1 for playlists
    /// and segments). Stores without metadata (Redis, Momento, plain files) rely on it.
    #[must_use]
    pub fn content_type(&self) -> &'static str {
        match self.extension() {
            Some("m3u8") => "application/vnd.apple.mpegurl",
            Some("ts") => "video/mp2t",
            Some("mp4" | "m4s" | "m4v") => "video/mp4",
            Some("m4a") => "audio/mp4",
            Some("vtt") => "text/vtt",
            Some("json") => "application/json",
            _ => "application/octet-stream",
        }
    }
}

/// Whether `byte` may stand in a key (a list prefix obeys the same alphabet).
pub(crate) fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::parse(text)
    }
}

impl TryFrom<&str> for Key {
    type Error = KeyError;

    fn try_from(text: &str) -> Result<Self, KeyError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Key {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        Self::parse(text)
    }
}

/// Lets ordered maps be searched by prefix text.
impl std::borrow::Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(text: &str) -> Key {
        Key::parse(text).unwrap()
    }

    #[test]
    fn a_segment_key_names_stream_rendition_and_type() {
        let segment = key("mymomentostream_1080p_segment007.ts");
        assert_eq!(segment.stream(), "mymomentostream");
        assert_eq!(segment.rendition(), Some("1080p"));
        assert_eq!(segment.extension(), Some("ts"));
        assert_eq!(segment.content_type(), "video/mp2t");
    }

    #[test]
    fn a_part_key_keeps_its_last_extension() {
        let part = key("s_720p_segment012.part3.m4s");
        assert_eq!(part.extension(), Some("m4s"));
        assert_eq!(part.content_type(), "video/mp4");
    }

    #[test]
    fn two_field_keys_have_no_rendition() {
        for text in ["s_playlist.m3u8", "s_sequence", "s__x", "s_x_"] {
            assert_eq!(key(text).rendition(), None, "{text}");
        }
        assert_eq!(key("s_playlist.m3u8").content_type(), "application/vnd.apple.mpegurl");
        assert_eq!(key("s_sequence").content_type(), "application/octet-stream");
    }

    #[test]
    fn traversal_cannot_be_written_down() {
        for text in ["..", "../etc/passwd", "a/b", "a\\b", ".hidden", "a\0b", "a%2fb", "", "ä"] {
            assert!(Key::parse(text).is_err(), "{text:?}");
        }
        assert!(Key::parse("x".repeat(MAX_KEY_BYTES)).is_ok());
        assert_eq!(Key::parse("x".repeat(513)), Err(KeyError::TooLong { bytes: 513 }));
    }

    proptest! {
        #[test]
        fn whatever_parses_is_one_plain_path_component(text in "\\PC{0,40}") {
            if let Ok(key) = Key::parse(&text) {
                let path = std::path::Path::new(key.as_str());
                let mut components = path.components();
                prop_assert!(matches!(components.next(), Some(std::path::Component::Normal(_))));
                prop_assert!(components.next().is_none());
            }
        }
    }
}
