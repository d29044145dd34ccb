//! The server's end of one control connection; checks every request, and plays.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::super::media::{Rng, Sent};
use super::super::peers::earlier;
use super::super::web::Mirror;
use super::super::world::World;
use super::media::{Media, frame};
use super::play::{Answers, Finale, Step, Transports, Trouble};

/// Bytes that wait for the router at most, more or less.
const WINDOW_BYTES: usize = 64 << 10;
/// Up to so many packets no stranger may send: the first sender is followed.
const SETTLED: u64 = 20;
/// Session of every stream.
const SESSION: &str = "S-1.2_3";

#[derive(Debug)]
pub(in crate::sim) struct Server {
    play: usize,
    station: u8,
    begun: Instant,
    rng: Rng,
    mirror: Option<Mirror>,
    established: bool,
    done: bool,
    /// What came and was not understood yet.
    plain: Vec<u8>,
    /// Answers and when they are due, in order.
    replies: VecDeque<(Instant, Vec<u8>)>,
    /// What was said and is not on the wire yet.
    wire: VecDeque<u8>,
    next_send: Option<Instant>,
    /// Bytes ever put into `wire`, and taken out of it.
    said: u64,
    sent: u64,
    /// Where packets of media end among them.
    marks: VecDeque<(u64, u64)>,
    media: Option<Media>,
    next_packet: Option<Instant>,
    client_port: Option<u16>,
    /// A datagram that another one overtakes.
    held: Option<(u64, Vec<u8>)>,
    nonce: u32,
    last_cseq: Option<u32>,
    /// When a keep-alive was first refused, the place in what was said behind that, and when the router had read it
    /// while it still waited for it.
    refused_at: Option<Instant>,
    refusal: Option<u64>,
    refusal_read_at: Option<Instant>,
    /// Where the announcement of the end stands in what was said.
    farewell_at: Option<u64>,
    /// The place in what was said up to which the router has to read before there is media for it.
    begun_at: Option<u64>,
    ended: bool,
}

impl Server {
    pub(in crate::sim) fn new(play: usize, station: u8, world: &mut World) -> Self {
        let seed = world.rng.next();
        let its = &mut world.plays[play];
        its.log.connections += 1;
        Self {
            play,
            station,
            begun: world.now,
            rng: Rng::new(seed),
            mirror: its.secure.then(Mirror::default),
            established: false,
            done: false,
            plain: Vec::new(),
            replies: VecDeque::new(),
            wire: VecDeque::new(),
            next_send: None,
            said: 0,
            sent: 0,
            marks: VecDeque::new(),
            media: None,
            next_packet: None,
            client_port: None,
            held: None,
            nonce: 0,
            last_cseq: None,
            refused_at: None,
            refusal: None,
            refusal_read_at: None,
            farewell_at: None,
            begun_at: None,
            ended: false,
        }
    }

    pub(in crate::sim) fn act(&mut self, index: usize, world: &mut World) -> Option<Instant> {
        if self.done {
            return None;
        }
        if !self.established
            && let Some(at) = self.establish(index, world)
        {
            return at;
        }
        self.note_refusal(index, world);
        // What was written before the router closed still arrives.
        self.read(index, world);
        if world.connection(index).router_closed {
            self.done = true;
            self.note_end(index, world);
            return None;
        }
        let mut next = self.reply(world);
        next = earlier(next, self.send(index, world));
        next = earlier(next, self.perform(index, world));
        next = earlier(next, self.send(index, world));
        world.touch(index);
        if self.done { None } else { next }
    }

    /// The router has closed: if it has read that the session is over, that is as it should be.
    fn note_end(&mut self, index: usize, world: &mut World) {
        let is_said = self.farewell_at.is_some_and(|at| self.sent >= at);
        // Answers may follow it, which nobody needs any more.
        let is_read = match self.bytes_read(index, world) {
            Some(read) => self.farewell_at.is_some_and(|at| read >= at),
            None => world.connection(index).to_router.is_empty(),
        };
        let play = &mut world.plays[self.play];
        if play.finale == Finale::TearsDown && is_said && !play.log.torn_down {
            play.end(world.now);
            (play.log.over, play.log.complete) = (true, is_read);
        }
    }

