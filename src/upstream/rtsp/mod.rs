//! A session with an RTSP server: drives [`Session`], which knows the protocol, and owns its sockets.
//!
//! Media that comes over the control connection is never lost: while the client is full, that connection is not
//! read. Media in datagrams does not wait; it is put in order and brought as [`Outcome::Live`].
//!
//! The session outlives its client for as long as it takes to end it at the server, which is a few seconds at most.

mod backlog;
mod control;
mod datagrams;
mod interleaved;
mod live;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Instant;

use super::{Ending, Grant, Outcome, Upstream, UpstreamError};
use crate::config::Denied;
use crate::net::{Edge, SocketId};
use crate::pool::Run;
use crate::proto::rtsp::{Action, Error, MediaTransport, Request, Session};
use crate::proto::url::Host;
use crate::sequencer::Sequencer;
use crate::shared::Shared;
use backlog::Backlog;
use control::{Control, Report, Target};
use datagrams::{Datagram, Datagrams};

/// What the sockets of a session depend on, besides the session itself.
#[derive(Debug, Clone)]
pub struct Circumstances {
    /// The network interface to go through.
    pub interface: Option<String>,
    /// The client sits on this host and may reach what others may not.
    pub is_local: bool,
    /// The STUN server that the operator has named.
    pub stun: Option<(Host, u16)>,
}

/// Why the connection could not be made, as it is told to the client.
enum Blame {
    Detail(String),
    Denied(Denied),
}

/// What the session has to be told of its client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Client {
    /// The session has not begun.
    New,
    Present,
    /// It has gone, and the session does not know yet.
    Leaving,
    Gone,
}

/// A session with a server, for one client.
pub struct RtspUpstream {
    session: Session,
    circumstances: Circumstances,
    client: Client,
    control: Control,
    datagrams: Datagrams,
    sequencer: Sequencer,
    backlog: Backlog,
    blame: Option<Blame>,
    /// The last read filled its buffer.
    is_behind: bool,
    /// Some live media was brought.
    has_brought: bool,
    /// All sockets are given up.
    is_over: bool,
    /// What the session wants; scratch between calls.
    actions: Vec<Action>,
    /// Scratch.
    runs: Vec<Run>,
    /// Scratch for one batch of datagrams, once there are any.
    bodies: Vec<u8>,
}

impl RtspUpstream {
    /// Will do what `request` says; `seed` is to be random.
    pub fn new(request: Request, circumstances: Circumstances, seed: u64) -> Self {
        Self {
            session: Session::new(request, seed),
            circumstances,
            client: Client::New,
            control: Control::default(),
            datagrams: Datagrams::default(),
            sequencer: Sequencer::new(),
            backlog: Backlog::default(),
            blame: None,
            is_behind: false,
            has_brought: false,
            is_over: false,
            actions: Vec::new(),
            runs: Vec::new(),
            bodies: Vec::new(),
        }
    }

    /// Media comes in datagrams.
    fn is_live(&self) -> bool {
        self.session.media_expected() == Some(MediaTransport::Udp)
    }

    fn begin_or_leave(&mut self, now: Instant) {
        match self.client {
            Client::New => {
                self.client = Client::Present;
                self.session.open(now, &mut self.actions);
            }
            Client::Leaving => {
                self.client = Client::Gone;
                self.backlog.clear();
                self.session.close(now, &mut self.actions);
            }
            Client::Present | Client::Gone => {}
        }
    }

    fn connect_further(&mut self, shared: &mut Shared, outcomes: &mut Vec<Outcome>) {
        let Some(report) = self.control.advance(&self.circumstances, shared, outcomes) else {
            return;
        };
        let (now, actions) = (shared.now, &mut self.actions);
        match report {
            Report::Connected { local, peer } => {
                let interface = self.circumstances.interface.as_deref();
                log::info!(
                    "RTSP: Upstream interface {}, local endpoint {local}",
                    interface.unwrap_or("route-selected")
                );
                self.session.connected(now, local, peer, actions);
            }
            Report::Failed(error, detail) => {
                self.blame = Some(Blame::Detail(detail));
                self.session.connect_failed(now, error, actions);
            }
            Report::Denied(denied) => {
                self.blame = Some(Blame::Denied(denied));
                let error = crate::proto::rtsp::ConnectError::Refused;
                self.session.connect_failed(now, error, actions);
            }
        }
        self.carry_out(shared, outcomes);
    }

