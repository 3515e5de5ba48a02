//! `/openapi.json` and `/docs`: the API described, and a page to try it. Everything the page loads is embedded.

use axum::Router;
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};
use utoipa_swagger_ui::SwaggerUi;

use super::{Control, events, livestreams, metrics};

/// The document's frame; the paths come from the handlers.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "tailwater",
        description = "Live RTMP in, an adaptive-bitrate ladder of HLS out. Errors are {\"error\", \"code\"}.",
        license(name = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "livestreams", description = "Make, watch and end livestreams"),
        (name = "server", description = "How the server does"),
    )
)]
struct Document;

/// The API's routes and their description: one source.
pub(super) fn api() -> OpenApiRouter<Control> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(livestreams::create, livestreams::list))
        .routes(routes!(livestreams::show, livestreams::end))
        .routes(routes!(events::events))
        .routes(routes!(metrics::metrics))
}

/// The description, and a page that shows it.
pub(super) fn pages(document: utoipa::openapi::OpenApi) -> Router {
    SwaggerUi::new("/docs").url("/openapi.json", document).into()
}
