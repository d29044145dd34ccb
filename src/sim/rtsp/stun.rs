//! A STUN server, which sees the router's sockets as they are (RFC 8489).

use std::net::{IpAddr, SocketAddr};

/// Where it is.
pub(in crate::sim) const STUN_ADDRESS: ([u8; 4], u16) = ([10, 0, 3, 1], 3478);

const COOKIE: u32 = 0x2112_a442;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum Stun {
    Answers,
    Silent,
    /// Answers with what cannot be used.
    Useless,
}

impl Stun {
    /// The answer to `request`, which came from `from`.
    pub(in crate::sim) fn answer(self, request: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
        assert_eq!(request.len(), 20, "a binding request without attributes");
        assert_eq!(request[..8], [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
        let IpAddr::V4(ip) = from.ip() else {
            panic!("{from} is not of our family")
        };
        let mut attribute = vec![0, 0x20, 0, 8, 0, 1];
        attribute.extend((from.port() ^ (COOKIE >> 16) as u16).to_be_bytes());
        attribute.extend((u32::from(ip) ^ COOKIE).to_be_bytes());
        let kind = match self {
            Self::Silent => return None,
            Self::Answers => [1, 1],
            Self::Useless => [1, 0x11],
        };
        let mut answer = kind.to_vec();
        answer.extend((attribute.len() as u16).to_be_bytes());
        answer.extend(&request[4..20]);
        answer.extend(attribute);
        Some(answer)
    }
}
