//! WebSocket (RFC 6455): frames, and the two heads of the opening handshake.
//!
//! [`Decoder`] takes a stream of frames apart as it arrives and keeps none of the data: each step names a prefix of
//! the input, so that a message may be larger than any buffer and a reader may stop in the middle of one. Only the
//! bytes of a frame's header and of a control frame are gathered. Data is unmasked by the caller with [`Mask`].
//! Compression and other extensions are not offered and therefore refused.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

use super::http::Headers;

/// Appended to the key of a handshake (RFC 6455 §1.3).
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Longest header of a frame: two bytes, a 64-bit length and a mask (RFC 6455 §5.2).
pub const HEADER_BYTES_MAX: usize = 14;
/// Longest payload of a control frame (RFC 6455 §5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// What a frame is (RFC 6455 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// More of a message that was begun before.
    Continuation,
    /// Text, UTF-8.
    Text,
    /// Bytes.
    Binary,
    /// The sender is done.
    Close,
    /// The receiver should answer with a pong.
    Ping,
    /// The answer to a ping.
    Pong,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return None,
        })
    }

    fn bits(self) -> u8 {
        match self {
            Opcode::Continuation => 0,
            Opcode::Text => 1,
            Opcode::Binary => 2,
            Opcode::Close => 8,
            Opcode::Ping => 9,
            Opcode::Pong => 10,
        }
    }

    fn is_control(self) -> bool {
        self.bits() >= 8
    }
}

/// The masking key of one frame, and how far into the frame it has been applied (RFC 6455 §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask {
    key: [u8; 4],
    at: usize,
}

impl Mask {
    /// A mask at the beginning of its frame.
    pub fn new(key: [u8; 4]) -> Self {
        Self { key, at: 0 }
    }

    /// Masks or unmasks the next bytes of the frame.
    pub fn apply(&mut self, bytes: &mut [u8]) {
        let key = self.rotated();
        let mut words = bytes.chunks_exact_mut(4);
        for word in &mut words {
            for (byte, key) in word.iter_mut().zip(key) {
                *byte ^= key;
            }
        }
        for (byte, key) in words.into_remainder().iter_mut().zip(key) {
            *byte ^= key;
        }
        self.skip(bytes.len());
    }

    /// Passes over bytes that somebody else has masked.
    pub fn skip(&mut self, bytes: usize) {
        self.at = (self.at + bytes) % 4;
    }

    /// The key as it applies to the next four bytes.
    fn rotated(self) -> [u8; 4] {
        let mut key = self.key;
        key.rotate_left(self.at);
        key
    }
}

/// Writes the header of a frame that is a whole message, and returns its length.
pub fn encode_header(
    opcode: Opcode,
    payload_bytes: u64,
    mask: Option<[u8; 4]>,
    out: &mut [u8; HEADER_BYTES_MAX],
) -> usize {
    let masked = u8::from(mask.is_some()) << 7;
    out[0] = 0x80 | opcode.bits();
    let at = match payload_bytes {
        0..=125 => {
            out[1] = masked | payload_bytes as u8;
            2
        }
        126..=0xffff => {
            out[1] = masked | 126;
            out[2..4].copy_from_slice(&(payload_bytes as u16).to_be_bytes());
            4
        }
        _ => {
            out[1] = masked | 127;
            out[2..10].copy_from_slice(&payload_bytes.to_be_bytes());
            10
        }
    };
    match mask {
        Some(key) => {
            out[at..at + 4].copy_from_slice(&key);
            at + 4
        }
        None => at,
    }
}

/// Appends a whole frame with a small payload to `out`.
pub fn encode_message(opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    let mut header = [0; HEADER_BYTES_MAX];
    let bytes = encode_header(opcode, payload.len() as u64, mask, &mut header);
    out.extend_from_slice(&header[..bytes]);
    let begin = out.len();
    out.extend_from_slice(payload);
    if let Some(key) = mask {
        Mask::new(key).apply(&mut out[begin..]);
    }
}

