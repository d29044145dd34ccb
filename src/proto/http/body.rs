//! The body of an HTTP/1 message as a relay passes it on (RFC 9112 §6.3, §7.1).
//!
//! Counts and checks every byte and says which to pass on, as ranges of what was received. It keeps none of
//! them, and holds the only knowledge of where the body ends; what is behind that is never touched.

use std::fmt;
use std::ops::Range;

use super::chunked::{ChunkError, Chunked, Piece};
use super::framing::Framing;

/// In which form a body is passed on. Only for chunked bodies does it make a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relay {
    /// With the chunks it came in, but without their extensions and without trailers.
    AsFramed,
    /// Only its data: for HTTP/1.0 peers, which know no chunks, and for whoever reads the body.
    Decoded,
}

/// A body on its way through.
///
/// ```text
/// Length, Chunked ── last byte ──▶ Complete ◀── close ── UntilClose
///         Chunked ── error ──▶ Failed
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// `left` is never 0.
    Length {
        left: u64,
    },
    Chunked(Chunked),
    UntilClose,
    Complete,
    /// The place in the body is lost.
    Failed(BodyError),
}

impl Body {
    /// A body of which nothing has arrived yet. It may be complete already.
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Empty => State::Complete,
            Framing::Length(bytes) => State::with_left(bytes),
            Framing::Chunked => State::Chunked(Chunked::new()),
            Framing::UntilClose => State::UntilClose,
        };
        Body { state }
    }

    /// Takes what has arrived and replaces `parts` by the ranges of `input` to pass on, in order, none of
    /// them empty and no two adjacent.
    ///
    /// Returns how many bytes of `input` belong to the body: all, unless it ends before. What is behind
    /// them belongs to the next message, or to nobody.
    ///
    /// # Errors
    ///
    /// If a chunked body breaks the grammar or a limit. `parts` holds what was sound until then; the body
    /// cannot be completed any more, and every further call says the same and leaves `parts` empty.
    pub fn receive(
        &mut self,
        input: &[u8],
        relay: Relay,
        parts: &mut Vec<Range<usize>>,
    ) -> Result<usize, BodyError> {
        parts.clear();
        match &mut self.state {
            State::Complete => Ok(0),
            State::Failed(error) => Err(*error),
            State::Chunked(chunked) => {
                let received = receive_chunks(chunked, input, relay, parts);
                match received {
                    Ok(_) if chunked.is_complete() => self.state = State::Complete,
                    Ok(_) => {}
                    Err(error) => self.state = State::Failed(error),
                }
                received
            }
            State::Length { .. } | State::UntilClose => {
                let bytes = self.take_opaque(input.len());
                push_part(parts, 0..bytes);
                Ok(bytes)
            }
        }
    }

    /// Whether all of the body has arrived. One that lasts until the connection closes never is before
    /// [`Body::finish`].
    pub fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// Whether nothing but the end of the connection tells where the body ends, and that has not come.
    pub fn lasts_until_close(&self) -> bool {
        self.state == State::UntilClose
    }

    /// The peer has closed its side of the connection.
    ///
    /// # Errors
    ///
    /// `CutShort` if more of the body should have come, and the error of [`Body::receive`] if there was one.
    pub fn finish(&mut self) -> Result<(), BodyError> {
        match self.state {
            State::Complete => Ok(()),
            State::UntilClose => {
                self.state = State::Complete;
                Ok(())
            }
            State::Length { left } => Err(BodyError::CutShort { left: Some(left) }),
            State::Chunked(_) => Err(BodyError::CutShort { left: None }),
            State::Failed(error) => Err(error),
        }
    }

    /// Passes over those of the next `len` bytes that need not be looked at, and tells how many.
    pub fn take_opaque(&mut self, len: usize) -> usize {
        let bytes = self.opaque_bytes().unwrap_or(0).min(len as u64);
        self.skip(bytes);
        bytes as usize
    }

    /// How many further bytes may be passed on without being looked at, in either [`Relay`] form; never 0.
    ///
    /// That is the rest of the body or of the current chunk's data, or `u64::MAX` if the body lasts until
    /// the connection closes. `None` if [`Body::receive`] must see the next byte, or none belongs to the body.
    pub fn opaque_bytes(&self) -> Option<u64> {
        match &self.state {
            State::Length { left } => Some(*left),
            State::Chunked(chunked) => Some(chunked.data_left()).filter(|&left| left > 0),
            State::UntilClose => Some(u64::MAX),
            State::Complete | State::Failed(_) => None,
        }
    }

    /// Takes note of bytes that were passed on without being looked at, for example by `splice`.
    ///
    /// # Panics
    ///
    /// If `bytes` is more than [`Body::opaque_bytes`]: bytes of the next message would have been passed on.
    pub fn skip(&mut self, bytes: u64) {
        assert!(
            bytes <= self.opaque_bytes().unwrap_or(0),
            "no more is skipped than is opaque"
        );
        match &mut self.state {
            State::Length { left } => self.state = State::with_left(*left - bytes),
            State::Chunked(chunked) => chunked.skip_data(bytes),
            State::UntilClose | State::Complete | State::Failed(_) => {}
        }
    }
}

