//! What an initialization section says.

use mp4_atom::{Av1c, Avcc, Codec, Decode, Hvcc, Moov, Mp4a, Trak, Trex};

use crate::media::hevc::ProfileTierLevel;
use crate::media::{AudioTrack, Tracks, VideoTrack, h264};

/// The track that a stream is cut by.
#[derive(Debug)]
pub(super) struct Init {
    pub(super) track_id: u32,
    pub(super) timescale: u32,
    pub(super) video: bool,
    pub(super) defaults: Trex,
    pub(super) tracks: Tracks,
}

impl Init {
    /// Reads a whole `moov` box.
    pub(super) fn parse(moov: &[u8]) -> Result<Self, &'static str> {
        let moov = Moov::decode(&mut &moov[..]).map_err(|_| "a moov box that cannot be read")?;
        let is_video = |track: &&Trak| &<[u8; 4]>::from(track.mdia.hdlr.handler) == b"vide";
        let track = moov.trak.iter().find(is_video).or(moov.trak.first()).ok_or("a moov box without a track")?;
        let track_id = track.tkhd.track_id;
        let trex = moov.mvex.iter().flat_map(|mvex| &mvex.trex).find(|trex| trex.track_id == track_id);
        if track.mdia.mdhd.timescale == 0 {
            return Err("a track whose timescale is 0");
        }
        let mut tracks = Tracks::default();
        for track in &moov.trak {
            describe(track, &mut tracks);
        }
        Ok(Self {
            track_id,
            timescale: track.mdia.mdhd.timescale,
            video: is_video(&track),
            defaults: trex.cloned().ok_or("a moov box without mvex: not fragmented")?,
            tracks,
        })
    }
}

fn describe(track: &Trak, tracks: &mut Tracks) {
    let Some(codec) = track.mdia.minf.stbl.stsd.codecs.first() else { return };
    let timescale = track.mdia.mdhd.timescale;
    let audio = |codec: &str, channels: u16| {
        Some(AudioTrack { codec: codec.to_owned(), sample_rate: timescale, channels: u32::from(channels) })
    };
    let video = |codec: String, visual: &mp4_atom::Visual| {
        let (width, height) = (u32::from(visual.width), u32::from(visual.height));
        Some(VideoTrack { codec, width, height, frame_rate: None })
    };
    match codec {
        Codec::Avc1(entry) => tracks.video = avc("avc1", &entry.avcc, &entry.visual),
        Codec::Avc3(entry) => tracks.video = avc("avc3", &entry.avcc, &entry.visual),
        Codec::Hvc1(entry) => tracks.video = video(hevc("hvc1", &entry.hvcc), &entry.visual),
        Codec::Hev1(entry) => tracks.video = video(hevc("hev1", &entry.hvcc), &entry.visual),
        Codec::Av01(entry) => tracks.video = video(av1(&entry.av1c), &entry.visual),
        Codec::Mp4a(entry) => tracks.audio = Some(aac(entry, timescale)),
        Codec::Opus(entry) => tracks.audio = audio("opus", entry.audio.channel_count),
        Codec::Flac(entry) => tracks.audio = audio("fLaC", entry.audio.channel_count),
        Codec::Ac3(entry) => tracks.audio = audio("ac-3", entry.audio.channel_count),
        Codec::Eac3(entry) => tracks.audio = audio("ec-3", entry.audio.channel_count),
        _ => {}
    }
}

fn avc(entry: &str, avcc: &Avcc, visual: &mp4_atom::Visual) -> Option<VideoTrack> {
    let profile = [avcc.avc_profile_indication, avcc.profile_compatibility, avcc.avc_level_indication];
    let [profile, constraints, level] = profile;
    let sps = avcc.sequence_parameter_sets.first().and_then(|sps| h264::describe(sps));
    Some(VideoTrack {
        codec: format!("{entry}.{profile:02x}{constraints:02x}{level:02x}"),
        width: sps.as_ref().map_or(u32::from(visual.width), |sps| sps.width),
        height: sps.as_ref().map_or(u32::from(visual.height), |sps| sps.height),
        frame_rate: sps.and_then(|sps| sps.frame_rate),
    })
}

fn hevc(entry: &str, hvcc: &Hvcc) -> String {
    let general = ProfileTierLevel {
        profile_space: hvcc.general_profile_space,
        tier: hvcc.general_tier_flag,
        profile: hvcc.general_profile_idc,
        compatibility: u32::from_be_bytes(hvcc.general_profile_compatibility_flags),
        constraints: hvcc.general_constraint_indicator_flags,
        level: hvcc.general_level_idc,
    };
    general.codec(entry)
}

/// `av01.P.LLT.DD` (AV1 codec ISO media file format binding, 5).
fn av1(av1c: &Av1c) -> String {
    let tier = if av1c.seq_tier_0 { 'H' } else { 'M' };
    let depth = match (av1c.high_bitdepth, av1c.twelve_bit) {
        (false, _) => 8,
        (true, false) => 10,
        (true, true) => 12,
    };
    format!("av01.{}.{:02}{tier}.{depth:02}", av1c.seq_profile, av1c.seq_level_idx_0)
}

fn aac(entry: &Mp4a, timescale: u32) -> AudioTrack {
    let config = entry.esds.es_desc.dec_config.dec_specific.as_ref();
    // AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1): five bits, of which 31 means six more.
    let object_type = config.map_or(2, |config| match (config.raw.first(), config.raw.get(1)) {
        (Some(a), Some(b)) if a >> 3 == 31 => 32 + ((a & 7) << 3 | b >> 5),
        (Some(a), _) => a >> 3,
        (None, _) => config.profile,
    });
    let channels = match config.map_or(0, |config| config.chan_conf) {
        0 => u32::from(entry.audio.channel_count),
        7 => 8,
        n => u32::from(n),
    };
    AudioTrack { codec: format!("mp4a.40.{object_type}"), sample_rate: timescale, channels }
}
