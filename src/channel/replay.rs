//! The fast-start ring: what a newcomer is sent first, so that its picture stands at once.
//!
//! Keeps PAT, PMT and every run since the latest random-access point, bounded in the bytes that are pinned.
//! When the distance between two such points is too long for the bound, nothing is kept until the next.

use std::collections::VecDeque;

use crate::pool::{Packet, Pool, Run};

/// Media since the latest random-access point.
#[derive(Debug)]
pub struct Replay {
    /// PAT and PMT as they stood at the start, as whole TS packets.
    tables: Option<Packet>,
    runs: VecDeque<Run>,
    held_bytes: usize,
    held_bytes_max: usize,
}

impl Replay {
    /// An empty ring that pins at most `held_bytes_max` bytes.
    pub fn new(held_bytes_max: usize) -> Self {
        Self {
            tables: None,
            runs: VecDeque::new(),
            held_bytes: 0,
            held_bytes_max,
        }
    }

    /// Keeps the run if a newcomer would need it. `tables` are PAT and PMT as they stand at its start, if it has
    /// one. Every run passes here, in order.
    pub fn keep(&mut self, run: &Run, tables: &[u8], pool: &Pool) {
        match run.start {
            Some(offset) => {
                self.clear();
                self.tables = copy(tables, pool);
                let view = run.view.slice(offset as usize..run.view.len());
                self.push(Run {
                    view,
                    packets: run.packets,
                    start: Some(0),
                });
            }
            None if self.runs.is_empty() => {}
            None => self.push(run.clone()),
        }
    }

    fn push(&mut self, run: Run) {
        let shared = self
            .runs
            .back()
            .is_some_and(|last| last.view.shares_buffer(&run.view));
        self.held_bytes += if shared { 0 } else { run.view.held_bytes() };
        self.runs.push_back(run);
        if self.held_bytes > self.held_bytes_max {
            self.clear();
        }
    }

    /// PAT and PMT, and everything since the start, which the first run begins with; `None` while there is
    /// nothing to start from.
    pub fn start(&self) -> Option<(&Packet, impl Iterator<Item = &Run>)> {
        let tables = self.tables.as_ref().filter(|_| !self.runs.is_empty())?;
        Some((tables, self.runs.iter()))
    }

    /// Bytes pinned by the runs.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Forgets what is kept, until the next start.
    pub fn clear(&mut self) {
        self.tables = None;
        self.runs.clear();
        self.held_bytes = 0;
    }
}

fn copy(tables: &[u8], pool: &Pool) -> Option<Packet> {
    let mut packet = pool.take(tables.len()).filter(|_| !tables.is_empty())?;
    packet.bytes_mut()[..tables.len()].copy_from_slice(tables);
    Some(packet.freeze(tables.len()))
}
