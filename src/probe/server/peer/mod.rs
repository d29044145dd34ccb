//! One connection of a server, from its first byte to its last: what it is, whose turn it is, and how it ends. What it
//! does once it carries payload or asks for something over HTTP is in modules of their own.
//!
//! ```text
//! Sniffing ─▶ Detecting ─▶ Hello ───────────────┬─▶ Data ──────▶ Closing
//!  (TLS?)         │ └────▶ Request ─▶ Greeting ─┤                  ▲
//!                 │           │     (WebSocket) └─▶ Control ───────┤
//!                 └▶ Sink     └─▶ Watch, or an answer ─────────────┘
//! ```

mod payload;
mod request;

use std::io;
use std::time::Instant;

use serde_json::{Value, json};

use self::payload::Data;
use super::PeerId;
use super::detect::{self, Protocol};
use super::http;
use super::shared::Shared;
use crate::limits::{
    PROBE_BYTES_PER_TURN, PROBE_CLOSE_WAIT, PROBE_DETECT_WAIT, PROBE_HELLO_WAIT,
    PROBE_REPORTS_WAITING_BYTES_MAX,
};
use crate::net::{self, Accepted, Io, Net as _, Watched};
use crate::probe::framing::Intake;
use crate::probe::link::Link;
use crate::probe::receiver::Receiver;
use crate::probe::stream::{Read, Stream};
use crate::probe::wire::{Command, Hello, MAGIC, Reply, RunId};

/// What a turn asks the server for.
#[derive(Debug)]
pub(super) enum Effect {
    /// Pass this on to the connections of the run.
    Command(RunId, Command),
}

/// A connection.
#[derive(Debug)]
pub(super) struct Peer {
    /// Its bytes.
    pub(super) stream: Stream,
    id: Option<PeerId>,
    address: net::Peer,
    role: Role,
}

#[derive(Debug)]
enum Role {
    /// The first two bytes say whether it is TLS.
    Sniffing { until: Option<Instant> },
    /// The first nine say what it is.
    Detecting {
        until: Option<Instant>,
        seen: Vec<u8>,
    },
    /// A line is to come.
    Hello { until: Instant },
    /// The head of a request is to come.
    Request { until: Instant },
    /// The first message of a WebSocket is to come.
    Greeting { until: Instant },
    /// Payload.
    Data(Box<Data>),
    /// Commands and views of a run.
    Control {
        run: RunId,
        carrier: Carrier,
        next_at: Instant,
    },
    /// Views of all runs as server-sent events.
    Watch { next_at: Instant },
    /// A peer without a plan.
    Sink,
    /// Everything is said; the peer may close until then.
    Closing { until: Instant },
    /// Gone.
    Closed,
}

/// What reports and payload travel in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carrier {
    Tcp,
    WebSocket,
    Http,
}

impl Peer {
    /// A connection that was just accepted.
    pub(super) fn new(accepted: Accepted, shared: &mut Shared) -> Self {
        let link = Link::new(Watched::accepted(accepted.socket));
        let mask_seed = shared.net.random();
        shared.accepted += 1;
        let mut peer = Self {
            stream: Stream::new(link, Intake::Opening, mask_seed),
            id: None,
            address: accepted.peer,
            role: match shared.tls {
                Some(_) => Role::Sniffing { until: None },
                None => Role::Detecting {
                    until: None,
                    seen: Vec::new(),
                },
            },
        };
        peer.stream.read_bytes_max = detect::BYTES_MAX;
        if shared.options.is_raw {
            peer.become_sink(shared);
        }
        peer
    }

    /// Its name, by which its run knows it.
    pub(super) fn set_id(&mut self, id: PeerId) {
        self.id = Some(id);
    }

