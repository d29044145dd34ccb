//! Deadlines: how long the loop may sleep, and who is due.
//!
//! Every entity says itself when its next turn is due (`deadline` of its slot), and [`crate::timers`] keeps the order.

use std::time::Duration;

use super::Router;
use super::ready::Entity;

impl Router {
    /// How long nothing needs to be done unless something happens; unset where that is for ever.
    pub(super) fn timeout(&self) -> Option<Duration> {
        let is_leaving = self.leaving.is_some();
        let reads_list = self.library.is_reading() && !is_leaving;
        // What was given up between two ticks is to be freed, and may be the last thing to wait for.
        if !self.run.is_empty() || !self.graveyard.is_empty() || reads_list {
            return Some(Duration::ZERO);
        }
        let errands_at = self.errands.deadline().filter(|_| !is_leaving);
        let status_at = self.desk.deadline(self.worker.area().is_viewed());
        let next = [
            self.timers.next_at(),
            self.leaving_deadline(),
            self.overdraft.as_ref().map(|overdraft| overdraft.until),
            self.calm.deadline(),
            status_at,
            errands_at,
        ]
        .into_iter()
        .flatten()
        .min()?;
        Some(next.saturating_duration_since(self.shared.net.now()))
    }

    /// Queues whoever has a deadline that has passed; arms again whose deadline has moved on.
    pub(super) fn queue_due(&mut self) {
        let now = self.shared.now;
        while let Some((entity, at)) = self.timers.pop_due(now) {
            let Self {
                listeners,
                clients,
                channels,
                upstreams,
                idles,
                timers,
                run,
                shared,
                ..
            } = self;
            let slot = match entity {
                Entity::Listener(id) => listeners
                    .get_mut(id)
                    .map(|slot| (slot.retry_at, &mut slot.armed, &mut slot.queued)),
                Entity::Client(id) => clients
                    .get_mut(id)
                    .map(|slot| (slot.deadline(), &mut slot.armed, &mut slot.queued)),
                Entity::Channel(id) => channels.get_mut(id).map(|slot| {
                    let deadline = slot.deadline(shared);
                    (Some(deadline), &mut slot.armed, &mut slot.queued)
                }),
                Entity::Upstream(id) => upstreams
                    .get_mut(id)
                    .map(|slot| (slot.deadline(shared), &mut slot.armed, &mut slot.queued)),
                Entity::Idle(id) => idles
                    .get_mut(id)
                    .map(|slot| (Some(slot.until), &mut slot.armed, &mut slot.queued)),
            };
            let Some((deadline, armed, queued)) = slot else {
                continue;
            };
            if *armed != Some(at) {
                continue;
            }
            *armed = None;
            if deadline.is_some_and(|deadline| deadline <= now) {
                run.push(entity, queued);
            } else {
                timers.arm(entity, deadline, armed);
            }
        }
        self.drop_stale_timers();
    }

    /// Frees what timers remember of entities that are gone or were armed anew, where that has become much.
    fn drop_stale_timers(&mut self) {
        let live = self.clients.len()
            + self.channels.len()
            + self.upstreams.len()
            + self.idles.len()
            + self.listeners.len();
        if !self.timers.is_bloated(live) {
            return;
        }
        let Self {
            listeners,
            clients,
            channels,
            upstreams,
            idles,
            timers,
            ..
        } = self;
        timers.rebuild(|entity, at| {
            let armed = match entity {
                Entity::Listener(id) => listeners.get(id).and_then(|slot| slot.armed),
                Entity::Client(id) => clients.get(id).and_then(|slot| slot.armed),
                Entity::Channel(id) => channels.get(id).and_then(|slot| slot.armed),
                Entity::Upstream(id) => upstreams.get(id).and_then(|slot| slot.armed),
                Entity::Idle(id) => idles.get(id).and_then(|slot| slot.armed),
            };
            armed == Some(at)
        });
    }
}
