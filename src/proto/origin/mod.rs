//! Where an HTTP upstream is: its origin, and the [URL](HttpUrl) of a resource there.
//!
//! Decoders only: nothing is resolved.

mod http_url;

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;

use super::url::{self, HOST_BYTES_MAX, Host, INTERFACE_BYTES_MAX, UrlError};
use super::user_info::UserInfoError;
pub(super) use http_url::push_encoded;
pub use http_url::{HttpUrl, UPSTREAM_TARGET_BYTES_MAX};

/// What stands between scheme and authority.
const SCHEME_END: &str = "://";

/// How an HTTP upstream is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// `http`, over TCP, port 80.
    Http,
    /// `https`, over TLS, port 443.
    Https,
}

impl Scheme {
    /// The scheme called `name` (case-insensitive, RFC 3986 §3.1).
    pub fn named(name: &str) -> Option<Self> {
        [Scheme::Http, Scheme::Https]
            .into_iter()
            .find(|scheme| scheme.name().eq_ignore_ascii_case(name))
    }

    /// `http` or `https`.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port of an authority that names none (RFC 9110 §4.2).
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// Why an address of an HTTP upstream was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginError {
    /// An absolute URL that does not begin with `http://` or `https://`.
    Scheme,
    /// Nothing where host and port should be.
    NoAuthority,
    /// A user or password before the host that cannot be one.
    UserInfo(UserInfoError),
    /// A host or port that cannot be one.
    Authority(UrlError),
    /// Path and query together are longer than `limit` bytes.
    TargetTooLong {
        /// [`UPSTREAM_TARGET_BYTES_MAX`]
        limit: usize,
    },
}

impl OriginError {
    /// Status code of the answer to a proxy request with this mistake (http-proxy spec §16).
    pub fn status(&self) -> u16 {
        match self {
            OriginError::NoAuthority => 404,
            OriginError::TargetTooLong { .. } => 414,
            OriginError::Scheme | OriginError::UserInfo(_) | OriginError::Authority(_) => 503,
        }
    }
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OriginError::Scheme => f.write_str("upstream URL is neither http:// nor https://"),
            OriginError::NoAuthority => {
                f.write_str("upstream host is missing; accepted is host[:port]")
            }
            OriginError::UserInfo(error) => {
                write!(f, "user or password in an upstream URL: {error}")
            }
            OriginError::Authority(error) => write!(f, "upstream address: {error}"),
            OriginError::TargetTooLong { limit } => {
                write!(f, "upstream path and query are longer than {limit} bytes")
            }
        }
    }
}

impl std::error::Error for OriginError {}

impl From<UrlError> for OriginError {
    fn from(error: UrlError) -> Self {
        OriginError::Authority(error)
    }
}

/// Scheme, host and port (RFC 6454 §4): whom to connect to, and who shares cookies.
///
/// Displayed as `scheme://authority`, with the authority of [`Origin::authority`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    scheme: Scheme,
    host: Host,
    port: u16,
    /// Scheme and authority, written once: every request needs them.
    url: Rc<str>,
}

impl Origin {
    /// Parses `host`, `host:port`, `host:`, `[v6]`, `[v6]:port` or a bare `v6`, which cannot have a port.
    ///
    /// A scope may follow an IPv6 address in brackets as `%eth0` or `%25eth0`. Nothing else is
    /// percent-decoded. A user or password is no part of an origin and is refused like any wrong host.
    ///
    /// # Errors
    ///
    /// `NoAuthority`, and `Authority` with `Host`, `Bracket`, `Port` or `TooLong`.
    pub fn parse(scheme: Scheme, authority: &str) -> Result<Self, OriginError> {
        let parts = Authority::split(authority)?;
        let host = parts.host()?;
        let port = url::parse_port(parts.port)?.unwrap_or(scheme.default_port());
        let literal = match &host {
            Host::Ip {
                address: IpAddr::V6(address),
                scope: Some(scope),
            } => format!("[{address}%25{scope}]").into(),
            Host::Ip {
                address: IpAddr::V6(address),
                scope: None,
            } => format!("[{address}]").into(),
            // Names are kept, and an IPv4 address has one spelling only.
            Host::Name(_) | Host::Ip { .. } => Cow::Borrowed(parts.host),
        };
        let behind = match port == scheme.default_port() {
            true => Cow::Borrowed(""),
            false if parts.port.starts_with('0') => format!(":{port}").into(),
            false => [":", parts.port].concat().into(),
        };
        Ok(Origin {
            scheme,
            host,
            port,
            url: [scheme.name(), SCHEME_END, &literal, &behind]
                .concat()
                .into(),
        })
    }

