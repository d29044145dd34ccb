//! One HTTP client that asks for bodies of the origin and checks what it is sent.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use flowgate::sys::load::discard;
use mio::net::TcpStream;
use socket2::{Domain, Socket, Type};

use super::body::{self, Next};

/// Bytes taken from a connection at a time.
pub(crate) const READ_BYTES: usize = 256 << 10;
/// Longest response head.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// A blocking client waits this long for anything.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection to the proxy and the response that is under way on it.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    /// The head while it comes.
    head: Vec<u8>,
    in_body: bool,
    position: u64,
    length: u64,
    /// Whether the server said that it will close.
    closes: bool,
}

/// What one read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing.
    Blocked,
    /// This many bytes of the response.
    Read(usize),
    /// The rest of it.
    Complete,
}

/// How a client waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// Reads answer [`Turn::Blocked`].
    Polled,
    /// Reads wait.
    Blocking,
}

impl Client {
    /// Connects; `receive_buffer` is what the socket asks for, if not the system's default.
    pub(crate) fn connect(
        server: SocketAddr,
        waiting: Waiting,
        receive_buffer: Option<usize>,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.set_tcp_nodelay(true)?;
        socket.connect(&server.into())?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_nonblocking(waiting == Waiting::Polled)?;
        Ok(Self {
            stream: TcpStream::from_std(socket.into()),
            head: Vec::new(),
            in_body: false,
            position: 0,
            length: 0,
            closes: false,
        })
    }

    /// Sends `request`, which fits any socket's buffer, for a body of `length` bytes.
    pub(crate) fn ask(&mut self, request: &[u8], length: u64) -> io::Result<()> {
        self.head.clear();
        self.in_body = false;
        self.position = 0;
        self.length = length;
        self.stream.write_all(request)
    }

    /// Whether another response may be asked for on this connection.
    pub(crate) fn is_reusable(&self) -> bool {
        !self.closes
    }

    /// Bytes of the body that came.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Reads once, `max` bytes at most.
    ///
    /// # Errors
    ///
    /// Whatever is not the response that was asked for: another status or length, another byte, an early end.
    pub(crate) fn turn(&mut self, buffer: &mut [u8], max: usize) -> io::Result<Turn> {
        let wanted = max.min(buffer.len());
        let outcome = if !self.in_body {
            self.stream.read(&mut buffer[..wanted])
        } else {
            match body::next(self.position, self.length) {
                Next::Look(bytes) => {
                    let wanted = wanted.min(usize::try_from(bytes).unwrap_or(usize::MAX));
                    self.stream.read(&mut buffer[..wanted])
                }
                Next::Count(bytes) => discard(self.stream.as_fd(), bytes as usize),
            }
        };
        let read = match outcome {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Turn::Blocked),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(Turn::Read(0)),
            outcome => outcome.map_err(|error| self.wrong(&error.to_string()))?,
        };
        if read == 0 {
            return Err(self.wrong("the connection ended"));
        }
        if !self.in_body {
            self.head.extend_from_slice(&buffer[..read]);
            self.receive_head()?;
        } else if matches!(body::next(self.position, self.length), Next::Look(_)) {
            self.receive_body(&buffer[..read])?;
        } else {
            self.position += read as u64;
        }
        if self.in_body && self.position == self.length {
            return Ok(Turn::Complete);
        }
        Ok(Turn::Read(read))
    }

    fn receive_head(&mut self) -> io::Result<()> {
        let Some(end) = self.head.windows(4).position(|four| four == b"\r\n\r\n") else {
            return match self.head.len() {
                ..=HEAD_BYTES_MAX => Ok(()),
                _ => Err(self.wrong("a response head without an end")),
            };
        };
        let body = self.head.split_off(end + 4);
        let head = String::from_utf8_lossy(&self.head).to_ascii_lowercase();
        let is_success = head.split(' ').nth(1) == Some("200");
        if !is_success || !head.contains(&format!("\r\ncontent-length: {}\r\n", self.length)) {
            let head = head.replace("\r\n", ", ");
            return Err(self.wrong(&format!("the answer was {head}")));
        }
        self.closes = head.contains("\r\nconnection: close") || head.starts_with("http/1.0");
        self.in_body = true;
        self.receive_body(&body)
    }

    fn receive_body(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !body::matches(self.position, bytes) {
            return Err(self.wrong("other bytes than were sent"));
        }
        self.position += bytes.len() as u64;
        if self.position > self.length {
            return Err(self.wrong("more bytes than were announced"));
        }
        Ok(())
    }

    fn wrong(&self, what: &str) -> io::Error {
        let (position, length) = (self.position, self.length);
        io::Error::other(format!("at byte {position} of {length}: {what}"))
    }
}
