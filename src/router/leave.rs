//! The router's way out.
//!
//! ```text
//! in service ── drain ──▶ Draining ── time is over ──▶ Ending ── time is over ──▶ Flushing ──▶ stopped
//!      └───────────────── stop ───────────────────────────┘
//! ```
//!
//! *Draining* takes no new clients and leaves the present ones alone: another process takes the new ones. *Ending*
//! ends what has no end of its own, and lets bodies come to theirs. *Flushing* cuts those too and sends what is queued.
//! The router has stopped as soon as nobody is left, in whatever state.

use std::time::{Duration, Instant};

use super::Router;
use super::close::CloseReason;
use super::ready::Entity;
use super::slots::{ClientId, Feed, ListenerId};
use crate::client::Ended;
use crate::limits::{DRAIN_READING_WAIT, STOP_FLUSH_WAIT, STOP_WAIT};

/// How far the router is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaving {
    /// Clients go on until `until`; connections on which no request has come, until `reading_until`.
    Draining {
        reading_until: Option<Instant>,
        until: Instant,
    },
    /// Bodies go on until then.
    Ending { until: Instant },
    /// What is queued is sent until then.
    Flushing { until: Instant },
}

impl Router {
    /// Takes no new clients from now on, and stops when the present ones are done; after `limit`, as
    /// [`Router::stop`]. With `takes_backlog`, whoever waits to be accepted counts as present.
    pub fn drain(&mut self, limit: Duration, takes_backlog: bool) {
        if self.leaving.is_some() {
            return;
        }
        log::info!(
            "draining; {} clients are given up to {} s",
            self.clients.len(),
            limit.as_secs_f32()
        );
        self.leaving = Some(Leaving::Draining {
            reading_until: Some(self.shared.now + DRAIN_READING_WAIT),
            until: self.shared.now + limit,
        });
        let listeners: Vec<(ListenerId, bool)> = self
            .listeners
            .iter()
            .map(|(id, slot)| (id, slot.place.address().is_none()))
            .collect();
        for (id, is_unix) in listeners {
            // Of those who accept from a Unix socket only one is woken for each connection. If that was this one, the
            // others would not hear of it.
            if takes_backlog || is_unix {
                self.retire_listener(id);
            } else {
                self.graveyard.push(Entity::Listener(id));
            }
        }
        self.leave_unused_channels();
        self.end_idle_connections();
        self.end_errands();
        self.end_kept_clients();
    }

    /// Stops listening and ends streams. Every client may take what is queued, and bodies of HTTP may come to their
    /// end, for a bounded time.
    pub fn stop(&mut self) {
        if matches!(
            self.leaving,
            Some(Leaving::Ending { .. } | Leaving::Flushing { .. })
        ) {
            return;
        }
        log::info!(
            "stopping; {} clients are given up to {} s",
            self.clients.len(),
            STOP_WAIT.as_secs()
        );
        self.leaving = Some(Leaving::Ending {
            until: self.shared.now + STOP_WAIT,
        });
        self.graveyard
            .extend(self.listeners.iter().map(|(id, _)| Entity::Listener(id)));
        self.end_kept_clients();
        let clients: Vec<ClientId> = self.clients.iter().map(|(id, _)| id).collect();
        for id in clients {
            self.end_client(id);
        }
        self.end_idle_connections();
        self.end_errands();
        self.leave_unused_channels();
    }

    /// Stops without waiting for anybody.
    pub fn stop_at_once(&mut self) {
        self.stop();
        self.leaving = Some(Leaving::Flushing {
            until: self.shared.now,
        });
    }

    /// Whether everything is over.
    pub fn is_stopped(&self) -> bool {
        self.leaving.is_some_and(|leaving| match leaving {
            Leaving::Flushing { until } if self.shared.now >= until => true,
            _ => self.is_deserted(),
        })
    }

    /// Whether nobody is connected or about to be, and no upstream has anything left to end.
    fn is_deserted(&self) -> bool {
        self.clients.is_empty() && self.upstreams.is_empty() && self.listeners.is_empty()
    }

