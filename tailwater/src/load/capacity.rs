//! What the livestreams of one machine share: its speed, what each of them takes, and turns to change.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use sysinfo::System;

use super::admission::{Admission, judge};
use super::watch::Times;

/// The use of the processors is looked at this often at most; oftener it would mean nothing.
const USE_EVERY: Duration = Duration::from_secs(5);
/// What livestreams that shed one after the other leave the first time to show.
const BETWEEN_SHEDS: Duration = Duration::from_secs(5);

/// What is configured about load.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadSettings {
    /// Judge whether a livestream fits before it is started.
    pub admission: bool,
    /// Do with less while the machine does not keep up.
    pub shed: bool,
    /// Of the machine's cores, how much livestreams may be predicted to take.
    pub max_load: f64,
    /// How many times slower this machine is than the one of the figures; measured when it is not given.
    pub slowness: Option<f64>,
    /// When to shed and to climb.
    pub times: Times,
}

impl Default for LoadSettings {
    fn default() -> Self {
        Self { admission: true, shed: true, max_load: 0.9, slowness: None, times: Times::default() }
    }
}

/// See the module. One for a process.
#[derive(Debug)]
pub struct Capacity {
    settings: LoadSettings,
    cores: usize,
    slowness: OnceLock<f64>,
    running: Mutex<BTreeMap<u64, Running>>,
    next: AtomicU64,
    turns: Mutex<Turns>,
    processors: Mutex<Processors>,
}

/// What a livestream takes, in cores of the machine of the figures.
#[derive(Debug, Clone, Copy, Default)]
struct Running {
    work: f64,
    level: usize,
}

#[derive(Debug, Default)]
struct Turns {
    shed: Option<Instant>,
    changed: Option<Instant>,
}

#[derive(Debug)]
struct Processors {
    /// None where this system cannot be asked.
    system: Option<System>,
    asked: Option<Instant>,
    /// Cores that did nothing between the last two looks.
    idle: Option<f64>,
}

/// A livestream's place among those that run. Dropping it gives the place up.
#[derive(Debug)]
pub struct Place {
    capacity: Arc<Capacity>,
    id: u64,
}

impl Capacity {
    /// A machine of so many cores on which nothing runs.
    pub fn new(settings: LoadSettings, cores: usize) -> Arc<Self> {
        let slowness = settings.slowness.map_or_else(OnceLock::new, OnceLock::from);
        let processors = Processors { system: System::new().ok(), asked: None, idle: None };
        Arc::new(Self {
            settings,
            cores,
            slowness,
            running: Mutex::default(),
            next: AtomicU64::new(0),
            turns: Mutex::default(),
            processors: Mutex::new(processors),
        })
    }

    /// What is configured.
    pub fn settings(&self) -> &LoadSettings {
        &self.settings
    }

    /// Cores of the machine.
    pub fn cores(&self) -> usize {
        self.cores
    }

    /// How many times slower this machine is than the one of the figures, once that is known.
    pub fn slowness(&self) -> Option<f64> {
        self.slowness.get().copied()
    }

    /// Finds out how fast this machine is, unless that is configured. Takes a second or two of one core, after everything else.
    pub async fn calibrate(&self, ffmpeg: &Path) {
        if !(self.settings.admission || self.settings.shed) || self.slowness.get().is_some() {
            return;
        }
        match super::calibrate::slowness(ffmpeg, true).await {
            Ok(slowness) => {
                tracing::info!(
                    slowness = format!("{slowness:.2}"),
                    cores = self.cores,
                    "the speed of this machine is known"
                );
                let _ = self.slowness.set(slowness);
            }
            Err(error) => tracing::warn!(error, "the speed of this machine is not known: every livestream is let in"),
        }
    }

    /// A place for a livestream that is about to run.
    pub fn place(self: &Arc<Self>) -> Place {
        Place { capacity: Arc::clone(self), id: self.next.fetch_add(1, Ordering::Relaxed) }
    }

    /// Whether a livestream that runs does with less than was asked for.
    pub fn is_shedding(&self) -> bool {
        self.lock().values().any(|running| running.level > 0)
    }

    /// Cores that livestreams may be predicted to take, all together.
    pub fn room(&self) -> f64 {
        self.cores as f64 * self.settings.max_load
    }

    /// Whether one more livestream may shed now. One after the other: the first one's relief may be enough for all.
    pub fn take_turn_to_shed(&self, now: Instant) -> bool {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.shed.is_some_and(|at| now.duration_since(at) < BETWEEN_SHEDS.min(self.settings.times.pause)) {
            return false;
        }
        turns.shed = Some(now);
        turns.changed = Some(now);
        true
    }

    /// Whether a livestream may climb now: what another one has just taken or given up must show first.
    pub fn take_turn_to_climb(&self, now: Instant) -> bool {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.changed.is_some_and(|at| now.duration_since(at) < self.settings.times.pause) {
            return false;
        }
        turns.changed = Some(now);
        true
    }

