//! The conversation with one server: from OPTIONS to TEARDOWN (RFC 2326 §10, appendix A; RTSP spec §7 to §23).
//!
//! ```text
//!            open                    connected           2xx             2xx, no sockets yet
//!    New ──────────▶ Connecting ───────────▶ OPTIONS ──────────▶ DESCRIBE ──────────▶ OpeningSockets
//!                        ▲                      │  ▲ answer          │   2xx                │ sockets_opened
//!                        │ 3xx, REDIRECT        ▼  │ or no answer    ▼                      ▼
//!                        │                  AwaitingStun            SETUP ◀─────────────────┘
//!                        │ (from any state with a connection)        │ 2xx (461: SETUP again)
//!                        └─────────────────────────────────────┐     ▼        2xx
//!                                                              ├─── PLAY ───────────▶ Playing
//!     close while SETUP is under way ──▶ Leaving ─┐            │     │ close, failure     │
//!                                          answer │            └─────│────────────────────┤
//!                                                 ▼                  ▼                    │
//!                             Reconnecting ◀── TearingDown ◀──────────────────────────────┘
//!                               once, if the        │ answer, 3 s
//!                               connection broke    ▼
//!                                                  Done ◀── from anywhere without a session at the server
//! ```
//!
//! At most one request is outstanding, except that TEARDOWN does not wait. A 401 repeats the request; a server that
//! closes the connection behind it is connected to again and asked from OPTIONS on.

mod media;
mod messages;
mod requests;

use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use log::{debug, trace};

use super::super::rtp::Rtp;
use super::super::url::Host;
use super::auth::Answerer;
use super::error::{ConnectError, Error};
use super::interleaved::{Channels, PAYLOAD_BYTES_MAX, Piece, Slice, Splitter};
use super::message::{Method, Value};
use super::metadata::{MediaTransport, Metadata, Payload};
use super::rtcp::Reception;
use super::stun::{Mapped, Transaction};
use super::transport::{Choice, Offer, UdpServer};
use super::traversal::Sender;
use super::url::{RequestUrl, Url};
use super::{Purpose, Request};

/// A request must be written and answered in this time (RTSP spec §1).
pub const REPLY_WAIT: Duration = Duration::from_secs(3);
/// Everything up to a connection: name, candidates, TLS. Chosen: a look-up and three addresses of 3 s each.
pub const CONNECT_WAIT: Duration = Duration::from_secs(15);
/// The one attempt to connect again for TEARDOWN.
pub const RECONNECT_WAIT: Duration = Duration::from_secs(3);
/// First media after PLAY was answered.
pub const MEDIA_WAIT: Duration = Duration::from_secs(3);
/// Longest silence once there was media. Chosen: recordings have holes, and a player waits about as long.
pub const STALL_WAIT: Duration = Duration::from_secs(15);
/// Once the sender has said goodbye (RTCP BYE), silence of this length is the end: datagrams may be late, and some
/// servers only change their source. Chosen: longer than either takes, and short at the end of a recording.
pub const GOODBYE_WAIT: Duration = Duration::from_secs(1);
/// Most bytes of media kept that come before the answer to PLAY. Chosen: some servers send the two from different
/// threads, so that a few packets overtake it.
pub const EARLY_BYTES_MAX: usize = 64 << 10;

const _: () = assert!(
    PAYLOAD_BYTES_MAX <= EARLY_BYTES_MAX,
    "any frame can be kept"
);

/// Longest time between keep-alives; a server with a short session timeout gets them at half of that.
pub const KEEP_ALIVE_MAX: Duration = Duration::from_secs(30);
/// Shortest time between keep-alives, for servers that announce nonsense.
pub const KEEP_ALIVE_MIN: Duration = Duration::from_secs(1);
/// After this long, an unanswered keep-alive is forgotten. Many servers never answer one.
pub const KEEP_ALIVE_WAIT: Duration = Duration::from_secs(10);
/// Between receiver reports (RFC 3550 §6.2).
pub const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// Between STUN requests.
pub const STUN_WAIT: Duration = Duration::from_secs(1);
/// STUN requests before going on without.
pub const STUN_ATTEMPTS: u8 = 3;
/// Connections made anew per session because the server closed one behind a challenge. Chosen: for OPTIONS, and for
/// DESCRIBE with another challenge.
pub const RECONNECTIONS_MAX: u8 = 2;
/// Redirects followed per session.
pub const REDIRECTS_MAX: usize = 5;

