//! Which paths are behind which listener.

use axum::{
    Router,
    extract::Request,
    http::{Method, StatusCode},
    middleware::{self, Next},
    response::Response,
};

use crate::{
    control::{Access, Control, error},
    origin::Origin,
};

/// What one listener serves.
#[derive(Clone, Debug)]
pub struct Site {
    /// Everything.
    pub router: Router,
    /// What of it needs no router: see `direct`.
    pub origin: Option<Origin>,
}

/// What the one or two listeners serve.
#[derive(Debug)]
pub struct Sites {
    /// On `--http`.
    pub viewers: Site,
    /// On `--api`, if that is a listener of its own.
    pub operators: Option<Site>,
}

/// With `apart`, viewers get `/live`, `/watch` and health on their listener and operators everything on theirs;
/// without it one listener has everything.
pub fn sites(origin: Origin, control: &Control, access: Access, apart: bool) -> Sites {
    let viewers = origin.clone().routes().merge(crate::web::viewer_routes()).merge(control.health_routes());
    let all = viewers.clone().merge(control.operator_routes(access));
    let site = |router| Site { router: finished(router), origin: Some(origin.clone()) };
    if apart {
        Sites { viewers: site(viewers), operators: Some(site(all)) }
    } else {
        Sites { viewers: site(all), operators: None }
    }
}

fn finished(router: Router) -> Router {
    router.fallback(error::nothing).method_not_allowed_fallback(error::not_allowed).layer(middleware::from_fn(watched))
}

async fn watched(request: Request, next: Next) -> Response {
    let shown = Shown::of(&request);
    let response = next.run(request).await;
    shown.answered(response.status());
    response
}

/// The origin's answer to a request, counted as the router's are.
pub(super) async fn answered(origin: &Origin, request: Request<()>) -> Response {
    let shown = Shown::of(&request);
    let response = origin.respond(request).await;
    shown.answered(response.status());
    response
}

/// Counts an answer. Thousands of segments a second are nothing to read in a log: only `debug` shows them.
struct Shown(Option<Box<(Method, String)>>);

impl Shown {
    fn of<B>(request: &Request<B>) -> Self {
        let shown = || Box::new((request.method().clone(), request.uri().path().to_owned()));
        Self(tracing::enabled!(tracing::Level::DEBUG).then(shown))
    }

    fn answered(self, status: StatusCode) {
        metrics::counter!("tailwater_http_responses_total", "class" => class(status)).increment(1);
        if let Some((method, path)) = self.0.as_deref() {
            tracing::debug!(%method, path, status = status.as_u16(), "answered");
        }
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        ..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}
