//! Silence for an audio track that stopped while the video goes on.

use std::time::Duration;

use bytes::Bytes;
use rtmp::flv::{AacConfig, AudioCodec, AudioHeader, SilentAac};

use super::window::Highest;

/// A gap is one when it is this much longer than audio usually lags behind video, in milliseconds.
const GAP: i64 = 300;
/// What audio is believed to lag before it was seen.
const FIRST_LAG: i64 = 100;
/// How long a lag is remembered.
const LAG_WINDOW: Duration = Duration::from_secs(20);
/// Silence made at once at most: one minute. More follows with the next frame.
const MAX_AT_ONCE: usize = 3000;

/// Fills gaps. Knows AAC only; FFmpeg bridges the gaps of other codecs as well as it can.
#[derive(Debug)]
pub(super) struct Filler {
    silence: Option<(SilentAac, AacConfig)>,
    lag: Highest,
    /// The longest lag of audio that is still behind the silence.
    behind: i64,
    /// Where the silence began, and how many frames of it there are.
    filling: Option<(i64, i64)>,
}

impl Default for Filler {
    fn default() -> Self {
        Self { silence: None, lag: Highest::new(LAG_WINDOW), behind: 0, filling: None }
    }
}

impl Filler {
    /// Learns the configuration from the body of a sequence header.
    pub(super) fn set_configuration(&mut self, header: &AudioHeader, body: &[u8]) {
        self.silence = None;
        if header.codec != AudioCodec::Aac {
            return;
        }
        if let Ok(config) = AacConfig::parse(body.get(header.payload..).unwrap_or_default()) {
            self.silence = SilentAac::new(&config, header).map(|silence| (silence, config));
        }
    }

    /// Learns how far audio is behind video when it comes, in milliseconds.
    pub(super) fn observe(&mut self, arrival: Duration, lag: i64) {
        self.lag.observe(arrival, lag.max(self.behind));
        self.behind = 0;
    }

    /// The same of audio that came behind the silence that replaced it. It counts once the track has caught up, for a track that never
    /// does is moved; a track that was late from its start does not catch up and is right.
    pub(super) fn observe_behind(&mut self, arrival: Duration, lag: i64, late_from_its_start: bool) {
        if late_from_its_start {
            self.lag.observe(arrival, lag);
        } else {
            self.behind = self.behind.max(lag);
        }
    }

    /// The audio was moved: what it lagged before says nothing any more.
    pub(super) fn forget_lag(&mut self) {
        self.lag = Highest::new(LAG_WINDOW);
        self.behind = 0;
    }

    pub(super) fn is_filling(&self) -> bool {
        self.filling.is_some()
    }

    /// Audio is there again. Whether there was silence.
    pub(super) fn resume(&mut self) -> bool {
        self.filling.take().is_some()
    }

    /// The frames that are missing when the last audio was at `last` (-1: none yet) and the video is at `video`.
    pub(super) fn fill(&mut self, last: i64, video: i64) -> Vec<(i64, Bytes)> {
        let Some((silence, config)) = &self.silence else { return Vec::new() };
        let lag = self.lag.highest().max(FIRST_LAG);
        let step = |frames: i64| frames * 1000 * i64::from(config.frame_samples) / i64::from(config.sample_rate);
        if self.filling.is_none() {
            if video - last.max(0) <= lag + GAP + step(1) {
                return Vec::new();
            }
            // The first frame of a track that never began is at 0, else one frame after the last.
            self.filling = Some(if last < 0 { (0, 0) } else { (last, 1) });
        }
        let Some((begin, frames)) = &mut self.filling else { return Vec::new() };
        let mut out = Vec::new();
        while *begin + step(*frames + 1) <= video - lag && out.len() < MAX_AT_ONCE {
            out.push((*begin + step(*frames), silence.body()));
            *frames += 1;
        }
        out
    }
}
