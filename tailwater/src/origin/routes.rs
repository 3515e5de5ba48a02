//! From a request to an answer.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Method, Response},
    routing::any,
};
use store::{Key, MediaStore, Payload};
use tokio::sync::{Semaphore, watch};

use super::{
    blocking::{self, WaitError},
    directives::Directives,
    fallback::{Fallback, Missing},
    live::{LiveSource, LiveView},
    path::{self, Latency, Resource, Target},
    range::RangeRequest,
    render::{Form, Rendered},
    response::{self, Asked, Caching},
};
use crate::livestream::StreamName;

/// Our segments last a second, and so does the target duration of a playlist that is only known by its text.
const STORED_TARGET_DURATION: u32 = 1;
/// How long a player that came before the media is held: a livestream shows its first picture within this.
const FIRST_MEDIA: Duration = Duration::from_secs(3);
/// Bytes at the end of an object that go into its `ETag`.
const ETAG_BYTES: u64 = 64;

/// What the origin is told beforehand.
#[derive(Clone, Copy, Debug)]
pub struct OriginSettings {
    /// How long objects of livestreams that run elsewhere are kept.
    pub ttl: Duration,
    /// Requests that may wait at a time, over all livestreams.
    pub max_waiters: usize,
}

/// Serves `/live/`. Clones share it.
#[derive(Clone, Debug)]
pub struct Origin(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    live: Arc<dyn LiveSource>,
    fallback: Fallback,
    ttl: Duration,
    waiters: Arc<Semaphore>,
}

impl Origin {
    /// Serves what `live` has in memory, and `store` has beyond it.
    pub fn new(live: Arc<dyn LiveSource>, store: Arc<dyn MediaStore>, settings: OriginSettings) -> Self {
        let places = settings.max_waiters.min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Shared {
            live,
            fallback: Fallback::new(store),
            ttl: settings.ttl,
            waiters: Arc::new(Semaphore::new(places)),
        }))
    }

    /// The routes, to be merged with others.
    pub fn routes(self) -> Router {
        // One route: what a path means is for `path` to say, and what it does not know is 404 with CORS.
        Router::new().route("/live/", any(serve)).route("/live/{*path}", any(serve)).with_state(self)
    }
}

async fn serve(State(origin): State<Origin>, request: Request) -> Response<Body> {
    origin.respond(request).await
}

type Parsed = Result<Directives, super::directives::DirectiveError>;

impl Origin {
    /// Answers a request. A body it may have is not read.
    pub async fn respond<B>(&self, request: axum::http::Request<B>) -> Response<Body> {
        let method = request.method();
        if method == Method::OPTIONS {
            return response::preflight();
        }
        if method != Method::GET && method != Method::HEAD {
            return response::method_not_allowed();
        }
        let Some(target) = path::parse(request.uri().path()) else { return response::not_found() };
        let asked = Asked::new(method, request.headers());
        let directives = Directives::parse(request.uri().query());
        // What was sent is of no use any more: a parked request does without it.
        drop(request);
        self.answer(target, &asked, directives).await
    }

    async fn answer(&self, target: Target, asked: &Asked, directives: Parsed) -> Response<Body> {
        let Target { name, resource } = target;
        let Some(view) = self.0.live.livestream(name.as_str()) else {
            return Box::pin(self.elsewhere(&name, resource, asked)).await;
        };
        match resource {
            Resource::Multivariant(latency) => self.multivariant(&*view, latency, asked).await,
            Resource::Media { rendition, latency: Latency::Standard } => {
                self.media_playlist(&*view, &name, &rendition, asked).await
            }
            Resource::Media { rendition, latency: Latency::Low } => {
                self.low_latency(&*view, &name, &rendition, asked, directives).await
            }
            Resource::Part { key, rendition, msn, part } => self.part(&*view, &key, &rendition, msn, part, asked).await,
            Resource::Object(key) => match view.object(key.as_str()) {
                Some(payload) => whole(asked, &key, payload, Caching::Immutable { ttl: view.ttl() }),
                // Boxed, so that ten thousand parked reloads do not each carry what a read of the store needs.
                None => Box::pin(self.stored(&key, view.ttl(), asked)).await,
            },
        }
    }

    async fn multivariant(&self, view: &dyn LiveView, latency: Latency, asked: &Asked) -> Response<Body> {
        let mut changes = view.multivariants();
        if view.is_over() && changes.borrow().is_none() {
            return response::not_found();
        }
        let known = blocking::wait_for(&mut changes, view.desk(), &self.0.waiters, FIRST_MEDIA, Option::is_some).await;
        let playlists = match known {
            Ok(Some(playlists)) => playlists,
            Ok(None) | Err(WaitError::TimedOut | WaitError::Gone) => return response::not_yet(),
            Err(WaitError::Crowded) => return crowded(),
        };
        let text = match latency {
            Latency::Standard => Some(playlists.plain),
            Latency::Low => playlists.low_latency,
        };
        let Some(text) = text else { return response::not_found() };
        let rendered = view.desk().renders.multivariant(latency, &text);
        response::playlist(asked, &rendered, Caching::Playlist { target_duration: STORED_TARGET_DURATION })
    }

