//! One exchange with an upstream server, seen from the side that asked: the response's head and body.
//!
//! A sans-I/O session: bytes in, [`Action`]s out. It relays the head with what concerns only the connection taken
//! out, passes the body on as it is framed, or collects a playlist whole and rewrites it. It knows neither
//! sockets nor time; how long to wait is its shell's concern.
//!
//! ```text
//! Head ── 1xx ──▶ Head
//!   │
//!   ├── final head ──▶ Body ───────── complete ──▶ Done
//!   └── playlist ────▶ Collecting ─── complete ──▶ Done
//! ```

use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use super::exchange::{Exchange, PlaylistHead};
use super::framing::coded_framing;
use super::relay::{self, ReplyHead};
use super::{Body, BodyError, Framing, FramingError, HeadError, Relay, ResponseHead};
use super::{decode_response, mend, response_framing};
use crate::proto::rewrite::playlist::PLAYLIST_BYTES_MAX;

/// Most interim responses to one request. Chosen: a server has one or two things to say before it answers.
const INTERIMS_MAX: usize = 16;

/// What the session wants done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this interim response (1xx) to the client, whole.
    Interim(Vec<u8>),
    /// Send this head to the client.
    Head(ReplyHead),
    /// These bytes of the input belong to the body as the client gets it.
    Body(Range<usize>),
    /// Send this head and these bytes, which are the whole body, to the client.
    Whole(ReplyHead, Vec<u8>),
    /// The response is complete. If `reusable`, the connection may carry another request.
    End {
        /// Nothing is left on the connection, and the server keeps it open.
        reusable: bool,
    },
    /// The response cannot be relayed, or not to its end.
    Failed(SessionError),
}

/// Why a response cannot be relayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionError {
    /// The connection was closed before anything at all came.
    Empty,
    /// The connection was closed inside the final head, or before it but behind an interim one.
    HeadCut,
    /// The head is malformed or too large.
    Head(HeadError),
    /// How long the body is cannot be told, or is told twice.
    Framing(FramingError),
    /// The body is malformed or was cut short.
    Body(BodyError),
    /// The server switches to a protocol that nobody asked for.
    Upgrade,
    /// More interim responses than `limit`, and still no final one.
    TooManyInterims {
        /// How many are relayed.
        limit: usize,
    },
    /// A playlist longer than `limit` bytes, which cannot be rewritten.
    PlaylistTooLong {
        /// In bytes.
        limit: usize,
    },
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the upstream closed the connection without a response"),
            Self::HeadCut => {
                f.write_str("the upstream closed the connection before its head was complete")
            }
            Self::Head(error) => write!(f, "response head: {error}"),
            Self::Framing(error) => write!(f, "response framing: {error}"),
            Self::Body(error) => write!(f, "response body: {error}"),
            Self::Upgrade => f.write_str("the upstream switches protocols"),
            Self::TooManyInterims { limit } => {
                write!(f, "more than {limit} interim responses")
            }
            Self::PlaylistTooLong { limit } => {
                write!(f, "a playlist longer than {limit} bytes")
            }
        }
    }
}

/// The state machine; the diagram is at the top of the module.
#[derive(Debug)]
pub struct Session {
    exchange: Rc<Exchange>,
    state: State,
    /// Interim responses so far.
    interims: usize,
}

#[derive(Debug)]
enum State {
    /// The beginning of a head that did not come in one piece.
    Head { partial: Vec<u8> },
    /// The body goes through; if it is `opaque`, its bytes need not be looked at.
    Body {
        body: Body,
        relay: Relay,
        opaque: bool,
        persistent: bool,
    },
    /// A playlist is gathered.
    Collecting(Box<Collecting>),
    /// Complete or failed.
    Done,
}

#[derive(Debug)]
struct Collecting {
    body: Body,
    bytes: Vec<u8>,
    head: PlaylistHead,
    persistent: bool,
}

impl Session {
    /// A session that waits for the response to a request that has been sent.
    pub fn new(exchange: Rc<Exchange>) -> Self {
        Self {
            exchange,
            state: State::Head {
                partial: Vec::new(),
            },
            interims: 0,
        }
    }

    /// Whether the final head is still awaited.
    pub fn awaits_head(&self) -> bool {
        matches!(self.state, State::Head { .. } | State::Collecting(_))
    }

