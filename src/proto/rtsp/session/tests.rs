//! Scripted conversations: what is sent, in order and to the byte, and what the client is told.
#![allow(clippy::disallowed_methods, reason = "any instant will do")]

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

#[test]
fn handshake_is_exact_to_the_byte() {
    let mut talk = Talk::with(Request::new(URL, AGENT).unwrap());
    talk.session
        .request
        .play_from(Some("clock=20250310T113000Z-"), Some("5"))
        .unwrap();
    let request = |method: &str, cseq: u32, rest: &str| {
        format!(
            "send {method} {URL} RTSP/1.0\r\nCSeq: {cseq}\r\nUser-Agent: flowgate/1\r\n{rest}\r\n"
        )
    };
    let nat = "x-NAT: 192.0.2.2:50972\r\n";
    assert_eq!(
        talk.connect(),
        ["connect 192.0.2.1:8554", &request("OPTIONS", 1, "")]
    );
    assert_eq!(
        talk.answer(200, "Public: DESCRIBE\r\n"),
        [request(
            "DESCRIBE",
            2,
            &format!("Accept: application/sdp\r\n{nat}")
        )]
    );
    let ports = "client_address=192.0.2.2;client_port=10000-10001;mode=PLAY";
    let offer = format!(
        "Transport: MP2T/RTP/TCP;unicast;interleaved=0-1,MP2T/TCP;unicast;interleaved=0-1,\
         RTP/AVP/TCP;unicast;interleaved=0-1,MP2T/RTP/UDP;unicast;{ports},\
         MP2T/UDP;unicast;{ports},RTP/AVP;unicast;{ports}\r\n{nat}"
    );
    assert_eq!(
        talk.answer(200, "Session: early\r\n"),
        [
            "open sockets 192.0.2.2",
            &request("SETUP", 3, &format!("Session: early\r\n{offer}"))
        ]
    );
    assert_eq!(
        talk.answer(200, TCP),
        [
            "close sockets",
            &request(
                "PLAY",
                4,
                "Session: abc\r\nRange: clock=20250310T113000Z-\r\n"
            )
        ]
    );
    assert_eq!(talk.session.media_expected(), None);
    assert_eq!(talk.answer(200, ""), [""; 0]);
    assert_eq!(
        talk.session.media_expected(),
        Some(MediaTransport::Interleaved)
    );
    assert_eq!(
        talk.wait(29 * SECOND)[..1],
        ["failed 503 no media within 3s of PLAY"]
    );
    assert!(
        talk.last()
            .starts_with(&request("TEARDOWN", 5, "Session: abc\r\n")[5..])
    );
}

#[test]
fn control_url_is_used_for_setup_only() {
    for (headers, control, expected) in [
        ("", "trackID=2", "rtsp://192.0.2.1:8554/live/trackID=2"),
        ("Content-Base: rtsp://h/s.sdp/\r\n", "t", "rtsp://h/s.sdp/t"),
        (
            "Content-Location: /x/y\r\n",
            "t",
            "rtsp://192.0.2.1:8554/x/t",
        ),
        ("Content-Base: rtsp://h/s.sdp/\r\n", "*", URL),
        ("", "rtsp://h/a b", "rtsp://h/a%20b"),
    ] {
        let mut talk = Talk::to(URL);
        talk.answer(200, "");
        let body = format!("v=0\r\nm=video 0 RTP/AVP 33\r\na=control:{control}\r\n");
        talk.answer_with_body(headers, &body);
        assert!(
            talk.last()
                .starts_with(&format!("SETUP {expected} RTSP/1.0\r\n")),
            "{control}"
        );
        talk.answer(200, TCP);
        assert!(
            talk.last().starts_with(&format!("PLAY {URL} RTSP/1.0\r\n")),
            "{control}"
        );
    }
}

#[test]
fn interleaved_media_is_passed_on_in_order() {
    let mut talk = Talk::playing(TCP);
    let input = [
        frame(0, &rtp_packet(1)),
        frame(1, b"rtcp"),
        b"RTSP/1.0 200 OK\r\nCSeq: 99\r\n\r\n".to_vec(),
        frame(9, b"?"),
        frame(0, &ts(9)),
        frame(0, b"neither"),
        frame(0, &[]),
    ]
    .concat();
    let said = talk.receive(&input);
    let expected = [
        "playing rtsp tcp-interleaved mp2t-rtp",
        "media 188",
        "media 1692",
    ];
    assert_eq!(said, expected);
    // The longest frame there is.
    let mut long = rtp_packet(2);
    long.resize(65_535, 0x55);
    assert_eq!(talk.receive(frame(0, &long)), ["media 65523"]);
    // Fills the hole between two deadlines: no stall.
    assert_eq!(talk.wait(14 * SECOND), [""; 0]);
    assert_eq!(talk.receive(frame(0, &ts(1))), ["media 188"]);
    assert_eq!(talk.wait(14 * SECOND), [""; 0]);
    assert_eq!(
        talk.wait(2 * SECOND)[0].lines().next(),
        Some("failed 503 no media for 15s")
    );
}

#[test]
fn media_before_the_answer_to_play_is_kept_for_after_it() {
    let asked = || {
        let mut talk = Talk::to(URL);
        for headers in ["", "", TCP] {
            talk.answer(200, headers);
        }
        talk
    };
    let mut talk = asked();
    let early = [frame(0, &rtp_packet(1)), frame(1, b"rtcp"), frame(0, &[])].concat();
    for part in early.chunks(77) {
        assert_eq!(talk.receive(part), [""; 0]);
    }
    assert_eq!(talk.receive(frame(0, &ts(2))), [""; 0]);
    assert_eq!(talk.session.carried_bytes(), 3 * 188);
    let rest = frame(0, &rtp_packet(2));
    let answer = b"RTSP/1.0 200 OK\r\nScale: 1\r\n\r\n".to_vec();
    let said = talk.receive([answer, rest].concat());
    let playing = "playing rtsp tcp-interleaved mp2t-rtp 1";
    assert_eq!(said, [playing, "media 564", "media 188"]);
    assert_eq!(talk.session.carried_bytes(), 0);
    // It counts as the first media, too.
    let mut talk = asked();
    talk.receive(frame(0, &ts(1)));
    talk.answer(200, "");
    assert_eq!(talk.wait(14 * SECOND), [""; 0]);
    // A refusal is one all the same, and more than is kept is not kept.
    let mut talk = asked();
    for _ in 0..3 {
        talk.receive(frame(0, &ts(300)));
        assert!(talk.session.carried_bytes() <= EARLY_BYTES_MAX);
    }
    assert!(talk.answer(404, "")[0].starts_with("failed 503 "));
}

