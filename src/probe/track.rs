//! What the client makes of one connection: the hold, the stall, where the bytes sat, the verdict (probe spec B.7, B.9).
//!
//! Pure. It is told what either end says about itself, whichever of the two is this program, and when. What neither
//! end can say stays unknown.

use std::fmt;
use std::time::{Duration, Instant};

use super::sender::{BlockedList, Interval, SenderView};
use super::wire::Report;

/// What a run is judged by.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// A sender that is blocked for so long has stalled.
    pub stall_min: Duration,
    /// More bytes accepted in a hold mean that nothing propagates.
    pub absorb_max: u64,
    /// After the hold a sender must get on within this time.
    pub resume: Duration,
    /// The longest hold.
    pub hold: Duration,
    /// Interval of samples and reports.
    pub sample: Duration,
    /// Bytes that a paced sender would offer during the longest hold; `None` without a pace.
    pub offered: Option<u64>,
}

/// Whether back pressure travels through the chain; the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It does.
    Yes,
    /// The run does not tell.
    Inconclusive,
    /// It does not.
    No,
    /// Bytes were lost or changed.
    Corrupt,
}

impl Verdict {
    /// As in results.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Yes => "yes",
            Verdict::Inconclusive => "inconclusive",
            Verdict::No => "no",
            Verdict::Corrupt => "corrupt",
        }
    }
}

/// Why a verdict is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The sender stalled in the hold and went on after it.
    Propagates,
    /// A byte is wrong.
    Altered,
    /// Bytes did not arrive.
    Lost,
    /// The sender could go on for more than `--max-absorb` bytes.
    MaxAbsorb,
    /// The sender never had to wait for long.
    NoStall,
    /// The chain ended the connection instead of slowing it down.
    ChainClosed,
    /// The sender was done while nothing had arrived.
    BufferedByProxy,
    /// Sender and control connection ended together: the other end is gone.
    PeerGone,
    /// The hold was shorter than a stall.
    HoldTooShort,
    /// The hold never began.
    NoHold,
    /// The sender's pace was too slow to fill anything.
    TooLittleOffered,
    /// It stalled, and did not go on.
    NotResumed,
    /// Nothing is known about the sender.
    SenderUnknown,
    /// Nothing was read before the hold.
    NoFlow,
    /// The connection was never made.
    NotConnected,
    /// The sender was held back already when the hold began, and all through it.
    BlockedBefore,
    /// The run took longer than `--timeout`.
    Timeout,
    /// The connection ended behind the hold, before everything had arrived.
    EndedEarly,
}

impl Reason {
    /// All of them.
    const ALL: [Reason; 18] = [
        Reason::Propagates,
        Reason::Altered,
        Reason::Lost,
        Reason::MaxAbsorb,
        Reason::NoStall,
        Reason::ChainClosed,
        Reason::BufferedByProxy,
        Reason::PeerGone,
        Reason::HoldTooShort,
        Reason::NoHold,
        Reason::TooLittleOffered,
        Reason::NotResumed,
        Reason::SenderUnknown,
        Reason::NoFlow,
        Reason::NotConnected,
        Reason::BlockedBefore,
        Reason::Timeout,
        Reason::EndedEarly,
    ];