/// One of the two sockets for datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UdpSocket {
    /// The one on the even port.
    Rtp,
    /// The one on the port above.
    Rtcp,
}

/// What the session wants done, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Close the control connection if there is one, after a last attempt to write what is queued, and make
    /// one to this host. Answer with [`Session::connected`] or [`Session::connect_failed`].
    Connect {
        /// To be resolved.
        host: Host,
        /// Port.
        port: u16,
        /// Whether to speak TLS.
        tls: bool,
    },
    /// Write these bytes to the control connection, behind those before.
    Send(Vec<u8>),
    /// Bind a pair of UDP sockets to `address`, trying [`port_pairs`](super::transport::port_pairs) of `random` in
    /// turn. Answer with [`Session::sockets_opened`].
    OpenSockets {
        /// An address of this host, or the wildcard.
        address: IpAddr,
        /// Where to begin.
        random: u64,
    },
    /// Close the pair.
    CloseSockets,
    /// Send a datagram, or drop it if that is not possible at once.
    SendDatagram {
        /// From which socket.
        socket: UdpSocket,
        /// To whom; a name is to be resolved, to the family of the socket.
        host: Host,
        /// Port.
        port: u16,
        /// What.
        bytes: Vec<u8>,
    },
    /// Media begins: what is known of it. Once, before the first of it.
    Playing(Metadata),
    /// The next bytes of the stream, in order and complete.
    Media(Slice),
    /// An RTP packet from the datagram just given, to be put in order; the payload is a range of it.
    Packet(Rtp),
    /// What a [`Purpose::Probe`] was to find.
    Described(Metadata),
    /// What a [`Purpose::Duration`] was to find.
    Duration(Duration),
    /// The media is over: send what is queued to the client.
    End,
    /// There is no media, or no more of it.
    Failed(Error),
    /// Nothing more will come: close all sockets.
    Done,
}

/// Where the session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    Connecting,
    /// A request of the handshake is outstanding.
    Asking(Step),
    /// OPTIONS is answered, STUN is not: DESCRIBE names the address that STUN finds.
    AwaitingStun,
    OpeningSockets,
    Playing,
    /// The client has left while SETUP was under way.
    Leaving,
    Reconnecting,
    TearingDown {
        reconnected: bool,
    },
    Done,
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Options,
    Describe,
    Setup,
    Play,
    KeepAlive,
    Teardown,
}

/// The outstanding request.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    step: Step,
    method: Method,
    cseq: u32,
    /// How often it has been repeated with an answer to a challenge.
    answers: u8,
}

/// The pair of UDP sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sockets {
    None,
    Opening {
        local: IpAddr,
    },
    Open {
        rtp_port: u16,
        local: IpAddr,
    },
    /// They could not be opened; this is not tried again.
    Unavailable,
}

/// The look at our UDP port from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stun {
    NotAsked,
    Asking {
        transaction: Transaction,
        attempts: u8,
    },
    Answered(Mapped),
    Unknown,
}

/// What is known of the server, all of it forgotten by a redirect.
#[derive(Debug)]
struct Server {
    /// Value of `Session`.
    id: Option<Value>,
    /// Timeout it announced.
    timeout: Option<Duration>,
    /// Where SETUP goes, if not to the request URL.
    control: Option<RequestUrl>,
    offer: Offer,
    choice: Option<Choice>,
    /// Whether it sent a `Transport`; without one there are no keep-alives.
    names_transport: bool,
    keep_alive: Method,
    answerer: Option<Answerer>,
    metadata: Metadata,
    /// What it says to play instead of MPEG-TS.
    encoding: Option<&'static str>,
    sender: Sender,
    /// Media that came before PLAY was answered, at most [`EARLY_BYTES_MAX`].
    early: Vec<u8>,
    /// What `early` is, if that is known.
    early_payload: Option<Payload>,
    /// Who sends the media, as its last packet said.
    source: Option<u32>,
    /// Whether that source has said goodbye.
    said_goodbye: bool,
    reception: Option<Reception>,
}

