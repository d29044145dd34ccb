//! The one parameter of a link to a recording that players fill in, and that this server takes apart again to fill the
//! templates of the source (playlist spec §10.4).
//!
//! Better than the compatible router: the parameter is always the one that the service takes its seek value from; what
//! this server could not read as a time is asked for in a notation that it can; and an end never goes without a begin.

use super::source::Source;
use crate::proto::query;
use crate::proto::seek::template::{self, Moment, Moments, Piece, Placeholder, pieces};
use crate::proto::seek::value::{End, Value};
use crate::proto::seek::zone::Zone;

/// The begin in a notation that says its zone.
const BEGIN: &str = "${utc}";
/// The end in the same.
const END: &str = "${utcend}";
/// The seek parameter of a source that chooses none.
const SEEK_NAME: &str = "playseek";
/// A moment that no field of is zero or like another: 2001-09-09 01:46:40 UTC, and an hour and a bit later.
const TRIAL: (i64, i64) = (1_000_000_000, 1_000_003_725);

/// The parameter, `name=value`, for recordings that `source` has; `None` if it has nothing to be filled with a begin
/// or an end.
pub(super) fn carrier(source: &Source) -> Option<String> {
    let needs_begin = placeholders(&source.rest).any(|(placeholder, _)| placeholder.needs_begin());
    let needs_end = placeholders(&source.rest).any(|(placeholder, _)| placeholder.needs_end());
    if !needs_begin && !needs_end {
        return None;
    }
    let name = source.seek_name();
    let name = name.as_deref().unwrap_or(SEEK_NAME);
    // Empty turns seeking off, and no player could leave the others as they are.
    if name.is_empty() || name.contains(['&', '=', '?', '#', '"', '{', '}']) {
        return None;
    }
    let (begin, end) = texts(source);
    let begin = begin.unwrap_or_else(|| BEGIN.to_owned());
    let end = needs_end.then(|| end.unwrap_or_else(|| END.to_owned()));
    let (begin, end) = match is_understood(source, name, &begin, end.as_deref()) {
        true => (begin, end),
        false => (BEGIN.to_owned(), end.map(|_| END.to_owned())),
    };
    let value = match end {
        Some(end) => format!("{begin}-{end}"),
        None => begin,
    };
    // It will stand between double quotes.
    Some(format!("{name}={value}").replace('"', "%22"))
}

/// What begin and end look like in the query, or else in the path.
fn texts(source: &Source) -> (Option<String>, Option<String>) {
    let (path, query) = source.parts();
    let (mut begin, mut end) = (None, None);
    for piece in query.into_iter().flat_map(|query| query.split('&')) {
        let Some((_, value)) = piece.split_once('=') else {
            continue;
        };
        match (has(value, Moment::Begin), has(value, Moment::End)) {
            (true, true) => {
                if let Some((first, last)) = split(value) {
                    begin.get_or_insert_with(|| first.to_owned());
                    end.get_or_insert_with(|| last.to_owned());
                }
            }
            (true, false) => drop(begin.get_or_insert_with(|| value.to_owned())),
            (false, true) => drop(end.get_or_insert_with(|| value.to_owned())),
            (false, false) => {}
        }
    }
    (
        begin.or_else(|| joined(path, Moment::Begin)),
        end.or_else(|| joined(path, Moment::End)),
    )
}

/// Parts a range at the first `-` that has the begin before it and the end behind it.
fn split(value: &str) -> Option<(&str, &str)> {
    let halves = value.match_indices('-').filter_map(|(at, _)| {
        let (first, last) = (value.get(..at)?, value.get(at + 1..)?);
        let is_apart = has(first, Moment::Begin) && !has(first, Moment::End);
        (is_apart && has(last, Moment::End)).then_some((first, last))
    });
    halves.into_iter().next()
}

/// All placeholders of `moment` in a path, without what stands between them.
fn joined(path: &str, moment: Moment) -> Option<String> {
    let of_moment = placeholders(path).filter(|(placeholder, _)| is_of(placeholder, moment));
    let joined: String = of_moment.map(|(_, source)| source).collect();
    (!joined.is_empty()).then_some(joined)
}

/// Whether this server reads what a player makes of both texts as the times that were meant. That matters only where
/// they are to be filled into something; a seek value that is just handed on may look as it likes.
fn is_understood(source: &Source, name: &str, begin: &str, end: Option<&str>) -> bool {
    let rest = query::remove(&source.rest, name, |_| true);
    if !template::is_template(&rest) {
        return true;
    }
    let moments = Moments {
        seek: Some((TRIAL.0, Some(TRIAL.1))),
        now: TRIAL.1,
        zone: Zone::UTC,
    };
    let text = match end {
        Some(end) => format!("{begin}-{end}"),
        None => begin.to_owned(),
    };
    let Ok(filled) = template::fill(&text, &moments) else {
        return false;
    };
    match Value::parse(&filled) {
        Value::Times {
            begin,
            end: End::At(last),
        } if end.is_some() => {
            begin.instant(Zone::UTC, 0) == TRIAL.0 && last.instant(Zone::UTC, 0) == TRIAL.1
        }
        Value::Times {
            begin,
            end: End::None,
        } if end.is_none() => begin.instant(Zone::UTC, 0) == TRIAL.0,
        _ => false,
    }
}

