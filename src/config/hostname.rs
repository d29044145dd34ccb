//! The name the router is reached by (`--hostname`): which `Host` is accepted, and what links begin with.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::listen::is_name;
use super::parse::{Rejected, is_path};
use crate::proto::origin::Scheme;

/// Longest accepted text in bytes; chosen.
const TEXT_BYTES_MAX: usize = 512;

/// A host, perhaps with what else a URL says (server spec §6.2, §6.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hostname {
    /// The scheme, if the text is a URL.
    pub scheme: Option<Scheme>,
    /// A name in lower case, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// The port, not 0.
    pub port: Option<u16>,
    /// The path behind the host, without a slash at its end; empty or beginning with one.
    pub path: String,
}

impl Hostname {
    /// Reads `host`, `host:port`, `[v6]`, `[v6]:port`, an IPv6 address without brackets, and
    /// `scheme://` before any of them, with a path behind.
    ///
    /// # Errors
    ///
    /// [`Rejected`] for anything else: with a name that no request can match, every one would be refused.
    pub fn parse(text: &str) -> Result<Hostname, Rejected> {
        split(text).ok_or_else(|| {
            Rejected::new(
                text,
                "host, host:port, [IPv6]:port or http(s)://host[:port][/path]",
            )
        })
    }

    /// Whether the value of a `Host` header names this host: without regard to case, port and brackets.
    pub fn matches(&self, value: &str) -> bool {
        let Some((host, _)) = split_authority(value) else {
            return false;
        };
        match (self.host.parse::<IpAddr>(), host.parse::<IpAddr>()) {
            (Ok(wanted), Ok(given)) => wanted == given,
            _ => self.host.eq_ignore_ascii_case(host),
        }
    }
}

impl fmt::Display for Hostname {
    /// A text that reads back as the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme {
            Some(Scheme::Http) => f.write_str("http://")?,
            Some(Scheme::Https) => f.write_str("https://")?,
            None => {}
        }
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(&self.path)
    }
}

fn split(text: &str) -> Option<Hostname> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Some(Scheme::Http), rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Some(Scheme::Https), rest),
        Some(_) => return None,
        None => (None, text),
    };
    let (authority, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
    let path = path.trim_end_matches('/');
    if !is_path(path) {
        return None;
    }
    let (host, port) = split_authority(authority)?;
    let is_ipv6 = host.parse::<Ipv6Addr>().is_ok();
    if !is_ipv6 && (authority.starts_with('[') || !is_name(host)) {
        return None;
    }
    let port = match port {
        Some(digits) => Some(digits.parse().ok().filter(|port| *port != 0)?),
        None => None,
    };
    Some(Hostname {
        scheme,
        host: host.to_ascii_lowercase(),
        port,
        path: path.to_owned(),
    })
}

/// The parts of `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address. A port is digits, perhaps none.
fn split_authority(authority: &str) -> Option<(&str, Option<&str>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(inner) => match inner.split_once(']')? {
            (host, "") => (host, None),
            (host, behind) => (host, Some(behind.strip_prefix(':')?)),
        },
        None => match authority.split_once(':') {
            Some((_, behind)) if behind.contains(':') => (authority, None),
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let is_number = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    port.is_none_or(is_number).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_documented_form_is_read() {
        use Scheme::{Http, Https};
        let table = [
            ("tv.home", None, "tv.home", None, ""),
            ("TV.Home:8080", None, "tv.home", Some(8080), ""),
            ("192.0.2.1:80", None, "192.0.2.1", Some(80), ""),
            ("[::1]", None, "::1", None, ""),
            ("[::1]:81", None, "::1", Some(81), ""),
            ("2001:db8::7", None, "2001:db8::7", None, ""),
            ("https://tv.home", Some(Https), "tv.home", None, ""),
            ("HTTP://tv.home:80/", Some(Http), "tv.home", Some(80), ""),
            (
                "https://[::1]:443/a/b/",
                Some(Https),
                "::1",
                Some(443),
                "/a/b",
            ),
        ];
        for (text, scheme, host, port, path) in table {
            let expected = Hostname {
                scheme,
                host: host.to_owned(),
                port,
                path: path.to_owned(),
            };
            assert_eq!(Hostname::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_no_request_can_match_is_refused() {
        let long = "a".repeat(TEXT_BYTES_MAX + 1);
        for text in [
            "",
            " ",
            "tv home",
            "tv.home:",
            "tv.home:0",
            "tv.home:+80",
            "tv.home:65536",
            "[::1",
            "[::1]80",
            "[tv.home]",
            "1:2:3",
            "me:pass@host",
            "me@host",
            "ftp://host",
            "://host",
            "http://",
            "host/a b",
            "host/\r\nX: y",
            "host?x",
            &long,
        ] {
            assert!(Hostname::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn host_header_is_compared_without_case_port_and_brackets() {
        let table = [
            ("tv.home", "tv.home", true),
            ("tv.home", "TV.HOME:5140", true),
            ("https://tv.home:443/x", "tv.home", true),
            ("tv.home", "tv.home.evil", false),
            ("tv.home", "evil:tv.home", false),
            ("tv.home", "", false),
            ("tv.home", ":80", false),
            ("tv.home", "[tv.home", false),
            ("tv.home", "tv.home@evil", false),
            ("tv.home", "tv.home:80@evil", false),
            ("tv.home", "tv.home:", true),
            ("::1", "[::1]:80@evil", false),
            ("[::1]:80", "[::1]:5140", true),
            ("::1", "[0:0:0:0:0:0:0:1]", true),
            ("::1", "::1", true),
            ("::1", "[::2]", false),
            ("192.0.2.1", "192.0.2.1:80", true),
        ];
        for (configured, value, matches) in table {
            let hostname = Hostname::parse(configured).expect(configured);
            assert_eq!(hostname.matches(value), matches, "{configured} {value}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_handled_without_panic(text in "[\\PC\\x00-\\x1f]{0,30}|(https?://)?[\\[\\]:.a-f0-9/]{0,20}") {
            let tv = Hostname::parse("tv.home").expect("a name");
            let _ = tv.matches(&text);
            if let Ok(hostname) = Hostname::parse(&text) {
                prop_assert!(!hostname.host.is_empty());
                prop_assert!(!hostname.path.contains(|c: char| c.is_control() || c == ' '));
            }
        }
    }
}
