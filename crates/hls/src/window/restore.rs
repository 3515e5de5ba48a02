//! Reading our own plain media playlist back, after a restart.

use std::time::Duration;

use super::{SegmentInfo, Window, WindowConfig};
use crate::time::UnixTime;

/// Longer than any playlist of ours: a day of one-second segments.
const MAX_BYTES: usize = 16 << 20;

/// A playlist that cannot be gone on with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// Not a media playlist as this crate writes them.
    #[error("line {line} of the stored media playlist is not one of ours: {what}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// More text than we ever write.
    #[error("the stored media playlist has {bytes} bytes, more than the {limit} a playlist of ours can have")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The most read.
        limit: usize,
    },
    /// A tag that each of our playlists has is not there.
    #[error("the stored media playlist has no {tag}")]
    Missing {
        /// The tag.
        tag: &'static str,
    },
    /// The target duration of a playlist never changes.
    #[error("the stored media playlist has target duration {stored}, now it would be {configured}: start a new one")]
    TargetDuration {
        /// In the playlist.
        stored: u32,
        /// In the configuration.
        configured: u32,
    },
}

/// The tags before a URI line.
#[derive(Default)]
struct Pending {
    duration: Option<Duration>,
    date: Option<UnixTime>,
    gap: bool,
    discontinuity: bool,
}

#[derive(Default)]
struct Restorer {
    target_duration: Option<u32>,
    media_sequence: Option<u64>,
    discontinuity_sequence: u64,
    ended: bool,
    pending: Pending,
    window: Option<Window>,
}

pub(super) fn restore(config: WindowConfig, playlist: &str) -> Result<Window, RestoreError> {
    if playlist.len() > MAX_BYTES {
        return Err(RestoreError::TooLarge { bytes: playlist.len(), limit: MAX_BYTES });
    }
    let mut lines = playlist.lines().enumerate().map(|(index, line)| (index + 1, line));
    if lines.next().is_none_or(|(_, line)| line != "#EXTM3U") {
        return Err(RestoreError::Line { line: 1, what: "it does not begin with #EXTM3U" });
    }
    let mut restorer = Restorer::default();
    for (line, text) in lines {
        restorer.line(&config, text).map_err(|error| match error {
            Problem::Line(what) => RestoreError::Line { line, what },
            Problem::Header(error) => error,
        })?;
    }
    restorer.finish(&config)
}

enum Problem {
    Line(&'static str),
    Header(RestoreError),
}

impl From<&'static str> for Problem {
    fn from(what: &'static str) -> Self {
        Self::Line(what)
    }
}

impl Restorer {
    fn line(&mut self, config: &WindowConfig, line: &str) -> Result<(), Problem> {
        if line.is_empty() {
            return Ok(());
        }
        if self.ended {
            return Err("something follows the end".into());
        }
        let Some(tag) = line.strip_prefix('#') else { return self.segment(config, line) };
        let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
        match name {
            "EXT-X-TARGETDURATION" => self.target_duration = Some(value.parse().map_err(|_| "no target duration")?),
            "EXT-X-MEDIA-SEQUENCE" => self.media_sequence = Some(value.parse().map_err(|_| "no media sequence")?),
            "EXT-X-DISCONTINUITY-SEQUENCE" => {
                self.discontinuity_sequence = value.parse().map_err(|_| "no discontinuity sequence")?;
            }
            "EXT-X-DISCONTINUITY" => self.pending.discontinuity = true,
            "EXT-X-GAP" => self.pending.gap = true,
            "EXT-X-MAP" => {
                let uri = value.strip_prefix("URI=\"").and_then(|rest| rest.strip_suffix('"'));
                let uri = uri.filter(|uri| valid_uri(uri)).ok_or("no map URI")?;
                let uri = uri.to_owned();
                self.window(config)?.set_init(&uri);
            }
            "EXT-X-PROGRAM-DATE-TIME" => self.pending.date = Some(UnixTime::parse(value).ok_or("no date")?),
            "EXTINF" => {
                let seconds = value.split_once(',').map_or(value, |(seconds, _)| seconds);
                self.pending.duration = Some(duration(seconds).ok_or("no duration")?);
            }
            "EXT-X-ENDLIST" => self.ended = true,
            // VERSION and what a later release may add before the first segment.
            _ => {}
        }
        Ok(())
    }

    fn segment(&mut self, config: &WindowConfig, uri: &str) -> Result<(), Problem> {
        if !valid_uri(uri) {
            return Err("no URI of ours".into());
        }
        let Pending { duration, date, gap, discontinuity } = std::mem::take(&mut self.pending);
        let duration = duration.ok_or("a URI without EXTINF")?;
        let date = date.ok_or("a URI without EXT-X-PROGRAM-DATE-TIME")?;
        let window = self.window(config)?;
        if window.next_msn == u64::MAX {
            return Err("more segments than numbers".into());
        }
        if discontinuity {
            window.discontinuity();
        }
        window.push_segment(SegmentInfo { uri: uri.to_owned(), duration, date, bytes: 0, gap });
        Ok(())
    }

    /// The window, once the header has been read.
    fn window(&mut self, config: &WindowConfig) -> Result<&mut Window, Problem> {
        if self.window.is_none() {
            let missing = |tag| Problem::Header(RestoreError::Missing { tag });
            let stored = self.target_duration.ok_or(missing("EXT-X-TARGETDURATION"))?;
            if stored != config.target_duration && config.target_duration != 0 {
                let configured = config.target_duration;
                return Err(Problem::Header(RestoreError::TargetDuration { stored, configured }));
            }
            let msn = self.media_sequence.ok_or(missing("EXT-X-MEDIA-SEQUENCE"))?;
            let config = WindowConfig { target_duration: stored, ..config.clone() };
            self.window = Some(Window::new(config, msn, self.discontinuity_sequence));
        }
        self.window.as_mut().ok_or(Problem::Line("no header"))
    }

    fn finish(mut self, config: &WindowConfig) -> Result<Window, RestoreError> {
        self.window(config).map_err(|problem| match problem {
            Problem::Header(error) => error,
            Problem::Line(what) => RestoreError::Line { line: 1, what },
        })?;
        let mut window = self.window.ok_or(RestoreError::Missing { tag: "EXT-X-TARGETDURATION" })?;
        window.ended = self.ended;
        Ok(window)
    }
}

fn valid_uri(uri: &str) -> bool {
    !uri.is_empty() && uri.len() <= 1024 && uri.bytes().all(|b| b.is_ascii_graphic() && b != b'"')
}

/// Decimal seconds, exactly.
fn duration(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let plain = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !plain(whole) || !plain(fraction) || fraction.len() > 9 || whole.len() > 9 {
        return None;
    }
    let scale = 10_u32.pow(9 - u32::try_from(fraction.len()).ok()?);
    Some(Duration::new(whole.parse().ok()?, fraction.parse::<u32>().ok()?.checked_mul(scale)?))
}
