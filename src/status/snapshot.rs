//! The JSON object of the event stream and of `S/api/status`. Its fields are described at [`status`](super).

use super::facts::{ChannelFacts, ClientFacts, UpstreamFacts, WorkerFacts};
use super::json::Json;
use crate::area::log_ring::Line;
use crate::limits::POOL_UNIT_BYTES;

/// What concerns the whole program.
#[derive(Debug, Clone, Copy)]
pub struct Program<'a> {
    /// Its start, in milliseconds since 1970.
    pub start_ms: u64,
    /// Milliseconds since then.
    pub uptime_ms: u64,
    /// The log level of all processes.
    pub log_level: u8,
    /// The client limit over all workers.
    pub clients_max: u64,
    /// Every worker, by number.
    pub workers: &'a [WorkerFacts],
}

/// The log lines of one event.
#[derive(Debug, Clone, Copy)]
pub struct Logs<'a> {
    /// All lines that there are, and not only new ones.
    pub full: bool,
    /// The lines, the oldest first.
    pub lines: &'a [Line],
    /// How many lines are missing.
    pub missed: u64,
}

/// What events with different log lines have in common, so that it is written once.
#[derive(Debug)]
pub struct Snapshot {
    /// Up to the log.
    front: String,
    /// After it.
    back: String,
}

/// The version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Bytes of JSON that a client takes, more or less.
const CLIENT_BYTES: usize = 640;

impl Snapshot {
    /// Writes down what `program` is doing.
    pub fn new(program: &Program<'_>) -> Self {
        let listed: usize = program
            .workers
            .iter()
            .map(|worker| worker.clients.len())
            .sum();
        let mut json = Json::with_capacity(2048 + listed * CLIENT_BYTES);
        write_front(program, &mut json);
        let front = json.finish();
        let mut json = Json::with_capacity(1024);
        write_back(program, listed as u64, &mut json);
        Self {
            front,
            back: json.finish(),
        }
    }

    /// The object with these log lines.
    pub fn with_logs(&self, logs: &Logs<'_>) -> String {
        let mut json = Json::with_capacity(64 + logs.lines.len() * 160);
        write_logs(logs, &mut json);
        let middle = json.finish();
        format!("{{{},{middle},{}}}", self.front, self.back)
    }
}

/// An event of the event stream (server spec §10.2).
pub fn event(object: &str) -> String {
    // A string of JSON has no line end in it.
    format!("data: {object}\n\n")
}

fn write_front(program: &Program<'_>, json: &mut Json) {
    let total = |of: fn(&WorkerFacts) -> u64| program.workers.iter().map(of).sum();
    json.number_field("serverStartTime", program.start_ms);
    json.number_field("uptimeMs", program.uptime_ms);
    json.number_field("currentLogLevel", program.log_level.into());
    json.string_field("version", VERSION);
    json.number_field("maxClients", program.clients_max);
    json.key("clients").array(|json| {
        for worker in program.workers {
            for client in &worker.clients {
                write_client(client, worker.worker, json);
            }
        }
    });
    json.number_field("totalClients", total(|worker| worker.clients_count));
    json.number_field("totalBytesSent", total(|worker| worker.client_bytes));
    json.number_field("totalBandwidth", total(|worker| worker.bandwidth));
    json.key("workers").array(|json| {
        for worker in program.workers {
            write_worker(worker, json);
        }
    });
}

fn write_back(program: &Program<'_>, listed: u64, json: &mut Json) {
    let clients: u64 = program
        .workers
        .iter()
        .map(|worker| worker.clients_count)
        .sum();
    json.number_field("clientsOmitted", clients.saturating_sub(listed));
    json.key("channels").array(|json| {
        for worker in program.workers {
            for channel in &worker.channels {
                write_channel(channel, worker.worker, json);
            }
        }
    });
    json.key("upstreams").array(|json| {
        for worker in program.workers {
            for upstream in &worker.upstreams {
                write_upstream(upstream, worker.worker, json);
            }
        }
    });
}

fn write_logs(logs: &Logs<'_>, json: &mut Json) {
    let mode = match (logs.full, logs.lines.is_empty()) {
        (true, _) => "full",
        (false, false) => "incremental",
        (false, true) => "none",
    };
    json.string_field("logsMode", mode);
    json.key("logs").array(|json| {
        for line in logs.lines {
            json.object(|json| {
                json.number_field("timestamp", line.unix_ms);
                json.number_field("level", line.level.into());
                json.string_field("levelName", level_name(line.level));
                json.string_field("message", &String::from_utf8_lossy(&line.text));
            });
        }
    });
    json.number_field("logLinesMissed", logs.missed);
}

