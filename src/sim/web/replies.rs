//! Reads what a client is answered over one connection, and panics at the first byte that cannot be right.

use std::time::Instant;

use super::super::media::body_byte;
use super::exchange::{Exchange, NUMBER_HEADER};
use super::wire::Body;

/// The answers over one connection, in the order of the requests.
#[derive(Debug, Default)]
pub(in crate::sim) struct Replies {
    /// Exchanges asked for, in order.
    pub(in crate::sim) numbers: Vec<usize>,
    pub(in crate::sim) done: Vec<Done>,
    /// Interim responses.
    pub(in crate::sim) interims: usize,
    /// The router has said that it will close the connection.
    pub(in crate::sim) closes: bool,
    head: Vec<u8>,
    body: Option<Running>,
}

#[derive(Debug)]
struct Running {
    body: Body,
    status: u16,
    offset: u64,
    local: bool,
}

/// An answer that is complete, as far as the client can tell.
#[derive(Debug, Clone, Copy)]
pub(in crate::sim) struct Done {
    pub(in crate::sim) status: u16,
    /// Made by the router itself.
    pub(in crate::sim) local: bool,
    pub(in crate::sim) bytes: u64,
    pub(in crate::sim) at: Instant,
}

impl Replies {
    pub(in crate::sim) fn push(&mut self, mut bytes: &[u8], now: Instant, exchanges: &[Exchange]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.body.is_none() {
                self.head.push(byte);
                bytes = rest;
                if self.head.ends_with(b"\r\n\r\n") {
                    self.read_head(exchanges);
                }
            }
            bytes = &bytes[self.read_body(bytes)..];
            self.end_if_complete(now, exchanges);
        }
    }

    /// The connection has ended after all that was pushed.
    pub(in crate::sim) fn finish(&mut self, now: Instant, exchanges: &[Exchange]) {
        if let Some(running) = &mut self.body
            && running.body == Body::UntilClose
        {
            running.body = Body::Complete;
            self.end_if_complete(now, exchanges);
        }
    }

    /// Whether an answer has been begun and is not complete.
    pub(in crate::sim) fn is_cut(&self) -> bool {
        self.body.is_some() || !self.head.is_empty()
    }

    fn number(&self) -> usize {
        *self
            .numbers
            .get(self.done.len())
            .expect("no more answers than requests")
    }

    fn read_head(&mut self, exchanges: &[Exchange]) {
        let head = std::mem::take(&mut self.head);
        let text = std::str::from_utf8(&head).expect("a head is ASCII");
        assert!(!self.closes, "an answer behind the last: {text}");
        let number = self.number();
        let exchange = &exchanges[number];
        let value = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(": "));
            lines.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
        };
        let status = text.get(9..12).and_then(|code| code.parse().ok());
        let status: u16 = status.unwrap_or_else(|| panic!("no status: {text}"));
        assert!(text.starts_with("HTTP/1."), "{text}");
        if (100..200).contains(&status) {
            assert!(exchange.minor > 0, "HTTP/1.0 knows no interim responses");
            self.interims += 1;
            return;
        }
        let local = value("X-Flowgate-Error").is_some();
        let chunked = value("Transfer-Encoding").is_some();
        let length = value("Content-Length").map(|text| text.parse().expect("a length"));
        let says_close = value("Connection") == Some("close");
        if local {
            assert!(says_close, "errors of the router end the connection");
        } else {
            let told = value(NUMBER_HEADER).map(|number| number.parse::<usize>());
            assert_eq!(
                told,
                Some(Ok(number)),
                "the answer to another request: {text}"
            );
            assert_eq!(status, exchange.reply.status, "status of exchange {number}");
            let location = value("Location").map(str::to_owned);
            assert_eq!(location, exchange.reply.location, "exchange {number}");
        }
        let bodiless = exchange.method == "HEAD" || matches!(status, 204 | 304);
        let body = match (length, chunked) {
            _ if bodiless => Body::Complete,
            (Some(_), true) => panic!("framed twice: {text}"),
            (Some(length), false) => Body::length(length),
            (None, true) => {
                assert!(exchange.minor > 0, "HTTP/1.0 knows no chunks");
                Body::chunked()
            }
            (None, false) => Body::UntilClose,
        };
        let delimited = body != Body::UntilClose;
        let kept = exchange.minor > 0 || value("Connection") == Some("keep-alive");
        self.closes = says_close || !delimited || !kept;
        assert!(
            self.closes || !exchange.client_closes,
            "kept against its will"
        );
        self.body = Some(Running {
            body,
            status,
            offset: 0,
            local,
        });
    }

    /// Returns how many of `bytes` belong to the body.
    fn read_body(&mut self, bytes: &[u8]) -> usize {
        if self.body.is_none() {
            return 0;
        }
        let number = self.number();
        let Some(running) = &mut self.body else {
            return 0;
        };
        let (mut offset, local) = (running.offset, running.local);
        let used = running.body.take(bytes, |data| {
            for &byte in data.iter().filter(|_| !local) {
                let due = body_byte(number, offset);
                assert_eq!(byte, due, "byte {offset} of exchange {number}");
                offset += 1;
            }
        });
        running.offset = offset;
        used
    }

    fn end_if_complete(&mut self, now: Instant, exchanges: &[Exchange]) {
        let Some(running) = self.body.take_if(|running| running.body == Body::Complete) else {
            return;
        };
        let number = self.number();
        let reply = &exchanges[number].reply;
        if !running.local {
            let whole = running.offset == reply.body_bytes;
            assert!(
                whole || (reply.until_close && running.offset < reply.body_bytes),
                "exchange {number} seems complete with {} of {} bytes",
                running.offset,
                reply.body_bytes
            );
        }
        self.done.push(Done {
            status: running.status,
            local: running.local,
            bytes: running.offset,
            at: now,
        });
    }
}
