//! Gathers what this process knows about itself, for the status. Only looks, apart from the rates, which remember when
//! they were last looked at, and the area, where what only grows is noted.

use std::time::{Duration, Instant};

use super::Router;
use super::flow::Limits;
use super::slots::{ChannelSlot, ClientSlot, Feed, UpstreamSlot};
use crate::area::Area;
use crate::arena::Arena;
use crate::limits::CLIENTS_LISTED_MAX;
use crate::pool::Pool;
use crate::status::facts::{
    ChannelFacts, ClientFacts, PauseFacts, PoolFacts, UpstreamFacts, WorkerFacts,
};

impl Router {
    /// Everything that this process has to tell now. What only grows is noted in the area, too.
    pub(super) fn facts(&mut self) -> WorkerFacts {
        let limits = self.limits();
        let Self {
            clients,
            channels,
            upstreams,
            shared,
            worker,
            ..
        } = self;
        let now = shared.now;
        let area = worker.area();
        let pid = area.process(worker.seat()).map_or(0, u64::from);
        let stats = &shared.stats;
        let mut facts = WorkerFacts {
            connections: stats.connections.saturating_sub(stats.connections_closed),
            pool: pool(&shared.pool),
            stats: *stats,
            ..WorkerFacts::default()
        };
        let mut current_bytes = 0;
        facts.upstreams = upstreams
            .iter()
            .map(|(_, source)| upstream(source, clients, now))
            .collect();
        for (_, sink) in clients.iter_mut() {
            let Some(mut client) = client(sink, upstreams, limits, area, now) else {
                continue;
            };
            client.pid = pid;
            current_bytes += client.sent_bytes;
            facts.bandwidth += client.bandwidth;
            facts.queued_bytes += client.queue_bytes;
            facts.clients_count += 1;
            facts.clients_paused += u64::from(client.upstream_paused);
            facts.clients_slow += u64::from(client.slow);
            if facts.clients.len() < CLIENTS_LISTED_MAX {
                facts.clients.push(client);
            }
        }
        facts.channels = channels
            .iter_mut()
            .map(|(_, slot)| channel(slot, now))
            .collect();
        worker.note(current_bytes, &facts.counters());
        facts
    }
}

fn client(
    sink: &mut ClientSlot,
    upstreams: &Arena<UpstreamSlot>,
    limits: Limits,
    area: &Area,
    now: Instant,
) -> Option<ClientFacts> {
    let state = state(sink, upstreams)?;
    let (limit, high, low) = (limits.limit(sink), limits.high(sink), limits.low(sink));
    let ClientSlot { client, record, .. } = sink;
    let record = record.as_deref_mut()?;
    let flow = client.flow().copied().unwrap_or_default();
    let pauses = &record.pauses;
    let service_url = record.service_url().to_owned();
    let admission = record.admission.as_mut()?;
    let sent_bytes = client.sent_bytes().saturating_sub(admission.base_bytes);
    Some(ClientFacts {
        id: admission.client_id.clone(),
        pid: 0,
        duration_ms: millis(now.saturating_duration_since(admission.since)),
        address: record.address.to_string(),
        service_url,
        state: u64::from(state),
        sent_bytes,
        bandwidth: admission.rate.note(sent_bytes, now),
        queue_bytes: client.held_bytes() as u64,
        queue_limit_bytes: limit as u64,
        queue_high_bytes: high as u64,
        queue_low_bytes: low as u64,
        queue_bytes_highwater: flow.held_bytes_highwater as u64,
        dropped_bytes: flow.dropped.bytes,
        dropped_packets: flow.dropped.packets,
        slow: flow.slow,
        backpressure_events: flow.backpressure_events,
        upstream_paused: pauses.is_paused(),
        paused_ms: millis(pauses.total(now)),
        pauses: pauses
            .latest(now)
            .map(|(since, length)| PauseFacts {
                start_ms: area.unix_ms(since),
                length_ms: millis(length),
            })
            .collect(),
    })
}

/// A number of server spec §10.6; nothing for a connection that is served no stream.
fn state(sink: &ClientSlot, upstreams: &Arena<UpstreamSlot>) -> Option<u8> {
    const ERROR: u8 = 30;
    let record = sink.record.as_deref()?;
    Some(match sink.feed {
        Feed::Upstream(id) => match upstreams.get(id) {
            Some(source) => source.upstream.state_number(),
            None => record.kind.waiting_state(),
        },
        Feed::Channel(_) => record.kind.streaming_state(),
        Feed::Lookup { .. } => record.kind.waiting_state(),
        Feed::None | Feed::Status if record.failed => ERROR,
        Feed::None | Feed::Status if sink.client.is_waiting() => record.kind.waiting_state(),
        Feed::None | Feed::Status => record.kind.streaming_state(),
    })
}

fn channel(slot: &mut ChannelSlot, now: Instant) -> ChannelFacts {
    let counters = slot.channel.counters();
    let address = slot.channel.address();
    ChannelFacts {
        group: address.group.to_string(),
        source: address
            .source
            .map_or_else(String::new, |source| source.to_string()),
        interface: address.interface.clone().unwrap_or_default(),
        subscribers: slot.subscribers.len() as u64,
        bitrate: slot.rate.note(counters.bytes, now).saturating_mul(8),
        received_packets: counters.datagrams,
        received_bytes: counters.bytes,
        lost: counters.rtp.lost,
        reordered: counters.rtp.reordered,
        // Parity is not used yet.
        recovered: 0,
        late: counters.rtp.late,
        duplicates: counters.rtp.duplicates,
        overrun: counters.overrun,
        join_age_ms: millis(now.saturating_duration_since(slot.joined_at)),
        lingering: slot.lingering_since.is_some(),
        lingering_ms: slot
            .lingering_since
            .map_or(0, |since| millis(now.saturating_duration_since(since))),
    }
}

fn upstream(source: &UpstreamSlot, clients: &Arena<ClientSlot>, now: Instant) -> UpstreamFacts {
    let sink = source.client.and_then(|id| clients.get(id));
    let client_id = sink
        .and_then(|sink| sink.record.as_deref()?.client_id())
        .unwrap_or_default();
    UpstreamFacts {
        client_id: client_id.to_owned(),
        address: source.address.to_string(),
        state: u64::from(source.upstream.state_number()),
        transport: source.upstream.transport().to_owned(),
        in_flight_bytes: sink.map_or(0, |sink| sink.client.queued_bytes() as u64),
        upload_bytes: source.upstream.held_bytes() as u64,
        paused: source.upstream_paused.is_set(),
        age_ms: millis(now.saturating_duration_since(source.since)),
    }
}

fn pool(pool: &Pool) -> PoolFacts {
    PoolFacts {
        max_bytes: pool.bytes_max() as u64,
        reserve_bytes: pool.reserve_bytes() as u64,
        used_bytes: pool.held_bytes() as u64,
        spare_bytes: pool.spare_bytes() as u64,
        exhaustions: pool.exhaustions(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
