//! The client limit over all workers: a place for each client.
//!
//! A place is taken with one atomic step that also says whose it is, so that the limit is exact when several workers
//! ask at once, and what a dead worker held is found again whenever it died. The same word carries the wish that the
//! client be disconnected; the generation in it keeps that wish from whoever takes the place next.

use std::sync::atomic::{AtomicU64, Ordering};

use super::digest;
use crate::limits::PLACES_MAX;

/// Words of all places: how many have ever been used, then two for each.
pub(super) const WORDS: usize = 1 + 2 * PLACES_MAX;

/// The seat of the process that holds a place, plus one; zero if nobody does.
const OWNER: u64 = 0xff;
/// The client is to be disconnected.
const DISCONNECT: u64 = 1 << 8;
/// The generation is in the upper half.
const GENERATION_SHIFT: u32 = 32;

/// Names a place that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    index: u32,
    generation: u32,
}

/// All places.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// Nobody has ever sat at or beyond this index, so that nobody looks, and touches memory, there.
    used: &'a AtomicU64,
    slots: &'a [[AtomicU64; 2]],
}

impl<'a> Places<'a> {
    pub(super) fn new(words: &'a [AtomicU64]) -> Self {
        let (used, slots) = words.split_first().expect("the words of all places");
        Self {
            used,
            slots: slots.as_chunks().0,
        }
    }

    /// Takes a place for a client of the process at seat `owner`, if fewer than `clients_max` are taken.
    pub(super) fn claim(&self, owner: usize, clients_max: usize) -> Option<Place> {
        let (within, beyond) = self.slots.split_at(clients_max.min(self.slots.len()));
        let used = self.used.load(Ordering::Acquire) as usize;
        if used > within.len() {
            // The limit has been lowered. Who sits beyond it counts, until the last of them has gone.
            let beyond = taken(beyond.get(..used - within.len()).unwrap_or(beyond));
            if beyond > 0 && beyond + taken(within) >= clients_max {
                return None;
            }
        }
        let owner = owner as u64 + 1;
        for (index, [state, _]) in within.iter().enumerate() {
            let free = state.load(Ordering::Relaxed);
            if free & OWNER != 0 {
                continue;
            }
            // First: a place in use must not be out of sight of those who count.
            self.used.fetch_max(index as u64 + 1, Ordering::AcqRel);
            let claimed =
                state.compare_exchange(free, free | owner, Ordering::AcqRel, Ordering::Relaxed);
            if claimed.is_ok() {
                return Some(Place {
                    index: index as u32,
                    generation: generation(free),
                });
            }
        }
        None
    }

    /// The client at `place` can be found by `client_id`.
    pub(super) fn name(&self, place: Place, client_id: &str) {
        if let Some([_, name]) = self.slot(place) {
            name.store(digest(client_id.as_bytes()), Ordering::Release);
        }
    }

    /// Gives a place back.
    pub(super) fn release(&self, place: Place) {
        if let Some(slot) = self.slot(place) {
            vacate(slot);
        }
    }

    /// Gives back all places of a process that is no more, and counts them.
    pub(super) fn reclaim(&self, owner: usize) -> usize {
        let slots = self.in_use().iter().filter(|slot| is_of(slot, owner));
        slots.map(vacate).count()
    }

    /// How many places a process holds.
    pub(super) fn count_of(&self, owner: usize) -> usize {
        self.in_use()
            .iter()
            .filter(|slot| is_of(slot, owner))
            .count()
    }

    /// How many places are taken.
    pub fn count(&self) -> usize {
        taken(self.in_use())
    }

    /// Notes that the client called `client_id` is to be disconnected. Returns whose it is.
    pub(super) fn disconnect(&self, client_id: &str) -> Option<usize> {
        let wanted = digest(client_id.as_bytes());
        let slots = self.in_use().iter();
        for [state, name] in slots.filter(|[_, name]| name.load(Ordering::Acquire) == wanted) {
            let taken = state.load(Ordering::Acquire);
            let owner = taken & OWNER;
            // Still the client that was found by its name, and not the next at the same place.
            if owner != 0
                && name.load(Ordering::Acquire) == wanted
                && state
                    .compare_exchange(
                        taken,
                        taken | DISCONNECT,
                        Ordering::AcqRel,
                        Ordering::Relaxed,
                    )
                    .is_ok()
            {
                return Some(owner as usize - 1);
            }
        }
        None
    }

    /// Whether the client at `place` is to be disconnected.
    pub(super) fn is_disconnected(&self, place: Place) -> bool {
        self.slot(place)
            .is_some_and(|[state, _]| state.load(Ordering::Acquire) & DISCONNECT != 0)
    }

