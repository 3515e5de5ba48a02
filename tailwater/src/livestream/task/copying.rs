//! The source as the top rung: when a livestream turns to copying it, and when it turns away.
//!
//! `auto` begins encoded, because key frames have to be seen for five seconds before they can be trusted and nobody should
//! wait for that; a source that proves fit is copied from a key frame on. On a machine that does not hold all of it encoded
//! it looks at the key frames first. `always` looks at two key frames before it begins. A key frame that comes too late
//! ends copying for the rest of the broadcast.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use super::Task;
use super::problem;
use crate::ingest::probe::{Keyframes, Probe};
use crate::ingest::source::{StampedTag, TagRole};
use crate::ladder::rung::LONGEST_COPIED_SEGMENT;
use crate::ladder::{self, LadderConfig, Passthrough, Plan, PlanError, SourceInfo, VideoSource};
use crate::livestream::keyframes::TooLate;
use crate::livestream::types::Problem;
use crate::transcode::{Capabilities, Input};

/// Key frames of `auto` are trusted after this much media.
const TRUSTED_AFTER: Duration = Duration::from_secs(5);
/// What `auto` has to see of them.
const TRUSTED: Keyframes = Keyframes { least: TRUSTED_AFTER, most: Duration::from_secs(10) };
/// A picture that no session has put out is looked for this far behind a session's first key frame.
const LONGEST_SKIP: Duration = Duration::from_secs(12);

/// What is known of the source, for copying it.
pub(super) struct Copying {
    passthrough: Passthrough,
    state: State,
    /// The source's time, as sent, of the first picture that was not put out, where copying ended before it.
    resume: Option<u32>,
    /// Why it was given up.
    problem: Option<Problem>,
}

enum State {
    /// `auto` looks at the key frames, while all is encoded.
    Watching(Box<Watch>),
    /// `auto` looks at them before it begins.
    Awaiting,
    /// `auto` has judged.
    Judged { info: Box<SourceInfo>, copied: bool, turning: bool },
    /// `never`, `always`: the plan decides by itself.
    Planned,
    /// Not copied any more, whatever comes.
    GivenUp,
}

struct Watch {
    probe: Probe,
    since: Option<Instant>,
}

impl Watch {
    fn new() -> Self {
        Self { probe: Probe::new(TRUSTED_AFTER).with_keyframes(TRUSTED), since: None }
    }

    fn push(&mut self, tag: &StampedTag) -> Option<SourceInfo> {
        let since = *self.since.get_or_insert(tag.arrival);
        let now = tag.arrival.saturating_duration_since(since);
        self.probe.push(&tag.tag, now);
        self.probe.poll(now)
    }
}

impl Copying {
    pub(super) fn new(passthrough: Passthrough) -> Self {
        let state = match passthrough {
            Passthrough::Auto => State::Watching(Box::new(Watch::new())),
            Passthrough::Never | Passthrough::Always => State::Planned,
        };
        Self { passthrough, state, resume: None, problem: None }
    }

    /// What the probe of a session has to see before the session can be planned.
    pub(super) fn awaited_keyframes(&self) -> Option<Keyframes> {
        match self.state {
            State::Planned if self.passthrough == Passthrough::Always => {
                Some(Keyframes { least: Duration::ZERO, most: LONGEST_COPIED_SEGMENT + Duration::from_millis(100) })
            }
            State::Awaiting => Some(TRUSTED),
            _ => None,
        }
    }

    /// It looks at the key frames before it begins.
    pub(super) fn is_awaiting(&self) -> bool {
        matches!(self.state, State::Awaiting)
    }

    /// They were seen, and this is what a session makes of them.
    fn settle(&mut self, info: &SourceInfo, copied: bool) {
        if self.is_awaiting() {
            self.state = State::Judged { info: Box::new(info.clone()), copied, turning: false };
        }
    }

    /// A source comes, perhaps another one: one that was not fit is looked at again.
    pub(super) fn source_came(&mut self) {
        if matches!(self.state, State::Judged { copied: false, .. } | State::Awaiting) {
            *self = Self { resume: self.resume, ..Self::new(self.passthrough) };
        }
    }

    /// What follows is another source's: `auto` trusts it no more than any.
    pub(super) fn source_changed(&mut self) {
        if self.passthrough == Passthrough::Auto && !matches!(self.state, State::GivenUp) {
            *self = Self::new(self.passthrough);
        }
    }

