//! How long datagrams are gathered before they are handed on.

use std::time::{Duration, Instant};

use crate::limits::{
    DATAGRAM_CHARGE_PERCENT, FLUSH_FEW, FLUSH_INTERVAL_FEW, FLUSH_INTERVAL_MANY,
    FLUSH_INTERVAL_MIN, FLUSH_MANY, RECEIVE_BUFFER_BYTES_MAX, RECEIVE_BUFFER_TIME,
    SHARED_PAGES_SUBSCRIBERS, TICK_BYTES_MAX, TICK_BYTES_WIDE_MAX,
};

/// Chooses the interval between two ticks from the audience and from the rate.
#[derive(Debug)]
pub struct Pace {
    /// `--flush-interval`, unless it is automatic.
    configured: Option<Duration>,
    /// Bytes that may wait in the socket, by the kernel's accounting.
    receive_buffer_bytes: usize,
    /// The kernel grants no more than that.
    at_most: bool,
    /// Bytes per second, smoothed over a few ticks.
    rate: f64,
    noted_at: Option<Instant>,
}

impl Pace {
    /// For a socket whose receive buffer counts `receive_buffer_bytes` by the kernel's accounting.
    pub fn new(configured: Option<Duration>, receive_buffer_bytes: usize) -> Self {
        Self {
            configured,
            receive_buffer_bytes,
            at_most: false,
            rate: 0.0,
            noted_at: None,
        }
    }

    /// The receive buffer that the rate calls for, in bytes as the kernel accounts for them, if it is more than
    /// there is: a tick may come late when the machine is busy.
    pub fn wanted_receive_buffer(&self) -> Option<usize> {
        let payload = self.rate * RECEIVE_BUFFER_TIME.as_secs_f64();
        let wanted =
            (payload as usize / 100 * DATAGRAM_CHARGE_PERCENT).min(RECEIVE_BUFFER_BYTES_MAX);
        (wanted > self.receive_buffer_bytes && !self.at_most).then(|| wanted.next_power_of_two())
    }

    /// Notes what was granted.
    pub fn note_receive_buffer(&mut self, granted_bytes: usize) {
        self.at_most = granted_bytes <= self.receive_buffer_bytes;
        self.receive_buffer_bytes = self.receive_buffer_bytes.max(granted_bytes);
    }

    /// Payload that may gather in one tick: at most half of what the kernel can hold.
    fn tick_bytes_max(&self, subscribers: usize) -> f64 {
        let large = if subscribers >= SHARED_PAGES_SUBSCRIBERS {
            TICK_BYTES_WIDE_MAX
        } else {
            TICK_BYTES_MAX
        };
        (self.receive_buffer_bytes / DATAGRAM_CHARGE_PERCENT * 100 / 2).min(large) as f64
    }

    /// Notes what a tick has brought.
    pub fn note(&mut self, bytes: usize, now: Instant) {
        if let Some(before) = self.noted_at.replace(now) {
            let elapsed = now
                .saturating_duration_since(before)
                .max(FLUSH_INTERVAL_MIN)
                .as_secs_f64();
            let rate = bytes as f64 / elapsed;
            // Smoothed over a few ticks: a late tick brings more without the rate being higher.
            self.rate += (rate - self.rate) / 4.0;
        }
    }

    /// Time from one tick to the next; zero hands on every packet at once.
    pub fn interval(&self, subscribers: usize) -> Duration {
        let wanted = self.configured.unwrap_or_else(|| by_audience(subscribers));
        let tick_bytes_max = self.tick_bytes_max(subscribers);
        if wanted.is_zero() || self.rate * wanted.as_secs_f64() <= tick_bytes_max {
            return wanted;
        }
        let safe = Duration::from_secs_f64(tick_bytes_max / self.rate);
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
        for _ in 0..20 {
            now += Duration::from_millis(5);
            pace.note(250_000, now); // 400 Mbit/s
        }
        let interval = pace.interval(1);
        assert!(interval < Duration::from_millis(12), "{interval:?}");
        assert!(interval >= FLUSH_INTERVAL_MIN);
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn a_fast_channel_asks_for_a_larger_receive_buffer_until_it_is_refused() {
        let mut now = Instant::now();
        let mut pace = Pace::new(None, 1 << 20);
        pace.note(0, now);
        assert_eq!(pace.wanted_receive_buffer(), None);
        for _ in 0..20 {
            now += Duration::from_millis(5);
            pace.note(250_000, now);
        }
        let wanted = pace.wanted_receive_buffer().expect("more than a mebibyte");
        assert!((2 << 20..=4 << 20).contains(&wanted), "{wanted}");
        pace.note_receive_buffer(1 << 20);
        assert_eq!(
            pace.wanted_receive_buffer(),
            None,
            "the kernel grants no more"
        );
    }

    #[test]
    fn no_interval_stays_none() {
        assert_eq!(
            Pace::new(Some(Duration::ZERO), ROOMY).interval(100),
            Duration::ZERO
        );
    }
}
