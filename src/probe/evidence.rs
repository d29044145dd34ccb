//! What the kernel says about a sender: `tcp_info` by name, and why a blocked interval was blocked (probe spec B.8).
//!
//! The length that the kernel returned decides which fields exist; the others are absent and never 0. Everything
//! here speaks of the next hop only.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::net::TcpInfo;

/// A field that conclusions are drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Exponential back-off step of the current timer.
    Backoff,
    /// Segments sent and not acknowledged.
    Unacked,
    /// Bytes never sent yet.
    NotsentBytes,
    /// Microseconds with data outstanding or queued.
    BusyTime,
    /// Microseconds held back by the peer's window.
    RwndLimited,
    /// Microseconds held back by the local buffer.
    SndbufLimited,
    /// The peer's window, bytes.
    SndWnd,
    /// The window last advertised to the peer, bytes.
    RcvWnd,
}

impl Field {
    fn name(self) -> &'static str {
        match self {
            Field::Backoff => "backoff",
            Field::Unacked => "unacked",
            Field::NotsentBytes => "notsent_bytes",
            Field::BusyTime => "busy_time",
            Field::RwndLimited => "rwnd_limited",
            Field::SndbufLimited => "sndbuf_limited",
            Field::SndWnd => "snd_wnd",
            Field::RcvWnd => "rcv_wnd",
        }
    }
}

/// Name, offset and width in bytes of what is reported (`linux/tcp.h`; probe spec B.8.2).
const FIELDS: &[(&str, usize, usize)] = &[
    ("state", 0, 1),
    ("probes", 3, 1),
    ("backoff", 4, 1),
    ("snd_mss", 16, 4),
    ("unacked", 24, 4),
    ("lost", 32, 4),
    ("retrans", 36, 4),
    ("last_data_sent", 44, 4),
    ("last_data_recv", 52, 4),
    ("last_ack_recv", 56, 4),
    ("rtt", 68, 4),
    ("rttvar", 72, 4),
    ("snd_cwnd", 80, 4),
    ("rcv_space", 96, 4),
    ("total_retrans", 100, 4),
    ("bytes_acked", 120, 8),
    ("bytes_received", 128, 8),
    ("notsent_bytes", 144, 4),
    ("min_rtt", 148, 4),
    ("delivery_rate", 160, 8),
    ("busy_time", 168, 8),
    ("rwnd_limited", 176, 8),
    ("sndbuf_limited", 184, 8),
    ("delivered", 192, 4),
    ("delivered_ce", 196, 4),
    ("bytes_sent", 200, 8),
    ("bytes_retrans", 208, 8),
    ("rcv_ooopack", 224, 4),
    ("snd_wnd", 228, 4),
    ("rcv_wnd", 232, 4),
    ("rehash", 236, 4),
    ("total_rto", 240, 2),
    ("total_rto_recoveries", 242, 2),
    ("total_rto_time", 244, 4),
];

/// Parts of a byte: name, offset, lowest bit and number of bits on a little-endian machine, and the length from which
/// on a kernel is known to fill them.
const BITS: &[(&str, usize, u8, u8, usize)] = &[
    ("snd_wscale", 6, 0, 4, 104),
    ("rcv_wscale", 6, 4, 4, 104),
    ("delivery_rate_app_limited", 7, 0, 1, 168),
    ("fastopen_client_fail", 7, 1, 2, 240),
];

/// The value of a field, if this kernel has it.
pub fn value(info: &TcpInfo, field: Field) -> Option<u64> {
    let (_, offset, width) = FIELDS.iter().find(|(name, ..)| *name == field.name())?;
    read(info, *offset, *width)
}

/// The fields of one `tcp_info`, each known or not. Small, because ten thousand connections keep one each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpFields {
    values: [u64; FIELDS.len()],
    bits: [u8; BITS.len()],
    /// A bit for each of `values`, and behind them for each of `bits`, that is known.
    known: u64,
    /// What the kernel returned, bytes.
    length: Option<u64>,
}

const _: () = assert!(FIELDS.len() + BITS.len() <= u64::BITS as usize);

