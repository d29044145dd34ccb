//! The phases of a run, and when each gives way to the next (probe spec B.4).

use std::time::Duration;

use serde_json::json;

use super::Run;
use crate::limits::PROBE_GONE_WAIT;
use crate::net::Net as _;
use crate::probe::schedule::Step;
use crate::probe::track::Track;
use crate::probe::wire::{Command, Direction};

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Names are looked up.
    Resolving,
    /// The control connection is being made.
    Control,
    /// The connections that carry payload are being made.
    Connecting,
    /// Everybody reads.
    Warmup,
    /// Those that are to be held are held.
    Hold,
    /// Everybody reads again.
    Resume,
    /// Senders have stopped, receivers read to the end.
    Finish,
    /// Nothing is left to do.
    Over,
}

impl Phase {
    /// As in events.
    pub(super) fn name(self) -> &'static str {
        match self {
            Phase::Resolving => "resolve",
            Phase::Control => "control",
            Phase::Connecting => "connect",
            Phase::Warmup => "warmup",
            Phase::Hold => "hold",
            Phase::Resume => "resume",
            Phase::Finish => "finish",
            Phase::Over => "over",
        }
    }
}

impl Run<'_> {
    /// Looks whether the run has come further.
    pub(super) fn step(&mut self) {
        self.now = self.net.now();
        if self.now >= self.next_sample_at {
            self.sample();
        }
        // Ten thousand lanes are not looked through for every one that had a turn.
        let patience = match self.lanes.len() {
            0..64 => Duration::ZERO,
            many => Duration::from_micros(many as u64),
        };
        let look_at = *self.look_at.get_or_insert(self.now + patience);
        if self.now >= look_at || self.phase < Phase::Warmup {
            self.look_at = None;
            self.move_on();
        }
        if self.now >= self.began_at + self.options.timeout && self.phase != Phase::Over {
            self.is_timed_out = true;
            if self.phase < Phase::Warmup {
                return self.give_up("no connection within --timeout".into());
            }
            self.enter(Phase::Over);
        }
    }

    /// Enters the next phase if its time has come.
    fn move_on(&mut self) {
        match self.phase {
            Phase::Control if self.is_control_settled() => self.enter(Phase::Connecting),
            Phase::Connecting => {
                self.connect_more();
                if self.phase == Phase::Connecting && self.made == self.lanes.len() {
                    self.begin();
                }
            }
            Phase::Warmup if self.any_held(Track::is_in_hold) => self.begin_hold(),
            Phase::Hold => self.hold(),
            Phase::Resume if self.is_resume_over() => self.finish(),
            _ => {}
        }
        if self.phase >= Phase::Warmup && self.phase != Phase::Over {
            self.look_whether_over();
        }
    }

    /// Enters a phase, unless the run is over.
    pub(super) fn enter(&mut self, phase: Phase) {
        if self.phase != Phase::Over {
            self.phase = phase;
            self.event("phase", json!({"phase": phase.name()}));
        }
    }

    fn is_control_settled(&self) -> bool {
        match self.control_slot.and_then(|id| self.slots.get(id)) {
            Some(slot) => slot.opening.is_none(),
            None => true,
        }
    }

    /// Every connection is made: payload may flow.
    fn begin(&mut self) {
        self.enter(Phase::Warmup);
        self.flowing_at = Some(self.now);
        if self.direction == Direction::Down {
            return;
        }
        for number in 0..self.lanes.len() {
            let plan = self.plan(number);
            let lane = &self.lanes[number];
            if let Some((id, slot)) = lane.id.and_then(|id| Some((id, self.slots.get_mut(id)?))) {
                slot.stream.begin_sending(self.net, number as u32, &plan);
                self.turns.queue(id, &mut slot.place);
            }
        }
    }

    pub(super) fn begin_hold(&mut self) {
        self.enter(Phase::Hold);
        if let Some(control) = &mut self.control {
            control.begin_hold(self.now);
        }
        self.mark_free();
    }

    /// Looks whether the hold is over, or need not go on.
    pub(super) fn hold(&mut self) {
        for number in 0..self.lanes.len() {
            if !self.lanes[number].is_done && self.lanes[number].track.is_exceeded(&self.rules) {
                self.lane_done(number);
            }
        }
        let mut held = self.lanes.iter().filter(|lane| lane.track.is_held);
        if held.all(|lane| lane.is_done || lane.track.is_past_hold()) {
            self.silence = self
                .control
                .as_ref()
                .and_then(|control| control.silence(self.now));
            self.mark_free();
            return self.enter(Phase::Resume);
        }
        let mut held = self.lanes.iter().filter(|lane| lane.track.is_held);
        let is_settled =
            held.all(|lane| lane.is_done || lane.track.is_past_hold() || lane.track.is_settled());
        if is_settled && !self.resume_sent {
            self.resume_sent = true;
            self.end_hold();
        }
    }

    /// Every sender has stalled: the hold need not go on.
    pub(super) fn end_hold(&mut self) {
        if self.direction == Direction::Up {
            if let Some(control) = &mut self.control {
                control.send(Command::Resume);
            }
            return self.wake_control();
        }
        let now = self.now;
        for lane in &mut self.lanes {
            let Some((id, slot)) = lane.id.and_then(|id| Some((id, self.slots.get_mut(id)?)))
            else {
                continue;
            };
            if let Some(receiver) = &mut slot.stream.receiver
                && receiver.end_hold(now)
                && let Some(report) = slot.stream.report(self.net)
            {
                lane.track.note_receiver(now, report);
            }
            self.turns.queue(id, &mut slot.place);
        }
    }

    fn wake_control(&mut self) {
        if let Some((id, slot)) = self
            .control_slot
            .and_then(|id| Some((id, self.slots.get_mut(id)?)))
        {
            self.turns.queue(id, &mut slot.place);
        }
    }

    fn mark_free(&mut self) {
        for lane in self.lanes.iter_mut().filter(|lane| !lane.track.is_held) {
            lane.track.mark_free();
        }
    }

    fn any_held(&self, is: impl Fn(&Track) -> bool) -> bool {
        let mut held = self.lanes.iter().filter(|lane| lane.track.is_held);
        held.any(|lane| is(&lane.track))
    }

    /// Whether every held receiver has come to the end of its schedule.
    fn is_resume_over(&self) -> bool {
        let last = self.options.schedule.len().saturating_sub(1) as u64;
        let mut held = self.lanes.iter().filter(|lane| lane.track.is_held);
        held.all(|lane| {
            let receiver = lane.track.receiver.as_ref();
            let hold = lane.track.hold.as_ref();
            let is_late = hold
                .and_then(|hold| hold.ended_at)
                .is_some_and(|at| self.now >= at + self.after_hold());
            lane.is_done || is_late || receiver.is_some_and(|report| report.step >= last)
        })
    }

    /// What the schedule does behind its last hold, by the clock.
    fn after_hold(&self) -> Duration {
        let steps = self.options.schedule.iter().rev();
        let behind = steps.take_while(|step| !matches!(step, Step::Hold(_)));
        behind.filter_map(|step| step.time()).sum()
    }

    /// Senders stop, and receivers read to the end.
    pub(super) fn finish(&mut self) {
        self.enter(Phase::Finish);
        self.finish_at = Some(self.now);
        for lane in &self.lanes {
            let Some((id, slot)) = lane.id.and_then(|id| Some((id, self.slots.get_mut(id)?)))
            else {
                continue;
            };
            match &mut slot.stream.receiver {
                Some(receiver) => receiver.drain(self.now),
                None => slot.stream.finish(),
            }
            self.turns.queue(id, &mut slot.place);
        }
        if let Some(control) = &mut self.control {
            control.send(Command::Stop);
        }
        self.wake_control();
    }

    fn look_whether_over(&mut self) {
        if !self.lanes.iter().all(|lane| lane.is_done) {
            return;
        }
        // Whether the other end is gone, or only the chain in front of it, shows in the control connection.
        let has_failed = self.lanes.iter().any(|lane| lane.track.error.is_some());
        if has_failed && self.control.is_some() && !self.is_control_lost {
            let until = *self.gone_until.get_or_insert(self.now + PROBE_GONE_WAIT);
            if self.now < until {
                return;
            }
        }
        self.enter(Phase::Over);
    }
}
