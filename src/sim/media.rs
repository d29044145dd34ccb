//! Media that can be checked: every TS packet says which it is, and every byte of it can be told.
//!
//! A datagram of a simulated channel carries 1 to n TS packets. Each names its channel, the number of its
//! datagram and its place in it; what it must contain is looked up where the sender kept it. Every
//! [`GROUP`]th datagram begins with PAT, PMT and a random-access point, so that the fast-start ring fills.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::web::{Exchange, Replies};
use crate::limits::HALF_CLOSED_WAIT;
use crate::proto::mpegts::{PACKET_BYTES, SYNC};

/// Datagrams from one random-access point to the next.
pub(super) const GROUP: u64 = 25;
/// Where a TS packet says which it is: channel, datagram, place, packets in the datagram.
const TAG: usize = PACKET_BYTES - 16;

/// A generator of numbers that a seed repeats (splitmix64).
#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5dee_ce66_d1ce_4e5b)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// As [`Rng::range`], for counts.
    pub(super) fn count(&mut self, low: usize, high: usize) -> usize {
        self.range(low as u64, high as u64) as usize
    }

    /// True once in `n`.
    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }

    /// True with this probability in percent.
    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.count(0, from.len() - 1)]
    }

    pub(super) fn micros(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_micros(self.range(low, high))
    }

    pub(super) fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_micros(self.range(low * 1000, high * 1000))
    }
}

/// What a sender remembers of a datagram.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) payload: Rc<[u8]>,
    /// When it was put into the router's socket; `None` if it was lost on the way or the socket was full.
    pub(super) arrived: Option<Instant>,
    /// How many datagrams had arrived since the join when it did, itself included.
    pub(super) place: u64,
}

impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} bytes, number {} to arrive",
            self.payload.len(),
            self.place
        )
    }
}

/// A silence in which a client that has closed its side may be taken to have left. It is a little shorter than the
/// router's, since packets are not handed on in the moment in which they arrive.
pub(super) const SILENCE: Duration = HALF_CLOSED_WAIT.saturating_sub(Duration::from_secs(1));

/// When the first [`SILENCE`] after `begun` begins, if there is one.
pub(super) fn silence(sent: &[Sent], begun: Instant) -> Option<Instant> {
    let mut arrivals: Vec<Instant> = sent.iter().filter_map(|sent| sent.arrived).collect();
    arrivals.sort_unstable();
    arrivals.windows(2).find_map(|pair| {
        let begin = pair[0].max(begun);
        (pair[1].saturating_duration_since(begin) >= SILENCE).then_some(begin)
    })
}

/// The payload of datagram `sequence`, of `packets` TS packets.
pub(super) fn payload(channel: u16, sequence: u64, packets: usize) -> Vec<u8> {
    let random_access = sequence.is_multiple_of(GROUP) && packets >= 3;
    let mut bytes = Vec::with_capacity(packets * PACKET_BYTES);
    for index in 0..packets {
        let (pid, front): (u16, Vec<u8>) = match index {
            0 if random_access => (0, section(&PAT)),
            1 if random_access => (0x100, section(&PMT)),
            2 if random_access => (0x101, vec![]),
            _ => (0x102, vec![]),
        };
        let starts = u16::from(index < 3 && random_access) << 14;
        let mut packet = [0; PACKET_BYTES];
        packet[0] = SYNC;
        packet[1..3].copy_from_slice(&(pid | starts).to_be_bytes());
        packet[3] = 0x10 | (sequence / GROUP % 16) as u8;
        let mut rng = Rng::new(u64::from(channel) << 48 ^ sequence << 8 ^ index as u64);
        for chunk in packet[4..TAG].chunks_mut(8) {
            chunk.copy_from_slice(&rng.next().to_le_bytes()[..chunk.len()]);
        }
        packet[4..4 + front.len()].copy_from_slice(&front);
        if random_access && index == 2 {
            packet[3] |= 0x20;
            packet[4..6].copy_from_slice(&[1, 0x40]);
        }
        packet[TAG..TAG + 2].copy_from_slice(&channel.to_be_bytes());
        packet[TAG + 2..TAG + 10].copy_from_slice(&sequence.to_be_bytes());
        packet[TAG + 10..TAG + 12].copy_from_slice(&(index as u16).to_be_bytes());
        packet[TAG + 12..TAG + 14].copy_from_slice(&(packets as u16).to_be_bytes());
        bytes.extend_from_slice(&packet);
    }
    bytes
}

