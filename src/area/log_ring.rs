//! The latest lines of the log, of all processes.
//!
//! Each line takes the next number and the slot that the number gives. It never waits: should a slower writer still
//! be busy in that slot, with the line of a whole round before, the new line is lost to the ring, and the reader
//! counts it. The number in a slot tells a reader whether what it has copied is the line it wanted.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::publication::{load_bytes, store_bytes};
use crate::limits::{LOG_LINE_BYTES_MAX, LOG_LINES_MAX};

/// Words of one slot: stamp, time, level and length, then the bytes.
const SLOT_WORDS: usize = 3 + LOG_LINE_BYTES_MAX.div_ceil(8);
/// Words of the ring: the last number given, the last number that was cleared away, how often that was done, and the
/// slots.
pub(super) const WORDS: usize = 3 + LOG_LINES_MAX * SLOT_WORDS;

/// A stamp is the number of the line above this many bits, and below them who is writing it: 0 once it is complete.
const WRITER_BITS: u32 = 8;
const WRITER: u64 = (1 << WRITER_BITS) - 1;

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number; later lines have greater ones.
    pub number: u64,
    /// When it was written, in milliseconds since 1970.
    pub unix_ms: u64,
    /// A number of [`Verbosity`](crate::config::Verbosity).
    pub level: u8,
    /// The line as it was printed, with its newline; at most [`LOG_LINE_BYTES_MAX`] bytes.
    pub text: Vec<u8>,
}

/// How far somebody has read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The last line that was read or given up.
    last: u64,
    /// A line that was not complete when it was last wanted.
    awaited: u64,
    clears: u64,
}

impl Cursor {
    /// The number of the last line that was read or given up.
    pub fn last(&self) -> u64 {
        self.last
    }
}

/// What a reader has missed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Missed {
    /// Lines that were overwritten before they were read, or not kept.
    pub lines: u64,
    /// The log was cleared since.
    pub cleared: bool,
}

/// The ring.
#[derive(Debug, Clone, Copy)]
pub struct LogRing<'a> {
    last: &'a AtomicU64,
    cleared: &'a AtomicU64,
    clears: &'a AtomicU64,
    slots: &'a [[AtomicU64; SLOT_WORDS]],
}

impl<'a> LogRing<'a> {
    pub(super) fn new(words: &'a [AtomicU64]) -> Self {
        let ([last, cleared, clears], slots) = words
            .split_first_chunk()
            .expect("the words of the log ring");
        Self {
            last,
            cleared,
            clears,
            slots: slots.as_chunks().0,
        }
    }

    /// Adds a line. `writer` is that of a [`Seat`](super::Seat), or [`SUPERVISOR`](super::SUPERVISOR); text beyond
    /// [`LOG_LINE_BYTES_MAX`] bytes is cut. Never waits.
    pub fn push(&self, writer: usize, unix_ms: u64, level: u8, text: &[u8]) {
        let number = self.last.fetch_add(1, Ordering::AcqRel) + 1;
        let [stamp, time, form, words @ ..] = self.slot(number);
        let before = stamp.load(Ordering::Relaxed);
        if before & WRITER != 0 || before >> WRITER_BITS > number {
            return;
        }
        let busy = number << WRITER_BITS | (writer as u64 + 1);
        if stamp
            .compare_exchange(before, busy, Ordering::AcqRel, Ordering::Relaxed)
            .is_err()
        {
            return;
        }
        // Whoever sees a word of this line also sees that the one before is gone.
        fence(Ordering::Release);
        let text = text.get(..LOG_LINE_BYTES_MAX).unwrap_or(text);
        time.store(unix_ms, Ordering::Relaxed);
        form.store(
            u64::from(level) << 32 | text.len() as u64,
            Ordering::Relaxed,
        );
        store_bytes(words, text);
        stamp.store(number << WRITER_BITS, Ordering::Release);
    }

    /// Empties the ring for all readers.
    pub fn clear(&self) {
        self.cleared
            .fetch_max(self.last.load(Ordering::Acquire), Ordering::AcqRel);
        self.clears.fetch_add(1, Ordering::AcqRel);
    }

    /// A cursor before the oldest line that is kept.
    pub fn oldest(&self) -> Cursor {
        // First: what is cleared in between is noticed at the next reading.
        let clears = self.clears.load(Ordering::Acquire);
        Cursor {
            last: self.first_kept(self.last.load(Ordering::Acquire)),
            awaited: 0,
            clears,
        }
    }

