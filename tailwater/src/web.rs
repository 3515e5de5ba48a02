//! The pages: player and dashboard, embedded in the binary.
//!
//! Everything a page loads comes from this server, so that it works without a network beyond it, and is addressed
//! relative to the page. The files' address holds a hash of all of them: they never change there, and a page names the
//! ones it was built with.
//!
//! hls.js is Dailymotion's, under the Apache License 2.0; its licence is served beside it (`hls/LICENSE.txt`).

use axum::Router;
use axum::extract::Path;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

include!(concat!(env!("OUT_DIR"), "/web_files.rs"));

/// Scripts, styles and connections from here only, nothing inline. `blob:` is how Media Source Extensions feed a
/// `<video>`. The player may be framed by other sites, as players are.
const PLAYER_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    media-src 'self' blob:; connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none'";

/// As the player's, and not to be framed: it has a button that stops a broadcast.
const DASHBOARD_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// An embedded file.
struct File {
    name: &'static str,
    /// Quoted, as in the header.
    etag: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
}

/// How long an answer may be kept.
#[derive(Clone, Copy)]
enum Keep {
    /// It never changes at this address.
    ForEver,
    /// Ask each time, which costs a 304.
    Revalidate,
    /// An error.
    Never,
}

impl Keep {
    fn value(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::ForEver => "public, max-age=31536000, immutable",
            Self::Revalidate => "no-cache",
            Self::Never => "no-store",
        })
    }
}

/// What viewers may have: `GET /watch/{name}`, the player page for whatever livestream the address names, and
/// `GET /watch/assets/{version}/{file}`, the files of both pages. All under one prefix, for a proxy to let through.
pub fn viewer_routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/watch/{name}", get(player)).route("/watch/assets/{version}/{*file}", get(asset))
}

/// What operators have beside that: `GET /`, the dashboard. It shows what the API says, with the token that it asks its
/// user for, and holds nothing secret itself.
pub fn operator_routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/", get(dashboard))
}

/// The answer to a browser that opens `/` without the API's token: 401, with the dashboard as its body, which asks for
/// the token. A browser cannot send one by itself when a person types an address.
pub fn sign_in(headers: &HeaderMap) -> Response {
    let mut response = answer(page("dashboard.html"), DASHBOARD_POLICY, Keep::Never, &without_condition(headers));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response
}

async fn player(headers: HeaderMap) -> Response {
    answer(page("watch.html"), PLAYER_POLICY, Keep::Revalidate, &headers)
}

async fn dashboard(headers: HeaderMap) -> Response {
    answer(page("dashboard.html"), DASHBOARD_POLICY, Keep::Revalidate, &headers)
}

async fn asset(Path((version, name)): Path<(String, String)>, headers: HeaderMap) -> Response {
    // A page of another build, still open after an upgrade: today's file serves it better than none, but not for ever.
    let keep = if version == VERSION { Keep::ForEver } else { Keep::Revalidate };
    answer(ASSETS.iter().find(|file| file.name == name), PLAYER_POLICY, keep, &headers)
}

fn page(name: &str) -> Option<&'static File> {
    PAGES.iter().find(|file| file.name == name)
}

fn without_condition(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    headers.remove(IF_NONE_MATCH);
    headers
}

fn answer(file: Option<&'static File>, policy: &'static str, keep: Keep, headers: &HeaderMap) -> Response {
    let common = |keep: Keep| -> [(HeaderName, HeaderValue); 4] {
        [
            (CACHE_CONTROL, keep.value()),
            (CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)),
            (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
        ]
    };
    let Some(file) = file else {
        return (StatusCode::NOT_FOUND, common(Keep::Never), "There is no such file.\n").into_response();
    };
    let validators = [(ETAG, HeaderValue::from_static(file.etag)), (VARY, HeaderValue::from_static("Accept-Encoding"))];
    if names(headers, IF_NONE_MATCH.as_str(), file.etag) {
        return (StatusCode::NOT_MODIFIED, common(keep), validators).into_response();
    }
    let kind = [(CONTENT_TYPE, HeaderValue::from_static(content_type(file.name)))];
    if names(headers, ACCEPT_ENCODING.as_str(), "gzip") {
        let encoding = [(CONTENT_ENCODING, HeaderValue::from_static("gzip"))];
        (common(keep), validators, kind, encoding, file.gzip).into_response()
    } else {
        (common(keep), validators, kind, file.plain).into_response()
    }
}

