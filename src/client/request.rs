//! A request: its head, decoded, and what that says of the connection (server spec §5.1).
//!
//! Pure: bytes in, a [`Request`] or the answer to a wrong one out. Reading it from a socket is
//! [`super::receive`]'s part.

use super::response::{Answer, Status};
use crate::proto::http::{self, Framing, FramingError, HeadError, Method, OwnedHeaders};

/// A complete request head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The method as it was sent.
    pub method_name: String,
    /// The request target as it was sent.
    pub target: String,
    /// The `x` of `HTTP/1.x`.
    pub minor_version: u8,
    /// Names as they were sent, and values without surrounding white space, in order.
    pub headers: OwnedHeaders,
    /// How the body is framed.
    pub framing: Framing,
}

impl Request {
    /// Value of the last header called `name` (case-insensitive).
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.get(name)
    }

    /// Whether the client waits to be told that its body is wanted (RFC 9110 §10.1.1).
    pub fn expects_continue(&self) -> bool {
        let is_continue = |element: &[u8]| element.eq_ignore_ascii_case(b"100-continue");
        let mut expectations = self.headers.all("expect").flat_map(http::list_elements);
        self.minor_version > 0 && expectations.any(is_continue)
    }

    /// Whether a browser asks in order to show the answer: it names HTML among what it takes (RFC 9110 §12.5.1), which
    /// neither players nor scripts do.
    pub fn wants_page(&self) -> bool {
        let is_html = |element: &[u8]| {
            let kind = element.split(|&byte| byte == b';').next();
            kind.is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"text/html"))
        };
        let mut accepted = self.headers.all("accept").flat_map(http::list_elements);
        self.method == Method::Get && accepted.any(is_html)
    }

    /// Whether the client would send another request over the same connection (RFC 9112 §9.3).
    pub fn wants_keep_alive(&self) -> bool {
        let says = |wanted: &str| {
            self.headers
                .all("connection")
                .flat_map(http::list_elements)
                .any(|token| token.eq_ignore_ascii_case(wanted.as_bytes()))
        };
        !says("close") && (self.minor_version > 0 || says("keep-alive"))
    }
}

/// Why a request is refused before it is looked at.
pub(super) enum RequestError {
    Head(HeadError),
    Framing(FramingError),
}

impl RequestError {
    pub(super) fn answer(&self) -> Answer {
        let (status, text) = match self {
            Self::Head(error) => (error.status(), error.to_string()),
            Self::Framing(error) => (error.status(), error.to_string()),
        };
        let status = match status {
            413 => Status::ContentTooLarge,
            414 => Status::UriTooLong,
            431 => Status::HeadersTooLarge,
            501 => Status::NotImplemented,
            505 => Status::VersionNotSupported,
            _ => Status::BadRequest,
        };
        Answer::new(status, text)
    }
}

/// The request at the front of `bytes`, and the length of its head.
pub(super) fn decode(bytes: &[u8]) -> Result<Option<(Request, usize)>, RequestError> {
    let Some((head, len)) = http::decode(bytes).map_err(RequestError::Head)? else {
        return Ok(None);
    };
    let framing = http::request_framing(&head).map_err(RequestError::Framing)?;
    let request = Request {
        method: head.method,
        method_name: head.method_name.to_owned(),
        target: head.target.to_owned(),
        minor_version: head.minor_version,
        headers: OwnedHeaders::from(&head.headers),
        framing,
    };
    Ok(Some((request, len)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_is_for_whoever_names_html_among_what_it_takes() {
        let wants = |line: &str| {
            let text = format!("{line}\r\n\r\n");
            let (request, _) = decode(text.as_bytes()).ok().flatten().expect("a request");
            request.wants_page()
        };
        let browser = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        assert!(wants(&format!("GET / HTTP/1.1\r\nHost: a\r\n{browser}")));
        assert!(wants(
            "GET / HTTP/1.0\r\naccept: image/png\r\nACCEPT: Text/HTML ;q=1"
        ));
        // What curl, VLC and ffmpeg send, and what scripts of a page send.
        assert!(!wants("GET / HTTP/1.0\r\nAccept: */*"));
        assert!(!wants("GET / HTTP/1.0"));
        assert!(!wants("GET / HTTP/1.0\r\nAccept: text/event-stream"));
        assert!(!wants(&format!("HEAD / HTTP/1.1\r\nHost: a\r\n{browser}")));
    }
}
