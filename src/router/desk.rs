//! Serves the status: who watches, and when they are told (server spec §10). What they ask to be done goes to
//! `calls.rs`.
//!
//! While nobody watches, nothing is computed and nobody is woken. All viewers are told at the same time and the same
//! bytes: once a second, or a little after something has changed. A viewer that has not taken the last event skips
//! this one, whole, and is sent the complete log with its next.
//!
//! With several workers, each publishes its facts in the area while any of them has viewers. Who wants them for the
//! first time asks, and waits a moment for the answers.

use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Router;
use super::record::Record;
use super::slots::{ClientId, ClientSlot, Feed};
use crate::area::log_ring::{Cursor, Line, Missed};
use crate::area::{Area, Seat, WorkerRecord};
use crate::client::resource::{Cache, LocalBody, Resource};
use crate::client::response::{self, Answer, Status};
use crate::client::route::StatusPart;
use crate::client::{Ended, Request};
use crate::config::Verbosity;
use crate::limits::{
    EVENT_BYTES_HELD_MAX, EVENT_INTERVAL_MIN, STATUS_ANSWER_WAIT, STATUS_INTERVAL, VIEWERS_MAX,
    WORKERS_MAX,
};
use crate::proto::http::Method;
use crate::status::codec;
use crate::status::facts::WorkerFacts;
use crate::status::metrics;
use crate::status::snapshot::{self, Logs, Program, Snapshot};

/// Who watches the status, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Desk {
    viewers: Vec<Viewer>,
    /// Requests that are answered when the other workers have answered.
    waiting: Vec<Waiting>,
    /// What the others were asked, and until when they are waited for.
    question: Option<(u64, Instant)>,
    /// Something has changed since everybody was last told.
    is_dirty: bool,
    told_at: Option<Instant>,
    /// How far the log has been told.
    cursor: Cursor,
    /// Events that some viewer has not taken yet.
    held: Vec<Weak<[u8]>>,
    /// How many orders to disconnect clients have been carried out.
    orders: u64,
}

#[derive(Debug)]
struct Viewer {
    client: ClientId,
    /// It has not been told anything.
    is_new: bool,
    /// It has not seen the log up to [`Desk::cursor`].
    is_behind: bool,
}

#[derive(Debug)]
struct Waiting {
    client: ClientId,
    request: Request,
    part: Once,
    sets_cookie: bool,
}

/// What is told once, as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Once {
    Json,
    Metrics,
}

/// Which viewers are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Audience {
    All,
    Newcomers,
}

impl Desk {
    /// Something has happened that viewers want to know.
    pub(super) fn mark(&mut self) {
        self.is_dirty = true;
    }

    /// When the router must look after its viewers although nothing happens; `is_viewed` says that any worker has some.
    pub(super) fn deadline(&self, is_viewed: bool) -> Option<Instant> {
        if let Some((_, until)) = self.question {
            return Some(until);
        }
        let told_at = self.told_at.filter(|_| is_viewed)?;
        Some(told_at + self.interval())
    }

    /// Whether it is time to tell again.
    fn is_due(&self, now: Instant) -> bool {
        let interval = self.interval();
        self.told_at.is_none_or(|told_at| told_at + interval <= now)
    }

    fn interval(&self) -> Duration {
        if self.is_dirty {
            EVENT_INTERVAL_MIN
        } else {
            STATUS_INTERVAL
        }
    }

    /// A client that watched or waited is gone.
    pub(super) fn dismiss(&mut self, client: ClientId) {
        self.viewers.retain(|viewer| viewer.client != client);
        self.waiting.retain(|waiting| waiting.client != client);
    }

    /// Whether anybody watches.
    pub(super) fn has_viewers(&self) -> bool {
        !self.viewers.is_empty()
    }

    /// Whether this client watches or waits, for the invariants.
    pub(super) fn knows(&self, client: ClientId) -> bool {
        self.viewers.iter().any(|viewer| viewer.client == client)
            || self.waiting.iter().any(|waiting| waiting.client == client)
    }
}

