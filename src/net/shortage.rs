//! Sockets for which the kernel had no memory.
//!
//! `ENOBUFS` is no fault of a connection and passes, so to its user it is as if the socket had no room. But the socket
//! had room, and so no edge comes when there is memory again: one is made up a moment later.

use std::io;
use std::time::Duration;

use super::{Edge, Event, SocketId};
use crate::limits::SHORTAGE_RETRY;

/// The sockets that are to be tried again; each once, so at most as many as there are.
#[derive(Debug, Default)]
pub(super) struct Shortage {
    sockets: Vec<SocketId>,
}

impl Shortage {
    /// Whether `error` says that the kernel lacks memory for the moment.
    pub(super) fn is(error: &io::Error) -> bool {
        error.raw_os_error() == Some(libc::ENOBUFS)
    }

    /// There was no memory for what was to be done with `socket`.
    pub(super) fn note(&mut self, socket: SocketId) {
        if !self.sockets.contains(&socket) {
            self.sockets.push(socket);
        }
    }

    /// How long to wait for events, if `wanted` is what there is otherwise to be waited for.
    pub(super) fn timeout(&self, wanted: Option<Duration>) -> Option<Duration> {
        if self.sockets.is_empty() {
            return wanted;
        }
        Some(wanted.map_or(SHORTAGE_RETRY, |wanted| wanted.min(SHORTAGE_RETRY)))
    }

    /// Reports an edge for each of them, and forgets them. Some may have been closed.
    pub(super) fn report(&mut self, events: &mut Vec<Event>) {
        let edge = Edge {
            readable: true,
            writable: true,
            ended: false,
        };
        let sockets = self.sockets.drain(..);
        events.extend(sockets.map(|socket| Event::Ready { socket, edge }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Id;

    #[test]
    fn a_socket_that_lacked_memory_has_one_edge_and_a_short_wait_for_it() {
        let mut shortage = Shortage::default();
        assert_eq!(shortage.timeout(None), None);
        let socket = Id::from_parts(3, 1);
        shortage.note(socket);
        shortage.note(socket);
        assert_eq!(shortage.timeout(None), Some(SHORTAGE_RETRY));
        assert_eq!(shortage.timeout(Some(Duration::ZERO)), Some(Duration::ZERO));
        let mut events = Vec::new();
        shortage.report(&mut events);
        let [
            Event::Ready {
                socket: ready,
                edge,
            },
        ] = events[..]
        else {
            panic!("{events:?}");
        };
        assert!(ready == socket && edge.readable && edge.writable && !edge.ended);
        shortage.report(&mut events);
        assert_eq!((events.len(), shortage.timeout(None)), (1, None));
    }
}
