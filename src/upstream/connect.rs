//! Making a TCP connection to a host with several addresses: the first that answers wins (RFC 8305).
//!
//! Attempts overlap: the next one begins when the one before has failed, or has been silent for
//! [`CONNECT_OVERLAP`]. Families alternate. Every attempt has a deadline of its own, so that the whole takes at
//! most the addresses' number times the overlap, plus one deadline.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Outcome;
use crate::limits::{ADDRESSES_MAX, CONNECT_OVERLAP};
use crate::net::{Edge, SocketId, Watched};
use crate::shared::Shared;

/// A connection being made.
#[derive(Debug)]
pub struct Connecting {
    /// Addresses not tried yet, in order.
    waiting: VecDeque<SocketAddr>,
    attempts: Vec<Attempt>,
    /// When the next attempt begins even if those before it are still under way.
    next_at: Instant,
    interface: Option<String>,
    /// How long one attempt may take.
    patience: Duration,
    /// Why the latest failed attempt failed.
    failure: Option<ConnectError>,
}

#[derive(Debug)]
struct Attempt {
    socket: Watched,
    address: SocketAddr,
    until: Instant,
}

/// How far it has come.
#[derive(Debug)]
pub enum Progress {
    /// Nothing is decided.
    Pending,
    /// The connection to this address is made; all other sockets have been given up.
    Connected(Watched, SocketAddr),
    /// No address could be reached.
    Failed(ConnectError),
}

/// What became of sockets during a turn; whoever keeps the sockets' owners must be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketChange {
    /// The entity has a new socket.
    Opened(SocketId),
    /// The entity has given this one up; it is to be closed.
    Closed(SocketId),
}

/// Why an address could not be reached.
#[derive(Debug)]
pub enum ConnectError {
    /// There was no address to try.
    NoAddress,
    /// The system said why.
    Refused {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// No answer came.
    Silent {
        /// The address.
        address: SocketAddr,
        /// How long it was waited for.
        waited: Duration,
    },
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress => f.write_str("the host has no address"),
            Self::Refused { address, error } => write!(f, "connecting to {address}: {error}"),
            Self::Silent { address, waited } => write!(
                f,
                "connecting to {address}: no answer within {} s",
                waited.as_secs_f32()
            ),
        }
    }
}

impl Connecting {
    /// Will try `addresses`, at most [`ADDRESSES_MAX`] of them, each for at most `patience`.
    pub fn new(
        addresses: &[SocketAddr],
        interface: Option<String>,
        patience: Duration,
        now: Instant,
    ) -> Self {
        let mut waiting = alternate_families(addresses);
        waiting.truncate(ADDRESSES_MAX);
        Self {
            waiting,
            attempts: Vec::new(),
            next_at: now,
            interface,
            patience,
            failure: None,
        }
    }

    /// Notes an edge of one of the attempts.
    pub fn note(&mut self, socket: SocketId, edge: Edge) {
        if let Some(attempt) = self.attempts.iter_mut().find(|it| it.socket.id == socket) {
            attempt.socket.note(edge);
        }
    }

    /// The sockets of all attempts under way.
    pub fn sockets(&self) -> impl Iterator<Item = SocketId> {
        self.attempts.iter().map(|attempt| attempt.socket.id)
    }

    /// Whether a turn would get something done before the deadline.
    pub fn runnable(&self) -> bool {
        self.attempts.is_empty() || self.attempts.iter().any(|it| it.socket.writable)
    }

    /// When a turn is needed although no edge comes.
    pub fn deadline(&self) -> Option<Instant> {
        let next = (!self.waiting.is_empty()).then_some(self.next_at);
        let until = self.attempts.iter().map(|attempt| attempt.until);
        until.chain(next).min()
    }