    async fn media_playlist(
        &self,
        view: &dyn LiveView,
        name: &StreamName,
        rendition: &str,
        asked: &Asked,
    ) -> Response<Body> {
        let mut changes = match self.rendition(view, rendition).await {
            Ok(changes) => changes,
            Err(response) => return *response,
        };
        match blocking::wait_until_playable(&mut changes, view.desk(), &self.0.waiters, false).await {
            Ok(snapshot) => {
                let rendered = view.desk().renders.media(view, name, rendition, &snapshot, Form::Plain);
                response::playlist(asked, &rendered, Caching::Playlist { target_duration: snapshot.target_duration() })
            }
            Err(WaitError::Crowded) => crowded(),
            Err(WaitError::TimedOut | WaitError::Gone) => response::not_yet(),
        }
    }

    async fn low_latency(
        &self,
        view: &dyn LiveView,
        name: &StreamName,
        rendition: &str,
        asked: &Asked,
        directives: Parsed,
    ) -> Response<Body> {
        let mut changes = match self.rendition(view, rendition).await {
            Ok(changes) => changes,
            Err(response) => return *response,
        };
        let now = changes.borrow().clone();
        if now.part_target().is_none() {
            return response::not_found();
        }
        // After ENDLIST, "the Server MUST ignore" the directives (RFC 8216bis 6.2.5), malformed ones too.
        let directives = match directives {
            _ if now.ended() => Directives::default(),
            Ok(directives) => directives,
            Err(error) => return response::bad_request("invalid-directive", &error.to_string()),
        };
        let (desk, all) = (view.desk(), &self.0.waiters);
        let waited = match directives.wait_for {
            None => blocking::wait_until_playable(&mut changes, desk, all, true).await,
            Some(wait) if now.too_far(wait.msn, wait.part) => {
                return response::bad_request(
                    "too-far-ahead",
                    "the segment or part asked for is too far in the future",
                );
            }
            Some(wait) => {
                let limit = blocking::hold(now.target_duration());
                blocking::wait_for(&mut changes, desk, all, limit, |snapshot| snapshot.has(wait.msn, wait.part)).await
            }
        };
        let snapshot = match waited {
            Ok(snapshot) => snapshot,
            Err(WaitError::Crowded) => return crowded(),
            Err(_) if directives.wait_for.is_none() => return response::not_yet(),
            Err(_) => {
                return response::unavailable("not-in-time", "what was asked for did not come in time: try again");
            }
        };
        let form = if directives.skip { Form::Delta } else { Form::LowLatency };
        let target_duration = snapshot.target_duration();
        let caching = match directives.wait_for {
            Some(_) => Caching::Blocking { target_duration },
            None => Caching::Playlist { target_duration },
        };
        let rendered = view.desk().renders.media(view, name, rendition, &snapshot, form);
        response::playlist(asked, &rendered, caching)
    }

    /// A rendition's playlist, waited for while the livestream has none at all yet.
    async fn rendition(
        &self,
        view: &dyn LiveView,
        rendition: &str,
    ) -> Result<watch::Receiver<hls::window::Snapshot>, Box<Response<Body>>> {
        if let Some(changes) = view.rendition(rendition) {
            return Ok(changes);
        }
        let mut known = view.multivariants();
        if known.borrow().is_some() || view.is_over() {
            return Err(Box::new(response::not_found()));
        }
        match blocking::wait_for(&mut known, view.desk(), &self.0.waiters, FIRST_MEDIA, Option::is_some).await {
            Ok(_) => view.rendition(rendition).ok_or_else(|| Box::new(response::not_found())),
            Err(WaitError::Crowded) => Err(Box::new(crowded())),
            Err(_) => Err(Box::new(response::not_yet())),
        }
    }

