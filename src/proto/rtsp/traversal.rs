//! Getting media through address translation: the endpoint we advertise and the datagrams that open the way
//! (RTSP spec §15, §16).
//!
//! The 84-byte packet is that of ZTE's set-top boxes; it has no published standard. Servers that want it
//! compare its address and ports with those of SETUP.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::stun::Mapped;
use super::transport::ClientPorts;

/// Length of a punch packet in bytes.
pub const PUNCH_BYTES: usize = 84;
/// How often both probes are sent in a row.
pub const PROBE_ROUNDS: usize = 3;
/// What opens the RTCP port: an empty receiver report (RFC 3550 §6.4.2).
pub const RTCP_PROBE: [u8; 8] = [0x80, 0xc9, 0, 1, 0, 0, 0, 0];
/// What opens the RTP port of a server that does not know the punch packet: an empty RTP packet.
pub const RTP_PROBE: [u8; 12] = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Where a session's control connection and sockets are, and how they are seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Our end of the control connection.
    pub local: SocketAddr,
    /// The server's end.
    pub peer: SocketAddr,
    /// Local RTP port, even; RTCP is one above. `None` without sockets.
    pub rtp_port: Option<u16>,
    /// What STUN has found out.
    pub mapped: Option<Mapped>,
}

impl Endpoint {
    /// The IPv4 address to advertise; `None` unless both ends are IPv4, since these extensions know no other.
    pub fn address(&self) -> Option<Ipv4Addr> {
        match (self.local, self.peer) {
            (SocketAddr::V4(local), SocketAddr::V4(_)) => {
                let mapped = self.mapped.and_then(|mapped| mapped.address);
                Some(mapped.unwrap_or(*local.ip()))
            }
            _ => None,
        }
    }

    /// Value of `x-NAT`: address and control port.
    pub fn nat_header(&self) -> Option<String> {
        Some(format!("{}:{}", self.address()?, self.control_port()))
    }

    /// The ports for a SETUP; `None` without sockets.
    pub fn ports(&self) -> Option<ClientPorts> {
        let local = self.rtp_port?;
        let rtp = self.mapped.map_or(local, |mapped| mapped.port);
        Some(ClientPorts {
            rtp,
            rtcp: rtp.saturating_add(1),
            address: self.address(),
        })
    }

    /// What opens the way for RTP.
    pub fn rtp_probe(&self) -> Vec<u8> {
        let (Some(address), Some(ports)) = (self.address(), self.ports()) else {
            return RTP_PROBE.to_vec();
        };
        let mut packet = b"ZXV10STB\x7f\xff\xff\xff".to_vec();
        packet.extend(address.octets());
        packet.extend(ports.rtp.to_be_bytes());
        packet.extend(self.control_port().to_be_bytes());
        packet.resize(PUNCH_BYTES, 0);
        packet
    }

    fn control_port(&self) -> u16 {
        self.mapped.map_or(self.local.port(), |mapped| mapped.port)
    }
}

/// Whose datagrams are taken.
///
/// The control peer and the address of `source=` are trusted. Some servers send from a third address and do
/// not say so; then the first host that sends media is followed, until a trusted one sends something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sender {
    /// Nobody has sent media.
    #[default]
    Unknown,
    /// This host has, and nobody trusted.
    First(IpAddr),
    /// A trusted host has.
    Trusted,
}

impl Sender {
    /// Whether media from `from` is to be taken; remembers it.
    pub fn accept(&mut self, from: IpAddr, is_trusted: bool) -> bool {
        let from = from.to_canonical();
        match self {
            _ if is_trusted => *self = Sender::Trusted,
            Sender::Trusted => return false,
            Sender::First(first) => return *first == from,
            Sender::Unknown => *self = Sender::First(from),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stranger_is_followed_only_until_a_trusted_host_sends() {
        let ip = |last| IpAddr::from([192, 0, 2, last]);
        let mut sender = Sender::default();
        assert!(sender.accept(ip(7), false));
        assert!(sender.accept(ip(7), false));
        assert!(!sender.accept(ip(8), false));
        assert!(sender.accept(ip(1), true));
        assert!(!sender.accept(ip(7), false));
        assert!(sender.accept(ip(1), true));
    }

    fn endpoint() -> Endpoint {
        Endpoint {
            local: "192.0.2.2:50972".parse().unwrap(),
            peer: "192.0.2.1:8554".parse().unwrap(),
            rtp_port: Some(10_000),
            mapped: None,
        }
    }

    #[test]
    fn local_endpoint_is_advertised_without_stun() {
        let endpoint = endpoint();
        assert_eq!(endpoint.nat_header().unwrap(), "192.0.2.2:50972");
        let ports = endpoint.ports().unwrap();
        assert_eq!((ports.rtp, ports.rtcp), (10_000, 10_001));
        let packet = endpoint.rtp_probe();
        assert_eq!(packet.len(), PUNCH_BYTES);
        // Magic, address, RTP port 10000, control port 50972.
        assert_eq!(
            packet[..20],
            *b"ZXV10STB\x7f\xff\xff\xff\xc0\x00\x02\x02\x27\x10\xc7\x1c"
        );
        assert!(packet[20..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn mapping_replaces_all_but_a_missing_address() {
        let mapped = Some(Mapped {
            address: Some(Ipv4Addr::new(203, 0, 113, 9)),
            port: 40_000,
        });
        let outside = Endpoint {
            mapped,
            ..endpoint()
        };
        assert_eq!(outside.nat_header().unwrap(), "203.0.113.9:40000");
        let ports = outside.ports().unwrap();
        assert_eq!((ports.rtp, ports.rtcp), (40_000, 40_001));
        assert_eq!(
            outside.rtp_probe()[12..20],
            *b"\xcb\x00\x71\x09\x9c\x40\x9c\x40"
        );
        let port_only = Endpoint {
            mapped: Some(Mapped {
                address: None,
                port: 40_000,
            }),
            ..endpoint()
        };
        assert_eq!(port_only.nat_header().unwrap(), "192.0.2.2:40000");
    }

    #[test]
    fn ipv6_has_neither_header_nor_punch_packet() {
        let endpoint = Endpoint {
            local: "[2001:db8::2]:50972".parse().unwrap(),
            peer: "[2001:db8::1]:554".parse().unwrap(),
            ..endpoint()
        };
        assert_eq!(endpoint.nat_header(), None);
        assert_eq!(endpoint.ports().unwrap().address, None);
        assert_eq!(endpoint.rtp_probe(), RTP_PROBE);
    }
}
