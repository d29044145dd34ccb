//! A worker: one router in a process of its own, which ends with its supervisor.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use super::crew::Word;
use super::message::{Change, Heard, Order, Report};
use super::reload;
use crate::area::{self, Area, Seat};
use crate::config::Config;
use crate::logger;
use crate::net::Listener;
use crate::net::mio::MioNet;
use crate::net::tls::TlsConfig;
use crate::privilege::Identity;
use crate::router::{Pause, Router, Wish};
use crate::sys::channel::Channel;
use crate::sys::signal::Signal;
use crate::sys::{fork, segment};

/// What a worker begins with, copied from its supervisor.
#[derive(Debug)]
pub struct Worker {
    /// Its part of the shared memory, which also says its number.
    pub(super) seat: Seat,
    pub(super) area: Arc<Area>,
    pub(super) channel: Channel,
    pub(super) config: Rc<Config>,
    /// Whom it becomes.
    pub(super) identity: Option<Identity>,
    pub(super) tls: TlsConfig,
    /// Where clients connect.
    pub(super) listeners: Vec<Listener>,
}

/// A worker that serves, as its supervisor sees it.
struct Service {
    channel: Channel,
    tls: TlsConfig,
    router: Router,
}

impl Worker {
    /// Serves until told to stop, or until the supervisor is gone, and clients have been given their time.
    ///
    /// # Errors
    ///
    /// Why it cannot serve, or not any longer, as a text to log.
    pub fn run(self) -> Result<(), String> {
        let mut service = self.begin()?;
        loop {
            match service.router.run() {
                Ok(Pause::Stopped) => {
                    service.router.sign_off();
                    return Ok(());
                }
                Ok(Pause::Called) => service.obey(),
                Ok(Pause::Wishes(wish)) => service.pass_on(wish),
                Err(error) => return Err(format!("waiting for events failed: {error}")),
            }
        }
    }

    fn begin(self) -> Result<Service, String> {
        let Self {
            seat,
            area,
            channel,
            config,
            identity,
            tls,
            listeners,
        } = self;
        logger::begin_worker(seat);
        if let Some(identity) = identity {
            identity.assume().map_err(|error| error.to_string())?;
        }
        // After that, or it would be forgotten. The channel tells as well, but only one who is not stuck.
        fork::end_with_parent()
            .map_err(|error| format!("the end of the supervisor would go unnoticed: {error}"))?;
        let mut net = MioNet::new(tls.clone())
            .map_err(|error| format!("the system gives no event queue: {error}"))?;
        net.install_signals(&[Signal::Stop], &Signal::FOR_SUPERVISOR)
            .map_err(|error| format!("signals cannot be handled: {error}"))?;
        net.watch_supervisor(channel.as_fd())
            .map_err(|error| format!("the supervisor cannot be listened to: {error}"))?;
        net.watch_bell(area.bell())
            .map_err(|error| format!("the bell cannot be heard: {error}"))?;
        let worker = area::Worker::new(area, seat);
        worker.begin(std::process::id());
        let mut router = Router::new(Box::new(net), config, worker);
        for listener in listeners {
            router
                .adopt_listener(listener)
                .map_err(|error| format!("a listener cannot be watched: {error}"))?;
        }
        router.settle();
        // A supervisor that is gone shows at the other end of the channel too.
        let _ = Report::Ready.send(&channel);
        log::info!("Server initialization complete, ready to accept connections");
        Ok(Service {
            channel,
            tls,
            router,
        })
    }
}

impl Service {
    /// A supervisor that is gone shows at the other end of the channel too.
    fn pass_on(&self, wish: Wish) {
        let report = match wish {
            Wish::Reload => Report::Reload,
            Wish::RestartWorkers => Report::RestartWorkers,
        };
        let _ = report.send(&self.channel);
    }

    /// Does everything the supervisor has said.
    fn obey(&mut self) {
        loop {
            match Order::receive(&self.channel) {
                Ok(Heard::Message(Order::Word(word))) => match word {
                    Word::Relieved(limit) => self.router.drain(limit, false),
                    Word::Dismissed(limit) => self.router.drain(limit, true),
                    Word::Stop => self.router.stop(),
                    Word::StopNow => self.router.stop_at_once(),
                },
                Ok(Heard::Message(Order::Configure(change))) => {
                    if let Err(problem) = self.configure(change) {
                        log::error!("the new configuration cannot be applied: {problem}");
                        let _ = Report::Refused.send(&self.channel);
                    }
                }
                Ok(Heard::Message(Order::ReopenAccessLog)) => {
                    self.router.reopen_access_log();
                    log::debug!("the access log is opened anew");
                }
                Ok(Heard::Nothing) => return,
                Ok(Heard::End) => {
                    log::warn!("the supervisor is gone");
                    return self.router.stop();
                }
                Err(error) => {
                    log::error!("the supervisor cannot be understood: {error}");
                    let _ = Report::Refused.send(&self.channel);
                    return;
                }
            }
        }
    }

    /// Applies what the supervisor has checked. What fails here fails for want of memory or descriptors; the worker is
    /// replaced then.
    fn configure(&mut self, change: Change) -> Result<(), String> {
        let unreadable = |error: io::Error| format!("it cannot be read: {error}");
        let config = reload::parse(&contents(change.text).map_err(unreadable)?)?;
        let tls = match (change.authorities, &config.tls_ca) {
            (Some(authorities), Some(path)) => {
                let bytes = contents(authorities).map_err(unreadable)?;
                TlsConfig::from_pem(path, &bytes)
            }
            _ => TlsConfig::load(None::<&Path>),
        };
        self.tls.replace(tls.map_err(|error| error.to_string())?);
        self.router.reconfigure(Rc::new(config));
        let listened = self.router.relisten(change.listeners);
        listened.map_err(|error| format!("a listener cannot be watched: {error}"))?;
        log::debug!("the new configuration holds");
        Ok(())
    }
}

/// What the supervisor has put into memory.
fn contents(descriptor: OwnedFd) -> io::Result<Vec<u8>> {
    segment::contents(&File::from(descriptor))
}
