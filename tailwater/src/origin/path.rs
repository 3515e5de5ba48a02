//! What a URL under `/live/` asks for.

use store::Key;

use crate::livestream::StreamName;

/// A playlist meant for players that know parts, or for all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Latency {
    /// No low-latency tag in it.
    Standard,
    /// Parts, blocking reload, preload hints.
    Low,
}

/// What is asked for. Every key is a well-formed one of `name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The livestream.
    pub name: StreamName,
    /// What of it.
    pub resource: Resource,
}

/// What of a livestream is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// The multivariant playlist.
    Multivariant(Latency),
    /// A rendition's media playlist.
    Media {
        /// The rendition.
        rendition: String,
        /// For whom.
        latency: Latency,
    },
    /// A part: in the origin's memory only.
    Part {
        /// Its key.
        key: Key,
        /// The rendition.
        rendition: String,
        /// The segment it belongs to.
        msn: u64,
        /// Which of its parts.
        part: u32,
    },
    /// A segment or an init.
    Object(Key),
}

const PLAYLIST: &str = "playlist.m3u8";
const LOW_LATENCY: &str = "low-latency.m3u8";

/// Takes the path of a request apart, as it was sent. `None` is 404.
///
/// Names and keys need no percent-encoding, so nothing is decoded: `%2e%2e`, `%00` and other scripts are simply
/// names that nobody has.
pub fn parse(path: &str) -> Option<Target> {
    let (name, file) = path.strip_prefix("/live/")?.split_once('/')?;
    let name = StreamName::parse(name)?;
    let resource = resource(&name, file)?;
    Some(Target { name, resource })
}

fn resource(name: &StreamName, file: &str) -> Option<Resource> {
    if let Some(latency) = latency(file) {
        return Some(Resource::Multivariant(latency));
    }
    let key = Key::parse(file).ok()?;
    let rest = file.strip_prefix(name.as_str())?.strip_prefix('_')?;
    if let Some(latency) = latency(rest) {
        return Some(Resource::Multivariant(latency));
    }
    let (rendition, what) = rest.split_once('_')?;
    if rendition.is_empty() {
        return None;
    }
    if let Some(latency) = latency(what) {
        return Some(Resource::Media { rendition: rendition.to_owned(), latency });
    }
    let (stem, extension) = what.rsplit_once('.')?;
    if !matches!(extension, "ts" | "m4s" | "mp4") {
        return None;
    }
    match part(stem) {
        Some((msn, part)) => Some(Resource::Part { rendition: rendition.to_owned(), msn, part, key }),
        None => Some(Resource::Object(key)),
    }
}

fn latency(file: &str) -> Option<Latency> {
    match file {
        PLAYLIST => Some(Latency::Standard),
        LOW_LATENCY => Some(Latency::Low),
        _ => None,
    }
}

/// `segment007.part3`.
fn part(stem: &str) -> Option<(u64, u32)> {
    let (msn, part) = stem.strip_prefix("segment")?.split_once(".part")?;
    Some((msn.parse().ok()?, part.parse().ok()?))
}

/// The key of a multivariant playlist; the URL `/live/<name>/playlist.m3u8` is the same.
pub fn multivariant_key(name: &StreamName) -> String {
    format!("{name}_{PLAYLIST}")
}

/// The key of a rendition's media playlist, which is also its URI in the multivariant playlist.
pub fn media_playlist_key(name: &StreamName, rendition: &str, latency: Latency) -> String {
    match latency {
        Latency::Standard => format!("{name}_{rendition}_{PLAYLIST}"),
        Latency::Low => format!("{name}_{rendition}_{LOW_LATENCY}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource_of(path: &str) -> Option<Resource> {
        parse(path).map(|target| target.resource)
    }

    #[test]
    fn playlists_are_found_under_their_short_names_and_under_their_keys() {
        for path in ["/live/cam/playlist.m3u8", "/live/cam/cam_playlist.m3u8"] {
            assert_eq!(resource_of(path), Some(Resource::Multivariant(Latency::Standard)), "{path}");
        }
        assert_eq!(resource_of("/live/cam/low-latency.m3u8"), Some(Resource::Multivariant(Latency::Low)));
        for (file, latency) in [("playlist.m3u8", Latency::Standard), ("low-latency.m3u8", Latency::Low)] {
            let media = Resource::Media { rendition: "720p".into(), latency };
            assert_eq!(resource_of(&format!("/live/cam/cam_720p_{file}")), Some(media));
        }
    }

    #[test]
    fn parts_are_told_from_segments_and_inits() {
        let part = resource_of("/live/cam/cam_720p_segment007.part3.m4s");
        assert!(matches!(part, Some(Resource::Part { msn: 7, part: 3, .. })), "{part:?}");
        for file in ["cam_720p_segment1234567.ts", "cam_720p_init0.mp4", "cam_audio_segment000.m4s"] {
            let object = resource_of(&format!("/live/cam/{file}"));
            assert_eq!(object, Some(Resource::Object(Key::parse(file).unwrap())));
        }
    }

    #[test]
    fn everything_else_is_nothing() {
        let long = format!("/live/cam/cam_{}_segment000.ts", "a".repeat(600));
        for path in [
            "/live",
            "/live/",
            "/live/cam",
            "/live/cam/",
            "/live/Cam/playlist.m3u8",
            "/live/cam/../cam/playlist.m3u8",
            "/live/../etc/passwd",
            "/live/%2e%2e/playlist.m3u8",
            "/live/cam/%2e%2e/x.ts",
            "/live/cam/cam_720p_segment000.ts%00",
            "/live/cam/cam_720p_segment000.ts\0",
            "/live/カメラ/playlist.m3u8",
            "/live/cam/.hidden.ts",
            "/live/cam/other_720p_segment000.ts",
            "/live/cam/cam_sequence",
            "/live/cam/cam_720p_notes.txt",
            "/live/cam/cam__playlist.m3u8",
            "/live/cam/cam_720p_x_playlist.m3u8",
            "/live/cam/a/b/c.ts",
            &long,
        ] {
            assert_eq!(parse(path), None, "{path}");
        }
    }
}
