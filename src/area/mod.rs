//! What the processes of one flowgate share: a memory area and a bell, both made before the first fork.
//!
//! Owns the layout of that memory. Everything in it is an atomic word that any process may read and write at any
//! time; whatever consists of several words ([`places`], [`log_ring`], [`publication`]) says how a reader is kept
//! from seeing half of it. A process that dies leaves nothing locked: [`Area::reclaim`] gives back what it held.
//!
//! | Part | Written by | Is |
//! |---|---|---|
//! | start, log level, supervisor | the supervisor; any worker for the level | plain words |
//! | workers | each worker its own | process, restarts, bytes of finished clients |
//! | [`places`] | the worker that admits a client | the client limit over all workers, and who is to be disconnected |
//! | [`log_ring`] | everybody | the latest lines of the log |
//! | [`publication`] | each worker its own | what a worker says of its clients to the viewers of all |
//!
//! It does not know what is published, nor what a log line means.

pub mod log_ring;
pub mod places;
pub mod publication;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::limits::{PLACES_MAX, WORKERS_MAX};
use crate::sys::bell::Bell;
use crate::sys::shared_memory::SharedMemory;
use log_ring::LogRing;
use places::{Place, Places};
use publication::Publication;

/// The producer number of the supervisor in the log ring; workers have their index.
pub const SUPERVISOR: usize = WORKERS_MAX;

// Words of the head.
const START_MS: usize = 0;
const LOG_LEVEL: usize = 1;
const SUPERVISOR_PID: usize = 2;
const VIEWING: usize = 3;
const ASKED: usize = 4;
const HEAD_WORDS: usize = 8;

// Words of each worker.
const PID: usize = 0;
const STARTS: usize = 1;
const FINISHED_BYTES: usize = 2;
const SEQUENCE: usize = 3;
const ORDERS: usize = 4;
const RUNG: usize = 5;
const ANSWERED: usize = 6;
const WORKER_WORDS: usize = 8;

const WORKERS_AT: usize = HEAD_WORDS;
const PLACES_AT: usize = WORKERS_AT + WORKERS_MAX * WORKER_WORDS;
const LOG_AT: usize = PLACES_AT + places::WORDS;
const PUBLICATIONS_AT: usize = LOG_AT + log_ring::WORDS;
const WORDS: usize = PUBLICATIONS_AT + WORKERS_MAX * publication::WORDS;

const _: () = {
    // `VIEWING` has a bit for each worker; places and log lines name their process in a byte, 0 for nobody.
    assert!(WORKERS_MAX <= 64 && SUPERVISOR < 255);
    assert!(PLACES_MAX <= u32::MAX as usize);
};

/// The shared memory and the bell. Made once, then inherited by every process that is forked.
#[derive(Debug)]
pub struct Area {
    memory: SharedMemory,
    bell: Bell,
    /// The monotonic clock is the same for all processes, so a copy in each of them will do.
    started: Instant,
}

impl Area {
    /// Makes the area. `now` and `unix_ms` (since 1970, UTC) are the time of the program's start, `log_level` is what
    /// [`Area::log_level`] begins with.
    ///
    /// # Errors
    ///
    /// What the system reports when it gives no memory or no descriptor.
    pub fn new(now: Instant, unix_ms: u64, log_level: u8) -> io::Result<Self> {
        let area = Self {
            memory: SharedMemory::new(WORDS)?,
            bell: Bell::new()?,
            started: now,
        };
        area.head(START_MS).store(unix_ms, Ordering::Relaxed);
        area.set_log_level(log_level);
        Ok(area)
    }

    /// Milliseconds since 1970 at the program's start.
    pub fn start_ms(&self) -> u64 {
        self.head(START_MS).load(Ordering::Relaxed)
    }

