//! The status page and what belongs to it: one self-contained document, its icons and its manifest (server spec §8).
//!
//! Owns the sources in `page/` and how they become what is sent. It neither knows requests nor decides who may see
//! anything. Pure: settings in, bytes out.
//!
//! There is no build step. The document is put together and compressed when it is first asked for, and of it only
//! the compressed form is kept: until then it costs nothing, afterwards about 30 KiB, while a browser that asks
//! again is told that it has it. A document compressed while building would need a build script, and could not
//! hold the settings that stand in it.

mod document;
mod manifest;
mod text;

use std::rc::Rc;

pub use document::StatusDocument;

/// A body that is part of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asset {
    /// What the browser is told it is.
    pub content_type: &'static str,
    /// The bytes, in a format that is compressed already.
    pub body: &'static [u8],
}

impl Asset {
    /// SHA-256 of the body in hexadecimal, for conditional requests (server spec §8.2).
    pub fn validator(&self) -> String {
        text::sha256_hex(self.body)
    }
}

/// The asset of a name below `assets/`, if there is one (server spec §8.2).
pub fn asset(name: &str) -> Option<Asset> {
    let body: &'static [u8] = match name {
        "icon-192.png" => include_bytes!("page/icon-192.png"),
        "icon-512.png" => include_bytes!("page/icon-512.png"),
        _ => return None,
    };
    let content_type = "image/png";
    Some(Asset { content_type, body })
}

/// What the pages are told of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings<'a> {
    /// `app-path-prefix`: empty, or `/` and more without a `/` at the end.
    pub prefix: &'a str,
    /// `status-page-path`: begins with `/`.
    pub status_path: &'a str,
    /// The configured verbosity, as its number.
    pub log_level: u8,
    /// The access token as it stands in URLs, if one is needed.
    pub token: Option<&'a str>,
}

/// The documents made so far.
#[derive(Debug, Default)]
pub struct Pages {
    status: Option<Rc<StatusDocument>>,
}

impl Pages {
    /// The status page for these settings, made anew when they have changed.
    pub fn status(&mut self, settings: &Settings<'_>) -> Rc<StatusDocument> {
        let known = self.status.take().filter(|page| page.is_for(settings));
        let page = known.unwrap_or_else(|| Rc::new(StatusDocument::new(settings)));
        self.status = Some(Rc::clone(&page));
        page
    }
}

/// The web app manifest of the status page (server spec §8.3); its content type is [`MANIFEST_TYPE`].
pub fn status_manifest(settings: &Settings<'_>) -> String {
    manifest::status(settings)
}

/// Content type of manifests.
pub const MANIFEST_TYPE: &str = "application/manifest+json; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings<'static> = Settings {
        prefix: "",
        status_path: "/status",
        log_level: 1,
        token: None,
    };

    #[test]
    fn icons_have_the_size_in_their_name() {
        for (name, size) in [("icon-192.png", 192), ("icon-512.png", 512)] {
            let icon = asset(name).expect("an icon");
            assert_eq!(icon.content_type, "image/png");
            // The signature, then the header chunk with width and height (RFC 2083 §4.1.1).
            assert_eq!(&icon.body[..8], b"\x89PNG\r\n\x1a\n");
            let edge =
                |at: usize| u32::from_be_bytes(icon.body[at..at + 4].try_into().expect("four"));
            assert_eq!((edge(16), edge(20)), (size, size));
        }
        assert_eq!(asset("icon-256.png"), None);
        assert_eq!(asset("../status.html"), None);
    }

    #[test]
    fn page_is_kept_until_the_settings_change() {
        let mut pages = Pages::default();
        let first = pages.status(&SETTINGS);
        assert!(Rc::ptr_eq(&first, &pages.status(&SETTINGS)));
        let moved = pages.status(&Settings {
            prefix: "/tv",
            ..SETTINGS
        });
        assert!(!Rc::ptr_eq(&first, &moved));
        assert_ne!(first.validator(), moved.validator());
        let verbose = pages.status(&Settings {
            log_level: 4,
            ..SETTINGS
        });
        assert_ne!(first.validator(), verbose.validator());
    }
}
