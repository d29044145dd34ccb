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
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const HOLE_WAIT: Duration = Duration::from_millis(50);
    const START_WAIT: Duration = Duration::from_millis(200);
    const SSRC: u32 = 7;

    #[expect(
        clippy::disallowed_methods,
        reason = "an arbitrary point to count from"
    )]
    fn some_instant() -> Instant {
        Instant::now()
    }

    /// A window whose items are their sequence numbers, and all it has delivered.
    struct Bench {
        window: Window<u16>,
        now: Instant,
        out: Vec<u16>,
    }

    impl Bench {
        fn idle(window: u16) -> Self {
            Bench {
                window: Window::new(window, HOLE_WAIT, START_WAIT),
                now: some_instant(),
                out: Vec::new(),
            }
        }

        /// Has delivered eight packets; `base` is next.
        fn running(base: u16) -> Self {
            let mut bench = Self::idle(WINDOW);
            bench.insert((1..=8).rev().map(|back| base.wrapping_sub(back)));
            assert_eq!(bench.take().len(), 8);
            bench.window.counters = Counters::default();
            bench
        }

        fn insert(&mut self, sequences: impl IntoIterator<Item = u16>) {
            self.insert_from(SSRC, sequences);
        }

        fn insert_from(&mut self, ssrc: u32, sequences: impl IntoIterator<Item = u16>) {
            for sequence in sequences {
                self.window
                    .insert(self.now, ssrc, sequence, sequence, &mut self.out);
            }
        }

        fn wait(&mut self, time: Duration) {
            self.now += time;
            self.window.expire(self.now, &mut self.out);
        }

        fn take(&mut self) -> Vec<u16> {
            std::mem::take(&mut self.out)
        }
    }

    fn seen(received: u64) -> Counters {
        Counters {
            received,
            ..Counters::default()
        }
    }

    #[test]
    fn start_waits_for_eight_packets_and_sorts_them() {
        let mut bench = Bench::idle(WINDOW);
        bench.insert([3, 1, 65535, 0, 2, 2, 5]);
        assert_eq!((bench.take(), bench.window.held()), (vec![], 6));
        bench.insert([4, 6]);
        assert_eq!(bench.take(), [65535, 0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(bench.window.held(), 0);
        assert_eq!(
            bench.window.counters(),
            Counters {
                received: 9,
                duplicates: 1,
                reordered: 5,
                ..Counters::default()
            }
        );
    }

    #[test]
    fn start_waits_no_longer_than_its_time() {
        let mut bench = Bench::idle(WINDOW);
        assert_eq!(bench.window.deadline(), None);
        bench.insert([10, 9]);
        assert_eq!(bench.window.deadline(), Some(bench.now + START_WAIT));
        bench.wait(START_WAIT - Duration::from_millis(1));
        assert_eq!(bench.take(), [0_u16; 0]);
        bench.wait(Duration::from_millis(1));
        assert_eq!(bench.take(), [9, 10]);
        bench.insert([11]);
        assert_eq!(bench.take(), [11]);
        assert_eq!(bench.window.deadline(), None);
    }

    #[test]
    fn hole_is_filled_by_a_late_packet() {
        let mut bench = Bench::running(65534);
        bench.insert([65534, 0, 1, 65535, 2]);
        assert_eq!(bench.take(), [65534, 65535, 0, 1, 2]);
        assert_eq!(
            bench.window.counters(),
            Counters {
                reordered: 1,
                ..seen(5)
            }
        );
    }

    #[test]
    fn loss_does_not_delay_the_rest_of_the_stream() {
        let mut bench = Bench::running(100);
        bench.insert(101..132);
        assert_eq!((bench.take(), bench.window.held()), (vec![], 31));
        bench.insert([132]);
        assert_eq!(
            bench.take(),
            (101..=132).collect::<Vec<_>>(),
            "all at once, not one by one"
        );
        bench.insert([133]);
        assert_eq!(bench.take(), [133]);
        assert_eq!(
            bench.window.counters(),
            Counters {
                lost: 1,
                ..seen(33)
            }
        );
    }

    #[test]
    fn hole_waits_no_longer_than_its_time() {
        let mut bench = Bench::running(100);
        bench.insert([102]);
        assert_eq!(bench.window.deadline(), Some(bench.now + HOLE_WAIT));
        bench.wait(HOLE_WAIT / 2);
        bench.insert([104]);
        bench.wait(HOLE_WAIT / 4);
        bench.insert([105]);
        bench.wait(HOLE_WAIT / 4);
        assert_eq!(bench.take(), [102]);
        let deadline = bench.now + HOLE_WAIT / 2;
        assert_eq!(
            bench.window.deadline(),
            Some(deadline),
            "the second hole began with 104"
        );
        bench.wait(HOLE_WAIT / 2);
        assert_eq!(bench.take(), [104, 105]);
        assert_eq!(bench.window.counters(), Counters { lost: 3, ..seen(3) });
        assert_eq!(bench.window.deadline(), None);
    }

    #[test]
    fn late_packets_and_duplicates_vanish() {
        let mut bench = Bench::running(100);
        bench.insert([101, 101, 99]);
        bench.wait(HOLE_WAIT);
        bench.insert([100, 101, 102]);
        assert_eq!(bench.take(), [101, 102]);
        assert_eq!(
            bench.window.counters(),
            Counters {
                lost: 1,
                duplicates: 3,
                late: 1,
                ..seen(6)
            }
        );
    }

    #[test]
    fn a_short_recording_that_begins_anew_after_a_pause_loses_nothing() {
        let mut bench = Bench::running(65530);
        bench.insert((0..20u16).map(|ahead| 65530u16.wrapping_add(ahead)));
        bench.take();
        bench.window.note_pause();
        let again: Vec<u16> = (0..30u16)
            .map(|ahead| 65530u16.wrapping_add(ahead))
            .collect();
        bench.insert(again[..7].iter().copied());
        assert_eq!(bench.take(), [0_u16; 0], "seven may still be late");
        bench.insert(again[7..].iter().copied());
        assert_eq!(bench.take(), again);
        assert_eq!(
            bench.window.counters(),
            Counters {
                resyncs: 1,
                ..seen(50)
            }
        );
    }

    #[test]
    fn after_a_pause_one_packet_that_fits_makes_the_others_late() {
        let mut bench = Bench::running(100);
        bench.window.note_pause();
        bench.insert((93..100).chain([100]).chain(92..100));
        assert_eq!(bench.take(), [100]);
        assert_eq!(
            bench.window.counters(),
            Counters {
                late: 7,
                duplicates: 8,
                ..seen(16)
            }
        );
    }

    #[test]
    fn jump_beyond_the_window_counts_the_gap_as_lost() {
        let mut bench = Bench::running(100);
        bench.insert([101, 600]);
        assert_eq!((bench.take(), bench.window.held()), (vec![101], 1));
        assert_eq!(bench.window.counters().lost, 1 + (600 - 31 - 102));
        bench.insert([599]);
        bench.wait(HOLE_WAIT);
        assert_eq!(bench.take(), [599, 600]);
        assert_eq!(
            bench.window.counters(),
            Counters {
                lost: 1 + (599 - 102),
                reordered: 1,
                ..seen(3)
            }
        );
    }

    #[test]
    fn packet_of_a_gap_that_was_given_up_is_late_and_no_duplicate() {
        let mut bench = Bench::running(100);
        bench.insert([200, 165, 99]);
        assert_eq!(bench.window.counters().late, 1);
        assert_eq!(
            bench.window.counters().duplicates,
            0,
            "99 is too far back for that, and held as a rival"
        );
        bench.insert([170, 170]);
        assert_eq!(
            bench.window.counters(),
            Counters {
                lost: 69,
                late: 2,
                duplicates: 1,
                reordered: 1,
                ..seen(5)
            }
        );
    }

    #[test]
    fn huge_jump_is_a_restart_and_not_a_loss() {
        let mut bench = Bench::running(100);
        bench.insert(20_000..20_007);
        assert_eq!((bench.take(), bench.window.held()), (vec![], 7));
        bench.insert([20_007, 20_008]);
        assert_eq!(bench.take(), (20_000..=20_008).collect::<Vec<_>>());
        assert_eq!(
            bench.window.counters(),
            Counters {
                resyncs: 1,
                ..seen(9)
            }
        );
    }

    #[test]
    fn sender_that_starts_again_is_followed_without_loss() {
        let mut bench = Bench::running(30_000);
        bench.insert([30_001]);
        bench.insert([5, 5, 6, 8, 7, 9, 10, 11, 12, 13]);
        assert_eq!(bench.take(), [30_001, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
        assert_eq!(
            bench.window.counters(),
            Counters {
                resyncs: 1,
                lost: 1,
                duplicates: 1,
                reordered: 1,
                ..seen(11)
            }
        );
    }

    #[test]
    fn small_step_back_costs_only_the_repeated_packets() {
        let mut bench = Bench::running(100);
        bench.insert(92..105);
        assert_eq!(bench.take(), (100..105).collect::<Vec<_>>());
        assert_eq!(bench.window.counters().resyncs, 0);
    }

    #[test]
    fn new_ssrc_needs_two_packets() {
        let mut bench = Bench::running(100);
        bench.insert_from(8, [40_000, 40_000]);
        assert_eq!(bench.take(), [0_u16; 0]);
        bench.insert_from(8, [40_001, 40_002]);
        assert_eq!(bench.take(), [40_000, 40_001, 40_002]);
        assert_eq!(
            bench.window.counters(),
            Counters {
                resyncs: 1,
                duplicates: 1,
                ..seen(4)
            }
        );
    }

    #[test]
    fn stray_packets_do_not_take_over() {
        let mut bench = Bench::running(100);
        for sequence in 100..120 {
            bench.insert_from(8, [sequence]);
            bench.insert([sequence.wrapping_sub(9_000)]);
            bench.insert([sequence]);
        }
        assert_eq!(bench.take(), (100..120).collect::<Vec<_>>());
        assert_eq!(
            bench.window.counters(),
            Counters {
                late: 40,
                ..seen(60)
            }
        );
    }

    #[test]
    fn stray_first_packet_does_not_block_the_start() {
        let mut bench = Bench::idle(WINDOW);
        bench.insert([5]);
        bench.insert(500..505);
        bench.wait(START_WAIT);
        bench.wait(HOLE_WAIT);
        assert_eq!(bench.take(), [5, 500, 501, 502, 503, 504]);
        let mut bench = Bench::idle(WINDOW);
        bench.insert_from(8, [5]);
        bench.insert([501, 502, 500, 504, 505, 506, 507, 503]);
        assert_eq!(bench.take(), [5, 500, 501, 502, 503, 504, 505, 506, 507]);
    }

    #[test]
    fn reset_starts_from_scratch_and_keeps_the_counters() {
        let mut bench = Bench::running(100);
        bench.insert([102]);
        bench.window.reset();
        assert_eq!((bench.window.held(), bench.window.deadline()), (0, None));
        bench.insert(1000..1008);
        assert_eq!(bench.take(), (1000..1008).collect::<Vec<_>>());
        assert_eq!(bench.window.counters(), seen(9));
    }

    #[test]
    fn run_is_accepted_only_if_it_is_what_comes_next() {
        let mut bench = Bench::idle(WINDOW);
        assert!(!bench.window.accept_run(SSRC, 0, 3));
        let mut bench = Bench::running(65_530);
        assert!(!bench.window.accept_run(SSRC, 65_531, 3));
        assert!(!bench.window.accept_run(8, 65_530, 3));
        assert!(bench.window.accept_run(SSRC, 65_530, 10));
        bench.insert([4, 3, 6]);
        assert!(!bench.window.accept_run(SSRC, 5, 1), "something is held");
        assert_eq!(bench.take(), [4]);
        assert_eq!(
            bench.window.counters(),
            Counters {
                duplicates: 1,
                ..seen(13)
            }
        );
    }

    /// What a network does to one packet: sends it `copies` times, each delayed by some positions.
    #[derive(Clone, Debug)]
    struct Fate {
        delays: Vec<u16>,
    }

    fn any_fates(delay_max: u16) -> impl Strategy<Value = Vec<Fate>> {
        let delay = prop_oneof![4 => Just(0), 1 => 0..=delay_max];
        let copies = prop_oneof![1 => Just(0usize), 12 => Just(1), 2 => 2..4usize];
        let fate = copies
            .prop_flat_map(move |copies| prop::collection::vec(delay.clone(), copies))
            .prop_map(|delays| Fate { delays });
        prop::collection::vec(fate, 8..300)
    }

    /// Indices of the packets in the order they arrive. The first is kept whole and first.
    fn arrivals(fates: &[Fate]) -> Vec<usize> {
        let mut arrivals = vec![(0, 0)];
        for (index, fate) in fates.iter().enumerate().skip(1) {
            arrivals.extend(
                fate.delays
                    .iter()
                    .map(|&delay| (index + usize::from(delay), index)),
            );
        }
        // Stable: without delays the order stays.
        arrivals.sort_by_key(|&(at, _)| at);
        arrivals.into_iter().map(|(_, index)| index).collect()
    }

    proptest! {
        /// The naive model: a set. Whatever arrives is delivered once and in order, as long as nothing is
        /// delayed by more than half the window.
        #[test]
        fn everything_that_arrives_is_delivered_once_and_in_order(
            fates in any_fates(16),
            base in any::<u16>(),
        ) {
            let arrivals = arrivals(&fates);
            let expected: BTreeSet<usize> = arrivals.iter().copied().collect();
            let mut bench = Bench::idle(64);
            for &index in &arrivals {
                bench.insert([base.wrapping_add(index as u16)]);
            }
            while bench.window.held() > 0 {
                bench.wait(START_WAIT);
            }
            let delivered: Vec<usize> = bench.out.iter().map(|&sequence| usize::from(sequence.wrapping_sub(base))).collect();
            prop_assert_eq!(delivered, expected.iter().copied().collect::<Vec<_>>());
            let counters = bench.window.counters();
            let last = expected.last().unwrap();
            prop_assert_eq!(counters.lost, (last + 1 - expected.len()) as u64);
            prop_assert_eq!(counters.duplicates, (arrivals.len() - expected.len()) as u64);
            prop_assert_eq!((counters.received, counters.late, counters.resyncs), (arrivals.len() as u64, 0, 0));
        }

        #[test]
        fn accepted_runs_leave_the_same_state_as_single_packets(
            base in any::<u16>(),
            runs in prop::collection::vec((0u16..100, 0u16..40, any::<bool>()), 1..20),
        ) {
            let (mut fast, mut slow) = (Bench::running(base), Bench::running(base));
            let mut next = base;
            for (count, gap, expires) in runs {
                let run = (0..count).map(|index| next.wrapping_add(index));
                if fast.window.accept_run(SSRC, next, count) {
                    fast.out.extend(run.clone());
                } else {
                    fast.insert(run.clone());
                }
                slow.insert(run);
                next = next.wrapping_add(count + gap % 3);
                if expires {
                    fast.wait(HOLE_WAIT);
                    slow.wait(HOLE_WAIT);
                }
                let repeat = next.wrapping_sub(gap);
                fast.insert([repeat]);
                slow.insert([repeat]);
                prop_assert_eq!(&fast.out, &slow.out);
                prop_assert_eq!(fast.window.counters(), slow.window.counters());
                prop_assert_eq!(fast.window.held(), slow.window.held());
                prop_assert_eq!(fast.window.history, slow.window.history);
            }
        }

        /// Any sequence of calls: nothing is delivered twice or forgotten, and the bounds hold.
        #[test]
        fn any_packets_keep_the_books(
            window in prop_oneof![Just(0u16), Just(WINDOW), 1u16..600],
            packets in prop::collection::vec(
                (0u32..3, prop_oneof![8 => 0u16..40, 1 => 0u16..1200, 1 => any::<u16>()], any::<u16>(), 0u64..30),
                0..400,
            ),
        ) {
            let mut bench: Window<usize> = Window::new(window, HOLE_WAIT, START_WAIT);
            let mut now = some_instant();
            let mut out = Vec::new();
            let mut next = 0u16;
            for (index, &(ssrc, jump, back, millis)) in packets.iter().enumerate() {
                let ssrc = if index % 5 == 0 { ssrc } else { SSRC };
                next = next.wrapping_add(jump % 4);
                let sequence = if back % 3 == 0 { next.wrapping_sub(jump) } else { next.wrapping_add(jump / 8) };
                bench.insert(now, ssrc, sequence, index, &mut out);
                now += Duration::from_millis(millis);
                bench.expire(now, &mut out);
                prop_assert!(bench.deadline().is_none_or(|deadline| deadline > now));
                prop_assert!(bench.held() < usize::from(bench.window) + RIVAL_PACKETS);
                prop_assert_eq!(bench.hole_since.is_some(), !bench.held.is_empty());
                prop_assert!(!matches!(bench.held.front(), Some(Some(_))));
                prop_assert!(!matches!(bench.held.back(), Some(None)));
                let counters = bench.counters();
                prop_assert_eq!(counters.received, index as u64 + 1);
                prop_assert_eq!(
                    counters.received,
                    (out.len() + bench.held()) as u64 + counters.duplicates + counters.late
                );
            }
            let unique: BTreeSet<_> = out.iter().collect();
            prop_assert_eq!(unique.len(), out.len());
        }
    }
}
