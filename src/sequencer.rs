//! Puts what arrives as datagrams in order and gathers it into runs.
//!
//! Owns the reorder window and what has become deliverable. It neither reads sockets nor tells RTP from anything
//! else; whoever does that gives it packets.

use std::time::Instant;

use crate::limits::{HOLE_WAIT, SENDER_PAUSE, START_WAIT};
use crate::pool::{Packet, Pool, Run};
use crate::proto::reorder::{self, Window};
use crate::proto::rtp::Rtp;
use crate::shared::Shared;

/// The packets of one stream, in order.
pub struct Sequencer {
    window: Window<Packet>,
    /// When the last RTP packet came.
    heard_at: Option<Instant>,
    /// Packets that have become deliverable.
    ready: Vec<Packet>,
    bytes: u64,
    overrun: u64,
}

impl Sequencer {
    /// Nothing received yet.
    pub fn new() -> Self {
        Self {
            window: Window::new(reorder::WINDOW, HOLE_WAIT, START_WAIT),
            heard_at: None,
            ready: Vec::new(),
            bytes: 0,
            overrun: 0,
        }
    }

    /// Accounts for `count` packets that stand in order already, from `first` on; false if they do not continue
    /// the stream.
    pub fn accept_run(&mut self, now: Instant, ssrc: u32, first: u16, count: u16) -> bool {
        self.hear(now);
        self.window.accept_run(ssrc, first, count)
    }

    /// Takes a copy of an RTP packet's payload.
    pub fn insert(&mut self, rtp: &Rtp, payload: &[u8], shared: &mut Shared) {
        self.hear(shared.now);
        match copy(payload, &shared.pool) {
            Some(packet) => {
                let Self { window, ready, .. } = self;
                window.insert(shared.now, rtp.ssrc, rtp.sequence, packet, ready);
            }
            None => self.note_overrun(1, shared),
        }
    }

    /// Takes a copy of bare TS, which has no sequence: it goes on in the order of arrival.
    pub fn append(&mut self, payload: &[u8], shared: &mut Shared) {
        match copy(payload, &shared.pool) {
            Some(packet) => self.ready.push(packet),
            None => self.note_overrun(1, shared),
        }
    }

    /// Notes packets for which the pool had no buffer.
    pub fn note_overrun(&mut self, packets: u64, shared: &mut Shared) {
        self.overrun += packets;
        shared.stats.packets_overrun += packets;
    }

    /// When packets that wait for a missing one will have waited long enough.
    pub fn deadline(&self) -> Option<Instant> {
        self.window.deadline()
    }

    /// Hands on what has been held back for too long.
    pub fn expire(&mut self, shared: &mut Shared, runs: &mut Vec<Run>) {
        if self
            .window
            .deadline()
            .is_some_and(|deadline| deadline <= shared.now)
        {
            self.window.expire(shared.now, &mut self.ready);
            self.hand_on(&shared.pool, runs);
        }
    }

    /// Hands on everything: nothing more will come.
    pub fn finish(&mut self, pool: &Pool, runs: &mut Vec<Run>) {
        // Every deadline ends one wait, of which there are no more than packets held.
        for _ in 0..reorder::WINDOW {
            let Some(deadline) = self.window.deadline() else {
                break;
            };
            self.window.expire(deadline, &mut self.ready);
        }
        self.hand_on(pool, runs);
    }

    /// Hands on what is deliverable, as one run where the pool has a buffer for it.
    pub fn hand_on(&mut self, pool: &Pool, runs: &mut Vec<Run>) {
        self.ready.retain(|packet| !packet.is_empty());
        let bytes: usize = self.ready.iter().map(Packet::len).sum();
        self.bytes += bytes as u64;
        if let [_, _, ..] = self.ready[..]
            && let Some(mut joined) = pool.take(bytes)
        {
            let mut rest = joined.bytes_mut();
            for part in self.ready.iter().filter_map(Packet::bytes) {
                let (front, back) = rest.split_at_mut(part.len());
                front.copy_from_slice(part);
                rest = back;
            }
            runs.push(Run {
                view: joined.freeze(bytes),
                packets: self.ready.len() as u32,
                start: None,
            });
            self.ready.clear();
        }
        runs.extend(self.ready.drain(..).map(|view| Run {
            view,
            packets: 1,
            start: None,
        }));
    }

    /// What became of the RTP packets.
    pub fn counters(&self) -> reorder::Counters {
        self.window.counters()
    }

    /// Bytes handed on.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Packets for which the pool had no buffer.
    pub fn overrun(&self) -> u64 {
        self.overrun
    }

    fn hear(&mut self, now: Instant) {
        let before = self.heard_at.replace(now);
        if before.is_some_and(|before| now.saturating_duration_since(before) >= SENDER_PAUSE) {
            self.window.note_pause();
        }
    }
}

impl Default for Sequencer {
    fn default() -> Self {
        Self::new()
    }
}

fn copy(payload: &[u8], pool: &Pool) -> Option<Packet> {
    let mut packet = pool.take(payload.len())?;
    packet.bytes_mut()[..payload.len()].copy_from_slice(payload);
    Some(packet.freeze(payload.len()))
}
