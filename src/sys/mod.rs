//! The only module that may say `unsafe`: system calls that mio, socket2 and std do not offer.
//!
//! Every function is safe to call, takes borrowed descriptors or owned values and answers with `io::Result`.
//! Lengths that the kernel returns are checked before what it filled in is used. Linux only.
#![allow(unsafe_code)]

pub mod bell;
pub mod channel;
pub mod epoll;
pub mod fork;
pub mod host;
pub mod load;
pub mod lock;
pub mod pipe;
pub mod process;
pub mod segment;
pub mod shared_memory;
pub mod signal;
pub mod tcp;
pub mod time;
pub mod udp;
pub mod user;

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Turns the `-1` of a system call into the error it left behind.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// As [`check`], for calls that return a byte count.
fn check_bytes(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// `setsockopt` with a plain value.
///
/// `T` must be a C type without padding that the option expects; the callers in this module see to that.
fn set_option<T: Copy>(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: `value` points at `size_of::<T>()` readable bytes for the whole call, which only reads them.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const *value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    check(result).map(drop)
}
