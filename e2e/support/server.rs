//! A running flowgate.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use super::http::{self, Response};
use super::proc;
use super::tool::{Lines, Tool};
use super::{SOON, wait_for};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_flowgate");

/// A server on a port of the system's choice; killed when dropped.
pub(crate) struct Server {
    tool: Tool,
    pub(crate) port: u16,
}

impl Server {
    /// Starts the program with these arguments and the log at DEBUG.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_as(Command::new(PROGRAM), arguments)
    }

    /// As [`Server::start`], with a command that runs the program; it must keep its process id.
    pub(crate) fn start_as(mut command: Command, arguments: &[&str]) -> Self {
        command
            .args(["-C", "-v", "4", "-l", "127.0.0.1:0"])
            .args(arguments);
        Self::start_bare(command)
    }

    /// Starts the program with nothing but its own arguments, which make it listen on 127.0.0.1 and log INFO.
    pub(crate) fn start_bare(mut command: Command) -> Self {
        let tool = Tool::start(&mut command);
        let line = tool.stdout.wait("Listening on 127.0.0.1 port ");
        tool.stdout.wait("ready to accept connections");
        let port = line.rsplit(' ').next().and_then(|port| port.parse().ok());
        Self {
            tool,
            port: port.expect("the line ends in a port"),
        }
    }

    /// The supervisor.
    pub(crate) fn pid(&self) -> u32 {
        self.tool.pid()
    }

    /// The only worker.
    pub(crate) fn worker(&self) -> u32 {
        match self.workers().as_slice() {
            [worker] => *worker,
            workers => panic!("not one worker: {workers:?}"),
        }
    }

    /// All workers, the oldest first.
    pub(crate) fn workers(&self) -> Vec<u32> {
        proc::children(self.pid())
    }

    /// The number of the worker that serves this connection, which has made a request.
    pub(crate) fn worker_of(&self, stream: &TcpStream) -> usize {
        let address = stream.local_addr().expect("connected");
        let line = self.log().wait(&format!("New client {address} "));
        let number = line
            .split_once("[Worker ")
            .and_then(|(_, rest)| rest.split_once(']')?.0.parse().ok());
        number.unwrap_or_else(|| panic!("no worker in {line}"))
    }

    pub(crate) fn log(&self) -> &Lines {
        &self.tool.stdout
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.port)
    }

    /// Sends these bytes and reads the answer to its end.
    pub(crate) fn exchange(&self, request: &[u8]) -> Response {
        let mut stream = self.connect();
        stream.write_all(request).expect("request sent");
        http::read_response(&mut stream)
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.exchange(&http::get(path))
    }

    /// Asks for a stream; its head has not been read yet.
    pub(crate) fn ask(&self, path: &str) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(&http::get(path)).expect("request sent");
        stream
    }

    /// Asks for a stream and reads its head; insists on 200.
    pub(crate) fn open(&self, path: &str) -> http::Body {
        http::Body::begin(self.ask(path))
    }

    pub(crate) fn signal(&self, signal: libc::c_int) {
        self.tool.signal(signal);
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.tool.is_running()
    }

    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        self.tool.wait(limit)
    }

    /// Asks the server to stop; returns its last words once it has ended well.
    pub(crate) fn stop(mut self) -> String {
        self.signal(libc::SIGTERM);
        let status = self.wait(SOON);
        assert!(status.success(), "{status}: {:?}", self.tool.stderr.all());
        let last = self.log().wait("bytes of buffers in use");
        assert!(
            self.tool.stderr.all().is_empty(),
            "{:?}",
            self.tool.stderr.all()
        );
        last
    }

    /// Stops the server and insists that nothing is left in its buffers.
    pub(crate) fn stop_empty(self) {
        let last = self.stop();
        assert!(last.ends_with("; 0 bytes of buffers in use"), "{last}");
    }
}

/// A connection on which nothing waits longer than [`SOON`].
pub(crate) fn connect(port: u16) -> TcpStream {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = wait_for(SOON, "a connection", || {
        TcpStream::connect_timeout(&address, SOON).ok()
    });
    stream.set_read_timeout(Some(SOON)).expect("valid timeout");
    stream.set_write_timeout(Some(SOON)).expect("valid timeout");
    stream
}

/// The same through a Unix socket.
pub(crate) fn connect_unix(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).expect("somebody listens");
    stream.set_read_timeout(Some(SOON)).expect("valid timeout");
    stream.set_write_timeout(Some(SOON)).expect("valid timeout");
    stream
}

/// What does not end within this time, although bytes come, is taken for a stream without an end.
const END_WAIT: Duration = Duration::from_secs(60);

/// Reads until the peer closes; panics if it resets the connection or takes too long.
pub(crate) fn read_to_end(stream: &mut impl Read) -> Vec<u8> {
    let deadline = Instant::now() + END_WAIT;
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 64 << 10];
    loop {
        let len = stream
            .read(&mut chunk)
            .expect("the peer closes in order and in time");
        if len == 0 {
            return bytes;
        }
        bytes.extend_from_slice(&chunk[..len]);
        let begin = &bytes[..bytes.len().min(200)];
        assert!(
            Instant::now() < deadline,
            "{} bytes have come, and there is no end to them: {:?}",
            bytes.len(),
            String::from_utf8_lossy(begin)
        );
    }
}
