//! `flowgate probe`: does back pressure travel through this chain of proxies, from a slow reader to the sender?
//!
//! A server behind the chain and a client in front of it; one sends as fast as it can, the other stops reading. A
//! single process and one event loop per end, over the sockets of [`net`](crate::net), but no part of the router.
//!
//! | Module | Is |
//! |---|---|
//! | [`options`], [`target`], [`units`], [`classic`] | the command line, and files of another program |
//! | [`client`], [`server`] | the two loops, and what their connections do |
//! | [`stream`], [`link`], [`turns`] | a connection as bytes; TLS or not; whose turn it is |
//! | [`framing`], [`wire`], [`payload`], [`pace`] | what is on the wire |
//! | [`schedule`], [`receiver`], [`sender`], [`track`] | what is measured, and what is made of it; pure |
//! | [`evidence`], [`netstat`] | what the kernel says |
//! | [`output`], [`page`] | what people and programs see |
//!
//! The behaviour is that of part B of the probe spec.

pub mod classic;
pub mod client;
pub mod evidence;
pub mod framing;
pub mod link;
pub mod netstat;
pub mod options;
pub mod output;
pub mod pace;
pub mod page;
pub mod payload;
pub mod receiver;
pub mod schedule;
pub mod sender;
pub mod server;
pub mod stream;
pub mod target;
pub mod track;
pub mod turns;
pub mod units;
pub mod wire;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Map, Value};

use self::client::Run;
use self::options::{ClientOptions, Command, Directions, Json, ServerOptions};
use self::output::Output;
use self::server::Server;
use self::wire::Direction;
use crate::limits::PROBE_DESCRIPTORS_BESIDES;
use crate::net::mio::MioNet;
use crate::net::tls::{TlsConfig, TlsServer};
use crate::sys::{self, signal::Signal};

/// Exit status: as expected (probe spec B.10).
pub const EXIT_YES: u8 = 0;
/// Exit status: contrary to the expectation.
pub const EXIT_NO: u8 = 1;
/// Exit status: wrong arguments.
pub const EXIT_USAGE: u8 = 2;
/// Exit status: no connection, or no agreement.
pub const EXIT_CONNECT: u8 = 3;
/// Exit status: the run does not tell.
pub const EXIT_INCONCLUSIVE: u8 = 4;
/// Exit status: bytes lost or changed.
pub const EXIT_CORRUPT: u8 = 5;
/// Exit status of a probe that a signal has ended: 130 for SIGINT, 143 for SIGTERM.
pub fn exit_by_signal(net: &MioNet) -> u8 {
    match net.stopped_by() {
        Some(Signal::Interrupt) => 130,
        _ => 143,
    }
}

/// Runs the probe with the arguments behind `probe`.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let port = std::env::var("PORT").ok().filter(|port| !port.is_empty());
    let parsed = options::parse(arguments, port).map(|parsed| {
        for warning in &parsed.warnings {
            complain(warning);
        }
        parsed.command
    });
    let status = match parsed {
        Ok(Command::Help(text)) => {
            say(&text);
            Ok(EXIT_YES)
        }
        Ok(Command::Server(options)) => serve(options),
        Ok(Command::Client(options)) => measure(&options),
        Ok(Command::Report(file)) => report(&file),
        Err(error) => {
            complain(&format!("{error}\nTry 'flowgate probe --help'."));
            Ok(EXIT_USAGE)
        }
    };
    ExitCode::from(status.unwrap_or_else(|error| {
        complain(&error);
        EXIT_USAGE
    }))
}

fn serve(mut options: ServerOptions) -> Result<u8, String> {
    if let Some(most) = connections_that_fit()
        && most < options.connections_max
    {
        complain(&format!(
            "takes {most} connections at a time, not {}: the limit of open descriptors (ulimit -Hn) allows no more",
            options.connections_max
        ));
        options.connections_max = most.max(1);
    }
    let certificate = options.certificate.as_ref();
    let tls = certificate
        .map(|(certificate, key)| TlsServer::load(certificate, key))
        .transpose()
        .map_err(|error| error.to_string())?;
    let net = network(TlsConfig::load(None).map_err(|error| error.to_string())?)?;
    let output = Output::to(io::stdout()).map_err(|error| error.to_string())?;
    let (server, bound) = Server::start(net, options, tls, output)?;
    complain(&format!("listening on {bound}"));
    server
        .run()
        .map_err(|error| format!("waiting for events failed: {error}"))
}

