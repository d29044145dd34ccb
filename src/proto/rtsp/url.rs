//! RTSP URLs: where to connect, who to be, and what stands in the request line.
//!
//! Nothing is resolved here, and labels, seek parameters and time placeholders are gone before. A
//! [`RequestUrl`] cannot hold anything that would end the request line or start another header.

use std::fmt;

use super::super::url::{self, Host, percent_decode};

/// Longest request URL in bytes (RTSP spec §1).
pub const URL_BYTES_MAX: usize = 2047;
/// Longest user name and longest password, decoded, in bytes. Chosen: twice what others accept.
pub const CREDENTIAL_BYTES_MAX: usize = 255;
/// Port of `rtsp` (RFC 2326 §3.2).
const PORT: u16 = 554;
/// Port of `rtsps` (RFC 7826 §4.2, IANA).
const PORT_TLS: u16 = 322;

/// Why an RTSP URL was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlError {
    /// Neither `rtsp://` nor `rtsps://`.
    Scheme,
    /// No host.
    Host,
    /// The authority is wrong, as the error inside says.
    Authority(url::UrlError),
    /// User or password cannot be decoded, or is longer than [`CREDENTIAL_BYTES_MAX`] bytes.
    Credentials(url::UrlError),
    /// Control characters.
    Control,
    /// Longer than `limit` bytes.
    TooLong {
        /// [`URL_BYTES_MAX`]
        limit: usize,
    },
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UrlError::Scheme => f.write_str("RTSP URL does not start with rtsp:// or rtsps://"),
            UrlError::Host => f.write_str("RTSP URL has no host"),
            UrlError::Authority(error) => write!(f, "RTSP URL: {error}"),
            UrlError::Credentials(error) => write!(f, "user or password of RTSP URL: {error}"),
            UrlError::Control => f.write_str("RTSP URL has control characters"),
            UrlError::TooLong { limit } => write!(f, "RTSP URL is longer than {limit} bytes"),
        }
    }
}

impl std::error::Error for UrlError {}

/// User name and password, decoded. Neither has control characters.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name, not empty.
    pub user: String,
    /// Password, perhaps empty.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(***)")
    }
}

/// The URL of a request line: at most [`URL_BYTES_MAX`] bytes, without white space and control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestUrl(String);

impl RequestUrl {
    /// Accepts `text` as it is, except that a space becomes `%20`.
    ///
    /// # Errors
    ///
    /// `Control` for any other white space or control character, `TooLong`.
    pub fn new(text: &str) -> Result<Self, UrlError> {
        let text = text.replace(' ', "%20");
        if text.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err(UrlError::Control);
        }
        if text.len() > URL_BYTES_MAX {
            return Err(UrlError::TooLong {
                limit: URL_BYTES_MAX,
            });
        }
        Ok(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An RTSP URL taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Whether the connection is TLS (`rtsps`).
    pub tls: bool,
    /// The host; a scope of an IPv6 address is kept here but never sent.
    pub host: Host,
    /// The port, not 0.
    pub port: u16,
    /// Credentials, if there is a user that is not empty.
    pub credentials: Option<Credentials>,
    /// What requests carry: no credentials, no default port, path and query as they were.
    pub request: RequestUrl,
}

impl Url {
    /// Parses `rtsp://[user[:password]@]host[:port][/path][?query]` (RTSP spec §2).
    ///
    /// The scheme is case-insensitive and may be `rtsps`. Credentials end at the last `@` of the authority and
    /// are percent-decoded. A query without a path keeps its place behind `/`.
    ///
    /// # Errors
    ///
    /// One [`UrlError`] for each way the text can break these rules.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "rtsp" => false,
            "rtsps" => true,
            _ => return Err(UrlError::Scheme),
        };
        // A `?` before any `/` may also be part of a password, so it ends the authority only behind `@`.
        let before_slash = rest.find('/').unwrap_or(rest.len());
        let (front, path) = rest.split_at_checked(before_slash).unwrap_or((rest, ""));
        let (user_info, endpoint) = match front.rsplit_once('@') {
            Some((user_info, endpoint)) => (user_info, endpoint),
            None => ("", front),
        };
        let (endpoint, query) = match endpoint.find(['?', '#']) {
            Some(at) => endpoint.split_at_checked(at).unwrap_or((endpoint, "")),
            None => (endpoint, ""),
        };
        if endpoint.is_empty() || endpoint.starts_with(':') {
            return Err(UrlError::Host);
        }
        let endpoint = url::with_bare_scope(endpoint);
        let (host, port) = url::parse_endpoint(&endpoint).map_err(UrlError::Authority)?;
        let credentials = parse_credentials(user_info).map_err(UrlError::Credentials)?;
        let default_port = if tls { PORT_TLS } else { PORT };
        let port = port.unwrap_or(default_port);

