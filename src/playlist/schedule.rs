//! When a document is loaded: at once, again and again, and sooner after a failure (playlist spec §3.2, §3.4).

use std::time::{Duration, Instant};

/// Loads that are tried after one has failed, 2, 4, 8 … 256 seconds apart.
const RETRIES_MAX: u32 = 8;

/// How often a document is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// Not even once.
    Never,
    /// Once, and again only if that fails.
    Once,
    /// At once, and then at this interval; never zero.
    Every(Duration),
}

/// The next loads of one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    refresh: Refresh,
    plan: Plan,
}

/// What is to come next, which others may follow who want the same document as often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// When the next regular load is due.
    pub regular_at: Option<Instant>,
    /// When a load is tried again that has failed.
    pub retry_at: Option<Instant>,
    /// Failures in a row.
    pub failures: u32,
}

impl Schedule {
    /// Begins with a load at once, unless there is to be none.
    pub fn new(refresh: Refresh, now: Instant) -> Self {
        Self {
            refresh,
            plan: Plan {
                regular_at: (refresh != Refresh::Never).then_some(now),
                retry_at: None,
                failures: 0,
            },
        }
    }

    /// What is to come.
    pub fn plan(&self) -> Plan {
        self.plan
    }

    /// Goes on as somebody else will who has loaded the same document.
    pub fn follow(&mut self, plan: Plan) {
        self.plan = plan;
    }

    /// When the next load is due.
    pub fn due_at(&self) -> Option<Instant> {
        let Plan {
            regular_at,
            retry_at,
            ..
        } = self.plan;
        [regular_at, retry_at].into_iter().flatten().min()
    }

    /// A load begins. A regular one makes all failures be forgotten.
    pub fn begin(&mut self, now: Instant) {
        if self.plan.regular_at.is_some_and(|at| at <= now) {
            self.plan.failures = 0;
            self.plan.regular_at = match self.refresh {
                Refresh::Every(interval) => Some(now + interval),
                Refresh::Once | Refresh::Never => None,
            };
        }
        self.plan.retry_at = None;
    }

    /// A load has succeeded.
    pub fn succeed(&mut self) {
        (self.plan.failures, self.plan.retry_at) = (0, None);
    }

    /// A load has failed. Returns how long it is until the next try, if there will be one.
    pub fn fail(&mut self, now: Instant) -> Option<Duration> {
        self.plan.failures += 1;
        if self.plan.failures <= RETRIES_MAX {
            self.plan.retry_at = Some(now + Duration::from_secs(1 << self.plan.failures));
        } else {
            self.plan.failures = 0;
        }
        self.due_at().map(|at| at.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::clock;

    const SECOND: Duration = Duration::from_secs(1);

    /// Seconds from `start` to the next load.
    fn due(schedule: &Schedule, start: Instant) -> Option<u64> {
        let at = schedule.due_at()?;
        Some(at.saturating_duration_since(start).as_secs())
    }

    #[test]
    fn regular_loads_come_at_their_interval_whatever_becomes_of_them() {
        let start = clock::now();
        let mut schedule = Schedule::new(Refresh::Every(10 * SECOND), start);
        assert_eq!(due(&schedule, start), Some(0));
        schedule.begin(start);
        schedule.succeed();
        assert_eq!(due(&schedule, start), Some(10));
        schedule.begin(start + 11 * SECOND);
        assert_eq!(schedule.fail(start + 12 * SECOND), Some(2 * SECOND));
        schedule.begin(start + 14 * SECOND);
        assert_eq!(schedule.fail(start + 14 * SECOND), Some(4 * SECOND));
        schedule.begin(start + 18 * SECOND);
        // The regular load is sooner than the third retry, and forgets it.
        schedule.fail(start + 18 * SECOND);
        assert_eq!(due(&schedule, start), Some(21));
        schedule.begin(start + 21 * SECOND);
        assert_eq!(due(&schedule, start), Some(31));
    }

    #[test]
    fn failure_is_followed_by_eight_retries_ever_farther_apart() {
        let start = clock::now();
        let mut schedule = Schedule::new(Refresh::Once, start);
        let mut waits = Vec::new();
        let mut now = start;
        while let Some(at) = schedule.due_at() {
            now = at;
            schedule.begin(now);
            waits.extend(schedule.fail(now).map(|wait| wait.as_secs()));
        }
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256]);
        assert_eq!(now.saturating_duration_since(start).as_secs(), 510);
    }

    #[test]
    fn one_load_is_enough_and_none_is_none() {
        let start = clock::now();
        let mut schedule = Schedule::new(Refresh::Once, start);
        schedule.begin(start);
        schedule.succeed();
        assert_eq!(schedule.due_at(), None);
        assert_eq!(Schedule::new(Refresh::Never, start).due_at(), None);
    }
}
