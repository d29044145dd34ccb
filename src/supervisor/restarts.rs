//! How often a worker that keeps ending is started again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::limits::{RESTART_WINDOW, RESTARTS_MAX};

/// The last restarts after a crash of one worker (server spec §14.2): at most [`RESTARTS_MAX`] within any
/// [`RESTART_WINDOW`]. Deliberate restarts are not counted.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    /// The latest, the oldest first.
    at: VecDeque<Instant>,
}

impl Restarts {
    /// When the next restart is allowed; `now` if there is no reason to wait.
    pub(super) fn next_at(&self, now: Instant) -> Instant {
        match self.at.front() {
            Some(oldest) if self.at.len() >= RESTARTS_MAX => now.max(*oldest + RESTART_WINDOW),
            _ => now,
        }
    }

    /// Notes a restart.
    pub(super) fn note(&mut self, now: Instant) {
        if self.at.len() >= RESTARTS_MAX {
            self.at.pop_front();
        }
        self.at.push_back(now);
    }

    /// How long until `next_at`, if that is later.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let wait = self.next_at(now).saturating_duration_since(now);
        (!wait.is_zero()).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::test_clock::start;
    use proptest::prelude::*;

    #[test]
    fn three_restarts_are_free_and_the_fourth_waits_for_the_first_to_be_old() {
        let began = start();
        let mut restarts = Restarts::default();
        for second in 0..3 {
            let now = began + Duration::from_secs(second);
            assert_eq!(restarts.wait(now), None);
            restarts.note(now);
        }
        let now = began + Duration::from_secs(3);
        assert_eq!(restarts.wait(now), Some(Duration::from_secs(2)));
        assert_eq!(restarts.next_at(now), began + RESTART_WINDOW);
        assert_eq!(restarts.wait(began + RESTART_WINDOW), None);
    }

    proptest! {
        #[test]
        fn no_window_holds_more_than_is_allowed(crashes in proptest::collection::vec(0..3000_u64, 1..60)) {
            let mut now = start();
            let mut restarts = Restarts::default();
            let mut started = Vec::new();
            for milliseconds in crashes {
                now += Duration::from_millis(milliseconds);
                now = restarts.next_at(now);
                restarts.note(now);
                started.push(now);
            }
            for group in started.windows(RESTARTS_MAX + 1) {
                prop_assert!(group[RESTARTS_MAX] - group[0] >= RESTART_WINDOW);
            }
        }
    }
}
