//! The facts in the text format of Prometheus, version 0.0.4.
//!
//! Names follow its conventions: a prefix, base units, `_total` for what only grows. Where the JSON has the same
//! number, it is the same number. Counters of a worker count all its processes since the program's start, those of a
//! channel begin when it is joined.

use std::fmt::Write;

use super::facts::{ChannelFacts, WorkerFacts};
use super::snapshot::{Program, VERSION};

/// The media type of what [`text`] returns.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything, as one text.
pub fn text(program: &Program<'_>) -> String {
    let mut metrics = Metrics {
        text: String::with_capacity(16 << 10),
    };
    metrics.family("build_info", "gauge", "The version that runs.");
    metrics.sample("build_info", &[("version", VERSION)], 1);
    metrics.family(
        "start_time_seconds",
        "gauge",
        "When the program was started, since 1970.",
    );
    let millis = program.start_ms;
    // Not a float: it would lose digits.
    let seconds = format!("{}.{:03}", millis / 1000, millis % 1000);
    metrics.sample("start_time_seconds", &[], seconds);
    metrics.family("clients_max", "gauge", "Clients that may be served.");
    metrics.sample("clients_max", &[], program.clients_max);
    for (name, kind, help, value) in WORKER_METRICS {
        metrics.family(name, kind, help);
        for worker in program.workers {
            let number = worker.worker.to_string();
            metrics.sample(name, &[("worker", &number)], value(worker));
        }
    }
    for (name, kind, help, value) in CHANNEL_METRICS {
        metrics.family(name, kind, help);
        for worker in program.workers {
            let number = worker.worker.to_string();
            for channel in &worker.channels {
                let labels = [
                    ("worker", number.as_str()),
                    ("group", &channel.group),
                    ("source", &channel.source),
                    ("interface", &channel.interface),
                ];
                metrics.sample(name, &labels, value(channel));
            }
        }
    }
    metrics.text
}

