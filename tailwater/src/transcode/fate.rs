//! What FFmpeg's last words mean: try again, or never.

use super::process::Exit;

/// What to make of an FFmpeg that ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It may work the next time.
    Retry {
        /// What happened, for people.
        reason: String,
    },
    /// The same command and the same source can never work.
    Final {
        /// What happened and what to do, for people.
        reason: String,
    },
}

/// What FFmpeg prints when something can never work, and what that means.
const FINAL: [(&str, &str); 9] = [
    ("Unknown encoder", "this FFmpeg lacks an encoder the ladder needs; `tailwater doctor` says which there are"),
    ("Unrecognized option", "this FFmpeg does not know an option; 5.1 or newer is needed"),
    ("Option not found", "this FFmpeg does not know an option; 5.1 or newer is needed"),
    ("No such filter", "this FFmpeg lacks a filter the ladder needs; install a complete build"),
    ("Unknown decoder", "this FFmpeg cannot decode the source; install a complete build, or send H.264 and AAC"),
    ("Decoder not found", "this FFmpeg cannot decode the source; install a complete build, or send H.264 and AAC"),
    ("no decoder found for", "this FFmpeg cannot decode the source; install a complete build, or send H.264 and AAC"),
    ("Unsupported codec", "this FFmpeg cannot decode the source; HEVC and AV1 by RTMP need version 6.1"),
    ("matches no streams", "the source lacks a track that was announced, or FFmpeg cannot read it"),
];

/// Judges an end that nobody asked for. Nothing that has once put out media is final: it has shown that it can work.
pub fn classify(exit: &Exit, had_output: bool) -> Fate {
    let matched = exit.last_lines.iter().rev().find_map(|line| {
        let (_, meaning) = FINAL.iter().find(|(words, _)| line.contains(words))?;
        Some((line, meaning))
    });
    if let Some((line, meaning)) = matched.filter(|_| !had_output && !exit.clean) {
        return Fate::Final { reason: format!("{meaning} (FFmpeg: {})", strip_level(line)) };
    }
    let how = match (exit.code, exit.signal) {
        (Some(0), _) => "FFmpeg ended although the source goes on".to_owned(),
        (Some(code), _) => format!("FFmpeg failed with exit code {code}"),
        (None, Some(signal)) => format!("FFmpeg was killed by signal {signal}"),
        (None, None) => "FFmpeg ended".to_owned(),
    };
    // Warnings are no reasons: the last error, else the last line.
    let error = exit.last_lines.iter().rev().find(|line| line.contains("[error]") || line.contains("[fatal]"));
    let reason = match error.or(exit.last_lines.last()) {
        Some(line) => format!("{how}: {}", strip_level(line)),
        None => how,
    };
    Fate::Retry { reason }
}

/// `[aac @ 0x55..] [error] text` is `text` to people.
fn strip_level(line: &str) -> &str {
    let mut rest = line.trim();
    while let Some((_, after)) = rest.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        rest = after.trim_start();
    }
    if rest.is_empty() { line.trim() } else { rest }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(code: Option<i32>, signal: Option<i32>, lines: &[&str]) -> Exit {
        let last_lines = lines.iter().map(|line| (*line).to_owned()).collect();
        Exit { code, signal, clean: code == Some(0), last_lines }
    }

    #[test]
    fn an_encoder_that_is_not_there_is_final() {
        let fate = classify(&exit(Some(1), None, &["[fatal] Unknown encoder 'libx265'"]), false);
        let reason = "this FFmpeg lacks an encoder the ladder needs; `tailwater doctor` says which there are \
                      (FFmpeg: Unknown encoder 'libx265')";
        assert_eq!(fate, Fate::Final { reason: reason.into() });
    }

    #[test]
    fn what_has_worked_before_is_never_final() {
        let fate = classify(&exit(Some(1), None, &["[error] Decoder not found"]), true);
        assert_eq!(fate, Fate::Retry { reason: "FFmpeg failed with exit code 1: Decoder not found".into() });
    }

    #[test]
    fn a_killed_one_is_tried_again_and_its_last_error_named() {
        let lines = ["[flv @ 0x1] [error] something broke", "[warning] harmless"];
        let fate = classify(&exit(None, Some(9), &lines), true);
        assert_eq!(fate, Fate::Retry { reason: "FFmpeg was killed by signal 9: something broke".into() });
        let silent = classify(&exit(Some(0), None, &[]), true);
        assert_eq!(silent, Fate::Retry { reason: "FFmpeg ended although the source goes on".into() });
    }
}
