//! Buffers, and the views into them that clients hold.
//!
//! A view names a range of a buffer and keeps it; the last one to go gives the buffer back to its pool.

use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use super::accounts::Accounts;
use crate::sys::segment::Segment;

/// A buffer that nobody else sees yet.
#[derive(Debug)]
pub struct PacketMut {
    /// `Some` until frozen or dropped; never shared.
    pub(super) buffer: Option<Rc<Buffer>>,
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
    pub(super) buffer: Option<Rc<Buffer>>,
    pub(super) start: u32,
    pub(super) len: u32,
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

/// Memory of the pool, or charged to it.
pub(super) struct Buffer {
    pub(super) storage: Storage,
    /// Bytes this buffer counts for in the pool.
    pub(super) charge: u32,
    pub(super) accounts: Rc<Accounts>,
}

#[derive(Debug)]
pub(super) enum Storage {
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

fn give_back(buffer: Option<Rc<Buffer>>) {
    if let Some(buffer) = buffer
        && Rc::strong_count(&buffer) == 1
    {
        let accounts = Rc::clone(&buffer.accounts);
        accounts.give_back(buffer);
    }
}
