//! What one process leaves to those that come after it: bytes that any of them may replace as a whole.
//!
//! There is one copy and a checksum over it, and nobody waits for anybody. Who reads while somebody writes, or after two
//! have written at once or one has died over it, finds that the sum is wrong, and that there is nothing. So it serves
//! for what can be had again otherwise.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::publication::{load_bytes, store_bytes};
use crate::limits::KEEPSAKE_BYTES_MAX;

/// The sum, the number of bytes, and the bytes.
pub(super) const WORDS: usize = 2 + KEEPSAKE_BYTES_MAX.div_ceil(8);

/// The bytes that are kept; none at first.
#[derive(Debug, Clone, Copy)]
pub struct Keepsake<'a> {
    sum: &'a AtomicU64,
    len: &'a AtomicU64,
    words: &'a [AtomicU64],
}

impl<'a> Keepsake<'a> {
    pub(super) fn new(words: &'a [AtomicU64]) -> Self {
        let [sum, len, words @ ..] = words else {
            panic!("the words of a keepsake");
        };
        Self { sum, len, words }
    }

    /// Keeps `bytes` instead of what was kept. Returns whether they fit; otherwise nothing is kept any more.
    pub fn keep(&self, bytes: &[u8]) -> bool {
        self.sum.store(0, Ordering::Relaxed);
        // Whoever sees a new word also sees that the old sum is gone.
        fence(Ordering::Release);
        if bytes.len() > KEEPSAKE_BYTES_MAX {
            return false;
        }
        store_bytes(self.words, bytes);
        self.len.store(bytes.len() as u64, Ordering::Relaxed);
        self.sum.store(checksum(bytes), Ordering::Release);
        true
    }

    /// What is kept; `None` if there is nothing, or not the whole of it.
    pub fn recall(&self) -> Option<Vec<u8>> {
        let sum = self.sum.load(Ordering::Acquire);
        if sum == 0 {
            return None;
        }
        let len = usize::try_from(self.len.load(Ordering::Relaxed)).ok()?;
        let bytes = load_bytes(self.words, len.min(KEEPSAKE_BYTES_MAX));
        (checksum(&bytes) == sum).then_some(bytes)
    }
}

/// FNV-1a over whole words, and the length; never 0. It tells apart what has been mixed up by chance, not on purpose.
fn checksum(bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x100_0000_01b3;
    let basis = 0xcbf2_9ce4_8422_2325 ^ bytes.len() as u64;
    let sum = bytes.chunks(8).fold(basis, |sum, chunk| {
        let mut word = [0; 8];
        for (place, byte) in word.iter_mut().zip(chunk) {
            *place = *byte;
        }
        // The shift brings what differs in high bits down, where the product would lose it.
        let mixed = (sum ^ u64::from_le_bytes(word)).wrapping_mul(PRIME);
        mixed ^ (mixed >> 32)
    });
    sum.max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words() -> Vec<AtomicU64> {
        (0..WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn the_latest_is_kept() {
        let words = words();
        let keepsake = Keepsake::new(&words);
        assert_eq!(keepsake.recall(), None);
        for bytes in [&b"one"[..], b"", b"twelve bytes", b"twelve bytes"] {
            assert!(keepsake.keep(bytes));
            assert_eq!(Keepsake::new(&words).recall().as_deref(), Some(bytes));
        }
    }

    #[test]
    fn what_is_too_long_leaves_nothing() {
        let words = words();
        let keepsake = Keepsake::new(&words);
        let most = vec![7; KEEPSAKE_BYTES_MAX];
        assert!(keepsake.keep(&most));
        assert_eq!(keepsake.recall(), Some(most));
        assert!(!keepsake.keep(&vec![8; KEEPSAKE_BYTES_MAX + 1]));
        assert_eq!(keepsake.recall(), None);
    }

    #[test]
    fn half_a_copy_is_none() {
        let words = words();
        let keepsake = Keepsake::new(&words);
        assert!(keepsake.keep(&[1; 64]));
        // As somebody else leaves it who is interrupted behind his first word.
        words[2].store(u64::from_le_bytes([2; 8]), Ordering::Relaxed);
        assert_eq!(keepsake.recall(), None);
        assert!(keepsake.keep(&[1; 64]));
        assert_eq!(keepsake.recall(), Some(vec![1; 64]));
    }

    proptest! {
        #[test]
        fn words_of_two_writers_are_told_apart(
            first in proptest::collection::vec(any::<u8>(), 1..64),
            second in proptest::collection::vec(any::<u8>(), 1..64),
            from in 0_usize..8,
        ) {
            let (ours, theirs) = (words(), words());
            let keepsake = Keepsake::new(&ours);
            prop_assert!(keepsake.keep(&first));
            prop_assert!(Keepsake::new(&theirs).keep(&second));
            for (our, their) in ours.iter().zip(&theirs).skip(2 + from).take(8) {
                our.store(their.load(Ordering::Relaxed), Ordering::Relaxed);
            }
            let recalled = keepsake.recall();
            prop_assert!(recalled.is_none() || recalled == Some(first));
        }
    }
}
