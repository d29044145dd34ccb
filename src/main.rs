//! The `flowgate` program: arguments, logger, router, exit status.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use flowgate::area::{Area, Worker};
use flowgate::cli::{self, Command, Invocation, Loaded};
use flowgate::config::{Config, Problem, Severity};
use flowgate::listen::{Access, ListenError, Listeners};
use flowgate::net::mio::MioNet;
use flowgate::net::tls::TlsConfig;
use flowgate::net::{Place, clock};
use flowgate::pid_file::{PidFile, PidFileError};
use flowgate::privilege::Identity;
use flowgate::router::Router;
use flowgate::{demo, logger, pid_file, probe, sys};

fn main() -> ExitCode {
    // A program of its own in the same binary, with other options.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|word| word == "probe") {
        return probe::run(arguments.collect());
    }
    let invocation = match cli::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(error) => {
            // Nothing can be done about a closed standard error.
            let _ = writeln!(io::stderr(), "flowgate: {error}\nTry 'flowgate --help'.");
            return ExitCode::FAILURE;
        }
    };
    let loaded = match &invocation.command {
        Command::Help(text) | Command::Version(text) => {
            say(text);
            return ExitCode::SUCCESS;
        }
        Command::CheckConfig => return check_config(&invocation),
        Command::PrintConfig => return print_config(&invocation),
        Command::Run | Command::Demo => invocation.load(),
    };
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(problems) => {
            complain(&problems);
            return ExitCode::FAILURE;
        }
    };
    let result = match invocation.command {
        Command::Demo => run_demo(loaded),
        _ => run(loaded, |_| ()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { text, exit_status }) => {
            logger::fatal(&text);
            let _ = writeln!(io::stderr(), "flowgate: {text}");
            exit_status
        }
    }
}

/// Why the program ends.
struct Failure {
    text: String,
    exit_status: ExitCode,
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self {
            text,
            exit_status: ExitCode::FAILURE,
        }
    }
}

impl From<PidFileError> for Failure {
    fn from(error: PidFileError) -> Self {
        Self {
            text: error.to_string(),
            exit_status: pid_file::EXIT_STATUS.into(),
        }
    }
}

impl From<ListenError> for Failure {
    fn from(error: ListenError) -> Self {
        Self {
            text: error.to_string(),
            exit_status: error.exit_status().into(),
        }
    }
}

/// Prints to standard output; a closed one is no reason to fail.
fn say(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
}

/// Writes problems to standard error, a line each.
fn complain(problems: &[Problem]) {
    let mut stderr = io::stderr().lock();
    for problem in problems {
        // Nothing can be done about a closed standard error.
        let _ = writeln!(stderr, "flowgate: {problem}");
    }
}

/// Tells every problem; the exit status says whether one is more than a notice.
fn check_config(invocation: &Invocation) -> ExitCode {
    let problems = match invocation.load() {
        Ok(mut loaded) => {
            loaded.problems.extend(missing(&loaded.config));
            loaded.problems
        }
        Err(problems) => problems,
    };
    complain(&problems);
    let is_good = problems
        .iter()
        .all(|problem| problem.severity == Severity::Notice);
    if is_good {
        say("the configuration is good\n");
        return ExitCode::SUCCESS;
    }
    ExitCode::FAILURE
}

/// What the configuration names and this system does not have, so that a start would fail.
fn missing(config: &Config) -> Vec<Problem> {
    let unresolved = config.listen.iter().map(|address| address.resolve().err());
    let authorities = TlsConfig::load(config.tls_ca.as_deref()).err();
    let user = config.user.as_ref();
    let unknown = user.and_then(|name| Identity::look_up(name).err());
    unresolved
        .chain([
            authorities.map(|error| error.to_string()),
            unknown.map(|error| error.to_string()),
        ])
        .flatten()
        .map(|text| Problem::of_all(Severity::Wrong, text))
        .collect()
}

