//! Messages of the server: answers to requests of ours, and its own requests.

use std::mem;
use std::time::{Duration, Instant};

use log::{debug, info};

use super::super::super::url::percent_decode;
use super::super::Purpose;
use super::super::auth::{self, Answerer, AuthError, Challenge};
use super::super::error::{Error, RedirectError};
use super::super::interleaved::Channels;
use super::super::message::{self, Headers, Message, Method, StartLine, Value};
use super::super::metadata::{MediaTransport, Payload};
use super::super::rtcp::Reception;
use super::super::sdp;
use super::super::transport::{self, Choice, Offer, TransportError};
use super::super::url::{self, RequestUrl, Url};
use super::{
    Action, Awaited, MEDIA_WAIT, REDIRECTS_MAX, REPORT_INTERVAL, Server, Session, Sockets, State,
    Step, Stun,
};

impl Session {
    pub(super) fn receive_message(&mut self, now: Instant, text: &[u8], actions: &mut Vec<Action>) {
        let text = message::mend(text);
        let message = match message::decode(&text) {
            Ok(Some((message, _))) => message,
            Ok(None) => return,
            // Once media flows, it is worth more than a message that makes no sense.
            Err(error) if matches!(self.state, State::Asking(_)) => {
                return self.fail(now, error.into(), actions);
            }
            Err(error) => return debug!("RTSP: ignored: {error}"),
        };
        match message.start {
            StartLine::Response(status) => self.receive_response(now, status, &message, actions),
            StartLine::Request(method) => self.receive_request(now, method, &message, actions),
        }
    }

    fn receive_response(
        &mut self,
        now: Instant,
        status: u16,
        message: &Message<'_>,
        actions: &mut Vec<Action>,
    ) {
        let Some(awaited) = self.awaited else {
            return debug!("RTSP: ignored {status}, nothing was asked");
        };
        // Only the answer to what was given up is told by its number: there are servers that send no number
        // or a wrong one, and in a handshake there is nothing to confuse.
        if let (Some(from), Some(cseq)) = (self.given_up, message.cseq())
            && (from..awaited.cseq).contains(&cseq)
        {
            return debug!("RTSP: ignored late {status} to request {cseq}");
        }
        if status < 200 {
            return;
        }
        self.awaited = None;
        self.timers.wait = None;
        match (awaited.step, status) {
            (Step::Teardown, status) if status != 401 => self.done(actions),
            (_, 200..=299) => self.accepted(now, awaited.step, message, actions),
            (Step::Setup, _) if self.state == State::Leaving => self.done(actions),
            (_, 300..=399) => {
                self.redirected(now, message.headers.get("Location"), actions);
            }
            (step, 401 | 403) if self.may_answer(status) => {
                match (self.answer(awaited, &message.headers), step) {
                    (Ok(()), _) => self.send(now, step, awaited.answers + 1, actions),
                    (Err(error), Step::KeepAlive) => debug!("RTSP: keep-alive: {error}"),
                    (Err(_), Step::Teardown) => self.done(actions),
                    (Err(error), _) => self.fail(now, error.into(), actions),
                }
            }
            (step, _) => self.refused(now, step, awaited.method, status, actions),
        }
    }

    fn accepted(
        &mut self,
        now: Instant,
        step: Step,
        message: &Message<'_>,
        actions: &mut Vec<Action>,
    ) {
        let headers = &message.headers;
        if let Some(session) = headers.get("Session")
            && let Err(error) = self.learn_session(session)
        {
            return self.fail(now, error, actions);
        }
        match step {
            Step::Options => {
                if let Some(public) = headers.get("Public") {
                    let lists = public
                        .split(',')
                        .any(|method| method.trim() == Method::GetParameter.name());
                    self.server.keep_alive = if lists {
                        Method::GetParameter
                    } else {
                        Method::Options
                    };
                }
                self.describe(now, actions);
            }
            Step::Describe => match self.learn_description(message) {
                Ok(()) => self.described(now, actions),
                Err(error) => self.fail(now, error, actions),
            },
            Step::Setup if self.state == State::Leaving => self.tear_down(now, false, actions),
            Step::Setup => match self.learn_transport(headers.get("Transport"), actions) {
                Ok(()) => self.ask(now, Step::Play, actions),
                Err(error) => {
                    // The session exists at the server, whatever its transport.
                    self.state = State::Asking(Step::Play);
                    self.fail(now, error.into(), actions);
                }
            },
            Step::Play => {
                let metadata = &mut self.server.metadata;
                metadata.learn_playback(headers.get("Scale"), headers.get("Range"));
                self.play(now);
                self.release_early(now, actions);
            }
            Step::KeepAlive | Step::Teardown => {}
        }
    }

    fn describe(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if matches!(self.stun, Stun::Asking { .. }) {
            debug!("RTSP: Waiting for STUN response before sending DESCRIBE");
            self.state = State::AwaitingStun;
        } else {
            self.ask(now, Step::Describe, actions);
        }
    }