    /// Appends the lines after `cursor` to `lines`, the oldest first, and moves the cursor on.
    ///
    /// A line that is just being written ends the reading. If it is still not there the next time, its writer has
    /// died or given up, and it counts as missed.
    pub fn read(&self, cursor: &mut Cursor, lines: &mut Vec<Line>) -> Missed {
        let clears = self.clears.load(Ordering::Acquire);
        let end = self.last.load(Ordering::Acquire);
        let cleared = self.cleared.load(Ordering::Acquire);
        let mut missed = Missed {
            lines: 0,
            cleared: clears != cursor.clears,
        };
        cursor.clears = clears;
        cursor.last = cursor.last.max(cleared);
        let first = self.first_kept(end);
        missed.lines += first.saturating_sub(cursor.last);
        cursor.last = cursor.last.max(first);
        while cursor.last < end {
            let number = cursor.last + 1;
            match self.line(number) {
                Some(line) => lines.push(line),
                None if self.is_over(number) || cursor.awaited == number => missed.lines += 1,
                None => {
                    cursor.awaited = number;
                    break;
                }
            }
            cursor.last = number;
        }
        missed
    }

    /// A process is no more: slots in which it died are usable again.
    pub(super) fn release(&self, writer: usize) {
        for [stamp, ..] in self.slots {
            let busy = stamp.load(Ordering::Relaxed);
            if busy & WRITER == writer as u64 + 1 {
                // As if nothing had ever been written; the line is lost.
                let _ = stamp.compare_exchange(busy, 0, Ordering::AcqRel, Ordering::Relaxed);
            }
        }
    }

    /// The number before the first line that is kept when `end` is the last.
    fn first_kept(&self, end: u64) -> u64 {
        let cleared = self.cleared.load(Ordering::Acquire);
        end.saturating_sub(LOG_LINES_MAX as u64).max(cleared)
    }

    /// Whether a later line has taken the slot of this one.
    fn is_over(&self, number: u64) -> bool {
        let [stamp, ..] = self.slot(number);
        stamp.load(Ordering::Acquire) >> WRITER_BITS > number
    }

    fn line(&self, number: u64) -> Option<Line> {
        let [stamp, time, form, words @ ..] = self.slot(number);
        if stamp.load(Ordering::Acquire) != number << WRITER_BITS {
            return None;
        }
        let form = form.load(Ordering::Relaxed);
        let line = Line {
            number,
            unix_ms: time.load(Ordering::Relaxed),
            level: (form >> 32) as u8,
            text: load_bytes(words, form as u32 as usize),
        };
        fence(Ordering::Acquire);
        (stamp.load(Ordering::Relaxed) == number << WRITER_BITS).then_some(line)
    }