/// The payload of a close frame (RFC 6455 §5.5.1).
pub fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    let room = CONTROL_BYTES_MAX - payload.len();
    let end = (0..=room.min(reason.len()))
        .rev()
        .find(|&end| reason.is_char_boundary(end));
    payload.extend_from_slice(
        reason
            .get(..end.unwrap_or(0))
            .unwrap_or_default()
            .as_bytes(),
    );
    payload
}

/// Takes the frames of one direction apart.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// Whether every frame must be masked: those of clients must, those of servers must not (RFC 6455 §5.1).
    wants_mask: bool,
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: usize,
    /// The frame whose payload is under way.
    frame: Option<Frame>,
    /// The message that was begun and is not finished.
    message: Option<Opcode>,
    control: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: Opcode,
    is_final: bool,
    left: u64,
    mask: Option<Mask>,
}

/// What a prefix of the input is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Header bytes, or part of a control frame: nothing to do.
    Framing(usize),
    /// Data of a message, masked with `mask` if there is one.
    Data {
        /// Length, not 0.
        bytes: usize,
        /// `true` for a text message.
        is_text: bool,
        /// Already advanced past nothing: apply it to these bytes.
        mask: Option<Mask>,
    },
    /// `bytes` of framing after which a message is complete.
    MessageEnd {
        /// Length, perhaps 0.
        bytes: usize,
        /// `true` for a text message.
        is_text: bool,
    },
    /// `bytes` that completed a control frame.
    Control {
        /// Length, not 0.
        bytes: usize,
        /// `Close`, `Ping` or `Pong`.
        opcode: Opcode,
        /// Its payload, unmasked, at most [`CONTROL_BYTES_MAX`] bytes.
        payload: Vec<u8>,
    },
}

impl Piece {
    /// Length of the prefix.
    pub fn bytes(&self) -> usize {
        match self {
            Piece::Framing(bytes)
            | Piece::Data { bytes, .. }
            | Piece::MessageEnd { bytes, .. }
            | Piece::Control { bytes, .. } => *bytes,
        }
    }
}

impl Decoder {
    /// For the frames of a client, which are masked, or of a server, which are not.
    pub fn new(wants_mask: bool) -> Self {
        Self {
            wants_mask,
            header: [0; HEADER_BYTES_MAX],
            header_bytes: 0,
            frame: None,
            message: None,
            control: Vec::new(),
        }
    }

    /// The next piece, a prefix of `input`; the next call wants the input behind it. `None` asks for more.
    ///
    /// # Errors
    ///
    /// If the input breaks RFC 6455 §5. The decoder is of no use after that.
    pub fn next(&mut self, input: &[u8]) -> Result<Option<Piece>, FrameError> {
        let Some(frame) = &mut self.frame else {
            return self.header(input);
        };
        if frame.left == 0 {
            let frame = *frame;
            return Ok(Some(self.finish(frame, 0)));
        }
        let bytes = usize::try_from(frame.left)
            .unwrap_or(usize::MAX)
            .min(input.len());
        if bytes == 0 {
            return Ok(None);
        }
        frame.left -= bytes as u64;
        let mask = frame.mask;
        if let Some(mask) = &mut frame.mask {
            mask.skip(bytes);
        }
        let frame = *frame;
        if !frame.opcode.is_control() {
            let is_text = self.message == Some(Opcode::Text);
            return Ok(Some(Piece::Data {
                bytes,
                is_text,
                mask,
            }));
        }
        let begin = self.control.len();
        self.control
            .extend_from_slice(input.get(..bytes).unwrap_or_default());
        if let (Some(mut mask), Some(new)) = (mask, self.control.get_mut(begin..)) {
            mask.apply(new);
        }
        Ok(Some(match frame.left {
            0 => self.finish(frame, bytes),
            _ => Piece::Framing(bytes),
        }))
    }

    /// Whether the stream is between two messages.
    pub fn is_between_messages(&self) -> bool {
        self.frame.is_none() && self.message.is_none() && self.header_bytes == 0
    }

