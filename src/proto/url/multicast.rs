//! The address of a multicast stream, as clients and playlists write it (`/rtp/239.1.1.1:5000`).

use std::borrow::Cow;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::host::{Host, parse_endpoint};
use super::{UrlError, check_length, parse_decimal, percent_decode, raw_query_value, strip_label};

/// Longest multicast URL in bytes, query included (so that it fits where others keep 2048 bytes).
pub const URL_BYTES_MAX: usize = 2047;

/// Longest address part (source, group and ports, before the query) in bytes.
pub const ADDRESS_BYTES_MAX: usize = 511;

/// Longest interface name in bytes (`IFNAMSIZ` less its terminator).
pub const INTERFACE_BYTES_MAX: usize = 15;

/// Port of a group that names none.
pub const DEFAULT_PORT: u16 = 1234;

/// Where a multicast stream is received.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MulticastUrl {
    /// The group. Not checked for being multicast: a unicast address means datagrams sent to this host.
    pub group: Host,
    /// UDP port, not 0.
    pub port: u16,
    /// The only sender to accept (source-specific multicast). Its port is checked but has no effect.
    pub source: Option<Host>,
    /// Interface to join on (`r2h-ifname`, or msd_lite's `ifname`), 1 to [`INTERFACE_BYTES_MAX`] bytes.
    pub interface: Option<String>,
    /// Interface to join on by its index (msd_lite's `ifindex`), not 0.
    pub interface_index: Option<u32>,
}

impl fmt::Display for MulticastUrl {
    /// The address part: `source@group:port`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(source) = &self.source {
            write!(f, "{source}@")?;
        }
        write!(f, "{}:{}", self.group, self.port)
    }
}

/// Parses `[source[:port]@]group[:port][/][?query]`, everything behind `/rtp/` or `/udp/`.
///
/// - The port defaults to [`DEFAULT_PORT`]; behind a literal IPv4 address, udpxy's separators `% ~ + - ^`
///   may stand for `:`.
/// - IPv6 addresses should have brackets. Without them the last colon precedes the port if what is left of it
///   is an IPv6 address, so `ff3e::1:5000` is port 5000 of `ff3e::1`.
/// - A scope may follow as `[ff02::1%eth0]` or `[ff02::1%25eth0]` (RFC 6874).
/// - The address part is percent-decoded once, and an encoded `?` starts the query like a literal one.
/// - In the query `r2h-ifname`, `ifname`, `ifindex` and `fcc` are looked at, names case-insensitive, first
///   one counts; the rest is ignored. Interface names that are empty or too long are ignored.
/// - A label (see [`strip_label`]) is removed first.
///
/// # Errors
///
/// One [`UrlError`] for each way the text can break these rules.
pub fn parse_multicast(rest: &str) -> Result<MulticastUrl, UrlError> {
    let rest = strip_label(rest);
    check_length("URL", rest, URL_BYTES_MAX)?;
    let (raw_address, raw_query) = rest.split_once('?').unwrap_or((rest, ""));
    let decoded = percent_decode(&normalise_address(raw_address))?;
    let (address, decoded_query) = decoded.split_once('?').unwrap_or((&decoded, ""));
    // Any wrong escape rejects the URL, also in a parameter that nobody looks at.
    percent_decode(raw_query)?;
    let value = |name| {
        let raw = raw_query_value(decoded_query, name).or_else(|| raw_query_value(raw_query, name));
        raw.map(percent_decode).transpose()
    };

    let address = address.strip_suffix('/').unwrap_or(address);
    check_length("address", address, ADDRESS_BYTES_MAX)?;
    let (source, group) = match address.rsplit_once('@') {
        Some((source, group)) => (Some(source), group),
        None => (None, address),
    };
    if group.is_empty() {
        return Err(UrlError::Group);
    }
    if source == Some("") {
        return Err(UrlError::Source);
    }
    let source = source
        .map(parse_endpoint)
        .transpose()?
        .map(|(host, _)| host);
    let (group, port) = parse_endpoint(group)?;

    if value("fcc")?.is_some_and(|server| server.is_empty()) {
        return Err(UrlError::Fcc);
    }
    let usable = |name: &String| !name.is_empty() && name.len() <= INTERFACE_BYTES_MAX;
    let interface = match value("r2h-ifname")?.filter(usable) {
        Some(interface) => Some(interface),
        None => value("ifname")?.filter(usable),
    };
    let interface_index = match value("ifindex")? {
        Some(index) => Some(parse_decimal::<u32>(&index).ok_or(UrlError::InterfaceIndex)?)
            .filter(|&index| index != 0),
        None => None,
    };
    Ok(MulticastUrl {
        group,
        port: port.unwrap_or(DEFAULT_PORT),
        source,
        interface,
        interface_index,
    })
}

