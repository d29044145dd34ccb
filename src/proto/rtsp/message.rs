//! RTSP messages: requests we write, responses and server requests we read (RFC 2326 §4 to §7).
//!
//! Whatever goes into a header of ours has the type [`Value`] or [`RequestUrl`], which cannot hold a line
//! break; so nothing from a URL, a session description or another header can add a line.

use std::borrow::Cow;
use std::fmt;
use std::str;

use super::super::http;
use super::url::RequestUrl;

/// Longest head that is read, in bytes: start line, headers and the empty line.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Longest body that is read, in bytes. Chosen: far above any session description.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Most headers of a message (RTSP spec §1).
pub const HEADERS_MAX: usize = 128;
/// Longest start line in bytes; one with the longest URL still fits.
pub const START_LINE_BYTES_MAX: usize = 4096;
/// Longest header value of ours in bytes. The longest is a Digest answer, which repeats what the server sent.
pub const VALUE_BYTES_MAX: usize = 16 * 1024;
/// Longest method of a server's request in bytes.
const METHOD_BYTES_MAX: usize = 32;

const _: () = assert!(START_LINE_BYTES_MAX < HEAD_BYTES_MAX);
const _: () = assert!(HEAD_BYTES_MAX <= http::HEAD_BYTES_MAX);
const _: () = assert!(super::url::URL_BYTES_MAX + METHOD_BYTES_MAX + 16 < START_LINE_BYTES_MAX);

/// Why a message was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// Breaks the grammar; says where.
    Malformed(&'static str),
    /// The head is longer than `limit` bytes.
    HeadTooLong {
        /// [`HEAD_BYTES_MAX`]
        limit: usize,
    },
    /// `Content-Length` announces more than `limit` bytes.
    BodyTooLong {
        /// [`BODY_BYTES_MAX`]
        limit: usize,
    },
    /// There are more than `limit` headers.
    TooManyHeaders {
        /// [`HEADERS_MAX`]
        limit: usize,
    },
    /// A header value of ours would have control characters or more than [`VALUE_BYTES_MAX`] bytes.
    Value(&'static str),
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MessageError::Malformed(what) => write!(f, "malformed RTSP message: {what}"),
            MessageError::HeadTooLong { limit } => {
                write!(f, "RTSP message head longer than {limit} bytes")
            }
            MessageError::BodyTooLong { limit } => {
                write!(f, "RTSP message body longer than {limit} bytes")
            }
            MessageError::TooManyHeaders { limit } => write!(f, "more than {limit} RTSP headers"),
            MessageError::Value(what) => write!(
                f,
                "{what} has control characters or more than {VALUE_BYTES_MAX} bytes"
            ),
        }
    }
}

impl std::error::Error for MessageError {}

/// A header value that is safe to send: no control characters, at most [`VALUE_BYTES_MAX`] bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value(String);

impl Value {
    /// Accepts `text`; `what` names it in the error.
    ///
    /// # Errors
    ///
    /// `Value` for control characters or too many bytes.
    pub fn new(what: &'static str, text: impl Into<String>) -> Result<Self, MessageError> {
        let text = text.into();
        if text.len() > VALUE_BYTES_MAX || text.contains(char::is_control) {
            return Err(MessageError::Value(what));
        }
        Ok(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Methods we use (RFC 2326 §10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `OPTIONS`
    Options,
    /// `DESCRIBE`
    Describe,
    /// `SETUP`
    Setup,
    /// `PLAY`
    Play,
    /// `GET_PARAMETER`
    GetParameter,
    /// `TEARDOWN`
    Teardown,
}

impl Method {
    /// The method as it is sent.
    pub fn name(self) -> &'static str {
        match self {
            Method::Options => "OPTIONS",
            Method::Describe => "DESCRIBE",
            Method::Setup => "SETUP",
            Method::Play => "PLAY",
            Method::GetParameter => "GET_PARAMETER",
            Method::Teardown => "TEARDOWN",
        }
    }
}

/// A request of ours. Never has a body.
#[derive(Clone, Debug)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: Method,
    /// The URL of the request line.
    pub url: &'a RequestUrl,
    /// Number of the request.
    pub cseq: u32,
    /// `User-Agent`.
    pub user_agent: &'a Value,
    /// `Session`, once there is one.
    pub session: Option<&'a Value>,
    /// `Authorization`, once the server has asked.
    pub authorization: Option<&'a Value>,
    /// What belongs to the method, in order.
    pub others: &'a [(&'static str, Value)],
}

