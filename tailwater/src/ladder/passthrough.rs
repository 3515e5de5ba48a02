//! Whether the source's own bits are the top rung, and why not: a pure judgement.

use std::time::Duration;

use super::rate::{Rational, part_rule_holds};
use super::rung::{Format, LONGEST_COPIED_SEGMENT, LadderConfig, Passthrough, Rung};
use super::source::{VideoCodec, VideoSource};
use crate::transcode::capabilities::Capabilities;

/// A segment may be this much longer than its target duration and still round to it.
const HALF: Duration = Duration::from_millis(500);
/// What milliseconds and a late frame may add to a spacing that was seen.
const SLACK: Duration = Duration::from_millis(20);
/// Key frames may be this much further apart than a whole number of seconds (29.97 frames a second: 2.002 s) without
/// the next second being taken as the target duration.
const TARGET_SLACK: Duration = Duration::from_millis(100);

/// What a source is judged by besides itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms<'a> {
    /// Highest first; never empty.
    pub(super) rungs: &'a [Rung],
    /// What everything else is made at.
    pub(super) rate: Rational,
    /// There is sound.
    pub(super) audio: bool,
    pub(super) config: &'a LadderConfig,
    pub(super) caps: &'a Capabilities,
}

/// The judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judgement {
    /// The source is the top rung.
    Copied {
        /// Segments start at the first key frame at or after each multiple of this.
        segment: Duration,
        /// EXT-X-TARGETDURATION that its key frames need, seconds.
        target: u32,
    },
    /// It is not, and nobody expects it: it was not asked for, or the key frames have yet to be seen.
    Encoded,
    /// It was asked for and is not possible; the end of a sentence that begins with "the source is not copied: ".
    Refused(String),
}

pub(super) fn judge(video: &VideoSource, terms: Terms<'_>) -> Judgement {
    let auto = match terms.config.passthrough {
        Passthrough::Never => return Judgement::Encoded,
        Passthrough::Auto => true,
        Passthrough::Always => false,
    };
    if auto && video.keyframe_interval.is_none() {
        return Judgement::Encoded;
    }
    if let Some(reason) = unusable(video, terms) {
        return Judgement::Refused(reason);
    }
    match (spacing(video, terms), auto.then(|| choosy(video, terms)).flatten()) {
        (Err(reason), _) | (_, Some(reason)) => Judgement::Refused(reason),
        (Ok(copied), None) => copied,
    }
}

/// What can never be copied, whatever was asked for.
fn unusable(video: &VideoSource, terms: Terms<'_>) -> Option<String> {
    let Terms { rungs, rate, config, caps, .. } = terms;
    let top = &rungs[0];
    if video.codec != VideoCodec::H264 || top.codec != VideoCodec::H264 {
        let codec = if video.codec == VideoCodec::H264 { &top.codec } else { &video.codec };
        return Some(format!("only H.264 is, and {} is {codec}", if codec == &top.codec { "the rung" } else { "it" }));
    }
    if !is_plain(video.codec_string.as_deref()) {
        return Some("players take 8 bits and 4:2:0 in Baseline, Main or High profile only".to_owned());
    }
    if video.interlaced {
        return Some("it is interlaced".to_owned());
    }
    if video.open_keyframes {
        return Some("its key frames are no IDR pictures, so that segments could not be decoded alone".to_owned());
    }
    if let Some(cap) = top.max_frame_rate.filter(|cap| video.frame_rate.unwrap_or(rate.as_f64()) > cap * 1.001) {
        return Some(format!("rung {} is capped at {cap} frames a second", top.name));
    }
    let follows = |rung: &Rung| rung.codec != VideoCodec::Av1 || caps.has_encoder("libaom-av1");
    if let Some(rung) = rungs[1..].iter().find(|rung| !follows(rung)) {
        return Some(format!("rung {} (AV1) needs libaom-av1 to follow its key frames", rung.name));
    }
    // Parts have one length for the livestream's life (EXT-X-PART-INF) and reach 85 % of it (RFC 8216bis 4.4.4.9).
    if config.low_latency && !(video.constant_rate && is_rate(video, rate) && part_rule_holds(config.part_target, rate))
    {
        return Some("its frame rate is not constant, or does not fill the parts of low latency".to_owned());
    }
    None
}

