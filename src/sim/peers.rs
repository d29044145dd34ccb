//! Who is at the other end: clients that read well, badly or not at all, multicast senders, TCP servers.
//!
//! A peer acts when its time has come or when the router has done something to its connection. Acting twice at
//! the same time does no harm.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::media::{Expected, Rng, Sent, Viewer, payload, rtp_packet};
use super::rtsp;
use super::web::Server;
use super::world::World;

/// Bytes of what a client sends that wait for the router at most.
const UPLOAD_WINDOW_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(super) enum Peer {
    Client(Client),
    Sender(Sender),
    Server(Server),
    Rtsp(rtsp::Server),
}

impl Peer {
    pub(super) fn act(&mut self, index: usize, world: &mut World) -> Option<Instant> {
        match self {
            Self::Client(client) => client.act(index, world),
            Self::Sender(sender) => sender.act(world),
            Self::Server(server) => server.act(index, world),
            Self::Rtsp(server) => server.act(index, world),
        }
    }

    /// Whether the peer wants to know at once that the router has written.
    pub(super) fn is_listening(&self) -> bool {
        match self {
            Self::Client(client) => client.is_listening(),
            Self::Server(_) | Self::Rtsp(_) => true,
            Self::Sender(_) => false,
        }
    }

    pub(super) fn client(&self) -> Option<&Client> {
        match self {
            Self::Client(client) => Some(client),
            _ => None,
        }
    }
}

/// How a client reads.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    Fast,
    /// So many bytes every so often.
    Slow {
        bytes: usize,
        every: Duration,
    },
    /// Fast, then not at all for a while, then fast again.
    Stops {
        after: Duration,
        time: Duration,
    },
}

/// How a client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    Reset,
    /// Closes; the next write is answered with a reset.
    Close,
    /// Vanishes without a word: neither reads nor answers.
    Silently,
}

/// How it ended for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The router has finished, and everything was read.
    Finished,
    /// The router has cut the connection.
    Cut,
    Left(Leave),
    /// It had all that it wanted and has closed.
    Satisfied,
}

/// A part of what a client sends, and what it waits for before.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) cue: Cue,
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cue {
    AtOnce,
    /// So many answers have been read, and a pause is over.
    Answered {
        count: usize,
        pause: Duration,
    },
    /// An interim response, or a second without one.
    ToldToGoOn,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) begin: Instant,
    pub(super) request: Vec<u8>,
    pub(super) sent: usize,
    /// What is sent behind `request`, and when.
    pub(super) later: VecDeque<Step>,
    /// Exchanges asked for, and where in all that is sent each of them ends.
    pub(super) numbers: Vec<usize>,
    pub(super) ends: Vec<usize>,
    /// Where sending stops for a while.
    pub(super) stalls: VecDeque<(usize, Duration)>,
    /// The longest of these, and of the pauses before a request.
    pub(super) dawdles: Duration,
    /// Closes so long after the last answer.
    pub(super) leaves_when_done: Option<Duration>,
    /// Bytes of the request per piece, and the time between two.
    pub(super) piece: (usize, Duration),
    pub(super) expected: Expected,
    pub(super) by_name: bool,
    pub(super) pace: Pace,
    pub(super) leave: Option<(Instant, Leave)>,
    /// Closes its sending side behind the request.
    pub(super) half_closes: bool,
    /// Closes its side once the router has.
    pub(super) closes: bool,
    pub(super) to_peer_max: usize,
    pub(super) connected: bool,
    pub(super) stopped: bool,
    /// When it read again after having stopped.
    pub(super) resumed_at: Option<Instant>,
    pub(super) received: u64,
    pub(super) ended: Option<(Instant, Ended)>,
    next_read: Option<Instant>,
    next_send: Option<Instant>,
    ready_since: Option<Instant>,
    interims_seen: usize,
    satisfied_at: Option<Instant>,
}

impl Client {
    pub(super) fn new(begin: Instant, request: Vec<u8>, expected: Expected) -> Self {
        Self {
            begin,
            request,
            sent: 0,
            later: VecDeque::new(),
            numbers: Vec::new(),
            ends: Vec::new(),
            stalls: VecDeque::new(),
            dawdles: Duration::ZERO,
            leaves_when_done: None,
            piece: (usize::MAX, Duration::ZERO),
            expected,
            by_name: false,
            pace: Pace::Fast,
            leave: None,
            half_closes: false,
            closes: true,
            to_peer_max: 256 << 10,
            connected: false,
            stopped: false,
            resumed_at: None,
            received: 0,
            ended: None,
            next_read: None,
            next_send: None,
            ready_since: None,
            interims_seen: 0,
            satisfied_at: None,
        }
    }

