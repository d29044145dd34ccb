//! Cookies of upstreams on their way to the client (http-proxy spec, weakness 16; RFC 6265).
//!
//! Every upstream appears below one origin, this server's, so its cookies are confined to its own folder there.

use super::token::TOKEN_COOKIE;
use super::{Links, place};
use crate::proto::origin::HttpUrl;

impl Links {
    /// Rewrites the value of one `Set-Cookie` header of an answer to `request_url`.
    ///
    /// - `Domain` is removed: it names a host that is not this one, so a client would reject the cookie.
    /// - `Path` becomes `<app-path-prefix>/http/authority<path>`, or `/https/…`, and is the last attribute.
    ///   Without one the path is the folder of the request (RFC 6265 §5.1.4), written out because the client
    ///   may have asked for a named service, which lies elsewhere than its links.
    /// - Everything else stays byte for byte. `Secure` too: if this server is reached over plain `http`, a
    ///   browser ignores such a cookie, as its upstream wants it to. `__Host-` requires the path `/`, so a
    ///   browser ignores those; sent to all upstreams they would be worse.
    ///
    /// `None` if the cookie is to be dropped because a client would send it back as this server's access token.
    pub fn rewrite_set_cookie(&self, value: &[u8], request_url: &HttpUrl) -> Option<Vec<u8>> {
        let mut parts = value.split(|&byte| byte == b';');
        let pair = parts.next().unwrap_or_default();
        if poses_as_token(pair) {
            return None;
        }
        let mut rewritten = pair.to_vec();
        let mut path = None;
        for attribute in parts {
            let (name, value) = split_attribute(attribute);
            if name.eq_ignore_ascii_case(b"path") {
                // The last one counts (RFC 6265 §5.3).
                path = Some(value);
            } else if !name.eq_ignore_ascii_case(b"domain") {
                rewritten.push(b';');
                rewritten.extend_from_slice(attribute);
            }
        }
        let path = path
            .filter(|path| path.starts_with(b"/"))
            .unwrap_or_else(|| default_path(request_url));
        rewritten.extend_from_slice(b"; Path=");
        rewritten.extend_from_slice(self.folder(request_url).as_bytes());
        rewritten.extend_from_slice(path);
        Some(rewritten)
    }

    /// The path on this server under which everything of the URL's origin lies, without a `/` at the end.
    fn folder(&self, url: &HttpUrl) -> String {
        let place = place(url.origin(), url.shown_user_info());
        format!("{}{place}", self.root)
    }
}

/// Name and value without white space around them (RFC 6265 §5.2).
fn split_attribute(attribute: &[u8]) -> (&[u8], &[u8]) {
    let name_bytes = attribute.iter().position(|&byte| byte == b'=');
    let (name, value) = name_bytes
        .and_then(|at| attribute.split_at_checked(at))
        .unwrap_or((attribute, b""));
    let value = value.strip_prefix(b"=").unwrap_or_default();
    (name.trim_ascii(), value.trim_ascii())
}

/// Whether a client would send the cookie as `r2h-token=…`. One without a name is sent as its value alone, so
/// `=r2h-token=x` is one of them.
fn poses_as_token(pair: &[u8]) -> bool {
    let mut pair = pair.trim_ascii_start();
    while let Some(behind) = pair.strip_prefix(b"=") {
        pair = behind.trim_ascii_start();
    }
    split_attribute(pair).0.eq_ignore_ascii_case(TOKEN_COOKIE)
}

