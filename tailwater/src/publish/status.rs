//! How the store is doing, told once a change.

use serde::Serialize;
use utoipa::ToSchema;

/// Whether the store takes what the livestream makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum StoreState {
    /// Nothing has been written yet.
    #[default]
    Idle,
    /// Writes succeed.
    Ok,
    /// It asks for fewer writes.
    Throttled,
    /// Writes fail; what they carry waits.
    Failing,
}

/// What a livestream's publisher has to report.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoreStatus {
    /// The store, without its credentials.
    pub url: String,
    /// Whether it takes what it is given.
    pub state: StoreState,
    /// Objects waiting to be stored.
    pub waiting: usize,
    /// Segments that were never stored: gaps in the store's playlists.
    pub gaps: u64,
    /// The last failure, while there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
