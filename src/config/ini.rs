//! The grammar of the configuration file (server spec 3.1): bytes in, items with line numbers out.
//!
//! Pure, and total: whatever the bytes are, each line gives at most one item, and a line that makes no sense is an
//! item that says so. What keys and addresses mean is not known here.
//!
//! Beyond the compatible router's grammar: lines may be [`CONFIG_LINE_BYTES_MAX`] long, a byte order mark and CR LF
//! are understood, blanks may stand inside the brackets of a header, and an IPv6 address in brackets is no header
//! below `[bind]`.

use std::fmt;

use super::parse::quoted;
use crate::limits::CONFIG_LINE_BYTES_MAX;

/// What a text may begin with instead of its first character.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One line that says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// The first is 1.
    pub number: usize,
    /// What it says.
    pub item: Item<'a>,
}

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item<'a> {
    /// `key = value` below `[global]`; both without blanks at their ends, the value may be empty.
    Global {
        /// As written.
        key: &'a str,
        /// As written; there are no quotes and no escapes.
        value: &'a str,
    },
    /// A line below `[bind]`, never empty and without blanks at its ends.
    Bind(&'a str),
    /// A line below `[services]`, never blank; its text need not be UTF-8.
    Service(&'a [u8]),
    /// A line that is left out.
    Fault(Fault<'a>),
}

/// Why a line is left out. Shows itself as a sentence without a full stop, and never shows a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault<'a> {
    /// It stands before the first header.
    NoSection,
    /// A header of another name; the section before goes on.
    UnknownSection(&'a str),
    /// A header without its closing bracket.
    Unclosed,
    /// Below `[global]`, but without `=`.
    NoEquals,
    /// Nothing stands before the `=`.
    NoKey,
    /// Longer than [`CONFIG_LINE_BYTES_MAX`].
    TooLong,
    /// Its bytes are no text.
    NotUtf8,
}

impl fmt::Display for Fault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NoSection => f.write_str(
                "what stands before the first section is left out; begin with [global], [bind] or [services]",
            ),
            Fault::UnknownSection(name) => write!(
                f,
                "{} is not a section, so the one before goes on; give [global], [bind] or [services]",
                quoted(name)
            ),
            Fault::Unclosed => f.write_str("the section's name does not end; give ] behind it"),
            Fault::NoEquals => f.write_str("the line has no =; give key = value"),
            Fault::NoKey => f.write_str("the line has no key; give key = value"),
            Fault::TooLong => write!(f, "the line is longer than {CONFIG_LINE_BYTES_MAX} bytes"),
            Fault::NotUtf8 => f.write_str("the line is not UTF-8"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Global,
    Bind,
    Services,
}

/// The lines of a file that say something, in their order.
pub fn lines(bytes: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let mut section = None;
    let numbered = (1..).zip(bytes.split(|byte| *byte == b'\n'));
    numbered.filter_map(move |(number, line)| {
        // The CR of a CR LF counts as white space.
        let item = match line.trim_ascii() {
            b"" => return None,
            line if line.len() > CONFIG_LINE_BYTES_MAX => Item::Fault(Fault::TooLong),
            line => match read(line, &mut section) {
                Ok(item) => item?,
                Err(fault) => Item::Fault(fault),
            },
        };
        Some(Line { number, item })
    })
}

/// Reads one line without blanks at its ends. Comments and headers say nothing by themselves.
fn read<'a>(line: &'a [u8], section: &mut Option<Section>) -> Result<Option<Item<'a>>, Fault<'a>> {
    if line.starts_with(b"[") {
        match (header(line)?, *section) {
            (Ok(known), _) => {
                *section = Some(known);
                return Ok(None);
            }
            // An address such as [::1].
            (Err(name), Some(Section::Bind)) if name.contains(':') => {}
            (Err(name), _) => return Err(Fault::UnknownSection(name)),
        }
    }
    if line.starts_with(b"#") || line.starts_with(b";") {
        return Ok((*section == Some(Section::Services)).then_some(Item::Service(line)));
    }
    Ok(Some(match section.ok_or(Fault::NoSection)? {
        Section::Services => Item::Service(line),
        Section::Bind => Item::Bind(text(line)?),
        Section::Global => {
            let (key, value) = text(line)?.split_once('=').ok_or(Fault::NoEquals)?;
            let (key, value) = (key.trim_ascii(), value.trim_ascii());
            if key.is_empty() {
                return Err(Fault::NoKey);
            }
            Item::Global { key, value }
        }
    }))
}

/// The section of a header, or its name if there is none of that name.
fn header(line: &[u8]) -> Result<Result<Section, &str>, Fault<'_>> {
    let line = text(line)?;
    let (name, _) = line
        .strip_prefix('[')
        .and_then(|inner| inner.split_once(']'))
        .ok_or(Fault::Unclosed)?;
    let name = name.trim_ascii();
    let named = [
        ("global", Section::Global),
        ("bind", Section::Bind),
        ("services", Section::Services),
    ]
    .into_iter()
    .find(|(known, _)| known.eq_ignore_ascii_case(name));
    Ok(named.map(|(_, section)| section).ok_or(name))
}

