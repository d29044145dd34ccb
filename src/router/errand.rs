//! What the router fetches for itself: the external channel list and the programme guide (playlist spec §3, §11.1).
//!
//! Each comes from a server, over an upstream without a client, or from a file, which a thread reads. What is there
//! stays until something new is there whole: a failure changes nothing but the time of the next try. One worker fetches
//! for all: how they share is the business of `news`.
//!
//! ```text
//! idle ── due ──▶ [look-up] ──▶ upstream ── redirect ──▶ [look-up] …
//!   ▲      ├────▶ file             │
//!   │      └─ another worker does so
//!   └────────── document, unchanged, failed, or out of time
//! ```

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Router;
use super::attach::{Lookup, Wanted};
use super::ready::Entity;
use super::slots::{UpstreamId, UpstreamSlot};
use super::upstream_turn::apply_change;
use crate::config::Config;
use crate::limits::{DOCUMENT_BYTES_MAX, DOCUMENT_BYTES_PER_TURN, DOCUMENT_WAIT};
use crate::net::{LookupId, ReadId};
use crate::playlist::download::{Answer, Document, Download, DownloadError};
use crate::playlist::{DocumentAddress, Guide, Origin as Author, Refresh, Schedule};
use crate::proto::http::Exchange;
use crate::proto::origin::{HttpUrl, Origin};
use crate::proto::url::Host;
use crate::upstream::connection::Destination;
use crate::upstream::http::{Fetch, HttpUpstream};
use crate::upstream::{Ending, Grant, Outcome};

/// A document that the router keeps up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    /// The external channel list.
    List,
    /// The programme guide.
    Guide,
}

impl Errand {
    /// Both, in the order in which one follows the other.
    pub(super) const ALL: [Self; 2] = [Self::List, Self::Guide];

    /// What logs call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::List => "channel list",
            Self::Guide => "programme guide",
        }
    }
}

/// How far both are.
pub(super) struct Errands {
    list: Course,
    guide: Course,
    next_read: u64,
    /// Of the configuration that both are loaded for.
    pub(super) generation: u64,
}

/// How far one is.
pub(super) struct Course {
    pub(super) schedule: Schedule,
    pub(super) running: Option<Running>,
    /// Number of the latest news that have been taken, or told.
    pub(super) seen: u64,
    /// Another worker loads it, and will have told by then.
    pub(super) held_up_until: Option<Instant>,
}

/// A load under way.
pub(super) struct Running {
    /// What is loaded.
    address: DocumentAddress,
    until: Instant,
    step: Step,
    /// The request, unless it is a file.
    download: Option<Download>,
    /// The server that the operator has named: it may be on this host, and no policy keeps the router from it.
    trusted: Option<Rc<Origin>>,
}

/// What is waited for.
enum Step {
    File(ReadId),
    Lookup(LookupId),
    Upstream(UpstreamId),
    /// Nothing yet.
    Beginning,
}

impl Errands {
    /// With everything that `config` asks for due at once.
    pub(super) fn new(
        config: &Config,
        guide: Option<&Guide>,
        generation: u64,
        now: Instant,
    ) -> Self {
        let course = |refresh| Course {
            schedule: Schedule::new(refresh, now),
            running: None,
            seen: 0,
            held_up_until: None,
        };
        Self {
            list: course(list_refresh(config)),
            guide: course(guide_refresh(config, guide)),
            next_read: 0,
            generation,
        }
    }

    pub(super) fn course(&mut self, errand: Errand) -> &mut Course {
        match errand {
            Errand::List => &mut self.list,
            Errand::Guide => &mut self.guide,
        }
    }

    /// Everything that is waited for takes too long, and whatever is to come is due.
    #[cfg(test)]
    pub(super) fn hurry(&mut self, now: Instant) {
        for errand in Errand::ALL {
            let course = self.course(errand);
            match &mut course.running {
                Some(running) => running.until = now,
                None => course.schedule = Schedule::new(Refresh::Once, now),
            }
        }
    }

    /// When something is to be begun or given up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let courses = [&self.list, &self.guide].into_iter();
        courses.filter_map(Course::deadline).min()
    }
}

impl Course {
    /// When something is to be begun or given up.
    fn deadline(&self) -> Option<Instant> {
        match (&self.running, self.held_up_until) {
            (Some(running), _) => Some(running.until),
            (None, None) => self.schedule.due_at(),
            (None, Some(until)) => self.schedule.due_at().map(|at| at.max(until)),
        }
    }
}

fn list_refresh(config: &Config) -> Refresh {
    match config.external_m3u {
        Some(_) => config.external_m3u_refresh,
        None => Refresh::Never,
    }
}

