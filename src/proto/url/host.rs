//! Hosts and ports, as they stand in URLs of any scheme.
//!
//! A host stays text: nothing is resolved here.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::{UrlError, check_length, parse_decimal};

/// Longest host in bytes, brackets excluded. DNS names have at most 253.
pub const HOST_BYTES_MAX: usize = 255;

/// Longest port in bytes, leading zeros included.
pub const PORT_BYTES_MAX: usize = 15;

/// An IP address or a name to be resolved.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// An IP address literal.
    Ip {
        /// The address.
        address: IpAddr,
        /// Scope of an IPv6 address: the name or decimal index of an interface (RFC 4007 §11). Never empty.
        scope: Option<String>,
    },
    /// A name of letters, digits, `-`, `_` and `.`, at most [`HOST_BYTES_MAX`] bytes.
    Name(String),
}

impl Host {
    /// The address, if the host is a literal.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Host::Ip { address, .. } => Some(*address),
            Host::Name(_) => None,
        }
    }

    /// The scope of an IPv6 literal, if there is one.
    pub fn scope(&self) -> Option<&str> {
        match self {
            Host::Ip { scope, .. } => scope.as_deref(),
            Host::Name(_) => None,
        }
    }
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        Host::Ip {
            address,
            scope: None,
        }
    }
}

impl fmt::Display for Host {
    /// As in a URL: an IPv6 address has brackets, its scope follows `%`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Ip {
                address: IpAddr::V4(address),
                ..
            } => write!(f, "{address}"),
            Host::Ip {
                address: IpAddr::V6(address),
                scope: None,
            } => write!(f, "[{address}]"),
            Host::Ip {
                address: IpAddr::V6(address),
                scope: Some(scope),
            } => write!(f, "[{address}%{scope}]"),
            Host::Name(name) => f.write_str(name),
        }
    }
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`, already decoded. No port where it is absent or empty.
///
/// # Errors
///
/// `Host`, `Bracket`, `Port` or `TooLong` of the host.
pub fn parse_endpoint(text: &str) -> Result<(Host, Option<u16>), UrlError> {
    if let Some(inner) = text.strip_prefix('[') {
        let (address, behind) = inner.split_once(']').ok_or(UrlError::Bracket)?;
        check_length("host", address, HOST_BYTES_MAX)?;
        let host = parse_ipv6(address).ok_or(UrlError::Bracket)?;
        return match behind.strip_prefix(':') {
            Some(port) => Ok((host, parse_port(port)?)),
            None if behind.is_empty() => Ok((host, None)),
            None => Err(UrlError::Bracket),
        };
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    check_length("host", host, HOST_BYTES_MAX)?;
    if !host.contains(':') {
        return Ok((parse_host(host)?, parse_port(port)?));
    }
    if let Some(host) = parse_ipv6(host) {
        match parse_port(port) {
            Ok(port) => return Ok((host, port)),
            // `ff3e::1:db8` is an address without a port, `ff3e::1:99999` is one with a wrong port.
            Err(error) if port.bytes().all(|digit| digit.is_ascii_digit()) => return Err(error),
            Err(_) => {}
        }
    }
    Ok((parse_ipv6(text).ok_or(UrlError::Host)?, None))
}

/// An IPv4 address or a name. Also what other modules of `proto` take for a host outside brackets.
pub(in crate::proto) fn parse_host(text: &str) -> Result<Host, UrlError> {
    Ok(match check_host(text)? {
        Some(address) => Host::from(IpAddr::V4(address)),
        None => Host::Name(text.to_owned()),
    })
}

/// The same without a copy: the address, or nothing for a name.
pub(in crate::proto) fn check_host(text: &str) -> Result<Option<Ipv4Addr>, UrlError> {
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(Some(address));
    }
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    // A name that ends in a number is a misspelt address; resolvers would read 239.1 as 239.0.0.1.
    let last_label = text
        .trim_end_matches('.')
        .rsplit('.')
        .next()
        .unwrap_or_default();
    if !plain || last_label.is_empty() || last_label.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(UrlError::Host);
    }
    Ok(None)
}

/// A host whose scope, if it has one, follows `%` and not `%25`, which RFC 6874 requires in a URL: a scope of `25…` could
/// be meant either way.
pub(in crate::proto) fn with_bare_scope(text: &str) -> Cow<'_, str> {
    match text.split_once("%25") {
        Some((address, scope)) if !address.contains('%') => {
            Cow::Owned(format!("{address}%{scope}"))
        }
        _ => Cow::Borrowed(text),
    }
}

/// An IPv6 address without brackets, its scope behind `%`. The scope is any text that is not empty and can stand in
/// brackets.
pub(in crate::proto) fn parse_ipv6(text: &str) -> Option<Host> {
    let (address, scope) = match text.split_once('%') {
        Some((_, scope)) if scope.is_empty() || scope.contains(']') => return None,
        Some((address, scope)) => (address, Some(scope.to_owned())),
        None => (text, None),
    };
    let address = IpAddr::V6(address.parse().ok()?);
    Some(Host::Ip { address, scope })
}

/// A port behind `:`; none if it is empty.
pub(in crate::proto) fn parse_port(text: &str) -> Result<Option<u16>, UrlError> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > PORT_BYTES_MAX {
        return Err(UrlError::Port);
    }
    parse_decimal::<u16>(text)
        .filter(|&port| port != 0)
        .map(Some)
        .ok_or(UrlError::Port)
}
