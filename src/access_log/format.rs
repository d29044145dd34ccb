//! The format of the access log: text with `$name` placeholders, taken apart once (server spec §12).
//!
//! Pure: a format and the facts in, a line out. Every value is escaped, so that nothing from outside can end a line
//! or pass for another field.

use std::fmt::Write as _;

use super::entry::{End, Entry, Moment};
use crate::limits::ACCESS_LINE_BYTES_MAX;

/// The format if none is given; that of the compatible router.
pub const FORMAT_DEFAULT: &str =
    "$client_addr [$time_iso8601] \"$service_url\" $service_type \"$upstream_url\"";

/// Stands for a value that is empty or not known.
const EMPTY: &[u8] = b"-";

/// What a placeholder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variable {
    TimeIso8601,
    TimeLocal,
    Msec,
    ClientAddr,
    RemoteAddr,
    RemotePort,
    WorkerPid,
    Request,
    RequestMethod,
    Host,
    ServiceUrl,
    HttpUserAgent,
    HttpXForwardedFor,
    ServiceType,
    UpstreamUrl,
    // Known at the end of a request only.
    Status,
    Outcome,
    Reason,
    BytesSent,
    DurationMs,
    DroppedPackets,
    DroppedBytes,
    Pauses,
}

/// Every placeholder by its name; from [`Variable::Status`] on they are known at the end of a request only.
const VARIABLES: [(&str, Variable); 23] = [
    ("time_iso8601", Variable::TimeIso8601),
    ("time_local", Variable::TimeLocal),
    ("msec", Variable::Msec),
    ("client_addr", Variable::ClientAddr),
    ("remote_addr", Variable::RemoteAddr),
    ("remote_port", Variable::RemotePort),
    ("worker_pid", Variable::WorkerPid),
    ("request", Variable::Request),
    ("request_method", Variable::RequestMethod),
    ("host", Variable::Host),
    ("service_url", Variable::ServiceUrl),
    ("http_user_agent", Variable::HttpUserAgent),
    ("http_x_forwarded_for", Variable::HttpXForwardedFor),
    ("service_type", Variable::ServiceType),
    ("upstream_url", Variable::UpstreamUrl),
    ("status", Variable::Status),
    ("outcome", Variable::Outcome),
    ("reason", Variable::Reason),
    ("bytes_sent", Variable::BytesSent),
    ("duration_ms", Variable::DurationMs),
    ("dropped_packets", Variable::DroppedPackets),
    ("dropped_bytes", Variable::DroppedBytes),
    ("pauses", Variable::Pauses),
];

impl Variable {
    fn named(name: &str) -> Option<Self> {
        let found = VARIABLES.iter().find(|(known, _)| *known == name);
        found.map(|(_, variable)| *variable)
    }

    fn is_known_at_the_end_only(self) -> bool {
        self as usize >= Self::Status as usize
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// Written as it is.
    Text(String),
    /// Written escaped.
    Value(Variable),
}

/// A format, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    pieces: Vec<Piece>,
    unknown: Vec<String>,
}

impl Format {
    /// Takes `text` apart. `$$` is a dollar sign; a `$` before anything but a name, and a name that is not known,
    /// stay as they are.
    pub fn parse(text: &str) -> Self {
        let (mut pieces, mut unknown) = (Vec::new(), Vec::new());
        let mut literal = String::new();
        let mut rest = text;
        while let Some((front, behind)) = rest.split_once('$') {
            literal.push_str(front);
            if let Some(behind) = behind.strip_prefix('$') {
                literal.push('$');
                rest = behind;
                continue;
            }
            let (name, behind) = behind
                .split_at_checked(name_bytes(behind))
                .unwrap_or(("", behind));
            match Variable::named(name) {
                Some(variable) => {
                    if !literal.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut literal)));
                    }
                    pieces.push(Piece::Value(variable));
                }
                None => {
                    literal.push('$');
                    literal.push_str(name);
                    if !name.is_empty() {
                        unknown.push(name.to_owned());
                    }
                }
            }
            rest = behind;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Self { pieces, unknown }
    }

    /// Names behind a `$` that are not known, which is rarely what was meant.
    pub fn unknown_names(&self) -> &[String] {
        &self.unknown
    }

    /// All names that are known.
    pub fn known_names() -> impl Iterator<Item = &'static str> {
        VARIABLES.iter().map(|(name, _)| *name)
    }

    /// Whether a line can only be written when its request is over.
    pub fn tells_the_end(&self) -> bool {
        let mut pieces = self.pieces.iter();
        pieces.any(
            |piece| matches!(piece, Piece::Value(variable) if variable.is_known_at_the_end_only()),
        )
    }

    /// The line of a request, newline included: at most [`ACCESS_LINE_BYTES_MAX`] bytes, cut between characters if
    /// there is more to say.
    pub fn line(&self, entry: &Entry, moment: &Moment, end: Option<&End>) -> Vec<u8> {
        let mut line = Line::default();
        let mut value = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => line.push_text(text),
                Piece::Value(variable) => {
                    value.clear();
                    line.push_value(show(*variable, entry, moment, end, &mut value));
                }
            }
        }
        line.finish()
    }
}