    /// Looks at the attempts under way and begins those that are due.
    pub fn run(&mut self, shared: &mut Shared, outcomes: &mut Vec<Outcome>) -> Progress {
        if let Some((socket, address)) = self.look(shared, outcomes) {
            let others = self.sockets().filter(|other| *other != socket.id);
            outcomes.extend(others.map(SocketChange::Closed).map(Outcome::Socket));
            self.attempts.clear();
            return Progress::Connected(socket, address);
        }
        while self.attempts.is_empty() || self.next_at <= shared.now {
            let Some(address) = self.waiting.pop_front() else {
                break;
            };
            self.begin(address, shared, outcomes);
        }
        if !self.attempts.is_empty() {
            return Progress::Pending;
        }
        Progress::Failed(self.failure.take().unwrap_or(ConnectError::NoAddress))
    }

    /// Removes attempts that have failed or taken too long; returns the first that has been made.
    fn look(
        &mut self,
        shared: &mut Shared,
        outcomes: &mut Vec<Outcome>,
    ) -> Option<(Watched, SocketAddr)> {
        let mut at = 0;
        while let Some(attempt) = self.attempts.get_mut(at) {
            let result = if attempt.socket.writable {
                shared.net.is_connected(attempt.socket.id)
            } else {
                Ok(false)
            };
            let failure = match result {
                Ok(true) => return Some((attempt.socket, attempt.address)),
                Err(error) => ConnectError::Refused {
                    address: attempt.address,
                    error,
                },
                Ok(false) if attempt.until <= shared.now => ConnectError::Silent {
                    address: attempt.address,
                    waited: self.patience,
                },
                Ok(false) => {
                    // The edge told of nothing yet; another one will.
                    attempt.socket.writable = false;
                    at += 1;
                    continue;
                }
            };
            outcomes.push(Outcome::Socket(SocketChange::Closed(attempt.socket.id)));
            self.attempts.remove(at);
            self.failure = Some(failure);
            self.next_at = shared.now;
        }
        None
    }

    fn begin(&mut self, address: SocketAddr, shared: &mut Shared, outcomes: &mut Vec<Outcome>) {
        shared.stats.upstream_connections += 1;
        match shared.net.connect(address, self.interface.as_deref()) {
            Ok(socket) => {
                outcomes.push(Outcome::Socket(SocketChange::Opened(socket)));
                self.next_at = shared.now + CONNECT_OVERLAP;
                self.attempts.push(Attempt {
                    socket: Watched::new(socket),
                    address,
                    until: shared.now + self.patience,
                });
            }
            Err(error) => self.failure = Some(ConnectError::Refused { address, error }),
        }
    }
}

/// The addresses with their families taking turns, the family of the first address first (RFC 8305 §4).
fn alternate_families(addresses: &[SocketAddr]) -> VecDeque<SocketAddr> {
    let first_is_v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (mut first, mut second): (VecDeque<SocketAddr>, VecDeque<SocketAddr>) = addresses
        .iter()
        .copied()
        .partition(|address| address.is_ipv4() == first_is_v4);
    let mut ordered = VecDeque::with_capacity(addresses.len());
    while !first.is_empty() || !second.is_empty() {
        ordered.extend(first.pop_front());
        ordered.extend(second.pop_front());
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Bench;

    #[test]
    fn families_take_turns() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let [a, b, c, d] = ["[::1]:1", "[::2]:1", "192.0.2.1:1", "[::3]:1"].map(address);
        assert_eq!(alternate_families(&[a, b, c, d]), [a, c, b, d]);
        assert_eq!(alternate_families(&[c, a]), [c, a]);
        assert!(alternate_families(&[]).is_empty());
    }

    #[test]
    fn no_more_addresses_are_tried_than_the_limit() {
        let address = |number: usize| SocketAddr::from(([192, 0, 2, number as u8], 1));
        let many: Vec<SocketAddr> = (0..2 * ADDRESSES_MAX).map(address).collect();
        let now = Bench::new(64).shared.now;
        let connecting = Connecting::new(&many, None, CONNECT_OVERLAP, now);
        assert_eq!(connecting.waiting, &many[..ADDRESSES_MAX]);
    }
}
