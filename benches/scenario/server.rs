//! The program under test: started on a core of its own, watched from outside, ended when dropped.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use flowgate::sys::load::pin_to_core;

use crate::clock;
use crate::floor::{self, Flush, Path};
use crate::rtsp;

/// A server must accept connections this long after its start.
const START_WAIT: Duration = Duration::from_secs(5);
/// Flags that make a router of live channels comparable: a floor has no ring to start clients from.
pub(crate) const LIVE_FLAGS: &str = "-r lo -v 1 --fast-start off";

/// What to start.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Program {
    /// A build of the router.
    Router {
        name: String,
        path: PathBuf,
        flags: Vec<String>,
    },
    Floor {
        path: Path,
        flush: Flush,
    },
    /// A relay that takes media out of RTSP frames.
    Relay,
    /// A command with `{port}` and `{clients}` in it.
    Neighbour {
        name: String,
        command: String,
    },
}

impl Program {
    /// How the program is called in tables.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Router { name, .. } | Self::Neighbour { name, .. } => name.clone(),
            Self::Relay => "floor relay".to_owned(),
            Self::Floor { path, flush } => {
                let path = match path {
                    Path::Copy => "copy",
                    Path::Pages => "sendfile",
                };
                match flush {
                    Flush::Auto => format!("floor {path}"),
                    Flush::AtOnce => "floor, per packet".to_owned(),
                    Flush::Every(interval) => format!("floor {path} {} ms", interval.as_millis()),
                }
            }
        }
    }

    /// Whether this is a floor.
    pub(crate) fn is_floor(&self) -> bool {
        matches!(self, Self::Floor { .. } | Self::Relay)
    }

    /// Whether a router is given `flag`, among `router_flags` or its own.
    pub(crate) fn has_flag(&self, router_flags: &str, flag: &str) -> bool {
        let mut first = router_flags.split_ascii_whitespace();
        let own = match self {
            Self::Router { flags, .. } => flags.as_slice(),
            Self::Floor { .. } | Self::Relay | Self::Neighbour { .. } => &[],
        };
        first.any(|given| given == flag) || own.iter().any(|given| given == flag)
    }

    /// What starts it; `router_flags` are for a router only, before flags of its own.
    pub(crate) fn command(
        &self,
        listen: SocketAddr,
        clients: usize,
        router_flags: &str,
    ) -> io::Result<Command> {
        let clients = clients.to_string();
        let port = listen.port().to_string();
        Ok(match self {
            Self::Router { path, flags, .. } => {
                let mut command = Command::new(path);
                command
                    .args(["-l", &listen.to_string(), "-m", &clients])
                    .args(router_flags.split_ascii_whitespace())
                    .args(flags);
                command
            }
            Self::Floor { path, flush } => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(floor::arguments(listen, *path, *flush));
                command
            }
            Self::Relay => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(rtsp::relay_arguments(listen));
                command
            }
            Self::Neighbour { command: line, .. } => {
                let mut words = line
                    .split_ascii_whitespace()
                    .map(|word| word.replace("{port}", &port).replace("{clients}", &clients));
                let mut command = Command::new(words.next().unwrap_or_default());
                command
                    .args(words)
                    .stdout(Stdio::null())
                    .stderr(Stdio::null());
                command
            }
        })
    }
}

/// The core of the server and the core of everything else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores {
    pub(crate) server: usize,
    pub(crate) load: usize,
}

impl Cores {
    /// The first and the last core this process may use, which on most machines are not siblings.
    pub(crate) fn choose() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let list = field(&status, "Cpus_allowed_list:").unwrap_or_default();
        let cores: Option<Vec<usize>> = list.split([',', '-']).map(|n| n.parse().ok()).collect();
        match cores.as_deref() {
            Some([server, .., load]) => Ok(Self {
                server: *server,
                load: *load,
            }),
            _ => Err(io::Error::other(
                "two cores are needed: one for the server, one for the load",
            )),
        }
    }
}

/// A running server; dropping it ends it.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

/// What a server has used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Time on a core, of all its threads and children.
    pub(crate) cpu: Duration,
    /// Time that its threads could have run but something else had the core.
    pub(crate) waited: Duration,
    /// Memory that is nobody else's (Private_Clean + Private_Dirty).
    pub(crate) unique_kib: u64,
    /// How often its threads went to sleep of their own accord.
    pub(crate) sleeps: u64,
}

