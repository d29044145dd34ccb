//! A listening socket on its way from whoever opened it to the network that accepts from it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// Where a listener is reached.
///
/// Shows itself as the log names it (server spec §4.2, §4.3): `127.0.0.1 port 5140`, `:: port 5140`,
/// `Unix socket /run/flowgate.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// An address and a port of this host, either of which may be the wildcard's.
    Tcp(SocketAddr),
    /// A path in the file system.
    Unix(PathBuf),
}

impl Place {
    /// The address, if it is one.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{} port {}", address.ip(), address.port()),
            Self::Unix(path) => write!(f, "Unix socket {}", path.display()),
        }
    }
}

/// A socket that listens and does not block.
#[derive(Debug)]
pub struct Listener {
    descriptor: OwnedFd,
    place: Place,
}

impl Listener {
    /// Wraps a stream socket that has been told to listen at `place` and not to block.
    pub fn new(descriptor: OwnedFd, place: Place) -> Self {
        Self { descriptor, place }
    }

    /// Where it is reached.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// A second descriptor of the same socket: connections go to whoever accepts first.
    ///
    /// # Errors
    ///
    /// That descriptors have run out.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            descriptor: self.descriptor.try_clone()?,
            place: self.place.clone(),
        })
    }

    /// The socket alone.
    pub fn into_descriptor(self) -> OwnedFd {
        self.descriptor
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
