//! The page of a probe server: one document with everything in it (probe spec B.13).

const DOCUMENT: &str = include_str!("document.html");
const SCRIPT: &str = include_str!("script.js");

/// The document; `nonce` lets its style and script through its own policy.
pub fn document(nonce: &str) -> String {
    DOCUMENT
        .replace("{nonce}", nonce)
        .replace("{script}", SCRIPT.trim_end())
}

/// The `Content-Security-Policy` that goes with it: nothing from elsewhere, nothing without the nonce.
pub fn policy(nonce: &str) -> String {
    format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_needs_nothing_from_elsewhere() {
        let page = document("abc");
        assert!(!page.contains("{nonce}") && !page.contains("{script}"));
        assert_eq!(page.matches("nonce=\"abc\"").count(), 2);
        for outside in [
            "http://", "https://", "src=\"/", "@import", " onclick", "style=\"",
        ] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn the_classic_fields_have_their_classic_values() {
        let page = document("");
        for field in [
            "id=\"payload\" type=\"number\" min=\"1\" max=\"16777216\" value=\"1000\"",
            "id=\"rate\" type=\"number\" min=\"0\" value=\"1\"",
            "id=\"total\" type=\"number\" min=\"0\" value=\"5\"",
        ] {
            assert!(page.contains(field), "{field}");
        }
    }
}
