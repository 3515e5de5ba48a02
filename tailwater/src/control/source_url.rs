//! Which URLs a source may be pulled from: a pure function of the URL and the rules.
//!
//! `rtmpUrl` ends up with FFmpeg, which also speaks `file:`, `concat:` and HTTP to cloud metadata addresses. So only
//! `rtmp` and `rtmps` pass, and no address inside the network this server stands in unless the operator allows it.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ipnet::IpNet;
use url::{Host, Url};

/// Longest URL taken, in bytes: more is nobody's stream key.
pub const MAX_URL_BYTES: usize = 2048;
const RTMP_PORT: u16 = 1935;
const RTMPS_PORT: u16 = 443;

/// An RTMP URL that passed [`parse`](SourceUrl::parse). Its last path segment and its query are a stream key: Display and Debug hide them.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceUrl {
    url: Url,
    host: Host<String>,
}

/// Why a URL is not taken as a source. Each is a sentence for the user; none repeats the URL's key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceUrlError {
    /// Longer than [`MAX_URL_BYTES`].
    #[error("the RTMP URL has more than {MAX_URL_BYTES} bytes")]
    TooLong,
    /// Not a URL.
    #[error("the RTMP URL is not a URL ({reason}): write it like rtmp://host/app/key")]
    Malformed {
        /// What the parser said.
        reason: String,
    },
    /// Another scheme than `rtmp` or `rtmps`.
    #[error("{scheme}: is not a scheme sources can have: only rtmp:// and rtmps:// are")]
    Scheme {
        /// The scheme as written.
        scheme: String,
    },
    /// No app or no key.
    #[error("the RTMP URL names no stream: write it like rtmp://host/app/key")]
    NoStream,
    /// An address inside the server's own network.
    #[error("{host} is {kind}, which sources may not be pulled from; the operator can allow it with `allow_source`")]
    Refused {
        /// The host as written.
        host: String,
        /// What kind of address it is.
        kind: &'static str,
    },
}

impl SourceUrlError {
    /// The error's code in the API.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Scheme { .. } => "unsupported-scheme",
            Self::Refused { .. } => "source-not-allowed",
            _ => "invalid-rtmp-url",
        }
    }
}

/// A host name, an address or a network from which sources may be pulled although it is private.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedSource {
    /// A host by name, whatever it resolves to.
    Name(String),
    /// An address or a network.
    Net(IpNet),
}

impl FromStr for AllowedSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(net) = text.parse::<IpNet>() {
            return Ok(Self::Net(net));
        }
        if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(Self::Net(address.into()));
        }
        match Host::parse(text) {
            Ok(Host::Domain(name)) if !text.contains('/') => Ok(Self::Name(name)),
            _ => Err(format!("`{text}` is neither a host name nor an address nor a network such as 10.0.0.0/8")),
        }
    }
}

/// What decides beside the URL.
#[derive(Clone, Debug, Default)]
pub struct SourceRules {
    /// What the operator allows.
    pub allow: Vec<AllowedSource>,
    /// Loopback is allowed: the API listens on loopback only, so whoever asks is on this machine already.
    pub allow_loopback: bool,
}

impl SourceRules {
    /// Whether a source may be pulled from this address, which `name` resolved to.
    ///
    /// # Errors
    /// What kind of address it is, if it may not.
    pub fn check_address(&self, name: Option<&str>, address: IpAddr) -> Result<(), &'static str> {
        let Some(kind) = kind(address) else { return Ok(()) };
        let address = embedded_v4(address).map_or(address, IpAddr::V4);
        let allowed = self.allow.iter().any(|allowed| match allowed {
            AllowedSource::Net(net) => net.contains(&address),
            AllowedSource::Name(allowed) => name.is_some_and(|name| name.eq_ignore_ascii_case(allowed)),
        });
        let loopback = self.allow_loopback && address.is_loopback();
        if allowed || loopback { Ok(()) } else { Err(kind) }
    }
}

