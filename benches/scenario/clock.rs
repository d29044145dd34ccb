//! The clock of the benchmark: `CLOCK_MONOTONIC`, which sender and receiver share.

use std::sync::OnceLock;
use std::time::Instant;

static START: OnceLock<Instant> = OnceLock::new();

/// Now.
#[allow(
    clippy::disallowed_methods,
    reason = "a measuring program reads the clock where it measures"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Nanoseconds since the first call: the time stamp of a payload.
pub(crate) fn nanoseconds() -> u64 {
    now().duration_since(*START.get_or_init(now)).as_nanos() as u64
}
