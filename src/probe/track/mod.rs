//! What the client makes of one connection: the hold, the stall, where the bytes sat (probe spec B.7), the `verdict`.
//!
//! Pure. It is told what either end says about itself, whichever of the two is this program, and when. What neither
//! end can say stays unknown.

#[cfg(test)]
mod tests;
mod verdict;

use std::time::{Duration, Instant};

use super::sender::{BlockedList, Interval, SenderView};
use super::wire::Report;
pub use verdict::{Reason, Rules, Verdict};

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
