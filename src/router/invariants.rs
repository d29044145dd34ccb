//! What holds between ticks. Checked after every tick in debug builds and in the simulation.

use super::Router;
use super::record::Record;
use super::slots::Feed;

impl Router {
    /// Checks every invariant.
    ///
    /// # Panics
    ///
    /// When one does not hold: the router has a bug.
    pub(super) fn check(&self) {
        self.check_clients();
        self.check_channels();
        self.check_upstreams();
        for (id, slot) in self.listeners.iter() {
            assert!(
                !slot.runnable() || slot.queued,
                "runnable listener {id} is not queued"
            );
        }
        assert!(self.shared.pool.is_within_bound(), "the pool's bound");
        assert!(self.graveyard.is_empty(), "the dead are reaped");
    }

    fn check_clients(&self) {
        let (mut streams, mut reading) = (0, 0);
        for (id, slot) in self.clients.iter() {
            assert!(
                !slot.runnable() || slot.queued,
                "runnable client {id} is not queued"
            );
            assert!(!slot.client.is_closed(), "closed client {id} is reaped");
            let listed = slot.reading.and_then(|number| self.reading.get(&number));
            assert_eq!(
                listed,
                slot.client.is_reading().then_some(&id),
                "client {id} is listed while its request is awaited"
            );
            reading += usize::from(slot.reading.is_some());
            streams += usize::from(slot.streams);
            assert!(
                !(slot.streams && slot.client.is_lingering()),
                "client {id} keeps its place"
            );
            let queue = slot.client.queue();
            assert_eq!(
                queue.recount(),
                (queue.queued_bytes(), queue.held_bytes()),
                "accounts of client {id}"
            );
            match slot.feed {
                Feed::Channel(channel) => {
                    let listens = self.channels.get(channel).is_some_and(|channel| {
                        channel
                            .subscribers
                            .iter()
                            .filter(|subscriber| subscriber.client == id)
                            .count()
                            == 1
                    });
                    assert!(listens, "client {id} is no subscriber of its channel");
                }
                Feed::Upstream(upstream) => {
                    let source = self.upstreams.get(upstream);
                    assert!(
                        source.is_some_and(|source| source.client == Some(id)),
                        "upstream of client {id}"
                    );
                }
                Feed::Status => assert!(
                    self.desk.knows(id),
                    "nobody tells client {id} anything of the status"
                ),
                Feed::None | Feed::Lookup { .. } => {}
            }
            let place = slot.record.as_deref().and_then(Record::place);
            assert_eq!(
                place.is_some(),
                slot.streams,
                "client {id} holds a place while it counts"
            );
            let paused = match slot.feed {
                Feed::Upstream(upstream) => self
                    .upstreams
                    .get(upstream)
                    .is_some_and(|source| source.upstream_paused.is_set()),
                _ => false,
            };
            let is_paused = |record: &Record| record.pauses.is_paused();
            if let Some(record) = slot.record.as_deref() {
                let may_be = paused || slot.upload_paused.is_set();
                assert!(
                    (!paused || is_paused(record)) && (may_be || !is_paused(record)),
                    "the record of client {id} knows of its pauses"
                );
            }
            assert_eq!(
                slot.any_upstream_paused.is_set(),
                paused,
                "any_upstream_paused of client {id}"
            );
            // Or no drain would ever come to resume it.
            assert!(
                !paused || !queue.is_empty(),
                "client {id} is empty, its upstream paused"
            );
            let armed = slot
                .deadline()
                .is_none_or(|deadline| slot.armed.is_some_and(|armed| armed <= deadline));
            assert!(armed || slot.queued, "the deadline of client {id} is armed");
        }
        assert_eq!(streams, self.streams, "count of streams");
        assert_eq!(reading, self.reading.len(), "none is listed twice");
    }

    fn check_channels(&self) {
        for (id, slot) in self.channels.iter() {
            assert!(
                !slot.channel.runnable() || slot.queued,
                "runnable channel {id} is not queued"
            );
            assert_eq!(
                slot.subscribers.is_empty(),
                slot.lingering_since.is_some(),
                "lingering of channel {id}"
            );
            for subscriber in &slot.subscribers {
                let sink = self.clients.get(subscriber.client);
                assert!(
                    sink.is_some_and(|sink| sink.feed == Feed::Channel(id)),
                    "channel {id} names a client that does not listen"
                );
            }
            let deadline = slot.channel.deadline(&self.shared);
            let armed = slot.armed.is_some_and(|armed| armed <= deadline);
            assert!(
                armed || slot.queued,
                "the deadline of channel {id} is armed"
            );
        }
    }

    fn check_upstreams(&self) {
        for (id, slot) in self.upstreams.iter() {
            assert!(
                !slot.runnable() || slot.queued,
                "runnable upstream {id} is not queued"
            );
            assert!(!slot.upstream.is_closed(), "closed upstream {id} is reaped");
            let client = slot.client.and_then(|client| self.clients.get(client));
            let deadline = slot.deadline(&self.shared);
            match client {
                Some(sink) => assert_eq!(sink.feed, Feed::Upstream(id), "client of upstream {id}"),
                None => assert!(
                    slot.outlives_client && (deadline.is_some() || slot.queued),
                    "upstream {id} ends some time after its client"
                ),
            }
            let armed =
                deadline.is_none_or(|deadline| slot.armed.is_some_and(|armed| armed <= deadline));
            assert!(
                armed || slot.queued,
                "the deadline of upstream {id} is armed"
            );
            let Some(queue) = slot.upstream.queue() else {
                continue;
            };
            assert_eq!(
                queue.recount(),
                (queue.queued_bytes(), queue.held_bytes()),
                "accounts of upstream {id}"
            );
            // Or nothing would ever come to let the client go on.
            let held = client.is_some_and(|sink| sink.upload_paused.is_set());
            assert!(
                !held || !queue.is_empty(),
                "upstream {id} takes more, its client is paused"
            );
        }
        assert!(
            self.idles.is_consistent(),
            "kept connections are not listed as they lead"
        );
        for (id, slot) in self.idles.iter() {
            assert!(
                !slot.connection.can_read() || slot.queued,
                "kept connection {id} has something to say and is not queued"
            );
        }
        let queued = self.run.sources_len() + self.run.clients_len();
        let marked = self.clients.iter().filter(|(_, slot)| slot.queued).count()
            + self.channels.iter().filter(|(_, slot)| slot.queued).count()
            + self
                .upstreams
                .iter()
                .filter(|(_, slot)| slot.queued)
                .count()
            + self.idles.iter().filter(|(_, slot)| slot.queued).count()
            + self
                .listeners
                .iter()
                .filter(|(_, slot)| slot.queued)
                .count();
        assert!(
            marked <= queued,
            "{marked} entities say they are queued, {queued} are"
        );
    }
}
