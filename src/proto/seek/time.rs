//! A point in time as a player writes it, kept in its notation so that it can be written the same way again.
//!
//! Recognised are (time spec §6.2):
//!
//! - 1 to 10 digits, Unix time in seconds; 13 digits, Unix time in milliseconds;
//! - 8 digits that are a day, `yyyyMMdd`, meaning its midnight. Read as Unix time they would lie in 1970 to 1973;
//! - `yyyyMMddHHmmss`, `yyyyMMddTHHmmss` or `yyyy-MM-ddTHH:mm:ss`; then, optionally, `.` and up to nine digits;
//!   then, optionally, a zone: `Z`, `GMT`, `±HH:MM`, `±HHMM` or `±HH`.
//!
//! Letters are upper case. A day must exist in its month and lie in the years 1900 to 9999; second 60 is the first
//! of the next minute, since leap seconds are not counted. Nothing may stand behind a time.

use ::time::{Date, Month, UtcDateTime};

use super::zone::Zone;

/// Longest text taken for a time, and longest text sent on in place of one, in bytes (time spec §11).
pub const TIME_BYTES_MAX: usize = 127;

/// Most digits of a fraction: nanoseconds.
const FRACTION_DIGITS_MAX: usize = 9;

/// Most hours of a zone that a time carries, in both directions.
const OWN_ZONE_HOURS_MAX: i64 = 14;

/// A recognised time. It borrows its fraction and its zone from the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time<'a> {
    notation: Notation<'a>,
    /// Seconds from 1970-01-01T00:00:00 to the time that is written, in whatever zone that is.
    wall_seconds: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notation<'a> {
    /// Padded with zeros to so many characters.
    Unix {
        width: usize,
    },
    /// The milliseconds beyond `wall_seconds`.
    UnixMillis {
        millis: i64,
    },
    Day,
    DateTime {
        style: Style,
        /// The digits behind the point; none if empty.
        fraction: &'a str,
        /// One of the spellings above, or empty.
        suffix: &'a str,
        /// What the suffix means, seconds east of Greenwich.
        own_zone_seconds: Option<i64>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Digits,
    Compact,
    Extended,
}

impl<'a> Time<'a> {
    /// Reads a time that is the whole of `text`.
    pub fn recognise(text: &'a str) -> Option<Time<'a>> {
        if text.len() > TIME_BYTES_MAX {
            return None;
        }
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return recognise_date_time(text);
        }
        let (notation, wall_seconds) = match (text.len(), recognise_day(text)) {
            (8, Some(seconds)) => (Notation::Day, seconds),
            (width @ 1..=10, _) => (Notation::Unix { width }, text.parse().ok()?),
            (13, _) => {
                let all: i64 = text.parse().ok()?;
                let millis = all % 1000;
                (Notation::UnixMillis { millis }, all / 1000)
            }
            _ => return recognise_date_time(text),
        };
        Some(Time {
            notation,
            wall_seconds,
        })
    }

    /// Unix time in seconds of this time, moved by `shift_seconds`. Without own zone it is one of `client`.
    pub fn instant(&self, client: Zone, shift_seconds: i64) -> i64 {
        let own_zone_seconds = self.own_zone_seconds();
        let east_seconds = own_zone_seconds.unwrap_or(client.east_seconds());
        self.wall_seconds - east_seconds + shift_seconds
    }

