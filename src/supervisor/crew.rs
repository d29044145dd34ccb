//! Who works for the supervisor, and what is to be done about it: a pure state machine.
//!
//! It is told what happened (a worker was started, is ready, has ended; a signal came; time has passed) and answers
//! with [`Action`]s. It makes no process, sends no signal and reads no clock.
//!
//! Each of the numbers 0 to N-1 is a *post*, and a process that fills it is a *member*. A post has one member, or for
//! some time two: one that drains or is to be relieved, and its successor. Never more, as each has its seat in the
//! [area](crate::area): if another is wanted while one drains, that one's clients get no more time.
//!
//! ```text
//!             ready                 relieved, dismissed            ends
//! Starting ──────────▶ Serving ─────────────────────▶ Draining ───────────▶ gone
//!     │ ends              │ ends                         │ too late: killed
//!     ▼                   ▼                              ▼
//!   restarted, at most so often (`Restarts`)           gone
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use super::restarts::Restarts;
use crate::limits::{
    DRAIN_KILL_WAIT, PROCESSES_PER_WORKER, RESTART_WINDOW, RESTARTS_MAX, STOP_KILL_WAIT,
    STOP_NOW_KILL_WAIT, WORKER_RETRY, WORKER_START_WAIT,
};
use crate::sys::fork::{Exit, ProcessId};

/// What the shell is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Make a process for this post, and report with [`Crew::started`] or [`Crew::not_started`].
    Start(usize),
    /// Tell a worker something.
    Tell(ProcessId, Word),
    /// End a worker at once.
    Kill(ProcessId),
}

/// What a worker is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// Take no new clients and end when the present ones are done, or after this time at the latest. A successor
    /// takes whoever waits to be accepted.
    Relieved(Duration),
    /// The same, but nobody comes after: whoever waits is taken first.
    Dismissed(Duration),
    /// End soon.
    Stop,
    /// End now.
    StopNow,
}

/// The program cannot do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NeverUp {
    /// The worker that could not begin to serve.
    pub(super) post: usize,
}

impl fmt::Display for NeverUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {} could not begin to serve", self.post)
    }
}

/// All workers.
#[derive(Debug)]
pub(super) struct Crew {
    posts: Vec<Post>,
    members: Vec<Member>,
    state: State,
    /// Posts whose members are still to be replaced, and the one that is being.
    to_relieve: VecDeque<usize>,
    relieving: Option<usize>,
    /// How long clients of a worker that is replaced are given.
    drain: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not every post has been filled yet. A worker that ends now ends the program: what it failed at will fail
    /// again.
    Launching,
    /// Crashed workers are replaced.
    Working,
    /// All are told to end; whoever has not by `kill_at` is killed.
    Stopping { kill_at: Instant },
}

/// The place of one worker.
#[derive(Debug, Default)]
struct Post {
    restarts: Restarts,
    /// When it is to be filled, and why.
    start_at: Option<(Instant, Cause)>,
}

/// Why a post is vacant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// It is new, or there was no way to make a process.
    New,
    /// The worker crashed.
    Crash,
}

/// A process.
#[derive(Debug)]
struct Member {
    process: ProcessId,
    post: usize,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It has not said yet that it is ready, which it must by `until`.
    Starting { until: Instant },
    /// It takes clients.
    Serving,
    /// It takes none and must have ended by `until`. If `hurried`, it was told that its place is wanted.
    Draining { until: Instant, hurried: bool },
}

impl Crew {
    /// `workers` empty posts, to be filled at `now`. Clients of a worker that is replaced are given `drain`.
    pub(super) fn new(workers: usize, drain: Duration, now: Instant) -> Self {
        let mut crew = Self {
            posts: Vec::new(),
            members: Vec::new(),
            state: State::Launching,
            to_relieve: VecDeque::new(),
            relieving: None,
            drain,
        };
        crew.add_posts(workers, now);
        crew
    }

    /// A process was made for `post`.
    pub(super) fn started(&mut self, post: usize, process: ProcessId, now: Instant) {
        let until = now + WORKER_START_WAIT;
        self.members.push(Member {
            process,
            post,
            phase: Phase::Starting { until },
        });
    }