/// Name without prefix, type, explanation, and where the value comes from.
type Metric<T> = (&'static str, &'static str, &'static str, fn(&T) -> u64);

const WORKER_METRICS: &[Metric<WorkerFacts>] = &[
    (
        "worker_up",
        "gauge",
        "Whether the worker has a process.",
        |worker| u64::from(worker.pid != 0),
    ),
    (
        "worker_restarts_total",
        "counter",
        "Times the worker was started again.",
        |worker| worker.restarts,
    ),
    (
        "connections",
        "gauge",
        "Client connections that are open.",
        |worker| worker.connections,
    ),
    (
        "connections_total",
        "counter",
        "Client connections accepted.",
        |worker| worker.stats.connections,
    ),
    ("clients", "gauge", "Clients that are served.", |worker| {
        worker.clients_count
    }),
    (
        "clients_paused",
        "gauge",
        "Clients whose upstream is paused.",
        |worker| worker.clients_paused,
    ),
    (
        "clients_slow",
        "gauge",
        "Clients that have been behind for long.",
        |worker| worker.clients_slow,
    ),
    (
        "clients_admitted_total",
        "counter",
        "Clients taken on for a stream.",
        |worker| worker.stats.streams,
    ),
    (
        "clients_refused_total",
        "counter",
        "Clients refused for the client limit.",
        |worker| worker.stats.refused_for_limit,
    ),
    (
        "client_errors_total",
        "counter",
        "Requests answered with status 4xx.",
        |worker| worker.stats.client_errors,
    ),
    (
        "server_errors_total",
        "counter",
        "Requests answered with status 5xx.",
        |worker| worker.stats.server_errors,
    ),
    (
        "client_sent_bytes_total",
        "counter",
        "Bytes sent to served clients, heads included.",
        |worker| worker.client_bytes,
    ),
    (
        "sends_total",
        "counter",
        "Writes to client connections that moved bytes.",
        |worker| worker.stats.to_clients.calls,
    ),
    (
        "sends_blocked_total",
        "counter",
        "Writes that found the connection full.",
        |worker| worker.stats.to_clients.blocked,
    ),
    (
        "queued_bytes",
        "gauge",
        "Bytes in the queues of served clients.",
        |worker| worker.queued_bytes,
    ),
    (
        "dropped_packets_total",
        "counter",
        "Datagrams not given to clients that were full.",
        |worker| worker.stats.packets_dropped,
    ),
    (
        "dropped_bytes_total",
        "counter",
        "Payload of those.",
        |worker| worker.stats.bytes_dropped,
    ),
    (
        "backpressure_events_total",
        "counter",
        "Pauses of TCP upstreams and of uploads.",
        |worker| worker.stats.backpressure_events,
    ),
    ("upstreams", "gauge", "Upstreams in use.", |worker| {
        worker.upstreams.len() as u64
    }),
    (
        "upstream_connections_total",
        "counter",
        "Connections to TCP upstreams begun.",
        |worker| worker.stats.upstream_connections,
    ),
    (
        "upstream_reuses_total",
        "counter",
        "Requests over a connection kept from before.",
        |worker| worker.stats.upstream_reuses,
    ),
    ("channels", "gauge", "Groups that are received.", |worker| {
        worker.channels.len() as u64
    }),
    (
        "channels_lingering",
        "gauge",
        "Groups that are received and nobody listens to.",
        |worker| {
            worker
                .channels
                .iter()
                .filter(|channel| channel.lingering)
                .count() as u64
        },
    ),
    ("joins_total", "counter", "Groups joined.", |worker| {
        worker.stats.joins
    }),
    (
        "shared_joins_total",
        "counter",
        "Clients that found their group joined.",
        |worker| worker.stats.shared_joins,
    ),
    (
        "fast_starts_total",
        "counter",
        "Clients started at a random-access point.",
        |worker| worker.stats.fast_starts,
    ),
    (
        "rejoins_total",
        "counter",
        "Memberships refreshed.",
        |worker| worker.stats.rejoins,
    ),
    (
        "rejoins_failed_total",
        "counter",
        "Refreshes that failed.",
        |worker| worker.stats.rejoins_failed,
    ),
    (
        "overrun_packets_total",
        "counter",
        "Datagrams lost for want of a buffer.",
        |worker| worker.stats.packets_overrun,
    ),
    (
        "reclaims_total",
        "counter",
        "Queues cut short to make room, and clients that held too much after a reload.",
        |worker| worker.stats.reclaims,
    ),
    (
        "pool_max_bytes",
        "gauge",
        "Bytes of buffers at most.",
        |worker| worker.pool.max_bytes,
    ),
    (
        "pool_used_bytes",
        "gauge",
        "Bytes of buffers in use.",
        |worker| worker.pool.used_bytes,
    ),
    (
        "pool_exhaustions_total",
        "counter",
        "Times a buffer was wanted and there was none.",
        |worker| worker.pool.exhaustions,
    ),
    (
        "loop_passes_total",
        "counter",
        "Passes of the event loop.",
        |worker| worker.stats.ticks,
    ),
];

const CHANNEL_METRICS: &[Metric<ChannelFacts>] = &[
    (
        "channel_subscribers",
        "gauge",
        "Clients that listen.",
        |channel| channel.subscribers,
    ),
    (
        "channel_received_packets_total",
        "counter",
        "Datagrams that arrived.",
        |channel| channel.received_packets,
    ),
    (
        "channel_received_bytes_total",
        "counter",
        "Payload that was handed on.",
        |channel| channel.received_bytes,
    ),
    (
        "channel_lost_packets_total",
        "counter",
        "RTP packets that did not arrive in time.",
        |channel| channel.lost,
    ),
    (
        "channel_reordered_packets_total",
        "counter",
        "RTP packets that arrived out of order.",
        |channel| channel.reordered,
    ),
    (
        "channel_recovered_packets_total",
        "counter",
        "RTP packets restored from parity.",
        |channel| channel.recovered,
    ),
    (
        "channel_late_packets_total",
        "counter",
        "RTP packets that arrived too late.",
        |channel| channel.late,
    ),
    (
        "channel_duplicate_packets_total",
        "counter",
        "RTP packets that arrived more than once.",
        |channel| channel.duplicates,
    ),
    (
        "channel_overrun_packets_total",
        "counter",
        "Datagrams lost for want of a buffer.",
        |channel| channel.overrun,
    ),
];

struct Metrics {
    text: String,
}

impl Metrics {
    /// What the samples that follow are.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a `String` cannot fail.
        let _ = write!(
            self.text,
            "# HELP flowgate_{name} {help}\n# TYPE flowgate_{name} {kind}\n"
        );
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let _ = write!(self.text, "flowgate_{name}");
        for (at, (label, value)) in labels.iter().enumerate() {
            self.text.push(if at == 0 { '{' } else { ',' });
            let _ = write!(self.text, "{label}=\"{}\"", escaped(value));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '"' => escaped.push_str("\\\""),
            '\n' => escaped.push_str("\\n"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::facts::examples;
    use super::super::snapshot::{Logs, Snapshot};
    use super::*;

    fn program(workers: &[WorkerFacts]) -> Program<'_> {
        Program {
            start_ms: 1_700_000_000_007,
            uptime_ms: 1,
            log_level: 1,
            clients_max: 5,
            workers,
        }
    }

    #[test]
    fn every_sample_belongs_to_the_family_before_it() {
        let workers = [examples::worker(), examples::worker()];
        let text = text(&program(&workers));
        let mut family = "";
        let mut families = BTreeSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                family = rest.split(' ').next().expect("a name");
                assert!(families.insert(family), "{family} comes twice");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                assert_eq!(name, family);
                let is_total = name.ends_with("_total");
                assert_eq!(kind == "counter", is_total, "{name} is a {kind}");
            } else {
                let name = line.split(['{', ' ']).next().expect("a name");
                assert_eq!(name, family);
            }
        }
        assert!(text.starts_with("# HELP flowgate_build_info "));
        assert!(text.contains("\nflowgate_start_time_seconds 1700000000.007\n"));
    }

    #[test]
    fn no_counter_is_told_under_two_names() {
        let worker = examples::worker();
        let mut values = BTreeSet::new();
        for (name, kind, _, value) in WORKER_METRICS {
            let is_new = values.insert(value(&worker));
            assert!(is_new || *kind == "gauge", "{name} is told twice");
        }
    }

    #[test]
    fn counters_agree_with_the_json() {
        let worker = examples::worker();
        let workers = [worker.clone()];
        let metrics = text(&program(&workers));
        let json = Snapshot::new(&program(&workers)).with_logs(&Logs {
            full: true,
            lines: &[],
            missed: 0,
        });
        for (metric, key, value) in [
            ("client_sent_bytes_total", "totalBytes", worker.client_bytes),
            ("sends_total", "total", worker.stats.to_clients.calls),
            (
                "sends_blocked_total",
                "eagain",
                worker.stats.to_clients.blocked,
            ),
            (
                "dropped_packets_total",
                "droppedPackets",
                worker.stats.packets_dropped,
            ),
            (
                "backpressure_events_total",
                "backpressureEvents",
                worker.stats.backpressure_events,
            ),
            ("clients", "activeClients", worker.clients_count),
            ("worker_restarts_total", "restarts", worker.restarts),
        ] {
            let sample = format!(
                "\nflowgate_{metric}{{worker=\"{}\"}} {value}\n",
                worker.worker
            );
            assert!(metrics.contains(&sample), "{sample} not in {metrics}");
            assert!(json.contains(&format!("\"{key}\":{value}")), "{key}");
        }
    }

    #[test]
    fn labels_are_escaped() {
        let mut worker = examples::worker();
        worker.channels[0].interface = "a\"b\\c\nd".into();
        let text = text(&program(&[worker]));
        assert!(text.contains(r#"interface="a\"b\\c\nd"}"#), "{text}");
    }
}
