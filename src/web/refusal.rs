//! What a person sees in a browser when a request is refused or fails.
//!
//! Owns the page alone: whether somebody is shown it, rather than the short body that programs compare (server spec
//! 5.4), is for others to decide.

use std::fmt::Write;

use super::text::{attribute, hash_source};

/// Colours are those of the status page; the contrast of every text on its ground is at least 4.5 to 1.
const STYLE: &str = ":root{color-scheme:light dark;--bg:#f3f4f8;--ink:#161b2b;--dim:#59617a;--accent:#2456d6}\
@media(prefers-color-scheme:dark){:root{--bg:#090b1a;--ink:#e8ebf8;--dim:#9aa3c4;--accent:#86aaff}}\
body{margin:0;background:var(--bg);color:var(--ink);font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}\
main{max-width:36rem;margin:0 auto;padding:18vh 1.5rem 2rem}h1{margin:0 0 .5rem;font-size:1.75rem;line-height:1.2}\
small{color:var(--dim);font-weight:400}p{margin:0 0 1.5rem}nav{display:flex;flex-wrap:wrap;gap:.5rem 1.5rem}\
a{color:var(--accent);padding:.25rem 0}";

/// The value of `Content-Security-Policy` for the page: nothing but its own style.
pub fn refusal_policy() -> String {
    let style = hash_source(STYLE);
    format!(
        "default-src 'none'; style-src {style}; img-src data:; base-uri 'none'; frame-ancestors 'none'"
    )
}

/// The page for a status and what was wrong, in plain text; empty if the status says it all.
///
/// `links` are names and paths of places to go on to.
pub fn refusal(code: u16, reason: &str, detail: &str, links: &[(&str, String)]) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <link rel=\"icon\" href=\"data:,\"><title>{code} {reason}</title><style>{STYLE}</style>\
         <main><h1>{reason} <small>{code}</small></h1>"
    );
    // Writing to a `String` cannot fail.
    if !detail.is_empty() {
        let _ = write!(page, "<p>{}</p>", attribute(detail));
    }
    if !links.is_empty() {
        page.push_str("<nav>");
        for (name, path) in links {
            let _ = write!(page, "<a href=\"{}\">{name}</a>", attribute(path));
        }
        page.push_str("</nav>");
    }
    page.push_str("</main>");
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_text_and_no_markup() {
        let page = refusal(502, "Bad Gateway", "<img src=x onerror=\"a()\"> & co", &[]);
        assert!(page.contains("<p>&lt;img src=x onerror=&quot;a()&quot;&gt; &amp; co</p>"));
        assert!(page.contains("<title>502 Bad Gateway</title>"));
        assert!(!page.contains("<nav>"));
    }

    #[test]
    fn paths_cannot_leave_their_attribute() {
        let links = [("Player", "/tv/play\"a".to_owned())];
        let page = refusal(404, "Not Found", "", &links);
        assert!(page.contains("<nav><a href=\"/tv/play&quot;a\">Player</a></nav>"));
        assert!(!page.contains("<p>"));
    }
}
