//! Scripted conversations: what is sent, in order and to the byte, and what the client is told.
#![allow(clippy::disallowed_methods, reason = "any instant will do")]

mod authentication;
mod ending;
mod handshake;
mod hostile;
mod keep_alive;
mod media;
mod pause;
mod redirect;
mod udp;

use proptest::prelude::*;

use super::super::super::rtp;
use super::super::auth;
use super::super::interleaved::Buffer;
use super::super::stun;
use super::*;

const AGENT: &str = "flowgate/1";
const LOCAL: &str = "192.0.2.2:50972";
const PEER: &str = "192.0.2.1:8554";
const URL: &str = "rtsp://192.0.2.1:8554/live/ch1";
const TCP: &str = "Session: abc;timeout=60\r\nTransport: MP2T/RTP/TCP;unicast;interleaved=0-1\r\n";
const UDP: &str = "Session: abc\r\n\
    Transport: MP2T/RTP/UDP;unicast;client_port=10000-10001;server_port=6970-6971\r\n";

/// A session, its clock and a server that answers the last request.
struct Talk {
    session: Session,
    now: Instant,
    /// Everything sent.
    sent: Vec<String>,
}

impl Talk {
    fn with(request: Request) -> Self {
        Self {
            session: Session::new(request, 7),
            now: Instant::now(),
            sent: Vec::new(),
        }
    }

    /// Connected over IPv4, OPTIONS under way; UDP is not offered.
    fn to(url: &str) -> Self {
        let mut request = Request::new(url, AGENT).unwrap();
        request.udp = false;
        let mut talk = Self::with(request);
        talk.connect();
        talk
    }

    /// As [`Talk::to`], with UDP sockets on port 10000.
    fn to_udp(url: &str) -> Self {
        let mut talk = Self::with(Request::new(url, AGENT).unwrap());
        talk.connect();
        talk
    }

    /// Playing.
    fn playing(transport: &str) -> Self {
        let mut talk = Self::to_udp(URL);
        for headers in ["Public: GET_PARAMETER\r\n", "", transport, ""] {
            talk.answer(200, headers);
        }
        assert_eq!(talk.session.state, State::Playing);
        talk
    }

    fn connect(&mut self) -> Vec<String> {
        let (local, peer) = (LOCAL.parse().unwrap(), PEER.parse().unwrap());
        let opened = self.call(|session, now, actions| session.open(now, actions));
        let connected = self.call(|session, now, actions| {
            session.connected(now, local, peer, actions);
        });
        [opened, connected].concat()
    }

    /// Calls the session as a shell would, sockets included, and says what it wants.
    fn call(&mut self, call: impl FnOnce(&mut Session, Instant, &mut Vec<Action>)) -> Vec<String> {
        self.call_with(b"", call)
    }

    fn call_with(
        &mut self,
        input: &[u8],
        call: impl FnOnce(&mut Session, Instant, &mut Vec<Action>),
    ) -> Vec<String> {
        let mut actions = Vec::new();
        call(&mut self.session, self.now, &mut actions);
        if actions
            .iter()
            .any(|action| matches!(action, Action::OpenSockets { .. }))
        {
            let session = &mut self.session;
            session.sockets_opened(self.now, Some(10_000), &mut actions);
        }
        let said: Vec<String> = actions
            .iter()
            .map(|action| say(action, input, &self.session))
            .collect();
        let sent = said.iter().filter_map(|text| text.strip_prefix("send "));
        self.sent.extend(sent.map(str::to_owned));
        if self.deadline_is_due() {
            panic!("{:?} has no deadline", self.session.state);
        }
        said
    }

    /// Whether something is waited for without end.
    fn deadline_is_due(&self) -> bool {
        let is_idle = matches!(self.session.state, State::New | State::Done);
        self.session.deadline().is_none() && !is_idle && self.session.paused.is_none()
    }

    fn receive(&mut self, bytes: impl AsRef<[u8]>) -> Vec<String> {
        let bytes = bytes.as_ref();
        self.call_with(bytes, |session, now, actions| {
            session.receive(now, bytes, actions);
        })
    }

