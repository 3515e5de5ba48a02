//! The multivariant playlist (RFC 8216 called it the master).

use std::fmt::{self, Write};

use crate::playlist::quotable;

/// A multivariant playlist. The first variant of the list is what a player starts with.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Multivariant {
    /// Its variant streams, in the order they are listed.
    pub variants: Vec<Variant>,
    /// The audio rendition that the variants with an [`audio_group`](Variant::audio_group) play with.
    pub audio: Option<AudioRendition>,
    /// `EXT-X-INDEPENDENT-SEGMENTS`: each segment starts with a random-access point.
    pub independent_segments: bool,
    /// The segments are fragmented MP4: version 6, otherwise 3.
    pub version_map: bool,
}

/// An `EXT-X-STREAM-INF`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Variant {
    /// Of its media playlist, relative to this playlist.
    pub uri: String,
    /// `BANDWIDTH`: peak segment bit rate, bit/s, with the audio rendition it plays with.
    pub bandwidth: u64,
    /// `AVERAGE-BANDWIDTH`: bit/s, with the audio rendition it plays with.
    pub average_bandwidth: u64,
    /// `CODECS`: RFC 6381 strings, the audio rendition's included. Empty: the attribute is left out.
    pub codecs: Vec<String>,
    /// `RESOLUTION`: width and height.
    pub resolution: Option<(u32, u32)>,
    /// `FRAME-RATE`: frames a second.
    pub frame_rate: Option<f64>,
    /// `AUDIO`: the group of the audio rendition.
    pub audio_group: Option<String>,
}

/// An `EXT-X-MEDIA` of type AUDIO.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AudioRendition {
    /// `GROUP-ID`.
    pub group: String,
    /// `NAME`, for people.
    pub name: String,
    /// `LANGUAGE`: a BCP 47 tag, such as `und`.
    pub language: Option<String>,
    /// `CHANNELS`; 0: the attribute is left out.
    pub channels: u32,
    /// Of its media playlist, relative to this playlist.
    pub uri: String,
}

impl Multivariant {
    /// Moves the best variant of at most `bandwidth` bit/s on average to the front, or else the smallest. Apple
    /// suggests to start at about 2 Mbit/s (authoring 1.32).
    pub fn start_with(&mut self, bandwidth: u64) {
        let rank = |variant: &Variant| {
            let average = variant.average_bandwidth;
            (average <= bandwidth, if average <= bandwidth { average } else { u64::MAX - average })
        };
        let best = (0..self.variants.len()).rev().max_by_key(|&index| rank(&self.variants[index]));
        if let Some(best) = best {
            self.variants[..=best].rotate_right(1);
        }
    }

    /// The playlist's text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::with_capacity(256 * (self.variants.len() + 1));
        out.push_str(if self.version_map { "#EXTM3U\n#EXT-X-VERSION:6\n" } else { "#EXTM3U\n#EXT-X-VERSION:3\n" });
        if self.independent_segments {
            out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
        }
        let mut body = Body(&mut out);
        // Writing to a String cannot fail.
        let _: fmt::Result = self.audio.iter().try_for_each(|audio| body.audio(audio));
        let _: fmt::Result = self.variants.iter().try_for_each(|variant| body.variant(variant));
        out
    }
}

struct Body<'a>(&'a mut String);

impl Body<'_> {
    fn audio(&mut self, audio: &AudioRendition) -> fmt::Result {
        let out = &mut *self.0;
        write!(out, "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"{}\"", quotable(&audio.group))?;
        write!(out, ",NAME=\"{}\"", quotable(&audio.name))?;
        if let Some(language) = &audio.language {
            write!(out, ",LANGUAGE=\"{}\"", quotable(language))?;
        }
        out.push_str(",DEFAULT=YES,AUTOSELECT=YES");
        if audio.channels > 0 {
            write!(out, ",CHANNELS=\"{}\"", audio.channels)?;
        }
        writeln!(out, ",URI=\"{}\"", quotable(&audio.uri))
    }

    fn variant(&mut self, variant: &Variant) -> fmt::Result {
        let out = &mut *self.0;
        // "BANDWIDTH ... REQUIRED", a decimal integer: an unknown one is still not 0.
        write!(out, "#EXT-X-STREAM-INF:BANDWIDTH={}", variant.bandwidth.max(1))?;
        if variant.average_bandwidth > 0 {
            write!(out, ",AVERAGE-BANDWIDTH={}", variant.average_bandwidth)?;
        }
        if !variant.codecs.is_empty() {
            write!(out, ",CODECS=\"{}\"", quotable(&variant.codecs.join(",")))?;
        }
        if let Some((width, height)) = variant.resolution {
            write!(out, ",RESOLUTION={width}x{height}")?;
        }
        if let Some(rate) = variant.frame_rate.filter(|rate| rate.is_finite() && *rate > 0.0) {
            write!(out, ",FRAME-RATE={rate:.3}")?;
        }
        if let Some(group) = &variant.audio_group {
            write!(out, ",AUDIO=\"{}\"", quotable(group))?;
        }
        writeln!(out, "\n{}", quotable(&variant.uri))
    }
}
