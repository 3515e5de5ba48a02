//! Every transition of the supervisor, in virtual time.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

/// A supervisor and its clock.
struct Bench {
    machine: Machine,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self { machine: Machine::new(Times::default(), fastrand::Rng::with_seed(1)), now: Instant::now() }
    }

    /// Spawned, fed, and putting out media.
    fn running() -> Self {
        let mut bench = Self::new();
        assert_eq!(bench.actions(), [Action::Spawn]);
        bench.input(Input::Spawned).input(Input::InputFlowing).input(Input::FirstOutput);
        assert_eq!(bench.actions(), [Action::Notify(Event::Running)]);
        bench
    }

    fn input(&mut self, input: Input) -> &mut Self {
        self.machine.handle_input(self.now, input);
        self
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.machine.poll_action()).collect()
    }

    /// Lets time pass, deadline by deadline.
    fn pass(&mut self, time: Duration) -> &mut Self {
        let end = self.now + time;
        while let Some(at) = self.machine.next_timeout().filter(|at| *at <= end) {
            self.now = at;
            self.machine.handle_timeout(at);
        }
        self.now = end;
        self
    }

    /// As [`Bench::pass`], with media delivered ten times a second.
    fn pass_with_input(&mut self, time: Duration) -> &mut Self {
        for _ in 0..time.as_millis() / 100 {
            self.input(Input::InputFlowing).pass(Duration::from_millis(100));
        }
        self
    }

    fn state(&self) -> &State {
        self.machine.state()
    }
}

