//! From a request to its source: an existing channel, a new one, or a look-up first; and back.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::rc::Rc;

use super::Router;
use super::close::CloseReason;
use super::complaints::Complaint;
use super::errand::Errand;
use super::library::Named;
use super::ready::Entity;
use super::record::{Kind, Record};
use super::slots::{ChannelId, ChannelSlot, ClientId, Feed, Gate, Subscriber, UpstreamId};
use super::{fanout, flow};
use crate::arena::Arena;
use crate::channel::Channel;
use crate::client::Request;
use crate::client::access;
use crate::client::response::{self, Answer, Status};
use crate::client::route::{self, Target};
use crate::limits::CHANNELS_MAX;
use crate::net::{GroupAddress, LookupId};
use crate::proto::url::{self, Host, MulticastUrl};
use crate::status::rate::Rate;
use crate::sys;
use crate::upstream::http::Fetch;

/// A look-up under way: who asked, and for what.
pub(super) struct Lookup {
    /// Who waits for nothing but this, if somebody does.
    pub(super) client: Option<ClientId>,
    pub(super) wanted: Wanted,
}

/// What the addresses are wanted for.
pub(super) enum Wanted {
    /// To receive a group.
    Group(MulticastUrl),
    /// To make a request.
    Origin(Rc<Fetch>),
    /// To load a document for the router itself.
    Document(Errand, Rc<Fetch>),
    /// To be told to an upstream that has asked for this name.
    Name(UpstreamId, String),
}

impl Router {
    /// Acts on a complete request.
    pub(super) fn serve(&mut self, id: ClientId, request: &Request) {
        let Some(sink) = self.clients.get_mut(id) else {
            return;
        };
        log::info!(
            "New client {} requested URL: {} (method: {})",
            sink.client.peer,
            url::redact(&request.target),
            request.method_name
        );
        let peer = sink.client.peer;
        let granted = match access::check(request, &self.shared.config) {
            Ok(granted) => granted,
            Err(answer) => return self.turn_away(id, request, &answer),
        };
        let forwarded_for = access::forwarded_for(request, &self.shared.config);
        if let Some(address) = forwarded_for {
            log::debug!("client {id} ({peer}): forwarded for {address}");
        }
        let named = match self.named(&granted.target) {
            Ok(named) => named,
            Err(error) => {
                log::error!("client {id} ({peer}): {error}");
                let answer = Answer::new(Status::InternalServerError, error.to_string());
                return self.turn_away(id, request, &answer);
            }
        };
        let source = named.as_ref().map(|named| &named.source);
        let is_trusted = named.as_ref().is_some_and(Named::is_trusted);
        let routed = route::route(
            request,
            &granted.target,
            &self.shared.config,
            source,
            &mut self.origins,
        );
        if routed.is_status()
            && let Err(answer) = access::check_status(request, &self.shared.config)
        {
            return self.turn_away(id, request, &answer);
        }
        self.begin_logged(id, request, &granted.target, source, Some(&routed));
        let config = &self.shared.config;
        let Some(sink) = self.clients.get_mut(id) else {
            return;
        };
        sink.client.set_cookie(granted.sets_cookie);
        sink.record = match routed {
            Target::Multicast(_) => Some(Kind::Multicast),
            Target::Http(_) => Some(Kind::Http),
            Target::Rtsp(_) => Some(Kind::Rtsp),
            _ => None,
        }
        .map(|kind| {
            let address = sink.client.asker(forwarded_for);
            Box::new(Record::new(kind, granted.target, address))
        });
        match routed {
            Target::Status(part) => self.serve_status(id, request, part, granted.sets_cookie),
            Target::Answer(answer) => sink.client.answer(&answer, &mut self.shared),
            Target::MulticastHead => {
                let head = response::multicast_head(None, config);
                let head = sink.client.own_head(head, config);
                sink.client.answer_with(&head, &mut self.shared);
            }
            Target::Page(page) => {
                let resource = page.resource(&mut self.shared.pages, config);
                let reply = resource.reply(request, config, granted.sets_cookie);
                sink.client.answer_resource(reply, &mut self.shared);
            }
            Target::Resource(resource) => {
                let reply = resource.reply(request, config, granted.sets_cookie);
                sink.client.answer_resource(reply, &mut self.shared);
            }
            Target::Document(document) => {
                self.serve_document(id, request, document, granted.sets_cookie);
            }
            Target::Multicast(url) => self.attach(id, url),
            Target::Http(url) => self.proxy(id, request, url, is_trusted, granted.sets_cookie),
            Target::Rtsp(url) => self.play(id, request, &url, is_trusted),
        }
    }

