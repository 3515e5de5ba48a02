//! What went wrong, in words and codes for the API.

use std::time::Duration;

use crate::ingest::source::SourceEnd;
use crate::ladder::PlanError;
use crate::livestream::types::Problem;
use crate::transcode::SpawnError;

fn problem(code: &str, message: impl Into<String>) -> Problem {
    Problem { code: code.to_owned(), message: message.into() }
}

/// Why a running livestream is interrupted; a clean end is no problem.
pub(super) fn interruption(end: &SourceEnd) -> Option<Problem> {
    match end {
        SourceEnd::Clean => None,
        SourceEnd::Lost(why) => {
            Some(problem("source-lost", format!("the source is lost ({why}): waiting for it to come back")))
        }
        SourceEnd::Unreachable(why) => Some(problem("source-unreachable", format!("{why}: trying again"))),
    }
}

/// An earlier process had the livestream.
pub(super) fn restarted() -> Problem {
    problem("server-restarted", "the server was restarted: waiting for the source to come back")
}

/// Why a livestream never had a first segment.
pub(super) fn never_began(end: Option<&SourceEnd>, source_present: bool) -> Problem {
    match end {
        _ if source_present => problem("no-media", "the source is connected and sends neither audio nor video"),
        Some(SourceEnd::Unreachable(why)) => problem("source-unreachable", why.as_str()),
        Some(SourceEnd::Lost(why)) => {
            problem("source-lost", format!("the source was lost before its first segment: {why}"))
        }
        Some(SourceEnd::Clean) => problem("source-ended", "the source ended before its first segment"),
        None => {
            problem("source-timeout", "nobody published to this stream key in time: start the encoder, then POST again")
        }
    }
}

/// Why a source that was copied no longer is.
pub(super) fn keyframe_late(after: Duration) -> Problem {
    let message = format!(
        "the source is no longer copied as the top rung: no key frame came for {:.1} s, and segments may not become \
         longer; all rungs are encoded until the broadcast ends. Set the encoder's key frame interval to 1 s",
        after.as_secs_f64()
    );
    problem("keyframe-late", message)
}

pub(super) fn no_ffmpeg() -> Problem {
    problem("ffmpeg-unusable", "FFmpeg is not usable: run `tailwater doctor`")
}

pub(super) fn of_plan(error: &PlanError) -> Problem {
    let code = match error {
        PlanError::NoTracks => "no-media",
        PlanError::NoPicture { .. } => "no-picture",
        PlanError::SourceNeedsNewerFfmpeg { .. }
        | PlanError::SourceUnreadable { .. }
        | PlanError::SoundNeedsNewerFfmpeg { .. }
        | PlanError::SoundUnreadable { .. } => "codec-unsupported",
        PlanError::NoEncoder { .. } | PlanError::HardwareMissing { .. } => "no-encoder",
        _ => "bad-ladder",
    };
    problem(code, error.to_string())
}

pub(super) fn of_spawn(error: &SpawnError) -> Problem {
    problem("ffmpeg-failed", error.to_string())
}