    fn finish(&mut self, frame: Frame, bytes: usize) -> Piece {
        self.frame = None;
        if frame.opcode.is_control() {
            return Piece::Control {
                bytes,
                opcode: frame.opcode,
                payload: std::mem::take(&mut self.control),
            };
        }
        if !frame.is_final {
            return Piece::Framing(bytes);
        }
        let is_text = self.message.take() == Some(Opcode::Text);
        Piece::MessageEnd { bytes, is_text }
    }

    /// Gathers a header, and takes it apart once it is whole.
    fn header(&mut self, input: &[u8]) -> Result<Option<Piece>, FrameError> {
        let mut taken = 0;
        loop {
            let wanted = self.header_length();
            if self.header_bytes >= wanted {
                break;
            }
            let Some(&byte) = input.get(taken) else {
                return Ok((taken > 0).then_some(Piece::Framing(taken)));
            };
            self.header[self.header_bytes] = byte;
            self.header_bytes += 1;
            taken += 1;
        }
        let frame = self.frame_of_header()?;
        self.header_bytes = 0;
        if !frame.opcode.is_control() && frame.opcode != Opcode::Continuation {
            self.message = Some(frame.opcode);
        }
        self.frame = Some(frame);
        Ok(Some(Piece::Framing(taken)))
    }

    /// How long the header is, as far as its bytes tell.
    fn header_length(&self) -> usize {
        let [_, second, ..] = self.header;
        if self.header_bytes < 2 {
            return 2;
        }
        let length = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + if second & 0x80 != 0 { 4 } else { 0 }
    }

    fn frame_of_header(&self) -> Result<Frame, FrameError> {
        let [first, second, rest @ ..] = &self.header;
        if first & 0x70 != 0 {
            return Err(FrameError::Extension);
        }
        let opcode = Opcode::from_bits(first & 0x0f).ok_or(FrameError::Opcode(first & 0x0f))?;
        let is_masked = second & 0x80 != 0;
        if is_masked != self.wants_mask {
            return Err(FrameError::Mask);
        }
        let (left, key) = match (second & 0x7f, rest) {
            (126, [a, b, key @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), &key[..]),
            (127, [a, b, c, d, e, f, g, h, key @ ..]) => {
                let length = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
                (length, &key[..])
            }
            (length, key) => (u64::from(length), &key[..]),
        };
        // The highest bit must be 0 (RFC 6455 §5.2).
        if left > i64::MAX as u64 {
            return Err(FrameError::Length);
        }
        let is_final = first & 0x80 != 0;
        if opcode.is_control() && (left > CONTROL_BYTES_MAX as u64 || !is_final) {
            return Err(FrameError::Control);
        }
        if !opcode.is_control() && (opcode == Opcode::Continuation) != self.message.is_some() {
            return Err(FrameError::Sequence);
        }
        let key = key.first_chunk().copied().unwrap_or_default();
        Ok(Frame {
            opcode,
            is_final,
            left,
            mask: is_masked.then(|| Mask::new(key)),
        })
    }
}

/// Why a stream of frames makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// A reserved bit is set, and no extension was agreed on.
    Extension,
    /// Not an opcode of RFC 6455.
    Opcode(u8),
    /// A client's frame without a mask, or a server's with one.
    Mask,
    /// A length above 2^63 - 1.
    Length,
    /// A control frame that is fragmented or longer than 125 bytes.
    Control,
    /// A continuation of nothing, or a new message inside another.
    Sequence,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Extension => f.write_str("a WebSocket frame with a reserved bit"),
            FrameError::Opcode(bits) => write!(f, "a WebSocket frame with opcode {bits}"),
            FrameError::Mask => f.write_str(
                "a WebSocket frame is masked where it must not be, or not where it must",
            ),
            FrameError::Length => f.write_str("a WebSocket frame longer than 2^63 - 1 bytes"),
            FrameError::Control => {
                f.write_str("a WebSocket control frame in fragments or longer than 125 bytes")
            }
            FrameError::Sequence => f.write_str("WebSocket fragments out of order"),
        }
    }
}

impl std::error::Error for FrameError {}

