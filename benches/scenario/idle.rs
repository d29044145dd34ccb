//! Doing nothing: the memory of a server without clients and with silent ones, and how often it wakes.

use std::io;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::Setup;
use crate::report::Measures;
use crate::server::{Program, Server};

/// Connections accepted by now, buffers freed; a router does that a second after the last came.
const SETTLE: Duration = Duration::from_millis(1500);
/// Silent connections at each look.
const FEW: usize = 100;
const MANY: usize = 1000;

/// The column that programs are compared by.
pub(crate) const KEY: &str = "KiB";

/// Looks at a server without connections, with a hundred and with a thousand that send nothing.
pub(crate) fn measure(program: &Program, setup: &Setup) -> io::Result<Measures> {
    let mut server = Server::start(program, 2 * MANY, setup.cores)?;
    thread::sleep(SETTLE);
    let quiet = server.usage()?;
    thread::sleep(setup.warm_up);
    let still_quiet = server.usage()?;
    let per_second = setup.warm_up.as_secs_f64();
    let mut connections = Vec::new();
    let mut kib = [still_quiet.unique_kib as f64, 0.0, 0.0];
    for (kib, wanted) in kib[1..].iter_mut().zip([FEW, MANY]) {
        while connections.len() < wanted {
            connections.push(TcpStream::connect(server.address)?);
        }
        thread::sleep(SETTLE);
        *kib = server.usage()?.unique_kib as f64;
    }
    Ok(vec![
        (KEY, kib[0]),
        ("100 silent", kib[1]),
        ("1000 silent", kib[2]),
        ("KiB each", (kib[2] - kib[0]) / MANY as f64),
        (
            "sleeps/s",
            (still_quiet.sleeps - quiet.sleeps) as f64 / per_second,
        ),
    ])
}