impl RequestHead<'_> {
    /// The bytes to send, headers in the fixed order some servers rely on (RTSP spec §8).
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!(
            "{} {} RTSP/1.0\r\nCSeq: {}\r\n",
            self.method.name(),
            self.url,
            self.cseq
        );
        let fixed = [
            ("User-Agent", Some(self.user_agent)),
            ("Session", self.session),
            ("Authorization", self.authorization),
        ];
        let fixed = fixed
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        let others = self.others.iter().map(|(name, value)| (*name, value));
        for (name, value) in fixed.chain(others) {
            text.push_str(name);
            text.push_str(": ");
            text.push_str(value.as_str());
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        text.into_bytes()
    }
}

/// The answer to a request of the server: status line and `CSeq`, nothing else (RTSP spec §18).
pub fn encode_answer(accepted: bool, cseq: u32) -> Vec<u8> {
    let status = if accepted {
        "200 OK"
    } else {
        "501 Not Implemented"
    };
    format!("RTSP/1.0 {status}\r\nCSeq: {cseq}\r\n\r\n").into_bytes()
}

/// Headers in the order they were sent, at most [`HEADERS_MAX`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headers<'a> {
    list: Vec<httparse::Header<'a>>,
}

impl<'a> Headers<'a> {
    /// Value of the last header called `name` (case-insensitive); `None` also if that is not UTF-8.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        let mut values = self.values(name);
        values.next_back()?
    }

    /// Values of all headers called `name`, those that are UTF-8.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.values(name).flatten()
    }

    fn values(&self, name: &str) -> impl DoubleEndedIterator<Item = Option<&'a str>> {
        let named = self
            .list
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| str::from_utf8(header.value).ok())
    }
}

/// What the first line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartLine<'a> {
    /// `RTSP/1.x STATUS reason`: the status, 100 to 999.
    Response(u16),
    /// `METHOD URL RTSP/1.x`: the method.
    Request(&'a str),
}

/// A response or a request of the server; everything in it points into the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The first line.
    pub start: StartLine<'a>,
    /// The headers.
    pub headers: Headers<'a>,
    /// The body, as long as `Content-Length` says; at most [`BODY_BYTES_MAX`].
    pub body: &'a [u8],
}

impl Message<'_> {
    /// The number of the request this belongs to; `None` if it is missing or not a number.
    pub fn cseq(&self) -> Option<u32> {
        decimal(self.headers.get("CSeq")?)
    }
}

/// Makes one line of each folded header of the message at the front of `input`, and moves white space in front of a colon
/// behind it, so that [`decode`] understands them: the headers are those of RFC 2068 (RFC 2326 §4), where both are right
/// (§2.1, §2.2). Where bytes stand and how long the message is stays the same.
pub(super) fn mend(input: &[u8]) -> Cow<'_, [u8]> {
    http::mend(input)
}

/// Decodes the message at the front of `input`. `Ok(None)` asks for more bytes; the `usize` is the message's
/// length in bytes. Lines may end in a bare LF. `Content-Length` holds for every status (RFC 2326 §4.4).
///
/// # Errors
///
/// - `Malformed`: the first line is neither a status line nor a request line of RTSP/1.x; a header breaks the
///   grammar of HTTP/1.1, control characters in a value included; `Content-Length` is not a number.
/// - `HeadTooLong`, `BodyTooLong`, `TooManyHeaders`: as soon as the bytes prove it.
pub fn decode(input: &[u8]) -> Result<Option<(Message<'_>, usize)>, MessageError> {
    match check_start(input) {
        Start::Message => {}
        Start::Unknown => return Ok(None),
        Start::Other => return Err(MessageError::Malformed("start line")),
    }
    let Some(head_bytes) = head_bytes(input)? else {
        return Ok(None);
    };
    let (head, behind) = input.split_at_checked(head_bytes).unwrap_or((input, &[]));
    let (line, block) = split_line(head).unwrap_or((head, &[]));
    let start = parse_start_line(line).ok_or(MessageError::Malformed("start line"))?;
    let headers = decode_headers(block)?;
    let Some(body) = behind.get(..body_bytes(&headers)?) else {
        return Ok(None);
    };
    let bytes = head_bytes + body.len();
    let message = Message {
        start,
        headers,
        body,
    };
    Ok(Some((message, bytes)))
}

