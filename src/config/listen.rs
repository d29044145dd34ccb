//! Listen addresses: their text forms and what the resolver makes of them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use super::PORT_DEFAULT;
use super::parse::Rejected;
use super::service;

/// Bytes of a host name at most: RFC 1035 §2.3.4, without the root label.
const HOST_BYTES_MAX: usize = 253;

/// A place to listen at. Port 0 lets the system choose a free one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddr {
    /// Every address of this host, IPv4 and IPv6.
    All {
        /// TCP port.
        port: u16,
    },
    /// Whatever `host` resolves to.
    Host {
        /// An IPv4 address, an IPv6 address without brackets, or a name.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// A Unix stream socket.
    Unix {
        /// An absolute path without white space and control characters.
        path: PathBuf,
    },
}

impl ListenAddr {
    /// Reads `5140`, `host:5140`, `[::1]:5140`, `::1:5140`, `*:5140`, `:5140` and `/absolute/path`. A port may be the
    /// name of a service, such as `http-alt`.
    ///
    /// The last colon outside brackets splits host and port. `*`, an IPv4 address and an IPv6 address in
    /// brackets may stand without a port, which is then [`PORT_DEFAULT`]; a name may not, since it could
    /// as well be a mistyped port.
    ///
    /// # Errors
    ///
    /// [`Rejected`] for any other text, a port above 65535, and paths that are relative or have white space.
    pub fn parse(text: &str) -> Result<ListenAddr, Rejected> {
        if text.contains('/') {
            return path(text).map(|path| ListenAddr::Unix { path });
        }
        split(text).ok_or_else(|| {
            Rejected::new(
                text,
                "[addr:]port with a port from 0 to 65535 or a known service, such as 5140, 192.0.2.1:http-alt or \
                 [::1]:5140, or the absolute path of a Unix socket",
            )
        })
    }

    /// The line that says this address below `[bind]` in a file: host, blank, port; or the path.
    pub fn bind_line(&self) -> String {
        match self {
            ListenAddr::All { port } => format!("* {port}"),
            ListenAddr::Host { host, port } => format!("{host} {port}"),
            ListenAddr::Unix { path } => path.display().to_string(),
        }
    }

    /// The addresses to bind, without repeats and at least one; `All` is `0.0.0.0` and `::`. None for a Unix
    /// socket.
    ///
    /// May block for as long as the system's resolver does: only for the start.
    ///
    /// # Errors
    ///
    /// The text to log if `host` does not resolve.
    pub fn resolve(&self) -> Result<Vec<SocketAddr>, String> {
        let (host, port) = match self {
            ListenAddr::All { port } => {
                return Ok(vec![
                    (Ipv4Addr::UNSPECIFIED, *port).into(),
                    (Ipv6Addr::UNSPECIFIED, *port).into(),
                ]);
            }
            ListenAddr::Host { host, port } => (host.as_str(), *port),
            ListenAddr::Unix { .. } => return Ok(Vec::new()),
        };
        let found = (host, port)
            .to_socket_addrs()
            .map_err(|error| format!("cannot resolve the listen address {self}: {error}"))?;
        let mut addresses = Vec::new();
        for address in found {
            // Resolvers repeat an address that the hosts file lists twice; binding it twice would fail.
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(format!("the listen address {self} has no addresses"));
        }
        Ok(addresses)
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddr::All { port } => write!(f, "*:{port}"),
            ListenAddr::Host { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            ListenAddr::Host { host, port } => write!(f, "{host}:{port}"),
            ListenAddr::Unix { path } => path.display().fmt(f),
        }
    }
}

fn path(text: &str) -> Result<PathBuf, Rejected> {
    let is_plain = |c: char| !c.is_whitespace() && !c.is_control();
    if text.starts_with('/') && text.chars().all(is_plain) {
        return Ok(text.into());
    }
    Err(Rejected::new(
        text,
        "the absolute path of a Unix socket, without white space",
    ))
}

fn split(text: &str) -> Option<ListenAddr> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']')?;
        let port = match rest.strip_prefix(':') {
            Some(digits) => port(digits)?,
            None if rest.is_empty() => PORT_DEFAULT,
            None => return None,
        };
        return is_ipv6(host).then(|| ListenAddr::Host {
            host: host.to_owned(),
            port,
        });
    }
    if let Some(port) = port(text) {
        return Some(ListenAddr::All { port });
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, digits)) => (host, port(digits)?),
        None if text == "*" || text.parse::<Ipv4Addr>().is_ok() => (text, PORT_DEFAULT),
        None => return None,
    };
    match host {
        "" | "*" => Some(ListenAddr::All { port }),
        _ if is_ipv6(host) || is_name(host) => Some(ListenAddr::Host {
            host: host.to_owned(),
            port,
        }),
        _ => None,
    }
}

/// Decimal digits only, as `u16::from_str` alone would take a sign; or the name of a service.
fn port(text: &str) -> Option<u16> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return service::port(text);
    }
    text.parse().ok()
}

