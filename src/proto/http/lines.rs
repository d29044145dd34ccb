//! What the heads of requests and responses have in common: limits, errors, and how a head is cut into
//! lines (RFC 9112 §2.1, §2.2).
//!
//! What a start line says is its decoder's concern, what the header lines say that of `headers`.

use std::fmt;

use super::headers::{self, Headers};

/// Longest head in bytes: leading empty lines, start line, headers and the empty line that ends them.
///
/// Chosen: four times the 8 KiB most servers accept, so that nothing that works elsewhere is refused here.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Most headers of a message.
pub const HEADERS_MAX: usize = 128;

/// Why a head was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// Breaks the grammar; says where.
    Malformed(&'static str),
    /// The request target is longer than `limit` bytes.
    TargetTooLong {
        /// [`TARGET_BYTES_MAX`](super::TARGET_BYTES_MAX)
        limit: usize,
    },
    /// The head is longer than `limit` bytes.
    HeadTooLong {
        /// [`HEAD_BYTES_MAX`]
        limit: usize,
    },
    /// There are more than `limit` headers.
    TooManyHeaders {
        /// [`HEADERS_MAX`]
        limit: usize,
    },
    /// HTTP, but not version 1.
    Version,
}

impl HeadError {
    /// Status code of the answer to a request with this error. A response with it is a 502 to whoever waits.
    pub fn status(&self) -> u16 {
        match self {
            HeadError::Malformed(_) => 400,
            HeadError::TargetTooLong { .. } => 414,
            HeadError::HeadTooLong { .. } | HeadError::TooManyHeaders { .. } => 431,
            HeadError::Version => 505,
        }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeadError::Malformed(what) => write!(f, "malformed HTTP head: {what}"),
            HeadError::TargetTooLong { limit } => {
                write!(f, "request target longer than {limit} bytes")
            }
            HeadError::HeadTooLong { limit } => write!(f, "HTTP head longer than {limit} bytes"),
            HeadError::TooManyHeaders { limit } => write!(f, "more than {limit} headers"),
            HeadError::Version => f.write_str("HTTP version is not 1.x"),
        }
    }
}

impl std::error::Error for HeadError {}

/// What differs between the start lines of requests and responses.
pub(super) trait StartLine<'a>: Sized {
    /// Most empty lines tolerated in front of it.
    const LEADING_LINES_MAX: usize;

    /// Refuses what is wrong with a line whose end has not arrived; must say the same about any prefix.
    fn check_unfinished(line: &[u8]) -> Result<(), HeadError>;

    /// Decodes the line, which comes without its end.
    fn decode(line: &'a [u8]) -> Result<Self, HeadError>;
}

/// Decodes the head at the front of `input` into start line, headers and length in bytes; `None` asks for
/// more. What is wrong with the start line wins over what is wrong with the length of the head, and that
/// over the headers, however the input was cut.
pub(super) fn decode_head<'a, S: StartLine<'a>>(
    input: &'a [u8],
) -> Result<Option<(S, Headers<'a>, usize)>, HeadError> {
    // Bytes past the limit must not matter, or the result would depend on how much had arrived.
    let window = input.get(..HEAD_BYTES_MAX).unwrap_or(input);
    let incomplete = if window.len() == HEAD_BYTES_MAX {
        Err(HeadError::HeadTooLong {
            limit: HEAD_BYTES_MAX,
        })
    } else {
        Ok(None)
    };

    let Some(message) = skip_empty_lines(window, S::LEADING_LINES_MAX)? else {
        return incomplete;
    };
    let Some((line, rest)) = split_line(message) else {
        // A last CR may belong to the line's end and must not count as part of the line.
        S::check_unfinished(message.strip_suffix(b"\r").unwrap_or(message))?;
        return incomplete;
    };
    let start_line = S::decode(line)?;
    let Some(block_bytes) = header_block_bytes(rest) else {
        return incomplete;
    };
    let (block, behind) = rest.split_at_checked(block_bytes).unwrap_or((rest, &[]));
    let headers = headers::decode(block)?;
    Ok(Some((start_line, headers, window.len() - behind.len())))
}

/// What follows the empty lines at the front; `None` while there is nothing but them.
fn skip_empty_lines(mut input: &[u8], lines_max: usize) -> Result<Option<&[u8]>, HeadError> {
    for _ in 0..=lines_max {
        input = match input {
            [] | [b'\r'] => return Ok(None),
            [b'\n', rest @ ..] | [b'\r', b'\n', rest @ ..] => rest,
            [b'\r', ..] => return Err(HeadError::Malformed("CR without LF")),
            _ => return Ok(Some(input)),
        };
    }
    Err(HeadError::Malformed("too many empty lines in front"))
}

/// The first line without its end, and what follows; `None` if the end is not there yet.
fn split_line(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', input)?;
    let (line, rest) = input.split_at_checked(end)?;
    Some((line.strip_suffix(b"\r").unwrap_or(line), rest.get(1..)?))
}

/// Length of the header lines and the empty line that ends them; `None` if that is not there yet.
fn header_block_bytes(block: &[u8]) -> Option<usize> {
    let mut rest = block;
    loop {
        let (line, behind) = split_line(rest)?;
        rest = behind;
        if line.is_empty() {
            return Some(block.len() - rest.len());
        }
    }
}

/// The text up to the first space, and what is behind that; `None` if there is no space.
pub(super) fn split_at_space(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text
        .iter()
        .position(|&byte| byte == b' ')
        .and_then(|at| text.split_at_checked(at))
    {
        Some((front, behind)) => (front, behind.get(1..)),
        None => (text, None),
    }
}

/// The `x` of `HTTP/1.x` (RFC 9112 §2.3).
pub(super) fn decode_minor_version(version: &[u8]) -> Result<u8, HeadError> {
    match version.strip_prefix(b"HTTP/") {
        Some([b'1', b'.', minor @ b'0'..=b'9']) => Ok(minor - b'0'),
        Some([b'0'..=b'9'] | [b'0'..=b'9', b'.', b'0'..=b'9']) => Err(HeadError::Version),
        _ => Err(HeadError::Malformed("not an HTTP version")),
    }
}
