//! Deadlines, kept lazily: an entity is re-armed when its entry fires, not whenever its deadline moves.
//!
//! Each slot remembers the deadline the heap has for it (`armed`). Only a sooner one is pushed; a later one
//! costs nothing until the old entry fires and finds that the time has not come. A packet that moves an idle
//! deadline therefore touches no heap.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::ready::Entity;

/// Superseded entries that are tolerated before the heap is rebuilt.
const STALE_MIN: usize = 64;

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    at: Instant,
    /// Order of arming, so that equal instants fire in that order.
    number: u64,
    entity: Entity,
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// The heap of armed deadlines.
#[derive(Debug, Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<Entry>>,
    next_number: u64,
}

impl Timers {
    /// Makes sure that `entity` is looked at no later than `deadline`; `armed` is its slot's.
    pub fn arm(&mut self, entity: Entity, deadline: Option<Instant>, armed: &mut Option<Instant>) {
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
    pub fn pop_due(&mut self, now: Instant) -> Option<(Entity, Instant)> {
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
    pub fn rebuild(&mut self, is_armed: impl Fn(Entity, Instant) -> bool) {
        self.heap
            .retain(|Reverse(entry)| is_armed(entry.entity, entry.at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Id;
    use std::time::Duration;

    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn start() -> Instant {
        Instant::now()
    }

    fn entity(index: u32) -> Entity {
        Entity::Client(Id::from_parts(index, 1))
    }

    #[test]
    fn only_a_sooner_deadline_is_pushed() {
        let (mut timers, mut armed, start) = (Timers::default(), None, start());
        let second = Duration::from_secs(1);
        timers.arm(entity(1), Some(start + 3 * second), &mut armed);
        timers.arm(entity(1), Some(start + 5 * second), &mut armed);
        assert_eq!(timers.len(), 1);
        timers.arm(entity(1), Some(start + second), &mut armed);
        assert_eq!((timers.len(), armed), (2, Some(start + second)));
        assert_eq!(timers.pop_due(start), None);
        assert_eq!(
            timers.pop_due(start + second),
            Some((entity(1), start + second))
        );
    }

    #[test]
    fn equal_deadlines_fire_in_the_order_of_arming() {
        let (mut timers, start) = (Timers::default(), start());
        for index in 0..10 {
            timers.arm(entity(index), Some(start), &mut None);
        }
        let order: Vec<Entity> = std::iter::from_fn(|| timers.pop_due(start))
            .map(|(entity, _)| entity)
            .collect();
        assert_eq!(order, (0..10).map(entity).collect::<Vec<_>>());
    }

    #[test]
    fn rebuilding_drops_what_was_superseded() {
        let (mut timers, mut armed, start) = (Timers::default(), None, start());
        for step in (0..200).rev() {
            timers.arm(
                entity(1),
                Some(start + Duration::from_millis(step)),
                &mut armed,
            );
        }
        assert!(timers.is_bloated(1));
        timers.rebuild(|_, at| Some(at) == armed);
        assert_eq!((timers.len(), timers.next_at()), (1, Some(start)));
    }
}
