//! What a sending end measures: bytes accepted, when it was blocked, and for how long (probe spec B.2, B.7).
//!
//! Pure: every write and every sample is told with its instant. A blocked interval lasts from the write that would
//! have had to wait to the next one that took at least one byte; one of at least `stall_min` is a stall.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::evidence::{Class, TcpFields, Witness};
use super::wire::{self, milli};
use crate::net::TcpInfo;

/// Intervals that are kept; the shortest gives way.
const INTERVALS_MAX: usize = 1000;
/// Intervals that are told, the longest: as many as fit a line of text.
const INTERVALS_TOLD_MAX: usize = 64;
/// Shorter intervals are only counted: a slow reader makes thousands, as the kernel wakes a sender at a third of
/// its buffer (probe spec B.14).
pub const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// A time in which nothing was accepted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Seconds from the sender's start to the write that was blocked.
    pub start: f64,
    /// Seconds.
    pub length: f64,
    /// Bytes accepted before it.
    pub accepted_before: u64,
    /// Why.
    pub class: Class,
    /// Part of it in which the next hop's window held the sender back.
    pub rwnd_ratio: Option<f64>,
}

impl Interval {
    fn to_json(self) -> Value {
        json!({
            "start": milli(self.start),
            "length": milli(self.length),
            "accepted": self.accepted_before,
            "class": self.class.name(),
            "rwnd_ratio": self.rwnd_ratio.map(milli),
        })
    }

    fn of(object: &Map<String, Value>) -> Option<Self> {
        Some(Self {
            start: wire::seconds(object, "start"),
            length: wire::seconds(object, "length"),
            accepted_before: wire::optional(object, "accepted")?,
            class: Class::named(object.get("class")?.as_str()?),
            rwnd_ratio: object.get("rwnd_ratio").and_then(Value::as_f64),
        })
    }
}

/// The measurements of one sender.
#[derive(Debug, Clone)]
pub struct Sender {
    started_at: Instant,
    accepted: u64,
    blocked: Option<Blocked>,
    intervals: Vec<Interval>,
    /// Intervals have been forgotten.
    is_truncated: bool,
    /// All blocked time so far but the current interval.
    blocked_time: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Blocked {
    since: Instant,
    witness: Witness,
}

impl Sender {
    /// A sender that starts now.
    pub fn new(now: Instant) -> Self {
        Self {
            started_at: now,
            accepted: 0,
            blocked: None,
            intervals: Vec::new(),
            is_truncated: false,
            blocked_time: Duration::ZERO,
        }
    }

    /// Bytes accepted.
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Whether the last write was blocked.
    pub fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// How long it has been blocked.
    pub fn blocked_for(&self, now: Instant) -> Option<Duration> {
        let blocked = self.blocked?;
        Some(now.saturating_duration_since(blocked.since))
    }

    /// When it was blocked.
    pub fn blocked_list(&self) -> BlockedList {
        let mut longest: Vec<&Interval> = self.intervals.iter().collect();
        longest.sort_by(|a, b| b.length.total_cmp(&a.length));
        longest.truncate(INTERVALS_TOLD_MAX);
        longest.sort_by(|a, b| a.start.total_cmp(&b.start));
        BlockedList {
            intervals: longest
                .into_iter()
                .map(|interval| (interval.start, interval.length, interval.accepted_before))
                .collect(),
            is_truncated: self.is_truncated || self.intervals.len() > INTERVALS_TOLD_MAX,
        }
    }

    /// Notes a write that took `bytes`, more than 0. Returns the interval that it ended, if it was long enough to
    /// be kept; `info` is asked for only then.
    pub fn note_accepted(
        &mut self,
        now: Instant,
        bytes: u64,
        info: impl FnOnce() -> Option<TcpInfo>,
    ) -> Option<Interval> {
        let ended = self.blocked.take().and_then(|mut blocked| {
            let length = now.saturating_duration_since(blocked.since);
            self.blocked_time += length;
            if length < INTERVAL_MIN {
                return None;
            }
            if let Some(info) = info() {
                blocked.witness.see(&info);
            }
            Some(self.interval(blocked, length))
        });
        self.accepted += bytes;
        if let Some(interval) = ended {
            self.keep(interval);
        }
        ended
    }

