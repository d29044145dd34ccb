//! Kinds of address: where an address leads, as far as it tells that itself.

use std::net::{IpAddr, Ipv4Addr};

/// The kinds of address that have a default, and are keywords of the patterns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// `loopback`: this host, as 127.0.0.0/8, ::1, the unspecified addresses or an address of its own.
    Loopback,
    /// `link-local`: 169.254.0.0/16 and fe80::/10.
    LinkLocal,
    /// `multicast`: 224.0.0.0/4, ff00::/8 and the broadcast address.
    Multicast,
    /// `private`: RFC 1918, 100.64.0.0/10 (RFC 6598), fc00::/7 (RFC 4193) and the former fec0::/10.
    Private,
    /// `public`: all others.
    Public,
}

impl Class {
    pub(super) const ALL: [Class; 5] = [
        Class::Loopback,
        Class::LinkLocal,
        Class::Multicast,
        Class::Private,
        Class::Public,
    ];

    /// The class of a canonical address, as far as the address alone tells.
    pub(super) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6) => {
                let [first, ..] = v6.segments();
                if v6.is_loopback() || v6.is_unspecified() {
                    Class::Loopback
                } else if v6.is_multicast() {
                    Class::Multicast
                } else if first & 0xffc0 == 0xfe80 {
                    Class::LinkLocal
                } else if first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfec0 {
                    Class::Private
                } else {
                    Class::Public
                }
            }
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            // A connection to 0.0.0.0 reaches this host; nothing in 0.0.0.0/8 is another one (RFC 6890 §2.2.2).
            [0 | 127, ..] => Class::Loopback,
            [169, 254, ..] => Class::LinkLocal,
            [224..240, ..] | [255, 255, 255, 255] => Class::Multicast,
            [10, ..] | [192, 168, ..] | [172, 16..32, ..] | [100, 64..128, ..] => Class::Private,
            _ => Class::Public,
        }
    }

    pub(super) fn keyword(self) -> &'static str {
        match self {
            Class::Loopback => "loopback",
            Class::LinkLocal => "link-local",
            Class::Multicast => "multicast",
            Class::Private => "private",
            Class::Public => "public",
        }
    }

    /// The default.
    pub(super) fn is_permitted(self) -> bool {
        matches!(self, Class::Private | Class::Public)
    }
}

/// The IPv4 address that an IPv6 address stands for, if it does; see
/// [`UpstreamPolicy::check`](super::UpstreamPolicy::check).
pub(super) fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let embedded = |high: u16, low: u16| {
        let bits = u32::from(high) << 16 | u32::from(low);
        IpAddr::V4(Ipv4Addr::from_bits(bits))
    };
    match v6.segments() {
        // Not compatible addresses, but those of IPv6.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => address,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => embedded(high, low),
        [0, 0, 0, 0, 0xffff, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        // RFC 8215 leaves the prefix length to the network; /96 is what is used.
        [0x64, 0xff9b, 1, .., high, low] => embedded(high, low),
        _ => address,
    }
}