impl State {
    fn with_left(left: u64) -> State {
        match left {
            0 => State::Complete,
            _ => State::Length { left },
        }
    }
}

fn receive_chunks(
    chunked: &mut Chunked,
    input: &[u8],
    relay: Relay,
    parts: &mut Vec<Range<usize>>,
) -> Result<usize, BodyError> {
    let mut at = 0;
    while let Some(piece) = chunked.next(input.get(at..).unwrap_or_default())? {
        let part = at..at + piece.bytes();
        at = part.end;
        match (piece, relay) {
            (Piece::Data(_), _) | (Piece::Framing(_), Relay::AsFramed) => push_part(parts, part),
            (Piece::Framing(_), Relay::Decoded) | (Piece::Skipped(_), _) => {}
        }
    }
    Ok(at)
}

/// Appends a range, to the last one if they touch.
fn push_part(parts: &mut Vec<Range<usize>>, part: Range<usize>) {
    match parts.last_mut() {
        _ if part.is_empty() => {}
        Some(last) if last.end == part.start => last.end = part.end,
        _ => parts.push(part),
    }
}

/// Why a body did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// A chunked body is broken.
    Chunk(ChunkError),
    /// The connection was closed before the end of the body.
    CutShort {
        /// Bytes missing, if that can be known.
        left: Option<u64>,
    },
}

impl From<ChunkError> for BodyError {
    fn from(error: ChunkError) -> Self {
        BodyError::Chunk(error)
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyError::Chunk(error) => error.fmt(f),
            BodyError::CutShort { left: Some(left) } => {
                write!(
                    f,
                    "connection closed {left} bytes before the end of the body"
                )
            }
            BodyError::CutShort { left: None } => {
                f.write_str("connection closed before the last chunk")
            }
        }
    }
}

