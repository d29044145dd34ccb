//! Puts RTP packets back in order.
//!
//! A [`Window`] takes packets by sequence number as they arrive and appends to the caller's list what became
//! deliverable. It knows time only through `now`, and packets only as `T`; it neither parses nor repairs.
//!
//! ```text
//!          first packet             START_PACKETS held, or start_wait
//!  Idle ─────────────────► Collecting ─────────────────► Running
//!    ▲                          │                           │  ▲
//!    └────────── reset ─────────┴───────────────────────────┘  └─ rival run takes over
//! ```
//!
//! *Collecting* exists because some switches send the first packets of a new group through a slow path, so
//! that they arrive out of order. *Running* delivers from `base` on and holds what is ahead of it. A hole is
//! given up when a packet arrives a whole window ahead of it, or when it has waited `hole_wait`; then
//! everything consecutive behind it is delivered at once.
//!
//! Packets that contradict the stream are neither delivered nor dropped but held apart, as a *rival* run: a
//! different SSRC, or a sequence far behind or far ahead. One packet that fits the stream discards them.
//! Otherwise the second packet of a new SSRC, or the eighth of the same SSRC, shows that the sender has
//! restarted: the window gives up its holes, and goes on with the rival run without losing any of it.
//!
//! What repeats positions just passed is late or a duplicate, unless the caller has told of a pause: a sender that
//! plays a short recording in a loop begins it anew then.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::rtp::distance;

/// Window of a stream without parity, in packets. Reordering by up to 16 positions is normal.
pub const WINDOW: u16 = 32;

/// Smallest window, in packets: the packets collected at the start must fit.
pub const WINDOW_MIN: u16 = START_PACKETS as u16;

/// Largest window, in packets: eight times what the longest parity groups seen need.
pub const WINDOW_MAX: u16 = 4096;

/// Packets collected before the first is delivered.
pub const START_PACKETS: usize = 8;

/// Packets in a row, within one window and without one that fits the stream, that prove a restart.
pub const RIVAL_PACKETS: usize = 8;

/// The same if the SSRC is a new one. One would let a single stray packet take over the stream.
pub const RIVAL_SSRC_PACKETS: usize = 2;

/// Farthest jump ahead that is taken for loss, in packets, unless twice the window is more. At the rate of
/// typical streams (700 to 3800 packets per second) this is an outage of a second; what is farther is a
/// restart, and counting the positions between as lost would only spoil the counter.
pub const JUMP_MAX: u16 = 1000;

/// Delivered or skipped positions that are remembered, in packets. Whatever repeats one of them is late or
/// a duplicate and no sign of a restart, except after a pause.
const HISTORY: u16 = u64::BITS as u16;

const _: () = assert!(WINDOW_MIN <= WINDOW && WINDOW <= WINDOW_MAX);
// A jump taken for loss must be a distance ahead (RFC 1982), whichever of the two bounds it.
const _: () = assert!(2 * WINDOW_MAX < i16::MAX as u16);
const _: () = assert!(JUMP_MAX < i16::MAX as u16);
const _: () = assert!(RIVAL_PACKETS <= WINDOW_MIN as usize && RIVAL_SSRC_PACKETS <= RIVAL_PACKETS);

/// What happened to the packets of one window since it was made, in packets.
///
/// `received` = delivered + `duplicates` + `late` + held, unless the window was reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets passed in.
    pub received: u64,
    /// Positions skipped because nothing arrived in time. A late packet does not take back its loss.
    pub lost: u64,
    /// Packets that arrived after one with a higher sequence and were still in time.
    pub reordered: u64,
    /// Packets dropped because the same sequence was held or delivered before.
    pub duplicates: u64,
    /// Packets dropped because their position was skipped, or because they contradicted a stream that
    /// went on.
    pub late: u64,
    /// Times the window went on with a rival run.
    pub resyncs: u64,
}

/// A reorder buffer; see the module.
#[derive(Debug)]
pub struct Window<T> {
    window: u16,
    hole_wait: Duration,
    start_wait: Duration,
    phase: Phase<T>,
    /// Packets that contradict the stream; never complete between calls.
    rival: Option<Run<T>>,
    counters: Counters,
    /// SSRC of the stream. This and the fields below have a meaning only while running.
    ssrc: u32,
    /// Next sequence to deliver.
    base: u16,
    /// Bit `i` tells whether `base - 1 - i` was delivered.
    history: u64,
    /// The sender has paused, and nothing has fitted the stream since.
    has_paused: bool,
    /// Packets from `base` on: `None` is a hole. Empty, or starts with a hole and ends with a packet; shorter
    /// than `window`.
    held: VecDeque<Option<Arrived<T>>>,
    /// When the first packet behind the hole at `base` arrived. Has a meaning only while something is held.
    hole_since: Option<Instant>,
}

