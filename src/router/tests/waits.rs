//! Whose time runs when: whoever is held back, or goes on slowly, is not given up for it.

use std::time::Instant;

use super::{Bench, paused, write};
use crate::config::Config;
use crate::limits::HEAD_TRICKLE_FACTOR;
use crate::net::Edge;
use crate::pool::Packet;
use crate::router::Router;
use crate::router::slots::{UpstreamId, UpstreamSlot};

/// More than any socket buffer takes at once.
const BODY_BYTES: usize = 12 << 20;

/// The only upstream.
fn upstream(router: &mut Router) -> (UpstreamId, &mut UpstreamSlot) {
    let mut upstreams = router.upstreams.iter_mut();
    upstreams.next().expect("an upstream")
}

fn deadline(router: &mut Router) -> Option<Instant> {
    let (id, _) = upstream(router);
    router.upstreams.get(id)?.deadline(&router.shared)
}

#[test]
fn upstream_has_all_its_time_again_after_its_client_was_full() {
    let mut bench = Bench::new(Config::default());
    let (_client, _origin) = paused(&mut bench);
    let router = &mut bench.router;
    assert_eq!(deadline(router), None);
    let wait = router.shared.config.http_idle_timeout;
    let later = router.shared.now + 2 * wait;
    let (id, source) = upstream(router);
    source.upstream.resume(later);
    let source = router.upstreams.get(id).expect("an upstream");
    let deadline = source.upstream.deadline(false, &router.shared);
    assert_eq!(deadline, Some(later + wait));
}

#[test]
fn upstream_that_takes_a_request_slowly_has_all_its_time_again_with_every_part() {
    let mut bench = Bench::new(Config::default());
    let client = bench.client();
    let rest = format!("Content-Length: {BODY_BYTES}\r\n\r\n");
    write(&client, &bench.request("POST", "/a", &rest));
    let origin = bench.accept();
    bench.read(&origin, "\r\n\r\n");
    let router = &mut bench.router;
    let (pool, began) = (&router.shared.pool, router.shared.now);
    let piece_bytes = pool.buffer_bytes_max();
    let piece = || pool.take(piece_bytes).expect("room").freeze(piece_bytes);
    let body: Vec<Packet> = (0..BODY_BYTES / piece_bytes).map(|_| piece()).collect();
    let (id, source) = upstream(router);
    for piece in body {
        source.upstream.push_body(piece, began);
    }
    let wait = router.shared.config.http_idle_timeout;
    router.shared.now += wait / 2;
    router.run_upstream(id);
    assert_eq!(deadline(router), Some(router.shared.now + wait));
}

#[test]
fn head_that_trickles_in_is_not_waited_for_without_end() {
    let mut bench = Bench::new(Config::default());
    let client = bench.client();
    write(&client, &bench.request("GET", "/a", "\r\n"));
    let origin = bench.accept();
    bench.read(&origin, "\r\n\r\n");
    write(&origin, "HTTP/1.1 200 OK\r\n");
    let wait = bench.router.shared.config.http_head_timeout;
    let mut lasted = wait;
    let (id, _) = upstream(&mut bench.router);
    while !bench
        .router
        .clients
        .iter()
        .any(|(_, sink)| sink.client.status().is_some())
    {
        lasted += wait / 2;
        assert!(lasted <= (HEAD_TRICKLE_FACTOR + 1) * wait);
        write(&origin, "X-A: b\r\n");
        let router = &mut bench.router;
        router.shared.now += wait / 2;
        let (_, source) = upstream(router);
        let edge = Edge {
            readable: true,
            writable: false,
            ended: false,
        };
        for socket in source.upstream.sockets() {
            source.upstream.note(socket, edge);
        }
        router.run_upstream(id);
    }
    assert!(lasted >= HEAD_TRICKLE_FACTOR * wait, "it did go on");
    let answer = bench.read_to_end(&client);
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
}
