//! The head of an HTTP/1 request: request line and headers (RFC 9112 §2, §3, §5).
//!
//! The request line is taken apart here, because limits must hold before it is complete and because any
//! minor version is accepted. Bodies, routing and the meaning of headers other than `Host` are not this
//! module's concern.

use std::str;

use super::headers::{self, Headers};
use super::lines::{self, HEAD_BYTES_MAX, HeadError, StartLine};

/// Longest request target in bytes; what RFC 9110 §4.1 asks for at least.
pub const TARGET_BYTES_MAX: usize = 8000;

/// Longest method in bytes; no registered one has more than 17.
const METHOD_BYTES_MAX: usize = 32;

const _: () = assert!(
    TARGET_BYTES_MAX + METHOD_BYTES_MAX + 64 < HEAD_BYTES_MAX / 2,
    "the longest request line leaves half of the head to the headers"
);

/// Request methods the router tells apart. Methods are case-sensitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `OPTIONS`
    Options,
    /// Any other token.
    Other,
}

impl Method {
    fn named(name: &str) -> Self {
        match name {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "OPTIONS" => Method::Options,
            _ => Method::Other,
        }
    }
}

/// A request head; everything in it points into the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// The method.
    pub method: Method,
    /// The method as it was sent: a token of visible ASCII.
    pub method_name: &'a str,
    /// Request target as it was sent: not empty, at most [`TARGET_BYTES_MAX`] bytes, without white space
    /// and control characters. In which form it is (origin, absolute, `*`) is for the caller to see.
    pub target: &'a str,
    /// The `x` of `HTTP/1.x`, 0 to 9.
    pub minor_version: u8,
    /// The headers. Exactly one `Host` unless `minor_version` is 0, then at most one.
    pub headers: Headers<'a>,
}

/// Decodes the request head at the front of `input`.
///
/// `Ok(None)` asks for more bytes. The `usize` is the length of the head in bytes, leading empty lines (at
/// most 4) included; a body would start there. Lines may end in a bare LF.
///
/// The result does not depend on how the input was cut: growing prefixes of one input give `None` for a
/// while and then always the same, except that an error may come before the head is complete. What is wrong
/// with the request line wins over what is wrong with the length of the head, and that over the headers.
///
/// # Errors
///
/// - `Malformed`: not a request line of method, target and version separated by single spaces; a target
///   with control characters or that is not UTF-8; a header that breaks RFC 9112 §5, white space before the
///   colon and folded lines included; more than one `Host`, one that cannot be a host, or none in HTTP/1.1 or
///   later (§3.2).
/// - `TargetTooLong`, `HeadTooLong`: as soon as the bytes of `input` prove it.
/// - `TooManyHeaders`: once the head is complete.
/// - `Version`: a well-formed version other than `HTTP/1.x`.
pub fn decode(input: &[u8]) -> Result<Option<(Head<'_>, usize)>, HeadError> {
    let Some((line, headers, bytes)) = lines::decode_head::<RequestLine<'_>>(input)? else {
        return Ok(None);
    };
    check_host(&headers, line.minor_version)?;
    let head = Head {
        method: Method::named(line.method_name),
        method_name: line.method_name,
        target: line.target,
        minor_version: line.minor_version,
        headers,
    };
    Ok(Some((head, bytes)))
}

/// A request line that is complete and sound.
struct RequestLine<'a> {
    method_name: &'a str,
    target: &'a str,
    minor_version: u8,
}

impl<'a> StartLine<'a> for RequestLine<'a> {
    /// RFC 9112 §2.2 asks for at least one.
    const LEADING_LINES_MAX: usize = 4;

    /// Applies the limits that a request line already breaks before its end has arrived.
    fn check_unfinished(line: &[u8]) -> Result<(), HeadError> {
        split_request_line(line).map(|_| ())
    }

    fn decode(line: &'a [u8]) -> Result<Self, HeadError> {
        let RawRequestLine {
            method,
            target,
            version,
        } = split_request_line(line)?;
        let method_name = str::from_utf8(method)
            .ok()
            .filter(|_| headers::is_token(method))
            .ok_or(HeadError::Malformed("method is not a token"))?;
        let target =
            str::from_utf8(target).map_err(|_| HeadError::Malformed("target is not UTF-8"))?;
        // Most are plain, and bytes are told apart faster than characters.
        let is_plain = target.bytes().all(|byte| byte.is_ascii_graphic());
        let has_gaps =
            || !is_plain && target.contains(|c: char| c.is_control() || c.is_whitespace());
        if target.is_empty() || has_gaps() {
            return Err(HeadError::Malformed(
                "target is empty or has control characters",
            ));
        }
        let version = version.ok_or(HeadError::Malformed("request line has no HTTP version"))?;
        Ok(RequestLine {
            method_name,
            target,
            minor_version: lines::decode_minor_version(version)?,
        })
    }
}

