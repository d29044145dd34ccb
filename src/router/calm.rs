//! Calm times: what is given back once clients have stopped coming, and once the last one has gone.
//!
//! A request runs much code that its stream needs no more, and a router without clients needs next to nothing.

use std::io;
use std::time::{Duration, Instant};

use super::Router;
use crate::limits::SETTLE_WAIT;

/// How long it has been calm, and what has been made of it.
pub(super) struct Calm {
    /// How many connections there had been when the last one came.
    connections: u64,
    /// When that was seen.
    since: Instant,
    /// What only beginning needs has been given back since.
    is_noted: bool,
    /// How many connections there had been when everything was last given back.
    settled_at: u64,
    /// Since when nobody is there; unset once everything has been given back.
    quiet_since: Option<Instant>,
    /// Code may be unmapped once there is nothing to do.
    sheds_code: bool,
}

impl Calm {
    /// Nobody has come yet.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            connections: 0,
            since: now,
            is_noted: true,
            settled_at: 0,
            quiet_since: None,
            sheds_code: false,
        }
    }

    /// When something is to be given back if nobody comes.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let since = [(!self.is_noted).then_some(self.since), self.quiet_since];
        since
            .into_iter()
            .flatten()
            .min()
            .map(|since| since + SETTLE_WAIT)
    }

    /// Whether `connections`, all there have been, have stayed that many for a while; true once, until others come.
    fn begins(&mut self, connections: u64, now: Instant) -> bool {
        if self.connections != connections {
            self.connections = connections;
            self.since = now;
            self.is_noted = false;
        }
        let begins = !self.is_noted && now >= self.since + SETTLE_WAIT;
        self.is_noted |= begins;
        begins
    }

    /// Whether it has been quiet for a while: not between clients that come one after another.
    fn is_over(&mut self, is_empty: bool, connections: u64, now: Instant) -> bool {
        if !is_empty || self.settled_at == connections {
            self.quiet_since = None;
            return false;
        }
        let is_over = now >= *self.quiet_since.get_or_insert(now) + SETTLE_WAIT;
        if is_over {
            self.quiet_since = None;
            self.settled_at = connections;
        }
        is_over
    }
}

impl Router {
    /// Gives back what only starting needed.
    pub fn settle(&mut self) {
        self.shared.release_memory();
        self.calm.sheds_code = true;
    }

    /// Gives back what nobody who is there needs.
    pub(super) fn settle_if_due(&mut self) {
        let connections = self.shared.stats.connections;
        let now = self.shared.now;
        let is_empty = self.clients.is_empty() && self.channels.is_empty();
        if self.calm.begins(connections, now) {
            self.shared.trim();
            self.calm.sheds_code = true;
        }
        if self.calm.is_over(is_empty, connections, now) {
            self.settle();
        }
    }

    /// Waits for events, at most for `timeout`.
    ///
    /// The last thing before is to unmap code if that is due: what still runs afterwards is mapped again.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if self.calm.sheds_code && timeout != Some(Duration::ZERO) {
            self.shared
                .net
                .poll(Some(Duration::ZERO), &mut self.events)?;
            if !self.events.is_empty() {
                return Ok(());
            }
            self.calm.sheds_code = false;
            self.shared.net.release_clean_pages();
        }
        self.shared.net.poll(timeout, &mut self.events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZERO: Duration = Duration::ZERO;

    fn begin() -> (Calm, Instant) {
        #[allow(clippy::disallowed_methods, reason = "any time will do")]
        let start = Instant::now();
        (Calm::new(start), start)
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn calm_begins_once_after_the_last_who_came() {
        let (mut calm, start) = begin();
        assert!(!calm.begins(0, start + 5 * SETTLE_WAIT), "nobody ever came");
        assert_eq!(calm.deadline(), None);
        for (connections, after) in [(1, ZERO), (1, SETTLE_WAIT - ms(1)), (2, SETTLE_WAIT)] {
            assert!(!calm.begins(connections, start + after), "{after:?}");
        }
        let until = start + 2 * SETTLE_WAIT;
        assert_eq!(calm.deadline(), Some(until), "another one came");
        assert!(!calm.begins(2, until - ms(1)));
        assert!(calm.begins(2, until));
        assert_eq!(calm.deadline(), None);
        assert!(!calm.begins(2, until + SETTLE_WAIT), "it was noted");
        assert!(!calm.begins(3, until + SETTLE_WAIT));
        assert!(calm.begins(3, until + 2 * SETTLE_WAIT), "the next one came");
    }

    #[test]
    fn it_is_over_a_while_after_the_last_has_gone() {
        let (mut calm, start) = begin();
        assert!(!calm.is_over(true, 0, start), "nobody ever came");
        assert!(!calm.is_over(true, 0, start + 2 * SETTLE_WAIT));
        assert!(!calm.is_over(false, 1, start));
        assert!(!calm.is_over(true, 1, start), "the last has just gone");
        assert_eq!(calm.deadline(), Some(start + SETTLE_WAIT));
        assert!(!calm.is_over(true, 1, start + SETTLE_WAIT - ms(1)));
        assert!(!calm.is_over(false, 2, start + SETTLE_WAIT), "another came");
        assert_eq!(calm.deadline(), None);
        assert!(!calm.is_over(true, 2, start + 2 * SETTLE_WAIT));
        assert!(calm.is_over(true, 2, start + 3 * SETTLE_WAIT));
        assert_eq!(calm.deadline(), None);
        assert!(
            !calm.is_over(true, 2, start + 9 * SETTLE_WAIT),
            "it was over"
        );
    }
}
