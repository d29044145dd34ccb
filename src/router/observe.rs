//! What the oracles of the simulation may look at. Tests only.

use super::Router;
use super::flow::Limits;
use super::slots::{ChannelSlot, ClientSlot, UpstreamSlot};
use crate::arena::Arena;
use crate::shared::Shared;
use crate::status::facts::WorkerFacts;

impl Router {
    pub(crate) fn clients(&self) -> &Arena<ClientSlot> {
        &self.clients
    }

    pub(crate) fn channels(&self) -> &Arena<ChannelSlot> {
        &self.channels
    }

    pub(crate) fn upstreams(&self) -> &Arena<UpstreamSlot> {
        &self.upstreams
    }

    pub(crate) fn flow_limits(&self) -> Limits {
        self.limits()
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn streams(&self) -> usize {
        self.streams
    }

    /// What the status would tell now.
    pub(crate) fn told(&mut self) -> WorkerFacts {
        self.facts()
    }

    /// Bytes that were counted for clients that have gone.
    pub(crate) fn client_bytes(&self) -> u64 {
        let record = self.worker.area().worker(self.worker.number());
        record.unwrap_or_default().client_bytes
    }

    /// What should be left of a router once all its clients are gone: nothing.
    ///
    /// # Panics
    ///
    /// If something is.
    pub(crate) fn check_empty(&self) {
        assert!(self.clients.is_empty(), "clients are left");
        assert!(self.channels.is_empty(), "channels are left");
        assert!(self.upstreams.is_empty(), "upstreams are left");
        assert!(self.idles.len() == 0, "connections are kept");
        assert!(self.run.is_empty(), "somebody is queued");
        assert!(self.waiters.is_empty(), "somebody waits for buffers");
        assert!(self.timers.is_empty(), "timers are armed for the dead");
        assert!(
            self.lookups.is_empty(),
            "look-ups are remembered for the dead"
        );
        assert_eq!(self.streams, 0, "streams are counted");
        let places = self.worker.area().places();
        assert_eq!(places.count(), 0, "places are held");
        assert_eq!(self.shared.pool.held_bytes(), 0, "buffers are held");
        let stats = &self.shared.stats;
        assert_eq!(stats.connections, stats.connections_closed);
    }
}
