//! Playlists as an independent parser reads them.

use m3u8_rs::{MasterPlaylist, MediaPlaylist};

/// A multivariant playlist.
pub struct Multivariant {
    pub text: String,
    pub parsed: MasterPlaylist,
}

impl Multivariant {
    pub fn parse(text: &str) -> Self {
        let (rest, parsed) = m3u8_rs::parse_master_playlist(text.as_bytes()).expect("a multivariant playlist");
        assert!(rest.is_empty(), "left over: {rest:?}");
        Self { text: text.to_owned(), parsed }
    }

    /// The variants' URIs, highest bit rate first.
    pub fn uris(&self) -> Vec<String> {
        let mut variants: Vec<_> = self.parsed.variants.iter().collect();
        variants.sort_by_key(|variant| std::cmp::Reverse(variant.bandwidth));
        variants.into_iter().map(|variant| variant.uri.clone()).collect()
    }
}

/// A media playlist.
pub struct Media {
    pub text: String,
    pub parsed: MediaPlaylist,
}

impl Media {
    pub fn parse(text: &str) -> Self {
        let (rest, parsed) = m3u8_rs::parse_media_playlist(text.as_bytes()).expect("a media playlist");
        assert!(rest.is_empty(), "left over: {rest:?}");
        Self { text: text.to_owned(), parsed }
    }

    pub fn uris(&self) -> Vec<&str> {
        self.parsed.segments.iter().map(|segment| segment.uri.as_str()).collect()
    }

    pub fn durations(&self) -> Vec<f64> {
        self.parsed.segments.iter().map(|segment| f64::from(segment.duration)).collect()
    }

    pub fn discontinuities(&self) -> usize {
        self.parsed.segments.iter().filter(|segment| segment.discontinuity).count()
    }

    pub fn last_msn(&self) -> u64 {
        self.parsed.media_sequence + self.parsed.segments.len() as u64 - 1
    }
}
