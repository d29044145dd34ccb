//! From a proxied request to its upstream: what is asked of whom, over which connection; and the request's body on
//! its way there.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use super::Router;
use super::attach::{Lookup, Wanted, interface_of_host};
use super::close::CloseReason;
use super::flow;
use super::ready::Entity;
use super::slots::{ClientId, Feed, UpstreamSlot};
use crate::client::response::{self, Answer, Status};
use crate::client::{Incoming, Request};
use crate::config::Config;
use crate::limits::{HLS_RELOAD_WAIT, LOOKUP_WAIT};
use crate::net::LookupId;
use crate::proto::http::{Exchange, Forward, Framing, Method, Relay};
use crate::proto::origin::HttpUrl;
use crate::proto::seek::{self, ClientClock, Service};
use crate::proto::url::Host;
use crate::proto::user_info::UserInfo;
use crate::upstream::Upstream;
use crate::upstream::connection::Destination;
use crate::upstream::http::{Fetch, HttpUpstream};

impl Router {
    /// Makes the request of the upstream that `url` names, and gives its response to the client.
    ///
    /// `is_trusted` says that the operator has written the URL, so that it may lead to this host.
    pub(super) fn proxy(
        &mut self,
        id: ClientId,
        request: &Request,
        url: HttpUrl,
        is_trusted: bool,
        sets_cookie: bool,
    ) {
        let fetch = match self.prepare(id, request, url, is_trusted, sets_cookie) {
            Ok(fetch) => Rc::new(fetch),
            Err(answer) => return self.refuse(id, answer.status, &answer.detail),
        };
        if !self.admit(id) {
            return;
        }
        let Some(sink) = self.clients.get_mut(id) else {
            return;
        };
        if request.wants_keep_alive() && self.leaving.is_none() {
            sink.client.offer_keep_alive();
        }
        sink.client
            .begin_body(request.framing, Relay::AsFramed, self.shared.now);
        // One that cannot be made again is not put at the mercy of a connection that may be dead.
        let kept_too = fetch.repeatable;
        self.connect(id, fetch, kept_too);
    }

    /// What is to be asked, and what the response will be measured by.
    fn prepare(
        &mut self,
        id: ClientId,
        request: &Request,
        url: HttpUrl,
        is_trusted: bool,
        sets_cookie: bool,
    ) -> Result<Fetch, Answer> {
        let config = Rc::clone(&self.shared.config);
        let (url, own_interface) = match seek::concerns_this_server(url.target()) {
            true => self.resolve(request, &url)?,
            false => (url, None),
        };
        let scope = interface_of_host(url.origin().host())
            .map_err(|error| Answer::new(Status::BadGateway, error))?;
        let interface = own_interface
            .clone()
            .or_else(|| config.http_interface().map(str::to_owned))
            .or(scope);
        let user_info = url.user_info().or_else(|| self.library.user_info_for(&url));
        let authorization = user_info.map(UserInfo::authorization);
        let forward = Forward {
            method: &request.method_name,
            target: url.target(),
            host: &url.origin().host_header(),
            framing: request.framing,
            headers: &request.headers,
            user_agent: config.http_proxy_user_agent.as_deref(),
            hides_token: config.r2h_token.is_some(),
            authorization: authorization.as_deref(),
        };
        let is_empty = matches!(request.framing, Framing::Empty | Framing::Length(0));
        Ok(Fetch {
            destination: Rc::new(Destination {
                origin: Rc::clone(url.origin()),
                interface,
                is_local: is_trusted || self.is_local(id, request),
            }),
            head: forward.encode(),
            head_wait: head_wait(&config, url.target()),
            has_body: !is_empty,
            repeatable: is_empty
                && matches!(request.method, Method::Get | Method::Head | Method::Options),
            exchange: Rc::new(Exchange {
                is_head: request.method == Method::Head,
                client_minor_version: request.minor_version,
                links: Some(self.links(id, request, own_interface.as_deref())),
                cors_allow_origin: config.cors_allow_origin.clone(),
                access_cookie: sets_cookie
                    .then(|| response::access_cookie(&config))
                    .flatten(),
                url,
            }),
        })
    }

