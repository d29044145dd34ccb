//! Request targets: labels, percent-encoding and query values; hosts, multicast addresses, and what may be logged.
//!
//! Decoders only. Names are kept as text; nothing is resolved here. `http`, `https` and `rtsp` URLs are not
//! this module's concern beyond their hosts and [`redact`].

mod host;
mod multicast;
mod redact;

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

pub use host::{HOST_BYTES_MAX, Host, PORT_BYTES_MAX, parse_endpoint};
pub(super) use host::{check_host, parse_host, parse_ipv6, parse_port, with_bare_scope};
pub use multicast::{
    ADDRESS_BYTES_MAX, DEFAULT_PORT, INTERFACE_BYTES_MAX, MulticastUrl, URL_BYTES_MAX,
    parse_multicast,
};
pub use redact::{has_password, redact};

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

pub(super) fn check_length(part: &'static str, text: &str, limit: usize) -> Result<(), UrlError> {
    if text.len() > limit {
        Err(UrlError::TooLong { part, limit })
    } else {
        Ok(())
    }
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

    proptest! {
        #[test]
        fn percent_encoded_text_decodes_to_itself(text in "\\PC{0,40}") {
            prop_assume!(!text.contains(char::is_control));
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(percent_decode(&encoded), Ok(text));
        }

        #[test]
        fn any_text_is_handled_without_panic(text in "[\\PC\\x00-\\x1f]{0,60}|[]\\[0-9a-f:.@%$?&=/~{é-]{0,60}") {
            let _ = percent_decode(&text);
            let _ = query_value(&text, "a");
            prop_assert!(text.starts_with(strip_label(&text)));
        }
    }
}
