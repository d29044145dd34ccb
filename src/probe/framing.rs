//! How payload and control text lie on the wire: raw, chunked, or as WebSocket messages, in both directions.
//!
//! [`Outlet`] makes the bytes to be written out of very little state: what a socket did not take is not kept but made
//! again, so that ten thousand stalled senders hold no buffers. [`Intake`] takes received bytes apart in place.

use std::fmt;

use super::payload::Payload;
use super::wire::{HELLO_BYTES_MAX, WireError};
use crate::proto::http::{ChunkError, Chunked, HEAD_BYTES_MAX, Piece as Chunk};
use crate::proto::websocket::{
    self, Decoder, FrameError, HEADER_BYTES_MAX, Mask, Opcode, Piece, close_payload,
};

/// The longest thing in front of a piece of payload: a chunk's size line, or a frame's header.
const PREFIX_BYTES_MAX: usize = 18;

/// How payload is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Not at all.
    Raw,
    /// As chunks (RFC 9112 §7.1).
    Chunked,
    /// As binary messages, masked if the sender is the client (RFC 6455).
    WebSocket {
        /// Whether this end is the client.
        is_client: bool,
    },
}

/// What a connection has to write.
#[derive(Debug, Clone)]
pub struct Outlet {
    framing: Framing,
    payload: Payload,
    frame_bytes: u64,
    /// Payload ends here.
    total_bytes: u64,
    /// No frame that would go beyond this is begun.
    limit_bytes: u64,
    /// No frame is begun any more.
    is_stopped: bool,
    /// Heads, lines, control frames: written between frames of payload.
    control: Vec<u8>,
    mask_seed: u64,
    at: Cursor,
}

/// How far writing has come.
#[derive(Debug, Clone, Copy, Default)]
struct Cursor {
    control: usize,
    frame: Option<Frame>,
    /// Payload bytes written.
    payload: u64,
    /// Frames begun.
    frames: u64,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    prefix: [u8; PREFIX_BYTES_MAX],
    prefix_at: usize,
    prefix_bytes: usize,
    left: u64,
    mask: Option<Mask>,
    suffix: &'static [u8],
}

/// What comes next on the wire, at most as much as there is room for.
enum Part {
    Control(usize, usize),
    Prefix([u8; PREFIX_BYTES_MAX], usize, usize),
    Payload(u64, usize, Option<Mask>),
    Suffix(&'static [u8]),
}

impl Part {
    fn bytes(&self) -> usize {
        match self {
            Part::Control(_, bytes) | Part::Prefix(_, _, bytes) | Part::Payload(_, bytes, _) => {
                *bytes
            }
            Part::Suffix(suffix) => suffix.len(),
        }
    }
}

impl Outlet {
    /// An outlet that writes control text only, until [`Outlet::begin`].
    pub fn new(framing: Framing, mask_seed: u64) -> Self {
        Self {
            framing,
            payload: Payload::new(0, 0),
            frame_bytes: 1,
            total_bytes: u64::MAX,
            limit_bytes: 0,
            is_stopped: true,
            control: Vec::new(),
            mask_seed,
            at: Cursor::default(),
        }
    }

    /// From now on payload is wrapped like this.
    pub fn set_framing(&mut self, framing: Framing) {
        self.framing = framing;
    }

    /// Allows payload: in frames of `frame_bytes`, `total_bytes` in all unless that is 0.
    pub fn begin(&mut self, payload: Payload, frame_bytes: u64, total_bytes: u64) {
        self.payload = payload;
        self.frame_bytes = frame_bytes.max(1);
        self.total_bytes = match total_bytes {
            0 => u64::MAX,
            total => total,
        };
        self.limit_bytes = u64::MAX;
        self.is_stopped = false;
    }

    /// Payload may go as far as this for now.
    pub fn set_limit(&mut self, limit_bytes: u64) {
        self.limit_bytes = limit_bytes;
    }

    /// Payload bytes written.
    pub fn payload_bytes(&self) -> u64 {
        self.at.payload
    }

    /// Whether all payload has been written that was announced.
    pub fn is_complete(&self) -> bool {
        self.at.payload >= self.total_bytes && self.at.frame.is_none()
    }

    /// Whether nothing can be written now.
    pub fn is_idle(&self) -> bool {
        self.next(&mut self.at.clone(), 1).is_none()
    }

