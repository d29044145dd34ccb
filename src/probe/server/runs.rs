//! The runs a server knows: which connections belong together, and what each said last.
//!
//! Owns text and ids only; a connection may be gone while its last word stays. At most [`PROBE_RUNS_MAX`] runs are
//! kept, and those that have ended give way first.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::PeerId;
use crate::limits::PROBE_RUNS_MAX;
use crate::probe::wire::RunId;

/// One run.
#[derive(Debug)]
pub(super) struct Run {
    /// Which.
    pub(super) id: RunId,
    /// Interval of views.
    pub(super) sample: Duration,
    /// The exit status its client has told.
    pub(super) exit: Option<u8>,
    /// Whether bytes were seen to be wrong.
    pub(super) is_corrupt: bool,
    /// Connections that carry payload, by their number.
    pub(super) connections: BTreeMap<u32, Entry>,
    /// Connections that carry commands and views.
    controls: u32,
}

/// One connection of a run.
#[derive(Debug)]
pub(super) struct Entry {
    /// The connection, if it is still open.
    pub(super) peer: Option<PeerId>,
    /// What it said last, as a JSON object.
    pub(super) view: String,
}

impl Run {
    /// Whether nothing of it is open any more.
    pub(super) fn is_over(&self) -> bool {
        self.controls == 0 && self.connections.values().all(|entry| entry.peer.is_none())
    }

    /// All views as one JSON object.
    pub(super) fn to_json(&self) -> String {
        let views: Vec<&str> = self
            .connections
            .values()
            .map(|entry| entry.view.as_str())
            .filter(|view| !view.is_empty())
            .collect();
        format!(
            "{{\"run\":\"{}\",\"over\":{},\"conns\":[{}]}}\n",
            self.id,
            self.is_over(),
            views.join(",")
        )
    }
}

/// All runs, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Runs {
    runs: VecDeque<Run>,
}

impl Runs {
    /// A run that is known.
    pub(super) fn get(&self, id: RunId) -> Option<&Run> {
        self.runs.iter().find(|run| run.id == id)
    }

    /// As [`Runs::get`], mutable.
    pub(super) fn get_mut(&mut self, id: RunId) -> Option<&mut Run> {
        self.runs.iter_mut().find(|run| run.id == id)
    }

    /// Every run, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter()
    }

    /// A connection of run `id` begins to carry payload.
    ///
    /// # Errors
    ///
    /// When there are too many runs, or the connection's number is taken.
    pub(super) fn join(
        &mut self,
        id: RunId,
        connection: u32,
        peer: PeerId,
        sample: Duration,
    ) -> Result<(), String> {
        let run = self.enter(id)?;
        run.sample = sample;
        let entry = run.connections.entry(connection).or_insert(Entry {
            peer: None,
            view: String::new(),
        });
        if entry.peer.is_some() {
            return Err(format!(
                "connection {connection} of run {id} is open already"
            ));
        }
        entry.peer = Some(peer);
        Ok(())
    }

    /// A control connection of run `id` is opened.
    ///
    /// # Errors
    ///
    /// When there are too many runs.
    pub(super) fn open_control(&mut self, id: RunId) -> Result<(), String> {
        self.enter(id)?.controls += 1;
        Ok(())
    }

    /// A control connection is closed.
    pub(super) fn close_control(&mut self, id: RunId) {
        if let Some(run) = self.get_mut(id) {
            run.controls = run.controls.saturating_sub(1);
        }
    }

    /// A connection has something to say.
    pub(super) fn note(&mut self, id: RunId, connection: u32, view: String) {
        if let Some(entry) = self
            .get_mut(id)
            .and_then(|run| run.connections.get_mut(&connection))
        {
            entry.view = view;
        }
    }

    /// A connection is gone; what it said stays.
    pub(super) fn leave(&mut self, id: RunId, connection: u32) {
        if let Some(entry) = self
            .get_mut(id)
            .and_then(|run| run.connections.get_mut(&connection))
        {
            entry.peer = None;
        }
    }

    fn enter(&mut self, id: RunId) -> Result<&mut Run, String> {
        if let Some(at) = self.runs.iter().position(|run| run.id == id) {
            return Ok(&mut self.runs[at]);
        }
        if self.runs.len() >= PROBE_RUNS_MAX {
            let over = self.runs.iter().position(Run::is_over);
            let over = over.ok_or_else(|| format!("more than {PROBE_RUNS_MAX} runs at a time"))?;
            self.runs.remove(over);
        }
        self.runs.push_back(Run {
            id,
            sample: Duration::from_millis(100),
            exit: None,
            is_corrupt: false,
            connections: BTreeMap::new(),
            controls: 0,
        });
        let last = self.runs.len() - 1;
        Ok(&mut self.runs[last])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Id;

    const SAMPLE: Duration = Duration::from_millis(100);

    fn peer() -> PeerId {
        Id::from_parts(1, 1)
    }

    #[test]
    fn a_run_is_over_when_its_last_connection_is_gone() {
        let (mut runs, id) = (Runs::default(), RunId(1));
        runs.open_control(id).expect("room");
        runs.join(id, 0, peer(), SAMPLE).expect("room");
        runs.note(id, 0, "{\"conn\":0}".into());
        runs.close_control(id);
        assert!(!runs.get(id).expect("known").is_over());
        assert!(runs.join(id, 0, peer(), SAMPLE).is_err(), "it is taken");
        runs.leave(id, 0);
        let run = runs.get(id).expect("known");
        assert!(run.is_over());
        assert_eq!(
            run.to_json(),
            "{\"run\":\"0000000000000001\",\"over\":true,\"conns\":[{\"conn\":0}]}\n"
        );
    }

    #[test]
    fn old_runs_give_way_and_running_ones_do_not() {
        let mut runs = Runs::default();
        for number in 0..PROBE_RUNS_MAX as u64 {
            runs.open_control(RunId(number)).expect("room");
        }
        assert!(runs.open_control(RunId(1000)).is_err());
        runs.close_control(RunId(5));
        runs.open_control(RunId(1000)).expect("room");
        assert!(runs.get(RunId(5)).is_none() && runs.get(RunId(1000)).is_some());
        assert_eq!(runs.iter().count(), PROBE_RUNS_MAX);
    }
}
