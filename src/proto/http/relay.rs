//! What a reverse proxy changes in the heads that pass it (RFC 9110 §7.6, http-proxy spec §7, §10, §11).
//!
//! Headers that concern one connection only are taken out in both directions; framing headers are written anew
//! from the framing that was understood, so that both sides of the proxy agree on where a message ends.

use std::borrow::Cow;

use super::{Framing, Headers, ResponseHead};
use crate::proto::rewrite::{playlist, token};

/// Headers that concern one connection only (RFC 9110 §7.6.1), in lower case. `Content-Length` and
/// `Transfer-Encoding` are among them, because framing is written anew.
const CONNECTION_HEADERS: [&str; 10] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Request headers that are replaced or removed besides (http-proxy spec §7.2), in lower case.
const REQUEST_HEADERS: [&str; 5] = [
    "accept-encoding",
    "host",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

/// A request as it goes to the upstream.
#[derive(Debug, Clone, Copy)]
pub struct Forward<'a> {
    /// The method as the client sent it.
    pub method: &'a str,
    /// Path and query for the upstream.
    pub target: &'a str,
    /// Value of `Host`.
    pub host: &'a str,
    /// How the body is framed.
    pub framing: Framing,
    /// The client's headers, in its order.
    pub headers: &'a [(String, Vec<u8>)],
    /// Replaces the client's `User-Agent`.
    pub user_agent: Option<&'a str>,
    /// Access is by token: the client's copies of it must not leave (http-proxy spec §7.3).
    pub hides_token: bool,
}

impl Forward<'_> {
    /// The head, ready to be sent.
    pub fn encode(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(512);
        for part in [self.method, " ", self.target, " HTTP/1.1\r\n"] {
            head.extend_from_slice(part.as_bytes());
        }
        push_header(&mut head, "Host", self.host.as_bytes());
        match self.framing {
            Framing::Length(bytes) => {
                push_header(&mut head, "Content-Length", bytes.to_string().as_bytes());
            }
            Framing::Chunked => push_header(&mut head, "Transfer-Encoding", b"chunked"),
            Framing::Empty | Framing::UntilClose => {}
        }
        let is_playlist = playlist::is_playlist_path(self.target);
        let nominated = nominated(
            self.headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_slice())),
        );
        for (name, value) in self.headers {
            let lower = name.to_ascii_lowercase();
            let replaced = self.user_agent.is_some() && lower == "user-agent";
            if !value.is_empty()
                && !replaced
                && !CONNECTION_HEADERS.contains(&lower.as_str())
                && !REQUEST_HEADERS.contains(&lower.as_str())
                && !nominated.contains(&lower)
                && (!is_playlist || playlist::keeps_request_header(name))
                && let Some(value) = self.without_token(&lower, value)
            {
                push_header(&mut head, name, &value);
            }
        }
        if let Some(agent) = self.user_agent {
            push_header(&mut head, "User-Agent", agent.as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        head
    }

    /// What may leave of a header; nothing if it was only the token.
    fn without_token<'v>(&self, lower: &str, value: &'v [u8]) -> Option<Cow<'v, [u8]>> {
        match lower {
            "cookie" if self.hides_token => token::without_token_cookie(value),
            "user-agent" if self.hides_token => token::without_token_agent(value),
            _ => Some(Cow::Borrowed(value)),
        }
    }
}

/// A response head as it goes to the client, but for what depends on the client's connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyHead {
    /// Status line and headers, each line with its end; the empty line is missing.
    bytes: Vec<u8>,
    /// The status.
    pub status: u16,
    /// The `x` of `HTTP/1.x` in the status line.
    minor_version: u8,
    /// The end of the body can be told without closing the connection.
    pub delimited: bool,
}

