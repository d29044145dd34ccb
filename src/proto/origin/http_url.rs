//! The URL of a resource of an HTTP upstream.
//!
//! Read from the request target of a proxied request (`/http/authority/rest`, http-proxy spec §3) or from an
//! absolute URL. The query is not looked into.
//!
//! A label (`$HD`, see [`strip_label`](crate::proto::url::strip_label)) belongs to named services. It is not cut here,
//! and callers must not cut it before: a `$` in an upstream's path or signature is the upstream's own.

use std::fmt;
use std::rc::Rc;

use super::{Origin, OriginError, SCHEME_END, Scheme};
use crate::proto::origins::RecentOrigins;
use crate::proto::user_info::{self, UserInfo};

/// Longest request target towards an upstream in bytes. Chosen: the longest link this server writes.
pub const UPSTREAM_TARGET_BYTES_MAX: usize = 4095;

/// The URL of a resource of an HTTP upstream, without a fragment.
///
/// Displayed as an absolute URL without user and password, which [`HttpUrl::to_link`] adds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpUrl {
    origin: Rc<Origin>,
    user_info: Option<UserInfo>,
    /// Nothing that is made of this URL may show user and password.
    hides_user_info: bool,
    target: String,
}

impl HttpUrl {
    /// Reads the request target of a proxied request: `/http/authority[/rest]` or `/https/authority[/rest]`, where
    /// `user:password@` may stand before host and port.
    ///
    /// `None` if the target is not one of these; the letters must be lower case. `app-path-prefix` and the
    /// parameters of this server (`r2h-…`) are to be removed before. See [`HttpUrl::target`] for what becomes
    /// of the rest.
    ///
    /// # Errors
    ///
    /// As [`HttpUrl::parse`], except for `Scheme`.
    pub fn from_proxy_target(target: &str) -> Option<Result<Self, OriginError>> {
        Self::from_proxy_target_among(target, &mut RecentOrigins::default())
    }

