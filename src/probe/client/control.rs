//! The control connection: commands to the server, its views of the run back (probe spec B.5.2, B.5.4).
//!
//! A line or a message each where the transport carries them; over HTTP a request each, one at a time. It may never
//! be made, or fall silent: then the run goes on without it, and says so.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::probe::framing::{Intake, Length};
use crate::probe::stream::Stream;
use crate::probe::target::{Target, Transport};
use crate::probe::wire::{self, Command, RunId};
use crate::proto::http::{Chunked, content_length, decode_response};

/// Bytes of a view of a whole run at most.
const VIEW_BYTES_MAX: u64 = 16 << 20;

/// The state of the control connection.
#[derive(Debug)]
pub(super) struct Control {
    run: RunId,
    /// Over HTTP: the authority and what is in front of every path.
    http: Option<(String, String)>,
    commands: VecDeque<Command>,
    is_asking: bool,
    /// When anything last came.
    heard_at: Option<Instant>,
    longest_silence: Duration,
}

impl Control {
    /// A control connection to `target`, not made yet.
    pub(super) fn new(run: RunId, target: &Target) -> Self {
        let is_http = target.transport == Transport::Http;
        Self {
            run,
            http: is_http.then(|| (target.authority(), target.path.clone())),
            commands: VecDeque::new(),
            is_asking: false,
            heard_at: None,
            longest_silence: Duration::ZERO,
        }
    }

    /// Sends a command as soon as that is possible.
    pub(super) fn send(&mut self, command: Command) {
        self.commands.push_back(command);
    }

    /// Whether nothing waits to be sent or answered.
    pub(super) fn is_idle(&self) -> bool {
        self.commands.is_empty() && !self.is_asking
    }

    /// Writes what is due; `asks` says that it is time for a view.
    pub(super) fn step(&mut self, stream: &mut Stream, asks: bool) {
        let Some((authority, path)) = &self.http else {
            for command in self.commands.drain(..) {
                stream.outlet.push_text(&command.to_json().to_string());
            }
            return;
        };
        if self.is_asking {
            return;
        }
        let run = self.run;
        let line = match self.commands.pop_front() {
            Some(command) => {
                let exit = match command {
                    Command::Done { exit } => format!("&exit={exit}"),
                    _ => String::new(),
                };
                format!(
                    "POST {path}/probe/control?run={run}&cmd={}{exit} HTTP/1.1\r\nContent-Length: 0",
                    command.name()
                )
            }
            None if asks => format!("GET {path}/probe/run/{run} HTTP/1.1"),
            None => return,
        };
        let request = format!("{line}\r\nHost: {authority}\r\n\r\n");
        stream.outlet.push(request.as_bytes());
        stream.intake = Intake::Head(Vec::new());
        self.is_asking = true;
    }

    /// Takes what has come: returns the views in it.
    ///
    /// # Errors
    ///
    /// When an answer makes no sense.
    pub(super) fn text(
        &mut self,
        now: Instant,
        stream: &mut Stream,
        text: &[u8],
    ) -> Result<Vec<Map<String, Value>>, String> {
        self.hear(now);
        if self.http.is_none() {
            return Ok(wire::object(text).into_iter().collect());
        }
        if matches!(stream.intake, Intake::Head(_)) {
            stream.intake = Intake::Body(body_length(text)?, Vec::new());
            return Ok(Vec::new());
        }
        self.is_asking = false;
        stream.intake = Intake::Head(Vec::new());
        let Ok(Value::Object(mut run)) = serde_json::from_slice(text) else {
            return Ok(Vec::new());
        };
        let Some(Value::Array(connections)) = run.remove("conns") else {
            return Ok(Vec::new());
        };
        let objects = connections.into_iter().filter_map(|view| match view {
            Value::Object(view) => Some(view),
            _ => None,
        });
        Ok(objects.collect())
    }

    /// The hold begins: only silence from now on counts.
    pub(super) fn begin_hold(&mut self, now: Instant) {
        self.heard_at = Some(now);
        self.longest_silence = Duration::ZERO;
    }

    /// The longest time without a word since the hold began, which ends now.
    pub(super) fn silence(&self, now: Instant) -> Option<Duration> {
        let since = now.saturating_duration_since(self.heard_at?);
        Some(self.longest_silence.max(since))
    }

    fn hear(&mut self, now: Instant) {
        if let Some(before) = self.heard_at.replace(now) {
            let silence = now.saturating_duration_since(before);
            self.longest_silence = self.longest_silence.max(silence);
        }
    }
}

/// How long the body behind the head of a response is.
///
/// # Errors
///
/// When it cannot be told, or is too long.
pub(super) fn body_length(head: &[u8]) -> Result<Length, String> {
    let (head, _) = decode_response(head)
        .map_err(|error| format!("the head of the response: {error}"))?
        .ok_or("the head of the response is not complete")?;
    let is_chunked = head
        .headers
        .tokens("Transfer-Encoding")
        .any(|coding| coding.eq_ignore_ascii_case(b"chunked"));
    if is_chunked {
        return Ok(Length::Chunked(Chunked::new()));
    }
    match content_length(&head.headers) {
        Ok(Some(bytes)) if bytes <= VIEW_BYTES_MAX => Ok(Length::Sized(bytes)),
        _ => Err("the response has no length, or too much of it".into()),
    }
}