impl ReplyHead {
    /// The whole head. `keep_alive` says whether the client may send another request.
    pub fn encode(mut self, client_minor_version: u8, keep_alive: bool) -> Vec<u8> {
        if !keep_alive {
            push_header(&mut self.bytes, "Connection", b"close");
        } else if client_minor_version == 0 || self.minor_version == 0 {
            push_header(&mut self.bytes, "Connection", b"keep-alive");
        }
        self.bytes.extend_from_slice(b"\r\n");
        self.bytes
    }
}

/// Builds a [`ReplyHead`] line by line.
#[derive(Debug)]
pub(super) struct ReplyHeadBuilder(ReplyHead);

impl ReplyHeadBuilder {
    /// With the status line of `head`; the version digit is kept (http-proxy spec §10.2).
    pub(super) fn new(head: &ResponseHead<'_>) -> Self {
        let minor_version = head.minor_version.min(1);
        let mut bytes = Vec::with_capacity(512);
        push_status_line(&mut bytes, minor_version, head);
        Self(ReplyHead {
            bytes,
            status: head.status,
            minor_version,
            delimited: true,
        })
    }

    /// Appends a header.
    pub(super) fn header(&mut self, name: &str, value: &[u8]) {
        push_header(&mut self.0.bytes, name, value);
    }

    /// Writes how the body is framed, which comes to the client as it came here if `as_framed`, and otherwise up
    /// to the end of the connection.
    pub(super) fn framing(&mut self, framing: Framing, as_framed: bool) {
        match framing {
            Framing::Length(bytes) => self.header("Content-Length", bytes.to_string().as_bytes()),
            Framing::Chunked if as_framed => self.header("Transfer-Encoding", b"chunked"),
            Framing::Chunked | Framing::UntilClose => self.0.delimited = false,
            Framing::Empty => {}
        }
    }

    /// Done.
    pub(super) fn build(self) -> ReplyHead {
        self.0
    }
}

/// An interim response (RFC 9110 §15.2) as it goes to the client, whole.
pub(super) fn interim_head(head: &ResponseHead<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    push_status_line(&mut bytes, 1, head);
    for (name, value) in end_to_end(&head.headers) {
        push_header(&mut bytes, name, value);
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// Whether the server keeps the connection for another request (RFC 9112 §9.3). HTTP/1.0 servers that offer it
/// are not taken at their word.
pub(super) fn is_persistent(head: &ResponseHead<'_>) -> bool {
    head.minor_version > 0
        && !head
            .headers
            .tokens("connection")
            .any(|token| token.eq_ignore_ascii_case(b"close"))
}

/// The headers that are for the client and not for this connection, framing left out.
pub(super) fn end_to_end<'a>(headers: &Headers<'a>) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    let nominated = nominated(headers.iter());
    headers.iter().filter(move |(name, _)| {
        let lower = name.to_ascii_lowercase();
        !CONNECTION_HEADERS.contains(&lower.as_str()) && !nominated.contains(&lower)
    })
}

/// The headers that say how the body is framed, as they came.
pub(super) fn framing_headers<'a>(
    headers: &Headers<'a>,
) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    headers.iter().filter(|(name, _)| {
        ["content-length", "transfer-encoding"]
            .iter()
            .any(|framing| name.eq_ignore_ascii_case(framing))
    })
}

/// What `Connection` names, in lower case (RFC 9110 §7.6.1).
fn nominated<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Vec<String> {
    headers
        .filter(|(name, _)| name.eq_ignore_ascii_case("connection"))
        .flat_map(|(_, value)| value.split(|byte| *byte == b','))
        .map(|token| String::from_utf8_lossy(token.trim_ascii()).to_ascii_lowercase())
        .collect()
}

fn push_status_line(bytes: &mut Vec<u8>, minor_version: u8, head: &ResponseHead<'_>) {
    bytes.extend_from_slice(format!("HTTP/1.{minor_version} {} ", head.status).as_bytes());
    bytes.extend_from_slice(head.reason);
    bytes.extend_from_slice(b"\r\n");
}

fn push_header(bytes: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        bytes.extend_from_slice(part);
    }
}
