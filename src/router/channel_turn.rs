//! A channel's turn: what the group has brought goes to everyone who listens.
//!
//! How it is received is the channel's part, and what each listener gets is [`fanout`]'s. One to whom nobody has
//! listened for long is ended here.

use super::ready::Entity;
use super::slots::ChannelId;
use super::{Router, fanout, flow};

impl Router {
    /// Lets a channel bring what has come, once there is room for it.
    pub(super) fn run_channel(&mut self, id: ChannelId) {
        let Some(slot) = self.channels.get_mut(id) else {
            return;
        };
        slot.queued = false;
        let wanted = slot.channel.wanted_bytes(&self.shared);
        if !self.shared.pool.has_room(wanted) {
            flow::reclaim(
                wanted,
                &mut self.clients,
                &mut self.channels,
                &mut self.shared,
                &mut self.run,
            );
        }
        let limits = self.limits();
        let mut runs = std::mem::take(&mut self.runs);
        let Self {
            clients,
            channels,
            run,
            shared,
            ..
        } = self;
        let Some(slot) = channels.get_mut(id) else {
            return;
        };
        let result = slot.channel.run(slot.audience(), shared, &mut runs);
        fanout::deliver(slot, &runs, limits, clients, run, shared);
        self.brought_bytes += runs.iter().map(|run| run.view.len()).sum::<usize>();
        for subscriber in &slot.subscribers {
            if let Some(sink) = clients.get_mut(subscriber.client) {
                self.timers.arm(
                    Entity::Client(subscriber.client),
                    sink.deadline(),
                    &mut sink.armed,
                );
            }
        }
        runs.clear();
        self.runs = runs;
        let lingers_until = slot.lingers_until(&self.shared);
        match result {
            Err(error) => self.fail_channel(id, error),
            Ok(()) if lingers_until.is_some_and(|until| until <= self.shared.now) => {
                self.end_channel(id);
            }
            Ok(()) => self.arm_channel(id),
        }
    }

    /// Queues a channel that can get on, and arms it.
    pub(super) fn arm_channel(&mut self, id: ChannelId) {
        let Self {
            channels,
            timers,
            run,
            shared,
            ..
        } = self;
        let Some(slot) = channels.get_mut(id) else {
            return;
        };
        timers.arm(
            Entity::Channel(id),
            Some(slot.deadline(shared)),
            &mut slot.armed,
        );
        run.push_if(
            slot.channel.runnable(),
            Entity::Channel(id),
            &mut slot.queued,
        );
    }
}
