//! Which of two sources is used: a pure state machine. It knows neither connections nor clocks; both come in as values.
//!
//! ```text
//!                 main has media                      main lost or silent, and backup has media
//!     WAITING ───────────────────▶ MAIN ────────────────────────────────────────────────────────▶ BACKUP
//!      ▲ │                         │ ▲                                                             │ │
//!      │ └── main given up, and ───│─│─────────────────────────────────────────────────────────────▶ │
//!      │     backup has media      │ └── main has held for a while, at a key frame; ◀──────────────┘ │
//!      │                           │     or backup lost or silent, and main has media                │
//!      └───── lost, and nothing from the other ◀─────────────────────────────────────────────────────┘
//! ```
//!
//! Main is given up when it ends, falls silent, or has sent nothing in its first time. A source *has media* when a decoder
//! could start with what it sent, and it still sends.
//!
//! # Driving it
//! After each [`Failover::handle_input`] and [`Failover::handle_timeout`] take all actions from
//! [`Failover::poll_action`], then sleep until [`Failover::next_timeout`] or the next input.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::source::{Side, SourceEnd};

/// How long things may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times {
    /// From the start until main is given up, and from there until nothing of backup is waited for either.
    pub first: Duration,
    /// Main sends for so long before it is used again.
    pub hold: Duration,
    /// A source that sends nothing for so long is silent.
    pub silence: Duration,
}

impl Times {
    /// Silence is told from a hiccup before the buffer of a player with ordinary latency runs dry; a source that holds
    /// has survived what brought it down.
    pub fn new(first: Duration) -> Self {
        Self { first, hold: Duration::from_secs(5), silence: Duration::from_secs(3) }
    }
}

/// What a source did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// It connected.
    Connected,
    /// It sent a picture or sound.
    Media {
        /// A decoder can start with it.
        entry: bool,
    },
    /// It is gone.
    Ended(SourceEnd),
    /// It was stopped as [`Action::StopBackup`] asked.
    Stopped,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Hand this source on, from its last entry.
    Use(Side),
    /// Neither source is there: tell how the one that was used ended.
    Lost(SourceEnd),
    /// Backup may be needed: begin to pull it.
    StartBackup,
    /// It is not needed: stop pulling it.
    StopBackup,
}

/// One source.
#[derive(Debug, Default)]
struct Condition {
    /// When what it sends without a pause began, and its newest media.
    run: Option<(Instant, Instant)>,
    /// It sent something that a decoder can start with.
    entry: bool,
    /// How it ended, until it connects again.
    end: Option<SourceEnd>,
}

impl Condition {
    fn sends(&self, now: Instant, silence: Duration) -> bool {
        self.run.is_some_and(|(_, newest)| now.saturating_duration_since(newest) < silence)
    }

    fn has_media(&self, now: Instant, silence: Duration) -> bool {
        self.entry && self.sends(now, silence)
    }
}

/// The state machine; see the module for its diagram and how it is driven.
#[derive(Debug)]
pub struct Failover {
    times: Times,
    main: Condition,
    backup: Condition,
    used: Option<Side>,
    /// Main is waited for alone until then.
    main_until: Option<Instant>,
    /// Nothing was ever used, and is not waited for longer than this.
    both_until: Option<Instant>,
    /// The used source was found silent.
    silent: bool,
    backup_started: bool,
    actions: VecDeque<Action>,
}

impl Failover {
    /// Waits for main from `now` on.
    pub fn new(now: Instant, times: Times) -> Self {
        let main_until = Some(now + times.first);
        Self {
            times,
            main: Condition::default(),
            backup: Condition::default(),
            used: None,
            main_until,
            both_until: None,
            silent: false,
            backup_started: false,
            actions: VecDeque::new(),
        }
    }

