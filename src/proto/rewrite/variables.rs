//! Variables of HLS playlists (`EXT-X-DEFINE` and `{$name}`, RFC 8216bis §4.3 and §4.4.2.3), as far as links depend on
//! them.
//!
//! Players fill in variables themselves, so `{$name}` stays wherever the link is right without its value. Only a
//! reference that begins with a variable, or has one in its authority, means nothing before it is filled in. What
//! comes from another playlist (`IMPORT`) is not known here.

use std::borrow::Cow;
use std::cell::Cell;

use super::playlist::{REWRITTEN_BYTES_MAX, value_bytes};
use super::{LINK_BYTES_MAX, url};

/// Most variables of a playlist; further ones count as unknown. Chosen: playlists that have any have a few.
const VARIABLES_MAX: usize = 64;
/// The tag that defines one.
const DEFINE: &[u8] = b"#EXT-X-DEFINE:";
/// What a use of one begins with; it ends with `}`.
const USE: &[u8] = b"{$";

/// The variables that have been defined up to a line.
pub(super) struct Variables<'a> {
    /// The query of the playlist's URL.
    query: Option<&'a str>,
    known: Vec<(&'a [u8], Vec<u8>)>,
    /// Bytes that have been filled in: a playlist of nothing but short uses of a long value must not take forever.
    filled_bytes: Cell<usize>,
}

impl<'a> Variables<'a> {
    /// None yet.
    pub(super) fn new(query: Option<&'a str>) -> Self {
        Self {
            query,
            known: Vec::new(),
            filled_bytes: Cell::new(0),
        }
    }

    /// Learns what a line defines, if it is the tag for that. Of two definitions of a name the first one holds.
    pub(super) fn note(&mut self, line: &'a [u8]) {
        let Some(attributes) = line.strip_prefix(DEFINE) else {
            return;
        };
        let attribute = |name: &[u8]| find(attributes, name);
        let defined = match (attribute(b"NAME"), attribute(b"QUERYPARAM")) {
            (Some(name), _) => attribute(b"VALUE").map(|value| (name, self.fill_in_all(value))),
            (None, Some(name)) => Some((name, self.parameter(name))),
            (None, None) => None,
        };
        if let Some((name, Some(value))) = defined
            && self.known.len() < VARIABLES_MAX
            && self.value(name).is_none()
        {
            self.known.push((name, value));
        }
    }

    /// The reference with its variables filled in if what it leads to depends on them, else as it is. `None` if it
    /// does, and one of them is not known.
    pub(super) fn fill_in<'b>(&self, reference: &'b [u8]) -> Option<Cow<'b, [u8]>> {
        if needs_values(reference) {
            self.fill_in_all(reference).map(Cow::Owned)
        } else {
            Some(Cow::Borrowed(reference))
        }
    }

    fn fill_in_all(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut filled = Vec::new();
        let mut rest = text;
        while let Some(at) = memchr::memmem::find(rest, USE) {
            let (front, name) = rest.split_at_checked(at)?;
            let name = name.strip_prefix(USE)?;
            let name = name.get(..memchr::memchr(b'}', name)?)?;
            filled.extend_from_slice(front);
            filled.extend_from_slice(self.value(name)?);
            if filled.len() > LINK_BYTES_MAX {
                return None;
            }
            rest = rest.get(at + USE.len() + name.len() + 1..)?;
        }
        filled.extend_from_slice(rest);
        let filled_bytes = self.filled_bytes.get() + filled.len();
        self.filled_bytes.set(filled_bytes);
        (filled.len() <= LINK_BYTES_MAX && filled_bytes <= REWRITTEN_BYTES_MAX).then_some(filled)
    }

    fn value(&self, name: &[u8]) -> Option<&[u8]> {
        let found = self.known.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_slice())
    }

    /// The value of a parameter of the playlist's URL; its name is compared as it stands.
    fn parameter(&self, name: &[u8]) -> Option<Vec<u8>> {
        let mut parameters = self
            .query?
            .split('&')
            .filter_map(|text| text.split_once('='));
        let (_, value) = parameters.find(|(known, _)| known.as_bytes() == name)?;
        url::percent_decode(value).ok().map(String::into_bytes)
    }
}

/// Whether a variable decides whom a reference leads to: it stands in front, or in the authority.
fn needs_values(reference: &[u8]) -> bool {
    let Some(at) = memchr::memmem::find(reference, USE) else {
        return false;
    };
    let front = reference.get(..at).unwrap_or_default();
    let behind_scheme = match memchr::memmem::find(front, b"//") {
        Some(slashes) if slashes == 0 || front.get(slashes - 1) == Some(&b':') => {
            front.get(slashes + 2..)
        }
        _ => None,
    };
    let is_in_authority =
        |behind: &[u8]| !behind.iter().any(|byte| matches!(byte, b'/' | b'?' | b'#'));
    front.is_empty() || behind_scheme.is_some_and(is_in_authority)
}

