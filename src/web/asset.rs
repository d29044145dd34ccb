//! Files that belong to pages and are served below `assets/` (server spec §8.2).

use std::rc::Rc;

use flate2::read::GzDecoder;

use super::text;

/// A body that is part of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asset {
    /// What the browser is told it is.
    pub content_type: &'static str,
    /// The bytes as they are kept.
    pub body: AssetBody,
    /// Whether the name tells of the content, which then never changes under it.
    pub is_immutable: bool,
}

/// How an asset is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssetBody {
    /// In a format that is compressed already.
    Plain(&'static [u8]),
    /// In the gzip format (RFC 1952).
    Gzip(&'static [u8]),
}

impl Asset {
    /// SHA-256 of the kept bytes in hexadecimal, for conditional requests.
    pub fn validator(&self) -> String {
        let (AssetBody::Plain(bytes) | AssetBody::Gzip(bytes)) = self.body;
        text::sha256_hex(bytes)
    }
}

/// Unpacks what is part of the program, for a client that cannot.
///
/// # Panics
///
/// If `gzip` is not in the gzip format; a test reads every asset.
pub fn unpack(gzip: &'static [u8]) -> Rc<[u8]> {
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut GzDecoder::new(gzip), &mut plain)
        .expect("assets are in the gzip format");
    plain.into()
}

/// The asset of a name below `assets/`, if there is one.
pub fn asset(name: &str) -> Option<Asset> {
    let icon = |bytes| Asset {
        content_type: "image/png",
        body: AssetBody::Plain(bytes),
        is_immutable: false,
    };
    Some(match name {
        "icon-192.png" => icon(include_bytes!("page/icon-192.png")),
        "icon-512.png" => icon(include_bytes!("page/icon-512.png")),
        // mpegts.js 1.8.2 (Apache-2.0) as its authors packed it. The name ends in the beginning of the SHA-256 of the
        // file, so that browsers need not ask again; the player page knows it.
        "mpegts-bda31748736a.js" => Asset {
            content_type: "application/javascript; charset=utf-8",
            body: AssetBody::Gzip(include_bytes!("library/mpegts-1.8.2.js.gz")),
            is_immutable: true,
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::sources::PLAYER;
    use super::*;

    #[test]
    fn icons_have_the_size_in_their_name() {
        for (name, size) in [("icon-192.png", 192), ("icon-512.png", 512)] {
            let icon = asset(name).expect("an icon");
            assert_eq!((icon.content_type, icon.is_immutable), ("image/png", false));
            let AssetBody::Plain(bytes) = icon.body else {
                panic!("{name} is compressed twice")
            };
            // The signature, then the header chunk with width and height (RFC 2083 §4.1.1).
            assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
            let edge = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four"));
            assert_eq!((edge(16), edge(20)), (size, size));
        }
        assert_eq!(asset("icon-256.png"), None);
        assert_eq!(asset("../status.html"), None);
    }

    #[test]
    fn library_has_its_hash_in_the_name_that_the_player_asks_for() {
        let prefix = "assets/mpegts-";
        let asked = PLAYER.scripts.iter().find_map(|script| {
            let (_, rest) = script.split_once(prefix)?;
            rest.split_once(".js").map(|(hash, _)| hash)
        });
        let hash = asked.expect("the player asks for the library");
        let library = asset(&format!("mpegts-{hash}.js")).expect("the library");
        let AssetBody::Gzip(gzip) = library.body else {
            panic!("the library is not compressed")
        };
        let plain = unpack(gzip);
        assert!(text::sha256_hex(&plain).starts_with(hash));
        assert!(library.is_immutable && hash.len() >= 6);
        // Its licences are told of in the file itself, and lie beside it.
        assert!(plain.starts_with(b"/*! For license information please see"));
    }
}
