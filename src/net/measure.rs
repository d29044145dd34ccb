//! What only a measuring program wants of TCP sockets: buffers of a chosen size, and what the kernel knows.
//!
//! Part of [`MioNet`] and not of `trait Net`, because no simulation can tell what a kernel would say.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use socket2::SockRef;

use super::mio::{MioNet, keepalive, stream_socket};
use super::{Io, SocketId};
use crate::limits::LISTEN_BACKLOG;
use crate::sys;

/// The kernel's buffers of one socket, bytes; 0 leaves a size to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tuning {
    /// `SO_RCVBUF`. Fixes the window and turns its growth off.
    pub receive_buffer_bytes: usize,
    /// `SO_SNDBUF`.
    pub send_buffer_bytes: usize,
    /// `TCP_NOTSENT_LOWAT`: unsent bytes that make the socket count as full.
    pub unsent_low_water_bytes: usize,
}

/// The kernel's `tcp_info` of one moment, as long as this kernel makes it.
#[derive(Debug, Clone, Copy)]
pub struct TcpInfo {
    bytes: [u8; TcpInfo::BYTES_MAX],
    len: usize,
}

impl TcpInfo {
    /// More than any kernel has today.
    const BYTES_MAX: usize = 512;

    /// What was read of a `tcp_info`: at most 512 bytes, the rest is left out.
    pub fn of(read: &[u8]) -> Self {
        let mut bytes = [0; Self::BYTES_MAX];
        let len = read.len().min(bytes.len());
        bytes[..len].copy_from_slice(&read[..len]);
        Self { bytes, len }
    }

    /// How much of it this kernel has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the kernel said nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// `N` bytes from `offset` on, in the byte order of the machine, if this kernel has them.
    pub fn field<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.bytes[..self.len].get(offset..)?.first_chunk().copied()
    }
}

impl MioNet {
    /// As [`Net::connect`](super::Net::connect), with buffers that are set before the handshake.
    ///
    /// # Errors
    ///
    /// What the system reports at once.
    pub fn connect_tuned(&mut self, address: SocketAddr, tuning: &Tuning) -> io::Result<SocketId> {
        let socket = stream_socket(address)?;
        let _ = socket.set_tcp_nodelay(true);
        let _ = socket.set_tcp_keepalive(&keepalive());
        tune(SockRef::from(&socket), tuning)?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
            _ => self.add_polled(socket),
        }
    }

    /// Listens, with a receive buffer that accepted connections inherit; returns the address that it is bound to too. A
    /// wildcard IPv6 address takes IPv4 connections as well.
    ///
    /// # Errors
    ///
    /// What the system reports, for instance `AddrInUse`.
    pub fn listen_tuned(
        &mut self,
        address: SocketAddr,
        tuning: &Tuning,
    ) -> io::Result<(SocketId, SocketAddr)> {
        let socket = stream_socket(address)?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_reuse_address(true)?;
        tune(SockRef::from(&socket), tuning)?;
        socket.bind(&address.into())?;
        socket.listen(LISTEN_BACKLOG)?;
        let bound = socket.local_addr()?.as_socket().unwrap_or(address);
        Ok((self.add_polled(socket)?, bound))
    }

    /// Sets the buffers of an open connection.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn tune(&self, socket: SocketId, tuning: &Tuning) -> io::Result<()> {
        tune(SockRef::from(self.fd(socket)?), tuning)
    }

    /// What the kernel knows about a connection.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn tcp_info(&self, socket: SocketId) -> io::Result<TcpInfo> {
        let mut info = TcpInfo::of(&[]);
        info.len = sys::tcp::info(self.fd(socket)?.as_fd(), &mut info.bytes)?;
        Ok(info)
    }

    /// Bytes written to a connection that the peer's kernel has not acknowledged, unsent ones included.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn unacknowledged_bytes(&self, socket: SocketId) -> io::Result<usize> {
        sys::tcp::unacknowledged_bytes(self.fd(socket)?.as_fd())
    }

    /// Looks at the front of what waits in a connection without taking it; `Done(0)` is its end.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn peek(&self, socket: SocketId, bytes: &mut [u8]) -> io::Result<Io<usize>> {
        sys::tcp::peek(self.fd(socket)?.as_fd(), bytes)
            .map(Io::Done)
            .or_else(|error| match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(Io::Blocked),
                _ => Err(error),
            })
    }

    /// Takes the error that has ended a connection, if one has.
    ///
    /// # Errors
    ///
    /// That error.
    pub fn failure(&self, socket: SocketId) -> io::Result<()> {
        let error = SockRef::from(self.fd(socket)?).take_error()?;
        error.map_or(Ok(()), Err)
    }
}

fn tune(socket: SockRef<'_>, tuning: &Tuning) -> io::Result<()> {
    if tuning.receive_buffer_bytes > 0 {
        socket.set_recv_buffer_size(tuning.receive_buffer_bytes)?;
    }
    if tuning.send_buffer_bytes > 0 {
        socket.set_send_buffer_size(tuning.send_buffer_bytes)?;
    }
    if tuning.unsent_low_water_bytes > 0 {
        sys::tcp::set_unsent_low_water(socket.as_fd(), tuning.unsent_low_water_bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_exists_only_if_it_lies_wholly_inside() {
        let info = TcpInfo::of(&[1, 2, 3, 4, 5]);
        assert_eq!(info.field::<4>(1), Some([2, 3, 4, 5]));
        assert_eq!(info.field::<4>(2), None);
        assert_eq!(info.field::<1>(5), None);
        assert_eq!(TcpInfo::of(&[7; 600]).len(), 512);
    }
}