/// A guide is loaded with every list; of itself only if there is none to come (playlist spec §11.1).
fn guide_refresh(config: &Config, guide: Option<&Guide>) -> Refresh {
    match (guide, list_refresh(config)) {
        (None, _) => Refresh::Never,
        (Some(_), Refresh::Never) => config.external_m3u_refresh,
        (Some(_), _) => Refresh::Once,
    }
}

impl Router {
    /// Begins what is due and gives up what takes too long; a step of every tick.
    pub(super) fn run_errands(&mut self) {
        if self.leaving.is_some() {
            return;
        }
        if self.library.read_further() {
            self.follow_guide();
        }
        for errand in Errand::ALL {
            let course = self.errands.course(errand);
            if course.deadline().is_none_or(|at| at > self.shared.now) {
                continue;
            }
            if course.running.is_some() {
                let text = format!("it takes longer than {} s", DOCUMENT_WAIT.as_secs());
                self.end_errand(errand, Err(text));
            } else {
                self.begin_errand(errand);
            }
        }
    }

    /// Loads everything anew. What is there stays until then, as far as the configuration still wants it.
    pub(super) fn restart_errands(&mut self, before: &Config) {
        self.end_errands();
        let config = Rc::clone(&self.shared.config);
        self.library.reconfigure(&config, before);
        self.errands.generation = self.worker.area().generation();
        self.errands.list.schedule = Schedule::new(list_refresh(&config), self.shared.now);
        // That of the guide begins when the lists have been read.
        self.errands.guide.schedule = Schedule::new(Refresh::Never, self.shared.now);
    }

    /// Gives up whatever is being loaded.
    pub(super) fn end_errands(&mut self) {
        for errand in Errand::ALL {
            self.errands.course(errand).held_up_until = None;
            self.end_course(errand);
        }
    }

    fn end_course(&mut self, errand: Errand) {
        if let Some(running) = self.errands.course(errand).running.take() {
            self.give_up(errand, &running);
        }
    }

    fn give_up(&mut self, errand: Errand, running: &Running) {
        self.leave_to_others(errand);
        match running.step {
            // The answer will find nobody.
            Step::Lookup(lookup) => drop(self.lookups.remove(&lookup)),
            Step::Upstream(upstream) => self.bury_errand(upstream),
            Step::File(_) | Step::Beginning => {}
        }
    }

    fn bury_errand(&mut self, upstream: UpstreamId) {
        if let Some(source) = self.upstreams.get_mut(upstream) {
            (source.errand, source.outlives_client) = (None, false);
            self.graveyard.push(Entity::Upstream(upstream));
        }
    }

    /// There is a new catalogue: its guide is loaded now.
    pub(super) fn follow_guide(&mut self) {
        self.end_course(Errand::Guide);
        let refresh = guide_refresh(&self.shared.config, self.library.guide_address());
        self.errands.guide.schedule = Schedule::new(refresh, self.shared.now);
    }

    fn begin_errand(&mut self, errand: Errand) {
        let now = self.shared.now;
        let (address, author) = match self.errand_address(errand) {
            Some(Ok(found)) => found,
            nowhere => {
                if let Some(Err(text)) = nowhere {
                    log::warn!("{}: {text}", errand.name());
                }
                // To try again would not make it better.
                self.errands.course(errand).schedule = Schedule::new(Refresh::Never, now);
                return;
            }
        };
        if !self.is_left_to_this_worker(errand) {
            return;
        }
        self.errands.course(errand).schedule.begin(now);
        let running = Running {
            until: now + DOCUMENT_WAIT,
            step: Step::Beginning,
            download: None,
            trusted: None,
            address: address.clone(),
        };
        self.errands.course(errand).running = Some(running);
        match address {
            DocumentAddress::Remote(url) => {
                let url = match HttpUrl::parse(&url) {
                    Ok(url) => url,
                    Err(error) => return self.end_errand(errand, Err(error.to_string())),
                };
                let trusted = match author {
                    Author::Operator => Some(Rc::clone(url.origin())),
                    // What lies beside the list is the operator's word too.
                    Author::Provider => self.list_origin(),
                };
                if let Some(running) = &mut self.errands.course(errand).running {
                    running.trusted = trusted;
                }
                let known = self.library.validators(errand);
                self.ask(errand, Download::new(url, known, DOCUMENT_BYTES_MAX));
            }
            DocumentAddress::File(path) => {
                self.errands.next_read += 1;
                let read = ReadId(self.errands.next_read);
                let begun = self.shared.net.read_file(read, path, DOCUMENT_BYTES_MAX);
                match (begun, &mut self.errands.course(errand).running) {
                    (Ok(()), Some(running)) => running.step = Step::File(read),
                    (Err(error), _) => self.end_errand(errand, Err(error.to_string())),
                    (Ok(()), None) => {}
                }
            }
        }
    }

