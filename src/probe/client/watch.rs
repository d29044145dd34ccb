//! What is seen of a run while it goes on: samples of every connection, events for programs, a line for people.

use std::time::Duration;

use serde_json::{Value, json};

use super::Run;
use super::connect::ending;
use super::phases::Phase;
use crate::limits::PROBE_LATE;
use crate::net::Net as _;
use crate::probe::sender::Interval;
use crate::probe::units::show_size;
use crate::probe::wire::{Direction, milli};

impl Run<'_> {
    /// Takes a sample of every connection and asks the server for its view.
    pub(super) fn sample(&mut self) {
        let late = self.now.saturating_duration_since(self.next_sample_at);
        if late > PROBE_LATE {
            self.late_samples += 1;
        }
        while self.next_sample_at <= self.now {
            self.next_sample_at += self.options.sample;
        }
        for number in 0..self.lanes.len() {
            self.sample_lane(number);
        }
        if let (Some(control), Some((id, slot))) = (
            &mut self.control,
            self.control_slot
                .and_then(|id| Some((id, self.slots.get_mut(id)?))),
        ) && slot.opening.is_none()
            && self.phase >= Phase::Warmup
        {
            control.step(&mut slot.stream, true);
            self.turns.queue(id, &mut slot.place);
        }
        self.show_progress();
    }

    fn sample_lane(&mut self, number: usize) {
        let (now, direction) = (self.now, self.direction);
        let lane = &mut self.lanes[number];
        if lane.is_done || !lane.is_made {
            return;
        }
        let Some(slot) = lane.id.and_then(|id| self.slots.get_mut(id)) else {
            return;
        };
        let mut gone = None;
        match direction {
            Direction::Up => {
                if let Some(view) = slot.stream.sender_view(self.net) {
                    lane.track.note_sender(now, view, &self.rules);
                }
                if lane.track.receiver.is_none() {
                    self.follow_the_clock(number);
                }
            }
            Direction::Down => {
                if let Some(report) = slot.stream.report(self.net) {
                    lane.track.note_receiver(now, report);
                }
                // A receiver that holds does not read; the end shows as an edge.
                if lane.track.is_in_hold()
                    && slot.stream.link.has_ended()
                    && self.options.messages == 0
                {
                    let failure = self.net.failure(slot.stream.link.socket());
                    gone = Some(ending(failure.err().as_ref()));
                }
            }
        }
        self.note_stall(number);
        if self.output.is_wanted() {
            self.sample_event(number);
        }
        match gone {
            Some(error) => self.lane_failed(number, error),
            None => self.look_whether_done(number),
        }
    }

    /// Without a word from the receiver its schedule is followed by this end's clock.
    fn follow_the_clock(&mut self, number: usize) {
        let Some(flowing_at) = self.flowing_at else {
            return;
        };
        let lane = &mut self.lanes[number];
        // Word may only be late.
        let patience = match lane.is_sink {
            true => Duration::ZERO,
            false => Duration::from_secs(1),
        };
        let hold_at = flowing_at + self.options.warmup() + patience;
        if !lane.track.is_held || self.now < hold_at || self.options.is_classic {
            return;
        }
        lane.track.begin_hold(self.now);
        let is_over = lane.is_sink && lane.track.is_settled();
        if is_over || self.now >= hold_at + self.rules.hold {
            lane.track.end_hold(self.now);
        }
    }

    /// Tells when a stall begins and when it ends.
    pub(super) fn note_stall(&mut self, number: usize) {
        let lane = &mut self.lanes[number];
        let stall_min = self.rules.stall_min.as_secs_f64();
        let blocked = lane.track.sender.as_ref().and_then(|sender| sender.blocked);
        let is_stalled = blocked.is_some_and(|blocked| blocked.length >= stall_min);
        if is_stalled != lane.was_stalled {
            lane.was_stalled = is_stalled;
            let name = if is_stalled {
                "stall_begin"
            } else {
                "stall_end"
            };
            let accepted = lane.track.sender.as_ref().map(|sender| sender.accepted);
            self.event(name, json!({"conn": number, "accepted": accepted}));
        }
    }

    /// Tells of a blocked interval that has ended.
    pub(super) fn note_interval(&mut self, number: usize, interval: Interval) {
        self.event(
            "blocked",
            json!({"conn": number, "start": milli(interval.start),
                "seconds": milli(interval.length), "accepted": interval.accepted_before,
                "class": interval.class.name()}),
        );
    }

    fn sample_event(&mut self, number: usize) {
        let seconds = self.options.sample.as_secs_f64();
        let lane = &mut self.lanes[number];
        let (sender, receiver) = (&lane.track.sender, &lane.track.receiver);
        let accepted = sender.as_ref().map(|sender| sender.accepted);
        let consumed = receiver.as_ref().map(|report| report.consumed);
        let before = lane.last;
        lane.last = (accepted.unwrap_or(0), consumed.unwrap_or(0));
        let rate = |now: Option<u64>, before: u64| {
            now.map(|now| (now.saturating_sub(before) as f64 / seconds).round())
        };
        let mut tcp = sender
            .as_ref()
            .and_then(|sender| Some(sender.tcp.as_ref()?.to_json()))
            .map_or(Value::Null, Value::Object);
        if let (Value::Object(tcp), Some(sender)) = (&mut tcp, sender) {
            let all = sender.unsent.zip(sender.unacked);
            let all = all.map(|(unsent, unacked)| unsent + unacked);
            tcp.insert("outq".into(), all.into());
            tcp.insert("outq_unsent".into(), sender.unsent.into());
            let unread = receiver.as_ref().and_then(|report| report.unread);
            tcp.insert("inq".into(), unread.into());
        }
        let value = json!({"conn": number, "accepted": accepted, "consumed": consumed,
            "rate_tx": rate(accepted, before.0), "rate_rx": rate(consumed, before.1),
            "blocked": sender.as_ref().map(|sender| sender.blocked.is_some()), "tcp": tcp});
        self.event("sample", value);
    }

    /// Tells an event to programs, if any listens.
    pub(super) fn event(&mut self, name: &str, mut value: Value) {
        if self.output.is_wanted() {
            value["ev"] = name.into();
            let at = self.net.now().saturating_duration_since(self.began_at);
            value["t"] = milli(at.as_secs_f64()).into();
            self.output.write(format!("{value}\n"));
        }
    }

    /// One line for people: every second on a terminal, else every five.
    fn show_progress(&mut self) {
        if !self.live.is_wanted() || self.now < self.next_live_at {
            return;
        }
        let interval = if self.is_terminal { 1 } else { 5 };
        self.next_live_at = self.now + Duration::from_secs(interval);
        let tracks = || self.lanes.iter().map(|lane| &lane.track);
        // Word of a sender may be older than that of its receiver, who cannot have read more than was sent.
        let accepted: u64 = tracks()
            .filter_map(|track| {
                let consumed = track.receiver.as_ref().map_or(0, |report| report.consumed);
                Some(track.sender.as_ref()?.accepted.max(consumed))
            })
            .sum();
        let consumed: u64 = tracks()
            .filter_map(|track| Some(track.receiver.as_ref()?.consumed))
            .sum();
        let blocked = tracks()
            .filter_map(|track| track.sender.as_ref()?.blocked)
            .count();
        let elapsed = self.now.saturating_duration_since(self.began_at);
        let line = format!(
            "{:>5.1} s  {:<7} {}  sent {:>9}  received {:>9}  absorbed {:>9}  blocked {blocked}",
            elapsed.as_secs_f64(),
            self.phase.name(),
            self.direction.name(),
            show_size(accepted),
            show_size(consumed),
            show_size(accepted.saturating_sub(consumed)),
        );
        self.live.write(match self.is_terminal {
            true => format!("\r\x1b[K{line}"),
            false => format!("{line}\n"),
        });
    }
}
