//! Store URLs as users write them: `file:PATH`, `redis://user:password@host`, `s3://bucket/prefix?endpoint=…`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::Error;
use crate::error::{At, Operation};

/// Which backend a URL names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// `file:PATH`, the embedded store.
    File,
    /// `memory:`, the embedded store without a disk.
    Memory,
    /// `momento:CACHE`.
    Momento,
    /// `momento-objectstore:STORE`.
    MomentoObjectStore,
    /// `redis://…`.
    Redis,
    /// `rediss://…`, Redis over TLS.
    RedisTls,
    /// `redis-cluster://host,host…`.
    RedisCluster,
    /// `rediss-cluster://host,host…`, a cluster over TLS.
    RedisClusterTls,
    /// `s3://bucket/prefix`.
    S3,
}

const SCHEMES: [(&str, Scheme); 9] = [
    ("file:", Scheme::File),
    ("memory:", Scheme::Memory),
    ("momento:", Scheme::Momento),
    ("momento-objectstore:", Scheme::MomentoObjectStore),
    ("redis:", Scheme::Redis),
    ("rediss:", Scheme::RedisTls),
    ("redis-cluster:", Scheme::RedisCluster),
    ("rediss-cluster:", Scheme::RedisClusterTls),
    ("s3:", Scheme::S3),
];

impl Scheme {
    /// The text before the location, with its colon.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        SCHEMES.iter().find(|(_, scheme)| *scheme == self).map_or("", |(prefix, _)| prefix)
    }

    /// Whether credentials may stand before an `@`.
    fn has_credentials(self) -> bool {
        matches!(self, Self::Redis | Self::RedisTls | Self::RedisCluster | Self::RedisClusterTls | Self::S3)
    }
}

/// A store URL, taken apart. Debug and Display never show what stands before the `@`, nor the value of a query
/// parameter that sounds like a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl {
    scheme: Scheme,
    location: String,
    user: Option<String>,
    password: Option<String>,
    query: Vec<(String, String)>,
}

impl StoreUrl {
    /// Takes a URL apart. A text without a scheme is not taken for a path: `file:` says so.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown scheme or a broken query.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let Some(&(prefix, scheme)) =
            SCHEMES.iter().find(|(prefix, _)| text.get(..prefix.len()).is_some_and(|t| t.eq_ignore_ascii_case(prefix)))
        else {
            return Err(unknown_scheme(text));
        };
        let rest = &text[prefix.len()..];
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (credentials, location) = match rest.rsplit_once('@') {
            Some((credentials, location)) if scheme.has_credentials() => (Some(credentials), location),
            _ => (None, rest),
        };
        let (user, password) = credentials.map_or((None, None), split_credentials);
        let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let url = Self { scheme, location: location.to_owned(), user, password, query };
        url.check_location()?;
        Ok(url)
    }

    fn check_location(&self) -> Result<(), Error> {
        let missing = match self.scheme {
            Scheme::Memory | Scheme::Momento => return Ok(()),
            Scheme::File => "a folder, as in file:tailwater-data",
            Scheme::MomentoObjectStore => "the name of the object store, as in momento-objectstore:live",
            Scheme::S3 => "a bucket, as in s3://bucket/prefix",
            _ => "a host, as in redis://127.0.0.1:6379",
        };
        if self.location.trim_matches('/').is_empty() && self.location != "/" {
            return Err(self.invalid(format!("the store URL needs {missing}")));
        }
        Ok(())
    }

    /// Which backend.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// What stands between the scheme (and credentials) and the query: path, cache name, `host:port/db`, bucket and prefix.
    #[must_use]
    pub fn location(&self) -> &str {
        &self.location
    }

    /// User name before the `@`, percent-decoded.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Password before the `@`, percent-decoded. Secret.
    #[must_use]
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// The value of a query parameter.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// A yes-or-no query parameter: `true`, `1`, `yes` or empty are yes.
    ///
    /// # Errors
    /// [`Error::Invalid`] for anything else but `false`, `0`, `no`.
    pub fn flag(&self, name: &str) -> Result<bool, Error> {
        match self.query(name) {
            None | Some("false" | "0" | "no") => Ok(false),
            Some("" | "true" | "1" | "yes") => Ok(true),
            Some(other) => Err(self.invalid(format!("{name}={other} is neither true nor false"))),
        }
    }

    /// A size in bytes: `1048576`, `64MiB`, `10GiB`, `500MB`.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn bytes(&self, name: &str) -> Result<Option<u64>, Error> {
        self.query(name)
            .map(|text| {
                parse_bytes(text).ok_or_else(|| self.invalid(format!("{name}={text} is no size such as 10GiB")))
            })
            .transpose()
    }

    /// A duration: `90s`, `15m`, `12h`, `7d`, `250ms`.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn duration(&self, name: &str) -> Result<Option<Duration>, Error> {
        self.query(name)
            .map(|text| {
                parse_duration(text).ok_or_else(|| self.invalid(format!("{name}={text} is no duration such as 1h")))
            })
            .transpose()
    }

    /// This store's own TTL (`?ttl=7d`), which overrides that of each put.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn ttl(&self) -> Result<Option<Duration>, Error> {
        match self.duration("ttl")? {
            Some(Duration::ZERO) => Err(self.invalid("ttl=0 would store nothing".into())),
            ttl => Ok(ttl),
        }
    }

    /// Refuses query parameters that this backend does not know (`ttl` is known to all).
    ///
    /// # Errors
    /// [`Error::Invalid`] names the first one and what is known.
    pub fn allow_query(&self, known: &[&str]) -> Result<(), Error> {
        match self.query.iter().find(|(name, _)| name != "ttl" && !known.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => {
                let known = known.iter().chain(&["ttl"]).copied().collect::<Vec<_>>().join(", ");
                Err(self.invalid(format!("`{name}` is not a parameter of this store; it knows {known}")))
            }
        }
    }

    /// An [`Error::Invalid`] about this URL.
    #[must_use]
    pub fn invalid(&self, detail: String) -> Error {
        Error::Invalid { at: At::store(self, Operation::Open), detail }
    }
}

