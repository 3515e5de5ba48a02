//! FFmpeg's side of a livestream: what the supervisor decides is done here.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use hls::slice::SliceEvent;
use hls::time::UnixTime;

use super::load::Progress;
use super::source::Probing;
use super::{Task, problem};
use crate::ingest::source::StampedTag;
use crate::ladder::rung::LONGEST_COPIED_SEGMENT;
use crate::ladder::{Encoder, EncoderChoice, Passthrough, Plan, PlannedVideo, SourceInfo, VideoAction};
use crate::livestream::feed::{Feed, FeedEvent};
use crate::livestream::keyframes::KeyframeWatch;
use crate::livestream::packager::SessionRendition;
use crate::livestream::session::{Session, SessionEvent};
use crate::livestream::types::{LivestreamState, Problem};
use crate::transcode::machine::Times;
use crate::transcode::slate::QUIT;
use crate::transcode::{Action, Capabilities, Event, Exit, Input, Machine, Signal, Transcoder, classify};

/// A run of FFmpeg under way.
pub(super) struct Active {
    pub(super) session: Session,
    /// What FFmpeg is given; a slate's makes its own input.
    pub(super) feed: Option<Feed>,
    pub(super) closing: bool,
    /// Renditions that have put out nothing yet.
    silent: HashSet<String>,
    pub(super) progress: Progress,
    on_hardware: bool,
}

impl Active {
    pub(super) fn new(session: Session, feed: Option<Feed>, plan: &Plan) -> Self {
        let silent = plan.renditions.iter().map(|rendition| rendition.name.clone()).collect();
        let (progress, on_hardware) = (Progress::default(), uses_hardware(plan));
        Self { session, feed, closing: false, silent, progress, on_hardware }
    }

    /// No more input.
    pub(super) fn close(&mut self) {
        if self.feed.is_none() {
            self.session.feed(Bytes::from_static(QUIT));
        }
        self.closing = true;
        self.session.close();
    }

    /// Every rendition of the source has put out something.
    pub(super) fn is_running(&self) -> bool {
        self.silent.is_empty() && !self.closing && self.feed.is_some()
    }
}

impl Task {
    /// A source is there: FFmpeg is to run for it.
    pub(super) fn begin_supervision(&mut self) {
        self.plays_slate = false;
        self.begin_machine();
    }

    pub(super) fn begin_machine(&mut self) {
        let mut times = Times::default();
        if self.request.ladder.passthrough == Passthrough::Always {
            // FFmpeg may have nothing to put out until the source's next key frame.
            times.startup += LONGEST_COPIED_SEGMENT;
            times.stall += LONGEST_COPIED_SEGMENT;
        }
        self.machine = Some(Machine::new(times, fastrand::Rng::new()));
        self.supervise();
    }

    pub(super) fn tell_machine(&mut self, now: Instant, input: Input) {
        if let Some(machine) = &mut self.machine {
            machine.handle_input(now, input);
            self.supervise();
        }
    }

    /// Does what the supervisor asks for.
    pub(super) fn supervise(&mut self) {
        while let Some(action) = self.machine.as_mut().and_then(Machine::poll_action) {
            match action {
                Action::Spawn if self.plays_slate => self.start_slate(),
                Action::Spawn => self.begin_probing(),
                Action::CloseStdin => {
                    if let Some(active) = &mut self.active {
                        active.close();
                    }
                }
                Action::Signal(signal) => {
                    if let Some(active) = &self.active {
                        match signal {
                            Signal::Term => active.session.terminate(),
                            Signal::Kill => active.session.kill(),
                        }
                    }
                }
                Action::Notify(event) if self.plays_slate => self.handle_slate_notice(event),
                Action::Notify(event) => self.handle_notice(event),
            }
        }
        self.go_on();
    }

    /// A session that ended as asked is followed by another while there is a source, else by a slate.
    fn go_on(&mut self) {
        if self.machine.as_ref().is_some_and(Machine::is_over) && self.active.is_none() {
            self.machine = None;
            self.plays_slate = false;
            if self.source_present && self.failure.is_none() {
                self.begin_supervision();
            } else {
                self.begin_slate();
            }
        }
    }

    fn handle_notice(&mut self, event: Event) {
        let stream = &self.request.name;
        match event {
            Event::Running | Event::Ended { .. } => {}
            Event::Stalled { at_start } => {
                tracing::error!(%stream, at_start, "FFmpeg takes input and puts out nothing: killing it");
            }
            Event::Restarting { attempt, pause, reason } => {
                tracing::error!(%stream, attempt, ?pause, reason, "starting FFmpeg again");
                metrics::counter!("tailwater_ffmpeg_deaths_total").increment(1);
                self.interrupt(Problem { code: "ffmpeg-died".to_owned(), message: reason });
            }
            Event::Failed { reason } => {
                self.failure = Some(Problem { code: "ffmpeg-failed".to_owned(), message: reason });
            }
        }
    }

    fn interrupt(&mut self, problem: Problem) {
        let interrupted = self.has_been_live;
        self.shared.update(|status| {
            status.error = Some(problem);
            if interrupted {
                status.state = LivestreamState::Interrupted;
            }
        });
    }

    fn begin_probing(&mut self) {
        let mut probing = Probing::new(self.copying.awaited_keyframes());
        self.backlog.replay().into_iter().for_each(|tag| probing.push(tag));
        self.probing = Some(probing);
        self.try_start();
    }

