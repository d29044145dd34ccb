//! The text of a log line.

use std::fmt::{self, Write as _};
use std::time::Duration;

use log::{Level, Record};
use time::Date;

use super::FATAL_TARGET;
use crate::config::{LogStyle, Verbosity};

/// Bytes of a line at most, the newline included; longer text is cut between characters.
pub const LINE_BYTES_MAX: usize = 1023;

/// The line of a record made at `time` since 1970, which only [`LogStyle::Timestamps`] shows; `speaker` is 0 for the
/// supervisor, otherwise one more than the worker's number.
pub(super) fn line(style: LogStyle, time: Duration, speaker: u32, record: &Record<'_>) -> String {
    let mut line = String::with_capacity(128);
    match style {
        LogStyle::Plain => {}
        LogStyle::Timestamps => {
            let level = match record.target() {
                FATAL_TARGET => Verbosity::Fatal.name(),
                _ => record.level().as_str(),
            };
            push_utc(&mut line, time);
            line.push(' ');
            line.push_str(level);
            line.push(' ');
        }
        LogStyle::Syslog => {
            // Writing to a `String` cannot fail.
            let _ = write!(line, "<{}>", severity(record));
        }
    }
    match speaker.checked_sub(1) {
        // Writing to a `String` cannot fail.
        Some(worker) => drop(write!(line, "[Worker {worker}] ")),
        None => line.push_str("[Supervisor] "),
    }
    let mut text = Escaping {
        line: &mut line,
        bytes_max: LINE_BYTES_MAX - 1,
    };
    // An error says that the line is full, or that a value could not show itself; what there is, is logged.
    let _ = text.write_fmt(*record.args());
    line.push('\n');
    line
}

/// RFC 5424 §6.2.1, table 2, as `sd-daemon(3)` wants it in front of a line: without a facility.
fn severity(record: &Record<'_>) -> u8 {
    match record.level() {
        _ if record.target() == FATAL_TARGET => 2,
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
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
    use proptest::prelude::*;

    fn logged(time: Option<Duration>, speaker: u32, level: Level, message: &str) -> String {
        let style = match time {
            Some(_) => LogStyle::Timestamps,
            None => LogStyle::Plain,
        };
        line(
            style,
            time.unwrap_or_default(),
            speaker,
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
    fn line_names_the_supervisor() {
        let line = logged(None, 0, Level::Error, "bind failed");
        assert_eq!(line, "[Supervisor] bind failed\n");
    }

    #[test]
    fn line_names_the_worker() {
        let line = logged(None, 1, Level::Info, "client 1.1: gone");
        assert_eq!(line, "[Worker 0] client 1.1: gone\n");
        let line = logged(None, 32, Level::Info, "client 1.1: gone");
        assert_eq!(line, "[Worker 31] client 1.1: gone\n");
    }

    #[test]
    fn time_stamp_brings_the_level() {
        let time = Some(Duration::from_millis(1_709_210_096_789));
        let line = logged(time, 1, Level::Warn, "limit reached");
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
        let line = line(LogStyle::Timestamps, Duration::ZERO, 0, &record);
        assert_eq!(
            line,
            "1970-01-01T00:00:00.000Z FATAL [Supervisor] no listener\n"
        );
    }

    #[test]
    fn syslog_style_begins_with_the_severity() {
        let severities = Level::iter().map(|level| {
            let record = Record::builder()
                .level(level)
                .args(format_args!("x"))
                .build();
            line(LogStyle::Syslog, Duration::ZERO, 1, &record)
        });
        let expected = ["<3>", "<4>", "<6>", "<7>", "<7>"];
        let expected = expected.map(|severity| format!("{severity}[Worker 0] x\n"));
        assert!(severities.eq(expected));
        let fatal = Record::builder()
            .target(FATAL_TARGET)
            .args(format_args!("x"))
            .build();
        let line = line(LogStyle::Syslog, Duration::ZERO, 0, &fatal);
        assert_eq!(line, "<2>[Supervisor] x\n");
    }

    #[test]
    fn control_characters_are_escaped() {
        let line = logged(None, 1, Level::Info, "a\r\n\tb\0\u{1b}[2J\u{85}ä\\");
        assert_eq!(line, "[Worker 0] a\\r\\n\\tb\\u{0}\\u{1b}[2J\\u{85}ä\\\n");
    }

    #[test]
    fn long_line_is_cut_at_the_limit() {
        let line = logged(None, 1, Level::Info, &"x".repeat(2000));
        assert_eq!(line.len(), LINE_BYTES_MAX);
        assert!(line.ends_with("x\n"));
    }

    #[test]
    fn line_that_just_fits_is_whole() {
        let message = "x".repeat(LINE_BYTES_MAX - "[Worker 0] \n".len());
        let line = logged(None, 1, Level::Info, &message);
        assert_eq!(line, format!("[Worker 0] {message}\n"));
    }

    #[test]
    fn cut_splits_neither_character_nor_escape() {
        for message in ["ä".repeat(1000), "€".repeat(1000), "\u{1b}".repeat(1000)] {
            let line = logged(None, 1, Level::Info, &message);
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
            LogStyle::Plain,
            Duration::ZERO,
            1,
            &Record::builder().args(format_args!("{Stubborn}")).build(),
        );
        assert!(line.ends_with("€\n"), "{line}");
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
            speaker: u32,
            milliseconds in proptest::option::of(0..u64::MAX),
        ) {
            let message: String = message.into_iter().collect();
            let time = milliseconds.map(Duration::from_millis);
            let line = logged(time, speaker, Level::Info, &message);
            prop_assert!(line.len() <= LINE_BYTES_MAX);
            prop_assert_eq!(line.chars().filter(|c| c.is_control()).count(), 1);
            prop_assert!(line.ends_with('\n'));
        }
    }
}
