//! The `flowgate` program: arguments, logger, router, exit status.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;

use flowgate::cli::{self, Command, Invocation, Loaded};
use flowgate::config::{Config, Problem, Severity};
use flowgate::limits::LISTENERS_MAX;
use flowgate::net::mio::MioNet;
use flowgate::net::tls::TlsConfig;
use flowgate::router::Router;
use flowgate::{demo, logger, sys};

fn main() -> ExitCode {
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
        _ => run(loaded, |_| Ok(())),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logger::fatal(&error);
            let _ = writeln!(io::stderr(), "flowgate: {error}");
            ExitCode::FAILURE
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
        Ok(loaded) => loaded.problems,
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
fn run(
    loaded: Loaded,
    ready: impl FnOnce(&[SocketAddr]) -> Result<(), String>,
) -> Result<(), String> {
    let config = loaded.config;
    let timestamps = config.log_timestamps || io::stderr().is_terminal();
    logger::init(config.verbosity, timestamps).map_err(|error| error.to_string())?;
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
    let mut router = Router::new(Box::new(net), Rc::clone(&config));
    let bound = listen(&mut router, &config)?;
    router.settle();
    log::info!("Server initialization complete, ready to accept connections");
    logger::serving();
    ready(&bound)?;
    router
        .run()
        .map_err(|error| format!("waiting for events failed: {error}"))
}

/// Opens every listener. One that cannot be opened ends the program: half a service helps nobody.
fn listen(router: &mut Router, config: &Config) -> Result<Vec<SocketAddr>, String> {
    let mut bound = Vec::new();
    for wanted in &config.listen {
        let several = wanted.resolve()?;
        let first = bound.len();
        let mut unsupported = None;
        for address in several {
            if bound.len() >= LISTENERS_MAX {
                return Err(format!("more than {LISTENERS_MAX} addresses to listen on"));
            }
            match router.listen(address) {
                Ok(address) => {
                    log::info!("Listening on {} port {}", address.ip(), address.port());
                    bound.push(address);
                }
                // A host without IPv6 still serves IPv4.
                Err(error) if is_unsupported(&error) => unsupported = Some(error),
                Err(error) => return Err(format!("cannot listen on {address}: {error}")),
            }
        }
        if let (Some(error), true) = (unsupported, bound.len() == first) {
            return Err(format!("cannot listen on {wanted}: {error}"));
        }
    }
    Ok(bound)
}

/// Whether the host has no such addresses: IPv6 is not built in, or switched off.
fn is_unsupported(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EAFNOSUPPORT)
        || error.kind() == io::ErrorKind::AddrNotAvailable
}

/// Runs the router beside a source of its own on loopback.
fn run_demo(mut loaded: Loaded) -> Result<(), String> {
    loaded
        .config
        .upstream_interface_multicast
        .get_or_insert_with(|| "lo".into());
    let source = demo::Source::start(demo::GROUP)
        .map_err(|error| format!("the test source cannot send to {}: {error}", demo::GROUP))?;
    let result = run(loaded, |bound| {
        say(&demo_text(bound));
        Ok(())
    });
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