    /// A session begins with these tags of that source; what was seen for longer is known better.
    fn begin(&mut self, info: &SourceInfo, tags: &[StampedTag]) -> SourceInfo {
        let mut known = info.clone();
        match (&mut self.state, &mut known.video) {
            (State::Judged { info: judged, turning, .. }, Some(video)) if is_same_picture(judged, video) => {
                known.video.clone_from(&judged.video);
                // This session copies: nothing is left to turn to.
                *turning = false;
            }
            // Another picture of the same encoder: its key frames are watched anyway.
            (State::Judged { info: judged, .. }, Some(video)) if self.passthrough == Passthrough::Always => {
                let before = judged.video.as_ref();
                video.keyframe_interval =
                    video.keyframe_interval.or(before.and_then(|before| before.keyframe_interval));
                video.bitrate = video.bitrate.max(before.and_then(|before| before.bitrate));
            }
            (State::Planned, video) if self.passthrough == Passthrough::Always => {
                let copied = video.as_ref().is_some_and(|video| video.keyframe_interval.is_some());
                self.state = State::Judged { info: Box::new(info.clone()), copied, turning: false };
            }
            (State::Watching(_) | State::Judged { .. }, _) if self.passthrough == Passthrough::Auto => {
                let mut watch = Watch::new();
                for tag in tags {
                    watch.push(tag);
                }
                self.state = State::Watching(Box::new(watch));
            }
            _ => {}
        }
        known
    }

    /// Where a session that begins with these tags goes on after what was put out before.
    fn skip(&mut self, tags: &[StampedTag]) -> Duration {
        let first = tags.iter().find(|tag| tag.role == TagRole::Keyframe);
        let Some((resume, first)) = self.resume.take().zip(first) else { return Duration::ZERO };
        let milliseconds = resume.wrapping_sub(first.tag.timestamp) as i32;
        let skip = Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0));
        if skip > LONGEST_SKIP { Duration::ZERO } else { skip }
    }

    /// Whether this tag is where the livestream turns to copying. `copies` plans for what was seen.
    fn turns(&mut self, tag: &StampedTag, copies: impl FnOnce(&SourceInfo) -> bool) -> bool {
        match &mut self.state {
            State::Watching(watch) => {
                if let Some(info) = watch.push(tag) {
                    let copied = copies(&info);
                    self.state = State::Judged { info: Box::new(info), copied, turning: copied };
                }
                false
            }
            // With this key frame the media of the next session begins: nothing is lost and nothing shown twice.
            State::Judged { turning, .. } if tag.role == TagRole::Keyframe => std::mem::take(turning),
            _ => false,
        }
    }
}

/// The source with key frames and a bit rate that nothing can be said against: what was seen of it so far says nothing of them.
fn as_fit_as_can_be(info: &SourceInfo, ladder: &LadderConfig) -> SourceInfo {
    let mut hoped = info.clone();
    if let (Some(video), Some(top)) = (&mut hoped.video, ladder.rungs.first()) {
        (video.keyframe_interval, video.bitrate) = (Some(ladder.segment), Some(top.video_bitrate));
    }
    hoped
}

fn is_same_picture(judged: &SourceInfo, video: &VideoSource) -> bool {
    let same = |judged: &VideoSource| {
        (&judged.codec, judged.width, judged.height) == (&video.codec, video.width, video.height)
    };
    judged.video.as_ref().is_some_and(same)
}

impl Task {
    /// The plan of a session that begins with these tags.
    pub(super) fn plan_session(
        &mut self,
        info: &SourceInfo,
        tags: &[StampedTag],
        capabilities: &Capabilities,
    ) -> Result<(SourceInfo, Plan), PlanError> {
        let info = self.copying.begin(info, tags);
        let mut plan = ladder::plan(&info, &self.ladder(), capabilities)?;
        if !self.packager.settle_target_duration(plan.target_duration) {
            let (needed, promised) = (plan.target_duration, self.packager.target_duration());
            let never = LadderConfig { passthrough: Passthrough::Never, ..self.request.ladder.clone() };
            plan = ladder::plan(&info, &never, capabilities)?;
            plan.notes.push(format!(
                "the source is not copied: its key frames need segments of {needed} s, and the playlists promise {promised}"
            ));
        }
        if !plan.copies() {
            plan.skip = self.copying.skip(tags);
        }
        self.copying.settle(&info, plan.copies());
        Ok((info, plan))
    }

