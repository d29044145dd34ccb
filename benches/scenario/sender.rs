//! The paced sender: a thread that sends every group at the same rate, a packet when it is due.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use flowgate::sys::load::{SEND_MAX, cut_datagrams, send_many, set_nice};
use flowgate::sys::udp::{interface_index, set_multicast_interface_v4};

use crate::clock;
use crate::payload::{DATAGRAM_BYTES, MEDIA_BYTES, TS_PER_DATAGRAM, encode};

/// The port of every group.
const PORT: u16 = 5000;
/// Before the receivers, which share the core.
const NICE: i32 = -15;
/// Datagrams of a train at most: together they must fit the largest IPv4 datagram.
const TRAIN_MAX: usize = 65_000 / DATAGRAM_BYTES;
/// When the sender could not run, it makes up for this much at once and lets the rest of its schedule go:
/// a longer burst would test the receive buffer, not the server.
const CATCH_UP: Duration = Duration::from_millis(4);

/// Address of group number `group`.
pub(crate) fn address(group: u32) -> SocketAddrV4 {
    let [_, _, high, low] = (group + 1).to_be_bytes();
    SocketAddrV4::new(Ipv4Addr::new(239, 66, high, low), PORT)
}

/// How datagrams that are due together are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bursts {
    /// One by one, as from a network, by `sendmmsg`.
    Small,
    /// As trains that the kernel cuts up, larger and at a third of the cost: for rates at which the sender
    /// would otherwise be the limit.
    Trains,
}

impl Bursts {
    /// The sender sleeps at least this long.
    fn nap(self) -> Duration {
        match self {
            Self::Small => Duration::from_micros(200),
            Self::Trains => Duration::from_millis(1),
        }
    }

    fn send(self, socket: &UdpSocket, datagrams: &[u8]) -> io::Result<usize> {
        match self {
            Self::Small => send_many(socket.as_fd(), datagrams, DATAGRAM_BYTES),
            Self::Trains => Ok(socket.send(datagrams)? / DATAGRAM_BYTES),
        }
    }

    fn datagrams_max(self) -> usize {
        match self {
            Self::Small => SEND_MAX,
            Self::Trains => TRAIN_MAX,
        }
    }
}

/// A running sender; dropping it ends it.
pub(crate) struct Sender {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

struct Shared {
    /// Bits of media per second and group.
    rate: AtomicU64,
    stop: AtomicBool,
    /// Datagrams sent to each group.
    sent: Vec<AtomicU64>,
    /// Datagrams that were given up because the sender came too late.
    given_up: AtomicU64,
}

impl Sender {
    /// Starts sending `rate` bits of media per second to each of `groups` groups.
    pub(crate) fn start(groups: u32, rate: u64, bursts: Bursts) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            rate: AtomicU64::new(rate),
            stop: AtomicBool::new(false),
            sent: (0..groups).map(|_| AtomicU64::new(0)).collect(),
            given_up: AtomicU64::new(0),
        });
        let sockets = (0..groups)
            .map(|group| open(group, bursts))
            .collect::<io::Result<Vec<_>>>()?;
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || run(&shared, &sockets, bursts)
        });
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Changes the rate of every group.
    pub(crate) fn set_rate(&self, rate: u64) {
        self.shared.rate.store(rate, Relaxed);
    }

    /// Sequence number of the TS packet that `group` is sent next.
    pub(crate) fn sequence(&self, group: u32) -> u64 {
        self.shared.sent[group as usize].load(Relaxed) * TS_PER_DATAGRAM as u64
    }

    /// Datagrams sent so far, and those that were due but given up.
    pub(crate) fn progress(&self) -> (u64, u64) {
        let sent = self.shared.sent.iter().map(|sent| sent.load(Relaxed)).sum();
        (sent, self.shared.given_up.load(Relaxed))
    }

    /// The error that ended the sender early, if one did.
    pub(crate) fn check(&mut self) -> io::Result<()> {
        match self.thread.take_if(|thread| thread.is_finished()) {
            Some(thread) => thread.join().map_err(|_| io::Error::other("sender"))?,
            None => Ok(()),
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn open(group: u32, bursts: Bursts) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let loopback = interface_index("lo").ok_or(io::ErrorKind::NotFound)?;
    set_multicast_interface_v4(socket.as_fd(), loopback)?;
    if bursts == Bursts::Trains {
        cut_datagrams(socket.as_fd(), DATAGRAM_BYTES as u16)?;
    }
    socket.connect(address(group))?;
    Ok(socket)
}

fn run(shared: &Shared, sockets: &[UdpSocket], bursts: Bursts) -> io::Result<()> {
    // The receivers share this core. Without the right to go first, more of the schedule is given up, and
    // the report says so.
    let _ = set_nice(NICE);
    let mut burst = vec![0; DATAGRAM_BYTES * SEND_MAX];
    let mut pace = Pace::new(0, sockets.len());
    while !shared.stop.load(Relaxed) {
        let rate = shared.rate.load(Relaxed);
        if rate != pace.rate {
            pace = Pace::new(rate, sockets.len());
        }
        let elapsed = clock::now().duration_since(pace.start);
        for (group, socket) in sockets.iter().enumerate() {
            let (count, given_up) = pace.due(group, elapsed);
            shared.given_up.fetch_add(given_up, Relaxed);
            let mut left = count;
            while left > 0 {
                let count = left.min(bursts.datagrams_max());
                let first = shared.sent[group].load(Relaxed);
                let stamp = clock::nanoseconds();
                let bytes = &mut burst[..count * DATAGRAM_BYTES];
                for (number, datagram) in (first..).zip(bytes.chunks_exact_mut(DATAGRAM_BYTES)) {
                    encode(datagram, group as u32, number, stamp);
                }
                let sent = bursts.send(socket, bytes)?;
                shared.sent[group].fetch_add(sent as u64, Relaxed);
                left -= sent;
            }
        }
        let busy = clock::now().duration_since(pace.start) - elapsed;
        thread::sleep(pace.wait(elapsed).saturating_sub(busy).max(bursts.nap()));
    }
    Ok(())
}

/// Which datagrams are due when: group `g` of `n` sends its datagrams `g / n` of a period after group 0.
struct Pace {
    rate: u64,
    start: Instant,
    /// Datagrams sent or given up, per group.
    done: Vec<u64>,
}

impl Pace {
    fn new(rate: u64, groups: usize) -> Self {
        Self {
            rate,
            start: clock::now(),
            done: vec![0; groups],
        }
    }

    fn datagrams(&self, elapsed: Duration) -> f64 {
        elapsed.as_secs_f64() * self.rate as f64 / (MEDIA_BYTES as f64 * 8.0)
    }

    fn due(&mut self, group: usize, elapsed: Duration) -> (usize, u64) {
        let phase = group as f64 / self.done.len() as f64;
        let target = (self.datagrams(elapsed) - phase).max(0.0) as u64;
        let late = target - self.done[group];
        let count = late.min(self.datagrams(CATCH_UP) as u64 + 2);
        self.done[group] = target;
        (count as usize, late - count)
    }

    /// Until the next datagram of any group is due.
    fn wait(&self, elapsed: Duration) -> Duration {
        let groups = self.done.len() as f64;
        let slots = self.datagrams(elapsed) * groups;
        let per_second = self.datagrams(Duration::from_secs(1)) * groups;
        Duration::from_secs_f64(((slots.floor() + 1.0 - slots) / per_second.max(1.0)).min(0.1))
    }
}
