//! Zapping: sequential requests for a channel that runs already, from request to first media byte.

use std::io;
use std::time::Duration;

use crate::Setup;
use crate::live::{Shape, Stage};
use crate::report::Measures;
use crate::sender::Bursts;
use crate::server::Program;
use crate::tally::Histogram;

/// A zap that has brought nothing for this long has failed.
const PATIENCE: Duration = Duration::from_secs(3);

/// The column that programs are compared by.
pub(crate) const KEY: &str = "p50 ms";

/// Zaps `setup.zaps` times while another client keeps the channel, sent at `rate`, alive.
pub(crate) fn measure(program: &Program, rate: u64, setup: &Setup) -> io::Result<Measures> {
    let shape = Shape {
        groups: 1,
        clients_per_group: 1,
        rate,
    };
    let mut stage = Stage::set(program, shape, Bursts::Small, setup)?;
    stage.receiver.run(setup.warm_up)?;
    stage.receiver.take();
    let mut waits = Histogram::default();
    let mut random = 1_u32;
    for _ in 0..setup.zaps {
        // Zaps must not keep step with the server's tick: 2 to 15 ms apart, the same in every run.
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let apart = Duration::from_micros(2000 + u64::from(random >> 16) % 13_000);
        stage.receiver.run(apart)?;
        stage.receiver.join(stage.server.address, 0)?;
        stage.receiver.run_to_first_bytes(PATIENCE)?;
        if let Some(wait) = stage.receiver.first_bytes().last() {
            waits.note(wait.as_nanos() as u64);
        }
        stage.receiver.disconnect_last();
    }
    stage.server.check()?;
    let tally = stage.receiver.take();
    Ok(vec![
        (KEY, waits.percentile(50.0)),
        ("p99 ms", waits.percentile(99.0)),
        ("max ms", waits.percentile(100.0)),
        ("loss %", tally.loss_percent()),
        ("dup", tally.duplicated as f64),
        ("corrupt", tally.corrupt as f64),
        ("closed", tally.closed as f64),
    ])
}
