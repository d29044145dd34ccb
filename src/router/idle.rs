//! Connections to servers that are kept for another request: bounded, and none that has said anything since.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::Router;
use super::ready::Entity;
use super::slots::{IdleId, IdleSlot};
use crate::arena::Arena;
use crate::limits::{IDLE_CONNECTION_WAIT, IDLE_CONNECTIONS_MAX};
use crate::upstream::connection::{Connection, Destination};

/// The connections that are kept, and which of them lead where.
#[derive(Default)]
pub(super) struct Idles {
    slots: Arena<IdleSlot>,
    /// The one used last comes last.
    by_destination: BTreeMap<Rc<Destination>, Vec<IdleId>>,
}

impl Idles {
    fn insert(&mut self, slot: IdleSlot) -> IdleId {
        let destination = Rc::clone(&slot.destination);
        let id = self.slots.insert(slot);
        self.by_destination.entry(destination).or_default().push(id);
        id
    }

    fn remove(&mut self, id: IdleId) -> Option<IdleSlot> {
        let slot = self.slots.remove(id)?;
        if let Some(same) = self.by_destination.get_mut(&slot.destination) {
            if let Some(at) = same.iter().rposition(|other| *other == id) {
                same.remove(at);
            }
            if same.is_empty() {
                self.by_destination.remove(&slot.destination);
            }
        }
        Some(slot)
    }

    /// Takes out the connection to `destination` that was used last.
    fn take_newest(&mut self, destination: &Destination) -> Option<IdleSlot> {
        let same = self.by_destination.get_mut(destination)?;
        let newest = same.pop();
        if same.is_empty() {
            self.by_destination.remove(destination);
        }
        self.slots.remove(newest?)
    }

    fn oldest(&self) -> Option<IdleId> {
        let oldest = self.iter().min_by_key(|(_, slot)| slot.until);
        oldest.map(|(id, _)| id)
    }

    pub(super) fn get(&self, id: IdleId) -> Option<&IdleSlot> {
        self.slots.get(id)
    }

    pub(super) fn get_mut(&mut self, id: IdleId) -> Option<&mut IdleSlot> {
        self.slots.get_mut(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (IdleId, &IdleSlot)> {
        self.slots.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether every kept connection can be found by its destination, and nothing else can.
    pub(super) fn is_consistent(&self) -> bool {
        let ids = || self.by_destination.values().flatten();
        let is_listed = |(id, slot): (IdleId, &IdleSlot)| {
            let same = self.by_destination.get(&slot.destination);
            same.is_some_and(|same| same.contains(&id))
        };
        ids().count() == self.len() && self.iter().all(is_listed)
    }
}

impl Router {
    /// Keeps a connection whose response is complete. The oldest gives way when there are too many.
    pub(super) fn keep(&mut self, connection: Connection, destination: Rc<Destination>) {
        if self.leaving.is_some() {
            return self.shut(connection);
        }
        if self.idles.len() >= IDLE_CONNECTIONS_MAX
            && let Some(oldest) = self.idles.oldest()
        {
            self.reap_idle(oldest);
        }
        let socket = connection.socket();
        let id = self.idles.insert(IdleSlot {
            connection,
            destination,
            until: self.shared.now + IDLE_CONNECTION_WAIT,
            queued: false,
            armed: None,
        });
        self.owners.insert(socket, Entity::Idle(id));
        if let Some(slot) = self.idles.get_mut(id) {
            let entity = Entity::Idle(id);
            self.timers.arm(entity, Some(slot.until), &mut slot.armed);
            // What the server says without being asked, its farewell above all, makes it useless.
            self.run
                .push_if(slot.connection.can_read(), entity, &mut slot.queued);
        }
    }

    /// A kept connection to `destination`, the one used last, that has been found to be clean.
    pub(super) fn take_kept(&mut self, destination: &Destination) -> Option<Connection> {
        loop {
            let mut slot = self.idles.take_newest(destination)?;
            self.owners.remove(slot.connection.socket());
            if slot.connection.is_clean(&mut *self.shared.net) {
                return Some(slot.connection);
            }
            self.shut(slot.connection);
        }
    }

    /// Something came over a kept connection, or its time is over.
    pub(super) fn run_idle(&mut self, id: IdleId) {
        let Self {
            idles,
            timers,
            shared,
            graveyard,
            ..
        } = self;
        let Some(slot) = idles.get_mut(id) else {
            return;
        };
        slot.queued = false;
        if slot.until <= shared.now || !slot.connection.is_clean(&mut *shared.net) {
            return graveyard.push(Entity::Idle(id));
        }
        timers.arm(Entity::Idle(id), Some(slot.until), &mut slot.armed);
    }

    pub(super) fn reap_idle(&mut self, id: IdleId) {
        if let Some(slot) = self.idles.remove(id) {
            self.owners.remove(slot.connection.socket());
            self.shut(slot.connection);
        }
    }

    fn shut(&mut self, connection: Connection) {
        self.shared.net.close(connection.socket());
    }
}
