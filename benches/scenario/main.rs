//! The whole router against the least a thread could do, and the proxy against its neighbours: `scripts/bench`.
//!
//! A paced sender and checking receivers of our own share one core; the program under test has another to
//! itself. Every program runs as often as the others, in alternating order; tables give medians, and ratios
//! are those of neighbouring runs. This program does not arrange its surroundings: `scripts/bench` does.

mod capacity;
mod clock;
mod floor;
mod idle;
mod live;
mod payload;
mod proxy;
mod receiver;
mod report;
mod rtsp;
mod sender;
mod server;
mod tally;
mod watch;
mod zap;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use flowgate::sys::load::{pin_to_core, set_nice};
use flowgate::sys::process::raise_descriptor_limit;

use floor::{Flush, Path};
use live::Shape;
use proxy::{Contender, Load, Way};
use report::{Measures, Row, Table};
use server::{Cores, Program};

/// Set by `scripts/bench`: this is a network namespace of our own, with multicast on `lo`.
const NAMESPACE: &str = "FLOWGATE_BENCH_NAMESPACE";

const USAGE: &str = "usage: scripts/bench [OPTION...] [SCENARIO...]";

/// Before other work on the machine, where that is allowed: it would not change the CPU time taken, but make
/// servers lose what they could have carried.
const NICE: i32 = -10;

/// How everything is measured.
pub(crate) struct Setup {
    pub(crate) cores: Cores,
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
    pub(crate) zaps: usize,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Live(Shape),
    Zap { rate: u64 },
    Idle,
    Capacity(Shape),
    Watch(Shape),
    Proxy(Load),
    Rtsp(rtsp::Shape),
}

struct Scenario {
    name: &'static str,
    kind: Kind,
    in_quick: bool,
}

const fn shape(groups: u32, clients_per_group: usize, megabits: u64) -> Shape {
    Shape {
        groups,
        clients_per_group,
        rate: megabits * 1_000_000,
    }
}

const fn scenario(name: &'static str, kind: Kind, in_quick: bool) -> Scenario {
    Scenario {
        name,
        kind,
        in_quick,
    }
}

const RTSP: rtsp::Shape = rtsp::Shape {
    sessions: 16,
    rate: 20_000_000,
};

/// In the order they are run. Rates of `carry-…` are those of the first step.
const SCENARIOS: &[Scenario] = &[
    scenario("fan-8", Kind::Live(shape(1, 8, 40)), true),
    scenario("fan-64", Kind::Live(shape(1, 64, 40)), true),
    scenario("fan-256", Kind::Live(shape(1, 256, 40)), false),
    scenario("groups", Kind::Live(shape(8, 1, 40)), true),
    scenario("fast", Kind::Live(shape(1, 1, 400)), true),
    scenario("zap-40", Kind::Zap { rate: 40_000_000 }, true),
    scenario("zap-8", Kind::Zap { rate: 8_000_000 }, false),
    scenario("idle", Kind::Idle, true),
    scenario("watch", Kind::Watch(shape(1, 500, 1)), false),
    scenario("carry-fan", Kind::Capacity(shape(1, 64, 100)), false),
    scenario("carry-groups", Kind::Capacity(shape(32, 1, 40)), false),
    scenario("carry-one", Kind::Capacity(shape(1, 1, 600)), false),
    scenario("proxy-1", Kind::Proxy(Load::Long { clients: 1 }), true),
    scenario("proxy-16", Kind::Proxy(Load::Long { clients: 16 }), false),
    scenario("proxy-small", Kind::Proxy(Load::Small), true),
    scenario("proxy-slow", Kind::Proxy(Load::Slow), false),
    scenario("proxy-first", Kind::Proxy(Load::First), true),
    scenario("rtsp-16", Kind::Rtsp(RTSP), true),
];

