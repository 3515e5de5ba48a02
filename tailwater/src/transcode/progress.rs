//! What FFmpeg reports by `-progress`: `key=value` lines, a block each half second, ended by `progress=`.

use std::time::Duration;

/// One report.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Progress {
    /// Frames encoded since the start.
    pub frames: u64,
    /// Media time written. `None` before the first.
    pub out_time: Option<Duration>,
    /// Media seconds a second since the start; below 1 for long means the machine cannot keep up.
    pub speed: Option<f64>,
    /// Frames repeated to keep the rate.
    pub duplicated: u64,
    /// Frames dropped to keep the rate.
    pub dropped: u64,
    /// The last report: FFmpeg is done.
    pub end: bool,
}

/// Puts blocks together from lines. Bounded: nothing of unknown lines is kept.
#[derive(Debug, Default)]
pub struct ProgressParser {
    current: Progress,
}

impl ProgressParser {
    /// Takes one line without its end; gives a report when the line completes one.
    pub fn handle_line(&mut self, line: &str) -> Option<Progress> {
        let (key, value) = line.trim().split_once('=')?;
        let value = value.trim();
        match key {
            "frame" => self.current.frames = value.parse().unwrap_or(self.current.frames),
            // Microseconds under both names: `out_time_ms` is an old mistake of FFmpeg's that is kept.
            "out_time_us" => {
                self.current.out_time = value.parse::<u64>().ok().map(Duration::from_micros);
            }
            "speed" => self.current.speed = value.trim_end_matches('x').parse().ok(),
            "dup_frames" => self.current.duplicated = value.parse().unwrap_or(0),
            "drop_frames" => self.current.dropped = value.parse().unwrap_or(0),
            "progress" => {
                self.current.end = value == "end";
                return Some(self.current);
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_becomes_one_report_and_what_is_not_available_is_none() {
        let mut parser = ProgressParser::default();
        let first = "frame=0\nfps=0.00\nout_time_us=N/A\nout_time=N/A\ndup_frames=0\ndrop_frames=0\nspeed=N/A\nprogress=continue";
        let reports: Vec<Progress> = first.lines().filter_map(|line| parser.handle_line(line)).collect();
        assert_eq!(reports, [Progress::default()]);
        let second = "frame=30\nbitrate=1.0kbits/s\nout_time_us=11000000\nout_time_ms=11000000\ndup_frames=1\ndrop_frames=2\nspeed=1.01x\nprogress=end";
        let reports: Vec<Progress> = second.lines().filter_map(|line| parser.handle_line(line)).collect();
        let expected = Progress {
            frames: 30,
            out_time: Some(Duration::from_secs(11)),
            speed: Some(1.01),
            duplicated: 1,
            dropped: 2,
            end: true,
        };
        assert_eq!(reports, [expected]);
    }

    #[test]
    fn garbage_is_no_report() {
        let mut parser = ProgressParser::default();
        for line in ["", "=", "progress", "frame=x", "speed=", "\u{0}"] {
            assert_eq!(parser.handle_line(line), None, "{line:?}");
        }
    }
}
