//! Which of our own pages a path names, and what is sent for it (server spec §7 rows 5 and 7 to 9, §8.1 to §8.3).
//!
//! What the pages hold is the business of [`web`]; who may see them, of [`access`](super::access).

use super::resource::{Cache, LocalBody, Resource};
use crate::config::Config;
use crate::web::{self, Asset, AssetBody, Document, Pages, Settings};

/// A page or something that belongs to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// The status page.
    Status,
    /// The manifest of the status page.
    StatusManifest,
    /// The player page.
    Player,
    /// The manifest of the player page.
    PlayerManifest,
    /// A file that belongs to a page.
    Asset(Asset),
}

/// The page of a path, which has neither prefix nor query. One `/` at the end does not count.
pub fn find(path: &str, config: &Config) -> Option<Page> {
    let path = path.strip_suffix('/').unwrap_or(path);
    if let Some(name) = path.strip_prefix("/assets/") {
        return web::asset(name).map(Page::Asset);
    }
    match path {
        "/status.webmanifest" => return Some(Page::StatusManifest),
        "/player.webmanifest" => return Some(Page::PlayerManifest),
        _ => {}
    }
    // Either page may be at `/`; where both are, the status page is.
    let is_at = |page: &str| path == page.trim_end_matches('/');
    if is_at(&config.status_page_path) {
        return Some(Page::Status);
    }
    is_at(&config.player_page_path).then_some(Page::Player)
}

impl Page {
    /// What is sent for it. `pages` keeps what is dear to make.
    pub fn resource(self, pages: &mut Pages, config: &Config) -> Resource {
        let token = config.r2h_token.as_ref().map(|token| token.encoded());
        let settings = Settings {
            prefix: &config.app_path_prefix,
            status_path: &config.status_page_path,
            player_path: &config.player_page_path,
            log_level: config.verbosity as u8,
            token: token.as_deref(),
        };
        match self {
            Self::Status => page(&pages.status(&settings)),
            Self::StatusManifest => manifest(web::status_manifest(&settings)),
            Self::Player => page(&pages.player(&settings)),
            Self::PlayerManifest => manifest(web::player_manifest(&settings)),
            Self::Asset(asset) => file(&asset),
        }
    }
}

fn manifest(text: String) -> Resource {
    let body = LocalBody::Shared(text.into_bytes().into());
    Resource::new(web::MANIFEST_TYPE, body)
}

fn file(asset: &Asset) -> Resource {
    let resource = match asset.body {
        AssetBody::Plain(body) => Resource::new(asset.content_type, LocalBody::Static(body)),
        AssetBody::Gzip(body) => Resource::packed(asset.content_type, body),
    }
    .with("X-Content-Type-Options", "nosniff");
    match asset.is_immutable {
        true => resource.with_cache(Cache::Immutable),
        false => resource.with_validator(asset.validator()),
    }
}