/// The parts of a request line as they were sent; no version until there is a space behind the target.
struct RawRequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    version: Option<&'a [u8]>,
}

/// Takes a request line apart as far as it is there. Checks lengths, and nothing else but that
/// the first space comes in time, since this must say the same about any prefix.
fn split_request_line(line: &[u8]) -> Result<RawRequestLine<'_>, HeadError> {
    let (method, behind) = lines::split_at_space(line);
    if method.len() > METHOD_BYTES_MAX {
        return Err(HeadError::Malformed("method too long"));
    }
    let (target, version) = lines::split_at_space(behind.unwrap_or_default());
    if target.len() > TARGET_BYTES_MAX {
        return Err(HeadError::TargetTooLong {
            limit: TARGET_BYTES_MAX,
        });
    }
    Ok(RawRequestLine {
        method,
        target,
        version,
    })
}

/// RFC 9112 §3.2: more than one `Host` is refused in any version, none from HTTP/1.1 on.
fn check_host(headers: &Headers<'_>, minor_version: u8) -> Result<(), HeadError> {
    let mut hosts = headers.all("host");
    match (hosts.next(), hosts.next()) {
        (None, _) if minor_version > 0 => Err(HeadError::Malformed("Host is missing")),
        (_, Some(_)) => Err(HeadError::Malformed("Host is repeated")),
        (Some(host), None) if !is_authority(host) => {
            Err(HeadError::Malformed("Host is no host and port"))
        }
        _ => Ok(()),
    }
}

