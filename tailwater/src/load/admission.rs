//! Whether a livestream fits on this machine beside those that run: arithmetic.

/// What becomes of a livestream whose source is known.
#[derive(Debug, Clone, PartialEq)]
pub enum Admission {
    /// It is started at this level: whole at 0.
    At {
        /// As many steps are shed from the start.
        level: usize,
    },
    /// Not even its last level fits.
    Refused(Figures),
}

/// Why something does not fit, in cores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// All of it.
    pub whole: f64,
    /// As little as can be.
    pub least: f64,
    /// The livestreams that run.
    pub others: f64,
    /// What may be used of the machine.
    pub room: f64,
}

/// Judges a livestream that takes `levels` cores, whole first, beside `others`.
///
/// A machine that is small is no reason to refuse: what does not fit whole is started at the first level that fits. Refused is
/// only what would fall behind at its last level, and takes others with it.
pub fn judge(levels: &[f64], others: f64, room: f64) -> Admission {
    match levels.iter().position(|cores| cores + others <= room) {
        Some(level) => Admission::At { level },
        None => {
            let whole = levels.first().copied().unwrap_or(0.0);
            Admission::Refused(Figures { whole, least: levels.last().copied().unwrap_or(0.0), others, room })
        }
    }
}

impl Figures {
    /// For the user.
    pub fn sentence(&self, cores: usize) -> String {
        let Self { whole, least, others, room } = self;
        let beside = match *others > 0.0 {
            true => format!(", beside {others:.1} that run"),
            false => String::new(),
        };
        let cores = if cores == 1 { "one core".to_owned() } else { format!("{cores} cores") };
        format!(
            "this machine is too small: the livestream takes {whole:.1} cores, and {least:.1} with all shed that can be{beside}; \
             {room:.1} of {cores} may be used: end others, choose a smaller ladder or passthrough, or send \"force\": true"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_started_whole_and_what_does_not_at_the_first_level_that_does() {
        let levels = [1.0, 0.6, 0.3];
        for (others, room, level) in [(0.0, 2.0, 0), (1.0, 2.0, 0), (1.2, 2.0, 1), (1.7, 2.0, 2), (0.0, 0.5, 2)] {
            assert_eq!(judge(&levels, others, room), Admission::At { level }, "{others} of {room}");
        }
    }

    #[test]
    fn what_would_fall_behind_at_its_last_level_is_refused_with_the_figures() {
        let Admission::Refused(figures) = judge(&[1.0, 0.6, 0.3], 1.8, 2.0) else { panic!("refused") };
        let sentence = figures.sentence(2);
        for words in ["takes 1.0 cores", "0.3 with all shed", "beside 1.8 that run", "2.0 of 2 cores", "force"] {
            assert!(sentence.contains(words), "{words}: {sentence}");
        }
        assert!(matches!(judge(&[9.0], 0.0, 0.9), Admission::Refused(_)), "even alone");
    }
}
