//! Live channels over real sockets, many at once.

use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::time::Duration;

use socket2::SockRef;

use super::{Bench, TICKS_MAX, receive, write};
use crate::config::Config;
use crate::limits::{POOL_UNIT_BYTES, WARM_BYTES_MAX};

/// Channels of a bench.
const CHANNELS: usize = 64;
/// What each of them brings at once.
const DATAGRAMS: usize = 10;

/// Packets of a transport stream, null packets all. Larger than usual, and so fewer: the queue in front of loopback
/// counts datagrams, and is shared.
fn datagram() -> Vec<u8> {
    let mut packet = [0xff; 188];
    packet[..4].copy_from_slice(&[0x47, 0x1f, 0xff, 0x10]);
    packet.repeat(28)
}

/// Somebody who watches what is sent to a group on loopback, and who sends there.
struct Viewer {
    client: TcpStream,
    sender: UdpSocket,
    seen: Vec<u8>,
}

impl Viewer {
    /// One of the group `239.255.7.number`, that has been sent a datagram.
    fn new(bench: &mut Bench, number: usize) -> Self {
        // Ports come from the system and may come twice.
        let group = format!("239.255.7.{number}");
        let free = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("bound").port();
        drop(free);
        let client = bench.client();
        write(
            &client,
            &format!("GET /udp/{group}:{port}?ifname=lo HTTP/1.1\r\nHost: h\r\n\r\n"),
        );
        let wanted = bench.router.channels.len() + 1;
        for _ in 0..TICKS_MAX {
            if bench.router.channels.len() == wanted {
                break;
            }
            bench.tick();
        }
        assert_eq!(bench.router.channels.len(), wanted, "the group is joined");
        let sender = UdpSocket::bind("127.0.0.1:0").expect("a port");
        SockRef::from(&sender)
            .set_multicast_if_v4(&Ipv4Addr::LOCALHOST)
            .expect("loopback");
        sender.connect((&*group, port)).expect("an address");
        let mut viewer = Self {
            client,
            sender,
            seen: Vec::new(),
        };
        viewer.send(1);
        bench.until(|| viewer.has(1).then_some(()));
        viewer
    }

    fn send(&self, count: usize) {
        for _ in 0..count {
            self.sender.send(&datagram()).expect("sent");
        }
    }

    /// Whether this many datagrams have come in all.
    fn has(&mut self, count: usize) -> bool {
        receive(&self.client, &mut self.seen);
        let head = self.seen.windows(4).position(|end| end == b"\r\n\r\n");
        head.is_some_and(|at| self.seen.len() == at + 4 + count * datagram().len())
    }
}

#[test]
fn what_channels_bring_is_handed_on_before_it_fills_the_memory() {
    let config = Config {
        pool_buffers_max: 6 * WARM_BYTES_MAX / POOL_UNIT_BYTES,
        clients_max: CHANNELS,
        fast_start_bytes: 0,
        // All sockets are read in the tick in which the poll tells of them.
        flush_interval: Some(Duration::ZERO),
        ..Config::default()
    };
    let mut bench = Bench::new(config);
    let mut viewers: Vec<Viewer> = (1..=CHANNELS)
        .map(|number| Viewer::new(&mut bench, number))
        .collect();
    let brought = CHANNELS * DATAGRAMS * datagram().len();
    let pool_bytes = bench.router.shared.pool.bytes_max();
    assert!(brought > 2 * pool_bytes, "the pool could hold it all");
    for viewer in &viewers {
        viewer.send(DATAGRAMS);
    }
    bench.until(|| {
        viewers
            .iter_mut()
            .all(|viewer| viewer.has(1 + DATAGRAMS))
            .then_some(())
    });
}