/// Whether a header's comma-separated list names `wanted`, weakly compared as a validator, not refused by `q=0`.
fn names(headers: &HeaderMap, header: &str, wanted: &str) -> bool {
    headers.get_all(header).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(
        |item| {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            name.trim_start_matches("W/") == wanted && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00"))
        },
    )
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn ask(path: &str, headers: &[(HeaderName, &str)]) -> Response {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let app: Router = viewer_routes().merge(operator_routes());
        app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    async fn text(response: Response) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    /// What a page names in `src="…"` and `href="…"` below the assets, as addresses from the root.
    fn assets_of(page: &str) -> Vec<String> {
        page.split('"')
            .filter(|part| part.starts_with("assets/") || part.starts_with("watch/assets/"))
            .map(|part| format!("/watch/{}", part.trim_start_matches("watch/")))
            .collect()
    }

    #[tokio::test]
    async fn every_file_that_a_page_names_is_there_and_may_be_kept_for_ever() {
        for path in ["/watch/mymomentostream", "/"] {
            let page = ask(path, &[]).await;
            assert_eq!(page.status(), StatusCode::OK);
            assert_eq!(page.headers()[CACHE_CONTROL], "no-cache");
            let named = assets_of(&text(page).await);
            assert!(named.len() >= 4, "{path} names {named:?}");
            for asset in named {
                let response = ask(&asset, &[]).await;
                assert_eq!(response.status(), StatusCode::OK, "{asset}");
                assert_eq!(response.headers()[CACHE_CONTROL], "public, max-age=31536000, immutable", "{asset}");
            }
        }
    }

    #[test]
    fn every_module_that_a_module_imports_is_embedded() {
        for file in ASSETS.iter().filter(|file| file.name.ends_with(".js") && !file.name.starts_with("hls/")) {
            let source = std::str::from_utf8(file.plain).unwrap();
            let folder = file.name.rsplit_once('/').unwrap().0;
            for imported in source.lines().filter_map(|line| line.split_once(" from \"")) {
                let target = imported.1.trim_end_matches("\";");
                let name = match target.strip_prefix("../") {
                    Some(above) => above.to_owned(),
                    None => format!("{folder}/{}", target.trim_start_matches("./")),
                };
                assert!(ASSETS.iter().any(|other| other.name == name), "{} imports {target}", file.name);
            }
        }
    }

    #[tokio::test]
    async fn pages_run_no_inline_script_and_load_nothing_from_elsewhere() {
        for path in ["/watch/a", "/"] {
            let page = ask(path, &[]).await;
            let policy = page.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
            assert!(policy.contains("script-src 'self';") && !policy.contains("unsafe-inline"), "{policy}");
            let html = text(page).await;
            assert!(!html.contains("<script>") && !html.contains("style=") && !html.contains("onclick"), "{path}");
            assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("src=\"//"), "{path}");
        }
    }

    #[tokio::test]
    async fn a_file_already_held_is_not_sent_again() {
        let first = ask("/watch/a", &[]).await;
        let etag = first.headers()[ETAG].to_str().unwrap().to_owned();
        for held in [etag.clone(), format!("\"other\", W/{etag}")] {
            let again = ask("/watch/a", &[(IF_NONE_MATCH, &held)]).await;
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{held}");
            assert!(text(again).await.is_empty());
        }
        assert_eq!(ask("/watch/a", &[(IF_NONE_MATCH, "\"other\"")]).await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn files_are_compressed_for_whoever_takes_it() {
        let path = format!("/watch/assets/{VERSION}/hls/hls.min.mjs");
        let zipped = ask(&path, &[(ACCEPT_ENCODING, "br, gzip;q=0.8")]).await;
        assert_eq!(zipped.headers()[CONTENT_ENCODING], "gzip");
        assert_eq!(zipped.headers()[VARY], "Accept-Encoding");
        let plain = ask(&path, &[(ACCEPT_ENCODING, "br, gzip;q=0")]).await;
        assert!(!plain.headers().contains_key(CONTENT_ENCODING));
        assert!(text(plain).await.contains("EXT-X"));
    }

    #[tokio::test]
    async fn a_page_of_another_build_still_gets_its_files_but_keeps_them_no_longer() {
        let response = ask("/watch/assets/0123456789abcdef/theme.css", &[]).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[CACHE_CONTROL], "no-cache");
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_is_404_and_not_kept() {
        for name in ["nothing.js", "../../Cargo.toml", "watch.html"] {
            let response = ask(&format!("/watch/assets/{VERSION}/{name}"), &[]).await;
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{name}");
            assert_eq!(response.headers()[CACHE_CONTROL], "no-store", "{name}");
        }
    }

    #[tokio::test]
    async fn without_a_token_the_dashboard_is_refused_with_itself_to_ask_for_one() {
        let refused = sign_in(&HeaderMap::new());
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(refused.headers()[CACHE_CONTROL], "no-store");
        assert!(text(refused).await.contains("id=\"sign-in\""));
    }

    #[tokio::test]
    async fn the_licence_of_hls_js_travels_with_it() {
        let response = ask(&format!("/watch/assets/{VERSION}/hls/LICENSE.txt"), &[]).await;
        assert!(text(response).await.contains("Apache License"));
    }
}
