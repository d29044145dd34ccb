//! One channel, many clients: joined once, left once, and nobody waits for anybody.

use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use crate::support::http::Body;
use crate::support::namespace::{WEST, with_links};
use crate::support::sender::{Framing, Source};
use crate::support::server::Server;
use crate::support::{SOON, proc, sniffer, ts, wait_for};

#[test]
fn sixty_four_clients_are_one_member_of_the_group() {
    with_links(|| {
        let Some(sniffer) = sniffer::start("igmp") else {
            return;
        };
        let server = Server::start(&["-m", "64"]);
        let _sender = Source::new("west", WEST, "239.3.0.1:5000", Framing::Rtp).run(100);
        let mut bodies: Vec<Body> = (0..64)
            .map(|_| server.open("/rtp/239.3.0.1:5000"))
            .collect();
        for body in &mut bodies {
            ts::assert_gapless(&body.take(70 * ts::PACKET));
        }
        assert_eq!(proc::igmp_users(server.pid(), "west", [239, 3, 0, 1]), 1);
        drop(bodies);
        server.log().wait("239.3.0.1:5000: left");
        sniffer.stdout.wait("gaddr 239.3.0.1 to_in");
        // The kernel says everything twice (RFC 3376 §8.14.1), and nobody else says anything.
        let reports = sniffer
            .stdout
            .count(|line| line.contains("gaddr 239.3.0.1 to_ex"));
        assert!((1..=2).contains(&reports), "{:?}", sniffer.stdout.all());
        assert_eq!(server.log().count(|line| line.contains(": joined")), 1);
        server.stop_empty();
    });
}

#[test]
fn channel_lingers_and_is_left_then() {
    with_links(|| {
        let server = Server::start(&["--channel-linger", "2"]);
        let _sender = Source::new("west", WEST, "239.3.0.2:5000", Framing::Rtp).run(100);
        let users = || proc::igmp_users(server.pid(), "west", [239, 3, 0, 2]);
        assert_eq!(users(), 0);
        drop(server.open("/rtp/239.3.0.2:5000"));
        let left_alone = Instant::now();
        // Who comes back in time finds the channel as it was.
        drop(server.open("/rtp/239.3.0.2:5000"));
        assert_eq!(users(), 1);
        wait_for(SOON, "the group to be left", || {
            (users() == 0).then_some(())
        });
        let took = left_alone.elapsed();
        assert!((1900..5000).contains(&took.as_millis()), "{took:?}");
        assert_eq!(server.log().count(|line| line.contains(": joined")), 1);
        server.stop_empty();
    });
}

#[test]
fn channel_without_linger_is_left_at_once() {
    with_links(|| {
        let server = Server::start(&["--channel-linger", "0"]);
        let _sender = Source::new("west", WEST, "239.3.0.3:5000", Framing::Rtp).run(200);
        drop(server.open("/rtp/239.3.0.3:5000"));
        wait_for(Duration::from_secs(1), "the group to be left", || {
            (proc::igmp_users(server.pid(), "west", [239, 3, 0, 3]) == 0).then_some(())
        });
    });
}

#[test]
fn stopping_leaves_lingering_channels_too() {
    with_links(|| {
        let server = Server::start(&["--channel-linger", "3600"]);
        let _sender = Source::new("west", WEST, "239.3.0.4:5000", Framing::Rtp).run(200);
        ts::assert_gapless(&server.open("/rtp/239.3.0.4:5000").take(70 * ts::PACKET));
        let log = server.log().clone();
        server.stop_empty();
        assert_eq!(log.count(|line| line.contains("239.3.0.4:5000: left")), 1);
    });
}

#[test]
fn zapping_two_hundred_times_leaks_nothing_and_is_never_refused() {
    with_links(|| {
        let server = Server::start(&["-m", "2", "--channel-linger", "0.2"]);
        let groups: Vec<String> = (0..10).map(|n| format!("239.3.1.{n}:5000")).collect();
        let _senders: Vec<_> = groups
            .iter()
            .map(|group| Source::new("west", WEST, group, Framing::Rtp).run(100))
            .collect();
        proc::wait_for_rest(server.worker(), Duration::from_millis(300));
        let idle = proc::descriptors(server.worker());
        for turn in 0..200 {
            // There is room for the client before, whose end may still be on its way, but for no other.
            let mut body = server.open(&format!("/rtp/{}", groups[turn % groups.len()]));
            let len = if turn % 3 == 0 { 7 } else { 14 };
            ts::numbers(&body.take(len * ts::PACKET));
        }
        wait_for(SOON, "all channels to be left", || {
            let log = server.log();
            let joined = log.count(|line| line.ends_with(": joined"));
            (joined > 0 && joined == log.count(|line| line.contains(": left"))).then_some(())
        });
        wait_for(SOON, "all descriptors to be closed", || {
            (proc::descriptors(server.worker()) == idle).then_some(())
        });
        server.stop_empty();
    });
}

