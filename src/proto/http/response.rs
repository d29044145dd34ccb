//! The head of an HTTP/1 response: status line and headers (RFC 9112 §2, §4, §5).
//!
//! Lenient where servers are known to be careless and nothing can be smuggled by it: lines may end in a
//! bare LF, the reason phrase may be missing, any minor version will do, and `ICY` for HTTP/1.0. Where the body ends is the concern
//! of `framing`, what the status means that of the caller.

use std::borrow::Cow;

use super::headers::{self, Headers};
use super::lines::{self, HEAD_BYTES_MAX, HeadError, StartLine};

/// What a status line begins with.
const HTTP_NAME: &[u8] = b"HTTP/";
/// What SHOUTcast servers begin theirs with, in place of a version. All else is as in HTTP/1.0, and radio stations in
/// channel lists are often such servers.
const ICY_NAME: &[u8] = b"ICY ";

/// A response head; everything in it points into the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead<'a> {
    /// The `x` of `HTTP/1.x`, 0 to 9; 0 for `ICY`.
    pub minor_version: u8,
    /// The status code, 100 to 999. Below 200 it is an interim response and another head follows
    /// (RFC 9110 §15.2).
    pub status: u16,
    /// The reason phrase as it was sent, perhaps empty: tabs, spaces, visible ASCII, and bytes from 0x80 on
    /// in whatever encoding the server likes.
    pub reason: &'a [u8],
    /// The headers.
    pub headers: Headers<'a>,
}

/// Decodes the response head at the front of `input`.
///
/// `Ok(None)` asks for more bytes. The `usize` is the length of the head in bytes, at most
/// [`HEAD_BYTES_MAX`](super::HEAD_BYTES_MAX); the body starts there, or the next head if this one is interim.
///
/// The result does not depend on how the input was cut: growing prefixes of one input give `None` for a
/// while and then always the same, except that an error may come before the head is complete. What does not
/// begin as HTTP is refused with the first byte that shows it.
///
/// # Errors
///
/// - `Malformed`: not a status line of version, three-digit status and perhaps a reason, separated by
///   single spaces; empty lines in front of it; control characters in the reason; a header that breaks
///   RFC 9112 §5, white space before the colon and folded lines included.
/// - `HeadTooLong`: as soon as the bytes of `input` prove it.
/// - `TooManyHeaders`: once the head is complete.
/// - `Version`: a well-formed version other than `HTTP/1.x`.
pub fn decode_response(input: &[u8]) -> Result<Option<(ResponseHead<'_>, usize)>, HeadError> {
    let Some((line, headers, bytes)) = lines::decode_head::<StatusLine<'_>>(input)? else {
        return Ok(None);
    };
    let head = ResponseHead {
        minor_version: line.minor_version,
        status: line.status,
        reason: line.reason,
        headers,
    };
    Ok(Some((head, bytes)))
}

/// Mends what a proxy is to mend in the head at the front of `input`, if that is whole: white space in front of a colon
/// is moved behind it, as good as removed (RFC 9112 §5.1), and the end of a line that is folded becomes spaces (§5.2).
///
/// No byte comes or goes, so [`decode_response`] finds the same end. A head that is not whole, or whose lines are not
/// header lines, stays as it is. So does a fold in front of the first header, for §2.2 has it refused.
pub fn mend(input: &[u8]) -> Cow<'_, [u8]> {
    let window = input.get(..HEAD_BYTES_MAX).unwrap_or(input);
    let mut mended = Cow::Borrowed(input);
    let mut begin = 0;
    for (number, end) in memchr::memchr_iter(b'\n', window).enumerate() {
        let line = window.get(begin..=end).unwrap_or_default();
        match line {
            _ if number == 0 => {}
            b"\n" | b"\r\n" => return mended,
            [b' ' | b'\t', ..] if number > 1 => {
                let before = mended.to_mut().get_mut(..begin).unwrap_or_default();
                for end in before
                    .iter_mut()
                    .rev()
                    .take_while(|byte| b"\r\n".contains(byte))
                {
                    *end = b' ';
                }
            }
            _ => {
                let Some(colon) = memchr::memchr(b':', line) else {
                    break;
                };
                let name = line.get(..colon).unwrap_or_default();
                let bytes = headers::trim(name).len();
                if bytes < colon && headers::is_token(name.get(..bytes).unwrap_or_default()) {
                    mended.to_mut().swap(begin + bytes, begin + colon);
                }
            }
        }
        begin = end + 1;
    }
    Cow::Borrowed(input)
}

