//! Memory that a process shares with those it forks.

use std::io;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::AtomicU64;

/// An anonymous mapping of zeroed words, which every process forked after this one shares. Words that nobody has
/// touched take no memory.
///
/// Atomics are all that is ever seen of it: another process may write at any time.
#[derive(Debug)]
pub struct SharedMemory {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the mapping belongs to no thread, lives until `drop`, and is accessed through atomics only.
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// Maps `words` words, at least one.
    ///
    /// # Errors
    ///
    /// What `mmap` reports; `InvalidInput` if so many bytes cannot be counted.
    pub fn new(words: usize) -> io::Result<Self> {
        let bytes = byte_count(words).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: a new mapping at an address that the kernel chooses touches nothing that exists.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, words })
    }
}

fn byte_count(words: usize) -> Option<usize> {
    words
        .checked_mul(size_of::<AtomicU64>())
        .filter(|bytes| isize::try_from(*bytes).is_ok())
}

impl Deref for SharedMemory {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: `start` is the page-aligned beginning of a mapping of `words` words that stays until `drop`, and
        // the borrow of `self` outlives the slice. All zeroes are a valid `AtomicU64`, and so is whatever another
        // process stores through one.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: the range is the mapping made by `new`, which nothing can borrow any more. Other processes keep
        // theirs. The length was checked in `new`.
        unsafe {
            libc::munmap(
                self.start.as_ptr().cast(),
                self.words * size_of::<AtomicU64>(),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn mapping_begins_as_zeroes_and_keeps_what_is_stored() {
        let memory = SharedMemory::new(1000).expect("memory");
        assert_eq!(memory.len(), 1000);
        assert!(memory.iter().all(|word| word.load(Ordering::Relaxed) == 0));
        memory[999].store(7, Ordering::Relaxed);
        assert_eq!(memory[999].load(Ordering::Relaxed), 7);
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        assert!(SharedMemory::new(0).is_err());
        assert!(SharedMemory::new(usize::MAX).is_err());
        assert!(SharedMemory::new(usize::MAX / 8).is_err());
    }
}
