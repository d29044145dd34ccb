//! What the two ends tell each other: hello, reply, report, command, all JSON objects (probe spec B.5.2).
//!
//! Decoders check every number against a bound, ignore unknown keys, and take a missing key for its default where
//! the hello of an older or simpler peer may lack it.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::schedule::Step;

/// What a hello begins with on a TCP connection.
pub const MAGIC: &[u8] = b"BPPROBE1 ";
/// Longest hello or reply, bytes, line end included (probe spec B.5.2).
pub const HELLO_BYTES_MAX: usize = 4096;
/// Longest report or command, bytes, line end included.
pub const LINE_BYTES_MAX: usize = 4096;
/// Steps of a schedule.
pub const STEPS_MAX: usize = 32;
/// Connections of one run.
pub const CONNECTIONS_MAX: u32 = 10_000;
/// Largest size of one write or message, bytes.
pub const PAYLOAD_BYTES_MAX: u64 = 16 << 20;
/// Longest step.
const STEP_MAX: Duration = Duration::from_secs(86_400);

/// A run: what belongs together, chosen by its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(pub u64);

impl RunId {
    /// 16 hexadecimal digits.
    ///
    /// # Errors
    ///
    /// If it is anything else.
    pub fn parse(text: &str) -> Result<Self, WireError> {
        let is_hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = is_hex.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        number.map(Self).ok_or(WireError::Key("run"))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Who pushes payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The client.
    Up,
    /// The server.
    Down,
}

impl Direction {
    /// As in hellos and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Direction::Up => "up",
            Direction::Down => "down",
        }
    }
}

/// What a client says first.
#[derive(Debug, Clone, PartialEq)]
pub enum Hello {
    /// Commands and views of this run travel here.
    Control(RunId),
    /// Payload travels here.
    Data(RunId, u32, Box<Plan>),
}

/// What both ends of a payload connection must agree on.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Who sends.
    pub direction: Direction,
    /// Of the payload.
    pub seed: u64,
    /// The payload repeats after so many bytes; 0 = never.
    pub block_bytes: u64,
    /// Whether the receiver checks the payload.
    pub verify: bool,
    /// Size of one write or message, 1 to [`PAYLOAD_BYTES_MAX`].
    pub payload_bytes: u64,
    /// Bytes after which the stream is complete; 0 = when it ends.
    pub total_bytes: u64,
    /// Interval of reports and samples, 20 ms to 5 s.
    pub sample: Duration,
    /// How long a sender must be blocked for a stall.
    pub stall_min: Duration,
    /// The receiver's `SO_RCVBUF`; 0 = the kernel's choice.
    pub receive_buffer_bytes: u64,
    /// The sender's `SO_SNDBUF`; 0 = the kernel's choice.
    pub send_buffer_bytes: u64,
    /// The sender's `TCP_NOTSENT_LOWAT`; 0 = the kernel's choice.
    pub unsent_low_water_bytes: u64,
    /// The sender's pace in bytes per second; 0 = unlimited.
    pub bytes_per_second: u64,
    /// The sender's pace in messages per second; 0 = unlimited.
    pub messages_per_second: u64,
    /// When the receiver reads.
    pub schedule: Vec<Step>,
}

impl Hello {
    /// The run.
    pub fn run(&self) -> RunId {
        match self {
            Hello::Control(run) | Hello::Data(run, ..) => *run,
        }
    }

    /// As a JSON object.
    pub fn to_json(&self) -> Value {
        let Hello::Data(run, connection, plan) = self else {
            return json!({"v": 1, "run": self.run().to_string(), "dir": "control"});
        };
        let schedule: Vec<Value> = plan.schedule.iter().map(|step| step_json(*step)).collect();
        json!({
            "v": 1,
            "run": run.to_string(),
            "conn": connection,
            "dir": plan.direction.name(),
            "seed": plan.seed,
            "block": plan.block_bytes,
            "verify": plan.verify,
            "payload": plan.payload_bytes,
            "total": plan.total_bytes,
            "sample_ms": plan.sample.as_millis() as u64,
            "stall_ms": plan.stall_min.as_millis() as u64,
            "rcvbuf": plan.receive_buffer_bytes,
            "sndbuf": plan.send_buffer_bytes,
            "lowat": plan.unsent_low_water_bytes,
            "rate": plan.bytes_per_second,
            "rate_msgs": plan.messages_per_second,
            "schedule": schedule,
        })
    }