    /// No process could be made for `post`; it is tried again later.
    ///
    /// # Errors
    ///
    /// If the program is not up yet.
    pub(super) fn not_started(&mut self, post: usize, now: Instant) -> Result<(), NeverUp> {
        if self.state == State::Launching {
            return Err(NeverUp { post });
        }
        if self.relieving == Some(post) {
            self.give_up_relieving(post);
        } else if let Some(post) = self.posts.get_mut(post) {
            post.start_at = Some((now + WORKER_RETRY, Cause::New));
        }
        Ok(())
    }

    /// A worker takes clients from now on.
    pub(super) fn ready(&mut self, process: ProcessId, now: Instant, actions: &mut Vec<Action>) {
        let Some(member) = self.member(process) else {
            return;
        };
        // One that is to end already has nothing to add.
        if !matches!(member.phase, Phase::Starting { .. }) {
            return;
        }
        member.phase = Phase::Serving;
        let post = member.post;
        let before: Vec<ProcessId> = self
            .members
            .iter()
            .filter(|other| other.post == post && other.process != process)
            .filter(|other| !other.is_draining())
            .map(|other| other.process)
            .collect();
        for other in before {
            self.drain(other, Word::Relieved(self.drain), now, actions);
        }
        if self.state == State::Launching && self.is_full() {
            self.state = State::Working;
        }
        self.relieve_next(actions);
    }

    /// A process has ended. False if it was no member.
    ///
    /// # Errors
    ///
    /// If the program is not up yet.
    pub(super) fn exited(
        &mut self,
        process: ProcessId,
        exit: Exit,
        now: Instant,
        actions: &mut Vec<Action>,
    ) -> Result<bool, NeverUp> {
        let index = self.members.iter().position(|one| one.process == process);
        let Some(index) = index else {
            return Ok(false);
        };
        let Member { post, phase, .. } = self.members.swap_remove(index);
        if self.is_stopping() {
            log::info!("Worker {post} (pid {process}) {exit}");
            return Ok(true);
        }
        log::warn!("Worker {post} (pid {process}) {exit}");
        if self.state == State::Launching {
            return Err(NeverUp { post });
        }
        // One that drains fills nothing.
        let is_filled = self
            .members
            .iter()
            .any(|other| other.post == post && !other.is_draining());
        match phase {
            // Its successor serves, or its post is no more.
            Phase::Draining { .. } => {}
            Phase::Starting { .. } if self.relieving == Some(post) && is_filled => {
                self.give_up_relieving(post);
            }
            // The successor will come instead.
            _ if is_filled => {}
            _ => self.restart(post, now),
        }
        self.relieve_next(actions);
        Ok(true)
    }

    /// Replaces every worker, one after another: the new one is ready before the old one takes its leave.
    pub(super) fn replace_all(&mut self, actions: &mut Vec<Action>) {
        for post in 0..self.posts.len() {
            self.replace_post(post);
        }
        self.relieve_next(actions);
    }

    /// Replaces one worker in the same way.
    pub(super) fn replace(&mut self, process: ProcessId, actions: &mut Vec<Action>) {
        if let Some(member) = self.member(process) {
            let post = member.post;
            self.replace_post(post);
            self.relieve_next(actions);
        }
    }

    /// From now on there are `workers` posts. Those beyond are given up; new ones are filled.
    pub(super) fn resize(&mut self, workers: usize, now: Instant, actions: &mut Vec<Action>) {
        self.posts.truncate(workers);
        self.to_relieve.retain(|post| *post < workers);
        self.relieving = self.relieving.filter(|post| *post < workers);
        let dismissed: Vec<ProcessId> = self
            .members
            .iter()
            .filter(|member| member.post >= workers)
            .filter(|member| !member.is_draining())
            .map(|member| member.process)
            .collect();
        for process in dismissed {
            self.drain(process, Word::Dismissed(self.drain), now, actions);
        }
        self.add_posts(workers, now);
        self.relieve_next(actions);
    }

    /// From now on clients of a worker that is replaced are given `drain`.
    pub(super) fn set_drain(&mut self, drain: Duration) {
        self.drain = drain;
    }

