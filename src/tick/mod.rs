//! When a datagram socket of live media is read: at its edges, or by the clock.
//!
//! While media flows the socket is out of the poll and read a tick at a time ([`Pace`]): one wake-up, one run and one
//! write per client and tick, however many packets that is. This neither owns the socket nor reads it.
//!
//! ```text
//! Watched ── edge: read ──▶ Ticking ── quiet for some ticks, or somebody waits for a first byte ──▶ Watched
//! ```

pub mod pace;

use std::io;
use std::time::{Duration, Instant};

use crate::limits::{QUIET_TICKS, TICK_SLACK};
use crate::net::Watched;
use crate::shared::Shared;
use pace::Pace;

/// What one turn has brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Received {
    /// Datagrams, of any kind.
    pub datagrams: usize,
    /// Their payload, whatever became of it.
    pub bytes: usize,
    /// The socket is empty.
    pub drained: bool,
}

/// Who waits for what is received.
#[derive(Debug, Clone, Copy)]
pub struct Demand {
    /// How many are given it.
    pub clients: usize,
    /// Somebody still waits for a first byte: until then, every datagram counts.
    pub starving: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// In the poll: the next datagram makes an edge.
    Watched,
    /// Out of the poll: read at `at`. The last `quiet` ticks in a row have brought nothing.
    Ticking { at: Instant, quiet: u32 },
}

/// The times at which one socket is read.
#[derive(Debug)]
pub struct Ticker {
    mode: Mode,
    pace: Pace,
}

impl Ticker {
    /// For a socket that is in the poll; `configured` is `--flush-interval` unless it is automatic, and the socket's
    /// receive buffer counts `receive_buffer_bytes` by the kernel's accounting.
    pub fn new(configured: Option<Duration>, receive_buffer_bytes: usize) -> Self {
        Self {
            mode: Mode::Watched,
            pace: Pace::new(configured, receive_buffer_bytes),
        }
    }

    /// Whether an edge says that `socket` has something to read.
    pub fn runnable(&self, socket: &Watched) -> bool {
        self.mode == Mode::Watched && socket.readable
    }

    /// Whether the socket is in the poll.
    pub fn is_watched(&self) -> bool {
        self.mode == Mode::Watched
    }

    /// Whether `socket` is to be read now.
    pub fn is_due(&self, socket: &Watched, now: Instant) -> bool {
        self.runnable(socket) || self.deadline().is_some_and(|at| at <= now)
    }

    /// When the socket is to be read by the clock: a little early, because the poll wakes in whole milliseconds
    /// and a flush interval is a promise.
    pub fn deadline(&self) -> Option<Instant> {
        match self.mode {
            Mode::Ticking { at, .. } => Some(at.checked_sub(TICK_SLACK).unwrap_or(at)),
            Mode::Watched => None,
        }
    }

    /// Has a socket that is read by the clock read in the coming turn.
    pub fn hurry(&mut self, now: Instant) {
        if let Mode::Ticking { at, .. } = &mut self.mode {
            *at = now;
        }
    }

    /// Notes what a turn has brought, and decides between poll and clock for the next datagrams.
    ///
    /// # Errors
    ///
    /// What the system reports when the socket comes into the poll or goes out of it. It must not be used any more.
    pub fn note(
        &mut self,
        socket: &mut Watched,
        received: Received,
        demand: Demand,
        shared: &mut Shared,
    ) -> io::Result<()> {
        self.pace.note(received.bytes, shared.now);
        self.grow_receive_buffer(socket, shared);
        self.schedule(socket, received, demand, shared)
    }

    /// Gives a fast stream a receive buffer that bridges a late tick.
    fn grow_receive_buffer(&mut self, socket: &Watched, shared: &mut Shared) {
        if let Some(wanted) = self.pace.wanted_receive_buffer() {
            // The kernel accounts for twice what it is asked for.
            let granted = shared
                .net
                .set_receive_buffer(socket.id, wanted / 2)
                .unwrap_or(0);
            self.pace.note_receive_buffer(granted);
        }
    }

    fn schedule(
        &mut self,
        socket: &mut Watched,
        received: Received,
        demand: Demand,
        shared: &mut Shared,
    ) -> io::Result<()> {
        let now = shared.now;
        let interval = self.pace.interval(demand.clients);
        let any = received.datagrams > 0;
        let starving = demand.starving && received.drained;
        self.mode = match self.mode {
            Mode::Watched if starving || interval.is_zero() || !any => {
                socket.readable &= !received.drained;
                Mode::Watched
            }
            Mode::Watched => {
                shared.net.unwatch(socket.id)?;
                socket.readable = false;
                let at = if received.drained {
                    now + interval
                } else {
                    now
                };
                Mode::Ticking { at, quiet: 0 }
            }
            Mode::Ticking { quiet, .. } if starving || (!any && quiet + 1 >= QUIET_TICKS) => {
                shared.net.watch(socket.id)?;
                Mode::Watched
            }
            // From the planned time on, not from now: lateness must not add up.
            Mode::Ticking { at, quiet } => Mode::Ticking {
                at: if received.drained {
                    (at + interval).max(now)
                } else {
                    now
                },
                quiet: if any { 0 } else { quiet + 1 },
            },
        };
        Ok(())
    }
}
