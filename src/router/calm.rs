//! Calm times: whether clients have stopped coming, even if those that came are still there.
//!
//! A request runs much code that its stream needs no more.

use std::time::{Duration, Instant};

/// Since when nobody has come.
pub(super) struct Calm {
    /// How many connections there had been then.
    connections: u64,
    since: Instant,
    /// It has been told that this is a calm time.
    is_told: bool,
}

impl Calm {
    /// Nobody has come yet, which need not be told.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            connections: 0,
            since: now,
            is_told: true,
        }
    }

    /// Whether `connections`, all there have been, have stayed that many for `wait`; true once, until others come.
    pub(super) fn begins(&mut self, connections: u64, now: Instant, wait: Duration) -> bool {
        if self.connections != connections {
            *self = Self {
                connections,
                since: now,
                is_told: false,
            };
        }
        let begins = !self.is_told && now >= self.since + wait;
        self.is_told |= begins;
        begins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(1);

    #[test]
    fn calm_begins_once_after_the_last_who_came() {
        #[allow(clippy::disallowed_methods, reason = "any time will do")]
        let start = Instant::now();
        let mut calm = Calm::new(start);
        let mut begins = |connections, ms| {
            let now = start + Duration::from_millis(ms);
            calm.begins(connections, now, WAIT)
        };
        assert!(!begins(0, 5000), "nobody ever came");
        assert!(!begins(1, 6000));
        assert!(!begins(1, 6999));
        assert!(!begins(2, 7000), "another one came");
        assert!(!begins(2, 7999));
        assert!(begins(2, 8000));
        assert!(!begins(2, 9000), "it was told");
        assert!(!begins(3, 9500));
        assert!(begins(3, 10_500), "for the next one again");
    }
}
