//! What one worker knows about itself, its clients and its sources.
//!
//! Bytes and milliseconds unless said otherwise; counts from the worker's start. Nothing secret is ever put in here:
//! these facts leave the process.

use super::codec::{Codec, Fields};
use crate::stats::{Sends, Stats};

/// All that one worker has to tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerFacts {
    /// Its number.
    pub worker: u64,
    /// Its process; 0 while there is none.
    pub pid: u64,
    /// How often it was started again.
    pub restarts: u64,
    /// Bytes sent to clients that have gone.
    pub finished_bytes: u64,
    /// Bytes sent to clients that are there.
    pub current_bytes: u64,
    /// Bytes per second to all its clients.
    pub bandwidth: u64,
    /// Clients, also those that are not listed.
    pub clients_count: u64,
    /// Of those, how many are paused.
    pub clients_paused: u64,
    /// Of those, how many are slow.
    pub clients_slow: u64,
    /// Bytes in the queues of all of them.
    pub queued_bytes: u64,
    /// The clients, in the order of their admission.
    pub clients: Vec<ClientFacts>,
    /// The channels.
    pub channels: Vec<ChannelFacts>,
    /// The upstreams.
    pub upstreams: Vec<UpstreamFacts>,
    /// The buffers.
    pub pool: PoolFacts,
    /// Counters since the worker's start.
    pub stats: Stats,
}

/// A client that is being served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientFacts {
    /// `<address>-worker<n>-seq<m>`.
    pub id: String,
    /// Since it was admitted.
    pub duration_ms: u64,
    /// Its address, or the one that a proxy in front has named.
    pub address: String,
    /// What it has asked for, without secrets.
    pub service_url: String,
    /// A number of server spec §10.6.
    pub state: u64,
    /// What its socket has taken.
    pub sent_bytes: u64,
    /// Bytes per second.
    pub bandwidth: u64,
    /// Bytes its queue holds.
    pub queue_bytes: u64,
    /// Bytes it may hold.
    pub queue_limit_bytes: u64,
    /// From here on its upstream is paused.
    pub queue_high_bytes: u64,
    /// Down to here it stays paused.
    pub queue_low_bytes: u64,
    /// Most bytes it has held.
    pub queue_bytes_highwater: u64,
    /// Payload it was not given.
    pub dropped_bytes: u64,
    /// Datagrams it was not given.
    pub dropped_packets: u64,
    /// It has been above its share for long.
    pub slow: bool,
    /// How often its upstream was paused.
    pub backpressure_events: u64,
    /// It is paused now.
    pub upstream_paused: bool,
    /// How long altogether.
    pub paused_ms: u64,
    /// The latest pauses, the oldest first.
    pub pauses: Vec<PauseFacts>,
}

/// A time during which a client's upstream was paused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PauseFacts {
    /// Its begin, since 1970.
    pub start_ms: u64,
    /// Its length, so far if it lasts.
    pub length_ms: u64,
}

/// A group that is received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelFacts {
    /// Address and port.
    pub group: String,
    /// The only source that is accepted, if there is one.
    pub source: String,
    /// The interface it was joined on, if one was named.
    pub interface: String,
    /// Who listens.
    pub subscribers: u64,
    /// Payload in bits per second.
    pub bitrate: u64,
    /// Datagrams that arrived.
    pub received_packets: u64,
    /// Payload that was handed on.
    pub received_bytes: u64,
    /// RTP packets that did not arrive in time.
    pub lost: u64,
    /// RTP packets that arrived out of order, and in time.
    pub reordered: u64,
    /// RTP packets that were put together from parity.
    pub recovered: u64,
    /// RTP packets that arrived too late.
    pub late: u64,
    /// RTP packets that arrived more than once.
    pub duplicates: u64,
    /// Datagrams lost for want of a buffer.
    pub overrun: u64,
    /// Since it was joined.
    pub join_age_ms: u64,
    /// Nobody listens.
    pub lingering: bool,
    /// For how long.
    pub lingering_ms: u64,
}

/// A source of one client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamFacts {
    /// Its client, unless that has gone.
    pub client_id: String,
    /// Scheme, host and port.
    pub address: String,
    /// A number of server spec §10.6.
    pub state: u64,
    /// `tcp`, `tls`, `interleaved` or `udp`.
    pub transport: String,
    /// What it has brought and its client has not taken yet.
    pub in_flight_bytes: u64,
    /// What its client uploads and it has not taken yet.
    pub upload_bytes: u64,
    /// It is not read, because its client is full.
    pub paused: bool,
    /// Since it was made.
    pub age_ms: u64,
}

/// The buffers of a worker, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolFacts {
    /// The bound.
    pub max_bytes: u64,
    /// Part of that which is kept for answers.
    pub reserve_bytes: u64,
    /// In use.
    pub used_bytes: u64,
    /// Allocated and not in use.
    pub spare_bytes: u64,
    /// How often a buffer was wanted and there was none.
    pub exhaustions: u64,
}

