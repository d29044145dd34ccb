//! What a connection receives, taken apart in place.

use std::fmt;

use crate::probe::wire::{HELLO_BYTES_MAX, WireError};
use crate::proto::http::{ChunkError, Chunked, HEAD_BYTES_MAX, Piece as Chunk};
use crate::proto::websocket::{Decoder, FrameError, Opcode, Piece};

/// What a connection receives.
#[derive(Debug, Clone)]
pub enum Intake {
    /// The first bytes of a connection, of which the protocol is still to be found out: text as it comes.
    Opening,
    /// Payload, as it comes.
    Raw,
    /// Lines of text.
    Lines(Vec<u8>),
    /// WebSocket frames; the text is that of the message under way.
    WebSocket(Decoder, Vec<u8>),
    /// A chunked body.
    Chunked(Chunked),
    /// A body of which so many bytes are left.
    Sized(u64),
    /// The head of an HTTP message, empty line included.
    Head(Vec<u8>),
    /// The body of an HTTP message, as one text.
    Body(Length, Vec<u8>),
    /// Nothing that matters.
    Discard,
}

/// How long a body is that is gathered as text.
#[derive(Debug, Clone)]
pub enum Length {
    /// So many bytes are left.
    Sized(u64),
    /// In chunks.
    Chunked(Chunked),
}

/// Text gathered of one body at most, bytes: a view of ten thousand connections.
const BODY_BYTES_MAX: usize = 16 << 20;

/// What was found in received bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// Nothing but framing.
    Nothing,
    /// Payload: the first so many of the bytes, unmasked in place.
    Payload,
    /// A line or a text message.
    Text(Vec<u8>),
    /// A binary message is complete.
    MessageEnd,
    /// To be answered with a pong.
    Ping(Vec<u8>),
    /// The peer has said that it is done.
    End,
}

impl Intake {
    /// For the frames of a WebSocket; those of clients are masked.
    pub fn websocket(from_client: bool) -> Self {
        Intake::WebSocket(Decoder::new(from_client), Vec::new())
    }

