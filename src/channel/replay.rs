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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Bench;

    const RUN_BYTES: usize = 1316;

    /// Gives a ring for `bytes_max` bytes a start and then `count` runs, each in a buffer of its own.
    fn replay(bytes_max: usize, count: usize, pool: &Pool) -> Replay {
        let mut replay = Replay::new(bytes_max);
        for number in 0..=count {
            let run = Run {
                view: pool.take(RUN_BYTES).expect("room").freeze(RUN_BYTES),
                packets: 1,
                start: (number == 0).then_some(188),
            };
            replay.keep(&run, &[0x47; 376], pool);
        }
        replay
    }

    #[test]
    fn more_than_may_be_pinned_is_not_kept() {
        let pool = Bench::new(1024).shared.pool;
        let run = replay(1 << 20, 0, &pool).held_bytes();
        assert!(run >= RUN_BYTES);
        assert_eq!(replay(3 * run, 2, &pool).held_bytes(), 3 * run);
        let outgrown = replay(3 * run, 3, &pool);
        assert!(outgrown.start().is_none());
        assert_eq!((outgrown.held_bytes(), pool.held_bytes()), (0, 0));
    }

    #[test]
    fn a_buffer_is_counted_once_however_many_runs_lie_in_it() {
        let pool = Bench::new(1024).shared.pool;
        let mut replay = replay(1 << 20, 0, &pool);
        let (_, mut runs) = replay.start().expect("a start");
        let rest = Run {
            start: None,
            ..runs.next().expect("a run").clone()
        };
        drop(runs);
        let before = replay.held_bytes();
        replay.keep(&rest, &[], &pool);
        assert_eq!(replay.held_bytes(), before);
    }
}