    /// Whether nothing at all has been received.
    pub fn is_untouched(&self) -> bool {
        self.interims == 0 && matches!(&self.state, State::Head { partial } if partial.is_empty())
    }

    /// Bytes of memory that a playlist takes while it is gathered.
    pub fn collected_bytes(&self) -> usize {
        match &self.state {
            State::Collecting(collecting) => collecting.bytes.len(),
            _ => 0,
        }
    }

    /// How many of the next bytes belong to the body and may reach the client without being looked at.
    pub fn opaque_bytes(&self) -> u64 {
        match &self.state {
            State::Body {
                body, opaque: true, ..
            } => body.opaque_bytes().unwrap_or(0),
            _ => 0,
        }
    }

    /// Notes that `bytes` of those have gone to the client.
    pub fn skip(&mut self, bytes: u64, actions: &mut Vec<Action>) {
        if let State::Body { body, .. } = &mut self.state {
            body.skip(bytes);
            self.end_if_complete(0, actions);
        }
    }

    /// Takes the next bytes and appends what they mean to `actions`.
    pub fn receive(&mut self, bytes: &[u8], actions: &mut Vec<Action>) {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let consumed = match &mut self.state {
                State::Head { .. } => self.receive_head(rest, actions),
                State::Body { .. } | State::Collecting(_) => self.receive_body(rest, at, actions),
                State::Done => return,
            };
            at += consumed;
            self.end_if_complete(bytes.len() - at, actions);
        }
    }

    /// The upstream has closed its sending side.
    pub fn finish(&mut self, actions: &mut Vec<Action>) {
        let is_untouched = self.is_untouched();
        let finished = match &mut self.state {
            State::Head { .. } if is_untouched => Err(SessionError::Empty),
            State::Head { .. } => Err(SessionError::HeadCut),
            State::Body { body, .. } => body.finish().map_err(SessionError::Body),
            State::Collecting(collecting) => collecting.body.finish().map_err(SessionError::Body),
            State::Done => return,
        };
        match finished {
            Ok(()) => self.end(false, actions),
            Err(error) => self.fail(error, actions),
        }
    }

    /// The connection has ended without the announcement that TLS asks for. Returns whether that is the end of the
    /// response, and appends what it means to `actions` then.
    ///
    /// By RFC 9112 §9.8 a body that only the end of the connection delimits is complete only with the announcement.
    /// Many servers never send one, and browsers do not mind, so a playlist is taken whose text itself shows no cut:
    /// then nothing but whole lines can be missing, as always in a list that is asked for again and again.
    pub fn finish_unannounced(&mut self, actions: &mut Vec<Action>) -> bool {
        let State::Collecting(collecting) = &mut self.state else {
            return false;
        };
        let is_taken = collecting.body.lasts_until_close()
            && self
                .exchange
                .ends_with_a_line(&collecting.head, &collecting.bytes);
        if is_taken {
            self.end(false, actions);
        }
        is_taken
    }

    /// Returns how many of `bytes` belong to the head, or all of them while it is incomplete.
    fn receive_head(&mut self, bytes: &[u8], actions: &mut Vec<Action>) -> usize {
        let State::Head { partial } = &mut self.state else {
            return 0;
        };
        let mut gathered = std::mem::take(partial);
        let before = gathered.len();
        let input = if gathered.is_empty() {
            bytes
        } else {
            gathered.extend_from_slice(bytes);
            &gathered
        };
        let mended = mend(input);
        match decode_response(&mended) {
            Ok(Some((head, head_bytes))) => {
                if let Err(error) = self.take_head(&head, actions) {
                    self.fail(error, actions);
                }
                // The head was not complete before, so its end lies in what has just come.
                head_bytes.saturating_sub(before)
            }
            Ok(None) => {
                drop(mended);
                if gathered.is_empty() {
                    gathered.extend_from_slice(bytes);
                }
                self.state = State::Head { partial: gathered };
                bytes.len()
            }
            Err(error) => {
                self.fail(SessionError::Head(error), actions);
                bytes.len()
            }
        }
    }

    fn take_head(
        &mut self,
        head: &ResponseHead<'_>,
        actions: &mut Vec<Action>,
    ) -> Result<(), SessionError> {
        match head.status {
            101 => return Err(SessionError::Upgrade),
            100..200 => {
                self.interims += 1;
                if self.interims > INTERIMS_MAX {
                    let limit = INTERIMS_MAX;
                    return Err(SessionError::TooManyInterims { limit });
                }
                // A client of HTTP/1.0 does not know them (RFC 9110 §15.2).
                if self.exchange.client_minor_version > 0 {
                    actions.push(Action::Interim(relay::interim_head(head)));
                }
                return Ok(());
            }
            _ => {}
        }
        let mut framing = response_framing(head, self.exchange.is_head);
        let is_doubtful = framing == Err(FramingError::LengthAndCoding)
            && self
                .exchange
                .playlist_head(head, Framing::Chunked)
                .is_some();
        if is_doubtful {
            framing = coded_framing(head);
        }
        let framing = framing.map_err(SessionError::Framing)?;
        let persistent =
            framing != Framing::UntilClose && !is_doubtful && relay::is_persistent(head);
        if let Some(playlist) = self.exchange.playlist_head(head, framing) {
            self.state = State::Collecting(Box::new(Collecting {
                body: Body::new(framing),
                bytes: Vec::new(),
                head: playlist,
                persistent,
            }));
            return Ok(());
        }
        let as_framed = framing != Framing::Chunked || self.exchange.client_minor_version > 0;
        let relay = if as_framed {
            Relay::AsFramed
        } else {
            Relay::Decoded
        };
        actions.push(Action::Head(
            self.exchange.reply_head(head, framing, as_framed),
        ));
        self.state = State::Body {
            body: Body::new(framing),
            relay,
            opaque: framing != Framing::Chunked,
            persistent,
        };
        Ok(())
    }

    /// Returns how many of `bytes`, which begin at `offset` of the input, belong to the body.
    fn receive_body(&mut self, bytes: &[u8], offset: usize, actions: &mut Vec<Action>) -> usize {
        if let State::Body {
            body, opaque: true, ..
        } = &mut self.state
        {
            let len = body.take_opaque(bytes.len());
            if len > 0 {
                actions.push(Action::Body(offset..offset + len));
            }
            return len;
        }
        let mut parts = Vec::new();
        let result = match &mut self.state {
            State::Body { body, relay, .. } => body.receive(bytes, *relay, &mut parts),
            State::Collecting(collecting) => {
                collecting.body.receive(bytes, Relay::Decoded, &mut parts)
            }
            State::Head { .. } | State::Done => return bytes.len(),
        };
        if let State::Collecting(collecting) = &mut self.state {
            for part in parts.drain(..) {
                collecting
                    .bytes
                    .extend_from_slice(bytes.get(part).unwrap_or_default());
            }
            if collecting.bytes.len() > PLAYLIST_BYTES_MAX {
                let limit = PLAYLIST_BYTES_MAX;
                self.fail(SessionError::PlaylistTooLong { limit }, actions);
                return bytes.len();
            }
        }
        actions.extend(
            parts
                .into_iter()
                .map(|part| Action::Body(part.start + offset..part.end + offset)),
        );
        match result {
            Ok(consumed) => consumed,
            Err(error) => {
                self.fail(SessionError::Body(error), actions);
                bytes.len()
            }
        }
    }

    /// Ends the exchange once the body is complete; `surplus` bytes have come behind it.
    fn end_if_complete(&mut self, surplus: usize, actions: &mut Vec<Action>) {
        let (complete, persistent) = match &self.state {
            State::Body {
                body, persistent, ..
            } => (body.is_complete(), *persistent),
            State::Collecting(collecting) => (collecting.body.is_complete(), collecting.persistent),
            State::Head { .. } | State::Done => return,
        };
        if complete {
            // A server that says more than it was asked is not to be trusted with another request.
            self.end(persistent && surplus == 0, actions);
        }
    }

    fn end(&mut self, reusable: bool, actions: &mut Vec<Action>) {
        if let State::Collecting(collecting) = std::mem::replace(&mut self.state, State::Done) {
            let (head, body) = self.exchange.rewrite(collecting.head, collecting.bytes);
            actions.push(Action::Whole(head, body));
        }
        actions.push(Action::End { reusable });
    }

    fn fail(&mut self, error: SessionError, actions: &mut Vec<Action>) {
        self.state = State::Done;
        actions.push(Action::Failed(error));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::origin::HttpUrl;
    use crate::proto::rewrite::Links;

    /// What a client and the router get to see of a response.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Seen {
        interims: Vec<String>,
        head: Option<String>,
        delimited: bool,
        body: Vec<u8>,
        /// Whether the connection may be used again, or what went wrong.
        end: Option<Result<bool, SessionError>>,
    }

    impl Seen {
        fn body(&self) -> &str {
            str::from_utf8(&self.body).expect("text")
        }

        fn outcome(&self) -> (&str, Option<Result<bool, SessionError>>) {
            (self.body(), self.end.clone())
        }

        fn head(&self) -> &str {
            self.head.as_deref().expect("a head")
        }
    }

    fn exchange(target: &str) -> Exchange {
        let url = format!("http://media.lan{target}");
        Exchange {
            is_head: false,
            client_minor_version: 1,
            url: HttpUrl::parse(&url).expect("a URL"),
            links: Some(Rc::new(Links::new("http://tv.home/".to_owned(), "", true))),
            cors_allow_origin: None,
            access_cookie: None,
        }
    }

    /// The response to what `exchange` asked, in parts of at most `step` bytes and then closed; with `skipping`,
    /// opaque bytes go past unseen.
    fn relay(exchange: Exchange, response: &[u8], step: usize, skipping: bool) -> Seen {
        let minor_version = exchange.client_minor_version;
        let mut session = Session::new(Rc::new(exchange));
        let mut seen = Seen::default();
        let mut rest = response;
        let mut actions = Vec::new();
        loop {
            let opaque = usize::try_from(session.opaque_bytes()).unwrap_or(usize::MAX);
            let skipped = skipping && opaque > 0;
            let mut len = step.min(rest.len());
            if skipped {
                len = len.min(opaque);
            }
            let (part, behind) = rest.split_at(len);
            match (part.is_empty(), skipped) {
                (true, _) => session.finish(&mut actions),
                (false, false) => session.receive(part, &mut actions),
                (false, true) => {
                    session.skip(len as u64, &mut actions);
                    seen.body.extend_from_slice(part);
                }
            }
            let over = part.is_empty();
            for action in actions.drain(..) {
                assert_eq!(seen.end, None, "nothing comes behind the end");
                match action {
                    Action::Interim(head) => {
                        assert_eq!(seen.head, None, "interim responses come first");
                        seen.interims.push(String::from_utf8(head).expect("text"));
                    }
                    Action::Head(head) => seen.take_head(head, minor_version),
                    Action::Body(range) => {
                        assert!(seen.head.is_some(), "the head comes before the body");
                        seen.body.extend_from_slice(&part[range]);
                    }
                    Action::Whole(head, body) => {
                        seen.take_head(head, minor_version);
                        seen.body = body;
                    }
                    Action::End { reusable } => {
                        // What is still to come would be found before the connection is used again.
                        seen.end = Some(Ok(reusable && behind.is_empty()));
                    }
                    Action::Failed(error) => seen.end = Some(Err(error)),
                }
            }
            rest = behind;
            if over {
                return seen;
            }
        }
    }

    impl Seen {
        fn take_head(&mut self, head: ReplyHead, client_minor_version: u8) {
            assert_eq!(self.head, None, "there is one final head");
            self.delimited = head.delimited;
            let head = head.encode(client_minor_version, true);
            self.head = Some(String::from_utf8(head).expect("text"));
        }
    }

    fn get(target: &str, response: &str) -> Seen {
        relay(exchange(target), response.as_bytes(), usize::MAX, false)
    }

    #[test]
    fn header_lines_that_can_be_mended_are() {
        let response = "HTTP/1.1 200 OK\r\nContent-Length : 3\r\nA\t: b\r\n  c\r\n\r\nA :";
        for step in [1, 7, usize::MAX] {
            let seen = relay(exchange("/a"), response.as_bytes(), step, false);
            let head = "HTTP/1.1 200 OK\r\nA: b    c\r\nContent-Length: 3\r\n\r\n";
            assert_eq!(seen.head(), head);
            assert_eq!(seen.outcome(), ("A :", Some(Ok(true))));
        }
    }

    #[test]
    fn body_with_a_length_goes_through() {
        let seen = get(
            "/a",
            "HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 3\r\nKeep-Alive: timeout=5\r\nA: b\r\n\r\nabc",
        );
        assert_eq!(
            seen.head(),
            "HTTP/1.1 200 OK\r\nServer: x\r\nA: b\r\nContent-Length: 3\r\n\r\n"
        );
        assert_eq!(seen.outcome(), ("abc", Some(Ok(true))));
    }

    #[test]
    fn connection_is_kept_only_when_both_sides_agree_on_the_end() {
        for (response, reusable) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", true),
            ("HTTP/1.1 204 No Content\r\n\r\n", true),
            (
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: x, Close\r\n\r\na",
                false,
            ),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\na",
                false,
            ),
            ("HTTP/1.1 200 OK\r\n\r\na", false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", false),
            (
                "HTTP/1.1 204 No Content\r\nContent-Length: 1\r\n\r\na",
                false,
            ),
            (
                "HTTP/1.1 304 Not Modified\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
                false,
            ),
        ] {
            assert_eq!(get("/a", response).end, Some(Ok(reusable)), "{response}");
        }
    }

    #[test]
    fn responses_without_a_body_end_with_their_head() {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 900\r\nETag: \"x\"\r\n\r\n";
        let asked = Exchange {
            is_head: true,
            ..exchange("/x.m3u8")
        };
        let seen = relay(asked, head.as_bytes(), usize::MAX, false);
        assert_eq!(
            seen.head(),
            "HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 900\r\n\r\n"
        );
        assert_eq!(seen.outcome(), ("", Some(Ok(true))));
        // RFC 9110 §8.6 forbids it there.
        let seen = get("/a", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(seen.head(), "HTTP/1.1 204 No Content\r\n\r\n");
        let seen = get(
            "/a",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        );
        assert_eq!(
            seen.head(),
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"
        );
    }

    #[test]
    fn old_clients_get_neither_chunks_nor_interim_responses() {
        let old = Exchange {
            client_minor_version: 0,
            ..exchange("/a")
        };
        let response = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\
            Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\n";
        let seen = relay(old, response, usize::MAX, false);
        assert_eq!((seen.interims.len(), seen.delimited), (0, false));
        assert_eq!(
            seen.head(),
            "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n"
        );
        assert_eq!(seen.outcome(), ("abc", Some(Ok(true))));
        let seen = relay(exchange("/a"), response, usize::MAX, false);
        assert_eq!(seen.interims, ["HTTP/1.1 103 Early Hints\r\n\r\n"]);
        assert_eq!(seen.body(), "3\r\nabc\r\n0\r\n\r\n");
        assert!(seen.delimited && seen.head().contains("Transfer-Encoding: chunked\r\n"));
    }

    #[test]
    fn old_servers_end_the_body_with_the_connection() {
        let seen = get("/a", "HTTP/1.0 200 OK\r\nA: b\r\n\r\nabc");
        assert!(!seen.delimited && seen.head().starts_with("HTTP/1.0 200 OK\r\nA: b\r\n"));
        assert_eq!(seen.outcome(), ("abc", Some(Ok(false))));
    }

    #[test]
    fn what_makes_no_sense_fails_and_says_why() {
        let cut = |left| Err(SessionError::Body(BodyError::CutShort { left }));
        for (response, has_head, end) in [
            ("", false, Err(SessionError::Empty)),
            ("HTTP/1.1 200 OK\r\nA", false, Err(SessionError::HeadCut)),
            (
                "HTTP/1.1 100 Continue\r\n\r\n",
                false,
                Err(SessionError::HeadCut),
            ),
            (
                "RTSP/1.0 200 OK\r\n\r\n",
                false,
                Err(SessionError::Head(HeadError::Malformed(
                    "not an HTTP status line",
                ))),
            ),
            (
                "HTTP/1.1 101 Switching Protocols\r\n\r\n",
                false,
                Err(SessionError::Upgrade),
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                false,
                Err(SessionError::Framing(FramingError::LengthAndCoding)),
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
                true,
                cut(Some(2)),
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
                true,
                cut(None),
            ),
        ] {
            let seen = get("/a", response);
            assert_eq!(seen.head.is_some(), has_head, "{response}");
            match (seen.end, end) {
                (Some(Err(SessionError::Head(_))), Err(SessionError::Head(_))) => {}
                (seen, end) => assert_eq!(seen, Some(end), "{response}"),
            }
        }
    }

    #[test]
    fn endless_interim_responses_are_refused() {
        let response = |count| "HTTP/1.1 102 Processing\r\n\r\n".repeat(count);
        let last = "HTTP/1.1 204 No Content\r\n\r\n";
        let seen = get("/a", &(response(INTERIMS_MAX) + last));
        assert_eq!(
            (seen.interims.len(), seen.end),
            (INTERIMS_MAX, Some(Ok(true)))
        );
        let seen = get("/a", &(response(INTERIMS_MAX + 1) + last));
        let limit = INTERIMS_MAX;
        assert_eq!(seen.end, Some(Err(SessionError::TooManyInterims { limit })));
    }

    #[test]
    fn an_interim_response_is_something_received() {
        let mut session = Session::new(Rc::new(exchange("/a")));
        assert!(session.is_untouched());
        session.receive(b"HTTP/1.1 100 Continue\r\n\r\n", &mut Vec::new());
        assert!(session.awaits_head() && !session.is_untouched());
        let mut session = Session::new(Rc::new(exchange("/a")));
        session.receive(b"H", &mut Vec::new());
        assert!(!session.is_untouched());
    }

    const PLAYLIST: &str = "#EXTM3U\n#EXTINF:6,\ns1.ts\n";
    const REWRITTEN: &str = "#EXTM3U\n#EXTINF:6,\nhttp://tv.home/http/media.lan/live/s1.ts\n";

    #[test]
    fn playlists_are_gathered_and_rewritten() {
        let chunked =
            "HTTP/1.1 200 OK\r\nETag: \"x\"\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunked = format!("{chunked}{:x}\r\n{PLAYLIST}\r\n0\r\n\r\n", PLAYLIST.len());
        let length = format!(
            "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: {}\r\n\r\n{PLAYLIST}",
            PLAYLIST.len()
        );
        let until_close = format!("HTTP/1.1 200 OK\r\nA: b\r\n\r\n{PLAYLIST}");
        for (response, reusable) in [(chunked, true), (length, true), (until_close, false)] {
            let seen = get("/live/x.M3U8?a=b", &response);
            assert_eq!(
                seen.head(),
                format!(
                    "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: {}\r\n\r\n",
                    REWRITTEN.len()
                )
            );
            assert_eq!((seen.body(), seen.delimited), (REWRITTEN, true));
            assert_eq!(seen.end, Some(Ok(reusable)));
        }
    }

    /// Players ask for `bytes=0-` before they know what they get.
    #[test]
    fn part_that_is_the_whole_playlist_is_rewritten_as_the_whole() {
        let last = PLAYLIST.len() - 1;
        let response = format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Type: audio/mpegurl\r\n\
             Content-Range: bytes 0-{last}/{}\r\nContent-Length: {}\r\n\r\n{PLAYLIST}",
            PLAYLIST.len(),
            PLAYLIST.len()
        );
        let seen = get("/live/x", &response);
        assert!(
            seen.head().starts_with("HTTP/1.1 200 OK\r\n"),
            "{}",
            seen.head()
        );
        assert!(!seen.head().contains("Content-Range"));
        assert_eq!(seen.outcome(), (REWRITTEN, Some(Ok(true))));
    }

    #[test]
    fn playlist_in_chunks_may_name_a_length_too_and_ends_its_connection() {
        let with = |headers: &str| {
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{headers}\r\n{:x}\r\n{PLAYLIST}\r\n0\r\n\r\n",
                PLAYLIST.len()
            )
        };
        let chunked = with("Transfer-Encoding: chunked\r\n");
        let seen = get("/live/x.m3u8", &chunked);
        assert_eq!(seen.outcome(), (REWRITTEN, Some(Ok(false))));
        let refused = |seen: Seen| matches!(seen.end, Some(Err(SessionError::Framing(_))));
        assert!(refused(get("/live/x.ts", &chunked)), "not gathered");
        let gzip = with("Transfer-Encoding: gzip, chunked\r\n");
        assert!(refused(get("/live/x.m3u8", &gzip)));
        let old = chunked.replace("HTTP/1.1", "HTTP/1.0");
        assert!(refused(get("/live/x.m3u8", &old)));
    }

    #[test]
    fn what_is_no_whole_playlist_is_not_rewritten() {
        let with = |line: &str| {
            format!(
                "HTTP/1.1 {line}\r\nContent-Length: {}\r\n\r\n{PLAYLIST}",
                PLAYLIST.len()
            )
        };
        for (target, response) in [
            ("/live/x.ts", with("200 OK")),
            ("/live/x.m3u8", with("404 Not Found")),
            ("/live/x.m3u8", with("206 Partial Content")),
            ("/live/x.m3u8", with("200 OK\r\nContent-Encoding: br")),
        ] {
            let seen = get(target, &response);
            assert_eq!(seen.outcome(), (PLAYLIST, Some(Ok(true))), "{response}");
        }
        let by_type = with("200 OK\r\nContent-Type: Audio/MPEGURL; charset=utf-8");
        assert_eq!(get("/live/x", &by_type).body(), REWRITTEN);
        let part = with("206 Partial Content\r\nContent-Range: bytes 1-16/17");
        assert_eq!(get("/live/x.m3u8", &part).body(), PLAYLIST);
        let empty = get("/x.m3u8", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(empty.outcome(), ("", Some(Ok(true))));
        let long = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            PLAYLIST_BYTES_MAX + 1
        );
        let long = long
            .into_bytes()
            .into_iter()
            .chain(vec![b'\n'; PLAYLIST_BYTES_MAX + 1]);
        let seen = relay(
            exchange("/x.m3u8"),
            &long.collect::<Vec<u8>>(),
            1 << 16,
            false,
        );
        assert_eq!(
            (seen.body.len(), seen.end),
            (PLAYLIST_BYTES_MAX + 1, Some(Ok(true)))
        );
    }

    #[test]
    fn a_playlist_that_is_not_whole_fails_before_anything_is_sent() {
        let seen = get(
            "/x.m3u8",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n#EXTM3U\n",
        );
        assert_eq!((seen.head, seen.body.len()), (None, 0));
        let left = Some(1);
        let cut = SessionError::Body(BodyError::CutShort { left });
        assert_eq!(seen.end, Some(Err(cut)));
        let endless = [
            b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
            vec![b'\n'; PLAYLIST_BYTES_MAX + 1],
        ];
        let seen = relay(exchange("/x.m3u8"), &endless.concat(), 1 << 16, false);
        let limit = PLAYLIST_BYTES_MAX;
        assert_eq!(seen.end, Some(Err(SessionError::PlaylistTooLong { limit })));
        assert_eq!(seen.head, None);
    }

    #[test]
    fn a_playlist_without_the_announcement_of_its_end_is_taken_if_its_text_is_whole() {
        let head = "HTTP/1.0 200 OK\r\nA: b\r\n\r\n";
        let gzip = "HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\n\r\n";
        let packed = {
            use std::io::Write as _;
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            encoder.write_all(PLAYLIST.as_bytes()).expect("memory");
            encoder.finish().expect("memory")
        };
        let cut = packed.get(..packed.len() - 1).expect("not empty");
        for (head, body, taken) in [
            (head, PLAYLIST.as_bytes(), true),
            (head, b"\xef\xbb\xbf#EXTM3U\r\na.ts\r\n", true),
            (head, b"#EXTM3U\na.ts\n#EXT-X-ENDLIST", true),
            (head, b"#EXTM3U\na.ts\n#EXT-X-END", false),
            (head, b"#EXTM3U\na.ts", false),
            (head, b"#EXTM3U", false),
            (head, b"<html>\n", false),
            (head, b"", false),
            (gzip, &packed, true),
            (gzip, cut, false),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
                PLAYLIST.as_bytes(),
                false,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"8\r\n#EXTM3U\n\r\n",
                false,
            ),
        ] {
            let mut session = Session::new(Rc::new(exchange("/live/x.m3u8")));
            let mut actions = Vec::new();
            session.receive(&[head.as_bytes(), body].concat(), &mut actions);
            assert!(actions.is_empty());
            assert_eq!(
                session.finish_unannounced(&mut actions),
                taken,
                "{head}{body:?}"
            );
            match &actions[..] {
                [Action::Whole(..), Action::End { reusable: false }] => assert!(taken),
                others => assert!(others.is_empty() && !taken, "{others:?}"),
            }
        }
        let mut session = Session::new(Rc::new(exchange("/a.ts")));
        let mut actions = Vec::new();
        session.receive(
            &[head.as_bytes(), PLAYLIST.as_bytes()].concat(),
            &mut actions,
        );
        actions.clear();
        assert!(!session.finish_unannounced(&mut actions));
    }

    /// Responses near the grammar, sound ones above all.
    fn any_response() -> impl Strategy<Value = Vec<u8>> {
        let interim = "HTTP/1.1 10[0-3] x\r\n(A: b\r\n){0,2}\r\n";
        let line = "HTTP/1\\.[01] (200|204|206|302|304|404)( OK)?\r?\n";
        let header = prop_oneof![
            6 => "(A|Location|Set-Cookie|Connection|ETag): [a-z/=:]{0,9}\r\n",
            3 => "Content-Length: (0|[1-9]|3[0-9])\r\n",
            3 => "Transfer-Encoding: chunked\r\n",
            1 => "Content-Type: (audio/mpegurl|video/mp2t)\r\n",
            1 => "[A: \r\n\\x00]{0,5}\r\n",
        ];
        let piece = prop_oneof![
            4 => "[1-3](;[a-z]{0,5})?\r\n[a-z]{2}\r\n",
            4 => "2\r\n[a-z#]{2}\r\n",
            2 => "0\r\n(a: b\r\n){0,2}\r\n",
            4 => "[a-z/#:\n]{0,12}",
        ];
        let headers = prop::collection::vec(header, 0..4);
        let body = prop::collection::vec(piece, 0..8);
        let sound = (prop::collection::vec(interim, 0..3), line, headers, body).prop_map(
            |(interims, line, headers, body)| {
                let parts = [
                    interims.concat(),
                    line,
                    headers.concat(),
                    "\r\n".to_owned(),
                    body.concat(),
                ];
                parts.concat().into_bytes()
            },
        );
        prop_oneof![9 => sound, 1 => prop::collection::vec(any::<u8>(), 0..100)]
    }

    proptest! {
        #[test]
        fn splitting_and_skipping_do_not_change_what_is_seen(
            response in any_response(),
            target in prop_oneof![Just("/a.ts"), Just("/b/a.m3u8")],
            is_head in any::<bool>(),
            client_minor_version in 0u8..2,
            step in 1usize..30,
        ) {
            let asked = Exchange { is_head, client_minor_version, ..exchange(target) };
            let whole = relay(asked.clone(), &response, usize::MAX, false);
            prop_assert!(whole.end.is_some(), "every response comes to an end");
            prop_assert_eq!(&relay(asked.clone(), &response, step, false), &whole);
            prop_assert_eq!(&relay(asked, &response, step, true), &whole);
        }

        #[test]
        fn a_playlist_comes_out_the_same_however_it_is_cut(
            lines in prop::collection::vec("(#EXTINF:[0-9],|[a-z/]{0,12}\\.ts|https?://[a-z]{1,5}/x|)", 0..12),
            sizes in prop::collection::vec(1usize..20, 1..9),
            step in 1usize..30,
        ) {
            let text = lines.join("\n");
            let length = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
            let mut chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
            let mut rest = text.as_str();
            for size in sizes.iter().cycle() {
                let (part, behind) = rest.split_at(rest.len().min(*size));
                chunked += &format!("{:x}\r\n{part}\r\n", part.len());
                rest = behind;
                if part.is_empty() {
                    break;
                }
            }
            let whole = get("/b/a.m3u8", &length);
            let cut = relay(exchange("/b/a.m3u8"), chunked.as_bytes(), step, false);
            prop_assert_eq!(cut.body, whole.body);
        }

        #[test]
        fn nothing_panics(response in prop::collection::vec(any::<u8>(), 0..300), step in 1usize..40) {
            relay(exchange("/a.m3u8"), &[b"HTTP/1.1 200 OK\r\n", &response[..]].concat(), step, true);
        }
    }
}