    /// What is to be asked for where parameters are for this server, and through which interface if one says so.
    fn resolve(
        &self,
        request: &Request,
        url: &HttpUrl,
    ) -> Result<(HttpUrl, Option<String>), Answer> {
        let clock = ClientClock {
            user_agent: request.header("user-agent"),
            now: self.shared.net.unix_time(),
        };
        let resolved = seek::resolve(url.target(), &clock, Service::Http)
            .map_err(|error| Answer::new(Status::BadRequest, error.to_string()))?;
        let url = url
            .at(&resolved.url)
            .map_err(|error| Answer::new(Status::BadRequest, error.to_string()))?;
        Ok((url, resolved.interface))
    }

    /// Whether the client sits on this host's network, and no proxy speaks for somebody elsewhere: what only this
    /// host can reach, it can reach anyway.
    pub(super) fn is_local(&self, id: ClientId, request: &Request) -> bool {
        let is_loopback = self
            .clients
            .get(id)
            .is_some_and(|sink| sink.client.peer.is_loopback());
        let tells_of_another = |name: &str| {
            ["forwarded", "x-forwarded-for", "x-real-ip", "via"]
                .iter()
                .any(|telling| telling.eq_ignore_ascii_case(name))
        };
        let mut names = request.headers.iter().map(|(name, _)| name);
        is_loopback && !names.any(tells_of_another)
    }

    /// Finds or makes a connection for `fetch`; one that has been kept only if `kept_too`.
    fn connect(&mut self, id: ClientId, fetch: Rc<Fetch>, kept_too: bool) {
        if kept_too && let Some(connection) = self.take_kept(&fetch.destination) {
            self.shared.stats.upstream_reuses += 1;
            let address = Rc::clone(fetch.destination.origin.url());
            let upstream = HttpUpstream::over(fetch, connection, &self.shared);
            return self.attach_upstream(id, Box::new(upstream), address);
        }
        match fetch.destination.origin.host() {
            &Host::Ip { address, .. } => self.connect_to(id, fetch, &[address]),
            Host::Name(name) => {
                let name = name.clone();
                self.look_up(id, vec![name], Wanted::Origin(fetch));
            }
        }
    }

    /// A connection that had been kept was dead: the same request over a new one.
    pub(super) fn fetch_anew(&mut self, id: ClientId, fetch: Rc<Fetch>) {
        self.connect(id, fetch, false);
    }

    /// Connects to one of `addresses`, as far as the policy permits.
    pub(super) fn connect_to(&mut self, id: ClientId, fetch: Rc<Fetch>, addresses: &[IpAddr]) {
        let (host, port) = (
            fetch.destination.origin.host().to_string(),
            fetch.destination.origin.port(),
        );
        let is_local = fetch.destination.is_local;
        let permitted = match self.shared.permitted(&host, addresses, port, is_local) {
            Ok(permitted) => permitted,
            Err(denied) => return self.refuse(id, Status::Forbidden, &denied.to_string()),
        };
        let address = Rc::clone(fetch.destination.origin.url());
        let upstream = HttpUpstream::connect(fetch, &permitted, &self.shared);
        self.attach_upstream(id, Box::new(upstream), address);
    }

    /// Makes `upstream`, at `address`, the source of a client, and gives it its first turn.
    fn attach_upstream(&mut self, id: ClientId, upstream: Box<dyn Upstream>, address: Rc<str>) {
        let slot = UpstreamSlot::new(upstream, address, id, self.shared.now);
        self.attach_slot(id, slot);
    }

