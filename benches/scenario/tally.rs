//! What receivers saw in one window of time.

/// Counts of TS packets, bytes as they came over the connection, latencies.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) bytes: u64,
    pub(crate) packets: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) corrupt: u64,
    /// Connections the server closed.
    pub(crate) closed: u64,
    pub(crate) latency: Histogram,
}

impl Tally {
    /// Share of the packets that did not come, in percent.
    pub(crate) fn loss_percent(&self) -> f64 {
        let due = self.packets.saturating_sub(self.duplicated) + self.lost;
        self.lost as f64 * 100.0 / due.max(1) as f64
    }
}

/// Nanoseconds in buckets of 20 µs, up to a second.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    buckets: Vec<u32>,
    count: u64,
}

const BUCKET_NANOSECONDS: u64 = 20_000;
const BUCKETS: usize = 50_000;

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: vec![0; BUCKETS],
            count: 0,
        }
    }
}

impl Histogram {
    pub(crate) fn note(&mut self, nanoseconds: u64) {
        let bucket = (nanoseconds / BUCKET_NANOSECONDS).min(BUCKETS as u64 - 1);
        self.buckets[bucket as usize] += 1;
        self.count += 1;
    }

    /// Milliseconds that `percent` of the values do not exceed; NaN when there are none.
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        let rank = (self.count as f64 * percent / 100.0).ceil().max(1.0) as u64;
        let mut below = 0;
        for (&count, index) in self.buckets.iter().zip(1_u64..) {
            below += u64::from(count);
            if below >= rank {
                return (index * BUCKET_NANOSECONDS) as f64 / 1e6;
            }
        }
        f64::NAN
    }
}
