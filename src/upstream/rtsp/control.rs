//! The control connection of a session: from a host's name to bytes that are written and read.
//!
//! Owns the connection, or the attempt to make one, and what is to be sent over it. It knows nothing of RTSP.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};

use super::super::Outcome;
use super::super::connect::{Connecting, Progress, SocketChange};
use super::super::connection::Connection;
use super::Circumstances;
use crate::config::Denied;
use crate::limits::RTSP_CONNECT_WAIT;
use crate::net::{Edge, Io, SocketId, Writer};
use crate::proto::rtsp::{ConnectError, UNSENT_BYTES_MAX};
use crate::proto::url::Host;
use crate::shared::Shared;

/// Where to connect.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) tls: bool,
}

/// How an attempt to connect has ended.
#[derive(Debug)]
pub(super) enum Report {
    /// The connection is made, TLS included.
    Connected { local: SocketAddr, peer: SocketAddr },
    /// It is not, for a reason that the client may know in detail.
    Failed(ConnectError, String),
    /// It may not be made.
    Denied(Denied),
}

#[derive(Default)]
enum State {
    #[default]
    None,
    /// The addresses of the host are being looked up.
    Resolving(Target),
    /// They are known, or could not be found.
    Resolved(Target, Result<Vec<IpAddr>, String>),
    Connecting(Target, Connecting),
    /// Keys are being agreed on.
    Securing(Connection, SocketAddr),
    Open(Connection),
}

/// The connection, and what waits to be sent over it.
#[derive(Default)]
pub(super) struct Control {
    state: State,
    unsent: Vec<u8>,
    /// Nothing can be sent any more. What the server has sent can still be read.
    send_failed: bool,
}

impl Control {
    /// Begins a connection in place of the one there is.
    pub(super) fn connect(&mut self, target: Target, outcomes: &mut Vec<Outcome>) {
        self.close(outcomes);
        self.state = match &target.host {
            Host::Ip { address, .. } => {
                let address = *address;
                State::Resolved(target, Ok(vec![address]))
            }
            Host::Name(name) => {
                outcomes.push(Outcome::Resolve(name.clone()));
                State::Resolving(target)
            }
        };
    }

    /// A look-up has ended.
    pub(super) fn resolved(&mut self, name: &str, result: Result<&[IpAddr], &str>) {
        self.state = match std::mem::take(&mut self.state) {
            State::Resolving(target) if matches!(&target.host, Host::Name(wanted) if wanted == name) =>
            {
                let result = result.map(<[IpAddr]>::to_vec).map_err(str::to_owned);
                State::Resolved(target, result)
            }
            state => state,
        };
    }

    /// Gets on with connecting. Returns how that has ended, once.
    pub(super) fn advance(
        &mut self,
        circumstances: &Circumstances,
        shared: &mut Shared,
        outcomes: &mut Vec<Outcome>,
    ) -> Option<Report> {
        if let State::Resolved(..) = self.state
            && let Some(report) = self.begin(circumstances, shared)
        {
            return Some(report);
        }
        if let State::Connecting(..) = self.state
            && let Some(report) = self.look(shared, outcomes)
        {
            return Some(report);
        }
        if let State::Securing(..) = self.state {
            return self.secure(shared, outcomes);
        }
        None
    }

    fn begin(&mut self, circumstances: &Circumstances, shared: &mut Shared) -> Option<Report> {
        let State::Resolved(target, addresses) = std::mem::take(&mut self.state) else {
            return None;
        };
        let addresses = match addresses {
            Ok(addresses) => addresses,
            Err(error) => return Some(Report::Failed(ConnectError::Name, error)),
        };
        let (host, is_local) = (target.host.to_string(), circumstances.is_local);
        match shared.permitted(&host, &addresses, target.port, is_local) {
            Ok(permitted) => {
                let interface = circumstances.interface.clone();
                let connecting =
                    Connecting::new(&permitted, interface, RTSP_CONNECT_WAIT, shared.now);
                self.state = State::Connecting(target, connecting);
                None
            }
            Err(denied) => Some(Report::Denied(denied)),
        }
    }

    fn look(&mut self, shared: &mut Shared, outcomes: &mut Vec<Outcome>) -> Option<Report> {
        let State::Connecting(target, connecting) = &mut self.state else {
            return None;
        };
        let (socket, peer) = match connecting.run(shared, outcomes) {
            Progress::Pending => return None,
            Progress::Connected(socket, peer) => (socket, peer),
            Progress::Failed(error) => {
                self.state = State::None;
                let kind = match &error {
                    super::super::connect::ConnectError::Silent { .. } => ConnectError::Timeout,
                    _ => ConnectError::Refused,
                };
                return Some(Report::Failed(kind, error.to_string()));
            }
        };
        let tls_host = target.tls.then(|| target.host.to_string());
        match Connection::new(socket, tls_host.as_deref(), shared) {
            Ok(connection) => {
                self.state = State::Securing(connection, peer);
                None
            }
            Err(error) => {
                outcomes.push(Outcome::Socket(SocketChange::Closed(socket.id)));
                self.state = State::None;
                Some(Report::Failed(ConnectError::Tls, error.to_string()))
            }
        }
    }

