//! What S3 says, in the words of a store.

use std::error::Error as StdError;
use std::time::Duration;

use object_store::client::{HttpError, HttpErrorKind};

use crate::Error;
use crate::error::{At, Operation};

pub(super) fn store_error(at: At, error: &object_store::Error, timeout: Duration) -> Error {
    use object_store::Error as S3;
    let detail = error.to_string();
    let credentials = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the bucket's policy";
    match error {
        S3::NotFound { .. } if at.operation != Operation::Get || detail.contains("NoSuchBucket") => {
            Error::NoSuchStore {
                at,
                detail: format!("the bucket does not exist; make it, or correct the URL ({detail})"),
            }
        }
        S3::NotFound { .. } => Error::NotFound { at },
        S3::PermissionDenied { .. } | S3::Unauthenticated { .. } => {
            Error::Auth { at, detail: format!("{detail}; {credentials}") }
        }
        S3::NotSupported { .. } | S3::NotImplemented { .. } => Error::Unsupported { at },
        S3::InvalidPath { .. } => Error::Invalid { at, detail },
        _ => match transport(error) {
            Some(HttpErrorKind::Timeout) => Error::Timeout { at, after: timeout },
            Some(HttpErrorKind::Connect | HttpErrorKind::Request | HttpErrorKind::Interrupted) => {
                Error::Unavailable { at, detail }
            }
            _ => by_status(at, detail),
        },
    }
}

fn transport(error: &object_store::Error) -> Option<HttpErrorKind> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<HttpError>() {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}

/// The crate gives the status of an answer in its text only.
fn by_status(at: At, detail: String) -> Error {
    let has = |words: &[&str]| words.iter().any(|word| detail.contains(word));
    if has(&["SlowDown", "TooManyRequests", "code: 429", "RequestLimitExceeded"]) {
        return Error::Throttled { at, detail, retry_after: None };
    }
    if has(&["QuotaExceeded", "XMinioStorageFull", "code: 507", "InsufficientStorage"]) {
        return Error::Full { at, detail };
    }
    if has(&["code: 500", "code: 502", "code: 503", "code: 504"]) {
        return Error::Unavailable { at, detail };
    }
    Error::Backend { at, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.into() }
    }

    #[test]
    fn answers_have_the_names_that_decide_what_is_done() {
        let status = |text: &str| format!("Server returned non-2xx status code: {text}");
        for (text, code) in [
            ("503 Service Unavailable: <Code>SlowDown</Code>", "throttled"),
            ("429 Too Many Requests: ", "throttled"),
            ("503 Service Unavailable: ", "unavailable"),
            ("500 Internal Server Error: ", "unavailable"),
            ("507 Insufficient Storage: ", "full"),
            ("418 I'm a teapot: ", "backend"),
        ] {
            let error = store_error(At::store("s3", Operation::Put), &generic(&status(text)), Duration::ZERO);
            assert_eq!(error.code(), code, "{text}");
        }
    }

    /// Servers answer 404 to a put only when the bucket is missing (the in-process server makes it instead).
    #[test]
    fn a_missing_bucket_is_not_a_missing_object() {
        let not_found = |text: &str| object_store::Error::NotFound { path: "x".into(), source: text.into() };
        let bucket = || not_found("<Code>NoSuchBucket</Code>");
        for (operation, error, code) in [
            (Operation::Open, bucket(), "no-such-store"),
            (Operation::Put, bucket(), "no-such-store"),
            (Operation::Get, bucket(), "no-such-store"),
            (Operation::Get, not_found("<Code>NoSuchKey</Code>"), "not-found"),
        ] {
            assert_eq!(store_error(At::store("s3", operation), &error, Duration::ZERO).code(), code);
        }
    }
}
