//! The source of `flowgate demo`: an endless test pattern, sent to a multicast group on loopback.
//!
//! It plays the part of foreign equipment, an encoder somewhere in the network, so that the router can be
//! tried with nothing else at hand. Therefore it has a thread of its own, stays out of the event loop, and
//! shares no code with the parsers it feeds. Picture, H.264, transport stream and RTP are all made here; no
//! video is embedded.
//!
//! ```text
//! picture ──macroblocks──> h264 ──access units──> mux ──7 TS packets──> Source ──RTP──> group on lo
//! ```
//!
//! Everything but [`Source`] is pure and may be run without a socket or a clock.
//!
//! # Receiving it
//!
//! Linux delivers multicast on `lo` to anybody, whether or not the interface has the `MULTICAST` flag and a
//! route, if both ends name the interface: the sender by `IP_MULTICAST_IF`, the receiver by the interface of
//! its membership, 127.0.0.1 or the index of `lo`. A membership on the default interface receives nothing.

mod font;
mod h264;
mod mux;
mod nal;
mod picture;
mod reservation;

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    io,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use socket2::{Domain, Protocol, Socket, Type};

pub use mux::{DATAGRAM, DATAGRAMS_PER_SECOND, Mux};
pub use picture::TimeOfDay;
pub use reservation::Reservation;

