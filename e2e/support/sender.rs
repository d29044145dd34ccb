//! A sender of numbered TS packets, which can be followed through to the client one by one.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;
use socket2::{Domain, Protocol, Socket, Type};

use super::ts;

/// Delay that a sender makes up for; beyond it, it sends less than it was asked to.
const LATENESS_MAX: Duration = Duration::from_millis(50);

/// How packets lie in datagrams.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// RFC 2250: 12 bytes of header.
    Rtp,
    /// Nothing else.
    Raw,
    /// Now this way, now that way.
    Mixed,
}

pub(crate) struct Source {
    socket: UdpSocket,
    to: SocketAddr,
    framing: Framing,
    packets: usize,
    sequence: u16,
    number: u64,
}

impl Source {
    /// Sends to `to` from the address `from` of the link `link`, seven packets per datagram.
    pub(crate) fn new(link: &str, from: &str, to: &str, framing: Framing) -> Self {
        let from: IpAddr = from.parse().expect("an address");
        let to: SocketAddr = to.parse().expect("an address with port");
        let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))
            .expect("a socket");
        match from {
            IpAddr::V4(address) => socket.set_multicast_if_v4(&address),
            IpAddr::V6(_) => socket.set_multicast_if_v6(index(link)),
        }
        .expect("a link of ours");
        socket
            .bind(&SocketAddr::new(from, 0).into())
            .expect("an address of ours");
        // The sequence number wraps soon, as it may.
        Self {
            socket: socket.into(),
            to,
            framing,
            packets: 7,
            sequence: 65_400,
            number: 0,
        }
    }

    pub(crate) fn packets_per_datagram(mut self, packets: usize) -> Self {
        self.packets = packets;
        self
    }

    /// Begins to count at another number, to tell sources apart.
    pub(crate) fn starting_at(mut self, number: u64) -> Self {
        self.number = number;
        self
    }

    /// Makes the next datagram.
    pub(crate) fn make(&mut self) -> Vec<u8> {
        let rtp = match self.framing {
            Framing::Rtp => true,
            Framing::Raw => false,
            Framing::Mixed => (self.number / self.packets as u64).is_multiple_of(2),
        };
        let mut datagram = Vec::new();
        if rtp {
            // RFC 3550 §5.1 with payload type 33; the clock of RFC 2250 is not looked at here.
            datagram.extend([0x80, 33]);
            datagram.extend(self.sequence.to_be_bytes());
            datagram.extend([0, 0, 0, 0, 0x12, 0x34, 0x56, 0x78]);
            self.sequence = self.sequence.wrapping_add(1);
        }
        for _ in 0..self.packets {
            datagram.extend(ts::numbered(self.number));
            self.number += 1;
        }
        datagram
    }

    pub(crate) fn post(&self, datagram: &[u8]) {
        self.socket
            .send_to(datagram, self.to)
            .expect("datagram sent");
    }

    /// Sends the next datagram.
    pub(crate) fn send(&mut self) {
        let datagram = self.make();
        self.post(&datagram);
    }

    /// Sends datagrams at this pace from a thread of its own, until the value is dropped.
    pub(crate) fn run(mut self, datagrams_per_second: u32) -> Sender {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(self.number));
        let (stopped, counter) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = std::thread::spawn(move || {
            stay_on_this_processor();
            let began = Instant::now();
            let mut due = Duration::ZERO;
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(due.saturating_sub(began.elapsed()));
                self.send();
                counter.store(self.number, Ordering::Relaxed);
                // Who comes late does not make up for it with a burst.
                due = began.elapsed().saturating_sub(LATENESS_MAX).max(due)
                    + Duration::from_secs(1) / datagrams_per_second;
            }
        });
        Sender {
            stop,
            sent,
            thread: Some(thread),
        }
    }
}

/// Keeps this thread where it is. The kernel queues what is sent per processor: on a busy machine what a thread sends
/// after it was moved arrives before what it sent earlier, by more than a reorder window waits.
fn stay_on_this_processor() {
    let here = sched_getcpu().expect("a processor");
    let mut only = CpuSet::new();
    only.set(here).expect("a known processor");
    sched_setaffinity(Pid::from_raw(0), &only).expect("this thread stays");
}

fn index(link: &str) -> u32 {
    flowgate::sys::udp::interface_index(link).unwrap_or_else(|| panic!("no link {link}"))
}

/// A running [`Source`].
pub(crate) struct Sender {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Sender {
    /// The number of the next packet.
    pub(crate) fn next(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Stops and returns the number of the packet that would have been next.
    pub(crate) fn stop(mut self) -> u64 {
        self.halt();
        self.next()
    }

    fn halt(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the sender failed");
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.halt();
    }
}
