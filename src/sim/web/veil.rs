//! A toy that stands for TLS: records with a length prefix, XOR with a running number, a handshake of a few
//! records, and a farewell. It hides nothing; it has the edges that TLS has: plaintext that waits inside, reads
//! that bring no plaintext, writes during the handshake, an end that was or was not announced.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use super::super::media::Rng;
use crate::net::{Io, Net, Stage, Watched, Writer};

const HELLO: u8 = 1;
const FINISHED: u8 = 2;
const DATA: u8 = 3;
/// Carries nothing and may come at any time.
const TICKET: u8 = 4;
const FAREWELL: u8 = 5;

/// Hellos that a server sends.
const HELLOS: u32 = 3;
const HEADER_BYTES: usize = 3;
const RECORD_BYTES_MAX: usize = 2000;
/// Transformed bytes kept in one direction, more or less.
const HELD_BYTES_MAX: usize = 4 << 10;
/// Socket reads within one call.
const READS_PER_CALL: usize = 4;

/// One direction: records are numbered, so that none can be lost, doubled or swapped unnoticed.
#[derive(Debug, Default)]
struct Direction(u8);

impl Direction {
    fn seal(&mut self, kind: u8, plain: &[u8], out: &mut VecDeque<u8>) {
        out.push_back(kind);
        out.extend((plain.len() as u16).to_be_bytes());
        out.extend(plain.iter().map(|byte| byte ^ self.0 ^ 0x5a));
        self.0 = self.0.wrapping_add(1);
    }

    /// Takes a whole record off the front of `bytes`.
    fn open(&mut self, bytes: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
        let end = record_bytes(bytes)?;
        let plain = bytes[HEADER_BYTES..end].iter();
        let plain = plain.map(|byte| byte ^ self.0 ^ 0x5a).collect();
        self.0 = self.0.wrapping_add(1);
        let kind = bytes[0];
        bytes.drain(..end);
        Some((kind, plain))
    }
}

/// Length of the record at the front, if it is whole.
fn record_bytes(bytes: &[u8]) -> Option<usize> {
    let [_, high, low, ..] = *bytes else {
        return None;
    };
    let end = HEADER_BYTES + usize::from(u16::from_be_bytes([high, low]));
    (bytes.len() >= end).then_some(end)
}

/// The router's end.
#[derive(Debug, Default)]
pub(in crate::sim) struct Veil {
    incoming: Vec<u8>,
    plain: VecDeque<u8>,
    outgoing: VecDeque<u8>,
    /// Taken before the handshake was over.
    early: Vec<u8>,
    opened: Direction,
    sealed: Direction,
    hellos: u32,
    greeted: bool,
    announced: bool,
    ended: bool,
    failed: bool,
}

impl Veil {
    pub(in crate::sim) fn new(host: &str) -> Self {
        let mut veil = Self::default();
        veil.sealed.seal(HELLO, host.as_bytes(), &mut veil.outgoing);
        veil
    }

    fn push(&mut self, socket: &mut Watched, net: &mut dyn Net) -> io::Result<()> {
        while socket.writable && !self.outgoing.is_empty() {
            let bytes = self.outgoing.make_contiguous();
            if let Io::Done(count) = socket.write(net, &[IoSlice::new(bytes)])? {
                self.outgoing.drain(..count);
            }
        }
        Ok(())
    }

    /// Opens whole records until one has brought plaintext.
    fn open_records(&mut self) -> io::Result<()> {
        while self.plain.is_empty() && !self.announced {
            if let [_, high, low, ..] = self.incoming[..]
                && usize::from(u16::from_be_bytes([high, low])) > RECORD_BYTES_MAX
            {
                return Err(self.fail());
            }
            let Some((kind, plain)) = self.opened.open(&mut self.incoming) else {
                return Ok(());
            };
            match kind {
                HELLO if self.hellos < HELLOS => {
                    self.hellos += 1;
                    if self.hellos == HELLOS {
                        self.sealed.seal(FINISHED, b"", &mut self.outgoing);
                        self.greeted = true;
                        let early = std::mem::take(&mut self.early);
                        self.seal_data(&early);
                    }
                }
                DATA if self.greeted => self.plain.extend(plain),
                TICKET if self.greeted => {}
                FAREWELL if self.greeted => self.announced = true,
                _ => return Err(self.fail()),
            }
        }
        Ok(())
    }

    fn fail(&mut self) -> io::Error {
        self.failed = true;
        io::ErrorKind::InvalidData.into()
    }

    fn seal_data(&mut self, plain: &[u8]) {
        for piece in plain.chunks(RECORD_BYTES_MAX) {
            self.sealed.seal(DATA, piece, &mut self.outgoing);
        }
    }

    /// Reads a few pieces from the socket, until that is blocked: more may wait inside then, for which no edge
    /// will come. False if there was nothing.
    fn fill(&mut self, socket: &mut Watched, net: &mut dyn Net) -> io::Result<bool> {
        let mut bytes = [0; HELD_BYTES_MAX];
        for piece in 0..READS_PER_CALL {
            match socket.read(net, &mut bytes) {
                Ok(Io::Done(0)) => self.ended = true,
                Ok(Io::Done(count)) => self.incoming.extend_from_slice(&bytes[..count]),
                Ok(Io::Blocked) => return Ok(piece > 0),
                // It will be said again.
                Err(_) if piece > 0 => return Ok(true),
                Err(error) => return Err(error),
            }
            if self.ended {
                break;
            }
        }
        Ok(true)
    }

    fn room(&self) -> usize {
        HELD_BYTES_MAX.saturating_sub(self.outgoing.len().max(self.early.len()))
    }
}

