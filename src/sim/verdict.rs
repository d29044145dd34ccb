//! What is judged when a scenario is over: what every client has got, and what is left behind.

use std::time::{Duration, Instant};

use super::media::{self, Expected, Viewer};
use super::peers::{Client, Ended, Leave, Pace, Peer};
use super::rtsp::{self, judge_play};
use super::scenario::Scenario;
use super::web::{Excuses, Replies, judge_replies};
use super::world::World;
use crate::client::Ended as ClientEnded;
use crate::limits::{HEAD_WAIT, POOL_UNIT_BYTES};
use crate::router::Router;

/// The bytes that the status has counted are those that were delivered.
fn judge_totals(router: &Router, world: &World) {
    let served = router
        .reaped
        .iter()
        .filter(|(_, client)| client.flow().is_some());
    let delivered: u64 = served
        .filter_map(|(_, client)| world.connections[world.accepted[&client.socket()]].as_ref())
        .map(|connection| connection.sent_bytes)
        .sum();
    let is_reused = world.connections.iter().flatten().any(|connection| {
        let viewer = connection.viewer.as_ref();
        viewer.is_some_and(|viewer| viewer.expected == Expected::Replies)
    });
    let counted = router.client_bytes();
    // A connection that is used again may end with an answer that is no stream, which is not counted.
    assert!(
        counted <= delivered,
        "{counted} bytes counted of {delivered}"
    );
    assert!(
        is_reused || counted == delivered,
        "{counted} bytes counted of {delivered}"
    );
}

