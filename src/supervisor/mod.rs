//! The supervisor: the process that was started, which opens the listening sockets, makes the workers that serve, and
//! looks after them (server spec §14). It serves nobody itself.
//!
//! It has one thread and sleeps until a signal, a worker or a deadline wakes it. It always exists, also for one worker:
//! a crash is repaired, workers are replaced and configurations are loaded in the same way for any number.
//!
//! | File | Is |
//! |---|---|
//! | `crew` | what is to be done about the workers: pure |
//! | `restarts` | how often a crashed worker is restarted: pure |
//! | `interfaces` | which that are named do not exist |
//! | `reload` | a new configuration, all or nothing |
//! | `message` | what supervisor and workers say to each other |
//! | `worker` | what a worker does |
//! | `companion` | a child that is no worker |
//! | `failure` | why the program ends |
//!
//! With `--user` the workers, which talk to the network, become that user. The supervisor stays who it was, or a reload
//! could neither open a port below 1024 nor remove what a start has made; all it hears are signals, the files of its
//! configuration and single bytes of its own workers.
//!
//! A worker is a copy of this process (`fork` without `exec`): it begins with the configuration and the sockets that
//! are in memory, so that it cannot find a file changed or a port taken meanwhile.

mod companion;
mod crew;
mod failure;
mod interfaces;
mod message;
mod reload;
mod restarts;
mod worker;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::area::{Area, Seat};
use crate::cli::{Invocation, Loaded};
use crate::config::{Config, Verbosity};
use crate::listen::{Access, Listeners};
use crate::logger;
use crate::net::tls::TlsConfig;
use crate::net::{Place, clock};
use crate::notify::{self, Notifier};
use crate::pid_file::PidFile;
use crate::privilege::Identity;
use crate::sys::channel::Channel;
use crate::sys::fork::{self, Fork, ProcessId};
use crate::sys::process;
use crate::sys::signal::{Signal, Signals};
pub use companion::{Accompanied, Companion};
use crew::{Action, Crew};
pub use failure::Failure;
pub use interfaces::unknown_interfaces;
use message::{Heard, Order, Report};
pub use worker::Worker;

/// What the process was started for.
pub struct Program {
    /// What all processes share.
    pub area: Arc<Area>,
    /// How.
    pub invocation: Invocation,
    /// The configuration that came out of it.
    pub loaded: Loaded,
    /// What is done to every configuration that is loaded later, as it was done to the first.
    pub adjust: Adjust,
    /// Told where clients can connect once they are served.
    pub announce: Announce,
}

/// What is done to a configuration.
pub type Adjust = Box<dyn Fn(&mut Config)>;
/// What is done once clients are served there.
pub type Announce = Box<dyn FnOnce(&Config, &[Place])>;

/// The process that was started.
pub struct Supervisor {
    area: Arc<Area>,
    invocation: Invocation,
    /// What is in force, and how it came about.
    loaded: Loaded,
    config: Rc<Config>,
    adjust: Adjust,
    tls: TlsConfig,
    listeners: Listeners,
    pid_file: Option<PidFile>,
    notifier: Notifier,
    signals: Signals,
    crew: Crew,
    /// The workers that live.
    links: Vec<Link>,
    companion: Option<Link>,
    /// To be called when everybody is ready.
    announce: Option<Announce>,
    /// Why everything is being stopped, if nobody asked for it.
    failure: Option<Failure>,
}

/// A child, and where it is talked to.
#[derive(Debug)]
struct Link {
    process: ProcessId,
    /// Its part of the shared memory, which also says a worker's number; the companion has none.
    seat: Option<Seat>,
    channel: Channel,
    /// It has said so.
    is_ready: bool,
}

/// The child's side of a process just made.
struct Newborn {
    seat: Seat,
    channel: Channel,
}

impl Supervisor {
    /// Opens everything that the configuration names; nobody is served yet.
    ///
    /// # Errors
    ///
    /// Why the program cannot start.
    pub fn new(program: Program) -> Result<Self, Failure> {
        let Program {
            area,
            invocation,
            loaded,
            adjust,
            announce,
        } = program;
        area.set_supervisor(std::process::id());
        let config = Rc::new(loaded.config.clone());
        let notifier = Notifier::new(std::env::var_os(notify::VARIABLE).as_deref())?;
        let signals = Signals::install(&Signal::ALL, &[])
            .map_err(|error| format!("signals cannot be handled: {error}"))?;
        if let Err(error) = process::raise_descriptor_limit() {
            log::warn!("the limit of open descriptors stays as it is: {error}");
        }
        let tls = TlsConfig::load(config.tls_ca.as_deref()).map_err(|error| error.to_string())?;
        let listeners = Listeners::open(&config.listen, config.workers, &access(&config)?)?;
        let pid_file = match &config.pid_file {
            Some(path) => Some(PidFile::take(path)?),
            None => None,
        };
        Ok(Self {
            crew: Crew::new(config.workers, config.drain_timeout, clock::now()),
            area,
            invocation,
            loaded,
            config,
            adjust,
            tls,
            listeners,
            pid_file,
            notifier,
            signals,
            links: Vec::new(),
            companion: None,
            announce: Some(announce),
            failure: None,
        })
    }

