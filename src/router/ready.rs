//! Who owns a socket, and who runs next.

use std::collections::VecDeque;

use super::slots::{ChannelId, ClientId, IdleId, ListenerId, UpstreamId};
use crate::net::SocketId;

/// What runs, expires and dies. `Copy`, so matching borrows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entity {
    /// A listening socket.
    Listener(ListenerId),
    /// A client.
    Client(ClientId),
    /// A channel.
    Channel(ChannelId),
    /// An upstream.
    Upstream(UpstreamId),
    /// A connection to a server that is kept for another request.
    Idle(IdleId),
}

/// Socket → entity, by the socket's index; a stale socket finds nobody.
#[derive(Debug, Default)]
pub struct Owners {
    by_index: Vec<Option<(u32, Entity)>>,
}

impl Owners {
    /// From now on edges of `socket` belong to `entity`.
    pub fn insert(&mut self, socket: SocketId, entity: Entity) {
        let index = socket.index() as usize;
        if index >= self.by_index.len() {
            self.by_index.resize(index + 1, None);
        }
        self.by_index[index] = Some((socket.generation(), entity));
    }

    /// Whose edge this is.
    pub fn get(&self, socket: SocketId) -> Option<Entity> {
        let (generation, entity) = (*self.by_index.get(socket.index() as usize)?)?;
        (generation == socket.generation()).then_some(entity)
    }

    /// Forgets a socket.
    pub fn remove(&mut self, socket: SocketId) {
        if self.get(socket).is_some() {
            self.by_index[socket.index() as usize] = None;
        }
    }
}

/// Two lanes: sources (and listeners) run before clients, so that one write carries what a whole tick brought.
///
/// An entity stands in at most one place, which its slot's `queued` tells.
#[derive(Debug, Default)]
pub struct RunQueue {
    sources: VecDeque<Entity>,
    clients: VecDeque<Entity>,
}

impl RunQueue {
    /// Queues `entity` if it is `runnable` and not queued yet.
    pub fn push_if(&mut self, runnable: bool, entity: Entity, queued: &mut bool) {
        if runnable && !*queued {
            *queued = true;
            self.lane(entity).push_back(entity);
        }
    }

    /// Queues `entity` if it is not queued yet.
    pub fn push(&mut self, entity: Entity, queued: &mut bool) {
        self.push_if(true, entity, queued);
    }

    fn lane(&mut self, entity: Entity) -> &mut VecDeque<Entity> {
        match entity {
            Entity::Client(_) => &mut self.clients,
            _ => &mut self.sources,
        }
    }

    /// Whether nobody waits for a turn.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.clients.is_empty()
    }

    /// Entities in the lane of the sources.
    pub fn sources_len(&self) -> usize {
        self.sources.len()
    }

    /// Entities in the lane of the clients.
    pub fn clients_len(&self) -> usize {
        self.clients.len()
    }

    /// The next source.
    pub fn pop_source(&mut self) -> Option<Entity> {
        self.sources.pop_front()
    }

    /// The next client.
    pub fn pop_client(&mut self) -> Option<Entity> {
        self.clients.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Id;

    #[test]
    fn an_entity_stands_in_the_queue_once() {
        let mut run = RunQueue::default();
        let mut queued = false;
        let client = Entity::Client(Id::from_parts(1, 1));
        run.push(client, &mut queued);
        run.push(client, &mut queued);
        assert_eq!((run.clients_len(), run.sources_len()), (1, 0));
        assert_eq!(run.pop_client(), Some(client));
    }

    #[test]
    fn a_stale_socket_has_no_owner() {
        let mut owners = Owners::default();
        let entity = Entity::Channel(Id::from_parts(0, 1));
        owners.insert(Id::from_parts(5, 1), entity);
        owners.insert(Id::from_parts(5, 2), entity);
        assert_eq!(owners.get(Id::from_parts(5, 1)), None);
        assert_eq!(owners.get(Id::from_parts(5, 2)), Some(entity));
        owners.remove(Id::from_parts(5, 1));
        assert_eq!(owners.get(Id::from_parts(5, 2)), Some(entity));
        assert_eq!(owners.get(Id::from_parts(9, 1)), None);
    }
}