    /// Notes that a write was blocked. `info` is asked for when an interval begins.
    pub fn note_blocked(&mut self, now: Instant, info: impl FnOnce() -> Option<TcpInfo>) {
        if self.blocked.is_none() {
            self.blocked = Some(Blocked {
                since: now,
                witness: Witness::new(info().as_ref()),
            });
        }
    }

    /// Takes a sample.
    pub fn see(&mut self, info: &TcpInfo) {
        if let Some(blocked) = &mut self.blocked {
            blocked.witness.see(info);
        }
    }

    /// What is known at `now`.
    pub fn view(&self, now: Instant, queue: &SendQueue, info: Option<&TcpInfo>) -> SenderView {
        let current = self
            .blocked
            .map(|blocked| self.interval(blocked, now.saturating_duration_since(blocked.since)));
        let longest = self.intervals.iter().copied().chain(current);
        SenderView {
            at: now.saturating_duration_since(self.started_at).as_secs_f64(),
            accepted: self.accepted,
            blocked: current,
            longest: longest.max_by(|a, b| a.length.total_cmp(&b.length)),
            blocked_s: self.blocked_time.as_secs_f64()
                + current.map_or(0.0, |interval| interval.length),
            unsent: queue.unsent,
            unacked: queue.unacked,
            tcp: info.map(|info| Box::new(TcpFields::of(info))),
        }
    }

    fn interval(&self, blocked: Blocked, length: Duration) -> Interval {
        let start = blocked.since.saturating_duration_since(self.started_at);
        Interval {
            start: start.as_secs_f64(),
            length: length.as_secs_f64(),
            accepted_before: self.accepted,
            class: blocked.witness.class(length),
            rwnd_ratio: blocked.witness.rwnd_ratio(length),
        }
    }

    fn keep(&mut self, interval: Interval) {
        if self.intervals.len() < INTERVALS_MAX {
            return self.intervals.push(interval);
        }
        self.is_truncated = true;
        let shortest = self
            .intervals
            .iter_mut()
            .min_by(|a, b| a.length.total_cmp(&b.length));
        if let Some(shortest) = shortest.filter(|shortest| shortest.length < interval.length) {
            *shortest = interval;
        }
    }
}

/// When a sender was blocked, in all its time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BlockedList {
    /// Seconds from the sender's start, length in seconds, and bytes accepted before; at most 64, the longest of all.
    pub intervals: Vec<(f64, f64, u64)>,
    /// There were more.
    pub is_truncated: bool,
}

impl BlockedList {
    /// As a list of lists.
    pub fn to_json(&self) -> Value {
        let list = self.intervals.iter();
        list.map(|(start, length, accepted)| json!([milli(*start), milli(*length), accepted]))
            .collect()
    }

    /// Reads what `to_json` has made; `None` if it is anything else.
    pub fn of(list: &Value, is_truncated: bool) -> Option<Self> {
        let list = list.as_array()?.iter().take(INTERVALS_TOLD_MAX);
        let interval = |entry: &Value| match entry.as_array()?.as_slice() {
            [start, length, accepted] => {
                Some((start.as_f64()?, length.as_f64()?, accepted.as_u64()?))
            }
            _ => None,
        };
        Some(Self {
            intervals: list.map(interval).collect::<Option<_>>()?,
            is_truncated,
        })
    }
}

/// Payload that waits at the sending end, scaled from bytes on the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SendQueue {
    /// Never sent: in the program (TLS) and in the kernel.
    pub unsent: Option<u64>,
    /// Sent and not acknowledged.
    pub unacked: Option<u64>,
}

/// What is known about a sender at one moment; travels over the control connection when the sender is the server.
#[derive(Debug, Clone, PartialEq)]
pub struct SenderView {
    /// Seconds since the sender's start.
    pub at: f64,
    /// Bytes accepted.
    pub accepted: u64,
    /// The interval it is in.
    pub blocked: Option<Interval>,
    /// The longest interval so far, the current one included.
    pub longest: Option<Interval>,
    /// All blocked time, seconds.
    pub blocked_s: f64,
    /// As in [`SendQueue`].
    pub unsent: Option<u64>,
    /// As in [`SendQueue`].
    pub unacked: Option<u64>,
    /// `tcp_info` by name.
    pub tcp: Option<Box<TcpFields>>,
}

impl SenderView {
    /// How long it has been blocked at most, seconds.
    pub fn longest_s(&self) -> f64 {
        self.longest.map_or(0.0, |interval| interval.length)
    }

