//! What the reverse proxy changes on the way through (http-proxy spec §7.3, §11, §14): links, playlists,
//! cookies, and what must not leave the house.
//!
//! Pure: bodies, header values and URLs in, the same rewritten out. What is not understood is left as it is.
//! Whether an answer is rewritten at all, and the headers that go with it, are decided by the caller with
//! [`playlist::is_playlist`] and its neighbours.
//!
//! `Content-Location` is not touched: it states what a representation is called (RFC 9110 §8.7), no client
//! fetches it, and an access token has no place in it.

pub mod base;
pub mod content;
pub mod cookie;
pub mod playlist;
pub mod token;
mod variables;

use std::str;

use super::origin::{HttpUrl, Origin, Scheme, push_encoded};
use super::reference::Reference;
use super::url;
use super::user_info::{self, UserInfo};

/// Longest link written in bytes (http-proxy spec §14.6). A longer one is not written.
pub const LINK_BYTES_MAX: usize = 4095;

/// How links through this server are written.
///
/// A link leads to `/http/authority/rest` or `/https/authority/rest` below the base. Its authority is the
/// shortest spelling, so that one origin has one place here and its cookies find it. User and password stand in front
/// of it if the document was asked for with them in its URL and the link leads to the same origin, or if the reference
/// has some of its own. An upstream's `$` stays as
/// it is: the label rule of this server does not apply to such links, and `%24` would be another URL to an
/// upstream that signs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    base: String,
    root: String,
    parameters: String,
    https_supported: bool,
}

impl Links {
    /// Links without parameters.
    ///
    /// `base` is what links in a playlist begin with, from [`base::LinkBase`] or the server's own address; it
    /// ends in `/`. `prefix` is `app-path-prefix`: empty, or `/` and more without a `/` at the end. References
    /// to `https` are mapped if `https_supported`, and otherwise left alone.
    pub fn new(base: String, prefix: &str, https_supported: bool) -> Self {
        debug_assert!(base.ends_with('/'), "{base}");
        debug_assert!(prefix.is_empty() || prefix.starts_with('/') && !prefix.ends_with('/'));
        Links {
            base,
            root: [prefix, "/"].concat(),
            parameters: String::new(),
            https_supported,
        }
    }

    /// The same with the access token in every link.
    #[must_use]
    pub fn with_token(self, token: &str) -> Self {
        self.with_parameter(token::TOKEN_NAME, token)
    }

    /// The same with the interface of the request in every link, so that what it leads to comes the same way.
    #[must_use]
    pub fn with_interface(self, name: &str) -> Self {
        self.with_parameter("r2h-ifname", name)
    }

    fn with_parameter(mut self, name: &str, value: &str) -> Self {
        if !self.parameters.is_empty() {
            self.parameters.push('&');
        }
        self.parameters.push_str(name);
        self.parameters.push('=');
        self.parameters.push_str(&url::percent_encode(value));
        self
    }

    /// The link through this server to an absolute URL, as it stands in a playlist.
    ///
    /// `None` if there is none and the URL is to stay as it is: another scheme than `http` and `https`
    /// (`data:`, `skd:`, `rtsp:` …), `https` without support, an authority that cannot be parsed, or a link that
    /// would exceed [`LINK_BYTES_MAX`].
    pub fn map(&self, absolute_url: &str) -> Option<String> {
        self.write(&self.base, Reference::parse(absolute_url), None)
    }

    /// The link to what `reference` means in a document at `document_url`, as it stands in a playlist.
    ///
    /// `None` as [`Links::map`], if the reference is empty or has control characters, and if the link would exceed
    /// [`LINK_BYTES_MAX`] before dot segments are removed. Bytes that are not UTF-8 become escapes, since a
    /// request target must be UTF-8 here.
    pub fn map_reference(&self, reference: &[u8], document_url: &HttpUrl) -> Option<String> {
        let document = visible(document_url);
        self.resolve(&self.base, reference, &Reference::parse(&document))
    }

    /// Rewrites the value of a `Location` header of an answer to `request_url` (http-proxy spec §11.2).
    ///
    /// Relative and protocol-relative values are resolved first (RFC 9110 §10.2.2). The result begins with
    /// `app-path-prefix`, or `/` if there is none, whatever the base is. `None` as [`Links::map_reference`]; the
    /// value is then relayed as it is. See [`is_redirect`] for when to call this.
    pub fn rewrite_location(&self, value: &[u8], request_url: &HttpUrl) -> Option<String> {
        let document = visible(request_url);
        self.resolve(&self.root, value.trim_ascii(), &Reference::parse(&document))
    }

