//! From a request for an RTSP URL to its session; and what the session brings on its way to the client.

use std::net::IpAddr;
use std::time::Duration;

use super::Router;
use super::attach::{Lookup, Wanted, interface_of_host};
use super::close::rtsp_status;
use super::flow::Limits;
use super::ready::Entity;
use super::slots::{ClientId, ClientSlot, UpstreamId, UpstreamSlot};
use crate::client::response::{self, Answer, Status};
use crate::client::route::RtspUrl;
use crate::client::{NoMemory, Request};
use crate::limits::RTSP_PROBES_MAX;
use crate::pool::Run;
use crate::proto::http::Method;
use crate::proto::rtsp::{self, Metadata, Purpose};
use crate::proto::seek::{self, ClientClock, Resolved, SeekError, Service};
use crate::shared::Shared;
use crate::upstream::rtsp::{Circumstances, RtspUpstream};

impl Router {
    /// Begins a session for `url`, whose media the client gets; or what HEAD and `r2h-duration` ask for.
    ///
    /// `is_trusted` says that the operator has written the URL, so that it may lead to this host.
    pub(super) fn play(
        &mut self,
        id: ClientId,
        request: &Request,
        url: &RtspUrl,
        is_trusted: bool,
    ) {
        let (session_request, resolved) = match self.prepare_session(request, url) {
            Ok(prepared) => prepared,
            Err(answer) => return self.refuse(id, answer.status, &answer.detail),
        };
        let scope = match interface_of_host(&session_request.url.host) {
            Ok(scope) => scope,
            Err(error) => return self.refuse(id, Status::ServiceUnavailable, &error),
        };
        let is_probe = session_request.purpose == Purpose::Probe;
        let is_admitted = if is_probe {
            self.admit_probe(id)
        } else {
            self.admit(id)
        };
        if !is_admitted {
            return;
        }
        let config = &self.shared.config;
        let interface = resolved
            .interface
            .or_else(|| config.rtsp_interface().map(str::to_owned))
            .or(scope);
        let circumstances = Circumstances {
            interface,
            is_local: is_trusted || self.is_local(id, request),
            stun: session_request.stun.clone(),
        };
        let seed = self.shared.net.random();
        let upstream = RtspUpstream::new(session_request, circumstances, seed);
        let mut slot = UpstreamSlot::new(
            Box::new(upstream),
            url.address().into(),
            id,
            self.shared.now,
        );
        slot.is_probe = is_probe;
        self.attach_slot(id, slot);
    }

    /// What the session is to do, and what else the URL says.
    fn prepare_session(
        &self,
        request: &Request,
        url: &RtspUrl,
    ) -> Result<(rtsp::Request, Resolved), Answer> {
        let config = &self.shared.config;
        let clock = ClientClock {
            user_agent: request.header("user-agent"),
            now: self.shared.net.unix_time(),
        };
        let resolved = seek::resolve(&url.rest, &clock, Service::Rtsp)
            .map_err(|error| Answer::new(seek_status(&error), error.to_string()))?;
        let answer = |error: rtsp::Error| Answer::new(rtsp_status(&error), error.to_string());
        let target = format!("{}://{}", url.scheme(), resolved.url);
        let user_agent = config.rtsp_user_agent.as_deref().unwrap_or(USER_AGENT);
        let mut session_request = rtsp::Request::new(&target, user_agent).map_err(answer)?;
        let range = resolved
            .clock
            .as_ref()
            .map(|clock| format!("clock={clock}-"));
        session_request
            .play_from(range.as_deref(), resolved.start.as_deref())
            .map_err(answer)?;
        session_request
            .play_at(resolved.scale.as_deref())
            .map_err(answer)?;
        session_request.purpose = if request.method == Method::Head {
            Purpose::Probe
        } else if resolved.duration {
            Purpose::Duration
        } else {
            Purpose::Play
        };
        session_request.stun.clone_from(&config.rtsp_stun_server);
        Ok((session_request, resolved))
    }

