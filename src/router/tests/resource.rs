//! Resources of our own over real sockets: bodies of any length, whatever the pool has.

use std::io::Read;
use std::rc::Rc;
use std::time::Duration;

use super::{Bench, poor, receive};
use crate::client::resource::{LocalBody, Reply};
use crate::limits::STALL_CHECK;
use crate::net::{Edge, clock};
use crate::router::Router;
use crate::router::slots::{ClientId, ClientSlot};

/// More than any socket buffer takes at once.
const BODY_BYTES: usize = 12 << 20;

/// A connection that was answered with a long body, of which the kernel has what it takes.
fn answered(bench: &mut Bench) -> (std::net::TcpStream, ClientId, Rc<[u8]>) {
    let client = bench.client();
    while bench.router.clients.is_empty() {
        bench.tick();
    }
    let (id, _) = bench.router.clients.iter().next().expect("a client");
    let body: Rc<[u8]> = (0..BODY_BYTES).map(|at| (at / 251) as u8).collect();
    let reply = Reply {
        head: b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
        body: Some(LocalBody::Shared(Rc::clone(&body))),
    };
    let router = &mut bench.router;
    let sink = router.clients.get_mut(id).expect("a client");
    sink.client.answer_resource(reply, &mut router.shared);
    let is_runnable = |router: &Router| router.clients.get(id).is_some_and(ClientSlot::runnable);
    while is_runnable(router) {
        router.run_client(id);
    }
    (client, id, body)
}

#[test]
fn body_larger_than_every_queue_arrives_whole_out_of_the_smallest_pool() {
    let mut bench = Bench::new(poor());
    let (client, _, body) = answered(&mut bench);
    let held = bench.leave_room(0);
    let mut received = Vec::new();
    bench.until_ticks(10_000, || receive(&client, &mut received).then_some(()));
    drop(held);
    let expected = [b"HTTP/1.1 200 OK\r\n\r\n", &*body].concat();
    assert_eq!(received.len(), expected.len());
    assert!(received == expected, "the bytes differ");
}

#[test]
fn reader_that_stops_is_not_waited_for_without_end() {
    let mut bench = Bench::new(poor());
    let (_client, id, body) = answered(&mut bench);
    for is_over in [false, true] {
        bench.router.shared.now += STALL_CHECK / 2;
        bench.router.run_client(id);
        let sink = bench.router.clients.get(id).expect("not reaped yet");
        assert_eq!(sink.client.is_closed(), is_over);
    }
    assert_eq!(Rc::strong_count(&body), 1, "the body is let go");
}

/// Lets the client read until more is written to it, at the time that it is.
fn take_until_written(client: &mut std::net::TcpStream, id: ClientId, router: &mut Router) {
    client.set_nonblocking(false).expect("it waits");
    let mut piece = vec![0; 64 << 10];
    let sent = router.shared.stats.to_clients.bytes;
    while router.shared.stats.to_clients.bytes == sent {
        client.read_exact(&mut piece).expect("there is more");
        let sink = router.clients.get_mut(id).expect("a client");
        sink.client.note(Edge {
            readable: false,
            writable: true,
            ended: false,
        });
        router.run_client(id);
    }
}

#[test]
fn time_of_a_reader_begins_anew_with_what_is_written_to_it() {
    let mut bench = Bench::new(poor());
    let (mut client, id, _body) = answered(&mut bench);
    let router = &mut bench.router;
    router.shared.now += STALL_CHECK / 4;
    take_until_written(&mut client, id, router);
    let sink = router.clients.get(id).expect("a client");
    let until = router.shared.now + STALL_CHECK / 2;
    assert_eq!(sink.deadline(), Some(until));
}

/// What waits in the kernel afterwards may well be more than it was.
#[test]
fn reader_that_makes_room_in_the_moment_of_the_check_is_waited_for() {
    let mut bench = Bench::new(poor());
    let (mut client, id, _body) = answered(&mut bench);
    let router = &mut bench.router;
    router.shared.now += STALL_CHECK / 2;
    router.run_client(id);
    take_until_written(&mut client, id, router);
    router.shared.now += STALL_CHECK / 2;
    router.run_client(id);
    let sink = router.clients.get(id).expect("a client");
    assert!(!sink.client.is_closed());
}

/// The kernel asks for more only when a good part of what it holds has gone, which a slow reader takes minutes for.
#[test]
fn reader_that_takes_a_little_is_waited_for() {
    let mut bench = Bench::new(poor());
    let (mut client, id, _body) = answered(&mut bench);
    client.set_nonblocking(false).expect("it waits");
    let wait = Some(Duration::from_millis(1));
    client.set_read_timeout(wait).expect("but not long");
    let mut piece = vec![0; 64 << 10];
    let mut before = usize::MAX;
    for _ in 0..4 {
        // The kernel takes its time to tell the other end of the room that reading makes, on a busy machine more so.
        let until = clock::now() + Duration::from_secs(30);
        let mut tries = std::iter::from_fn(|| (clock::now() < until).then_some(()));
        let less = tries.find_map(|()| {
            let _ = client.read(&mut piece);
            let sink = bench.router.clients.get(id)?;
            let left = bench
                .router
                .shared
                .net
                .unacknowledged_bytes(sink.client.socket());
            left.ok().filter(|left| *left < before)
        });
        before = less.expect("the client takes something");
        bench.router.shared.now += STALL_CHECK / 2;
        bench.router.run_client(id);
        let sink = bench.router.clients.get(id).expect("a client");
        assert!(!sink.client.is_closed());
    }
}
