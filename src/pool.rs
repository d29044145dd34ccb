//! Reference-counted buffers under one bound, and views into them.
//!
//! A [`PacketMut`] is unique and writable; [`PacketMut::freeze`] turns it into a shared, immutable [`Packet`]
//! whose clones cost a count. The view (start, length) lives in the `Packet` and not in the buffer, so that
//! many clients hold many views of one buffer. Memory is accounted in buffers held, because a view of 20 bytes
//! pins the whole buffer. The pool never holds more than it was given: `-b` × 1536 bytes.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use crate::limits::{
    BUFFER_BYTES_MAX, BUFFER_BYTES_MIN, POOL_PATIENT_PERCENT, POOL_RESERVE_BYTES_MAX,
    POOL_RESERVE_SHARE, POOL_SPARE_BYTES_MAX, SEGMENTS_MAX,
};
use crate::sys::segment::Segment;

/// Buffer sizes are powers of two, this many from the smallest to the largest.
const CLASSES: usize = (BUFFER_BYTES_MAX / BUFFER_BYTES_MIN).ilog2() as usize + 1;

/// Page size assumed when a segment is charged; larger pages only make the charge too low by a page.
const PAGE_BYTES: usize = 4096;

/// Gives out buffers and counts what is held.
#[derive(Debug)]
pub struct Pool {
    accounts: Rc<Accounts>,
}

#[derive(Debug)]
struct Accounts {
    bytes_max: Cell<usize>,
    reserve_bytes: Cell<usize>,
    held_bytes: Cell<usize>,
    /// More is held than the bound, which was larger when it was given out.
    shrinks: Cell<bool>,
    held_bytes_highwater: Cell<usize>,
    exhaustions: Cell<u64>,
    segments: Cell<usize>,
    spare: RefCell<Spare>,
}

/// Buffers given back and kept for the next taker.
#[derive(Debug, Default)]
struct Spare {
    lists: [Vec<Rc<Buffer>>; CLASSES],
    /// For each list, how many of its buffers nobody has wanted since the last [`Pool::trim_unused`].
    unused: [usize; CLASSES],
    bytes: usize,
}

struct Buffer {
    storage: Storage,
    /// Bytes this buffer counts for in the pool.
    charge: u32,
    accounts: Rc<Accounts>,
}

#[derive(Debug)]
enum Storage {
    Memory(Box<[u8]>),
    /// Pages that sockets can refer to; see [`Pool::share_pages`].
    File(Segment),
}

