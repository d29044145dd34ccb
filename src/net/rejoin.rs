//! Membership refreshed without leaving the group (multicast spec §4.2).
//!
//! Where no querier asks, snooping switches forget members that do not speak up, and the kernel speaks only
//! when a membership changes. Two ways to make it known again, neither of which stops a packet:
//!
//! * With the privilege for a raw socket, and for IPv4, the reports themselves are sent: IGMPv2 to the group
//!   and IGMPv3 to 224.0.0.22.
//! * Without it, and for IPv6, the membership is changed to one that receives the same and changed back. An
//!   any-source membership shuts out and readmits a source that cannot exist; a source-specific one is widened
//!   to any source by a second socket for a moment. Either makes the kernel send IGMPv3 or MLDv2 state-change
//!   reports. A host that hears an IGMPv2 querier sends none, but then that querier asks.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, Protocol, Socket, Type};

use crate::sys::udp::{self, Membership};

/// Sources that exist nowhere: the documentation prefixes of RFC 5737 §3 and RFC 3849 §2.
const NOBODY_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 254));
const NOBODY_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xfffe));

/// All IGMPv3-capable routers, RFC 3376 §4.2.14.
const ALL_IGMPV3_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);
/// IPv4 Router Alert option, RFC 2113 §2.1.
const ROUTER_ALERT: [u8; 4] = [0x94, 0x04, 0, 0];

/// Makes the membership of `socket` known to the network again.
pub(super) fn rejoin(socket: BorrowedFd<'_>, membership: &Membership) -> io::Result<()> {
    if let IpAddr::V4(group) = membership.group
        && let Ok(raw) = Socket::new(
            Domain::IPV4,
            Type::RAW,
            Some(Protocol::from(libc::IPPROTO_IGMP)),
        )
    {
        return send_reports(&raw, group, membership);
    }
    match membership.source {
        None => readmit_nobody(socket, membership),
        Some(_) => widen_for_a_moment(membership),
    }
}

fn readmit_nobody(socket: BorrowedFd<'_>, membership: &Membership) -> io::Result<()> {
    let nobody = if membership.group.is_ipv4() {
        NOBODY_V4
    } else {
        NOBODY_V6
    };
    udp::block_source(socket, membership, nobody)?;
    udp::unblock_source(socket, membership, nobody)
}

fn widen_for_a_moment(membership: &Membership) -> io::Result<()> {
    let any_source = Membership {
        source: None,
        ..*membership
    };
    let second = Socket::new(domain(membership.group), Type::DGRAM, None)?;
    udp::join(second.as_fd(), &any_source)
    // Closing the second socket leaves the source-specific membership of the first one.
}

fn domain(group: IpAddr) -> Domain {
    if group.is_ipv4() {
        Domain::IPV4
    } else {
        Domain::IPV6
    }
}

fn send_reports(raw: &Socket, group: Ipv4Addr, membership: &Membership) -> io::Result<()> {
    raw.set_nonblocking(true)?;
    udp::set_ipv4_options(raw.as_fd(), ROUTER_ALERT)?;
    if membership.interface != 0 {
        udp::set_multicast_interface_v4(raw.as_fd(), membership.interface)?;
    }
    let source = match membership.source {
        Some(IpAddr::V4(source)) => Some(source),
        _ => None,
    };
    let v2 = match source {
        None => send(raw, &report_v2(group), group),
        Some(_) => Err(io::ErrorKind::Unsupported.into()),
    };
    let v3 = send(raw, &report_v3(group, source), ALL_IGMPV3_ROUTERS);
    v2.or(v3)
}

fn send(raw: &Socket, report: &[u8], to: Ipv4Addr) -> io::Result<()> {
    raw.send_to(report, &SocketAddr::from((to, 0)).into())
        .map(drop)
}

/// IGMPv2 membership report, RFC 2236 §2.
fn report_v2(group: Ipv4Addr) -> Vec<u8> {
    let mut report = vec![0x16, 0, 0, 0];
    report.extend_from_slice(&group.octets());
    with_checksum(report)
}

/// IGMPv3 membership report with one current-state record, RFC 3376 §4.2: mode is exclude nobody, or mode is
/// include `source`.
fn report_v3(group: Ipv4Addr, source: Option<Ipv4Addr>) -> Vec<u8> {
    let (record_type, source_count) = if source.is_some() { (1, 1) } else { (2, 0) };
    let mut report = vec![0x22, 0, 0, 0, 0, 0, 0, 1, record_type, 0, 0, source_count];
    report.extend_from_slice(&group.octets());
    report.extend(source.iter().flat_map(Ipv4Addr::octets));
    with_checksum(report)
}

/// Fills in the Internet checksum (RFC 1071) at bytes 2 and 3; `message` is of even length.
fn with_checksum(mut message: Vec<u8>) -> Vec<u8> {
    let sum: u32 = message
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !((folded + (folded >> 16)) as u16);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 0, 1);

    #[test]
    fn reports_are_those_of_the_specification() {
        // Multicast spec §4.2, the examples for 239.255.0.1.
        assert_eq!(report_v2(GROUP), [0x16, 0, 0xf9, 0xfe, 0xef, 0xff, 0, 1]);
        assert_eq!(
            report_v3(GROUP, None),
            [
                0x22, 0, 0xeb, 0xfd, 0, 0, 0, 1, 2, 0, 0, 0, 0xef, 0xff, 0, 1
            ]
        );
        assert_eq!(
            report_v3(GROUP, Some(Ipv4Addr::new(192, 0, 2, 9))),
            [
                0x22, 0, 0x2a, 0xf3, 0, 0, 0, 1, 1, 0, 0, 1, 0xef, 0xff, 0, 1, 192, 0, 2, 9
            ]
        );
    }
}