#[test]
fn metadata_is_what_the_server_says_and_media_shows() {
    let mut talk = Talk::to(URL);
    talk.answer(200, "");
    talk.answer_with_body("", "m=video 0 RTP/AVP 33\r\na=range:npt=10.25-40.5\r\n");
    talk.answer(200, TCP);
    talk.answer(200, "Scale: 1.500000\r\nRange: npt=10.25-40.5\r\n");
    assert_eq!(
        talk.receive(frame(0, &ts(1)))[0],
        "playing rtsp tcp-interleaved mp2t-direct 1.5 npt=10.25-40.5 30.25"
    );
    // No Transport: interleaved, but not said so, and no keep-alives.
    let mut talk = Talk::playing("Session: a\r\n");
    assert_eq!(
        talk.receive(frame(0, &rtp_packet(1)))[0],
        "playing rtsp mp2t-rtp"
    );
    assert_eq!(talk.session.timers.keep_alive, None);
}

#[test]
fn probe_and_duration_stop_after_describe() {
    let described = |purpose, body: &str| {
        let mut request = Request::new(URL, AGENT).unwrap();
        request.purpose = purpose;
        request.stun = Some((Host::Name("stun.example".into()), 3478));
        let mut talk = Talk::with(request);
        talk.connect();
        talk.answer(200, "");
        talk.answer_with_body("", body)
    };
    let body = "m=video 0 RTP/AVP 33\r\na=range:npt=10-40.5\r\n";
    assert_eq!(
        described(Purpose::Probe, body),
        ["described Some(Rtp)", "done"]
    );
    assert_eq!(described(Purpose::Probe, ""), ["described None", "done"]);
    assert_eq!(
        described(Purpose::Duration, body),
        ["duration 30.5s", "done"]
    );
    assert_eq!(
        described(Purpose::Duration, ""),
        ["failed 404 server names no end of the media", "done"]
    );
}

#[test]
fn every_step_has_its_own_time() {
    let methods = ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"];
    for (steps, method) in methods.into_iter().enumerate() {
        let mut talk = Talk::to(URL);
        for headers in ["", "", TCP].into_iter().take(steps) {
            assert_eq!(talk.wait(2 * SECOND), [""; 0]);
            talk.answer(200, headers);
        }
        let said = talk.wait(3 * SECOND);
        assert_eq!(
            said[0],
            format!("failed 503 no answer to {method} within 3s")
        );
        // Only what has been set up is torn down.
        assert_eq!(
            said[1].starts_with("send TEARDOWN"),
            method == "PLAY",
            "{said:?}"
        );
        talk.wait(3 * SECOND);
        assert_eq!(talk.session.state, State::Done);
    }
    let mut talk = Talk::with(Request::new(URL, AGENT).unwrap());
    talk.call(|session, now, actions| session.open(now, actions));
    assert_eq!(
        talk.wait(CONNECT_WAIT),
        ["failed 503 connecting to the server took too long", "done"]
    );
}

#[test]
fn connection_errors_are_reported() {
    for error in [
        ConnectError::Name,
        ConnectError::Refused,
        ConnectError::Timeout,
        ConnectError::Tls,
    ] {
        let mut talk = Talk::with(Request::new("rtsps://h/", AGENT).unwrap());
        let said = talk.call(|session, now, actions| session.open(now, actions));
        assert_eq!(said, ["connect h:322 tls"]);
        let said = talk.call(|session, now, actions| session.connect_failed(now, error, actions));
        assert_eq!(said, [format!("failed 503 {error}"), "done".into()]);
    }
}

#[test]
fn error_statuses_end_the_handshake() {
    for status in [400, 403, 404, 453, 454, 500, 503, 600] {
        let mut talk = Talk::to(URL);
        talk.answer(200, "");
        let said = talk.answer(status, "");
        let failed = format!("failed 503 server answered DESCRIBE with {status}");
        assert_eq!(said, [failed, "done".into()]);
    }
}

#[test]
fn server_without_options_may_still_describe() {
    for status in [405, 501, 551] {
        let mut talk = Talk::to(URL);
        talk.answer(status, "");
        assert!(talk.last().starts_with("DESCRIBE "), "{status}");
    }
}

#[test]
fn other_successes_and_preliminary_answers_are_understood() {
    let mut talk = Talk::to(URL);
    assert_eq!(talk.answer(100, ""), [""; 0]);
    talk.answer(201, "");
    assert!(talk.last().starts_with("DESCRIBE "));
    talk.answer(250, "");
    assert!(talk.last().starts_with("SETUP "));
}

#[test]
fn refused_transports_are_offered_one_by_one() {
    for status in [400, 406, 451, 461] {
        let mut talk = Talk::to_udp(URL);
        talk.answer(200, "");
        talk.answer(200, "");
        talk.answer(status, "");
        assert!(
            talk.last()
                .contains("\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n")
        );
        talk.answer(status, "");
        let udp = "\r\nTransport: RTP/AVP;unicast;client_port=10000-10001\r\n";
        assert!(talk.last().contains(udp), "{}", talk.last());
        assert_eq!(
            talk.answer(status, "")[0],
            format!("failed 503 server answered SETUP with {status}")
        );
    }
    let mut talk = Talk::to(URL);
    talk.answer(200, "");
    talk.answer(200, "");
    talk.answer(461, "");
    assert_eq!(
        talk.answer(461, "")[0],
        "failed 503 server answered SETUP with 461"
    );
}

#[test]
fn unusable_transport_ends_the_session_at_the_server() {
    for (header, expected) in [
        (
            "RTP/AVP;multicast",
            "server chose multicast, which was not offered",
        ),
        (
            "RTP/AVP;unicast",
            "server chose UDP, for which there are no sockets",
        ),
    ] {
        let mut talk = Talk::to(URL);
        talk.answer(200, "");
        talk.answer(200, "");
        let said = talk.answer(200, &format!("Session: a\r\nTransport: {header}\r\n"));
        assert_eq!(said[0], format!("failed 503 {expected}"));
        assert!(said[1].starts_with("send TEARDOWN "));
    }
}

#[test]
fn credentials_wait_for_a_challenge() {
    let mut talk = Talk::to("rtsp://user:p%40ss@192.0.2.1:8554/live/ch1");
    assert!(!talk.last().contains("Authorization"));
    talk.answer(401, "WWW-Authenticate: Basic realm=\"x\"\r\n");
    assert_eq!(
        talk.last(),
        format!(
            "OPTIONS {URL} RTSP/1.0\r\nCSeq: 2\r\nUser-Agent: flowgate/1\r\n\
             Authorization: Basic dXNlcjpwQHNz\r\n\r\n"
        )
    );
    talk.answer(200, "");
    assert!(
        talk.last()
            .contains("Authorization: Basic dXNlcjpwQHNz\r\nAccept:")
    );
}

#[test]
fn every_step_may_be_challenged() {
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n";
    for challenged in 0..4 {
        let mut talk = Talk::to("rtsp://u:p@192.0.2.1:8554/live/ch1");
        for (step, headers) in ["", "", TCP, ""].into_iter().enumerate() {
            if step == challenged {
                let method = talk.last().split(' ').next().unwrap().to_owned();
                talk.answer(401, challenge);
                assert!(talk.last().starts_with(&method));
                assert!(talk.last().contains("\", qop=auth, nc=00000001, cnonce=\""));
            }
            talk.answer(200, headers);
        }
        assert_eq!(talk.session.state, State::Playing);
    }
}

