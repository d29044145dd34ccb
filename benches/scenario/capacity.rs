//! The most one core can carry without loss: the rate is raised until something is lost, then halved in on.

use std::io;
use std::time::Duration;

use flowgate::limits::POOL_UNIT_BYTES;

use crate::Setup;
use crate::floor;
use crate::live::{Shape, Stage, Window, percent};
use crate::report::Measures;
use crate::sender::Bursts;
use crate::server::Program;

/// Factor between steps upwards.
const STEP: f64 = 1.5;
/// Steps at most, and the factor between what was carried and what was not that ends the search.
const STEPS_MAX: usize = 16;
const CLOSE: f64 = 1.08;
/// A rate of which the sender keeps less than this measures the load, not the server.
const SENT_PERCENT_MIN: f64 = 90.0;
/// So does one that leaves the load less than this of its core: once the receivers fall behind, what they read is cold,
/// and they never catch up.
const LOAD_PERCENT_MAX: f64 = 95.0;
/// Tries of a rate that nothing disturbed, and tries in all.
const ATTEMPTS: usize = 2;
const ATTEMPTS_MAX: usize = 4;
const SETTLE: Duration = Duration::from_millis(200);
/// Queues empty at the lowest rate for this long after a loss.
const RECOVER: Duration = Duration::from_millis(400);

/// The column that programs are compared by.
pub(crate) const KEY: &str = "Gbit/s";

enum Step {
    Carried(Window),
    Lost,
    LoadFull,
}

/// Finds the highest rate for `shape`, whose own rate is the lowest that is tried.
pub(crate) fn measure(program: &Program, shape: Shape, setup: &Setup) -> io::Result<Measures> {
    let program = with_floor_bounds(program, shape);
    let mut stage = Stage::set(&program, shape, Bursts::Trains, setup)?;
    let lowest = shape.rate as f64;
    let mut best: Option<Window> = None;
    let mut below = 0.0;
    let mut above = f64::INFINITY;
    let mut load_full = false;
    for _ in 0..STEPS_MAX {
        let rate = match (below, above) {
            (0.0, _) => lowest,
            (_, f64::INFINITY) => below * STEP,
            _ if above / below < CLOSE => break,
            _ => f64::midpoint(below, above),
        };
        match attempt(&mut stage, rate, lowest, setup)? {
            Step::Carried(window) => {
                best = Some(window);
                below = rate;
            }
            Step::Lost if below == 0.0 => break,
            Step::Lost => {
                load_full = false;
                above = rate;
            }
            Step::LoadFull => {
                load_full = true;
                above = rate;
            }
        }
    }
    let Some(window) = best else {
        return Err(io::Error::other("it loses packets at the lowest rate"));
    };
    Ok(vec![
        (KEY, window.bits_per_second() / 1e9),
        ("p50 ms", window.tally.latency.percentile(50.0)),
        ("p99 ms", window.tally.latency.percentile(99.0)),
        ("server %", percent(window.cpu, window.wall)),
        ("load %", window.load_percent),
        ("load-bound", f64::from(u8::from(load_full))),
        ("unique KiB", window.unique_kib as f64),
    ])
}

/// The program; a router gets the receive buffers that the floors ask for, and a pool from which each of its clients
/// may have as much waiting as a floor lets wait. Both bridge the moments in which the load has no time to read.
fn with_floor_bounds(program: &Program, shape: Shape) -> Program {
    let mut program = program.clone();
    if let Program::Router { flags, .. } = &mut program {
        let receive_buffer = floor::RECEIVE_BUFFER_BYTES.to_string();
        let pool = (pool_shares(shape) * floor::WAITING_BYTES_MAX).div_ceil(POOL_UNIT_BYTES);
        let bounds = [
            "-B".to_owned(),
            receive_buffer,
            "-b".to_owned(),
            pool.to_string(),
        ];
        flags.splice(0..0, bounds);
    }
    program
}

/// In how many parts the pool must be divided for one of them to be what a client may hold: never more than a quarter,
/// and three quarters of a fair share. Clients of one group hold the same buffers.
fn pool_shares(shape: Shape) -> usize {
    (shape.groups as usize * 4).div_ceil(3).max(4)
}

/// Tries a rate, and again when it fails: other work on the machine loses packets too.
fn attempt(stage: &mut Stage, rate: f64, lowest: f64, setup: &Setup) -> io::Result<Step> {
    let mut step = Step::Lost;
    let mut undisturbed = 0;
    for _ in 0..ATTEMPTS_MAX {
        stage.sender.set_rate(rate as u64);
        stage.receiver.run(SETTLE)?;
        let window = stage.window(setup.window / 2, rate as u64)?;
        let tally = &window.tally;
        let is_whole = tally.lost + tally.duplicated + tally.corrupt + tally.closed == 0;
        if is_whole && window.sent_percent >= SENT_PERCENT_MIN {
            return Ok(Step::Carried(window));
        }
        step = match is_whole || window.load_percent > LOAD_PERCENT_MAX {
            true => Step::LoadFull,
            false => Step::Lost,
        };
        stage.sender.set_rate(lowest as u64);
        stage.receiver.run(RECOVER)?;
        undisturbed += usize::from(!window.is_disturbed());
        if undisturbed == ATTEMPTS {
            break;
        }
    }
    Ok(step)
}