    fn is_listening(&self) -> bool {
        !self.stopped
    }

    /// Reads fast from beginning to end.
    pub(super) fn is_fast(&self) -> bool {
        matches!(self.pace, Pace::Fast)
    }

    /// How long it takes from the first byte of its request to the last.
    pub(super) fn sending_time(&self) -> Duration {
        let (bytes, pause) = self.piece;
        let pieces = self.request.len().div_ceil(bytes.max(1)) as u32;
        pause * pieces.saturating_sub(1)
    }

    fn act(&mut self, index: usize, world: &mut World) -> Option<Instant> {
        if self.ended.is_some() {
            return None;
        }
        let now = world.now;
        if !self.connected {
            self.connected = true;
            let mut viewer = Viewer::new(self.expected);
            viewer.replies.numbers.clone_from(&self.numbers);
            world.dial(index, self.to_peer_max, viewer);
        }
        let mut next = None;
        if let Some((at, how)) = self.leave {
            if at <= now {
                self.depart(how, index, world);
                return None;
            }
            next = earlier(next, Some(at));
        }
        if let Pace::Stops { after, time } = self.pace {
            let (stop, again) = (self.begin + after, self.begin + after + time);
            let stopped = (stop..again).contains(&now);
            if self.stopped && !stopped {
                self.resumed_at = Some(now);
                let connection = world.connection(index);
                connection.to_peer_max = connection.to_peer_max.max(4 << 10);
            }
            self.stopped = stopped;
            next = earlier(next, [stop, again].into_iter().find(|at| *at > now));
        }
        let may_read = !self.stopped && self.next_read.is_none_or(|at| at <= now);
        let connection = world.connection(index);
        if may_read && connection.to_peer > 0 && !connection.router_reset {
            let bytes = match self.pace {
                Pace::Slow { bytes, every } => {
                    self.next_read = Some(now + every);
                    bytes.min(connection.to_peer)
                }
                _ => connection.to_peer,
            };
            connection.take(bytes, now);
            self.received += bytes as u64;
            world.touch(index);
        }
        let connection = world.connection(index);
        if connection.router_reset {
            self.ended = Some((now, Ended::Cut));
            return None;
        }
        if connection.to_peer == 0 && (connection.to_peer_finished || connection.router_closed) {
            self.ended = Some((now, Ended::Finished));
            if self.closes {
                connection.to_router_finished = true;
                connection.peer_gone = true;
                world.touch(index);
            }
            return None;
        }
        if connection.to_peer > 0 && !self.stopped {
            next = earlier(next, self.next_read.or(Some(now)));
        }
        if let Some(pause) = self.leaves_when_done
            && self.is_satisfied(index, world)
        {
            let at = *self.satisfied_at.get_or_insert(now) + pause;
            if at <= now {
                self.ended = Some((now, Ended::Satisfied));
                let connection = world.connection(index);
                connection.to_router_finished = true;
                connection.peer_gone = true;
                world.touch(index);
                return None;
            }
            next = earlier(next, Some(at));
        }
        earlier(next, self.send(index, world))
    }

    /// Sends what is due; returns when there is more to send.
    fn send(&mut self, index: usize, world: &mut World) -> Option<Instant> {
        let now = world.now;
        let wait = self.release(index, world);
        while self.sent < self.request.len() {
            if let Some(at) = self.next_send.filter(|at| *at > now) {
                return earlier(wait, Some(at));
            }
            if let Some((at, time)) = self.stalls.front().copied()
                && at <= self.sent
            {
                self.stalls.pop_front();
                self.next_send = Some(now + time);
                world.note("upload stalls");
                continue;
            }
            let connection = world.connection(index);
            let room = UPLOAD_WINDOW_BYTES.saturating_sub(connection.to_router.len());
            if room == 0 {
                // The router reads, which wakes this client.
                return wait;
            }
            let (bytes, pause) = self.piece;
            let mut end = self
                .request
                .len()
                .min(self.sent.saturating_add(bytes.min(room)));
            if let Some((at, _)) = self.stalls.front() {
                end = end.min(*at);
            }
            connection.to_router.extend(&self.request[self.sent..end]);
            self.sent = end;
            self.next_send = Some(now + pause);
            world.touch(index);
        }
        if self.half_closes && self.later.is_empty() {
            world.connection(index).to_router_finished = true;
            world.touch(index);
        }
        wait
    }

