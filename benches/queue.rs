//! What a client's queue costs per run, without the system call.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use divan::{Bencher, black_box};
use flowgate::arena::Id;
use flowgate::net::{
    Accepted, Batch, Event, GroupAddress, Io, Joined, Layout, LookupId, Net, PipeId, SocketId,
    Stage, Watched,
};
use flowgate::pool::{Packet, Pool};
use flowgate::send_queue::SendQueue;
use flowgate::stats::Sends;

fn main() {
    divan::main();
}

/// Clients of one channel are each given a run and write it: per client, the cost of a tick.
#[divan::bench(args = [1, 16, 256])]
fn push_and_flush(bencher: Bencher<'_, '_>, clients: usize) {
    let pool = Pool::new(1 << 20);
    let run = pool.take(25_000).expect("room").freeze(25_000);
    let mut queues: Vec<(SendQueue, Watched)> = (0..clients).map(|_| queue()).collect();
    let (mut net, mut stats) = (Taker, Sends::default());
    bencher.counter(clients).bench_local(|| {
        for (queue, socket) in &mut queues {
            queue.push(black_box(&run).clone(), 19);
            queue
                .flush(socket, &mut net, &mut stats)
                .expect("never fails");
        }
    });
}

/// A client that is behind takes 64 runs with one write.
#[divan::bench]
fn gather_64_runs(bencher: Bencher<'_, '_>) {
    let pool = Pool::new(1 << 20);
    let runs: Vec<Packet> = (0..64)
        .map(|_| pool.take(1316).expect("room").freeze(1316))
        .collect();
    let (mut queue, mut socket) = queue();
    let (mut net, mut stats) = (Taker, Sends::default());
    bencher.counter(runs.len()).bench_local(|| {
        runs.iter().for_each(|run| queue.push(run.clone(), 1));
        queue
            .flush(&mut socket, &mut net, &mut stats)
            .expect("never fails");
    });
}

fn queue() -> (SendQueue, Watched) {
    let socket = Watched::accepted(Id::from_parts(0, 0));
    (SendQueue::default(), socket)
}

/// A network whose sockets take everything at once, and that can do nothing else.
struct Taker;

fn cannot<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Net for Taker {
    #[allow(clippy::disallowed_methods, reason = "nobody asks")]
    fn now(&self) -> Instant {
        Instant::now()
    }
    fn poll(&mut self, _: Option<Duration>, _: &mut Vec<Event>) -> io::Result<()> {
        cannot()
    }
    fn listen(&mut self, _: SocketAddr) -> io::Result<SocketId> {
        cannot()
    }
    fn local_address(&self, _: SocketId) -> io::Result<SocketAddr> {
        cannot()
    }
    fn accept(&mut self, _: SocketId) -> io::Result<Io<Accepted>> {
        cannot()
    }
    fn unix_time(&self) -> i64 {
        0
    }
    fn own_addresses(&self) -> Vec<IpAddr> {
        Vec::new()
    }
    fn connect(&mut self, _: SocketAddr, _: Option<&str>) -> io::Result<SocketId> {
        cannot()
    }
    fn is_connected(&self, _: SocketId) -> io::Result<bool> {
        cannot()
    }
    fn secure(&mut self, _: &str) -> io::Result<Box<dyn Stage>> {
        cannot()
    }
    fn open_pipe(&mut self) -> io::Result<PipeId> {
        cannot()
    }
    fn fill_pipe(&mut self, _: PipeId, _: SocketId, _: usize) -> io::Result<Io<usize>> {
        cannot()
    }
    fn drain_pipe(&mut self, _: PipeId, _: SocketId, _: usize) -> io::Result<Io<usize>> {
        cannot()
    }
    fn close_pipe(&mut self, _: PipeId) {}
    fn set_receive_low_water(&mut self, _: SocketId, _: usize) -> io::Result<()> {
        cannot()
    }
    fn unread_bytes(&self, _: SocketId) -> io::Result<usize> {
        cannot()
    }
    fn read(&mut self, _: SocketId, _: &mut [u8]) -> io::Result<Io<usize>> {
        cannot()
    }
    fn write(&mut self, _: SocketId, parts: &[IoSlice<'_>]) -> io::Result<Io<usize>> {
        Ok(Io::Done(parts.iter().map(|part| part.len()).sum()))
    }
    fn write_pages(&mut self, _: SocketId, view: &Packet) -> io::Result<Io<usize>> {
        Ok(Io::Done(view.len()))
    }
    fn finish(&mut self, _: SocketId) {}
    fn unanswered(&self, _: SocketId) -> io::Result<u8> {
        cannot()
    }
    fn join(&mut self, _: &GroupAddress, _: usize) -> io::Result<Joined> {
        cannot()
    }
    fn set_receive_buffer(&mut self, _: SocketId, _: usize) -> io::Result<usize> {
        cannot()
    }
    fn rejoin(&mut self, _: SocketId, _: &GroupAddress) -> io::Result<()> {
        cannot()
    }
    fn watch(&mut self, _: SocketId) -> io::Result<()> {
        cannot()
    }
    fn unwatch(&mut self, _: SocketId) -> io::Result<()> {
        cannot()
    }
    fn receive(
        &mut self,
        _: SocketId,
        _: &mut Batch,
        _: &mut [u8],
        _: Layout,
    ) -> io::Result<Io<usize>> {
        cannot()
    }
    fn random(&mut self) -> u64 {
        0
    }
    fn bind_pair(&mut self, _: SocketAddr, _: Option<&str>, _: usize) -> io::Result<[SocketId; 2]> {
        cannot()
    }
    fn send_to(&mut self, _: SocketId, _: SocketAddr, _: &[u8]) -> io::Result<Io<()>> {
        cannot()
    }
    fn receive_from(
        &mut self,
        _: SocketId,
        _: &mut Batch,
        _: &mut [u8],
        _: Layout,
    ) -> io::Result<Io<usize>> {
        cannot()
    }
    fn resolve(&mut self, _: LookupId, _: Vec<String>) -> io::Result<()> {
        cannot()
    }
    fn close(&mut self, _: SocketId) {}
}
