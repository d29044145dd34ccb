//! What one worker says and all may read: bytes that are replaced as a whole.
//!
//! There are two copies. The writer fills the one that is not current and then makes it so; a reader that was
//! overtaken twice while it copied notices by the number of the copy, and tries again. A writer that dies leaves the
//! last complete copy.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::limits::PUBLICATION_BYTES_MAX;

/// Words of one copy: its number, its length, its bytes.
const COPY_WORDS: usize = 2 + PUBLICATION_BYTES_MAX.div_ceil(8);
/// Words of a publication: the number of the current copy, and both copies.
pub(super) const WORDS: usize = 1 + 2 * COPY_WORDS;

/// A reader is overtaken so often only by a writer that does nothing but write.
const READS_MAX: usize = 16;

/// The publication of one worker.
#[derive(Debug, Clone, Copy)]
pub struct Publication<'a> {
    /// Number of the current copy, which is the one of the same parity; 0 if nothing is published.
    current: &'a AtomicU64,
    copies: [&'a [AtomicU64]; 2],
}

impl<'a> Publication<'a> {
    pub(super) fn new(words: &'a [AtomicU64]) -> Self {
        let (current, copies) = words.split_first().expect("the words of a publication");
        let (even, odd) = copies.split_at(COPY_WORDS);
        Self {
            current,
            copies: [even, odd],
        }
    }

    /// Replaces what is published. Tells whether it fits; otherwise nothing changes. Only one process may write.
    pub(super) fn write(&self, bytes: &[u8]) -> bool {
        if bytes.len() > PUBLICATION_BYTES_MAX {
            return false;
        }
        let number = self.current.load(Ordering::Relaxed).wrapping_add(1).max(1);
        let [stamp, len, words @ ..] = self.copy(number) else {
            return false;
        };
        stamp.store(0, Ordering::Relaxed);
        // Whoever sees a word of the new copy also sees that the old one is gone.
        fence(Ordering::Release);
        store_bytes(words, bytes);
        len.store(bytes.len() as u64, Ordering::Relaxed);
        stamp.store(number, Ordering::Release);
        self.current.store(number, Ordering::Release);
        true
    }

    /// Nothing is published any more.
    pub(super) fn clear(&self) {
        self.current.store(0, Ordering::Release);
    }

    /// What is published; `None` for nothing.
    pub fn read(&self) -> Option<Vec<u8>> {
        (0..READS_MAX).find_map(|_| self.try_read()).flatten()
    }

    /// `None` if a writer was faster.
    fn try_read(&self) -> Option<Option<Vec<u8>>> {
        let number = self.current.load(Ordering::Acquire);
        if number == 0 {
            return Some(None);
        }
        let [stamp, len, words @ ..] = self.copy(number) else {
            return Some(None);
        };
        if stamp.load(Ordering::Acquire) != number {
            return None;
        }
        let bytes = load_bytes(words, len.load(Ordering::Relaxed) as usize);
        fence(Ordering::Acquire);
        (stamp.load(Ordering::Relaxed) == number).then_some(Some(bytes))
    }

    fn copy(&self, number: u64) -> &'a [AtomicU64] {
        let [even, odd] = self.copies;
        if number.is_multiple_of(2) { even } else { odd }
    }
}

/// Spreads bytes over words; what does not fit is left out.
pub(super) fn store_bytes(words: &[AtomicU64], bytes: &[u8]) {
    for (word, chunk) in words.iter().zip(bytes.chunks(8)) {
        let mut value = [0; 8];
        value[..chunk.len()].copy_from_slice(chunk);
        word.store(u64::from_ne_bytes(value), Ordering::Relaxed);
    }
}

/// Collects `len` bytes from words, or as many as there are.
pub(super) fn load_bytes(words: &[AtomicU64], len: usize) -> Vec<u8> {
    let words = words.get(..len.div_ceil(8)).unwrap_or(words);
    let mut bytes = Vec::with_capacity(words.len() * 8);
    for word in words {
        bytes.extend(word.load(Ordering::Relaxed).to_ne_bytes());
    }
    bytes.truncate(len);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    fn words() -> Vec<AtomicU64> {
        (0..WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn the_latest_is_read_until_it_is_cleared() {
        let words = words();
        let publication = Publication::new(&words);
        assert_eq!(publication.read(), None);
        for text in ["one", "", "a longer text than that"] {
            assert!(publication.write(text.as_bytes()));
            assert_eq!(publication.read().as_deref(), Some(text.as_bytes()));
        }
        publication.clear();
        assert_eq!(publication.read(), None);
        assert!(publication.write(b"again"));
        assert_eq!(publication.read().as_deref(), Some(&b"again"[..]));
    }

    #[test]
    fn too_much_is_refused_and_the_last_stays() {
        let words = words();
        let publication = Publication::new(&words);
        let largest = vec![7; PUBLICATION_BYTES_MAX];
        assert!(publication.write(&largest));
        assert!(!publication.write(&vec![8; PUBLICATION_BYTES_MAX + 1]));
        assert_eq!(publication.read(), Some(largest));
    }

    #[test]
    fn a_writer_that_died_half_way_leaves_the_last_copy() {
        let words = words();
        let publication = Publication::new(&words);
        publication.write(b"complete");
        let [stamp, _, bytes @ ..] = publication.copy(2) else {
            panic!("a copy has words")
        };
        stamp.store(0, Ordering::Relaxed);
        store_bytes(bytes, b"half of");
        assert_eq!(publication.read().as_deref(), Some(&b"complete"[..]));
    }

    #[test]
    fn no_reader_sees_a_mixture() {
        let words = words();
        let publication = Publication::new(&words);
        publication.write(&[0; 600]);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..30_000_usize {
                    publication.write(&vec![round as u8; 600 + round % 64]);
                }
                done.store(true, Ordering::Release);
            });
            while !done.load(Ordering::Acquire) {
                // A reader that was overtaken every time has seen nothing, which is not wrong.
                let Some(bytes) = publication.read() else {
                    continue;
                };
                assert!(bytes.iter().all(|byte| Some(byte) == bytes.first()));
            }
        });
    }

    proptest! {
        #[test]
        fn bytes_come_back_as_they_were(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let words: Vec<AtomicU64> = (0..13).map(|_| AtomicU64::new(u64::MAX)).collect();
            store_bytes(&words, &bytes);
            prop_assert_eq!(load_bytes(&words, bytes.len()), bytes);
        }
    }
}
