//! The authority in a request target, as clients write it that escape more than they have to.
//!
//! For a client `/http/[::1]:80/x` is a path like any other. Some escape the brackets in it (`/http/%5B::1%5D:80/x`),
//! some every delimiter (`/http/user%3Apassword%40%5B%3A%3A1%5D%3A80/x`). No host has such characters, so there is
//! only one way to read them. What follows the authority is the upstream's and is not looked at.

use std::borrow::Cow;

/// The routes whose next segment is an authority. That of a group is [decoded as a whole](super::url::parse_multicast).
const ROUTES: [&str; 4] = ["/http/", "/https/", "/rtsp/", "/rtsps/"];

/// `target`, a request target below the prefix of all paths, with the delimiters of its authority unescaped: `:`, `[`
/// and `]` of host and port, and `@` and `:` of user and password where the client has escaped the `@` too.
pub fn unescape(target: &str) -> Cow<'_, str> {
    unescaped(target).map_or(Cow::Borrowed(target), Cow::Owned)
}

/// `None` if there is nothing to do.
fn unescaped(target: &str) -> Option<String> {
    let rest = ROUTES.iter().find_map(|route| target.strip_prefix(route))?;
    let route = target.strip_suffix(rest)?;
    let authority = rest.split(['/', '?', '#']).next()?;
    if !authority.contains('%') {
        return None;
    }
    let behind = rest.strip_prefix(authority)?;
    let host = |text: &str| {
        [
            ("%3A", "%3a", ":"),
            ("%5B", "%5b", "["),
            ("%5D", "%5d", "]"),
        ]
        .iter()
        .fold(text.to_owned(), |text, (upper, lower, plain)| {
            text.replace(upper, plain).replace(lower, plain)
        })
    };
    let authority = if let Some((user_info, endpoint)) = authority.rsplit_once('@') {
        format!("{user_info}@{}", host(endpoint))
    } else if let Some((user_info, endpoint)) = authority.rsplit_once("%40") {
        let user_info = if user_info.contains(':') {
            user_info.to_owned()
        } else {
            // The first one ends the user's name; further ones are the password's and are decoded with it.
            user_info.replacen("%3a", "%3A", 1).replacen("%3A", ":", 1)
        };
        format!("{user_info}@{}", host(endpoint))
    } else {
        host(authority)
    };
    Some([route, &authority, behind].concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::origin::HttpUrl;

    #[test]
    fn escaped_delimiters_read_like_plain_ones() {
        for (written, meant) in [
            // requests, urllib3, aiohttp
            ("/http/%5B::1%5D:80/a", "/http/[::1]:80/a"),
            ("/https/u:p@%5b::1%5d/a", "/https/u:p@[::1]/a"),
            // wget2
            ("/http/h%3A81/a%3Ab", "/http/h:81/a%3Ab"),
            ("/http/u%3Ap%40%5B%3A%3A1%5D%3a80", "/http/u:p@[::1]:80"),
            // A password and a user's name may have such characters themselves.
            ("/http/u%3Ap%3Aq%40r%40h/", "/http/u:p%3Aq%40r@h/"),
            ("/rtsp/u%3Av:p%3Aw@h%3A554/", "/rtsp/u%3Av:p%3Aw@h:554/"),
            ("/rtsps/u:p%3Aw%40h?a=%40", "/rtsps/u:p%3Aw@h?a=%40"),
            ("/http/%5Bfe80::1%25eth0%5D/", "/http/[fe80::1%25eth0]/"),
        ] {
            assert_eq!(unescape(written), meant);
        }
    }

    #[test]
    fn everything_else_is_left_alone() {
        for target in [
            "/http/h:80/%5B%3A%40",
            "/http/h?%3A",
            "/http/",
            "/rtp/239.0.0.1%3A5000",
            "/News%3A",
            "/HTTP/h%3A80/",
            "",
        ] {
            assert!(matches!(unescape(target), Cow::Borrowed(same) if same == target));
        }
        assert_eq!(unescape("/http/h%2Fx%zz"), "/http/h%2Fx%zz");
    }

    proptest! {
        #[test]
        fn escaping_every_delimiter_changes_no_meaning(
            user in "([a-z]{1,3}:[a-z:@%2-5]{0,4}@)?",
            host in "([a-z.]{1,5}|\\[[0-9a-f:]{2,8}\\])",
            port in "(:[0-9]{1,4})?",
            rest in "(/[a-z%:@\\[\\]]{0,6})?",
        ) {
            let authority = format!("{user}{host}{port}");
            let escaped = authority
                .replace('%', "%25")
                .replace(':', "%3A")
                .replace('[', "%5B")
                .replace(']', "%5D")
                .replace('@', "%40");
            // As a careful client writes it: only what means something else has to be escaped.
            let user = user.strip_suffix('@').map(|user| {
                let (name, password) = user.split_once(':').expect("a colon");
                format!("{name}:{}@", password.replace('%', "%25").replace('@', "%40"))
            });
            let plain = format!("/http/{}{host}{port}{rest}", user.unwrap_or_default());
            let read = |target: &str| HttpUrl::from_proxy_target(target).expect("the route");
            prop_assert_eq!(read(&unescape(&format!("/http/{escaped}{rest}"))), read(&plain));
        }
    }
}
