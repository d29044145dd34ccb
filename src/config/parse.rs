//! Single settings out of text: strict, pure, the same for every place a setting can come from.
//!
//! A number is decimal digits and nothing else, so that `5x` is a mistake and not 5.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::{
    APP_PATH_PREFIX_BYTES_MAX, CHANNEL_LINGER, CHANNELS_LINGERING_MAX, CLIENTS_MAX, DRAIN_TIMEOUT,
    EXTERNAL_M3U_SECONDS, FAST_START_KIB, FLUSH_INTERVAL, HEADER_VALUE_BYTES_MAX,
    HTTP_CONNECT_TIMEOUT, HTTP_HEAD_TIMEOUT, HTTP_IDLE_TIMEOUT, Hostname, LOG_FORMAT_BYTES_MAX,
    LogStyle, MCAST_REJOIN_SECONDS, NO_DATA_TIMEOUT, PAGE_PATH_BYTES_MAX, POOL_BUFFERS_MAX,
    StatusAuth, Token, UDP_RECEIVE_BUFFER_BYTES, UNIX_MODE_MAX, UserName, Verbosity, WORKERS,
};
use crate::limits::POOL_UNIT_BYTES;
use crate::playlist::{DocumentAddress, Refresh};
use crate::proto::url::{self, Host, INTERFACE_BYTES_MAX, parse_endpoint};

/// Port of a STUN server (RFC 8489 §18.6).
const STUN_PORT: u16 = 3478;
/// Characters of a refused value that are repeated in the complaint.
const SHOWN_MAX: usize = 64;

/// A value that is not accepted, and what would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    value: String,
    accepted: String,
}

