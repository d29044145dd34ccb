//! Loading a configuration again: everything that can fail is done first, and then nothing does.
//!
//! The supervisor reads the files, opens what is new and hands the result to the workers. They read no file, so that
//! all of them come to hold the same, and it does not matter what they may read.

use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use super::Supervisor;
use super::crew::Action;
use super::interfaces::unknown_interfaces;
use super::message::{Change, Order};
use crate::area::Seat;
use crate::cli::Loaded;
use crate::config::settings::{Applies, settings};
use crate::config::{Config, Draft, Severity, file};
use crate::listen::Listeners;
use crate::net::tls::TlsConfig;
use crate::pid_file::{self, PidFile};
use crate::sys::segment::Segment;

/// The file name in complaints about text that came from the supervisor.
const HANDED_ON: &str = "(configuration of the supervisor)";

/// A new configuration, with all that was made ready for it; to drop it changes nothing.
struct Prepared {
    loaded: Loaded,
    tls: TlsConfig,
    listeners: Listeners,
    pid_file: pid_file::Change,
    text: Segment,
    authorities: Option<Segment>,
}

impl Supervisor {
    /// Loads the configuration again and hands it on, or keeps everything as it is.
    pub(super) fn reload(&mut self, now: Instant, actions: &mut Vec<Action>) {
        log::info!("Received SIGHUP, reloading configuration");
        self.notifier.reloading();
        match self.prepare() {
            Ok(prepared) => {
                self.commit(prepared, now, actions);
                match self.loaded.files.last() {
                    Some(path) => {
                        log::info!(
                            "Configuration reloaded successfully from {}",
                            path.display()
                        );
                    }
                    None => log::info!("There is no configuration file; the settings are the same"),
                }
            }
            Err(problems) => {
                for problem in problems {
                    log::error!("{problem}");
                }
                log::error!("Configuration reload failed, keeping existing workers and listeners");
            }
        }
        self.notifier.ready(&self.summary());
    }

    /// Does everything that may fail.
    ///
    /// # Errors
    ///
    /// Every problem, as texts to log. Whatever was made ready is given back.
    fn prepare(&self) -> Result<Prepared, Vec<String>> {
        let mut loaded = self.invocation.reload(&self.loaded).map_err(|problems| {
            let texts = problems.iter().map(ToString::to_string);
            texts.collect::<Vec<_>>()
        })?;
        (self.adjust)(&mut loaded.config);
        let mut problems = Vec::new();
        let mut note = |text: String| problems.push(text);

        let authorities = authorities(&loaded.config).map_err(&mut note).ok();
        let pid_file = PidFile::prepare(self.pid_file.as_ref(), loaded.config.pid_file.as_deref());
        let pid_file = pid_file.map_err(|error| note(error.to_string())).ok();
        let access = super::access(&loaded.config).map_err(&mut note).ok();
        let listeners = access.and_then(|access| {
            let (listen, workers) = (&loaded.config.listen, loaded.config.workers);
            let opened = self.listeners.reopen(listen, workers, &access);
            opened.map_err(|error| note(error.to_string())).ok()
        });
        let text = text(&loaded).map_err(&mut note).ok();
        match (authorities, pid_file, listeners, text) {
            (Some((tls, authorities)), Some(pid_file), Some(listeners), Some(text)) => {
                Ok(Prepared {
                    loaded,
                    tls,
                    listeners,
                    pid_file,
                    text,
                    authorities,
                })
            }
            _ => Err(problems),
        }
    }

