//! The clocks of the system, for who has no [`Net`](super::Net) yet.
#![allow(clippy::disallowed_methods, reason = "these are the clocks")]

use std::time::{Instant, SystemTime};

/// The monotonic clock, which is the same for all processes.
pub fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970 (UTC), by the wall clock.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
