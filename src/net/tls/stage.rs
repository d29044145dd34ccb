//! `TlsStage`: one TLS connection, of a client or of a server.
//!
//! Ciphertext is read from the socket in large pieces into `staged` and handed to rustls one record at a time, and
//! only when the plaintext of the record before it is gone. So a user who stops reading leaves at most one
//! record of plaintext and one piece of ciphertext here, and everything else in the kernel.
//!
//! ```text
//! socket --read--> staged --one record--> rustls --plaintext--> user
//! socket <-write--------- rustls (bounded) <------plaintext---- user
//! ```

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

use super::TlsError;
use crate::limits::{
    TLS_READ_BYTES, TLS_READS_PER_CALL, TLS_RECORD_BYTES_MAX, TLS_WRITE_BYTES_MAX,
};
use crate::net::{Io, Net, Stage, Watched, Writer};

/// Bytes before a record's fragment: type, version, 16-bit big-endian length (RFC 8446 §5.1).
const RECORD_HEADER_BYTES: usize = 5;

/// One TLS connection.
pub struct TlsStage {
    connection: Connection,
    /// Who was asked for, or what to call the peer, for error messages.
    server: String,
    staged: Staged,
    /// Plaintext that waits in `connection`.
    plain_bytes: usize,
    /// Ciphertext that waits in `connection` for the socket.
    cipher_bytes: usize,
    /// Plaintext that waits in `connection` for the end of the handshake.
    early_bytes: usize,
    /// The peer has said that nothing more comes.
    announced: bool,
    /// The socket has come to its end.
    ended: bool,
    /// Found after bytes that had to be delivered first.
    deferred: Option<io::Error>,
}

/// What taking ciphertext in has come to.
enum Intake {
    /// Plaintext waits.
    Plain,
    /// Something was taken in; try again.
    More,
    /// The peer has announced the end.
    End,
    /// Only an edge, or another call, helps.
    Blocked,
}

