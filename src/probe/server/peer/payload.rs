//! A connection that carries payload: it joins its run, receives or sends by its plan, and says what it sees.

use std::io;
use std::time::Instant;

use serde_json::json;

use super::{Carrier, Peer, Role};
use crate::limits::PROBE_REPORTS_WAITING_BYTES_MAX;
use crate::net::Tuning;
use crate::probe::framing::{Framing, Intake};
use crate::probe::receiver::Receiver;
use crate::probe::schedule::total_time;
use crate::probe::server::http;
use crate::probe::server::shared::Shared;
use crate::probe::units::show_size;
use crate::probe::wire::{Direction, Plan, RunId};

/// What a connection that carries payload is there for.
#[derive(Debug)]
pub(super) struct Data {
    /// The run it belongs to.
    pub(super) run: RunId,
    /// Its number in the run.
    connection: u32,
    plan: Box<Plan>,
    /// What reports and payload travel in.
    carrier: Carrier,
    /// When it speaks next, unless something happens before.
    pub(super) next_report_at: Instant,
    /// A sender that hears no command stops by itself.
    pub(super) ends_at: Option<Instant>,
    /// The last word has been said.
    pub(super) is_over: bool,
}

impl Peer {
    /// Joins the run, answers the hello, and begins.
    pub(super) fn become_data(
        &mut self,
        shared: &mut Shared,
        run: RunId,
        connection: u32,
        plan: Box<Plan>,
        carrier: Carrier,
    ) {
        let Some(id) = self.id else { return };
        if let Err(error) = shared.runs.join(run, connection, id, plan.sample) {
            return self.refuse(shared, carrier, error);
        }
        let peer = self.address.to_string();
        let words = format!(
            "{peer} : run {run} connection {connection} {}",
            plan.direction.name()
        );
        let value = json!({"peer": peer, "run": run.to_string(), "conn": connection,
            "direction": plan.direction.name()});
        shared.event("open", Some(words), value);
        match carrier {
            Carrier::Http => {}
            Carrier::Tcp | Carrier::WebSocket => {
                self.stream.outlet.push_text(&self.accepted_reply());
            }
        }
        let mut ends_at = None;
        match plan.direction {
            Direction::Up => {
                let tuning = Tuning {
                    receive_buffer_bytes: plan.receive_buffer_bytes as usize,
                    ..Tuning::default()
                };
                let _ = shared.net.tune(self.stream.link.socket(), &tuning);
                self.stream.receiver = Some(Receiver::new(connection, &plan));
                if carrier == Carrier::Tcp {
                    self.stream.intake = Intake::Raw;
                }
            }
            Direction::Down => {
                if carrier == Carrier::Http {
                    self.stream.outlet.push(http::DOWN_HEAD.as_bytes());
                    self.stream.outlet.set_framing(Framing::Chunked);
                }
                self.stream.begin_sending(&shared.net, connection, &plan);
                ends_at = Some(shared.now + total_time(&plan.schedule));
                if carrier != Carrier::WebSocket {
                    self.stream.intake = Intake::Discard;
                }
            }
        }
        self.role = Role::Data(Box::new(Data {
            run,
            connection,
            next_report_at: shared.now + plan.sample,
            plan,
            carrier,
            ends_at,
            is_over: false,
        }));
    }

    /// Follows the plan: the next step, the last byte that was announced, the end.
    pub(super) fn advance_payload(&mut self, now: Instant) {
        let Role::Data(data) = &mut self.role else {
            return;
        };
        if let Some(receiver) = &mut self.stream.receiver {
            if receiver.advance(now) {
                data.next_report_at = now;
            }
            if receiver.is_complete() && !receiver.is_final() {
                receiver.finish();
                data.next_report_at = now;
            }
        }
        if data.ends_at.is_some_and(|at| now >= at) {
            data.ends_at = None;
            self.stream.finish();
        }
        if self.stream.sender.is_some() && self.stream.outlet.is_complete() {
            self.stream.finish();
        }
    }

