//! Whether the answers that one client got are those it had to get.

use std::time::{Duration, Instant};

use super::super::peers::{Client, Ended};
use super::super::world::World;
use super::exchange::{Fate, Flaw};
use super::replies::{Done, Replies};
use super::site::Reach;
use crate::config::Config;
use crate::limits::{BODY_WAIT, HALF_CLOSED_WAIT, KEPT_ALIVE_WAIT};

/// What may keep the router from doing all that it should for a client.
#[derive(Debug, Clone, Copy)]
pub(in crate::sim) struct Excuses {
    /// The program was stopped.
    pub(in crate::sim) stopped: bool,
    /// Too many clients, or a pool so small that requests are refused.
    pub(in crate::sim) refuses: bool,
    /// Buffers can be short, so that deadlines are no sharp ones.
    pub(in crate::sim) starves: bool,
}

/// Judges every exchange of a client; returns what is worth counting.
///
/// # Panics
///
/// If an answer is not as it must be.
pub(in crate::sim) fn judge_replies(
    peer: usize,
    client: &Client,
    replies: &mut Replies,
    world: &World,
    config: &Config,
    excuses: Excuses,
) -> Vec<&'static str> {
    let mut notes = Vec::new();
    let Some((at, ended)) = client.ended else {
        return notes;
    };
    if ended == Ended::Finished {
        replies.finish(at, &world.exchanges);
    }
    if replies.interims > 0 {
        notes.push("interim response");
    }
    let stays = !excuses.stopped && !matches!(ended, Ended::Left(_));
    // Between two requests, or inside a body, the client has let too much time pass.
    let dawdles =
        client.longest_pause() + Duration::from_secs(10) >= KEPT_ALIVE_WAIT.min(BODY_WAIT);
    let mut open = true;
    for (index, &number) in replies.numbers.iter().enumerate() {
        let exchange = &world.exchanges[number];
        let site = &world.sites[exchange.site];
        let fate = exchange.fate(site);
        let sent = client
            .ends
            .get(index)
            .is_some_and(|end| client.sent >= *end);
        let context = || {
            format!(
                "exchange {number} (answer {index} of client {peer}): {fate:?}, {exchange:?} at {site:?}, \
                 {client:?}, {replies:?}"
            )
        };
        // Who has closed its side may have left, and is not kept waiting.
        let kept_waiting = |until: Instant| {
            let since = exchange.asked_at.unwrap_or(client.begin);
            client.half_closes && until.saturating_duration_since(since) >= HALF_CLOSED_WAIT
        };
        match replies.done.get(index) {
            Some(done) if done.local => {
                let allowed = match &fate {
                    Fate::Whole => false,
                    Fate::Fails(statuses) | Fate::Open(statuses) => statuses.contains(&done.status),
                };
                let late = exchange.upload.is_some() && (dawdles || !sent);
                let excused = match done.status {
                    503 => excuses.refuses || excuses.stopped,
                    408 => late || !sent,
                    // Its side is closed before its request is whole.
                    400 => !sent,
                    _ => false,
                };
                assert!(allowed || excused, "{}", context());
                if !excuses.starves && allowed {
                    judge_time(done, exchange, site, config);
                }
                notes.push(match done.status {
                    502 => "502",
                    503 => "503",
                    504 => "504",
                    408 => "upload too slow",
                    _ => "upload broken",
                });
                open = false;
            }
            Some(done) => {
                let part = exchange.reply.until_close && done.bytes < exchange.reply.body_bytes;
                let failed = matches!(fate, Fate::Fails(_));
                // Who has uploaded too late is cut off in the middle of an answer that has begun.
                assert!(!failed || part, "{}", context());
                if fate == Fate::Whole && part {
                    let late = exchange.upload.is_some() && (dawdles || !sent);
                    assert!(!stays || late || kept_waiting(at), "{}", context());
                }
                let is_upload = exchange.upload.is_some();
                if is_upload && exchange.reply.early.is_none() && fate == Fate::Whole && stays {
                    assert!(exchange.uploaded, "{}", context());
                    notes.push("upload complete");
                }
                notes.push(match exchange.reply.status {
                    _ if exchange.method == "HEAD" => "HEAD",
                    204 | 304 => "204 or 304",
                    _ if exchange.reply.location.is_some() => "redirect",
                    _ if part => "body in part",
                    _ => "body complete",
                });
                if index > 0 {
                    notes.push("client connection reused");
                }
                if exchange.asked > 1 {
                    notes.push("asked again");
                }
            }
            None => {
                let cut = index == replies.done.len() && replies.is_cut();
                let closed = !open || replies.closes && !cut;
                // However long it does not read, what was begun is brought to its end.
                let uploads = exchange.upload.is_some();
                let late = dawdles && (uploads || (index > 0 && !cut));
                let excused = !stays || closed || !sent || late || kept_waiting(at);
                assert!(fate != Fate::Whole || excused, "{}", context());
                if cut && stays && fate != Fate::Whole {
                    notes.push("answer cut");
                }
                open = false;
            }
        }
    }
    notes
}

/// A deadline is not missed, and nobody is given up before it.
fn judge_time(done: &Done, exchange: &super::Exchange, site: &super::Site, config: &Config) {
    let Some(asked) = exchange.asked_at else {
        return;
    };
    let answers = site
        .addresses
        .iter()
        .any(|reach| matches!(reach, Reach::Answers { .. }));
    if let (504, true, Flaw::Silence(0)) = (done.status, answers, exchange.reply.flaw) {
        let waited = done.at - asked;
        let due = config.http_head_timeout;
        let early = Duration::from_millis(1200);
        assert!(
            waited + early >= due && waited <= due + early,
            "answered with 504 after {waited:?}, not {due:?}"
        );
    }
}
