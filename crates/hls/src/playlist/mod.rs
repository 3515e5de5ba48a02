//! Rendering of media playlists.
//!
//! Written here and not by a playlist crate for two reasons. The ones that know the low-latency tags model a
//! playlist that cannot say all that ours must: a DISCONTINUITY before the first part of a segment that is still
//! open, hints of a part and of a map together. And they render a whole playlist each time, where all but the last
//! segment's lines are frozen by the standard: here a listed segment's lines are rendered once, and a playlist of
//! 300 segments is one buffer filled by copying.

pub(crate) mod decimal;
pub(crate) mod media;
pub(crate) mod segment;

/// Text for a quoted string, which "cannot contain line feed, carriage return, or double quote" (RFC 8216bis 4.2).
/// Our own names have none of them; what a user gave might.
pub(crate) fn quotable(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains(|c: char| c == '"' || c.is_control()) {
        text.chars().map(|c| if c == '"' || c.is_control() { '\'' } else { c }).collect::<String>().into()
    } else {
        text.into()
    }
}