/// What is printed below the options.
const SCENARIO_HELP: &str = "
    fan-N, groups, fast  live channels: so many clients of one, eight channels, one at a high rate
    zap-N                from request to first byte of a channel at N Mbit/s
    idle                 memory without clients and with silent ones
    watch                what 20 viewers of the status cost a router with 500 clients
    carry-...            the highest rate without loss
    proxy-1, proxy-16    so many clients download a body of 1 GiB each (512 MiB per second of --seconds)
    proxy-small          64 connections ask for bodies of 10 kB
    proxy-slow           100 clients take 4 MiB each at 50 kB/s (2 MiB per second of --seconds): 84 s a program
    proxy-first          to the first byte, over new connections and over one that is kept
    rtsp-16              16 interleaved RTSP sessions at 20 Mbit/s, a client each

proxy-... compares with nginx and haproxy, where they are installed, and with floors that copy and that splice. Routers
and neighbours are asked for /http/ADDRESS:PORT/PATH. --quick leaves out fan-256, zap-8, watch, carry-..., proxy-16 and
proxy-slow; named, they run.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.split_first() {
        Some((first, rest)) if first == "floor" => floor::run(rest).map(|()| true),
        Some((first, rest)) if first == "rtsp-floor" => rtsp::run_relay(rest).map(|()| true),
        Some((first, rest)) if first == "proxy-floor" => proxy::run_floor(rest).map(|()| true),
        _ if std::env::var_os(NAMESPACE).is_none() => {
            println!("scenario: nothing to do without scripts/bench, which makes the namespace");
            Ok(true)
        }
        _ => bench(&arguments),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("scenario: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs what the arguments ask for; whether the router delivered everything as it should.
fn bench(arguments: &[String]) -> io::Result<bool> {
    let mut options = getopts::Options::new();
    options
        .optopt("", "flowgate", "the router to measure", "BINARY")
        .optopt("", "flags", "more flags for every router", "FLAGS")
        .optopt("", "proxy-flags", &format!("first flags of every router in proxy-... ({})", proxy::ROUTER_FLAGS), "FLAGS")
        .optmulti("", "against", "a router built earlier, or a neighbour as NAME:COMMAND with {port} and {clients} in it", "WHAT")
        .optflag("", "floor-only", "measure the floors alone")
        .optopt("", "runs", "runs of every program (3)", "N")
        .optopt("", "seconds", "length of a window (2)", "S")
        .optopt("", "json", "write all figures to a file", "FILE")
        .optflag("", "quick", "a smoke run: one run, short windows, no carry-…")
        .optflag("h", "help", "print this");
    let matches = options.parse(arguments).map_err(io::Error::other)?;
    if matches.opt_present("help") {
        let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        println!("{}", options.usage(USAGE));
        println!(
            "Scenarios, or what their names begin with: {}{SCENARIO_HELP}",
            names.join(" ")
        );
        return Ok(true);
    }
    let quick = matches.opt_present("quick");
    let number = |name: &str, default: f64| match matches.opt_str(name) {
        None => Ok(default),
        Some(text) => match text.parse() {
            Ok(number) if number > 0.0 => Ok(number),
            _ => Err(io::Error::other(format!(
                "--{name} takes a number, not {text:?}"
            ))),
        },
    };
    let runs = number("runs", if quick { 1.0 } else { 3.0 })?.ceil() as usize;
    let seconds = number("seconds", if quick { 0.5 } else { 2.0 })?;
    let flags: Vec<String> = matches
        .opt_str("flags")
        .iter()
        .flat_map(|flags| flags.split_ascii_whitespace())
        .map(str::to_owned)
        .collect();
    let mut programs = Vec::new();
    if !matches.opt_present("floor-only") {
        let path = matches.opt_str("flowgate");
        let path = path.unwrap_or(env!("CARGO_BIN_EXE_flowgate").to_owned());
        programs.push(router("flowgate", &path, &flags));
    }
    for what in matches.opt_strs("against") {
        programs.push(match what.split_once(':') {
            Some((name, command)) => Program::Neighbour {
                name: name.to_owned(),
                command: command.to_owned(),
            },
            None => router(&what, &what, &flags),
        });
    }
    let wanted = chosen(&matches.free, quick)?;
    let proxy_flags = matches.opt_str("proxy-flags");
    let proxy_flags = proxy_flags.unwrap_or(proxy::ROUTER_FLAGS.to_owned());
    let (installed, missing) = match matches.opt_present("floor-only") {
        true => (Vec::new(), Vec::new()),
        false => proxy::installed(),
    };
    let proxies = proxies(&programs, &proxy_flags, installed);

    payload::prove_check();
    proxy::prove_check();
    raise_descriptor_limit()?;
    let setup = Setup {
        cores: Cores::choose()?,
        warm_up: Duration::from_millis(if quick { 300 } else { 800 }),
        window: Duration::from_secs_f64(seconds),
        zaps: if quick { 20 } else { 200 },
    };
    pin_to_core(setup.cores.load)?;
    let _ = set_nice(NICE);
    let machine = machine();
    println!(
        "{machine}; server on core {}, load on core {}; {runs} runs of {seconds} s, medians\n\
         latency from sending to receiving; every TS packet's sync, group and sequence is checked for every\n\
         client, and every byte for the first eight clients and each eighth after; a proxied body is compared\n\
         whole up to 16 MiB, and beyond that 8 MiB at either end and an eighth between; every byte is counted\n",
        setup.cores.server, setup.cores.load
    );
    if wanted
        .iter()
        .any(|scenario| matches!(scenario.kind, Kind::Proxy(_)))
    {
        for line in missing {
            println!("{line}\n");
        }
    }
    let mut whole = true;
    let mut tables = Vec::new();
    for scenario in wanted {
        let table = run(scenario, &programs, &proxies, runs, &setup);
        println!("{}", table.text());
        whole &= table
            .rows
            .iter()
            .all(|row| row.name != "flowgate" || is_whole(row, scenario, quick));
        tables.push(table.json());
    }
    if let Some(path) = matches.opt_str("json") {
        let json = report::object([
            ("machine", report::quoted(&machine)),
            ("seconds", seconds.to_string()),
            ("scenarios", report::array(tables)),
        ]);
        std::fs::write(path, json + "\n")?;
    }
    if !whole {
        println!("flowgate failed, or did not deliver everything as it was sent");
    }
    Ok(whole)
}

fn router(name: &str, path: &str, flags: &[String]) -> Program {
    Program::Router {
        name: name.to_owned(),
        path: PathBuf::from(path),
        flags: flags.to_vec(),
    }
}

fn chosen(names: &[String], quick: bool) -> io::Result<Vec<&'static Scenario>> {
    // Cargo gives this one to every bench.
    let names: Vec<&String> = names.iter().filter(|name| *name != "--bench").collect();
    if names.is_empty() {
        return Ok(SCENARIOS.iter().filter(|s| s.in_quick || !quick).collect());
    }
    // A whole name, or what others begin with: proxy-1 is not proxy-16 too.
    let is_whole = |name: &str| SCENARIOS.iter().any(|s| s.name == name);
    let means =
        |name: &str, s: &Scenario| s.name == name || !is_whole(name) && s.name.starts_with(name);
    let is_wanted = |s: &&Scenario| names.iter().any(|name| means(name, s));
    let wanted: Vec<_> = SCENARIOS.iter().filter(is_wanted).collect();
    for name in names {
        if !wanted.iter().any(|s| means(name, s)) {
            return Err(io::Error::other(format!(
                "there is no scenario {name:?}; try --help"
            )));
        }
    }
    Ok(wanted)
}

/// A row of a table, and what fills it.
struct Entrant<'a> {
    row: Row,
    measure: Box<dyn Fn() -> io::Result<Measures> + 'a>,
}