impl Default for Format {
    fn default() -> Self {
        Self::parse(FORMAT_DEFAULT)
    }
}

/// Length of the name at the front of `text`: a letter or `_`, then letters, digits and `_`; 0 without one.
fn name_bytes(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    text.bytes().take_while(|byte| is_part(byte)).count()
}

/// The value of a placeholder, not escaped; in `text` if it has to be put together.
fn show<'a>(
    variable: Variable,
    entry: &'a Entry,
    moment: &Moment,
    end: Option<&'a End>,
    text: &'a mut String,
) -> &'a [u8] {
    // Writing to a `String` cannot fail.
    let _ = match variable {
        Variable::TimeIso8601 => moment.push_iso8601(text),
        Variable::TimeLocal => moment.push_local(text),
        Variable::Msec => write!(
            text,
            "{}.{:03}",
            moment.since_epoch.as_secs(),
            moment.since_epoch.subsec_millis()
        ),
        Variable::ClientAddr => return entry.client_address.as_bytes(),
        Variable::RemoteAddr => return split_address(&entry.client_address).0.as_bytes(),
        Variable::RemotePort => return split_address(&entry.client_address).1.as_bytes(),
        Variable::WorkerPid => write!(text, "{}", std::process::id()),
        Variable::Request => write!(text, "{} {}", entry.method, entry.service_url),
        Variable::RequestMethod => return entry.method.as_bytes(),
        Variable::Host => return &entry.host,
        Variable::ServiceUrl => return entry.service_url.as_bytes(),
        Variable::HttpUserAgent => return &entry.user_agent,
        Variable::HttpXForwardedFor => return &entry.forwarded_for,
        Variable::ServiceType => return entry.service_type.as_bytes(),
        Variable::UpstreamUrl => return entry.upstream_url.as_bytes(),
        _ => return end.map_or(EMPTY, |end| show_end(variable, end, text)),
    };
    text.as_bytes()
}

/// As [`show`], for what is known at the end only.
fn show_end<'a>(variable: Variable, end: &'a End, text: &'a mut String) -> &'a [u8] {
    let number = match variable {
        Variable::Status => u128::from(end.status.unwrap_or_default()),
        Variable::Outcome => return end.outcome.name().as_bytes(),
        Variable::Reason => return end.reason.as_bytes(),
        Variable::BytesSent => end.bytes_sent.into(),
        Variable::DurationMs => end.duration.as_millis(),
        Variable::DroppedPackets => end.dropped_packets.into(),
        Variable::DroppedBytes => end.dropped_bytes.into(),
        Variable::Pauses => end.pauses.into(),
        _ => return EMPTY,
    };
    if variable == Variable::Status && end.status.is_none() {
        return EMPTY;
    }
    // Writing to a `String` cannot fail.
    let _ = write!(text, "{number}");
    text.as_bytes()
}

/// Address and port of `address`: `[v6]:port` loses its brackets, exactly one colon splits, and several without
/// brackets are an address. The port may be empty.
fn split_address(address: &str) -> (&str, &str) {
    if let Some((v6, behind)) = address
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        return (v6, behind.strip_prefix(':').unwrap_or_default());
    }
    match address.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, port),
        _ => (address, ""),
    }
}

/// A line being written: within its limit, and nothing behind the place where it was cut.
#[derive(Default)]
struct Line {
    bytes: Vec<u8>,
    is_full: bool,
}