    /// Looks after the workers until everything is over. Comes back in every new child too, with what that is to do.
    ///
    /// # Errors
    ///
    /// Why the program has to end.
    pub fn run(mut self) -> Result<Option<Worker>, Failure> {
        log::info!("Starting {} worker(s)", self.crew.workers());
        let mut actions = Vec::new();
        loop {
            let now = clock::now();
            self.follow_log_level();
            self.hear_signals(now, &mut actions);
            self.hear_workers(now, &mut actions);
            self.reap(now, &mut actions);
            self.crew.expire(now, &mut actions);
            for action in std::mem::take(&mut actions) {
                if let Some(newborn) = self.perform(action, now, &mut actions) {
                    return Ok(Some(self.into_worker(newborn)?));
                }
            }
            self.announce_if_up();
            if self.crew.is_gone() {
                return self.end().map(|()| None);
            }
            if actions.is_empty() {
                self.wait()
                    .map_err(|error| format!("waiting for workers failed: {error}"))?;
            }
        }
    }

    fn hear_signals(&mut self, now: Instant, actions: &mut Vec<Action>) {
        while let Some(signal) = self.signals.take() {
            match signal {
                Signal::Stop | Signal::Interrupt => {
                    log::info!("Stopping {} worker(s)", self.links.len());
                    self.stop(now, actions);
                }
                Signal::Restart => {
                    log::info!("Received SIGUSR1, restarting workers");
                    self.crew.replace_all(actions);
                }
                // Workers that have ended are looked for in every turn.
                Signal::Child => {}
                Signal::Reload if self.crew.is_stopping() => {}
                Signal::Reload => self.reload(now, actions),
            }
        }
    }

    fn hear_workers(&mut self, now: Instant, actions: &mut Vec<Action>) {
        for link in self.links.iter_mut().chain(&mut self.companion) {
            while let Some(report) = link.hear() {
                match report {
                    Report::Ready => {
                        link.is_ready = true;
                        self.crew.ready(link.process, now, actions);
                    }
                    Report::Refused => self.crew.replace(link.process, actions),
                    Report::Reload => self.signals.raise(Signal::Reload),
                    Report::RestartWorkers => self.signals.raise(Signal::Restart),
                }
            }
        }
    }

    /// Takes note of the children that have ended.
    fn reap(&mut self, now: Instant, actions: &mut Vec<Action>) {
        while let Some((process, exit)) = fork::reap() {
            // Its last words may be that it is ready.
            self.hear_workers(now, actions);
            let at = self.links.iter().position(|link| link.process == process);
            let seat = at.and_then(|at| self.links.remove(at).seat);
            match self.crew.exited(process, exit, now, actions) {
                Ok(true) => seat.into_iter().for_each(|seat| self.reclaim(seat)),
                Ok(false) => self.companion_exited(process, exit, now, actions),
                Err(never_up) => self.fail(&never_up.to_string(), now, actions),
            }
        }
    }

    /// Takes back what a process that has ended held of the shared memory.
    fn reclaim(&self, seat: Seat) {
        let clients = self.area.reclaim(seat);
        if clients > 0 {
            let worker = seat.worker();
            log::info!("Reclaimed {clients} status client slot(s) from worker {worker}");
        }
    }

    /// A seat of worker `post` that nobody has. The crew never wants more processes than there are seats.
    fn free_seat(&self, post: usize) -> io::Result<Seat> {
        let is_free = |seat: &Seat| self.links.iter().all(|link| link.seat != Some(*seat));
        let seat = Seat::of(post).find(is_free);
        seat.ok_or_else(|| io::Error::other("it has too many processes"))
    }

    /// The verbosity can be changed through the status pages too; a new worker begins with what is in force here.
    fn follow_log_level(&self) {
        let level = usize::from(self.area.log_level());
        if let Some(verbosity) = Verbosity::ALL.get(level) {
            logger::set_verbosity(*verbosity);
        }
    }

    /// The program cannot do its work: everything ends, and it says why.
    fn fail(&mut self, why: &str, now: Instant, actions: &mut Vec<Action>) {
        self.failure.get_or_insert_with(|| why.to_owned().into());
        if !self.crew.is_stopping() {
            self.stop(now, actions);
        }
    }

    /// Ends everything soon, or at once if that is under way. Whoever connects from now on is refused: the workers
    /// close what they have of the ports, and here is the rest.
    fn stop(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if !self.crew.is_stopping() {
            self.notifier.stopping("stopping");
        }
        self.listeners = Listeners::default();
        self.crew.stop(now, actions);
    }

