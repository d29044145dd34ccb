//! What a reverse proxy changes in the heads that pass it (RFC 9110 §7.6, http-proxy spec §7, §10, §11).
//!
//! Headers that concern one connection only are taken out in both directions; framing headers are written anew
//! from the framing that was understood, so that both sides of the proxy agree on where a message ends.

use std::borrow::Cow;

use super::headers::list_elements;
use super::{Framing, Headers, OwnedHeaders, ResponseHead};
use crate::proto::rewrite::{playlist, token};
use crate::proto::url;

/// Headers that concern one connection only (RFC 9110 §7.6.1). `Content-Length` and
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

/// Request headers that are replaced or removed besides (http-proxy spec §7.2).
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
    pub headers: &'a OwnedHeaders,
    /// Replaces the client's `User-Agent`.
    pub user_agent: Option<&'a str>,
    /// Access is by token: the client's copies of it must not leave (http-proxy spec §7.3).
    pub hides_token: bool,
    /// Value of `Authorization`, unless the client has one of its own.
    pub authorization: Option<&'a str>,
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
                push_length(&mut head, bytes);
            }
            Framing::Chunked => push_header(&mut head, "Transfer-Encoding", b"chunked"),
            Framing::Empty | Framing::UntilClose => {}
        }
        let is_playlist = playlist::is_playlist_path(self.target);
        let nominated = nominated(self.headers.iter());
        for (name, value) in self.headers.iter() {
            let replaced = self.user_agent.is_some() && name.eq_ignore_ascii_case("user-agent");
            if !value.is_empty()
                && !replaced
                && !lists(&REQUEST_HEADERS, name)
                && is_end_to_end(name, &nominated)
                && (!is_playlist || playlist::keeps_request_header(name))
                && let Some(value) = self.without_secrets(name, value)
            {
                push_header(&mut head, name, &value);
            }
        }
        if let Some(agent) = self.user_agent {
            push_header(&mut head, "User-Agent", agent.as_bytes());
        }
        if let Some(value) = self.authorization
            && self.headers.get("authorization").is_none()
        {
            push_header(&mut head, "Authorization", value.as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        head
    }

    /// What may leave of a header; nothing if it was only the token, or where it has a password of another upstream.
    fn without_secrets<'v>(&self, name: &str, value: &'v [u8]) -> Option<Cow<'v, [u8]>> {
        if name.eq_ignore_ascii_case("referer") && names_password(value) {
            None
        } else if !self.hides_token {
            Some(Cow::Borrowed(value))
        } else if name.eq_ignore_ascii_case("cookie") {
            token::without_token_cookie(value)
        } else if name.eq_ignore_ascii_case("user-agent") {
            token::without_token_agent(value)
        } else if name.eq_ignore_ascii_case("referer") {
            // The page that the link stood on may have been opened with the token in its query.
            (!token::names_token(value)).then_some(Cow::Borrowed(value))
        } else {
            Some(Cow::Borrowed(value))
        }
    }
}

/// Whether the page that a link stood on was asked for with a password in its URL, which is for its own upstream.
fn names_password(referer: &[u8]) -> bool {
    memchr::memchr2(b'@', b'%', referer).is_some()
        && str::from_utf8(referer).is_ok_and(url::has_password)
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

    /// As [`ReplyHeadBuilder::new`], for a body that is no part any more: 206 becomes 200.
    pub(super) fn whole(head: &ResponseHead<'_>) -> Self {
        if head.status != 206 {
            return Self::new(head);
        }
        Self::new(&ResponseHead {
            status: 200,
            reason: b"OK",
            ..head.clone()
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
            Framing::Length(bytes) => push_length(&mut self.0.bytes, bytes),
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
    headers
        .iter()
        .filter(move |(name, _)| is_end_to_end(name, &nominated))
}

/// The headers that say how the body is framed, as they came.
pub(super) fn framing_headers<'a>(
    headers: &Headers<'a>,
) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    headers
        .iter()
        .filter(|(name, _)| lists(&["content-length", "transfer-encoding"], name))
}

/// What `Connection` names (RFC 9110 §7.6.1) besides what never gets further anyway; mostly nothing.
fn nominated<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Vec<&'a [u8]> {
    let goes_further =
        |element: &&[u8]| !lists(&["close"], element) && !lists(&CONNECTION_HEADERS, element);
    headers
        .filter(|(name, _)| name.eq_ignore_ascii_case("connection"))
        .flat_map(|(_, value)| list_elements(value))
        .filter(goes_further)
        .collect()
}

/// Whether a header is for whoever is behind the proxy, with what `Connection` has `nominated`.
fn is_end_to_end(name: &str, nominated: &[&[u8]]) -> bool {
    !lists(&CONNECTION_HEADERS, name)
        && !nominated
            .iter()
            .any(|nominated| nominated.eq_ignore_ascii_case(name.as_bytes()))
}

fn lists(names: &[&str], name: impl AsRef<[u8]>) -> bool {
    let name = name.as_ref();
    names
        .iter()
        .any(|listed| listed.as_bytes().eq_ignore_ascii_case(name))
}