    /// Starts FFmpeg as soon as it is known what for.
    pub(super) fn try_start(&mut self) {
        let Some(probing) = &mut self.probing else { return };
        let Some(info) = probing.probe.poll(probing.since.elapsed()) else { return };
        let Some(probing) = self.probing.take() else { return };
        if info.video.is_none() && info.audio.is_none() {
            return self.wait_for_media();
        }
        // A source that was looked at for long begins with its newest key frame: nobody has seen any of it yet.
        let tags = if self.copying.is_awaiting() { self.backlog.replay() } else { probing.tags };
        match self.start_session(&info, tags) {
            Ok(()) => self.tell_machine(Instant::now(), Input::Spawned),
            Err(problem) => self.failure = Some(problem),
        }
    }

    fn start_session(&mut self, info: &SourceInfo, tags: Vec<StampedTag>) -> Result<(), Problem> {
        // The registry has asked before it accepted the request.
        let environment = Arc::clone(&self.environment);
        let Some(capabilities) = environment.capabilities.get() else { return Err(problem::no_ffmpeg()) };
        let capabilities = match self.without_hardware {
            true => &Capabilities { hardware: Vec::new(), ..capabilities.clone() },
            false => capabilities,
        };
        let (info, plan) = self.plan_session(info, &tags, capabilities).map_err(|error| problem::of_plan(&error))?;
        if self.awaits_keyframes(&plan, &info, capabilities) {
            self.begin_probing();
            return Ok(());
        }
        let notes = plan.notes.clone();
        let plan = self.load.fit(plan, &info, self.request.force).inspect_err(|_| {
            notes.iter().for_each(|note| tracing::info!(stream = %self.request.name, note));
        })?;
        let running = Transcoder::spawn(&self.environment.ffmpeg, &plan).map_err(|error| problem::of_spawn(&error))?;
        let mut feed = Feed::new(&info, &tags);
        feed.skip(plan.skip);
        if plan.copies() {
            feed.watch(KeyframeWatch::new(&plan, self.packager.target_duration()));
        }
        let session = Session::start(running, &plan, tags.len());
        let mut changed = None;
        for tag in tags {
            let timestamp = tag.tag.timestamp;
            match feed.push(tag, &session) {
                FeedEvent::Fed | FeedEvent::Dropped => {}
                end => {
                    changed = Some((end, timestamp));
                    break;
                }
            }
        }
        let anchor = feed.anchor().unwrap_or_else(SystemTime::now);
        self.packager.begin_session(&session_renditions(&plan), unix_time(anchor));
        self.shared.show_source(&info, &plan);
        self.show_load(&plan);
        for note in &plan.notes {
            tracing::info!(stream = %self.request.name, note);
        }
        tracing::info!(stream = %self.request.name, source = ?info, renditions = plan.renditions.len(), "transcoding");
        self.active = Some(Active::new(session, Some(feed), &plan));
        self.lost_plan = Some(plan);
        match changed {
            Some((FeedEvent::Late(late), timestamp)) => self.give_up_copying(late, timestamp, Instant::now()),
            Some(_) => self.tell_machine(Instant::now(), Input::Stop),
            None => {}
        }
        Ok(())
    }

    pub(super) fn handle_session(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Slices(rendition, events) => self.handle_slices(&rendition, events),
            SessionEvent::Progress(progress) => {
                self.shared.update_quietly(|status| status.speed = progress.speed);
                self.meter_load();
            }
            SessionEvent::Broken(rendition, error) => {
                tracing::error!(stream = %self.request.name, %rendition, %error, "FFmpeg's output makes no sense: starting it again");
            }
            SessionEvent::Over(exit) => self.handle_over(&exit),
        }
    }

    fn handle_slices(&mut self, rendition: &Arc<str>, events: Vec<SliceEvent>) {
        let mut input = Input::Output;
        if let Some(active) = &mut self.active {
            if active.silent.remove(&**rendition) && active.silent.is_empty() {
                input = Input::FirstOutput;
            }
            active.progress.handle_slices(rendition, &events);
            for event in &events {
                let SliceEvent::Segment(segment) = event else { continue };
                let end = segment.start.saturating_add(segment.duration);
                if let Some(wall) = active.feed.as_mut().and_then(|feed| feed.arrival_of(end)) {
                    self.packager.observe(segment.index, end, unix_time(wall));
                }
            }
        }
        self.packager.handle_slices(rendition, events);
        self.tell_machine(Instant::now(), input);
    }

    fn handle_over(&mut self, exit: &Exit) {
        self.packager.end_session();
        let Some(active) = self.active.take() else { return };
        let fate = classify(exit, active.silent.is_empty());
        let in_vain = active.on_hardware && !active.silent.is_empty() && !active.closing;
        if in_vain && self.request.ladder.encoder == EncoderChoice::Auto {
            // Its sessions may be used up, or its driver gone.
            self.without_hardware = true;
            tracing::warn!(stream = %self.request.name, ?fate, "the hardware encoder does not work: x264 encodes instead");
        }
        self.tell_machine(Instant::now(), Input::Exited { clean: exit.clean, fate });
    }
}

fn uses_hardware(plan: &Plan) -> bool {
    plan.renditions.iter().filter_map(|rendition| rendition.video.as_ref()).any(|video| match &video.action {
        VideoAction::Encode(settings) => matches!(settings.encoder, Encoder::Hardware(_)),
        VideoAction::Copy => false,
    })
}

pub(super) fn session_renditions(plan: &Plan) -> Vec<SessionRendition> {
    plan.renditions
        .iter()
        .map(|planned| SessionRendition {
            name: planned.name.clone(),
            codec: planned.video.as_ref().map(PlannedVideo::codec),
            bandwidth: planned.bandwidth_bound,
            average_bandwidth: planned.average_bound,
        })
        .collect()
}

pub(super) fn unix_time(time: SystemTime) -> UnixTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixTime(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
