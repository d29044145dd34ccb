//! The result of a run: one JSON object, and the same in words (probe spec B.11).

use std::fmt::Write as _;
use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::probe::evidence::Class;
use crate::probe::sender::BlockedList;
use crate::probe::track::{Hold, Reason, Track, Verdict};
use crate::probe::units::{show_seconds, show_size};
use crate::probe::wire::milli;

/// Makes the entry of one connection. `kernel` is the release of the sender's kernel, if that is this one.
pub fn connection(
    number: usize,
    track: &Track,
    started_at: Instant,
    verdict: (Verdict, Reason),
    kernel: Option<&str>,
) -> Value {
    let receiver = track.receiver.as_ref();
    let sender = track.sender.as_ref();
    json!({
        "conn": number,
        "held": track.is_held,
        "verdict": verdict.0.name(),
        "reason": verdict.1.name(),
        "accepted": sender.map(|sender| sender.accepted),
        "consumed": receiver.map(|report| report.consumed),
        "warmup_rate": track.warmup_rate().map(f64::round),
        "hold": track.hold.as_ref().map(|hold| hold_json(hold, started_at)),
        "resume_s": track.resumed_after.map(|after| milli(after.as_secs_f64())),
        "blocked_s": sender.map(|sender| milli(sender.blocked_s)),
        "blocked": track.blocked.as_ref().map(BlockedList::to_json),
        "truncated": track.blocked.as_ref().map(|blocked| blocked.is_truncated),
        "kernel": kernel,
        "tcp_info_len": sender.and_then(|sender| sender.tcp.as_ref()?.length()),
        "lost": track.lost(),
        "bad_at": receiver.and_then(|report| report.bad_at),
        "isolation": track.isolation().map(|(percent, gap)| {
            json!({"percent": milli(percent), "max_gap_s": milli(gap)})
        }),
        "error": track.error,
    })
}

fn hold_json(hold: &Hold, started_at: Instant) -> Value {
    let since =
        |at: Instant, begin: Instant| milli(at.saturating_duration_since(begin).as_secs_f64());
    let stall = hold.stall.as_ref();
    let absorbed = hold.absorbed.as_ref();
    json!({
        "start_s": since(hold.began_at, started_at),
        "seconds": hold.ended_at.map(|at| since(at, hold.began_at)),
        "accepted": hold.accepted,
        "stall_after_bytes": stall.map(|(_, interval)| {
            interval.accepted_before.saturating_sub(hold.accepted_before)
        }),
        "stall_after_s": stall.map(|(at, _)| since(*at, hold.began_at)),
        "stall_s": stall.map(|(_, interval)| milli(interval.length)),
        "class": stall.map(|(_, interval)| interval.class.name()),
        "rwnd_ratio": stall.and_then(|(_, interval)| interval.rwnd_ratio.map(milli)),
        "absorbed": absorbed.map(|absorbed| absorbed.total),
        "local_unsent": absorbed.and_then(|absorbed| absorbed.local_unsent),
        "local_unacked": absorbed.and_then(|absorbed| absorbed.local_unacked),
        "in_chain": absorbed.and_then(|absorbed| absorbed.in_chain()),
        "remote_unread": absorbed.and_then(|absorbed| absorbed.remote_unread),
    })
}

/// Shows a result to people.
pub fn words(result: &Map<String, Value>) -> String {
    let text = |name: &str| result.get(name).and_then(Value::as_str).unwrap_or("?");
    if let Some(classic) = result.get("classic").filter(|classic| classic.is_object()) {
        let seconds = |name: &str| {
            classic[name]
                .as_f64()
                .map_or("no time".into(), show_seconds)
        };
        let requests = classic["requests"].as_u64().unwrap_or(0);
        let error = result.get("error").and_then(Value::as_str);
        let error = error.map_or(String::new(), |error| format!("{error}\n"));
        return format!(
            "{error}Fired {requests} requests in {}\nExpected: {requests} requests in {}\n",
            seconds("fired_s"),
            seconds("expected_s")
        );
    }
    let connections = result.get("conns").and_then(Value::as_array);
    let connections: Vec<&Value> = connections.into_iter().flatten().collect();
    let count = match connections.len() {
        1 => "1 connection".to_owned(),
        count => format!("{count} connections"),
    };
    let mut shown = format!(
        "back pressure: {}   ({}, {count}, {})\n",
        text("verdict").to_uppercase(),
        text("direction"),
        text("url")
    );
    if let Some(error) = result.get("error").and_then(Value::as_str) {
        let _ = writeln!(shown, "  {error}");
    }
    // The worst speaks for all.
    let decisive = connections
        .iter()
        .find(|entry| entry["held"] == true && entry["verdict"] == result["verdict"])
        .or(connections.first());
    if let Some(entry) = decisive {
        connection_words(&mut shown, entry);
    }
    let sum = |name: &str| -> u64 {
        let numbers = connections.iter().filter_map(|entry| entry[name].as_u64());
        numbers.sum()
    };
    let (lost, consumed) = (sum("lost"), sum("consumed"));
    let bad = connections
        .iter()
        .find_map(|entry| entry["bad_at"].as_u64());
    let integrity = match (bad, lost) {
        (Some(at), _) => format!("wrong from byte {at} on"),
        (None, 0) if result.get("verified") == Some(&Value::Bool(true)) => {
            format!("{} verified", show_size(consumed))
        }
        (None, 0) => format!("{} counted", show_size(consumed)),
        (None, lost) => format!("{lost} bytes lost"),
    };
    // Without a run there is nothing to say of its bytes.
    if result.get("error").is_none_or(Value::is_null) {
        let _ = writeln!(shown, "  integrity: {integrity}");
    }
    if let Some(isolation) = result.get("isolation").filter(|it| it["checked"] == true) {
        let answer = match isolation["ok"].as_bool() {
            Some(true) => "others kept",
            Some(false) => "NOT isolated: others kept",
            None => "others: unknown, kept",
        };
        let _ = writeln!(
            shown,
            "  isolation: {answer} {:.0} % of their rate, longest gap {}",
            isolation["min_percent"].as_f64().unwrap_or(0.0),
            show_seconds(isolation["max_gap_s"].as_f64().unwrap_or(0.0))
        );
    }
    shown
}

