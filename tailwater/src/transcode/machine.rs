//! The supervisor of one FFmpeg: a pure state machine. It knows neither processes nor clocks; both come in as values.
//!
//! ```text
//!                     Spawned, then FirstOutput
//!     new ──Spawn──▶ STARTING ───────────────────▶ RUNNING ◀─┐ Output, InputFlowing
//!                     │   ▲ │                       │    └───┘ Healthy: earlier failures forgotten
//!       Startup (kill)│   │ │Exited, SpawnFailed    │ Stall (kill)   │Exited
//!                     ▼   │ ▼                       ▼                │
//!                 STALLED │ │                    STALLED             │
//!                     │   │ │                       │                │
//!                     │   │ └────▶ BACKING OFF ◀────┘◀───────────────┘
//!                     └───┼─Exited──▶   │
//!                         └───Backoff───┘
//!
//!     any of these ──Stop, SourceGone──▶ DRAINING ──Exited──▶ ENDED      (BACKING OFF goes to ENDED at once)
//!                                        Grace: SIGTERM, Kill: SIGKILL
//!     STARTING ──Exited or SpawnFailed that can never work──▶ FAILED
//! ```
//!
//! # Driving it
//! After each [`Machine::handle_input`] and [`Machine::handle_timeout`] take all actions from [`Machine::poll_action`],
//! then sleep until [`Machine::next_timeout`] or the next input.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::fate::Fate;
use super::timers::{Timer, Timers};

/// How long things may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times {
    /// From the first input to the first output.
    pub startup: Duration,
    /// Without output while input flows.
    pub stall: Duration,
    /// Input counts as flowing for this long after the last of it.
    pub flowing: Duration,
    /// From the end of input to SIGTERM.
    pub grace: Duration,
    /// From SIGTERM to SIGKILL.
    pub kill: Duration,
    /// Running for this long forgets earlier failures.
    pub healthy: Duration,
    /// First pause before a new attempt; doubled each time.
    pub backoff: Duration,
    /// Longest pause.
    pub backoff_max: Duration,
}

impl Default for Times {
    /// A stall is seen before the live window of a player with ordinary latency runs dry; a drain and its signals stay
    /// within the two seconds a livestream may take to end.
    fn default() -> Self {
        Self {
            startup: Duration::from_secs(10),
            stall: Duration::from_secs(4),
            flowing: Duration::from_secs(1),
            grace: Duration::from_millis(1200),
            kill: Duration::from_millis(400),
            healthy: Duration::from_secs(30),
            backoff: Duration::from_millis(200),
            backoff_max: Duration::from_secs(10),
        }
    }
}

/// Where the supervisor is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// FFmpeg is being started or has not put out anything yet.
    Starting,
    /// Media comes out.
    Running,
    /// Nothing came out for too long: it was killed, and its end is awaited.
    Stalled {
        /// It never put out anything.
        at_start: bool,
    },
    /// Waits before the next attempt.
    BackingOff,
    /// No more input: its last media and its end are awaited.
    Draining,
    /// It ended as it was asked to.
    Ended,
    /// It can never work.
    Failed {
        /// Why, for people.
        reason: String,
    },
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// [`Action::Spawn`] was done.
    Spawned,
    /// [`Action::Spawn`] was not possible.
    SpawnFailed(Fate),
    /// Every rendition has put out something.
    FirstOutput,
    /// Some rendition has put out something.
    Output,
    /// The source delivered media, whether or not FFmpeg has taken it: a hung FFmpeg takes none.
    InputFlowing,
    /// FFmpeg is gone, judged by [`super::fate::classify`].
    Exited {
        /// It flushed everything first.
        clean: bool,
        /// What its end means, were it not asked for.
        fate: Fate,
    },
    /// The owner ends the session.
    Stop,
    /// The source has ended or is lost.
    SourceGone,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start FFmpeg; answer with [`Input::Spawned`] or [`Input::SpawnFailed`].
    Spawn,
    /// Close its input once what is queued has been written.
    CloseStdin,
    /// Signal its process group.
    Signal(Signal),
    /// Tell whoever wants to know.
    Notify(Event),
}

/// The signals used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Finish what you have.
    Term,
    /// Die.
    Kill,
}

/// What others want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// All renditions have media.
    Running,
    /// Nothing came out for too long; FFmpeg is killed.
    Stalled {
        /// It never put out anything.
        at_start: bool,
    },
    /// A new attempt will be made. What comes after it follows a discontinuity.
    Restarting {
        /// Counted from 1 since it last ran well.
        attempt: u32,
        /// The pause before it.
        pause: Duration,
        /// Why, for people.
        reason: String,
    },
    /// It ended as it was asked to.
    Ended {
        /// What came out of the pipes is whole.
        clean: bool,
    },
    /// It can never work.
    Failed {
        /// Why, for people.
        reason: String,
    },
}

/// The supervisor; see the module for its diagram and how it is driven.
#[derive(Debug)]
pub struct Machine {
    times: Times,
    random: fastrand::Rng,
    state: State,
    timers: Timers,
    actions: VecDeque<Action>,
    /// A process is there or about to be.
    alive: bool,
    /// Failed attempts since it last ran well.
    failures: u32,
    last_input: Option<Instant>,
}