/// What `auto` asks for besides.
fn choosy(video: &VideoSource, terms: Terms<'_>) -> Option<String> {
    let top = &terms.rungs[0];
    let long_side = video.width.max(video.height);
    if video.short_side() > top.height || top.width.is_some_and(|width| long_side > width) {
        return Some(format!("it is {}x{}, larger than rung {}", video.width, video.height, top.name));
    }
    if !video.constant_rate {
        return Some("its frame rate is not constant".to_owned());
    }
    if video.b_frames {
        return Some("it has B-frames: set them to 0 in the encoder".to_owned());
    }
    match video.bitrate {
        Some(bitrate) if bitrate <= top.video_bitrate * 3 / 2 => None,
        Some(bitrate) => {
            let (bitrate, top_bitrate) = (bitrate / 1000, top.video_bitrate / 1000);
            Some(format!(
                "its {bitrate} kbit/s are more than half as much again as the {top_bitrate} of rung {}",
                top.name
            ))
        }
        None => Some("its bit rate is not known".to_owned()),
    }
}

/// The segments its key frames make, or why they make none.
fn spacing(video: &VideoSource, terms: Terms<'_>) -> Result<Judgement, String> {
    let Terms { rate, config, .. } = terms;
    let Some(interval) = video.keyframe_interval else {
        return Err(format!("it sent no second key frame within {} s", LONGEST_COPIED_SEGMENT.as_secs()));
    };
    let nominal = config.segment;
    let apart = format!("its key frames are {:.2} s apart", interval.as_secs_f64());
    let mut segment = nominal;
    if config.format == Format::Cmaf && terms.audio {
        // Sound has a playlist of its own there, cut by the clock.
        let Some(whole) = whole_segments(interval, rate, nominal).filter(|_| video.constant_rate) else {
            return Err(format!("{apart}: in CMAF, where sound is cut apart, they have to be on whole seconds"));
        };
        segment = whole;
    }
    let longest = longest_segment(interval, nominal);
    match config.passthrough {
        Passthrough::Always if longest > LONGEST_COPIED_SEGMENT + SLACK => {
            Err(format!("{apart}: {} s at most", LONGEST_COPIED_SEGMENT.as_secs()))
        }
        Passthrough::Always => Ok(Judgement::Copied { segment, target: target(longest).max(target(nominal)) }),
        // Viewers of a source that is not copied wait no longer: the target duration stays what it is without copying.
        _ if interval > nominal + rate.frame_duration() => Err(format!("{apart}: one a second is needed")),
        _ if longest + SLACK >= nominal + HALF => Err(format!(
            "{apart}, which makes segments of up to {:.2} s: one a second is needed",
            longest.as_secs_f64()
        )),
        _ => Ok(Judgement::Copied { segment, target: target(nominal) }),
    }
}

/// The longest segment that key frames at this distance make, when segments start at the first one at or after each
/// multiple of `segment`.
fn longest_segment(interval: Duration, segment: Duration) -> Duration {
    let ratio = segment.as_secs_f64() / interval.as_secs_f64().max(0.001);
    // A hundredth less, for what milliseconds round.
    let intervals = (ratio - 0.01).ceil().max(1.0);
    interval.mul_f64(intervals)
}

/// Whole seconds that no segment of this length rounds above.
fn target(longest: Duration) -> u32 {
    let seconds = longest.saturating_sub(TARGET_SLACK).as_secs_f64().ceil();
    (seconds as u32).max(1)
}