/// The interface the demo sends on, and on which a receiver must join.
pub const INTERFACE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A running source; it ends when dropped, within a few milliseconds.
pub struct Source {
    /// Dropping it is the signal to stop.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Source {
    /// Begins to send to `group` on loopback.
    ///
    /// # Errors
    ///
    /// `InvalidInput` unless `group` is a multicast address; else what the system says to the socket, its
    /// options or the thread.
    pub fn start(group: SocketAddrV4) -> io::Result<Source> {
        if !group.ip().is_multicast() {
            let message =
                format!("demo: {group} is not a multicast group (224.0.0.0 to 239.255.255.255)");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let socket = open(group)?;
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("demo source".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || send(&socket, group, &stopped))?;
        log::info!("demo {group}: sending on {INTERFACE}");
        Ok(Source {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("demo: the source had panicked");
        }
    }
}

/// Ample: the largest thing on the stack is a datagram, and what a picture needs is on the heap.
const STACK_BYTES: usize = 256 * 1024;

/// A socket that neither blocks nor lets anything leave the host.
fn open(group: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_multicast_if_v4(&INTERFACE)?;
    socket.set_multicast_loop_v4(true)?;
    // Not to leave the host. Measured on Linux 6.18: members on `lo` receive one copy with 0 as with 1.
    socket.set_multicast_ttl_v4(0)?;
    socket.bind(&SocketAddrV4::new(INTERFACE, 0).into())?;
    socket.connect(&group.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// The loop of the thread, until `stopped` is closed.
fn send(socket: &UdpSocket, group: SocketAddrV4, stopped: &Receiver<()>) {
    let mut mux = Mux::new(0);
    let mut rtp = Rtp::new();
    let mut pace = Pace::new(now());
    let mut clock = Clock::default();
    let mut lost: u64 = 0;
    let wait = |pace: &Pace| stopped.recv_timeout(pace.due().saturating_duration_since(now()));
    while wait(&pace) == Err(RecvTimeoutError::Timeout) {
        let sent_at = now();
        pace.note_sent(sent_at);
        let mut time_of_day =
            |frame| clock.at_frame(frame, pace.since_frame(frame, sent_at), wall_clock());
        let datagram = mux.next_datagram(&mut time_of_day);
        if let Err(error) = socket.send(&rtp.packet(&datagram)) {
            if lost == 0 {
                log::warn!("demo {group}: cannot send: {error}");
            }
            lost += 1;
        }
    }
    log::info!(
        "demo {group}: stopped after {} packets, {lost} of them not sent",
        pace.sent
    );
}

#[allow(
    clippy::disallowed_methods,
    reason = "foreign equipment has a clock of its own"
)]
fn now() -> Instant {
    Instant::now()
}

#[allow(
    clippy::disallowed_methods,
    reason = "the picture shows the time of day"
)]
fn wall_clock() -> Duration {
    // A clock before 1970 is shown as midnight.
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// When each datagram is due.
///
/// Counted from a fixed origin, so errors do not add up. One that is late is made up for at twice the pace,
/// and beyond `LATE_MAX` (a suspended machine, a stopped process) the origin moves instead: never a burst.
struct Pace {
    origin: Instant,
    sent: u64,
    last: Option<Instant>,
}

/// Chosen: longer than a busy machine keeps a thread waiting, shorter than a viewer would follow at double
/// speed.
const LATE_MAX: Duration = Duration::from_secs(1);

impl Pace {
    fn new(now: Instant) -> Pace {
        Pace {
            origin: now,
            sent: 0,
            last: None,
        }
    }

    /// When to send the next datagram.
    fn due(&self) -> Instant {
        let due = self.origin + position(self.sent);
        self.last
            .map_or(due, |last| due.max(last + position(1) / 2))
    }

    fn note_sent(&mut self, now: Instant) {
        let late = now.saturating_duration_since(self.origin + position(self.sent));
        if late > LATE_MAX {
            self.origin += late;
        }
        self.sent += 1;
        self.last = Some(now);
    }

    /// How long ago, at `now`, a frame was due. Nothing for one that is drawn a little early.
    fn since_frame(&self, frame: u64, now: Instant) -> Duration {
        let due = self.origin + Duration::from_millis(frame * 1000 / picture::FRAME_RATE);
        now.saturating_duration_since(due)
    }
}

/// How far into the stream datagram number `datagram` lies.
fn position(datagram: u64) -> Duration {
    let seconds = datagram / DATAGRAMS_PER_SECOND;
    let rest = datagram % DATAGRAMS_PER_SECOND;
    Duration::new(
        seconds,
        (rest * 1_000_000_000 / DATAGRAMS_PER_SECOND) as u32,
    )
}

/// What the clock in the picture shows: frames are exactly 40 ms apart unless the wall clock disagrees.
///
/// Reading the wall clock for each picture instead would show every wobble of the thread.
#[derive(Default)]
struct Clock {
    /// The wall clock at frame 0, since the epoch.
    origin: Duration,
}

/// Chosen: half a frame, not to be seen.
const CLOCK_ERROR_MAX: Duration = Duration::from_millis(20);

impl Clock {
    /// `ago` is how long before `wall_clock` the frame was due.
    fn at_frame(&mut self, frame: u64, ago: Duration, wall_clock: Duration) -> TimeOfDay {
        let position = Duration::from_millis(frame * 1000 / picture::FRAME_RATE);
        let exact = wall_clock.saturating_sub(ago);
        if (self.origin + position).abs_diff(exact) > CLOCK_ERROR_MAX {
            self.origin = exact.saturating_sub(position);
        }
        TimeOfDay::since_epoch(self.origin + position)
    }
}

/// The packets of an RTP stream of TS (RFC 3550 §5.1, RFC 2250 §2, RFC 3551 §6).
struct Rtp {
    source: u32,
    sequence: u16,
    /// What the 90 kHz clock said at the first packet.
    timestamp_origin: u32,
    sent: u64,
}

/// Bytes of an RTP header without contributing sources and extension.
const RTP_HEADER: usize = 12;
/// `MP2T` (RFC 3551 table 5).
const RTP_MP2T: u8 = 33;

impl Rtp {
    /// Source, sequence number and timestamp begin anywhere, as RFC 3550 §5.1 asks. Keys of a hash map are
    /// the randomness at hand, and enough of it for something that guards nothing.
    fn new() -> Rtp {
        let state = RandomState::new();
        let random = state.hash_one(0);
        Rtp {
            source: random as u32,
            sequence: (random >> 32) as u16,
            timestamp_origin: state.hash_one(1) as u32,
            sent: 0,
        }
    }

    fn packet(&mut self, datagram: &[u8; DATAGRAM]) -> [u8; RTP_HEADER + DATAGRAM] {
        let elapsed = self.sent * 90_000 / DATAGRAMS_PER_SECOND;
        let timestamp = self.timestamp_origin.wrapping_add(elapsed as u32);
        let mut packet = [0; RTP_HEADER + DATAGRAM];
        packet[0] = 0x80; // version 2, no padding, no extension, no contributing sources
        packet[1] = RTP_MP2T;
        packet[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
        packet[8..12].copy_from_slice(&self.source.to_be_bytes());
        packet[12..].copy_from_slice(datagram);
        self.sequence = self.sequence.wrapping_add(1);
        self.sent += 1;
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_nanos(1_000_000_000 / DATAGRAMS_PER_SECOND);

    #[test]
    fn pace_does_not_drift() {
        let origin = now();
        let mut pace = Pace::new(origin);
        for _ in 0..100 * DATAGRAMS_PER_SECOND {
            // Every wake-up is a little late.
            let woken = pace.due() + Duration::from_micros(300);
            pace.note_sent(woken);
        }
        assert_eq!(pace.due(), origin + Duration::from_secs(100));
    }

    #[test]
    fn short_delay_is_made_up_for_at_twice_the_pace() {
        let origin = now();
        let mut pace = Pace::new(origin);
        pace.note_sent(pace.due());
        let mut last = origin + Duration::from_millis(500);
        pace.note_sent(last);
        let mut sent = 2;
        while pace.due() > origin + position(sent) {
            let due = pace.due();
            assert!(due - last >= INTERVAL / 2);
            pace.note_sent(due);
            last = due;
            sent += 1;
        }
        let caught_up = last - origin;
        assert!(caught_up > Duration::from_millis(990) && caught_up < Duration::from_millis(1010));
    }

    #[test]
    fn after_a_suspend_the_stream_continues_without_a_burst() {
        let origin = now();
        let mut pace = Pace::new(origin);
        for _ in 0..DATAGRAMS_PER_SECOND {
            pace.note_sent(pace.due());
        }
        let resumed = origin + Duration::from_secs(3600);
        pace.note_sent(resumed);
        for number in 1..1000 {
            let due = pace.due();
            assert!((due - resumed).abs_diff(position(number)) < Duration::from_micros(1));
            pace.note_sent(due);
        }
    }

    #[test]
    fn clock_in_the_picture_steps_evenly_and_follows_the_wall_clock() {
        let mut clock = Clock::default();
        let mut shown = |frame, ago, wall| {
            let milliseconds = Duration::from_millis;
            clock
                .at_frame(frame, milliseconds(ago), milliseconds(wall))
                .to_string()
        };
        assert_eq!(shown(0, 0, 1000), "00:00:01.00");
        // A thread that wobbles does not show; neither does a picture drawn late.
        assert_eq!(shown(1, 3, 1049), "00:00:01.04");
        assert_eq!(shown(2, 30, 1105), "00:00:01.08");
        // Somebody sets the clock.
        assert_eq!(shown(3, 0, 60_000), "00:01:00.00");
        assert_eq!(shown(4, 0, 60_040), "00:01:00.04");
    }

    #[test]
    fn rtp_sequence_and_timestamp_advance_and_wrap() {
        let mut rtp = Rtp {
            source: 7,
            sequence: u16::MAX,
            timestamp_origin: u32::MAX,
            sent: 0,
        };
        let datagram = [0x47; DATAGRAM];
        let first = rtp.packet(&datagram);
        assert_eq!(
            first[..12],
            [0x80, 33, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 7]
        );
        assert_eq!(first[12..], datagram);
        // 90000 / 350 ticks, less the one that wraps.
        assert_eq!(rtp.packet(&datagram)[2..8], [0, 0, 0, 0, 1, 0]);
        rtp.sent = DATAGRAMS_PER_SECOND;
        assert_eq!(rtp.packet(&datagram)[4..8], (90_000_u32 - 1).to_be_bytes());
    }

    #[test]
    fn address_that_is_no_group_is_refused() {
        let error = Source::start(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 5004)).err();
        assert_eq!(
            error.map(|error| error.kind()),
            Some(io::ErrorKind::InvalidInput)
        );
    }

    #[test]
    fn member_of_the_group_on_loopback_receives_until_the_source_is_dropped() {
        let group = Ipv4Addr::new(239, 255, 70, 72);
        let receiver = UdpSocket::bind(SocketAddrV4::new(group, 0)).unwrap();
        receiver.join_multicast_v4(&group, &INTERFACE).unwrap();
        receiver
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let port = receiver.local_addr().unwrap().port();
        let source = Source::start(SocketAddrV4::new(group, port)).unwrap();
        let mut packet = [0; 2048];
        let mut sequence = None;
        for _ in 0..20 {
            let (length, from) = receiver.recv_from(&mut packet).unwrap();
            assert_eq!(
                (length, from.ip()),
                (RTP_HEADER + DATAGRAM, INTERFACE.into())
            );
            let this = u16::from_be_bytes([packet[2], packet[3]]);
            assert!(sequence.is_none_or(|last: u16| this == last.wrapping_add(1)));
            sequence = Some(this);
        }
        drop(source);
        receiver.set_nonblocking(true).unwrap();
        while receiver.recv(&mut packet).is_ok() {}
        receiver.set_nonblocking(false).unwrap();
        receiver
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        assert!(
            receiver.recv(&mut packet).is_err(),
            "nothing comes after the drop"
        );
    }
}