impl Rejected {
    /// `value` as it was given; `accepted` continues the words “give …”.
    pub fn new(value: &str, accepted: impl Into<String>) -> Rejected {
        Rejected {
            value: quoted(value),
            accepted: accepted.into(),
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not accepted; give {}", self.value, self.accepted)
    }
}

impl std::error::Error for Rejected {}

/// Text from outside as one printable line: in quotes, escaped, cut after 64 characters.
pub fn quoted(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// Yes or no, in the words of the compatible router (server spec §3.1) and their opposites, in either case.
pub fn switch(text: &str) -> Result<bool, Rejected> {
    let is_one_of = |words: [&str; 4]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    match (
        is_one_of(["yes", "on", "true", "1"]),
        is_one_of(["no", "off", "false", "0"]),
    ) {
        (true, _) => Ok(true),
        (_, true) => Ok(false),
        _ => Err(Rejected::new(
            text,
            "yes or no; also on, off, true, false, 1, 0",
        )),
    }
}

/// [`Config::workers`](super::Config::workers).
pub fn workers(text: &str) -> Result<usize, Rejected> {
    whole(text, WORKERS, "a whole number")
}

/// [`Config::drain_timeout`](super::Config::drain_timeout).
pub fn drain_timeout(text: &str) -> Result<Duration, Rejected> {
    seconds(text, DRAIN_TIMEOUT)
}

/// [`Config::clients_max`](super::Config::clients_max).
pub fn clients_max(text: &str) -> Result<usize, Rejected> {
    whole(text, CLIENTS_MAX, "a whole number")
}

/// [`Config::pool_buffers_max`](super::Config::pool_buffers_max).
pub fn pool_buffers_max(text: &str) -> Result<usize, Rejected> {
    let what = format!("a whole number of {POOL_UNIT_BYTES}-byte buffers");
    whole(text, POOL_BUFFERS_MAX, &what)
}

/// [`Config::udp_receive_buffer_bytes`](super::Config::udp_receive_buffer_bytes).
pub fn udp_receive_buffer_bytes(text: &str) -> Result<usize, Rejected> {
    whole(text, UDP_RECEIVE_BUFFER_BYTES, "a whole number of bytes")
}

/// [`Config::mcast_rejoin_interval`](super::Config::mcast_rejoin_interval), 0 for `None`.
pub fn mcast_rejoin_interval(text: &str) -> Result<Option<Duration>, Rejected> {
    let seconds = whole(text, MCAST_REJOIN_SECONDS, "a whole number of seconds")?;
    Ok((seconds > 0).then(|| Duration::from_secs(seconds as u64)))
}

/// [`Config::external_m3u`](super::Config::external_m3u), empty for none.
pub fn external_m3u(text: &str) -> Result<Option<DocumentAddress>, Rejected> {
    if text.is_empty() {
        return Ok(None);
    }
    // Behind the question mark there are often name and password.
    let shown = text.split('?').next().unwrap_or_default();
    let accepted = "an http:// or https:// URL, or file:// and an absolute path";
    DocumentAddress::parse(text)
        .map(Some)
        .map_err(|error| Rejected::new(&url::redact(shown), format!("{accepted} ({error})")))
}

/// [`Config::external_m3u_refresh`](super::Config::external_m3u_refresh): 0 for once, negative for never.
pub fn external_m3u_refresh(text: &str) -> Result<Refresh, Rejected> {
    let is_negative = |text: &str| digits(text).is_some_and(|seconds| seconds > 0);
    if text.strip_prefix('-').is_some_and(is_negative) {
        return Ok(Refresh::Never);
    }
    let seconds = whole(
        text,
        EXTERNAL_M3U_SECONDS,
        "-1, or a whole number of seconds",
    )?;
    Ok(match seconds {
        0 => Refresh::Once,
        seconds => Refresh::Every(Duration::from_secs(seconds as u64)),
    })
}

/// [`Config::channel_linger`](super::Config::channel_linger).
pub fn channel_linger(text: &str) -> Result<Duration, Rejected> {
    seconds(text, CHANNEL_LINGER)
}

/// [`Config::channels_lingering_max`](super::Config::channels_lingering_max).
pub fn channels_lingering_max(text: &str) -> Result<usize, Rejected> {
    whole(text, CHANNELS_LINGERING_MAX, "a whole number")
}

/// [`Config::fast_start_bytes`](super::Config::fast_start_bytes), from KiB; `off` and 0 are none.
pub fn fast_start_bytes(text: &str) -> Result<usize, Rejected> {
    if text.eq_ignore_ascii_case("off") || digits(text) == Some(0) {
        return Ok(0);
    }
    let kib = whole(text, FAST_START_KIB, "off or a whole number of KiB")?;
    Ok(kib * 1024)
}

/// [`Config::flush_interval`](super::Config::flush_interval), from milliseconds; `auto` is `None`.
pub fn flush_interval(text: &str) -> Result<Option<Duration>, Rejected> {
    if text.eq_ignore_ascii_case("auto") {
        return Ok(None);
    }
    match decimal(text, 6) {
        Some(interval) if FLUSH_INTERVAL.contains(&interval) => Ok(Some(interval)),
        _ => {
            let (low, high) = FLUSH_INTERVAL.into_inner();
            let (low, high) = (low.as_millis(), high.as_millis());
            let accepted = format!("auto or milliseconds from {low} to {high}, decimals allowed");
            Err(Rejected::new(text, accepted))
        }
    }
}

/// [`Config::no_data_timeout`](super::Config::no_data_timeout).
pub fn no_data_timeout(text: &str) -> Result<Duration, Rejected> {
    seconds(text, NO_DATA_TIMEOUT)
}

/// [`Config::http_connect_timeout`](super::Config::http_connect_timeout).
pub fn http_connect_timeout(text: &str) -> Result<Duration, Rejected> {
    seconds(text, HTTP_CONNECT_TIMEOUT)
}

/// [`Config::http_head_timeout`](super::Config::http_head_timeout).
pub fn http_head_timeout(text: &str) -> Result<Duration, Rejected> {
    seconds(text, HTTP_HEAD_TIMEOUT)
}

/// [`Config::http_idle_timeout`](super::Config::http_idle_timeout).
pub fn http_idle_timeout(text: &str) -> Result<Duration, Rejected> {
    seconds(text, HTTP_IDLE_TIMEOUT)
}

/// [`Config::http_proxy_user_agent`](super::Config::http_proxy_user_agent); empty is `None`.
pub fn http_proxy_user_agent(text: &str) -> Result<Option<String>, Rejected> {
    let is_value = text.len() <= HEADER_VALUE_BYTES_MAX
        && !text.contains(char::is_control)
        && text.trim_matches(' ') == text;
    if is_value {
        return Ok(unless_empty(text).map(str::to_owned));
    }
    let accepted = format!(
        "at most {HEADER_VALUE_BYTES_MAX} bytes without control characters and without blanks at the ends"
    );
    Err(Rejected::new(text, accepted))
}

/// [`Config::rtsp_stun_server`](super::Config::rtsp_stun_server), `host[:port]` with an IPv6 address in brackets or
/// bare; empty is `None`.
pub fn rtsp_stun_server(text: &str) -> Result<Option<(Host, u16)>, Rejected> {
    if text.is_empty() {
        return Ok(None);
    }
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Ok(Some((Host::from(IpAddr::V6(address)), STUN_PORT)));
    }
    let (host, port) = parse_endpoint(text).map_err(|_| {
        Rejected::new(
            text,
            "host, host:port, [IPv6 address] or [IPv6 address]:port",
        )
    })?;
    Ok(Some((host, port.unwrap_or(STUN_PORT))))
}

/// [`Config::cors_allow_origin`](super::Config::cors_allow_origin); empty is `None`.
pub fn cors_allow_origin(text: &str) -> Result<Option<String>, Rejected> {
    if text.len() <= HEADER_VALUE_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(unless_empty(text).map(str::to_owned));
    }
    let accepted = format!(
        "* or an origin such as https://tv.home, at most {HEADER_VALUE_BYTES_MAX} bytes of visible ASCII"
    );
    Err(Rejected::new(text, accepted))
}

