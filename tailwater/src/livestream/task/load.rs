//! How the livestream keeps up: what it is told by FFmpeg's output, what it sheds, and what it says of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hls::slice::SliceEvent;
use hls::time::MediaTime;

use super::Task;
use crate::ladder::{self, LadderConfig, Plan, SourceInfo, Step, VideoAction};
use crate::livestream::types::{LivestreamState, LoadStatus, Problem};
use crate::load::{Admission, Capacity, Place, Sample, Watch, Wish, cost, presets};
use crate::transcode::Input;

/// Media that the encoders hold without being late: frames and a part in low latency; otherwise lookahead and frame threads,
/// and a segment as long as the longest.
const HELD_IN_LOW_LATENCY: Duration = Duration::from_millis(500);
const HELD: Duration = Duration::from_millis(1500);

/// The load of one livestream.
pub(super) struct Load {
    capacity: Arc<Capacity>,
    place: Place,
    watch: Watch,
    low_latency: bool,
    /// What can be shed of the plan, in order.
    steps: Vec<Step>,
    /// Work at each level, in cores of the machine of the figures.
    work: Vec<f64>,
    level: usize,
    /// A level that is gone to as soon as that repeats nothing.
    next: Option<usize>,
    /// Why less is made than was asked for.
    reason: String,
    admitted: bool,
    overloaded: bool,
}

impl Load {
    pub(super) fn new(capacity: &Arc<Capacity>, ladder: &LadderConfig) -> Self {
        Self {
            capacity: Arc::clone(capacity),
            place: capacity.place(),
            watch: Watch::new(capacity.settings().times.clone()),
            low_latency: ladder.low_latency,
            steps: Vec::new(),
            work: Vec::new(),
            level: 0,
            next: None,
            reason: String::new(),
            admitted: false,
            overloaded: false,
        }
    }

    /// Makes a plan one that this machine holds: presets chosen, and what has to be shed left out.
    ///
    /// # Errors
    /// When the livestream is new, and not even its last level fits.
    pub(super) fn fit(&mut self, mut plan: Plan, source: &SourceInfo, force: bool) -> Result<Plan, Problem> {
        (self.steps, self.work) = self.levels(&mut plan, source);
        if let Some(next) = self.next.take() {
            // FFmpeg ended for another reason before it came to that.
            self.watch.handle_change(Instant::now(), next);
            self.level = next;
        }
        self.level = self.level.min(self.steps.len());
        if !std::mem::replace(&mut self.admitted, true) && !force {
            self.admit()?;
        }
        self.place.take(self.work[self.level], self.level);
        self.watch.handle_session(self.level, self.steps.len());
        Ok(ladder::shed(&plan, &self.steps[..self.level]))
    }

    /// What can be shed of a plan, and its work at each level. Presets that are left to the machine are chosen.
    fn levels(&self, plan: &mut Plan, source: &SourceInfo) -> (Vec<Step>, Vec<f64>) {
        presets::settle(plan, source, self.capacity.slowness(), self.place.room(), self.capacity.cores());
        let steps = if self.capacity.settings().shed { ladder::steps(plan) } else { Vec::new() };
        let work = (0..=steps.len()).map(|level| cost::cores(&ladder::shed(plan, &steps[..level]), source)).collect();
        (steps, work)
    }

    /// Whether a new livestream is let in, or let in whole, only if its source is copied.
    pub(super) fn hangs_on_copying(&self, encoded: &Plan, copied: &Plan, source: &SourceInfo) -> bool {
        let judge = |plan: &Plan| self.place.judge(&self.levels(&mut plan.clone(), source).1);
        !self.admitted
            && match (judge(encoded), judge(copied)) {
                (Admission::At { level: 0 }, _) => false,
                (_, Admission::At { level: 0 }) | (Admission::Refused(_), Admission::At { .. }) => true,
                _ => false,
            }
    }

    fn admit(&mut self) -> Result<(), Problem> {
        match self.place.admit(&self.work) {
            Admission::At { level: 0 } => {}
            Admission::At { level } => {
                self.level = level;
                let (whole, room) = (self.cores(0), self.capacity.room());
                self.reason = format!(
                    "all of it would take {whole:.1} cores, and {:.1} of the {room:.1} that may be used are left",
                    self.place.room()
                );
            }
            Admission::Refused(figures) => {
                metrics::counter!("tailwater_load_refusals_total").increment(1);
                let message = figures.sentence(self.capacity.cores());
                return Err(Problem { code: "over-capacity".to_owned(), message });
            }
        }
        Ok(())
    }

