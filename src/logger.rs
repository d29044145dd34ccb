//! The diagnostic log: one line per record on standard output.
//!
//! A line is `[Supervisor] text` until the router serves and `[Worker 0] text` from then on, the form that
//! scripts around the compatible router match. With time stamps it is
//! `2024-02-29T12:34:56.789Z INFO [Worker 0] text`, in UTC. Lines have at most [`LINE_BYTES_MAX`] bytes.
//!
//! `env_logger` carries the lines. Its target for standard output writes a line with one call and drops
//! the error if that fails, so a closed pipe or a full disk costs lines and never the program. The time is
//! written by `time`, which is here for recordings anyway, and not by `env_logger`'s `humantime` feature.
//! A reader that stops reading without closing can still hold up a write: it is the same thread.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use env_logger::{Builder, Target};
use log::{Level, LevelFilter, Record, SetLoggerError};
use time::Date;

use crate::config::Verbosity;

/// Bytes of a line at most, the newline included; longer text is cut between characters.
pub const LINE_BYTES_MAX: usize = 1023;

/// Marks the records of [`fatal`]: `log` has no such level.
const FATAL_TARGET: &str = "flowgate::fatal";

static SERVING: AtomicBool = AtomicBool::new(false);

/// Starts logging. Lines carry time and level if `timestamps`, or if standard error is a terminal.
///
/// # Errors
///
/// If the process has a logger already.
pub fn init(verbosity: Verbosity, timestamps: bool) -> Result<(), SetLoggerError> {
    let timestamps = timestamps || io::stderr().is_terminal();
    builder(Target::Stdout, timestamps).try_init()?;
    set_verbosity(verbosity);
    Ok(())
}

/// From now on shows what `verbosity` says.
pub fn set_verbosity(verbosity: Verbosity) {
    log::set_max_level(verbosity.into());
}

/// From now on lines come from `[Worker 0]`: the router is about to serve.
pub fn serving() {
    SERVING.store(true, Ordering::Relaxed);
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

fn builder(target: Target, timestamps: bool) -> Builder {
    let mut builder = Builder::new();
    builder
        // Filtering is left to `log::set_max_level`, so that it can change while running.
        .filter_level(LevelFilter::Trace)
        .target(target)
        .format(move |out, record| {
            let time = timestamps.then(since_epoch);
            let serving = SERVING.load(Ordering::Relaxed);
            out.write_all(line(time, serving, record).as_bytes())
        });
    builder
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

fn line(time: Option<Duration>, serving: bool, record: &Record<'_>) -> String {
    let mut line = String::with_capacity(128);
    if let Some(time) = time {
        let level = match record.target() {
            FATAL_TARGET => Verbosity::Fatal.name(),
            _ => record.level().as_str(),
        };
        push_utc(&mut line, time);
        line.push(' ');
        line.push_str(level);
        line.push(' ');
    }
    line.push_str(match serving {
        true => "[Worker 0] ",
        false => "[Supervisor] ",
    });
    let mut text = Escaping {
        line: &mut line,
        bytes_max: LINE_BYTES_MAX - 1,
    };
    // An error says that the line is full, or that a value could not show itself; what there is, is logged.
    let _ = text.write_fmt(*record.args());
    line.push('\n');
    line
}

/// Appends to a line: control characters escaped, no longer than `bytes_max`, then stops with an error.
struct Escaping<'a> {
    line: &'a mut String,
    bytes_max: usize,
}

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.write_char(c))
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        let room = self.bytes_max - self.line.len();
        if !c.is_control() {
            if c.len_utf8() > room {
                return self.full();
            }
            self.line.push(c);
            return Ok(());
        }
        let escape = c.escape_default();
        if escape.len() > room {
            return self.full();
        }
        self.line.extend(escape);
        Ok(())
    }
}

impl Escaping<'_> {
    /// Keeps a later, shorter piece from slipping in behind the cut.
    fn full(&mut self) -> fmt::Result {
        self.bytes_max = self.line.len();
        Err(fmt::Error)
    }
}