#[test]
fn stale_nonce_is_replaced_and_refusal_is_final() {
    let mut talk = Talk::to("rtsp://u:p@192.0.2.1:8554/live/ch1");
    talk.answer(200, "");
    talk.answer(401, "WWW-Authenticate: Digest nonce=\"one\"\r\n");
    assert!(talk.last().contains("nonce=\"one\""));
    talk.answer(
        401,
        "WWW-Authenticate: Digest nonce=\"two\", stale=true\r\n",
    );
    assert!(talk.last().contains("nonce=\"two\""));
    // The budget is that of one request.
    talk.answer(200, "");
    talk.answer(401, "WWW-Authenticate: Digest nonce=\"three\"\r\n");
    talk.answer(401, "WWW-Authenticate: Digest nonce=\"four\"\r\n");
    let said = talk.answer(401, "WWW-Authenticate: Digest nonce=\"five\"\r\n");
    assert_eq!(
        said,
        [
            "failed 503 server refused user and password 2 times",
            "done"
        ]
    );
}

#[test]
fn empty_password_is_a_password() {
    for url in [
        "rtsp://u@192.0.2.1:8554/live/ch1",
        "rtsp://u:@192.0.2.1:8554/live/ch1",
    ] {
        let mut talk = Talk::to(url);
        talk.answer(401, "WWW-Authenticate: Basic realm=\"r\"\r\n");
        let last = talk.last();
        assert!(last.contains("\r\nAuthorization: Basic dTo=\r\n"), "{last}");
        let mut talk = Talk::to(url);
        talk.answer(401, "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n");
        // Computed with md5sum.
        let response = "response=\"c939761b5c66e8c0bc226614c002eb25\"\r\n";
        assert!(talk.last().contains(response), "{}", talk.last());
        talk.answer(200, "");
        assert!(
            talk.last()
                .contains("\r\nAuthorization: Digest username=\"u\"")
        );
    }
}

#[test]
fn every_request_has_its_own_budget_of_answers() {
    let mut talk = Talk::to("rtsp://u:p@192.0.2.1:8554/live/ch1");
    let mut nonce = 0;
    let mut refuse = |talk: &mut Talk| {
        nonce += 1;
        talk.answer(
            401,
            &format!("WWW-Authenticate: Digest nonce=\"{nonce}\"\r\n"),
        );
        assert!(
            talk.last().contains(&format!("nonce=\"{nonce}\"")),
            "{}",
            talk.last()
        );
    };
    for headers in ["", "", TCP, ""] {
        for _ in 0..auth::ANSWERS_MAX {
            refuse(&mut talk);
        }
        talk.answer(200, headers);
    }
    assert_eq!(talk.session.state, State::Playing);
    for _ in 0..3 {
        for keep_alives in [0, 0, 1] {
            talk.receive(frame(0, &ts(1)));
            assert_eq!(talk.wait(KEEP_ALIVE_MAX / 3).len(), keep_alives);
        }
        for _ in 0..auth::ANSWERS_MAX {
            refuse(&mut talk);
        }
        // Beyond the budget a keep-alive is let be, and the stream goes on.
        assert_eq!(
            talk.answer(401, "WWW-Authenticate: Digest nonce=\"x\"\r\n"),
            [""; 0]
        );
    }
    assert!(talk.close()[0].starts_with("send TEARDOWN "));
    refuse(&mut talk);
    assert_eq!(talk.answer(200, ""), ["done"]);
}

#[test]
fn scale_is_asked_of_play_alone_and_what_comes_of_it_is_told() {
    for (start, lines) in [
        (None, "Scale: -4\r\n"),
        (Some("90"), "Range: npt=90-\r\nScale: -4\r\n"),
    ] {
        let mut request = Request::new(URL, AGENT).unwrap();
        request.udp = false;
        request.play_from(None, start).unwrap();
        request.play_at(Some("-4")).unwrap();
        let mut talk = Talk::with(request);
        talk.connect();
        for headers in ["", "", TCP] {
            talk.answer(200, headers);
        }
        assert_eq!(
            talk.last(),
            format!(
                "PLAY {URL} RTSP/1.0\r\nCSeq: 4\r\nUser-Agent: flowgate/1\r\nSession: abc\r\n{lines}\r\n"
            )
        );
        talk.answer(200, "Scale: -2.0\r\n");
        let said = talk.receive(frame(0, &ts(1)));
        assert_eq!(said[0], "playing rtsp tcp-interleaved mp2t-direct -2");
        talk.close();
        let with_scale = talk.sent.iter().filter(|request| request.contains("Scale"));
        assert_eq!(with_scale.count(), 1);
    }
}

/// Cameras do so.
#[test]
fn server_that_closes_behind_a_challenge_is_asked_again() {
    let challenge = "WWW-Authenticate: Digest nonce=\"n\"\r\n";
    for answered in 0..3 {
        let mut talk = Talk::to("rtsp://u:p@192.0.2.1:8554/live/ch1");
        for headers in ["", "", TCP].into_iter().take(answered) {
            talk.answer(200, headers);
        }
        talk.answer(401, challenge);
        let connects = ["connect 192.0.2.1:8554"];
        let said = if answered == 1 {
            talk.broken()
        } else {
            talk.finish()
        };
        assert_eq!(said, connects);
        talk.connect();
        assert!(talk.last().starts_with("OPTIONS "), "{}", talk.last());
        for headers in ["", "", TCP, ""] {
            assert!(talk.last().contains("\r\nAuthorization: Digest "));
            talk.answer(200, headers);
        }
        assert_eq!(talk.session.state, State::Playing);
    }
    let mut talk = Talk::to("rtsp://u:p@192.0.2.1:8554/live/ch1");
    for _ in 0..RECONNECTIONS_MAX {
        talk.answer(401, challenge);
        talk.finish();
        talk.connect();
    }
    talk.answer(401, challenge);
    assert_eq!(
        talk.finish()[0],
        "failed 503 server closed before any media"
    );
    // Without a challenge it is over at once.
    let mut talk = Talk::to("rtsp://u:p@192.0.2.1:8554/live/ch1");
    assert!(talk.finish()[0].starts_with("failed "));
}

#[test]
fn impossible_challenges_fail() {
    let first = |url: &str, status, headers: &str| Talk::to(url).answer(status, headers)[0].clone();
    let user = "rtsp://u:p@h/";
    assert!(first("rtsp://h/", 401, "WWW-Authenticate: Basic\r\n").contains("URL has no user"));
    assert!(first(user, 401, "WWW-Authenticate: Negotiate\r\n").contains("other than Basic"));
    // No challenge at all: servers that only know Basic.
    assert!(first(user, 401, "").contains("Authorization: Basic dTpw\r\n"));
    assert!(first(user, 403, "").contains("Authorization: Basic dTpw\r\n"));
    assert_eq!(
        first("rtsp://h/", 403, ""),
        "failed 503 server answered OPTIONS with 403"
    );
    // A server's challenge cannot start a header of its own.
    let tab = first(user, 401, "WWW-Authenticate: Digest nonce=\"a\tb\"\r\n");
    assert!(tab.starts_with("failed 503"), "{tab}");
}

