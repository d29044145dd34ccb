//! Bytes per second out of a count that only grows.

use std::time::{Duration, Instant};

/// Rates are taken over this long at least (server spec §10.3).
const WINDOW: Duration = Duration::from_secs(1);

/// The rate of one count.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    since: Instant,
    bytes: u64,
    per_second: u64,
}

impl Rate {
    /// For a count that stands at `bytes` now.
    pub fn new(bytes: u64, now: Instant) -> Self {
        Self {
            since: now,
            bytes,
            per_second: 0,
        }
    }

    /// The count stands at `bytes` now. Returns bytes per second since it was last looked at, or a second ago if that
    /// is longer; 0 within the first second.
    pub fn note(&mut self, bytes: u64, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= WINDOW {
            let grown = u128::from(bytes.saturating_sub(self.bytes));
            let per_second = grown * 1000 / elapsed.as_millis().max(1);
            self.per_second = u64::try_from(per_second).unwrap_or(u64::MAX);
            (self.since, self.bytes) = (now, bytes);
        }
        self.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_taken_over_a_second_at_least() {
        #[allow(clippy::disallowed_methods, reason = "any time will do")]
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut rate = Rate::new(1000, start);
        assert_eq!(rate.note(5000, at(999)), 0);
        assert_eq!(rate.note(5000, at(1000)), 4000);
        assert_eq!(rate.note(9999, at(1500)), 4000, "too soon");
        assert_eq!(rate.note(9000, at(3000)), 2000);
        assert_eq!(rate.note(9000, at(4000)), 0);
        assert_eq!(rate.note(8000, at(5000)), 0, "counts do not shrink");
    }
}