    /// Reads a JSON object.
    ///
    /// # Errors
    ///
    /// `Json` for what is no object, `Version` for another protocol, `Operation` for an unknown step, and `Key`
    /// for a value that is missing, of the wrong kind or out of bounds.
    pub fn parse(text: &[u8]) -> Result<Self, WireError> {
        let object = object(text)?;
        if number(&object, "v", 0..=u64::MAX, None)? != 1 {
            return Err(WireError::Version);
        }
        let run = object.get("run").and_then(Value::as_str);
        let run = RunId::parse(run.ok_or(WireError::Key("run"))?)?;
        let direction = match object.get("dir").and_then(Value::as_str) {
            Some("control") => return Ok(Hello::Control(run)),
            Some("up") => Direction::Up,
            Some("down") => Direction::Down,
            _ => return Err(WireError::Key("dir")),
        };
        let connections = 0..=u64::from(CONNECTIONS_MAX - 1);
        let connection = number(&object, "conn", connections, Some(0))? as u32;
        let any = 0..=i64::MAX as u64;
        let size = 0..=u64::from(i32::MAX as u32);
        let milliseconds = |name, bounds, default| {
            number(&object, name, bounds, Some(default)).map(Duration::from_millis)
        };
        let plan = Plan {
            direction,
            seed: number(&object, "seed", 0..=u64::MAX, Some(0))?,
            block_bytes: number(&object, "block", any.clone(), Some(0))?,
            verify: flag(&object, "verify", true)?,
            payload_bytes: number(&object, "payload", 1..=PAYLOAD_BYTES_MAX, Some(65_536))?,
            total_bytes: number(&object, "total", any.clone(), Some(0))?,
            sample: milliseconds("sample_ms", 20..=5000, 100)?,
            stall_min: milliseconds("stall_ms", 10..=3_600_000, 1000)?,
            receive_buffer_bytes: number(&object, "rcvbuf", size.clone(), Some(0))?,
            send_buffer_bytes: number(&object, "sndbuf", size.clone(), Some(0))?,
            unsent_low_water_bytes: number(&object, "lowat", size, Some(16_384))?,
            bytes_per_second: number(&object, "rate", any.clone(), Some(0))?,
            messages_per_second: number(&object, "rate_msgs", any, Some(0))?,
            schedule: schedule(&object)?,
        };
        Ok(Hello::Data(run, connection, Box::new(plan)))
    }
}

fn step_json(step: Step) -> Value {
    let milliseconds = step.time().map(|time| time.as_millis() as u64);
    match (step, milliseconds) {
        (
            Step::Rate {
                bytes_per_second, ..
            },
            Some(time),
        ) => json!({"op": "rate", "ms": time, "bps": bytes_per_second}),
        (step, Some(time)) => json!({"op": step.name(), "ms": time}),
        (step, None) => json!({"op": step.name()}),
    }
}

fn schedule(object: &Map<String, Value>) -> Result<Vec<Step>, WireError> {
    let Some(list) = object.get("schedule") else {
        return Ok(vec![Step::Drain]);
    };
    let list = list.as_array().ok_or(WireError::Key("schedule"))?;
    if list.len() > STEPS_MAX {
        return Err(WireError::Key("schedule"));
    }
    list.iter()
        .map(|step| {
            let step = step.as_object().ok_or(WireError::Key("schedule"))?;
            let time = || {
                let longest = STEP_MAX.as_millis() as u64;
                number(step, "ms", 0..=longest, None).map(Duration::from_millis)
            };
            match step.get("op").and_then(Value::as_str) {
                Some("read") => Ok(Step::Read(time()?)),
                Some("hold") => Ok(Step::Hold(time()?)),
                Some("rate") => Ok(Step::Rate {
                    time: time()?,
                    bytes_per_second: number(step, "bps", 1..=i64::MAX as u64, None)?,
                }),
                Some("drain") => Ok(Step::Drain),
                other => {
                    let name = other.unwrap_or("none").chars().take(32).collect();
                    Err(WireError::Operation(name))
                }
            }
        })
        .collect()
}

