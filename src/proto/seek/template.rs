//! Time placeholders in the URL of an upstream (time spec §8): `${…}` with patterns of `yyyy MM dd HH mm ss`, and
//! `{…}` with patterns of `Y m d H M S`.
//!
//! Braces must be literal, there is no way to escape them, and what is not understood stays as it is. Components
//! without a moment, `${yyyy}` or `{Y}`, are those of the begin in UTC, as players have it; `(b)` and `(e)` patterns
//! show the client's zone.
//!
//! Substituted text consists of digits, the marks of ISO 8601, and literal text of the pattern, which stood in the
//! URL before. So nothing that was not in the URL can come into it.

use std::fmt::Write as _;

use super::time::{civil, extended_utc};
use super::zone::Zone;
use super::{SeekError, too_long};

/// Longest text between the braces, bytes (time spec §8.7). What is longer is no placeholder.
pub const PLACEHOLDER_BYTES_MAX: usize = 127;

/// Longest text in place of a placeholder, bytes (time spec §8.7).
const SUBSTITUTE_BYTES_MAX: usize = 127;

/// Behind a `(b)` or `(e)` pattern: shown in UTC rather than in the client's zone.
const UTC_MARK: &str = "|UTC";

/// A recognised placeholder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder<'a> {
    /// A moment.
    Moment {
        /// Which one.
        moment: Moment,
        /// How it is written.
        form: Form<'a>,
    },
    /// Seconds from begin to end.
    Duration,
    /// Seconds from begin to now.
    Offset,
}

/// The moments that can be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Begin of the seek value.
    Begin,
    /// End of the seek value.
    End,
    /// The time of the request.
    Now,
}

/// How a moment is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form<'a> {
    /// `yyyy-MM-ddTHH:mm:ss.000Z`.
    Iso,
    /// Unix time, seconds.
    Unix,
    /// As a pattern says.
    Pattern {
        /// The pattern.
        pattern: &'a str,
        /// Which tokens it has.
        family: Family,
        /// In the client's zone, not in UTC.
        is_local: bool,
    },
}

/// The two ways to write placeholders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `${…}`.
    Long,
    /// `{…}`.
    Short,
}

impl Placeholder<'_> {
    /// Whether it cannot be filled without a begin.
    pub fn needs_begin(&self) -> bool {
        match self {
            Placeholder::Moment { moment, .. } => *moment == Moment::Begin,
            Placeholder::Duration | Placeholder::Offset => true,
        }
    }

    /// Whether it cannot be filled without an end.
    pub fn needs_end(&self) -> bool {
        match self {
            Placeholder::Moment { moment, .. } => *moment == Moment::End,
            Placeholder::Duration => true,
            Placeholder::Offset => false,
        }
    }
}

/// A part of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Text without placeholder. Neighbours may be literal too.
    Literal(&'a str),
    /// A placeholder, and how it is written in the URL.
    Placeholder(Placeholder<'a>, &'a str),
}

/// Cuts a URL, or a part of one, at its placeholders. The pieces together are the whole text.
pub fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let found = placeholder_at_front(rest);
        let length = found.map_or_else(|| literal_bytes(rest), |(_, length)| length);
        let (source, behind) = rest.split_at_checked(length)?;
        rest = behind;
        Some(match found {
            Some((placeholder, _)) => Piece::Placeholder(placeholder, source),
            None => Piece::Literal(source),
        })
    })
}

/// Whether `text` has a placeholder. Unknown ones do not count.
pub fn is_template(text: &str) -> bool {
    pieces(text).any(|piece| matches!(piece, Piece::Placeholder(..)))
}

/// What placeholders are filled with. Unix time in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Moments {
    /// Begin and, where there is one, end. `None` without a seek value.
    pub seek: Option<(i64, Option<i64>)>,
    /// The time of the request.
    pub now: i64,
    /// The client's zone.
    pub zone: Zone,
}