/// Rewrites what percent-decoding would misread: udpxy's port separators and bare `%` before a scope.
fn normalise_address(raw: &str) -> Cow<'_, str> {
    if !raw.contains(['%', '~', '+', '-', '^']) {
        return Cow::Borrowed(raw);
    }
    let (raw, slash) = match raw.strip_suffix('/') {
        Some(raw) => (raw, "/"),
        None => (raw, ""),
    };
    let endpoints: Vec<Cow<'_, str>> = raw.split('@').map(normalise_endpoint).collect();
    Cow::Owned(endpoints.join("@") + slash)
}

fn normalise_endpoint(raw: &str) -> Cow<'_, str> {
    if let Some((address, port)) = raw.split_once(['%', '~', '+', '-', '^'])
        && address.parse::<Ipv4Addr>().is_ok()
        && (1..=5).contains(&port.len())
        && port.bytes().all(|digit| digit.is_ascii_digit())
    {
        return Cow::Owned(format!("{address}:{port}"));
    }
    if let Some((address, scope)) = raw
        .strip_prefix('[')
        .and_then(|inner| inner.split_once('%'))
        && address.parse::<Ipv6Addr>().is_ok()
        && !scope.starts_with("25")
    {
        return Cow::Owned(format!("[{address}%25{scope}"));
    }
    Cow::Borrowed(raw)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use std::net::IpAddr;

    fn ip(text: &str) -> Host {
        Host::from(text.parse::<IpAddr>().unwrap())
    }

    fn scoped(address: &str, scope: &str) -> Host {
        Host::Ip {
            address: address.parse().unwrap(),
            scope: Some(scope.to_owned()),
        }
    }

    fn group_and_port(rest: &str) -> (Host, u16) {
        let url = parse_multicast(rest).unwrap_or_else(|error| panic!("{rest}: {error}"));
        (url.group, url.port)
    }

    fn error(rest: &str) -> UrlError {
        parse_multicast(rest).expect_err(rest)
    }

    #[test]
    fn group_and_port_are_found() {
        let group = ip("239.1.1.1");
        for rest in [
            "239.1.1.1:5000",
            "239.1.1.1:5000/",
            "239.1.1.1:05000?x=y",
            "239.1.1.1:5000/?x",
            "239.1.1.1%3A5000",
            "239.1.1.1:5000$HD",
        ] {
            assert_eq!(group_and_port(rest), (group.clone(), 5000), "{rest}");
        }
        for rest in ["239.1.1.1", "239.1.1.1:", "239.1.1.1/", "239.1.1.1%2F"] {
            assert_eq!(group_and_port(rest), (group.clone(), 1234), "{rest}");
        }
        assert_eq!(
            group_and_port("tv-1.example:80"),
            (Host::Name("tv-1.example".to_owned()), 80)
        );
    }

    #[test]
    fn separators_of_udpxy_are_understood() {
        for separator in [':', '%', '~', '+', '-', '^'] {
            for (source, tail) in [
                ("", ""),
                ("10.0.0.1@", "/"),
                ("", "/?a=b"),
                ("10.0.0.1%80@", "?a=b"),
            ] {
                let rest = format!("{source}239.1.1.1{separator}1234{tail}");
                assert_eq!(group_and_port(&rest), (ip("239.1.1.1"), 1234), "{rest}");
            }
        }
        assert_eq!(error("239.1.1.1+123456"), UrlError::Host);
        assert_eq!(error("239.1.1.1^99999"), UrlError::Port);
    }

    #[test]
    fn last_at_separates_the_source() {
        let url = parse_multicast("10.0.0.1:99@239.1.1.1:5000").unwrap();
        assert_eq!(
            (url.source, url.group, url.port),
            (Some(ip("10.0.0.1")), ip("239.1.1.1"), 5000)
        );
        let url = parse_multicast("[fe80::1]%40[ff3e::1]:5000").unwrap();
        assert_eq!(
            (url.source, url.group),
            (Some(ip("fe80::1")), ip("ff3e::1"))
        );
        assert_eq!(error("@239.1.1.1:5000"), UrlError::Source);
        assert_eq!(error("10.0.0.1@"), UrlError::Group);
        assert_eq!(error("a@b@239.1.1.1"), UrlError::Host);
        assert_eq!(error("10.0.0.1:x@239.1.1.1"), UrlError::Port);
    }

    #[test]
    fn bracketed_ipv6_is_understood() {
        assert_eq!(group_and_port("[ff3e::1]:5000"), (ip("ff3e::1"), 5000));
        assert_eq!(group_and_port("[ff3e::1]"), (ip("ff3e::1"), 1234));
        assert_eq!(
            group_and_port("%5Bff3e%3A%3A1%5D:5000/"),
            (ip("ff3e::1"), 5000)
        );
        for rest in ["[ff3e::1", "[ff3e::1]5000", "[239.1.1.1]:5", "[]:5", "[x]"] {
            assert_eq!(error(rest), UrlError::Bracket, "{rest}");
        }
    }

    #[test]
    fn scope_is_kept() {
        for rest in [
            "[ff02::1%eth0]:5000",
            "[ff02::1%25eth0]:5000",
            "%5Bff02::1%25eth0%5D:5000",
        ] {
            assert_eq!(
                group_and_port(rest),
                (scoped("ff02::1", "eth0"), 5000),
                "{rest}"
            );
        }
        assert_eq!(
            group_and_port("[ff02::1%eb0]:5"),
            (scoped("ff02::1", "eb0"), 5)
        );
        assert_eq!(group_and_port("[ff02::1%3]:5"), (scoped("ff02::1", "3"), 5));
        assert_eq!(error("[ff02::1%25]:5"), UrlError::Bracket);
        assert_eq!(error("ff02::1%25a]:5"), UrlError::Host);
    }

    #[test]
    fn unbracketed_ipv6_ends_at_the_last_colon() {
        assert_eq!(group_and_port("ff3e::1:5000"), (ip("ff3e::1"), 5000));
        assert_eq!(group_and_port("ff3e::8000:1"), (ip("ff3e::8000"), 1));
        assert_eq!(group_and_port("ff3e::1"), (ip("ff3e::1"), 1234));
        assert_eq!(group_and_port("ff3e::1:db8"), (ip("ff3e::1:db8"), 1234));
        assert_eq!(
            group_and_port("1:2:3:4:5:6:7:8"),
            (ip("1:2:3:4:5:6:7:8"), 1234)
        );
        assert_eq!(error("ff3e::1:99999"), UrlError::Port);
        assert_eq!(error("ff3e:1:5000"), UrlError::Host);
    }

    #[test]
    fn wrong_ports_are_refused() {
        for rest in [
            "239.1.1.1:65536",
            "239.1.1.1:0",
            "239.1.1.1:http",
            "239.1.1.1:+5",
            "239.1.1.1:0000000000005000",
            "239.1.1.1:5 ",
        ] {
            assert_eq!(error(rest), UrlError::Port, "{rest}");
        }
    }

    #[test]
    fn wrong_hosts_are_refused() {
        for rest in [
            "239.1.1.300:5",
            "239.1:5",
            "5",
            "a b:5",
            "a b.c",
            ":5",
            ".:5",
        ] {
            assert_eq!(error(rest), UrlError::Host, "{rest}");
        }
        assert_eq!(error(""), UrlError::Group);
        assert_eq!(error("/"), UrlError::Group);
        assert_eq!(error("?a=b"), UrlError::Group);
        assert_eq!(error("239.1.1.1:5%"), UrlError::Escape);
        assert_eq!(error("239.1.1.1:5?a=%"), UrlError::Escape);
    }

    #[test]
    fn lengths_are_limited() {
        let host = |bytes: usize| format!("{}a:5", "a.".repeat(bytes / 2));
        assert!(parse_multicast(&host(255)).is_ok());
        assert_eq!(
            error(&host(257)),
            UrlError::TooLong {
                part: "host",
                limit: 255
            }
        );
        assert_eq!(
            error(&host(511)),
            UrlError::TooLong {
                part: "address",
                limit: 511
            }
        );
        let query = |bytes: usize| format!("239.1.1.1?{}", "x".repeat(bytes - 10));
        assert!(parse_multicast(&query(2047)).is_ok());
        assert_eq!(
            error(&query(2048)),
            UrlError::TooLong {
                part: "URL",
                limit: 2047
            }
        );
    }

    #[test]
    fn interface_comes_from_the_query() {
        let interface = |rest: &str| parse_multicast(rest).unwrap().interface;
        assert_eq!(
            interface("239.1.1.1?R2H-ifname=et%68%30&r2h-ifname=b").as_deref(),
            Some("eth0")
        );
        assert_eq!(
            interface("239.1.1.1?ifname=eth1&r2h-ifname=eth0").as_deref(),
            Some("eth0")
        );
        assert_eq!(
            interface("239.1.1.1%3Fifname=eth1").as_deref(),
            Some("eth1")
        );
        assert_eq!(
            interface("239.1.1.1?ifname=abcdefghijklmno").as_deref(),
            Some("abcdefghijklmno")
        );
        assert_eq!(
            interface("239.1.1.1?r2h-ifname=abcdefghijklmnop&ifname="),
            None
        );
    }

    #[test]
    fn interface_index_comes_from_the_query() {
        let index = |rest: &str| parse_multicast(rest).map(|url| url.interface_index);
        assert_eq!(index("239.1.1.1?ifindex=2"), Ok(Some(2)));
        assert_eq!(index("239.1.1.1?ifindex=0"), Ok(None));
        assert_eq!(index("239.1.1.1?ifindex=-1"), Err(UrlError::InterfaceIndex));
        assert_eq!(index("239.1.1.1?ifindex="), Err(UrlError::InterfaceIndex));
    }

    #[test]
    fn empty_fcc_is_refused() {
        assert_eq!(error("239.1.1.1?FCC="), UrlError::Fcc);
        assert!(parse_multicast("239.1.1.1?fcc=10.0.0.1:8027&fcc=").is_ok());
    }

    fn any_host() -> impl Strategy<Value = Host> {
        prop_oneof![
            any::<[u8; 4]>().prop_map(|octets| Host::from(IpAddr::from(octets))),
            any::<[u8; 16]>().prop_map(|octets| Host::from(IpAddr::from(octets))),
            (any::<[u8; 16]>(), "[a-z][a-z0-9.-]{0,9}").prop_map(|(octets, scope)| Host::Ip {
                address: IpAddr::from(octets),
                scope: Some(scope)
            }),
            "[a-z0-9_-]{1,9}(\\.[a-z][a-z0-9-]{0,9}){1,3}".prop_map(Host::Name),
        ]
    }

    proptest! {
        #[test]
        fn displayed_urls_parse_to_themselves(
            group in any_host(),
            source in prop::option::of(any_host()),
            port in 1u16..,
            interface in prop::option::of("[a-z0-9.-]{1,15}"),
            encode_all in any::<bool>(),
        ) {
            let url = MulticastUrl { group, port, source, interface, interface_index: None };
            let mut rest = url.to_string();
            if encode_all {
                rest = rest.bytes().map(|byte| format!("%{byte:02x}")).collect();
            }
            if let Some(interface) = &url.interface {
                rest = format!("{rest}?ifname={interface}");
            }
            prop_assert_eq!(parse_multicast(&rest), Ok(url));
        }

        #[test]
        fn any_text_is_parsed_without_panic(text in "[\\PC\\x00-\\x1f]{0,60}|[]\\[0-9a-f:.@%$?&=/~{é-]{0,60}") {
            let _ = parse_multicast(&text);
        }
    }
}