    /// By its name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// As in results.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Propagates => "propagates",
            Reason::Altered => "altered",
            Reason::Lost => "lost",
            Reason::MaxAbsorb => "max_absorb",
            Reason::NoStall => "no_stall",
            Reason::ChainClosed => "chain_closed",
            Reason::BufferedByProxy => "buffered_by_proxy",
            Reason::PeerGone => "peer_gone",
            Reason::HoldTooShort => "hold_too_short",
            Reason::NoHold => "no_hold",
            Reason::TooLittleOffered => "too_little_offered",
            Reason::NotResumed => "not_resumed",
            Reason::SenderUnknown => "sender_unknown",
            Reason::NoFlow => "no_flow",
            Reason::NotConnected => "not_connected",
            Reason::BlockedBefore => "blocked_before",
            Reason::Timeout => "timeout",
            Reason::EndedEarly => "ended_early",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Propagates => "the sender stalled in the hold and went on after it",
            Reason::Altered => "bytes were changed on the way",
            Reason::Lost => "bytes did not arrive",
            Reason::MaxAbsorb => "the sender could go on beyond --max-absorb during the hold",
            Reason::NoStall => "the sender did not stall during the hold",
            Reason::ChainClosed => "the chain closed the connection instead of slowing it down",
            Reason::BufferedByProxy => "the sender finished while nothing had arrived",
            Reason::PeerGone => "the other end went away",
            Reason::HoldTooShort => "the hold was shorter than --stall-min",
            Reason::NoHold => "the hold did not begin",
            Reason::TooLittleOffered => "the sender's pace was too slow to fill the buffers",
            Reason::NotResumed => "the sender stalled and did not go on within --resume",
            Reason::SenderUnknown => "nothing is known about the sender",
            Reason::NoFlow => "nothing was read before the hold",
            Reason::NotConnected => "the connection was not made",
            Reason::BlockedBefore => {
                "the sender was held back already before the hold, and all through it"
            }
            Reason::Timeout => "the run took longer than --timeout",
            Reason::EndedEarly => "the connection ended before everything had arrived",
        })
    }
}

/// Where the bytes are that were accepted and not consumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Absorbed {
    /// All of them.
    pub total: u64,
    /// In the sender's kernel, never sent.
    pub local_unsent: Option<u64>,
    /// Sent and not acknowledged.
    pub local_unacked: Option<u64>,
    /// In the receiver's kernel.
    pub remote_unread: Option<u64>,
}

impl Absorbed {
    /// In the hops between: what the ends do not account for. Unknown if any of the three is.
    pub fn in_chain(&self) -> Option<u64> {
        let ends = self.local_unsent? + self.local_unacked? + self.remote_unread?;
        Some(self.total.saturating_sub(ends))
    }
}

/// The hold of one connection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hold {
    /// When it began.
    pub began_at: Instant,
    /// When it ended.
    pub ended_at: Option<Instant>,
    /// Bytes accepted before it.
    pub accepted_before: u64,
    /// Bytes accepted in it.
    pub accepted: u64,
    /// Its last stall, and when that began.
    pub stall: Option<(Instant, Interval)>,
    /// Where the bytes sat while nothing moved.
    pub absorbed: Option<Absorbed>,
}

/// How long bytes must lie still to be at rest, in seconds: more than one interval between reports at the default
/// rate, because reports of a busy machine come in bursts.
const REST_S: f64 = 0.15;

/// What both ends say of where bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Still {
    accepted: u64,
    consumed: u64,
    unread: Option<u64>,
    unsent: Option<u64>,
    unacked: Option<u64>,
}

/// A place in the receiver's stream: seconds by its clock, and bytes consumed.
type Mark = (f64, u64);

/// Everything known about one connection.
#[derive(Debug, Clone)]
pub struct Track {
    /// Whether its receiver holds.
    pub is_held: bool,
    /// The sender's latest word.
    pub sender: Option<SenderView>,
    /// The receiver's latest word.
    pub receiver: Option<Report>,
    /// The hold.
    pub hold: Option<Hold>,
    /// Time from the end of the hold to the sender's next byte.
    pub resumed_after: Option<Duration>,
    /// Bytes that the sender, if it is this program, has had accepted at its last turn: newer than its last word.
    accepted: u64,
    /// When the sender was blocked; known at the end.
    pub blocked: Option<BlockedList>,
    /// Why it ended before it was done.
    pub error: Option<String>,
    /// It ended by itself, and in the hold.
    pub closed_in_hold: bool,
    /// The sender has written all that was announced.
    pub is_complete: bool,
    /// The sender, which is the other end, has closed.
    pub is_sender_done: bool,
    /// When the sender, which is this program, had written all that was announced.
    completed_at: Option<Instant>,
    /// When the receiver got its first byte, as far as its reports tell.
    first_byte_at: Option<Instant>,
    /// Where bytes were at the latest word, and since when they have been there, in seconds of the receiver's clock.
    still: Option<(Still, f64)>,
    warm: Option<Mark>,
    free: [Option<Mark>; 2],
    gap: f64,
}