    /// Answers a request that may not be served.
    fn turn_away(&mut self, id: ClientId, request: &Request, answer: &Answer) {
        let target = access::below_prefix(request, &self.shared.config);
        let named = self.named(&target).ok().flatten();
        let source = named.as_ref().map(|named| &named.source);
        self.begin_logged(id, request, &target, source, None);
        let Some(sink) = self.clients.get_mut(id) else {
            return;
        };
        if answer.status == Status::Unauthorized {
            let text = format!("client {id} ({}): {}", sink.client.peer, answer.detail);
            self.complaints
                .log(Complaint::Token, self.shared.now, &text);
        }
        sink.client.answer(answer, &mut self.shared);
    }

    fn attach(&mut self, id: ClientId, url: MulticastUrl) {
        if !self.admit(id) {
            return;
        }
        let names: Vec<String> = [Some(&url.group), url.source.as_ref()]
            .into_iter()
            .flatten()
            .filter_map(|host| match host {
                Host::Name(name) => Some(name.clone()),
                Host::Ip { .. } => None,
            })
            .collect();
        if names.is_empty() {
            return self.attach_resolved(id, &url, &[]);
        }
        self.look_up(id, names, Wanted::Group(url));
    }

    /// Takes a client on as a stream, or refuses it for the client limit. At the limit, one that has closed its side
    /// and watches or still waits gives way: it is most likely the same one, zapping.
    pub(super) fn admit(&mut self, id: ClientId) -> bool {
        let clients_max = self.shared.config.clients_max;
        let place = self.worker.admit(clients_max).or_else(|| {
            self.end_half_closed();
            self.worker.admit(clients_max)
        });
        let Some(place) = place else {
            let text = format!("Maximum client limit reached ({clients_max})");
            self.complaints
                .log(Complaint::ClientLimit, self.shared.now, &text);
            self.shared.stats.refused_for_limit += 1;
            let detail = format!("client limit of {clients_max} reached");
            self.refuse(id, Status::ServiceUnavailable, &detail);
            return false;
        };
        let Some(sink) = self.clients.get_mut(id) else {
            self.worker.release(place);
            return false;
        };
        if let Some(record) = &mut sink.record {
            let base_bytes = sink.client.sent_bytes();
            record.admit(&self.worker, place, base_bytes, self.shared.now);
        }
        sink.client.await_stream();
        sink.streams = true;
        self.streams += 1;
        self.shared.stats.streams += 1;
        self.note_admitted(id);
        self.desk.mark();
        true
    }

    fn end_half_closed(&mut self) {
        let half_closed = self.clients.iter().find(|(_, sink)| {
            // A body that must arrive whole is not cut short for this.
            let gives_way = sink.client.is_waiting() || matches!(sink.feed, Feed::Channel(_));
            sink.streams && gives_way && sink.client.has_closed_sending()
        });
        let Some((id, _)) = half_closed else { return };
        self.detach(id);
        if let Some(sink) = self.clients.get_mut(id) {
            sink.streams = false;
            self.streams -= 1;
            if let Some(record) = &mut sink.record {
                record.give_way(&self.worker);
            }
        }
        self.end_stream(id, &CloseReason::GaveWay);
    }

