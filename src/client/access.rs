//! Who is served, and what their target is: what comes before routing (http-proxy spec §2, steps 4 to 9).
//!
//! Pure: a request and the configuration in, permission or an answer out. Nothing is logged here, so that no
//! secret can be.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Request;
use super::response::{Answer, Status};
use crate::config::{Config, Token};
use crate::proto::rewrite::token::{AGENT_WORD, TOKEN_NAME};
use crate::proto::{authority, url};

/// Everything below is served without a token: a page that cannot authenticate yet needs its assets.
const OPEN_PATH: &str = "/assets/";
/// Longest element of `X-Forwarded-For` in bytes (server spec §5.1).
const FORWARDED_BYTES_MAX: usize = 63;
/// Longest value of a preflight's headers that is repeated (server spec §5.1).
const REPEATED_BYTES_MAX: usize = 511;
/// The scheme of `Authorization`, and the blank behind it (RFC 7617 §2).
const BASIC_SCHEME: &[u8] = b"Basic ";
/// Asks for name and password.
const BASIC_CHALLENGE: &str = "Basic realm=\"flowgate status\", charset=\"UTF-8\"";
/// Methods for a preflight that names none.
const METHODS: &str = "GET, HEAD, OPTIONS";
/// Seconds that a browser may remember the answer to a preflight.
const PREFLIGHT_SECONDS: u32 = 86_400;

/// A request that may be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The target without the prefix of all paths; begins with `/`. A label is still there.
    pub target: String,
    /// The token came in the query, so every answer to this request sets the cookie.
    pub sets_cookie: bool,
}

/// Decides whether a request is served, in the order that the specification makes visible.
///
/// # Errors
///
/// The answer instead: 400 for the form of the target and for `Host`, 501 for `CONNECT`, 404 outside the prefix,
/// 204 for a preflight, 401 for the token.
pub fn check(request: &Request, config: &Config) -> Result<Granted, Answer> {
    let refused = |status, detail: &str| Err(Answer::new(status, detail));
    if !request.target.starts_with('/') {
        // Its target is a host and a port (RFC 9112 §3.2.3).
        if request.method_name == "CONNECT" {
            return Err(Answer::no_tunnel());
        }
        return refused(Status::BadRequest, "the request target must start with /");
    }
    if !is_host_accepted(request, config) {
        return refused(Status::BadRequest, "this host is not served here");
    }
    let Some(target) = strip_prefix(&request.target, &config.app_path_prefix) else {
        return refused(Status::NotFound, "everything here is below another path");
    };
    let is_options = request.method_name.eq_ignore_ascii_case("OPTIONS");
    if is_options && config.cors_allow_origin.is_some() {
        return Err(preflight(request));
    }
    let sets_cookie = match &config.r2h_token {
        Some(token) if !target.starts_with(OPEN_PATH) => {
            let source = check_token(request, token)
                .map_err(|detail| Answer::new(Status::Unauthorized, detail))?;
            source == Source::Query
        }
        _ => false,
    };
    Ok(Granted {
        target,
        sets_cookie,
    })
}

/// Whether whoever asks may see the status pages: name and password are right, if they are asked for (RFC 7617). The
/// token is the concern of [`check`].
///
/// # Errors
///
/// The answer instead, 401, which makes a browser ask its user.
pub fn check_status(request: &Request, config: &Config) -> Result<(), Answer> {
    let Some(auth) = &config.status_auth else {
        return Ok(());
    };
    let detail = match basic_credentials(request) {
        Some(given) if auth.matches(&given) => return Ok(()),
        Some(_) => "name or password for the status pages is wrong",
        None => "the status pages ask for name and password",
    };
    Err(Answer::new(Status::Unauthorized, detail).with("WWW-Authenticate", BASIC_CHALLENGE))
}

/// What `Authorization` says, decoded: `name:password`.
fn basic_credentials(request: &Request) -> Option<Vec<u8>> {
    let value = request.header("Authorization")?;
    let (scheme, encoded) = value.split_at_checked(BASIC_SCHEME.len())?;
    if !scheme.eq_ignore_ascii_case(BASIC_SCHEME) {
        return None;
    }
    STANDARD.decode(encoded.trim_ascii()).ok()
}

