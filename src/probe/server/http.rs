//! What a request asks a probe server for, and the heads of the answers (probe spec B.5.3, B.5.4, B.13). Pure.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::probe::wire::{Command, Direction, HELLO_BYTES_MAX, Hello, Plan, RunId};
use crate::proto::http::{Framing as Length, Head, decode, request_framing};
use crate::proto::url::query_value;
use crate::proto::websocket::{accept_key, requested_key};

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Request {
    /// A WebSocket; the head of the answer.
    WebSocket(String),
    /// To take payload, whose end `Length` tells.
    Up(RunId, u32, Box<Plan>, Length),
    /// To send payload.
    Down(RunId, u32, Box<Plan>),
    /// What is known about a run.
    Run(RunId),
    /// A command for a run.
    Command(RunId, Command),
    /// Whether the server is well.
    Health,
    /// Counters for Prometheus.
    Metrics,
    /// The page.
    Page,
    /// Views of all connections as server-sent events.
    Events,
}

/// Why a request is not answered as it wishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Status code and reason.
    pub(super) status: &'static str,
    /// One line for people.
    pub(super) text: String,
}

impl Refusal {
    fn new(status: &'static str, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
        }
    }
}

/// Reads the head of a request.
///
/// # Errors
///
/// Why it is refused.
pub(super) fn read(head: &[u8], any_origin: bool) -> Result<Request, Refusal> {
    let bad = |text: String| Refusal::new("400 Bad Request", text);
    let (head, _) = decode(head)
        .map_err(|error| bad(error.to_string()))?
        .ok_or_else(|| bad("the head is not complete".into()))?;
    let (path, query) = head.target.split_once('?').unwrap_or((head.target, ""));
    if let Some(run) = path.strip_prefix("/probe/run/") {
        let run = RunId::parse(run).map_err(|error| bad(error.to_string()))?;
        return get(&head, Request::Run(run));
    }
    match path {
        "/" | "/client" => get(&head, Request::Page),
        "/events" => get(&head, Request::Events),
        "/healthz" => get(&head, Request::Health),
        "/metrics" => get(&head, Request::Metrics),
        "/ws" => websocket(&head, any_origin),
        "/probe/up" => match hello(&head, Direction::Up)? {
            (run, connection, plan) if matches!(head.method_name, "POST" | "PUT") => {
                let length = request_framing(&head).map_err(|error| bad(error.to_string()))?;
                Ok(Request::Up(run, connection, plan, length))
            }
            _ => Err(Refusal::new("405 Method Not Allowed", "POST is")),
        },
        "/probe/down" => {
            let (run, connection, plan) = hello(&head, Direction::Down)?;
            get(&head, Request::Down(run, connection, plan))
        }
        "/probe/control" if head.method_name == "POST" => {
            let value = |name| match query_value(query, name) {
                Some(Ok(value)) => Ok(value),
                _ => Err(bad(format!("{name} is missing"))),
            };
            let run = RunId::parse(&value("run")?).map_err(|error| bad(error.to_string()))?;
            let command = match Command::named(&value("cmd")?) {
                Ok(Command::Done { .. }) => {
                    let exit = value("exit")?.parse().map_err(|_| bad("exit".into()))?;
                    Command::Done { exit }
                }
                Ok(command) => command,
                Err(error) => return Err(bad(error.to_string())),
            };
            Ok(Request::Command(run, command))
        }
        "/probe/control" => Err(Refusal::new("405 Method Not Allowed", "POST is")),
        _ => Err(Refusal::new("404 Not Found", "there is nothing here")),
    }
}

fn get(head: &Head<'_>, request: Request) -> Result<Request, Refusal> {
    match head.method_name {
        "GET" => Ok(request),
        _ => Err(Refusal::new("405 Method Not Allowed", "GET is")),
    }
}

fn websocket(head: &Head<'_>, any_origin: bool) -> Result<Request, Refusal> {
    let key = requested_key(&head.headers);
    let key = key.map_err(|text| Refusal::new("400 Bad Request", text))?;
    // A page of another site must not use the visitor's browser to reach this server.
    if let Some(origin) = head.headers.get("Origin").filter(|_| !any_origin) {
        let host = origin.split_once("://").map_or(origin, |(_, host)| host);
        let own = head.headers.get("Host").unwrap_or_default();
        if !host.eq_ignore_ascii_case(own) {
            return Err(Refusal::new(
                "403 Forbidden",
                format!("pages of {origin} may not connect; see --any-origin"),
            ));
        }
    }
    Ok(Request::WebSocket(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept_key(key)
    )))
}

