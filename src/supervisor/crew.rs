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
mod tests {
    use super::*;
    use crate::supervisor::test_clock::start;
    use proptest::prelude::*;

    const DRAIN: Duration = Duration::from_secs(7);
    const CRASH: Exit = Exit::Signal(11);

    /// A crew, the processes made for it so far, and the time.
    struct Bench {
        crew: Crew,
        now: Instant,
        made: i32,
        /// Posts of the processes that live, by their ids.
        living: Vec<(ProcessId, usize)>,
    }

    impl Bench {
        /// A crew of which every worker serves.
        fn up(workers: usize) -> Self {
            let mut bench = Self::launched(workers);
            let mut actions = Vec::new();
            for (process, _) in bench.living.clone() {
                bench.crew.ready(process, bench.now, &mut actions);
            }
            assert!(bench.crew.is_up());
            assert_eq!(actions, []);
            bench
        }

        /// A crew whose workers have been made.
        fn launched(workers: usize) -> Self {
            let now = start();
            let mut bench = Self {
                crew: Crew::new(workers, DRAIN, now),
                now,
                made: 100,
                living: Vec::new(),
            };
            assert_eq!(bench.wait(Duration::ZERO).len(), workers);
            bench
        }

        /// Does what can be done without the other side: makes processes, and ends those that are killed.
        fn perform(&mut self, actions: &[Action]) {
            for action in actions {
                match action {
                    Action::Start(post) => {
                        self.made += 1;
                        let process = ProcessId::fake(self.made);
                        self.living.push((process, *post));
                        self.crew.started(*post, process, self.now);
                    }
                    Action::Kill(process) => {
                        self.exit(*process, Exit::Signal(9));
                    }
                    Action::Tell(..) => {}
                }
            }
        }

        /// Lets time pass; what is due is done.
        fn wait(&mut self, time: Duration) -> Vec<Action> {
            self.now += time;
            let mut actions = Vec::new();
            self.crew.expire(self.now, &mut actions);
            self.perform(&actions);
            actions
        }

        fn ready(&mut self, process: ProcessId) -> Vec<Action> {
            let mut actions = Vec::new();
            self.crew.ready(process, self.now, &mut actions);
            self.perform(&actions);
            actions
        }

        fn exit(&mut self, process: ProcessId, exit: Exit) -> Vec<Action> {
            let mut actions = Vec::new();
            self.living.retain(|(one, _)| *one != process);
            let known = self.crew.exited(process, exit, self.now, &mut actions);
            assert_eq!(known, Ok(true));
            self.perform(&actions);
            actions
        }

        fn call(&mut self, what: impl FnOnce(&mut Crew, Instant, &mut Vec<Action>)) -> Vec<Action> {
            let mut actions = Vec::new();
            what(&mut self.crew, self.now, &mut actions);
            self.perform(&actions);
            actions
        }

        fn holder(&self, post: usize) -> ProcessId {
            let newest = self.living.iter().rev().find(|(_, its)| *its == post);
            newest.expect("a process").0
        }
    }

    #[test]
    fn the_program_is_up_when_the_last_worker_is_ready() {
        let mut bench = Bench::launched(3);
        for post in [2, 0, 1] {
            assert!(!bench.crew.is_up());
            assert_eq!(bench.ready(bench.holder(post)), []);
        }
        assert!(bench.crew.is_up());
        assert_eq!(bench.crew.deadline(), None);
    }

    #[test]
    fn a_worker_that_ends_before_the_program_is_up_ends_the_program() {
        let mut bench = Bench::launched(2);
        bench.ready(bench.holder(0));
        let (process, mut actions) = (bench.holder(1), Vec::new());
        let exit = Exit::Status(1);
        let ended = bench.crew.exited(process, exit, bench.now, &mut actions);
        assert_eq!(ended, Err(NeverUp { post: 1 }));
    }

    #[test]
    fn a_crashed_worker_is_restarted_at_once_and_nobody_else_is_touched() {
        let mut bench = Bench::up(3);
        assert_eq!(bench.exit(bench.holder(1), CRASH), []);
        assert_eq!(bench.crew.deadline(), Some(bench.now));
        assert_eq!(bench.wait(Duration::ZERO), [Action::Start(1)]);
        assert_eq!(bench.ready(bench.holder(1)), []);
        assert_eq!(bench.crew.deadline(), None);
    }