    /// Media that is held without being late.
    fn held(&self, progress: &Progress) -> Duration {
        if self.low_latency { HELD_IN_LOW_LATENCY } else { HELD + progress.longest }
    }

    fn cores(&self, level: usize) -> f64 {
        self.work.get(level).copied().unwrap_or(0.0) * self.capacity.slowness().unwrap_or(1.0)
    }

    fn sheds(&self) -> String {
        self.steps[..self.level].iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    /// What stands in `error` while nothing worse does.
    pub(super) fn problem(&self) -> Option<Problem> {
        let problem = |code: &str, message| Some(Problem { code: code.to_owned(), message });
        if self.overloaded {
            let all = if self.level > 0 { " although all is shed that can be" } else { "" };
            return problem("overloaded", format!("this machine does not keep up{all}: {}", self.reason));
        }
        match self.level {
            0 => None,
            _ => problem("shedding", format!("less is made than was asked for ({}): {}", self.sheds(), self.reason)),
        }
    }

    fn status(&self, plan: &Plan, lag: Duration) -> LoadStatus {
        let dropped = self.steps[..self.level].iter().filter_map(|step| match step {
            Step::Without(rung) => Some(rung.clone()),
            _ => None,
        });
        let preset = plan.renditions.iter().find_map(|rendition| match &rendition.video.as_ref()?.action {
            VideoAction::Encode(settings) if settings.tuning.is_empty() => Some(settings.preset.clone()),
            VideoAction::Encode(_) => Some("tuned".to_owned()),
            VideoAction::Copy => None,
        });
        LoadStatus {
            level: self.level,
            levels: self.steps.len(),
            dropped: dropped.collect(),
            preset,
            cores: self.capacity.slowness().map(|_| (self.cores(self.level) * 100.0).round() / 100.0),
            lag: seconds(lag),
        }
    }
}

/// How far each rendition of a session has got.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The end of what each has put out.
    ends: HashMap<Arc<str>, MediaTime>,
    /// The longest segment.
    longest: Duration,
}

impl Progress {
    pub(super) fn handle_slices(&mut self, rendition: &Arc<str>, events: &[SliceEvent]) {
        let segments = events.iter().filter_map(|event| match event {
            SliceEvent::Segment(segment) => Some(segment.duration),
            _ => None,
        });
        self.longest = segments.fold(self.longest, Duration::max);
        let ends = events.iter().filter_map(|event| match event {
            SliceEvent::Part(part) => Some(part.start.saturating_add(part.duration)),
            SliceEvent::Segment(segment) => Some(segment.start.saturating_add(segment.duration)),
            SliceEvent::Tracks(_) | SliceEvent::Init(_) => None,
        });
        if let Some(end) = ends.max() {
            let known = self.ends.entry(Arc::clone(rendition)).or_insert(end);
            *known = end.max(*known);
        }
    }

    /// The end of what all have put out.
    fn slowest(&self) -> Option<MediaTime> {
        self.ends.values().min().copied()
    }

    /// The end of what any has.
    fn furthest(&self) -> Option<MediaTime> {
        self.ends.values().max().copied()
    }
}

impl Task {
    /// Looks how far FFmpeg is behind, and begins what follows from it.
    pub(super) fn watch_load(&mut self, now: Instant) {
        let Some(active) = self.active.as_ref().filter(|active| active.is_running()) else { return };
        let (Some(feed), Some(out)) = (&active.feed, active.progress.slowest()) else { return };
        let lag = feed.fed().saturating_since(out);
        let held = self.load.held(&active.progress);
        let load = &mut self.load;
        let out = out.saturating_since(MediaTime::ZERO);
        let room = load.level > 0 && {
            let more = load.work[load.level - 1] - load.work[load.level];
            load.capacity.has_idle(now, more)
        };
        let wish = load.watch.handle_sample(now, Sample { lag: lag.saturating_sub(held), out, room });
        self.shared.update_quietly(|status| {
            if let Some(load) = &mut status.load {
                load.lag = seconds(lag);
            }
        });
        self.tell_overload(lag);
        let load = &mut self.load;
        if load.next.is_some() {
            return self.change_level(now, false);
        }
        let next = match wish {
            Some(Wish::Shed) if load.capacity.take_turn_to_shed(now) => load.level + 1,
            Some(Wish::Climb) if load.capacity.take_turn_to_climb(now) => load.level - 1,
            _ => return,
        };
        if next > load.level {
            load.reason = format!("encoding fell {:.1} s behind the source", lag.as_secs_f64());
        }
        load.next = Some(next);
        self.change_level(now, false);
    }