    /// Whether a write has more to carry than control text.
    pub fn has_payload(&self) -> bool {
        self.at.frame.is_some() || (!self.is_stopped && self.next_frame_bytes().is_some())
    }

    /// Bytes of control text that wait.
    pub fn control_bytes(&self) -> usize {
        self.control.len() - self.at.control
    }

    /// Appends bytes as they are.
    pub fn push(&mut self, bytes: &[u8]) {
        self.control.extend_from_slice(bytes);
    }

    /// Appends a line of text: as a message on a WebSocket, else with a line feed.
    pub fn push_text(&mut self, text: &str) {
        match self.framing {
            Framing::WebSocket { .. } => self.push_frame(Opcode::Text, text.as_bytes()),
            Framing::Raw | Framing::Chunked => {
                self.control.extend_from_slice(text.as_bytes());
                self.control.push(b'\n');
            }
        }
    }

    /// Appends a WebSocket frame.
    pub fn push_frame(&mut self, opcode: Opcode, payload: &[u8]) {
        let is_client = self.framing == Framing::WebSocket { is_client: true };
        let mask = is_client.then(|| self.mask(u64::MAX - self.control.len() as u64));
        websocket::encode_message(opcode, payload, mask, &mut self.control);
    }

    /// Ends the payload: a raw stream at once, others behind the frame that is under way, with their mark of the end.
    pub fn finish(&mut self) {
        self.is_stopped = true;
        match self.framing {
            Framing::Raw => self.at.frame = None,
            Framing::Chunked => self.push(b"0\r\n\r\n"),
            Framing::WebSocket { .. } => self.push_frame(Opcode::Close, &close_payload(1000, "")),
        }
    }

    /// Begins no more frames.
    pub fn stop(&mut self) {
        self.is_stopped = true;
    }

    /// Writes what comes next into `out` and returns how much that is. Nothing is taken until [`Outlet::advance`].
    pub fn fill(&self, out: &mut [u8]) -> usize {
        let (mut at, mut filled) = (self.at, 0);
        while let Some(room) = out.get_mut(filled..).filter(|room| !room.is_empty()) {
            let Some(part) = self.next(&mut at, room.len()) else {
                break;
            };
            let (room, _) = room.split_at_mut(part.bytes());
            match part {
                Part::Control(at, bytes) => room.copy_from_slice(&self.control[at..at + bytes]),
                Part::Prefix(prefix, at, bytes) => room.copy_from_slice(&prefix[at..at + bytes]),
                Part::Payload(offset, _, mask) => {
                    self.payload.fill(offset, room);
                    if let Some(mut mask) = mask {
                        mask.apply(room);
                    }
                }
                Part::Suffix(suffix) => room.copy_from_slice(suffix),
            }
            filled += room.len();
        }
        filled
    }

    /// Takes the first `bytes` of what [`Outlet::fill`] wrote; returns how many of them are payload.
    pub fn advance(&mut self, mut bytes: usize) -> u64 {
        let before = self.at.payload;
        let mut at = self.at;
        while bytes > 0
            && let Some(part) = self.next(&mut at, bytes)
        {
            bytes -= part.bytes();
        }
        self.at = at;
        if self.at.control == self.control.len() {
            // Ten thousand connections would keep what each of them needed once.
            self.control = Vec::new();
            self.at.control = 0;
        }
        self.at.payload - before
    }

    /// The part at `at`, at most `room` bytes of it; moves `at` behind it.
    fn next(&self, at: &mut Cursor, room: usize) -> Option<Part> {
        if at.frame.is_none() {
            let waiting = self.control.len() - at.control;
            if waiting > 0 {
                let (begin, bytes) = (at.control, waiting.min(room));
                at.control += bytes;
                return Some(Part::Control(begin, bytes));
            }
            at.frame = Some(self.new_frame(at)?);
        }
        let frame = at.frame.as_mut()?;
        let part = if frame.prefix_at < frame.prefix_bytes {
            let (begin, bytes) = (
                frame.prefix_at,
                room.min(frame.prefix_bytes - frame.prefix_at),
            );
            frame.prefix_at += bytes;
            Part::Prefix(frame.prefix, begin, bytes)
        } else if frame.left > 0 {
            let bytes = usize::try_from(frame.left).unwrap_or(usize::MAX).min(room);
            let part = Part::Payload(at.payload, bytes, frame.mask);
            frame.left -= bytes as u64;
            at.payload += bytes as u64;
            if let Some(mask) = &mut frame.mask {
                mask.skip(bytes);
            }
            part
        } else {
            let (now, later) = frame.suffix.split_at(room.min(frame.suffix.len()));
            frame.suffix = later;
            Part::Suffix(now)
        };
        if frame.prefix_at == frame.prefix_bytes && frame.left == 0 && frame.suffix.is_empty() {
            at.frame = None;
        }
        Some(part)
    }