    #[test]
    fn the_fourth_crash_within_the_window_waits_without_polling() {
        let mut bench = Bench::up(1);
        let began = bench.now;
        for _ in 0..3 {
            bench.exit(bench.holder(0), CRASH);
            assert_eq!(bench.wait(Duration::from_millis(500)), [Action::Start(0)]);
            bench.ready(bench.holder(0));
        }
        bench.exit(bench.holder(0), CRASH);
        let next = began + Duration::from_millis(500) + RESTART_WINDOW;
        assert_eq!(bench.crew.deadline(), Some(next));
        assert_eq!(bench.wait(Duration::from_secs(2)), []);
        assert_eq!(bench.wait(RESTART_WINDOW), [Action::Start(0)]);
    }

    #[test]
    fn workers_are_replaced_one_after_another_and_the_new_one_is_ready_first() {
        let mut bench = Bench::up(2);
        let old = [bench.holder(0), bench.holder(1)];
        let actions = bench.call(|crew, _, actions| crew.replace_all(actions));
        assert_eq!(actions, [Action::Start(0)]);
        let actions = bench.ready(bench.holder(0));
        assert_eq!(actions, [Action::Tell(old[0], Word::Relieved(DRAIN))]);
        assert_eq!(bench.exit(old[0], Exit::Status(0)), [Action::Start(1)]);
        let actions = bench.ready(bench.holder(1));
        assert_eq!(actions, [Action::Tell(old[1], Word::Relieved(DRAIN))]);
        assert_eq!(bench.exit(old[1], Exit::Status(0)), []);
        assert_eq!(bench.crew.deadline(), None);
    }

    #[test]
    fn deliberate_restarts_do_not_count() {
        let mut bench = Bench::up(1);
        for _ in 0..20 {
            let old = bench.holder(0);
            bench.call(|crew, _, actions| crew.replace_all(actions));
            bench.ready(bench.holder(0));
            bench.exit(old, Exit::Status(0));
        }
        bench.exit(bench.holder(0), CRASH);
        assert_eq!(bench.wait(Duration::ZERO), [Action::Start(0)]);
    }

    #[test]
    fn a_successor_that_fails_leaves_the_old_worker_in_place() {
        let mut bench = Bench::up(2);
        let old = bench.holder(0);
        bench.call(|crew, _, actions| crew.replace_all(actions));
        assert_eq!(bench.exit(bench.holder(0), Exit::Status(1)), []);
        assert_eq!(bench.holder(0), old);
        assert_eq!(bench.crew.deadline(), None);
        // Another attempt is possible.
        let actions = bench.call(|crew, _, actions| crew.replace_all(actions));
        assert_eq!(actions, [Action::Start(0)]);
    }

    #[test]
    fn a_worker_that_crashes_while_its_successor_starts_is_not_restarted_twice() {
        let mut bench = Bench::up(1);
        let old = bench.holder(0);
        bench.call(|crew, _, actions| crew.replace_all(actions));
        assert_eq!(bench.exit(old, CRASH), []);
        assert_eq!(bench.ready(bench.holder(0)), []);
        assert_eq!(bench.crew.deadline(), None);
        assert_eq!(bench.living.len(), 1);
    }

    #[test]
    fn a_worker_that_does_not_drain_in_time_is_killed() {
        let mut bench = Bench::up(1);
        let old = bench.holder(0);
        bench.call(|crew, _, actions| crew.replace_all(actions));
        bench.ready(bench.holder(0));
        assert_eq!(bench.wait(DRAIN), []);
        assert_eq!(bench.wait(DRAIN_KILL_WAIT), [Action::Kill(old)]);
        assert_eq!(bench.living.len(), 1);
        assert_eq!(bench.crew.deadline(), None);
    }

    #[test]
    fn a_worker_that_never_begins_to_serve_is_killed_and_tried_again() {
        let mut bench = Bench::up(1);
        bench.exit(bench.holder(0), CRASH);
        bench.wait(Duration::ZERO);
        let stuck = bench.holder(0);
        assert_eq!(bench.wait(WORKER_START_WAIT), [Action::Kill(stuck)]);
        assert_eq!(bench.wait(Duration::ZERO), [Action::Start(0)]);
    }