impl Stage for Veil {
    fn read(
        &mut self,
        socket: &mut Watched,
        net: &mut dyn Net,
        plain: &mut [u8],
    ) -> io::Result<Io<usize>> {
        assert!(!plain.is_empty(), "read into nothing");
        let mut filled = 0;
        for _ in 0..READS_PER_CALL {
            if self.failed && filled == 0 {
                return Err(io::ErrorKind::InvalidData.into());
            }
            while filled < plain.len() && !self.failed {
                if let Err(error) = self.open_records()
                    && filled == 0
                {
                    return Err(error);
                }
                let count = self.plain.len().min(plain.len() - filled);
                if count == 0 {
                    break;
                }
                for (to, from) in plain[filled..].iter_mut().zip(self.plain.drain(..count)) {
                    *to = from;
                }
                filled += count;
            }
            if filled > 0 || self.failed {
                break;
            }
            self.push(socket, net)?;
            if self.announced {
                return Ok(Io::Done(0));
            }
            if self.ended {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if !self.fill(socket, net)? {
                return Ok(Io::Blocked);
            }
        }
        Ok(if filled > 0 {
            Io::Done(filled)
        } else {
            Io::Blocked
        })
    }

    fn write(
        &mut self,
        socket: &mut Watched,
        net: &mut dyn Net,
        parts: &[IoSlice<'_>],
    ) -> io::Result<Io<usize>> {
        self.push(socket, net)?;
        let mut taken = 0;
        for part in parts {
            let count = part.len().min(self.room());
            if self.greeted {
                self.seal_data(&part[..count]);
            } else {
                self.early.extend_from_slice(&part[..count]);
            }
            taken += count;
            if count < part.len() {
                break;
            }
        }
        self.push(socket, net)?;
        Ok(if taken > 0 {
            Io::Done(taken)
        } else {
            Io::Blocked
        })
    }

    fn flush(&mut self, socket: &mut Watched, net: &mut dyn Net) -> io::Result<Io<()>> {
        let mut reads = READS_PER_CALL;
        while !self.greeted && reads > 0 {
            self.open_records()?;
            if self.greeted {
                break;
            }
            if self.ended {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if !socket.readable || !self.fill(socket, net)? {
                break;
            }
            reads -= 1;
        }
        self.push(socket, net)?;
        let over = self.greeted && self.outgoing.is_empty();
        Ok(if over { Io::Done(()) } else { Io::Blocked })
    }

    fn close(&mut self, socket: &mut Watched, net: &mut dyn Net) {
        self.sealed.seal(FAREWELL, b"", &mut self.outgoing);
        let _ = self.push(socket, net);
    }

    fn can_read(&self, socket: &Watched) -> bool {
        let waits = !self.plain.is_empty() || record_bytes(&self.incoming).is_some();
        waits || self.announced || self.ended || self.failed || socket.readable
    }

    fn can_write(&self, socket: &Watched) -> bool {
        self.room() > 0 || (!self.outgoing.is_empty() && socket.writable)
    }

    fn wants_write(&self) -> bool {
        !self.outgoing.is_empty()
    }

    fn is_handshaking(&self) -> bool {
        !self.greeted
    }

    fn held_bytes(&self) -> usize {
        self.incoming.len() + self.plain.len() + self.outgoing.len() + self.early.len()
    }
}

/// The server's end.
#[derive(Debug, Default)]
pub(in crate::sim) struct Mirror {
    incoming: Vec<u8>,
    opened: Direction,
    sealed: Direction,
    greeted: bool,
    finished: bool,
}

impl Mirror {
    /// Takes what came; appends plaintext to `plain` and what the handshake answers to `out`.
    pub(in crate::sim) fn receive(
        &mut self,
        bytes: &[u8],
        rng: &mut Rng,
        plain: &mut Vec<u8>,
        out: &mut VecDeque<u8>,
    ) {
        self.incoming.extend_from_slice(bytes);
        while let Some((kind, content)) = self.opened.open(&mut self.incoming) {
            match kind {
                HELLO if !self.greeted => {
                    assert!(!content.is_empty(), "the server's name is told");
                    self.greeted = true;
                    for _ in 0..HELLOS {
                        let filler = vec![7; rng.count(0, RECORD_BYTES_MAX)];
                        self.sealed.seal(HELLO, &filler, out);
                    }
                }
                FINISHED if self.greeted && !self.finished => {
                    self.finished = true;
                    for _ in 0..rng.count(0, 2) {
                        self.sealed.seal(TICKET, b"ticket", out);
                    }
                }
                DATA if self.finished => plain.extend(content),
                FAREWELL => {}
                _ => panic!("a record of kind {kind}"),
            }
        }
    }

    /// Whether a record has begun to come.
    pub(in crate::sim) fn is_inside_record(&self) -> bool {
        !self.incoming.is_empty()
    }

    pub(in crate::sim) fn is_ready(&self) -> bool {
        self.finished
    }

    pub(in crate::sim) fn seal(&mut self, plain: &[u8], rng: &mut Rng, out: &mut VecDeque<u8>) {
        let mut rest = plain;
        while !rest.is_empty() {
            let count = rest.len().min(if rng.one_in(4) {
                rng.count(1, 50)
            } else {
                RECORD_BYTES_MAX
            });
            self.sealed.seal(DATA, &rest[..count], out);
            rest = &rest[count..];
            if rng.one_in(20) {
                self.sealed.seal(TICKET, b"", out);
            }
        }
    }

    pub(in crate::sim) fn take_leave(&mut self, out: &mut VecDeque<u8>) {
        self.sealed.seal(FAREWELL, b"", out);
    }
}
