//! What the file system says, in the words of a store.

use std::io::{self, ErrorKind};

use super::layout::MAX_NAME;
use crate::Error;
use crate::error::At;

/// `EMFILE` and `ENFILE` of Unix systems, which `ErrorKind` does not name.
const TOO_MANY_OPEN_FILES: [i32; 2] = [24, 23];

pub(super) fn io(at: At, error: &io::Error) -> Error {
    if error.raw_os_error().is_some_and(|code| TOO_MANY_OPEN_FILES.contains(&code)) {
        let detail = "too many open files; raise the limit (`ulimit -n`, or LimitNOFILE in a systemd unit)".to_owned();
        return Error::Full { at, detail };
    }
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::Full {
            at,
            detail: format!(
                "{error}; free some space, shorten the TTL, or lower the bound with ?max= in the store URL"
            ),
        },
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Error::Auth {
            at,
            detail: format!("{error}; the user that runs this process must be able to write in that folder"),
        },
        ErrorKind::WouldBlock => {
            Error::Unavailable { at, detail: "another process has this folder open; give each its own".to_owned() }
        }
        ErrorKind::InvalidFilename => Error::Invalid {
            at,
            detail: format!("file names have at most {MAX_NAME} bytes; choose a shorter stream name"),
        },
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists | ErrorKind::IsADirectory => {
            Error::Invalid { at, detail: format!("{error}; a file lies where a folder belongs, or the reverse") }
        }
        _ => Error::Backend { at, detail: error.to_string() },
    }
}

/// The runtime is shutting down, or the work panicked.
pub(super) fn interrupted(at: At) -> Error {
    Error::Backend { at, detail: "the file operation was interrupted".to_owned() }
}