/// [`Config::hostname`](super::Config::hostname); empty is `None`.
pub fn hostname(text: &str) -> Result<Option<Hostname>, Rejected> {
    unless_empty(text).map(Hostname::parse).transpose()
}

/// [`Config::r2h_token`](super::Config::r2h_token); empty is `None`. The complaint does not show the text.
pub fn r2h_token(text: &str) -> Result<Option<Token>, Rejected> {
    unless_empty(text).map(Token::parse).transpose()
}

/// [`Config::app_path_prefix`](super::Config::app_path_prefix): one slash in front, none behind (server
/// spec §2.3).
pub fn app_path_prefix(text: &str) -> Result<String, Rejected> {
    let inner = text.trim_matches('/');
    if inner.len() >= APP_PATH_PREFIX_BYTES_MAX || !is_path(inner) {
        let accepted = format!(
            "a path of at most {APP_PATH_PREFIX_BYTES_MAX} bytes such as /tv, of letters, digits \
             and -._~/%!&'()*+:@="
        );
        return Err(Rejected::new(text, accepted));
    }
    Ok(match inner {
        "" => String::new(),
        _ => format!("/{inner}"),
    })
}

/// [`Config::status_page_path`](super::Config::status_page_path) and
/// [`Config::player_page_path`](super::Config::player_page_path): one slash in front, none behind, not empty (server
/// spec §2.3).
pub fn page_path(text: &str) -> Result<String, Rejected> {
    let inner = text.trim_matches('/');
    if text.is_empty() || inner.len() >= PAGE_PATH_BYTES_MAX || !is_path(inner) {
        let accepted = format!(
            "a path of at most {PAGE_PATH_BYTES_MAX} bytes such as /status, of letters, digits and \
             -._~/%!&'()*+:@="
        );
        return Err(Rejected::new(text, accepted));
    }
    Ok(format!("/{inner}"))
}

/// The path of a file, such as [`Config::tls_ca`](super::Config::tls_ca); empty is `None`. Whether there is such a
/// file is seen when it is opened.
pub fn path(text: &str) -> Result<Option<PathBuf>, Rejected> {
    if text.contains(char::is_control) || text.trim_matches(' ') != text {
        let accepted = "a path without control characters and without blanks at the ends";
        return Err(Rejected::new(text, accepted));
    }
    Ok(unless_empty(text).map(PathBuf::from))
}

/// [`Config::unix_mode`](super::Config::unix_mode): octal digits.
pub fn unix_mode(text: &str) -> Result<u32, Rejected> {
    let is_octal = |byte: u8| matches!(byte, b'0'..=b'7');
    // `from_str_radix` alone would take a sign.
    let mode = match text.bytes().all(is_octal) {
        true => u32::from_str_radix(text, 8).ok(),
        false => None,
    };
    mode.filter(|mode| *mode <= UNIX_MODE_MAX)
        .ok_or_else(|| Rejected::new(text, "permissions in octal from 0 to 0777, such as 0660"))
}

/// [`Config::user`](super::Config::user); empty is `None`.
pub fn user(text: &str) -> Result<Option<UserName>, Rejected> {
    unless_empty(text).map(UserName::parse).transpose()
}

