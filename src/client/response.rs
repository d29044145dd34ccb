//! Answers built here: error pages, the answer to OPTIONS, heads of streams (server spec §5.3, §5.4, §9.3).

use std::fmt::Write;

use crate::config::Config;
use crate::proto::rewrite::token::TOKEN_NAME;
use crate::status::api::Reply;
use crate::web;

/// Asks a client that waits for it to send its body (RFC 9110 §15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A status that flowgate answers with itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// 200
    Ok,
    /// 204
    NoContent,
    /// 400
    BadRequest,
    /// 401
    Unauthorized,
    /// 403
    Forbidden,
    /// 404
    NotFound,
    /// 405
    MethodNotAllowed,
    /// 408
    RequestTimeout,
    /// 413
    ContentTooLarge,
    /// 414
    UriTooLong,
    /// 431
    HeadersTooLarge,
    /// 500
    InternalServerError,
    /// 501
    NotImplemented,
    /// 502
    BadGateway,
    /// 503
    ServiceUnavailable,
    /// 504
    GatewayTimeout,
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
            Self::Unauthorized => (401, "Unauthorized"),
            Self::Forbidden => (403, "Forbidden"),
            Self::NotFound => (404, "Not Found"),
            Self::MethodNotAllowed => (405, "Method Not Allowed"),
            Self::RequestTimeout => (408, "Request Timeout"),
            Self::ContentTooLarge => (413, "Content Too Large"),
            Self::UriTooLong => (414, "URI Too Long"),
            Self::HeadersTooLarge => (431, "Request Header Fields Too Large"),
            Self::InternalServerError => (500, "Internal Server Error"),
            Self::NotImplemented => (501, "Not Implemented"),
            Self::BadGateway => (502, "Bad Gateway"),
            Self::ServiceUnavailable => (503, "Service Unavailable"),
            Self::GatewayTimeout => (504, "Gateway Timeout"),
            Self::VersionNotSupported => (505, "HTTP Version Not Supported"),
        }
    }
}

/// Methods that flowgate serves, as `Allow` lists them (RFC 9110 §10.2.1).
const ALLOW: &str = "GET, HEAD, OPTIONS";

/// What follows the head of a local answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Nothing, to `HEAD`: the head is that of `Short`.
    Head,
    /// The body of server spec §5.4, which programs compare.
    Short,
    /// A page for a person, who cannot see the headers.
    Page,
}

/// Keeps the address of a page, which may have the token, to this host.
const PAGE_HEADERS: &str = "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nCache-Control: no-store\r\n";

/// A local answer that ends the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: Status,
    /// What was wrong, for the person who reads the answer; visible ASCII, empty when there is nothing to say.
    pub detail: String,
    /// Headers of this answer alone, in their order; values are shown in visible ASCII.
    pub headers: Vec<(&'static str, String)>,
}

