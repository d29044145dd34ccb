//! Where the body of an HTTP/1 message ends (RFC 9112 §6).
//!
//! Two readers of one connection that disagree on this can be made to see different requests: request
//! smuggling. So there is exactly one way to say each thing here, and everything else is refused, also what
//! RFC 9112 would let a recipient repair, but for a playlist that is written anew as a whole. Whoever forwards a
//! message writes `Content-Length` or `Transfer-Encoding` anew from the [`Framing`], never from the header that was
//! received.

use std::fmt;

use super::head::Head;
use super::headers::{self, Headers};
use super::response::ResponseHead;

/// Longest body in bytes, and largest chunk: what fits a signed 64-bit integer, because that is what file
/// sizes, and many peers, are limited to.
pub const BODY_BYTES_MAX: u64 = i64::MAX as u64;

/// Where the body of a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body, and nothing that announces one, or this message cannot have one.
    Empty,
    /// The body has this many bytes, at most [`BODY_BYTES_MAX`].
    Length(u64),
    /// The body comes in chunks (RFC 9112 §7.1).
    Chunked,
    /// The body ends where the connection does; responses only.
    UntilClose,
}

/// Where the body of a request ends (RFC 9112 §6.3).
///
/// The method has no say: a `GET` may have a body. After an error nothing can be known about what follows
/// on the connection, so it must be closed behind the answer.
///
/// # Errors
///
/// Any [`FramingError`]; [`FramingError::status`] says what to answer.
pub fn request_framing(head: &Head<'_>) -> Result<Framing, FramingError> {
    let announced = announced_framing(&head.headers, head.minor_version)?;
    Ok(announced.unwrap_or(Framing::Empty))
}

/// Where the body of a response ends (RFC 9112 §6.3).
///
/// Interim responses, 204, 304 and responses to `HEAD` have no body whatever their headers say, so
/// `Content-Length` and `Transfer-Encoding` are not looked at then. Before they are passed on: interim
/// responses and 204 must not carry either (RFC 9110 §8.6, RFC 9112 §6.1); in the others
/// [`content_length`] says whether there is a sound length. A 2xx response to `CONNECT` and a 101 are not
/// foreseen; the caller does not ask for them.
///
/// # Errors
///
/// Any [`FramingError`]; the connection must be closed, and whoever waits for the response gets a 502.
pub fn response_framing(
    head: &ResponseHead<'_>,
    request_was_head: bool,
) -> Result<Framing, FramingError> {
    if request_was_head || matches!(head.status, 100..200 | 204 | 304) {
        return Ok(Framing::Empty);
    }
    let announced = announced_framing(&head.headers, head.minor_version)?;
    Ok(announced.unwrap_or(Framing::UntilClose))
}

/// As [`response_framing`] for a response with both `Content-Length` and `Transfer-Encoding`, of which the latter is
/// believed (RFC 9112 §6.3 item 3). Only for a body that is gathered here and goes on with a length of its own, over
/// a connection that is then closed: nobody else can read the response another way.
///
/// # Errors
///
/// As [`response_framing`].
pub(super) fn coded_framing(head: &ResponseHead<'_>) -> Result<Framing, FramingError> {
    if head.minor_version == 0 {
        return Err(FramingError::CodingInOldVersion);
    }
    check_codings(&head.headers)?;
    Ok(Framing::Chunked)
}

/// The value of `Content-Length`, at most [`BODY_BYTES_MAX`]; `None` if there is none.
///
/// # Errors
///
/// - `LengthRepeated`: several lines or a list, even of equal values.
/// - `LengthMalformed`: anything but decimal digits.
/// - `LengthTooLarge`: more than [`BODY_BYTES_MAX`].
pub fn content_length(headers: &Headers<'_>) -> Result<Option<u64>, FramingError> {
    let mut values = headers.all("content-length");
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() || value.contains(&b',') {
        return Err(FramingError::LengthRepeated);
    }
    // No library function: they take signs, and the length of the number is not ours to limit.
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(FramingError::LengthMalformed);
    }
    value
        .iter()
        .try_fold(0u64, |length, digit| {
            length.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
        })
        .filter(|&length| length <= BODY_BYTES_MAX)
        .map(Some)
        .ok_or(FramingError::LengthTooLarge {
            limit: BODY_BYTES_MAX,
        })
}

