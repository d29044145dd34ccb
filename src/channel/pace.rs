//! How long a channel gathers datagrams before it hands them on.

use std::time::{Duration, Instant};

use crate::limits::{
    DATAGRAM_CHARGE_PERCENT, FLUSH_FEW, FLUSH_INTERVAL_FEW, FLUSH_INTERVAL_MANY,
    FLUSH_INTERVAL_MIN, FLUSH_MANY, TICK_BYTES_MAX,
};

/// Chooses the interval between two ticks from the audience and from the rate.
#[derive(Debug)]
pub struct Pace {
    /// `--flush-interval`, unless it is automatic.
    configured: Option<Duration>,
    /// Payload that may gather in one tick: what the kernel can hold with room to spare, and one large buffer.
    tick_bytes_max: usize,
    /// Bytes per second, smoothed over a few ticks.
    rate: f64,
    noted_at: Option<Instant>,
}

impl Pace {
    /// For a socket whose receive buffer counts `receive_buffer_bytes` by the kernel's accounting.
    pub fn new(configured: Option<Duration>, receive_buffer_bytes: usize) -> Self {
        // A third of the buffer: a tick may come late by a whole interval, and rates vary.
        let safe = receive_buffer_bytes / DATAGRAM_CHARGE_PERCENT * 100 / 3;
        Self {
            configured,
            tick_bytes_max: safe.min(TICK_BYTES_MAX),
            rate: 0.0,
            noted_at: None,
        }
    }

    /// Notes what a tick has brought.
    pub fn note(&mut self, bytes: usize, now: Instant) {
        if let Some(before) = self.noted_at.replace(now) {
            let elapsed = now
                .saturating_duration_since(before)
                .max(FLUSH_INTERVAL_MIN)
                .as_secs_f64();
            let rate = bytes as f64 / elapsed;
            // Up at once, down slowly: the buffer must hold the burst that comes next.
            self.rate = if rate > self.rate {
                rate
            } else {
                self.rate * 0.9 + rate * 0.1
            };
        }
    }

    /// Time from one tick to the next; zero hands on every packet at once.
    pub fn interval(&self, subscribers: usize) -> Duration {
        let wanted = self.configured.unwrap_or_else(|| by_audience(subscribers));
        if wanted.is_zero() || self.rate * wanted.as_secs_f64() <= self.tick_bytes_max as f64 {
            return wanted;
        }
        let safe = Duration::from_secs_f64(self.tick_bytes_max as f64 / self.rate);
        safe.clamp(FLUSH_INTERVAL_MIN.min(wanted), wanted)
    }
}

/// Few clients: short delay. Many: the writes cost more than the delay matters.
fn by_audience(subscribers: usize) -> Duration {
    let above = subscribers.clamp(FLUSH_FEW, FLUSH_MANY) - FLUSH_FEW;
    let span = FLUSH_INTERVAL_MANY - FLUSH_INTERVAL_FEW;
    FLUSH_INTERVAL_FEW + span * above as u32 / (FLUSH_MANY - FLUSH_FEW) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOMY: usize = 64 << 20;

    #[test]
    fn interval_grows_with_the_audience() {
        let pace = Pace::new(None, ROOMY);
        assert_eq!(pace.interval(0), FLUSH_INTERVAL_FEW);
        assert_eq!(pace.interval(16), FLUSH_INTERVAL_FEW);
        assert_eq!(pace.interval(40), Duration::from_micros(12_500));
        assert_eq!(pace.interval(64), FLUSH_INTERVAL_MANY);
        assert_eq!(pace.interval(1000), FLUSH_INTERVAL_MANY);
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn fast_channels_tick_faster_than_configured() {
        let mut now = Instant::now();
        let mut pace = Pace::new(Some(Duration::from_millis(50)), 1 << 20);
        assert_eq!(pace.interval(1), Duration::from_millis(50));
        for _ in 0..10 {
            now += Duration::from_millis(5);
            pace.note(250_000, now); // 400 Mbit/s
        }
        let interval = pace.interval(1);
        assert!(interval < Duration::from_millis(5), "{interval:?}");
        assert!(interval >= FLUSH_INTERVAL_MIN);
    }

    #[test]
    fn no_interval_stays_none() {
        assert_eq!(
            Pace::new(Some(Duration::ZERO), ROOMY).interval(100),
            Duration::ZERO
        );
    }
}
