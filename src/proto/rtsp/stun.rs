//! STUN binding: how the world sees a UDP port of ours (RFC 8489 §5, §14.1, §14.2).
//!
//! Codec only. Repetition and giving up belong to the session. A request is repeated with the transaction id
//! it had (§6.2.1), so an answer that comes late is still good.

use std::fmt;
use std::net::Ipv4Addr;

/// Length of a STUN header in bytes.
pub const HEADER_BYTES: usize = 20;
/// Identifies an exchange.
pub type Transaction = [u8; 12];

const COOKIE: [u8; 4] = 0x2112_a442_u32.to_be_bytes();
const BINDING_REQUEST: [u8; 2] = 0x0001_u16.to_be_bytes();
const BINDING_SUCCESS: [u8; 2] = 0x0101_u16.to_be_bytes();
const MAPPED_ADDRESS: u16 = 0x0001;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const FAMILY_IPV4: u8 = 1;
const FAMILY_IPV6: u8 = 2;
const IPV6_BYTES: usize = 16;

/// Why a datagram is no answer to our request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StunError {
    /// Shorter than its header or than its attributes say.
    Truncated,
    /// Not a success response, an error response included.
    Type(u16),
    /// Without the magic cookie, or with another transaction id.
    Foreign,
    /// It names no address that can be read.
    NoAddress,
}

impl fmt::Display for StunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StunError::Truncated => f.write_str("STUN response is truncated"),
            StunError::Type(kind) => write!(f, "STUN message has type 0x{kind:04x}, not 0x0101"),
            StunError::Foreign => f.write_str("STUN response belongs to another request"),
            StunError::NoAddress => f.write_str("STUN response has no mapped address"),
        }
    }
}

impl std::error::Error for StunError {}

/// A port of ours as seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// The address, if it is an IPv4 one.
    pub address: Option<Ipv4Addr>,
    /// The port, not 0 and not 65535, since the next one is taken to be RTCP's.
    pub port: u16,
}

impl fmt::Display for Mapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{address}:{}", self.port),
            None => write!(f, "port {}", self.port),
        }
    }
}

/// A binding request without attributes.
pub fn encode_request(transaction: Transaction) -> Vec<u8> {
    [&BINDING_REQUEST[..], &[0, 0], &COOKIE, &transaction].concat()
}

/// Whether a datagram may be STUN: long enough, and top bits that neither RTP nor MPEG-TS has.
pub fn looks_like_stun(datagram: &[u8]) -> bool {
    datagram.len() >= HEADER_BYTES && datagram.first().is_some_and(|byte| byte >> 6 == 0)
}

/// Decodes the answer to the request with `transaction`. The first address that can be read counts.
///
/// # Errors
///
/// One [`StunError`] for each way the datagram can fail to be that.
pub fn decode_response(datagram: &[u8], transaction: Transaction) -> Result<Mapped, StunError> {
    let (header, rest) = datagram
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or(StunError::Truncated)?;
    let &[k0, k1, l0, l1, c0, c1, c2, c3, ref id @ ..] = header;
    if [c0, c1, c2, c3] != COOKIE || *id != transaction {
        return Err(StunError::Foreign);
    }
    if [k0, k1] != BINDING_SUCCESS {
        return Err(StunError::Type(u16::from_be_bytes([k0, k1])));
    }
    let mut attributes = rest
        .get(..usize::from(u16::from_be_bytes([l0, l1])))
        .ok_or(StunError::Truncated)?;
    while let Some((&[k0, k1, l0, l1], behind)) = attributes.split_first_chunk() {
        let bytes = usize::from(u16::from_be_bytes([l0, l1]));
        let value = behind.get(..bytes).ok_or(StunError::Truncated)?;
        let mask = match u16::from_be_bytes([k0, k1]) {
            XOR_MAPPED_ADDRESS => Some(COOKIE),
            MAPPED_ADDRESS => Some([0; 4]),
            _ => None,
        };
        if let Some(mapped) = mask.and_then(|mask| decode_address(value, mask)) {
            return Ok(mapped);
        }
        attributes = behind.get(bytes.next_multiple_of(4)..).unwrap_or_default();
    }
    Err(StunError::NoAddress)
}

fn decode_address(value: &[u8], mask: [u8; 4]) -> Option<Mapped> {
    let (&[_, family, p0, p1], behind) = value.split_first_chunk()?;
    let [m0, m1, m2, m3] = mask;
    let port = u16::from_be_bytes([p0 ^ m0, p1 ^ m1]);
    let address = match family {
        FAMILY_IPV4 => {
            let &[a, b, c, d] = behind.first_chunk()?;
            Some(Ipv4Addr::new(a ^ m0, b ^ m1, c ^ m2, d ^ m3))
        }
        FAMILY_IPV6 if behind.len() >= IPV6_BYTES => None,
        _ => return None,
    };
    (1..u16::MAX)
        .contains(&port)
        .then_some(Mapped { address, port })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: Transaction = *b"\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae";

    fn response(attributes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
        [&[1, 1][..], &length, &COOKIE, &ID, attributes].concat()
    }

    #[test]
    fn request_has_twenty_bytes() {
        let expected = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &ID].concat();
        assert_eq!(encode_request(ID), expected);
        assert!(looks_like_stun(&expected) && !looks_like_stun(&expected[1..]));
    }

    #[test]
    fn mapped_addresses_are_read() {
        // The address of RFC 5769 §2.2, behind its SOFTWARE attribute of 11 bytes.
        let software = b"\x80\x22\x00\x0btest vector ";
        let xor = b"\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43";
        let ipv4 = |address: [u8; 4], port| {
            let address = Some(Ipv4Addr::from(address));
            Ok(Mapped { address, port })
        };
        let both = response(&[&software[..], xor].concat());
        assert_eq!(decode_response(&both, ID), ipv4([192, 0, 2, 1], 32_853));
        let plain = response(b"\x00\x01\x00\x08\x00\x01\x12\x34\x0a\x00\x00\x01");
        assert_eq!(decode_response(&plain, ID), ipv4([10, 0, 0, 1], 0x1234));
        let mut ipv6 = b"\x00\x20\x00\x14\x00\x02\xa1\x47".to_vec();
        ipv6.extend([7; 16]);
        let port_only = Mapped {
            address: None,
            port: 32_853,
        };
        assert_eq!(decode_response(&response(&ipv6), ID), Ok(port_only));
    }

    #[test]
    fn other_datagrams_are_refused() {
        let good = response(b"\x00\x01\x00\x08\x00\x01\x12\x34\x0a\x00\x00\x01");
        for end in 0..good.len() {
            assert_eq!(decode_response(&good[..end], ID), Err(StunError::Truncated));
        }
        assert_eq!(decode_response(&good, [0; 12]), Err(StunError::Foreign));
        let mut error = good.clone();
        error[1] = 0x11;
        assert_eq!(decode_response(&error, ID), Err(StunError::Type(0x0111)));
        for port in [[0, 0], [0xff, 0xff]] {
            let mut wrong = good.clone();
            wrong[26..28].copy_from_slice(&port);
            assert_eq!(decode_response(&wrong, ID), Err(StunError::NoAddress));
        }
        let short = response(b"\x00\x20\x00\x04\x00\x02\xa1\x47");
        assert_eq!(decode_response(&short, ID), Err(StunError::NoAddress));
    }

    proptest! {
        #[test]
        fn any_attributes_are_survived(attributes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = decode_response(&response(&attributes), ID);
            let _ = decode_response(&attributes, ID);
        }
    }
}
