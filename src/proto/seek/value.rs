//! What the values of a seek request mean: begin and end, the shift, and the mode.

use super::time::{TIME_BYTES_MAX, Time};
use super::zone::Zone;

/// Longest text inside `range(…)`, bytes (time spec §7.1).
const RANGE_BYTES_MAX: usize = 63;

/// Age up to which range mode engages if the request names none, seconds (time spec §7.1).
const WINDOW_SECONDS_DEFAULT: i64 = 3600;

/// Greatest age that can be asked for, seconds: a day (time spec §7.1).
const WINDOW_SECONDS_MAX: i64 = 86_400;

/// The value of a seek parameter, decoded (time spec §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A begin, and perhaps an end.
    Times {
        /// Where to begin.
        begin: Time<'a>,
        /// Where to end.
        end: End<'a>,
    },
    /// Something else, such as `live`.
    Text(&'a str),
}

/// What follows the begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End<'a> {
    /// Nothing.
    None,
    /// A hyphen and nothing more.
    Open,
    /// A hyphen and a time.
    At(Time<'a>),
}

impl<'a> Value<'a> {
    /// Splits `text` at the first hyphen with a time before it and a time or nothing behind it.
    ///
    /// A text that is one time is not split, so that `20250310T193000-0500` keeps its zone.
    pub fn parse(text: &'a str) -> Value<'a> {
        if let Some(begin) = Time::recognise(text) {
            let end = End::None;
            return Value::Times { begin, end };
        }
        // Two times and a hyphen are the longest text worth looking at.
        if text.len() > 2 * TIME_BYTES_MAX + 1 {
            return Value::Text(text);
        }
        let mut hyphens = text.match_indices('-');
        let times = hyphens.find_map(|(at, hyphen)| {
            let (begin, end) = text.split_at_checked(at)?;
            let end = match end.strip_prefix(hyphen)? {
                "" => End::Open,
                end => End::At(Time::recognise(end)?),
            };
            let begin = Time::recognise(begin)?;
            Some(Value::Times { begin, end })
        });
        times.unwrap_or(Value::Text(text))
    }
}

/// How far begin and end are moved, seconds (`r2h-seek-offset`, time spec §4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shift {
    /// Added to the begin.
    pub begin_seconds: i64,
    /// Added to the end.
    pub end_seconds: i64,
}

impl Shift {
    /// One number for both, or two separated by a comma; each fits 32 bits with its sign.
    pub fn parse(text: &str) -> Option<Shift> {
        let (begin, end) = text.split_once(',').unwrap_or((text, text));
        let seconds = |text: &str| text.parse::<i32>().ok().map(i64::from);
        Some(Shift {
            begin_seconds: seconds(begin)?,
            end_seconds: seconds(end)?,
        })
    }
}

/// How a time reaches an RTSP server (`r2h-seek-mode`, time spec §7.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// In the URL.
    #[default]
    Passthrough,
    /// In the `Range` header, if it is recent.
    Range {
        /// Zone of a begin that has none. The client's if absent.
        zone: Option<Zone>,
        /// The begin must be younger than this.
        window_seconds: i64,
    },
}

impl Mode {
    /// `passthrough`, `range` or `range(…)` with a zone, seconds, or both separated by `/`. All else is `Passthrough`.
    pub fn parse(text: &str) -> Mode {
        Mode::parse_range(text).unwrap_or_default()
    }

    fn parse_range(text: &str) -> Option<Mode> {
        let (word, behind) = text.split_at_checked("range".len())?;
        if !word.eq_ignore_ascii_case("range") {
            return None;
        }
        let inner = match behind {
            "" => "",
            _ => behind.strip_prefix('(')?.strip_suffix(')')?,
        };
        if inner.len() > RANGE_BYTES_MAX {
            return None;
        }
        let (zone, window) = match inner.split_once('/') {
            Some(parts) => parts,
            None if inner.starts_with("UTC") => (inner, ""),
            None => ("", inner),
        };
        let zone = match zone {
            "" => None,
            _ => Some(Zone::parse(zone)?),
        };
        let window_seconds = match window {
            "" => WINDOW_SECONDS_DEFAULT,
            _ if window.bytes().all(|byte| byte.is_ascii_digit()) => window.parse().ok()?,
            _ => return None,
        };
        (1..=WINDOW_SECONDS_MAX)
            .contains(&window_seconds)
            .then_some(Mode::Range {
                zone,
                window_seconds,
            })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> Time<'_> {
        Time::recognise(text).unwrap_or_else(|| panic!("{text}"))
    }

    /// `""` stands for an open range.
    fn assert_split(value: &str, begin: &str, end: Option<&str>) {
        let end = match end {
            None => End::None,
            Some("") => End::Open,
            Some(end) => End::At(time(end)),
        };
        let begin = time(begin);
        assert_eq!(Value::parse(value), Value::Times { begin, end }, "{value}");
    }