    /// The words of `place`, if it has not been given back.
    fn slot(&self, place: Place) -> Option<&'a [AtomicU64; 2]> {
        let slot = self.slots.get(place.index as usize)?;
        (generation(slot[0].load(Ordering::Acquire)) == place.generation).then_some(slot)
    }

    fn in_use(&self) -> &'a [[AtomicU64; 2]] {
        let used = self.used.load(Ordering::Acquire) as usize;
        self.slots.get(..used).unwrap_or(self.slots)
    }
}

fn generation(state: u64) -> u32 {
    (state >> GENERATION_SHIFT) as u32
}

fn is_of([state, _]: &[AtomicU64; 2], owner: usize) -> bool {
    state.load(Ordering::Acquire) & OWNER == owner as u64 + 1
}

fn taken(slots: &[[AtomicU64; 2]]) -> usize {
    let is_taken = |[state, _]: &&[AtomicU64; 2]| state.load(Ordering::Acquire) & OWNER != 0;
    slots.iter().filter(is_taken).count()
}

/// Frees a place for the next generation. Only its owner, or the supervisor in place of a dead one, does this.
fn vacate([state, name]: &[AtomicU64; 2]) {
    name.store(0, Ordering::Release);
    let next = generation(state.load(Ordering::Acquire)).wrapping_add(1);
    state.store(u64::from(next) << GENERATION_SHIFT, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    fn words() -> Vec<AtomicU64> {
        (0..WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn all_places_are_given_and_none_twice_when_many_ask_at_once() {
        let words = words();
        let places = Places::new(&words);
        let given = AtomicUsize::new(0);
        thread::scope(|scope| {
            for worker in 0..8 {
                let given = &given;
                scope.spawn(move || {
                    while places.claim(worker, 100).is_some() {
                        given.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(given.load(Ordering::Relaxed), 100);
        assert_eq!(places.count(), 100);
        let held: usize = (0..8).map(|worker| places.count_of(worker)).sum();
        assert_eq!(held, 100);
    }

    #[test]
    fn the_limit_holds_while_places_come_and_go() {
        let words = words();
        let places = Places::new(&words);
        let present = AtomicUsize::new(0);
        thread::scope(|scope| {
            for worker in 0..4 {
                let present = &present;
                scope.spawn(move || {
                    for _ in 0..20_000 {
                        let Some(place) = places.claim(worker, 3) else {
                            continue;
                        };
                        let others = present.fetch_add(1, Ordering::AcqRel);
                        assert!(others < 3, "a fourth was admitted");
                        present.fetch_sub(1, Ordering::AcqRel);
                        places.release(place);
                    }
                });
            }
        });
        assert_eq!(places.count(), 0);
        let used = places.used.load(Ordering::Relaxed);
        assert!(used <= 3, "{used} places were used");
    }

    #[test]
    fn a_limit_that_was_lowered_counts_those_beyond_it() {
        let words = words();
        let places = Places::new(&words);
        let taken: Vec<Place> = (0..5).filter_map(|_| places.claim(0, 5)).collect();
        places.release(taken[0]);
        assert_eq!(places.claim(0, 2), None, "four are left, two are allowed");
        places.release(taken[1]);
        places.release(taken[2]);
        assert_eq!(places.claim(0, 2), None);
        places.release(taken[3]);
        assert!(places.claim(0, 2).is_some());
        assert_eq!(places.claim(0, 2), None);
    }

    #[test]
    fn a_place_given_back_is_not_the_same_any_more() {
        let words = words();
        let places = Places::new(&words);
        let first = places.claim(0, 1).expect("room");
        places.name(first, "a");
        assert_eq!(places.disconnect("a"), Some(0));
        assert!(places.is_disconnected(first));
        places.release(first);
        let second = places.claim(3, 1).expect("room");
        assert_ne!(first, second);
        assert!(!places.is_disconnected(second) && !places.is_disconnected(first));
        places.release(first);
        places.name(first, "b");
        assert_eq!((places.count(), places.disconnect("b")), (1, None));
    }

    #[test]
    fn only_the_places_of_a_dead_worker_come_back() {
        let words = words();
        let places = Places::new(&words);
        for worker in [0, 1, 1, 2] {
            places.claim(worker, 10);
        }
        assert_eq!((places.reclaim(1), places.reclaim(1)), (2, 0));
        assert_eq!((places.count_of(0), places.count_of(2)), (1, 1));
    }
}