impl Track {
    /// A connection about which nothing is known yet.
    pub fn new(is_held: bool) -> Self {
        Self {
            is_held,
            sender: None,
            receiver: None,
            hold: None,
            resumed_after: None,
            accepted: 0,
            blocked: None,
            error: None,
            closed_in_hold: false,
            is_complete: false,
            is_sender_done: false,
            completed_at: None,
            first_byte_at: None,
            still: None,
            warm: None,
            free: [None; 2],
            gap: 0.0,
        }
    }

    /// Whether it is in its hold.
    pub fn is_in_hold(&self) -> bool {
        self.hold.is_some_and(|hold| hold.ended_at.is_none())
    }

    /// Whether its hold is over.
    pub fn is_past_hold(&self) -> bool {
        self.hold.is_some_and(|hold| hold.ended_at.is_some())
    }

    /// Whether it has stalled and, if the receiver speaks, the bytes have come to rest.
    pub fn is_settled(&self) -> bool {
        self.hold.is_some_and(|hold| {
            hold.stall.is_some() && (hold.absorbed.is_some() || self.receiver.is_none())
        })
    }

    /// Whether more was accepted in the hold than may be.
    pub fn is_exceeded(&self, rules: &Rules) -> bool {
        self.hold
            .is_some_and(|hold| hold.accepted > rules.absorb_max)
    }

    /// The sender, which is this program, has written all that was announced.
    pub fn complete(&mut self, now: Instant) {
        self.is_complete = true;
        self.completed_at.get_or_insert(now);
    }

    /// Whether more than `--max-absorb` was written before the receiver got anything.
    fn was_buffered(&self, rules: &Rules) -> bool {
        let accepted = self.sender.as_ref().map_or(0, |sender| sender.accepted);
        let times = self.first_byte_at.zip(self.completed_at);
        accepted > rules.absorb_max && times.is_some_and(|(first, completed)| first > completed)
    }

    /// The hold begins.
    pub fn begin_hold(&mut self, now: Instant) {
        if self.hold.is_none() {
            let accepted = self.sender.as_ref().map_or(0, |sender| sender.accepted);
            let accepted = accepted.max(self.accepted);
            // Word of the sender may be older than that of the receiver, who cannot have read more than was sent.
            let consumed = self.receiver.as_ref().map_or(0, |report| report.consumed);
            self.hold = Some(Hold {
                began_at: now,
                ended_at: None,
                accepted_before: accepted.max(consumed),
                accepted: 0,
                stall: None,
                absorbed: None,
            });
        }
    }

    /// The hold ends.
    pub fn end_hold(&mut self, now: Instant) {
        if let Some(hold) = &mut self.hold
            && hold.ended_at.is_none()
        {
            hold.ended_at = Some(now);
            // It may have gone on before word of the end came.
            if hold.stall.is_some() && self.sender.as_ref().is_some_and(|s| s.blocked.is_none()) {
                self.resumed_after = Some(Duration::ZERO);
            }
        }
    }

    /// The sender, which is this program, has now had so many bytes accepted in all.
    pub fn note_accepted(&mut self, accepted: u64) {
        self.accepted = accepted;
        if let Some(hold) = self.hold.as_mut().filter(|hold| hold.ended_at.is_none()) {
            hold.accepted = accepted.saturating_sub(hold.accepted_before);
        }
    }