    fn slot(&self, number: u64) -> &'a [AtomicU64; SLOT_WORDS] {
        &self.slots[(number % LOG_LINES_MAX as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    fn words() -> Vec<AtomicU64> {
        (0..WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    fn texts(lines: &[Line]) -> Vec<String> {
        let text = |line: &Line| String::from_utf8(line.text.clone()).expect("text");
        lines.iter().map(text).collect()
    }

    /// What is new after `cursor`, and how many lines were missed.
    fn read(ring: LogRing<'_>, cursor: &mut Cursor) -> (Vec<String>, u64) {
        let mut lines = Vec::new();
        let missed = ring.read(cursor, &mut lines);
        (texts(&lines), missed.lines)
    }

    #[test]
    fn lines_come_in_order_and_once() {
        let words = words();
        let ring = LogRing::new(&words);
        let mut cursor = ring.oldest();
        ring.push(0, 17, 3, b"a\n");
        ring.push(super::super::SUPERVISOR, 18, 1, b"b\n");
        let mut lines = Vec::new();
        ring.read(&mut cursor, &mut lines);
        assert_eq!((lines[0].unix_ms, lines[0].level), (17, 3));
        assert_eq!((lines[1].unix_ms, lines[1].level), (18, 1));
        assert_eq!(texts(&lines), ["a\n", "b\n"]);
        assert_eq!(read(ring, &mut cursor), (vec![], 0));
        assert_eq!(read(ring, &mut ring.oldest()).0, ["a\n", "b\n"]);
    }

    #[test]
    fn a_reader_that_fell_behind_is_told_how_far() {
        let words = words();
        let ring = LogRing::new(&words);
        let mut cursor = ring.oldest();
        for number in 0..LOG_LINES_MAX + 5 {
            ring.push(0, 0, 0, number.to_string().as_bytes());
        }
        let (lines, missed) = read(ring, &mut cursor);
        assert_eq!((lines.len(), missed), (LOG_LINES_MAX, 5));
        assert_eq!(lines.first().map(String::as_str), Some("5"));
        assert_eq!(read(ring, &mut ring.oldest()).0.len(), LOG_LINES_MAX);
    }

    #[test]
    fn long_text_is_cut() {
        let words = words();
        let ring = LogRing::new(&words);
        ring.push(0, 0, 0, &[b'x'; 2000]);
        let (lines, _) = read(ring, &mut ring.oldest());
        assert_eq!(lines, ["x".repeat(LOG_LINE_BYTES_MAX)]);
    }

    #[test]
    fn a_cleared_ring_is_empty_for_everybody() {
        let words = words();
        let ring = LogRing::new(&words);
        let mut cursor = ring.oldest();
        ring.push(0, 0, 0, b"old");
        ring.clear();
        ring.push(0, 0, 0, b"new");
        let mut lines = Vec::new();
        let missed = ring.read(&mut cursor, &mut lines);
        let expected = Missed {
            lines: 0,
            cleared: true,
        };
        assert_eq!((missed, texts(&lines)), (expected, vec!["new".to_owned()]));
        assert_eq!(ring.read(&mut cursor, &mut lines), Missed::default());
        assert_eq!(read(ring, &mut ring.oldest()).0, ["new"]);
    }

    #[test]
    fn a_line_whose_writer_died_is_waited_for_once() {
        let words = words();
        let ring = LogRing::new(&words);
        let mut cursor = ring.oldest();
        ring.last.fetch_add(1, Ordering::Relaxed);
        ring.slot(1)[0].store(1 << WRITER_BITS | 3, Ordering::Relaxed);
        ring.push(0, 0, 0, b"next");
        assert_eq!(read(ring, &mut cursor), (vec![], 0));
        assert_eq!(read(ring, &mut cursor), (vec!["next".to_owned()], 1));
        for _ in 0..LOG_LINES_MAX {
            ring.push(0, 0, 0, b"x");
        }
        let kept = |ring: LogRing<'_>| {
            let mut cursor = ring.oldest();
            read(ring, &mut cursor).0.len() + read(ring, &mut cursor).0.len()
        };
        assert_eq!(kept(ring), LOG_LINES_MAX - 1, "its slot is blocked");
        ring.release(2);
        for _ in 0..LOG_LINES_MAX {
            ring.push(0, 0, 0, b"x");
        }
        assert_eq!(kept(ring), LOG_LINES_MAX);
    }

    #[test]
    fn every_line_of_every_writer_is_whole_and_read_or_counted() {
        const WRITERS: usize = 4;
        const LINES: usize = 20_000;
        let words = words();
        let ring = LogRing::new(&words);
        let done = AtomicBool::new(false);
        let mut cursor = ring.oldest();
        let mut seen = BTreeMap::new();
        let mut missed = 0;
        let mut note = |lines: Vec<String>, lost: u64| {
            missed += lost;
            for line in lines {
                let (writer, rest) = line.split_once(' ').expect("a writer");
                let (number, tail) = rest.split_once(' ').expect("a number");
                assert!(tail.len() == 150 && tail.bytes().all(|byte| byte == b'x'));
                let number: usize = number.parse().expect("a number");
                let last = seen.insert(writer.to_owned(), number);
                assert!(last.is_none_or(|last| last < number), "out of order");
            }
        };
        let mut count = 0;
        thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    scope.spawn(move || {
                        for number in 0..LINES {
                            let text = format!("{writer} {number} {}", "x".repeat(150));
                            ring.push(writer, 0, 0, text.as_bytes());
                        }
                    })
                })
                .collect();
            scope.spawn(|| {
                for writer in writers {
                    writer.join().expect("a writer ends");
                }
                done.store(true, Ordering::Release);
            });
            while !done.load(Ordering::Acquire) {
                let (lines, lost) = read(ring, &mut cursor);
                count += lines.len();
                note(lines, lost);
            }
        });
        for _ in 0..2 {
            let (lines, lost) = read(ring, &mut cursor);
            count += lines.len();
            note(lines, lost);
        }
        assert_eq!(count as u64 + missed, (WRITERS * LINES) as u64);
    }
}
