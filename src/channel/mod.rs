//! A live source shared by its subscribers: received once, lossy, never paused.
//!
//! Owns the group's socket, puts datagrams in order, hands out runs of payload and keeps what a newcomer
//! starts from. It does not know its subscribers; the router does.
//!
//! While media flows the socket is read by the clock, a tick at a time ([`Ticker`]).

pub mod receive;
pub mod replay;

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use crate::limits::{
    QUEUE_POOL_SHARE, RENEW_WAIT, SHARED_PAGES_BYTES_MIN, SHARED_PAGES_SUBSCRIBERS,
};
use crate::net::{Edge, GroupAddress, SocketId, Watched};
use crate::pool::Run;
use crate::proto::mpegts::Scanner;
use crate::shared::Shared;
use crate::tick::{Demand, Ticker};
use receive::{Counters, PayloadKind, Receiver};
use replay::Replay;

/// Why a channel ended by itself.
#[derive(Debug)]
pub enum ChannelError {
    /// Nothing that could be delivered came.
    NoData {
        /// The configured time, for which it was waited.
        wait: Duration,
        /// Datagrams that came and were no media, since the channel was joined.
        foreign: u64,
    },
    /// The socket failed.
    Receive(io::Error),
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoData { wait, foreign } => {
                write!(f, "no media arrived for {} s", wait.as_secs_f64())?;
                match foreign {
                    0 => Ok(()),
                    _ => write!(
                        f,
                        "; datagrams that were neither RTP nor MPEG-TS: {foreign}"
                    ),
                }
            }
            Self::Receive(error) => write!(f, "receiving failed: {error}"),
        }
    }
}

/// Who listens, as far as a channel's turn depends on it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Audience {
    /// Subscribers.
    pub subscribers: usize,
    /// Some of them have not been sent anything yet.
    pub waiting: bool,
}

/// A joined group.
pub struct Channel {
    address: GroupAddress,
    socket: Watched,
    ticker: Ticker,
    receiver: Receiver,
    scanner: Scanner,
    /// Random-access points were found in this channel, so they are worth waiting for.
    has_starts: bool,
    replay: Option<Replay>,
    /// When media that could be delivered last arrived; the time of joining until then.
    media_at: Instant,
    /// When the silent socket is replaced by a fresh one; a time after `media_at`.
    renew_at: Instant,
    /// Datagrams lost for want of a buffer, when that was last looked at.
    overrun: u64,
    rejoin_at: Option<Instant>,
    /// A failed refresh was reported; later ones are only counted.
    rejoin_failed: bool,
    /// Scratch of `find_start`.
    found: Vec<usize>,
}

impl Channel {
    /// Joins a group.
    ///
    /// # Errors
    ///
    /// What the system reports: the interface does not exist, the address is no group, …
    pub fn join(address: GroupAddress, shared: &mut Shared) -> io::Result<Self> {
        let joined = shared
            .net
            .join(&address, shared.config.udp_receive_buffer_bytes)?;
        if let Err(error) = shared.net.watch(joined.socket) {
            shared.net.close(joined.socket);
            return Err(error);
        }
        shared.stats.joins += 1;
        let config = &shared.config;
        // A newcomer's queue must be able to take a whole ring.
        let fast_start_bytes_max = shared.pool.bytes_max() / QUEUE_POOL_SHARE;
        let replay = (config.fast_start_bytes > 0)
            .then(|| Replay::new(config.fast_start_bytes.min(fast_start_bytes_max)));
        Ok(Self {
            address,
            socket: Watched::new(joined.socket),
            ticker: Ticker::new(config.flush_interval, joined.receive_buffer_bytes),
            receiver: Receiver::new(),
            replay,
            media_at: shared.now,
            renew_at: shared.now + RENEW_WAIT,
            rejoin_at: config
                .mcast_rejoin_interval
                .map(|interval| shared.now + interval),
            rejoin_failed: false,
            overrun: 0,
            scanner: Scanner::new(),
            has_starts: false,
            found: Vec::new(),
        })
    }

    /// The group.
    pub fn address(&self) -> &GroupAddress {
        &self.address
    }

    /// The socket.
    pub fn socket(&self) -> SocketId {
        self.socket.id
    }

    /// Whether random-access points can be told in this channel.
    pub fn has_starts(&self) -> bool {
        self.has_starts
    }

    /// What was received, lost and thrown away.
    pub fn counters(&self) -> Counters {
        self.receiver.counters()
    }

    /// How the media arrives, once some was recognised.
    pub fn payload_kind(&self) -> Option<PayloadKind> {
        self.receiver.payload_kind()
    }

    /// Bytes of the pool that the next turn will want.
    pub fn wanted_bytes(&self, shared: &Shared) -> usize {
        self.receiver.wanted_bytes(&shared.pool)
    }