// Not derived: the accounts know the spare buffers, and each of those the accounts.
impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer")
            .field("charge", &self.charge)
            .finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool that never holds more than `bytes_max` bytes in buffers, spare ones included.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            accounts: Rc::new(Accounts {
                bytes_max: Cell::new(bytes_max),
                reserve_bytes: Cell::new(reserve_bytes(bytes_max)),
                shrinks: Cell::new(false),
                held_bytes: Cell::new(0),
                held_bytes_highwater: Cell::new(0),
                exhaustions: Cell::new(0),
                segments: Cell::new(0),
                spare: RefCell::default(),
            }),
        }
    }

    /// Changes the bound. What is held beyond a smaller one is not taken away; nothing is given out until enough of it
    /// has come back.
    pub fn resize(&self, bytes_max: usize) {
        let accounts = &self.accounts;
        accounts.bytes_max.set(bytes_max);
        accounts.reserve_bytes.set(reserve_bytes(bytes_max));
        accounts.shrinks.set(accounts.held_bytes.get() > bytes_max);
        accounts.make_room(0);
    }

    /// Whether no more is held than the bound, except for what was given out under a larger one.
    pub fn is_within_bound(&self) -> bool {
        self.accounts.is_within_bound()
    }

    /// The largest buffer worth asking for: an eighth of the pool, so that a few sources share a small one,
    /// and at most [`BUFFER_BYTES_MAX`].
    pub fn buffer_bytes_max(&self) -> usize {
        let eighth = (self.accounts.bytes_max.get() / 8).max(BUFFER_BYTES_MIN);
        (1 << eighth.ilog2()).min(BUFFER_BYTES_MAX)
    }

    /// A buffer of at least `bytes` bytes for media, or `None` when that would touch the reserve.
    ///
    /// What the buffer holds is unspecified. More than [`BUFFER_BYTES_MAX`] cannot be had.
    pub fn take(&self, bytes: usize) -> Option<PacketMut> {
        self.take_within(bytes, self.accounts.live_bytes_max())
    }

    /// As [`Pool::take`], for sources that can wait: they leave the last part of the pool to live ones.
    pub fn take_patient(&self, bytes: usize) -> Option<PacketMut> {
        self.take_within(bytes, self.accounts.patient_bytes_max())
    }

    /// As [`Pool::take`], for response heads and error answers, which may use the reserve.
    pub fn take_reserved(&self, bytes: usize) -> Option<PacketMut> {
        self.take_within(bytes, self.accounts.bytes_max.get())
    }

    /// Copies `bytes` into a buffer of their own; `None` when even the reserve is used up.
    pub fn copy_reserved(&self, bytes: &[u8]) -> Option<Packet> {
        let mut packet = self.take_reserved(bytes.len())?;
        packet.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
        Some(packet.freeze(bytes.len()))
    }

    fn take_within(&self, bytes: usize, bytes_max: usize) -> Option<PacketMut> {
        let accounts = &self.accounts;
        let Some(class) = class_of(bytes).filter(|_| accounts.has_room(bytes, bytes_max)) else {
            accounts.exhaustions.set(accounts.exhaustions.get() + 1);
            return None;
        };
        let capacity = BUFFER_BYTES_MIN << class;
        let spare = accounts.spare.borrow_mut().take(class);
        let buffer = spare.unwrap_or_else(|| {
            accounts.make_room(capacity);
            let storage = Storage::Memory(vec![0; capacity].into_boxed_slice());
            Rc::new(Buffer {
                storage,
                charge: capacity as u32,
                accounts: Rc::clone(accounts),
            })
        });
        accounts.hold(capacity);
        Some(PacketMut {
            buffer: Some(buffer),
        })
    }

    /// Takes over bytes put together elsewhere, counted against the part that can wait; `None` when there is no
    /// room for them.
    pub fn adopt(&self, bytes: Vec<u8>) -> Option<Packet> {
        let accounts = &self.accounts;
        let charge = u32::try_from(bytes.len()).ok()?;
        if bytes.len() > self.patient_room() {
            accounts.exhaustions.set(accounts.exhaustions.get() + 1);
            return None;
        }
        accounts.make_room(bytes.len());
        accounts.hold(bytes.len());
        Some(Packet {
            buffer: Some(Rc::new(Buffer {
                storage: Storage::Memory(bytes.into_boxed_slice()),
                charge,
                accounts: Rc::clone(accounts),
            })),
            start: 0,
            len: charge,
        })
    }

    /// An account for bytes that lie outside the pool's buffers and count against its bound all the same.
    pub fn open_charge(&self) -> Charge {
        Charge {
            accounts: Rc::clone(&self.accounts),
            bytes: 0,
        }
    }

    /// Moves the bytes of `packet` into pages that sockets can refer to without copying them. Gives `packet`
    /// back as it was when there is no room, or [`SEGMENTS_MAX`] of them are in use.
    pub fn share_pages(&self, packet: Packet) -> Packet {
        let accounts = &self.accounts;
        let Some(bytes) = packet.bytes() else {
            return packet;
        };
        let charge = bytes.len().next_multiple_of(PAGE_BYTES);
        if accounts.segments.get() >= SEGMENTS_MAX
            || accounts.held_bytes.get() + charge > accounts.live_bytes_max()
        {
            return packet;
        }
        accounts.make_room(charge);
        let Ok(segment) = Segment::new(bytes) else {
            return packet;
        };
        let len = packet.len;
        accounts.segments.set(accounts.segments.get() + 1);
        accounts.hold(charge);
        let storage = Storage::File(segment);
        let buffer = Rc::new(Buffer {
            storage,
            charge: charge as u32,
            accounts: Rc::clone(accounts),
        });
        Packet {
            buffer: Some(buffer),
            start: 0,
            len,
        }
    }

    /// Gives back to the allocator the spare buffers that nobody has wanted since the last call, and says how
    /// many bytes that was.
    pub fn trim_unused(&self) -> usize {
        let before = self.spare_bytes();
        self.accounts.spare.borrow_mut().drop_unused();
        before - self.spare_bytes()
    }

    /// Gives all spare buffers back to the allocator.
    pub fn trim(&self) {
        *self.accounts.spare.borrow_mut() = Spare::default();
    }

    /// The bound, in bytes.
    pub fn bytes_max(&self) -> usize {
        self.accounts.bytes_max.get()
    }

    /// Bytes of that which only heads and answers may use.
    pub fn reserve_bytes(&self) -> usize {
        self.accounts.reserve_bytes.get()
    }

    /// Bytes of the buffers in use.
    pub fn held_bytes(&self) -> usize {
        self.accounts.held_bytes.get()
    }

    /// The most that was ever in use.
    pub fn held_bytes_highwater(&self) -> usize {
        self.accounts.held_bytes_highwater.get()
    }

    /// Bytes of the buffers kept for the next taker.
    pub fn spare_bytes(&self) -> usize {
        self.accounts.spare.borrow().bytes
    }

    /// How often [`Pool::take`] and [`Pool::take_reserved`] had nothing to give.
    pub fn exhaustions(&self) -> u64 {
        self.accounts.exhaustions.get()
    }

    /// Whether [`Pool::take`] would give a buffer of `bytes` now.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.accounts
            .has_room(bytes, self.accounts.live_bytes_max())
    }

    /// Bytes that sources which can wait may still be given, in whatever pieces.
    pub fn patient_room(&self) -> usize {
        self.accounts
            .patient_bytes_max()
            .saturating_sub(self.accounts.held_bytes.get())
    }

    /// Whether [`Pool::take_patient`] would give a buffer of `bytes` now.
    pub fn has_patient_room(&self, bytes: usize) -> bool {
        self.accounts
            .has_room(bytes, self.accounts.patient_bytes_max())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Spare buffers name the accounts that hold them; this breaks the circle.
        self.trim();
    }
}