/// Fills the placeholders of `url`. Without a seek value, those that need one stay as they are.
///
/// # Errors
///
/// `EndMissing` if there is a begin and a placeholder needs an end, `OutOfRange` if a moment lies outside the years 0
/// to 9999, `TooLong` if what would stand in place of a placeholder is.
pub fn fill(url: &str, moments: &Moments) -> Result<String, SeekError> {
    let mut filled = String::with_capacity(url.len());
    for piece in pieces(url) {
        match piece {
            Piece::Placeholder(placeholder, source) => match substitute(&placeholder, moments)? {
                Some(text) if text.len() > SUBSTITUTE_BYTES_MAX => {
                    return Err(too_long("text of a placeholder", SUBSTITUTE_BYTES_MAX));
                }
                Some(text) => filled.push_str(&text),
                None => filled.push_str(source),
            },
            Piece::Literal(text) => filled.push_str(text),
        }
    }
    Ok(filled)
}

/// `None` if the placeholder needs a seek value and there is none.
fn substitute(
    placeholder: &Placeholder<'_>,
    moments: &Moments,
) -> Result<Option<String>, SeekError> {
    let Some((begin, end)) = moments.seek else {
        return match placeholder {
            Placeholder::Moment {
                moment: Moment::Now,
                form,
            } => form.show(moments.now, moments.zone).map(Some),
            _ => Ok(None),
        };
    };
    let end = end.ok_or(SeekError::EndMissing);
    let text = match placeholder {
        Placeholder::Duration => end?.saturating_sub(begin).to_string(),
        Placeholder::Offset => moments.now.saturating_sub(begin).to_string(),
        Placeholder::Moment { moment, form } => {
            let instant = match moment {
                Moment::Begin => begin,
                Moment::End => end?,
                Moment::Now => moments.now,
            };
            form.show(instant, moments.zone)?
        }
    };
    Ok(Some(text))
}

impl Form<'_> {
    fn show(&self, instant: i64, zone: Zone) -> Result<String, SeekError> {
        let shown = match *self {
            Form::Iso => extended_utc(instant),
            Form::Unix => Some(instant.to_string()),
            Form::Pattern {
                pattern,
                family,
                is_local,
            } => {
                let zone = if is_local { zone } else { Zone::UTC };
                show_pattern(pattern, family, instant.saturating_add(zone.east_seconds()))
            }
        };
        shown.ok_or(SeekError::OutOfRange)
    }
}

/// `None` outside the years 0 to 9999.
fn show_pattern(pattern: &str, family: Family, wall_seconds: i64) -> Option<String> {
    let date_time = civil(wall_seconds)?;
    let (year, month, day) = date_time.to_calendar_date();
    let (hour, minute, second) = date_time.as_hms();
    let year = u16::try_from(year).ok()?;
    let fields = [
        year,
        u8::from(month).into(),
        day.into(),
        hour.into(),
        minute.into(),
        second.into(),
    ];
    let mut shown = String::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        let mut tokens = family.tokens().into_iter().zip(fields);
        let token =
            tokens.find_map(|(token, field)| Some((rest.strip_prefix(token)?, token, field)));
        if let Some((behind, token, field)) = token {
            let width = if token.starts_with(['y', 'Y']) { 4 } else { 2 };
            // Writing to a `String` cannot fail.
            let _ = write!(shown, "{field:0width$}");
            rest = behind;
        } else {
            shown.push(first);
            rest = rest.get(first.len_utf8()..)?;
        }
    }
    Some(shown)
}

impl Family {
    /// Year, month, day, hour, minute, second.
    fn tokens(self) -> [&'static str; 6] {
        match self {
            Family::Long => ["yyyy", "MM", "dd", "HH", "mm", "ss"],
            Family::Short => ["Y", "m", "d", "H", "M", "S"],
        }
    }
}

/// A placeholder that `text` begins with, and its length in bytes, braces included.
fn placeholder_at_front(text: &str) -> Option<(Placeholder<'_>, usize)> {
    let (family, opening) = if text.starts_with("${") {
        (Family::Long, "${")
    } else {
        (Family::Short, "{")
    };
    let inner = text.strip_prefix(opening)?;
    // Looking no further than a placeholder can reach keeps the work linear, however many braces there are.
    let mut reached = inner.bytes().take(PLACEHOLDER_BYTES_MAX + 1);
    let closing = reached.position(|byte| byte == b'}')?;
    let placeholder = parse(inner.get(..closing)?, family)?;
    Some((placeholder, opening.len() + closing + "}".len()))
}