impl Router {
    /// Acts on a request for a part of the status.
    pub(super) fn serve_status(
        &mut self,
        id: ClientId,
        request: &Request,
        part: StatusPart,
        sets_cookie: bool,
    ) {
        match part {
            StatusPart::Events => self.begin_events(id, request, sets_cookie),
            StatusPart::Snapshot => self.tell_once(id, request, Once::Json, sets_cookie),
            StatusPart::Metrics => self.tell_once(id, request, Once::Metrics, sets_cookie),
            StatusPart::Call(call) => self.take_call(id, request, call),
        }
    }

    fn begin_events(&mut self, id: ClientId, request: &Request, sets_cookie: bool) {
        if self.desk.viewers.len() >= VIEWERS_MAX {
            let detail = format!("limit of {VIEWERS_MAX} viewers of the status reached");
            return self.refuse(id, Status::ServiceUnavailable, &detail);
        }
        let head = response::events_head(&self.shared.config, sets_cookie);
        let Some(sink) = self.clients.get_mut(id) else {
            return;
        };
        if request.method == Method::Head {
            return sink.client.answer_with(&head, &mut self.shared);
        }
        if let Err(error) = sink.client.begin_with(&head, &self.shared) {
            return self.refuse(id, Status::ServiceUnavailable, &error.to_string());
        }
        sink.feed = Feed::Status;
        self.desk.viewers.push(Viewer {
            client: id,
            is_new: true,
            is_behind: true,
        });
        self.worker.set_viewing(true);
        self.ask_others();
    }

    fn tell_once(&mut self, id: ClientId, request: &Request, part: Once, sets_cookie: bool) {
        if !matches!(request.method, Method::Get | Method::Head) {
            let answer = Answer::new(Status::MethodNotAllowed, "use GET or HEAD");
            if let Some(sink) = self.clients.get_mut(id) {
                sink.client.answer(&answer, &mut self.shared);
            }
            return;
        }
        let Some(sink) = self.clients.get_mut(id) else {
            return;
        };
        sink.feed = Feed::Status;
        self.desk.waiting.push(Waiting {
            client: id,
            request: request.clone(),
            part,
            sets_cookie,
        });
        self.ask_others();
    }

    /// Has the other workers publish what they know, if there are any.
    fn ask_others(&mut self) {
        if !self.worker.is_alone() {
            let until = self.shared.now + STATUS_ANSWER_WAIT;
            self.desk.question = Some((self.worker.ask(), until));
        }
    }

    /// The bell has rung: somebody has changed something in the area.
    pub(super) fn answer_bell(&mut self) {
        self.worker.answer_bell();
        self.desk.mark();
        self.apply_log_level();
        self.carry_out_orders();
        self.look_for_news();
    }

    pub(super) fn apply_log_level(&self) {
        let level = usize::from(self.worker.area().log_level());
        if let Some(verbosity) = Verbosity::ALL.get(level) {
            log::set_max_level((*verbosity).into());
        }
    }

    /// Disconnects the clients that are to be disconnected.
    pub(super) fn carry_out_orders(&mut self) {
        let orders = self.worker.orders();
        if std::mem::replace(&mut self.desk.orders, orders) == orders {
            return;
        }
        let worker = &self.worker;
        let is_ordered = |sink: &ClientSlot| {
            let place = sink.record.as_deref().and_then(Record::place);
            place.is_some_and(|place| worker.is_disconnected(place))
        };
        let ordered: Vec<ClientId> = self
            .clients
            .iter()
            .filter(|(_, sink)| is_ordered(sink))
            .map(|(id, _)| id)
            .collect();
        for id in ordered {
            self.detach(id);
            if let Some(sink) = self.clients.get_mut(id) {
                sink.client.close(Ended::Disconnected);
            }
            self.after_turn(id);
        }
    }