    /// Takes the front of `bytes` and says how much that was and what it is; `None` asks for more. [`Item::Payload`]
    /// is the whole of what was taken.
    ///
    /// # Errors
    ///
    /// What breaks the framing, and text that is longer than any may be.
    pub fn next(&mut self, bytes: &mut [u8]) -> Result<Option<(usize, Item)>, IntakeError> {
        let may_end_by_itself = matches!(
            self,
            Intake::WebSocket(..) | Intake::Sized(0) | Intake::Body(Length::Sized(0), _)
        );
        if bytes.is_empty() && !may_end_by_itself {
            return Ok(None);
        }
        match self {
            Intake::Raw => Ok(Some((bytes.len(), Item::Payload))),
            Intake::Sized(0) => Ok(Some((bytes.len(), Item::End))),
            Intake::Sized(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX);
                let count = count.min(bytes.len());
                *left -= count as u64;
                Ok(Some((count, Item::Payload)))
            }
            Intake::Discard => Ok(Some((bytes.len(), Item::Nothing))),
            Intake::Opening => Ok(Some((bytes.len(), Item::Text(bytes.to_vec())))),
            Intake::Lines(line) => {
                let end = bytes.iter().position(|&byte| byte == b'\n');
                let taken = end.unwrap_or(bytes.len());
                append(line, &bytes[..taken])?;
                Ok(Some(match end {
                    Some(end) => (end + 1, Item::Text(std::mem::take(line))),
                    None => (taken, Item::Nothing),
                }))
            }
            Intake::Head(head) => {
                // The end may have begun in what came before.
                let begin = head.len().saturating_sub(3);
                let before = head.len();
                head.extend_from_slice(bytes);
                let end = head[begin..]
                    .windows(4)
                    .position(|window| window == b"\r\n\r\n")
                    .map(|at| begin + at + 4);
                if end.unwrap_or(head.len()) > HEAD_BYTES_MAX {
                    return Err(IntakeError::Text(WireError::Length(HEAD_BYTES_MAX)));
                }
                Ok(Some(match end {
                    Some(end) => {
                        head.truncate(end);
                        (end - before, Item::Text(std::mem::take(head)))
                    }
                    None => (bytes.len(), Item::Nothing),
                }))
            }
            Intake::Body(length, text) => {
                let (taken, data, is_whole) = match length {
                    Length::Sized(left) => {
                        let count = usize::try_from(*left).unwrap_or(usize::MAX);
                        let count = count.min(bytes.len());
                        *left -= count as u64;
                        (count, count, *left == 0)
                    }
                    Length::Chunked(chunked) => match chunked.next(bytes)? {
                        Some(Chunk::Data(count)) => (count, count, false),
                        Some(piece) => (piece.bytes(), 0, chunked.is_complete()),
                        None => return Ok(None),
                    },
                };
                if text.len() + data > BODY_BYTES_MAX {
                    return Err(IntakeError::Text(WireError::Length(BODY_BYTES_MAX)));
                }
                text.extend_from_slice(&bytes[..data]);
                Ok(Some(match is_whole {
                    true => (taken, Item::Text(std::mem::take(text))),
                    false => (taken, Item::Nothing),
                }))
            }
            Intake::Chunked(chunked) => {
                let Some(piece) = chunked.next(bytes)? else {
                    return Ok(chunked
                        .is_complete()
                        .then_some((bytes.len(), Item::Nothing)));
                };
                Ok(Some(match piece {
                    Chunk::Data(count) => (count, Item::Payload),
                    _ if chunked.is_complete() => (piece.bytes(), Item::End),
                    _ => (piece.bytes(), Item::Nothing),
                }))
            }
            Intake::WebSocket(decoder, text) => {
                let Some(piece) = decoder.next(bytes)? else {
                    return Ok(None);
                };
                let count = piece.bytes();
                let item = match piece {
                    Piece::Framing(_) => Item::Nothing,
                    Piece::Data { mask, is_text, .. } => {
                        if let (Some(mut mask), Some(data)) = (mask, bytes.get_mut(..count)) {
                            mask.apply(data);
                        }
                        if is_text {
                            append(text, &bytes[..count])?;
                            Item::Nothing
                        } else {
                            Item::Payload
                        }
                    }
                    Piece::MessageEnd { is_text: true, .. } => Item::Text(std::mem::take(text)),
                    Piece::MessageEnd { .. } => Item::MessageEnd,
                    Piece::Control {
                        opcode: Opcode::Ping,
                        payload,
                        ..
                    } => Item::Ping(payload),
                    Piece::Control {
                        opcode: Opcode::Close,
                        ..
                    } => Item::End,
                    Piece::Control { .. } => Item::Nothing,
                };
                Ok(Some((count, item)))
            }
        }
    }
}

fn append(text: &mut Vec<u8>, more: &[u8]) -> Result<(), IntakeError> {
    if text.len() + more.len() > HELLO_BYTES_MAX {
        return Err(IntakeError::Text(WireError::Length(HELLO_BYTES_MAX)));
    }
    text.extend_from_slice(more);
    Ok(())
}

/// Why received bytes make no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IntakeError {
    /// Chunks.
    Chunk(ChunkError),
    /// WebSocket frames.
    Frame(FrameError),
    /// A line or a message of text.
    Text(WireError),
}

impl From<ChunkError> for IntakeError {
    fn from(error: ChunkError) -> Self {
        IntakeError::Chunk(error)
    }
}

impl From<FrameError> for IntakeError {
    fn from(error: FrameError) -> Self {
        IntakeError::Frame(error)
    }
}

impl fmt::Display for IntakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IntakeError::Chunk(error) => write!(f, "chunked body: {error}"),
            IntakeError::Frame(error) => error.fmt(f),
            IntakeError::Text(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for IntakeError {}
