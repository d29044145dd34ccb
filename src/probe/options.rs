//! The command line of the probe (probe spec B.3): arguments become a checked [`Command`], or one clear complaint.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use getopts::{Matches, Options};

use super::classic;
use super::schedule::{Step, total_time};
use super::target::{Target, Transport};
use super::units::{duration, rate, size};
use super::wire::{CONNECTIONS_MAX, PAYLOAD_BYTES_MAX, STEPS_MAX};
use crate::proto::url::Host;

/// What the arguments ask for.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Print this to standard output.
    Help(String),
    /// Wait for clients.
    Server(ServerOptions),
    /// Measure.
    Client(Box<ClientOptions>),
    /// Show a saved result.
    Report(PathBuf),
}

/// A command, and what to tell the user about what was ignored.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// What to do.
    pub command: Command,
    /// One line each.
    pub warnings: Vec<String>,
}

/// How a server behaves.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerOptions {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whether everything that comes is a raw sink.
    pub is_raw: bool,
    /// Largest single read, bytes; 0 = a sink is never read.
    pub read_bytes: usize,
    /// Pause after each read or message of a peer that sends no schedule.
    pub read_delay: Duration,
    /// `SO_RCVBUF`; 0 = the kernel's choice.
    pub receive_buffer_bytes: usize,
    /// Connections at a time.
    pub connections_max: usize,
    /// Certificates and private key in PEM, for TLS.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Whether web pages of other origins may connect.
    pub any_origin: bool,
    /// Whether events go to standard output as JSON.
    pub json: bool,
    /// Whether each read or message of a sink is told.
    pub log_messages: bool,
    /// Whether it ends with its first run.
    pub once: bool,
}

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

const USAGE: &str = "\
flowgate probe - does back pressure travel through a chain of proxies?

Usage: flowgate probe server [options]
       flowgate probe client URL [options]
       flowgate probe report FILE

The server waits behind the chain, the client connects through it. One end stops
reading; the other should stall soon. URLs are tcp://host:port, tls://host:port,
ws://host[:port]/ws, wss://..., http://host[:port] and https://...

Exit status: 0 as expected, 1 contrary to the expectation, 2 wrong arguments,
3 could not connect, 4 inconclusive, 5 bytes lost or changed.
";

/// Reads the arguments behind `probe`.
///
/// # Errors
///
/// What is wrong with them, in one line.
pub fn parse(arguments: Vec<OsString>, port: Option<String>) -> Result<Parsed, String> {
    let arguments = arguments
        .into_iter()
        .map(OsString::into_string)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|argument| format!("{:?} is not UTF-8", argument.to_string_lossy()))?;
    let (word, rest) = match arguments.split_first() {
        Some((word, rest)) => (word.as_str(), rest),
        None => return Err("say server, client or report".into()),
    };
    let mut warnings = Vec::new();
    let command = match (word, rest) {
        ("server", rest) => server(rest, port, &mut warnings)?,
        ("client", rest) => client(rest, &mut warnings)?,
        // The classic program's own command line (probe spec B.12).
        ("-server", [file, ..]) => server(&["--config".into(), file.clone()], port, &mut warnings)?,
        ("-client", [file, ..]) => client(&["--config".into(), file.clone()], &mut warnings)?,
        ("report", [file]) if !file.starts_with('-') => Command::Report(file.into()),
        ("report" | "-server" | "-client", _) => return Err(format!("{word}: give one file")),
        ("-h" | "--help" | "help", _) => Command::Help(help()),
        (other, _) => return Err(format!("{other:?} is not server, client or report")),
    };
    Ok(Parsed { command, warnings })
}

