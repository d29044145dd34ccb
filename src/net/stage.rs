//! `Stage`: what may stand between a socket and its user and transform the bytes, such as TLS.
//!
//! Owns the contract only. It keeps what [`Watched`] keeps: readiness is a cached fact, set by edges and cleared by
//! [`Io::Blocked`]. A stage adds facts of its own, because bytes can wait inside it for which no edge will come:
//! a user asks [`Stage::can_read`], [`Stage::can_write`] and [`Stage::can_flush`], never the socket's flags.

use std::io::{self, IoSlice};

use super::{Io, Net, Watched};

/// Whether reading has failed because the connection ended without the announcement, and for nothing else.
pub fn is_unannounced_end(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}

/// Transforms the bytes of one connection.
///
/// After an error only [`Stage::close`] makes sense.
pub trait Stage {
    /// Reads transformed bytes into `plain`, which must not be empty; `Done(0)` is the end, as the peer itself has
    /// announced it. Goes on with the handshake where that is not over.
    ///
    /// Reads the socket only when nothing waits inside, so that a user who stops reading stops the peer. It fills
    /// `plain` as far as a bounded number of reads can; when that number is used up, [`Stage::can_read`] stays true
    /// even after `Blocked`.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when the connection ended without the announcement: bytes may be missing, and whether any
    /// are is for the user's own framing to say ([`is_unannounced_end`]). `ConnectionAborted` when some certainly are.
    /// Otherwise what the socket reports or what is wrong with the bytes. Everything that came before an error is
    /// delivered first.
    fn read(
        &mut self,
        socket: &mut Watched,
        net: &mut dyn Net,
        plain: &mut [u8],
    ) -> io::Result<Io<usize>>;

    /// Takes bytes into a bounded buffer, during the handshake too, and sends what the socket takes.
    /// `Blocked` when the buffer stays full.
    ///
    /// # Errors
    ///
    /// What the socket reports, or that the connection can carry no more.
    fn write(
        &mut self,
        socket: &mut Watched,
        net: &mut dyn Net,
        parts: &[IoSlice<'_>],
    ) -> io::Result<Io<usize>>;

    /// Goes on with the handshake and sends what waits. `Done` when neither is left to do.
    ///
    /// # Errors
    ///
    /// As [`Stage::read`] and [`Stage::write`].
    fn flush(&mut self, socket: &mut Watched, net: &mut dyn Net) -> io::Result<Io<()>>;

    /// Tells the peer that nothing more will be sent, as far as the socket takes it now. Does not close the socket.
    fn close(&mut self, socket: &mut Watched, net: &mut dyn Net);

    /// Whether [`Stage::read`] would get on: something waits inside, or the socket may be read.
    fn can_read(&self, socket: &Watched) -> bool;

    /// Whether [`Stage::write`] would take something.
    fn can_write(&self, socket: &Watched) -> bool;

    /// Whether [`Stage::flush`] would get on.
    fn can_flush(&self, socket: &Watched) -> bool {
        (self.wants_write() && socket.writable) || (self.is_handshaking() && self.can_read(socket))
    }

    /// Whether transformed bytes wait for the socket.
    fn wants_write(&self) -> bool;

    /// Whether the handshake is still going on.
    fn is_handshaking(&self) -> bool;

    /// Bytes that wait inside, in both directions.
    fn held_bytes(&self) -> usize;
}
