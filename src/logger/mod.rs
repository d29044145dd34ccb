//! The diagnostic log: one line per record on standard output.
//!
//! A line is `[Supervisor] text` or `[Worker 0] text`, the form that scripts around the compatible router match;
//! [`LogStyle`] adds to it. Lines have at most [`LINE_BYTES_MAX`] bytes.
//!
//! `env_logger` carries the lines to `output`, which never waits: neither a closed pipe, a full disk nor a reader
//! that stops reading ends or holds up the program. They cost lines, which are counted.

mod line;
mod output;

use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use env_logger::{Builder, Target};
use log::{Level, LevelFilter, Record, SetLoggerError};

use crate::area::{Area, SUPERVISOR, Seat};
use crate::config::{LogStyle, Verbosity};
pub use line::LINE_BYTES_MAX;
use line::line;
use output::{Output, Stdout};

/// Marks the records of [`fatal`]: `log` has no such level.
const FATAL_TARGET: &str = "flowgate::fatal";

/// Whose lines these are: 0 for the supervisor, otherwise one more than the worker's number.
static SPEAKER: AtomicU32 = AtomicU32::new(0);
/// Under which number they are kept.
static WRITER: AtomicUsize = AtomicUsize::new(SUPERVISOR);
/// Whether there is a logger.
static IS_OPEN: AtomicBool = AtomicBool::new(false);
/// Where lines are kept for the viewers of the status.
static KEPT_IN: OnceLock<Arc<Area>> = OnceLock::new();

/// Starts logging in the given style. Without one, lines carry time and level if standard error is a terminal.
///
/// # Errors
///
/// If the process has a logger already.
pub fn init(verbosity: Verbosity, style: Option<LogStyle>) -> Result<(), SetLoggerError> {
    let style = style.unwrap_or_else(|| match io::stderr().is_terminal() {
        true => LogStyle::Timestamps,
        false => LogStyle::Plain,
    });
    let output = Output::new(Stdout::open(), style);
    builder(Target::Pipe(Box::new(output)), style).try_init()?;
    IS_OPEN.store(true, Ordering::Relaxed);
    set_verbosity(verbosity);
    Ok(())
}

/// From now on shows what `verbosity` says, in this process. May be called at any time.
pub fn set_verbosity(verbosity: Verbosity) {
    log::set_max_level(verbosity.into());
}

/// What is shown now.
pub fn verbosity() -> Verbosity {
    let shown = log::max_level();
    let all = Verbosity::ALL.into_iter();
    all.rev()
        .find(|verbosity| LevelFilter::from(*verbosity) == shown)
        .unwrap_or(Verbosity::Fatal)
}

/// From now on lines of this process come from the worker at `seat`: `[Worker number]`.
pub fn begin_worker(seat: Seat) {
    let speaker = u32::try_from(seat.worker()).map_or(u32::MAX, |number| number.saturating_add(1));
    SPEAKER.store(speaker, Ordering::Relaxed);
    WRITER.store(seat.writer(), Ordering::Relaxed);
}

/// From now on keeps every line in the log of `area` too, for the viewers of the status; without its time stamp. Only
/// the first call counts.
pub fn keep_lines(area: Arc<Area>) {
    let _ = KEPT_IN.set(area);
}

/// Whether what is logged goes where standard error goes too: to the same terminal, file, pipe or socket. Not before
/// [`init`].
pub fn is_read_with_stderr() -> bool {
    let file = |descriptor: BorrowedFd<'_>| -> io::Result<_> {
        let metadata = File::from(descriptor.try_clone_to_owned()?).metadata()?;
        Ok((metadata.dev(), metadata.ino()))
    };
    let (stdout, stderr) = (io::stdout(), io::stderr());
    IS_OPEN.load(Ordering::Relaxed)
        && file(stdout.as_fd())
            .is_ok_and(|one| file(stderr.as_fd()).is_ok_and(|other| one == other))
}

