//! A main source and its backup as one: what [`failover`](super::failover) decides is done here.
//!
//! The livestream sees one stream of events, in which a change of source is a [`SourceEvent::Switched`]. Both sources keep
//! their last GOP, so that what follows it begins with sequence headers and a key frame.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use super::Single;
use super::backlog::Backlog;
use super::failover::{Action, Failover, Input, Times};
use super::source::{Side, SourceEvent, StampedTag, TagRole};

/// The last GOP of each source is kept up to this many bytes.
const BACKLOG_BYTES: usize = 8 << 20;

/// How the backup comes about.
pub enum BackupSource {
    /// It is listened to all the time.
    Attached(Single),
    /// It is begun when it is needed and dropped when it is not.
    OnDemand(Box<dyn Fn() -> Single + Send + Sync>),
}

/// Two sources as one.
pub struct Pair {
    main: Single,
    backup: Option<Single>,
    begin_backup: Option<Box<dyn Fn() -> Single + Send + Sync>>,
    failover: Failover,
    main_kept: Backlog,
    backup_kept: Backlog,
    /// Whom the livestream believes to listen to.
    shown: Side,
    events: VecDeque<SourceEvent>,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("failover", &self.failover).finish_non_exhaustive()
    }
}

impl Pair {
    /// Waits for `main` for `first`; after that, and whenever `main` is lost, `backup` will do.
    pub fn new(main: Single, backup: BackupSource, first: Duration) -> Self {
        let (backup, begin_backup) = match backup {
            BackupSource::Attached(single) => (Some(single), None),
            BackupSource::OnDemand(begin) => (None, Some(begin)),
        };
        let mut pair = Self {
            main,
            backup,
            begin_backup,
            failover: Failover::new(now(), Times::new(first)),
            main_kept: Backlog::new(BACKLOG_BYTES),
            backup_kept: Backlog::new(BACKLOG_BYTES),
            shown: Side::Main,
            events: VecDeque::new(),
        };
        let (main, backup) = (pair.main.take_backlog(), pair.backup.as_mut().and_then(Single::take_backlog));
        for (side, sent) in [(Side::Main, main), (Side::Backup, backup)] {
            let Some(tags) = sent else { continue };
            pair.handle(side, SourceEvent::Connected);
            tags.into_iter().for_each(|tag| pair.handle(side, SourceEvent::Tag(tag)));
        }
        pair
    }

    /// The next event. Cancel-safe.
    pub async fn recv(&mut self) -> Option<SourceEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let timer = self.failover.next_timeout();
            // Main is heard first: what it sent while nobody listened is no silence.
            tokio::select! {
                biased;
                event = self.main.recv() => self.handle(Side::Main, event?),
                Some(event) = next_of(&mut self.backup) => self.handle(Side::Backup, event),
                () = sleep_until(timer) => {
                    self.failover.handle_timeout(now());
                    self.act();
                }
            }
        }
    }

    fn handle(&mut self, side: Side, event: SourceEvent) {
        let is_used = self.failover.used() == Some(side);
        let input = match event {
            SourceEvent::Connected | SourceEvent::Switched(_) => {
                *self.kept(side) = Backlog::new(BACKLOG_BYTES);
                Input::Connected
            }
            SourceEvent::Ended(end) => {
                *self.kept(side) = Backlog::new(BACKLOG_BYTES);
                Input::Ended(end)
            }
            SourceEvent::Dropped(_) => {
                self.events.extend(is_used.then_some(event));
                return;
            }
            SourceEvent::Tag(tag) => {
                let kept = self.kept(side);
                kept.push(&tag);
                let input = match tag.role {
                    TagRole::Keyframe => Some(Input::Media { entry: true }),
                    TagRole::Sound => Some(Input::Media { entry: kept.is_sound_alone() }),
                    TagRole::Picture => Some(Input::Media { entry: false }),
                    TagRole::Metadata | TagRole::VideoHeader | TagRole::AudioHeader => None,
                };
                self.events.extend(is_used.then_some(SourceEvent::Tag(tag)));
                let Some(input) = input else { return };
                input
            }
        };
        self.failover.handle_input(now(), side, input);
        self.act();
    }

    fn act(&mut self) {
        while let Some(action) = self.failover.poll_action() {
            match action {
                Action::Use(side) => self.show(side),
                Action::Lost(end) => self.events.push_back(SourceEvent::Ended(end)),
                Action::StartBackup => {
                    if let Some(begin) = &self.begin_backup {
                        self.backup = Some(begin());
                    }
                }
                Action::StopBackup => self.stop_backup(),
            }
        }
    }

    /// A backup that is attached all the time stays so.
    fn stop_backup(&mut self) {
        if self.begin_backup.is_some() {
            self.backup = None;
            self.backup_kept = Backlog::new(BACKLOG_BYTES);
            self.failover.handle_input(now(), Side::Backup, Input::Stopped);
        }
    }

    fn show(&mut self, side: Side) {
        let changed = std::mem::replace(&mut self.shown, side) != side;
        self.events.push_back(if changed { SourceEvent::Switched(side) } else { SourceEvent::Connected });
        let replay: Vec<StampedTag> = self.kept(side).replay();
        self.events.extend(replay.into_iter().map(SourceEvent::Tag));
    }

    fn kept(&mut self, side: Side) -> &mut Backlog {
        match side {
            Side::Main => &mut self.main_kept,
            Side::Backup => &mut self.backup_kept,
        }
    }
}

async fn next_of(source: &mut Option<Single>) -> Option<SourceEvent> {
    match source {
        Some(source) => source.recv().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(timer: Option<Instant>) {
    match timer {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// The clock of the runtime, so that tests can turn it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
#[path = "pair_tests.rs"]
mod tests;
