//! Every way from one source to the other, in virtual time.

use super::*;

const FIRST: Duration = Duration::from_secs(60);

/// Both sources and a clock that a test turns.
struct Bench {
    failover: Failover,
    start: Instant,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let start = Instant::now();
        Self { failover: Failover::new(start, Times::new(FIRST)), start, now: start }
    }

    fn input(&mut self, side: Side, input: Input) -> Vec<Action> {
        self.failover.handle_input(self.now, side, input);
        self.actions()
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.failover.poll_action()).collect()
    }

    /// A key frame.
    fn key(&mut self, side: Side) -> Vec<Action> {
        self.input(side, Input::Media { entry: true })
    }

    fn lost(&mut self, side: Side) -> Vec<Action> {
        self.input(side, Input::Ended(gone("cable")))
    }

    /// Lets time pass, with a picture every 100 ms from each of `sending` and the timers that come due.
    fn pass(&mut self, time: Duration, sending: &[Side]) -> Vec<Action> {
        let mut actions = Vec::new();
        let until = self.now + time;
        while self.now < until {
            self.now += Duration::from_millis(100);
            while self.failover.next_timeout().is_some_and(|at| at <= self.now) {
                self.failover.handle_timeout(self.now);
                actions.extend(self.actions());
            }
            for side in sending {
                actions.extend(self.input(*side, Input::Media { entry: false }));
            }
        }
        actions
    }

    fn seconds(&self) -> u64 {
        self.now.duration_since(self.start).as_secs()
    }
}

