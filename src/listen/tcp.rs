//! TCP listeners: one address, one socket per worker.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::limits::LISTEN_BACKLOG;

/// The sockets that listen on one address.
///
/// With several workers each has one of its own, among which the kernel shares out the connections
/// (`SO_REUSEPORT`). The first is always bound without that option, so that a port which somebody else has is never
/// shared unnoticed (server spec §17.35), and is given it afterwards.
#[derive(Debug, Clone)]
pub(super) struct TcpPlace {
    /// What was asked for; port 0 stands for any.
    wanted: SocketAddr,
    bound: SocketAddr,
    sockets: Vec<Rc<OwnedFd>>,
}

impl TcpPlace {
    /// Opens `workers` sockets, at least one.
    ///
    /// `beside_own` says that sockets of this program that have been told to [share](TcpPlace::share) hold the same
    /// port, so the new ones must share it from the start.
    ///
    /// # Errors
    ///
    /// What the system reports, for instance `AddrInUse`.
    pub(super) fn open(
        wanted: SocketAddr,
        workers: usize,
        beside_own: bool,
    ) -> io::Result<TcpPlace> {
        let first = bind(wanted, beside_own)?;
        let bound = first
            .local_addr()?
            .as_socket()
            .ok_or(io::ErrorKind::Unsupported)?;
        if workers > 1 {
            first.set_reuse_port(true)?;
        }
        first.listen(LISTEN_BACKLOG)?;
        let mut place = TcpPlace {
            wanted,
            bound,
            sockets: vec![Rc::new(first.into())],
        };
        place.grow(workers)?;
        Ok(place)
    }

    /// The same place for another number of workers, for a reload. The sockets that are there stay, as far as they
    /// are still wanted: one that nobody accepts from would swallow connections.
    ///
    /// A program that has given up its privileges since cannot open more (`SO_REUSEPORT` asks for the same user);
    /// workers share sockets then.
    pub(super) fn resized(&self, workers: usize) -> TcpPlace {
        let mut place = self.clone();
        place.sockets.truncate(workers.max(1));
        if let Err(error) = place.share().and_then(|()| place.grow(workers)) {
            log::warn!("workers share a listener on {}: {error}", place.bound);
        }
        place
    }

    /// Lets other sockets of this program bind the same port.
    pub(super) fn share(&self) -> io::Result<()> {
        self.sockets
            .iter()
            .try_for_each(|socket| SockRef::from(&**socket).set_reuse_port(true))
    }

    fn grow(&mut self, workers: usize) -> io::Result<()> {
        while self.sockets.len() < workers {
            let socket = bind(self.bound, true)?;
            socket.listen(LISTEN_BACKLOG)?;
            self.sockets.push(Rc::new(socket.into()));
        }
        Ok(())
    }

    /// What was asked for.
    pub(super) fn wanted(&self) -> SocketAddr {
        self.wanted
    }

    /// What the system gave.
    pub(super) fn bound(&self) -> SocketAddr {
        self.bound
    }

    /// A descriptor of the socket for worker `index`.
    pub(super) fn socket(&self, index: usize) -> io::Result<OwnedFd> {
        self.sockets
            .get(index % self.sockets.len().max(1))
            .ok_or(io::ErrorKind::NotFound)?
            .try_clone()
    }
}

/// A socket that is bound, does not block and, for IPv6, takes IPv6 connections only (server spec §4.2).
fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Without this a restart would wait for the connections of the last run to be forgotten. Linux does not let a
    // second listener share the port by it.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Whether the host has no such addresses: IPv6 is not built in, or switched off.
pub(super) fn is_unsupported(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EAFNOSUPPORT)
        || error.kind() == io::ErrorKind::AddrNotAvailable
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    fn any() -> SocketAddr {
        "127.0.0.1:0".parse().expect("an address")
    }

    /// Sockets on which so many of `connections` wait.
    fn waiting(place: &TcpPlace, workers: usize) -> Vec<usize> {
        (0..workers)
            .map(|index| {
                let listener = TcpListener::from(place.socket(index).expect("a descriptor"));
                std::iter::from_fn(|| listener.accept().ok()).count()
            })
            .collect()
    }

    #[test]
    fn connections_are_shared_out_among_the_sockets() {
        let place = TcpPlace::open(any(), 4, false).expect("a free port");
        let _connections: Vec<TcpStream> = (0..200)
            .map(|_| TcpStream::connect(place.bound()).expect("a connection"))
            .collect();
        let waiting = waiting(&place, 4);
        assert_eq!(waiting.iter().sum::<usize>(), 200);
        assert!(waiting.iter().all(|count| *count > 0), "{waiting:?}");
    }

    #[test]
    fn port_that_is_shared_among_workers_is_busy_for_everybody_else() {
        for workers in [1, 3] {
            let place = TcpPlace::open(any(), workers, false).expect("a free port");
            for others in [1, 3] {
                let error = TcpPlace::open(place.bound(), others, false).expect_err("busy");
                assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
            }
        }
    }

    #[test]
    fn worker_more_or_less_changes_only_its_own_socket() {
        let place = TcpPlace::open(any(), 1, false).expect("a free port");
        let grown = place.resized(3);
        assert_eq!(grown.sockets.len(), 3);
        assert!(Rc::ptr_eq(&grown.sockets[0], &place.sockets[0]));
        drop(place);
        let shrunk = grown.resized(2);
        drop(grown);
        let _connections: Vec<TcpStream> = (0..100)
            .map(|_| TcpStream::connect(shrunk.bound()).expect("a connection"))
            .collect();
        assert_eq!(waiting(&shrunk, 2).iter().sum::<usize>(), 100);
    }

    #[test]
    fn place_beside_one_of_our_own_on_the_same_port_can_be_opened() {
        let wildcard: SocketAddr = "0.0.0.0:0".parse().expect("an address");
        let old = TcpPlace::open(wildcard, 1, false).expect("a free port");
        let narrower = SocketAddr::from(([127, 0, 0, 1], old.bound().port()));
        let refused = TcpPlace::open(narrower, 1, false).expect_err("busy");
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        old.share().expect("shared");
        let new = TcpPlace::open(narrower, 1, true).expect("beside our own");
        assert_eq!(new.bound(), narrower);
    }
}