/// A status line that is complete and sound.
struct StatusLine<'a> {
    minor_version: u8,
    status: u16,
    reason: &'a [u8],
}

impl<'a> StartLine<'a> for StatusLine<'a> {
    /// Only servers are asked to skip some (RFC 9112 §2.2). Here they would be what a wrong end of the last
    /// body left over.
    const LEADING_LINES_MAX: usize = 0;

    /// A server of something else must not keep us waiting for a line end that its protocol may not have.
    fn check_unfinished(line: &[u8]) -> Result<(), HeadError> {
        let may_be = |name: &[u8]| line.iter().zip(name).all(|(sent, name)| sent == name);
        if may_be(HTTP_NAME) || may_be(ICY_NAME) {
            Ok(())
        } else {
            Err(HeadError::Malformed("not a status line"))
        }
    }

    fn decode(line: &'a [u8]) -> Result<Self, HeadError> {
        let (version, behind) = lines::split_at_space(line);
        let minor_version = if line.starts_with(HTTP_NAME) {
            lines::decode_minor_version(version)?
        } else if line.starts_with(ICY_NAME) {
            0
        } else {
            return Err(HeadError::Malformed("not a status line"));
        };
        let (status, reason) = lines::split_at_space(behind.unwrap_or_default());
        let &[
            hundreds @ b'1'..=b'9',
            tens @ b'0'..=b'9',
            ones @ b'0'..=b'9',
        ] = status
        else {
            return Err(HeadError::Malformed("status is not a three-digit number"));
        };
        let reason = reason.unwrap_or_default();
        if reason
            .iter()
            .any(|&byte| byte != b'\t' && byte.is_ascii_control())
        {
            return Err(HeadError::Malformed("reason has control characters"));
        }
        let digit = |byte: u8| u16::from(byte - b'0');
        Ok(StatusLine {
            minor_version,
            status: digit(hundreds) * 100 + digit(tens) * 10 + digit(ones),
            reason,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::lines::{HEAD_BYTES_MAX, HEADERS_MAX};
    use super::*;

    fn complete(input: &[u8]) -> (ResponseHead<'_>, usize) {
        decode_response(input)
            .unwrap()
            .expect("the head is complete")
    }

    fn error(input: impl AsRef<[u8]>) -> HeadError {
        decode_response(input.as_ref()).expect_err("an error")
    }

    #[test]
    fn response_is_decoded() {
        let input =
            b"HTTP/1.1 206 Partial Content\r\nContent-Length: 4\r\nETag:\t\"x\" \r\n\r\nbody";
        let (head, bytes) = complete(input);
        assert_eq!(
            (head.minor_version, head.status, head.reason),
            (1, 206, &b"Partial Content"[..])
        );
        assert_eq!(bytes, input.len() - 4);
        assert_eq!(head.headers.get("etag"), Some("\"x\""));
        assert_eq!(head.headers.len(), 2);
    }

    #[test]
    fn missing_reason_and_bare_line_feeds_are_accepted() {
        for line in [
            "HTTP/1.0 200\n\n",
            "HTTP/1.0 200 \r\n\n",
            "HTTP/1.0 200\n\r\n",
        ] {
            let (head, bytes) = complete(line.as_bytes());
            assert_eq!(
                (head.status, head.reason, bytes),
                (200, &b""[..], line.len())
            );
        }
    }

    #[test]
    fn reason_may_be_anything_but_control_characters() {
        for byte in 0..=u8::MAX {
            let input = [b"HTTP/1.1 200 a", &[byte][..], b"b\r\n\r\n"].concat();
            match decode_response(&input) {
                Ok(Some((head, _))) => {
                    assert!(byte == b'\t' || !byte.is_ascii_control(), "{byte:#04x}");
                    assert_eq!(head.reason, [b'a', byte, b'b']);
                }
                // What follows a bare LF is a header line then, and "b" is none.
                result => assert!(byte.is_ascii_control() && result.is_err(), "{byte:#04x}"),
            }
        }
        assert!(decode_response(b"HTTP/1.1 200 OK\r\r\n\r\n").is_err());
    }

    #[test]
    fn status_is_a_three_digit_number() {
        for status in [100, 204, 599, 999] {
            let input = format!("HTTP/1.1 {status} x\r\n\r\n");
            assert_eq!(complete(input.as_bytes()).0.status, status);
        }
        for status in [
            "",
            " ",
            "20",
            "2000",
            "099",
            "000",
            "+20",
            "20x",
            " 200",
            "\t200",
            "200\t",
            "２００",
        ] {
            assert!(
                matches!(
                    error(format!("HTTP/1.1 {status}\r\n\r\n")),
                    HeadError::Malformed(_)
                ),
                "{status:?}"
            );
        }
    }

    #[test]
    fn any_minor_version_is_accepted() {
        for minor in 0..=9 {
            let input = format!("HTTP/1.{minor} 200 OK\r\n\r\n");
            assert_eq!(complete(input.as_bytes()).0.minor_version, minor);
        }
        for version in ["HTTP/2.0", "HTTP/2", "HTTP/0.9"] {
            assert_eq!(
                error(format!("{version} 200 OK\r\n\r\n")),
                HeadError::Version
            );
        }
        for version in ["HTTP/1.10", "HTTP/1.", "HTTP/1", "HTTP/", "HTTP/1,1"] {
            let refused = error(format!("{version} 200 OK\r\n\r\n"));
            assert_eq!(
                refused == HeadError::Version,
                version == "HTTP/1",
                "{version}"
            );
        }
    }

    #[test]
    fn what_does_not_begin_as_http_is_refused_at_once() {
        for input in [
            "ICE",
            "R",
            "http/1.1",
            "HTTq",
            "\u{1f}\u{8b}",
            "\n",
            "\r\nHTTP/1.1 200 OK",
        ] {
            assert!(matches!(error(input), HeadError::Malformed(_)), "{input:?}");
        }
        for input in ["", "H", "HTTP/", "HTTP/1.1 200 OK\r\n\r", "I", "ICY 200"] {
            assert_eq!(decode_response(input.as_bytes()), Ok(None), "{input:?}");
        }
    }

    #[test]
    fn answer_of_a_radio_server_is_one_of_http_1_0() {
        let (head, _) = complete(b"ICY 200 OK\r\nicy-name:Radio\r\n\r\nmp3");
        assert_eq!((head.minor_version, head.status), (0, 200));
        assert_eq!(head.headers.get("icy-name"), Some("Radio"));
        for line in ["ICY\r\n\r\n", "ICY OK\r\n\r\n", "ICYx 200 OK\r\n\r\n"] {
            assert!(matches!(error(line), HeadError::Malformed(_)), "{line:?}");
        }
    }

    #[test]
    fn malformed_headers_are_refused() {
        for header in [
            "A : b",
            "A: b\r\n c",
            " A: b",
            "A: b\0",
            "A: b\rc",
            "A",
            ": b",
            "A: \x7f",
        ] {
            let input = format!("HTTP/1.1 200 OK\r\n{header}\r\n\r\n");
            assert!(
                matches!(error(input), HeadError::Malformed(_)),
                "{header:?}"
            );
        }
    }

    /// What is made of header lines, which must not change in length.
    fn mended(lines: &str) -> String {
        let input = format!("HTTP/1.1 200 OK\r\n{lines}\r\nA : body");
        let output = mend(input.as_bytes()).into_owned();
        assert_eq!(output.len(), input.len());
        let output = String::from_utf8(output).expect("text");
        let lines = output.strip_prefix("HTTP/1.1 200 OK\r\n");
        let lines = lines.and_then(|lines| lines.strip_suffix("\r\nA : body"));
        lines.expect("nothing else changes").to_owned()
    }

    #[test]
    fn white_space_is_moved_behind_the_colon() {
        assert_eq!(mended("A : b\r\nC:d\r\n"), "A:  b\r\nC:d\r\n");
        assert_eq!(mended("A \t :b : c\n"), "A:\t  b : c\n");
        let input = mended("Content-Length\t: 2\r\n");
        assert_eq!(input, "Content-Length:\t 2\r\n");
        let input = format!("HTTP/1.1 200 OK\r\n{input}\r\n");
        assert_eq!(
            complete(input.as_bytes()).0.headers.get("content-length"),
            Some("2")
        );
    }

    #[test]
    fn fold_becomes_space() {
        assert_eq!(mended("A: b\r\n\tc\r\n d\r\n"), "A: b  \tc   d\r\n");
        assert_eq!(mended("A:\n b\n \n"), "A:  b  \n");
        assert_eq!(mended("A : b\r\n c : d\r\n"), "A:  b   c : d\r\n");
    }

    #[test]
    fn what_is_no_header_line_is_not_made_one() {
        for lines in [
            " A: b\r\n",
            " A : b\r\n",
            "A\r\n : b\r\n",
            "A B : c\r\n",
            " : c\r\n",
            ": c\r\n",
            "A\x0b: b\r\n",
            "A\r: b\r\n",
        ] {
            assert_eq!(mended(lines), lines);
            let input = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
            assert!(matches!(
                error(mend(input.as_bytes())),
                HeadError::Malformed(_)
            ));
        }
        let partial = b"HTTP/1.1 200 OK\r\nA : b\r\n";
        assert_eq!(mend(partial), &partial[..]);
    }

    #[test]
    fn limits_are_exact() {
        let long = |bytes: usize| {
            let front = "HTTP/1.1 200 OK\r\nA: ";
            format!("{front}{}\r\n\r\n", "x".repeat(bytes - front.len() - 4))
        };
        assert_eq!(complete(long(HEAD_BYTES_MAX).as_bytes()).1, HEAD_BYTES_MAX);
        let limit = HEAD_BYTES_MAX;
        assert_eq!(error(long(limit + 1)), HeadError::HeadTooLong { limit });
        assert_eq!(
            error(&long(limit + 1)[..limit]),
            HeadError::HeadTooLong { limit }
        );

        let many = |count: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(count));
        assert_eq!(
            complete(many(HEADERS_MAX).as_bytes()).0.headers.len(),
            HEADERS_MAX
        );
        let limit = HEADERS_MAX;
        assert_eq!(error(many(limit + 1)), HeadError::TooManyHeaders { limit });
    }

    /// Inputs near the grammar: mostly sound pieces, some broken ones.
    fn any_input() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            8 => "HTTP/1\\.[0-9] [0-9]{3}( [a-z é]{0,9})?\r?\n",
            8 => "(Date|a|B-c): ?[a-z ]{0,9}\r?\n",
            4 => "(\r?\n){0,2}",
            2 => "[HTP/1. :\r\n\t\\x00]{0,6}",
            1 => "(a: x{8000}\r\n){3,5}",
            1 => "(a:\n){120,130}",
        ];
        let text =
            prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat().into_bytes());
        let sound = (
            "HTTP/1\\.[0-9] [1-9][0-9]{2}( [a-zé]{0,9})?\r?\n",
            "([a-c]: [a-z]{0,9}\r?\n){0,9}",
            "\r?\n[a-z]{0,9}",
        )
            .prop_map(|(line, headers, end)| (line + &headers + &end).into_bytes());
        prop_oneof![text, sound, prop::collection::vec(any::<u8>(), 0..100)]
    }

    proptest! {
        #[test]
        fn splitting_the_input_does_not_change_the_result(input in any_input(), step in 1usize..40) {
            let whole = decode_response(&input);
            for end in (0..input.len()).step_by(step) {
                let prefix = decode_response(&input[..end]);
                if prefix != Ok(None) {
                    prop_assert_eq!(prefix, whole);
                    break;
                }
            }
        }

        #[test]
        fn encoded_heads_decode_to_their_parts(
            minor_version in 0u8..=9,
            status in 100u16..=999,
            reason in "[ -~é]{0,20}",
            headers in prop::collection::vec(("[a-zA-Z!#-]{1,12}", "([!-~]([ -~]{0,20}[!-~])?)?"), 0..20),
            end in prop_oneof!["\r\n", "\n"],
        ) {
            let mut input = format!("HTTP/1.{minor_version} {status} {reason}{end}");
            for (name, value) in &headers {
                input += &format!("{name}: {value} {end}");
            }
            input += &end;
            let (head, bytes) = complete(input.as_bytes());
            prop_assert_eq!(bytes, input.len());
            prop_assert_eq!(
                (head.minor_version, head.status, head.reason),
                (minor_version, status, reason.as_bytes())
            );
            let expected = headers.iter().map(|(name, value)| (&name[..], value.as_bytes()));
            prop_assert!(head.headers.iter().eq(expected));
        }
    }
}