fn push_status_line(bytes: &mut Vec<u8>, minor_version: u8, head: &ResponseHead<'_>) {
    bytes.extend_from_slice(b"HTTP/1.");
    bytes.push(b'0' + minor_version.min(9));
    bytes.push(b' ');
    bytes.extend_from_slice(itoa::Buffer::new().format(head.status).as_bytes());
    for part in [b" ", head.reason, b"\r\n"] {
        bytes.extend_from_slice(part);
    }
}

fn push_length(head: &mut Vec<u8>, bytes: u64) {
    push_header(
        head,
        "Content-Length",
        itoa::Buffer::new().format(bytes).as_bytes(),
    );
}

fn push_header(bytes: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        bytes.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode_response;
    use super::*;

    fn request(headers: &OwnedHeaders) -> Forward<'_> {
        Forward {
            method: "GET",
            target: "/a",
            host: "media.lan",
            framing: Framing::Empty,
            headers,
            user_agent: None,
            hides_token: false,
            authorization: None,
        }
    }

    fn headers(list: &[(&str, &str)]) -> OwnedHeaders {
        list.iter().copied().collect()
    }

    fn text(forward: &Forward<'_>) -> String {
        String::from_utf8(forward.encode()).expect("text")
    }

    /// What is forwarded of one header, beside `Host`.
    fn forwarded(forward: Forward<'_>, header: (&str, &str)) -> String {
        let headers = headers(&[header]);
        let head = text(&Forward {
            headers: &headers,
            ..forward
        });
        let rest = head.split_once("\r\nHost: media.lan\r\n");
        rest.expect("a host").1.to_owned()
    }

    #[test]
    fn request_has_its_parts_in_order() {
        let headers = headers(&[
            ("host", "tv.home:5140"),
            ("ACCEPT", "*/*"),
            ("Content-Length", "4"),
            ("user-agent", "P/1"),
            ("X_Odd", "\u{e9}"),
            ("Range", "bytes=0-"),
            ("accept", "a/b"),
        ]);
        let forward = Forward {
            method: "PROPFIND",
            framing: Framing::Length(3),
            user_agent: Some("own"),
            ..request(&headers)
        };
        assert_eq!(
            text(&forward),
            "PROPFIND /a HTTP/1.1\r\nHost: media.lan\r\nContent-Length: 3\r\nACCEPT: */*\r\n\
             X_Odd: \u{e9}\r\nRange: bytes=0-\r\naccept: a/b\r\nUser-Agent: own\r\n\r\n"
        );
    }

    #[test]
    fn body_is_announced_as_it_was_understood() {
        for (framing, line) in [
            (Framing::Empty, ""),
            (Framing::Length(0), "Content-Length: 0\r\n"),
            (Framing::Length(7), "Content-Length: 7\r\n"),
            (Framing::Chunked, "Transfer-Encoding: chunked\r\n"),
        ] {
            let headers = headers(&[("transfer-encoding", "chunked"), ("CONTENT-LENGTH", "9")]);
            let forward = Forward {
                framing,
                ..request(&headers)
            };
            let expected = format!("GET /a HTTP/1.1\r\nHost: media.lan\r\n{line}\r\n");
            assert_eq!(text(&forward), expected);
        }
    }

    #[test]
    fn headers_of_the_connection_and_of_the_proxy_are_not_forwarded() {
        for name in [
            "Connection",
            "Keep-Alive",
            "Proxy-Authorization",
            "Proxy-Connection",
            "TE",
            "Trailer",
            "Upgrade",
            "Accept-Encoding",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-FORWARDED-PROTO",
        ] {
            assert_eq!(
                forwarded(request(&OwnedHeaders::default()), (name, "x")),
                "\r\n",
                "{name}"
            );
        }
        for name in [
            "Authorization",
            "Cookie",
            "Expect",
            "Forwarded",
            "If-None-Match",
            "Origin",
            "Range",
            "Referer",
            "Via",
            "X-Real-IP",
        ] {
            let expected = format!("{name}: x\r\n\r\n");
            assert_eq!(
                forwarded(request(&OwnedHeaders::default()), (name, "x")),
                expected
            );
            assert_eq!(
                forwarded(request(&OwnedHeaders::default()), (name, "")),
                "\r\n",
                "{name} is empty"
            );
        }
    }

    #[test]
    fn what_connection_names_is_not_forwarded() {
        let headers = headers(&[
            ("connection", "close,\tX-a , ,"),
            ("x-A", "1"),
            ("x-b", "2"),
            ("Connection", "X-B"),
            ("X-C", "3"),
        ]);
        let head = text(&request(&headers));
        assert_eq!(head, "GET /a HTTP/1.1\r\nHost: media.lan\r\nX-C: 3\r\n\r\n");
    }

    #[test]
    fn playlists_are_asked_for_whole() {
        let none = OwnedHeaders::default();
        let playlist = Forward {
            target: "/a.m3u8?b",
            ..request(&none)
        };
        for name in ["Range", "If-Range", "If-None-Match", "If-Modified-Since"] {
            assert_eq!(forwarded(playlist, (name, "x")), "\r\n", "{name}");
        }
    }

    #[test]
    fn user_of_the_url_asks_unless_the_client_says_who_does() {
        for (sent, expected) in [
            (None, "Authorization: Basic dTpw\r\n\r\n"),
            (Some("Bearer x"), "Authorization: Bearer x\r\n\r\n"),
            (Some("Basic eDp5"), "Authorization: Basic eDp5\r\n\r\n"),
        ] {
            let headers = sent.map(|value| headers(&[("Authorization", value)]));
            let head = text(&Forward {
                authorization: Some("Basic dTpw"),
                ..request(&headers.unwrap_or_default())
            });
            let behind = head.split_once("Host: media.lan\r\n").expect("a host").1;
            assert_eq!(behind, expected, "{sent:?}");
        }
    }

    #[test]
    fn passwords_of_other_upstreams_do_not_leave() {
        let none = OwnedHeaders::default();
        for (value, kept) in [
            ("http://tv.home/http/u:p@a.lan/x.m3u8", false),
            ("http://tv.home/http/a.lan/x.m3u8", true),
            ("http://tv.home/a?mail=me@a.lan", true),
        ] {
            let forwarded = forwarded(request(&none), ("Referer", value));
            assert_eq!(forwarded.contains("Referer"), kept, "{value}");
        }
    }

    #[test]
    fn token_does_not_leave() {
        let none = OwnedHeaders::default();
        let hiding = Forward {
            hides_token: true,
            ..request(&none)
        };
        for (name, value, kept) in [
            ("cookie", "a=1; r2h-token=s;b=2", "a=1; b=2"),
            ("Cookie", "R2H-Token=s", ""),
            ("USER-AGENT", "P/1 R2HTOKEN/s X", "P/1 X"),
            ("User-Agent", "R2HTOKEN/s", ""),
            ("Referer", "http://tv.home/player?R2H-TOKEN=s&a=b", ""),
            (
                "referer",
                "http://tv.home/player?a=b",
                "http://tv.home/player?a=b",
            ),
        ] {
            let line = match kept {
                "" => "\r\n".to_owned(),
                kept => format!("{name}: {kept}\r\n\r\n"),
            };
            assert_eq!(forwarded(hiding, (name, value)), line, "{value}");
            let open = format!("{name}: {value}\r\n\r\n");
            assert_eq!(
                forwarded(request(&OwnedHeaders::default()), (name, value)),
                open,
                "without a token"
            );
        }
    }

    fn response(head: &str) -> ResponseHead<'_> {
        decode_response(head.as_bytes())
            .expect("sound")
            .expect("complete")
            .0
    }

    #[test]
    fn headers_of_the_connection_are_not_relayed() {
        let head = response(
            "HTTP/1.1 200 OK\r\nConnection: X-A, keep-alive\r\nDate: d\r\nx-a: b\r\nKeep-Alive: c\r\n\
             Proxy-Authenticate: e\r\nTrailer: f\r\nUpgrade: g\r\nContent-Length: 1\r\nVia: h\r\n\
             Empty:\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        let names: Vec<&str> = end_to_end(&head.headers).map(|(name, _)| name).collect();
        assert_eq!(names, ["Date", "Via", "Empty"]);
        let names: Vec<&str> = framing_headers(&head.headers)
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["Content-Length", "Transfer-Encoding"]);
    }

    #[test]
    fn client_is_told_whether_the_connection_lasts() {
        let encode = |server: u8, client, keep_alive| {
            let text = format!("HTTP/1.{server} 200 Fine\r\n\r\n");
            let head = ReplyHeadBuilder::new(&response(&text)).build();
            String::from_utf8(head.encode(client, keep_alive)).expect("text")
        };
        let (close, keep) = ("Connection: close\r\n", "Connection: keep-alive\r\n");
        for (server, client, keep_alive, line) in [
            (1, 1, true, ""),
            (1, 1, false, close),
            (1, 0, true, keep),
            (0, 1, true, keep),
            (0, 0, false, close),
        ] {
            let expected = format!("HTTP/1.{server} 200 Fine\r\n{line}\r\n");
            assert_eq!(encode(server, client, keep_alive), expected);
        }
        // A version that nobody has seen yet is not passed on.
        assert!(encode(7, 1, true).starts_with("HTTP/1.1 "));
    }

    #[test]
    fn interim_head_is_whole_and_has_no_framing() {
        let head = response(
            "HTTP/1.1 103 Early Hints\r\nLink: a\r\nContent-Length: 3\r\nConnection: x\r\n\r\n",
        );
        assert_eq!(
            interim_head(&head),
            b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"
        );
    }

    #[test]
    fn only_a_current_server_that_does_not_close_keeps_the_connection() {
        for (head, persistent) in [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nConnection: closed\r\n\r\n", true),
            (
                "HTTP/1.1 200 OK\r\nConnection: a\r\nConnection: b,CLOSE\r\n\r\n",
                false,
            ),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", false),
        ] {
            assert_eq!(is_persistent(&response(head)), persistent, "{head}");
        }
    }
}
