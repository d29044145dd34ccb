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
mod tests;
