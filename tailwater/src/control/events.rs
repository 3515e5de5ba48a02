//! `GET /events`: what changes, as it changes.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    response::sse::{self, KeepAlive, Sse},
};
use futures_util::{Stream, StreamExt};
use tokio_stream::wrappers::{BroadcastStream, errors::BroadcastStreamRecvError};

use super::Control;
use crate::livestream::types::{Event, Livestreams};

/// Proxies close what is silent for a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What changes from now on, as server-sent events.
///
/// `livestream`: a livestream's state, error or renditions changed; the data is as in `GET /livestreams/{name}`.
/// `waiting`, `waiting-over`: a publisher that no livestream wants came or went. `lagged`: events were lost, read the
/// list again.
#[utoipa::path(get, path = "/events", tag = "livestreams", responses(
    (status = 200, description = "An endless stream", body = Event, content_type = "text/event-stream"),
))]
pub async fn events(State(control): State<Control>) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>> + use<>> {
    let livestreams: &Arc<dyn Livestreams> = &control.livestreams;
    let events = BroadcastStream::new(livestreams.events()).map(|event| Ok(written(event)));
    let stopping = control.stopping.clone();
    Sse::new(events.take_until(stopping.cancelled_owned())).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

fn written(event: Result<Event, BroadcastStreamRecvError>) -> sse::Event {
    match event {
        Ok(event) => match sse::Event::default().event(event.kind()).json_data(&event) {
            Ok(written) => written,
            // Numbers that JSON has no word for; the list says the rest.
            Err(_) => lagged(0),
        },
        Err(BroadcastStreamRecvError::Lagged(lost)) => lagged(lost),
    }
}

fn lagged(lost: u64) -> sse::Event {
    sse::Event::default().event("lagged").data(format!("{{\"lost\":{lost}}}"))
}