    /// Tells viewers what there is to tell, if it is time; the last step of a tick.
    pub(super) fn tell_viewers(&mut self) {
        let now = self.shared.now;
        if let Some(question) = self.worker.question() {
            self.publish(Some(question));
            self.worker.area().ring_viewing();
        }
        if let Some((question, until)) = self.desk.question {
            if until > now && !self.worker.is_answered(question) {
                return;
            }
            self.desk.question = None;
        }
        self.answer_waiting();
        if !self.worker.area().is_viewed() {
            self.desk.told_at = None;
            return;
        }
        if self.desk.is_due(now) {
            self.tell(Audience::All);
            self.publish_for_viewers();
            self.desk.told_at = Some(now);
            self.desk.is_dirty = false;
        } else if self.desk.viewers.iter().any(|viewer| viewer.is_new) {
            self.tell(Audience::Newcomers);
        }
    }

    /// Lets the viewers of other workers know what this one does.
    fn publish_for_viewers(&mut self) {
        if self.worker.is_alone() {
            return;
        }
        self.publish(None);
        // Its own viewers have just been told; the beat needs no bell.
        if self.desk.is_dirty && !self.desk.has_viewers() {
            self.worker.area().ring_viewing();
        }
    }

    /// Publishes the facts of this worker.
    fn publish(&mut self, question: Option<u64>) {
        let mut facts = self.facts();
        // Should they ever be too long, half of a list is better than nothing; the rest is still counted.
        loop {
            let fits = self.worker.publish(&codec::encode(&mut facts), question);
            if fits || (facts.clients.is_empty() && facts.upstreams.is_empty()) {
                return;
            }
            facts.clients.truncate(facts.clients.len() / 2);
            facts.upstreams.truncate(facts.upstreams.len() / 2);
        }
    }

    /// The facts of all workers that were ever started, by number.
    fn all_facts(&mut self) -> Vec<WorkerFacts> {
        let mut own = Some(self.facts());
        let area = self.worker.area();
        let mut all = Vec::new();
        for number in 0..WORKERS_MAX {
            // After what was published, so that nothing is told that has not been noted.
            let processes: Vec<WorkerFacts> = Seat::of(number)
                .filter_map(|seat| match seat == self.worker.seat() {
                    true => own.take(),
                    false => codec::decode(&area.publication(seat).read()?),
                })
                .collect();
            let is_known = |record: &WorkerRecord| record.starts > 0 || !processes.is_empty();
            let Some(record) = area.worker(number).filter(is_known) else {
                continue;
            };
            let mut facts = WorkerFacts::of_record(number, &record);
            processes
                .into_iter()
                .for_each(|process| facts.join(process));
            all.push(facts);
        }
        all
    }

    /// This process is about to end: what it has counted must not be lost.
    pub fn sign_off(&mut self) {
        self.facts();
    }

