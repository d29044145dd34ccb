//! The status page as one document: sources, settings, and the policy that lets nothing else run in it.

use std::io::Write;
use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use super::Settings;
use super::text::{attribute, json_string, push_lean, sha256_hex};

const HTML: &str = include_str!("page/status.html");
const STYLE: &str = include_str!("page/status.css");
const THEME: &str = include_str!("page/theme.js");
/// In the order in which they build on one another.
const SCRIPTS: [&str; 12] = [
    include_str!("page/text.js"),
    include_str!("page/format.js"),
    include_str!("page/dom.js"),
    include_str!("page/chart.js"),
    include_str!("page/model.js"),
    include_str!("page/table.js"),
    include_str!("page/clients.js"),
    include_str!("page/sources.js"),
    include_str!("page/inspector.js"),
    include_str!("page/log.js"),
    include_str!("page/actions.js"),
    include_str!("page/main.js"),
];

/// The status page (server spec §8.1) for some settings.
#[derive(Debug)]
pub struct StatusDocument {
    opening: String,
    gzip: Rc<[u8]>,
    validator: String,
    policy: String,
}

impl StatusDocument {
    /// Content type of the page.
    pub const CONTENT_TYPE: &'static str = "text/html; charset=utf-8";

    pub(super) fn new(settings: &Settings<'_>) -> Self {
        let config = config_script(settings);
        let style = lean(&[STYLE]);
        let theme = lean(&[THEME]);
        let script = main_script();
        let policy = policy(&[&config, &theme, &script], &style);
        let opening = opening(settings.prefix, &config);
        let document = assemble(&opening, &style, &theme, &script);
        let validator = sha256_hex(document.as_bytes());
        Self {
            gzip: compress(&document),
            opening,
            validator,
            policy,
        }
    }

    /// Whether it was made for these settings.
    pub(super) fn is_for(&self, settings: &Settings<'_>) -> bool {
        self.opening == opening(settings.prefix, &config_script(settings))
    }

    /// The document in the gzip format (RFC 1952).
    pub fn gzip(&self) -> Rc<[u8]> {
        Rc::clone(&self.gzip)
    }

    /// The document itself, put together anew: few clients do not accept gzip.
    pub fn plain(&self) -> Rc<[u8]> {
        let document = assemble(
            &self.opening,
            &lean(&[STYLE]),
            &lean(&[THEME]),
            &main_script(),
        );
        document.into_bytes().into()
    }

    /// SHA-256 of the document in hexadecimal, for conditional requests.
    pub fn validator(&self) -> &str {
        &self.validator
    }

    /// The value of `Content-Security-Policy` (W3C CSP Level 3).
    ///
    /// Scripts and styles are named by their hashes, so text that found its way into the page could not run; a
    /// nonce would have to differ every time, and the page could then not be kept by browsers.
    pub fn policy(&self) -> &str {
        &self.policy
    }
}

/// What the specification wants directly behind the opening head tag, that tag included.
fn opening(prefix: &str, config: &str) -> String {
    let base = attribute(prefix);
    format!("<head><base href=\"{base}/\"><script>{config}</script>")
}

/// The script that tells pages of the configuration; compact, as programs look for it.
fn config_script(settings: &Settings<'_>) -> String {
    let prefix = json_string(settings.prefix);
    let level = settings.log_level;
    format!("window.__RTP2HTTPD_CONFIG__={{\"appPathPrefix\":{prefix},\"logLevel\":{level}}}")
}

fn lean(sources: &[&str]) -> String {
    let mut out = String::new();
    for source in sources {
        push_lean(&mut out, source);
    }
    out
}

/// The scripts as one, in a scope of their own.
fn main_script() -> String {
    format!("(()=>{{'use strict';\n{}}})();", lean(&SCRIPTS))
}

fn assemble(opening: &str, style: &str, theme: &str, script: &str) -> String {
    let mut frame = String::with_capacity(HTML.len());
    push_lean(&mut frame, HTML);
    frame
        .replace("<head>", opening)
        .replace("{{style}}", style)
        .replace("{{theme}}", theme)
        .replace("{{script}}", script)
}

fn policy(scripts: &[&str], style: &str) -> String {
    let source = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    let scripts: Vec<String> = scripts.iter().map(|script| source(script)).collect();
    format!(
        "default-src 'none'; script-src {}; style-src {}; img-src 'self'; connect-src 'self'; manifest-src 'self'; \
         base-uri 'self'; form-action 'none'; frame-ancestors 'self'",
        scripts.join(" "),
        source(style)
    )
}

