//! The chunked transfer coding (RFC 9112 §7.1), taken apart as it arrives.
//!
//! Works on any split of the input and keeps none of it: each step names a prefix of the input and what to
//! do with it. Nothing is tolerated that one reader might read otherwise than the next: white space around
//! the size, a bare LF, a CR that is not part of a line end, or a sign. Chunk extensions and trailers are
//! checked and named as bytes to skip, so what a relay passes on is sizes, CRLFs and data, and nothing else.

use std::fmt;

use super::framing::BODY_BYTES_MAX;
use super::headers;

/// Longest size line in bytes, extensions and CR included.
pub const SIZE_LINE_BYTES_MAX: usize = 4096;

/// Most bytes of trailers, line ends included.
pub const TRAILER_BYTES_MAX: usize = 8192;

/// Decoder of one chunked body.
///
/// ```text
///            ┌───────────────────────────── LF ──────────────────────────────┐
///            ▼                                                               │
/// SizeStart ─ hex ─▶ Size ─ CR ─▶ SizeEnd ─ LF ─▶ Data ─ size bytes ─▶ DataReturn ─ CR ─▶ DataEnd
///                     │ ;          ▲    │ LF after size 0
///                     ▼            │    ▼
///                  Extension ─ CR ─┘  TrailerStart ─ CR ─▶ FinalEnd ─ LF ─▶ Complete
///                                       ▲    │ token
///                                    LF │    ▼
///                           TrailerEnd ─┘  TrailerName ─ : ─▶ TrailerValue ─ CR ─▶ TrailerEnd
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunked {
    state: State,
}

/// What a prefix of the input is. The length in bytes is never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Sizes and line ends: passed on by whoever keeps the chunks, dropped by others.
    Framing(usize),
    /// Data of the body.
    Data(usize),
    /// Extensions and trailers: to be dropped.
    Skipped(usize),
}

impl Piece {
    /// Length in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Piece::Framing(bytes) | Piece::Data(bytes) | Piece::Skipped(bytes) => bytes,
        }
    }
}

impl Default for Chunked {
    fn default() -> Self {
        Chunked::new()
    }
}

impl Chunked {
    /// Starts in front of the first size line.
    pub fn new() -> Self {
        Chunked {
            state: State::SizeStart,
        }
    }

    /// The next piece, a prefix of `input`; the next call wants the input behind it.
    ///
    /// `None` if `input` is empty or the body is complete; what follows belongs to the next message then.
    ///
    /// # Errors
    ///
    /// If the first byte of `input` breaks the grammar or a limit. It is not taken, so asking again gives
    /// the same answer.
    pub fn next(&mut self, input: &[u8]) -> Result<Option<Piece>, ChunkError> {
        if let State::Data { left } = self.state {
            let bytes = left.min(input.len() as u64);
            self.skip_data(bytes);
            return Ok((bytes > 0).then_some(Piece::Data(bytes as usize)));
        }
        let mut bytes = 0;
        let mut piece = None;
        for &byte in input {
            match self.state.after(byte) {
                Ok(Some((state, class))) if piece.is_none_or(|begun| begun == class) => {
                    self.state = state;
                    piece = Some(class);
                    bytes += 1;
                }
                // The bytes before this one are sound however the input was cut; the next call says the rest.
                Ok(_) => break,
                Err(_) if bytes > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(piece.map(|class| match class {
            Class::Framing => Piece::Framing(bytes),
            Class::Skipped => Piece::Skipped(bytes),
        }))
    }

    /// Whether the end of the body has been seen.
    pub fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// How many bytes of data of the current chunk are still to come; 0 outside of a chunk's data.
    pub fn data_left(&self) -> u64 {
        match self.state {
            State::Data { left } => left,
            _ => 0,
        }
    }

    /// Takes note of data that went past unseen.
    ///
    /// # Panics
    ///
    /// If `bytes` is more than [`Chunked::data_left`]: the place in the body would be lost.
    pub fn skip_data(&mut self, bytes: u64) {
        let left = self.data_left().checked_sub(bytes);
        let left = left.expect("no more is skipped than the chunk has left");
        if let State::Data { .. } = self.state {
            self.state = State::in_data(left);
        }
    }
}

/// Where the decoder stands; the diagram is at [`Chunked`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    SizeStart,
    /// Behind at least one digit.
    Size {
        size: u64,
        line_bytes: usize,
    },
    Extension {
        size: u64,
        line_bytes: usize,
    },
    /// Behind the CR of a size line.
    SizeEnd {
        size: u64,
    },
    /// `left` is never 0.
    Data {
        left: u64,
    },
    DataReturn,
    /// Behind the CR that follows the data.
    DataEnd,
    TrailerStart {
        trailer_bytes: usize,
    },
    TrailerName {
        trailer_bytes: usize,
    },
    TrailerValue {
        trailer_bytes: usize,
    },
    /// Behind the CR of a trailer line.
    TrailerEnd {
        trailer_bytes: usize,
    },
    /// Behind the CR of the last line.
    FinalEnd,
    Complete,
}

/// What to do with a byte that is not data.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Framing,
    Skipped,
}

