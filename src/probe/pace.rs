//! How far a paced sender may be at a moment.

use std::time::{Duration, Instant};

/// The pace of one sender: bytes or messages per second, or none.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    started_at: Instant,
    frame_bytes: u64,
    /// Frames per second, 0 for no limit.
    frames_per_second: f64,
}

impl Pace {
    /// A pace from `now` on; of two the slower holds. `bytes_per_second` and `messages_per_second` are 0 without a
    /// limit.
    pub fn new(
        now: Instant,
        frame_bytes: u64,
        bytes_per_second: u64,
        messages_per_second: u64,
    ) -> Self {
        let by_bytes = bytes_per_second as f64 / frame_bytes.max(1) as f64;
        let limits = [by_bytes, messages_per_second as f64];
        let slower = limits.into_iter().filter(|limit| *limit > 0.0);
        Self {
            started_at: now,
            frame_bytes,
            frames_per_second: slower.reduce(f64::min).unwrap_or(0.0),
        }
    }

    /// Payload bytes that may be sent by `now`; the first frame goes at once.
    pub fn limit_bytes(&self, now: Instant) -> u64 {
        if self.frames_per_second == 0.0 {
            return u64::MAX;
        }
        let elapsed = now.saturating_duration_since(self.started_at).as_secs_f64();
        // A nanosecond's rounding must not put a frame off for another turn.
        let frames = (elapsed * self.frames_per_second + 1e-6) as u64 + 1;
        frames.saturating_mul(self.frame_bytes)
    }

    /// When the next frame may be sent, if there is a pace.
    pub fn next_at(&self, now: Instant) -> Option<Instant> {
        if self.frames_per_second == 0.0 {
            return None;
        }
        let frames = self.limit_bytes(now) / self.frame_bytes.max(1);
        let seconds = frames as f64 / self.frames_per_second;
        Some(self.started_at + Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX / 4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn messages_go_one_by_one() {
        let start = start();
        let pace = Pace::new(start, 1000, 0, 5);
        assert_eq!(pace.limit_bytes(start), 1000);
        assert_eq!(
            pace.next_at(start),
            Some(start + Duration::from_millis(200))
        );
        let later = start + Duration::from_millis(200);
        assert_eq!(pace.limit_bytes(later), 2000);
        assert_eq!(
            pace.next_at(later),
            Some(start + Duration::from_millis(400))
        );
    }

    #[test]
    fn the_slower_of_two_limits_holds() {
        let start = start();
        let pace = Pace::new(start, 1000, 2000, 5);
        let second = start + Duration::from_secs(1);
        assert_eq!(pace.limit_bytes(second), 3000);
        let free = Pace::new(start, 1000, 0, 0);
        assert_eq!(
            (free.limit_bytes(start), free.next_at(start)),
            (u64::MAX, None)
        );
    }
}