impl Machine {
    /// A supervisor whose first action is [`Action::Spawn`]. `random` spreads the pauses of many supervisors whose
    /// FFmpegs died of one cause.
    pub fn new(times: Times, random: fastrand::Rng) -> Self {
        let mut machine = Self {
            times,
            random,
            state: State::Starting,
            timers: Timers::default(),
            actions: VecDeque::new(),
            alive: false,
            failures: 0,
            last_input: None,
        };
        machine.spawn();
        machine
    }

    /// Where it is.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Nothing will ever happen again.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Ended | State::Failed { .. })
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Machine::handle_timeout`] must be called at the latest.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Something happened.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Spawned => {}
            Input::SpawnFailed(fate) => self.exited(now, false, fate),
            Input::FirstOutput => self.first_output(now),
            Input::Output => self.timers.clear(Timer::Stall),
            Input::InputFlowing => self.input_flowing(now),
            Input::Exited { clean, fate } => self.exited(now, clean, fate),
            Input::Stop | Input::SourceGone => self.drain(now),
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.expire(now) {
            match (timer, &self.state) {
                (Timer::Startup, State::Starting) => self.stalled(true),
                (Timer::Stall, State::Running) if self.input_flows(now) => self.stalled(false),
                (Timer::Backoff, State::BackingOff) => {
                    self.state = State::Starting;
                    self.spawn();
                }
                (Timer::Healthy, State::Running) => self.failures = 0,
                (Timer::Grace, State::Draining) => {
                    self.actions.push_back(Action::Signal(Signal::Term));
                    self.timers.set(Timer::Kill, now + self.times.kill);
                }
                (Timer::Kill, State::Draining) => self.actions.push_back(Action::Signal(Signal::Kill)),
                // A deadline of a state that was left.
                _ => {}
            }
        }
    }

    fn spawn(&mut self) {
        self.alive = true;
        self.last_input = None;
        self.actions.push_back(Action::Spawn);
    }

    fn first_output(&mut self, now: Instant) {
        if self.state == State::Starting {
            self.state = State::Running;
            self.timers.clear_all();
            self.timers.set(Timer::Healthy, now + self.times.healthy);
            self.actions.push_back(Action::Notify(Event::Running));
        }
    }

    /// Both deadlines run only from input on: without a source FFmpeg has every right to be silent.
    fn input_flowing(&mut self, now: Instant) {
        self.last_input = Some(now);
        let (timer, time) = match self.state {
            State::Starting => (Timer::Startup, self.times.startup),
            State::Running => (Timer::Stall, self.times.stall),
            _ => return,
        };
        if !self.timers.is_set(timer) {
            self.timers.set(timer, now + time);
        }
    }

    fn input_flows(&self, now: Instant) -> bool {
        self.last_input.is_some_and(|last| now.duration_since(last) <= self.times.flowing)
    }

    fn stalled(&mut self, at_start: bool) {
        self.state = State::Stalled { at_start };
        self.timers.clear_all();
        // What hangs does not listen to SIGTERM, and a stopped process (SIGSTOP) gets only this one.
        self.actions.push_back(Action::Signal(Signal::Kill));
        self.actions.push_back(Action::Notify(Event::Stalled { at_start }));
    }

    fn exited(&mut self, now: Instant, clean: bool, fate: Fate) {
        self.alive = false;
        match (&self.state, fate) {
            (State::Ended | State::Failed { .. }, _) => {}
            (State::Draining, _) => self.ended(clean),
            (State::Stalled { at_start }, _) => {
                let reason = match at_start {
                    true => format!("FFmpeg put out nothing in its first {} s", self.times.startup.as_secs()),
                    false => format!("FFmpeg put out nothing for {} s", self.times.stall.as_secs()),
                };
                self.back_off(now, reason);
            }
            (_, Fate::Final { reason }) => {
                self.timers.clear_all();
                self.state = State::Failed { reason: reason.clone() };
                self.actions.push_back(Action::Notify(Event::Failed { reason }));
            }
            (_, Fate::Retry { reason }) => self.back_off(now, reason),
        }
    }

    fn back_off(&mut self, now: Instant, reason: String) {
        self.failures = self.failures.saturating_add(1);
        let pause = backoff(&self.times, self.failures, self.random.f64());
        self.state = State::BackingOff;
        self.timers.clear_all();
        self.timers.set(Timer::Backoff, now + pause);
        self.actions.push_back(Action::Notify(Event::Restarting { attempt: self.failures, pause, reason }));
    }

    fn drain(&mut self, now: Instant) {
        match self.state {
            State::Ended | State::Failed { .. } | State::Draining => {}
            _ if !self.alive => self.ended(true),
            State::Stalled { .. } => {
                // It is being killed already: only its end is awaited.
                self.state = State::Draining;
                self.timers.clear_all();
            }
            _ => {
                self.state = State::Draining;
                self.timers.clear_all();
                self.timers.set(Timer::Grace, now + self.times.grace);
                self.actions.push_back(Action::CloseStdin);
            }
        }
    }

    fn ended(&mut self, clean: bool) {
        self.state = State::Ended;
        self.timers.clear_all();
        self.actions.push_back(Action::Notify(Event::Ended { clean }));
    }
}

/// The pause before attempt `failures`: doubled each time up to the longest, of which a random half is taken off.
fn backoff(times: &Times, failures: u32, random: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let full = times.backoff.saturating_mul(1 << doublings).min(times.backoff_max);
    full.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
