//! The options of `probe client`.

use std::path::PathBuf;
use std::time::Duration;

use getopts::{Matches, Options};

use super::values::{buffer_size, count, proxy, steps};
use super::{Command, help, is_given, last, matches, read_file, value};
use crate::probe::classic;
use crate::probe::schedule::{Step, total_time};
use crate::probe::target::{Target, Transport};
use crate::probe::units::{duration, rate, size};
use crate::probe::wire::{CONNECTIONS_MAX, PAYLOAD_BYTES_MAX};
use crate::proto::url::Host;

/// What a client measures.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientOptions {
    /// The server.
    pub target: Target,
    /// Directions, one run each.
    pub directions: Directions,
    /// Connections of one run.
    pub connections: u32,
    /// Those of them that hold.
    pub slow: u32,
    /// When receivers of held connections read.
    pub schedule: Vec<Step>,
    /// After the hold a sender must get on within this time.
    pub resume: Duration,
    /// A sender that is blocked for so long has stalled.
    pub stall_min: Duration,
    /// More bytes accepted in a hold mean that nothing propagates.
    pub absorb_max: u64,
    /// The sender's pace in bytes per second; 0 = unlimited.
    pub bytes_per_second: u64,
    /// The sender's pace in messages per second; 0 = unlimited.
    pub messages_per_second: u64,
    /// Messages in all; 0 = unlimited.
    pub messages: u64,
    /// Size of one write or message.
    pub payload_bytes: u64,
    /// The sender's `SO_SNDBUF`; 0 = the kernel's choice.
    pub send_buffer_bytes: u64,
    /// The sender's `TCP_NOTSENT_LOWAT`; 0 = the kernel's choice.
    pub unsent_low_water_bytes: u64,
    /// The receiver's `SO_RCVBUF`; 0 = the kernel's choice.
    pub receive_buffer_bytes: u64,
    /// The control connection; `None` = none.
    pub control: Option<Target>,
    /// An HTTP proxy that connects to the server.
    pub via: Option<(Host, u16)>,
    /// Certificate authorities besides the system's, PEM.
    pub authorities: Option<PathBuf>,
    /// Whether any certificate is taken.
    pub is_insecure: bool,
    /// Whom the certificate must be for, in place of the URL's host.
    pub server_name: Option<String>,
    /// Interval of samples and reports.
    pub sample: Duration,
    /// Whether the receiver checks the payload.
    pub verify: bool,
    /// NDJSON events: not, to standard output, or to a file.
    pub json: Json,
    /// No live progress.
    pub quiet: bool,
    /// Whether back pressure is expected to travel.
    pub expects_yes: bool,
    /// Percent of their warm-up rate that free connections must keep.
    pub isolation_percent: f64,
    /// The whole run.
    pub timeout: Duration,
    /// The run of a classic file: no hello, no hold, no verdict; only messages.
    pub is_classic: bool,
}

/// Which directions are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Directions {
    /// The client sends.
    Up,
    /// The server sends.
    Down,
    /// One after the other.
    Both,
}

/// Where NDJSON goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    /// Nowhere.
    Off,
    /// To standard output.
    Stdout,
    /// To this file.
    File(PathBuf),
}

/// Free connections must keep this part of their rate, percent, unless another is asked for.
const ISOLATION_PERCENT: f64 = 50.0;

/// A classic run takes as long as its messages do.
const CLASSIC_TIMEOUT: Duration = Duration::from_secs(7 * 86_400);

impl ClientOptions {
    /// Payload bytes of one connection; 0 = unlimited.
    pub fn total_bytes(&self) -> u64 {
        self.messages.saturating_mul(self.payload_bytes)
    }

    /// The longest hold of the schedule.
    pub fn hold(&self) -> Duration {
        let holds = self.schedule.iter().filter_map(|step| match step {
            Step::Hold(time) => Some(*time),
            _ => None,
        });
        holds.max().unwrap_or_default()
    }

    /// The first step that does not read.
    pub fn warmup(&self) -> Duration {
        let first = self
            .schedule
            .iter()
            .take_while(|step| matches!(step, Step::Read(_)));
        first.filter_map(|step| step.time()).sum()
    }

    /// What free connections do while others hold.
    pub fn free_schedule(&self) -> Vec<Step> {
        vec![Step::Read(total_time(&self.schedule)), Step::Drain]
    }

    /// Bytes offered during the longest hold by a sender that has a pace.
    pub fn offered(&self) -> Option<u64> {
        let by_messages = self.messages_per_second.saturating_mul(self.payload_bytes);
        let paces = [self.bytes_per_second, by_messages];
        let pace = paces.into_iter().filter(|pace| *pace > 0).min()?;
        Some((pace as f64 * self.hold().as_secs_f64()) as u64)
    }

    /// Whether free connections are compared with held ones.
    pub fn checks_isolation(&self) -> bool {
        self.slow > 0 && self.slow < self.connections
    }

    /// What is spoken, as in results.
    pub fn transport(&self) -> &'static str {
        self.target.transport.name(self.target.is_secure)
    }

    /// Whether payload travels in requests and responses.
    pub fn is_http(&self) -> bool {
        self.target.transport == Transport::Http
    }
}

