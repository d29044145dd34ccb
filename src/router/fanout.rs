//! From a channel's runs to its subscribers: gates and gaps.

use super::flow::Limits;
use super::ready::{Entity, RunQueue};
use super::slots::{ChannelSlot, ClientSlot, Gate, Subscriber};
use crate::arena::Arena;
use crate::channel::receive::PayloadKind;
use crate::client::response::{self, Payload};
use crate::limits::RESUME_WAIT;
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
    let has_starts = slot.channel.has_starts();
    for subscriber in &mut slot.subscribers {
        let Some(sink) = clients.get_mut(subscriber.client) else {
            continue;
        };
        if subscriber.gate == Gate::Waiting {
            // Without memory even for a head, the client goes on waiting.
            let Some(head) = head.clone() else {
                runs.iter()
                    .for_each(|media| sink.client.drop_run(media, &mut shared.stats));
                continue;
            };
            sink.client.begin_stream(head, shared.now);
            subscriber.gate = Gate::Open;
        }
        limits.judge_pace(sink, shared);
        for media in runs {
            pass(subscriber, sink, media, limits, has_starts, shared);
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
pub(super) fn head(slot: &mut ChannelSlot, shared: &Shared) -> Option<Packet> {
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
    subscriber: &mut Subscriber,
    sink: &mut ClientSlot,
    media: &Run,
    limits: Limits,
    has_starts: bool,
    shared: &mut Shared,
) {
    let held = sink.client.held_bytes();
    let is_low = held <= limits.low(sink);
    if is_low {
        subscriber.credit = 0;
    }
    let passes = match subscriber.gate {
        Gate::Skipping { low_since } => {
            // A picture that resumes anywhere stays broken until the next such point, so that is waited for.
            let since = low_since.unwrap_or(shared.now);
            let waited = shared.now.saturating_duration_since(since) >= RESUME_WAIT;
            subscriber.gate = Gate::Skipping {
                low_since: is_low.then_some(since),
            };
            is_low && (media.start.is_some() || !has_starts || waited)
        }
        Gate::Waiting | Gate::Open => {
            let limit = limits.limit(sink) + subscriber.credit;
            held == 0 || held + media.view.held_bytes() <= limit
        }
    };
    if passes {
        subscriber.gate = Gate::Open;
        sink.client.push_run(media, shared.now);
    } else {
        if subscriber.gate == Gate::Open {
            subscriber.gate = Gate::Skipping { low_since: None };
        }
        sink.client.drop_run(media, &mut shared.stats);
    }
}