    /// The control connection has ended; what has arrived besides is brought first.
    fn end_of_input(&mut self, is_broken: bool, shared: &mut Shared, outcomes: &mut Vec<Outcome>) {
        let is_broken = is_broken || self.control.has_failed();
        self.receive_last_datagrams(shared, outcomes);
        self.lose_connection(is_broken, shared, outcomes);
    }

    fn lose_connection(
        &mut self,
        is_broken: bool,
        shared: &mut Shared,
        outcomes: &mut Vec<Outcome>,
    ) {
        self.control.close(outcomes);
        if is_broken {
            self.session.broken(shared.now, &mut self.actions);
        } else {
            self.session.finish(shared.now, &mut self.actions);
        }
        self.carry_out(shared, outcomes);
    }

    /// Media is about to be brought: what is known of it comes first.
    fn announce(&mut self, outcomes: &mut Vec<Outcome>) {
        self.actions.retain(|action| match action {
            Action::Playing(metadata) => {
                outcomes.push(Outcome::Stream(metadata.clone()));
                false
            }
            _ => true,
        });
    }

    fn expire(&mut self, shared: &mut Shared, outcomes: &mut Vec<Outcome>) {
        self.sequencer.expire(shared, &mut self.runs);
        self.bring_runs(outcomes);
        let deadline = self.session.deadline();
        if deadline.is_some_and(|deadline| deadline <= shared.now) {
            self.session.expire(shared.now, &mut self.actions);
            self.carry_out(shared, outcomes);
        }
    }

    fn send(&mut self, shared: &mut Shared, outcomes: &mut Vec<Outcome>) {
        if !self.control.flush(shared) {
            self.end_of_input(true, shared, outcomes);
        }
    }

    /// Does what the session wants, in order; what follows from it comes behind.
    fn carry_out(&mut self, shared: &mut Shared, outcomes: &mut Vec<Outcome>) {
        let mut wanted = VecDeque::from(std::mem::take(&mut self.actions));
        while let Some(action) = wanted.pop_front() {
            self.carry_out_one(action, shared, outcomes);
            wanted.extend(self.actions.drain(..));
        }
        self.actions = wanted.into();
    }

    fn carry_out_one(&mut self, action: Action, shared: &mut Shared, outcomes: &mut Vec<Outcome>) {
        match action {
            Action::Connect { host, port, tls } => {
                self.control.flush(shared);
                self.control.connect(Target { host, port, tls }, outcomes);
            }
            Action::Send(bytes) => self.control.push(&bytes),
            Action::OpenSockets { address, random } => {
                let circumstances = &self.circumstances;
                let port = self
                    .datagrams
                    .open(address, random, circumstances, shared, outcomes);
                self.session
                    .sockets_opened(shared.now, port, &mut self.actions);
            }
            Action::CloseSockets => self.datagrams.close(outcomes),
            Action::SendDatagram {
                socket,
                host,
                port,
                bytes,
            } => {
                let datagram = Datagram {
                    socket,
                    host,
                    port,
                    bytes,
                };
                let circumstances = &self.circumstances;
                if !self
                    .datagrams
                    .send(datagram, circumstances, shared, outcomes)
                {
                    // Does nothing unless the session waits for a STUN server.
                    self.session.stun_failed(shared.now, &mut self.actions);
                }
            }
            Action::Playing(metadata) => outcomes.push(Outcome::Stream(metadata)),
            Action::Media(_) | Action::Packet(_) => {
                debug_assert!(false, "media is taken where it was received");
            }
            Action::Described(metadata) => {
                outcomes.push(Outcome::End(Ending::Described(metadata)));
            }
            Action::Duration(duration) => outcomes.push(Outcome::End(Ending::Lasts(duration))),
            Action::End => {
                self.sequencer.finish(&shared.pool, &mut self.runs);
                self.bring_runs(outcomes);
                outcomes.extend(self.backlog.conclude(Outcome::End(Ending::Whole)));
            }
            Action::Failed(error) => {
                let error = self.explain(error);
                outcomes.extend(self.backlog.conclude(Outcome::Failed(error)));
            }
            Action::Done => {
                self.control.flush(shared);
                self.give_up(outcomes);
            }
        }
    }

