//! Whose turn it is: sockets to their owners, the queue of those with something to do, and their deadlines.
//!
//! Owns no connection. An id may be stale; whoever takes it finds nobody then.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use crate::arena::Id;
use crate::net::SocketId;
use crate::timers::Timers;

/// The part of a connection that [`Turns`] keeps there.
#[derive(Debug, Default)]
pub struct Place {
    is_queued: bool,
    armed: Option<Instant>,
}

/// The turns of the connections of one end.
#[derive(Debug)]
pub struct Turns<T> {
    owners: HashMap<SocketId, Id<T>>,
    queue: VecDeque<Id<T>>,
    timers: Timers<Id<T>>,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self {
            owners: HashMap::new(),
            queue: VecDeque::new(),
            timers: Timers::default(),
        }
    }
}

impl<T> Turns<T> {
    /// Edges of `socket` belong to `owner` from now on.
    pub fn own(&mut self, socket: SocketId, owner: Id<T>) {
        self.owners.insert(socket, owner);
    }

    /// Forgets a socket.
    pub fn disown(&mut self, socket: SocketId) {
        self.owners.remove(&socket);
    }

    /// Whose edge it is.
    pub fn owner(&self, socket: SocketId) -> Option<Id<T>> {
        self.owners.get(&socket).copied()
    }

    /// Gives `id` a turn, if it does not wait for one already.
    pub fn queue(&mut self, id: Id<T>, place: &mut Place) {
        if !place.is_queued {
            place.is_queued = true;
            self.queue.push_back(id);
        }
    }

    /// Gives `id` a turn at `deadline` at the latest.
    pub fn arm(&mut self, id: Id<T>, deadline: Option<Instant>, place: &mut Place) {
        self.timers.arm(id, deadline, &mut place.armed);
    }

    /// How many wait for a turn; those that come later wait for the next round.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// The next one; its place must be told by [`Turns::begin`].
    pub fn pop(&mut self) -> Option<Id<T>> {
        self.queue.pop_front()
    }

    /// The turn begins.
    pub fn begin(place: &mut Place) {
        place.is_queued = false;
    }

    /// Takes an id whose time has come.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Id<T>, Instant)> {
        self.timers.pop_due(now)
    }

    /// Whether the entry that fired at `at` was the one that counts; it is used up then.
    pub fn fire(at: Instant, place: &mut Place) -> bool {
        let counts = place.armed == Some(at);
        if counts {
            place.armed = None;
        }
        counts
    }

    /// When the next deadline is.
    pub fn next_at(&self) -> Option<Instant> {
        self.timers.next_at()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_two_turns() {
        let (mut turns, mut place) = (Turns::<()>::default(), Place::default());
        let id = Id::from_parts(1, 1);
        turns.queue(id, &mut place);
        turns.queue(id, &mut place);
        assert_eq!(turns.waiting(), 1);
        assert_eq!(turns.pop(), Some(id));
        Turns::<()>::begin(&mut place);
        turns.queue(id, &mut place);
        assert_eq!(turns.waiting(), 1);
    }
}