    fn next_frame_bytes(&self) -> Option<u64> {
        self.frame_bytes_at(self.at.payload)
    }

    fn frame_bytes_at(&self, offset: u64) -> Option<u64> {
        let bytes = self
            .frame_bytes
            .min(self.total_bytes.saturating_sub(offset));
        let is_allowed = offset
            .checked_add(bytes)
            .is_some_and(|end| end <= self.limit_bytes);
        (bytes > 0 && is_allowed).then_some(bytes)
    }

    fn new_frame(&self, at: &mut Cursor) -> Option<Frame> {
        if self.is_stopped {
            return None;
        }
        let bytes = self.frame_bytes_at(at.payload)?;
        at.frames += 1;
        let mut frame = Frame {
            prefix: [0; PREFIX_BYTES_MAX],
            prefix_at: 0,
            prefix_bytes: 0,
            left: bytes,
            mask: None,
            suffix: b"",
        };
        match self.framing {
            Framing::Raw => {}
            Framing::Chunked => {
                let line = format!("{bytes:x}\r\n");
                frame.prefix_bytes = line.len();
                frame.prefix[..line.len()].copy_from_slice(line.as_bytes());
                frame.suffix = b"\r\n";
            }
            Framing::WebSocket { is_client } => {
                let key = is_client.then(|| self.mask(at.frames));
                let mut header = [0; HEADER_BYTES_MAX];
                frame.prefix_bytes =
                    websocket::encode_header(Opcode::Binary, bytes, key, &mut header);
                frame.prefix[..header.len()].copy_from_slice(&header);
                frame.mask = key.map(Mask::new);
            }
        }
        Some(frame)
    }

    /// The masking key of a frame: from a seed that nobody can foresee (RFC 6455 §5.3), and the same when the frame
    /// is made again.
    fn mask(&self, frame: u64) -> [u8; 4] {
        let mut key = [0; 4];
        Payload::new(self.mask_seed, 0).fill(frame.wrapping_mul(8), &mut key);
        key
    }
}

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOTAL: u64 = 3000;

    fn outlet(framing: Framing, frame_bytes: u64) -> Outlet {
        let mut outlet = Outlet::new(framing, 99);
        outlet.push_text("hello");
        outlet.begin(Payload::new(1, 0), frame_bytes, TOTAL);
        outlet
    }

    /// Writes everything through a socket that takes `step` bytes of each `room`.
    fn write(outlet: &mut Outlet, room: usize, step: usize) -> Vec<u8> {
        let (mut wire, mut buffer) = (Vec::new(), vec![0; room]);
        loop {
            let filled = outlet.fill(&mut buffer);
            if filled == 0 {
                return wire;
            }
            let taken = filled.min(step);
            wire.extend_from_slice(&buffer[..taken]);
            outlet.advance(taken);
        }
    }

    /// Payload and texts as the other end sees them, and whether it ended.
    fn read(mut intake: Intake, wire: &[u8], step: usize) -> (Vec<u8>, Vec<Vec<u8>>, bool) {
        let (mut payload, mut texts, mut ended) = (Vec::new(), Vec::new(), false);
        let mut wire = wire.to_vec();
        for bytes in wire.chunks_mut(step) {
            let mut at = 0;
            while let Some((taken, item)) = intake.next(&mut bytes[at..]).expect("sound") {
                match item {
                    Item::Payload => payload.extend_from_slice(&bytes[at..at + taken]),
                    Item::Text(text) => texts.push(text),
                    Item::End => ended = true,
                    Item::Nothing | Item::MessageEnd | Item::Ping(_) => {}
                }
                at += taken;
            }
            assert_eq!(at, bytes.len());
        }
        (payload, texts, ended)
    }