fn write_client(client: &ClientFacts, worker: u64, json: &mut Json) {
    json.object(|json| {
        json.string_field("clientId", &client.id);
        json.number_field("workerPid", client.pid);
        json.number_field("durationMs", client.duration_ms);
        json.string_field("clientAddr", &client.address);
        json.string_field("serviceUrl", &client.service_url);
        json.number_field("state", client.state);
        json.number_field("bytesSent", client.sent_bytes);
        json.number_field("currentBandwidth", client.bandwidth);
        json.number_field("queueBytes", client.queue_bytes);
        json.number_field("queueLimitBytes", client.queue_limit_bytes);
        json.number_field("queueBytesHighwater", client.queue_bytes_highwater);
        json.number_field("droppedBytes", client.dropped_bytes);
        json.flag_field("slow", client.slow);
        json.number_field("droppedPackets", client.dropped_packets);
        json.number_field("backpressureEvents", client.backpressure_events);
        json.flag_field("upstreamPaused", client.upstream_paused);
        json.number_field("pausedMs", client.paused_ms);
        json.key("pauseHistory").array(|json| {
            for pause in &client.pauses {
                json.array(|json| {
                    json.number(pause.start_ms);
                    json.number(pause.length_ms);
                });
            }
        });
        json.number_field("queueHighBytes", client.queue_high_bytes);
        json.number_field("queueLowBytes", client.queue_low_bytes);
        json.number_field("workerId", worker);
    });
}

fn write_worker(worker: &WorkerFacts, json: &mut Json) {
    let sends = &worker.stats.to_clients;
    let pool = &worker.pool;
    json.object(|json| {
        json.number_field("id", worker.worker);
        json.number_field("pid", worker.pid);
        json.number_field("activeClients", worker.clients_count);
        json.number_field("totalBandwidth", worker.bandwidth);
        json.number_field("totalBytes", worker.client_bytes);
        json.key("send").object(|json| {
            json.number_field("total", sends.calls);
            json.number_field("completions", 0);
            json.number_field("copied", 0);
            json.number_field("eagain", sends.blocked);
            json.number_field("enobufs", 0);
            json.number_field("batch", 0);
        });
        let media_bytes = pool.max_bytes.saturating_sub(pool.reserve_bytes);
        json.key("pool").object(|json| {
            write_pool(
                pool.used_bytes.min(media_bytes),
                pool.spare_bytes,
                media_bytes,
                pool.exhaustions,
                json,
            );
        });
        // What answers take is only told apart once media has used up all that it may.
        json.key("controlPool").object(|json| {
            let used = pool.used_bytes.saturating_sub(media_bytes);
            let free = pool.reserve_bytes.saturating_sub(used);
            write_pool(used, free, pool.reserve_bytes, 0, json);
        });
        json.number_field("restarts", worker.restarts);
        json.number_field("connections", worker.connections);
        json.number_field("channels", worker.channels.len() as u64);
        json.number_field("upstreams", worker.upstreams.len() as u64);
        json.number_field("droppedPackets", worker.stats.packets_dropped);
        json.number_field("backpressureEvents", worker.stats.backpressure_events);
    });
}

/// In units, as the compatible router counts buffers.
fn write_pool(used_bytes: u64, free_bytes: u64, max_bytes: u64, exhaustions: u64, json: &mut Json) {
    let units = |bytes: u64| bytes.div_ceil(POOL_UNIT_BYTES as u64);
    let (used, free) = (units(used_bytes), units(free_bytes));
    let total = used + free;
    json.number_field("total", total);
    json.number_field("free", free);
    json.number_field("used", used);
    json.number_field("max", max_bytes / POOL_UNIT_BYTES as u64);
    json.number_field("expansions", 0);
    json.number_field("exhaustions", exhaustions);
    json.number_field("shrinks", 0);
    let tenths = (used * 1000).checked_div(total).unwrap_or(0);
    json.tenths_field("utilization", tenths);
}

