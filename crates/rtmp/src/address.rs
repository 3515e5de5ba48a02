//! Where a publisher wants to go: `rtmp://host/app[/instance]/key[?query]`, as encoders split it over `connect` and `publish`.

use std::fmt;

/// Longest app, instance, key and query together, in bytes.
const MAX_LENGTH: usize = 2048;

/// A stream key. It is a secret: `Debug` shows none of it, there is no `Display`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey(String);

impl StreamKey {
    /// A key from its text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text. Never to be logged.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamKey(redacted)")
    }
}

/// The name under which a publisher publishes, taken apart.
///
/// Encoders split a URL in different places: `rtmp://host/live/inst/key` is app `live/inst` and name `key` for OBS, FFmpeg and
/// GStreamer, app `live` and name `inst/key` when the user typed it so; the query hangs on either. The path as a whole is what
/// counts: its first part is the app, its last the key, what is between them the instance.
#[derive(Clone, PartialEq, Eq)]
pub struct PublishName {
    pub(crate) app: String,
    pub(crate) instance: String,
    pub(crate) key: StreamKey,
    pub(crate) query: String,
}

impl PublishName {
    /// Takes the `app` of `connect` and the name of `publish` apart. The error is a sentence for the publisher.
    pub(crate) fn parse(app: &str, name: &str) -> Result<Self, &'static str> {
        if app.len() + name.len() > MAX_LENGTH {
            return Err("the app and stream key are too long");
        }
        if app.chars().chain(name.chars()).any(char::is_control) {
            return Err("the app or stream key has control characters in it");
        }
        let (app, app_query) = split_query(app);
        let (name, name_query) = split_query(name);
        let mut parts: Vec<&str> =
            app.split('/').chain(name.split('/')).map(str::trim).filter(|part| !part.is_empty()).collect();
        let named = !name.trim_matches(['/', ' ']).is_empty();
        let key = match parts.pop() {
            Some(key) if named || !parts.is_empty() => key,
            // One part, and it is the app.
            _ => return Err("there is no stream key: publish to rtmp://host/app/key"),
        };
        let first = if parts.is_empty() { "" } else { parts.remove(0) };
        Ok(Self {
            app: first.to_owned(),
            instance: parts.join("/"),
            key: StreamKey::new(key),
            query: if name_query.is_empty() { app_query } else { name_query }.to_owned(),
        })
    }
}

impl fmt::Debug for PublishName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The query may hold a token.
        f.debug_struct("PublishName")
            .field("app", &self.app)
            .field("instance", &self.instance)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

fn split_query(text: &str) -> (&str, &str) {
    text.split_once('?').unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(app: &str, name: &str) -> (String, String, String, String) {
        let name = PublishName::parse(app, name).unwrap();
        (name.app, name.instance, name.key.expose().to_owned(), name.query)
    }

    fn parts(app: &str, instance: &str, key: &str, query: &str) -> (String, String, String, String) {
        (app.to_owned(), instance.to_owned(), key.to_owned(), query.to_owned())
    }

    #[test]
    fn url_forms_of_all_encoders_give_the_same_parts() {
        assert_eq!(parse("live", "key"), parts("live", "", "key", ""));
        assert_eq!(parse("live/", "/key"), parts("live", "", "key", ""));
        assert_eq!(parse("live", "key?token=a/b?c"), parts("live", "", "key", "token=a/b?c"));
        assert_eq!(parse("live?token=x", "key"), parts("live", "", "key", "token=x"));
        assert_eq!(parse("live/inst", "key"), parts("live", "inst", "key", ""));
        assert_eq!(parse("live", "inst/key?t=1"), parts("live", "inst", "key", "t=1"));
        assert_eq!(parse("live/key", ""), parts("live", "", "key", ""));
        assert_eq!(parse("", "key"), parts("", "", "key", ""));
        assert_eq!(parse("a/b/c", "d"), parts("a", "b/c", "d", ""));
    }

    #[test]
    fn what_has_no_key_is_told_so() {
        for (app, name) in [("", ""), ("live", ""), ("/", "?x=1")] {
            assert!(PublishName::parse(app, name).is_err_and(|error| error.contains("no stream key")), "{app} {name}");
        }
        assert!(PublishName::parse("live", "a\nb").is_err());
        assert!(PublishName::parse("live", &"k".repeat(3000)).is_err());
    }

    #[test]
    fn debug_shows_no_secret() {
        let name = PublishName::parse("live", "hunter2?token=hunter3").unwrap();
        assert!(!format!("{name:?}").contains("hunter"));
    }
}
