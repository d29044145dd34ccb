//! The addresses of this host, so that the HTTP proxy can tell it from others.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr;

use super::check;

/// Every address of every interface of this host, without repeats. They may change at any time.
///
/// Costs a few system calls, each of which answers at once.
///
/// # Errors
///
/// What `getifaddrs` reports.
pub fn addresses() -> io::Result<Vec<IpAddr>> {
    let mut first = MaybeUninit::<*mut libc::ifaddrs>::uninit();
    // SAFETY: `first` has room for the pointer that the call fills in.
    check(unsafe { libc::getifaddrs(first.as_mut_ptr()) })?;
    // SAFETY: the call succeeded, so the pointer is set.
    let first = unsafe { first.assume_init() };
    let mut found = Vec::new();
    let mut next = first;
    // SAFETY: `next` is null or an element of the list, which lives until it is freed below.
    while let Some(interface) = unsafe { next.as_ref() } {
        // SAFETY: `ifa_addr` is null or points to an address of the family it names, for as long as the list lives.
        found.extend(unsafe { address(interface.ifa_addr) });
        next = interface.ifa_next;
    }
    // SAFETY: `first` came from `getifaddrs` and is freed once; nothing borrowed from the list is left.
    unsafe { libc::freeifaddrs(first) };
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// A number that nobody can foresee, and that no copy of this process is given too.
///
/// Costs a system call, which does not wait once the system has been up for a moment.
pub fn random() -> u64 {
    let mut bytes = [0_u8; 8];
    // SAFETY: `bytes` has room for as many bytes as are named and outlives the call, which Linux has since
    // 3.17 and which does not fail for up to 256 bytes (`getrandom(2)`).
    unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    u64::from_ne_bytes(bytes)
}

/// The IP address in a socket address, if it is one.
///
/// # Safety
///
/// `address` is null, or points to a socket address that is as large as its family says.
unsafe fn address(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: not null, and every socket address begins with its family.
    let family = unsafe { address.as_ref()? }.sa_family;
    match libc::c_int::from(family) {
        libc::AF_INET => {
            // SAFETY: the family says that this is a `sockaddr_in`; it need not be aligned.
            let v4 = unsafe { ptr::read_unaligned(address.cast::<libc::sockaddr_in>()) };
            Some(Ipv4Addr::from_bits(u32::from_be(v4.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that this is a `sockaddr_in6`; it need not be aligned.
            let v6 = unsafe { ptr::read_unaligned(address.cast::<libc::sockaddr_in6>()) };
            Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_differ() {
        assert_ne!(random(), random());
    }

    #[test]
    fn loopback_is_an_address_of_this_host() {
        let addresses = addresses().expect("addresses");
        assert!(
            addresses.contains(&Ipv4Addr::LOCALHOST.into()),
            "{addresses:?}"
        );
    }

    #[test]
    fn whatever_is_found_can_be_bound() {
        for address in addresses().expect("addresses") {
            // A link-local address needs a scope to be bound.
            let is_link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
            if !is_link_local {
                std::net::UdpSocket::bind((address, 0)).expect("an address of this host");
            }
        }
    }

    #[test]
    fn each_address_is_told_once() {
        let mut addresses = addresses().expect("addresses");
        let told = addresses.len();
        addresses.dedup();
        assert_eq!(addresses.len(), told);
    }
}
