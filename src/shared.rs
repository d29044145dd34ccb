//! What any entity may use besides itself.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Instant;

use crate::config::{Config, Denied};
use crate::limits::{OWN_ADDRESSES_WAIT, POOL_TRIM_BYTES, POOL_TRIM_INTERVAL, POOL_UNIT_BYTES};
use crate::net::{Batch, Net};
use crate::pool::Pool;
use crate::stats::Stats;
use crate::web::Pages;

/// Sockets, buffers, counters, configuration and the time of this tick.
pub struct Shared {
    /// The operating system.
    pub net: Box<dyn Net>,
    /// Buffers of every queue.
    pub pool: Pool,
    /// Counters of the whole router.
    pub stats: Stats,
    /// The configuration in force.
    pub config: Rc<Config>,
    /// Our own pages, as far as they have been asked for.
    pub pages: Pages,
    /// The time, read once per tick.
    pub now: Instant,
    /// Where the router itself listens for TCP clients.
    pub listening: Vec<SocketAddr>,
    /// When spare buffers were last looked through.
    trimmed_at: Instant,
    /// The addresses of this host, and when they were looked up.
    own_addresses: Option<(Instant, Vec<IpAddr>)>,
    /// Scratch space for datagrams.
    batch: Option<Box<Batch>>,
    /// Scratch space for what clients send and for datagrams put together.
    pub scratch: Vec<u8>,
}

impl Shared {
    /// Takes over a network and makes the pool that `config` asks for.
    pub fn new(net: Box<dyn Net>, config: Rc<Config>) -> Self {
        let now = net.now();
        Self {
            net,
            pool: Pool::new(config.pool_buffers_max.saturating_mul(POOL_UNIT_BYTES)),
            stats: Stats::default(),
            config,
            pages: Pages::default(),
            now,
            listening: Vec::new(),
            trimmed_at: now,
            own_addresses: None,
            batch: None,
            scratch: Vec::new(),
        }
    }

    /// Now and then gives back the buffers that nobody has wanted since the last time. Wakes nobody for it.
    pub fn trim_if_due(&mut self) {
        if self.now >= self.trimmed_at + POOL_TRIM_INTERVAL {
            self.trimmed_at = self.now;
            if self.pool.trim_unused() >= POOL_TRIM_BYTES {
                self.net.trim_heap();
            }
        }
    }

    /// The addresses of this host, looked up not long ago.
    pub fn own_addresses(&mut self) -> &[IpAddr] {
        let is_old = |(since, _): &(Instant, _)| self.now >= *since + OWN_ADDRESSES_WAIT;
        if self.own_addresses.as_ref().is_none_or(is_old) {
            self.own_addresses = Some((self.now, self.net.own_addresses()));
        }
        self.own_addresses
            .as_ref()
            .map_or(&[], |(_, addresses)| addresses)
    }

    /// Which of `addresses` may be connected to on behalf of a request that named `host`; `is_local` says that
    /// whoever asks sits on this host.
    ///
    /// # Errors
    ///
    /// Why none of them may, if there are any.
    pub fn permitted(
        &mut self,
        host: &str,
        addresses: &[IpAddr],
        port: u16,
        is_local: bool,
    ) -> Result<Vec<SocketAddr>, Denied> {
        let mut own = self.listening.clone();
        if !is_local {
            let addresses = self.own_addresses().iter();
            own.extend(addresses.map(|address| SocketAddr::new(*address, 0)));
        }
        let policy = &self.config.upstream_policy;
        let mut permitted = Vec::new();
        let mut denied = None;
        for address in addresses {
            match policy.check(host, *address, port, &own, is_local) {
                Ok(()) => permitted.push(SocketAddr::new(*address, port)),
                Err(error) => denied = Some(error),
            }
        }
        match denied {
            Some(denied) if permitted.is_empty() => Err(denied),
            _ => Ok(permitted),
        }
    }

    /// Gives back what only streams need: a quiet router is a small one.
    pub fn release_memory(&mut self) {
        self.batch = None;
        self.scratch = Vec::new();
        self.trim();
    }

    /// Gives back buffers that wait for the next taker.
    pub fn trim(&mut self) {
        self.pool.trim();
        self.net.trim_heap();
    }

    /// Borrows the datagram scratch space away; made when the first channel needs it.
    pub fn take_batch(&mut self) -> Box<Batch> {
        self.batch.take().unwrap_or_default()
    }

    /// Gives the datagram scratch space back.
    pub fn return_batch(&mut self, batch: Box<Batch>) {
        self.batch = Some(batch);
    }
}
