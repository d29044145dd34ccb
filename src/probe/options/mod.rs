//! The command line of the probe (probe spec B.3): arguments become a checked [`Command`], or one clear complaint.
//!
//! Each of the two ends has its options in a module of its own; what their values look like is in a third.

mod client;
mod server;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;

use getopts::{Matches, Options};

pub use self::client::{ClientOptions, Directions, Json};
pub use self::server::ServerOptions;

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

const USAGE: &str = "\
flowgate probe - does back pressure travel through a chain of proxies?

Usage: flowgate probe server [options]
       flowgate probe client URL [options]
       flowgate probe report FILE

The server waits behind the chain, the client connects through it. One end stops
reading; the other should stall soon. URLs are tcp://host:port, tls://host:port,
ws://host[:port]/ws, wss://..., http://host[:port] and https://...

TIME is 500ms, 2s, 1.5m and the like, BYTES 64KiB, 10MB or a number, RATE the same
per second. With a web browser, http://server:port/ is a page that measures too.

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
        ("server", rest) => server::parse(rest, port, &mut warnings)?,
        ("client", rest) => client::parse(rest, &mut warnings)?,
        // The classic program's own command line (probe spec B.12).
        ("-server", [file, ..]) => {
            server::parse(&["--config".into(), file.clone()], port, &mut warnings)?
        }
        ("-client", [file, ..]) => {
            client::parse(&["--config".into(), file.clone()], &mut warnings)?
        }
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

fn help() -> String {
    let server = server::parser().usage("Server");
    let client = client::parser().usage("Client");
    format!("{USAGE}\n{server}\n{client}")
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

/// Whether an argument `--name=value` of a file is overridden.
fn is_given(matches: &Matches, argument: &str) -> bool {
    let name = argument.trim_start_matches('-').split('=').next();
    name.is_some_and(|name| matches.opt_present(name))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::probe::schedule::Step;

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
