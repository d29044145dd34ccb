//! The helper threads: names in, addresses out, so that no look-up ever stops the loop or, as a rule, another one.
//!
//! The first thread starts with the first name and sleeps between names. While all are busy another name starts
//! another, up to [`RESOLVER_THREADS_MAX`]; once everything is answered those end. Who asks for names that are being
//! looked up waits for the same answer. So a name of which no server says anything, which takes the system many
//! seconds, keeps one thread busy, however often it is asked for. At most [`LOOKUPS_MAX`] questions wait.

use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use mio::Waker;

use super::{Event, LookupId};
use crate::limits::{ADDRESSES_MAX, LOOKUP_WAIT, LOOKUPS_MAX, RESOLVER_THREADS_MAX};

/// For each name its addresses, at least one, or what went wrong.
type Found = Result<Vec<Vec<IpAddr>>, String>;

/// Looks one name up, and takes its time.
type Find = dyn Fn(&str) -> Result<Vec<IpAddr>, String> + Send + Sync;

/// The loop's end of the resolver.
pub(super) struct Resolver {
    waker: Arc<Waker>,
    find: Arc<Find>,
    crew: Option<Crew>,
    /// What has been asked and not been answered, no names twice.
    open: Vec<Open>,
    /// The number of the next question.
    next: u64,
}

/// A question that waits for its answer.
#[derive(Debug)]
struct Open {
    number: u64,
    names: Vec<String>,
    /// Who wants to know; at most [`LOOKUPS_MAX`].
    lookups: Vec<LookupId>,
}

/// The threads, and both ends of what leads to them and back.
struct Crew {
    threads: Vec<JoinHandle<()>>,
    questions: SyncSender<Question>,
    asked: Arc<Mutex<Receiver<Question>>>,
    answered: Sender<(u64, Found)>,
    answers: Receiver<(u64, Found)>,
}

/// Names to look up.
struct Question {
    number: u64,
    names: Vec<String>,
    asked_at: Instant,
}

impl Resolver {
    /// A resolver that wakes the poll through `waker` when it has answers.
    pub(super) fn new(waker: Arc<Waker>) -> Self {
        Self::with(waker, Arc::new(addresses))
    }

    fn with(waker: Arc<Waker>, find: Arc<Find>) -> Self {
        Self {
            waker,
            find,
            crew: None,
            open: Vec::new(),
            next: 0,
        }
    }

    /// Asks for the addresses of `names`.
    ///
    /// # Errors
    ///
    /// `ResourceBusy` if too many wait, or why no thread can be made.
    pub(super) fn ask(&mut self, lookup: LookupId, names: Vec<String>) -> io::Result<()> {
        if let Some(open) = self.open.iter_mut().find(|open| open.names == names) {
            if open.lookups.len() >= LOOKUPS_MAX {
                return Err(io::ErrorKind::ResourceBusy.into());
            }
            open.lookups.push(lookup);
            return Ok(());
        }
        let crew = self.crew.get_or_insert_with(Crew::new);
        crew.grow(self.open.len() + 1, &self.find, &self.waker)?;
        crew.ask(self.next, names.clone())?;
        self.open.push(Open {
            number: self.next,
            names,
            lookups: vec![lookup],
        });
        self.next += 1;
        Ok(())
    }

    /// Appends what has been answered since the last call.
    pub(super) fn take_answers(&mut self, events: &mut Vec<Event>) {
        let Some(crew) = &self.crew else {
            return;
        };
        for (number, found) in crew.answers.try_iter() {
            let at = self.open.iter().position(|open| open.number == number);
            let lookups = at.map(|at| self.open.swap_remove(at).lookups);
            events.extend(lookups.into_iter().flatten().map(|lookup| Event::Resolved {
                lookup,
                result: found.clone(),
            }));
        }
        if self.open.is_empty() && crew.threads.len() > 1 {
            self.crew = None;
        }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threads = self.crew.as_ref().map_or(0, |crew| crew.threads.len());
        f.debug_struct("Resolver")
            .field("threads", &threads)
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}

impl Crew {
    fn new() -> Self {
        let (questions, asked) = sync_channel(LOOKUPS_MAX);
        let (answered, answers) = channel();
        Self {
            threads: Vec::new(),
            questions,
            asked: Arc::new(Mutex::new(asked)),
            answered,
            answers,
        }
    }

    /// Makes another thread if there are fewer than `wanted`. One is enough: the rest only helps.
    fn grow(&mut self, wanted: usize, find: &Arc<Find>, waker: &Arc<Waker>) -> io::Result<()> {
        // One that had no memory to begin with has ended.
        self.threads.retain(|thread| !thread.is_finished());
        if self.threads.len() >= wanted.min(RESOLVER_THREADS_MAX) {
            return Ok(());
        }
        let (find, waker) = (Arc::clone(find), Arc::clone(waker));
        let (asked, answered) = (Arc::clone(&self.asked), self.answered.clone());
        let thread = thread::Builder::new()
            .name("resolver".into())
            .spawn(move || answer_all(&asked, &answered, &*find, &waker));
        match thread {
            Ok(thread) => self.threads.push(thread),
            Err(error) if self.threads.is_empty() => return Err(error),
            Err(_) => {}
        }
        Ok(())
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "a question ages while the threads are busy"
    )]
    fn ask(&self, number: u64, names: Vec<String>) -> io::Result<()> {
        let question = Question {
            number,
            names,
            asked_at: Instant::now(),
        };
        let sent = self.questions.try_send(question);
        sent.map_err(|error| match error {
            TrySendError::Full(_) => io::ErrorKind::ResourceBusy.into(),
            TrySendError::Disconnected(_) => io::ErrorKind::BrokenPipe.into(),
        })
    }
}