    /// How long the program has been running at `now`.
    pub fn uptime(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    /// `now` in milliseconds since 1970, by the clock of the start: it never jumps.
    pub fn unix_ms(&self, now: Instant) -> u64 {
        self.start_ms() + self.uptime(now).as_millis() as u64
    }

    /// The log level of all processes, as a number of [`Verbosity`](crate::config::Verbosity).
    pub fn log_level(&self) -> u8 {
        self.head(LOG_LEVEL).load(Ordering::Relaxed) as u8
    }

    /// Changes the log level of all processes; each applies it when it is rung for.
    pub fn set_log_level(&self, level: u8) {
        self.head(LOG_LEVEL)
            .store(u64::from(level), Ordering::Relaxed);
        self.ring_all();
    }

    /// Notes which process is the supervisor.
    pub fn set_supervisor(&self, pid: u32) {
        self.head(SUPERVISOR_PID)
            .store(u64::from(pid), Ordering::Relaxed);
    }

    /// The supervisor's process, once it is known.
    pub fn supervisor(&self) -> Option<u32> {
        let pid = self.head(SUPERVISOR_PID).load(Ordering::Relaxed) as u32;
        (pid != 0).then_some(pid)
    }

    /// What is known of a worker; `None` beyond [`WORKERS_MAX`].
    pub fn worker(&self, worker: usize) -> Option<WorkerRecord> {
        if worker >= WORKERS_MAX {
            return None;
        }
        let word = |word| self.worker_word(worker, word).load(Ordering::Relaxed);
        Some(WorkerRecord {
            pid: word(PID) as u32,
            starts: word(STARTS),
            finished_bytes: word(FINISHED_BYTES),
            clients: self.places().count_of(worker),
        })
    }

    /// A worker has ended: takes back what it held, and tells how many clients that were. Its bytes stay counted.
    ///
    /// To be called by the supervisor before the worker is started again.
    pub fn reclaim(&self, worker: usize) -> usize {
        self.worker_word(worker, PID).store(0, Ordering::Relaxed);
        self.head(VIEWING)
            .fetch_and(!(1 << worker), Ordering::Relaxed);
        self.publication(worker).clear();
        self.log().release(worker);
        let reclaimed = self.places().reclaim(worker);
        self.ring_all();
        reclaimed
    }

    /// The descriptor that becomes readable, as an edge, when anybody is rung for.
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Wakes all workers: something was changed that concerns them.
    pub fn ring_all(&self) {
        self.ring(u64::MAX);
    }

    /// Wakes the workers that have viewers.
    pub fn ring_viewing(&self) {
        let viewing = self.head(VIEWING).load(Ordering::Relaxed);
        if viewing != 0 {
            self.ring(viewing);
        }
    }

    /// Wakes the workers whose bit is set, unless all of them have been rung for already.
    fn ring(&self, workers: u64) {
        let mut is_new = false;
        for worker in (0..WORKERS_MAX).filter(|worker| workers >> worker & 1 == 1) {
            is_new |= self.worker_word(worker, RUNG).swap(1, Ordering::AcqRel) == 0;
        }
        if is_new {
            self.bell.ring();
        }
    }

    /// Whether any worker has viewers of the status.
    pub fn is_viewed(&self) -> bool {
        self.head(VIEWING).load(Ordering::Relaxed) != 0
    }

    /// Asks that the client with this id be disconnected. Tells whether there is one; its worker is woken.
    pub fn disconnect(&self, client_id: &str) -> bool {
        let Some(worker) = self.places().disconnect(client_id) else {
            return false;
        };
        if worker < WORKERS_MAX {
            self.worker_word(worker, ORDERS)
                .fetch_add(1, Ordering::Release);
            self.ring(1 << worker);
        }
        true
    }

    /// The client limit.
    pub fn places(&self) -> Places<'_> {
        Places::new(self.part(PLACES_AT, places::WORDS))
    }

    /// The latest lines of the log.
    pub fn log(&self) -> LogRing<'_> {
        LogRing::new(self.part(LOG_AT, log_ring::WORDS))
    }

    /// What a worker says of itself.
    ///
    /// # Panics
    ///
    /// If `worker` is not below [`WORKERS_MAX`].
    pub fn publication(&self, worker: usize) -> Publication<'_> {
        assert!(worker < WORKERS_MAX, "there is no worker {worker}");
        let at = PUBLICATIONS_AT + worker * publication::WORDS;
        Publication::new(self.part(at, publication::WORDS))
    }

    fn head(&self, word: usize) -> &AtomicU64 {
        &self.memory[word]
    }

    fn worker_word(&self, worker: usize, word: usize) -> &AtomicU64 {
        assert!(worker < WORKERS_MAX, "there is no worker {worker}");
        &self.memory[WORKERS_AT + worker * WORKER_WORDS + word]
    }

    fn part(&self, at: usize, words: usize) -> &[AtomicU64] {
        &self.memory[at..at + words]
    }
}

/// What is known of a worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkerRecord {
    /// Its process, 0 while there is none.
    pub pid: u32,
    /// How often it was started, the first time included.
    pub starts: u64,
    /// Bytes sent to its clients that have gone, over all its processes.
    pub finished_bytes: u64,
    /// Its clients.
    pub clients: usize,
}

impl WorkerRecord {
    /// How often it was started again.
    pub fn restarts(&self) -> u64 {
        self.starts.saturating_sub(1)
    }
}

/// The area as one worker uses it.
#[derive(Debug, Clone)]
pub struct Worker {
    area: Arc<Area>,
    index: usize,
}

