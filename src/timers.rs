//! `Timers<E>`: deadlines, kept lazily. An entity is re-armed when its entry fires, not whenever its deadline moves.
//!
//! Each slot remembers the deadline the heap has for it (`armed`). Only a sooner one is pushed; a later one
//! costs nothing until the old entry fires and finds that the time has not come. A packet that moves an idle
//! deadline therefore touches no heap.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Superseded entries that are tolerated before the heap is rebuilt.
const STALE_MIN: usize = 64;

#[derive(Debug, PartialEq, Eq)]
struct Entry<E> {
    at: Instant,
    /// Order of arming, so that equal instants fire in that order.
    number: u64,
    entity: E,
}

impl<E: Eq> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<E: Eq> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// The heap of armed deadlines of entities named by `E`.
#[derive(Debug)]
pub struct Timers<E: Eq> {
    heap: BinaryHeap<Reverse<Entry<E>>>,
    next_number: u64,
}

impl<E: Eq> Default for Timers<E> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
            next_number: 0,
        }
    }
}

impl<E: Copy + Eq> Timers<E> {
    /// Makes sure that `entity` is looked at no later than `deadline`; `armed` is its slot's.
    pub fn arm(&mut self, entity: E, deadline: Option<Instant>, armed: &mut Option<Instant>) {
        let Some(at) = deadline else { return };
        if armed.is_none_or(|armed| at < armed) {
            *armed = Some(at);
            self.next_number += 1;
            self.heap.push(Reverse(Entry {
                at,
                number: self.next_number,
                entity,
            }));
        }
    }

    /// When the next entry fires.
    pub fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    /// Takes an entry that is due. Its slot's `armed` tells whether it has been superseded.
    pub fn pop_due(&mut self, now: Instant) -> Option<(E, Instant)> {
        if self.next_at()? > now {
            return None;
        }
        self.heap
            .pop()
            .map(|Reverse(entry)| (entry.entity, entry.at))
    }

    /// Entries, superseded ones included.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing is armed.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Whether there are more than twice as many entries as `live` entities could need.
    pub fn is_bloated(&self, live: usize) -> bool {
        self.heap.len() > 2 * live + STALE_MIN
    }

    /// Keeps only the entries that `is_armed` calls current.
    pub fn rebuild(&mut self, is_armed: impl Fn(E, Instant) -> bool) {
        self.heap
            .retain(|Reverse(entry)| is_armed(entry.entity, entry.at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn only_a_sooner_deadline_is_pushed() {
        let (mut timers, mut armed, start) = (Timers::<u32>::default(), None, start());
        let second = Duration::from_secs(1);
        timers.arm(1, Some(start + 3 * second), &mut armed);
        timers.arm(1, Some(start + 5 * second), &mut armed);
        assert_eq!(timers.len(), 1);
        timers.arm(1, Some(start + second), &mut armed);
        assert_eq!((timers.len(), armed), (2, Some(start + second)));
        assert_eq!(timers.pop_due(start), None);
        assert_eq!(timers.pop_due(start + second), Some((1, start + second)));
    }

    #[test]
    fn equal_deadlines_fire_in_the_order_of_arming() {
        let (mut timers, start) = (Timers::<u32>::default(), start());
        for index in 0..10 {
            timers.arm(index, Some(start), &mut None);
        }
        let order: Vec<u32> = std::iter::from_fn(|| timers.pop_due(start))
            .map(|(entity, _)| entity)
            .collect();
        assert_eq!(order, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn rebuilding_drops_what_was_superseded() {
        let (mut timers, mut armed, start) = (Timers::<u32>::default(), None, start());
        for step in (0..200).rev() {
            timers.arm(1, Some(start + Duration::from_millis(step)), &mut armed);
        }
        assert!(timers.is_bloated(1));
        timers.rebuild(|_, at| Some(at) == armed);
        assert_eq!((timers.len(), timers.next_at()), (1, Some(start)));
    }
}
