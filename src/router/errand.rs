//! What the router fetches for itself: the external channel list and the programme guide (playlist spec §3, §11.1).
//!
//! Each comes from a server, over an upstream without a client, or from a file, which a thread reads. What is there
//! stays until something new is there whole: a failure changes nothing but the time of the next try.
//!
//! ```text
//! idle ── due ──▶ [look-up] ──▶ upstream ── redirect ──▶ [look-up] …
//!   ▲      └────▶ file             │
//!   └────────── document, unchanged, failed, or out of time
//! ```

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::attach::{Lookup, Wanted};
use super::ready::Entity;
use super::slots::{UpstreamId, UpstreamSlot};
use super::{Router, apply_change};
use crate::area::Area;
use crate::config::Config;
use crate::limits::{
    DOCUMENT_BYTES_MAX, DOCUMENT_BYTES_PER_TURN, DOCUMENT_WAIT, KEEPSAKE_BYTES_MAX,
};
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
    const ALL: [Self; 2] = [Self::List, Self::Guide];

    /// What logs call it.
    fn name(self) -> &'static str {
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
}

/// How far one is.
struct Course {
    schedule: Schedule,
    running: Option<Running>,
}

/// A load under way.
struct Running {
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
    pub(super) fn new(config: &Config, guide: Option<&Guide>, now: Instant) -> Self {
        let course = |refresh| Course {
            schedule: Schedule::new(refresh, now),
            running: None,
        };
        Self {
            list: course(list_refresh(config)),
            guide: course(guide_refresh(config, guide)),
            next_read: 0,
        }
    }

    fn course(&mut self, errand: Errand) -> &mut Course {
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
        let at = |course: &Course| match &course.running {
            Some(running) => Some(running.until),
            None => course.schedule.due_at(),
        };
        courses.filter_map(at).min()
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
            let now = self.shared.now;
            let course = self.errands.course(errand);
            match &course.running {
                Some(running) if running.until <= now => {
                    let text = format!("it takes longer than {} s", DOCUMENT_WAIT.as_secs());
                    self.end_errand(errand, Err(text));
                }
                None if course.schedule.due_at().is_some_and(|at| at <= now) => {
                    self.begin_errand(errand);
                }
                _ => {}
            }
        }
    }

    /// Loads everything anew. What is there stays until then, as far as the configuration still wants it.
    pub(super) fn restart_errands(&mut self, before: &Config) {
        self.end_errands();
        let config = Rc::clone(&self.shared.config);
        self.library.reconfigure(&config, before);
        self.errands.list.schedule = Schedule::new(list_refresh(&config), self.shared.now);
        // That of the guide begins when the lists have been read.
        self.errands.guide.schedule = Schedule::new(Refresh::Never, self.shared.now);
    }

    /// Gives up whatever is being loaded.
    pub(super) fn end_errands(&mut self) {
        for errand in Errand::ALL {
            if let Some(running) = self.errands.course(errand).running.take() {
                self.give_up(&running);
            }
        }
    }

    fn give_up(&mut self, running: &Running) {
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
    fn follow_guide(&mut self) {
        if let Some(running) = self.errands.guide.running.take() {
            self.give_up(&running);
        }
        let refresh = guide_refresh(&self.shared.config, self.library.guide_address());
        self.errands.guide.schedule = Schedule::new(refresh, self.shared.now);
    }

    fn begin_errand(&mut self, errand: Errand) {
        let now = self.shared.now;
        let course = self.errands.course(errand);
        course.schedule.begin(now);
        let (address, author) = match self.errand_address(errand) {
            Some(Ok(found)) => found,
            Some(Err(text)) => {
                log::warn!("{}: {text}", errand.name());
                // To try again would not make it better.
                self.errands.course(errand).schedule = Schedule::new(Refresh::Never, now);
                return;
            }
            None => return,
        };
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
    fn errand_address(&self, errand: Errand) -> Option<Result<(DocumentAddress, Author), String>> {
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
        self.give_up(&running);
        let address = running.address;
        let taken = match result {
            Ok(None) => Ok(false),
            Ok(Some(document)) => match errand {
                Errand::List => self.take_list(document),
                Errand::Guide => self.library.take_guide(document),
            },
            Err(text) => Err(text),
        };
        let course = self.errands.course(errand);
        match taken {
            Ok(is_new) => {
                course.schedule.succeed();
                let what = if is_new {
                    "loaded"
                } else {
                    "it has not changed"
                };
                log::info!("{} {address:?}: {what}", errand.name());
                // A new list is read first.
                if errand == Errand::List && !is_new {
                    self.follow_guide();
                }
            }
            Err(text) => {
                let next = match course.schedule.fail(now) {
                    Some(wait) => format!("the next try is in {} s", shown(wait)),
                    None => "it is not tried again".to_owned(),
                };
                log::warn!("{} {address:?}: {text}; {next}", errand.name());
            }
        }
    }

    /// Takes an external list, and leaves it to the workers that come after this one.
    fn take_list(&mut self, document: Document) -> Result<bool, String> {
        let config = &self.shared.config;
        let record = config
            .external_m3u
            .as_ref()
            .filter(|_| document.bytes.len() < KEEPSAKE_BYTES_MAX)
            .map(|address| [&key(address), &*document.bytes].concat());
        let is_new = self.library.take_list(document, config)?;
        if let Some(record) = record.filter(|_| is_new) {
            self.worker.area().keepsake().keep(&record);
        }
        Ok(is_new)
    }
}

/// The list that another worker has loaded from where `config` says, so that services are there at once. It is loaded
/// again all the same.
pub(super) fn inherited_list(config: &Config, area: &Area) -> Option<Document> {
    let address = config.external_m3u.as_ref()?;
    let record = area.keepsake().recall()?;
    let bytes = record.strip_prefix(&*key(address))?;
    Some(Document::new(bytes.to_owned()))
}

/// In front of a list that is kept.
fn key(address: &DocumentAddress) -> Vec<u8> {
    format!("{address}\n").into_bytes()
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