#[derive(Debug)]
enum Phase<T> {
    Idle,
    Collecting(Run<T>),
    Running,
}

#[derive(Debug)]
struct Arrived<T> {
    at: Instant,
    item: T,
}

impl<T> Window<T> {
    /// An idle window of `window` packets, brought within [`WINDOW_MIN`] and [`WINDOW_MAX`].
    ///
    /// `hole_wait` bounds how long a hole delays what is behind it, `start_wait` how long the first packet
    /// waits for [`START_PACKETS`] to come together. Memory is taken when packets are first held.
    pub fn new(window: u16, hole_wait: Duration, start_wait: Duration) -> Self {
        Window {
            window: window.clamp(WINDOW_MIN, WINDOW_MAX),
            hole_wait,
            start_wait,
            phase: Phase::Idle,
            rival: None,
            counters: Counters::default(),
            ssrc: 0,
            base: 0,
            history: 0,
            has_paused: false,
            held: VecDeque::new(),
            hole_since: None,
        }
    }

    /// Counts `count` consecutive packets from `first` as received and delivered, if they are exactly what
    /// comes next: running, same SSRC, nothing held.
    ///
    /// `true` means that the caller delivers them itself; `false` that nothing happened and that they must be
    /// passed to [`Window::insert`] one by one.
    #[inline]
    pub fn accept_run(&mut self, ssrc: u32, first: u16, count: u16) -> bool {
        let next = matches!(self.phase, Phase::Running) && self.ssrc == ssrc && self.base == first;
        if !next || !self.held.is_empty() || self.rival.is_some() {
            return false;
        }
        self.counters.received += u64::from(count);
        self.base = self.base.wrapping_add(count);
        self.history = !(!self.history).checked_shl(u32::from(count)).unwrap_or(0);
        self.has_paused = false;
        true
    }

    /// Notes that the sender was silent for longer than any network delays a packet: until one fits the stream,
    /// packets that repeat what was passed may be a restart and are held apart like others that contradict it.
    pub fn note_pause(&mut self) {
        self.has_paused = true;
    }

    /// Takes one packet and appends to `out`, in order, whatever becomes deliverable.
    ///
    /// The item is delivered once, now or later, or dropped because it is a duplicate or late. Deadlines are
    /// not looked at: a packet that arrives just before [`Window::expire`] may still fill its hole.
    #[inline]
    pub fn insert(&mut self, now: Instant, ssrc: u32, sequence: u16, item: T, out: &mut Vec<T>) {
        if self.accept_run(ssrc, sequence, 1) {
            out.push(item);
            return;
        }
        self.counters.received += 1;
        self.place(ssrc, sequence, Arrived { at: now, item }, out);
    }

    /// Gives up what has waited long enough: the collection at the start, or holes.
    ///
    /// Skipped positions count as lost; everything consecutive behind them is appended to `out`. Does nothing
    /// before [`Window::deadline`].
    pub fn expire(&mut self, now: Instant, out: &mut Vec<T>) {
        while self.deadline().is_some_and(|deadline| deadline <= now) {
            match std::mem::replace(&mut self.phase, Phase::Running) {
                Phase::Collecting(run) => self.start(run, out),
                _ => {
                    while let Some(None) = self.held.front() {
                        self.pass_front(out);
                    }
                    self.deliver_consecutive(out);
                }
            }
        }
    }