#[test]
fn redirect_starts_over_elsewhere() {
    let mut talk = Talk::to("rtsp://u:p@192.0.2.1:8554/live/ch1");
    talk.answer(401, "WWW-Authenticate: Basic\r\n");
    talk.answer(200, "Session: old\r\n");
    let said = talk.answer(302, "Location: rtsp://h2:5554/x?a=1&r2h-start=7\r\n");
    assert_eq!(said, ["connect h2:5554"]);
    talk.connect();
    // The number goes on; session and credentials are of another host.
    assert_eq!(
        talk.last(),
        "OPTIONS rtsp://h2:5554/x?a=1 RTSP/1.0\r\nCSeq: 4\r\nUser-Agent: flowgate/1\r\n\r\n"
    );
    talk.answer(200, "");
    talk.answer(200, "");
    talk.answer(200, TCP);
    assert!(talk.last().contains("Range: npt=7-\r\n"));
    // Relative, and from PLAY: the session here is ended first. Same host, so we may say who we are.
    let said = talk.answer(301, "Location: /y\r\n");
    assert!(said[0].starts_with("send TEARDOWN rtsp://h2:5554/x?a=1 "));
    assert_eq!(said[1], "connect h2:5554");
}

#[test]
fn credentials_follow_to_the_same_host_only() {
    for (location, follow) in [
        ("rtsp://192.0.2.1/x", true),
        ("rtsp://192.0.2.9/x", false),
        ("rtsp://v:w@192.0.2.9/x", true),
    ] {
        let mut talk = Talk::to("rtsp://u:p@192.0.2.1:8554/live/ch1");
        talk.answer(302, &format!("Location: {location}\r\n"));
        talk.connect();
        let said = talk.answer(401, "WWW-Authenticate: Basic\r\n");
        assert_eq!(said[0].contains("Authorization: "), follow, "{location}");
    }
}

#[test]
fn bad_redirects_fail() {
    for (headers, expected) in [
        ("", "redirect without Location"),
        (
            "Location: http://h/\r\n",
            "redirect: RTSP URL does not start with rtsp:// or rtsps://",
        ),
        (
            "Location: rtsp://192.0.2.1:8554/live/ch1\r\n",
            "redirect to where we came from",
        ),
        ("Location: rtsp://h/?r2h-start=%0d%0aX\r\n", ""),
    ] {
        let said = Talk::to(URL).answer(302, headers);
        if expected.is_empty() {
            assert_eq!(
                said,
                ["connect h:554"],
                "a start that cannot be sent is none"
            );
        } else {
            assert_eq!(said[0], format!("failed 503 {expected}"));
        }
    }
    let mut talk = Talk::to(URL);
    for step in 0..REDIRECTS_MAX {
        assert_eq!(
            talk.answer(302, &format!("Location: rtsp://h/{step}\r\n"))
                .len(),
            1
        );
        talk.connect();
    }
    let said = talk.answer(302, "Location: rtsp://h/6\r\n");
    assert_eq!(said, ["failed 503 more than 5 redirects", "done"]);
    let mut talk = Talk::to(URL);
    talk.answer(302, "Location: rtsp://h/1\r\n");
    talk.connect();
    let said = talk.answer(302, &format!("Location: {URL}\r\n"));
    assert_eq!(said[0], "failed 503 redirect to where we came from");
}

#[test]
fn keep_alives_are_sent_in_time_and_need_no_answer() {
    let mut talk = Talk::playing(TCP);
    talk.receive(frame(0, &ts(1)));
    // Media flows, answers do not.
    for round in 0..9 {
        let said = talk.wait(10 * SECOND);
        let expected = if round % 3 == 2 { 1 } else { 0 };
        assert_eq!(said.len(), expected, "{said:?}");
        assert_eq!(talk.receive(frame(0, &ts(1))), ["media 188"]);
    }
    assert!(talk.last().starts_with("GET_PARAMETER rtsp://"));
    assert!(
        talk.last()
            .ends_with("CSeq: 7\r\nUser-Agent: flowgate/1\r\nSession: abc\r\n\r\n")
    );
    // An answer with a body among media.
    let body = b"RTSP/1.0 200 OK\r\nCSeq: 7\r\nContent-Length: 2\r\n\r\n$\0";
    let input = [frame(0, &ts(1)), body.to_vec(), frame(0, &ts(2))].concat();
    assert_eq!(talk.receive(&input), ["media 188", "media 376"]);
}

#[test]
fn keep_alive_interval_is_half_the_timeout() {
    for (timeout, seconds) in [
        ("60", 30),
        ("600", 30),
        ("20", 10),
        ("1", 1),
        ("0", 1),
        ("x", 30),
        (" 20 ; x=1", 10),
        ("\"20\"", 10),
        ("20.5", 10),
        ("99999999999", 30),
    ] {
        let talk = Talk::playing(&format!(
            "Session: a; Timeout={timeout}\r\nTransport: RTP/AVP/TCP\r\n"
        ));
        let at = talk.session.timers.keep_alive.unwrap();
        assert_eq!(at - talk.now, Duration::from_secs(seconds), "{timeout}");
    }
}

#[test]
fn keep_alive_method_follows_the_server() {
    for (public, method) in [
        ("", "GET_PARAMETER"),
        ("Public: PLAY, GET_PARAMETER\r\n", "GET_PARAMETER"),
        ("Public: PLAY\r\n", "OPTIONS"),
    ] {
        let mut talk = Talk::to(URL);
        for headers in [public, "", TCP, ""] {
            talk.answer(200, headers);
        }
        talk.session.timers.media = None;
        talk.wait(30 * SECOND);
        assert!(talk.last().starts_with(method), "{public}");
    }
    for status in [400, 401, 405, 454, 455, 500, 501, 551] {
        let mut talk = Talk::playing(TCP);
        talk.receive(frame(0, &ts(1)));
        talk.session.timers.media = None;
        talk.wait(30 * SECOND);
        assert_eq!(talk.answer(status, ""), [""; 0], "{status}");
        talk.session.timers.media = None;
        talk.wait(30 * SECOND);
        let method = if status == 401 {
            "GET_PARAMETER"
        } else {
            "OPTIONS"
        };
        assert!(talk.last().starts_with(method), "{status}");
    }
}

#[test]
fn late_answers_are_told_from_current_ones() {
    let mut talk = Talk::playing(TCP);
    talk.receive(frame(0, &ts(1)));
    talk.session.timers.media = None;
    // 5 is given up, 6 is outstanding.
    talk.wait(60 * SECOND);
    assert_eq!(talk.session.cseq, 6);
    talk.receive("RTSP/1.0 405 X\r\nCSeq: 5\r\n\r\n");
    assert_eq!(
        talk.session.server.keep_alive,
        Method::GetParameter,
        "late, so without effect"
    );
    assert!(talk.session.awaited.is_some());
    talk.receive("RTSP/1.0 405 X\r\nCSeq: 6\r\n\r\n");
    assert_eq!(talk.session.server.keep_alive, Method::Options);
    assert!(talk.session.awaited.is_none());
}