    fn described(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let conclusion = match self.request.purpose {
            Purpose::Play => return self.ask(now, Step::Setup, actions),
            Purpose::Probe => Action::Described(mem::take(&mut self.server.metadata)),
            Purpose::Duration => match self.server.metadata.duration {
                Some(duration) => Action::Duration(duration),
                None => Action::Failed(Error::NoDuration),
            },
        };
        self.concluded = true;
        actions.push(conclusion);
        self.done(actions);
    }

    fn play(&mut self, now: Instant) {
        self.state = State::Playing;
        self.timers.media = Some(now + MEDIA_WAIT);
        if self.server.id.is_some() && self.server.names_transport {
            self.timers.keep_alive = Some(now + self.keep_alive_interval());
        }
        if self.server.udp().is_some() {
            // The number only has to differ from the server's.
            let ssrc = self.random() as u32;
            self.server.reception = Some(Reception::new(ssrc, now));
            self.timers.report = Some(now + REPORT_INTERVAL);
        }
    }

    /// What is to be done about an answer that is neither success nor redirect nor challenge.
    fn refused(
        &mut self,
        now: Instant,
        step: Step,
        method: Method,
        status: u16,
        actions: &mut Vec<Action>,
    ) {
        let has_sockets = matches!(self.sockets, Sockets::Open { .. });
        match (step, status, self.server.offer) {
            // A server without OPTIONS may know DESCRIBE.
            (Step::Options, 405 | 501 | 551, _) => self.describe(now, actions),
            // Some choke on a long list and cannot say so, some know only one kind.
            (Step::Setup, 400 | 406 | 451 | 461, Offer::All) => {
                self.offer(now, Offer::TcpOnly, actions);
            }
            (Step::Setup, 400 | 406 | 451 | 461, Offer::TcpOnly) if has_sockets => {
                self.offer(now, Offer::UdpOnly, actions);
            }
            // Any answer shows that the server lives.
            (Step::KeepAlive, ..) => self.server.keep_alive = Method::Options,
            _ => self.fail(now, Error::Refused { method, status }, actions),
        }
    }

    fn offer(&mut self, now: Instant, offer: Offer, actions: &mut Vec<Action>) {
        debug!("RTSP: server supports none of the transports, offering {offer:?}");
        self.server.offer = offer;
        self.ask(now, Step::Setup, actions);
    }