    /// As [`HttpUrl::from_proxy_target`], where the origin may be one of `recent`.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from_proxy_target_among(
        target: &str,
        recent: &mut RecentOrigins,
    ) -> Option<Result<Self, OriginError>> {
        let below = |scheme| target.strip_prefix(scheme);
        let (scheme, rest) = below("/http/")
            .map(|rest| (Scheme::Http, rest))
            .or_else(|| Some((Scheme::Https, below("/https/")?)))?;
        Some(Self::from_rest(rest, |authority| {
            recent.parse(scheme, authority)
        }))
    }

    /// Parses an absolute URL, `http://authority[/path][?query]` or the same with `https`, and likewise with
    /// `user:password@`.
    ///
    /// # Errors
    ///
    /// `Scheme` for any other scheme or none, `UserInfo`, `TargetTooLong`, and those of [`Origin::parse`].
    pub fn parse(url: &str) -> Result<Self, OriginError> {
        let (scheme, rest) = url.split_once("://").ok_or(OriginError::Scheme)?;
        let scheme = Scheme::named(scheme).ok_or(OriginError::Scheme)?;
        let parse = |authority: &str| Origin::parse(scheme, authority).map(Rc::new);
        Self::from_rest(rest, parse)
    }

    /// Reads what is behind a scheme, with `parse_origin` for the authority without user and password.
    fn from_rest(
        rest: &str,
        parse_origin: impl FnOnce(&str) -> Result<Rc<Origin>, OriginError>,
    ) -> Result<Self, OriginError> {
        let authority_bytes = memchr::memchr3(b'/', b'?', b'#', rest.as_bytes());
        let authority_bytes = authority_bytes.unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(authority_bytes).unwrap_or((rest, ""));
        let (user_info, authority) = user_info::split(authority);
        let user_info = user_info.map_or(Ok(None), UserInfo::parse);
        Self {
            origin: parse_origin(authority)?,
            user_info: user_info.map_err(OriginError::UserInfo)?,
            hides_user_info: false,
            target: String::new(),
        }
        .at(target)
    }

    /// The resource `target` of the same origin, for the same user: path and query, without a leading `/` below the
    /// root. A fragment is dropped, and [`HttpUrl::target`] says what else may become of the text.
    ///
    /// # Errors
    ///
    /// `TargetTooLong`.
    pub fn at(&self, target: &str) -> Result<Self, OriginError> {
        let target = target.split_once('#').map_or(target, |(kept, _)| kept);
        let mut kept = String::with_capacity(target.len() + 1);
        if !target.starts_with('/') {
            kept.push('/');
        }
        push_encoded(&mut kept, target, |c| c.is_ascii_control() || c == ' ');
        if kept.len() > UPSTREAM_TARGET_BYTES_MAX {
            return Err(OriginError::TargetTooLong {
                limit: UPSTREAM_TARGET_BYTES_MAX,
            });
        }
        Ok(HttpUrl {
            origin: Rc::clone(&self.origin),
            user_info: self.user_info.clone(),
            hides_user_info: self.hides_user_info,
            target: kept,
        })
    }

    /// The same, with user and password only for the upstream: links do not show them to whoever reads an answer.
    #[must_use]
    pub fn hiding_user_info(self) -> Self {
        Self {
            hides_user_info: true,
            ..self
        }
    }

    /// Whom to ask.
    pub fn origin(&self) -> &Rc<Origin> {
        &self.origin
    }

    /// Who asks, if the URL says so.
    pub fn user_info(&self) -> Option<&UserInfo> {
        self.user_info.as_ref()
    }

    /// The same, unless it is hidden.
    pub fn shown_user_info(&self) -> Option<&UserInfo> {
        self.user_info().filter(|_| !self.hides_user_info)
    }

    /// The request target (RFC 9112 §3.2.1): `/`, path and query, at most [`UPSTREAM_TARGET_BYTES_MAX`] bytes.
    ///
    /// Byte for byte what was written: escapes are neither decoded nor checked, dot segments and double
    /// slashes stay. Only what would end a request line or break it, blanks and control characters, is
    /// percent-encoded, so no text can add to the request.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The absolute URL with user and password, unless they are [hidden](HttpUrl::hiding_user_info): for whoever has
    /// sent them, and for no log.
    pub fn to_link(&self) -> String {
        match self.shown_user_info() {
            Some(user_info) => format!(
                "{}{SCHEME_END}{}@{}{}",
                self.origin.scheme().name(),
                user_info.written(),
                self.origin.authority(),
                self.target
            ),
            None => self.to_string(),
        }
    }

    /// The target up to its query. Begins with `/`.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// What follows the first `?`, if there is one.
    pub fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.target)
    }
}