    /// The sender says something about itself.
    pub fn note_sender(&mut self, now: Instant, view: SenderView, rules: &Rules) {
        if let Some(hold) = &mut self.hold {
            let accepted = view.accepted.saturating_sub(hold.accepted_before);
            if hold.ended_at.is_none() {
                hold.accepted = accepted;
                if let Some(blocked) = view.blocked
                    && Duration::from_secs_f64(blocked.length) >= rules.stall_min
                {
                    let length = Duration::from_secs_f64(blocked.length);
                    let began_at = now.checked_sub(length).unwrap_or(now);
                    // Word of the hold comes late by a sample at most.
                    let earliest = hold.began_at.checked_sub(2 * rules.sample);
                    if earliest.is_none_or(|earliest| began_at >= earliest) {
                        hold.stall = Some((began_at.max(hold.began_at), blocked));
                    }
                }
            } else if self.resumed_after.is_none()
                && accepted > hold.accepted
                && let Some(ended_at) = hold.ended_at
            {
                self.resumed_after = Some(now.saturating_duration_since(ended_at));
            }
        }
        self.sender = Some(view);
        self.look_where_bytes_are();
    }

    /// The receiver says something about itself. What is older than what it said before is passed over, and what it
    /// says behind its last word does not take that back.
    pub fn note_receiver(&mut self, now: Instant, mut report: Report) {
        if let Some(last) = &self.receiver {
            if last.number >= report.number {
                return;
            }
            report.is_final |= last.is_final;
        }
        let (at, since, step) = (report.at, report.since, report.step);
        let (holds, waits) = (report.state == "hold", report.state == "wait");
        if report.consumed > 0 {
            // A report may come late, but never early.
            let first_at = now.checked_sub(Duration::from_secs_f64(report.at));
            self.first_byte_at = self.first_byte_at.into_iter().chain(first_at).min();
        }
        if self.hold.is_none() && report.consumed > 0 {
            self.warm = Some((report.at, report.consumed));
        }
        if self.free[0].is_some() && self.free[1].is_none() {
            self.gap = self.gap.max(report.gap);
        }
        // Word of a step comes late where everything is busy, so it counts from when the step began.
        let step_at = self.first_byte_at.and_then(|first_at| {
            let began = Duration::from_secs_f64((at - since).max(0.0));
            Some(first_at.checked_add(began)?.min(now))
        });
        let step_at = step_at.unwrap_or(now);
        self.receiver = Some(report);
        if holds {
            self.begin_hold(step_at);
        } else if !waits && step > 0 && self.is_in_hold() {
            self.end_hold(step_at);
        }
        self.look_where_bytes_are();
    }

    /// The hold of the others begins, or has ended; this connection reads all the time.
    pub fn mark_free(&mut self) {
        let mark = self
            .receiver
            .as_ref()
            .map(|report| (report.at, report.consumed));
        match self.free {
            [None, _] => self.free[0] = mark,
            [Some(_), None] => self.free[1] = mark,
            _ => {}
        }
    }

    /// Bytes per second before the hold.
    pub fn warmup_rate(&self) -> Option<f64> {
        let (at, consumed) = self.free[0].or(self.warm)?;
        (at > 0.0).then(|| consumed as f64 / at)
    }

    /// The rate during the hold of the others in percent of that before, and the longest time without data.
    pub fn isolation(&self) -> Option<(f64, f64)> {
        let [Some((began, before)), Some((ended, after))] = self.free else {
            return None;
        };
        let rate = after.saturating_sub(before) as f64 / (ended - began).max(1e-3);
        Some((100.0 * rate / self.warmup_rate()?.max(1.0), self.gap))
    }

    /// Bytes that were accepted and did not arrive, once both ends are done.
    pub fn lost(&self) -> Option<u64> {
        let consumed = self
            .receiver
            .as_ref()
            .filter(|report| report.is_final)?
            .consumed;
        Some(self.sender.as_ref()?.accepted.saturating_sub(consumed))
    }