impl State {
    /// Where `byte` leads and what it is; `None` inside data and behind the end.
    fn after(self, byte: u8) -> Result<Option<(State, Class)>, ChunkError> {
        use Class::{Framing, Skipped};
        let step = match self {
            State::SizeStart => {
                let size = hex_digit(byte).ok_or(ChunkError::Size)?;
                let line_bytes = 1;
                (State::Size { size, line_bytes }, Framing)
            }
            State::Size { size, line_bytes } => {
                let line_bytes = count_size_line(line_bytes)?;
                match byte {
                    b'\r' => (State::SizeEnd { size }, Framing),
                    b';' => (State::Extension { size, line_bytes }, Skipped),
                    _ => {
                        let digit = hex_digit(byte).ok_or(ChunkError::Size)?;
                        let size = append_digit(size, digit)?;
                        (State::Size { size, line_bytes }, Framing)
                    }
                }
            }
            State::Extension { size, line_bytes } => {
                let line_bytes = count_size_line(line_bytes)?;
                match byte {
                    b'\r' => (State::SizeEnd { size }, Framing),
                    _ if is_text(byte) => (State::Extension { size, line_bytes }, Skipped),
                    _ => return Err(ChunkError::Extension),
                }
            }
            State::SizeEnd { size: 0 } => {
                expect_line_feed(byte)?;
                (State::TrailerStart { trailer_bytes: 0 }, Framing)
            }
            State::SizeEnd { size } => {
                expect_line_feed(byte)?;
                (State::in_data(size), Framing)
            }
            State::Data { .. } | State::Complete => return Ok(None),
            State::DataReturn if byte == b'\r' => (State::DataEnd, Framing),
            State::DataReturn => return Err(ChunkError::LineEnd),
            State::DataEnd => {
                expect_line_feed(byte)?;
                (State::SizeStart, Framing)
            }
            State::TrailerStart { .. } if byte == b'\r' => (State::FinalEnd, Framing),
            State::TrailerStart { trailer_bytes } => {
                let trailer_bytes = count_trailers(trailer_bytes)?;
                if !headers::is_token_byte(byte) {
                    return Err(ChunkError::Trailer);
                }
                (State::TrailerName { trailer_bytes }, Skipped)
            }
            State::TrailerName { trailer_bytes } => {
                let trailer_bytes = count_trailers(trailer_bytes)?;
                match byte {
                    b':' => (State::TrailerValue { trailer_bytes }, Skipped),
                    _ if headers::is_token_byte(byte) => {
                        (State::TrailerName { trailer_bytes }, Skipped)
                    }
                    _ => return Err(ChunkError::Trailer),
                }
            }
            State::TrailerValue { trailer_bytes } => {
                let trailer_bytes = count_trailers(trailer_bytes)?;
                match byte {
                    b'\r' => (State::TrailerEnd { trailer_bytes }, Skipped),
                    _ if is_text(byte) => (State::TrailerValue { trailer_bytes }, Skipped),
                    _ => return Err(ChunkError::Trailer),
                }
            }
            State::TrailerEnd { trailer_bytes } => {
                let trailer_bytes = count_trailers(trailer_bytes)?;
                expect_line_feed(byte)?;
                (State::TrailerStart { trailer_bytes }, Skipped)
            }
            State::FinalEnd => {
                expect_line_feed(byte)?;
                (State::Complete, Framing)
            }
        };
        Ok(Some(step))
    }

