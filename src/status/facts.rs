//! What one worker knows about itself, its clients and its sources.
//!
//! Bytes and milliseconds unless said otherwise. Nothing secret is ever put in here: these facts leave the process.
//!
//! A worker that is replaced has two processes for a while. Each publishes what it has *now*; [`WorkerFacts::join`]
//! makes one of them. What only grows is not published but kept in the [area](crate::area), where it outlives
//! processes.

use super::codec::{Codec, Fields};
use crate::area::{Counters, WorkerRecord};
use crate::limits::COUNTERS_MAX;
use crate::stats::{Sends, Stats};

/// All that one worker has to tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerFacts {
    /// Its number.
    pub worker: u64,
    /// Its process, the newer of two; 0 while there is none.
    pub pid: u64,
    /// How often it was started again.
    pub restarts: u64,
    /// Bytes sent to clients that were admitted, since the program's start.
    pub client_bytes: u64,
    /// Bytes per second to all its clients.
    pub bandwidth: u64,
    /// Client connections that are open.
    pub connections: u64,
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
    /// Counters since the program's start.
    pub stats: Stats,
}

/// A client that is being served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientFacts {
    /// `<address>-worker<n>-seq<m>`.
    pub id: String,
    /// The process that serves it.
    pub pid: u64,
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
    /// How often a buffer was wanted and there was none, since the program's start.
    pub exhaustions: u64,
}

impl WorkerFacts {
    /// What the area knows of a worker.
    pub fn of_record(worker: usize, record: &WorkerRecord) -> Self {
        let mut facts = Self {
            worker: worker as u64,
            pid: u64::from(record.pid),
            restarts: record.restarts(),
            client_bytes: record.client_bytes,
            ..Self::default()
        };
        facts.set_counters(&record.counters);
        facts
    }

    /// What the area keeps of this.
    pub fn counters(&self) -> Counters {
        let (mut stats, mut pool) = (self.stats, self.pool);
        let mut counters = [0; COUNTERS_MAX];
        for (kept, counter) in counters.iter_mut().zip(each_counter(&mut stats, &mut pool)) {
            *kept = *counter;
        }
        counters
    }

    fn set_counters(&mut self, counters: &Counters) {
        for (counter, kept) in each_counter(&mut self.stats, &mut self.pool)
            .into_iter()
            .zip(counters)
        {
            *counter = *kept;
        }
    }

    /// Adds what a process of this worker has now, if it says so. What only grows stays as it is.
    pub fn join(&mut self, process: Self) {
        let Self {
            worker: _,
            pid: _,
            restarts: _,
            client_bytes: _,
            bandwidth,
            connections,
            clients_count,
            clients_paused,
            clients_slow,
            queued_bytes,
            clients,
            channels,
            upstreams,
            pool,
            stats: _,
        } = process;
        self.bandwidth += bandwidth;
        self.connections += connections;
        self.clients_count += clients_count;
        self.clients_paused += clients_paused;
        self.clients_slow += clients_slow;
        self.queued_bytes += queued_bytes;
        self.clients.extend(clients);
        self.upstreams.extend(upstreams);
        for channel in channels {
            match self.channels.iter_mut().find(|own| own.is_same(&channel)) {
                Some(own) => own.join(channel),
                None => self.channels.push(channel),
            }
        }
        self.pool.max_bytes += pool.max_bytes;
        self.pool.reserve_bytes += pool.reserve_bytes;
        self.pool.used_bytes += pool.used_bytes;
        self.pool.spare_bytes += pool.spare_bytes;
    }
}

impl ChannelFacts {
    fn is_same(&self, other: &Self) -> bool {
        self.group == other.group
            && self.source == other.source
            && self.interface == other.interface
    }