    /// Stores `ID[;timeout=SECONDS]`, the number also with a fraction or in quotes.
    fn learn_session(&mut self, text: &str) -> Result<(), Error> {
        let mut parts = text.split(';').map(str::trim);
        let id = parts.next().unwrap_or_default();
        if !id.is_empty() {
            self.server.id = Some(Value::new("Session", id)?);
        }
        let timeout = parts
            .filter_map(|part| part.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"))
            .and_then(|(_, seconds)| {
                let digits = seconds.trim().trim_start_matches('"');
                let digits = digits.split(|c: char| !c.is_ascii_digit()).next()?;
                message::decimal(digits).filter(|_| !digits.is_empty())
            });
        if let Some(seconds) = timeout {
            self.server.timeout = Some(Duration::from_secs(seconds.into()));
        }
        Ok(())
    }

    fn learn_description(&mut self, message: &Message<'_>) -> Result<(), Error> {
        let description = sdp::decode(message.body);
        let headers = &message.headers;
        let base = headers
            .get("Content-Base")
            .or_else(|| headers.get("Content-Location"))
            .map(|base| url::resolve(self.url.request.as_str(), base));
        let base = base.as_deref().unwrap_or(self.url.request.as_str());
        let control = description
            .control
            .map(|control| RequestUrl::new(&url::resolve(base, control)));
        self.server.control = control.transpose()?;
        self.server.metadata.payload = description.is_rtp.then_some(Payload::Rtp);
        self.server.encoding = description.encoding.filter(|_| !description.is_rtp);
        self.server.metadata.duration = description.duration;
        Ok(())
    }

    fn learn_transport(
        &mut self,
        header: Option<&str>,
        actions: &mut Vec<Action>,
    ) -> Result<(), TransportError> {
        self.server.names_transport = header.is_some();
        let choice = match header {
            Some(header) => transport::decode(header)?,
            None => Choice::Interleaved(Channels::default()),
        };
        let transport = match &choice {
            Choice::Interleaved(_) => {
                info!("RTSP: Using TCP interleaved transport");
                self.close_sockets(actions);
                MediaTransport::Interleaved
            }
            Choice::Udp(_) if !matches!(self.sockets, Sockets::Open { .. }) => {
                return Err(TransportError::NoSockets);
            }
            Choice::Udp(_) => MediaTransport::Udp,
        };
        self.server.metadata.transport = header.map(|_| transport);
        self.server.choice = Some(choice);
        self.probe(actions);
        Ok(())
    }

    /// Whether credentials may help. Servers that want Basic may refuse with 403 and no challenge.
    fn may_answer(&self, status: u16) -> bool {
        status == 401 || (self.server.answerer.is_none() && self.url.credentials.is_some())
    }

    /// Learns from a challenge how to answer it.
    fn answer(&mut self, awaited: Awaited, headers: &Headers<'_>) -> Result<(), AuthError> {
        if self.url.credentials.is_none() {
            return Err(AuthError::NoCredentials);
        }
        if awaited.answers >= auth::ANSWERS_MAX {
            let limit = auth::ANSWERS_MAX;
            return Err(AuthError::Refused { limit });
        }
        let is_silent = headers.all("WWW-Authenticate").next().is_none();
        let challenge = match Challenge::choose(headers.all("WWW-Authenticate")) {
            None if is_silent && self.server.answerer.is_none() => Challenge::Basic,
            challenge => challenge.ok_or(AuthError::Unsupported)?,
        };
        let random = self.random();
        self.server.answerer = Some(Answerer::new(challenge, random));
        Ok(())
    }

    /// Follows a redirect: a 3xx, or the server's REDIRECT.
    fn redirected(&mut self, now: Instant, location: Option<&str>, actions: &mut Vec<Action>) {
        let is_playing = self.state == State::Playing;
        if is_playing && (self.request.range.is_some() || self.request.scale.is_some()) {
            // A recording would begin again where the client already was.
            return self.end(now, actions);
        }
        let (url, start, duration) = match self.next_url(location) {
            Ok(next) => next,
            Err(error) => return self.fail(now, error.into(), actions),
        };
        if self.request.range.is_none()
            && let Some(start) = start
            && let Err(error) = self.request.play_from(None, Some(&start))
        {
            return self.fail(now, error, actions);
        }
        if self.has_session() {
            // Its answer is not waited for.
            self.send(now, Step::Teardown, 0, actions);
        }
        if duration && self.request.purpose == Purpose::Play && !self.announced {
            self.request.purpose = Purpose::Duration;
        }
        debug!("RTSP: redirected to {}:{}", url.host, url.port);
        self.visited.push(mem::replace(&mut self.url, url).request);
        self.server = Server::unknown();
        self.start_over(now, actions);
    }

    /// Where a redirect leads, and its own `r2h-start` and `r2h-duration`.
    fn next_url(
        &self,
        location: Option<&str>,
    ) -> Result<(Url, Option<String>, bool), RedirectError> {
        let location = location.ok_or(RedirectError::Missing)?;
        let limit = REDIRECTS_MAX;
        if self.visited.len() >= limit {
            return Err(RedirectError::TooMany { limit });
        }
        let target = url::resolve(self.url.request.as_str(), location.trim());
        let (target, start) = url::take_parameter(&target, "r2h-start");
        let (target, duration) = url::take_parameter(&target, "r2h-duration");
        let start = start.and_then(|start| percent_decode(&start).ok());
        let mut url = Url::parse(&target).map_err(RedirectError::Url)?;
        if url.request == self.url.request || self.visited.contains(&url.request) {
            return Err(RedirectError::Loop);
        }
        if url.credentials.is_none() && self.url.trusts(&url) {
            url.credentials.clone_from(&self.url.credentials);
        }
        Ok((url, start, duration.as_deref() == Some("1")))
    }

    fn receive_request(
        &mut self,
        now: Instant,
        method: &str,
        message: &Message<'_>,
        actions: &mut Vec<Action>,
    ) {
        let known = [
            "ANNOUNCE",
            "GET_PARAMETER",
            "OPTIONS",
            "REDIRECT",
            "SET_PARAMETER",
            "TEARDOWN",
        ];
        let answer = message::encode_answer(known.contains(&method), message.cseq().unwrap_or(0));
        actions.push(Action::Send(answer));
        if matches!(self.state, State::Leaving | State::TearingDown { .. }) {
            return;
        }
        match method {
            "TEARDOWN" => {
                self.conclude_end(actions);
                self.done(actions);
            }
            "REDIRECT" => match message.headers.get("Location") {
                Some(location) => self.redirected(now, Some(location), actions),
                None => self.end(now, actions),
            },
            "ANNOUNCE" if announces_end(message) => self.end(now, actions),
            _ => {}
        }
    }
}

/// Whether an ANNOUNCE says that the media is over.
///
/// Its notice code does: 2101 is the end of the stream, 2401 and everything from 4000 on are failures; other
/// codes are news. An ANNOUNCE without a code is the end too, as old servers mean it, unless it brings a new
/// session description (RFC 2326 §10.3).
fn announces_end(message: &Message<'_>) -> bool {
    let headers = &message.headers;
    let notice = ["Notice", "x-Notice"]
        .into_iter()
        .find_map(|name| headers.get(name));
    let code = notice.and_then(|notice| {
        let digits = notice.split(|c: char| !c.is_ascii_digit()).next()?;
        message::decimal(digits).filter(|_| !digits.is_empty())
    });
    match code {
        Some(code) => matches!(code, 2101 | 2401 | 4000..),
        None => !headers.get("Content-Type").is_some_and(|kind| {
            kind.trim()
                .to_ascii_lowercase()
                .starts_with("application/sdp")
        }),
    }
}