    /// In a chunk's data with that many bytes left, or behind it.
    fn in_data(left: u64) -> State {
        match left {
            0 => State::DataReturn,
            _ => State::Data { left },
        }
    }
}

fn hex_digit(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

fn append_digit(size: u64, digit: u64) -> Result<u64, ChunkError> {
    size.checked_mul(16)
        .and_then(|size| size.checked_add(digit))
        .filter(|&size| size <= BODY_BYTES_MAX)
        .ok_or(ChunkError::SizeTooLarge {
            limit: BODY_BYTES_MAX,
        })
}

fn count_size_line(bytes: usize) -> Result<usize, ChunkError> {
    let limit = SIZE_LINE_BYTES_MAX;
    match bytes {
        _ if bytes < limit => Ok(bytes + 1),
        _ => Err(ChunkError::SizeLineTooLong { limit }),
    }
}

fn count_trailers(bytes: usize) -> Result<usize, ChunkError> {
    let limit = TRAILER_BYTES_MAX;
    match bytes {
        _ if bytes < limit => Ok(bytes + 1),
        _ => Err(ChunkError::TrailersTooLong { limit }),
    }
}

/// Whether the byte may stand in an extension or in the value of a trailer: no control character but tab.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

fn expect_line_feed(byte: u8) -> Result<(), ChunkError> {
    match byte {
        b'\n' => Ok(()),
        _ => Err(ChunkError::LineEnd),
    }
}

/// Why a chunked body was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkError {
    /// A chunk size is empty or has something else in it than hexadecimal digits, white space included.
    Size,
    /// A chunk is larger than `limit` bytes.
    SizeTooLarge {
        /// [`BODY_BYTES_MAX`]
        limit: u64,
    },
    /// A size line is longer than `limit` bytes.
    SizeLineTooLong {
        /// [`SIZE_LINE_BYTES_MAX`]
        limit: usize,
    },
    /// A chunk extension has control characters, a bare LF included.
    Extension,
    /// CR without LF, or no CR LF behind the data of a chunk.
    LineEnd,
    /// A trailer is not a name, a colon and a value free of control characters.
    Trailer,
    /// The trailers have more than `limit` bytes.
    TrailersTooLong {
        /// [`TRAILER_BYTES_MAX`]
        limit: usize,
    },
}

impl fmt::Display for ChunkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChunkError::Size => f.write_str("chunk size is not a hexadecimal number"),
            ChunkError::SizeTooLarge { limit } => write!(f, "chunk larger than {limit} bytes"),
            ChunkError::SizeLineTooLong { limit } => {
                write!(f, "chunk size line longer than {limit} bytes")
            }
            ChunkError::Extension => f.write_str("chunk extension has control characters"),
            ChunkError::LineEnd => f.write_str("CR LF is missing in a chunked body"),
            ChunkError::Trailer => f.write_str("malformed trailer"),
            ChunkError::TrailersTooLong { limit } => {
                write!(f, "trailers longer than {limit} bytes")
            }
        }
    }
}

