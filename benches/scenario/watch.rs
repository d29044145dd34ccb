//! Viewers of the status: what they cost a router that serves many clients.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::Setup;
use crate::clock;
use crate::live::{Shape, Stage, Window, percent};
use crate::report::{Measures, median};
use crate::sender::Bursts;
use crate::server::Program;

/// Viewers that read everything at once.
const VIEWERS: usize = 20;
/// Windows with viewers, each between two without: what they cost is less than what one window differs from the next.
const ROUNDS: usize = 8;

/// The column that programs are compared by: share of a core that the viewers cost.
pub(crate) const KEY: &str = "status %";

/// Measures the same clients without viewers and with them, in turn.
pub(crate) fn measure(program: &Program, shape: Shape, setup: &Setup) -> io::Result<Measures> {
    let mut stage = Stage::set(program, shape, Bursts::Small, setup)?;
    let mut told = 0;
    let mut told_for = 0.0;
    let mut last = None;
    let mut without = Vec::new();
    let mut with = Vec::new();
    for _ in 0..ROUNDS {
        without.push(share(&mut stage, shape, setup)?.0);
        let viewers = Viewers::connect(&stage)?;
        // What a viewer is told at first is more than what follows.
        stage.receiver.run(setup.warm_up)?;
        let (before, since) = (viewers.told(), clock::now());
        let (share, window) = share(&mut stage, shape, setup)?;
        told += viewers.told() - before;
        told_for += since.elapsed().as_secs_f64();
        with.push(share);
        last = Some(window);
        viewers.leave()?;
    }
    without.push(share(&mut stage, shape, setup)?.0);
    let Some(window) = last.filter(|_| told > 0) else {
        return Err(io::Error::other("the viewers were told nothing"));
    };
    let neighbours = without
        .windows(2)
        .map(|pair| f64::midpoint(pair[0], pair[1]));
    let costs = with
        .iter()
        .zip(neighbours)
        .map(|(with, without)| with - without);
    Ok(vec![
        (KEY, median(costs.collect())),
        ("without %", median(without)),
        ("with %", median(with)),
        ("KB/s each", told as f64 / 1e3 / VIEWERS as f64 / told_for),
        ("loss %", window.tally.loss_percent()),
        ("waited %", window.waited_percent),
        ("load %", window.load_percent),
    ])
}

/// The share of a core that the program takes, and the window in which it took it.
fn share(stage: &mut Stage, shape: Shape, setup: &Setup) -> io::Result<(f64, Window)> {
    stage.receiver.run(setup.warm_up)?;
    let window = stage.window(setup.window, shape.rate)?;
    Ok((percent(window.cpu, window.wall), window))
}

/// Viewers of the event stream, a thread each.
struct Viewers {
    streams: Vec<TcpStream>,
    bytes: Arc<AtomicU64>,
}

impl Viewers {
    fn connect(stage: &Stage) -> io::Result<Self> {
        let bytes = Arc::new(AtomicU64::new(0));
        let mut streams = Vec::new();
        for _ in 0..VIEWERS {
            let mut viewer = TcpStream::connect(stage.server.address)?;
            viewer.write_all(b"GET /status/sse HTTP/1.1\r\nHost: bench\r\n\r\n")?;
            streams.push(viewer.try_clone()?);
            let bytes = Arc::clone(&bytes);
            thread::spawn(move || {
                let mut scratch = vec![0; 256 << 10];
                while let Ok(count @ 1..) = viewer.read(&mut scratch) {
                    bytes.fetch_add(count as u64, Ordering::Relaxed);
                }
            });
        }
        Ok(Self { streams, bytes })
    }

    /// Bytes that they have read together.
    fn told(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn leave(self) -> io::Result<()> {
        self.streams
            .iter()
            .try_for_each(|viewer| viewer.shutdown(Shutdown::Both))
    }
}
