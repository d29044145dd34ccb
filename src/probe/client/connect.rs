//! Making a connection: address after address, through a proxy, inside TLS, up to the answer to the hello.
//!
//! ```text
//! Connecting ─▶ Proxy ─▶ Upgrading ─▶ Greeting ─▶ Running ─▶ Closed
//!              (CONNECT)  (HTTP head)  (reply)
//! ```

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::limits::{PROBE_CONNECT_WAIT, PROBE_HELLO_WAIT, PROBE_REPLY_WAIT};
use crate::net::mio::MioNet;
use crate::net::{Io, Net as _, Tuning, Watched};
use crate::probe::framing::{Framing, Intake};
use crate::probe::link::Link;
use crate::probe::stream::Stream;
use crate::probe::target::{Target, Transport};
use crate::probe::wire::{Direction, Hello, MAGIC, Reply};
use crate::proto::http::{Chunked, ResponseHead, decode_response};
use crate::proto::websocket::{accept_key, new_key};

/// Where all connections of one kind go.
#[derive(Debug)]
pub(super) struct Route {
    /// The server.
    pub(super) target: Target,
    /// Addresses of the server, or of the proxy if there is one.
    pub(super) addresses: Vec<SocketAddr>,
    /// Whether the addresses are those of a proxy.
    pub(super) is_via: bool,
    /// Name that the certificate must be for, in place of the target's.
    pub(super) server_name: Option<String>,
    /// The kernel's buffers.
    pub(super) tuning: Tuning,
}

/// How far a connection has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    /// The handshake of TCP.
    Connecting,
    /// A proxy was asked to connect.
    Proxy,
    /// The head of a response is to come; the key, if it is for a WebSocket.
    Upgrading(Option<String>),
    /// The reply to the hello is to come.
    Greeting,
    /// It is made; `true` for a sink, which has not replied.
    Running(bool),
}

/// A connection that is being made, and what it is for.
#[derive(Debug)]
pub(super) struct Opening {
    route: Rc<Route>,
    hello: Hello,
    /// Classic parameters that go with the hello on a WebSocket.
    classic: (u64, u64),
    /// The server is taken for a sink without asking.
    is_classic: bool,
    /// What comes next.
    pub(super) stage: Stage,
    address_index: usize,
    until: Instant,
}

/// What became of a turn.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing yet.
    Waiting,
    /// It is made.
    Made,
    /// The next address is being tried on another socket.
    Reconnected,
}

impl Opening {
    /// Begins with the first address.
    ///
    /// # Errors
    ///
    /// When no socket can be opened for any address.
    pub(super) fn begin(
        net: &mut MioNet,
        route: Rc<Route>,
        hello: Hello,
        classic: (u64, u64),
        is_classic: bool,
    ) -> Result<(Self, Stream), String> {
        let mut opening = Self {
            route,
            hello,
            classic,
            is_classic,
            stage: Stage::Connecting,
            address_index: 0,
            until: net.now(),
        };
        let stream = opening.connect(net, "no address".into())?;
        Ok((opening, stream))
    }

