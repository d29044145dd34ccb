//! One pattern of a policy: an address, a network, a name, or a kind of address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::class::Class;
use crate::config::listen::is_name;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pattern {
    /// `*` or `all`.
    All,
    Class(Class),
    /// Addresses whose first `prefix` bits are those of `network`, whose other bits are zero.
    Network {
        network: IpAddr,
        prefix: u8,
    },
    /// A host name in lower case, without a dot at its end.
    Name(String),
    /// `*.` and this name: everything below it, not the name itself.
    Below(String),
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Option<Pattern> {
        let lower = text.to_ascii_lowercase();
        if lower == "*" || lower == "all" {
            return Some(Pattern::All);
        }
        if let Some(class) = Class::ALL
            .into_iter()
            .find(|class| class.keyword() == lower)
        {
            return Some(Pattern::Class(class));
        }
        if let Some((address, prefix)) = lower.split_once('/') {
            // `from_str` alone would take a sign.
            let is_number = prefix.bytes().all(|byte| byte.is_ascii_digit());
            let prefix = prefix.parse().ok().filter(|_| is_number)?;
            return network(parse_address(address)?, prefix);
        }
        if let Some(address) = parse_address(&lower) {
            return network(address, bits(address));
        }
        let (name, below) = match lower.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (lower.as_str(), false),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        // A number at the end is a mistyped address, since no such name exists (RFC 3696 §2).
        let last = name.rsplit('.').next().unwrap_or_default();
        if !is_name(name) || last.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(match below {
            true => Pattern::Below(name.to_owned()),
            false => Pattern::Name(name.to_owned()),
        })
    }

    /// `address` in its canonical form, `class` with the host's own addresses considered.
    pub(super) fn matches(&self, host: &str, address: IpAddr, class: Class) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        match self {
            Pattern::All => true,
            Pattern::Class(wanted) => *wanted == class,
            Pattern::Network { .. } => self.contains(address),
            Pattern::Name(name) => host.eq_ignore_ascii_case(name),
            Pattern::Below(name) => host
                .len()
                .checked_sub(name.len())
                .and_then(|at| host.split_at_checked(at))
                .is_some_and(|(front, end)| {
                    front.len() > 1 && front.ends_with('.') && end.eq_ignore_ascii_case(name)
                }),
        }
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let Pattern::Network {
            network: wanted,
            prefix,
        } = self
        else {
            return false;
        };
        wanted.is_ipv4() == address.is_ipv4() && masked(address, *prefix) == *wanted
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::All => f.write_str("all"),
            Pattern::Class(class) => f.write_str(class.keyword()),
            Pattern::Network { network, prefix } if *prefix == bits(*network) => {
                write!(f, "{network}")
            }
            Pattern::Network { network, prefix } => write!(f, "{network}/{prefix}"),
            Pattern::Name(name) => f.write_str(name),
            Pattern::Below(name) => write!(f, "*.{name}"),
        }
    }
}

fn parse_address(text: &str) -> Option<IpAddr> {
    match text
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
    {
        Some(inner) => inner.parse().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}

fn network(address: IpAddr, prefix: u8) -> Option<Pattern> {
    if prefix > bits(address) {
        return None;
    }
    // Mapped addresses are judged as IPv4, so a pattern of them means that.
    let (address, prefix) = match (address, prefix.checked_sub(96)) {
        (IpAddr::V6(v6), Some(rest)) => match v6.to_ipv4_mapped() {
            Some(v4) => (v4.into(), rest),
            None => (address, prefix),
        },
        _ => (address, prefix),
    };
    Some(Pattern::Network {
        network: masked(address, prefix),
        prefix,
    })
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The first `prefix` bits of an address, at most all of them; the others are zero.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    let rest = u32::from(bits(address).saturating_sub(prefix));
    // A shift by the whole width is no shift, so it needs its own arm.
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(rest).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(rest).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}
