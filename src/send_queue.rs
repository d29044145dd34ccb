//! What waits to be written to one socket: views of shared buffers, in order, and behind them a body that lies
//! outside the pool, or what lies in a pipe of the kernel.
//!
//! A head, an answer or a body must be written whole. A run of live media may be taken back while no byte of it
//! has been written ([`SendQueue::shed`]); that is a gap, and it is returned as a count of packets.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::Deref;
use std::rc::Rc;

use crate::limits::{WRITE_BYTES_PER_TURN, WRITE_PARTS_MAX};
use crate::net::{Io, Net, PipeId, Writer};
use crate::pool::{Charge, Packet};
use crate::stats::Sends;

/// Views in order, the unwritten part of the first one first.
#[derive(Debug, Default)]
pub struct SendQueue {
    entries: VecDeque<Entry>,
    /// Bytes of the first entry already written.
    head_written: usize,
    queued_bytes: usize,
    held_bytes: usize,
    /// Comes after all entries; never together with `piped`. Boxed, because few connections ever have one.
    local: Option<Box<Local>>,
    /// Comes after all entries.
    piped: Option<Piped>,
}

/// A body outside the pool, of any length: it is written from where it lies, so it needs no buffer and has no
/// limit to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalBody {
    /// Part of the program.
    Static(&'static [u8]),
    /// Shared by whoever sends it.
    Shared(Rc<[u8]>),
}

impl Deref for LocalBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Static(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// A body on its way.
#[derive(Debug)]
struct Local {
    body: LocalBody,
    /// Bytes of it already written.
    written: usize,
}

/// Bytes in a pipe; they count as queued and as held.
#[derive(Debug)]
struct Piped {
    pipe: PipeId,
    charge: Charge,
}

#[derive(Debug)]
struct Entry {
    view: Packet,
    /// Live datagrams the view carries; 0 for what may not be taken back.
    packets: u32,
    /// Bytes this entry adds to `held_bytes`: the buffer's, or 0 when the entry before lies in the same one.
    charge: u32,
}

/// Media that a client was not given.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Whole datagrams.
    pub packets: u64,
    /// Their payload.
    pub bytes: u64,
}

impl SendQueue {
    /// Appends a view; `packets` is how many live datagrams it carries, 0 for anything else.
    ///
    /// Nothing may be pushed while a local body or bytes in a pipe wait: they would be overtaken.
    pub fn push(&mut self, view: Packet, packets: u32) {
        debug_assert!(self.piped_bytes() == 0, "pushed behind a pipe");
        debug_assert!(self.local.is_none(), "pushed behind a local body");
        if view.is_empty() {
            return;
        }
        let shared = self
            .entries
            .back()
            .is_some_and(|last| last.view.shares_buffer(&view));
        let charge = if shared { 0 } else { view.held_bytes() as u32 };
        self.queued_bytes += view.len();
        self.held_bytes += charge as usize;
        self.entries.push_back(Entry {
            view,
            packets,
            charge,
        });
    }

    /// Appends a body that lies outside the pool. It counts as queued and not as held. Only one at a time, see
    /// [`SendQueue::local_bytes`].
    pub fn push_local(&mut self, body: LocalBody) {
        debug_assert!(self.local.is_none(), "one local body at a time");
        debug_assert!(self.piped.is_none(), "a local body beside a pipe");
        if !body.is_empty() {
            self.local = Some(Box::new(Local { body, written: 0 }));
        }
    }

    /// Bytes of the local body that wait.
    pub fn local_bytes(&self) -> usize {
        let rest = |local: &Local| local.body.len() - local.written;
        self.local.as_deref().map_or(0, rest)
    }

    /// From now on what lies in `pipe`, whose bytes `charge` counts, comes after everything else. The pipe stays
    /// the caller's.
    pub fn attach_pipe(&mut self, pipe: PipeId, charge: Charge) {
        self.piped = Some(Piped { pipe, charge });
    }

    /// The pipe is of no more use; what is still in it will not be written.
    pub fn detach_pipe(&mut self) {
        self.piped = None;
    }

    /// Notes that `bytes` more have been put into the pipe.
    pub fn note_piped(&mut self, bytes: usize) {
        debug_assert!(self.piped.is_some(), "a pipe was attached before");
        if let Some(piped) = &mut self.piped {
            piped.charge.count(bytes);
        }
    }

    /// Bytes in the pipe.
    pub fn piped_bytes(&self) -> usize {
        self.piped.as_ref().map_or(0, |piped| piped.charge.bytes())
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.local.is_none() && self.piped_bytes() == 0
    }