/// Wraps a payload into RTP; `is_mixed` adds a CSRC, an extension or padding now and then.
pub(super) fn rtp_packet(
    sequence: u16,
    ssrc: u32,
    payload: &[u8],
    is_mixed: bool,
    rng: &mut Rng,
) -> Vec<u8> {
    let mut packet = vec![0x80, 33];
    packet.extend(sequence.to_be_bytes());
    packet.extend([0; 4]);
    packet.extend(ssrc.to_be_bytes());
    let odd = is_mixed && rng.one_in(20);
    if odd && rng.one_in(2) {
        packet[0] |= 2;
        packet.extend([7; 8]);
    }
    if odd && rng.one_in(2) {
        packet[0] |= 0x10;
        packet.extend([0xbe, 0xde, 0, 1, 1, 2, 3, 4]);
    }
    packet.extend_from_slice(payload);
    if odd && rng.one_in(2) {
        packet[0] |= 0x20;
        packet.extend([0, 0, 0, 4]);
    }
    packet
}

/// Program 1, PMT on PID 0x100.
const PAT: [u8; 12] = [0, 0xb0, 13, 0, 2, 0xc1, 0, 0, 0, 1, 0xe1, 0];
/// H.264 on PID 0x101.
const PMT: [u8; 17] = [
    2, 0xb0, 18, 0, 1, 0xc1, 0, 0, 0xe1, 1, 0xf0, 0, 0x1b, 0xe1, 1, 0xf0, 0,
];

/// Pointer, section, CRC, and one byte of stuffing, behind which anything may stand.
fn section(bytes: &[u8]) -> Vec<u8> {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte) << 24;
        for _ in 0..8 {
            crc = crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 };
        }
    }
    [&[0], bytes, &crc.to_be_bytes(), &[0xff]].concat()
}

/// Byte `offset` of body `number`.
pub(super) fn body_byte(number: usize, offset: u64) -> u8 {
    (offset.wrapping_mul(31) as u8).wrapping_add(number as u8) ^ (offset >> 8) as u8
}

/// What a body should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    Channel(usize),
    /// A stream of its own, kept where this channel's media would be.
    Stream(usize),
    /// Answers to a series of requests.
    Replies,
    /// An error page, or nothing at all.
    Page,
}

/// Reads what a client was sent as it is written, and panics at the first byte that cannot be right.
#[derive(Debug)]
pub(super) struct Viewer {
    pub(super) expected: Expected,
    pub(super) replies: Replies,
    head: Vec<u8>,
    pub(super) status: Option<u16>,
    pub(super) body_bytes: u64,
    partial: Vec<u8>,
    /// Datagram, place and packets of the TS packet before.
    pub(super) last: Option<(u64, u16, u16)>,
    pub(super) first: Option<u64>,
    pub(super) first_media_at: Option<Instant>,
    /// Datagrams that lie between those received, by whether they ever reached the router's socket.
    pub(super) missing: u64,
    pub(super) missing_arrived: u64,
    pub(super) missing_arrived_bytes: u64,
}

/// A TS packet that has been written whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) sequence: u64,
    pub(super) first: bool,
}

impl Viewer {
    pub(super) fn new(expected: Expected) -> Self {
        Self {
            expected,
            replies: Replies::default(),
            head: Vec::new(),
            status: None,
            body_bytes: 0,
            partial: Vec::new(),
            last: None,
            first: None,
            first_media_at: None,
            missing: 0,
            missing_arrived: 0,
            missing_arrived_bytes: 0,
        }
    }

