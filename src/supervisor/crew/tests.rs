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