pub(super) fn judge(
    router: &Router,
    world: &mut World,
    scenario: &Scenario,
    stopped: Option<Instant>,
) {
    if stopped.is_none() {
        router.check_empty();
        assert_eq!(world.open_sockets(), 0, "sockets are left");
        assert_eq!(world.open_pipes(), 0, "pipes are left");
        judge_groups(world, scenario);
        judge_totals(router, world);
        let dropped: u64 = router
            .reaped
            .iter()
            .filter_map(|(_, client)| Some(client.flow()?.dropped.bytes))
            .sum();
        assert_eq!(
            dropped,
            router.shared().stats.bytes_dropped,
            "bytes dropped in all"
        );
        for counters in &router.left_channels {
            assert!(counters.rtp.received <= counters.datagrams + counters.rtp.duplicates);
        }
    } else {
        world.note("stopped");
    }
    let held_most = router.shared().pool.held_bytes_highwater();
    assert!(held_most <= scenario.units_most() * POOL_UNIT_BYTES);
    if scenario.roomy {
        assert_eq!(
            router.shared().stats.packets_overrun,
            0,
            "overrun in a large pool"
        );
    }
    let clients = world
        .peers
        .iter()
        .flatten()
        .filter(|peer| peer.client().is_some())
        .count();
    let is_cramped = scenario.is_cramped();
    for peer in 0..world.peers.len() {
        let taken = world.connections[peer].as_mut().and_then(|connection| {
            let viewer = connection.viewer.as_mut()?;
            (viewer.expected == Expected::Replies).then(|| std::mem::take(&mut viewer.replies))
        });
        if let Some(mut replies) = taken {
            judge_web(
                router,
                world,
                scenario,
                stopped.is_some(),
                peer,
                &mut replies,
            );
            continue;
        }
        let Some(client) = world.peers[peer].as_ref().and_then(Peer::client) else {
            continue;
        };
        let Some(connection) = &world.connections[peer] else {
            let unused = world.ambush.contains(&peer) || world.rush.contains(&peer);
            assert!(unused || stopped.is_some(), "client {peer} never connected");
            continue;
        };
        let (Some(viewer), Some((at, ended))) = (&connection.viewer, client.ended) else {
            assert!(stopped.is_some(), "client {peer} is left waiting");
            continue;
        };
        let flow = router
            .reaped
            .iter()
            .find(|(_, reaped)| world.accepted.get(&reaped.socket()) == Some(&peer))
            .map(|(_, reaped)| (reaped.flow().copied().unwrap_or_default(), reaped.ended()));
        // A stop leaves clients behind whose accounts cannot be seen.
        let accounted = flow.is_some();
        let (flow, closed) = flow.unwrap_or_default();
        let stays = ended == Ended::Finished && stopped.is_none();
        if stays {
            assert_eq!(
                client.received, connection.sent_bytes,
                "client {peer} read everything"
            );
            let idle = client.request.is_empty();
            assert!(!viewer.is_empty() || idle, "client {peer} got no answer");
        }
        assert!(
            ended != Ended::Cut || stopped.is_some(),
            "client {peer} was cut off"
        );
        if closed == Some(ClientEnded::Gone) {
            assert!(connection.silent, "client {peer} was taken for gone");
        }
        let note = match viewer.expected {
            // Who left before its request was whole may have been told so.
            _ if client.sent < client.request.len() => "left early",
            Expected::Page | Expected::Replies => judge_page(viewer, client, stays),
            Expected::Stream(channel) => {
                let mut plays = world.plays.iter();
                let play = plays.find(|play| play.channel == channel);
                let silence = media::silence(&world.sent[channel], client.begin);
                let slow = play.is_some_and(|play| play.longest_gap() >= media::SILENCE);
                let overrun = router.shared().stats.packets_overrun > 0;
                let watched = rtsp::Watched {
                    stays,
                    dropped_bytes: accounted.then_some(flow.dropped.bytes),
                    is_crowded: scenario.config.clients_max < clients,
                    gives_way: client.half_closes,
                    is_let_go: client.half_closes && (slow || silence.is_some() || is_cramped),
                    is_cramped,
                    roomy: !overrun,
                };
                match play {
                    Some(play) if stopped.is_none() => {
                        judge_play(play, &world.sent[channel], viewer, watched)
                    }
                    _ => "stopped",
                }
            }
            Expected::Channel(channel) => {
                // What it was fed by may have ended long before it had read everything.
                let at = world.fed_until.get(&peer).map_or(at, |fed| at.min(*fed));
                let overrun = router.shared().stats.packets_overrun > 0;
                let clean = world.clean[channel] && !overrun && accounted;
                let sent = &world.sent[channel];
                let silence = media::silence(sent, client.begin).filter(|_| client.half_closes);
                let at = silence.map_or(at, |silence| at.min(silence));
                if stays && viewer.status == Some(200) {
                    assert!(viewer.is_whole(), "client {peer} ends inside a datagram");
                    if clean {
                        let tail = sent
                            .iter()
                            .skip(viewer.last.map_or(0, |(last, ..)| last as usize + 1));
                        let half = scenario.config.no_data_timeout / 2;
                        let cut =
                            tail.filter(|sent| sent.arrived.is_some_and(|its| its + half < at));
                        let cut: u64 = cut.map(|sent| sent.payload.len() as u64).sum();
                        assert!(
                            cut <= flow.dropped.bytes,
                            "client {peer} misses the end: {cut} bytes"
                        );
                    }
                }
                if clean {
                    assert!(
                        viewer.missing_arrived_bytes <= flow.dropped.bytes,
                        "client {peer} misses {} bytes, {} are counted",
                        viewer.missing_arrived_bytes,
                        flow.dropped.bytes
                    );
                }
                let keeps_up = client.is_fast() && client.to_peer_max >= 4 << 20;
                if scenario.roomy && keeps_up && connection.writable_since.is_some() {
                    assert_eq!(flow.dropped.packets, 0, "client {peer} reads fast");
                }
                // In the smallest pools the heads of stalled clients alone can take what live media needs. And who has
                // closed its side is let go if it is given nothing for long, be it for want of a buffer.
                let at = if is_cramped || (client.half_closes && flow.dropped.packets > 0) {
                    client.begin + Duration::from_secs(1)
                } else {
                    at
                };
                judge_return(viewer, client, sent, at, peer)
            }
        };
        world.note(note);
        match ended {
            Ended::Left(Leave::Reset) => world.note("client resets"),
            Ended::Left(Leave::Close) => world.note("client closes"),
            Ended::Left(Leave::Silently) => world.note("client vanishes"),
            _ => {}
        }
        if closed == Some(ClientEnded::Gone) {
            world.note("client taken for gone");
        }
    }
}