    /// Returns when to try again unless the connection is made now.
    fn establish(&mut self, index: usize, world: &mut World) -> Option<Option<Instant>> {
        let play = &world.plays[self.play];
        if play.trouble == (Trouble::Unreachable { silent: true }) {
            return Some(None);
        }
        let at = self.begun + play.delay / 8;
        if world.now < at {
            return Some(Some(at));
        }
        if play.trouble == (Trouble::Unreachable { silent: false }) {
            world.connection(index).refused = true;
            world.touch(index);
            self.done = true;
            return Some(None);
        }
        self.established = true;
        world.connection(index).established = true;
        None
    }

    /// How much of what was sent the router has read. Behind TLS that cannot be seen.
    fn bytes_read(&self, index: usize, world: &mut World) -> Option<u64> {
        let left = world.connection(index).to_router.len() as u64;
        self.mirror.is_none().then(|| self.sent - left)
    }

    /// Notes when the router has read that its keep-alives are refused.
    fn note_refusal(&mut self, index: usize, world: &mut World) {
        let read = self.bytes_read(index, world);
        let (Some(at), Some(end), Some(read)) = (self.refused_at, self.refusal, read) else {
            return;
        };
        let is_awaited = world.now - at < world.plays[self.play].patience() / 2;
        if read >= end && is_awaited {
            self.refusal_read_at.get_or_insert(world.now);
        }
    }

    fn read(&mut self, index: usize, world: &mut World) {
        let now = world.now;
        let connection = world.connection(index);
        let count = connection.to_peer;
        if count == 0 {
            return;
        }
        let bytes = connection.take_received(count, now);
        match &mut self.mirror {
            None => self.plain.extend(bytes),
            Some(mirror) => {
                let mut out = VecDeque::new();
                mirror.receive(&bytes, &mut self.rng, &mut self.plain, &mut out);
                world.connection(index).to_router.extend(out);
            }
        }
        while let Some(end) = self.plain.windows(4).position(|four| four == b"\r\n\r\n") {
            let head: Vec<u8> = self.plain.drain(..end + 4).collect();
            let head = String::from_utf8(head).expect("a message is ASCII");
            if head.starts_with("RTSP/1.0 ") {
                self.take_answer(&head, world);
            } else {
                self.take_request(&head, index, world);
            }
        }
    }

    /// The router answers in order, whatever was asked.
    fn take_answer(&mut self, head: &str, world: &mut World) {
        let log = &mut world.plays[self.play].log;
        log.answered += 1;
        assert!(log.answered <= log.asked, "an answer to nothing: {head}");
        let number = header(head, "CSeq").and_then(|text| text.parse().ok());
        assert_eq!(number, Some(log.answered), "{head}");
        world.note("server's request answered");
    }