#[test]
fn wrong_numbers_do_not_stop_a_handshake() {
    for cseq in ["CSeq: 1\r\n", "CSeq: 99\r\n", "CSeq: x\r\n", ""] {
        let mut talk = Talk::to(URL);
        for headers in ["", "", TCP, ""] {
            talk.receive(format!("RTSP/1.0 200 OK\r\n{cseq}{headers}\r\n"));
        }
        assert_eq!(talk.session.state, State::Playing, "{cseq}");
    }
}

#[test]
fn requests_of_the_server_are_answered() {
    let mut talk = Talk::playing(TCP);
    talk.receive(frame(0, &ts(1)));
    for (method, status) in [
        ("OPTIONS", "200 OK"),
        ("SET_PARAMETER", "200 OK"),
        ("GET_PARAMETER", "200 OK"),
        ("PAUSE", "501 Not Implemented"),
    ] {
        let request = format!(
            "{method} {URL} RTSP/1.0\r\nCSeq: 12\r\nSession: abc\r\nContent-Length: 4\r\n\r\nbody"
        );
        let input = [request.as_bytes(), &frame(0, &ts(1))].concat();
        let answer = format!("send RTSP/1.0 {status}\r\nCSeq: 12\r\n\r\n");
        assert_eq!(talk.receive(&input), [answer, "media 188".into()]);
    }
    let said = talk.receive("OPTIONS * RTSP/1.0\r\nCSeq: 1\u{a0}\r\n\r\n");
    assert_eq!(said, ["send RTSP/1.0 200 OK\r\nCSeq: 0\r\n\r\n"]);
}