    /// When it gives up waiting.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (!matches!(self.stage, Stage::Running(_))).then_some(self.until)
    }

    /// Looks whether the connection has been made, or has taken too long.
    ///
    /// # Errors
    ///
    /// Why there will be none.
    pub(super) fn advance(
        &mut self,
        net: &mut MioNet,
        stream: &mut Stream,
    ) -> Result<Progress, String> {
        let is_late = net.now() >= self.until;
        match self.stage {
            Stage::Connecting => {
                match net.is_connected(stream.link.socket()) {
                    Ok(true) => self.connected(net, stream)?,
                    Ok(false) if is_late => {
                        return self.reconnect(net, stream, "no answer in time".into());
                    }
                    Ok(false) => {}
                    Err(error) => return self.reconnect(net, stream, error.to_string()),
                }
                Ok(self.progress())
            }
            Stage::Greeting if is_late && self.may_be_sink() => {
                // Silence is the answer of a sink, but a sink inside TLS has shaken hands.
                let flushed = stream.link.flush(net);
                if flushed.map_err(|error| error.to_string())? == Io::Blocked {
                    return Err("the server does not answer in TLS".into());
                }
                self.stage = Stage::Running(true);
                Ok(Progress::Made)
            }
            Stage::Running(_) => Ok(Progress::Made),
            _ if is_late => Err("no answer in time".into()),
            _ => Ok(Progress::Waiting),
        }
    }

    /// Takes a head or a reply.
    ///
    /// # Errors
    ///
    /// Why there will be no connection.
    pub(super) fn text(
        &mut self,
        net: &mut MioNet,
        stream: &mut Stream,
        text: &[u8],
    ) -> Result<Progress, String> {
        match self.stage.clone() {
            Stage::Proxy => {
                let head = response(text)?;
                if !(200..300).contains(&head.status) {
                    return Err(format!("the proxy answers {}", head.status));
                }
                self.begin_transport(net, stream)?;
            }
            Stage::Upgrading(key) => self.upgraded(net, stream, &response(text)?, key)?,
            Stage::Greeting => match Reply::parse(text) {
                Ok(Reply::Accepted { .. }) => self.made(stream),
                Ok(Reply::Refused(error)) => return Err(format!("the server refuses: {error}")),
                Err(error) => return Err(format!("the reply to the hello: {error}")),
            },
            Stage::Connecting | Stage::Running(_) => {}
        }
        Ok(self.progress())
    }

    fn progress(&self) -> Progress {
        match self.stage {
            Stage::Running(_) => Progress::Made,
            _ => Progress::Waiting,
        }
    }

    fn connect(&mut self, net: &mut MioNet, mut error: String) -> Result<Stream, String> {
        while let Some(address) = self.route.addresses.get(self.address_index) {
            self.address_index += 1;
            match net.connect_tuned(*address, &self.route.tuning) {
                Ok(socket) => {
                    self.until = net.now() + PROBE_CONNECT_WAIT;
                    self.stage = Stage::Connecting;
                    let mask_seed = net.random();
                    let link = Link::new(Watched::new(socket));
                    return Ok(Stream::new(link, Intake::Discard, mask_seed));
                }
                Err(cause) => error = format!("{address}: {cause}"),
            }
        }
        Err(error)
    }

    fn reconnect(
        &mut self,
        net: &mut MioNet,
        stream: &mut Stream,
        error: String,
    ) -> Result<Progress, String> {
        *stream = self.connect(net, error)?;
        Ok(Progress::Reconnected)
    }

    fn connected(&mut self, net: &mut MioNet, stream: &mut Stream) -> Result<(), String> {
        if !self.route.is_via {
            return self.begin_transport(net, stream);
        }
        let authority = self.route.target.authority();
        let head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        stream.outlet.push(head.as_bytes());
        stream.intake = Intake::Head(Vec::new());
        self.wait(net, Stage::Proxy);
        Ok(())
    }

    /// The way to the server is open.
    fn begin_transport(&mut self, net: &mut MioNet, stream: &mut Stream) -> Result<(), String> {
        let route = Rc::clone(&self.route);
        let target = &route.target;
        if target.is_secure {
            let name = route.server_name.clone();
            let name = name.unwrap_or_else(|| target.bare_host());
            let stage = net.secure(&name).map_err(|error| error.to_string())?;
            stream.link.secure(stage);
        }
        stream.half_closes = target.transport == Transport::Tcp;
        match target.transport {
            Transport::Tcp if self.is_classic => self.stage = Stage::Running(true),
            Transport::Tcp => {
                stream.outlet.push(MAGIC);
                stream.outlet.push_text(&self.hello.to_json().to_string());
                stream.intake = Intake::Lines(Vec::new());
                self.until = net.now() + PROBE_REPLY_WAIT;
                self.stage = Stage::Greeting;
            }
            Transport::WebSocket => {
                let key = new_key(random_bytes(net));
                stream.outlet.push(
                    format!(
                        "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n",
                        target.path,
                        target.authority()
                    )
                    .as_bytes(),
                );
                stream.intake = Intake::Head(Vec::new());
                self.wait(net, Stage::Upgrading(Some(key)));
            }
            Transport::Http => self.request(net, stream),
        }
        Ok(())
    }

    fn request(&mut self, net: &mut MioNet, stream: &mut Stream) {
        let target = &self.route.target;
        let Hello::Data(_, _, plan) = &self.hello else {
            // Requests follow as they are needed.
            self.stage = Stage::Running(false);
            return;
        };
        let (line, length) = match plan.direction {
            Direction::Up => (
                format!("POST {}/probe/up", target.path),
                "Content-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n",
            ),
            Direction::Down => (format!("GET {}/probe/down", target.path), ""),
        };
        let hello = URL_SAFE_NO_PAD.encode(self.hello.to_json().to_string());
        let head = format!(
            "{line} HTTP/1.1\r\nHost: {}\r\nX-Probe: {hello}\r\n{length}\r\n",
            target.authority()
        );
        stream.outlet.push(head.as_bytes());
        stream.intake = Intake::Head(Vec::new());
        match plan.direction {
            Direction::Up => {
                stream.outlet.set_framing(Framing::Chunked);
                self.stage = Stage::Running(false);
            }
            Direction::Down => self.wait(net, Stage::Upgrading(None)),
        }
    }

    fn upgraded(
        &mut self,
        net: &mut MioNet,
        stream: &mut Stream,
        head: &ResponseHead<'_>,
        key: Option<String>,
    ) -> Result<(), String> {
        let Some(key) = key else {
            if head.status != 200 {
                return Err(format!("the server answers {}", head.status));
            }
            let is_chunked = head
                .headers
                .tokens("Transfer-Encoding")
                .any(|coding| coding.eq_ignore_ascii_case(b"chunked"));
            stream.intake = match is_chunked {
                true => Intake::Chunked(Chunked::new()),
                // A proxy may have made it end with the connection.
                false => Intake::Raw,
            };
            self.stage = Stage::Running(false);
            return Ok(());
        };
        if head.status != 101 {
            return Err(format!("no WebSocket: the server answers {}", head.status));
        }
        if head.headers.get("Sec-WebSocket-Accept") != Some(&accept_key(&key)) {
            return Err("no WebSocket: Sec-WebSocket-Accept is wrong".into());
        }
        let framing = Framing::WebSocket { is_client: true };
        stream.outlet.set_framing(framing);
        stream.intake = Intake::websocket(false);
        let mut hello = match self.is_classic {
            true => serde_json::json!({}),
            false => self.hello.to_json(),
        };
        (hello["payloadSize"], hello["requestsTotal"]) =
            (self.classic.0.into(), self.classic.1.into());
        stream.outlet.push_text(&hello.to_string());
        self.until = net.now() + PROBE_REPLY_WAIT;
        self.stage = match self.is_classic {
            true => Stage::Running(true),
            false => Stage::Greeting,
        };
        Ok(())
    }

    fn made(&mut self, stream: &mut Stream) {
        if let (Hello::Data(_, _, plan), Transport::Tcp) =
            (&self.hello, self.route.target.transport)
            && plan.direction == Direction::Down
        {
            stream.intake = Intake::Raw;
        }
        self.stage = Stage::Running(false);
    }

    /// Only a sender can do without a reply.
    fn may_be_sink(&self) -> bool {
        matches!(&self.hello, Hello::Data(_, _, plan) if plan.direction == Direction::Up)
    }

    fn wait(&mut self, net: &MioNet, stage: Stage) {
        self.until = net.now() + PROBE_HELLO_WAIT;
        self.stage = stage;
    }
}

fn response(text: &[u8]) -> Result<ResponseHead<'_>, String> {
    match decode_response(text) {
        Ok(Some((head, _))) => Ok(head),
        Ok(None) => Err("the head of the response is not complete".into()),
        Err(error) => Err(format!("the head of the response: {error}")),
    }
}

fn random_bytes(net: &mut MioNet) -> [u8; 16] {
    let mut bytes = [0; 16];
    for half in bytes.chunks_mut(8) {
        half.copy_from_slice(&net.random().to_ne_bytes());
    }
    bytes
}

/// What ended a connection, in words.
pub(super) fn ending(error: Option<&io::Error>) -> String {
    error.map_or_else(|| "the connection was closed".into(), io::Error::to_string)
}
