//! The one helper thread: names in, addresses out, so that no look-up ever stops the loop.
//!
//! The thread starts with the first name and sleeps between names. Questions are answered one after another;
//! at most [`LOOKUPS_MAX`] wait.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread;
use std::time::Instant;

use mio::Waker;

use super::{Event, LookupId};
use crate::limits::{ADDRESSES_MAX, LOOKUP_WAIT, LOOKUPS_MAX};

/// Names to look up.
#[derive(Debug)]
struct Question {
    lookup: LookupId,
    names: Vec<String>,
    asked_at: Instant,
}

type Answer = (LookupId, Result<Vec<Vec<IpAddr>>, String>);

/// The loop's end of the resolver.
#[derive(Debug)]
pub(super) struct Resolver {
    waker: Arc<Waker>,
    thread: Option<(SyncSender<Question>, Receiver<Answer>)>,
}

impl Resolver {
    /// A resolver that wakes the poll through `waker` when it has answers.
    pub(super) fn new(waker: Arc<Waker>) -> Self {
        Self {
            waker,
            thread: None,
        }
    }

    /// Asks for the addresses of `names`.
    #[allow(
        clippy::disallowed_methods,
        reason = "a question ages while the thread is busy"
    )]
    pub(super) fn ask(&mut self, lookup: LookupId, names: Vec<String>) -> io::Result<()> {
        let (questions, _) = match &mut self.thread {
            Some(ends) => ends,
            None => self.thread.insert(start(Arc::clone(&self.waker))?),
        };
        let question = Question {
            lookup,
            names,
            asked_at: Instant::now(),
        };
        let sent = questions.try_send(question);
        if matches!(sent, Err(TrySendError::Disconnected(_))) {
            // A new thread is started for the next name.
            self.thread = None;
        }
        sent.map_err(|error| match error {
            TrySendError::Full(_) => io::ErrorKind::ResourceBusy.into(),
            TrySendError::Disconnected(_) => io::Error::other("the resolver thread has ended"),
        })
    }

    /// Appends what has been answered since the last call.
    pub(super) fn take_answers(&mut self, events: &mut Vec<Event>) {
        if let Some((_, answers)) = &self.thread {
            events.extend(
                answers
                    .try_iter()
                    .map(|(lookup, result)| Event::Resolved { lookup, result }),
            );
        }
    }
}

fn start(waker: Arc<Waker>) -> io::Result<(SyncSender<Question>, Receiver<Answer>)> {
    let (questions, asked) = sync_channel::<Question>(LOOKUPS_MAX);
    let (answered, answers) = channel();
    thread::Builder::new()
        .name("resolver".into())
        .spawn(move || answer_all(&asked, &answered, &waker))?;
    Ok((questions, answers))
}

/// Runs until the loop's end is gone.
fn answer_all(questions: &Receiver<Question>, answers: &Sender<Answer>, waker: &Waker) {
    while let Ok(Question {
        lookup,
        names,
        asked_at,
    }) = questions.recv()
    {
        // Whoever asked has given up by now, and others are waiting.
        let result = if asked_at.elapsed() < LOOKUP_WAIT {
            names.iter().map(|name| addresses(name)).collect()
        } else {
            Err("the resolver is busy".into())
        };
        if answers.send((lookup, result)).is_err() || waker.wake().is_err() {
            return;
        }
    }
}

fn addresses(name: &str) -> Result<Vec<IpAddr>, String> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in (name, 0)
        .to_socket_addrs()
        .map_err(|error| format!("{name}: {error}"))?
    {
        if addresses.len() < ADDRESSES_MAX && !addresses.contains(&address.ip()) {
            addresses.push(address.ip());
        }
    }
    if addresses.is_empty() {
        Err(format!("{name}: no address"))
    } else {
        Ok(addresses)
    }
}