    /// Does what the crew wants; in a process just made, comes back with what it is to be.
    fn perform(
        &mut self,
        action: Action,
        now: Instant,
        actions: &mut Vec<Action>,
    ) -> Option<Newborn> {
        match action {
            Action::Start(post) => match self.fork_worker(post) {
                Ok((seat, Linked::Child(channel))) => return Some(Newborn { seat, channel }),
                Ok((_, Linked::Parent(link))) => {
                    self.crew.started(post, link.process, now);
                    self.links.push(link);
                }
                Err(error) => {
                    log::error!("worker {post} cannot be started: {error}");
                    if let Err(never_up) = self.crew.not_started(post, now) {
                        self.fail(&never_up.to_string(), now, actions);
                    }
                }
            },
            Action::Tell(process, word) => self.tell(process, &Order::Word(word)),
            Action::Kill(process) => fork::kill(process),
        }
        None
    }

    fn fork_worker(&self, post: usize) -> io::Result<(Seat, Linked)> {
        let seat = self.free_seat(post)?;
        Ok((seat, fork_linked(Some(seat))?))
    }

    fn tell(&self, process: ProcessId, order: &Order) {
        let Some(link) = self.links.iter().find(|link| link.process == process) else {
            return;
        };
        match order.send(&link.channel) {
            Ok(()) => {}
            // It has ended, and will be reaped.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) => {
                log::error!("worker with pid {process} does not listen ({error}) and is killed");
                fork::kill(process);
            }
        }
    }

    fn announce_if_up(&mut self) {
        let accompanied = self.companion.as_ref().is_none_or(|link| link.is_ready);
        if self.crew.is_up()
            && !self.crew.is_stopping()
            && accompanied
            && let Some(announce) = self.announce.take()
        {
            announce(&self.config, &self.listeners.places());
            self.notifier.ready(&self.summary());
            // What start-up needed is not needed again.
            process::trim_heap();
            process::release_clean_pages();
        }
    }

    /// Sleeps until there is something to do.
    fn wait(&self) -> io::Result<()> {
        let links = self.links.iter().chain(&self.companion);
        let descriptors: Vec<BorrowedFd<'_>> = std::iter::once(self.signals.as_fd())
            .chain(links.map(|link| link.channel.as_fd()))
            .collect();
        let deadline = self.crew.deadline();
        let timeout = deadline.map(|deadline| deadline.saturating_duration_since(clock::now()));
        fork::wait_readable(&descriptors, timeout).map(drop)
    }

    fn end(self) -> Result<(), Failure> {
        if let Some(companion) = &self.companion {
            fork::kill(companion.process);
        }
        self.failure.map_or(Ok(()), Err)
    }

    /// What the program is doing, for the service manager.
    fn summary(&self) -> String {
        format!("{} worker(s) serving", self.crew.workers())
    }

    /// In a child: keeps what a worker needs and drops what only the supervisor may have.
    fn into_worker(self, newborn: Newborn) -> Result<Worker, Failure> {
        let listeners = self
            .listeners
            .for_worker(newborn.seat.worker())
            .map_err(|error| format!("no descriptors for listeners: {error}"))?;
        Ok(Worker {
            seat: newborn.seat,
            area: self.area,
            channel: newborn.channel,
            identity: identity(&self.config)?,
            config: self.config,
            tls: self.tls,
            listeners,
        })
    }
}

/// Whom the workers become.
fn identity(config: &Config) -> Result<Option<Identity>, String> {
    let identity = config.user.as_ref().map(Identity::look_up).transpose();
    identity.map_err(|error| error.to_string())
}

/// Who may connect to Unix sockets.
fn access(config: &Config) -> Result<Access, String> {
    Ok(Access {
        mode: config.unix_mode,
        owner: identity(config)?.as_ref().map(Identity::owner),
    })
}

impl Link {
    /// The next thing the child says.
    fn hear(&self) -> Option<Report> {
        match Report::receive(&self.channel) {
            Ok(Heard::Message(report)) => Some(report),
            // That it has ended is found out by reaping.
            Ok(Heard::Nothing | Heard::End) => None,
            Err(error) => {
                log::error!(
                    "a worker with pid {} cannot be understood: {error}",
                    self.process
                );
                None
            }
        }
    }
}

/// Both sides of a fork.
enum Linked {
    Parent(Link),
    Child(Channel),
}

/// Makes a child with a channel to it, whose end tells either that the other is gone.
fn fork_linked(seat: Option<Seat>) -> io::Result<Linked> {
    let (near, far) = Channel::pair()?;
    Ok(match fork::fork()? {
        Fork::Child => Linked::Child(far),
        Fork::Parent(process) => Linked::Parent(Link {
            process,
            seat,
            channel: near,
            is_ready: false,
        }),
    })
}

#[cfg(test)]
mod test_clock {
    use std::time::Instant;

    /// Some time.
    pub(super) fn start() -> Instant {
        crate::net::clock::now()
    }
}
