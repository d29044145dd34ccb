//! What waits to be written to one socket: views of shared buffers, in order, and behind them what lies in a
//! pipe of the kernel.
//!
//! A head, an answer or a body must be written whole. A run of live media may be taken back while no byte of it
//! has been written ([`SendQueue::shed`]); that is a gap, and it is returned as a count of packets.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

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
    /// Comes after all entries.
    piped: Option<Piped>,
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
    /// Nothing may be pushed while bytes wait in a pipe: they would be overtaken.
    pub fn push(&mut self, view: Packet, packets: u32) {
        debug_assert!(self.piped_bytes() == 0, "pushed behind a pipe");
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
        self.entries.is_empty() && self.piped_bytes() == 0
    }

    /// Payload bytes that wait.
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes + self.piped_bytes()
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
            let from_pipe = self.entries.is_empty();
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

    /// One call: all leading views that lie in memory, or one that lies in shared pages.
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
        to.write(net, &parts[..count])
    }

    /// Forgets the first `bytes` bytes, which have been written.
    fn advance(&mut self, bytes: usize) {
        debug_assert!(
            bytes <= self.queued_bytes,
            "{bytes} bytes written of {}",
            self.queued_bytes
        );
        self.queued_bytes -= bytes;
        self.head_written += bytes;
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
        (queued - self.head_written + piped, held + piped)
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
    fn empty_views_are_not_queued() {
        let pool = Pool::new(1 << 20);
        let mut queue = SendQueue::default();
        queue.push(packet(&pool, 0, 0), 0);
        assert!(queue.is_empty());
    }
}