    /// What a newcomer starts from, unless that is switched off.
    pub fn replay(&self) -> Option<&Replay> {
        self.replay.as_ref()
    }

    /// Bytes that the replay ring pins.
    pub fn replay_held_bytes(&self) -> usize {
        self.replay.as_ref().map_or(0, Replay::held_bytes)
    }

    /// Gives up what newcomers would start from, to make room in the pool.
    pub fn forget_replay(&mut self) {
        if let Some(replay) = &mut self.replay {
            replay.clear();
        }
    }

    /// Notes an edge.
    pub fn note(&mut self, edge: Edge) {
        self.socket.note(edge);
    }

    /// Whether the socket is known to have something to read.
    pub fn runnable(&self) -> bool {
        self.ticker.runnable(&self.socket)
    }

    /// Reads in the coming turn: somebody new is waiting.
    pub fn hurry(&mut self, now: Instant) {
        self.ticker.hurry(now);
    }

    /// When the channel needs a turn although no edge comes.
    pub fn deadline(&self, shared: &Shared) -> Instant {
        let silence = (self.media_at + shared.config.no_data_timeout).min(self.renew_at);
        let others = [
            self.ticker.deadline(),
            self.receiver.deadline(),
            self.rejoin_at,
        ];
        others.into_iter().flatten().fold(silence, Instant::min)
    }

    /// Receives what has arrived, if it is time to, and appends it to `runs`.
    ///
    /// # Errors
    ///
    /// The channel is over then.
    pub fn run(
        &mut self,
        audience: Audience,
        shared: &mut Shared,
        runs: &mut Vec<Run>,
    ) -> Result<(), ChannelError> {
        let now = shared.now;
        let mut is_behind = false;
        if self.ticker.is_due(&self.socket, now) {
            let is_wide = audience.subscribers >= SHARED_PAGES_SUBSCRIBERS;
            self.receiver.note_audience(is_wide);
            let received = self
                .receiver
                .receive(self.socket.id, shared, runs)
                .map_err(ChannelError::Receive)?;
            is_behind = !received.drained;
            let demand = Demand {
                clients: audience.subscribers,
                starving: audience.waiting && runs.is_empty(),
            };
            self.ticker
                .note(&mut self.socket, received, demand, shared)
                .map_err(ChannelError::Receive)?;
        }
        self.receiver.expire(shared, runs);
        let overrun = self.receiver.counters().overrun;
        if !runs.is_empty() || overrun > std::mem::replace(&mut self.overrun, overrun) {
            // What was lost for want of a buffer did arrive.
            self.media_at = now;
            self.renew_at = now + RENEW_WAIT;
        } else if now >= self.media_at + shared.config.no_data_timeout {
            let Counters {
                foreign, malformed, ..
            } = self.receiver.counters();
            return Err(ChannelError::NoData {
                wait: shared.config.no_data_timeout,
                foreign: foreign + malformed,
            });
        }
        self.renew_if_due(shared);
        self.rejoin_if_due(shared);
        for run in runs {
            self.finish_run(run, audience, is_behind, shared);
        }
        Ok(())
    }

    /// Remembers the run for newcomers and, with a large audience, moves it into pages that their sockets can
    /// share. Not so in a backlog: what waits in shared pages is cold when it is read at last, and the more is, the
    /// slower everybody gets; copies are made while the run is warm.
    fn finish_run(&mut self, run: &mut Run, audience: Audience, is_behind: bool, shared: &Shared) {
        run.start = self.find_start(run);
        if audience.subscribers >= SHARED_PAGES_SUBSCRIBERS
            && !is_behind
            && run.view.len() >= SHARED_PAGES_BYTES_MIN
        {
            run.view = shared.pool.share_pages(run.view.clone());
        }
        if let Some(replay) = &mut self.replay {
            replay.keep(run, self.scanner.tables_at_start(), &shared.pool);
        }
    }

    /// Looks for a random-access point in a run that lies in memory.
    fn find_start(&mut self, run: &Run) -> Option<u32> {
        self.found.clear();
        self.scanner.scan(run.view.bytes()?, &mut self.found);
        let start = self.found.last().copied();
        self.has_starts |= start.is_some();
        start.map(|start| start as u32)
    }

    /// The configuration has changed: running channels follow where they can.
    pub fn reconfigure(&mut self, shared: &Shared) {
        let next = |interval| shared.now + interval;
        self.rejoin_at = match (self.rejoin_at, shared.config.mcast_rejoin_interval) {
            (_, None) => None,
            (None, Some(interval)) => Some(next(interval)),
            (Some(at), Some(interval)) => Some(at.min(next(interval))),
        };
    }