    /// Goes to the level that is due, if the newest keyframe, with which the next run of FFmpeg begins, is one that no viewer has
    /// seen yet: it has just come, or was not put out. Otherwise the next one is waited for.
    pub(super) fn change_level(&mut self, now: Instant, has_just_come: bool) {
        let (Some(next), Some(active)) = (self.load.next, &mut self.active) else { return };
        let Some(feed) = &active.feed else { return };
        let unseen = match (feed.newest_keyframe(), active.progress.furthest()) {
            (Some(keyframe), Some(furthest)) => keyframe >= furthest,
            _ => true,
        };
        if active.closing || !(unseen || has_just_come) {
            return;
        }
        self.load.next = None;
        let from = self.load.level;
        if next > from {
            // What waits for FFmpeg is late already: it begins anew with what is newest.
            active.session.abandon();
        }
        self.load.watch.handle_change(now, next);
        self.load.level = next;
        self.log_change(from);
        self.tell_machine(now, Input::Stop);
    }

    fn log_change(&mut self, from: usize) {
        let (stream, load) = (&self.request.name, &self.load);
        let (level, sheds) = (load.level, load.sheds());
        if level > from {
            metrics::counter!("tailwater_load_sheds_total").increment(1);
            tracing::warn!(%stream, level, sheds, reason = load.reason, "this machine does not keep up: shedding load");
        } else {
            metrics::counter!("tailwater_load_climbs_total").increment(1);
            tracing::info!(%stream, level, sheds, "this machine has room again: making more");
        }
    }

    /// What was made of the source is known: a session begins.
    pub(super) fn show_load(&mut self, plan: &Plan) {
        self.load.overloaded = false;
        let (load, problem) = (self.load.status(plan, Duration::ZERO), self.lesser_problem());
        self.shared.update(|status| {
            status.load = Some(load);
            // What interrupts it is told until it is live again.
            if problem.is_some() || status.state == LivestreamState::Live {
                status.error = problem;
            }
        });
    }

    /// The livestream's figures, for whoever watches many.
    pub(super) fn meter_load(&self) {
        let stream = self.request.name.to_string();
        let lag = self.shared.status().load.map_or(0.0, |load| load.lag);
        metrics::gauge!("tailwater_load_lag_seconds", "stream" => stream.clone()).set(lag);
        metrics::gauge!("tailwater_load_level", "stream" => stream).set(self.load.level as f64);
    }

    fn tell_overload(&mut self, lag: Duration) {
        let overloaded = self.load.watch.is_overloaded();
        if overloaded == self.load.overloaded {
            return;
        }
        self.load.overloaded = overloaded;
        if overloaded {
            self.load.reason = format!("encoding is {:.1} s behind the source", lag.as_secs_f64());
            let reason = &self.load.reason;
            tracing::error!(stream = %self.request.name, reason, "this machine does not keep up, and nothing is left to shed");
        }
        let problem = self.lesser_problem();
        self.shared.update(|status| status.error = problem);
    }
}

/// A tenth of a second is what a lag is worth.
fn seconds(lag: Duration) -> f64 {
    (lag.as_secs_f64() * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::{AudioSource, Passthrough, VideoSource};
    use crate::load::LoadSettings;
    use crate::transcode::Capabilities;

    /// Full HD by the default ladder, on two cores that are so many times slower than those of the figures.
    fn hangs(slowness: f64, admitted: bool) -> bool {
        let config = LadderConfig { passthrough: Passthrough::Auto, ..LadderConfig::default() };
        let mut video = VideoSource::h264(1920, 1080, 30.0);
        let planned = |video: &VideoSource| {
            let source = SourceInfo { video: Some(video.clone()), audio: Some(AudioSource::aac()) };
            (ladder::plan(&source, &config, &Capabilities::typical(2)).unwrap(), source)
        };
        let (encoded, _) = planned(&video);
        (video.keyframe_interval, video.bitrate) = (Some(Duration::from_secs(1)), Some(5_000_000));
        let (copied, source) = planned(&video);
        assert!(copied.copies() && !encoded.copies());
        let settings = LoadSettings { slowness: Some(slowness), ..LoadSettings::default() };
        let load = Load { admitted, ..Load::new(&Capacity::new(settings, 2), &config) };
        load.hangs_on_copying(&encoded, &copied, &source)
    }

    #[test]
    fn only_a_machine_too_small_to_encode_all_and_large_enough_to_copy_waits_to_know() {
        assert!(!hangs(1.0, false), "it holds all of it encoded");
        assert!(hangs(2.5, false), "encoded not whole, copied whole");
        assert!(hangs(20.0, false), "encoded not at all, copied with all shed");
        assert!(!hangs(100.0, false), "not even copied");
        assert!(!hangs(2.5, true), "it is in");
    }
}