/// The answer to a hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Go on.
    Accepted {
        /// The program at the other end.
        server: String,
    },
    /// No.
    Refused(String),
}

impl Reply {
    /// As a JSON object; `peer` is the client's address as this end sees it.
    pub fn to_json(&self, peer: &str) -> Value {
        match self {
            Reply::Accepted { server } => {
                json!({"v": 1, "ok": true, "server": server, "peer": peer})
            }
            Reply::Refused(error) => json!({"v": 1, "ok": false, "error": error}),
        }
    }

    /// Reads a JSON object.
    ///
    /// # Errors
    ///
    /// `Json` for what is no object, `Version` for another protocol, `Key` without `ok`.
    pub fn parse(text: &[u8]) -> Result<Self, WireError> {
        let object = object(text)?;
        if number(&object, "v", 0..=u64::MAX, None)? != 1 {
            return Err(WireError::Version);
        }
        let text = |name| {
            let text = object.get(name).and_then(Value::as_str).unwrap_or("?");
            text.chars().take(200).collect()
        };
        match object.get("ok").and_then(Value::as_bool) {
            Some(true) => Ok(Reply::Accepted {
                server: text("server"),
            }),
            Some(false) => Ok(Reply::Refused(text("error"))),
            None => Err(WireError::Key("ok")),
        }
    }
}

/// What a receiver says about itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Its number, from 0.
    pub number: u64,
    /// Seconds since the first payload byte.
    pub at: f64,
    /// Name of the current step; `wait` before the first byte.
    pub state: String,
    /// Number of the current step, from 0.
    pub step: u64,
    /// Seconds since that step began.
    pub since: f64,
    /// Payload bytes read.
    pub consumed: u64,
    /// Bytes that wait in the kernel and in this program, framing included.
    pub unread: Option<u64>,
    /// The window last advertised.
    pub window: Option<u64>,
    /// Offset of the first wrong byte.
    pub bad_at: Option<u64>,
    /// Longest time without data since the report before, seconds.
    pub gap: f64,
    /// Nothing more comes.
    pub is_final: bool,
}

impl Report {
    /// As a JSON object.
    pub fn to_json(&self) -> Value {
        json!({
            "r": self.number,
            "t": milli(self.at),
            "state": self.state,
            "step": self.step,
            "consumed": self.consumed,
            "inq": self.unread,
            "rcv_wnd": self.window,
            "bad_at": self.bad_at,
            "since": milli(self.since),
            "gap": milli(self.gap),
            "final": self.is_final,
        })
    }

    /// Reads an object.
    ///
    /// # Errors
    ///
    /// `Key` for a value of the wrong kind.
    pub fn of(object: &Map<String, Value>) -> Result<Self, WireError> {
        let any = || 0..=i64::MAX as u64;
        let state = object.get("state").and_then(Value::as_str);
        Ok(Self {
            number: number(object, "r", any(), Some(0))?,
            at: seconds(object, "t"),
            state: state.unwrap_or("wait").chars().take(16).collect(),
            step: number(object, "step", any(), Some(0))?,
            consumed: number(object, "consumed", any(), None)?,
            unread: optional(object, "inq"),
            window: optional(object, "rcv_wnd"),
            bad_at: optional(object, "bad_at"),
            since: seconds(object, "since"),
            gap: seconds(object, "gap"),
            is_final: flag(object, "final", false)?,
        })
    }
}

/// What a client asks for over the control connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Hold until told otherwise; what the page asks for.
    Hold,
    /// End the hold now.
    Resume,
    /// Stop sending, and read to the end.
    Stop,
    /// The client has its verdict, and ends with this status.
    Done {
        /// As in probe spec B.10.
        exit: u8,
    },
}