/// What is ours, for telling whether a source is this very server.
pub struct Own<'a> {
    /// Whether an address is one of this machine's.
    pub is_local: &'a dyn Fn(IpAddr) -> bool,
    /// The name encoders know this server by.
    pub public_host: Option<&'a str>,
    /// The port the RTMP server is bound to, if it is on.
    pub rtmp_port: Option<u16>,
}

impl SourceUrl {
    /// Takes a URL apart, judging nothing but its form.
    ///
    /// # Errors
    /// All of [`SourceUrlError`] but `Refused`.
    pub fn parse(text: &str) -> Result<Self, SourceUrlError> {
        let malformed = |reason: &str| SourceUrlError::Malformed { reason: reason.to_owned() };
        if text.len() > MAX_URL_BYTES {
            return Err(SourceUrlError::TooLong);
        }
        // FFmpeg and the URL standard disagree about blanks and control characters: neither has to decide.
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(malformed("it has a blank or a control character"));
        }
        let url = Url::parse(text).map_err(|error| malformed(&error.to_string()))?;
        if !matches!(url.scheme(), "rtmp" | "rtmps") {
            return Err(SourceUrlError::Scheme { scheme: url.scheme().chars().take(32).collect() });
        }
        let host = match url.host() {
            // The URL standard reads numbers as IPv4 (`0x7f.1`, `2130706433`) in the schemes it knows only; the
            // resolver that FFmpeg asks reads them in all.
            Some(Host::Domain(name)) => Host::parse(name).map_err(|error| malformed(&error.to_string()))?,
            Some(Host::Ipv4(address)) => Host::Ipv4(address),
            Some(Host::Ipv6(address)) => Host::Ipv6(address),
            None => return Err(malformed("it has no host")),
        };
        if matches!(&host, Host::Domain(name) if name.is_empty()) {
            return Err(malformed("it has no host"));
        }
        let source = Self { url, host };
        if source.app().is_empty() || source.key().is_empty() {
            return Err(SourceUrlError::NoStream);
        }
        Ok(source)
    }

    /// Judges what can be judged without the network: an address written out, or `localhost`.
    ///
    /// # Errors
    /// [`SourceUrlError::Refused`].
    pub fn check(&self, rules: &SourceRules) -> Result<(), SourceUrlError> {
        let (name, address) = match &self.host {
            Host::Ipv4(address) => (None, IpAddr::V4(*address)),
            Host::Ipv6(address) => (None, IpAddr::V6(*address)),
            Host::Domain(name) if is_localhost(name) => (Some(name.as_str()), IpAddr::V4(Ipv4Addr::LOCALHOST)),
            Host::Domain(_) => return Ok(()),
        };
        rules.check_address(name, address).map_err(|kind| SourceUrlError::Refused { host: self.host.to_string(), kind })
    }

    /// Whether this is our own RTMP server: then the publisher is attached in process.
    pub fn is_own(&self, own: &Own<'_>) -> bool {
        let ours = match &self.host {
            Host::Domain(name) => {
                is_localhost(name) || own.public_host.is_some_and(|host| name.eq_ignore_ascii_case(host))
            }
            Host::Ipv4(address) => is_ours(IpAddr::V4(*address), own),
            Host::Ipv6(address) => is_ours(IpAddr::V6(*address), own),
        };
        ours && self.url.scheme() == "rtmp" && own.rtmp_port == Some(self.port())
    }

    /// What FFmpeg is given. Has the stream key in it.
    pub fn expose(&self) -> &str {
        self.url.as_str()
    }

    /// The host: a name, or an address in canonical form.
    pub fn host(&self) -> &Host<String> {
        &self.host
    }

    /// The port, by default that of the scheme.
    pub fn port(&self) -> u16 {
        self.url.port().unwrap_or(if self.url.scheme() == "rtmps" { RTMPS_PORT } else { RTMP_PORT })
    }

    /// The application: everything in the path before the stream key.
    pub fn app(&self) -> &str {
        self.path().0
    }

    /// The stream key, without the query. A secret.
    pub fn key(&self) -> &str {
        self.path().1
    }

    fn path(&self) -> (&str, &str) {
        let path = self.url.path().trim_start_matches('/');
        path.rsplit_once('/').unwrap_or((path, ""))
    }
}

