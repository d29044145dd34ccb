//! A pool that a reload has made smaller than what is in use.
//!
//! What clients hold has been read for them and stays until they have taken it; flow control gives them no more.
//! Whoever takes nothing at all, as a player that pauses, would keep the pool overdrawn for as long as he likes, and
//! everybody who comes would be refused. So after [`OVERDRAFT_WAIT`] those who have taken nothing since give way, who
//! holds most first, until the rest fits.

use std::time::Instant;

use super::Router;
use super::slots::{ClientId, ClientSlot, Feed};
use crate::client::Ended;
use crate::limits::OVERDRAFT_WAIT;

/// A pool that has given out more than it has now.
#[derive(Debug)]
pub(super) struct Overdraft {
    /// When clients give way.
    pub(super) until: Instant,
    /// What each client had been sent when this began, bytes.
    sent_bytes: Vec<(ClientId, u64)>,
}

impl Router {
    /// Notes whether the pool is overdrawn, and who takes what from now on.
    pub(super) fn watch_overdraft(&mut self) {
        self.overdraft = self.is_overdrawn().then(|| {
            let clients = self.clients.iter();
            let sent_bytes = |(id, sink): (_, &ClientSlot)| (id, sink.client.sent_bytes());
            Overdraft {
                until: self.shared.now + OVERDRAFT_WAIT,
                sent_bytes: clients.map(sent_bytes).collect(),
            }
        });
    }

    /// Has clients give way when the time is over; a step of every tick.
    pub(super) fn end_overdraft_if_due(&mut self) {
        let now = self.shared.now;
        let Some(overdraft) = self.overdraft.take_if(|overdraft| overdraft.until <= now) else {
            return;
        };
        let taken_nothing = overdraft.sent_bytes.into_iter().filter(|(id, sent_bytes)| {
            let sink = self.clients.get(*id);
            sink.is_some_and(|sink| sink.client.sent_bytes() == *sent_bytes)
        });
        let mut holders: Vec<(usize, ClientId)> = taken_nothing
            .map(|(id, _)| (self.bytes_held_for(id), id))
            .filter(|(bytes, _)| *bytes > 0)
            .collect();
        holders.sort_unstable_by_key(|(bytes, _)| *bytes);
        while self.is_overdrawn()
            && let Some((bytes, id)) = holders.pop()
        {
            self.give_way(id, bytes);
        }
        // Others take what is theirs, if slowly.
        self.watch_overdraft();
    }

    fn is_overdrawn(&self) -> bool {
        let pool = &self.shared.pool;
        pool.held_bytes() > pool.bytes_max()
    }

    /// What a client and its upstream hold of the pool.
    fn bytes_held_for(&self, id: ClientId) -> usize {
        let Some(sink) = self.clients.get(id) else {
            return 0;
        };
        let source = match sink.feed {
            Feed::Upstream(upstream) => self.upstreams.get(upstream),
            _ => None,
        };
        sink.client.held_bytes() + source.map_or(0, |source| source.upstream.held_bytes())
    }

    fn give_way(&mut self, id: ClientId, bytes: usize) {
        log::warn!(
            "client {id}: has taken nothing for {} s and holds {bytes} bytes, more than there is room for since the \
             reload; it is disconnected",
            OVERDRAFT_WAIT.as_secs()
        );
        self.shared.stats.reclaims += 1;
        self.detach(id);
        if let Some(sink) = self.clients.get_mut(id) {
            // Its answer is not whole, and must not look as if it were.
            self.shared.net.break_at_close(sink.client.socket());
            sink.client.close(Ended::Stalled);
        }
        self.after_turn(id);
    }
}
