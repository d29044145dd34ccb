//! Text inside other text: escapes for JSON and for attributes, and sources without what only people read.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// `text` as a JSON string with its quotes. `<`, `>` and `&` are escaped too, so that it can stand in a script.
pub(super) fn json_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            // Line separators end a line of a script, though not of JSON.
            '<' | '>' | '&' | '\0'..='\x1f' | '\u{2028}' | '\u{2029}' => {
                // Writing to a `String` cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `text` as it stands between the double quotes of an attribute, or between tags.
pub(super) fn attribute(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('"', "&quot;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Adds the lines of a source without their indentation, empty lines, and lines that are a comment from end to end:
/// a fifth of the size, and no parser is needed for it.
///
/// For sources of our own that have no text running over several lines.
pub(super) fn push_lean(out: &mut String, source: &str) {
    for line in source.lines().map(str::trim) {
        let is_comment = line.starts_with("//") || (line.starts_with("/*") && line.ends_with("*/"));
        if !line.is_empty() && !is_comment {
            out.push_str(line);
            out.push('\n');
        }
    }
}

/// The source expression that lets a style or script with this text into a page (CSP3 §2.3.1).
pub(super) fn hash_source(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

/// SHA-256 in lower-case hexadecimal (FIPS 180-4).
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn strings_cannot_leave_their_script() {
        assert_eq!(json_string("/tv"), "\"/tv\"");
        assert_eq!(
            json_string("</script>\"\\\n\u{2028}&"),
            "\"\\u003c/script\\u003e\\\"\\\\\\u000a\\u2028\\u0026\""
        );
    }

    #[test]
    fn attributes_cannot_be_left() {
        assert_eq!(attribute("/a\"><b>&"), "/a&quot;&gt;&lt;b&gt;&amp;");
    }

    #[test]
    fn lean_sources_lose_comments_and_indentation_only() {
        let mut out = String::new();
        push_lean(
            &mut out,
            "/* Why. */\n  a { b: c; } /* d */\n\n// e\nf('//'); // g\n",
        );
        assert_eq!(out, "a { b: c; } /* d */\nf('//'); // g\n");
    }

    proptest! {
        #[test]
        fn json_strings_stay_within_their_quotes(text in any::<String>()) {
            let json = json_string(&text);
            let inner = &json[1..json.len() - 1];
            let unescaped = inner.replace("\\\\", "").replace("\\\"", "");
            prop_assert!(!unescaped.contains(['"', '<', '>', '&', '\n']));
        }
    }
}