/// The hello in `X-Probe` (probe spec B.5.4).
fn hello(head: &Head<'_>, direction: Direction) -> Result<(RunId, u32, Box<Plan>), Refusal> {
    let bad = |text: String| Refusal::new("400 Bad Request", format!("X-Probe: {text}"));
    let text = head.headers.get("X-Probe").unwrap_or_default();
    let text = text.trim_end_matches('=');
    let json = (text.len() <= 2 * HELLO_BYTES_MAX)
        .then(|| URL_SAFE_NO_PAD.decode(text).ok())
        .flatten()
        .ok_or_else(|| bad("not a hello in base64url".into()))?;
    match Hello::parse(&json).map_err(|error| bad(error.to_string()))? {
        Hello::Data(run, connection, plan) if plan.direction == direction => {
            Ok((run, connection, plan))
        }
        _ => Err(bad(format!("the direction is not {}", direction.name()))),
    }
}

/// A whole answer, after which the connection stays open or not.
pub(super) fn answer(status: &str, kind: &str, body: &str, keeps: bool) -> String {
    let connection = if keeps { "keep-alive" } else { "close" };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Connection: {connection}\r\n\r\n{body}",
        body.len()
    )
}

/// The head in front of payload: nobody between may store it or hold it back.
pub(super) const DOWN_HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\
    Transfer-Encoding: chunked\r\nCache-Control: no-store\r\nX-Accel-Buffering: no\r\n\
    Connection: close\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str, headers: &str) -> Result<Request, Refusal> {
        let head = format!("{line} HTTP/1.1\r\nHost: probe.test:80\r\n{headers}\r\n");
        read(head.as_bytes(), false)
    }

    fn hello_header(direction: &str) -> String {
        let json = format!(r#"{{"v":1,"run":"0000000000000001","conn":2,"dir":"{direction}"}}"#);
        format!("X-Probe: {}\r\n", URL_SAFE_NO_PAD.encode(json))
    }

    #[test]
    fn paths_are_what_they_are() {
        let run = RunId(1);
        assert_eq!(request("GET /", ""), Ok(Request::Page));
        assert_eq!(request("GET /client?payload=5", ""), Ok(Request::Page));
        assert_eq!(
            request("GET /probe/run/0000000000000001", ""),
            Ok(Request::Run(run))
        );
        assert_eq!(
            request("POST /probe/control?run=0000000000000001&cmd=stop", ""),
            Ok(Request::Command(run, Command::Stop))
        );
        assert_eq!(
            request(
                "POST /probe/control?cmd=done&exit=4&run=0000000000000001",
                ""
            ),
            Ok(Request::Command(run, Command::Done { exit: 4 }))
        );
        let chunked = format!("Transfer-Encoding: chunked\r\n{}", hello_header("up"));
        assert!(matches!(
            request("POST /probe/up", &chunked),
            Ok(Request::Up(RunId(1), 2, _, Length::Chunked))
        ));
        assert!(matches!(
            request("GET /probe/down", &hello_header("down")),
            Ok(Request::Down(RunId(1), 2, _))
        ));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let status = |line: &str, headers: &str| {
            let refusal = request(line, headers).expect_err(line);
            refusal.status[..3].to_owned()
        };
        assert_eq!(status("GET /nothing", ""), "404");
        assert_eq!(status("POST /", ""), "405");
        assert_eq!(status("GET /probe/run/12", ""), "400");
        assert_eq!(status("POST /probe/control?cmd=stop", ""), "400");
        assert_eq!(status("POST /probe/up", ""), "400");
        assert_eq!(status("POST /probe/up", &hello_header("down")), "400");
        assert_eq!(status("GET /probe/up", &hello_header("up")), "405");
        assert_eq!(status("GET /ws", ""), "400");
    }

    #[test]
    fn pages_of_other_sites_may_not_connect() {
        let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let of = |origin: &str| request("GET /ws", &format!("{upgrade}Origin: {origin}\r\n"));
        assert!(of("http://probe.test:80").is_ok());
        let refusal = of("http://evil.test").expect_err("refused");
        assert!(refusal.status.starts_with("403"));
        assert!(request("GET /ws", upgrade).is_ok(), "no browser");
    }
}