    #[test]
    fn values_are_split_as_the_table_says() {
        for (begin, end) in [
            ("20250310193000", "20250310210000"),
            ("20250310193000", ""),
            ("1741635000", "1741640400"),
            ("2025-03-10T19:30:00", "2025-03-10T21:00:00"),
            ("2025-03-10T19:30:00.000Z", "2025-03-10T21:00:00.000Z"),
            ("2025-03-10T19:30:00-03:00", "2025-03-10T21:00:00-03:00"),
            ("2025-03-10T19:30:00-03:00", ""),
            ("1741635000", "20250310210000"),
            ("20250310", "20250311"),
            ("1741635000123", "1741640400456"),
        ] {
            assert_split(&format!("{begin}-{end}"), begin, Some(end));
        }
        for begin in ["20250310193000", "2025-03-10T19:30:00-03:00", "1741635000"] {
            assert_split(begin, begin, None);
        }
    }

    #[test]
    fn basic_zones_are_not_split_off() {
        assert_split("20250310T193000-0500", "20250310T193000-0500", None);
        assert_split("20250310T193000-0500-", "20250310T193000-0500", Some(""));
        assert_split(
            "20250310T193000-0500-20250310T210000-0500",
            "20250310T193000-0500",
            Some("20250310T210000-0500"),
        );
        assert_split(
            "20250310T193000-20250310T210000-0500",
            "20250310T193000",
            Some("20250310T210000-0500"),
        );
    }

    #[test]
    fn what_has_no_two_times_is_text() {
        for value in [
            "20250310193000-tomorrow",
            "-20250310193000",
            "live",
            "",
            "-",
            "20250310193000--",
            "20251399120000-20251399130000",
            "20250310193000 -20250310210000",
        ] {
            assert_eq!(Value::parse(value), Value::Text(value));
        }
        let long = "1-".repeat(200);
        assert_eq!(Value::parse(&long), Value::Text(&long));
    }

    #[test]
    fn shifts_are_one_number_or_two() {
        let shift = |begin_seconds, end_seconds| {
            Some(Shift {
                begin_seconds,
                end_seconds,
            })
        };
        for (text, expected) in [
            ("3600", shift(3600, 3600)),
            ("-30", shift(-30, -30)),
            ("+30", shift(30, 30)),
            ("30,-60", shift(30, -60)),
            ("+30,+60", shift(30, 60)),
            ("0", shift(0, 0)),
            (
                "2147483647,-2147483648",
                shift(2_147_483_647, -2_147_483_648),
            ),
            ("2147483648", None),
            ("", None),
            (",", None),
            ("1,", None),
            (",1", None),
            ("1,2,3", None),
            ("1s", None),
            ("1.5", None),
            (" 1", None),
            ("+-1", None),
            ("+", None),
        ] {
            assert_eq!(Shift::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn modes_are_read_as_the_table_says() {
        let range = |zone: &str, window_seconds| Mode::Range {
            zone: Zone::parse(zone),
            window_seconds,
        };
        for (text, expected) in [
            ("", Mode::Passthrough),
            ("passthrough", Mode::Passthrough),
            ("bogus", Mode::Passthrough),
            ("range(UTC+99)", Mode::Passthrough),
            ("range(0)", Mode::Passthrough),
            ("range(86401)", Mode::Passthrough),
            ("range(utc+8)", Mode::Passthrough),
            ("range(UTC+8)x", Mode::Passthrough),
            ("range(UTC+8x)", Mode::Passthrough),
            ("rangex", Mode::Passthrough),
            ("range(", Mode::Passthrough),
            ("range)", Mode::Passthrough),
            ("range(+60)", Mode::Passthrough),
            ("range(UTC/UTC)", Mode::Passthrough),
            ("range(UTC+8/60/60)", Mode::Passthrough),
            ("range", range("", 3600)),
            ("Range()", range("", 3600)),
            ("RANGE(/)", range("", 3600)),
            ("range(UTC+8)", range("UTC+8", 3600)),
            ("range(UTC)", range("UTC", 3600)),
            ("range(7200)", range("", 7200)),
            ("range(/7200)", range("", 7200)),
            ("range(1)", range("", 1)),
            ("range(86400)", range("", 86_400)),
            ("range(UTC-3/7200)", range("UTC-3", 7200)),
            ("range(UTC+8/)", range("UTC+8", 3600)),
            ("range(UTC+5:30)", range("UTC+5:30", 3600)),
            ("range(UTC-0330/60)", range("UTC-3:30", 60)),
        ] {
            assert_eq!(Mode::parse(text), expected, "{text}");
        }
        let padded = |zeros: usize| Mode::parse(&format!("range({}60)", "0".repeat(zeros)));
        assert_eq!(padded(61), range("", 60));
        assert_eq!(padded(62), Mode::Passthrough);
    }

    proptest! {
        #[test]
        fn any_text_is_handled_without_panic(text in "\\PC{0,40}|[0-9TZ:.+-]{0,60}", inner in "[0-9UTC/+:é-]{0,12}") {
            Value::parse(&text);
            Shift::parse(&text);
            Mode::parse(&text);
            if let Mode::Range { window_seconds, .. } = Mode::parse(&format!("range({inner})")) {
                prop_assert!((1..=86_400).contains(&window_seconds));
            }
        }
    }
}