fn connection_words(shown: &mut String, entry: &Value) {
    let seconds = |value: &Value| value.as_f64().map_or("?".into(), show_seconds);
    let size = |value: &Value| value.as_u64().map_or("?".into(), show_size);
    let hold = &entry["hold"];
    if hold["stall_s"].is_number() {
        let _ = writeln!(
            shown,
            "  sender stalled after {} and {} of hold; stalled {}; resumed after {}",
            size(&hold["stall_after_bytes"]),
            seconds(&hold["stall_after_s"]),
            seconds(&hold["stall_s"]),
            seconds(&entry["resume_s"])
        );
    } else if hold.is_object() {
        // Without an end of the hold it was the sender that made one.
        let time = hold["seconds"]
            .as_f64()
            .map_or("the time".into(), show_seconds);
        let _ = writeln!(
            shown,
            "  sender went on for {time} of the hold: {} accepted",
            size(&hold["accepted"])
        );
    }
    if hold["absorbed"].is_number() {
        let local = [&hold["local_unsent"], &hold["local_unacked"]];
        let local = local.map(|part| part.as_u64().unwrap_or(0)).iter().sum();
        let _ = writeln!(
            shown,
            "  absorbed {}: sender kernel {}, chain {}, receiver kernel {}",
            size(&hold["absorbed"]),
            show_size(local),
            size(&hold["in_chain"]),
            size(&hold["remote_unread"])
        );
    }
    if let Some(class) = hold["class"].as_str() {
        let ratio = hold["rwnd_ratio"].as_f64().map_or(String::new(), |ratio| {
            format!(" (rwnd-limited {:.0} % of the stall)", 100.0 * ratio)
        });
        let _ = writeln!(
            shown,
            "  evidence: {}{ratio}",
            Class::named(class).meaning()
        );
    }
    if entry["verdict"] != "yes"
        && let Some(reason) = entry["reason"].as_str().and_then(Reason::named)
    {
        let _ = writeln!(shown, "  because: {reason}");
    }
    if let Some(error) = entry["error"].as_str() {
        let _ = writeln!(shown, "  ended: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_told_in_words() {
        let result = json!({
            "verdict": "yes", "direction": "up", "url": "tcp://10.0.0.5:9000", "verified": true,
            "isolation": {"checked": true, "ok": false, "min_percent": 3.4, "max_gap_s": 1.5},
            "conns": [{"held": true, "verdict": "yes", "reason": "propagates", "accepted": 5_000_000,
                "consumed": 5_000_000, "lost": 0, "bad_at": null, "resume_s": 0.014, "error": null,
                "hold": {"stall_after_bytes": 2_000_000, "stall_after_s": 0.21, "stall_s": 9.8,
                    "class": "zero_window", "rwnd_ratio": 0.99, "absorbed": 2_100_000,
                    "local_unsent": 47_000, "local_unacked": 0, "in_chain": 1_900_000,
                    "remote_unread": 130_000}}]});
        let Value::Object(result) = result else {
            panic!("an object")
        };
        let shown = words(&result);
        let expected = "\
back pressure: YES   (up, 1 connection, tcp://10.0.0.5:9000)
  sender stalled after 1.9 MiB and 0.21 s of hold; stalled 9.80 s; resumed after 14 ms
  absorbed 2.0 MiB: sender kernel 46 KiB, chain 1.8 MiB, receiver kernel 127 KiB
  evidence: zero window at next hop (rwnd-limited 99 % of the stall)
  integrity: 4.8 MiB verified
  isolation: NOT isolated: others kept 3 % of their rate, longest gap 1.50 s
";
        assert_eq!(shown, expected);
    }

    #[test]
    fn an_object_of_anything_is_shown_without_a_panic() {
        let odd = json!({"conns": [1, {"hold": 5}, []], "isolation": [], "verdict": 3});
        let Value::Object(odd) = odd else {
            panic!("an object")
        };
        assert!(words(&odd).contains("back pressure: ?"));
        assert!(words(&Map::new()).contains("back pressure: ?"));
    }
}
