//! A TCP connection to a server, with TLS if the destination asks for it.

use std::io::{self, IoSlice};
use std::rc::Rc;

use crate::net::{Edge, Io, Net, PipeId, SocketId, Stage, Watched, Writer};
use crate::pool::Packet;
use crate::proto::origin::Origin;
use crate::shared::Shared;

/// Where a connection leads. Connections to equal destinations can stand in for one another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Destination {
    /// Scheme, host and port.
    pub origin: Rc<Origin>,
    /// The network interface to go through.
    pub interface: Option<String>,
    /// The client sits on this host and may reach what others may not, so that others must not inherit the
    /// connection.
    pub is_local: bool,
}

/// A connection that has been made.
pub struct Connection {
    socket: Watched,
    stage: Option<Box<dyn Stage>>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("socket", &self.socket)
            .field("is_plain", &self.is_plain())
            .finish()
    }
}

impl Connection {
    /// Over `socket`, which is connected; with TLS if the server must prove to be `tls_host`.
    ///
    /// # Errors
    ///
    /// As [`Net::secure`].
    pub fn new(socket: Watched, tls_host: Option<&str>, shared: &mut Shared) -> io::Result<Self> {
        let stage = tls_host.map(|host| shared.net.secure(host)).transpose()?;
        Ok(Self { socket, stage })
    }

    /// The socket.
    pub fn socket(&self) -> SocketId {
        self.socket.id
    }

    /// Notes an edge.
    pub fn note(&mut self, edge: Edge) {
        self.socket.note(edge);
    }

    /// Notes that a write has failed. What the server sent before may be there although its edge has not been seen
    /// yet; if there is nothing, the read tells what is wrong. Behind a stage a failed write is the end.
    pub fn note_failed_write(&mut self) {
        if self.is_plain() {
            self.socket.note(Edge {
                readable: true,
                writable: false,
                ended: true,
            });
        }
    }

    /// Notes that reading was blocked, found out without a read.
    pub fn note_empty(&mut self) {
        self.socket.readable = false;
    }

    /// Whether the bytes on the wire are those that are read and written.
    pub fn is_plain(&self) -> bool {
        self.stage.is_none()
    }

    /// Whether keys are still being agreed on.
    pub fn is_handshaking(&self) -> bool {
        self.stage
            .as_ref()
            .is_some_and(|stage| stage.is_handshaking())
    }

    /// Whether a read may bring something.
    pub fn can_read(&self) -> bool {
        match &self.stage {
            None => self.socket.readable,
            Some(stage) => stage.can_read(&self.socket),
        }
    }

    /// Whether [`Connection::flush`] would get something done.
    pub fn can_flush(&self) -> bool {
        self.stage
            .as_ref()
            .is_some_and(|stage| stage.can_flush(&self.socket))
    }

    /// Goes on with the handshake and sends what the stage has left over.
    ///
    /// # Errors
    ///
    /// As [`Stage::flush`].
    pub fn flush(&mut self, net: &mut dyn Net) -> io::Result<Io<()>> {
        match &mut self.stage {
            None => Ok(Io::Done(())),
            Some(stage) => stage.flush(&mut self.socket, net),
        }
    }

    /// Reads; `Done(0)` is the end.
    ///
    /// # Errors
    ///
    /// As [`Net::read`] or [`Stage::read`].
    pub fn read(&mut self, net: &mut dyn Net, bytes: &mut [u8]) -> io::Result<Io<usize>> {
        match &mut self.stage {
            None => self.socket.read(net, bytes),
            Some(stage) => stage.read(&mut self.socket, net, bytes),
        }
    }

    /// Moves bytes into a pipe, past every stage; the caller keeps `readable` up to date
    /// ([`Connection::note_empty`]), as `Blocked` may be the pipe's doing.
    ///
    /// # Errors
    ///
    /// As [`Net::fill_pipe`].
    pub fn fill_pipe(
        &mut self,
        net: &mut dyn Net,
        pipe: PipeId,
        bytes_max: usize,
    ) -> io::Result<Io<usize>> {
        debug_assert!(self.is_plain(), "a stage cannot be passed by");
        net.fill_pipe(pipe, self.socket.id, bytes_max)
    }

    /// As [`Net::set_receive_low_water`]; a system that cannot do it wakes up more often.
    pub fn set_receive_low_water(&mut self, net: &mut dyn Net, bytes: usize) {
        let _ = net.set_receive_low_water(self.socket.id, bytes);
    }

    /// Whether bytes wait in the socket. An error counts: a read will tell.
    pub fn has_unread(&self, net: &dyn Net) -> bool {
        net.unread_bytes(self.socket.id)
            .map_or(true, |bytes| bytes > 0)
    }

    /// Whether the connection can carry another request: as far as is known nothing has come, and it has not
    /// ended.
    pub fn is_clean(&mut self, net: &mut dyn Net) -> bool {
        if !self.can_read() {
            return true;
        }
        let mut byte = [0];
        matches!(self.read(net, &mut byte), Ok(Io::Blocked)) && !self.can_read()
    }
}

impl Writer for Connection {
    fn is_writable(&self) -> bool {
        match &self.stage {
            None => self.socket.writable,
            Some(stage) => stage.can_write(&self.socket),
        }
    }

    fn write(&mut self, net: &mut dyn Net, parts: &[IoSlice<'_>]) -> io::Result<Io<usize>> {
        match &mut self.stage {
            None => self.socket.write(net, parts),
            Some(stage) => stage.write(&mut self.socket, net, parts),
        }
    }

    fn write_pages(&mut self, net: &mut dyn Net, view: &Packet) -> io::Result<Io<usize>> {
        debug_assert!(self.is_plain(), "requests lie in memory");
        self.socket.write_pages(net, view)
    }

    fn write_piped(
        &mut self,
        net: &mut dyn Net,
        pipe: PipeId,
        bytes_max: usize,
    ) -> io::Result<Io<usize>> {
        debug_assert!(self.is_plain(), "requests do not come through pipes");
        self.socket.write_piped(net, pipe, bytes_max)
    }
}
