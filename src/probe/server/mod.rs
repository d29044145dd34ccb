//! `flowgate probe server`: the end behind the chain. Receives or sends as its clients ask, and tells them what it
//! sees.
//!
//! One loop over one kind of connection (`peer`). What the connections of a run say is kept in `runs`, from where
//! control connections and web pages read it, so that no connection knows another.

mod detect;
mod http;
mod peer;
mod runs;
mod shared;

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use self::peer::{Effect, Peer};
use self::shared::Shared;
use super::complain;
use super::options::ServerOptions;
use super::output::Output;
use super::turns::{Place, Turns};
use super::wire::{Command, RunId};
use crate::arena::{Arena, Id};
use crate::limits::{ACCEPT_RETRY, ACCEPTS_PER_TURN, PROBE_BUFFER_BYTES};
use crate::net::mio::MioNet;
use crate::net::tls::TlsServer;
use crate::net::{Event, Io, Net as _, SocketId, Tuning, Watched};

/// Names a connection of a server.
pub type PeerId = Id<Slot>;

/// A connection and its turn.
#[derive(Debug)]
pub struct Slot {
    peer: Peer,
    place: Place,
}

/// A server that listens.
pub struct Server {
    listener: Watched,
    accept_retry_at: Option<Instant>,
    /// The last attempt to accept has failed, and that has been said.
    accepting_fails: bool,
    peers: Arena<Slot>,
    turns: Turns<Slot>,
    shared: Shared,
}