/// What a pool of this size keeps for answers.
fn reserve_bytes(bytes_max: usize) -> usize {
    (bytes_max / POOL_RESERVE_SHARE).min(POOL_RESERVE_BYTES_MAX)
}

/// The smallest class whose buffers hold `bytes`, if there is one.
fn class_of(bytes: usize) -> Option<usize> {
    let capacity = bytes.max(BUFFER_BYTES_MIN).checked_next_power_of_two()?;
    (capacity <= BUFFER_BYTES_MAX).then(|| (capacity / BUFFER_BYTES_MIN).ilog2() as usize)
}

impl Accounts {
    fn live_bytes_max(&self) -> usize {
        self.bytes_max.get() - self.reserve_bytes.get()
    }

    fn patient_bytes_max(&self) -> usize {
        self.bytes_max.get() / 100 * POOL_PATIENT_PERCENT
    }

    fn has_room(&self, bytes: usize, bytes_max: usize) -> bool {
        class_of(bytes)
            .is_some_and(|class| self.held_bytes.get() + (BUFFER_BYTES_MIN << class) <= bytes_max)
    }

    fn hold(&self, bytes: usize) {
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
    fn make_room(&self, bytes: usize) {
        let mut spare = self.spare.borrow_mut();
        while self.held_bytes.get() + spare.bytes + bytes > self.bytes_max.get() && spare.drop_one()
        {
        }
    }

    fn is_within_bound(&self) -> bool {
        self.shrinks.get() || self.held_bytes.get() <= self.bytes_max.get()
    }

    /// Takes `bytes` off what is held.
    fn release(&self, bytes: usize) {
        let held = self.held_bytes.get() - bytes;
        self.held_bytes.set(held);
        if held <= self.bytes_max.get() {
            self.shrinks.set(false);
        }
    }

    /// Takes back a buffer that nobody else refers to.
    fn give_back(&self, buffer: Rc<Buffer>) {
        self.release(buffer.charge as usize);
        match &buffer.storage {
            // A pool that shrinks keeps nothing.
            Storage::Memory(_) if self.shrinks.get() => drop(buffer),
            Storage::Memory(_) => self.spare.borrow_mut().keep(buffer),
            Storage::File(_) => self.segments.set(self.segments.get() - 1),
        }
    }
}

impl Spare {
    fn take(&mut self, class: usize) -> Option<Rc<Buffer>> {
        let buffer = self.lists[class].pop()?;
        self.bytes -= buffer.charge as usize;
        self.unused[class] = self.unused[class].min(self.lists[class].len());
        Some(buffer)
    }