    /// Ends everything soon; a second call, at once.
    pub(super) fn stop(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let (word, kill_at) = match self.state {
            State::Stopping { kill_at } => (Word::StopNow, kill_at.min(now + STOP_NOW_KILL_WAIT)),
            _ => (Word::Stop, now + STOP_KILL_WAIT),
        };
        self.state = State::Stopping { kill_at };
        self.posts.clear();
        self.to_relieve.clear();
        self.relieving = None;
        let all = self.members.iter();
        actions.extend(all.map(|member| Action::Tell(member.process, word)));
    }

    /// Acts on what is due.
    pub(super) fn expire(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.hurry(now, actions);
        for (index, post) in self.posts.iter_mut().enumerate() {
            if let Some((at, cause)) = post.start_at
                && at <= now
                && !is_crowded(&self.members, index)
            {
                post.start_at = None;
                if cause == Cause::Crash {
                    post.restarts.note(now);
                    log::info!("Restarting worker {index}");
                }
                actions.push(Action::Start(index));
            }
        }
        let kill_all_at = self.kill_all_at();
        for member in &mut self.members {
            if let Some(at) = member.kill_at(kill_all_at)
                && at <= now
            {
                log::warn!(
                    "Worker {} (pid {}) took too long and is killed",
                    member.post,
                    member.process
                );
                // Once is enough, and its end is noticed as any other's.
                let until = now + STOP_KILL_WAIT;
                match &mut member.phase {
                    Phase::Starting { until: limit } | Phase::Draining { until: limit, .. } => {
                        *limit = until;
                    }
                    Phase::Serving => {}
                }
                actions.push(Action::Kill(member.process));
            }
        }
        if let State::Stopping { kill_at } = &mut self.state
            && *kill_at <= now
        {
            *kill_at = now + STOP_KILL_WAIT;
        }
    }

    /// When [`Crew::expire`] has something to do; never, if nothing is under way.
    pub(super) fn deadline(&self) -> Option<Instant> {
        // A crowded post waits until somebody has ended.
        let posts = self.posts.iter().enumerate();
        let starts = posts
            .filter(|(index, _)| !is_crowded(&self.members, *index))
            .filter_map(|(_, post)| Some(post.start_at?.0));
        let kill_all_at = self.kill_all_at();
        let kills = self
            .members
            .iter()
            .filter_map(|member| member.kill_at(kill_all_at));
        starts.chain(kills).min()
    }

    /// Whether all were told to end and have.
    pub(super) fn is_gone(&self) -> bool {
        self.is_stopping() && self.members.is_empty()
    }

    /// Whether all are told to end.
    pub(super) fn is_stopping(&self) -> bool {
        matches!(self.state, State::Stopping { .. })
    }

    /// Whether every post has been filled once.
    pub(super) fn is_up(&self) -> bool {
        self.state != State::Launching
    }

    /// How many posts there are.
    pub(super) fn workers(&self) -> usize {
        self.posts.len()
    }

    /// The processes that take clients, or soon will: those a new configuration concerns.
    pub(super) fn active(&self) -> Vec<ProcessId> {
        let active = self.members.iter();
        active
            .filter(|member| !member.is_draining())
            .map(|member| member.process)
            .collect()
    }

    /// The processes that take no clients any more.
    pub(super) fn draining(&self) -> Vec<ProcessId> {
        let draining = self.members.iter();
        draining
            .filter(|member| member.is_draining())
            .map(|member| member.process)
            .collect()
    }

    fn add_posts(&mut self, workers: usize, now: Instant) {
        while self.posts.len() < workers {
            self.posts.push(Post {
                restarts: Restarts::default(),
                start_at: Some((now, Cause::New)),
            });
        }
    }

    fn member(&mut self, process: ProcessId) -> Option<&mut Member> {
        self.members.iter_mut().find(|one| one.process == process)
    }

    fn is_full(&self) -> bool {
        (0..self.posts.len()).all(|post| {
            self.members
                .iter()
                .any(|member| member.post == post && member.phase == Phase::Serving)
        })
    }