impl Server {
    /// Listens. Returns the server and the address it is bound to.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    pub fn start(
        mut net: MioNet,
        options: ServerOptions,
        tls: Option<TlsServer>,
        output: Output,
    ) -> Result<(Self, SocketAddr), String> {
        let tuning = Tuning {
            receive_buffer_bytes: options.receive_buffer_bytes,
            ..Tuning::default()
        };
        let cannot = |error: io::Error| format!("cannot listen on {}: {error}", options.listen);
        let (listener, bound) = net.listen_tuned(options.listen, &tuning).map_err(cannot)?;
        let server = Self {
            listener: Watched::new(listener),
            accept_retry_at: None,
            accepting_fails: false,
            peers: Arena::new(),
            turns: Turns::default(),
            shared: Shared::new(net, options, tls, output),
        };
        Ok((server, bound))
    }

    /// Serves until it is told to stop, or with `--once` until the first run is over. Returns the exit status.
    ///
    /// # Errors
    ///
    /// When waiting for events is impossible.
    pub fn run(mut self) -> io::Result<u8> {
        let mut events = Vec::new();
        let mut buffer = vec![0; PROBE_BUFFER_BYTES];
        loop {
            self.shared.net.poll(self.timeout(), &mut events)?;
            for event in events.drain(..) {
                match event {
                    Event::Ready { socket, edge } if socket == self.listener.id => {
                        self.listener.note(edge);
                    }
                    Event::Ready { socket, edge } => {
                        if let Some((id, slot)) = owner(&self.turns, &mut self.peers, socket) {
                            slot.peer.stream.link.note(edge);
                            self.turns.queue(id, &mut slot.place);
                        }
                    }
                    // There are no other processes.
                    Event::Called | Event::Rung => {}
                    Event::Stop => return Ok(self.shared.stopped_by_signal()),
                    Event::Resolved { .. } | Event::FileRead { .. } => {}
                }
            }
            self.shared.now = self.shared.net.now();
            self.accept();
            while let Some((id, at)) = self.turns.pop_due(self.shared.now) {
                if let Some(slot) = self.peers.get_mut(id)
                    && Turns::<Slot>::fire(at, &mut slot.place)
                {
                    self.turns.queue(id, &mut slot.place);
                }
            }
            for _ in 0..self.turns.waiting() {
                if let Some(id) = self.turns.pop() {
                    self.run_peer(id, &mut buffer);
                }
            }
            if self.shared.options.once
                && let Some(status) = self.first_run_status()
            {
                self.shared.output.finish(String::new());
                return Ok(status);
            }
        }
    }

    fn timeout(&self) -> Option<std::time::Duration> {
        if self.turns.waiting() > 0 || (self.listener.readable && self.accept_retry_at.is_none()) {
            return Some(std::time::Duration::ZERO);
        }
        let next = self.turns.next_at().into_iter().chain(self.accept_retry_at);
        let now = self.shared.net.now();
        next.min().map(|at| at.saturating_duration_since(now))
    }

    fn accept(&mut self) {
        let now = self.shared.now;
        if self.accept_retry_at.is_some_and(|at| at > now) || !self.listener.readable {
            return;
        }
        self.accept_retry_at = None;
        for _ in 0..ACCEPTS_PER_TURN {
            if self.peers.len() >= self.shared.options.connections_max {
                // They wait in the backlog until somebody leaves.
                self.accept_retry_at = Some(now + ACCEPT_RETRY);
                return;
            }
            match self.shared.net.accept(self.listener.id) {
                Ok(Io::Done(accepted)) => {
                    self.accepting_fails = false;
                    let peer = Peer::new(accepted, &mut self.shared);
                    let socket = accepted.socket;
                    let id = self.peers.insert(Slot {
                        peer,
                        place: Place::default(),
                    });
                    self.turns.own(socket, id);
                    if let Some(slot) = self.peers.get_mut(id) {
                        slot.peer.set_id(id);
                        self.turns.queue(id, &mut slot.place);
                    }
                }
                Ok(Io::Blocked) => {
                    self.listener.readable = false;
                    return;
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.accepting_fails, true) {
                        complain(&format!("accepting fails and is tried again: {error}"));
                    }
                    self.accept_retry_at = Some(now + ACCEPT_RETRY);
                    return;
                }
            }
        }
    }

    fn run_peer(&mut self, id: PeerId, buffer: &mut [u8]) {
        let Some(slot) = self.peers.get_mut(id) else {
            return;
        };
        Turns::<Slot>::begin(&mut slot.place);
        self.shared.now = self.shared.net.now();
        let effects = slot.peer.run(&mut self.shared, buffer);
        if slot.peer.is_closed() {
            let socket = slot.peer.stream.link.socket();
            self.turns.disown(socket);
            self.shared.net.close(socket);
            self.peers.remove(id);
        } else {
            let now = self.shared.now;
            if slot.peer.is_runnable(now) {
                self.turns.queue(id, &mut slot.place);
            }
            self.turns.arm(id, slot.peer.deadline(now), &mut slot.place);
        }
        for effect in effects {
            match effect {
                Effect::Command(run, command) => self.command(run, command),
            }
        }
    }

    /// Passes a command on to every connection of the run.
    fn command(&mut self, run: RunId, command: Command) {
        let now = self.shared.now;
        let Some(run) = self.shared.runs.get(run) else {
            return;
        };
        for id in run.connections.values().filter_map(|entry| entry.peer) {
            if let Some(slot) = self.peers.get_mut(id) {
                slot.peer.obey(now, command);
                self.turns.queue(id, &mut slot.place);
            }
        }
    }

    /// The exit status of the first run, once it is over.
    fn first_run_status(&self) -> Option<u8> {
        let run = self
            .shared
            .runs
            .iter()
            .find(|run| run.is_over() && !run.connections.is_empty())?;
        Some(match run.exit {
            Some(exit) => exit,
            None if run.is_corrupt => super::EXIT_CORRUPT,
            None => super::EXIT_INCONCLUSIVE,
        })
    }
}

fn owner<'a>(
    turns: &Turns<Slot>,
    peers: &'a mut Arena<Slot>,
    socket: SocketId,
) -> Option<(PeerId, &'a mut Slot)> {
    let id = turns.owner(socket)?;
    Some((id, peers.get_mut(id)?))
}
