//! Who may use what operators have.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use subtle::ConstantTimeEq;

use super::ApiError;
use crate::config::{Resolved, Secret};

/// Who may.
#[derive(Clone, Debug)]
pub enum Access {
    /// Whoever sends this token.
    Token(Secret),
    /// Whoever reaches us, which only this machine does. Its browser does so too, on behalf of any page: a page's own
    /// name made to resolve to us (DNS rebinding) is told by the name it sends as `Host`.
    Loopback {
        /// Also a name of ours.
        public_host: Option<String>,
    },
    /// Whoever reaches us: `--insecure`.
    Anyone,
}

impl Access {
    /// As configured.
    pub fn new(resolved: &Resolved) -> Self {
        match &resolved.api.token {
            Some(token) => Self::Token(token.clone()),
            None if resolved.api.insecure => Self::Anyone,
            None => Self::Loopback { public_host: resolved.public_host.clone() },
        }
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        match self {
            Self::Anyone => Ok(()),
            Self::Token(token) if bearer(headers).is_some_and(|sent| equal(sent, token.expose())) => Ok(()),
            Self::Token(_) => Err(ApiError::new(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "this needs the API token, sent as Authorization: Bearer",
            )),
            Self::Loopback { public_host } if is_known(headers, public_host.as_deref()) => Ok(()),
            Self::Loopback { .. } => Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "unknown-host",
                "without an API token this server answers to its address, localhost and public_host only",
            )),
        }
    }
}

/// Lets a request through, or refuses it. A browser at `/` gets the page that asks for the token.
pub async fn require(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    match access.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) if error.code() == "unauthorized" && request.uri().path() == "/" => {
            crate::web::sign_in(request.headers())
        }
        Err(error) => error.into_response(),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// In the same time wherever they differ, so that the token cannot be found byte by byte.
fn equal(sent: &str, token: &str) -> bool {
    sent.as_bytes().ct_eq(token.as_bytes()).into()
}

/// Whether `Host` is an address, localhost or a name of ours. HTTP/2 sends it as `:authority`, which ends up in the
/// URI; such a client is no browser without TLS, and passes.
fn is_known(headers: &HeaderMap, public_host: Option<&str>) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return true };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    let address = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
    let local = name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost");
    address || local || public_host.is_some_and(|ours| ours.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn the_token_must_be_the_very_one() {
        let access = Access::Token("correct-horse".parse().unwrap());
        for (value, ok) in [
            ("Bearer correct-horse", true),
            ("bearer correct-horse", true),
            ("Bearer correct-hors", false),
            ("Bearer correct-horsee", false),
            ("Bearer ", false),
            ("Basic correct-horse", false),
            ("correct-horse", false),
        ] {
            assert_eq!(access.check(&with(header::AUTHORIZATION, value)).is_ok(), ok, "{value}");
        }
        assert!(access.check(&HeaderMap::new()).is_err());
    }

    #[test]
    fn without_a_token_a_page_of_another_name_is_refused() {
        let access = Access::Loopback { public_host: Some("live.lan".into()) };
        for (host, ok) in [
            ("localhost:3000", true),
            ("127.0.0.1:3000", true),
            ("[::1]:3000", true),
            ("[::1]", true),
            ("LIVE.lan:3000", true),
            ("evil.example", false),
            ("localhost.evil.example:3000", false),
        ] {
            assert_eq!(access.check(&with(header::HOST, host)).is_ok(), ok, "{host}");
        }
        assert!(Access::Anyone.check(&with(header::HOST, "evil.example")).is_ok());
    }
}
