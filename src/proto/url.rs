//! Request targets: labels, percent-encoding, query values, redaction, and the address of a multicast stream.
//!
//! Decoders only. Names are kept as text; nothing is resolved here. `http`, `https` and `rtsp` URLs are not
//! this module's concern beyond [`redact`].

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::query;
use super::rewrite::token::TOKEN_NAME;

/// Longest multicast URL in bytes, query included (so that it fits where others keep 2048 bytes).
pub const URL_BYTES_MAX: usize = 2047;

/// Longest address part (source, group and ports, before the query) in bytes.
pub const ADDRESS_BYTES_MAX: usize = 511;

/// Longest host in bytes, brackets excluded. DNS names have at most 253.
pub const HOST_BYTES_MAX: usize = 255;

/// Longest port in bytes, leading zeros included.
pub const PORT_BYTES_MAX: usize = 15;

/// Longest interface name in bytes (`IFNAMSIZ` less its terminator).
pub const INTERFACE_BYTES_MAX: usize = 15;

/// Port of a group that names none.
pub const DEFAULT_PORT: u16 = 1234;

/// Why a URL, or a part of one, was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlError {
    /// `%` not followed by two hexadecimal digits.
    Escape,
    /// Percent-decoding gives something that is not UTF-8, or a control character.
    Text,
    /// The URL, its address part or a host exceeds `limit` bytes.
    TooLong {
        /// Which part.
        part: &'static str,
        /// Most bytes accepted.
        limit: usize,
    },
    /// No group.
    Group,
    /// `@` without a source in front.
    Source,
    /// A host that is neither an IP address nor a name.
    Host,
    /// `[` without an IPv6 address and `]`, or something other than `:port` behind it.
    Bracket,
    /// A port that is not a decimal number from 1 to 65535.
    Port,
    /// `fcc=` without a server.
    Fcc,
    /// `ifindex=` that is not a decimal number.
    InterfaceIndex,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UrlError::Escape => f.write_str("'%' is not followed by two hexadecimal digits"),
            UrlError::Text => {
                f.write_str("decodes to control characters or to something that is not UTF-8")
            }
            UrlError::TooLong { part, limit } => write!(f, "{part} is longer than {limit} bytes"),
            UrlError::Group => {
                f.write_str("group is missing; accepted is [source[:port]@]group[:port]")
            }
            UrlError::Source => f.write_str(
                "source before '@' is missing; accepted is [source[:port]@]group[:port]",
            ),
            UrlError::Host => f.write_str(
                "host is neither an IP address nor a name of letters, digits, '-', '_' and '.'",
            ),
            UrlError::Bracket => f.write_str(
                "brackets must enclose an IPv6 address and be followed by nothing or :port",
            ),
            UrlError::Port => f.write_str("port is not a decimal number from 1 to 65535"),
            UrlError::Fcc => f.write_str("fcc= is empty; accepted is fcc=host:port"),
            UrlError::InterfaceIndex => {
                f.write_str("ifindex= is not a decimal number from 0 to 4294967295")
            }
        }
    }
}

impl std::error::Error for UrlError {}

/// Removes the display label from a request target or playlist URL: `/rtp/239.1.1.1:5000$HD` loses `$HD`.
///
/// The label starts at the last `$` that is followed by something other than `{` (which belongs to a time
/// template). Behind a `?` it is removed only if neither `&` nor `=` follows, so that a literal `$` inside a
/// query value does not swallow the parameters behind it. In the last value of a query a literal `$` still reads as a
/// label; `%24` avoids that.
pub fn strip_label(target: &str) -> &str {
    let label = memchr::memrchr_iter(b'$', target.as_bytes()).find(|&at| {
        let behind = target.get(at + 1..).unwrap_or_default();
        !behind.is_empty() && !behind.starts_with('{')
    });
    match label.and_then(|at| target.split_at_checked(at)) {
        Some((front, label)) if front.contains('?') && label.contains(['&', '=']) => target,
        Some((front, _)) => front,
        None => target,
    }
}

/// Decodes percent-escapes once. `+` stays `+`.
///
/// # Errors
///
/// `Escape` for an incomplete escape, `Text` if the result is not UTF-8 or has control characters.
pub fn percent_decode(text: &str) -> Result<String, UrlError> {
    if !text.contains('%') && !has_control(text) {
        return Ok(text.to_owned());
    }
    let escapes_are_whole = text.split('%').skip(1).all(|behind| {
        let mut digits = behind.bytes().take(2);
        digits.len() == 2 && digits.all(|digit| digit.is_ascii_hexdigit())
    });
    if !escapes_are_whole {
        return Err(UrlError::Escape);
    }
    let decoded = percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| UrlError::Text)?;
    if has_control(&decoded) {
        return Err(UrlError::Text);
    }
    Ok(decoded.into_owned())
}

/// What [`percent_encode`] leaves as it is, besides letters and digits.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/');

