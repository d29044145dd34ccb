//! Where a list or a programme guide is fetched from.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::proto::origin::HttpUrl;
use crate::proto::url;

/// `http://`, `https://` or `file://` and an absolute path.
#[derive(Clone, PartialEq, Eq)]
pub enum DocumentAddress {
    /// A resource of a server; the text as it was given, which has been checked.
    Remote(String),
    /// A file of this host. The path is literal: nothing in it is decoded (http-proxy spec §19).
    File(PathBuf),
}

impl DocumentAddress {
    /// Reads an address, its scheme in either case.
    ///
    /// # Errors
    ///
    /// Why it is none, as a text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        if scheme.eq_ignore_ascii_case("file") {
            let is_path = rest.starts_with('/') && !rest.contains(char::is_control);
            return match is_path {
                true => Ok(Self::File(Path::new(rest).to_owned())),
                false => Err("a file is given as file:// and an absolute path".to_owned()),
            };
        }
        match HttpUrl::parse(text) {
            Ok(_) => Ok(Self::Remote(text.to_owned())),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// As it was given, with secrets.
impl fmt::Display for DocumentAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remote(url) => f.write_str(url),
            Self::File(path) => write!(f, "file://{}", path.display()),
        }
    }
}

/// Without secrets, for logs: the query of such a URL is often a password.
impl fmt::Debug for DocumentAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remote(url) => {
                let (front, query) = url.split_once('?').unwrap_or((url, ""));
                let hidden = if query.is_empty() { "" } else { "?***" };
                write!(f, "{}{hidden}", url::redact(front))
            }
            Self::File(path) => write!(f, "file://{}", path.to_string_lossy().escape_debug()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_urls_or_absolute_paths() {
        for text in [
            "http://h/a?b=c",
            "http://u:p@h/a",
            "https://[::1]:81/x.m3u",
            "file:///a b%20c.m3u",
        ] {
            let address = DocumentAddress::parse(text).expect(text);
            assert_eq!(address.to_string(), text);
        }
        for text in [
            "",
            "a.m3u",
            "/a.m3u",
            "file://a.m3u",
            "file://",
            "ftp://h/a",
            "http://",
            "http://u%3A:p@h/",
        ] {
            assert!(DocumentAddress::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn queries_are_not_shown() {
        let address = DocumentAddress::parse("http://h/a?user=me&password=s3cret").expect("a URL");
        assert_eq!(format!("{address:?}"), "http://h/a?***");
    }
}