    pub(super) fn refuse(&mut self, id: ClientId, status: Status, detail: &str) {
        if let Some(sink) = self.clients.get_mut(id) {
            log::debug!(
                "client {id} ({}): {} {detail}",
                sink.client.peer,
                status.code()
            );
            sink.client
                .answer(&Answer::new(status, detail), &mut self.shared);
        }
    }

    /// A look-up has ended.
    pub(super) fn resolved(&mut self, lookup: LookupId, result: Result<Vec<Vec<IpAddr>>, String>) {
        let Some(Lookup { client, wanted }) = self.lookups.remove(&lookup) else {
            return;
        };
        let wanted = match wanted {
            Wanted::Name(upstream, name) => return self.tell_addresses(upstream, &name, result),
            Wanted::Document(errand, fetch) => return self.errand_resolved(errand, fetch, result),
            wanted => wanted,
        };
        let Some(client) = client else { return };
        // The client may have gone or given up meanwhile.
        let waits =
            |feed| matches!(feed, Feed::Lookup { lookup: awaited, .. } if awaited == lookup);
        let Some(sink) = self.clients.get_mut(client).filter(|sink| waits(sink.feed)) else {
            return;
        };
        sink.feed = Feed::None;
        match (wanted, result) {
            (Wanted::Group(url), Ok(addresses)) => self.attach_resolved(client, &url, &addresses),
            // As for a URL that makes no sense (multicast spec §2).
            (Wanted::Group(_), Err(error)) => self.refuse(client, Status::NotFound, &error),
            (Wanted::Origin(fetch), Ok(addresses)) => {
                let addresses = addresses.into_iter().next().unwrap_or_default();
                self.connect_to(client, fetch, &addresses);
            }
            (Wanted::Origin(_), Err(error)) => self.refuse(client, Status::BadGateway, &error),
            (Wanted::Name(..) | Wanted::Document(..), _) => {}
        }
        self.after_turn(client);
    }

    fn attach_resolved(&mut self, id: ClientId, url: &MulticastUrl, addresses: &[Vec<IpAddr>]) {
        let interface = self.shared.config.multicast_interface();
        let joined =
            group_address(url, addresses, interface).and_then(|address| self.find_or_join(address));
        match joined {
            Ok(channel) => self.subscribe(id, channel),
            Err(detail) => self.refuse(id, Status::ServiceUnavailable, &detail),
        }
    }

    fn find_or_join(&mut self, address: GroupAddress) -> Result<ChannelId, String> {
        // One that ended in this tick is still there, but nobody must subscribe to it any more.
        let found = self.channels.iter().find(|(id, slot)| {
            *slot.channel.address() == address && !self.graveyard.contains(&Entity::Channel(*id))
        });
        if let Some((id, _)) = found {
            self.shared.stats.shared_joins += 1;
            return Ok(id);
        }
        if self.channels.len() >= CHANNELS_MAX && !self.end_oldest_lingering() {
            return Err(format!("limit of {CHANNELS_MAX} channels reached"));
        }
        let group = address.group;
        let channel = Channel::join(address, &mut self.shared)
            .map_err(|error| format!("joining {group} failed: {error}"));
        let channel = match channel {
            Ok(channel) => channel,
            Err(detail) => {
                let text = format!("channel {group}: {detail}");
                self.complaints.log(Complaint::Join, self.shared.now, &text);
                return Err(detail);
            }
        };
        log::info!("channel {group}: joined");
        let socket = channel.socket();
        let id = self.channels.insert(ChannelSlot {
            channel,
            subscribers: Vec::new(),
            head: None,
            lingering_since: None,
            joined_at: self.shared.now,
            rate: Rate::new(0, self.shared.now),
            queued: false,
            armed: None,
        });
        self.owners.insert(socket, Entity::Channel(id));
        self.arm_channel(id);
        Ok(id)
    }