        let shown = match &host {
            Host::Ip { address, .. } => Host::from(*address),
            Host::Name(_) => host.clone(),
        };
        let scheme = if tls { "rtsps" } else { "rtsp" };
        let port_shown = if port == default_port {
            String::new()
        } else {
            format!(":{port}")
        };
        let slash = if query.is_empty() && !path.is_empty() {
            ""
        } else {
            "/"
        };
        let request = RequestUrl::new(&format!(
            "{scheme}://{shown}{port_shown}{slash}{query}{path}"
        ))?;
        Ok(Self {
            tls,
            host,
            port,
            credentials,
            request,
        })
    }

    /// Whether credentials meant for `self` may be shown to `other`: same host, and no step from TLS to clear text.
    pub fn trusts(&self, other: &Url) -> bool {
        let same_host = match (&self.host, &other.host) {
            (Host::Name(ours), Host::Name(theirs)) => ours.eq_ignore_ascii_case(theirs),
            (ours, theirs) => ours == theirs,
        };
        same_host && (other.tls || !self.tls)
    }
}

fn parse_credentials(user_info: &str) -> Result<Option<Credentials>, url::UrlError> {
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let credentials = Credentials {
        user: percent_decode(user)?,
        password: percent_decode(password)?,
    };
    for (part, text) in [
        ("user", &credentials.user),
        ("password", &credentials.password),
    ] {
        if text.len() > CREDENTIAL_BYTES_MAX {
            return Err(url::UrlError::TooLong {
                part,
                limit: CREDENTIAL_BYTES_MAX,
            });
        }
    }
    Ok(Some(credentials).filter(|credentials| !credentials.user.is_empty()))
}

/// Resolves `reference` against `base`, an absolute URL (RFC 3986 §5.2, without dot segments).
///
/// One departure: a base that ends in `/` takes the reference behind it even if that `/` is part of its query,
/// since cameras send `Content-Base: rtsp://h/x?channel=1/` and mean just that.
pub fn resolve(base: &str, reference: &str) -> String {
    if has_scheme(reference) {
        return reference.to_owned();
    }
    let (scheme, rest) = base.split_once("://").unwrap_or(("rtsp", base));
    let authority_bytes = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, behind) = rest.split_at_checked(authority_bytes).unwrap_or((rest, ""));
    let path = behind.split(['?', '#']).next().unwrap_or_default();
    match reference.as_bytes() {
        [] => base.to_owned(),
        [b'/', b'/', ..] => format!("{scheme}:{reference}"),
        [b'/', ..] => format!("{scheme}://{authority}{reference}"),
        [b'?', ..] => format!("{scheme}://{authority}{path}{reference}"),
        _ if behind.ends_with('/') => format!("{base}{reference}"),
        _ => {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{scheme}://{authority}{folder}/{reference}")
        }
    }
}

/// RFC 3986 §3.1, with an authority behind it.
fn has_scheme(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    })
}