    /// Says what is to be said now.
    pub(super) fn tell_payload(&mut self, shared: &mut Shared) {
        let Role::Data(data) = &mut self.role else {
            return;
        };
        if shared.now < data.next_report_at && !self.stream.is_finished() {
            return;
        }
        data.next_report_at = shared.now + data.plan.sample;
        match data.plan.direction {
            Direction::Up => self.report(shared),
            Direction::Down => self.note_sending(shared),
        }
    }

    /// Reports on receiving, and closes behind the last report.
    fn report(&mut self, shared: &mut Shared) {
        let Some(report) = self.stream.report(&shared.net) else {
            return;
        };
        let Role::Data(data) = &mut self.role else {
            return;
        };
        if data.is_over {
            return;
        }
        let view = json!({"conn": data.connection, "dir": "up", "done": report.is_final,
            "rx": report.to_json()});
        shared
            .runs
            .note(data.run, data.connection, view.to_string());
        let text = report.to_json().to_string();
        let waiting = self.stream.outlet.control_bytes();
        if data.carrier != Carrier::Http
            && (report.is_final || waiting < PROBE_REPORTS_WAITING_BYTES_MAX / 16)
        {
            self.stream.outlet.push_text(&text);
        }
        if !report.is_final {
            return;
        }
        data.is_over = true;
        if report.bad_at.is_some()
            && let Some(run) = shared.runs.get_mut(data.run)
        {
            run.is_corrupt = true;
        }
        match data.carrier {
            Carrier::Tcp => self.stream.shut(),
            Carrier::WebSocket => self.stream.finish(),
            Carrier::Http => {
                let answer = http::answer("200 OK", "application/json", &(text + "\n"), false);
                self.stream.outlet.push(answer.as_bytes());
                self.stream.shut();
            }
        }
        let words = format!(
            "{} : received {} ({} bytes){}",
            self.address,
            show_size(report.consumed),
            report.consumed,
            report
                .bad_at
                .map_or(String::new(), |at| format!(", wrong from byte {at} on")),
        );
        self.leave(shared, words, report.consumed);
        self.close_soon(shared);
    }

    /// Notes what is known about sending, and closes behind the last byte.
    fn note_sending(&mut self, shared: &mut Shared) {
        let Some(view) = self.stream.sender_view(&shared.net) else {
            return;
        };
        let is_finished = self.stream.is_finished();
        let Role::Data(data) = &mut self.role else {
            return;
        };
        let mut text = json!({"conn": data.connection, "dir": "down", "done": is_finished,
            "complete": self.stream.outlet.is_complete(), "tx": view.to_json()});
        if let Some(sender) = self.stream.sender.as_ref().filter(|_| is_finished) {
            let blocked = sender.blocked_list();
            (text["intervals"], text["truncated"]) =
                (blocked.to_json(), blocked.is_truncated.into());
        }
        shared
            .runs
            .note(data.run, data.connection, text.to_string());
        if is_finished {
            data.is_over = true;
            let words = format!("{} : sent {} bytes", self.address, view.accepted);
            self.leave(shared, words, view.accepted);
            self.close_soon(shared);
        }
    }

    /// The connection has failed before the last word.
    pub(super) fn payload_failed(&mut self, shared: &mut Shared, error: &io::Error) {
        let Role::Data(data) = &self.role else {
            return;
        };
        let bytes = self.stream.receiver.as_ref().map_or(0, Receiver::consumed);
        let view = json!({"conn": data.connection, "dir": data.plan.direction.name(),
            "done": true, "error": error.to_string()});
        shared
            .runs
            .note(data.run, data.connection, view.to_string());
        self.leave(shared, format!("{} : {error}", self.address), bytes);
    }

    /// Leaves the run; `bytes` are what it received or sent.
    fn leave(&mut self, shared: &mut Shared, words: String, bytes: u64) {
        if let Role::Data(data) = &self.role {
            shared.runs.leave(data.run, data.connection);
            shared.consumed += bytes;
            let value = json!({"peer": self.address.to_string(), "run": data.run.to_string(),
                "conn": data.connection, "bytes": bytes});
            shared.event("close", Some(words), value);
        }
    }
}