fn crashed() -> Input {
    Input::Exited { clean: false, fate: Fate::Retry { reason: "crashed".into() } }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn restarting(actions: &[Action]) -> Option<(u32, Duration, String)> {
    actions.iter().find_map(|action| match action {
        Action::Notify(Event::Restarting { attempt, pause, reason }) => Some((*attempt, *pause, reason.clone())),
        _ => None,
    })
}

#[test]
fn the_first_output_of_all_renditions_makes_it_run() {
    let bench = Bench::running();
    assert_eq!(bench.state(), &State::Running);
}

#[test]
fn without_input_it_may_be_silent_for_ever() {
    let mut bench = Bench::new();
    bench.actions();
    bench.input(Input::Spawned).pass(seconds(3600));
    assert_eq!(bench.state(), &State::Starting);
    assert_eq!(bench.actions(), []);
}

#[test]
fn a_start_that_takes_too_long_is_killed_and_tried_again() {
    let mut bench = Bench::new();
    bench.actions();
    bench.input(Input::Spawned).input(Input::InputFlowing).pass(seconds(10));
    assert_eq!(bench.state(), &State::Stalled { at_start: true });
    let expected = [Action::Signal(Signal::Kill), Action::Notify(Event::Stalled { at_start: true })];
    assert_eq!(bench.actions(), expected);
    bench.input(crashed());
    assert_eq!(bench.state(), &State::BackingOff);
    let (attempt, _, reason) = restarting(&bench.actions()).unwrap();
    assert_eq!((attempt, reason.as_str()), (1, "FFmpeg put out nothing in its first 10 s"));
    bench.pass(seconds(1));
    assert_eq!(bench.actions(), [Action::Spawn]);
    assert_eq!(bench.state(), &State::Starting);
}

#[test]
fn no_output_while_input_flows_is_a_stall() {
    let mut bench = Bench::running();
    bench.pass_with_input(seconds(5));
    assert_eq!(bench.state(), &State::Stalled { at_start: false });
    let expected = [Action::Signal(Signal::Kill), Action::Notify(Event::Stalled { at_start: false })];
    assert_eq!(bench.actions(), expected);
    bench.input(crashed());
    let (_, _, reason) = restarting(&bench.actions()).unwrap();
    assert_eq!(reason, "FFmpeg put out nothing for 4 s");
}

#[test]
fn no_output_while_no_input_flows_is_none() {
    let mut bench = Bench::running();
    bench.input(Input::InputFlowing).pass(seconds(60));
    assert_eq!(bench.state(), &State::Running);
    // Input that comes back gets the whole time again.
    bench.pass_with_input(seconds(3)).input(Input::Output).pass_with_input(seconds(3));
    assert_eq!(bench.state(), &State::Running);
}

#[test]
fn output_in_time_puts_the_stall_off() {
    let mut bench = Bench::running();
    for _ in 0..30 {
        bench.pass_with_input(seconds(3)).input(Input::Output);
    }
    assert_eq!(bench.state(), &State::Running);
    assert_eq!(bench.actions(), []);
}

#[test]
fn a_crash_is_retried_after_a_pause_that_doubles_up_to_a_cap() {
    let mut bench = Bench::running();
    let mut pauses = Vec::new();
    for attempt in 1..=12 {
        bench.input(crashed());
        assert_eq!(bench.state(), &State::BackingOff);
        let (counted, pause, reason) = restarting(&bench.actions()).unwrap();
        assert_eq!((counted, reason.as_str()), (attempt, "crashed"));
        pauses.push(pause);
        bench.pass(pause - Duration::from_millis(1));
        assert_eq!(bench.actions(), [], "not before its time");
        bench.pass(Duration::from_millis(1));
        assert_eq!(bench.actions(), [Action::Spawn]);
        bench.input(Input::Spawned);
    }
    assert!(pauses[0] <= Duration::from_millis(200), "{pauses:?}");
    assert!(pauses.iter().all(|pause| *pause <= seconds(10)), "{pauses:?}");
    assert!(pauses[11] >= seconds(5), "{pauses:?}");
}

#[test]
fn running_well_for_a_while_forgets_earlier_failures() {
    let mut bench = Bench::running();
    bench.input(crashed()).pass(seconds(1)).input(Input::Spawned).input(Input::FirstOutput);
    bench.pass(seconds(29)).input(crashed());
    let attempts = |bench: &mut Bench| restarting(&bench.actions()).unwrap().0;
    bench.actions().iter().for_each(drop);
    bench.pass(seconds(1)).input(Input::Spawned).input(Input::FirstOutput).pass(seconds(30));
    bench.actions().iter().for_each(drop);
    bench.input(crashed());
    assert_eq!(attempts(&mut bench), 1);
    // Not long enough the next time: it counts on.
    bench.pass(seconds(1)).input(Input::Spawned).input(Input::FirstOutput).pass(seconds(29)).input(crashed());
    assert_eq!(attempts(&mut bench), 2);
}

#[test]
fn what_can_never_work_is_final() {
    let mut bench = Bench::new();
    bench.actions();
    let fate = Fate::Final { reason: "no such encoder".into() };
    bench.input(Input::Spawned).input(Input::Exited { clean: false, fate });
    assert_eq!(bench.state(), &State::Failed { reason: "no such encoder".into() });
    assert_eq!(bench.actions(), [Action::Notify(Event::Failed { reason: "no such encoder".into() })]);
    bench.input(Input::InputFlowing).input(Input::Stop).pass(seconds(60));
    assert_eq!(bench.actions(), []);
    assert!(bench.machine.is_over());
}

#[test]
fn a_spawn_that_fails_for_want_of_resources_is_tried_again() {
    let mut bench = Bench::new();
    bench.actions();
    bench.input(Input::SpawnFailed(Fate::Retry { reason: "too many open files".into() }));
    assert_eq!(bench.state(), &State::BackingOff);
    bench.actions();
    bench.pass(seconds(1));
    assert_eq!(bench.actions(), [Action::Spawn]);
}

#[test]
fn the_end_of_the_source_drains_and_a_clean_exit_ends() {
    for end in [Input::SourceGone, Input::Stop] {
        let mut bench = Bench::running();
        bench.input(end);
        assert_eq!(bench.state(), &State::Draining);
        assert_eq!(bench.actions(), [Action::CloseStdin]);
        bench.input(Input::Output).pass(Duration::from_millis(500));
        let fate = Fate::Retry { reason: "FFmpeg ended although the source goes on".into() };
        bench.input(Input::Exited { clean: true, fate });
        assert_eq!(bench.state(), &State::Ended);
        assert_eq!(bench.actions(), [Action::Notify(Event::Ended { clean: true })]);
        assert_eq!(bench.machine.next_timeout(), None);
    }
}

#[test]
fn a_drain_that_hangs_is_terminated_then_killed_within_two_seconds() {
    let mut bench = Bench::running();
    bench.input(Input::Stop);
    bench.actions();
    bench.pass(Duration::from_millis(1200));
    assert_eq!(bench.actions(), [Action::Signal(Signal::Term)]);
    bench.pass(Duration::from_millis(400));
    assert_eq!(bench.actions(), [Action::Signal(Signal::Kill)]);
    bench.input(crashed());
    assert_eq!(bench.actions(), [Action::Notify(Event::Ended { clean: false })]);
}

#[test]
fn a_stop_while_backing_off_ends_at_once() {
    let mut bench = Bench::running();
    bench.input(crashed());
    bench.actions();
    bench.input(Input::Stop);
    assert_eq!(bench.state(), &State::Ended);
    assert_eq!(bench.actions(), [Action::Notify(Event::Ended { clean: true })]);
    bench.pass(seconds(60));
    assert_eq!(bench.actions(), []);
}

#[test]
fn a_stop_while_it_starts_drains_it() {
    let mut bench = Bench::new();
    bench.actions();
    bench.input(Input::Stop);
    assert_eq!(bench.actions(), [Action::CloseStdin]);
    bench.input(Input::Spawned).pass(Duration::from_millis(1600));
    assert_eq!(bench.actions(), [Action::Signal(Signal::Term), Action::Signal(Signal::Kill)]);
}

#[test]
fn a_stop_while_it_is_being_killed_waits_for_its_end_only() {
    let mut bench = Bench::running();
    bench.pass_with_input(seconds(5));
    bench.actions();
    bench.input(Input::Stop);
    assert_eq!(bench.state(), &State::Draining);
    assert_eq!(bench.actions(), []);
    bench.input(crashed());
    assert_eq!(bench.actions(), [Action::Notify(Event::Ended { clean: false })]);
}

#[test]
fn a_second_stop_and_late_output_change_nothing() {
    let mut bench = Bench::running();
    bench.input(Input::Stop).input(Input::Stop).input(Input::SourceGone).input(Input::FirstOutput);
    assert_eq!(bench.actions(), [Action::CloseStdin]);
    bench.input(crashed()).input(crashed()).input(Input::Output).input(Input::Stop);
    assert_eq!(bench.actions(), [Action::Notify(Event::Ended { clean: false })]);
}

fn any_input() -> impl Strategy<Value = Input> {
    prop_oneof![
        Just(Input::Spawned),
        Just(Input::SpawnFailed(Fate::Retry { reason: "r".into() })),
        Just(Input::FirstOutput),
        Just(Input::Output),
        Just(Input::InputFlowing),
        Just(crashed()),
        Just(Input::Exited { clean: true, fate: Fate::Final { reason: "f".into() } }),
        Just(Input::Stop),
        Just(Input::SourceGone),
    ]
}

proptest! {
    /// Whatever comes in whatever order: never two processes, nothing after the end, no deadline in the past left set.
    #[test]
    fn no_order_of_inputs_makes_two_processes_or_wakes_the_dead(
        inputs in prop::collection::vec((any_input(), 0u64..20_000), 0..60),
        seed in any::<u64>(),
    ) {
        let mut bench = Bench { machine: Machine::new(Times::default(), fastrand::Rng::with_seed(seed)), now: Instant::now() };
        let (mut alive, mut over) = (false, false);
        for (input, pause) in inputs {
            for action in bench.actions() {
                prop_assert!(!over, "{action:?} after the end");
                match action {
                    Action::Spawn => prop_assert!(!std::mem::replace(&mut alive, true), "a second process"),
                    Action::Notify(Event::Ended { .. } | Event::Failed { .. }) => over = true,
                    _ => {}
                }
            }
            let gone = matches!(input, Input::Exited { .. } | Input::SpawnFailed(_));
            // Only what lives can end.
            if gone && !alive {
                continue;
            }
            alive &= !gone;
            bench.input(input).pass(Duration::from_millis(pause));
            prop_assert!(bench.machine.next_timeout().is_none_or(|at| at > bench.now));
        }
    }

    #[test]
    fn pauses_are_jittered_and_capped(failures in 0u32.., random in 0.0f64..1.0) {
        let times = Times::default();
        let pause = backoff(&times, failures, random);
        prop_assert!(pause <= times.backoff_max && pause >= times.backoff / 2);
    }
}