fn run(
    scenario: &Scenario,
    programs: &[Program],
    proxies: &[Contender],
    runs: usize,
    setup: &Setup,
) -> Table {
    let floor = |path, flush| Program::Floor { path, flush };
    let copy = floor(Path::Copy, Flush::Auto);
    let both = [copy.clone(), floor(Path::Pages, Flush::Auto)];
    let (key, more_is_better, entrants) = match scenario.kind {
        Kind::Live(shape) => {
            let measure = move |program: &Program| live::measure(program, shape, setup);
            (live::KEY, false, entrants(programs, &both, measure))
        }
        Kind::Zap { rate } => {
            let floors = [floor(Path::Copy, Flush::AtOnce)];
            let measure = move |program: &Program| zap::measure(program, rate, setup);
            (zap::KEY, false, entrants(programs, &floors, measure))
        }
        Kind::Idle => {
            let measure = move |program: &Program| idle::measure(program, setup);
            (idle::KEY, false, entrants(programs, &[copy], measure))
        }
        Kind::Capacity(shape) => {
            let measure = move |program: &Program| capacity::measure(program, shape, setup);
            (capacity::KEY, true, entrants(programs, &both, measure))
        }
        Kind::Watch(shape) => {
            let measure = move |program: &Program| watch::measure(program, shape, setup);
            (watch::KEY, false, entrants(programs, &[], measure))
        }
        Kind::Rtsp(shape) => {
            let measure = move |program: &Program| rtsp::measure(program, shape, setup);
            (
                rtsp::KEY,
                false,
                entrants(programs, &[Program::Relay], measure),
            )
        }
        Kind::Proxy(load) => (load.key(), false, proxy_entrants(proxies, load, setup)),
    };
    let runs = match scenario.kind {
        // Memory does not vary.
        Kind::Idle | Kind::Proxy(Load::Slow) => 1,
        _ => runs,
    };
    let references = match scenario.kind {
        Kind::Proxy(_) => proxy::REFERENCES,
        _ => &[],
    };
    Table {
        scenario: scenario.name.to_owned(),
        key,
        more_is_better,
        references,
        rows: take_turns(entrants, runs),
    }
}