impl Server {
    fn unknown() -> Self {
        Self {
            id: None,
            timeout: None,
            control: None,
            offer: Offer::All,
            choice: None,
            names_transport: false,
            keep_alive: Method::GetParameter,
            answerer: None,
            metadata: Metadata::default(),
            encoding: None,
            sender: Sender::default(),
            early: Vec::new(),
            early_payload: None,
            source: None,
            said_goodbye: false,
            reception: None,
        }
    }

    fn channels(&self) -> Channels {
        match self.choice {
            Some(Choice::Interleaved(channels)) => channels,
            _ => Channels::default(),
        }
    }

    fn udp(&self) -> Option<&UdpServer> {
        match &self.choice {
            Some(Choice::Udp(server)) => Some(server),
            _ => None,
        }
    }
}

/// The times of a session; what is due and passed is taken before anything else is done.
#[derive(Clone, Copy, Debug, Default)]
struct Timers {
    /// Connection, answer, sockets: whatever the state waits for.
    wait: Option<Instant>,
    /// Media must have come.
    media: Option<Instant>,
    keep_alive: Option<Instant>,
    report: Option<Instant>,
    stun: Option<Instant>,
}

/// Takes a time that has come.
fn due(timer: &mut Option<Instant>, now: Instant) -> bool {
    timer.take_if(|at| *at <= now).is_some()
}

/// An RTSP client session; see the module above for its life.
#[derive(Debug)]
pub struct Session {
    request: Request,
    /// Where we are; another than the request's after a redirect.
    url: Url,
    /// Request URLs that redirected.
    visited: Vec<RequestUrl>,
    random: u64,
    state: State,
    splitter: Splitter,
    timers: Timers,
    /// Since when, or up to when accounted for, reading is paused.
    paused: Option<Instant>,
    /// Number of the last request.
    cseq: u32,
    awaited: Option<Awaited>,
    /// From this number on, requests were given up; their answers are late.
    given_up: Option<u32>,
    /// Ends of the control connection, while there is one.
    ends: Option<(SocketAddr, SocketAddr)>,
    sockets: Sockets,
    stun: Stun,
    server: Server,
    /// How often a connection was made in place of one that the server closed behind a challenge.
    reconnections: u8,
    /// Whether `Playing` was said.
    announced: bool,
    /// Whether the client was told the end: `End`, `Failed`, `Described`, `Duration`.
    concluded: bool,
}

impl Session {
    /// A session that has not begun; `seed` is to be random.
    pub fn new(request: Request, seed: u64) -> Self {
        Self {
            url: request.url.clone(),
            request,
            visited: Vec::new(),
            random: seed,
            state: State::New,
            splitter: Splitter::default(),
            timers: Timers::default(),
            paused: None,
            cseq: 0,
            awaited: None,
            given_up: None,
            ends: None,
            sockets: Sockets::None,
            stun: Stun::NotAsked,
            server: Server::unknown(),
            reconnections: 0,
            announced: false,
            concluded: false,
        }
    }

    /// Begins; once.
    pub fn open(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.state == State::New {
            self.connect(now, actions);
        }
    }

