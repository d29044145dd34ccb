//! The pages and what belongs to them: each one self-contained document, its manifest, icons, and the library that the
//! player takes streams apart with (server spec §8).
//!
//! Owns the sources in `page/` and `player/` and how they become what is sent. It neither knows requests nor decides
//! who may see anything. Pure: settings in, bytes out.
//!
//! There is no build step. A document is put together and compressed when it is first asked for, and of it only the
//! compressed form is kept: until then it costs nothing, afterwards about 30 KiB, while a browser that asks again is
//! told that it has it. A document compressed while building would need a build script, and could not hold the
//! settings that stand in it. The library is kept as it came, compressed by hand, in `library/`.

mod asset;
mod document;
mod manifest;
mod refusal;
mod sources;
mod text;

use std::rc::Rc;

pub use asset::{Asset, AssetBody, asset, unpack};
pub use document::Document;
pub use refusal::{refusal, refusal_policy};

/// What the pages are told of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings<'a> {
    /// `app-path-prefix`: empty, or `/` and more without a `/` at the end.
    pub prefix: &'a str,
    /// `status-page-path`: begins with `/`.
    pub status_path: &'a str,
    /// `player-page-path`: begins with `/`.
    pub player_path: &'a str,
    /// The configured verbosity, as its number.
    pub log_level: u8,
    /// The access token as it stands in URLs, if one is needed.
    pub token: Option<&'a str>,
}

/// The documents made so far.
#[derive(Debug, Default)]
pub struct Pages {
    status: Option<Rc<Document>>,
    player: Option<Rc<Document>>,
}

impl Pages {
    /// The status page for these settings, made anew when they have changed.
    pub fn status(&mut self, settings: &Settings<'_>) -> Rc<Document> {
        kept(&mut self.status, &sources::STATUS, settings)
    }

    /// The player page, likewise.
    pub fn player(&mut self, settings: &Settings<'_>) -> Rc<Document> {
        kept(&mut self.player, &sources::PLAYER, settings)
    }
}

fn kept(
    place: &mut Option<Rc<Document>>,
    sources: &'static document::Sources,
    settings: &Settings<'_>,
) -> Rc<Document> {
    let known = place.take().filter(|page| page.is_for(settings));
    let page = known.unwrap_or_else(|| Rc::new(Document::new(sources, settings)));
    *place = Some(Rc::clone(&page));
    page
}

/// The web app manifest of the status page (server spec §8.3); its content type is [`MANIFEST_TYPE`].
pub fn status_manifest(settings: &Settings<'_>) -> String {
    manifest::status(settings)
}

/// The web app manifest of the player page.
pub fn player_manifest(settings: &Settings<'_>) -> String {
    manifest::player(settings)
}

/// Content type of manifests.
pub const MANIFEST_TYPE: &str = "application/manifest+json; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings<'static> = Settings {
        prefix: "",
        status_path: "/status",
        player_path: "/player",
        log_level: 1,
        token: None,
    };

    #[test]
    fn pages_are_kept_until_the_settings_change() {
        for page in [Pages::status, Pages::player] {
            let mut pages = Pages::default();
            let first = page(&mut pages, &SETTINGS);
            assert!(Rc::ptr_eq(&first, &page(&mut pages, &SETTINGS)));
            let moved = Settings {
                prefix: "/tv",
                ..SETTINGS
            };
            let moved = page(&mut pages, &moved);
            assert!(!Rc::ptr_eq(&first, &moved));
            assert_ne!(first.validator(), moved.validator());
            let verbose = Settings {
                log_level: 4,
                ..SETTINGS
            };
            let verbose = page(&mut pages, &verbose);
            assert_ne!(first.validator(), verbose.validator());
        }
    }
}
