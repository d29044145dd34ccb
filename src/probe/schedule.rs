//! When a receiver reads: a list of steps and where it stands in them (probe spec B.4, B.5.2).
//!
//! Pure: `now` in, permission to read out. The clock of the steps starts with the first payload byte. Time that a
//! hold is cut short by is not made up for later.

use std::fmt;
use std::time::{Duration, Instant};

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Read freely for so long.
    Read(Duration),
    /// Do not read for so long.
    Hold(Duration),
    /// Read so many bytes per second for so long.
    Rate {
        /// How long.
        time: Duration,
        /// Bytes per second, not 0.
        bytes_per_second: u64,
    },
    /// Read freely to the end of the stream; always the last step.
    Drain,
}

impl Step {
    /// Its name in hellos and reports.
    pub fn name(self) -> &'static str {
        match self {
            Step::Read(_) => "read",
            Step::Hold(_) => "hold",
            Step::Rate { .. } => "rate",
            Step::Drain => "drain",
        }
    }

    /// How long it lasts; `None` for the last one.
    pub fn time(self) -> Option<Duration> {
        match self {
            Step::Read(time) | Step::Hold(time) | Step::Rate { time, .. } => Some(time),
            Step::Drain => None,
        }
    }
}

/// As on the command line: `read:1s`, `hold:10s`, `rate:1000:5s`, `drain`.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Read(time) => write!(f, "read:{}s", time.as_secs_f64()),
            Step::Hold(time) => write!(f, "hold:{}s", time.as_secs_f64()),
            Step::Rate {
                time,
                bytes_per_second,
            } => write!(f, "rate:{bytes_per_second}:{}s", time.as_secs_f64()),
            Step::Drain => f.write_str("drain"),
        }
    }
}

/// Where a receiver stands in its steps.
#[derive(Debug, Clone)]
pub struct Schedule {
    steps: Vec<Step>,
    index: usize,
    /// When the current step began; `None` before the first byte.
    began_at: Option<Instant>,
    /// Payload bytes read in the current step.
    read_bytes: u64,
    /// Somebody has said to hold until told otherwise.
    is_halted: bool,
}

/// A wait that is ended by word and not by time.
const UNTIL_TOLD: Duration = Duration::from_secs(86_400);

/// Whether a receiver may read now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// As much as there is.
    Free,
    /// At most so many bytes, not 0.
    UpTo(u64),
    /// Nothing before this instant, at which to ask again.
    NotBefore(Instant),
}

impl Schedule {
    /// In front of the first step; without steps it drains.
    pub fn new(steps: Vec<Step>) -> Self {
        Self {
            steps,
            index: 0,
            began_at: None,
            read_bytes: 0,
            is_halted: false,
        }
    }

    /// Holds, whatever the current step is, until [`Schedule::end_hold`].
    pub fn halt(&mut self) {
        self.is_halted = true;
    }

    /// The current step.
    pub fn step(&self) -> Step {
        if self.is_halted {
            return Step::Hold(UNTIL_TOLD);
        }
        self.steps.get(self.index).copied().unwrap_or(Step::Drain)
    }

    /// The number of the current step, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Whether a hold lies behind the current step.
    pub fn has_held(&self) -> bool {
        let behind = self.steps.iter().take(self.index);
        behind.into_iter().any(|step| matches!(step, Step::Hold(_)))
    }

    /// How long it has been in the current step; `None` before the first byte.
    pub fn since(&self, now: Instant) -> Option<Duration> {
        Some(now.saturating_duration_since(self.began_at?))
    }

    /// Notes payload that was read; the first of it starts the clock.
    pub fn note_read(&mut self, now: Instant, bytes: u64) {
        self.began_at.get_or_insert(now);
        self.read_bytes += bytes;
    }

    /// Moves on to the step that `now` lies in. Whether the step has changed.
    pub fn advance(&mut self, now: Instant) -> bool {
        if self.is_halted {
            return false;
        }
        let before = self.index;
        while let Some(ends_at) = self.ends_at()
            && ends_at <= now
        {
            self.enter_next(ends_at);
        }
        self.index != before
    }

    /// Ends a hold before its time. Whether there was one.
    pub fn end_hold(&mut self, now: Instant) -> bool {
        if std::mem::take(&mut self.is_halted) {
            return true;
        }
        let holds = matches!(self.step(), Step::Hold(_)) && self.began_at.is_some();
        if holds {
            self.enter_next(now);
        }
        holds
    }

    /// Leaves out whatever is left but the last step.
    pub fn drain(&mut self, now: Instant) {
        self.is_halted = false;
        self.index = self.steps.len();
        self.began_at = Some(now);
    }