impl Worker {
    /// The view of worker `index`.
    ///
    /// # Panics
    ///
    /// If `index` is not below [`WORKERS_MAX`].
    pub fn new(area: Arc<Area>, index: usize) -> Self {
        assert!(index < WORKERS_MAX, "there is no worker {index}");
        Self { area, index }
    }

    /// The only worker of an area of its own, for a program that is one process.
    ///
    /// # Errors
    ///
    /// As [`Area::new`].
    pub fn alone(now: Instant, unix_ms: u64) -> io::Result<Self> {
        Ok(Self::new(Arc::new(Area::new(now, unix_ms, 1)?), 0))
    }

    /// The whole area.
    pub fn area(&self) -> &Arc<Area> {
        &self.area
    }

    /// The worker's number, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The worker's process has begun.
    pub fn begin(&self, pid: u32) {
        self.word(PID).store(u64::from(pid), Ordering::Relaxed);
        self.word(STARTS).fetch_add(1, Ordering::Relaxed);
        // Nobody has heard what was rung before; what it was rung for is looked at now.
        self.word(RUNG).store(0, Ordering::Release);
    }

    /// Takes a client on, unless all workers together serve `clients_max` already. However many ask at the same time,
    /// never more are admitted; who is refused has seen every place taken.
    pub fn admit(&self, clients_max: usize) -> Option<Place> {
        self.area.places().claim(self.index, clients_max)
    }

    /// A number for a client, which no other client of this worker has had since the program's start.
    pub fn next_sequence(&self) -> u64 {
        self.word(SEQUENCE).fetch_add(1, Ordering::Relaxed)
    }

    /// From now on `client_id` names the client at `place`.
    pub fn name(&self, place: Place, client_id: &str) {
        self.area.places().name(place, client_id);
    }

    /// The client at `place` has gone, or does not count any more.
    pub fn release(&self, place: Place) {
        self.area.places().release(place);
    }

    /// Counts what was sent to a client that has gone.
    pub fn count_finished(&self, bytes: u64) {
        self.word(FINISHED_BYTES)
            .fetch_add(bytes, Ordering::Relaxed);
    }

    /// Changes when a client of this worker is to be disconnected; [`Worker::is_disconnected`] tells which.
    pub fn orders(&self) -> u64 {
        self.word(ORDERS).load(Ordering::Acquire)
    }

    /// Whether the client at `place` is to be disconnected.
    pub fn is_disconnected(&self, place: Place) -> bool {
        self.area.places().is_disconnected(place)
    }

    /// To be called when the bell has rung, before anything is looked at. Tells whether it rang for this worker.
    pub fn answer_bell(&self) -> bool {
        self.word(RUNG).swap(0, Ordering::AcqRel) == 1
    }

    /// Notes whether this worker has viewers. The others publish what they know while any worker has.
    pub fn set_viewing(&self, viewing: bool) {
        let bit = 1 << self.index;
        let words = self.area.head(VIEWING);
        if viewing {
            words.fetch_or(bit, Ordering::AcqRel);
        } else {
            words.fetch_and(!bit, Ordering::AcqRel);
        }
    }

    /// Whether no other worker lives.
    pub fn is_alone(&self) -> bool {
        (0..WORKERS_MAX)
            .filter(|worker| *worker != self.index)
            .all(|worker| self.area.worker_word(worker, PID).load(Ordering::Relaxed) == 0)
    }

    /// Asks the other workers to publish what they know now. [`Worker::is_answered`] tells when they have.
    pub fn ask(&self) -> u64 {
        let asked = self.area.head(ASKED).fetch_add(1, Ordering::AcqRel) + 1;
        self.word(ANSWERED).store(asked, Ordering::Release);
        self.area.ring_all();
        asked
    }

    /// The latest question of another worker, if this one has not answered it.
    pub fn question(&self) -> Option<u64> {
        let asked = self.area.head(ASKED).load(Ordering::Acquire);
        (asked != self.word(ANSWERED).load(Ordering::Relaxed)).then_some(asked)
    }

    /// Publishes `bytes`, which answers everything up to `question`. Tells whether they fit, that is, whether they are
    /// no more than [`PUBLICATION_BYTES_MAX`](crate::limits::PUBLICATION_BYTES_MAX).
    pub fn publish(&self, bytes: &[u8], question: Option<u64>) -> bool {
        let fits = self.area.publication(self.index).write(bytes);
        if let Some(question) = question {
            self.word(ANSWERED).store(question, Ordering::Release);
        }
        fits
    }

    /// Whether every worker that lives has published since `question` was asked.
    pub fn is_answered(&self, question: u64) -> bool {
        (0..WORKERS_MAX).all(|worker| {
            let word = |word| self.area.worker_word(worker, word).load(Ordering::Acquire);
            word(PID) == 0 || word(ANSWERED) >= question
        })
    }

