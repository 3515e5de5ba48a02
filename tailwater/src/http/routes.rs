//! Which paths are behind which listener.

use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    middleware::{self, Next},
    response::Response,
};

use crate::{
    control::{Access, Control, error},
    origin::Origin,
};

/// The routers of the one or two listeners.
#[derive(Debug)]
pub struct Routers {
    /// On `--http`.
    pub viewers: Router,
    /// On `--api`, if that is a listener of its own.
    pub operators: Option<Router>,
}

/// With `apart`, viewers get `/live`, `/watch` and health on their listener and operators everything on theirs;
/// without it one listener has everything.
pub fn routers(origin: Origin, control: &Control, access: Access, apart: bool) -> Routers {
    let viewers = origin.routes().merge(crate::web::viewer_routes()).merge(control.health_routes());
    let all = viewers.clone().merge(control.operator_routes(access));
    if apart {
        Routers { viewers: finished(viewers), operators: Some(finished(all)) }
    } else {
        Routers { viewers: finished(all), operators: None }
    }
}

fn finished(router: Router) -> Router {
    router.fallback(error::nothing).method_not_allowed_fallback(error::not_allowed).layer(middleware::from_fn(watched))
}

/// Counts each answer. Thousands of segments a second are nothing to read in a log: only `debug` shows them.
async fn watched(request: Request, next: Next) -> Response {
    let shown =
        tracing::enabled!(tracing::Level::DEBUG).then(|| (request.method().clone(), request.uri().path().to_owned()));
    let response = next.run(request).await;
    let status = response.status();
    metrics::counter!("tailwater_http_responses_total", "class" => class(status)).increment(1);
    if let Some((method, path)) = shown {
        tracing::debug!(%method, path, status = status.as_u16(), "answered");
    }
    response
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