    fn drop_unused(&mut self) {
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

fn give_back(buffer: Option<Rc<Buffer>>) {
    if let Some(buffer) = buffer
        && Rc::strong_count(&buffer) == 1
    {
        let accounts = Rc::clone(&buffer.accounts);
        accounts.give_back(buffer);
    }
}

/// Bytes that lie elsewhere, in a pipe of the kernel or in a body that is being collected, and that the pool's
/// bound covers like its own. Dropping it gives them back.
#[derive(Debug)]
pub struct Charge {
    accounts: Rc<Accounts>,
    bytes: usize,
}

impl Charge {
    /// Bytes on this account.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds `bytes`; false, and nothing is added, when they exceed what sources that can wait may be given.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let accounts = &self.accounts;
        if accounts.held_bytes.get() + bytes > accounts.patient_bytes_max() {
            accounts.exhaustions.set(accounts.exhaustions.get() + 1);
            return false;
        }
        accounts.make_room(bytes);
        accounts.hold(bytes);
        self.bytes += bytes;
        true
    }

    /// Adds `bytes` that are there already, whatever has been taken since room was made sure of.
    pub fn count(&mut self, bytes: usize) {
        self.accounts.make_room(bytes);
        self.accounts.hold(bytes);
        self.bytes += bytes;
    }

    /// Takes `bytes` off, at most all there are.
    pub fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.accounts.release(bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

/// A buffer that nobody else sees yet.
#[derive(Debug)]
pub struct PacketMut {
    /// `Some` until frozen or dropped; never shared.
    buffer: Option<Rc<Buffer>>,
}

impl PacketMut {
    /// The whole buffer.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let buffer = self
            .buffer
            .as_mut()
            .and_then(Rc::get_mut)
            .expect("an unfrozen buffer has one owner");
        match &mut buffer.storage {
            Storage::Memory(bytes) => bytes,
            Storage::File(_) => unreachable!("segments are made frozen"),
        }
    }

    /// The whole buffer, for reading.
    pub fn bytes(&self) -> &[u8] {
        match self.buffer.as_deref().map(|buffer| &buffer.storage) {
            Some(Storage::Memory(bytes)) => bytes,
            _ => unreachable!("segments are made frozen"),
        }
    }

    /// Shares the first `len` bytes.
    ///
    /// # Panics
    ///
    /// If the buffer is shorter than `len`.
    pub fn freeze(mut self, len: usize) -> Packet {
        assert!(
            len <= self.bytes().len(),
            "{len} bytes in a buffer of {}",
            self.bytes().len()
        );
        Packet {
            buffer: self.buffer.take(),
            start: 0,
            len: len as u32,
        }
    }
}

impl Drop for PacketMut {
    fn drop(&mut self) {
        give_back(self.buffer.take());
    }
}

/// A view of a shared buffer: cheap to clone and to cut. The last view to go gives the buffer back.
#[derive(Debug, Clone)]
pub struct Packet {
    /// `Some` until dropped.
    buffer: Option<Rc<Buffer>>,
    start: u32,
    len: u32,
}

impl Packet {
    /// Bytes in view.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the view is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that the view pins: the whole buffer's.
    pub fn held_bytes(&self) -> usize {
        self.buffer().charge as usize
    }

    /// Whether both views lie in the same buffer, so that together they pin it once.
    pub fn shares_buffer(&self, other: &Self) -> bool {
        std::ptr::eq(self.buffer(), other.buffer())
    }

    /// The part of the view that `range` names, in bytes from its start.
    ///
    /// # Panics
    ///
    /// If `range` reaches past the view.
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "{range:?} of {} bytes",
            self.len
        );
        Self {
            buffer: self.buffer.clone(),
            start: self.start + range.start as u32,
            len: range.len() as u32,
        }
    }