    fn take_request(&mut self, head: &str, index: usize, world: &mut World) {
        let now = world.now;
        let station = self.station;
        let mut words = head.lines().next().unwrap_or_default().split(' ');
        let (method, url, version) = (words.next(), words.next(), words.next());
        let (method, url) = (method.unwrap_or_default(), url.unwrap_or_default());
        assert_eq!(version, Some("RTSP/1.0"), "{head}");
        let play = &mut world.plays[self.play];
        let due = match method {
            "SETUP" => format!("{}/track1", play.url(station)),
            _ => play.url(station),
        };
        assert_eq!(url, due, "{head}");
        let cseq: u32 = header(head, "CSeq")
            .and_then(|text| text.parse().ok())
            .expect(head);
        // What a broken connection has swallowed is missing.
        let follows = self.last_cseq.is_some_and(|last| cseq == last + 1);
        assert!(
            follows || (self.last_cseq.is_none() && cseq > play.log.cseq),
            "{head}"
        );
        (self.last_cseq, play.log.cseq) = (Some(cseq), cseq);
        let session = (play.log.known_at == Some(station)).then_some(SESSION);
        assert_eq!(header(head, "Session"), session, "{head}");
        let step = if self.media.is_some() {
            None
        } else {
            Step::of(method)
        };
        if play.redirects.is_some() && play.redirects == step && station == 1 {
            let location = format!("Location: {}\r\n", play.location());
            world.note("stream redirected");
            return self.answer(302, &location, "", cseq, world);
        }
        if let Some(step) = step
            && self.makes_trouble(step, index, cseq, world)
        {
            return;
        }
        let play = &mut world.plays[self.play];
        let guard = if station == 1 {
            play.guard
        } else {
            play.second_guard
        };
        let scale = play.scale.filter(|_| method == "PLAY");
        assert_eq!(header(head, "Scale"), scale, "{head}");
        if !guard.admits(header(head, "Authorization"), method, url, self.nonce) {
            // A stale nonce is refused as well, with a new one.
            self.nonce += 1;
            let challenge = format!("WWW-Authenticate: {}\r\n", guard.challenge(self.nonce));
            world.note("stream guarded");
            return self.answer(401, &challenge, "", cseq, world);
        }
        match (method, step) {
            ("OPTIONS", Some(_)) => {
                self.answer(200, "Public: DESCRIBE, GET_PARAMETER\r\n", "", cseq, world);
            }
            ("DESCRIBE", Some(_)) => {
                let body = "v=0\r\nm=video 0 RTP/AVP 33\r\na=control:track1\r\n";
                let base = format!("Content-Base: {}/\r\n", play.url(station));
                self.answer(200, &base, body, cseq, world);
            }
            ("SETUP", Some(_)) => self.set_up(head, cseq, world),
            ("PLAY", Some(_)) => {
                assert!(play.log.has_session, "nothing to play");
                self.media = Some(Media::new(&mut self.rng));
                self.answer(200, "Range: npt=0-\r\nScale: 1.0\r\n", "", cseq, world);
                let starts = self.replies.back().map_or(now, |(at, _)| *at);
                self.next_packet = Some(starts);
                world.plays[self.play].log.alive_at = Some(starts);
            }
            ("TEARDOWN", _) => {
                // Whoever was not answered may say it again, over another connection.
                assert!(
                    play.log.has_session || play.log.connections > 1,
                    "nothing to end"
                );
                play.end(now);
                (play.log.torn_down, play.log.has_session) = (true, false);
                play.log.unanswered = play.log.asked - play.log.answered;
                let is_said = self.farewell_at.is_some_and(|at| self.sent >= at);
                play.log.complete |= play.finale == Finale::Announces && is_said;
                self.next_packet = None;
                self.ended = true;
                world.note("stream ended by the router");
                match self.rng.range(0, 5) {
                    0 => {}
                    1 => self.hang_up(true, index, world),
                    _ => self.answer(200, "", "", cseq, world),
                }
            }
            ("GET_PARAMETER" | "OPTIONS", None) => self.keep_alive(method, cseq, index, world),
            _ => panic!("out of turn: {head}"),
        }
    }

    /// Whether this request fails as it was drawn.
    fn makes_trouble(&mut self, step: Step, index: usize, cseq: u32, world: &mut World) -> bool {
        match world.plays[self.play].trouble {
            Trouble::Mute(at) if at == step => world.note("server does not answer"),
            Trouble::Refuses(at, status) if at == step => {
                self.answer(status, "", "", cseq, world);
            }
            Trouble::Garbage(at) if at == step => {
                self.say(b"RTSP/1.0 what?\r\n\r\n");
            }
            Trouble::HangsUp(at, resets) if at == step => {
                world.plays[self.play].log.over = true;
                self.hang_up(resets, index, world);
            }
            _ => return false,
        }
        true
    }

    fn set_up(&mut self, head: &str, cseq: u32, world: &mut World) {
        let play = &mut world.plays[self.play];
        let offer = header(head, "Transport").expect(head);
        let port = offer
            .split_once("client_port=")
            .and_then(|(_, rest)| rest.split('-').next()?.parse().ok());
        let understood = play.takes_lists || !offer.contains(',');
        let transport = match play.transports {
            Transports::Tcp if understood && offer.contains("interleaved=") => {
                let (media, control) = play.channels;
                format!("RTP/AVP/TCP;unicast;interleaved={media}-{control}")
            }
            Transports::Udp if understood && port.is_some() => {
                self.client_port = port;
                let from = play.media_port();
                let source = play.address(self.station).ip();
                format!(
                    "RTP/AVP;unicast;source={source};server_port={from}-{}",
                    from + 1
                )
            }
            _ => {
                world.note("transport refused");
                return self.answer(461, "", "", cseq, world);
            }
        };
        let timeout = play.timeout.map(|seconds| format!(";timeout={seconds}"));
        let timeout = timeout.unwrap_or_default();
        (play.log.has_session, play.log.torn_down) = (true, false);
        play.log.known_at = Some(self.station);
        let headers = format!("Session: {SESSION}{timeout}\r\nTransport: {transport}\r\n");
        self.answer(200, &headers, "", cseq, world);
    }

