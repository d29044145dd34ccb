//! Writes JSON (RFC 8259) into a string, compact.
//!
//! Not serde: fields and their order are an interface that others depend on (server spec §10.3), half of the flags are
//! numbers, and the escaping is prescribed; what would be left for a library are the commas.

use std::fmt::Write;

/// A JSON text under construction. Commas come by themselves; that whatever is opened is closed, and that an object's
/// values have keys, is the caller's business.
#[derive(Debug, Default)]
pub struct Json {
    text: String,
}

impl Json {
    /// An empty text with room for `bytes` bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
        }
    }

    /// What was written.
    pub fn finish(self) -> String {
        self.text
    }

    /// A value `{…}` whose fields `fields` writes.
    pub fn object(&mut self, fields: impl FnOnce(&mut Self)) {
        self.separate();
        self.text.push('{');
        fields(self);
        self.text.push('}');
    }

    /// A value `[…]` whose items `items` writes.
    pub fn array(&mut self, items: impl FnOnce(&mut Self)) {
        self.separate();
        self.text.push('[');
        items(self);
        self.text.push(']');
    }

    /// The key of the value that comes next. Not escaped: keys are ours.
    pub fn key(&mut self, key: &str) -> &mut Self {
        self.separate();
        self.text.push('"');
        self.text.push_str(key);
        self.text.push_str("\":");
        self
    }

    /// A number as a value.
    pub fn number(&mut self, number: u64) {
        self.separate();
        // Writing to a `String` cannot fail.
        let _ = write!(self.text, "{number}");
    }

    /// A text as a value, escaped as server spec §10.3 says: also what would end a script or begin a tag.
    pub fn string(&mut self, string: &str) {
        self.separate();
        self.text.push('"');
        let mut plain_from = 0;
        for (at, byte) in string.bytes().enumerate() {
            let short = match byte {
                b'"' => "\\\"",
                b'\\' => "\\\\",
                0x08 => "\\b",
                0x0c => "\\f",
                b'\n' => "\\n",
                b'\r' => "\\r",
                b'\t' => "\\t",
                0..0x20 | b'<' | b'>' | b'&' => "",
                _ => continue,
            };
            // Everything escaped is ASCII, so these are boundaries of characters.
            self.text
                .push_str(string.get(plain_from..at).unwrap_or_default());
            plain_from = at + 1;
            if short.is_empty() {
                let _ = write!(self.text, "\\u{byte:04x}");
            } else {
                self.text.push_str(short);
            }
        }
        self.text
            .push_str(string.get(plain_from..).unwrap_or_default());
        self.text.push('"');
    }

    /// A field with a number.
    pub fn number_field(&mut self, key: &str, number: u64) {
        self.key(key).number(number);
    }

    /// A field with a flag, 0 or 1.
    pub fn flag_field(&mut self, key: &str, flag: bool) {
        self.key(key).number(u64::from(flag));
    }

    /// A field with a text.
    pub fn string_field(&mut self, key: &str, string: &str) {
        self.key(key).string(string);
    }

    /// A field with a number of tenths, written with one decimal.
    pub fn tenths_field(&mut self, key: &str, tenths: u64) {
        self.key(key);
        let _ = write!(self.text, "{}.{}", tenths / 10, tenths % 10);
    }

    fn separate(&mut self) {
        if !matches!(self.text.as_bytes().last(), None | Some(b'{' | b'[' | b':')) {
            self.text.push(',');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn string(text: &str) -> String {
        let mut json = Json::default();
        json.string(text);
        json.finish()
    }

    /// The value of a JSON string, read by the rules of RFC 8259 §7.
    fn unescaped(json: &str) -> String {
        let mut text = String::new();
        let mut chars = json[1..json.len() - 1].chars();
        while let Some(c) = chars.next() {
            assert!(c >= ' ' && c != '"', "{json}");
            if c != '\\' {
                text.push(c);
                continue;
            }
            text.push(match chars.next().expect("an escape") {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => {
                    let digits: String = chars.by_ref().take(4).collect();
                    let code = u32::from_str_radix(&digits, 16).expect("digits");
                    char::from_u32(code).expect("a character")
                }
                other => other,
            });
        }
        text
    }

    #[test]
    fn values_are_separated_by_commas_and_nothing_else() {
        let mut json = Json::default();
        json.object(|json| {
            json.number_field("a", 1);
            json.key("b").array(|json| {
                json.number(2);
                json.array(|_| {});
                json.object(|json| json.string_field("c", "{"));
                json.number(3);
            });
            json.flag_field("d", true);
            json.tenths_field("e", 1005);
        });
        assert_eq!(
            json.finish(),
            r#"{"a":1,"b":[2,[],{"c":"{"},3],"d":1,"e":100.5}"#
        );
    }

    #[test]
    fn escapes_are_those_of_the_specification() {
        assert_eq!(
            string("\"\\\u{8}\u{c}\n\r\t<>&\u{0}\u{1b}/'\u{7f}ä\u{2028}"),
            "\"\\\"\\\\\\b\\f\\n\\r\\t\\u003c\\u003e\\u0026\\u0000\\u001b/'\u{7f}ä\u{2028}\""
        );
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text: String) {
            prop_assert_eq!(unescaped(&string(&text)), text);
        }
    }
}
