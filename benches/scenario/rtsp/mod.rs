//! RTSP sessions with media on the control connection, a client each, against a bare relay that deinterleaves.

mod origin;
mod relay;

use std::io;
use std::time::Duration;

pub(crate) use relay::{arguments as relay_arguments, run as run_relay};

use crate::Setup;
use crate::clock;
use crate::live::percent;
use crate::payload::MEDIA_BYTES;
use crate::receiver::Receiver;
use crate::report::Measures;
use crate::server::{self, Program, Server};
use origin::Origin;

/// Flags of a router: what it is to connect to is on loopback.
const ROUTER_FLAGS: &str = "-v 1 --upstream-allow loopback";
/// Every client must have had its first byte this long after the last request.
const FIRST_BYTE_WAIT: Duration = Duration::from_secs(5);

/// How many sessions, and how fast.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) sessions: u32,
    /// Bits of media per second and session.
    pub(crate) rate: u64,
}

/// The column that programs are compared by.
pub(crate) const KEY: &str = "CPU s/GB";

/// Runs one program once.
pub(crate) fn measure(program: &Program, shape: Shape, setup: &Setup) -> io::Result<Measures> {
    let origin = Origin::start(shape.rate)?;
    let clients = shape.sessions as usize;
    let listen = server::free_address()?;
    let command = program.command(listen, clients + 8, ROUTER_FLAGS)?;
    let mut server = Server::launch(&program.name(), command, listen, setup.cores)?;
    let mut receiver = Receiver::new()?;
    for session in 0..shape.sessions {
        let path = format!("/rtsp/{}/live/{session}", origin.address);
        receiver.connect(server.address, &path, session)?;
    }
    receiver.run_to_first_bytes(FIRST_BYTE_WAIT)?;
    receiver.run(setup.warm_up)?;
    receiver.take();
    let start = clock::now();
    let own_before = server::own_cpu()?;
    let before = server.usage()?;
    receiver.run(setup.window)?;
    let after = server.usage()?;
    let wall = clock::now().duration_since(start);
    let own = server::own_cpu()?.saturating_sub(own_before);
    let tally = receiver.take();
    if (tally.bytes as usize) < MEDIA_BYTES {
        return Err(io::Error::other("nothing was delivered"));
    }
    let bits_per_second = tally.bytes as f64 * 8.0 / wall.as_secs_f64();
    let nominal = shape.rate as f64 * f64::from(shape.sessions);
    let cpu = after.cpu.saturating_sub(before.cpu);
    let sleeps = after.sleeps.saturating_sub(before.sleeps);
    Ok(vec![
        (KEY, cpu.as_secs_f64() * 1e9 / tally.bytes as f64),
        ("Gbit/s", bits_per_second / 1e9),
        ("of rate %", bits_per_second * 100.0 / nominal),
        ("loss %", tally.loss_percent()),
        ("dup", tally.duplicated as f64),
        ("corrupt", tally.corrupt as f64),
        ("closed", tally.closed as f64),
        ("p50 ms", tally.latency.percentile(50.0)),
        ("p99 ms", tally.latency.percentile(99.0)),
        ("unique KiB", after.unique_kib as f64),
        ("sleeps/s", sleeps as f64 / wall.as_secs_f64()),
        (
            "waited %",
            percent(after.waited.saturating_sub(before.waited), wall),
        ),
        ("load %", percent(own, wall)),
    ])
}