impl Command {
    /// As on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Command::Hold => "hold",
            Command::Resume => "resume",
            Command::Stop => "stop",
            Command::Done { .. } => "done",
        }
    }

    /// By its name; what else belongs to it is 0.
    ///
    /// # Errors
    ///
    /// `Key` for any other.
    pub fn named(name: &str) -> Result<Self, WireError> {
        match name {
            "hold" => Ok(Command::Hold),
            "resume" => Ok(Command::Resume),
            "stop" => Ok(Command::Stop),
            "done" => Ok(Command::Done { exit: 0 }),
            _ => Err(WireError::Key("cmd")),
        }
    }

    /// As a JSON object.
    pub fn to_json(self) -> Value {
        match self {
            Command::Done { exit } => json!({"cmd": self.name(), "exit": exit}),
            _ => json!({"cmd": self.name()}),
        }
    }

    /// Reads a JSON object.
    ///
    /// # Errors
    ///
    /// `Json` for what is no object, `Key` for an unknown command.
    pub fn parse(text: &[u8]) -> Result<Self, WireError> {
        let object = object(text)?;
        match Self::named(object.get("cmd").and_then(Value::as_str).unwrap_or(""))? {
            Command::Done { .. } => Ok(Command::Done {
                exit: number(&object, "exit", 0..=255, None)? as u8,
            }),
            command => Ok(command),
        }
    }
}

/// Parses text as one JSON object.
///
/// # Errors
///
/// `Json` for anything else.
pub fn object(text: &[u8]) -> Result<Map<String, Value>, WireError> {
    match serde_json::from_slice(text) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(WireError::Json),
    }
}

/// A number that may be absent or null.
pub fn optional(object: &Map<String, Value>, name: &str) -> Option<u64> {
    object.get(name).and_then(Value::as_u64)
}

/// A time in seconds, 0 if it is absent or makes no sense.
pub fn seconds(object: &Map<String, Value>, name: &str) -> f64 {
    let value = object.get(name).and_then(Value::as_f64).unwrap_or(0.0);
    value.clamp(0.0, 1e9)
}

/// Three decimals are enough for people and for milliseconds.
pub fn milli(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

fn number(
    object: &Map<String, Value>,
    name: &'static str,
    bounds: std::ops::RangeInclusive<u64>,
    default: Option<u64>,
) -> Result<u64, WireError> {
    match object.get(name) {
        None => default.ok_or(WireError::Key(name)),
        Some(value) => {
            let number = value.as_u64().filter(|number| bounds.contains(number));
            number.ok_or(WireError::Key(name))
        }
    }
}

fn flag(object: &Map<String, Value>, name: &'static str, default: bool) -> Result<bool, WireError> {
    match object.get(name) {
        None => Ok(default),
        Some(value) => value.as_bool().ok_or(WireError::Key(name)),
    }
}

/// Why a line is not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WireError {
    /// Not a JSON object.
    Json,
    /// Another version of the protocol.
    Version,
    /// This key is missing, of the wrong kind, or out of bounds.
    Key(&'static str),
    /// A schedule has a step of this unknown name.
    Operation(String),
    /// Longer than a line may be, bytes.
    Length(usize),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::Json => f.write_str("not a JSON object"),
            WireError::Version => f.write_str("another version of the probe's protocol"),
            WireError::Key(name) => write!(f, "{name} is missing or makes no sense"),
            WireError::Operation(name) => write!(f, "unknown op {name:?} in the schedule"),
            WireError::Length(bytes) => write!(f, "a line longer than {bytes} bytes"),
        }
    }
}