fn entrants<'a>(
    programs: &[Program],
    floors: &[Program],
    measure: impl Fn(&Program) -> io::Result<Measures> + Copy + 'a,
) -> Vec<Entrant<'a>> {
    let programs = programs.iter().chain(floors).cloned();
    let entrants = programs.map(|program| Entrant {
        row: Row::new(program.name(), program.is_floor()),
        measure: Box::new(move || measure(&program)),
    });
    entrants.collect()
}

fn proxy_entrants<'a>(proxies: &'a [Contender], load: Load, setup: &'a Setup) -> Vec<Entrant<'a>> {
    // With slow clients memory is looked at, which the floors were not made to save.
    let taking_part = |proxy: &&Contender| !(proxy.is_floor() && matches!(load, Load::Slow));
    let entrants = proxies.iter().filter(taking_part).map(|proxy| Entrant {
        row: Row::new(proxy.name(), proxy.is_floor()),
        measure: Box::new(move || proxy::measure(proxy, load, setup)),
    });
    entrants.collect()
}

/// Every entrant runs as often as the others, in alternating order.
fn take_turns(mut entrants: Vec<Entrant<'_>>, runs: usize) -> Vec<Row> {
    for turn in 0..runs {
        let mut order: Vec<&mut Entrant<'_>> = entrants.iter_mut().collect();
        if turn % 2 == 1 {
            order.reverse();
        }
        for Entrant { row, measure } in order {
            row.runs.push(measure().map_err(|error| error.to_string()));
        }
    }
    entrants.into_iter().map(|entrant| entrant.row).collect()
}

/// The proxies to compare: routers and neighbours, what is installed, the floors.
fn proxies(programs: &[Program], router_flags: &str, installed: Vec<Contender>) -> Vec<Contender> {
    let programs = programs.iter().map(|program| Contender::Program {
        program: program.clone(),
        flags: router_flags.to_owned(),
    });
    let floors = [Way::Copy, Way::Splice].map(Contender::Floor);
    programs.chain(installed).chain(floors).collect()
}

/// Whether what came was right and, at the nominal rates of a full run, complete. A smoke run may share its
/// cores with anything, so loss says nothing there.
fn is_whole(row: &Row, scenario: &Scenario, quick: bool) -> bool {
    let wrong = row.total("dup") + row.total("corrupt") + row.total("closed");
    let nominal = !matches!(scenario.kind, Kind::Capacity(_));
    let lost = if nominal && !quick {
        row.total("loss %")
    } else {
        0.0
    };
    !row.failed() && wrong == 0.0 && lost == 0.0
}

fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let information = read("/proc/cpuinfo");
    let model = information
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    format!("{model}, kernel {}", kernel.trim())
}