    /// Payload bytes that wait.
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes + self.local_bytes() + self.piped_bytes()
    }

    /// Bytes of the buffers that the queue pins and of its pipe; what limits and watermarks count.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes + self.piped_bytes()
    }

    /// Writes what the socket takes, at most [`WRITE_BYTES_PER_TURN`], and returns how much that was.
    ///
    /// # Errors
    ///
    /// What the socket reports; the connection is then of no more use.
    pub fn flush(
        &mut self,
        to: &mut impl Writer,
        net: &mut dyn Net,
        sends: &mut Sends,
    ) -> io::Result<usize> {
        let mut written = 0;
        while to.is_writable() && !self.is_empty() && written < WRITE_BYTES_PER_TURN {
            let from_pipe = self.entries.is_empty() && self.local.is_none();
            let result = match &self.piped {
                Some(piped) if from_pipe => {
                    to.write_piped(net, piped.pipe, piped.charge.bytes())?
                }
                _ => self.write_front(to, net)?,
            };
            match result {
                Io::Done(bytes) => {
                    sends.calls += 1;
                    sends.bytes += bytes as u64;
                    written += bytes;
                    match &mut self.piped {
                        Some(piped) if from_pipe => piped.charge.shrink(bytes),
                        _ => self.advance(bytes),
                    }
                }
                Io::Blocked => sends.blocked += 1,
            }
        }
        Ok(written)
    }

    /// One call: all leading views that lie in memory, and the local body if no view is left out; or one view that
    /// lies in shared pages.
    fn write_front(&self, to: &mut impl Writer, net: &mut dyn Net) -> io::Result<Io<usize>> {
        if let Some(first) = self.entries.front()
            && first.view.segment().is_some()
        {
            return to.write_pages(net, &first.view.slice(self.head_written..first.view.len()));
        }
        let mut parts = [IoSlice::new(&[]); WRITE_PARTS_MAX];
        let mut count = 0;
        for (part, entry) in parts.iter_mut().zip(&self.entries) {
            let Some(bytes) = entry.view.bytes() else {
                break;
            };
            let written = if count == 0 { self.head_written } else { 0 };
            *part = IoSlice::new(&bytes[written..]);
            count += 1;
        }
        if let Some(local) = &self.local
            && count == self.entries.len()
            && let Some(part) = parts.get_mut(count)
        {
            let rest = local.body.get(local.written..).unwrap_or_default();
            *part = IoSlice::new(rest.get(..WRITE_BYTES_PER_TURN).unwrap_or(rest));
            count += 1;
        }
        to.write(net, &parts[..count])
    }

    /// Forgets the first `bytes` bytes, which have been written.
    fn advance(&mut self, bytes: usize) {
        debug_assert!(
            bytes <= self.queued_bytes(),
            "{bytes} bytes written of {}",
            self.queued_bytes()
        );
        let of_views = bytes.min(self.queued_bytes);
        self.advance_local(bytes - of_views);
        self.queued_bytes -= of_views;
        self.head_written += of_views;
        while let Some(first) = self.entries.front()
            && self.head_written >= first.view.len()
        {
            self.head_written -= first.view.len();
            self.pop_front();
        }
        if self.entries.is_empty() {
            // A client that has caught up pins nothing, its own bookkeeping included.
            if self.entries.capacity() > WRITE_PARTS_MAX {
                self.entries = VecDeque::new();
            }
        }
    }

    fn advance_local(&mut self, bytes: usize) {
        if let Some(local) = &mut self.local {
            local.written += bytes;
            if local.written >= local.body.len() {
                self.local = None;
            }
        }
    }

    fn pop_front(&mut self) {
        if let Some(first) = self.entries.pop_front() {
            self.uncharge(&first);
        }
    }

    /// Takes `gone`, which stood at the front or behind a kept entry at `next - 1`, off the books.
    fn uncharge(&mut self, gone: &Entry) {
        self.held_bytes -= gone.charge as usize;
        // Who shared its buffer pins it from now on.
        if let Some(next) = self.entries.front_mut()
            && next.charge == 0
            && next.view.shares_buffer(&gone.view)
        {
            next.charge = gone.charge;
            self.held_bytes += gone.charge as usize;
        }
    }

    /// Whether [`SendQueue::shed`] could take anything back.
    pub fn can_shed(&self) -> bool {
        let begun = usize::from(self.head_written > 0);
        self.entries
            .iter()
            .skip(begun)
            .any(|entry| entry.packets > 0)
    }

    /// Takes back the oldest live media that has not been touched by a write, until at most `held_bytes` are
    /// pinned or nothing more can be taken back.
    pub fn shed(&mut self, held_bytes: usize) -> Gap {
        let mut gap = Gap::default();
        // What cannot be taken back stands in front: the head, and an entry that is partly written.
        let mut kept = Vec::new();
        if self.head_written > 0 {
            kept.extend(self.entries.pop_front());
        }
        while self.entries.front().is_some_and(|entry| entry.packets == 0) {
            kept.extend(self.entries.pop_front());
        }
        while self.held_bytes > held_bytes
            && let Some(entry) = self.entries.pop_front()
        {
            gap.packets += u64::from(entry.packets);
            gap.bytes += entry.view.len() as u64;
            self.queued_bytes -= entry.view.len();
            self.uncharge(&entry);
        }
        for entry in kept.into_iter().rev() {
            self.entries.push_front(entry);
        }
        gap
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Recounts what is held, for the invariants of debug builds.
    pub fn recount(&self) -> (usize, usize) {
        let queued: usize = self.entries.iter().map(|entry| entry.view.len()).sum();
        let held: usize = self.entries.iter().map(|entry| entry.charge as usize).sum();
        let piped = self.piped_bytes();
        let queued = queued - self.head_written + self.local_bytes();
        (queued + piped, held + piped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pool;

    fn packet(pool: &Pool, byte: u8, len: usize) -> Packet {
        let mut packet = pool.take(len).expect("room");
        packet.bytes_mut()[..len].fill(byte);
        packet.freeze(len)
    }

    fn contents(queue: &SendQueue) -> Vec<u8> {
        let mut bytes: Vec<u8> = queue
            .entries
            .iter()
            .flat_map(|entry| entry.view.bytes().expect("in memory").to_vec())
            .collect();
        bytes.drain(..queue.head_written);
        bytes
    }

    #[test]
    fn views_of_one_buffer_are_charged_once_until_the_last_is_written() {
        let pool = Pool::new(1 << 20);
        let buffer = packet(&pool, 1, 100);
        let mut queue = SendQueue::default();
        queue.push(buffer.slice(0..40), 1);
        queue.push(buffer.slice(40..100), 1);
        drop(buffer);
        assert_eq!((queue.queued_bytes(), queue.held_bytes()), (100, 2048));
        queue.advance(50);
        assert_eq!((queue.queued_bytes(), queue.held_bytes()), (50, 2048));
        assert_eq!(queue.recount(), (50, 2048));
        queue.advance(50);
        assert_eq!(
            (queue.queued_bytes(), queue.held_bytes(), pool.held_bytes()),
            (0, 0, 0)
        );
    }

    #[test]
    fn shedding_keeps_heads_and_what_is_partly_written() {
        let pool = Pool::new(1 << 20);
        let mut queue = SendQueue::default();
        queue.push(packet(&pool, b'h', 10), 0);
        for byte in 1..=4 {
            queue.push(packet(&pool, byte, 4), 2);
        }
        queue.advance(12);
        let gap = queue.shed(4096);
        assert_eq!(
            gap,
            Gap {
                packets: 4,
                bytes: 8
            }
        );
        assert_eq!(contents(&queue), [1, 1, 4, 4, 4, 4]);
        assert_eq!(queue.recount(), (queue.queued_bytes(), queue.held_bytes()));
    }

    #[test]
    fn shedding_everything_leaves_an_unwritten_head() {
        let pool = Pool::new(1 << 20);
        let mut queue = SendQueue::default();
        queue.push(packet(&pool, b'h', 3), 0);
        queue.push(packet(&pool, 1, 3), 1);
        assert_eq!(
            queue.shed(0),
            Gap {
                packets: 1,
                bytes: 3
            }
        );
        assert_eq!(contents(&queue), b"hhh");
    }

    #[test]
    fn local_body_comes_behind_the_views_and_pins_nothing() {
        let pool = Pool::new(1 << 20);
        let mut queue = SendQueue::default();
        queue.push(packet(&pool, b'h', 10), 0);
        queue.push_local(LocalBody::Static(&[b'b'; 100]));
        assert_eq!((queue.queued_bytes(), queue.held_bytes()), (110, 2048));
        queue.advance(4);
        assert_eq!((queue.queued_bytes(), queue.local_bytes()), (106, 100));
        queue.advance(46);
        assert_eq!((queue.local_bytes(), queue.held_bytes()), (60, 0));
        assert_eq!(queue.recount(), (60, 0));
        queue.advance(60);
        assert!(queue.is_empty());
        queue.push_local(LocalBody::Shared(Rc::new([])));
        assert!(queue.is_empty());
    }

    #[test]
    fn empty_views_are_not_queued() {
        let pool = Pool::new(1 << 20);
        let mut queue = SendQueue::default();
        queue.push(packet(&pool, 0, 0), 0);
        assert!(queue.is_empty());
    }
}
