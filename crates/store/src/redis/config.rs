//! From a Redis URL to addresses and credentials.

use std::time::Duration;

use ::redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, TlsCertificates};

use crate::open::{Env, OpenOptions};
use crate::url::Scheme;
use crate::{Error, StoreUrl};

const DEFAULT_PORT: u16 = 6379;
/// A TCP and TLS handshake across a continent takes a fifth of this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// One checked Redis configuration.
pub(super) struct Config {
    pub(super) nodes: Vec<ConnectionInfo>,
    pub(super) cluster: bool,
    /// The authority that signed the servers' certificates, where it is not a public one.
    pub(super) authority: Option<TlsCertificates>,
    /// Longest that one operation may take, connecting included.
    pub(super) timeout: Duration,
    pub(super) connect_timeout: Duration,
    /// Name for logs and errors, without credentials.
    pub(super) name: String,
}

impl Config {
    /// The user and password before the `@` win over `REDIS_USERNAME` and `REDIS_PASSWORD`.
    pub(super) fn new(url: &StoreUrl, env: Env<'_>, options: &OpenOptions) -> Result<Self, Error> {
        url.allow_query(&["ca"])?;
        let (cluster, tls) = match url.scheme() {
            Scheme::RedisCluster => (true, false),
            Scheme::RedisClusterTls => (true, true),
            Scheme::RedisTls => (false, true),
            _ => (false, false),
        };
        if tls {
            // The crate's TLS wants a process-wide provider; one that is installed already is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let authority = authority(url, tls)?;
        let (hosts, database) = url.location().split_once('/').unwrap_or((url.location(), ""));
        let database = match database {
            "" | "0" => 0,
            _ if cluster => return Err(url.invalid("a Redis cluster has only database 0".into())),
            text => text.parse::<u16>().map_err(|_| url.invalid(format!("`{text}` is no database number")))?,
        };
        let user = url.user().map(str::to_owned).or_else(|| env("REDIS_USERNAME"));
        let password = url.password().map(str::to_owned).or_else(|| env("REDIS_PASSWORD"));
        let mut settings = RedisConnectionInfo::default().set_db(database.into());
        if let Some(user) = user.filter(|user| !user.is_empty()) {
            settings = settings.set_username(user);
        }
        if let Some(password) = password.filter(|password| !password.is_empty()) {
            settings = settings.set_password(password);
        }
        let nodes = hosts
            .split(',')
            .filter(|host| !host.is_empty())
            .map(|host| node(url, host, tls, &settings))
            .collect::<Result<Vec<_>, _>>()?;
        if nodes.len() > 1 && !cluster {
            return Err(url.invalid("several hosts are a cluster: write redis-cluster://host,host".into()));
        }
        Ok(Self {
            nodes,
            cluster,
            authority,
            timeout: options.attempt_timeout,
            connect_timeout: CONNECT_TIMEOUT.min(options.attempt_timeout),
            name: url.to_string(),
        })
    }
}

/// `?ca=FILE`, certificates in PEM.
fn authority(url: &StoreUrl, tls: bool) -> Result<Option<TlsCertificates>, Error> {
    let Some(file) = url.query("ca") else { return Ok(None) };
    if !tls {
        return Err(url.invalid("ca is for TLS: write rediss:// or rediss-cluster://".into()));
    }
    let pem = std::fs::read(file).map_err(|error| url.invalid(format!("ca={file} cannot be read: {error}")))?;
    Ok(Some(TlsCertificates { client_tls: None, root_cert: Some(pem) }))
}

fn node(url: &StoreUrl, text: &str, tls: bool, settings: &RedisConnectionInfo) -> Result<ConnectionInfo, Error> {
    let (host, port) = host_and_port(text).ok_or_else(|| url.invalid(format!("`{text}` is no host:port")))?;
    let addr = if tls {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    };
    let info = addr.into_connection_info().map_err(|error| url.invalid(error.to_string()))?;
    // Without Nagle's delay: an object's last packet must not wait for an acknowledgement.
    let tcp = ::redis::io::tcp::TcpSettings::default().set_nodelay(true);
    Ok(info.set_redis_settings(settings.clone()).set_tcp_settings(tcp))
}

fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, port.strip_prefix(':').or(port.is_empty().then_some("")))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, Some("")),
        },
    };
    let port = match port? {
        "" => DEFAULT_PORT,
        port => port.parse().ok()?,
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str, env: Env<'_>) -> Result<Config, Error> {
        Config::new(&StoreUrl::parse(text).unwrap(), env, &OpenOptions::default())
    }

    #[test]
    fn hosts_have_ports_and_brackets() {
        assert_eq!(host_and_port("h"), Some(("h".into(), 6379)));
        assert_eq!(host_and_port("h:1"), Some(("h".into(), 1)));
        assert_eq!(host_and_port("[::1]"), Some(("::1".into(), 6379)));
        assert_eq!(host_and_port("[::1]:7"), Some(("::1".into(), 7)));
        for broken in [":1", "h:x", "[::1", "[::1]7", "h:99999"] {
            assert_eq!(host_and_port(broken), None, "{broken}");
        }
    }

    #[test]
    fn credentials_come_from_the_url_or_else_from_the_environment() {
        let env = |name: &str| match name {
            "REDIS_USERNAME" => Some("env-user".to_owned()),
            "REDIS_PASSWORD" => Some("env-secret".to_owned()),
            _ => None,
        };
        let from_env = config("redis://h/3", &env).unwrap();
        let settings = from_env.nodes[0].redis_settings();
        assert_eq!(
            (settings.username(), settings.password(), settings.db()),
            (Some("env-user"), Some("env-secret"), 3)
        );
        let from_url = config("redis://u:p@h", &env).unwrap();
        assert_eq!(from_url.nodes[0].redis_settings().password(), Some("p"));
        assert!(!from_env.name.contains("secret"));
    }

    #[test]
    fn a_cluster_is_named_as_one() {
        let none = |_: &str| None;
        assert_eq!(config("redis-cluster://a,b:1,c", &none).unwrap().nodes.len(), 3);
        assert!(config("redis://a,b", &none).is_err());
        assert!(config("redis-cluster://a/1", &none).is_err());
        assert!(config("redis://a/x", &none).is_err());
    }

    #[test]
    fn a_private_authority_is_for_tls_and_has_to_be_there() {
        let none = |_: &str| None;
        let refusal = |text| config(text, &none).err().unwrap().to_string();
        assert!(refusal("redis://a?ca=/none.pem").contains("rediss://"));
        assert!(refusal("rediss://a?ca=/none.pem").contains("/none.pem cannot be read"));
    }
}