    /// The connection is made, TLS included.
    pub fn connected(
        &mut self,
        now: Instant,
        local: SocketAddr,
        peer: SocketAddr,
        actions: &mut Vec<Action>,
    ) {
        match self.state {
            State::Connecting => {}
            State::Reconnecting => {
                self.ends = Some((local, peer));
                return self.tear_down(now, true, actions);
            }
            _ => return,
        }
        // Where this host is reached may differ by server.
        let keeps_sockets = match self.sockets {
            Sockets::Opening { local: old } | Sockets::Open { local: old, .. } => old == local.ip(),
            Sockets::None | Sockets::Unavailable => true,
        };
        if !keeps_sockets {
            self.close_sockets(actions);
            self.stun = Stun::NotAsked;
        }
        self.ends = Some((local, peer));
        if self.endpoint().is_some_and(|ends| ends.address().is_none()) {
            debug!("RTSP: IPv6 control connection, skipping ZTE NAT traversal");
        }
        let asks_stun = self.request.stun.is_some() && self.request.purpose == Purpose::Play;
        if asks_stun && self.stun == Stun::NotAsked && self.may_open_sockets() {
            self.open_sockets(actions);
        }
        self.ask(now, Step::Options, actions);
    }

    /// There is no connection.
    pub fn connect_failed(&mut self, now: Instant, error: ConnectError, actions: &mut Vec<Action>) {
        match self.state {
            State::Connecting => self.fail(now, error.into(), actions),
            State::Reconnecting => self.done(actions),
            _ => {}
        }
    }

    /// The sockets are open, RTP on this even port; or they could not be opened.
    pub fn sockets_opened(
        &mut self,
        now: Instant,
        rtp_port: Option<u16>,
        actions: &mut Vec<Action>,
    ) {
        let Sockets::Opening { local } = self.sockets else {
            return;
        };
        self.sockets = match rtp_port {
            Some(rtp_port) => Sockets::Open { rtp_port, local },
            None => Sockets::Unavailable,
        };
        let is_early = self.state == State::Asking(Step::Options);
        if rtp_port.is_some() && is_early && self.stun == Stun::NotAsked {
            let transaction = self.transaction();
            self.ask_stun(now, transaction, 1, actions);
        }
        if self.state == State::OpeningSockets {
            self.ask(now, Step::Setup, actions);
        }
    }

    /// The STUN server cannot be reached or has no address of our family.
    pub fn stun_failed(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if matches!(self.stun, Stun::Asking { .. }) {
            self.end_stun(now, Stun::Unknown, actions);
        }
    }

    /// Takes the next bytes of the control connection.
    pub fn receive(&mut self, now: Instant, bytes: &[u8], actions: &mut Vec<Action>) {
        self.settle_pause(now);
        self.splitter.begin();
        let mut at = 0;
        while self.reads() {
            let channels = self.server.channels();
            match self.splitter.next(bytes, &mut at, channels) {
                Ok(Some(Piece::Frame { channel, payload })) if channel == channels.media => {
                    self.receive_frame(now, bytes, payload, actions);
                }
                Ok(Some(Piece::Frame { channel, payload })) if channel == channels.control => {
                    self.receive_control(now, bytes, &payload);
                }
                Ok(Some(Piece::Frame { .. })) => {}
                Ok(Some(Piece::Message(slice))) => {
                    // Copied, since what it says changes the session; messages are rare.
                    let text = self.bytes(bytes, &slice).to_vec();
                    self.receive_message(now, &text, actions);
                }
                Ok(Some(Piece::Junk(bytes))) => trace!("RTSP: skipped {bytes} bytes"),
                Ok(None) => return,
                Err(error) => return self.fail_unheard(error.into(), actions),
            }
        }
    }

    /// What [`Buffer::Joined`](super::Buffer::Joined) refers to, until the next [`Session::receive`].
    pub fn joined(&self) -> &[u8] {
        self.splitter.joined()
    }

    /// Bytes kept of what is not whole yet, at most [`CARRY_BYTES_MAX`](super::interleaved::CARRY_BYTES_MAX), and of
    /// media that came early. The media of the next [`Session::receive`] is no longer than these and its input.
    pub fn carried_bytes(&self) -> usize {
        self.splitter.carried_bytes() + self.server.early.len()
    }

