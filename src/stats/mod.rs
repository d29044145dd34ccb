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
    /// Bytes that sockets of clients have taken, heads included.
    pub bytes_sent: u64,
    /// Calls that wrote to a client and moved bytes.
    pub sends: u64,
    /// Calls that found a client's socket full.
    pub sends_blocked: u64,
    /// Datagrams not given to a client because its queue was at its limit, or taken back from it because the
    /// pool ran dry.
    pub packets_dropped: u64,
    /// Payload bytes of those.
    pub bytes_dropped: u64,
    /// How often a TCP upstream was paused.
    pub backpressure_events: u64,
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
    /// Times a queue was cut short to let a channel go on.
    pub reclaims: u64,
    /// Loop passes.
    pub ticks: u64,
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
            self.bytes_sent,
            self.sends,
            self.sends_blocked,
            self.packets_dropped,
            self.packets_overrun,
            self.backpressure_events,
        )
    }
}
