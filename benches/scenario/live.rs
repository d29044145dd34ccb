//! Live fan-out: so many groups at a rate, so many clients each, measured over a window once all are fed.

use std::io;
use std::time::Duration;

use crate::Setup;
use crate::clock;
use crate::payload::{MEDIA_BYTES, TS_BYTES};
use crate::receiver::Receiver;
use crate::report::Measures;
use crate::sender::{Bursts, Sender};
use crate::server::{self, Program, Server};
use crate::tally::{Histogram, Tally};

/// Every client must have had its first byte this long after the last request.
const FIRST_BYTE_WAIT: Duration = Duration::from_secs(5);
/// What was sent this shortly before the end of a window may still be on its way.
const ON_ITS_WAY: Duration = Duration::from_millis(250);

/// A window in which the server waited longer than this share of the time for its core says little.
const WAITED_PERCENT_MAX: f64 = 3.0;
/// Windows, until one with a loss was not disturbed.
const ATTEMPTS_MAX: usize = 3;

/// Who sends what to whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) groups: u32,
    pub(crate) clients_per_group: usize,
    /// Bits of media per second and group.
    pub(crate) rate: u64,
}

/// A server with a sender before it and receivers behind it.
pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
}

/// What happened in a window.
#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) tally: Tally,
    pub(crate) wall: Duration,
    /// CPU time of the server.
    pub(crate) cpu: Duration,
    /// Share of the time that the server could have run but something else had its core.
    pub(crate) waited_percent: f64,
    /// CPU time of sender and receivers, and the share of the schedule the sender kept.
    pub(crate) load_percent: f64,
    pub(crate) sent_percent: f64,
    pub(crate) unique_kib: u64,
    pub(crate) sleeps: u64,
}

impl Stage {
    /// Starts all three and waits until every client is fed.
    pub(crate) fn set(
        program: &Program,
        shape: Shape,
        bursts: Bursts,
        setup: &Setup,
    ) -> io::Result<Self> {
        let clients = shape.groups as usize * shape.clients_per_group;
        let server = Server::start(program, clients + 8, setup.cores)?;
        let sender = Sender::start(shape.groups, shape.rate, bursts)?;
        let mut receiver = Receiver::new()?;
        for group in 0..shape.groups {
            for _ in 0..shape.clients_per_group {
                receiver.join(server.address, group)?;
            }
        }
        receiver.run_to_first_bytes(FIRST_BYTE_WAIT)?;
        Ok(Self {
            server,
            sender,
            receiver,
        })
    }

    /// Measures for `duration`; `rate` is that of every group.
    pub(crate) fn window(&mut self, duration: Duration, rate: u64) -> io::Result<Window> {
        self.receiver.take();
        let start = clock::now();
        let (sent_before, given_up_before) = self.sender.progress();
        let own_before = server::own_cpu()?;
        let before = self.server.usage()?;
        self.receiver.run(duration)?;
        let after = self.server.usage()?;
        let wall = clock::now().duration_since(start);
        let own = server::own_cpu()? - own_before;
        let (sent, given_up) = self.sender.progress();
        self.sender.check()?;
        let mut tally = self.receiver.take();
        // A client that gets nothing any more shows no gap, but falls behind.
        let allowance = ON_ITS_WAY.as_secs_f64() * rate as f64 / (TS_BYTES as f64 * 8.0);
        let sequence = |group| self.sender.sequence(group);
        tally.lost += self.receiver.behind(sequence, allowance as u64 + 14);
        let sent = (sent - sent_before) as f64;
        let given_up = (given_up - given_up_before) as f64;
        Ok(Window {
            tally,
            wall,
            cpu: after.cpu.saturating_sub(before.cpu),
            waited_percent: percent(after.waited.saturating_sub(before.waited), wall),
            load_percent: percent(own, wall),
            sent_percent: sent * 100.0 / (sent + given_up).max(1.0),
            unique_kib: after.unique_kib,
            sleeps: after.sleeps.saturating_sub(before.sleeps),
        })
    }
}

impl Window {
    /// Whether other work on the machine held the server up.
    pub(crate) fn is_disturbed(&self) -> bool {
        self.waited_percent > WAITED_PERCENT_MAX
    }

    /// Bits of media per second, all clients together.
    pub(crate) fn bits_per_second(&self) -> f64 {
        self.tally.bytes as f64 * 8.0 / self.wall.as_secs_f64()
    }
}

/// `part` in hundredths of `whole`.
pub(crate) fn percent(part: Duration, whole: Duration) -> f64 {
    part.as_secs_f64() * 100.0 / whole.as_secs_f64()
}

/// The column that programs are compared by.
pub(crate) const KEY: &str = "CPU s/GB";

/// Runs one program once.
pub(crate) fn measure(program: &Program, shape: Shape, setup: &Setup) -> io::Result<Measures> {
    let mut stage = Stage::set(program, shape, Bursts::Small, setup)?;
    stage.receiver.run(setup.warm_up)?;
    let mut window = stage.window(setup.window, shape.rate)?;
    for _ in 1..ATTEMPTS_MAX {
        if window.tally.lost == 0 || !window.is_disturbed() {
            break;
        }
        // First the queues must empty again.
        stage.receiver.run(setup.warm_up)?;
        window = stage.window(setup.window, shape.rate)?;
    }
    let tally = &window.tally;
    if (tally.bytes as usize) < MEDIA_BYTES {
        return Err(io::Error::other("nothing was delivered"));
    }
    let mut first_bytes = Histogram::default();
    for wait in stage.receiver.first_bytes() {
        first_bytes.note(wait.as_nanos() as u64);
    }
    Ok(vec![
        (KEY, window.cpu.as_secs_f64() * 1e9 / tally.bytes as f64),
        ("Gbit/s", window.bits_per_second() / 1e9),
        ("loss %", tally.loss_percent()),
        ("dup", tally.duplicated as f64),
        ("corrupt", tally.corrupt as f64),
        ("closed", tally.closed as f64),
        ("p50 ms", tally.latency.percentile(50.0)),
        ("p99 ms", tally.latency.percentile(99.0)),
        ("TTFB p50", first_bytes.percentile(50.0)),
        ("TTFB max", first_bytes.percentile(100.0)),
        ("unique KiB", window.unique_kib as f64),
        ("sleeps/s", window.sleeps as f64 / window.wall.as_secs_f64()),
        ("waited %", window.waited_percent),
        ("load %", window.load_percent),
        ("sent %", window.sent_percent),
    ])
}