    fn expected() -> Vec<u8> {
        let mut bytes = vec![0; TOTAL as usize];
        Payload::new(1, 0).fill(0, &mut bytes);
        bytes
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_however_it_is_cut(
            framing in prop::sample::select(vec![
                Framing::Raw, Framing::Chunked, Framing::WebSocket { is_client: true },
                Framing::WebSocket { is_client: false },
            ]),
            frame_bytes in 1..4000u64, room in 1..500usize, step in 1..500usize, read_step in 1..500usize,
        ) {
            let mut outlet = outlet(framing, frame_bytes);
            let mut wire = write(&mut outlet, room, step);
            prop_assert!(outlet.is_complete() && outlet.is_idle());
            prop_assert_eq!(outlet.payload_bytes(), TOTAL);
            outlet.finish();
            wire.extend(write(&mut outlet, room, step));
            let (intake, text_bytes) = match framing {
                Framing::Raw => (Intake::Raw, 6),
                Framing::Chunked => (Intake::Chunked(Chunked::new()), 6),
                Framing::WebSocket { is_client } => (Intake::websocket(is_client), 0),
            };
            prop_assert!(text_bytes == 0 || wire.starts_with(b"hello\n"));
            let (payload, texts, ended) = read(intake, &wire[text_bytes..], read_step);
            prop_assert_eq!(payload, expected());
            prop_assert_eq!(texts.len(), usize::from(text_bytes == 0));
            prop_assert_eq!(ended, framing != Framing::Raw);
        }

        #[test]
        fn no_bytes_make_an_intake_panic(
            kind in 0..5, bytes in proptest::collection::vec(any::<u8>(), 0..300), step in 1..50usize,
        ) {
            let mut intake = match kind {
                0 => Intake::Lines(Vec::new()),
                1 => Intake::Chunked(Chunked::new()),
                4 => Intake::Head(Vec::new()),
                _ => Intake::websocket(kind == 2),
            };
            let mut bytes = bytes;
            'all: for piece in bytes.chunks_mut(step) {
                let mut at = 0;
                loop {
                    match intake.next(&mut piece[at..]) {
                        Ok(Some((taken, _))) => at += taken,
                        Ok(None) => break,
                        Err(_) => break 'all,
                    }
                }
            }
        }
    }

    #[test]
    fn control_text_waits_for_the_end_of_a_frame() {
        let mut outlet = outlet(Framing::WebSocket { is_client: false }, 1000);
        let mut buffer = [0; 107];
        assert_eq!(outlet.fill(&mut buffer), 107);
        assert_eq!(outlet.advance(107), 96, "7 of text, 4 of header");
        outlet.push_text("later");
        let wire = write(&mut outlet, 4096, 4096);
        let text = [&b"\x81\x05"[..], b"later"].concat();
        let at = wire.windows(7).position(|window| window == text);
        assert_eq!(at, Some(1000 - 96));
    }

    #[test]
    fn a_limit_holds_back_whole_frames() {
        let mut outlet = outlet(Framing::Raw, 1000);
        outlet.set_limit(1999);
        assert_eq!(write(&mut outlet, 4096, 4096).len(), 6 + 1000);
        assert!(outlet.is_idle() && !outlet.has_payload() && !outlet.is_complete());
        outlet.set_limit(2000);
        assert_eq!(write(&mut outlet, 4096, 4096).len(), 1000);
    }

    #[test]
    fn a_head_ends_with_an_empty_line_wherever_it_is_cut() {
        let wire = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody";
        for cut in 1..wire.len() {
            let mut intake = Intake::Head(Vec::new());
            let (mut first, mut second) = (wire[..cut].to_vec(), wire[cut..].to_vec());
            let (taken, item) = intake.next(&mut first).expect("sound").expect("some");
            let (head, body_at) = match item {
                Item::Text(head) => (head, taken),
                _ => match intake.next(&mut second).expect("sound").expect("some") {
                    (taken, Item::Text(head)) => (head, cut + taken),
                    other => panic!("{other:?}"),
                },
            };
            assert_eq!(head, &wire[..wire.len() - 4]);
            assert_eq!(&wire[body_at..], b"body");
        }
    }

    #[test]
    fn a_text_without_end_is_refused() {
        let mut intake = Intake::Lines(Vec::new());
        let mut long = vec![b'x'; HELLO_BYTES_MAX + 1];
        let error = intake.next(&mut long).expect_err("refused");
        assert_eq!(error, IntakeError::Text(WireError::Length(HELLO_BYTES_MAX)));
    }
}