/// A client of the HTTP proxy.
fn judge_web(
    router: &Router,
    world: &mut World,
    scenario: &Scenario,
    stopped: bool,
    peer: usize,
    replies: &mut Replies,
) {
    let config = &scenario.config;
    let Some(client) = world.peers[peer].as_ref().and_then(Peer::client) else {
        return;
    };
    let Some(connection) = &world.connections[peer] else {
        return;
    };
    let Some((_, ended)) = client.ended else {
        assert!(
            stopped,
            "client {peer} is left waiting: {client:?} {replies:?}"
        );
        return;
    };
    let reaped = router
        .reaped
        .iter()
        .find(|(_, reaped)| world.accepted.get(&reaped.socket()) == Some(&peer));
    if let Some((_, reaped)) = reaped {
        let dropped = reaped.flow().map_or(0, |flow| flow.dropped.bytes);
        assert_eq!(dropped, 0, "bytes of a body were dropped");
        let gone = reaped.ended() == Some(ClientEnded::Gone);
        assert!(
            !gone || connection.silent,
            "client {peer} was taken for gone"
        );
    }
    if ended == Ended::Finished && !stopped {
        assert_eq!(
            client.received, connection.sent_bytes,
            "client {peer} read everything"
        );
    }
    // Who goes on sending after the answer is cut off in the end.
    let sends = client.sent < client.request.len() || !client.later.is_empty();
    let uploads = client
        .numbers
        .iter()
        .any(|number| world.exchanges[*number].upload.is_some());
    assert!(
        ended != Ended::Cut || stopped || sends || uploads,
        "client {peer} was cut off: {client:?} {replies:?} {connection:?}"
    );
    let clients = world
        .peers
        .iter()
        .flatten()
        .filter(|peer| peer.client().is_some())
        .count();
    let excuses = Excuses {
        stopped,
        refuses: config.clients_max < clients || scenario.is_cramped(),
        starves: !scenario.roomy,
    };
    let notes = judge_replies(peer, client, replies, world, config, excuses);
    notes.into_iter().for_each(|note| world.note(note));
}

/// Who reads is given media: after a stop, and to the end.
fn judge_return(
    viewer: &Viewer,
    client: &Client,
    sent: &[media::Sent],
    ended: Instant,
    peer: usize,
) -> &'static str {
    let status = match viewer.status {
        Some(200) => "stream",
        Some(503) => return "503",
        Some(404) => return "404",
        Some(408) if client.sending_time() >= HEAD_WAIT => return "408",
        None => return "no answer",
        Some(other) => panic!("client {peer} got {other}"),
    };
    let from = match (client.pace, client.resumed_at, viewer.first_media_at) {
        (Pace::Stops { .. }, Some(resumed), _) => resumed,
        (Pace::Fast, _, Some(begun)) => begun,
        _ => return status,
    };
    let last = viewer
        .last
        .and_then(|(last, ..)| sent[last as usize].arrived);
    let last = last.map_or(from, |last| last.max(from));
    let to = ended - Duration::from_secs(1);
    let missed = sent
        .iter()
        .filter(|sent| sent.arrived.is_some_and(|at| at > last && at < to));
    let missed: Vec<_> = missed.filter_map(|sent| sent.arrived).collect();
    if let ([first, .., last], 40..) = (&missed[..], missed.len()) {
        assert!(
            *last - *first < Duration::from_secs(1),
            "client {peer} reads and was not given the last {} datagrams",
            missed.len()
        );
    }
    match client.resumed_at {
        Some(resumed) if last > resumed => "client returns",
        _ => status,
    }
}

fn judge_page(viewer: &Viewer, client: &Client, stays: bool) -> &'static str {
    if !stays {
        return "page left";
    }
    let whole = client.request.ends_with(b"\r\n\r\n");
    match viewer.status {
        None => {
            assert!(client.request.is_empty(), "a request without an answer");
            "idle connection closed"
        }
        Some(408) => {
            assert!(!whole && !client.half_closes);
            "408"
        }
        Some(status) => {
            assert!(whole || (client.half_closes && status == 400), "{status}");
            "page"
        }
    }
}

fn judge_groups(world: &World, scenario: &Scenario) {
    for (address, log) in &world.groups {
        for membership in &log.memberships {
            let left = membership.left.expect("every group is left");
            let time = left - membership.joined;
            let Some(interval) = scenario.config.mcast_rejoin_interval else {
                assert_eq!(membership.rejoins, 0);
                continue;
            };
            let due = time.as_millis() as u64 / interval.as_millis() as u64;
            assert!(
                (due.saturating_sub(1)..=due).contains(&membership.rejoins),
                "{} rejoins of {address} in {time:?}, every {interval:?}",
                membership.rejoins
            );
        }
    }
}