    /// The server has closed its side. What arrived before, on every socket, was given before.
    pub fn finish(&mut self, now: Instant, actions: &mut Vec<Action>) {
        match self.state {
            State::New | State::Connecting | State::Reconnecting | State::Done => {}
            State::Leaving | State::TearingDown { .. } => self.done(actions),
            _ if self.was_challenged() => self.connect_again(now, actions),
            _ => {
                self.conclude_end(actions);
                self.done(actions);
            }
        }
    }

    /// The control connection is broken: reading or writing failed.
    pub fn broken(&mut self, now: Instant, actions: &mut Vec<Action>) {
        match self.state {
            State::TearingDown { reconnected: false } => {
                self.ends = None;
                self.give_up();
                self.splitter.reset();
                self.state = State::Reconnecting;
                self.timers.wait = Some(now + RECONNECT_WAIT);
                actions.push(self.connect_action());
            }
            _ => self.finish(now, actions),
        }
    }

    /// Reading the control connection stops or goes on. Meanwhile answers and media cannot come, so the times
    /// for them stand still; keep-alives are sent all the same.
    pub fn set_paused(&mut self, now: Instant, paused: bool) {
        self.settle_pause(now);
        self.paused = paused.then_some(now);
    }

    /// When [`Session::expire`] is to be called.
    pub fn deadline(&self) -> Option<Instant> {
        let Timers {
            wait,
            media,
            keep_alive,
            report,
            stun,
        } = self.timers;
        let awake = !self.is_suspended();
        let times = [
            wait.filter(|_| awake),
            media.filter(|_| awake),
            keep_alive,
            report,
            stun,
        ];
        times.into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn expire(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.settle_pause(now);
        if due(&mut self.timers.stun, now) {
            self.expire_stun(now, actions);
        }
        if !self.is_suspended() && due(&mut self.timers.wait, now) {
            self.expire_wait(now, actions);
        }
        if !self.is_suspended() && due(&mut self.timers.media, now) {
            self.expire_media(now, actions);
        }
        if due(&mut self.timers.keep_alive, now) {
            self.timers.keep_alive = Some(now + self.keep_alive_interval());
            self.send(now, Step::KeepAlive, 0, actions);
            self.probe(actions);
        }
        if due(&mut self.timers.report, now) {
            self.timers.report = Some(now + REPORT_INTERVAL);
            self.report(now, actions);
        }
    }

    /// The client is gone, or the program stops: ends the session at the server, and then says `Done`.
    pub fn close(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.concluded = true;
        self.leave(now, actions);
    }

    /// By what media comes, once PLAY is answered.
    pub fn media_expected(&self) -> Option<MediaTransport> {
        let choice = self.server.choice.as_ref()?;
        (self.state == State::Playing).then_some(match choice {
            Choice::Interleaved(_) => MediaTransport::Interleaved,
            Choice::Udp(_) => MediaTransport::Udp,
        })
    }

    /// Whether datagrams are to be read; before, they are to stay in the sockets, lest the first be lost.
    pub fn datagrams_wanted(&self) -> bool {
        matches!(self.stun, Stun::Asking { .. })
            || self.media_expected() == Some(MediaTransport::Udp)
    }

    /// Number of the state on the status page (RTSP spec §26).
    pub fn state_number(&self) -> u8 {
        match self.state {
            State::New => 7,
            State::Connecting => 8,
            State::Asking(Step::Options) | State::AwaitingStun => 11,
            State::Asking(Step::Describe) => 13,
            State::OpeningSockets => 14,
            State::Asking(Step::Setup) | State::Leaving => 16,
            State::Asking(_) => 19,
            State::Playing => 20,
            State::Reconnecting => 21,
            State::TearingDown { .. } => 23,
            State::Done => 24,
        }
    }

    fn expire_media(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let error = match self.announced {
            _ if self.server.said_goodbye => return self.end(now, actions),
            true => Error::Stalled { wait: STALL_WAIT },
            false => Error::NoMedia { wait: MEDIA_WAIT },
        };
        self.fail(now, error, actions);
    }

    /// The server has ended the media; its session may still be there.
    fn end(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.conclude_end(actions);
        self.leave(now, actions);
    }

    fn conclude_end(&mut self, actions: &mut Vec<Action>) {
        let conclusion = if self.announced {
            Action::End
        } else {
            Action::Failed(Error::Closed)
        };
        self.conclude(conclusion, actions);
    }

    fn fail(&mut self, now: Instant, error: Error, actions: &mut Vec<Action>) {
        self.conclude(Action::Failed(error), actions);
        match self.state {
            // What cannot be set up, or is not known by name, cannot be torn down.
            State::Asking(Step::Setup) | State::Leaving => self.done(actions),
            _ => self.leave(now, actions),
        }
    }

    /// As [`Session::fail`], when nothing that the server says can be understood any more.
    fn fail_unheard(&mut self, error: Error, actions: &mut Vec<Action>) {
        self.conclude(Action::Failed(error), actions);
        self.done(actions);
    }

    fn conclude(&mut self, conclusion: Action, actions: &mut Vec<Action>) {
        if !mem::replace(&mut self.concluded, true) {
            actions.push(conclusion);
        }
    }

    /// Whether the server is likely to hold a session for us, and can be told to end it.
    fn has_session(&self) -> bool {
        matches!(self.state, State::Asking(Step::Play) | State::Playing)
    }

    fn leave(&mut self, now: Instant, actions: &mut Vec<Action>) {
        match self.state {
            State::Asking(Step::Setup) => {
                self.stop(actions);
                self.state = State::Leaving;
                self.timers.wait = Some(now + REPLY_WAIT);
            }
            _ if self.has_session() => {
                self.stop(actions);
                self.tear_down(now, false, actions);
            }
            State::Leaving | State::Reconnecting | State::TearingDown { .. } | State::Done => {}
            _ => self.done(actions),
        }
    }

    /// Nothing but answers is of interest from now on.
    fn stop(&mut self, actions: &mut Vec<Action>) {
        self.close_sockets(actions);
        self.timers = Timers::default();
        self.paused = None;
    }

    fn tear_down(&mut self, now: Instant, reconnected: bool, actions: &mut Vec<Action>) {
        self.state = State::TearingDown { reconnected };
        self.send(now, Step::Teardown, 0, actions);
        // A request that cannot be written will not be answered either.
        if self.awaited.is_none() {
            self.done(actions);
        }
    }

    fn done(&mut self, actions: &mut Vec<Action>) {
        if self.state == State::Done {
            return;
        }
        self.state = State::Done;
        self.timers = Timers::default();
        self.awaited = None;
        self.sockets = Sockets::None;
        self.stun = Stun::Unknown;
        actions.push(Action::Done);
    }

    fn is_suspended(&self) -> bool {
        self.paused.is_some() && matches!(self.state, State::Asking(_) | State::Playing)
    }

    /// Puts off what cannot happen while paused by the time paused so far.
    fn settle_pause(&mut self, now: Instant) {
        let suspended = self.is_suspended();
        let Some(since) = &mut self.paused else {
            return;
        };
        let pause = now.saturating_duration_since(*since);
        *since = now.max(*since);
        if suspended {
            for timer in [&mut self.timers.wait, &mut self.timers.media] {
                *timer = timer.map(|at| at + pause);
            }
        }
    }

    fn keep_alive_interval(&self) -> Duration {
        let half = self
            .server
            .timeout
            .map_or(KEEP_ALIVE_MAX, |timeout| timeout / 2);
        half.clamp(KEEP_ALIVE_MIN, KEEP_ALIVE_MAX)
    }

    fn transaction(&mut self) -> Transaction {
        let (first, second) = (self.random(), self.random());
        let mut transaction = [0; 12];
        for (byte, random) in transaction
            .iter_mut()
            .zip(first.to_be_bytes().into_iter().chain(second.to_be_bytes()))
        {
            *byte = random;
        }
        transaction
    }

    /// SplitMix64: well spread numbers from one seed, which is all the secrecy they need.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests;