/// Takes the first parameter called `name` (case-sensitive) out of the query of `url`, and returns what remains
/// and the value as it stood. Serves redirects, whose URLs may carry parameters meant for us (RTSP spec §11).
pub fn take_parameter(url: &str, name: &str) -> (String, Option<String>) {
    let Some((front, query)) = url.split_once('?') else {
        return (url.to_owned(), None);
    };
    let mut value = None;
    let kept: Vec<&str> = query
        .split('&')
        .filter(|parameter| match parameter.split_once('=') {
            Some((key, text)) if key == name && value.is_none() => {
                value = Some(text.to_owned());
                false
            }
            _ => true,
        })
        .collect();
    match value {
        Some(_) if kept.is_empty() => (front.to_owned(), value),
        Some(_) => (format!("{front}?{}", kept.join("&")), value),
        None => (url.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(text: &str) -> String {
        let url = Url::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        url.request.to_string()
    }

    #[test]
    fn request_url_has_no_credentials_and_no_default_port() {
        for (text, expected) in [
            (
                "rtsp://user:p%40ss@h:8554/live/ch1?token=abc",
                "rtsp://h:8554/live/ch1?token=abc",
            ),
            ("rtsp://h:554/a?b=c/d@e", "rtsp://h/a?b=c/d@e"),
            ("RTSP://h/", "rtsp://h/"),
            ("rtsp://h", "rtsp://h/"),
            ("rtsp://h?x=1", "rtsp://h/?x=1"),
            ("rtsp://h?x=/1", "rtsp://h/?x=/1"),
            ("rtsp://u:a?b@h/x", "rtsp://h/x"),
            ("rtsp://u:a@b@h:/x", "rtsp://h/x"),
            ("rtsp://[2001:db8::1]:8554/x", "rtsp://[2001:db8::1]:8554/x"),
            ("rtsp://[fe80::1%25eth0]/x", "rtsp://[fe80::1]/x"),
            ("rtsps://h/x", "rtsps://h/x"),
            ("rtsps://h:554/x", "rtsps://h:554/x"),
            ("rtsp://h/a b", "rtsp://h/a%20b"),
            ("rtsp://h/%0d%0aé", "rtsp://h/%0d%0aé"),
        ] {
            assert_eq!(request(text), expected, "{text}");
        }
    }

    #[test]
    fn ports_and_credentials_are_taken_out() {
        let url = Url::parse("rtsp://user:p%40s:s@h:8554/x").unwrap();
        assert_eq!((url.port, url.tls), (8554, false));
        let credentials = url.credentials.unwrap();
        assert_eq!(
            (&*credentials.user, &*credentials.password),
            ("user", "p@s:s")
        );
        assert_eq!(format!("{credentials:?}"), "Credentials(***)");
        assert_eq!(Url::parse("rtsp://h/").unwrap().port, 554);
        assert_eq!(Url::parse("rtsps://h/").unwrap().port, 322);
        let user_only = Url::parse("rtsp://u@h/").unwrap().credentials.unwrap();
        assert_eq!(user_only.password, "");
        assert_eq!(Url::parse("rtsp://:p@h/").unwrap().credentials, None);
    }

    #[test]
    fn scope_is_kept_for_ourselves() {
        for (text, scope) in [
            ("rtsp://[fe80::1%25eth0]/x", Some("eth0")),
            ("rtsp://[fe80::1%eth0]:8554/x", Some("eth0")),
            ("rtsp://[fe80::1%252]/x", Some("2")),
            ("rtsp://[fe80::1%eth%250]/x", Some("eth%250")),
            ("rtsp://[fe80::1]/%25eth0", None),
        ] {
            assert_eq!(Url::parse(text).unwrap().host.scope(), scope, "{text}");
        }
    }

    #[test]
    fn wrong_urls_are_refused() {
        for text in [
            "",
            "http://h/",
            "rtsp:/h",
            "rtsp://",
            "rtsp:///x",
            "rtsp://:554/",
            "rtsp://u@/x",
            "rtsp://h:0/",
            "rtsp://h:65536/",
            "rtsp://h:5x/",
            "rtsp://a:%zz@h/",
            "rtsp://a%0d%0ab@h/",
            "rtsp://h/a\r\nX: y",
            "rtsp://h/\u{85}",
            "rtsp://h/\t",
            "rtsp://a b/",
            "rtsp://[::1/",
        ] {
            assert!(Url::parse(text).is_err(), "{text:?}");
        }
        let long = format!("rtsp://h/{}", "x".repeat(URL_BYTES_MAX - 9));
        assert!(Url::parse(&long).is_ok());
        assert_eq!(
            Url::parse(&(long + "x")),
            Err(UrlError::TooLong { limit: 2047 })
        );
        let long = format!("rtsp://{}@h/", "u".repeat(256));
        assert!(matches!(Url::parse(&long), Err(UrlError::Credentials(_))));
    }

    #[test]
    fn credentials_stay_with_their_host() {
        let home = Url::parse("rtsp://Tv.example/x").unwrap();
        for (other, trusted) in [
            ("rtsp://tv.EXAMPLE:8554/y", true),
            ("rtsps://tv.example/", true),
            ("rtsp://tv.example.org/", false),
            ("rtsp://10.0.0.1/", false),
        ] {
            assert_eq!(home.trusts(&Url::parse(other).unwrap()), trusted, "{other}");
        }
        let secret = Url::parse("rtsps://h/").unwrap();
        assert!(!secret.trusts(&Url::parse("rtsp://h/").unwrap()));
    }

    #[test]
    fn references_are_resolved() {
        for (base, reference, expected) in [
            // RTSP spec §13.
            (
                "rtsp://h/live/s.sdp/",
                "trackID=2",
                "rtsp://h/live/s.sdp/trackID=2",
            ),
            (
                "rtsp://h/live/s.sdp",
                "trackID=2",
                "rtsp://h/live/trackID=2",
            ),
            ("rtsp://h/a", "rtsp://h/alt/t1", "rtsp://h/alt/t1"),
            ("rtsp://h", "t1", "rtsp://h/t1"),
            // RTSP spec §27.18.
            ("rtsp://h:8/live/s", "/x", "rtsp://h:8/x"),
            (
                "rtsp://h/live/s?a=b/c",
                "trackID=1",
                "rtsp://h/live/trackID=1",
            ),
            (
                "rtsp://h/cam?channel=1/",
                "trackID=1",
                "rtsp://h/cam?channel=1/trackID=1",
            ),
            ("rtsp://h?a=b/c", "t", "rtsp://h/t"),
            ("rtsp://h/a?b", "?c", "rtsp://h/a?c"),
            ("rtsps://h/a", "//g/b", "rtsps://g/b"),
            ("rtsp://h/a", "", "rtsp://h/a"),
            ("rtsp://h/a/b", "c?d=rtsp://x/", "rtsp://h/a/c?d=rtsp://x/"),
        ] {
            assert_eq!(resolve(base, reference), expected, "{base} + {reference}");
        }
    }

    #[test]
    fn first_parameter_of_a_name_is_taken() {
        let taken = |url| take_parameter(url, "r2h-start");
        assert_eq!(
            taken("rtsp://h/a?x=1&r2h-start=5&r2h-start=6"),
            ("rtsp://h/a?x=1&r2h-start=6".into(), Some("5".into()))
        );
        assert_eq!(
            taken("rtsp://h/a?r2h-start="),
            ("rtsp://h/a".into(), Some(String::new()))
        );
        for url in [
            "rtsp://h/r2h-start=5",
            "rtsp://h/a?R2H-start=5&xr2h-start=4",
        ] {
            assert_eq!(taken(url), (url.to_owned(), None));
        }
    }

    proptest! {
        #[test]
        fn no_text_gets_behind_the_request_line(text in "(rtsp://)?[a-z:@/?\\[\\] \\r\\n\\PC]{0,40}") {
            if let Ok(url) = Url::parse(&text) {
                let request = url.request.as_str();
                prop_assert!(!request.contains(|c: char| c.is_control() || c.is_whitespace()));
                // What we send is understood as what we connect to.
                let again = Url::parse(request).unwrap();
                prop_assert_eq!((again.port, again.tls), (url.port, url.tls));
                prop_assert_eq!(again.request, url.request);
            }
        }

        #[test]
        fn resolving_never_fails(base in "\\PC{0,30}", reference in "\\PC{0,30}") {
            resolve(&base, &reference);
        }
    }
}
