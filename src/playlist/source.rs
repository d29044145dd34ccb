//! Where a service's media comes from: the URL of an entry, its label, and what a request's query changes in it
//! (playlist spec §7, §8, §12).

use std::fmt;

use crate::proto::origin::HttpUrl;
use crate::proto::query;
use crate::proto::rewrite::token::TOKEN_NAME;
use crate::proto::rtsp;
use crate::proto::url;

/// Longest URL of a source, bytes, with the query of a request merged into it too (playlist spec §12).
pub const SOURCE_BYTES_MAX: usize = 2047;

/// Parameters with which a request overrules a configured URL; names regardless of case (playlist spec §12).
const CONTROLS: [&str; 6] = [
    "r2h-seek-name",
    "r2h-seek-offset",
    "r2h-seek-mode",
    "r2h-seek-zone",
    "r2h-ifname",
    "r2h-ifname-fcc",
];
/// Names of the seek parameter of a URL that chooses none, the most important first (time spec §3.1).
const SEEK_NAMES: [&str; 2] = ["playseek", "tvdr"];

/// How a source is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// A multicast group, by either name: `rtp` and `udp`.
    Multicast,
    /// `rtsp`.
    Rtsp,
    /// `rtsps`: the same over TLS.
    Rtsps,
    /// `http`.
    Http,
    /// `https`.
    Https,
}

impl Scheme {
    /// The scheme called `name`, in either case.
    fn named(name: &str) -> Option<Self> {
        let known = [
            ("rtp", Self::Multicast),
            ("udp", Self::Multicast),
            ("rtsp", Self::Rtsp),
            ("rtsps", Self::Rtsps),
            ("http", Self::Http),
            ("https", Self::Https),
        ];
        let found = known
            .into_iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, scheme)| scheme)
    }

    /// As it stands in a URL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Multicast => "rtp",
            Self::Rtsp => "rtsp",
            Self::Rtsps => "rtsps",
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// The source of a service, at most [`SOURCE_BYTES_MAX`] bytes as a URL.
#[derive(Clone, PartialEq, Eq)]
pub struct Source {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// What stands behind `://`: authority, path and query. It has been checked as far as that is possible without
    /// looking up a name.
    pub rest: String,
}

/// Shows the URL without secrets.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&url::redact(&self.url()))
    }
}

/// What becomes of the URL of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Usability {
    /// A service can have it for its source.
    Usable(Source),
    /// It is for the player: no URL, of another scheme, or `https` that nothing wraps (playlist spec §8).
    Foreign,
    /// It was meant to be usable and is not, for this reason.
    Wrong(String),
}

impl Source {
    /// Reads the URL of an entry, without its label. `prefix` is that of all paths of this server, which may stand in
    /// a URL that wraps another: `http://any.host/prefix/rtp/239.0.0.1:5000`.
    pub fn read(text: &str, prefix: &str) -> Usability {
        let Some((name, rest)) = text.split_once("://") else {
            return Usability::Foreign;
        };
        let Some(scheme) = Scheme::named(name) else {
            return Usability::Foreign;
        };
        let (scheme, rest) = match (scheme, wrapped(rest, prefix)) {
            (Scheme::Http | Scheme::Https, Some(inner)) => inner,
            (Scheme::Https, None) => return Usability::Foreign,
            _ => (scheme, rest),
        };
        // VLC's form for a group from any source.
        let rest = match scheme {
            Scheme::Multicast => rest.strip_prefix('@').unwrap_or(rest),
            _ => rest,
        };
        // It is no part of a request, and a query that is merged must not come to lie behind it.
        let rest = rest.split('#').next().unwrap_or_default();
        let source = Self {
            scheme,
            rest: rest.to_owned(),
        };
        match source.check() {
            Ok(()) => Usability::Usable(source),
            Err(reason) => Usability::Wrong(reason),
        }
    }

