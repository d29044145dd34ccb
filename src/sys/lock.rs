//! Record locks on whole files, which belong to a process and not to a descriptor.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::check;

/// What has become of an attempt to lock a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// This process has it, until it ends or closes any descriptor of the file (`fcntl(2)`). Processes forked from it
    /// do not have it.
    Taken,
    /// Another process has it: the number of one, unless it cannot be told.
    Held(Option<u32>),
}

/// Locks a file that is open for writing against other processes, all of it, without waiting.
///
/// # Errors
///
/// What `fcntl` reports other than that the file is locked, for instance that the file system knows no locks.
pub fn lock(file: BorrowedFd<'_>) -> io::Result<Lock> {
    let wanted = whole_file();
    // SAFETY: `wanted` is an initialised `flock` that outlives the call, which only reads it.
    match check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const wanted) }) {
        Ok(_) => Ok(Lock::Taken),
        Err(error) => match error.raw_os_error() {
            // Which of them is left to the system (POSIX, `fcntl`).
            Some(libc::EACCES | libc::EAGAIN) => Ok(Lock::Held(holder(file))),
            _ => Err(error),
        },
    }
}

/// Which process holds a lock on any of the file.
fn holder(file: BorrowedFd<'_>) -> Option<u32> {
    let mut found = whole_file();
    // SAFETY: `found` is an initialised `flock` that outlives the call, which fills it in.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &raw mut found) }).ok()?;
    let is_locked = libc::c_int::from(found.l_type) != libc::F_UNLCK;
    // 0 and -1 stand for a process of another namespace, or of none.
    let process = u32::try_from(found.l_pid)
        .ok()
        .filter(|process| *process > 0);
    process.filter(|_| is_locked)
}

fn whole_file() -> libc::flock {
    // SAFETY: zero is valid for every field of `flock`; a length of 0 reaches to the end of the file.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock
}
