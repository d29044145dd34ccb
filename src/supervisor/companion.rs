//! A child that is no worker, such as the test source of `flowgate demo`: it has what may not be in the supervisor,
//! threads for instance, and ends with it.

use std::os::fd::AsFd;
use std::time::Instant;

use super::crew::Action;
use super::message::{Heard, Order, Report};
use super::{Linked, Supervisor, fork_linked};
use crate::sys::channel::Channel;
use crate::sys::fork::{self, Exit, ProcessId};
use crate::sys::signal::{Signal, Signals};

/// Which process this is.
pub enum Accompanied {
    /// The one there was.
    Supervisor(Box<Supervisor>),
    /// The companion.
    Companion(Companion),
}

/// A process just made.
#[derive(Debug)]
pub struct Companion {
    channel: Channel,
}

impl Supervisor {
    /// Makes a companion. The program is not up before that says so, and fails with it.
    ///
    /// # Errors
    ///
    /// When no process can be made, as a text to log.
    pub fn accompany(mut self) -> Result<Accompanied, String> {
        match fork_linked(None) {
            Ok(Linked::Child(channel)) => Ok(Accompanied::Companion(Companion { channel })),
            Ok(Linked::Parent(link)) => {
                self.companion = Some(link);
                Ok(Accompanied::Supervisor(Box::new(self)))
            }
            Err(error) => Err(format!("no process can be made: {error}")),
        }
    }

    /// A child that is no worker has ended.
    pub(super) fn companion_exited(
        &mut self,
        process: ProcessId,
        exit: Exit,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let Some(companion) = self.companion.take_if(|link| link.process == process) else {
            return;
        };
        if self.crew.is_stopping() {
            return;
        }
        if companion.is_ready {
            log::error!("the companion (pid {process}) {exit}; the workers go on");
        } else {
            self.fail("the companion could not begin", now, actions);
        }
    }
}

impl Companion {
    /// Begins the work, and keeps what `begin` returns until the supervisor ends or SIGTERM comes.
    ///
    /// # Errors
    ///
    /// What `begin` reports, or why it cannot be watched, as a text to log.
    pub fn run<W>(self, begin: impl FnOnce() -> Result<W, String>) -> Result<(), String> {
        let watched = |error| format!("signals cannot be handled: {error}");
        let mut signals =
            Signals::install(&[Signal::Stop], &Signal::FOR_SUPERVISOR).map_err(watched)?;
        fork::end_with_parent().map_err(watched)?;
        let _work = begin()?;
        let _ = Report::Ready.send(&self.channel);
        loop {
            fork::wait_readable(&[signals.as_fd(), self.channel.as_fd()], None).map_err(watched)?;
            let is_alone = matches!(Order::receive(&self.channel), Ok(Heard::End) | Err(_));
            if is_alone || signals.take().is_some() {
                return Ok(());
            }
        }
    }
}