impl TcpFields {
    /// What this kernel says.
    pub fn of(info: &TcpInfo) -> Self {
        Self {
            length: Some(info.len() as u64),
            ..Self::gather(
                |number| {
                    let (_, offset, width) = FIELDS[number];
                    read(info, offset, width)
                },
                |number| read_bits(info, number),
            )
        }
    }

    /// What another end has said by [`TcpFields::to_json`]; whatever is missing or no number is unknown.
    pub fn parse(object: &Map<String, Value>) -> Self {
        let number = |name: &str| object.get(name).and_then(Value::as_u64);
        Self {
            length: number("len"),
            ..Self::gather(
                |index| number(FIELDS[index].0),
                |index| number(BITS[index].0).and_then(|bits| bits.try_into().ok()),
            )
        }
    }

    /// All fields under their names; those that are not known are null. `len` is what the kernel returned, bytes.
    pub fn to_json(&self) -> Map<String, Value> {
        let values = self.values.into_iter();
        let bits = self.bits.into_iter().map(u64::from);
        let values = values.chain(bits).enumerate();
        let values = values.map(|(number, value)| (self.known >> number & 1 == 1).then_some(value));
        let names = FIELDS.iter().map(|(name, ..)| *name);
        let names = names.chain(BITS.iter().map(|(name, ..)| *name));
        let mut object: Map<_, _> = names
            .zip(values)
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        object.insert("len".into(), self.length.into());
        object
    }

    /// Length of the `tcp_info` that the kernel returned, bytes.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    fn gather(value: impl Fn(usize) -> Option<u64>, bits: impl Fn(usize) -> Option<u8>) -> Self {
        let mut known = 0;
        let mut note = |number: usize, is_known: bool| known |= u64::from(is_known) << number;
        let values = std::array::from_fn(|number| {
            let value = value(number);
            note(number, value.is_some());
            value.unwrap_or(0)
        });
        let bits = std::array::from_fn(|number| {
            let bits = bits(number);
            note(FIELDS.len() + number, bits.is_some());
            bits.unwrap_or(0)
        });
        Self {
            values,
            bits,
            known,
            length: None,
        }
    }
}

/// The release of this kernel, if it tells.
pub fn kernel_release() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    Some(text.trim().to_owned())
}

fn read(info: &TcpInfo, offset: usize, width: usize) -> Option<u64> {
    match width {
        1 => info.field(offset).map(|[byte]| u64::from(byte)),
        2 => info
            .field(offset)
            .map(|bytes| u64::from(u16::from_ne_bytes(bytes))),
        4 => info
            .field(offset)
            .map(|bytes| u64::from(u32::from_ne_bytes(bytes))),
        _ => info.field(offset).map(u64::from_ne_bytes),
    }
}

fn read_bits(info: &TcpInfo, number: usize) -> Option<u8> {
    let (_, offset, lowest, count, length) = BITS[number];
    let shift = match cfg!(target_endian = "big") {
        true => 8 - lowest - count,
        false => lowest,
    };
    let [byte] = info.field(offset).filter(|_| info.len() >= length)?;
    Some(byte >> shift & ((1 << count) - 1))
}

/// Why a sender was blocked (probe spec B.8.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The next hop closed its window.
    ZeroWindow,
    /// The next hop's window limits.
    Rwnd,
    /// Bandwidth, congestion window or loss.
    Network,
    /// The local buffer is too small.
    Sndbuf,
    /// Several of these.
    Mixed,
    /// The kernel does not tell.
    Unknown,
}

impl Class {
    /// As in results.
    pub fn name(self) -> &'static str {
        match self {
            Class::ZeroWindow => "zero_window",
            Class::Rwnd => "rwnd",
            Class::Network => "network",
            Class::Sndbuf => "sndbuf",
            Class::Mixed => "mixed",
            Class::Unknown => "unknown",
        }
    }

    /// By its name.
    pub fn named(name: &str) -> Self {
        let all = [
            Class::ZeroWindow,
            Class::Rwnd,
            Class::Network,
            Class::Sndbuf,
            Class::Mixed,
        ];
        let found = all.into_iter().find(|class| class.name() == name);
        found.unwrap_or(Class::Unknown)
    }

    /// What it means, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Class::ZeroWindow => "zero window at next hop",
            Class::Rwnd => "window of next hop limits",
            Class::Network => "network limits: bandwidth, congestion or loss",
            Class::Sndbuf => "local send buffer too small",
            Class::Mixed => "no single cause",
            Class::Unknown => "the kernel does not tell",
        }
    }
}

