//! What the processes of one flowgate share: a memory area and a bell, both made before the first fork.
//!
//! Owns the layout of that memory. Everything in it is an atomic word that any process may read and write at any
//! time; whatever consists of several words ([`places`], [`log_ring`], [`publication`], [`handout`]) says how a
//! reader is kept from seeing half of it. A process that dies leaves nothing locked: [`Area::reclaim`] gives back what
//! it held.
//!
//! | Part | Written by | Is |
//! |---|---|---|
//! | start, log level, supervisor, generation | the supervisor; any worker for the level | plain words |
//! | workers | the processes of a worker | how often it was started, numbers of clients |
//! | seats | each process its own | the process, what it is wanted for, what it has counted |
//! | [`places`] | the process that admits a client | the client limit over all workers, and who is to be disconnected |
//! | [`log_ring`] | everybody | the latest lines of the log |
//! | [`handout`] | the process that holds it | what one has fetched for all, and for those that come after it |
//! | [`publication`] | each process its own | what a process says of its clients to the viewers of all |
//!
//! A worker that is replaced has two processes for a while, hence two [`Seat`]s, and never more than that. What a seat
//! has counted stays when its process ends, and the next one at that seat goes on from there: no total ever goes down.
//!
//! It does not know what is published, nor what a log line means.

pub mod handout;
pub mod log_ring;
pub mod places;
pub mod publication;
mod worker;

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::limits::{COUNTERS_MAX, HANDOUTS, PLACES_MAX, PROCESSES_PER_WORKER, WORKERS_MAX};
use crate::sys::bell::Bell;
use crate::sys::shared_memory::SharedMemory;
use handout::Handout;
use log_ring::LogRing;
use places::Places;
use publication::Publication;
pub use worker::Worker;

/// Seats of all workers.
const SEATS_MAX: usize = WORKERS_MAX * PROCESSES_PER_WORKER;

/// The producer number of the supervisor in the log ring; others have that of their [`Seat`].
pub const SUPERVISOR: usize = SEATS_MAX;

/// What a process has counted, in an order of its own choice.
pub type Counters = [u64; COUNTERS_MAX];

// Words of the head.
const START_MS: usize = 0;
const LOG_LEVEL: usize = 1;
const SUPERVISOR_PID: usize = 2;
const VIEWING: usize = 3;
const ASKED: usize = 4;
const GENERATION: usize = 5;
const HEAD_WORDS: usize = 8;

// Words of each worker.
const STARTS: usize = 0;
const SEQUENCE: usize = 1;
const WORKER_WORDS: usize = 2;

// Words of each seat.
const PID: usize = 0;
const START: usize = 1;
const ORDERS: usize = 2;
const RUNG: usize = 3;
const ANSWERED: usize = 4;
const FINISHED_BYTES: usize = 5;
const TOLD_BYTES: usize = 6;
const COUNTERS_AT: usize = 7;
const SEAT_WORDS: usize = COUNTERS_AT + COUNTERS_MAX;

const WORKERS_AT: usize = HEAD_WORDS;
const SEATS_AT: usize = WORKERS_AT + WORKERS_MAX * WORKER_WORDS;
const PLACES_AT: usize = SEATS_AT + SEATS_MAX * SEAT_WORDS;
const LOG_AT: usize = PLACES_AT + places::WORDS;
const PUBLICATIONS_AT: usize = LOG_AT + log_ring::WORDS;
const HANDOUTS_AT: usize = PUBLICATIONS_AT + SEATS_MAX * publication::WORDS;
const WORDS: usize = HANDOUTS_AT + HANDOUTS * handout::WORDS;

const _: () = {
    // `VIEWING` has a bit for each seat; places and log lines name their process in a byte, 0 for nobody.
    assert!(SEATS_MAX <= 64 && SUPERVISOR < 255);
    assert!(PLACES_MAX <= u32::MAX as usize);
};

/// The part of the area that belongs to one process of a worker, as long as that lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat(usize);

