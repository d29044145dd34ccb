//! Connections to servers that are kept for another request: bounded, and none that has said anything since.

use super::Router;
use super::ready::Entity;
use super::slots::{IdleId, IdleSlot};
use crate::limits::{IDLE_CONNECTION_WAIT, IDLE_CONNECTIONS_MAX};
use crate::upstream::connection::{Connection, Destination};

impl Router {
    /// Keeps a connection whose response is complete. The oldest gives way when there are too many.
    pub(super) fn keep(&mut self, connection: Connection, destination: Destination) {
        if self.stop_at.is_some() {
            return self.shut(connection);
        }
        if self.idles.len() >= IDLE_CONNECTIONS_MAX {
            let oldest = self.idles.iter().min_by_key(|(_, slot)| slot.until);
            if let Some(oldest) = oldest.map(|(id, _)| id) {
                self.reap_idle(oldest);
            }
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
            let fitting = self
                .idles
                .iter()
                .filter(|(_, slot)| slot.destination == *destination);
            let (id, _) = fitting.max_by_key(|(_, slot)| slot.until)?;
            let mut slot = self.idles.remove(id)?;
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
