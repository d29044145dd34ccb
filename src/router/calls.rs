//! Calls of the status API: what its users ask to be done, and the forms they come with (server spec §10).
//!
//! What a call may be, and what it is answered, is [`api`](crate::status::api)'s part.

use super::slots::ClientId;
use super::{Router, Wish};
use crate::client::{Incoming, Request, response};
use crate::limits::FORM_BYTES_MAX;
use crate::proto::http::{Framing, Relay};
use crate::status::api::{Action, Call, Provenance, Reply};

/// The body of a call while it arrives.
#[derive(Debug)]
pub struct Form {
    call: Call,
    bytes: Vec<u8>,
}

impl Router {
    /// A call of the API: done at once, or when its form has arrived.
    pub(super) fn take_call(&mut self, id: ClientId, request: &Request, call: Call) {
        let forwarded_host = request.header("x-forwarded-host");
        let provenance = Provenance {
            fetch_site: request.header("sec-fetch-site"),
            origin: request.header("origin"),
            host: request.header("host"),
            forwarded_host: forwarded_host.filter(|_| self.shared.config.xff),
        };
        if let Err(reply) = call.check_method(&request.method_name) {
            return self.answer_call(id, &reply);
        }
        if provenance.is_cross_site() {
            return self.answer_call(id, &Reply::cross_site());
        }
        let has_form = match request.framing {
            Framing::Length(bytes) if bytes > FORM_BYTES_MAX as u64 && call.has_form() => {
                return self.answer_call(id, &Reply::too_large());
            }
            Framing::Length(bytes) => bytes > 0,
            Framing::Chunked => true,
            Framing::Empty | Framing::UntilClose => false,
        };
        if !has_form || !call.has_form() {
            return self.perform(id, call, &[]);
        }
        if let Some(sink) = self.clients.get_mut(id) {
            sink.client
                .begin_body(request.framing, Relay::Decoded, self.shared.now);
            let bytes = Vec::new();
            sink.form = Some(Box::new(Form { call, bytes }));
            // Without memory for this, the client sends the form after a while all the same.
            if request.expects_continue()
                && let Some(interim) = self.shared.pool.copy_reserved(response::CONTINUE)
            {
                sink.client.push_interim(interim, self.shared.now);
            }
        }
    }

    /// Takes a part of the form that comes with a call. Gives back what is no part of a form.
    pub(super) fn take_form(&mut self, id: ClientId, part: Incoming) -> Option<Incoming> {
        let Some(sink) = self.clients.get_mut(id) else {
            return Some(part);
        };
        let Some(form) = &mut sink.form else {
            return Some(part);
        };
        match part {
            Incoming::Body(view) => {
                let bytes = view.bytes().unwrap_or_default();
                if form.bytes.len() + bytes.len() <= FORM_BYTES_MAX {
                    form.bytes.extend_from_slice(bytes);
                } else {
                    // Only chunks can be too many: a length was looked at before.
                    sink.form = None;
                    self.answer_call(id, &Reply::too_large());
                }
                None
            }
            Incoming::BodyEnd => {
                let form = sink.form.take()?;
                self.perform(id, form.call, &form.bytes);
                None
            }
            Incoming::BodyFailed(_) => {
                sink.form = None;
                Some(part)
            }
            Incoming::Starved | Incoming::Request(_) | Incoming::Left => Some(part),
        }
    }

    fn perform(&mut self, id: ClientId, call: Call, form: &[u8]) {
        let reply = match call.action(form) {
            Ok(action) => self.act(id, &action),
            Err(reply) => reply,
        };
        self.answer_call(id, &reply);
    }

    fn act(&mut self, id: ClientId, action: &Action) -> Reply {
        log::info!("client {id}: asks for {action:?}");
        let area = self.worker.area();
        match action {
            Action::Disconnect(client_id) => {
                if !area.disconnect(client_id) {
                    return Reply::unknown_client();
                }
                // It may be one of our own.
                self.carry_out_orders();
            }
            Action::SetLogLevel(level) => {
                area.set_log_level(*level);
                self.apply_log_level();
            }
            Action::ClearLogs => {
                area.log().clear();
                area.ring_viewing();
            }
            Action::ReloadConfig => return self.ask_supervisor(action, Wish::Reload),
            Action::RestartWorkers => return self.ask_supervisor(action, Wish::RestartWorkers),
        }
        self.desk.mark();
        action.success()
    }

    /// Not by a signal, as the compatible router does: the supervisor may belong to another user.
    fn ask_supervisor(&mut self, action: &Action, wish: Wish) -> Reply {
        if self.worker.area().supervisor().is_none() {
            return Reply::signal_failed("there is none");
        }
        self.wish = Some(wish);
        action.success()
    }

    fn answer_call(&mut self, id: ClientId, reply: &Reply) {
        if let Some(sink) = self.clients.get_mut(id) {
            sink.client.answer_call(reply, &mut self.shared);
        }
    }
}
