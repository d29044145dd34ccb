//! A new configuration for a router that runs: nobody's stream is touched.

use std::io;
use std::rc::Rc;

use super::Router;
use super::slots::{ChannelId, ListenerId};
use crate::config::Config;
use crate::limits::POOL_UNIT_BYTES;
use crate::net::{Listener, Place};

impl Router {
    /// From now on `config` holds, where it can for running streams too.
    ///
    /// What a stream was begun with stays: its interface, its socket's buffer, its ring and its flush interval. Where to
    /// listen is not looked at here.
    pub fn reconfigure(&mut self, config: Rc<Config>) {
        let pool = &self.shared.pool;
        pool.resize(config.pool_buffers_max.saturating_mul(POOL_UNIT_BYTES));
        if pool.held_bytes() > pool.bytes_max() {
            log::warn!(
                "{} bytes of buffers are in use and {} allowed from now on; until they have come back there may be no \
                 memory for new streams",
                pool.held_bytes(),
                pool.bytes_max()
            );
        }
        let before = std::mem::replace(&mut self.shared.config, config);
        self.restart_errands(&before);
        let Self {
            channels, shared, ..
        } = self;
        for (_, slot) in channels.iter_mut() {
            // The next subscriber gets one with the present headers.
            slot.head = None;
            slot.channel.reconfigure(shared);
        }
        let channels: Vec<ChannelId> = self.channels.iter().map(|(id, _)| id).collect();
        for id in channels {
            self.arm_channel(id);
        }
        self.bound_lingering();
        // It may have been moved away.
        self.reopen_access_log();
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

    /// One that is being given up does not count: should it be wanted again meanwhile, it is opened anew.
    fn is_listening_on(&self, place: &Place) -> bool {
        let mut slots = self.listeners.iter();
        slots.any(|(_, slot)| slot.place == *place && slot.retires_until.is_none())
    }
}
