//! Local resources: what flowgate serves out of its own memory, such as pages and their assets (server spec §5.3,
//! §5.5, §8).
//!
//! Owns the choice between the plain and the compressed body, the validators and the head of the answer. What a
//! resource holds, and under which path, is for others to say. The body is sent from where it lies, bit by bit and
//! with no regard to the limits of queues, so it may have any length (server spec §17.3).
//!
//! Pure: a request and a resource in, head and body out.

use std::fmt::Write;

use super::Request;
use super::response::{self, visible};
use crate::config::Config;
use crate::proto::http::{self, Method};
pub use crate::send_queue::LocalBody;
use crate::web;

/// Appended to the validator of the compressed body: it is another representation, and a strong validator must tell
/// them apart (RFC 9110 §8.8.3.3).
const GZIP_SUFFIX: &str = "-gzip";

/// How long a browser may use a resource without asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    /// Not at all: it asks every time, and is told 304 if its copy is good.
    Revalidate,
    /// For a year: the name says which content it is.
    Immutable,
    /// It must not even be kept.
    Never,
}

impl Cache {
    fn directives(self) -> &'static str {
        match self {
            Self::Revalidate => "no-cache",
            Self::Immutable => "public, max-age=31536000, immutable",
            Self::Never => "no-store",
        }
    }
}

/// Something that is served to GET and HEAD. Cheap to clone: bodies are shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    content_type: &'static str,
    plain: Plain,
    gzip: Option<LocalBody>,
    validator: Option<String>,
    cache: Cache,
    /// Request headers that the body depends on, besides `Accept-Encoding` if there is a compressed one.
    vary: Vec<&'static str>,
    headers: Vec<(&'static str, String)>,
}

/// The body for clients that do not accept a compressed one.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Plain {
    Ready(LocalBody),
    /// It is made of this one when somebody wants it, which hardly anybody does.
    Packed(&'static [u8]),
}

impl Plain {
    fn body(&self) -> LocalBody {
        match self {
            Self::Ready(body) => body.clone(),
            Self::Packed(gzip) => LocalBody::Shared(web::unpack(gzip)),
        }
    }
}

/// The answer to a request for a resource.
#[derive(Debug)]
pub struct Reply {
    /// Status line and headers, empty line included.
    pub head: Vec<u8>,
    /// What follows; nothing on 304 and to HEAD.
    pub body: Option<LocalBody>,
}

impl Resource {
    /// A resource without a validator, to be asked for every time.
    pub fn new(content_type: &'static str, body: LocalBody) -> Self {
        Self::with_plain(content_type, Plain::Ready(body))
    }

    /// The same with a body that the program holds in the gzip format alone (RFC 1952); it is unpacked for those who
    /// do not accept that.
    pub fn packed(content_type: &'static str, gzip: &'static [u8]) -> Self {
        Self::with_plain(content_type, Plain::Packed(gzip)).with_gzip(LocalBody::Static(gzip))
    }

