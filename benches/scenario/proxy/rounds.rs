//! An edge-triggered poll in which whoever has used up its budget goes on in the next round.

use std::io;
use std::time::Duration;

use mio::event::Source;
use mio::{Events, Interest, Poll, Token, Waker};

/// One report: who, and which of its directions woke it. Neither for one that only goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Edge {
    pub(crate) token: usize,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

/// The poll and those that go on.
pub(crate) struct Rounds {
    poll: Poll,
    events: Events,
    again: Vec<usize>,
}

impl Rounds {
    /// Watches nothing yet.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            again: Vec::new(),
        })
    }

    /// Watches both directions of `source`.
    pub(crate) fn watch(&self, source: &mut impl Source, token: usize) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(source, Token(token), both)
    }

    /// What wakes the poll from another thread.
    pub(crate) fn waker(&self, token: usize) -> io::Result<Waker> {
        Waker::new(self.poll.registry(), Token(token))
    }

    /// Puts `token` into the next round, whatever the poll says.
    pub(crate) fn go_on(&mut self, token: usize) {
        self.again.push(token);
    }

    /// Waits for a round, unless somebody goes on, and puts it into `round`; an empty one after `timeout`.
    pub(crate) fn next(
        &mut self,
        timeout: Option<Duration>,
        round: &mut Vec<Edge>,
    ) -> io::Result<()> {
        let timeout = if self.again.is_empty() {
            timeout
        } else {
            Some(Duration::ZERO)
        };
        round.clear();
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        round.extend(self.events.iter().map(|event| Edge {
            token: event.token().0,
            readable: event.is_readable() || event.is_read_closed() || event.is_error(),
            writable: event.is_writable() || event.is_write_closed() || event.is_error(),
        }));
        round.extend(self.again.drain(..).map(|token| Edge {
            token,
            readable: false,
            writable: false,
        }));
        Ok(())
    }
}
