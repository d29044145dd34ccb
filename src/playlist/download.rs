//! One document from an HTTP server, through redirects: what is asked, and what the answers mean (http-proxy spec
//! §19). Sans-I/O: heads and bodies in, a document or the next URL out. Time limits are the caller's.

use std::borrow::Cow;
use std::fmt;

use md5::{Digest, Md5};

use crate::proto::http::decode_response;
use crate::proto::origin::{HttpUrl, OriginError};
use crate::proto::reference::Reference;
use crate::proto::rewrite::content::{self, ContentError};
use crate::proto::user_info::UserInfo;

/// Redirects that are followed. Chosen: what browsers allow is twice as much, and nobody needs more than two or three.
const REDIRECTS_MAX: usize = 10;
/// Longest validator that is sent back, bytes; a longer one is forgotten.
const VALIDATOR_BYTES_MAX: usize = 256;
/// Who asks.
const USER_AGENT: &str = concat!("flowgate/", env!("CARGO_PKG_VERSION"));

/// By what a server tells whether a document is still the same (RFC 9110 §8.8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// The value of `ETag`.
    pub tag: Option<String>,
    /// The value of `Last-Modified`.
    pub modified: Option<String>,
}

/// A document that has come whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Document {
    /// As they came, but for content codings; of these a single gzip stays.
    pub bytes: Vec<u8>,
    /// MD5 of the bytes.
    pub digest: [u8; 16],
    /// For the next time.
    pub validators: Validators,
}

impl Document {
    /// A document that somebody else has brought.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            digest: Md5::digest(&bytes).into(),
            bytes,
            validators: Validators::default(),
        }
    }
}

/// How an answer ends.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The document is there.
    Document(Document),
    /// It is what it was.
    Unchanged,
    /// It has to be asked for elsewhere.
    Elsewhere(Box<Download>),
}

/// Why there is no document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownloadError {
    /// The server's answer is another one.
    Status(u16),
    /// It has more than `limit` bytes.
    TooLong {
        /// In bytes.
        limit: usize,
    },
    /// A redirect without a URL.
    NoLocation,
    /// A redirect to a URL that cannot be asked for.
    Location(OriginError),
    /// More than `limit` redirects.
    Redirects {
        /// How many are followed.
        limit: usize,
    },
    /// The head cannot be read.
    Head,
    /// The server has compressed it in a way that cannot be undone.
    Content(ContentError),
}

impl fmt::Display for DownloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "the server answers with status {status}"),
            Self::TooLong { limit } => write!(f, "it is longer than {limit} bytes"),
            Self::NoLocation => f.write_str("the server names no URL to go on to"),
            Self::Location(error) => write!(f, "the server leads to a wrong URL: {error}"),
            Self::Redirects { limit } => write!(f, "there are more than {limit} redirects"),
            Self::Head => f.write_str("the server's answer makes no sense"),
            Self::Content(error) => write!(f, "it cannot be decoded: {error}"),
        }
    }
}

/// A request for a document, and as much of the answer as has come.
#[derive(Debug, PartialEq, Eq)]
pub struct Download {
    /// What is asked for now.
    pub url: HttpUrl,
    redirects: usize,
    known: Validators,
    bytes_max: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Asked,
    Body {
        bytes: Vec<u8>,
        digest: Md5,
        validators: Validators,
        /// The value of `Content-Encoding`.
        encoding: String,
    },
    Unchanged,
    Elsewhere(HttpUrl),
}

/// Of no use but to compare answers.
impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl Eq for State {}

impl Download {
    /// Will ask for a document of at most `bytes_max` bytes, unless it is still the one that `known` tells of.
    pub fn new(url: HttpUrl, known: Validators, bytes_max: usize) -> Self {
        Self {
            url,
            redirects: 0,
            known,
            bytes_max,
            state: State::Asked,
        }
    }

