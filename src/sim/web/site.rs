//! An origin: its name, its addresses, and the habits of the servers behind them.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::super::media::Rng;

/// Ports of sites begin here.
const PORT: u16 = 1000;

#[derive(Debug)]
pub(in crate::sim) struct Site {
    number: usize,
    /// Spoken to through the stage.
    pub(in crate::sim) secure: bool,
    /// Reached by name.
    pub(in crate::sim) lookup: Option<Lookup>,
    pub(in crate::sim) addresses: Vec<Reach>,
    pub(in crate::sim) trouble: SiteTrouble,
    pub(in crate::sim) habits: Habits,
    /// Attempts to connect: when, and to which address.
    pub(in crate::sim) attempts: Vec<(Instant, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum Lookup {
    Answers(Duration),
    Fails,
    /// No answer, or one that comes too late.
    Never,
}

/// What becomes of an attempt to connect to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum Reach {
    Answers { after: Duration },
    Refuses { after: Duration },
    RefusesAtOnce,
    Silent,
}

/// What is wrong with the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum SiteTrouble {
    None,
    Garbage,
    Mute,
}

/// What servers do besides answering.
#[derive(Debug, Clone, Copy)]
pub(in crate::sim) struct Habits {
    /// A kept connection is ended after this long.
    pub(in crate::sim) leaves: Option<(Duration, Farewell)>,
    /// A kept connection is ended when the next request has come, once in so many; 0 for never.
    pub(in crate::sim) drops_one_in: u64,
    /// Bytes of requests read at a time, and how often.
    pub(in crate::sim) reads: (usize, Duration),
    /// Bytes of a request that wait in the socket at most.
    pub(in crate::sim) window_bytes: usize,
    /// Requests are not read for a while, after so many bytes.
    pub(in crate::sim) stall: Option<(u64, Duration)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum Farewell {
    Finish,
    Reset,
    /// Says why, in an answer that nobody has asked for.
    Unasked,
}

impl Habits {
    /// Whether a kept connection may end just when it is used again.
    pub(in crate::sim) fn hangs_up(&self) -> bool {
        self.leaves.is_some() || self.drops_one_in > 0
    }
}

impl Site {
    pub(in crate::sim) fn draw(number: usize, rng: &mut Rng) -> Self {
        let secure = rng.one_in(3);
        let lookup = match rng.range(0, 19) {
            0 => Some(Lookup::Fails),
            1 => Some(Lookup::Never),
            2..8 => Some(Lookup::Answers(rng.millis(0, 900))),
            _ => None,
        };
        let reach = |rng: &mut Rng| match rng.range(0, 9) {
            0 => Reach::RefusesAtOnce,
            1 => Reach::Refuses {
                after: rng.millis(0, 600),
            },
            2 => Reach::Silent,
            _ => Reach::Answers {
                after: if rng.one_in(4) {
                    rng.millis(0, 800)
                } else {
                    rng.millis(0, 50)
                },
            },
        };
        let count = if lookup.is_some() { rng.count(1, 4) } else { 1 };
        Self {
            number,
            secure,
            lookup,
            addresses: (0..count).map(|_| reach(rng)).collect(),
            trouble: match rng.range(0, 15) {
                0 if secure => SiteTrouble::Garbage,
                1 if secure => SiteTrouble::Mute,
                _ => SiteTrouble::None,
            },
            habits: Habits {
                leaves: rng.one_in(3).then(|| {
                    let farewell =
                        rng.pick(&[Farewell::Finish, Farewell::Reset, Farewell::Unasked]);
                    // Just when a client sends its next request, too.
                    let after = rng.pick(&[1, 20, 500, 5000]);
                    (rng.millis(after / 2, after), farewell)
                }),
                drops_one_in: if rng.one_in(3) { 2 } else { 0 },
                reads: (
                    rng.pick(&[1000, 4000, 64_000]),
                    if rng.one_in(2) {
                        Duration::ZERO
                    } else {
                        rng.micros(10, 15_000)
                    },
                ),
                window_bytes: rng.pick(&[2, 8, 64]) << 10,
                stall: rng
                    .one_in(5)
                    .then(|| (rng.range(0, 100_000), rng.millis(10, 2000))),
            },
            attempts: Vec::new(),
        }
    }

    fn port(&self) -> u16 {
        PORT + self.number as u16
    }

    fn authority(&self) -> String {
        match self.lookup {
            None => format!("10.0.1.1:{}", self.port()),
            Some(_) => format!("site-{}:{}", self.number, self.port()),
        }
    }

    /// Exchange `number` as its server calls it.
    pub(in crate::sim) fn url(&self, number: usize) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}/x/{number}", self.authority())
    }

    /// Exchange `number` as a client asks for it.
    pub(in crate::sim) fn proxied(&self, number: usize) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("/{scheme}/{}/x/{number}", self.authority())
    }

    pub(in crate::sim) fn resolved(&self) -> Vec<IpAddr> {
        (1..=self.addresses.len() as u8)
            .map(|last| IpAddr::from([10, 0, 1, last]))
            .collect()
    }

    /// Which site, and which of its addresses.
    pub(in crate::sim) fn at(address: SocketAddr) -> (usize, usize) {
        let IpAddr::V4(ip) = address.ip() else {
            panic!("{address} is nobody's")
        };
        let last = ip.octets()[3];
        (usize::from(address.port() - PORT), usize::from(last - 1))
    }
}