    #[test]
    fn more_workers_are_started_and_fewer_take_their_leave() {
        let mut bench = Bench::up(1);
        bench.call(|crew, now, actions| crew.resize(3, now, actions));
        assert_eq!(
            bench.wait(Duration::ZERO),
            [Action::Start(1), Action::Start(2)]
        );
        let (one, two) = (bench.holder(1), bench.holder(2));
        bench.ready(one);
        let actions = bench.call(|crew, now, actions| crew.resize(1, now, actions));
        let leave = Word::Dismissed(DRAIN);
        assert_eq!(
            actions,
            [Action::Tell(one, leave), Action::Tell(two, leave)]
        );
        bench.exit(two, Exit::Status(0));
        bench.exit(one, Exit::Status(0));
        assert_eq!(bench.crew.deadline(), None);
        assert_eq!(bench.living.len(), 1);
    }

    #[test]
    fn a_crash_of_a_post_given_up_meanwhile_is_not_repaired() {
        let mut bench = Bench::up(2);
        bench.exit(bench.holder(1), CRASH);
        bench.call(|crew, now, actions| crew.resize(1, now, actions));
        assert_eq!(bench.wait(Duration::ZERO), []);
        assert_eq!(bench.crew.deadline(), None);
    }

    #[test]
    fn a_crash_beside_one_that_still_drains_is_repaired() {
        let mut bench = Bench::up(2);
        bench.call(|crew, now, actions| crew.resize(1, now, actions));
        bench.call(|crew, now, actions| crew.resize(2, now, actions));
        assert_eq!(bench.wait(Duration::ZERO), [Action::Start(1)]);
        bench.exit(bench.holder(1), CRASH);
        assert_eq!(bench.wait(Duration::ZERO), [Action::Start(1)]);
    }

    #[test]
    fn one_that_drains_makes_room_when_a_third_process_is_wanted() {
        let mut bench = Bench::up(2);
        let first = bench.holder(1);
        bench.call(|crew, now, actions| crew.resize(1, now, actions));
        bench.call(|crew, now, actions| crew.resize(2, now, actions));
        bench.wait(Duration::ZERO);
        let second = bench.holder(1);
        bench.ready(second);
        bench.call(|crew, now, actions| crew.resize(1, now, actions));
        bench.wait(Duration::from_secs(1));
        bench.call(|crew, now, actions| crew.resize(2, now, actions));
        let tell = |process| Action::Tell(process, Word::Stop);
        assert_eq!(bench.wait(Duration::ZERO), [tell(first)]);
        assert_eq!(bench.wait(Duration::ZERO), [], "told once");
        assert!(bench.crew.deadline() > Some(bench.now), "nobody spins");
        bench.exit(first, Exit::Status(0));
        assert_eq!(bench.wait(Duration::ZERO), [Action::Start(1)]);
    }

    #[test]
    fn one_that_drains_makes_room_for_the_successor_of_the_next() {
        let mut bench = Bench::up(2);
        let first = bench.holder(1);
        bench.call(|crew, now, actions| crew.resize(1, now, actions));
        bench.call(|crew, now, actions| crew.resize(2, now, actions));
        bench.wait(Duration::ZERO);
        let second = bench.holder(1);
        bench.ready(second);
        bench.call(|crew, _, actions| crew.replace_all(actions));
        let (old, new) = (bench.living[0].0, bench.holder(0));
        assert_eq!(bench.wait(Duration::ZERO), [], "the other post comes first");
        bench.ready(new);
        assert_eq!(bench.exit(old, Exit::Status(0)), []);
        let hurried = Action::Tell(first, Word::Stop);
        assert_eq!(bench.wait(Duration::ZERO), [hurried]);
        let actions = bench.exit(first, Exit::Status(0));
        assert_eq!(actions, [Action::Start(1)]);
        let actions = bench.ready(bench.holder(1));
        assert_eq!(actions, [Action::Tell(second, Word::Relieved(DRAIN))]);
    }

