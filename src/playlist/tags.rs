//! The two tags of a channel list that mean something here, `#EXTM3U` and `#EXTINF` (playlist spec §5, §6), with
//! their attributes.
//!
//! An attribute is `name=value` between blanks, its name in either case; the value stands in double or single quotes
//! or goes to the next blank. What stands inside the quotes of another value is no attribute. Beyond the compatible
//! router, a channel's name begins behind the first comma outside quotes, so that it may have commas itself.

use std::ops::Range;

/// What the first line of a list begins with.
pub(super) const HEADER: &str = "#EXTM3U";
/// What begins an entry.
pub(super) const ENTRY: &str = "#EXTINF:";
/// Longest address of a guide, bytes; longer ones are none (playlist spec §5).
const GUIDE_BYTES_MAX: usize = 2047;
/// Longest value of `catchup-source`, bytes; longer ones are none (playlist spec §6.2).
const CATCHUP_BYTES_MAX: usize = 2047;

/// A value, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attribute<'a> {
    /// Without its quotes; never empty.
    pub(super) value: &'a str,
    /// Its bytes in the line, quotes included.
    pub(super) place: Range<usize>,
}

/// What a header says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Header<'a> {
    /// The address of a programme guide. Of a list of addresses it is the first.
    pub(super) guide: Option<&'a str>,
    /// The catch-up mode of entries that say none.
    pub(super) catchup: Option<&'a str>,
    /// The catch-up source of entries that say none.
    pub(super) catchup_source: Option<&'a str>,
}

impl<'a> Header<'a> {
    /// Reads a line that begins with [`HEADER`].
    pub(super) fn read(line: &'a str) -> Self {
        let attributes = attributes(line, HEADER.len());
        let value = |name| find(&attributes, name).map(|attribute| attribute.value);
        let guide = value("x-tvg-url").or_else(|| value("url-tvg"));
        // Some lists name several; none of them has a comma of its own.
        let guide =
            guide.and_then(|list| list.split(',').map(str::trim).find(|url| !url.is_empty()));
        Self {
            guide: guide.filter(|url| url.len() <= GUIDE_BYTES_MAX),
            catchup: value("catchup"),
            catchup_source: value("catchup-source")
                .filter(|value| value.len() <= CATCHUP_BYTES_MAX),
        }
    }
}

/// What the line of an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Info<'a> {
    /// The channel's name, without blanks at its ends; never empty.
    pub(super) name: &'a str,
    /// Where the comma stands that the name follows.
    pub(super) comma: usize,
    /// `group-title`.
    pub(super) group: Option<&'a str>,
    /// `catchup`.
    pub(super) catchup: Option<Attribute<'a>>,
    /// `catchup-source`.
    pub(super) catchup_source: Option<Attribute<'a>>,
}

impl<'a> Info<'a> {
    /// Reads a line that begins with [`ENTRY`]. `None` if it names no channel.
    pub(super) fn read(line: &'a str) -> Option<Self> {
        let comma = name_comma(line)?;
        let name = line.get(comma + 1..)?.trim();
        if name.is_empty() {
            return None;
        }
        let attributes = attributes(line.get(..comma)?, ENTRY.len());
        let attribute = |name| find(&attributes, name).cloned();
        Some(Self {
            name,
            comma,
            group: find(&attributes, "group-title").map(|group| group.value),
            catchup: attribute("catchup"),
            catchup_source: attribute("catchup-source")
                .filter(|attribute| attribute.value.len() <= CATCHUP_BYTES_MAX),
        })
    }
}

/// The comma in front of the name: the first outside quotes, or the last if quotes are left open.
fn name_comma(line: &str) -> Option<usize> {
    let mut quote = None;
    let mut before = '=';
    for (at, c) in line.char_indices().skip(ENTRY.len()) {
        match quote {
            None if c == ',' => return Some(at),
            // Anywhere else a quote is a character like others: an apostrophe in a title, for one.
            None if matches!(c, '"' | '\'') && before == '=' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        if c != ' ' {
            before = c;
        }
    }
    line.rfind(',')
}

/// The attributes of `line` from the byte `start` on. Those without a value are left out.
fn attributes(line: &str, start: usize) -> Vec<(&str, Attribute<'_>)> {
    let mut found = Vec::new();
    let mut at = start;
    while let Some(rest) = line.get(at..).filter(|rest| !rest.is_empty()) {
        let blanks = rest.len() - rest.trim_start().len();
        if blanks > 0 {
            at += blanks;
            continue;
        }
        let name_bytes = rest.find(|c: char| c == '=' || c.is_whitespace());
        let name_bytes = name_bytes.unwrap_or(rest.len());
        let (name, behind) = rest.split_at_checked(name_bytes).unwrap_or((rest, ""));
        at += name_bytes;
        let Some(behind) = behind.strip_prefix('=') else {
            continue;
        };
        let value = behind.trim_start_matches([' ', '\t']);
        at += 1 + behind.len() - value.len();
        let (bytes, inner) = value_at_front(value);
        if let Some(value) = inner.filter(|value| !value.is_empty()) {
            let place = at..at + bytes;
            found.push((name, Attribute { value, place }));
        }
        at += bytes;
    }
    found
}

/// The bytes that a value takes, and the value without its quotes. One whose quotes are left open is none, and takes
/// the quote only.
fn value_at_front(text: &str) -> (usize, Option<&str>) {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote) {
            return match inner.find(quote) {
                Some(end) => (end + 2, inner.get(..end)),
                None => (1, None),
            };
        }
    }
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (end, text.get(..end))
}

