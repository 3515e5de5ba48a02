//! The multivariant playlists of a livestream, from what the encoded bits say of its renditions.

use hls::media::Tracks;
use hls::multivariant::{AudioRendition, Multivariant, Variant};

use super::packager::{PackagerConfig, Rendition};
use crate::origin::Multivariants;

/// The variant a player starts with needs no more than this: HD for most lines, and quickly there for all.
const FIRST_VARIANT_BITS: u64 = 4_500_000;

/// Both playlists, once every encoded rendition has shown its tracks.
pub(super) fn render(config: &PackagerConfig, renditions: &[Rendition]) -> Option<Multivariants> {
    let encoded: Vec<&Rendition> = renditions.iter().filter(|rendition| rendition.encoded).collect();
    if encoded.is_empty() || encoded.iter().any(|rendition| rendition.tracks.is_none()) {
        return None;
    }
    let plain = multivariant(config, &encoded, "playlist").render();
    let low_latency = config.low_latency.then(|| multivariant(config, &encoded, "low-latency").render());
    Some(Multivariants { plain, low_latency })
}

fn multivariant(config: &PackagerConfig, encoded: &[&Rendition], suffix: &str) -> Multivariant {
    let uri = |rendition: &Rendition| format!("{}_{}_{suffix}.m3u8", config.slug, rendition.name);
    let group = encoded.iter().find(|rendition| rendition.audio_only && encoded.len() > 1);
    let mut variants: Vec<Variant> = encoded
        .iter()
        .filter(|rendition| group.is_none_or(|group| group.name != rendition.name))
        .map(|rendition| variant(rendition, uri(rendition), group.copied()))
        .collect();
    variants.sort_by_key(|variant| std::cmp::Reverse(variant.bandwidth));
    let audio = group.map(|rendition| AudioRendition {
        group: GROUP.to_owned(),
        name: "Audio".to_owned(),
        language: Some("und".to_owned()),
        uri: uri(rendition),
        channels: rendition.tracks.as_ref().and_then(|tracks| tracks.audio.as_ref()).map_or(2, |audio| audio.channels),
    });
    let version_map = config.window.version_map;
    let mut playlist = Multivariant { variants, audio, independent_segments: true, version_map };
    // The first variant is the one a player starts with.
    playlist.start_with(FIRST_VARIANT_BITS);
    playlist
}

const GROUP: &str = "audio";

fn variant(rendition: &Rendition, uri: String, group: Option<&Rendition>) -> Variant {
    let tracks = rendition.tracks.clone().unwrap_or_default();
    let mut codecs = codecs(&tracks);
    let (mut bandwidth, mut average) = (rendition.meter.peak(), rendition.meter.average());
    if let Some(group) = group {
        // "The peak of the playable combination": the video playlist and its audio rendition.
        bandwidth += group.meter.peak();
        average += group.meter.average();
        codecs.extend(self::codecs(&group.tracks.clone().unwrap_or_default()));
    }
    let video = tracks.video.as_ref();
    Variant {
        uri,
        bandwidth,
        average_bandwidth: average,
        codecs,
        resolution: video.map(|video| (video.width, video.height)),
        frame_rate: video.and_then(|video| video.frame_rate),
        audio_group: group.map(|_| GROUP.to_owned()),
    }
}

fn codecs(tracks: &Tracks) -> Vec<String> {
    let video = tracks.video.as_ref().map(|video| video.codec.clone());
    let audio = tracks.audio.as_ref().map(|audio| audio.codec.clone());
    video.into_iter().chain(audio).collect()
}