fn gone(why: &str) -> SourceEnd {
    SourceEnd::Lost(why.into())
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

use Side::{Backup, Main};

/// Main is used, and both send.
fn on_main() -> Bench {
    let mut bench = Bench::new();
    bench.key(Backup);
    assert_eq!(bench.key(Main), [Action::Use(Main)]);
    bench
}

/// Main was lost, and backup is used.
fn on_backup() -> Bench {
    let mut bench = on_main();
    assert_eq!(bench.lost(Main), [Action::Use(Backup), Action::StartBackup]);
    bench
}

#[test]
fn main_wins_when_both_are_there_at_the_start() {
    let mut bench = Bench::new();
    assert_eq!(bench.key(Backup), []);
    assert_eq!(bench.pass(secs(5), &[Backup]), []);
    assert_eq!(bench.key(Main), [Action::Use(Main)]);
    assert_eq!(bench.pass(secs(100), &[Main, Backup]), []);
}

#[test]
fn sound_and_pictures_without_an_entry_are_no_media_yet() {
    let mut bench = Bench::new();
    assert_eq!(bench.input(Main, Input::Connected), []);
    assert_eq!(bench.pass(secs(2), &[Main]), []);
    assert_eq!(bench.key(Main), [Action::Use(Main)]);
}

#[test]
fn backup_is_used_when_nothing_came_from_main_in_its_time() {
    let mut bench = Bench::new();
    bench.key(Backup);
    assert_eq!(bench.pass(secs(59), &[Backup]), []);
    assert_eq!(bench.pass(secs(1), &[Backup]), [Action::Use(Backup), Action::StartBackup]);
    assert_eq!(bench.seconds(), 60);
}

#[test]
fn a_main_that_cannot_be_reached_has_backup_started_at_once() {
    let mut bench = Bench::new();
    let unreachable = SourceEnd::Unreachable("refused".into());
    assert_eq!(bench.input(Main, Input::Ended(unreachable)), [Action::StartBackup]);
    assert_eq!(bench.key(Backup), [Action::Use(Backup)]);
}

#[test]
fn when_neither_can_be_reached_both_reasons_are_told_once() {
    let mut bench = Bench::new();
    bench.input(Main, Input::Ended(SourceEnd::Unreachable("refused".into())));
    let told = bench.input(Backup, Input::Ended(SourceEnd::Unreachable("no such host".into())));
    let both = SourceEnd::Unreachable("refused; and of the backup: no such host".into());
    assert_eq!(told, [Action::Lost(both)]);
    assert_eq!(bench.input(Backup, Input::Ended(SourceEnd::Unreachable("no such host".into()))), []);
    assert_eq!(bench.pass(secs(200), &[]), []);
}

#[test]
fn a_main_that_cannot_be_reached_is_told_of_when_backup_never_comes() {
    let mut bench = Bench::new();
    let unreachable = SourceEnd::Unreachable("refused".into());
    bench.input(Main, Input::Ended(unreachable.clone()));
    assert_eq!(bench.pass(secs(59), &[]), []);
    assert_eq!(bench.pass(secs(2), &[]), [Action::Lost(unreachable)]);
}

#[test]
fn main_lost_is_backup_used_and_nothing_is_told_of_a_loss() {
    on_backup();
    let mut bench = on_main();
    assert_eq!(bench.input(Main, Input::Ended(SourceEnd::Clean)), [Action::Use(Backup), Action::StartBackup]);
}

#[test]
fn a_backup_that_has_to_be_fetched_is_used_as_soon_as_it_has_media() {
    let mut bench = Bench::new();
    bench.key(Main);
    assert_eq!(bench.lost(Main), [Action::Lost(gone("cable")), Action::StartBackup]);
    assert_eq!(bench.input(Backup, Input::Connected), []);
    assert_eq!(bench.key(Backup), [Action::Use(Backup)]);
}

#[test]
fn main_back_before_backup_came_is_used_at_once() {
    let mut bench = Bench::new();
    bench.key(Main);
    bench.lost(Main);
    bench.input(Main, Input::Connected);
    assert_eq!(bench.key(Main), [Action::Use(Main), Action::StopBackup]);
}

#[test]
fn a_silent_main_is_left_after_three_seconds() {
    let mut bench = on_main();
    bench.pass(secs(10), &[Main, Backup]);
    assert_eq!(bench.pass(Duration::from_millis(2900), &[Backup]), []);
    assert_eq!(bench.pass(secs(1), &[Backup]), [Action::Use(Backup), Action::StartBackup]);
}

#[test]
fn a_silent_main_is_kept_while_backup_is_fetched_and_forgiven_when_it_goes_on() {
    let mut bench = Bench::new();
    bench.key(Main);
    assert_eq!(bench.pass(secs(20), &[]), [Action::StartBackup]);
    assert_eq!(bench.failover.used(), Some(Main));
    assert_eq!(bench.input(Main, Input::Media { entry: false }), [Action::StopBackup]);
}

#[test]
fn main_is_used_again_at_a_key_frame_once_it_has_held_for_five_seconds() {
    let mut bench = on_backup();
    bench.pass(secs(20), &[Backup]);
    bench.input(Main, Input::Connected);
    assert_eq!(bench.key(Main), []);
    bench.pass(secs(4), &[Main, Backup]);
    assert_eq!(bench.key(Main), [], "too early");
    bench.pass(secs(3), &[Main, Backup]);
    assert_eq!(bench.key(Main), [Action::Use(Main), Action::StopBackup]);
}

#[test]
fn a_main_that_comes_and_goes_is_not_used() {
    let mut bench = on_backup();
    for _ in 0..5 {
        bench.input(Main, Input::Connected);
        bench.key(Main);
        bench.pass(secs(4), &[Main, Backup]);
        assert_eq!(bench.lost(Main), []);
        bench.pass(secs(1), &[Backup]);
    }
    // One that stops sending for a while begins anew as well.
    bench.input(Main, Input::Connected);
    bench.key(Main);
    bench.pass(secs(4), &[Main, Backup]);
    bench.pass(secs(4), &[Backup]);
    bench.pass(secs(4), &[Main, Backup]);
    assert_eq!(bench.key(Main), []);
}

#[test]
fn backup_lost_while_main_is_not_yet_trusted_is_main_used_all_the_same() {
    let mut bench = on_backup();
    bench.input(Main, Input::Connected);
    bench.key(Main);
    bench.pass(secs(1), &[Main, Backup]);
    assert_eq!(bench.lost(Backup), [Action::Use(Main), Action::StopBackup]);
}

#[test]
fn both_lost_is_one_lost_source_and_whichever_comes_first_is_used() {
    let mut bench = on_backup();
    assert_eq!(bench.lost(Backup), [Action::Lost(gone("cable"))]);
    assert_eq!(bench.lost(Main), []);
    bench.pass(secs(5), &[]);
    bench.input(Backup, Input::Connected);
    assert_eq!(bench.key(Backup), [Action::Use(Backup)]);
}