/// Appends `text`, percent-encoding the characters that `must_encode` names, each byte of their UTF-8.
pub(in crate::proto) fn push_encoded(
    out: &mut String,
    text: &str,
    must_encode: impl Fn(char) -> bool,
) {
    // Most text has nothing to encode, and bytes are told apart faster than characters.
    let is_plain = |byte: u8| byte.is_ascii() && !must_encode(char::from(byte));
    if text.bytes().all(is_plain) {
        return out.push_str(text);
    }
    let mut rest = text;
    while let Some(at) = rest.find(&must_encode) {
        let (kept, behind) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(kept);
        let mut behind = behind.chars();
        if let Some(encoded) = behind.next() {
            for byte in encoded.encode_utf8(&mut [0; 4]).bytes() {
                out.push_str(&format!("%{byte:02X}"));
            }
        }
        rest = behind.as_str();
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::url::{HOST_BYTES_MAX, UrlError};
    use crate::proto::user_info::UserInfoError;

    fn proxied(target: &str) -> HttpUrl {
        HttpUrl::from_proxy_target(target)
            .unwrap_or_else(|| panic!("{target}: not a proxy target"))
            .unwrap_or_else(|error| panic!("{target}: {error}"))
    }

    fn error(target: &str) -> OriginError {
        HttpUrl::from_proxy_target(target)
            .unwrap_or_else(|| panic!("{target}: not a proxy target"))
            .expect_err(target)
    }

    #[test]
    fn target_names_host_port_and_upstream_target() {
        // http-proxy spec §3, and what its weaknesses 14 and 17 ask for.
        for (target, host_header, port, upstream_target) in [
            (
                "/http/media.lan/live/1.m3u8",
                "media.lan",
                80,
                "/live/1.m3u8",
            ),
            ("/http/media.lan:8088", "media.lan:8088", 8088, "/"),
            ("/http/media.lan:8088/?k=v", "media.lan:8088", 8088, "/?k=v"),
            (
                "/http/[2001:db8::7]:81/a%20b",
                "[2001:db8::7]:81",
                81,
                "/a%20b",
            ),
            ("/http/2001:db8::7/a", "[2001:db8::7]", 80, "/a"),
            (
                "/http/media.lan/a?sig=p%24q",
                "media.lan",
                80,
                "/a?sig=p%24q",
            ),
            ("/http/media.lan/a?sig=p$q", "media.lan", 80, "/a?sig=p$q"),
            ("/http/media.lan/a$HD/b", "media.lan", 80, "/a$HD/b"),
            ("/http/media.lan:8080?x=1", "media.lan:8080", 8080, "/?x=1"),
            ("/http/media.lan:?x=1", "media.lan", 80, "/?x=1"),
            ("/http/media.lan:80/", "media.lan", 80, "/"),
            ("/http/media.lan#top", "media.lan", 80, "/"),
            ("/http/media.lan/a?b#c?d", "media.lan", 80, "/a?b"),
            ("/https/media.lan/a", "media.lan", 443, "/a"),
            ("/https/media.lan:80/a", "media.lan:80", 80, "/a"),
            ("/https/media.lan:443/a", "media.lan", 443, "/a"),
            ("/http/10.0.0.1:0081/", "10.0.0.1:81", 81, "/"),
            ("/http/h//a/../%zz?%", "h", 80, "//a/../%zz?%"),
            ("/http/h/é", "h", 80, "/é"),
            ("/http/[fe80::1%25eth0]:81/", "[fe80::1]:81", 81, "/"),
            ("/http/[fe80::1%eth0]/", "[fe80::1]", 80, "/"),
        ] {
            let url = proxied(target);
            assert_eq!(url.origin().host_header(), host_header, "{target}");
            assert_eq!(url.origin().port(), port, "{target}");
            assert_eq!(url.target(), upstream_target, "{target}");
        }
    }

    #[test]
    fn other_targets_are_not_proxy_targets() {
        for target in [
            "",
            "/",
            "/http",
            "/HTTP/h/",
            "/Https/h",
            "http/h/",
            "/rtp/239.1.1.1",
        ] {
            assert_eq!(HttpUrl::from_proxy_target(target), None, "{target}");
        }
    }

    #[test]
    fn wrong_authorities_are_refused() {
        for (target, expected) in [
            ("/http/", OriginError::NoAuthority),
            ("/http//x", OriginError::NoAuthority),
            ("/http/?x", OriginError::NoAuthority),
            ("/http/:80/x", UrlError::Host.into()),
            ("/http/h:0/", UrlError::Port.into()),
            ("/http/h:65536/", UrlError::Port.into()),
            ("/http/h:80x/", UrlError::Port.into()),
            ("/http/h:+80/", UrlError::Port.into()),
            ("/http/me@/", OriginError::NoAuthority),
            ("/http/me:secret@:80/", UrlError::Host.into()),
            (
                "/http/a%3Ab:c@h/",
                OriginError::UserInfo(UserInfoError::Colon),
            ),
            (
                "/http/me:%zz@h/",
                OriginError::UserInfo(UrlError::Escape.into()),
            ),
            ("/http/[::1/", UrlError::Bracket.into()),
            ("/http/[::1]80/", UrlError::Bracket.into()),
            ("/http/[1.2.3.4]/", UrlError::Bracket.into()),
            ("/http/[fe80::1%]/", UrlError::Bracket.into()),
            ("/http/[fe80::1%a b]/", UrlError::Bracket.into()),
            ("/http/::1::2/", UrlError::Host.into()),
            ("/http/a b/", UrlError::Host.into()),
            ("/http/h%41/", UrlError::Host.into()),
            ("/http/h\\x/", UrlError::Host.into()),
        ] {
            assert_eq!(error(target), expected, "{target}");
            assert!(!error(target).to_string().is_empty());
        }
        assert_eq!(error("/http/").status(), 404);
        assert_eq!(error("/http/h:0/").status(), 503);
    }

    #[test]
    fn long_names_and_targets_are_refused() {
        let name = |bytes: usize| format!("/http/{}/", "h".repeat(bytes));
        proxied(&name(HOST_BYTES_MAX));
        assert!(matches!(
            error(&name(HOST_BYTES_MAX + 1)),
            OriginError::Authority(UrlError::TooLong { limit: 255, .. })
        ));
        let target = |bytes: usize| format!("/http/h/{}", "x".repeat(bytes - 1));
        proxied(&target(UPSTREAM_TARGET_BYTES_MAX));
        assert_eq!(error(&target(UPSTREAM_TARGET_BYTES_MAX + 1)).status(), 414);
    }

    #[test]
    fn absolute_urls_are_parsed_alike() {
        let url = HttpUrl::parse("HTTPS://[::1]:8443/a?b#c").unwrap();
        assert_eq!(url.to_string(), "https://[::1]:8443/a?b");
        assert_eq!((url.path(), url.query()), ("/a", Some("b")));
        for text in ["ftp://h/", "h/x", "http:/h", "//h/x", ""] {
            assert_eq!(HttpUrl::parse(text), Err(OriginError::Scheme), "{text}");
        }
    }

    #[test]
    fn user_and_password_are_no_part_of_the_origin() {
        for (target, written) in [
            ("/http/zoe:s3cret@h:81/a?b@c", "zoe:s3cret"),
            ("/http/zoe@h:81/a?b@c", "zoe:"),
            ("/http/zoe:a@b@h:81/a?b@c", "zoe:a%40b"),
        ] {
            let url = proxied(target);
            assert_eq!(url.origin().to_string(), "http://h:81", "{target}");
            assert_eq!(url.target(), "/a?b@c", "{target}");
            let user_info = url.user_info().expect("a user");
            assert_eq!(user_info.written(), written, "{target}");
            assert_eq!(
                url.to_link(),
                format!("http://{written}@h:81/a?b@c"),
                "{target}"
            );
            assert_eq!(url.to_string(), "http://h:81/a?b@c", "{target}");
            assert!(!format!("{url:?}").contains(written), "{url:?}");
            assert_eq!(url.at("/x").unwrap().user_info(), url.user_info());
        }
        assert_eq!(proxied("/http/@h/").user_info(), None);
        let hidden = proxied("/http/zoe:s3cret@h/a").hiding_user_info();
        assert_eq!(hidden.to_link(), "http://h/a");
        assert!(hidden.user_info().is_some() && hidden.shown_user_info().is_none());
        assert_eq!(hidden.at("/b").unwrap().to_link(), "http://h/b");
    }

    #[test]
    fn blanks_and_control_characters_cannot_reach_the_request_line() {
        let url = HttpUrl::parse("http://h/a b\r\nX-A: b\0\u{7f}?c d").unwrap();
        assert_eq!(url.target(), "/a%20b%0D%0AX-A:%20b%00%7F?c%20d");
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_safe_and_parses_to_itself(
            scheme in "https?",
            user in "([a-z0-9%@;]{0,4}(:[a-z0-9%@:;é]{0,4})?@)?",
            rest in "[a-z0-9.:\\[\\]%@/?# $é\\x00-\\x20\\x7f\\\\-]{0,40}|(\\[[0-9a-f:]{2,9}(%(25)?[a-z0-9]{1,4})?\\]|[a-z]{1,9})(:[0-9]{1,4})?(/\\PC{0,9})?",
        ) {
            if let Some(Ok(url)) = HttpUrl::from_proxy_target(&format!("/{scheme}/{user}{rest}")) {
                prop_assert!(url.target().starts_with('/'));
                prop_assert!(!url.target().contains(|c: char| c.is_ascii_control() || c == ' ' || c == '#'));
                let visible = url.origin().host_header();
                prop_assert!(visible.bytes().all(|byte| byte.is_ascii_graphic()), "{}", visible);
                prop_assert_eq!(HttpUrl::parse(&url.to_link()), Ok(url.clone()));
                let again = format!("/{}", url.to_link().replacen("://", "/", 1));
                prop_assert_eq!(HttpUrl::from_proxy_target(&again), Some(Ok(url)));
            }
        }
    }
}