/// Follows one blocked interval from its first sample to its last.
#[derive(Debug, Clone, Copy, Default)]
pub struct Witness {
    first: Counters,
    last: Counters,
    /// Samples that saw the window closed.
    zero_windows: u32,
}

/// Cumulative microseconds.
#[derive(Debug, Clone, Copy, Default)]
struct Counters {
    busy: Option<u64>,
    rwnd_limited: Option<u64>,
    sndbuf_limited: Option<u64>,
}

impl Witness {
    /// A witness of an interval that begins now.
    pub fn new(info: Option<&TcpInfo>) -> Self {
        let first = info.map(Counters::of).unwrap_or_default();
        let mut witness = Self {
            first,
            last: first,
            zero_windows: 0,
        };
        if let Some(info) = info {
            witness.see(info);
        }
        witness
    }

    /// Takes a sample from inside the interval.
    pub fn see(&mut self, info: &TcpInfo) {
        self.last = Counters::of(info);
        let is_closed = match value(info, Field::SndWnd) {
            Some(window) => window == 0,
            // Without the window: nothing is in flight, something waits, and probes are sent ever more rarely.
            None => {
                value(info, Field::Unacked) == Some(0)
                    && value(info, Field::NotsentBytes).is_some_and(|bytes| bytes > 0)
                    && value(info, Field::Backoff).is_some_and(|step| step > 0)
            }
        };
        self.zero_windows += u32::from(is_closed);
    }

    /// The part of `wall` in which the peer's window held the sender back, 0 to 1.
    pub fn rwnd_ratio(&self, wall: Duration) -> Option<f64> {
        part(self.first.rwnd_limited, self.last.rwnd_limited, wall)
    }

    /// Why the interval of length `wall` was blocked.
    pub fn class(&self, wall: Duration) -> Class {
        let Some(rwnd) = self.rwnd_ratio(wall) else {
            return match self.zero_windows {
                0 | 1 => Class::Unknown,
                _ => Class::ZeroWindow,
            };
        };
        let busy = part(self.first.busy, self.last.busy, wall).unwrap_or(0.0);
        let sndbuf = part(self.first.sndbuf_limited, self.last.sndbuf_limited, wall).unwrap_or(0.0);
        match (rwnd, sndbuf) {
            (rwnd, _) if rwnd >= 0.8 && self.zero_windows >= 2 => Class::ZeroWindow,
            (rwnd, _) if rwnd >= 0.8 => Class::Rwnd,
            (_, sndbuf) if sndbuf >= 0.2 => Class::Sndbuf,
            (rwnd, _) if rwnd < 0.2 && busy >= 0.8 => Class::Network,
            _ => Class::Mixed,
        }
    }
}

impl Counters {
    fn of(info: &TcpInfo) -> Self {
        Self {
            busy: value(info, Field::BusyTime),
            rwnd_limited: value(info, Field::RwndLimited),
            sndbuf_limited: value(info, Field::SndbufLimited),
        }
    }
}