    fn resolve(&self, start: &str, reference: &[u8], document: &Reference<'_>) -> Option<String> {
        if reference.is_empty() || reference.iter().any(u8::is_ascii_control) {
            return None;
        }
        let text = encode_invalid(reference);
        let reference = Reference::parse(&text);
        // Dot segments might shorten it, but a folder without end must not be copied for every line.
        let folder_bytes = document.path.rfind('/').unwrap_or_default();
        let authority_bytes = document.authority.map_or(0, str::len);
        let fixed_bytes = start.len() + authority_bytes + self.parameters.len();
        if reference.is_relative_path() && fixed_bytes + folder_bytes + text.len() > LINK_BYTES_MAX
        {
            return None;
        }
        self.write(start, reference.resolve(document), Some(document))
    }

    fn write(
        &self,
        start: &str,
        url: Reference<'_>,
        document: Option<&Reference<'_>>,
    ) -> Option<String> {
        // A client would apply dot segments to the whole link and leave the upstream's part of it.
        let url = url.without_dot_segments();
        let scheme = Scheme::named(url.scheme?)?;
        if scheme == Scheme::Https && !self.https_supported {
            return None;
        }
        let (user_info, authority) = user_info::split(url.authority?);
        let origin = Origin::parse(scheme, authority).ok()?;
        let user_info = match user_info {
            Some(text) => UserInfo::parse(text).ok()?,
            None => document.and_then(|document| user_of(document, &origin)),
        };
        let place = place(&origin, user_info.as_ref());
        let query_bytes = url.query.map_or(0, |query| query.len() + 1);
        let parameter_bytes = self.parameters.len() + usize::from(!self.parameters.is_empty());
        // Encoding only adds, so what is too long now need not be looked at byte by byte.
        if start.len() + place.len() + url.path.len() + query_bytes + parameter_bytes
            > LINK_BYTES_MAX
        {
            return None;
        }
        let mut link = format!("{start}{place}");
        push_visible(&mut link, if url.path.is_empty() { "/" } else { &url.path });
        let query = url.query.into_iter();
        let parameters = Some(self.parameters.as_str()).filter(|text| !text.is_empty());
        for (text, mark) in query.chain(parameters).zip(['?', '&']) {
            link.push(mark);
            push_visible(&mut link, text);
        }
        if let Some(fragment) = url.fragment {
            link.push('#');
            push_visible(&mut link, fragment);
        }
        (link.len() <= LINK_BYTES_MAX).then_some(link)
    }
}

/// Whether an answer of this status has its `Location` rewritten; others keep theirs (http-proxy spec §11.2).
pub fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// Where an origin lies below a base for a user: `http/authority` or `http/user:password@authority`.
fn place(origin: &Origin, user_info: Option<&UserInfo>) -> String {
    let (scheme, authority) = (origin.scheme().name(), origin.authority());
    match user_info {
        Some(user_info) => format!("{scheme}/{}@{authority}", user_info.written()),
        None => format!("{scheme}/{authority}"),
    }
}

/// Who has asked for a document of `origin`. A browser shows a password to the whole origin that it was meant for, so
/// links from there to there have it, also those that name the origin.
fn user_of(document: &Reference<'_>, origin: &Origin) -> Option<UserInfo> {
    let (user_info, authority) = user_info::split(document.authority?);
    let user_info = UserInfo::parse(user_info?).ok()??;
    let scheme = Scheme::named(document.scheme?)?;
    let is_same = Origin::parse(scheme, authority).is_ok_and(|other| other == *origin);
    is_same.then_some(user_info)
}

/// The URL of a document as links repeat it, encoded once and not again for every reference.
fn visible(document_url: &HttpUrl) -> String {
    let mut text = String::new();
    push_visible(&mut text, &document_url.to_link());
    text
}

/// Appends a part of a URL so that it can stand in a line, in quotes and in a request line.
///
/// A backslash is encoded because browsers take it for `/`, and `a\..\..` would climb.
fn push_visible(link: &mut String, text: &str) {
    push_encoded(link, text, |c| {
        c.is_control() || c.is_whitespace() || matches!(c, '"' | '\\')
    });
}