/// Logs why the program ends, at every verbosity. Shows nothing before [`init`].
pub fn fatal(message: impl fmt::Display) {
    // Past the macros, which would ask for the maximum level first.
    log::logger().log(
        &Record::builder()
            .level(Level::Error)
            .target(FATAL_TARGET)
            .args(format_args!("{message}"))
            .build(),
    );
}

fn builder(target: Target, style: LogStyle) -> Builder {
    let mut builder = Builder::new();
    builder
        // Filtering is left to `log::set_max_level`, so that it can change while running.
        .filter_level(LevelFilter::Trace)
        .target(target)
        .format(move |out, record| {
            if let Some(area) = KEPT_IN.get() {
                keep(record, area);
            }
            out.write_all(line_now(style, record).as_bytes())
        });
    builder
}

/// Never waits. Viewers are woken, if there are any.
fn keep(record: &Record<'_>, area: &Area) {
    let speaker = SPEAKER.load(Ordering::Relaxed);
    let writer = WRITER.load(Ordering::Relaxed);
    let level = match record.target() {
        FATAL_TARGET => Verbosity::Fatal as u8,
        // Numbered as `Verbosity` is.
        _ => record.level() as u8,
    };
    let time = since_epoch();
    let unix_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let line = line(LogStyle::Plain, time, speaker, record);
    area.log().push(writer, unix_ms, level, line.as_bytes());
    area.ring_viewing();
}

/// The line of a record that is made now.
fn line_now(style: LogStyle, record: &Record<'_>) -> String {
    let time = match style {
        LogStyle::Timestamps => since_epoch(),
        LogStyle::Plain | LogStyle::Syslog => Duration::ZERO,
    };
    line(style, time, SPEAKER.load(Ordering::Relaxed), record)
}

#[allow(
    clippy::disallowed_methods,
    reason = "a time stamp is the time of writing, and nothing is decided by it"
)]
fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::Log as _;
    use std::sync::{Arc, Mutex};

    /// Keeps every write apart; refuses all if `broken`.
    #[derive(Clone, Default)]
    struct Writes {
        written: Arc<Mutex<Vec<Vec<u8>>>>,
        broken: bool,
    }

    impl io::Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.written.lock().unwrap().push(bytes.to_vec());
            match self.broken {
                true => Err(io::ErrorKind::BrokenPipe.into()),
                false => Ok(bytes.len()),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn kept_line_has_its_level_and_no_time() {
        let area = Area::new(crate::net::clock::now(), 0, 1).expect("memory");
        for (level, target) in [(Level::Warn, ""), (Level::Error, FATAL_TARGET)] {
            let mut record = Record::builder();
            record.level(level).target(target);
            keep(&record.args(format_args!("a\nb")).build(), &area);
        }
        let mut lines = Vec::new();
        area.log().read(&mut area.log().oldest(), &mut lines);
        let kept: Vec<_> = lines.iter().map(|line| (line.level, &*line.text)).collect();
        let text = b"[Supervisor] a\\nb\n";
        assert_eq!(kept, [(2, &text[..]), (0, &text[..])]);
        assert!(lines.iter().all(|line| line.unix_ms > 0));
    }

    #[test]
    fn each_line_is_one_write() {
        let writes = Writes::default();
        let logger = builder(Target::Pipe(Box::new(writes.clone())), LogStyle::Plain).build();
        for level in Level::iter() {
            logger.log(
                &Record::builder()
                    .level(level)
                    .args(format_args!("{level}"))
                    .build(),
            );
        }
        let written = writes.written.lock().unwrap();
        assert_eq!(written.len(), 5);
        assert!(
            written
                .iter()
                .all(|line| line.starts_with(b"[") && line.ends_with(b"\n"))
        );
    }

    #[test]
    fn failing_write_costs_the_line_only() {
        let writes = Writes {
            broken: true,
            ..Writes::default()
        };
        let logger = builder(Target::Pipe(Box::new(writes.clone())), LogStyle::Timestamps).build();
        for _ in 0..3 {
            logger.log(&Record::builder().args(format_args!("lost")).build());
        }
        assert_eq!(writes.written.lock().unwrap().len(), 3);
    }
}
