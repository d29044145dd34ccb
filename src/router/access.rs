//! What the access log is told of requests: what is known when they come, and how they end.

use std::time::Instant;

use super::Router;
use super::slots::{ClientId, ClientSlot};
use crate::access_log::{End, Entry, Outcome};
use crate::client::response::Status;
use crate::client::route::Target;
use crate::client::service::{self, Service};
use crate::client::{Ended, Request, access};
use crate::playlist::Source;
use crate::proto::http::{self, Method};
use crate::proto::rewrite::token;

/// A request whose line is not written yet.
#[derive(Debug)]
pub struct Logged {
    entry: Entry,
    /// When it came.
    since: Instant,
    /// What the connection had been sent by then.
    sent_bytes_before: u64,
    /// It was taken on, so that it has accounts of its own.
    is_admitted: bool,
}

impl Router {
    /// Opens the file of the access log anew with its next line, after it may have been moved away.
    pub fn reopen_access_log(&mut self) {
        self.access_log.reopen();
    }

    /// Remembers a request for the access log, if there is one and the request is for media. `target` is what it asks
    /// for below the prefix of all paths, `source` that of the configured service which it names, if it names one, and
    /// `routed` what it leads to, unless it was refused before.
    pub(super) fn begin_logged(
        &mut self,
        id: ClientId,
        request: &Request,
        target: &str,
        source: Option<&Source>,
        routed: Option<&Target>,
    ) {
        let config = &self.shared.config;
        let path = config.access_log.as_deref();
        self.access_log.configure(path, &config.log_format);
        if !self.access_log.is_open() {
            return;
        }
        let service = source.map(Service::of_source);
        let service = service.or_else(|| Service::named(target));
        let is_probe = match &service {
            Some(service) => request.method == Method::Head && service.kind != "http",
            // A service that is no more is asked for like one that never was.
            None => {
                !matches!(routed, Some(Target::Answer(answer)) if answer.status == Status::NotFound)
            }
        };
        if is_probe || request.method == Method::Options {
            return;
        }
        let Some(sink) = self.clients.get_mut(id) else {
            return;
        };
        let header = |name| request.header(name).unwrap_or_default();
        let forwarded_for = http::list_elements(header("X-Forwarded-For")).next();
        let user_agent = token::without_token_agent(header("User-Agent"));
        let entry = Entry {
            client_address: sink
                .client
                .asker(access::forwarded_for(request, config))
                .to_string(),
            method: request.method_name.clone(),
            host: header("Host").to_vec(),
            service_url: service::service_url(target),
            user_agent: user_agent.unwrap_or_default().into_owned(),
            forwarded_for: forwarded_for.unwrap_or_default().to_vec(),
            service_type: service.as_ref().map_or("", |service| service.kind),
            upstream_url: service.map_or_else(String::new, |service| service.upstream_url),
        };
        sink.logged = Some(Box::new(Logged {
            entry,
            since: self.shared.now,
            sent_bytes_before: sink.client.sent_bytes(),
            is_admitted: false,
        }));
    }

    /// A client was taken on.
    pub(super) fn note_admitted(&mut self, id: ClientId) {
        let Some(sink) = self.clients.get_mut(id) else {
            return;
        };
        if let Some(logged) = sink.logged.take() {
            let now = self.shared.net.wall_time();
            sink.logged = self
                .access_log
                .note_admitted(logged.entry, now)
                .map(|entry| {
                    Box::new(Logged {
                        entry,
                        is_admitted: true,
                        ..*logged
                    })
                });
        }
    }

    /// Whatever a client had asked for is over.
    pub(super) fn note_request_end(&mut self, id: ClientId) {
        let Some(sink) = self.clients.get_mut(id) else {
            return;
        };
        if let Some(logged) = sink.logged.take() {
            let now = self.shared.net.wall_time();
            let end = end(sink, &logged, self.shared.now);
            self.access_log.note_end(&logged.entry, now, &end);
        }
    }
}

fn end(sink: &ClientSlot, logged: &Logged, now: Instant) -> End {
    let client = &sink.client;
    let (outcome, reason) = match (client.failure(), client.ended()) {
        (Some(reason), _) if logged.is_admitted => (Outcome::Failed, reason),
        (Some(reason), _) => (Outcome::Refused, reason),
        (None, Some(Ended::Peer)) => (Outcome::ClientClosed, ""),
        (None, Some(Ended::Gone)) => (Outcome::ClientClosed, "its host does not answer"),
        (None, Some(Ended::Stalled)) => (Outcome::ClientClosed, "it takes nothing"),
        (None, Some(Ended::Disconnected)) => (Outcome::Failed, "it was disconnected on request"),
        (None, Some(Ended::Stop)) => (Outcome::Failed, "the server is stopping"),
        (None, Some(Ended::Complete | Ended::Idle) | None) => (Outcome::Complete, ""),
    };
    let flow = client.flow().filter(|_| logged.is_admitted).copied();
    let flow = flow.unwrap_or_default();
    End {
        status: client.status(),
        outcome,
        reason: reason.to_owned(),
        bytes_sent: client.sent_bytes() - logged.sent_bytes_before,
        duration: now.saturating_duration_since(logged.since),
        dropped_packets: flow.dropped.packets,
        dropped_bytes: flow.dropped.bytes,
        pauses: flow.backpressure_events,
    }
}
