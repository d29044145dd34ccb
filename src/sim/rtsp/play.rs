//! One stream: how its server behaves, drawn beforehand, and what came of it.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::super::media::Rng;
use super::guard::Guard;

/// Ports of control connections begin here; that of a stream is its number above.
const CONTROL_PORT: u16 = 2000;
/// Ports of media begin here; a stream has two.
const MEDIA_PORT: u16 = 20_000;

/// A part of the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Options,
    Describe,
    Setup,
    Play,
}

impl Step {
    pub(super) fn of(method: &str) -> Option<Self> {
        Some(match method {
            "OPTIONS" => Self::Options,
            "DESCRIBE" => Self::Describe,
            "SETUP" => Self::Setup,
            "PLAY" => Self::Play,
            _ => return None,
        })
    }
}

/// What keeps a stream from being played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    None,
    /// Nobody answers at the address, or says no.
    Unreachable {
        silent: bool,
    },
    /// A request is never answered.
    Mute(Step),
    /// It is refused for good.
    Refuses(Step, u16),
    /// What comes back is no RTSP.
    Garbage(Step),
    /// The connection ends instead of an answer.
    HangsUp(Step, bool),
}

/// How a stream ends at the server when all of it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finale {
    Closes,
    Resets,
    Announces,
    TearsDown,
    /// Nothing more comes, and the connection stays.
    Silence,
}

/// Which transports a server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transports {
    Tcp,
    Udp,
}

/// What becomes of keep-alives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answers {
    AtOnce,
    /// With a body, which stands between frames.
    Verbosely,
    /// After the session has stopped waiting.
    Late,
    Never,
    /// With a status that says they are not known.
    Unwillingly,
}

/// A stream and its server.
#[derive(Debug)]
pub(in crate::sim) struct Play {
    pub(super) number: usize,
    /// Where what it has sent is kept.
    pub(in crate::sim) channel: usize,
    pub(super) secure: bool,
    pub(super) transports: Transports,
    /// Lists of transports are understood.
    pub(super) takes_lists: bool,
    pub(super) guard: Guard,
    /// The client has been told the right password.
    pub(super) is_trusted: bool,
    /// Sends everybody to its second address at this step.
    pub(super) redirects: Option<Step>,
    /// Who may watch there, where nobody is known by what was said here …
    pub(super) second_guard: Guard,
    /// … unless the redirect itself says who may.
    pub(super) redirect_opens: bool,
    pub(super) trouble: Trouble,
    pub(super) finale: Finale,
    /// How fast the client wants it.
    pub(super) scale: Option<&'static str>,
    /// Seconds after which it forgets a session that is not kept alive, if it says so.
    pub(super) timeout: Option<u64>,
    pub(super) keep_alives: Answers,
    /// Longest time to an answer.
    pub(super) delay: Duration,
    /// Says what nobody needs, and asks what nobody has to know.
    pub(super) chatters: bool,
    pub(super) channels: (u8, u8),
    /// What a keep-alive may be late by: the request takes a while to be written and read.
    pub(super) slack: Duration,
    /// Packets of media, and the time between two.
    pub(super) packets: u64,
    pub(super) gap: Duration,
    pub(super) burst: usize,
    /// Bare TS instead of RTP.
    pub(super) bare: bool,
    /// Packets of many sizes, with CSRCs, extensions and padding.
    pub(super) mixed: bool,
    /// All packets are nearly as large as a frame can be, and larger than what is read at a time.
    pub(super) bulky: bool,
    pub(super) loss_percent: u64,
    pub(super) window_bytes: usize,
    /// Bytes put on the wire at a time.
    pub(super) bytes_at_a_time: usize,
    pub(super) log: Log,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Control connections that were made.
    pub(super) connections: u32,
    /// SETUP was accepted: there is a session.
    pub(super) has_session: bool,
    /// The station that has told the router the session's name.
    pub(super) known_at: Option<u8>,
    /// It was ended by the router …
    pub(super) torn_down: bool,
    /// … or by the server.
    pub(super) over: bool,
    /// All media was sent, and an orderly end behind it, or nothing more.
    pub(super) complete: bool,
    /// Whether media had reached the router when the server has reset the connection; unknown behind TLS.
    pub(super) heard: Option<bool>,
    /// A datagram did not fit into the socket.
    pub(super) overflowed: bool,
    /// Requests of the server, and answers to them.
    pub(super) asked: u32,
    pub(super) answered: u32,
    /// How many were not answered when the router has ended the session.
    pub(super) unanswered: u32,
    /// Datagrams that were to open the way for media, and receiver reports.
    pub(super) punches: u32,
    pub(super) reports: u32,
    /// Number of the last request.
    pub(super) cseq: u32,
    /// When the session was last kept alive, or begun.
    pub(super) alive_at: Option<Instant>,
}

impl Play {
    /// Longest time between two packets while it plays.
    pub(in crate::sim) fn longest_gap(&self) -> Duration {
        self.gap * self.burst as u32
    }