    /// The post lost its only member by a crash.
    fn restart(&mut self, post: usize, now: Instant) {
        let Some(vacant) = self.posts.get_mut(post) else {
            return;
        };
        if let Some(wait) = vacant.restarts.wait(now) {
            log::error!(
                "Worker {post} restart rate limited: {RESTARTS_MAX} restarts within {} s; the next one in {:.1} s",
                RESTART_WINDOW.as_secs(),
                wait.as_secs_f32(),
            );
        }
        vacant.start_at = Some((vacant.restarts.next_at(now), Cause::Crash));
    }

    fn drain(&mut self, process: ProcessId, word: Word, now: Instant, actions: &mut Vec<Action>) {
        let until = now + self.drain + DRAIN_KILL_WAIT;
        if let Some(member) = self.member(process) {
            member.phase = Phase::Draining {
                until,
                hurried: false,
            };
            actions.push(Action::Tell(process, word));
        }
    }

    fn replace_post(&mut self, post: usize) {
        if !self.to_relieve.contains(&post) {
            self.to_relieve.push_back(post);
        }
    }

    /// Goes on with the next worker that is to be replaced once the one before is gone.
    fn relieve_next(&mut self, actions: &mut Vec<Action>) {
        if self.state != State::Working {
            return;
        }
        if let Some(post) = self.relieving {
            let mut holders = self.members.iter().filter(|member| member.post == post);
            let is_done = holders.all(|member| member.phase == Phase::Serving);
            if !is_done {
                return;
            }
            self.relieving = None;
        }
        while let Some(post) = self.to_relieve.front().copied() {
            // One that is vacant or starting gets a fresh process anyway.
            let is_served = self
                .members
                .iter()
                .any(|member| member.post == post && member.phase == Phase::Serving);
            if is_served && is_crowded(&self.members, post) {
                return;
            }
            self.to_relieve.pop_front();
            if is_served {
                self.relieving = Some(post);
                actions.push(Action::Start(post));
                return;
            }
        }
    }

    /// Asks a worker that drains to end now, where another process is wanted and there is no room for it.
    fn hurry(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let due = self.posts.iter().enumerate().filter_map(|(index, post)| {
            let (at, _) = post.start_at?;
            (at <= now).then_some(index)
        });
        // While another post is being relieved, the next one has time.
        let relieved = self.to_relieve.front().filter(|_| self.relieving.is_none());
        let wanted: Vec<usize> = due
            .chain(relieved.copied())
            .filter(|post| is_crowded(&self.members, *post))
            .collect();
        for post in wanted {
            let drains = self.members.iter_mut().filter_map(|member| {
                match (&mut member.phase, member.post == post) {
                    (Phase::Draining { until, hurried }, true) => {
                        Some((member.process, until, hurried))
                    }
                    _ => None,
                }
            });
            // The first that was told to, if it has not been told again.
            if let Some((process, until, hurried)) = drains.min_by_key(|(_, until, _)| **until)
                && !*hurried
            {
                *hurried = true;
                *until = (*until).min(now + STOP_KILL_WAIT);
                actions.push(Action::Tell(process, Word::Stop));
            }
        }
    }

    /// The successor did not begin to serve. The others would not either.
    fn give_up_relieving(&mut self, post: usize) {
        log::error!("Worker {post} cannot be replaced; the workers there are go on");
        self.relieving = None;
        self.to_relieve.clear();
    }

    fn kill_all_at(&self) -> Option<Instant> {
        match self.state {
            State::Stopping { kill_at } => Some(kill_at),
            _ => None,
        }
    }
}

/// Whether a post has as many members as it can have.
fn is_crowded(members: &[Member], post: usize) -> bool {
    let members = members.iter().filter(|member| member.post == post);
    members.count() >= PROCESSES_PER_WORKER
}

impl Member {
    /// Whether it takes no clients any more.
    fn is_draining(&self) -> bool {
        matches!(self.phase, Phase::Draining { .. })
    }

    /// When it has had its time.
    fn kill_at(&self, all_at: Option<Instant>) -> Option<Instant> {
        all_at.or(match self.phase {
            Phase::Starting { until } | Phase::Draining { until, .. } => Some(until),
            Phase::Serving => None,
        })
    }
}

#[cfg(test)]
mod tests;