fn unknown_scheme(text: &str) -> Error {
    // Whatever precedes the first colon is shown, nothing after it: it may hold a password.
    let shown = text.split(['@', ':', '/']).next().unwrap_or_default();
    let known = SCHEMES.map(|(prefix, _)| prefix).join(" ");
    Error::Invalid {
        at: At::store("store URL", Operation::Open),
        detail: format!("`{shown}` is no kind of store; a store URL begins with one of {known}"),
    }
}

fn split_credentials(text: &str) -> (Option<String>, Option<String>) {
    let (user, password) = match text.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (text, None),
    };
    let user = (!user.is_empty()).then(|| percent_decode(user));
    (user, password.filter(|password| !password.is_empty()).map(percent_decode))
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn split_unit(text: &str) -> Option<(f64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok()?;
    Some((number, text[digits..].trim()))
}

fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text.trim())?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1u64,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    };
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Some((number * factor as f64) as u64)
}

fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text.trim())?;
    let seconds = match unit {
        "ms" => number / 1_000.0,
        "" | "s" => number,
        "m" | "min" => number * 60.0,
        "h" => number * 3_600.0,
        "d" => number * 86_400.0,
        "w" => number * 604_800.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["key", "token", "secret", "password", "auth"].iter().any(|word| name.contains(word))
}

impl FromStr for StoreUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scheme.prefix())?;
        if self.scheme.has_credentials() {
            f.write_str("//")?;
        }
        if self.user.is_some() || self.password.is_some() {
            f.write_str("***@")?;
        }
        f.write_str(&self.location)?;
        for (n, (name, value)) in self.query.iter().enumerate() {
            let value = if is_secret(name) { "***" } else { value };
            write!(f, "{}{name}={value}", if n == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> StoreUrl {
        StoreUrl::parse(text).unwrap()
    }

    #[test]
    fn the_documented_urls_are_taken_apart() {
        assert_eq!(url("file:tailwater-data").location(), "tailwater-data");
        assert_eq!(url("file:///var/lib/tailwater").location(), "/var/lib/tailwater");
        assert_eq!(url("memory:").scheme(), Scheme::Memory);
        assert!(url("momento:livestreams?create=true").flag("create").unwrap());
        assert_eq!(url("momento-objectstore:live").scheme(), Scheme::MomentoObjectStore);
        assert_eq!(url("rediss://h:6380/1").scheme(), Scheme::RedisTls);
        assert_eq!(url("redis-cluster://a:1,b:2").location(), "a:1,b:2");
        let s3 = url("s3://bucket/some/prefix?endpoint=http://127.0.0.1:9000&ttl=7d");
        assert_eq!((s3.location(), s3.query("endpoint")), ("bucket/some/prefix", Some("http://127.0.0.1:9000")));
        assert_eq!(s3.ttl().unwrap(), Some(Duration::from_secs(7 * 86_400)));
    }

    #[test]
    fn credentials_are_decoded_and_never_shown() {
        let redis = url("redis://us%65r:p%40ss:w@host:6379/2?token=abc");
        assert_eq!((redis.user(), redis.password()), (Some("user"), Some("p@ss:w")));
        let shown = format!("{redis} {redis:?}");
        for secret in ["user", "p@ss", "p%40ss", "abc"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(shown.contains("host:6379/2"));
    }

    #[test]
    fn an_unknown_scheme_is_refused_without_repeating_what_may_be_a_password() {
        let error = StoreUrl::parse("mysql://root:hunter2@db").unwrap_err().to_string();
        assert!(error.contains("mysql") && error.contains("redis:") && !error.contains("hunter2"), "{error}");
        assert!(StoreUrl::parse("tailwater-data").is_err());
        assert!(StoreUrl::parse("file:").is_err());
        assert!(StoreUrl::parse("redis://").is_err());
    }

    #[test]
    fn unknown_parameters_are_refused_by_name() {
        let error = url("memory:?maximum=1").allow_query(&["max"]).unwrap_err().to_string();
        assert!(error.contains("`maximum`") && error.contains("max, ttl"), "{error}");
        url("memory:?max=1&ttl=1h").allow_query(&["max"]).unwrap();
    }

    #[test]
    fn sizes_and_durations_have_units() {
        let u = url("memory:?a=10GiB&b=500MB&c=64&d=1.5MiB&e=x&t=250ms&u=-1s");
        assert_eq!(u.bytes("a").unwrap(), Some(10 << 30));
        assert_eq!(u.bytes("b").unwrap(), Some(500_000_000));
        assert_eq!(u.bytes("c").unwrap(), Some(64));
        assert_eq!(u.bytes("d").unwrap(), Some(1_572_864));
        assert!(u.bytes("e").is_err());
        assert_eq!(u.duration("t").unwrap(), Some(Duration::from_millis(250)));
        assert!(u.duration("u").is_err());
    }
}