    /// The verdict. `is_peer_gone` says that the control connection has ended too.
    pub fn verdict(&self, rules: &Rules, is_peer_gone: bool) -> (Verdict, Reason) {
        if self
            .receiver
            .as_ref()
            .is_some_and(|report| report.bad_at.is_some())
        {
            return (Verdict::Corrupt, Reason::Altered);
        }
        if self.error.is_none() && self.lost().is_some_and(|lost| lost > 0) {
            return (Verdict::Corrupt, Reason::Lost);
        }
        if self.is_exceeded(rules) {
            return (Verdict::No, Reason::MaxAbsorb);
        }
        if is_peer_gone && self.error.is_some() {
            return (Verdict::Inconclusive, Reason::PeerGone);
        }
        let Some(sender) = &self.sender else {
            return (Verdict::Inconclusive, Reason::SenderUnknown);
        };
        let consumed = self.receiver.as_ref().map(|report| report.consumed);
        let is_unread = self.is_complete && sender.accepted > 0 && consumed == Some(0);
        if is_unread || self.was_buffered(rules) {
            return (Verdict::No, Reason::BufferedByProxy);
        }
        if self.closed_in_hold {
            return (Verdict::No, Reason::ChainClosed);
        }
        if self.is_held && self.hold.is_some() && consumed == Some(0) {
            return (Verdict::Inconclusive, Reason::NoFlow);
        }
        let Some(hold) = &self.hold else {
            return (Verdict::Inconclusive, Reason::NoHold);
        };
        match (hold.stall, self.resumed_after) {
            (Some(_), Some(_)) if self.error.is_some() => {
                (Verdict::Inconclusive, Reason::EndedEarly)
            }
            (Some(_), Some(after)) if after <= rules.resume => (Verdict::Yes, Reason::Propagates),
            (Some(_), _) => (Verdict::Inconclusive, Reason::NotResumed),
            // A sink reads as it likes, so bytes that went through say nothing.
            (None, _) if self.receiver.is_none() => (Verdict::Inconclusive, Reason::NoStall),
            (None, _) if rules.hold < rules.stall_min => {
                (Verdict::Inconclusive, Reason::HoldTooShort)
            }
            (None, _)
                if hold.accepted == 0 && sender.longest_s() >= rules.stall_min.as_secs_f64() =>
            {
                (Verdict::Inconclusive, Reason::BlockedBefore)
            }
            (None, _) if hold.ended_at.is_none() => (Verdict::Inconclusive, Reason::NoStall),
            (None, _) => match rules.offered {
                Some(offered) if offered <= rules.absorb_max => {
                    (Verdict::Inconclusive, Reason::TooLittleOffered)
                }
                _ => (Verdict::No, Reason::NoStall),
            },
        }
    }