/// What the headers announce; `None` if they do not mention a body.
fn announced_framing(
    headers: &Headers<'_>,
    minor_version: u8,
) -> Result<Option<Framing>, FramingError> {
    if headers.all("transfer-encoding").next().is_none() {
        return Ok(content_length(headers)?.map(Framing::Length));
    }
    // Either could be the one that the next reader believes (RFC 9112 §6.1, §6.3 item 3).
    if headers.all("content-length").next().is_some() {
        return Err(FramingError::LengthAndCoding);
    }
    if minor_version == 0 {
        return Err(FramingError::CodingInOldVersion);
    }
    check_codings(headers)?;
    Ok(Some(Framing::Chunked))
}

/// Refuses every `Transfer-Encoding` but a single `chunked` without parameters (RFC 9112 §6.1, §7).
///
/// Empty list elements are refused too, unlike elsewhere: no sender has a reason for them.
fn check_codings(headers: &Headers<'_>) -> Result<(), FramingError> {
    let mut chunked = false;
    let mut unknown = false;
    for coding in headers
        .all("transfer-encoding")
        .flat_map(headers::list_elements)
    {
        if chunked {
            return Err(FramingError::ChunkedNotLast);
        }
        let mut parts = coding.splitn(2, |&byte| byte == b';');
        let name = headers::trim(parts.next().unwrap_or_default());
        if !headers::is_token(name) {
            return Err(FramingError::CodingMalformed);
        }
        if !name.eq_ignore_ascii_case(b"chunked") {
            unknown = true;
        } else if parts.next().is_some() {
            return Err(FramingError::CodingMalformed);
        } else {
            chunked = true;
        }
    }
    if unknown {
        return Err(FramingError::CodingUnknown);
    }
    Ok(())
}

/// Why it cannot be said where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramingError {
    /// More than one `Content-Length`, as lines or as a list.
    LengthRepeated,
    /// `Content-Length` is not a decimal number.
    LengthMalformed,
    /// `Content-Length` is more than `limit` bytes.
    LengthTooLarge {
        /// [`BODY_BYTES_MAX`]
        limit: u64,
    },
    /// Both `Content-Length` and `Transfer-Encoding`.
    LengthAndCoding,
    /// `Transfer-Encoding` in an HTTP/1.0 message; whether its sender knows chunks is a guess (RFC 9112 §6.1).
    CodingInOldVersion,
    /// `Transfer-Encoding` is not a list of tokens, or `chunked` has parameters.
    CodingMalformed,
    /// Something follows `chunked` in `Transfer-Encoding`, perhaps another `chunked`.
    ChunkedNotLast,
    /// A transfer coding other than `chunked`.
    CodingUnknown,
}

impl FramingError {
    /// Status code of the answer to a request with this error.
    pub fn status(&self) -> u16 {
        match self {
            FramingError::LengthTooLarge { .. } => 413,
            // RFC 9112 §6.1. It outranks the 400 of §6.3 for a coding that is not closed by `chunked`,
            // since it says more, and the connection is closed in either case.
            FramingError::CodingUnknown => 501,
            FramingError::LengthRepeated
            | FramingError::LengthMalformed
            | FramingError::LengthAndCoding
            | FramingError::CodingInOldVersion
            | FramingError::CodingMalformed
            | FramingError::ChunkedNotLast => 400,
        }
    }
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FramingError::LengthRepeated => f.write_str("Content-Length is repeated"),
            FramingError::LengthMalformed => f.write_str("Content-Length is not a decimal number"),
            FramingError::LengthTooLarge { limit } => {
                write!(f, "Content-Length is more than {limit}")
            }
            FramingError::LengthAndCoding => {
                f.write_str("both Content-Length and Transfer-Encoding")
            }
            FramingError::CodingInOldVersion => f.write_str("Transfer-Encoding in HTTP/1.0"),
            FramingError::CodingMalformed => f.write_str("malformed Transfer-Encoding"),
            FramingError::ChunkedNotLast => {
                f.write_str("chunked is not the last transfer coding, or is repeated")
            }
            FramingError::CodingUnknown => f.write_str("transfer coding other than chunked"),
        }
    }
}