    fn check(&self) -> Result<(), String> {
        let url = self.url();
        if url.len() > SOURCE_BYTES_MAX {
            return Err(format!("the URL is longer than {SOURCE_BYTES_MAX} bytes"));
        }
        match self.scheme {
            Scheme::Multicast => url::parse_multicast(&self.rest)
                .map(drop)
                .map_err(|error| error.to_string()),
            Scheme::Http | Scheme::Https => HttpUrl::parse(&url)
                .map(drop)
                .map_err(|error| error.to_string()),
            Scheme::Rtsp | Scheme::Rtsps => rtsp::Request::new(&url, "")
                .map(drop)
                .map_err(|error| error.to_string()),
        }
    }

    /// The whole URL. It may have a password in it.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme.name(), self.rest)
    }

    /// Path and authority, and the query if there is one.
    pub(super) fn parts(&self) -> (&str, Option<&str>) {
        match self.rest.split_once('?') {
            Some((front, query)) => (front, Some(query)),
            None => (&self.rest, None),
        }
    }

    /// The source with `fragment` added to its query; a fragment may begin with `?` or `&`. `None` if that is no
    /// usable URL.
    pub(super) fn with_fragment(&self, fragment: &str) -> Option<Source> {
        let fragment = fragment.strip_prefix(['?', '&']).unwrap_or(fragment);
        let separator = if self.rest.contains('?') { '&' } else { '?' };
        let source = Source {
            scheme: self.scheme,
            rest: format!("{}{separator}{fragment}", self.rest),
        };
        source.check().is_ok().then_some(source)
    }

    /// The name of the parameter that this server takes for the seek value of a request: chosen by `r2h-seek-name`,
    /// or the usual one that the URL has, in its spelling. An empty name turns seeking off.
    pub(super) fn seek_name(&self) -> Option<String> {
        let chosen = query::parameters(&self.rest, "r2h-seek-name").next();
        if let Some(chosen) = chosen {
            return url::percent_decode(chosen.value).ok();
        }
        self.usual_seek_name().map(str::to_owned)
    }

    fn usual_seek_name(&self) -> Option<&str> {
        SEEK_NAMES
            .iter()
            .find_map(|name| query::parameters(&self.rest, name).next())
            .map(|found| found.name)
    }

    /// The source as it is asked for with the query of a request (playlist spec §12).
    ///
    /// Without a query it is what was configured. Otherwise all parameters of a name that the request has stand where
    /// the first configured one of that name stood, and the rest follows in the request's order. Control parameters
    /// are defaults. A configured seek value is used only without a query; a template of one stays, since the seek
    /// value of the request is to be filled into it.
    ///
    /// # Errors
    ///
    /// [`MergeError`] if the URL becomes longer than [`SOURCE_BYTES_MAX`].
    pub fn merged(&self, request_query: Option<&str>) -> Result<Source, MergeError> {
        let asked: Vec<&str> = request_query
            .unwrap_or_default()
            .split('&')
            .filter(|piece| !piece.is_empty() && !name_of(piece).eq_ignore_ascii_case(TOKEN_NAME))
            .collect();
        if asked.is_empty() {
            return Ok(self.clone());
        }
        let is_overruled = |name: &str| {
            let is_control = CONTROLS
                .iter()
                .any(|control| control.eq_ignore_ascii_case(name));
            is_control
                && asked
                    .iter()
                    .any(|piece| name_of(piece).eq_ignore_ascii_case(name))
        };
        let seek_name = self.seek_name().filter(|name| !name.is_empty());
        let is_seek = |name: &str| {
            seek_name
                .as_deref()
                .is_some_and(|seek_name| seek_name.eq_ignore_ascii_case(name))
        };
        let (front, query) = self.parts();
        let mut pieces: Vec<&str> = Vec::new();
        let mut placed: Vec<&str> = Vec::new();
        for configured in query.into_iter().flat_map(|query| query.split('&')) {
            let name = name_of(configured);
            if is_overruled(name) {
                continue;
            }
            let is_asked = asked.iter().any(|piece| name_of(piece) == name);
            let stays = match is_seek(name) {
                true => configured.contains(['{', '}']),
                false => !is_asked,
            };
            if stays {
                pieces.push(configured);
            }
            if is_asked && !placed.contains(&name) {
                placed.push(name);
                pieces.extend(asked.iter().filter(|piece| name_of(piece) == name));
            }
        }
        pieces.extend(
            asked
                .iter()
                .filter(|piece| !placed.contains(&name_of(piece))),
        );
        let mut rest = format!("{front}?{}", pieces.join("&"));
        // The name counts as chosen, or a parameter of the other usual name would be taken for the seek value.
        let has_choice = query::parameters(&rest, "r2h-seek-name").next().is_some();
        if let Some(name) = self.usual_seek_name().filter(|_| !has_choice) {
            query::append(&mut rest, "r2h-seek-name", name);
        }
        let merged = Source {
            scheme: self.scheme,
            rest,
        };
        match merged.url().len() {
            ..=SOURCE_BYTES_MAX => Ok(merged),
            _ => Err(MergeError(self.scheme)),
        }
    }
}

