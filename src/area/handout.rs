//! What one process fetches for all: bytes, and a note about them, that whoever holds the handout may replace.
//!
//! One process at a time holds it, and nobody waits for that: who finds it held looks again when the bell rings. Only the
//! holder writes, and a reader that it overtakes finds nothing, which is no loss as the bell will ring again. A holder that
//! dies lets go of it ([`Area::reclaim`](super::Area::reclaim)); bytes that it was about to replace are gone.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::Seat;
use super::publication::{load_bytes, store_bytes};
use crate::limits::{DOCUMENT_BYTES_MAX, HANDOUT_NOTE_BYTES_MAX};

const NOTE_WORDS: usize = HANDOUT_NOTE_BYTES_MAX.div_ceil(8);
const BODY_WORDS: usize = DOCUMENT_BYTES_MAX.div_ceil(8);
/// Holder, number, both lengths, the note and the bytes.
pub(super) const WORDS: usize = 4 + NOTE_WORDS + BODY_WORDS;

const NOBODY: u64 = 0;

/// A note and bytes; none at first.
#[derive(Debug, Clone, Copy)]
pub struct Handout<'a> {
    /// Who may write: one more than the number of a seat, or `NOBODY`.
    holder: &'a AtomicU64,
    /// Odd while something is being replaced; never the same again.
    number: &'a AtomicU64,
    note_len: &'a AtomicU64,
    /// 0 if there are no bytes.
    body_len: &'a AtomicU64,
    note: &'a [AtomicU64],
    body: &'a [AtomicU64],
}

impl<'a> Handout<'a> {
    pub(super) fn new(words: &'a [AtomicU64]) -> Self {
        let [holder, number, note_len, body_len, rest @ ..] = words else {
            panic!("the words of a handout");
        };
        let (note, body) = rest.split_at(NOTE_WORDS);
        Self {
            holder,
            number,
            note_len,
            body_len,
            note,
            body,
        }
    }

    /// Takes hold of it. Tells whether the process at `seat` holds it now; otherwise another does.
    pub fn take(&self, seat: Seat) -> bool {
        let taken =
            self.holder
                .compare_exchange(NOBODY, holder(seat), Ordering::AcqRel, Ordering::Acquire);
        taken.is_ok() || taken == Err(holder(seat))
    }

    /// Tells whether it was held by the process at `seat`, which it is not any more.
    pub(super) fn let_go(&self, seat: Seat) -> bool {
        let released =
            self.holder
                .compare_exchange(holder(seat), NOBODY, Ordering::AcqRel, Ordering::Relaxed);
        released.is_ok()
    }

    /// Replaces the note, and the bytes unless they stay as they are. Only the holder may.
    ///
    /// To replace them by none takes them away; so do more than [`DOCUMENT_BYTES_MAX`], or a note of more than
    /// [`HANDOUT_NOTE_BYTES_MAX`], which is taken away itself. Returns the new number.
    pub fn put(&self, note: &[u8], body: Option<&[u8]>) -> u64 {
        let before = self.number.load(Ordering::Relaxed);
        let being_replaced = before | 1;
        self.number.store(being_replaced, Ordering::Relaxed);
        // Whoever sees a new word also sees that it is being replaced.
        fence(Ordering::Release);
        let fits = note.len() <= self.note.len() * 8;
        let note = if fits { note } else { b"" };
        let body = match body {
            _ if !fits => Some(&b""[..]),
            Some(bytes) if bytes.len() > self.body.len() * 8 => Some(&b""[..]),
            // The one before has not come to its end.
            None if before == being_replaced => Some(&b""[..]),
            body => body,
        };
        store_bytes(self.note, note);
        self.note_len.store(note.len() as u64, Ordering::Relaxed);
        if let Some(bytes) = body {
            store_bytes(self.body, bytes);
            self.body_len.store(bytes.len() as u64, Ordering::Relaxed);
        }
        let number = being_replaced.wrapping_add(1);
        self.number.store(number, Ordering::Release);
        number
    }

    /// Changes with every note.
    pub fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// The note, and the number by which to ask for its bytes; `None` if there is no note, or not yet.
    pub fn note(&self) -> Option<(u64, Vec<u8>)> {
        let number = self.number.load(Ordering::Acquire);
        let note = self.read(number, self.note, self.note_len)?;
        Some((number, note))
    }