impl Fields for WorkerFacts {
    fn visit(&mut self, codec: &mut impl Codec) {
        for number in [
            &mut self.worker,
            &mut self.pid,
            &mut self.restarts,
            &mut self.finished_bytes,
            &mut self.current_bytes,
            &mut self.bandwidth,
            &mut self.clients_count,
            &mut self.clients_paused,
            &mut self.clients_slow,
            &mut self.queued_bytes,
        ] {
            codec.number(number);
        }
        codec.list(&mut self.clients);
        codec.list(&mut self.channels);
        codec.list(&mut self.upstreams);
        self.pool.visit(codec);
        visit_stats(&mut self.stats, codec);
    }
}

impl Fields for ClientFacts {
    fn visit(&mut self, codec: &mut impl Codec) {
        codec.text(&mut self.id);
        codec.text(&mut self.address);
        codec.text(&mut self.service_url);
        for number in [
            &mut self.duration_ms,
            &mut self.state,
            &mut self.sent_bytes,
            &mut self.bandwidth,
            &mut self.queue_bytes,
            &mut self.queue_limit_bytes,
            &mut self.queue_high_bytes,
            &mut self.queue_low_bytes,
            &mut self.queue_bytes_highwater,
            &mut self.dropped_bytes,
            &mut self.dropped_packets,
            &mut self.backpressure_events,
            &mut self.paused_ms,
        ] {
            codec.number(number);
        }
        codec.flag(&mut self.slow);
        codec.flag(&mut self.upstream_paused);
        codec.list(&mut self.pauses);
    }
}

impl Fields for PauseFacts {
    fn visit(&mut self, codec: &mut impl Codec) {
        codec.number(&mut self.start_ms);
        codec.number(&mut self.length_ms);
    }
}

impl Fields for ChannelFacts {
    fn visit(&mut self, codec: &mut impl Codec) {
        codec.text(&mut self.group);
        codec.text(&mut self.source);
        codec.text(&mut self.interface);
        for number in [
            &mut self.subscribers,
            &mut self.bitrate,
            &mut self.received_packets,
            &mut self.received_bytes,
            &mut self.lost,
            &mut self.reordered,
            &mut self.recovered,
            &mut self.late,
            &mut self.duplicates,
            &mut self.overrun,
            &mut self.join_age_ms,
            &mut self.lingering_ms,
        ] {
            codec.number(number);
        }
        codec.flag(&mut self.lingering);
    }
}

impl Fields for UpstreamFacts {
    fn visit(&mut self, codec: &mut impl Codec) {
        codec.text(&mut self.client_id);
        codec.text(&mut self.address);
        codec.text(&mut self.transport);
        for number in [
            &mut self.state,
            &mut self.in_flight_bytes,
            &mut self.upload_bytes,
            &mut self.age_ms,
        ] {
            codec.number(number);
        }
        codec.flag(&mut self.paused);
    }
}

impl Fields for PoolFacts {
    fn visit(&mut self, codec: &mut impl Codec) {
        for number in [
            &mut self.max_bytes,
            &mut self.reserve_bytes,
            &mut self.used_bytes,
            &mut self.spare_bytes,
            &mut self.exhaustions,
        ] {
            codec.number(number);
        }
    }
}

/// [`Stats`] does not know of this module, so its fields are listed here.
fn visit_stats(stats: &mut Stats, codec: &mut impl Codec) {
    // Named one by one, without `..`: a counter that is added must be added here.
    let Stats {
        connections,
        connections_closed,
        client_errors,
        server_errors,
        refused_for_limit,
        streams,
        to_clients,
        to_upstreams,
        packets_dropped,
        bytes_dropped,
        backpressure_events,
        upstream_connections,
        upstream_reuses,
        joins,
        shared_joins,
        fast_starts,
        rejoins,
        rejoins_failed,
        packets_overrun,
        reclaims,
        ticks,
    } = stats;
    for number in [
        connections,
        connections_closed,
        client_errors,
        server_errors,
        refused_for_limit,
        streams,
        packets_dropped,
        bytes_dropped,
        backpressure_events,
        upstream_connections,
        upstream_reuses,
        joins,
        shared_joins,
        fast_starts,
        rejoins,
        rejoins_failed,
        packets_overrun,
        reclaims,
        ticks,
    ] {
        codec.number(number);
    }
    for Sends {
        bytes,
        calls,
        blocked,
    } in [to_clients, to_upstreams]
    {
        codec.number(bytes);
        codec.number(calls);
        codec.number(blocked);
    }
}

#[cfg(test)]
pub(crate) mod examples {
    use super::*;

    /// A worker with one of everything, in which no two numbers are the same.
    pub(crate) fn worker() -> WorkerFacts {
        struct Numbering(u64);
        impl Codec for Numbering {
            fn number(&mut self, value: &mut u64) {
                self.0 += 1;
                *value = self.0;
            }
            fn text(&mut self, value: &mut String) {
                self.0 += 1;
                *value = format!("text {}", self.0);
            }
            fn list<T: Fields + Default>(&mut self, items: &mut Vec<T>) {
                let mut item = T::default();
                item.visit(self);
                items.push(item);
            }
            fn flag(&mut self, value: &mut bool) {
                *value = true;
            }
        }
        let mut worker = WorkerFacts::default();
        worker.visit(&mut Numbering(1000));
        worker
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::{decode, encode};
    use super::*;

    #[test]
    fn every_fact_reaches_the_other_workers() {
        let worker = examples::worker();
        let bytes = encode(&mut worker.clone());
        assert_eq!(decode(&bytes), Some(worker));
    }
}