/// Length in bytes of the message at the front of `input`, known once its head is complete; the body need not
/// be there yet. A head with wrong headers counts as having no body.
///
/// # Errors
///
/// `HeadTooLong`, `BodyTooLong`: such a message cannot be skipped either.
pub(super) fn extent(input: &[u8]) -> Result<Option<usize>, MessageError> {
    let Some(head_bytes) = head_bytes(input)? else {
        return Ok(None);
    };
    let head = mend(input.get(..head_bytes).unwrap_or(input));
    let block = split_line(&head).map_or(&[][..], |(_, block)| block);
    let body_bytes = match decode_headers(block).and_then(|headers| body_bytes(&headers)) {
        Err(error @ MessageError::BodyTooLong { .. }) => return Err(error),
        Err(_) => 0,
        Ok(bytes) => bytes,
    };
    Ok(Some(head_bytes + body_bytes))
}

/// Whether a message starts here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// It does.
    Message,
    /// It does not.
    Other,
    /// More bytes must tell.
    Unknown,
}

/// Looks at the first line of `input`. The first byte that decides does so for every longer input as well.
pub(super) fn check_start(input: &[u8]) -> Start {
    if input.first().is_some_and(|byte| !byte.is_ascii_uppercase()) {
        return Start::Other;
    }
    let mut in_method = true;
    for (at, &byte) in input.iter().enumerate().take(START_LINE_BYTES_MAX) {
        in_method &= !matches!(byte, b' ' | b'\t');
        match byte {
            b'\n' => {
                let line = input.get(..at).unwrap_or_default();
                return match parse_start_line(line.strip_suffix(b"\r").unwrap_or(line)) {
                    Some(_) => Start::Message,
                    None => Start::Other,
                };
            }
            b'\r' => match input.get(at + 1) {
                Some(b'\n') => {}
                Some(_) => return Start::Other,
                None => return Start::Unknown,
            },
            b'\t' => {}
            byte if byte < b' ' || byte == 0x7f => return Start::Other,
            _ if in_method && at >= METHOD_BYTES_MAX => return Start::Other,
            b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'/' | b'.' => {}
            _ if in_method => return Start::Other,
            _ => {}
        }
    }
    if input.len() >= START_LINE_BYTES_MAX {
        Start::Other
    } else {
        Start::Unknown
    }
}

fn parse_start_line(line: &[u8]) -> Option<StartLine<'_>> {
    if let Some(behind) = line.strip_prefix(b"RTSP/1.") {
        let (&minor, behind) = behind.split_first()?;
        let status = behind.trim_ascii_start();
        let (&digits, rest) = status.split_first_chunk::<3>()?;
        let separated =
            status.len() < behind.len() && rest.first().is_none_or(|&byte| byte == b' ');
        let status = decimal(str::from_utf8(&digits).ok()?)?;
        let sound = minor.is_ascii_digit() && separated && (100..=999).contains(&status);
        return sound.then_some(StartLine::Response(u16::try_from(status).ok()?));
    }
    let mut words = line
        .split(|&byte| byte == b' ')
        .filter(|word| !word.is_empty());
    let (method, _url, version) = (words.next()?, words.next()?, words.next()?);
    let is_method = method.len() <= METHOD_BYTES_MAX
        && method
            .iter()
            .all(|&byte| byte.is_ascii_uppercase() || byte == b'_');
    let is_version = matches!(
        version,
        [b'R', b'T', b'S', b'P', b'/', b'1', b'.', minor] if minor.is_ascii_digit()
    );
    if !is_method || !is_version || words.next().is_some() {
        return None;
    }
    Some(StartLine::Request(str::from_utf8(method).ok()?))
}

/// The first line without its end, and what follows.
fn split_line(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = input.iter().position(|&byte| byte == b'\n')?;
    let (line, rest) = input.split_at_checked(end)?;
    Some((line.strip_suffix(b"\r").unwrap_or(line), rest.get(1..)?))
}

/// Length of the head with the empty line that ends it.
fn head_bytes(input: &[u8]) -> Result<Option<usize>, MessageError> {
    let window = input.get(..HEAD_BYTES_MAX).unwrap_or(input);
    let mut rest = window;
    while let Some((line, behind)) = split_line(rest) {
        rest = behind;
        if line.is_empty() {
            return Ok(Some(window.len() - rest.len()));
        }
    }
    if window.len() == HEAD_BYTES_MAX {
        return Err(MessageError::HeadTooLong {
            limit: HEAD_BYTES_MAX,
        });
    }
    Ok(None)
}