pub(super) fn parser() -> Options {
    let mut options = Options::new();
    options
        .optmulti(
            "",
            "direction",
            "up, down or both (default up: the client sends)",
            "NAME",
        )
        .optmulti("c", "connections", "parallel connections (default 1)", "N")
        .optmulti(
            "",
            "slow",
            "hold only so many; the others must not suffer",
            "K",
        )
        .optmulti("", "warmup", "read freely first (default 1s)", "TIME")
        .optmulti(
            "",
            "hold",
            "do not read; ends early once every sender has stalled (default 10s)",
            "TIME",
        )
        .optmulti(
            "",
            "resume",
            "read freely again; senders must get on (default 5s)",
            "TIME",
        )
        .optmulti(
            "",
            "throttle",
            "between hold and resume read at this rate",
            "RATE",
        )
        .optmulti("", "throttle-for", "... for so long", "TIME")
        .optmulti(
            "",
            "schedule",
            "these steps instead: read:1s,hold:10s,rate:1MiB/s:5s,drain",
            "STEPS",
        )
        .optmulti(
            "",
            "stall-min",
            "blocked for so long is a stall (default 1s)",
            "TIME",
        )
        .optmulti(
            "",
            "max-absorb",
            "more accepted in the hold than this does not propagate (default 256MiB)",
            "BYTES",
        )
        .optmulti("", "rate", "the sender's pace", "BYTES/s")
        .optmulti(
            "",
            "rate-msgs",
            "the sender's pace in messages per second",
            "N",
        )
        .optmulti("", "count", "stop after so many messages", "N")
        .optmulti(
            "",
            "payload",
            "size of one write or message (default 65536)",
            "BYTES",
        )
        .optmulti("", "sndbuf", "the sender's SO_SNDBUF", "BYTES")
        .optmulti(
            "",
            "notsent-lowat",
            "the sender's TCP_NOTSENT_LOWAT (default 16384; 0 = leave alone)",
            "BYTES",
        )
        .optmulti("", "rcvbuf", "the receiver's SO_RCVBUF", "BYTES")
        .optmulti(
            "",
            "control",
            "where the control connection goes (default the URL; none = do without)",
            "URL",
        )
        .optmulti(
            "",
            "via",
            "reach the server through this proxy (CONNECT)",
            "http://HOST:PORT",
        )
        .optmulti(
            "",
            "cacert",
            "authorities to trust besides the system's (PEM)",
            "FILE",
        )
        .optflagmulti("", "insecure", "take any certificate")
        .optmulti(
            "",
            "sni",
            "whom the certificate must be for (default the URL's host)",
            "NAME",
        )
        .optmulti(
            "",
            "sample",
            "interval of samples and reports (default 100ms)",
            "TIME",
        )
        .optflagmulti("", "verify", "check every byte (the default)")
        .optflagmulti("", "no-verify", "do not check the payload")
        .optflagopt(
            "",
            "json",
            "NDJSON events and result, on standard output or in a file",
            "FILE",
        )
        .optflagmulti("", "quiet", "no live progress")
        .optmulti("", "expect", "yes or no (default yes)", "ANSWER")
        .optmulti(
            "",
            "expect-isolation",
            "percent of their rate that free connections must keep (default 50)",
            "PCT",
        )
        .optmulti(
            "",
            "config",
            "classic YAML file; options given override it",
            "FILE",
        )
        .optmulti(
            "",
            "timeout",
            "the whole run (default: all steps and 10 s)",
            "TIME",
        )
        .optflagmulti("h", "help", "show this text");
    options
}

/// Options that ask for more than a classic run.
const SCHEDULE_OPTIONS: [&str; 7] = [
    "direction",
    "slow",
    "warmup",
    "hold",
    "throttle",
    "resume",
    "schedule",
];