impl Seat {
    /// The seats of worker `worker`; none beyond [`WORKERS_MAX`].
    pub fn of(worker: usize) -> impl Iterator<Item = Self> {
        let seats = PROCESSES_PER_WORKER * worker..PROCESSES_PER_WORKER * (worker + 1);
        seats.filter(|seat| *seat < SEATS_MAX).map(Self)
    }

    /// Whose it is.
    pub fn worker(self) -> usize {
        self.0 / PROCESSES_PER_WORKER
    }

    /// Its number in the log ring.
    pub fn writer(self) -> usize {
        self.0
    }

    fn all() -> impl Iterator<Item = Self> {
        (0..SEATS_MAX).map(Self)
    }
}

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

    /// The time that was `uptime` after the program's start.
    pub fn instant(&self, uptime: Duration) -> Instant {
        self.started + uptime
    }

    /// Changes whenever there is a new configuration.
    pub fn generation(&self) -> u64 {
        self.head(GENERATION).load(Ordering::Acquire)
    }

    /// There is a new configuration. To be called by the supervisor before anybody is told.
    pub fn begin_generation(&self) {
        self.head(GENERATION).fetch_add(1, Ordering::AcqRel);
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
        let starts = self.worker_word(worker, STARTS).load(Ordering::Relaxed);
        let mut record = WorkerRecord {
            starts,
            ..WorkerRecord::default()
        };
        let mut latest = 0;
        for seat in Seat::of(worker) {
            let word = |word| self.seat_word(seat, word).load(Ordering::Relaxed);
            if word(PID) != 0 && word(START) >= latest {
                (record.pid, latest) = (word(PID) as u32, word(START));
            }
            // What was told counts as well as what is over: clients may have come to their end since.
            record.client_bytes += word(TOLD_BYTES).max(word(FINISHED_BYTES));
            for (sum, counter) in record.counters.iter_mut().zip(self.counters(seat)) {
                *sum += counter.load(Ordering::Relaxed);
            }
            record.clients += self.places().count_of(seat.0);
        }
        Some(record)
    }

    /// The process at `seat`, if one lives.
    pub fn process(&self, seat: Seat) -> Option<u32> {
        let pid = self.seat_word(seat, PID).load(Ordering::Relaxed) as u32;
        (pid != 0).then_some(pid)
    }

    /// The process at `seat` has ended: takes back what it held, and tells how many clients that were. What it has
    /// counted stays.
    ///
    /// To be called by the supervisor before another process takes the seat.
    pub fn reclaim(&self, seat: Seat) -> usize {
        self.seat_word(seat, PID).store(0, Ordering::Relaxed);
        self.head(VIEWING)
            .fetch_and(!(1 << seat.0), Ordering::Relaxed);
        self.publication(seat).clear();
        self.log().release(seat.writer());
        for number in 0..HANDOUTS {
            self.handout(number).let_go(seat);
        }
        let reclaimed = self.places().reclaim(seat.0);
        self.ring_all();
        reclaimed
    }

    /// The descriptor that becomes readable, as an edge, when anybody is rung for.
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Wakes all processes of workers: something was changed that concerns them.
    pub fn ring_all(&self) {
        self.ring(u64::MAX);
    }

    /// Wakes the processes that have viewers.
    pub fn ring_viewing(&self) {
        let viewing = self.head(VIEWING).load(Ordering::Relaxed);
        if viewing != 0 {
            self.ring(viewing);
        }
    }

    /// Wakes those at the seats whose bit is set, unless all of them have been rung for already.
    fn ring(&self, seats: u64) {
        let mut is_new = false;
        for seat in Seat::all().filter(|seat| seats >> seat.0 & 1 == 1) {
            is_new |= self.seat_word(seat, RUNG).swap(1, Ordering::AcqRel) == 0;
        }
        if is_new {
            self.bell.ring();
        }
    }

    /// Whether any process has viewers of the status.
    pub fn is_viewed(&self) -> bool {
        self.head(VIEWING).load(Ordering::Relaxed) != 0
    }

    /// Asks that the client with this id be disconnected. Tells whether there is one; its worker is woken.
    pub fn disconnect(&self, client_id: &str) -> bool {
        let Some(seat) = self.places().disconnect(client_id) else {
            return false;
        };
        if seat < SEATS_MAX {
            self.seat_word(Seat(seat), ORDERS)
                .fetch_add(1, Ordering::Release);
            self.ring(1 << seat);
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

    /// What the process at `seat` says of itself.
    pub fn publication(&self, seat: Seat) -> Publication<'_> {
        let at = PUBLICATIONS_AT + seat.0 * publication::WORDS;
        Publication::new(self.part(at, publication::WORDS))
    }

    /// One of the [`HANDOUTS`].
    pub fn handout(&self, number: usize) -> Handout<'_> {
        debug_assert!(number < HANDOUTS, "there is no handout {number}");
        let at = HANDOUTS_AT + number * handout::WORDS;
        Handout::new(self.part(at, handout::WORDS))
    }

    /// Gives up a handout, if the process at `seat` holds it, and wakes those who may want it.
    pub fn let_go(&self, number: usize, seat: Seat) {
        if self.handout(number).let_go(seat) {
            self.ring_all();
        }
    }

    fn head(&self, word: usize) -> &AtomicU64 {
        &self.memory[word]
    }

    fn worker_word(&self, worker: usize, word: usize) -> &AtomicU64 {
        debug_assert!(worker < WORKERS_MAX, "there is no worker {worker}");
        &self.memory[WORKERS_AT + worker * WORKER_WORDS + word]
    }

    fn seat_word(&self, seat: Seat, word: usize) -> &AtomicU64 {
        &self.memory[SEATS_AT + seat.0 * SEAT_WORDS + word]
    }

    fn counters(&self, seat: Seat) -> &[AtomicU64] {
        let at = SEATS_AT + seat.0 * SEAT_WORDS + COUNTERS_AT;
        self.part(at, COUNTERS_MAX)
    }

    fn part(&self, at: usize, words: usize) -> &[AtomicU64] {
        &self.memory[at..at + words]
    }
}

