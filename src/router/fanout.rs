//! From a channel's runs to its subscribers: gates and gaps.

use super::flow::Limits;
use super::ready::{Entity, RunQueue};
use super::slots::{ChannelSlot, ClientSlot, Gate, Subscriber};
use crate::arena::Arena;
use crate::channel::receive::PayloadKind;
use crate::client::Client;
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
            let Some(head) = head
                .clone()
                .and_then(|head| head_for(&sink.client, head, shared))
            else {
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
            sink.runnable(),
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
            .copy_reserved(&response::multicast_head(payload, &shared.config));
    }
    slot.head.clone()
}

/// The head as one client gets it: its own copy if it is due the access cookie.
pub(super) fn head_for(client: &Client, head: Packet, shared: &Shared) -> Option<Packet> {
    if !client.sets_cookie() {
        return Some(head);
    }
    let bytes = response::with_cookie(head.bytes()?, &shared.config);
    shared.pool.copy_reserved(&bytes)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::arena::Id;
    use crate::channel::Channel;
    use crate::net::Peer;
    use crate::sim::Bench;
    use crate::status::rate::Rate;

    /// A client on a channel, in a pool where its limit is some eighty runs.
    struct Seat {
        bench: Bench,
        sink: ClientSlot,
        subscriber: Subscriber,
    }

    fn waiting_client(bench: &Bench) -> Client {
        let mut client = Client::new(bench.socket, Peer::Unix, bench.shared.now);
        client.await_stream();
        client
    }

    impl Seat {
        fn new() -> Self {
            let bench = Bench::new(512);
            let client = waiting_client(&bench);
            Self {
                bench,
                sink: ClientSlot {
                    streams: true,
                    ..ClientSlot::new(client)
                },
                subscriber: Subscriber {
                    client: Id::from_parts(0, 0),
                    gate: Gate::Open,
                    credit: 0,
                },
            }
        }

        /// A run comes; tells whether it was given to the client.
        fn pass(&mut self, start: Option<u32>) -> bool {
            let shared = &mut self.bench.shared;
            let view = shared.pool.take(2048).expect("room").freeze(1316);
            let media = Run {
                view,
                packets: 1,
                start,
            };
            let limits = Limits::new(&shared.pool, 1);
            let before = self.sink.client.queued_bytes();
            pass(
                &mut self.subscriber,
                &mut self.sink,
                &media,
                limits,
                true,
                shared,
            );
            self.sink.client.queued_bytes() > before
        }

        fn take_all(&mut self) {
            self.sink.client.shed(0, &mut self.bench.shared.stats);
        }
    }

    #[test]
    fn a_client_that_skipped_resumes_where_a_decoder_can_start() {
        let mut seat = Seat::new();
        while seat.pass(None) {}
        assert!(!seat.pass(Some(0)), "the queue is still full");
        seat.take_all();
        assert!(!seat.pass(None), "the middle of a picture");
        assert!(seat.pass(Some(188)));
        assert!(seat.pass(None));
    }

    #[test]
    fn it_resumes_anywhere_when_no_such_point_comes() {
        let mut seat = Seat::new();
        while seat.pass(None) {}
        seat.take_all();
        assert!(!seat.pass(None));
        seat.bench.pass(RESUME_WAIT - Duration::from_millis(1));
        assert!(!seat.pass(None));
        seat.bench.pass(Duration::from_millis(1));
        assert!(seat.pass(None));
    }

    #[test]
    fn the_time_until_it_resumes_anywhere_begins_anew_when_it_falls_behind_again() {
        let mut seat = Seat::new();
        while seat.pass(None) {}
        let empty = waiting_client(&seat.bench);
        let full = std::mem::replace(&mut seat.sink.client, empty);
        assert!(!seat.pass(None));
        let empty = std::mem::replace(&mut seat.sink.client, full);
        seat.bench.pass(RESUME_WAIT);
        assert!(!seat.pass(None), "the queue is full again");
        seat.sink.client = empty;
        assert!(!seat.pass(None));
        seat.bench.pass(RESUME_WAIT);
        assert!(seat.pass(None));
    }

    #[test]
    fn what_comes_while_there_is_no_memory_for_a_head_is_counted() {
        let mut bench = Bench::new(512);
        let shared = &mut bench.shared;
        let channel = Channel::join(Bench::address(), shared).expect("joined");
        let mut clients = Arena::new();
        let mut client = Client::new(bench.socket, Peer::Unix, shared.now);
        client.await_stream();
        let id = clients.insert(ClientSlot::new(client));
        let mut slot = ChannelSlot {
            channel,
            subscribers: vec![Subscriber {
                client: id,
                gate: Gate::Waiting,
                credit: 0,
            }],
            head: None,
            lingering_since: None,
            joined_at: shared.now,
            rate: Rate::new(0, shared.now),
            queued: false,
            armed: None,
        };
        let media = Run {
            view: shared.pool.take(2048).expect("room").freeze(1316),
            packets: 3,
            start: None,
        };
        let pool = &shared.pool;
        let held: Vec<_> = std::iter::from_fn(|| pool.take_reserved(1)).collect();
        let limits = Limits::new(pool, 1);
        let mut run = RunQueue::default();
        let runs = [media];
        deliver(&mut slot, &runs, limits, &mut clients, &mut run, shared);
        assert_eq!(shared.stats.packets_dropped, 3);
        assert_eq!(shared.stats.bytes_dropped, 1316);
        drop(held);
        deliver(&mut slot, &runs, limits, &mut clients, &mut run, shared);
        assert_eq!(shared.stats.packets_dropped, 3);
        let sink = clients.get(id).expect("a client");
        assert!(sink.client.queued_bytes() > 1316, "a head and the media");
    }

    #[test]
    fn what_a_newcomer_was_started_with_does_not_count_against_it() {
        let mut seat = Seat::new();
        while seat.pass(None) {}
        // The same queue, had it been filled from the ring.
        seat.subscriber.gate = Gate::Open;
        seat.subscriber.credit = seat.sink.client.held_bytes();
        assert!(seat.pass(None));
        seat.take_all();
        assert!(seat.pass(None));
        assert_eq!(seat.subscriber.credit, 0, "it has caught up");
    }
}