/// Prints the configuration in effect as a file; the exit status says whether there is one.
fn print_config(invocation: &Invocation) -> ExitCode {
    match invocation.load() {
        Ok(loaded) => {
            complain(&loaded.problems);
            say(&loaded.file_text());
            ExitCode::SUCCESS
        }
        Err(problems) => {
            complain(&problems);
            ExitCode::FAILURE
        }
    }
}

/// Runs the router until it is told to stop. `ready` is called once clients can connect.
fn run(loaded: Loaded, ready: impl FnOnce(&[SocketAddr])) -> Result<(), Failure> {
    let config = loaded.config;
    let area = Area::new(clock::now(), clock::unix_ms(), config.verbosity as u8)
        .map_err(|error| format!("the status area cannot be made: {error}"))?;
    let area = Arc::new(area);
    logger::keep_lines(Arc::clone(&area));
    logger::init(config.verbosity, config.log_style).map_err(|error| error.to_string())?;
    for problem in &loaded.problems {
        log::log!(problem.level(), "{problem}");
    }
    if let Err(error) = sys::process::raise_descriptor_limit() {
        log::warn!("the limit of open descriptors stays as it is: {error}");
    }
    let tls = TlsConfig::load(config.tls_ca.as_deref()).map_err(|error| error.to_string())?;
    let mut net =
        MioNet::new(tls).map_err(|error| format!("the system gives no event queue: {error}"))?;
    net.install_signals()
        .map_err(|error| format!("signals cannot be handled: {error}"))?;
    let config = Rc::new(config);
    net.watch_bell(area.bell())
        .map_err(|error| format!("the bell cannot be heard: {error}"))?;
    let worker = Worker::new(area, 0);
    worker.begin(std::process::id());
    let mut router = Router::new(Box::new(net), Rc::clone(&config), worker);
    let identity = match &config.user {
        Some(name) => Some(Identity::look_up(name).map_err(|error| error.to_string())?),
        None => None,
    };
    let access = Access {
        mode: config.unix_mode,
        owner: identity.as_ref().map(Identity::owner),
    };
    let listeners = Listeners::open(&config.listen, 1, &access)?;
    let _pid_file = match &config.pid_file {
        Some(path) => Some(PidFile::take(path)?),
        None => None,
    };
    if let Some(identity) = &identity {
        identity.assume().map_err(|error| error.to_string())?;
    }
    let (listeners, _paths) = listeners
        .into_worker()
        .map_err(|error| format!("no descriptors for listeners: {error}"))?;
    let mut bound = Vec::new();
    for listener in listeners {
        if let Place::Tcp(address) = listener.place() {
            bound.push(*address);
        }
        router
            .adopt_listener(listener)
            .map_err(|error| format!("a listener cannot be watched: {error}"))?;
    }
    router.settle();
    log::info!("Server initialization complete, ready to accept connections");
    logger::serving();
    ready(&bound);
    router
        .run()
        .map_err(|error| format!("waiting for events failed: {error}"))?;
    Ok(())
}

/// Runs the router beside a source of its own on loopback.
fn run_demo(mut loaded: Loaded) -> Result<(), Failure> {
    loaded
        .config
        .upstream_interface_multicast
        .get_or_insert_with(|| "lo".into());
    let source = demo::Source::start(demo::GROUP)
        .map_err(|error| format!("the test source cannot send to {}: {error}", demo::GROUP))?;
    let result = run(loaded, |bound| say(&demo_text(bound)));
    drop(source);
    result
}

/// What to do with a running demo.
fn demo_text(bound: &[SocketAddr]) -> String {
    let mut text = format!(
        "flowgate demo: a test picture is sent as RTP to {} on loopback.\n\n",
        demo::GROUP
    );
    for address in bound {
        let _ = writeln!(text, "  http://{address}/rtp/{}", demo::GROUP);
    }
    if let Some(address) = bound.first() {
        let url = format!("http://{address}/rtp/{}", demo::GROUP);
        let _ = write!(
            text,
            "\nOpen the URL in a player, or try:\n\n  ffplay -fflags nobuffer {url}\n  \
             curl -s --max-time 5 {url} -o demo.ts\n\nCtrl-C stops it.\n"
        );
    }
    text
}
