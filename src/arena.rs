//! `Arena<T>` and `Id<T>`: slots whose keys notice that what they named is gone.
//!
//! A slab hands the same index out again; the generation stamped on every insert tells the old owner from
//! the new one. Every relation between entities is an `Id` that may be stale, and `None` is a normal answer.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

use slab::Slab;

/// Names one value of an [`Arena`]. Eight bytes, `Copy`, and of a type of its own per `T`, so that a client's
/// id cannot be used for a channel.
pub struct Id<T> {
    index: u32,
    generation: u32,
    // `fn() -> T` keeps the id `Send`, `Sync` and `Copy` whatever `T` is.
    of: PhantomData<fn() -> T>,
}

impl<T> Id<T> {
    /// Puts an id together from its parts, as [`Id::index`] and [`Id::generation`] gave them.
    pub fn from_parts(index: u32, generation: u32) -> Self {
        Self {
            index,
            generation,
            of: PhantomData,
        }
    }

    /// Slot number: dense, reused after removal.
    pub fn index(self) -> u32 {
        self.index
    }

    /// Stamp of the insert that made this id.
    pub fn generation(self) -> u32 {
        self.generation
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Id<T> {}
impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index && self.generation == other.generation
    }
}
impl<T> Eq for Id<T> {}
impl<T> Hash for Id<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.index, self.generation).hash(state);
    }
}

/// Written `index.generation`, as log lines name entities: `client 12.7`.
impl<T> fmt::Display for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}
impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A slab whose keys are checked by generation.
#[derive(Debug)]
pub struct Arena<T> {
    slots: Slab<(u32, T)>,
    generation: u32,
    generation_mask: u32,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Arena<T> {
    /// An empty arena with full 32-bit generations.
    pub fn new() -> Self {
        Self::with_generation_bits(32)
    }

    /// An empty arena whose generations fit in `bits` bits, for keys that share a word with something else.
    ///
    /// # Panics
    ///
    /// If `bits` is 0 or above 32.
    pub fn with_generation_bits(bits: u32) -> Self {
        assert!(
            (1..=32).contains(&bits),
            "generations have 1 to 32 bits, not {bits}"
        );
        Self {
            slots: Slab::new(),
            generation: 0,
            generation_mask: u32::MAX >> (32 - bits),
        }
    }

    /// Stores `value` under a new id.
    pub fn insert(&mut self, value: T) -> Id<T> {
        self.generation = self.generation.wrapping_add(1) & self.generation_mask;
        let index = self.slots.insert((self.generation, value));
        let index = u32::try_from(index).expect("an arena holds fewer than 2^32 values");
        Id::from_parts(index, self.generation)
    }

    /// The value `id` names, or `None` if it is gone.
    pub fn get(&self, id: Id<T>) -> Option<&T> {
        let (generation, value) = self.slots.get(id.index as usize)?;
        (*generation == id.generation).then_some(value)
    }

    /// As [`Arena::get`], mutable.
    pub fn get_mut(&mut self, id: Id<T>) -> Option<&mut T> {
        let (generation, value) = self.slots.get_mut(id.index as usize)?;
        (*generation == id.generation).then_some(value)
    }

    /// Takes the value out; later uses of `id` find `None`.
    pub fn remove(&mut self, id: Id<T>) -> Option<T> {
        self.get(id)?;
        Some(self.slots.remove(id.index as usize).1)
    }

    /// Number of values held.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Every value with its id, in slot order.
    pub fn iter(&self) -> impl Iterator<Item = (Id<T>, &T)> {
        self.slots
            .iter()
            .map(|(index, (generation, value))| (Id::from_parts(index as u32, *generation), value))
    }

    /// As [`Arena::iter`], mutable.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Id<T>, &mut T)> {
        self.slots
            .iter_mut()
            .map(|(index, (generation, value))| (Id::from_parts(index as u32, *generation), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_id_does_not_name_the_new_owner_of_its_slot() {
        let mut arena = Arena::new();
        let first = arena.insert("first");
        assert_eq!(arena.remove(first), Some("first"));
        let second = arena.insert("second");
        assert_eq!(first.index(), second.index(), "the slot is reused");
        assert_eq!(arena.get(first), None);
        assert_eq!(arena.get_mut(first), None);
        assert_eq!(arena.remove(first), None);
        assert_eq!(arena.get(second), Some(&"second"));
    }

    #[test]
    fn short_generations_wrap_within_their_bits() {
        let mut arena = Arena::with_generation_bits(2);
        for _ in 0..9 {
            let id = arena.insert(());
            assert!(id.generation() < 4);
            assert!(arena.remove(id).is_some());
        }
    }

    #[test]
    fn ids_round_trip_through_their_parts() {
        let mut arena = Arena::new();
        let id = arena.insert(7);
        assert_eq!(
            arena.get(Id::from_parts(id.index(), id.generation())),
            Some(&7)
        );
        assert_eq!(
            id.to_string(),
            format!("{}.{}", id.index(), id.generation())
        );
    }
}
