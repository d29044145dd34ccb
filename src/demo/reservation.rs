//! Which group a demo sends to: one that no other demo on this host sends to, since receivers of a group get all of it
//! and two sources would become one stream that nobody can decode.
//!
//! Sends and receives nothing.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The group that is taken if it is free: one of the local scope (RFC 2365 §6.1), and the port of RTP in RFC 3551 §8.
/// The others follow it.
const FIRST: Ipv4Addr = Ipv4Addr::new(239, 255, 70, 71);
const PORT: u16 = 5004;

/// Chosen: more demos than anybody wants side by side.
const GROUPS: u32 = 64;

/// A group that is one demo's for as long as this, or a copy of it in another process, lives.
///
/// A name in the abstract namespace of Unix sockets says so (unix(7)). Like the loopback interface it belongs to the
/// network namespace, it needs no file and no privilege, and it is gone with its last holder, however that ends.
#[derive(Debug)]
pub struct Reservation {
    group: SocketAddrV4,
    _name: Option<UnixDatagram>,
}

impl Reservation {
    /// Takes the first group that is free. Where names cannot be taken at all, that is the first of all.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if none of the 64 is free.
    pub fn take() -> io::Result<Reservation> {
        let groups = (0..GROUPS).map(|number| {
            let group = Ipv4Addr::from_bits(FIRST.to_bits() + number);
            SocketAddrV4::new(group, PORT)
        });
        for group in groups {
            let name = match hold(group) {
                Ok(name) => Some(name),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => continue,
                Err(error) => {
                    log::debug!("demo {group}: cannot be kept from other demos: {error}");
                    None
                }
            };
            return Ok(Reservation { group, _name: name });
        }
        let message = format!("{GROUPS} other demos are running");
        Err(io::Error::new(io::ErrorKind::AddrInUse, message))
    }

    /// The group and its port.
    pub fn group(&self) -> SocketAddrV4 {
        self.group
    }
}

fn hold(group: SocketAddrV4) -> io::Result<UnixDatagram> {
    let name = format!("flowgate demo {group}");
    UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_demo_has_a_group_of_its_own_until_it_ends() {
        let first = Reservation::take().expect("free");
        let second = Reservation::take().expect("free");
        assert!(first.group().ip().is_multicast());
        assert_ne!(first.group(), second.group());
        let again = first.group();
        drop(first);
        // Demos of others on this host may come in between.
        let held = hold(again).map(drop);
        assert!(
            held.is_ok_and(|()| hold(second.group()).is_err()),
            "{again} has been given back, {second:?} has not"
        );
    }
}