fn is_ours(address: IpAddr, own: &Own<'_>) -> bool {
    let address = embedded_v4(address).map_or(address, IpAddr::V4);
    address.is_loopback() || address.is_unspecified() || (own.is_local)(address)
}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
}

/// What kind of private address this is; `None` for one of the public internet.
fn kind(address: IpAddr) -> Option<&'static str> {
    match embedded_v4(address).map_or(address, IpAddr::V4) {
        IpAddr::V4(address) => kind_v4(address),
        IpAddr::V6(address) => kind_v6(address),
    }
}

fn kind_v4(address: Ipv4Addr) -> Option<&'static str> {
    let [a, b, c, _] = address.octets();
    if address.is_loopback() {
        Some("a loopback address")
    } else if address.is_private() || (a == 100 && (64..128).contains(&b)) {
        Some("a private address")
    } else if address.is_link_local() {
        Some("a link-local address")
    } else if a == 0
        || a >= 224
        || address.is_documentation()
        || (a, b, c) == (192, 0, 0)
        || (a == 198 && b & 254 == 18)
    {
        Some("an address that no public server has")
    } else {
        None
    }
}

fn kind_v6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_loopback() {
        Some("a loopback address")
    } else if address.is_unique_local() {
        Some("a private address")
    } else if address.is_unicast_link_local() || address.segments()[0] & 0xffc0 == 0xfec0 {
        Some("a link-local address")
    } else if address.is_unspecified() || address.is_multicast() {
        Some("an address that no public server has")
    } else {
        None
    }
}

/// The IPv4 address that an IPv6 one stands for: mapped (`::ffff:a.b.c.d`), compatible (`::a.b.c.d`), or through the
/// well-known NAT64 prefix (`64:ff9b::a.b.c.d`).
fn embedded_v4(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else { return None };
    let segments = address.segments();
    let low = Ipv4Addr::from((u32::from(segments[6]) << 16) | u32::from(segments[7]));
    let prefix = &segments[..6];
    let nat64 = prefix == [0x64, 0xff9b, 0, 0, 0, 0];
    let compatible = prefix == [0; 6] && !address.is_loopback() && !address.is_unspecified();
    address.to_ipv4_mapped().or((nat64 || compatible).then_some(low))
}

impl fmt::Display for SourceUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", self.url.scheme(), self.host)?;
        if let Some(port) = self.url.port() {
            write!(formatter, ":{port}")?;
        }
        write!(formatter, "/{}/***", self.app())
    }
}