    fn with_program<T>(&mut self, tell: impl FnOnce(&Program<'_>) -> T) -> T {
        let workers = self.all_facts();
        let area = self.worker.area();
        let uptime = area.uptime(self.shared.now);
        tell(&Program {
            start_ms: area.start_ms(),
            uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            log_level: area.log_level(),
            clients_max: self.shared.config.clients_max as u64,
            workers: &workers,
        })
    }

    /// Sends an event to every viewer of `audience` that has taken the last one.
    fn tell(&mut self, audience: Audience) {
        if !self.desk.has_viewers() {
            return;
        }
        let snapshot = self.with_program(Snapshot::new);
        let area = Arc::clone(self.worker.area());
        let mut lines = Vec::new();
        let missed = match audience {
            Audience::All => area.log().read(&mut self.desk.cursor, &mut lines),
            // Their log ends where that of the others does.
            Audience::Newcomers => Missed::default(),
        };
        let told_until = self.desk.cursor.last();
        let (mut incremental, mut full) = (None, None);
        let mut viewers = std::mem::take(&mut self.desk.viewers);
        for viewer in &mut viewers {
            if audience == Audience::Newcomers && !viewer.is_new {
                continue;
            }
            let Some(sink) = self.clients.get_mut(viewer.client) else {
                continue;
            };
            viewer.is_behind |= missed.cleared;
            if !sink.client.takes_event() {
                viewer.is_behind = true;
                continue;
            }
            let event = if viewer.is_behind {
                full.get_or_insert_with(|| {
                    event(&snapshot, true, &kept_lines(&area, told_until), 0)
                })
            } else {
                incremental.get_or_insert_with(|| event(&snapshot, false, &lines, missed.lines))
            };
            sink.client
                .push_event(LocalBody::Shared(Rc::clone(event)), self.shared.now);
            (viewer.is_new, viewer.is_behind) = (false, false);
        }
        let told: Vec<ClientId> = viewers.iter().map(|viewer| viewer.client).collect();
        self.desk.viewers = viewers;
        let made = [incremental, full].into_iter().flatten();
        self.desk
            .held
            .extend(made.map(|event| Rc::downgrade(&event)));
        self.bound_held_events();
        for id in told {
            self.after_turn(id);
        }
    }

    /// Lets go of viewers that have not taken the last event, when events that nobody takes fill the memory.
    fn bound_held_events(&mut self) {
        let held = &mut self.desk.held;
        held.retain(|event| event.strong_count() > 0);
        let lengths = held
            .iter()
            .filter_map(Weak::upgrade)
            .map(|event| event.len());
        if lengths.sum::<usize>() <= EVENT_BYTES_HELD_MAX {
            return;
        }
        let behind = self.desk.viewers.iter().filter(|viewer| viewer.is_behind);
        for viewer in behind {
            if let Some(sink) = self.clients.get_mut(viewer.client) {
                sink.client.close(Ended::Stalled);
            }
        }
    }

    /// Answers those who want to know once.
    fn answer_waiting(&mut self) {
        if self.desk.waiting.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut self.desk.waiting);
        let area = Arc::clone(self.worker.area());
        let wants = |part| waiting.iter().any(|waiting| waiting.part == part);
        let (wants_json, wants_metrics) = (wants(Once::Json), wants(Once::Metrics));
        let (json, metrics) = self.with_program(|program| {
            let json = wants_json.then(|| {
                let lines = kept_lines(&area, u64::MAX);
                Snapshot::new(program).with_logs(&Logs {
                    full: true,
                    lines: &lines,
                    missed: 0,
                })
            });
            (json, wants_metrics.then(|| metrics::text(program)))
        });
        let resource = |content_type, text: Option<String>| {
            let bytes = text.unwrap_or_default().into_bytes();
            Resource::new(content_type, LocalBody::Shared(bytes.into())).with_cache(Cache::Never)
        };
        let json = resource("application/json", json);
        let metrics = resource(metrics::CONTENT_TYPE, metrics);
        for Waiting {
            client,
            request,
            part,
            sets_cookie,
        } in waiting
        {
            let resource = match part {
                Once::Json => &json,
                Once::Metrics => &metrics,
            };
            let reply = resource.reply(&request, &self.shared.config, sets_cookie);
            if let Some(sink) = self.clients.get_mut(client) {
                sink.feed = Feed::None;
                sink.client.answer_resource(reply, &mut self.shared);
            }
            self.after_turn(client);
        }
    }
}

/// The lines of the log that are kept, up to the number `last`.
fn kept_lines(area: &Area, last: u64) -> Vec<Line> {
    let mut lines = Vec::new();
    area.log().read(&mut area.log().oldest(), &mut lines);
    lines.retain(|line| line.number <= last);
    lines
}

fn event(snapshot: &Snapshot, full: bool, lines: &[Line], missed: u64) -> Rc<[u8]> {
    let object = snapshot.with_logs(&Logs {
        full,
        lines,
        missed,
    });
    snapshot::event(&object).into_bytes().into()
}
