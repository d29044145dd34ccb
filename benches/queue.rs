//! What a client's queue costs per run, without the system call.

use std::io::{self, IoSlice};

use divan::{Bencher, black_box};
use flowgate::net::mio::MioNet;
use flowgate::net::tls::TlsConfig;
use flowgate::net::{Io, Net, PipeId, Writer};
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
    let mut queues: Vec<SendQueue> = (0..clients).map(|_| SendQueue::default()).collect();
    let (mut net, mut sends) = (net(), Sends::default());
    bencher.counter(clients).bench_local(|| {
        for queue in &mut queues {
            queue.push(black_box(&run).clone(), 19);
            queue
                .flush(&mut Taker, &mut net, &mut sends)
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
    let mut queue = SendQueue::default();
    let (mut net, mut sends) = (net(), Sends::default());
    bencher.counter(runs.len()).bench_local(|| {
        runs.iter().for_each(|run| queue.push(run.clone(), 1));
        queue
            .flush(&mut Taker, &mut net, &mut sends)
            .expect("never fails");
    });
}

/// Handed to the writer, which does not use it.
fn net() -> MioNet {
    let tls = TlsConfig::load(None).expect("no file is read");
    MioNet::new(tls).expect("an event queue")
}

/// Takes everything at once.
struct Taker;

impl Writer for Taker {
    fn is_writable(&self) -> bool {
        true
    }

    fn write(&mut self, _: &mut dyn Net, parts: &[IoSlice<'_>]) -> io::Result<Io<usize>> {
        Ok(Io::Done(
            black_box(parts).iter().map(|part| part.len()).sum(),
        ))
    }

    fn write_pages(&mut self, _: &mut dyn Net, view: &Packet) -> io::Result<Io<usize>> {
        Ok(Io::Done(view.len()))
    }

    fn write_piped(
        &mut self,
        _: &mut dyn Net,
        _: PipeId,
        bytes_max: usize,
    ) -> io::Result<Io<usize>> {
        Ok(Io::Done(bytes_max))
    }
}
