//! What every connection of a server may use: the network, the time, the options, the runs, and where events go.

use std::time::Instant;

use serde_json::{Value, json};

use super::runs::Runs;
use crate::net::Net as _;
use crate::net::mio::MioNet;
use crate::net::tls::TlsServer;
use crate::probe::options::ServerOptions;
use crate::probe::output::Output;
use crate::probe::wire::{Command, RunId, milli};

/// What every connection may use.
pub(super) struct Shared {
    /// The network.
    pub(super) net: MioNet,
    /// Read before every turn.
    pub(super) now: Instant,
    /// How the server behaves.
    pub(super) options: ServerOptions,
    /// The runs.
    pub(super) runs: Runs,
    /// Events or lines for people.
    pub(super) output: Output,
    /// Certificates, if there are any.
    pub(super) tls: Option<TlsServer>,
    started_at: Instant,
    /// Connections so far.
    pub(super) accepted: u64,
    /// Payload bytes of connections that have ended.
    pub(super) consumed: u64,
}

impl Shared {
    /// For a server that starts now.
    pub(super) fn new(
        net: MioNet,
        options: ServerOptions,
        tls: Option<TlsServer>,
        output: Output,
    ) -> Self {
        let now = net.now();
        Self {
            net,
            now,
            options,
            runs: Runs::default(),
            output,
            tls,
            started_at: now,
            accepted: 0,
            consumed: 0,
        }
    }

    /// Says what is known and returns the exit status.
    pub(super) fn stopped_by_signal(&mut self) -> u8 {
        self.event("stop", None, json!({}));
        self.output.finish(String::new());
        crate::probe::exit_by_signal(&self.net)
    }

    /// Tells an event, as JSON or in words.
    pub(super) fn event(&mut self, name: &str, words: Option<String>, mut value: Value) {
        if self.options.json {
            let at = self.now.saturating_duration_since(self.started_at);
            value["ev"] = name.into();
            value["t"] = milli(at.as_secs_f64()).into();
            self.output.write(format!("{value}\n"));
        } else if let Some(words) = words {
            self.output.write(format!("{words}\n"));
        }
    }

    /// Notes how a run has ended, if that is what `command` says.
    pub(super) fn note_done(&mut self, run: RunId, command: Command) {
        if let (Command::Done { exit }, Some(run)) = (command, self.runs.get_mut(run)) {
            run.exit = Some(exit);
        }
    }

    /// Counters in the text format of Prometheus.
    pub(super) fn metrics(&self) -> String {
        let open: usize = self
            .runs
            .iter()
            .flat_map(|run| run.connections.values())
            .filter(|entry| entry.peer.is_some())
            .count();
        format!(
            "# TYPE flowgate_probe_connections_total counter\n\
             flowgate_probe_connections_total {}\n\
             # TYPE flowgate_probe_payload_bytes_total counter\n\
             flowgate_probe_payload_bytes_total {}\n\
             # TYPE flowgate_probe_payload_connections gauge\n\
             flowgate_probe_payload_connections {open}\n",
            self.accepted, self.consumed
        )
    }
}
