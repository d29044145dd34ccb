//! What a request for media is called in logs and on pages: readable, and without secrets.
//!
//! Pure. Targets are those of requests as [`access`](super::access) granted them, below the prefix of all paths.

use crate::playlist::Source;
use crate::playlist::source::Scheme;
use crate::proto::rewrite::token::TOKEN_NAME;
use crate::proto::{query, seek, url};

/// A request for media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// `rtp`, `rtsp` or `http`.
    pub kind: &'static str,
    /// Where the media comes from: `rtp://`, `rtsp://`, `rtsps://`, `http://` or `https://`, without the parameters
    /// that are for this server.
    pub upstream_url: String,
}

/// What begins each kind of target, what kind it is, and the scheme of its source.
const PREFIXES: [(&str, &str, &str); 6] = [
    ("/rtp/", "rtp", "rtp"),
    ("/udp/", "rtp", "rtp"),
    ("/rtsp/", "rtsp", "rtsp"),
    ("/rtsps/", "rtsp", "rtsps"),
    ("/http/", "http", "http"),
    ("/https/", "http", "https"),
];

impl Service {
    /// The service that `target` names, whether or not it can be served; `None` if it is no request for media.
    pub fn named(target: &str) -> Option<Self> {
        let found = PREFIXES.iter().find_map(|&(prefix, kind, scheme)| {
            let rest = target.strip_prefix(prefix)?;
            Some((rest, kind, scheme))
        });
        let (rest, kind, scheme) = found?;
        let rest = match kind {
            // There a `$` may be the upstream's own.
            "http" => rest,
            _ => url::strip_label(rest),
        };
        Some(Self::of_upstream(kind, scheme, rest))
    }

    /// The service that has a configured source, with the query of a request merged into it.
    pub fn of_source(source: &Source) -> Self {
        let kind = match source.scheme {
            Scheme::Multicast => "rtp",
            Scheme::Rtsp | Scheme::Rtsps => "rtsp",
            Scheme::Http | Scheme::Https => "http",
        };
        Self::of_upstream(kind, source.scheme.name(), &source.rest)
    }

    fn of_upstream(kind: &'static str, scheme: &str, rest: &str) -> Self {
        let rest = match kind {
            "rtp" => OWN_OF_GROUPS
                .iter()
                .fold(rest.to_owned(), |rest, name| without(&rest, name)),
            _ => seek::without_own_parameters(rest),
        };
        Self {
            kind,
            upstream_url: url::redact(&format!("{scheme}://{rest}")).into_owned(),
        }
    }
}

/// The parameters of a group's URL that are for this server.
const OWN_OF_GROUPS: [&str; 3] = [TOKEN_NAME, "r2h-ifname", "r2h-ifname-fcc"];

/// Path and query of `target` as people read them: the path decoded and without its label, the query without the
/// access token, and no passwords (server spec §10.3, §12).
pub fn service_url(target: &str) -> String {
    let is_proxied = Service::named(target).is_some_and(|service| service.kind == "http");
    let target = match is_proxied {
        true => target,
        false => url::strip_label(target),
    };
    let target = without(target, TOKEN_NAME);
    // Before it is decoded, when an encoded slash still is no end of a password; and after it, in case the
    // escapes have hidden one.
    let target = url::redact(&target);
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (&*target, None),
    };
    let mut text = url::percent_decode(path).unwrap_or_else(|_| path.to_owned());
    if let Some(query) = query {
        text.push('?');
        text.push_str(query);
    }
    url::redact(&text).into_owned()
}

fn without(target: &str, name: &str) -> String {
    query::remove(target, name, |_| true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn service_urls_are_readable() {
        for (target, expected) in [
            ("/rtp/239.0.0.1:5000", "/rtp/239.0.0.1:5000"),
            ("/rtp/239.0.0.1:5000$HD", "/rtp/239.0.0.1:5000"),
            ("/%E9%A2%91%E9%81%93?a=%20b", "/频道?a=%20b"),
            ("/a%zz%20b", "/a%zz%20b"),
            ("/x?r2h-token=s&b=1", "/x?b=1"),
            ("/x?R2H-Token=s", "/x"),
            ("/http/h/a$b?c=$d&r2h-token=s", "/http/h/a$b?c=$d"),
            ("/rtsp/u:p@h/a", "/rtsp/***@h/a"),
            ("/rtsp/u:p%2Fq@h/a", "/rtsp/***@h/a"),
            ("/rtsp/u%3Ap%40h/a", "/rtsp/***@h/a"),
            ("/a%0Ab", "/a%0Ab"),
            ("/", "/"),
        ] {
            assert_eq!(service_url(target), expected, "{target}");
        }
    }

    #[test]
    fn upstreams_are_named_without_what_is_for_this_server() {
        for (target, kind, upstream) in [
            (
                "/udp/10.0.0.1@239.0.0.1:5000?r2h-ifname=eth1&fcc=1.2.3.4:5&r2h-token=s$HD",
                "rtp",
                "rtp://10.0.0.1@239.0.0.1:5000?fcc=1.2.3.4:5",
            ),
            (
                "/rtsp/u:p@h:554/a?playseek=20250310193000-20250310210000&b=1&r2h-seek-mode=range",
                "rtsp",
                "rtsp://***@h:554/a?b=1",
            ),
            ("/rtsps/h/a$HD", "rtsp", "rtsps://h/a"),
            (
                "/http/h/a$b?r2h-seek-name=from&from=1&r2h-ifname=eth1",
                "http",
                "http://h/a$b",
            ),
            (
                "/https/h/${utc}.ts?c=%20",
                "http",
                "https://h/${utc}.ts?c=%20",
            ),
            (
                "/rtsp/h/?r2h-start=5&r2h-scale=2&r2h-duration=1",
                "rtsp",
                "rtsp://h/",
            ),
            ("/rtp/nonsense", "rtp", "rtp://nonsense"),
        ] {
            let service = Service::named(target).expect(target);
            assert_eq!((service.kind, &*service.upstream_url), (kind, upstream));
        }
        for target in ["/", "/status", "/rtp", "/RTP/239.0.0.1", "/assets/a.png"] {
            assert_eq!(Service::named(target), None, "{target}");
        }
    }

    #[test]
    fn configured_source_is_called_like_one_in_a_target() {
        for (scheme, rest, target) in [
            (Scheme::Multicast, "239.0.0.1?fec=1", "/udp/239.0.0.1?fec=1"),
            (Scheme::Rtsps, "u:p@h/a", "/rtsps/u:p@h/a"),
            (Scheme::Http, "h/a?playseek=1", "/http/h/a"),
        ] {
            let rest = rest.to_owned();
            let service = Service::of_source(&Source { scheme, rest });
            assert_eq!(Service::named(target), Some(service), "{target}");
        }
    }

    proptest! {
        #[test]
        fn no_token_is_shown(
            front in "(/rtp/|/http/h/|/rtsp/|/)[a-z:@/%0-9$]{0,12}",
            query in "(\\?|&|a=b|r2h-ifname=x|\\$x){0,5}",
            behind in "(&[a-z]=[a-z]|\\$HD|\\?x=1){0,3}",
        ) {
            let target = format!("{front}?{query}&r2h-token=s3cret{behind}");
            prop_assert!(!service_url(&target).contains("s3cret"));
            if let Some(service) = Service::named(&target) {
                prop_assert!(!service.upstream_url.contains("s3cret"));
            }
        }
    }
}