    /// Makes it so.
    fn commit(&mut self, prepared: Prepared, now: Instant, actions: &mut Vec<Action>) {
        let Prepared {
            loaded,
            tls,
            listeners,
            pid_file,
            text,
            authorities,
        } = prepared;
        let doubts = unknown_interfaces(&loaded.config);
        for problem in loaded.problems.iter().chain(&doubts) {
            log::log!(problem.level(), "{problem}");
        }
        tell_what_takes_a_restart(&self.loaded.config, &loaded.config);
        let (before, workers) = (self.loaded.config.workers, loaded.config.workers);
        if workers < before {
            log::info!("Reducing worker count from {before} to {workers}");
        } else if workers > before {
            log::info!("Increasing worker count from {before} to {workers}");
        }
        if loaded.config.verbosity != self.loaded.config.verbosity {
            self.area.set_log_level(loaded.config.verbosity as u8);
            self.follow_log_level();
        }
        self.tls = tls;
        self.config = Rc::new(loaded.config.clone());
        self.loaded = loaded;
        pid_file.commit(&mut self.pid_file);
        // What is not wanted any more is closed here, so that it is over when the last worker gives it up.
        self.listeners = listeners;
        self.area.begin_generation();
        self.crew.set_drain(self.config.drain_timeout);
        for process in self.crew.draining() {
            self.tell(process, &Order::ReopenAccessLog);
        }
        self.crew.resize(workers, now, actions);
        for process in self.crew.active() {
            let post = self
                .links
                .iter()
                .find(|link| link.process == process)
                .and_then(|link| link.seat)
                .map_or(0, Seat::worker);
            let change = || -> io::Result<Change> {
                Ok(Change {
                    text: text.descriptor()?,
                    authorities: authorities.as_ref().map(Segment::descriptor).transpose()?,
                    listeners: self.listeners.for_worker(post)?,
                })
            };
            match change() {
                Ok(change) => self.tell(process, &Order::Configure(change)),
                Err(error) => {
                    log::error!("worker {post} is replaced, as it cannot be told: {error}");
                    self.crew.replace(process, actions);
                }
            }
        }
    }
}

/// Reads the authorities of `--tls-ca`, for this process and for handing on.
fn authorities(config: &Config) -> Result<(TlsConfig, Option<Segment>), String> {
    let Some(path) = &config.tls_ca else {
        let tls = TlsConfig::load(None).map_err(|error| error.to_string())?;
        return Ok((tls, None));
    };
    let bytes = file::read_again(path)
        .map_err(|error| format!("authorities in {}: {error}", path.display()))?;
    let tls = TlsConfig::from_pem(path, &bytes).map_err(|error| error.to_string())?;
    Ok((tls, Some(memory(&bytes)?)))
}

/// The configuration as a text that says all of it.
fn text(loaded: &Loaded) -> Result<Segment, String> {
    let text = loaded.file_text();
    match parse(text.as_bytes()) {
        Ok(config) if config == loaded.config => memory(text.as_bytes()),
        Ok(_) => Err("the configuration cannot be handed on as a text".to_owned()),
        Err(problem) => Err(format!("the configuration cannot be handed on: {problem}")),
    }
}

fn memory(bytes: &[u8]) -> Result<Segment, String> {
    Segment::new(bytes).map_err(|error| format!("no memory to hand the configuration on: {error}"))
}

/// The configuration in a text made by [`text`].
///
/// # Errors
///
/// The first problem that is more than a notice; there is none unless the two disagree about the form.
pub(super) fn parse(text: &[u8]) -> Result<Config, String> {
    let mut draft = Draft::new(Config::default());
    let problems = file::apply(&mut draft, text, 0, Path::new(HANDED_ON));
    let mut problems = problems.iter();
    // What is remarked of a service has been told when the file was read.
    match problems.find(|problem| problem.severity > Severity::Notice) {
        Some(problem) => Err(problem.to_string()),
        None => Ok(draft.finish().0),
    }
}

/// Names the settings that have been changed in vain.
fn tell_what_takes_a_restart(before: &Config, after: &Config) {
    for setting in settings() {
        if setting.applies == Applies::Restart && setting.shown(before) != setting.shown(after) {
            log::warn!(
                "the new value of {} holds when the program is started again",
                setting.long
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    #[test]
    fn a_configuration_is_the_same_after_being_handed_on() {
        for line in [
            "flowgate -C",
            "flowgate -C -l 5141 -l [::1]:0 -w 3 -m 7 -T secret#;x -H http://tv.example:80/ -v 4",
            "flowgate demo",
        ] {
            let invocation = cli::parse(line.split(' ')).expect("good arguments");
            let loaded = invocation.load().expect("a configuration");
            let segment = text(&loaded).expect("handed on");
            let bytes = segment.contents().expect("read");
            assert_eq!(parse(&bytes).as_ref(), Ok(&loaded.config), "{line}");
        }
    }
}
