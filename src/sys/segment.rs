//! Memory files: payload written once, then sent to many sockets by page reference.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{check, check_bytes};

const NAME: &CStr = c"flowgate";

/// Bytes that [`contents`] reads at most; chosen: more than any configuration.
pub const CONTENTS_BYTES_MAX: usize = 16 << 20;

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

    /// Another descriptor of it, to be handed to another process.
    ///
    /// # Errors
    ///
    /// That descriptors have run out.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.file.try_clone().map(OwnedFd::from)
    }

    /// All bytes.
    ///
    /// # Errors
    ///
    /// As [`contents`].
    pub fn contents(&self) -> io::Result<Vec<u8>> {
        contents(&self.file)
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

/// All bytes of a file in memory, at most [`CONTENTS_BYTES_MAX`]. Where others have read to does not matter.
///
/// # Errors
///
/// What `fstat` and `pread` report, and `FileTooLarge`.
pub fn contents(file: &File) -> io::Result<Vec<u8>> {
    let len = usize::try_from(file.metadata()?.len())
        .ok()
        .filter(|len| *len <= CONTENTS_BYTES_MAX)
        .ok_or(io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; len];
    std::os::unix::fs::FileExt::read_exact_at(file, &mut bytes, 0)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn another_process_reads_all_of_it_from_its_own_descriptor() {
        let segment = Segment::new(b"0123456789").expect("a memory file");
        for _ in 0..2 {
            let descriptor = segment.descriptor().expect("a descriptor");
            assert_eq!(
                contents(&File::from(descriptor)).expect("read"),
                b"0123456789"
            );
        }
    }

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