#[test]
fn server_may_end_the_stream() {
    let end = |request: &str| {
        let mut talk = Talk::playing(TCP);
        talk.receive(frame(0, &ts(1)));
        let said = talk.receive(format!("{request}\r\n"));
        assert!(said[0].starts_with("send RTSP/1.0 200 OK"));
        said[1..]
            .iter()
            .map(|text| text.split(' ').take(2).collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
    };
    let over = vec!["end".to_owned(), "send TEARDOWN".into()];
    let line = |name: &str, headers: &str| format!("{name} {URL} RTSP/1.0\r\nCSeq: 1\r\n{headers}");
    assert_eq!(end(&line("TEARDOWN", "")), ["end", "done"]);
    assert_eq!(end(&line("REDIRECT", "")), over);
    assert_eq!(
        end(&line("REDIRECT", "Location: rtsp://h2/x\r\n")),
        ["send TEARDOWN", "connect h2:554"]
    );
    for (headers, ends) in [
        ("", true),
        ("x-notice: 2101 \"End-of-Stream Reached\"\r\n", true),
        ("x-Notice: 5402 \"Client Session Terminated\"\r\n", true),
        ("Notice: 2104 \"Start-of-Stream\"\r\n", false),
        ("Content-Type: application/sdp\r\n", false),
    ] {
        let expected = if ends { over.clone() } else { vec![] };
        assert_eq!(end(&line("ANNOUNCE", headers)), expected, "{headers}");
    }
}

/// RTCP BYE of these sources.
fn goodbye(sources: &[u32]) -> Vec<u8> {
    let count = u8::try_from(sources.len()).unwrap();
    let mut packet = vec![0x80 | count, 203, 0, count];
    packet.extend(sources.iter().flat_map(|source| source.to_be_bytes()));
    packet
}

#[test]
fn goodbye_of_the_sender_ends_the_stream_although_the_connection_stays() {
    let ended = |talk: &mut Talk| talk.wait(GOODBYE_WAIT);
    let is_end = |said: &[String]| said.iter().any(|text| text == "end");
    let mut talk = Talk::playing(TCP);
    talk.receive(frame(0, &rtp_packet(1)));
    assert_eq!(talk.receive(frame(1, &goodbye(&[1, 9]))), [""; 0]);
    let said = ended(&mut talk);
    assert!(
        is_end(&said) && said[1].starts_with("send TEARDOWN "),
        "{said:?}"
    );

    let mut talk = Talk::playing(UDP);
    talk.datagram(UdpSocket::Rtp, PEER, &rtp_packet(1));
    talk.datagram(UdpSocket::Rtcp, "203.0.113.9:1", &goodbye(&[9]));
    assert!(!is_end(&ended(&mut talk)), "a stranger ends nothing");
    talk.datagram(UdpSocket::Rtcp, PEER, &goodbye(&[9]));
    assert!(!is_end(&talk.wait(GOODBYE_WAIT / 2)));
    let late = talk.datagram(UdpSocket::Rtp, PEER, &rtp_packet(2));
    assert_eq!(late, ["packet 2"], "it was sent before");
    assert!(!is_end(&talk.wait(GOODBYE_WAIT / 2)));
    assert!(is_end(&ended(&mut talk)));

    // Only the source changes.
    let mut talk = Talk::playing(TCP);
    let mut other = rtp_packet(1);
    other[8..12].copy_from_slice(&[0, 0, 0, 7]);
    talk.receive(frame(0, &rtp_packet(1)));
    talk.receive([frame(1, &goodbye(&[9])), frame(0, &other)].concat());
    assert!(!is_end(&ended(&mut talk)));

    // Somebody else goes.
    let mut talk = Talk::playing(TCP);
    talk.receive(frame(0, &rtp_packet(1)));
    talk.receive(frame(1, &goodbye(&[8])));
    assert!(!is_end(&ended(&mut talk)));
    // Bare media does not say whose it is.
    talk.receive([frame(0, &ts(1)), frame(1, &goodbye(&[8]))].concat());
    talk.pause(true);
    assert!(!is_end(&talk.wait(60 * SECOND)), "media may still come");
    talk.pause(false);
    assert!(is_end(&ended(&mut talk)));

    let mut talk = Talk::playing(TCP);
    talk.receive(frame(1, &goodbye(&[9])));
    let said = ended(&mut talk);
    assert_eq!(said[0], "failed 503 server closed before any media");
}

#[test]
fn recording_is_not_begun_again_by_a_redirect() {
    let mut talk = Talk::playing(TCP);
    talk.session
        .request
        .play_from(Some("clock=20250310T113000Z-"), None)
        .unwrap();
    talk.receive(frame(0, &ts(1)));
    let said = talk.receive("REDIRECT * RTSP/1.0\r\nLocation: rtsp://h2/\r\n\r\n");
    assert_eq!(said[1], "end");
}

#[test]
fn data_and_close_together_lose_nothing() {
    let mut talk = Talk::playing(TCP);
    assert_eq!(talk.receive(frame(0, &ts(3))).len(), 2);
    assert_eq!(talk.finish(), ["end", "done"]);
    // Nothing deliverable came: the client is told so.
    let mut talk = Talk::playing(TCP);
    talk.receive(frame(0, b"neither"));
    assert_eq!(
        talk.finish(),
        ["failed 503 server closed before any media", "done"]
    );
    // The last answer counts before the close.
    let mut request = Request::new(URL, AGENT).unwrap();
    request.purpose = Purpose::Probe;
    let mut talk = Talk::with(request);
    talk.connect();
    talk.answer(200, "");
    assert_eq!(talk.answer(200, ""), ["described None", "done"]);
    assert_eq!(talk.finish(), [""; 0]);
}

#[test]
fn close_in_every_state() {
    let steps = ["", "", TCP, ""];
    for answered in 0..=4 {
        let mut talk = Talk::to(URL);
        for headers in steps.into_iter().take(answered) {
            talk.answer(200, headers);
        }
        let said = talk.close();
        match answered {
            0 | 1 => assert_eq!(said, ["done"]),
            2 => {
                // SETUP is under way: its answer names the session that is to be ended.
                assert_eq!(said, [""; 0]);
                assert!(talk.answer(200, TCP)[0].starts_with("send TEARDOWN "));
                assert!(talk.last().contains("Session: abc\r\n"));
                assert_eq!(talk.answer(200, ""), ["done"]);
            }
            _ => {
                assert!(said[0].starts_with("send TEARDOWN "), "{said:?}");
                // The answer to PLAY may come first, and media too.
                let late = talk.session.cseq - 1;
                if answered == 3 {
                    let play = format!("RTSP/1.0 200 OK\r\nCSeq: {late}\r\n\r\n");
                    assert_eq!(talk.receive(play), [""; 0]);
                }
                assert_eq!(talk.receive(frame(0, &ts(1))), [""; 0]);
                assert_eq!(talk.answer(454, ""), ["done"]);
            }
        }
        assert_eq!(talk.close(), [""; 0]);
        assert_eq!(talk.receive(frame(0, &ts(1))), [""; 0]);
        assert_eq!(talk.session.deadline(), None);
    }
    let mut talk = Talk::to(URL);
    talk.answer(200, "");
    talk.answer(200, "");
    talk.close();
    assert_eq!(
        talk.wait(3 * SECOND),
        ["done"],
        "SETUP is not waited for without end"
    );
}

#[test]
fn client_that_left_is_told_nothing() {
    let endless = "RTSP/1.0 200 OK\r\n".to_owned() + &"a: b\r\n".repeat(4000);
    let mut talk = Talk::playing(TCP);
    talk.close();
    assert_eq!(talk.receive(&endless), ["done"]);
    let mut talk = Talk::to(URL);
    talk.answer(200, "");
    talk.answer(200, "");
    talk.close();
    assert_eq!(talk.answer(200, "Session: a\tb\r\n"), ["done"]);
}

#[test]
fn teardown_is_bounded_and_tried_again_once() {
    let mut talk = Talk::playing(TCP);
    talk.close();
    assert_eq!(talk.wait(3 * SECOND), ["done"]);

    let mut talk = Talk::playing(TCP);
    talk.close();
    assert_eq!(talk.finish(), ["done"]);

    let mut talk = Talk::playing(TCP);
    talk.close();
    assert_eq!(talk.broken(), ["connect 192.0.2.1:8554"]);
    let said = talk.connect();
    assert!(said[0].starts_with("send TEARDOWN ") && said[0].contains("Session: abc\r\n"));
    assert_eq!(talk.broken(), ["done"]);

    let mut talk = Talk::playing(TCP);
    talk.close();
    talk.broken();
    assert_eq!(talk.wait(3 * SECOND), ["done"]);
}

#[test]
fn teardown_may_be_challenged() {
    let mut talk = Talk::to("rtsp://u:p@192.0.2.1:8554/live/ch1");
    for headers in ["", "", TCP, ""] {
        talk.answer(200, headers);
    }
    talk.close();
    let said = talk.answer(401, "WWW-Authenticate: Digest nonce=n\r\n");
    assert!(said[0].starts_with("send TEARDOWN ") && said[0].contains("Authorization: Digest "));
    talk.answer(401, "WWW-Authenticate: Digest nonce=n\r\n");
    assert_eq!(
        talk.answer(401, "WWW-Authenticate: Digest nonce=n\r\n"),
        ["done"]
    );
}

#[test]
fn pause_stops_the_clocks_for_answers_and_media() {
    for answered in 0..=4 {
        let mut talk = Talk::to(URL);
        for headers in ["", "", TCP, ""].into_iter().take(answered) {
            talk.answer(200, headers);
        }
        talk.wait(2 * SECOND);
        talk.pause(true);
        let said = talk.wait(100 * SECOND);
        // Only keep-alives are written meanwhile.
        let keep_alives = if answered == 4 { 3 } else { 0 };
        assert_eq!(said.len(), keep_alives, "{said:?}");
        assert!(
            said.iter()
                .all(|text| text.starts_with("send GET_PARAMETER "))
        );
        talk.pause(false);
        assert_eq!(talk.wait(SECOND / 2), [""; 0]);
        assert!(
            talk.wait(SECOND)[0].starts_with("failed 503 no "),
            "{answered}"
        );
        talk.pause(true);
        talk.wait(10 * SECOND);
        assert_eq!(talk.session.state, State::Done, "leaving is not suspended");
    }
}

#[test]
fn answers_that_piled_up_during_a_pause_are_late() {
    let mut talk = Talk::playing(TCP);
    talk.receive(frame(0, &ts(1)));
    talk.pause(true);
    assert_eq!(talk.wait(100 * SECOND).len(), 3);
    talk.pause(false);
    for cseq in 5..7 {
        talk.receive(format!("RTSP/1.0 501 X\r\nCSeq: {cseq}\r\n\r\n"));
        assert_eq!(talk.session.server.keep_alive, Method::GetParameter);
    }
    talk.answer(200, "");
    assert!(talk.session.awaited.is_none());
}

#[test]
fn short_pauses_add_up() {
    let mut talk = Talk::to(URL);
    for _ in 0..20 {
        talk.pause(true);
        assert_eq!(talk.wait(SECOND), [""; 0]);
        talk.pause(false);
        assert_eq!(talk.wait(SECOND / 10), [""; 0]);
    }
    assert_eq!(talk.wait(2 * SECOND).len(), 2);
}

#[test]
fn udp_media_is_probed_for_received_and_reported() {
    let mut talk = Talk::to_udp(URL);
    talk.answer(200, "");
    talk.answer(200, "");
    let said = talk.answer(200, UDP);
    let probes = ["Rtp 192.0.2.1:6970 84 bytes", "Rtcp 192.0.2.1:6971 8 bytes"].repeat(3);
    assert_eq!(said[..6], probes);
    assert!(said[6].starts_with("send PLAY "));
    assert!(!talk.session.datagrams_wanted());
    talk.answer(200, "");
    assert!(talk.session.datagrams_wanted());
    let said = talk.datagram(UdpSocket::Rtp, PEER, &rtp_packet(5));
    assert_eq!(said, ["playing rtsp udp mp2t-rtp", "packet 5"]);
    assert_eq!(talk.datagram(UdpSocket::Rtp, PEER, &ts(1)), ["media 188"]);
    for other in [&b"ZXV10STB echo of 84 bytes"[..], b"", &[0x80, 200, 0, 1]] {
        assert_eq!(talk.datagram(UdpSocket::Rtp, PEER, other), [""; 0]);
        assert_eq!(talk.datagram(UdpSocket::Rtcp, PEER, other), [""; 0]);
    }
    assert_eq!(talk.wait(5 * SECOND), ["Rtcp 192.0.2.1:6971 52 bytes"]);
    talk.session.timers.media = None;
    let said = talk.wait(25 * SECOND);
    assert!(
        said.iter()
            .any(|text| text.starts_with("send GET_PARAMETER "))
    );
    assert_eq!(
        said.iter().filter(|text| text.contains("84 bytes")).count(),
        3
    );
    let said = talk.close();
    assert_eq!(said[0], "close sockets");
    assert!(said[1].starts_with("send TEARDOWN "));
    assert_eq!(talk.datagram(UdpSocket::Rtp, PEER, &ts(1)), [""; 0]);
}

#[test]
fn named_source_is_probed_and_strangers_are_not_heard() {
    let mut talk =
        Talk::playing("Session: a\r\nTransport: MP2T/UDP;server_port=6970;source=192.0.2.77\r\n");
    assert!(talk.session.server.udp().is_some());
    assert_eq!(
        talk.datagram(UdpSocket::Rtp, "192.0.2.77:1", &ts(1)).len(),
        2
    );
    assert_eq!(
        talk.datagram(UdpSocket::Rtp, "198.51.100.1:1", &ts(1)),
        [""; 0]
    );
    assert_eq!(
        talk.datagram(UdpSocket::Rtp, "[::ffff:192.0.2.1]:1", &ts(1))
            .len(),
        1
    );
}

#[test]
fn no_probe_without_ports() {
    let mut talk = Talk::to_udp(URL);
    talk.answer(200, "");
    talk.answer(200, "");
    let said = talk.answer(200, "Transport: RTP/AVP;unicast\r\n");
    assert_eq!(said.len(), 1, "{said:?}");
}

#[test]
fn ipv6_has_no_extensions() {
    let mut talk = Talk::with(Request::new("rtsp://[2001:db8::1]/x", AGENT).unwrap());
    talk.call(|session, now, actions| session.open(now, actions));
    talk.call(|session, now, actions| {
        let (local, peer) = ("[2001:db8::2]:5".parse(), "[2001:db8::1]:554".parse());
        session.connected(now, local.unwrap(), peer.unwrap(), actions);
    });
    talk.answer(200, "");
    assert!(!talk.last().contains("x-NAT"));
    assert_eq!(talk.answer(200, "")[0], "open sockets ::");
    assert!(
        talk.last()
            .contains(",RTP/AVP;unicast;client_port=10000-10001\r\n\r\n")
    );
    // Without source= nothing is sent to an IPv6 peer; with it, a plain probe.
    let said = talk.answer(
        200,
        "Transport: RTP/AVP;server_port=6970;source=2001:db8::9\r\n",
    );
    assert_eq!(said[0], "Rtp [2001:db8::9]:6970 12 bytes");
}

fn with_stun() -> Talk {
    let mut request = Request::new(URL, AGENT).unwrap();
    request.stun = Some((Host::Name("stun.example".into()), 3478));
    Talk::with(request)
}

#[test]
fn stun_result_is_advertised() {
    let mut talk = with_stun();
    let said = talk.connect();
    assert_eq!(said[1], "open sockets 192.0.2.2");
    assert_eq!(said[3], "Rtp stun.example:3478 20 bytes");
    assert!(talk.session.datagrams_wanted());
    assert_eq!(talk.answer(200, ""), [""; 0], "DESCRIBE waits");
    let Stun::Asking { transaction, .. } = talk.session.stun else {
        panic!("not asking");
    };
    let mut response = stun::encode_request(transaction);
    response[..4].copy_from_slice(&[1, 1, 0, 12]);
    response.extend(b"\x00\x01\x00\x08\x00\x01\x9c\x40\xcb\x00\x71\x09");
    assert_eq!(
        talk.datagram(UdpSocket::Rtp, "198.51.100.5:3478", &[0; 20]),
        [""; 0]
    );
    let said = talk.datagram(UdpSocket::Rtp, "198.51.100.5:3478", &response);
    assert!(said[0].contains("x-NAT: 203.0.113.9:40000\r\n"));
    talk.answer(200, "");
    assert!(
        talk.last()
            .contains("client_address=203.0.113.9;client_port=40000-40001;")
    );
}

#[test]
fn silent_stun_server_delays_but_does_not_stop() {
    let mut talk = with_stun();
    talk.connect();
    talk.answer(200, "");
    let said = talk.wait(4 * SECOND);
    assert_eq!(said[..2], ["Rtp stun.example:3478 20 bytes"; 2]);
    assert!(said[2].starts_with("send DESCRIBE ") && said[2].contains("x-NAT: 192.0.2.2:50972"));

    let mut talk = with_stun();
    talk.connect();
    talk.answer(200, "");
    let said = talk.call(|session, now, actions| session.stun_failed(now, actions));
    assert!(said[0].starts_with("send DESCRIBE "));
}

#[test]
fn sockets_that_cannot_be_opened_leave_tcp() {
    let mut talk = Talk::with(Request::new(URL, AGENT).unwrap());
    talk.connect();
    talk.answer(200, "");
    let mut actions = Vec::new();
    let cseq = talk.session.cseq;
    let reply = format!("RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\n\r\n");
    talk.session
        .receive(talk.now, reply.as_bytes(), &mut actions);
    assert!(matches!(actions[..], [Action::OpenSockets { .. }]));
    talk.call(|session, now, actions| session.sockets_opened(now, None, actions));
    assert!(
        talk.last()
            .contains("RTP/AVP/TCP;unicast;interleaved=0-1\r\nx-NAT")
    );
}

#[test]
fn sockets_survive_a_redirect_unless_the_address_changes() {
    for (local, closes) in [("192.0.2.2:5", false), ("192.0.2.3:5", true)] {
        let mut talk = with_stun();
        talk.connect();
        let said = talk.answer(302, "Location: rtsp://h/\r\n");
        assert_eq!(said, ["connect h:554"]);
        let said = talk.call(|session, now, actions| {
            session.connected(now, local.parse().unwrap(), PEER.parse().unwrap(), actions);
        });
        assert_eq!(said[0] == "close sockets", closes, "{said:?}");
    }
}

#[test]
fn malformed_answers_fail_the_handshake_but_not_the_stream() {
    let broken = "RTSP/1.0 200 OK\r\nX: \u{1}\r\n\r\n";
    let mut talk = Talk::to(URL);
    assert!(talk.receive(broken)[0].starts_with("failed 503 malformed RTSP message"));
    let mut talk = Talk::playing(TCP);
    assert_eq!(
        talk.receive([broken.as_bytes(), &frame(0, &ts(1))].concat())
            .len(),
        2
    );
    let endless = "RTSP/1.0 200 OK\r\n".to_owned() + &"a: b\r\n".repeat(4000);
    assert_eq!(
        talk.receive(endless),
        [
            "failed 503 RTSP message head longer than 16384 bytes",
            "done"
        ]
    );
}

#[test]
fn long_descriptions_are_accepted() {
    let mut talk = Talk::to(URL);
    talk.answer(200, "");
    let body = "v=0\r\n".to_owned()
        + &"a=x:y\r\n".repeat(9000)
        + "m=video 0 RTP/AVP 33\r\na=control:t\r\n";
    talk.answer_with_body("", &body);
    assert!(
        talk.last()
            .starts_with("SETUP rtsp://192.0.2.1:8554/live/t ")
    );
}

/// A whole conversation of a server, answers without regard to what was asked.
fn any_server_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"RTSP/1.0 200 OK\r\n\r\n".to_vec()),
        Just(format!("RTSP/1.0 200 OK\r\n{TCP}\r\n").into_bytes()),
        Just(format!("RTSP/1.0 200 OK\r\n{UDP}\r\n").into_bytes()),
        Just(b"RTSP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nv=0\r\n".to_vec()),
        Just(b"RTSP/1.0 401 X\r\nWWW-Authenticate: Digest nonce=n, qop=auth\r\n\r\n".to_vec()),
        Just(b"RTSP/1.0 302 X\r\nLocation: rtsp://h/x\r\n\r\n".to_vec()),
        Just(b"RTSP/1.0 461 X\r\n\r\n".to_vec()),
        Just(b"OPTIONS * RTSP/1.0\r\nCSeq: 3\r\n\r\n".to_vec()),
        Just(b"TEARDOWN * RTSP/1.0\r\nCSeq: 3\r\n\r\n".to_vec()),
        Just(frame(0, &rtp_packet(1))),
        Just(frame(0, &ts(2))),
        prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn cutting_the_stream_changes_nothing(
        input in any_server_bytes(),
        mut cuts in prop::collection::vec(0usize..600, 0..10),
    ) {
        let talk = |cuts: &[usize]| {
            // No sockets are opened, for that is answered between two calls.
            let mut talk = Talk::to("rtsp://u:p@h/live");
            let mut said = Vec::new();
            let mut start = 0;
            for end in cuts.iter().copied().chain([input.len()]) {
                if let Some(bytes) = input.get(start..end) {
                    said.extend(talk.receive(bytes));
                    start = end;
                }
            }
            said
        };
        cuts.sort_unstable();
        prop_assert_eq!(talk(&cuts), talk(&[]));
    }

    #[test]
    fn operations_in_any_order_end_once_and_leave_no_wait(
        operations in prop::collection::vec((0u8..14, any::<u8>(), any_server_bytes()), 0..30)
    ) {
        let mut talk = Talk::with(Request::new("rtsp://u:p@h/live", AGENT).unwrap());
        let mut said = talk.connect();
        for (operation, argument, bytes) in operations {
            said.extend(match operation {
                0..=5 => talk.receive(&bytes),
                6 => talk.wait(SECOND * u32::from(argument) / 8),
                7 => { talk.pause(argument % 2 == 0); vec![] }
                8 => talk.datagram(UdpSocket::Rtp, PEER, &bytes),
                9 => talk.datagram(UdpSocket::Rtcp, PEER, &rtp_packet(2)),
                10 => talk.connect(),
                11 => talk.finish(),
                12 => talk.broken(),
                _ => talk.close(),
            });
        }
        talk.pause(false);
        said.extend(talk.close());
        said.extend(talk.wait(12 * SECOND));
        prop_assert_eq!(talk.session.state, State::Done);
        prop_assert_eq!(talk.session.deadline(), None);
        let count = |wanted: &str| said.iter().filter(|text| text.starts_with(wanted)).count();
        prop_assert_eq!(count("done"), 1);
        prop_assert_eq!(said.last().map(String::as_str), Some("done"));
        prop_assert!(count("end") + count("failed") <= 1);
        prop_assert!(count("playing") <= 1);
        // No media before the head and none after the end.
        let at = |wanted: &str| said.iter().position(|text| text.starts_with(wanted));
        let ends = at("end").or(at("failed")).unwrap_or(said.len());
        for (place, text) in said.iter().enumerate() {
            if text.starts_with("media") || text.starts_with("packet") {
                prop_assert!(at("playing").is_some_and(|playing| playing < place) && place < ends);
            }
        }
        // Every request has as many lines as it has headers of ours.
        for request in &talk.sent {
            prop_assert!(request.ends_with("\r\n\r\n"));
            prop_assert_eq!(request.matches("\r\n\r\n").count(), 1);
        }
    }

    #[test]
    fn nothing_from_outside_adds_a_line(
        user in "\\PC{0,8}", path in "\\PC{0,12}", id in "[ -~]{0,12}", nonce in "[ -~\\t]{0,12}", control in "\\PC{0,12}",
    ) {
        let Ok(request) = Request::new(&format!("rtsp://{user}:p@h/{path}"), AGENT) else {
            return Ok(());
        };
        let mut talk = Talk::with(request);
        talk.connect();
        talk.answer(401, &format!("WWW-Authenticate: Digest nonce=\"{nonce}\"\r\n"));
        talk.answer(200, &format!("Session: {id}\r\n"));
        talk.answer_with_body("", &format!("m=video 0 RTP/AVP 33\r\na=control:{control}\r\n"));
        let names = ["CSeq", "User-Agent", "Session", "Authorization", "Accept", "x-NAT", "Transport"];
        for request in &talk.sent {
            let mut lines = request.lines();
            prop_assert_eq!(lines.next().map(|line| line.split(' ').count()), Some(3));
            for line in lines.filter(|line| !line.is_empty()) {
                let name = line.split(": ").next().unwrap_or_default();
                prop_assert!(names.contains(&name), "{}", line);
            }
        }
    }
}

#[test]
fn slices_of_one_call_stay_good_through_a_redirect() {
    let mut talk = Talk::playing(TCP);
    let media = frame(0, &rtp_packet(1));
    let (front, behind) = media.split_at(50);
    talk.receive(front);
    let redirect = b"REDIRECT * RTSP/1.0\r\nLocation: rtsp://h2/\r\n\r\n";
    let input = [behind, redirect].concat();
    let mut actions = Vec::new();
    talk.session.receive(talk.now, &input, &mut actions);
    let Some(Action::Media(slice)) = actions.get(1) else {
        panic!("{actions:?}");
    };
    assert_eq!(slice.buffer, Buffer::Joined);
    let expected = &media[4..];
    let payload = rtp::decode(expected).unwrap().payload;
    assert_eq!(
        talk.session.joined().get(slice.range.clone()),
        expected.get(payload)
    );
}
