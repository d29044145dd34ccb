//! Flow accounts of a client that was given a stream (server spec §10.3).
//!
//! Owns what is counted for one client and whether it is judged slow. What follows from that is the router's part.

use std::time::{Duration, Instant};

use crate::send_queue::Gap;

/// What one client was given and not given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flow {
    /// Most bytes ever held in the queue.
    pub held_bytes_highwater: usize,
    /// What it was not given because its queue was at its limit.
    pub dropped: Gap,
    /// How often its upstream was paused.
    pub backpressure_events: u64,
    /// Above its share without a break since then.
    above_share_since: Option<Instant>,
    /// It has been above its share for long.
    pub slow: bool,
}

impl Flow {
    /// The queue holds so many bytes now.
    pub(super) fn note_held(&mut self, held_bytes: usize) {
        self.held_bytes_highwater = self.held_bytes_highwater.max(held_bytes);
    }

    /// The client is not given what is in `gap`.
    pub(super) fn note_gap(&mut self, gap: Gap) {
        self.dropped.packets += gap.packets;
        self.dropped.bytes += gap.bytes;
    }

    /// Decides whether a client that holds `held_bytes` is slow: above `enter` bytes for `after` without a break; not
    /// any more once below `exit` (server spec §11.3).
    pub(super) fn judge_pace(
        &mut self,
        held_bytes: usize,
        enter: usize,
        exit: usize,
        after: Duration,
        now: Instant,
    ) {
        if held_bytes < exit {
            self.above_share_since = None;
            self.slow = false;
        } else if held_bytes > enter {
            let since = *self.above_share_since.get_or_insert(now);
            self.slow |= now.saturating_duration_since(since) >= after;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(3);

    /// Whether a client whose marks are 1000 and 500 bytes is slow after it was looked at so often, a second apart,
    /// each time holding so much.
    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn is_slow_after(held_bytes: &[usize]) -> bool {
        let mut flow = Flow::default();
        let mut now = Instant::now();
        for held_bytes in held_bytes {
            flow.judge_pace(*held_bytes, 1000, 500, AFTER, now);
            now += Duration::from_secs(1);
        }
        flow.slow
    }

    #[test]
    fn a_client_is_slow_once_it_has_been_above_its_share_for_long() {
        assert!(!is_slow_after(&[1001, 1001, 1001]));
        assert!(is_slow_after(&[1001, 1001, 1001, 1001]));
        assert!(!is_slow_after(&[1000, 1000, 1000, 1000]));
    }

    #[test]
    fn a_break_begins_only_below_the_lower_mark() {
        assert!(is_slow_after(&[1001, 500, 500, 1001]));
        assert!(!is_slow_after(&[1001, 499, 1001, 1001]));
    }

    #[test]
    fn a_slow_client_recovers_below_the_lower_mark() {
        assert!(is_slow_after(&[1001, 1001, 1001, 1001, 500]));
        assert!(!is_slow_after(&[1001, 1001, 1001, 1001, 499]));
    }

    #[test]
    fn gaps_add_up_and_the_most_held_stays() {
        let mut flow = Flow::default();
        let gap = Gap {
            packets: 2,
            bytes: 376,
        };
        flow.note_gap(gap);
        flow.note_gap(gap);
        flow.note_held(7);
        flow.note_held(5);
        assert_eq!((flow.dropped.packets, flow.dropped.bytes), (4, 752));
        assert_eq!(flow.held_bytes_highwater, 7);
    }
}
