//! A plain HTTP client: shows what was answered, byte by byte.

use std::io::Read;
use std::net::TcpStream;

use super::server::read_to_end;

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Status line and headers as they came, the empty line included.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The value of the only header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.head.lines().filter_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        });
        let value = values.next();
        assert_eq!(values.next(), None, "{name} occurs twice: {}", self.head);
        value
    }

    /// Insists on the error page of the specification (server spec §5.4).
    pub(crate) fn assert_error(&self, status: u16, reason: &str) {
        assert_eq!(self.status, status, "{}", self.head);
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!(
            body,
            format!("<!doctype html><title>{status}</title>{reason}")
        );
        assert_eq!(self.header("Connection"), Some("close"));
        assert_eq!(
            self.header("Content-Length"),
            Some(&*self.body.len().to_string())
        );
    }
}

pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

/// Sends these bytes to a port of this host and reads the answer to its end.
pub(crate) fn exchange(port: u16, request: &[u8]) -> Response {
    let mut stream = super::server::connect(port);
    std::io::Write::write_all(&mut stream, request).expect("request sent");
    read_response(&mut stream)
}

/// Reads one answer to its end, which must be an orderly close.
pub(crate) fn read_response(stream: &mut TcpStream) -> Response {
    parse(read_to_end(stream))
}

pub(crate) fn parse(mut bytes: Vec<u8>) -> Response {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(&bytes))) + 4;
    let body = bytes.split_off(end);
    let head = String::from_utf8(bytes).expect("a head in ASCII");
    assert!(head.starts_with("HTTP/1.1 "), "{head}");
    let status = head[9..12].parse().expect("three digits");
    Response { status, head, body }
}

/// The body of a stream, head removed.
pub(crate) struct Body {
    pub(crate) head: Response,
    pub(crate) stream: TcpStream,
}

impl Body {
    /// Reads the head, which must say 200. Byte by byte at the end of it, so that no media is lost.
    pub(crate) fn begin(stream: TcpStream) -> Self {
        let body = Self::begin_relayed(stream);
        let head = &body.head;
        assert_eq!(head.header("Content-Type"), Some("video/mp2t"));
        assert_eq!(head.header("Connection"), Some("close"));
        assert_eq!(head.header("R2H-Upstream-Protocol"), Some("multicast"));
        assert_eq!(head.header("Content-Length"), None);
        body
    }

    /// As [`Body::begin`], for whatever an origin has answered with 200.
    pub(crate) fn begin_relayed(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            let len = stream.read(&mut byte).expect("a head in time");
            assert!(len == 1, "closed: {}", String::from_utf8_lossy(&bytes));
            bytes.push(byte[0]);
        }
        let head = parse(bytes);
        assert_eq!(head.status, 200, "{}", head.head);
        Self { head, stream }
    }

    /// Reads exactly so many bytes.
    pub(crate) fn take(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes).expect("media in time");
        bytes
    }

    /// Reads whole TS packets for some time; the last one is completed.
    pub(crate) fn take_for(&mut self, time: std::time::Duration) -> Vec<u8> {
        let until = std::time::Instant::now() + time;
        let mut bytes = Vec::new();
        while std::time::Instant::now() < until {
            bytes.extend(self.take(188));
        }
        bytes
    }
}
