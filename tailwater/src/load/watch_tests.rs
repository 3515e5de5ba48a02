//! The watch in virtual time: an encoder of a given speed, sampled four times a second.

use super::*;

const TICK: Duration = Duration::from_millis(250);

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A source in real time and a machine whose speed the test sets.
struct Encoder {
    watch: Watch,
    begin: Instant,
    now: Instant,
    /// Media seconds.
    fed: f64,
    out: f64,
    room: bool,
}

impl Encoder {
    fn new(most: usize) -> Self {
        let mut watch = Watch::new(Times::default());
        watch.handle_session(0, most);
        let begin = Instant::now();
        Self { watch, begin, now: begin, fed: 0.0, out: 0.0, room: true }
    }

    fn at(level: usize, most: usize) -> Self {
        let mut encoder = Self::new(most);
        encoder.watch.handle_session(level, most);
        encoder
    }

    fn tick(&mut self, speed: f64) -> Option<Wish> {
        self.now += TICK;
        self.fed += TICK.as_secs_f64();
        self.out = (self.out + TICK.as_secs_f64() * speed).min(self.fed);
        let sample = Sample { lag: seconds(self.fed - self.out), out: seconds(self.out), room: self.room };
        self.watch.handle_sample(self.now, sample)
    }

    /// Runs until there is a wish: which, and after how many seconds.
    fn until_wish(&mut self, speed: f64, limit: f64) -> Option<(Wish, f64)> {
        let start = self.now;
        while self.now.duration_since(start) < seconds(limit) {
            if let Some(wish) = self.tick(speed) {
                return Some((wish, self.now.duration_since(start).as_secs_f64()));
            }
        }
        None
    }

    /// Follows a wish as the livestream does: FFmpeg begins anew at the newest keyframe.
    fn follow(&mut self, wish: Wish) {
        let level = self.watch.level();
        let level = if wish == Wish::Shed { level + 1 } else { level - 1 };
        self.watch.handle_change(self.now, level);
        self.watch.handle_session(level, self.watch.most);
        self.out = self.fed;
    }

    fn elapsed(&self) -> f64 {
        self.now.duration_since(self.begin).as_secs_f64()
    }
}

#[test]
fn who_keeps_up_is_left_alone() {
    let mut encoder = Encoder::new(3);
    assert_eq!(encoder.until_wish(1.0, 3600.0), None);
    assert!(!encoder.watch.is_overloaded());
}

#[test]
fn falling_behind_for_more_than_a_few_seconds_is_reason_to_shed() {
    let mut encoder = Encoder::new(3);
    let (wish, after) = encoder.until_wish(0.5, 60.0).unwrap();
    assert_eq!(wish, Wish::Shed);
    // Two seconds of lag are there after four, and three seconds of patience follow.
    assert!((7.0..=8.0).contains(&after), "{after}");
    assert_eq!(encoder.tick(0.5), Some(Wish::Shed), "repeated until it is followed");
}

#[test]
fn a_hiccup_that_is_caught_up_with_is_none() {
    let mut encoder = Encoder::new(3);
    for _ in 0..10 {
        assert_eq!(encoder.until_wish(0.2, 3.0), None);
        assert_eq!(encoder.until_wish(1.5, 30.0), None);
    }
}

#[test]
fn a_burst_at_the_start_is_worked_off_in_peace() {
    let mut encoder = Encoder::new(3);
    encoder.fed = 10.0;
    assert_eq!(encoder.until_wish(1.3, 120.0), None);
}

#[test]
fn a_source_faster_than_real_time_is_no_overload() {
    let mut watch = Watch::new(Times::default());
    watch.handle_session(0, 3);
    let begin = Instant::now();
    for tick in 0..400_u32 {
        let (fed, out) = (TICK * tick * 3, TICK * tick * 2);
        let sample = Sample { lag: fed - out, out, room: true };
        assert_eq!(watch.handle_sample(begin + TICK * tick, sample), None, "{tick}");
    }
}

#[test]
fn lag_that_stays_is_too_much_even_when_it_does_not_grow() {
    let mut encoder = Encoder::new(3);
    encoder.fed = 4.0;
    assert_eq!(encoder.until_wish(1.0, 60.0).unwrap().0, Wish::Shed);
}

#[test]
fn there_is_one_change_a_minute_at_most() {
    let mut encoder = Encoder::new(3);
    let (wish, _) = encoder.until_wish(0.3, 60.0).unwrap();
    encoder.follow(wish);
    let (wish, after) = encoder.until_wish(0.3, 120.0).unwrap();
    assert_eq!(wish, Wish::Shed);
    assert!((60.0..=64.0).contains(&after), "{after}");
}

#[test]
fn with_nothing_left_to_shed_it_is_overloaded_and_asks_for_nothing() {
    let mut encoder = Encoder::at(2, 2);
    assert_eq!(encoder.until_wish(0.5, 120.0), None);
    assert!(encoder.watch.is_overloaded());
    assert_eq!(encoder.until_wish(3.0, 60.0), None);
    assert!(!encoder.watch.is_overloaded());
}

#[test]
fn ease_for_two_minutes_is_reason_to_climb_if_the_machine_has_room() {
    let mut encoder = Encoder::at(2, 3);
    let (wish, after) = encoder.until_wish(1.0, 300.0).unwrap();
    assert_eq!(wish, Wish::Climb);
    assert!((120.0..=121.0).contains(&after), "{after}");
    let mut full = Encoder::at(2, 3);
    full.room = false;
    assert_eq!(full.until_wish(1.0, 3600.0), None);
}

#[test]
fn each_climb_that_fails_makes_the_next_one_wait_twice_as_long() {
    let mut encoder = Encoder::at(1, 3);
    let mut waits = Vec::new();
    for _ in 0..7 {
        let (wish, after) = encoder.until_wish(1.0, 7200.0).unwrap();
        assert_eq!(wish, Wish::Climb);
        waits.push((after / 60.0).round());
        encoder.follow(wish);
        let (wish, _) = encoder.until_wish(0.7, 120.0).unwrap();
        assert_eq!(wish, Wish::Shed);
        encoder.follow(wish);
    }
    assert_eq!(waits, [2.0, 4.0, 8.0, 16.0, 32.0, 32.0, 32.0]);
}

#[test]
fn a_climb_that_held_forgets_the_failed_ones() {
    let mut encoder = Encoder::at(1, 3);
    for speed in [0.5, 0.5] {
        let (wish, _) = encoder.until_wish(1.0, 3600.0).unwrap();
        encoder.follow(wish);
        let (wish, _) = encoder.until_wish(speed, 600.0).unwrap();
        encoder.follow(wish);
    }
    let (wish, _) = encoder.until_wish(1.0, 3600.0).unwrap();
    encoder.follow(wish);
    assert_eq!(encoder.until_wish(1.0, 3600.0), None, "level 0");
    let (wish, _) = encoder.until_wish(0.5, 60.0).unwrap();
    encoder.follow(wish);
    let (_, after) = encoder.until_wish(1.0, 600.0).unwrap();
    assert!((120.0..=121.0).contains(&after), "{after} after {} s", encoder.elapsed());
}

#[test]
fn ease_begins_anew_with_each_session_and_after_each_lag() {
    let mut encoder = Encoder::at(1, 3);
    assert_eq!(encoder.until_wish(1.0, 100.0), None);
    encoder.watch.handle_session(1, 3);
    assert_eq!(encoder.until_wish(1.0, 100.0), None);
    assert_eq!(encoder.until_wish(0.5, 2.0), None);
    assert_eq!(encoder.until_wish(1.5, 100.0), None);
}
