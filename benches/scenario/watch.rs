//! Viewers of the status: what they cost a router that serves many clients.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::Setup;
use crate::live::{Shape, Stage, percent};
use crate::report::Measures;
use crate::sender::Bursts;
use crate::server::Program;

/// Viewers that read everything at once.
const VIEWERS: usize = 20;

/// The column that programs are compared by: share of a core that the viewers cost.
pub(crate) const KEY: &str = "status %";

/// Measures the same clients without viewers and with them.
pub(crate) fn measure(program: &Program, shape: Shape, setup: &Setup) -> io::Result<Measures> {
    let mut stage = Stage::set(program, shape, Bursts::Small, setup)?;
    stage.receiver.run(setup.warm_up)?;
    let alone = stage.window(setup.window, shape.rate)?;
    let bytes = Arc::new(AtomicU64::new(0));
    let mut viewers = Vec::new();
    for _ in 0..VIEWERS {
        let mut viewer = TcpStream::connect(stage.server.address)?;
        viewer.write_all(b"GET /status/sse HTTP/1.1\r\nHost: bench\r\n\r\n")?;
        viewers.push(viewer.try_clone()?);
        let bytes = Arc::clone(&bytes);
        thread::spawn(move || {
            let mut scratch = vec![0; 256 << 10];
            while let Ok(count @ 1..) = viewer.read(&mut scratch) {
                bytes.fetch_add(count as u64, Ordering::Relaxed);
            }
        });
    }
    stage.receiver.run(setup.warm_up)?;
    let before = bytes.load(Ordering::Relaxed);
    let watched = stage.window(setup.window, shape.rate)?;
    let told = bytes.load(Ordering::Relaxed) - before;
    for viewer in viewers {
        viewer.shutdown(std::net::Shutdown::Both)?;
    }
    if told == 0 {
        return Err(io::Error::other("the viewers were told nothing"));
    }
    let without = percent(alone.cpu, alone.wall);
    let with = percent(watched.cpu, watched.wall);
    Ok(vec![
        (KEY, with - without),
        ("without %", without),
        ("with %", with),
        (
            "KB/s each",
            told as f64 / 1e3 / VIEWERS as f64 / watched.wall.as_secs_f64(),
        ),
        ("loss %", watched.tally.loss_percent()),
        ("waited %", watched.waited_percent),
        ("load %", watched.load_percent),
    ])
}
