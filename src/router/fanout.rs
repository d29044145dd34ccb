//! From a channel's runs to its subscribers: gates and gaps.

use super::flow::Limits;
use super::ready::{Entity, RunQueue};
use super::slots::{ChannelSlot, ClientSlot, Gate};
use crate::arena::Arena;
use crate::channel::receive::PayloadKind;
use crate::client::response::{self, Payload};
use crate::pool::{Packet, Run};
use crate::shared::Shared;

/// Gives `runs` to every subscriber of `slot` and queues those that can be written to.
pub fn deliver(
    slot: &mut ChannelSlot,
    runs: &[Run],
    limits: Limits,
    clients: &mut Arena<ClientSlot>,
    run: &mut RunQueue,
    shared: &mut Shared,
) {
    if runs.is_empty() || slot.subscribers.is_empty() {
        return;
    }
    let head = head(slot, shared);
    for subscriber in &mut slot.subscribers {
        let Some(sink) = clients.get_mut(subscriber.client) else {
            continue;
        };
        if subscriber.gate == Gate::Waiting {
            // Without memory even for a head, the client goes on waiting.
            let Some(head) = head.clone() else { continue };
            sink.client.begin_stream(head, shared.now);
            subscriber.gate = Gate::Open;
        }
        limits.judge_pace(sink, shared);
        for media in runs {
            subscriber.gate = pass(subscriber.gate, sink, media, limits, shared);
        }
        run.push_if(
            sink.client.runnable(),
            Entity::Client(subscriber.client),
            &mut sink.queued,
        );
    }
}

/// The head of the stream's response, made with the first media. It is frozen from then on, as what is known
/// of the source later no longer reaches clients that have begun (multicast spec §6).
fn head(slot: &mut ChannelSlot, shared: &Shared) -> Option<Packet> {
    if slot.head.is_none() {
        let payload = slot.channel.payload_kind().map(|kind| match kind {
            PayloadKind::TsInRtp => Payload::TsInRtp,
            PayloadKind::Ts => Payload::Ts,
        });
        slot.head = shared
            .pool
            .copy_reserved(&response::multicast_head(payload));
    }
    slot.head.clone()
}

/// Passes one run to one client, or skips it. A queue that is empty takes any run.
fn pass(
    gate: Gate,
    sink: &mut ClientSlot,
    media: &Run,
    limits: Limits,
    shared: &mut Shared,
) -> Gate {
    let held = sink.client.held_bytes();
    let closed = match gate {
        Gate::Skipping => held > limits.low(sink),
        _ => held > 0 && held + media.view.held_bytes() > limits.limit(sink),
    };
    if closed {
        sink.client.drop_run(media, &mut shared.stats);
        return Gate::Skipping;
    }
    sink.client.push_run(media, shared.now);
    Gate::Open
}
