//! The floor of RTSP: the least that a single thread can do to take media out of frames and pass it on.
//!
//! An edge-triggered loop that knows `GET /rtsp/ADDRESS:PORT/PATH`, four requests whose answers it does not look at,
//! frames on channel 0 with an RTP header of 12 bytes, and nothing else. It opens its sessions one after the other,
//! waiting for each answer, keeps nothing alive, and closes on whatever it does not expect.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream as StdTcpStream};

use mio::net::{TcpListener, TcpStream};
use slab::Slab;

use crate::payload::RTP_BYTES;
use crate::proxy::rounds::{Edge, Rounds};

const LISTENER: usize = usize::MAX;
/// Largest frame, and room for what is read behind its beginning.
const BUFFER_BYTES: usize = 128 << 10;
const FRAME_HEADER_BYTES: usize = 4;
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nConnection: close\r\n\r\n";

/// A client and its session. Tokens are twice the key for the client, one more for the session.
struct Link {
    client: TcpStream,
    request: Vec<u8>,
    session: Option<TcpStream>,
    /// The beginning of a frame, `kept` bytes of it.
    buffer: Vec<u8>,
    kept: usize,
    /// Media on its way out.
    out: Vec<u8>,
}

/// The arguments that start a relay; see [`run`].
pub(crate) fn arguments(listen: SocketAddr) -> Vec<String> {
    vec!["rtsp-floor".to_owned(), listen.to_string()]
}

/// Parses the arguments that [`arguments`] makes, and serves for ever.
pub(crate) fn run(arguments: &[String]) -> io::Result<()> {
    let listen = arguments.first().and_then(|text| text.parse().ok());
    let listen = listen.ok_or_else(|| io::Error::other("usage: rtsp-floor ADDRESS:PORT"))?;
    let mut listener = TcpListener::bind(listen)?;
    let mut rounds = Rounds::new()?;
    rounds.watch(&mut listener, LISTENER)?;
    let mut links: Slab<Link> = Slab::new();
    let mut round: Vec<Edge> = Vec::new();
    loop {
        rounds.next(None, &mut round)?;
        for edge in &round {
            if edge.token == LISTENER {
                accept(&listener, &mut links, &rounds)?;
                continue;
            }
            let key = edge.token / 2;
            if let Some(link) = links.get_mut(key)
                && link.turn(key, &rounds).is_err()
            {
                links.remove(key);
            }
        }
    }
}

fn accept(listener: &TcpListener, links: &mut Slab<Link>, rounds: &Rounds) -> io::Result<()> {
    loop {
        let mut client = match listener.accept() {
            Ok((client, _)) => client,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let _ = client.set_nodelay(true);
        let entry = links.vacant_entry();
        rounds.watch(&mut client, entry.key() * 2)?;
        entry.insert(Link {
            client,
            request: Vec::new(),
            session: None,
            buffer: vec![0; BUFFER_BYTES],
            kept: 0,
            out: Vec::new(),
        });
    }
}

impl Link {
    /// Goes on until a side blocks.
    fn turn(&mut self, key: usize, rounds: &Rounds) -> io::Result<()> {
        if self.session.is_none() {
            let mut bytes = [0; 4096];
            let Some(read) = unless_blocked(self.client.read(&mut bytes))? else {
                return Ok(());
            };
            self.request.extend_from_slice(&bytes[..read]);
            if !self.request.ends_with(b"\r\n\r\n") {
                return Ok(());
            }
            let mut session = open(&self.request)?;
            rounds.watch(&mut session, key * 2 + 1)?;
            self.session = Some(session);
            self.out.extend_from_slice(HEAD);
        }
        while self.flush()? {
            let Some(session) = &mut self.session else {
                return Ok(());
            };
            let space = &mut self.buffer[self.kept..];
            let wanted = space.len();
            let Some(read) = unless_blocked(session.read(space))? else {
                return Ok(());
            };
            self.deinterleave(self.kept + read)?;
            if read < wanted {
                // The socket is empty (epoll(7)).
                self.flush()?;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Moves the media of the first `len` bytes to `out`.
    fn deinterleave(&mut self, len: usize) -> io::Result<()> {
        let mut at = 0;
        while let [first, _, high, low, rest @ ..] = &self.buffer[at..len] {
            if *first != b'$' {
                return Err(ErrorKind::InvalidData.into());
            }
            let bytes = usize::from(u16::from_be_bytes([*high, *low]));
            let Some(packet) = rest.get(..bytes) else {
                break;
            };
            self.out
                .extend_from_slice(packet.get(RTP_BYTES..).unwrap_or_default());
            at += FRAME_HEADER_BYTES + bytes;
        }
        self.buffer.copy_within(at..len, 0);
        self.kept = len - at;
        Ok(())
    }

    /// Writes what waits; whether all of it is out.
    fn flush(&mut self) -> io::Result<bool> {
        while !self.out.is_empty() {
            match unless_blocked(self.client.write(&self.out))? {
                None => return Ok(false),
                Some(written) => drop(self.out.drain(..written)),
            }
        }
        Ok(true)
    }
}

/// Opens the session that an HTTP request names, and plays.
fn open(request: &[u8]) -> io::Result<TcpStream> {
    let request = String::from_utf8_lossy(request);
    let target = request.split(' ').nth(1).unwrap_or_default();
    let (authority, path) = target
        .strip_prefix("/rtsp/")
        .and_then(|rest| rest.split_once('/'))
        .ok_or(ErrorKind::InvalidData)?;
    let address: SocketAddr = authority.parse().map_err(io::Error::other)?;
    let mut stream = StdTcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    for (method, number) in ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"].iter().zip(1..) {
        let head = format!("{method} rtsp://{authority}/{path} RTSP/1.0\r\nCSeq: {number}\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        // Byte by byte, so that no media is taken with the last answer.
        let (mut answer, mut byte) = (Vec::new(), [0]);
        while !answer.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            answer.push(byte[0]);
        }
    }
    stream.set_nonblocking(true)?;
    Ok(TcpStream::from_std(stream))
}

/// `None` if the call blocked; an error at the end of a stream.
fn unless_blocked(moved: io::Result<usize>) -> io::Result<Option<usize>> {
    match moved {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(moved) => Ok(Some(moved)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