    /// The server's answer to the last request.
    fn answer(&mut self, status: u16, headers: &str) -> Vec<String> {
        let cseq = self.session.cseq;
        self.receive(format!(
            "RTSP/1.0 {status} X\r\nCSeq: {cseq}\r\n{headers}\r\n"
        ))
    }

    fn answer_with_body(&mut self, headers: &str, body: &str) -> Vec<String> {
        let (cseq, length) = (self.session.cseq, body.len());
        self.receive(format!(
            "RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        ))
    }

    fn datagram(&mut self, socket: UdpSocket, from: &str, bytes: &[u8]) -> Vec<String> {
        let from = from.parse().unwrap();
        self.call_with(bytes, |session, now, actions| {
            session.datagram(now, socket, from, bytes, actions);
        })
    }

    fn close(&mut self) -> Vec<String> {
        self.call(|session, now, actions| session.close(now, actions))
    }

    fn finish(&mut self) -> Vec<String> {
        self.call(|session, now, actions| session.finish(now, actions))
    }

    fn broken(&mut self) -> Vec<String> {
        self.call(|session, now, actions| session.broken(now, actions))
    }

    fn pause(&mut self, paused: bool) {
        self.session.set_paused(self.now, paused);
    }

    /// Lets time pass, calling at every deadline on the way.
    fn wait(&mut self, time: Duration) -> Vec<String> {
        let end = self.now + time;
        let mut said = Vec::new();
        while let Some(deadline) = self.session.deadline().filter(|at| *at <= end) {
            assert!(deadline >= self.now, "a deadline has passed unnoticed");
            self.now = deadline;
            said.extend(self.call(|session, now, actions| session.expire(now, actions)));
            assert!(
                self.session.deadline().is_none_or(|at| at > self.now),
                "what was due is still due"
            );
        }
        self.now = end;
        said
    }

    /// Header lines of the last request.
    fn last(&self) -> &str {
        self.sent.last().map_or("", |text| text)
    }
}

fn say(action: &Action, input: &[u8], session: &Session) -> String {
    match action {
        Action::Connect { host, port, tls } => {
            format!("connect {host}:{port}{}", if *tls { " tls" } else { "" })
        }
        Action::Send(bytes) => format!("send {}", String::from_utf8_lossy(bytes)),
        Action::OpenSockets { address, .. } => format!("open sockets {address}"),
        Action::CloseSockets => "close sockets".into(),
        Action::SendDatagram {
            socket,
            host,
            port,
            bytes,
        } => format!("{socket:?} {host}:{port} {} bytes", bytes.len()),
        Action::Playing(metadata) => {
            let headers = metadata.headers();
            let values: Vec<&str> = headers.iter().map(|(_, value)| value.as_str()).collect();
            format!("playing {}", values.join(" "))
        }
        Action::Media(slice) => {
            let bytes = session.bytes(input, slice);
            format!("media {}", bytes.len())
        }
        Action::Packet(rtp) => format!("packet {}", rtp.sequence),
        Action::Described(metadata) => format!("described {:?}", metadata.payload),
        Action::Duration(duration) => format!("duration {duration:?}"),
        Action::End => "end".into(),
        Action::Failed(error) => {
            assert!(!error.to_string().is_empty());
            format!("failed {} {error}", error.status())
        }
        Action::Done => "done".into(),
    }
}

/// One TS packet in RTP.
fn rtp_packet(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 33];
    packet.extend(sequence.to_be_bytes());
    packet.extend([0, 0, 0, 1, 0, 0, 0, 9]);
    packet.extend(ts(1));
    packet
}

fn ts(packets: usize) -> Vec<u8> {
    let mut packet = [0; 188];
    packet[0] = 0x47;
    packet.repeat(packets)
}

fn frame(channel: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[b'$', channel][..], &length, payload].concat()
}

const SECOND: Duration = Duration::from_secs(1);