    /// Bytes of requests that its sockets hold.
    pub(in crate::sim) fn window_bytes(&self) -> usize {
        self.window_bytes
    }

    /// Where the control connection leads; the second station is where the first one redirects to.
    pub(super) fn address(&self, station: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 2, station], CONTROL_PORT + self.number as u16))
    }

    /// Which stream an address belongs to, and which of its stations; `None` if it is somebody else's.
    pub(in crate::sim) fn at(address: SocketAddr) -> Option<(usize, u8)> {
        match address.ip() {
            IpAddr::V4(ip) if ip.octets()[..3] == [10, 0, 2] => {
                let number = address.port().checked_sub(CONTROL_PORT)?;
                Some((number.into(), ip.octets()[3]))
            }
            _ => None,
        }
    }

    /// The stream whose media port this is, and whether it is the one for RTCP.
    pub(in crate::sim) fn at_media(address: SocketAddr) -> Option<(usize, bool)> {
        let above = address.port().checked_sub(MEDIA_PORT)?;
        Some((usize::from(above / 2), above % 2 == 1))
    }

    /// The port that media comes from.
    pub(super) fn media_port(&self) -> u16 {
        MEDIA_PORT + 2 * self.number as u16
    }

    /// The URL as the server at `station` calls it.
    pub(super) fn url(&self, station: u8) -> String {
        let scheme = if self.secure { "rtsps" } else { "rtsp" };
        format!("{scheme}://{}/live/{}", self.address(station), self.number)
    }

    /// Where the first station sends everybody.
    pub(super) fn location(&self) -> String {
        let url = self.url(2);
        match self.redirect_opens {
            true => url.replacen("://", "://user:pass%20word@", 1),
            false => url,
        }
    }

    /// What a client asks for.
    pub(super) fn path(&self) -> String {
        let scheme = if self.secure { "rtsps" } else { "rtsp" };
        let credentials = match (&self.guard, self.is_trusted) {
            (Guard::None, _) => "",
            (_, true) => "user:pass%20word@",
            (_, false) => "user:wrong@",
        };
        let scale = self.scale.map(|scale| format!("&r2h-scale={scale}"));
        format!(
            "/{scheme}/{credentials}{}/live/{}?snapshot=1{}",
            self.address(1),
            self.number,
            scale.unwrap_or_default()
        )
    }

    /// Whether no media can ever come.
    pub(super) fn fails(&self) -> bool {
        // Whoever is sent elsewhere at once meets no guard here.
        let is_guarded = self.guard != Guard::None && self.redirects != Some(Step::Options);
        let is_guarded_there = self.redirects.is_some() && self.second_guard != Guard::None;
        let locked = (is_guarded && !self.is_trusted) || (is_guarded_there && !self.redirect_opens);
        // A server that does not know OPTIONS may know the rest.
        let harmless = matches!(
            self.trouble,
            Trouble::None | Trouble::Refuses(Step::Options, 405 | 501)
        );
        locked || !harmless
    }

    /// The longest time that may pass between two keep-alives.
    pub(super) fn patience(&self) -> Duration {
        let half = Duration::from_secs(self.timeout.unwrap_or(60)) / 2;
        half.clamp(Duration::from_secs(1), Duration::from_secs(30))
    }

    /// The session is kept alive now; panics if that comes too late.
    pub(super) fn keep_alive(&mut self, now: Instant) {
        if let Some(before) = self.log.alive_at.replace(now) {
            let silent = now - before;
            assert!(
                silent <= self.patience() + self.slack,
                "stream {} was not kept alive for {silent:?}: {self:?}",
                self.number
            );
        }
    }

    /// As [`Play::keep_alive`], at the end of the session.
    pub(super) fn end(&mut self, now: Instant) {
        if self.log.alive_at.is_some() {
            self.keep_alive(now);
            self.log.alive_at = None;
        }
    }

    /// The router has sent a datagram to a media port.
    pub(in crate::sim) fn note_datagram(&mut self, is_control: bool, bytes: &[u8]) -> &'static str {
        let is_report = is_control && bytes.len() > 8;
        if is_report {
            assert!(
                bytes[0] >> 6 == 2 && matches!(bytes[1], 200..=204),
                "no RTCP"
            );
            self.log.reports += 1;
            return "receiver report";
        }
        if !is_control {
            let is_zte = bytes.len() == 84 && bytes.starts_with(b"ZXV10STB");
            assert!(is_zte, "{} bytes open the way for media", bytes.len());
        }
        self.log.punches += 1;
        "way opened"
    }

    /// Its media comes in datagrams.
    pub(in crate::sim) fn is_live(&self) -> bool {
        self.transports == Transports::Udp
    }

    /// None of its datagrams is lost.
    pub(in crate::sim) fn has_no_holes(&self) -> bool {
        self.loss_percent == 0 && !self.log.overflowed
    }

    pub(super) fn draw_delay(&self, rng: &mut Rng) -> Duration {
        rng.micros(0, self.delay.as_micros() as u64)
    }
}
