//! Waiting for what is not there yet: bounded in time and in number, and over the moment the client is gone.

use std::{sync::Arc, time::Duration};

use hls::window::Snapshot;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};

use super::live::Desk;

/// "The Server SHOULD ... 503 ... if it cannot satisfy the request within three Target Durations" (RFC 8216bis 6.2.5.2).
pub const HOLD_TARGET_DURATIONS: u32 = 3;

/// How long a request for a playlist of this target duration (seconds) is held.
pub fn hold(target_duration: u32) -> Duration {
    HOLD_TARGET_DURATIONS * Duration::from_secs(u64::from(target_duration.max(1)))
}

/// Why a wait ended without what was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitError {
    /// As many requests wait as may.
    Crowded,
    /// It did not come in time.
    TimedOut,
    /// It will not come: the livestream is gone.
    Gone,
}

/// A waiting request's place: at its livestream and in all. Dropping it, as a request that is dropped does, frees both.
#[derive(Debug)]
pub struct Place {
    _livestream: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Place {
    /// Takes a place, if there is one.
    pub fn take(desk: &Desk, all: &Arc<Semaphore>) -> Option<Self> {
        let livestream = Arc::clone(&desk.waiters).try_acquire_owned().ok()?;
        let all = Arc::clone(all).try_acquire_owned().ok()?;
        Some(Self { _livestream: livestream, _all: all })
    }
}

/// Waits until `enough`, which is judged at once and after each change.
///
/// # Errors
/// [`WaitError`].
pub async fn wait_for<T: Clone>(
    changes: &mut watch::Receiver<T>,
    desk: &Desk,
    all: &Arc<Semaphore>,
    limit: Duration,
    mut enough: impl FnMut(&T) -> bool,
) -> Result<T, WaitError> {
    {
        let now = changes.borrow_and_update();
        if enough(&now) {
            return Ok(now.clone());
        }
    }
    let _place = Place::take(desk, all).ok_or(WaitError::Crowded)?;
    match timeout(limit, changes.wait_for(enough)).await {
        Ok(Ok(found)) => Ok(found.clone()),
        Ok(Err(_)) => Err(WaitError::Gone),
        Err(_) => Err(WaitError::TimedOut),
    }
}

/// Waits until a playlist lists something.
///
/// # Errors
/// [`WaitError`].
pub async fn wait_until_playable(
    changes: &mut watch::Receiver<Snapshot>,
    desk: &Desk,
    all: &Arc<Semaphore>,
    low_latency: bool,
) -> Result<Snapshot, WaitError> {
    let limit = hold(changes.borrow().target_duration());
    wait_for(changes, desk, all, limit, |snapshot| {
        // An empty list makes players give up: hls.js calls it a fatal error.
        let listed = if low_latency { snapshot.last().is_some() } else { snapshot.segments().len() > 0 };
        listed || snapshot.ended()
    })
    .await
}