    #[test]
    fn stopping_tells_everybody_and_kills_who_stays() {
        let mut bench = Bench::up(2);
        let (one, two) = (bench.holder(0), bench.holder(1));
        let actions = bench.call(|crew, now, actions| crew.stop(now, actions));
        assert_eq!(
            actions,
            [one, two].map(|process| Action::Tell(process, Word::Stop))
        );
        assert_eq!(bench.exit(one, Exit::Status(0)), []);
        assert!(!bench.crew.is_gone());
        assert_eq!(bench.wait(STOP_KILL_WAIT), [Action::Kill(two)]);
        assert!(bench.crew.is_gone());
    }

    #[test]
    fn a_second_stop_is_at_once() {
        let mut bench = Bench::up(1);
        let process = bench.holder(0);
        bench.call(|crew, now, actions| crew.stop(now, actions));
        let actions = bench.call(|crew, now, actions| crew.stop(now, actions));
        assert_eq!(actions, [Action::Tell(process, Word::StopNow)]);
        assert_eq!(bench.crew.deadline(), Some(bench.now + STOP_NOW_KILL_WAIT));
    }

    #[test]
    fn a_crash_while_stopping_is_not_repaired() {
        let mut bench = Bench::up(1);
        bench.call(|crew, now, actions| crew.stop(now, actions));
        bench.exit(bench.holder(0), CRASH);
        assert!(bench.crew.is_gone());
        assert_eq!(bench.wait(Duration::from_secs(60)), []);
    }

    #[test]
    fn a_process_that_cannot_be_made_is_tried_again_later() {
        let mut bench = Bench::up(1);
        bench.exit(bench.holder(0), CRASH);
        let mut actions = Vec::new();
        bench.crew.expire(bench.now, &mut actions);
        assert_eq!(actions, [Action::Start(0)]);
        assert_eq!(bench.crew.not_started(0, bench.now), Ok(()));
        assert_eq!(bench.wait(Duration::ZERO), []);
        assert_eq!(bench.wait(WORKER_RETRY), [Action::Start(0)]);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Wait(u64),
        Ready(usize),
        Crash(usize),
        Replace,
        Resize(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..8000_u64).prop_map(Step::Wait),
            (0..8_usize).prop_map(Step::Ready),
            (0..8_usize).prop_map(Step::Ready),
            (0..8_usize).prop_map(Step::Crash),
            Just(Step::Replace),
            (1..5_usize).prop_map(Step::Resize),
        ];
        proptest::collection::vec(step, 1..120)
    }

    proptest! {
        /// Whatever happens: no post ever has more than two processes, a vacant post is being filled, and in the end
        /// every post is filled and nothing is due.
        #[test]
        fn every_post_is_filled_again_whatever_happens(steps in steps()) {
            let mut bench = Bench::up(2);
            for step in steps {
                match step {
                    Step::Wait(milliseconds) => {
                        bench.wait(Duration::from_millis(milliseconds));
                    }
                    Step::Ready(index) => {
                        if let Some((process, _)) = bench.living.get(index).copied() {
                            bench.ready(process);
                        }
                    }
                    Step::Crash(index) => {
                        if let Some((process, _)) = bench.living.get(index).copied() {
                            bench.exit(process, CRASH);
                        }
                    }
                    Step::Replace => {
                        bench.call(|crew, _, actions| crew.replace_all(actions));
                    }
                    Step::Resize(workers) => {
                        bench.call(|crew, now, actions| crew.resize(workers, now, actions));
                    }
                }
                for post in 0..5 {
                    let all = bench.living.iter().filter(|(_, its)| *its == post);
                    let count = all.count();
                    prop_assert!(count <= PROCESSES_PER_WORKER, "post {} has {}", post, count);
                }
                let active = bench.crew.active();
                for (index, post) in bench.crew.posts.iter().enumerate() {
                    let holders = bench
                        .living
                        .iter()
                        .filter(|(process, its)| *its == index && active.contains(process))
                        .count();
                    prop_assert!(holders > 0 || post.start_at.is_some());
                }
            }
            for _ in 0..40 {
                bench.wait(Duration::from_secs(20));
                for (process, _) in bench.living.clone() {
                    bench.ready(process);
                }
            }
            let workers = bench.crew.workers();
            let mut filled: Vec<usize> = bench.living.iter().map(|(_, post)| *post).collect();
            filled.sort_unstable();
            prop_assert_eq!(filled, (0..workers).collect::<Vec<_>>());
            prop_assert_eq!(bench.crew.deadline(), None);
        }
    }
}