/// The segment duration of key frames that lie exactly on its multiples, for ever.
fn whole_segments(interval: Duration, rate: Rational, segment: Duration) -> Option<Duration> {
    let frames = (interval.as_secs_f64() * rate.as_f64()).round() as u128;
    let apart = frames * u128::from(rate.den) * 1_000_000_000;
    let whole = u128::from(rate.num) * segment.as_nanos();
    if apart == 0 || whole == 0 {
        None
    } else if apart.is_multiple_of(whole) {
        u32::try_from(apart / whole).ok().map(|count| segment * count)
    } else {
        whole.is_multiple_of(apart).then_some(segment)
    }
}

/// Baseline, Main, High: in all of them 8 bits and 4:2:0.
fn is_plain(codec: Option<&str>) -> bool {
    let profile = codec.and_then(|codec| codec.strip_prefix("avc1.")).and_then(|rest| rest.get(..2));
    profile.is_some_and(|profile| ["42", "4D", "4d", "64"].contains(&profile))
}

/// Everything else is made at the source's own rate.
fn is_rate(video: &VideoSource, rate: Rational) -> bool {
    video.frame_rate.and_then(Rational::snap) == Some(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn segments_start_at_the_first_key_frame_at_or_after_each_second() {
        let longest = |millis| longest_segment(Duration::from_millis(millis), SECOND).as_millis();
        assert_eq!([longest(1000), longest(500), longest(333), longest(250)], [1000, 1000, 999, 1000]);
        assert_eq!([longest(900), longest(967), longest(600), longest(400)], [1800, 1934, 1200, 1200]);
        assert_eq!([longest(1001), longest(2002), longest(2500)], [1001, 2002, 2500]);
    }

    /// The formula against a walk over the key frames.
    #[test]
    fn no_walk_over_key_frames_makes_a_longer_segment() {
        for interval in (20..2600).step_by(20) {
            let (mut start, mut longest) = (0, 0);
            for key in (1..2000).map(|index| index * interval) {
                if key >= (start / 1000 + 1) * 1000 {
                    longest = longest.max(key - start);
                    start = key;
                }
            }
            let bound = longest_segment(Duration::from_millis(interval), SECOND).as_millis();
            assert!(u128::from(longest) <= bound, "{interval}: {longest} > {bound}");
        }
    }

    #[test]
    fn the_target_duration_is_the_spacing_rounded_up() {
        let target = |millis| target(Duration::from_millis(millis));
        assert_eq!([target(500), target(1000), target(1001), target(1200)], [1, 1, 1, 2]);
        assert_eq!([target(2000), target(2002), target(2500), target(10_000)], [2, 2, 3, 10]);
        for millis in 1..10_000 {
            let seconds = f64::from(target(millis));
            assert!((millis as f64 / 1000.0).round() <= seconds, "{millis}");
        }
    }

    #[test]
    fn whole_seconds_are_told_from_those_of_ntsc() {
        let whole = |millis, num, den| whole_segments(Duration::from_millis(millis), Rational::new(num, den), SECOND);
        assert_eq!(whole(1000, 30, 1), Some(SECOND));
        assert_eq!(whole(500, 60, 1), Some(SECOND));
        assert_eq!(whole(2000, 25, 1), Some(2 * SECOND));
        assert_eq!(whole(1001, 30_000, 1001), None);
        assert_eq!(whole(900, 30, 1), None);
        assert_eq!(whole(1500, 30, 1), None);
        assert_eq!(whole(0, 30, 1), None);
    }

    #[test]
    fn profiles_that_players_take_are_told_by_the_codec_string() {
        for plain in ["avc1.42C028", "avc1.4d401f", "avc1.4D401F", "avc1.640028"] {
            assert!(is_plain(Some(plain)), "{plain}");
        }
        for other in ["avc1.6E0028", "avc1.7A0028", "avc1.F40028", "hvc1.1.6.L93.B0", "avc1."] {
            assert!(!is_plain(Some(other)), "{other}");
        }
        assert!(!is_plain(None));
    }
}