    fn explain(&mut self, error: Error) -> UpstreamError {
        let blame = self.blame.take();
        match (error, blame) {
            (Error::Connect(_), Some(Blame::Denied(denied))) => UpstreamError::Denied(denied),
            (Error::Connect(_), Some(Blame::Detail(detail))) => UpstreamError::Rtsp {
                error,
                detail: Some(detail),
            },
            _ => UpstreamError::Rtsp {
                error,
                detail: None,
            },
        }
    }

    fn give_up(&mut self, outcomes: &mut Vec<Outcome>) {
        self.control.close(outcomes);
        self.datagrams.close(outcomes);
        self.is_over = true;
    }
}

impl Upstream for RtspUpstream {
    fn visit_sockets(&self, visit: &mut dyn FnMut(SocketId)) {
        let control = self.control.sockets().into_iter();
        control.chain(self.datagrams.sockets()).for_each(visit);
    }

    fn note(&mut self, socket: SocketId, edge: Edge) {
        self.control.note(socket, edge);
        self.datagrams.note(socket, edge);
    }

    fn state_number(&self) -> u8 {
        self.session.state_number()
    }

    fn transport(&self) -> &'static str {
        match self.session.media_expected() {
            Some(MediaTransport::Interleaved) => "interleaved",
            Some(MediaTransport::Udp) => "udp",
            None => "tcp",
        }
    }

    fn runnable(&self, may_read: bool) -> bool {
        let has_backlog = may_read && !self.backlog.is_empty();
        has_backlog
            || !self.is_over
                && (matches!(self.client, Client::New | Client::Leaving)
                    || self.control.runnable(may_read)
                    || self.datagrams.has_news()
                    || (self.session.datagrams_wanted() && self.datagrams.can_read()))
    }

    fn deadline(&self, _paused: bool, _shared: &Shared) -> Option<Instant> {
        if self.is_over {
            return None;
        }
        let deadlines = [
            self.session.deadline(),
            self.control.deadline(),
            self.sequencer.deadline(),
            self.datagrams
                .deadline()
                .filter(|_| self.session.datagrams_wanted()),
        ];
        deadlines.into_iter().flatten().min()
    }

    fn is_closed(&self) -> bool {
        self.is_over && self.backlog.is_empty()
    }

    fn run(&mut self, grant: Option<Grant>, shared: &mut Shared, outcomes: &mut Vec<Outcome>) {
        if self.is_closed() {
            return;
        }
        self.begin_or_leave(shared.now);
        self.carry_out(shared, outcomes);
        self.connect_further(shared, outcomes);
        if self.datagrams.has_news()
            && !self
                .datagrams
                .send_waiting(&self.circumstances, shared, outcomes)
        {
            self.session.stun_failed(shared.now, &mut self.actions);
            self.carry_out(shared, outcomes);
        }
        if let Some(grant) = grant {
            self.receive(grant, shared, outcomes);
        }
        self.receive_datagrams(shared, outcomes);
        self.expire(shared, outcomes);
        self.send(shared, outcomes);
    }

    fn close(&mut self) -> Vec<SocketId> {
        let sockets = self.sockets();
        self.control = Control::default();
        self.datagrams = Datagrams::default();
        self.backlog.clear();
        self.is_over = true;
        sockets
    }

    fn leave(&mut self) -> bool {
        self.client = match self.client {
            Client::Present => Client::Leaving,
            state => state,
        };
        self.backlog.clear();
        // What never began needs no end.
        !self.is_over && self.client != Client::New
    }

    fn is_finite(&self) -> bool {
        false
    }

    fn is_patient(&self) -> bool {
        !self.is_live()
    }

    fn pause(&mut self, now: Instant) {
        self.session.set_paused(now, true);
    }

    fn resume(&mut self, now: Instant) {
        self.session.set_paused(now, false);
    }

    fn resolved(&mut self, name: &str, result: Result<&[IpAddr], &str>) {
        self.control.resolved(name, result);
        self.datagrams.resolved(name, result);
    }
}