    /// A part, waited for if it is about to be made: "the Server ... SHOULD hold" the request for a hinted resource
    /// until all of it can be sent (RFC 8216bis 6.2.6).
    async fn part(
        &self,
        view: &dyn LiveView,
        key: &Key,
        rendition: &str,
        msn: u64,
        part: u32,
        asked: &Asked,
    ) -> Response<Body> {
        let Some(mut changes) = view.rendition(rendition) else { return response::not_found() };
        let now = changes.borrow().clone();
        let target_duration = now.target_duration();
        let caching = Caching::Blocking { target_duration };
        if let Some(payload) = view.object(key.as_str()) {
            return whole(asked, key, payload, caching);
        }
        let hinted = !now.ended() && now.next() == (msn, part) && now.next_part_uri() == key.as_str();
        if !hinted {
            return response::not_found();
        }
        let limit = blocking::hold(target_duration);
        let came = |snapshot: &hls::window::Snapshot| snapshot.has(msn, Some(part));
        match blocking::wait_for(&mut changes, view.desk(), &self.0.waiters, limit, came).await {
            Ok(_) => match view.object(key.as_str()) {
                Some(payload) => whole(asked, key, payload, caching),
                // The segment ended before it.
                None => response::not_found(),
            },
            Err(WaitError::Crowded) => crowded(),
            Err(WaitError::TimedOut | WaitError::Gone) => response::not_found(),
        }
    }

    /// A livestream that does not run here: the store may have it. Its parts are in another origin's memory.
    async fn elsewhere(&self, name: &StreamName, resource: Resource, asked: &Asked) -> Response<Body> {
        let playlist = match resource {
            Resource::Multivariant(Latency::Standard) => path::multivariant_key(name),
            Resource::Media { rendition, latency: Latency::Standard } => {
                path::media_playlist_key(name, &rendition, Latency::Standard)
            }
            Resource::Object(key) => return Box::pin(self.stored(&key, self.0.ttl, asked)).await,
            _ => return response::not_found(),
        };
        let Ok(key) = Key::parse(playlist) else { return response::not_found() };
        match self.0.fallback.get(&key, None).await {
            Ok(object) => {
                let text = String::from_utf8_lossy(&object.payload.contiguous()).into_owned();
                let caching = Caching::Playlist { target_duration: STORED_TARGET_DURATION };
                response::playlist(asked, &Rendered::new(text), caching)
            }
            Err(missing) => absent(missing),
        }
    }

    async fn stored(&self, key: &Key, ttl: Duration, asked: &Asked) -> Response<Body> {
        let request = RangeRequest::parse(asked.range.as_deref());
        // Without its size, only a range that says where it ends can be handed on; others are cut from the whole.
        let handed_on = match request {
            RangeRequest::From(first, last) if asked.if_range.is_none() => {
                Some(first..last.map_or(u64::MAX, |last| last.saturating_add(1)))
            }
            _ => None,
        };
        match self.0.fallback.get(key, handed_on.clone()).await {
            Ok(object) => {
                let ttl = object.ttl_left.unwrap_or(ttl);
                let caching = Caching::Immutable { ttl };
                match handed_on {
                    None => whole(asked, key, object.payload, caching),
                    Some(range) => {
                        let end = range.start + object.payload.len() as u64;
                        let part = response::Media {
                            payload: object.payload,
                            range: Some((range.start..end, object.size)),
                            content_type: key.content_type(),
                            // The tag is made of the object's end, which may not be in the range.
                            etag: None,
                            caching,
                        };
                        response::media(asked, part)
                    }
                }
            }
            Err(missing) => absent(missing),
        }
    }
}

/// An object whose bytes are all at hand, or the range of it that was asked for.
fn whole(asked: &Asked, key: &Key, payload: Payload, caching: Caching) -> Response<Body> {
    let size = payload.len() as u64;
    let etag = etag(key, &payload);
    let Some(range) = RangeRequest::parse(asked.range(&etag)).resolve(size) else {
        return response::range_not_satisfiable(size);
    };
    let payload = match &range {
        Some(range) => payload.slice(range.clone()),
        None => payload,
    };
    let (range, etag) = (range.map(|range| (range, size)), Some(etag.as_str()));
    response::media(asked, response::Media { payload, range, content_type: key.content_type(), etag, caching })
}

/// No key ever gets other bytes, so its name, size and end tell an object without reading all of it.
fn etag(key: &Key, payload: &Payload) -> String {
    let size = payload.len() as u64;
    let mut hasher = DefaultHasher::new();
    (key.as_str(), size).hash(&mut hasher);
    for chunk in payload.slice(size.saturating_sub(ETAG_BYTES)..size).chunks() {
        hasher.write(chunk);
    }
    format!("\"{:016x}\"", hasher.finish())
}

fn absent(missing: Missing) -> Response<Body> {
    match missing {
        Missing::NotFound => response::not_found(),
        Missing::Range { size } => response::range_not_satisfiable(size),
        Missing::Unavailable => response::unavailable("store-unavailable", "the store cannot be read now: try again"),
    }
}

fn crowded() -> Response<Body> {
    metrics::counter!("tailwater_origin_crowded_total").increment(1);
    response::unavailable("too-many-waiting", "too many requests are waiting already: try again")
}