    /// The server that the external list is on.
    fn list_origin(&self) -> Option<Rc<Origin>> {
        match self.shared.config.external_m3u.as_ref()? {
            DocumentAddress::Remote(url) => Some(Rc::clone(HttpUrl::parse(url).ok()?.origin())),
            DocumentAddress::File(_) => None,
        }
    }

    /// Where a document is and who says so, or why that is nowhere; nothing if there is none to be loaded.
    pub(super) fn errand_address(
        &self,
        errand: Errand,
    ) -> Option<Result<(DocumentAddress, Author), String>> {
        match errand {
            Errand::List => {
                let address = self.shared.config.external_m3u.clone()?;
                Some(Ok((address, Author::Operator)))
            }
            Errand::Guide => {
                let guide = self.library.guide_address()?;
                let address = DocumentAddress::parse(&guide.address)
                    .map_err(|error| format!("the list names an address that is none: {error}"));
                Some(match (address, guide.origin) {
                    // It would be published.
                    (Ok(DocumentAddress::File(_)), Author::Provider) => {
                        Err("a list that is not of this host names a file of it".to_owned())
                    }
                    (address, origin) => address.map(|address| (address, origin)),
                })
            }
        }
    }

    /// Makes a request.
    fn ask(&mut self, errand: Errand, download: Download) {
        let Some(running) = &mut self.errands.course(errand).running else {
            return;
        };
        let origin = Rc::clone(download.url.origin());
        let fetch = Rc::new(Fetch {
            destination: Rc::new(Destination {
                is_local: running.trusted.as_ref() == Some(&origin),
                origin,
                interface: None,
            }),
            head: download.request(),
            exchange: Rc::new(Exchange {
                is_head: false,
                // So that it comes without interim responses and chunks.
                client_minor_version: 0,
                url: download.url.clone(),
                links: None,
                cors_allow_origin: None,
                access_cookie: None,
            }),
            head_wait: DOCUMENT_WAIT,
            has_body: false,
            repeatable: true,
        });
        running.download = Some(download);
        match fetch.destination.origin.host() {
            &Host::Ip { address, .. } => self.connect_errand(errand, fetch, &[address]),
            Host::Name(name) => {
                let names = vec![name.clone()];
                let wanted = Wanted::Document(errand, Rc::clone(&fetch));
                let client = None;
                let lookup = self.begin_lookup(names, Lookup { client, wanted });
                match (lookup, &mut self.errands.course(errand).running) {
                    (Ok(lookup), Some(running)) => running.step = Step::Lookup(lookup),
                    (Err(text), _) => self.end_errand(errand, Err(text)),
                    (Ok(_), None) => {}
                }
            }
        }
    }

    /// A look-up for a document has ended.
    pub(super) fn errand_resolved(
        &mut self,
        errand: Errand,
        fetch: Rc<Fetch>,
        result: Result<Vec<Vec<IpAddr>>, String>,
    ) {
        match result {
            Ok(lists) => {
                let addresses = lists.into_iter().next().unwrap_or_default();
                self.connect_errand(errand, fetch, &addresses);
            }
            Err(text) => self.end_errand(errand, Err(text)),
        }
    }

    fn connect_errand(&mut self, errand: Errand, fetch: Rc<Fetch>, addresses: &[IpAddr]) {
        let destination = &fetch.destination;
        let port = destination.origin.port();
        let host = destination.origin.host().to_string();
        let permitted = match destination.is_local {
            true => Ok(addresses
                .iter()
                .map(|ip| SocketAddr::new(*ip, port))
                .collect()),
            false => self.shared.permitted(&host, addresses, port, false),
        };
        let permitted: Vec<SocketAddr> = match permitted {
            Ok(permitted) => permitted,
            Err(denied) => return self.end_errand(errand, Err(denied.to_string())),
        };
        let address = Rc::clone(destination.origin.url());
        let upstream = HttpUpstream::connect(fetch, &permitted, &self.shared);
        let slot = UpstreamSlot::of_errand(Box::new(upstream), address, errand, self.shared.now);
        let id = self.upstreams.insert(slot);
        if let Some(running) = &mut self.errands.course(errand).running {
            running.step = Step::Upstream(id);
        }
        self.run_upstream(id);
    }