    fn word(&self, word: usize) -> &AtomicU64 {
        self.area.worker_word(self.index, word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::unix::SourceFd;
    use mio::{Events, Interest, Poll, Token};
    use std::os::fd::AsRawFd;

    fn area() -> Arc<Area> {
        #[allow(clippy::disallowed_methods, reason = "any time will do")]
        let now = Instant::now();
        Arc::new(Area::new(now, 1_700_000_000_000, 1).expect("memory"))
    }

    #[test]
    fn time_of_the_area_goes_on_from_its_start() {
        let area = area();
        let later = area.started + Duration::from_millis(2500);
        assert_eq!(area.uptime(later), Duration::from_millis(2500));
        assert_eq!(area.unix_ms(later), 1_700_000_002_500);
    }

    #[test]
    fn a_dead_worker_holds_nothing_and_its_bytes_stay() {
        let area = area();
        let workers = [0, 1].map(|index| Worker::new(Arc::clone(&area), index));
        for worker in &workers {
            worker.begin(100 + worker.index() as u32);
            assert!(worker.admit(4).is_some() && worker.admit(4).is_some());
            worker.set_viewing(true);
            worker.publish(b"alive", None);
            worker.count_finished(10);
        }
        assert_eq!(workers[0].admit(4), None);
        assert_eq!(area.reclaim(1), 2);
        let expected = WorkerRecord {
            pid: 0,
            starts: 1,
            finished_bytes: 10,
            clients: 0,
        };
        assert_eq!(area.worker(1), Some(expected));
        assert_eq!(area.publication(1).read(), None);
        assert_eq!(area.publication(0).read().as_deref(), Some(&b"alive"[..]));
        assert!(area.is_viewed() && workers[0].admit(4).is_some());
        area.reclaim(0);
        assert!(!area.is_viewed());
        workers[1].begin(7);
        assert_eq!(area.worker(1).map(|worker| worker.restarts()), Some(1));
        assert_eq!(area.worker(WORKERS_MAX), None);
    }

    #[test]
    fn the_bell_rings_once_until_it_is_answered() {
        let area = area();
        let mut poll = Poll::new().expect("a poll");
        let fd = area.bell().as_raw_fd();
        poll.registry()
            .register(&mut SourceFd(&fd), Token(0), Interest::READABLE)
            .expect("registered");
        let mut events = Events::with_capacity(4);
        let mut rings = || {
            poll.poll(&mut events, Some(Duration::ZERO))
                .expect("polled");
            events.iter().count()
        };
        let worker = Worker::new(Arc::clone(&area), 3);
        area.ring_all();
        rings();
        worker.begin(1);
        area.ring_viewing();
        assert_eq!(rings(), 0, "nobody views");
        worker.set_viewing(true);
        area.ring_viewing();
        assert_eq!(rings(), 1);
        area.ring_viewing();
        assert_eq!(rings(), 0, "it has been rung for already");
        assert!(worker.answer_bell() && !worker.answer_bell());
        area.ring_viewing();
        assert_eq!(rings(), 1);
    }

    #[test]
    fn only_the_named_client_is_disconnected() {
        let area = area();
        let worker = Worker::new(Arc::clone(&area), 2);
        let places = [1, 2].map(|number| {
            let place = worker.admit(8).expect("room");
            worker.name(place, &format!("192.0.2.1:{number}-worker2-seq{number}"));
            place
        });
        let before = worker.orders();
        assert!(!area.disconnect("192.0.2.1:3-worker2-seq3"));
        assert_eq!(worker.orders(), before);
        assert!(area.disconnect("192.0.2.1:2-worker2-seq2"));
        assert_ne!(worker.orders(), before);
        let disconnected = places.map(|place| worker.is_disconnected(place));
        assert_eq!(disconnected, [false, true]);
        worker.release(places[1]);
        assert!(!area.disconnect("192.0.2.1:2-worker2-seq2"), "it is gone");
    }

    #[test]
    fn a_question_is_answered_when_all_who_live_have_published() {
        let area = area();
        let workers = [0, 1, 2].map(|index| Worker::new(Arc::clone(&area), index));
        workers[0].begin(10);
        assert!(workers[0].is_alone() && !workers[1].is_alone());
        workers[1].begin(11);
        workers[2].begin(12);
        assert!(!workers[0].is_alone());
        let question = workers[0].ask();
        assert_eq!(workers[0].question(), None, "it knows the answer itself");
        for worker in &workers[1..] {
            assert!(!workers[0].is_answered(question));
            assert_eq!(worker.question(), Some(question));
            worker.publish(b"", worker.question());
            assert_eq!(worker.question(), None);
        }
        assert!(workers[0].is_answered(question));
    }
}
