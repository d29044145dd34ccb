//! The accounts of a pool: how much is held, how much may be, and which buffers wait for the next taker.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::packet::{Buffer, Storage};
use crate::limits::{
    BUFFER_BYTES_MAX, BUFFER_BYTES_MIN, POOL_PATIENT_PERCENT, POOL_RESERVE_BYTES_MAX,
    POOL_RESERVE_SHARE, POOL_SPARE_BYTES_MAX,
};

/// Buffer sizes are powers of two, this many from the smallest to the largest.
const CLASSES: usize = (BUFFER_BYTES_MAX / BUFFER_BYTES_MIN).ilog2() as usize + 1;

/// What a pool holds, against its bound; every buffer and every charge knows them. All in bytes but for the counts.
#[derive(Debug)]
pub(super) struct Accounts {
    /// The bound.
    pub(super) bytes_max: Cell<usize>,
    pub(super) reserve_bytes: Cell<usize>,
    pub(super) held_bytes: Cell<usize>,
    /// More is held than the bound, which was larger when it was given out.
    shrinks: Cell<bool>,
    pub(super) held_bytes_highwater: Cell<usize>,
    pub(super) exhaustions: Cell<u64>,
    pub(super) segments: Cell<usize>,
    pub(super) spare: RefCell<Spare>,
}

impl Accounts {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max: Cell::new(bytes_max),
            reserve_bytes: Cell::new(reserve_bytes(bytes_max)),
            shrinks: Cell::new(false),
            held_bytes: Cell::new(0),
            held_bytes_highwater: Cell::new(0),
            exhaustions: Cell::new(0),
            segments: Cell::new(0),
            spare: RefCell::default(),
        }
    }

    /// Changes the bound, and drops what it does not cover any more as far as nobody holds it.
    pub(super) fn resize(&self, bytes_max: usize) {
        self.bytes_max.set(bytes_max);
        self.reserve_bytes.set(reserve_bytes(bytes_max));
        self.shrinks.set(self.held_bytes.get() > bytes_max);
        self.make_room(0);
    }

    /// There was no room for something.
    pub(super) fn note_exhaustion(&self) {
        self.exhaustions.set(self.exhaustions.get() + 1);
    }

    /// What may be held once live media has been given some.
    pub(super) fn live_bytes_max(&self) -> usize {
        self.bytes_max.get() - self.reserve_bytes.get()
    }

    /// What may be held once a source that can wait has been given some.
    pub(super) fn patient_bytes_max(&self) -> usize {
        self.bytes_max.get() / 100 * POOL_PATIENT_PERCENT
    }

    /// Whether a buffer for `bytes` fits below `bytes_max`.
    pub(super) fn has_room(&self, bytes: usize, bytes_max: usize) -> bool {
        class_of(bytes)
            .is_some_and(|class| self.held_bytes.get() + (BUFFER_BYTES_MIN << class) <= bytes_max)
    }

    /// Adds `bytes` to what is held.
    pub(super) fn hold(&self, bytes: usize) {
        let held = self.held_bytes.get() + bytes;
        self.held_bytes.set(held);
        debug_assert!(
            self.is_within_bound(),
            "{held} bytes held of {}",
            self.bytes_max.get()
        );
        self.held_bytes_highwater
            .set(self.held_bytes_highwater.get().max(held));
    }

    /// Drops spare buffers until `bytes` more fit under the bound.
    pub(super) fn make_room(&self, bytes: usize) {
        let mut spare = self.spare.borrow_mut();
        while self.held_bytes.get() + spare.bytes + bytes > self.bytes_max.get() && spare.drop_one()
        {
        }
    }

    pub(super) fn is_within_bound(&self) -> bool {
        self.shrinks.get() || self.held_bytes.get() <= self.bytes_max.get()
    }

    /// Takes `bytes` off what is held.
    pub(super) fn release(&self, bytes: usize) {
        let held = self.held_bytes.get() - bytes;
        self.held_bytes.set(held);
        if held <= self.bytes_max.get() {
            self.shrinks.set(false);
        }
    }

    /// Takes back a buffer that nobody else refers to.
    pub(super) fn give_back(&self, buffer: Rc<Buffer>) {
        self.release(buffer.charge as usize);
        match &buffer.storage {
            // A pool that shrinks keeps nothing.
            Storage::Memory(_) if self.shrinks.get() => drop(buffer),
            Storage::Memory(_) => self.spare.borrow_mut().keep(buffer),
            Storage::File(_) => self.segments.set(self.segments.get() - 1),
        }
    }
}

/// What a pool of this size keeps for answers.
fn reserve_bytes(bytes_max: usize) -> usize {
    (bytes_max / POOL_RESERVE_SHARE).min(POOL_RESERVE_BYTES_MAX)
}

/// The smallest class whose buffers hold `bytes`, if there is one.
pub(super) fn class_of(bytes: usize) -> Option<usize> {
    let capacity = bytes.max(BUFFER_BYTES_MIN).checked_next_power_of_two()?;
    (capacity <= BUFFER_BYTES_MAX).then(|| (capacity / BUFFER_BYTES_MIN).ilog2() as usize)
}

/// Buffers given back and kept for the next taker.
#[derive(Debug, Default)]
pub(super) struct Spare {
    lists: [Vec<Rc<Buffer>>; CLASSES],
    /// For each list, how many of its buffers nobody has wanted since the last [`Pool::trim_unused`].
    unused: [usize; CLASSES],
    pub(super) bytes: usize,
}

impl Spare {
    pub(super) fn take(&mut self, class: usize) -> Option<Rc<Buffer>> {
        let buffer = self.lists[class].pop()?;
        self.bytes -= buffer.charge as usize;
        self.unused[class] = self.unused[class].min(self.lists[class].len());
        Some(buffer)
    }

    pub(super) fn drop_unused(&mut self) {
        for class in 0..CLASSES {
            for _ in 0..self.unused[class] {
                self.take(class);
            }
            self.unused[class] = self.lists[class].len();
        }
    }

    fn keep(&mut self, buffer: Rc<Buffer>) {
        let bytes = buffer.charge as usize;
        if self.bytes + bytes > POOL_SPARE_BYTES_MAX {
            return;
        }
        // What was adopted has a size of its own and fits no list.
        if let Some(class) = class_of(bytes).filter(|class| BUFFER_BYTES_MIN << class == bytes) {
            self.bytes += bytes;
            self.lists[class].push(buffer);
        }
    }

    fn drop_one(&mut self) -> bool {
        let largest = (0..CLASSES)
            .rev()
            .find(|class| !self.lists[*class].is_empty());
        largest.and_then(|class| self.take(class)).is_some()
    }
}
