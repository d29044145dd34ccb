//! Counters of the whole router, kept from the start. Only ever growing, in bytes, packets or events.

use std::fmt;

/// What happened since start.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Connections accepted.
    pub connections: u64,
    /// Connections closed again.
    pub connections_closed: u64,
    /// Requests answered with status 4xx.
    pub client_errors: u64,
    /// Requests answered with status 5xx, the client limit included.
    pub server_errors: u64,
    /// Of those, for the client limit.
    pub refused_for_limit: u64,
    /// Clients taken on for a stream.
    pub streams: u64,
    /// What went to clients, heads included.
    pub to_clients: Sends,
    /// What went to TCP upstreams: requests and the bodies of uploads.
    pub to_upstreams: Sends,
    /// Datagrams not given to a client because its queue was at its limit, or taken back from it because the
    /// pool ran dry.
    pub packets_dropped: u64,
    /// Payload bytes of those.
    pub bytes_dropped: u64,
    /// How often a TCP upstream was paused, or a client that uploads.
    pub backpressure_events: u64,
    /// Connections to TCP upstreams that were begun.
    pub upstream_connections: u64,
    /// Requests that went over a connection which had been kept from an earlier one.
    pub upstream_reuses: u64,
    /// Groups joined.
    pub joins: u64,
    /// Clients that found their channel running or lingering.
    pub shared_joins: u64,
    /// Clients that were started at a random-access point.
    pub fast_starts: u64,
    /// Memberships refreshed.
    pub rejoins: u64,
    /// Refreshes that failed.
    pub rejoins_failed: u64,
    /// Datagrams lost because the pool had no buffer for them.
    pub packets_overrun: u64,
    /// Times a queue was cut short to let a channel go on, or its client had to give way after a reload.
    pub reclaims: u64,
    /// Loop passes.
    pub ticks: u64,
}

/// What was written to sockets of one kind.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sends {
    /// Bytes that were taken.
    pub bytes: u64,
    /// Calls that moved bytes.
    pub calls: u64,
    /// Calls that found the socket full.
    pub blocked: u64,
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} connections, {} streams, {} joins, {} bytes sent in {} sends ({} blocked), {} packets dropped, \
             {} overrun, {} pauses",
            self.connections,
            self.streams,
            self.joins,
            self.to_clients.bytes,
            self.to_clients.calls,
            self.to_clients.blocked,
            self.packets_dropped,
            self.packets_overrun,
            self.backpressure_events,
        )
    }
}