    /// When [`Router::leave_if_due`] has something to do.
    pub(super) fn leaving_deadline(&self) -> Option<Instant> {
        self.leaving.map(|leaving| match leaving {
            Leaving::Draining {
                reading_until,
                until,
            } => reading_until.map_or(until, |reading| reading.min(until)),
            Leaving::Ending { until } | Leaving::Flushing { until } => until,
        })
    }

    /// Goes on to the next state when the time of this one is over.
    pub(super) fn leave_if_due(&mut self) {
        let now = self.shared.now;
        match self.leaving {
            Some(Leaving::Draining { until, .. }) if until <= now => self.stop(),
            Some(Leaving::Draining {
                reading_until: Some(reading),
                until,
            }) if reading <= now => {
                self.leaving = Some(Leaving::Draining {
                    reading_until: None,
                    until,
                });
                self.end_reading_clients(|_| true);
            }
            Some(Leaving::Ending { until }) if until <= now => {
                self.leaving = Some(Leaving::Flushing {
                    until: now + STOP_FLUSH_WAIT,
                });
                let clients: Vec<ClientId> = self.clients.iter().map(|(id, _)| id).collect();
                let mut cut = 0;
                for id in clients {
                    let feed = self.clients.get(id).map(|sink| sink.feed);
                    if feed.is_some_and(|feed| feed != Feed::None) {
                        self.detach(id);
                        self.end_stream(id, &CloseReason::Stop);
                        cut += 1;
                    }
                }
                // Who has not taken what was queued long ago will not now.
                if cut == 0 {
                    self.leaving = Some(Leaving::Flushing { until: now });
                }
            }
            _ => {}
        }
    }

    /// Ends what a client has no use for any more, unless it is a body that will be complete soon.
    fn end_client(&mut self, id: ClientId) {
        let Some(sink) = self.clients.get_mut(id) else {
            return;
        };
        if sink.client.is_reading() {
            sink.client.close(Ended::Stop);
            return self.after_turn(id);
        }
        let goes_on = match sink.feed {
            Feed::Upstream(upstream) => self
                .upstreams
                .get(upstream)
                .is_some_and(|source| source.upstream.is_finite()),
            // An answer of our own, on its way.
            Feed::None => !sink.client.is_waiting(),
            _ => false,
        };
        if !goes_on {
            self.detach(id);
            self.end_stream(id, &CloseReason::Stop);
        }
    }

    /// After what they are being answered, clients are not waited for; those that are only kept go now.
    fn end_kept_clients(&mut self) {
        let Self { clients, run, .. } = self;
        for (id, sink) in clients.iter_mut() {
            sink.client.refuse_keep_alive();
            // What had been kept for another request is discarded from now on.
            run.push_if(sink.runnable(), Entity::Client(id), &mut sink.queued);
        }
        self.end_reading_clients(|sink| sink.client.is_kept());
    }

    fn end_reading_clients(&mut self, which: impl Fn(&super::slots::ClientSlot) -> bool) {
        let reading = self.clients.iter();
        let ending: Vec<ClientId> = reading
            .filter(|(_, sink)| sink.client.is_reading() && which(sink))
            .map(|(id, _)| id)
            .collect();
        for id in ending {
            if let Some(sink) = self.clients.get_mut(id) {
                sink.client.close(Ended::Stop);
            }
            self.after_turn(id);
        }
    }

    fn end_idle_connections(&mut self) {
        self.graveyard
            .extend(self.idles.iter().map(|(id, _)| Entity::Idle(id)));
    }

    /// Nobody new will come: lingering would only pin buffers and keep the group.
    fn leave_unused_channels(&mut self) {
        let unused = self
            .channels
            .iter()
            .filter(|(_, slot)| slot.subscribers.is_empty());
        self.graveyard
            .extend(unused.map(|(id, _)| Entity::Channel(id)));
    }
}
