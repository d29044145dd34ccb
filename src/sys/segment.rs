//! Memory files: payload written once, then sent to many sockets by page reference.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{check, check_bytes};

const NAME: &CStr = c"flowgate";

/// An anonymous in-memory file that is never written again once made: the socket buffers of its receivers
/// refer to its pages for as long as they need them.
#[derive(Debug)]
pub struct Segment {
    file: File,
    len: usize,
}

impl Segment {
    /// Makes a segment that holds `bytes`.
    ///
    /// # Errors
    ///
    /// What `memfd_create` or `write` report: no descriptor or no memory left.
    pub fn new(bytes: &[u8]) -> io::Result<Self> {
        // SAFETY: `NAME` is a NUL-terminated string that lives forever.
        let fd = check(unsafe { libc::memfd_create(NAME.as_ptr(), libc::MFD_CLOEXEC) })?;
        // SAFETY: the kernel has just returned `fd`, and nothing else owns it.
        let mut file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        file.write_all(bytes)?;
        Ok(Self {
            file,
            len: bytes.len(),
        })
    }

    /// Bytes held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the segment holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sends up to `len` bytes from byte `start` on to `socket`, without copying them.
    ///
    /// # Errors
    ///
    /// What `sendfile` reports, `WouldBlock` included.
    pub fn send(&self, socket: BorrowedFd<'_>, start: usize, len: usize) -> io::Result<usize> {
        let mut offset = libc::off_t::try_from(start).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: both descriptors are open for the whole call; `offset` outlives it.
        check_bytes(unsafe {
            libc::sendfile(
                socket.as_raw_fd(),
                self.file.as_raw_fd(),
                &raw mut offset,
                len,
            )
        })
    }

    /// Copies bytes out, from byte `start` on; for tests and simulation.
    ///
    /// # Errors
    ///
    /// What `pread` reports.
    pub fn read_at(&self, out: &mut [u8], start: usize) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.file, out, start as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn sends_the_range_it_is_asked_for() {
        let segment = Segment::new(b"0123456789").expect("a memory file");
        assert_eq!(segment.len(), 10);
        let (near, mut far) = UnixStream::pair().expect("a socket pair");
        assert_eq!(segment.send(near.as_fd(), 3, 4).expect("sent"), 4);
        drop(near);
        let mut received = Vec::new();
        far.read_to_end(&mut received).expect("received");
        assert_eq!(received, b"3456");
    }
}