impl Server {
    /// Starts `program` as a server of live channels for at most `clients` clients.
    pub(crate) fn start(program: &Program, clients: usize, cores: Cores) -> io::Result<Self> {
        let address = free_address()?;
        let command = program.command(address, clients, LIVE_FLAGS)?;
        Self::launch(&program.name(), command, address, cores)
    }

    /// Starts what is called `name` in messages, and waits until it accepts connections at `address`.
    pub(crate) fn launch(
        name: &str,
        mut command: Command,
        address: SocketAddr,
        cores: Cores,
    ) -> io::Result<Self> {
        command.stdin(Stdio::null());
        // A child inherits the core of the thread that starts it.
        pin_to_core(cores.server)?;
        let child = command.spawn();
        pin_to_core(cores.load)?;
        let child = child.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot start {command:?}: {error}"))
        })?;
        let mut server = Self { child, address };
        let deadline = clock::now() + START_WAIT;
        while TcpStream::connect(address).is_err() {
            server.check()?;
            if clock::now() > deadline {
                return Err(io::Error::other(format!(
                    "{name} does not listen after {START_WAIT:?}"
                )));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    /// An error if the server has ended.
    pub(crate) fn check(&mut self) -> io::Result<()> {
        match self.child.try_wait()? {
            Some(status) => Err(io::Error::other(format!("the server ended: {status}"))),
            None => Ok(()),
        }
    }

    /// What the server and its children have used since they were started.
    pub(crate) fn usage(&mut self) -> io::Result<Usage> {
        self.check()?;
        let mut total = Usage::default();
        add_usage(self.child.id(), &mut total)?;
        Ok(total)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Children of a neighbour would outlive it, since it has no chance to end them itself. They go last, or
        // it would replace them.
        let orphans = children(self.child.id());
        let _ = self.child.kill();
        let _ = self.child.wait();
        for process in orphans {
            let _ = Command::new("kill")
                .args(["-9", &process.to_string()])
                .status();
        }
    }
}

/// An address where nobody listens: its port is free again when the listener is dropped, and in a namespace of
/// our own nobody takes it.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Time on a core of all threads of this process.
pub(crate) fn own_cpu() -> io::Result<Duration> {
    schedule(std::process::id()).map(|(cpu, _)| cpu)
}

fn add_usage(process: u32, total: &mut Usage) -> io::Result<()> {
    let (cpu, waited) = schedule(process)?;
    total.cpu += cpu;
    total.waited += waited;
    let memory = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    for name in ["Private_Clean:", "Private_Dirty:"] {
        total.unique_kib += number(&memory, name);
    }
    for task in tasks(process)? {
        let status = fs::read_to_string(task.join("status"))?;
        total.sleeps += number(&status, "voluntary_ctxt_switches:");
    }
    for child in children(process) {
        // A child may end at any time; its parent may not.
        let _ = add_usage(child, total);
    }
    Ok(())
}

/// The first two numbers of `/proc/PID/task/TID/schedstat` are nanoseconds on a core, finer than the ticks of
/// `stat`, and nanoseconds waiting for one.
fn schedule(process: u32) -> io::Result<(Duration, Duration)> {
    let (mut cpu, mut waited) = (0, 0);
    for task in tasks(process)? {
        let Ok(text) = fs::read_to_string(task.join("schedstat")) else {
            continue;
        };
        cpu += first_number(&text);
        waited += first_number(text.split_once(' ').map_or("", |(_, rest)| rest));
    }
    match cpu {
        0 => Err(io::Error::other("the kernel keeps no schedstat")),
        _ => Ok((Duration::from_nanos(cpu), Duration::from_nanos(waited))),
    }
}

fn tasks(process: u32) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(format!("/proc/{process}/task"))?
        .map(|entry| Ok(entry?.path()))
        .collect()
}

fn children(process: u32) -> Vec<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_ascii_whitespace().flat_map(str::parse).collect()
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim)
}

fn number(text: &str, name: &str) -> u64 {
    first_number(field(text, name).unwrap_or_default())
}

fn first_number(text: &str) -> u64 {
    text.split_ascii_whitespace()
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or(0)
}
