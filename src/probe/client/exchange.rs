//! The turns of connections that are made: what is read and written in one, what the server says of its end, and what
//! becomes of a connection that is done, ends or fails.

use serde_json::{Map, Value, json};

use super::connect::ending;
use super::phases::Phase;
use super::{ConnectionId, Outcomes, Role, Run, Slot, control};
use crate::limits::{PROBE_BYTES_PER_TURN, PROBE_CLOSE_WAIT};
use crate::net::Net as _;
use crate::probe::framing::Intake;
use crate::probe::sender::{BlockedList, Sender, SenderView};
use crate::probe::stream::Read;
use crate::probe::turns::Turns;
use crate::probe::wire::{self, Direction, Report};

impl Run<'_> {
    /// A turn of a connection, and what it means for the run.
    pub(super) fn turn(&mut self, id: ConnectionId, buffer: &mut [u8]) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        Turns::<Slot>::begin(&mut slot.place);
        let (role, socket) = (slot.role, slot.stream.link.socket());
        let outcome = match slot.opening {
            None => match role {
                Role::Control => self.turn_control(id, buffer),
                Role::Data(number) => self.turn_data(id, number, buffer),
            },
            Some(_) => self.turn_opening(id, buffer),
        };
        match (outcome, role) {
            (Outcomes::None, _) => {}
            (Outcomes::Failed(error), Role::Control) => self.lose_control(&error),
            (Outcomes::Failed(error), Role::Data(number)) => self.lane_failed(number, error),
            (Outcomes::Views(views), _) => {
                for view in &views {
                    self.note_view(view);
                }
            }
        }
        let now = self.net.now();
        match self.slots.get_mut(id) {
            Some(slot) => {
                // An address that did not answer has given way to the next.
                let current = slot.stream.link.socket();
                if current != socket {
                    self.turns.disown(socket);
                    self.net.close(socket);
                    self.turns.own(current, id);
                }
                if slot.stream.is_runnable(now) {
                    self.turns.queue(id, &mut slot.place);
                }
                let opening = slot.opening.as_ref().and_then(|opening| opening.deadline());
                let deadlines = [opening, slot.stream.deadline(now)];
                let deadline = deadlines.into_iter().flatten().min();
                self.turns.arm(id, deadline, &mut slot.place);
            }
            None => self.turns.disown(socket),
        }
    }

    /// A turn of a connection that carries payload.
    fn turn_data(&mut self, id: ConnectionId, number: usize, buffer: &mut [u8]) -> Outcomes {
        let Some(slot) = self.slots.get_mut(id) else {
            return Outcomes::None;
        };
        let lane = &mut self.lanes[number];
        let now = self.net.now();
        let mut has_changed = false;
        if let Some(receiver) = &mut slot.stream.receiver {
            has_changed = receiver.advance(now);
        }
        if has_changed && let Some(report) = slot.stream.report(self.net) {
            lane.track.note_receiver(now, report);
        }
        let mut budget = PROBE_BYTES_PER_TURN;
        let mut reports = Vec::new();
        let ended = loop {
            match slot.stream.read(self.net, buffer, &mut budget) {
                Ok(Read::Text(text)) => {
                    if let Some(report) = take_report(slot, &text) {
                        reports.push(report.to_json());
                        lane.track.note_receiver(self.net.now(), report);
                    }
                }
                Ok(Read::Message(_)) => {}
                Ok(Read::Blocked | Read::Budget) => break None,
                Ok(Read::Ended) => break Some(Ok(())),
                Err(error) => break Some(Err(error)),
            }
        };
        let written = match slot.stream.write(self.net, buffer) {
            Ok(written) => written,
            Err(error) => {
                return match ended {
                    Some(Ok(())) => self.lane_ended(id, number, ending(Some(&error))),
                    _ => Outcomes::Failed(ending(Some(&error))),
                };
            }
        };
        let lane = &mut self.lanes[number];
        lane.track.note_accepted(slot.stream.outlet.payload_bytes());
        if lane.track.is_in_hold() && lane.track.is_exceeded(&self.rules) {
            self.lane_done(number);
            return Outcomes::None;
        }
        let resumes =
            written.accepted > 0 && lane.track.is_past_hold() && lane.track.resumed_after.is_none();
        if (resumes || !written.intervals.is_empty())
            && let Some(view) = slot.stream.sender_view(self.net)
        {
            lane.track.note_sender(self.net.now(), view, &self.rules);
        }
        for interval in written.intervals {
            self.note_interval(number, interval);
        }
        for report in reports {
            self.event("report", json!({"conn": number, "report": report}));
        }
        match ended {
            None => self.look_whether_done(number),
            Some(Ok(())) => return self.lane_ended(id, number, ending(None)),
            Some(Err(error)) => return Outcomes::Failed(ending(Some(&error))),
        }
        Outcomes::None
    }

    /// A turn of the connection for commands.
    pub(super) fn turn_control(&mut self, id: ConnectionId, buffer: &mut [u8]) -> Outcomes {
        let (Some(slot), Some(control)) = (self.slots.get_mut(id), &mut self.control) else {
            return Outcomes::None;
        };
        let mut views = Vec::new();
        let mut budget = PROBE_BYTES_PER_TURN;
        loop {
            match slot.stream.read(self.net, buffer, &mut budget) {
                Ok(Read::Text(text)) => {
                    match control.text(self.net.now(), &mut slot.stream, &text) {
                        Ok(more) => views.extend(more),
                        Err(error) => return Outcomes::Failed(error),
                    }
                }
                Ok(Read::Blocked | Read::Budget | Read::Message(_)) => break,
                Ok(Read::Ended) => return Outcomes::Failed(ending(None)),
                Err(error) => return Outcomes::Failed(ending(Some(&error))),
            }
        }
        control.step(&mut slot.stream, false);
        match slot.stream.write(self.net, buffer) {
            Ok(_) => Outcomes::Views(views),
            Err(error) => Outcomes::Failed(ending(Some(&error))),
        }
    }

    /// What the server says about its end of a connection.
    fn note_view(&mut self, view: &Map<String, Value>) {
        let number = wire::optional(view, "conn").and_then(|number| usize::try_from(number).ok());
        let Some((number, lane)) =
            number.and_then(|number| Some((number, self.lanes.get_mut(number)?)))
        else {
            return;
        };
        let now = self.net.now();
        let part = |name: &str| view.get(name).and_then(Value::as_object);
        if self.direction == Direction::Up
            && let Some(Ok(report)) = part("rx").map(Report::of)
        {
            lane.track.note_receiver(now, report);
        }
        if self.direction == Direction::Down
            && let Some(sender) = part("tx").and_then(SenderView::of)
        {
            lane.track.note_sender(now, sender, &self.rules);
            let is = |name: &str| view.get(name) == Some(&Value::Bool(true));
            lane.track.is_sender_done |= is("done");
            lane.track.is_complete |= is("complete");
            if let Some(list) = view.get("intervals") {
                lane.track.blocked = BlockedList::of(list, is("truncated"));
            }
        }
        self.note_stall(number);
        self.look_whether_done(number);
    }

    /// The other end has sent everything.
    fn lane_ended(&mut self, id: ConnectionId, number: usize, error: String) -> Outcomes {
        let Some(slot) = self.slots.get_mut(id) else {
            return Outcomes::None;
        };
        let lane = &mut self.lanes[number];
        if let Some(receiver) = &mut slot.stream.receiver {
            if !receiver.is_final() {
                receiver.finish();
                if let Some(report) = slot.stream.report(self.net) {
                    lane.track.note_receiver(self.now, report);
                }
            }
            self.look_whether_done(number);
            return Outcomes::None;
        }
        let has_reported = lane
            .track
            .receiver
            .as_ref()
            .is_some_and(|report| report.is_final);
        if has_reported || (lane.is_sink && slot.stream.is_finished()) {
            self.lane_done(number);
            return Outcomes::None;
        }
        Outcomes::Failed(error)
    }

    /// Looks whether a connection has done all that it is there for.
    pub(super) fn look_whether_done(&mut self, number: usize) {
        let phase = self.phase;
        let lane = &mut self.lanes[number];
        let Some(slot) = lane.id.and_then(|id| self.slots.get_mut(id)) else {
            return;
        };
        let stream = &mut slot.stream;
        if self.direction == Direction::Up && stream.outlet.is_complete() && stream.sender.is_some()
        {
            lane.track.complete(self.now);
            stream.finish();
        }
        let receiver = lane.track.receiver.as_mut();
        let is_done = match self.direction {
            Direction::Up if lane.is_sink => stream.is_finished(),
            Direction::Up => receiver.is_some_and(|report| {
                // A chain that does not pass the end on has passed everything all the same.
                let has_all = phase == Phase::Finish
                    && stream.is_finished()
                    && report.consumed == stream.outlet.payload_bytes();
                report.is_final |= has_all;
                report.is_final
            }),
            Direction::Down => {
                let has_last_word = self.control.is_none()
                    || self.is_control_lost
                    || lane.track.is_sender_done
                    || self
                        .finish_at
                        .is_some_and(|at| self.now >= at + PROBE_CLOSE_WAIT);
                stream.has_ended() && has_last_word
            }
        };
        if is_done {
            self.lane_done(number);
        } else if stream.is_runnable(self.now)
            && let Some(id) = lane.id
        {
            self.turns.queue(id, &mut slot.place);
        }
    }

    /// Nothing more is expected of connection `number`: its last sample, and its end.
    pub(super) fn lane_done(&mut self, number: usize) {
        let lane = &mut self.lanes[number];
        if lane.is_done {
            return;
        }
        lane.is_done = true;
        if let Some(slot) = lane.id.and_then(|id| self.slots.get_mut(id))
            && let Some(view) = slot.stream.sender_view(self.net)
        {
            lane.track.note_sender(self.now, view, &self.rules);
            lane.track.blocked = slot.stream.sender.as_ref().map(Sender::blocked_list);
        }
        self.close(number);
        self.event("close", json!({"conn": number}));
    }

    /// Connection `number` has failed; before it was made, that ends the run.
    pub(super) fn lane_failed(&mut self, number: usize, error: String) {
        if !self.lanes[number].is_made {
            return self.give_up(format!("connection {number}: {error}"));
        }
        let lane = &mut self.lanes[number];
        if lane.is_done {
            return;
        }
        lane.track.closed_in_hold = lane.track.is_in_hold();
        lane.track.error = Some(error.clone());
        self.lane_done(number);
        self.event("error", json!({"conn": number, "error": error}));
    }

    pub(super) fn close(&mut self, number: usize) {
        if let Some(slot) = self.lanes[number].id.and_then(|id| self.slots.remove(id)) {
            let socket = slot.stream.link.socket();
            self.turns.disown(socket);
            self.net.close(socket);
        }
    }

    /// The connection for commands is gone: the run goes on without it.
    pub(super) fn lose_control(&mut self, error: &str) {
        let was_made = self.phase > Phase::Control;
        if let Some(slot) = self
            .control_slot
            .take()
            .and_then(|id| self.slots.remove(id))
        {
            let socket = slot.stream.link.socket();
            self.turns.disown(socket);
            self.net.close(socket);
        }
        self.is_control_lost = was_made;
        self.control = None;
        self.event("error", json!({"control": true, "error": error}));
    }

    /// There will be no run.
    pub(super) fn give_up(&mut self, error: String) {
        self.event("error", json!({"error": error}));
        self.error = Some(error);
        self.enter(Phase::Over);
    }
}

/// What the receiver says on the payload connection, if it is a report; over HTTP it is the body of the answer.
fn take_report(slot: &mut Slot, text: &[u8]) -> Option<Report> {
    if matches!(slot.stream.intake, Intake::Head(_)) {
        slot.stream.intake = match control::body_length(text) {
            Ok(length) => Intake::Body(length, Vec::new()),
            Err(_) => Intake::Discard,
        };
        return None;
    }
    if matches!(slot.stream.intake, Intake::Body(..)) {
        slot.stream.intake = Intake::Discard;
    }
    // A sink may say what it likes.
    Report::of(&wire::object(text).ok()?).ok()
}
