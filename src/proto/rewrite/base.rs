//! What the links of a playlist begin with (http-proxy spec §14.7).
//!
//! The host comes from the client, so it is checked before it may stand in a playlist: nothing but a host and a
//! port gets through.

use std::borrow::Cow;

use crate::proto::origin::{Scheme, check_authority};

/// Everything that decides how links begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkBase<'a> {
    /// `use-relative-path-in-m3u`: neither scheme nor host.
    pub relative: bool,
    /// `app-path-prefix`: empty, or `/` and more without a `/` at the end.
    pub prefix: &'a str,
    /// The scheme written in the `hostname` option, if there is one.
    pub scheme: Option<Scheme>,
    /// `xff`: whether the `X-Forwarded-…` headers count.
    pub trust_forwarded: bool,
    /// Value of `Host`.
    pub host: Option<&'a str>,
    /// Value of `X-Forwarded-Host`, possibly a list; its first element counts.
    pub forwarded_host: Option<&'a str>,
    /// Value of `X-Forwarded-Proto`, possibly a list; its first element counts.
    pub forwarded_proto: Option<&'a str>,
}

impl<'a> LinkBase<'a> {
    /// The base: `scheme://host[:port]<prefix>/`, or `<prefix>/` in relative mode.
    ///
    /// A forwarded host that is not a host gives way to `Host`, a forwarded scheme other than `http` and
    /// `https` to the configured one or `http`. `None` if no usable host is left; the server's own address is
    /// then to be used.
    pub fn write(&self) -> Option<String> {
        if self.relative {
            return Some([self.prefix, "/"].concat());
        }
        let host = self
            .forwarded(self.forwarded_host)
            .and_then(checked_host)
            .or_else(|| checked_host(self.host?))?;
        let scheme = self
            .forwarded(self.forwarded_proto)
            .and_then(Scheme::named)
            .or(self.scheme)
            .unwrap_or(Scheme::Http);
        Some([scheme.name(), "://", &host, self.prefix, "/"].concat())
    }

    /// The first element of a forwarded list, if such lists count.
    fn forwarded(&self, list: Option<&'a str>) -> Option<&'a str> {
        let list = list.filter(|_| self.trust_forwarded)?;
        Some(list.split(',').next().unwrap_or_default().trim())
    }
}

/// The host and port as they were written, a bare IPv6 address in brackets.
///
/// The port is the client's: it is kept even if it is the scheme's own, and none is added.
fn checked_host(text: &str) -> Option<Cow<'_, str>> {
    check_authority(text).ok()?;
    let is_bare_ipv6 =
        !text.starts_with('[') && text.bytes().filter(|byte| *byte == b':').count() > 1;
    Some(if is_bare_ipv6 {
        Cow::Owned(format!("[{text}]"))
    } else {
        Cow::Borrowed(text)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: LinkBase<'_> = LinkBase {
        relative: false,
        prefix: "",
        scheme: None,
        trust_forwarded: false,
        host: Some("tv.home:5140"),
        forwarded_host: None,
        forwarded_proto: None,
    };

    const FORWARDED: LinkBase<'_> = LinkBase {
        trust_forwarded: true,
        forwarded_host: Some("a.example:8443, b.example"),
        forwarded_proto: Some("https,http"),
        ..PLAIN
    };

    fn written(base: LinkBase<'_>) -> String {
        base.write().expect("a usable host")
    }

    #[test]
    fn host_header_is_the_base() {
        assert_eq!(written(PLAIN), "http://tv.home:5140/");
        assert_eq!(
            written(LinkBase {
                prefix: "/tv",
                ..PLAIN
            }),
            "http://tv.home:5140/tv/"
        );
        let https = Some(Scheme::Https);
        assert_eq!(
            written(LinkBase {
                scheme: https,
                ..PLAIN
            }),
            "https://tv.home:5140/"
        );
        for (host, expected) in [
            ("tv.home:80", "http://tv.home:80/"),
            ("TV.home.", "http://TV.home./"),
            ("2001:db8::7", "http://[2001:db8::7]/"),
            ("[2001:db8::7]:81", "http://[2001:db8::7]:81/"),
        ] {
            assert_eq!(
                written(LinkBase {
                    host: Some(host),
                    ..PLAIN
                }),
                expected
            );
        }
    }

    #[test]
    fn relative_base_is_the_prefix() {
        let relative = LinkBase {
            relative: true,
            host: None,
            ..FORWARDED
        };
        assert_eq!(written(relative), "/");
        assert_eq!(
            written(LinkBase {
                prefix: "/tv",
                ..relative
            }),
            "/tv/"
        );
    }

    #[test]
    fn first_forwarded_element_counts_if_trusted() {
        assert_eq!(written(FORWARDED), "https://a.example:8443/");
        assert_eq!(
            written(LinkBase {
                trust_forwarded: false,
                ..FORWARDED
            }),
            "http://tv.home:5140/"
        );
        assert_eq!(
            written(LinkBase {
                forwarded_host: None,
                ..FORWARDED
            }),
            "https://tv.home:5140/"
        );
        let configured = LinkBase {
            scheme: Some(Scheme::Https),
            forwarded_proto: Some("HTTP"),
            ..FORWARDED
        };
        assert_eq!(written(configured), "http://a.example:8443/");
    }

    #[test]
    fn unusable_forwarded_values_give_way() {
        for bad in ["", " , a", "a b", "a/b", "a\"b", "h:x"] {
            let base = LinkBase {
                forwarded_host: Some(bad),
                forwarded_proto: Some("javascript"),
                ..FORWARDED
            };
            assert_eq!(written(base), "http://tv.home:5140/", "{bad}");
        }
    }

    #[test]
    fn hostile_hosts_are_not_used() {
        for host in [
            "",
            "a\r\n#EXTINF:1,\r\nx",
            "h\"",
            "h/../x",
            "me@h",
            "h h",
            "h?x",
            "h#x",
            "[::1",
            "h:",
            "h:1:",
        ] {
            let base = LinkBase {
                host: Some(host),
                ..PLAIN
            };
            let written = base.write();
            assert!(written.is_none() || host == "h:", "{host:?}: {written:?}");
        }
        assert_eq!(
            LinkBase {
                host: None,
                ..PLAIN
            }
            .write(),
            None
        );
    }

    proptest! {
        #[test]
        fn nothing_but_a_host_gets_through(host in "\\PC{0,20}|[a-z0-9:.\\[\\]%@/?# \"\\x00-\\x1f]{0,20}") {
            let base = LinkBase { host: Some(&host), ..PLAIN };
            if let Some(written) = base.write() {
                let inside = written.strip_prefix("http://").and_then(|rest| rest.strip_suffix('/')).unwrap();
                prop_assert!(inside.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:[]%".contains(&byte)));
            }
        }
    }
}