    fn keep_alive(&mut self, method: &str, cseq: u32, index: usize, world: &mut World) {
        let now = world.now;
        let waiting = world.connection(index).to_router.len();
        let play = &mut world.plays[self.play];
        play.keep_alive(now);
        // Whoever takes something else for the answer, or has given it up, cannot know.
        let is_plain = !play.chatters && play.delay < Duration::from_millis(500);
        let read_at = self.refusal_read_at.filter(|_| is_plain);
        let knows = read_at.is_some_and(|at| now > at + Duration::from_millis(100));
        assert!(!knows || method == "OPTIONS", "{method} was refused before");
        let answers = play.keep_alives;
        let late = play.patience().min(Duration::from_secs(10)) + Duration::from_millis(300);
        world.note("kept alive");
        if waiting >= WINDOW_BYTES {
            world.note("kept alive while held back");
        }
        match answers {
            Answers::AtOnce => self.answer(200, "", "", cseq, world),
            Answers::Verbosely => {
                self.answer(200, "", "position: 1\r\n$\0\0\u{1}x$", cseq, world);
            }
            Answers::Late => {
                self.answer(200, "", "", cseq, world);
                if let Some((at, _)) = self.replies.back_mut() {
                    *at = now + late;
                }
            }
            Answers::Never => {}
            Answers::Unwillingly => {
                self.refused_at.get_or_insert(now);
                self.answer(405, "", "", cseq, world);
            }
        }
    }