    fn with_plain(content_type: &'static str, plain: Plain) -> Self {
        Self {
            content_type,
            plain,
            gzip: None,
            validator: None,
            cache: Cache::Revalidate,
            vary: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// Adds the same body in the gzip format (RFC 1952), for clients that accept it.
    #[must_use]
    pub fn with_gzip(mut self, body: LocalBody) -> Self {
        self.gzip = Some(body);
        self
    }

    /// Adds a validator for conditional requests: visible ASCII without `"` and `,` that changes with the body and
    /// with every header that matters.
    #[must_use]
    pub fn with_validator(mut self, validator: impl Into<String>) -> Self {
        let validator = validator.into();
        debug_assert!(
            validator.bytes().all(|byte| byte.is_ascii_graphic())
                && !validator.contains(['"', ',']),
            "{validator} cannot stand in an ETag"
        );
        self.validator = Some(validator);
        self
    }

    /// Says how long browsers may keep it; [`Cache::Revalidate`] if nothing is said.
    #[must_use]
    pub fn with_cache(mut self, cache: Cache) -> Self {
        self.cache = cache;
        self
    }

    /// Says that another value of the request header called `name` might give another body.
    #[must_use]
    pub fn varying_with(mut self, name: &'static str) -> Self {
        self.vary.push(name);
        self
    }

    /// Adds a header; what is not visible ASCII in its value is shown as `?`.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The answer to `request`, which is GET or HEAD; with the access cookie if `sets_cookie`.
    ///
    /// 200, or 304 if the client has this very representation (RFC 9110 §13.1.2). The compressed body goes only to
    /// clients that accept it, and `Vary` tells caches so.
    pub fn reply(&self, request: &Request, config: &Config, sets_cookie: bool) -> Reply {
        let gzip = self.gzip.as_ref().filter(|_| accepts_gzip(request));
        let validator = self.validator.as_ref().map(|validator| match gzip {
            Some(_) => format!("{validator}{GZIP_SUFFIX}"),
            None => validator.clone(),
        });
        let is_known = validator
            .as_ref()
            .is_some_and(|validator| is_known(request, validator));
        let body = gzip.map_or_else(|| self.plain.body(), LocalBody::clone);
        let (status, length) = match is_known {
            // Against RFC 9110 §8.6, but what the compatible router sends.
            true => ("304 Not Modified", 0),
            false => ("200 OK", body.len()),
        };
        let mut head = format!("HTTP/1.1 {status}\r\n");
        let mut push = |name: &str, value: &str| {
            // Writing to a `String` cannot fail.
            let _ = write!(head, "{name}: {}\r\n", visible(value));
        };
        if !is_known {
            push("Content-Type", self.content_type);
        }
        push("Connection", "close");
        for (name, value) in response::common_headers(config, sets_cookie) {
            push(name, &value);
        }
        push("Content-Length", &length.to_string());
        if let Some(validator) = validator {
            push("ETag", &format!("\"{validator}\""));
        }
        push("Cache-Control", self.cache.directives());
        if gzip.is_some() && !is_known {
            push("Content-Encoding", "gzip");
        }
        let encoding = self.gzip.is_some().then_some("Accept-Encoding");
        let vary: Vec<&str> = encoding
            .into_iter()
            .chain(self.vary.iter().copied())
            .collect();
        if !vary.is_empty() {
            push("Vary", &vary.join(", "));
        }
        for (name, value) in &self.headers {
            push(name, value);
        }
        head.push_str("\r\n");
        let is_sent = !is_known && request.method != Method::Head;
        Reply {
            head: head.into_bytes(),
            body: is_sent.then_some(body),
        }
    }
}

/// Whether the client has the representation that `validator` names: `If-None-Match` lists it, or is `*`. Tags are
/// compared weakly, and the quotes may be missing (server spec §5.5).
fn is_known(request: &Request, validator: &str) -> bool {
    header_elements(request, "If-None-Match").any(|tag| {
        let tag = tag.strip_prefix(b"W/").unwrap_or(tag);
        let unquoted = tag
            .strip_prefix(b"\"")
            .and_then(|tag| tag.strip_suffix(b"\""));
        tag == b"*" || unquoted.unwrap_or(tag) == validator.as_bytes()
    })
}

/// Whether `Accept-Encoding` allows gzip: by name or by `*`, with a weight above zero; a name goes before `*` (RFC
/// 9110 §12.5.3). A client that says nothing does not get it, since it may well not understand it.
pub fn accepts_gzip(request: &Request) -> bool {
    let mut by_star = false;
    for element in header_elements(request, "Accept-Encoding") {
        let mut pieces = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let coding = pieces.next().unwrap_or_default();
        let is_wanted = !pieces.any(is_weight_of_zero);
        if coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip") {
            return is_wanted;
        }
        if coding == b"*" {
            by_star = is_wanted;
        }
    }
    by_star
}

/// `q=0`, with up to three more zeros behind a point (RFC 9110 §12.4.2).
fn is_weight_of_zero(parameter: &[u8]) -> bool {
    let Some((name, value)) = parameter.split_at_checked(2) else {
        return false;
    };
    name.eq_ignore_ascii_case(b"q=")
        && value.first() == Some(&b'0')
        && value.iter().all(|byte| matches!(byte, b'0' | b'.'))
}

/// The elements of every header called `name`, as one list.
fn header_elements<'a>(request: &'a Request, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    request.headers.all(name).flat_map(http::list_elements)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::http::Framing;

