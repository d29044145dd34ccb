//! Complaints that do not flood: each kind is logged at most once per interval, the rest is counted.
//!
//! Whoever can connect can cause these as often as they like, and the log must not become their victim.

use std::time::Instant;

use crate::limits::COMPLAINT_INTERVAL;

/// What there is to complain about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Complaint {
    /// The client limit was reached.
    ClientLimit,
    /// A group could not be joined.
    Join,
    /// A connection could not be accepted.
    Accept,
    /// A request had no access token, or a wrong one.
    Token,
    /// An upstream failed.
    Upstream,
}

impl Complaint {
    fn level(self) -> log::Level {
        match self {
            // Nobody can come in, and those outside have no answer that would tell them why.
            Self::Accept => log::Level::Error,
            Self::ClientLimit | Self::Join | Self::Token | Self::Upstream => log::Level::Warn,
        }
    }
}

/// How many kinds there are.
const KINDS: usize = Complaint::Upstream as usize + 1;

/// When each kind was last logged, and how often it has happened since.
#[derive(Debug, Default)]
pub struct Complaints {
    kinds: [(Option<Instant>, u64); KINDS],
}

impl Complaints {
    /// Logs `text` at the level of its kind, unless this kind was logged a moment ago.
    pub fn log(&mut self, kind: Complaint, now: Instant, text: &str) {
        let (logged_at, unlogged) = &mut self.kinds[kind as usize];
        if logged_at.is_some_and(|at| now < at + COMPLAINT_INTERVAL) {
            *unlogged += 1;
            return;
        }
        *logged_at = Some(now);
        let level = kind.level();
        match std::mem::take(unlogged) {
            0 => log::log!(level, "{text}"),
            count => log::log!(level, "{text} (and {count} times since the last such line)"),
        }
    }
}