    /// Whether reading is allowed at `now`; call [`Schedule::advance`] first.
    pub fn permission(&self, now: Instant) -> Permission {
        let Some(began_at) = self.began_at else {
            return Permission::Free;
        };
        match self.step() {
            Step::Read(_) | Step::Drain => Permission::Free,
            Step::Hold(_) if self.is_halted => Permission::NotBefore(now + UNTIL_TOLD),
            Step::Hold(time) => Permission::NotBefore(began_at + time),
            Step::Rate {
                time,
                bytes_per_second,
            } => {
                let elapsed = now.saturating_duration_since(began_at);
                let allowed = (elapsed.as_secs_f64() * bytes_per_second as f64) as u64;
                // A tick of a hundredth of a second's worth keeps a slow rate from being a read per byte.
                let tick_bytes = (bytes_per_second / 100).max(1);
                match allowed.checked_sub(self.read_bytes) {
                    Some(room) if room >= tick_bytes => Permission::UpTo(room),
                    _ => {
                        let wanted = (self.read_bytes + tick_bytes) as f64;
                        let after = Duration::from_secs_f64(wanted / bytes_per_second as f64);
                        let at = began_at + after.min(time);
                        Permission::NotBefore(at.max(now + Duration::from_millis(1)))
                    }
                }
            }
        }
    }

    /// When the current step ends by itself.
    pub fn ends_at(&self) -> Option<Instant> {
        Some(self.began_at? + self.step().time()?)
    }

    fn enter_next(&mut self, at: Instant) {
        self.index += 1;
        self.began_at = Some(at);
        self.read_bytes = 0;
    }
}

/// How long all steps take together.
pub fn total_time(steps: &[Step]) -> Duration {
    steps.iter().filter_map(|step| step.time()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn start() -> Instant {
        Instant::now()
    }

    fn usual() -> Schedule {
        Schedule::new(vec![
            Step::Read(SECOND),
            Step::Hold(10 * SECOND),
            Step::Read(5 * SECOND),
            Step::Drain,
        ])
    }

    #[test]
    fn the_clock_starts_with_the_first_byte() {
        let (mut schedule, start) = (usual(), start());
        assert!(!schedule.advance(start + 60 * SECOND));
        assert_eq!(schedule.permission(start), Permission::Free);
        schedule.note_read(start, 1);
        assert!(schedule.advance(start + SECOND));
        assert_eq!(schedule.step(), Step::Hold(10 * SECOND));
        assert_eq!(
            schedule.permission(start + SECOND),
            Permission::NotBefore(start + 11 * SECOND)
        );
    }

    #[test]
    fn a_late_look_passes_over_whole_steps() {
        let (mut schedule, start) = (usual(), start());
        schedule.note_read(start, 1);
        assert!(schedule.advance(start + 12 * SECOND));
        assert_eq!((schedule.index(), schedule.step().name()), (2, "read"));
        assert!(schedule.advance(start + 100 * SECOND));
        assert_eq!(schedule.step(), Step::Drain);
        assert_eq!(schedule.ends_at(), None);
    }

    #[test]
    fn a_hold_can_be_cut_short_and_nothing_else_can() {
        let (mut schedule, start) = (usual(), start());
        assert!(!schedule.end_hold(start), "it has not begun");
        schedule.note_read(start, 1);
        assert!(!schedule.end_hold(start), "it reads");
        schedule.advance(start + 2 * SECOND);
        assert!(schedule.end_hold(start + 3 * SECOND));
        assert_eq!(schedule.ends_at(), Some(start + 8 * SECOND));
        assert!(!schedule.end_hold(start + 3 * SECOND));
    }

    #[test]
    fn a_halt_lasts_until_word_comes() {
        let (mut schedule, start) = (Schedule::new(vec![Step::Drain]), start());
        schedule.note_read(start, 1);
        schedule.halt();
        assert_eq!(schedule.step().name(), "hold");
        assert!(matches!(
            schedule.permission(start + 60 * SECOND),
            Permission::NotBefore(_)
        ));
        assert!(schedule.end_hold(start + 60 * SECOND));
        assert_eq!(schedule.permission(start + 60 * SECOND), Permission::Free);
    }

    #[test]
    fn a_rate_lets_through_what_time_allows() {
        let start = start();
        let rate = Step::Rate {
            time: 2 * SECOND,
            bytes_per_second: 1000,
        };
        let mut schedule = Schedule::new(vec![rate, Step::Drain]);
        schedule.note_read(start, 10);
        assert_eq!(
            schedule.permission(start),
            Permission::NotBefore(start + Duration::from_millis(20))
        );
        assert_eq!(
            schedule.permission(start + SECOND / 2),
            Permission::UpTo(490)
        );
        schedule.note_read(start + SECOND / 2, 490);
        assert!(matches!(
            schedule.permission(start + SECOND / 2),
            Permission::NotBefore(_)
        ));
        schedule.advance(start + 2 * SECOND);
        assert_eq!(
            schedule.permission(start + 2 * SECOND),
            Permission::Free,
            "it drains"
        );
    }
}
