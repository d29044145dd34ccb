//! The options of `probe server`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use getopts::Options;

use super::values::{buffer_size, count, listen_address, milliseconds};
use super::{Command, help, is_given, last, matches, read_file, value};
use crate::probe::classic;
use crate::probe::units::size;

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

pub(super) fn parser() -> Options {
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
            "auto, or tcp: looks at nothing, everything is a raw sink; websocket is auto",
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

pub(super) fn parse(
    arguments: &[String],
    port: Option<String>,
    warnings: &mut Vec<String>,
) -> Result<Command, String> {
    let mut matches = matches(&parser(), arguments)?;
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
        matches = super::matches(&parser(), &classic)?;
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