    pub(super) fn attach_slot(&mut self, id: ClientId, slot: UpstreamSlot) {
        let upstream = self.upstreams.insert(slot);
        if let Some(slot) = self.upstreams.get(upstream) {
            let entity = Entity::Upstream(upstream);
            slot.upstream
                .visit_sockets(&mut |socket| self.owners.insert(socket, entity));
        }
        if let Some(sink) = self.clients.get_mut(id) {
            sink.feed = Feed::Upstream(upstream);
            flow::begin_upload(sink, self.shared.now);
        }
        // At once, so that a request does not wait for the next tick.
        self.run_upstream(upstream);
    }

    /// Starts a look-up for a client, which waits for it.
    pub(super) fn look_up(&mut self, id: ClientId, names: Vec<String>, wanted: Wanted) {
        let client = Some(id);
        match self.begin_lookup(names, Lookup { client, wanted }) {
            Ok(lookup) => {
                let until = self.shared.now + LOOKUP_WAIT;
                if let Some(sink) = self.clients.get_mut(id) {
                    sink.feed = Feed::Lookup { lookup, until };
                    flow::hold_upload(sink);
                }
            }
            Err(detail) => self.refuse(id, Status::ServiceUnavailable, &detail),
        }
    }

    /// Asks for the addresses of `names`; the error is for whoever wanted them.
    pub(super) fn begin_lookup(
        &mut self,
        names: Vec<String>,
        wanted: Lookup,
    ) -> Result<LookupId, String> {
        self.next_lookup += 1;
        let lookup = LookupId(self.next_lookup);
        self.shared
            .net
            .resolve(lookup, names)
            .map_err(|error| format!("name look-up: {error}"))?;
        self.lookups.insert(lookup, wanted);
        Ok(lookup)
    }

    /// What a client is told whose name was not found in time.
    pub(super) fn lookup_status(&self, lookup: LookupId) -> Status {
        match self.lookups.get(&lookup).map(|lookup| &lookup.wanted) {
            Some(Wanted::Origin(_)) => Status::GatewayTimeout,
            _ => Status::ServiceUnavailable,
        }
    }

    /// Passes on a part of the body that a client uploads.
    pub(super) fn take_upload(&mut self, id: ClientId, part: Incoming) {
        let Some(part) = self.take_form(id, part) else {
            return;
        };
        let limits = self.limits();
        let Self {
            clients,
            upstreams,
            waiters,
            run,
            shared,
            ..
        } = self;
        let Some(sink) = clients.get_mut(id) else {
            return;
        };
        let source = match sink.feed {
            Feed::Upstream(upstream) => upstreams
                .get_mut(upstream)
                .map(|source| (Entity::Upstream(upstream), source)),
            _ => None,
        };
        match part {
            Incoming::Body(view) => {
                if let Some((entity, source)) = source {
                    source.upstream.push_body(view, shared.now);
                    if limits.upload_room(source) == 0 {
                        flow::pause_upload(sink, shared);
                    }
                    run.push(entity, &mut source.queued);
                }
            }
            Incoming::BodyEnd => {
                if let Some((entity, source)) = source {
                    source.upstream.end_body(shared.now);
                    run.push(entity, &mut source.queued);
                }
            }
            Incoming::Starved => waiters.park(Entity::Client(id), &mut sink.starved),
            Incoming::BodyFailed(answer) => {
                log::debug!("client {id}: {}", answer.detail);
                self.detach(id);
                if let Some(sink) = self.clients.get_mut(id) {
                    sink.client.fail(&answer, &mut self.shared);
                }
            }
            Incoming::Left => {
                self.detach(id);
                self.end_stream(id, &CloseReason::Left);
            }
            Incoming::Request(_) => debug_assert!(false, "requests are served elsewhere"),
        }
    }
}

/// How long the head of the answer to `target` is waited for.
fn head_wait(config: &Config, target: &str) -> Duration {
    let (_, query) = target.split_once('?').unwrap_or_default();
    let may_block = query
        .split('&')
        .any(|parameter| parameter.starts_with("_HLS_msn="));
    let least = if may_block {
        HLS_RELOAD_WAIT
    } else {
        Duration::ZERO
    };
    config.http_head_timeout.max(least)
}