fn decode_headers(block: &[u8]) -> Result<Headers<'_>, MessageError> {
    let mut storage = [httparse::EMPTY_HEADER; HEADERS_MAX];
    match httparse::parse_headers(block, &mut storage) {
        Ok(httparse::Status::Complete((bytes, headers))) if bytes == block.len() => Ok(Headers {
            list: headers.to_vec(),
        }),
        Err(httparse::Error::TooManyHeaders) => {
            Err(MessageError::TooManyHeaders { limit: HEADERS_MAX })
        }
        Err(httparse::Error::HeaderName) => Err(MessageError::Malformed("header name")),
        Err(httparse::Error::HeaderValue) => Err(MessageError::Malformed("header value")),
        _ => Err(MessageError::Malformed("header")),
    }
}

fn body_bytes(headers: &Headers<'_>) -> Result<usize, MessageError> {
    let Some(text) = headers.get("Content-Length") else {
        return Ok(0);
    };
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(MessageError::Malformed("Content-Length"));
    }
    match text.parse::<usize>() {
        Ok(bytes) if bytes <= BODY_BYTES_MAX => Ok(bytes),
        // A number that does not fit is too long as well.
        _ => Err(MessageError::BodyTooLong {
            limit: BODY_BYTES_MAX,
        }),
    }
}