/// A [`Verbosity`] by number or by name in either case.
pub fn verbosity(text: &str) -> Result<Verbosity, Rejected> {
    let by_number = Verbosity::ALL
        .into_iter()
        .find(|level| digits(text) == Some(*level as u64));
    let by_name = || {
        Verbosity::ALL
            .into_iter()
            .find(|level| level.name().eq_ignore_ascii_case(text))
    };
    by_number.or_else(by_name).ok_or_else(|| {
        let names = Verbosity::ALL.map(Verbosity::name).join(", ");
        let last = Verbosity::Trace as u8;
        Rejected::new(text, format!("a level from 0 to {last} or one of {names}"))
    })
}

/// [`Config::status_auth`](super::Config::status_auth); empty is `None`. May read a file.
pub fn status_auth(text: &str) -> Result<Option<StatusAuth>, Rejected> {
    unless_empty(text).map(StatusAuth::parse).transpose()
}

/// [`Config::log_style`](super::Config::log_style); `auto` is `None`.
pub fn log_style(text: &str) -> Result<Option<LogStyle>, Rejected> {
    if text.eq_ignore_ascii_case("auto") {
        return Ok(None);
    }
    let mut styles = LogStyle::ALL.into_iter();
    let found = styles.find(|style| style.name().eq_ignore_ascii_case(text));
    found.map(Some).ok_or_else(|| {
        let names = LogStyle::ALL.map(LogStyle::name).join(", ");
        Rejected::new(text, format!("one of auto, {names}"))
    })
}

/// [`Config::log_format`](super::Config::log_format).
pub fn log_format(text: &str) -> Result<String, Rejected> {
    if text.len() <= LOG_FORMAT_BYTES_MAX && !text.contains(char::is_control) {
        return Ok(text.to_owned());
    }
    let accepted = format!(
        "at most {LOG_FORMAT_BYTES_MAX} bytes without control characters, such as $client_addr $status"
    );
    Err(Rejected::new(text, accepted))
}

/// The name of a network interface: what the kernel accepts as one, never shortened; empty is `None`.
pub fn interface(text: &str) -> Result<Option<String>, Rejected> {
    let fits = text.len() <= INTERFACE_BYTES_MAX;
    if fits && !text.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control()) {
        return Ok(unless_empty(text).map(str::to_owned));
    }
    let accepted = format!(
        "an interface name of at most {INTERFACE_BYTES_MAX} bytes without \"/\" and white space"
    );
    Err(Rejected::new(text, accepted))
}

/// Whether `text` can stand in a path as it is: what RFC 3986 §3.3 allows, without what ends the path of a cookie
/// or begins a label.
pub(super) fn is_path(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._~/%!&'()*+:@=".contains(&byte))
}

fn unless_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn whole(text: &str, range: RangeInclusive<usize>, what: &str) -> Result<usize, Rejected> {
    match digits(text).and_then(|number| usize::try_from(number).ok()) {
        Some(number) if range.contains(&number) => Ok(number),
        _ => {
            let (low, high) = range.into_inner();
            Err(Rejected::new(text, format!("{what} from {low} to {high}")))
        }
    }
}

