//! Keys and endpoints: `MOMENTO_API_KEY` and `MOMENTO_ENDPOINT`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use serde::Deserialize;

use crate::error::{At, Operation};
use crate::open::Env;
use crate::{Error, StoreUrl};

const KEY: &str = "MOMENTO_API_KEY";
const ENDPOINT: &str = "MOMENTO_ENDPOINT";

/// A key and where it is for. Debug shows no key.
#[derive(Clone)]
pub(crate) struct Access {
    /// What is sent as `authorization`. Secret.
    pub(crate) key: String,
    pub(crate) generation: Generation,
    pub(crate) endpoint: Endpoint,
}

/// How the key was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Generation {
    /// base64 of `{"endpoint", "api_key"}`: the endpoint is inside. Disposable tokens too.
    First,
    /// A JWT with the claim `"t": "g"`, good in every region and therefore without an endpoint.
    Second,
}

/// Where the service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A host such as `cell-4-us-west-2-1.prod.a.momentohq.com`, whose services are its subdomains, over TLS.
    Host(String),
    /// A URL taken as it is, without TLS: momento-fake, or a proxy.
    Plain(String),
}

#[derive(Deserialize)]
struct FirstGeneration {
    endpoint: String,
    api_key: String,
}

impl Access {
    /// Reads both variables.
    ///
    /// # Errors
    /// One sentence on what is missing or wrong.
    pub(crate) fn from_env(url: &StoreUrl, env: Env<'_>) -> Result<Self, Error> {
        let variable = |name: &str| env(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let refuse = |detail: &str| Error::Auth { at: At::store(url, Operation::Open), detail: detail.to_owned() };
        let key = variable(KEY).ok_or_else(|| {
            refuse("set MOMENTO_API_KEY to an API key from the Momento console (momento-fake prints one to try with)")
        })?;
        let endpoint = variable(ENDPOINT).map(|text| Endpoint::parse(&text));
        if let Some(first) = first_generation(&key) {
            let endpoint = endpoint.unwrap_or(Endpoint::Host(first.endpoint));
            return Ok(Self { key: first.api_key, generation: Generation::First, endpoint });
        }
        if !is_second_generation(&key) {
            return Err(refuse(
                "MOMENTO_API_KEY is no Momento API key: neither the base64 text of the first generation nor the \
                 three dot-separated parts of the second; copy it again from the Momento console, whole",
            ));
        }
        let endpoint = endpoint.ok_or_else(|| {
            refuse(
                "this API key is good in every region: set MOMENTO_ENDPOINT to the one to use, for instance \
                 cell-4-us-west-2-1.prod.a.momentohq.com",
            )
        })?;
        Ok(Self { key, generation: Generation::Second, endpoint })
    }
}

impl Endpoint {
    /// People paste what the console or a curl line shows: `https://`, `api.cache.` and slashes are taken off.
    fn parse(text: &str) -> Self {
        let text = text.trim_end_matches('/');
        if text.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://")) {
            return Self::Plain(text.to_owned());
        }
        let host = text.strip_prefix("https://").unwrap_or(text);
        let services = ["api.cache.", "cache.", "control."];
        let host = services.iter().find_map(|service| host.strip_prefix(service)).unwrap_or(host);
        Self::Host(host.to_owned())
    }

    /// The base URL of the HTTP API.
    #[cfg(feature = "objectstore")]
    pub(crate) fn http_api(&self) -> String {
        match self {
            Self::Host(host) => format!("https://api.cache.{host}"),
            Self::Plain(url) => url.clone(),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(text) | Self::Plain(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Access({:?} generation, {})", self.generation, self.endpoint)
    }
}

fn first_generation(key: &str) -> Option<FirstGeneration> {
    let decoded = [URL_SAFE, STANDARD, URL_SAFE_NO_PAD, STANDARD_NO_PAD].iter().find_map(|b| b.decode(key).ok())?;
    serde_json::from_slice(&decoded).ok()
}

fn is_second_generation(key: &str) -> bool {
    #[derive(Deserialize)]
    struct Claims {
        t: String,
    }
    let mut segments = key.split('.');
    let (Some(_), Some(claims), Some(_), None) = (segments.next(), segments.next(), segments.next(), segments.next())
    else {
        return false;
    };
    let claims = URL_SAFE_NO_PAD.decode(claims).ok().and_then(|json| serde_json::from_slice::<Claims>(&json).ok());
    claims.is_some_and(|claims| claims.t == "g")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "cell-4-us-west-2-1.prod.a.momentohq.com";

    fn second() -> String {
        format!("{}.{}.sig", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#), URL_SAFE_NO_PAD.encode(r#"{"t":"g"}"#))
    }

    fn first() -> String {
        URL_SAFE.encode(format!(r#"{{"endpoint":"{HOST}","api_key":"inner"}}"#))
    }

    fn access(key: Option<&str>, endpoint: Option<&str>) -> Result<Access, Error> {
        let url = StoreUrl::parse("momento:livestreams").unwrap();
        let env = |name: &str| match name {
            KEY => key.map(str::to_owned),
            ENDPOINT => endpoint.map(str::to_owned),
            other => panic!("{other} was asked for"),
        };
        Access::from_env(&url, &env)
    }

    #[test]
    fn a_key_of_the_first_generation_brings_its_endpoint() {
        let found = access(Some(&first()), None).unwrap();
        assert_eq!((found.key.as_str(), &found.endpoint), ("inner", &Endpoint::Host(HOST.into())));
        let unpadded = first().trim_end_matches('=').to_owned();
        assert_eq!(access(Some(&unpadded), None).unwrap().key, "inner");
        let overridden = access(Some(&first()), Some("http://127.0.0.1:8080")).unwrap();
        assert_eq!(overridden.endpoint, Endpoint::Plain("http://127.0.0.1:8080".into()));
    }

    #[test]
    fn a_key_of_the_second_generation_needs_an_endpoint() {
        let error = access(Some(&second()), None).unwrap_err().to_string();
        assert!(error.contains("set MOMENTO_ENDPOINT"), "{error}");
        let error = access(Some(&second()), Some("  ")).unwrap_err().to_string();
        assert!(error.contains("set MOMENTO_ENDPOINT"), "{error}");
        assert_eq!(access(Some(&second()), Some(HOST)).unwrap().key, second());
    }

    #[test]
    fn a_pasted_endpoint_is_understood() {
        for text in [HOST.to_owned(), format!("https://{HOST}/"), format!("https://api.cache.{HOST}")] {
            let found = access(Some(&second()), Some(&text)).unwrap();
            assert_eq!(found.endpoint, Endpoint::Host(HOST.into()), "{text}");
        }
    }

    #[test]
    fn a_missing_key_and_what_is_none_are_told_apart_and_never_repeated() {
        assert!(access(None, Some(HOST)).unwrap_err().to_string().contains("set MOMENTO_API_KEY"));
        let error = access(Some("hunter2"), Some(HOST)).unwrap_err().to_string();
        assert!(error.contains("no Momento API key") && !error.contains("hunter2"), "{error}");
        let shown = format!("{:?}", access(Some(&first()), None).unwrap());
        assert!(!shown.contains("inner"), "{shown}");
    }
}
