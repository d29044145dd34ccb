//! Where clients come in: listeners that are adopted, given up, and accepted from.

use std::io;

use super::Router;
use super::complaints::Complaint;
use super::ready::Entity;
use super::slots::{ClientSlot, ListenerId, ListenerSlot};
use crate::client::Client;
use crate::limits::{ACCEPT_RETRY, ACCEPTS_PER_TURN, CONNECTIONS_MAX, LISTENER_RETIRE_WAIT};
use crate::net::{Io, Listener, Peer, Place, SocketId, Watched};

impl Router {
    /// Accepts connections of `listener` from now on.
    ///
    /// # Errors
    ///
    /// What the system reports, for instance that descriptors have run out.
    pub fn adopt_listener(&mut self, listener: Listener) -> io::Result<()> {
        let place = listener.place().clone();
        let descriptor = listener.into_descriptor();
        let socket = self.shared.net.adopt_listener(descriptor)?;
        let slot = ListenerSlot {
            socket: Watched::new(socket),
            place,
            retires_until: None,
            retry_at: None,
            queued: false,
            armed: None,
        };
        let id = self.listeners.insert(slot);
        self.owners.insert(socket, Entity::Listener(id));
        self.note_listening();
        Ok(())
    }

    /// From now on listens on `wanted` and nothing else. What is listened on already stays as it is, and whoever waits
    /// at what is given up is still accepted.
    ///
    /// # Errors
    ///
    /// What the system reports about a new one; the others are in place.
    pub fn relisten(&mut self, wanted: Vec<Listener>) -> io::Result<()> {
        if self.leaving.is_some() {
            return Ok(());
        }
        let given_up: Vec<ListenerId> = self
            .listeners
            .iter()
            .filter(|(_, slot)| {
                !wanted
                    .iter()
                    .any(|listener| *listener.place() == slot.place)
            })
            .map(|(id, _)| id)
            .collect();
        let mut result = Ok(());
        for listener in wanted {
            if !self.is_listening_on(listener.place())
                && let Err(error) = self.adopt_listener(listener)
            {
                result = Err(error);
            }
        }
        for id in given_up {
            self.retire_listener(id);
        }
        result
    }

    /// Accepts whoever waits at a listener, and gives it up then. Where there are no descriptors for them, that takes
    /// up to [`LISTENER_RETIRE_WAIT`].
    pub fn retire_listener(&mut self, id: ListenerId) {
        let Self {
            listeners,
            run,
            shared,
            ..
        } = self;
        if let Some(slot) = listeners.get_mut(id) {
            let until = shared.now + LISTENER_RETIRE_WAIT;
            slot.retires_until.get_or_insert(until);
            slot.retry_at = None;
            // To be told that nobody waits, it has to ask.
            slot.socket.readable = true;
            run.push_if(true, Entity::Listener(id), &mut slot.queued);
        }
    }

    /// One that is being given up does not count: should it be wanted again meanwhile, it is opened anew.
    fn is_listening_on(&self, place: &Place) -> bool {
        let mut slots = self.listeners.iter();
        slots.any(|(_, slot)| slot.place == *place && slot.retires_until.is_none())
    }

    /// Keeps what everybody knows of where the router listens up to date.
    pub(super) fn note_listening(&mut self) {
        let slots = self.listeners.iter();
        self.shared.listening = slots.filter_map(|(_, slot)| slot.place.address()).collect();
    }

    pub(super) fn run_listener(&mut self, id: ListenerId) {
        let Some(slot) = self.listeners.get_mut(id) else {
            return;
        };
        slot.queued = false;
        let retires_until = slot.retires_until;
        if self.leaving.is_some() && retires_until.is_none() {
            return;
        }
        slot.retry_at = None;
        let listener = slot.socket.id;
        let mut is_over = retires_until.is_some_and(|until| until <= self.shared.now);
        for _ in 0..ACCEPTS_PER_TURN {
            let room = self.clients.len() < CONNECTIONS_MAX;
            let accepted = if room {
                self.shared.net.accept(listener)
            } else {
                Err(io::ErrorKind::QuotaExceeded.into())
            };
            match accepted {
                Ok(Io::Done(accepted)) => self.admit_connection(accepted.socket, accepted.peer),
                Ok(Io::Blocked) => {
                    if let Some(slot) = self.listeners.get_mut(id) {
                        slot.socket.readable = false;
                    }
                    is_over = retires_until.is_some();
                    break;
                }
                Err(error) if is_gone(&error) => {}
                Err(error) => {
                    let text = format!("accepting a connection failed: {error}; trying again");
                    self.complaints
                        .log(Complaint::Accept, self.shared.now, &text);
                    if let Some(slot) = self.listeners.get_mut(id) {
                        slot.retry_at = Some(self.shared.now + ACCEPT_RETRY);
                    }
                    break;
                }
            }
        }
        if is_over {
            self.graveyard.push(Entity::Listener(id));
        }
        let Self {
            listeners,
            timers,
            run,
            ..
        } = self;
        if let Some(slot) = listeners.get_mut(id) {
            timers.arm(Entity::Listener(id), slot.retry_at, &mut slot.armed);
            run.push_if(slot.runnable(), Entity::Listener(id), &mut slot.queued);
        }
    }

    fn admit_connection(&mut self, socket: SocketId, peer: Peer) {
        self.shared.stats.connections += 1;
        let client = Client::new(socket, peer, self.shared.now);
        let id = self.clients.insert(ClientSlot::new(client));
        self.owners.insert(socket, Entity::Client(id));
        self.after_turn(id);
    }
}

/// Errors of `accept` that concern only the connection which is no more.
fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, TimedOut};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | TimedOut)
}