fn page(document: &Document) -> Resource {
    let plain = LocalBody::Shared(document.plain());
    Resource::new(Document::CONTENT_TYPE, plain)
        .with_gzip(LocalBody::Shared(document.gzip()))
        .with_validator(document.validator())
        .with("Content-Security-Policy", document.policy())
        .with("X-Content-Type-Options", "nosniff")
        // The page may have been opened with the token in its URL.
        .with("Referrer-Policy", "no-referrer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Request;
    use crate::proto::http::{Framing, Method};

    fn request(headers: &[(&str, &str)]) -> Request {
        Request {
            method: Method::Get,
            method_name: "GET".to_owned(),
            target: "/status".to_owned(),
            minor_version: 1,
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
                .collect(),
            framing: Framing::Empty,
        }
    }

    fn answer(page: Page, config: &Config, headers: &[(&str, &str)]) -> (String, Vec<u8>) {
        let resource = page.resource(&mut Pages::default(), config);
        let reply = resource.reply(&request(headers), config, false);
        let body = reply.body.map(|body| body.to_vec()).unwrap_or_default();
        (String::from_utf8(reply.head).expect("ASCII"), body)
    }

    #[test]
    fn paths_name_pages_with_at_most_one_slash_behind() {
        let config = Config::default();
        assert_eq!(find("/status", &config), Some(Page::Status));
        assert_eq!(find("/status/", &config), Some(Page::Status));
        assert_eq!(find("/player/", &config), Some(Page::Player));
        for path in [
            "/status//",
            "/Status",
            "/status.html",
            "/player.html",
            "/player/x",
            "/",
            "",
            "/status/x",
        ] {
            assert_eq!(find(path, &config), None, "{path}");
        }
        let manifest = find("/status.webmanifest", &config);
        assert_eq!(manifest, Some(Page::StatusManifest));
        let manifest = find("/player.webmanifest/", &config);
        assert_eq!(manifest, Some(Page::PlayerManifest));
        let icon = find("/assets/icon-192.png", &config);
        assert!(matches!(icon, Some(Page::Asset(_))));
        assert_eq!(find("/assets/", &config), None);
        assert_eq!(find("/assets/../status", &config), None);
    }

    #[test]
    fn status_page_may_be_at_the_root() {
        let config = Config {
            status_page_path: "/".to_owned(),
            ..Config::default()
        };
        assert_eq!(find("/", &config), Some(Page::Status));
        assert_eq!(find("/status", &config), None);
    }

    #[test]
    fn player_page_may_be_at_the_root_unless_the_status_page_is() {
        let at = |status: &str, player: &str| Config {
            status_page_path: status.to_owned(),
            player_page_path: player.to_owned(),
            ..Config::default()
        };
        let config = at("/status", "/");
        assert_eq!(find("/", &config), Some(Page::Player));
        assert_eq!(find("/player", &config), None);
        for path in ["/", "/x"] {
            assert_eq!(find(path, &at(path, path)), Some(Page::Status));
        }
    }

    #[test]
    fn page_goes_out_compressed_with_its_policy() {
        let config = Config::default();
        let (head, body) = answer(Page::Status, &config, &[("Accept-Encoding", "gzip")]);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"));
        assert!(head.contains("\r\nCache-Control: no-cache\r\nContent-Encoding: gzip\r\n"));
        assert!(
            head.contains("\r\nContent-Security-Policy: default-src 'none'; script-src 'sha256-")
        );
        assert!(head.contains("\r\nReferrer-Policy: no-referrer\r\n"));
        assert_eq!(body[..2], [0x1f, 0x8b]);
        let (_, plain) = answer(Page::Status, &config, &[]);
        assert!(plain.starts_with(b"<!doctype html>\n"));
    }

    #[test]
    fn browser_that_has_the_page_is_told_so() {
        let config = Config::default();
        let gzip = ("Accept-Encoding", "gzip");
        let (head, _) = answer(Page::Status, &config, &[gzip]);
        let tag = head.lines().find_map(|line| line.strip_prefix("ETag: "));
        let known = ("If-None-Match", tag.expect("a tag"));
        let (head, body) = answer(Page::Status, &config, &[gzip, known]);
        assert!(head.starts_with("HTTP/1.1 304 "), "{head}");
        assert!(body.is_empty());
    }

    #[test]
    fn icons_are_told_apart_by_their_content() {
        let tag = |path| {
            let page = find(path, &Config::default()).expect("an icon");
            let (head, _) = answer(page, &Config::default(), &[]);
            assert!(head.contains("\r\nContent-Type: image/png\r\n"), "{head}");
            let tag = head.lines().find_map(|line| line.strip_prefix("ETag: \""));
            tag.expect("a tag").to_owned()
        };
        let (small, large) = (tag("/assets/icon-192.png"), tag("/assets/icon-512.png"));
        assert_eq!(small.len(), 65);
        assert_ne!(small, large);
    }

    #[test]
    fn library_is_kept_for_good_by_browsers() {
        let config = Config::default();
        let library = find("/assets/mpegts-bda31748736a.js", &config).expect("the library");
        let (head, body) = answer(library, &config, &[("Accept-Encoding", "gzip")]);
        for expected in [
            "Content-Type: application/javascript; charset=utf-8",
            "Cache-Control: public, max-age=31536000, immutable",
            "Content-Encoding: gzip",
            "X-Content-Type-Options: nosniff",
        ] {
            assert!(head.contains(&format!("\r\n{expected}\r\n")), "{head}");
        }
        assert!(!head.contains("ETag"), "{head}");
        assert_eq!(body[..2], [0x1f, 0x8b]);
    }

    #[test]
    fn only_the_manifest_holds_the_token() {
        let config = Config {
            r2h_token: crate::config::Token::parse("a b").ok(),
            app_path_prefix: "/tv".to_owned(),
            ..Config::default()
        };
        let (head, manifest) = answer(Page::StatusManifest, &config, &[]);
        assert!(head.contains("Content-Type: application/manifest+json; charset=utf-8\r\n"));
        let manifest = String::from_utf8(manifest).expect("UTF-8");
        assert!(
            manifest.contains("\"start_url\":\"/tv/status?r2h-token=a%20b\""),
            "{manifest}"
        );
        let (_, page) = answer(Page::Status, &config, &[]);
        let page = String::from_utf8(page).expect("UTF-8");
        assert!(!page.contains("a%20b") && !page.contains("a b\""));
        let (_, manifest) = answer(Page::PlayerManifest, &config, &[]);
        let manifest = String::from_utf8(manifest).expect("UTF-8");
        let start = "\"start_url\":\"/tv/player?r2h-token=a%20b\"";
        assert!(manifest.contains(start), "{manifest}");
        let (_, page) = answer(Page::Player, &config, &[]);
        let page = String::from_utf8(page).expect("UTF-8");
        assert!(!page.contains("a%20b") && !page.contains("a b\""));
    }
}