impl Line {
    fn push_text(&mut self, text: &str) {
        let mut encoded = [0; 4];
        for c in text.chars() {
            // A format of several lines would be a line each time; that is what its author wants.
            self.push_unit(c.encode_utf8(&mut encoded).as_bytes());
        }
    }

    fn push_value(&mut self, value: &[u8]) {
        if value.is_empty() {
            return self.push_unit(EMPTY);
        }
        for chunk in value.utf8_chunks() {
            for c in chunk.valid().chars() {
                self.push_escaped(c);
            }
            for byte in chunk.invalid() {
                self.push_unit(&[*byte]);
            }
        }
    }

    fn push_escaped(&mut self, c: char) {
        let mut encoded = [0; 4];
        match c {
            '\\' => self.push_unit(b"\\\\"),
            '"' => self.push_unit(b"\\\""),
            '\n' => self.push_unit(b"\\n"),
            '\r' => self.push_unit(b"\\r"),
            '\t' => self.push_unit(b"\\t"),
            '\0'..='\x1f' | '\x7f' => {
                self.push_unit(format!("\\x{:02X}", u32::from(c)).as_bytes());
            }
            _ => self.push_unit(c.encode_utf8(&mut encoded).as_bytes()),
        }
    }

    /// Appends all of `unit` or nothing; room for the newline is kept.
    fn push_unit(&mut self, unit: &[u8]) {
        self.is_full |= self.bytes.len() + unit.len() >= ACCESS_LINE_BYTES_MAX;
        if !self.is_full {
            self.bytes.extend_from_slice(unit);
        }
    }

