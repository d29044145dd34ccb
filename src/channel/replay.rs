//! The fast-start ring: what a newcomer is sent first, so that its picture stands at once.
//!
//! Keeps PAT, PMT and every run since the latest random-access point, bounded in the bytes that are pinned.
//! When the distance between two such points is too long for the bound, nothing is kept until the next.

use std::collections::VecDeque;

use crate::pool::Run;
use crate::proto::mpegts::Scanner;

/// Where in a run a decoder can start, as [`Replay::scan`] found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start(Option<usize>);

/// Media since the latest random-access point.
#[derive(Debug)]
pub struct Replay {
    scanner: Scanner,
    /// PAT and PMT as they stood at the start.
    tables: Vec<u8>,
    runs: VecDeque<Run>,
    queued_bytes: usize,
    held_bytes: usize,
    held_bytes_max: usize,
    /// Scratch of [`Replay::scan`].
    found: Vec<usize>,
}

impl Replay {
    /// An empty ring that pins at most `held_bytes_max` bytes.
    pub fn new(held_bytes_max: usize) -> Self {
        Self {
            scanner: Scanner::new(),
            tables: Vec::new(),
            runs: VecDeque::new(),
            queued_bytes: 0,
            held_bytes: 0,
            held_bytes_max,
            found: Vec::new(),
        }
    }

    /// Looks for a random-access point in a run that lies in memory. Every run passes here, in order.
    pub fn scan(&mut self, run: &Run) -> Start {
        self.found.clear();
        if let Some(bytes) = run.view.bytes() {
            self.scanner.scan(bytes, &mut self.found);
        }
        Start(self.found.last().copied())
    }

    /// Keeps the run if a newcomer would need it.
    pub fn keep(&mut self, run: &Run, start: Start) {
        match start {
            Start(Some(offset)) => {
                self.clear();
                self.tables
                    .extend_from_slice(self.scanner.tables_at_start());
                let view = run.view.slice(offset..run.view.len());
                self.push(Run {
                    view,
                    packets: run.packets,
                });
            }
            Start(None) if self.runs.is_empty() => {}
            Start(None) => self.push(run.clone()),
        }
    }

    fn push(&mut self, run: Run) {
        let shared = self
            .runs
            .back()
            .is_some_and(|last| last.view.shares_buffer(&run.view));
        self.queued_bytes += run.view.len();
        self.held_bytes += if shared { 0 } else { run.view.held_bytes() };
        self.runs.push_back(run);
        if self.held_bytes > self.held_bytes_max {
            self.clear();
        }
    }

    /// Whether a newcomer can be started from here.
    pub fn is_ready(&self) -> bool {
        !self.runs.is_empty() && !self.tables.is_empty()
    }

    /// PAT and PMT, as whole TS packets.
    pub fn tables(&self) -> &[u8] {
        &self.tables
    }

    /// Everything since the start, which the first run begins with.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter()
    }

    /// Payload bytes kept.
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Bytes pinned.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Forgets what is kept; the tables are learnt again at the next start.
    pub fn clear(&mut self) {
        self.tables.clear();
        self.runs.clear();
        self.queued_bytes = 0;
        self.held_bytes = 0;
    }
}