    fn subscribe(&mut self, id: ClientId, channel: ChannelId) {
        let Self {
            clients,
            channels,
            shared,
            run,
            ..
        } = self;
        let (Some(sink), Some(slot)) = (clients.get_mut(id), channels.get_mut(channel)) else {
            return;
        };
        sink.feed = Feed::Channel(channel);
        slot.lingering_since = None;
        let mut subscriber = Subscriber {
            client: id,
            gate: Gate::Waiting,
            credit: 0,
        };
        // Before the first media, the head would say less than it could.
        let kind = slot.channel.payload_kind();
        let head = kind.and_then(|_| fanout::head(slot, shared));
        if let Some(replay) = slot.channel.replay()
            && let Some((tables, runs)) = replay.start()
            && let Some(head) = head.and_then(|head| fanout::head_for(&sink.client, head, shared))
        {
            sink.client.begin_stream(head, shared.now);
            sink.client.push_body(tables.clone(), shared.now);
            runs.for_each(|media| sink.client.push_run(media, shared.now));
            shared.stats.fast_starts += 1;
            subscriber.gate = Gate::Open;
            // The ring is pinned anyway; what was not live when it was given must not count as being slow.
            subscriber.credit = sink.client.held_bytes();
        }
        slot.subscribers.push(subscriber);
        // What has arrived since the last tick goes out with the head, at once.
        slot.channel.hurry(shared.now);
        run.push(Entity::Channel(channel), &mut slot.queued);
    }

    /// Parts a client from what feeds it. The source lingers, ends, or finishes on its own.
    pub(super) fn detach(&mut self, id: ClientId) {
        let Some(sink) = self.clients.get_mut(id) else {
            return;
        };
        match std::mem::replace(&mut sink.feed, Feed::None) {
            Feed::None => {}
            Feed::Status => {
                self.desk.dismiss(id);
                if !self.desk.has_viewers() {
                    self.worker.set_viewing(false);
                }
            }
            // The answer will find nobody.
            Feed::Lookup { lookup, .. } => drop(self.lookups.remove(&lookup)),
            Feed::Channel(channel) => self.unsubscribe(id, channel),
            Feed::Upstream(upstream) => {
                flow::unlink(id, &mut self.clients, self.shared.now);
                self.part(upstream);
            }
        }
    }

    fn unsubscribe(&mut self, id: ClientId, channel: ChannelId) {
        let Some(slot) = self.channels.get_mut(channel) else {
            return;
        };
        slot.subscribers
            .retain(|subscriber| subscriber.client != id);
        if !slot.subscribers.is_empty() {
            return;
        }
        slot.lingering_since = Some(self.shared.now);
        if self.shared.config.channel_linger.is_zero() || self.leaving.is_some() {
            return self.graveyard.push(Entity::Channel(channel));
        }
        self.arm_channel(channel);
        self.bound_lingering();
    }

    /// Lets the channels go that linger beyond the limit, the oldest first.
    pub(super) fn bound_lingering(&mut self) {
        let lingering = self
            .channels
            .iter()
            .filter(|(_, slot)| slot.lingering_since.is_some())
            .count();
        for _ in self.shared.config.channels_lingering_max..lingering {
            self.end_oldest_lingering();
        }
    }

    fn end_oldest_lingering(&mut self) -> bool {
        let oldest = oldest_lingering(&self.channels, &self.graveyard);
        if let Some(id) = oldest {
            self.end_channel(id);
        }
        oldest.is_some()
    }
}

fn oldest_lingering(channels: &Arena<ChannelSlot>, graveyard: &[Entity]) -> Option<ChannelId> {
    let lingering = channels
        .iter()
        .filter_map(|(id, slot)| Some((slot.lingering_since?, id)))
        .filter(|(_, id)| !graveyard.contains(&Entity::Channel(*id)));
    lingering.min_by_key(|(since, _)| *since).map(|(_, id)| id)
}

