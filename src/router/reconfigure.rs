//! A new configuration for a router that runs: nobody's stream is touched.

use std::rc::Rc;

use super::Router;
use super::slots::ChannelId;
use crate::config::Config;
use crate::limits::POOL_UNIT_BYTES;

impl Router {
    /// From now on `config` holds, where it can for running streams too.
    ///
    /// What a stream was begun with stays: its interface, its socket's buffer, its ring and its flush interval. Where
    /// to listen is not looked at here.
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
        self.watch_overdraft();
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
}