/// The text of a classic file.
fn read_file(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

fn server_parser() -> Options {
    let mut options = Options::new();
    options
        .optmulti(
            "",
            "listen",
            "address to listen on (default 0.0.0.0:8080; PORT in the environment is another port)",
            "ADDR:PORT",
        )
        .optmulti(
            "",
            "config",
            "classic YAML file; options given override it",
            "FILE",
        )
        .optmulti(
            "",
            "protocol",
            "auto or tcp; tcp looks at nothing, everything is a raw sink",
            "NAME",
        )
        .optmulti(
            "",
            "read-size",
            "largest single read (default 65536; 0 = a sink is never read)",
            "BYTES",
        )
        .optmulti(
            "",
            "read-delay",
            "pause of a sink after each read or message, in ms (default 0)",
            "MS",
        )
        .optmulti("", "rcvbuf", "SO_RCVBUF of every connection", "BYTES")
        .optmulti(
            "",
            "max-connections",
            "connections at a time (default 1024)",
            "N",
        )
        .optmulti(
            "",
            "cert",
            "serve TLS too, with this certificate (PEM)",
            "FILE",
        )
        .optmulti("", "key", "private key of the certificate (PEM)", "FILE")
        .optflagmulti("", "any-origin", "let web pages of other origins connect")
        .optflagmulti("", "json", "events as NDJSON on standard output")
        .optflagmulti("", "log-messages", "a line per read or message of a sink")
        .optflagmulti("", "once", "exit after the first run, with its exit status")
        .optflagmulti("h", "help", "show this text");
    options
}

fn client_parser() -> Options {
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

fn help() -> String {
    let server = server_parser().usage("Server");
    let client = client_parser().usage("Client");
    format!("{USAGE}\n{server}\n{client}")
}

fn server(
    arguments: &[String],
    port: Option<String>,
    warnings: &mut Vec<String>,
) -> Result<Command, String> {
    let mut matches = matches(&server_parser(), arguments)?;
    if let Some(file) = last(&matches, "config") {
        let found = classic::server_arguments(&read_file(&file)?, port.is_some());
        let (mut classic, unknown) = found.map_err(|error| format!("{file}: {error}"))?;
        warnings.extend(
            unknown
                .into_iter()
                .map(|warning| format!("{file}: {warning}")),
        );
        classic.retain(|argument| !is_given(&matches, argument));
        classic.extend_from_slice(arguments);
        matches = self::matches(&server_parser(), &classic)?;
    }
    if matches.opt_present("help") {
        return Ok(Command::Help(help()));
    }
    if let Some(word) = matches.free.first() {
        return Err(format!("{word:?} is not an option of the server"));
    }
    let listen = match (value(&matches, "listen", listen_address)?, port) {
        (Some(listen), _) => listen,
        (None, None) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)),
        (None, Some(port)) => {
            let port = port
                .parse::<u16>()
                .map_err(|_| format!("PORT in the environment is {port:?}, which is no port"))?;
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))
        }
    };
    let is_raw = match last(&matches, "protocol").as_deref() {
        None | Some("auto" | "websocket") => false,
        Some("tcp") => true,
        Some(other) => {
            return Err(format!(
                "--protocol: {other:?} is not auto, tcp or websocket"
            ));
        }
    };
    let certificate = match (last(&matches, "cert"), last(&matches, "key")) {
        (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
        (None, None) => None,
        _ => return Err("--cert and --key belong together".into()),
    };
    Ok(Command::Server(ServerOptions {
        listen,
        is_raw,
        read_bytes: value(&matches, "read-size", size)?.unwrap_or(65_536) as usize,
        read_delay: value(&matches, "read-delay", milliseconds)?.unwrap_or_default(),
        receive_buffer_bytes: value(&matches, "rcvbuf", buffer_size)?.unwrap_or(0) as usize,
        connections_max: value(&matches, "max-connections", |text| {
            count(text, 1, 1_000_000)
        })?
        .unwrap_or(1024) as usize,
        certificate,
        any_origin: matches.opt_present("any-origin"),
        json: matches.opt_present("json"),
        log_messages: matches.opt_present("log-messages"),
        once: matches.opt_present("once"),
    }))
}