/// An IPv6 address, with or without a zone (RFC 4007 §11).
fn is_ipv6(host: &str) -> bool {
    let (address, zone) = host.split_once('%').unwrap_or((host, "0"));
    matches!(address.parse(), Ok(IpAddr::V6(_)))
        && !zone.is_empty()
        && zone.bytes().all(|byte| byte.is_ascii_graphic())
}

/// An IPv4 address or what may be a host name; the resolver knows better.
pub(super) fn is_name(host: &str) -> bool {
    let first = host.bytes().next();
    host.len() <= HOST_BYTES_MAX
        && first.is_some_and(|byte| byte.is_ascii_alphanumeric())
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(port: u16) -> ListenAddr {
        ListenAddr::All { port }
    }

    fn host(host: &str, port: u16) -> ListenAddr {
        ListenAddr::Host {
            host: host.to_owned(),
            port,
        }
    }

    #[test]
    fn every_documented_form_is_read() {
        let table = [
            ("5140", all(5140)),
            ("0", all(0)),
            ("65535", all(65535)),
            (":5140", all(5140)),
            ("*:5140", all(5140)),
            ("*", all(5140)),
            ("http-alt", all(8080)),
            ("*:https", all(443)),
            ("name:http-alt", host("name", 8080)),
            ("[::1]:http-alt", host("::1", 8080)),
            ("::1:http", host("::1", 80)),
            ("192.0.2.1:8081", host("192.0.2.1", 8081)),
            ("192.0.2.1", host("192.0.2.1", 5140)),
            ("127.0.0.1:0", host("127.0.0.1", 0)),
            ("name:8081", host("name", 8081)),
            ("tv.example_1.org:80", host("tv.example_1.org", 80)),
            ("[::1]:5140", host("::1", 5140)),
            ("[::1]", host("::1", 5140)),
            ("[fe80::1%eth0]:80", host("fe80::1%eth0", 80)),
            ("::1:5140", host("::1", 5140)),
            (":::5140", host("::", 5140)),
        ];
        for (text, address) in table {
            assert_eq!(ListenAddr::parse(text), Ok(address), "{text}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        let long = format!("{}:80", "a".repeat(HOST_BYTES_MAX + 1));
        for text in [
            "",
            " ",
            "name",
            "65536",
            "+5140",
            "-1",
            "5140 ",
            " 5140",
            "51x40",
            "name:",
            "name:65536",
            "name:+80",
            "na me:80",
            "-name:80",
            "[::1",
            "[::1]:",
            "[::1]80",
            "[127.0.0.1]:80",
            "[]:80",
            "[fe80::1%]:80",
            "::1",
            "fe80::abcd",
            "1:2:3",
            "**:80",
            "a\n:80",
            &long,
        ] {
            assert!(ListenAddr::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn absolute_path_is_a_unix_socket() {
        for path in ["/run/flowgate.sock", "/x", "/run/[::1]:80"] {
            let unix = ListenAddr::Unix { path: path.into() };
            assert_eq!(ListenAddr::parse(path).as_ref(), Ok(&unix), "{path}");
            assert_eq!(unix.to_string(), path);
            assert_eq!(unix.resolve(), Ok(Vec::new()));
        }
    }

    #[test]
    fn other_paths_are_refused_with_the_reason() {
        for path in [
            "run/x",
            "./x",
            "/run/a b",
            "/run/a\tb",
            "/run/a\r",
            "/run/x\n",
            " /x",
        ] {
            let rejected = ListenAddr::parse(path).unwrap_err().to_string();
            assert!(
                rejected.contains("the absolute path"),
                "{path:?}: {rejected}"
            );
        }
    }

    #[test]
    fn all_resolves_to_both_wildcards() {
        let addresses = all(5140).resolve().unwrap();
        let texts: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
        assert_eq!(texts, ["0.0.0.0:5140", "[::]:5140"]);
    }

    #[test]
    fn numeric_hosts_resolve_to_themselves() {
        for (address, expected) in [
            (host("127.0.0.1", 80), "127.0.0.1:80"),
            (host("::1", 80), "[::1]:80"),
        ] {
            let addresses = address.resolve().unwrap();
            assert_eq!(addresses, [expected.parse().unwrap()]);
        }
    }

    #[test]
    fn a_host_that_does_not_resolve_is_named() {
        // RFC 1035 §2.3.4: a label has at most 63 bytes; refused without asking the network.
        let name = format!("{}.invalid", "a".repeat(64));
        let error = host(&name, 80).resolve().unwrap_err();
        assert!(error.contains(&format!("{name}:80")), "{error}");
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(text in r"[*\[\]:%./a-f0-9]{0,16}") {
            if let Ok(address) = ListenAddr::parse(&text) {
                prop_assert_eq!(ListenAddr::parse(&address.to_string()), Ok(address));
            }
        }
    }
}