    /// When [`Window::expire`] has something to do next; `None` while nothing waits for time to pass.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Idle => None,
            Phase::Collecting(run) => run.since.checked_add(self.start_wait),
            Phase::Running => self.hole_since?.checked_add(self.hole_wait),
        }
    }

    /// How many packets are held, less than the window plus [`RIVAL_PACKETS`].
    pub fn held(&self) -> usize {
        let collected = match &self.phase {
            Phase::Collecting(run) => run.packets.len(),
            Phase::Idle | Phase::Running => self.held.iter().flatten().count(),
        };
        collected + self.rival.as_ref().map_or(0, |rival| rival.packets.len())
    }

    /// The counters since the window was made.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Drops what is held and waits for a first packet, as after [`Window::new`]. The counters stay.
    pub fn reset(&mut self) {
        self.phase = Phase::Idle;
        self.rival = None;
        self.history = 0;
        self.has_paused = false;
        self.held.clear();
        self.hole_since = None;
    }

    /// Finds the place of a packet: in the collection, in the window, among the rivals, or nowhere.
    fn place(&mut self, ssrc: u32, sequence: u16, packet: Arrived<T>, out: &mut Vec<T>) {
        match &mut self.phase {
            Phase::Idle => self.phase = Phase::Collecting(Run::new(ssrc, sequence, packet)),
            Phase::Collecting(run) if run.admits(ssrc, sequence, self.window) => {
                run.insert(sequence, packet, &mut self.counters);
                let complete = run.packets.len() >= START_PACKETS;
                self.drop_rival();
                if complete
                    && let Phase::Collecting(run) =
                        std::mem::replace(&mut self.phase, Phase::Running)
                {
                    self.start(run, out);
                }
            }
            Phase::Running if ssrc == self.ssrc => {
                let ahead = distance(sequence, self.base);
                if ahead >= 0 && ahead.unsigned_abs() <= self.jump_max() {
                    self.drop_rival();
                    self.has_paused = false;
                    self.hold(sequence, packet, out);
                } else if ahead < 0 && ahead.unsigned_abs() <= HISTORY && !self.has_paused {
                    self.count_past(ahead.unsigned_abs());
                } else {
                    self.place_rival(ssrc, sequence, packet, out);
                }
            }
            Phase::Collecting(_) | Phase::Running => self.place_rival(ssrc, sequence, packet, out),
        }
    }

    fn jump_max(&self) -> u16 {
        JUMP_MAX.max(2 * self.window)
    }

    /// Counts a packet `behind` positions before `base`, 1 to [`HISTORY`].
    fn count_past(&mut self, behind: u16) {
        if self.history >> (behind - 1) & 1 == 1 {
            self.counters.duplicates += 1;
        } else {
            self.counters.late += 1;
        }
    }

    /// Holds a packet at or ahead of `base`, delivering it and others if it is next or far enough ahead.
    fn hold(&mut self, sequence: u16, packet: Arrived<T>, out: &mut Vec<T>) {
        let ahead = sequence.wrapping_sub(self.base);
        if ahead >= self.window {
            // The window slides until the packet is its last; packets between may still come.
            self.skip(ahead - self.window + 1, out);
            self.deliver_consecutive(out);
        }
        // Never behind: had `sequence` been among what was delivered, it would have been within the window.
        let ahead = usize::from(sequence.wrapping_sub(self.base));
        debug_assert!(ahead < usize::from(self.window));
        match self.held.get_mut(ahead) {
            Some(Some(_)) => {
                self.counters.duplicates += 1;
                return;
            }
            Some(place) => {
                self.counters.reordered += 1;
                *place = Some(packet);
            }
            None => {
                self.hole_since.get_or_insert(packet.at);
                self.held.resize_with(ahead, || None);
                self.held.push_back(Some(packet));
            }
        }
        if ahead == 0 {
            self.deliver_consecutive(out);
        }
    }

    /// Moves `base` over `count` positions, delivering what is held there and counting the rest as lost.
    fn skip(&mut self, mut count: u16, out: &mut Vec<T>) {
        while count > 0 && !self.held.is_empty() {
            self.pass_front(out);
            count -= 1;
        }
        self.base = self.base.wrapping_add(count);
        self.history = self.history.checked_shl(u32::from(count)).unwrap_or(0);
        self.counters.lost += u64::from(count);
    }

    fn deliver_consecutive(&mut self, out: &mut Vec<T>) {
        while let Some(Some(_)) = self.held.front() {
            self.pass_front(out);
        }
        // The next hole has waited since the first packet behind it came, not since it became the next.
        self.hole_since = self.held.iter().flatten().map(|packet| packet.at).min();
    }

    /// Moves `base` over one held position: delivers its packet, or counts it as lost.
    fn pass_front(&mut self, out: &mut Vec<T>) {
        let Some(front) = self.held.pop_front() else {
            return;
        };
        self.base = self.base.wrapping_add(1);
        self.history = self.history << 1 | u64::from(front.is_some());
        match front {
            Some(packet) => out.push(packet.item),
            None => self.counters.lost += 1,
        }
    }

    /// Begins to run with a collection, or with a rival run that took over.
    fn start(&mut self, run: Run<T>, out: &mut Vec<T>) {
        debug_assert!(self.held.is_empty());
        self.phase = Phase::Running;
        self.ssrc = run.ssrc;
        self.history = 0;
        self.has_paused = false;
        self.hole_since = None;
        let mut packets = run.packets.into_iter();
        if let Some((first, packet)) = packets.next() {
            self.base = first;
            self.hold(first, packet, out);
        }
        for (sequence, packet) in packets {
            self.hold(sequence, packet, out);
        }
        // What contradicted the collection may be just ahead of a running window.
        if let Some(rival) = self.rival.take() {
            for (sequence, packet) in rival.packets {
                self.place(rival.ssrc, sequence, packet, out);
            }
        }
    }

    fn drop_rival(&mut self) {
        if let Some(rival) = self.rival.take() {
            self.counters.late += rival.packets.len() as u64;
        }
    }

    /// Adds to the rival run, or starts another one, and goes on with it once it is long enough.
    fn place_rival(&mut self, ssrc: u32, sequence: u16, packet: Arrived<T>, out: &mut Vec<T>) {
        match &mut self.rival {
            Some(rival) if rival.admits(ssrc, sequence, self.window) => {
                rival.insert(sequence, packet, &mut self.counters);
            }
            _ => {
                self.drop_rival();
                self.rival = Some(Run::new(ssrc, sequence, packet));
            }
        }
        let known_ssrc = match &self.phase {
            Phase::Collecting(run) => run.ssrc,
            Phase::Idle | Phase::Running => self.ssrc,
        };
        let enough = if ssrc == known_ssrc {
            RIVAL_PACKETS
        } else {
            RIVAL_SSRC_PACKETS
        };
        if let Some(rival) = self.rival.take_if(|rival| rival.packets.len() >= enough) {
            self.counters.resyncs += 1;
            self.take_over(rival, out);
        }
    }

    /// Delivers all that is held, in order, and goes on with `rival`.
    fn take_over(&mut self, rival: Run<T>, out: &mut Vec<T>) {
        match std::mem::replace(&mut self.phase, Phase::Running) {
            Phase::Collecting(run) => {
                out.extend(run.packets.into_iter().map(|(_, packet)| packet.item));
                if rival.packets.len() < START_PACKETS {
                    // Still the start of the stream, so its first packets may still be out of order.
                    self.phase = Phase::Collecting(rival);
                    return;
                }
            }
            Phase::Idle | Phase::Running => {
                while !self.held.is_empty() {
                    self.pass_front(out);
                }
            }
        }
        self.start(rival, out);
    }
}