fn text(line: &[u8]) -> Result<&str, Fault<'_>> {
    std::str::from_utf8(line).map_err(|_| Fault::NotUtf8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(text: &str) -> Vec<(usize, Item<'_>)> {
        lines(text.as_bytes())
            .map(|line| (line.number, line.item))
            .collect()
    }

    fn global<'a>(key: &'a str, value: &'a str) -> Item<'a> {
        Item::Global { key, value }
    }

    #[test]
    fn keys_and_values_are_trimmed_and_split_at_the_first_equals_sign() {
        let text =
            "[global]\n  maxclients =  20 \t\nffmpeg-args=-x a=b \"q\" ; no comment\nempty =\n";
        let expected = [
            (2, global("maxclients", "20")),
            (3, global("ffmpeg-args", "-x a=b \"q\" ; no comment")),
            (4, global("empty", "")),
        ];
        assert_eq!(read_all(text), expected);
    }

    #[test]
    fn comments_and_blank_lines_are_left_out_but_counted() {
        let text = "# a\n\n ; b\n[global]\n\t# c\n\nx = 1\n[bind]\n;d\n* 1";
        assert_eq!(
            read_all(text),
            [(7, global("x", "1")), (10, Item::Bind("* 1"))]
        );
    }

    #[test]
    fn comments_in_services_are_content() {
        let text = "[services]\n#EXTM3U\n; x\n\nrtp://239.0.0.1:1\n[global] trailing\nx=1";
        let expected = [
            (2, Item::Service(b"#EXTM3U")),
            (3, Item::Service(b"; x")),
            (5, Item::Service(b"rtp://239.0.0.1:1")),
            (7, global("x", "1")),
        ];
        assert_eq!(read_all(text), expected);
    }

    #[test]
    fn sections_repeat_in_any_order_and_either_case() {
        let text = "[BIND]\n* 1\n[ Global ]\na=1\n[bind]\n* 2\n[gLOBAL];x\nb=2";
        let expected = [
            (2, Item::Bind("* 1")),
            (4, global("a", "1")),
            (6, Item::Bind("* 2")),
            (8, global("b", "2")),
        ];
        assert_eq!(read_all(text), expected);
    }

    #[test]
    fn an_address_in_brackets_is_no_header_below_bind() {
        let text = "[bind]\n[::1] 5140\n[fe80::1%eth0]:80\n[global]\n[::1] 5140";
        let expected = [
            (2, Item::Bind("[::1] 5140")),
            (3, Item::Bind("[fe80::1%eth0]:80")),
            (5, Item::Fault(Fault::UnknownSection("::1"))),
        ];
        assert_eq!(read_all(text), expected);
    }

    #[test]
    fn unknown_header_leaves_the_section_in_force() {
        let text = "[global]\n[extra]\na=1\n[bind\nb=2";
        let expected = [
            (2, Item::Fault(Fault::UnknownSection("extra"))),
            (3, global("a", "1")),
            (4, Item::Fault(Fault::Unclosed)),
            (5, global("b", "2")),
        ];
        assert_eq!(read_all(text), expected);
    }

    #[test]
    fn lines_that_make_no_sense_are_named() {
        let text = "a=1\n[global]\nmaxclients 5\n = 5";
        let expected = [
            (1, Item::Fault(Fault::NoSection)),
            (3, Item::Fault(Fault::NoEquals)),
            (4, Item::Fault(Fault::NoKey)),
        ];
        assert_eq!(read_all(text), expected);
    }

    #[test]
    fn line_that_is_not_utf_8_costs_itself_only() {
        let bytes = b"[global]\n# \xff\na = \xff\nb = 1\n[services]\n\xff";
        let found: Vec<_> = lines(bytes).map(|line| (line.number, line.item)).collect();
        let expected = [
            (3, Item::Fault(Fault::NotUtf8)),
            (4, global("b", "1")),
            (6, Item::Service(b"\xff")),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn byte_order_mark_and_cr_lf_are_understood() {
        let text = "\u{feff}[global]\r\nx = 1\r\n\r\n[bind]\r\n* 1";
        assert_eq!(
            read_all(text),
            [(2, global("x", "1")), (5, Item::Bind("* 1"))]
        );
    }

    #[test]
    fn long_lines_are_whole_up_to_the_limit() {
        let value = "v".repeat(CONFIG_LINE_BYTES_MAX - 2);
        let fits = format!("[global]\nx={value}");
        assert_eq!(read_all(&fits), [(2, global("x", &value))]);
        let over = format!("[global]\nx={value}v\ny=1");
        let expected = [(2, Item::Fault(Fault::TooLong)), (3, global("y", "1"))];
        assert_eq!(read_all(&over), expected);
    }

    /// A line: often one of the grammar, else anything.
    fn line() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            r"[ \t]*\[(global|BIND|services|x|::1)\]?[ a-z]*\r?".prop_map(String::into_bytes),
            r"[#; ]?[a-z-]{0,8} ?=? ?[!-~ ]{0,8}".prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 0..12),
        ]
    }

    proptest! {
        #[test]
        fn any_bytes_give_at_most_one_item_a_line(lines_of in proptest::collection::vec(line(), 0..12)) {
            let bytes = lines_of.join(&b'\n');
            let count = bytes.split(|byte| *byte == b'\n').count();
            let mut before = 0;
            for line in lines(&bytes) {
                prop_assert!(before < line.number && line.number <= count);
                before = line.number;
                match line.item {
                    Item::Global { key, value } => {
                        prop_assert!(!key.is_empty() && !key.contains('='));
                        for text in [key, value] {
                            prop_assert!(!text.contains('\n') && text.trim_ascii() == text);
                        }
                    }
                    Item::Bind(text) => prop_assert!(!text.is_empty() && text.trim_ascii() == text),
                    Item::Service(text) => prop_assert!(!text.is_empty()),
                    Item::Fault(fault) => prop_assert!(!fault.to_string().contains(char::is_control)),
                }
            }
        }

        #[test]
        fn what_stands_before_does_not_change_how_a_section_reads(front in proptest::collection::vec(line(), 0..6)) {
            let front = front.join(&b'\n');
            let text: &[u8] = b"\n[global]\nmaxclients = 7\n[bind]\n* 80\n";
            let joined = [front.as_slice(), text].concat();
            let items: Vec<_> = lines(&joined).map(|line| line.item).collect();
            prop_assert!(items.ends_with(&[global("maxclients", "7"), Item::Bind("* 80")]));
        }
    }
}
