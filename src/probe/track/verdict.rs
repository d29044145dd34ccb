//! The verdict on one connection, and why (probe spec B.9): does back pressure travel through the chain?

use std::fmt;
use std::time::Duration;

use super::Track;

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

impl Track {
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

    /// Whether more than `--max-absorb` was written before the receiver got anything.
    fn was_buffered(&self, rules: &Rules) -> bool {
        let accepted = self.sender.as_ref().map_or(0, |sender| sender.accepted);
        let times = self.first_byte_at.zip(self.completed_at);
        accepted > rules.absorb_max && times.is_some_and(|(first, completed)| first > completed)
    }
}