/// Percent-encodes a token or a name for a URL (http-proxy spec §15).
///
/// ASCII letters, digits, `-`, `_`, `.`, `~` and `/` stay; every other byte becomes `%XX` in upper case.
pub fn percent_encode(text: &str) -> String {
    utf8_percent_encode(text, KEPT).to_string()
}

/// The value of the first parameter called `name` (case-insensitive), percent-decoded.
///
/// `query` is what follows `?`. A parameter without `=` has no value and is passed over. Names are compared
/// as they stand, without decoding.
pub fn query_value(query: &str, name: &str) -> Option<Result<String, UrlError>> {
    raw_query_value(query, name).map(percent_decode)
}

fn raw_query_value<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let mut parameters = query
        .split('&')
        .filter_map(|parameter| parameter.split_once('='));
    parameters.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
}

/// A URL or request target as it may be logged.
///
/// The value of every `r2h-token` and every `user:password` before `@` become `***`; control characters are
/// escaped. A multicast source (`10.0.0.1:5000@239.1.1.1`) is an address and stays.
pub fn redact(url: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(url);
    // Tokens first: one that contains '@' would otherwise be taken for the end of a password, and shown.
    if let Some(shown) = hide_token(&text) {
        text = Cow::Owned(shown);
    }
    if text.contains('@') && has_password(&text) {
        let hide = |segment| {
            behind_user(segment)
                .map_or(Cow::Borrowed(segment), |shown| format!("***{shown}").into())
        };
        let segments: Vec<Cow<'_, str>> = text.split('/').map(hide).collect();
        text = Cow::Owned(segments.join("/"));
    }
    if has_control(&text) {
        let escape = |c: char| {
            if c.is_control() {
                c.escape_default().to_string()
            } else {
                c.to_string()
            }
        };
        text = Cow::Owned(text.chars().map(escape).collect());
    }
    text
}

/// Whether a URL or request target has `user:password` before an `@` somewhere, as [`redact`] looks for it.
pub fn has_password(url: &str) -> bool {
    url.split('/').any(|segment| behind_user(segment).is_some())
}

/// What may be shown of a path segment that has `user:password@`: everything from the last `@` on.
///
/// Only `/` ends a password here, since people write `?` and `#` into theirs.
fn behind_user(segment: &str) -> Option<&str> {
    let (user, shown) = segment.split_at_checked(segment.rfind('@')?)?;
    // A password may follow a user whose name is an address, and then it is no port.
    let is_address = parse_endpoint(user).is_ok_and(|(host, _)| host.ip().is_some());
    (user.contains(':') && !is_address).then_some(shown)
}

fn hide_token(text: &str) -> Option<String> {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = query::find_value(rest, TOKEN_NAME) {
        let (front, value) = rest.split_at_checked(at)?;
        let value_bytes = value
            .find(|c: char| c == '&' || c.is_whitespace())
            .unwrap_or(value.len());
        shown.push_str(front);
        shown.push_str("***");
        rest = value.get(value_bytes..)?;
    }
    if shown.is_empty() {
        return None;
    }
    shown.push_str(rest);
    Some(shown)
}

/// Whether `text` has control characters, be they of ASCII or beyond (Unicode's category Cc).
fn has_control(text: &str) -> bool {
    // Those beyond ASCII, U+0080 to U+009F, all begin with this byte. Every byte is looked at, so that many are at
    // once.
    let may_be_of_one = |byte: u8| byte.is_ascii_control() | (byte == 0xc2);
    let may_have = text
        .bytes()
        .fold(false, |found, byte| found | may_be_of_one(byte));
    may_have && text.contains(char::is_control)
}

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

