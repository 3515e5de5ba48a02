//! What a plan asks of store, network and memory: arithmetic.

use std::time::Duration;

use hls::{
    time::UnixTime,
    window::{SegmentInfo, Window, WindowConfig},
};

use crate::{config::Resolved, ladder::plan::Plan};

/// A segment goes on until the next key frame, and its rate control may be ahead: peaks are over half to one and a half
/// target durations (RFC 8216bis 4.1).
const LARGEST_SEGMENT: f64 = 1.5;

/// What livestreams of one plan cost together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// How many.
    pub streams: u32,
    /// How long the store keeps an object.
    pub ttl: Duration,
    /// How much of the past a playlist lists.
    pub window: Duration,
    /// Media playlists, each written once a segment like the segments themselves.
    pub renditions: u32,
    /// Writes a second: segments and playlists.
    pub puts_per_second: f64,
    /// Bytes written a second.
    pub bytes_per_second: f64,
    /// Of those, what stays until its TTL: playlists replace each other.
    pub kept_per_second: f64,
    /// Bytes in the store once the first segments expire.
    pub bytes_at_ttl: u64,
    /// Bytes of the largest segment or playlist.
    pub largest_object: u64,
    /// Bytes of a full media playlist.
    pub playlist: u64,
    /// bit/s of the best variant, audio included, at its peak.
    pub top_bandwidth: u64,
    /// Bytes of the live windows in this process.
    pub live_window: u64,
    /// Seconds a segment lasts.
    pub segment: f64,
}

impl Cost {
    /// The cost of `streams` livestreams with that plan.
    pub fn of(plan: &Plan, config: &Resolved, streams: u32) -> Self {
        let segment = plan.segment.as_secs_f64();
        let count = f64::from(streams);
        let renditions = u32::try_from(plan.renditions.len()).unwrap_or(u32::MAX);
        let media: f64 = plan.renditions.iter().map(|rendition| rendition.average_bound as f64 / 8.0).sum();
        let peak = |rendition: &crate::ladder::plan::PlannedRendition| rendition.bandwidth_bound;
        let largest = plan.renditions.iter().map(peak).max().unwrap_or(0);
        let audio = plan.renditions.iter().filter(|one| one.video.is_none()).map(peak).max().unwrap_or(0);
        let video = plan.renditions.iter().filter(|one| one.video.is_some()).map(peak).max();
        let playlist = playlist_bytes(plan.segment, config.window);
        let playlists = f64::from(renditions) * playlist as f64;
        let live = (media * config.live_window.duration.as_secs_f64()).min(config.live_window.max_bytes as f64);
        Self {
            streams,
            ttl: config.ttl,
            window: config.window,
            renditions,
            puts_per_second: count * 2.0 * f64::from(renditions) / segment,
            bytes_per_second: count * (media + playlists / segment),
            kept_per_second: count * media,
            bytes_at_ttl: (count * (media * config.ttl.as_secs_f64() + playlists)) as u64,
            largest_object: playlist.max((largest as f64 / 8.0 * segment * LARGEST_SEGMENT) as u64),
            playlist,
            top_bandwidth: video.map_or(audio, |video| video + audio),
            live_window: (count * live) as u64,
            segment,
        }
    }

    /// The same where objects are kept for `ttl`: a further store may have a time of its own.
    #[must_use]
    pub fn at_ttl(self, ttl: Duration) -> Self {
        let playlists = f64::from(self.streams * self.renditions) * self.playlist as f64;
        Self { ttl, bytes_at_ttl: (self.kept_per_second * ttl.as_secs_f64() + playlists) as u64, ..self }
    }
}

/// A full playlist as it is really written.
fn playlist_bytes(segment: Duration, window: Duration) -> u64 {
    let config = WindowConfig { window, uri_prefix: "mymomentostream_1080p".to_owned(), ..WindowConfig::default() };
    let mut full = Window::new(config.clone(), 100_000, 0);
    let count = (window.as_secs_f64() / segment.as_secs_f64()).ceil() as u64;
    for index in 0..count {
        let uri = config.segment_uri(100_000 + index);
        let date = UnixTime(index as i64 * 1_000_000_000);
        full.push_segment(SegmentInfo { uri, duration: segment, date, bytes: 0, gap: false });
    }
    full.snapshot().render_plain().len() as u64
}