    /// Probes are no clients (server spec §9.2), but not without number either.
    fn admit_probe(&mut self, id: ClientId) -> bool {
        let probes = self.upstreams.iter().filter(|(_, slot)| slot.is_probe);
        if probes.count() < RTSP_PROBES_MAX {
            return true;
        }
        let detail = format!("limit of {RTSP_PROBES_MAX} HEAD requests at a time reached");
        self.refuse(id, Status::ServiceUnavailable, &detail);
        false
    }

    /// Starts a look-up for an upstream.
    pub(super) fn look_up_for(&mut self, id: UpstreamId, name: String) {
        let lookup = Lookup {
            client: None,
            wanted: Wanted::Name(id, name.clone()),
        };
        if let Err(detail) = self.begin_lookup(vec![name.clone()], lookup) {
            self.tell_addresses(id, &name, Err(detail));
        }
    }

    /// A look-up for an upstream has ended.
    pub(super) fn tell_addresses(
        &mut self,
        id: UpstreamId,
        name: &str,
        result: Result<Vec<Vec<IpAddr>>, String>,
    ) {
        let Some(source) = self.upstreams.get_mut(id) else {
            return;
        };
        let result = result.map(|lists| lists.into_iter().next().unwrap_or_default());
        let result = match &result {
            Ok(addresses) => Ok(addresses.as_slice()),
            Err(error) => Err(error.as_str()),
        };
        source.upstream.resolved(name, result);
        self.run
            .push_if(source.runnable(), Entity::Upstream(id), &mut source.queued);
    }
}

/// Named in requests unless `--rtsp-user-agent` says otherwise.
const USER_AGENT: &str = concat!("flowgate/", env!("CARGO_PKG_VERSION"));

/// Status for a URL whose times cannot be used: the client's mistake, whoever is asked (time spec §12, weakness 12).
///
/// What is no URL at all is told as RTSP spec §25 has it.
fn seek_status(error: &SeekError) -> Status {
    match error {
        SeekError::Value(_) | SeekError::TooLong { .. } => Status::NotFound,
        SeekError::Url
        | SeekError::Start
        | SeekError::Scale
        | SeekError::Unfilled
        | SeekError::NotATime
        | SeekError::EndMissing
        | SeekError::OutOfRange => Status::BadRequest,
    }
}

/// Queues the head of a stream of which `metadata` is known.
///
/// # Errors
///
/// When there is no memory for the head.
pub(super) fn begin(
    sink: &mut ClientSlot,
    metadata: &Metadata,
    shared: &Shared,
) -> Result<(), NoMemory> {
    let head = stream_head(sink, metadata, shared);
    sink.client.begin_with(&head, shared)
}

/// Answers HEAD.
pub(super) fn describe(sink: &mut ClientSlot, metadata: &Metadata, shared: &mut Shared) {
    let head = stream_head(sink, metadata, shared);
    sink.client.answer_with(&head, shared);
}

/// Answers `r2h-duration=1`.
pub(super) fn tell_duration(sink: &mut ClientSlot, duration: Duration, shared: &mut Shared) {
    let body = rtsp::metadata::duration_body(duration);
    let answer = response::json(&body, &shared.config, sink.client.sets_cookie());
    sink.client.answer_with(&answer, shared);
}

fn stream_head(sink: &ClientSlot, metadata: &Metadata, shared: &Shared) -> Vec<u8> {
    let head = response::stream_head(&metadata.headers(), &shared.config);
    sink.client.own_head(head, &shared.config)
}

/// Gives live media to a client, or skips it, whole packets at a time, while the client is full.
pub(super) fn pass(
    source: &mut UpstreamSlot,
    sink: &mut ClientSlot,
    media: &Run,
    limits: Limits,
    shared: &mut Shared,
) {
    limits.judge_pace(sink, shared);
    let held_bytes = sink.client.held_bytes();
    if source.skips {
        source.skips = held_bytes > limits.low(sink);
    } else {
        source.skips = held_bytes + media.view.held_bytes() > limits.limit(sink);
    }
    if source.skips {
        sink.client.drop_run(media, &mut shared.stats);
    } else {
        sink.client.push_run(media, shared.now);
    }
}