/// Appends RFC 3339 §5.6 `date-time` in UTC with milliseconds.
fn push_utc(line: &mut String, since_epoch: Duration) {
    let seconds = since_epoch.as_secs();
    let (year, month, day) = civil_from_days(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let millisecond = since_epoch.subsec_millis();
    // Writing to a `String` cannot fail.
    let _ = write!(
        line,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z"
    );
}

/// 1970-01-01 as a Julian day.
const UNIX_EPOCH_JULIAN_DAY: i32 = 2_440_588;

/// Year, month and day of a count of days since 1970-01-01 in the Gregorian calendar; the last day it knows beyond
/// the year 9999.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let date = i32::try_from(days)
        .ok()
        .and_then(|days| Date::from_julian_day(days.checked_add(UNIX_EPOCH_JULIAN_DAY)?).ok())
        .unwrap_or(Date::MAX);
    let (month, day) = (u8::from(date.month()), date.day());
    (date.year().unsigned_abs().into(), month.into(), day.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::Log as _;
    use proptest::prelude::*;
    use std::sync::{Arc, Mutex};

    fn logged(time: Option<Duration>, serving: bool, level: Level, message: &str) -> String {
        line(
            time,
            serving,
            &Record::builder()
                .level(level)
                .args(format_args!("{message}"))
                .build(),
        )
    }

    fn utc(seconds: u64, milliseconds: u64) -> String {
        let mut text = String::new();
        let time = Duration::from_secs(seconds) + Duration::from_millis(milliseconds);
        push_utc(&mut text, time);
        text
    }

    #[test]
    fn line_names_the_supervisor_before_serving() {
        let line = logged(None, false, Level::Error, "bind failed");
        assert_eq!(line, "[Supervisor] bind failed\n");
    }

    #[test]
    fn line_names_the_worker_when_serving() {
        let line = logged(None, true, Level::Info, "client 1.1: gone");
        assert_eq!(line, "[Worker 0] client 1.1: gone\n");
    }

    #[test]
    fn time_stamp_brings_the_level() {
        let time = Some(Duration::from_millis(1_709_210_096_789));
        let line = logged(time, true, Level::Warn, "limit reached");
        assert_eq!(
            line,
            "2024-02-29T12:34:56.789Z WARN [Worker 0] limit reached\n"
        );
    }

    #[test]
    fn fatal_record_is_called_so() {
        let record = Record::builder()
            .level(Level::Error)
            .target(FATAL_TARGET)
            .args(format_args!("no listener"))
            .build();
        let line = line(Some(Duration::ZERO), false, &record);
        assert_eq!(
            line,
            "1970-01-01T00:00:00.000Z FATAL [Supervisor] no listener\n"
        );
    }

    #[test]
    fn control_characters_are_escaped() {
        let line = logged(None, true, Level::Info, "a\r\n\tb\0\u{1b}[2J\u{85}ä\\");
        assert_eq!(line, "[Worker 0] a\\r\\n\\tb\\u{0}\\u{1b}[2J\\u{85}ä\\\n");
    }

    #[test]
    fn long_line_is_cut_at_the_limit() {
        let line = logged(None, true, Level::Info, &"x".repeat(2000));
        assert_eq!(line.len(), LINE_BYTES_MAX);
        assert!(line.ends_with("x\n"));
    }

    #[test]
    fn line_that_just_fits_is_whole() {
        let message = "x".repeat(LINE_BYTES_MAX - "[Worker 0] \n".len());
        let line = logged(None, true, Level::Info, &message);
        assert_eq!(line, format!("[Worker 0] {message}\n"));
    }

    #[test]
    fn cut_splits_neither_character_nor_escape() {
        for message in ["ä".repeat(1000), "€".repeat(1000), "\u{1b}".repeat(1000)] {
            let line = logged(None, true, Level::Info, &message);
            let text = line.strip_suffix('\n').unwrap();
            assert!(text.ends_with(['ä', '€', '}']));
            assert!((LINE_BYTES_MAX - 5..=LINE_BYTES_MAX).contains(&line.len()));
        }
    }

    #[test]
    fn nothing_follows_the_cut() {
        struct Stubborn;
        impl fmt::Display for Stubborn {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let _ = f.write_str(&"€".repeat(1000));
                let _ = f.write_str("a");
                Ok(())
            }
        }
        let line = line(
            None,
            true,
            &Record::builder().args(format_args!("{Stubborn}")).build(),
        );
        assert!(line.ends_with("€\n"), "{line}");
    }

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
    fn each_line_is_one_write() {
        let writes = Writes::default();
        let logger = builder(Target::Pipe(Box::new(writes.clone())), false).build();
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
        let logger = builder(Target::Pipe(Box::new(writes.clone())), true).build();
        for _ in 0..3 {
            logger.log(&Record::builder().args(format_args!("lost")).build());
        }
        assert_eq!(writes.written.lock().unwrap().len(), 3);
    }

    #[test]
    fn known_dates_come_out_right() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (68_169_599, "1972-02-28T23:59:59.000Z"),
            (68_169_600, "1972-02-29T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_800, "2000-03-01T00:00:00.000Z"),
            (978_307_199, "2000-12-31T23:59:59.000Z"),
            (1_000_000_000, "2001-09-09T01:46:40.000Z"),
            (2_147_483_647, "2038-01-19T03:14:07.000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799, "9999-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(utc(seconds, 0), text);
        }
        assert_eq!(utc(1, 7), "1970-01-01T00:00:01.007Z");
    }

    #[test]
    fn every_day_of_400_years_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..146_097 {
            assert_eq!(civil_from_days(days), (year, month, day));
            let leap = year % 4 == 0 && year % 100 != 0 || year % 400 == 0;
            let last = match month {
                2 => 28 + u64::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > last {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }

    proptest! {
        #[test]
        fn any_message_is_one_line_within_the_limit(
            message in proptest::collection::vec(any::<char>(), 0..1200),
            serving: bool,
            milliseconds in proptest::option::of(0..u64::MAX),
        ) {
            let message: String = message.into_iter().collect();
            let time = milliseconds.map(Duration::from_millis);
            let line = logged(time, serving, Level::Info, &message);
            prop_assert!(line.len() <= LINE_BYTES_MAX);
            prop_assert_eq!(line.chars().filter(|c| c.is_control()).count(), 1);
            prop_assert!(line.ends_with('\n'));
        }
    }
}