    /// Whether so many cores of work more would find idle ones. In a container with a share of the machine the processors' use
    /// tells little: there a climb is tried, and taken back when it was too much.
    pub fn has_idle(&self, now: Instant, work: f64) -> bool {
        let mut processors = self.processors.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = processors.idle(now);
        idle.is_some_and(|idle| idle >= work * self.slowness().unwrap_or(1.0))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Processors {
    /// Cores that did nothing lately. None before there is a second look.
    fn idle(&mut self, now: Instant) -> Option<f64> {
        let Some(system) = &mut self.system else { return Some(f64::INFINITY) };
        if self.asked.is_none_or(|at| now.duration_since(at) >= USE_EVERY) {
            let first = self.asked.replace(now).is_none();
            system.refresh_cpu_usage();
            let used = f64::from(system.global_cpu_usage()) / 100.0;
            self.idle = (!first).then(|| (1.0 - used) * system.cpus().len() as f64);
        }
        self.idle
    }
}

impl Place {
    /// Judges a livestream that takes `levels` of work, whole first. While the machine's speed is not known, all fit.
    pub fn admit(&self, levels: &[f64]) -> Admission {
        let mut running = self.capacity.lock();
        let admission = self.judge_beside(&running, levels);
        if let Admission::At { level } = admission {
            // Counted at once: another that is judged now sees it.
            running.insert(self.id, Running { work: levels[level], level });
        }
        admission
    }

    /// The same, of what is only thought of.
    pub fn judge(&self, levels: &[f64]) -> Admission {
        self.judge_beside(&self.capacity.lock(), levels)
    }

    fn judge_beside(&self, running: &BTreeMap<u64, Running>, levels: &[f64]) -> Admission {
        let capacity = &self.capacity;
        let Some(slowness) = capacity.slowness().filter(|_| capacity.settings.admission) else {
            return Admission::At { level: 0 };
        };
        let others: f64 = running.iter().filter(|(id, _)| **id != self.id).map(|(_, running)| running.work).sum();
        let cores: Vec<f64> = levels.iter().map(|work| work * slowness).collect();
        judge(&cores, others * slowness, capacity.room())
    }

    /// The livestream runs with so much work, at that level.
    pub fn take(&self, work: f64, level: usize) {
        self.capacity.lock().insert(self.id, Running { work, level });
    }

    /// It does not run at the moment.
    pub fn leave(&self) {
        self.capacity.lock().remove(&self.id);
    }

    /// Cores that are left to this livestream, by prediction.
    pub fn room(&self) -> f64 {
        let slowness = self.capacity.slowness().unwrap_or(1.0);
        let running = self.capacity.lock();
        let others: f64 = running.iter().filter(|(id, _)| **id != self.id).map(|(_, running)| running.work).sum();
        (self.capacity.room() - others * slowness).max(0.0)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(cores: usize, slowness: Option<f64>) -> Arc<Capacity> {
        Capacity::new(LoadSettings { slowness, max_load: 1.0, ..LoadSettings::default() }, cores)
    }

    #[test]
    fn what_runs_counts_against_what_comes_until_it_is_gone() {
        let capacity = machine(2, Some(1.0));
        let (first, second, third) = (capacity.place(), capacity.place(), capacity.place());
        let levels = [1.2, 0.7, 0.4];
        assert_eq!(first.admit(&levels), Admission::At { level: 0 });
        assert!(!capacity.is_shedding());
        assert_eq!(second.admit(&levels), Admission::At { level: 1 });
        assert!(capacity.is_shedding());
        assert!(matches!(third.admit(&levels), Admission::Refused(_)));
        drop(second);
        assert!(!capacity.is_shedding());
        assert!((third.room() - 0.8).abs() < 1e-9);
        first.leave();
        assert_eq!(third.admit(&levels), Admission::At { level: 0 });
    }

    #[test]
    fn a_slower_machine_takes_less() {
        let levels = [1.2, 0.7, 0.4];
        assert_eq!(machine(2, Some(2.0)).place().admit(&levels), Admission::At { level: 1 });
        assert!(matches!(machine(2, Some(6.0)).place().admit(&levels), Admission::Refused(_)));
    }

    #[test]
    fn while_the_speed_is_not_known_or_admission_is_off_all_are_let_in() {
        assert_eq!(machine(1, None).place().admit(&[50.0]), Admission::At { level: 0 });
        let settings = LoadSettings { admission: false, slowness: Some(1.0), ..LoadSettings::default() };
        assert_eq!(Capacity::new(settings, 1).place().admit(&[50.0]), Admission::At { level: 0 });
    }

    #[test]
    fn livestreams_change_one_after_the_other() {
        let capacity = machine(2, Some(1.0));
        let now = Instant::now();
        assert!(capacity.take_turn_to_shed(now));
        assert!(!capacity.take_turn_to_shed(now + Duration::from_secs(4)));
        assert!(capacity.take_turn_to_shed(now + Duration::from_secs(5)));
        assert!(!capacity.take_turn_to_climb(now + Duration::from_secs(64)));
        assert!(capacity.take_turn_to_climb(now + Duration::from_secs(65)));
        assert!(!capacity.take_turn_to_climb(now + Duration::from_secs(124)));
        assert!(capacity.take_turn_to_shed(now + Duration::from_secs(70)), "relief does not wait for a climb");
    }
}