impl fmt::Debug for SourceUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SourceUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, rules: &SourceRules) -> Result<SourceUrl, SourceUrlError> {
        let url = SourceUrl::parse(text)?;
        url.check(rules).map(|()| url)
    }

    #[test]
    fn only_rtmp_and_rtmps_are_taken() {
        let rules = SourceRules::default();
        for text in
            ["file:///etc/passwd", "concat:a|b", "http://example.com/live/x", "pipe:0", "tcp://example.com:1/a/b"]
        {
            assert!(matches!(check(text, &rules), Err(SourceUrlError::Scheme { .. })), "{text}");
        }
        for text in ["rtmp://example.com/live/x", "RTMPS://example.com:8443/live/inst/x?token=1"] {
            assert!(check(text, &rules).is_ok(), "{text}");
        }
        for text in ["", "rtmp", "rtmp://", "rtmp:///live/x", "rtmp://a b/live/x", "rtmp://a/live/x\n", "rtmp:live/x"] {
            assert!(matches!(check(text, &rules), Err(SourceUrlError::Malformed { .. })), "{text:?}");
        }
        for text in ["rtmp://example.com", "rtmp://example.com/live", "rtmp://example.com/live/"] {
            assert_eq!(check(text, &rules), Err(SourceUrlError::NoStream), "{text}");
        }
    }

    #[test]
    fn addresses_inside_are_refused_however_they_are_written() {
        for host in [
            "127.0.0.1",
            "localhost",
            "LOCALHOST.",
            "x.localhost",
            "10.1.2.3",
            "192.168.0.1",
            "172.31.255.255",
            "169.254.169.254",
            "0.0.0.0",
            "0x7f.1",
            "2130706433",
            "0177.0.0.1",
            "[::1]",
            "[::]",
            "[::ffff:10.0.0.1]",
            "[fe80::1]",
            "[fd00::1]",
            "[64:ff9b::a9fe:a9fe]",
            "[::10.0.0.1]",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            let result = check(&format!("rtmp://{host}/live/x"), &SourceRules::default());
            assert!(matches!(result, Err(SourceUrlError::Refused { .. })), "{host}: {result:?}");
        }
        for host in ["8.8.8.8", "example.com", "[2606:4700::1]", "172.32.0.1"] {
            assert!(check(&format!("rtmp://{host}/live/x"), &SourceRules::default()).is_ok(), "{host}");
        }
    }

    #[test]
    fn the_operator_allows_names_addresses_and_networks() {
        let allow = ["10.0.0.0/8", "192.168.1.7", "camera.localhost"].map(|text| text.parse().unwrap()).to_vec();
        let rules = SourceRules { allow, allow_loopback: false };
        for host in ["10.9.8.7", "192.168.1.7", "[::ffff:10.0.0.1]", "camera.localhost"] {
            assert!(check(&format!("rtmp://{host}/live/x"), &rules).is_ok(), "{host}");
        }
        assert!(check("rtmp://192.168.1.8/live/x", &rules).is_err());
        assert!(rules.check_address(Some("cam.lan"), "10.0.0.1".parse().unwrap()).is_ok());
        assert!("10.0.0.0/33".parse::<AllowedSource>().is_err());
    }

    #[test]
    fn loopback_is_allowed_while_the_api_is_on_loopback_only() {
        let rules = SourceRules { allow: Vec::new(), allow_loopback: true };
        for host in ["127.0.0.1:1936", "localhost", "[::1]"] {
            assert!(check(&format!("rtmp://{host}/live/teststream"), &rules).is_ok(), "{host}");
        }
        assert!(check("rtmp://10.0.0.1/live/x", &rules).is_err());
    }

    #[test]
    fn our_own_server_is_told_by_host_and_port_together() {
        let ours: IpAddr = "203.0.113.9".parse().unwrap();
        let own =
            Own { is_local: &|address| address == ours, public_host: Some("Live.Example"), rtmp_port: Some(1935) };
        let is_own = |text: &str| SourceUrl::parse(text).unwrap().is_own(&own);
        for host in ["localhost", "127.0.0.1:1935", "[::1]", "203.0.113.9", "live.example", "0.0.0.0"] {
            assert!(is_own(&format!("rtmp://{host}/live/x")), "{host}");
        }
        for text in ["rtmp://localhost:1936/live/x", "rtmp://example.com/live/x", "rtmps://localhost:1935/live/x"] {
            assert!(!is_own(text), "{text}");
        }
        let off = Own { rtmp_port: None, ..own };
        assert!(!SourceUrl::parse("rtmp://localhost/live/x").unwrap().is_own(&off));
    }

    #[test]
    fn the_key_is_in_no_message() {
        let url = SourceUrl::parse("rtmp://user:pass@example.com:1936/live/inst/secret?token=hidden").unwrap();
        assert_eq!(url.to_string(), "rtmp://example.com:1936/live/inst/***");
        assert_eq!((url.app(), url.key(), url.port()), ("live/inst", "secret", 1936));
        assert!(!format!("{url:?}").contains("secret"));
    }
}
