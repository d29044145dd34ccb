//! The most one core can carry without loss: the rate is raised until something is lost, then halved in on.

use std::io;
use std::time::Duration;

use crate::Setup;
use crate::live::{Shape, Stage, Window};
use crate::report::Measures;
use crate::server::Program;

/// Factor between steps upwards.
const STEP: f64 = 1.5;
/// Steps upwards at most, and halvings afterwards: the last leaves an interval of a sixteenth of a step.
const STEPS_MAX: usize = 14;
const HALVINGS: usize = 4;
/// A rate at which the sender gave up more than this measures the load, not the server.
const SENT_PERCENT_MIN: f64 = 99.0;
const SETTLE: Duration = Duration::from_millis(200);
/// Queues empty at the lowest rate for this long after a loss.
const RECOVER: Duration = Duration::from_millis(700);

/// The column that programs are compared by.
pub(crate) const KEY: &str = "Gbit/s";

enum Step {
    Carried(Window),
    Lost,
    LoadFull(Window),
}

/// Finds the highest rate for `shape`, whose own rate is the lowest that is tried.
pub(crate) fn measure(program: &Program, shape: Shape, setup: &Setup) -> io::Result<Measures> {
    let mut stage = Stage::set(program, shape, setup)?;
    let lowest = shape.rate as f64;
    let mut best: Option<(f64, Window)> = None;
    let mut lost_at = None;
    let mut load_full = false;
    let mut rate = lowest;
    for _ in 0..STEPS_MAX {
        match attempt(&mut stage, rate, lowest, setup)? {
            Step::Carried(window) => best = Some((rate, window)),
            Step::Lost => {
                lost_at = Some(rate);
                break;
            }
            Step::LoadFull(window) => {
                load_full = true;
                best = Some((rate, window));
                break;
            }
        }
        rate *= STEP;
    }
    if let Some(mut above) = lost_at {
        let mut below = best.as_ref().map_or(0.0, |(rate, _)| *rate);
        for _ in 0..HALVINGS {
            let rate = (below + above) / 2.0;
            match attempt(&mut stage, rate, lowest, setup)? {
                Step::Carried(window) => {
                    best = Some((rate, window));
                    below = rate;
                }
                Step::Lost => above = rate,
                Step::LoadFull(window) => {
                    load_full = true;
                    best = Some((rate, window));
                    break;
                }
            }
        }
    }
    let Some((_, window)) = best else {
        return Err(io::Error::other("it lost packets at every rate"));
    };
    let cpu_percent = window.cpu.as_secs_f64() * 100.0 / window.wall.as_secs_f64();
    Ok(vec![
        (KEY, window.bits_per_second() / 1e9),
        ("p50 ms", window.tally.latency.percentile(50.0)),
        ("p99 ms", window.tally.latency.percentile(99.0)),
        ("server %", cpu_percent),
        ("load %", window.load_percent),
        ("load-bound", f64::from(u8::from(load_full))),
        ("unique KiB", window.unique_kib as f64),
    ])
}

/// Tries a rate, and once more when something is lost: other work on the machine loses packets too.
fn attempt(stage: &mut Stage, rate: f64, lowest: f64, setup: &Setup) -> io::Result<Step> {
    for _ in 0..2 {
        stage.sender.set_rate(rate as u64);
        stage.receiver.run(SETTLE)?;
        let window = stage.window(setup.window / 3, rate as u64)?;
        let tally = &window.tally;
        if tally.lost + tally.duplicated + tally.corrupt + tally.closed == 0 {
            return Ok(if window.sent_percent < SENT_PERCENT_MIN {
                Step::LoadFull(window)
            } else {
                Step::Carried(window)
            });
        }
        stage.sender.set_rate(lowest as u64);
        stage.receiver.run(RECOVER)?;
    }
    Ok(Step::Lost)
}