    fn finish(mut self) -> Vec<u8> {
        self.bytes.push(b'\n');
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::entry::Outcome;
    use super::*;

    fn entry() -> Entry {
        Entry {
            client_address: "192.0.2.7:50123".to_owned(),
            method: "GET".to_owned(),
            host: b"tv.home:5140".to_vec(),
            service_url: "/rtp/239.0.0.1:5000".to_owned(),
            user_agent: b"VLC/3.0".to_vec(),
            forwarded_for: Vec::new(),
            service_type: "rtp",
            upstream_url: "rtp://239.0.0.1:5000".to_owned(),
        }
    }

    fn moment() -> Moment {
        Moment::at(Duration::from_millis(1_741_635_000_042), 8 * 3600)
    }

    fn end() -> End {
        End {
            status: Some(200),
            outcome: Outcome::ClientClosed,
            reason: String::new(),
            bytes_sent: 12_345,
            duration: Duration::from_millis(60_500),
            dropped_packets: 7,
            dropped_bytes: 9_212,
            pauses: 3,
        }
    }

    fn line(format: &str, entry: &Entry, end: Option<&End>) -> String {
        let line = Format::parse(format).line(entry, &moment(), end);
        String::from_utf8(line).expect("text")
    }

    #[test]
    fn default_line_is_that_of_the_specification() {
        assert_eq!(
            line(FORMAT_DEFAULT, &entry(), None),
            "192.0.2.7:50123 [2025-03-11T03:30:00+08:00] \"/rtp/239.0.0.1:5000\" rtp \"rtp://239.0.0.1:5000\"\n"
        );
        assert_eq!(Format::default(), Format::parse(FORMAT_DEFAULT));
        assert!(!Format::default().tells_the_end());
    }

    #[test]
    fn every_placeholder_has_its_value() {
        let format = "$time_local|$msec|$remote_addr|$remote_port|$request|$request_method|$host|$http_user_agent|\
                      $http_x_forwarded_for";
        assert_eq!(
            line(format, &entry(), None),
            "11/Mar/2025:03:30:00 +0800|1741635000.042|192.0.2.7|50123|GET /rtp/239.0.0.1:5000|GET|tv.home:5140|\
             VLC/3.0|-\n"
        );
        let format = "$status $outcome $reason $bytes_sent $duration_ms $dropped_packets $dropped_bytes $pauses";
        assert_eq!(
            line(format, &entry(), Some(&end())),
            "200 client-closed - 12345 60500 7 9212 3\n"
        );
        assert_eq!(line(format, &entry(), None), "- - - - - - - -\n");
        let pid = format!("{}\n", std::process::id());
        assert_eq!(line("$worker_pid", &entry(), None), pid);
    }

    #[test]
    fn what_is_known_at_the_end_makes_a_format_wait() {
        for (name, _) in VARIABLES {
            let waits = matches!(
                name,
                "status"
                    | "outcome"
                    | "reason"
                    | "bytes_sent"
                    | "duration_ms"
                    | "dropped_packets"
                    | "dropped_bytes"
                    | "pauses"
            );
            let format = Format::parse(&format!("x ${name} y"));
            assert_eq!(format.tells_the_end(), waits, "{name}");
        }
    }

    #[test]
    fn dollars_that_begin_no_known_name_stay() {
        for (format, expected) in [
            ("$$host", "$host"),
            ("$$$host", "$tv.home:5140"),
            ("$hosts", "$hosts"),
            ("$host_", "$host_"),
            ("$host-x", "tv.home:5140-x"),
            ("${host}", "${host}"),
            ("$1$ $é$", "$1$ $é$"),
            ("$Host", "$Host"),
            ("$", "$"),
            ("", ""),
        ] {
            assert_eq!(
                line(format, &entry(), None),
                format!("{expected}\n"),
                "{format}"
            );
        }
    }

    #[test]
    fn values_are_escaped_and_the_format_is_not() {
        let mut hostile = entry();
        hostile.user_agent = b"a\"b\\c\n\r\t\x01\x7f\x1b\xff\xc3\xa9".to_vec();
        let line = Format::parse("\"$http_user_agent\"").line(&hostile, &moment(), None);
        let expected = b"\"a\\\"b\\\\c\\n\\r\\t\\x01\\x7F\\x1B\xff\xc3\xa9\"\n";
        assert_eq!(line, expected);
    }

    #[test]
    fn addresses_are_split_as_the_specification_says() {
        for (address, host, port) in [
            ("localhost", "localhost", "-"),
            ("198.51.100.9", "198.51.100.9", "-"),
            ("192.0.2.7:1", "192.0.2.7", "1"),
            ("[2001:db8::1]:80", "2001:db8::1", "80"),
            ("[2001:db8::1]", "2001:db8::1", "-"),
            ("2001:db8::1", "2001:db8::1", "-"),
            ("", "-", "-"),
        ] {
            let entry = Entry {
                client_address: address.to_owned(),
                ..entry()
            };
            let shown = line("$remote_addr|$remote_port", &entry, None);
            assert_eq!(shown, format!("{host}|{port}\n"), "{address}");
        }
    }

    #[test]
    fn over_long_line_keeps_its_newline_and_whole_characters() {
        for (filler, last) in [("x", "x"), ("é", "é"), ("€", "€"), ("\u{1}", "\\x01")] {
            let mut long = entry();
            long.user_agent = filler.repeat(9000).into_bytes();
            let line = line("$http_user_agent$host", &long, None);
            assert!(line.len() <= ACCESS_LINE_BYTES_MAX);
            assert!(line.len() > ACCESS_LINE_BYTES_MAX - 5, "{}", line.len());
            assert!(line.ends_with(&format!("{last}\n")));
        }
    }

    proptest! {
        #[test]
        fn any_value_stays_in_its_field(agent in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut entry = entry();
            entry.user_agent = agent;
            let line = Format::parse("\"$http_user_agent\"").line(&entry, &moment(), None);
            let inside = &line[1..line.len() - 2];
            let mut escaped = false;
            for byte in inside {
                prop_assert!(*byte >= b' ' && *byte != 0x7f);
                prop_assert!(escaped || *byte != b'"');
                escaped = *byte == b'\\' && !escaped;
            }
            prop_assert!(!escaped);
        }

        #[test]
        fn any_format_gives_one_bounded_line(format in "([$a-z_ ]|\\$host|\\$status|\\$\\$|é){0,40}") {
            let line = Format::parse(&format).line(&entry(), &moment(), Some(&end()));
            prop_assert!(line.len() <= ACCESS_LINE_BYTES_MAX);
            prop_assert_eq!(line.last(), Some(&b'\n'));
        }

        #[test]
        fn text_without_dollars_is_written_as_it_is(text in "[^$]{0,100}") {
            prop_assert_eq!(line(&text, &entry(), None), format!("{text}\n"));
        }
    }
}