fn compress(document: &str) -> Rc<[u8]> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let written = encoder.write_all(document.as_bytes());
    let packed = written.and_then(|()| encoder.finish());
    packed.expect("a vector takes whatever is written").into()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    /// What the page may weigh on its way, in bytes.
    const GZIP_BYTES_MAX: usize = 40_000;

    fn page(prefix: &str) -> (StatusDocument, String) {
        let document = StatusDocument::new(&Settings {
            prefix,
            status_path: "/status",
            log_level: 3,
            token: Some("secret"),
        });
        let text = String::from_utf8(document.plain().to_vec()).expect("UTF-8");
        (document, text)
    }

    /// The contents of all elements of that name, which have no attributes.
    fn contents<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let parts = text.split(&open).skip(1);
        parts
            .map(|part| part.split(&close).next().expect("one"))
            .collect()
    }

    #[test]
    fn compressed_page_is_the_page_and_small() {
        let (document, text) = page("");
        let mut unpacked = String::new();
        GzDecoder::new(&*document.gzip())
            .read_to_string(&mut unpacked)
            .expect("gzip");
        assert_eq!(unpacked, text);
        assert!(
            document.gzip().len() < GZIP_BYTES_MAX,
            "{}",
            document.gzip().len()
        );
    }

    #[test]
    fn head_begins_with_base_and_settings() {
        let (_, text) = page("/tv\"");
        let expected = "<head><base href=\"/tv&quot;/\"><script>window.__RTP2HTTPD_CONFIG__=\
                        {\"appPathPrefix\":\"/tv\\\"\",\"logLevel\":3}</script>";
        assert!(text.contains(expected), "{}", &text[..400]);
        assert!(page("").1.contains("<head><base href=\"/\"><script>"));
    }

    #[test]
    fn head_has_what_programs_look_for() {
        let (_, text) = page("");
        for expected in [
            "<title>rtp2httpd Status</title>",
            "<link rel=\"manifest\" href=\"./status.webmanifest\" crossorigin=\"use-credentials\">",
            "<link rel=\"icon\" type=\"image/png\" sizes=\"192x192\" href=\"./assets/icon-192.png\">",
            "<link rel=\"apple-touch-icon\" sizes=\"192x192\" href=\"./assets/icon-192.png\">",
            "<meta name=\"apple-mobile-web-app-title\" content=\"R2H 面板\">",
        ] {
            assert!(text.contains(expected), "{expected}");
        }
    }

    #[test]
    fn policy_names_every_script_and_style_and_nothing_else() {
        let (document, text) = page("/tv");
        let scripts = contents(&text, "script");
        assert_eq!(scripts.len(), 3);
        let styles = contents(&text, "style");
        assert_eq!(styles.len(), 1);
        for source in scripts.iter().chain(&styles) {
            let hash = format!("'sha256-{}'", STANDARD.encode(Sha256::digest(source)));
            assert!(document.policy().contains(&hash), "{hash}");
        }
        assert_eq!(document.policy().matches("sha256-").count(), 4);
        assert!(!document.policy().contains("unsafe"));
        assert!(document.policy().is_ascii());
    }

    #[test]
    fn page_holds_neither_markers_nor_secrets_nor_other_origins() {
        let (_, text) = page("/tv");
        assert!(!text.contains("{{"));
        assert!(!text.contains("secret"));
        let outside = text
            .split("http")
            .filter(|rest| rest.starts_with("://") || rest.starts_with("s://"));
        let outside: Vec<&str> = outside.map(|rest| &rest[..rest.len().min(40)]).collect();
        // The name of the SVG elements, which is not fetched.
        assert!(
            outside
                .iter()
                .all(|rest| rest.starts_with("://www.w3.org/2000/svg")),
            "{outside:?}"
        );
    }

    #[test]
    fn data_never_becomes_markup() {
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
        ] {
            let found = SCRIPTS.iter().any(|script| script.contains(word));
            assert!(!found, "{word}");
        }
        // Handlers and styles in attributes would need a weaker policy.
        for attribute in [" style=", " onclick=", " onload=", "javascript:"] {
            assert!(!HTML.contains(attribute), "{attribute}");
        }
    }
}