pub(super) fn check_length(part: &'static str, text: &str, limit: usize) -> Result<(), UrlError> {
    if text.len() > limit {
        Err(UrlError::TooLong { part, limit })
    } else {
        Ok(())
    }
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
pub(super) fn parse_host(text: &str) -> Result<Host, UrlError> {
    Ok(match check_host(text)? {
        Some(address) => Host::from(IpAddr::V4(address)),
        None => Host::Name(text.to_owned()),
    })
}

/// The same without a copy: the address, or nothing for a name.
pub(super) fn check_host(text: &str) -> Result<Option<Ipv4Addr>, UrlError> {
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

/// An IPv6 address without brackets, its scope behind `%`. The scope is any text that is not empty.
pub(super) fn parse_ipv6(text: &str) -> Option<Host> {
    let (address, scope) = match text.split_once('%') {
        Some((address, scope)) if !scope.is_empty() => (address, Some(scope.to_owned())),
        Some(_) => return None,
        None => (text, None),
    };
    let address = IpAddr::V6(address.parse().ok()?);
    Some(Host::Ip { address, scope })
}

/// A port behind `:`; none if it is empty.
pub(super) fn parse_port(text: &str) -> Result<Option<u16>, UrlError> {
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

/// Unlike `parse` alone, does not accept a sign.
fn parse_decimal<N: std::str::FromStr>(text: &str) -> Option<N> {
    let digits_only = text.bytes().all(|digit| digit.is_ascii_digit());
    if digits_only { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
    fn label_is_removed() {
        assert_eq!(strip_label("/rtp/239.1.1.1:5000$HD"), "/rtp/239.1.1.1:5000");
        assert_eq!(strip_label("/a$b$c"), "/a$b");
        assert_eq!(strip_label("/a$b$"), "/a");
        assert_eq!(strip_label("/a?fec=5$HD 4K"), "/a?fec=5");
        assert_eq!(strip_label("/a$"), "/a$");
        assert_eq!(strip_label("/a"), "/a");
    }

    #[test]
    fn template_is_not_a_label() {
        assert_eq!(strip_label("/a?s=${(b)yyyy}"), "/a?s=${(b)yyyy}");
        assert_eq!(strip_label("/a$x${(b)yyyy}"), "/a");
    }

    #[test]
    fn dollar_in_a_query_keeps_later_parameters() {
        assert_eq!(strip_label("/a?x=$y&fec=5"), "/a?x=$y&fec=5");
        assert_eq!(strip_label("/a?x=$y&fec=5$HD"), "/a?x=$y&fec=5");
    }

    #[test]
    fn wrong_escapes_and_control_bytes_are_refused() {
        assert_eq!(percent_decode("a%20b+c%C3%A9").unwrap(), "a b+cé");
        for text in ["%", "a%2", "%zz", "%%20", "%+1"] {
            assert_eq!(percent_decode(text), Err(UrlError::Escape), "{text}");
        }
        for text in ["%00", "%0a", "%7F", "%ff", "\n", "%C2%80"] {
            assert_eq!(percent_decode(text), Err(UrlError::Text), "{text}");
        }
    }

    #[test]
    fn tokens_and_names_are_percent_encoded() {
        assert_eq!(percent_encode("p;q&r$"), "p%3Bq%26r%24");
        assert_eq!(
            percent_encode("News/é-_.~ +%\n"),
            "News/%C3%A9-_.~%20%2B%25%0A"
        );
    }

    #[test]
    fn query_value_is_the_first_of_its_name() {
        assert_eq!(
            query_value("A=1&b&b=x%20y&B=2", "B"),
            Some(Ok("x y".to_owned()))
        );
        assert_eq!(query_value("ab=1", "b"), None);
        assert_eq!(query_value("b", "b"), None);
        assert_eq!(query_value("b=", "b"), Some(Ok(String::new())));
        assert_eq!(query_value("b=%", "b"), Some(Err(UrlError::Escape)));
    }

    #[test]
    fn secrets_are_redacted() {
        assert_eq!(
            redact("/a?r2h-token=s$e&b=1&R2H-Token=t"),
            "/a?r2h-token=***&b=1&R2H-Token=***"
        );
        assert_eq!(
            redact("rtsp://me:pa@ss@10.0.0.1:554/x"),
            "rtsp://***@10.0.0.1:554/x"
        );
        assert_eq!(
            redact("/http/me:pass?w@host/x?r2h-token=t"),
            "/http/***@host/x?r2h-token=***"
        );
        assert_eq!(redact("/http/10.0.0.1:s3cret@host/x"), "/http/***@host/x");
        assert_eq!(redact("x\r\ny\u{7f}"), "x\\r\\ny\\u{7f}");
    }

    #[test]
    fn redaction_keeps_what_is_no_secret() {
        for url in [
            "/rtp/10.0.0.1:5000@239.1.1.1:1234?fcc=10.0.0.2:80",
            "/rtp/[fe80::1]:5@[ff3e::1]:2",
            "/udp/src@239.1.1.1:1",
            "/udp/fe80::1@[ff3e::1]:2",
        ] {
            assert!(matches!(redact(url), Cow::Borrowed(shown) if shown == url));
        }
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
        fn percent_encoded_text_decodes_to_itself(text in "\\PC{0,40}") {
            prop_assume!(!text.contains(char::is_control));
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(percent_decode(&encoded), Ok(text));
        }

        #[test]
        fn any_text_is_handled_without_panic(text in "[\\PC\\x00-\\x1f]{0,60}|[]\\[0-9a-f:.@%$?&=/~{é-]{0,60}") {
            let _ = parse_multicast(&text);
            let _ = percent_decode(&text);
            let _ = query_value(&text, "a");
            prop_assert!(text.starts_with(strip_label(&text)));
            prop_assert!(!redact(&text).contains(char::is_control));
        }

        #[test]
        fn no_token_survives_redaction(front in "[a-z/?&=@:]{0,20}", secret in "[A-Z0-9%$@/:#?;=]{4,12}", tail in "(&[a-z@:/=]{0,9})?") {
            let url = format!("{front}r2h-token={secret}{tail}");
            prop_assert!(!redact(&url).contains(&secret), "{}", redact(&url));
        }
    }
}