fn measure(options: &ClientOptions) -> Result<u8, String> {
    if let Some(most) = connections_that_fit()
        && most < options.connections as usize
    {
        return Err(format!(
            "-c {}: the limit of open descriptors (ulimit -Hn) allows {most} connections",
            options.connections
        ));
    }
    let tls = match options.is_insecure {
        true => TlsConfig::trusting_everybody(),
        false => TlsConfig::load(options.authorities.as_deref()),
    };
    let mut net = network(tls.map_err(|error| error.to_string())?)?;
    let mut output = match &options.json {
        Json::Off => Output::nowhere(),
        Json::Stdout => Output::to(io::stdout()).map_err(|error| error.to_string())?,
        Json::File(path) => {
            let file = File::create(path);
            let file = file.map_err(|error| format!("{}: {error}", path.display()))?;
            Output::to(file).map_err(|error| error.to_string())?
        }
    };
    let mut live = match options.quiet {
        true => Output::nowhere(),
        false => Output::to(io::stderr()).map_err(|error| error.to_string())?,
    };
    let is_terminal = io::stderr().is_terminal();
    let directions: &[Direction] = match options.directions {
        Directions::Up => &[Direction::Up],
        Directions::Down => &[Direction::Down],
        Directions::Both => &[Direction::Up, Direction::Down],
    };
    let mut status = EXIT_YES;
    let mut words = String::new();
    for direction in directions {
        let run = Run::new(
            &mut net,
            options,
            *direction,
            &mut output,
            &mut live,
            is_terminal,
        );
        let outcome = run
            .run()
            .map_err(|error| format!("waiting for events failed: {error}"))?;
        output.write(format!("{}\n", Value::Object(outcome.result.clone())));
        words.push_str(&client::result::words(&outcome.result));
        status = worse(status, outcome.exit);
        if outcome.is_interrupted {
            status = outcome.exit;
            break;
        }
    }
    live.finish(if is_terminal { "\r\x1b[K" } else { "" }.into());
    output.finish(String::new());
    match options.json {
        Json::Stdout => {}
        Json::Off | Json::File(_) => say(&words),
    }
    Ok(status)
}

/// The worse of two exit statuses: bytes lost, no, no connection, inconclusive, as expected.
fn worse(one: u8, other: u8) -> u8 {
    let order = [
        EXIT_YES,
        EXIT_INCONCLUSIVE,
        EXIT_CONNECT,
        EXIT_NO,
        EXIT_CORRUPT,
    ];
    // Whatever else there is ended a run before it could tell.
    let rank = |status| {
        order
            .iter()
            .position(|known| *known == status)
            .unwrap_or(order.len())
    };
    if rank(other) > rank(one) { other } else { one }
}

/// How many connections this process may have, once its limit of open descriptors is as high as it may be; `None` if
/// that cannot be known.
fn connections_that_fit() -> Option<usize> {
    match sys::process::raise_descriptor_limit() {
        Ok(limit) => usize::try_from(limit.saturating_sub(PROBE_DESCRIPTORS_BESIDES)).ok(),
        Err(error) => {
            complain(&format!(
                "the limit of open descriptors stays as it is: {error}"
            ));
            None
        }
    }
}

fn network(tls: TlsConfig) -> Result<MioNet, String> {
    let mut net =
        MioNet::new(tls).map_err(|error| format!("the system gives no event queue: {error}"))?;
    net.install_signals(&[Signal::Stop, Signal::Interrupt], &[])
        .map_err(|error| format!("signals cannot be handled: {error}"))?;
    Ok(net)
}

/// Shows the last result in a file of events.
fn report(file: &Path) -> Result<u8, String> {
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let is_result =
        |object: &Map<String, Value>| object.get("ev").and_then(Value::as_str) == Some("result");
    let mut results = text
        .lines()
        .filter_map(|line| wire::object(line.as_bytes()).ok())
        .filter(is_result)
        .peekable();
    if results.peek().is_none() {
        return Err(format!("{}: there is no result in it", file.display()));
    }
    let mut status = EXIT_YES;
    for result in results {
        say(&client::result::words(&result));
        let exit = result.get("exit").and_then(Value::as_u64);
        status = worse(
            status,
            exit.and_then(|exit| exit.try_into().ok()).unwrap_or(4),
        );
    }
    Ok(status)
}

/// Prints to standard output; a closed one is no reason to fail.
fn say(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
}

/// Prints to standard error.
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "flowgate probe: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_directions_the_worse_counts() {
        assert_eq!(worse(EXIT_YES, EXIT_NO), EXIT_NO);
        assert_eq!(worse(EXIT_NO, EXIT_INCONCLUSIVE), EXIT_NO);
        assert_eq!(worse(EXIT_CORRUPT, EXIT_YES), EXIT_CORRUPT);
        assert_eq!(worse(EXIT_YES, 143), 143);
    }
}