/// Packets of one SSRC that lie within one window, sorted. Never empty.
#[derive(Debug)]
struct Run<T> {
    ssrc: u32,
    /// When its first packet arrived.
    since: Instant,
    packets: Vec<(u16, Arrived<T>)>,
}

impl<T> Run<T> {
    fn new(ssrc: u32, sequence: u16, packet: Arrived<T>) -> Self {
        Run {
            ssrc,
            since: packet.at,
            packets: vec![(sequence, packet)],
        }
    }

    /// Whether a packet belongs here: same SSRC, and all still within one window with it.
    fn admits(&self, ssrc: u32, sequence: u16, window: u16) -> bool {
        let (Some(&(first, _)), Some(&(last, _))) = (self.packets.first(), self.packets.last())
        else {
            return false;
        };
        let span = if distance(sequence, first) < 0 {
            last.wrapping_sub(sequence)
        } else {
            sequence.wrapping_sub(first)
        };
        ssrc == self.ssrc && span < window
    }

    /// Sorts in an admitted packet, unless it is a duplicate.
    fn insert(&mut self, sequence: u16, packet: Arrived<T>, counters: &mut Counters) {
        let place = self
            .packets
            .partition_point(|&(other, _)| distance(other, sequence) < 0);
        match self.packets.get(place) {
            Some(&(other, _)) if other == sequence => {
                counters.duplicates += 1;
                return;
            }
            Some(_) => counters.reordered += 1,
            None => {}
        }
        self.packets.insert(place, (sequence, packet));
    }
}

#[cfg(test)]
mod tests;