    /// Takes what was written and appends the TS packets that it completes to `seen`.
    pub(super) fn push(
        &mut self,
        mut bytes: &[u8],
        now: Instant,
        channels: &[Vec<Sent>],
        exchanges: &[Exchange],
        seen: &mut Vec<Seen>,
    ) {
        if self.expected == Expected::Replies {
            self.replies.push(bytes, now, exchanges);
            return;
        }
        while self.status.is_none() {
            let Some((&byte, rest)) = bytes.split_first() else {
                return;
            };
            bytes = rest;
            self.head.push(byte);
            if self.head.ends_with(b"\r\n\r\n") {
                let line = std::str::from_utf8(&self.head).expect("a head is ASCII");
                let status = line
                    .strip_prefix("HTTP/1.1 ")
                    .and_then(|rest| rest.get(..3));
                self.status = Some(status.and_then(|code| code.parse().ok()).expect(line));
            }
        }
        if bytes.is_empty() {
            return;
        }
        match self.expected {
            _ if self.status != Some(200) => self.body_bytes += bytes.len() as u64,
            Expected::Page | Expected::Replies => {
                panic!("a stream for a request that asked for none")
            }
            Expected::Channel(channel) | Expected::Stream(channel) => {
                self.body_bytes += bytes.len() as u64;
                self.partial.extend_from_slice(bytes);
                let mut partial = std::mem::take(&mut self.partial);
                let whole = partial.len() / PACKET_BYTES * PACKET_BYTES;
                for packet in partial[..whole].chunks_exact(PACKET_BYTES) {
                    seen.push(self.check(packet, channel, &channels[channel]));
                    self.first_media_at.get_or_insert(now);
                }
                partial.drain(..whole);
                self.partial = partial;
            }
        }
    }

    fn check(&mut self, packet: &[u8], channel: usize, sent: &[Sent]) -> Seen {
        let tag = &packet[TAG..];
        let short = |at: usize| u16::from_be_bytes([tag[at], tag[at + 1]]);
        let sequence = u64::from_be_bytes(tag[2..10].try_into().expect("eight bytes"));
        let (index, packets) = (short(10), short(12));
        assert_eq!(packet[0], SYNC, "the grid of channel {channel} is broken");
        assert_eq!(
            usize::from(short(0)),
            channel,
            "a packet of another channel"
        );
        let due = &sent[sequence as usize].payload;
        let at = usize::from(index) * PACKET_BYTES;
        assert!(
            due.get(at..at + PACKET_BYTES) == Some(packet),
            "bytes of datagram {sequence} of channel {channel}"
        );
        match self.last {
            None => {
                assert_eq!(index, 0, "the stream begins inside a datagram");
                self.first = Some(sequence);
            }
            // Tables that begin a stream stand alone when the media behind them was taken back.
            Some((before, its_index, its_packets))
                if its_index + 1 == its_packets
                    || (its_index == 1 && index == 0 && self.first == Some(before)) =>
            {
                assert_eq!(index, 0, "datagram {sequence} begins with packet {index}");
                assert!(
                    sequence > before,
                    "channel {channel}: datagram {sequence} behind {before}"
                );
                for between in &sent[before as usize + 1..sequence as usize] {
                    self.missing += 1;
                    if between.arrived.is_some() {
                        self.missing_arrived += 1;
                        self.missing_arrived_bytes += between.payload.len() as u64;
                    }
                }
            }
            Some((before, its_index, _)) => assert_eq!(
                (sequence, index),
                (before, its_index + 1),
                "datagram {before} of channel {channel} is cut"
            ),
        }
        let first = self.last.is_none();
        self.last = Some((sequence, index, packets));
        Seen { sequence, first }
    }

    /// Whether the stream stands between two datagrams, with its head whole.
    pub(super) fn is_whole(&self) -> bool {
        // Tables alone are whole packets too.
        let begun = |sequence, index| self.first == Some(sequence) && index == 1;
        let between = |(sequence, index, packets)| index + 1 == packets || begun(sequence, index);
        self.status.is_some() && self.partial.is_empty() && self.last.is_none_or(between)
    }

    /// Whether anything was written at all.
    pub(super) fn is_empty(&self) -> bool {
        self.head.is_empty()
    }
}
