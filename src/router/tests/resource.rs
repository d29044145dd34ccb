//! Resources of our own over real sockets: bodies of any length, whatever the pool has.

use std::rc::Rc;

use super::{Bench, poor, receive};
use crate::client::resource::{LocalBody, Reply};
use crate::limits::STALL_CHECK;
use crate::router::slots::ClientId;

/// More than any socket buffer takes at once.
const BODY_BYTES: usize = 12 << 20;

/// A connection that was answered with a long body.
fn answered(bench: &mut Bench) -> (std::net::TcpStream, ClientId, Rc<[u8]>) {
    let client = bench.client();
    while bench.router.clients.is_empty() {
        bench.router.tick().expect("a tick");
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
    router.run_client(id);
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
    bench.router.shared.now += STALL_CHECK;
    bench.router.run_client(id);
    let sink = bench.router.clients.get(id).expect("not reaped yet");
    assert!(sink.client.is_closed());
    assert_eq!(Rc::strong_count(&body), 1, "the body is let go");
}
