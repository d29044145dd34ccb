//! Why things end, and the one place where they are taken apart.
//!
//! Nothing is freed in the middle of a tick: what ended lies in the graveyard until the reap, so that no id or
//! socket used earlier in the tick can name its successor.

use log::Level;

use super::Router;
use super::attach::Wanted;
use super::ready::Entity;
use super::slots::{ChannelId, ClientId, Feed, UpstreamId};
use crate::channel::ChannelError;
use crate::client::Ended;
use crate::client::response::{Answer, Status};
use crate::net::is_unannounced_end;
use crate::proto::rtsp;
use crate::upstream::UpstreamError;

/// Why a client lost its stream.
#[derive(Debug)]
pub enum CloseReason {
    /// The channel it listened to failed.
    Channel(ChannelError),
    /// Its upstream failed.
    Upstream(UpstreamError),
    /// No address was found for a name in time; the status to answer with.
    Lookup(Status),
    /// It had closed its sending side, and the client limit was reached.
    GaveWay,
    /// It has closed its sending side, and nothing came that could be sent to it.
    Left,
    /// The program stops.
    Stop,
}

impl CloseReason {
    /// The answer, if the head of the stream is not out yet.
    pub fn status(&self) -> Status {
        match self {
            Self::Channel(_) | Self::GaveWay | Self::Left | Self::Stop => {
                Status::ServiceUnavailable
            }
            Self::Lookup(status) => *status,
            Self::Upstream(UpstreamError::Memory) => Status::ServiceUnavailable,
            Self::Upstream(UpstreamError::Denied(_)) => Status::Forbidden,
            Self::Upstream(UpstreamError::Rtsp { error, .. }) => rtsp_status(error),
            Self::Upstream(error) if error.is_timeout() => Status::GatewayTimeout,
            Self::Upstream(_) => Status::BadGateway,
        }
    }

    /// Whether the upstream closed its connection in order, but without the announcement that TLS asks for. Many
    /// servers never send one, so what came before is more likely than not the whole body.
    pub fn is_mere_end(&self) -> bool {
        matches!(self, Self::Upstream(UpstreamError::Io(error)) if is_unannounced_end(error))
    }

    /// How much it matters.
    pub fn level(&self) -> Level {
        match self {
            Self::Channel(_) | Self::Upstream(_) => Level::Warn,
            Self::Lookup(_) => Level::Info,
            Self::GaveWay | Self::Left | Self::Stop => Level::Debug,
        }
    }

    /// What to tell client and log.
    pub fn detail(&self) -> String {
        match self {
            Self::Channel(error) => error.to_string(),
            Self::Upstream(error) => error.to_string(),
            Self::Lookup(_) => "the name was not resolved in time".into(),
            Self::GaveWay => "another client took the place".into(),
            Self::Left => "the client has closed its side, and nothing came to send".into(),
            Self::Stop => "the server is stopping".into(),
        }
    }
}

/// The status that the core has chosen (RTSP spec §25).
pub(super) fn rtsp_status(error: &rtsp::Error) -> Status {
    match error.status() {
        404 => Status::NotFound,
        _ => Status::ServiceUnavailable,
    }
}

impl Router {
    /// Ends a client's stream: answered if nothing has been sent, otherwise what is queued is still sent.
    pub(super) fn end_stream(&mut self, id: ClientId, reason: &CloseReason) {
        let Some(sink) = self.clients.get_mut(id) else {
            return;
        };
        if let Feed::Lookup { lookup, .. } = std::mem::replace(&mut sink.feed, Feed::None) {
            self.lookups.remove(&lookup);
        }
        if let Some(record) = &mut sink.record {
            record.failed = true;
        }
        if reason.is_mere_end() {
            sink.client.take_end_for_end();
        }
        let answer = Answer::new(reason.status(), reason.detail());
        sink.client.fail(&answer, &mut self.shared);
        self.after_turn(id);
    }

    /// A channel has failed: all its clients lose their stream.
    pub(super) fn fail_channel(&mut self, id: ChannelId, error: ChannelError) {
        let Some(slot) = self.channels.get_mut(id) else {
            return;
        };
        let reason = CloseReason::Channel(error);
        let group = slot.channel.address().group;
        // That a channel falls silent while nobody listens is no matter for an operator.
        let level = if slot.subscribers.is_empty() {
            Level::Info
        } else {
            reason.level()
        };
        log::log!(level, "channel {group}: {}", reason.detail());
        for subscriber in std::mem::take(&mut slot.subscribers) {
            self.end_stream(subscriber.client, &reason);
        }
        self.graveyard.push(Entity::Channel(id));
    }

    /// Leaves a group that nobody listens to.
    pub(super) fn end_channel(&mut self, id: ChannelId) {
        debug_assert!(
            self.channels
                .get(id)
                .is_none_or(|slot| slot.subscribers.is_empty())
        );
        self.graveyard.push(Entity::Channel(id));
    }

    /// Frees what ended during this tick.
    pub(super) fn reap(&mut self) {
        while let Some(entity) = self.graveyard.pop() {
            match entity {
                Entity::Client(id) => self.reap_client(id),
                Entity::Channel(id) => self.reap_channel(id),
                Entity::Upstream(id) => self.reap_upstream(id),
                Entity::Idle(id) => self.reap_idle(id),
                Entity::Listener(id) => {
                    if let Some(slot) = self.listeners.remove(id) {
                        self.owners.remove(slot.socket.id);
                        self.shared.net.close_listener(slot.socket.id);
                        self.note_listening();
                    }
                }
            }
        }
    }

    fn reap_client(&mut self, id: ClientId) {
        self.note_request_end(id);
        self.detach(id);
        let Some(sink) = self.clients.remove(id) else {
            return;
        };
        let socket = sink.client.socket();
        self.owners.remove(socket);
        self.shared.net.close(socket);
        self.shared.stats.connections_closed += 1;
        if let Some(flow) = sink.client.flow() {
            log::debug!(
                "client {id} ({}): closed: {:?}; {} bytes sent, {} packets dropped",
                sink.client.peer,
                sink.client.ended().unwrap_or(Ended::Stop),
                sink.client.sent_bytes(),
                flow.dropped.packets,
            );
        }
        #[cfg(test)]
        self.reaped.push((id, sink.client));
    }

    fn reap_channel(&mut self, id: ChannelId) {
        let Some(slot) = self.channels.remove(id) else {
            return;
        };
        let socket = slot.channel.socket();
        self.owners.remove(socket);
        self.shared.net.close(socket);
        let counters = slot.channel.counters();
        log::info!(
            "channel {}: left; {} datagrams, {} lost, {} reordered, {} overrun",
            slot.channel.address().group,
            counters.datagrams,
            counters.rtp.lost,
            counters.rtp.reordered,
            counters.overrun,
        );
        #[cfg(test)]
        self.left_channels.push(counters);
    }

    fn reap_upstream(&mut self, id: UpstreamId) {
        let Some(mut slot) = self.upstreams.remove(id) else {
            return;
        };
        self.lookups.retain(
            |_, lookup| !matches!(lookup.wanted, Wanted::Name(upstream, _) if upstream == id),
        );
        for socket in slot.upstream.close() {
            self.owners.remove(socket);
            self.shared.net.close(socket);
        }
    }
}