    /// The bytes in view, unless they lie in a segment.
    pub fn bytes(&self) -> Option<&[u8]> {
        match &self.buffer().storage {
            Storage::Memory(bytes) => Some(&bytes[self.range()]),
            Storage::File(_) => None,
        }
    }

    /// The segment and the range of it in view, if the bytes lie in one.
    pub fn segment(&self) -> Option<(&Segment, Range<usize>)> {
        match &self.buffer().storage {
            Storage::Memory(_) => None,
            Storage::File(segment) => Some((segment, self.range())),
        }
    }

    fn range(&self) -> Range<usize> {
        self.start as usize..(self.start + self.len) as usize
    }

    fn buffer(&self) -> &Buffer {
        self.buffer
            .as_deref()
            .expect("a view has its buffer until it is dropped")
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        give_back(self.buffer.take());
    }
}

/// Contiguous media payload of one tick: what a channel hands to its subscribers.
#[derive(Debug, Clone)]
pub struct Run {
    /// The payload of whole datagrams, back to back.
    pub view: Packet,
    /// How many datagrams it came in; what a skip counts.
    pub packets: u32,
    /// Offset of the last TS packet in view at which a decoder can start, where one was found.
    pub start: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(pool: &Pool, bytes: &[u8]) -> Packet {
        let mut packet = pool.take(bytes.len()).expect("room in the pool");
        packet.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
        packet.freeze(bytes.len())
    }

    #[test]
    fn last_view_gives_the_buffer_back() {
        let pool = Pool::new(1 << 20);
        let packet = filled(&pool, b"0123456789");
        let view = packet.slice(2..6);
        drop(packet);
        assert_eq!(view.bytes(), Some(&b"2345"[..]));
        assert_eq!(
            pool.held_bytes(),
            BUFFER_BYTES_MIN,
            "a small view pins its buffer"
        );
        drop(view);
        assert_eq!(pool.held_bytes(), 0);
        assert_eq!(pool.spare_bytes(), BUFFER_BYTES_MIN);
    }

    #[test]
    fn bound_is_never_exceeded_and_the_reserve_stays_for_answers() {
        let pool = Pool::new(64 * 1536);
        let mut held = Vec::new();
        while let Some(packet) = pool.take(2000) {
            held.push(packet);
        }
        assert!(pool.exhaustions() == 1 && !pool.has_room(1));
        let answer = pool.copy_reserved(b"HTTP/1.1 503").expect("the reserve");
        assert_eq!(answer.bytes(), Some(&b"HTTP/1.1 503"[..]));
        let mut answers = Vec::new();
        while let Some(packet) = pool.take_reserved(1) {
            answers.push(packet);
        }
        assert!(pool.held_bytes() <= pool.bytes_max());
        assert!(pool.bytes_max() - pool.held_bytes() < BUFFER_BYTES_MIN);
    }