/// A decimal number without sign.
pub(super) fn decimal(text: &str) -> Option<u32> {
    let digits_only = text.bytes().all(|byte| byte.is_ascii_digit());
    if digits_only { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn complete(input: &[u8]) -> (Message<'_>, usize) {
        decode(input).unwrap().expect("the message is complete")
    }

    #[test]
    fn request_is_written_in_the_fixed_order() {
        let value = |text: &str| Value::new("value", text).unwrap();
        let others = [
            ("Accept", value("application/sdp")),
            ("x-NAT", value("192.0.2.2:50972")),
        ];
        let request = RequestHead {
            method: Method::Describe,
            url: &RequestUrl::new("rtsp://192.0.2.1:8554/live/ch1").unwrap(),
            cseq: 2,
            user_agent: &value("rtp2httpd/1.0"),
            session: Some(&value("abc")),
            authorization: Some(&value("Basic dXNlcjpwQHNz")),
            others: &others,
        };
        let text = "DESCRIBE rtsp://192.0.2.1:8554/live/ch1 RTSP/1.0\r\nCSeq: 2\r\n\
            User-Agent: rtp2httpd/1.0\r\nSession: abc\r\nAuthorization: Basic dXNlcjpwQHNz\r\n\
            Accept: application/sdp\r\nx-NAT: 192.0.2.2:50972\r\n\r\n";
        assert_eq!(String::from_utf8(request.encode()).unwrap(), text);
    }

    #[test]
    fn values_cannot_break_a_line() {
        for text in ["a\r\nX: y", "a\n", "\0", "a\tb", "\u{85}", "\u{7f}"] {
            assert_eq!(
                Value::new("it", text),
                Err(MessageError::Value("it")),
                "{text:?}"
            );
        }
        assert!(Value::new("it", "npt=1é \"x\"").is_ok());
        assert!(Value::new("it", "x".repeat(VALUE_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn response_with_a_body_is_decoded() {
        let input = b"RTSP/1.0 200 OK\r\ncseq: 7\r\nSession: a\nSession:  b;timeout=60 \r\n\
            Content-Length: 3\r\n\r\nv=0$\0";
        let (message, bytes) = complete(input);
        assert_eq!(message.start, StartLine::Response(200));
        assert_eq!((message.cseq(), message.body), (Some(7), &b"v=0"[..]));
        assert_eq!(message.headers.get("SESSION"), Some("b;timeout=60"));
        assert!(message.headers.all("session").eq(["a", "b;timeout=60"]));
        assert_eq!(bytes, input.len() - 2);
        assert_eq!(extent(&input[..input.len() - 4]), Ok(Some(bytes)));
    }

    #[test]
    fn body_is_as_long_as_a_folded_header_says() {
        let input = b"RTSP/1.0 200 OK\r\nContent-Length :\r\n\t 3\r\n\r\nv=0$\0";
        assert_eq!(extent(input), Ok(Some(input.len() - 2)));
        let mended = mend(input);
        let (message, bytes) = complete(&mended);
        assert_eq!((message.body, bytes), (&b"v=0"[..], input.len() - 2));
    }

    #[test]
    fn start_lines_are_told_apart() {
        for (line, expected) in [
            ("RTSP/1.0 200 OK", Some(StartLine::Response(200))),
            ("RTSP/1.0  404", Some(StartLine::Response(404))),
            ("RTSP/1.0\t461 Unsupported", Some(StartLine::Response(461))),
            ("RTSP/1.1 200", Some(StartLine::Response(200))),
            ("RTSP/1.0 2000 OK", None),
            ("RTSP/1.0 20 OK", None),
            ("RTSP/1.0 +20 OK", None),
            ("RTSP/1.0 099 OK", None),
            ("RTSP/1.0200 OK", None),
            ("RTSP/2.0 200 OK", None),
            ("HTTP/1.1 200 OK", None),
            ("OPTIONS * RTSP/1.0", Some(StartLine::Request("OPTIONS"))),
            (
                "SET_PARAMETER rtsp://h/a RTSP/1.0",
                Some(StartLine::Request("SET_PARAMETER")),
            ),
            ("OPTIONS RTSP/1.0", None),
            ("OPTIONS * x RTSP/1.0", None),
            ("options * RTSP/1.0", None),
            ("GET / HTTP/1.1", None),
            ("", None),
        ] {
            assert_eq!(parse_start_line(line.as_bytes()), expected, "{line:?}");
            let sound = check_start(format!("{line}\r\n").as_bytes()) == Start::Message;
            assert_eq!(sound, expected.is_some(), "{line:?}");
        }
    }

    #[test]
    fn limits_and_grammar_are_enforced() {
        let head = |headers: &str| format!("RTSP/1.0 200 OK\r\n{headers}\r\n").into_bytes();
        let error = |input: Vec<u8>| decode(&input).expect_err("an error");
        let malformed = |what| MessageError::Malformed(what);
        assert_eq!(error(head("a b: c\r\n")), malformed("header name"));
        assert_eq!(error(head("a: \x01\r\n")), malformed("header value"));
        assert_eq!(
            error(head("Content-Length: x\r\n")),
            malformed("Content-Length")
        );
        assert_eq!(
            error(head("Content-Length: -1\r\n")),
            malformed("Content-Length")
        );
        let body_too_long = MessageError::BodyTooLong { limit: 65_536 };
        assert_eq!(error(head("Content-Length: 65537\r\n")), body_too_long);
        assert_eq!(
            error(head(&format!("Content-Length: {}\r\n", "9".repeat(40)))),
            body_too_long
        );
        assert_eq!(
            error(head(&"a: b\r\n".repeat(129))),
            MessageError::TooManyHeaders { limit: 128 }
        );
        let long = head(&format!("a: {}\r\n", "x".repeat(HEAD_BYTES_MAX)));
        assert_eq!(error(long), MessageError::HeadTooLong { limit: 16_384 });
        assert!(
            decode(&head("Content-Length: 65536\r\n"))
                .unwrap()
                .is_none()
        );
        let line = format!("OPTIONS {} RTSP/1.0\r\n", "x".repeat(START_LINE_BYTES_MAX));
        assert_eq!(check_start(line.as_bytes()), Start::Other);
    }

    #[test]
    fn errors_name_their_limit() {
        let text = MessageError::HeadTooLong { limit: 5 }.to_string();
        assert_eq!(text, "RTSP message head longer than 5 bytes");
        assert!(
            MessageError::Value("session id")
                .to_string()
                .contains("16384 bytes")
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(input in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&input);
            let _ = extent(&input);
            check_start(&input);
        }

        #[test]
        fn prefixes_ask_for_more_or_agree(
            input in "(RTSP/1.0 200 OK|OPTIONS \\* RTSP/1.0)\r?\n(CSeq: [0-9]{1,3}\r?\n|X: \\PC{0,9}\r\n){0,4}(Content-Length: [0-9]\r\n)?\r\n[a-z]{0,12}"
        ) {
            let input = input.as_bytes();
            let whole = decode(input);
            for end in 0..input.len() {
                match (decode(&input[..end]), &whole) {
                    (Ok(None), _) => {}
                    (early, whole) => prop_assert_eq!(&early, whole),
                }
                let (early, late) = (check_start(&input[..end]), check_start(input));
                prop_assert!(early == Start::Unknown || early == late);
            }
        }
    }
}
