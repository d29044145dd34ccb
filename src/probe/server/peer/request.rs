//! A connection that speaks HTTP: what it asks for, and the answer.

use super::{Carrier, Effect, Peer, Role};
use crate::limits::{KEPT_ALIVE_WAIT, PROBE_HELLO_WAIT};
use crate::net::Net as _;
use crate::probe::framing::{Framing, Intake};
use crate::probe::page;
use crate::probe::server::http::{self, Request};
use crate::probe::server::shared::Shared;
use crate::proto::http::{Chunked, Framing as Length};

impl Peer {
    /// Does what the head of a request asks for.
    pub(super) fn request(&mut self, shared: &mut Shared, head: &[u8], effects: &mut Vec<Effect>) {
        let request = match http::read(head, shared.options.any_origin) {
            Ok(request) => request,
            Err(refusal) => {
                let body = format!("{}\n", refusal.text);
                let answer = http::answer(refusal.status, "text/plain", &body, false);
                self.stream.outlet.push(answer.as_bytes());
                self.stream.shut();
                return self.close_soon(shared);
            }
        };
        match request {
            Request::WebSocket(head) => {
                self.stream.outlet.push(head.as_bytes());
                let framing = Framing::WebSocket { is_client: false };
                self.stream.outlet.set_framing(framing);
                self.stream.intake = Intake::websocket(true);
                self.role = Role::Greeting {
                    until: shared.now + PROBE_HELLO_WAIT,
                };
            }
            Request::Up(run, connection, plan, length) => {
                self.stream.intake = match length {
                    Length::Chunked => Intake::Chunked(Chunked::new()),
                    Length::Length(bytes) => Intake::Sized(bytes),
                    _ => Intake::Sized(0),
                };
                self.become_data(shared, run, connection, plan, Carrier::Http);
            }
            Request::Down(run, connection, plan) => {
                self.become_data(shared, run, connection, plan, Carrier::Http);
            }
            Request::Run(run) => match shared.runs.get(run) {
                Some(run) => self.answer(shared, "200 OK", "application/json", &run.to_json()),
                None => self.answer(shared, "404 Not Found", "application/json", "{}\n"),
            },
            Request::Command(run, command) => {
                shared.note_done(run, command);
                effects.push(Effect::Command(run, command));
                self.answer(shared, "200 OK", "application/json", "{\"ok\":true}\n");
            }
            Request::Health => self.answer(shared, "200 OK", "text/plain", "ok\n"),
            Request::Metrics => {
                let text = shared.metrics();
                self.answer(shared, "200 OK", "text/plain; version=0.0.4", &text);
            }
            Request::Page => self.page(shared),
            Request::Events => {
                self.stream.outlet.push(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
                      X-Accel-Buffering: no\r\nConnection: close\r\n\r\n",
                );
                self.stream.intake = Intake::Discard;
                self.role = Role::Watch {
                    next_at: shared.now,
                };
            }
        }
    }

    /// Answers, and waits for the next request.
    fn answer(&mut self, shared: &Shared, status: &str, kind: &str, body: &str) {
        let answer = http::answer(status, kind, body, true);
        self.stream.outlet.push(answer.as_bytes());
        self.stream.intake = Intake::Head(Vec::new());
        self.role = Role::Request {
            until: shared.now + KEPT_ALIVE_WAIT,
        };
    }

    /// Answers with the page (probe spec B.13).
    fn page(&mut self, shared: &mut Shared) {
        let nonce = format!("{:016x}", shared.net.random());
        let page = page::document(&nonce);
        let policy = page::policy(&nonce);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\nContent-Security-Policy: {policy}\r\n\
             X-Content-Type-Options: nosniff\r\nConnection: keep-alive\r\n\r\n",
            page.len()
        );
        self.stream.outlet.push(head.as_bytes());
        self.stream.outlet.push(page.as_bytes());
        self.stream.intake = Intake::Head(Vec::new());
        self.role = Role::Request {
            until: shared.now + KEPT_ALIVE_WAIT,
        };
    }
}