/// `bytes` as text, with escapes for what is not UTF-8.
fn encode_invalid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn links() -> Links {
        Links::new("http://tv.home:5140/tv/".to_owned(), "/tv", true)
    }

    fn document() -> HttpUrl {
        HttpUrl::parse("http://cdn.lan:8080/a/b.m3u8?u=/x/y").unwrap()
    }

    #[test]
    fn absolute_urls_are_mapped() {
        for (url, expected) in [
            ("http://cdn.lan/v", "http/cdn.lan/v"),
            ("HTTP://cdn.lan:8080/v?a=1#t", "http/cdn.lan:8080/v?a=1#t"),
            ("https://cdn.lan/v", "https/cdn.lan/v"),
            ("https://cdn.lan:80/v", "https/cdn.lan:80/v"),
            ("http://cdn.lan:80/v", "http/cdn.lan/v"),
            ("http://cdn.lan", "http/cdn.lan/"),
            ("http://cdn.lan?x=1", "http/cdn.lan/?x=1"),
            ("http://[::1]:81/z", "http/[::1]:81/z"),
            ("http://h//a//b", "http/h//a//b"),
            ("http://h/a$b?c=$d", "http/h/a$b?c=$d"),
            ("http://h/../../status", "http/h/status"),
            ("http://h/%2e%2e/%2E./status", "http/h/status"),
            ("http://h/a\\..\\..\\status", "http/h/a%5C..%5C..%5Cstatus"),
            ("http://h/a b\"c\u{85}?d e", "http/h/a%20b%22c%C2%85?d%20e"),
        ] {
            let expected = format!("http://tv.home:5140/tv/{expected}");
            assert_eq!(links().map(url), Some(expected), "{url}");
        }
    }

    #[test]
    fn what_the_proxy_cannot_fetch_is_left_alone() {
        for url in [
            "data:text/plain,x",
            "skd://key/1",
            "rtsp://h/x",
            "rtp://239.1.1.1:5000",
            "urn:uuid:1",
            "http:x",
            "http:///x",
            "http://me%3A:secret@h/x",
            "http://h:99999/x",
            "http://h\\@evil/x",
            "x",
            "/x",
            "//h/x",
            "",
        ] {
            assert_eq!(links().map(url), None, "{url}");
        }
        let plain = Links::new("/".to_owned(), "", false);
        assert_eq!(plain.map("https://cdn.lan/v"), None);
        assert_eq!(
            plain.map("http://cdn.lan/v").as_deref(),
            Some("/http/cdn.lan/v")
        );
    }

    #[test]
    fn parameters_follow_the_query_and_precede_the_fragment() {
        let links = links().with_token("k y&").with_interface("eth0.7");
        let expect = |url: &str, expected: &str| {
            let expected = format!("http://tv.home:5140/tv/http/{expected}");
            assert_eq!(links.map(url), Some(expected), "{url}");
        };
        expect("http://h/a", "h/a?r2h-token=k%20y%26&r2h-ifname=eth0.7");
        expect("http://h/a?b", "h/a?b&r2h-token=k%20y%26&r2h-ifname=eth0.7");
        expect(
            "http://h/a#t?u",
            "h/a?r2h-token=k%20y%26&r2h-ifname=eth0.7#t?u",
        );
        expect(
            "http://h?b#t",
            "h/?b&r2h-token=k%20y%26&r2h-ifname=eth0.7#t",
        );
    }

    #[test]
    fn long_links_are_not_written() {
        let url = |bytes: usize| format!("http://h/{}", "x".repeat(bytes));
        let fixed = "http://tv.home:5140/tv/http/h/".len();
        assert_eq!(
            links().map(&url(LINK_BYTES_MAX - fixed)).unwrap().len(),
            LINK_BYTES_MAX
        );
        assert_eq!(links().map(&url(LINK_BYTES_MAX - fixed + 1)), None);
    }

    #[test]
    fn locations_are_resolved_and_begin_at_the_root() {
        let base = "http://cdn.lan:8080/live/a?u=/x";
        for (base, value, expected) in [
            // http-proxy spec §11.2, and what its weakness 15 asks for.
            (base, "http://cdn.lan:8080/v/2", "/tv/http/cdn.lan:8080/v/2"),
            (base, "http://[::1]:81/z", "/tv/http/[::1]:81/z"),
            (base, "https://cdn.lan/v", "/tv/https/cdn.lan/v"),
            (base, "/v/2", "/tv/http/cdn.lan:8080/v/2"),
            (base, "v/2", "/tv/http/cdn.lan:8080/live/v/2"),
            (base, "?b=1", "/tv/http/cdn.lan:8080/live/a?b=1"),
            (base, "//other.lan/v", "/tv/http/other.lan/v"),
            (base, "../../../status", "/tv/http/cdn.lan:8080/status"),
            (base, " v ", "/tv/http/cdn.lan:8080/live/v"),
            ("https://h/a", "//other.lan/v", "/tv/https/other.lan/v"),
            ("https://h/a", "b", "/tv/https/h/b"),
        ] {
            let request_url = HttpUrl::parse(base).unwrap();
            let rewritten = links().rewrite_location(value.as_bytes(), &request_url);
            assert_eq!(rewritten.as_deref(), Some(expected), "{value}");
        }
        let token = Links::new("/".to_owned(), "", true).with_token("k y");
        assert_eq!(
            token
                .rewrite_location(b"http://cdn.lan/v?a=1", &document())
                .as_deref(),
            Some("/http/cdn.lan/v?a=1&r2h-token=k%20y")
        );
        for value in ["rtsp://h/x", "", "a\tb", "a\r\nX: y", "mailto:me"] {
            assert_eq!(
                links().rewrite_location(value.as_bytes(), &document()),
                None,
                "{value}"
            );
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_become_escapes() {
        assert_eq!(
            links()
                .map_reference(b"\xe9\xc3\xa9.ts", &document())
                .as_deref(),
            Some("http://tv.home:5140/tv/http/cdn.lan:8080/a/%E9é.ts")
        );
    }

    #[test]
    fn only_redirects_have_their_location_rewritten() {
        let redirects: Vec<u16> = (100..600).filter(|&status| is_redirect(status)).collect();
        assert_eq!(redirects, [301, 302, 303, 307, 308]);
    }

    #[test]
    fn links_have_the_user_that_the_document_was_asked_for_with() {
        let with_user = |text: &str| HttpUrl::parse(text).expect("a URL");
        let document = with_user("http://me:a@b@h:81/l/i.m3u8");
        for (reference, expected) in [
            ("s.ts", "me:a%40b@h:81/l/s.ts"),
            ("/s.ts", "me:a%40b@h:81/s.ts"),
            ("//h:81/s.ts", "me:a%40b@h:81/s.ts"),
            ("http://h:81/s.ts", "me:a%40b@h:81/s.ts"),
            ("http://you:c@h:81/s.ts", "you:c@h:81/s.ts"),
            ("http://you:c@i/s.ts", "you:c@i/s.ts"),
            ("http://h/s.ts", "h/s.ts"),
            ("http://i:81/s.ts", "i:81/s.ts"),
        ] {
            let expected = format!("http://tv.home:5140/tv/http/{expected}");
            let link = links().map_reference(reference.as_bytes(), &document);
            assert_eq!(link, Some(expected), "{reference}");
        }
        let cookie = links().rewrite_set_cookie(b"a=b; Path=/l", &document);
        let expected = b"a=b; Path=/tv/http/me:a%40b@h:81/l";
        assert_eq!(cookie.as_deref(), Some(&expected[..]));
        let hidden = document.hiding_user_info();
        for reference in ["s.ts", "http://h:81/l/s.ts"] {
            let link = links().map_reference(reference.as_bytes(), &hidden);
            let expected = "http://tv.home:5140/tv/http/h:81/l/s.ts";
            assert_eq!(link.as_deref(), Some(expected), "{reference}");
        }
        let cookie = links().rewrite_set_cookie(b"a=b; Path=/l", &hidden);
        let expected = b"a=b; Path=/tv/http/h:81/l";
        assert_eq!(cookie.as_deref(), Some(&expected[..]));
    }

    proptest! {
        #[test]
        fn links_stay_below_their_upstream_and_can_be_requested(
            reference in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                "(https?://h)?[a-c:/?#.%2e\\\\ \"$é\\u{85}\\u{3000}]{0,30}".prop_map(String::into_bytes),
            ],
        ) {
            let links = links().with_token("k");
            if let Some(link) = links.map_reference(&reference, &document()) {
                prop_assert!(link.len() <= LINK_BYTES_MAX);
                prop_assert!(!link.contains(|c: char| c.is_control() || c.is_whitespace() || c == '"'));
                // What a browser makes of the link.
                let path = link.split(['?', '#']).next().unwrap().replace("%2e", ".").replace("%2E", ".");
                prop_assert!(!path.contains('\\'));
                prop_assert!(path.split('/').all(|segment| segment != "." && segment != ".."), "{}", link);
                // What this server makes of it.
                let target = link.strip_prefix("http://tv.home:5140/tv").unwrap();
                let upstream = HttpUrl::from_proxy_target(target).unwrap().unwrap();
                prop_assert!(upstream.query().unwrap().ends_with("r2h-token=k"), "{}", link);
            }
        }
    }
}
