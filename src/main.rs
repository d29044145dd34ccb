//! The `flowgate` program: arguments, logger, supervisor or worker, exit status.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;

use flowgate::area::Area;
use flowgate::cli::{self, Command, Invocation, Loaded};
use flowgate::config::{Config, ListenAddr, PORT_DEFAULT, Problem, Severity, Source, settings};
use flowgate::demo::Reservation;
use flowgate::net::tls::TlsConfig;
use flowgate::net::{Place, clock};
use flowgate::privilege::Identity;
use flowgate::supervisor::{Accompanied, Failure, Program, Supervisor, unknown_interfaces};
use flowgate::{demo, listen, logger, probe};

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
        Command::Demo => run_demo(invocation, loaded),
        _ => run(invocation, loaded),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { text, exit_status }) => {
            logger::fatal(&text);
            if !logger::is_read_with_stderr() {
                let _ = writeln!(io::stderr(), "flowgate: {text}");
            }
            exit_status.into()
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

/// Tells every problem, or how many services there are; the exit status says whether one is more than a notice.
fn check_config(invocation: &Invocation) -> ExitCode {
    let mut services = 0;
    let problems = match invocation.load() {
        Ok(mut loaded) => {
            loaded.problems.extend(missing(&loaded.config));
            loaded.problems.extend(unknown_interfaces(&loaded.config));
            services = loaded.config.catalogue().finish().len();
            loaded.problems
        }
        Err(problems) => problems,
    };
    complain(&problems);
    let is_good = problems
        .iter()
        .all(|problem| problem.severity == Severity::Notice);
    if is_good {
        say(&match services {
            0 => "the configuration is good\n".to_owned(),
            _ => format!("the configuration is good; [services] has {services} service(s)\n"),
        });
        return ExitCode::SUCCESS;
    }
    ExitCode::FAILURE
}

/// What the configuration names and this system does not have, so that a start would fail.
fn missing(config: &Config) -> Vec<Problem> {
    let listeners = listen::check(&config.listen);
    let authorities = TlsConfig::load(config.tls_ca.as_deref()).err();
    let user = config.user.as_ref();
    let unknown = user.and_then(|name| Identity::look_up(name).err());
    let others = [
        authorities.map(|error| error.to_string()),
        unknown.map(|error| error.to_string()),
    ];
    listeners
        .iter()
        .map(ToString::to_string)
        .chain(others.into_iter().flatten())
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

/// Runs the router until it is told to stop.
fn run(invocation: Invocation, loaded: Loaded) -> Result<(), Failure> {
    let area = begin(&loaded)?;
    let program = Program {
        area,
        invocation,
        loaded,
        adjust: Box::new(|_| {}),
        announce: Box::new(|_, _| {}),
    };
    serve(Supervisor::new(program)?)
}

/// Runs the router beside a source of its own on loopback.
fn run_demo(invocation: Invocation, mut loaded: Loaded) -> Result<(), Failure> {
    let reservation = Reservation::take()
        .map_err(|error| format!("the test source has no group to send to: {error}"))?;
    let demo = Demo {
        group: reservation.group(),
        is_port_taken: loaded.sources.of(settings::listen()) == Source::Default && is_port_taken(),
    };
    demo.adjust(&mut loaded.config);
    let area = begin(&loaded)?;
    let supervisor = Supervisor::new(Program {
        area,
        invocation,
        loaded,
        adjust: Box::new(move |config| demo.adjust(config)),
        announce: Box::new(move |config, places| say(&demo.text(config, places))),
    })?;
    match supervisor.accompany()? {
        Accompanied::Supervisor(supervisor) => serve(*supervisor),
        Accompanied::Companion(companion) => Ok(companion.run(|| {
            let group = demo.group;
            demo::Source::start(group)
                .map_err(|error| format!("the test source cannot send to {group}: {error}"))
        })?),
    }
}

/// Whether somebody else has the port that a demo listens on if nobody says another one.
fn is_port_taken() -> bool {
    let address = (Ipv4Addr::LOCALHOST, PORT_DEFAULT);
    let tried = TcpListener::bind(address);
    tried.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

/// How a demo differs from other routers, and from the demos beside it.
#[derive(Clone, Copy)]
struct Demo {
    /// Where its test picture is sent.
    group: SocketAddrV4,
    /// Somebody has the usual port, so the system chooses another.
    is_port_taken: bool,
}

impl Demo {
    /// The demo's group is on loopback and nowhere else, and unless other channels are listed it is one, so that the
    /// player page has something to play.
    fn adjust(&self, config: &mut Config) {
        config
            .upstream_interface_multicast
            .get_or_insert_with(|| "lo".into());
        if config.services.is_empty() {
            let group = self.group;
            config.services =
                format!("#EXTM3U\n#EXTINF:-1 group-title=\"Demo\",Test picture\nrtp://{group}\n")
                    .into();
        }
        if self.is_port_taken {
            for listen in &mut config.listen {
                if let ListenAddr::Host { port, .. } = listen
                    && *port == PORT_DEFAULT
                {
                    *port = 0;
                }
            }
        }
    }

    /// What to do with it once it runs.
    fn text(&self, config: &Config, places: &[Place]) -> String {
        let group = self.group;
        let mut text =
            format!("flowgate demo: a test picture is sent as RTP to {group} on loopback.\n");
        if self.is_port_taken {
            let _ = writeln!(
                text,
                "Port {PORT_DEFAULT} is in use, so the system has chosen another. -l names one."
            );
        }
        text.push('\n');
        let addresses = || places.iter().filter_map(Place::address);
        for address in addresses() {
            let _ = writeln!(
                text,
                "  http://{address}{}/rtp/{group}",
                config.app_path_prefix
            );
        }
        if let Some(address) = addresses().next() {
            let prefix = &config.app_path_prefix;
            let url = format!("http://{address}{prefix}/rtp/{group}");
            let _ = write!(
                text,
                "\nOpen the URL in a player, or try:\n\n  ffplay -fflags nobuffer {url}\n  \
                 curl -s --max-time 5 {url} -o demo.ts\n\nWho watches is shown at\n\n  \
                 http://{address}{prefix}{}\n\nand a browser plays it at\n\n  \
                 http://{address}{prefix}{}\n\nCtrl-C stops it.\n",
                config.status_page_path, config.player_page_path,
            );
        }
        text
    }
}

/// From now on there is a log, kept in the memory that all processes will share.
fn begin(loaded: &Loaded) -> Result<Arc<Area>, Failure> {
    let config = &loaded.config;
    let area = Area::new(clock::now(), clock::unix_ms(), config.verbosity as u8)
        .map_err(|error| format!("the status area cannot be made: {error}"))?;
    let area = Arc::new(area);
    logger::keep_lines(Arc::clone(&area));
    logger::init(config.verbosity, config.log_style).map_err(|error| error.to_string())?;
    for problem in loaded.problems.iter().chain(&unknown_interfaces(config)) {
        log::log!(problem.level(), "{problem}");
    }
    Ok(area)
}

/// In the supervisor, looks after the workers; in a worker, serves.
fn serve(supervisor: Supervisor) -> Result<(), Failure> {
    if let Some(worker) = supervisor.run()? {
        worker.run()?;
    }
    Ok(())
}