/// Bytes up to the next place where a placeholder may begin, when none begins here.
fn literal_bytes(text: &str) -> usize {
    let skipped = if text.starts_with("${") {
        2
    } else {
        text.chars().next().map_or(0, char::len_utf8)
    };
    let next = text.get(skipped..).and_then(|rest| rest.find(['$', '{']));
    next.map_or(text.len(), |next| skipped + next)
}

fn parse(inner: &str, family: Family) -> Option<Placeholder<'_>> {
    for (mark, moment) in [("(b)", Moment::Begin), ("(e)", Moment::End)] {
        if let Some(pattern) = inner.strip_prefix(mark) {
            let form = parse_marked(pattern, family);
            return Some(Placeholder::Moment { moment, form });
        }
    }
    let is_component = family.tokens().contains(&inner);
    let (moment, form) = match (inner, inner.split_once(':')) {
        ("duration", _) => return Some(Placeholder::Duration),
        ("offset", _) => return Some(Placeholder::Offset),
        ("timestamp", _) => (Moment::Now, Form::Unix),
        (_, Some((keyword, pattern))) => (keyword_moment(keyword)?, utc_pattern(pattern, family)),
        _ if is_component => (Moment::Begin, utc_pattern(inner, family)),
        _ => (keyword_moment(inner)?, Form::Iso),
    };
    Some(Placeholder::Moment { moment, form })
}

/// What may follow `(b)` and `(e)`.
fn parse_marked(pattern: &str, family: Family) -> Form<'_> {
    let in_utc = pattern.strip_suffix(UTC_MARK);
    match in_utc.unwrap_or(pattern) {
        "" => Form::Iso,
        "timestamp" => Form::Unix,
        pattern => Form::Pattern {
            pattern,
            family,
            is_local: in_utc.is_none(),
        },
    }
}

fn keyword_moment(keyword: &str) -> Option<Moment> {
    match keyword {
        "utc" | "start" => Some(Moment::Begin),
        "utcend" | "end" => Some(Moment::End),
        "lutc" | "now" | "timestamp" => Some(Moment::Now),
        _ => None,
    }
}