/// A URL became too long when the query of a request was merged into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MergeError(Scheme);

/// With the words that operators look for (playlist spec §13).
impl fmt::Display for MergeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0 {
            Scheme::Multicast => "RTP",
            Scheme::Rtsp | Scheme::Rtsps => "RTSP",
            Scheme::Http | Scheme::Https => "HTTP",
        };
        write!(
            f,
            "Merged {kind} URL too long: more than {SOURCE_BYTES_MAX} bytes"
        )
    }
}

/// Cuts the label off a URL: from the last `$` that more than nothing and no `{` follows (playlist spec §7).
///
/// What has `/`, `?`, `&` or `=` in it is no label, but a part of the URL.
pub fn split_label(text: &str) -> (&str, Option<&str>) {
    let found = text.rmatch_indices('$').find_map(|(at, _)| {
        let (front, label) = (text.get(..at)?, text.get(at + 1..)?);
        (!label.is_empty() && !label.starts_with('{')).then_some((front, label))
    });
    match found {
        Some((front, label)) if !label.contains(['/', '?', '&', '=']) => (front, Some(label)),
        _ => (text, None),
    }
}

/// Cuts off what lists write behind a URL for players that know it from Kodi: `|User-Agent=…&Referer=…`, the headers
/// that they are to send. A `|` that no name of a header follows is a part of the URL.
pub fn split_headers(text: &str) -> (&str, Option<&str>) {
    let is_header = |name: &str| {
        let plain = ["authorization", "cookie", "origin", "referer"];
        name.contains('-')
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            || plain.iter().any(|plain| name.eq_ignore_ascii_case(plain))
    };
    let found = text.split_once('|').filter(|(_, headers)| {
        let name = headers.split_once('=').map(|(name, _)| name);
        name.is_some_and(is_header)
    });
    found.map_or((text, None), |(front, headers)| (front, Some(headers)))
}

/// What a URL of some flowgate or rtp2httpd wraps; `rest` is what stands behind `http://` (playlist spec §8).
fn wrapped<'a>(rest: &'a str, prefix: &str) -> Option<(Scheme, &'a str)> {
    let (_, path) = rest.split_at_checked(rest.find(['/', '?', '#'])?)?;
    let path = match path.strip_prefix(prefix) {
        Some(below) if below.starts_with('/') => below,
        _ => path,
    };
    let (name, inner) = path.strip_prefix('/')?.split_once('/')?;
    let is_lower_case = !name.contains(|c: char| c.is_ascii_uppercase());
    let scheme = Scheme::named(name).filter(|_| is_lower_case)?;
    Some((scheme, inner))
}

