//! `Link`: a connection of the probe, with TLS in front of its socket or without.

use std::io::{self, IoSlice};

use super::sender::SendQueue;
use crate::net::mio::MioNet;
use crate::net::{Edge, Io, Net as _, SocketId, Stage, TcpInfo, Watched, Writer as _};

/// A connection.
pub struct Link {
    socket: Watched,
    stage: Option<Box<dyn Stage>>,
    /// An edge has said that the peer is done or gone.
    has_ended: bool,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("socket", &self.socket)
            .field("is_secure", &self.stage.is_some())
            .finish()
    }
}

impl Link {
    /// Over this socket, in the clear.
    pub fn new(socket: Watched) -> Self {
        Self {
            socket,
            stage: None,
            has_ended: false,
        }
    }

    /// From now on what is read and written goes through `stage`.
    pub fn secure(&mut self, stage: Box<dyn Stage>) {
        self.stage = Some(stage);
    }

    /// The socket.
    pub fn socket(&self) -> SocketId {
        self.socket.id
    }

    /// Whether there is TLS.
    pub fn is_secure(&self) -> bool {
        self.stage.is_some()
    }

    /// Notes an edge.
    pub fn note(&mut self, edge: Edge) {
        self.socket.note(edge);
        self.has_ended |= edge.ended;
    }

    /// Whether an edge has said that the peer is done or gone, which a receiver that holds would not read.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether a read may bring something.
    pub fn can_read(&self) -> bool {
        match &self.stage {
            None => self.socket.readable,
            Some(stage) => stage.can_read(&self.socket),
        }
    }

    /// Whether a write may take something.
    pub fn can_write(&self) -> bool {
        match &self.stage {
            None => self.socket.writable,
            Some(stage) => stage.can_write(&self.socket),
        }
    }

    /// Whether [`Link::flush`] would get something done.
    pub fn can_flush(&self) -> bool {
        self.stage
            .as_ref()
            .is_some_and(|stage| stage.can_flush(&self.socket))
    }

    /// Whether written bytes wait in front of the socket.
    pub fn wants_write(&self) -> bool {
        self.stage.as_ref().is_some_and(|stage| stage.wants_write())
    }

    /// Reads; `Done(0)` is the end.
    ///
    /// # Errors
    ///
    /// As [`Net::read`](crate::net::Net::read) or [`Stage::read`].
    pub fn read(&mut self, net: &mut MioNet, bytes: &mut [u8]) -> io::Result<Io<usize>> {
        match &mut self.stage {
            None => self.socket.read(net, bytes),
            Some(stage) => stage.read(&mut self.socket, net, bytes),
        }
    }

    /// Writes as much as is taken now.
    ///
    /// # Errors
    ///
    /// As [`Net::write`](crate::net::Net::write) or [`Stage::write`].
    pub fn write(&mut self, net: &mut MioNet, bytes: &[u8]) -> io::Result<Io<usize>> {
        let parts = [IoSlice::new(bytes)];
        match &mut self.stage {
            None => self.socket.write(net, &parts),
            Some(stage) => stage.write(&mut self.socket, net, &parts),
        }
    }

    /// Goes on with a handshake and sends what the stage has left over. `Done` when neither is left to do.
    ///
    /// # Errors
    ///
    /// As [`Stage::flush`].
    pub fn flush(&mut self, net: &mut MioNet) -> io::Result<Io<()>> {
        match &mut self.stage {
            Some(stage) => stage.flush(&mut self.socket, net),
            None => Ok(Io::Done(())),
        }
    }

    /// Ends the sending direction; everything written must have been taken by the socket.
    pub fn finish(&mut self, net: &mut MioNet) {
        if let Some(stage) = &mut self.stage {
            stage.close(&mut self.socket, net);
        }
        net.finish(self.socket.id);
    }

    /// What the kernel knows about the connection.
    pub fn tcp_info(&self, net: &MioNet) -> Option<TcpInfo> {
        net.tcp_info(self.socket.id).ok()
    }

    /// Payload that waits at this end for sending. What the kernel counts is scaled by `payload_part`, the part of
    /// the bytes on the wire that was payload so far.
    pub fn send_queue(&self, net: &MioNet, info: Option<&TcpInfo>, payload_part: f64) -> SendQueue {
        let notsent = info
            .and_then(|info| super::evidence::value(info, super::evidence::Field::NotsentBytes));
        let all = net.unacknowledged_bytes(self.socket.id).ok();
        let scale = |bytes: u64| (bytes as f64 * payload_part) as u64;
        let held = self.stage.as_ref().map_or(0, |stage| stage.held_bytes()) as u64;
        SendQueue {
            unsent: notsent.map(|bytes| scale(bytes + held)),
            unacked: all
                .zip(notsent)
                .map(|(all, unsent)| scale((all as u64).saturating_sub(unsent))),
        }
    }

    /// Bytes that wait at this end for reading: in the kernel and in the stage.
    pub fn unread_bytes(&self, net: &MioNet) -> Option<u64> {
        let held = self.stage.as_ref().map_or(0, |stage| stage.held_bytes());
        let kernel = net.unread_bytes(self.socket.id).ok()?;
        Some((kernel + held) as u64)
    }
}