    /// The source that is handed on.
    pub fn used(&self) -> Option<Side> {
        self.used
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Failover::handle_timeout`] must be called at the latest.
    pub fn next_timeout(&self) -> Option<Instant> {
        let silence = self.used.filter(|_| !self.silent).and_then(|side| {
            let (_, newest) = self.condition(side).run?;
            Some(newest + self.times.silence)
        });
        [self.main_until, self.both_until, silence].into_iter().flatten().min()
    }

    /// A source did something.
    pub fn handle_input(&mut self, now: Instant, side: Side, input: Input) {
        let silence = self.times.silence;
        let is_used = self.used == Some(side);
        let condition = self.condition_mut(side);
        let mut main_enters = false;
        match input {
            Input::Connected | Input::Stopped => *condition = Condition::default(),
            Input::Media { entry } => {
                let since = match condition.run {
                    Some((since, _)) if condition.sends(now, silence) => since,
                    _ => now,
                };
                condition.run = Some((since, now));
                condition.entry |= entry;
                main_enters = entry && side == Side::Main;
                self.silent &= !is_used;
            }
            Input::Ended(end) => *condition = Condition { end: Some(end), ..Condition::default() },
        }
        if self.main.end.is_some() {
            self.give_main_up(now);
        }
        self.decide(now, main_enters);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.main_until.is_some_and(|until| now >= until) {
            self.give_main_up(now);
        }
        if let Some(used) = self.used {
            self.silent = !self.condition(used).sends(now, self.times.silence);
        }
        if self.both_until.is_some_and(|until| now >= until) {
            self.both_until = None;
            // A source that never came has nothing to tell.
            if let Some(end) = self.main.end.clone().or_else(|| self.backup.end.clone()) {
                self.actions.push_back(Action::Lost(end));
            }
        }
        self.decide(now, false);
    }

    /// Before anything was used: backup gets as long as main had.
    fn give_main_up(&mut self, now: Instant) {
        if self.main_until.take().is_some() {
            self.both_until = Some(now + self.times.first);
        }
    }

    fn decide(&mut self, now: Instant, main_enters: bool) {
        let silence = self.times.silence;
        let (main, backup) = (self.main.has_media(now, silence), self.backup.has_media(now, silence));
        match self.used {
            None if main => self.take(Side::Main),
            None if backup && self.main_until.is_none() => self.take(Side::Backup),
            None => self.both_refused(),
            Some(used) => {
                let other = if used == Side::Main { backup } else { main };
                let end = self.condition(used).end.clone();
                let held =
                    self.main.run.is_some_and(|(since, _)| now.saturating_duration_since(since) >= self.times.hold);
                match end {
                    _ if other && (self.silent || end.is_some()) => self.take(used.other()),
                    Some(end) => {
                        self.used = None;
                        self.actions.push_back(Action::Lost(end));
                    }
                    None if used == Side::Backup && held && main_enters => self.take(Side::Main),
                    None => {}
                }
            }
        }
        self.start_or_stop_backup();
    }

    fn take(&mut self, side: Side) {
        self.used = Some(side);
        (self.main_until, self.both_until, self.silent) = (None, None, false);
        self.actions.push_back(Action::Use(side));
    }

    /// Both ended before either was used: there is nothing to wait for.
    fn both_refused(&mut self) {
        if let (Some(_), Some(main), Some(backup)) = (self.both_until, &self.main.end, &self.backup.end) {
            self.actions.push_back(Action::Lost(together(main, backup)));
            self.both_until = None;
        }
    }

    fn start_or_stop_backup(&mut self) {
        let needed = match self.used {
            Some(Side::Main) => self.silent,
            Some(Side::Backup) => true,
            None => self.main_until.is_none(),
        };
        if needed != self.backup_started {
            self.backup_started = needed;
            self.actions.push_back(if needed { Action::StartBackup } else { Action::StopBackup });
        }
    }

    fn condition(&self, side: Side) -> &Condition {
        match side {
            Side::Main => &self.main,
            Side::Backup => &self.backup,
        }
    }

    fn condition_mut(&mut self, side: Side) -> &mut Condition {
        match side {
            Side::Main => &mut self.main,
            Side::Backup => &mut self.backup,
        }
    }
}

/// The end of main, with what backup has to add.
fn together(main: &SourceEnd, backup: &SourceEnd) -> SourceEnd {
    let added = match backup {
        SourceEnd::Clean => "it ended",
        SourceEnd::Lost(why) | SourceEnd::Unreachable(why) => why,
    };
    match main {
        SourceEnd::Clean => backup.clone(),
        SourceEnd::Lost(why) => SourceEnd::Lost(format!("{why}; and of the backup: {added}")),
        SourceEnd::Unreachable(why) => SourceEnd::Unreachable(format!("{why}; and of the backup: {added}")),
    }
}

#[cfg(test)]
#[path = "failover_tests.rs"]
mod tests;
