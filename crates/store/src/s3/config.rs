//! From an S3 URL and the usual variables to a client.

use std::net::IpAddr;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::{ClientOptions, RetryConfig};

use crate::open::{Env, OpenOptions};
use crate::{Error, StoreUrl};

/// The variables that the AWS tools read, as far as they are about S3.
const VARIABLES: [&str; 13] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// One checked S3 configuration.
pub(super) struct Config {
    pub(super) client: AmazonS3,
    pub(super) prefix: Path,
    pub(super) ttl: Duration,
    pub(super) timeout: Duration,
    pub(super) name: String,
}

impl Config {
    pub(super) fn new(url: &StoreUrl, env: Env<'_>, options: &OpenOptions) -> Result<Self, Error> {
        url.allow_query(&["endpoint", "region", "insecure"])?;
        // The client's TLS wants a process-wide provider; one that is installed already is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (bucket, prefix) = url.location().split_once('/').unwrap_or((url.location(), ""));
        let prefix = Path::parse(prefix.trim_matches('/')).map_err(|error| url.invalid(error.to_string()))?;
        let client = client(url, bucket, env, options)?;
        let ttl = url.ttl()?.unwrap_or(options.ttl);
        Ok(Self { client, prefix, ttl, timeout: options.attempt_timeout, name: url.to_string() })
    }
}

fn client(url: &StoreUrl, bucket: &str, env: Env<'_>, options: &OpenOptions) -> Result<AmazonS3, Error> {
    let transport = ClientOptions::new()
        .with_timeout(options.attempt_timeout)
        .with_connect_timeout(CONNECT_TIMEOUT.min(options.attempt_timeout));
    // Trying again is the business of `crate::Retry` alone.
    let once = RetryConfig { max_retries: 0, retry_timeout: options.attempt_timeout, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::new().with_client_options(transport).with_retry(once);
    for name in VARIABLES {
        let key = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>();
        if let (Some(value), Ok(key)) = (env(name).filter(|value| !value.is_empty()), key) {
            builder = builder.with_config(key, value);
        }
    }
    if let (Some(user), Some(password)) = (url.user(), url.password()) {
        builder = builder.with_access_key_id(user).with_secret_access_key(password);
    }
    if let Some(region) = url.query("region") {
        builder = builder.with_region(region);
    }
    let from_env = || env("AWS_ENDPOINT_URL_S3").or_else(|| env("AWS_ENDPOINT_URL"));
    if let Some(endpoint) = url.query("endpoint").map(str::to_owned).or_else(from_env).filter(|url| !url.is_empty()) {
        let plain = allows_http(url, &endpoint)?;
        // Other makers' stores have no DNS name for each bucket.
        builder = builder.with_endpoint(endpoint).with_virtual_hosted_style_request(false).with_allow_http(plain);
    }
    builder.with_bucket_name(bucket).build().map_err(|error| url.invalid(error.to_string()))
}

/// Plain HTTP carries media and signatures in the clear: on loopback, or where the user says so.
fn allows_http(store: &StoreUrl, endpoint: &str) -> Result<bool, Error> {
    let parsed = url::Url::parse(endpoint).map_err(|error| store.invalid(format!("endpoint: {error}")))?;
    let local = match parsed.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(url::Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    };
    match parsed.scheme() {
        "https" => Ok(false),
        "http" if local || store.flag("insecure")? => Ok(true),
        "http" => Err(store.invalid("plain http is for loopback endpoints; add &insecure=true if it is meant".into())),
        other => Err(store.invalid(format!("an endpoint begins with https:// or http://, not {other}:"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str, env: Env<'_>) -> Result<Config, Error> {
        Config::new(&StoreUrl::parse(text).unwrap(), env, &OpenOptions::default())
    }

    #[test]
    fn bucket_and_prefix_are_taken_apart_and_the_ttl_is_the_stores_own() {
        let config = config("s3://bucket/live/one?region=eu-central-1&ttl=7d", &|_| None).unwrap();
        assert_eq!(config.prefix.as_ref(), "live/one");
        assert_eq!(config.ttl, Duration::from_secs(7 * 86_400));
    }

    #[test]
    fn plain_http_is_for_loopback_or_on_request() {
        let none = |_: &str| None;
        for fine in ["http://127.0.0.1:9000", "http://localhost:9000", "http://[::1]:9000", "https://s3.example.com"] {
            config(&format!("s3://bucket?endpoint={fine}"), &none).unwrap();
        }
        let refused = config("s3://bucket?endpoint=http://s3.example.com", &none).err().unwrap();
        assert!(refused.to_string().contains("insecure=true"), "{refused}");
        config("s3://bucket?endpoint=http://s3.example.com&insecure=true", &none).unwrap();
        let from_env = |name: &str| (name == "AWS_ENDPOINT_URL").then(|| "ftp://h".to_owned());
        assert!(config("s3://bucket", &from_env).is_err());
    }

    #[test]
    fn secrets_do_not_show() {
        let config = config("s3://AKIA:very-secret@bucket?region=x", &|_| None).unwrap();
        assert!(!config.name.contains("very-secret") && !config.name.contains("AKIA"), "{}", config.name);
    }
}