    /// Answers in a while, behind whatever was answered before.
    fn answer(&mut self, status: u16, headers: &str, body: &str, cseq: u32, world: &World) {
        let play = &world.plays[self.play];
        let number = match self.rng.range(0, 9) {
            // There are servers that do not number their answers, or all of them alike.
            0 if play.chatters => String::new(),
            1 if play.chatters && self.media.is_none() => "CSeq: 0\r\n".to_owned(),
            _ => format!("CSeq: {cseq}\r\n"),
        };
        let length = if body.is_empty() {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let text = format!("RTSP/1.0 {status} X\r\n{number}{headers}{length}\r\n{body}");
        let after = self.replies.back().map_or(world.now, |(at, _)| *at);
        let at = after.max(world.now + play.draw_delay(&mut self.rng));
        self.replies.push_back((at, text.into_bytes()));
    }

    /// Says what is due; returns when more will be.
    fn reply(&mut self, world: &World) -> Option<Instant> {
        while let Some((at, text)) = self.replies.pop_front() {
            if at > world.now {
                self.replies.push_front((at, text));
                return Some(at);
            }
            self.say(&text);
            if text.starts_with(b"RTSP/1.0 405") {
                self.refusal.get_or_insert(self.said);
            }
        }
        None
    }

    fn say(&mut self, bytes: &[u8]) {
        self.wire.extend(bytes);
        self.said += bytes.len() as u64;
    }

    /// Sends the media that is due, and what comes behind it.
    fn perform(&mut self, index: usize, world: &mut World) -> Option<Instant> {
        let now = world.now;
        loop {
            let at = self.next_packet?;
            if at > now {
                return Some(at);
            }
            let is_tcp = world.plays[self.play].transports == Transports::Tcp;
            if is_tcp && self.wire.len() >= WINDOW_BYTES {
                // The router reads, which wakes this server.
                return None;
            }
            let burst = self.rng.count(1, world.plays[self.play].burst);
            for _ in 0..burst {
                let Some(media) = &mut self.media else {
                    return None;
                };
                let Some(packet) = media.next(&world.plays[self.play], &mut self.rng) else {
                    return self.finish(index, world);
                };
                let channel = world.plays[self.play].channel;
                world.sent[channel].push(Sent {
                    payload: packet.payload.into(),
                    arrived: None,
                    place: 0,
                });
                if is_tcp {
                    self.frame(packet.number, &packet.bytes, world);
                } else {
                    self.launch(packet.number, packet.bytes, world);
                }
            }
            let gap = world.plays[self.play].gap * burst as u32;
            self.next_packet = Some(now.max(at) + gap.max(Duration::from_micros(1)));
        }
    }

    fn frame(&mut self, number: u64, packet: &[u8], world: &mut World) {
        let play = &mut world.plays[self.play];
        let (media, control) = play.channels;
        if play.chatters && self.rng.one_in(25) {
            match self.rng.range(0, 4) {
                0 => self.say(&frame(control, b"\x80\xc8\0\x06 a sender's report")),
                1 => self.say(&frame(77, b"$\0\0\x02 another channel")),
                2 => self.say(b"out of its mind\n"),
                3 => self.say(b"RTSP/1.0 200 OK\r\nCSeq: 4711\r\nContent-Length: 2\r\n\r\n$\0"),
                _ => self.ask(world),
            }
        }
        self.say(&frame(media, packet));
        self.begun_at.get_or_insert(self.said);
        self.marks.push_back((self.said, number));
    }

    /// A request of the server's own.
    fn ask(&mut self, world: &mut World) {
        let log = &mut world.plays[self.play].log;
        log.asked += 1;
        let number = log.asked;
        let text = match self.rng.range(0, 3) {
            0 => format!("OPTIONS * RTSP/1.0\r\nCSeq: {number}\r\n\r\n"),
            1 => format!("FROB rtsp://x RTSP/1.0\r\nCSeq: {number}\r\n\r\n"),
            2 => format!("ANNOUNCE * RTSP/1.0\r\nCSeq: {number}\r\nNotice: 1103 news\r\n\r\n"),
            _ => format!(
                "SET_PARAMETER * RTSP/1.0\r\nCSeq: {number}\r\nContent-Length: 5\r\n\r\n$\0\0\u{4}x"
            ),
        };
        self.say(text.as_bytes());
    }

    fn launch(&mut self, number: u64, datagram: Vec<u8>, world: &mut World) {
        self.begun_at.get_or_insert(self.said);
        let play = &world.plays[self.play];
        let (loss, chatters, bare, slow) = (
            play.loss_percent,
            play.chatters,
            play.bare,
            play.gap > Duration::from_millis(5),
        );
        if number > SETTLED && chatters && self.rng.one_in(20) {
            // Media of a stranger, which nobody may see.
            let stranger = super::super::media::payload(u16::MAX, number, 7);
            self.deliver([10, 9, 9, 9], None, &stranger, world);
            world.note("stranger's datagram");
        }
        if self.rng.percent(loss) {
            return world.note("datagram lost");
        }
        if number > SETTLED && !slow && !bare && self.held.is_none() && self.rng.one_in(20) {
            self.held = Some((number, datagram));
            return;
        }
        self.deliver([10, 0, 2, self.station], Some(number), &datagram, world);
        if let Some((number, datagram)) = self.held.take() {
            self.deliver([10, 0, 2, self.station], Some(number), &datagram, world);
            world.note("datagrams swapped");
        }
    }

    fn deliver(&mut self, from: [u8; 4], number: Option<u64>, datagram: &[u8], world: &mut World) {
        let play = &world.plays[self.play];
        let (channel, from) = (play.channel, SocketAddr::from((from, play.media_port())));
        let to = SocketAddr::from(([127, 0, 0, 1], self.client_port.expect("a port")));
        let place = world.deliver_from(from, to, datagram);
        let Some(number) = number else { return };
        let sent = &mut world.sent[channel][number as usize];
        match place {
            Some(place) => (sent.arrived, sent.place) = (Some(world.now), place),
            None => world.plays[self.play].log.overflowed = true,
        }
    }

    /// All media was sent.
    fn finish(&mut self, index: usize, world: &mut World) -> Option<Instant> {
        if let Some((number, datagram)) = self.held.take() {
            self.deliver([10, 0, 2, self.station], Some(number), &datagram, world);
        }
        let now = world.now;
        let play = &mut world.plays[self.play];
        let finale = play.finale;
        if finale == Finale::Silence {
            play.log.complete = true;
            self.next_packet = None;
            return None;
        }
        if finale == Finale::Resets {
            let heard = self.is_heard(index, world);
            let play = &mut world.plays[self.play];
            play.log.heard = heard;
            play.end(now);
            play.log.over = true;
            world.note("server resets a stream");
            self.hang_up(true, index, world);
            return None;
        }
        if !self.ended {
            self.ended = true;
            let word = match finale {
                Finale::Announces => "ANNOUNCE",
                Finale::TearsDown => "TEARDOWN",
                _ => "",
            };
            if !word.is_empty() {
                play.log.asked += 1;
                let (url, number) = (play.url(self.station), play.log.asked);
                let text =
                    format!("{word} {url} RTSP/1.0\r\nCSeq: {number}\r\nNotice: 2101\r\n\r\n");
                self.say(text.as_bytes());
                self.farewell_at = Some(self.said);
            }
        }
        if !self.wire.is_empty() {
            // Looked at again when the wire is free. Answers that are due later are not given any more.
            self.next_packet = Some(now + Duration::from_millis(5));
            return if world.connection(index).to_router.len() < WINDOW_BYTES {
                self.next_packet
            } else {
                None
            };
        }
        self.next_packet = None;
        let play = &mut world.plays[self.play];
        play.log.complete = true;
        match finale {
            Finale::Closes => {
                play.end(now);
                play.log.over = true;
                if let Some(mirror) = &mut self.mirror
                    && self.rng.one_in(2)
                {
                    let mut out = VecDeque::new();
                    mirror.take_leave(&mut out);
                    world.connection(index).to_router.extend(out);
                }
                self.hang_up(false, index, world);
            }
            Finale::TearsDown => {
                play.end(now);
                play.log.over = true;
            }
            _ => {}
        }
        None
    }

    /// Whether media, and that it would come, has reached the router, where that can be seen.
    fn is_heard(&self, index: usize, world: &mut World) -> Option<bool> {
        let read = self.bytes_read(index, world)?;
        let play = &world.plays[self.play];
        let has_arrived = match play.transports {
            Transports::Tcp => true,
            Transports::Udp => {
                let mut sent = world.sent[play.channel].iter();
                sent.any(|packet| packet.arrived.is_some())
            }
        };
        Some(has_arrived && self.begun_at.is_some_and(|at| read >= at))
    }

    fn hang_up(&mut self, resets: bool, index: usize, world: &mut World) {
        let connection = world.connection(index);
        if resets {
            connection.reset = true;
            connection.to_router.clear();
        } else {
            connection.to_router_finished = true;
        }
        self.done = true;
        world.touch(index);
    }

    /// Puts some of what was said on the wire; returns when to go on.
    fn send(&mut self, index: usize, world: &mut World) -> Option<Instant> {
        if self.done || self.wire.is_empty() {
            return None;
        }
        let now = world.now;
        if let Some(at) = self.next_send.filter(|at| *at > now) {
            return Some(at);
        }
        let room = WINDOW_BYTES.saturating_sub(world.connection(index).to_router.len());
        if room == 0 {
            // The router reads, which wakes this server.
            return None;
        }
        let play = &world.plays[self.play];
        let (channel, most) = (play.channel, play.bytes_at_a_time);
        let count = self.wire.len().min(room).min(self.rng.count(1, most));
        let bytes: Vec<u8> = self.wire.drain(..count).collect();
        self.sent += count as u64;
        let mut out = VecDeque::new();
        match &mut self.mirror {
            None => out.extend(&bytes),
            Some(mirror) => mirror.seal(&bytes, &mut self.rng, &mut out),
        }
        world.connection(index).to_router.extend(out);
        while let Some((end, number)) = self.marks.front().copied()
            && end <= self.sent
        {
            self.marks.pop_front();
            world.sent[channel][number as usize].arrived = Some(now);
        }
        self.next_send = Some(now + self.rng.micros(1, 1000));
        self.next_send
    }
}

/// The value of a header.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "));
    lines.find_map(|(key, value)| (key == name).then_some(value))
}
