//! Both ends of a connection, byte by byte: what is sent is given literally, what comes is framed by hand.
//!
//! An [`Origin`] is a listener that the test itself serves, step by step; each [`Wire`] is a connection on which
//! nothing waits longer than [`SOON`].

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use crate::support::http::Response;
use crate::support::server::Server;
use crate::support::{SOON, wait_for};

/// One end of a connection.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
}

impl Wire {
    /// A client's connection to the router.
    pub(crate) fn to(server: &Server) -> Self {
        Self {
            stream: server.connect(),
        }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("sent in time");
    }

    /// Reads one head, the empty line included, and nothing behind it.
    pub(crate) fn head(&mut self) -> String {
        self.head_or_end().expect("a head before the end")
    }

    /// The same, or `None` if the peer closed instead.
    pub(crate) fn head_or_end(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match self.stream.read(&mut byte) {
                Ok(0) if bytes.is_empty() => return None,
                Ok(0) => panic!("closed inside a head: {}", String::from_utf8_lossy(&bytes)),
                Ok(_) => bytes.push(byte[0]),
                Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&bytes)),
            }
        }
        Some(String::from_utf8(bytes).expect("a head in UTF-8"))
    }

    pub(crate) fn exact(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes).expect("bytes in time");
        bytes
    }

    /// Reads the chunks of a body to its end, trailers included, and returns the data.
    pub(crate) fn chunks(&mut self) -> Vec<u8> {
        let mut data = Vec::new();
        loop {
            let line = self.line();
            let size = line.split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(size, 16).expect("a chunk size");
            if size == 0 {
                break;
            }
            data.extend(self.exact(size));
            assert_eq!(self.exact(2), b"\r\n", "behind a chunk");
        }
        while !self.line().is_empty() {}
        data
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.extend(self.exact(1));
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).expect("a line in UTF-8")
    }

    /// Reads one response, its body framed as the head says; to a request that was not `HEAD`.
    pub(crate) fn response(&mut self) -> Response {
        let mut response = self.response_head();
        response.body = if matches!(response.status, 100..200 | 204 | 304) {
            Vec::new()
        } else if let Some(len) = response.header("Content-Length") {
            self.exact(len.parse().expect("a length"))
        } else if response.header("Transfer-Encoding").is_some() {
            self.chunks()
        } else {
            self.rest()
        };
        response
    }

    /// Reads one head of a response.
    pub(crate) fn response_head(&mut self) -> Response {
        let head = self.head();
        assert!(head.starts_with("HTTP/1."), "{head}");
        Response {
            status: head[9..12].parse().expect("three digits"),
            head,
            body: Vec::new(),
        }
    }

    /// Sends a request for `path` and reads the response.
    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.send(request("GET", path, ""));
        self.response()
    }

    /// Reads until the peer closes in order.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).expect("an orderly end");
        bytes
    }

    /// Reads until the connection ends, in whichever way.
    pub(crate) fn rest_or_reset(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Err(error) = self.stream.read_to_end(&mut bytes) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        }
        bytes
    }

    /// Reads the rest, and tells whether a reset ended it.
    pub(crate) fn rest_and_reset(&mut self) -> (Vec<u8>, bool) {
        let mut bytes = Vec::new();
        let result = self.stream.read_to_end(&mut bytes);
        let is_reset = |error: &std::io::Error| error.kind() == ErrorKind::ConnectionReset;
        assert!(result.as_ref().err().is_none_or(is_reset), "{result:?}");
        (bytes, result.is_err())
    }

    /// Nothing more will be sent; the peer may still say something.
    pub(crate) fn finish(&self) {
        self.stream.shutdown(Shutdown::Write).expect("open");
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        let linger = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        linger.expect("a TCP socket");
    }
}

/// A request of a client of HTTP/1.1; `headers` are whole lines.
pub(crate) fn request(method: &str, path: &str, headers: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: tv.home:5140\r\n{headers}\r\n")
}

/// A response with a length; `headers` are whole lines.
pub(crate) fn ok(headers: &str, body: &str) -> String {
    let len = body.len();
    format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {len}\r\n\r\n{body}")
}

/// A server whose part the test plays itself.
pub(crate) struct Origin {
    listener: TcpListener,
    pub(crate) port: u16,
}

impl Origin {
    pub(crate) fn start() -> Self {
        Self::at("127.0.0.1:0")
    }

    /// The same at another address.
    pub(crate) fn at(address: &str) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let port = listener.local_addr().expect("bound").port();
        Self { listener, port }
    }

    /// The path by which the proxy is asked for `target` of this server.
    pub(crate) fn path(&self, target: &str) -> String {
        format!("/http/127.0.0.1:{}{target}", self.port)
    }

    /// Host and port, as they stand in `Host` and in links.
    pub(crate) fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Waits for a connection.
    pub(crate) fn accept(&self) -> Wire {
        wait_for(SOON, "a connection to the origin", || self.try_accept())
    }

    /// A connection, if somebody has made one.
    pub(crate) fn try_accept(&self) -> Option<Wire> {
        let (stream, _) = match self.listener.accept() {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(error) => panic!("accept: {error}"),
        };
        stream.set_nonblocking(false).expect("a socket");
        stream.set_read_timeout(Some(SOON)).expect("valid timeout");
        stream.set_write_timeout(Some(SOON)).expect("valid timeout");
        stream.set_nodelay(true).expect("a TCP socket");
        Some(Wire { stream })
    }

    /// Waits for a connection, or until `client` is answered: whoever refuses does so without asking.
    pub(crate) fn accept_unless_answered(&self, client: &Wire) -> Option<Wire> {
        client.stream.set_nonblocking(true).expect("a socket");
        let accepted = wait_for(SOON, "either side", || match client.stream.peek(&mut [0]) {
            Ok(_) => Some(None),
            Err(_) => self.try_accept().map(Some),
        });
        client.stream.set_nonblocking(false).expect("a socket");
        accepted
    }

    /// The connection made for the request of `client`, which must not be answered without.
    pub(crate) fn accept_for(&self, client: &mut Wire) -> Wire {
        self.accept_unless_answered(client).unwrap_or_else(|| {
            let answer = client.rest_or_reset();
            panic!(
                "answered without asking: {}",
                String::from_utf8_lossy(&answer)
            )
        })
    }

    /// Insists that nobody has connected. To be asked once the client has its answer.
    pub(crate) fn assert_untouched(&self) {
        if let Some(mut wire) = self.try_accept() {
            wire.finish();
            let bytes = wire.rest_or_reset();
            panic!("the origin was asked: {}", String::from_utf8_lossy(&bytes));
        }
    }

    /// Has the proxy ask for `target` with these header lines; returns the head that the origin is sent, and what
    /// the client is answered when the origin says `response` and closes.
    pub(crate) fn serve(
        &self,
        server: &Server,
        target: &str,
        headers: &str,
        response: &str,
    ) -> (String, Response) {
        let mut client = Wire::to(server);
        client.send(request("GET", &self.path(target), headers));
        let Some(mut peer) = self.accept_unless_answered(&client) else {
            panic!("refused: {}", client.response().head);
        };
        let head = peer.head();
        peer.send(response);
        peer.finish();
        (head, client.response())
    }
}