    /// Appends what may be sent by now; returns when to ask again.
    fn release(&mut self, index: usize, world: &mut World) -> Option<Instant> {
        let now = world.now;
        while let Some(step) = self.later.front() {
            let connection = world.connection(index);
            let replies = connection.viewer.as_ref().map(|viewer| &viewer.replies);
            let (answers, interims) =
                replies.map_or((0, 0), |replies| (replies.done.len(), replies.interims));
            let read = connection.to_peer == 0 && !self.stopped;
            let sent = self.sent == self.request.len();
            let ready = match step.cue {
                Cue::AtOnce => true,
                Cue::Answered { count, .. } => answers >= count && read && sent,
                // Whether it was told so or has waited long enough, it goes on.
                Cue::ToldToGoOn => sent,
            };
            if !ready {
                return None;
            }
            let told = interims > self.interims_seen;
            let pause = match step.cue {
                Cue::AtOnce => Duration::ZERO,
                Cue::Answered { pause, .. } => pause,
                Cue::ToldToGoOn if told && read => Duration::ZERO,
                Cue::ToldToGoOn => Duration::from_secs(1),
            };
            let since = *self.ready_since.get_or_insert(now);
            if now < since + pause {
                return Some(since + pause);
            }
            self.ready_since = None;
            if let Some(step) = self.later.pop_front() {
                if step.cue == Cue::ToldToGoOn && told {
                    world.note("told to go on");
                }
                self.interims_seen = interims;
                self.request.extend(step.bytes);
            }
        }
        None
    }

    /// The longest time in which it sends nothing although it might.
    pub(super) fn longest_pause(&self) -> Duration {
        let stop = match self.pace {
            Pace::Stops { time, .. } => time,
            Pace::Slow { .. } => Duration::from_secs(60),
            Pace::Fast => Duration::ZERO,
        };
        stop.max(self.dawdles)
    }

    /// All that was asked for has been answered and read.
    fn is_satisfied(&self, index: usize, world: &mut World) -> bool {
        let connection = world.connection(index);
        let done = connection
            .viewer
            .as_ref()
            .map_or(0, |viewer| viewer.replies.done.len());
        connection.to_peer == 0 && done == self.numbers.len() && self.sent == self.request.len()
    }

    fn depart(&mut self, how: Leave, index: usize, world: &mut World) {
        self.ended = Some((world.now, Ended::Left(how)));
        self.stopped = true;
        let connection = world.connection(index);
        match how {
            Leave::Reset => {
                connection.reset = true;
                connection.to_router.clear();
                connection.to_peer = 0;
            }
            Leave::Close => {
                connection.to_router_finished = true;
                connection.peer_gone = true;
                connection.to_peer = 0;
            }
            Leave::Silently => connection.silent = true,
        }
        world.touch(index);
    }
}

pub(super) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    [a, b].into_iter().flatten().min()
}

/// A multicast source, with everything that networks do to it.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) channel: usize,
    pub(super) group: SocketAddr,
    pub(super) rng: Rng,
    /// Datagrams still to send.
    pub(super) left: u64,
    pub(super) gap: Duration,
    /// Datagrams sent at a time at most.
    pub(super) burst: usize,
    pub(super) loss_percent: u64,
    pub(super) duplicate_percent: u64,
    pub(super) reorder_percent: u64,
    /// Restarts and SSRC changes, once in so many datagrams; 0 for never.
    pub(super) restart_one_in: u64,
    pub(super) pause_one_in: u64,
    pub(super) pause: Duration,
    pub(super) junk_percent: u64,
    /// Bare TS instead of RTP.
    pub(super) bare: bool,
    /// Datagrams of many sizes, with CSRCs, extensions and padding.
    pub(super) mixed: bool,
    /// The last part is sent slowly, for minutes.
    pub(super) slow_last: u64,
    pub(super) slow_gap: Duration,
    pub(super) sequence: u16,
    pub(super) ssrc: u32,
    /// Datagrams held back by the network: how many others pass first.
    pub(super) held: VecDeque<(u32, u64, Vec<u8>)>,
    pub(super) ended_at: Option<Instant>,
}