fn utc_pattern(pattern: &str, family: Family) -> Form<'_> {
    Form::Pattern {
        pattern,
        family,
        is_local: false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2025-03-10 19:30:00 to 21:00:00 at UTC+8, asked for at 2025-03-11 00:00:00 UTC.
    fn moments() -> Moments {
        Moments {
            seek: Some((1_741_606_200, Some(1_741_611_600))),
            now: 1_741_651_200,
            zone: Zone::parse("UTC+8").unwrap(),
        }
    }

    fn filled(url: &str) -> String {
        fill(url, &moments()).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn every_placeholder_has_the_value_of_the_table() {
        let begin = "2025-03-10T11:30:00.000Z";
        let end = "2025-03-10T13:00:00.000Z";
        let now = "2025-03-11T00:00:00.000Z";
        for (inner, expected) in [
            ("utc", begin),
            ("start", begin),
            ("utcend", end),
            ("end", end),
            ("lutc", now),
            ("now", now),
            ("timestamp", "1741651200"),
            ("(b)", begin),
            ("(e)", end),
            ("(b)|UTC", begin),
            ("(e)|UTC", end),
            ("(b)timestamp", "1741606200"),
            ("(e)timestamp", "1741611600"),
            ("(b)timestamp|UTC", "1741606200"),
            ("(e)timestamp|UTC", "1741611600"),
            ("duration", "5400"),
            ("offset", "45000"),
            ("utc:", ""),
        ] {
            assert_eq!(filled(&format!("${{{inner}}}")), expected, "${{{inner}}}");
            assert_eq!(filled(&format!("{{{inner}}}")), expected, "{{{inner}}}");
        }
    }

    #[test]
    fn patterns_show_the_moment_and_zone_of_the_table() {
        for (inner, long, short) in [
            ("utc:", "yyyyMMddHHmmss", "YmdHMS"),
            ("start:", "yyyyMMddHHmmss", "YmdHMS"),
            ("(b)", "yyyyMMddHHmmss|UTC", "YmdHMS|UTC"),
        ] {
            assert_eq!(filled(&format!("${{{inner}{long}}}")), "20250310113000");
            assert_eq!(filled(&format!("{{{inner}{short}}}")), "20250310113000");
        }
        for (url, expected) in [
            ("${(b)yyyyMMddHHmmss}", "20250310193000"),
            ("{(b)YmdHMS}", "20250310193000"),
            ("${(e)yyyyMMddHHmmss}", "20250310210000"),
            ("{(e)YmdHMS|UTC}", "20250310130000"),
            ("${utcend:yyyyMMddHHmmss}", "20250310130000"),
            ("{end:YmdHMS}", "20250310130000"),
            ("${lutc:yyyyMMdd}", "20250311"),
            ("{now:Ymd}", "20250311"),
            ("{timestamp:Ymd}", "20250311"),
            ("${yyyy}${MM}${dd}${HH}${mm}${ss}", "20250310113000"),
            ("{Y}{m}{d}{H}{M}{S}", "20250310113000"),
            ("${(b)HHmm}", "1930"),
        ] {
            assert_eq!(filled(url), expected, "{url}");
        }
    }

    #[test]
    fn literal_text_of_patterns_is_kept() {
        for (url, expected) in [
            ("${utc:yyyyMMdd-HHmmss}", "20250310-113000"),
            ("${utc:yyyy.MM.dd}", "2025.03.10"),
            ("${utc:HH:mm:ss}", "11:30:00"),
            ("${utc:yyyyMMddTHHmmss}", "20250310T113000"),
            ("{utc:Y-m-dTH:M:S}", "2025-03-10T11:30:00"),
            ("${utc:YmdHMS}", "YmdHMS"),
            ("{utc:yyyyMM}", "yyyy3030"),
            ("${utc:é yyy}", "é yyy"),
            ("${(b)x|y}", "x|y"),
        ] {
            assert_eq!(filled(url), expected, "{url}");
        }
    }

    #[test]
    fn unknown_placeholders_stay_and_swallow_nothing() {
        for url in [
            "{foo}",
            "${foo}",
            "${Y}",
            "{yyyy}",
            "${(c)x}",
            "{duration:x}",
            "{}",
            "${}",
            "{",
            "${",
            "$",
            "$$",
            "${utc",
            "{utc",
            "%7Butc}",
            "{UTC}",
            "{(b)Y",
            "/a$x{é",
            "{utc|UTC}",
            "${yyyy:x}",
        ] {
            assert!(!is_template(url), "{url}");
            assert_eq!(filled(url), url);
        }
        assert_eq!(filled("{{Y}}"), "{2025}");
        assert_eq!(filled("${{Y}}"), "${2025}");
        assert_eq!(filled("${foo{Y}"), "${foo2025");
        assert_eq!(filled("$${yyyy}"), "$2025");
        assert_eq!(filled("{foo}{Y"), "{foo}{Y");
    }

    #[test]
    fn worked_examples_come_out() {
        for (url, expected) in [
            (
                "/a/${(b)yyyyMMddHHmmss}/${(e)yyyyMMddHHmmss}.m3u8",
                "/a/20250310193000/20250310210000.m3u8",
            ),
            ("/a/{(b)Y}/{(b)m}/{(b)d}/{(e)HM}", "/a/2025/03/10/2100"),
            (
                "/a?s={utc}&e={utcend}&k=1",
                "/a?s=2025-03-10T11:30:00.000Z&e=2025-03-10T13:00:00.000Z&k=1",
            ),
            (
                "/a?s=${(b)timestamp}&d=${duration}",
                "/a?s=1741606200&d=5400",
            ),
            ("/a/{Y}{m}{d}{H}", "/a/2025031011"),
            (
                "/a?s=${(b)yyyyMMdd|UTC}T${(b)HHmmss|UTC}",
                "/a?s=20250310T113000",
            ),
            ("/a/{foo}/{utc:YmdHMS}", "/a/{foo}/20250310113000"),
        ] {
            assert_eq!(filled(url), expected, "{url}");
        }
    }

    #[test]
    fn without_a_seek_value_only_the_present_is_filled_in() {
        let live = Moments {
            seek: None,
            ..moments()
        };
        assert_eq!(
            fill("/{utc}/{timestamp}/{duration}/${(e)yyyy}?n={lutc}", &live).unwrap(),
            "/{utc}/1741651200/{duration}/${(e)yyyy}?n=2025-03-11T00:00:00.000Z"
        );
    }

    #[test]
    fn what_cannot_be_filled_is_an_error() {
        let endless = Moments {
            seek: Some((1_741_606_200, None)),
            ..moments()
        };
        assert_eq!(
            fill("{Y}{offset}{now:Y}", &endless).unwrap(),
            "2025450002025"
        );
        for url in ["{end}", "${(e)yyyy}", "{duration}", "{utcend:Y}"] {
            assert_eq!(fill(url, &endless), Err(SeekError::EndMissing), "{url}");
        }
        for instant in [i64::MIN, i64::MAX, 253_402_300_800] {
            let far = Moments {
                seek: Some((instant, Some(-instant.saturating_neg()))),
                now: instant,
                ..moments()
            };
            for url in ["{utc}", "{(b)Y}", "{end}", "{now}"] {
                assert_eq!(
                    fill(url, &far),
                    Err(SeekError::OutOfRange),
                    "{url} {instant}"
                );
            }
            assert!(fill("{duration}{offset}{timestamp}", &far).is_ok());
        }
    }

    #[test]
    fn the_last_second_of_the_calendar_may_be_local_only() {
        let end_of_time = Moments {
            seek: Some((253_402_300_799, None)),
            ..moments()
        };
        assert_eq!(fill("{Y}", &end_of_time).unwrap(), "9999");
        assert_eq!(fill("{(b)Y}", &end_of_time), Err(SeekError::OutOfRange));
    }

    #[test]
    fn lengths_are_limited() {
        let url = |bytes: usize| format!("{{utc:{}}}", "x".repeat(bytes - 4));
        assert_eq!(filled(&url(127)), "x".repeat(123));
        assert_eq!(filled(&url(128)), url(128));
        let error = fill(&format!("{{utc:{}}}", "Y".repeat(32)), &moments());
        assert_eq!(error, Err(too_long("text of a placeholder", 127)));
        assert_eq!(filled(&format!("{{utc:{}}}", "Y".repeat(31))).len(), 124);
    }

    #[test]
    fn needs_are_those_of_the_class_table() {
        for (inner, needs_begin, needs_end) in [
            ("(b)x", true, false),
            ("(e)x", false, true),
            ("utc", true, false),
            ("start:Y", true, false),
            ("yyyy", true, false),
            ("utcend", false, true),
            ("end:Y", false, true),
            ("duration", true, true),
            ("offset", true, false),
            ("lutc", false, false),
            ("now:Y", false, false),
            ("timestamp", false, false),
        ] {
            let placeholder = parse(inner, Family::Long).unwrap();
            assert_eq!(
                (placeholder.needs_begin(), placeholder.needs_end()),
                (needs_begin, needs_end),
                "{inner}"
            );
        }
    }

    proptest! {
        #[test]
        fn pieces_make_up_the_whole(text in "\\PC{0,40}|[${}()beutc:YyMH|]{0,60}|(\\$?\\{(utc|\\(b\\)Y|x)\\}?){0,6}") {
            let whole: String = pieces(&text)
                .map(|piece| match piece {
                    Piece::Literal(text) | Piece::Placeholder(_, text) => text,
                })
                .collect();
            prop_assert_eq!(&whole, &text);
            let _ = fill(&text, &moments());
        }

        #[test]
        fn nothing_new_comes_in(text in "[a-z/?=${}()beutcndUTC:YyMHmS|]{0,80}", begin in any::<i64>(), now in any::<i64>()) {
            let moments = Moments { seek: Some((begin, Some(now))), now, ..moments() };
            if let Ok(filled) = fill(&text, &moments) {
                let is_known = |c: char| text.contains(c) || "0123456789-:.TZ".contains(c);
                prop_assert!(filled.chars().all(is_known), "{}", filled);
            }
        }
    }
}
