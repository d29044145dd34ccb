//! A page as one document: sources, settings, and the policy that lets nothing else run in it.

use std::io::Write;
use std::rc::Rc;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::Settings;
use super::text::{attribute, hash_source, json_string, push_lean, sha256_hex};

/// What a page is put together from.
#[derive(Debug)]
pub(super) struct Sources {
    /// The frame, with `{{style}}`, `{{early}}` and `{{script}}` where the others go.
    pub(super) html: &'static str,
    /// The style sheet.
    pub(super) style: &'static str,
    /// What runs before anything is shown.
    pub(super) early: &'static [&'static str],
    /// What runs at the end, in the order in which the files build on one another.
    pub(super) scripts: &'static [&'static str],
    /// Where scripts may come from besides those of the page: added to the policy's `script-src`.
    pub(super) script_sources: &'static str,
    /// What the page may ask for: the rest of its policy.
    pub(super) policy: &'static str,
}

/// A page (server spec §8.1) for some settings.
#[derive(Debug)]
pub struct Document {
    sources: &'static Sources,
    opening: String,
    gzip: Rc<[u8]>,
    validator: String,
    policy: String,
}

impl Document {
    /// Content type of the page.
    pub const CONTENT_TYPE: &'static str = "text/html; charset=utf-8";

    pub(super) fn new(sources: &'static Sources, settings: &Settings<'_>) -> Self {
        let config = config_script(settings);
        let opening = opening(settings.prefix, &config);
        let parts = Parts::of(sources);
        let policy = policy(sources, &parts, &config);
        let document = parts.assemble(sources.html, &opening);
        let validator = sha256_hex(document.as_bytes());
        Self {
            sources,
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
        let document = Parts::of(self.sources).assemble(self.sources.html, &self.opening);
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

/// The sources of a page as they stand in it.
struct Parts {
    style: String,
    early: String,
    script: String,
}

impl Parts {
    fn of(sources: &Sources) -> Self {
        Self {
            style: lean(&[sources.style]),
            early: lean(sources.early),
            // All of them as one, in a scope of their own.
            script: format!("(()=>{{'use strict';\n{}}})();", lean(sources.scripts)),
        }
    }

    fn assemble(&self, html: &str, opening: &str) -> String {
        let mut frame = String::with_capacity(html.len());
        push_lean(&mut frame, html);
        frame
            .replace("<head>", opening)
            .replace("{{style}}", &self.style)
            .replace("{{early}}", &self.early)
            .replace("{{script}}", &self.script)
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

fn policy(sources: &Sources, parts: &Parts, config: &str) -> String {
    let scripts = [config, &parts.early, &parts.script].map(hash_source);
    let scripts = scripts.join(" ");
    let style = hash_source(&parts.style);
    let (more, rest) = (sources.script_sources, sources.policy);
    format!(
        "default-src 'none'; script-src {scripts}{more}; style-src {style}; {rest}; manifest-src 'self'; \
         base-uri 'self'; form-action 'none'; frame-ancestors 'self'"
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

    use super::super::sources::{PLAYER, STATUS};
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use sha2::{Digest, Sha256};

    use super::*;

    /// Both pages, and what they may weigh on their way, in bytes.
    const PAGES: [(&Sources, usize); 2] = [(&STATUS, 40_000), (&PLAYER, 50_000)];

    fn page(sources: &'static Sources, prefix: &str) -> (Document, String) {
        let settings = Settings {
            prefix,
            status_path: "/status",
            player_path: "/player",
            log_level: 3,
            token: Some("secret"),
        };
        let document = Document::new(sources, &settings);
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
    fn compressed_pages_are_the_pages_and_small() {
        for (sources, bytes_max) in PAGES {
            let (document, text) = page(sources, "");
            let gzip = document.gzip();
            let mut unpacked = String::new();
            GzDecoder::new(&*gzip)
                .read_to_string(&mut unpacked)
                .expect("gzip");
            assert_eq!(unpacked, text);
            assert!(gzip.len() < bytes_max, "{}", gzip.len());
        }
    }

    #[test]
    fn head_begins_with_base_and_settings() {
        for (sources, _) in PAGES {
            let (_, text) = page(sources, "/tv\"");
            let expected = "<head><base href=\"/tv&quot;/\"><script>window.__RTP2HTTPD_CONFIG__=\
                            {\"appPathPrefix\":\"/tv\\\"\",\"logLevel\":3}</script>";
            assert!(text.contains(expected), "{}", &text[..400]);
            let (_, text) = page(sources, "");
            assert!(text.contains("<head><base href=\"/\"><script>"));
        }
    }

    #[test]
    fn heads_have_what_programs_look_for() {
        for (sources, own) in [
            (
                &STATUS,
                [
                    "<title>rtp2httpd Status</title>",
                    "<link rel=\"manifest\" href=\"./status.webmanifest\" crossorigin=\"use-credentials\">",
                    "<meta name=\"apple-mobile-web-app-title\" content=\"R2H 面板\">",
                ],
            ),
            (
                &PLAYER,
                [
                    "<title>rtp2httpd Player</title>",
                    "<link rel=\"manifest\" href=\"./player.webmanifest\" crossorigin=\"use-credentials\">",
                    "<meta name=\"apple-mobile-web-app-title\" content=\"R2H 播放器\">",
                ],
            ),
        ] {
            let (_, text) = page(sources, "");
            let shared = [
                "<link rel=\"icon\" type=\"image/png\" sizes=\"192x192\" href=\"./assets/icon-192.png\">",
                "<link rel=\"apple-touch-icon\" sizes=\"192x192\" href=\"./assets/icon-192.png\">",
            ];
            for expected in own.iter().chain(&shared) {
                assert!(text.contains(expected), "{expected}");
            }
        }
    }

    #[test]
    fn policies_name_every_script_and_style_and_nothing_else() {
        for (sources, _) in PAGES {
            let (document, text) = page(sources, "/tv");
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
    }

    #[test]
    fn pages_hold_neither_markers_nor_secrets_nor_other_origins() {
        for (sources, _) in PAGES {
            let (_, text) = page(sources, "/tv");
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
    }

    #[test]
    fn data_never_becomes_markup() {
        for (sources, _) in PAGES {
            for word in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
            ] {
                let found = sources.scripts.iter().any(|script| script.contains(word));
                assert!(!found, "{word}");
            }
            // Handlers and styles in attributes would need a weaker policy.
            for attribute in [" style=", " onclick=", " onload=", "javascript:"] {
                assert!(!sources.html.contains(attribute), "{attribute}");
            }
        }
    }
}