/// Whether `host` has only what may stand in host and port (RFC 3986 §3.2.2), of which links are made. It may be empty
/// (RFC 9112 §3.2), and some clients write names that are not ASCII as they are.
fn is_authority(host: &[u8]) -> bool {
    host.iter().all(|&byte| {
        byte.is_ascii_alphanumeric() || byte >= 0x80 || b"-._~!$&'()*+,;=%:[]".contains(&byte)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::lines::HEADERS_MAX;
    use super::*;

    fn complete(input: &[u8]) -> (Head<'_>, usize) {
        decode(input).unwrap().expect("the head is complete")
    }

    fn status(input: impl AsRef<[u8]>) -> u16 {
        decode(input.as_ref()).expect_err("an error").status()
    }

    #[test]
    fn request_is_decoded() {
        let input = b"GET /rtp/239.1.1.1:5000?a=b HTTP/1.1\r\nHost: tv:5140\r\nX-A:  1 \r\nx-a:2\r\n\r\nbody";
        let (head, bytes) = complete(input);
        assert_eq!(
            (head.method, head.target, head.minor_version),
            (Method::Get, "/rtp/239.1.1.1:5000?a=b", 1)
        );
        assert_eq!(bytes, input.len() - 4);
        assert_eq!(head.headers.get("HOST"), Some("tv:5140"));
        assert_eq!(head.headers.get("x-A"), Some("2"), "the last one counts");
        assert_eq!(head.headers.get("x-b"), None);
        let expected: [(&str, &[u8]); 3] = [("Host", b"tv:5140"), ("X-A", b"1"), ("x-a", b"2")];
        assert!(head.headers.iter().eq(expected));
        assert_eq!(head.headers.len(), 3);
    }

    #[test]
    fn methods_are_told_apart() {
        for (name, method) in [
            ("GET", Method::Get),
            ("HEAD", Method::Head),
            ("OPTIONS", Method::Options),
            ("get", Method::Other),
            ("FOO-1", Method::Other),
        ] {
            assert_eq!(
                complete(format!("{name} / HTTP/1.0\n\n").as_bytes())
                    .0
                    .method,
                method
            );
        }
        assert_eq!(status("G(T / HTTP/1.0\n\n"), 400);
        assert_eq!(status(" / HTTP/1.0\n\n"), 400);
        assert_eq!(status("M".repeat(33)), 400);
    }

    #[test]
    fn bare_line_feeds_and_leading_empty_lines_are_accepted() {
        let input = b"\r\n\n\r\nGET / HTTP/1.1\nHost:\n\r\n";
        let (head, bytes) = complete(input);
        assert_eq!((head.headers.get("host"), bytes), (Some(""), input.len()));
        assert_eq!(status("\n\n\n\n\nGET / HTTP/1.0\n\n"), 400);
        assert_eq!(status("\rGET / HTTP/1.0\n\n"), 400);
    }

    #[test]
    fn any_minor_version_is_accepted() {
        for minor in 0..=9 {
            let input = format!("GET / HTTP/1.{minor}\r\nHost: a\r\n\r\n");
            assert_eq!(complete(input.as_bytes()).0.minor_version, minor);
        }
        for version in ["HTTP/2.0", "HTTP/2", "HTTP/0.9"] {
            assert_eq!(status(format!("GET / {version}\r\n\r\n")), 505, "{version}");
        }
        for version in [
            "",
            " ",
            " HTTP/1.10",
            " HTTP/1.",
            " http/1.1",
            " HTTP/1.1 ",
            "  HTTP/1.1",
            " X HTTP/1.1",
        ] {
            assert_eq!(
                status(format!("GET /{version}\r\nHost: a\r\n\r\n")),
                400,
                "{version}"
            );
        }
    }

    #[test]
    fn exactly_one_host_is_required() {
        assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/1.1\r\nHost: a\r\nhOST: a\r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
        for host in ["a b", "a/b", "u@a", "a?b", "<a>", "a\tb", "a\"b"] {
            let input = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            assert_eq!(status(input), 400, "{host}");
        }
        for host in [
            "",
            "tv_1:5140",
            "[fe80::1%25eth0]:80",
            "fe80::1",
            "b\u{fc}cher.example",
        ] {
            complete(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        }
        assert!(decode(b"GET / HTTP/1.0\r\n\r\n").unwrap().is_some());
    }

    #[test]
    fn malformed_headers_are_refused() {
        for header in [
            "A : b",
            "A: b\r\n c",
            " A: b",
            "A: b\0",
            "A: b\x01",
            "A: b\rc",
            "A",
            ": b",
            "A\0: b",
            "Ä: b",
            "A: \x7f",
        ] {
            assert_eq!(
                status(format!("GET / HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n")),
                400,
                "{header:?}"
            );
        }
    }

    #[test]
    fn header_that_is_not_utf8_is_kept_as_bytes() {
        let (head, _) = complete(b"GET / HTTP/1.0\r\nUser-Agent: \xb5\xe7\r\n\r\n");
        assert_eq!(head.headers.get("user-agent"), None);
        assert_eq!(
            head.headers.iter().next(),
            Some(("User-Agent", &b"\xb5\xe7"[..]))
        );
    }

    #[test]
    fn target_is_text_without_control_characters() {
        assert_eq!(
            complete("GET /频道 HTTP/1.0\n\n".as_bytes()).0.target,
            "/频道"
        );
        for target in [
            &b"/\xff"[..],
            b"/\x01",
            b"/\x7f",
            b"/\t",
            "/\u{85}".as_bytes(),
            b"",
        ] {
            assert_eq!(
                status([b"GET ", target, b" HTTP/1.0\r\n\r\n"].concat()),
                400
            );
        }
    }

    #[test]
    fn target_too_long_is_reported_before_the_line_ends() {
        let line = |bytes: usize| format!("GET /{}", "x".repeat(bytes - 1));
        assert_eq!(decode(line(TARGET_BYTES_MAX).as_bytes()), Ok(None));
        assert_eq!(decode((line(TARGET_BYTES_MAX) + "\r").as_bytes()), Ok(None));
        assert_eq!(status(line(TARGET_BYTES_MAX + 1)), 414);
        assert_eq!(
            status(line(TARGET_BYTES_MAX + 1) + " HTTP/1.0\r\n\r\n"),
            414
        );
        assert!(
            decode((line(TARGET_BYTES_MAX) + " HTTP/1.0\r\n\r\n").as_bytes())
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn head_too_long_is_reported_at_the_limit() {
        let head = |bytes: usize| {
            let front = "GET / HTTP/1.0\r\nA: ";
            format!("{front}{}\r\n\r\n", "x".repeat(bytes - front.len() - 4))
        };
        let (_, bytes) = complete(head(HEAD_BYTES_MAX).as_bytes()).clone();
        assert_eq!(bytes, HEAD_BYTES_MAX);
        assert_eq!(status(head(HEAD_BYTES_MAX + 1)), 431);
        assert_eq!(status(&head(HEAD_BYTES_MAX + 1)[..HEAD_BYTES_MAX]), 431);
        assert_eq!(
            decode(&head(HEAD_BYTES_MAX + 1).as_bytes()[..HEAD_BYTES_MAX - 1]),
            Ok(None)
        );
    }

    #[test]
    fn headers_are_counted() {
        let head = |count: usize| format!("GET / HTTP/1.0\r\n{}\r\n", "A: b\r\n".repeat(count));
        assert_eq!(
            complete(head(HEADERS_MAX).as_bytes()).0.headers.len(),
            HEADERS_MAX
        );
        assert_eq!(status(head(HEADERS_MAX + 1)), 431);
    }

    /// Inputs near the grammar: mostly sound pieces, some broken ones.
    fn any_input() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => "(\r?\n){0,3}",
            8 => "(GET|HEAD|X) /[a-z?=é]{0,9} HTTP/1\\.[0-9]\r?\n",
            8 => "(Host|a|B-c): ?[a-z ]{0,9}\r?\n",
            2 => "[A-Z /:\r\n\t\\x00]{0,6}",
            1 => "GET /x{7995,8003}",
            1 => "(a: x{8000}\r\n){3,5}",
            1 => "(a:\n){120,130}",
        ];
        let text =
            prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat().into_bytes());
        let sound = (
            "(GET|HEAD|X) /[a-z?=é]{0,9} HTTP/1\\.[0-9]\r?\nHost: a\r?\n",
            "([a-c]: [a-z]{0,9}\r?\n){0,9}",
            "\r?\n[a-z]{0,9}",
        )
            .prop_map(|(line, headers, end)| (line + &headers + &end).into_bytes());
        prop_oneof![text, sound, prop::collection::vec(any::<u8>(), 0..100)]
    }

    proptest! {
        #[test]
        fn splitting_the_input_does_not_change_the_result(input in any_input(), step in 1usize..40) {
            let whole = decode(&input);
            let mut end = 0;
            loop {
                let prefix = decode(&input[..end]);
                match (&prefix, &whole) {
                    (Ok(None), _) => {}
                    (Err(early), Err(late)) => {
                        prop_assert_eq!(early.status(), late.status());
                        break;
                    }
                    _ => {
                        prop_assert_eq!(&prefix, &whole);
                        break;
                    }
                }
                if end == input.len() {
                    break;
                }
                end = (end + step).min(input.len());
            }
        }

        #[test]
        fn encoded_heads_decode_to_their_parts(
            method in "[A-Z]{1,9}",
            target in "/[!-~]{0,40}",
            minor_version in 0u8..=9,
            headers in prop::collection::vec(("[a-zA-Z!#-]{1,12}", "([!-~]([ -~]{0,20}[!-~])?)?"), 0..20),
            end in prop_oneof!["\r\n", "\n"],
        ) {
            prop_assume!(headers.iter().all(|(name, _)| !name.eq_ignore_ascii_case("host")));
            let mut input = format!("{method} {target} HTTP/1.{minor_version}{end}host: a{end}");
            for (name, value) in &headers {
                input += &format!("{name}: {value} {end}");
            }
            input += &end;
            let (head, bytes) = complete(input.as_bytes());
            prop_assert_eq!(bytes, input.len());
            prop_assert_eq!((head.target, head.minor_version), (&target[..], minor_version));
            let decoded: Vec<_> = head.headers.iter().skip(1).collect();
            let expected: Vec<_> = headers.iter().map(|(name, value)| (&name[..], value.as_bytes())).collect();
            prop_assert_eq!(decoded, expected);
        }
    }
}
