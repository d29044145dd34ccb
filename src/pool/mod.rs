//! Reference-counted buffers under one bound, and views into them.
//!
//! A [`PacketMut`] is unique and writable; [`PacketMut::freeze`] turns it into a shared, immutable [`Packet`]
//! whose clones cost a count. The view (start, length) lives in the `Packet` and not in the buffer, so that
//! many clients hold many views of one buffer. Memory is accounted in buffers held, because a view of 20 bytes
//! pins the whole buffer. The pool never holds more than it was given: `-b` × 1536 bytes.

mod accounts;
mod charge;
mod packet;

use std::rc::Rc;

use crate::limits::{BUFFER_BYTES_MAX, BUFFER_BYTES_MIN, SEGMENTS_MAX};
use crate::sys::segment::Segment;
use accounts::{Accounts, Spare, class_of};
pub use charge::Charge;
use packet::{Buffer, Storage};
pub use packet::{Packet, PacketMut, Run};

/// Page size assumed when a segment is charged; larger pages only make the charge too low by a page.
const PAGE_BYTES: usize = 4096;

/// Gives out buffers and counts what is held.
#[derive(Debug)]
pub struct Pool {
    accounts: Rc<Accounts>,
}

impl Pool {
    /// A pool that never holds more than `bytes_max` bytes in buffers, spare ones included.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            accounts: Rc::new(Accounts::new(bytes_max)),
        }
    }

    /// Changes the bound. What is held beyond a smaller one is not taken away; nothing is given out until enough of it
    /// has come back.
    pub fn resize(&self, bytes_max: usize) {
        self.accounts.resize(bytes_max);
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
            accounts.note_exhaustion();
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
            accounts.note_exhaustion();
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

    /// How often there was no room for what somebody asked for.
    pub fn exhaustions(&self) -> u64 {
        self.accounts.exhaustions.get()
    }

    /// Bytes that live media may still be given, in whatever pieces.
    pub fn live_room(&self) -> usize {
        self.accounts
            .live_bytes_max()
            .saturating_sub(self.accounts.held_bytes.get())
    }

    /// What a buffer of at least `bytes` bytes takes from the pool.
    pub fn charge(bytes: usize) -> usize {
        class_of(bytes).map_or(bytes, |class| BUFFER_BYTES_MIN << class)
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