fn find<'f, 'a>(found: &'f [(&str, Attribute<'a>)], name: &str) -> Option<&'f Attribute<'a>> {
    let found = found
        .iter()
        .find(|(found, _)| found.eq_ignore_ascii_case(name));
    found.map(|(_, attribute)| attribute)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn info(line: &str) -> Info<'_> {
        Info::read(line).expect(line)
    }

    #[test]
    fn name_begins_behind_the_first_comma_outside_quotes() {
        for (line, name) in [
            ("#EXTINF:-1,S One ", "S One"),
            ("#EXTINF:-1,News, Late", "News, Late"),
            ("#EXTINF:-1 a=\"x,y\" b='p,q',N", "N"),
            ("#EXTINF:-1 a=\"it's, b\",N", "N"),
            ("#EXTINF:-1 a=x's,N's", "N's"),
            // A quote that is left open hides every comma but the last.
            ("#EXTINF:-1 a=\"x,y,N", "N"),
            ("#EXTINF:-1,a=\"b\"", "a=\"b\""),
        ] {
            assert_eq!(info(line).name, name, "{line}");
        }
        for line in ["#EXTINF:-1", "#EXTINF:-1,", "#EXTINF:-1, \t", "#EXTINF:"] {
            assert_eq!(Info::read(line), None, "{line}");
        }
    }

    #[test]
    fn attributes_are_found_by_whole_names_in_either_case() {
        let line = "#EXTINF:-1 xgroup-title=\"A\" tvg-name=\"group-title=B\" Group-Title= \"C, D\" CATCHUP=append \
                    catchup-source='x \"y\"',group-title=\"E\"";
        let info = info(line);
        assert_eq!(info.group, Some("C, D"));
        let catchup = info.catchup.expect("a mode");
        assert_eq!((catchup.value, &line[catchup.place]), ("append", "append"));
        let source = info.catchup_source.expect("a source");
        assert_eq!(
            (source.value, &line[source.place]),
            ("x \"y\"", "'x \"y\"'")
        );
    }

    #[test]
    fn what_has_no_value_is_absent() {
        for line in [
            "#EXTINF:-1 group-title=\"\",N",
            "#EXTINF:-1 group-title,N",
            "#EXTINF:-1 group-title=,N",
            "#EXTINF:-1 group-title=\"x,N",
        ] {
            assert_eq!(info(line).group, None, "{line}");
        }
        let long = "x".repeat(CATCHUP_BYTES_MAX + 1);
        let line = format!("#EXTINF:-1 catchup-source=\"{long}\",N");
        assert_eq!(info(&line).catchup_source, None);
    }

    #[test]
    fn header_names_the_guide_and_what_entries_leave_out() {
        let header = Header::read(
            "#EXTM3U url-tvg=\"http://a/\" X-TVG-URL=\" http://b/ , http://c/\" catchup=append catchup-source=\"?t={utc}\"",
        );
        assert_eq!(header.guide, Some("http://b/"));
        assert_eq!(header.catchup, Some("append"));
        assert_eq!(header.catchup_source, Some("?t={utc}"));
        assert_eq!(
            Header::read("#EXTM3U url-tvg=http://a/").guide,
            Some("http://a/")
        );
        for line in [
            "#EXTM3U",
            "#EXTM3U8 x=y",
            "#EXTM3U x-tvg-url=\"\"",
            "#EXTM3U x-tvg-url=\",",
        ] {
            assert_eq!(Header::read(line).guide, None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_and_places_are_those_of_values(line in "(group-title=|catchup-source=|catchup=|[\"', =]|[a-z]|\\PC){0,20}") {
            let line = format!("{ENTRY}{line}");
            if let Some(info) = Info::read(&line) {
                prop_assert!(!info.name.is_empty() && line.ends_with(info.name) || line.trim_end().ends_with(info.name));
                for attribute in [info.catchup, info.catchup_source].into_iter().flatten() {
                    prop_assert!(attribute.place.end <= info.comma);
                    let placed = line.get(attribute.place).expect("within the line");
                    prop_assert_eq!(placed.trim_matches(['"', '\'']), attribute.value.trim_matches(['"', '\'']));
                }
            }
            let _ = Header::read(&line);
        }
    }
}