/// The first address of `X-Forwarded-For`, if the header is believed and is one: who a proxy in front speaks for.
pub fn forwarded_for<'a>(request: &'a Request, config: &Config) -> Option<&'a str> {
    if !config.believes_forwarded_for() {
        return None;
    }
    let list = str::from_utf8(request.header("X-Forwarded-For")?).ok()?;
    let first = list.split(',').next().unwrap_or_default().trim();
    // An address, a name or a pseudonym (RFC 7239 §6): it ends up in logs and on pages.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".:[]%_-".contains(&byte);
    let fits = (1..=FORWARDED_BYTES_MAX).contains(&first.len());
    (fits && first.bytes().all(is_plain)).then_some(first)
}

fn is_host_accepted(request: &Request, config: &Config) -> bool {
    let Some(hostname) = &config.hostname else {
        return true;
    };
    let host = request
        .header("Host")
        .and_then(|value| str::from_utf8(value).ok());
    host.is_some_and(|host| hostname.matches(host))
}

/// What a request asks for below the prefix of all paths, or as it stands if it is outside; for logs.
pub fn below_prefix(request: &Request, config: &Config) -> String {
    let below = strip_prefix(&request.target, &config.app_path_prefix);
    below.unwrap_or_else(|| request.target.clone())
}

/// The target below the prefix, or `None` outside. Where the target is just the prefix, that is `/`. An authority in it
/// is as it is meant, however the client has [escaped](authority) it.
fn strip_prefix(target: &str, prefix: &str) -> Option<String> {
    let rest = target.strip_prefix(prefix)?;
    // A label may follow the prefix at once, like a query.
    let unlabelled = url::strip_label(target).strip_prefix(prefix)?;
    match unlabelled.chars().next() {
        Some('/') => Some(authority::unescape(rest).into_owned()),
        None | Some('?') => Some(format!("/{rest}")),
        Some(_) => None,
    }
}

/// The answer to a CORS preflight (http-proxy spec §10.5); `Access-Control-Allow-Origin` is every answer's.
fn preflight(request: &Request) -> Answer {
    let asked = |name| {
        let value = str::from_utf8(request.header(name)?).ok()?;
        let is_visible = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
        let repeats = (1..=REPEATED_BYTES_MAX).contains(&value.len());
        (repeats && value.bytes().all(is_visible)).then(|| value.to_owned())
    };
    let methods = asked("Access-Control-Request-Method").unwrap_or_else(|| METHODS.to_owned());
    let mut answer =
        Answer::new(Status::NoContent, "").with("Access-Control-Allow-Methods", methods);
    if let Some(headers) = asked("Access-Control-Request-Headers") {
        answer = answer.with("Access-Control-Allow-Headers", headers);
    }
    answer
        .with("Access-Control-Max-Age", PREFLIGHT_SECONDS.to_string())
        // Against RFC 9110 §8.6, but what the compatible router sends.
        .with("Content-Length", "0".to_owned())
}

/// Where a token was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Query,
    Cookie,
    UserAgent,
}

/// Where the token came from. The first place that has one decides, even if a later one has the right one.
fn check_token(request: &Request, token: &Token) -> Result<Source, String> {
    let (source, is_right) = match (
        in_query(&request.target, token),
        in_cookie(request, token),
        in_user_agent(request, token),
    ) {
        (Some(is_right), ..) => (Source::Query, is_right),
        (_, Some(is_right), _) => (Source::Cookie, is_right),
        (_, _, Some(is_right)) => (Source::UserAgent, is_right),
        _ => return Err("an access token is needed".to_owned()),
    };
    let place = match source {
        Source::Query => "the query",
        Source::Cookie => "the cookie",
        Source::UserAgent => "the User-Agent",
    };
    match is_right {
        true => Ok(source),
        false => Err(format!("the access token in {place} is wrong")),
    }
}

