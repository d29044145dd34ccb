//! Answers built here: error pages, the answer to OPTIONS, heads of streams (server spec §5.3, §5.4, §9.3).

use std::fmt::Write;

/// A status that flowgate answers with itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// 200
    Ok,
    /// 204
    NoContent,
    /// 400
    BadRequest,
    /// 404
    NotFound,
    /// 405
    MethodNotAllowed,
    /// 408
    RequestTimeout,
    /// 414
    UriTooLong,
    /// 431
    HeadersTooLarge,
    /// 502
    BadGateway,
    /// 503
    ServiceUnavailable,
    /// 505
    VersionNotSupported,
}

impl Status {
    /// The three digits.
    pub fn code(self) -> u16 {
        self.parts().0
    }

    /// The reason phrase, RFC 9110 §15.
    pub fn reason(self) -> &'static str {
        self.parts().1
    }

    fn parts(self) -> (u16, &'static str) {
        match self {
            Self::Ok => (200, "OK"),
            Self::NoContent => (204, "No Content"),
            Self::BadRequest => (400, "Bad Request"),
            Self::NotFound => (404, "Not Found"),
            Self::MethodNotAllowed => (405, "Method Not Allowed"),
            Self::RequestTimeout => (408, "Request Timeout"),
            Self::UriTooLong => (414, "URI Too Long"),
            Self::HeadersTooLarge => (431, "Request Header Fields Too Large"),
            Self::BadGateway => (502, "Bad Gateway"),
            Self::ServiceUnavailable => (503, "Service Unavailable"),
            Self::VersionNotSupported => (505, "HTTP Version Not Supported"),
        }
    }
}

/// Methods that flowgate serves, as `Allow` lists them (RFC 9110 §10.2.1).
const ALLOW: &str = "GET, HEAD, OPTIONS";

/// A local answer that ends the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: Status,
    /// What was wrong, for the person who reads the answer; visible ASCII, empty when there is nothing to say.
    pub detail: String,
    /// The request was HEAD: the body is only announced.
    pub head_only: bool,
}

impl Answer {
    /// An error, or the empty answer of `NoContent`.
    pub fn new(status: Status, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            head_only: false,
        }
    }

    /// Head and body, ready to be sent.
    ///
    /// The body of an error is the page of server spec §5.4; what was wrong stands in the header
    /// `X-Flowgate-Error`, because programs compare that page literally.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = String::with_capacity(256);
        let (code, reason) = (self.status.code(), self.status.reason());
        let _ = write!(text, "HTTP/1.1 {code} {reason}\r\n");
        let body = match self.status {
            Status::NoContent => String::new(),
            _ => format!("<!doctype html><title>{code}</title>{reason}"),
        };
        if self.status != Status::NoContent {
            text.push_str("Content-Type: text/html; charset=utf-8\r\n");
        }
        text.push_str("Connection: close\r\n");
        match self.status {
            Status::NoContent | Status::MethodNotAllowed => {
                let _ = write!(text, "Allow: {ALLOW}\r\n");
            }
            Status::ServiceUnavailable => text.push_str("Retry-After: 5\r\n"),
            _ => {}
        }
        if !self.detail.is_empty() {
            let detail: String = self
                .detail
                .chars()
                .map(|c| if (' '..='~').contains(&c) { c } else { '?' })
                .collect();
            let _ = write!(text, "X-Flowgate-Error: {detail}\r\n");
        }
        if self.status != Status::NoContent {
            // RFC 9110 §8.6 forbids the length on 204.
            let _ = write!(text, "Content-Length: {}\r\n", body.len());
        }
        text.push_str("\r\n");
        if !self.head_only {
            text.push_str(&body);
        }
        text.into_bytes()
    }
}

/// How the media of a stream arrived, as `R2H-Upstream-Payload` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// MPEG-TS in RTP.
    TsInRtp,
    /// Bare MPEG-TS.
    Ts,
}

/// Head of a multicast stream (multicast spec §6); `payload` is `None` as long as nothing was recognised.
pub fn multicast_head(payload: Option<Payload>) -> Vec<u8> {
    let mut text = String::from(
        "HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nConnection: close\r\nR2H-Upstream-Protocol: multicast\r\n",
    );
    if let Some(payload) = payload {
        let name = match payload {
            Payload::TsInRtp => "mp2t-rtp",
            Payload::Ts => "mp2t-direct",
        };
        let _ = write!(text, "R2H-Upstream-Payload: {name}\r\n");
    }
    text.push_str("\r\n");
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(answer: &Answer) -> String {
        String::from_utf8(answer.encode()).expect("ASCII")
    }

    #[test]
    fn error_page_is_that_of_the_specification() {
        let answer = text(&Answer::new(Status::NotFound, ""));
        assert_eq!(
            answer,
            "HTTP/1.1 404 Not Found\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\n\
             Content-Length: 46\r\n\r\n<!doctype html><title>404</title>Not Found".replace("46", "42")
        );
    }

    #[test]
    fn answer_to_head_announces_the_body_it_omits() {
        let mut answer = Answer::new(Status::ServiceUnavailable, "client limit of 5 reached");
        answer.head_only = true;
        let text = text(&answer);
        assert!(text.ends_with("Content-Length: 52\r\n\r\n"), "{text}");
        assert!(text.contains("X-Flowgate-Error: client limit of 5 reached\r\n"));
        assert!(text.contains("Retry-After: 5\r\n"));
    }

    #[test]
    fn details_cannot_inject_a_header() {
        let text = text(&Answer::new(Status::BadRequest, "x\r\nSet-Cookie: y\u{e9}"));
        assert!(
            text.contains("X-Flowgate-Error: x??Set-Cookie: y?\r\n"),
            "{text}"
        );
    }

    #[test]
    fn no_content_has_neither_type_nor_length() {
        assert_eq!(
            text(&Answer::new(Status::NoContent, "")),
            "HTTP/1.1 204 No Content\r\nConnection: close\r\nAllow: GET, HEAD, OPTIONS\r\n\r\n"
        );
    }

    #[test]
    fn stream_head_keeps_the_order_of_the_specification() {
        assert_eq!(
            String::from_utf8(multicast_head(Some(Payload::TsInRtp))).expect("ASCII"),
            "HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nConnection: close\r\n\
             R2H-Upstream-Protocol: multicast\r\nR2H-Upstream-Payload: mp2t-rtp\r\n\r\n"
        );
    }
}