fn placeholders(text: &str) -> impl Iterator<Item = (Placeholder<'_>, &str)> {
    pieces(text).filter_map(|piece| match piece {
        Piece::Placeholder(placeholder, source) => Some((placeholder, source)),
        Piece::Literal(_) => None,
    })
}

fn has(text: &str, moment: Moment) -> bool {
    placeholders(text).any(|(placeholder, _)| is_of(&placeholder, moment))
}

fn is_of(placeholder: &Placeholder<'_>, wanted: Moment) -> bool {
    matches!(placeholder, Placeholder::Moment { moment, .. } if *moment == wanted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::playlist::source::Usability;
    use crate::proto::seek::{self, ClientClock, Service};

    fn source(text: &str) -> Source {
        match Source::read(text, "") {
            Usability::Usable(source) => source,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn carriers_are_those_of_the_specification() {
        for (text, expected) in [
            (
                "rtsp://h/p?playseek={utc:YmdHMS}-{utcend:YmdHMS}&tok=1",
                Some("playseek={utc:YmdHMS}-{utcend:YmdHMS}"),
            ),
            (
                "rtsp://h/p?tvdr=${(b)yyyyMMddHHmmss}GMT-${(e)yyyyMMddHHmmss}GMT",
                Some("tvdr=${(b)yyyyMMddHHmmss}GMT-${(e)yyyyMMddHHmmss}GMT"),
            ),
            (
                "rtsp://h/p?go={utc:YmdHMS}-{utcend:YmdHMS}",
                Some("playseek={utc:YmdHMS}-{utcend:YmdHMS}"),
            ),
            (
                "rtsp://h/p?go={utc:YmdHMS}-{utcend:YmdHMS}&r2h-seek-name=go",
                Some("go={utc:YmdHMS}-{utcend:YmdHMS}"),
            ),
            (
                "http://h/p/${(b)yyyyMMdd}/${(b)HHmmss}/${(e)yyyyMMddHHmmss}.m3u8",
                Some("playseek=${(b)yyyyMMdd}${(b)HHmmss}-${(e)yyyyMMddHHmmss}"),
            ),
            (
                "http://h/p/${(b)yyyyMMddHHmmss}.m3u8?t=1&from={utc}",
                Some("playseek={utc}"),
            ),
            (
                "http://h/p?s=${(b)yyyyMMdd|UTC}T${(b)HHmmss|UTC}&e=${(e)yyyyMMdd|UTC}T${(e)HHmmss|UTC}",
                Some(
                    "playseek=${(b)yyyyMMdd|UTC}T${(b)HHmmss|UTC}-${(e)yyyyMMdd|UTC}T${(e)HHmmss|UTC}",
                ),
            ),
            (
                "http://h/a?len={duration}",
                Some("playseek=${utc}-${utcend}"),
            ),
            ("http://h/a?ago={offset}", Some("playseek=${utc}")),
            ("http://h/a/static.m3u8", None),
            ("http://h/a?now={lutc}", None),
        ] {
            assert_eq!(carrier(&source(text)).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn carriers_can_be_consumed() {
        for (text, expected) in [
            // The name that the service takes its value from.
            ("http://h/{utc}?r2h-seek-name=N", Some("N={utc}")),
            ("rtsp://h/p?TVDR={utc}", Some("TVDR={utc}")),
            ("http://h/{utc}?r2h-seek-name=", None),
            // An end has a begin.
            ("http://h/a?until={end}", Some("playseek=${utc}-{end}")),
            // Ten digits would be seconds, and other words are no time.
            ("http://h/{Y}{m}{d}{H}/a", Some("playseek=${utc}")),
            ("http://h/a?t=from{utc}", Some("playseek=${utc}")),
            (
                "http://h/a?t=from{utc}&u={utcend}",
                Some("playseek=${utc}-${utcend}"),
            ),
            // What is handed on as it is may be anything.
            ("http://h/a?playseek=from{utc}", Some("playseek=from{utc}")),
        ] {
            assert_eq!(carrier(&source(text)).as_deref(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_a_player_fills_in_reaches_the_source(
            path in "([a-z]|\\$\\{\\(b\\)yyyyMMdd\\}|\\{utc\\}|\\{Y\\}|\\$\\{\\(e\\)HHmmss\\}){0,3}",
            query in "((s|playseek|tvdr|r2h-seek-name)=(x|\\{utc\\}|\\{utc:YmdHMS\\}|\\{utcend\\}|-|\\{duration\\}){0,3}&){0,3}z=1",
        ) {
            let source = source(&format!("http://h/{path}?{query}"));
            if let Some(carrier) = carrier(&source) {
                prop_assert!(!carrier.contains(['"', '&']));
                let (begin, end) = TRIAL;
                let moments = Moments { seek: Some((begin, Some(end))), now: end, zone: Zone::UTC };
                let filled = template::fill(&carrier, &moments).expect("filled");
                let merged = source.merged(Some(&filled)).expect("merged");
                let clock = ClientClock { user_agent: None, now: end };
                let resolved = seek::resolve(&merged.rest, &clock, Service::Http);
                if let Ok(resolved) = resolved {
                    prop_assert!(!template::is_template(&resolved.url), "{} {}", carrier, resolved.url);
                } else {
                    prop_assert!(false, "{carrier}: {resolved:?}");
                }
            }
        }
    }
}