    /// While the sender is stalled and nothing has changed for [`REST_S`], what was accepted and not consumed is where
    /// it is.
    fn look_where_bytes_are(&mut self) {
        let (Some(sender), Some(receiver)) = (&self.sender, &self.receiver) else {
            return;
        };
        // A held receiver has consumed the same all the time; what it has not read shows whether bytes still arrive.
        let now = Still {
            accepted: sender.accepted,
            consumed: receiver.consumed,
            unread: receiver.unread,
            unsent: sender.unsent,
            unacked: sender.unacked,
        };
        let since = match self.still {
            Some((before, since)) if before == now => since,
            _ => receiver.at,
        };
        self.still = Some((now, since));
        let Some(hold) = self.hold.as_mut().filter(|hold| hold.ended_at.is_none()) else {
            return;
        };
        // By the receiver's clock, so that the same report again proves nothing, nor do several that came at once.
        if hold.stall.is_some() && sender.blocked.is_some() && receiver.at - since >= REST_S {
            hold.absorbed = Some(Absorbed {
                total: now.accepted.saturating_sub(now.consumed),
                local_unsent: now.unsent,
                local_unacked: now.unacked,
                remote_unread: now.unread,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::evidence::Class;

    const MS: Duration = Duration::from_millis(1);

    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn start() -> Instant {
        Instant::now()
    }

    fn rules() -> Rules {
        Rules {
            stall_min: 1000 * MS,
            absorb_max: 1 << 20,
            resume: 5000 * MS,
            hold: 10_000 * MS,
            sample: 100 * MS,
            offered: None,
        }
    }

    fn view(accepted: u64, blocked_ms: u64) -> SenderView {
        let interval = Interval {
            start: 0.0,
            length: blocked_ms as f64 / 1000.0,
            accepted_before: accepted,
            class: Class::ZeroWindow,
            rwnd_ratio: Some(1.0),
        };
        SenderView {
            at: 0.0,
            accepted,
            blocked: (blocked_ms > 0).then_some(interval),
            longest: None,
            blocked_s: 0.0,
            unsent: Some(100),
            unacked: Some(0),
            tcp: None,
        }
    }

    fn report(number: u64, state: &str, step: u64, consumed: u64) -> Report {
        Report {
            number,
            at: number as f64 / 10.0,
            state: state.into(),
            step,
            consumed,
            unread: Some(400),
            ..Report::default()
        }
    }

    /// A connection that reads, holds and stalls after 1000 bytes more.
    fn stalled(start: Instant) -> Track {
        let rules = rules();
        let mut track = Track::new(true);
        track.note_sender(start, view(5000, 0), &rules);
        track.note_receiver(start, report(10, "hold", 1, 5000));
        track.note_sender(start + 100 * MS, view(6000, 0), &rules);
        track.note_receiver(start + 100 * MS, report(11, "hold", 1, 5000));
        track.note_sender(start + 1200 * MS, view(6000, 1100), &rules);
        track.note_receiver(start + 1200 * MS, report(22, "hold", 1, 5000));
        track.note_sender(start + 1300 * MS, view(6000, 1200), &rules);
        track.note_receiver(start + 1300 * MS, report(23, "hold", 1, 5000));
        track
    }

    fn finish(track: &mut Track, start: Instant, accepted: u64, consumed: u64) {
        track.note_receiver(start + 2000 * MS, report(30, "read", 2, 5500));
        track.note_sender(start + 2014 * MS, view(accepted, 0), &rules());
        let last = Report {
            is_final: true,
            ..report(40, "drain", 3, consumed)
        };
        track.note_receiver(start + 3000 * MS, last);
    }

    #[test]
    fn a_stall_in_the_hold_that_ends_with_it_propagates() {
        let start = start();
        let mut track = stalled(start);
        assert!(track.is_in_hold() && track.is_settled());
        finish(&mut track, start, 9000, 9000);
        assert_eq!(
            track.verdict(&rules(), false),
            (Verdict::Yes, Reason::Propagates)
        );
        let hold = track.hold.expect("a hold");
        let (stalled_at, _) = hold.stall.expect("a stall");
        assert_eq!(stalled_at, start + 100 * MS);
        assert_eq!(hold.accepted, 1000);
        let absorbed = hold.absorbed.expect("at rest");
        assert_eq!((absorbed.total, absorbed.in_chain()), (1000, Some(500)));
        assert_eq!(track.resumed_after, Some(14 * MS));
        assert_eq!(track.lost(), Some(0));
    }

    #[test]
    fn bytes_are_at_rest_only_when_they_stay_for_a_while() {
        let (rules, start) = (rules(), start());
        let mut track = Track::new(true);
        track.note_sender(start, view(5000, 0), &rules);
        track.note_receiver(start, report(1, "hold", 1, 4000));
        for step in 0..10 {
            track.note_sender(start + 1100 * MS, view(6000, 1100 + step), &rules);
        }
        assert!(!track.is_settled(), "it was the same report every time");
        track.note_receiver(start + 1200 * MS, report(2, "hold", 1, 5000));
        assert!(!track.is_settled(), "it still read");
        track.note_receiver(start + 1300 * MS, report(3, "hold", 1, 5000));
        assert!(!track.is_settled(), "two reports may come in one burst");
        track.note_receiver(start + 1300 * MS, report(4, "hold", 1, 5000));
        assert!(track.is_settled());
    }

    /// Everything has arrived, so the connection is done; a report that was on its way comes after that.
    #[test]
    fn a_report_behind_the_last_one_does_not_make_it_less_final() {
        let start = start();
        let mut track = stalled(start);
        finish(&mut track, start, 9000, 9000);
        track.note_receiver(start + 3100 * MS, report(99, "drain", 3, 9000));
        assert_eq!(track.lost(), Some(0));
    }

    #[test]
    fn lost_and_altered_bytes_are_the_worst() {
        let start = start();
        let mut track = stalled(start);
        finish(&mut track, start, 9000, 8999);
        assert_eq!(
            track.verdict(&rules(), false),
            (Verdict::Corrupt, Reason::Lost)
        );
        let mut track = stalled(start);
        let wrong = Report {
            bad_at: Some(0),
            ..report(24, "hold", 1, 5000)
        };
        track.note_receiver(start, wrong);
        assert_eq!(
            track.verdict(&rules(), false),
            (Verdict::Corrupt, Reason::Altered)
        );
    }

    #[test]
    fn what_the_chain_may_do_wrong_is_told_apart() {
        let (rules, start) = (rules(), start());
        let mut track = stalled(start);
        track.note_sender(start + 1400 * MS, view(3 << 20, 0), &rules);
        assert_eq!(
            track.verdict(&rules, false),
            (Verdict::No, Reason::MaxAbsorb)
        );

        let mut track = stalled(start);
        track.closed_in_hold = true;
        track.error = Some("reset".into());
        assert_eq!(
            track.verdict(&rules, false),
            (Verdict::No, Reason::ChainClosed)
        );
        assert_eq!(
            track.verdict(&rules, true),
            (Verdict::Inconclusive, Reason::PeerGone)
        );

        let mut track = Track::new(true);
        track.note_sender(start, view(5000, 0), &rules);
        track.note_receiver(start, report(0, "wait", 0, 0));
        track.is_complete = true;
        assert_eq!(
            track.verdict(&rules, false),
            (Verdict::No, Reason::BufferedByProxy)
        );

        let mut track = Track::new(true);
        track.note_sender(start, view(5000, 0), &rules);
        track.note_receiver(start, report(1, "hold", 1, 5000));
        track.note_sender(start + 9000 * MS, view(9000, 0), &rules);
        track.note_receiver(start + 10_000 * MS, report(100, "read", 2, 5000));
        assert_eq!(track.verdict(&rules, false), (Verdict::No, Reason::NoStall));
        let paced = Rules {
            offered: Some(4000),
            ..rules.clone()
        };
        assert_eq!(
            track.verdict(&paced, false),
            (Verdict::Inconclusive, Reason::TooLittleOffered)
        );
        let short = Rules {
            hold: 500 * MS,
            ..rules
        };
        assert_eq!(
            track.verdict(&short, false),
            (Verdict::Inconclusive, Reason::HoldTooShort)
        );
    }

    #[test]
    fn a_stall_that_began_long_before_the_hold_is_none_of_it() {
        let (rules, start) = (rules(), start());
        let mut track = Track::new(true);
        track.note_sender(start, view(5000, 2000), &rules);
        track.note_receiver(start, report(1, "hold", 1, 5000));
        track.note_sender(start + 500 * MS, view(5000, 2500), &rules);
        assert_eq!(track.hold.expect("a hold").stall, None);
    }

    #[test]
    fn bytes_that_no_sample_has_seen_yet_lie_before_the_hold() {
        let (rules, start) = (rules(), start());
        let mut track = Track::new(true);
        track.note_sender(start, view(5000, 0), &rules);
        // A fast sender comes far between two samples.
        track.note_accepted(90_000_000);
        track.note_receiver(start + 90 * MS, report(1, "hold", 1, 80_000_000));
        track.note_sender(start + 1200 * MS, view(90_000_700, 1100), &rules);
        let hold = track.hold.expect("a hold");
        assert_eq!((hold.accepted_before, hold.accepted), (90_000_000, 700));
        assert!(!track.is_exceeded(&rules));
    }

    #[test]
    fn late_word_of_a_hold_does_not_make_the_stall_older_than_it() {
        let (rules, start) = (rules(), start());
        let mut track = Track::new(true);
        track.note_receiver(start, report(10, "read", 0, 5000));
        track.note_sender(start + 2900 * MS, view(5000, 1900), &rules);
        // It began after 2 s of the receiver's clock, which is 1 s after the first report.
        let late = Report {
            at: 2.0,
            since: 0.0,
            ..report(11, "hold", 1, 5000)
        };
        track.note_receiver(start + 3000 * MS, late);
        assert_eq!(track.hold.expect("a hold").began_at, start + 1000 * MS);
        track.note_sender(start + 3100 * MS, view(5000, 2100), &rules);
        assert!(track.hold.expect("a hold").stall.is_some());
    }

    #[test]
    fn a_sender_that_was_held_back_all_the_time_says_nothing() {
        let (rules, start) = (rules(), start());
        let mut track = Track::new(true);
        let blocked = |length| SenderView {
            longest: view(5000, length).blocked,
            ..view(5000, length)
        };
        track.note_sender(start, blocked(2000), &rules);
        track.note_receiver(start, report(1, "hold", 1, 5000));
        track.note_sender(start + 9000 * MS, blocked(11_000), &rules);
        track.note_receiver(start + 9900 * MS, report(100, "read", 2, 5000));
        assert_eq!(
            track.verdict(&rules, false),
            (Verdict::Inconclusive, Reason::BlockedBefore)
        );
    }

    #[test]
    fn a_stall_without_end_is_inconclusive() {
        let start = start();
        let mut track = stalled(start);
        track.note_receiver(start + 2000 * MS, report(30, "read", 2, 5500));
        assert_eq!(
            track.verdict(&rules(), false),
            (Verdict::Inconclusive, Reason::NotResumed)
        );
        track.note_sender(start + 7001 * MS, view(7000, 0), &rules());
        assert_eq!(
            track.verdict(&rules(), false),
            (Verdict::Inconclusive, Reason::NotResumed),
            "too late"
        );
    }

    #[test]
    fn what_was_all_sent_before_the_first_byte_arrived_was_buffered() {
        let (rules, start) = (rules(), start());
        let mut track = Track::new(true);
        track.note_sender(start, view(2 << 20, 0), &rules);
        track.complete(start + 500 * MS);
        let last = Report {
            at: 0.2,
            ..report(0, "drain", 3, 2 << 20)
        };
        let mut early = track.clone();
        track.note_receiver(start + 800 * MS, last.clone());
        assert_eq!(
            track.verdict(&rules, false),
            (Verdict::No, Reason::BufferedByProxy)
        );
        early.note_receiver(start + 650 * MS, last);
        assert_eq!(
            early.verdict(&rules, false),
            (Verdict::Inconclusive, Reason::NoHold)
        );
    }

    #[test]
    fn a_connection_that_ends_early_may_have_lost_bytes() {
        let start = start();
        let mut track = stalled(start);
        finish(&mut track, start, 9000, 9000);
        track.error = Some("reset".into());
        assert_eq!(
            track.verdict(&rules(), false),
            (Verdict::Inconclusive, Reason::EndedEarly)
        );
    }

    #[test]
    fn a_free_connection_is_measured_by_its_own_clock() {
        let start = start();
        let mut track = Track::new(false);
        track.note_receiver(start, report(10, "read", 0, 1000));
        track.mark_free();
        let slower = Report {
            gap: 0.25,
            ..report(20, "read", 0, 1400)
        };
        track.note_receiver(start, slower);
        track.mark_free();
        assert_eq!(track.warmup_rate(), Some(1000.0));
        assert_eq!(track.isolation(), Some((40.0, 0.25)));
    }
}