pub(super) fn parse(arguments: &[String], warnings: &mut Vec<String>) -> Result<Command, String> {
    let mut matches = matches(&parser(), arguments)?;
    if matches.opt_present("help") {
        return Ok(Command::Help(help()));
    }
    let mut is_classic = false;
    if let Some(file) = last(&matches, "config") {
        let found = classic::client_arguments(&read_file(&file)?);
        let (url, mut classic, unknown) = found.map_err(|error| format!("{file}: {error}"))?;
        warnings.extend(
            unknown
                .into_iter()
                .map(|warning| format!("{file}: {warning}")),
        );
        is_classic = !SCHEDULE_OPTIONS
            .iter()
            .any(|name| matches.opt_present(name));
        classic.retain(|argument| !is_given(&matches, argument));
        classic.extend_from_slice(arguments);
        if matches.free.is_empty() {
            classic.push(url);
        }
        matches = super::matches(&parser(), &classic)?;
    }
    let url = match matches.free.as_slice() {
        [url] => url,
        [] => return Err("client: give a URL".into()),
        _ => return Err("client: give one URL".into()),
    };
    let target = Target::parse(url)?;
    let connections = value(&matches, "connections", |text| {
        count(text, 1, u64::from(CONNECTIONS_MAX))
    })?;
    let connections = connections.unwrap_or(1) as u32;
    let slow = value(&matches, "slow", |text| {
        count(text, 0, u64::from(connections))
    })?;
    let resume = value(&matches, "resume", duration)?.unwrap_or(Duration::from_secs(5));
    let schedule = schedule(&matches, resume)?;
    let payload_bytes = value(&matches, "payload", |text| {
        let bytes = size(text)?;
        match bytes {
            1..=PAYLOAD_BYTES_MAX => Ok(bytes),
            _ => Err(format!("1 to {PAYLOAD_BYTES_MAX} bytes")),
        }
    })?;
    let any_count = |text: &str| count(text, 0, 1 << 40);
    let directions = match last(&matches, "direction").as_deref() {
        None | Some("up") => Directions::Up,
        Some("down") => Directions::Down,
        Some("both") => Directions::Both,
        Some(other) => return Err(format!("--direction: {other:?} is not up, down or both")),
    };
    let control = match last(&matches, "control").as_deref() {
        _ if is_classic => None,
        None => Some(target.clone()),
        Some("none") => None,
        Some(url) => Some(Target::parse(url).map_err(|error| format!("--control: {error}"))?),
    };
    let expects_yes = match last(&matches, "expect").as_deref() {
        None | Some("yes") => true,
        Some("no") => false,
        Some(other) => return Err(format!("--expect: {other:?} is not yes or no")),
    };
    let json = match (matches.opt_present("json"), matches.opt_str("json")) {
        (false, _) => Json::Off,
        (true, None) => Json::Stdout,
        (true, Some(file)) => Json::File(file.into()),
    };
    let sample = value(&matches, "sample", |text| {
        let sample = duration(text)?;
        match sample.as_millis() {
            20..=5000 => Ok(sample),
            _ => Err("20ms to 5s".into()),
        }
    })?;
    let isolation = value(&matches, "expect-isolation", |text| count(text, 0, 1000))?;
    let stall_min = value(&matches, "stall-min", duration)?.unwrap_or(Duration::from_secs(1));
    if stall_min < Duration::from_millis(10) {
        return Err("--stall-min: at least 10ms".into());
    }
    let timeout = value(&matches, "timeout", duration)?;
    Ok(Command::Client(Box::new(ClientOptions {
        directions,
        connections,
        slow: slow.map_or(connections, |slow| slow as u32),
        resume,
        stall_min,
        absorb_max: value(&matches, "max-absorb", size)?.unwrap_or(256 << 20),
        bytes_per_second: value(&matches, "rate", rate)?.unwrap_or(0),
        messages_per_second: value(&matches, "rate-msgs", any_count)?.unwrap_or(0),
        messages: value(&matches, "count", any_count)?.unwrap_or(0),
        payload_bytes: payload_bytes.unwrap_or(65_536),
        send_buffer_bytes: value(&matches, "sndbuf", buffer_size)?.unwrap_or(0),
        unsent_low_water_bytes: value(&matches, "notsent-lowat", buffer_size)?.unwrap_or(16_384),
        receive_buffer_bytes: value(&matches, "rcvbuf", buffer_size)?.unwrap_or(0),
        control,
        via: value(&matches, "via", proxy)?,
        authorities: last(&matches, "cacert").map(PathBuf::from),
        is_insecure: matches.opt_present("insecure"),
        server_name: last(&matches, "sni"),
        sample: sample.unwrap_or(Duration::from_millis(100)),
        verify: !matches.opt_present("no-verify"),
        json,
        quiet: matches.opt_present("quiet"),
        expects_yes,
        isolation_percent: isolation.map_or(ISOLATION_PERCENT, |percent| percent as f64),
        timeout: timeout.unwrap_or(match is_classic {
            true => CLASSIC_TIMEOUT,
            false => total_time(&schedule) + Duration::from_secs(10),
        }),
        is_classic,
        schedule,
        target,
    })))
}

fn schedule(matches: &Matches, resume: Duration) -> Result<Vec<Step>, String> {
    if let Some(steps) = value(matches, "schedule", steps)? {
        return Ok(steps);
    }
    let warmup = value(matches, "warmup", duration)?.unwrap_or(Duration::from_secs(1));
    let hold = value(matches, "hold", duration)?.unwrap_or(Duration::from_secs(10));
    let throttle = value(matches, "throttle", rate)?;
    let throttle_for = value(matches, "throttle-for", duration)?;
    let mut steps = vec![Step::Read(warmup), Step::Hold(hold)];
    match (throttle, throttle_for) {
        (None, None) => {}
        (Some(bytes_per_second), Some(time)) if bytes_per_second > 0 => steps.push(Step::Rate {
            time,
            bytes_per_second,
        }),
        (Some(_), Some(_)) => return Err("--throttle: more than 0".into()),
        _ => return Err("--throttle and --throttle-for belong together".into()),
    }
    steps.extend([Step::Read(resume), Step::Drain]);
    Ok(steps)
}