/// `None` without a token, else whether it is right.
///
/// Both with and without what reads as a label: a token may have a `$`, and a label may come before the query.
fn in_query(target: &str, token: &Token) -> Option<bool> {
    let given = [url::strip_label(target), target].map(|target| {
        let (_, query) = target.split_once('?')?;
        url::query_value(query, TOKEN_NAME)
    });
    let mut given = given.into_iter().flatten().peekable();
    given.peek()?;
    Some(given.any(|value| value.is_ok_and(|value| token.matches(value.as_bytes()))))
}

fn in_cookie(request: &Request, token: &Token) -> Option<bool> {
    let cookies = request.header("Cookie")?.split(|byte| *byte == b';');
    let value = cookies.into_iter().find_map(|cookie| {
        let at = cookie.iter().position(|byte| *byte == b'=')?;
        let (name, value) = cookie.split_at_checked(at)?;
        let is_token = name
            .trim_ascii()
            .eq_ignore_ascii_case(TOKEN_NAME.as_bytes());
        is_token.then(|| value.get(1..).unwrap_or_default().trim_ascii_end())
    })?;
    let decoded = str::from_utf8(value).ok().map(url::percent_decode);
    Some(decoded.is_some_and(|value| value.is_ok_and(|value| token.matches(value.as_bytes()))))
}