/// What is known of a worker, over all its processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkerRecord {
    /// Its process, the newer of two; 0 while there is none.
    pub pid: u32,
    /// How often it was started, the first time included.
    pub starts: u64,
    /// Bytes sent to its clients since the program's start, as far as they were ever told. Never goes down.
    pub client_bytes: u64,
    /// What its processes have counted, as far as they have said so. Never goes down.
    pub counters: Counters,
    /// Its clients.
    pub clients: usize,
}

impl WorkerRecord {
    /// How often it was started again.
    pub fn restarts(&self) -> u64 {
        self.starts.saturating_sub(1)
    }
}

/// What stands for bytes in a word, never zero. The keys of this hash are the same in all processes.
fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::unix::SourceFd;
    use mio::{Events, Interest, Poll, Token};
    use std::os::fd::AsRawFd;
    use std::sync::Arc;

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

    /// The first seat of each worker, or its second.
    fn seat(worker: usize, which: usize) -> Seat {
        Seat::of(worker).nth(which).expect("a seat")
    }

    fn workers<const N: usize>(area: &Arc<Area>) -> [Worker; N] {
        std::array::from_fn(|number| Worker::new(Arc::clone(area), seat(number, 0)))
    }

    #[test]
    fn every_worker_has_seats_of_its_own() {
        let seats: Vec<Seat> = (0..WORKERS_MAX).flat_map(Seat::of).collect();
        assert_eq!(seats, Seat::all().collect::<Vec<_>>());
        assert!((0..WORKERS_MAX).all(|worker| Seat::of(worker).all(|one| one.worker() == worker)));
        assert_eq!(Seat::of(WORKERS_MAX).count(), 0);
    }

    #[test]
    fn a_dead_process_holds_nothing_and_its_bytes_stay() {
        let area = area();
        let workers: [Worker; 2] = workers(&area);
        for worker in &workers {
            worker.begin(100 + worker.number() as u32);
            assert!(worker.admit(4).is_some() && worker.admit(4).is_some());
            worker.set_viewing(true);
            worker.publish(b"alive", None);
            worker.count_finished(10);
        }
        assert_eq!(workers[0].admit(4), None);
        assert_eq!(area.reclaim(workers[1].seat()), 2);
        let expected = WorkerRecord {
            starts: 1,
            client_bytes: 10,
            ..WorkerRecord::default()
        };
        assert_eq!(area.worker(1), Some(expected));
        assert_eq!(area.publication(workers[1].seat()).read(), None);
        let published = area.publication(workers[0].seat()).read();
        assert_eq!(published.as_deref(), Some(&b"alive"[..]));
        assert!(area.is_viewed() && workers[0].admit(4).is_some());
        area.reclaim(workers[0].seat());
        assert!(!area.is_viewed());
        workers[1].begin(7);
        assert_eq!(area.worker(1).map(|worker| worker.restarts()), Some(1));
        assert_eq!(area.worker(WORKERS_MAX), None);
    }

    #[test]
    fn two_processes_of_a_worker_do_not_disturb_each_other() {
        let area = area();
        let old = Worker::new(Arc::clone(&area), seat(3, 1));
        old.begin(100);
        let place = old.admit(2).expect("room");
        old.name(place, "old");
        old.publish(b"old", None);
        let new = Worker::new(Arc::clone(&area), seat(3, 0));
        new.begin(101);
        assert!(new.admit(2).is_some());
        new.publish(b"new", None);
        let record = area.worker(3).expect("started");
        assert_eq!((record.pid, record.restarts(), record.clients), (101, 1, 2));
        assert_eq!(
            (old.next_sequence(), new.next_sequence()),
            (0, 1),
            "names are unique"
        );
        assert!(area.disconnect("old"));
        assert_eq!((old.orders(), new.orders()), (1, 0));
        assert_eq!(area.reclaim(old.seat()), 1, "it was killed");
        let record = area.worker(3).expect("started");
        assert_eq!((record.pid, record.clients), (101, 1));
        assert_eq!(
            area.publication(new.seat()).read().as_deref(),
            Some(&b"new"[..])
        );
    }

    #[test]
    fn totals_never_go_down_however_processes_end() {
        let area = area();
        let totals = || {
            let record = area.worker(0).expect("started");
            (record.client_bytes, record.counters[5])
        };
        let mut counters = [0; COUNTERS_MAX];
        let first = Worker::new(Arc::clone(&area), seat(0, 0));
        first.begin(1);
        first.count_finished(100);
        counters[5] = 7;
        first.note(50, &counters);
        assert_eq!(totals(), (150, 7));
        // A client of which 50 bytes were told has gone with 60.
        first.count_finished(60);
        assert_eq!(totals(), (160, 7));
        counters[5] = 8;
        first.note(1000, &counters);
        assert_eq!(totals(), (1160, 8));
        // Its successor overlaps it, then it is killed.
        let second = Worker::new(Arc::clone(&area), seat(0, 1));
        second.begin(2);
        counters[5] = 1;
        second.note(5, &counters);
        assert_eq!(totals(), (1165, 9));
        area.reclaim(first.seat());
        assert_eq!(totals(), (1165, 9));
        let third = Worker::new(Arc::clone(&area), seat(0, 0));
        third.begin(3);
        assert_eq!(totals(), (1165, 9));
        counters[5] = 0;
        third.note(0, &counters);
        third.count_finished(10);
        assert_eq!(totals(), (1175, 9));
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
        let worker = Worker::new(Arc::clone(&area), seat(3, 0));
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
        let worker = Worker::new(Arc::clone(&area), seat(2, 1));
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
        let workers: [Worker; 3] = workers(&area);
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