/// The `Sec-WebSocket-Accept` that belongs to a `Sec-WebSocket-Key` (RFC 6455 §4.2.2).
pub fn accept_key(key: &str) -> String {
    let mut digest = Sha1::new();
    digest.update(key.as_bytes());
    digest.update(KEY_SUFFIX);
    STANDARD.encode(digest.finalize())
}

/// A `Sec-WebSocket-Key` made of 16 random bytes.
pub fn new_key(random: [u8; 16]) -> String {
    STANDARD.encode(random)
}

/// The key of a request that asks for a WebSocket in order (RFC 6455 §4.2.1).
///
/// # Errors
///
/// What the request lacks, in words for the answer.
pub fn requested_key<'a>(headers: &Headers<'a>) -> Result<&'a str, &'static str> {
    let says = |name, wanted: &str| {
        headers
            .tokens(name)
            .any(|token| token.eq_ignore_ascii_case(wanted.as_bytes()))
    };
    if !says("Upgrade", "websocket") || !says("Connection", "upgrade") {
        return Err("not a request for a WebSocket");
    }
    if headers.get("Sec-WebSocket-Version") != Some("13") {
        return Err("only version 13 of WebSocket is known");
    }
    let key = headers
        .get("Sec-WebSocket-Key")
        .ok_or("a Sec-WebSocket-Key is missing")?;
    match STANDARD.decode(key) {
        Ok(bytes) if bytes.len() == 16 => Ok(key),
        _ => Err("the Sec-WebSocket-Key is not 16 bytes in base64"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::http::decode;

    /// Messages with their kind, and control frames, as a decoder reports them.
    #[derive(Debug, PartialEq, Eq, Clone)]
    enum Seen {
        Message(bool, Vec<u8>),
        Control(u8, Vec<u8>),
    }

    fn run(input: &[u8], step: usize, wants_mask: bool) -> Result<Vec<Seen>, FrameError> {
        let mut decoder = Decoder::new(wants_mask);
        let (mut seen, mut message, mut at) = (Vec::new(), Vec::new(), 0);
        for end in (0..input.len()).step_by(step).skip(1).chain([input.len()]) {
            while let Some(piece) = decoder.next(&input[at..end])? {
                let bytes = &input[at..at + piece.bytes()];
                at += piece.bytes();
                match piece {
                    Piece::Framing(_) => {}
                    Piece::Data { mask, .. } => {
                        let mut data = bytes.to_vec();
                        if let Some(mut mask) = mask {
                            mask.apply(&mut data);
                        }
                        message.extend(data);
                    }
                    Piece::MessageEnd { is_text, .. } => {
                        seen.push(Seen::Message(is_text, std::mem::take(&mut message)));
                    }
                    Piece::Control {
                        opcode, payload, ..
                    } => seen.push(Seen::Control(opcode.bits(), payload)),
                }
            }
        }
        assert_eq!(at, input.len());
        Ok(seen)
    }

    #[test]
    fn the_examples_of_the_rfc_are_understood() {
        // RFC 6455 §5.7.
        let hello = Seen::Message(true, b"Hello".to_vec());
        let plain = b"\x81\x05Hello";
        assert_eq!(run(plain, 1, false), Ok(vec![hello.clone()]));
        let masked = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        assert_eq!(run(masked, 3, true), Ok(vec![hello.clone()]));
        let fragments = b"\x01\x03Hel\x80\x02lo";
        assert_eq!(run(fragments, 100, false), Ok(vec![hello.clone()]));
        let with_ping = b"\x01\x03Hel\x89\x05Hello\x80\x02lo";
        let ping = Seen::Control(9, b"Hello".to_vec());
        assert_eq!(run(with_ping, 2, false), Ok(vec![ping, hello]));
        assert_eq!(
            accept_key("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn what_the_rfc_forbids_is_refused() {
        let refused = |bytes: &[u8], error| assert_eq!(run(bytes, 100, false), Err(error));
        refused(b"\xc1\x00", FrameError::Extension);
        refused(b"\x83\x00", FrameError::Opcode(3));
        refused(b"\x81\x80\0\0\0\0", FrameError::Mask);
        refused(b"\x82\x7f\x80\0\0\0\0\0\0\0", FrameError::Length);
        refused(b"\x89\x7e\x00\x7e", FrameError::Control);
        refused(b"\x09\x00", FrameError::Control);
        refused(b"\x80\x00", FrameError::Sequence);
        refused(b"\x01\x00\x81\x00", FrameError::Sequence);
        assert_eq!(run(b"\x81\x00", 100, true), Err(FrameError::Mask));
    }

    #[test]
    fn a_close_frame_holds_its_code_and_as_much_of_the_reason_as_fits() {
        assert_eq!(close_payload(1000, ""), [0x03, 0xe8]);
        let long = close_payload(1002, &"é".repeat(100));
        assert_eq!(long.len(), 124, "whole letters only");
    }

    #[test]
    fn a_request_for_a_websocket_is_checked() {
        let request = |lines: &str| format!("GET /ws HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let good = request(
            "Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        );
        let key = |text: &str| {
            let (head, _) = decode(text.as_bytes()).expect("sound").expect("whole");
            requested_key(&head.headers).map(str::to_owned)
        };
        assert_eq!(key(&good).as_deref(), Ok("dGhlIHNhbXBsZSBub25jZQ=="));
        for (wanted, spoilt) in [
            ("WebSocket\r\n", "h2c\r\n"),
            ("Version: 13", "Version: 8"),
            ("ZQ==", ""),
        ] {
            assert!(key(&good.replace(wanted, spoilt)).is_err(), "{spoilt}");
        }
    }

    proptest! {
        #[test]
        fn messages_survive_any_split(
            messages in proptest::collection::vec(
                (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..70_000), any::<[u8; 4]>()), 0..4),
            step in 1usize..9000,
            masked in any::<bool>(),
        ) {
            let mut wire = Vec::new();
            let mut sent = Vec::new();
            for (is_text, payload, key) in messages {
                let opcode = if is_text { Opcode::Text } else { Opcode::Binary };
                encode_message(opcode, &payload, masked.then_some(key), &mut wire);
                encode_message(Opcode::Ping, &key, masked.then_some(key), &mut wire);
                sent.push(Seen::Message(is_text, payload));
                sent.push(Seen::Control(9, key.to_vec()));
            }
            prop_assert_eq!(run(&wire, step, masked), Ok(sent));
        }

        #[test]
        fn any_bytes_mean_the_same_however_they_are_cut(
            bytes in proptest::collection::vec(any::<u8>(), 0..600),
            step in 1usize..40,
            masked in any::<bool>(),
        ) {
            let whole = run_far(&bytes, usize::MAX, masked);
            prop_assert_eq!(run_far(&bytes, step, masked), whole);
        }

        #[test]
        fn a_mask_in_pieces_is_the_mask_at_once(
            bytes in proptest::collection::vec(any::<u8>(), 0..100), key in any::<[u8; 4]>(), cut in 0usize..100,
        ) {
            let mut pieces = bytes.clone();
            let (head, tail) = pieces.split_at_mut(cut.min(bytes.len()));
            let mut mask = Mask::new(key);
            mask.apply(head);
            mask.apply(tail);
            let naive: Vec<u8> =
                bytes.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect();
            prop_assert_eq!(pieces, naive);
        }
    }

    /// Everything seen before an error, and the error.
    fn run_far(input: &[u8], step: usize, masked: bool) -> (usize, u64, Option<FrameError>) {
        let mut decoder = Decoder::new(masked);
        let (mut at, mut data, mut seen) = (0, 0u64, 0);
        let ends = (0..input.len()).step_by(step.min(input.len().max(1)));
        for end in ends.skip(1).chain([input.len()]) {
            loop {
                match decoder.next(&input[at..end]) {
                    Ok(None) => break,
                    Ok(Some(piece)) => {
                        at += piece.bytes();
                        match piece {
                            Piece::Data { bytes, .. } => data += bytes as u64,
                            Piece::Framing(_) => {}
                            _ => seen += 1,
                        }
                    }
                    Err(error) => return (seen, data, Some(error)),
                }
            }
        }
        (seen, data, None)
    }
}