fn seconds(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, Rejected> {
    match decimal(text, 9) {
        Some(duration) if range.contains(&duration) => Ok(duration),
        _ => {
            let (low, high) = (range.start().as_secs_f64(), range.end().as_secs_f64());
            let accepted = format!("seconds from {low} to {high}, decimals allowed");
            Err(Rejected::new(text, accepted))
        }
    }
}

/// `None` unless `text` is decimal digits that fit: `from_str` alone would take a sign.
fn digits(text: &str) -> Option<u64> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Reads `2`, `2.5` and `.5` of a unit that is 10^`places` nanoseconds, exactly.
///
/// More than `places` decimals are refused rather than rounded: rounding could turn a small value into
/// zero, which means something else.
fn decimal(text: &str, places: usize) -> Option<Duration> {
    let (units, fraction) = match text.split_once('.') {
        Some((_, "")) => return None,
        Some(("", fraction)) => ("0", fraction),
        Some(parts) => parts,
        None => (text, ""),
    };
    if fraction.len() > places {
        return None;
    }
    let scale = 10_u64.pow(u32::try_from(places).ok()?);
    let decimals = digits(&format!("{fraction:0<places$}"))?;
    let nanoseconds = digits(units)?.checked_mul(scale)?.checked_add(decimals)?;
    Some(Duration::from_nanos(nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Texts no number is made of.
    const NO_NUMBERS: [&str; 12] = [
        "",
        " ",
        "abc",
        "5x",
        "x5",
        "+5",
        "-5",
        " 5",
        "5 ",
        "0x10",
        "1e3",
        "99999999999999999999999",
    ];

    #[track_caller]
    fn accepts<T: PartialEq + fmt::Debug>(
        parse: fn(&str) -> Result<T, Rejected>,
        pairs: impl IntoIterator<Item = (&'static str, T)>,
    ) {
        for (text, value) in pairs {
            assert_eq!(parse(text), Ok(value), "{text}");
        }
    }

    #[track_caller]
    fn refuses<T: fmt::Debug>(
        parse: fn(&str) -> Result<T, Rejected>,
        texts: &[&str],
        accepted: &str,
    ) {
        for text in texts.iter().chain(&NO_NUMBERS) {
            let rejected = parse(text).expect_err(text).to_string();
            assert_eq!(
                rejected,
                format!("{text:?} is not accepted; give {accepted}")
            );
        }
    }

    #[test]
    fn clients_are_1_to_65536() {
        accepts(clients_max, [("1", 1), ("007", 7), ("65536", 65536)]);
        refuses(
            clients_max,
            &["0", "65537", "1.0"],
            "a whole number from 1 to 65536",
        );
    }

    #[test]
    fn pool_has_at_least_64_buffers() {
        accepts(pool_buffers_max, [("64", 64), ("4194304", 4_194_304)]);
        refuses(
            pool_buffers_max,
            &["0", "63", "4194305"],
            "a whole number of 1536-byte buffers from 64 to 4194304",
        );
    }

    #[test]
    fn udp_receive_buffer_is_64_kib_to_1_gib() {
        accepts(
            udp_receive_buffer_bytes,
            [("65536", 65536), ("1073741824", 1 << 30)],
        );
        refuses(
            udp_receive_buffer_bytes,
            &["65535", "1073741825"],
            "a whole number of bytes from 65536 to 1073741824",
        );
    }

    #[test]
    fn rejoin_interval_of_zero_is_none() {
        let day = Duration::from_secs(86_400);
        accepts(
            mcast_rejoin_interval,
            [
                ("0", None),
                ("1", Some(Duration::from_secs(1))),
                ("86400", Some(day)),
            ],
        );
        refuses(
            mcast_rejoin_interval,
            &["86401", "0.5"],
            "a whole number of seconds from 0 to 86400",
        );
    }

    #[test]
    fn linger_is_seconds_with_decimals() {
        accepts(
            channel_linger,
            [
                ("0", Duration::ZERO),
                ("0.0", Duration::ZERO),
                (".5", Duration::from_millis(500)),
                ("2.25", Duration::from_millis(2250)),
                ("0.000000001", Duration::from_nanos(1)),
                ("3600", Duration::from_secs(3600)),
                ("3600.0", Duration::from_secs(3600)),
            ],
        );
        refuses(
            channel_linger,
            &[
                "3600.1",
                "3601",
                ".",
                "5.",
                "1.2.3",
                "1,5",
                "1.-5",
                "0.0000000001",
            ],
            "seconds from 0 to 3600, decimals allowed",
        );
    }

    #[test]
    fn lingering_channels_are_0_to_4096() {
        accepts(channels_lingering_max, [("0", 0), ("4096", 4096)]);
        refuses(
            channels_lingering_max,
            &["4097"],
            "a whole number from 0 to 4096",
        );
    }

    #[test]
    fn fast_start_is_off_or_kib() {
        accepts(
            fast_start_bytes,
            [
                ("off", 0),
                ("OFF", 0),
                ("0", 0),
                ("64", 65536),
                ("65536", 64 << 20),
            ],
        );
        refuses(
            fast_start_bytes,
            &["1", "63", "65537", "on"],
            "off or a whole number of KiB from 64 to 65536",
        );
    }

    #[test]
    fn flush_interval_is_auto_or_milliseconds() {
        accepts(
            flush_interval,
            [
                ("auto", None),
                ("0", Some(Duration::ZERO)),
                ("2.5", Some(Duration::from_micros(2500))),
                ("0.000001", Some(Duration::from_nanos(1))),
                ("100", Some(Duration::from_millis(100))),
            ],
        );
        refuses(
            flush_interval,
            &["100.1", "101", "off", "0.0000001"],
            "auto or milliseconds from 0 to 100, decimals allowed",
        );
    }

    #[test]
    fn no_data_timeout_is_at_least_a_tenth_of_a_second() {
        accepts(
            no_data_timeout,
            [
                ("0.1", Duration::from_millis(100)),
                ("3600", Duration::from_secs(3600)),
            ],
        );
        refuses(
            no_data_timeout,
            &["0", "0.099", "3600.1"],
            "seconds from 0.1 to 3600, decimals allowed",
        );
    }

    #[test]
    fn http_timeouts_are_seconds_with_decimals() {
        let tenth = ("0.1", Duration::from_millis(100));
        let seconds = Duration::from_secs;
        accepts(http_connect_timeout, [tenth, ("120", seconds(120))]);
        accepts(http_head_timeout, [tenth, ("3600", seconds(3600))]);
        accepts(http_idle_timeout, [tenth, ("86400", seconds(86_400))]);
        let accepted = |high| format!("seconds from 0.1 to {high}, decimals allowed");
        refuses(
            http_connect_timeout,
            &["0", "0.09", "120.1"],
            &accepted(120),
        );
        refuses(http_head_timeout, &["0", "3601"], &accepted(3600));
        refuses(http_idle_timeout, &["0", "86401"], &accepted(86_400));
    }

    #[test]
    fn user_agent_cannot_break_a_head() {
        let agent = |text: &str| http_proxy_user_agent(text);
        assert_eq!(agent(""), Ok(None));
        assert_eq!(agent("VLC/3.0 (é)"), Ok(Some("VLC/3.0 (é)".to_owned())));
        assert!(agent(&"a".repeat(512)).is_ok());
        for text in ["a\r\nX: y", "a\0", "\u{85}", " a", "a ", &"a".repeat(513)] {
            let error = agent(text).expect_err(text).to_string();
            assert!(
                error.contains("give at most 512 bytes without control"),
                "{error}"
            );
        }
    }

    #[test]
    fn allowed_origin_is_visible_ascii() {
        assert_eq!(cors_allow_origin(""), Ok(None));
        for text in ["*", "https://tv.home:8443", "null"] {
            assert_eq!(cors_allow_origin(text), Ok(Some(text.to_owned())));
        }
        for text in ["a b", "a\n", "é", &"a".repeat(513)] {
            let error = cors_allow_origin(text).expect_err(text).to_string();
            assert!(error.contains("give * or an origin"), "{error}");
        }
    }

    #[test]
    fn empty_hostname_and_token_switch_off() {
        assert_eq!(hostname(""), Ok(None));
        assert_eq!(r2h_token(""), Ok(None));
        assert_eq!(hostname("tv.home"), Hostname::parse("tv.home").map(Some));
        assert_eq!(r2h_token("s"), Token::parse("s").map(Some));
        assert!(hostname("tv home").is_err() && r2h_token("\n").is_err());
    }

    #[test]
    fn prefix_has_one_slash_in_front_and_none_behind() {
        for (text, prefix) in [
            ("", ""),
            ("/", ""),
            ("////", ""),
            ("tv", "/tv"),
            ("//tv///", "/tv"),
            ("/a//b/", "/a//b"),
            ("/%E9~", "/%E9~"),
        ] {
            assert_eq!(app_path_prefix(text).as_deref(), Ok(prefix), "{text}");
        }
        assert!(app_path_prefix(&"a".repeat(254)).is_ok());
        let long = "a".repeat(255);
        for text in [
            "/a b", "/a?b", "/a#b", "/a;b", "/a$b", "/a\r\n", "/é", "/\"", &long,
        ] {
            let error = app_path_prefix(text).expect_err(text).to_string();
            assert!(
                error.contains("give a path of at most 255 bytes such as /tv"),
                "{error}"
            );
        }
    }

    #[test]
    fn page_path_has_one_slash_in_front_and_is_never_empty() {
        for (text, path) in [
            ("/", "/"),
            ("////", "/"),
            ("watch", "/watch"),
            ("//watch///", "/watch"),
            ("/a//b/", "/a//b"),
        ] {
            assert_eq!(page_path(text).as_deref(), Ok(path), "{text}");
        }
        assert!(page_path(&"a".repeat(254)).is_ok());
        let long = "a".repeat(255);
        for text in ["", "/a b", "/a?b", "/a#b", "/a$b", "/é", &long] {
            let error = page_path(text).expect_err(text).to_string();
            assert!(error.contains("such as /status"), "{error}");
        }
    }

    #[test]
    fn paths_fit_on_a_line() {
        assert_eq!(path(""), Ok(None));
        assert_eq!(
            path("/etc/a b.pem"),
            Ok(Some(PathBuf::from("/etc/a b.pem")))
        );
        for text in ["a\0", "a\n", " a", "a "] {
            assert!(path(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn permissions_are_octal() {
        accepts(
            unix_mode,
            [
                ("0", 0),
                ("600", 0o600),
                ("0660", 0o660),
                ("0777", 0o777),
                ("00000777", 0o777),
            ],
        );
        refuses(
            unix_mode,
            &["1000", "0888", "rw", "-600", "+600", "0o600", "6 6"],
            "permissions in octal from 0 to 0777, such as 0660",
        );
    }

    #[test]
    fn switches_are_words_in_either_case() {
        for (words, value) in [
            (["yes", "ON", "True", "1"], true),
            (["no", "Off", "false", "0"], false),
        ] {
            accepts(switch, words.map(|word| (word, value)));
        }
        refuses(
            switch,
            &["y", "enabled", "yes ; really"],
            "yes or no; also on, off, true, false, 1, 0",
        );
    }

    #[test]
    fn verbosity_is_a_number_or_a_name() {
        accepts(
            verbosity,
            [
                ("0", Verbosity::Fatal),
                ("5", Verbosity::Trace),
                ("FATAL", Verbosity::Fatal),
                ("error", Verbosity::Error),
                ("Warn", Verbosity::Warn),
                ("info", Verbosity::Info),
                ("debug", Verbosity::Debug),
                ("trace", Verbosity::Trace),
            ],
        );
        refuses(
            verbosity,
            &["6", "9", "warning"],
            "a level from 0 to 5 or one of FATAL, ERROR, WARN, INFO, DEBUG, TRACE",
        );
    }

    #[test]
    fn stun_servers_have_a_port() {
        let shown = |text: &str| {
            let server = rtsp_stun_server(text).expect(text);
            server.map(|(host, port)| format!("{host} {port}"))
        };
        assert_eq!(shown(""), None);
        for (text, expected) in [
            ("stun.example", "stun.example 3478"),
            ("192.0.2.1:19302", "192.0.2.1 19302"),
            ("[2001:db8::1]:5", "[2001:db8::1] 5"),
            ("2001:db8::1", "[2001:db8::1] 3478"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(expected));
        }
        for text in [":1", "h:0", "h:x", "a b", "[::1"] {
            let error = rtsp_stun_server(text).expect_err(text).to_string();
            assert!(error.contains("give host, host:port"), "{error}");
        }
    }

    #[test]
    fn interface_names_are_never_cut() {
        assert_eq!(interface(""), Ok(None));
        for text in ["e", "eth0.100", "123456789012345"] {
            assert_eq!(interface(text), Ok(Some(text.to_owned())));
        }
        for text in ["1234567890123456", "a/b", "a b", "a\tb", "a\0", "ääääääää"] {
            let rejected = interface(text).expect_err(text).to_string();
            let accepted =
                "give an interface name of at most 15 bytes without \"/\" and white space";
            assert!(rejected.ends_with(accepted), "{rejected}");
        }
    }

    #[test]
    fn refused_values_are_shown_on_one_short_line() {
        assert_eq!(quoted("a\n\u{1b}\"b"), r#""a\n\u{1b}\"b""#);
        assert_eq!(quoted(&"ä".repeat(64)), format!("\"{}\"", "ä".repeat(64)));
        assert_eq!(quoted(&"ä".repeat(65)), format!("\"{}\"…", "ä".repeat(64)));
    }

    proptest! {
        #[test]
        fn decimals_are_exact(nanoseconds in 0_u64..=3_600_000_000_000) {
            let text = format!("{}.{:09}", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
            prop_assert_eq!(channel_linger(&text), Ok(Duration::from_nanos(nanoseconds)));
        }
    }
}