/// Puts the addresses of a URL together; `addresses` holds those of its names, in the order group, source.
fn group_address(
    url: &MulticastUrl,
    addresses: &[Vec<IpAddr>],
    interface: Option<&str>,
) -> Result<GroupAddress, String> {
    let mut looked_up = addresses.iter();
    let mut candidates = |host: &Host| match host {
        Host::Ip { address, .. } => vec![*address],
        Host::Name(_) => looked_up.next().cloned().unwrap_or_default(),
    };
    let groups = candidates(&url.group);
    let group = groups
        .iter()
        .find(|address| address.is_multicast())
        .or(groups.first())
        .ok_or("the group has no address")?;
    let source = match &url.source {
        None => None,
        Some(host) => {
            let sources = candidates(host);
            let same_family = sources
                .iter()
                .find(|source| source.is_ipv4() == group.is_ipv4());
            Some(
                *same_family
                    .or(sources.first())
                    .ok_or("the source has no address")?,
            )
        }
    };
    let scope = interface_of_host(&url.group)?;
    let by_index = url.interface_index.map(interface_of).transpose()?;
    let chosen = url
        .interface
        .clone()
        .or(by_index)
        .or(interface.map(str::to_owned))
        .or(scope);
    let group = match *group {
        IpAddr::V4(group) => SocketAddr::from((group, url.port)),
        IpAddr::V6(group) => SocketAddrV6::new(group, url.port, 0, 0).into(),
    };
    Ok(GroupAddress {
        group,
        source,
        interface: chosen,
    })
}

/// The interface by which `host` is reached if nobody says otherwise: that of its scope.
pub(super) fn interface_of_host(host: &Host) -> Result<Option<String>, String> {
    host.scope().map(scope_interface).transpose()
}

/// The interface that an IPv6 scope names, by its name or by its index (RFC 4007 §11.2).
fn scope_interface(scope: &str) -> Result<String, String> {
    match scope.parse() {
        Ok(index) => interface_of(index),
        Err(_) => Ok(scope.to_owned()),
    }
}

fn interface_of(index: u32) -> Result<String, String> {
    sys::udp::interface_name(index).ok_or_else(|| format!("there is no interface {index}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(rest: &str, names: &[&[&str]]) -> Result<GroupAddress, String> {
        let url = url::parse_multicast(rest).expect("a URL");
        let parse = |list: &&[&str]| {
            list.iter()
                .map(|ip| ip.parse().expect("an address"))
                .collect()
        };
        let addresses: Vec<Vec<IpAddr>> = names.iter().map(parse).collect();
        group_address(&url, &addresses, Some("eth9"))
    }

    #[test]
    fn names_give_the_addresses_that_fit_together() {
        let both: &[&str] = &["2001:db8::1", "192.0.2.1"];
        let found = address("source.test@239.0.0.1:5000", &[both]).expect("an address");
        assert_eq!(found.source, "192.0.2.1".parse().ok());
        let groups: &[&str] = &["192.0.2.7", "ff0e::1"];
        let found = address("source.test@group.test:5000", &[groups, both]).expect("an address");
        assert_eq!(found.group, "[ff0e::1]:5000".parse().expect("an address"));
        assert_eq!(found.source, "2001:db8::1".parse().ok());
    }

    #[test]
    fn interface_of_the_url_goes_before_the_configured_one() {
        let chosen = |rest| address(rest, &[]).map(|found| found.interface);
        assert_eq!(chosen("239.0.0.1:5000"), Ok(Some("eth9".into())));
        assert_eq!(
            chosen("239.0.0.1:5000?ifname=eth1"),
            Ok(Some("eth1".into()))
        );
        assert_eq!(chosen("239.0.0.1:5000?ifindex=1"), Ok(Some("lo".into())));
        assert!(chosen("239.0.0.1:5000?ifindex=999999").is_err());
    }

    #[test]
    fn scopes_are_names_or_numbers() {
        assert_eq!(scope_interface("eth1"), Ok("eth1".into()));
        assert_eq!(scope_interface("1"), Ok("lo".into()));
    }
}