fn name_of(piece: &str) -> &str {
    piece.split('=').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usable(text: &str) -> Option<String> {
        match Source::read(text, "/tv") {
            Usability::Usable(source) => Some(source.url()),
            _ => None,
        }
    }

    fn source(text: &str) -> Source {
        match Source::read(text, "") {
            Usability::Usable(source) => source,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn direct_and_wrapped_urls_are_usable() {
        for (text, expected) in [
            ("rtp://239.0.0.1:5000?fec=2", "rtp://239.0.0.1:5000?fec=2"),
            ("udp://239.0.0.1", "rtp://239.0.0.1"),
            ("udp://@239.0.0.1:1", "rtp://239.0.0.1:1"),
            ("rtp://@[ff3e::1]:1", "rtp://[ff3e::1]:1"),
            ("RTSP://u:p@h/a?b#c", "rtsp://u:p@h/a?b"),
            ("rtsps://h/a", "rtsps://h/a"),
            ("http://h/a b?c={utc}", "http://h/a b?c={utc}"),
            (
                "http://box:5140/rtp/239.1.1.1:1?fec=2",
                "rtp://239.1.1.1:1?fec=2",
            ),
            ("https://[::1]:8/udp/239.1.1.1", "rtp://239.1.1.1"),
            ("http://box/tv/rtsp/h/a", "rtsp://h/a"),
            ("https://box/http/h/a", "http://h/a"),
            ("https://box/https/h/a", "https://h/a"),
            // Another prefix, another spelling: an ordinary HTTP source.
            (
                "http://box/other/rtp/239.1.1.1",
                "http://box/other/rtp/239.1.1.1",
            ),
            ("http://box/RTP/239.1.1.1", "http://box/RTP/239.1.1.1"),
            (
                "http://box/tvx/rtp/239.1.1.1",
                "http://box/tvx/rtp/239.1.1.1",
            ),
        ] {
            assert_eq!(usable(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn other_urls_are_for_the_player_or_wrong() {
        for text in [
            "https://h/a",
            "igmp://239.0.0.1",
            "a.ts",
            "/rtp/239.0.0.1",
            "://h",
        ] {
            assert_eq!(Source::read(text, ""), Usability::Foreign, "{text}");
        }
        let long = format!("http://h/{}", "a".repeat(SOURCE_BYTES_MAX));
        for text in [
            "rtp://",
            "rtp://239.0.0.1?fcc=",
            "http://",
            "http://box/rtp/",
            "rtsp://",
            &long,
        ] {
            let read = Source::read(text, "");
            assert!(matches!(read, Usability::Wrong(_)), "{text}: {read:?}");
        }
    }

    #[test]
    fn labels_are_those_of_the_specification() {
        for (text, front, label) in [
            (
                "rtp://239.1.1.1:5140?fcc=10.0.0.1:8027$UHD",
                "rtp://239.1.1.1:5140?fcc=10.0.0.1:8027",
                Some("UHD"),
            ),
            ("http://h/a?b=${utc}", "http://h/a?b=${utc}", None),
            ("http://h/a$", "http://h/a$", None),
            ("http://h/a$x$HD", "http://h/a$x", Some("HD")),
            (
                "http://h/a$4K HDR ${utc}",
                "http://h/a",
                Some("4K HDR ${utc}"),
            ),
            ("http://h/x?c=$d&e={utc}", "http://h/x?c=$d&e={utc}", None),
            ("http://h/a$b/c", "http://h/a$b/c", None),
        ] {
            assert_eq!(split_label(text), (front, label), "{text}");
        }
    }

    #[test]
    fn headers_for_players_are_no_part_of_a_url() {
        for (text, front, headers) in [
            (
                "http://h/a?b=1|User-Agent=VLC/3.0&Referer=http://x/",
                "http://h/a?b=1",
                Some("User-Agent=VLC/3.0&Referer=http://x/"),
            ),
            ("http://h/a|referer=x|y", "http://h/a", Some("referer=x|y")),
            ("http://h/a|b", "http://h/a|b", None),
            ("http://h/a?b=1|c=2", "http://h/a?b=1|c=2", None),
            ("http://h/a|", "http://h/a|", None),
            ("http://h/a|b/c-d=1", "http://h/a|b/c-d=1", None),
        ] {
            assert_eq!(split_headers(text), (front, headers), "{text}");
        }
    }

    #[test]
    fn queries_are_merged_as_the_specification_shows() {
        for (configured, asked, merged) in [
            (
                "http://h/p?a=1&b=2&a=3",
                "c=9&a=7&a=8",
                "h/p?a=7&a=8&b=2&c=9",
            ),
            ("http://h/p", "c=9&a", "h/p?c=9&a"),
            ("http://h/p?a=1", "", "h/p?a=1"),
            ("http://h/p?a=1", "r2h-token=x", "h/p?a=1"),
            ("http://h/p?a=1", "A=2", "h/p?a=1&A=2"),
            ("http://h/p?a&b", "a=2&b", "h/p?a=2&b"),
            (
                "rtp://239.0.0.1?fec=1",
                "fec=2&r2h-token=x",
                "239.0.0.1?fec=2",
            ),
            // Control parameters are defaults, whatever their case.
            (
                "rtsp://h/?r2h-seek-offset=5&x=1",
                "R2H-seek-offset=0",
                "h/?x=1&R2H-seek-offset=0",
            ),
            (
                "rtsp://h/?r2h-seek-mode=range(9)",
                "y=1",
                "h/?r2h-seek-mode=range(9)&y=1",
            ),
            // A configured seek value is used only as a whole; its name is remembered.
            ("rtsp://h/?tvdr=1741635000", "", "h/?tvdr=1741635000"),
            (
                "rtsp://h/?tvdr=1741635000",
                "x=1",
                "h/?x=1&r2h-seek-name=tvdr",
            ),
            (
                "rtsp://h/?tvdr=1&x=1",
                "tvdr=2",
                "h/?tvdr=2&x=1&r2h-seek-name=tvdr",
            ),
            (
                "rtsp://h/?r2h-seek-name=tvdr",
                "playseek=1",
                "h/?r2h-seek-name=tvdr&playseek=1",
            ),
            // A template of it stays for the value to be filled in.
            (
                "http://h/?playseek={utc}-{utcend}&len={duration}",
                "playseek=1-2",
                "h/?playseek={utc}-{utcend}&playseek=1-2&len={duration}&r2h-seek-name=playseek",
            ),
        ] {
            let query = Some(asked).filter(|asked| !asked.is_empty());
            let result = source(configured).merged(query).expect(configured);
            assert_eq!(result.rest, merged, "{configured} {asked}");
        }
    }

    #[test]
    fn merge_that_does_not_fit_is_refused() {
        let source = source("rtsp://h/?a=1");
        let fits = "b".repeat(SOURCE_BYTES_MAX - source.url().len() - 1);
        assert!(source.merged(Some(&fits)).is_ok());
        let error = source.merged(Some(&(fits + "b"))).expect_err("too long");
        assert!(error.to_string().starts_with("Merged RTSP URL too long"));
    }

    #[test]
    fn secrets_are_not_shown() {
        let source = source("rtsp://u:s3cret@h/?r2h-token=s3cret");
        assert!(!format!("{source:?}").contains("s3cret"));
    }

    /// The parameters of a query with their names, in order.
    fn named<'a>(query: &'a str, name: &str) -> Vec<&'a str> {
        query
            .split('&')
            .filter(|piece| name_of(piece) == name)
            .collect()
    }

    proptest! {
        #[test]
        fn every_parameter_of_the_request_is_asked_for(
            configured in "([ab]=[0-9]&){0,3}[ab]=[0-9]",
            asked in "([abc]=[0-9]&){0,3}[abc]=[0-9]",
        ) {
            let merged = source(&format!("http://h/?{configured}")).merged(Some(&asked)).expect("fits");
            let (_, query) = merged.rest.split_once('?').expect("a query");
            for name in ["a", "b", "c"] {
                let expected = match named(&asked, name) {
                    none if none.is_empty() => named(&configured, name),
                    given => given,
                };
                prop_assert_eq!(named(query, name), expected, "{}", query);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "(http|rtp|rtsp|https)://(\\PC|[a-z0-9:/?&=$#@\\[\\]{}%.]){0,40}", query in "\\PC{0,20}") {
            let (front, _) = split_label(split_headers(&text).0);
            if let Usability::Usable(source) = Source::read(front, "/tv") {
                let _ = source.merged(Some(&query));
                let _ = source.with_fragment(&query);
            }
        }
    }
}