#[test]
fn clients_that_vanish_in_every_phase_leak_nothing() {
    with_links(|| {
        let server = Server::start(&[
            "-m",
            "64",
            "--channel-linger",
            "0.1",
            "--no-data-timeout",
            "1",
        ]);
        let _sender = Source::new("west", WEST, "239.3.0.5:5000", Framing::Rtp).run(200);
        proc::wait_for_rest(server.worker(), Duration::from_millis(300));
        let idle = proc::descriptors(server.worker());
        for round in 0..40 {
            use std::io::Write as _;
            drop(server.connect());
            server.connect().write_all(b"GET /rtp/239").expect("sent");
            drop(server.ask("/rtp/239.3.0.5:5000"));
            drop(server.ask("/rtp/239.3.0.6:5000"));
            drop(server.ask("/nothing"));
            if round % 8 == 0 {
                drop(server.open("/rtp/239.3.0.5:5000"));
            }
        }
        wait_for(SOON, "all descriptors to be closed", || {
            (proc::descriptors(server.worker()) == idle).then_some(())
        });
        server.stop_empty();
    });
}

#[test]
fn stalled_client_delays_nobody_and_gets_whole_packets() {
    with_links(|| {
        // About 10 Mbit/s each, so that the stalled one's queue fills within seconds.
        let server = Server::start(&["-m", "64", "-b", "8192"]);
        let _sender = Source::new("west", WEST, "239.3.0.7:5000", Framing::Rtp).run(1000);
        let path = "/rtp/239.3.0.7:5000";
        let mut stalled = server.open(path);
        let mut bodies: Vec<Body> = (0..63).map(|_| server.open(path)).collect();
        for body in &mut bodies {
            body.stream.set_nonblocking(true).expect("a socket");
        }
        // One thread reads all, as fast as it can, and notes the longest silence of each.
        let until = Instant::now() + Duration::from_secs(12);
        let mut received = vec![Vec::new(); bodies.len()];
        let mut last = vec![Instant::now(); bodies.len()];
        let mut longest = Duration::ZERO;
        let mut buffer = vec![0; 256 << 10];
        // How long this test itself could not read.
        let (mut round, mut absent) = (Instant::now(), Duration::ZERO);
        while Instant::now() < until {
            absent = absent.max(round.elapsed());
            round = Instant::now();
            for (index, body) in bodies.iter_mut().enumerate() {
                match body.stream.read(&mut buffer) {
                    Ok(0) => panic!("client {index} was cut off"),
                    Ok(len) => {
                        longest = longest.max(last[index].elapsed());
                        last[index] = Instant::now();
                        keep(&mut received[index], &buffer[..len]);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => panic!("client {index}: {error}"),
                }
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        for followed in &received {
            // One packet to compare with, and the one under way.
            assert!((ts::PACKET..2 * ts::PACKET).contains(&followed.len()));
        }
        // Had they to wait for the stalled one, it would be all of the time; a busy machine may cost a little of it.
        assert!(
            longest < Duration::from_secs(5),
            "somebody waited {longest:?}"
        );
        let reached = Instant::now();
        drop(bodies);
        // What was kept for the stalled client, then live again, never less than a packet.
        let mut bytes = Vec::new();
        let mut numbers = Vec::new();
        while !numbers.windows(2).any(|pair: &[u64]| pair[1] > pair[0] + 1) {
            assert!(
                reached.elapsed() < Duration::from_secs(20),
                "nothing was skipped"
            );
            bytes.extend(stalled.take(700 * ts::PACKET));
            numbers = ts::numbers(&bytes);
        }
        assert!(
            numbers.windows(2).all(|pair| pair[0] < pair[1]),
            "out of order"
        );
        drop(stalled);
        server.log().wait_count(SOON, 64, " packets dropped");
        let closed = server.log().all();
        let unharmed = closed
            .iter()
            .filter(|line| line.ends_with(", 0 packets dropped"));
        // Whoever is not read for so long is skipped with good reason.
        let is_busy = absent > Duration::from_millis(200);
        let unharmed = unharmed.count();
        assert!(
            unharmed == 63 || (is_busy && unharmed < 63),
            "exactly one client was to be skipped, not {}; nobody read for {absent:?}",
            64 - unharmed
        );
        server.stop_empty();
    });
}

/// Appends to what was kept so far, checks what is whole, and keeps the last whole packet and the rest.
fn keep(followed: &mut Vec<u8>, bytes: &[u8]) {
    followed.extend_from_slice(bytes);
    let whole = followed.len() / ts::PACKET * ts::PACKET;
    if whole > ts::PACKET {
        // The last whole packet stays, to be compared with the next one.
        ts::assert_gapless(&followed[..whole]);
        followed.drain(..whole - ts::PACKET);
    }
}