    /// This time in its own notation, moved by `shift_seconds`, and to UTC if it has no own zone (time spec §6.4).
    ///
    /// Contains digits, letters, `-`, `+`, `:` and `.` only. A day stays as it is: it cannot express a part of one.
    /// `None` if the result lies outside the years 0 to 9999.
    pub fn converted(&self, client: Zone, shift_seconds: i64) -> Option<String> {
        let moved = match self.own_zone_seconds() {
            Some(_) => self.wall_seconds + shift_seconds,
            None => self.instant(client, shift_seconds),
        };
        Some(match self.notation {
            Notation::Unix { width } => format!("{moved:0width$}"),
            Notation::UnixMillis { millis } => format!("{:013}", moved * 1000 + millis),
            Notation::Day => {
                let (year, month, day) = civil(self.wall_seconds)?.to_calendar_date();
                format!("{year:04}{:02}{day:02}", u8::from(month))
            }
            Notation::DateTime {
                style,
                fraction,
                suffix,
                ..
            } => {
                let point = if fraction.is_empty() { "" } else { "." };
                format!("{}{point}{fraction}{suffix}", style.show(civil(moved)?))
            }
        })
    }

    fn own_zone_seconds(&self) -> Option<i64> {
        match self.notation {
            Notation::Unix { .. } | Notation::UnixMillis { .. } => Some(0),
            Notation::Day => None,
            Notation::DateTime {
                own_zone_seconds, ..
            } => own_zone_seconds,
        }
    }
}

/// The calendar of UTC at a Unix time, in the proleptic Gregorian calendar. `None` outside the years 0 to 9999.
pub fn civil(unix_seconds: i64) -> Option<UtcDateTime> {
    let date_time = UtcDateTime::from_unix_timestamp(unix_seconds).ok()?;
    (0..=9999).contains(&date_time.year()).then_some(date_time)
}

/// `yyyyMMddTHHmmssZ`, RTSP's `utc-time` (RFC 2326 §3.7).
pub fn compact_utc(unix_seconds: i64) -> Option<String> {
    civil(unix_seconds).map(|date_time| format!("{}Z", Style::Compact.show(date_time)))
}

/// `yyyy-MM-ddTHH:mm:ss.000Z`, as templates want it (time spec §8.2).
pub fn extended_utc(unix_seconds: i64) -> Option<String> {
    civil(unix_seconds).map(|date_time| format!("{}.000Z", Style::Extended.show(date_time)))
}

impl Style {
    fn show(self, date_time: UtcDateTime) -> String {
        let (day_mark, time_mark, clock_mark) = match self {
            Style::Digits => ("", "", ""),
            Style::Compact => ("", "T", ""),
            Style::Extended => ("-", "T", ":"),
        };
        let (year, month, day) = date_time.to_calendar_date();
        let (month, (hour, minute, second)) = (u8::from(month), date_time.as_hms());
        format!(
            "{year:04}{day_mark}{month:02}{day_mark}{day:02}{time_mark}\
             {hour:02}{clock_mark}{minute:02}{clock_mark}{second:02}"
        )
    }
}

fn recognise_day(text: &str) -> Option<i64> {
    let (year, text) = number(text, 4)?;
    let (month, text) = number(text, 2)?;
    let (day, _) = number(text, 2)?;
    wall_seconds((year, month, day), (0, 0, 0))
}

fn recognise_date_time(text: &str) -> Option<Time<'_>> {
    let (year, text) = number(text, 4)?;
    let day_mark = if text.starts_with('-') { "-" } else { "" };
    let (month, text) = number(text.strip_prefix(day_mark)?, 2)?;
    let (day, text) = number(text.strip_prefix(day_mark)?, 2)?;
    let (style, clock_mark, text) = match (day_mark, text.strip_prefix('T')) {
        ("", None) => (Style::Digits, "", text),
        ("", Some(text)) => (Style::Compact, "", text),
        (_, Some(text)) => (Style::Extended, ":", text),
        (_, None) => return None,
    };
    let (hour, text) = number(text, 2)?;
    let (minute, text) = number(text.strip_prefix(clock_mark)?, 2)?;
    let (second, text) = number(text.strip_prefix(clock_mark)?, 2)?;
    let (fraction, suffix) = match text.strip_prefix('.') {
        Some(text) => text.split_at_checked(
            text.find(|c: char| !c.is_ascii_digit())
                .unwrap_or(text.len()),
        )?,
        None => ("", text),
    };
    if fraction.len() > FRACTION_DIGITS_MAX {
        return None;
    }
    Some(Time {
        notation: Notation::DateTime {
            style,
            fraction,
            suffix,
            own_zone_seconds: recognise_suffix(suffix)?,
        },
        wall_seconds: wall_seconds((year, month, day), (hour, minute, second))?,
    })
}

