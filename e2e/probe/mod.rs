//! The probe: its verdict about chains that behave and chains that misbehave in known ways.

mod chains;
mod direct;
mod failing;
mod many;
mod page;
mod peers;
mod relay;

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::server::PROGRAM;
use crate::support::tool::{self, Tool};

/// How long a run may take that lasts a few seconds by itself.
const RUN: Duration = Duration::from_secs(60);

/// A running `probe server` on a port of the system's choice; killed when dropped.
pub(crate) struct ProbeServer {
    pub(crate) tool: Tool,
    pub(crate) port: u16,
}

impl ProbeServer {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["probe", "server", "--listen", "127.0.0.1:0"]);
        let tool = Tool::start(command.args(arguments));
        let line = tool.stderr.wait("listening on 127.0.0.1:");
        let port = line.rsplit(':').next().and_then(|port| port.parse().ok());
        Self {
            tool,
            port: port.expect("the line ends in a port"),
        }
    }
}

/// What a client has come to.
pub(crate) struct Run {
    pub(crate) exit: i32,
    pub(crate) result: Value,
    /// The whole of what it said, for complaints.
    pub(crate) said: String,
}

impl Run {
    pub(crate) fn conn(&self, number: usize) -> &Value {
        &self.result["conns"][number]
    }

    /// Insists on verdict and reason of the first connection, and on the exit status.
    #[track_caller]
    pub(crate) fn expect(&self, verdict: &str, reason: &str, exit: i32) {
        let connection = self.conn(0);
        let found = (
            self.result["verdict"].as_str().unwrap_or("?"),
            connection["reason"].as_str().unwrap_or("?"),
            self.exit,
        );
        assert_eq!(found, (verdict, reason, exit), "{}", self.said);
    }

    /// Insists that back pressure travels, with the evidence for it and every byte accounted for.
    #[track_caller]
    pub(crate) fn expect_yes(&self) {
        self.expect("yes", "propagates", 0);
        let connection = self.conn(0);
        assert_eq!(connection["lost"], 0, "{}", self.said);
        assert!(connection["bad_at"].is_null(), "{}", self.said);
        assert!(self.hold("stall_s") >= 0.5, "{}", self.said);
    }

    /// A number from the hold of the first connection.
    #[track_caller]
    pub(crate) fn hold(&self, name: &str) -> f64 {
        let value = &self.conn(0)["hold"][name];
        value
            .as_f64()
            .unwrap_or_else(|| panic!("{name}: {value}\n{}", self.said))
    }
}

/// Short phases, so that a run takes about three seconds. The longest hold is long, because it ends by itself.
pub(crate) const SHORT: [&str; 8] = [
    "--warmup",
    "500ms",
    "--hold",
    "10s",
    "--resume",
    "2s",
    "--stall-min",
    "700ms",
];

/// Runs a client to its end.
pub(crate) fn probe(url: &str, arguments: &[&str]) -> Run {
    let mut command = Command::new(PROGRAM);
    command.args(["probe", "client", url, "--json"]).args(SHORT);
    let said = tool::run_within(RUN, command.args(arguments));
    let last = said.stdout.lines().last().unwrap_or_default();
    let result: Value = serde_json::from_str(last)
        .unwrap_or_else(|error| panic!("{error}: {last:?}\n{}", said.stderr));
    assert_eq!(result["ev"], "result", "{last}");
    assert_eq!(result["schema"], "probe-result/1");
    let exit = said.status.code().expect("it ends by itself");
    assert_eq!(result["exit"], exit, "{last}");
    Run {
        exit,
        said: format!(
            "{}\n{}",
            serde_json::to_string_pretty(&result).expect("JSON"),
            said.stderr
        ),
        result,
    }
}