    /// Two processes have joined the same channel. Whoever has it longer speaks for both.
    fn join(&mut self, other: Self) {
        let (elder, younger) = match self.join_age_ms >= other.join_age_ms {
            true => (std::mem::take(self), other),
            false => (other, std::mem::take(self)),
        };
        *self = Self {
            subscribers: elder.subscribers + younger.subscribers,
            bitrate: elder.bitrate.max(younger.bitrate),
            lingering: elder.lingering && younger.lingering,
            lingering_ms: elder.lingering_ms.min(younger.lingering_ms),
            ..elder
        };
    }
}

impl Fields for WorkerFacts {
    fn visit(&mut self, codec: &mut impl Codec) {
        // Not what the area knows.
        for number in [
            &mut self.bandwidth,
            &mut self.connections,
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
    }
}

impl Fields for ClientFacts {
    fn visit(&mut self, codec: &mut impl Codec) {
        codec.text(&mut self.id);
        codec.text(&mut self.address);
        codec.text(&mut self.service_url);
        for number in [
            &mut self.pid,
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
        ] {
            codec.number(number);
        }
    }
}

/// Everything that only grows, in the order in which the area keeps it.
fn each_counter<'a>(stats: &'a mut Stats, pool: &'a mut PoolFacts) -> [&'a mut u64; COUNTERS] {
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
    let [to_clients, to_upstreams] = [to_clients, to_upstreams].map(|sends| {
        let Sends {
            bytes,
            calls,
            blocked,
        } = sends;
        [bytes, calls, blocked]
    });
    let [client_bytes, client_calls, client_blocked] = to_clients;
    let [upstream_bytes, upstream_calls, upstream_blocked] = to_upstreams;
    [
        connections,
        connections_closed,
        client_errors,
        server_errors,
        refused_for_limit,
        streams,
        client_bytes,
        client_calls,
        client_blocked,
        upstream_bytes,
        upstream_calls,
        upstream_blocked,
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
        &mut pool.exhaustions,
    ]
}

/// How many these are.
const COUNTERS: usize = 26;
const _: () = assert!(COUNTERS <= COUNTERS_MAX);

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
        let mut numbering = Numbering(1000);
        worker.visit(&mut numbering);
        let WorkerFacts {
            worker: number,
            pid,
            restarts,
            client_bytes,
            stats,
            pool,
            ..
        } = &mut worker;
        let known = [number, pid, restarts, client_bytes].into_iter();
        for number in known.chain(each_counter(stats, pool)) {
            numbering.number(number);
        }
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
        let published = decode::<WorkerFacts>(&bytes).expect("decoded");
        let mut told = WorkerFacts::of_record(
            worker.worker as usize,
            &WorkerRecord {
                pid: worker.pid as u32,
                starts: worker.restarts + 1,
                client_bytes: worker.client_bytes,
                counters: worker.counters(),
                clients: 0,
            },
        );
        told.join(published);
        assert_eq!(told, worker);
    }

    #[test]
    fn two_processes_are_told_as_one_worker() {
        let worker = examples::worker();
        let mut both = worker.clone();
        let mut other = worker.clone();
        other.channels.push(ChannelFacts {
            group: "another".into(),
            ..ChannelFacts::default()
        });
        let channel = &mut other.channels[0];
        channel.join_age_ms = 1;
        channel.received_packets = 1;
        channel.lingering = false;
        both.join(other);
        assert_eq!((both.pid, both.stats), (worker.pid, worker.stats));
        assert_eq!(both.client_bytes, worker.client_bytes);
        assert_eq!(both.clients_count, 2 * worker.clients_count);
        assert_eq!((both.clients.len(), both.upstreams.len()), (2, 2));
        assert_eq!(both.pool.used_bytes, 2 * worker.pool.used_bytes);
        assert_eq!(both.pool.exhaustions, worker.pool.exhaustions);
        let [one, another] = &both.channels[..] else {
            panic!("{:?}", both.channels);
        };
        let expected = ChannelFacts {
            subscribers: 2 * worker.channels[0].subscribers,
            lingering: false,
            ..worker.channels[0].clone()
        };
        assert_eq!((one, &*another.group), (&expected, "another"));
    }
}