impl std::error::Error for ChunkError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What all pieces of an input amount to.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Outcome {
        framing: Vec<u8>,
        data: Vec<u8>,
        skipped: Vec<u8>,
        /// What was not taken.
        left: usize,
        complete: bool,
        error: Option<ChunkError>,
    }

    /// Feeds the input in steps of so many bytes.
    fn decode(input: &[u8], step: usize) -> Outcome {
        let mut chunked = Chunked::new();
        let mut outcome = Outcome::default();
        let mut at = 0;
        'steps: for end in (0..=input.len()).step_by(step).chain([input.len()]) {
            loop {
                match chunked.next(&input[at..end]) {
                    Ok(None) => break,
                    Ok(Some(piece)) => {
                        let kind = match piece {
                            Piece::Framing(_) => &mut outcome.framing,
                            Piece::Data(_) => &mut outcome.data,
                            Piece::Skipped(_) => &mut outcome.skipped,
                        };
                        assert_ne!(piece.bytes(), 0);
                        kind.extend_from_slice(&input[at..at + piece.bytes()]);
                        at += piece.bytes();
                    }
                    Err(error) => {
                        assert_eq!(chunked.next(&input[at..end]), Err(error), "errors stay");
                        outcome.error = Some(error);
                        break 'steps;
                    }
                }
            }
        }
        outcome.left = input.len() - at;
        outcome.complete = chunked.is_complete();
        outcome
    }

    fn error(input: impl AsRef<[u8]>) -> ChunkError {
        decode(input.as_ref(), 1).error.expect("an error")
    }

    #[test]
    fn body_is_taken_apart() {
        let outcome = decode(b"5;a=b\r\nhello\r\n", 99);
        assert_eq!(outcome.data, b"hello");
        assert_eq!(outcome.framing, b"5\r\n\r\n");
        assert_eq!(outcome.skipped, b";a=b");
        assert!(!outcome.complete);

        let input = b"00C\r\nhello, world\r\n0;last\r\nDate: x\r\nA:\r\n\r\nGET /";
        let outcome = decode(input, 99);
        assert_eq!(outcome.data, b"hello, world");
        assert_eq!(outcome.framing, b"00C\r\n\r\n0\r\n\r\n");
        assert_eq!(outcome.skipped, b";lastDate: x\r\nA:\r\n");
        assert_eq!(
            (outcome.left, outcome.complete, outcome.error),
            (5, true, None)
        );
    }

    #[test]
    fn empty_body_is_complete_at_once() {
        let outcome = decode(b"0\r\n\r\n", 99);
        assert_eq!(
            (&outcome.framing[..], outcome.complete),
            (&b"0\r\n\r\n"[..], true)
        );
    }

    #[test]
    fn data_may_go_past_unseen() {
        let mut chunked = Chunked::new();
        assert_eq!(chunked.data_left(), 0);
        assert_eq!(chunked.next(b"1f\r\nabc"), Ok(Some(Piece::Framing(4))));
        assert_eq!(chunked.data_left(), 31);
        chunked.skip_data(0);
        chunked.skip_data(30);
        assert_eq!(chunked.next(b"x\r"), Ok(Some(Piece::Data(1))));
        assert_eq!((chunked.data_left(), chunked.next(b"")), (0, Ok(None)));
        assert_eq!(chunked.next(b"\r\n0"), Ok(Some(Piece::Framing(3))));
    }

    #[test]
    #[should_panic(expected = "no more is skipped")]
    fn skipping_past_a_chunk_panics() {
        let mut chunked = Chunked::new();
        assert_eq!(chunked.next(b"2\r\n"), Ok(Some(Piece::Framing(3))));
        chunked.skip_data(3);
    }

    #[test]
    fn size_has_hexadecimal_digits_only() {
        for size in [
            "", " 1", "1 ", "\t1", "+1", "-1", "0x1", "1_0", "g", "1\0", "1,1", "\r", "１",
        ] {
            assert_eq!(
                error(format!("{size}\r\nx\r\n")),
                ChunkError::Size,
                "{size:?}"
            );
        }
    }

    #[test]
    fn size_fits_63_bits() {
        let outcome = decode(b"00007fffFFFFffffFFFF\r\nx", 3);
        assert_eq!((&outcome.data[..], outcome.error), (&b"x"[..], None));
        let limit = BODY_BYTES_MAX;
        for size in [
            "8000000000000000",
            "10000000000000005",
            "ffffffffffffffffffff",
        ] {
            assert_eq!(
                error(format!("{size}\r\n")),
                ChunkError::SizeTooLarge { limit }
            );
        }
    }

    #[test]
    fn lines_end_in_cr_lf() {
        assert_eq!(error("1\nx"), ChunkError::Size);
        assert_eq!(error("1\rx"), ChunkError::LineEnd);
        assert_eq!(error("1\r\r\n"), ChunkError::LineEnd);
        assert_eq!(error("1;a\n"), ChunkError::Extension);
        assert_eq!(error("1;a\rb\r\n"), ChunkError::LineEnd);
        assert_eq!(error("1\r\nx\n"), ChunkError::LineEnd);
        assert_eq!(error("1\r\nxy"), ChunkError::LineEnd);
        assert_eq!(error("1\r\nx\rx"), ChunkError::LineEnd);
        assert_eq!(error("0\r\n\n"), ChunkError::Trailer);
        assert_eq!(error("0\r\n\rx"), ChunkError::LineEnd);
        assert_eq!(error("0\r\nA: b\n\n"), ChunkError::Trailer);
        assert_eq!(error("0\r\nA: b\rc"), ChunkError::LineEnd);
    }

    #[test]
    fn extensions_are_free_of_control_characters() {
        for byte in 0..=u8::MAX {
            let input = [b"1;", &[byte][..], b"\r\nx"].concat();
            let refused = byte != b'\t' && byte.is_ascii_control();
            assert_eq!(decode(&input, 1).error.is_some(), refused, "{byte:#04x}");
        }
    }

    #[test]
    fn trailers_are_header_lines() {
        for line in [
            "GET / HTTP/1.1",
            "A : b",
            " A: b",
            "A: b\r\n c",
            ": b",
            "A",
            "A: \0",
            "A: \x7f",
        ] {
            assert_eq!(
                error(format!("0\r\n{line}\r\n\r\n")),
                ChunkError::Trailer,
                "{line:?}"
            );
        }
    }

    #[test]
    fn limits_are_exact() {
        let size_line = |bytes: usize| format!("1;{}\r\nx", "e".repeat(bytes - 3));
        assert_eq!(
            decode(size_line(SIZE_LINE_BYTES_MAX).as_bytes(), 1).data,
            b"x"
        );
        let limit = SIZE_LINE_BYTES_MAX;
        assert_eq!(
            error(size_line(limit + 1)),
            ChunkError::SizeLineTooLong { limit }
        );
        assert_eq!(
            error("0".repeat(limit + 1)),
            ChunkError::SizeLineTooLong { limit }
        );

        let trailers = |bytes: usize| format!("0\r\nA: b\r\nC:{}\r\n\r\n", "d".repeat(bytes - 10));
        assert!(decode(trailers(TRAILER_BYTES_MAX).as_bytes(), 1).complete);
        let limit = TRAILER_BYTES_MAX;
        assert_eq!(
            error(trailers(limit + 1)),
            ChunkError::TrailersTooLong { limit }
        );
    }

    /// Inputs near the grammar: mostly sound pieces, some broken ones.
    fn any_input() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            8 => "1(;[a-z=\"]{0,5})?\r\n.\r\n",
            4 => "0{0,3}[1-9a-fA-F]\r\n[a-z]{1,15}\r\n",
            2 => "0\r\n([a-z]: [a-z]{0,5}\r\n){0,3}",
            2 => "\r\n",
            1 => "[0-9a-f;: \r\n\t\\x00]{0,6}",
        ];
        let text =
            prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes());
        prop_oneof![4 => text, 1 => prop::collection::vec(any::<u8>(), 0..100)]
    }

    proptest! {
        #[test]
        fn splitting_the_input_does_not_change_the_result(input in any_input(), step in 1usize..20) {
            prop_assert_eq!(decode(&input, step), decode(&input, usize::MAX));
        }

        #[test]
        fn encoded_bodies_decode_to_their_data(
            chunks in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..40), "(;[ -~\t]{0,9})?", 0usize..4), 0..9),
            trailers in prop::collection::vec("[a-zA-Z-]{1,9}:[ -~]{0,9}", 0..4),
            step in 1usize..20,
        ) {
            let mut input = Vec::new();
            let mut framing = Vec::new();
            let mut data = Vec::new();
            for (chunk, extension, zeros) in &chunks {
                let size = format!("{}{:x}", "0".repeat(*zeros), chunk.len());
                input.extend_from_slice(format!("{size}{extension}\r\n").as_bytes());
                input.extend_from_slice(chunk);
                input.extend_from_slice(b"\r\n");
                framing.extend_from_slice(format!("{size}\r\n\r\n").as_bytes());
                data.extend_from_slice(chunk);
            }
            input.extend_from_slice(b"0\r\n");
            for trailer in &trailers {
                input.extend_from_slice(format!("{trailer}\r\n").as_bytes());
            }
            input.extend_from_slice(b"\r\nnext");
            framing.extend_from_slice(b"0\r\n\r\n");
            let outcome = decode(&input, step);
            prop_assert_eq!((outcome.data, outcome.framing), (data, framing));
            prop_assert_eq!((outcome.left, outcome.complete, outcome.error), (4, true, None));
        }
    }
}