    /// Whether nothing of it is left to do.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.role, Role::Closed)
    }

    /// Whether a turn would get something done.
    pub(super) fn is_runnable(&self, now: Instant) -> bool {
        match self.role {
            Role::Sniffing { .. } => self.stream.link.can_read(),
            _ => self.stream.is_runnable(now),
        }
    }

    /// When it wants a turn although nothing happens.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let own = match &self.role {
            Role::Sniffing { until } | Role::Detecting { until, .. } => *until,
            Role::Hello { until }
            | Role::Request { until }
            | Role::Greeting { until }
            | Role::Closing { until } => Some(*until),
            Role::Data(data) => data.ends_at.into_iter().chain([data.next_report_at]).min(),
            Role::Control { next_at, .. } | Role::Watch { next_at } => Some(*next_at),
            Role::Sink | Role::Closed => None,
        };
        own.into_iter().chain(self.stream.deadline(now)).min()
    }

    /// Does what a command asks of payload.
    pub(super) fn obey(&mut self, now: Instant, command: Command) {
        let Role::Data(_) = &self.role else { return };
        match (command, self.stream.receiver.as_mut()) {
            (Command::Resume, Some(receiver)) => {
                receiver.end_hold(now);
            }
            (Command::Hold, Some(receiver)) => receiver.halt(),
            (Command::Stop, Some(receiver)) => receiver.drain(now),
            (Command::Stop, None) => self.stream.finish(),
            (Command::Hold | Command::Resume, None) | (Command::Done { .. }, _) => {}
        }
    }

    /// A turn.
    pub(super) fn run(&mut self, shared: &mut Shared, buffer: &mut [u8]) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Err(error) = self.turn(shared, buffer, &mut effects) {
            self.fail(shared, &error);
        }
        effects
    }

    fn turn(
        &mut self,
        shared: &mut Shared,
        buffer: &mut [u8],
        effects: &mut Vec<Effect>,
    ) -> io::Result<()> {
        self.sniff(shared)?;
        if !matches!(self.role, Role::Sniffing { .. }) {
            self.read(shared, buffer, effects)?;
        }
        self.expire(shared);
        self.tell(shared);
        self.stream.write(&mut shared.net, buffer)?;
        if matches!(self.role, Role::Closing { .. })
            && self.stream.is_finished()
            && self.stream.has_ended()
        {
            self.role = Role::Closed;
        }
        Ok(())
    }

    /// Looks whether the connection is TLS, without taking anything.
    fn sniff(&mut self, shared: &mut Shared) -> io::Result<()> {
        let Role::Sniffing { until } = &mut self.role else {
            return Ok(());
        };
        let mut bytes = [0; 2];
        let is_tls = match shared.net.peek(self.stream.link.socket(), &mut bytes)? {
            Io::Done(0) => Some(false),
            Io::Done(count) => detect::is_tls(bytes.get(..count).unwrap_or_default()),
            Io::Blocked => return Ok(()),
        };
        let until = *until.get_or_insert(shared.now + PROBE_DETECT_WAIT);
        let is_tls = match is_tls {
            Some(is_tls) => is_tls,
            None if shared.now >= until => false,
            None => return Ok(()),
        };
        if let (true, Some(tls)) = (is_tls, &shared.tls) {
            self.stream.link.secure(tls.accept()?);
        }
        self.role = Role::Detecting {
            until: (!is_tls).then_some(until),
            seen: Vec::new(),
        };
        Ok(())
    }

    fn read(
        &mut self,
        shared: &mut Shared,
        buffer: &mut [u8],
        effects: &mut Vec<Effect>,
    ) -> io::Result<()> {
        let mut budget = PROBE_BYTES_PER_TURN;
        loop {
            match self.stream.read(&mut shared.net, buffer, &mut budget)? {
                Read::Text(text) => self.text(shared, text, effects)?,
                Read::Message(bytes) => self.log_message(shared, bytes),
                Read::Ended => {
                    self.ended(shared);
                    return Ok(());
                }
                Read::Blocked | Read::Budget => return Ok(()),
            }
            if matches!(self.role, Role::Closed) {
                return Ok(());
            }
        }
    }

    fn text(
        &mut self,
        shared: &mut Shared,
        text: Vec<u8>,
        effects: &mut Vec<Effect>,
    ) -> io::Result<()> {
        match &mut self.role {
            Role::Detecting { until, seen } => {
                // Browsers open connections ahead of need: one that is silent may still become anything.
                until.get_or_insert(shared.now + PROBE_DETECT_WAIT);
                seen.extend_from_slice(&text);
                if let Some(protocol) = detect::protocol(seen) {
                    self.speak(shared, protocol);
                }
            }
            Role::Hello { .. } => self.hello(shared, &text, Carrier::Tcp),
            Role::Greeting { .. } => self.hello(shared, &text, Carrier::WebSocket),
            Role::Request { .. } => self.request(shared, &text, effects),
            Role::Control { run, .. } => {
                // Nobody is there to be told about a command that is not understood.
                if let Ok(command) = Command::parse(&text) {
                    let run = *run;
                    shared.note_done(run, command);
                    effects.push(Effect::Command(run, command));
                }
            }
            Role::Sink => shared.event(
                "text",
                Some(format!(
                    "{} : {}",
                    self.address,
                    String::from_utf8_lossy(&text)
                )),
                json!({"peer": self.address.to_string()}),
            ),
            _ => {}
        }
        Ok(())
    }

    /// The protocol is known.
    fn speak(&mut self, shared: &mut Shared, protocol: Protocol) {
        let Role::Detecting { seen, .. } = std::mem::replace(&mut self.role, Role::Closed) else {
            return;
        };
        self.stream.read_bytes_max = shared.options.read_bytes.max(4096);
        let until = shared.now + PROBE_HELLO_WAIT;
        match protocol {
            Protocol::Probe => {
                self.stream
                    .put_back(seen.get(MAGIC.len()..).unwrap_or_default());
                self.stream.intake = Intake::Lines(Vec::new());
                self.role = Role::Hello { until };
            }
            Protocol::Http => {
                self.stream.put_back(&seen);
                self.stream.intake = Intake::Head(Vec::new());
                self.role = Role::Request { until };
            }
            Protocol::Sink => {
                self.stream.put_back(&seen);
                self.become_sink(shared);
            }
        }
    }

    fn become_sink(&mut self, shared: &mut Shared) {
        let options = &shared.options;
        let delay = (options.read_bytes > 0).then_some(options.read_delay);
        if !matches!(self.stream.intake, Intake::WebSocket(..)) {
            self.stream.intake = Intake::Raw;
        }
        self.stream.read_bytes_max = options.read_bytes.max(1);
        self.stream.receiver = Some(Receiver::sink(shared.now, delay));
        self.role = Role::Sink;
        let peer = self.address.to_string();
        let words = Some(format!("{peer} : connected"));
        shared.event("open", words, json!({"peer": peer, "sink": true}));
    }

    fn hello(&mut self, shared: &mut Shared, text: &[u8], carrier: Carrier) {
        match Hello::parse(text) {
            Ok(Hello::Control(run)) => self.become_control(shared, run, carrier),
            Ok(Hello::Data(run, connection, plan)) => {
                self.become_data(shared, run, connection, plan, carrier);
            }
            // The classic client sends two numbers and then messages (probe spec A.7).
            Err(_) if carrier == Carrier::WebSocket && is_classic(text) => self.become_sink(shared),
            Err(error) => self.refuse(shared, carrier, error.to_string()),
        }
    }

    fn become_control(&mut self, shared: &mut Shared, run: RunId, carrier: Carrier) {
        if let Err(error) = shared.runs.open_control(run) {
            return self.refuse(shared, carrier, error);
        }
        self.stream.outlet.push_text(&self.accepted_reply());
        self.role = Role::Control {
            run,
            carrier,
            next_at: shared.now,
        };
    }

    fn accepted_reply(&self) -> String {
        let server = format!("flowgate {}", env!("CARGO_PKG_VERSION"));
        let reply = Reply::Accepted { server };
        reply.to_json(&self.address.to_string()).to_string()
    }

    /// Says no, and closes.
    fn refuse(&mut self, shared: &mut Shared, carrier: Carrier, error: String) {
        let reply = Reply::Refused(error).to_json("").to_string();
        match carrier {
            Carrier::Http => {
                let kind = "application/json";
                let answer = http::answer("409 Conflict", kind, &(reply + "\n"), false);
                self.stream.outlet.push(answer.as_bytes());
                self.stream.shut();
            }
            Carrier::Tcp => {
                self.stream.outlet.push_text(&reply);
                self.stream.shut();
            }
            Carrier::WebSocket => {
                self.stream.outlet.push_text(&reply);
                self.stream.finish();
            }
        }
        self.close_soon(shared);
    }

    /// The peer has sent everything.
    fn ended(&mut self, shared: &mut Shared) {
        match &mut self.role {
            Role::Data(data) => {
                if let Some(receiver) = &mut self.stream.receiver {
                    receiver.finish();
                    data.next_report_at = shared.now;
                } else if !data.is_over {
                    // Whoever receives has gone.
                    self.fail(shared, &io::ErrorKind::ConnectionReset.into());
                }
            }
            Role::Control { run, carrier, .. } => {
                shared.runs.close_control(*run);
                if *carrier == Carrier::WebSocket {
                    self.stream.finish();
                } else {
                    self.stream.shut();
                }
                self.close_soon(shared);
            }
            Role::Sink => {
                let consumed = self.stream.receiver.as_ref().map_or(0, Receiver::consumed);
                shared.consumed += consumed;
                let words = format!("{} : closed after {consumed} bytes", self.address);
                let value = json!({"peer": self.address.to_string(), "consumed": consumed});
                shared.event("close", Some(words), value);
                if matches!(self.stream.intake, Intake::WebSocket(..)) {
                    self.stream.finish();
                } else {
                    self.stream.shut();
                }
                self.close_soon(shared);
            }
            Role::Closing { .. } => {}
            _ => {
                self.stream.shut();
                self.close_soon(shared);
            }
        }
    }

    /// Looks which time has come.
    fn expire(&mut self, shared: &mut Shared) {
        let now = shared.now;
        match &mut self.role {
            Role::Detecting { until, .. } if until.is_some_and(|until| now >= until) => {
                self.speak(shared, Protocol::Sink);
            }
            Role::Hello { until } if now >= *until => {
                self.refuse(
                    shared,
                    Carrier::Tcp,
                    "the hello did not come in time".into(),
                );
            }
            Role::Request { until } | Role::Greeting { until } | Role::Closing { until }
                if now >= *until =>
            {
                self.role = Role::Closed;
            }
            Role::Data(_) => self.advance_payload(now),
            _ => {}
        }
    }

    /// Says what is to be said now.
    fn tell(&mut self, shared: &mut Shared) {
        let now = shared.now;
        match &mut self.role {
            Role::Data(_) => self.tell_payload(shared),
            Role::Control { run, next_at, .. } if now >= *next_at => {
                let Some(run) = shared.runs.get(*run) else {
                    *next_at = now + PROBE_HELLO_WAIT;
                    return;
                };
                *next_at = now + run.sample;
                for entry in run.connections.values() {
                    if self.stream.outlet.control_bytes() > PROBE_REPORTS_WAITING_BYTES_MAX {
                        break;
                    }
                    if !entry.view.is_empty() {
                        self.stream.outlet.push_text(&entry.view);
                    }
                }
            }
            Role::Watch { next_at } if now >= *next_at => {
                *next_at = now + crate::limits::PROBE_WATCH_INTERVAL;
                if self.stream.outlet.control_bytes() < PROBE_REPORTS_WAITING_BYTES_MAX {
                    for run in shared.runs.iter().filter(|run| !run.is_over()) {
                        let event = format!("data: {}\n", run.to_json());
                        self.stream.outlet.push(event.as_bytes());
                    }
                    self.stream.outlet.push(b": \n\n");
                }
            }
            _ => {}
        }
    }

    fn close_soon(&mut self, shared: &Shared) {
        self.stream.receiver = None;
        self.stream.intake = Intake::Discard;
        self.role = Role::Closing {
            until: shared.now + PROBE_CLOSE_WAIT,
        };
    }

    /// The connection has failed, or makes no sense.
    fn fail(&mut self, shared: &mut Shared, error: &io::Error) {
        match &self.role {
            Role::Data(data) if !data.is_over => self.payload_failed(shared, error),
            Role::Control { run, .. } => shared.runs.close_control(*run),
            Role::Sink => {
                let words = format!("{} : {error}", self.address);
                let value = json!({"peer": self.address.to_string(), "error": error.to_string()});
                shared.event("close", Some(words), value);
            }
            _ => {}
        }
        self.role = Role::Closed;
    }

    /// In the manner of the classic server (probe spec A.6, A.7).
    fn log_message(&mut self, shared: &mut Shared, bytes: u64) {
        if !shared.options.log_messages {
            return;
        }
        let consumed = self.stream.receiver.as_ref().map_or(0, Receiver::consumed);
        let words = format!(
            "{} : read {bytes} bytes ({consumed} bytes total)",
            self.address
        );
        let value = json!({"peer": self.address.to_string(), "bytes": bytes, "consumed": consumed});
        shared.event("message", Some(words), value);
    }
}

/// The parameters of the classic client (probe spec A.7).
fn is_classic(text: &[u8]) -> bool {
    crate::probe::wire::object(text).is_ok_and(|object| {
        object.get("payloadSize").is_some_and(Value::is_u64)
            && object.get("requestsTotal").is_some_and(Value::is_u64)
    })
}