/// The value of an attribute in quotes.
fn find<'a>(attributes: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let mut rest = attributes.trim_ascii();
    while let Some(at) = memchr::memchr(b'=', rest) {
        let (name, value) = rest.split_at_checked(at)?;
        let value = value.get(1..)?;
        let (value, behind) = value.split_at_checked(value_bytes(value))?;
        if name.trim_ascii() == wanted {
            return value.strip_prefix(b"\"")?.strip_suffix(b"\"");
        }
        rest = behind.strip_prefix(b",").unwrap_or_default();
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with(lines: &[&'static str]) -> Variables<'static> {
        let mut variables = Variables::new(Some("id=7&token=a%2Fb&empty="));
        for line in lines {
            variables.note(line.as_bytes());
        }
        variables
    }

    fn filled(variables: &Variables<'_>, reference: &str) -> Option<String> {
        let filled = variables.fill_in(reference.as_bytes())?;
        Some(String::from_utf8(filled.into_owned()).expect("text"))
    }

    #[test]
    fn a_variable_that_decides_where_a_reference_leads_is_filled_in() {
        let variables = with(&[
            "#EXT-X-DEFINE:NAME=\"base\",VALUE=\"http://cdn/a\"\r\n",
            "#EXT-X-DEFINE:VALUE=\"{$base}/b,c\",NAME=\"deep\"",
            "#EXT-X-DEFINE:NAME=\"base\",VALUE=\"http://other\"",
            "#EXT-X-DEFINE:QUERYPARAM=\"token\"",
        ]);
        for (reference, expected) in [
            ("{$base}/1.ts", "http://cdn/a/1.ts"),
            ("{$deep}/{$token}.ts", "http://cdn/a/b,c/a/b.ts"),
            ("http://{$token}.lan/1.ts", "http://a/b.lan/1.ts"),
            ("//h.{$token}", "//h.a/b"),
            // What the player fills in itself.
            ("1/{$token}.ts", "1/{$token}.ts"),
            ("http://h/{$imported}", "http://h/{$imported}"),
            ("a//{$token}", "a//{$token}"),
            ("1.ts", "1.ts"),
            ("?x={$token}", "?x={$token}"),
        ] {
            assert_eq!(filled(&variables, reference).as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        let variables = with(&[
            "#EXT-X-DEFINE:IMPORT=\"far\"",
            "#EXT-X-DEFINE:QUERYPARAM=\"absent\"",
            "#EXT-X-DEFINE:NAME=\"a\",VALUE=plain",
            "#EXT-X-DEFINE:NAME=\"b\",VALUE=\"{$a}x\"",
            "#EXT-X-DEFINE:NAME=\"c\"",
            "#EXT-X-DEFINED:NAME=\"d\",VALUE=\"1\"",
            "#EXT-X-DEFINE:",
        ]);
        for reference in [
            "{$far}/1",
            "{$absent}",
            "{$a}",
            "{$b}",
            "{$c}",
            "{$d}",
            "{$}",
            "{$open",
            "//{$far}/",
        ] {
            assert_eq!(filled(&variables, reference), None, "{reference}");
        }
    }

    #[test]
    fn neither_number_nor_length_is_without_end() {
        let mut variables = Variables::new(None);
        let lines: Vec<String> = (0..VARIABLES_MAX + 1)
            .map(|number| format!("#EXT-X-DEFINE:NAME=\"{number}\",VALUE=\"v\""))
            .collect();
        lines
            .iter()
            .for_each(|line| variables.note(line.as_bytes()));
        assert_eq!(filled(&variables, "{$63}").as_deref(), Some("v"));
        assert_eq!(filled(&variables, "{$64}"), None);

        let long = format!("#EXT-X-DEFINE:NAME=\"l\",VALUE=\"{}\"", "x".repeat(4000));
        let mut variables = Variables::new(None);
        variables.note(long.as_bytes());
        assert!(filled(&variables, "{$l}").is_some());
        assert_eq!(filled(&variables, "{$l}{$l}"), None);
        let uses = (0..).take_while(|_| filled(&variables, "{$l}").is_some());
        assert!(uses.count() < REWRITTEN_BYTES_MAX / 4000);
    }

    proptest! {
        #[test]
        fn any_line_and_reference_is_taken(line in ".{0,40}", reference in "[{}$a/:?]{0,20}") {
            let line = [DEFINE, line.as_bytes()].concat();
            let mut variables = Variables::new(Some("a=b"));
            variables.note(&line);
            variables.note(b"#EXT-X-DEFINE:QUERYPARAM=\"a\"");
            let filled = variables.fill_in(reference.as_bytes());
            if !reference.contains("{$") {
                prop_assert_eq!(filled.as_deref(), Some(reference.as_bytes()));
            }
        }
    }
}