    /// As a JSON object.
    pub fn to_json(&self) -> Value {
        json!({
            "t": milli(self.at),
            "accepted": self.accepted,
            "blocked": self.blocked.map(Interval::to_json),
            "longest": self.longest.map(Interval::to_json),
            "blocked_s": milli(self.blocked_s),
            "unsent": self.unsent,
            "unacked": self.unacked,
            "tcp": self.tcp.as_ref().map(|tcp| tcp.to_json()),
        })
    }

    /// Reads an object; `None` if it says nothing about bytes.
    pub fn of(object: &Map<String, Value>) -> Option<Self> {
        let interval = |name| Interval::of(object.get(name)?.as_object()?);
        Some(Self {
            at: wire::seconds(object, "t"),
            accepted: wire::optional(object, "accepted")?,
            blocked: interval("blocked"),
            longest: interval("longest"),
            blocked_s: wire::seconds(object, "blocked_s"),
            unsent: wire::optional(object, "unsent"),
            unacked: wire::optional(object, "unacked"),
            tcp: object
                .get("tcp")
                .and_then(Value::as_object)
                .map(|tcp| Box::new(TcpFields::parse(tcp))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn start() -> Instant {
        Instant::now()
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn an_interval_lasts_from_the_blocked_write_to_the_next_byte() {
        let start = start();
        let mut sender = Sender::new(start);
        assert_eq!(sender.note_accepted(start, 100, || None), None);
        sender.note_blocked(start + 5 * MS, || None);
        sender.note_blocked(start + 50 * MS, || None);
        assert_eq!(sender.blocked_for(start + 55 * MS), Some(50 * MS));
        let interval = sender
            .note_accepted(start + 105 * MS, 7, || None)
            .expect("an interval");
        assert_eq!((interval.start, interval.length), (0.005, 0.1));
        assert_eq!((interval.accepted_before, sender.accepted()), (100, 107));
        assert!(!sender.is_blocked());
    }

    #[test]
    fn short_intervals_are_counted_but_not_kept() {
        let start = start();
        let mut sender = Sender::new(start);
        for step in 0..100 {
            sender.note_blocked(start + 2 * step * MS, || None);
            sender.note_accepted(start + (2 * step + 1) * MS, 1, || None);
        }
        assert!(sender.intervals.is_empty());
        let view = sender.view(start + 200 * MS, &SendQueue::default(), None);
        assert_eq!(milli(view.blocked_s), 0.1);
        assert_eq!((view.blocked, view.longest), (None, None));
    }

    #[test]
    fn the_longest_intervals_survive_when_there_are_too_many() {
        let start = start();
        let mut sender = Sender::new(start);
        let mut now = start;
        for step in 0..INTERVALS_MAX as u32 + 10 {
            sender.note_blocked(now, || None);
            now += (20 + step) * MS;
            sender.note_accepted(now, 1, || None);
        }
        assert_eq!(sender.intervals.len(), INTERVALS_MAX);
        let shortest = sender.intervals.iter().map(|interval| interval.length);
        assert_eq!(shortest.fold(f64::MAX, f64::min), 0.030);
        let told = sender.blocked_list();
        assert_eq!(told.intervals.len(), INTERVALS_TOLD_MAX);
        assert!(told.is_truncated && told.intervals.is_sorted_by(|a, b| a.0 < b.0));
        let longest = 0.020 + (INTERVALS_MAX + 9) as f64 / 1000.0;
        assert_eq!(
            milli(told.intervals[INTERVALS_TOLD_MAX - 1].1),
            milli(longest)
        );
        let text = told.to_json();
        assert!(
            text.to_string().len() < 2500,
            "it fits a line with the rest"
        );
        let again = BlockedList::of(&text, true).expect("a list of lists");
        assert_eq!(again.to_json(), text);
    }

    #[test]
    fn a_view_is_read_as_it_was_written() {
        let start = start();
        let mut sender = Sender::new(start);
        sender.note_accepted(start, 10, || None);
        sender.note_blocked(start, || None);
        let queue = SendQueue {
            unsent: Some(3),
            unacked: None,
        };
        let view = sender.view(start + 1500 * MS, &queue, None);
        let Value::Object(object) = view.to_json() else {
            panic!("an object")
        };
        assert_eq!(SenderView::of(&object), Some(view));
    }
}
