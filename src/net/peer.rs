//! Who is at the other end of a connection that was accepted.

use std::fmt;
use std::net::SocketAddr;

/// The other end of an accepted connection.
///
/// Shows itself as logs and pages name it (server spec 4.4): `192.0.2.7:40000`, `[2001:db8::7]:40000`,
/// `localhost`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    /// A TCP client.
    Tcp(SocketAddr),
    /// A client of a Unix socket, which has no address.
    Unix,
}

impl Peer {
    /// The address, if there is one.
    pub fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(address),
            Self::Unix => None,
        }
    }

    /// Whether the peer is known to be in the same network stack as the router, so that it reaches whatever
    /// listens on loopback by itself. A Unix socket tells nothing of the kind: it may have been handed into a
    /// container, and as a rule a proxy stands behind it that speaks for others.
    pub fn is_loopback(self) -> bool {
        self.address()
            .is_some_and(|address| address.ip().to_canonical().is_loopback())
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix => f.write_str("localhost"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_named_as_the_specification_says() {
        for address in ["192.0.2.7:40000", "[2001:db8::7]:40000"] {
            let peer = Peer::from(address.parse::<SocketAddr>().expect("an address"));
            assert_eq!(peer.to_string(), address);
        }
        assert_eq!(Peer::Unix.to_string(), "localhost");
    }

    #[test]
    fn only_an_address_of_loopback_counts_as_loopback() {
        for (address, is_loopback) in [
            ("127.0.0.1:1", true),
            ("127.8.8.8:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("192.168.1.1:1", false),
            ("[fe80::1]:1", false),
        ] {
            let peer = Peer::from(address.parse::<SocketAddr>().expect("an address"));
            assert_eq!(peer.is_loopback(), is_loopback, "{address}");
        }
        assert!(!Peer::Unix.is_loopback());
    }
}