impl Sender {
    fn act(&mut self, world: &mut World) -> Option<Instant> {
        let count = self.rng.count(1, self.burst);
        for _ in 0..count {
            if self.left == 0 {
                self.release_all(world);
                self.ended_at = Some(world.now);
                return None;
            }
            self.left -= 1;
            self.send_next(world);
        }
        if self.pause_one_in > 0 && self.rng.one_in(self.pause_one_in) {
            world.note("sender pauses");
            self.release_all(world);
            return Some(world.now + self.pause);
        }
        let gap = if self.left < self.slow_last {
            self.slow_gap
        } else {
            self.gap * count as u32
        };
        let (half, twice) = (gap.as_micros() as u64 / 2, gap.as_micros() as u64 * 3 / 2);
        Some(world.now + self.rng.micros(half.max(1), twice.max(1)))
    }

    fn send_next(&mut self, world: &mut World) {
        if self.rng.percent(self.junk_percent) {
            let junk = self.junk();
            world.deliver(self.group, &junk);
            world.note("junk");
        }
        if self.restart_one_in > 0 && self.rng.one_in(self.restart_one_in) {
            // What was held back arrives before, as nobody could tell it from a second restart.
            self.release_all(world);
            self.sequence = self
                .sequence
                .wrapping_add(self.rng.range(8_000, 50_000) as u16);
            if self.rng.one_in(2) {
                self.ssrc = self.rng.next() as u32;
            }
            world.note("sender restarts");
        }
        let number = world.sent[self.channel].len() as u64;
        let packets = if !self.mixed {
            7
        } else if self.rng.one_in(50) {
            self.rng.count(8, 40)
        } else if self.rng.one_in(400) {
            340
        } else {
            self.rng.pick(&[1, 2, 3, 5, 6, 7, 7, 7, 7, 7])
        };
        let payload = payload(self.channel as u16, number, packets);
        let datagram = if self.bare {
            payload.clone()
        } else {
            rtp_packet(
                self.sequence,
                self.ssrc,
                &payload,
                self.mixed,
                &mut self.rng,
            )
        };
        self.sequence = self.sequence.wrapping_add(1);
        world.sent[self.channel].push(Sent {
            payload: payload.into(),
            arrived: None,
            place: 0,
        });
        if self.rng.percent(self.loss_percent) {
            world.note("loss");
        } else if self.rng.percent(self.reorder_percent) {
            world.note("reordering");
            self.held
                .push_back((self.rng.range(1, 16) as u32, number, datagram));
            return;
        } else {
            self.release(number, &datagram, world);
            if self.rng.percent(self.duplicate_percent) {
                world.note("duplicate");
                self.release(number, &datagram, world);
            }
        }
        for held in &mut self.held {
            held.0 = held.0.saturating_sub(1);
        }
        while let Some(index) = self.held.iter().position(|held| held.0 == 0)
            && let Some((_, number, datagram)) = self.held.remove(index)
        {
            self.release(number, &datagram, world);
        }
    }

    fn release(&mut self, number: u64, datagram: &[u8], world: &mut World) {
        if let Some(place) = world.deliver(self.group, datagram) {
            let now = world.now;
            let sent = &mut world.sent[self.channel][number as usize];
            if sent.arrived.is_none() {
                (sent.arrived, sent.place) = (Some(now), place);
            }
        }
    }

    fn release_all(&mut self, world: &mut World) {
        while let Some((_, number, datagram)) = self.held.pop_front() {
            self.release(number, &datagram, world);
        }
    }

    /// What is no media: noise, RTCP, parity, a packet cut short, nothing at all.
    fn junk(&mut self) -> Vec<u8> {
        match self.rng.range(0, 4) {
            0 => (0..self.rng.count(1, 300))
                .map(|_| (self.rng.next() & 0x3f) as u8)
                .collect(),
            1 => vec![0x80, 200, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            2 => [&[0x80, 127], &[9; 500][..]].concat(),
            3 => vec![0x8f, 33, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 5],
            _ => vec![],
        }
    }
}