fn client(arguments: &[String], warnings: &mut Vec<String>) -> Result<Command, String> {
    let mut matches = matches(&client_parser(), arguments)?;
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
        matches = self::matches(&client_parser(), &classic)?;
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

fn matches(parser: &Options, arguments: &[String]) -> Result<Matches, String> {
    parser.parse(arguments).map_err(|error| error.to_string())
}

/// The text of an option, if it is given; of a repeated one the last holds.
fn last(matches: &Matches, name: &str) -> Option<String> {
    matches.opt_strs(name).pop()
}

/// The value of an option, if it is given.
fn value<T>(
    matches: &Matches,
    name: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    let text = last(matches, name);
    let value = text.as_deref().map(parse).transpose();
    value.map_err(|error| format!("--{name}: {error}"))
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

/// Whether an argument `--name=value` of a file is overridden.
fn is_given(matches: &Matches, argument: &str) -> bool {
    let name = argument.trim_start_matches('-').split('=').next();
    name.is_some_and(|name| matches.opt_present(name))
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

/// `read:1s,hold:10s,rate:1MiB/s:5s,drain`; a drain at the end goes without saying.
fn steps(text: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    for step in text.split(',') {
        let parts: Vec<&str> = step.split(':').collect();
        steps.push(match parts.as_slice() {
            ["read", time] => Step::Read(duration(time)?),
            ["hold", time] => Step::Hold(duration(time)?),
            ["rate", bytes, time] => Step::Rate {
                time: duration(time)?,
                bytes_per_second: rate(bytes)?.max(1),
            },
            ["drain"] => Step::Drain,
            _ => {
                return Err(format!(
                    "{step:?} is not read:TIME, hold:TIME, rate:RATE:TIME or drain"
                ));
            }
        });
    }
    if steps.last() != Some(&Step::Drain) {
        steps.push(Step::Drain);
    }
    let drains = steps.iter().filter(|step| **step == Step::Drain).count();
    if drains > 1 || steps.len() > STEPS_MAX {
        return Err(format!(
            "at most {STEPS_MAX} steps, of which the last drains"
        ));
    }
    Ok(steps)
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let wrong = || format!("{text:?} is not an address and port such as 0.0.0.0:8080 or [::]:8080");
    if let Some(port) = text.strip_prefix(':') {
        let port = port.parse().map_err(|_| wrong())?;
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port));
    }
    text.parse().map_err(|_| wrong())
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    match text.parse::<u32>() {
        Ok(number) => Ok(Duration::from_millis(number.into())),
        Err(_) => duration(text),
    }
}

fn proxy(text: &str) -> Result<(Host, u16), String> {
    let target = Target::parse(text)?;
    match (target.transport, target.is_secure, target.path.as_str()) {
        (Transport::Http, false, "") => Ok((target.host, target.port)),
        _ => Err("a proxy is http://HOST:PORT".into()),
    }
}

/// What fits the kernel's `int`.
fn buffer_size(text: &str) -> Result<u64, String> {
    let bytes = size(text)?;
    match i32::try_from(bytes) {
        Ok(_) => Ok(bytes),
        Err(_) => Err(format!("at most {} bytes", i32::MAX)),
    }
}

fn count(text: &str, low: u64, high: u64) -> Result<u64, String> {
    let number = text.parse().ok();
    number
        .filter(|number| (low..=high).contains(number))
        .ok_or_else(|| format!("{text:?} is not a number from {low} to {high}"))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn run(words: &str) -> Result<Command, String> {
        let words = words.split(' ').map(OsString::from).collect();
        parse(words, None).map(|parsed| parsed.command)
    }

    #[track_caller]
    fn client_of(words: &str) -> ClientOptions {
        match run(&format!("client {words}")).expect(words) {
            Command::Client(options) => *options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_url_alone_takes_the_defaults() {
        let options = client_of("tcp://a:1");
        let second = Duration::from_secs(1);
        let steps = [
            Step::Read(second),
            Step::Hold(10 * second),
            Step::Read(5 * second),
            Step::Drain,
        ];
        assert_eq!(options.schedule, steps);
        assert_eq!((options.connections, options.slow), (1, 1));
        assert_eq!(options.timeout, 26 * second);
        assert_eq!(options.unsent_low_water_bytes, 16_384);
        assert_eq!(options.control, Some(options.target.clone()));
        assert!(options.verify && options.expects_yes && !options.checks_isolation());
        assert_eq!(options.offered(), None);
    }

    #[test]
    fn options_mean_what_they_say() {
        let options = client_of(
            "--direction both -c 4 --slow 1 --hold 2s --throttle 1MiB/s --throttle-for 500ms ws://a \
             --rate 1k --count 3 --payload 1000 --control none --json=x --expect no --no-verify",
        );
        assert_eq!(options.directions, Directions::Both);
        assert!(options.checks_isolation());
        assert_eq!(options.schedule[2].to_string(), "rate:1048576:0.5s");
        assert_eq!(
            (options.total_bytes(), options.offered()),
            (3000, Some(2000))
        );
        assert_eq!(
            (options.control, options.json),
            (None, Json::File("x".into()))
        );
        assert!(!options.expects_yes && !options.verify);
        let twice = client_of("tcp://a:1 --hold 2s --count 1 --hold 3s --quiet --quiet");
        assert_eq!(twice.hold(), Duration::from_secs(3), "the last holds");
        let steps = client_of("tcp://a:1 --schedule read:1s,rate:5:2s,hold:3s").schedule;
        assert_eq!(steps.len(), 4);
        assert_eq!(client_of("--json tcp://a:1").json, Json::Stdout);
    }

    #[test]
    fn the_environment_names_a_port_unless_an_option_does() {
        let listen = |words: &str| {
            let words = words.split(' ').map(OsString::from).collect();
            match parse(words, Some("9001".into())).map(|parsed| parsed.command) {
                Ok(Command::Server(options)) => options.listen.to_string(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(listen("server"), "0.0.0.0:9001");
        assert_eq!(listen("server --listen [::1]:5"), "[::1]:5");
    }

    #[test]
    fn mistakes_are_named() {
        for (words, part) in [
            ("client", "URL"),
            ("client tcp://a:1 tcp://b:1", "one URL"),
            ("client tcp://a:1 --hold 1d", "--hold"),
            ("client tcp://a:1 --slow 2", "--slow"),
            ("client tcp://a:1 --payload 0", "--payload"),
            ("client tcp://a:1 --sample 1ms", "20ms to 5s"),
            ("client tcp://a:1 --throttle 5", "belong together"),
            ("client tcp://a:1 --schedule drain,read:1s", "last drains"),
            ("client tcp://a:1 --nonsense", "nonsense"),
            ("server x", "option"),
            ("server --cert a", "belong together"),
            ("server --listen 8080", "address and port"),
            ("report", "one file"),
            ("bake", "bake"),
        ] {
            let error = run(words).expect_err(words);
            assert!(error.contains(part), "{words}: {error}");
        }
    }

    #[test]
    fn a_classic_file_stands_for_options_and_options_override_it() {
        let file = std::env::temp_dir().join(format!("flowgate-classic-{}", std::process::id()));
        let text = "protocol: tcp\nserver_addr: a\nserver_port: 1\npayload_size: 7\nrequests_total: 3\nx: 1\n";
        std::fs::write(&file, text).expect("written");
        let name = file.display().to_string();
        let parsed = |words: &[&str]| {
            let words = words.iter().map(OsString::from).collect();
            let parsed = parse(words, None).expect("sound");
            match parsed.command {
                Command::Client(options) => (*options, parsed.warnings),
                other => panic!("{other:?}"),
            }
        };
        let (options, warnings) = parsed(&["-client", &name]);
        assert!(options.is_classic && options.control.is_none());
        assert_eq!(
            (options.target.url.as_str(), options.total_bytes()),
            ("tcp://a:1", 21)
        );
        assert!(warnings[0].ends_with("line 6: x is unknown and ignored"));
        let (options, _) = parsed(&[
            "client",
            "--config",
            &name,
            "--payload",
            "9",
            "--hold",
            "1s",
        ]);
        assert!(!options.is_classic, "a hold was asked for");
        assert_eq!(options.total_bytes(), 27);
        std::fs::remove_file(&file).expect("removed");
    }

    #[test]
    fn help_names_every_option() {
        let Ok(Command::Help(text)) = run("--help") else {
            panic!("help")
        };
        for name in [
            "--listen",
            "--once",
            "--max-absorb",
            "--expect-isolation",
            "ws://",
        ] {
            assert!(text.contains(name), "{name}");
        }
    }
}
