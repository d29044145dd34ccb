//! What a connection has to write, made of very little state: what a socket did not take is not kept but made again, so
//! that ten thousand stalled senders hold no buffers.

use super::Framing;
use crate::probe::payload::Payload;
use crate::proto::websocket::{self, HEADER_BYTES_MAX, Mask, Opcode, close_payload};

/// The longest thing in front of a piece of payload: a chunk's size line, or a frame's header.
const PREFIX_BYTES_MAX: usize = 18;

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