fn write_channel(channel: &ChannelFacts, worker: u64, json: &mut Json) {
    json.object(|json| {
        json.number_field("workerId", worker);
        json.string_field("group", &channel.group);
        json.string_field("source", &channel.source);
        json.string_field("interface", &channel.interface);
        json.number_field("subscribers", channel.subscribers);
        json.number_field("bitrate", channel.bitrate);
        json.number_field("receivedPackets", channel.received_packets);
        json.number_field("receivedBytes", channel.received_bytes);
        json.number_field("lost", channel.lost);
        json.number_field("reordered", channel.reordered);
        json.number_field("recovered", channel.recovered);
        json.number_field("late", channel.late);
        json.number_field("duplicates", channel.duplicates);
        json.number_field("overrun", channel.overrun);
        json.number_field("joinAgeMs", channel.join_age_ms);
        json.flag_field("lingering", channel.lingering);
        json.number_field("lingeringMs", channel.lingering_ms);
    });
}

fn write_upstream(upstream: &UpstreamFacts, worker: u64, json: &mut Json) {
    json.object(|json| {
        json.number_field("workerId", worker);
        json.string_field("clientId", &upstream.client_id);
        json.string_field("address", &upstream.address);
        json.number_field("state", upstream.state);
        json.string_field("transport", &upstream.transport);
        json.number_field("bytesInFlight", upstream.in_flight_bytes);
        json.number_field("uploadBytes", upstream.upload_bytes);
        json.flag_field("paused", upstream.paused);
        json.number_field("ageMs", upstream.age_ms);
    });
}