impl std::error::Error for WireError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plan() -> Plan {
        Plan {
            direction: Direction::Up,
            seed: u64::MAX,
            block_bytes: 0,
            verify: true,
            payload_bytes: 65_536,
            total_bytes: 0,
            sample: Duration::from_millis(100),
            stall_min: Duration::from_secs(1),
            receive_buffer_bytes: 0,
            send_buffer_bytes: 0,
            unsent_low_water_bytes: 16_384,
            bytes_per_second: 0,
            messages_per_second: 0,
            schedule: vec![
                Step::Read(Duration::from_secs(1)),
                Step::Rate {
                    time: Duration::from_secs(2),
                    bytes_per_second: 1000,
                },
                Step::Hold(Duration::from_secs(10)),
                Step::Drain,
            ],
        }
    }

    #[test]
    fn a_hello_is_read_as_it_was_written() {
        let hello = Hello::Data(RunId(0xabc), 3, Box::new(plan()));
        let text = hello.to_json().to_string();
        assert!(text.len() < HELLO_BYTES_MAX);
        assert_eq!(Hello::parse(text.as_bytes()), Ok(hello));
        let control = Hello::Control(RunId(7));
        let text = control.to_json().to_string();
        assert_eq!(Hello::parse(text.as_bytes()), Ok(control));
    }

    #[test]
    fn the_hello_of_the_specification_is_understood() {
        let text =
            br#"{"v":1,"run":"00000000deadbeef","conn":0,"dir":"up","seed":123,"verify":true,
            "payload":65536,"total":0,"sample_ms":100,"rcvbuf":0,"sndbuf":0,"lowat":16384,"new":[1],
            "schedule":[{"op":"read","ms":1000},{"op":"hold","ms":10000},{"op":"drain"}]}"#;
        let Ok(Hello::Data(run, 0, plan)) = Hello::parse(text) else {
            panic!("{:?}", Hello::parse(text));
        };
        assert_eq!((run.0, plan.seed), (0xdead_beef, 123));
        assert_eq!(plan.schedule.len(), 3);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_key() {
        let good = Hello::Data(RunId(1), 0, Box::new(plan())).to_json();
        let with = |name: &str, value: Value| {
            let mut object = good.clone();
            object[name] = value;
            Hello::parse(object.to_string().as_bytes()).expect_err("refused")
        };
        assert_eq!(with("run", json!("12")), WireError::Key("run"));
        assert_eq!(with("v", json!(2)), WireError::Version);
        assert_eq!(with("conn", json!(10_000)), WireError::Key("conn"));
        assert_eq!(with("payload", json!(0)), WireError::Key("payload"));
        assert_eq!(with("sample_ms", json!(1)), WireError::Key("sample_ms"));
        assert_eq!(with("verify", json!("yes")), WireError::Key("verify"));
        assert_eq!(
            with("schedule", json!([{"op": "sleep", "ms": 1}])),
            WireError::Operation("sleep".into())
        );
        let many: Vec<Value> = vec![json!({"op": "drain"}); STEPS_MAX + 1];
        assert_eq!(with("schedule", json!(many)), WireError::Key("schedule"));
        assert_eq!(Hello::parse(b"[]"), Err(WireError::Json));
    }

    #[test]
    fn unknown_is_null_and_never_zero() {
        let report = Report {
            consumed: 5,
            ..Report::default()
        };
        let json = report.to_json();
        assert!(json["inq"].is_null() && json["bad_at"].is_null());
        let Value::Object(object) = json else {
            panic!("an object")
        };
        assert_eq!(Report::of(&object).expect("sound").unread, None);
    }

    #[test]
    fn replies_and_commands_are_read_as_they_were_written() {
        for reply in [
            Reply::Accepted {
                server: "flowgate 1".into(),
            },
            Reply::Refused("full".into()),
        ] {
            let text = reply.to_json("10.0.0.1:5").to_string();
            assert_eq!(Reply::parse(text.as_bytes()), Ok(reply));
        }
        for command in [Command::Resume, Command::Stop, Command::Done { exit: 4 }] {
            let text = command.to_json().to_string();
            assert_eq!(Command::parse(text.as_bytes()), Ok(command));
        }
        assert_eq!(
            Command::parse(br#"{"cmd":"dance"}"#),
            Err(WireError::Key("cmd"))
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Hello::parse(&bytes);
            let _ = Reply::parse(&bytes);
            let _ = Command::parse(&bytes);
        }

        #[test]
        fn no_value_under_a_known_key_makes_a_decoder_panic(
            key in prop::sample::select(vec!["v", "run", "conn", "dir", "seed", "payload", "schedule", "sample_ms"]),
            value in prop_oneof![
                any::<i64>().prop_map(Value::from), any::<f64>().prop_map(Value::from),
                ".*".prop_map(Value::from), Just(json!([{"op": "read", "ms": -1}])), Just(Value::Null),
            ],
        ) {
            let mut object = Hello::Data(RunId(1), 0, Box::new(plan())).to_json();
            object[key] = value;
            let _ = Hello::parse(object.to_string().as_bytes());
        }
    }
}