    #[test]
    fn spare_buffers_make_room_for_other_sizes() {
        let pool = Pool::new(64 * 1024);
        drop(pool.take(16 * 1024));
        drop(pool.take(8 * 1024));
        assert_eq!(pool.spare_bytes(), 24 * 1024);
        let packets: Vec<_> = std::iter::from_fn(|| pool.take(2048)).collect();
        assert!(pool.held_bytes() + pool.spare_bytes() <= pool.bytes_max());
        assert!(packets.len() * 2048 >= pool.bytes_max() * 3 / 4);
    }

    #[test]
    fn buffers_are_reused() {
        let pool = Pool::new(1 << 20);
        let mut first = pool.take(3000).expect("room");
        let address = first.bytes_mut().as_ptr();
        drop(first);
        assert_eq!(pool.take(2500).expect("room").bytes().as_ptr(), address);
    }

    #[test]
    fn only_what_nobody_wants_is_trimmed() {
        let pool = Pool::new(1 << 20);
        let (one, two, large) = (pool.take(2048), pool.take(2048), pool.take(8192));
        drop((one, two, large));
        pool.trim_unused();
        drop(pool.take(2048));
        pool.trim_unused();
        assert_eq!(pool.spare_bytes(), 2048, "the one that was wanted");
        pool.trim_unused();
        assert_eq!(pool.spare_bytes(), 0);
    }

    #[test]
    fn sizes_beyond_the_largest_class_cannot_be_had() {
        let pool = Pool::new(1 << 24);
        assert!(pool.take(BUFFER_BYTES_MAX).is_some());
        assert!(pool.take(BUFFER_BYTES_MAX + 1).is_none());
        assert!(pool.take(usize::MAX).is_none());
    }

    #[test]
    fn shared_pages_hold_the_same_bytes_and_are_charged() {
        let pool = Pool::new(1 << 20);
        let packet = pool.share_pages(filled(&pool, &[7; 5000]));
        assert_eq!(pool.held_bytes(), 8192);
        let (segment, range) = packet.segment().expect("in a segment");
        let mut bytes = vec![0; range.len()];
        assert_eq!(
            segment.read_at(&mut bytes, range.start).expect("read"),
            5000
        );
        assert_eq!(bytes, [7; 5000]);
        drop(packet);
        assert_eq!(pool.held_bytes(), 0);
    }

    #[test]
    fn segments_are_bounded_in_number() {
        let pool = Pool::new(1 << 26);
        let packets: Vec<_> = (0..SEGMENTS_MAX + 1)
            .map(|_| pool.share_pages(filled(&pool, &[1; 100])))
            .collect();
        assert_eq!(
            packets
                .iter()
                .filter(|packet| packet.segment().is_some())
                .count(),
            SEGMENTS_MAX
        );
    }

    #[test]
    fn bytes_that_lie_elsewhere_count_against_the_bound() {
        let pool = Pool::new(100 << 10);
        let mut charge = pool.open_charge();
        assert!(charge.grow(60 << 10));
        assert!(!charge.grow(30 << 10), "a fifth is for live media");
        assert_eq!((charge.bytes(), pool.held_bytes()), (60 << 10, 60 << 10));
        charge.shrink(20 << 10);
        assert_eq!(pool.patient_room(), 40 << 10);
        drop(charge);
        assert_eq!(pool.held_bytes(), 0);
    }

    #[test]
    fn adopted_bytes_are_held_as_they_are_and_not_kept() {
        let pool = Pool::new(100 << 10);
        let packet = pool.adopt(vec![7; 5000]).expect("room");
        assert_eq!(
            (packet.len(), packet.held_bytes(), pool.held_bytes()),
            (5000, 5000, 5000)
        );
        assert!(pool.adopt(vec![0; 90 << 10]).is_none());
        drop(packet);
        assert_eq!((pool.held_bytes(), pool.spare_bytes()), (0, 0));
    }
}
