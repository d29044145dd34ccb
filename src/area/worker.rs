//! The area as one process of a worker sees it: its own seat, and what it does to the rest.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::places::Place;
use super::{
    ANSWERED, ASKED, Area, Counters, FINISHED_BYTES, ORDERS, PID, RUNG, SEQUENCE, START, STARTS,
    Seat, TOLD_BYTES, VIEWING,
};
use crate::limits::COUNTERS_MAX;

/// The area as one process of a worker uses it.
#[derive(Debug, Clone)]
pub struct Worker {
    area: Arc<Area>,
    seat: Seat,
    /// What was counted at this seat before.
    base: Counters,
}

impl Worker {
    /// The view from `seat`, which nobody else has.
    pub fn new(area: Arc<Area>, seat: Seat) -> Self {
        let mut base = [0; COUNTERS_MAX];
        for (before, counter) in base.iter_mut().zip(area.counters(seat)) {
            *before = counter.load(Ordering::Relaxed);
        }
        Self { area, seat, base }
    }

    /// The only worker of an area of its own, for a program that is one process.
    ///
    /// # Errors
    ///
    /// As [`Area::new`].
    pub fn alone(now: Instant, unix_ms: u64) -> io::Result<Self> {
        Ok(Self::new(Arc::new(Area::new(now, unix_ms, 1)?), Seat(0)))
    }

    /// The whole area.
    pub fn area(&self) -> &Arc<Area> {
        &self.area
    }

    /// The worker's number, from 0.
    pub fn number(&self) -> usize {
        self.seat.worker()
    }

    /// Where it sits.
    pub fn seat(&self) -> Seat {
        self.seat
    }

    /// The process has begun.
    pub fn begin(&self, pid: u32) {
        let starts = self.area.worker_word(self.number(), STARTS);
        let start = starts.fetch_add(1, Ordering::Relaxed) + 1;
        self.word(START).store(start, Ordering::Relaxed);
        self.word(PID).store(u64::from(pid), Ordering::Relaxed);
        // Clients that were there when the process before died, and whose bytes were told.
        let told = self.word(TOLD_BYTES).load(Ordering::Relaxed);
        self.word(FINISHED_BYTES).fetch_max(told, Ordering::Relaxed);
        // Nobody has heard what was rung before; what it was rung for is looked at now.
        self.word(RUNG).store(0, Ordering::Release);
    }

    /// Takes a client on, unless all workers together serve `clients_max` already. However many ask at the same time,
    /// never more are admitted; who is refused has seen every place taken.
    pub fn admit(&self, clients_max: usize) -> Option<Place> {
        self.area.places().claim(self.seat.0, clients_max)
    }

    /// A number for a client, which no other client of this worker has had since the program's start.
    pub fn next_sequence(&self) -> u64 {
        let sequence = self.area.worker_word(self.number(), SEQUENCE);
        sequence.fetch_add(1, Ordering::Relaxed)
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

    /// Notes what is about to be told: the bytes that the clients who are there were sent, and everything that was
    /// counted since the process began. To be called before the process ends, too; what it has not noted is lost.
    pub fn note(&self, current_bytes: u64, counters: &Counters) {
        let finished = self.word(FINISHED_BYTES).load(Ordering::Relaxed);
        self.word(TOLD_BYTES)
            .fetch_max(finished + current_bytes, Ordering::Relaxed);
        let words = self.area.counters(self.seat).iter();
        for ((word, before), counter) in words.zip(self.base).zip(counters) {
            word.store(before + counter, Ordering::Relaxed);
        }
    }

    /// Changes when a client of this process is to be disconnected; [`Worker::is_disconnected`] tells which.
    pub fn orders(&self) -> u64 {
        self.word(ORDERS).load(Ordering::Acquire)
    }

    /// Whether the client at `place` is to be disconnected.
    pub fn is_disconnected(&self, place: Place) -> bool {
        self.area.places().is_disconnected(place)
    }

    /// To be called when the bell has rung, before anything is looked at. Tells whether it rang for this process.
    pub fn answer_bell(&self) -> bool {
        self.word(RUNG).swap(0, Ordering::AcqRel) == 1
    }

    /// Notes whether this process has viewers. The others publish what they know while any has.
    pub fn set_viewing(&self, viewing: bool) {
        let bit = 1 << self.seat.0;
        let words = self.area.head(VIEWING);
        if viewing {
            words.fetch_or(bit, Ordering::AcqRel);
        } else {
            words.fetch_and(!bit, Ordering::AcqRel);
        }
    }

    /// Whether no other process of a worker lives.
    pub fn is_alone(&self) -> bool {
        Seat::all()
            .filter(|seat| *seat != self.seat)
            .all(|seat| self.area.process(seat).is_none())
    }

    /// Asks the other processes to publish what they know now. [`Worker::is_answered`] tells when they have.
    pub fn ask(&self) -> u64 {
        let asked = self.area.head(ASKED).fetch_add(1, Ordering::AcqRel) + 1;
        self.word(ANSWERED).store(asked, Ordering::Release);
        self.area.ring_all();
        asked
    }

    /// The latest question of another process, if this one has not answered it.
    pub fn question(&self) -> Option<u64> {
        let asked = self.area.head(ASKED).load(Ordering::Acquire);
        (asked != self.word(ANSWERED).load(Ordering::Relaxed)).then_some(asked)
    }

    /// Publishes `bytes`, which answers everything up to `question`. Tells whether they fit, that is, whether they are
    /// no more than [`PUBLICATION_BYTES_MAX`](crate::limits::PUBLICATION_BYTES_MAX).
    pub fn publish(&self, bytes: &[u8], question: Option<u64>) -> bool {
        let fits = self.area.publication(self.seat).write(bytes);
        if let Some(question) = question {
            self.word(ANSWERED).store(question, Ordering::Release);
        }
        fits
    }

    /// Whether every process that lives has published since `question` was asked.
    pub fn is_answered(&self, question: u64) -> bool {
        Seat::all().all(|seat| {
            let word = |word| self.area.seat_word(seat, word).load(Ordering::Acquire);
            word(PID) == 0 || word(ANSWERED) >= question
        })
    }

    fn word(&self, word: usize) -> &AtomicU64 {
        self.area.seat_word(self.seat, word)
    }
}
