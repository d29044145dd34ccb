//! The RTSP server: a thread that says yes to everything and then sends a frame per packet, in real time.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::clock;
use crate::payload::{self, DATAGRAM_BYTES, MEDIA_BYTES};

/// Between two looks at what is due.
const BEAT: Duration = Duration::from_millis(1);
/// `$`, channel 0, length.
const FRAME_HEADER_BYTES: usize = 4;

/// A running server; dropping it ends it.
pub(crate) struct Origin {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Origin {
    /// Starts on the core of the calling thread; every session is sent `rate` bits of media per second.
    pub(crate) fn start(rate: u64) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || serve(&listener, rate, &stopped));
        Ok(Self {
            address,
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let outcome = thread.join();
            if !matches!(outcome, Ok(Ok(()))) {
                eprintln!("scenario: the RTSP server failed: {outcome:?}");
            }
        }
    }
}

fn serve(listener: &TcpListener, rate: u64, stop: &AtomicBool) -> io::Result<()> {
    let interval = Duration::from_secs_f64(MEDIA_BYTES as f64 * 8.0 / rate as f64);
    let mut sessions: Vec<Session> = Vec::new();
    while !stop.load(Relaxed) {
        let beat = clock::now();
        match listener.accept() {
            Ok((stream, _)) => sessions.push(Session::new(stream)?),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        sessions.retain_mut(|session| session.turn(beat, interval).is_ok());
        thread::sleep(BEAT.saturating_sub(clock::now().duration_since(beat)));
    }
    Ok(())
}

struct Session {
    stream: TcpStream,
    request: Vec<u8>,
    group: u32,
    /// When the next frame is due, once PLAY was answered.
    next: Option<Instant>,
    number: u64,
    frame: [u8; FRAME_HEADER_BYTES + DATAGRAM_BYTES],
    /// So much of the frame is out.
    written: usize,
}

impl Session {
    fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let _ = stream.set_nodelay(true);
        let mut frame = [0; FRAME_HEADER_BYTES + DATAGRAM_BYTES];
        frame[0] = b'$';
        frame[2..4].copy_from_slice(&(DATAGRAM_BYTES as u16).to_be_bytes());
        Ok(Self {
            stream,
            request: Vec::new(),
            group: 0,
            next: None,
            number: 0,
            written: frame.len(),
            frame,
        })
    }

    /// Answers what was asked and sends what is due; an error ends the session.
    fn turn(&mut self, now: Instant, interval: Duration) -> io::Result<()> {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                self.request.extend_from_slice(&bytes[..read]);
                self.answer(now)?;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        while self.next.is_some_and(|at| at <= now) {
            if self.written == self.frame.len() {
                let packet = &mut self.frame[FRAME_HEADER_BYTES..];
                payload::encode(packet, self.group, self.number, clock::nanoseconds());
                self.number += 1;
                self.written = 0;
            }
            match self.stream.write(&self.frame[self.written..]) {
                Ok(written) => self.written += written,
                // Whoever does not read gets it later.
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            if self.written == self.frame.len() {
                self.next = self.next.map(|at| at + interval);
            }
        }
        Ok(())
    }

    fn answer(&mut self, now: Instant) -> io::Result<()> {
        if !self.request.ends_with(b"\r\n\r\n") {
            return Ok(());
        }
        let request = String::from_utf8_lossy(&self.request).into_owned();
        self.request.clear();
        let value = |name: &str| {
            let mut lines = request.lines().filter_map(|line| line.split_once(": "));
            lines.find_map(|(key, value)| (key == name).then_some(value))
        };
        let group = request
            .split_once("/live/")
            .and_then(|(_, rest)| rest.split([' ', '/']).next()?.parse().ok());
        self.group = group.ok_or(ErrorKind::InvalidData)?;
        let transport = match request.starts_with("SETUP ") {
            true => "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n",
            false => "",
        };
        let cseq = value("CSeq").unwrap_or("0");
        self.stream.write_all(
            format!("RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\nSession: 1\r\n{transport}\r\n").as_bytes(),
        )?;
        if request.starts_with("PLAY ") {
            self.next = Some(now);
        }
        Ok(())
    }
}