    /// How it is spoken to.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host as it was written, an IP address in its shortest form.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port, not 0.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port as in a URL: the port only if it is not the scheme's own, IPv6 in brackets, a scope
    /// behind `%25` (RFC 6874). Parses to the same origin.
    pub fn authority(&self) -> &str {
        let behind = self.scheme.name().len() + SCHEME_END.len();
        self.url.get(behind..).unwrap_or_default()
    }

    /// `scheme://authority`, to be kept.
    pub fn url(&self) -> &Rc<str> {
        &self.url
    }

    /// The value of the `Host` header (RFC 9110 §7.2).
    ///
    /// Like [`Origin::authority`] but without a scope, which means nothing to anybody else (RFC 6874 §3).
    pub fn host_header(&self) -> Cow<'_, str> {
        let has_scope = matches!(&self.host, Host::Ip { scope: Some(_), .. });
        if !has_scope {
            return Cow::Borrowed(self.authority());
        }
        match self.authority().split_once("%25") {
            Some((address, behind)) => {
                let (_, port) = behind.split_once(']').unwrap_or((behind, ""));
                Cow::Owned(format!("{address}]{port}"))
            }
            None => Cow::Borrowed(self.authority()),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// Host and port as they were written.
struct Authority<'a> {
    /// Without brackets.
    host: &'a str,
    /// The host is an IPv6 address, if it is anything.
    is_ipv6: bool,
    /// What is wrong if the host is none.
    fault: UrlError,
    /// Empty if there is none.
    port: &'a str,
}

impl<'a> Authority<'a> {
    fn split(text: &'a str) -> Result<Self, OriginError> {
        if text.is_empty() {
            return Err(OriginError::NoAuthority);
        }
        if let Some(inner) = text.strip_prefix('[') {
            let (host, behind) = inner.split_once(']').ok_or(UrlError::Bracket)?;
            let port = match behind.strip_prefix(':') {
                Some(port) => port,
                None if behind.is_empty() => "",
                None => return Err(UrlError::Bracket.into()),
            };
            return Ok(Self {
                host,
                is_ipv6: true,
                fault: UrlError::Bracket,
                port,
            });
        }
        let (host, port) = text.split_once(':').unwrap_or((text, ""));
        let is_ipv6 = port.contains(':');
        Ok(Self {
            host: if is_ipv6 { text } else { host },
            is_ipv6,
            fault: UrlError::Host,
            port: if is_ipv6 { "" } else { port },
        })
    }

    fn host(&self) -> Result<Host, UrlError> {
        if self.is_ipv6 {
            return parse_literal(self.host).ok_or(self.fault);
        }
        url::check_length("host", self.host, HOST_BYTES_MAX)?;
        url::parse_host(self.host)
    }
}

/// Checks what [`Origin::parse`] would take for host and port, without making anything of it.
///
/// # Errors
///
/// As there.
pub(super) fn check_authority(text: &str) -> Result<(), OriginError> {
    let parts = Authority::split(text)?;
    if parts.is_ipv6 {
        parts.host()?;
    } else {
        url::check_length("host", parts.host, HOST_BYTES_MAX)?;
        url::check_host(parts.host)?;
    }
    url::parse_port(parts.port)?;
    Ok(())
}

/// An IPv6 address. Its scope is an interface name that can stand in a URL as it is.
fn parse_literal(text: &str) -> Option<Host> {
    let host = url::parse_ipv6(&url::with_bare_scope(text))?;
    let scope_is_plain = match &host {
        Host::Ip {
            scope: Some(scope), ..
        } => {
            scope.len() <= INTERFACE_BYTES_MAX
                && scope
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
                // Would read as the encoded form when it is parsed again.
                && !scope.starts_with("25")
        }
        _ => true,
    };
    scope_is_plain.then_some(host)
}