impl std::error::Error for FramingError {}

#[cfg(test)]
mod tests {
    use super::super::{decode, decode_response};
    use super::*;

    fn request(version: &str, headers: &str) -> Result<Framing, FramingError> {
        let input = format!("POST / {version}\r\nHost: a\r\n{headers}\r\n");
        let (head, _) = decode(input.as_bytes()).unwrap().expect("a whole head");
        request_framing(&head)
    }

    fn response(
        line: &str,
        headers: &str,
        request_was_head: bool,
    ) -> Result<Framing, FramingError> {
        let input = format!("{line}\r\n{headers}\r\n");
        let (head, _) = decode_response(input.as_bytes())
            .unwrap()
            .expect("a whole head");
        response_framing(&head, request_was_head)
    }

    #[test]
    fn message_without_framing_headers_is_empty_or_lasts_until_the_close() {
        assert_eq!(request("HTTP/1.1", ""), Ok(Framing::Empty));
        assert_eq!(
            response("HTTP/1.1 200 OK", "", false),
            Ok(Framing::UntilClose)
        );
    }

    #[test]
    fn content_length_is_a_plain_number() {
        for (value, length) in [
            ("0", 0),
            ("42", 42),
            (" \t7 ", 7),
            ("0000000000000000000000000010", 10),
            ("9223372036854775807", BODY_BYTES_MAX),
        ] {
            let headers = format!("content-LENGTH:{value}\r\n");
            assert_eq!(request("HTTP/1.0", &headers), Ok(Framing::Length(length)));
            assert_eq!(
                response("HTTP/1.0 200", &headers, false),
                Ok(Framing::Length(length))
            );
        }
    }

    #[test]
    fn content_length_too_large_is_413() {
        let limit = BODY_BYTES_MAX;
        for value in [
            "9223372036854775808",
            "18446744073709551621",
            "99999999999999999999999",
        ] {
            let refused = request("HTTP/1.1", &format!("Content-Length: {value}\r\n"));
            assert_eq!(refused, Err(FramingError::LengthTooLarge { limit }));
            assert_eq!(refused.unwrap_err().status(), 413);
        }
    }

    #[test]
    fn responses_that_cannot_have_a_body_are_empty() {
        for headers in [
            "",
            "Content-Length: 5\r\n",
            "Content-Length: x\r\n",
            "Transfer-Encoding: gzip\r\n",
        ] {
            for line in [
                "HTTP/1.1 100 Continue",
                "HTTP/1.1 199",
                "HTTP/1.0 204",
                "HTTP/1.1 304 x",
            ] {
                assert_eq!(response(line, headers, false), Ok(Framing::Empty), "{line}");
            }
            assert_eq!(response("HTTP/1.1 200", headers, true), Ok(Framing::Empty));
            assert_ne!(response("HTTP/1.1 200", headers, false), Ok(Framing::Empty));
            assert_ne!(response("HTTP/1.1 205", headers, false), Ok(Framing::Empty));
        }
    }

    #[test]
    fn chunked_is_known_in_any_case_from_http_1_1_on() {
        for value in ["chunked", "CHUNKED", " \tChunked\t"] {
            let headers = format!("Transfer-Encoding:{value}\r\n");
            for minor in 1..=9 {
                assert_eq!(
                    request(&format!("HTTP/1.{minor}"), &headers),
                    Ok(Framing::Chunked)
                );
                let line = format!("HTTP/1.{minor} 200");
                assert_eq!(response(&line, &headers, false), Ok(Framing::Chunked));
            }
            let refused = Err(FramingError::CodingInOldVersion);
            assert_eq!(request("HTTP/1.0", &headers), refused);
            assert_eq!(response("HTTP/1.0 200", &headers, false), refused);
        }
    }
}
