//! Users and passwords in the URLs of services: where else they are to be shown.
//!
//! A service may be a playlist whose links lead back through this server. They do not have the operator's password, so
//! whoever follows them comes without. The server adds it for what lies in the folder of the service or below, which is
//! where a browser would send it without being asked (RFC 7617 §2.2).

use std::collections::HashMap;

use super::source::{Scheme, Source};
use crate::proto::origin::HttpUrl;
use crate::proto::url;
use crate::proto::user_info::UserInfo;

/// How many folders deep a resource may lie below that of a service, so that a long path costs no more.
const DEPTH_MAX: usize = 16;

/// By the URL of a folder, `/` at the end, who may see what is in it. No more than there are services.
#[derive(Clone, Debug, Default)]
pub(super) struct Users(HashMap<String, UserInfo>);

impl Users {
    /// Looks at the source of a service. Where several have the same folder, the first one's user counts.
    pub(super) fn note(&mut self, source: &Source) {
        if !matches!(source.scheme, Scheme::Http | Scheme::Https) || !source.rest.contains('@') {
            return;
        }
        let Ok(url) = HttpUrl::parse(&source.url()) else {
            return;
        };
        if let Some(user_info) = url.user_info() {
            let folder = address(&url);
            let folder = folder_of(&folder).to_owned();
            self.0.entry(folder).or_insert_with(|| user_info.clone());
        }
    }

    /// Who has to ask for `url`.
    pub(super) fn find(&self, url: &HttpUrl) -> Option<&UserInfo> {
        if self.0.is_empty() || climbs(url.path()) {
            return None;
        }
        let address = address(url);
        let mut folder = folder_of(&address);
        for _ in 0..=DEPTH_MAX {
            if let Some(found) = self.0.get(folder) {
                return Some(found);
            }
            folder = folder_of(folder.strip_suffix('/')?);
        }
        None
    }
}

/// The URL without user and query.
fn address(url: &HttpUrl) -> String {
    [url.origin().url(), url.path()].concat()
}

/// What precedes the last part of an address, `/` included.
fn folder_of(address: &str) -> &str {
    let front_bytes = address.rfind('/').map_or(0, |at| at + 1);
    address.get(..front_bytes).unwrap_or_default()
}

/// Whether a server might take the path for one that leads out of its folder again.
fn climbs(path: &str) -> bool {
    let Ok(path) = url::percent_decode(path) else {
        return true;
    };
    path.split(['/', '\\']).any(|segment| segment == "..")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playlist::source::Usability;

    fn users(urls: &[&str]) -> Users {
        let mut users = Users::default();
        for text in urls {
            match Source::read(text, "") {
                Usability::Usable(source) => users.note(&source),
                other => panic!("{text}: {other:?}"),
            }
        }
        users
    }

    fn found(users: &Users, url: &str) -> Option<String> {
        let url = HttpUrl::parse(url).expect("a URL");
        Some(users.find(&url)?.written().to_owned())
    }

    #[test]
    fn what_lies_below_a_service_is_asked_for_by_its_user() {
        let users = users(&[
            "http://u:p@h:81/live/a/i.m3u8?x=/y",
            "http://v:q@h:81/live/a/j.m3u8",
            "http://w:r@h:81/live/a/b/c/k.m3u8",
            "http://i/open/i.m3u8",
        ]);
        for (url, expected) in [
            ("http://h:81/live/a/s.ts", Some("u:p")),
            ("http://h:81/live/a/", Some("u:p")),
            ("http://h:81/live/a/b/s.ts?z", Some("u:p")),
            ("http://h:81/live/a/b/c/s.ts", Some("w:r")),
            ("http://h:81/live/a", None),
            ("http://h:81/live/ab/s.ts", None),
            ("http://h:81/", None),
            ("http://h/live/a/s.ts", None),
            ("https://h:81/live/a/s.ts", None),
            ("http://i/open/s.ts", None),
        ] {
            assert_eq!(found(&users, url).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn paths_that_climb_out_of_a_folder_are_nobodys() {
        let users = users(&["http://u:p@h/live/i.m3u8"]);
        for path in [
            "live/../x",
            "live/..",
            "live/%2e%2E/x",
            "live/..%2fx",
            "live/..%5Cx",
            "live/..\\x",
            "live/%zz",
        ] {
            assert_eq!(found(&users, &format!("http://h/{path}")), None, "{path}");
        }
        assert!(found(&users, "http://h/live/..x").is_some());
    }

    #[test]
    fn endless_paths_are_not_followed_up() {
        let users = users(&["http://u:p@h/i.m3u8"]);
        let deep = |depth: usize| format!("http://h/{}s.ts", "a/".repeat(depth));
        assert!(found(&users, &deep(DEPTH_MAX)).is_some());
        assert_eq!(found(&users, &deep(DEPTH_MAX + 1)), None);
    }
}