    /// Joins anew on whichever interface it is now.
    fn renew_if_due(&mut self, shared: &mut Shared) {
        if shared.now < self.renew_at {
            return;
        }
        self.renew_at = shared.now + RENEW_WAIT;
        // What is read by the clock brings datagrams, so the interface is there.
        if self.ticker.is_watched()
            && let Err(error) = shared.net.renew(self.socket.id, &self.address)
        {
            log::debug!("channel {}: joining again: {error}", self.address.group);
        }
    }

    fn rejoin_if_due(&mut self, shared: &mut Shared) {
        let (Some(at), Some(interval)) = (self.rejoin_at, shared.config.mcast_rejoin_interval)
        else {
            return;
        };
        if shared.now < at {
            return;
        }
        self.rejoin_at = Some(shared.now + interval);
        match shared.net.rejoin(self.socket.id, &self.address) {
            Ok(()) => {
                shared.stats.rejoins += 1;
                self.rejoin_failed = false;
            }
            Err(error) => {
                shared.stats.rejoins_failed += 1;
                if !std::mem::replace(&mut self.rejoin_failed, true) {
                    log::warn!(
                        "channel {}: refreshing the membership failed: {error}",
                        self.address.group
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::config::Config;
    use crate::limits::NO_DATA_TIMEOUT_DEFAULT;
    use crate::sim::Bench;

    /// A channel of the group that `bench` sends to.
    fn joined(bench: &mut Bench) -> Channel {
        Channel::join(Bench::address(), &mut bench.shared).expect("joined")
    }

    /// A turn; how many packets it brings.
    fn run(channel: &mut Channel, bench: &mut Bench) -> Result<u32, ChannelError> {
        let mut runs = Vec::new();
        channel.note(Edge {
            readable: true,
            writable: false,
            ended: false,
        });
        channel.hurry(bench.shared.now);
        channel.run(Audience::default(), &mut bench.shared, &mut runs)?;
        Ok(runs.iter().map(|run| run.packets).sum())
    }

    fn media() -> Vec<u8> {
        let mut packet = [0xff; 188];
        packet[..4].copy_from_slice(&[0x47, 0x1f, 0xff, 0x10]);
        packet.repeat(7)
    }

    #[test]
    fn what_is_lost_for_want_of_a_buffer_is_no_silence() {
        let mut bench = Bench::new(64);
        let mut channel = joined(&mut bench);
        let pool = &bench.shared.pool;
        let held: Vec<_> = std::iter::from_fn(|| pool.take(2048)).collect();
        for _ in 0..3 {
            bench.pass(NO_DATA_TIMEOUT_DEFAULT / 2);
            bench.send(&media());
            assert_eq!(run(&mut channel, &mut bench).expect("it goes on"), 0);
        }
        drop(held);
        bench.pass(NO_DATA_TIMEOUT_DEFAULT);
        assert!(run(&mut channel, &mut bench).is_err());
    }

    #[test]
    fn whoever_looks_for_the_silence_is_told_of_all_that_was_no_media() {
        let mut bench = Bench::new(64);
        let mut channel = joined(&mut bench);
        bench.send(b"neither RTP nor MPEG-TS");
        // An RTP header whose CSRCs reach past the end.
        bench.send(&[0x8f, 33, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(run(&mut channel, &mut bench).expect("it waits"), 0);
        let Counters {
            foreign, malformed, ..
        } = channel.counters();
        assert_eq!((foreign, malformed), (1, 1));
        bench.pass(NO_DATA_TIMEOUT_DEFAULT);
        let error = run(&mut channel, &mut bench).expect_err("nothing came");
        assert!(error.to_string().ends_with(": 2"), "{error}");
    }

    #[test]
    fn the_membership_is_not_renewed_while_media_flows() {
        let mut bench = Bench::new(64);
        let mut channel = joined(&mut bench);
        bench.pass(RENEW_WAIT / 2);
        bench.send(&media());
        assert_eq!(run(&mut channel, &mut bench).expect("received"), 1);
        assert_eq!(channel.renew_at, bench.shared.now + RENEW_WAIT);
    }

    #[test]
    fn a_shorter_interval_of_refreshes_counts_at_once_and_a_longer_one_next_time() {
        let mut bench = Bench::new(64);
        let mut channel = joined(&mut bench);
        for (seconds, due) in [(100, 100), (30, 30), (60, 30)] {
            let config = Config {
                mcast_rejoin_interval: Some(Duration::from_secs(seconds)),
                ..Config::default()
            };
            bench.shared.config = Rc::new(config);
            channel.reconfigure(&bench.shared);
            let due = bench.shared.now + Duration::from_secs(due);
            assert_eq!(channel.rejoin_at, Some(due));
        }
    }
}