/// The folder of the request, without a `/` at the end unless it is the root.
///
/// An attribute ends at `;`, so from there on the path is left out, and the cookie has a wider folder.
fn default_path(request_url: &HttpUrl) -> &[u8] {
    let path = request_url.path().split(';').next().unwrap_or_default();
    match path.rsplit_once('/') {
        Some((folder, _)) if !folder.is_empty() => folder.as_bytes(),
        _ => b"/",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rewritten(value: &str, request_url: &str, prefix: &str) -> Option<String> {
        let links = Links::new(format!("http://tv.home{prefix}/"), prefix, true);
        let request_url = HttpUrl::parse(request_url).unwrap();
        let cookie = links.rewrite_set_cookie(value.as_bytes(), &request_url)?;
        Some(String::from_utf8(cookie).unwrap())
    }

    #[test]
    fn cookies_are_confined_to_their_upstream() {
        let url = "http://cdn.lan:8080/live/1/i.m3u8?u=/x";
        for (value, expected) in [
            ("a=1; Path=/", "a=1; Path=/tv/http/cdn.lan:8080/"),
            (
                "a=1; path = /live ;HttpOnly",
                "a=1;HttpOnly; Path=/tv/http/cdn.lan:8080/live",
            ),
            (
                "a=1; Domain=.cdn.lan; Secure",
                "a=1; Secure; Path=/tv/http/cdn.lan:8080/live/1",
            ),
            ("a=1;DOMAIN;x", "a=1;x; Path=/tv/http/cdn.lan:8080/live/1"),
            ("a=1; Path=live", "a=1; Path=/tv/http/cdn.lan:8080/live/1"),
            ("a=1; Path=/b; Path=/c", "a=1; Path=/tv/http/cdn.lan:8080/c"),
            (
                "a=1; Path=/b; Path",
                "a=1; Path=/tv/http/cdn.lan:8080/live/1",
            ),
            ("a=\"p;q\"", "a=\"p;q\"; Path=/tv/http/cdn.lan:8080/live/1"),
            (
                "__Host-a=1; Path=/; Secure",
                "__Host-a=1; Secure; Path=/tv/http/cdn.lan:8080/",
            ),
            ("", "; Path=/tv/http/cdn.lan:8080/live/1"),
        ] {
            assert_eq!(
                rewritten(value, url, "/tv").as_deref(),
                Some(expected),
                "{value}"
            );
        }
    }

    #[test]
    fn default_path_is_the_folder_of_the_request() {
        for (url, expected) in [
            ("http://h", "a=1; Path=/http/h/"),
            ("http://h/i", "a=1; Path=/http/h/"),
            ("https://h/d/i", "a=1; Path=/https/h/d"),
            ("http://h/d;s=1/i", "a=1; Path=/http/h/"),
            ("http://[::1]:81/d/", "a=1; Path=/http/[::1]:81/d"),
        ] {
            assert_eq!(
                rewritten("a=1", url, "").as_deref(),
                Some(expected),
                "{url}"
            );
        }
    }

    #[test]
    fn upstreams_cannot_set_the_access_token() {
        for value in [
            "r2h-token=x; Path=/",
            " R2H-Token = x",
            "=r2h-token=x",
            " = =r2h-token=x",
            "r2h-token",
        ] {
            assert_eq!(rewritten(value, "http://h/", ""), None, "{value}");
        }
        assert!(rewritten("r2h-tokens=x", "http://h/", "").is_some());
    }

    proptest! {
        #[test]
        fn every_cookie_has_one_path_and_no_domain(
            value in "[a-z=/ ]{0,9}(;[ ]?(path|Path|domain|secure|[a-z]{0,4})( ?= ?[a-z./]{0,9})?){0,5}",
            request in "/[a-z;/.]{0,20}",
        ) {
            if let Some(cookie) = rewritten(&value, &format!("http://h{request}"), "") {
                let attributes: Vec<_> = cookie.split(';').skip(1).map(|text| split_attribute(text.as_bytes())).collect();
                let paths: Vec<_> = attributes.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"path")).collect();
                prop_assert_eq!(paths.len(), 1, "{}", &cookie);
                prop_assert!(paths[0].1.starts_with(b"/http/h/"), "{}", &cookie);
                prop_assert!(!attributes.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"domain")));
            }
        }
    }
}
