//! The slate's side of a livestream: what plays between a source that was lost and its return.
//!
//! It is a session like any other, run by the same supervisor, whose FFmpeg makes its own input from the plan of the
//! session that was lost. The livestream stays `interrupted`, and its deadline holds.

use std::time::{Duration, Instant, SystemTime};

use super::supervise::{Active, session_renditions, unix_time};
use super::{Task, problem};
use crate::ladder;
use crate::livestream::session::Session;
use crate::livestream::types::Problem;
use crate::transcode::{Event, Input, Transcoder};

/// How often the supervisor is told that the slate's input flows, which FFmpeg makes itself.
pub(super) const TICK: Duration = Duration::from_millis(500);

impl Task {
    /// Begins the slate, if one is to be shown now.
    pub(super) fn begin_slate(&mut self) {
        let lost = self.last_end.is_some() && !self.ended_in_order;
        let waits = !self.source_present && self.deadline.is_some_and(|at| Instant::now() < at);
        let wanted = self.environment.slate.is_some() && self.has_been_live && self.lost_plan.is_some();
        let idle = self.machine.is_none() && self.active.is_none() && self.failure.is_none();
        if lost && waits && wanted && idle && !self.slate_broken {
            tracing::info!(stream = %self.request.name, "the slate is shown until the source is back");
            self.plays_slate = true;
            self.begin_machine();
        }
    }

    pub(super) fn start_slate(&mut self) {
        let started = self.start_slate_session();
        match started {
            Ok(()) => self.tell_machine(Instant::now(), Input::Spawned),
            Err(problem) => {
                self.give_slate_up(&problem.message);
                (self.machine, self.plays_slate) = (None, false);
            }
        }
    }

    fn start_slate_session(&mut self) -> Result<(), Problem> {
        let (Some(capabilities), Some(slate), Some(lost)) =
            (self.environment.capabilities.get(), &self.environment.slate, &self.lost_plan)
        else {
            return Err(problem::no_ffmpeg());
        };
        let plan = ladder::slate_plan(lost, &self.request.ladder, capabilities);
        let plan = plan.map_err(|error| problem::of_plan(&error))?;
        let running = Transcoder::spawn_slate(&self.environment.ffmpeg, &plan, slate);
        let running = running.map_err(|error| problem::of_spawn(&error))?;
        let session = Session::start(running, &plan, 0);
        self.packager.begin_session(&session_renditions(&plan), unix_time(SystemTime::now()));
        self.active = Some(Active::new(session, None, &plan));
        Ok(())
    }

    /// Time passes while the slate plays: its deadline is the source's.
    pub(super) fn tick_slate(&mut self, now: Instant) {
        if self.plays_slate {
            let over = self.deadline.is_some_and(|at| now >= at);
            self.tell_machine(now, if over { Input::Stop } else { Input::InputFlowing });
        }
    }

    /// The source sends again: the slate ends as soon as something can take its place.
    pub(super) fn leave_slate(&mut self) {
        if self.backlog.has_media() || self.active.is_none() {
            self.tell_machine(Instant::now(), Input::Stop);
        }
    }

    /// What the supervisor has to say of the slate. The livestream waits on, whatever becomes of it.
    pub(super) fn handle_slate_notice(&mut self, event: Event) {
        match event {
            Event::Running | Event::Ended { .. } => {}
            Event::Stalled { .. } => {
                tracing::error!(stream = %self.request.name, "FFmpeg does not go on with the slate: killing it");
            }
            Event::Restarting { reason, .. } => {
                tracing::error!(stream = %self.request.name, reason, "starting the slate again");
            }
            Event::Failed { reason } => self.give_slate_up(&reason),
        }
    }

    fn give_slate_up(&mut self, reason: &str) {
        tracing::error!(stream = %self.request.name, reason, "the slate cannot be shown: nothing is until the source is back");
        self.slate_broken = true;
    }
}