/// Runs until the loop's end is gone.
fn answer_all(
    asked: &Mutex<Receiver<Question>>,
    answered: &Sender<(u64, Found)>,
    find: &Find,
    waker: &Waker,
) {
    loop {
        // Whoever waits for a question holds the lock, and the others wait for that.
        let question = asked.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Question {
            number,
            names,
            asked_at,
        }) = question
        else {
            return;
        };
        // Whoever asked has given up by now, and others are waiting.
        let found = if asked_at.elapsed() < LOOKUP_WAIT {
            names.iter().map(|name| find(name)).collect()
        } else {
            Err("the resolver is busy".into())
        };
        if answered.send((number, found)).is_err() || waker.wake().is_err() {
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use mio::{Events, Poll, Token};

    use super::*;

    /// A resolver for which names that begin with "slow" take until the bench says so.
    struct Bench {
        poll: Poll,
        resolver: Resolver,
        /// Held while slow names are to take longer.
        gate: Arc<Mutex<()>>,
        looked_up: Arc<AtomicUsize>,
    }

    impl Bench {
        fn new() -> Self {
            let poll = Poll::new().expect("a poll");
            let waker = Arc::new(Waker::new(poll.registry(), Token(0)).expect("a waker"));
            let gate = Arc::new(Mutex::new(()));
            let looked_up = Arc::new(AtomicUsize::new(0));
            let (slow, count) = (Arc::clone(&gate), Arc::clone(&looked_up));
            let find = move |name: &str| {
                count.fetch_add(1, Ordering::SeqCst);
                if name.starts_with("slow") {
                    drop(slow.lock());
                }
                Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])
            };
            Self {
                poll,
                resolver: Resolver::with(waker, Arc::new(find)),
                gate,
                looked_up,
            }
        }

        fn ask(&mut self, lookup: u64, name: &str) -> io::Result<()> {
            self.resolver.ask(LookupId(lookup), vec![name.to_owned()])
        }

        /// Waits for `count` answers; returns whose they are.
        fn answered(&mut self, count: usize) -> Vec<u64> {
            let mut events = Vec::new();
            while events.len() < count {
                let mut woken = Events::with_capacity(1);
                let wait = Some(Duration::from_secs(10));
                self.poll.poll(&mut woken, wait).expect("polled");
                assert!(!woken.is_empty(), "only {} answers", events.len());
                self.resolver.take_answers(&mut events);
            }
            let lookups = events.iter().map(|event| match event {
                Event::Resolved { lookup, result } => {
                    assert!(result.is_ok());
                    lookup.0
                }
                other => panic!("{other:?}"),
            });
            lookups.collect()
        }
    }

    #[test]
    fn name_that_takes_long_delays_no_other() {
        let mut bench = Bench::new();
        let gate = Arc::clone(&bench.gate);
        let closed = gate.lock();
        for lookup in 1..RESOLVER_THREADS_MAX as u64 {
            bench.ask(lookup, &format!("slow{lookup}")).expect("asked");
        }
        bench.ask(99, "quick").expect("asked");
        assert_eq!(bench.answered(1), [99]);
        drop(closed);
        let rest = RESOLVER_THREADS_MAX - 1;
        assert_eq!(bench.answered(rest).len(), rest);
    }

    #[test]
    fn same_names_are_looked_up_once_at_a_time() {
        let mut bench = Bench::new();
        let gate = Arc::clone(&bench.gate);
        let closed = gate.lock();
        for lookup in 0..LOOKUPS_MAX as u64 {
            bench.ask(lookup, "slow").expect("asked");
        }
        let error = bench.ask(99, "slow").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        drop(closed);
        let mut whose = bench.answered(LOOKUPS_MAX);
        whose.sort_unstable();
        assert!(whose.into_iter().eq(0..LOOKUPS_MAX as u64));
        assert_eq!(bench.looked_up.load(Ordering::SeqCst), 1);
        bench.ask(1, "slow").expect("asked again");
        assert_eq!(bench.answered(1), [1]);
        assert_eq!(bench.looked_up.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn questions_and_threads_are_bounded_and_threads_end() {
        let mut bench = Bench::new();
        let gate = Arc::clone(&bench.gate);
        let closed = gate.lock();
        let asked = (0..LOOKUPS_MAX as u64 * 2)
            .take_while(|lookup| bench.ask(*lookup, &format!("slow{lookup}")).is_ok())
            .count();
        // Some of those in hand may not have been taken out of the queue yet.
        assert!((LOOKUPS_MAX..=LOOKUPS_MAX + RESOLVER_THREADS_MAX).contains(&asked));
        let crew = bench.resolver.crew.as_ref().expect("threads");
        assert_eq!(crew.threads.len(), RESOLVER_THREADS_MAX);
        drop(closed);
        assert_eq!(bench.answered(asked).len(), asked);
        assert!(bench.resolver.crew.is_none(), "{:?}", bench.resolver);
        bench.ask(7, "quick").expect("asked");
        assert_eq!(bench.answered(1), [7]);
        assert!(bench.resolver.crew.is_some());
    }
}