impl std::error::Error for BodyError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is passed on of an input, and how it ends.
    #[derive(Debug, PartialEq, Eq)]
    struct Outcome {
        passed_on: Vec<u8>,
        consumed: usize,
        complete: bool,
        error: Option<BodyError>,
    }

    /// Feeds the input in steps of so many bytes; with `skipping`, opaque bytes go past unseen.
    fn relay(framing: Framing, input: &[u8], relay: Relay, step: usize, skipping: bool) -> Outcome {
        let mut body = Body::new(framing);
        let mut passed_on = Vec::new();
        let mut parts = vec![7..9, 9..9];
        let mut at = 0;
        let mut error = None;
        while at < input.len() && error.is_none() && !body.is_complete() {
            let arrived = &input[at..input.len().min(at.saturating_add(step))];
            if skipping && let Some(opaque) = body.opaque_bytes() {
                assert_ne!(opaque, 0);
                let bytes = opaque.min(arrived.len() as u64);
                body.skip(bytes);
                passed_on.extend_from_slice(&arrived[..bytes as usize]);
                at += bytes as usize;
                continue;
            }
            match body.receive(arrived, relay, &mut parts) {
                Ok(consumed) => {
                    assert!(consumed == arrived.len() || body.is_complete());
                    at += consumed;
                }
                Err(why) => error = Some(why),
            }
            assert!(
                parts.windows(2).all(|pair| pair[0].end < pair[1].start),
                "{parts:?}"
            );
            for part in &parts {
                assert!(!part.is_empty());
                passed_on.extend_from_slice(&arrived[part.clone()]);
            }
        }
        Outcome {
            passed_on,
            consumed: if error.is_none() { at } else { 0 },
            complete: body.is_complete(),
            error,
        }
    }

    /// Begins a body with this input: what is consumed, what is passed on, and the body.
    fn begin(framing: Framing, input: &[u8], form: Relay) -> (usize, Vec<(usize, usize)>, Body) {
        let mut body = Body::new(framing);
        let mut parts = Vec::new();
        let consumed = body.receive(input, form, &mut parts).expect("a sound body");
        (consumed, bounds(&parts), body)
    }

    fn bounds(parts: &[Range<usize>]) -> Vec<(usize, usize)> {
        parts.iter().map(|part| (part.start, part.end)).collect()
    }

    #[test]
    fn empty_body_takes_nothing() {
        for framing in [Framing::Empty, Framing::Length(0)] {
            let (consumed, parts, mut body) = begin(framing, b"GET /", Relay::AsFramed);
            assert_eq!((consumed, parts.len()), (0, 0));
            assert!(body.is_complete() && body.opaque_bytes().is_none() && body.finish().is_ok());
        }
    }

    #[test]
    fn body_with_a_length_stops_there() {
        let (consumed, parts, mut body) = begin(Framing::Length(7), b"hello", Relay::AsFramed);
        assert_eq!((consumed, parts), (5, vec![(0, 5)]));
        assert_eq!(body.opaque_bytes(), Some(2));
        assert_eq!(body.finish(), Err(BodyError::CutShort { left: Some(2) }));
        let mut parts = Vec::new();
        assert_eq!(body.receive(b"!!GET /", Relay::AsFramed, &mut parts), Ok(2));
        assert_eq!((bounds(&parts), body.is_complete()), (vec![(0, 2)], true));
        assert_eq!(body.receive(b"GET /", Relay::AsFramed, &mut parts), Ok(0));
        assert!(parts.is_empty());
    }

    #[test]
    fn body_without_an_end_lasts_until_the_close() {
        let (consumed, parts, mut body) = begin(Framing::UntilClose, b"0\r\n\r\n", Relay::Decoded);
        assert_eq!((consumed, parts), (5, vec![(0, 5)]));
        assert_eq!(
            (body.is_complete(), body.opaque_bytes()),
            (false, Some(u64::MAX))
        );
        body.skip(u64::MAX);
        assert_eq!((body.finish(), body.is_complete()), (Ok(()), true));
    }

    #[test]
    fn chunks_are_kept_without_extensions_and_trailers() {
        let input = b"2;x\r\nab\r\n1\r\nc\r\n0\r\nA: b\r\n\r\nHTTP/1.1";
        let (consumed, framed, body) = begin(Framing::Chunked, input, Relay::AsFramed);
        assert_eq!(framed, [(0, 1), (3, 18), (24, 26)]);
        assert_eq!((consumed, body.is_complete()), (26, true));
        let (consumed, decoded, body) = begin(Framing::Chunked, input, Relay::Decoded);
        assert_eq!(decoded, [(5, 7), (12, 13)]);
        assert_eq!((consumed, body.is_complete()), (26, true));
    }

    #[test]
    fn rest_of_a_chunk_is_opaque() {
        let (_, _, mut body) = begin(Framing::Chunked, b"10\r\nabc", Relay::Decoded);
        assert_eq!(body.opaque_bytes(), Some(13));
        body.skip(13);
        assert_eq!(body.opaque_bytes(), None);
        assert_eq!(body.finish(), Err(BodyError::CutShort { left: None }));
        let mut parts = Vec::new();
        assert_eq!(
            body.receive(b"\r\n0\r\n\r\n", Relay::Decoded, &mut parts),
            Ok(7)
        );
        assert_eq!((parts.len(), body.finish()), (0, Ok(())));
    }

    #[test]
    #[should_panic(expected = "no more is skipped than is opaque")]
    fn skipping_past_the_end_panics() {
        Body::new(Framing::Length(3)).skip(4);
    }

    #[test]
    fn broken_chunks_stay_broken() {
        let mut body = Body::new(Framing::Chunked);
        let mut parts = Vec::new();
        let broken = Err(BodyError::Chunk(ChunkError::LineEnd));
        assert_eq!(body.receive(b"1\r\nab", Relay::Decoded, &mut parts), broken);
        assert_eq!(bounds(&parts), [(3, 4)]);
        // What would have been right in the place of the broken byte must not mend it.
        let mended = body.receive(b"\r\n0\r\n\r\n", Relay::Decoded, &mut parts);
        assert_eq!(mended, broken);
        assert_eq!((parts.len(), body.opaque_bytes()), (0, None));
        assert!(body.finish().is_err() && !body.is_complete());
    }

    fn any_body() -> impl Strategy<Value = (Framing, Vec<u8>)> {
        let piece = prop_oneof![
            8 => "[1-3](;[a-z=\"]{0,5})?\r\n[a-z]{2}\r\n",
            8 => "2(;[a-z]{0,5})?\r\n[a-z]{2}\r\n",
            2 => "0\r\n([a-z]: [a-z]{0,5}\r\n){0,3}\r\n",
            1 => "[0-9a-f;: \r\n\t\\x00]{0,6}",
        ];
        let chunks =
            prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes());
        let framing = prop_oneof![
            4 => Just(Framing::Chunked),
            2 => (0u64..100).prop_map(Framing::Length),
            1 => Just(Framing::UntilClose),
            1 => Just(Framing::Empty),
        ];
        (framing, chunks)
    }

    proptest! {
        #[test]
        fn splitting_and_skipping_do_not_change_the_result(
            (framing, input) in any_body(),
            form in prop_oneof![Just(Relay::AsFramed), Just(Relay::Decoded)],
            step in 1usize..20,
        ) {
            let whole = relay(framing, &input, form, usize::MAX, false);
            prop_assert_eq!(&relay(framing, &input, form, step, false), &whole);
            prop_assert_eq!(&relay(framing, &input, form, step, true), &whole);
        }

        #[test]
        fn what_is_passed_on_in_chunks_decodes_to_the_same_data((_, input) in any_body()) {
            let data = relay(Framing::Chunked, &input, Relay::Decoded, usize::MAX, false);
            let framed = relay(Framing::Chunked, &input, Relay::AsFramed, usize::MAX, false);
            prop_assert_eq!(framed.complete, data.complete);
            let again = relay(Framing::Chunked, &framed.passed_on, Relay::Decoded, usize::MAX, false);
            prop_assert_eq!(again.passed_on, data.passed_on);
            prop_assert_eq!((again.complete, again.error), (data.complete, None));
        }
    }
}
