//! Requests: what is asked next, how it is written, and how long its answer may take.

use std::time::{Duration, Instant};

use log::debug;

use super::super::error::{ConnectError, Error};
use super::super::message::{Method, RequestHead, Value};
use super::super::transport::Offer;
use super::{
    Action, Awaited, CONNECT_WAIT, KEEP_ALIVE_WAIT, RECONNECTIONS_MAX, REPLY_WAIT, Request, Server,
    Session, State, Step, Timers,
};

impl Session {
    pub(super) fn connect(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.state = State::Connecting;
        self.ends = None;
        self.timers.wait = Some(now + CONNECT_WAIT);
        self.splitter.reset();
        actions.push(self.connect_action());
    }

    /// Whether the outstanding request answers a challenge, and nothing is lost by asking it over another connection.
    pub(super) fn was_challenged(&self) -> bool {
        let is_early = matches!(
            self.state,
            State::Asking(Step::Options | Step::Describe | Step::Setup)
        );
        let answers = self.awaited.is_some_and(|awaited| awaited.answers > 0);
        is_early && answers && self.reconnections < RECONNECTIONS_MAX
    }

    /// Starts over with the same server. Of all that is known only the answer to its challenge is kept.
    pub(super) fn connect_again(&mut self, now: Instant, actions: &mut Vec<Action>) {
        debug!("RTSP: the server closed the connection behind a challenge");
        self.reconnections += 1;
        self.server = Server {
            answerer: self.server.answerer.take(),
            ..Server::unknown()
        };
        self.start_over(now, actions);
    }

    /// Connects to where we are, for a conversation from the beginning.
    pub(super) fn start_over(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.awaited = None;
        self.given_up = None;
        self.timers = Timers {
            stun: self.timers.stun,
            ..Timers::default()
        };
        self.connect(now, actions);
    }

    pub(super) fn connect_action(&self) -> Action {
        Action::Connect {
            host: self.url.host.clone(),
            port: self.url.port,
            tls: self.url.tls,
        }
    }

    /// Whether what arrives on the control connection is of this connection and of use.
    pub(super) fn reads(&self) -> bool {
        !matches!(
            self.state,
            State::New | State::Connecting | State::Reconnecting | State::Done
        )
    }

    /// Goes on to a request of the handshake.
    pub(super) fn ask(&mut self, now: Instant, step: Step, actions: &mut Vec<Action>) {
        if step == Step::Setup && self.server.offer == Offer::All && self.may_open_sockets() {
            self.state = State::OpeningSockets;
            self.timers.wait = Some(now + REPLY_WAIT);
            return self.open_sockets(actions);
        }
        self.state = State::Asking(step);
        self.send(now, step, 0, actions);
    }

    /// Sends the request of a step; an earlier one that is still unanswered is given up.
    pub(super) fn send(
        &mut self,
        now: Instant,
        step: Step,
        answers: u8,
        actions: &mut Vec<Action>,
    ) {
        self.give_up();
        let method = match step {
            Step::Options => Method::Options,
            Step::Describe => Method::Describe,
            Step::Setup => Method::Setup,
            Step::Play => Method::Play,
            Step::KeepAlive => self.server.keep_alive,
            Step::Teardown => Method::Teardown,
        };
        self.cseq = self.cseq.wrapping_add(1);
        let bytes = match self.encode(step, method) {
            Ok(bytes) => bytes,
            // Nothing of ours is that long; a server's challenge might be.
            Err(error) if matches!(step, Step::KeepAlive | Step::Teardown) => {
                return debug!("RTSP: {error}");
            }
            Err(error) => return self.fail(now, error, actions),
        };
        self.awaited = Some(Awaited {
            step,
            method,
            cseq: self.cseq,
            answers,
        });
        self.timers.wait = Some(now + self.reply_wait(step));
        actions.push(Action::Send(bytes));
    }

    fn reply_wait(&self, step: Step) -> Duration {
        match step {
            Step::KeepAlive => KEEP_ALIVE_WAIT.min(self.keep_alive_interval()),
            _ => REPLY_WAIT,
        }
    }

    fn encode(&mut self, step: Step, method: Method) -> Result<Vec<u8>, Error> {
        let others = self.method_headers(step)?;
        let url = match (step, &self.server.control) {
            (Step::Setup, Some(control)) => control,
            _ => &self.url.request,
        };
        let authorization = match (&mut self.server.answerer, &self.url.credentials) {
            (Some(answerer), Some(credentials)) => {
                Some(answerer.authorize(credentials, method, url)?)
            }
            _ => None,
        };
        let head = RequestHead {
            method,
            url,
            cseq: self.cseq,
            user_agent: &self.request.user_agent,
            session: self.server.id.as_ref(),
            authorization: authorization.as_ref(),
            others: &others,
        };
        Ok(head.encode())
    }

    fn method_headers(&self, step: Step) -> Result<Vec<(&'static str, Value)>, Error> {
        let endpoint = self.endpoint();
        let mut headers = Vec::new();
        match step {
            Step::Describe => headers.push(("Accept", Value::new("Accept", "application/sdp")?)),
            Step::Setup => {
                let ports = endpoint.and_then(|endpoint| endpoint.ports());
                let offer = self.server.offer.encode(ports);
                headers.push(("Transport", Value::new("Transport", offer)?));
            }
            Step::Play => {
                let Request { range, scale, .. } = &self.request;
                headers.extend(range.clone().map(|range| ("Range", range)));
                headers.extend(scale.clone().map(|scale| ("Scale", scale)));
            }
            Step::Options | Step::KeepAlive | Step::Teardown => {}
        }
        if matches!(step, Step::Describe | Step::Setup)
            && let Some(address) = endpoint.and_then(|endpoint| endpoint.nat_header())
        {
            headers.push(("x-NAT", Value::new("x-NAT", address)?));
        }
        Ok(headers)
    }

    /// Stops waiting for the outstanding request; should its answer still come, it is late.
    pub(super) fn give_up(&mut self) {
        if let Some(awaited) = self.awaited.take() {
            self.given_up.get_or_insert(awaited.cseq);
        }
        self.timers.wait = None;
    }

    pub(super) fn expire_wait(&mut self, now: Instant, actions: &mut Vec<Action>) {
        match self.state {
            State::Connecting => self.fail(now, ConnectError::Timeout.into(), actions),
            State::Asking(_) => {
                let method = self
                    .awaited
                    .map_or(Method::Options, |awaited| awaited.method);
                let wait = REPLY_WAIT;
                self.give_up();
                self.fail(now, Error::ReplyTimeout { method, wait }, actions);
            }
            State::OpeningSockets => self.sockets_opened(now, None, actions),
            State::Playing => self.give_up(),
            State::Leaving | State::Reconnecting | State::TearingDown { .. } => self.done(actions),
            State::New | State::AwaitingStun | State::Done => {}
        }
    }
}