impl TlsStage {
    pub(super) fn new(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, TlsError> {
        let server = name.to_str().into_owned();
        let connection = ClientConnection::new(config, name)
            .map_err(|error| TlsError::of_connection(&server, error))?;
        Self::over(connection.into(), server)
    }

    pub(super) fn accept(config: Arc<ServerConfig>) -> Result<Self, TlsError> {
        let client = "the client".to_owned();
        let connection = ServerConnection::new(config)
            .map_err(|error| TlsError::of_connection(&client, error))?;
        Self::over(connection.into(), client)
    }

    fn over(mut connection: Connection, server: String) -> Result<Self, TlsError> {
        connection.set_buffer_limit(Some(TLS_WRITE_BYTES_MAX));
        let mut stage = Self {
            connection,
            server,
            staged: Staged::default(),
            plain_bytes: 0,
            cipher_bytes: 0,
            early_bytes: 0,
            announced: false,
            ended: false,
            deferred: None,
        };
        stage
            .process()
            .map_err(|error| TlsError::of_connection(&stage.server, error))?;
        Ok(stage)
    }

    /// Takes plaintext out of rustls, or ciphertext in, until `plain` is full or there is no more.
    fn fill(
        &mut self,
        socket: &mut Watched,
        net: &mut dyn Net,
        plain: &mut [u8],
        filled: &mut usize,
    ) -> io::Result<Intake> {
        let mut reads = TLS_READS_PER_CALL;
        while let Some(room) = plain.get_mut(*filled..).filter(|room| !room.is_empty()) {
            match self.take_in(socket, net, &mut reads)? {
                Intake::Plain => {
                    let count = self.connection.reader().read(room)?;
                    self.plain_bytes = self.plain_bytes.saturating_sub(count);
                    *filled += count;
                }
                Intake::More => {}
                end => return Ok(end),
            }
        }
        Ok(Intake::Plain)
    }

    /// One step of taking ciphertext in: a record from `staged`, or one of `reads` from the socket.
    fn take_in(
        &mut self,
        socket: &mut Watched,
        net: &mut dyn Net,
        reads: &mut usize,
    ) -> io::Result<Intake> {
        if self.plain_bytes > 0 {
            return Ok(Intake::Plain);
        }
        if self.announced {
            return Ok(Intake::End);
        }
        if let Some(record) = self.staged.record() {
            self.feed(record)?;
            return Ok(Intake::More);
        }
        if self.ended {
            return Err(self.cut_off().into());
        }
        if !socket.readable || *reads == 0 {
            return Ok(Intake::Blocked);
        }
        *reads -= 1;
        match socket.read(net, self.staged.room())? {
            Io::Done(0) => self.ended = true,
            Io::Done(count) => self.staged.note_read(count),
            Io::Blocked => return Ok(Intake::Blocked),
        }
        Ok(Intake::More)
    }

    /// Hands the first `count` staged bytes to rustls.
    fn feed(&mut self, count: usize) -> io::Result<()> {
        let mut record = self.staged.take(count);
        while !record.is_empty() {
            // Takes a few KiB at a time, and nothing from a peer that has announced its end.
            match self.connection.read_tls(&mut record) {
                Ok(0) => break,
                Ok(_) => {}
                // A handshake message that is larger than rustls will join.
                Err(error) => return Err(self.protocol(error.to_string()).into()),
            }
        }
        self.process()
            .map_err(|error| TlsError::of_connection(&self.server, error).into())
    }

    /// Lets rustls work on what it has, and notes what came of it.
    fn process(&mut self) -> Result<(), rustls::Error> {
        let state = self.connection.process_new_packets()?;
        self.plain_bytes = state.plaintext_bytes_to_read();
        self.cipher_bytes = state.tls_bytes_to_write();
        self.announced = state.peer_has_closed();
        if !self.connection.is_handshaking() {
            self.early_bytes = 0;
        }
        Ok(())
    }

    /// Sends what waits, as far as the socket takes it.
    fn push(&mut self, socket: &mut Watched, net: &mut dyn Net) -> io::Result<()> {
        while self.connection.wants_write() && socket.writable {
            let mut outlet = Outlet { socket, net };
            match self.connection.write_tls(&mut outlet) {
                Ok(count) => self.cipher_bytes = self.cipher_bytes.saturating_sub(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn cut_off(&self) -> TlsError {
        let server = self.server.clone();
        if self.connection.is_handshaking() {
            TlsError::ClosedInHandshake { server }
        } else if self.staged.len() == 0 {
            TlsError::Unannounced { server }
        } else {
            TlsError::Truncated { server }
        }
    }

    fn protocol(&self, reason: String) -> TlsError {
        TlsError::Protocol {
            server: self.server.clone(),
            reason,
        }
    }
}

impl Stage for TlsStage {
    fn read(
        &mut self,
        socket: &mut Watched,
        net: &mut dyn Net,
        plain: &mut [u8],
    ) -> io::Result<Io<usize>> {
        debug_assert!(!plain.is_empty(), "`Done(0)` would look like the end");
        if let Some(error) = self.deferred.take() {
            return Err(error);
        }
        let mut filled = 0;
        let intake = self.fill(socket, net, plain, &mut filled);
        // The handshake may have an answer, or a complaint about the peer. What was read counts for more than
        // that it cannot be sent.
        let pushed = self.push(socket, net);
        match intake.and_then(|intake| pushed.map(|()| intake)) {
            Ok(Intake::End) => Ok(Io::Done(filled)),
            Ok(_) if filled > 0 => Ok(Io::Done(filled)),
            Ok(_) => Ok(Io::Blocked),
            Err(error) if filled > 0 => {
                self.deferred = Some(error);
                Ok(Io::Done(filled))
            }
            Err(error) => Err(error),
        }
    }

    fn write(
        &mut self,
        socket: &mut Watched,
        net: &mut dyn Net,
        parts: &[IoSlice<'_>],
    ) -> io::Result<Io<usize>> {
        self.push(socket, net)?;
        let taken = self.connection.writer().write_vectored(parts)?;
        if taken == 0 {
            let nothing = parts.iter().all(|part| part.is_empty());
            return Ok(if nothing { Io::Done(0) } else { Io::Blocked });
        }
        if self.connection.is_handshaking() {
            self.early_bytes += taken;
        }
        self.process()
            .map_err(|error| TlsError::of_connection(&self.server, error))?;
        self.push(socket, net)?;
        Ok(Io::Done(taken))
    }

    fn flush(&mut self, socket: &mut Watched, net: &mut dyn Net) -> io::Result<Io<()>> {
        let mut reads = TLS_READS_PER_CALL;
        let mut intake = Ok(Intake::More);
        while self.connection.is_handshaking() && matches!(intake, Ok(Intake::More)) {
            intake = self.take_in(socket, net, &mut reads);
        }
        let pushed = self.push(socket, net);
        intake?;
        pushed?;
        let over = !self.connection.is_handshaking() && !self.connection.wants_write();
        Ok(if over { Io::Done(()) } else { Io::Blocked })
    }

    fn close(&mut self, socket: &mut Watched, net: &mut dyn Net) {
        self.connection.send_close_notify();
        // Whoever is not there to hear it has lost nothing.
        let _ = self.push(socket, net);
    }

    fn can_read(&self, socket: &Watched) -> bool {
        self.plain_bytes > 0
            || self.announced
            || self.ended
            || self.deferred.is_some()
            || self.staged.record().is_some()
            || socket.readable
    }

    fn can_write(&self, socket: &Watched) -> bool {
        self.cipher_bytes.max(self.early_bytes) < TLS_WRITE_BYTES_MAX
            || (self.connection.wants_write() && socket.writable)
    }

    fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    fn held_bytes(&self) -> usize {
        self.staged.len() + self.plain_bytes + self.cipher_bytes + self.early_bytes
    }
}

impl fmt::Debug for TlsStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStage")
            .field("server", &self.server)
            .field("held_bytes", &self.held_bytes())
            .finish_non_exhaustive()
    }
}

/// Ciphertext from the socket that rustls has not seen yet, at most [`TLS_READ_BYTES`].
#[derive(Default)]
struct Staged {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Staged {
    fn len(&self) -> usize {
        self.end - self.start
    }

    /// Length of the first record, if it is whole.
    fn record(&self) -> Option<usize> {
        let waiting = self.bytes.get(self.start..self.end)?;
        record_bytes(waiting)
    }

    /// Takes the first `count` bytes out.
    fn take(&mut self, count: usize) -> &[u8] {
        let start = self.start;
        self.start = (start + count).min(self.end);
        &self.bytes[start..self.start]
    }

    /// Where the next read goes; asked only when there is no whole record, so that there is room for one.
    fn room(&mut self) -> &mut [u8] {
        self.bytes.copy_within(self.start..self.end, 0);
        let full = !self.bytes.is_empty() && self.end == self.bytes.len();
        self.end -= self.start;
        self.start = 0;
        if self.bytes.is_empty() {
            self.bytes.resize(TLS_RECORD_BYTES_MAX, 0);
        } else if full && self.bytes.len() < TLS_READ_BYTES {
            // A connection that fills small pieces is worth a large one.
            self.bytes.resize(TLS_READ_BYTES, 0);
        }
        &mut self.bytes[self.end..]
    }

    fn note_read(&mut self, count: usize) {
        debug_assert!(count <= self.bytes.len() - self.end);
        self.end += count;
    }
}

/// Length of the record at the start of `waiting`, if it is whole. What cannot become a record counts as one, so
/// that rustls sees and refuses it.
fn record_bytes(waiting: &[u8]) -> Option<usize> {
    // change_cipher_spec, alert, handshake, application_data (RFC 8446 §5.1).
    let is_type = |byte: u8| (20..=23).contains(&byte);
    let refused = || Some(waiting.len().min(TLS_RECORD_BYTES_MAX));
    match waiting {
        [first, ..] if !is_type(*first) && waiting.len() >= RECORD_HEADER_BYTES => refused(),
        [_, _, _, high, low, ..] => {
            let whole = RECORD_HEADER_BYTES + usize::from(u16::from_be_bytes([*high, *low]));
            if whole > TLS_RECORD_BYTES_MAX {
                refused()
            } else {
                Some(whole).filter(|whole| *whole <= waiting.len())
            }
        }
        _ => None,
    }
}

/// A socket as rustls writes to it.
struct Outlet<'a> {
    socket: &'a mut Watched,
    net: &'a mut dyn Net,
}

impl Write for Outlet<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.socket.write(self.net, parts)? {
            Io::Done(count) => Ok(count),
            Io::Blocked => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_record_counts_once_it_is_whole() {
        assert_eq!(record_bytes(&[23, 3, 3, 0]), None);
        assert_eq!(record_bytes(&[23, 3, 3, 0, 2, 1]), None);
        assert_eq!(record_bytes(&[23, 3, 3, 0, 2, 1, 1, 23]), Some(7));
        assert_eq!(record_bytes(&[21, 3, 3, 0, 0]), Some(5));
    }

    proptest! {
        #[test]
        fn a_record_is_never_longer_than_what_waits(
            kind in 15..30u8,
            rest in proptest::collection::vec(any::<u8>(), 0..2 * TLS_RECORD_BYTES_MAX),
        ) {
            let waiting = [&[kind][..], &rest].concat();
            match record_bytes(&waiting) {
                Some(count) => {
                    prop_assert!((1..=waiting.len().min(TLS_RECORD_BYTES_MAX)).contains(&count));
                }
                // There is room for the rest.
                None => prop_assert!(waiting.len() < TLS_RECORD_BYTES_MAX),
            }
        }
    }
}