/// Names of levels on the page (server spec §10.4), and of the one that it does not know.
fn level_name(level: u8) -> &'static str {
    match level {
        0 => "FATAL",
        1 => "ERROR",
        2 => "WARN",
        3 => "INFO",
        4 => "DEBUG",
        5 => "TRACE",
        _ => "UNKNOWN",
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::{PauseFacts, PoolFacts, examples};
    use super::*;

    fn object(workers: &[WorkerFacts], logs: &Logs<'_>) -> String {
        let program = Program {
            start_ms: 1_700_000_000_000,
            uptime_ms: 4321,
            log_level: 3,
            clients_max: 5,
            workers,
        };
        Snapshot::new(&program).with_logs(logs)
    }

    const NO_LOGS: Logs<'static> = Logs {
        full: false,
        lines: &[],
        missed: 0,
    };

    fn client() -> ClientFacts {
        ClientFacts {
            id: "192.0.2.1:40000-worker1-seq7".into(),
            pid: 77,
            duration_ms: 1,
            address: "192.0.2.1:40000".into(),
            service_url: "/rtp/239.0.0.1:5000?a=<b>".into(),
            state: 6,
            sent_bytes: 2,
            bandwidth: 3,
            queue_bytes: 4,
            queue_limit_bytes: 5,
            queue_high_bytes: 6,
            queue_low_bytes: 7,
            queue_bytes_highwater: 8,
            dropped_bytes: 9,
            dropped_packets: 10,
            slow: true,
            backpressure_events: 11,
            upstream_paused: false,
            paused_ms: 12,
            pauses: vec![
                PauseFacts {
                    start_ms: 13,
                    length_ms: 14,
                },
                PauseFacts {
                    start_ms: 15,
                    length_ms: 16,
                },
            ],
        }
    }

    #[test]
    fn an_idle_program_has_every_field_of_the_specification_in_order() {
        let workers = [WorkerFacts {
            pid: 77,
            pool: PoolFacts {
                max_bytes: 16_384 * 1536,
                reserve_bytes: 64 * 1536,
                used_bytes: 3 * 1536,
                spare_bytes: 1536,
                exhaustions: 2,
            },
            ..WorkerFacts::default()
        }];
        let expected = concat!(
            r#"{"serverStartTime":1700000000000,"uptimeMs":4321,"currentLogLevel":3,"version":""#,
            env!("CARGO_PKG_VERSION"),
            r#"","maxClients":5,"clients":[],"totalClients":0,"totalBytesSent":0,"totalBandwidth":0,"#,
            r#""workers":[{"id":0,"pid":77,"activeClients":0,"totalBandwidth":0,"totalBytes":0,"#,
            r#""send":{"total":0,"completions":0,"copied":0,"eagain":0,"enobufs":0,"batch":0},"#,
            r#""pool":{"total":4,"free":1,"used":3,"max":16320,"expansions":0,"exhaustions":2,"shrinks":0,"#,
            r#""utilization":75.0},"#,
            r#""controlPool":{"total":64,"free":64,"used":0,"max":64,"expansions":0,"exhaustions":0,"#,
            r#""shrinks":0,"utilization":0.0},"#,
            r#""restarts":0,"connections":0,"channels":0,"upstreams":0,"droppedPackets":0,"#,
            r#""backpressureEvents":0}],"#,
            r#""logsMode":"none","logs":[],"logLinesMissed":0,"clientsOmitted":0,"channels":[],"upstreams":[]}"#,
        );
        assert_eq!(object(&workers, &NO_LOGS), expected);
    }

    #[test]
    fn a_client_has_the_fields_of_the_specification_first() {
        let workers = [WorkerFacts {
            worker: 1,
            pid: 77,
            clients_count: 3,
            clients: vec![client()],
            ..WorkerFacts::default()
        }];
        let text = object(&workers, &NO_LOGS);
        let expected = concat!(
            r#""clients":[{"clientId":"192.0.2.1:40000-worker1-seq7","workerPid":77,"durationMs":1,"#,
            r#""clientAddr":"192.0.2.1:40000","serviceUrl":"/rtp/239.0.0.1:5000?a=\u003cb\u003e","state":6,"#,
            r#""bytesSent":2,"currentBandwidth":3,"queueBytes":4,"queueLimitBytes":5,"queueBytesHighwater":8,"#,
            r#""droppedBytes":9,"slow":1,"droppedPackets":10,"backpressureEvents":11,"upstreamPaused":0,"#,
            r#""pausedMs":12,"pauseHistory":[[13,14],[15,16]],"queueHighBytes":6,"queueLowBytes":7,"workerId":1}],"#,
            r#""totalClients":3,"#,
        );
        assert!(text.contains(expected), "{text}");
        assert!(text.contains(r#""clientsOmitted":2"#), "{text}");
    }

    #[test]
    fn totals_are_over_all_workers_and_the_past() {
        let worker = |worker| WorkerFacts {
            worker,
            client_bytes: 120,
            bandwidth: 3,
            clients_count: 1,
            ..WorkerFacts::default()
        };
        let text = object(&[worker(0), worker(1)], &NO_LOGS);
        let totals = r#""totalClients":2,"totalBytesSent":240,"totalBandwidth":6"#;
        assert!(text.contains(totals), "{text}");
        assert_eq!(text.matches(r#""totalBytes":120"#).count(), 2);
    }

    #[test]
    fn log_lines_have_their_level_in_every_mode() {
        let lines = [Line {
            number: 1,
            unix_ms: 5,
            level: 2,
            text: b"[Worker 0] \xff\"a\"\n".to_vec(),
        }];
        let logs = |full, lines| Logs {
            full,
            lines,
            missed: 9,
        };
        let entry = concat!(
            r#""logs":[{"timestamp":5,"level":2,"levelName":"WARN","#,
            "\"message\":\"[Worker 0] \u{fffd}\\\"a\\\"\\n\"}],\"logLinesMissed\":9,",
        );
        for (full, mode) in [(true, "full"), (false, "incremental")] {
            let text = object(&[], &logs(full, &lines));
            let expected = format!("\"logsMode\":\"{mode}\",{entry}");
            assert!(text.contains(&expected), "{text}");
        }
        assert!(object(&[], &logs(true, &[])).contains(r#""logsMode":"full","logs":[]"#));
    }

    #[test]
    fn every_fact_is_told() {
        let worker = examples::worker();
        let text = object(std::slice::from_ref(&worker), &NO_LOGS);
        let (channel, upstream) = (&worker.channels[0], &worker.upstreams[0]);
        for (key, value) in [
            ("bitrate", channel.bitrate),
            ("receivedPackets", channel.received_packets),
            ("receivedBytes", channel.received_bytes),
            ("lost", channel.lost),
            ("reordered", channel.reordered),
            ("recovered", channel.recovered),
            ("late", channel.late),
            ("duplicates", channel.duplicates),
            ("overrun", channel.overrun),
            ("joinAgeMs", channel.join_age_ms),
            ("lingeringMs", channel.lingering_ms),
            ("lingering", 1),
            ("subscribers", channel.subscribers),
            ("bytesInFlight", upstream.in_flight_bytes),
            ("uploadBytes", upstream.upload_bytes),
            ("ageMs", upstream.age_ms),
            ("paused", 1),
        ] {
            assert!(
                text.contains(&format!("\"{key}\":{value}")),
                "{key}: {text}"
            );
        }
        for name in [&channel.group, &channel.source, &channel.interface] {
            assert!(text.contains(name.as_str()), "{name}");
        }
        for name in [&upstream.client_id, &upstream.address, &upstream.transport] {
            assert!(text.contains(name.as_str()), "{name}");
        }
    }

    #[test]
    fn an_event_is_one_line_and_an_empty_one() {
        assert_eq!(event("{}"), "data: {}\n\n");
    }
}