    const PLAIN: &[u8] = b"<!doctype html>";
    const PACKED: &[u8] = b"packed";

    fn request(method: Method, headers: &[(&str, &str)]) -> Request {
        Request {
            method,
            method_name: "GET".to_owned(),
            target: "/status".to_owned(),
            minor_version: 1,
            headers: headers.iter().copied().collect(),
            framing: Framing::Empty,
        }
    }

    fn page() -> Resource {
        Resource::new("text/html; charset=utf-8", LocalBody::Static(PLAIN))
            .with_gzip(LocalBody::Static(PACKED))
            .with_validator("v1")
    }

    fn get(resource: &Resource, headers: &[(&str, &str)]) -> (String, Vec<u8>) {
        parts(&resource.reply(&request(Method::Get, headers), &Config::default(), false))
    }

    fn parts(reply: &Reply) -> (String, Vec<u8>) {
        let head = String::from_utf8(reply.head.clone()).expect("ASCII");
        let body = reply.body.as_ref().map(|body| body.to_vec());
        (head, body.unwrap_or_default())
    }

    #[test]
    fn plain_body_goes_to_a_client_that_says_nothing_of_encodings() {
        let (head, body) = get(&page(), &[]);
        assert_eq!(
            head,
            "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\n\
             Content-Length: 15\r\nETag: \"v1\"\r\nCache-Control: no-cache\r\nVary: Accept-Encoding\r\n\r\n"
        );
        assert_eq!(body, PLAIN);
    }

    #[test]
    fn compressed_body_has_a_tag_of_its_own() {
        let (head, body) = get(&page(), &[("accept-encoding", "br, gzip")]);
        assert_eq!(
            head,
            "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\n\
             Content-Length: 6\r\nETag: \"v1-gzip\"\r\nCache-Control: no-cache\r\n\
             Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n\r\n"
        );
        assert_eq!(body, PACKED);
    }

    #[test]
    fn encodings_are_accepted_as_rfc_9110_says() {
        for (value, expected) in [
            ("gzip", true),
            ("GZIP", true),
            ("x-gzip", true),
            ("deflate, gzip;q=0.5", true),
            ("gzip;q=0.001", true),
            ("gzip; q=1", true),
            ("*", true),
            ("*;q=0.1, br", true),
            ("gzip;q=0", false),
            ("gzip; Q=0.000", false),
            ("gzip;q=0, *", false),
            ("*, gzip;q=0", false),
            ("*;q=0", false),
            ("identity", false),
            ("br", false),
            ("gzipped", false),
            ("", false),
        ] {
            let request = request(Method::Get, &[("Accept-Encoding", value)]);
            assert_eq!(accepts_gzip(&request), expected, "{value}");
        }
    }

    #[test]
    fn head_is_answered_like_get_without_the_body() {
        let headers = [("Accept-Encoding", "gzip")];
        let reply = page().reply(&request(Method::Head, &headers), &Config::default(), false);
        assert_eq!(parts(&reply).0, get(&page(), &headers).0);
        assert!(reply.body.is_none());
    }

