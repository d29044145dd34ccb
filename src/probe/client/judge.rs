//! The verdict on a run: the worst of its held connections, and whether the others suffered (probe spec B.9, B.10).

use serde_json::{Value, json};

use super::{Outcome, Run, result};
use crate::net::Net as _;
use crate::probe::track::{Reason, Verdict};
use crate::probe::wire::{Direction, milli};
use crate::probe::{
    EXIT_CONNECT, EXIT_CORRUPT, EXIT_INCONCLUSIVE, EXIT_NO, EXIT_YES, evidence, exit_by_signal,
    netstat,
};

impl Run<'_> {
    /// The verdict, the exit status and the result.
    pub(super) fn judge(&mut self, is_interrupted: bool) -> Outcome {
        let is_gone = self.is_control_lost;
        let kernel = match self.direction {
            Direction::Up => evidence::kernel_release(),
            Direction::Down => None,
        };
        let mut worst = None;
        let mut entries = Vec::new();
        for (number, lane) in self.lanes.iter().enumerate() {
            let mut verdict = match self.error {
                Some(_) => (Verdict::Inconclusive, Reason::NotConnected),
                None => lane.track.verdict(&self.rules, is_gone),
            };
            if self.is_timed_out && verdict.0 == Verdict::Yes && !lane.is_done {
                verdict = (Verdict::Inconclusive, Reason::Timeout);
            }
            // Others are there to be compared with, but bytes must not be wrong on them either.
            if lane.track.is_held || verdict.0 == Verdict::Corrupt {
                worst = worst.max(Some(verdict.0));
            }
            entries.push(result::connection(
                number,
                &lane.track,
                self.began_at,
                verdict,
                kernel.as_deref(),
            ));
        }
        let verdict = worst.unwrap_or(Verdict::Inconclusive);
        let isolation = self.isolation();
        let is_isolated = isolation["ok"] != false;
        // A classic run asks nothing; it is good when everything was sent.
        let is_sent = self.lanes.iter().all(|lane| lane.track.is_complete);
        let exit = match (&self.error, verdict) {
            _ if is_interrupted => exit_by_signal(self.net),
            (Some(_), _) => EXIT_CONNECT,
            (None, _) if self.options.is_classic && is_sent => EXIT_YES,
            (None, Verdict::Corrupt) => EXIT_CORRUPT,
            (None, Verdict::Inconclusive) => EXIT_INCONCLUSIVE,
            (None, verdict) => {
                let is_yes = verdict == Verdict::Yes && is_isolated;
                match is_yes == self.options.expects_yes {
                    true => EXIT_YES,
                    false => EXIT_NO,
                }
            }
        };
        let expected = if self.options.expects_yes {
            "yes"
        } else {
            "no"
        };
        let elapsed = self.net.now().saturating_duration_since(self.began_at);
        let result = json!({
            "ev": "result",
            "t": milli(elapsed.as_secs_f64()),
            "schema": "probe-result/1",
            "verdict": verdict.name(),
            "expected": expected,
            "exit": exit,
            "run": self.id.to_string(),
            "direction": self.direction.name(),
            "transport": self.options.transport(),
            "url": self.options.target.url,
            "via": self.options.via.as_ref().map(|(host, port)| format!("http://{host}:{port}")),
            "connections": self.options.connections,
            "slow": self.options.slow,
            "verified": self.options.verify,
            "seconds": milli(elapsed.as_secs_f64()),
            "interrupted": is_interrupted,
            "classic": self.options.is_classic.then(|| json!({
                "requests": self.options.messages,
                "expected_s": match self.options.messages_per_second {
                    0 => None,
                    pace => Some(milli(self.options.messages as f64 / pace as f64)),
                },
                "fired_s": self.flowing_at.map(|at| {
                    milli(self.net.now().saturating_duration_since(at).as_secs_f64())
                }),
            })),
            "isolation": isolation,
            "control_gap_s": self.silence.map(|silence| milli(silence.as_secs_f64())),
            "late_samples": self.late_samples,
            "dropped_events": self.output.dropped(),
            "netstat": netstat::growth(&self.netstat),
            "error": self.error,
            "conns": entries,
        });
        let Value::Object(result) = result else {
            unreachable!("written as an object above")
        };
        Outcome {
            exit,
            result,
            is_interrupted,
        }
    }

    /// Whether the connections that were not held kept their rate (probe spec B.9).
    fn isolation(&self) -> Value {
        if !self.options.checks_isolation() {
            return json!({"checked": false});
        }
        let free = self.lanes.iter().filter(|lane| !lane.track.is_held);
        let seen: Vec<(f64, f64)> = free.filter_map(|lane| lane.track.isolation()).collect();
        let least = seen.iter().map(|(percent, _)| *percent).reduce(f64::min);
        let gap = seen.iter().map(|(_, gap)| *gap).reduce(f64::max);
        let is_whole = seen.len() as u32 == self.options.connections - self.options.slow;
        let ok = least.filter(|_| is_whole).zip(gap).map(|(least, gap)| {
            least >= self.options.isolation_percent && gap < self.rules.stall_min.as_secs_f64()
        });
        json!({
            "checked": true,
            "ok": ok,
            "min_percent": least.map(milli),
            "max_gap_s": gap.map(milli),
            "head_of_line": gap.map(|gap| gap >= self.rules.stall_min.as_secs_f64()),
        })
    }
}
