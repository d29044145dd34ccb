//! What the origin sends: a block that repeats, at a period that no buffer size divides, and the check.

use std::sync::OnceLock;

/// Bytes after which the body repeats. A prime, so that a lost or doubled buffer never goes unnoticed: what
/// follows it is out of place.
pub(crate) const PERIOD: usize = 1_000_003;

/// Bytes looked at, then bytes only counted, in the middle of a long body.
const LOOK_BYTES: u64 = 256 << 10;
const COUNT_BYTES: u64 = 7 * LOOK_BYTES;
/// At either end of a body every byte is looked at.
const ENDS_BYTES: u64 = 8 << 20;

/// The first [`PERIOD`] bytes of every body.
pub(crate) fn block() -> &'static [u8] {
    static BLOCK: OnceLock<Vec<u8>> = OnceLock::new();
    BLOCK.get_or_init(|| {
        let words = (1..=PERIOD.div_ceil(8) as u64).map(|word| {
            let mixed = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (mixed ^ (mixed >> 29)).to_le_bytes()
        });
        words.flatten().take(PERIOD).collect()
    })
}

/// Whether `bytes` are those of a body from `position` on.
pub(crate) fn matches(position: u64, bytes: &[u8]) -> bool {
    let mut at = (position % PERIOD as u64) as usize;
    let mut rest = bytes;
    while !rest.is_empty() {
        let expected = &block()[at..];
        let (now, later) = rest.split_at(rest.len().min(expected.len()));
        if now != &expected[..now.len()] {
            return false;
        }
        rest = later;
        at = 0;
    }
    true
}

/// What to do with the next bytes of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Look at this many at most.
    Look(u64),
    /// Count this many at most. If one were missing, those looked at next would be out of place.
    Count(u64),
}

/// What to do at `position` of a body of `length` bytes: to look at every byte of a long one would cost as
/// much as a fast proxy does.
pub(crate) fn next(position: u64, length: u64) -> Next {
    let end = length.saturating_sub(ENDS_BYTES);
    if position < ENDS_BYTES || position >= end {
        return Next::Look(length - position);
    }
    let into = (position - ENDS_BYTES) % (LOOK_BYTES + COUNT_BYTES);
    if into < LOOK_BYTES {
        Next::Look(LOOK_BYTES - into)
    } else {
        Next::Count((LOOK_BYTES + COUNT_BYTES - into).min(end - position))
    }
}

/// Plants each fault the check is there to find; run before anything is measured.
///
/// # Panics
///
/// If a fault goes unnoticed.
pub(crate) fn prove_check() {
    let whole = [block(), block()].concat();
    let at = PERIOD - 5000;
    assert!(matches(at as u64, &whole[at..at + 9000]), "whole");
    for len in [1, 1448, 4096, 16 << 10, 256 << 10] {
        let shifted = &whole[at + len..at + len + 64];
        assert!(!matches(at as u64, shifted), "{len} bytes lost");
        assert!(
            !matches((at + len) as u64, &whole[at..at + 64]),
            "{len} bytes twice"
        );
    }
    let mut flipped = whole[..9000].to_vec();
    flipped[8999] ^= 0x10;
    assert!(!matches(0, &flipped), "one bit");
    // A body is gone through in full, and no stretch that is only counted reaches its end.
    let length = 3 * ENDS_BYTES + 12_345;
    let mut position = 0;
    while position < length {
        let (Next::Look(bytes) | Next::Count(bytes)) = next(position, length);
        assert!(bytes > 0 && position + bytes <= length, "gone through");
        assert!(
            position + bytes < length || matches!(next(position, length), Next::Look(_)),
            "looked at last"
        );
        position += bytes;
    }
}