    fn secure(&mut self, shared: &mut Shared, outcomes: &mut Vec<Outcome>) -> Option<Report> {
        let State::Securing(mut connection, peer) = std::mem::take(&mut self.state) else {
            return None;
        };
        let flushed = connection.flush(&mut *shared.net);
        let is_handshaking = connection.is_handshaking();
        let local = shared.net.local_address(connection.socket());
        self.state = State::Securing(connection, peer);
        let (kind, error) = match (flushed, local) {
            (Ok(_), _) if is_handshaking => return None,
            (Ok(_), Ok(local)) => {
                if let State::Securing(connection, _) = std::mem::take(&mut self.state) {
                    self.state = State::Open(connection);
                }
                return Some(Report::Connected { local, peer });
            }
            (Err(error), _) => (ConnectError::Tls, error),
            (_, Err(error)) => (ConnectError::Refused, error),
        };
        self.close(outcomes);
        Some(Report::Failed(kind, error.to_string()))
    }

    /// Queues bytes behind those before.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if !self.send_failed && matches!(self.state, State::Open(_)) {
            self.unsent.extend_from_slice(bytes);
        }
    }

    /// Writes what the socket takes. False if the connection has turned out to be broken and there is nothing to
    /// be read from it either.
    pub(super) fn flush(&mut self, shared: &mut Shared) -> bool {
        let State::Open(connection) = &mut self.state else {
            return true;
        };
        if self.send_failed {
            return connection.can_read();
        }
        let sends = &mut shared.stats.to_upstreams;
        let mut result = Ok(());
        while !self.unsent.is_empty() && connection.is_writable() && result.is_ok() {
            result = match connection.write(&mut *shared.net, &[IoSlice::new(&self.unsent)]) {
                Ok(Io::Done(count)) => {
                    self.unsent.drain(..count);
                    sends.calls += 1;
                    sends.bytes += count as u64;
                    Ok(())
                }
                Ok(Io::Blocked) => {
                    sends.blocked += 1;
                    Ok(())
                }
                Err(error) => Err(error),
            };
        }
        let flushed = result.and_then(|()| connection.flush(&mut *shared.net).map(drop));
        if let Err(error) = flushed {
            log::debug!("RTSP: writing failed: {error}");
            self.send_failed = true;
            self.unsent.clear();
            connection.note_failed_write();
            return connection.can_read();
        }
        true
    }

    /// Whether a read may bring something and is wanted.
    pub(super) fn can_read(&self) -> bool {
        match &self.state {
            // A server that asks and asks and reads no answer is not listened to any more.
            State::Open(connection) => {
                connection.can_read() && self.unsent.len() < UNSENT_BYTES_MAX
            }
            _ => false,
        }
    }

    /// Reads; `Done(0)` is the end.
    pub(super) fn read(&mut self, bytes: &mut [u8], shared: &mut Shared) -> io::Result<Io<usize>> {
        match &mut self.state {
            State::Open(connection) => connection.read(&mut *shared.net, bytes),
            _ => Ok(Io::Blocked),
        }
    }

    /// Whether writing has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.send_failed
    }

    /// The sockets in use.
    pub(super) fn sockets(&self) -> Vec<SocketId> {
        match &self.state {
            State::None | State::Resolving(_) | State::Resolved(..) => Vec::new(),
            State::Connecting(_, connecting) => connecting.sockets().collect(),
            State::Securing(connection, _) | State::Open(connection) => vec![connection.socket()],
        }
    }

    /// Notes an edge.
    pub(super) fn note(&mut self, socket: SocketId, edge: Edge) {
        match &mut self.state {
            State::None | State::Resolving(_) | State::Resolved(..) => {}
            State::Connecting(_, connecting) => connecting.note(socket, edge),
            State::Securing(connection, _) | State::Open(connection) => {
                if connection.socket() == socket {
                    connection.note(edge);
                }
            }
        }
    }

    /// Whether a turn would get something done.
    pub(super) fn runnable(&self, may_read: bool) -> bool {
        match &self.state {
            State::None | State::Resolving(_) => false,
            State::Resolved(..) => true,
            State::Connecting(_, connecting) => connecting.runnable(),
            State::Securing(connection, _) => connection.can_flush(),
            State::Open(connection) => {
                (may_read && self.can_read())
                    || (!self.unsent.is_empty() && connection.is_writable())
                    || (!self.send_failed && connection.can_flush())
            }
        }
    }

    /// When a turn is needed although no edge comes.
    pub(super) fn deadline(&self) -> Option<std::time::Instant> {
        match &self.state {
            State::Connecting(_, connecting) => connecting.deadline(),
            _ => None,
        }
    }

    /// Gives everything up. What is unsent is lost.
    pub(super) fn close(&mut self, outcomes: &mut Vec<Outcome>) {
        let closed = self.sockets().into_iter().map(SocketChange::Closed);
        outcomes.extend(closed.map(Outcome::Socket));
        *self = Self::default();
    }
}