fn in_user_agent(request: &Request, token: &Token) -> Option<bool> {
    let agent = request.header("User-Agent")?;
    let mut windows = agent.windows(AGENT_WORD.len());
    let at = windows.position(|window| window == AGENT_WORD)? + AGENT_WORD.len();
    let given = agent
        .get(at..)?
        .split(|byte| matches!(byte, b' ' | b'\t'))
        .next()?;
    Some(token.matches(given))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::client::response::Form;
    use crate::config::Hostname;
    use crate::config::parse;
    use crate::proto::http::{Framing, Method};

    fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Request {
        Request {
            method: match method {
                "GET" => Method::Get,
                "HEAD" => Method::Head,
                "OPTIONS" => Method::Options,
                _ => Method::Other,
            },
            method_name: method.to_owned(),
            target: target.to_owned(),
            minor_version: 1,
            framing: Framing::Empty,
            headers: headers.iter().copied().collect(),
        }
    }

    fn with_token(token: &str) -> Config {
        Config {
            r2h_token: Token::parse(token).ok(),
            ..Config::default()
        }
    }

    fn status(result: Result<Granted, Answer>) -> u16 {
        result.map_or_else(|answer| answer.status.code(), |_| 200)
    }

    #[test]
    fn nothing_is_asked_by_default() {
        for target in ["/", "/rtp/239.0.0.1:5000$HD", "/a?r2h-token=x"] {
            let granted = check(&request("GET", target, &[]), &Config::default());
            let expected = Granted {
                target: target.to_owned(),
                sets_cookie: false,
            };
            assert_eq!(granted, Ok(expected));
        }
    }

    #[test]
    fn target_must_be_a_path() {
        for target in ["*", "http://h/rtp/1", "rtp/1", "?a", "$x"] {
            assert_eq!(
                status(check(&request("GET", target, &[]), &Config::default())),
                400,
                "{target}"
            );
        }
    }

    #[test]
    fn request_for_a_tunnel_is_told_that_there_are_none() {
        let request = request("CONNECT", "media.lan:443", &[]);
        assert_eq!(status(check(&request, &Config::default())), 501);
    }

    #[test]
    fn only_the_configured_host_is_served() {
        let config = Config {
            hostname: Hostname::parse("https://tv.home:443/x").ok(),
            ..Config::default()
        };
        for (headers, expected) in [
            (&[("Host", "TV.home:5140")][..], 200),
            (&[("host", "tv.home")], 200),
            (&[("Host", "other.home")], 400),
            (&[("Host", "")], 400),
            (&[], 400),
            (&[("X-Forwarded-Host", "tv.home")], 400),
            (&[("X-Forwarded-Host", "other"), ("Host", "tv.home")], 200),
        ] {
            assert_eq!(
                status(check(&request("GET", "/", headers), &config)),
                expected,
                "{headers:?}"
            );
        }
    }

    #[test]
    fn prefix_is_removed_at_the_end_of_a_segment() {
        let config = Config {
            app_path_prefix: parse::app_path_prefix("/a/tv").expect("a path"),
            ..Config::default()
        };
        for (target, below) in [
            ("/a/tv/rtp/1", Some("/rtp/1")),
            ("/a/tv", Some("/")),
            ("/a/tv/", Some("/")),
            ("/a/tv?x=1", Some("/?x=1")),
            ("/a/tv//x", Some("//x")),
            ("/a/tv$HD", Some("/$HD")),
            ("/a/tv/x$HD", Some("/x$HD")),
            ("/a/tv/a/tv/x", Some("/a/tv/x")),
            ("/a/tvx/rtp/1", None),
            ("/A/tv/rtp/1", None),
            ("/a/t%76/rtp/1", None),
            ("/a", None),
            ("/", None),
            ("//a/tv/x", None),
        ] {
            let granted = check(&request("GET", target, &[]), &config);
            assert_eq!(
                granted.as_ref().ok().map(|granted| &*granted.target),
                below,
                "{target}"
            );
            assert!(granted.is_ok() || status(granted) == 404, "{target}");
        }
    }

    #[test]
    fn first_place_that_has_a_token_decides() {
        let config = with_token("s&$e");
        let right = "s%26%24e";
        let cookie = |value: &str| format!("a=1;  R2H-Token={value} ; r2h-token=no");
        let agent = |value: &str| format!("P/1 R2HTOKEN/{value} X R2HTOKEN/no");
        for (query, in_cookie, in_agent, expected) in [
            (None, None, None, 401),
            (Some(right), None, None, 200),
            (Some("no"), None, None, 401),
            (Some(""), Some(right), None, 401),
            (Some("no"), Some(right), Some("s&$e"), 401),
            (Some("%zz"), Some(right), None, 401),
            (None, Some(right), None, 200),
            (None, Some(right), Some("no"), 200),
            (None, Some("no"), Some("s&$e"), 401),
            (None, Some("%zz"), Some("s&$e"), 401),
            (None, Some(""), Some("s&$e"), 401),
            (None, None, Some("s&$e"), 200),
            (None, None, Some(right), 401),
            (None, None, Some(""), 401),
        ] {
            let target = query.map_or("/a".to_owned(), |value| {
                format!("/a?b=1&R2H-token={value}&r2h-token=no")
            });
            let mut headers = Vec::new();
            let cookie = in_cookie.map(cookie);
            headers.extend(cookie.iter().map(|value| ("Cookie", &**value)));
            let agent = in_agent.map(agent);
            headers.extend(agent.iter().map(|value| ("User-Agent", &**value)));
            let result = check(&request("GET", &target, &headers), &config);
            let shown = format!("{target} {headers:?}");
            if let Ok(granted) = &result {
                assert_eq!(granted.sets_cookie, query.is_some(), "{shown}");
            }
            assert_eq!(status(result), expected, "{shown}");
        }
    }

    #[test]
    fn status_pages_ask_for_name_and_password() {
        let config = Config {
            status_auth: crate::config::StatusAuth::parse("admin:s3cret").ok(),
            ..Config::default()
        };
        for (value, expected) in [
            ("Basic YWRtaW46czNjcmV0", true),
            ("basic  YWRtaW46czNjcmV0", true),
            ("Basic YWRtaW46czNjcmV1", false),
            ("Basic YWRtaW46", false),
            ("Basic YWRtaW4", false),
            ("Basic !", false),
            ("Basic", false),
            ("Bearer YWRtaW46czNjcmV0", false),
            ("YWRtaW46czNjcmV0", false),
            ("", false),
        ] {
            let request = request("GET", "/status", &[("Authorization", value)]);
            let result = check_status(&request, &config);
            assert_eq!(result.is_ok(), expected, "{value}");
            assert_eq!(check_status(&request, &Config::default()), Ok(()));
        }
        let answer = check_status(&request("GET", "/status", &[]), &config).unwrap_err();
        let head = String::from_utf8(answer.encode(&config, Form::Head, false)).expect("ASCII");
        let challenge =
            "\r\nWWW-Authenticate: Basic realm=\"flowgate status\", charset=\"UTF-8\"\r\n";
        assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
        assert_eq!(head.matches("WWW-Authenticate").count(), 1, "{head}");
        assert!(head.contains(challenge), "{head}");
    }

    #[test]
    fn token_in_a_query_may_have_a_dollar_or_stand_behind_a_label() {
        for (token, target, expected) in [
            ("a$b", "/x?r2h-token=a$b", 200),
            ("a$b", "/x?r2h-token=a$b$HD", 200),
            ("a", "/x?r2h-token=a$HD", 200),
            ("a", "/x$HD?r2h-token=a", 200),
            ("a", "/x$HD?r2h-token=b", 401),
            ("a", "/x?R2HTOKEN/a", 401),
            ("a", "/r2h-token=a", 401),
            ("a", "/x?r2h-token", 401),
        ] {
            assert_eq!(
                status(check(&request("GET", target, &[]), &with_token(token))),
                expected,
                "{target}"
            );
        }
    }

    #[test]
    fn marker_and_separators_of_the_user_agent_are_exact() {
        for (agent, expected) in [
            ("R2HTOKEN/s", 200),
            ("xR2HTOKEN/s\ty", 200),
            ("r2htoken/s", 401),
            ("R2HTOKEN/s;", 401),
            ("R2HTOKEN/", 401),
        ] {
            let request = request("GET", "/", &[("User-Agent", agent)]);
            assert_eq!(
                status(check(&request, &with_token("s"))),
                expected,
                "{agent}"
            );
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_a_wrong_token() {
        for (name, value) in [
            ("Cookie", &b"r2h-token=\xff"[..]),
            ("User-Agent", b"R2HTOKEN/\xff"),
        ] {
            let mut request = request("GET", "/", &[]);
            request.headers.extend([(name, value)]);
            assert_eq!(status(check(&request, &with_token("s"))), 401);
        }
    }

    #[test]
    fn assets_need_no_token() {
        let config = with_token("s");
        assert_eq!(
            status(check(&request("GET", "/assets/x.js", &[]), &config)),
            200
        );
        assert_eq!(
            status(check(&request("GET", "/assetsx", &[]), &config)),
            401
        );
        let prefixed = Config {
            app_path_prefix: "/tv".to_owned(),
            ..config
        };
        assert_eq!(
            status(check(&request("GET", "/tv/assets/x", &[]), &prefixed)),
            200
        );
        assert_eq!(
            status(check(&request("GET", "/assets/x", &[]), &prefixed)),
            404
        );
    }

    #[test]
    fn refusals_name_the_place_and_not_the_token() {
        let agent = ("User-Agent", "R2HTOKEN/guess");
        let cookie = ("Cookie", "r2h-token=guess");
        for (target, headers, detail) in [
            (
                "/?r2h-token=guess",
                &[cookie, agent][..],
                "the access token in the query is wrong",
            ),
            (
                "/",
                &[cookie, agent],
                "the access token in the cookie is wrong",
            ),
            ("/", &[agent], "the access token in the User-Agent is wrong"),
            ("/", &[], "an access token is needed"),
        ] {
            let answer = check(&request("GET", target, headers), &with_token("s")).unwrap_err();
            assert_eq!(answer.detail, detail);
        }
    }

    #[test]
    fn checks_come_in_the_order_of_the_specification() {
        let everything = Config {
            hostname: Hostname::parse("tv.home").ok(),
            app_path_prefix: "/tv".to_owned(),
            cors_allow_origin: Some("*".to_owned()),
            ..with_token("s")
        };
        let host = ("Host", "tv.home");
        for (method, target, headers, expected) in [
            ("OPTIONS", "*", &[host][..], 400),
            ("OPTIONS", "/tv/x", &[], 400),
            ("GET", "/x?r2h-token=s", &[], 400),
            ("OPTIONS", "/x", &[host], 404),
            ("GET", "/x", &[host], 404),
            ("OPTIONS", "/tv/http/h/x", &[host], 204),
            ("options", "/tv", &[host], 204),
            ("GET", "/tv/x", &[host], 401),
            ("GET", "/tv/x?r2h-token=s", &[host], 200),
        ] {
            let result = check(&request(method, target, headers), &everything);
            assert_eq!(status(result), expected, "{method} {target} {headers:?}");
        }
        assert_eq!(
            status(check(&request("OPTIONS", "/", &[]), &with_token("s"))),
            401
        );
        assert_eq!(
            status(check(&request("OPTIONS", "/", &[]), &Config::default())),
            200
        );
    }

    #[test]
    fn preflight_is_that_of_the_specification() {
        let config = Config {
            cors_allow_origin: Some("*".to_owned()),
            ..Config::default()
        };
        let text = |headers: &[(&str, &str)]| {
            let answer = check(&request("OPTIONS", "/http/h/x", headers), &config).unwrap_err();
            String::from_utf8(answer.encode(&config, Form::Short, false)).expect("ASCII")
        };
        let head =
            "HTTP/1.1 204 No Content\r\nConnection: close\r\nAccess-Control-Allow-Origin: *\r\n";
        let tail = "Access-Control-Max-Age: 86400\r\nContent-Length: 0\r\n\r\n";
        let methods = "Access-Control-Allow-Methods: GET, HEAD, OPTIONS\r\n";
        assert_eq!(text(&[]), format!("{head}{methods}{tail}"));
        assert_eq!(
            text(&[
                ("Access-Control-Request-Method", "PUT"),
                ("Access-Control-Request-Headers", "x-a, range"),
            ]),
            format!(
                "{head}Access-Control-Allow-Methods: PUT\r\nAccess-Control-Allow-Headers: x-a, range\r\n{tail}"
            )
        );
        let long = "a".repeat(512);
        for value in ["é", "a\tb", "", &long] {
            let asked = [
                ("Access-Control-Request-Method", value),
                ("Access-Control-Request-Headers", value),
            ];
            assert_eq!(text(&asked), format!("{head}{methods}{tail}"));
        }
    }

    #[test]
    fn forwarded_address_is_the_first_and_only_if_believed() {
        let believing = Config {
            xff: true,
            ..Config::default()
        };
        let address = |value: &str, config: &Config| {
            forwarded_for(&request("GET", "/", &[("X-Forwarded-For", value)]), config)
                .map(str::to_owned)
        };
        for (value, first) in [
            ("198.51.100.9", Some("198.51.100.9")),
            (" 198.51.100.9 , 10.0.0.1", Some("198.51.100.9")),
            ("[2001:db8::1]:80", Some("[2001:db8::1]:80")),
            ("unknown", Some("unknown")),
            ("", None),
            (",10.0.0.1", None),
            ("a b", None),
            ("<script>", None),
            ("é", None),
        ] {
            assert_eq!(address(value, &believing).as_deref(), first, "{value}");
            assert_eq!(address(value, &Config::default()), None);
        }
        assert_eq!(address(&"1".repeat(64), &believing), None);
        assert_eq!(forwarded_for(&request("GET", "/", &[]), &believing), None);
    }

    proptest! {
        #[test]
        fn only_the_token_opens(
            target in "/[a-z/?&=$%-]{0,20}",
            cookie in "(r2h-token=)?[a-z;= %]{0,12}",
            agent in "(R2HTOKEN/)?[a-z ]{0,9}",
        ) {
            // None of these letters are in the token.
            let request = request("GET", &target, &[("Cookie", &cookie), ("User-Agent", &agent)]);
            prop_assert_eq!(status(check(&request, &with_token("S3CRET"))), 401);
        }

        #[test]
        fn encoded_token_opens_from_query_and_cookie(token in "[^\\p{C} ]{1,10}( [^\\p{C} ]{1,9})?") {
            let config = with_token(&token);
            let encoded = Token::parse(&token).expect("a token").encoded();
            let target = format!("/x?r2h-token={encoded}");
            prop_assert_eq!(status(check(&request("GET", &target, &[]), &config)), 200);
            let cookie = format!("r2h-token={encoded}");
            prop_assert_eq!(status(check(&request("GET", "/", &[("Cookie", &cookie)]), &config)), 200);
        }
    }
}