    /// The bytes; `None` if there are none, or if they belong to another note by now.
    pub fn body(&self, number: u64) -> Option<Vec<u8>> {
        self.read(number, self.body, self.body_len)
    }

    fn read(&self, number: u64, words: &[AtomicU64], len: &AtomicU64) -> Option<Vec<u8>> {
        if !number.is_multiple_of(2) || self.number.load(Ordering::Acquire) != number {
            return None;
        }
        let len = usize::try_from(len.load(Ordering::Relaxed)).ok()?;
        let bytes = load_bytes(words, len);
        fence(Ordering::Acquire);
        let is_whole = self.number.load(Ordering::Relaxed) == number;
        (is_whole && !bytes.is_empty()).then_some(bytes)
    }
}

fn holder(seat: Seat) -> u64 {
    seat.0 as u64 + 1
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::*;

    const FEW_WORDS: usize = 4 + NOTE_WORDS + 512;

    fn words() -> Vec<AtomicU64> {
        (0..FEW_WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    fn seats() -> (Seat, Seat) {
        let mut seats = Seat::all();
        (seats.next().expect("one"), seats.next().expect("another"))
    }

    #[test]
    fn only_one_holds_it() {
        let words = words();
        let handout = Handout::new(&words);
        let (one, other) = seats();
        assert!(handout.take(one));
        assert!(handout.take(one), "it is still held");
        assert!(!handout.take(other));
        assert!(!handout.let_go(other), "another holds it");
        assert!(handout.let_go(one));
        assert!(!handout.let_go(one));
        assert!(handout.take(other));
    }

    #[test]
    fn bytes_stay_until_they_are_replaced() {
        let words = words();
        let handout = Handout::new(&words);
        assert_eq!(handout.note(), None);
        handout.put(b"first", Some(b"bytes"));
        let (first, note) = handout.note().expect("a note");
        assert_eq!(note, b"first");
        assert_eq!(handout.body(first).as_deref(), Some(&b"bytes"[..]));
        handout.put(b"second, and longer than a word", None);
        assert_eq!(handout.body(first), None, "they belong to another note");
        let (second, note) = handout.note().expect("a note");
        assert_ne!(first, second);
        assert_eq!(note, b"second, and longer than a word");
        assert_eq!(handout.body(second).as_deref(), Some(&b"bytes"[..]));
        handout.put(b"third", Some(b""));
        let (third, _) = handout.note().expect("a note");
        assert_eq!(handout.body(third), None);
    }

    #[test]
    fn what_is_too_long_is_not_there() {
        let words = words();
        let handout = Handout::new(&words);
        let most = vec![7; 512 * 8];
        handout.put(b"note", Some(&most));
        let (number, _) = handout.note().expect("a note");
        assert_eq!(handout.body(number), Some(most));
        handout.put(b"note", Some(&[7; 512 * 8 + 1]));
        let (number, _) = handout.note().expect("a note");
        assert_eq!(handout.body(number), None);
        handout.put(&[7; HANDOUT_NOTE_BYTES_MAX + 1], Some(b"bytes"));
        assert_eq!(handout.note(), None);
    }

    #[test]
    fn bytes_that_a_dead_holder_was_replacing_are_gone() {
        let words = words();
        let handout = Handout::new(&words);
        handout.put(b"note", Some(b"bytes"));
        let (number, _) = handout.note().expect("a note");
        handout.number.fetch_add(1, Ordering::Relaxed);
        store_bytes(handout.body, b"new");
        assert_eq!(handout.note(), None);
        assert_eq!(handout.body(number), None);
        handout.put(b"another", None);
        let (number, _) = handout.note().expect("a note");
        assert_eq!(handout.body(number), None);
    }

    #[test]
    fn reader_never_gets_half_of_it() {
        let words = words();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..20_000_u32 {
                    let bytes = vec![round as u8 | 1; 1 + (round % 4000) as usize];
                    Handout::new(&words).put(&bytes[..bytes.len().min(900)], Some(&bytes));
                }
                is_over.store(true, Ordering::Relaxed);
            });
            while !is_over.load(Ordering::Relaxed) {
                let handout = Handout::new(&words);
                let Some((number, note)) = handout.note() else {
                    continue;
                };
                assert!(note.iter().all(|byte| *byte == note[0]));
                let Some(body) = handout.body(number) else {
                    continue;
                };
                assert_eq!(note.len(), body.len().min(900));
                assert!(body.iter().all(|byte| *byte == note[0]));
            }
        });
    }
}