    /// A turn of an upstream that brings a document.
    pub(super) fn run_errand(
        &mut self,
        id: UpstreamId,
        errand: Errand,
        mut outcomes: Vec<Outcome>,
    ) {
        let Self {
            upstreams,
            shared,
            owners,
            waiters,
            errands,
            ..
        } = self;
        let mut end = None;
        let mut kept = None;
        if let Some(source) = upstreams.get_mut(id)
            && let Some(running) = &mut errands.course(errand).running
            && let Some(download) = &mut running.download
        {
            let grant = source.may_read().then_some(GRANT);
            source.upstream.run(grant, shared, &mut outcomes);
            for outcome in outcomes.drain(..) {
                let failed = |error: DownloadError| Some(Err(error.to_string()));
                let ended = match outcome {
                    Outcome::Socket(change) => {
                        apply_change(change, id, owners, shared);
                        None
                    }
                    Outcome::Head(head) => match download.take_head(&head.encode(0, false)) {
                        Ok(true) => None,
                        // The rest of the answer is not waited for.
                        Ok(false) => Some(Ok(())),
                        Err(error) => failed(error),
                    },
                    Outcome::Body(view) => download
                        .take_body(view.bytes().unwrap_or_default())
                        .err()
                        .and_then(failed),
                    Outcome::Starved => {
                        waiters.park(Entity::Upstream(id), &mut source.starved);
                        None
                    }
                    Outcome::End(ending) => {
                        if let Ending::Reusable(connection, destination) = ending {
                            kept = Some((connection, destination));
                        }
                        Some(Ok(()))
                    }
                    Outcome::Failed(error) => Some(Err(error.to_string())),
                    // Only a connection that had been kept can be stale.
                    _ => None,
                };
                end = end.or(ended);
            }
            if source.starved {
                source.upstream.pause(shared.now);
            }
        }
        self.outcomes = outcomes;
        if let Some((connection, destination)) = kept {
            self.keep(connection, destination);
        }
        let Some(end) = end else {
            return self.after_upstream_turn(id);
        };
        self.bury_errand(id);
        let running = self.errands.course(errand).running.as_mut();
        let answer = match (end, running.and_then(|running| running.download.take())) {
            (Err(text), _) => Err(text),
            (Ok(()), Some(download)) => download.finish().map_err(|error| error.to_string()),
            (Ok(()), None) => return,
        };
        match answer {
            Ok(Answer::Elsewhere(download)) => self.ask(errand, *download),
            Ok(Answer::Document(document)) => self.end_errand(errand, Ok(Some(document))),
            Ok(Answer::Unchanged) => self.end_errand(errand, Ok(None)),
            Err(text) => self.end_errand(errand, Err(text)),
        }
    }

    /// A file was read, or not.
    pub(super) fn file_read(&mut self, read: ReadId, result: Result<Vec<u8>, String>) {
        let waits = |course: &Course| {
            let running = course.running.as_ref();
            running.is_some_and(|running| matches!(running.step, Step::File(id) if id == read))
        };
        let found = Errand::ALL
            .into_iter()
            .find(|errand| waits(self.errands.course(*errand)));
        if let Some(errand) = found {
            self.end_errand(errand, result.map(|bytes| Some(Document::new(bytes))));
        }
    }

    /// A load is over: with a document, with none because it has not changed, or without.
    fn end_errand(&mut self, errand: Errand, result: Result<Option<Document>, String>) {
        let now = self.shared.now;
        let Some(running) = self.errands.course(errand).running.take() else {
            return;
        };
        let address = &running.address;
        let mut brought = None;
        let taken = match result {
            Ok(None) => Ok(false),
            Ok(Some(document)) => {
                let taken = self.take_document(errand, &document);
                brought = taken.is_ok().then_some(document);
                taken
            }
            Err(text) => Err(text),
        };
        let course = self.errands.course(errand);
        match &taken {
            Ok(is_new) => {
                course.schedule.succeed();
                let what = match is_new {
                    true => "loaded",
                    false => "it has not changed",
                };
                log::info!("{} {address:?}: {what}", errand.name());
            }
            Err(text) => {
                let next = match course.schedule.fail(now) {
                    Some(wait) => format!("the next try is in {} s", shown(wait)),
                    None => "it is not tried again".to_owned(),
                };
                log::error!("{} {address:?}: {text}; {next}", errand.name());
            }
        }
        self.tell_others(errand, address, brought.as_ref(), taken.is_ok());
        self.give_up(errand, &running);
        if let Ok(is_new) = taken {
            self.have_document(errand, is_new);
        }
    }

    /// Takes a document. Returns whether it is another than the one before.
    ///
    /// # Errors
    ///
    /// Why it is none, so that the one before stays.
    pub(super) fn take_document(
        &mut self,
        errand: Errand,
        document: &Document,
    ) -> Result<bool, String> {
        match errand {
            Errand::List => self.library.take_list(document, &self.shared.config),
            Errand::Guide => self.library.take_guide(document),
        }
    }

    /// A document is here as it is now where it comes from.
    pub(super) fn have_document(&mut self, errand: Errand, is_new: bool) {
        // A new list is read first.
        if errand == Errand::List && !is_new {
            self.follow_guide();
        }
    }
}

/// What an upstream may bring in a turn.
const GRANT: Grant = Grant {
    room: DOCUMENT_BYTES_PER_TURN,
    piped: 0,
    keeps_up: false,
};

/// In whole seconds.
fn shown(wait: Duration) -> u64 {
    wait.as_secs_f64().round() as u64
}