impl Answer {
    /// An error, or the empty answer of `NoContent`.
    pub fn new(status: Status, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            headers: Vec::new(),
        }
    }

    /// The answer to OPTIONS that is no preflight: what may be done here.
    pub fn options() -> Self {
        Self::new(Status::NoContent, "").with("Allow", ALLOW)
    }

    /// The answer to CONNECT, which asks for a tunnel, whose bytes would not be HTTP any more (RFC 9110 §9.3.6).
    pub fn no_tunnel() -> Self {
        Self::new(Status::NotImplemented, "CONNECT is not forwarded")
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Head and body, ready to be sent; with the access cookie if `sets_cookie`.
    ///
    /// What was wrong stands in the header `X-Flowgate-Error`, because programs compare the short body literally, and
    /// on the page.
    pub fn encode(&self, config: &Config, form: Form, sets_cookie: bool) -> Vec<u8> {
        let mut text = String::with_capacity(256);
        let (code, reason) = (self.status.code(), self.status.reason());
        let _ = write!(text, "HTTP/1.1 {code} {reason}\r\n");
        let body = match (self.status, form) {
            (Status::NoContent, _) => String::new(),
            (_, Form::Page) => web::refusal(code, reason, self.explanation(), &self.links(config)),
            _ => format!("<!doctype html><title>{code}</title>{reason}"),
        };
        if self.status != Status::NoContent {
            text.push_str("Content-Type: text/html; charset=utf-8\r\n");
        }
        text.push_str("Connection: close\r\n");
        if sets_cookie {
            text.push_str(&cookie_line(config));
        }
        push_allowed_origin(&mut text, config);
        let own = match self.status {
            Status::Unauthorized => Some(("WWW-Authenticate", "Bearer")),
            Status::MethodNotAllowed => Some(("Allow", ALLOW)),
            Status::ServiceUnavailable => Some(("Retry-After", "5")),
            _ => None,
        };
        let is_said = |name| self.headers.iter().any(|(said, _)| *said == name);
        if let Some((name, value)) = own.filter(|(name, _)| !is_said(*name)) {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        for (name, value) in &self.headers {
            let _ = write!(text, "{name}: {}\r\n", visible(value));
        }
        if !self.detail.is_empty() {
            let _ = write!(text, "X-Flowgate-Error: {}\r\n", visible(&self.detail));
        }
        if self.status != Status::NoContent {
            // RFC 9110 §8.6 forbids the length on 204.
            let _ = write!(text, "Content-Length: {}\r\n", body.len());
            if form == Form::Page {
                let policy = web::refusal_policy();
                let _ = write!(text, "Content-Security-Policy: {policy}\r\n{PAGE_HEADERS}");
            }
        }
        text.push_str("\r\n");
        if form != Form::Head {
            text.push_str(&body);
        }
        text.into_bytes()
    }

    /// Whoever asks for what is not there has lost the way: there is nothing else to say to them.
    fn is_astray(&self) -> bool {
        self.status == Status::NotFound && self.detail.is_empty()
    }

    fn explanation(&self) -> &str {
        match self.is_astray() {
            true => "There is nothing at this address.",
            false => &self.detail,
        }
    }

    /// Where a person may go on: only who has lost the way, not who is kept out, is told the prefix of all paths.
    fn links(&self, config: &Config) -> Vec<(&'static str, String)> {
        let path = |page: &str| format!("{}{page}", config.app_path_prefix);
        match self.is_astray() {
            true => vec![
                ("Player", path(&config.player_page_path)),
                ("Status", path(&config.status_page_path)),
            ],
            false => Vec::new(),
        }
    }
}

/// Text as a header may carry it: what is not visible ASCII, line ends above all, becomes `?`.
pub(super) fn visible(text: &str) -> String {
    text.chars()
        .map(|c| if (' '..='~').contains(&c) { c } else { '?' })
        .collect()
}

/// The headers that every local answer carries if they are due, in their order: the access cookie if `sets_cookie`,
/// and which origin may read the answer.
pub(super) fn common_headers(
    config: &Config,
    sets_cookie: bool,
) -> impl Iterator<Item = (&'static str, String)> {
    let cookie = sets_cookie.then(|| access_cookie(config)).flatten();
    let origin = config.cors_allow_origin.clone();
    [
        ("Set-Cookie", cookie),
        ("Access-Control-Allow-Origin", origin),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
}

fn push_allowed_origin(text: &mut String, config: &Config) {
    if let Some(origin) = &config.cors_allow_origin {
        let _ = write!(text, "Access-Control-Allow-Origin: {origin}\r\n");
    }
}

/// Value of the `Set-Cookie` that makes a browser send the token from now on (http-proxy spec §11.3); none without
/// a token.
pub fn access_cookie(config: &Config) -> Option<String> {
    let token = config.r2h_token.as_ref()?.encoded();
    let path = match config.app_path_prefix.as_str() {
        "" => "/",
        prefix => prefix,
    };
    Some(format!(
        "{TOKEN_NAME}={token}; Path={path}; HttpOnly; SameSite=Strict"
    ))
}

fn cookie_line(config: &Config) -> String {
    access_cookie(config).map_or_else(String::new, |cookie| format!("Set-Cookie: {cookie}\r\n"))
}

/// The head of a stream, empty line included, with the access cookie behind `Connection` (server spec §5.3).
pub fn with_cookie(head: &[u8], config: &Config) -> Vec<u8> {
    let lines: Vec<&[u8]> = head.split_inclusive(|byte| *byte == b'\n').collect();
    let connection = lines
        .iter()
        .position(|line| line.starts_with(b"Connection:"));
    // Every head of ours has one; the status line comes before all else.
    let (front, rest) = lines.split_at(connection.unwrap_or(0) + 1);
    [
        &front.concat(),
        cookie_line(config).as_bytes(),
        &rest.concat(),
    ]
    .concat()
}

/// How the media of a stream arrived, as `R2H-Upstream-Payload` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// MPEG-TS in RTP.
    TsInRtp,
    /// Bare MPEG-TS.
    Ts,
}

/// What scripts of other origins may see of a stream's head (server spec §9.3).
const EXPOSED: &str = "R2H-Upstream-Protocol, R2H-Upstream-Transport, R2H-Upstream-Payload, \
                       R2H-Playback-Scale, R2H-Playback-Range, R2H-Media-Duration, R2H-FCC-Type, \
                       R2H-FCC-Status";

/// Head of a multicast stream (multicast spec §6), the same for all its clients; `payload` is `None` as long as
/// nothing was recognised.
pub fn multicast_head(payload: Option<Payload>, config: &Config) -> Vec<u8> {
    let mut headers = vec![("R2H-Upstream-Protocol", "multicast".to_owned())];
    if let Some(payload) = payload {
        let name = match payload {
            Payload::TsInRtp => "mp2t-rtp",
            Payload::Ts => "mp2t-direct",
        };
        headers.push(("R2H-Upstream-Payload", name.to_owned()));
    }
    stream_head(&headers, config)
}

/// Head of a stream of MPEG-TS with what is known of it (server spec §9.3).
pub fn stream_head(headers: &[(&'static str, String)], config: &Config) -> Vec<u8> {
    let mut text =
        String::from("HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nConnection: close\r\n");
    push_allowed_origin(&mut text, config);
    for (name, value) in headers {
        let _ = write!(text, "{name}: {}\r\n", visible(value));
    }
    if config.cors_allow_origin.is_some() {
        let _ = write!(text, "Access-Control-Expose-Headers: {EXPOSED}\r\n");
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// Head of the event stream of the status (server spec §10.2); with the access cookie if `sets_cookie`.
///
/// `Connection: close`, unlike there: only the end of the connection ends this body, so it cannot be kept (RFC 9112
/// §9.3). Varnish would take `keep-alive` for an empty body, and the first event for the answer to its next request.
pub fn events_head(config: &Config, sets_cookie: bool) -> Vec<u8> {
    let mut text = String::from(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\
         Connection: close\r\n",
    );
    // nginx in front would gather events until its buffer is full.
    text.push_str("X-Accel-Buffering: no\r\n");
    push_headers(&mut text, common_headers(config, sets_cookie));
    text.push_str("\r\n");
    text.into_bytes()
}

/// The answer to a call of the API (server spec §10.5); its body is left out if `is_head`.
pub fn call(reply: &Reply, config: &Config, is_head: bool, sets_cookie: bool) -> Vec<u8> {
    let status = match reply.status {
        200 => Status::Ok,
        400 => Status::BadRequest,
        403 => Status::Forbidden,
        404 => Status::NotFound,
        405 => Status::MethodNotAllowed,
        413 => Status::ContentTooLarge,
        _ => Status::InternalServerError,
    };
    let (code, reason) = status.parts();
    let mut text = format!(
        "HTTP/1.1 {code} {reason}\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Cache-Control: no-store\r\n"
    );
    let allow = reply.allow.map(|allow| ("Allow", allow.to_owned()));
    push_headers(&mut text, allow.into_iter());
    push_headers(&mut text, common_headers(config, sets_cookie));
    text.push_str("\r\n");
    if !is_head {
        text.push_str(&reply.body);
    }
    text.into_bytes()
}

fn push_headers(text: &mut String, headers: impl Iterator<Item = (&'static str, String)>) {
    for (name, value) in headers {
        let _ = write!(text, "{name}: {}\r\n", visible(&value));
    }
}

/// A JSON text of unknown length, to GET; with the access cookie if `sets_cookie`.
pub fn json(body: &str, config: &Config, sets_cookie: bool) -> Vec<u8> {
    let mut text =
        String::from("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n");
    push_allowed_origin(&mut text, config);
    if sets_cookie {
        text.push_str(&cookie_line(config));
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(answer: &Answer) -> String {
        String::from_utf8(answer.encode(&Config::default(), Form::Short, false)).expect("ASCII")
    }

    /// CORS, a token and a prefix.
    fn guarded() -> Config {
        Config {
            cors_allow_origin: Some("https://tv.home".to_owned()),
            r2h_token: crate::config::Token::parse("p;q&r$").ok(),
            app_path_prefix: "/tv".to_owned(),
            ..Config::default()
        }
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

    fn page(answer: &Answer) -> String {
        String::from_utf8(answer.encode(&guarded(), Form::Page, false)).expect("ASCII")
    }

    #[test]
    fn person_who_is_lost_is_led_to_the_pages_and_one_who_is_kept_out_is_told_why() {
        let lost = page(&Answer::new(Status::NotFound, ""));
        assert!(lost.starts_with("HTTP/1.1 404 Not Found\r\n"), "{lost}");
        assert!(lost.contains("<p>There is nothing at this address.</p>"));
        assert!(lost.contains("<a href=\"/tv/player\">"), "{lost}");
        assert!(lost.contains("<a href=\"/tv/status\">"), "{lost}");
        for (status, why) in [
            (Status::NotFound, "everything here is below another path"),
            (Status::Unauthorized, "an access token is needed"),
        ] {
            let kept_out = page(&Answer::new(status, why));
            assert!(kept_out.contains(&format!("<p>{why}</p>")), "{kept_out}");
            assert!(!kept_out.contains("<a "), "{kept_out}");
        }
    }

    #[test]
    fn length_of_a_page_is_its_own() {
        let lost = page(&Answer::new(Status::NotFound, ""));
        let (head, body) = lost.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
        assert_eq!(
            page(&Answer::options())
                .split_once("\r\n\r\n")
                .map(|(_, body)| body),
            Some("")
        );
    }

    #[test]
    fn answer_to_head_announces_the_body_it_omits() {
        let answer = Answer::new(Status::ServiceUnavailable, "client limit of 5 reached");
        let text = answer.encode(&Config::default(), Form::Head, false);
        let text = String::from_utf8(text).expect("ASCII");
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
            text(&Answer::options()),
            "HTTP/1.1 204 No Content\r\nConnection: close\r\nAllow: GET, HEAD, OPTIONS\r\n\r\n"
        );
    }

    #[test]
    fn stream_head_keeps_the_order_of_the_specification() {
        assert_eq!(
            String::from_utf8(multicast_head(Some(Payload::TsInRtp), &Config::default()))
                .expect("ASCII"),
            "HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nConnection: close\r\n\
             R2H-Upstream-Protocol: multicast\r\nR2H-Upstream-Payload: mp2t-rtp\r\n\r\n"
        );
    }

    #[test]
    fn local_answers_carry_origin_and_cookie() {
        let answer = Answer::new(Status::Unauthorized, "an access token is needed");
        assert_eq!(
            String::from_utf8(answer.encode(&guarded(), Form::Short, true)).expect("ASCII"),
            "HTTP/1.1 401 Unauthorized\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\n\
             Set-Cookie: r2h-token=p%3Bq%26r%24; Path=/tv; HttpOnly; SameSite=Strict\r\n\
             Access-Control-Allow-Origin: https://tv.home\r\nWWW-Authenticate: Bearer\r\n\
             X-Flowgate-Error: an access token is needed\r\nContent-Length: 45\r\n\r\n\
             <!doctype html><title>401</title>Unauthorized"
        );
        let without =
            String::from_utf8(answer.encode(&guarded(), Form::Short, false)).expect("ASCII");
        assert!(!without.contains("Set-Cookie"), "{without}");
    }

    #[test]
    fn cookie_is_for_the_whole_host_without_a_prefix() {
        let config = Config {
            app_path_prefix: String::new(),
            ..guarded()
        };
        assert!(cookie_line(&config).contains("; Path=/; HttpOnly; SameSite=Strict\r\n"));
        assert_eq!(cookie_line(&Config::default()), "");
    }

    #[test]
    fn stream_head_exposes_its_headers_to_other_origins() {
        let head = multicast_head(None, &guarded());
        assert_eq!(
            String::from_utf8(with_cookie(&head, &guarded())).expect("ASCII"),
            "HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nConnection: close\r\n\
             Set-Cookie: r2h-token=p%3Bq%26r%24; Path=/tv; HttpOnly; SameSite=Strict\r\n\
             Access-Control-Allow-Origin: https://tv.home\r\nR2H-Upstream-Protocol: multicast\r\n\
             Access-Control-Expose-Headers: R2H-Upstream-Protocol, R2H-Upstream-Transport, R2H-Upstream-Payload, \
             R2H-Playback-Scale, R2H-Playback-Range, R2H-Media-Duration, R2H-FCC-Type, R2H-FCC-Status\r\n\r\n"
        );
    }

    #[test]
    fn headers_of_an_answer_cannot_inject_another() {
        let answer = Answer::new(Status::Forbidden, "").with("X-A", "b\r\nX-C: d");
        assert!(text(&answer).contains("\r\nX-A: b??X-C: d\r\n"));
    }
}