fn part(first: Option<u64>, last: Option<u64>, wall: Duration) -> Option<f64> {
    let microseconds = last?.saturating_sub(first?) as f64;
    let wall = wall.as_secs_f64() * 1e6;
    Some((microseconds / wall.max(1.0)).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `tcp_info` of `len` bytes with these fields set.
    fn info(len: usize, set: &[(&str, u64)]) -> TcpInfo {
        let mut bytes = vec![0; len];
        for (name, value) in set {
            let (_, offset, width) = FIELDS.iter().find(|(known, ..)| known == name).expect(name);
            bytes[*offset..offset + width].copy_from_slice(&value.to_ne_bytes()[..*width]);
        }
        TcpInfo::of(&bytes)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn fields_beyond_the_returned_length_are_absent() {
        // Linux 4.10 returns 192 bytes: the time counters, but no windows.
        let old = info(192, &[("rwnd_limited", 5), ("snd_cwnd", 10)]);
        assert_eq!(value(&old, Field::RwndLimited), Some(5));
        assert_eq!(value(&old, Field::SndWnd), None);
        let json = TcpFields::of(&old).to_json();
        assert_eq!(json["snd_cwnd"], 10);
        assert!(json["snd_wnd"].is_null() && json["delivered"].is_null());
        assert_eq!(json["sndbuf_limited"], 0, "it ends at byte 192");
        let shorter = TcpFields::of(&info(191, &[])).to_json();
        assert!(shorter["sndbuf_limited"].is_null());
    }

    #[test]
    fn fields_that_another_end_has_told_are_as_they_were() {
        for length in [0, 104, 192, 280] {
            let fields = TcpFields::of(&info(length, &[]));
            assert_eq!(TcpFields::parse(&fields.to_json()), fields, "{length}");
        }
        assert_eq!(TcpFields::parse(&Map::new()).to_json()["len"], Value::Null);
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn parts_of_bytes_are_told_apart() {
        let mut bytes = [0; 240];
        (bytes[6], bytes[7]) = (0xa7, 0b101);
        let json = TcpFields::of(&TcpInfo::of(&bytes)).to_json();
        assert_eq!(
            (&json["snd_wscale"], &json["rcv_wscale"]),
            (&7.into(), &10.into())
        );
        assert_eq!(json["delivery_rate_app_limited"], 1);
        assert_eq!(json["fastopen_client_fail"], 2);
        let old = TcpFields::of(&TcpInfo::of(&bytes[..160])).to_json();
        assert!(
            old["delivery_rate_app_limited"].is_null(),
            "it says nothing there"
        );
    }

    #[test]
    fn a_closed_window_seen_twice_is_a_zero_window() {
        let mut witness = Witness::new(Some(&info(280, &[("snd_wnd", 3000)])));
        let closed = [("rwnd_limited", 990_000), ("busy_time", 990_000)];
        witness.see(&info(280, &closed));
        assert_eq!(witness.class(SECOND), Class::Rwnd, "once is not enough");
        witness.see(&info(280, &closed));
        assert_eq!(witness.class(SECOND), Class::ZeroWindow);
        assert_eq!(witness.rwnd_ratio(SECOND), Some(0.99));
    }

    #[test]
    fn without_the_window_probes_speak_for_it() {
        let probing = info(
            200,
            &[
                ("rwnd_limited", 900_000),
                ("notsent_bytes", 1000),
                ("backoff", 2),
            ],
        );
        let mut witness = Witness::new(Some(&info(200, &[])));
        witness.see(&probing);
        witness.see(&probing);
        assert_eq!(witness.class(SECOND), Class::ZeroWindow);
    }

    #[test]
    fn each_cause_has_its_class() {
        let class = |set: &[(&str, u64)]| {
            let mut witness = Witness::new(Some(&info(280, &[("snd_wnd", 1)])));
            witness.see(&info(280, &[&[("snd_wnd", 1)], set].concat()));
            witness.class(SECOND)
        };
        assert_eq!(class(&[("rwnd_limited", 800_000)]), Class::Rwnd);
        assert_eq!(class(&[("busy_time", 1_000_000)]), Class::Network);
        let local = [("busy_time", 1_000_000), ("sndbuf_limited", 300_000)];
        assert_eq!(class(&local), Class::Sndbuf);
        assert_eq!(class(&[("rwnd_limited", 500_000)]), Class::Mixed);
        assert_eq!(Witness::new(None).class(SECOND), Class::Unknown);
    }

    #[test]
    fn classes_are_found_by_their_names() {
        for class in [Class::ZeroWindow, Class::Sndbuf, Class::Unknown] {
            assert_eq!(Class::named(class.name()), class);
        }
    }
}