    /// The head of the request, complete.
    pub fn request(&self) -> Vec<u8> {
        let mut head = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {USER_AGENT}\r\nAccept: */*\r\n",
            self.url.target(),
            self.url.origin().host_header()
        );
        let authorization = self.url.user_info().map(UserInfo::authorization);
        for (name, value) in [
            ("Authorization", &authorization),
            ("If-None-Match", &self.known.tag),
            ("If-Modified-Since", &self.known.modified),
        ] {
            if let Some(value) = value {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        head.push_str("Connection: close\r\n\r\n");
        head.into_bytes()
    }

    /// Takes the final head of the answer, whole. Returns whether the body is of use.
    ///
    /// # Errors
    ///
    /// [`DownloadError`].
    pub fn take_head(&mut self, head: &[u8]) -> Result<bool, DownloadError> {
        let Ok(Some((head, _))) = decode_response(head) else {
            return Err(DownloadError::Head);
        };
        let text = |name| {
            let value = head.headers.get(name)?;
            Some(value)
                .filter(|value| !value.is_empty())
                .map(str::to_owned)
        };
        let kept = |name| text(name).filter(|value| value.len() <= VALIDATOR_BYTES_MAX);
        self.state = match head.status {
            200 | 203 => {
                let length = text("content-length").and_then(|length| length.parse().ok());
                if length.is_some_and(|length: usize| length > self.bytes_max) {
                    return Err(self.too_long());
                }
                let encoding = text("content-encoding").filter(|names| content::is_coding(names));
                let encoding = encoding.unwrap_or_default();
                if !content::can_decode(&encoding) {
                    return Err(DownloadError::Content(ContentError::Unknown));
                }
                State::Body {
                    encoding,
                    bytes: Vec::new(),
                    digest: Md5::new(),
                    validators: Validators {
                        tag: kept("etag"),
                        modified: kept("last-modified"),
                    },
                }
            }
            304 if self.known != Validators::default() => State::Unchanged,
            301 | 302 | 303 | 307 | 308 => {
                let location = text("location").ok_or(DownloadError::NoLocation)?;
                State::Elsewhere(self.redirected(&location)?)
            }
            status => return Err(DownloadError::Status(status)),
        };
        Ok(matches!(self.state, State::Body { .. }))
    }

    /// Takes the next bytes of the body.
    ///
    /// # Errors
    ///
    /// `TooLong`.
    pub fn take_body(&mut self, more: &[u8]) -> Result<(), DownloadError> {
        let limit = self.bytes_max;
        if let State::Body { bytes, digest, .. } = &mut self.state {
            if bytes.len() + more.len() > limit {
                return Err(DownloadError::TooLong { limit });
            }
            digest.update(more);
            bytes.extend_from_slice(more);
        }
        Ok(())
    }

    /// The answer is complete, or the rest of it is of no use.
    ///
    /// # Errors
    ///
    /// `Head` if there was none, and `Content` if the body is not what its coding says.
    pub fn finish(self) -> Result<Answer, DownloadError> {
        match self.state {
            State::Asked => Err(DownloadError::Head),
            State::Body {
                bytes,
                digest,
                validators,
                encoding,
            } => {
                let decoded = undo_coding(&encoding, &bytes, self.bytes_max)
                    .map_err(DownloadError::Content)?;
                let document = match decoded {
                    Some(decoded) => Document::new(decoded),
                    None => Document {
                        bytes,
                        digest: digest.finalize().into(),
                        validators: Validators::default(),
                    },
                };
                Ok(Answer::Document(Document {
                    validators,
                    ..document
                }))
            }
            State::Unchanged => Ok(Answer::Unchanged),
            State::Elsewhere(url) => Ok(Answer::Elsewhere(Box::new(Self {
                redirects: self.redirects + 1,
                ..Self::new(url, self.known, self.bytes_max)
            }))),
        }
    }

    fn redirected(&self, location: &str) -> Result<HttpUrl, DownloadError> {
        if self.redirects >= REDIRECTS_MAX {
            let limit = REDIRECTS_MAX;
            return Err(DownloadError::Redirects { limit });
        }
        // The user goes along to wherever else the same server has it, and to no other.
        let base = self.url.to_link();
        let url = Reference::parse(location).resolve(&Reference::parse(&base));
        let url = HttpUrl::parse(&url.to_string()).map_err(DownloadError::Location)?;
        let is_same = url.origin() == self.url.origin() && url.user_info().is_none();
        match is_same {
            true => self.url.at(url.target()).map_err(DownloadError::Location),
            false => Ok(url),
        }
    }

    fn too_long(&self) -> DownloadError {
        DownloadError::TooLong {
            limit: self.bytes_max,
        }
    }
}

/// The body without its content coding, at most `limit` bytes; `None` if it is to stay as it came.
///
/// A guide is kept compressed, whether the server has done that or its file is so; a file that the server has compressed
/// once more would be understood by nobody. A plain body that claims to be gzip is taken for what it is.
///
/// # Errors
///
/// Those of [`content::decode_content`].
fn undo_coding(encoding: &str, body: &[u8], limit: usize) -> Result<Option<Vec<u8>>, ContentError> {
    if content::is_gzip(encoding) && !content::is_gzip_twice(body) {
        return Ok(None);
    }
    match content::decode_content(encoding, body, limit)? {
        Cow::Borrowed(_) => Ok(None),
        Cow::Owned(decoded) => Ok(Some(decoded)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    use super::*;

    fn download(url: &str) -> Download {
        let url = HttpUrl::parse(url).expect("a URL");
        Download::new(url, Validators::default(), 8)
    }

    fn text(download: &Download) -> String {
        String::from_utf8(download.request()).expect("text")
    }

    #[test]
    fn document_comes_with_what_is_asked_by_the_next_time() {
        let mut first = download("http://h:81/a b?c");
        let request = text(&first);
        assert!(
            request.starts_with("GET /a%20b?c HTTP/1.1\r\nHost: h:81\r\n"),
            "{request}"
        );
        let head = b"HTTP/1.1 200 OK\r\nETag: \"x\"\r\nLast-Modified: y\r\n\r\n";
        assert_eq!(first.take_head(head), Ok(true));
        for part in [&b"abc"[..], b"de"] {
            first.take_body(part).expect("short");
        }
        let Ok(Answer::Document(document)) = first.finish() else {
            panic!("no document")
        };
        assert_eq!(document.bytes, b"abcde");
        assert_eq!(document.digest, Document::new(b"abcde".to_vec()).digest);
        let url = HttpUrl::parse("http://h/").expect("a URL");
        let mut second = Download::new(url, document.validators, 8);
        let request = text(&second);
        assert!(
            request.contains("\r\nIf-None-Match: \"x\"\r\nIf-Modified-Since: y\r\n"),
            "{request}"
        );
        assert_eq!(second.take_head(b"HTTP/1.1 304 x\r\n\r\n"), Ok(false));
        assert_eq!(second.finish(), Ok(Answer::Unchanged));
    }

    /// What a document is kept as that comes with this `Content-Encoding`.
    fn kept(encoding: &str, body: &[u8], bytes_max: usize) -> Result<Document, DownloadError> {
        let url = HttpUrl::parse("http://h/").expect("a URL");
        let mut download = Download::new(url, Validators::default(), bytes_max);
        let head = format!("HTTP/1.1 200 x\r\nETag: \"x\"\r\nContent-Encoding: {encoding}\r\n\r\n");
        download.take_head(head.as_bytes())?;
        download.take_body(body)?;
        match download.finish()? {
            Answer::Document(document) => Ok(document),
            answer => panic!("{answer:?}"),
        }
    }

    fn compressed(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(plain).expect("memory");
        encoder.finish().expect("memory")
    }

    #[test]
    fn coding_that_nobody_asked_for_is_undone() {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(b"<tv/>").expect("memory");
        let deflated = encoder.finish().expect("memory");
        let once = compressed(b"<tv/>");
        let twice = compressed(&once);
        for (encoding, body, expected) in [
            ("", &b"<tv/>"[..], &b"<tv/>"[..]),
            ("identity", b"<tv/>", b"<tv/>"),
            ("deflate", &deflated, b"<tv/>"),
            // Guides are passed on like this.
            ("gzip", &once, &once),
            ("", &once, &once),
            // A file.gz that a server compresses once more.
            ("gzip", &twice, &once),
            ("gzip", b"<tv/>", b"<tv/>"),
            // Some servers name the character set here.
            ("UTF-8", b"<tv/>", b"<tv/>"),
        ] {
            let document = kept(encoding, body, 99).expect("a document");
            assert_eq!(document.bytes, expected, "{encoding}");
            let digest = Document::new(expected.to_vec()).digest;
            assert_eq!(document.digest, digest, "other workers reckon it so");
            assert_eq!(document.validators.tag.as_deref(), Some("\"x\""));
        }
    }

    #[test]
    fn coding_that_cannot_be_undone_is_told() {
        for (encoding, error) in [
            ("br", ContentError::Unknown),
            ("x, ZSTD", ContentError::Unknown),
            ("gzip, gzip", ContentError::Unknown),
            ("deflate", ContentError::Malformed),
        ] {
            let error = DownloadError::Content(error);
            assert_eq!(kept(encoding, b"x\xff<tv/>", 99), Err(error), "{encoding}");
        }
        let bomb = compressed(&[&b"\x1f\x8b"[..], &[0; 999]].concat());
        let error = DownloadError::Content(ContentError::TooLong { limit: 99 });
        assert_eq!(kept("gzip", &bomb, 99), Err(error));
    }

    #[test]
    fn user_goes_along_on_the_same_server_only() {
        for (location, expected) in [
            ("/b", Some("Basic dTpw")),
            ("http://h/b", Some("Basic dTpw")),
            ("http://x:y@h/b", Some("Basic eDp5")),
            ("http://i/b", None),
            ("http://h:81/b", None),
            ("https://h/b", None),
        ] {
            let mut first = download("http://u:p@h/a");
            assert!(text(&first).contains("\r\nAuthorization: Basic dTpw\r\n"));
            let head = format!("HTTP/1.1 302 x\r\nLocation: {location}\r\n\r\n");
            assert_eq!(first.take_head(head.as_bytes()), Ok(false));
            let Ok(Answer::Elsewhere(next)) = first.finish() else {
                panic!("it stays")
            };
            let request = text(&next);
            let sent = request
                .lines()
                .find_map(|line| line.strip_prefix("Authorization: "));
            assert_eq!(sent, expected, "{location}");
        }
    }

    #[test]
    fn redirects_are_followed_but_not_without_end() {
        let mut download = download("http://h/a/b?c");
        for (location, expected) in [
            ("d", "http://h/a/d"),
            ("//i/x", "http://i/x"),
            ("https://j:5/y#z", "https://j:5/y"),
            ("?q", "https://j:5/y?q"),
        ] {
            let head = format!("HTTP/1.1 302 x\r\nLocation: {location}\r\n\r\n");
            assert_eq!(download.take_head(head.as_bytes()), Ok(false));
            let Ok(Answer::Elsewhere(next)) = download.finish() else {
                panic!("it stays")
            };
            assert_eq!(next.url.to_string(), expected);
            download = *next;
        }
        let again = b"HTTP/1.1 301 x\r\nLocation: /\r\n\r\n";
        for _ in 4..REDIRECTS_MAX {
            download.take_head(again).expect("followed");
            let Ok(Answer::Elsewhere(next)) = download.finish() else {
                panic!("it stays")
            };
            download = *next;
        }
        let limit = REDIRECTS_MAX;
        assert_eq!(
            download.take_head(again),
            Err(DownloadError::Redirects { limit })
        );
    }

    #[test]
    fn other_answers_are_none() {
        let limit = 8;
        for (head, error) in [
            (&b"HTTP/1.1 404 x\r\n\r\n"[..], DownloadError::Status(404)),
            (b"HTTP/1.1 304 x\r\n\r\n", DownloadError::Status(304)),
            (b"HTTP/1.1 206 x\r\n\r\n", DownloadError::Status(206)),
            (b"HTTP/1.1 302 x\r\n\r\n", DownloadError::NoLocation),
            (
                b"HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\n",
                DownloadError::TooLong { limit },
            ),
            (b"HTTP/1.1 200", DownloadError::Head),
        ] {
            assert_eq!(download("http://h/").take_head(head), Err(error));
        }
        let wrong = b"HTTP/1.1 302 x\r\nLocation: file:///etc/passwd\r\n\r\n";
        let result = download("http://h/").take_head(wrong);
        assert!(
            matches!(result, Err(DownloadError::Location(_))),
            "{result:?}"
        );
        let mut long = download("http://h/");
        long.take_head(b"HTTP/1.1 200 x\r\n\r\n").expect("a head");
        long.take_body(b"12345678").expect("just short enough");
        assert_eq!(long.take_body(b"9"), Err(DownloadError::TooLong { limit }));
        assert_eq!(download("http://h/").finish(), Err(DownloadError::Head));
    }

    proptest! {
        #[test]
        fn no_head_adds_to_the_next_request(location in "\\PC{0,20}", tag in "\\PC{0,300}") {
            let mut download = download("http://h/a");
            let head = format!("HTTP/1.1 302 x\r\nLocation: {location}\r\nETag: {tag}\r\n\r\n");
            if download.take_head(head.as_bytes()).is_ok()
                && let Ok(Answer::Elsewhere(next)) = download.finish()
            {
                let request = text(&next);
                prop_assert_eq!(request.matches("\r\n").count(), 6, "{}", request);
                prop_assert!(request.lines().next().is_some_and(|line| line.split(' ').count() == 3));
            }
        }
    }
}