    /// `auto`, of a new livestream that this machine holds only if it copies: the key frames are looked at first, and it is let in
    /// by what will really be done. True: that is begun, and a session follows.
    pub(super) fn awaits_keyframes(&mut self, encoded: &Plan, info: &SourceInfo, capabilities: &Capabilities) -> bool {
        if !matches!(self.copying.state, State::Watching(_)) || self.request.force {
            return false;
        }
        let hoped = ladder::plan(&as_fit_as_can_be(info, &self.request.ladder), &self.request.ladder, capabilities);
        let Some(copied) = hoped.ok().filter(Plan::copies) else { return false };
        if !self.load.hangs_on_copying(encoded, &copied, info) {
            return false;
        }
        tracing::info!(
            stream = %self.request.name,
            "this machine does not hold all of it encoded: looking at the source's key frames first, whether it can be copied"
        );
        self.copying.state = State::Awaiting;
        true
    }

    /// What was asked for, without what has been given up.
    fn ladder(&self) -> Cow<'_, LadderConfig> {
        match self.copying.state {
            State::GivenUp => {
                Cow::Owned(LadderConfig { passthrough: Passthrough::Never, ..self.request.ladder.clone() })
            }
            _ => Cow::Borrowed(&self.request.ladder),
        }
    }

    /// Looks at a tag of a session under way. True: the session ends before it, and the next one copies.
    pub(super) fn turns_to_copying(&mut self, tag: &StampedTag) -> bool {
        let stream = &self.request.name;
        let judge = |info: &SourceInfo| {
            let Some(capabilities) = self.environment.capabilities.get() else { return false };
            let Ok(plan) = ladder::plan(info, &self.request.ladder, capabilities) else { return false };
            plan.notes.iter().for_each(|note| tracing::info!(%stream, note));
            plan.copies()
        };
        let turns = self.copying.turns(tag, judge);
        if turns {
            tracing::info!(%stream, "the source is fit to be the top rung: copying it, after a discontinuity");
        }
        turns
    }

    /// The key frame that the open segment has to end with does not come in time.
    pub(super) fn give_up_copying(&mut self, late: TooLate, tag: u32, now: Instant) {
        self.copying.state = State::GivenUp;
        self.copying.resume = Some(tag);
        let problem = problem::keyframe_late(late.after);
        tracing::warn!(stream = %self.request.name, code = problem.code, problem.message);
        self.copying.problem = Some(problem);
        let problem = self.lesser_problem();
        self.shared.update(|status| status.error = problem);
        self.tell_machine(now, Input::Stop);
    }

    /// What stands in `error` while the livestream is live: it does less than was asked for.
    pub(super) fn lesser_problem(&self) -> Option<Problem> {
        self.load.problem().or_else(|| self.copying.problem.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;
    use rtmp::flv::{FlvTag, TagKind};

    use super::*;

    fn tag(time: u32, body: &[u8]) -> StampedTag {
        let kind = TagKind::Video;
        // All tags arrive at once: media time decides.
        StampedTag::new(
            FlvTag { kind, timestamp: time, body: Bytes::copy_from_slice(body) },
            Instant::now(),
            SystemTime::now(),
        )
    }

    /// 1080p30 by x264.
    fn header() -> StampedTag {
        tag(0, b"\x17\0\0\0\0\x01\x42\xc0\x28\xff\xe1\0\x19\x67\x42\xc0\x28\xda\x01\xe0\x08\x9f\x97\x01\x10\0\0\x03\0\x10\0\0\x03\x03\xc0\xf1\x83\x2a\x01\0\x04\x68\xce\x0f\xc8")
    }

    fn picture(time: u32, key: bool) -> StampedTag {
        let (first, nal) = if key { (0x17, 0x65) } else { (0x27, 0x41) };
        tag(time, &[first, 1, 0, 0, 0, 0, 0, 0, 2, nal, 1])
    }

    /// Thirty pictures a second with a key frame each `gop`, and what becomes of it: when it turns, in milliseconds.
    fn turn(copying: &mut Copying, from: u32, to: u32, gop: u32, copies: bool) -> Option<u32> {
        (from..to).find_map(|index| {
            let tag = picture(index * 100 / 3, index % gop == 0);
            copying.turns(&tag, |_| copies).then_some(tag.tag.timestamp)
        })
    }

    fn watched() -> Copying {
        let mut copying = Copying::new(Passthrough::Auto);
        let metadata = FlvTag {
            kind: TagKind::Script,
            timestamp: 0,
            // `width` and nothing of sound.
            body: Bytes::from_static(b"\x02\0\x0aonMetaData\x08\0\0\0\0\0\x05width\0\x40\x9e\0\0\0\0\0\0\0\0\x09"),
        };
        let first = [StampedTag::new(metadata, Instant::now(), SystemTime::now()), header()];
        copying.begin(&source(), &first);
        copying
    }

    fn source() -> SourceInfo {
        SourceInfo { video: Some(VideoSource::h264(1920, 1080, 30.0)), audio: None }
    }

    #[test]
    fn it_turns_once_at_the_first_key_frame_after_five_good_seconds() {
        let mut copying = watched();
        assert_eq!(turn(&mut copying, 0, 400, 30, true), Some(6000));
        assert_eq!(turn(&mut copying, 181, 900, 30, true), None);
        // What was seen is known in the sessions that follow, also when the source went away and came back.
        copying.source_came();
        let known = copying.begin(&source(), &[]).video.unwrap();
        assert_eq!(known.keyframe_interval, Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_session_that_begins_meanwhile_copies_at_once() {
        let mut copying = watched();
        assert_eq!(turn(&mut copying, 0, 170, 30, true), None, "judged, and no key frame since");
        assert!(copying.begin(&source(), &[]).video.unwrap().keyframe_interval.is_some());
        assert_eq!(turn(&mut copying, 170, 900, 30, true), None);
    }

    #[test]
    fn a_source_that_is_not_fit_is_judged_once_and_again_when_it_comes_back() {
        let mut copying = watched();
        assert_eq!(turn(&mut copying, 0, 900, 60, false), None);
        assert!(matches!(copying.state, State::Judged { copied: false, .. }));
        copying.source_came();
        assert!(matches!(copying.state, State::Watching(_)));
    }

    #[test]
    fn where_all_hangs_on_it_the_key_frames_are_seen_first_and_what_follows_is_known() {
        for copied in [true, false] {
            let mut copying = watched();
            assert_eq!(copying.awaited_keyframes(), None);
            copying.state = State::Awaiting;
            assert_eq!(copying.awaited_keyframes(), Some(TRUSTED));
            let mut seen = source();
            seen.video.as_mut().unwrap().keyframe_interval = Some(Duration::from_secs(1));
            assert_eq!(copying.begin(&seen, &[]), seen, "as the probe has seen it");
            copying.settle(&seen, copied);
            assert_eq!(turn(&mut copying, 0, 400, 30, true), None, "nothing is left to turn to");
            copying.source_came();
            assert_eq!(copying.begin(&source(), &[]) == seen, copied, "what is not copied is looked at again");
        }
        // A source that goes away meanwhile is judged anew.
        let mut copying = watched();
        copying.state = State::Awaiting;
        copying.source_came();
        assert!(matches!(copying.state, State::Watching(_)));
    }

    #[test]
    fn another_picture_is_another_source() {
        let mut copying = watched();
        assert!(turn(&mut copying, 0, 400, 30, true).is_some());
        let other = SourceInfo { video: Some(VideoSource::h264(1280, 720, 30.0)), audio: None };
        assert_eq!(copying.begin(&other, &[]), other);
        assert!(matches!(copying.state, State::Watching(_)));
    }

    #[test]
    fn always_awaits_two_key_frames_once() {
        let mut copying = Copying::new(Passthrough::Always);
        assert!(copying.awaited_keyframes().is_some());
        let mut seen = source();
        seen.video.as_mut().unwrap().keyframe_interval = Some(Duration::from_secs(4));
        assert_eq!(copying.begin(&seen, &[]), seen);
        assert_eq!(copying.awaited_keyframes(), None);
        // The next session's probe has seen no second one.
        assert_eq!(copying.begin(&source(), &[]), seen);
        assert_eq!(Copying::new(Passthrough::Never).awaited_keyframes(), None);
    }

    #[test]
    fn a_session_goes_on_behind_what_was_put_out() {
        let mut copying = watched();
        copying.resume = Some(u32::MAX - 10);
        let tags = [header(), picture(u32::MAX - 1477, true), picture(u32::MAX - 1443, false)];
        assert_eq!(copying.skip(&tags), Duration::from_millis(1467));
        assert_eq!(copying.skip(&tags), Duration::ZERO, "once");
        // A key frame came meanwhile: nothing of it was put out.
        copying.resume = Some(1000);
        assert_eq!(copying.skip(&[picture(2000, true)]), Duration::ZERO);
    }
}