/// The zone that a time carries, seconds east; no zone if `suffix` is empty.
fn recognise_suffix(suffix: &str) -> Option<Option<i64>> {
    let (sign, distance) = match suffix {
        "" => return Some(None),
        "Z" | "GMT" => return Some(Some(0)),
        _ if suffix.starts_with('+') => (1, suffix.get(1..)?),
        _ if suffix.starts_with('-') => (-1, suffix.get(1..)?),
        _ => return None,
    };
    let (hours, minutes) = number(distance, 2)?;
    let (minutes, behind) = match minutes {
        "" => (0, ""),
        _ => number(minutes.strip_prefix(':').unwrap_or(minutes), 2)?,
    };
    let (hours, minutes) = (i64::from(hours), i64::from(minutes));
    let is_zone = hours <= OWN_ZONE_HOURS_MAX && minutes < 60 && behind.is_empty();
    is_zone.then_some(Some(sign * (hours * 3600 + minutes * 60)))
}

/// The number that the first `digits` characters are, and what follows them.
fn number(text: &str, digits: usize) -> Option<(u16, &str)> {
    let (number, rest) = text.split_at_checked(digits)?;
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    Some((is_number.then(|| number.parse().ok())??, rest))
}

fn wall_seconds(
    (year, month, day): (u16, u16, u16),
    (hour, minute, second): (u16, u16, u16),
) -> Option<i64> {
    if !(1900..=9999).contains(&year) || second > 60 {
        return None;
    }
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(year.into(), month, u8::try_from(day).ok()?).ok()?;
    let (hour, minute) = (u8::try_from(hour).ok()?, u8::try_from(minute).ok()?);
    let whole_minutes = date.with_hms(hour, minute, 0).ok()?.assume_utc();
    Some(whole_minutes.unix_timestamp() + i64::from(second))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn zone(text: &str) -> Zone {
        Zone::parse(text).unwrap()
    }

    fn converted(text: &str, client: &str, shift_seconds: i64) -> Option<String> {
        Time::recognise(text)?.converted(zone(client), shift_seconds)
    }

    fn instant(text: &str, client: &str) -> Option<i64> {
        Some(Time::recognise(text)?.instant(zone(client), 0))
    }

    /// Counts days one by one. Deliberately naive.
    fn counted_seconds(year: i64, month: i64, day: i64) -> i64 {
        let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let month_days = |year, month| match month {
            2 if is_leap(year) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let year_days = |year| if is_leap(year) { 366 } else { 365 };
        let before_1970: i64 = (year..1970).map(year_days).sum();
        let since_1970: i64 = (1970..year).map(year_days).sum();
        let in_year: i64 = (1..month).map(|month| month_days(year, month)).sum();
        (since_1970 - before_1970 + in_year + day - 1) * 86_400
    }

    #[test]
    fn each_notation_is_converted_as_the_tables_say() {
        for (text, client, shift_seconds, expected) in [
            ("1741635000", "UTC+8", 30, "1741635030"),
            ("20250310193000", "UTC+8", 0, "20250310113000"),
            ("20250310193000", "UTC+8", 3600, "20250310123000"),
            ("20250310193000", "UTC-5", 0, "20250311003000"),
            ("20250310193000GMT", "UTC+8", 0, "20250310193000GMT"),
            ("20250310193000GMT", "UTC+8", 3600, "20250310203000GMT"),
            ("20250310T193000", "UTC+8", 0, "20250310T113000"),
            ("20250310T193000Z", "UTC+8", 60, "20250310T193100Z"),
            (
                "20250310T193000+09:00",
                "UTC+8",
                60,
                "20250310T193100+09:00",
            ),
            ("2025-03-10T19:30:00", "UTC+8", 0, "2025-03-10T11:30:00"),
            ("2025-03-10T19:30:00Z", "UTC+8", 0, "2025-03-10T19:30:00Z"),
            (
                "2025-03-10T19:30:00-03:30",
                "UTC+8",
                -60,
                "2025-03-10T19:29:00-03:30",
            ),
            (
                "2025-03-10T19:30:00.250Z",
                "UTC+8",
                1,
                "2025-03-10T19:30:01.250Z",
            ),
            (
                "2024-01-01T12:00:00.500+08:00",
                "UTC",
                0,
                "2024-01-01T12:00:00.500+08:00",
            ),
            ("20240101120000", "UTC-5", 0, "20240101170000"),
        ] {
            let found = converted(text, client, shift_seconds);
            assert_eq!(
                found.as_deref(),
                Some(expected),
                "{text} {client} {shift_seconds}"
            );
        }
    }

    #[test]
    fn instants_follow_own_zone_before_the_clients() {
        for (text, client, expected) in [
            ("1741635000", "UTC+8", 1_741_635_000),
            ("1741635000999", "UTC+8", 1_741_635_000),
            ("20250310193000", "UTC", 1_741_635_000),
            ("20250310193000", "UTC+8", 1_741_606_200),
            ("20250310193000", "UTC+5:30", 1_741_615_200),
            ("20250310193000GMT", "UTC+8", 1_741_635_000),
            ("20250310T193000Z", "UTC+8", 1_741_635_000),
            ("2025-03-10T19:30:00+08:00", "UTC-3", 1_741_606_200),
            ("2025-03-10T19:30:00.999-03:30", "UTC-3", 1_741_647_600),
            ("20250310", "UTC", 1_741_564_800),
            ("20250310", "UTC+8", 1_741_536_000),
        ] {
            assert_eq!(instant(text, client), Some(expected), "{text} {client}");
        }
    }

    #[test]
    fn what_is_no_time_is_not_recognised() {
        for text in [
            "",
            "live",
            "tomorrow",
            "-20250310193000",
            "12345678901",
            "123456789012",
            "123456789012345",
            "20250310193000gmt",
            "20250310t193000",
            "20250310T193000z",
            "20250310T19:30:00",
            "2025-03-10T193000",
            "2025-03-10 19:30:00",
            "2025-03-10",
            "2025-3-10T19:30:00",
            "+1741635000",
            "1741635000.5",
            "20250310T193000+15:00",
            "20250310T193000+08:60",
            "20250310T193000+8",
            "20250310T193000+080",
            "20250310T193000+08:",
            "20250310T193000+08:0",
            "2025-03-10T19:30:00.1234567890",
            "2025-03-10T19:30:0é",
        ] {
            assert_eq!(Time::recognise(text), None, "{text}");
        }
        assert_eq!(Time::recognise(&"1".repeat(128)), None);
    }

    #[test]
    fn fields_are_checked_the_same_in_every_notation() {
        for (fields, is_time) in [
            (["2025", "13", "10", "12", "00", "00"], false),
            (["2025", "00", "10", "12", "00", "00"], false),
            (["2025", "02", "29", "12", "00", "00"], false),
            (["2024", "02", "29", "12", "00", "00"], true),
            (["1900", "02", "29", "12", "00", "00"], false),
            (["2025", "04", "31", "12", "00", "00"], false),
            (["2025", "03", "00", "12", "00", "00"], false),
            (["2025", "03", "10", "24", "00", "00"], false),
            (["2025", "03", "10", "23", "60", "00"], false),
            (["2025", "03", "10", "23", "59", "61"], false),
            (["2025", "03", "10", "23", "59", "60"], true),
            (["1899", "12", "31", "12", "00", "00"], false),
            (["1900", "01", "01", "00", "00", "00"], true),
            (["9999", "12", "31", "23", "59", "59"], true),
        ] {
            let [year, month, day, hour, minute, second] = fields;
            for text in [
                format!("{year}{month}{day}{hour}{minute}{second}"),
                format!("{year}{month}{day}{hour}{minute}{second}GMT"),
                format!("{year}{month}{day}T{hour}{minute}{second}"),
                format!("{year}-{month}-{day}T{hour}:{minute}:{second}"),
                format!("{year}-{month}-{day}T{hour}:{minute}:{second}.5+08:00"),
            ] {
                assert_eq!(Time::recognise(&text).is_some(), is_time, "{text}");
            }
        }
    }

    #[test]
    fn second_sixty_belongs_to_the_next_minute() {
        let found = converted("20241231235960", "UTC", 0);
        assert_eq!(found.as_deref(), Some("20250101000000"));
    }

    #[test]
    fn basic_and_short_zones_are_understood_and_kept() {
        for (text, expected, instant_seconds) in [
            (
                "20250310T193000+0800",
                "20250310T193100+0800",
                1_741_606_200,
            ),
            (
                "20250310T193000-0500",
                "20250310T193100-0500",
                1_741_653_000,
            ),
            (
                "2025-03-10T19:30:00+0530",
                "2025-03-10T19:31:00+0530",
                1_741_615_200,
            ),
            (
                "2025-03-10T19:30:00-03",
                "2025-03-10T19:31:00-03",
                1_741_645_800,
            ),
            (
                "2025-03-10T19:30:00-00:00",
                "2025-03-10T19:31:00-00:00",
                1_741_635_000,
            ),
            ("20250310193000+0800", "20250310193100+0800", 1_741_606_200),
        ] {
            assert_eq!(
                converted(text, "UTC+8", 60).as_deref(),
                Some(expected),
                "{text}"
            );
            assert_eq!(instant(text, "UTC+8"), Some(instant_seconds), "{text}");
        }
    }

    #[test]
    fn text_behind_a_zone_makes_it_no_time() {
        for text in [
            "2025-03-10T19:30:00Z$$x",
            "2025-03-10T19:30:00+08:00x",
            "20250310T193000ZZ",
            "20250310193000GMT ",
            "20250310193000x",
        ] {
            assert_eq!(Time::recognise(text), None, "{text}");
        }
    }

    #[test]
    fn fractions_keep_their_digits() {
        for (text, expected) in [
            ("2025-03-10T19:30:00.5", "2025-03-10T11:30:00.5"),
            ("2025-03-10T19:30:00.25", "2025-03-10T11:30:00.25"),
            ("2025-03-10T19:30:00.000", "2025-03-10T11:30:00.000"),
            ("2025-03-10T19:30:00.123456", "2025-03-10T11:30:00.123456"),
            (
                "2025-03-10T19:30:00.123456789",
                "2025-03-10T11:30:00.123456789",
            ),
            ("20250310T193000.5", "20250310T113000.5"),
            ("2025-03-10T19:30:00.", "2025-03-10T11:30:00"),
        ] {
            assert_eq!(
                converted(text, "UTC+8", 0).as_deref(),
                Some(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn eight_digits_are_a_day_where_there_is_one() {
        assert_eq!(
            converted("20250310", "UTC+8", 3600).as_deref(),
            Some("20250310")
        );
        assert_eq!(
            converted("20250230", "UTC+8", 3600).as_deref(),
            Some("20253830")
        );
        assert_eq!(
            converted("00003600", "UTC+8", 3600).as_deref(),
            Some("00007200")
        );
    }

    #[test]
    fn thirteen_digits_are_milliseconds() {
        let found = converted("1741635000123", "UTC+8", 30);
        assert_eq!(found.as_deref(), Some("1741635030123"));
    }

    #[test]
    fn unix_time_may_become_negative() {
        assert_eq!(converted("10", "UTC", -30).as_deref(), Some("-20"));
        assert_eq!(
            converted("0000000010500", "UTC", -30).as_deref(),
            Some("-000000019500")
        );
    }

    #[test]
    fn years_of_five_digits_are_not_written() {
        assert_eq!(converted("99991231235959", "UTC", 1), None);
        assert_eq!(converted("99991231235959", "UTC-1", 0), None);
        assert_eq!(compact_utc(253_402_300_800), None);
        assert_eq!(compact_utc(i64::MAX), None);
        assert_eq!(compact_utc(i64::MIN), None);
    }

    #[test]
    fn utc_is_shown_as_rtsp_and_templates_want_it() {
        assert_eq!(
            compact_utc(1_741_606_200).as_deref(),
            Some("20250310T113000Z")
        );
        assert_eq!(
            extended_utc(1_741_606_200).as_deref(),
            Some("2025-03-10T11:30:00.000Z")
        );
    }

    /// Every notation with a zone of its own or none, and a value that exists.
    fn any_time() -> impl Strategy<Value = String> {
        let suffix = prop_oneof![
            Just(String::new()),
            Just("Z".to_owned()),
            Just("GMT".to_owned()),
            "[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?"
        ];
        let fraction = prop_oneof![Just(String::new()), "\\.[0-9]{1,9}"];
        let date = (1900..=9999, 1..=12, 1..=28, 0..24, 0..60, 0..60);
        let date_time = (date, 0..3usize, fraction, suffix).prop_map(
            |((year, month, day, hour, minute, second), style, fraction, suffix)| {
                let (day_mark, time_mark, clock_mark) =
                    [("", "", ""), ("", "T", ""), ("-", "T", ":")][style];
                format!(
                    "{year:04}{day_mark}{month:02}{day_mark}{day:02}{time_mark}{hour:02}{clock_mark}\
                     {minute:02}{clock_mark}{second:02}{fraction}{suffix}"
                )
            },
        );
        prop_oneof![date_time, "[0-9]{1,10}", "[0-9]{13}"]
    }

    proptest! {
        #[test]
        fn without_zone_and_shift_a_time_comes_out_as_it_went_in(text in any_time()) {
            prop_assert_eq!(converted(&text, "UTC", 0), Some(text));
        }

        #[test]
        fn shifting_there_and_back_changes_nothing(text in any_time(), shift in any::<i32>()) {
            let shift = i64::from(shift);
            let there = converted(&text, "UTC", shift);
            let there = there.filter(|there| Time::recognise(there).is_some());
            // Beyond the calendar and beyond what a Unix time can say there is no way back, and eight digits may have
            // become a day.
            let there = there.filter(|there| there.len() == text.len() && there.len() != 8);
            let Some(there) = there else { return Ok(()) };
            prop_assert_eq!(converted(&there, "UTC", -shift), Some(text));
        }

        #[test]
        fn instants_agree_with_counting_days(
            year in 1900i64..2400, month in 1i64..=12, day in 1i64..=28, second in 0i64..86_400, east in -12i64..=14,
        ) {
            let (hours, minutes, seconds) = (second / 3600, second / 60 % 60, second % 60);
            let text = format!("{year}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}");
            let expected = counted_seconds(year, month, day) + second - east * 3600;
            prop_assert_eq!(instant(&text, &format!("UTC{east:+}")), Some(expected));
            let zoned = format!("{text}{}{:02}:00", if east < 0 { '-' } else { '+' }, east.abs());
            prop_assert_eq!(instant(&zoned, "UTC+3"), Some(expected));
            prop_assert_eq!(instant(&compact_utc(expected).unwrap(), "UTC+3"), Some(expected));
        }

        #[test]
        fn any_text_is_handled_without_panic(text in "\\PC{0,40}|[0-9TZGM:.+-]{0,30}", shift in any::<i32>()) {
            let converted = converted(&text, "UTC+8", shift.into()).unwrap_or_default();
            prop_assert!(converted.bytes().all(|byte| b"0123456789TZGM:.+-".contains(&byte)));
        }
    }
}
