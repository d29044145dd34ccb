//! Many HTTP clients in one thread, which check what they are sent.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::clock;
use crate::payload::{Check, TS_BYTES};
use crate::sender;
use crate::tally::Tally;

/// Bytes taken from a connection at a time.
const READ_BYTES: usize = 256 << 10;
/// Longest response head.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// Every client with an index below this looks at every byte, and of the others each eighth.
const DEEP_ALWAYS: usize = 8;
const DEEP_SHARE: usize = 8;

/// The clients of one group or of many.
pub(crate) struct Receiver {
    poll: Poll,
    events: Events,
    clients: Vec<Client>,
    buffer: Vec<u8>,
    tally: Tally,
}

struct Client {
    stream: TcpStream,
    group: u32,
    asked: Instant,
    first_byte: Option<Duration>,
    /// The head while it comes, then the piece of a TS packet that the last read ended with.
    kept: Vec<u8>,
    in_body: bool,
    check: Check,
}

impl Receiver {
    /// No clients yet.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            clients: Vec::new(),
            buffer: vec![0; READ_BYTES + TS_BYTES],
            tally: Tally::default(),
        })
    }

    /// Connects a client and asks for `group`.
    pub(crate) fn join(&mut self, server: SocketAddr, group: u32) -> io::Result<()> {
        let path = format!("/rtp/{}", sender::address(group));
        self.connect(server, &path, group)
    }

    /// Connects a client and asks for `path`, behind which there is the media of `group`.
    pub(crate) fn connect(&mut self, server: SocketAddr, path: &str, group: u32) -> io::Result<()> {
        let mut stream = StdTcpStream::connect(server)?;
        let _ = stream.set_nodelay(true);
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {server}\r\nUser-Agent: scenario\r\n\r\n");
        let asked = clock::now();
        stream.write_all(request.as_bytes())?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        let index = self.clients.len();
        self.poll
            .registry()
            .register(&mut stream, Token(index), Interest::READABLE)?;
        let deep = index < DEEP_ALWAYS || index.is_multiple_of(DEEP_SHARE);
        self.clients.push(Client {
            stream,
            group,
            asked,
            first_byte: None,
            kept: Vec::new(),
            in_body: false,
            check: Check::new(group, deep),
        });
        Ok(())
    }

    /// Closes the client that was connected last.
    pub(crate) fn disconnect_last(&mut self) {
        self.clients.pop();
    }

    /// Receives for `duration`.
    pub(crate) fn run(&mut self, duration: Duration) -> io::Result<()> {
        self.run_until(clock::now() + duration, |_| false).map(drop)
    }

    /// Receives until every client has had media; an error when that takes longer than `patience`.
    pub(crate) fn run_to_first_bytes(&mut self, patience: Duration) -> io::Result<()> {
        let all_fed = |receiver: &Self| {
            let waiting = |client: &Client| client.first_byte.is_none();
            !receiver.clients.iter().rev().any(waiting)
        };
        if self.run_until(clock::now() + patience, all_fed)? {
            return Ok(());
        }
        let fed = self.first_bytes().len();
        Err(io::Error::other(format!(
            "{fed} of {} clients were sent anything within {patience:?}",
            self.clients.len()
        )))
    }

    fn run_until(&mut self, deadline: Instant, done: impl Fn(&Self) -> bool) -> io::Result<bool> {
        loop {
            let left = deadline.saturating_duration_since(clock::now());
            if left.is_zero() {
                return Ok(false);
            }
            match self.poll.poll(&mut self.events, Some(left)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &self.events {
                if let Some(client) = self.clients.get_mut(event.token().0) {
                    client.receive(&mut self.buffer, &mut self.tally)?;
                }
            }
            if done(self) {
                return Ok(true);
            }
        }
    }

    /// What was seen since the last call.
    pub(crate) fn take(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Times to first media byte, of those clients that have had any.
    pub(crate) fn first_bytes(&self) -> Vec<Duration> {
        self.clients.iter().filter_map(|c| c.first_byte).collect()
    }

    /// How many TS packets the clients are behind `sequence`, which gives the next one of a group; what is
    /// less than `allowance` per client is on its way.
    pub(crate) fn behind(&self, sequence: impl Fn(u32) -> u64, allowance: u64) -> u64 {
        let behind = |client: &Client| {
            let expected = client.check.expected().unwrap_or(0);
            let behind = sequence(client.group).saturating_sub(expected);
            if behind > allowance { behind } else { 0 }
        };
        self.clients.iter().map(behind).sum()
    }
}

impl Client {
    /// Reads until the connection is empty. A read that does not fill the buffer has emptied it (epoll(7)).
    fn receive(&mut self, buffer: &mut [u8], tally: &mut Tally) -> io::Result<()> {
        loop {
            let kept = self.kept.len();
            if kept > HEAD_BYTES_MAX {
                return Err(io::Error::other("a response head without an end"));
            }
            buffer[..kept].copy_from_slice(&self.kept);
            let room = &mut buffer[kept..];
            let wanted = room.len();
            let read = match self.stream.read(room) {
                Ok(0) => {
                    tally.closed += 1;
                    return Ok(());
                }
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => {
                    tally.closed += 1;
                    return Ok(());
                }
            };
            tally.bytes += read as u64;
            let mut bytes = &buffer[..kept + read];
            if !self.in_body {
                match body(bytes)? {
                    Some(body) => {
                        self.in_body = true;
                        bytes = body;
                    }
                    None => {
                        self.kept = bytes.to_vec();
                        continue;
                    }
                }
            }
            if self.first_byte.is_none() && !bytes.is_empty() {
                self.first_byte = Some(clock::now().duration_since(self.asked));
            }
            let used = self.check.receive(bytes, tally);
            self.kept.clear();
            self.kept.extend_from_slice(&bytes[used..]);
            if read < wanted {
                return Ok(());
            }
        }
    }
}

/// What follows the response head, or `None` while that is not complete.
fn body(bytes: &[u8]) -> io::Result<Option<&[u8]>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let (head, body) = bytes.split_at(end + 4);
    let head = String::from_utf8_lossy(head);
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(io::Error::other(format!("the server answered {status:?}")));
    }
    if head.to_ascii_lowercase().contains("transfer-encoding:") {
        return Err(io::Error::other("the body is chunked, not plain media"));
    }
    Ok(Some(body))
}
