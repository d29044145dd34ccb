use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const HOLE_WAIT: Duration = Duration::from_millis(50);
const START_WAIT: Duration = Duration::from_millis(200);
const SSRC: u32 = 7;

#[expect(
    clippy::disallowed_methods,
    reason = "an arbitrary point to count from"
)]
fn some_instant() -> Instant {
    Instant::now()
}

/// A window whose items are their sequence numbers, and all it has delivered.
struct Bench {
    window: Window<u16>,
    now: Instant,
    out: Vec<u16>,
}

impl Bench {
    fn idle(window: u16) -> Self {
        Bench {
            window: Window::new(window, HOLE_WAIT, START_WAIT),
            now: some_instant(),
            out: Vec::new(),
        }
    }

    /// Has delivered eight packets; `base` is next.
    fn running(base: u16) -> Self {
        let mut bench = Self::idle(WINDOW);
        bench.insert((1..=8).rev().map(|back| base.wrapping_sub(back)));
        assert_eq!(bench.take().len(), 8);
        bench.window.counters = Counters::default();
        bench
    }

    fn insert(&mut self, sequences: impl IntoIterator<Item = u16>) {
        self.insert_from(SSRC, sequences);
    }

    fn insert_from(&mut self, ssrc: u32, sequences: impl IntoIterator<Item = u16>) {
        for sequence in sequences {
            self.window
                .insert(self.now, ssrc, sequence, sequence, &mut self.out);
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.window.expire(self.now, &mut self.out);
    }

    fn take(&mut self) -> Vec<u16> {
        std::mem::take(&mut self.out)
    }
}

fn seen(received: u64) -> Counters {
    Counters {
        received,
        ..Counters::default()
    }
}

#[test]
fn start_waits_for_eight_packets_and_sorts_them() {
    let mut bench = Bench::idle(WINDOW);
    bench.insert([3, 1, 65535, 0, 2, 2, 5]);
    assert_eq!((bench.take(), bench.window.held()), (vec![], 6));
    bench.insert([4, 6]);
    assert_eq!(bench.take(), [65535, 0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(bench.window.held(), 0);
    assert_eq!(
        bench.window.counters(),
        Counters {
            received: 9,
            duplicates: 1,
            reordered: 5,
            ..Counters::default()
        }
    );
}

#[test]
fn start_waits_no_longer_than_its_time() {
    let mut bench = Bench::idle(WINDOW);
    assert_eq!(bench.window.deadline(), None);
    bench.insert([10, 9]);
    assert_eq!(bench.window.deadline(), Some(bench.now + START_WAIT));
    bench.wait(START_WAIT - Duration::from_millis(1));
    assert_eq!(bench.take(), [0_u16; 0]);
    bench.wait(Duration::from_millis(1));
    assert_eq!(bench.take(), [9, 10]);
    bench.insert([11]);
    assert_eq!(bench.take(), [11]);
    assert_eq!(bench.window.deadline(), None);
}

#[test]
fn hole_is_filled_by_a_late_packet() {
    let mut bench = Bench::running(65534);
    bench.insert([65534, 0, 1, 65535, 2]);
    assert_eq!(bench.take(), [65534, 65535, 0, 1, 2]);
    assert_eq!(
        bench.window.counters(),
        Counters {
            reordered: 1,
            ..seen(5)
        }
    );
}

#[test]
fn loss_does_not_delay_the_rest_of_the_stream() {
    let mut bench = Bench::running(100);
    bench.insert(101..132);
    assert_eq!((bench.take(), bench.window.held()), (vec![], 31));
    bench.insert([132]);
    assert_eq!(
        bench.take(),
        (101..=132).collect::<Vec<_>>(),
        "all at once, not one by one"
    );
    bench.insert([133]);
    assert_eq!(bench.take(), [133]);
    assert_eq!(
        bench.window.counters(),
        Counters {
            lost: 1,
            ..seen(33)
        }
    );
}

#[test]
fn hole_waits_no_longer_than_its_time() {
    let mut bench = Bench::running(100);
    bench.insert([102]);
    assert_eq!(bench.window.deadline(), Some(bench.now + HOLE_WAIT));
    bench.wait(HOLE_WAIT / 2);
    bench.insert([104]);
    bench.wait(HOLE_WAIT / 4);
    bench.insert([105]);
    bench.wait(HOLE_WAIT / 4);
    assert_eq!(bench.take(), [102]);
    let deadline = bench.now + HOLE_WAIT / 2;
    assert_eq!(
        bench.window.deadline(),
        Some(deadline),
        "the second hole began with 104"
    );
    bench.wait(HOLE_WAIT / 2);
    assert_eq!(bench.take(), [104, 105]);
    assert_eq!(bench.window.counters(), Counters { lost: 3, ..seen(3) });
    assert_eq!(bench.window.deadline(), None);
}

#[test]
fn late_packets_and_duplicates_vanish() {
    let mut bench = Bench::running(100);
    bench.insert([101, 101, 99]);
    bench.wait(HOLE_WAIT);
    bench.insert([100, 101, 102]);
    assert_eq!(bench.take(), [101, 102]);
    assert_eq!(
        bench.window.counters(),
        Counters {
            lost: 1,
            duplicates: 3,
            late: 1,
            ..seen(6)
        }
    );
}

#[test]
fn a_short_recording_that_begins_anew_after_a_pause_loses_nothing() {
    let mut bench = Bench::running(65530);
    bench.insert((0..20u16).map(|ahead| 65530u16.wrapping_add(ahead)));
    bench.take();
    bench.window.note_pause();
    let again: Vec<u16> = (0..30u16)
        .map(|ahead| 65530u16.wrapping_add(ahead))
        .collect();
    bench.insert(again[..7].iter().copied());
    assert_eq!(bench.take(), [0_u16; 0], "seven may still be late");
    bench.insert(again[7..].iter().copied());
    assert_eq!(bench.take(), again);
    assert_eq!(
        bench.window.counters(),
        Counters {
            resyncs: 1,
            ..seen(50)
        }
    );
}

#[test]
fn after_a_pause_one_packet_that_fits_makes_the_others_late() {
    let mut bench = Bench::running(100);
    bench.window.note_pause();
    bench.insert((93..100).chain([100]).chain(92..100));
    assert_eq!(bench.take(), [100]);
    assert_eq!(
        bench.window.counters(),
        Counters {
            late: 7,
            duplicates: 8,
            ..seen(16)
        }
    );
}

#[test]
fn jump_beyond_the_window_counts_the_gap_as_lost() {
    let mut bench = Bench::running(100);
    bench.insert([101, 600]);
    assert_eq!((bench.take(), bench.window.held()), (vec![101], 1));
    assert_eq!(bench.window.counters().lost, 1 + (600 - 31 - 102));
    bench.insert([599]);
    bench.wait(HOLE_WAIT);
    assert_eq!(bench.take(), [599, 600]);
    assert_eq!(
        bench.window.counters(),
        Counters {
            lost: 1 + (599 - 102),
            reordered: 1,
            ..seen(3)
        }
    );
}

#[test]
fn packet_of_a_gap_that_was_given_up_is_late_and_no_duplicate() {
    let mut bench = Bench::running(100);
    bench.insert([200, 165, 99]);
    assert_eq!(bench.window.counters().late, 1);
    assert_eq!(
        bench.window.counters().duplicates,
        0,
        "99 is too far back for that, and held as a rival"
    );
    bench.insert([170, 170]);
    assert_eq!(
        bench.window.counters(),
        Counters {
            lost: 69,
            late: 2,
            duplicates: 1,
            reordered: 1,
            ..seen(5)
        }
    );
}

#[test]
fn huge_jump_is_a_restart_and_not_a_loss() {
    let mut bench = Bench::running(100);
    bench.insert(20_000..20_007);
    assert_eq!((bench.take(), bench.window.held()), (vec![], 7));
    bench.insert([20_007, 20_008]);
    assert_eq!(bench.take(), (20_000..=20_008).collect::<Vec<_>>());
    assert_eq!(
        bench.window.counters(),
        Counters {
            resyncs: 1,
            ..seen(9)
        }
    );
}

#[test]
fn sender_that_starts_again_is_followed_without_loss() {
    let mut bench = Bench::running(30_000);
    bench.insert([30_001]);
    bench.insert([5, 5, 6, 8, 7, 9, 10, 11, 12, 13]);
    assert_eq!(bench.take(), [30_001, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
    assert_eq!(
        bench.window.counters(),
        Counters {
            resyncs: 1,
            lost: 1,
            duplicates: 1,
            reordered: 1,
            ..seen(11)
        }
    );
}

#[test]
fn small_step_back_costs_only_the_repeated_packets() {
    let mut bench = Bench::running(100);
    bench.insert(92..105);
    assert_eq!(bench.take(), (100..105).collect::<Vec<_>>());
    assert_eq!(bench.window.counters().resyncs, 0);
}

#[test]
fn new_ssrc_needs_two_packets() {
    let mut bench = Bench::running(100);
    bench.insert_from(8, [40_000, 40_000]);
    assert_eq!(bench.take(), [0_u16; 0]);
    bench.insert_from(8, [40_001, 40_002]);
    assert_eq!(bench.take(), [40_000, 40_001, 40_002]);
    assert_eq!(
        bench.window.counters(),
        Counters {
            resyncs: 1,
            duplicates: 1,
            ..seen(4)
        }
    );
}

#[test]
fn stray_packets_do_not_take_over() {
    let mut bench = Bench::running(100);
    for sequence in 100..120 {
        bench.insert_from(8, [sequence]);
        bench.insert([sequence.wrapping_sub(9_000)]);
        bench.insert([sequence]);
    }
    assert_eq!(bench.take(), (100..120).collect::<Vec<_>>());
    assert_eq!(
        bench.window.counters(),
        Counters {
            late: 40,
            ..seen(60)
        }
    );
}

#[test]
fn stray_first_packet_does_not_block_the_start() {
    let mut bench = Bench::idle(WINDOW);
    bench.insert([5]);
    bench.insert(500..505);
    bench.wait(START_WAIT);
    bench.wait(HOLE_WAIT);
    assert_eq!(bench.take(), [5, 500, 501, 502, 503, 504]);
    let mut bench = Bench::idle(WINDOW);
    bench.insert_from(8, [5]);
    bench.insert([501, 502, 500, 504, 505, 506, 507, 503]);
    assert_eq!(bench.take(), [5, 500, 501, 502, 503, 504, 505, 506, 507]);
}

#[test]
fn reset_starts_from_scratch_and_keeps_the_counters() {
    let mut bench = Bench::running(100);
    bench.insert([102]);
    bench.window.reset();
    assert_eq!((bench.window.held(), bench.window.deadline()), (0, None));
    bench.insert(1000..1008);
    assert_eq!(bench.take(), (1000..1008).collect::<Vec<_>>());
    assert_eq!(bench.window.counters(), seen(9));
}

#[test]
fn run_is_accepted_only_if_it_is_what_comes_next() {
    let mut bench = Bench::idle(WINDOW);
    assert!(!bench.window.accept_run(SSRC, 0, 3));
    let mut bench = Bench::running(65_530);
    assert!(!bench.window.accept_run(SSRC, 65_531, 3));
    assert!(!bench.window.accept_run(8, 65_530, 3));
    assert!(bench.window.accept_run(SSRC, 65_530, 10));
    bench.insert([4, 3, 6]);
    assert!(!bench.window.accept_run(SSRC, 5, 1), "something is held");
    assert_eq!(bench.take(), [4]);
    assert_eq!(
        bench.window.counters(),
        Counters {
            duplicates: 1,
            ..seen(13)
        }
    );
}

/// What a network does to one packet: sends it `copies` times, each delayed by some positions.
#[derive(Clone, Debug)]
struct Fate {
    delays: Vec<u16>,
}

fn any_fates(delay_max: u16) -> impl Strategy<Value = Vec<Fate>> {
    let delay = prop_oneof![4 => Just(0), 1 => 0..=delay_max];
    let copies = prop_oneof![1 => Just(0usize), 12 => Just(1), 2 => 2..4usize];
    let fate = copies
        .prop_flat_map(move |copies| prop::collection::vec(delay.clone(), copies))
        .prop_map(|delays| Fate { delays });
    prop::collection::vec(fate, 8..300)
}

/// Indices of the packets in the order they arrive. The first is kept whole and first.
fn arrivals(fates: &[Fate]) -> Vec<usize> {
    let mut arrivals = vec![(0, 0)];
    for (index, fate) in fates.iter().enumerate().skip(1) {
        arrivals.extend(
            fate.delays
                .iter()
                .map(|&delay| (index + usize::from(delay), index)),
        );
    }
    // Stable: without delays the order stays.
    arrivals.sort_by_key(|&(at, _)| at);
    arrivals.into_iter().map(|(_, index)| index).collect()
}

proptest! {
    /// The naive model: a set. Whatever arrives is delivered once and in order, as long as nothing is
    /// delayed by more than half the window.
    #[test]
    fn everything_that_arrives_is_delivered_once_and_in_order(
        fates in any_fates(16),
        base in any::<u16>(),
    ) {
        let arrivals = arrivals(&fates);
        let expected: BTreeSet<usize> = arrivals.iter().copied().collect();
        let mut bench = Bench::idle(64);
        for &index in &arrivals {
            bench.insert([base.wrapping_add(index as u16)]);
        }
        while bench.window.held() > 0 {
            bench.wait(START_WAIT);
        }
        let delivered: Vec<usize> = bench.out.iter().map(|&sequence| usize::from(sequence.wrapping_sub(base))).collect();
        prop_assert_eq!(delivered, expected.iter().copied().collect::<Vec<_>>());
        let counters = bench.window.counters();
        let last = expected.last().unwrap();
        prop_assert_eq!(counters.lost, (last + 1 - expected.len()) as u64);
        prop_assert_eq!(counters.duplicates, (arrivals.len() - expected.len()) as u64);
        prop_assert_eq!((counters.received, counters.late, counters.resyncs), (arrivals.len() as u64, 0, 0));
    }

    #[test]
    fn accepted_runs_leave_the_same_state_as_single_packets(
        base in any::<u16>(),
        runs in prop::collection::vec((0u16..100, 0u16..40, any::<bool>()), 1..20),
    ) {
        let (mut fast, mut slow) = (Bench::running(base), Bench::running(base));
        let mut next = base;
        for (count, gap, expires) in runs {
            let run = (0..count).map(|index| next.wrapping_add(index));
            if fast.window.accept_run(SSRC, next, count) {
                fast.out.extend(run.clone());
            } else {
                fast.insert(run.clone());
            }
            slow.insert(run);
            next = next.wrapping_add(count + gap % 3);
            if expires {
                fast.wait(HOLE_WAIT);
                slow.wait(HOLE_WAIT);
            }
            let repeat = next.wrapping_sub(gap);
            fast.insert([repeat]);
            slow.insert([repeat]);
            prop_assert_eq!(&fast.out, &slow.out);
            prop_assert_eq!(fast.window.counters(), slow.window.counters());
            prop_assert_eq!(fast.window.held(), slow.window.held());
            prop_assert_eq!(fast.window.history, slow.window.history);
        }
    }

    /// Any sequence of calls: nothing is delivered twice or forgotten, and the bounds hold.
    #[test]
    fn any_packets_keep_the_books(
        window in prop_oneof![Just(0u16), Just(WINDOW), 1u16..600],
        packets in prop::collection::vec(
            (0u32..3, prop_oneof![8 => 0u16..40, 1 => 0u16..1200, 1 => any::<u16>()], any::<u16>(), 0u64..30),
            0..400,
        ),
    ) {
        let mut bench: Window<usize> = Window::new(window, HOLE_WAIT, START_WAIT);
        let mut now = some_instant();
        let mut out = Vec::new();
        let mut next = 0u16;
        for (index, &(ssrc, jump, back, millis)) in packets.iter().enumerate() {
            let ssrc = if index % 5 == 0 { ssrc } else { SSRC };
            next = next.wrapping_add(jump % 4);
            let sequence = if back % 3 == 0 { next.wrapping_sub(jump) } else { next.wrapping_add(jump / 8) };
            bench.insert(now, ssrc, sequence, index, &mut out);
            now += Duration::from_millis(millis);
            bench.expire(now, &mut out);
            prop_assert!(bench.deadline().is_none_or(|deadline| deadline > now));
            prop_assert!(bench.held() < usize::from(bench.window) + RIVAL_PACKETS);
            prop_assert_eq!(bench.hole_since.is_some(), !bench.held.is_empty());
            prop_assert!(!matches!(bench.held.front(), Some(Some(_))));
            prop_assert!(!matches!(bench.held.back(), Some(None)));
            let counters = bench.counters();
            prop_assert_eq!(counters.received, index as u64 + 1);
            prop_assert_eq!(
                counters.received,
                (out.len() + bench.held()) as u64 + counters.duplicates + counters.late
            );
        }
        let unique: BTreeSet<_> = out.iter().collect();
        prop_assert_eq!(unique.len(), out.len());
    }
}