    #[test]
    fn client_that_has_it_is_told_so() {
        for tag in [
            "\"v1\"",
            "W/\"v1\"",
            "v1",
            "\"x\", \"v1\"",
            "*",
            "\"x\" ,W/v1",
        ] {
            let (head, body) = get(&page(), &[("If-None-Match", tag)]);
            assert_eq!(
                head,
                "HTTP/1.1 304 Not Modified\r\nConnection: close\r\nContent-Length: 0\r\nETag: \"v1\"\r\n\
                 Cache-Control: no-cache\r\nVary: Accept-Encoding\r\n\r\n",
                "{tag}"
            );
            assert!(body.is_empty());
        }
        for tag in ["\"v1-gzip\"", "\"v\"", "\"v1", "V1", "", "\"x\""] {
            let (head, _) = get(&page(), &[("If-None-Match", tag)]);
            assert!(head.starts_with("HTTP/1.1 200 "), "{tag}: {head}");
        }
    }

    #[test]
    fn packed_body_is_unpacked_for_who_cannot() {
        let Some(web::AssetBody::Gzip(gzip)) =
            web::asset("mpegts-bda31748736a.js").map(|asset| asset.body)
        else {
            panic!("there is no packed asset");
        };
        let resource = Resource::packed("text/plain", gzip);
        let (head, body) = get(&resource, &[("Accept-Encoding", "gzip")]);
        assert!(head.contains("\r\nContent-Encoding: gzip\r\n"), "{head}");
        assert_eq!(body, gzip);
        let (head, body) = get(&resource, &[]);
        assert!(!head.contains("Content-Encoding"), "{head}");
        assert!(head.contains("\r\nVary: Accept-Encoding\r\n"), "{head}");
        assert!(body.starts_with(b"/*!") && body.len() > 200_000);
    }

    #[test]
    fn resource_without_a_validator_is_always_sent() {
        let resource = Resource::new("image/png", LocalBody::Static(b"png"))
            .with_cache(Cache::Immutable)
            .with("X-A", "b\r\nX-C: d");
        let (head, body) = get(&resource, &[("If-None-Match", "*")]);
        assert_eq!(
            head,
            "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nConnection: close\r\nContent-Length: 3\r\n\
             Cache-Control: public, max-age=31536000, immutable\r\nX-A: b??X-C: d\r\n\r\n"
        );
        assert_eq!(body, b"png");
    }

    #[test]
    fn origin_and_cookie_are_told_here_too() {
        let config = Config {
            cors_allow_origin: Some("*".to_owned()),
            r2h_token: crate::config::Token::parse("k").ok(),
            ..Config::default()
        };
        let reply = page().reply(&request(Method::Get, &[]), &config, true);
        let (head, _) = parts(&reply);
        let expected = "Connection: close\r\nSet-Cookie: r2h-token=k; Path=/; HttpOnly; SameSite=Strict\r\n\
                        Access-Control-Allow-Origin: *\r\nContent-Length";
        assert!(head.contains(expected), "{head}");
    }

    #[test]
    fn headers_that_matter_are_told_in_one() {
        let (head, _) = get(&page().varying_with("X-A").varying_with("X-B"), &[]);
        assert!(
            head.contains("\r\nVary: Accept-Encoding, X-A, X-B\r\n"),
            "{head}"
        );
        let plain = Resource::new("image/png", LocalBody::Static(b"png")).varying_with("X-A");
        assert!(get(&plain, &[]).0.contains("\r\nVary: X-A\r\n"));
    }

    proptest! {
        #[test]
        fn any_header_gives_a_whole_answer(
            tags in prop::collection::vec(any::<u8>(), 0..40),
            encodings in "[gzipGZIP*;q=0-9., ]{0,30}",
        ) {
            let mut request = request(Method::Get, &[("Accept-Encoding", &encodings)]);
            request.headers.extend([("If-None-Match", tags)]);
            let (head, body) = parts(&page().reply(&request, &Config::default(), false));
            let length = format!("Content-Length: {}\r\n", body.len());
            prop_assert!(head.contains(&length));
            prop_assert_eq!(head.contains("Content-Encoding"), body == PACKED);
        }
    }
}
