//! What the kernel knows about a TCP connection.

use std::io;
use std::mem::{MaybeUninit, offset_of, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};

use super::{check, check_bytes, set_option};

/// How many times in a row the peer has not answered: retransmissions of data or probes of a closed window.
///
/// A peer that merely stops reading goes on acknowledging probes, so the figure stays 0 for it however long
/// it stalls; a peer that is gone lets it grow (Linux `tcp_info`: `tcpi_retransmits`, `tcpi_probes`).
///
/// # Errors
///
/// What `getsockopt` reports, or `Unsupported` when the kernel returns less than these fields.
pub fn unanswered(fd: BorrowedFd<'_>) -> io::Result<u8> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: `info` has room for `len` bytes, and both outlive the call.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    })?;
    if (len as usize) <= offset_of!(libc::tcp_info, tcpi_backoff) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    // SAFETY: zero is valid for every field of `tcp_info`, so the value is initialised whatever came back.
    let info = unsafe { info.assume_init() };
    Ok(info.tcpi_retransmits.max(info.tcpi_probes))
}

/// How many bytes the kernel has received that nobody has read yet (Linux `FIONREAD`, `tcp(7)`).
///
/// # Errors
///
/// What `ioctl` reports.
pub fn unread_bytes(fd: BorrowedFd<'_>) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: `FIONREAD` writes one `int`, and `bytes` is one that outlives the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut bytes) })?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Lets only `bytes` waiting bytes, or the end of the stream, wake whoever waits for the socket (`SO_RCVLOWAT`).
///
/// # Errors
///
/// What `setsockopt` reports.
pub fn set_receive_low_water(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    set_option(fd, libc::SOL_SOCKET, libc::SO_RCVLOWAT, &bytes)
}

/// Fills `out` with the front of the kernel's `tcp_info` and returns how much of it is filled: the kernel's own
/// length where that is less. A field exists only if it lies wholly inside (`linux/tcp.h`).
///
/// # Errors
///
/// What `getsockopt` reports.
pub fn info(fd: BorrowedFd<'_>, out: &mut [u8]) -> io::Result<usize> {
    let mut len = libc::socklen_t::try_from(out.len()).unwrap_or(libc::socklen_t::MAX);
    // SAFETY: `out` has room for `len` bytes, and both outlive the call.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            out.as_mut_ptr().cast(),
            &raw mut len,
        )
    })?;
    Ok((len as usize).min(out.len()))
}

/// How many bytes the kernel has of this end that the peer has not acknowledged (Linux `SIOCOUTQ`, `tcp(7)`).
///
/// # Errors
///
/// What `ioctl` reports.
pub fn unacknowledged_bytes(fd: BorrowedFd<'_>) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: `SIOCOUTQ`, which is `TIOCOUTQ`, writes one `int`, and `bytes` is one that outlives the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) })?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Sets how many unsent bytes make a socket count as full (`TCP_NOTSENT_LOWAT`, `tcp(7)`).
///
/// # Errors
///
/// What `setsockopt` reports.
pub fn set_unsent_low_water(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, &bytes)
}

/// Copies the front of what waits in a socket into `out` without taking it (`MSG_PEEK`, `recv(2)`).
///
/// # Errors
///
/// What `recv` reports, `WouldBlock` included.
pub fn peek(fd: BorrowedFd<'_>, out: &mut [u8]) -> io::Result<usize> {
    // SAFETY: `out` is writable for its whole length and outlives the call.
    check_bytes(unsafe {
        libc::recv(
            fd.as_raw_fd(),
            out.as_mut_ptr().cast(),
            out.len(),
            libc::MSG_PEEK | libc::MSG_DONTWAIT,
        )
    })
}
