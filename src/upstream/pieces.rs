//! The pieces in which a fast body is taken. Every piece costs a wake-up here and one at either end, so they are large
//! where that costs no noticeable time.

use std::time::{Duration, Instant};

use crate::limits::{FAST_BODY_PIECE_BYTES, FAST_BODY_PIECE_TIME, FAST_BODY_SAMPLE_BYTES};

/// How fast a body moves, and the pieces it is taken in for that.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pieces {
    /// How many bytes make an edge: 1, or a power of two in [`FAST_BODY_PIECE_BYTES`].
    piece_bytes: usize,
    /// When `bytes` were last reset.
    since: Instant,
    bytes: usize,
}

impl Pieces {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            piece_bytes: 1,
            since: now,
            bytes: 0,
        }
    }

    /// Notes `count` bytes, behind which `left` more will come. Returns how many bytes are to make an edge, if
    /// that changes.
    pub(super) fn note(&mut self, count: usize, left: u64, now: Instant) -> Option<usize> {
        let before = self.piece_bytes;
        self.bytes += count;
        if self.bytes >= FAST_BODY_SAMPLE_BYTES {
            self.piece_bytes = piece_bytes(self.bytes, now.saturating_duration_since(self.since));
            (self.since, self.bytes) = (now, 0);
        }
        // The last piece would never be enough.
        if left < 2 * self.piece_bytes as u64 {
            self.piece_bytes = 1;
        }
        (self.piece_bytes != before).then_some(self.piece_bytes)
    }

    /// Whether something may wait for the rest of a piece.
    pub(super) fn are_large(&self) -> bool {
        self.piece_bytes > 1
    }
}

/// The piece for a body of which `bytes` came in `time`.
fn piece_bytes(bytes: usize, time: Duration) -> usize {
    let per_piece = bytes as f64 * FAST_BODY_PIECE_TIME.as_secs_f64() / time.as_secs_f64();
    // More than any piece when no time passed; a float becomes the nearest integer there is.
    let (least, most) = FAST_BODY_PIECE_BYTES.into_inner();
    match (per_piece as usize).min(most) {
        0 => 1,
        bytes if bytes < least => 1,
        bytes => 1 << bytes.ilog2(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEBIBYTE: usize = 1 << 20;

    #[test]
    fn a_piece_is_what_comes_in_its_time_within_bounds() {
        let after = |milliseconds| piece_bytes(MEBIBYTE, Duration::from_millis(milliseconds));
        assert_eq!(after(0), 512 << 10);
        assert_eq!(after(1), 512 << 10);
        assert_eq!(after(12), 256 << 10, "427 KiB");
        assert_eq!(after(50), 64 << 10, "102 KiB");
        assert_eq!(after(80), 64 << 10, "just 64 KiB");
        assert_eq!(after(81), 1);
        assert_eq!(after(1_000_000), 1);
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn pieces_follow_the_speed_and_say_so_once() {
        let start = Instant::now();
        let mut pieces = Pieces::new(start);
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let left = 1 << 30;
        assert_eq!(
            pieces.note(MEBIBYTE / 2, left, at(1)),
            None,
            "too little to tell"
        );
        assert_eq!(pieces.note(MEBIBYTE / 2, left, at(2)), Some(512 << 10));
        assert!(pieces.are_large());
        assert_eq!(pieces.note(MEBIBYTE, left, at(4)), None);
        assert_eq!(pieces.note(MEBIBYTE, left, at(54)), Some(64 << 10));
        assert_eq!(pieces.note(MEBIBYTE, left, at(1054)), Some(1));
        assert!(!pieces.are_large());
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn nothing_waits_for_a_piece_that_will_not_be_full() {
        let start = Instant::now();
        let mut pieces = Pieces::new(start);
        assert_eq!(
            pieces.note(MEBIBYTE, MEBIBYTE as u64, start),
            Some(512 << 10)
        );
        assert_eq!(pieces.note(1, (MEBIBYTE - 1) as u64, start), Some(1));
    }
}
